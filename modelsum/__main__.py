"""The `modelsum` command as a process of its own: `modelsum`, or `python -m modelsum`."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Run the command line and end the process with its exit code.

    A process that answers once gains from two shortcuts, together 0.6 s of the 1.6 s that a plain
    `import torch` takes: no garbage collection while thousands of modules load, and no tear-down of the
    interpreter once everything is written out. Neither is for library use, so they stand here.
    """
    gc.disable()
    from modelsum.cli.main import run

    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        pass  # the reader, `head` say, has gone: there is nobody left to tell
    os._exit(code)


if __name__ == "__main__":
    main()
