from __future__ import annotations

from pathlib import Path

import pytest

from modelsum.errors import UsageError
from modelsum.sweeps import grid
from modelsum.sweeps.grid import Grid
from modelsum.sweeps.plan import Plan

GRID = """
[[grid]]
model = ["mobilenet_v1", "mobilenet_v2"]
input = ["3x32x32", ["3x16x16", "5:int64"]]
args.width_mult = [0.5, 1.0]
batch = 8
exclude = [{model = "mobilenet_v1", args.width_mult = 0.5}]
"""


def read(text: str, folder: Path) -> tuple[Grid, ...]:
    (folder / "grid.toml").write_text(text)
    return grid.read(folder / "grid.toml")


def checked(text: str, folder: Path) -> int:
    plan = Plan(read(text, folder))
    plan.check()
    return len(plan)


def test_every_combination_is_a_point_and_the_last_axis_changes_fastest(tmp_path: Path) -> None:
    plan = Plan(read(GRID, tmp_path))
    assert plan.axes == ("model", "input", "args.width_mult", "batch")
    assert [tuple(point.values.values()) for point in plan] == [
        ("mobilenet_v1", "3x32x32", 1.0, 8),
        ("mobilenet_v1", ["3x16x16", "5:int64"], 1.0, 8),
        ("mobilenet_v2", "3x32x32", 0.5, 8),
        ("mobilenet_v2", "3x32x32", 1.0, 8),
        ("mobilenet_v2", ["3x16x16", "5:int64"], 0.5, 8),
        ("mobilenet_v2", ["3x16x16", "5:int64"], 1.0, 8),
    ]


def test_a_point_asks_for_what_a_check_with_its_keys_does(tmp_path: Path) -> None:
    (only,) = read('[[grid]]\nmodel = "a.py:Net"\ninput = [["5", "m=5:bool"]]\namp = "bf16"\n', tmp_path)
    asked = Plan([only], {"target": "cpu"}).point(0).request
    assert asked is not None
    assert [str(each) for each in asked.inputs] == ["5", "m=5:bool"]
    assert (str(asked.model), asked.target, asked.batch) == ("a.py:Net", "cpu", 1)
    assert asked.memory is not None
    assert asked.memory.amp == "bf16"


def test_the_command_line_makes_the_same_grid() -> None:
    words = {"model": ["a,b", "c"], "batch": ["1,2"], "memory": ["false"], "input": ["3x4@5:int64"]}
    made = grid.of_words(words, ["width=0.5,(1, 2)", "act='a,b',None"], ["model=a,args.width=0.5"])
    assert made.axes == {
        "model": ["a", "b", "c"],
        "batch": [1, 2],
        "memory": [False],
        "input": [["3x4", "5:int64"]],
        "args.width": [0.5, (1, 2)],
        "args.act": ["a,b", None],
    }
    assert made.exclude == [{"model": ["a"], "args.width": [0.5]}]


def test_values_that_cannot_stand_together_are_that_points_error(tmp_path: Path) -> None:
    text = '[[grid]]\nmodel = "resnet18"\noptimizer = ["adam", "lion"]\nimplementation = "fused"\n'
    fine, wrong = Plan(read(text, tmp_path))
    assert fine.request is not None
    assert not fine.error
    assert wrong.request is None
    assert "lion has no fused implementation" in wrong.error


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('[[grid]]\nmodel = "resnet18"\nbtach = 3', "grid.toml:3: btach: there is no such key", "batch"),
        (
            '[[grid]]\nmodel = "resnet18"\nbatch = [1, 0]',
            "grid.toml:3: batch: 0 is not a positive",
            "1 or more",
        ),
        (
            '[[grid]]\nmodel = "resnet18"\nloss = ["sum", "mse"]',
            "loss: loss 'mse' is not known",
            "cross-entropy",
        ),
        ('[[grid]]\nmodel = "resnet18"\nbatch = []', "batch: the axis has no values", "Give it one"),
        ("[[grid]]\nbatch = 3", "the grid has no model", "model ="),
        ("[grid]\nbatch = 3", "there is no [[grid]]", "[[grid]]"),
        ('[[grid]]\nmodel = "resnet81"', "unknown model 'resnet81'", "resnet18"),
        ('[[grid]]\nmodel = "vgg16"\nexclude = {modle = "vgg16"}', "modle: there is no such axis", "model"),
        (
            '[[grid]]\nmodel = "vgg16"\nexclude = {model = "vgg19"}',
            "'vgg19' is no value of the axis",
            "vgg16",
        ),
        ('[[grid]]\nmodel = "vgg16"\nexclude = {model = "vgg16"}', "the grid has no points", "excluded"),
    ],
)
def test_wrong_words_are_told_before_anything_is_built(
    text: str, message: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        checked(text, tmp_path)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_sample_is_the_same_for_the_same_seed_and_of_many_points_too() -> None:
    axes = {"model": ["resnet18"], **{f"args.a{n}": list(range(1000)) for n in range(4)}}
    plan = Plan([grid.of_mapping(axes)])
    with pytest.raises(UsageError, match="1,000,000,000,000 points"):
        len(plan)
    drawn = plan.sample(5, seed=1)
    assert drawn.numbers == plan.sample(5, seed=1).numbers != plan.sample(5, seed=2).numbers
    assert len(set(drawn.chosen)) == 5


def test_shares_are_all_points_each_once(tmp_path: Path) -> None:
    plan = Plan(read(GRID, tmp_path))
    shares = [plan.shard(number, 4) for number in (1, 2, 3, 4)]
    assert sorted(n for share in shares for n in share.chosen) == sorted(plan.chosen)


def test_a_point_is_found_by_its_values_as_json_has_them(tmp_path: Path) -> None:
    plan = Plan(read(GRID, tmp_path))
    values = {"batch": 8, "args.width_mult": 1.0, "input": ["3x16x16", "5:int64"], "model": "mobilenet_v2"}
    found = plan.find(values)
    assert found is not None
    assert dict(found.values) == values
    assert plan.find(values | {"args.width_mult": 0.75}) is None
    assert plan.find(values | {"model": "mobilenet_v1", "args.width_mult": 0.5}) is None, "it is excluded"
    assert plan.shard(1, 2).find(values) is None, "it is in the other share"


def test_the_ways_of_a_mesh_are_axes_beside_it() -> None:
    table = {"model": "squeezenet1_1", "mesh": ["dp=2", "dp=4"], "shard": ["ddp", "fsdp"]}
    made = grid.of_mapping(table)
    made.check({})
    steps = [made.request(made.point(number), {}).memory for number in range(len(made))]
    assert {(step.mesh, step.shard) for step in steps if step} == {
        (mesh, shard) for mesh in table["mesh"] for shard in table["shard"]
    }
