"""What a step says to the runner: outputs for the steps after it, and warnings."""

from __future__ import annotations

import os


def output(name: str, value: object) -> None:
    """Set an output of the step; the value is one line."""
    with open(os.environ["GITHUB_OUTPUT"], "a", encoding="utf-8") as file:
        file.write(f"{name}={value}\n")


def warn(text: str) -> None:
    """Annotate the run, which stays as green as it is."""
    for char, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        text = text.replace(char, code)
    print(f"::warning title=modelsum check::{text}", flush=True)
