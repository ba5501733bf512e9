"""The models that providers have, by name: read from their files, neither is imported nor is torch."""

from __future__ import annotations

from importlib import import_module

from modelsum.errors import UsageError
from modelsum.sources import finding, installed
from modelsum.sources.base import Source

#: Packages with models, each the name of an extra and of the word before the slash.
PACKAGES = ("torchvision", "timm", "transformers")


def there() -> tuple[str, ...]:
    """Those of `PACKAGES` that are installed."""
    return tuple(package for package in PACKAGES if installed.folder(package) is not None)


def names(provider: str) -> list[str]:
    """What stands behind PROVIDER/ for each of its models, sorted.

    Raises UsageError where its package is not installed, or it has no list, UnknownModelError where there is
    no such provider.
    """
    if provider in PACKAGES:
        installed.require(provider)
        source: Source = import_module(f"modelsum.sources.{provider}").source
        found = source.names()
    else:  # of another package; which are there takes longer to find than names to read
        found = finding.names_of(provider)
    if not found:
        raise UsageError(f"{provider} has no list of its models", "Any that it knows can be shown.")
    return sorted(found)
