"""A request answered from the store where that is sure to be the same, and by `api.run` otherwise."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from modelsum.request import Request
from modelsum.spec import ModelSpec

if TYPE_CHECKING:
    from modelsum.summary import Summary

OFF = "MODELSUM_NO_CACHE"


def answer(request: Request, *, cached: bool, ready: Callable[[Request], None]) -> Summary:
    """The summary that the request asks for.

    What the answer wrote to stderr is written again. Only answers from shapes are kept: where the model
    really ran, it runs again.

    Args:
        cached: look for a kept answer first, and keep a new one. `$MODELSUM_NO_CACHE` forbids both.
        ready: imports torch, where the answer has to be worked out. Nothing of the user's runs before.

    Raises as `api.run` does; a failure is never kept.
    """
    if not cached or os.environ.get(OFF) or not _can_be_kept(request):
        ready(request)
        return _run(request)
    from modelsum.cache.keeping import kept_or_new  # what a request that is not kept does without

    return kept_or_new(request, ready, _run)


def _run(request: Request) -> Summary:
    from modelsum.api import run  # a kept answer does without it

    return run(request)


def _can_be_kept(request: Request) -> bool:
    return (
        isinstance(request.model, ModelSpec)
        and request.example is None
        and request.device in ("auto", "meta")
    )
