"""A check: one model, what it is called with and what it may cost; and how its table is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from modelsum import spec
from modelsum.baselines.configuration.place import Place
from modelsum.baselines.figures import FIGURES, figure
from modelsum.baselines.quantity import Tolerance, parse_amount, parse_tolerance
from modelsum.errors import one_of
from modelsum.generation_values import Serving
from modelsum.memory.cpu.machine import MEASURED_ISA, MEASURED_THREADS
from modelsum.memory.options import OF_A_MESH, MemoryOptions, check_target
from modelsum.request import Request
from modelsum.spec import InputSpec, ModelSpec

T = TypeVar("T")

SEVERITIES = ("error", "warn")

# What a name has to be, since a file is called by it.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

#: The field of a request that each key of the call is, besides those of the training step.
FIELDS = {
    "model": "model",
    "args": "arguments",
    "input": "inputs",
    "inputs_from": "inputs_from",
    "seq_len": "sequence_length",
    "batch": "batch",
    "mode": "mode",
    "device": "device",
    "dtype": "dtype",
    "target": "target",
    "task": "task",
    "generate": "serving",
}

# A check comes to the same figures on every machine.
_ON_ANY_MACHINE: dict[str, Any] = {"threads": MEASURED_THREADS, "isa": MEASURED_ISA}

# How each key of the training step is written, by the type of its field.
_BY_TYPE = {"str": Place.text, "tuple": Place.texts, "int": Place.whole, "bool": Place.flag}
_STEP: dict[str, Callable[[Place, Any], Any]] = {
    each.name: _BY_TYPE[re.split(r"\W", str(each.type))[0]]
    for each in fields(MemoryOptions)
    if each.name != "timeline_points"
}
_STEP["prefetch"] = Place.amount  # none is a number of batches too
#: What stands beside a key of the training step that means nothing alone.
_BESIDE = {key: {"mesh": "dp=2"} for key in OF_A_MESH}


@dataclass(frozen=True, slots=True)
class Check:
    """One model and what it may cost.

    Attributes:
        name: what the check and its baseline's file are called.
        request: the model and what it is called with; its model is a `ModelSpec`.
        limits: the largest allowed figures.
        tolerance: by how much a figure may grow over the baseline; without an entry not at all.
        pin: figures that may not shrink either.
        severity: "warn" for figures that only warn; the others are errors.
        message: what is said beside a failure.
        timeout: seconds after which the model fails, whatever the limit for the others is.
        budget: a file of rows of a sweep, from the project's folder, whose row of this point sets limits too.
        lines: the line of every key of the check in the file, "" for the check itself.
    """

    name: str
    request: Request
    limits: Mapping[str, int] = field(default_factory=dict)
    tolerance: Mapping[str, Tolerance] = field(default_factory=dict)
    pin: tuple[str, ...] = ()
    severity: Mapping[str, str] = field(default_factory=dict)
    message: str | None = None
    timeout: int | None = None
    budget: str | None = None
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)

    @property
    def model(self) -> ModelSpec:
        """The model that the configuration names."""
        assert isinstance(self.request.model, ModelSpec)
        return self.request.model

    def line(self, key: str = "") -> int:
        """The line of a key ("limits.macs"), or of the nearest that has one."""
        while key and key not in self.lines:
            key = key.rpartition(".")[0]
        return self.lines.get(key, 1)


def read_check(at: Place, table: dict[str, Any], defaults: Mapping[str, str]) -> Check:
    """The check in a table of the configuration, with the project's defaults. Raises ConfigError."""
    at.only(table, _KEYS)
    for key in ("name", "model"):
        if key not in table:
            raise at.error(f"the check has no {key}", f'Write {key} = "...".')
    check = Check(
        name=_name(at.key("name"), table["name"]),
        request=read_request(at, table, defaults),
        lines={"": at.line} | at.lines.below(at.at),
        **{key: read(at.key(key), table[key]) for key, read in _RULES.items() if key in table},
    )
    given = check.request
    for key in ("limits", "tolerance", "pin"):
        for of in getattr(check, key):
            if given.memory is None and FIGURES[of].of_memory:
                raise at.key(key).key(of).error("memory = false predicts no such figure")
            if given.serving is None and FIGURES[of].of_generation:
                raise at.key(key).key(of).error("without generate = { ... } there is no such figure")
    return check


def read_request(at: Place, table: Mapping[str, Any], defaults: Mapping[str, str]) -> Request:
    """The model in a table, and what it is called with: of its keys, `CALL_KEYS`. Raises ConfigError."""
    called: dict[str, Any] = {FIELDS[key]: word for key, word in defaults.items() if key in FIELDS}
    called |= {"batch": _batch(at, table), "memory": _memory(at, table, defaults)}
    called |= {FIELDS[key]: read(at.key(key), table[key]) for key, read in _CALL.items() if key in table}
    called["freeze"] = at.key("freeze").texts(table.get("freeze", []))
    given = Request(**called)
    if given.inputs_from and (
        given.inputs or "batch" in table or given.batch is None or given.sequence_length
    ):
        raise at.key("inputs_from").error(
            "it gives the whole call: no input, batch, no_batch or seq_len beside it",
            "Give one or the other.",
        )
    return given


def _name(at: Place, value: Any) -> str:
    name = at.text(value)
    if not _NAME.fullmatch(name):
        raise at.error(
            f"{name!r} cannot be a check's name",
            "A file is called by it: letters, digits and . _ - are valid.",
        )
    return name


def _batch(at: Place, table: Mapping[str, Any]) -> int | None:
    if at.key("no_batch").flag(table.get("no_batch", False)):
        if "batch" in table:
            raise at.key("no_batch").error("batch is given too", "Give one of them.")
        return None
    return at.key("batch").whole(table.get("batch", 1))


def _memory(at: Place, table: Mapping[str, Any], defaults: Mapping[str, str]) -> MemoryOptions | None:
    step: dict[str, Any] = {}
    for name, read in _STEP.items():
        if name in table:
            step[name] = read(at.key(name), table[name])
            with at.key(name).errors():
                MemoryOptions(
                    **{name: step[name]} | _BESIDE.get(name, {})
                )  # each alone first, for its own line
    if at.key("memory").flag(table.get("memory", True)):
        with at.errors():
            given = {name: defaults[name] for name in _STEP if name in defaults} | step
            return MemoryOptions(**_ON_ANY_MACHINE | given)
    if step.keys() - {"freeze"}:  # which the counts tell apart too
        raise at.key(next(iter(step))).error("memory = false predicts no training step")
    return None


def _model(at: Place, value: Any) -> ModelSpec:
    with at.errors():
        model = spec.parse_model(at.text(value))
    if model.kind == "file" and model.attribute is None:
        raise at.error(f"{value!r} names a file but no attribute in it", f"Write {value}:NAME.")
    if model.kind == "weights":
        raise at.error(f"{value!r} is a file of weights", "A check needs a model that can run.")
    return model


def read_args(at: Place, value: Any) -> dict[str, Any]:
    """The constructor arguments in a table. Raises ConfigError."""
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


def _inputs(at: Place, value: Any) -> tuple[InputSpec, ...]:
    texts = at.texts(value)
    with at.errors():
        return spec.parse_inputs(texts)


def _text(at: Place, value: Any) -> Serving:
    """The text whose generation is followed: { prompt = 8192, new = 512, cache = "static" }."""
    known = [each.name for each in fields(Serving)]
    given = at.table(value, lambda here, _, each: _plain(here, each))
    at.only(given, known)
    with at.errors():
        return Serving(**given)


def _word(check: Callable[[str], str]) -> Callable[[Place, Any], str]:
    def read(at: Place, value: Any) -> str:
        text = at.text(value)
        with at.errors():
            return check(text)

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
    return one_of("severity", str(value), SEVERITIES)


_CALL: dict[str, Callable[[Place, Any], Any]] = {
    "model": _model,
    "args": read_args,
    "input": _inputs,
    "inputs_from": Place.text,
    "seq_len": Place.whole,
    "mode": _word(spec.check_mode),
    "device": _word(spec.check_device),
    "dtype": _word(spec.check_dtype),
    "target": _word(check_target),
    "task": _word(spec.check_task),
    "generate": _text,
}
_RULES: dict[str, Callable[[Place, Any], Any]] = {
    "limits": _by_figure(lambda value, is_bytes: parse_amount(value, is_bytes=is_bytes)),
    "tolerance": _by_figure(lambda value, is_bytes: parse_tolerance(value, is_bytes=is_bytes)),
    "pin": _pin,
    "severity": _by_figure(_severity),
    "message": Place.text,
    "timeout": Place.whole,
    "budget": Place.text,
}
#: The keys of a model and its call.
CALL_KEYS = (*_CALL, "batch", "no_batch", "memory", *_STEP)
_KEYS = ("name", *CALL_KEYS, *_RULES)
_BY_THEMSELVES = {"batch": Place.whole, "no_batch": Place.flag, "memory": Place.flag}


def of_word(key: str, word: str) -> Any:
    """The value of one of `CALL_KEYS` that a word of a command line stands for, which is still to be read.

    A number or a truth value for a key that has these; several texts are joined by @: "16:int64@mask=16".
    """
    read: Any = (_CALL | _STEP | _BY_THEMSELVES)[key]
    if read in (Place.whole, Place.amount) and re.fullmatch(r"-?\d+", word):
        return int(word)
    if read == Place.flag:
        return {"true": True, "false": False}.get(word.lower(), word)
    return word.split("@") if "@" in word and read in (Place.texts, _inputs) else word
