"""A Llama as training code for many GPUs has it, in words of our own, and how that code shares it out.

The structure is that of torchtitan of December 2024 (complex rotations, RMSNorm in float32, logits in float32
for the loss) and, with halves rotated by sines and cosines, that of LitGPT. Sizes are those of the published
configurations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts


@dataclass(frozen=True)
class Size:
    dim: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    vocabulary: int


LLAMA_3_8B = Size(4096, 32, 32, 8, 14336, 128256)
TINY_LLAMA = Size(2048, 22, 32, 4, 5632, 32000)


class RMSNorm(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-5)).type_as(x) * self.weight


class Attention(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.head, self.repeats = size.dim // size.heads, size.heads // size.kv_heads
        self.q, self.o = (nn.Linear(size.dim, size.dim, bias=False) for _ in range(2))
        self.k, self.v = (nn.Linear(size.dim, size.kv_heads * self.head, bias=False) for _ in range(2))

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        batch, length, _ = x.shape
        q, k, v = (layer(x).view(batch, length, -1, self.head) for layer in (self.q, self.k, self.v))
        q, k = self._turned(q, turns), self._turned(k, turns)
        k, v = (
            t.unsqueeze(3).expand(-1, -1, -1, self.repeats, -1).reshape(batch, length, -1, self.head)
            for t in (k, v)
        )
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(out.transpose(1, 2).contiguous().view(batch, length, -1))

    def _turned(self, x: Tensor, turns: Tensor) -> Tensor:
        y = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
        return torch.view_as_real(y * turns.view(1, x.shape[1], 1, -1)).flatten(3).type_as(x)


class FeedForward(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.gate, self.up = (nn.Linear(size.dim, size.hidden, bias=False) for _ in range(2))
        self.down = nn.Linear(size.hidden, size.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(functional.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.attention, self.feed_forward = Attention(size), FeedForward(size)
        self.attention_norm, self.feed_forward_norm = RMSNorm(size.dim), RMSNorm(size.dim)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), turns)
        return x + self.feed_forward(self.feed_forward_norm(x))


class Llama(nn.Module):
    def __init__(self, size: Size, length: int, *, float_logits: bool) -> None:
        super().__init__()
        self.float_logits = float_logits
        self.tokens = nn.Embedding(size.vocabulary, size.dim)
        turns = torch.empty(length, size.dim // size.heads // 2, dtype=torch.complex64)
        self.register_buffer("turns", turns)
        self.layers = nn.ModuleDict({str(place): Block(size) for place in range(size.layers)})
        self.norm = RMSNorm(size.dim)
        self.output = nn.Linear(size.dim, size.vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens)
        for layer in self.layers.values():
            x = layer(x, self.turns)
        logits = self.output(self.norm(x))
        return logits.float() if self.float_logits else logits


def _selective() -> Any:
    """Keep the results of attention and of every second matmul."""
    seen = {True: 0, False: 0}
    attention = torch.ops.aten._scaled_dot_product_flash_attention.default

    def policy(context: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
        keep = op is attention
        if op is torch.ops.aten.mm.default:
            seen[context.is_recompute] += 1
            keep = seen[context.is_recompute] % 2 == 1
        return CheckpointPolicy.MUST_SAVE if keep else CheckpointPolicy.PREFER_RECOMPUTE

    return create_selective_checkpoint_contexts(policy)


def parallelize(model: Llama, mesh: Any) -> nn.Module:
    """Selective checkpointing and fully_shard of every block, bfloat16 with gradients reduced in float32."""
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    precision = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for name, block in model.layers.named_children():
        wrapped = checkpoint_wrapper(block, context_fn=_selective, preserve_rng_state=False)
        model.layers.register_module(name, wrapped)
    blocks = list(model.layers.values())
    for place, block in enumerate(blocks):
        last = place == len(blocks) - 1  # it is derived at once: there is no use in giving it back
        fully_shard(block, mesh=mesh, mp_policy=precision, reshard_after_forward=not last)
    return fully_shard(model, mesh=mesh, mp_policy=precision, reshard_after_forward=True)
