"""The options that every command with a result has: its format, where it goes, and how an error is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from modelsum.cli.option import OTHER, Decorated, in_group, one_of

_of_output = in_group("Output")

depth = _of_output(
    "--depth", type=click.IntRange(min=0), metavar="N", help="Deepest level of layers shown.  [default: all]"
)

debug = in_group(OTHER)("--debug", is_flag=True, help="Show the traceback of an error.")


def written(formats: Sequence[str]) -> Callable[[Decorated], Decorated]:
    """The format of the result, and the file that it is written to."""
    format_ = _of_output(
        "--format", "format_", type=one_of("format", formats), default=formats[0], show_default=True
    )
    output = _of_output(
        "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the result there."
    )
    return lambda command: format_(output(command))
