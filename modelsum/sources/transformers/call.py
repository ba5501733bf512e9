"""A call of a transformers model while its arguments are made up, and what its configuration says of them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modelsum.trace.copying import copy_to
from modelsum.trace.isolation import runs_on_meta
from modelsum.trace.values.known_values import carried, on_meta

#: Tokens of a text where no other number is asked for; fewer where the model takes no more.
TOKENS = 128
#: Side of an image in pixels where the configuration names none.
IMAGE_SIZE = 224
#: Samples of sound: one second at 16 kHz.
SAMPLES = 16_000
#: Frames of a spectrogram where the configuration names no length: about five seconds.
FRAMES = 512
#: Frames of a video where the configuration names none.
VIDEO_FRAMES = 8

#: What the keys of a configuration's parts contain, by kind.
VISION = ("vis", "vlm", "image", "backbone", "encoder", "img", "vit", "detector")
AUDIO = ("audio", "encoder", "speech", "sound", "acoustic", "asr")

_META = torch.device("meta")
_KNOWN_ELEMENTS = 1 << 20  # larger tensors have no known values on meta


@dataclass(frozen=True)
class Call:
    """The call that is being made up.

    Attributes:
        length: text tokens that were asked for, or None.
        takes: the arguments of forward.
        made: those that have a value by now.
    """

    model: Any
    config: Any
    batch: int
    length: int | None
    device: torch.device
    takes: frozenset[str]
    made: dict[str, Any]

    # ---- tensors

    def floats(self, *shape: int) -> Tensor:
        """[batch, *shape], random numbers in [0, 1) of the model's dtype; on meta, a shape."""
        return self.unbatched(self.batch, *shape)

    def unbatched(self, *shape: int) -> Tensor:
        """As `floats`, of exactly this shape."""
        if self.device == _META and math.prod(shape) > _KNOWN_ELEMENTS:
            return torch.empty(shape, dtype=self.model.dtype, device=_META)
        # Values are made for meta too: some models look for images that are nothing but padding.
        where = torch.device("cpu") if self.device == _META else self.device
        generator = torch.Generator(where).manual_seed(0)
        return self.place(torch.rand(shape, generator=generator, device=where).to(self.model.dtype))

    def integers(self, *shape: int, value: int = 0) -> Tensor:
        """[batch, *shape] of int64, the same value everywhere."""
        return self.place(torch.full((self.batch, *shape), value))

    def trues(self, *shape: int) -> Tensor:
        """[batch, *shape] of bool, all True."""
        return self.place(torch.ones((self.batch, *shape), dtype=torch.bool))

    def batched(self, values: Sequence[Any]) -> Tensor:
        """[batch, ...] of int64, the same values for each sample."""
        row = torch.tensor(values, dtype=torch.int64)
        return self.place(row.expand(self.batch, *row.shape).contiguous())

    def place(self, values: Tensor) -> Tensor:
        """A CPU tensor on the device; on meta its values stay known."""
        return on_meta(values) if self.device.type == "meta" else values.to(self.device)

    # ---- texts

    def tokens(self, config: Any = None) -> int:
        """Tokens of a text for the model of a configuration, its text model's where none is given."""
        if self.length is not None:
            return self.length
        config = text_config(self.config) if config is None else config
        most = [field(config, name) for name in _POSITIONS]
        return min([TOKENS, *(n for n in most if isinstance(n, int) and n > 0)])

    def filler(self, config: Any = None) -> int:
        """The smallest token id without a meaning of its own (padding, end of text, image, ...)."""
        config = self.config if config is None else config
        special: set[int] = set()
        for part in (config, text_config(config)):
            for key, value in vars(part).items():
                if key.endswith(("_id", "_ids", "_index")):
                    ids = value if isinstance(value, (list, tuple)) else (value,)
                    special.update(i for i in ids if isinstance(i, int))
        return next(i for i in range(len(special) + 1) if i not in special)

    # ---- features that take the places of tokens

    def features(self, tower: Any, method: str) -> int:
        """Feature vectors that a method (get_image_features, say) makes of one sample.

        It is run on meta, and on the device of the call where meta stops it. 0 where it fails on both: the
        forward is going to fail in the same place, with more to say about it than could be said here.
        """
        if self.device != _META:
            try:
                return self._count(copy_to(tower, _META), method)
            except Exception:  # whatever a model raises where values are missing; they are here below
                pass
        try:
            return self._count(tower, method)
        except Exception:  # see above
            return 0

    def _count(self, tower: Any, method: str) -> int:
        make = getattr(tower, method)
        accepted = inspect.signature(make).parameters
        arguments = {name: value for name, value in self.made.items() if name in accepted}
        device = next((p.device for p in tower.parameters()), self.device)
        if device == _META:
            arguments = {
                name: on_meta(value) if isinstance(value, Tensor) and not value.is_meta else value
                for name, value in arguments.items()
            }
        was_training = tower.training
        tower.eval()  # layers are dropped at random otherwise
        try:
            with torch.no_grad(), runs_on_meta(device), carried() if device == _META else nullcontext():
                output = make(**arguments)
        finally:
            tower.train(was_training)
        made = getattr(output, "pooler_output", None)
        return _rows(getattr(output, "last_hidden_state", output) if made is None else made) // self.batch


#: What makes an argument; None leaves it out.
Maker = Callable[[Call], Any]


_POSITIONS = ("max_position_embeddings", "n_positions", "max_target_positions", "max_seq_len", "block_size")


def _rows(value: Any) -> int:
    """Feature vectors in a tensor, or in all of a list."""
    if isinstance(value, Tensor):
        return value.numel() // value.shape[-1]
    return sum(map(_rows, value))


# ---- configurations


def text_config(config: Any) -> Any:
    """That of the text which is read, where a model reads one text and writes another."""
    try:
        return config.get_text_config()
    except ValueError:  # there are several
        return config.get_text_config(encoder=True)


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


def image_size(config: Any) -> tuple[int, int]:
    """(height, width) of an image for the configuration."""
    size = find(config, VISION, "image_size", "img_size", default=IMAGE_SIZE)
    for part in parts(config, *VISION):  # a model of timm keeps its own arguments
        size = (field(part, "model_args") or {}).get("img_size", size)
    if isinstance(size, dict):
        size = (size.get("height", IMAGE_SIZE), size.get("width", IMAGE_SIZE))
    if isinstance(size, (list, tuple)):
        return (int(size[0]), int(size[-1]))
    return (int(size), int(size))


def grid(config: Any) -> tuple[int, int, int]:
    """Patches of one image in time, height and width; the last two are multiples of what the model merges."""
    patch = patch_size(config)
    merge = find(config, VISION, "spatial_merge_size", "merge_size", "merge_kernel_size", default=1)
    merge = int(merge[-1] if isinstance(merge, (list, tuple)) else merge)
    height, width = (max(size // patch // merge, 1) * merge for size in image_size(config))
    return (1, height, width)


def patch_values(config: Any) -> int:
    """Values of a patch: its pixels in all channels and frames."""
    depth = int(find(config, VISION, "temporal_patch_size", "patch_temporal", default=1))
    return channels(config) * depth * patch_size(config) ** 2


def channels(config: Any) -> int:
    """Colour channels of an image for the configuration."""
    return int(find(config, VISION, "num_channels", "in_channels", "in_chans", "image_channels", default=3))


def patch_size(config: Any) -> int:
    """Side of a square patch of an image in pixels."""
    size = find(config, VISION, "patch_size", default=14)
    return int(size[-1] if isinstance(size, (list, tuple)) else size)


def first_layer(model: nn.Module) -> nn.Module | None:
    """The first layer of a tower that says how many features it takes: a linear layer or a convolution."""
    return next((m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv1d, nn.Conv2d))), None)
