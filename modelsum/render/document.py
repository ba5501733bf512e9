"""What is said of a value as headings, tables and sentences, and these as Markdown and as HTML.

Texts are plain, but for `code` between backticks. HTML is a fragment without scripts, for a notebook: it
takes its colours from the page that it stands in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, TypeAlias

from modelsum.render.layout import CODE, markdown_plain


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of what follows."""

    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence, and a word in bold that says what it is; without that word all of it may be `strong`."""

    text: str
    label: str = ""
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """Sentences below each other."""

    items: tuple[str, ...]

    @classmethod
    def of(cls, facts: Iterable[Sequence[str]]) -> Listed:
        """Labels and what is said of each."""
        return cls(tuple(f"{label}: {value}" for label, value, *_ in facts))


@dataclass(frozen=True, slots=True)
class Table:
    """Rows below a header; `alignment` is "l" or "r" for each column."""

    header: Sequence[str]
    alignment: str
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Notice:
    """What the reader should know about how figures were reached."""

    text: str


Block: TypeAlias = Heading | Said | Listed | Table | Notice


# ---- Markdown


def markdown(blocks: Iterable[Block]) -> str:
    """The blocks as GitHub-flavoured Markdown."""
    return "\n\n".join(_MARKDOWN[type(block)](block) for block in blocks)


def _said(block: Said) -> str:
    if block.label:
        return f"**{markdown_plain(block.label)}:** {markdown_plain(block.text)}".rstrip()
    return f"**{markdown_plain(block.text)}**" if block.strong else markdown_plain(block.text)


def _table(block: Table) -> str:
    rules = ["---:" if side == "r" else ":---" for side in block.alignment]
    head, *body = ([_cell(cell) for cell in row] for row in (block.header, *block.rows))
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rules, *body))


def _cell(text: str) -> str:
    inner = text.lstrip(" ")
    return "&nbsp;" * (len(text) - len(inner)) + markdown_plain(inner)


_MARKDOWN: Mapping[type, Callable[[Any], str]] = {
    Heading: lambda block: f"## {markdown_plain(block.text)}",
    Said: _said,
    Listed: lambda block: "\n".join(f"- {markdown_plain(item)}" for item in block.items),
    Table: _table,
    Notice: lambda block: f"> **Notice:** {markdown_plain(block.text)}",
}


# ---- HTML

_STYLE = """
.modelsum { font: 13px/1.45 system-ui, sans-serif; color: inherit; overflow-x: auto }
.modelsum h3 { font-size: 1.15em; margin: 0 0 .4em }
.modelsum table { border-collapse: collapse; margin: .6em 0; color: inherit; background: none }
.modelsum th, .modelsum td { padding: .15em .7em; text-align: left; background: none; color: inherit;
  border-bottom: 1px solid color-mix(in srgb, currentColor 22%, transparent) }
.modelsum .r { text-align: right; font-variant-numeric: tabular-nums }
.modelsum ul { margin: .4em 0; padding-left: 1.2em } .modelsum p { margin: .4em 0 }
.modelsum .notice { border-left: 3px solid #b58900; padding-left: .6em }
""".strip()


def html(blocks: Iterable[Block]) -> str:
    """The blocks as a fragment of HTML with its style."""
    return f'<div class="modelsum"><style>{_STYLE}</style>\n{elements(blocks)}\n</div>'


def elements(blocks: Iterable[Block]) -> str:
    """The blocks as elements without a style of their own."""
    return "\n".join(_HTML[type(block)](block) for block in blocks)


def inline(text: str) -> str:
    """A text with what HTML would take for markup as plain; code between backticks is an element."""
    parts = CODE.split(text)
    return "".join(
        f"<code>{escape(part[1:-1])}</code>" if place % 2 else escape(part)
        for place, part in enumerate(parts)
    )


def _html_said(block: Said) -> str:
    strong = block.label or (block.text if block.strong else "")
    rest = block.text if block.label else "" if block.strong else block.text
    head = f"<strong>{inline(strong)}{':' * bool(block.label)}</strong> " if strong else ""
    return f"<p>{f'{head}{inline(rest)}'.strip()}</p>"


def _html_table(block: Table) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        made = (
            f"<{tag}{side}>{'&nbsp;' * (len(cell) - len(cell.lstrip(' ')))}{inline(cell.lstrip(' '))}</{tag}>"
            for side, cell in zip(sides, cells, strict=True)
        )
        return f"<tr>{''.join(made)}</tr>"

    sides = [' class="r"' if side == "r" else "" for side in block.alignment]
    body = "\n".join(row(cells, "td") for cells in block.rows)
    return f"<table><thead>{row(block.header, 'th')}</thead><tbody>\n{body}\n</tbody></table>"


_HTML: Mapping[type, Callable[[Any], str]] = {
    Heading: lambda block: f"<h3>{inline(block.text)}</h3>",
    Said: _html_said,
    Listed: lambda block: f"<ul>{''.join(f'<li>{inline(item)}</li>' for item in block.items)}</ul>",
    Table: _html_table,
    Notice: lambda block: f'<p class="notice"><strong>Notice:</strong> {inline(block.text)}</p>',
}
