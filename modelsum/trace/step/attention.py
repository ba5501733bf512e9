"""scaled_dot_product_attention sent to the kernel that the target would run.

torch chooses among fused kernels by the device of the tensors, and on meta takes the math path, which
keeps the scores of every pair of positions: 31 % more peak memory for a small GPT than the fused kernel
that really runs. So, for a while, the function itself is replaced. (A torch function mode would not do:
it is off inside nn.MultiheadAttention.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from modelsum.trace.step.autocast import as_cast
from modelsum.trace.torch_private import (
    ATTENTION,
    EFFICIENT_ATTENTION,
    FLASH_ATTENTION,
    FLASH_ATTENTION_FOR_CPU,
    takes_math_path,
)

_aten = torch.ops.aten
_HALVES = (torch.float16, torch.bfloat16)

#: Largest head dimension of the flash kernels for CUDA (sdp_utils.cpp, check_head_dim_size_flash).
_FLASH_HEAD_SIZE = 256


class Chosen:
    """Which kernels ran, how often; `words` says it for a reader."""

    def __init__(self) -> None:
        self.kernels: Counter[str] = Counter()

    @property
    def words(self) -> str:
        """Like "flash", or "flash, math", the most frequent first; "not used" where it was never called."""
        return ", ".join(kernel for kernel, _ in self.kernels.most_common()) or "not used"


@contextmanager
def redirected(target: str, attention: str = "auto") -> Iterator[Chosen]:
    """Make F.scaled_dot_product_attention run what `target` would run; the function is put back afterwards.

    Args:
        target: "cpu" or "cuda".
        attention: "math", "flash" or "efficient" where the target's own choice is not wanted ("auto").
    """
    original = ATTENTION.value
    shares = target != "cpu" or _cpu_kernel_shares_keys()
    chosen = Chosen()

    def attend(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Any:
        query, key, value, attn_mask = as_cast(
            _aten.scaled_dot_product_attention.default, query, key, value, attn_mask
        )
        kernel = _choice(
            target, attention, shares, query, key, value, attn_mask, dropout_p, is_causal, enable_gqa
        )
        chosen.kernels[kernel] += 1
        if kernel == "math":
            return original(
                query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
            )
        mask = _additive(attn_mask, query)
        if target == "cpu":
            return FLASH_ATTENTION_FOR_CPU(
                query, key, value, dropout_p, is_causal, attn_mask=mask, scale=scale
            )[0]
        if kernel == "flash":
            return FLASH_ATTENTION(query, key, value, dropout_p, is_causal, False, scale=scale)[0]
        keeps = torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value))
        return EFFICIENT_ATTENTION(query, key, value, mask, keeps, dropout_p, is_causal, scale=scale)[0]

    # Context parallelism replaces it once more, by its name.
    attend.__name__ = original.__name__
    with ATTENTION.replaced(attend):
        yield chosen


def _choice(
    target: str,
    attention: str,
    shares: bool,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout: float,
    is_causal: bool,
    enable_gqa: bool,
) -> str:
    """The kernel for these tensors: the one asked for if it can take them, else the next that can."""
    if attention == "math" or not _is_fusible(query, key, value, enable_gqa):
        return "math"
    if not shares and query.shape[1] != key.shape[1]:
        return "math"
    if target == "cpu":
        # ATen/native/transformers/sdp_utils_cpp.cpp, use_flash_attention_cpp.
        takes = dropout == 0.0 and query.shape[-1] == value.shape[-1] and _takes_mask(mask, query, key)
        return "flash" if takes and not (mask is not None and is_causal) else "math"
    # ATen/native/transformers/cuda/sdp_utils.cpp: flash is tried before the memory-efficient kernel.
    flash = (
        mask is None
        and (query.dtype in _HALVES or attention == "flash")
        and query.shape[-1] == value.shape[-1] <= _FLASH_HEAD_SIZE
    )
    efficient = query.shape[1] == key.shape[1] and not (mask is not None and is_causal)
    if flash and attention != "efficient":
        return "flash"
    return "efficient" if efficient else "math"


def _cpu_kernel_shares_keys() -> bool:
    """Whether this torch's fused kernel on the CPU takes fewer heads of keys than queries; 2.6's does not."""
    query, key = (torch.empty((1, heads, 1, 8), device="cpu") for heads in (2, 1))
    return not takes_math_path(query, key, key, enable_gqa=True)


def _is_fusible(query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool) -> bool:
    if not query.dim() == key.dim() == value.dim() == 4:
        return False
    if not query.shape[0] == key.shape[0] == value.shape[0] or not query.dtype is key.dtype is value.dtype:
        return False
    if any(t.stride(-1) != 1 for t in (query, key, value)) or 0 in (query.shape[-2], key.shape[-2]):
        return False
    if query.shape[-1] != key.shape[-1]:
        return False
    heads = key.shape[1]
    if heads != value.shape[1]:
        return False
    return query.shape[1] % heads == 0 if enable_gqa else heads in (1, query.shape[1])


def _takes_mask(mask: Tensor | None, query: Tensor, key: Tensor) -> bool:
    """check_attn_mask_shape: no gradient for it, and [1 | N, 1 | heads, 1 | L, S] or [1 | L, S]."""
    if mask is None:
        return True
    if mask.requires_grad:
        return False
    batch, heads, length, _ = query.shape
    sizes: tuple[int, ...] = (batch, heads, length, key.shape[-2])
    if mask.dim() not in (2, 4):
        return False
    return all(n in (1, full) for n, full in zip(mask.shape, sizes[-mask.dim() :], strict=True))


def _additive(mask: Tensor | None, query: Tensor) -> Tensor | None:
    """A mask of truth values as the numbers that are added to the scores (convert_boolean_attn_mask)."""
    if mask is None or mask.dtype is not torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=query.dtype).masked_fill_(mask.logical_not(), float("-inf"))
