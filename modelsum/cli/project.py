"""What a command takes from its project where the command line says nothing: `[tool.modelsum]`'s defaults."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from modelsum.cli.option import OTHER, Option, Word, in_group
from modelsum.errors import ConfigError

if TYPE_CHECKING:
    from modelsum.baselines.configuration.defaults import Defaults


class Context(click.Context):
    """What a command was called with; the project's defaults stand for its options that are not given."""

    @cached_property
    def project(self) -> Defaults:
        """The defaults of the project of the current folder, read when they are first asked for."""
        from modelsum.baselines.configuration import defaults  # which `list` and others do without

        try:
            return defaults.of_project(Path.cwd())
        except ConfigError:
            if self.resilient_parsing:  # a shell that completes a line, or --help
                return defaults.Defaults()
            raise

    def lookup_default(self, name: str, call: bool = True) -> Any:
        """What stands for an option that is not given, ahead of its own default; None for nothing."""
        option = next((param for param in self.command.params if param.name == name), None)
        if not isinstance(option, Option) or not option.project:
            return None
        word = self.project.values.get(name)
        takes = word is not None and (not isinstance(option.type, Word) or option.type.takes(word))
        return word if takes else None


def taken() -> Mapping[str, str]:
    """What the running command took from its project, by name, where it is not what an option is without."""
    ctx = click.get_current_context(silent=True)
    if ctx is None:
        return {}
    return {
        str(option.name): ctx.params[option.name]
        for option in ctx.command.params
        if isinstance(option, Option)
        and option.project
        and ctx.get_parameter_source(option.name) is ParameterSource.DEFAULT_MAP
        and ctx.params[option.name] != option.default
    }


def said(words: Mapping[str, str]) -> str:
    """ "from pyproject.toml: target = cpu"."""
    ctx = click.get_current_context()
    assert isinstance(ctx, Context)
    return f"from {ctx.project.file}: {', '.join(f'{name} = {word}' for name, word in words.items())}"


def notices(*, of_memory: bool) -> tuple[str, ...]:
    """What the project decided of a request, with a prediction of memory or without."""
    of_no_other = () if of_memory else ("target", "optimizer")
    words = {name: word for name, word in taken().items() if name not in of_no_other}
    return (said(words),) if words else ()


def _forget(ctx: click.Context, param: click.Parameter, forget: bool) -> None:
    if forget and isinstance(ctx, Context):
        from modelsum.baselines.configuration.defaults import Defaults

        ctx.project = Defaults()


no_defaults = in_group(OTHER)(
    "--no-defaults",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_forget,
    help="Take no defaults from [tool.modelsum] of the project.",
)
