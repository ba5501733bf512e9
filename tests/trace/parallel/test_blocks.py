"""Equal blocks of which a few are gone through: every figure is that of going through all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from real_ranks import LanguageModel, in_a_row
from torch import Tensor, nn
from torch_here import skip_unless_meshes_are_followed

from modelsum.memory import Memory, MemoryOptions
from modelsum.trace.call import Call
from modelsum.trace.parallel import blocks, ranks
from modelsum.trace.parallel.ranks import predict_ranks

SMALL = {"dim": 32, "heads": 4, "kv_heads": 2, "hidden": 48, "vocabulary": 64}


@pytest.fixture(autouse=True)
def meshes() -> None:
    skip_unless_meshes_are_followed()


def call(model: nn.Module) -> Call:
    return Call(model, (torch.empty(2, 16, dtype=torch.int64, device="meta"),))


def model(count: int) -> LanguageModel:
    with torch.device("meta"):
        return LanguageModel(**SMALL, blocks=count)


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Memory, Memory, int]]:
    """Both ways, and how many blocks the models had that were gone through."""

    def both(here: Call, **options: Any) -> tuple[Memory, Memory, int]:
        step = MemoryOptions(**{"loss": "cross-entropy"} | options)
        counts: list[int] = []
        share = ranks.shared

        def counted(part: Call, *more: Any) -> Any:
            counts.append(sum("Attention" in type(m).__name__ for m in part.model.modules()))
            return share(part, *more)

        monkeypatch.setattr(ranks, "shared", counted)
        few = predict_ranks(here, options=step, target="cuda")
        most = max(counts)
        monkeypatch.setattr(ranks, "equal_blocks", lambda *_: None)
        return few, predict_ranks(here, options=step, target="cuda"), most

    return both


SHARED = [
    ("dp=2", {"checkpoint": ("blocks.*",), "clip": True}),
    *(
        pytest.param(mesh, options, marks=pytest.mark.slow)
        for mesh, options in (
            ("dp=2", {"shard": "zero2"}),
            ("dp=3", {"accumulate": 3}),
            ("tp=2", {}),
            ("dp=2,tp=2", {"param_dtype": "bfloat16", "reduce_dtype": "float32"}),
        )
    ),
]


@pytest.mark.parametrize(("mesh", "options"), SHARED)
def test_a_few_blocks_stand_for_all_to_the_byte(
    mesh: str, options: dict[str, Any], followed: Callable[..., tuple[Memory, Memory, int]]
) -> None:
    few, whole, most = followed(call(model(9)), mesh=mesh, **options)
    assert most == 4
    assert few == whole


@pytest.mark.slow
@pytest.mark.parametrize("mesh", ["pp=2", "pp=2,dp=2"])
def test_so_they_do_in_every_pipeline_stage(
    mesh: str, followed: Callable[..., tuple[Memory, Memory, int]]
) -> None:
    few, whole, most = followed(call(in_a_row(model(18))), mesh=mesh, accumulate=3, clip=True)
    assert most == 8  # of both stages
    assert few == whole


class Odd(LanguageModel):
    """A block that others are like, but for what the model does with it."""

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens)
        for number, block in enumerate(self.blocks):
            x = block(x) + x if number == 6 else block(x)
        return self.output(self.norm(x))


def test_what_a_block_is_or_is_used_for_tells_it_from_others() -> None:
    step = MemoryOptions()
    assert blocks.equal_blocks(call(model(9)), step) == ("blocks", tuple(map(str, range(9))))
    wider = model(9)
    wider.blocks[4].feed_forward.up = nn.Linear(32, 48, device="meta")
    assert blocks.equal_blocks(call(wider), step) is None
    assert blocks.equal_blocks(call(model(9)), MemoryOptions(checkpoint=("blocks.3",))) is None
    with torch.device("meta"):
        assert blocks.equal_blocks(call(Odd(**SMALL, blocks=9)), step) is None


def test_the_model_has_all_its_blocks_afterwards() -> None:
    here = model(9)
    names = tuple(map(str, range(9)))

    def interrupted() -> None:
        with blocks.Stretch(here, "blocks", names, 0, 1, names).kept(3) as paths:
            assert paths == ("blocks.0", "blocks.1", "blocks.2")
            assert len(here.blocks) == 3
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [name for name, _ in here.blocks.named_children()] == [*names]
