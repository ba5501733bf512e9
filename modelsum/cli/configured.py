"""`show CHECK`: the name of a configured check in place of a MODEL, for its model and what it is called with.

A documented architecture of the same name comes first, and an installed provider's model last: check:NAME is
the check in any case, documented/NAME and timm/NAME are the models.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from modelsum import spec
from modelsum.cli.command import excluded_by, given_here
from modelsum.errors import ConfigError, did_you_mean
from modelsum.memory.options import MemoryOptions

PREFIX = "check:"


@dataclass(frozen=True, slots=True)
class Case:
    """What a check says of its model.

    Attributes:
        model: its MODEL string.
        folder: of the project: models and their files are found from there.
        options: by the names of the options of `show`.
        arguments: of the constructor.
        notice: which check it is.
    """

    model: str
    folder: Path
    options: Mapping[str, Any]
    arguments: Mapping[str, Any]
    notice: str

    def over(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The options as they are given on the command line, and as the check has them where they are not."""
        here = given_here()
        others = {name for word in here for name in excluded_by(word)}
        return {**given, **{n: v for n, v in self.options.items() if n not in here and n not in others}}


def find(model: str, folder: Path) -> Case | None:
    """The case of the check that a MODEL string names, in the project of a folder; None where it names none.

    Raises UsageError for check:NAME without such a check, ConfigError for a check that cannot be read.
    """
    from modelsum.baselines.configuration import project_file

    name = model.removeprefix(PREFIX)
    if name != model:
        if (folder / "check.py").is_file() and name not in project_file.check_names(folder):
            return None  # an attribute of that module
        return _case(name, folder)
    try:
        if name not in project_file.check_names(folder):
            return None
    except ConfigError:
        return None  # in a project without checks that can be read, a name is what it is elsewhere
    from modelsum.sources.documented import source as documented  # which other names do without

    if documented.knows(spec.parse_model(name)):
        if sys.stderr.isatty():  # a hint for people: nothing of the answer depends on it
            shows = f"`modelsum show {PREFIX}{name}` shows that"
            click.echo(f"modelsum: notice: {name} is also a check of this project: {shows}", err=True)
        return None
    return _case(name, folder)


def nearest_checks(model: str, folder: Path) -> str | None:
    """A hint for a name that nobody knows, where the project has a check that is called nearly so."""
    from modelsum.baselines.configuration import project_file

    if "/" in model:
        return None  # a check has no provider
    try:
        return did_you_mean(model, project_file.check_names(folder))
    except ConfigError:
        return None


def _case(name: str, folder: Path) -> Case:
    from modelsum.baselines.configuration import config as configuration  # which other names do without

    config = configuration.load(configuration.find(folder))
    (check,) = config.chosen((name,))
    step = check.memory or MemoryOptions()
    options = {
        "inputs": check.input,
        "inputs_from": check.inputs_from,
        "seq_len": check.seq_len,
        "batch": check.batch,
        "no_batch": check.batch is None,
        "dtype": check.dtype,
        "train": check.mode == "train",
        "device": check.device,
        "target": check.target,
        "no_memory": check.memory is None,
        **{field.name: getattr(step, field.name) for field in fields(step)},
    }
    notice = f"this is the check {name!r} of {config.path.name}, line {check.line()}: {check.model}"
    return Case(check.model, config.folder, options, check.args, notice)
