"""What serving a language model takes: what is asked for, and the answer as plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from modelsum.errors import UsageError, valid_words
from modelsum.memory_values import Peak
from modelsum.plain import plain_fields
from modelsum.printing import Printed
from modelsum.summary import SCHEMA_VERSION, Model

#: Formats of weights, as their libraries call them.
WEIGHTS = ("float32", "float16", "bf16", "fp8", "int8", "int4", "nf4", "awq", "gptq", "mxfp4")
CACHES = ("dynamic", "static", "paged:BLOCK", "quantized:DTYPE")
#: What the elements of a quantized cache are.
QUANTIZED = ("int8", "int4", "int2", "fp8")
KV_DTYPES = ("float32", "float16", "bfloat16", "fp8")

_KV_WORDS = {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float8": "fp8"}
_WEIGHT_WORDS = {"bfloat16": "bf16", "fp16": "float16", "half": "float16", "fp32": "float32", "bnb": "nf4"}


@dataclass(frozen=True, slots=True)
class Serving:
    """How a text is generated.

    Attributes:
        prompt: tokens of each sequence that are there at the start.
        new: tokens that are written after them. The last one is never put into the cache.
        batch: sequences that are written at the same time.
        cache: "dynamic" (the library's own, that grows by a copy), "static" (of full length at once),
            "paged:BLOCK" (blocks of so many tokens, as servers have), "quantized:" with one of `QUANTIZED`.
        kv_dtype: of the elements of a cache, where it is not that of the model.
        weights: of `WEIGHTS`; None for what the configuration says.

    Raises UsageError for a word that is none of those, and for numbers below 1.
    """

    prompt: int = 1024
    new: int = 256
    batch: int = 1
    cache: str = "dynamic"
    kv_dtype: str | None = None
    weights: str | None = None

    def __post_init__(self) -> None:
        for name in ("prompt", "new", "batch"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise UsageError(f"{name} {value!r} is not a positive whole number", "Write 1 or more.")
        if not isinstance(self.cache, str):
            raise UsageError(f"cache {self.cache!r} is not known", valid_words("", CACHES))
        kind, _, detail = self.cache.partition(":")
        if kind not in ("dynamic", "static", "paged", "quantized") or (
            detail and kind in ("dynamic", "static")
        ):
            raise UsageError(f"cache {self.cache!r} is not known", valid_words(self.cache, CACHES))
        if kind == "paged" and not (detail.isdecimal() and int(detail)):
            raise UsageError(f"cache {self.cache!r} names no size of a block", "Write paged:16.")
        if kind == "quantized" and detail not in QUANTIZED:
            raise UsageError(f"cache {self.cache!r} is of an unknown dtype", valid_words(detail, QUANTIZED))
        if self.kv_dtype is not None:
            self._read("kv_dtype", _KV_WORDS, KV_DTYPES)
            if kind not in ("paged", "dynamic"):
                raise UsageError(f"kv_dtype is given, and the cache is {self.cache}", "Give one of them.")
        if self.weights is not None:
            self._read("weights", _WEIGHT_WORDS, WEIGHTS)

    def _read(self, name: str, other_words: Mapping[str, str], valid: tuple[str, ...]) -> None:
        given = str(getattr(self, name)).removeprefix("torch.")
        word = other_words.get(given, given)
        if word not in valid:
            raise UsageError(f"{name} {given!r} is not known", valid_words(given, valid))
        object.__setattr__(self, name, word)

    @property
    def words(self) -> str:
        """What is written and with what cache, in words."""
        batch = "" if self.batch == 1 else f" in {self.batch} sequences"
        kept = f"{self.cache} cache{f' in {self.kv_dtype}' if self.kv_dtype else ''}"
        weights = f", weights in {self.weights}" if self.weights else ""
        return f"{self.prompt} tokens and {self.new} new ones{batch}, {kept}{weights}"

    @property
    def context(self) -> int:
        """Tokens of a sequence at the end."""
        return self.prompt + self.new

    @property
    def cached(self) -> int:
        """Tokens in the cache after the last decode step; at least one such step is looked at."""
        return self.prompt + max(self.new - 1, 1)


#: What is known of a generation in a summary, a report and the limits of a check.
FIGURES = (
    *("weights_bytes", "cache_bytes", "cache_bytes_per_token", "prefill_peak_bytes", "decode_peak_bytes"),
    *("prefill_macs", "decode_macs", "decode_read_bytes"),
)


@dataclass(frozen=True, slots=True)
class Stored:
    """The weights as they lie in memory.

    Attributes:
        words: their format, for a reader.
        bytes: of all parameters and buffers.
        params: elements of the model's own parameters, whatever their format.
        parts: bytes by what they are: "int4 values", "scales", "bfloat16 embeddings" ...
        kept: modules that the format leaves as they are, and why.
    """

    words: str
    bytes: int
    params: int
    parts: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Phase:
    """A pass of the model: the prefill, or one decode step.

    Attributes:
        tokens: of each sequence that it computes.
        cached: tokens of each sequence that are in the cache afterwards.
        macs: multiply-accumulates of the whole batch.
        read_bytes: bytes of weights and cache that its ops read, each once: of an embedding the rows.
        peak: of live tensors; its parts are weights, cache and activations.
        reserved_bytes: what the CUDA caching allocator takes for it; None for the CPU.
        process_bytes: least and most that the process takes on the device, or None.
    """

    tokens: int
    cached: int
    macs: int
    read_bytes: int
    peak: Peak
    reserved_bytes: int | None = None
    process_bytes: tuple[int, int] | None = None

    @property
    def need_bytes(self) -> int:
        """What has to fit: for CUDA the whole process, at most; for the CPU the live tensors."""
        return self.process_bytes[1] if self.process_bytes else self.peak.bytes


@dataclass(frozen=True, slots=True)
class Room:
    """Memory to fit into, and how much of it is filled.

    Attributes:
        words: a card, or a size.
        bytes: so many.
        bandwidth: bytes a second that a card's memory gives, or None.
        longest_context: most tokens of a sequence, prompt and new ones, with the batch that was asked for;
            None where not even the shortest fits.
        context_limit: what ends it: "memory" or "positions".
        most_sequences: largest batch with the context that was asked for; None where not even one fits.
    """

    words: str
    bytes: int
    bandwidth: int | None = None
    longest_context: int | None = None
    context_limit: str = "memory"
    most_sequences: int | None = None


@dataclass(frozen=True, slots=True)
class Generation(Printed):
    """What writing a text takes, from shapes.

    Attributes:
        model: which model.
        dtype: of what its weights are computed in.
        target: "cuda" or "cpu".
        serving: what was asked for.
        positions: tokens that the model has positions for, or None.
        weights: as they lie in memory.
        cache_bytes: of the library's cache after the last step, all sequences and layers.
        cache_bytes_per_token: by which it grows with a token of one sequence.
        cache_state_bytes: of them, of one sequence, what does not grow: windows that are full, states.
        prefill, decode: the pass over the prompt, and the last step with a full cache.
        room: the memory that was named, and what fits into it.
        unmeasured: as `modelsum.memory.Memory.unmeasured`; where there are some, the peaks are lower bounds.
        predictions: passes that were followed.
    """

    DERIVED: ClassVar = (
        *("weights_bytes", "prefill_peak_bytes", "decode_peak_bytes", "peak_bytes", "peak_phase"),
        *("prefill_macs", "decode_macs", "decode_read_bytes", "longest_context", "most_sequences", "fits"),
        *("bound", "least_seconds_per_token"),
    )

    model: Model
    dtype: str
    target: str
    serving: Serving
    positions: int | None
    weights: Stored
    cache_bytes: int
    cache_bytes_per_token: int
    cache_state_bytes: int
    prefill: Phase
    decode: Phase
    room: Room | None = None
    assumptions: Mapping[str, str] = field(default_factory=dict)
    unmeasured: Mapping[str, int] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    predictions: int = 0
    made_with: Mapping[str, str] = field(default_factory=dict)

    @property
    def weights_bytes(self) -> int:
        """Bytes of the weights in their format."""
        return self.weights.bytes

    @property
    def prefill_peak_bytes(self) -> int:
        """Most live bytes while the prompt is read."""
        return self.prefill.peak.bytes

    @property
    def decode_peak_bytes(self) -> int:
        """Most live bytes of the last step."""
        return self.decode.peak.bytes

    @property
    def peak_bytes(self) -> int:
        """The larger of both."""
        return max(self.prefill_peak_bytes, self.decode_peak_bytes)

    @property
    def peak_phase(self) -> str:
        """ "prefill" or "decode"."""
        return "prefill" if self.prefill_peak_bytes >= self.decode_peak_bytes else "decode"

    @property
    def prefill_macs(self) -> int:
        """Multiply-accumulates of the prompt."""
        return self.prefill.macs

    @property
    def decode_macs(self) -> int:
        """Multiply-accumulates of the last step: a token of each sequence."""
        return self.decode.macs

    @property
    def decode_read_bytes(self) -> int:
        """Bytes that the last step reads."""
        return self.decode.read_bytes

    @property
    def need_bytes(self) -> int:
        """What has to fit."""
        return max(self.prefill.need_bytes, self.decode.need_bytes)

    @property
    def fits(self) -> bool | None:
        """Whether that fits the memory that was named; None where none was."""
        return None if self.room is None else self.need_bytes <= self.room.bytes

    @property
    def longest_context(self) -> int | None:
        """Most tokens of a sequence that fit, with the batch that was asked for."""
        return self.room.longest_context if self.room else None

    @property
    def most_sequences(self) -> int | None:
        """The largest batch that fits, with the context that was asked for."""
        return self.room.most_sequences if self.room else None

    @property
    def least_seconds_per_token(self) -> float | None:
        """A bound: no step is faster than reading what it reads, by the card's bandwidth."""
        if self.room is None or not self.room.bandwidth:
            return None
        return self.decode_read_bytes / self.room.bandwidth

    @property
    def bound(self) -> str:
        """ "lower" where the peaks are at least so much, "exact" where they are what a pass takes."""
        return "lower" if self.unmeasured else "exact"

    @property
    def figures(self) -> dict[str, int]:
        """Those of `FIGURES`, by name."""
        return {name: getattr(self, name) for name in FIGURES}

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values, schema version 1."""
        return {"schema_version": SCHEMA_VERSION, "kind": "generation", **plain_fields(self)}
