"""Whether an error says that a device ran out of memory, and how that is told."""

from __future__ import annotations

import torch

from modelsum.errors import ModelError

_TYPES: tuple[type[BaseException], ...] = (MemoryError, torch.cuda.OutOfMemoryError)
_WORDS = ("allocate memory", "out of memory", "bad_alloc", "alloc_failed")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether the error, or its cause is about memory; torch has no class for that of the CPU."""
    while error is not None:
        text = str(error).lower()
        if isinstance(error, _TYPES) or any(words in text for words in _WORDS):
            return True
        error = error.__cause__
    return False


def out_of_memory(device: torch.device, doing: str) -> ModelError:
    """The error to raise for it; `doing` is what went on, like "inference"."""
    return ModelError(
        f"{device} ran out of memory in {doing}",
        "Try a smaller --batch; `modelsum fit MODEL --memory SIZE` says which one fits.",
    )
