"""Diff -> text, a format a file."""
