"""The door of the renderers: which formats there are, and what they load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hand_made_summary import TINY

from modelsum.errors import UsageError
from modelsum.render import FORMATS, RenderOptions, render


def test_the_formats():
    assert FORMATS["Summary"] == (
        "text",
        "torchsummary",
        "json",
        "csv",
        "markdown",
        "html",
        "trace",
        "speedscope",
    )


def test_an_unknown_format_names_the_nearest_and_the_valid_ones():
    with pytest.raises(UsageError) as caught:
        render(TINY, "markdwon", RenderOptions())
    assert str(caught.value) == (
        "unknown format 'markdwon'\n"
        "Did you mean markdown? Valid are text, torchsummary, json, csv, markdown, html, trace, speedscope."
    )


def test_a_negative_depth_is_refused():
    with pytest.raises(UsageError, match="depth -1 is negative"):
        render(TINY, "text", RenderOptions(depth=-1))


def test_rendering_loads_neither_torch_nor_what_only_a_page_needs():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from hand_made_summary import TINY;"
        "from modelsum.render import FORMATS, RenderOptions, render;"
        "[render(TINY, f, RenderOptions()) for f in FORMATS['Summary'] if f not in ('html', 'trace')];"
        "print(sorted({'torch', 'rich', 'numpy', 'jinja2'} & set(sys.modules)))"
    )
    tests = str(Path(__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code, tests], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
