"""Functions that a forward transforms with torch.func: autograd's hooks stand aside inside.

torch.func.{grad, vjp, jacrev, hessian, vmap} refuse to run beneath hooks that note what autograd saves. Ours
are taken away for as long as a transform runs; what is left of it in the graph afterwards is found there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from modelsum.trace.holders import tensors_held
from modelsum.trace.torch_private import (
    DISABLE_SAVED_HOOKS,
    pop_saved_hooks,
    push_saved_hooks,
    saved_by,
    saved_hooks,
)


@contextmanager
def transformed(hooks: tuple[Callable[..., Any], Callable[..., Any]]) -> Iterator[list[None]]:
    """Have transforms run inside in spite of these hooks; an entry for each that did."""
    disable = DISABLE_SAVED_HOOKS.value
    ran: list[None] = []

    @contextmanager
    def without(message: str) -> Iterator[None]:
        if saved_hooks() != hooks:  # none, or one of the user's, which torch refuses
            with disable(message):
                yield
            return
        ran.append(None)
        pop_saved_hooks()
        try:
            with disable(message):
                yield
        finally:
            push_saved_hooks(*hooks)

    with DISABLE_SAVED_HOOKS.replaced(without):
        yield ran


def saved_in_graph(output: Any) -> Iterator[tuple[Any, Iterable[Tensor]]]:
    """The nodes that tensors of an output depend on, each with what it saves."""
    nodes = [tensor.grad_fn for tensor in tensors_held(output) if tensor.grad_fn is not None]
    seen = set(nodes)
    while nodes:
        node = nodes.pop()
        yield node, saved_by(node)
        new = {before for before, _ in node.next_functions if before is not None} - seen
        seen |= new
        nodes += new
