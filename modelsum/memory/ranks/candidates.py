"""Which meshes and ways are worth a look for so many GPUs: few, of every kind that is in use."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from modelsum.memory.options import MemoryOptions
from modelsum.memory.ranks.mesh import DATA, PIPELINE, REPLICATE, TENSOR, Mesh

#: GPUs of a node, as most machines have them: tensor parallel ranks and shards of a replica stay within.
NODE = 8


@dataclass(frozen=True, slots=True)
class Candidate:
    """A mesh and what is done on it.

    Attributes:
        mesh: the processes.
        shard: what data parallel ranks share, or None for fsdp.
        accumulate: passes of a step, of a pipeline its microbatches.
        checkpoint: patterns of what is recomputed, in place of those that were asked for.
    """

    mesh: Mesh
    shard: str | None = None
    accumulate: int = 1
    checkpoint: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """As options of the command line."""
        words = [f"--mesh {self.mesh.words}"]
        words += [f"--shard {self.shard}"] if self.shard else []
        words += [f"--accumulate {self.accumulate}"] if self.accumulate > 1 else []
        return " ".join([*words, *(f"--checkpoint '{pattern}'" for pattern in self.checkpoint)])

    def options(self, step: MemoryOptions) -> MemoryOptions:
        """The step on it. Raises UsageError where there is no such step."""
        checkpoint = self.checkpoint or step.checkpoint
        return dataclasses.replace(
            step,
            mesh=self.mesh.words,
            shard=self.shard,
            accumulate=self.accumulate,
            checkpoint=checkpoint,
        )

    def samples(self, batch: int) -> int:
        """Of a step of all ranks, where each data parallel one has such a batch."""
        return batch * self.accumulate * self.mesh[DATA] * self.mesh[REPLICATE]

    def held_bytes(self, weights: int) -> int:
        """Weights and gradients that each rank holds at some time, of so many bytes of weights in all."""
        if self.shard in ("ddp", "zero1"):
            return 2 * weights
        among = self.mesh[PIPELINE] * self.mesh[TENSOR]
        return weights if self.shard == "zero2" else 2 * weights // (among * self.mesh[DATA])


def candidates(
    gpus: int, *, accumulate: int = 1, heads: Sequence[int] = (), blocks: int | None = None
) -> Iterator[Candidate]:
    """What to try, a kind after the other.

    Args:
        gpus: how many.
        accumulate: passes of a step; of a pipeline at least as many as it has stages.
        heads: numbers of attention heads, which tensor parallel ranks share evenly; none where unknown.
        blocks: repeated blocks of the model, which stages share evenly; None for one that is no chain.
    """
    for shard in ("ddp", "zero1", "zero2", None):
        yield Candidate(_mesh(gpus), shard, accumulate)
    within = NODE if gpus > NODE and gpus % NODE == 0 else gpus // 2
    if gpus >= 4 and gpus % within == 0:
        yield Candidate(_mesh(within, replicate=gpus // within), accumulate=accumulate)
    tensor = [n for n in (2, 4, 8) if gpus % n == 0 and not any(h % n for h in heads)]
    stages = [n for n in (2, 4, 8) if gpus % n == 0 and blocks is not None and blocks % n == 0]
    for n in tensor:
        yield Candidate(_mesh(gpus // n, tp=n), accumulate=accumulate)
    for n in stages:
        yield Candidate(_mesh(gpus // n, pp=n), accumulate=max(accumulate, n))
    if tensor and stages and gpus >= 2 * NODE and gpus % (tensor[-1] * stages[-1]) == 0:
        mesh = _mesh(gpus // (tensor[-1] * stages[-1]), tp=tensor[-1], pp=stages[-1])
        yield Candidate(mesh, accumulate=max(accumulate, stages[-1]))


def _mesh(dp: int, **sizes: int) -> Mesh:
    sizes = {PIPELINE: 1, REPLICATE: 1, DATA: dp, TENSOR: 1} | sizes
    return Mesh({name: size for name, size in sizes.items() if size > 1})
