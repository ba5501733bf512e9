"""The memory of one model at any batch size; the model is built once, on the meta device."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelsum import api
from modelsum.errors import InputError, ModelError, ModelsumError
from modelsum.memory import Memory, MemoryOptions
from modelsum.raised import told
from modelsum.request import Request
from modelsum.sources import Loaded
from modelsum.summary import Summary

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Predictor:
    """Predicts the memory of one model.

    Attributes:
        request: what it was made for; inputs that turned out to be token ids are that in it.
        summary: of the call with the request's batch.
    """

    request: Request
    summary: Summary
    _loaded: Loaded

    def __call__(self, batch: int, options: MemoryOptions, *, train: bool = True) -> Memory:
        """The memory of a batch, as a summary of that batch has it.

        Args:
            batch: its size.
            options: the training step.
            train: predict a training step too.

        Raises:
            UsageError: a pattern of the options matches nothing.
            InputError: the model takes the batch of the request, but not this one.
            ModelError: the memory cannot be predicted on the meta device.
        """
        import torch

        from modelsum.trace.copying import copy_to
        from modelsum.trace.isolation import deep_enough
        from modelsum.trace.step.training import predict_memory

        meta = torch.device("meta")
        request = dataclasses.replace(self.request, batch=batch)
        try:
            args, kwargs = api.default_call(request, self._loaded, meta)
            model = copy_to(self._loaded.model, meta)  # each batch finds it as it was built
            with deep_enough(model):
                return predict_memory(
                    model, args, kwargs, options=options, target=self.request.target, train=train
                )
        except ModelsumError:
            raise
        except Exception as error:
            raise self._refusal(batch, error) from error

    def _refusal(self, batch: int, error: Exception) -> ModelsumError:
        name = self.summary.model.spec or self.summary.model.class_name
        reason = told(error)
        if batch != self.request.batch and not isinstance(error, NotImplementedError):
            return InputError(
                f"{name} takes a batch of {self.request.batch}, but not of {batch}: {reason}",
                "Does every input have the batch as its first dimension?",
            )
        return ModelError(f"the memory of {name} with a batch of {batch} is not known: {reason}")

    @property
    def classes(self) -> Mapping[str, str]:
        """Class names by path, of every module that is called."""
        return {layer.path: layer.class_name for layer in self.summary.layers if layer.call == 1}


def predictor(request: Request) -> Predictor:
    """Build the request's model and run it on meta once, with the request's batch.

    Raises as `modelsum.summarize` does.
    """

    def made(asked: Request, ready: api.Prepared) -> Predictor:
        loaded = ready.loaded
        untouched = _as_built(loaded.model)
        summary = api.summarized(asked, ready)
        return Predictor(asked, summary, dataclasses.replace(loaded, model=untouched or loaded.model))

    return api.answered_by(dataclasses.replace(request, device="meta", memory=None), made)[1]


def _as_built(model: nn.Module) -> nn.Module | None:
    """A copy from before anything ran; None of a lazy model, which has its shapes only afterwards."""
    import torch
    from torch.nn.parameter import UninitializedTensorMixin  # type: ignore[attr-defined]

    from modelsum.trace.copying import copy_to

    tensors: tuple[Any, ...] = (*model.parameters(), *model.buffers())
    if any(isinstance(tensor, UninitializedTensorMixin) for tensor in tensors):
        return None
    return copy_to(model, torch.device("meta"))
