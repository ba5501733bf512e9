"""`summarize`: any model and any input -> a Summary. The command line and Python users come in here."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from modelsum import objects, spec
from modelsum.baselines.documented import against_documented
from modelsum.errors import (
    BuildError,
    ForwardError,
    InputError,
    ModelError,
    ModelsumError,
    UsageError,
)
from modelsum.raised import told
from modelsum.request import Request, request_of, training_step
from modelsum.sources import Loaded, resolve
from modelsum.spec import ModelSpec
from modelsum.summary import Model, Summary

if TYPE_CHECKING:
    import torch
    from torch import nn

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model of modelsum's own and the arguments of its call, on one device."""

    loaded: Loaded
    identity: Model
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    device: torch.device
    batch: int | None


def summarize(
    model: nn.Module | str,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    input_size: Sequence[int] | Sequence[Sequence[int]] | None = None,
    batch: int | None = 1,
    model_args: Mapping[str, Any] | None = None,
    mode: str = "eval",
    device: str = "auto",
    dtype: str | None = None,
    sequence_length: int | None = None,
    memory: bool = True,
    target: str = "cuda",
    **step: Any,
) -> Summary:
    """Say what a model costs, from its shapes; the model is left as it was found.

        >>> summarize("resnet50").totals.macs
        4089184256
        >>> summarize(torch.nn.Linear(8, 2), torch.zeros(5, 8)).totals.macs
        80

    Args:
        model: a module, or any MODEL string of the command line.
        *inputs: the positional arguments of the model's forward, tensors or nested values of any kind.
        kwargs: its keyword arguments.
        input_size: in place of inputs: the shape of one sample, or one such shape for each input.
        batch: the batch size put in front of `input_size` and of the model's default input; None takes the
            shapes literally.
        model_args: constructor arguments, for a MODEL string.
        mode: "eval" or "train".
        device: where the forward runs: "meta" computes shapes and costs nothing, "cpu" and "cuda:N" run
            for real, "auto" is meta and, where the model cannot run there, the CPU.
        dtype: "float32", "float16", "bfloat16" or "float64", of the model and its default inputs; None
            leaves them as they are.
        sequence_length: tokens of the default input of a language model; None for its usual number.
        memory: predict the memory of inference and of a training step too.
        target: the device to predict it for, "cuda" or "cpu".
        **step: the training step: the fields of `modelsum.memory.MemoryOptions` (optimizer, loss, amp,
            checkpoint, freeze, accumulate, attention, ...). As in torch.optim, `foreach` and `fused` choose
            the optimizer's implementation.

    Raises:
        UsageError: the words are wrong: an unknown name, option, device or input.
        ModelError: the model could not be built, or its forward failed (ForwardError, with the summary
            of what did run).
    """
    described = training_step(**step)
    return run(
        request_of(
            model,
            inputs,
            kwargs,
            input_size,
            batch=batch,
            arguments=dict(model_args or {}),
            mode=mode,
            device=device,
            dtype=dtype,
            sequence_length=sequence_length,
            memory=described if memory else None,
            target=target,
            freeze=described.freeze,
        )
    )


def run(request: Request) -> Summary:
    """Build, run and count what the request asks for. Raises as `summarize` does."""
    return answered(request)[1]


def answered(request: Request) -> tuple[Request, Summary]:
    """The summary, and the request that it answers: an input without a dtype may turn out to be token ids.

    Raises as `summarize` does.
    """
    return answered_by(request, summarized)


def answered_by(request: Request, action: Callable[[Request, Prepared], T]) -> tuple[Request, T]:
    """What the action makes of the prepared model, and the request as it was taken (see `answered`).

    The action runs the forward, as `summarized` does. Raises what it raises, and as `summarize` does.
    """
    request = _with_example(request)
    try:
        return request, _where_it_runs(request, lambda ready: action(request, ready))
    except ForwardError as error:
        with_ids = _with_token_ids(request, error)
        if with_ids is None:
            raise
    return answered_by(with_ids, action)


def summarized(request: Request, ready: Prepared) -> Summary:
    """The summary of what the request asks for, its model being there. Raises as `summarize` does."""
    from modelsum.trace.tracing import trace

    summary = trace(
        ready.loaded.model,
        ready.args,
        ready.kwargs,
        identity=ready.identity,
        mode=request.mode,
        device=ready.device,
        batch=ready.batch,
        notices=request.notices + ready.loaded.notices,
    )
    if request.memory is not None:
        from modelsum.trace.step.prediction import memory_of

        memory, reasons = memory_of(
            ready.loaded.model,
            ready.args,
            ready.kwargs,
            summary=summary,
            options=request.memory,
            target=request.target,
        )
        summary = dataclasses.replace(summary, memory=memory, notices=summary.notices + reasons)
    changed = ready.loaded.changed or bool(request.freeze)
    baseline = against_documented(summary, options_changed=changed)
    return dataclasses.replace(summary, baseline=baseline)


def _with_token_ids(request: Request, error: ForwardError) -> Request | None:
    """The request with token ids in place of a float input that an embedding refused, or None."""
    failed = next((layer for layer in error.summary.layers if layer.failed), None)
    if failed is None or failed.class_name not in ("Embedding", "EmbeddingBag") or not failed.input_shapes:
        return None
    refused = failed.input_shapes[0]
    batch = () if request.batch is None else (request.batch,)
    for place, given in enumerate(request.inputs):
        if given.dtype is None and (*batch, *given.shape) == refused:
            inputs = list(request.inputs)
            inputs[place] = dataclasses.replace(given, dtype="int64")
            notice = f"input {given} is taken as int64: {failed.path} ({failed.class_name}) takes ids"
            return dataclasses.replace(request, inputs=tuple(inputs), notices=(*request.notices, notice))
    return None


def register_macs(op: str, rule: Callable[..., int]) -> None:
    """Count an op of your own.

    Args:
        op: its qualified name, "mylibrary::fused_linear"; replaces a rule of that name.
        rule: called as rule(*args, out=result, **kwargs) with what the op is called with; returns MACs.
    """
    from modelsum.trace.ops import register

    register(op, rule)


def example_from(function: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The call that a user's function makes: `file.py:function` or `package.module:function`.

    It returns a tensor or another single argument, a tuple of arguments, a dict of keyword arguments, or
    a pair (args, kwargs). Raises UsageError where there is no such function, BuildError where it fails.
    """
    name = _function_spec(function)

    from modelsum.sources.imported import load_attribute
    from modelsum.trace.isolation import isolated

    with isolated():
        made = load_attribute(name)
        if not callable(made):
            raise InputError(
                f"{function} is {objects.kind_of(made)}, not a function", "It has to return the example."
            )
        try:
            example = made()
        except (Exception, SystemExit) as error:
            raise BuildError(f"{function} failed: {told(error, whole=True)}") from error
        if example is None:
            raise InputError(f"{function} returned None", "It has to return the example.")
    if isinstance(example, dict):
        return (), example
    if not isinstance(example, tuple) or hasattr(example, "_fields"):
        return (example,), {}
    if len(example) == 2 and isinstance(example[0], (tuple, list)) and isinstance(example[1], dict):
        return tuple(example[0]), example[1]
    return example, {}


def _function_spec(function: str) -> ModelSpec:
    """A function's name, taken apart. Raises UsageError where there is no such file or package."""
    from modelsum.sources.imported import check_there

    name = spec.parse_model(function)
    if name.kind not in ("file", "import"):
        raise InputError(f"{function!r} names no function", "Write path/file.py:function.")
    check_there(name)
    return name


def look_up(request: Request) -> None:
    """Say what can be said of a request's names without torch. Raises UsageError."""
    _loader(request)
    if request.inputs_from is not None:
        _function_spec(request.inputs_from)


def _with_example(request: Request) -> Request:
    """The request with what its function makes in place of the function."""
    if request.inputs_from is None:
        return request
    return dataclasses.replace(request, example=example_from(request.inputs_from), inputs_from=None)


def torchinfo_table(request: Request, depth: int | None = None) -> str:
    """The table that torchinfo prints for the request, which `run` must be able to run."""

    def tabled(ready: Prepared) -> str:
        from modelsum.trace.torchinfo_table import table

        return table(ready.loaded.model, ready.args, ready.kwargs, request.mode, ready.device, depth)

    return _where_it_runs(_with_example(request), tabled)


def _where_it_runs(request: Request, action: Callable[[Prepared], T]) -> T:
    """The action on the device of the request; "auto" is meta, and the CPU for what cannot run there."""
    load = _loader(request)  # a mistyped name is answered before torch is imported

    import torch

    if request.device != "auto":
        return action(_prepare(request, load, available(request.device)))
    try:
        return action(_prepare(request, load, torch.device("meta")))
    except ModelError as stopped:
        if not stopped.device_limit or _too_large_for_the_cpu(stopped):
            raise
        notice = f"the meta device could not run it ({_reason(stopped)}); it was run on the CPU"
    ready = _prepare(request, load, torch.device("cpu"))
    loaded = dataclasses.replace(ready.loaded, notices=(notice, *ready.loaded.notices))
    return action(dataclasses.replace(ready, loaded=loaded))


def prepared(request: Request, device: str) -> Prepared:
    """The request's model, built or copied, and the arguments of its call, on a device where it shall run.

    Raises UsageError where there is no such device, BuildError where the model cannot be built.
    """
    return _prepare(_with_example(request), _loader(request), available(device))


def _too_large_for_the_cpu(stopped: ModelError) -> bool:
    """Whether its parameters alone take more than half of the memory here; `--device cpu` still tries."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return isinstance(stopped, ForwardError) and stopped.summary.totals.param_bytes > memory / 2


def _reason(error: ModelError) -> str:
    """The first sentence of an error, for a notice of one line."""
    return error.message.split("\n")[0].split(". ")[0]


def available(device: str) -> torch.device:
    """The device of that name. Raises UsageError for a CUDA device that is not there."""
    import torch

    wanted = torch.device(device)
    if wanted.type == "cuda":
        if not torch.cuda.is_available():
            raise UsageError(
                f"device {device!r}: there is no CUDA device here", "Use --device meta or --device cpu."
            )
        count, index = torch.cuda.device_count(), wanted.index or 0
        if index >= count:
            valid = ", ".join(f"cuda:{i}" for i in range(count))
            raise UsageError(f"device {device!r}: there is no such CUDA device", f"There is {valid}.")
        return torch.device("cuda", index)
    return wanted


def _prepare(request: Request, load: Callable[[torch.device], Loaded], device: torch.device) -> Prepared:
    import torch

    from modelsum.trace.copying import unwrapped
    from modelsum.trace.freezing import freeze
    from modelsum.trace.inputs import move
    from modelsum.trace.isolation import isolated

    text = request.model.text if isinstance(request.model, ModelSpec) else None
    with isolated():
        try:
            loaded = load(device)
        except ModelsumError:
            raise
        except (Exception, SystemExit) as error:
            name = text or type(request.model).__name__
            raise BuildError(f"{name} could not be built: {told(error, whole=True)}") from error
        loaded = dataclasses.replace(loaded, model=unwrapped(loaded.model))
        if request.dtype is not None:
            loaded.model.to(getattr(torch, request.dtype))
        freeze(loaded.model, request.freeze)
    identity = Model(text, loaded.source, type(loaded.model).__name__, request.arguments)
    if request.example is not None:
        args, kwargs = move(request.example, device)
        return Prepared(loaded, identity, args, kwargs, device, None)
    args, kwargs = default_call(request, loaded, device)
    return Prepared(loaded, identity, args, kwargs, device, request.batch)


def default_call(
    request: Request, loaded: Loaded, device: torch.device
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of the call, where the user gave shapes or nothing at all. Raises InputError."""
    from modelsum.trace.values.known_values import carried

    with carried() if device.type == "meta" else nullcontext():
        try:
            return _default_call(request, loaded, device)
        except (RuntimeError, OverflowError, MemoryError) as error:
            reason = next(iter(str(error).splitlines()), "")
            raise InputError(
                f"the input cannot be made on {device.type}: {type(error).__name__}: {reason}",
                "Give smaller sizes, or a smaller --batch.",
            ) from error


def _default_call(
    request: Request, loaded: Loaded, device: torch.device
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    import torch

    from modelsum.trace.census import common_dtype
    from modelsum.trace.inputs import make_inputs

    if not request.inputs and loaded.example is not None:
        return loaded.example(request.batch or 1, request.sequence_length, device)
    if request.sequence_length is not None:
        raise InputError("a sequence length is given, but the input is not a default sequence of tokens")
    specs = request.inputs or loaded.default_inputs
    if specs is None:
        raise InputError(f"{type(loaded.model).__name__} needs an input", _input_hint(loaded.model))
    dtype = getattr(torch, common_dtype(loaded.model.parameters()) or request.dtype or "float32")
    return make_inputs(specs, batch=request.batch, device=device, dtype=dtype)


def _loader(request: Request) -> Callable[[torch.device], Loaded]:
    """What brings the request's model to a device: its source, or a copy of the module that was handed in."""
    model = request.model
    if isinstance(model, ModelSpec):
        source, name = resolve(model), model

        def built(device: torch.device) -> Loaded:
            loaded: object = source.load(name, request.arguments, device)
            if not isinstance(loaded, Loaded):
                raise BuildError(
                    f"the model source {source.name!r} returned {objects.kind_of(loaded)} for {name.text!r}",
                    "It has to return a modelsum.sources.Loaded.",
                )
            return loaded

        return built
    if request.arguments:
        raise UsageError(
            "constructor arguments are for a model that is named", "Pass them to the module's class."
        )
    module = model

    def copied(device: torch.device) -> Loaded:
        from modelsum.trace.copying import copy_to

        if device.type != "meta" and any(p.is_meta for p in module.parameters()):
            raise UsageError(
                f"the model is on the meta device and cannot run on {device}", "Use device meta."
            )
        return Loaded(copy_to(module, device), "object")

    return copied


def _input_hint(model: nn.Module) -> str:
    try:
        signature = str(inspect.signature(model.forward))
    except (TypeError, ValueError):
        signature = "(...)"
    return f"Its forward is {signature}. Give the shape of one sample, like --input 3x224x224."
