"""The cells of a displayed row as people read them, the same in every format."""

from __future__ import annotations

from modelsum.render.rows import Row
from modelsum.summary import ShapeTree
from modelsum.units import count


def shape(tree: ShapeTree) -> str:
    """A shape tree on one line: a tensor [1, 64], several ([1, 64], [1, 8]), a dict {out: [1, 64]}."""
    if isinstance(tree, tuple):
        return f"[{', '.join(map(str, tree))}]"
    if isinstance(tree, list):
        return f"({', '.join(map(shape, tree))})"
    if isinstance(tree, dict):
        return f"{{{', '.join(f'{key}: {shape(value)}' for key, value in tree.items())}}}"
    return str(tree)


def tensor_count(tree: ShapeTree) -> int:
    """How many tensors a shape tree has."""
    if isinstance(tree, (list, dict)):
        return sum(map(tensor_count, tree.values() if isinstance(tree, dict) else tree))
    return int(isinstance(tree, tuple))


def _input_shape(tree: ShapeTree) -> str:
    """The shapes of a call's arguments on one line; a single argument without parentheses."""
    return shape(tree[0] if isinstance(tree, list) and len(tree) == 1 else tree)


def output(row: Row) -> str:
    """What came out of the row's layer, or why nothing did."""
    if row.failure:
        place = "" if row.failure is row.layer else f" in {row.failure.path}"
        return f"failed{place}; input {_input_shape(row.failure.input_shapes)}"
    if row.layer.group:
        return "-"
    if row.layer.call == 0:
        return "not executed"
    if row.layer.exit_order is None:
        return "not finished"
    return shape(row.layer.output_shapes)


def params(row: Row) -> str:
    """The row's params; "-" where all are in rows below, a word where all are in rows above."""
    layer = row.layer
    if layer.reused and layer.params:
        return f"{count(row.params)} (reused)" if row.params else "(reused)"
    if layer.own_params > layer.counted_params:
        return f"{count(row.params)} (shared)" if row.params else "(shared)"
    return _figure(row, row.params)


def macs(row: Row) -> str:
    """The row's MACs; "-" where all are in rows below."""
    return _figure(row, row.macs)


def _figure(row: Row, figure: int) -> str:
    return "-" if row.has_rows_below and not figure else count(figure)
