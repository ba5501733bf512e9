"""The default input of a transformers model: what its forward takes, in the sizes of its own configuration.

The names of the forward's arguments say what they are (`input_ids`, `pixel_values`, `input_features`), the
configuration says their sizes. `transformers_special` has what cannot be told that way.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modelsum.trace.copying import copy_to
from modelsum.trace.known_values import carried, on_meta

#: Tokens of a text where nothing else is asked for; fewer where the model takes no more.
TOKENS = 128
#: Side of an image in pixels where the configuration names none.
IMAGE_SIZE = 224
#: Samples of sound where the configuration names no length: one second at 16 kHz.
SAMPLES = 16_000
#: Frames of a spectrogram where the configuration names no length.
FRAMES = 512
#: Frames of a video where the configuration names none.
VIDEO_FRAMES = 8


@dataclass(frozen=True)
class Call:
    """The call that is being made up.

    Attributes:
        length: text tokens that were asked for, or None.
        takes: the arguments of forward by name.
        made: those that have a value by now.
    """

    model: Any
    config: Any
    batch: int
    length: int | None
    device: torch.device
    takes: dict[str, inspect.Parameter]
    made: dict[str, Any]

    # ---- tensors

    def floats(self, *shape: int) -> Tensor:
        """Random numbers in [0, 1) of the model's dtype; on meta, a shape."""
        if self.device.type == "meta":
            return torch.empty(shape, dtype=self.model.dtype, device=self.device)
        generator = torch.Generator(self.device).manual_seed(0)
        return torch.rand(shape, generator=generator, device=self.device).to(self.model.dtype)

    def integers(self, *shape: int, value: int = 0) -> Tensor:
        """int64, the same value everywhere."""
        return place(torch.full(shape, value), self.device)

    def batched(self, values: list[Any]) -> Tensor:
        """The same int64 values for each sample of the batch."""
        row = torch.tensor(values, dtype=torch.int64)
        return place(row.expand(self.batch, *row.shape).contiguous(), self.device)

    # ---- the configuration

    @property
    def text(self) -> Any:
        """The configuration of the text model."""
        return self.config.get_text_config()

    def tokens(self, config: Any = None) -> int:
        """Tokens of a text for the model of a configuration, its text model's where none is given."""
        config = self.text if config is None else config
        if self.length is not None:
            return self.length
        most = [field(config, name) for name in _POSITIONS]
        return min([TOKENS, *(n for n in most if isinstance(n, int) and n > 0)])


def place(values: Tensor, device: torch.device) -> Tensor:
    """A tensor of known values on the device."""
    return on_meta(values) if device.type == "meta" else values.to(device)


_POSITIONS = ("max_position_embeddings", "n_positions", "max_target_positions", "max_seq_len", "block_size")


def field(config: Any, *names: str, default: Any = None) -> Any:
    """The first of the entries that the configuration stores a value for, under its own or another name.

    Attributes are not asked for: a configuration of unlike layers raises where they differ.
    """
    entries, other_names = vars(config), getattr(config, "attribute_map", {})
    for name in names:
        value = entries.get(other_names.get(name, name))
        if value is not None:
            return value
    return default


def parts(config: Any, *kinds: str) -> Iterator[Any]:
    """The configuration, and the parts of it whose key contains one of the words, at any depth."""
    yield config
    for key, part in vars(config).items():
        if any(kind in key for kind in kinds) and hasattr(part, "model_type"):
            yield from parts(part, *kinds)


def find(config: Any, kinds: tuple[str, ...], *names: str, default: Any = None) -> Any:
    """The first value of an entry in the configuration or its parts of these kinds."""
    for part in parts(config, *kinds):
        value = field(part, *names)
        if value is not None:
            return value
    return default


_VISION = ("vis", "image", "backbone", "encoder", "img", "vit", "detector")
_AUDIO = ("audio", "encoder", "speech", "sound")


def image_size(config: Any) -> tuple[int, int]:
    """(height, width) of an image for the configuration."""
    size = find(config, _VISION, "image_size", "img_size", "input_size", default=IMAGE_SIZE)
    if isinstance(size, dict):
        size = (size.get("height", IMAGE_SIZE), size.get("width", IMAGE_SIZE))
    if isinstance(size, (list, tuple)):
        return (int(size[0]), int(size[-1]))
    return (int(size), int(size))


def channels(config: Any) -> int:
    """Colour channels of an image for the configuration."""
    return int(find(config, _VISION, "num_channels", "in_channels", "in_chans", "image_channels", default=3))


# ---- what the arguments are

Maker = Callable[[Call], Any]


def pixel_values(call: Call) -> Any:
    """[batch, channels, height, width]; flattened patches where there is a grid; frames for a video model."""
    if "image_grid_thw" in call.takes or "grid_thw" in call.takes:
        return _patches(call)
    return call.floats(call.batch, channels(call.config), *image_size(call.config))


def _grid(call: Call) -> tuple[int, int, int]:
    """Patches of one image in time, height and width; a multiple of what the model merges."""
    patch = int(find(call.config, _VISION, "patch_size", default=14))
    merge = int(find(call.config, _VISION, "spatial_merge_size", "merge_size", default=1))
    height, width = (max(size // patch // merge, 1) * merge for size in image_size(call.config))
    return (1, height, width)


def _patches(call: Call) -> Tensor:
    time, height, width = _grid(call)
    patch = int(find(call.config, _VISION, "patch_size", default=14))
    depth = int(find(call.config, _VISION, "temporal_patch_size", default=1))
    return call.floats(
        call.batch * time * height * width, channels(call.config) * depth * patch * patch
    )


def grid_thw(call: Call) -> Tensor:
    """[batch, 3]: the patches of each image in time, height and width."""
    return call.batched(list(_grid(call)))


def pixel_values_videos(call: Call) -> Any:
    """[batch, frames, channels, height, width], for a model that takes no images."""
    if "pixel_values" in call.takes:
        return None
    frames = int(find(call.config, _VISION, "num_frames", "frames_per_clip", default=VIDEO_FRAMES))
    return call.floats(call.batch, frames, channels(call.config), *image_size(call.config))


def input_values(call: Call) -> Any:
    """[batch, samples] of sound; [batch, channels, samples] for a codec; a spectrogram where config has mel bins."""
    config = call.config
    if field(config, "num_mel_bins") and field(config, "max_length"):
        return call.floats(call.batch, config.max_length, config.num_mel_bins)
    if "padding_mask" in call.takes or field(config, "audio_channels"):
        return call.floats(call.batch, int(field(config, "audio_channels", default=1)), SAMPLES)
    return call.floats(call.batch, SAMPLES)


def input_features(call: Call) -> Any:
    """A spectrogram: [batch, mel bins, frames] for Whisper's kind, [batch, frames, features] for the others."""
    bins = find(
        call.config, _AUDIO, "num_mel_bins", "input_feat_per_channel", "feature_projection_input_dim", "input_feat_size",
        "num_mel_bands", "n_mels", "feature_size", default=80,
    )
    positions = find(call.config, _AUDIO, "max_source_positions")
    if positions and find(call.config, _AUDIO, "input_feat_per_channel") is None:
        return call.floats(call.batch, int(bins), 2 * int(positions))
    return call.floats(call.batch, FRAMES, int(bins))


def features_mask(call: Call) -> Any:
    """[batch, frames], every frame valid."""
    features = call.made.get("input_features")
    if features is None:
        return None
    axis = 2 if find(call.config, _AUDIO, "max_source_positions") else 1
    return call.integers(call.batch, features.shape[axis], value=1)


def input_ids(call: Call) -> Any:
    """[batch, tokens]; for a model that puts features of images in the place of tokens, as many of these first."""
    tokens = call.tokens()
    return call.batched([*_placeholders(call), *([filler(call.config)] * tokens)])


def filler(config: Any) -> int:
    """The smallest token id without a meaning of its own (padding, end of text, image, ...)."""
    special: set[int] = set()
    for part in {id(c): c for c in (config, config.get_text_config())}.values():
        for key, value in vars(part).items():
            if key.endswith(("_token_id", "_token_index", "_id", "_index")):
                special.update(v for v in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(v, int))
    return next(i for i in range(len(special) + 1) if i not in special)


# The placeholder of a modality: entries of the configuration with its token, the method that makes its
# features, the argument that has to be there.
_MODALITIES = (
    (("image_token_id", "image_token_index", "img_token_id"), "get_image_features", "pixel_values"),
    (("video_token_id", "video_token_index"), "get_video_features", "pixel_values_videos"),
    (("audio_token_id", "audio_token_index"), "get_audio_features", "input_features"),
    (("audio_token_id", "audio_token_index"), "get_audio_features", "input_values"),
)


def _placeholders(call: Call) -> list[int]:
    ids: list[int] = []
    for entries, method, argument in _MODALITIES:
        token = field(call.config, *entries)
        if token is not None and argument in call.made and hasattr(call.model, method):
            ids += [int(token)] * features(call, method)
    return ids


def features(call: Call, method: str) -> int:
    """How many tokens' places the features of one sample take: the tower is run on the meta device."""
    meta = torch.device("meta")
    model = call.model if call.device == meta else copy_to(call.model, meta)
    make = getattr(model, method)
    arguments = {
        name: on_meta(value) if isinstance(value, Tensor) and not value.is_meta else value
        for name, value in call.made.items()
        if name in inspect.signature(make).parameters
    }
    with torch.no_grad(), carried():
        output = make(**arguments)
    return rows(getattr(output, "pooler_output", output)) // call.batch


def rows(value: Any) -> int:
    """Feature vectors in a tensor, or in all of a list."""
    if isinstance(value, Tensor):
        return value.numel() // value.shape[-1]
    return sum(map(rows, value))


def decoder_input_ids(call: Call) -> Any:
    """[batch, tokens] for the decoder of an encoder-decoder model."""
    decoder = call.config.get_text_config(decoder=True)
    return call.integers(call.batch, call.tokens(decoder), value=filler(call.config))


def mm_token_type_ids(call: Call) -> Any:
    """[batch, tokens]: 0 text, 1 image, 2 video, 3 audio."""
    ids = call.made.get("input_ids")
    if ids is None:
        return None
    types = [0] * ids.shape[1]
    place_ = 0
    for kind, (entries, method, argument) in enumerate(_MODALITIES, 1):
        token = field(call.config, *entries)
        if token is not None and argument in call.made and hasattr(call.model, method):
            count = features(call, method)
            types[place_ : place_ + count] = [min(kind, 3)] * count
            place_ += count
    return call.batched(types)


#: Arguments that are always given where forward takes them, in the order in which they are made.
ALWAYS: dict[str, Maker] = {
    "pixel_values": pixel_values,
    "image_grid_thw": grid_thw,
    "grid_thw": grid_thw,
    "pixel_values_videos": pixel_values_videos,
    "input_values": input_values,
    "input_features": input_features,
    "input_ids": input_ids,
    "mm_token_type_ids": mm_token_type_ids,
    "decoder_input_ids": decoder_input_ids,
}

#: Arguments that are given where forward insists on them.
REQUIRED: dict[str, Maker] = {
    "input_features_mask": features_mask,
    "attention_mask": lambda call: call.integers(call.batch, call.tokens(), value=1),
    "inputs_embeds": lambda call: call.floats(call.batch, call.tokens(), call.text.hidden_size),
    "hidden_states": pixel_values,
}


def example(
    model: Any, batch: int, length: int | None, device: torch.device
) -> dict[str, Any]:
    """The keyword arguments of a call of the model.

    Args:
        batch: samples.
        length: text tokens beside those whose places the features of images and sounds take; None for
            TOKENS, or as many as the model takes.
        device: of the tensors.
    """
    takes = {
        name: parameter
        for name, parameter in inspect.signature(model.forward).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    call = Call(model, model.config, batch, length, device, takes, {})
    for name, make in {**ALWAYS, **REQUIRED}.items():
        if name not in takes or (name in REQUIRED and takes[name].default is not inspect.Parameter.empty):
            continue
        value = make(call)
        if value is not None:
            call.made[name] = value
    return call.made
