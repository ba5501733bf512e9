"""The checks of a project: `[tool.modelsum]` in pyproject.toml, or modelsum.toml.

    [tool.modelsum]
    reports = "reports"                     # folder of the baselines, beside this file

    [[tool.modelsum.check]]
    name = "detector"
    model = "nets.detector:build"
    args = {classes = 80}
    input = ["3x640x640"]
    limits = {params = "26 M", macs = "110 G", training_peak = "9 GiB"}
    tolerance = {macs = "0.5% + 10 M"}
    pin = ["params"]
    severity = {macs = "warn"}
    message = "see docs/budget.md"

In modelsum.toml the same tables stand without `tool.modelsum`. A check has the options of `modelsum show`
as keys. Unknown keys and bad values are errors with the file, the line and the nearest valid name.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from modelsum import spec
from modelsum.baselines.config_place import Place
from modelsum.baselines.figures import FIGURES, figure
from modelsum.baselines.quantity import Tolerance, parse_amount, parse_tolerance
from modelsum.baselines.toml_lines import Lines
from modelsum.errors import ConfigError, UsageError, did_you_mean
from modelsum.memory.options import MemoryOptions, check_target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

SEVERITIES = ("error", "warn")
DEFAULT_REPORTS = "reports"

_EXAMPLE = '[[{}]]\nname = "resnet50"\nmodel = "resnet50"'

# What a name has to be, since a file is called by it.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

# How each key of the training step is written.
_STEP = {
    "optimizer": Place.text,
    "implementation": Place.text,
    "loss": Place.text,
    "attention": Place.text,
    "amp": Place.text,
    "checkpoint": Place.texts,
    "freeze": Place.texts,
    "accumulate": Place.whole,
    "expandable_segments": Place.flag,
}


@dataclass(frozen=True, slots=True)
class Check:
    """One model and what it may cost.

    Attributes:
        name: what the check and its baseline's file are called.
        model, args, input, inputs_from, seq_len, mode, device, dtype: as for `modelsum show`.
        batch: put in front of every shape; None takes the shapes literally.
        memory: the training step whose memory is predicted; None predicts none.
        target: the device that memory is predicted for.
        limits: the largest allowed figures.
        tolerance: by how much a figure may grow over the baseline; without an entry not at all.
        pin: figures that may not shrink either.
        severity: "warn" for figures that only warn; the others are errors.
        message: what is said beside a failure.
        lines: the line of every key of the check in the file, "" for the check itself.
    """

    name: str
    model: str
    args: Mapping[str, Any] = field(default_factory=dict)
    input: tuple[str, ...] = ()
    inputs_from: str | None = None
    seq_len: int | None = None
    batch: int | None = 1
    mode: str = "eval"
    device: str = "auto"
    dtype: str | None = None
    memory: MemoryOptions | None = field(default_factory=MemoryOptions)
    target: str = "cuda"
    limits: Mapping[str, int] = field(default_factory=dict)
    tolerance: Mapping[str, Tolerance] = field(default_factory=dict)
    pin: tuple[str, ...] = ()
    severity: Mapping[str, str] = field(default_factory=dict)
    message: str | None = None
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)

    def line(self, key: str = "") -> int:
        """The line of a key ("limits.macs"), or of the nearest that has one."""
        while key and key not in self.lines:
            key = key.rpartition(".")[0]
        return self.lines.get(key, 1)


@dataclass(frozen=True, slots=True)
class Config:
    """All checks of a project.

    Attributes:
        path: the file they were read from; models and baselines are looked for from its folder.
        reports: the folder of the baselines, relative to that.
    """

    path: Path
    reports: str
    checks: tuple[Check, ...]

    @property
    def folder(self) -> Path:
        """The project's folder."""
        return self.path.parent

    @property
    def reports_folder(self) -> Path:
        """Where the baselines are."""
        return self.folder / self.reports

    def chosen(self, names: tuple[str, ...]) -> tuple[Check, ...]:
        """The checks of those names, all without names. Raises UsageError for a name that is none."""
        known = [check.name for check in self.checks]
        for name in names:
            if name not in known:
                hint = did_you_mean(name, known) or f"Checks are {', '.join(known) or 'none'}."
                raise UsageError(f"{self.path.name} has no check {name!r}", hint)
        return tuple(check for check in self.checks if not names or check.name in names)


def find(start: Path) -> Path:
    """The nearest modelsum.toml, or pyproject.toml with a table tool.modelsum, in a folder or above it.

    Raises ConfigError where there is none.
    """
    for folder in (start, *start.parents):
        own, project = folder / "modelsum.toml", folder / "pyproject.toml"
        if own.is_file():
            return own
        if project.is_file() and "modelsum" in _read(project, _text_of(project)).get("tool", {}):
            return project
    raise ConfigError(
        "there is no [tool.modelsum] in a pyproject.toml here or above, and no modelsum.toml",
        f"Add to pyproject.toml:\n\n{_EXAMPLE.format('tool.modelsum.check')}",
    )


def example(config: Config) -> str:
    """A check as it would stand in that file."""
    return _EXAMPLE.format("tool.modelsum.check" if config.path.name == "pyproject.toml" else "check")


def load(path: Path) -> Config:
    """The configuration in a file. Raises ConfigError."""
    return parse(_text_of(path), path)


def parse(text: str, path: Path) -> Config:
    """The configuration in the text of a file of that path; its name says where the tables stand."""
    root: tuple[str, ...] = () if path.name != "pyproject.toml" else ("tool", "modelsum")
    table: Any = _read(path, text)
    for name in root:
        table = table.get(name, {})
    at = Place(path, Lines(text), root)
    if not isinstance(table, dict):
        raise at.error("is not a table", "Write [tool.modelsum].")
    at.only(table, ("reports", "check"))
    reports = at.key("reports").text(table.get("reports", DEFAULT_REPORTS))
    tables = table.get("check", [])
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise at.key("check").error("is not an array of tables", f"Write [[{'.'.join((*root, 'check'))}]].")
    checks = tuple(_check(at.key("check").key(i), t) for i, t in enumerate(tables))
    for number, check in enumerate(checks):
        if twin := next((c for c in checks[:number] if c.name.lower() == check.name.lower()), None):
            here = at.key("check").key(number).key("name")
            raise here.error(
                f"{check.name!r} is already the name of the check on line {twin.line()}",
                "A check's name is the name of its baseline's file.",
            )
    return Config(path, reports, checks)


def _read(path: Path, text: str) -> dict[str, Any]:
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path.name} is not TOML: {error}") from error
    return tables


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {str(path)!r}: {error}") from error


def _check(at: Place, table: dict[str, Any]) -> Check:
    at.only(table, _KEYS)
    for name in ("name", "model"):
        if name not in table:
            raise at.error(f"the check has no {name}", f'Write {name} = "...".')
    given: dict[str, Any] = {
        "name": _name(at.key("name"), table["name"]),
        "batch": _batch(at, table),
        "memory": _memory(at, table),
        "lines": {"": at.line} | at.lines.below(at.at),
    }
    for name, read in (_CALL | _VERDICT).items():
        if name in table:
            given[name] = read(at.key(name), table[name])
    check = Check(**given)
    if check.inputs_from and (check.input or "batch" in table or check.batch is None or check.seq_len):
        raise at.key("inputs_from").error(
            "it gives the whole call: no input, batch, no_batch or seq_len beside it",
            "Give one or the other.",
        )
    if check.memory is None:
        for key in ("limits", "tolerance", "pin"):
            for name in getattr(check, key):
                if FIGURES[name].of_memory:
                    raise at.key(key).key(name).error("memory = false predicts no such figure")
    return check


def _name(at: Place, value: Any) -> str:
    name = at.text(value)
    if not _NAME.fullmatch(name):
        raise at.error(
            f"{name!r} cannot be a check's name",
            "A file is called by it: letters, digits and . _ - are valid.",
        )
    return name


def _batch(at: Place, table: dict[str, Any]) -> int | None:
    if at.key("no_batch").flag(table.get("no_batch", False)):
        if "batch" in table:
            raise at.key("no_batch").error("batch is given too", "Give one of them.")
        return None
    return at.key("batch").whole(table.get("batch", 1))


def _memory(at: Place, table: dict[str, Any]) -> MemoryOptions | None:
    step: dict[str, Any] = {}
    for name, read in _STEP.items():
        if name in table:
            step[name] = read(at.key(name), table[name])
            with at.key(name).errors():
                MemoryOptions(**{name: step[name]})  # each alone first, for its own line
    if at.key("memory").flag(table.get("memory", True)):
        with at.errors():
            return MemoryOptions(**step)
    if step:
        raise at.key(next(iter(step))).error("memory = false predicts no training step")
    return None


def _model(at: Place, value: Any) -> str:
    with at.errors():
        kind = spec.parse_model(at.text(value)).kind
    if kind == "weights":
        raise at.error(f"{value!r} is a file of weights", "A check needs a model that can run.")
    return str(value)


def _args(at: Place, value: Any) -> dict[str, Any]:
    return at.table(value, lambda here, _, each: _plain(here, each))


def _plain(at: Place, value: Any) -> Any:
    """A value that a baseline can hold too: a text, number, true or false, or lists and tables of these."""
    if isinstance(value, dict):
        return at.table(value, lambda here, _, each: _plain(here, each))
    if isinstance(value, list):
        return [_plain(at, each) for each in value]
    if not isinstance(value, (str, int, float)):
        raise at.error(f"{value!r} is a {type(value).__name__}", "Write a text, a number, true or false.")
    return value


def _inputs(at: Place, value: Any) -> tuple[str, ...]:
    texts = at.texts(value)
    with at.errors():
        for text in texts:
            spec.parse_input(text)
    return texts


def _word(check: Callable[[str], Any]) -> Callable[[Place, Any], str]:
    def read(at: Place, value: Any) -> str:
        text = at.text(value)
        with at.errors():
            check(text)
        return text

    return read


def _by_figure(read: Callable[[Any, bool], T]) -> Callable[[Place, Any], dict[str, T]]:
    def one(at: Place, name: str, value: Any) -> T:
        with at.errors():
            return read(value, figure(name).is_bytes)

    return lambda at, value: at.table(value, one)


def _pin(at: Place, value: Any) -> tuple[str, ...]:
    names = at.texts(value)
    with at.errors():
        for name in names:
            figure(name)
    return names


def _severity(value: Any, _: bool) -> str:
    if value not in SEVERITIES:
        raise UsageError(f"severity {value!r} is not known", "Valid are error and warn.")
    return str(value)


_CALL: dict[str, Callable[[Place, Any], Any]] = {
    "model": _model,
    "args": _args,
    "input": _inputs,
    "inputs_from": Place.text,
    "seq_len": Place.whole,
    "mode": _word(spec.check_mode),
    "device": _word(spec.check_device),
    "dtype": _word(spec.check_dtype),
    "target": _word(check_target),
}
_VERDICT: dict[str, Callable[[Place, Any], Any]] = {
    "limits": _by_figure(lambda value, is_bytes: parse_amount(value, is_bytes=is_bytes)),
    "tolerance": _by_figure(lambda value, is_bytes: parse_tolerance(value, is_bytes=is_bytes)),
    "pin": _pin,
    "severity": _by_figure(_severity),
    "message": Place.text,
}
_KEYS = ("name", "batch", "no_batch", "memory", *_CALL, *_STEP, *_VERDICT)
