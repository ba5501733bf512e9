"""How meshes are read, and what training steps of several processes are refused."""

from __future__ import annotations

import pytest

from modelsum.errors import UsageError
from modelsum.memory import MemoryOptions
from modelsum.memory.ranks.mesh import parse_mesh


def test_a_mesh_is_read_in_any_order_and_has_the_outermost_dimension_first() -> None:
    mesh = parse_mesh("tp=4, dp=2,pp=3")
    assert mesh.words == "pp=3,dp=2,tp=4"
    assert mesh.ranks == 24
    assert mesh.place_of(0) == {"pp": 0, "dp": 0, "tp": 0}
    assert mesh.place_of(13) == {"pp": 1, "dp": 1, "tp": 1}
    assert mesh["replicate"] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dq=2", "no dimension 'dq'"),
        ("cq=2", "no dimension 'cq'"),
        ("dp", "'dp' is no size"),
        ("dp=0", "'dp=0' is no size"),
        ("dp=x", "'dp=x' is no size"),
        ("dp=2,dp=4", "names dp twice"),
        ("dp=1000000", "has 1,000,000 ranks"),
    ],
)
def test_what_is_no_mesh_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_mesh(text)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shard": "fsdp"}, "shard is of several processes"),
        ({"wrap": ("layers.*",)}, "wrap is of several processes"),
        ({"parallelize": "a.py:f"}, "parallelize is of several processes"),
        ({"mesh": "dp=2", "shard": "fsdb"}, "shard 'fsdb' is not known"),
        ({"mesh": "dp=2", "shard": "ddp", "wrap": ("layers.*",)}, "wrap is of fsdp, not of ddp"),
        ({"mesh": "dp=2", "shard": "zero2", "reshard": True}, "zero2 keeps gathered weights"),
        ({"mesh": "dp=2,tp=2", "shard": "ddp"}, "takes no tensors that are parts already"),
        ({"mesh": "dp=2,replicate=2", "shard": "zero1"}, "has no replicas of shards"),
        ({"mesh": "dp=2", "shard": "ddp", "parallelize": "a.py:f"}, "shard and parallelize are both given"),
        ({"mesh": "dp=2", "param_dtype": "bf17"}, "unknown dtype 'bf17'"),
        ({"mesh": "pp=2,cp=2"}, "cp and pp together are not known here"),
        ({"mesh": "dp=2,cp=2", "shard": "ddp"}, "ddp has no parts of sequences"),
        ({"offload": "params"}, "offload params is of fsdp"),
        ({"offload": "gradients"}, "offload 'gradients' is not known"),
        ({"mesh": "dp=2", "shard": "ddp", "offload": "params"}, "offload params is of fsdp, not of ddp"),
        ({"mesh": "tp=2", "offload": "params"}, "offload params is of what is sharded among dp"),
        ({"offload": "optimizer", "optimizer": "muon"}, "offload is not known with muon"),
        ({"offload": "optimizer", "amp": "fp16"}, "its scaler reads gradients on the device"),
        ({"offload": "optimizer", "implementation": "fused"}, "offload steps on the host"),
        ({"checkpoint_policy": "some"}, "checkpoint_policy 'some' is not known"),
    ],
)
def test_steps_that_make_no_sense_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        MemoryOptions(**options)


def test_a_mesh_of_one_is_no_several_processes() -> None:
    assert not MemoryOptions(mesh="dp=1").is_shared
    assert MemoryOptions(mesh="dp=2").is_shared
    assert MemoryOptions(mesh="dp=1", parallelize="a.py:f").is_shared
