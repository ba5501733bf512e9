"""`hf:ORG/NAME`: from the cache of huggingface_hub, and with --fetch config and index from a server."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("transformers")

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "vocab_size": 128,
}
FILES = {
    "config.json": json.dumps(CONFIG).encode(),
    "model.safetensors.index.json": json.dumps(
        {"metadata": {"total_size": 1234567}, "weight_map": {}}
    ).encode(),
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A server that has two small files of one model; the paths that it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            asked.append(self.path)
            body = FILES.get(self.path.rpartition("/")[2]) if self.path.startswith("/org/llama/") else None
            self.send_response(404 if body is None else 200)
            self.send_header("ETag", f'"{len(self.path)}"')  # by which files are told apart
            self.send_header("X-Repo-Commit", "a" * 40)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if body is not None and self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    yield asked
    server.shutdown()


def test_nothing_is_downloaded_unasked_and_two_files_where_it_is(modelsum_cli, hub: list[str]) -> None:
    """What was fetched is then on this machine."""
    refused = modelsum_cli("show", "hf:org/llama")
    assert (refused.code, hub) == (2, [])
    assert "Give --fetch" in refused.err
    options = ("--depth", "0", "--no-memory")
    fetched = modelsum_cli("show", "hf:org/llama", "--fetch", *options)
    assert fetched.code == 0, fetched.err
    assert "class LlamaForCausalLM" in fetched.out
    assert "the weights on the Hub take 1,234,567 bytes" in fetched.out
    assert {path.rpartition("/")[2] for path in hub} == set(FILES)
    hub.clear()
    assert modelsum_cli("show", "hf:org/llama", *options).out == fetched.out
    assert hub == []


def test_an_id_that_the_hub_has_not(modelsum_cli, hub: list[str]) -> None:
    done = modelsum_cli("show", "hf:org/no-llama", "--fetch")
    assert (done.code, "its config.json cannot be fetched" in done.err) == (2, True)
    assert modelsum_cli("show", "hf:a/b/c").code == 2
