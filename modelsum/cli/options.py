"""The options that commands share: the model's call and its training step, and the request made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, TypeVar

import click

from modelsum import spec
from modelsum.errors import UsageError
from modelsum.memory import options as step
from modelsum.request import Request
from modelsum.spec import ModelSpec

Command = TypeVar("Command", bound=Callable[..., Any])

_STEP_DEFAULTS = step.MemoryOptions()
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Request)}

_CALL = (
    click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="SHAPE",
        help="One sample, 3x224x224; repeat for several inputs. NAME=16:int64 names a keyword and its dtype.",
    ),
    click.option(
        "--inputs-from",
        metavar="FILE.py:FUNCTION",
        help="A function that returns the example: a tensor, a tuple, a dict or (args, kwargs).",
    ),
    click.option(
        "--seq-len",
        type=click.IntRange(min=1),
        metavar="N",
        help="Tokens of a language model's default input.",
    ),
    click.option(
        "--batch", type=int, metavar="N", help="Batch size put in front of every shape.  [default: 1]"
    ),
    click.option("--no-batch", is_flag=True, help="Take the shapes literally."),
    click.option(
        "--arg",
        "arguments",
        multiple=True,
        metavar="KEY=VALUE",
        help="Constructor argument, a Python literal.",
    ),
    click.option("--dtype", metavar="DTYPE", help="Of the model and its inputs.  [default: as built]"),
)

_STEP = (
    click.option(
        "--optimizer",
        default=_STEP_DEFAULTS.optimizer,
        show_default=True,
        metavar="|".join(step.OPTIMIZERS),
        help="Optimizer of the training step whose memory is predicted.",
    ),
    click.option("--foreach", "implementation", flag_value="foreach", help="Its foreach implementation."),
    click.option("--for-loop", "implementation", flag_value="for-loop", help="Its for-loop implementation."),
    click.option(
        "--fused",
        "implementation",
        flag_value="fused",
        help="Its fused implementation.  [default: foreach on cuda, for-loop on cpu]",
    ),
    click.option(
        "--loss",
        default=_STEP_DEFAULTS.loss,
        show_default=True,
        metavar="|".join(step.LOSSES),
        help="The loss.",
    ),
    click.option("--amp", metavar="|".join(step.AMP), help="Forward and loss under autocast."),
    click.option(
        "--checkpoint",
        multiple=True,
        metavar="PATTERN",
        help="Activation checkpointing of the modules whose path matches ('layer*.*'); repeatable.",
    ),
    click.option(
        "--freeze",
        multiple=True,
        metavar="PATTERN",
        help="Modules or parameters that are not trained ('features.*'); repeatable.",
    ),
    click.option(
        "--accumulate",
        type=int,
        default=_STEP_DEFAULTS.accumulate,
        show_default=True,
        metavar="N",
        help="Passes whose gradients add up before an optimizer step.",
    ),
    click.option(
        "--attention",
        default=_STEP_DEFAULTS.attention,
        show_default=True,
        metavar="|".join(step.ATTENTION),
        help="Kernel of scaled_dot_product_attention.",
    ),
    click.option("--weight-decay", is_flag=True, help="The optimizer has a weight decay."),
    click.option(
        "--prefetch",
        type=int,
        default=_STEP_DEFAULTS.prefetch,
        show_default=True,
        metavar="N",
        help="Batches that the data loader has on the device already.",
    ),
    click.option("--cudnn-benchmark", is_flag=True, help="With torch.backends.cudnn.benchmark."),
    click.option(
        "--expandable-segments", is_flag=True, help="The CUDA allocator with expandable_segments:True."
    ),
)

target = click.option(
    "--target",
    default=_DEFAULTS["target"],
    show_default=True,
    metavar="|".join(step.TARGETS),
    help="Device that memory is predicted for.",
)

device = click.option(
    "--device",
    default=_DEFAULTS["device"],
    show_default=True,
    metavar="auto|meta|cpu|cuda[:N]",
    help="Where the forward runs.",
)


mode = click.option("--train/--eval", "train", default=False, help="Mode of the model.  [default: eval]")

no_cache = click.option("--no-cache", is_flag=True, help="Neither use a kept answer nor keep this one.")


def call(command: Command) -> Command:
    """The model's call: inputs, batch, constructor arguments and dtype."""
    return _with(_CALL, command)


def training_step(command: Command) -> Command:
    """The training step: optimizer, loss, and what saves memory."""
    return _with(_STEP, command)


def _with(options: tuple[Callable[[Command], Command], ...], command: Command) -> Command:
    return reduce(lambda decorated, option: option(decorated), reversed(options), command)


def request(model: ModelSpec, given: Mapping[str, Any]) -> Request:
    """What `call`, `mode`, `training_step`, `target` and `device` were given; the others have their defaults.

    Raises UsageError.
    """
    inputs_from, batch, no_batch = (given.get(key) for key in ("inputs_from", "batch", "no_batch"))
    if no_batch and batch is not None:
        raise UsageError("--batch and --no-batch are both given", "Give one of them.")
    if inputs_from is not None and (given["inputs"] or batch or no_batch or given["seq_len"]):
        raise UsageError(
            "--inputs-from gives the whole call: no --input, --batch, --no-batch or --seq-len beside it",
            "Give one or the other.",
        )
    return Request(
        model=model,
        inputs_from=inputs_from,
        inputs=tuple(map(spec.parse_input, given["inputs"])),
        batch=None if no_batch else 1 if batch is None else batch,
        arguments=dict(map(spec.parse_argument, given["arguments"])),
        mode="train" if given.get("train") else "eval",
        device=given.get("device", _DEFAULTS["device"]),
        dtype=given["dtype"],
        sequence_length=given["seq_len"],
        memory=memory(given),
        target=given.get("target", _DEFAULTS["target"]),
    )


def memory(given: Mapping[str, Any]) -> step.MemoryOptions | None:
    """The training step that the options of `training_step` describe; None where a command has none."""
    names = {field.name for field in dataclasses.fields(step.MemoryOptions)}
    values = {name: value for name, value in given.items() if name in names}
    return step.MemoryOptions(**values) if values else None
