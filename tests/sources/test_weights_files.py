"""Weights in several files and in GGUF: tensors with their bytes, and the model that GGUF describes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import pytest
import torch

import modelsum
from modelsum.sources import weights


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_shards_are_one_table_by_their_index_and_by_their_folder(modelsum_cli, here: Path) -> None:
    save = pytest.importorskip("safetensors.torch").save_file
    (here / "model").mkdir()
    files = {
        "a.safetensors": {"x": torch.zeros(2, 3)},
        "b.safetensors": {"y": torch.zeros(4, dtype=torch.int8)},
    }
    for name, tensors in files.items():
        save(tensors, here / "model" / name)
    places = {tensor: name for name, tensors in files.items() for tensor in tensors}
    index = here / "model" / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 28}, "weight_map": places}))
    for written in ("model", "model/model.safetensors.index.json"):
        shown = json.loads(modelsum_cli("show", written, "--format", "json").out)
        assert [(t["name"], t["nbytes"]) for t in shown["tensors"]] == [("x", 24), ("y", 4)]
    (here / "model" / "b.safetensors").unlink()
    done = modelsum_cli("show", "model/model.safetensors.index.json")
    assert (done.code, "1 are not here: b.safetensors" in done.err) == (2, True)


def gguf_file(path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("small")
    for add, value in (
        (writer.add_context_length, 128), (writer.add_embedding_length, 64), (writer.add_block_count, 2),
        (writer.add_feed_forward_length, 96), (writer.add_head_count, 4), (writer.add_head_count_kv, 2),
        (writer.add_vocab_size, 256), (writer.add_layer_norm_rms_eps, 1e-5),
    ):  # fmt: skip
        add(value)
    writer.add_tensor("output.weight", numpy.zeros((256, 64), numpy.float16))
    packed = gguf.quantize(numpy.zeros((64, 64), numpy.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("blk.0.attn_q.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_tensors_of_gguf_have_their_quantized_bytes(here: Path) -> None:
    """Q8_0: 32 values of a byte and a scale of 2."""
    gguf_file(here / "llama.gguf")
    found = {t.name: (t.shape, t.dtype, t.nbytes) for t in weights.read("llama.gguf").tensors}
    assert found["blk.0.attn_q.weight"] == ((64, 64), "q8_0", 64 * 64 // 32 * 34)
    assert found["output.weight"] == ((256, 64), "f16", 256 * 64 * 2)


def test_the_architecture_of_gguf_is_a_model_of_transformers(modelsum_cli, here: Path) -> None:
    """2 * 256 * 64 embeddings and head; 64 * (64 + 2 * 32 + 64 + 3 * 96) a layer, and norms."""
    pytest.importorskip("transformers")
    gguf_file(here / "llama.gguf")
    assert "q8_0" in modelsum_cli("show", "llama.gguf").out
    summary = modelsum.summarize("llama.gguf", memory=False, task="causal-lm")
    assert summary.totals.params == 2 * 256 * 64 + 2 * (64 * (64 + 2 * 32 + 64 + 3 * 96) + 2 * 64) + 64
