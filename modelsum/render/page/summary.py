"""A summary as a page: where its costs are, the memory over its step, and its layers."""

from __future__ import annotations

from collections.abc import Iterator

from modelsum.memory_values import Memory, Point
from modelsum.render import RenderOptions
from modelsum.render.document import Block, Said, Table
from modelsum.render.page import Page, Section
from modelsum.render.page.columns import of_summary, runs, steps
from modelsum.render.page.parts import Bar, drawn
from modelsum.render.summary import cells, facts
from modelsum.render.summary.document import figures as figures_of
from modelsum.render.summary.document import layers
from modelsum.render.summary.table import table_of
from modelsum.summary import Summary
from modelsum.units import binary_bytes, binary_unit

_FIGURES = {"params": "Parameters", "macs": "MACs", "saved": "Saved for backward", "peak": "Peak"}


def page(summary: Summary, options: RenderOptions) -> Page:
    """The page of a summary."""
    provenance = [f"{fact.label}: {fact.value}" for fact in facts.provenance(summary)]
    model = of_summary(summary)
    unfinished = facts.unfinished(summary)
    return Page(
        title=cells.model_name(summary.model),
        about=provenance,
        answer=[_card(*fact) for fact in facts.answer(summary) or facts.totals(summary)],
        sections=list(_sections(summary, model["figures"])),
        notices=[*([unfinished] if unfinished else []), *facts.notices(summary)],
        made_with=summary.made_with,
        model=model,
    )


def _card(label: str, value: str, note: str = "") -> tuple[str, str, str]:
    """What an answer begins with is large, the rest of it small."""
    for end in (" of device memory", " of live tensors", " for a batch", " for these", " ("):
        head, found, rest = value.partition(end)
        if found == " (":
            return label, head, rest.replace(")", "", 1)
        if found:
            return label, head, (found + rest).strip()
    return label, value, note


def _sections(summary: Summary, figures: list[str]) -> Iterator[Section]:
    name = cells.model_name(summary.model)
    titles = [(figure, _FIGURES[figure]) for figure in figures]
    sized = "macs" if summary.called else "params"
    costliest = table_of(summary, RenderOptions(top=12, sort=sized))
    where = {"figures": titles, "label": f"Icicle of {name}: its layers by what they cost"}
    yield Section(
        "icicle", "where", "Where it goes", where, [layers(summary, costliest), Said(costliest.note)]
    )
    memory = summary.memory
    if memory is not None and memory.timeline:
        of = "a training step" if memory.training else "the forward pass"
        yield Section("timeline", "memory", f"Memory over {of}", _timeline(memory, of), list(_phases(memory)))
    if memory is not None and memory.ranks:
        rows: list[Block] = [Table(facts.RANKS_HEADER, "ll" + "r" * 6, facts.ranks(memory))]
        yield Section("parts", "ranks", "Ranks, each at its peak", _ranks(memory), rows)
    shown = [(figure, _FIGURES[figure]) for figure in figures]
    size, unit = binary_unit(memory.peak.bytes if memory else 1)
    if memory and memory.peak.bytes >= 1 << 30:
        size, unit = 1 << 20, "MiB"
    short = {"saved": f"Saved, {unit}", "peak": f"Peak, {unit}", "params": "Params"}
    data = {
        "columns": [(figure, short.get(figure, title)) for figure, title in shown],
        "unit": [size, unit],
        "label": f"Layers of {name}",
    }
    yield Section("layers", "layers", "Layers", data)
    words = list(figures_of(summary))
    yield Section("words", "figures", "All figures", words=words, words_title="Tables", is_open=True)


def _timeline(memory: Memory, of: str) -> dict[str, object]:
    points = memory.timeline
    paths = list(dict.fromkeys(point.module for point in points))
    names = [name for name in points[0].parts if any(point.parts[name] for point in points)]
    peak = max(range(len(points)), key=lambda place: points[place].live_bytes)
    return {
        "label": f"Memory over {of}: what is live at a moment",
        "events": steps([point.event for point in points]),
        "phases": runs([point.phase for point in points]),
        "paths": paths,
        "modules": runs([paths.index(point.module) for point in points]),
        "parts": [(name.replace("_", " "), steps([point.parts[name] for point in points])) for name in names],
        "peak": peak,
    }


def _ranks(memory: Memory) -> dict[str, object]:
    bars = [
        Bar(f"{which} ({where})", rank.peak.parts)
        for (which, where, *_), rank in zip(facts.ranks(memory), memory.ranks, strict=True)
    ]
    return drawn("What every distinct rank holds at its peak, by part", bars)


def _phases(memory: Memory) -> Iterator[Block]:
    """The highest moment of each phase, and what is live then."""
    highest: dict[str, Point] = {}
    for point in memory.timeline:
        if point.phase not in highest or point.live_bytes > highest[point.phase].live_bytes:
            highest[point.phase] = point
    names = [name for name in memory.timeline[0].parts if any(p.parts[name] for p in highest.values())]
    yield Table(
        ("Phase", "At most", "at", *(name.replace("_", " ") for name in names)),
        "lrl" + "r" * len(names),
        [
            (
                phase,
                binary_bytes(point.live_bytes),
                f"`{point.module}`" if point.module else "the model itself",
                *(binary_bytes(point.parts[name]) for name in names),
            )
            for phase, point in highest.items()
        ],
    )
