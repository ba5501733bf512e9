"""Memory inside CPU kernels that need no vector instructions: each rule beside the kernel, on any machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from test_cpu_kernels import aten, compare
from torch import Tensor

from modelsum.memory.cpu.machine import with_threads


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


@pytest.mark.parametrize("threads", [1, 2, 3])
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


@pytest.mark.parametrize("first", operands(1, 1))
@pytest.mark.parametrize("second", operands(1, 1))
def test_matrices_in_a_batch_are_copied_where_blas_cannot_take_them(first: str, second: str) -> None:
    a, b = operands(20, 24)[first], operands(24, 28)[second]
    compare(aten.bmm.default, (a, b), 0, 0)
    compare(aten.baddbmm.default, (torch.rand(3, 20, 28), a, b), 0, 0)
    compare(aten.bmm.default, (a[:, :3, :4], b[:, :4, :5]), 0, 0)
