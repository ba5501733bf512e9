"""Memory inside CPU kernels that need no vector instructions: each rule beside the kernel, on any machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from test_cpu_kernels import aten, compare
from torch import Tensor

from modelsum.memory.cpu.machine import on_machine

THREADS = [2, *(pytest.param(count, marks=pytest.mark.slow) for count in (1, 3))]


@pytest.fixture(autouse=True)
def threads_are_put_back() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


VECTORS, IMAGES = torch.rand(32, 128), torch.rand(4, 128, 6, 6)
LAID_OUT = {
    "vectors": VECTORS,
    "positions": torch.rand(32, 128, 5),
    "images": IMAGES,
    "channels last": IMAGES.contiguous(memory_format=torch.channels_last),
    "positions transposed": torch.rand(32, 5, 128).transpose(1, 2),
    "some channels": torch.rand(4, 256, 6, 6)[:, :128],
}


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("of_weights", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", LAID_OUT)
def test_batch_norm_in_every_layout(name: str, of_weights: torch.dtype, threads: int) -> None:
    """Under autocast, an input in 16 bits meets weights in float32."""
    torch.set_num_threads(threads)
    c = torch.rand(128).to(of_weights)
    for dtype in {torch.bfloat16, of_weights}:
        plain = LAID_OUT[name]
        x = torch.empty_strided(plain.shape, plain.stride(), dtype=dtype).copy_(plain)
        with on_machine(threads=threads):
            for training in (True, False):
                arguments = (x, c, c, c.clone(), c.clone(), training, 0.1, 1e-5)
                compare(aten.native_batch_norm.default, arguments, 0, 0)
            for grad in (torch.rand_like(x), x.contiguous(), torch.ones(1, dtype=dtype).expand(x.shape)):
                for wanted in ([True] * 3, [False, True, True]):
                    arguments = (grad, x, c, c.clone(), c.clone(), c, c, True, 1e-5, wanted)
                    compare(aten.native_batch_norm_backward.default, arguments, 0, 0)


def operands(rows: int, columns: int) -> dict[str, Tensor]:
    """Batches of three matrices in every layout."""
    return {
        "contiguous": torch.rand(3, rows, columns),
        "transposed": torch.rand(3, columns, rows).transpose(1, 2),
        "of heads": torch.rand(rows, 3, columns).transpose(0, 1),
        "one number": torch.rand(1, 1, 1).expand(3, rows, columns),
        "one matrix": torch.rand(1, rows, columns).expand(3, rows, columns),
        "one row": torch.rand(3, 1, columns).expand(3, rows, columns),
        "one column": torch.rand(3, rows, 1).expand(3, rows, columns),
        "every second": torch.rand(3, rows, 2 * columns)[:, :, ::2],
    }


PAIRS = [
    pytest.param(first, second, marks=() if "contiguous" in (first, second) else pytest.mark.slow)
    for first in operands(1, 1)
    for second in operands(1, 1)
]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_matrices_in_a_batch_are_copied_where_blas_cannot_take_them(first: str, second: str) -> None:
    a, b = operands(20, 24)[first], operands(24, 28)[second]
    compare(aten.bmm.default, (a, b), 0, 0)
    compare(aten.baddbmm.default, (torch.rand(3, 20, 28), a, b), 0, 0)
    compare(aten.bmm.default, (a[:, :3, :4], b[:, :4, :5]), 0, 0)


IMAGE = torch.rand(2, 8, 12, 16)
LAYOUTS = {
    "contiguous": lambda x: x.contiguous(),
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "expanded": lambda x: torch.ones(1).expand(x.shape),
}


@pytest.mark.parametrize("of_grad", LAYOUTS)
@pytest.mark.parametrize("of_x", ["contiguous", "channels last", "transposed"])
def test_pooling_copies_what_has_another_layout(of_x: str, of_grad: str) -> None:
    x = LAYOUTS[of_x](IMAGE)
    average, twice = ([2, 2], [2, 2], [0, 0], False, True, None), ([2, 2], [2, 2], [0, 0], [1, 1], False)
    for op, arguments in (
        (aten.avg_pool2d, average),
        (aten.max_pool2d_with_indices, twice),
        (aten._adaptive_avg_pool2d, ([4, 4],)),
        (aten.adaptive_max_pool2d, ([4, 4],)),
    ):
        compare(op.default, (x, *arguments), 0, 0)
    grad = LAYOUTS[of_grad](torch.rand(2, 8, 6, 8))
    _, indices = aten.max_pool2d_with_indices(x, *twice)
    compare(aten.avg_pool2d_backward.default, (grad, x, *average), 0, 0)
    compare(aten.max_pool2d_with_indices_backward.default, (grad, x, *twice, indices), 0, 0)
    grad = LAYOUTS[of_grad](torch.rand(2, 8, 4, 4))
    compare(aten._adaptive_avg_pool2d_backward.default, (grad, x), 0, 0)
    _, indices = aten.adaptive_max_pool2d(x, [4, 4])
    compare(aten.adaptive_max_pool2d_backward.default, (grad, x, indices), 0, 0)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("of_grad", LAYOUTS)
@pytest.mark.parametrize("of_x", ["contiguous", "transposed"])
def test_the_derivative_of_gelu_copies_gradients(of_x: str, of_grad: str, approximate: str) -> None:
    arguments = LAYOUTS[of_grad](torch.rand_like(IMAGE)), LAYOUTS[of_x](IMAGE)
    compare(aten.gelu_backward.default, arguments, 0, 0, approximate=approximate)


GROUPED = [
    pytest.param((torch.float32, torch.float32)),
    pytest.param((torch.bfloat16, torch.float32)),
    pytest.param((torch.bfloat16, torch.bfloat16), marks=pytest.mark.slow),
    pytest.param((torch.float16, torch.float32), marks=pytest.mark.slow),
    pytest.param((torch.float64, torch.float64), marks=pytest.mark.slow),
]


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("dtypes", GROUPED, ids=str)
@pytest.mark.parametrize("size", [(6, 8), (32, 40)], ids=str)
@pytest.mark.parametrize("of_x", ["contiguous", "channels last", "transposed"])
def test_group_norm_in_every_layout(
    of_x: str, size: tuple[int, int], dtypes: tuple[torch.dtype, torch.dtype], threads: int
) -> None:
    x, c = LAYOUTS[of_x](torch.rand(4, 32, *size).to(dtypes[0])), torch.rand(32).to(dtypes[1])
    settings = (4, 32, size[0] * size[1], 4)
    torch.set_num_threads(threads)
    with on_machine(threads=threads):
        y, mean, rstd = aten.native_group_norm(x, c, c, *settings, 1e-5)
        compare(aten.native_group_norm.default, (x, c, c, *settings, 1e-5), 0, 0)
        ones = torch.ones(1).to(dtypes[0])
        for grad in (torch.rand_like(y), torch.rand(x.shape).to(dtypes[0]), ones.expand(x.shape)):
            for wanted in ([True] * 3, [False, True, True]):
                arguments = (grad, x, mean, rstd, c, *settings, wanted)
                compare(aten.native_group_norm_backward.default, arguments, 0, 0)


ROWS, TURNED = torch.rand(8, 64, 60), torch.rand(8, 60, 64).transpose(1, 2)
PICTURES, SOLIDS = torch.rand(2, 4, 16, 17), torch.rand(2, 4, 6, 7, 8)
SPREAD = torch.ones(1).expand(2, 4, 32, 34)
COMPLEX = torch.view_as_complex(torch.rand(2, 16, 32, 2))
SIDES = torch.rand(10, 12), torch.rand(10, 5), torch.rand(10, 14)
TABLE = torch.rand(5, 12, 14)
ORDERED = {
    "softmax": (aten._softmax.default, (TURNED, -1, False)),
    "log_softmax": (aten._log_softmax.default, (TURNED, 1, False)),
    "of softmax": (aten._softmax_backward_data.default, (TURNED, ROWS, -1, torch.float32)),
    "of log_softmax": (aten._log_softmax_backward_data.default, (TURNED, ROWS, -1, torch.float32)),
    "logsumexp": (aten.logsumexp.default, (ROWS, [1])),
    "positions of a mask": (aten.cumsum.default, (ROWS > 0.5, 1)),
    "sort": (aten.sort.default, (ROWS, 1)),
    "sort of long rows": (aten.sort.default, (torch.rand(200, 5000),)),
    "median": (aten.median.dim, (ROWS, 1)),
    "median of rows": (aten.median.dim, (ROWS, -1)),
    "median of all": (aten.median.default, (ROWS,)),
    "kthvalue": (aten.kthvalue.default, (ROWS, 3, 1)),
    "absolute values": (aten.abs.default, (COMPLEX,)),
    "fft": (aten._fft_c2c.default, (COMPLEX, [2], 0, True)),
    "fft over the second": (aten._fft_c2c.default, (COMPLEX, [1], 0, True)),
    "rfft": (aten._fft_r2c.default, (ROWS, [2], 0, True)),
    "rfft over the second": (aten._fft_r2c.default, (ROWS, [1], 0, True)),
    "rfft over two": (aten._fft_r2c.default, (ROWS, [1, 2], 0, True)),
    "irfft": (aten._fft_c2r.default, (COMPLEX, [2], 2, 62)),
    "irfft over the second": (aten._fft_c2r.default, (COMPLEX, [1], 2, 30)),
    "distances": (aten._euclidean_dist.default, (torch.rand(2, 200, 8), torch.rand(2, 100, 8))),
    "distances of few long rows": (aten._euclidean_dist.default, (torch.rand(3, 200), torch.rand(4, 200))),
    "distances in bfloat16": (
        aten._euclidean_dist.default,
        (torch.rand(2, 20, 30).bfloat16(), torch.rand(2, 10, 30).bfloat16()),
    ),
    "nn.Bilinear": (aten._trilinear.default, (SIDES[0], TABLE, SIDES[2], [1, 3], [0], [1, 2], [2, 3])),
    "of nn.Bilinear's input": (
        aten._trilinear.default,
        (SIDES[1], TABLE, SIDES[2], [2, 3], [0], [1, 2], [1, 3]),
    ),
    "of nn.Bilinear's weight": (aten._trilinear.default, (*SIDES, [1, 3], [2, 3], [1, 2], [0])),
    "bicubic": (aten.upsample_bicubic2d.default, (PICTURES, [32, 34], False)),
    "of bicubic": (aten.upsample_bicubic2d_backward.default, (SPREAD, [32, 34], [2, 4, 16, 17], False)),
    "trilinear": (aten.upsample_trilinear3d.default, (SOLIDS, [12, 14, 16], False)),
    "nearest in volumes": (aten.upsample_nearest3d.default, (SOLIDS, [12, 14, 16])),
    "linear": (aten.upsample_linear1d.default, (torch.rand(2, 4, 60), [120], False)),
    "bicubic without aliases": (aten._upsample_bicubic2d_aa.default, (PICTURES, [8, 8], False)),
    "bilinear without aliases": (aten._upsample_bilinear2d_aa.default, (PICTURES, [40, 41], False)),
    "places in images": (aten.affine_grid_generator.default, (torch.rand(4, 2, 3), [4, 9, 16, 18], False)),
    "of places in images": (
        aten.grid_sampler_2d_backward.default,
        (SPREAD, PICTURES, torch.rand(2, 32, 34, 2), 0, 0, False, [True, True]),
    ),
}


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("name", ORDERED)
def test_what_orders_sums_and_resamples(name: str, threads: int) -> None:
    op, arguments = ORDERED[name]
    torch.set_num_threads(threads)
    with on_machine(threads=threads):
        compare(op, arguments, 0, 16)


def test_a_transposed_matrix_is_copied_by_tiles() -> None:
    compare(aten.clone.default, (torch.rand(512, 130).t(),), 0, 0, memory_format=torch.contiguous_format)


SUMMED = {
    "contiguous": IMAGES,
    "channels last": LAID_OUT["channels last"],
    "some channels": LAID_OUT["some channels"],
    "one sample, repeated": IMAGES[:1].expand(IMAGES.shape),
    "turned": IMAGES.transpose(2, 3),
    "all alike": torch.ones(1).expand(IMAGES.shape),
    "one channel": IMAGES[:, :1].clone(),
}


@pytest.mark.parametrize("name", SUMMED)
def test_what_is_summed_in_one_run_is_not_copied_from_16_bits(name: str) -> None:
    """As the gradient of a bias is."""
    x = SUMMED[name].bfloat16() if name != "all alike" else torch.ones(1).bfloat16().expand(IMAGES.shape)
    for dims in ([0, 2, 3], [0], [2, 3], [0, 2], [1], [0, 1, 2, 3]):
        compare(aten.sum.dim_IntList, (x, dims), 0, 512)
