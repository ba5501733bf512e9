"""Verdicts: checks, their baselines and what the models cost now."""
