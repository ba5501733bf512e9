"""A grid: axes and their values, from TOML, the command line or Python.

    [[grid]]
    model = ["mobilenet_v1", "mobilenet_v2"]        # a list is an axis, in it a list is one value
    input = ["3x224x224", "3x192x192"]
    args.width_mult = [0.5, 1.0]                    # a constructor argument
    batch = 8
    exclude = [{model = "mobilenet_v1", input = "3x192x192"}]

The keys are those of a check in a project's configuration, and read by what reads them there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from modelsum import spec
from modelsum.baselines.configuration import project_file
from modelsum.baselines.configuration.checks import CALL_KEYS, of_word, read_args, read_request
from modelsum.baselines.configuration.place import Place
from modelsum.baselines.lines import Lines
from modelsum.errors import ConfigError, UsageError, did_you_mean
from modelsum.memory.options import OF_A_MESH
from modelsum.request import Request

#: What a constructor argument's axis is called begins so.
ARGUMENT = "args."
_EXAMPLE = '[[grid]]\nmodel = "mobilenet_v1"\nargs.width_mult = [0.5, 1.0]'


class _Said(Place):
    """A place on the command line or in a call from Python: a key alone says where it is."""

    def error(self, message: str, hint: str | None = None) -> ConfigError:
        """What is wrong there."""
        return ConfigError(": ".join((*(part for part in self.at if isinstance(part, str)), message)), hint)


@dataclass(frozen=True, slots=True)
class Grid:
    """Axes, every combination of whose values is a point, the last axis changing fastest.

    Attributes:
        at: where it is written.
        axes: the values by key.
        exclude: combinations that are left out: for each, the values of some axes.
    """

    at: Place
    axes: Mapping[str, Sequence[Any]]
    exclude: Sequence[Mapping[str, Sequence[Any]]] = ()

    def __len__(self) -> int:
        return prod(map(len, self.axes.values()))

    def point(self, number: int) -> dict[str, Any]:
        """The values of a point, by axis."""
        values = {}
        for name in reversed(list(self.axes)):
            number, place = divmod(number, len(self.axes[name]))
            values[name] = self.axes[name][place]
        return {name: values[name] for name in self.axes}

    def leaves_out(self, values: Mapping[str, Any]) -> bool:
        """Whether a point is excluded."""
        return any(all(values[name] in each[name] for name in each) for each in self.exclude)

    def request(self, values: Mapping[str, Any], defaults: Mapping[str, str]) -> Request:
        """What a point asks for, with the project's defaults. Raises UsageError."""
        table = {name: value for name, value in values.items() if not name.startswith(ARGUMENT)}
        arguments = {n.removeprefix(ARGUMENT): v for n, v in values.items() if n.startswith(ARGUMENT)}
        request = read_request(self.at, table, defaults)
        return dataclasses.replace(request, arguments=arguments) if arguments else request

    def check(self, defaults: Mapping[str, str]) -> None:
        """Read each value of each axis by itself. Raises ConfigError."""
        if "model" not in self.axes:
            raise self.at.error("the grid has no model", 'Write model = ["resnet18", "resnet50"].')
        for name, values in self.axes.items():
            if not values:
                raise self.at.key(name).error("the axis has no values", "Give it one.")
            beside = ("model", "mesh") if name in OF_A_MESH else ("model",)
            first = {each: self.axes[each][0] for each in beside if each in self.axes}
            for value in values:
                self.request(first | {name: value}, defaults)


def read(path: Path) -> tuple[Grid, ...]:
    """The grids in a TOML file. Raises ConfigError."""
    at, tables = project_file.table_of(project_file.text_of(path), path)
    at.only(tables, ("grid",))
    grids = tables.get("grid")
    if not isinstance(grids, list) or not grids or not all(isinstance(grid, dict) for grid in grids):
        raise at.error("there is no [[grid]]", f"Write one:\n\n{_EXAMPLE}")
    return tuple(_grid(at.key("grid").key(number), table) for number, table in enumerate(grids))


def of_mapping(table: Mapping[str, Any]) -> Grid:
    """The grid of a table in Python. Raises ConfigError."""
    return _grid(_Said(Path(), Lines({}), ()), dict(table))


def of_point(values: Mapping[str, Any]) -> Grid:
    """The grid of a single point: lists are values. Raises ConfigError."""
    return of_mapping({name: [value] for name, value in _flat(values).items()})


def of_words(words: Mapping[str, Iterable[str]], arguments: Iterable[str], exclude: Iterable[str]) -> Grid:
    """The grid of a command line: values with commas between them, by key.

    Args:
        words: by key.
        arguments: KEY=VALUE,VALUE...
        exclude: KEY=VALUE,KEY=VALUE..., a key being args.KEY for a constructor argument.

    Raises UsageError.
    """
    axes = {
        key: [of_word(key, word) for text in texts for word in _words(text)]
        for key, texts in words.items()
        if texts
    }
    for text in arguments:
        key, _, values = text.partition("=")
        read = [spec.parse_argument(f"{key}={value}")[1] for value in _words(values)]
        axes.setdefault(f"{ARGUMENT}{key.strip()}", []).extend(read)
    left_out = [dict(_excluded(text)) for text in exclude]
    return _grid(_Said(Path(), Lines({}), ()), {**axes, "exclude": left_out} if left_out else axes)


def _words(text: str) -> list[str]:
    """What stands between commas outside brackets and quotes."""
    return [part[1:] for part in spec.cut(f",{text}", ",")[1:]]


def _excluded(text: str) -> Iterator[tuple[str, Any]]:
    for part in _words(text):
        key, equals, word = part.partition("=")
        if not equals:
            raise UsageError(f"--exclude {text!r}: {part!r} is not KEY=VALUE", "Write --exclude batch=8.")
        if key.startswith(ARGUMENT):
            yield key, spec.parse_argument(part.removeprefix(ARGUMENT))[1]
        else:
            yield key, of_word(key, word) if key in CALL_KEYS else word


def _grid(at: Place, table: dict[str, Any]) -> Grid:
    exclude = table.pop("exclude", [])
    read_args(at.key("args"), table.get("args", {}))
    axes = {name: value if isinstance(value, list) else [value] for name, value in _flat(table).items()}
    at.only({name: 0 for name in axes if not name.startswith(ARGUMENT)}, (*CALL_KEYS, "exclude"))
    combinations = exclude if isinstance(exclude, list) else [exclude]
    left_out = [_left_out(at.key("exclude").key(n), each, axes) for n, each in enumerate(combinations)]
    return Grid(at, axes, left_out)


def _left_out(at: Place, table: Any, axes: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    values = at.table(_flat(table) if isinstance(table, dict) else table, lambda _, __, value: value)
    found: dict[str, Sequence[Any]] = {}
    for name, value in values.items():
        if name not in axes:
            hint = did_you_mean(name, axes) or f"Axes are {', '.join(axes)}."
            raise at.key(name).error("there is no such axis in this grid", hint)
        found[name] = value if isinstance(value, list) and value not in axes[name] else [value]
        for each in found[name]:
            if each not in axes[name]:
                valid = ", ".join(map(str, axes[name]))
                raise at.key(name).error(f"{each!r} is no value of the axis", f"Its values are {valid}.")
    return found


def _flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table with the constructor arguments by the names of their axes: args.width_mult."""
    flat: dict[str, Any] = {}
    for name, value in table.items():
        if name == "args" and isinstance(value, dict):
            flat |= {f"{ARGUMENT}{key}": each for key, each in value.items()}
        else:
            flat[name] = value
    return flat
