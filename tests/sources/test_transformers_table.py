"""table.toml: every row is read as it says, and is needed by the transformers that is installed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from modelsum import spec
from modelsum.sources.transformers import source

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from modelsum.sources.transformers import table as rows  # noqa: E402  (imports torch)
from modelsum.sources.transformers import words  # noqa: E402
from modelsum.trace.isolation import isolated  # noqa: E402
from modelsum.trace.values.known_values import carried, value_of  # noqa: E402

META = torch.device("meta")
TABLE = rows.table()

complete = pytest.mark.skipif(
    not set(TABLE) <= set(source.names()),
    reason=f"transformers {transformers.__version__} knows fewer types than the table was made for",
)

# Rows that the default model of their type does not need, or that it cannot be built for: what they are for.
NOT_BY_DEFAULT: dict[str, tuple[str, dict[str, Any]]] = {
    "granite4_vision": ("granite4_vision", {"deepstack_layer_map": [[3, 9]], "downsample_rate": "1/2"}),
    "musicgen": ("musicgen:MusicgenForConditionalGeneration", {}),
    "musicgen_melody": ("musicgen_melody:MusicgenMelodyForConditionalGeneration", {}),
}

# One for each way of writing an argument, among those that are soon built.
EVERY_DAY = (
    "bamba",  # a value
    "blip_2_qformer",  # shapes with numbers and entries
    "blt_local_encoder",  # a number that is worked out, and a named maker
    "csm",  # left out
    "decision_transformer",
    "inkling2_vision",  # like another row; numbers for each sample
    "kosmos-2",  # one after the other
    "musicgen",  # for another class than the default one
    "qwen3_asr_encoder",
    "sam2_video",  # a state that the model keeps
    "sam3_mask_decoder",  # a list
    "voxtral_realtime_text",  # an argument that forward does not name
    "xmod",
)


# ---- the file


def test_the_table_is_sorted_and_every_row_has_a_reason() -> None:
    assert list(TABLE) == sorted(TABLE)
    assert [name for name, row in TABLE.items() if not row.get("why", "").endswith(".")] == []


def test_a_row_is_like_one_that_has_arguments_of_its_own() -> None:
    """Whoever looks a row up finds its arguments in one step."""
    for row in TABLE.values():
        assert "like" not in row or "like" not in TABLE[row["like"]]


def test_every_named_maker_and_number_is_used() -> None:
    text = rows._FILE.read_text(encoding="utf-8")
    written = [line.partition(" = ")[2] for line in text.splitlines() if not line.startswith(("#", "why"))]
    assert [name for name in words.MAKERS if f'"{name}"' not in written] == []
    found = {word for line in written for word in re.findall(r"\w+", line)}
    assert [name for name in words.NUMBERS if name not in found] == []


@complete
def test_the_table_names_model_types() -> None:
    assert set(TABLE) <= set(source.names())


# ---- how an argument is written


class Config:
    """A configuration with a part, a list and a number."""

    class vision_config:
        heads = 3

    layers = (1, 2)
    hidden_size = 8


def call(batch: int = 2) -> Any:
    from modelsum.sources.transformers.call import Call

    class Model:
        dtype = torch.float32

    return Call(Model(), Config(), batch, 5, torch.device("cpu"), frozenset(), {})


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("7", 7),
        ("batch", 2),
        ("tokens", 5),
        ("hidden_size", 8),
        ("vision_config.heads", 3),
        ("layers", 2),  # the length of a list
        ("tokens + 3 // 4", 2),  # from left to right
        ("2 + tokens * hidden_size", 56),
        ("tokens max hidden_size - tokens", 3),
    ],
)
def test_a_number(written: str, number: int) -> None:
    assert rows.number(written, call()) == number


def test_tensors() -> None:
    """Random numbers of the model's dtype, a bool, a number everywhere, numbers for each sample."""
    numbers = rows.value("float[batch, 4, hidden_size]", call())
    assert numbers.shape == (2, 4, 8)
    assert numbers.dtype == torch.float32
    assert rows.value("float[]", call()).shape == ()
    assert rows.value("true[batch, 3]", call()).tolist() == [[True] * 3] * 2
    assert rows.value("hidden_size * 2[batch]", call()).tolist() == [16, 16]
    assert rows.value("[tokens, 1]", call()).tolist() == [[5, 1]] * 2
    assert rows.value("1[batch, 2] then 0[batch, 1]", call()).tolist() == [[1, 1, 0]] * 2


def test_values_lists_and_names() -> None:
    assert rows.value(False, call()) is False
    assert rows.value(["1[1]", "2[1]"], call()) == [torch.tensor([1]), torch.tensor([2])]
    assert rows.value("positions", call()).tolist() == [[0, 1, 2, 3, 4]] * 2
    assert rows.value("left out", call()) is None
    assert rows.value("tokens + 1", call()) == 6


# ---- the rows


def written_out(value: Any) -> Any:
    """A value that can be compared: of a tensor its shape, its dtype and what is known of its values."""
    if isinstance(value, torch.Tensor):
        known = value_of(value) if value.is_meta else value
        return tuple(value.shape), value.dtype, None if known is None else known.flatten().tolist()
    if isinstance(value, (list, tuple)):
        return [written_out(one) for one in value]
    if isinstance(value, dict):
        return {name: written_out(one) for name, one in value.items()}
    return value if isinstance(value, (bool, int, type(None))) else type(value)


def calls(loaded: Any) -> list[Any]:
    """The calls for one sample, and for two with a text of 8 tokens; None for one that cannot be made."""
    made: list[Any] = []
    for batch, length in ((1, None), (2, 8)):
        try:
            with isolated(), carried():
                made.append(written_out(loaded.example(batch, length, META)[1]))
        except Exception:  # whatever a model raises; the general rules do not make its input then
            made.append(None)
    return made


def check(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its row, and without any one argument of it, the model is called with something else."""
    model, configuration = NOT_BY_DEFAULT.get(name, (name, {}))
    with isolated():
        loaded = source.load(spec.parse_model(f"transformers/{model}"), configuration, META)
    expected = calls(loaded)
    assert expected[0] is not None
    arguments = rows.arguments(name)
    for taken in (*arguments, None):
        left = {argument: value for argument, value in arguments.items() if taken not in (None, argument)}
        changed = {**TABLE, name: left}
        monkeypatch.setattr(rows, "table", lambda changed=changed: changed)
        assert calls(loaded) != expected, f"{taken or 'the row'} is not needed any more"


@complete
@pytest.mark.parametrize("name", EVERY_DAY)
def test_a_row_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check(name, monkeypatch)


@pytest.mark.slow
@complete
@pytest.mark.parametrize("name", sorted(set(TABLE) - set(EVERY_DAY)))
def test_every_row_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check(name, monkeypatch)


@complete
def test_a_row_that_is_not_needed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check itself can fail: BERT is called in the same way with a row that says what the rules say."""
    monkeypatch.setitem(TABLE, "bert", {"input_ids": "filler[batch, tokens]"})  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="not needed any more"):
        check("bert", monkeypatch)
