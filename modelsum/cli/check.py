"""`modelsum check [NAME...]`: the gate. Every check of the configuration against its baseline and limits."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from modelsum import checking, jobs
from modelsum.baselines.gate.verdict import Outcome
from modelsum.cli import completion, result, startup
from modelsum.cli import output as out
from modelsum.cli.command import Command
from modelsum.cli.option import in_group, one_of
from modelsum.cli.progress import Progress
from modelsum.errors import OutputError, UsageError, valid_words
from modelsum.render import FORMATS, render
from modelsum.render.checks import render_checks

_FORMATS = FORMATS["Outcome"]

_of_baselines = in_group("Baselines")
_of_run = in_group("Run")
_of_output = in_group("Output")


@click.command("check", cls=Command, short_help="The gate: models against their baselines and limits.")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completion.check_names)
@_of_baselines(
    "--against",
    metavar="REF",
    shell_complete=completion.refs,
    excludes=("update", "new_only"),
    reason="--against compares, --update and --new-only store.",
    help="Compare with the baselines where this branch left REF, and say what it changed in the rules.",
)
@_of_baselines(
    "--update",
    is_flag=True,
    excludes=("new_only",),
    help="Store what the models cost now as their baselines, also where one that is there cannot be read.",
)
@_of_baselines("--new-only", is_flag=True, help="Store baselines only for checks that have none.")
@_of_baselines("--prune", is_flag=True, help="Remove baselines of no check.")
@_of_baselines("--force", is_flag=True, help="Store and remove baselines under CI too.")
@_of_baselines(
    "--strict/--no-strict",
    default=None,
    help="A check without a baseline, or a baseline without a check, fails.  [default: under CI]",
)
@_of_output(
    "--list",
    "list_",
    is_flag=True,
    excludes=("against", "update", "new_only", "prune", "format_", "outputs"),
    reason="--list builds nothing, and is text.",
    help="List the checks; nothing is built.",
)
@_of_output("--format", "format_", type=one_of("format", _FORMATS), default=_FORMATS[0], show_default=True)
@_of_output(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="FORMAT=FILE",
    shell_complete=completion.outputs(_FORMATS),
    help="Write the result there in that format too; repeatable.",
)
@_of_run(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Instead of the nearest pyproject.toml or modelsum.toml.",
)
@_of_run(
    "--jobs",
    "most",
    type=click.IntRange(min=1),
    default=jobs.cores,
    metavar="N",
    help="Models that are built at the same time.  [default: the cores there are]",
)
@_of_run(
    "--timeout",
    type=click.IntRange(1, 10**9),
    metavar="SECONDS",
    help="A model that takes longer fails, unless its check has a timeout.  [default: no limit]",
)
@result.takes_debug
def command(names: tuple[str, ...], config_file: Path | None, debug: bool, **given: Any) -> int:
    """Build every model of [tool.modelsum], and compare its cost with its stored baseline and its limits.

    \b
    modelsum check
    modelsum check --update resnet50
    modelsum check --against origin/main --format github --output junit=costs.xml
    """
    outputs = _parse_outputs(given.pop("outputs"))
    for _, file in outputs:
        out.check(file)
    found = checking.read(names, config_file)
    format_ = given.pop("format_")
    if given.pop("list_"):
        out.write(render_checks(found.checks, found.baselines), None)
        return 0
    with Progress("importing torch") as progress:

        def say(text: str) -> None:
            progress.clear()
            sys.stderr.write(text)

        outcome = checking.run(
            found, debug=debug, ready=startup.load_torch, progress=progress, say=say, **given
        )
    for other, file in outputs:
        out.show(outcome, other, file)
    if "github" in (format_, *(other for other, _ in outputs)):
        _append_to_step_summary(outcome)
    out.show(outcome, format_, None)
    return outcome.exit_code


def _parse_outputs(texts: Sequence[str]) -> list[tuple[str, Path]]:
    outputs = [_parse_output(text) for text in texts]
    files = [file for _, file in outputs]
    for text, file in zip(texts, files, strict=True):
        if files.count(file) > 1:
            raise UsageError(f"--output {text!r}: another result goes to the same file", "Name another file.")
    return outputs


def _parse_output(text: str) -> tuple[str, Path]:
    format_, equals, file = text.partition("=")
    if not equals or not file:
        raise UsageError(f"--output {text!r} is not FORMAT=FILE", "Write --output junit=costs.xml.")
    if format_ not in _FORMATS:
        raise UsageError(f"--output {text!r}: unknown format {format_!r}", valid_words(format_, _FORMATS))
    return format_, Path(file).resolve()


def _append_to_step_summary(outcome: Outcome) -> None:
    """The Markdown under the job's run, where GitHub Actions names a file for it."""
    file = os.environ.get("GITHUB_STEP_SUMMARY")
    if not file:
        return
    try:
        with open(file, "a", encoding="utf-8") as summary:
            summary.write(render(outcome, "markdown"))
    except OSError as error:
        raise OutputError(f"cannot write GITHUB_STEP_SUMMARY {file!r}: {error.strerror}") from error
