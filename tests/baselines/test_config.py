"""`[tool.modelsum]` and modelsum.toml: what a check can say, and every error with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelsum.baselines.configuration import config
from modelsum.baselines.lines import of_toml
from modelsum.baselines.quantity import parse_amount, parse_bound, parse_tolerance
from modelsum.errors import ConfigError, UsageError

DETECTOR = """\
[project]
name = "detector"

[tool.modelsum]
reports = "costs"

[[tool.modelsum.check]]
name = "detector"
model = "nets.detector:build"
args = {classes = 80}
input = ["3x640x640"]
batch = 8
mode = "train"
dtype = "bfloat16"
optimizer = "adam"
implementation = "for-loop"
loss = "cross-entropy"
checkpoint = "layer*"
freeze = ["stem.*", "head"]
accumulate = 4
weight_decay = true
prefetch = 2
cudnn_benchmark = true
target = "cpu"
limits = {params = "26 M", macs = "110 G", training_peak = "9 GiB"}
tolerance = {macs = "0.5% + 10 M"}
pin = ["params"]
severity = {macs = "warn"}
message = "see docs/budget.md"

[[tool.modelsum.check]]
name = "small"
model = "squeezenet1_1"
memory = false
freeze = "features.*"
no_batch = true
input = "1x3x224x224"

[tool.modelsum.check.limits]
params = 1_300_000
"""


def parsed(text: str, name: str = "pyproject.toml") -> config.Config:
    return config.parse(text, Path(name))


def refused(text: str, name: str = "pyproject.toml") -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parsed(text, name)
    return caught.value


def one_check(*lines: str) -> str:
    return "\n".join(("[[tool.modelsum.check]]", 'name = "a"', 'model = "resnet50"', *lines))


def test_every_key_of_a_check_is_read() -> None:
    found = parsed(DETECTOR)
    detector, small = found.checks
    assert found.reports == "costs"
    asked = detector.request
    assert (detector.name, str(detector.model)) == ("detector", "nets.detector:build")
    assert (asked.arguments, asked.batch) == ({"classes": 80}, 8)
    assert [str(given) for given in asked.inputs] == ["3x640x640"]
    assert (asked.mode, asked.dtype, asked.device) == ("train", "bfloat16", "auto")
    step = asked.memory
    assert step is not None
    assert (step.optimizer, step.implementation, step.loss) == ("adam", "for-loop", "cross-entropy")
    assert (step.checkpoint, step.freeze, step.accumulate) == (("layer*",), ("stem.*", "head"), 4)
    assert (step.weight_decay, step.prefetch, step.cudnn_benchmark) == (True, 2, True)
    assert (asked.target, asked.freeze) == ("cpu", step.freeze)
    assert detector.limits == {"params": 26_000_000, "macs": 110_000_000_000, "training_peak": 9 * 2**30}
    assert detector.tolerance["macs"].allowance(4_000_000_000) == 20_000_000 + 10_000_000
    assert (detector.pin, detector.severity) == (("params",), {"macs": "warn"})
    assert detector.message == "see docs/budget.md"
    assert (small.request.batch, small.request.memory) == (None, None)
    assert small.request.freeze == ("features.*",), "of which the counts know too"
    assert [given.shape for given in small.request.inputs] == [(1, 3, 224, 224)]
    assert small.limits == {"params": 1_300_000}


def test_the_lines_of_keys_are_known() -> None:
    """Inline tables, and tables with a header of their own."""
    detector, small = parsed(DETECTOR).checks
    lines = DETECTOR.splitlines()
    assert lines[detector.line() - 1] == "[[tool.modelsum.check]]"
    assert lines[detector.line("limits.macs") - 1].startswith("limits = ")
    assert lines[small.line() - 1 + 1] == 'name = "small"'
    assert lines[small.line("limits.params") - 1] == "params = 1_300_000"
    assert small.line("tolerance.macs") == small.line(), "a key that is not there: the check's own line"


def test_modelsum_toml_has_the_tables_at_its_root() -> None:
    found = parsed('reports = "r"\n[[check]]\nname = "a"\nmodel = "vgg16"\n', "modelsum.toml")
    assert (found.reports, str(found.checks[0].model)) == ("r", "vgg16")


def test_without_a_folder_the_baselines_are_in_reports() -> None:
    assert parsed(one_check()).reports_folder == Path("reports")


# ---- errors


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ('modle = "vgg16"', "modle: there is no such key", "model"),
        ('limits = {mac = "1 G"}', "limits.mac: there is no figure 'mac'", "macs"),
        ('limits = {macs = "1 Q"}', "limits.macs: '1 Q': unknown unit 'Q'", "K, M, G"),
        ('limits = {macs = "1 m"}', "limits.macs: '1 m': unknown unit 'm'", "Did you mean M?"),
        ('limits = {params = "9 GiB"}', "limits.params: '9 GiB': GiB is a unit of bytes", "26 M"),
        ("limits = {params = -1}", "limits.params: -1 is negative", "26 M"),
        ("limits = {params = 1.5}", "limits.params: 1.5 is not an amount", "26 M"),
        ('limits = "26 M"', "limits: '26 M' is not a table", "macs"),
        ('tolerance = {macs = "x%"}', "tolerance.macs: 'x%' is not a percentage", "0.5%"),
        ('pin = ["param"]', "pin: there is no figure 'param'", "params"),
        ('severity = {macs = "warning"}', "severity.macs: severity 'warning' is not known", "warn"),
        ('input = ["3,224,224"]', "input: input '3,224,224': '3,224,224' is not a shape", "3x224x224"),
        ('mode = "test"', "mode: unknown mode 'test'", "eval"),
        ('dtype = "float3"', "dtype: unknown dtype 'float3'", "float32"),
        ('device = "gpu"', "device: unknown device 'gpu'", "cuda"),
        ('target = "tpu"', "target: target 'tpu' is not known", "cpu"),
        ('optimizer = "adm"', "optimizer: optimizer 'adm' is not known", "adam"),
        ("batch = 0", "batch: 0 is not a positive whole number", "1 or more"),
        ("batch = true", "batch: True is not a positive whole number", "1 or more"),
        ("args = {day = 2026-01-01}", "args.day: ", "number"),
        ("memory = 0", "memory: 0 is neither true nor false", ""),
        ('message = ""', "message: '' is not a text", "quotes"),
    ],
)
def test_a_bad_value_is_an_error_with_its_line(line: str, message: str, hint: str) -> None:
    error = refused(one_check("", line))
    assert error.message.startswith(f"pyproject.toml:5: {message}")
    assert hint in str(error.hint or "")
    assert error.exit_code == 2


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("batch = 2", "no_batch = true"), "pyproject.toml:5: no_batch: batch is given too"),
        (('inputs_from = "n.py:f"', "batch = 2"), "pyproject.toml:4: inputs_from: it gives the whole call"),
        (("memory = false", 'loss = "sum"'), "pyproject.toml:5: loss: memory = false"),
        (
            ("memory = false", 'limits = {training_peak = "9 GiB"}'),
            "pyproject.toml:5: limits.training_peak: memory = false",
        ),
        (('optimizer = "lion"', 'implementation = "fused"'), "pyproject.toml:1: lion has no fused"),
    ],
)
def test_keys_that_contradict_each_other(lines: tuple[str, ...], message: str) -> None:
    assert refused(one_check(*lines)).message.startswith(message)


def test_a_check_needs_a_name_and_a_model() -> None:
    assert "has no name" in refused('[[tool.modelsum.check]]\nmodel = "vgg16"').message
    assert "has no model" in refused('[[tool.modelsum.check]]\nname = "a"').message


@pytest.mark.parametrize("name", ["../a", "a/b", "a b", ".a", "", "-a"])
def test_a_name_is_a_file_name(name: str) -> None:
    assert refused(f'[[tool.modelsum.check]]\nname = "{name}"\nmodel = "vgg16"').message.startswith(
        "pyproject.toml:2: name: "
    )


def test_two_checks_cannot_share_a_name_in_any_case() -> None:
    error = refused(one_check() + "\n" + one_check().replace('"a"', '"A"'))
    assert error.message == "pyproject.toml:5: name: 'A' is already the name of the check on line 1"


def test_a_weights_file_is_no_model_that_runs() -> None:
    assert "file of weights" in refused(one_check().replace("resnet50", "m.safetensors")).message


def test_a_key_of_the_table_itself_is_checked_too() -> None:
    error = refused('[tool.modelsum]\nreport = "r"')
    assert (error.message, error.hint) == (
        "pyproject.toml:2: report: there is no such key",
        "Did you mean reports?",
    )


def test_text_that_is_not_toml() -> None:
    assert "is not TOML" in refused("[tool.modelsum\n").message


# ---- finding the file


def test_the_nearest_file_upwards_is_taken(tmp_path: Path) -> None:
    """A pyproject.toml that says nothing of modelsum is passed by."""
    inner = tmp_path / "package" / "nets"
    inner.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(one_check())
    (tmp_path / "package" / "pyproject.toml").write_text('[project]\nname = "x"\n')
    assert config.find(inner) == tmp_path / "pyproject.toml"
    (inner / "modelsum.toml").write_text("")
    assert config.find(inner) == inner / "modelsum.toml"


def test_no_file_anywhere_shows_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config.find(tmp_path)
    parsed(str(caught.value.hint).partition("\n\n")[2])


def test_an_unknown_check_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="has no check 'detectr'") as caught:
        parsed(DETECTOR).chosen(("detectr",))
    assert caught.value.hint == "Did you mean detector?"


# ---- amounts


@pytest.mark.parametrize(
    ("text", "is_bytes", "amount"),
    [
        (26_000_000, False, 26_000_000),
        ("26 M", False, 26_000_000),
        ("4.1G", False, 4_100_000_000),
        ("4,089,184,256", False, 4_089_184_256),
        ("0.1 K", False, 100),
        ("9 GiB", True, 9_663_676_416),
        ("9 GB", True, 9_000_000_000),
        ("9 G", True, 9_000_000_000),
        ("10 k", False, 10_000),
        ("10k", True, 10_000),
        ("10 kB", True, 10_000),
        ("0.1 GiB", True, 107_374_182),  # 107374182.4: a whole number of bytes is below it or not
        ("12 B", True, 12),
    ],
)
def test_amounts(text: object, is_bytes: bool, amount: int) -> None:
    assert parse_amount(text, is_bytes=is_bytes) == amount


@pytest.mark.parametrize(
    ("text", "old", "allowance"),
    [("0.5%", 1000, 5), ("10 K", 7, 10_000), ("0.5% + 10 M", 10**9, 15_000_000), ("0.1%", 999, 0), (3, 0, 3)],
)
def test_a_tolerance_is_a_share_and_an_amount_together(text: object, old: int, allowance: int) -> None:
    assert parse_tolerance(text, is_bytes=False).allowance(old) == allowance


@pytest.mark.parametrize(
    ("text", "holds", "fails"),
    [("<= 26 M", 26_000_000, 26_000_001), ("26 M", 26_000_000, 26_000_001), ("== 5", 5, 4), ("> 5", 6, 5)],
)
def test_bounds(text: str, holds: int, fails: int) -> None:
    bound = parse_bound(text, is_bytes=False)
    assert bound.holds(holds)
    assert not bound.holds(fails)


@pytest.mark.parametrize("text", ["", "<=", "=> 5", "!= 5", "~5"])
def test_what_is_no_bound(text: str) -> None:
    with pytest.raises(UsageError):
        parse_bound(text, is_bytes=False)


def test_lines_of_quoted_and_dotted_keys() -> None:
    lines = of_toml('[a."b"]\nc.d = 1\n"e" = 2\n[[a.f]]\ng = {"h" = 1, i = 2}\n[[a.f]]\n')
    found = [("a", "b"), ("a", "b", "c", "d"), ("a", "b", "e"), ("a", "f", 0, "g", "i"), ("a", "f", 1)]
    assert [lines.of(key) for key in found] == [1, 2, 3, 5, 6]
