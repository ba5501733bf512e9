"""The memory of one model at any batch size; the model is built once, on the meta device."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelsum import api
from modelsum.errors import InputError, ModelError, ModelsumError
from modelsum.memory import Memory, MemoryOptions
from modelsum.memory.fitting.search import MOST
from modelsum.preparing import default_call, first_attempt, own_function, with_own_optimizer
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

        from modelsum.trace.call import Call
        from modelsum.trace.copying import copy_to
        from modelsum.trace.inputs import move, rebatched
        from modelsum.trace.isolation import deep_enough
        from modelsum.trace.step.prediction import predicted

        meta = torch.device("meta")
        request = dataclasses.replace(self.request, batch=batch)
        try:
            model = copy_to(self._loaded.model, meta)  # each batch finds it as it was built
            if request.example is not None:
                lie = request.target == "cpu"
                call = Call(model, *move(rebatched(request.example, batch), meta, as_they_lie=lie))
            else:
                call = dataclasses.replace(default_call(request, self._loaded, meta), model=model)
            with deep_enough(model):
                return predicted(
                    call,
                    options=with_own_optimizer(options),
                    target=request.target,
                    train=train,
                    own=own_function(options.parallelize),
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
    def model(self) -> nn.Module:
        """The model as it was built; to be looked at alone."""
        return self._loaded.model

    @property
    def batches(self) -> range:
        """Those that the model takes, as far as that is known."""
        known = self._loaded.batches or range(1, MOST + 1)
        return range(known.start, min(known.stop, MOST + 1), known.step)

    @property
    def classes(self) -> Mapping[str, str]:
        """Class names by path, of every module that is called."""
        return {layer.path: layer.class_name for layer in self.summary.layers if layer.call == 1}


def predictor(request: Request) -> Predictor:
    """Build the request's model and run it on meta once, with the request's batch.

    Raises as `modelsum.summarize` does.
    """
    attempt = first_attempt(dataclasses.replace(request, device="meta", memory=None))
    while True:
        try:
            ready = attempt.prepared()
            as_built = _as_built(ready.loaded)
            return Predictor(attempt.request, api.summary_of(attempt.request, ready), as_built)
        except ModelError as error:
            attempt = attempt.after(error)


def _as_built(loaded: Loaded) -> Loaded:
    """A copy from before anything runs; the model itself where it is lazy, and has its shapes afterwards."""
    import torch

    from modelsum.trace.census import uninitialized
    from modelsum.trace.copying import copy_to

    if uninitialized(loaded.model):
        return loaded
    return dataclasses.replace(loaded, model=copy_to(loaded.model, torch.device("meta")))
