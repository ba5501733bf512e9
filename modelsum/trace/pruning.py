"""Parameters that masks of torch.nn.utils.prune hide: counted and multiplied as before, but zero."""

from __future__ import annotations

from torch import Tensor, nn

from modelsum.trace.torch_private import buffers_of, parameters_of
from modelsum.trace.values.known_values import value_of

_MASK, _ORIGINAL = "_mask", "_orig"


def hidden_by_masks(model: nn.Module) -> str | None:
    """A sentence that says how many elements are hidden; None where there is no mask.

    `model` is the user's own, whose masks have values; one whose masks are not known is not told.
    """
    hidden = 0
    for module in model.modules():
        for name, mask in buffers_of(module).items():
            own = name.removesuffix(_MASK) + _ORIGINAL
            if mask is not None and name.endswith(_MASK) and own in parameters_of(module):
                hidden += _zeros(mask)
    if not hidden:
        return None
    return f"{hidden:,} params are hidden by masks of torch.nn.utils.prune: params and MACs are those of all"


def _zeros(mask: Tensor) -> int:
    value = value_of(mask)
    return 0 if value is None else int(value.numel() - value.count_nonzero())
