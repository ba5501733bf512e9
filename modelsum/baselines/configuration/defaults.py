"""What a project says once for all its models: keys of its table that stand where nothing else is said.

    [tool.modelsum]
    target = "cpu"
    optimizer = "sgd"
    dtype = "bfloat16"
    device = "cpu"

They hold for its checks, and for the options of these names of `show`, `compare`, `diff`, `fit` and
`measure`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelsum import spec
from modelsum.baselines.configuration import project_file
from modelsum.baselines.configuration.place import Place
from modelsum.memory.options import MemoryOptions, check_target

_KEYS: dict[str, Callable[[str], str]] = {
    "target": check_target,
    "optimizer": lambda word: str(MemoryOptions(optimizer=word).optimizer),
    "dtype": spec.check_dtype,
    "device": spec.check_device,
}
KEYS = tuple(_KEYS)
#: The keys that the table has besides.
OTHERS = ("reports", "check")


@dataclass(frozen=True, slots=True)
class Defaults:
    """The defaults of a project.

    Attributes:
        file: the name of the file that they were read from; "" where there is none.
        values: by key; none for a key that is not there.
    """

    file: str = ""
    values: Mapping[str, str] = field(default_factory=dict)

    def without(self, key: str) -> Defaults:
        """All but one of them."""
        return Defaults(self.file, {name: value for name, value in self.values.items() if name != key})


def of_project(start: Path) -> Defaults:
    """The defaults of the project that a folder belongs to. Raises ConfigError for those that are wrong."""
    path = project_file.find(start)
    if path is None:
        return Defaults()
    return read(*project_file.table_of(project_file.text_of(path), path))


def read(at: Place, table: Mapping[str, Any]) -> Defaults:
    """The defaults in a project's table. Raises ConfigError, also for a key that the table cannot have."""
    at.only(table, (*KEYS, *OTHERS))
    return Defaults(at.path.name, {key: _value(at.key(key), key, table[key]) for key in KEYS if key in table})


def _value(at: Place, key: str, value: Any) -> str:
    text = at.text(value)
    with at.errors():
        return _KEYS[key](text)
