"""A report as text and back: JSON with one key a line, in alphabetical order, for a review to read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any

from modelsum.baselines.reports.json_place import Place
from modelsum.baselines.reports.report import (
    KIND,
    MEMORY_TOTALS,
    ROW_FIGURES,
    SCHEMA_VERSION,
    TOTALS,
    Case,
    Report,
    ReportRow,
)
from modelsum.baselines.reports.summary_text import input_of, report_of_summary
from modelsum.errors import ReportError

HINT = "Restore the file from git, or write it anew."

_KEYS = (
    "schema_version",
    "kind",
    "case",
    "convention",
    "totals",
    "rows",
    "uncounted_ops",
    "versions",
)
_CONFLICT = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)


def to_text(report: Report) -> str:
    """The report as its file has it, ending with a newline; equal reports are equal texts."""
    return f"{_json(to_dict(report))}\n"


def to_dict(report: Report) -> dict[str, Any]:
    """The report as JSON values, schema version 1."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": KIND,
        "case": asdict(report.case),
        "convention": dict(report.convention),
        "totals": dict(report.totals),
        "rows": [_row_dict(row) for row in report.rows],
        "uncounted_ops": dict(report.uncounted_ops),
        "versions": dict(report.versions),
    }


def parse(text: str, file: str) -> Report:
    """The report in a text; that of a summary where it is what `modelsum show --format json` prints.

    Args:
        file: what the text is called in errors.

    Raises ReportError, with line and key, for what is not a whole report of this schema version: cut off,
    edited so that a value is not what it can be, or rows that do not add up to the totals.
    """
    place = Place(file, text, _value(text, file), hint=HINT)
    kind = place.key("kind")
    if kind.value not in (KIND, "summary"):
        raise kind.error(
            f"{kind.value!r} is not a report",
            f"Valid are {KIND!r}, and 'summary' as of `modelsum show --format json`.",
        )
    version = place.key("schema_version")
    if version.value != SCHEMA_VERSION:
        raise version.error(
            f"schema version {version.value!r} is not known",
            f"This modelsum reads version {SCHEMA_VERSION}; another version of it wrote the file.",
        )
    report = report_of_summary(place) if kind.value == "summary" else _report(place)
    _check_sums(place, report)
    return report


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


def _row_dict(row: ReportRow) -> dict[str, Any]:
    values = {field.name: getattr(row, field.name) for field in fields(row)}
    values["class"] = values.pop("class_name")
    return values


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


def _report(place: Place) -> Report:
    place.only(_KEYS)
    totals = place.key("totals").only((*TOTALS, *MEMORY_TOTALS))
    for name in TOTALS:
        totals.key(name)
    return Report(
        case=_case(place.key("case")),
        totals=totals.mapping(Place.whole),
        rows=tuple(map(_row, place.key("rows").items())),
        uncounted_ops=place.key("uncounted_ops").mapping(Place.whole),
        convention=place.key("convention").mapping(Place.whole),
        versions=place.key("versions").mapping(Place.string),
    )


def _case(place: Place) -> Case:
    place.only([field.name for field in fields(Case)])
    return Case(
        model=place.key("model").string(),
        source=place.key("source").string(),
        arguments=place.key("arguments").object(),
        inputs=tuple(map(input_of, place.key("inputs").items())),
        batch=place.key("batch").or_null(Place.whole),
        mode=place.key("mode").string(),
        dtype=place.key("dtype").string(),
        memory=place.key("memory").or_null(lambda memory: memory.mapping(Place.string)),
    )


_ROW_KEYS = frozenset({field.name for field in fields(ReportRow)} - {"class_name"} | {"class"})


def _row(place: Place) -> ReportRow:
    place.only(_ROW_KEYS)
    return ReportRow(
        path=place.key("path").string(),
        class_name=place.key("class").string(),
        call=place.key("call").whole(),
        params=place.key("params").whole(),
        trainable_params=place.key("trainable_params").whole(),
        macs=place.key("macs").whole(),
        forward_backward_bytes=place.key("forward_backward_bytes").whole(),
        saved_for_backward_bytes=place.key("saved_for_backward_bytes").or_null(Place.whole),
        output_shapes=place.key("output_shapes").value,
        attributes=place.key("attributes").object(),
    )


def _check_sums(place: Place, report: Report) -> None:
    """A figure that was changed by hand, or in only one place by a merge, does not add up any more."""
    for name in ROW_FIGURES:
        total = report.totals.get(name)
        added = sum(getattr(row, name) or 0 for row in report.rows)
        if total is not None and added != total:
            where = place.key("totals")
            where = where.key(name) if name in where.object() else where
            raise where.error(f"{name} is {total:,}, but the rows add up to {added:,}")
