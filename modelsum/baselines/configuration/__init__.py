"""The checks of a project, read from its configuration with the line of every mistake."""
