"""A training step that several processes share, gone through on meta as one of them."""
