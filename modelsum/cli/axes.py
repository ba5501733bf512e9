"""The options of `show` as axes of a grid: the keys of a check, each with values between commas."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import click

from modelsum.baselines.configuration.checks import CALL_KEYS
from modelsum.cli import completion, options
from modelsum.cli.option import Decorated, in_group
from modelsum.memory.options import IMPLEMENTATIONS
from modelsum.spec import MODES

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

#: The keys, but for constructor arguments, which `--arg` gives, and the way in which a mesh shards, which a
#: grid's file can have: the command's own --shard is a share of the points.
KEYS = tuple(key for key in CALL_KEYS if key not in ("args", "shard"))

# What options of `show` are called that have other names than their keys.
_NAMES = {"input": "inputs"}
# What is said of keys that are other options than those of `show`, or none.
_HELP = {
    "model": "As of `show`; repeatable, as every axis is.",
    "input": "One sample, 3x224x224; several inputs of a call are joined by @.",
    "mode": "|".join(MODES),
    "memory": "true|false",
    "implementation": "|".join(IMPLEMENTATIONS),
    "checkpoint": "Patterns of modules; several of one value are joined by @.",
    "freeze": "Patterns of modules or parameters, as of --checkpoint.",
}

_of_axes = in_group("Axes (values with commas between them)")


class _Values(click.types.StringParamType):
    """Values with commas between them; a shell completes the last one as `show` does its only one."""

    def __init__(self, one: click.Parameter | None) -> None:
        self._one = one

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """What the last value could be."""
        from click.shell_completion import CompletionItem

        before, comma, last = incomplete.rpartition(",")
        found = self._one.shell_complete(ctx, last) if self._one else []
        return [CompletionItem(f"{before}{comma}{item.value}", type=item.type) for item in found]


@click.command()
@click.argument("model", shell_complete=completion.models())
@options.summary
def _show(**given: Any) -> None:
    """Nothing: what `show` can be asked is listed here."""


_OF_SHOW = {str(param.name): param for param in _show.params}


def of_a_grid(command: Decorated) -> Decorated:
    """An option for every axis."""
    decorators = [_axis(key) for key in KEYS]
    decorators.append(
        _of_axes(
            "--arg",
            "arguments",
            multiple=True,
            metavar="KEY=VALUES",
            shell_complete=completion.arguments,
            help="Constructor argument, Python literals.",
        )
    )
    return reduce(lambda decorated, option: option(decorated), reversed(decorators), command)


def _axis(key: str) -> Any:
    one = _OF_SHOW.get(_NAMES.get(key, key))
    words = ("true", "false") if getattr(one, "is_flag", False) else getattr(one and one.type, "words", ())
    return _of_axes(
        f"--{key.replace('_', '-')}",
        key,
        multiple=True,
        type=_Values(one),
        metavar="VALUES",
        help=_HELP.get(key) or "|".join(words) or getattr(one, "help", None),
    )
