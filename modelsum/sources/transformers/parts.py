"""Arguments of transformers models that are a part of a larger one: what the rest of it hands to them.

One row a model type, as in `special`. The sizes are those that the whole model has in its own
default configuration, for its own default input.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import torch
from torch import Tensor

from modelsum.sources.transformers.call import FRAMES, Call, Maker, find, image_size, left_out, patch_size

#: Tokens of a prompt that a detector is asked with.
_PROMPT = 32
#: Bytes in a patch of the Byte Latent Transformer, about its average (Pagnoni et al. 2024, section 2).
_BYTES_A_PATCH = 4
#: Passages that RAG retrieves, and their length in tokens.
_PASSAGE = 128


def part(*sizes: int | str) -> Maker:
    """[batch, *sizes]: numbers, or entries of the configuration by their names."""
    return lambda call: call.floats(*_numbers(call, sizes))


def ids(*sizes: int | str, value: int = 0) -> Maker:
    """As `part`, of int64, the same value everywhere."""
    return lambda call: call.integers(*_numbers(call, sizes), value=value)


def texts(width: str) -> Maker:
    """[batch, tokens, an entry of the configuration]."""
    return lambda call: call.floats(call.tokens(), int(getattr(call.config, width)))


def _numbers(call: Call, sizes: tuple[int | str, ...]) -> list[int]:
    return [size if isinstance(size, int) else int(getattr(call.config, size)) for size in sizes]


# ---- queries and patches


# BLIP-2: 32 queries; a ViT of 14 x 14 patches at 224 pixels gives 256 of them and a class token.
_QFORMER: dict[str, Maker] = {
    "query_embeds": part(32, "hidden_size"),
    "encoder_hidden_states": part(257, "encoder_hidden_size"),
}


def _patch_ids(call: Call) -> Tensor:
    return call.batched([position // _BYTES_A_PATCH for position in range(call.tokens())])


_BLT_DECODER: dict[str, Maker] = {
    "input_ids": left_out,
    "inputs_embeds": texts("hidden_size"),
    "patch_embeds": lambda call: call.floats(
        math.ceil(call.tokens() / _BYTES_A_PATCH), call.config.hidden_size_global
    ),
}


def _grid_of_patches(call: Call) -> Tensor:
    side = image_size(call.config)[0] // patch_size(call.config)
    return call.floats(call.config.hidden_size, side, side)


# ---- the parts of SAM 3


# An image of 1008 pixels in patches of 14; the neck adds two finer levels.
_SAM3_SIDE = 72
_TEXT_FEATURES = part(_PROMPT, "hidden_size")
_SAM3_FEATURES = part(_SAM3_SIDE**2, "hidden_size")


def _sam3_levels(*sides: int) -> Maker:
    """A list of [batch, hidden size, side, side]."""
    return lambda call: [call.floats(call.config.hidden_size, side, side) for side in sides]


_SAM3_ENCODER: dict[str, Maker] = {
    "vision_features": _sam3_levels(_SAM3_SIDE),
    "vision_pos_embeds": _sam3_levels(_SAM3_SIDE),
    "text_features": _TEXT_FEATURES,
}
_SAM3_DECODER: dict[str, Maker] = {
    "vision_features": _SAM3_FEATURES,
    "vision_pos_encoding": _SAM3_FEATURES,
    "text_features": _TEXT_FEATURES,
    "spatial_shapes": lambda call: call.place(torch.tensor([[_SAM3_SIDE, _SAM3_SIDE]])),
}
_SAM3_MASKS: dict[str, Maker] = {
    "decoder_queries": part(200, "hidden_size"),
    "backbone_features": _sam3_levels(4 * _SAM3_SIDE, 2 * _SAM3_SIDE, _SAM3_SIDE),
    "encoder_hidden_states": _SAM3_FEATURES,
    "prompt_features": _TEXT_FEATURES,
}


# ---- videos with prompts


def _new_session(call: Call) -> Any:
    """What keeps the state of a video, with one frame."""
    module = inspect.getmodule(type(call.model))
    kind = next(v for k, v in vars(module).items() if k.endswith("VideoInferenceSession"))
    height, width = image_size(call.config)
    return kind(
        video=call.unbatched(1, 3, height, width),
        video_height=height,
        video_width=width,
        inference_device=call.device,
        inference_state_device=call.device,
        video_storage_device=call.device,
        dtype=call.model.dtype,
    )


def _session(call: Call) -> Any:
    """A video with a point on its frame, for one object."""
    session = _new_session(call)
    middle = session.video_height / 2
    point = {
        "point_coords": call.place(torch.full((1, 1, 1, 2), middle)),
        "point_labels": call.place(torch.ones((1, 1, 1), dtype=torch.int32)),
    }
    session.add_point_inputs(session.obj_id_to_idx(1), 0, point)
    session.obj_with_new_inputs = [1]
    return session


def _prompted_session(call: Call) -> Any:
    """The same with a text that says what to look for."""
    session = _new_session(call)
    prompt = session.add_prompt("a thing")
    session.prompt_input_ids[prompt] = call.place(torch.ones((1, _PROMPT), dtype=torch.int64))
    session.prompt_attention_masks[prompt] = call.place(torch.ones((1, _PROMPT), dtype=torch.int64))
    return session


_VIDEO: dict[str, Maker] = {"inference_session": _session, "frame_idx": lambda call: 0}


# ---- speech


def _codes(call: Call) -> Tensor:
    """[batch, codes] that stand for FRAMES frames of a spectrogram."""
    return call.integers(FRAMES // int(find(call.config, ("dit",), "repeats")))


def _vocoder(*sizes: int | str) -> Maker:
    """[batch, *sizes] for the whole of code2wav or for its first half, whose configuration has them."""

    def make(call: Call) -> Tensor:
        config = getattr(call.config, "dit_config", call.config)
        return call.floats(*(s if isinstance(s, int) else int(getattr(config, s)) for s in sizes))

    return make


def _time_condition(call: Call) -> Tensor:
    """[1, 1, hidden size]: the embedded delay between the sound and its text."""
    return call.unbatched(1, 1, call.config.hidden_size)


# ---- texts


def _shared_keys(call: Call) -> dict[str, tuple[Tensor, Tensor]]:
    """The keys and values that the model which is assisted shares, for each kind of attention."""
    shared = {}
    for layer in call.model.model.layers:
        attention = layer.self_attn
        width = attention.head_dim
        heads = attention.config.num_attention_heads // attention.num_key_value_groups
        keys, values = (call.floats(heads, call.tokens(), width) for _ in range(2))
        shared[attention.layer_type] = (keys, values)
    return shared


# Heavy atoms of an amino acid, about their average.
_ATOMS = 8


def _residues(dtype: torch.dtype = torch.int64, value: int = 0) -> Maker:
    """[batch, tokens], the same for every residue of a chain."""
    return lambda call: call.place(torch.full((call.batch, call.tokens()), value, dtype=dtype))


def _atoms(call: Call) -> Any:
    """The atoms of a chain, each with its residue."""
    kind = inspect.getmodule(type(call.model)).EsmFold2AtomInputs  # type: ignore[union-attr]
    number = call.tokens() * _ATOMS
    residue = call.batched([atom // _ATOMS for atom in range(number)])
    return kind(
        ref_pos=call.floats(number, 3),
        ref_charge=call.floats(number),
        atom_attention_mask=call.trues(number),
        ref_element=call.integers(number, value=6),
        ref_atom_name_chars=call.integers(number, 4),
        ref_space_uid=residue,
        atom_to_token=residue,
    )


def _positions(call: Call) -> Tensor:
    """[batch, tokens]: 0, 1, 2, ..."""
    return call.batched(range(call.tokens()))


# A protein of one chain.
_ESMFOLD2: dict[str, Maker] = {
    "token_index": _positions,
    "residue_index": _positions,
    **dict.fromkeys(("asym_id", "sym_id", "entity_id", "mol_type"), _residues()),
    "res_type": _residues(value=2),
    "token_bonds": lambda call: call.floats(call.tokens(), call.tokens(), 1),
    "attention_mask": _residues(torch.bool, 1),
    "atom_inputs": _atoms,
    "input_ids": _residues(value=5),
}


def _retrieved(call: Call) -> Tensor:
    """[batch * documents, tokens]."""
    shape = (call.batch * int(call.config.n_docs), _PASSAGE)
    return call.place(torch.ones(shape, dtype=torch.int64))


PARTS: dict[str, dict[str, Maker]] = {
    "blip_2_qformer": _QFORMER,
    "blt_local_decoder": _BLT_DECODER,
    "blt_local_encoder": {
        "patch_ids": _patch_ids,
        "num_patches": lambda call: math.ceil(call.tokens() / _BYTES_A_PATCH),
    },
    "deepseek_ocr2_encoder": {"inputs_embeds": part(512, "hidden_size"), "num_patches": lambda call: 256},
    "dia_decoder": {"encoder_hidden_states": texts("cross_hidden_size")},
    "edgetam_video": _VIDEO,
    "esmfold2": _ESMFOLD2,
    "gemma4_unified_assistant": {
        "input_ids": left_out,
        "inputs_embeds": lambda call: call.floats(1, call.model.pre_projection.in_features),
        "shared_kv_states": _shared_keys,
        "position_ids": lambda call: call.integers(1, value=call.tokens()),
    },
    "inkling_audio": {"audio_input_ids": ids(FRAMES, "n_mel_bins")},
    "instructblip_qformer": _QFORMER,
    "instructblipvideo_qformer": _QFORMER,
    # One question with two options; marks are the tokens at which questions end.
    "jev": {"marks": ids(1, value=1), "num_options": ids(1, value=2), "question_type_ids": ids(1)},
    "molmo2_adapter": {
        "image_features": lambda call: call.unbatched(
            1, 27 * 27, call.config.hidden_size * len(call.config.vision_feature_layer)
        ),
        "pooled_patches_idx": lambda call: call.place(torch.zeros((14 * 14, 4), dtype=torch.int64)),
    },
    "muse_glimmer_assistant": {
        "noise_embeds": part("block_size", "hidden_size"),
        "context_hidden_states": lambda call: call.floats(
            call.tokens(), call.config.hidden_size * len(call.config.target_layer_ids)
        ),
    },
    "pocket_tts_audio_tokenizer_decoder": {"latents": part("hidden_size", 64)},
    "qwen2_5_omni_dit": {
        "hidden_states": _vocoder(FRAMES, "mel_dim"),
        "condition_vector": _vocoder(FRAMES, "mel_dim"),
        "speaker_embedding": _vocoder(FRAMES, "enc_emb_dim"),
        "quantized_code": _codes,
        "time_step": lambda call: call.place(torch.zeros(())),
    },
    "qwen2_5_omni_token2wav": {
        "code": _codes,
        "conditioning": _vocoder("enc_emb_dim"),
        "reference_mel": _vocoder(FRAMES, "mel_dim"),
    },
    "rag": {
        "context_input_ids": _retrieved,
        "context_attention_mask": _retrieved,
        "doc_scores": part("n_docs"),
    },
    "sam2_video": _VIDEO,
    "sam3_detr_decoder": _SAM3_DECODER,
    "sam3_detr_encoder": _SAM3_ENCODER,
    "sam3_lite_text_detr_decoder": _SAM3_DECODER,
    "sam3_lite_text_detr_encoder": _SAM3_ENCODER,
    "sam3_lite_text_mask_decoder": _SAM3_MASKS,
    "sam3_mask_decoder": _SAM3_MASKS,
    "sam3_tracker_video": _VIDEO,
    "sam3_video": _VIDEO | {"inference_session": _prompted_session},
    "speecht5": {
        "input_values": part(FRAMES, "hidden_size"),
        "decoder_input_values": part(FRAMES, "hidden_size"),
    },
    "unlimited_ocr_vision_encoder": {"patch_embeds": _grid_of_patches},
    "voxtral_realtime_text": {"t_cond": _time_condition},
}
