"""Answers kept from earlier runs of the command: the second identical question does not import torch.

`answers` decides, `keeping` looks up and keeps; `store` is the folder of entries, `evidence` what an answer
depended on. Nothing here imports torch.
"""
