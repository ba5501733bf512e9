"""What a kept answer depends on: every way in which a model asks the file system is noticed, or is not kept.

Each model is a `build()` whose width N, of nn.Linear(8, N, bias=False), comes from the world; it is asked
about twice, and again after the world has changed.
"""

from __future__ import annotations

import glob
import json
import os
import pathlib
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from every_day import every_nth

from modelsum.cache.evidence import watching
from modelsum.cache.versions import machine_mark

NET = """
import os, pathlib, sys
from torch import nn
def build():
    os.write(2, b"worked out")  # which is not written again with a kept answer
    return nn.Linear(8, width(), bias=False)
"""


@dataclass(frozen=True)
class Asked:
    width: int
    kept: bool


@pytest.fixture
def ask(modelsum_cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Asked]:
    """Ask the command about nets.py:build, each time in a new process, in a folder `here`."""
    monkeypatch.delenv("MODELSUM_NO_CACHE")
    monkeypatch.setenv("MODELSUM_CACHE_DIR", str(tmp_path / "answers"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def asked() -> Asked:
        done = modelsum_cli("show", "nets.py:build", "--input", "8", "--format", "json")
        assert done.code == 0, done.err
        return Asked(json.loads(done.out)["totals"]["params"] // 8, "worked out" not in done.err)

    return asked


def write(text: str, name: str = "data.txt") -> Callable[[], object]:
    return lambda: Path(name).write_text(text)


def relink(target: str) -> Callable[[], None]:
    def change() -> None:
        Path("link").unlink(missing_ok=True)
        Path("link").symlink_to(target)

    return change


def nothing() -> None:
    pass


def folder_of_parts() -> None:
    Path("parts").mkdir()
    Path("parts/a.txt").write_text("a")


def files_and_link() -> None:
    Path("a").write_text("2")
    Path("b").write_text("3")
    relink("a")()


ANOTHER = write("", "parts/b.txt")
LATER = (lambda: os.utime("data.txt", (1e9 + 7, 1e9 + 7)), lambda: os.utime("data.txt", (1e9 + 9, 1e9 + 9)))
# What is there first, the expression of the width, the change, the width before and after it.
KINDS = {
    "os.listdir": (folder_of_parts, "1 + len(os.listdir('parts'))", ANOTHER, 2, 3),
    "os.scandir": (folder_of_parts, "1 + len(list(os.scandir('parts')))", ANOTHER, 2, 3),
    "the sizes of entries": (
        folder_of_parts,
        "sum(e.stat().st_size for e in os.scandir('parts'))",
        write("1234", "parts/a.txt"),
        1,
        4,
    ),
    "os.walk": (folder_of_parts, "sum(len(f) for _, _, f in os.walk('parts'))", ANOTHER, 1, 2),
    "glob": (folder_of_parts, "len(__import__('glob').glob('parts/*.txt'))", ANOTHER, 1, 2),
    "a pattern of no wildcards": (
        folder_of_parts,
        "1 + len(__import__('glob').glob('parts/b.txt'))",
        ANOTHER,
        1,
        2,
    ),
    "Path.glob": (folder_of_parts, "len(list(pathlib.Path('parts').glob('*.txt')))", ANOTHER, 1, 2),
    "Path.glob of no wildcards": (
        folder_of_parts,
        "1 + len(list(pathlib.Path('parts').glob('b.txt')))",
        ANOTHER,
        1,
        2,
    ),
    "Path.rglob": (folder_of_parts, "len(list(pathlib.Path('.').rglob('*.txt')))", ANOTHER, 1, 2),
    "Path.iterdir": (folder_of_parts, "len(list(pathlib.Path('parts').iterdir()))", ANOTHER, 1, 2),
    "os.path.exists": (nothing, "1 + os.path.exists('data.txt')", write(""), 1, 2),
    "os.path.isfile": (nothing, "1 + os.path.isfile('data.txt')", write(""), 1, 2),
    "os.path.isdir": (nothing, "1 + os.path.isdir('data')", lambda: Path("data").mkdir(), 1, 2),
    "os.path.lexists": (nothing, "1 + os.path.lexists('link')", relink("nowhere"), 1, 2),
    "os.path.getsize": (write("12"), "os.path.getsize('data.txt')", write("123"), 2, 3),
    "os.path.getmtime": (
        lambda: (write("12")(), LATER[0]()),
        "int(os.path.getmtime('data.txt')) % 10",
        LATER[1],
        7,
        9,
    ),
    "the time of a folder": (
        lambda: (Path("parts").mkdir(), os.utime("parts", (1e9 + 7, 1e9 + 7))),
        "int(os.stat('parts').st_mtime) % 10",
        lambda: os.utime("parts", (1e9 + 9, 1e9 + 9)),
        7,
        9,
    ),
    "Path.exists": (nothing, "1 + pathlib.Path('data.txt').exists()", write(""), 1, 2),
    "Path.is_dir": (
        nothing,
        "1 + pathlib.Path('data').is_dir()",
        lambda: Path("data").mkdir(),
        1,
        2,
    ),
    "Path.stat": (write("12"), "pathlib.Path('data.txt').stat().st_size", write("123"), 2, 3),
    "os.fstat": (write("12"), "os.fstat(os.open('data.txt', 0)).st_size", write("123"), 2, 3),
    "os.access": (
        lambda: (write("")(), os.chmod("data.txt", 0o600)),
        "1 + os.access('data.txt', os.X_OK)",
        lambda: os.chmod("data.txt", 0o700),
        1,
        2,
    ),
    "os.readlink": (relink("a"), "len(os.readlink('link'))", relink("ab"), 1, 2),
    "os.path.realpath": (
        files_and_link,
        "1 + (os.path.basename(os.path.realpath('link')) == 'b')",
        relink("b"),
        1,
        2,
    ),
    "a file behind a link": (files_and_link, "int(open('link').read())", relink("b"), 2, 3),
    "a file": (write("2"), "int(open('data.txt').read())", write("3"), 2, 3),
    "a file that is missing": (
        nothing,
        "int(attempt(lambda: open('data.txt').read(), OSError, 1))",
        write("3"),
        1,
        3,
    ),
    "a file beside a descriptor": (
        lambda: (Path("parts").mkdir(), write("2", "parts/n")()),
        "int(os.read(os.open('n', 0, dir_fd=os.open('parts', 0)), 9))",
        write("3", "parts/n"),
        2,
        3,
    ),
    "a folder by descriptor": (
        folder_of_parts,
        "len(os.listdir(os.open('parts', 0)))",
        ANOTHER,
        1,
        2,
    ),
    "a file after os.chdir": (
        lambda: (Path("parts").mkdir(), write("2", "parts/n")()),
        "(os.chdir('parts'), int(open('n').read()), os.chdir('..'))[1]",
        write("3", "parts/n"),
        2,
        3,
    ),
    "a module that is missing": (
        nothing,
        "attempt(lambda: __import__('extra_of_mine').WIDTH, ImportError, 1)",
        write("WIDTH = 3", "extra_of_mine.py"),
        1,
        3,
    ),
    "importlib.util.find_spec": (
        nothing,
        "1 + bool(__import__('importlib.util').util.find_spec('extra_of_mine'))",
        write("", "extra_of_mine.py"),
        1,
        2,
    ),
    "a module that another one shadows": (
        nothing,
        "getattr(__import__('colorsys'), 'WIDTH', 1)",  # of the standard library
        write("WIDTH = 3", "colorsys.py"),
        1,
        3,
    ),
    "torch.from_file": (
        write("\2" + 7 * "\0", "n"),
        "int(__import__('torch').from_file('n', size=8, dtype=__import__('torch').uint8).numpy()[0])",
        write("\3" + 7 * "\0", "n"),
        2,
        3,
    ),
}
ATTEMPT = """
def attempt(action, error, otherwise):
    try:
        return action()
    except error:
        return otherwise
"""


@pytest.mark.parametrize("kind", every_nth(KINDS, 2))
def test_what_a_model_asks_of_the_file_system_is_noticed_when_it_changes(ask, kind: str) -> None:
    prepare, expression, change, before, after = KINDS[kind]
    prepare()
    Path("nets.py").write_text(f"{NET}{ATTEMPT}\ndef width():\n    return {expression}\n")
    assert [ask(), ask()] == [Asked(before, False), Asked(before, True)]
    change()
    assert ask() == Asked(after, False)


def test_the_answer_after_a_change_is_kept_in_its_turn(ask) -> None:
    write("2")()
    Path("nets.py").write_text(f"{NET}\ndef width():\n    return int(open('data.txt').read())\n")
    ask()
    write("3")()
    assert [ask(), ask()] == [Asked(3, False), Asked(3, True)]


# What nobody can vouch for. Each is worked out again every time.
DOUBTFUL = {
    "a program": "len(__import__('subprocess').check_output(['echo', '1']))",
    "os.system": "1 + os.system('true')",
    "os.fork": "1 + (os.waitpid(os.fork() or os._exit(0), 0)[1])",
    "another process": (
        "(p := __import__('multiprocessing').get_context('spawn').Process(target=print), p.start(), p.join())"
        " and 2"
    ),
    "a host's address": "len(__import__('socket').getaddrinfo('127.0.0.1', 80))",
    "a database": "len(str(__import__('sqlite3').connect(':memory:')) and '1')",
    "a library by ctypes": "1 + (__import__('ctypes').CDLL(None) is None)",
    "random": "__import__('random').choice([1, 2, 3])",
    "random after seed()": "(r := __import__('random'), r.seed(), r.randint(1, 3))[2]",
    "os.urandom": "1 + os.urandom(1)[0] % 3",
    "secrets": "1 + __import__('secrets').randbelow(3)",
    "numpy's random numbers": "int(__import__('numpy').random.randint(1, 4))  # np.random.randint",
    "a generator of numpy's": "int(__import__('numpy').random.default_rng().integers(1, 4))",
    "the time": "1 + __import__('time').time_ns() % 3",
    "the date": "1 + __import__('datetime').datetime.now().microsecond % 3",
    "the number of its process": "1 + os.getpid() % 3",
    "how busy the machine is": "1 + int(os.getloadavg()[0]) % 3",
    "a seed that torch draws": "1 + __import__('torch').Generator().seed() % 3",
    "memory that is free": "len(open('/proc/meminfo').read()[:2])",
    "posix itself": "(exec('import posix', globals()), 1 + bool(posix.stat('.').st_size))[1]",
    "what it appended to a file": "(open('n', 'a').write('x'), len(open('n').read()))[1] or 1",
    "a folder that it filled": "(open('n', 'w').close(), len(os.listdir()))[1]",
}


#: Whose second answer is another than the first, and the third not.
FILLED = ("what it appended to a file", "a folder that it filled")


@pytest.mark.parametrize("kind", every_nth(DOUBTFUL, 2))
def test_an_answer_that_nobody_can_vouch_for_is_not_kept(ask, kind: str) -> None:
    Path("nets.py").write_text(f"{NET}{ATTEMPT}\ndef width():\n    return {DOUBTFUL[kind]}\n")
    assert not any(ask().kept for _ in range(3 if kind in FILLED else 2))


@pytest.mark.parametrize(
    "expression",
    [
        "(r := __import__('random'), r.seed(7), r.choice([1, 2, 3]))[2]",
        "int(__import__('torch').randint(1, 4, (1,), device='cpu'))",
        "1 + (os.environ.get('WIDTH_OF_MINE') is None)",
        "(open(os.devnull, 'w').write('x'), 2)[1]",
        "(__import__('logging').warning('building'), 2)[1]",
        "2 + 0 * int(__import__('time').perf_counter())",
    ],
    ids=[
        *("random with a seed", "torch's random numbers", "a variable", "the null device"),
        *("a record of logging", "how long it took"),
    ],
)
def test_an_answer_that_is_the_same_every_time_is_kept(ask, expression: str) -> None:
    Path("nets.py").write_text(f"{NET}\ndef width():\n    return {expression}\n")
    first = ask()
    assert ask() == Asked(first.width, True)


def test_a_file_that_the_model_makes_once_is_asked_for_once_more(ask) -> None:
    """The first answer found no file, the second the one that the first had made."""
    Path("nets.py").write_text(
        NET + "def width():\n"
        "    path = pathlib.Path('made.txt')\n"
        "    if not path.exists():\n"
        "        path.write_text('3')\n"
        "        return 2\n"
        "    return int(path.read_text())\n"
    )
    assert [ask(), ask(), ask()] == [Asked(2, False), Asked(3, False), Asked(3, True)]
    Path("made.txt").unlink()
    assert ask() == Asked(2, False)


def test_another_machine_has_answers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    here = machine_mark()
    assert here == machine_mark()
    monkeypatch.setattr(os, "cpu_count", lambda: 12345)
    assert here != machine_mark()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_everything_is_put_back_whatever_happens(error: type[BaseException]) -> None:
    def state() -> tuple[object, ...]:
        holders = (os, os.path, random, vars(random).get("_inst"), pathlib, glob, torch, torch.UntypedStorage)
        return (
            [dict(vars(holder)) for holder in holders],
            [set(s) for s in (os.supports_fd, os.supports_dir_fd, os.supports_follow_symlinks)],
            list(sys.meta_path),
        )

    before = state()
    seen = None

    def fail() -> None:
        nonlocal seen
        with watching() as seen:
            assert state() != before
            os.path.exists("asked")
            raise error

    with pytest.raises(error):
        fail()
    assert state() == before
    os.path.exists("asked later")
    assert {os.path.basename(path) for _, path, _ in seen.marks} == {"asked"}


def test_a_stand_in_answers_as_the_function_does(tmp_path: Path) -> None:
    plain = os.stat(tmp_path)
    with watching():
        assert os.stat(tmp_path) == os.stat(path=tmp_path) == plain
        assert os.stat in os.supports_dir_fd
        assert os.stat.__name__ == "stat"
        with pytest.raises(TypeError, match="stat"):
            os.stat()
        with pytest.raises(FileNotFoundError):
            os.stat(tmp_path / "missing")
        shutil.rmtree(tmp_path)
    assert not tmp_path.exists()


def test_who_looks_for_installed_packages_does_not_depend_on_other_files(ask: Callable[[], Asked]) -> None:
    """Nor where the backport looks for them, which takes the place of Python's own once it is loaded."""
    pytest.importorskip("importlib_metadata")
    Path("nets.py").write_text(
        f"{NET}\nimport importlib.metadata, importlib_metadata\n"
        "def width(): return len(list(importlib.metadata.entry_points(group='modelsum.sources'))) and 3\n"
    )
    assert ask() == Asked(3, kept=False)
    write("more", "other.txt")()
    assert ask() == Asked(3, kept=True)
