"""A request -> its model, on a device, and the call that is made of it; and which devices are tried."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelsum import objects, spec
from modelsum.errors import (
    BuildError,
    ForwardError,
    InputError,
    ModelError,
    ModelsumError,
    NoInputError,
    UsageError,
)
from modelsum.memory.options import OPTIMIZERS, MemoryOptions, OwnOptimizer
from modelsum.plain import plain
from modelsum.raised import told
from modelsum.request import Request
from modelsum.sources import Loaded, resolve
from modelsum.spec import ModelSpec
from modelsum.summary import Model

if TYPE_CHECKING:
    import torch
    from torch import nn

    from modelsum.trace.call import Call


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is there before anything runs.

    Attributes:
        loaded: the model, as its source made it or copied from the one that was handed in.
        identity: what a summary says of which model this is.
        call: the model with the arguments of its call, on the device.
        device: where.
        batch: the batch size, where it was put in front of the shapes.
        notices: what a summary passes on to the reader.
    """

    loaded: Loaded
    identity: Model
    call: Call
    device: torch.device
    batch: int | None
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request on a device where it may run: "auto" is meta, and the CPU for what cannot run there.

    Who runs something prepares `first_attempt`, and on a ModelError goes on with what is `after` it,
    until one returns or nothing is left and the error is raised.
    """

    request: Request
    device: torch.device
    notices: tuple[str, ...] = ()

    def prepared(self) -> Prepared:
        """The model, built or copied, and its call. Raises BuildError where the model cannot be built."""
        ready = prepare(self.request, self.device)
        said = len(self.request.notices)
        notices = (*ready.notices[:said], *self.notices, *ready.notices[said:])
        return dataclasses.replace(ready, notices=notices)

    def after(self, error: ModelError) -> Attempt:
        """What to try where this one failed. Raises the error where there is nothing else."""
        if isinstance(error, ForwardError):
            with_ids = _with_token_ids(self.request, error)
            if with_ids is not None:
                return first_attempt(with_ids)
        if (
            self.request.device != "auto"
            or self.device.type != "meta"
            or not error.device_limit
            or _too_large_for_the_cpu(error)
        ):
            raise error
        notice = f"the meta device could not run it ({_reason(error)}); it was run on the CPU"
        return Attempt(self.request, available("cpu"), (notice,))


def first_attempt(request: Request) -> Attempt:
    """The request on the first device to try. Raises UsageError where there is none of that name."""
    look_up(request)  # a mistyped name is answered before torch is imported
    if request.inputs_from is not None:
        request = dataclasses.replace(request, example=example_from(request.inputs_from), inputs_from=None)
    if request.memory is not None:
        request = dataclasses.replace(request, memory=with_own_optimizer(request.memory))
    return Attempt(request, available("meta" if request.device == "auto" else request.device))


def with_own_optimizer(options: MemoryOptions) -> MemoryOptions:
    """The same with the user's class, where a text names one. Raises UsageError where there is none."""
    if not isinstance(options.optimizer, str) or options.optimizer in OPTIMIZERS:
        return options
    from modelsum.sources.imported import check_there, load_attribute

    text = options.optimizer
    found = spec.parse_object(text, f"optimizer {text!r}")
    assert found is not None
    check_there(found.name)
    kind = load_attribute(found.name)
    if not callable(kind):
        raise UsageError(f"the optimizer {text} is {objects.kind_of(kind)}", "Give a class or a function.")
    if inspect.isclass(kind) and not hasattr(kind, "step"):
        raise UsageError(
            f"the optimizer {text} is {objects.kind_of(kind)}, which has no step",
            f"Give a class of optimizers, or one of {', '.join(OPTIMIZERS)}.",
        )
    own = OwnOptimizer(text, lambda parameters: kind(parameters, *found.args, **found.kwargs))
    return dataclasses.replace(options, optimizer=own)


def look_up(request: Request) -> None:
    """Say what can be said of a request's names without torch. Raises UsageError."""
    _loader(request)
    if request.inputs_from is not None:
        _function_spec(request.inputs_from)
    if request.memory is not None and request.memory.parallelize is not None:
        _function_spec(request.memory.parallelize)


def prepare(request: Request, device: torch.device) -> Prepared:
    """The request's model, built or copied, and the arguments of its call, on a device.

    The request's own device does not matter, and its example has been made. Raises BuildError where the
    model cannot be built, InputError where its input is not known or cannot be made.
    """
    from modelsum.trace.call import Call
    from modelsum.trace.inputs import move

    ready = built(request, device)
    try:
        example = _given(request, ready.loaded)
        if example is not None:
            # Where it is on the CPU, the model is called on the example itself.
            (args, kwargs), batch = move(example, device, as_they_lie=request.target == "cpu"), None
            call = Call(ready.loaded.model, args, kwargs)
        else:
            call, batch = default_call(request, ready.loaded, device), request.batch
    except NoInputError as error:
        error.ready = ready
        raise
    return dataclasses.replace(ready, call=call, batch=batch)


def built(request: Request, device: torch.device) -> Prepared:
    """The request's model, built or copied, on a device; its call has no arguments yet. Raises BuildError."""
    import torch

    from modelsum.trace.call import Call
    from modelsum.trace.copying import unwrapped
    from modelsum.trace.freezing import freeze
    from modelsum.trace.isolation import isolated
    from modelsum.trace.pruning import hidden_by_masks

    load = _loader(request)
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
        adapted: tuple[str, ...] = ()
        if request.lora is not None:
            from modelsum.generation.adapters import adapt

            adapted = adapt(loaded.model, request.lora)
        freeze(loaded.model, request.freeze)
        pruned = hidden_by_masks(loaded.model if isinstance(request.model, ModelSpec) else request.model)
    identity = Model(text, loaded.source, type(loaded.model).__name__, plain(request.arguments))
    own = [*adapted, *([pruned] if pruned else [])]
    if request.task not in (None, "generation") and not hasattr(loaded.model, "config"):
        own.append(f"task {request.task} is for models of transformers: {identity.class_name} stays as it is")
    notices = (*request.notices, *loaded.notices, *own)
    return Prepared(loaded, identity, Call(loaded.model), device, None, notices)


def _given(request: Request, loaded: Loaded) -> tuple[tuple[Any, ...], Mapping[str, Any]] | None:
    """The arguments that the caller gave, or that the module names itself; None where shapes make them."""
    from torch import nn

    from modelsum.sources.own_example import arguments_of

    model = loaded.model
    if getattr(model.forward, "__func__", model.forward) is nn.Module.forward:
        raise NoInputError(f"{type(model).__name__} has no forward", "Name one of the modules in it.")
    if request.example is not None:
        return request.example
    if request.inputs or loaded.example is not None or loaded.default_inputs is not None:
        return None
    given = arguments_of(model)
    if given is not None and any(given) and request.batch not in (1, None):
        raise InputError(
            f"the batch of {type(model).__name__}.example_input_array is its own",
            "Give the shape of one sample, like --input 3x224x224.",
        )
    return given


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


def example_from(function: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The call that a user's function makes: `file.py:function` or `package.module:function`.

    It returns a tensor or another single argument, a tuple of arguments, a dict of keyword arguments, or
    a pair (args, kwargs). Raises UsageError where there is no such function, BuildError where it fails.
    """
    from modelsum.trace.isolation import isolated

    with isolated():
        make = _function(function, "It has to return the example.")
        try:
            example = make()
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


def own_function(name: str | None) -> Callable[..., Any] | None:
    """The user's function of that name, `file.py:function`; None for none.

    Raises UsageError where there is no such function, BuildError where its file fails.
    """
    return None if name is None else _function(name, "It takes a model and a mesh, and returns the model.")


def _function(name: str, what: str) -> Callable[..., Any]:
    """The user's function of that name; `what` says of one that is none what it has to do."""
    spec = _function_spec(name)

    from modelsum.sources.imported import load_attribute

    found: Any = load_attribute(spec)
    if not callable(found):
        raise InputError(f"{name} is {objects.kind_of(found)}, not a function", what)
    function: Callable[..., Any] = found
    return function


def _function_spec(function: str) -> ModelSpec:
    """A function's name, taken apart. Raises UsageError where there is no such file or package."""
    from modelsum.sources.imported import check_there

    name = spec.parse_model(function)
    if name.kind not in ("file", "import"):
        raise InputError(f"{function!r} names no function", "Write path/file.py:function.")
    check_there(name)
    return name


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


def default_call(request: Request, loaded: Loaded, device: torch.device) -> Call:
    """The call of what was loaded, where the user gave shapes or nothing at all. Raises InputError."""
    from modelsum.trace.call import Call
    from modelsum.trace.isolation import isolated
    from modelsum.trace.values.known_values import carried

    with isolated(), carried() if device.type == "meta" else nullcontext():
        try:
            args, kwargs = _default_arguments(request, loaded, device)
            return Call(loaded.model, args, kwargs, loaded.targets(args) if loaded.targets else None)
        except (RuntimeError, OverflowError, MemoryError) as error:
            reason = next(iter(str(error).splitlines()), "")
            raise InputError(
                f"the input cannot be made on {device.type}: {type(error).__name__}: {reason}",
                "Give smaller sizes, or a smaller --batch.",
            ) from error


def _default_arguments(
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
        raise NoInputError(f"{type(loaded.model).__name__} needs an input", _input_hint(loaded.model))
    dtype = getattr(torch, common_dtype(loaded.model.parameters()) or request.dtype or "float32")
    numbers = _numbers_of(loaded.model)
    return make_inputs(specs, batch=request.batch, device=device, dtype=dtype, numbers=numbers)


def _numbers_of(model: nn.Module) -> set[str]:
    """Parameters of a forward that are numbers and no tensors, by their annotations or defaults."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return set()
    words = ("int", "float", "int | None", "Optional[int]", "float | None", "Optional[float]")
    return {
        p.name
        for p in parameters
        if p.annotation in (int, float, int | None, float | None)
        or p.annotation in words
        or (isinstance(p.default, (int, float)) and not isinstance(p.default, bool))
    }


def _loader(request: Request) -> Callable[[torch.device], Loaded]:
    """What brings the request's model to a device: its source, or a copy of the module that was handed in."""
    model = request.model
    if isinstance(model, ModelSpec):
        source, name = resolve(model), model

        from modelsum.sources.imported import made

        def built(device: torch.device) -> Loaded:
            arguments = {key: made(value) for key, value in request.arguments.items()}
            loaded: object = source.load(name, arguments, device)
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
        from modelsum.sources.own_example import example_of
        from modelsum.trace.copying import copy_to
        from modelsum.trace.isolation import uncollected

        if device.type != "meta" and any(p.is_meta for p in module.parameters()):
            raise UsageError(
                f"the model is on the meta device and cannot run on {device}", "Use device meta."
            )
        with uncollected(device):
            model = copy_to(module, device)
        return Loaded(model, "object", example=example_of(model))

    return copied


def _input_hint(model: nn.Module) -> str:
    try:
        signature = str(inspect.signature(model.forward))
    except (TypeError, ValueError):
        signature = "(...)"
    return f"Its forward is {signature}. Give the shape of one sample, like --input 3x224x224."
