"""Images cut into patches or tiles, as single families of transformers models take them."""

from __future__ import annotations

import inspect
import math

import torch
from torch import Tensor

from modelsum.sources.transformers.call import (
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


def flat_patches(call: Call) -> Tensor:
    """[batch, patches, values of a patch]."""
    height, width = image_size(call.config)
    patch = patch_size(call.config)
    return call.floats((height // patch) * (width // patch), channels(call.config) * patch**2)


def tiles(call: Call) -> Tensor:
    """[batch, tiles, channels, height, width]: the image and its tiles, as many as the model counts."""
    size = image_size(call.config)
    count = inspect.getmodule(type(call.model)).image_size_to_num_patches  # type: ignore[union-attr]
    number = count(list(size), call.config.image_grid_pinpoints, size[0])
    return call.floats(int(number), channels(call.config), *size)


def patch_images(call: Call) -> Tensor:
    """[patches of all images, channels, side, side]."""
    side = patch_size(call.config)
    return call.unbatched(call.batch * math.prod(grid(call.config)), channels(call.config), side, side)


def packed_patches(call: Call) -> Tensor:
    """[patches of all images, values of a patch]."""
    return call.unbatched(call.batch * math.prod(grid(call.config)), patch_values(call.config))


def shuffled(factor: str) -> Maker:
    """[batch, 1, channels, side, side]: the largest image whose patches are a multiple of a factor a side."""

    def make(call: Call) -> Tensor:
        unit = patch_size(call.config) * int(getattr(call.config, factor))
        side = image_size(call.config)[0] // unit * unit
        return call.floats(1, channels(call.config), side, side)

    return make


def patches_across(call: Call) -> Tensor:
    """[batch, 2]: patches of an image in height and width."""
    return call.batched([size // patch_size(call.config) for size in image_size(call.config)])


def patch_mask(call: Call) -> Tensor:
    """[batch, patches], every patch valid."""
    height, width = image_size(call.config)
    side = patch_size(call.config)
    return call.integers((height // side) * (width // side), value=1)


def pix2struct_patches(call: Call) -> Tensor:
    """[batch, 2048, 2 + values of a patch]: Pix2StructImageProcessor's max_patches, with row and column."""
    return call.floats(2048, 2 + int(find(call.config, VISION, "patch_embed_hidden_size")))


def molmo2_patches(call: Call) -> Tensor:
    """[crops, patches, values of a patch]: one crop an image."""
    return call.unbatched(call.batch, math.prod(grid(call.config)), patch_values(call.config))


def molmo2_tokens(call: Call) -> int:
    """Tokens of an image: the adapter pools two by two patches."""
    _, height, width = grid(call.config)
    return math.ceil(height / 2) * math.ceil(width / 2)


def molmo2_pooling(call: Call) -> Tensor:
    """[tokens of all images, 4]: the patches that each token pools."""
    return call.place(torch.zeros((call.batch * molmo2_tokens(call), 4), dtype=torch.int64))


def molmo2_grids(call: Call) -> Tensor:
    """[images, 4]: tokens in height and width of the whole image, and of its crops."""
    _, height, width = grid(call.config)
    return call.batched([math.ceil(height / 2), math.ceil(width / 2), 0, 0])


def inkling2_cells(call: Call) -> Tensor:
    """[image tokens, side, side, channels]: an image token is a square of merged patches."""
    side = patch_size(call.config) * int(find(call.config, VISION, "spatial_merge_size"))
    _, height, width = inkling2_grid(call)
    return call.unbatched(call.batch * height * width, side, side, channels(call.config))


def inkling2_grid(call: Call) -> tuple[int, int, int]:
    """An image in time, height and width, counted in its tokens."""
    side = patch_size(call.config) * int(find(call.config, VISION, "spatial_merge_size"))
    height, width = image_size(call.config)
    return (1, height // side, width // side)


INKLING2: dict[str, Maker] = {
    "pixel_values": inkling2_cells,
    "image_grid_thw": lambda call: call.batched(inkling2_grid(call)),
}


def inkling_pieces(call: Call) -> Tensor:
    """[patches, frames, side, side, channels]."""
    side = patch_size(call.config)
    frames = int(find(call.config, VISION, "temporal_patch_size"))
    height, width = image_size(call.config)
    number = call.batch * (height // side) * (width // side)
    return call.unbatched(number, frames, side, side, channels(call.config))


def _pooled_grid(call: Call) -> tuple[int, int]:
    # Gemma 4 pools squares of patches.
    unit = patch_size(call.config) * int(call.config.pooling_kernel_size)
    height, width = (size // unit * call.config.pooling_kernel_size for size in image_size(call.config))
    return (height, width)


def pooled_patches(call: Call) -> Tensor:
    """[batch, patches, values of a patch]."""
    return call.floats(math.prod(_pooled_grid(call)), patch_values(call.config))


def patch_positions(call: Call) -> Tensor:
    """[batch, patches, 2]: column and row of each patch."""
    height, width = _pooled_grid(call)
    return call.batched([(column, row) for row in range(height) for column in range(width)])


def two_grids(call: Call) -> Tensor:
    """[2, 3]: that of the image which is given, and that of the image which shall be generated."""
    return call.place(torch.tensor([grid(call.config)] * 2))
