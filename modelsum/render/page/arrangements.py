"""Arrangements as a page: what each needs beside the line of the card, and what it sends."""

from __future__ import annotations

from collections.abc import Iterator

from modelsum.memory.ranks.arrangements import Arrangement, Arrangements
from modelsum.render import RenderOptions
from modelsum.render.arrangements import table, words
from modelsum.render.document import Block, Listed, Said
from modelsum.render.fit.words import room_words
from modelsum.render.page import Page, Section
from modelsum.render.page.parts import Bar, drawn
from modelsum.render.summary.cells import model_name
from modelsum.units import binary_bytes, count


def page(found: Arrangements, options: RenderOptions) -> Page:
    """The page of what was tried."""
    fitting = [each for each in found.tried if each.fits]
    answer = [("Ways that fit", f"{count(len(fitting))} of {count(len(found.tried))}", words.room(found))]
    if fitting:
        best = fitting[0]
        answer.append(("Cheapest in communication", best.mesh, best.words))
        answer.append(("It needs", binary_bytes(best.least_bytes), "at most, of each GPU"))
    return Page(
        title=f"{model_name(found.model)} on {words.room(found)}",
        about=[words.verdict(found)],
        answer=answer,
        sections=list(_sections(found)),
        notices=found.notices,
        made_with=found.made_with,
    )


def _sections(found: Arrangements) -> Iterator[Section]:
    bars = [
        Bar(each.words.removeprefix("--mesh ").replace(" --", ", "), _parts(each)) for each in found.tried
    ]
    picture = drawn("What each arrangement needs, by part", bars, (found.room.bytes, room_words(found.room)))
    yield Section("parts", "ways", "Meshes and ways", picture, [table(found)], is_open=True)
    about: list[Block] = []
    if found.refused:
        about += [Said("", "Not possible"), Listed(tuple(words.refused(found)))]
    about.append(Listed.of(words.provenance(found)))
    yield Section("words", "about", "What was asked", words=about, words_title="List", is_open=True)


def _parts(each: Arrangement) -> dict[str, int]:
    """What is live at its peak, and what the process takes besides."""
    if each.need is None:
        return {"weights and gradients alone": each.held_bytes}
    besides = each.need.bytes - each.need.peak.bytes
    return {**each.need.peak.parts, "allocator and process besides": besides}
