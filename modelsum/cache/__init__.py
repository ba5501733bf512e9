"""Answers kept from earlier runs of the command: the second identical question does not import torch.

`answers` finds and keeps; `key` tells one question from another, `store` is the folder of entries. `hearing`
hears what a model asks, `seen` notes it as `questions` with their answers, `evidence` says whether those are
all that the answer depended on; `owners` and `versions` know what the key vouches for. Only `hearing` imports
torch, where an answer is worked out.
"""
