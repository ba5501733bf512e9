"""The options that commands share: the model's call and its training step, and the request made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial, reduce
from typing import Any, TypeVar

import click

from modelsum import generation_values, spec
from modelsum.cli import completion, project
from modelsum.cli.option import Word, in_group
from modelsum.generation_values import Serving
from modelsum.memory import options as step
from modelsum.memory.cpu.machine import ISAS
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
    *("clip", "checkpoint_policy", "offload"),
)
_DTYPE = Word(spec.FLOAT_DTYPES, spec.check_dtype, also=("bf16", "fp16", "fp32", "fp64", "half", "double"))

_of_input = in_group("Input")
_of_run = in_group("Run")
_of_step = in_group("Training step")
_of_memory = in_group("Memory")
_of_text = in_group("Text")
of_room = in_group("What fits")
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


def _described(group: str, name: str, help: str, **more: Any) -> Callable[[Command], Command]:
    """An option for a field of `MemoryOptions`: what it takes and what stands for it are the field's."""
    default = getattr(_STEP_DEFAULTS, name)
    if isinstance(default, bool):
        more["is_flag"] = True
    elif isinstance(default, tuple):
        more |= {"multiple": True, "metavar": "PATTERN"}
    elif isinstance(default, int):
        more |= {"type": int, "metavar": "N"}
    if isinstance(default, (str, int)) and not isinstance(default, bool):
        more |= {"default": default, "show_default": True}
    return in_group(group)(f"--{name.replace('_', '-')}", help=help, **more)


_step = partial(_described, "Training step")
_memory = partial(_described, "Memory")
_ranks = partial(_described, "Many GPUs")

_KERNELS = (
    _memory("attention", "Kernel of scaled_dot_product_attention.", type=Word(step.ATTENTION)),
    _memory(
        "threads",
        "Of the CPU that memory is predicted for, with --target cpu.  [default: those of torch here]",
        type=int,
        metavar="N",
    ),
    _memory(
        "isa",
        "Its instruction set.  [default: this CPU's]",
        type=Word(ISAS),
    ),
)

_STEP = (
    _step(
        "optimizer",
        f"Optimizer of the training step whose memory is predicted: {', '.join(step.OPTIMIZERS)}, or a "
        "class ('nets.py:Lion(beta=0.9)'), which is called with the parameters.",
        project=True,
        type=Word(step.OPTIMIZERS),
        metavar="NAME",
    ),
    _of_step("--foreach", "implementation", flag_value="foreach", help="Its foreach implementation."),
    _of_step("--for-loop", "implementation", flag_value="for-loop", help="Its for-loop implementation."),
    _of_step(
        "--fused",
        "implementation",
        flag_value="fused",
        help="Its fused implementation.  [default: foreach on cuda, for-loop on cpu]",
    ),
    _step("loss", "The loss.", type=Word(step.LOSSES)),
    _step(
        "amp", "Forward and loss under autocast.", type=Word(step.AMP, also=("bfloat16", "float16", "half"))
    ),
    _step(
        "checkpoint",
        "Activation checkpointing of the modules whose path matches ('layer*.*'); repeatable.",
    ),
    _step(
        "checkpoint_policy",
        "Recompute all, or keep the results of dear ops (attention, every second matmul).",
        type=Word(step.CHECKPOINT_POLICIES),
    ),
    _step("freeze", "Modules or parameters that are not trained ('features.*'); repeatable."),
    _step("accumulate", "Passes whose gradients add up before an optimizer step."),
    _step("clip", "The norm of all gradients is clipped before the optimizer steps."),
    _step("ema", "A moving average of weights and buffers is kept beside them."),
    _of_step(
        "--lora",
        metavar="r=N,targets=A|B",
        help="Train adapters of peft alone; base=nf4 for QLoRA, alpha=N, dropout=P.",
    ),
    _step("weight_decay", "The optimizer has a weight decay."),
    *_KERNELS,
    _memory("prefetch", "Batches that the data loader has on the device already."),
    _memory("cudnn_benchmark", "With torch.backends.cudnn.benchmark."),
    _memory("expandable_segments", "The CUDA allocator with expandable_segments:True."),
    _ranks(
        "mesh",
        "GPUs that share the step: dp (data parallel), tp (tensor), cp (context), pp (stages), replicate.",
        metavar="dp=N,tp=N",
    ),
    _ranks("shard", "What data parallel ranks share.  [default: fsdp]", type=Word(step.SHARD)),
    in_group("Many GPUs")(
        "--reshard/--no-reshard",
        default=None,
        help="fsdp gives gathered weights back after their forward.  [default: all but the root's]",
    ),
    _ranks("wrap", "Modules that fsdp shards on their own; repeatable.  [default: the repeated blocks]"),
    _ranks("param_dtype", "That fsdp gathers weights in.", type=_DTYPE),
    _ranks("reduce_dtype", "That fsdp reduces gradients in.", type=_DTYPE),
    _ranks("offload", "What the host holds: shards of weights, or the optimizer.", type=Word(step.OFFLOAD)),
    _ranks(
        "parallelize",
        "Your own (model, mesh) -> model in place of --shard.",
        metavar="FILE.py:FUNCTION",
        shell_complete=completion.functions,
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


def _on_a_card(ctx: click.Context, param: click.Parameter, gpu: str | None) -> str | None:
    """A card is one of CUDA's, whatever the project's target is."""
    if gpu is not None and isinstance(ctx, project.Context):
        ctx.project = ctx.project.without("target")
    return gpu


_ROOM = (
    of_room("--memory", metavar="SIZE", help="Memory to fit into: 24GiB (2**30), 24GB (10**9), 900MiB."),
    of_room(
        "--gpu",
        metavar="NAME",
        excludes=("memory",),
        is_eager=True,
        callback=_on_a_card,
        shell_complete=completion.gpus,
        help="A card to fit into, instead: 'RTX 4090', T4, 'A100 80GB'.",
    ),
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


def kernels(command: Command) -> Command:
    """Whose kernels memory is predicted for: which attention, and what CPU."""
    return _with(_KERNELS, command)


def room(command: Command) -> Command:
    """The memory that something shall fit into: a size or a card."""
    return _with(_ROOM, command)


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
