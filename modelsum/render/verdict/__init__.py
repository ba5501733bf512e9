"""Outcome of `modelsum check` -> text, a format a file."""
