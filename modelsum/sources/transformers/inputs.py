"""The default input of a transformers model: what its forward takes, in the sizes of its own configuration.

The names of the forward's arguments say what they are (`input_ids`, `pixel_values`, `input_features`), the
configuration says their sizes. `table` has what cannot be told that way.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from modelsum.errors import InputError
from modelsum.sources.transformers.call import (
    AUDIO,
    FRAMES,
    SAMPLES,
    VIDEO_FRAMES,
    VISION,
    Call,
    Maker,
    channels,
    field,
    find,
    first_layer,
    grid,
    image_size,
    patch_values,
)
from modelsum.sources.transformers.table import special


def example(model: Any, batch: int, length: int | None, device: torch.device) -> dict[str, Any]:
    """The keyword arguments of a call of the model.

    Args:
        batch: samples.
        length: text tokens beside those whose places the features of images and sounds take; None for
            TOKENS, or as many as the model takes.
        device: of the tensors.

    Raises:
        InputError: forward insists on an argument that nothing here makes, or a length is asked for of a
            model that takes no text.
    """
    parameters = _parameters(model.forward)
    makers = _makers(model, parameters)
    call = Call(model, model.config, batch, length, device, frozenset(parameters), {})
    for name, make in makers.items():
        value = make(call)
        if value is not None:
            call.made[name] = value
    _check(call, parameters)
    return call.made


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The arguments of a function that can be given by name."""
    return {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


def _required(parameters: dict[str, inspect.Parameter]) -> set[str]:
    return {name for name, parameter in parameters.items() if parameter.default is parameter.empty}


def _needs(model: Any, parameters: dict[str, inspect.Parameter]) -> frozenset[str]:
    """What forward insists on, and what the towers that make features for it insist on."""
    needs = _required(parameters)
    for _, tower, method, argument in towers(model):
        if argument in parameters:
            needs |= _required(_parameters(getattr(tower, method)))
    return frozenset(needs)


def _makers(model: Any, parameters: dict[str, inspect.Parameter]) -> dict[str, Maker]:
    """What makes the arguments, in the order in which they are made: text comes after what stands in it."""
    needs = _needs(model, parameters)
    wanted = {
        name: make
        for name, make in {**_FEATURES, **_OTHERS}.items()
        if name in parameters and (name in _ALWAYS or name in needs)
    }
    wanted.update(special(model.config.model_type, parameters))
    return dict(sorted(wanted.items(), key=lambda item: (item[0] in _OTHERS, item[0] in _AFTER_TEXT)))


def _check(call: Call, parameters: dict[str, inspect.Parameter]) -> None:
    missing = sorted(_required(parameters) - call.made.keys())
    if missing:
        raise InputError(
            f"{type(call.model).__name__} has no default input: "
            f"nothing says what {', '.join(missing)} should be",
            f"Its forward is {inspect.signature(call.model.forward)}. Give its inputs by name.",
        )
    if call.length is not None and not call.made.keys() & {"input_ids", "decoder_input_ids", "inputs_embeds"}:
        raise InputError(f"a sequence length is given, but {type(call.model).__name__} takes no text", None)


# ---- images


def pixel_values(call: Call) -> Any:
    """[batch, channels, height, width], with frames ahead of the channels for a model of videos.

    Where the size of a grid is an argument: [patches of all images, values of a patch].
    """
    if "vision_config" in vars(call.config) and call.config.vision_config is None:
        return None  # this configuration has no vision tower
    if call.takes & {"image_grid_thw", "grid_thw"}:
        return call.unbatched(call.batch * math.prod(grid(call.config)), patch_values(call.config))
    frames = find(call.config, ("vis",), "num_frames")
    if frames and "pixel_values_videos" not in call.takes:
        return call.floats(int(frames), channels(call.config), *image_size(call.config))
    return call.floats(channels(call.config), *image_size(call.config))


def grid_thw(call: Call) -> Any:
    """[batch, 3]: the patches of each image in time, height and width."""
    return call.batched(grid(call.config)) if call.made.keys() & {"pixel_values", "hidden_states"} else None


def hidden_states(call: Call) -> Tensor:
    """[patches, values of a patch] where a grid says where each belongs, else [batch, tokens, hidden]."""
    if "grid_thw" in call.takes:
        return call.unbatched(call.batch * math.prod(grid(call.config)), patch_values(call.config))
    return call.floats(call.tokens(), int(field(call.config, "input_dim", "hidden_size")))


def image_sizes(call: Call) -> Tensor:
    """[batch, 2]: height and width of each image."""
    return call.batched(image_size(call.config))


def pixel_values_videos(call: Call) -> Any:
    """[batch, frames, channels, height, width], for a model that takes no images."""
    if "pixel_values" in call.takes:
        return None
    frames = int(find(call.config, VISION, "num_frames", "frames_per_clip", default=VIDEO_FRAMES))
    return call.floats(frames, channels(call.config), *image_size(call.config))


def image(call: Call) -> Tensor:
    """[batch, channels, height, width]."""
    return call.floats(channels(call.config), *image_size(call.config))


# ---- sounds


def input_values(call: Call) -> Tensor:
    """[batch, samples]; for a codec [batch, channels, samples]; as a spectrogram [batch, frames, bins]."""
    config = call.config
    if field(config, "num_mel_bins") and field(config, "max_length"):
        return call.floats(config.max_length, config.num_mel_bins)
    if "padding_mask" in call.takes or field(config, "audio_channels"):
        return call.floats(int(field(config, "audio_channels", default=1)), SAMPLES)
    return call.floats(SAMPLES)


def input_features(call: Call) -> Any:
    """A spectrogram, as the first layer of the tower takes it.

    [batch, features, frames] where it convolves over time, [batch, frames, features] otherwise.
    """
    if "audio_config" in vars(call.config) and call.config.audio_config is None:
        return None  # this configuration has no audio tower
    positions = find(call.config, AUDIO, "max_source_positions")
    # The second of two convolutions has stride 2: Whisper's 1500 positions are 3000 frames.
    frames = 2 * int(positions) if positions else FRAMES
    named = find(call.config, AUDIO, "input_dim", "feature_projection_input_dim", "input_feat_per_channel")
    if named:
        return call.floats(FRAMES, int(named))
    layer = first_layer(_audio_tower(call.model))
    if isinstance(layer, nn.Conv1d):
        return call.floats(layer.in_channels, frames)
    bins = find(call.config, AUDIO, "num_mel_bins", "input_feat_size", "feature_size", "n_mels")
    if bins is None:
        bins = layer.in_features if isinstance(layer, nn.Linear) else 80
    return call.floats(frames, int(bins))


def _audio_tower(model: nn.Module) -> nn.Module:
    for name in ("audio_tower", "audio_model", "audio_encoder", "encoder"):
        tower = getattr(model, name, None)
        if isinstance(tower, nn.Module):
            return tower
    return model


def features_mask(call: Call) -> Any:
    """[batch, frames], every frame valid."""
    features = call.made.get("input_features")
    if features is None:
        return None
    sides = features.shape[1:]
    # Otherwise mel bins are fewer than frames, whichever of the two comes first.
    return call.trues(FRAMES if FRAMES in sides else max(sides))


def padding_mask(call: Call) -> Any:
    """[batch, samples], every sample valid."""
    values = call.made.get("input_values")
    return None if values is None else call.trues(values.shape[-1])


# ---- texts

_SOUNDS = "get_audio_features"

# The placeholders of a modality in a text: entries of the configuration with the token, the method that makes
# the features, the argument with the data.
_MODALITIES = (
    (("image_token_id", "image_token_index", "img_token_id"), "get_image_features", "pixel_values"),
    (("video_token_id", "video_token_index"), "get_video_features", "pixel_values_videos"),
    (("audio_token_id", "audio_token_index"), _SOUNDS, "input_features"),
    (("audio_token_id", "audio_token_index"), _SOUNDS, "input_values"),
)
_TYPES = {"get_image_features": 1, "get_video_features": 2, _SOUNDS: 3}


def towers(model: Any) -> Iterator[tuple[int, Any, str, str]]:
    """(token, module, method, argument) of every modality: the outermost module that names its token."""
    for entries, method, argument in _MODALITIES:
        for module in model.modules():
            if not (hasattr(module, method) and hasattr(module, "config")):
                continue
            token = field(module.config, *entries)
            if token is not None:
                yield int(token), module, method, argument
                break


def _placeholders(call: Call) -> list[tuple[int, int]]:
    """(token, type) for every token whose place a feature takes."""
    places = []
    for token, tower, method, argument in towers(call.model):
        if argument in call.made:
            # Gemma 3n fills up the features of a sound to a number that never changes.
            fixed = field(tower.config, "audio_soft_tokens_per_image") if method == _SOUNDS else None
            number = call.features(tower, method) if fixed is None else int(fixed)
            places += [(token, _TYPES[method])] * number
    return places


def input_ids(call: Call) -> Tensor:
    """[batch, tokens]; ahead of them as many placeholders as images and sounds have features."""
    return call.batched([*(token for token, _ in _placeholders(call)), *[call.filler()] * call.tokens()])


def mm_token_type_ids(call: Call) -> Tensor:
    """[batch, tokens]: 0 text, 1 image, 2 video, 3 audio."""
    return call.batched([*(kind for _, kind in _placeholders(call)), *[0] * call.tokens()])


def attention_mask(call: Call) -> Tensor:
    """[batch, tokens], every token valid."""
    ids = call.made.get("input_ids")
    return call.integers(call.tokens() if ids is None else ids.shape[1], value=1)


def inputs_embeds(call: Call) -> Tensor:
    """[batch, tokens, hidden size]."""
    return call.floats(call.tokens(), call.config.get_text_config().hidden_size)


def decoder_input_ids(call: Call) -> Tensor:
    """[batch, tokens] for the decoder of an encoder-decoder model."""
    decoder = call.config.get_text_config(decoder=True)
    return call.integers(call.tokens(decoder), value=call.filler(decoder))


def merge_sizes(call: Call) -> Tensor:
    """[batch]: how many patches a side each image's features are merged of."""
    return call.place(torch.ones(call.batch, dtype=torch.int64))


def boxes(call: Call) -> Tensor:
    """[batch, tokens, 4]: a box on the page for every token."""
    return call.integers(call.tokens(), 4)


#: What is not a text; made first.
_FEATURES: dict[str, Maker] = {
    "pixel_values": pixel_values,
    "hidden_states": hidden_states,
    "image_grid_thw": grid_thw,
    "grid_thw": grid_thw,
    "image_sizes": image_sizes,
    "image": image,
    "pixel_values_videos": pixel_values_videos,
    "input_values": input_values,
    "padding_mask": padding_mask,
    "input_features": input_features,
    "input_features_mask": features_mask,
    "feature_attention_mask": features_mask,
    "merge_sizes": merge_sizes,
    "image_merge_sizes": merge_sizes,
}

#: Texts, and what goes with them.
_OTHERS: dict[str, Maker] = {
    "input_ids": input_ids,
    "inputs_embeds": inputs_embeds,
    "mm_token_type_ids": mm_token_type_ids,
    "decoder_input_ids": decoder_input_ids,
    "attention_mask": attention_mask,
    "bbox": boxes,
    "qformer_input_ids": lambda call: call.integers(call.tokens(), value=call.filler()),
}
_AFTER_TEXT = frozenset({"attention_mask"})

#: What is given wherever forward takes it; the rest only where forward or a tower insists on it.
_ALWAYS = frozenset(
    (
        "pixel_values",
        "image_grid_thw",
        "grid_thw",
        "pixel_values_videos",
        "input_values",
        "input_features",
        "input_ids",
        "mm_token_type_ids",
        "decoder_input_ids",
        "bbox",
        "input_features_mask",
        "feature_attention_mask",
    )
)
