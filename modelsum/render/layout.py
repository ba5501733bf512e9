"""How texts, tables and cells are laid out: the pieces that the renderers share."""

from __future__ import annotations

import csv
import io
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

GAP = "  "
#: Columns of a text that is no table of layers, where there is no terminal.
WIDTH = 80

_ELLIPSIS = "\u2026"
_EIGHTHS = " \u258f\u258e\u258d\u258c\u258b\u258a\u2589"
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
#: What is code in a text: it is between backticks.
CODE = re.compile(r"(`[^`\n]+`)")


# ---- text


def wrapped(text: str, width: int | None, further: int = 0, first: int = 0) -> list[str]:
    """The lines of a text, indented by `first` and then by `further`; one for a width of None.

    A word that is longer than a line stays whole, and so can be copied.
    """
    if width is None or first + len(text) <= width:
        return [" " * first + text]
    return textwrap.wrap(
        text,
        max(width, further + 10),
        initial_indent=" " * first,
        subsequent_indent=" " * further,
        break_on_hyphens=False,
        break_long_words=False,
    )


def stated(label: str, value: str, width: int | None, room: int = 10) -> list[str]:
    """ "Label:    value", the value in a column of its own."""
    return wrapped(f"{f'{label}:':{room}}{value}", width, room)


def all_stated(facts: Iterable[tuple[str, str]], width: int | None, room: int = 10) -> Iterator[str]:
    """Labels and values so, below each other."""
    return (line for label, value in facts for line in stated(label, value, width, room))


def aligned(rows: Sequence[Sequence[str]], words: int = 1) -> list[str]:
    """The rows in columns: the first `words` of them to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [str.ljust if place < words else str.rjust for place in range(len(widths))]
    return [
        GAP.join(side(cell, width) for side, cell, width in zip(sides, row, widths, strict=True)).rstrip()
        for row in rows
    ]


def filled(rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """The rows in columns that take all of a width: figures to the right, the words before them wrapped."""
    sizes = [max(map(len, column)) for column in list(zip(*rows, strict=True))[1:]]
    first = width - sum(sizes) - len(GAP) * len(sizes)
    for words, *cells in rows:
        line, *rest = textwrap.wrap(words, first, subsequent_indent="  ", break_on_hyphens=False)
        yield GAP.join((line.ljust(first), *map(str.rjust, cells, sizes))).rstrip()
        yield from rest


def cut_left(text: str, width: int | None) -> str:
    """The text without its beginning where it is too long."""
    return text if width is None or len(text) <= width else _ELLIPSIS + text[len(text) - width + 1 :]


def cut_right(text: str, width: int | None) -> str:
    """The text without its end where it is too long."""
    return text if width is None or len(text) <= width else text[: max(width - 1, 0)] + _ELLIPSIS


def bar(share: float, width: int) -> str:
    """A bar that fills so much of `width` characters; something is never nothing."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8) or int(share > 0)
    return ("\u2588" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip().ljust(width)


def painted(text: str, style: str) -> str:
    """The text for a terminal, in a style like "bold red"; as it is without one."""
    codes = ";".join(_CODES[word] for word in style.split())
    return f"\033[{codes}m{text}\033[0m" if codes and text else text


# ---- Markdown


def markdown_plain(text: str) -> str:
    """The text with what Markdown would take for a tag, a column or emphasis marked as plain; code stays."""
    parts = CODE.split(text.replace("|", "\\|"))
    parts[::2] = (part.replace("<", "&lt;").replace("*", "\\*") for part in parts[::2])
    return "".join(parts)


# ---- CSV


#: A row of a CSV file: a cell for each column, or cells by the names of columns.
Cells: TypeAlias = Mapping[str, Any] | Sequence[Any]


def csv_text(rows: Iterable[Cells]) -> str:
    """The rows, the first of which has the names of the columns; truth values as in JSON, None empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns: Sequence[str] = ()
    for row in rows:
        columns = columns or list(row)
        cells = map(row.get, columns) if isinstance(row, Mapping) else row
        writer.writerow([str(cell).lower() if isinstance(cell, bool) else cell for cell in cells])
    return out.getvalue()
