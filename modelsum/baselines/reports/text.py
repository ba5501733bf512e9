"""A report as text and back: JSON with one key a line, in alphabetical order, for a review to read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from modelsum.baselines.lines import of_json
from modelsum.baselines.reports.report import (
    GENERATION_TOTALS,
    KIND,
    MEMORY_TOTALS,
    ROW_FIGURES,
    SCHEMA_VERSION,
    TOTALS,
    Report,
)
from modelsum.errors import ReportError, did_you_mean
from modelsum.plain import STRICT, NotReadable, check_keys, plain, read
from modelsum.summary import Summary

HINT = "Restore the file from git, or write it anew."

_CONFLICT = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)


def to_text(report: Report) -> str:
    """The report as its file has it, ending with a newline; equal reports are equal texts."""
    return f"{_json({'schema_version': SCHEMA_VERSION, 'kind': KIND, **plain(report)})}\n"


def parse(text: str, file: str) -> Report:
    """The report in a text; that of a summary where it is what `modelsum show --format json` prints.

    Args:
        file: what the text is called in errors.

    Raises ReportError, with line and key, for what is not a whole report of this schema version: cut off,
    edited so that a value is not what it can be, or rows that do not add up to the totals.
    """
    value = _value(text, file)
    try:
        return _report(value)
    except NotReadable as error:
        name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.at)
        what = f"{name.removeprefix('.')}: " if name else ""
        hint = did_you_mean(error.name, error.known) or error.hint or HINT
        line = of_json(text).of(error.at)
        raise ReportError(f"{file}:{line}: {what}{error.message}", hint) from error


def _value(text: str, file: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            line = next((n for n, s in enumerate(text.split("\n"), 1) if f'"{twice}"' in s), 1)
            raise ReportError(f"{file}:{line}: {twice!r} stands twice in one object", HINT)
        return table

    def no_number(name: str) -> Any:
        line = next((n for n, s in enumerate(text.split("\n"), 1) if name in s), 1)
        raise ReportError(f"{file}:{line}: {name} is not a number that JSON has", HINT)

    if conflict := _CONFLICT.search(text):
        line = text.count("\n", 0, conflict.start()) + 1
        raise ReportError(f"{file}:{line}: there is a merge conflict in it", HINT)
    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=no_number)
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()):
            what = "it is cut off here" if text.strip() else "it is empty"
        else:
            what = f"it is not JSON: {error.msg}"
        raise ReportError(f"{file}:{error.lineno}: {what}", HINT) from error
    except RecursionError as error:
        raise ReportError(f"{file}: it is nested too deeply for a report", HINT) from error


# ---- writing


def _json(value: Any, indent: str = "") -> str:
    """JSON with a key or an object a line; a list of anything else is on the line of its key."""
    inner = indent + "  "
    if isinstance(value, Mapping) and value:
        lines = (f"{json.dumps(k)}: {_json(v, inner)}" for k, v in sorted(value.items()))
        return _lines("{", lines, "}", indent)
    if isinstance(value, (list, tuple)) and any(map(_has_object, value)):
        return _lines("[", (_json(each, inner) for each in value), "]", indent)
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _lines(start: str, inner: Iterator[str], end: str, indent: str) -> str:
    separator = f",\n{indent}  "
    return f"{start}\n{indent}  {separator.join(inner)}\n{indent}{end}"


def _has_object(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_has_object, value))
    return isinstance(value, Mapping)


# ---- reading


def _report(value: Any) -> Report:
    check_keys(value, ("kind", "schema_version"))
    if value["kind"] not in (KIND, "summary"):
        valid = f"Valid are {KIND!r}, and 'summary' as of `modelsum show --format json`."
        raise NotReadable(f"{value['kind']!r} is not a report", ("kind",), valid)
    if value["schema_version"] != SCHEMA_VERSION:
        raise NotReadable(
            f"schema version {value['schema_version']!r} is not known",
            ("schema_version",),
            f"This modelsum reads version {SCHEMA_VERSION}; another version of it wrote the file.",
        )
    if value["kind"] == "summary":
        report = _of_summary(value)
    else:
        report = read(Report, {k: v for k, v in value.items() if k not in ("kind", "schema_version")}, STRICT)
        try:
            check_keys(value["totals"], TOTALS, (*TOTALS, *MEMORY_TOTALS, *GENERATION_TOTALS))
        except NotReadable as error:
            raise error.inside("totals") from None
    _check_sums(report, value["totals"])
    return report


def _of_summary(value: Any) -> Report:
    summary = Summary.from_dict(value)
    if not summary.executed:
        raise NotReadable("the forward did not finish", ("executed",), "A report is of a whole model.")
    return Report.of(summary)


def _check_sums(report: Report, totals: Mapping[str, Any]) -> None:
    """A figure that was changed by hand, or in only one place by a merge, does not add up any more."""
    for name in ROW_FIGURES:
        total = report.totals.get(name)
        added = sum(getattr(row, name) or 0 for row in report.rows)
        if total is not None and added != total:
            where = ("totals", name) if name in totals else ("totals",)
            raise NotReadable(f"{name} is {total:,}, but the rows add up to {added:,}", where)
