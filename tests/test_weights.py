"""Weights files: names, shapes, dtypes, bytes and ties, without running code in a file."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn


def tied_model() -> nn.Module:
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10, bias=False), nn.BatchNorm1d(3))
    model[1].weight = model[0].weight
    return model


def write_safetensors(path: Path, header: dict, data_bytes: int = 0) -> None:
    raw = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + data_bytes)  # a hole: takes no disk


def show_json(cli, path: Path) -> dict:
    done = cli("show", str(path), "--format", "json")
    assert done.code == 0, done.err
    return json.loads(done.out)


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.bin"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_gives_every_tensor_and_its_ties(
    modelsum_cli, tmp_path: Path, name: str, zipped: bool
) -> None:
    torch.save(tied_model().state_dict(), tmp_path / name, _use_new_zipfile_serialization=zipped)
    weights = show_json(modelsum_cli, tmp_path / name)
    assert weights["kind"] == "weights"
    # 10 * 4 once, and the scale and shift of 3 channels; mean, variance and a counter are buffers.
    assert weights["totals"]["params"] == 40 + 6
    assert weights["totals"]["param_bytes"] == 4 * 46
    assert weights["totals"]["buffers"] == 7
    assert weights["totals"]["buffer_bytes"] == 2 * 3 * 4 + 8
    tensors = {t["name"]: t for t in weights["tensors"]}
    assert tensors["1.weight"]["tied_to"] == "0.weight"
    assert tensors["0.weight"]["shape"] == [10, 4]
    assert tensors["2.num_batches_tracked"]["dtype"] == "int64"


def test_a_checkpoint_shows_the_model_and_says_what_else_there_is(modelsum_cli, tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    optimizer = {"state": {0: {"exp_avg": torch.zeros(40)}}}
    torch.save({"state_dict": tied_model().state_dict(), "epoch": 3, "optimizer": optimizer}, file)
    weights = show_json(modelsum_cli, file)
    assert weights["totals"]["params"] == 46
    assert weights["notices"] == ["the weights under 'state_dict'; beside it the file holds epoch, optimizer"]


def test_safetensors_agree_with_the_library_that_wrote_them(modelsum_cli, tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    tensors = {
        "a.weight": torch.zeros(3, 5, dtype=torch.bfloat16),
        "b": torch.zeros((), dtype=torch.int64),
        "c": torch.zeros(2, 2, dtype=torch.float8_e4m3fn),
    }
    save_file(tensors, tmp_path / "w.safetensors", metadata={"format": "pt"})
    weights = show_json(modelsum_cli, tmp_path / "w.safetensors")
    got = {t["name"]: (t["shape"], t["dtype"], t["nbytes"]) for t in weights["tensors"]}
    assert got == {
        name: (list(t.shape), str(t.dtype).removeprefix("torch."), t.numel() * t.element_size())
        for name, t in tensors.items()
    }
    assert weights["metadata"] == {"format": "pt"}


def test_a_file_of_70_gb_answers_from_its_header_without_torch(tmp_path: Path) -> None:
    """35 billion bfloat16 elements; the file is a hole on the disk, and reading it would take minutes."""
    file = tmp_path / "huge.safetensors"
    elements = 35_000_000_000
    entry = {"dtype": "BF16", "shape": [35_000, 1_000_000], "data_offsets": [0, 2 * elements]}
    write_safetensors(file, {"w": entry}, 2 * elements)
    probe = (
        "import sys; from modelsum.cli.main import run\n"
        f"code = run(['show', {str(file)!r}, '--format', 'json'])\n"
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=20
    )
    assert json.loads(done.stdout)["totals"] == {
        "params": elements,
        "param_bytes": 70_000_000_000,
        "buffers": 0,
        "buffer_bytes": 0,
        "tensors": 1,
        "elements_by_dtype": {"bfloat16": elements},
    }


def test_a_file_that_is_cut_short_is_shown_with_a_notice(modelsum_cli, tmp_path: Path) -> None:
    file = tmp_path / "short.safetensors"
    write_safetensors(file, {"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, 8)
    assert "the file is cut short" in show_json(modelsum_cli, file)["notices"][0]


def test_a_pickle_that_needs_code_is_refused_and_none_is_run(modelsum_cli, tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    witness = tmp_path / "was_run"

    class Evil:
        def __reduce__(self):
            return (open, (str(witness), "w"))

    torch.save({"w": torch.zeros(2), "evil": Evil()}, file)
    done = modelsum_cli("show", str(file))
    assert done.code == 2
    assert "without running code in it" in done.err
    assert "state_dict" in done.err
    assert not witness.exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.safetensors", b"hello", "does not begin with the length of a header"),
        ("x.safetensors", struct.pack("<Q", 1 << 40), "does not begin with the length of a header"),
        ("x.safetensors", struct.pack("<Q", 5) + b"[1,2}", "its header is not JSON"),
        ("x.safetensors", struct.pack("<Q", 500) + b'{"a":', "its header is"),
        ("x.safetensors", struct.pack("<Q", 13) + b'{"w": {"a":1}}'[:13], "its header is"),
        ("x.safetensors", struct.pack("<Q", 9) + b'{"w": {}}', "its header is broken"),
        ("x.pt", b"", "is not a torch checkpoint"),
        ("x.pt", b"hello", "x.pt"),
    ],
)
def test_broken_files_are_clear_errors(
    modelsum_cli, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    done = modelsum_cli("show", str(tmp_path / name))
    assert done.code == 2
    assert words in done.err
    assert "Traceback" not in done.err


def test_formats_of_a_forward_pass_are_refused(modelsum_cli, tmp_path: Path) -> None:
    write_safetensors(
        tmp_path / "w.safetensors", {"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, 16
    )
    done = modelsum_cli("show", str(tmp_path / "w.safetensors"), "--format", "torchsummary")
    assert done.code == 2
    assert "Valid are text, json, csv and markdown." in done.err


def test_no_such_file(modelsum_cli) -> None:
    done = modelsum_cli("show", "nowhere.safetensors")
    assert done.code == 2
    assert "there is no weights file 'nowhere.safetensors'" in done.err
