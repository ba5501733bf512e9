"""Chromium for the tests of pages: the system's own, without a network."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

#: Set where a browser has to be there: a missing one is a failure then.
CI = "MODELSUM_CI"


def executable() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def missing() -> str | None:
    """Why no page can be opened here, or None."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed"
    return None if executable() else "there is no Chromium"


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; skips where there is none, and fails there in CI."""
    if why := missing():
        (pytest.fail if os.environ.get(CI) else pytest.skip)(why)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable(), args=["--no-sandbox"])
        yield browser
        browser.close()


class Opened:
    """A page in a tab of its own, and what went wrong in it.

    Attributes:
        page: playwright's.
        said: console messages and errors.
        asked: every request but that for the file.
    """

    def __init__(self, browser: Any, file: Path, **context: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, **context)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        url = file.resolve().as_uri()
        self.page.on("request", lambda r: self.asked.append(r.url) if r.url != url else None)
        self.page.goto(url)

    def until(self, expression: str) -> None:
        """Wait for what an event sets off; playwright's own waiting needs what the policy forbids."""
        end = time.monotonic() + 10
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, expression
            self.page.wait_for_timeout(20)

    def texts(self, selector: str) -> list[str]:
        """What is in the elements, on a line each."""
        return [" ".join(text.split()) for text in self.page.locator(selector).all_inner_texts()]

    def text(self, selector: str) -> str:
        (text,) = self.texts(selector)
        return text
