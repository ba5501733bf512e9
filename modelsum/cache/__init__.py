"""Answers kept from earlier runs of the command: the second identical question does not import torch.

`store` is the folder of entries, `evidence` what an answer depended on. Nothing here imports torch.
"""
