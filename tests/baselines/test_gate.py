"""The verdict on a check: every state, tolerances, pins, severities, and what cannot be compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from modelsum.baselines.configuration.checks import Check
from modelsum.baselines.configuration.config import Config
from modelsum.baselines.gate import gate
from modelsum.baselines.gate.rules import changed
from modelsum.baselines.gate.stored import Stored, parse
from modelsum.baselines.gate.verdict import Outcome, Place, Verdict
from modelsum.baselines.quantity import Tolerance, parse_tolerance
from modelsum.baselines.reports.report import Case, Report, ReportRow
from modelsum.baselines.reports.text import to_text
from modelsum.errors import BuildError, UsageError
from modelsum.memory.options import MemoryOptions
from modelsum.request import Request
from modelsum.spec import parse_inputs, parse_model
from modelsum.summary import Input

CASE = Case("net", "imported", {}, (Input(None, (1, 3, 8, 8), "float32"),), 1, "eval", "float32")
MEMORY = {"target": "cuda", "optimizer": "adamw (foreach, default settings)", "attention": "not used"}


def report(macs: int = 1000, params: int = 50, *, case: Case = CASE, **others: Any) -> Report:
    """A model of one convolution with that cost."""
    row = ReportRow("conv", "Conv2d", 1, params, params, macs, 80, None, [1, 4, 8, 8], {"stride": [1, 1]})
    totals = {
        "params": params,
        "trainable_params": params,
        "packed_params": 0,
        "param_bytes": 4 * params,
        "buffers": 0,
        "buffer_bytes": 0,
        "macs": macs,
        "input_bytes": 768,
        "module_calls": 2,
        "torchsummary_rows": 1,
        "forward_backward_bytes": 80,
        "torchsummary_total_bytes": 1048,
    }
    return Report(case, totals | others.pop("totals", {}), (row,), **others)


def with_memory(training_peak: int | None, **assumed: str) -> Report:
    known = {} if training_peak is None else {"training_peak_bytes": training_peak}
    return report(case=dataclasses.replace(CASE, memory=MEMORY | assumed), totals=known)


def stored(of: Report) -> Stored:
    return parse(to_text(of), "reports/net.json")


def judge(old: Report | None, new: Report | Exception, **given: Any) -> Verdict:
    strict = given.pop("strict", False)
    base = given.pop("base", None)
    source = given.pop("source", None)
    given["tolerance"] = {
        name: parse_tolerance(text, is_bytes=False) for name, text in given.pop("tolerance", {}).items()
    }
    return gate.judge(
        check("net", "nets:Net", lines={"": 3, "model": 4, "limits.macs": 7}, **given),
        stored(old) if old else None,
        new,  # type: ignore[arg-type]
        config_file="pyproject.toml",
        source=source,
        strict=strict,
        base=stored(base) if base else None,
    )


def check(name: str, model: str, request: Mapping[str, Any] | None = None, **rules: Any) -> Check:
    """A check of a model that is asked for so, with those rules."""
    asked = {"model": parse_model(model), "memory": MemoryOptions()} | dict(request or {})
    return Check(name, Request(**asked), **rules)


def states(verdict: Verdict) -> dict[str, str]:
    return {found.figure: found.state for found in verdict.findings}


# ---- states


def test_the_same_cost_is_ok() -> None:
    verdict = judge(report(), report())
    assert (verdict.state, verdict.fails, verdict.findings) == ("ok", False, ())


def test_growth_without_tolerance_regresses_by_one() -> None:
    verdict = judge(report(1000), report(1001))
    assert (verdict.state, verdict.fails) == ("regressed", True)
    (found,) = verdict.findings
    assert (found.old, found.new, found.difference, found.most) == (1000, 1001, 1, 1000)


def test_a_finding_points_at_the_line_of_its_figure_in_the_baseline() -> None:
    verdict = judge(report(1000), report(1001))
    place = verdict.findings[0].place
    line = to_text(report(1000)).splitlines()[place.line - 1]
    assert (place.file, line.strip()) == ("reports/net.json", '"macs": 1000,')


def test_the_layer_behind_it_is_named() -> None:
    verdict = judge(report(1000), report(1001))
    assert [(cause.path, dict(cause.differences)) for cause in verdict.causes] == [("conv", {"macs": 1})]


def test_over_its_limit_with_nothing_to_compare_names_the_most_expensive_layer() -> None:
    for verdict in (
        judge(None, report(1000), limits={"macs": 1}),
        judge(report(1000), report(1000), limits={"flops": 1}),
    ):
        assert [(cause.path, dict(cause.differences)) for cause in verdict.causes] == [
            ("conv", {"macs": 1000})
        ]


def test_a_peak_is_put_down_to_what_is_saved_for_backward() -> None:
    def peak(training: int, saved: int) -> Report:
        base = with_memory(training)
        row = dataclasses.replace(base.rows[0], saved_for_backward_bytes=saved)
        return dataclasses.replace(
            base, rows=(row,), totals={**base.totals, "saved_for_backward_bytes": saved}
        )

    verdict = judge(peak(100, 10), peak(150, 60))
    assert [(cause.path, dict(cause.differences)) for cause in verdict.causes] == [
        ("conv", {"saved_for_backward": 50})
    ]


def test_less_is_improved_and_passes() -> None:
    verdict = judge(report(1000), report(900))
    assert (verdict.state, verdict.fails, states(verdict)) == ("improved", False, {"macs": "improved"})


def test_one_figure_up_and_one_down_regresses() -> None:
    verdict = judge(report(1000, 50), report(900, 51))
    assert verdict.state == "regressed"
    assert states(verdict) == {"params": "regressed", "macs": "improved"}


def test_bytes_and_trainable_params_are_not_said_twice_unless_they_move_apart() -> None:
    """And a tolerance for params is one for what follows from them."""
    assert states(judge(report(1000, 50), report(1000, 51))) == {"params": "regressed"}
    assert judge(report(1000, 50), report(1000, 51), tolerance={"params": "2%"}).state == "ok"
    halves = report(1000, 50, totals={"param_bytes": 100})
    assert states(judge(halves, report(1000, 50))) == {"param_bytes": "regressed"}
    assert states(judge(halves, report(1000, 51))) == {"params": "regressed", "param_bytes": "regressed"}
    pinned = judge(report(1000, 50), report(1000, 51), pin=("param_bytes",))
    assert states(pinned) == {"param_bytes": "changed", "params": "regressed"}


@pytest.mark.parametrize(
    ("tolerance", "new", "state"),
    [
        ("0.5%", 100_500, "ok"),
        ("0.5%", 100_501, "regressed"),
        ("10", 100_010, "ok"),
        ("10", 100_011, "regressed"),
        ("0.5% + 10", 100_510, "ok"),
        ("0.5% + 10", 100_511, "regressed"),
        ("0.5% + 10", 99_000, "improved"),
    ],
)
def test_a_tolerance_has_an_exact_edge(tolerance: str, new: int, state: str) -> None:
    assert judge(report(100_000), report(new), tolerance={"macs": tolerance}).state == state


@pytest.mark.parametrize(("new", "state"), [(1000, "ok"), (1001, "changed"), (999, "changed")])
def test_a_pinned_figure_may_not_move_either_way(new: int, state: str) -> None:
    verdict = judge(report(1000), report(new), pin=("macs",))
    assert (verdict.state, verdict.fails) == (state, state == "changed")


def test_a_pin_with_a_tolerance_lets_pass_what_is_within_it_either_way() -> None:
    for new, state in ((995, "improved"), (994, "changed"), (1005, "ok"), (1006, "changed")):
        assert judge(report(1000), report(new), pin=("macs",), tolerance={"macs": "5"}).state == state


@pytest.mark.parametrize(("new", "state"), [(1000, "ok"), (1001, "over limit")])
def test_a_limit_holds_also_where_the_baseline_is_the_same(new: int, state: str) -> None:
    verdict = judge(report(new), report(new), limits={"macs": 1000})
    assert verdict.state == state
    if verdict.fails:
        assert (verdict.findings[0].place.file, verdict.findings[0].place.line) == ("pyproject.toml", 7)


def test_every_figure_with_a_limit_is_kept_beside_it_whether_it_holds_or_not() -> None:
    verdict = judge(report(1000, 50), report(1000, 50), limits={"macs": 2000, "params": 40})
    assert [(each.figure, each.now, each.limit, each.share) for each in verdict.limits] == [
        ("macs", 1000, 2000, 0.5),
        ("params", 50, 40, 1.25),
    ]


def test_a_limit_on_flops_is_twice_the_macs() -> None:
    assert judge(report(1000), report(1000), limits={"flops": 1999}).state == "over limit"
    assert judge(report(1000), report(1000), limits={"flops": 2000}).state == "ok"


def test_a_limit_on_a_figure_that_is_not_known_does_not_hold() -> None:
    verdict = judge(with_memory(None), with_memory(None), limits={"training_peak": 10})
    assert (verdict.state, verdict.fails) == ("over limit", True)


def test_a_warning_does_not_fail_and_is_below_an_error() -> None:
    verdict = judge(report(1000), report(1001), severity={"macs": "warn"})
    assert (verdict.state, verdict.severity, verdict.fails) == ("regressed", "warn", False)
    both = judge(report(1000, 50), report(1001, 51), severity={"macs": "warn"})
    assert both.fails
    assert both.findings[-1].figure == "macs"


def test_the_projects_message_stands_beside_a_failure_alone() -> None:
    assert judge(report(1000), report(1001), message="see docs").message == "see docs"
    assert judge(report(1000), report(1000), message="see docs").message == ""


@pytest.mark.parametrize("strict", [False, True])
def test_new_is_a_note_and_fails_when_strict(strict: bool) -> None:
    verdict = judge(None, report(), strict=strict)
    assert (verdict.state, verdict.fails) == ("new", strict)
    assert "--update net" in verdict.remedy


def test_new_and_over_its_limit_is_over_its_limit() -> None:
    assert judge(None, report(1000), limits={"macs": 999}).state == "over limit"


@pytest.mark.parametrize("strict", [False, True])
def test_an_orphan_is_a_note_and_fails_when_strict(strict: bool) -> None:
    verdict = gate.orphan("old", "reports/old.json", strict=strict)
    assert (verdict.state, verdict.fails) == ("orphan", strict)


def test_a_model_that_fails_says_why() -> None:
    verdict = judge(report(), BuildError("its constructor failed", "Look there."))
    assert (verdict.state, verdict.reason, verdict.remedy) == (
        "failed",
        "its constructor failed",
        "Look there.",
    )


# ---- the line that a verdict is about


def test_a_verdict_is_about_the_models_line() -> None:
    source = Place("nets.py", 12)
    for verdict in (
        judge(report(1000), report(1001), source=source),
        judge(report(1000), report(900), source=source),
        judge(None, report(1000), limits={"macs": 999}, source=source),
        judge(report(), BuildError("its constructor failed"), source=source),
        judge(with_memory(10), with_memory(None), source=source),
    ):
        assert verdict.about == source, verdict.state


def test_a_verdict_on_the_check_itself_is_about_the_checks_line() -> None:
    source = Place("nets.py", 12)
    for verdict in (
        judge(None, report(), source=source),
        judge(report(), report(case=dataclasses.replace(CASE, mode="train")), source=source),
        judge(report(), UsageError("no model of that name"), source=source),
    ):
        assert verdict.about == Place("pyproject.toml", 3), verdict.state
    assert gate.orphan("old", "reports/old.json", strict=True).about == Place("reports/old.json")


def test_a_model_of_an_installed_package_is_where_the_check_names_it() -> None:
    assert judge(report(1000), report(1001)).about == Place("pyproject.toml", 4)


# ---- not comparable


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"inputs": (Input(None, (2, 3, 8, 8), "float32"),)},
            "the input is 1x3x8x8:float32 there and 2x3x8x8:float32 now",
        ),
        ({"mode": "train"}, "the mode is eval there and train now"),
        ({"dtype": "float16"}, "the dtype is float32 there and float16 now"),
        ({"memory": MEMORY}, "the memory is not known there and known now"),
    ],
)
def test_another_case_is_not_comparable_and_says_which(change: dict[str, Any], said: str) -> None:
    verdict = judge(report(), report(case=dataclasses.replace(CASE, **change)))
    assert (verdict.state, verdict.fails) == ("not comparable", True)
    assert said in verdict.reason


def test_another_convention_is_not_comparable() -> None:
    verdict = judge(report(convention={"macs": 1}), report(convention={"macs": 2}))
    assert verdict.state == "not comparable"
    assert "the convention of macs is 1 there and 2 now" in verdict.reason


def test_another_schema_is_not_comparable() -> None:
    text = to_text(report()).replace('"schema_version": 1', '"schema_version": 7')
    verdict = gate.judge(check("net", "n:N"), parse(text, "r.json"), report(), config_file="p")
    assert verdict.state == "not comparable"
    assert "schema is version 7" in verdict.reason


def test_other_constructor_arguments_are_compared() -> None:
    """They are what a change of the model looks like in a check."""
    other = dataclasses.replace(CASE, arguments={"stride": 2})
    assert judge(report(1000), report(1001, case=other)).state == "regressed"


def test_another_training_step_is_not_comparable_but_other_kernels_of_the_model_are() -> None:
    assert judge(with_memory(10), with_memory(10, optimizer="sgd")).state == "not comparable"
    assert judge(with_memory(10), with_memory(10, attention="flash")).state == "ok"


def test_a_figure_that_is_no_longer_known_fails() -> None:
    verdict = judge(with_memory(10), with_memory(None))
    assert (verdict.state, verdict.fails) == ("not comparable", True)


def test_a_limit_is_judged_beside_what_cannot_be_compared() -> None:
    other = report(1000, case=dataclasses.replace(CASE, mode="train"))
    verdict = judge(report(), other, limits={"macs": 999})
    assert verdict.state == "over limit"
    assert "the mode is eval" in verdict.reason


# ---- uncounted ops


@pytest.mark.parametrize(
    ("old", "new", "state"),
    [
        ({}, {"aten.fft": 1}, "regressed"),
        ({"aten.fft": 1}, {"aten.fft": 2}, "regressed"),
        ({"aten.fft": 1}, {"aten.dct": 1}, "regressed"),
        ({"aten.fft": 2}, {"aten.fft": 1}, "improved"),
        ({"aten.fft": 1}, {"aten.fft": 1}, "ok"),
    ],
)
def test_more_uncounted_ops_are_a_finding(old: dict, new: dict, state: str) -> None:
    verdict = judge(report(uncounted_ops=old), report(uncounted_ops=new))
    assert verdict.state == state
    if verdict.fails:
        assert next(op for op in new) in verdict.findings[0].rule


# ---- against another revision


def test_what_a_branch_stored_is_accepted_and_said() -> None:
    verdict = judge(report(1001), report(1001), base=report(1000))
    assert (verdict.state, verdict.fails, verdict.acceptance) == ("ok", False, "accepted on this branch")
    assert [(f.figure, f.old, f.new) for f in verdict.accepted] == [("macs", 1000, 1001)]


def test_a_change_that_the_branch_did_not_store_fails() -> None:
    assert judge(report(1000), report(1001), base=report(1000)).fails


def test_a_baseline_that_the_branch_removed_still_counts() -> None:
    verdict = judge(None, report(1001), base=report(1000))
    assert verdict.state == "regressed"
    assert verdict.findings[0].place.file == "pyproject.toml"


# ---- rules


def rules(old: tuple[Check, ...], new: tuple[Check, ...], reports: str = "reports") -> dict[str, bool]:
    """What is said of every rule that was changed, and whether it loosens."""
    before, now = Config(Path("p.toml"), "reports", old), Config(Path("p.toml"), reports, new)
    return {str(rule): rule.loosens for rule in changed(before, now, "p.toml")}


def test_rules_that_a_branch_changed() -> None:
    old = check("net", "n:N", limits={"macs": 110}, pin=("params",), request={"arguments": {"k": 1}})
    new = check(
        "net",
        "n:N",
        limits={"macs": 120, "training_peak": 2048},
        severity={"macs": "warn"},
        request={"arguments": {"k": 2}},
    )
    assert rules((old, check("gone", "n:N")), (new, check("more", "n:N")), "costs") == {
        "the folder of baselines reports => costs": False,
        "net: limit of macs 110 => 120": True,
        "net: limit of training_peak none => 2,048 B (2.00 KiB)": False,
        "net: severity of macs none => warn": True,
        "net: params is not pinned any more": True,
        "net: args {'k': 1} => {'k': 2}": True,
        "more: the check is new": False,
        "gone: the check is gone": True,
    }
    assert rules((old,), (old,)) == {}


@pytest.mark.parametrize(
    ("strict", "loose"),
    [
        ({"limits": {"macs": 1}}, {"limits": {"macs": 2}}),
        ({"limits": {"macs": 1}}, {}),
        ({}, {"tolerance": {"macs": Tolerance(absolute=1)}}),
        ({"tolerance": {"macs": Tolerance(absolute=1)}}, {"tolerance": {"macs": Tolerance(absolute=2)}}),
        ({}, {"severity": {"macs": "warn"}}),
        ({"pin": ("macs",)}, {}),
        ({}, {"request": {"memory": None}}),
    ],
    ids=repr,
)
def test_a_rule_loosens_one_way_alone(strict: dict[str, Any], loose: dict[str, Any]) -> None:
    a, b = check("net", "n:N", **strict), check("net", "n:N", **loose)
    assert list(rules((a,), (b,)).values()) == [True]
    assert list(rules((b,), (a,)).values()) == [False]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": parse_model("n:Small")}, "model n:N => n:Small"),
        ({"inputs": parse_inputs(["3x8x8"])}, "input default => 3x8x8"),
        ({"batch": None}, "batch 1 => none"),
        ({"memory": MemoryOptions(optimizer="sgd")}, "optimizer adamw => sgd"),
        ({"memory": MemoryOptions(freeze=("a", "b*"))}, "freeze none => a, b*"),
    ],
)
def test_another_thing_measured_may_be_a_cheaper_one(change: dict[str, Any], said: str) -> None:
    old = check("net", "n:N", tolerance={"macs": Tolerance(absolute=5)})
    new = dataclasses.replace(old, request=dataclasses.replace(old.request, **change))
    assert rules((old,), (new,))[f"net: {said}"]


def test_a_share_in_place_of_an_amount_may_let_more_pass() -> None:
    old, new = (
        check("net", "n:N", tolerance={"macs": tolerance})
        for tolerance in (Tolerance(absolute=5), Tolerance(Fraction(1, 100)))
    )
    assert rules((old,), (new,)) == {"net: tolerance of macs 5 => 1%": True}


def test_a_rule_stands_on_its_line() -> None:
    old = check("net", "n:N")
    new = check("net", "n:N", severity={"macs": "warn"}, lines={"": 3, "severity": 7, "severity.macs": 8})
    before, now = Config(Path("p.toml"), "r", (old,)), Config(Path("p.toml"), "r", (new,))
    (rule,) = changed(before, now, "a/p.toml")
    assert rule.place == Place("a/p.toml", 8)


# ---- all checks together


def test_the_exit_code_is_1_before_2_before_3() -> None:
    fine = judge(report(), report())
    red = judge(report(1000), report(1001))
    wrong = judge(report(), UsageError("no model of that name"))
    broken = judge(report(), BuildError("it failed"))
    assert Outcome((fine,), "").exit_code == 0
    assert Outcome((fine, broken), "").exit_code == 3
    assert Outcome((broken, wrong), "").exit_code == 2
    assert Outcome((broken, wrong, red), "").exit_code == 1
    assert not Outcome((fine, broken), "").passed


def test_the_worst_comes_first_and_the_counts_add_up() -> None:
    verdicts = (judge(report(), report()), judge(None, report()), judge(report(1000), report(1001)))
    outcome = Outcome(verdicts, "")
    assert [v.state for v in outcome.worst_first] == ["regressed", "new", "ok"]
    assert outcome.counts == {"regressed": 1, "new": 1, "ok": 1}
