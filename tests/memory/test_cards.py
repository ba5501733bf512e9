"""The table of GPUs: plausible, and found by the names that people write."""

from __future__ import annotations

import pytest

from modelsum.errors import UsageError
from modelsum.memory.fitting import cards

GIB = 2**30


@pytest.mark.parametrize("card", cards.CARDS, ids=lambda c: c.name)
def test_usable_is_a_little_less_than_what_is_sold(card: cards.Card) -> None:
    """Less than that many GiB; and by less than 10 %, except where 1 GB is not even 1 GiB."""
    assert 0.90 * card.sold_gb * GIB < card.usable_bytes < card.sold_gb * GIB


def test_names_are_told_apart() -> None:
    for card in cards.CARDS:
        assert cards.find(card.name) is card
        assert cards.find(card.name.lower().replace(" ", "")) is card
        assert cards.find(f"NVIDIA {card.name.replace(' ', '-')}") is card


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("rtx4090", "RTX 4090"),
        ("4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("Tesla T4", "T4"),
        ("h100", "H100 80GB"),
        ("NVIDIA H100 80GB HBM3", "H100 80GB"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("Tesla V100-SXM2-16GB", "V100 16GB"),
        ("a6000", "RTX A6000"),
    ],
)
def test_a_card_is_found_as_drivers_and_people_call_it(written: str, name: str) -> None:
    assert cards.find(written).name == name


@pytest.mark.parametrize(("written", "sizes"), [("a100", ("40 GB", "80 GB")), ("V100", ("16 GB", "32 GB"))])
def test_a_card_that_is_sold_in_two_sizes_has_to_be_named_in_full(
    written: str, sizes: tuple[str, str]
) -> None:
    with pytest.raises(UsageError) as raised:
        cards.find(written)
    assert all(size in raised.value.message for size in sizes)
    assert raised.value.hint is not None
    assert f"{written.upper()} {sizes[0].replace(' ', '')}" in raised.value.hint


def test_an_unknown_card_is_answered_with_the_nearest_and_all_others() -> None:
    with pytest.raises(UsageError, match="rtx 4091") as raised:
        cards.find("rtx 4091")
    hint = raised.value.hint or ""
    assert hint.startswith("Did you mean RTX 4090")
    assert all(card.name in hint for card in cards.CARDS)


@pytest.mark.parametrize("nothing", ["", "  ", "rtx", "nvidia"])
def test_no_name_is_no_card(nothing: str) -> None:
    with pytest.raises(UsageError):
        cards.find(nothing)
