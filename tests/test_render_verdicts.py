"""The outcome of the gate in every format: against the formats' own documents, with hostile texts in it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from xml.etree import ElementTree as Xml

import pytest
from markdown_it import MarkdownIt

from modelsum.baselines.gate.verdict import Cause, Finding, Outcome, Place, Verdict
from modelsum.render.verdict import FORMATS, render_outcome
from modelsum.render.verdict.words import change, percent

MACS = Finding(
    "macs",
    False,
    "regressed",
    "error",
    3_857_973_248,
    4_089_184_256,
    most=3_897_973_248,
    rule="tolerance 1% + 1,420,268",
    place=Place("reports/resnet50.json", 3276),
)
PEAK = Finding(
    "training_peak", True, "over limit", "error", None, 2_000, most=1_000, place=Place("pyproject.toml", 12)
)
RED = Verdict(
    "resnet50",
    "regressed",
    "error",
    findings=(MACS, PEAK),
    causes=(Cause("layer2.0.conv1", "stride 2x2 => 1x1", {"macs": 77_070_336}),),
    message="see docs/budget.md",
    place=Place("pyproject.toml", 8),
)
WARNED = replace(
    RED, name="warned", severity="warn", findings=(replace(MACS, severity="warn"),), causes=(), message=""
)
FAILED = Verdict(
    "broken",
    "failed",
    "error",
    reason="its constructor failed: 100% wrong,\nsee: nets.py <line 3> | *here*\x1b[0m",
    place=Place("a,b:c.toml", 2),
    exit_code=3,
)
NEW = Verdict("fresh", "new", "note", reason="there is no baseline", remedy="Store it.", place=Place("p", 1))
BETTER = Verdict("lean", "improved", findings=(replace(MACS, state="improved", severity="note"),))
OK = Verdict("vgg16", "ok")
ALL = Outcome(
    (OK, RED, WARNED, FAILED, NEW, BETTER), "the baselines in reports", ("x: limit of macs 1 => 2",)
)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    "outcome", [ALL, Outcome((), "nothing"), Outcome((OK,), "it")], ids=["all", "none", "ok"]
)
def test_every_format_takes_every_outcome(format_: str, outcome: Outcome) -> None:
    text = render_outcome(outcome, format_)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


# ---- text


def test_text_in_full() -> None:
    assert (
        render_outcome(Outcome((OK, RED), "the baselines in reports"), "text")
        == """\
vgg16     ok
resnet50  regressed
  macs           3,857,973,248 => 4,089,184,256 [+231,211,008, +5.99%]
                 (tolerance 1% + 1,420,268: up to 3,897,973,248 passes)
  training_peak  2,000 B > limit 1,000 B [+1,000, +100.00%]
  layers behind it:
    layer2.0.conv1: macs +77,070,336, stride 2x2 => 1x1
  see docs/budget.md
  Fix the model, or accept it with `modelsum check --update resnet50` and raise
  the limit in pyproject.toml:12.

2 checks: 1 regressed, 1 ok (against the baselines in reports)
"""
    )


def test_colour_is_for_a_terminal_alone() -> None:
    assert "\033[31mregressed\033[0m" in render_outcome(ALL, "text", color=True)
    assert "\033[3" not in render_outcome(ALL, "text")


def test_many_layers_are_cut_and_counted() -> None:
    many = replace(RED, causes=tuple(Cause(f"block.{n}", "", {"macs": 1}) for n in range(37)))
    text = render_outcome(Outcome((many,), ""), "text")
    assert text.count("block.") + int(re.search(r"and (\d+) more", text)[1]) == 37


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (100, 106, "+6, +6.00%"),
        (100, 94, "-6, -6.00%"),
        (10**9, 10**9 + 1, "+1, +<0.01%"),
        (10**9, 10**9 - 1, "-1, -<0.01%"),
        (0, 7, "+7"),
    ],
)
def test_changes_are_exact_and_relative(old: int, new: int, said: str) -> None:
    assert change(old, new) == said


def test_a_percentage_of_no_change() -> None:
    assert percent(5, 5) == "+0.00%"


# ---- GitHub

# The format of a workflow command: ::name key=value,key=value::data, with %, CR and LF escaped in the data,
# and : and , in the values as well.
_COMMAND = re.compile(r"::(error|warning|notice) ((?:[a-z]+=[^:,\r\n]*)(?:,[a-z]+=[^:,\r\n]*)*)::([^\r\n]*)")


def unescaped(text: str) -> str:
    for code, char in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, char)
    return text


def annotations(outcome: Outcome) -> list[tuple[str, dict[str, str], str]]:
    *commands, last = render_outcome(outcome, "github").splitlines()
    assert not last.startswith("::")
    found = []
    for line in commands:
        match = _COMMAND.fullmatch(line)
        assert match, line
        assert re.fullmatch(r"(?:[^%]|%25|%0D|%0A|%3A|%2C)*", line), "a bare % in it"
        pairs = dict(pair.split("=", 1) for pair in match[2].split(","))
        found.append((match[1], {key: unescaped(value) for key, value in pairs.items()}, unescaped(match[3])))
    return found


def test_github_annotations_are_workflow_commands() -> None:
    found = annotations(ALL)
    assert [command for command, _, _ in found] == ["error", "error", "warning", "notice", "notice"]
    _, properties, message = found[0]
    assert properties == {
        "file": "reports/resnet50.json",
        "line": "3276",
        "title": "modelsum resnet50: regressed (macs +5.99%)",
    }
    assert "3,857,973,248 => 4,089,184,256 [+231,211,008, +5.99%]" in message
    assert "layer2.0.conv1" in message
    assert "modelsum check --update resnet50" in message


def test_github_hostile_text_stays_in_its_place() -> None:
    _, properties, message = annotations(ALL)[1]
    assert (properties["file"], properties["line"]) == ("a,b:c.toml", "2")
    assert "100% wrong,\n" in message
    assert len(render_outcome(Outcome((FAILED,), "x\n::error::y"), "github").splitlines()) == 2


def test_github_shows_at_most_ten_the_worst_first_and_counts_the_rest() -> None:
    red = tuple(replace(RED, name=f"red{n}") for n in range(4))
    warned = tuple(replace(WARNED, name=f"warned{n}") for n in range(9))
    text = render_outcome(Outcome((*warned, *red), ""), "github")
    commands = [line for line in text.splitlines() if line.startswith("::")]
    assert [line.startswith("::error") for line in commands] == [True] * 4 + [False] * 6
    assert "3 more have no annotation" in text


# ---- JUnit

# What the schema that Jenkins validates by allows: per element its attributes, required ones with a star, and
# the elements in it.
_JUNIT = {
    "testsuites": ("name tests failures errors time", "testsuite"),
    "testsuite": (
        "name* tests* failures* errors* skipped time timestamp hostname id package file log url group",
        "testsuite testcase properties system-out system-err",
    ),
    "testcase": ("name* classname time group", "skipped error failure system-out system-err"),
    "failure": ("type message", ""),
    "error": ("type message", ""),
    "skipped": ("type message", ""),
    "system-out": ("", ""),
}


def assert_junit(element: Xml.Element) -> None:
    attributes, children = _JUNIT[element.tag]
    allowed = {name.rstrip("*") for name in attributes.split()}
    required = {name.rstrip("*") for name in attributes.split() if name.endswith("*")}
    assert required <= set(element.attrib) <= allowed, element.tag
    for child in element:
        assert child.tag in children.split(), f"{child.tag} in {element.tag}"
        assert_junit(child)
    if len(element):
        assert not (element.text or "").strip(), "text beside elements"


def test_junit_is_by_its_schema_and_its_counts_are_right() -> None:
    root = Xml.fromstring(render_outcome(ALL, "junit"))
    assert root.tag == "testsuites"
    assert_junit(root)
    (suite,) = root
    for name, tag in (
        ("tests", "testcase"),
        ("failures", "failure"),
        ("errors", "error"),
        ("skipped", "skipped"),
    ):
        assert int(suite.attrib[name]) == len(list(suite.iter(tag))), name
    assert [case.attrib["name"] for case in suite] == [v.name for v in ALL.verdicts]


def test_junit_says_failure_error_and_skipped() -> None:
    cases = {
        case.attrib["name"]: case for case in Xml.fromstring(render_outcome(ALL, "junit")).iter("testcase")
    }
    kinds = {name: [child.tag for child in case] for name, case in cases.items()}
    assert kinds == {
        "vgg16": [],
        "resnet50": ["failure"],
        "warned": ["system-out"],
        "broken": ["error"],
        "fresh": ["skipped"],
        "lean": ["system-out"],
    }
    failure = cases["resnet50"][0]
    assert failure.attrib == {"type": "regressed", "message": "resnet50: regressed (macs +5.99%)"}
    assert "layer2.0.conv1" in str(failure.text)


# ---- Markdown


def rendered(outcome: Outcome) -> str:
    return MarkdownIt("gfm-like", {"linkify": False}).render(render_outcome(outcome, "markdown"))


def test_markdown_renders_as_tables_with_a_hidden_marker() -> None:
    html = rendered(ALL)
    assert html.startswith("<!-- modelsum check -->")
    checks, layers = html.split("<table>")[1:3]
    assert "<th>Check</th>" in checks
    assert '<td style="text-align:right">3,857,973,248</td>' in checks
    assert "<code>layer2.0.conv1</code>" in layers
    assert "see docs/budget.md" in html
    assert "<code>modelsum check --update resnet50</code>" in html
    assert all("".join(row).count("<td") == 7 for row in checks.split("</table>")[0].split("<tr>")[2:])


def test_markdown_hostile_text_is_plain() -> None:
    html = rendered(Outcome((FAILED,), "a | b"))
    assert "&lt;line 3&gt;" in html
    assert "<em>" not in html
    assert "*here*" in html


# ---- GitLab


def test_code_quality_has_what_gitlab_reads() -> None:
    issues = json.loads(render_outcome(ALL, "codequality"))
    for issue in issues:
        assert set(issue) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert issue["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert isinstance(issue["location"]["lines"]["begin"], int)
        assert not issue["location"]["path"].startswith(("/", "./"))
        assert "\n" not in issue["description"]
    assert len({issue["fingerprint"] for issue in issues}) == len(issues)
    assert [issue["check_name"] for issue in issues] == [
        "modelsum/regressed",
        "modelsum/over-limit",
        "modelsum/failed",
        "modelsum/regressed",
        "modelsum/new",
    ]


def test_a_fingerprint_does_not_depend_on_the_figures() -> None:
    """GitLab tells an issue that was there before from a new one by it."""
    other = replace(RED, findings=(replace(MACS, new=5_000_000_000, place=Place("r.json", 9)), PEAK))
    before, after = (
        [i["fingerprint"] for i in json.loads(render_outcome(Outcome((v,), ""), "codequality"))]
        for v in (RED, other)
    )
    assert before == after


# ---- JSON


def test_json_has_every_verdict_with_exact_figures() -> None:
    outcome = json.loads(render_outcome(ALL, "json"))
    assert (outcome["kind"], outcome["schema_version"], outcome["passed"], outcome["exit_code"]) == (
        "check",
        1,
        False,
        1,
    )
    red = outcome["checks"][1]
    assert red["findings"][0] == {
        "figure": "macs",
        "unit": "count",
        "state": "regressed",
        "severity": "error",
        "old": 3_857_973_248,
        "new": 4_089_184_256,
        "difference": 231_211_008,
        "most": 3_897_973_248,
        "rule": "tolerance 1% + 1,420,268",
        "file": "reports/resnet50.json",
        "line": 3276,
    }
    assert red["causes"][0]["differences"] == {"macs": 77_070_336}
    assert outcome["rules_changed"] == ["x: limit of macs 1 => 2"]
