"""`show CHECK`: the name of a configured check in place of a MODEL, for its model and what it is called with.

A documented architecture of the same name comes first, and an installed provider's model last: check:NAME is
the check in any case, documented/NAME and timm/NAME are the models.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelsum import spec
from modelsum.cli.command import excluded_by, given_here
from modelsum.errors import ConfigError, did_you_mean
from modelsum.memory.options import MemoryOptions
from modelsum.request import Request

if TYPE_CHECKING:
    from modelsum.baselines.configuration.checks import Check

PREFIX = "check:"


# The options that each field of a request is given by, besides those of the training step.
_OPTIONS = {
    "inputs": {"inputs"},
    "inputs_from": {"inputs_from"},
    "sequence_length": {"seq_len"},
    "batch": {"batch", "no_batch"},
    "mode": {"train"},
    "device": {"device"},
    "dtype": {"dtype"},
    "target": {"target"},
    "freeze": {"freeze"},
}


@dataclass(frozen=True, slots=True)
class Case:
    """A check that stands for its model.

    Attributes:
        folder: of the project: models and their files are found from there.
        notice: which check it is.
    """

    check: Check
    folder: Path
    notice: str

    def over(self, asked: Request) -> Request:
        """What the command line asks for, and what the check does where nothing is given there."""
        said = given_here()
        said |= {other for word in said for other in excluded_by(word)}
        own = self.check.request
        return dataclasses.replace(
            own,
            arguments={**own.arguments, **asked.arguments},
            memory=_step(own.memory, asked.memory, said),
            notices=(self.notice,),
            **{field: getattr(asked, field) for field, words in _OPTIONS.items() if words & said},
        )


def _step(
    own: MemoryOptions | None, asked: MemoryOptions | None, said: Collection[str]
) -> MemoryOptions | None:
    """The training step: of a check that predicts no memory, one that the command line asks for."""
    if asked is None or (own is None and "no_memory" not in said):
        return None
    names = [field.name for field in dataclasses.fields(asked) if field.name in said]
    return dataclasses.replace(own or MemoryOptions(), **{name: getattr(asked, name) for name in names})


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
    notice = f"this is the check {name!r} of {config.path.name}, line {check.line()}: {check.model}"
    return Case(check, config.folder, notice)
