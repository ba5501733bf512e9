"""Pages in a real Chromium: their size, what opening one costs the main thread, and what they look like.

    python tests/benchmarks/pages.py            writes reports/pages: README.md and five pictures

The time is that of the main thread's processor alone, from the first byte to the last task, at the median of
five openings.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "render" / "page"), str(TESTS.parent)]

from browser import executable  # noqa: E402
from hand_made_pages import large, outcome  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

import modelsum  # noqa: E402
from modelsum.render import render  # noqa: E402

REPORTS = TESTS.parent / "reports" / "pages"
OPENINGS = 5

#: What is measured, and where two of them have a limit: bytes, seconds.
PAGES: dict[str, tuple[Callable[[], Any], tuple[int, float] | None]] = {
    "show resnet50": (lambda: modelsum.summarize("resnet50"), (200_000, 0.3)),
    "show resnet152 --batch 32": (lambda: modelsum.summarize("resnet152", batch=32), None),
    "show transformers/llama": (lambda: modelsum.summarize("transformers/llama"), None),
    "a model of 10,001 rows": (large, (1_000_000, 0.3)),
    "diff resnet50 resnet101": (lambda: modelsum.diff("resnet50", "resnet101"), None),
}


def pictures() -> dict[str, tuple[Callable[[], Any], str, Sequence[str]]]:
    """By the name of the file: the value, the colours, and what is clicked before."""
    return {
        "show": (lambda: modelsum.summarize("resnet152", batch=32), "light", ()),
        "show-dark": (
            lambda: modelsum.summarize("transformers/llama"),
            "dark",
            ("#where [data-figure=saved]",),
        ),
        "diff": (lambda: modelsum.diff("resnet50,stride_in_1x1=True", "resnet50"), "light", ()),
        "check": (outcome, "dark", ()),
        "fit": (lambda: modelsum.fit("resnet50", gpu="rtx4090"), "light", ()),
    }


def main() -> None:
    REPORTS.mkdir(exist_ok=True)
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        browser = driver.chromium.launch(executable_path=executable(), args=["--no-sandbox"])
        file = Path(folder) / "page.html"
        lines = []
        for name, (make, limits) in PAGES.items():
            file.write_text(render(make(), "html"), encoding="utf-8")
            seconds = statistics.median(opening(browser, file) for _ in range(OPENINGS))
            limit = f"{limits[0] / 1000:,.0f} kB, {limits[1]} s" if limits else ""
            lines.append(f"| {name} | {file.stat().st_size / 1000:,.0f} kB | {seconds:.3f} s | {limit} |")
            print(lines[-1])
        for name, (make, scheme, clicked) in pictures().items():
            file.write_text(render(make(), "html"), encoding="utf-8")
            picture(browser, file, REPORTS / f"{name}.png", scheme, clicked)
        version = browser.version
        browser.close()
    (REPORTS / "README.md").write_text(REPORT.format(lines="\n".join(lines), version=version, n=OPENINGS))


def opening(browser: Any, file: Path) -> float:
    """Seconds of the main thread's processor until the page is ready, drawn, and at rest."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = tasks(session)
    page.goto(file.as_uri())
    page.wait_for_timeout(600)  # asking the page whether it is ready would be work of its own
    taken = tasks(session) - before
    assert page.evaluate("document.documentElement.dataset.ready") == "yes"
    context.close()
    return taken


def tasks(session: Any) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")


def picture(browser: Any, file: Path, to: Path, scheme: str, clicked: Sequence[str]) -> None:
    context = browser.new_context(viewport={"width": 1120, "height": 1300}, color_scheme=scheme)
    page = context.new_page()
    page.goto(file.as_uri())
    for selector in clicked:
        page.click(selector)
    page.wait_for_timeout(300)
    page.screenshot(path=to)
    context.close()


REPORT = """\
# Pages

Written by `python tests/benchmarks/pages.py`: the size of a page, and the time that opening it costs the
processor of the browser's main thread (Chromium {version}, no network, median of {n} openings).

| page | size | main thread | at most |
|---|---:|---:|---:|
{lines}

| | |
|---|---|
| `show resnet152 --batch 32` ![](show.png) | `show transformers/llama`, dark ![](show-dark.png) |
| `diff resnet50,stride_in_1x1=True resnet50` ![](diff.png) | `check`, of a made-up project ![](check.png) |
| `fit resnet50 --gpu rtx4090` ![](fit.png) | |
"""


if __name__ == "__main__":
    main()
