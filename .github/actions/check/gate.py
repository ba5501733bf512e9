"""Runs `modelsum check`. Outputs: whether it passed, and the reports that it wrote."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from runner import output

# What every format's file is called as an output of the step.
OUTPUTS = {"json": "report", "markdown": "markdown", "junit": "junit", "sarif": "sarif", "html": "html"}


def main() -> int:
    """The exit code of the check."""
    named = {format_: os.environ[format_.upper()] for format_ in OUTPUTS}
    files = {format_: Path(name).absolute() for format_, name in named.items() if name}
    for file in files.values():
        file.unlink(missing_ok=True)  # of an earlier run: it must not be taken for this one's
    command = [os.environ["COMMAND"], "check", "--format", "github"]
    command.append("--strict" if os.environ["STRICT"] == "true" else "--no-strict")
    if against := os.environ["AGAINST"]:
        command += ["--against", against]
    for format_, file in files.items():
        command += ["--output", f"{format_}={file}"]
    code = subprocess.run([*command, "--", *os.environ["NAMES"].split()], check=False).returncode
    output("passed", "false" if code else "true")
    for format_, file in files.items():
        if file.is_file():
            output(OUTPUTS[format_], file)
    return code


if __name__ == "__main__":
    sys.exit(main())
