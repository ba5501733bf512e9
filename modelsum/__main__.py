"""The `modelsum` command as a process of its own: `modelsum`, or `python -m modelsum`.

A process that answers once gains from two shortcuts, which are not for library use: nothing is collected as
garbage while thousands of modules load, and the interpreter is not taken apart once all is written out.

What was tried and gains nothing: letting the dynamic linker load torch's libraries in a thread meanwhile.
It takes a third of a second of the import, but the page faults of both threads wait for each other.
"""

from __future__ import annotations

import os
import signal
import sys

INTERRUPTED = 130
CANNOT_WRITE = 2


def main() -> None:
    """Run the command line and end the process with its exit code."""
    _fill_closed_streams()
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)
    from modelsum.cli.supervision import end_as

    end_as(_work, interrupt=handler)


def _fill_closed_streams() -> None:
    """Have something in the place of streams that are closed (`2>&-`), which what is opened next would take.

    What is said where nobody hears it goes nowhere. A result must go somewhere: sys.stdout stays None.
    """
    for stream in range(3):
        try:
            os.fstat(stream)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="replace")  # noqa: SIM115


def _interrupted(*_: object) -> None:
    """Ctrl-C before there is anything to clean up."""
    os.write(2, b"modelsum: error: interrupted\n")
    os._exit(INTERRUPTED)


def _work() -> int:
    """The whole command. Returns its exit code."""
    from modelsum.cli import startup

    startup.hold_the_collector()
    from modelsum.cli.main import run

    code = run(sys.argv[1:])
    return _finish() or code


def _finish() -> int:
    """What the interpreter does at its end, up to taking itself apart. Returns 0 if all could be written."""
    import atexit
    import threading

    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    code = 0
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except BrokenPipeError:
            pass  # the reader, `head` say, has gone: there is nobody left to tell
        except (OSError, ValueError):
            code = CANNOT_WRITE
    return code


if __name__ == "__main__":
    main()
