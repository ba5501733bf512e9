"""Comparison -> text, a format a file."""
