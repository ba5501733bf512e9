"""The passes of a generation, followed on the meta device: the prompt, and one step with a full cache."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modelsum.errors import ModelError, ModelsumError, UsageError
from modelsum.generation import caches
from modelsum.generation.reads import Work
from modelsum.generation_values import Phase, Serving
from modelsum.memory import allocator
from modelsum.memory.log import INPUTS
from modelsum.memory.options import MemoryOptions
from modelsum.memory.peaks import replay
from modelsum.memory_values import Peak
from modelsum.raised import told
from modelsum.sources import Loaded
from modelsum.trace.call import Call
from modelsum.trace.holders import tensors_held
from modelsum.trace.isolation import deep_enough, isolated, plain_ops, runs_on_meta, uncollected
from modelsum.trace.step import attention as kernels
from modelsum.trace.step.training import record_inference
from modelsum.trace.values.known_values import carried, on_meta

META = torch.device("meta")

PREFILL, DECODE = "prefill", "decode"
#: Tokens of the pass that shows what the layers keep; its cache is then filled to any length.
_GLANCE = 16


class Writing(Call):
    """A pass that also chooses the next token: the most likely one, of scores in float32.

    As `transformers.GenerationMixin.generate` does without sampling.
    """

    def __call__(self) -> Any:
        """Call the model. Raises what it raises."""
        output = self.model(*self.args, **self.kwargs)
        scores = getattr(output, "logits", None)
        if not isinstance(scores, Tensor):
            return output, None
        return output, scores[:, -1].to(torch.float32, copy=True).argmax(-1, keepdim=True)


@dataclass(frozen=True, slots=True)
class Followed:
    """A pass that was followed.

    Attributes:
        phase: without MACs and bytes read where these were not asked for.
        attention: which kernel of scaled_dot_product_attention ran, in words.
        unmeasured: as `modelsum.memory.Memory.unmeasured`.
    """

    phase: Phase
    attention: str
    unmeasured: Mapping[str, int]


class Generator:
    """One model, built on meta, whose generations of any length are followed.

    Attributes:
        passes: that were followed so far.
        target: "cuda" or "cpu".
        options: of the target: which attention, and what CPU.
    """

    def __init__(self, loaded: Loaded, target: str, step: MemoryOptions | None = None) -> None:
        """Of a training `step` only what it says of the target matters.

        Raises UsageError where the model writes no text.
        """
        model: Any = loaded.model
        self.model = model.eval()
        self.passes = 0
        self.target = target
        step = step or MemoryOptions()
        self.options = MemoryOptions(attention=step.attention, threads=step.threads, isa=step.isa)
        self._loaded = loaded
        self._argument = caches.argument_of(model)
        #: Sequences, tokens, and what a pass over these left: see `_glance`.
        self._seen: tuple[int, int, Any] = (0, 0, None)
        if (
            not hasattr(model, "config")
            or loaded.example is None
            or not hasattr(model, "prepare_inputs_for_generation")
        ):
            raise UsageError(
                f"{type(model).__name__} is not a class of transformers that generates text",
                "Give transformers/MODEL_TYPE, hf:ORG/NAME or a folder with config.json; --task causal-lm "
                "chooses the head.",
            )
        self._takes = frozenset(inspect.signature(model.forward).parameters)
        self.writes_apart = bool(getattr(model.config, "is_encoder_decoder", False))

    # ---- passes

    def prefill(self, serving: Serving, *, counted: bool = True) -> Followed:
        """The pass over the prompt. Raises ModelError where the meta device cannot run it."""

        calls = []

        def call() -> Writing:
            calls.append(self._call(self._prompt(serving.batch, serving.prompt), self._empty(serving)))
            return calls[-1]

        followed = self._followed(call, PREFILL, serving.prompt, serving.prompt, counted)
        plain = serving.cache == "dynamic" and serving.kv_dtype is None
        batch, there, _ = self._seen
        known = batch == serving.batch and there <= serving.prompt
        if self._argument is not None and not self.writes_apart and plain and not known:
            # It shows what the layers keep as well as a short pass of its own would.
            self._seen = serving.batch, serving.prompt, (calls[-1].kwargs[self._argument], {})
        return followed

    def decode(self, serving: Serving, *, counted: bool = True) -> Followed:
        """The last step: one token of each sequence, with all others in the cache. Raises ModelError."""

        def call() -> Writing:
            prompt, new = self._own(serving)
            seen, beside = self._glance(serving)
            cache = None
            if seen is not None:
                cache = caches.filled(seen, self._empty(serving), prompt, new)
            with carried():
                ids = on_meta(torch.full((serving.batch, 1), self._filler()))
            named = "decoder_input_ids" if self.writes_apart else "input_ids"
            return self._call({named: ids, **beside}, cache)

        return self._followed(call, DECODE, 1, serving.cached, counted)

    def cache_bytes(self, serving: Serving) -> int:
        """Bytes of the cache after the last step."""
        seen, _ = self._glance(serving)
        if seen is None:
            return 0
        prompt, new = self._own(serving)
        with self._quietly():
            return caches.nbytes(caches.filled(seen, self._empty(serving), prompt, new + 1))

    # ---- calls

    def _own(self, serving: Serving) -> tuple[int, int]:
        """Tokens in the cache before the last step: those put in at once, and those one by one.

        A model that reads with an encoder begins its own text with a single token.
        """
        prompt = 1 if self.writes_apart else serving.prompt
        return prompt, serving.cached - serving.prompt - 1

    def _empty(self, serving: Serving) -> Any:
        if self._argument is None:
            return None
        prompt, new = self._own(serving)
        return caches.empty(self.model, serving, prompt + new + 1)

    def _prompt(self, batch: int, tokens: int) -> dict[str, Any]:
        assert self._loaded.example is not None
        with carried():
            _, given = self._loaded.example(batch, tokens, META)
            if self.writes_apart and "decoder_input_ids" in given:
                given["decoder_input_ids"] = on_meta(torch.full((batch, 1), self._filler()))
        given.pop("labels", None)
        return given

    def _filler(self) -> int:
        return 0

    def _call(self, given: dict[str, Any], cache: Any) -> Writing:
        if cache is not None:
            given[str(self._argument)] = cache
        for name, value in (("use_cache", True), ("logits_to_keep", 1), ("return_dict", True)):
            if name in self._takes:
                given[name] = value
        return Writing(self.model, (), given)

    def _glance(self, serving: Serving) -> tuple[Any, dict[str, Any]]:
        """What a pass with the library's own cache leaves in it, and what else the next steps are given."""
        tokens = serving.prompt if self.writes_apart else min(serving.prompt, _GLANCE)
        batch, there, found = self._seen
        if batch != serving.batch or not (tokens <= there <= serving.prompt):
            own = Serving(prompt=tokens, batch=serving.batch)
            cache = self._empty(own)
            with self._quietly():
                output, _ = self._call(self._prompt(serving.batch, tokens), cache)()
            beside = {}
            if self.writes_apart:
                beside["encoder_outputs"] = (output.encoder_last_hidden_state,)
            if cache is None and getattr(output, "state", None) is not None:  # of RWKV
                beside["state"] = output.state
            found = cache, beside
            self._seen = serving.batch, tokens, found
        cache, beside = found
        return cache, dict(beside)

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """On shapes, without anybody looking."""
        with (
            deep_enough(self.model),
            isolated(),
            plain_ops(),
            runs_on_meta(META),
            uncollected(META),
            torch.no_grad(),
            kernels.redirected(self.target, self.options.attention),
            carried(),
        ):
            yield

    # ---- following

    def _followed(
        self, call: Callable[[], Writing], name: str, tokens: int, cached: int, counted: bool
    ) -> Followed:
        self.passes += 1
        try:
            with deep_enough(self.model):
                macs, read = self._work(call()) if counted else (0, 0)
                return self._memory(call(), name, tokens, cached, macs, read)
        except ModelsumError:
            raise
        except Exception as error:
            raise ModelError(
                f"the {name} of {type(self.model).__name__} cannot be followed on meta: {told(error)}"
            ) from error

    def _work(self, call: Writing) -> tuple[int, int]:
        """MACs, and bytes that are read."""
        cache = call.kwargs.get(self._argument or "")
        held = (*self.model.parameters(), *self.model.buffers(), *tensors_held(cache))
        work = Work(call, META, held)
        with isolated(), uncollected(META), plain_ops(), runs_on_meta(META), torch.no_grad():
            work.run()
        return work.macs, work.read_bytes

    def _memory(self, call: Writing, name: str, tokens: int, cached: int, macs: int, read: int) -> Followed:
        held = sum(t.nbytes for key, t in call.kwargs.items() if isinstance(t, Tensor))
        cache = call.kwargs.get(self._argument or "")
        recording, attention = record_inference(
            call, options=self.options, target=self.target, kept=lambda: tensors_held(cache)
        )
        peak = replay(recording.categories, recording.setup, recording.first).peak
        parts = {
            "weights": peak.parts["weights"] + peak.parts["buffers"],
            "cache": max(peak.parts[INPUTS] - held, 0),
            "activations": peak.parts["temporaries"] + min(held, peak.parts[INPUTS]),
        }
        reserved = process = None
        if self.target == "cuda":
            simulated = allocator.replay((*recording.setup, *recording.first), expandable_segments=False)
            reserved = simulated.reserved_peak
            process = allocator.process_bytes(reserved)
        return Followed(
            phase=Phase(
                tokens=tokens,
                cached=cached,
                macs=macs,
                read_bytes=read,
                peak=Peak(peak.bytes, parts, name, peak.module),
                reserved_bytes=reserved,
                process_bytes=process,
            ),
            attention=attention,
            unmeasured=Counter(recording.unmeasured),
        )
