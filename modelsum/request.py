"""What a summary is asked for: a model, its call and a training step, read and checked, but not yet run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelsum import objects, spec
from modelsum.errors import ArgumentError, InputError, UsageError, did_you_mean
from modelsum.generation_values import Serving
from modelsum.memory import torch_objects
from modelsum.memory.options import MemoryOptions, check_target
from modelsum.spec import InputSpec, Lora, ModelSpec

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Request:
    """Everything that a summary is made from. The fields are those of `summarize`, already read.

    Attributes:
        example: the arguments (args, kwargs) of the call, where the caller has them.
        inputs_from: a function of the user's that makes them, see `example_from`.
        inputs: their specifications otherwise; none for the model's default input.
        device: a word, or a torch.device.
        dtype: by torch's name, whichever word was given, or a torch.dtype.
        memory: the training step whose memory is predicted; None predicts no memory.
        target: the device that memory is predicted for.
        freeze: patterns of what is not trained, as the training step has them; they hold for the counts too,
            also where no memory is predicted.
        notices: what the summary passes on to the reader.
        task: what a model of transformers shall have a head for, see `modelsum.spec.TASKS`.
        fetch: a configuration that is not on this machine may be fetched from the Hub.
        serving: a text whose generation is followed too; None follows none.
        lora: adapters that are put into the model and trained, its own weights frozen.
    """

    model: ModelSpec | nn.Module
    example: tuple[tuple[Any, ...], Mapping[str, Any]] | None = None
    inputs_from: str | None = None
    inputs: tuple[InputSpec, ...] = ()
    batch: int | None = 1
    arguments: Mapping[str, Any] = field(default_factory=dict)
    mode: str = "eval"
    device: str = "auto"
    dtype: str | None = None
    sequence_length: int | None = None
    memory: MemoryOptions | None = None
    target: str = "cuda"
    freeze: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    task: str | None = None
    fetch: bool = False
    serving: Serving | None = None
    lora: Lora | None = None

    def __post_init__(self) -> None:
        check_target(self.target)
        if self.task is not None:
            spec.check_task(self.task)
        if isinstance(self.model, ModelSpec) and (self.task or self.fetch):
            named = dataclasses.replace(self.model, task=self.task, fetch=self.fetch)
            object.__setattr__(self, "model", named)
        spec.check_batch(self.batch)
        spec.check_mode(self.mode)
        # torch's own objects read as their names do: torch.device("cpu"), torch.bfloat16.
        object.__setattr__(self, "device", spec.check_device(str(self.device)))
        if self.dtype is not None:
            object.__setattr__(self, "dtype", spec.check_dtype(str(self.dtype)))
        if self.memory is not None:
            object.__setattr__(self, "freeze", self.memory.freeze)

    @property
    def name(self) -> str:
        """What the model is called: the user's words for it, or the class of a module."""
        return str(self.model) if isinstance(self.model, ModelSpec) else type(self.model).__name__

    def for_text(self) -> Request:
        """The same with a head that writes, where nothing says which one."""
        named = isinstance(self.model, ModelSpec) and self.model.attribute is None
        return dataclasses.replace(self, task="generation") if named and self.task is None else self


#: Options of a call from Python that are fields of a request; those of a training step are the others.
_OF_A_REQUEST = (
    *("batch", "mode", "device", "dtype", "sequence_length", "target", "task", "fetch", "serving", "lora"),
)


def request_of(
    model: nn.Module | ModelSpec | str,
    inputs: tuple[Any, ...] = (),
    *,
    kwargs: Mapping[str, Any] | None = None,
    input_size: Sequence[int] | Sequence[Sequence[int]] | None = None,
    model_args: Mapping[str, Any] | None = None,
    memory: bool = True,
    **options: Any,
) -> Request:
    """What a call from Python asks for, by the names of `summarize`. Raises UsageError."""
    example = (inputs, dict(kwargs or {})) if inputs or kwargs else None
    if example and input_size is not None:
        raise InputError("both inputs and input_size are given", "Give one of them.")
    if isinstance(model, str):
        model = spec.parse_model(model)
    given = {name: options.pop(name) for name in _OF_A_REQUEST if name in options}
    if model_args is not None and not isinstance(model_args, Mapping):
        raise ArgumentError(f"model_args is {objects.kind_of(model_args)}", 'Give a dict, {"depth": 4}.')
    step = training_step(**options)
    return Request(
        model=model if isinstance(model, ModelSpec) else _module(model),
        example=example,
        inputs=_input_specs(input_size),
        arguments=dict(model_args or {}),
        memory=step if memory else None,
        freeze=step.freeze,
        **given,
    )


def _module(model: Any) -> nn.Module:
    if not objects.is_module(model):
        instead = objects.instead(model) or 'a module, or a text that names one, like "resnet50"'
        raise UsageError(f"the model is {objects.kind_of(model)}, not a torch.nn.Module", f"Give {instead}.")
    module: nn.Module = model
    return module


def training_step(*, foreach: bool | None = None, fused: bool | None = None, **options: Any) -> MemoryOptions:
    """The options of a training step, the optimizer's implementation chosen as torch.optim's flags do.

    The optimizer may be one of torch.optim, a class or an object, and the loss one of torch.nn.

    Raises UsageError for an unknown option or value.
    """
    described = torch_objects.optimizer(options.get("optimizer"))
    for name, value in described.items():
        if name != "optimizer" and options.get(name, value) != value:
            raise UsageError(f"{name} is given, and the optimizer has another one", "Give one of them.")
    options |= described
    if "loss" in options:
        options["loss"] = torch_objects.loss(options["loss"])
    if foreach and fused:
        raise UsageError("foreach and fused are both given", "Give one of them.")
    if options.get("implementation") and (foreach is not None or fused):
        said = "foreach" if foreach is not None else "fused"
        raise UsageError(f"implementation and {said} are both given", "Give one of them.")
    if foreach or fused:
        options["implementation"] = "foreach" if foreach else "fused"
    elif foreach is not None:
        options["implementation"] = "for-loop"
    for name in ("checkpoint", "freeze", "wrap"):
        if isinstance(patterns := options.get(name, ()), str):
            options[name] = (patterns,)
    known = [field.name for field in dataclasses.fields(MemoryOptions)]
    for name in options:
        if name not in known:
            raise UsageError(
                f"unknown option {name!r}",
                did_you_mean(name, (*known, *_OF_A_REQUEST))
                or f"Options of a training step are {', '.join(known)}.",
            )
    return MemoryOptions(**options)


def _input_specs(sizes: Any) -> tuple[InputSpec, ...]:
    if sizes is None:
        return ()
    shapes = [sizes] if all(isinstance(s, int) for s in sizes) else sizes
    return tuple(spec.parse_input("x".join(map(str, shape)) or "scalar") for shape in shapes)
