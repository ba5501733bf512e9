"""`modelsum sweep GRID`: every point of a grid, a row each."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from modelsum import sweeping
from modelsum.baselines.quantity import parse_amount
from modelsum.cli import axes, project, result, startup
from modelsum.cli import output as out
from modelsum.cli.command import Command, given_here
from modelsum.cli.option import in_group
from modelsum.cli.progress import Progress
from modelsum.errors import UsageError
from modelsum.render import FORMATS
from modelsum.sweeps import files, grid
from modelsum.sweeps.engines.local import Limits
from modelsum.sweeps.plan import Plan
from modelsum.sweeps.reading import Sweep
from modelsum.sweeps.rows import OK

_MODEL_FAILED = 3
_SECONDS_IN_LOGS = 30.0
_OF_READING = ("where", "pareto", "sort", "top", "format_")

_SEARCH = "N points that Optuna asks for, to find the front of --pareto within --where."

_of_points = in_group("Points")
_of_reading = in_group("Reading")
_of_run = in_group("Run")
_of_output = in_group("Output")


def _share(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[int, int] | None:
    number, slash, of = (text or "").partition("/")
    if text is not None and not (slash and number.isdecimal() and of.isdecimal()):
        raise UsageError(f"--shard {text!r} is not I/N", "Write --shard 3/8 for the third of eight.")
    return (int(number), int(of)) if text is not None else None


@click.command("sweep", cls=Command, short_help="Every point of a grid, a row each.")
@click.argument("files_", metavar="[GRID.toml]", nargs=-1, type=click.Path(path_type=Path))
@axes.of_a_grid
@_of_points("--exclude", multiple=True, metavar="KEY=VALUE,...", help="Leave out points of these values.")
@_of_points("--sample", type=click.IntRange(min=1), metavar="N", help="So many points, drawn at random.")
@_of_points("--seed", type=int, default=0, show_default=True, metavar="S", help="Of --sample and --search.")
@_of_points("--shard", metavar="I/N", callback=_share, help="The Ith of N shares, for one of N machines.")
@_of_points("--search", type=click.IntRange(min=1), metavar="N", help=_SEARCH)
@_of_points("--storage", metavar="URL", help="Optuna's.  [default: SQLite beside the output]")
@project.no_defaults
@_of_run(
    "--jobs",
    "most",
    type=click.IntRange(min=1),
    metavar="N",
    help="Points at a time.  [default: a core each]",
)
@_of_run(
    "--timeout", type=click.IntRange(1, 10**9), metavar="SECONDS", help="Give a point up that takes longer."
)
@_of_run("--memory-limit", metavar="SIZE", help="What a point may take.  [default: most of what is free]")
@_of_run("--dask", metavar="ADDRESS", excludes=("most",), help="Workers of a Dask cluster do the points.")
@_of_run("--retry", is_flag=True, help="Do points again that have no figures.")
@_of_reading("--where", multiple=True, metavar="CONDITION", help="Show rows of 'params < 5 M'; repeatable.")
@_of_reading("--pareto", metavar="FIGURES", help="Show the front: macs,training_peak; -batch for more.")
@_of_reading("--sort", metavar="FIGURES", help="Smallest first; with a minus largest first.")
@_of_reading("--top", type=click.IntRange(min=1), metavar="N", help="Show the first rows alone.")
@_of_output(
    "-o",
    "--output",
    type=result.ResultFile(),
    metavar="FILE",
    help="Add the rows to it as they come: .csv, .jsonl, .parquet. Of rows that are read: what is shown.",
)
@_of_output(
    "--merge",
    is_flag=True,
    excludes=(*axes.KEYS, "arguments", "exclude", "sample", "shard", "dask", "retry", *_OF_READING),
    reason="--merge makes one file of the rows of several.",
    help="Make one file of the files of several shares.",
)
@result.format_(FORMATS["Sweep"])
@result.debug
def command(files_: tuple[Path, ...], merge: bool, format_: str, output: Path | None, **given: Any) -> int:
    """Say what every point of a grid costs, a row each, as they are done.

    \b
    modelsum sweep grid.toml --output rows.csv
    modelsum sweep --model mobilenet_v1 --input 3x224x224,3x192x192 --arg width_mult=0.5,1.0
    modelsum sweep rows.csv --where 'params < 5 M' --pareto macs,training_peak
    modelsum sweep --merge rows-1.csv rows-2.csv --output rows.csv

    GRID.toml has [[grid]] tables, with the keys of a check: a value, or a list, which is an axis. Stopped
    at any moment, the same command with the same --output does what is left. The exit code is 0, or 3 if no
    point could be built and run.
    """
    if merge:
        return _merge(files_, output)
    if len(files_) == 1 and files.is_rows(files_[0]):
        others = given_here() - {"files_", "output", *_OF_READING}
        _refuse(others, f"{files_[0]} has rows already, which are read")
        _refuse(output == files_[0].absolute(), f"{files_[0]} has the rows that are shown")
        return _show(sweeping.read(files_[0]), format_, given, output)
    wanted = sweeping.wanted_by(
        given["search"], given["pareto"], given["where"], given["seed"], given["storage"]
    )
    plan = _plan(files_, given)
    size = given["memory_limit"]
    limits = Limits(given["timeout"], parse_amount(size, is_bytes=True) if size is not None else None)
    with Progress(seconds_in_logs=_SECONDS_IN_LOGS) as progress:

        def say(text: str) -> None:
            progress.clear()
            print(text, file=sys.stderr)

        if given["dask"]:
            engine = sweeping.on_dask(given["dask"], limits, say)
        else:
            engine = sweeping.on_this_machine(limits, given["most"])
        ready = out.keep_stdout_for_results if given["dask"] else startup.load_torch
        rate = _Rate(progress)
        ran = sweeping.run(
            plan, engine, output, search=wanted, retry=given["retry"], ready=ready, progress=rate
        )
    if output is not None:
        told = ", ".join(f"{times:,} {status}" for status, times in ran.statuses.items())
        print(f"modelsum: {sum(ran.statuses.values()):,} points in {output.name}: {told}", file=sys.stderr)
    if output is None or given_here() & set(_OF_READING):
        return _show(ran.sweep(), format_, given)
    for notice in ran.notices:
        print(f"modelsum: notice: {notice}", file=sys.stderr)
    return 0 if ran.statuses.get(OK) or not ran.statuses else _MODEL_FAILED


def _plan(files_: tuple[Path, ...], given: Mapping[str, Any]) -> Plan:
    words = {key: given[key] for key in axes.KEYS}
    is_in_words = any(words.values()) or bool(given["arguments"])
    _refuse(len(files_) > 1, f"{len(files_)} grids are given")
    _refuse(bool(files_) and is_in_words, "axes are given, and a file of them")
    _refuse(bool(files_) and given["exclude"], "--exclude is given, and a file, which has `exclude` itself")
    if files_:
        grids = grid.read(files_[0])
    else:
        grids = (grid.of_words(words, given["arguments"], given["exclude"]),) if is_in_words else ()
    context = click.get_current_context()
    assert isinstance(context, project.Context)
    return sweeping.plan_of(grids, context.project.values, given["sample"], given["seed"], given["shard"])


def _show(found: Sweep, format_: str, given: Mapping[str, Any], output: Path | None = None) -> int:
    shown = sweeping.shown(found, given["where"], given["pareto"], given["sort"], given["top"])
    out.show(shown, format_, output)
    return 0 if not found.rows or any(row.status == OK for row in found.rows) else _MODEL_FAILED


class _Rate:
    """Says how far a sweep is, at which rate since its first row, and how long it will still take."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self._progress = progress
        self._first = 0.0

    def __call__(self, state: sweeping.Progress) -> None:
        now = time.monotonic()
        if state.done == 1:
            self._first = now
        doing = f"{state.before + state.done:,} of {state.points:,} points"
        if state.done > 1:
            rate = (state.done - 1) / (now - self._first)
            left = (state.points - state.before - state.done) / rate
            doing += f", {rate:,.3g} a second, {_duration(left)} left"
        self._progress(doing)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    )


def _merge(shares: tuple[Path, ...], output: Path | None) -> int:
    _refuse(not shares, "no files are given to merge")
    if output is None:
        raise UsageError("--merge needs a file to write to", "Write --output rows.csv.")
    print(f"modelsum: {files.merge(shares, output):,} points in {output.name}", file=sys.stderr)
    return 0


def _refuse(wrong: object, message: str) -> None:
    if wrong:
        raise UsageError(message, "Give GRID.toml, or axes like --model; rows.csv alone shows its rows.")
