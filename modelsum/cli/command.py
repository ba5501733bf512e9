"""A command: its options in groups in the help, each given once, none beside one that excludes it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import click
from click.core import ParameterSource

from modelsum.cli import project
from modelsum.cli.option import OTHER, Option
from modelsum.errors import ModelsumError, UsageError

_WIDEST = 30  # column of options; a longer one has its help on the next line


class Command(click.Command):
    """A command with options in groups, that refuses what says a thing twice, or two things."""

    context_class = project.Context

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options under the headings of their groups, in the order of the first of each."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                groups.setdefault(getattr(param, "group", OTHER), []).append(record)
        groups[OTHER] = groups.pop(OTHER)  # -h at least; at the end
        width = min(max(len(option) for records in groups.values() for option, _ in records), _WIDEST)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl([(option.ljust(width), text) for option, text in records], _WIDEST)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line. Raises UsageError where it says a thing twice, or contradicts itself."""
        if not ctx.resilient_parsing:  # as while a shell completes a line
            _, _, order = self.make_parser(ctx).parse_args(args=list(args))
            given = [param for param in order if isinstance(param, click.Option)]
            if not any(set(option.opts) & set(ctx.help_option_names) for option in given):
                _refuse_contradictions(given, args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; of a wrong word that is the project's, the error says where it is from."""
        try:
            return super().invoke(ctx)
        except ModelsumError as error:
            words = {key: word for key, word in project.taken().items() if word in error.message}
            if words:
                error.hint = " ".join(filter(None, (error.hint, f"It is {project.said(words)}.")))
            raise


def _refuse_contradictions(given: Sequence[click.Option], args: Sequence[str]) -> None:
    """Raise UsageError where a thing is said twice, which click takes the last of, or two that contradict."""
    for one, other in combinations(given, 2):
        if one.name == other.name and not (one.multiple or one.count):
            words = _words(given, args, one.name)
            if len(set(words)) == 1:
                raise UsageError(f"{words[0]} is given twice", "Give it once.")
            raise UsageError(f"{' and '.join(words[:2])} are both given", "Give one of them.")
        for this, that in ((one, other), (other, one)):
            if isinstance(this, Option) and that.name in this.excludes:
                words = _words(given, args, this.name, that.name)
                hint = f"{this.reason} Give one of them.".lstrip()
                raise UsageError(f"{words[0]} and {words[-1]} are both given", hint)


def _words(given: Sequence[click.Option], args: Sequence[str], *names: str | None) -> list[str]:
    """The words on the command line by which the options of those names were given, in their order."""
    options = [option for option in given if option.name in names]
    valid = {word for option in options for word in (*option.opts, *option.secondary_opts)}
    found = [word for word in (argument.partition("=")[0] for argument in args) if word in valid]
    # What is written in another way, -ofile, by its long name.
    return found if len(found) == len(options) else [option.opts[-1] for option in options]


def given_here() -> frozenset[str]:
    """The names of what was given to the running command on the command line."""
    ctx = click.get_current_context()
    commandline = ParameterSource.COMMANDLINE
    return frozenset(name for name in ctx.params if ctx.get_parameter_source(name) is commandline)


def excluded_by(name: str) -> frozenset[str]:
    """The names of the options of the running command that cannot stand beside one of them."""
    options = [p for p in click.get_current_context().command.params if isinstance(p, Option)]
    return frozenset(
        {other for option in options if option.name == name for other in option.excludes}
        | {str(option.name) for option in options if name in option.excludes}
    )
