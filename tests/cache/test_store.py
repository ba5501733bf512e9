"""The folder of kept answers: what is put comes back, and a damaged entry is none."""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hand_made_summary import MEMORY, TINY

from modelsum.cache.store import Entry, Store
from modelsum.render import RenderOptions, render

ENTRY = Entry(replace(TINY, memory=MEMORY), {("contents", "nets.py", ""): "abc"}, "a warning\n")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "answers")


def test_an_entry_comes_back_whole(store: Store) -> None:
    store.put("key", ENTRY)
    assert store.get("key") == ENTRY
    back = store.get("key")
    assert back is not None
    for format in ("text", "json", "csv", "markdown"):
        texts = (render(e.summary, format, RenderOptions()) for e in (ENTRY, back))
        assert len(set(texts)) == 1


def test_there_is_nothing_under_another_key(store: Store) -> None:
    assert store.get("key") is None
    store.put("key", ENTRY)
    assert store.get("other") is None


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b[:10], lambda b: b"", lambda b: b[:-1] + b"x"]
)
def test_a_damaged_entry_is_none(store: Store, damage) -> None:
    store.put("key", ENTRY)
    (file,) = store.folder.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert store.get("key") is None
    store.put("key", ENTRY)
    assert store.get("key") == ENTRY


class Evil:
    def __reduce__(self):
        return os.mkdir, ("it_was_run",)


def test_nothing_but_values_is_ever_loaded(store: Store, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    store.put("key", ENTRY)
    (file,) = store.folder.iterdir()
    payload = pickle.dumps((Evil(), {}, ""))
    file.write_bytes(hashlib.sha256(payload).digest() + payload)
    assert store.get("key") is None
    assert not Path("it_was_run").exists()


def test_those_not_used_for_longest_are_removed(tmp_path: Path) -> None:
    Store(tmp_path).put("a", ENTRY)
    store = Store(tmp_path, most_bytes=2 * (tmp_path / "a.entry").stat().st_size)
    for age, key in enumerate(("a", "b")):
        store.put(key, ENTRY)
        os.utime(tmp_path / f"{key}.entry", (1000 + age, 1000 + age))
    assert store.get("a") is not None  # used now
    store.put("c", ENTRY)
    assert {path.name for path in tmp_path.iterdir()} == {"a.entry", "c.entry"}


def test_writers_at_once_leave_one_whole_entry(store: Store) -> None:
    entries = [replace(ENTRY, said=str(n) * 1000) for n in range(8)]
    threads = [threading.Thread(target=store.put, args=("key", entry)) for entry in entries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("key") in entries
    assert len(list(store.folder.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "answers")
    store.put("key", ENTRY)
    assert store.get("key") is None
    assert store.contents().entries == 0


def test_contents_and_clear(store: Store) -> None:
    assert store.contents().entries == 0
    store.put("a", ENTRY)
    store.put("b", ENTRY)
    contents = store.contents()
    assert contents.entries == 2
    assert contents.bytes == sum(path.stat().st_size for path in store.folder.iterdir())
    assert store.clear() == contents
    assert store.contents().entries == 0
