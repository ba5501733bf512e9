"""Values of small tensors, carried beside meta tensors that have none."""
