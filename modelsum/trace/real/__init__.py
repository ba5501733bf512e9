"""Inference and the training step run for real, and measured."""
