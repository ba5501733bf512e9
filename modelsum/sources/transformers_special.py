"""Arguments of single transformers models, which neither their name nor the configuration's usual entries explain.

One row a model type: the argument and what makes it, ahead of the general rules of `transformers_inputs`.
A maker that returns None leaves the argument out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from modelsum.sources.transformers_call import FRAMES, Call, channels, image_size, patch_size

Maker = Callable[[Call], Any]


def images(number: int) -> Maker:
    """[batch, number, channels, height, width]: several images, tiles or frames in a sample."""
    return lambda call: call.floats(number, channels(call.config), *image_size(call.config))


def sides(side: Callable[[Any], int]) -> Maker:
    """[batch, channels, side, side] with a side that the configuration implies."""
    return lambda call: call.floats(channels(call.config), side(call.config), side(call.config))


def left_out(call: Call) -> None:
    """Not given."""


def without_cache(call: Call) -> bool:
    """The default configuration cannot make its own cache of keys and values."""
    return False


def codebooks(number: Callable[[Any], int]) -> Maker:
    """[batch, tokens, codebooks]: a token of each codebook at every step."""
    return lambda call: call.integers(call.tokens(), number(call.config), value=call.filler())


def flat_patches(call: Call) -> Tensor:
    """[batch, patches, values of a patch]."""
    height, width = image_size(call.config)
    patch = patch_size(call.config)
    return call.floats((height // patch) * (width // patch), channels(call.config) * patch**2)


def _aria_side(config: Any) -> int:
    # The projector knows how many queries go with a number of patches, and no other numbers.
    return math.isqrt(min(config.projector_patch_to_query_dict)) * int(config.vision_config.patch_size)


def _clap_features(call: Call) -> Tensor:
    """ClapFeatureExtractor: ten seconds at 48 kHz with hops of 480 samples, in 64 mel bins."""
    return call.floats(1, 1001, 64)


def _queries(number: int) -> Maker:
    return lambda call: call.floats(number, call.config.hidden_size)


SPECIAL: dict[str, dict[str, Maker]] = {
    "aria": {"pixel_values": sides(_aria_side)},
    "bamba": {"use_cache": without_cache},
    "blip_2_qformer": {"query_embeds": _queries(32)},
    "blt": {"use_cache": without_cache},
    "clap": {"input_features": _clap_features},
    "clap_audio_model": {"input_features": _clap_features},
    "clvp": {"input_features": lambda call: call.floats(call.config.decoder_config.feature_size, FRAMES)},
    "colmodernvbert": {"pixel_values": images(1)},
    "csm": {"input_values": left_out},
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
    "efficientloftr": {"pixel_values": images(2)},
    "fastspeech2_conformer_hifigan": {
        "spectrogram": lambda call: call.floats(FRAMES, call.config.model_in_dim)
    },
    "fuyu": {"pixel_values": flat_patches},
    "gemma3n_audio": {
        "audio_mel": lambda call: call.floats(FRAMES, call.config.input_feat_size),
        "audio_mel_mask": lambda call: call.trues(FRAMES),
    },
    "granitemoehybrid": {"use_cache": without_cache},
    "idefics": {
        "pixel_values": images(1),
        "image_attention_mask": lambda call: call.integers(call.tokens(), 1, value=1),
    },
    "idefics2": {"pixel_values": images(1)},
    "idefics2_perceiver": {
        "context": lambda call: call.floats(call.tokens(), call.config.hidden_size),
        "attention_mask": lambda call: call.integers(call.tokens(), value=1),
    },
    "idefics3": {"pixel_values": images(1)},
    "instructblip_qformer": {"query_embeds": _queries(32)},
    "instructblipvideo_qformer": {"query_embeds": _queries(32)},
    "lightglue": {"pixel_values": images(2)},
    "modernvbert": {"pixel_values": images(1)},
    "smolvlm": {"pixel_values": images(1)},
    "speecht5_hifigan": {"spectrogram": lambda call: call.floats(FRAMES, call.config.model_in_dim)},
    "superglue": {"pixel_values": images(2)},
}
