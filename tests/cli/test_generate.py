"""`modelsum generate`, and its figures in compare and check, by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_llama import LLAMA

from modelsum.units import binary_bytes

pytest.importorskip("transformers")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "llama").mkdir()
    (tmp_path / "llama" / "config.json").write_text(json.dumps(LLAMA))
    return tmp_path


def test_a_format_has_the_peaks_and_the_code_says_whether_they_fit(modelsum_cli, here: Path) -> None:
    asked = ("generate", "./llama", "--prompt", "64", "--new", "8", "--target", "cpu")
    found = json.loads(modelsum_cli(*asked, "--format", "json").out)
    peaks = found["prefill_peak_bytes"], found["decode_peak_bytes"]
    table = modelsum_cli(*asked, "--format", "csv").out
    assert all(str(peak) in table for peak in peaks)
    too_little = modelsum_cli(*asked, "--memory", f"{max(peaks) - 1}B")
    assert (too_little.code, "does not fit" in " ".join(too_little.out.split())) == (1, True)
    assert all(binary_bytes(peak) in too_little.out for peak in peaks)


def test_memory_is_that_of_the_cpu_asked_for(modelsum_cli, here: Path) -> None:
    """Attention in 16 bits is not known without AVX2: the peaks are lower bounds then."""
    asked = ("generate", "./llama", "--prompt", "64", "--new", "8", "--target", "cpu", "--format", "json")
    one, other = (
        json.loads(modelsum_cli(*asked, "--threads", "3", "--isa", isa).out) for isa in ("avx512", "other")
    )
    assert one["assumptions"]["kernels"] == "as on x86 with AVX-512 and oneDNN, 3 threads"
    assert one["unmeasured"].keys() < other["unmeasured"].keys()


def test_wrong_words_end_the_command_before_torch_is_imported(modelsum_cli, here: Path) -> None:
    for options in (("--cache", "pagd:16"), ("--memory", "24"), ("--weights", "awk")):
        done = modelsum_cli("generate", "./llama", *options)
        assert (done.code, done.out) == (2, "")
    assert "Did you mean awq?" in done.err


def test_compare_and_check_take_the_figures(modelsum_cli, here: Path) -> None:
    text = ("--prompt", "64", "--new", "8", "--no-memory", "--format", "json")
    done = modelsum_cli("compare", "./llama", "./llama,num_hidden_layers=1", *text)
    figures = {each["name"]: each["values"] for each in json.loads(done.out)["figures"]}
    assert figures["cache_bytes_per_token"] == [512, 256]
    (here / "modelsum.toml").write_text(
        '[[check]]\nname = "llama"\nmodel = "./llama"\nmemory = false\ngenerate = { prompt = 64, new = 8 }\n'
        'limits = { cache_bytes_per_token = "100 B", decode_peak = "9 MiB" }\n'
    )
    done = modelsum_cli("check", "llama")
    assert done.code == 1
    assert "cache_bytes_per_token" in done.out
    assert "decode_peak" not in done.out
