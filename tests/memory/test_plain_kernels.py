"""Memory inside CPU kernels that need no vector instructions: each rule beside the kernel, on any machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from test_cpu_kernels import aten, compare
from torch import Tensor

from modelsum.memory.cpu.machine import with_threads

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
}


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("name", LAID_OUT)
def test_batch_norm_in_every_layout(name: str, threads: int) -> None:
    x, c = LAID_OUT[name], torch.rand(128)
    torch.set_num_threads(threads)
    with with_threads(threads):
        for training in (True, False):
            arguments = (x, c, c, c.clone(), c.clone(), training, 0.1, 1e-5)
            compare(aten.native_batch_norm.default, arguments, 0, 0)
        for grad in (torch.rand_like(x), torch.ones(1).expand(x.shape)):
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


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("size", [(6, 8), (32, 40)], ids=str)
@pytest.mark.parametrize("of_x", ["contiguous", "channels last", "transposed"])
def test_group_norm_in_every_layout(of_x: str, size: tuple[int, int], threads: int) -> None:
    x, c = LAYOUTS[of_x](torch.rand(4, 32, *size)), torch.rand(32)
    settings = (4, 32, size[0] * size[1], 4)
    torch.set_num_threads(threads)
    with with_threads(threads):
        y, mean, rstd = aten.native_group_norm(x, c, c, *settings, 1e-5)
        compare(aten.native_group_norm.default, (x, c, c, *settings, 1e-5), 0, 0)
        for grad in (torch.rand_like(y), torch.rand(x.shape), torch.ones(1).expand(x.shape)):
            for wanted in ([True] * 3, [False, True, True]):
                arguments = (grad, x, mean, rstd, c, *settings, wanted)
                compare(aten.native_group_norm_backward.default, arguments, 0, 0)
