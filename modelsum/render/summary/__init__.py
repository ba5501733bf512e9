"""A summary as text, a format a file; `rows`, `cells` and `facts` are what they have in common."""
