"""`modelsum show MODEL`: what one model costs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from modelsum import spec
from modelsum.cli import completion, configured, options, result
from modelsum.cli import output as out
from modelsum.cli.answering import answer
from modelsum.cli.command import Command
from modelsum.cli.progress import Progress
from modelsum.errors import ForwardError, UnknownModelError
from modelsum.files import inside
from modelsum.render import FORMATS, MOMENTS, render
from modelsum.request import Request
from modelsum.spec import ModelSpec
from modelsum.summary import Summary

TORCHINFO, TRACE = "torchinfo", "trace"


@click.command("show", cls=Command, short_help="What one model costs.")
@click.argument(
    "model", metavar="MODEL", shell_complete=completion.models(checks=True, files=spec.WEIGHT_SUFFIXES)
)
@options.summary
@result.depth("as a screen has room for")
@result.every
@result.top
@result.sort
@result.written((*FORMATS["Summary"], TORCHINFO))
def command(
    model: str,
    no_cache: bool,
    depth: int | None,
    every: bool,
    top: int | None,
    sort: str | None,
    format_: str,
    output: Path | None,
    **given: Any,
) -> None:
    """Show the layers, parameters, multiply-accumulates and memory of MODEL.

    \b
    modelsum show resnet50
    modelsum show mobilenet_v2 --input 3x600x600 --arg width_mult=0.5
    modelsum show vgg16 --batch 8 --optimizer adam --format json --output vgg16.json

    MODEL may also be the name of a check of the project: its model, with its input and options where the
    command line gives no others. check:NAME is the check where a documented model is called NAME too.
    """
    case = configured.find(model, Path.cwd())
    name = case.check.model if case else spec.parse_model(model)
    on_disk = name.kind in ("weights", "disk") or Path(name.name).is_dir()
    if on_disk and given["task"] is None and _show_weights(name, format_, output):
        return
    given["no_memory"] = given["no_memory"] or format_ in _WITHOUT_REMARKS
    try:
        with inside(case.folder if case else Path.cwd()):
            request = options.request(name, given)
            batch = given["batch"]
            if case is not None:
                request = case.over(request)
                batch = request.batch
            how = out.options(
                output,
                depth=depth,
                every=every,
                top=top,
                sort=sort,
                torchsummary_batch=_torchsummary_batch(request, batch),
            )
            if format_ == TRACE and request.memory is not None:
                every_moment = dataclasses.replace(request.memory, timeline_points=MOMENTS)
                request = dataclasses.replace(request, memory=every_moment)
            with Progress() as progress:
                summary = answer(
                    request,
                    cached=not no_cache and format_ != TORCHINFO,
                    listing=format_ not in _WITHOUT_REMARKS,
                    progress=progress,
                )
                table = _torchinfo_table(request, summary, depth) if format_ == TORCHINFO else None
    except UnknownModelError as error:
        error.hint = configured.nearest_checks(name.text, Path.cwd()) or error.hint
        raise
    except ForwardError as error:
        # What did run is worth showing, but it is no result: a file that is there stays as it is.
        shown = "text" if format_ == TORCHINFO else format_
        here = dataclasses.replace(how, **out.place(None))
        out.write(render(error.summary, shown, here), None)
        raise
    if format_ in _WITHOUT_REMARKS:
        _remark(summary)
    out.write(table or render(summary, format_, how), output)


def _show_weights(model: ModelSpec, format: str, output: Path | None) -> bool:
    """Show the tensors of files that hold nothing else; whether that is what the name stands for."""
    from modelsum.sources import weights

    if not weights.stands_for(model):
        return False
    out.show(weights.read(model.name), format, output)
    return True


def _torchinfo_table(request: Request, summary: Summary, depth: int | None) -> str:
    """torchinfo's table, from the device that the model was found to run on."""
    from modelsum import api

    if request.device == "auto" and summary.device == "cpu":
        request = dataclasses.replace(request, device="cpu")
    return api.torchinfo_table(request, depth)


def _torchsummary_batch(request: Request, batch: int | None) -> int:
    """The batch size that torchsummary prints: the one given, also as the first size of a literal shape.

    It is not known (-1) of a user's own example, in which nothing says which size it is.
    """
    if request.inputs_from is not None:
        return -1
    literal = request.inputs[0].shape[:1] if request.batch is None and request.inputs else ()
    return next(iter(literal), batch or -1)


# Formats that are another tool's own, with no place for what modelsum has to add.
_WITHOUT_REMARKS = ("torchsummary", TORCHINFO)


def _remark(summary: Summary) -> None:
    for op, times in summary.uncounted_ops.items():
        click.echo(f"modelsum: notice: {op} ran {times} times and is not counted in MACs", err=True)
    for notice in summary.notices:
        click.echo(f"modelsum: notice: {notice}", err=True)
