"""Ranks: the processes that share a training step, and how they are arranged."""
