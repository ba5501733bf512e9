"""What changed from one report to another: which module is which, and why a figure is another."""
