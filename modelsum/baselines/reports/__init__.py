"""Reports: what a model costs in one case, as a value and as a file."""
