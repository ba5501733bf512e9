"""A mesh: how many processes share a training step, and along which dimensions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from modelsum.errors import UsageError, did_you_mean

#: The dimensions, the outermost first: ranks that are next to each other share the innermost one.
PIPELINE, REPLICATE, DATA, CONTEXT, TENSOR = "pp", "replicate", "dp", "cp", "tp"
DIMENSIONS = {
    PIPELINE: "pipeline stages",
    REPLICATE: "replicas of what is sharded (hybrid sharding)",
    DATA: "data parallel, the batch of each its own",
    CONTEXT: "context parallel, each a part of the sequence",
    TENSOR: "tensor parallel",
}
MOST_RANKS = 1 << 17


@dataclass(frozen=True, slots=True)
class Mesh:
    """Processes in a grid.

    Attributes:
        sizes: of every dimension that was named, the outermost first.
    """

    sizes: Mapping[str, int]

    def __getitem__(self, dimension: str) -> int:
        return self.sizes.get(dimension, 1)

    @property
    def ranks(self) -> int:
        """How many processes there are."""
        return math.prod(self.sizes.values())

    @property
    def words(self) -> str:
        """As it is written: "dp=8,tp=4"."""
        return ",".join(f"{name}={size}" for name, size in self.sizes.items())

    def place_of(self, rank: int) -> dict[str, int]:
        """Where a rank is, along every dimension."""
        place = {}
        for name in [*self.sizes][::-1]:
            rank, place[name] = divmod(rank, self.sizes[name])
        return {name: place[name] for name in self.sizes}


def parse_mesh(text: str) -> Mesh:
    """A mesh of its text, "dp=8,tp=4", in any order. Raises UsageError."""
    sizes: dict[str, int] = {}
    for word in text.split(","):
        name, equals, number = (part.strip() for part in word.partition("="))
        if name not in DIMENSIONS:
            known = "; ".join(f"{known} ({what})" for known, what in DIMENSIONS.items())
            raise UsageError(
                f"mesh {text!r}: there is no dimension {name!r}",
                did_you_mean(name, DIMENSIONS) or f"Dimensions are {known}.",
            )
        if not equals or not number.isdecimal() or int(number) < 1:
            raise UsageError(
                f"mesh {text!r}: {word.strip()!r} is no size", f"Write {name}=N with N at least 1, like dp=8."
            )
        if name in sizes:
            raise UsageError(f"mesh {text!r} names {name} twice", "Give each dimension once, like dp=8,tp=4.")
        sizes[name] = int(number)
    mesh = Mesh({name: sizes[name] for name in DIMENSIONS if name in sizes})
    if mesh.ranks > MOST_RANKS:
        raise UsageError(
            f"mesh {text!r} has {mesh.ranks:,} ranks", f"At most {MOST_RANKS:,} are gone through."
        )
    return mesh
