"""`modelsum list`: every documented name, by pattern, as text and JSON."""

from __future__ import annotations

import json

from modelsum import zoo


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
    done = modelsum_cli("list", "resnext")
    assert done.code == 2
    assert "no documented name matches 'resnext'" in done.err
