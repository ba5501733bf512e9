"""Which source knows a MODEL string."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from modelsum.errors import ModelsumError, UnknownModelError, UsageError, did_you_mean, nearest
from modelsum.raised import told
from modelsum.sources.base import Source
from modelsum.sources.documented import source as documented
from modelsum.sources.hub import source as hub
from modelsum.sources.importing import is_there
from modelsum.sources.ondisk import source as ondisk
from modelsum.spec import HUB, MODEL_FORMS, ModelSpec

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "modelsum.sources"
_FIRST = ("documented", "imported", "torchvision", "timm", "transformers")


def resolve(spec: ModelSpec) -> Source:
    """The source that loads the model: the named provider, or for a bare name the first that knows it.

    Raises UnknownModelError with the nearest names, or with the providers there are.
    """
    if spec.kind in ("weights", "disk"):
        if ondisk.knows(spec):
            return ondisk
        if spec.kind == "disk":
            raise _at_a_path(spec) or UsageError(f"there is no model at {spec.text!r}", MODEL_FORMS)
        if not os.path.exists(spec.name):
            raise UsageError(f"there is no weights file {spec.text!r}")
        raise UsageError(
            f"{spec.text!r} is a weights file: it holds tensors, not a model that could be run",
            "`modelsum show FILE` lists them.",
        )
    if spec.provider == HUB:
        return hub
    if spec.provider is None and documented.knows(spec):
        return documented  # without asking what else is installed, which takes longer than the answer
    entries = _entries()
    if spec.provider is not None:
        if spec.provider not in entries and ondisk.knows(spec):
            return ondisk
        if spec.provider not in entries:
            raise _unknown_provider(spec, entries)
        if not spec.name:
            raise UsageError(f"{spec.text!r} names a provider but no model", f"Write {spec.provider}/NAME.")
        entries = {spec.provider: entries[spec.provider]}
    known: list[str] = []
    for entry in entries.values():
        with _blamed(entry):
            source: Source = entry.load()
            if source.knows(spec):
                return source
            known += source.names()
    if ondisk.knows(spec):
        return ondisk
    raise _at_a_path(spec) or UnknownModelError(
        f"unknown model {spec.text!r}",
        did_you_mean(spec.name, known)
        or _as_attribute(spec.name)
        or _as_model_type(spec.name)
        or "`modelsum list` shows the documented names.",
    )


def _at_a_path(spec: ModelSpec) -> UsageError | None:
    from modelsum.sources.foreign import at_a_path  # which only a mistake needs

    text = spec.text.strip()
    return at_a_path(text.removesuffix(f":{spec.attribute}") if spec.attribute else text)


def _unknown_provider(spec: ModelSpec, entries: Mapping[str, EntryPoint]) -> UsageError:
    """What is to be said of OWNER/NAME: a path, a provider with a mistake in it, or a name of the Hub."""
    from modelsum.sources import foreign, transformers

    if (at_a_path := _at_a_path(spec)) is not None:
        return at_a_path
    unknown = f"unknown provider {spec.provider!r} in {spec.text!r}"
    if near := nearest(str(spec.provider), entries):
        rest = spec.text.strip().partition("/")[2]
        return UnknownModelError(unknown, f"Did you mean {' or '.join(f'{n}/{rest}' for n in near)}?")
    on_the_net = foreign.at_an_address(spec.text.strip(), transformers.source.names())
    return on_the_net or UnknownModelError(
        unknown, f"Providers are {', '.join(entries)}. {foreign.THIS_VERY_MODEL}"
    )


def _as_attribute(name: str) -> str | None:
    """A hint where a dotted name is that of an importable module and something in it."""
    module, _, attribute = name.rpartition(".")
    package = module.partition(".")[0]
    if package.isidentifier() and attribute.isidentifier() and is_there(package):
        return f"Did you mean {module}:{attribute}?"
    return None


def providers() -> Collection[str]:
    """The words that stand before the slash of PROVIDER/NAME."""
    return _entries().keys()


def names_of(provider: str) -> Collection[str]:
    """The names that a source lists. Raises UnknownModelError where there is no such provider."""
    entries = _entries()
    if provider not in entries:
        hint = did_you_mean(provider, entries) or f"Providers are {', '.join(entries)}."
        raise UnknownModelError(f"unknown provider {provider!r}", hint)
    with _blamed(entries[provider]):
        source: Source = entries[provider].load()
        return source.names()


def _entries() -> dict[str, EntryPoint]:
    """The installed sources by name: the built-in ones first, then those of other packages."""
    from importlib.metadata import entry_points  # 40 ms, and a documented name does without

    order = {name: place for place, name in enumerate(_FIRST)}
    found = sorted(entry_points(group=ENTRY_POINTS), key=lambda e: (order.get(e.name, len(order)), e.name))
    return {entry.name: entry for entry in found}


def _as_model_type(name: str) -> str | None:
    """A hint for a name as the Hugging Face Hub has them, bert-base-uncased."""
    from modelsum.sources import foreign, transformers

    known = foreign.model_type(name, transformers.source.names())
    return f"Did you mean transformers/{known}? {foreign.THIS_VERY_MODEL}" if known else None


@contextmanager
def _blamed(entry: EntryPoint) -> Iterator[None]:
    """Say of what goes wrong which source it was."""
    try:
        yield
    except ModelsumError:
        raise
    except Exception as error:
        raise UsageError(
            f"the model source {entry.name!r} ({entry.value}) failed: {told(error)}",
            "Upgrade or uninstall the package that brings it.",
        ) from error
