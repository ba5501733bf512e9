"""What torch's private parts must do for us, and its names that are replaced: one test an entry of the room.

A new torch that changes one of them fails here first.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch_here import skip_unless_meshes_are_followed

from modelsum.trace import torch_private as room

aten = torch.ops.aten
COND: Any = torch.ops.higher_order.cond


class Seen:
    """Stands for a function of torch's and counts its calls."""

    def __init__(self, name: room.Name) -> None:
        self.original = name.value
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append(args)
        return self.original(*args, **kwargs)


class Ops(room.DispatchMode):
    """The ops that ran."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.ops: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.ops.append(func)
        return func(*args, **(kwargs or {}))


# ---- replacing


class Owner:
    name = "of the class"


@pytest.mark.parametrize("raised", [None, ValueError, KeyboardInterrupt, SystemExit])
def test_a_replaced_name_is_put_back_however_the_block_ends(raised: type[BaseException] | None):
    owner = Owner()
    owner.name = "its own"
    with (
        pytest.raises(raised) if raised else nullcontext(),
        room.replaced(owner, "name", "for a while"),
    ):
        assert owner.name == "for a while"
        if raised:
            raise raised
    assert vars(owner) == {"name": "its own"}


def test_a_replaced_name_that_was_not_the_owners_own_is_not_left_behind_as_its_own():
    owner = Owner()
    with room.replaced(owner, "name", "for a while"):
        assert owner.name == "for a while"
    assert vars(owner) == {}
    assert owner.name == "of the class"


def test_a_replaced_name_that_the_block_itself_took_away_is_no_error():
    owner = Owner()
    with room.replaced(owner, "name", "for a while"):
        del owner.name
    assert owner.name == "of the class"


def test_replaced_static_methods_are_static_methods_afterwards():
    class Static:
        @staticmethod
        def name() -> str:
            return "of the class"

    with room.replaced(Static, "name", None):
        pass
    assert Static().name() == "of the class"


def test_names_of_torch_are_as_they_were_afterwards():
    names = [name for name in vars(room).values() if isinstance(name, room.Name)]
    names += room.AUTOCAST_BY_DEVICE
    assert len(names) == 31
    for name in names:
        before = name.value
        with name.replaced(None):
            assert name.value is None
        assert name.value is before
    assert "lstm" not in vars(torch._VF)  # torch looks further there


# ---- names that are replaced


def test_control_flow_compiles_by_the_name_of_compile(monkeypatch: pytest.MonkeyPatch):
    from torch._higher_order_ops.while_loop import while_loop

    compiled: list[Any] = []

    def compile(function: Any, **options: Any) -> Any:
        compiled.append(function)
        return function

    with room.COMPILE.replaced(compile), torch.no_grad():
        rounds = while_loop(lambda i: i < 3, lambda i: (i + 1,), (torch.tensor(0),))
    assert int(rounds[0]) == 3
    assert len(compiled) == 1


def test_cond_is_called_by_its_name():
    seen = Seen(room.COND)
    with room.COND.replaced(seen):
        torch.cond(torch.tensor(True), torch.sin, torch.cos, (torch.zeros(2),))
    assert len(seen.calls) == 1


def test_attention_is_called_by_its_name_in_functional():
    seen = Seen(room.ATTENTION)
    x = torch.rand(1, 3, 4)
    with room.ATTENTION.replaced(seen):
        nn.MultiheadAttention(4, 2).train()(x, x, x, need_weights=False)
        functional.scaled_dot_product_attention(x, x, x)
    assert len(seen.calls) == 2


@pytest.mark.parametrize("packed", [False, True])
def test_nn_lstm_calls_the_lstm_of_vf(packed: bool):
    seen = Seen(room.LSTM)
    x: Any = torch.rand(2, 3, 4)
    if packed:
        x = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([2, 2, 1]))
    with room.LSTM.replaced(seen):
        nn.LSTM(4, 5)(x)
    (arguments,) = seen.calls
    if packed:
        assert isinstance(arguments[1], Tensor)
        return
    input, states, weights, *settings = arguments
    assert input is x
    assert [s.shape for s in states] == [(1, 3, 5), (1, 3, 5)]
    assert [w.shape for w in weights] == [(20, 4), (20, 5), (20,), (20,)]
    # has_biases, num_layers, dropout, train, bidirectional, batch_first
    assert settings == [True, 1, 0.0, True, False, False]


def test_dropout_calls_the_dropout_of_vf():
    seen = Seen(room.DROPOUT)
    x = torch.rand(4)
    with room.DROPOUT.replaced(seen):
        nn.Dropout(0.25)(x)
        functional.dropout(x, 0.5, training=False)
    assert seen.calls == [(x, 0.25, True), (x, 0.5, False)]


def test_rms_norm_calls_that_of_torch():
    seen = Seen(room.RMS_NORM)
    x = torch.rand(2, 4)
    with room.RMS_NORM.replaced(seen):
        norm = nn.RMSNorm(4)
        norm(x)
    ((input, shape, weight, eps),) = seen.calls
    assert input is x
    assert tuple(shape) == (4,)
    assert weight is norm.weight
    assert eps is None


def test_autocast_is_made_by_a_constructor_that_may_be_replaced():
    made: list[tuple[Any, ...]] = []
    init = room.AUTOCAST_INIT.value

    def __init__(self: Any, device_type: str, *args: Any, **kwargs: Any) -> None:
        made.append((device_type, args, kwargs))
        init(self, "cpu", *args, **kwargs)

    with room.AUTOCAST_INIT.replaced(__init__):
        torch.autocast("meta", torch.bfloat16, False, cache_enabled=True)
    assert made == [("meta", (torch.bfloat16, False), {"cache_enabled": True})]


def test_autocast_begins_and_ends_by_names_of_torch():
    enabled, cleared = Seen(room.SET_AUTOCAST_ENABLED), Seen(room.CLEAR_AUTOCAST_CACHE)
    asked = [Seen(name) for name in room.AUTOCAST_BY_DEVICE]
    with room.SET_AUTOCAST_ENABLED.replaced(enabled), room.CLEAR_AUTOCAST_CACHE.replaced(cleared):
        with (
            room.AUTOCAST_BY_DEVICE[0].replaced(asked[0]),
            room.AUTOCAST_BY_DEVICE[1].replaced(asked[1]),
            room.AUTOCAST_BY_DEVICE[2].replaced(asked[2]),
            torch.autocast("cpu", torch.bfloat16),
        ):
            assert not cleared.calls
        assert len(cleared.calls) == 1
    assert enabled.calls == [("cpu", True), ("cpu", False)]
    assert all(calls and {c[0] for c in calls} == {"cpu"} for calls in (seen.calls for seen in asked))


def test_checkpointing_asks_whether_autocast_is_available():
    seen = Seen(room.AUTOCAST_AVAILABLE)
    with room.AUTOCAST_AVAILABLE.replaced(seen):
        x = torch.rand(2, requires_grad=True)
        room.plain_checkpoint()(torch.sin, x, use_reentrant=False).sum().backward()
    assert seen.calls


def test_distributions_do_not_read_their_parameters_when_they_do_not_validate():
    scale = torch.tensor(-1.0)
    # torch's compiler turns it off for the process that it is in.
    with room.VALIDATES_DISTRIBUTIONS.replaced(True), pytest.raises(ValueError, match="scale"):
        torch.distributions.Normal(0.0, scale)
    with room.VALIDATES_DISTRIBUTIONS.replaced(False):
        torch.distributions.Normal(0.0, scale)


def test_clipping_asks_for_devices_that_have_foreach():
    def norm() -> Tensor:
        return nn.utils.clip_grad_norm_([parameter], 1.0, foreach=True)

    parameter = nn.Parameter(torch.empty(3, device="meta"))
    parameter.grad = torch.empty(3, device="meta")
    with pytest.raises(RuntimeError, match="foreach"):
        norm()
    devices = [*room.FOREACH_DEVICES.value(), "meta"]
    with room.FOREACH_DEVICES.replaced(lambda: devices):
        assert norm().is_meta


def test_linear_layers_and_mish_are_called_by_these_names():
    x = torch.zeros(2, 3)
    with room.LINEAR.replaced(lambda *arguments: arguments):
        layer = nn.Linear(3, 4)
        assert layer(x) == (x, layer.weight, layer.bias)
    with room.MISH.replaced(lambda input, inplace: input):
        assert nn.Mish()(x) is x


def test_bags_of_embeddings_are_summed_by_this_name():
    bag = nn.EmbeddingBag(5, 3, mode="mean", padding_idx=0)
    ids, offsets = torch.tensor([1, 2]), torch.tensor([0])
    with room.EMBEDDING_BAG.replaced(lambda *arguments: (arguments, None, None, None)):
        assert bag(ids, offsets) == (bag.weight, ids, offsets, False, 1, False, None, False, 0)


def test_hooks_of_a_module_are_known():
    for register in (nn.Module.register_forward_hook, nn.Module.register_forward_pre_hook):
        module = nn.Linear(2, 2)
        assert not room.has_hooks(module)
        register(module, lambda *arguments: None)
        assert room.has_hooks(module)


def test_what_a_name_stands_for_outside_of_what_is_ours():
    plain = room.LINEAR.value
    with room.LINEAR.replaced(abs), room.LINEAR.replaced(len):
        assert (room.LINEAR.value, room.LINEAR.outside) == (len, plain)
    assert room.LINEAR.outside is plain


def test_layers_call_functions_by_these_names():
    """Those that have no entry of their own: one that were gone would be None."""
    assert all(callable(name.value) for name in room.LAYER_FUNCTIONS)


def test_a_module_is_called_as_usual_but_for_hooks_and_compilation():
    def hook(*arguments: Any) -> None:
        """Change nothing."""

    assert room.is_called_as_usual(nn.Linear(2, 2))
    for register in ("forward_hook", "forward_pre_hook", "full_backward_hook", "full_backward_pre_hook"):
        module = nn.Linear(2, 2)
        getattr(module, f"register_{register}")(hook)
        assert not room.is_called_as_usual(module)
    module = nn.Linear(2, 2)
    with room.answered([(module, hook)]):
        assert not room.is_called_as_usual(module)

    class Own(nn.Linear):
        def __call__(self, *arguments: Any) -> Any:
            return 3

    assert not room.is_called_as_usual(Own(2, 2))


def test_the_call_of_a_module_is_its_forward_and_with_hooks_theirs_too():
    module, x = nn.ReLU(), torch.tensor([-1.0])
    assert room.call_of(module) == module.forward
    module.register_forward_hook(lambda *arguments: 3)
    assert room.call_of(module)(x) == 3


def test_hooks_of_all_modules_are_known():
    module = torch.nn.modules.module
    for register in (module.register_module_forward_hook, module.register_module_forward_pre_hook):
        assert not room.hooks_of_all_modules()
        handle = register(lambda *arguments: None)
        assert room.hooks_of_all_modules()
        handle.remove()


def test_a_function_answers_in_place_of_a_module_for_a_while():
    """Its hooks are not called; its forward is, by who calls that."""
    module = nn.ReLU()
    module.register_forward_hook(lambda *arguments: 3)
    x = torch.tensor([-1.0])
    with room.answered([(module, lambda value: value)]):
        assert module(x) is x
        assert module.forward(x) == 0
    assert module(x) == 3


def test_what_is_around_an_op_is_told_apart():
    """Modes, transforms and forward derivatives; what is the same is equal."""
    plain = room.surroundings()

    def see(x: Tensor) -> Tensor:
        found.append(room.surroundings())
        return x

    found: list[Any] = []
    for context in (torch.device("meta"), Ops(), torch.autograd.forward_ad.dual_level()):
        with context:
            found.append(room.surroundings())
    torch.func.vmap(see)(torch.zeros(2))
    room.pass_through_the_place(True)
    found.append(room.surroundings())
    room.pass_through_the_place(False)
    assert room.surroundings() == plain
    assert len({plain, *found}) == 6


def test_attributes_are_not_shown_to_function_modes():
    class Functions(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            raise LookupError

    x = torch.zeros(3)
    with Functions():
        with pytest.raises(LookupError):
            _ = x.shape
        with room.below_functions():
            assert x.shape == (3,)


def test_attention_at_inference_is_one_op_where_torch_is_told_so():
    """On a device that it knows, and where nobody sees functions of torch."""

    def fused(*arguments: Any) -> Any:
        seen.append(arguments)
        return arguments[0], None

    seen: list[Any] = []
    attention = nn.MultiheadAttention(8, 2, batch_first=True, device="meta").eval()
    x = torch.empty((3, 5, 8), device="meta")
    with torch.no_grad(), room.FUSED_ATTENTION.replaced(fused), torch.device("meta"):
        attention(x, x, x)
        with room.FUSED_DEVICE.replaced("meta"):
            attention(x, x, x)
            assert not seen
            with room.HAS_TORCH_FUNCTION.replaced(lambda tensors: False):
                attention(x, x, x, need_weights=False)
    (query, key, _, width, heads, weight, bias, out, out_bias, mask, need_weights, average, kind), *_ = seen
    assert query is key is x
    assert (width, heads, mask, need_weights, average, kind) == (8, 2, None, False, True, None)
    assert (weight is attention.in_proj_weight, out is attention.out_proj.weight) == (True, True)
    assert (bias is attention.in_proj_bias, out_bias is attention.out_proj.bias) == (True, True)


def test_an_encoder_layer_is_called_by_its_class():
    def forward(layer: nn.Module, src: Tensor, *masks: Any, **named: Any) -> Tensor:
        return src

    layer, x = nn.TransformerEncoderLayer(8, 2), torch.zeros(3, 5, 8)
    with room.ENCODER_LAYER_FORWARD.replaced(forward):
        assert layer(x) is x
        assert nn.TransformerEncoder(layer, 1)(x) is x


def test_pooling_in_one_dimension_calls_it_by_its_name():
    seen = Seen(room.MAX_POOL1D)
    with room.MAX_POOL1D.replaced(seen):
        nn.MaxPool1d(2)(torch.zeros(1, 4, 6))
        functional.max_pool1d(torch.zeros(1, 4, 6), 2)
    assert len(seen.calls) == 2


def test_an_encoder_packs_its_batch_by_names_of_torch():
    seen: list[str] = []

    def aligned(src: Tensor, kept: Tensor) -> bool:
        seen.append("aligned")
        assert kept.all()
        return True

    def packed(src: Tensor, kept: Tensor, mask_check: bool) -> Tensor:
        seen.append("packed")
        assert (kept.dtype, mask_check) == (torch.bool, False)
        return src.clone()

    def padded(batch: Tensor, padding: float, size: torch.Size) -> Tensor:
        seen.append("padded")
        assert (padding, size) == (0.0, x.shape)
        return batch

    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, batch_first=True), 1).eval()
    x, padding = torch.zeros(3, 5, 8), torch.zeros(3, 5, dtype=torch.bool)
    with (
        torch.no_grad(),
        room.IS_LEFT_ALIGNED.replaced(aligned),
        room.NESTED_FROM_MASK.replaced(packed),
        room.TO_PADDED.replaced(padded),
    ):
        encoder(x, src_key_padding_mask=padding)
    assert seen == ["aligned", "packed", "padded"]
    assert "to_padded_tensor" not in vars(Tensor)


def test_flex_attention_checks_devices_by_a_name_of_its_module(monkeypatch: pytest.MonkeyPatch):
    from torch.nn.attention.flex_attention import flex_attention

    def validate(query: Tensor, key: Tensor, value: Tensor) -> None:
        raise LookupError

    check = room.flex_attention_check()
    assert check is not None
    x = torch.empty((1, 1, 128, 16), device="meta")
    with check.replaced(validate), pytest.raises(LookupError):
        flex_attention(x, x, x)
    monkeypatch.delitem(sys.modules, "torch.nn.attention.flex_attention")
    assert room.flex_attention_check() is None


# ---- modes

LIGHT = """
import sys, torch
from modelsum.trace.torch_private import DispatchMode

class Mode(DispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))

with Mode():
    torch.ones(2) + 1
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""


def test_the_room_and_a_dispatch_mode_import_no_heavy_part_of_torch():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_dispatch_modes_see_ops_and_are_known_while_they_are_entered():
    with Ops() as outer, Ops() as inner:
        torch.ones(2) + 1
        entered = room.modes_entered()
    assert inner.ops == outer.ops == [aten.ones.default, aten.add.Tensor]
    assert len(entered) == 2
    assert entered[0] is outer
    assert entered[1] is inner
    assert room.modes_entered() == []


def test_ops_without_modes_and_below_dispatch_are_shown_to_none():
    x = torch.ones(2)
    with Ops() as seen:
        with room.without_modes():
            x + 1
        assert room.modes_entered() == [seen]
        with room.below_dispatch():
            x.detach()
            torch.zeros(2, device="meta")
    assert seen.ops == []


def test_a_device_context_adds_its_device_to_constructors():
    assert {torch.empty, torch.arange, torch.tensor} <= set(room.device_constructors())
    assert torch.add not in room.device_constructors()
    context = room.DeviceContext(torch.device("meta"))
    made = context.__torch_function__(torch.empty, (), ((2,),))
    assert made.is_meta
    assert issubclass(room.DeviceContext, TorchFunctionMode)


def test_a_function_mode_sees_grad_mode_being_set():
    class Functions(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append((func, args))
            return func(*args, **(kwargs or {}))

    seen: list[Any] = []
    with Functions(), torch.no_grad():
        pass
    assert (room.SET_GRAD_ENABLED, (False,)) in seen
    assert torch.is_grad_enabled()


# ---- ops


def test_schemas_tell_what_is_written_and_what_is_a_view():
    schema = room.schema_of(aten.add_.Tensor)
    assert schema.name == "aten::add_"
    assert [a.name for a in schema.arguments] == ["self", "other", "alpha"]
    assert [bool(a.alias_info and a.alias_info.is_write) for a in schema.arguments] == [True, False, False]
    assert [a.kwarg_only for a in schema.arguments] == [False, False, True]
    view = room.schema_of(aten.view.default)
    assert [r.alias_info is not None and not r.alias_info.is_write for r in view.returns] == [True]
    assert room.schema_of(aten.mm.default).returns[0].alias_info is None


def test_overloads_have_names():
    assert room.overload_of(aten.add.Tensor) == "Tensor"
    assert room.overload_of(aten.mm.default) == "default"


def test_kernels_are_known_by_dispatch_key():
    assert room.has_kernel("aten::einsum", "CompositeImplicitAutograd")
    assert not room.has_kernel("aten::mm", "CompositeImplicitAutograd")
    assert room.has_kernel("aten::silu_backward", "CPU")
    autocast = room.ops_with_kernel("AutocastCUDA")
    assert {"aten::conv2d", "aten::norm.Scalar"} <= set(autocast)
    assert "aten::relu" not in autocast


def test_higher_order_operators_have_a_plain_kernel():
    assert isinstance(COND, room.HigherOrderOperator)
    assert not isinstance(aten.mm.default, room.HigherOrderOperator)
    kernel = room.plain_kernel_of(COND)
    assert kernel is not None
    assert kernel(torch.tensor(True), torch.neg, torch.abs, (torch.ones(1),)).item() == -1
    assert (COND.namespace, COND.name()) == ("higher_order", "cond")


def test_a_mode_is_shown_higher_order_operators():
    def shown(operator: Any) -> Any:
        return lambda mode, *args, **kwargs: mode.__torch_dispatch__(operator, (), args, kwargs)

    class Plain(Ops):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.ops.append(func)
            kernel = room.plain_kernel_of(func) if func is COND else None
            return (kernel or func)(*args, **(kwargs or {}))

    room.show_higher_order(Plain, shown)
    x, true = torch.ones(1), torch.tensor(True)
    with Plain() as seen:
        COND(true, torch.neg, torch.abs, (x,))
    assert seen.ops == [COND]


@pytest.mark.parametrize("fused", ["FLASH_ATTENTION_FOR_CPU", "FLASH_ATTENTION", "EFFICIENT_ATTENTION"])
def test_fused_attention_returns_its_output_first(fused: str):
    device, dtype = ("cpu", torch.float32) if fused.endswith("CPU") else ("meta", torch.float16)
    query, key = (torch.rand((1, 2, n, 8), device=device, dtype=dtype) for n in (3, 5))
    arguments: dict[str, tuple[Any, ...]] = {
        "FLASH_ATTENTION_FOR_CPU": (0.0, True),
        "FLASH_ATTENTION": (0.0, True, False),
        "EFFICIENT_ATTENTION": (None, True, 0.0, True),
    }
    out = getattr(room, fused)(query, key, key, *arguments[fused], scale=None)[0]
    assert out.shape == query.shape
    assert out.dtype is dtype


def test_conversion_runs_to_copy():
    with Ops() as seen:
        torch.ones(2).to(torch.float16)
    assert seen.ops[-1] is room.TO_COPY


def test_packing_a_sequence_reads_lengths_on_the_cpu():
    x, lengths = torch.rand((2, 3, 4), device="meta"), torch.tensor([2, 1, 1])
    data, sizes = room.PACK_PADDED_SEQUENCE(x, lengths, False)
    assert data.shape == (4, 4)
    assert sizes.tolist() == [3, 1]
    padded, _ = room.PAD_PACKED_SEQUENCE(data, sizes, False, 0.0, 2)
    assert padded.shape == (2, 3, 4)


def test_unsafe_index_takes_a_tensor_and_indices():
    x = torch.arange(6).view(2, 3)
    assert room.UNSAFE_INDEX(x, [torch.tensor([1])]).tolist() == [[3, 4, 5]]


def test_rms_norm_has_one_kernel_since_2_9():
    version = tuple(map(int, torch.__version__.split(".")[:2]))
    assert (version >= (2, 9)) == room.HAS_FUSED_RMS_NORM


def test_the_cpu_takes_the_math_path_with_unlike_values_only():
    query, value = torch.rand(1, 2, 3, 8), torch.rand(1, 2, 3, 4)
    assert not room.takes_math_path(query, query, query, enable_gqa=False)
    assert room.takes_math_path(query, query, value, enable_gqa=False)


# ---- the place in the dispatcher

PLACE = """
import torch
from modelsum.trace import torch_private as room

fallback = room.fall_through_the_place()
seen = []
library = torch.library.Library("aten", "IMPL")

def kernel(x):
    seen.append(x.requires_grad)
    with room.past_the_place():
        return torch.neg(x)

library.impl("neg", kernel, room.PLACE_NAME)
x = torch.ones(1, requires_grad=True)
assert not room.passes_through_the_place()
torch.neg(x)
assert seen == []
room.pass_through_the_place(True)
assert room.passes_through_the_place()
torch.neg(x)
assert seen == [True]  # above autograd, and once: not inside of itself
torch.abs(x)  # it has no kernel there and falls through
room.take_away(library)
torch.neg(x)
assert seen == [True]
room.pass_through_the_place(False)
assert not room.passes_through_the_place()
"""


def test_kernels_in_the_place_are_passed_through_on_request():
    subprocess.run([sys.executable, "-c", PLACE], check=True)


# ---- autograd


def test_autograd_counts_the_nodes_that_it_makes():
    x = torch.ones(2, requires_grad=True)
    before = room.nodes_made()
    y = x * 2
    z = y.sum()
    assert room.nodes_made() == before + 2
    assert room.number_of_node(y.grad_fn) == before
    assert room.number_of_node(z.grad_fn) == before + 1


def test_the_node_that_runs_in_a_backward_pass_is_known():
    class Nodes(room.DispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nodes.append(room.current_node())
            return func(*args, **(kwargs or {}))

    nodes: list[Any] = []
    y = torch.ones(2, requires_grad=True).sin()
    assert room.current_node() is None
    with Nodes():
        y.backward(torch.ones(2))
    numbers = [room.number_of_node(node) for node in nodes if node is not None]
    assert room.number_of_node(y.grad_fn) in numbers


def test_a_backward_pass_starts_with_any_gradient():
    leaf = torch.ones(2, requires_grad=True)
    room.run_backward(leaf * 3, torch.tensor([1.0, 2.0]))
    assert leaf.grad is not None
    assert leaf.grad.tolist() == [3.0, 6.0]


def test_hooks_of_saved_tensors_are_told_and_taken_away_for_a_while():
    saved: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    hooks = pack, lambda tensor: tensor
    assert room.saved_hooks() is None
    x = torch.ones(2, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(*hooks):
        assert room.saved_hooks() in (hooks, None)  # None before 2.7
        room.pop_saved_hooks()
        assert room.saved_hooks() is None
        x.exp()
        room.push_saved_hooks(*hooks)
        assert not saved
        x.exp()
    assert len(saved) == 1


def test_plain_checkpointing_computes_twice_and_has_no_wrapper():
    calls: list[Tensor] = []

    def double(x: Tensor) -> Tensor:
        calls.append(x)
        return (x * 2).sin()

    checkpoint = room.plain_checkpoint()
    assert not hasattr(checkpoint, "__wrapped__")
    x = torch.ones(2, requires_grad=True)
    checkpoint(double, x, use_reentrant=False).sum().backward()
    assert len(calls) == 2
    assert x.grad is not None


def test_a_scan_goes_on_from_what_it_carries():
    rows = room.run_scan(
        lambda carry, row: [carry + row, carry * 2], [torch.zeros(2)], [torch.ones(3, 2)], ()
    )
    assert [part[:, 0].tolist() if part.dim() > 1 else part[0].item() for part in rows] == [
        3.0,
        [0.0, 2.0, 4.0],
    ]


def test_transforms_run_in_what_refuses_hooks():
    with room.DISABLE_SAVED_HOOKS.replaced(nullcontext):
        torch.func.grad(torch.sum)(torch.ones(2))
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            torch.func.vmap(torch.sin)(torch.ones(2))
    with (
        torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t),
        pytest.raises(RuntimeError, match="hooks"),
    ):
        torch.func.grad(torch.sum)(torch.ones(2))


def test_nodes_say_what_they_save():
    a, b = (torch.ones(2, 2, requires_grad=True) for _ in range(2))
    assert [t is a or t is b for t in room.saved_by((a * b).grad_fn)] == [True, True]
    indexed = a[torch.tensor([0])]
    assert [t.dtype for t in room.saved_by(indexed.grad_fn)] == [torch.int64]
    assert room.saved_by((a + b).grad_fn) == []


# ---- tensors


def test_versions_count_changes_in_place_of_a_tensor_and_its_views():
    x = torch.zeros(4, device="meta")
    before = room.version_of(x)
    x[:2].add_(1)
    assert room.version_of(x) == before + 1
    assert room.version_of(x[1:]) == before + 1


def test_views_are_known():
    x = torch.zeros(4)
    assert room.is_view(x[1:])
    assert not room.is_view(x)
    assert not room.is_view(x + 1)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_storages_are_told_apart(device: str):
    x, y = torch.zeros(4, device=device), torch.zeros(4, device=device)
    assert room.storage_key(x.untyped_storage()) == room.storage_key(x[1:].untyped_storage())
    assert room.storage_key(x.untyped_storage()) != room.storage_key(y.untyped_storage())


def test_sparse_tensors_have_values_and_indices_though_not_coalesced():
    x = torch.sparse_coo_tensor(torch.tensor([[0, 0, 2]]), torch.tensor([1.0, 2.0, 3.0]), (4,))
    assert not x.is_coalesced()
    assert room.sparse_values(x).tolist() == [1, 2, 3]
    assert room.sparse_indices(x).tolist() == [[0, 0, 2]]


def test_nested_tensors_have_a_row_of_sizes_for_each_component():
    x = torch.nested.nested_tensor([torch.zeros(2, 5), torch.zeros(3, 5)])
    assert room.nested_sizes(x).tolist() == [[2, 5], [3, 5]]


def test_a_tensor_of_a_subclass_has_the_storage_of_its_data():
    class Special(nn.Parameter):
        pass

    data = torch.zeros(2)
    made = room.as_subclass(Special, data, True)
    assert type(made) is Special
    assert made.requires_grad
    assert made.data_ptr() == data.data_ptr()


def test_wrappers_have_a_device_that_need_not_exist_and_no_torch_function():
    class Wrapper(Tensor):
        __torch_function__ = room.NO_TORCH_FUNCTION

        @classmethod
        def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            raise LookupError(func)

    made = room.wrapper_of(Wrapper, (2, 2), dtype=torch.float16, device=torch.device("cuda"))
    assert type(made) is Wrapper
    assert (made.shape, made.dtype, made.device.type) == ((2, 2), torch.float16, "cuda")
    with pytest.raises(LookupError, match="neg"):
        torch.neg(made)


# ---- modules


def test_modules_tell_what_they_registered_themselves():
    module = nn.BatchNorm1d(2, affine=False)
    outer = nn.Sequential(module)
    outer.register_module("free", None)
    assert room.submodules_of(outer) == {"0": module, "free": None}
    assert room.parameters_of(module) == {"weight": None, "bias": None}
    assert set(room.buffers_of(module)) == {"running_mean", "running_var", "num_batches_tracked"}
    other = nn.ReLU()
    room.submodules_of(outer)["0"] = other
    assert outer[0] is other


def test_hooks_come_first_and_last_also_where_a_module_raises_and_are_gone_afterwards():
    said: list[str] = []
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(3, 3))
    model[0].register_forward_pre_hook(lambda module, args: said.append("own before"))
    model[0].register_forward_hook(lambda module, args, output: output + 1)

    def entering(name: str):
        return lambda module, args, kwargs: said.append(f"{name} {sorted(kwargs)}")

    def leaving(module: nn.Module, args: Any, output: Any) -> None:
        said.append("raised" if output is None else f"{output.sum().item():g}")

    nn.init.zeros_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    before = [dict(vars(module)) for module in model]
    with room.hooked(list(model.named_children()), entering, leaving):
        model[0](input=torch.zeros(1, 2))
        with pytest.raises(RuntimeError):
            model[1](torch.zeros(1, 2))
    assert said == ["0 ['input']", "own before", "2", "1 []", "raised"]
    assert [dict(vars(module)) for module in model] == before


def test_normalisations_and_convolutions_have_bases():
    assert isinstance(nn.BatchNorm2d(1), room.BatchNorm)
    assert isinstance(nn.SyncBatchNorm(1), room.BatchNorm)
    assert isinstance(nn.Conv2d(1, 1, 1), room.Conv)
    assert isinstance(nn.ConvTranspose1d(1, 1, 1), room.Conv)
    assert not isinstance(nn.Linear(1, 1), (room.BatchNorm, room.Conv))


def test_modules_that_fsdp_shards_are_known(monkeypatch: pytest.MonkeyPatch):
    assert room.sharded_class(nn.Linear(2, 2)) is None
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    for name in ("FullyShardedDataParallel", "FSDPModule"):
        kind = getattr(fsdp, name)
        assert room.sharded_class(object.__new__(kind)) == name
    monkeypatch.delitem(sys.modules, "torch.distributed.fsdp")
    assert room.sharded_class(nn.Linear(2, 2)) is None


def test_the_module_inside_of_a_compiled_one_is_known():
    model = nn.ReLU()
    assert room.compiled_of(model) is None
    assert room.compiled_of(torch.compile(model)) is model


def test_quantised_layers_keep_packed_weights():
    assert room.packed_tensors_of(nn.Linear(2, 3)) == ()
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("this machine quantises nothing")
    model = torch.ao.nn.quantized.dynamic.Linear(2, 3)
    (packed,) = (tensors for m in model.modules() if (tensors := room.packed_tensors_of(m)))
    assert [t.shape for t in packed] == [(3, 2), (3,)]


# ---- CUDA


def test_the_allocator_takes_settings():
    assert callable(room.allocator_settings())


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_allocator_takes_the_setting_of_segments():
    settings = room.allocator_settings()
    assert settings is not None
    settings("expandable_segments:True")
    settings("expandable_segments:False")


def test_without_pickles_nothing_but_tensors_is_unpickled(tmp_path) -> None:
    """And torch.load and pickle.loads are afterwards what they were."""
    import pickle
    from fractions import Fraction

    before = torch.load, pickle.loads
    torch.save({"x": torch.ones(2)}, tmp_path / "tensors.pt")
    torch.save(Fraction(1, 2), tmp_path / "objects.pt")  # torch.distributed lets exceptions pass
    with room.without_pickles():
        assert torch.load(tmp_path / "tensors.pt", weights_only=False)["x"].tolist() == [1, 1]
        with pytest.raises(pickle.UnpicklingError):
            torch.load(tmp_path / "objects.pt", weights_only=False)
        with pytest.raises(pickle.UnpicklingError):
            pickle.loads(pickle.dumps(1))
    assert (torch.load, pickle.loads) == before


# ---- several processes


def test_a_storage_that_fsdp_resizes_is_resized_by_its_name():
    from torch.distributed.fsdp._fully_shard._fsdp_param import alloc_storage, free_storage

    sizes: list[int] = []
    resize = room.STORAGE_RESIZE.value

    def seen(storage: torch.UntypedStorage, nbytes: int) -> None:
        sizes.append(nbytes)
        resize(storage, nbytes)

    x = torch.zeros(4)
    with room.STORAGE_RESIZE.replaced(seen):
        free_storage(x)
        alloc_storage(x)
    assert sizes == [0, 16]


def test_a_checkpoint_keeps_the_state_of_the_generator():
    states: list[torch.Tensor] = []

    def seen() -> torch.Tensor:
        states.append(original())
        return states[-1]

    original, x = room.RANDOM_STATE.value, torch.ones(2, requires_grad=True)
    with room.RANDOM_STATE.replaced(seen):
        y = room.plain_checkpoint()(torch.exp, x, use_reentrant=False)
        assert len(states) == 1
        y.sum().backward()
    assert len(states) == 2  # one more while it is recomputed
    assert {state.nbytes for state in states} == {5056}


def test_a_tensor_of_several_ranks_has_a_part_here_and_collectives_are_taken_apart():
    skip_unless_meshes_are_followed()
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard, distribute_tensor

    from modelsum.trace.parallel.world import world

    with world(1, 4):
        whole = distribute_tensor(
            torch.zeros(8, 2, device="meta"), init_device_mesh("meta", (4,)), [Shard(0)]
        )
        assert room.local_of(whole).shape == (2, 2)
        assert room.is_distributed((DTensor,))
        assert room.group_of(torch.distributed.group.WORLD.group_name).size() == 4
        mesh = init_device_mesh("meta", (2, 2), mesh_dim_names=("a", "b"))
        one = room.flattened(mesh, "a_b")
        assert (one.size(), one.mesh_dim_names) == (4, ("a_b",))
    assert not room.is_distributed((Tensor, nn.Parameter))
    x = torch.zeros(2)
    assert room.local_of(x) is x


def test_zero_shares_the_parameters_out_among_the_ranks():
    skip_unless_meshes_are_followed()
    from modelsum.trace.parallel.world import world

    names = []
    for rank in range(2):
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).to("meta")
        with world(rank, 2):
            stepped, _ = room.share_of_zero([*model.parameters()], torch.distributed.group.WORLD)
        names += [name for name, p in model.named_parameters() if any(p is each for each in stepped)]
    assert sorted(names) == ["0.bias", "0.weight", "1.bias", "1.weight"]


def test_what_refuses_meta_is_put_back():
    skip_unless_meshes_are_followed()
    names = [(name, name.value) for name, _ in room.names_that_refuse_meta()]
    assert len(names) == 7
    from modelsum.trace.parallel.world import world

    with world(0, 2):
        assert all(name.value is not before for name, before in names)
    assert all(name.value is before for name, before in names)


def test_who_reduces_gradients_after_a_backward_pass_is_told():
    skip_unless_meshes_are_followed()
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    from modelsum.trace.parallel.world import world

    told: list[nn.Module | None] = []
    with world(0, 2):
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).to("meta")
        for part in (*model, model):
            fully_shard(part, mesh=init_device_mesh("meta", (2,)))
        with room.telling_after_backward(told.append):
            model(torch.zeros(2, 4, device="meta")).sum().backward()
    assert [module for module in told if module is not None] == [model[1], model[0]]
    assert told[1::2] == [None, None]


def test_a_schedule_sends_by_the_name_that_holds_on_to_tensors():
    skip_unless_meshes_are_followed()
    from torch.distributed.pipelining import schedules

    before = schedules._batch_p2p
    with room.sends_that_hold():
        assert schedules._batch_p2p is not before
        assert schedules._batch_p2p([]) == []
    assert schedules._batch_p2p is before


def test_ops_that_wait_return_what_they_are_given():
    skip_unless_meshes_are_followed()
    import torch.distributed._functional_collectives

    for name in room.WAITING:
        namespace, _, op = name.partition("::")
        assert hasattr(getattr(torch.ops, namespace), op)
