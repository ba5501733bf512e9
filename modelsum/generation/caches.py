"""The caches of generated text: the library's own objects, and two more of its kind, filled on shapes.

Keys and values come from the model: a short pass with the library's dynamic cache shows what each layer
keeps, and a cache of any length and kind is filled through its own `update`, which decides what stays.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import cache_utils

from modelsum.errors import ModelError, UsageError
from modelsum.generation_values import Serving
from modelsum.raised import brief
from modelsum.trace.holders import rebuilt, tensors_held
from modelsum.trace.torch_private import below_dispatch

#: What transformers calls the cache in a forward, in its newest versions first.
ARGUMENTS = ("cache", "past_key_values", "cache_params")

_DTYPES = {"fp8": torch.float8_e4m3fn}
_BITS = {"int8": 8, "int4": 4, "int2": 2}

#: Tokens that a quantized layer of the library gathers before it quantizes them.
RESIDUAL = 128


def argument_of(model: Any) -> str | None:
    """What a model's forward calls its cache; None where it takes none."""
    taken = inspect.signature(model.forward).parameters
    return next((name for name in ARGUMENTS if name in taken), None)


def empty(model: Any, serving: Serving, tokens: int) -> Any:
    """A cache of the kind that was asked for, before anything is in it.

    Args:
        tokens: most of a sequence that it shall take.

    Raises UsageError where the library refuses such a cache for the model.
    """
    config = model.config.get_text_config(decoder=True)
    kind, _, detail = serving.cache.partition(":")
    try:
        made = _made(config, kind, detail, serving, tokens)
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise UsageError(
            f"{type(model).__name__} takes no cache of the kind {serving.cache}: {brief(error)}",
            "--cache dynamic is what transformers takes by itself."
            if serving.kv_dtype is None
            else "Give --kv-dtype fp8, or a --cache paged:16, which has elements of any dtype.",
        ) from error
    if getattr(model.config, "is_encoder_decoder", False):
        return cache_utils.EncoderDecoderCache(made, cache_utils.DynamicCache(config=config))
    return made


def _made(config: Any, kind: str, detail: str, serving: Serving, tokens: int) -> Any:
    if kind == "static":
        return cache_utils.StaticCache(config=config, max_cache_len=tokens)
    if kind == "quantized" or (kind == "dynamic" and serving.kv_dtype == "fp8"):
        cache: Any = cache_utils.QuantizedCache(backend="fp8", config=config)  # which refuses other layers
        if detail in _BITS:
            cache.layers = [Grouped(_BITS[detail]) for _ in cache.layers]
        return cache
    if kind == "dynamic" and serving.kv_dtype is not None:
        raise ValueError("the library's dynamic cache keeps the dtype of the model, or fp8")
    growing: Any = cache_utils.DynamicCache(config=config)
    if kind == "paged":
        dtype = _DTYPES.get(serving.kv_dtype or "") or getattr(torch, serving.kv_dtype or "", None)
        for place, layer in enumerate(growing.layers):
            if isinstance(layer, cache_utils.DynamicLayer):
                _refuse_states(layer)
                window = getattr(layer, "sliding_window", None)
                growing.layers[place] = Paged(int(detail), tokens, dtype, window)
    return growing


def _refuse_states(layer: Any) -> None:
    if type(layer) not in (cache_utils.DynamicLayer, cache_utils.DynamicSlidingWindowLayer):
        raise ValueError(f"a {type(layer).__name__} is in no blocks")


def filled(seen: Any, made: Any, prompt: int, new: int) -> Any:
    """A cache with the tokens of a prompt and new ones, put in as a generation does.

    Args:
        seen: the dynamic cache that a pass of the model has filled, with no more tokens than the prompt has.
        made: an empty one, of any kind; `seen` itself is not touched.
        prompt: tokens that are put in at once.
        new: tokens that are put in one by one: only then is a window cut that was read whole, and a residual
            of a quantized layer grows.
    """
    if isinstance(made, cache_utils.EncoderDecoderCache):
        own = filled(seen.self_attention_cache, made.self_attention_cache, prompt, new)
        whole = rebuilt(seen, _same)  # what is kept of the encoder stays as it is
        whole.self_attention_cache = own
        return whole
    if not hasattr(seen, "layers"):
        return rebuilt(seen, _same)  # a state, which does not grow
    alike = type(made) is type(seen) and [*map(type, made.layers)] == [*map(type, seen.layers)]
    cache = rebuilt(seen, _same) if alike else made
    last = (new - 1) % RESIDUAL + 1 if new else 0
    for layer, old in zip(cache.layers, seen.layers, strict=True):
        keys, values = getattr(old, "keys", None), getattr(old, "values", None)
        if not alike:
            _take_states(layer, old)
        if keys is None or keys.dim() != 4:
            continue
        there = old.get_seq_length() if alike else 0
        for count in (prompt - there, new - last, last - 1, min(new, 1)):
            if count > 0:
                _extend(layer, keys, values, count)
    return cache


def _read(pool: Any, states: Tensor, tokens: int) -> Tensor:
    """What attention is given of blocks: their own memory, in the shape and dtype that it computes with."""
    storage, size = pool.untyped_storage(), pool.untyped_storage().nbytes()
    given = _more(states, tokens)
    given.set_(storage, 0, given.shape, given.stride())
    storage.resize_(size)
    return given


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _extend(layer: Any, keys: Tensor, values: Any, tokens: int) -> None:
    """Put more tokens into a layer. Raises ModelError for one that takes them in another way."""
    try:
        layer.update(_more(keys, tokens), _more(values, tokens))
        if getattr(layer, "indexer_keys", None) is not None:
            indexed = layer.indexer_keys
            layer.update_indexer(indexed.new_empty((indexed.shape[0], tokens, indexed.shape[2])))
    except Exception as error:  # whatever a layer of another kind raises
        raise ModelError(f"a cache of {type(layer).__name__} cannot be filled: {brief(error)}") from error


def _more(like: Tensor, tokens: int) -> Tensor:
    return like.new_empty((*like.shape[:-2], tokens, like.shape[-1]))


def _take_states(layer: Any, old: Any) -> None:
    """States of convolutions and recurrences, which are alike in caches of any kind."""
    for name, value in vars(old).items():
        if name not in ("keys", "values", "is_initialized") and hasattr(layer, name) and _holds(value):
            setattr(layer, name, rebuilt(value, _same))


def _holds(value: Any) -> bool:
    return any(True for _ in tensors_held(value))


def storages(cache: Any) -> Iterator[Any]:
    """The storages that a cache keeps alive, each once; a view keeps all of what it is a view of."""
    seen = set()
    for tensor in tensors_held(cache):
        storage = tensor.untyped_storage()
        if tensor.is_meta and id(storage) not in seen:
            seen.add(id(storage))
            yield storage


def nbytes(cache: Any) -> int:
    """Bytes that a cache keeps alive on the device."""
    return sum(storage.nbytes() for storage in storages(cache))


# ---- kinds that the library has not


class Paged(cache_utils.DynamicLayer):
    """Blocks of so many tokens, which attention reads where they are (PagedAttention, arXiv 2309.06180).

    Nothing is copied when a sequence grows, and the last block is there whole. Here all blocks are there from
    the start; a sliding window has those that it can touch.
    """

    def __init__(self, block: int, capacity: int, dtype: torch.dtype | None, window: int | None) -> None:
        super().__init__()
        self.dtype, self.window, self.tokens = dtype, window, 0
        self.is_sliding, self.sliding_window = window is not None, window
        kept = capacity if window is None else min(capacity, window - 1 + block)
        self.room = -(-kept // block) * block

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write into blocks; what attention reads is no memory of its own."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = (
                states.new_empty((*states.shape[:-2], self.room, states.shape[-1]), dtype=self.dtype)
                for states in (key_states, value_states)
            )
        self.tokens += key_states.shape[-2]
        seen = self._visible(key_states.shape[-2])
        with below_dispatch():
            return _read(self.keys, key_states, seen), _read(self.values, value_states, seen)

    def _visible(self, new: int) -> int:
        return self.tokens if self.window is None else min(self.tokens, self.window - 1 + new)

    def get_seq_length(self) -> int:
        """Tokens of a sequence."""
        return self.tokens

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Keys that a query sees at most, and the position of the first."""
        whole = self.tokens + query_length
        if self.window is None:
            return whole, 0
        seen = min(whole, self.window - 1 + query_length)
        return seen, whole - seen


class Grouped(cache_utils.QuantizedLayer):
    """The library's quantized layer with integers in groups of 64, each with a scale and a zero point.

    As HQQ packs them: values in bytes, scale and zero in the dtype of the model. The last 128 tokens stay as
    they are (arXiv 2402.02750).
    """

    def _quantize(self, tensor: Tensor, axis: int) -> Any:  # type: ignore[override]
        groups = -(-tensor.numel() // self.q_group_size)
        packed = tensor.new_empty(-(-tensor.numel() * self.nbits // 8), dtype=torch.uint8)
        return packed, tensor.new_empty(groups), tensor.new_empty(groups), tensor.shape, tensor.dtype

    def _dequantize(self, quantized: Any) -> Tensor:
        _, scale, _, shape, dtype = quantized
        made: Tensor = scale.new_empty(shape, dtype=dtype)
        return made
