"""What oneDNN's matrix products in bfloat16 allocate: copies of blocks, and sums in float32.

Found by measuring products of 60 shapes, torch 2.14.1, x86 with AVX-512 BF16, 2 threads
(tests/memory/test_cpu_bf16.py measures some of them again). A thread has up to 64 columns of the right
matrix beside each other, and the sums for up to 256 rows. A left matrix that is transposed, as in the
gradient of a weight, is copied in blocks of 512 rows, whose sums are kept for up to 1024 columns; so are
many rows of a very deep one.
"""

from __future__ import annotations

from typing import Any

from modelsum.memory.cpu.machine import threads

_COLUMNS, _ROWS, _COPIED_ROWS = 64, 256, 512
_SHALLOW, _DEEP = 128, 2048
_MARGIN = 32  # so that rows of a copy do not share cache lines
_FLOAT_BYTES, _BF16_BYTES = 4, 2
_REST_BYTES = 1664  # descriptors of the batches


def matmul_scratch_bytes(a: Any, b: Any) -> int:
    """Bytes allocated while a [rows, depth] is multiplied by b [depth, columns]."""
    rows, depth, columns = int(a.shape[0]), int(a.shape[1]), int(b.shape[1])
    right = threads() * _COLUMNS * _BF16_BYTES * min(depth, 512) + _REST_BYTES
    if depth >= _SHALLOW and a.stride(0) == 1 and a.stride(1) > 1:
        return right + min(rows, _COPIED_ROWS) * _copied_row_bytes(depth, columns)
    if depth > 1024:
        right += threads() * _COLUMNS * _BF16_BYTES * 512
    if depth > _DEEP and rows > 2 * _COPIED_ROWS:
        copied = threads() * _ROWS * (1024 + _MARGIN) * _BF16_BYTES
        return right + copied + _COPIED_ROWS * columns * _FLOAT_BYTES
    return right + threads() * min(rows, _ROWS) * min(columns, _COLUMNS) * _FLOAT_BYTES


def _copied_row_bytes(depth: int, columns: int) -> int:
    if depth < 512:
        return threads() * depth * _BF16_BYTES
    return (
        min(columns, 256 if depth == 512 else 1024) * _FLOAT_BYTES
        + (min(depth, 1024) // 2 + _MARGIN) * _BF16_BYTES
    )
