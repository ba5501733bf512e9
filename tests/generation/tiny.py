"""Small configurations of types that write, one of every kind of cache, and a real generation of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modelsum.trace.real.meters import CpuMeter, Mark, storage_bytes

_SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 512}
_DECODER = {**_SIZES, "intermediate_size": 96, "num_key_value_heads": 2, "max_position_embeddings": 256}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_LATENT = {
    **_DECODER, "num_key_value_heads": 4, "q_lora_rank": 24, "kv_lora_rank": 16, "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16, "v_head_dim": 16, "n_routed_experts": 4, "n_group": 1, "topk_group": 1,
    "num_experts_per_tok": 2, "first_k_dense_replace": 1, "moe_intermediate_size": 32,
}  # fmt: skip
_STATES = {"mamba_d_state": 8, "mamba_n_heads": 4, "mamba_d_head": 32, "mamba_expand": 2, "mamba_n_groups": 1}

#: What `transformers/TYPE` is built with.
TYPES: dict[str, dict[str, Any]] = {
    "llama": _DECODER,
    "qwen2": {**_DECODER, "tie_word_embeddings": True},
    "qwen3": {**_DECODER, "head_dim": 32},
    "mistral": {**_DECODER, "sliding_window": 16},
    "gemma2": {**_DECODER, "sliding_window": 16, "head_dim": 16},
    "gemma3_text": {**_DECODER, "sliding_window": 16, "head_dim": 16, "num_hidden_layers": 7},
    "cohere2": {**_DECODER, "sliding_window": 16, "num_hidden_layers": 4},
    "phi3": {**_DECODER, "pad_token_id": 0},
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128, "vocab_size": 512},
    "gpt_neox": {**_SIZES, "intermediate_size": 96, "max_position_embeddings": 128},
    "gpt_bigcode": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128, "vocab_size": 512},
    "falcon": {**_SIZES, "multi_query": True},
    "bloom": {"hidden_size": 64, "n_layer": 2, "n_head": 4, "vocab_size": 512},
    "opt": {**_SIZES, "ffn_dim": 96, "word_embed_proj_dim": 64, "max_position_embeddings": 128},
    "mixtral": {**_DECODER, "num_local_experts": 4},
    "qwen3_moe": {**_DECODER, **_EXPERTS},
    "deepseek_v3": _LATENT,
    "gpt_oss": {**_DECODER, "num_local_experts": 4, "head_dim": 16, "sliding_window": 16},
    "mamba": {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 512, "state_size": 8},
    "mamba2": {
        "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 512, "num_heads": 4, "head_dim": 32,
        "state_size": 8, "n_groups": 1, "chunk_size": 8,
    },
    "falcon_h1": {**_DECODER, **_STATES, "mamba_d_ssm": 128, "mamba_chunk_size": 8},
    "bamba": {**_DECODER, **_STATES, "attn_layer_indices": [1], "mamba_chunk_size": 8},
    "lfm2": {**_DECODER, "full_attn_idxs": [1]},
    "qwen3_next": {
        **_DECODER, **_EXPERTS, "head_dim": 16, "num_hidden_layers": 4, "linear_num_value_heads": 4,
        "linear_num_key_heads": 2, "linear_key_head_dim": 16, "linear_value_head_dim": 16,
        "shared_expert_intermediate_size": 32,
    },
    "t5": {"d_model": 64, "num_layers": 2, "num_heads": 4, "d_kv": 16, "d_ff": 96, "vocab_size": 512},
    "bart": {
        "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "vocab_size": 512,
        "max_position_embeddings": 128,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Real:
    """What a real generation on the CPU took."""

    cache: int
    prefill_peak: int
    decode_peak: int


def really(model: Any, prompt: int, new: int, batch: int = 1) -> Real:
    """Write with the library's own cache, greedily, as `generate` does; the last step is the one measured."""
    from transformers import DynamicCache, EncoderDecoderCache

    model.eval()
    config = model.config.get_text_config(decoder=True)
    apart = model.config.is_encoder_decoder
    ids = torch.ones((batch, prompt), dtype=torch.int64)
    start = torch.ones((batch, 1), dtype=torch.int64)
    peaks: dict[str, int] = {}

    def passes(mark: Mark) -> Any:
        cache: Any = DynamicCache(config=config)
        if apart:
            cache = EncoderDecoderCache(cache, DynamicCache(config=config))
        given: dict[str, Any] = (
            {"input_ids": ids, "decoder_input_ids": start} if apart else {"input_ids": ids}
        )
        encoded = None
        for step in range(new):
            with mark("prefill" if step == 0 else "decode" if step == new - 1 else "between"):
                output = model(**given, cache=cache, use_cache=True, **keep)
                token = output.logits[:, -1].to(torch.float32, copy=True).argmax(-1, keepdim=True)
            encoded = output.encoder_last_hidden_state if apart and step == 0 else encoded
            given = (
                {"decoder_input_ids": token, "encoder_outputs": (encoded,)} if apart else {"input_ids": token}
            )
            del output
        return cache

    keep = {} if apart else {"logits_to_keep": 1}
    there: tuple[Tensor, ...] = (*model.parameters(), *model.buffers(), ids, *((start,) if apart else ()))
    caches: list[Any] = []
    with torch.no_grad():
        passes(lambda phase: torch.profiler.record_function(phase))  # kernels may set themselves up at first
        peaks.update(CpuMeter().peaks(there, lambda mark: caches.append(passes(mark))))
    return Real(_held(caches[0]), peaks["prefill"], peaks["decode"])


def _held(cache: Any) -> int:
    from modelsum.trace.holders import tensors_held

    return storage_bytes(tensors_held(cache))
