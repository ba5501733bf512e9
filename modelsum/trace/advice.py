"""What to write in place of an input that a model refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelsum.spec import OR_LITERALLY
from modelsum.summary import Input
from modelsum.trace.expectations import Wanted, wanted
from modelsum.trace.recorder import Execution


def advice(root: Execution, failed: Execution, inputs: Sequence[Input], batch: int | None) -> str | None:
    """What was made of the input, and what to write instead; None where nothing can be said.

    Args:
        root: the call of the model.
        failed: the call inside it that failed.
        inputs: what the model was called with.
        batch: the size that was put in front of the shapes that the user wrote; None: they are as written.
    """
    takes = wanted(failed.module)
    if batch is None:
        return _without_batch(takes, inputs)
    refused = next((each for each in inputs if each.shape == _first_shape(failed.input_shapes)), None)
    if takes is not None and takes.place is not None:
        return _corrected(takes, refused, batch) if refused else None
    leading = next((each for each in inputs if len(each.shape) > 2 and each.shape[1] == 1), None)
    if leading is None or any(_took(call, leading) for call in root.walk()):
        return None
    return (
        f"The batch is put in front: {_written(leading)} is {list(leading.shape)}. "
        f"If it holds the batch already, write {_written(leading, leading.shape[2:])}"
        f"{OR_LITERALLY}."
    )


def _without_batch(takes: Wanted | None, inputs: Sequence[Input]) -> str | None:
    if takes is None or takes.place != 1 or not inputs or takes.rank != len(inputs[0].shape) + 1:
        return None
    shape = list(inputs[0].shape)
    return f"The input {shape} has no batch in front, as {[1, *shape]} has."


def _corrected(takes: Wanted, refused: Input, batch: int) -> str | None:
    """The shape that the layer would have taken, and what was wrong with this one."""
    sizes = list(refused.shape[1:])
    reasons, options, end = [], "", "."
    if not sizes:
        return None
    if len(sizes) == takes.rank:
        reasons.append(f"The batch is put in front: {_written(refused)} is {list(refused.shape)}.")
        options, end = f"--batch {sizes[0]} " if sizes[0] > 1 else "", f"{OR_LITERALLY}."
        del sizes[0]
    if takes.place == 1:
        if len(sizes) + 2 == takes.rank:
            sizes.insert(0, takes.size)
            reasons.append("The channels are missing.")
        elif sizes[0] != takes.size == sizes[-1]:
            sizes.insert(0, sizes.pop())
            reasons.append("The channels come first.")
        if takes.rank is not None and len(sizes) + 1 != takes.rank:
            return None
    at = 0 if takes.place == 1 else -1
    if sizes[at] != takes.size:
        sizes[at] = takes.size
        reasons.append(f"It takes {takes.size} {'channels' if takes.place == 1 else 'features'}.")
    if not reasons:
        return None
    as_it_is = end if sizes == list(refused.shape[2:]) else "."
    return f"{' '.join(reasons)} Write {options}{_written(refused, sizes)}{as_it_is}"


def _written(given: Input, sizes: Sequence[int] | None = None) -> str:
    """An input as the user wrote it, or with these sizes."""
    name = f"{given.name}=" if given.name and given.name.isidentifier() else ""
    return f"--input {name}{'x'.join(map(str, given.shape[1:] if sizes is None else sizes))}"


def _took(call: Execution, given: Input) -> bool:
    """Whether a layer that knows how many dimensions it takes has taken the input."""
    takes = wanted(call.module) if call.exit_order is not None else None
    return takes is not None and takes.rank is not None and _first_shape(call.input_shapes) == given.shape


def _first_shape(tree: Any) -> tuple[int, ...]:
    """The shape of a call's first argument; empty where that is no tensor."""
    if isinstance(tree, dict):
        tree = tree.get("args") or list(tree.values())
    first = tree[0] if tree else ()
    return first if isinstance(first, tuple) else ()
