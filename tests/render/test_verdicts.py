"""The outcome of the gate in every format: against the formats' own documents, with hostile texts in it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from markdown_it import MarkdownIt

from modelsum.baselines.gate.verdict import Cause, Finding, Outcome, Place, RuleChange, Standing, Verdict
from modelsum.render import FORMATS, RenderOptions, render
from modelsum.render.verdict.words import amount, change, percent

FULL, EMPTY = "\u2588", "\u2591"
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
    "training_peak",
    True,
    "over limit",
    "error",
    None,
    82_737_664,
    most=77_806_080,
    place=Place("pyproject.toml", 12),
)
RED = Verdict(
    "resnet50",
    "regressed",
    "error",
    findings=(MACS, PEAK),
    causes=(Cause("layer2.0.conv1", "stride 2x2 => 1x1", {"macs": 77_070_336}),),
    message="see docs/budget.md",
    place=Place("pyproject.toml", 8),
    source=Place("my nets/resnet.py", 41),
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
BETTER = Verdict(
    "lean",
    "improved",
    findings=(replace(MACS, state="improved", severity="note", old=MACS.new, new=MACS.old),),
    source=Place("pyproject.toml", 9),
)
OK = Verdict("vgg16", "ok")
LOOSENED = RuleChange("x", "limit of macs", "1 => 2", True, Place("pyproject.toml", 20))
PINNED = RuleChange("x", "macs", "is pinned", False, Place("pyproject.toml", 21))
ALL = Outcome((OK, RED, WARNED, FAILED, NEW, BETTER), "the baselines in reports", (PINNED, LOOSENED))


@pytest.mark.parametrize("format_", FORMATS["Outcome"])
@pytest.mark.parametrize(
    "outcome", [ALL, Outcome((), "nothing"), Outcome((OK,), "it")], ids=["all", "none", "ok"]
)
def test_every_format_takes_every_outcome(format_: str, outcome: Outcome) -> None:
    text = render(outcome, format_)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


# ---- text


def test_text_in_full() -> None:
    assert (
        render(Outcome((OK, RED), "the baselines in reports"), "text")
        == """\
vgg16     ok
resnet50  regressed
  macs                3,857,973,248 => 4,089,184,256  +231,211,008  +5.99%
                 (tolerance 1% + 1,420,268: up to 3,897,973,248 passes)
  training_peak  limit 77,806,080 B  <  82,737,664 B  +4,931,584 B  +6.34%
                        (74.20 MiB)      (78.90 MiB)   (+4.70 MiB)
  layers behind it:
    layer2.0.conv1: stride 2x2 => 1x1, macs +77,070,336
  see docs/budget.md
  Fix the model, or accept it with `modelsum check --update resnet50` and raise
  the limit in pyproject.toml:12.

2 checks: 1 regressed, 1 ok (against the baselines in reports)
"""
    )


@pytest.mark.parametrize("size", [10**3, 10**9, 10**12])
def test_text_fits_into_80_columns_however_large_the_figures(size: int) -> None:
    figures = ("macs", "params", "saved_for_backward", "training_peak")
    findings = tuple(
        Finding(
            name, "_" in name, "regressed", "error", 3 * size, 4 * size, most=3 * size, rule="tolerance 0"
        )
        for name in figures
    )
    causes = tuple(Cause(f"blocks.{n}.mlp", "width 64 => 65", dict.fromkeys(figures, size)) for n in range(3))
    verdict = replace(RED, findings=findings, causes=causes, message="a word " * 40, accepted=findings)
    rules = (replace(LOOSENED, change=f"{'a word ' * 20} => 2"),)
    text = render(Outcome((verdict,), "the baselines in a folder with a long name", rules), "text")
    assert max(map(len, text.splitlines())) <= 80
    for name in figures:
        exact = f"{4 * size:,} B" if "_" in name else f"{4 * size:,}"
        assert re.search(rf"{name}\s+{3 * size:,}( B)? +=> +{exact} +\+", text), name


def test_what_is_less_than_a_kib_has_no_other_unit() -> None:
    small = replace(PEAK, most=100, new=200)
    assert "200 B  +100 B  +100.00%\n  Fix" in render(
        Outcome((replace(RED, findings=(small,), causes=(), message=""),), ""), "text"
    )


def test_loosened_rules_are_said_apart() -> None:
    text = render(ALL, "text")
    assert "Loosened on this branch:\n  x: limit of macs 1 => 2\n" in text
    assert "Changed on this branch:\n  x: macs is pinned\n" in text
    for format_ in set(FORMATS["Outcome"]) - {"text"}:
        assert "x: limit of macs 1 =" in render(ALL, format_), format_


def test_colour_is_for_a_terminal_alone() -> None:
    assert "\033[31mregressed\033[0m" in render(ALL, "text", RenderOptions(color=True))
    assert "\033[3" not in render(ALL, "text")


def test_many_layers_are_cut_and_counted() -> None:
    many = replace(RED, causes=tuple(Cause(f"block.{n}", "", {"macs": 1}) for n in range(37)))
    text = render(Outcome((many,), ""), "text")
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
    assert change(old, new, is_bytes=False) == said


def test_bytes_are_exact_and_as_they_are_read() -> None:
    assert amount(82_737_664, is_bytes=True) == "82,737,664 B (78.90 MiB)"
    assert change(77_806_080, 82_737_664, is_bytes=True) == "+4,931,584 B (+4.70 MiB), +6.34%"
    assert change(82_737_664, 77_806_080, is_bytes=True) == "-4,931,584 B (-4.70 MiB), -5.96%"


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
    *commands, last = render(outcome, "github").splitlines()
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
    assert [command for command, _, _ in found] == [
        *("warning", "error", "error", "warning", "notice", "notice")
    ]
    _, properties, message = found[1]
    assert properties == {
        "file": "my nets/resnet.py",
        "line": "41",
        "title": "modelsum resnet50: regressed (macs +5.99%)",
    }
    assert message.splitlines() == [
        "macs 3,857,973,248 => 4,089,184,256 [+231,211,008, +5.99%] "
        "(tolerance 1% + 1,420,268: up to 3,897,973,248 passes)",
        "training_peak 82,737,664 B (78.90 MiB) > limit 77,806,080 B (74.20 MiB) "
        "[+4,931,584 B (+4.70 MiB), +6.34%]",
        "layer layer2.0.conv1: stride 2x2 => 1x1, macs +77,070,336",
        "The baseline is reports/resnet50.json:3276.",
        "see docs/budget.md",
        "Fix the model, or accept it with `modelsum check --update resnet50` and raise the limit in "
        "pyproject.toml:12.",
    ]


def test_github_annotates_loosened_rules_in_one_warning_on_the_first() -> None:
    other = replace(LOOSENED, check="y", place=Place("pyproject.toml", 30))
    ((command, properties, message),) = annotations(Outcome((), "", (LOOSENED, other)))
    assert (command, properties["line"]) == ("warning", "20")
    assert message == "x: limit of macs 1 => 2\ny: limit of macs 1 => 2"


def test_github_hostile_text_stays_in_its_place() -> None:
    _, properties, message = annotations(ALL)[2]
    assert (properties["file"], properties["line"]) == ("a,b:c.toml", "2")
    assert "100% wrong,\n" in message
    assert len(render(Outcome((FAILED,), "x\n::error::y"), "github").splitlines()) == 2


def test_github_shows_at_most_ten_of_a_kind_the_worst_first_and_counts_the_rest() -> None:
    red = tuple(replace(RED, name=f"red{n}") for n in range(4))
    warned = tuple(replace(WARNED, name=f"warned{n}") for n in range(13))
    text = render(Outcome((*warned, *red), ""), "github")
    commands = [line for line in text.splitlines() if line.startswith("::")]
    assert [line.startswith("::error") for line in commands] == [True] * 4 + [False] * 10
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
    root = Xml.fromstring(render(ALL, "junit"))
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
    assert [case.attrib["name"] for case in suite.iter("testcase")] == [v.name for v in ALL.verdicts]


def test_junit_says_failure_error_and_skipped() -> None:
    cases = {case.attrib["name"]: case for case in Xml.fromstring(render(ALL, "junit")).iter("testcase")}
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
    return MarkdownIt("gfm-like", {"linkify": False}).render(render(outcome, "markdown"))


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


def test_markdown_has_a_bar_for_each_figure_beside_its_limit() -> None:
    """3 of 4 MiB are 15 of 20 characters; what is above its limit has all of them, and a mark."""
    limits = (
        Standing("training_peak", True, 3 << 20, 4 << 20),
        Standing("macs", False, 4_089_184_256, 4_000_000_000),
        Standing("inference_peak", True, None, 1 << 20),
    )
    text = render(Outcome((Verdict("net", "ok", limits=limits),), "main"), "markdown")
    assert [line for line in text.splitlines() if "`net` |" in line][1:] == [
        f"| `net` | training\\_peak | 3.00 MiB | 4.00 MiB | `{15 * FULL}{5 * EMPTY}` 75.0 % |",
        f"| `net` | macs | 4.089 G | 4 G | `{20 * FULL}` 102.2 % \u274c |",
        "| `net` | inference\\_peak | - | 1.00 MiB |  |",
    ]


def test_markdown_hostile_text_is_plain() -> None:
    """What a model says is code, in which GitHub mentions nobody; a sentence has no tag or link in it."""
    html = rendered(Outcome((FAILED,), "a | b"))
    assert "<pre><code" in html
    assert "&lt;line 3&gt; | *here*" in html
    assert "<em>" not in html
    sentence = "the __init__ of [nets](x) <b> & `code *here*` *there* &amp;"
    spoken = rendered(Outcome((replace(NEW, reason=sentence),), ""))
    assert "the __init__ of [nets](x) &lt;b&gt; &amp; <code>code *here*</code> *there* &amp;amp;" in spoken
    fenced = rendered(Outcome((replace(FAILED, reason="```\n<b>"),), ""))
    assert "```\n&lt;b&gt;\n</code></pre>" in fenced


def test_markdown_has_bytes_as_they_are_read() -> None:
    html = rendered(ALL)
    assert '<td style="text-align:right">limit 77,806,080 B (74.20 MiB)</td>' in html
    assert '<td style="text-align:right">+4,931,584 B (+4.70 MiB), +6.34%</td>' in html


# ---- GitLab


def test_code_quality_has_what_gitlab_reads() -> None:
    issues = json.loads(render(ALL, "codequality"))
    for issue in issues:
        assert set(issue) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert issue["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert isinstance(issue["location"]["lines"]["begin"], int)
        assert not issue["location"]["path"].startswith(("/", "./"))
        assert "\n" not in issue["description"]
    assert len({issue["fingerprint"] for issue in issues}) == len(issues)
    assert [issue["check_name"] for issue in issues] == [
        "modelsum/regressed",
        "modelsum/failed",
        "modelsum/regressed",
        "modelsum/new",
        "modelsum/loosened",
    ]
    assert issues[0]["location"] == {"path": "my nets/resnet.py", "lines": {"begin": 41}}


def test_figures_of_one_check_are_one_issue_with_all_of_them() -> None:
    (issue,) = json.loads(render(Outcome((RED,), ""), "codequality"))
    assert issue["description"].startswith("resnet50: regressed (macs +5.99%): macs 3,857,973,248 => ")
    assert "; training_peak 82,737,664 B (78.90 MiB) > limit" in issue["description"]


# Otherwise the same: other figures, and lines that have moved.
MOVED = replace(
    RED,
    findings=(replace(MACS, new=5_000_000_000, place=Place("r.json", 9)), PEAK),
    source=Place("my nets/resnet.py", 141),
)


def test_a_fingerprint_depends_neither_on_figures_nor_on_lines() -> None:
    """GitLab tells an issue that was there before from a new one by it."""
    before, after = (
        [i["fingerprint"] for i in json.loads(render(Outcome((v,), ""), "codequality"))] for v in (RED, MOVED)
    )
    assert before == after


# ---- SARIF

# What the schema of version 2.1.0 asks for, of the objects that are used: per object its properties, required
# ones with a star.
_SARIF = {
    "log": "$schema version* runs*",
    "run": "tool* originalUriBaseIds columnKind results",
    "tool": "driver*",
    "driver": "name* version rules",
    "rule": "id* shortDescription",
    "result": "ruleId ruleIndex level message* locations relatedLocations partialFingerprints",
    "location": "id physicalLocation message",
    "physicalLocation": "artifactLocation region",
    "artifactLocation": "uri uriBaseId description",
    "region": "startLine",
    "message": "text",
}


def sarif(outcome: Outcome) -> dict[str, Any]:
    """The only run of the log, after every object of it was compared with the schema."""

    def has(kind: str, value: dict[str, Any]) -> dict[str, Any]:
        names = _SARIF[kind].split()
        assert {n.rstrip("*") for n in names if n.endswith("*")} <= set(value), kind
        assert set(value) <= {n.rstrip("*") for n in names}, kind
        return value

    def message(value: dict[str, Any]) -> None:
        assert has("message", value)["text"]
        assert not re.search(r"(?<!{){\d+}(?!})", value["text"]), "a place for an argument"

    def location(value: dict[str, Any]) -> None:
        physical = has("physicalLocation", has("location", value)["physicalLocation"])
        artifact = has("artifactLocation", physical["artifactLocation"])
        assert artifact["uriBaseId"] in run["originalUriBaseIds"]
        assert re.fullmatch(r"[\w.~/%-]+", artifact["uri"]), "not a relative reference"
        assert has("region", physical["region"])["startLine"] >= 1

    log = has("log", json.loads(render(outcome, "sarif")))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    has("run", run)
    driver = has("driver", has("tool", run["tool"])["driver"])
    rules = [has("rule", rule)["id"] for rule in driver["rules"]]
    assert len(set(rules)) == len(rules)
    for result in run["results"]:
        assert rules[has("result", result)["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("none", "note", "warning", "error")
        message(result["message"])
        for place in (*result["locations"], *result.get("relatedLocations", ())):
            location(place)
        for related in result.get("relatedLocations", ()):
            message(related["message"])
        assert all(isinstance(print_, str) for print_ in result["partialFingerprints"].values())
    return run


def test_sarif_is_by_its_schema() -> None:
    assert sarif(Outcome((OK,), "it"))["results"] == []
    results = sarif(ALL)["results"]
    assert [(result["ruleId"], result["level"]) for result in results] == [
        ("regressed/macs", "error"),
        ("failed", "error"),
        ("regressed/macs", "warning"),
        ("new", "note"),
        ("loosened", "warning"),
    ]


def test_sarif_stands_on_the_models_line_and_names_baseline_and_limit() -> None:
    result = sarif(ALL)["results"][0]
    (place,) = result["locations"]
    assert place["physicalLocation"] == {
        "artifactLocation": {"uri": "my%20nets/resnet.py", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 41},
    }
    related = [
        (at["message"]["text"], at["physicalLocation"]["artifactLocation"]["uri"])
        for at in result["relatedLocations"]
    ]
    assert related == [
        ("macs: its baseline", "reports/resnet50.json"),
        ("training_peak: its limit", "pyproject.toml"),
    ]


def test_sarif_fingerprints_tell_checks_apart_and_move_with_their_lines() -> None:
    prints = [
        tuple(result["partialFingerprints"].items())
        for outcome in (ALL, Outcome((MOVED,), ""))
        for result in sarif(outcome)["results"]
    ]
    assert prints[0] == prints[-1]
    assert len(set(prints)) == len(prints) - 1


def test_sarif_braces_are_no_places_for_arguments() -> None:
    rule = replace(LOOSENED, change="{0} => {1}")
    assert "{{0}} => {{1}}" in sarif(Outcome((), "", (rule,)))["results"][0]["message"]["text"]


# ---- JSON


def test_json_has_every_verdict_with_exact_figures() -> None:
    outcome = json.loads(render(ALL, "json"))
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
    assert (red["file"], red["line"]) == ("pyproject.toml", 8)
    assert red["source"] == {"file": "my nets/resnet.py", "line": 41}
    assert outcome["rules_changed"] == ["x: macs is pinned", "x: limit of macs 1 => 2"]
    assert outcome["rules_loosened"] == ["x: limit of macs 1 => 2"]
