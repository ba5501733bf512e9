"""The `modelsum` command as a process of its own: `modelsum`, or `python -m modelsum`.

A process that answers once gains from three shortcuts, together 0.9 s of the 1.9 s that `import torch` takes:
torch's meta registrations are loaded only if an op asks for them, nothing is collected as garbage while
thousands of modules load, and the interpreter is not taken apart once everything is written out. They are
not for library use, so they stand here.

What was tried and gains nothing: letting the dynamic linker load torch's libraries in a thread meanwhile.
It takes a third of a second of the import, but the page faults of both threads wait for each other.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
import threading

INTERRUPTED = 130
CANNOT_WRITE = 2


def main() -> None:
    """Run the command line and end the process with its exit code."""
    gc.disable()
    try:
        from modelsum import startup
        from modelsum.cli.main import run

        startup.around_torch(before=startup.defer_meta_registrations, after=_collect_from_here_on)
        code = run(sys.argv[1:])
        code = _finish() or code
    except KeyboardInterrupt:
        code = INTERRUPTED
    os._exit(code)


def _collect_from_here_on() -> None:
    """What has been loaded stays: the collector need not look at it again."""
    gc.freeze()
    gc.enable()


def _finish() -> int:
    """What the interpreter does at its end, up to taking itself apart. Returns 0 if all could be written."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    code = 0
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            pass  # the reader, `head` say, has gone: there is nobody left to tell
        except (OSError, ValueError):
            code = CANNOT_WRITE
    return code


if __name__ == "__main__":
    main()
