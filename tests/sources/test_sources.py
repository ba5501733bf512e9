"""Where models come from: providers, the user's own files and modules, sources of other packages."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import modelsum
from modelsum.sources import finding, installed


def show_json(cli, *arguments: str) -> dict:
    done = cli("show", *arguments, "--format", "json")
    assert done.code == 0, done.err
    return json.loads(done.out)


# ---- providers


def test_a_bare_name_that_is_not_documented_comes_from_an_installed_provider(modelsum_cli) -> None:
    """vit_b_16 is torchvision's: 86,567,656 params and 17.564 G (tests/oracles/torchvision-recount.csv)."""
    pytest.importorskip("torchvision")
    summary = show_json(modelsum_cli, "vit_b_16")
    assert summary["model"] == {
        "spec": "vit_b_16",
        "source": "torchvision",
        "class": "VisionTransformer",
        "arguments": {},
    }
    assert summary["totals"]["params"] == 86_567_656
    assert round(summary["totals"]["macs"] / 1e9, 3) == 17.564


def test_a_documented_name_stays_documented_unless_a_provider_is_named() -> None:
    pytest.importorskip("torchvision")
    assert modelsum.summarize("resnet18", memory=False).model.source == "documented"
    named = modelsum.summarize("torchvision/resnet18", memory=False)
    assert named.model.source == "torchvision"
    assert named.totals.params == 11_689_512


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("torchvision/efficientnet_b1", (1, 3, 240, 240)),  # the crop size of its weights
        ("torchvision/vit_h_14", (1, 3, 224, 224)),  # built for 224, though its weights are for 518
        ("torchvision/fcn_resnet50", (1, 3, 520, 520)),
        ("torchvision/r3d_18", (1, 3, 16, 112, 112)),
        ("timm/convnext_tiny.in12k_ft_in1k_384", (1, 3, 384, 384)),  # the tag's own size
        ("timm/vit_tiny_patch16_384", (1, 3, 384, 384)),
    ],
)
def test_the_default_input_is_the_one_of_the_weights(name: str, shape: tuple[int, ...]) -> None:
    pytest.importorskip(name.split("/")[0])
    assert modelsum.summarize(name, memory=False).inputs[0].shape == shape


def test_optical_flow_takes_two_images_and_detection_a_list() -> None:
    pytest.importorskip("torchvision")
    assert len(modelsum.summarize("torchvision/raft_small", memory=False).inputs) == 2
    detection = modelsum.summarize("torchvision/ssdlite320_mobilenet_v3_large", memory=False)
    assert detection.totals.params == 3_440_060  # num_params of torchvision-weights 0.29.1
    assert detection.device == "cpu"
    assert "nonzero" in detection.notices[0] or "meta" in detection.notices[0]


@pytest.mark.parametrize("name", ["torchvision/vgg11", "timm/vit_tiny_patch16_224"])
def test_an_argument_that_the_provider_refuses(name: str) -> None:
    pytest.importorskip(name.split("/")[0])
    with pytest.raises(modelsum.UsageError, match="unexpected keyword argument 'num_clases'"):
        modelsum.summarize(name, model_args={"num_clases": 3})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("torchvision/resnext5O_32x4d", ["torchvision has no model 'resnext5O_32x4d'", "resnext50_32x4d"]),
        ("timm/vit_bse_patch16_224", ["timm has no model 'vit_bse_patch16_224'", "vit_base_patch16_224"]),
        ("tim/resnet50", ["unknown provider 'tim'", "timm"]),
        ("timm/", ["names a provider but no model", "timm/NAME"]),
    ],
)
def test_unknown_names_of_a_provider(modelsum_cli, name: str, words: list[str]) -> None:
    done = modelsum_cli("show", name)
    assert done.code == 2
    for word in words:
        assert word in done.err


@pytest.mark.parametrize("provider", ["torchvision", "timm", "transformers"])
def test_a_missing_provider_says_how_to_install_it(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = installed.importlib.util.find_spec
    monkeypatch.setattr(
        installed.importlib.util, "find_spec", lambda name, *a: None if name == provider else real(name, *a)
    )
    installed.folder.cache_clear()
    try:
        with pytest.raises(modelsum.UsageError) as missing:
            modelsum.summarize(f"{provider}/resnet50")
    finally:
        installed.folder.cache_clear()
    assert f"pip install 'modelsum[{provider}]'" in str(missing.value)


# ---- the user's own

NET = """
from torch import nn
class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.fc = nn.Linear(8, width)
    def forward(self, x):
        return self.fc(x)
def make(width=2):
    return Net(width)
net = Net(3)
number = 7
class Group:
    inner = Net
def broken():
    raise ZeroDivisionError("no width")
"""


@pytest.mark.parametrize(
    ("attribute", "arguments", "width"),
    [
        ("Net", [], 4),
        ("Net", ["--arg", "width=9"], 9),
        ("make", [], 2),
        ("net", [], 3),
        ("Group.inner", [], 4),
    ],
)
def test_an_attribute_is_a_class_a_factory_or_a_module(
    modelsum_cli, tmp_path: Path, attribute: str, arguments: list[str], width: int
) -> None:
    (tmp_path / "nets.py").write_text(NET)
    summary = show_json(modelsum_cli, f"{tmp_path / 'nets.py'}:{attribute}", "--input", "8", *arguments)
    assert summary["totals"]["params"] == 8 * width + width
    assert summary["totals"]["macs"] == 8 * width
    assert summary["device"] == "meta"


@pytest.mark.parametrize(
    ("attribute", "code", "words"),
    [
        ("Nett", 2, ["there is no 'Nett'", "Net"]),
        ("number", 2, ["is an int", "torch.nn.Module"]),
        ("broken", 3, ["ZeroDivisionError: no width"]),
    ],
)
def test_attributes_that_are_no_model(
    modelsum_cli, tmp_path: Path, attribute: str, code: int, words: list[str]
) -> None:
    (tmp_path / "nets.py").write_text(NET)
    done = modelsum_cli("show", f"{tmp_path / 'nets.py'}:{attribute}")
    assert done.code == code
    for word in words:
        assert word in done.err


def test_a_module_in_the_current_directory(
    modelsum_cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "own_package_of_nets"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "nets.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    assert show_json(modelsum_cli, "own_package_of_nets.nets:Net", "--input", "8")["totals"]["params"] == 36
    # The same file by its path is part of its package, so that its relative imports work.
    (package / "user.py").write_text("from .nets import Net as Mine")
    assert show_json(modelsum_cli, "own_package_of_nets/user.py:Mine", "--input", "8")["totals"]["macs"] == 32


@pytest.mark.parametrize("line", ["from .parts import Part", "from parts import Part"])
def test_files_beside_the_file_can_be_imported(modelsum_cli, tmp_path: Path, line: str) -> None:
    (tmp_path / "parts.py").write_text("from torch import nn\nclass Part(nn.Linear):\n    pass\n")
    (tmp_path / "whole.py").write_text(f"{line}\ndef make():\n    return Part(8, 2)\n")
    assert show_json(modelsum_cli, f"{tmp_path / 'whole.py'}:make", "--input", "8")["totals"]["macs"] == 16


def test_a_file_that_cannot_be_imported(modelsum_cli, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import no_such_package_anywhere")
    done = modelsum_cli("show", f"{tmp_path / 'bad.py'}:Net")
    assert done.code == 3
    assert "No module named 'no_such_package_anywhere'" in done.err


def test_a_shape_alone_is_enough_for_a_model_that_takes_ids(modelsum_cli, tmp_path: Path) -> None:
    (tmp_path / "text.py").write_text("from torch import nn\ndef make():\n    return nn.Embedding(10, 4)\n")
    summary = show_json(modelsum_cli, f"{tmp_path / 'text.py'}:make", "--input", "6")
    assert summary["inputs"] == [{"name": None, "shape": [1, 6], "dtype": "int64"}]
    assert "int64" in summary["notices"][0]


# ---- sources of other packages


class Toy:
    name = "toy"

    def knows(self, spec) -> bool:
        return spec.kind == "name" and spec.name == "toy_linear"

    def names(self) -> list[str]:
        return ["toy_linear"]

    def load(self, spec, arguments, device) -> modelsum.sources.Loaded:
        from torch import nn

        from modelsum.spec import InputSpec

        return modelsum.sources.Loaded(
            nn.Linear(3, 2, device=device), self.name, default_inputs=(InputSpec(None, (3,), None),)
        )


toy = Toy()


@pytest.fixture
def with_entry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Install a package with such an entry point, for the command."""

    def add(name: str, value: str) -> None:
        package = tmp_path / f"{name}-1.0.dist-info"
        package.mkdir()
        (package / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (package / "entry_points.txt").write_text(f"[{finding.ENTRY_POINTS}]\n{name} = {value}\n")
        there = [str(tmp_path), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, there)))

    return add


def test_another_package_brings_a_source_by_entry_point(modelsum_cli, with_entry) -> None:
    with_entry("toy", f"{__name__}:toy")
    for name in ("toy_linear", "toy/toy_linear"):
        summary = show_json(modelsum_cli, name)
        assert summary["model"]["source"] == "toy"
        assert summary["totals"]["macs"] == 6


def test_a_broken_source_of_another_package_is_named_and_hides_no_other(modelsum_cli, with_entry) -> None:
    with_entry("ruin", "no_such_package_anywhere:source")
    assert show_json(modelsum_cli, "squeezenet1_1")["totals"]["params"] == 1_235_496
    done = modelsum_cli("show", "ruin/x")
    assert done.code == 2
    assert "'ruin'" in done.err


def test_the_built_in_sources_come_through_the_same_door() -> None:
    assert {"documented", "imported", "torchvision", "timm", "transformers"} <= finding._entries().keys()
