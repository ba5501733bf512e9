"""Which source knows a MODEL string."""

from __future__ import annotations

from collections.abc import Iterator

from modelsum.errors import UnknownModelError, did_you_mean
from modelsum.sources.base import Source
from modelsum.sources.documented import source as documented
from modelsum.spec import ModelSpec

ENTRY_POINTS = "modelsum.sources"


def resolve(spec: ModelSpec) -> Source:
    """The source that loads the model: the named provider, or for a bare name the first that knows it.

    Raises UnknownModelError with the nearest names, or with the providers there are.
    """
    if spec.provider is None and documented.knows(spec):
        return documented  # without asking what else is installed, which takes longer than the answer
    sources = list(_installed())
    if spec.provider is not None:
        sources = _provider(spec, sources)
    for source in sources:
        if source.knows(spec):
            return source
    known = [name for source in sources for name in source.names()]
    hint = did_you_mean(spec.name, known) or "`modelsum list` shows the documented names."
    raise UnknownModelError(f"unknown model {spec.text!r}", hint)


def _installed() -> Iterator[Source]:
    from importlib.metadata import entry_points

    found = entry_points(group=ENTRY_POINTS)
    # The documented names come first, then the other built-in sources, then those of other packages.
    for entry in sorted(found, key=lambda e: (e.name != "documented", not e.value.startswith("modelsum."), e.name)):
        source: Source = entry.load()
        yield source


def _provider(spec: ModelSpec, sources: list[Source]) -> list[Source]:
    names = [source.name for source in sources]
    if spec.provider not in names:
        hint = did_you_mean(str(spec.provider), names) or f"Providers are {', '.join(names)}."
        raise UnknownModelError(f"unknown provider {spec.provider!r} in {spec.text!r}", hint)
    return [source for source in sources if source.name == spec.provider]
