"""A page to look at: one file of HTML that asks the network for nothing.

A page is a title, an answer and sections. A section is of a kind: `sections/KIND.html` says what is there
without a script, `KINDS` which scripts work it. Whatever a model or its author wrote is escaped by the
template, and the policy of the page lets nothing run but the one script that is hashed in it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from modelsum.render.document import Block, elements, inline
from modelsum.version import __version__

#: The scripts of each kind of section, in their order; none where its HTML is all.
KINDS: Mapping[str, tuple[str, ...]] = {
    "icicle": ("tree", "partition", "icicle"),
    "timeline": ("tree", "timeline"),
    "layers": ("tree", "layers"),
    "changes": ("tree", "partition", "changes"),
    "bars": (),
    "chart": (),
    "parts": (),
    "scatter": (),
    "verdicts": (),
    "words": (),
}

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a page.

    Attributes:
        kind: of `KINDS`.
        id: its anchor, unique on the page.
        title: its heading.
        data: for its template, and for its scripts as JSON where it has some.
        words: what it says without a picture.
        words_title: what these are called.
        is_open: they are shown from the start.
    """

    kind: str
    id: str
    title: str
    data: Any = None
    words: Sequence[Block] = ()
    words_title: str = "In words"
    is_open: bool = False

    @property
    def words_html(self) -> Any:
        """The words as elements."""
        from markupsafe import Markup

        return Markup(elements(self.words))


@dataclass(frozen=True, slots=True)
class Page:
    """What is shown of a value.

    Attributes:
        title: what it is of.
        about: lines below it.
        answer: label, value and note of what people came for.
        sections: in their order.
        notices: what the reader should know about how figures were reached.
        made_with: versions, for the last line.
        model: compact columns (`modelsum.render.page.columns`) that several sections share.
    """

    title: str
    about: Sequence[str]
    answer: Sequence[tuple[str, str, str]]
    sections: Sequence[Section]
    notices: Sequence[str] = ()
    made_with: Mapping[str, str] = field(default_factory=lambda: {"modelsum": __version__})
    model: Any = field(default=None)


def html(page: Page) -> str:
    """The page as one file."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["code"] = lambda text: Markup(inline(text))
    names = list(dict.fromkeys(name for section in page.sections for name in KINDS[section.kind]))
    script = _script(tuple(names)) if names else ""
    style = _text("page.css")
    data = {section.id: section.data for section in page.sections if KINDS[section.kind]}
    return environment.get_template("page.html").render(
        page=page,
        version=__version__,
        style=Markup(style),
        style_hash=_hash(style),
        script=Markup(script),
        script_hash=_hash(script),
        data=Markup(_json({"model": page.model, "sections": data})),
    )


@cache
def _script(names: tuple[str, ...]) -> str:
    parts = [_text("page.js"), *(_text(f"sections/{name}.js") for name in names)]
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "\nstart();\n})();\n"


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """As a policy names what it lets run: of the very text between the tags."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _json(value: Any) -> str:
    """JSON that cannot end the element that it stands in."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
