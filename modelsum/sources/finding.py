"""Which source knows a MODEL string."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelsum.errors import UnknownModelError, UsageError, did_you_mean
from modelsum.sources.base import Source
from modelsum.sources.documented import source as documented
from modelsum.spec import ModelSpec

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "modelsum.sources"
_FIRST = ("documented", "imported", "torchvision", "timm", "transformers")


def resolve(spec: ModelSpec) -> Source:
    """The source that loads the model: the named provider, or for a bare name the first that knows it.

    Raises UnknownModelError with the nearest names, or with the providers there are.
    """
    if spec.kind == "weights":
        raise UsageError(
            f"{spec.text!r} is a weights file: it holds tensors, not a model that could be run",
            "`modelsum show FILE` lists them.",
        )
    if spec.provider is None and documented.knows(spec):
        return documented  # without asking what else is installed, which takes longer than the answer
    entries = _entries()
    if spec.provider is not None:
        if spec.provider not in entries:
            hint = did_you_mean(spec.provider, entries) or f"Providers are {', '.join(entries)}."
            raise UnknownModelError(f"unknown provider {spec.provider!r} in {spec.text!r}", hint)
        entries = {spec.provider: entries[spec.provider]}
    known: list[str] = []
    for entry in entries.values():
        source = _loaded(entry)
        if source.knows(spec):
            return source
        known += source.names()
    hint = did_you_mean(spec.name, known) or "`modelsum list` shows the documented names."
    raise UnknownModelError(f"unknown model {spec.text!r}", hint)


def _entries() -> dict[str, EntryPoint]:
    """The installed sources by name: the built-in ones first, then those of other packages."""
    from importlib.metadata import entry_points  # 40 ms, and a documented name does without

    order = {name: place for place, name in enumerate(_FIRST)}
    found = sorted(entry_points(group=ENTRY_POINTS), key=lambda e: (order.get(e.name, len(order)), e.name))
    return {entry.name: entry for entry in found}


def _loaded(entry: EntryPoint) -> Source:
    try:
        source: Source = entry.load()
    except Exception as error:
        raise UsageError(
            f"the model source {entry.name!r} ({entry.value}) cannot be loaded: {error}",
            "Upgrade or uninstall the package that brings it.",
        ) from error
    return source
