"""`modelsum.assert_cost`: what holds, what a failure says, and what is no assertion."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import modelsum
from modelsum import UsageError, assert_cost

# Linear(8, 4) has 36 params, Linear(4, 2) has 10; for 3 rows 3*32 = 96 and 3*8 = 24 MACs.
NET = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
ROWS = torch.zeros(3, 8)


def failure(*arguments: object, **bounds: object) -> str:
    with pytest.raises(AssertionError) as caught:
        assert_cost(*arguments, **bounds)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize(
    "bounds",
    [
        {"params": 46},
        {"params": "<= 46", "macs": "== 120"},
        {"params": "> 45", "macs": "< 0.121 K"},
        {"param_bytes": "<= 184 B"},
        {"saved_for_backward": "> 0"},
        {"uncounted_ops": 0},
    ],
    ids=str,
)
def test_bounds_that_hold(bounds: dict[str, object]) -> None:
    assert assert_cost(NET, ROWS, **bounds).totals.params == 46


def test_a_failure_has_exact_and_relative_numbers_and_the_layers() -> None:
    text = failure(NET, ROWS, params="<= 40", macs="== 100")
    assert "params 46 is not <= 40 (+6, +15.00%)\n    0 (Linear): 36\n    2 (Linear): 10" in text
    assert "macs 120 is not == 100 (+20, +20.00%)\n    0 (Linear): 96\n    2 (Linear): 24" in text


def test_a_bound_that_holds_is_not_mentioned() -> None:
    assert "macs" not in failure(NET, ROWS, params="< 46", macs=120).partition("\n")[2]


def test_a_peak_says_what_it_is_made_of() -> None:
    text = failure(NET, ROWS, training_peak="<= 1 B", optimizer="sgd", loss="sum", target="cpu")
    assert "weights 184" in text
    assert "0 (Linear)" in text or "1 (ReLU)" in text


def test_a_name_with_its_input_and_options() -> None:
    """Params and MACs of SqueezeNet 1.1 at 224, as torchvision publishes them."""
    summary = assert_cost(
        "squeezenet1_1", input_size=(3, 224, 224), params="== 1235496", macs="<= 0.35 G", mode="train"
    )
    assert summary.mode == "train"
    assert "squeezenet1_1" in failure("squeezenet1_1", params="<= 1 M")


def test_memory_is_predicted_only_for_a_bound_that_needs_it() -> None:
    assert assert_cost(NET, ROWS, params=46).memory is None
    assert assert_cost(NET, ROWS, training_peak="<= 1 MiB").memory is not None


def test_a_peak_that_is_not_known_does_not_pass() -> None:
    """Nothing to train: there is no training peak, and a bound on it would be empty."""
    frozen = nn.Linear(2, 2).requires_grad_(False)
    assert "training_peak is not known" in failure(frozen, torch.zeros(1, 2), training_peak="<= 1 GiB")


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({"mac": 1}, "'mac' is neither a figure nor an option", "macs"),
        ({"mode": "train"}, "nothing is asserted", "params="),
        ({"params": "<= 9 GiB"}, "GiB is a unit of bytes", "26 M"),
        ({"params": "~ 3"}, "'~ 3' is not an amount", "26 M"),
    ],
)
def test_what_is_no_assertion(given: dict[str, object], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        assert_cost(NET, ROWS, **given)
    assert message in caught.value.message
    assert hint in str(caught.value.hint)


def test_pytest_shows_the_line_of_the_test() -> None:
    """assert_cost hides its own frame."""
    assert "__tracebackhide__" in modelsum.assertions.assert_cost.__code__.co_varnames
