"""`modelsum check [NAME...]`: the gate. Every check of the configuration against its baseline and limits."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click

from modelsum import api, jobs, spec
from modelsum.baselines.configuration import config as configuration
from modelsum.baselines.configuration.checks import Check
from modelsum.baselines.configuration.config import Config
from modelsum.baselines.gate import gate, project, rules, stored
from modelsum.baselines.gate.checkout import Checkout
from modelsum.baselines.gate.project import Baselines, Before
from modelsum.baselines.gate.verdict import Outcome, Place, Verdict
from modelsum.baselines.reports import files as report_files
from modelsum.baselines.reports import text as report_text
from modelsum.baselines.reports.report import Report
from modelsum.baselines.revisions import Revision, merge_base
from modelsum.cli import completion, result, startup
from modelsum.cli import output as out
from modelsum.cli.command import Command
from modelsum.cli.folder import inside
from modelsum.cli.option import in_group, one_of
from modelsum.cli.progress import Progress
from modelsum.errors import (
    BuildError,
    ConfigError,
    ModelsumError,
    OutputError,
    UsageError,
    fault,
    valid_words,
)
from modelsum.processes import how_it_ended
from modelsum.render.checks import render_checks
from modelsum.render.verdict import FORMATS, render_outcome
from modelsum.request import Request
from modelsum.sources.definition import Definitions

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
@_of_output("--format", "format_", type=one_of("format", FORMATS), default=FORMATS[0], show_default=True)
@_of_output(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="FORMAT=FILE",
    shell_complete=completion.outputs(FORMATS),
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
    type=click.IntRange(min=1),
    default=jobs.cores,
    metavar="N",
    help="Models that are built at the same time.  [default: the cores there are]",
)
@_of_run(
    "--timeout",
    type=click.IntRange(1, 10**9),
    metavar="SECONDS",
    help="A model that takes longer fails.  [default: no limit]",
)
@result.debug
def command(names: tuple[str, ...], config_file: Path | None, debug: bool, **given: Any) -> int:
    """Build every model of [tool.modelsum], and compare its cost with its stored baseline and its limits.

    \b
    modelsum check
    modelsum check --update resnet50
    modelsum check --against origin/main --format github --output junit=costs.xml
    """
    outputs = _parse_outputs(given["outputs"])
    for _, file in outputs:
        out.check(file)
    config = configuration.load((config_file or configuration.find(Path.cwd())).resolve())
    checks = config.chosen(names)
    checkout = Checkout.of(config.folder)
    baselines = project.read(config, checks, checkout.name)
    if given["list_"]:
        out.write(render_checks(checks, baselines), None)
        return 0
    if not config.checks:
        raise ConfigError(
            f"{config.path.name} has no checks", f"Write one:\n\n{configuration.example(config)}"
        )
    _check_words(**given)
    if given["new_only"] or not given["update"]:
        baselines.require()
    outcome = _outcome(config, checkout, checks, baselines, whole=not names, debug=debug, **given)
    for format_, file in outputs:
        out.write(render_outcome(outcome, format_), file)
    if "github" in (given["format_"], *(format_ for format_, _ in outputs)):
        _append_to_step_summary(outcome)
    out.write(render_outcome(outcome, given["format_"], color=out.place(None)["color"]), None)
    return outcome.exit_code


def _check_words(
    *, against: str | None, update: bool, new_only: bool, prune: bool, force: bool, **_: Any
) -> None:
    """Refuse options that say nothing, or not the same. Raises UsageError."""
    if against is not None and not against.strip():
        raise UsageError(
            f"--against {against!r} names no git revision",
            "If a variable should have: it is not set. Without --against the baselines that are here count.",
        )
    if (update or new_only or prune) and _under_ci() and not force:
        raise UsageError(
            "baselines are not changed under CI",
            "Run it where the change can be reviewed and committed; --force does it all the same.",
        )


def _outcome(
    config: Config,
    checkout: Checkout,
    checks: tuple[Check, ...],
    baselines: Baselines,
    *,
    whole: bool,
    against: str | None,
    update: bool,
    new_only: bool,
    prune: bool,
    strict: bool | None,
    jobs: int,
    timeout: int | None,
    debug: bool,
    **_: Any,
) -> Outcome:
    """The verdicts on the checks and, unless some were chosen by name, on baselines without one."""
    config_file = checkout.name(config.path)
    strict = _under_ci() if strict is None else strict
    base = merge_base(config.folder, against) if against else None
    before = project.at(base, config, checks, checkout.name) if base else Before(config, {}, ())
    definitions = Definitions(config.folder, checkout.own)
    verdicts = []
    for check, fresh in zip(checks, _fresh(config, checks, jobs, timeout, debug), strict=True):
        here = baselines.stored.get(check.name)
        kept = here
        if isinstance(fresh, Report) and (update or new_only) and not (new_only and here):
            kept = _store(config, checkout, check, fresh) or here
        verdict = gate.judge(
            check,
            kept,
            fresh,
            config_file=config_file,
            source=_source(check, definitions, checkout),
            strict=strict,
            base=before.baselines.get(check.name),
        )
        if kept is not None and kept is not here:
            spoiled = baselines.unreadable.get(check.name)
            verdict = gate.updated(verdict, here, kept, spoiled.message if spoiled else "")
        verdicts.append(verdict)
    if whole or prune:
        verdicts += [
            _pruned(config, checkout, name, file)
            if prune
            else gate.orphan(name, checkout.name(file), strict=strict)
            for name, file in baselines.orphans.items()
        ]
    changed = rules.changed(before.config, config, config_file)
    return Outcome(tuple(verdicts), _against(config, checkout, base, against), (*before.unread, *changed))


class _Fresh(NamedTuple):
    """What the model of a check costs now, or why that is not known; and what was said on stderr."""

    report: Report | ModelsumError
    said: str


def _fresh(
    config: Config, checks: Sequence[Check], most: int, timeout: int | None, debug: bool
) -> Iterator[Report | ModelsumError]:
    """What each model costs now, or why that is not known: the other checks go on."""
    out.keep_stdout_for_results()
    startup.import_torch()  # once, for all processes
    work = partial(_costs, config.folder, debug=debug)
    lost = partial(_lost, timeout)
    with Progress() as progress:

        def note(finished: int, check: Check) -> None:
            progress(f"{finished} of {len(checks)} checks: {check.name}")

        for fresh in jobs.results(work, checks, jobs=most, lost=lost, done=note, timeout=timeout):
            if fresh.said:
                progress.clear()
                sys.stderr.write(fresh.said)
            yield fresh.report


def _costs(folder: Path, check: Check, *, debug: bool) -> _Fresh:
    """Build and run the model of one check, from the project's folder."""
    said = io.StringIO()
    with inside(folder), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            summary = api.run(_request(check))
        except (Exception, SystemExit) as error:
            if debug:
                traceback.print_exc()
            return _Fresh(error if isinstance(error, ModelsumError) else fault(error), said.getvalue())
    for notice in summary.notices:
        said.write(f"modelsum: notice: {check.name}: {notice}\n")
    return _Fresh(Report.of(summary), said.getvalue())


def _lost(timeout: int | None, _: Check, ended: jobs.Ended) -> _Fresh:
    why = f"it took longer than {timeout} s (--timeout)" if ended.timed_out else how_it_ended(ended.status)
    return _Fresh(BuildError(why), "")


def _request(check: Check) -> Request:
    return Request(
        model=spec.parse_model(check.model),
        inputs_from=check.inputs_from,
        inputs=tuple(map(spec.parse_input, check.input)),
        batch=check.batch,
        arguments=check.args,
        mode=check.mode,
        device=check.device,
        dtype=check.dtype,
        sequence_length=check.seq_len,
        memory=check.memory,
        target=check.target,
    )


def _store(config: Config, checkout: Checkout, check: Check, fresh: Report) -> stored.Stored | None:
    """The baseline as it was written; None where it was the same already."""
    path = config.folder / project.file_of(config, check.name)
    written = report_files.write(path, fresh)
    return stored.parse(report_text.to_text(fresh), checkout.name(path)) if written else None


def _pruned(config: Config, checkout: Checkout, name: str, file: str) -> Verdict:
    named = checkout.name(file)
    try:
        (config.folder / file).unlink()
    except OSError as error:
        raise OutputError(f"cannot remove {named}: {error.strerror}") from error
    return dataclasses.replace(
        gate.orphan(name, named, strict=False), reason=f"{named} is removed", remedy=""
    )


def _source(check: Check, definitions: Definitions, checkout: Checkout) -> Place | None:
    """Where the project defines a check's model; None where an installed package does."""
    found = definitions.find(spec.parse_model(check.model))
    return Place(checkout.name(found.file), found.line) if found else None


def _against(config: Config, checkout: Checkout, base: Revision | None, ref: str | None) -> str:
    folder = checkout.name(config.reports)
    return (
        f"{folder} at {base.commit[:12]}, where this branch left {ref}"
        if base
        else f"the baselines in {folder}"
    )


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
    if format_ not in FORMATS:
        raise UsageError(f"--output {text!r}: unknown format {format_!r}", valid_words(format_, FORMATS))
    return format_, Path(file).resolve()


def _under_ci(environment: Mapping[str, str] = os.environ) -> bool:
    return environment.get("CI", "").lower() not in ("", "0", "false")


def _append_to_step_summary(outcome: Outcome) -> None:
    """The Markdown under the job's run, where GitHub Actions names a file for it."""
    file = os.environ.get("GITHUB_STEP_SUMMARY")
    if not file:
        return
    try:
        with open(file, "a", encoding="utf-8") as summary:
            summary.write(render_outcome(outcome, "markdown"))
    except OSError as error:
        raise OutputError(f"cannot write GITHUB_STEP_SUMMARY {file!r}: {error.strerror}") from error
