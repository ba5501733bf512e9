"""A page as a file: its policy, its sizes and its sections. What it does is in test_browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hand_made_pages import HOSTILE, PAGES, WITH_STEP, hostile

import modelsum.render.page
from modelsum.render import FORMATS, RenderOptions, render
from modelsum.render.page import KINDS
from modelsum.render.page.chart import ticks
from modelsum.render.page.columns import of_summary, runs, steps

FOLDER = Path(modelsum.render.page.__file__).parent


def element(text: str, tag: str) -> str:
    (found,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    return found


def data(text: str) -> Any:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_lets_its_own_script_and_style_run_and_forbids_all_else(name: str) -> None:
    text = render(PAGES[name](), "html")
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules.keys() == {"default-src", "script-src", "style-src", "base-uri", "form-action"}
    for tag in ("script", "style"):
        if f"<{tag}>" in text:
            digest = hashlib.sha256(element(text, tag).encode()).digest()
            assert rules[f"{tag}-src"] == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert re.findall(r"https?://[^\"'< ]*", text.replace("http://www.w3.org/2000/svg", "")) == []
    assert not re.search(r"<[^>]* (style|on\w+)=", text), "which the policy would forbid"


def test_whatever_a_model_wrote_ends_no_element() -> None:
    text = render(hostile(), "html")
    assert "<script>alert" not in text
    assert "<img" not in text
    assert data(text)["model"]["title"] == HOSTILE


def test_every_kind_of_section_is_a_template_and_its_scripts_and_nothing_else_is_there() -> None:
    scripts = {f"{script}.js" for of_kind in KINDS.values() for script in of_kind}
    assert {file.name for file in (FOLDER / "sections").iterdir()} == {f"{k}.html" for k in KINDS} | scripts


def test_nothing_goes_into_a_template_as_markup() -> None:
    """Every value is escaped: no template says otherwise, and what is markup is made in one place."""
    templates = [FOLDER / "page.html", *(FOLDER / "sections").glob("*.html")]
    assert not [file.name for file in templates if "safe" in file.read_text()]
    made = [file.name for file in FOLDER.glob("*.py") if "Markup" in file.read_text()]
    assert made == ["__init__.py"]


def test_a_page_brings_only_the_scripts_that_it_needs() -> None:
    assert "<script>" not in render(PAGES["check"](), "html")
    assert "sections.timeline" not in render(PAGES["diff"](), "html")


def test_a_rank_is_a_bar_of_its_parts_with_what_it_is_in_words() -> None:
    text = render(PAGES["ranks"](), "html")
    assert '<text x="0" y="45.0">0-1 (dp=0)</text>' in text
    assert "0-1 (dp=0): weights 1.72 KiB" in text
    assert "<th>Sent a step</th>" in text.replace(' class="r"', "")


def test_columns_have_the_layers_as_numbers() -> None:
    columns = of_summary(WITH_STEP)
    assert columns["up"][:8] == [0, 1, 1, 2, 3, 5, 1, 2]
    assert [columns["names"][name] for name in columns["name"][:4]] == ["", "features", "0", "1"]
    assert columns["own"]["saved"][6:8] == [2048, None]  # the second call is on the row of the first
    assert sum(columns["own"]["macs"]) == 11_328
    assert columns["marks"] == {"7": "(reused)"}


def test_what_hardly_changes_and_what_repeats_is_short() -> None:
    assert steps([5, 5, 8, 2]) == [5, 0, 3, -6]
    assert runs(["a", "a", "b"]) == [("a", 2), ("b", 1)]


@pytest.mark.parametrize(
    ("most", "found"),
    [(1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (214, [0, 50, 100, 150, 200]), (23.6, [0, 5, 10, 15, 20])],
)
def test_the_ticks_of_an_axis_are_round(most: float, found: list[float]) -> None:
    assert ticks(most) == pytest.approx(found)


def test_no_option_leaves_anything_out_of_a_page() -> None:
    assert render(WITH_STEP, "html", RenderOptions(depth=0)) == render(WITH_STEP, "html")
    assert all("html" in FORMATS[kind] for kind in ("Summary", "Comparison", "Diff", "Outcome", "Fit"))


def test_the_page_of_resnet50_is_small(modelsum_cli, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    assert modelsum_cli("show", "resnet50", "--format", "html", "--output", str(file)).code == 0
    assert file.stat().st_size <= 200_000
    text = file.read_text()
    assert "layers.[" not in text
    assert sum(data(text)["model"]["own"]["params"]) == 25_557_032
