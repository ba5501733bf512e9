"""What a gate says: a Verdict for every check, an Outcome for all of them. Plain frozen values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelsum.errors import UsageError
from modelsum.printing import Printed

#: What can be said of a check, the worst first.
#:
#: regressed       a figure grew by more than its tolerance
#: over limit      a figure is above its limit
#: changed         a pinned figure is another one
#: not comparable  the baseline is of another input, convention or schema
#: orphan          a baseline without a check
#: new             a check without a baseline
#: failed          the model could not be built or run
#: improved        a figure shrank, none grew
#: ok              every figure as before, or within its tolerance
STATES = (
    "regressed",
    "over limit",
    "changed",
    "not comparable",
    "orphan",
    "new",
    "failed",
    "improved",
    "ok",
)

#: How much it matters, the most first: "error" fails the gate, "warn" and "note" are only said.
SEVERITIES = ("error", "warn", "note")


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, relative to the checkout."""

    file: str
    line: int = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """What is said of one figure.

    Attributes:
        figure: its name in the configuration.
        is_bytes: in bytes; a count otherwise.
        state: "regressed", "over limit", "changed" or "improved"; "ok" for growth within the tolerance.
        severity: one of `SEVERITIES`.
        old: what the baseline has; None where it has none.
        new: what the model has now; None where it is not known.
        most: the largest figure that would have been let pass, for one that was not.
        rule: which rule that is, in words: "tolerance 0.5% + 10,000,000".
        place: the line of the baseline that has the old figure, or of the limit.
    """

    figure: str
    is_bytes: bool
    state: str
    severity: str
    old: int | None
    new: int | None
    most: int | None = None
    rule: str = ""
    place: Place = Place("")

    @property
    def difference(self) -> int | None:
        """New less old."""
        return None if self.old is None or self.new is None else self.new - self.old


@dataclass(frozen=True, slots=True)
class Standing:
    """A figure beside its limit, whether it is above that or not.

    Attributes:
        figure: its name in the configuration.
        is_bytes: in bytes; a count otherwise.
        now: what the model has; None where it is not known.
        limit: the largest that is let pass.
    """

    figure: str
    is_bytes: bool
    now: int | None
    limit: int

    @property
    def share(self) -> float | None:
        """What it is of its limit, 1 for all of it; None where one of both is not known."""
        return self.now / self.limit if self.now is not None and self.limit else None


@dataclass(frozen=True, slots=True)
class Cause:
    """A layer whose cost changed.

    Attributes:
        path: of the layer now, or before where it is gone.
        what: what happened to it: "stride 2x2 => 1x1", "added", ...
        differences: by figure, new less old.
    """

    path: str
    what: str
    differences: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one check.

    Attributes:
        name: the check's, or that of an orphan's file.
        state: one of `STATES`, that of the worst finding.
        severity: one of `SEVERITIES`, that of the worst finding.
        reason: why there is no comparison, for "failed", "not comparable", "new" and "orphan".
        remedy: what to do about it.
        findings: the figures that there is something to say of, the worst first.
        causes: the layers behind the findings, those first that are themselves configured otherwise.
        message: what the project says beside a failure.
        accepted: what was changed in the baseline on purpose, on this branch or by this update.
        acceptance: which of the two: "accepted on this branch".
        place: where the check stands in the configuration, or the file of an orphan.
        source: where the model is defined: the line of its class, function or assignment, or of `model` in
            the configuration where it comes from an installed package.
        exit_code: what it makes the command end with where it fails.
        limits: every figure that has a limit, beside it.
    """

    name: str
    state: str
    severity: str = "note"
    reason: str = ""
    remedy: str = ""
    findings: tuple[Finding, ...] = ()
    causes: tuple[Cause, ...] = ()
    message: str = ""
    accepted: tuple[Finding, ...] = ()
    acceptance: str = ""
    place: Place = Place("")
    source: Place = Place("")
    exit_code: int = 1
    limits: tuple[Standing, ...] = ()

    @property
    def fails(self) -> bool:
        """Whether it makes the gate red."""
        return self.severity == "error"

    @property
    def about(self) -> Place:
        """The line to look at: the model's, or the check's where no figure of the model is in question."""
        of_the_check = {
            "new": True,
            "orphan": True,
            "not comparable": bool(self.reason),  # another case; without a reason figures are not known
            "failed": self.exit_code == UsageError.exit_code,  # the configuration's words
        }
        return self.place if of_the_check.get(self.state) or not self.source.file else self.source


@dataclass(frozen=True, slots=True)
class RuleChange:
    """What a branch changed in the rules of its own gate.

    Attributes:
        check: the name of the check, or "" for what is of no check alone.
        rule: what was changed: "limit of macs", "model".
        change: from what to what: "110 => 120".
        loosens: whether more passes than before, or not the same thing is measured.
        place: where it stands now.
    """

    check: str
    rule: str
    change: str
    loosens: bool
    place: Place = Place("")

    def __str__(self) -> str:
        name = f"{self.check}: " if self.check else ""
        return f"{name}{self.rule} {self.change}"


@dataclass(frozen=True, slots=True)
class Outcome(Printed):
    """What the gate says as a whole.

    Attributes:
        verdicts: in the order of the configuration, orphans last.
        against: what was compared with: "the baselines in reports", or a revision.
        rules: what this branch changed in the configuration.
    """

    verdicts: tuple[Verdict, ...]
    against: str
    rules: tuple[RuleChange, ...] = ()

    @property
    def loosened(self) -> tuple[RuleChange, ...]:
        """The rules by which more passes than before."""
        return tuple(rule for rule in self.rules if rule.loosens)

    @property
    def worst_first(self) -> tuple[Verdict, ...]:
        """Errors before warnings before notes, then by state, else in their order."""
        return tuple(
            sorted(self.verdicts, key=lambda v: (SEVERITIES.index(v.severity), STATES.index(v.state)))
        )

    @property
    def counts(self) -> dict[str, int]:
        """How many checks are in each state, the worst first."""
        counted = Counter(verdict.state for verdict in self.verdicts)
        return {state: counted[state] for state in STATES if counted[state]}

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not any(verdict.fails for verdict in self.verdicts)

    @property
    def exit_code(self) -> int:
        """0 passed, else the least of those that failed: 1 says no, 2 and 3 could not say."""
        return min((verdict.exit_code for verdict in self.verdicts if verdict.fails), default=0)

    def to_dict(self) -> dict[str, Any]:
        """The outcome as JSON values, schema version 1."""
        return {
            "schema_version": 1,
            "kind": "check",
            "passed": self.passed,
            "exit_code": self.exit_code,
            "against": self.against,
            "counts": self.counts,
            "rules_changed": list(map(str, self.rules)),
            "rules_loosened": list(map(str, self.loosened)),
            "checks": [_verdict_dict(verdict) for verdict in self.verdicts],
        }


def _verdict_dict(verdict: Verdict) -> dict[str, Any]:
    return {
        "name": verdict.name,
        "state": verdict.state,
        "severity": verdict.severity,
        "reason": verdict.reason or None,
        "remedy": verdict.remedy or None,
        "message": verdict.message or None,
        "findings": [_finding_dict(f) for f in verdict.findings],
        "causes": [
            {"path": c.path, "what": c.what, "differences": dict(c.differences)} for c in verdict.causes
        ],
        "accepted": [_finding_dict(f) for f in verdict.accepted],
        "acceptance": verdict.acceptance or None,
        "limits": [{"figure": each.figure, "now": each.now, "limit": each.limit} for each in verdict.limits],
        "file": verdict.place.file,
        "line": verdict.place.line,
        "source": {"file": verdict.source.file, "line": verdict.source.line},
    }


def _finding_dict(finding: Finding) -> dict[str, Any]:
    return {
        "figure": finding.figure,
        "unit": "bytes" if finding.is_bytes else "count",
        "state": finding.state,
        "severity": finding.severity,
        "old": finding.old,
        "new": finding.new,
        "difference": finding.difference,
        "most": finding.most,
        "rule": finding.rule or None,
        "file": finding.place.file,
        "line": finding.place.line,
    }
