"""Sweeps: many points of a grid, a row each; what is there after a stop is not done again."""
