"""The options that every command with a result has: its format, where it goes, and how an error is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from modelsum.cli import output as out
from modelsum.cli.option import OTHER, Decorated, in_group, one_of
from modelsum.render import SORTS

_of_output = in_group("Output")


class ResultFile(click.Path):
    """A file for a result, of the folder where the command began: a model may go to another one."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The whole path. Raises OutputError where nothing could be written there: before the work."""
        path = Path(value)
        out.check(path)
        return path.absolute()


def depth(default: str) -> Callable[[Decorated], Decorated]:
    """The deepest level of layers; `default` is how many there are where it is not given."""
    shown = f"Deepest level of layers shown.  [default: {default}]"
    return _of_output("--depth", type=click.IntRange(min=0), metavar="N", help=shown)


every = _of_output(
    "--all", "every", is_flag=True, help="Show every layer: all levels, equal blocks one by one."
)

top = _of_output(
    "--top",
    type=click.IntRange(min=1),
    metavar="N",
    help="Show the N layers that cost most, with their share.",
)

sort = _of_output(
    "--sort",
    type=one_of("figure", SORTS),
    help="The figure that layers are sorted by.  [default with --top: macs]",
)

_debug = partial(in_group(OTHER), "--debug", is_flag=True, help="Show the traceback of an error.")
#: How an error is shown, which is seen to where the command is run; a command that shows others' takes it.
debug, takes_debug = _debug(expose_value=False), _debug()


def written(formats: Sequence[str]) -> Callable[[Decorated], Decorated]:
    """The format of the result, the file that it is written to, and how an error is shown."""
    output = _of_output("-o", "--output", type=ResultFile(), metavar="FILE", help="Write the result there.")
    return lambda command: format_(formats)(output(debug(command)))


def format_(formats: Sequence[str]) -> Callable[[Decorated], Decorated]:
    """The format of the result."""
    return _of_output(
        "--format", "format_", type=one_of("format", formats), default=formats[0], show_default=True
    )
