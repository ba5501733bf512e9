"""A request answered for a command: from what is kept, or by building and running the model."""

from __future__ import annotations

from collections.abc import Callable

from modelsum.cache import answers
from modelsum.cli import startup
from modelsum.request import Request
from modelsum.summary import Summary


def answer(
    request: Request, *, cached: bool, listing: bool = False, progress: Callable[[str], None]
) -> Summary:
    """The summary that the request asks for. Raises as `modelsum.summarize` does.

    Args:
        cached: look for a kept answer first, and keep a new one. A failure is never kept.
        listing: where no input is known, the model's modules are an answer too, which is not kept.
        progress: told what goes on.
    """
    place = answers.place_of(request) if cached else None
    if place is not None and (summary := place.kept()) is not None:
        return summary
    progress(f"{request.name}: importing torch")
    startup.ready(request)
    from modelsum.api import run  # a kept answer does without it

    if place is None:
        return run(request, listing=listing, progress=progress)
    with place.keeping() as keep:
        summary = run(request, listing=listing, progress=progress)
        if summary.called:
            keep(summary)
    return summary
