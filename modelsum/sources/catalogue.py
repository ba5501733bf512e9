"""The models that providers have, by name: read from their files, neither is imported nor is torch."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module

from modelsum.errors import UnknownModelError, UsageError, did_you_mean
from modelsum.sources import installed
from modelsum.sources.base import Source
from modelsum.sources.finding import ENTRY_POINTS

#: Packages with models, each the name of an extra and of the word before the slash.
PACKAGES = ("torchvision", "timm", "transformers")


def there() -> tuple[str, ...]:
    """Those of `PACKAGES` that are installed."""
    return tuple(package for package in PACKAGES if installed.folder(package) is not None)


def names(provider: str) -> Collection[str]:
    """What stands behind PROVIDER/ for each of its models, sorted.

    Raises UsageError where its package is not installed, or it has no list, UnknownModelError where there is
    no such provider.
    """
    if provider in PACKAGES:
        installed.require(provider)
        source: Source = import_module(f"modelsum.sources.{provider}").source
    else:  # of another package; which are there takes longer to find than the names themselves
        source = _source(provider)
    found = tuple(sorted(source.names()))
    if not found:
        raise UsageError(f"{provider} has no list of its models", "Any that it knows can be shown.")
    return found


def _source(provider: str) -> Source:
    from importlib.metadata import entry_points  # 40 ms

    entries = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if provider not in entries:
        hint = did_you_mean(provider, entries) or f"Providers are {', '.join(entries)}."
        raise UnknownModelError(f"unknown provider {provider!r}", hint)
    source: Source = entries[provider].load()
    return source
