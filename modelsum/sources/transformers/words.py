"""The words of table.toml: numbers of a call that have a name, and arguments that take more than a shape."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from modelsum.sources.transformers.call import (
    FRAMES,
    SAMPLES,
    VIDEO_FRAMES,
    VISION,
    Call,
    Maker,
    channels,
    find,
    grid,
    image_size,
    patch_size,
    patch_values,
)

#: Tokens of a prompt that a detector is asked with.
_PROMPT = 32
#: Bytes in a patch of the Byte Latent Transformer, about its average (Pagnoni et al. 2024, section 2).
_BYTES_A_PATCH = 4
#: Heavy atoms of an amino acid, about their average.
_ATOMS = 8


# ---- numbers


def _mel_bins(call: Call) -> int:
    """Bins of a spectrogram for the audio tower of a configuration."""
    return int(find(call.config, ("audio",), "num_mel_bins", "feature_size"))


def _tiles(call: Call) -> int:
    """The image and its tiles, as many as the model counts."""
    size = image_size(call.config)
    count = inspect.getmodule(type(call.model)).image_size_to_num_patches  # type: ignore[union-attr]
    return int(count(list(size), call.config.image_grid_pinpoints, size[0]))


def _aria_side(call: Call) -> int:
    """Pixels: the projector knows how many queries go with a number of patches, and no other numbers."""
    patches = min(call.config.projector_patch_to_query_dict)
    return math.isqrt(patches) * int(call.config.vision_config.patch_size)


def _janus_side(call: Call) -> int:
    """Pixels: each level of the encoder but the last halves the image."""
    return int(call.config.num_patches * 2 ** (len(call.config.channel_multiplier) - 1))


def _depth_pro_side(call: Call) -> int:
    """Pixels: of the smallest scale one patch is left."""
    side: int = round(call.config.patch_size / min(call.config.scaled_images_ratios))
    return side


def _molmo2_tokens(call: Call) -> int:
    """Tokens of an image: the adapter pools two by two patches."""
    _, height, width = grid(call.config)
    return math.ceil(height / 2) * math.ceil(width / 2)


def _pooled_patches(call: Call) -> int:
    """Patches of an image where Gemma 4 pools whole squares of them."""
    return math.prod(_pooled_grid(call))


def _pooled_grid(call: Call) -> tuple[int, int]:
    """Their rows and columns."""
    pooled = int(call.config.pooling_kernel_size)
    height, width = (size // patch_size(call.config) // pooled * pooled for size in image_size(call.config))
    return (height, width)


def _shuffled_side(call: Call) -> int:
    """Pixels: the largest image whose patches are a multiple of a factor a side."""
    unit = patch_size(call.config) * int(call.config.scale_factor)
    return image_size(call.config)[0] // unit * unit


def _windowed_side(call: Call) -> int:
    """Pixels: the largest image whose patches fill whole windows."""
    backbone = call.config.backbone_config
    window = int(backbone.patch_size) * int(backbone.num_windows)
    return image_size(call.config)[0] // window * window


#: Numbers by the names that table.toml has for them.
NUMBERS: dict[str, Callable[[Call], int]] = {
    "batch": lambda call: call.batch,
    "tokens": lambda call: call.tokens(),
    "filler": lambda call: call.filler(),
    "channels": lambda call: channels(call.config),
    "height": lambda call: image_size(call.config)[0],
    "width": lambda call: image_size(call.config)[1],
    "patch": lambda call: patch_size(call.config),
    "rows": lambda call: grid(call.config)[1],
    "columns": lambda call: grid(call.config)[2],
    "patches": lambda call: math.prod(grid(call.config)),
    "patch_values": lambda call: patch_values(call.config),
    "merge": lambda call: int(find(call.config, VISION, "spatial_merge_size")),
    "samples": lambda call: SAMPLES,
    "frames": lambda call: FRAMES,
    "mel_bins": _mel_bins,
    "tiles": _tiles,
    "bytes_a_patch": lambda call: _BYTES_A_PATCH,
    "prompt": lambda call: _PROMPT,
    "aria_side": _aria_side,
    "janus_side": _janus_side,
    "depth_pro_side": _depth_pro_side,
    "molmo2_tokens": _molmo2_tokens,
    "shuffled_side": _shuffled_side,
    "windowed_side": _windowed_side,
    "pooled_patches": _pooled_patches,
    "assistant_width": lambda call: int(call.model.pre_projection.in_features),
}


# ---- arguments


def _left_out(call: Call) -> None:
    """Not given."""


def _positions(call: Call) -> Tensor:
    """[batch, tokens]: 0, 1, 2, ..."""
    return call.batched(range(call.tokens()))


def _patch_of_bytes(call: Call) -> Tensor:
    """[batch, tokens]: the patch that each byte is in."""
    return call.batched([position // _BYTES_A_PATCH for position in range(call.tokens())])


def _pooled_positions(call: Call) -> Tensor:
    """[batch, patches, 2]: column and row of each patch."""
    height, width = _pooled_grid(call)
    return call.batched([(column, row) for row in range(height) for column in range(width)])


def _two_grids(call: Call) -> Tensor:
    """[2, 3]: that of the image which is given, and that of the image which shall be generated."""
    return call.place(torch.tensor([grid(call.config)] * 2))


def _timm_frames(call: Call) -> Tensor:
    """[batch, frames, channels, height, width], as the patch embedding of a model of timm insists on."""
    size = next(m.img_size for m in call.model.modules() if hasattr(m, "img_size"))
    return call.floats(VIDEO_FRAMES, channels(call.config), *size)


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


def _pointed_session(call: Call) -> Any:
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
    """A video with a text that says what to look for."""
    session = _new_session(call)
    prompt = session.add_prompt("a thing")
    session.prompt_input_ids[prompt] = call.place(torch.ones((1, _PROMPT), dtype=torch.int64))
    session.prompt_attention_masks[prompt] = call.place(torch.ones((1, _PROMPT), dtype=torch.int64))
    return session


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


#: What makes an argument, by the names that table.toml has for it.
MAKERS: dict[str, Maker] = {
    "left out": _left_out,
    "positions": _positions,
    "patch of bytes": _patch_of_bytes,
    "pooled positions": _pooled_positions,
    "two grids": _two_grids,
    "timm frames": _timm_frames,
    "pointed session": _pointed_session,
    "prompted session": _prompted_session,
    "shared keys": _shared_keys,
    "atoms": _atoms,
}
