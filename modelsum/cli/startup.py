"""How the command imports torch: the collector has nothing to find while thousands of modules load."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from modelsum.cli import output, supervision

if TYPE_CHECKING:
    from modelsum.request import Request

_held = False


def hold_the_collector() -> None:
    """Collect no garbage until torch is imported. For a process that answers once."""
    global _held
    gc.disable()
    _held = True


def import_torch() -> None:
    """Import torch. Nothing of the user's runs before.

    What has been loaded stays: from here on the collector works as ever, but need not look at it again.
    """
    global _held
    with supervision.at_once():  # an interrupt in the middle of a library's import is lost, or takes it apart
        import torch  # noqa: F401

    if _held:
        gc.freeze()
        gc.enable()
        _held = False


def ready(request: Request) -> None:
    """Import torch for a request, once all that it names is known to be there. Raises UsageError."""
    from modelsum.preparing import look_up

    look_up(request)
    load_torch()


def load_torch() -> None:
    """Import torch; from here on code of models may run, and stdout is kept for results."""
    output.keep_stdout_for_results()
    import_torch()
