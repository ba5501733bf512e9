"""Files of rows: nothing that is whole is lost, nothing that does not hold stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from modelsum.errors import OutputError, UsageError
from modelsum.sweeps.files import Output, merge, read
from modelsum.sweeps.rows import Row

FORMS = pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.parquet"])
AXES = ("model", "input", "args.x", "batch")


def row(number: int, status: str = "ok", question: str = "", **axes: Any) -> Row:
    point = {"model": "a", "batch": number, **axes}
    figures = {"params": 10**12 + number, "macs": None} if status == "ok" else {}
    reason = "" if status == "ok" else 'it said "no",\nand ended'
    return Row(point, status, question or f"q{number}", figures, "lower" if status == "ok" else "", reason)


def asked(point: Mapping[str, Any]) -> str | None:
    """The question of batch 1 to 9; others are of another sweep."""
    return f"q{point['batch']}" if 1 <= point["batch"] <= 9 else None


def write(path: Path, *rows: Row, ask: Callable[..., str | None] = asked, retry: bool = False) -> Output:
    with Output(path).open() as output:
        output.settle(AXES, ask, retry=retry)
        for each in rows:
            output.add(each, None)
    return output


def numbers(path: Path) -> list[Any]:
    return [each.point["batch"] for each in read(path)]


@FORMS
def test_rows_are_read_as_they_were_written(name: str, tmp_path: Path) -> None:
    """Also texts that look like numbers, and values of many kinds on one axis."""
    values = ["3", 3, 3.0, True, None, [1, "a"], {"k": [2]}, "", 'a "b", c', "3x4"]
    rows = [row(n, **{"args.x": value}) for n, value in enumerate(values, 1)]
    write(tmp_path / name, *rows, row(0, "error"))
    *found, failed = read(tmp_path / name)
    assert [(each.point["args.x"], type(each.point["args.x"])) for each in found] == [
        (value, type(value)) for value in values
    ]
    assert [each.figures["params"] for each in found] == [10**12 + n for n in range(1, 11)]
    assert {each.memory_bound for each in found} == {"lower"}
    assert (failed.status, failed.figures) == ("error", {})
    assert failed.reason.split() == ["it", "said", '"no",', "and", "ended"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@FORMS
def test_what_is_done_is_known_and_more_is_added(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path, row(1), row(2, "lost"), row(30))
    output = write(path, row(3))
    assert output.done == {"q1", "q2", "q3"}
    assert output.others == 1
    assert output.statuses == {"ok": 2, "lost": 1}
    assert numbers(path) == [1, 2, 30, 3]
    assert write(path, retry=True).done == {"q1", "q3"}
    assert numbers(path) == [1, 30, 3], "what is done again is not there twice"


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_a_row_that_was_cut_off_is_as_good_as_none(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path, row(1), row(2))
    whole = path.read_bytes()
    for lost in range(1, len(whole.splitlines(keepends=True)[-1]) + 1):
        path.write_bytes(whole[:-lost])
        assert write(path).done == {"q1"}
    assert write(path, row(2)).done == {"q1", "q2"}
    assert path.read_bytes() == whole


def test_the_first_row_may_be_cut_off_too(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"model": "a", "ba')
    assert write(path, row(1)).done == {"q1"}
    assert numbers(path) == [1]


def test_a_row_of_other_versions_or_a_line_that_is_none_does_not_stay(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    write(path, row(1, question="of_another_version"), row(2), ask=lambda point: None)
    path.write_text(path.read_text() + "scribbled,in,it\n")
    before = path.read_text()
    output = write(path)
    assert (output.done, output.stale) == ({"q2"}, 1)
    assert numbers(path) == [2]
    assert path.with_name("rows.csv.before").read_text() == before, "it may have been a mistake"


def test_another_axis_is_another_column(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    write(path, row(1))
    with Output(path).open() as output:
        output.settle(("args.depth", *AXES), asked)
        output.add(row(2, **{"args.depth": 3}), None)
    assert [each.point.get("args.depth") for each in read(path)] == [None, 3]


@pytest.mark.parametrize(
    ("name", "content"), [("notes.csv", "a,b\n1,2"), ("notes.jsonl", '{"a": 1}\n{"a'), ("n.parquet", "no")]
)
def test_a_file_of_something_else_stays_as_it_is(name: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UsageError, match="no file of rows"):
        write(path, row(1))
    assert path.read_text() == content
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_file_has_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with Output(path).open(), pytest.raises(OutputError, match="another sweep is writing"):
        write(path)


def test_an_ending_that_is_no_form(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"'\.cvs' is no file of rows") as caught:
        Output(tmp_path / "rows.cvs")
    assert ".csv" in str(caught.value.hint)


def test_shares_are_merged_each_point_once(tmp_path: Path) -> None:
    one, two, merged = (tmp_path / name for name in ("1.csv", "2.parquet", "all.jsonl"))
    write(one, row(1), row(2, "lost"))
    write(two, row(3), row(2))
    assert merge([one, two], merged) == 3
    assert {(each.point["batch"], each.status) for each in read(merged)} == {(1, "ok"), (2, "ok"), (3, "ok")}
    other = tmp_path / "3.csv"
    write(other, Row(row(1).point, "ok", "q1", {"params": 5}))
    with pytest.raises(UsageError, match="other figures of the same point"):
        merge([one, other], merged)
    assert len(list(read(merged))) == 3
