"""Why a model type of transformers has no numbers in its default configuration.

`LIBRARY` says what is wrong with a default configuration; it is not believed: the sweep looks for evidence
outside of modelsum. `DATA_DEPENDENT` says which computed values a forward reads; the row has the place.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from typing import Any

import torch

META = torch.device("meta")


@dataclass(frozen=True)
class Broken:
    """What is wrong with a default configuration.

    Attributes:
        why: in words.
        holds: a Python expression of `config` that is true while it is so; None where the forward on plain
            torch, with the same inputs, has to end with the same error.
    """

    why: str
    holds: str | None = None


_NO_IMAGE_TOKEN = Broken("it names no image token", "config.image_token_id is None")
_SHUFFLE = Broken(
    "its 14 x 14 patches cannot be merged 4 x 4",
    "(config.vision_config.image_size // config.vision_config.patch_size) % config.pixel_shuffle_factor",
)
_POOLING = Broken(
    "14 x 14 patches cannot be pooled to 16 x 16 tokens",
    "config.vision_config.image_size // config.vision_config.patch_size < config.mm_tokens_per_image ** 0.5",
)
_SECTIONS = Broken(
    "the sections of its rotary embedding do not add up to the frequencies of a head",
    "text.hidden_size // text.num_attention_heads * text.rope_parameters.get('partial_rotary_factor', 1) / 2"
    " != sum(text.rope_parameters.get('mrope_section', [8, 12, 12]))",
)
_QFORMER = Broken(
    "its Q-Former takes features of another width than the audio encoder's",
    "config.projector_config.encoder_hidden_size != config.encoder_config.hidden_dim",
)
_LLAMA4 = Broken("its vision adapter takes features of another width than the pixel shuffle makes")
_SLIDING = Broken("it has layers of sliding attention and no sliding_window", "text.sliding_window is None")
_BACKBONE = Broken("the neck takes other channels than its default backbone makes")

_VOCABULARY = Broken(
    "the token that stands for an image is outside the vocabulary of its text model",
    "config.image_token_id >= text.vocab_size",
)

#: Where the features of a modality are not as wide as the text model, which the sweep compares itself.
WIDTHS = Broken("features of another modality are not as wide as the text model")

LIBRARY: dict[str, Broken] = {
    "blip-2": _NO_IMAGE_TOKEN,
    "colmodernvbert": Broken(
        _SHUFFLE.why,
        str(_SHUFFLE.holds)
        .replace("config.vision", "config.vlm_config.vision")
        .replace("% config", "% config.vlm_config"),
    ),
    "deepseek_ocr2_vision": Broken("its encoder is not as wide as its SAM encoder"),
    "deepseek_v2": Broken("num_experts_per_tok is None"),
    "edgetam": Broken("the architecture of its backbone is misspelt (archirecture): timm's default is built"),
    "edgetam_vision_model": Broken(
        "the architecture of its backbone is misspelt (archirecture): timm's default is built"
    ),
    "gemma3": _POOLING,
    "glm46v": _SECTIONS,
    "glm4v": _SECTIONS,
    "glm4v_moe": _SECTIONS,
    "glm4v_moe_text": _SECTIONS,
    "glm4v_text": _SECTIONS,
    "glm_image": _SECTIONS,
    "glm_image_text": _SECTIONS,
    "glmga": _SECTIONS,
    "granite_speech": _QFORMER,
    "granite_speech_plus": _QFORMER,
    "instructblip": _NO_IMAGE_TOKEN,
    "instructblipvideo": Broken("it names no video token", "config.video_token_id is None"),
    "llama4": _LLAMA4,
    "llama4_vision_model": _LLAMA4,
    "lw_detr": Broken("projector_scale_factors is empty: there are no levels to detect on"),
    "modernvbert": _SHUFFLE,
    "nemotron_h_omni": _NO_IMAGE_TOKEN,
    "pp_doclayout_v2": Broken("class_thresholds is None"),
    "pp_ocrv6_small_det": _BACKBONE,
    "qwen3_omni_moe_text": Broken("28 heads do not divide a hidden size of 2048"),
    "shieldgemma2": _POOLING,
    "step3p5": _SLIDING,
    "step3p7": _SLIDING,
    "t5gemma2": Broken(
        _POOLING.why,
        str(_POOLING.holds)
        .replace("config.vision", "config.encoder.vision")
        .replace("< config", "< config.encoder"),
    ),
    "ultravbert": _SHUFFLE,
    "uvdoc": _BACKBONE,
    "voxtral": Broken("it names no audio token", "config.audio_token_id is None"),
    **dict.fromkeys(
        (
            "deepseek_vl",
            "deepseek_vl_hybrid",
            "florence2",
            "hyperclovax_vision_v2",
            "idefics2",
            "idefics3",
            "llava",
            "llava_next",
            "llava_next_video",
            "smolvlm",
            "video_llava",
            "vipllava",
        ),
        _VOCABULARY,
    ),
    **dict.fromkeys(
        (
            "cosmos3_omni",
            "exaone4_5",
            "glm5_next",
            "glm_ocr",
            "janus",
            "molmo2",
            "ovis2",
            "qwen2_5_vl",
            "qwen2_vl",
            "qwen3_5",
            "qwen3_5_moe",
            "qwen3_asr",
            "qwen3_omni_moe_thinker",
            "qwen3_vl",
            "qwen3_vl_moe",
        ),
        WIDTHS,
    ),
}

_EXPERTS = "which experts the router chose for any token"
_KEYPOINTS = "the keypoints that are detected in the image"

DATA_DEPENDENT: dict[str, str] = {
    "blt": "the lengths of its patches, from the entropies of the next byte",
    "fastspeech2_conformer": "the durations of the phonemes",
    "fastspeech2_conformer_with_hifigan": "the durations of the phonemes",
    "glm5_next_text": "which pools of keys are valid, carried in the cache beside the keys",
    "jetmoe": "the number of tokens for each expert",
    "lightglue": _KEYPOINTS,
    "longcat_flash": _EXPERTS,
    "nllb-moe": _EXPERTS,
    "oneformer": "queries whose mask is empty",
    "openai_privacy_filter": _EXPERTS,
    "sam3_video": "which detections are kept",
    "slanet": "whether the table has ended",
    "slanext": "whether the table has ended",
    "superglue": _KEYPOINTS,
    "superpoint": _KEYPOINTS,
    "switch_transformers": _EXPERTS,
    "vilt": "a random choice of patches",
    "vits": "the durations of the phonemes",
}


def evidence(broken: Broken, name: str, small: bool, error: BaseException) -> str | None:
    """What is seen without modelsum that proves a configuration broken, or None.

    Args:
        small: the model may be run on the CPU.
        error: how its forward failed in modelsum.
    """
    try:
        if broken is WIDTHS:
            return widths(name)
        if broken.holds is not None:
            return broken.holds if holds(broken.holds, name) else None
        plain = plain_forward_error(name, small)
    except Exception as failure:  # then nothing is proven
        print(f"{name}: {described(failure)}", file=sys.stderr)
        return None
    # The kernels of meta and CPU put the same complaint into words of their own.
    alike = plain is not None and plain.split(":")[0] == type(error).__name__
    return f"without modelsum: {str(plain)[:160]}" if alike else None


def plain_build_error(name: str) -> str | None:
    """How the construction of a type fails on torch's own meta device, without modelsum."""
    import transformers

    from modelsum.sources.transformers import classes

    try:
        config = transformers.CONFIG_MAPPING[name]()
        with META:
            classes.class_of(name, config)(config)
    except Exception as error:
        return described(error)
    return None


def plain_forward_error(name: str, small: bool) -> str | None:
    """How the forward fails without modelsum: on the CPU where the model is small, on meta otherwise."""
    from modelsum import spec
    from modelsum.sources import resolve

    device = torch.device("cpu") if small else META
    model = spec.parse_model(f"transformers/{name}")
    loaded = resolve(model).load(model, {}, device)
    assert loaded.example
    args, kwargs = loaded.example(1, None, device)
    try:
        with torch.no_grad():
            loaded.model.eval()(*args, **kwargs)
    except Exception as error:
        return described(error)
    return None


def holds(expression: str, name: str) -> bool:
    """Whether an expression of the default configuration, and of its text model's, is true."""
    import transformers

    config = transformers.CONFIG_MAPPING[name]()
    return bool(eval(expression, {"config": config, "text": config.get_text_config()}))


def widths(name: str) -> str | None:
    """In words, the widths of a modality's features and of the text model; None where they are the same."""
    from modelsum import spec
    from modelsum.sources import resolve
    from modelsum.sources.transformers.inputs import towers
    from modelsum.trace.values.known_values import carried

    model = spec.parse_model(f"transformers/{name}")
    loaded: Any = resolve(model).load(model, {}, META)
    with torch.no_grad(), carried():
        made = loaded.example(1, None, META)[1]
        for _, tower, method, argument in towers(loaded.model.eval()):
            if argument not in made:
                continue
            call = getattr(tower, method)
            accepted = inspect.signature(call).parameters
            features = call(**{k: v for k, v in made.items() if k in accepted}).pooler_output
            features = features[0] if isinstance(features, (list, tuple)) else features
            text = loaded.model.config.get_text_config().hidden_size
            if features.shape[-1] != text:
                return f"{method} makes {features.shape[-1]} values, the text model takes {text}"
    return None


def described(error: BaseException) -> str:
    """The kind of an error and its first words, on a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def same(one: str, other: str) -> bool:
    """Whether two descriptions are of the same error, word for word at their beginning."""
    return one[:60] == other[:60]
