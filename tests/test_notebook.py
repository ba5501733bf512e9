"""What a notebook shows of a value, and what goes on from there as a page or a table."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hand_made_pages import HOSTILE, PAGES, WITH_STEP, hostile
from hand_made_summary import LAYERS

from modelsum.errors import UsageError

SHOWN = [name for name in PAGES if name != "check"]  # which is no result of a notebook


class Read(HTMLParser):
    """The tags of a fragment; every one that is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        self.text += text


@pytest.mark.parametrize("name", SHOWN)
def test_a_value_is_a_fragment_without_scripts_in_the_colours_around_it(name: str) -> None:
    fragment = PAGES[name]()._repr_html_()
    assert {"script", "link", "img"}.isdisjoint(Read(fragment).tags)
    assert "table" in Read(fragment).tags
    assert "color: inherit" in fragment
    assert "url(" not in fragment


def test_the_fragment_of_a_summary_begins_with_the_answer() -> None:
    text = Read(WITH_STEP._repr_html_()).text
    assert "Training: 300.00 MiB to 1.76 GiB of device memory with adamw" in text
    assert text.index("Training: 300.00 MiB") < text.index("features.0")


def test_what_a_model_wrote_is_text() -> None:
    read = Read(hostile()._repr_html_())
    assert HOSTILE in read.text
    assert {"script", "img"}.isdisjoint(read.tags)


def test_to_html_writes_the_page(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    WITH_STEP.to_html(file)
    assert file.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_has_a_row_a_call_and_whole_numbers(library: str) -> None:
    pytest.importorskip(library)
    frame = WITH_STEP.to_frame(library)
    assert type(frame).__module__.partition(".")[0] == library
    assert len(frame) == len(LAYERS) == 12
    assert list(frame["path"])[:3] == ["", "features", "features.0"]
    assert sum(frame["own_macs"]) == 11_328
    assert str(frame["parent"].dtype) == "Int64"  # the root has none


def test_a_frame_of_what_is_not_there_says_how_to_get_it() -> None:
    with pytest.raises(UsageError, match="no table of 'panda'") as caught:
        WITH_STEP.to_frame("panda")
    assert "Did you mean pandas?" in str(caught.value)


CELLS = """\
import sys
sys.path.insert(0, {tests!r})
from hand_made_pages import PAGES
import modelsum
PAGES["show"]()
===
PAGES["diff"]()
===
PAGES["compare"]()
===
PAGES["fit"]()
"""


def test_a_notebook_that_is_run_has_them_in_it(tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    code = CELLS.format(tests=str(Path(__file__).parent)).split("===\n")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in code])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = [cell.outputs[0].data for cell in notebook.cells]
    assert [data["text/html"].startswith('<div class="modelsum">') for data in shown] == [True] * 4
    nbformat.validate(notebook)
