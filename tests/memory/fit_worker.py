"""Training in a process that has little address space; started by test_fit_really.py.

    python fit_worker.py MODEL OPTIMIZER BATCH BYTES

First a step is done and all of it thrown away, so that what belongs to no tensor is there: threads with
their stacks, and the kernels that oneDNN makes for these shapes and keeps (12 MiB with `network`, whatever
the batch). Then the process allows itself BYTES more of address space than it has, makes the model anew and
trains two steps. It ends with 0 where they could be done, with OUT_OF_MEMORY where memory ran out.

A limit on addresses is one on live tensors only if the allocator of the C library gives back what is freed.
MALLOC has it map every tensor of 256 KiB or more by itself, and unmap it when it dies; use one arena, not one
of 64 MiB a thread; and keep nothing at the end of the heap, where the smaller ones are.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch
from torch import nn

OUT_OF_MEMORY = 9
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 18),
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "0",
    "MALLOC_TOP_PAD_": "0",
}
OPTIMIZERS = {
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.0, momentum=0.9),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.0),
}


def network() -> nn.Module:
    """Activations and weights both count, in tensors of megabytes."""
    return nn.Sequential(
        nn.Conv2d(16, 32, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.GELU(),
        nn.AvgPool2d(4),
        nn.Flatten(),
        nn.Linear(32 * 16 * 16, 1024),
    )


def build(model: str) -> tuple[nn.Module, tuple[int, ...]]:
    """A model and the shape of one sample: `network`, or one of torchvision's."""
    if model == "network":
        return network(), (16, 64, 64)
    import torchvision

    side = 224 if model.startswith("vit") else 64
    return torchvision.models.get_model(model, weights=None), (3, side, side)


def train(model: str, optimizer: str, batch: int, steps: int) -> None:
    net, sample = build(model)
    update = OPTIMIZERS[optimizer](net.parameters())
    for _ in range(steps):
        update.zero_grad(set_to_none=True)
        net(torch.rand(batch, *sample)).sum().backward()
        update.step()


def address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def main(model: str, optimizer: str, batch: int, room: int) -> int:
    train(model, optimizer, batch, 1)
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + room, resource.RLIM_INFINITY))
    try:
        train(model, optimizer, batch, 2)
    except (RuntimeError, MemoryError) as error:
        words = str(error).lower()
        if isinstance(error, MemoryError) or "allocate memory" in words or "bad_alloc" in words:
            return OUT_OF_MEMORY
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
