"""Torch's private parts, and those of its names that are replaced for a while: all that we stand on.

No other file of this package uses a name of torch's that begins with an underscore, or puts something in the
place of one of its names. `tests/trace/test_torch_private.py` says of each entry what it must do: a new torch
that changes one fails there first. The docstring or the comment of an entry says where torch has it. What
runs for every op is torch's own function under a name of ours, so that nothing is added to a call. Names of
ops in tables ("_softmax" as the key of a shape rule) are no entries: one that is gone is not found.
"""

from __future__ import annotations

import pickle
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from operator import attrgetter, methodcaller
from typing import Any

import torch
from torch import Tensor, autograd, nn
from torch._ops import HigherOrderOperator as _HigherOrderOperator
from torch.autograd import forward_ad
from torch.nn import functional
from torch.nn.modules import batchnorm, conv
from torch.nn.modules import module as torch_module
from torch.utils import _device, _foreach_utils, _python_dispatch, backend_registration

# ---- names that are replaced for a while


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Have `owner.name` stand for `value` inside; afterwards, also after Ctrl-C, all is as it was.

    Args:
        owner: a module, a class or an object. What it has only from its class or its `__getattr__` is not
            left behind as its own.
    """
    before = vars(owner).get(name, _ABSENT)
    try:
        setattr(owner, name, value)
        yield
    finally:
        if before is not _ABSENT:
            setattr(owner, name, before)
        elif name in vars(owner):
            delattr(owner, name)


_ABSENT = object()


@contextmanager
def without_pickles() -> Iterator[None]:
    """Have torch.load read tensors and plain containers alone, and nothing else unpickle anything.

    torch.export.load asks for whole pickles of inputs and constants (torch/_export/serde/serialize.py,
    deserialize_torch_artifact; torch/export/pt2_archive/_package.py). Raises pickle.UnpicklingError instead.
    """
    load = torch.load

    def safely(file: Any, *args: Any, **kwargs: Any) -> Any:
        return load(file, *args, **{**kwargs, "weights_only": True})

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise pickle.UnpicklingError("it holds pickled objects")

    with replaced(torch, "load", safely), replaced(pickle, "loads", refuse):
        yield


@contextmanager
def unwarned() -> Iterator[None]:
    """Let torch.jit not say that it is deprecated: who gives a file of TorchScript has no choice."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit", category=FutureWarning)
        yield


class Name:
    """A name of torch's that may stand for something else for a while."""

    def __init__(self, owner: Any, name: str) -> None:
        self._owner = owner
        self.name = name
        self._before: list[Any] = []

    @property
    def value(self) -> Any:
        """What it stands for now; None where this torch does not have it."""
        return getattr(self._owner, self.name, None)

    @property
    def outside(self) -> Any:
        """What it stands for where nothing of ours does."""
        return self._before[0] if self._before else self.value

    @contextmanager
    def replaced(self, value: Any) -> Iterator[None]:
        """Have it stand for `value` inside."""
        self._before.append(self.value)
        try:
            with replaced(self._owner, self.name, value):
                yield
        finally:
            self._before.pop()


#: What every attention of torch's calls, nn.MultiheadAttention too, by this name of the module.
ATTENTION = Name(functional, "scaled_dot_product_attention")
#: What nn.LSTM calls: (input, states, weights, ...), or with batch sizes in second place.
LSTM = Name(torch._VF, "lstm")
#: What nn.GRU and nn.RNN call, with the arguments of `LSTM`.
OTHER_RECURRENT = tuple(Name(torch._VF, name) for name in ("gru", "rnn_tanh", "rnn_relu"))
#: What F.dropout and nn.Dropout call: (input, p, train).
DROPOUT = Name(torch._VF, "dropout")
#: What F.rms_norm and nn.RMSNorm call: (input, normalized_shape, weight, eps).
RMS_NORM = Name(torch, "rms_norm")

#: What nn.Linear calls: (input, weight, bias).
LINEAR = Name(functional, "linear")
#: What nn.Mish calls: its derivative is one kernel on every device but meta, where it is taken apart.
MISH = Name(functional, "mish")
#: What F.max_pool1d and nn.MaxPool1d call: (input, kernel_size, stride, padding, dilation, ceil_mode).
MAX_POOL1D = Name(torch, "max_pool1d")
#: What F.embedding_bag calls: (weight, indices, offsets, scale_grad_by_freq, mode, sparse,
#: per_sample_weights, include_last_offset, padding_idx) -> the result and three that autograd keeps.
EMBEDDING_BAG = Name(torch, "embedding_bag")
#: What the layers call whose calls are remembered (modelsum.trace.leaves).
LAYER_FUNCTIONS = (
    *(LINEAR, MISH, DROPOUT),
    *(
        Name(functional, name)
        for name in (
            *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
            *("batch_norm", "layer_norm", "group_norm", "dropout", "dropout2d", "pad"),
            *("relu", "leaky_relu", "elu", "gelu", "silu", "softmax", "hardswish", "hardsigmoid", "hardtanh"),
            *("softplus", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"),
        )
    ),
)
#: (layer, src, src_mask, src_key_padding_mask, is_causal) -> its output.
ENCODER_LAYER_FORWARD = Name(nn.TransformerEncoderLayer, "forward")
#: What nn.MultiheadAttention hands its work to at inference: (query, key, value, embed_dim, num_heads, weight
#: and bias that project in, and out, mask, need_weights, average_attn_weights, mask_type).
FUSED_ATTENTION = Name(torch, "_native_multi_head_attention")
#: A type of device, beside cpu and cuda, where it does so.
FUSED_DEVICE = Name(backend_registration, "_privateuse1_backend_name")
#: What nn.TransformerEncoder asks of a batch and of the positions that are kept: whether these come first in
#: each sample; and what then makes a nested tensor of them: (src, kept, mask_check).
IS_LEFT_ALIGNED = Name(torch, "_nested_tensor_from_mask_left_aligned")
NESTED_FROM_MASK = Name(torch, "_nested_tensor_from_mask")
#: (nested tensor, padding, output_size) -> a plain one: what it calls after its last layer.
TO_PADDED = Name(Tensor, "to_padded_tensor")
#: What it asks of its tensors: whether functions of torch are seen by somebody, a mode for one.
HAS_TORCH_FUNCTION = Name(torch.overrides, "has_torch_function")

#: (pred, true_fn, false_fn, operands): what a model calls. Uncompiled, it derives nothing but its operands.
COND = Name(torch, "cond")
#: What compiles a function; torch's control flow calls it by this name.
COMPILE = Name(torch, "compile")

#: The constructor of torch.autocast, which refuses "meta" and warns where there is no GPU.
AUTOCAST_INIT = Name(torch.autocast, "__init__")
#: What `with torch.autocast(...)` calls when it begins and ends: (device, enabled), or (enabled) for CUDA.
SET_AUTOCAST_ENABLED = Name(torch, "set_autocast_enabled")
#: What the end of the outermost `with torch.autocast(...)` calls.
CLEAR_AUTOCAST_CACHE = Name(torch, "clear_autocast_cache")
#: What torch.autocast asks with a type of device in first place, or without one for CUDA.
AUTOCAST_BY_DEVICE = tuple(
    Name(torch, name) for name in ("is_autocast_enabled", "get_autocast_dtype", "set_autocast_dtype")
)
#: What torch.utils.checkpoint asks before it enters torch.autocast anew.
AUTOCAST_AVAILABLE = Name(torch.amp, "is_autocast_available")

#: Types of devices, beside the CPU, that functions of torch.optim and torch.nn.utils use foreach for.
FOREACH_DEVICES = Name(_foreach_utils, "_get_foreach_kernels_supported_devices")

#: Whether distributions read the values of their parameters to validate them.
VALIDATES_DISTRIBUTIONS = Name(torch.distributions.Distribution, "_validate_args")


def flex_attention_check() -> Name | None:
    """torch.nn.attention.flex_attention's `_validate_device(query, key, value)`, which refuses meta.

    None where nobody imported that module (it is heavy), or this torch does not check.
    """
    flex = sys.modules.get("torch.nn.attention.flex_attention")
    return Name(flex, "_validate_device") if hasattr(flex, "_validate_device") else None


# ---- modes


class DispatchMode(_python_dispatch.TorchDispatchMode):
    """torch.utils._python_dispatch's mode, which sees every op below autograd, without importing dynamo.

    torch's default wraps `__torch_dispatch__` so that it imports torch._dynamo at the first op: 0.8 s, and
    during the import the first activation is kept alive.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


#: The modes that are entered, the outermost first.
modes_entered: Callable[[], list[Any]] = _python_dispatch._get_current_dispatch_mode_stack
#: `with without_modes():` ops run as if no dispatch mode were entered.
without_modes = _python_dispatch._disable_current_modes
#: `with below_dispatch():` ops are shown to no dispatch mode; cheaper, but for a few ops of plain tensors.
below_dispatch = torch._C._DisableTorchDispatch

#: `with below_functions():` attributes of tensors cost what they cost without a function mode.
below_functions = torch._C.DisableTorchFunction


def surroundings() -> tuple[Any, ...]:
    """What changes what an op does here: modes, autocast's place, transforms, forward derivatives."""
    return (
        torch._C._len_torch_function_stack(),
        torch._C._len_torch_dispatch_stack(),
        passes_through_the_place(),
        torch._C._functorch.peek_interpreter_stack() is None,
        forward_ad._current_level,
    )


#: What `with torch.device(...)` enters: a function mode that adds `device=` to functions that make tensors.
DeviceContext = _device.DeviceContext
#: The functions that it adds that to.
device_constructors: Callable[[], set[Any]] = _device._device_constructors
#: What torch.no_grad and the like call; a function mode sees it.
SET_GRAD_ENABLED = torch._C._set_grad_enabled

# ---- ops

#: An op whose arguments are functions (flex_attention, checkpoint, cond), from torch._ops.
HigherOrderOperator = _HigherOrderOperator

#: The schema of an OpOverload: name, arguments, returns, with what is written and what is a view.
schema_of: Callable[[Any], Any] = attrgetter("_schema")
#: The name of an overload: "Tensor" of aten.add.Tensor, "default" of the nameless one.
overload_of: Callable[[Any], str] = attrgetter("_overloadname")
#: (name of an op, name of a dispatch key) -> whether a kernel is registered for that key.
has_kernel: Callable[[str, str], bool] = torch._C._dispatch_has_kernel_for_dispatch_key
#: Name of a dispatch key -> names of the ops that have a kernel for it.
ops_with_kernel: Callable[[str], list[str]] = torch._C._dispatch_get_registrations_for_dispatch_key


def plain_kernel_of(operator: Any) -> Callable[..., Any] | None:
    """The kernel of a higher-order operator that runs it as it is written, or None where it has none."""
    kernel: Callable[..., Any] | None = operator.py_kernels.get(
        torch._C.DispatchKey.CompositeExplicitAutograd
    )
    return kernel


def run_scan(combine_fn: Any, init: Any, xs: Any, additional_inputs: Any) -> Any:
    """What the kernel of torch._higher_order_ops.scan does once it has made sure that no mode looks on."""
    from torch._higher_order_ops.scan import generic_scan

    return generic_scan(combine_fn, init, xs, additional_inputs=additional_inputs)


def show_higher_order(mode: type[DispatchMode], show: Callable[[Any], Callable[..., Any]]) -> None:
    """Have a kind of mode see higher-order operators where torch has to be told of each: before 2.9.

    Later versions look at the mode's `supports_higher_order_operators`.

    Args:
        show: makes of an operator what is called in its place, with the mode and the arguments.
    """
    if not hasattr(_python_dispatch.TorchDispatchMode, "supports_higher_order_operators"):
        for operator in torch._ops._higher_order_ops.values():
            operator.python_key_table.setdefault(mode, show(operator))


_aten = torch.ops.aten

#: The fused kernels of attention: the first of their results is the output.
FLASH_ATTENTION = _aten._scaled_dot_product_flash_attention
FLASH_ATTENTION_FOR_CPU = _aten._scaled_dot_product_flash_attention_for_cpu
EFFICIENT_ATTENTION = _aten._scaled_dot_product_efficient_attention
#: What .to(dtype) runs.
TO_COPY = _aten._to_copy.default
#: (input, lengths, batch_first) and (data, batch sizes, ...): the second argument is read on the CPU.
PACK_PADDED_SEQUENCE = _aten._pack_padded_sequence.default
PAD_PACKED_SEQUENCE = _aten._pad_packed_sequence.default
#: Indexing without a check of the bounds: (tensor, indices).
UNSAFE_INDEX = _aten._unsafe_index.Tensor
#: Whether this torch (since 2.9) has one kernel for rms_norm on CUDA, with a second result.
#: The op of that name in 2.8 is one for MPS, with one result.
HAS_FUSED_RMS_NORM = (
    hasattr(_aten, "_fused_rms_norm") and len(schema_of(_aten._fused_rms_norm.default).returns) == 2
)


#: What selective checkpointing keeps besides matmuls: attention, and reductions among ranks.
DEAR_OPS = frozenset(
    (
        FLASH_ATTENTION.default,
        EFFICIENT_ATTENTION.default,
        FLASH_ATTENTION_FOR_CPU.default,
        torch.ops._c10d_functional.reduce_scatter_tensor.default,
    )
)


def takes_math_path(query: Tensor, key: Tensor, value: Tensor, *, enable_gqa: bool) -> bool:
    """Whether F.scaled_dot_product_attention would run no fused kernel for these, on their device."""
    math: int = torch._C._SDPBackend.MATH.value
    return torch._fused_sdp_choice(query, key, value, None, 0.0, False, enable_gqa=enable_gqa) == math


# ---- a place in the dispatcher

#: A dispatch key of autocast, above autograd, for which torch has no kernels. It keeps the name for IPUs.
PLACE_NAME = "AutocastIPU"
_PLACE = getattr(torch._C.DispatchKey, PLACE_NAME)


def pass_through_the_place(enabled: bool) -> None:
    """Whether ops of this thread pass through the place; at first they do not."""
    torch._C._dispatch_tls_set_dispatch_key_excluded(_PLACE, not enabled)
    torch._C._dispatch_tls_set_dispatch_key_included(_PLACE, enabled)


def passes_through_the_place() -> bool:
    """Whether they do."""
    return torch._C._dispatch_tls_is_dispatch_key_included(_PLACE)


#: `with past_the_place():` ops do not pass through it, inside one of its kernels.
past_the_place = partial(torch._C._ExcludeDispatchKeyGuard, torch._C.DispatchKeySet(_PLACE))


def fall_through_the_place() -> Any:
    """Have ops without a kernel in the place go on to the next key, as long as the result is kept alive."""
    fallback = torch._C._dispatch_library("IMPL", "_", PLACE_NAME)
    fallback.fallback_fallthrough()
    return fallback


#: Take the kernels of a torch.library.Library away at once.
take_away: Callable[[torch.library.Library], None] = methodcaller("_destroy")

# ---- autograd

#: In a backward pass the node that runs, else None.
current_node: Callable[[], Any] = torch._C._current_autograd_node
#: How many nodes this thread has made: the sequence number of the next one.
nodes_made: Callable[[], int] = torch._C._autograd._get_sequence_nr
#: The sequence number of a node.
number_of_node: Callable[[Any], int] = methodcaller("_sequence_nr")


def run_backward(output: Tensor, gradient: Tensor) -> None:
    """`output.backward(gradient)` without its check of the shape, which imports sympy (autograd/graph.py)."""
    once = {"allow_unreachable": True, "accumulate_grad": True}
    autograd.graph._engine_run_backward((output,), (gradient,), False, False, (), **once)


#: What is called as autograd saves a tensor, and when it needs it: the innermost pair, taken away, put there.
pop_saved_hooks: Callable[[], None] = torch._C._autograd._pop_saved_tensors_default_hooks
push_saved_hooks: Callable[..., None] = torch._C._autograd._push_saved_tensors_default_hooks


def saved_hooks() -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    """That pair; None where there is none, or this torch does not tell."""
    top = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    found: tuple[Callable[..., Any], Callable[..., Any]] | None = top(True) if top is not None else None
    return found


#: (message): what torch.func's transforms run in, so that nobody's hooks see what they save.
DISABLE_SAVED_HOOKS = Name(autograd.graph, "disable_saved_tensors_hooks")


def saved_by(node: Any) -> list[Tensor]:
    """The tensors that a node of torch's own saves: an attribute `_saved_NAME` is one of them, or a list."""
    saved = (getattr(node, name) for name in dir(node) if name.startswith("_saved_"))
    parts = (part for value in saved for part in (value if isinstance(value, (list, tuple)) else (value,)))
    return [part for part in parts if isinstance(part, Tensor)]


def plain_checkpoint() -> Callable[..., Any]:
    """torch.utils.checkpoint.checkpoint without its wrapper, which imports torch._dynamo: 1.1 s.

    Since 2.14 its own code does that too; a traceback is shorter still.
    """
    from torch.utils.checkpoint import checkpoint

    plain: Callable[..., Any] = getattr(checkpoint, "__wrapped__", checkpoint)
    return plain


# ---- tensors

#: How many changes in place torch counted for a tensor and its views; none for an inference tensor.
version_of: Callable[[Tensor], int] = attrgetter("_version")
#: Whether a tensor is a view of another one, as autograd knows it.
is_view: Callable[[Tensor], bool] = methodcaller("_is_view")
#: What tells storages apart, on meta too, where they have no address: that of the C++ object.
storage_key: Callable[[torch.UntypedStorage], int] = attrgetter("_cdata")
#: What a sparse COO tensor stores, also where it is not coalesced.
sparse_values: Callable[[Tensor], Tensor] = methodcaller("_values")
sparse_indices: Callable[[Tensor], Tensor] = methodcaller("_indices")
#: [components, dimensions]: the sizes of a nested tensor of the strided layout.
nested_sizes: Callable[[Tensor], Tensor] = methodcaller("_nested_tensor_size")

#: (class, data, requires_grad) -> a tensor of that class with the data's storage.
as_subclass: Callable[..., Any] = Tensor._make_subclass
#: (class, size, dtype=, device=) -> a tensor of that class without memory, on a device that need not exist.
wrapper_of: Callable[..., Tensor] = Tensor._make_wrapper_subclass
#: The `__torch_function__` of a class that wants none.
NO_TORCH_FUNCTION: Any = torch._C._disabled_torch_function_impl

# ---- modules

#: What a module registered itself, by name; None where a name is kept free.
submodules_of: Callable[[nn.Module], dict[str, nn.Module | None]] = attrgetter("_modules")
parameters_of: Callable[[nn.Module], dict[str, nn.Parameter | None]] = attrgetter("_parameters")
buffers_of: Callable[[nn.Module], dict[str, Tensor | None]] = attrgetter("_buffers")


def hooks_of_all_modules() -> bool:
    """Whether functions are called before or after the forward of every module there is."""
    return bool(torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks)


@contextmanager
def answered(modules: Collection[tuple[nn.Module, Callable[..., Any]]]) -> Iterator[None]:
    """Have functions called in place of modules and their hooks, where `nn.Module.compile` puts its own."""
    try:
        for module, call in modules:
            vars(module)["_compiled_call_impl"] = call
        yield
    finally:
        for module, _ in modules:
            vars(module).pop("_compiled_call_impl", None)


def has_hooks(module: nn.Module) -> bool:
    """Whether functions are called before or after a module's own forward."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def is_called_as_usual(module: nn.Module) -> bool:
    """Whether a call of a module is one of its forward: no hooks, and not compiled."""
    backward = module._backward_hooks or module._backward_pre_hooks
    as_written = type(module).__call__ is nn.Module.__call__
    return as_written and not (has_hooks(module) or backward or module._compiled_call_impl)


def call_of(module: nn.Module) -> Callable[..., Any]:
    """The forward of a module; what calls its hooks too, where there are some now."""
    with_hooks: Callable[..., Any] = module._call_impl
    backward = module._backward_hooks or module._backward_pre_hooks
    return with_hooks if has_hooks(module) or backward else module.forward


@contextmanager
def hooked(
    modules: Collection[tuple[str, nn.Module]],
    entering: Callable[[str], Callable[..., None]],
    leaving: Callable[..., None],
) -> Iterator[None]:
    """Have modules say when they are called, for a while.

    What `register_forward_pre_hook` and `register_forward_hook` do (torch/nn/modules/module.py), without
    making a handle for every hook: that takes longer than many a layer.

    Args:
        modules: with the names that `entering` is given; ScriptModules are no such.
        entering: makes a hook (module, args, kwargs) that comes before all others.
        leaving: a hook (module, args, output) that comes after all others, and also where one raises.
    """
    key: Any = object()
    try:
        for name, module in modules:
            before: Any = module._forward_pre_hooks
            before[key] = entering(name)
            before.move_to_end(key, last=False)
            module._forward_hooks[key] = leaving
            module._forward_pre_hooks_with_kwargs[key] = module._forward_hooks_always_called[key] = True
        yield
    finally:
        for _, module in modules:
            module._forward_pre_hooks.pop(key, None)
            module._forward_pre_hooks_with_kwargs.pop(key, None)
            module._forward_hooks.pop(key, None)
            module._forward_hooks_always_called.pop(key, None)


#: The base of every batch and instance normalisation, and that of every convolution.
BatchNorm = batchnorm._BatchNorm
Conv = conv._ConvNd


def is_compiled(kind: type[nn.Module]) -> bool:
    """Whether a class is that of what torch.compile wraps: by its name, as importing it takes a second."""
    return kind.__name__ == "OptimizedModule"


def compiled_of(module: nn.Module) -> nn.Module | None:
    """The module that torch.compile wrapped; None where this one is no wrapper."""
    if not is_compiled(type(module)):
        return None
    inner = getattr(module, "_orig_mod", None)
    return inner if isinstance(inner, nn.Module) else None


def sharded_class(module: nn.Module) -> str | None:
    """The class of torch.distributed.fsdp that shards a module; None where none does or can."""
    fsdp = sys.modules.get("torch.distributed.fsdp")
    if fsdp is None:
        return None
    for name in ("FullyShardedDataParallel", "FSDPModule"):
        kind = getattr(fsdp, name, None)
        if kind is not None and isinstance(module, kind):
            return name
    return None


def packed_tensors_of(module: nn.Module) -> tuple[Tensor, ...]:
    """Weight and bias of a quantised layer, which it keeps packed in a TorchScript object; else none."""
    if type(module).__module__ == "torch.ao.nn.quantized.dynamic.modules.rnn":
        held: list[Any] = [getattr(module, name, dict)() for name in ("get_weight", "get_bias")]
        return tuple(t for part in held if isinstance(part, dict) for t in part.values())
    if "_packed_params" not in vars(module) and not hasattr(type(module), "_packed_params"):
        return ()
    packed: Any = getattr(module, "_packed_params", None)
    if not isinstance(packed, torch.ScriptObject):
        return ()
    unpack: Any = getattr(packed, "unpack")  # noqa: B009 (its methods are not declared)
    return tuple(t for t in unpack() if t is not None)


# ---- several processes

#: Names of the ops that return their argument, the result of a collective: waited for, or to be so when used.
WAITING = frozenset(f"_c10d_functional::{name}" for name in ("wait_tensor", "_wrap_tensor_autograd"))
#: What gives a storage another size: FSDP's gathered weights come and go so.
STORAGE_RESIZE = Name(torch.UntypedStorage, "resize_")
#: What a checkpoint asks for the state of the CPU's generator, which it keeps until it is recomputed.
RANDOM_STATE = Name(torch, "get_rng_state")


def local_of(tensor: Tensor) -> Tensor:
    """This rank's part of a tensor that several hold, or what a collective that was not waited for brings.

    Of a jagged tensor, its values.
    """
    while type(tensor) not in _WHOLE:
        part = getattr(tensor, "_local_tensor", None)
        part = getattr(tensor, "elem", None) if part is None else part
        part = getattr(tensor, "_values", None) if part is None and tensor.layout is torch.jagged else part
        if not isinstance(part, Tensor):
            break
        tensor = part
    return tensor


_WHOLE = (Tensor, nn.Parameter)


def is_distributed(types: Iterable[Any]) -> bool:
    """Whether classes of tensors are among these that torch.distributed takes apart."""
    return any(kind.__module__.startswith("torch.distributed.") for kind in types)


def offsets_of(tensor: Tensor) -> Tensor | None:
    """Where the rows of a jagged tensor begin."""
    return getattr(tensor, "_offsets", None) if tensor.layout is torch.jagged else None


def start_fake_group(rank: int, size: int) -> None:
    """Begin the default process group, as the only one of so many processes that is there."""
    from torch.distributed import _tools  # noqa: F401  (shapes of collectives on meta)
    from torch.testing._internal.distributed.fake_pg import FakeStore

    torch.distributed.init_process_group("fake", rank=rank, world_size=size, store=FakeStore())


class _Holding:
    """The work of sending or receiving, which holds on to the tensor as gloo's and NCCL's do."""

    def __init__(self, work: Any, tensor: Tensor) -> None:
        self._work, self._tensor = work, tensor

    def wait(self, *args: Any) -> Any:
        return self._work.wait(*args)


def sends_that_hold() -> AbstractContextManager[None]:
    """Have a pipeline's schedule hold on to what it sends as long as to the work; a fake one does not."""
    from torch.distributed.pipelining import schedules

    batch = Name(schedules, "_batch_p2p")
    original = batch.value

    def holding(operations: list[Any], desc: str | None = None) -> list[Any]:
        works = original(operations, desc=desc)
        return [_Holding(work, op.tensor) for work, op in zip(works, operations, strict=False)]

    return batch.replaced(holding)


def follows_meshes() -> bool:
    """Whether this torch has what is stood on here for several processes: from 2.13 on."""
    from torch.distributed.tensor import debug

    return hasattr(debug, "_clear_sharding_prop_cache")


def forget_meshes() -> None:
    """Have DTensor forget how ops go on meshes that were there before: their groups have other names now."""
    from torch.distributed.tensor import debug

    debug._clear_sharding_prop_cache()


def flattened(mesh: Any, name: str) -> Any:
    """A mesh whose dimensions are one, of that name, which the mesh that it is of has then too."""
    return mesh._flatten(name)


def group_of(name_or_group: Any) -> Any:
    """The process group of an argument of a collective: an object of TorchScript, or a name."""
    from torch.distributed import ProcessGroup

    if isinstance(name_or_group, str):
        c10d: Any = torch.distributed.distributed_c10d
        return c10d._resolve_process_group(name_or_group)
    return ProcessGroup.unbox(name_or_group)


def names_that_refuse_meta() -> Iterator[tuple[Name, Any]]:
    """What of torch.distributed asks for a device with data, and what lets it run on meta.

    The devices of the fake group; FSDP's check of its parameters; that of DDP, which compares those of all
    ranks; the kernels for lists of tensors, which are not said to be for meta; and DTensor's shapes, which it
    works out on fake tensors of the global size: no memory of any rank.
    """
    from torch.distributed.fsdp._fully_shard._fsdp_param import FSDPParam
    from torch.distributed.fsdp._fully_shard._fsdp_param_group import FSDPParamGroup
    from torch.distributed.tensor._sharding_prop import ShardingPropagator
    from torch.testing._internal.distributed import fake_pg  # noqa: F401  (registers the fake group)
    from torch.utils import _foreach_utils

    backends = Name(torch.distributed.Backend, "backend_capability")
    yield backends, backends.value | {"fake": ["cpu", "cuda", "meta"]}
    yield Name(FSDPParamGroup, "_validate_no_meta_params"), lambda group: None
    yield Name(FSDPParamGroup, "_validate_cpu_offload_params"), lambda group: None
    yield Name(FSDPParam, "all_gather_inputs"), _brought_to_the_device(FSDPParam)
    compared = Name(torch.nn.parallel.distributed, "_verify_param_shape_across_processes")
    yield compared, lambda group, parameters, logger=None: None
    lists = Name(_foreach_utils, "_get_foreach_kernels_supported_devices")
    devices = [*lists.value(), "meta"]
    yield lists, lambda: devices
    shapes = Name(ShardingPropagator, "_propagate_tensor_meta_non_cached")
    propagate = shapes.value

    def unseen(*args: Any, **kwargs: Any) -> Any:
        with without_modes():
            return propagate(*args, **kwargs)

    yield shapes, unseen


def telling_after_backward(tell: Callable[[nn.Module | None], None]) -> AbstractContextManager[None]:
    """Have it told of which module FSDP reduces gradients and gives weights back; None once it is done."""
    if "torch.distributed.fsdp" not in sys.modules:
        return nullcontext()
    from torch.distributed.fsdp._fully_shard._fsdp_param_group import FSDPParamGroup

    name = Name(FSDPParamGroup, "post_backward")
    original = name.value

    def told(group: Any, *unused: Any) -> None:
        tell(group.modules[0])
        try:
            original(group, *unused)
        finally:
            tell(None)

    return name.replaced(told)


def _brought_to_the_device(kind: Any) -> property:
    """What an `FSDPParam` sends; of an offloaded one a copy, as meta stands for the host too."""
    own = kind.all_gather_inputs.fget

    def inputs(parameter: Any) -> Any:
        if not parameter.offload_to_cpu:
            return own(parameter)
        held = parameter._sharded_param_data
        parameter._sharded_param_data = held.clone()
        try:
            return own(parameter)
        finally:
            parameter._sharded_param_data = held

    return property(inputs)


def share_of_zero(
    parameters: list[nn.Parameter], group: Any
) -> tuple[list[nn.Parameter], Callable[[], None]]:
    """What of the parameters ZeroRedundancyOptimizer steps on this rank, and what then sends it to others."""
    from torch.distributed.optim import ZeroRedundancyOptimizer

    zero: Any = ZeroRedundancyOptimizer(parameters, torch.optim.SGD, process_group=group, lr=0.1)
    return [p for part in zero.optim.param_groups for p in part["params"]], zero._sync_params


#: What torch asks for streams and events of meta: a module of that name, as torch.cuda is one.
META_DEVICE = Name(torch, "meta")
#: What FSDP asks for the stream that is current, of whichever device there is; since 2.6.
CURRENT_STREAM = Name(torch.accelerator, "current_stream")


# ---- CUDA


def allocator_settings() -> Callable[[str], None] | None:
    """What takes settings of CUDA's allocator, "expandable_segments:True", while it runs; or None."""
    settings: Callable[[str], None] | None = getattr(torch.cuda.memory, "_set_allocator_settings", None)
    return settings
