"""`modelsum cache info|clear`: the answers that are kept."""

from __future__ import annotations

import click

from modelsum.cache.answers import OFF, folder
from modelsum.cache.store import Store
from modelsum.cli import output as out
from modelsum.units import binary_bytes, count


@click.group("cache", short_help="Kept answers: what there is, and removing them.")
def command() -> None:
    """Answers are kept, and given again as long as nothing that they depend on has changed.

    \b
    modelsum cache info
    modelsum cache clear
    """


@command.command("info")
def info() -> None:
    """Where answers are kept, how many and how large."""
    contents = Store(folder()).contents()
    out.write(
        f"Folder:   {contents.folder}\n"
        f"Answers:  {count(contents.entries)} ({binary_bytes(contents.bytes)})\n"
        f"Off with: --no-cache, or {OFF}=1\n",
        None,
    )


@command.command("clear")
def clear() -> None:
    """Remove every kept answer."""
    before = Store(folder()).clear()
    what = f"{count(before.entries)} answers ({binary_bytes(before.bytes)})"
    out.write(f"Removed {what} from {before.folder}\n", None)
