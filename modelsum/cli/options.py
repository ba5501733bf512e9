"""The options that commands share: the model's call and its training step, and the request made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, TypeVar

import click

from modelsum import generation_values, spec
from modelsum.cli import completion, project
from modelsum.cli.option import Word, in_group
from modelsum.generation_values import Serving
from modelsum.memory import options as step
from modelsum.memory.options import MemoryOptions
from modelsum.request import Request
from modelsum.spec import ModelSpec

Command = TypeVar("Command", bound=Callable[..., Any])

_STEP_DEFAULTS = MemoryOptions()
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Request)}
_OF_STEP = tuple(field.name for field in dataclasses.fields(MemoryOptions))
#: Options of the training step that an inference has nothing of.
OF_TRAINING = (
    *("lora", "optimizer", "implementation", "loss", "checkpoint", "freeze", "accumulate", "weight_decay"),
    *("clip", "checkpoint_policy"),
)
_DTYPE = Word(spec.FLOAT_DTYPES, spec.check_dtype, also=("bf16", "fp16", "fp32", "fp64", "half", "double"))

_of_input = in_group("Input")
_of_run = in_group("Run")
_of_step = in_group("Training step")
_of_memory = in_group("Memory")
_of_ranks = in_group("Many GPUs")
_of_text = in_group("Text")
_SERVING = Serving()
_OF_TEXT = ("prompt", "new", "cache", "kv_dtype", "weights")

_BUILT = (
    _of_input(
        "--arg",
        "arguments",
        multiple=True,
        metavar="KEY=VALUE",
        shell_complete=completion.arguments,
        help="Constructor argument, a Python literal.",
    ),
    _of_input(
        "--task",
        type=Word(spec.TASKS, spec.check_task),
        metavar="TASK",
        help="Head of a model of transformers: causal-lm, sequence-classification ...",
    ),
    _of_input(
        "--fetch",
        is_flag=True,
        help="Get the config.json of hf:ORG/NAME where it is not on this machine; never weights or code.",
    ),
    _of_input("--dtype", type=_DTYPE, project=True, help="Of the model and its inputs.  [default: as built]"),
    project.no_defaults,
)

_CALL = (
    _of_input(
        "--input",
        "inputs",
        multiple=True,
        metavar="SHAPE",
        help="One sample, 3x224x224; repeat for several inputs. NAME=16:int64 names a keyword and its dtype.",
    ),
    _of_input(
        "--inputs-from",
        metavar="FILE.py:FUNCTION",
        shell_complete=completion.functions,
        excludes=("inputs", "batch", "no_batch", "seq_len"),
        reason="--inputs-from gives the whole call.",
        help="A function that returns the example: a tensor, a tuple, a dict or (args, kwargs).",
    ),
    _of_input(
        "--seq-len",
        type=click.IntRange(min=1),
        excludes=("inputs",),
        reason="--seq-len is of the default input.",
        metavar="N",
        help="Tokens of a language model's default input.",
    ),
    _of_input("--batch", type=int, metavar="N", help="Batch size put in front of every shape.  [default: 1]"),
    _of_input("--no-batch", is_flag=True, excludes=("batch",), help="Take the shapes literally."),
    *_BUILT,
)

attention = _of_memory(
    "--attention",
    default=_STEP_DEFAULTS.attention,
    show_default=True,
    type=Word(step.ATTENTION),
    help="Kernel of scaled_dot_product_attention.",
)

_STEP = (
    _of_step(
        "--optimizer",
        project=True,
        default=_STEP_DEFAULTS.optimizer,
        show_default=True,
        type=Word(step.OPTIMIZERS),
        metavar="NAME",
        help=f"Optimizer of the training step whose memory is predicted: {', '.join(step.OPTIMIZERS)}, or a "
        "class ('nets.py:Lion(beta=0.9)'), which is called with the parameters.",
    ),
    _of_step("--foreach", "implementation", flag_value="foreach", help="Its foreach implementation."),
    _of_step("--for-loop", "implementation", flag_value="for-loop", help="Its for-loop implementation."),
    _of_step(
        "--fused",
        "implementation",
        flag_value="fused",
        help="Its fused implementation.  [default: foreach on cuda, for-loop on cpu]",
    ),
    _of_step(
        "--loss",
        default=_STEP_DEFAULTS.loss,
        show_default=True,
        type=Word(step.LOSSES),
        help="The loss.",
    ),
    _of_step(
        "--amp",
        type=Word(step.AMP, also=("bfloat16", "float16", "half")),
        help="Forward and loss under autocast.",
    ),
    _of_step(
        "--checkpoint",
        multiple=True,
        metavar="PATTERN",
        help="Activation checkpointing of the modules whose path matches ('layer*.*'); repeatable.",
    ),
    _of_step(
        "--checkpoint-policy",
        default=_STEP_DEFAULTS.checkpoint_policy,
        show_default=True,
        type=Word(step.CHECKPOINT_POLICIES),
        help="Recompute all, or keep the results of dear ops (attention, every second matmul).",
    ),
    _of_step(
        "--freeze",
        multiple=True,
        metavar="PATTERN",
        help="Modules or parameters that are not trained ('features.*'); repeatable.",
    ),
    _of_step(
        "--accumulate",
        type=int,
        default=_STEP_DEFAULTS.accumulate,
        show_default=True,
        metavar="N",
        help="Passes whose gradients add up before an optimizer step.",
    ),
    _of_step("--clip", is_flag=True, help="The norm of all gradients is clipped before the optimizer steps."),
    _of_step("--ema", is_flag=True, help="A moving average of weights and buffers is kept beside them."),
    _of_step(
        "--lora",
        metavar="r=N,targets=A|B",
        help="Train adapters of peft alone; base=nf4 for QLoRA, alpha=N, dropout=P.",
    ),
    _of_step("--weight-decay", is_flag=True, help="The optimizer has a weight decay."),
    attention,
    _of_memory(
        "--prefetch",
        type=int,
        default=_STEP_DEFAULTS.prefetch,
        show_default=True,
        metavar="N",
        help="Batches that the data loader has on the device already.",
    ),
    _of_memory(
        "--threads",
        type=int,
        metavar="N",
        help="Of the CPU that memory is predicted for, with --target cpu.  [default: those of torch here]",
    ),
    _of_memory("--cudnn-benchmark", is_flag=True, help="With torch.backends.cudnn.benchmark."),
    _of_memory(
        "--expandable-segments", is_flag=True, help="The CUDA allocator with expandable_segments:True."
    ),
    _of_ranks(
        "--mesh",
        metavar="dp=N,tp=N",
        help="GPUs that share the step: dp (data parallel), tp (tensor), pp (stages), replicate (of shards).",
    ),
    _of_ranks(
        "--shard",
        type=Word(step.SHARD),
        help="What data parallel ranks share.  [default: fsdp]",
    ),
    _of_ranks(
        "--reshard/--no-reshard",
        default=None,
        help="fsdp gives gathered weights back after their forward.  [default: all but the root's]",
    ),
    _of_ranks(
        "--wrap",
        multiple=True,
        metavar="PATTERN",
        help="Modules that fsdp shards on their own; repeatable.  [default: the repeated blocks]",
    ),
    _of_ranks("--param-dtype", type=_DTYPE, help="That fsdp gathers weights in."),
    _of_ranks("--reduce-dtype", type=_DTYPE, help="That fsdp reduces gradients in."),
    _of_ranks(
        "--parallelize",
        metavar="FILE.py:FUNCTION",
        shell_complete=completion.functions,
        help="Your own (model, mesh) -> model in place of --shard.",
    ),
)

#: A text that is written, whose memory is followed where any of these is given; see `modelsum generate`.
_TEXT = (
    _of_text("--prompt", type=int, metavar="N", help=f"Tokens at the start.  [default: {_SERVING.prompt}]"),
    _of_text("--new", type=int, metavar="N", help=f"Tokens that are written.  [default: {_SERVING.new}]"),
    _of_text(
        "--cache",
        metavar="|".join(generation_values.CACHES),
        help=f"What keeps keys and values: {_SERVING.cache} grows by a copy.  [default: {_SERVING.cache}]",
    ),
    _of_text(
        "--kv-dtype",
        type=Word(generation_values.KV_DTYPES),
        help="Of what a cache keeps.  [default: the model's]",
    ),
    _of_text(
        "--weights", type=Word(generation_values.WEIGHTS), help="Their format.  [default: as configured]"
    ),
)

target = _of_memory(
    "--target",
    project=True,
    default=_DEFAULTS["target"],
    show_default=True,
    type=Word(step.TARGETS, step.check_target),
    help="Device that memory is predicted for.",
)

no_memory = _of_memory(
    "--no-memory",
    is_flag=True,
    excludes={"target", *_OF_STEP} - {"freeze"},  # which the counts tell apart too
    reason="--no-memory predicts none.",
    help="Predict no memory.",
)

device = _of_run(
    "--device",
    project=True,
    default=_DEFAULTS["device"],
    show_default=True,
    type=Word(spec.DEVICES, spec.check_device),
    metavar="auto|meta|cpu|cuda[:N]",
    help="Where the forward runs.",
)

mode = _of_run("--train/--eval", "train", default=False, help="Mode of the model.  [default: eval]")

no_cache = _of_run("--no-cache", is_flag=True, help="Neither use a kept answer nor keep this one.")


def summary(command: Command) -> Command:
    """Everything that a summary can be asked for."""
    return _with((call, mode, device, training_step, text, target, no_memory, no_cache), command)


def text(command: Command) -> Command:
    """What a language model shall write."""
    return _with(_TEXT, command)


def call(command: Command) -> Command:
    """The model's call: inputs, batch, constructor arguments and dtype."""
    return _with(_CALL, command)


def built(command: Command) -> Command:
    """How a model is built, for a command that makes its calls itself: arguments, head and dtype."""
    return _with(_BUILT, command)


def training_step(command: Command) -> Command:
    """The training step: optimizer, loss, and what saves memory."""
    return _with(_STEP, command)


def call_of_a_sample(command: Command) -> Command:
    """`call` for a command that looks for the batch: literal shapes, which have none, are not in its help."""
    command = call(command)
    for option in command.__click_params__:  # type: ignore[attr-defined]
        option.hidden = option.hidden or option.name == "no_batch"
        if option.name == "batch":
            option.help = "Ask whether that batch fits, in place of the largest."
        elif option.name == "inputs_from":
            option.excludes -= {"batch"}  # that of the example is changed
    return command


def _with(options: tuple[Callable[[Command], Command], ...], command: Command) -> Command:
    return reduce(lambda decorated, option: option(decorated), reversed(options), command)


def request(model: ModelSpec, given: Mapping[str, Any]) -> Request:
    """What `call`, `mode`, `training_step`, `target` and `device` were given; the others have their defaults.

    Raises UsageError.
    """
    batch = given.get("batch")
    described = memory(given)
    return Request(
        model=model,
        inputs_from=given.get("inputs_from"),
        inputs=spec.parse_inputs(given.get("inputs", ())),
        batch=None if given.get("no_batch") else 1 if batch is None else batch,
        arguments=spec.parse_arguments(given["arguments"]),
        mode="train" if given.get("train") else "eval",
        device=given.get("device", _DEFAULTS["device"]),
        dtype=given["dtype"],
        sequence_length=given.get("seq_len"),
        memory=described,
        target=given.get("target", _DEFAULTS["target"]),
        freeze=given.get("freeze", ()),
        task=given.get("task"),
        fetch=bool(given.get("fetch")),
        serving=_serving(given, batch),
        lora=spec.parse_lora(given["lora"]) if given.get("lora") else None,
        notices=project.notices(of_memory=described is not None),
    )


def _serving(given: Mapping[str, Any], batch: int | None) -> Serving | None:
    """The text that is asked for; None where no option of `text` is given."""
    values = {name: given[name] for name in _OF_TEXT if given.get(name) is not None}
    return Serving(**values, batch=batch or 1) if values else None


def memory(given: Mapping[str, Any]) -> MemoryOptions | None:
    """The training step that the options of `training_step` describe; None where a command has none."""
    values = {name: value for name, value in given.items() if name in _OF_STEP}
    return MemoryOptions(**values) if values and not given.get("no_memory") else None
