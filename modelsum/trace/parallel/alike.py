"""Which ranks are alike: those whose parts of the model have the same sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from modelsum.memory.options import MemoryOptions
from modelsum.memory.ranks.mesh import CONTEXT, DATA, PIPELINE, Mesh

#: More distinct ranks than this are not gone through.
MOST = 8
#: More pipeline stages than these are not gone through one by one.
MOST_STAGES = 4


def groups(model: nn.Module, options: MemoryOptions, mesh: Mesh) -> list[tuple[int, ...]]:
    """The ranks, those that are alike together; the first of each group holds as much as any in it."""
    kinds: dict[tuple[object, ...], list[int]] = {}
    data = _kinds_of_data_ranks(model, options, mesh)
    for rank in range(mesh.ranks):
        place = mesh.place_of(rank)
        part = place.get(CONTEXT, 0)
        kind = (
            _kind_of_stage(place.get(PIPELINE, 0), mesh[PIPELINE]),
            data[place.get(DATA, 0) * mesh[CONTEXT] + part],
            _kind_of_part(part, mesh[CONTEXT]),
        )
        kinds.setdefault(kind, []).append(rank)
    return [tuple(ranks) for ranks in kinds.values()]


def groups_by(kind_of: Callable[[int], object], mesh: Mesh) -> list[tuple[int, ...]]:
    """The same where only a look at a rank's part of the model tells its kind: where a user's code makes it.

    Of many ranks those at the corners of the mesh are looked at, and the others are taken for those that are
    first where they are not last: what does not divide is missing in the last ones.
    """

    def corner(rank: int) -> int:
        place = mesh.place_of(rank)
        found = 0
        for name, size in mesh.sizes.items():
            found = found * size + (place[name] if place[name] == size - 1 else 0)
        return found

    looked_at = range(mesh.ranks) if mesh.ranks <= MOST else map(corner, range(mesh.ranks))
    known: dict[int, object] = {}
    kinds: dict[object, list[int]] = {}
    for rank, like in enumerate(looked_at):
        if like not in known:
            known[like] = kind_of(like)
        kinds.setdefault(known[like], []).append(rank)
    return [tuple(ranks) for ranks in kinds.values()]


def _kind_of_stage(stage: int, stages: int) -> int:
    """Of many stages, the second stands for those up to the last: ever fewer microbatches are under way."""
    return 1 if stages > MOST_STAGES and 0 < stage < stages - 1 else stage


def _kind_of_part(part: int, parts: int) -> int:
    """Attention that goes round begins and ends otherwise at the first and the last part of a sequence."""
    return min(part, 1) + (part == parts - 1)


def _kinds_of_data_ranks(model: nn.Module, options: MemoryOptions, mesh: Mesh) -> Sequence[object]:
    """What tells data parallel ranks apart."""
    count = mesh[DATA] * mesh[CONTEXT]
    if count == 1 or options.shards == "ddp":
        return [0] * count
    if options.shards == "zero1":
        return range(count)
    rows = {p.shape[0] if p.dim() else 1 for p in model.parameters()}
    kinds = [tuple(_part(n, rank, count) for n in rows) for rank in range(count)]
    distinct = list(dict.fromkeys(kinds))
    if len(distinct) <= MOST:
        return kinds
    # The first of several that hold ever less stands for them.
    step = -(-len(distinct) // MOST)
    return [distinct.index(kind) // step for kind in kinds]


def _part(rows: int, rank: int, ranks: int) -> int:
    """The rows that a rank holds, as torch.chunk shares them out."""
    chunk = -(-rows // ranks)
    return max(0, min(chunk, rows - rank * chunk))
