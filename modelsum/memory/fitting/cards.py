"""GPUs by name, and the memory that a process can have of each.

It is less than what the card is sold with: the driver keeps some, error correction takes some, and 24 "GB"
are 24 GiB on one card and less on another. Usable is the device memory that CUDA reports,
`torch.cuda.get_device_properties(0).total_memory`, which PyTorch also prints when it runs out ("GPU 0 has a
total capacity of 23.64 GiB"). It varies a little with driver and board: here stands the smallest of the
values for the card that were found in public logs and issues (2020 to 2026), with nothing else on it. A
display takes its share besides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from modelsum.errors import UsageError, nearest

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU: its name, the gigabytes that it is sold with, and the bytes that a process can have of it.

    `bandwidth` is the bytes a second that its memory gives at most, by the maker's data sheet; of a card that
    is sold with several, the fastest's.
    """

    name: str
    sold_gb: int
    usable_bytes: int
    bandwidth: int


def _card(name: str, sold_gb: int, usable_gib: float, gb_per_second: int) -> Card:
    return Card(name, sold_gb, int(usable_gib * GIB), gb_per_second * 10**9)


#: The smallest first.
CARDS: tuple[Card, ...] = (
    _card("RTX 4060", 8, 7.75, 272),
    _card("RTX 3080", 10, 9.62, 760),
    _card("RTX 2080 Ti", 11, 10.57, 616),
    _card("RTX 3060", 12, 11.63, 360),
    _card("RTX 4070 Ti", 12, 11.70, 504),
    _card("T4", 16, 14.56, 320),
    _card("RTX 5060 Ti 16GB", 16, 15.47, 448),
    _card("RTX 4070 Ti SUPER", 16, 15.56, 672),
    _card("RTX 4080", 16, 15.67, 716),
    _card("V100 16GB", 16, 15.75, 900),
    _card("P100", 16, 15.89, 732),
    _card("A10", 24, 21.96, 600),
    _card("A10G", 24, 21.98, 600),
    _card("L4", 24, 22.03, 300),
    _card("RTX A5000", 24, 23.54, 768),
    _card("RTX 3090 Ti", 24, 23.54, 1008),
    _card("RTX 3090", 24, 23.55, 936),
    _card("RTX 4090", 24, 23.61, 1008),
    _card("RTX 5090", 32, 31.36, 1792),
    _card("V100 32GB", 32, 31.73, 900),
    _card("A100 40GB", 40, 39.25, 1555),
    _card("L40S", 48, 44.39, 864),
    _card("Quadro RTX 8000", 48, 47.46, 672),
    _card("RTX A6000", 48, 47.53, 768),
    _card("H100 80GB", 80, 79.10, 3350),
    _card("A100 80GB", 80, 79.14, 2039),
    _card("RTX PRO 6000", 96, 94.97, 1792),
    _card("H200", 141, 139.72, 4800),
    _card("B200", 180, 178.35, 8000),
)


def find(name: str) -> Card:
    """The card of that name, in any spelling: "RTX 4090", "rtx4090", "NVIDIA GeForce RTX 4090", "4090".

    Raises UsageError where there is none, or several (A100: 40GB or 80GB).
    """
    wanted = _key(name)
    by_key = {_key(card.name): card for card in CARDS}
    if wanted in by_key:
        return by_key[wanted]
    # Several only differ in their memory: their names begin alike, and end in it.
    sizes = [card for key, card in by_key.items() if wanted and key == f"{wanted}{card.sold_gb}gb"]
    if len(sizes) == 1:
        return sizes[0]
    if sizes:
        raise UsageError(
            f"gpu {name!r} has {' or '.join(f'{c.sold_gb} GB' for c in sizes)}",
            f"Write {' or '.join(repr(c.name) for c in sizes)}.",
        )
    names = [card.name for card in CARDS]
    near = " or ".join(by_key[key].name for key in nearest(wanted, by_key))
    meant = f"Did you mean {near}? " if near else ""
    raise UsageError(
        f"gpu {name!r} is not in the table",
        f"{meant}It has {', '.join(names)}. For another one give --memory.",
    )


def like(start: str) -> list[Card]:
    """The cards whose name begins so, hyphens standing for blanks; or else, as `find` reads names."""
    beginning = start.lower().replace("-", " ")
    named = [card for card in CARDS if card.name.lower().startswith(beginning)]
    return named or [card for card in CARDS if _key(card.name).startswith(_key(start))]


def _key(name: str) -> str:
    """The name without maker, series and punctuation: what people leave out, or write in several ways."""
    text = re.sub(r"nvidia|geforce|tesla|quadro|rtx|pcie|sxm\d*|hbm\d*\w*", "", str(name).lower())
    return re.sub(r"[^a-z0-9]", "", text)
