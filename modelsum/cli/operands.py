"""The reports of what `diff` and `compare` are given on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from modelsum import comparing
from modelsum.baselines.reports.report import Report
from modelsum.cli import options, project
from modelsum.cli.answering import answer
from modelsum.cli.progress import Progress
from modelsum.comparing import Named


def reports(texts: Sequence[str], given: Mapping[str, Any], *, cached: bool) -> list[Report]:
    """The report of every operand; those that are MODELs are built and run, if all of them are known."""
    read = [comparing.parse(text, Path.cwd()) for text in texts]
    if any(isinstance(each, Named) for each in read):
        for notice in project.notices(of_memory=not given["no_memory"]):
            click.echo(f"modelsum: notice: {notice}", err=True)
    with Progress() as progress:
        return [_report(each, given, cached, progress) if isinstance(each, Named) else each for each in read]


def _report(model: Named, given: Mapping[str, Any], cached: bool, progress: Progress) -> Report:
    with comparing.named(model.text):
        request = model.over(options.request(model.model, given))
        return Report.of(answer(request, cached=cached, progress=progress))
