from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from modelsum.cli.main import run


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def no_kept_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer is worked out, unless a test says otherwise."""
    monkeypatch.setenv("MODELSUM_NO_CACHE", "1")


@pytest.fixture
def modelsum_cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run one command line in this process: exit code, stdout, stderr."""

    def call(*arguments: str) -> Done:
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return call
