"""Arguments of single transformers models, which neither their name nor the usual entries explain.

One row a model type: the argument and what makes it, ahead of the general rules of `inputs`.
A maker that returns None leaves the argument out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from modelsum.sources.transformers.call import (
    FRAMES,
    SAMPLES,
    VIDEO_FRAMES,
    Call,
    Maker,
    channels,
    find,
    grid,
    image_size,
    left_out,
)
from modelsum.sources.transformers.patches import (
    INKLING2,
    flat_patches,
    inkling_pieces,
    molmo2_grids,
    molmo2_patches,
    molmo2_pooling,
    packed_patches,
    patch_images,
    patch_mask,
    patch_positions,
    patches_across,
    pix2struct_patches,
    pooled_patches,
    shuffled,
    tiles,
    two_grids,
)


def images(number: int) -> Maker:
    """[batch, number, channels, height, width]: several images, tiles or frames in a sample."""
    return lambda call: call.floats(number, channels(call.config), *image_size(call.config))


def sides(side: Callable[[Any], int]) -> Maker:
    """[batch, channels, side, side] with a side that the configuration implies."""
    return lambda call: call.floats(channels(call.config), side(call.config), side(call.config))


def without_cache(call: Call) -> bool:
    """The default configuration cannot make its own cache of keys and values."""
    return False


def codebooks(number: Callable[[Any], int]) -> Maker:
    """[batch, tokens, codebooks]: a token of each codebook at every step."""
    return lambda call: call.integers(call.tokens(), number(call.config), value=call.filler())


def texts_after(entry: str, number: Callable[[Call], int]) -> Maker:
    """[batch, number + tokens]: placeholders of a modality, the token of that entry, and a text."""

    def make(call: Call) -> Tensor:
        token = find(call.config, ("vlm",), entry)
        return call.batched([int(token)] * number(call) + [call.filler()] * call.tokens())

    return make


def hidden(number: int | None = None) -> Maker:
    """[batch, number or tokens, hidden size]."""
    return lambda call: call.floats(number or call.tokens(), call.config.hidden_size)


def waveform(samples: int) -> Maker:
    """[batch, 1, samples] of sound."""
    return lambda call: call.floats(1, samples)


def frames_of(features: Callable[[Any], int]) -> Maker:
    """[batch, frames, features]: a spectrogram."""
    return lambda call: call.floats(FRAMES, features(call.config))


def chunks_of(features: Callable[[Any], int], frames: int = FRAMES) -> Maker:
    """[batch, features, frames]: a spectrogram with time last."""
    return lambda call: call.floats(features(call.config), frames)


def mel_bins(config: Any) -> int:
    """Bins of a spectrogram for the audio tower of a configuration."""
    return int(find(config, ("audio",), "num_mel_bins", "feature_size"))


def flat_codebooks(number: Callable[[Any], int]) -> Maker:
    """[batch * codebooks, tokens], the codebooks of a sample one after the other."""

    def make(call: Call) -> Tensor:
        shape = (call.batch * number(call.config), call.tokens())
        return call.place(torch.zeros(shape, dtype=torch.int64))

    return make


def time_series(length: Callable[[Any], int]) -> Maker:
    """[batch, length, input channels]."""
    return lambda call: call.floats(length(call.config), call.config.num_input_channels)


def _aria_side(config: Any) -> int:
    # The projector knows how many queries go with a number of patches, and no other numbers.
    return math.isqrt(min(config.projector_patch_to_query_dict)) * int(config.vision_config.patch_size)


def _rf_detr_side(config: Any) -> int:
    # The largest image whose patches fill whole windows.
    backbone = config.backbone_config
    window = int(backbone.patch_size) * int(backbone.num_windows)
    return image_size(config)[0] // window * window


def _clap_features(call: Call) -> Tensor:
    """ClapFeatureExtractor: ten seconds at 48 kHz with hops of 480 samples, in 64 mel bins."""
    return call.floats(1, 1001, 64)


def _image_positions(call: Call) -> Tensor:
    """[batch, tokens]: 1 where Kosmos-2 puts the latent queries of its image."""
    queries = int(call.config.latent_query_num)
    return call.batched([1] * queries + [0] * (max(call.tokens(), queries) - queries))


def _kosmos_ids(call: Call) -> Tensor:
    return call.integers(max(call.tokens(), int(call.config.latent_query_num)), value=call.filler())


def _mllama_images(call: Call) -> Tensor:
    """[batch, images, tiles, channels, height, width]."""
    vision = getattr(call.config, "vision_config", call.config)
    return call.floats(1, vision.max_num_tiles, channels(vision), *image_size(vision))


def _timm_frames(call: Call) -> Tensor:
    """[batch, frames, channels, side, side], as the patch embedding of a model of timm insists on."""
    side = next(m.img_size for m in call.model.modules() if hasattr(m, "img_size"))
    return call.floats(VIDEO_FRAMES, channels(call.config), *side)


def _hop_samples(call: Call) -> Tensor:
    """[chunks]: the samples of each."""
    hop = int(find(call.config, ("audio",), "hop_length"))
    return call.place(torch.full((call.batch,), FRAMES * hop))


def _janus_side(config: Any) -> int:
    # Each level of the encoder but the last halves the image.
    return int(config.num_patches * 2 ** (len(config.channel_multiplier) - 1))


def _short_texts(number: int) -> Maker:
    """[batch * number, 8] of ones: ids or a mask."""
    return lambda call: call.place(torch.ones((call.batch * number, 8), dtype=torch.int64))


# Two classes to look for, in one task.
_OMDET: dict[str, Maker] = {
    "classes_input_ids": _short_texts(2),
    "classes_attention_mask": _short_texts(2),
    "classes_structure": lambda call: call.integers(value=2),
    "tasks_input_ids": _short_texts(1),
    "tasks_attention_mask": _short_texts(1),
}
_PE_VIDEO: dict[str, Maker] = {"pixel_values_videos": _timm_frames}
# The audio encoder of Qwen-Omni takes the frames of all sounds in a row.
_QWEN_SOUND: dict[str, Maker] = {
    "input_features": lambda call: call.unbatched(call.config.num_mel_bins, call.batch * FRAMES),
    "feature_lens": lambda call: call.integers(value=FRAMES),
}
# Its processor adds the differences between frames, and joins two frames.
_GRANITE_SPEECH5: dict[str, Maker] = {
    "input_features": frames_of(lambda config: 4 * int(find(config, ("encoder",), "num_mel_bins")))
}
_QWEN_ASR: dict[str, Maker] = {
    "input_features": chunks_of(mel_bins, 500),  # it takes multiples of 100 frames
    "input_features_mask": lambda call: call.integers(500, value=1),
}


def _seggpt(call: Call) -> tuple[int, int]:
    # The prompt stands above the image: each is half of what the model takes.
    height, width = image_size(call.config)
    return (height // 2, width)


_MLLAMA: dict[str, Maker] = {
    "pixel_values": _mllama_images,
    "aspect_ratio_ids": lambda call: call.integers(1, value=1),
    "aspect_ratio_mask": lambda call: call.integers(
        1, getattr(call.config, "vision_config", call.config).max_num_tiles, value=1
    ),
}
_SIGLIP2: dict[str, Maker] = {
    "pixel_values": flat_patches,
    "pixel_attention_mask": patch_mask,
    "spatial_shapes": patches_across,
}
_PIX2STRUCT: dict[str, Maker] = {
    "flattened_patches": pix2struct_patches,
    "attention_mask": lambda call: call.integers(2048, value=1),
}
_TILES: dict[str, Maker] = {"pixel_values": tiles}
_ONE_IMAGE: dict[str, Maker] = {"pixel_values": images(1)}
_TWO_IMAGES: dict[str, Maker] = {"pixel_values": images(2)}
_NO_CACHE: dict[str, Maker] = {"use_cache": without_cache}

SPECIAL: dict[str, dict[str, Maker]] = {
    "aria": {"pixel_values": sides(_aria_side)},
    "bamba": _NO_CACHE,
    "blt": _NO_CACHE,
    "clap": {"input_features": _clap_features},
    "clap_audio_model": {"input_features": _clap_features},
    "clvp": {"input_features": lambda call: call.floats(call.config.decoder_config.feature_size, FRAMES)},
    "colmodernvbert": _ONE_IMAGE,
    "colqwen2": {"pixel_values": lambda call: packed_patches(call).unflatten(0, (call.batch, -1))},
    "csm": {"input_values": left_out},
    "dac": {"input_values": waveform(SAMPLES)},
    "decision_transformer": {
        "states": lambda call: call.floats(call.tokens(), call.config.state_dim),
        "actions": lambda call: call.floats(call.tokens(), call.config.act_dim),
        "returns_to_go": lambda call: call.floats(call.tokens(), 1),
        "timesteps": lambda call: call.batched(range(call.tokens())),
        "input_ids": left_out,
    },
    "deepseek_vl_hybrid": {
        "high_res_pixel_values": lambda call: call.floats(
            channels(call.config), *image_size(call.config.high_res_vision_config)
        )
    },
    "depth_pro": {
        "pixel_values": sides(lambda config: round(config.patch_size / min(config.scaled_images_ratios)))
    },
    "dia": {"decoder_input_ids": codebooks(lambda config: config.decoder_config.num_channels)},
    "dia_decoder": {"input_ids": codebooks(lambda config: config.num_channels)},
    "dots3_note": {"input_features": chunks_of(mel_bins), "chunk_sample_lengths": _hop_samples},
    "dots3_note_audio_encoder": {"input_features": chunks_of(mel_bins), "chunk_sample_lengths": _hop_samples},
    "efficientloftr": _TWO_IMAGES,
    "fastspeech2_conformer_hifigan": {"spectrogram": frames_of(lambda config: config.model_in_dim)},
    "florence_vision": {
        "hidden_states": lambda call: call.floats(channels(call.config), *image_size(call.config))
    },
    "fun_asr_nano": {"input_features": frames_of(lambda config: config.audio_config.input_size)},
    "fun_asr_nano_encoder": {"input_features": frames_of(lambda config: config.input_size)},
    "fuyu": {"pixel_values": flat_patches},
    "gemma3n_audio": {
        "audio_mel": frames_of(lambda config: config.input_feat_size),
        "audio_mel_mask": lambda call: call.trues(FRAMES),
    },
    "gemma4_audio": {"input_features": frames_of(lambda config: 128)},
    "gemma4_vision": {"pixel_values": pooled_patches, "pixel_position_ids": patch_positions},
    "glm_image": {
        "image_grid_thw": two_grids,
        "input_ids": texts_after("image_token_id", lambda call: math.prod(grid(call.config))),
    },
    "granite4_vision": _TILES,
    "granite_docling": {"pixel_values": images(1), "pixel_attention_mask": lambda call: call.trues(1)},
    "granite_speech5_ctc": _GRANITE_SPEECH5,
    "granite_speech5_encoder": _GRANITE_SPEECH5,
    "granitemoehybrid": _NO_CACHE,
    "idefics": {
        "pixel_values": images(1),
        "image_attention_mask": lambda call: call.integers(call.tokens(), 1, value=1),
    },
    "idefics2": _ONE_IMAGE,
    "idefics2_perceiver": {
        "context": hidden(),
        "attention_mask": lambda call: call.integers(call.tokens(), value=1),
    },
    "idefics3": {"pixel_values": shuffled("scale_factor")},
    "inkling2": INKLING2,
    "inkling2_loop": INKLING2,
    "inkling2_vision": INKLING2,
    "inkling_mm_model": {"pixel_values": inkling_pieces},
    "inkling_vision": {"pixel_values": inkling_pieces},
    "instructblipvideo": {"pixel_values": images(4)},
    "janus_vqgan": {"pixel_values": sides(_janus_side)},
    "kimi_k25": {"pixel_values": patch_images},
    "kimi_k25_vision": {"pixel_values": patch_images},
    "kosmos-2": {"input_ids": _kosmos_ids, "image_embeds_position_mask": _image_positions},
    "kosmos-2.5": {
        "input_ids": _kosmos_ids,
        "image_embeds_position_mask": _image_positions,
        "flattened_patches": pix2struct_patches,
    },
    "kosmos_2_5_vision_model": _PIX2STRUCT,
    "kyutai_speech_to_text": {"input_ids": codebooks(lambda config: config.num_codebooks + 1)},
    "lfm2_vl": _SIGLIP2,
    "lightglue": _TWO_IMAGES,
    "llava_next": _TILES,
    "llava_next_video": _TILES,
    "llava_onevision": _TILES,
    # The Faster R-CNN of LXMERT finds 36 objects in an image.
    "lxmert": {
        "visual_feats": lambda call: call.floats(36, call.config.visual_feat_dim),
        "visual_pos": lambda call: call.floats(36, call.config.visual_pos_dim),
    },
    "mimi_decoder": {"latents": frames_of(lambda config: config.hidden_size)},
    "minicpm_ocr_vision": {"target_sizes": patches_across},
    "minicpmv4_6_vision": {"target_sizes": patches_across},
    "minicpmv4_7_vision": {"target_sizes": patches_across},
    "mllama": _MLLAMA,
    "mllama_vision_model": _MLLAMA,
    "modernvbert": _ONE_IMAGE,
    "molmo2": {
        "pixel_values": molmo2_patches,
        "image_token_pooling": molmo2_pooling,
        "image_grids": molmo2_grids,
    },
    "molmo2_vision": {"pixel_values": molmo2_patches},
    "moshi_depth": {
        "input_ids": lambda call: call.integers(call.config.num_codebooks),
        "last_hidden_state": lambda call: call.floats(1, call.config.input_size),
    },
    "moss_transcribe_diarize": {"input_ids": texts_after("audio_token_id", lambda call: 375)},
    "muse_spark": {"input_values": lambda call: call.floats(10 * 1920)},
    "muse_spark_audio": {"input_values": lambda call: call.floats(10 * 1920)},  # it takes multiples of 1920
    "musicflamingo": {"input_ids": texts_after("audio_token_id", lambda call: 750)},
    "musicgen": {"decoder_input_ids": flat_codebooks(lambda config: config.decoder.num_codebooks)},
    "musicgen_decoder": {"input_ids": flat_codebooks(lambda config: config.num_codebooks)},
    "musicgen_melody": {"decoder_input_ids": flat_codebooks(lambda config: config.decoder.num_codebooks)},
    "musicgen_melody_decoder": {"input_ids": flat_codebooks(lambda config: config.num_codebooks)},
    "nemotron_h_omni": {
        "pixel_values": packed_patches,
        "image_grid_hw": lambda call: call.batched(grid(call.config)[1:]),
    },
    "neomme": {"pixel_values": packed_patches},
    "neucodec": {"input_values": waveform(SAMPLES)},
    "omdet-turbo": _OMDET,
    "oneformer": {"task_inputs": lambda call: call.integers(call.config.task_seq_len)},
    "paddleocr_vl": {"pixel_values": patch_images},
    "paddleocr_vl_vision": {"pixel_values": lambda call: patch_images(call)[None]},
    "patchtsmixer": {"past_values": time_series(lambda config: config.context_length)},
    "patchtst": {"past_values": time_series(lambda config: config.context_length)},
    "pe_audio_video": _PE_VIDEO,
    "pe_audio_video_encoder": _PE_VIDEO,
    "pe_video": _PE_VIDEO,
    "pe_video_encoder": _PE_VIDEO,
    "perceiver": {"inputs": lambda call: call.floats(call.tokens(), call.config.d_model)},
    "phi4_multimodal_audio": {
        "hidden_states": frames_of(lambda config: config.input_size),
        "mask": lambda call: call.trues(FRAMES),
    },
    "pi0": {
        "pixel_values": images(1),
        "pixel_attention_mask": lambda call: call.trues(1),
        "action_embeds": lambda call: call.floats(
            call.config.chunk_size + 1, call.config.dit_config.hidden_size
        ),
        "input_ids": texts_after("image_token_id", lambda call: math.prod(grid(call.config))),
    },
    "pix2struct": {**_PIX2STRUCT, "input_ids": left_out},
    "pix2struct_vision_model": _PIX2STRUCT,
    "pop2piano": {"input_features": frames_of(lambda config: config.d_model), "input_ids": left_out},
    "qwen2_5_omni_audio_encoder": _QWEN_SOUND,
    "qwen2_5_omni_bigvgan": {"mel_spectrogram": lambda call: call.floats(call.config.mel_dim, FRAMES)},
    "qwen2_audio": {
        "input_ids": texts_after("audio_token_id", lambda call: 750),
        "attention_mask": lambda call: call.integers(750 + call.tokens(), value=1),
    },
    "qwen3_asr": _QWEN_ASR,
    "qwen3_asr_encoder": _QWEN_ASR,
    "qwen3_omni_moe_audio_encoder": _QWEN_SOUND,
    "qwen3_omni_moe_talker_code_predictor": {
        "input_ids": left_out,
        "inputs_embeds": hidden(),
    },
    "qwen3_omni_moe_thinker": {"input_features": chunks_of(mel_bins)},
    "rf_detr": {"pixel_values": sides(_rf_detr_side)},
    "seggpt": {
        "prompt_pixel_values": lambda call: call.floats(channels(call.config), *_seggpt(call)),
        "prompt_masks": lambda call: call.floats(channels(call.config), *_seggpt(call)),
        "pixel_values": lambda call: call.floats(channels(call.config), *_seggpt(call)),
    },
    "siglip2": _SIGLIP2,
    "siglip2_vision_model": _SIGLIP2,
    "smolvlm": {"pixel_values": shuffled("scale_factor")},
    "speech-encoder-decoder": {"input_features": left_out},
    "speecht5_hifigan": {"spectrogram": frames_of(lambda config: config.model_in_dim)},
    "superglue": _TWO_IMAGES,
    "timesfm": {
        "past_values": lambda call: call.floats(call.config.context_length),
        "past_values_padding": lambda call: call.integers(call.config.context_length),
        "freq": lambda call: call.integers(1),
    },
    "timesfm2_5": {
        "past_values": lambda call: call.floats(call.config.context_length),
        "past_values_padding": lambda call: call.integers(call.config.context_length),
    },
    "tvp": {
        "pixel_values": lambda call: call.floats(
            call.config.num_frames, 3, call.config.max_img_size, call.config.max_img_size
        )
    },
    "ultravbert": _ONE_IMAGE,
    "univnet": {"input_features": frames_of(lambda config: config.num_mel_bins)},
    "vibevoice_acoustic_tokenizer": {"input_values": waveform(SAMPLES)},
    "vibevoice_acoustic_tokenizer_decoder": {
        "hidden_states": lambda call: call.floats(call.config.hidden_size, 8)
    },
    "vibevoice_acoustic_tokenizer_encoder": {"hidden_states": waveform(SAMPLES)},
    "voxtral_realtime": {"input_ids": lambda call: call.integers(FRAMES // 8, value=call.filler())},
    # X-CLIP's vision model takes the frames of all videos as one batch.
    "xclip_vision_model": {
        "pixel_values": lambda call: call.unbatched(
            call.batch * call.config.num_frames, channels(call.config), *image_size(call.config)
        )
    },
    "xcodec": {"input_values": waveform(SAMPLES)},
    # Its two encoders have to make the same number of frames: 320 samples each.
    "xcodec2": {
        "input_values": waveform(SAMPLES),
        "input_features": lambda call: call.floats(SAMPLES // 320, 160),
        "input_features_mask": lambda call: call.trues(SAMPLES // 320),
    },
    "xmod": {"lang_ids": lambda call: call.integers()},
}
