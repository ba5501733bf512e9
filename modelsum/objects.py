"""Objects that stand where a module is wanted, in words: what one is, and what to give in its place."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping
from typing import Any

_MOST_PARTS = 6


def is_module(value: object) -> bool:
    """Whether it is a torch.nn.Module; without torch there is none, and it is not imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def makes_modules(value: object) -> bool:
    """Whether it may make a module when called: a class, a function, or an object that holds none itself."""
    return callable(value) and (inspect.isclass(value) or inspect.isroutine(value) or not _parts(value))


def kind_of(value: object) -> str:
    """What it is: "an int", "the function make", "a state_dict", "None"."""
    if value is None:
        return "None"
    if inspect.isclass(value) or inspect.isroutine(value):
        name = getattr(value, "__name__", type(value).__name__)
        return f"the {'class' if inspect.isclass(value) else 'function'} {name}"
    if isinstance(value, os.PathLike):
        return "a path"
    if _is_state_dict(value):
        return "a state_dict"
    return with_article(type(value).__name__)


def with_article(name: str) -> str:
    """ "an int", "a Net", "an MLP"."""
    letters = "AEFHILMNORSX" if name[:2].isupper() else "AEIOaeio"
    return f"{'an' if name[:1] in letters else 'a'} {name}"


def instead(value: object, text: str | None = None) -> str | None:
    """What there is to give in its place, ready to stand behind a verb, or None where nothing is known.

    Args:
        value: what is no module.
        text: the MODEL that names it; None for an object of Python's.
    """
    if parts := _parts(value):
        names = [f"{text}.{part.removesuffix('()')}" if text else f".{part}" for part in parts[:_MOST_PARTS]]
        if len(names) > 1:
            return f"one of its modules: {', '.join(names)}"
        return names[0] if text else f"its {names[0]}"
    if inspect.isclass(value):
        return f"an instance of it, {value.__name__}(...)"
    if inspect.isroutine(value):
        return f"what it returns, {getattr(value, '__name__', 'it')}(...)"
    if _is_state_dict(value):
        return "the model that it was loaded into: a state_dict is weights alone"
    if isinstance(value, os.PathLike):
        return f"it as text, {os.fspath(value)!r}"
    if hasattr(value, "model_type") and hasattr(value, "to_dict"):
        return "a model of it, like transformers.AutoModelForCausalLM.from_config(config)"
    if isinstance(value, (list, tuple)) and value and all(map(is_module, value)):
        return "one of its modules, or all in a torch.nn.Sequential"
    return None


def _parts(value: Any) -> list[str]:
    """How to get at the modules that an object holds: ["model"] of a pipeline, ["module()"] of a program."""
    if type(value).__module__.startswith("torch.export"):
        return ["module()"] if hasattr(value, "module") else []
    if inspect.isclass(value) or inspect.isroutine(value):
        return []
    held = getattr(value, "__dict__", {})
    return [name for name, part in held.items() if not name.startswith("_") and is_module(part)]


def _is_state_dict(value: object) -> bool:
    torch = sys.modules.get("torch")
    return (
        torch is not None
        and isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(held, torch.Tensor) for held in value.values())
    )
