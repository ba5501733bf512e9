"""On which line of a JSON file a value stands."""

from __future__ import annotations

import pytest

from modelsum.baselines.lines import of_json

TEXT = """\
{
  "totals": {"macs": 1,
    "params": 2},
  "rows": [
    {
      "path": "a: {[,\\"",
      "shape": [1, 2,
        3]
    },
    {"path": "b",
     "empty": {}, "none": [], "last": null}
  ],
  "": true
}
"""


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ((), 1),
        (("totals",), 2),
        (("totals", "macs"), 2),
        (("totals", "params"), 3),
        (("rows",), 4),
        (("rows", 0), 5),
        (("rows", 0, "path"), 6),
        (("rows", 0, "shape"), 7),
        (("rows", 0, "shape", 1), 7),
        (("rows", 0, "shape", 2), 8),
        (("rows", 1), 10),
        (("rows", 1, "path"), 10),
        (("rows", 1, "last"), 11),
        (("",), 13),
    ],
)
def test_the_line_of_every_value(key: tuple[str | int, ...], line: int):
    assert of_json(TEXT).of(key) == line


def test_a_key_that_is_not_there_is_where_it_would_be():
    assert of_json(TEXT).of(("rows", 1, "macs")) == 10
    assert of_json(TEXT).of(("rows", 7)) == 4
    assert of_json(TEXT).of(("more",)) == 1


def test_one_line_is_line_one():
    assert of_json('{"a": [{"b": 1}]}').of(("a", 0, "b")) == 1
