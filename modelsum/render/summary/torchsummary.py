"""The text that torchsummary 1.5.1 prints (sksq96/pytorch-summary), byte for byte.

A row a call, in the order in which calls return, without the root, nn.Sequential and nn.ModuleList. The
first size of every shape is the batch size of the options; with the -1 that torchsummary has by default,
the sizes in MB are those of one sample.

Where the original crashes or counts wrongly, its layout is kept and the totals are the summary's own:

- a tuple, list or dict of tensors is the list of their shapes (the original crashes on most, and adds the
  product of all their sizes up); an output without a tensor is [];
- a model without parameters has 0 (the original crashes);
- every parameter of a module is counted, not only `weight` and `bias`, each tensor once however often its
  module is called, and the root's own are in the total;
- sizes are of the outputs as they were, also where the first size is not the batch;
- several inputs add up (the original multiplies them).

MACs, uncounted ops and notices have no place in this text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelsum.render import RenderOptions
from modelsum.summary import Layer, ShapeTree, Summary
from modelsum.units import MIB

_THIN = "-" * 64
_THICK = "=" * 64


def render(summary: Summary, options: RenderOptions) -> str:
    """The summary as torchsummary prints it, for the batch size `options.torchsummary_batch`."""
    batch = options.torchsummary_batch
    rows = sorted(filter(_has_row, summary.layers), key=lambda layer: layer.exit_order or 0)
    lines = [_THIN, _line("Layer (type)", "Output Shape", "Param #"), _THICK]
    for number, layer in enumerate(rows, start=1):
        shapes = str(_shape(layer.output_shapes, batch))
        lines.append(_line(f"{layer.class_name}-{number}", shapes, f"{layer.counted_params:,}"))
    lines.append(_THICK)
    lines += _totals(summary, batch)
    return "\n".join(lines)


def _has_row(layer: Layer) -> bool:
    return layer.exit_order is not None and layer.parent is not None and not layer.container


def _line(layer: str, shape: str, params: str) -> str:
    return f"{layer:>20}  {shape:>25} {params:>15}"


def _shape(tree: ShapeTree, batch: int) -> list[Any]:
    if isinstance(tree, tuple):
        return _with_batch(tree, batch)
    return [_with_batch(shape, batch) for shape in _tensor_shapes(tree)]


def _with_batch(shape: tuple[Any, ...], batch: int) -> list[Any]:
    return [batch, *shape[1:]] if shape else []


def _tensor_shapes(tree: ShapeTree) -> Iterator[tuple[Any, ...]]:
    if isinstance(tree, tuple):
        yield tree
    elif isinstance(tree, (list, dict)):
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from _tensor_shapes(value)


def _totals(summary: Summary, batch: int) -> list[str]:
    totals, sizes = summary.totals, summary.torchsummary
    # The summary's sizes are of its own batch. Shapes that were taken literally stay as they are.
    samples = abs(batch) / summary.batch if summary.batch is not None else 1.0
    input_mb = sizes.input_bytes * samples / MIB
    output_mb = sizes.forward_backward_bytes * samples / MIB
    params_mb = sizes.params_bytes / MIB
    return [
        f"Total params: {totals.params:,}",
        f"Trainable params: {totals.trainable_params:,}",
        f"Non-trainable params: {totals.frozen_params:,}",
        _THIN,
        f"Input size (MB): {input_mb:.2f}",
        f"Forward/backward pass size (MB): {output_mb:.2f}",
        f"Params size (MB): {params_mb:.2f}",
        f"Estimated Total Size (MB): {params_mb + output_mb + input_mb:.2f}",
        _THIN,
    ]
