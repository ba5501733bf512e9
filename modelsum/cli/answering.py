"""A request answered for a command: from what is kept, or by building and running the model."""

from __future__ import annotations

from modelsum.cache import answers
from modelsum.cli import startup
from modelsum.request import Request
from modelsum.summary import Summary


def answer(request: Request, *, cached: bool) -> Summary:
    """The summary that the request asks for. Raises as `modelsum.summarize` does."""
    return answers.answer(request, cached=cached, ready=startup.ready)
