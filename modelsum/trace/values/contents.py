"""What is known of the contents of tensors on the meta device.

A meta tensor has no data, but its values can be kept beside it, as a CPU tensor: those of token ids, masks
and index tables. A view's value is a view of its base's value, so a change in place reaches both. What
becomes of a value is decided per storage, which all views share:

- a change that was made on the values too is counted in `Contents.changes`, and has to agree with the
  version that torch counts for the tensor;
- a change that was not leaves the storage unknown, however many tensors look at it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from modelsum.trace.torch_private import below_dispatch, version_of

_CPU = torch.device("cpu")
_META = torch.device("meta")
_ATTRIBUTE = "_modelsum_contents"

# Elements up to which values are carried: the masks and ids of one sample are worth it, weights are not.
_MOST_ELEMENTS = 1 << 20

#: Elements that an op on known values goes through at most.
MOST_COMPUTED = 1 << 24


class Contents:
    """The contents of one storage.

    Attributes:
        changes: how many changes in place were made on the values too.
        unfilled: it began as unfilled memory; elements that were not written since hold a mark.
    """

    __slots__ = ("changes", "unfilled")

    def __init__(self) -> None:
        self.changes = 0
        self.unfilled = False


class _Lost(Contents):
    """Contents of a storage on the CPU that took values which nobody knows."""

    __slots__ = ()


class _Known:
    """A tensor's value, with the changes of its contents and the version of torch's that it stands for.

    Attributes:
        is_lent: the value is somebody's tensor, to be copied before it is used: it may be written to.
        to_add: what was added meanwhile, to be seen when the value is.
    """

    __slots__ = ("_value", "changes", "contents", "is_lent", "to_add", "version")

    def __init__(self, value: Tensor, contents: Contents, changes: int, version: int, is_lent: bool) -> None:
        self._value = value
        self.contents = contents
        self.changes = changes
        self.version = version
        self.is_lent = is_lent
        self.to_add = 0

    @property
    def value(self) -> Tensor:
        """The value."""
        if self.is_lent:
            self._value, self.is_lent = self._value.clone(), False
        if self.to_add:
            with below_dispatch():
                self._value.add_(self.to_add)
            self.to_add = 0
        return self._value


class _Losses:
    """Whether a storage on the CPU was ever lost: nearly always none was, and nothing is looked up."""

    any = False


def few(tensor: Tensor) -> bool:
    """Whether a tensor is small enough for its values to be carried; of an expanded one, what is stored."""
    if tensor.numel() <= _MOST_ELEMENTS:
        return True
    if tensor.layout is not torch.strided or 0 not in tensor.stride():
        return False
    return tensor.untyped_storage().nbytes() <= _MOST_ELEMENTS * tensor.element_size()


def computable(tensors: Iterable[Tensor]) -> bool:
    """Whether a kernel may go through tensors: it goes through all that an expanded one shows."""
    return all(tensor.numel() <= MOST_COMPUTED for tensor in tensors)


def learn(tensor: Tensor, value: Tensor, base: Tensor | None = None, *, is_lent: bool = False) -> None:
    """Remember that the meta tensor holds `value`, a CPU tensor of the same shape and dtype.

    Where they differ in shape or dtype, value is not what an op does on this tensor, and nothing is learnt.

    Args:
        base: what `tensor` is a view of, if an op is about to return it: from then on torch counts the
            versions of both together.
        is_lent: `value` is somebody's, and stays as it is.
    """
    if tensor.layout is not torch.strided or tensor.shape != value.shape or tensor.dtype is not value.dtype:
        return
    if base is None and tensor.stride() != value.stride() and 0 not in tensor.stride():
        # What may be viewed, and how, is decided by strides.
        value = torch.empty_strided(value.shape, tensor.stride(), dtype=value.dtype).copy_(value)
        is_lent = False
    contents = contents_of(tensor)
    if contents is None:
        contents = Contents()
        setattr(tensor.untyped_storage(), _ATTRIBUTE, contents)
    setattr(
        tensor,
        _ATTRIBUTE,
        _Known(value, contents, contents.changes, _version(tensor if base is None else base), is_lent),
    )


# What stands in unfilled memory until something is written there: a number that no model has.
_MARKS = {torch.int64: -(2**63) + 0x5EED, torch.int32: -(2**31) + 0x5EED}


def begin_unfilled(tensor: Tensor) -> None:
    """A tensor of integers holds whatever was in memory, but what is written to it will be known."""
    mark = _MARKS.get(tensor.dtype)
    if mark is not None and few(tensor):
        learn(tensor, torch.full(tensor.shape, mark, dtype=tensor.dtype, device=_CPU))
        contents = contents_of(tensor)
        if contents is not None:
            contents.unfilled = True


def is_unknown(tensor: Tensor) -> bool:
    """Whether it is a meta tensor of which no value was ever learnt."""
    return tensor.is_meta and not hasattr(tensor, _ATTRIBUTE)


def value_of(tensor: Tensor) -> Tensor | None:
    """The values of a tensor as a CPU tensor, or None where they are not known."""
    value = partial_value_of(tensor)
    if value is None or not tensor.is_meta:
        return value
    contents = contents_of(tensor)
    if contents is not None and contents.unfilled and bool((value == _MARKS[value.dtype]).any()):
        return None
    return value


def partial_value_of(tensor: Tensor) -> Tensor | None:
    """As `value_of`, also where some elements were never written; these hold a mark."""
    if not tensor.is_meta:
        if not tensor.is_cpu:
            return tensor.cpu()
        return None if is_lost(tensor) else tensor
    known = _known_of(tensor)
    return None if known is None else known.value


def is_known(tensor: Tensor) -> bool:
    """Whether `value_of` has values: to ask for them may copy them."""
    if not tensor.is_meta:
        return not is_lost(tensor)
    known = _known_of(tensor)
    return known is not None and (not known.contents.unfilled or value_of(tensor) is not None)


def _known_of(tensor: Tensor) -> _Known | None:
    known: _Known | None = getattr(tensor, _ATTRIBUTE, None)
    if known is None:
        return None
    contents = known.contents
    if contents_of(tensor) is not contents:
        return None
    if tensor.is_inference():
        return known  # torch counts no versions for it
    is_so = contents.changes - known.changes == version_of(tensor) - known.version
    return known if is_so else None


def on_meta(tensor: Tensor, *, is_lent: bool = False, twin: Tensor | None = None) -> Tensor:
    """A tensor's twin on the meta device, with its values known if they are few; `is_lent` as in `learn`.

    The twin may have been made already: it is a part of a storage that others share.
    """
    if tensor.is_meta:
        value = value_of(tensor)
        if value is None:
            return tensor.detach() if twin is None else twin
        if twin is None:
            twin = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
        learn(twin, value.clone())
        return twin
    if twin is None:
        twin = shape_of(tensor) if is_lent else tensor.detach().to(_META)
    if tensor.is_cpu and few(tensor) and not is_lost(tensor):
        learn(twin, tensor.detach() if is_lent else tensor.detach().clone(), is_lent=is_lent)
    return twin


def shape_of(tensor: Tensor) -> Tensor:
    """What `tensor.detach().to("meta")` makes, for who is seen by no mode; where it is plain, much sooner."""
    is_plain = type(tensor) in _PLAIN and tensor.layout is torch.strided and tensor.dtype in _REAL
    if is_plain and not tensor.is_nested and tensor.is_contiguous() and not tensor.is_neg():
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=_META)
    return tensor.detach().to(_META)


_PLAIN = frozenset((Tensor, torch.nn.Parameter))
_REAL = frozenset(
    (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    )
)


def contents_of(tensor: Tensor) -> Contents | None:
    """What is known of the storage of a tensor, or None."""
    try:
        found: Contents | None = getattr(tensor.untyped_storage(), _ATTRIBUTE, None)
    except NotImplementedError:
        return None  # a sparse tensor: it has no storage of its own
    return found


def forget(tensor: Tensor) -> None:
    """From now on the contents of a tensor are unknown, and those of all tensors that share its storage."""
    on_cpu = tensor.is_cpu
    if not on_cpu and contents_of(tensor) is None:
        return
    setattr(tensor.untyped_storage(), _ATTRIBUTE, _Lost() if on_cpu else None)
    _Losses.any = _Losses.any or on_cpu


def count_one(tensor: Tensor) -> None:
    """Add 1 to what a tensor holds, where that is known. Torch counts no change of it."""
    known = _known_of(tensor) if tensor.is_meta else None
    if known is None:
        return
    if known.is_lent:
        known.to_add += 1
    else:  # there may be views of its value
        with below_dispatch():
            known.value.add_(1)


def is_lost(tensor: Tensor) -> bool:
    """Whether a tensor on the CPU took values that are not known."""
    return _Losses.any and isinstance(contents_of(tensor), _Lost)


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else version_of(tensor)
