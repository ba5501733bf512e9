"""What a weights file holds, as plain frozen data: the value that `show FILE.safetensors` renders."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from modelsum.summary import SCHEMA_VERSION

#: Buffers by the names that torch's normalisation layers give them: a file does not say which are which.
_BUFFER_NAMES = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a weights file.

    Attributes:
        dtype: as torch names it, "float32".
        nbytes: bytes of its elements.
        tied_to: the name of an earlier tensor that is the same part of the same storage, or None.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    tied_to: str | None = None

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def is_buffer(self) -> bool:
        """Whether its name is that of a normalisation layer's running statistics."""
        return self.name.rpartition(".")[2] in _BUFFER_NAMES


@dataclass(frozen=True, slots=True)
class Weights:
    """The tensors of one weights file, and what they come to; a tied tensor counts once.

    Attributes:
        spec: the file as the user named it.
        metadata: what the file says about itself.
        notices: what the reader should know about how it was read.
    """

    spec: str
    tensors: tuple[StoredTensor, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    def _counted(self, *, buffers: bool) -> list[StoredTensor]:
        return [t for t in self.tensors if t.tied_to is None and t.is_buffer == buffers]

    @property
    def params(self) -> int:
        """Elements of all tensors but the running statistics."""
        return sum(t.elements for t in self._counted(buffers=False))

    @property
    def param_bytes(self) -> int:
        """Bytes of the same tensors."""
        return sum(t.nbytes for t in self._counted(buffers=False))

    @property
    def buffers(self) -> int:
        """Elements of running statistics."""
        return sum(t.elements for t in self._counted(buffers=True))

    @property
    def buffer_bytes(self) -> int:
        """Bytes of running statistics."""
        return sum(t.nbytes for t in self._counted(buffers=True))

    @property
    def by_dtype(self) -> dict[str, int]:
        """Elements of all tensors by dtype, the most frequent first."""
        elements: dict[str, int] = {}
        for tensor in self.tensors:
            if tensor.tied_to is None:
                elements[tensor.dtype] = elements.get(tensor.dtype, 0) + tensor.elements
        return dict(sorted(elements.items(), key=lambda item: -item[1]))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, schema version 1, kind "weights"."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "weights",
            "model": {"spec": self.spec, "source": "weights", "class": None},
            "totals": {
                "params": self.params,
                "param_bytes": self.param_bytes,
                "buffers": self.buffers,
                "buffer_bytes": self.buffer_bytes,
                "tensors": len(self.tensors),
                "elements_by_dtype": self.by_dtype,
            },
            "tensors": [asdict(t) | {"elements": t.elements, "buffer": t.is_buffer} for t in self.tensors],
            "metadata": dict(self.metadata),
            "notices": list(self.notices),
        }
