"""`modelsum show MODEL`: what one model costs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from modelsum import api, spec
from modelsum.cli import output as out
from modelsum.errors import ForwardError, UsageError
from modelsum.render import FORMATS, render
from modelsum.render.weights import render_weights
from modelsum.sources import weights
from modelsum.summary import Summary

TORCHINFO = "torchinfo"


@click.command("show", short_help="What one model costs.")
@click.argument("model", metavar="MODEL")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="SHAPE",
    help="One sample, 3x224x224; repeat for several inputs. NAME=16:int64 names a keyword and its dtype.",
)
@click.option(
    "--inputs-from",
    metavar="FILE.py:FUNCTION",
    help="A function that returns the example: a tensor, a tuple, a dict or (args, kwargs).",
)
@click.option(
    "--seq-len", type=click.IntRange(min=1), metavar="N", help="Tokens of a language model's default input."
)
@click.option("--batch", type=int, metavar="N", help="Batch size put in front of every shape.  [default: 1]")
@click.option("--no-batch", is_flag=True, help="Take the shapes literally.")
@click.option(
    "--arg", "arguments", multiple=True, metavar="KEY=VALUE", help="Constructor argument, a Python literal."
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|meta|cpu|cuda[:N]",
    help="Where the forward runs.",
)
@click.option("--train/--eval", "train", default=False, help="Mode of the model.  [default: eval]")
@click.option("--dtype", metavar="DTYPE", help="Of the model and its inputs.  [default: as built]")
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
    inputs: tuple[str, ...],
    inputs_from: str | None,
    seq_len: int | None,
    batch: int | None,
    no_batch: bool,
    arguments: tuple[str, ...],
    device: str,
    train: bool,
    dtype: str | None,
    depth: int | None,
    format_: str,
    output: Path | None,
    debug: bool,
) -> None:
    """Show the layers, parameters and multiply-accumulates of MODEL.

    \b
    modelsum show resnet50
    modelsum show mobilenet_v2 --input 3x600x600 --arg width_mult=0.5
    modelsum show vgg16 --batch 8 --format json --output vgg16.json
    """
    if no_batch and batch is not None:
        raise UsageError("--batch and --no-batch are both given", "Give one of them.")
    if inputs_from is not None and (inputs or batch or no_batch or seq_len):
        raise UsageError(
            "--inputs-from gives the whole call: no --input, --batch, --no-batch or --seq-len beside it",
            "Give one or the other.",
        )
    out.check(output)
    name = spec.parse_model(model)
    if name.kind == "weights":
        width = out.options(depth, -1, output).width
        out.write(render_weights(weights.read(name.name), format_, width), output)
        return
    request = api.Request(
        model=name,
        inputs=tuple(map(spec.parse_input, inputs)),
        batch=None if no_batch else 1 if batch is None else batch,
        arguments=dict(map(spec.parse_argument, arguments)),
        mode="train" if train else "eval",
        device=device,
        dtype=dtype,
        sequence_length=seq_len,
    )
    literal_batch = request.inputs[0].shape[:1] if no_batch and request.inputs else ()
    options = out.options(depth, next(iter(literal_batch), batch or -1), output)
    try:
        with out.model_prints_to_stderr():
            if inputs_from is not None:
                request = dataclasses.replace(request, example=api.example_from(inputs_from))
            summary = api.run(request)
            table = api.torchinfo_table(request, depth) if format_ == TORCHINFO else None
    except ForwardError as error:
        # What did run is worth showing, but it is no result: a file that is there stays as it is.
        shown = "text" if format_ == TORCHINFO else format_
        here = dataclasses.replace(options, **out.place(None))
        out.write(render(error.summary, shown, here), None)
        raise
    if format_ in _WITHOUT_REMARKS:
        _remark(summary)
    out.write(table or render(summary, format_, options), output)


# Formats that are another tool's own, with no place for what modelsum has to add.
_WITHOUT_REMARKS = ("torchsummary", TORCHINFO)


def _remark(summary: Summary) -> None:
    for op, times in summary.uncounted_ops.items():
        click.echo(f"modelsum: notice: {op} ran {times} times and is not counted in MACs", err=True)
    for notice in summary.notices:
        click.echo(f"modelsum: notice: {notice}", err=True)
