"""Inference and the training step followed on the meta device, as they would be on the target."""
