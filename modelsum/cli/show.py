"""`modelsum show MODEL`: what one model costs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelsum import spec
from modelsum.cli import options
from modelsum.cli import output as out
from modelsum.cli.answering import answer
from modelsum.errors import ForwardError
from modelsum.render import FORMATS, render
from modelsum.request import Request

if TYPE_CHECKING:
    from modelsum.summary import Summary

TORCHINFO = "torchinfo"


@click.command("show", short_help="What one model costs.")
@click.argument("model", metavar="MODEL")
@options.call
@options.mode
@options.device
@options.training_step
@options.target
@click.option("--no-memory", is_flag=True, help="Predict no memory.")
@options.no_cache
@click.option(
    "--depth", type=click.IntRange(min=0), metavar="N", help="Deepest level of layers shown.  [default: all]"
)
@click.option(
    "--format", "format_", type=click.Choice([*FORMATS, TORCHINFO]), default="text", show_default=True
)
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the result there.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def command(
    model: str,
    no_memory: bool,
    no_cache: bool,
    depth: int | None,
    format_: str,
    output: Path | None,
    debug: bool,
    **given: Any,
) -> None:
    """Show the layers, parameters, multiply-accumulates and memory of MODEL.

    \b
    modelsum show resnet50
    modelsum show mobilenet_v2 --input 3x600x600 --arg width_mult=0.5
    modelsum show vgg16 --batch 8 --optimizer adam --format json --output vgg16.json
    """
    out.check(output)
    name = spec.parse_model(model)
    if name.kind == "weights":
        _show_weights(name.name, format_, output)
        return
    try:
        request = options.request(name, given)
        if no_memory or format_ in _WITHOUT_REMARKS:
            request = dataclasses.replace(request, memory=None)
        how = out.options(depth, _torchsummary_batch(request, given["batch"]), output)
        summary = answer(request, cached=not no_cache and format_ != TORCHINFO)
        table = _torchinfo_table(request, summary, depth) if format_ == TORCHINFO else None
    except ForwardError as error:
        # What did run is worth showing, but it is no result: a file that is there stays as it is.
        shown = "text" if format_ == TORCHINFO else format_
        here = dataclasses.replace(how, **out.place(None))
        out.write(render(error.summary, shown, here), None)
        raise
    if format_ in _WITHOUT_REMARKS:
        _remark(summary)
    out.write(table or render(summary, format_, how), output)


def _show_weights(path: str, format: str, output: Path | None) -> None:
    from modelsum.render.weights import render_weights
    from modelsum.sources import weights

    out.write(render_weights(weights.read(path), format, out.place(output)["width"]), output)


def _torchinfo_table(request: Request, summary: Summary, depth: int | None) -> str:
    """torchinfo's table, from the device that the model was found to run on."""
    from modelsum import api

    if request.device == "auto" and summary.device == "cpu":
        request = dataclasses.replace(request, device="cpu")
    return api.torchinfo_table(request, depth)


def _torchsummary_batch(request: Request, batch: int | None) -> int:
    """The batch size that torchsummary prints: the one given, also as the first size of a literal shape."""
    literal = request.inputs[0].shape[:1] if request.batch is None and request.inputs else ()
    return next(iter(literal), batch or -1)


# Formats that are another tool's own, with no place for what modelsum has to add.
_WITHOUT_REMARKS = ("torchsummary", TORCHINFO)


def _remark(summary: Summary) -> None:
    for op, times in summary.uncounted_ops.items():
        click.echo(f"modelsum: notice: {op} ran {times} times and is not counted in MACs", err=True)
    for notice in summary.notices:
        click.echo(f"modelsum: notice: {notice}", err=True)
