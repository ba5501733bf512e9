"""The words that a user writes: dtypes in every spelling, inputs and arguments that are given once."""

from __future__ import annotations

import pytest

from modelsum import spec
from modelsum.errors import ArgumentError, InputError, UsageError
from modelsum.memory import MemoryOptions


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("float32", ("float32", "fp32", "float", "torch.float32")),
        ("float16", ("float16", "fp16", "half", "FP16", "torch.half")),
        ("bfloat16", ("bfloat16", "bf16", "BF16", "torch.bfloat16")),
        ("float64", ("float64", "fp64", "double")),
    ],
)
def test_a_dtype_goes_by_all_its_names(name: str, words: tuple[str, ...]) -> None:
    assert {spec.check_dtype(word) for word in words} == {name}
    assert {spec.parse_input(f"3x4:{word}").dtype for word in words} == {name}


@pytest.mark.parametrize(("word", "dtype"), [("long", "int64"), ("int", "int32"), ("short", "int16")])
def test_integers_are_inputs_alone(word: str, dtype: str) -> None:
    assert spec.parse_input(f"ids=16:{word}").dtype == dtype
    with pytest.raises(UsageError, match=f"unknown dtype '{word}'"):
        spec.check_dtype(word)


@pytest.mark.parametrize(
    ("amp", "words"), [("bf16", ("bf16", "bfloat16", "BF16")), ("fp16", ("fp16", "float16", "half"))]
)
def test_autocast_takes_the_same_words(amp: str, words: tuple[str, ...]) -> None:
    assert {MemoryOptions(amp=word).amp for word in words} == {amp}


@pytest.mark.parametrize("word", ["float32", "int8", "bf61"])
def test_autocast_takes_no_other(word: str) -> None:
    with pytest.raises(UsageError, match=f"amp '{word}' is not known"):
        MemoryOptions(amp=word)


def test_a_keyword_is_given_once() -> None:
    """Positional inputs are told apart by their order."""
    assert len(spec.parse_inputs(["3", "3", "x=4", "y=4"])) == 4
    with pytest.raises(InputError, match="input 'x' is given twice"):
        spec.parse_inputs(["x=3", "y=3", "x=4"])
    with pytest.raises(ArgumentError, match="argument 'n' is given twice"):
        spec.parse_arguments(["n=1", "m=2", "n=1"])


@pytest.mark.parametrize(
    ("text", "value"),
    [("scale=0.5", "0.5"), ("on=True", "True"), ("kind='b'", "'b'"), ("mask=None", "None"), ("steps=0", "0")],
)
def test_a_keyword_may_have_a_literal_that_is_no_shape(text: str, value: str) -> None:
    given = spec.parse_input(text)
    assert (given.name, given.value, str(given)) == (text.partition("=")[0], value, text)


def test_one_size_of_a_keyword_may_be_a_number() -> None:
    assert spec.parse_input("lengths=40").may_be_a_number
    assert not any(spec.parse_input(text).may_be_a_number for text in ("40", "x=4x4", "x=40:int64"))
