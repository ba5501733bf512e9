"""What `diff` and `compare` are given: a MODEL with its own arguments and input, or a report.

resnet50                                    a MODEL
resnet50,stride_in_1x1=True                 with constructor arguments of its own
vit_b_16@3x384x384                          with an input of its own, several as @ids=16:int64@mask=16:bool
old.json                                    a report file, or what `modelsum show --format json` wrote
main:resnet50, v1.0:detector                a stored baseline at a git revision
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from modelsum import spec
from modelsum.baselines import revisions
from modelsum.baselines.configuration import config
from modelsum.baselines.reports import files as report_files
from modelsum.baselines.reports import text as report_text
from modelsum.baselines.reports.report import Report
from modelsum.baselines.revisions import Revision
from modelsum.cli import options, project
from modelsum.cli.answering import answer
from modelsum.errors import ConfigError, ModelsumError, ReportError, UsageError, did_you_mean
from modelsum.request import Request
from modelsum.sources import resolve
from modelsum.spec import InputSpec, ModelSpec


@dataclass(frozen=True, slots=True)
class Named:
    """A MODEL with its own constructor arguments and inputs; those of the options hold besides.

    Attributes:
        text: as the user wrote it.
    """

    text: str
    model: ModelSpec
    arguments: Mapping[str, Any]
    inputs: tuple[InputSpec, ...]

    def request(self, given: Mapping[str, Any]) -> Request:
        """What is asked of the model, with what the shared options were given."""
        with named(self.text):
            shared = options.request(self.model, given)
            request = dataclasses.replace(shared, arguments={**shared.arguments, **self.arguments})
            if self.inputs:
                request = dataclasses.replace(request, inputs=self.inputs, example=None, inputs_from=None)
            return request

    def report(self, given: Mapping[str, Any], *, cached: bool) -> Report:
        """What it costs. An error names the operand."""
        with named(self.text):
            return Report.of(answer(self.request(given), cached=cached))


def parse_model(text: str) -> Named:
    """Read MODEL[,KEY=VALUE...][@SHAPE...]. Raises UsageError."""
    name, *shapes = text.split("@")
    if any("/" in shape or "." in shape for shape in shapes):
        name, shapes = text, []  # an @ in the name itself
    name, *arguments = _parts(name)
    with named(text):
        model = spec.parse_model(name)
        if model.kind == "weights":
            raise UsageError(f"{name!r} is a file of weights", "Give a model that can run.")
        return Named(text, model, spec.parse_arguments(arguments), spec.parse_inputs(shapes))


def parse(text: str, folder: Path) -> Named | Report:
    """Read an operand: a report file or a stored baseline is read, a MODEL only taken apart.

    Args:
        folder: where the user is.

    Raises UsageError, for a file that is no whole report or not there as ReportError.
    """
    if text.endswith(".json"):
        return report_files.read(folder / text, text)
    ref, colon, name = text.partition(":")
    if colon and not ref.endswith(".py"):
        revision = revisions.find(folder, ref)
        if revision is not None:
            stored = _stored(revision, ref, name, folder)
            if stored is not None:
                return stored
        elif not _may_be_model(text, folder):
            raise UsageError(
                f"{ref!r} in {text!r} is neither a git revision nor a module",
                "Write REF:NAME for a stored baseline, package.module:attribute for a model.",
            )
    return parse_model(text)


def _stored(revision: Revision, ref: str, name: str, folder: Path) -> Report | None:
    """The baseline of a revision; None where there is none, and the text can mean a model."""
    try:
        project = config.load(config.find(folder))
        root, reports = project.folder, project.reports
    except ConfigError:
        root, reports = folder, config.DEFAULT_REPORTS
    revision = dataclasses.replace(revision, folder=root)
    file = f"{reports.rstrip('/')}/{name}{report_files.SUFFIX}"
    text = revision.read(file)
    if text is not None:
        return report_text.parse(text, f"{ref}:{file}")
    if _may_be_model(f"{ref}:{name}", folder):
        return None
    suffix = report_files.SUFFIX
    known = [n.removesuffix(suffix) for n in revision.names(reports) if n.endswith(suffix)]
    raise ReportError(
        f"revision {ref!r} has no {file}",
        did_you_mean(name, known)
        or (f"It has {', '.join(known)}." if known else "`modelsum check --update` stores baselines."),
    )


def _may_be_model(text: str, folder: Path) -> bool:
    """Whether the text is package.module:attribute of a module that is there, or PROVIDER/NAME:CLASS."""
    try:
        model = spec.parse_model(text)
    except UsageError:
        return False
    if model.kind != "import":
        return model.provider in ("torchvision", "timm", "transformers")
    package = model.name.partition(".")[0]
    here = (folder / package).is_dir() or (folder / f"{package}.py").is_file()
    return here or importlib.util.find_spec(package) is not None


def _parts(text: str) -> list[str]:
    """The text at its commas, but for those in brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        depth += (char in "([{") - (char in ")]}") if not quote else 0
        if char == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += char
    return parts


@contextmanager
def named(text: str) -> Iterator[None]:
    """Say in an error which operand it is about."""
    try:
        yield
    except ModelsumError as error:
        if text not in error.message:
            error.message = f"{text}: {error.message}"
        raise


def reports(read: Sequence[Named | Report], given: Mapping[str, Any], *, cached: bool) -> list[Report]:
    """The report of every operand; those that are MODELs are built and run, if all of them are known."""
    models = [each for each in read if isinstance(each, Named)]
    for each in models:
        resolve(each.model)
    for notice in project.notices(of_memory=not given["no_memory"]) if models else ():
        click.echo(f"modelsum: notice: {notice}", err=True)
    return [each if isinstance(each, Report) else each.report(given, cached=cached) for each in read]
