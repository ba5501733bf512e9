"""Modules that torch wraps around a model for many devices: the module inside, or one clear sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import distributed, nn

import modelsum
from modelsum.errors import BuildError

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not distributed.is_available(), reason="torch without torch.distributed"),
]

X = torch.ones(2, 3, 8, 8)


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    store = distributed.FileStore(str(tmp_path / "store"), 1)
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))


def data_parallel(inner: nn.Module) -> nn.Module:
    return nn.DataParallel(inner)


def distributed_data_parallel(inner: nn.Module) -> nn.Module:
    return nn.parallel.DistributedDataParallel(inner)


@pytest.mark.parametrize("device", ["auto", "cpu"])
@pytest.mark.parametrize("wrap", [data_parallel, distributed_data_parallel])
def test_the_module_inside_is_summarized(wrap: Callable[[nn.Module], nn.Module], device: str, group) -> None:
    plain = modelsum.summarize(net(), X, device=device).to_dict()
    assert modelsum.summarize(wrap(net()), X, device=device).to_dict() == plain
    inside = modelsum.summarize(nn.Sequential(wrap(net())), X, device=device)
    assert inside.totals.macs == plain["totals"]["macs"]
    assert inside.memory is not None
    assert inside.memory.training_peak_bytes == plain["memory"]["training_peak_bytes"]
    assert [layer.path for layer in inside.layers] == ["", "0", "0.0", "0.1", "0.2", "0.3"]


def test_the_wrapped_model_is_left_alone(group) -> None:
    model = nn.Sequential(distributed_data_parallel(net()))
    modelsum.summarize(model, X)
    assert isinstance(model[0], nn.parallel.DistributedDataParallel)
    assert model[0].training
    model(X).sum().backward()


def fsdp(model: nn.Sequential) -> nn.Module:
    return distributed.fsdp.FullyShardedDataParallel(model, device_id=torch.device("cpu"))


def fsdp2(model: nn.Sequential) -> nn.Module:
    distributed.fsdp.fully_shard(model[0])
    distributed.fsdp.fully_shard(model)
    return model


@pytest.mark.parametrize("shard", [fsdp, fsdp2])
def test_a_sharded_model_is_to_be_summarized_before(
    shard: Callable[[nn.Sequential], nn.Module], group
) -> None:
    pytest.importorskip("torch.distributed.fsdp")
    model = shard(net())
    with pytest.raises(BuildError, match="is sharded by torch's F") as refused:
        modelsum.summarize(model, X)
    assert refused.value.hint == "Summarize the model before it is sharded."
