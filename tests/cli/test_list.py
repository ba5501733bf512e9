"""`modelsum list`: every documented name, and those of providers, by pattern, in every format."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import pytest

from modelsum import zoo

PROVIDERS = ("timm", "torchvision", "transformers")


def test_every_name_is_listed_with_family_input_options_and_table(modelsum_cli) -> None:
    entries = json.loads(modelsum_cli("list", "--format", "json").out)["architectures"]
    assert [e["name"] for e in entries] == list(zoo.ARCHITECTURES)
    assert {e["name"] for e in entries if e["documented_table"]} == {
        "mnasnet0_5",
        "mobilenet_v2",
        "densenet121",
        "resnet50",
        "vgg16",
        "squeezenet1_1",
    }
    resnet50 = next(e for e in entries if e["name"] == "resnet50")
    assert resnet50["family"] == "ResNet"
    assert resnet50["input"] == "3x224x224"
    assert resnet50["options"]["num_classes"] == 1000


def test_the_text_names_them_all_and_says_who_has_a_table(modelsum_cli) -> None:
    text = modelsum_cli("list").out
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert set(zoo.ARCHITECTURES) <= set(lines)
    assert lines["vgg16"].endswith("documented table")
    assert not lines["vgg19"].endswith("documented table")


def test_a_pattern_is_a_part_of_a_name_a_glob_or_a_family(modelsum_cli) -> None:
    def names(pattern: str) -> list[str]:
        entries = json.loads(modelsum_cli("list", pattern, "--format", "json").out)["architectures"]
        return [e["name"] for e in entries]

    assert names("vgg1?") == ["vgg11", "vgg13", "vgg16", "vgg19"]
    assert names("plainnet") == ["plainnet20", "plainnet56"]
    assert "squeezenet1_0" in names("SqueezeNet")


def test_a_pattern_without_a_match_is_an_error(modelsum_cli) -> None:
    done = modelsum_cli("list", "resnexxt")
    assert (done.code, done.out) == (2, "")
    assert "no documented name matches 'resnexxt'" in done.err
    assert "Did you mean ResNet" in done.err


# ---- what providers have


def listed(cli, pattern: str) -> list[str]:
    done = cli("list", pattern, "--format", "json")
    assert done.code == 0, done.err
    value = json.loads(done.out)
    assert all(m["model"] == f"{m['provider']}/{m['name']}" for m in value["models"])
    return [*(a["name"] for a in value["architectures"]), *(m["model"] for m in value["models"])]


def own_names(provider: str) -> list[str]:
    """As the package itself lists them."""
    package = pytest.importorskip(provider)
    if provider == "transformers":
        return list(package.models.auto.configuration_auto.CONFIG_MAPPING_NAMES)
    return list((package if provider == "timm" else package.models).list_models())


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_provider_and_a_slash_list_all_that_it_has(modelsum_cli, provider: str) -> None:
    assert listed(modelsum_cli, f"{provider}/") == sorted(f"{provider}/{n}" for n in own_names(provider))
    assert listed(modelsum_cli, provider) == listed(modelsum_cli, f"{provider}/")


def test_patterns_of_a_providers_models(modelsum_cli) -> None:
    pytest.importorskip("torchvision")
    assert listed(modelsum_cli, "torchvision/vit_?_16") == ["torchvision/vit_b_16", "torchvision/vit_l_16"]
    assert "torchvision/quantized_mobilenet_v2" in listed(modelsum_cli, "torchvision/MobileNet")
    assert listed(modelsum_cli, "documented/plainnet") == ["plainnet20", "plainnet56"]


def test_what_is_not_documented_is_looked_for_in_all_providers(modelsum_cli) -> None:
    for provider in PROVIDERS:
        pytest.importorskip(provider)
    found = listed(modelsum_cli, "vit*")
    assert {name.partition("/")[0] for name in found} == set(PROVIDERS)
    assert all(name.partition("/")[2].startswith("vit") for name in found)
    assert listed(modelsum_cli, "vgg16") == ["vgg16", "vgg16_bn"], "documented names alone"


def test_the_formats(modelsum_cli) -> None:
    pytest.importorskip("torchvision")
    pattern = "torchvision/vit_?_32"
    assert modelsum_cli("list", pattern).out == (
        "torchvision (2 models)\n  torchvision/vit_b_32\n  torchvision/vit_l_32\n"
    )
    assert modelsum_cli("list", pattern, "--format", "csv").out == (
        "model,provider,family,input,documented_table,options,source\n"
        "torchvision/vit_b_32,torchvision,,,,,\n"
        "torchvision/vit_l_32,torchvision,,,,,\n"
    )
    assert modelsum_cli("list", pattern, "--format", "markdown").out == (
        "| Model | Provider |\n| :--- | :--- |\n"
        "| torchvision/vit_b_32 | torchvision |\n| torchvision/vit_l_32 | torchvision |\n"
    )
    rows = list(csv.DictReader(modelsum_cli("list", "vgg16", "--format", "csv").out.splitlines()))
    assert [(r["model"], r["provider"], r["input"], r["documented_table"]) for r in rows] == [
        ("vgg16", "documented", "3x224x224", "true"),
        ("vgg16_bn", "documented", "3x224x224", "false"),
    ]
    assert "num_classes=1000" in rows[0]["options"]
    assert modelsum_cli("list", "vgg16", "--format", "markdown").out == (
        "| Model | Family | Input | Documented table |\n| :--- | :--- | :--- | :--- |\n"
        "| vgg16 | VGG | 3x224x224 | yes |\n| vgg16_bn | VGG | 3x224x224 |  |\n"
    )


@pytest.mark.parametrize(
    ("pattern", "message", "hint"),
    [
        ("tim/", "unknown provider 'tim'", "Did you mean timm?"),
        ("torchvision/resnt50", "torchvision has no model that matches 'resnt50'", "Did you mean resnet50"),
        ("torchvision/qqqq", "torchvision has no model that matches 'qqqq'", "`modelsum list torchvision/`"),
        ("imported/", "imported has no list of its models", ""),
        ("documented/swin", "no documented name matches 'swin'", ""),
    ],
)
def test_what_there_is_none_of(modelsum_cli, pattern: str, message: str, hint: str) -> None:
    pytest.importorskip("torchvision")
    done = modelsum_cli("list", pattern)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert hint in done.err


WITHOUT_TIMM = """
import sys
sys.modules["timm"] = None
from modelsum.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


def test_a_package_that_is_not_there_is_one_sentence_with_the_line_that_installs_it() -> None:
    def run(pattern: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", WITHOUT_TIMM, "list", pattern]
        return subprocess.run(command, capture_output=True, text=True)

    done = run("timm/")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "modelsum: error: timm is not installed\nInstall it with: pip install 'modelsum[timm]'\n"
    )
    assert "modelsum list timm/" not in run("vgg16").stdout
