"""`compare` and `diff`: models and reports -> a Comparison, a Diff.

Each of them is an operand, from Python also a module or what is known of one already:

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
from typing import TYPE_CHECKING, Any, TypeAlias

from modelsum import spec
from modelsum.baselines import revisions
from modelsum.baselines.changes import changes
from modelsum.baselines.changes.changes import Diff
from modelsum.baselines.comparison import Comparison, compare_models
from modelsum.baselines.configuration import config
from modelsum.baselines.reports import files as report_files
from modelsum.baselines.reports import text as report_text
from modelsum.baselines.reports.report import Report
from modelsum.baselines.revisions import Revision
from modelsum.errors import ConfigError, ModelsumError, ReportError, UsageError, did_you_mean, nearest
from modelsum.request import Request, request_of
from modelsum.sources import providers, resolve
from modelsum.sources.ondisk import CONFIGURATION
from modelsum.spec import HUB, InputSpec, ModelSpec
from modelsum.summary import Summary

if TYPE_CHECKING:
    from torch import nn

    Operand: TypeAlias = "nn.Module | Summary | Report | str"


def compare(*models: Operand, **options: Any) -> Comparison:
    """Put models side by side: what they cost, and the ratio to the first.

        >>> print(compare("mobilenet_v2", "squeezenet1_0", batch=8))  # doctest: +SKIP

    Args:
        *models: modules, or operands as of the command line; summaries and reports stand for themselves.
        **options: those of `summarize`, for every model that has to be built or run.

    Raises:
        UsageError: the words are wrong, or there are fewer than two models.
        ModelError: a model could not be built, or its forward failed.
    """
    if len(models) < 2:
        raise UsageError("compare is given fewer than two models", "Name another, or `summarize` the one.")
    return compare_models([_name(model) for model in models], _reports(models, options))


def diff(old: Operand, new: Operand, **options: Any) -> Diff:
    """Say what changed from one model or report to another: totals, and layer by layer.

        >>> diff("resnet50,stride_in_1x1=True", "resnet50").total("macs").difference
        231211008

    Takes and raises what `compare` does.
    """
    before, after = _reports((old, new), options)
    return changes.compare(before, after, (_name(old), _name(new)))


def _name(model: Operand) -> str:
    """What a reader calls it."""
    if isinstance(model, Summary):
        return model.model.spec or model.model.class_name
    if isinstance(model, Report):
        return model.case.model
    return model if isinstance(model, str) else type(model).__name__


def _reports(models: Sequence[Operand], options: Mapping[str, Any]) -> list[Report]:
    """The report of each; what is named is known before anything is built."""
    read = [parse(model, Path.cwd()) if isinstance(model, str) else model for model in models]
    return [_report(model, options) for model in read]


def _report(model: Named | nn.Module | Summary | Report, options: Mapping[str, Any]) -> Report:
    from modelsum.api import run

    if isinstance(model, Named):
        with named(model.text):
            return Report.of(run(model.over(request_of(model.model, **options))))
    if isinstance(model, Report):
        return model
    return Report.of(model if isinstance(model, Summary) else run(request_of(model, **options)))


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

    def over(self, shared: Request) -> Request:
        """What is asked of this model, with what is asked of all."""
        request = dataclasses.replace(shared, arguments={**shared.arguments, **self.arguments})
        if self.inputs:
            request = dataclasses.replace(request, inputs=self.inputs, example=None, inputs_from=None)
        return request


def parse_model(text: str) -> Named:
    """Read MODEL[,KEY=VALUE...][@SHAPE...]. Raises UsageError."""
    name, arguments, shapes = _parts(text)
    if name.startswith(f"{HUB}:") and shapes and not shapes[0][:1].isdecimal():
        name = f"{name}@{shapes.pop(0)}"  # hf:ORG/NAME@REVISION
    with named(text):
        model = spec.parse_model(name)
        return Named(text, model, spec.parse_arguments(arguments), spec.parse_inputs(shapes))


def parse(text: str, folder: Path) -> Named | Report:
    """Read an operand: a report file or a stored baseline is read, a MODEL taken apart and looked up.

    Args:
        folder: where the user is.

    Raises UsageError, for a file that is no whole report or not there as ReportError.
    """
    name = _parts(text)[0]
    is_file = text.endswith(".json") and (folder / text).is_file()
    if (is_file or name.endswith(".json")) and Path(name).name != CONFIGURATION:
        return report_files.read(folder / text, text)
    ref, colon, stored = text.partition(":")
    if colon and not ref.endswith(".py"):
        revision = revisions.find(folder, ref)
        report = _stored(revision, ref, stored, folder) if revision is not None else None
        if report is not None:
            return report
        if revision is None and not _can_be_a_model(name, folder):
            raise UsageError(
                f"{name.partition(':')[0]!r} in {text!r} is neither a git revision nor a module",
                "Write REF:NAME for a stored baseline, package.module:attribute for a model.",
            )
    model = parse_model(text)
    resolve(model.model)
    return model


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
    plain = _parts(name)[0]
    if _can_be_a_model(f"{ref}:{plain}", folder):
        return None
    suffix = report_files.SUFFIX
    known = [n.removesuffix(suffix) for n in revision.names(reports) if n.endswith(suffix)]
    if plain != name and plain in known:
        raise ReportError(f"{ref}:{name}: a stored baseline takes no arguments", f"Write {ref}:{plain}.")
    raise ReportError(
        f"revision {ref!r} has no {file}",
        did_you_mean(name, known)
        or (f"It has {', '.join(known)}." if known else "`modelsum check --update` stores baselines."),
    )


def _can_be_a_model(name: str, folder: Path) -> bool:
    """Whether a name with a colon is that of a file, of a module that is there, or of a provider's model."""
    try:
        model = spec.parse_model(name)
    except UsageError:
        return False
    if model.provider == HUB:
        return True
    if model.provider is not None:
        known = providers()
        return bool(nearest(model.provider, known)) or (folder / model.provider).exists()
    if model.kind != "import":
        return True
    package = model.name.partition(".")[0]
    here = (folder / package).is_dir() or (folder / f"{package}.py").is_file()
    return here or importlib.util.find_spec(package) is not None


def _parts(text: str, marks: str = ",@") -> tuple[str, list[str], list[str]]:
    """The name in front, what stands behind commas, and what behind @, brackets and quotes being whole."""
    name, *parts = spec.cut(text, marks)
    shapes = [part[1:] for part in parts if part[0] == "@"]
    if any("/" in shape or "." in shape for shape in shapes):
        return _parts(text, ",")  # an @ in the name itself
    return name, [part[1:] for part in parts if part[0] == ","], shapes


@contextmanager
def named(text: str) -> Iterator[None]:
    """Say in an error which operand it is about."""
    try:
        yield
    except ModelsumError as error:
        if text not in error.message:
            error.message = f"{text}: {error.message}"
        raise
