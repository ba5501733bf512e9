"""Points of MnasNet's factorized hierarchical search space: Tan et al. 2019, "MnasNet: platform-aware
neural architecture search for mobile" (arXiv:1807.11626), section 4.1 and Figure 4.

The network is cut into blocks. Each is searched on its own and repeats one layer; what the search picks
for a block are the fields of `MnasBlock`. A network is written down as the list of its blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from modelsum.zoo import checks

# The skeleton of Figure 4 fixes the strides of its seven blocks; they are not searched.
SKELETON_STRIDES = (1, 2, 2, 2, 1, 2, 1)


@dataclass(frozen=True, slots=True)
class MnasBlock:
    """One block of the network: `layers` layers of one kind.

    Attributes:
        conv: "conv", a regular convolution; "sepconv", depthwise separable; "mbconv", the mobile
            inverted bottleneck of MobileNetV2.
        kernel: 3 or 5, of the convolution that is not 1x1.
        se_ratio: 0, or 0.25: squeeze-and-excitation over a quarter of the layer's input channels.
        skip: what is added to the output of a layer that keeps the shape: "identity" its input,
            "pool" its input under 3x3 average pooling, "none" nothing.
        filters: output channels.
        layers: repeats; the first one has the block's stride.
        stride: 1 or 2; None takes that of the skeleton at the block's position (1 beyond its end).
        expansion: of the mbconv, in input channels; None is 6. The other kinds do not expand.
    """

    conv: str
    kernel: int
    se_ratio: float
    skip: str
    filters: int
    layers: int
    stride: int | None = None
    expansion: int | None = None

    @classmethod
    def read(cls, value: Any, index: int) -> MnasBlock:
        """Block `index` of a list, checked, from a dict, a tuple in the order of the fields, or a block.

        Stride and expansion are filled in, so that only numbers are left.

        Raises:
            ValueError: a field that is missing, unknown or outside the search space.
        """
        where = f"blocks[{index}]"
        given = _by_field(cls, value, where)
        conv = checks.one_of(f"{where}.conv", given["conv"], ("conv", "sepconv", "mbconv"))
        stride = given.get("stride")
        if stride is None:
            stride = SKELETON_STRIDES[index] if index < len(SKELETON_STRIDES) else 1
        expansion = given.get("expansion")
        if conv != "mbconv" and expansion not in (None, 1):
            raise ValueError(f"{where}.expansion is for conv='mbconv'; a {conv} does not expand")
        if expansion is None:
            expansion = 6 if conv == "mbconv" else 1
        return cls(
            conv,
            kernel=checks.one_of(f"{where}.kernel", given["kernel"], (3, 5)),
            se_ratio=checks.one_of(f"{where}.se_ratio", given["se_ratio"], (0, 0.25)),
            skip=checks.one_of(f"{where}.skip", given["skip"], ("pool", "identity", "none")),
            filters=checks.whole(f"{where}.filters", given["filters"]),
            layers=checks.whole(f"{where}.layers", given["layers"]),
            stride=checks.one_of(f"{where}.stride", stride, (1, 2)),
            expansion=checks.whole(f"{where}.expansion", expansion),
        )


def _by_field(cls: type[MnasBlock], value: Any, where: str) -> dict[str, Any]:
    """What `value` gives, field by field."""
    names = [field.name for field in fields(cls)]
    searched = names[:6]
    order = f"({', '.join(searched)})"
    if isinstance(value, MnasBlock):
        return {name: getattr(value, name) for name in names}
    if isinstance(value, Mapping):
        for name in value:
            if name not in names:
                raise ValueError(f"{where} has no field {name!r}; its fields are {', '.join(names)}")
        missing = [name for name in searched if name not in value]
        if missing:
            raise ValueError(f"{where} lacks {', '.join(missing)}; a block decides {order}")
        return dict(value)
    if isinstance(value, (list, tuple)):
        if not len(searched) <= len(value) <= len(names):
            raise ValueError(f"{where} has {len(value)} fields; a block decides {order}")
        return dict(zip(names, value, strict=False))
    raise ValueError(f"{where} must be a dict, or a tuple {order}, not {value!r}")


def read_blocks(blocks: Any) -> list[MnasBlock]:
    """The blocks of a network: the name of a published one, or a list of what `MnasBlock.read` takes.

    Raises:
        ValueError: no such name, an empty list, or a block that is none.
    """
    if isinstance(blocks, str):
        blocks = PUBLISHED[checks.one_of("blocks", blocks, PUBLISHED)]
    if not isinstance(blocks, (list, tuple)) or not blocks:
        published = ", ".join(repr(name) for name in PUBLISHED)
        raise ValueError(f"blocks must be a list of blocks, or one of {published}, not {blocks!r}")
    return [MnasBlock.read(block, index) for index, block in enumerate(blocks)]


# (conv, kernel, se_ratio, skip, filters, layers, stride, expansion). Input and head are alike in all:
# a 3x3 convolution of stride 2 in front, a 1x1 convolution to 1280 channels behind.
PUBLISHED: Mapping[str, Sequence[MnasBlock]] = {
    # Found without squeeze-and-excitation (the authors' code: mnasnet_b1).
    "B1": (
        MnasBlock("sepconv", 3, 0, "none", 16, 1),
        MnasBlock("mbconv", 3, 0, "identity", 24, 3, 2, expansion=3),
        MnasBlock("mbconv", 5, 0, "identity", 40, 3, 2, expansion=3),
        MnasBlock("mbconv", 5, 0, "identity", 80, 3, 2, expansion=6),
        MnasBlock("mbconv", 3, 0, "identity", 96, 2, 1, expansion=6),
        MnasBlock("mbconv", 5, 0, "identity", 192, 4, 2, expansion=6),
        MnasBlock("mbconv", 3, 0, "identity", 320, 1, 1, expansion=6),
    ),
    # Figure 7(a).
    "A1": (
        MnasBlock("sepconv", 3, 0, "none", 16, 1),
        MnasBlock("mbconv", 3, 0, "identity", 24, 2, 2, expansion=6),
        MnasBlock("mbconv", 5, 0.25, "identity", 40, 3, 2, expansion=3),
        MnasBlock("mbconv", 3, 0, "identity", 80, 4, 2, expansion=6),
        MnasBlock("mbconv", 3, 0.25, "identity", 112, 2, 1, expansion=6),
        MnasBlock("mbconv", 5, 0.25, "identity", 160, 3, 2, expansion=6),
        MnasBlock("mbconv", 3, 0, "identity", 320, 1, 1, expansion=6),
    ),
    # The authors' code: mnasnet_small; its first convolution has 8 channels in place of 32.
    "small": (
        MnasBlock("sepconv", 3, 0, "identity", 8, 1),
        MnasBlock("mbconv", 3, 0, "identity", 16, 1, 2, expansion=3),
        MnasBlock("mbconv", 3, 0, "identity", 16, 2, 2, expansion=6),
        MnasBlock("mbconv", 5, 0.25, "identity", 32, 4, 2, expansion=6),
        MnasBlock("mbconv", 3, 0.25, "identity", 32, 3, 1, expansion=6),
        MnasBlock("mbconv", 5, 0.25, "identity", 88, 3, 2, expansion=6),
        MnasBlock("mbconv", 3, 0, "identity", 144, 1, 1, expansion=6),
    ),
}
