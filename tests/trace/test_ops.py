"""Multiply-accumulates of every op that has a rule; and the three lists of ops."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from every_day import every_nth
from kernel_cases import NOT_HERE, ON_CPU, ON_META
from op_cases import PLAIN, Calls, as_model, r
from torch import Tensor, nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.utils.flop_counter import FlopCounterMode
from torch_here import skip_unless_torch_runs

import modelsum
from modelsum.trace import ops
from modelsum.trace.ignored import IGNORED

pytestmark = pytest.mark.filterwarnings("ignore")


def counted(function: Any, *args: Any, device: str, mode: str = "eval") -> modelsum.Summary:
    return modelsum.summarize(as_model(function), *args, device=device, mode=mode)


@pytest.mark.parametrize("mode", every_nth(["eval", "train"], 2))
@pytest.mark.parametrize("name", PLAIN)
def test_macs(name: str, mode: str) -> None:
    """The hand-derived figure, on meta and on the CPU alike, and flop_counter's where it knows the op."""
    function, args, macs, counter = PLAIN[name]
    skip_unless_torch_runs(as_model(function), *args)
    on_meta = counted(function, *args, device="meta", mode=mode)
    on_cpu = counted(function, *args, device="cpu", mode=mode)
    assert on_meta.uncounted_ops == on_cpu.uncounted_ops == {}
    assert on_meta.totals.macs == on_cpu.totals.macs
    if macs is not None:
        assert on_meta.totals.macs == macs
    if counter is not None and not math.isnan(counter):
        with FlopCounterMode(display=False) as reference, torch.no_grad():
            as_model(function).train(mode == "train")(*args)
        assert reference.get_total_flops() == (2 * on_cpu.totals.macs if counter is True else counter)


@pytest.mark.parametrize("name", ON_CPU)
def test_macs_of_ops_that_only_the_cpu_runs(name: str) -> None:
    """Each through device "auto": meta first, then the CPU."""
    function, args, macs = ON_CPU[name]
    skip_unless_torch_runs(as_model(function), *args)
    summary = counted(function, *args, device="auto")
    assert summary.totals.macs == macs
    assert summary.uncounted_ops == {}
    if summary.device == "cpu":
        assert "the meta device could not run it" in summary.notices[0] or not summary.notices
    assert name in counted(function, *args, device="cpu").macs_by_op


@pytest.mark.parametrize("name", ON_META)
def test_macs_of_kernels_of_other_devices(name: str) -> None:
    function, args, macs = ON_META[name]
    skip_unless_torch_runs(as_model(function), *args, device="meta")
    summary = counted(function, *args, device="meta")
    assert summary.macs_by_op == {name: macs}


def test_every_rule_is_shown_right() -> None:
    """No rule is without a case above, but those for kernels that cannot run here."""
    shown = {*ON_CPU, *ON_META}
    for function, args, *_ in PLAIN.values():
        for device in ("meta", "cpu"):
            try:
                shown |= {*counted(function, *args, device=device).macs_by_op}
            except modelsum.ForwardError:
                skip_unless_torch_runs(as_model(function), *args)
                raise
    assert {name.replace("::", ".") for name in ops.COUNTED} - shown <= NOT_HERE
    assert not NOT_HERE & (shown - {"aten.mkldnn_rnn_layer"})


CONTEXTS: dict[str, Callable[[], Any]] = {
    "enable_grad": torch.enable_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast of the device": lambda: torch.autocast("meta", torch.bfloat16),
}
IN_CONTEXTS = ("conv2d", "linear 3d no bias", "sdpa", "lstm", "encoder layer", "flex", "matmul broadcast")


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", IN_CONTEXTS)
@pytest.mark.parametrize("context", CONTEXTS)
def test_macs_do_not_depend_on_what_the_forward_enters(context: str, name: str, mode: str) -> None:
    function, args, macs, _ = PLAIN[name]

    def forward(inner: nn.Module, *args: Any) -> Any:
        with CONTEXTS[context]():
            return inner(*args)

    devices = ("meta",) if "device" in context else ("meta", "cpu")
    for device in devices:
        if device == "cpu":
            skip_unless_torch_runs(Calls(forward, inner=as_model(function)).train(mode == "train"), *args)
        summary = counted(Calls(forward, inner=as_model(function)), *args, device=device, mode=mode)
        assert (summary.totals.macs, summary.uncounted_ops) == (macs, {})


def test_a_block_mask_is_not_subtracted() -> None:
    """flex_attention counts all pairs, like sdpa with is_causal."""

    def forward(x: Tensor) -> Tensor:
        mask = create_block_mask(lambda b, h, i, j: i >= j, 1, 1, 256, 256, device=x.device)
        return flex_attention(x, x, x, block_mask=mask)

    for device in ("meta", "cpu"):
        assert counted(forward, r(1, 2, 256, 16), device=device).totals.macs == 2 * 256 * 256 * 32


square = r(4, 4)
positive = square @ square.t() + torch.eye(4)
UNKNOWN: dict[str, tuple[Callable[..., Any], tuple[Tensor, ...], set[str]]] = {
    "fft": (torch.fft.fft, (r(8),), {"aten._fft_r2c"}),
    "fft complex": (torch.fft.ifft2, (r(4, 4) + 0j,), {"aten._fft_c2c"}),
    "irfft": (torch.fft.irfft, (r(5) + 0j,), {"aten._fft_c2r"}),
    "stft": (lambda x: torch.stft(x, 16, return_complex=True), (r(400),), {"aten._fft_r2c"}),
    "cdist": (torch.cdist, (r(30, 4), r(31, 4)), {"aten._euclidean_dist"}),
    "cdist p": (lambda a, b: torch.cdist(a, b, p=1), (r(3, 4), r(5, 4)), {"aten._cdist_forward"}),
    "pdist": (F.pdist, (r(30, 4),), {"aten._pdist_forward"}),
    "svd": (torch.linalg.svd, (square,), {"aten._linalg_svd"}),
    "qr": (torch.linalg.qr, (square,), {"aten.linalg_qr"}),
    "eigh": (torch.linalg.eigh, (positive,), {"aten._linalg_eigh"}),
    "cholesky": (torch.linalg.cholesky, (positive,), {"aten.linalg_cholesky_ex"}),
    "solve": (torch.linalg.solve, (square, r(4, 2)), {"aten._linalg_solve_ex"}),
    "inv": (torch.linalg.inv, (square,), {"aten.linalg_inv_ex"}),
    "pinv": (torch.linalg.pinv, (square,), {"aten.linalg_pinv"}),
    "det": (torch.linalg.det, (square,), {"aten._linalg_det"}),
    "matrix_exp": (torch.matrix_exp, (square,), {"aten.linalg_matrix_exp"}),
    "lu": (torch.linalg.lu, (square,), {"aten.linalg_lu"}),
    "lstsq": (lambda a, b: torch.linalg.lstsq(a, b)[0], (square, r(4, 2)), {"aten.linalg_lstsq"}),
    "triangular": (
        lambda a, b: torch.linalg.solve_triangular(a, b, upper=True),
        (square, r(4, 2)),
        {"aten.linalg_solve_triangular"},
    ),
    "cross": (torch.linalg.cross, (r(4, 3), r(4, 3)), {"aten.linalg_cross"}),
}


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("name", UNKNOWN)
def test_arithmetic_without_a_rule_is_named(name: str, device: str) -> None:
    function, args, names = UNKNOWN[name]
    summary = counted(function, *args, device=device)
    assert {*summary.uncounted_ops} == names
    assert summary.totals.macs == 0


@pytest.fixture
def fused() -> Iterator[Any]:
    """A custom op with a kernel and a shape function; its rule is taken back afterwards."""
    with torch.library._scoped_library("modelsum_tests", "DEF") as library:
        library.define("fused(Tensor x, Tensor w) -> Tensor")
        library.impl("fused", lambda x, w: x @ w.t(), "CPU")
        library.impl("fused", lambda x, w: x.new_empty(x.shape[0], w.shape[0]), "Meta")
        ops._cache.clear()
        yield torch.ops.modelsum_tests.fused
        ops.COUNTED.pop("modelsum_tests::fused", None)
        ops._cache.clear()


@pytest.mark.parametrize("spelling", ["modelsum_tests::fused", "modelsum_tests.fused"])
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_rule_for_an_op_of_ones_own(device: str, spelling: str, fused: Any) -> None:
    args = (r(3, 4), r(5, 4))
    before = counted(fused, *args, device=device)
    assert (before.totals.macs, before.uncounted_ops) == (0, {"modelsum_tests.fused": 1})
    ops.register(spelling, lambda x, w, *, out: x.shape[1] * out.numel())
    after = counted(fused, *args, device=device)
    assert (after.totals.macs, after.uncounted_ops) == (60, {})
    assert after.macs_by_op == {"modelsum_tests.fused": 60}


def test_a_custom_op_of_torch_library() -> None:
    """As most people define one; without a shape function it runs on the CPU."""

    @torch.library.custom_op("modelsum_tests::product", mutates_args=())
    def product(a: Tensor, b: Tensor) -> Tensor:
        return a @ b

    alone = counted(product, r(3, 4), r(4, 5), device="auto")
    assert alone.device == "cpu"
    assert "no fake impl" in alone.notices[0]
    assert alone.uncounted_ops == {"modelsum_tests.product": 1}
    product.register_fake(lambda a, b: a.new_empty(a.shape[0], b.shape[1]))
    ops.register("modelsum_tests::product", lambda a, b, *, out: a.numel() * b.shape[1])
    try:
        for device in ("meta", "cpu"):
            assert counted(product, r(3, 4), r(4, 5), device=device).totals.macs == 60
    finally:
        del ops.COUNTED["modelsum_tests::product"]
        ops._cache.clear()


def test_a_rule_wants_the_name_of_an_op() -> None:
    with pytest.raises(ValueError, match="'fused' is no op name"):
        ops.register("fused", lambda *args, out: 0)


# ---- the three lists


def overloads(name: str) -> list[Any]:
    pytest.importorskip("torchvision")
    namespace, _, op = name.rpartition("::")
    packet = getattr(getattr(torch.ops, namespace or "aten"), op, None)
    if packet is None or isinstance(packet, torch._ops.HigherOrderOperator):
        return [packet] * (packet is not None)
    return [getattr(packet, overload) for overload in packet.overloads()]


@pytest.mark.skipif(torch.__version__ < (2, 14), reason="the lists name ops that older torch does not have")
def test_every_name_is_an_op() -> None:
    """Nothing in the lists is misspelt or gone; what is there in place only is named by its plain form.

    Names of bitsandbytes are there where it is, which the tests do not ask for.
    """
    pytest.importorskip("transformers.integrations.moe")  # which brings an op of its own
    counted, ignored = (
        [name for name in names if not name.startswith("bitsandbytes::")] for names in (ops.COUNTED, IGNORED)
    )
    assert [name for name in counted if not overloads(name)] == []
    assert [name for name in ignored if not overloads(name) and not overloads(f"{name}_")] == []


def test_no_op_is_counted_and_ignored() -> None:
    assert not {name.removeprefix("aten::") for name in ops.COUNTED} & IGNORED


ARITHMETIC = re.compile(
    r"(^|_)(fft|linalg|[cp]dist|\w*mm|matmul|conv(?!ert)\w*|\w*solve\w*|cholesky|svd|lu|qr|inv(erse)?|det|eig\w*|"
    r"attention|linear\w*|rnn|lstm|gru|einsum|dot|mv)(_|$)"
)
NO_MATMUL = {
    "linalg_vector_norm",
    "_linalg_check_errors",
    "fft_fftfreq",  # a range of numbers
    "fft_rfftfreq",
    "upsample_linear1d",
    "_thnn_fused_lstm_cell",  # what comes behind the matmuls: gates
    "_thnn_fused_gru_cell",
    "bitsandbytes::int8_mm_dequant",  # what comes behind it: scales
}


def test_nothing_arithmetic_is_ignored() -> None:
    """Packing a weight for a kernel is no arithmetic either."""
    suspects = {name for name in IGNORED if ARITHMETIC.search(name) and not name.endswith("pack")}
    assert {name for name in suspects if "prepack" not in name} == NO_MATMUL
