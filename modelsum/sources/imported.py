"""`package.module:attribute` and `path/file.py:attribute`: the user's own Module, class or factory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from modelsum import objects
from modelsum.errors import ArgumentError, BuildError, UsageError, did_you_mean
from modelsum.sources import importing
from modelsum.sources.arguments import checked_arguments, refusals
from modelsum.sources.base import Loaded
from modelsum.sources.definition import public_names
from modelsum.spec import ModelSpec, ObjectSpec

if TYPE_CHECKING:
    import torch
    from torch import nn


_WANTED = "a torch.nn.Module, its class, or a function that returns one"


class Imported:
    """Models in Python files and importable modules."""

    name = "imported"

    def knows(self, spec: ModelSpec) -> bool:
        """Whether the spec names an attribute of a module or file. Raises UsageError where there is none."""
        if spec.kind in ("import", "file"):
            check_there(spec)
            return True
        return False

    def names(self) -> Collection[str]:
        """None that could be offered."""
        return ()

    def load(self, spec: ModelSpec, arguments: Mapping[str, Any], device: torch.device) -> Loaded:
        """Import the file or module and build what the attribute stands for."""
        from torch import nn

        from modelsum.sources.building import build
        from modelsum.sources.own_example import example_of
        from modelsum.trace.copying import copy_to

        found = load_attribute(spec)
        if isinstance(found, nn.Module):
            if arguments:
                raise ArgumentError(f"{spec.text} is a module, not a constructor", "It takes no --arg.")
            model = copy_to(found, device)
            return Loaded(model, self.name, example=example_of(model))
        if not objects.makes_modules(found):
            raise UsageError(
                f"{spec.text} is {objects.kind_of(found)}, not a torch.nn.Module",
                f"Name {objects.instead(found, spec.text) or _WANTED}.",
            )
        keywords = checked_arguments(spec.text, found, arguments)
        with refusals(spec.text, arguments):
            model, notice = build(lambda: _module_from(spec.text, found, keywords), device)
        if any(t.device != device for t in (*model.parameters(), *model.buffers())):
            model = copy_to(model, device)  # a factory may name a device itself
        return Loaded(
            model,
            self.name,
            example=example_of(model),
            changed=bool(arguments),
            notices=(notice,) if notice else (),
        )


def _module_from(text: str, factory: Callable[..., Any], keywords: Mapping[str, Any]) -> nn.Module:
    from torch import nn

    model = factory(**keywords)
    if not isinstance(model, nn.Module):
        raise BuildError(
            f"{text} returned {objects.kind_of(model)}, not a torch.nn.Module",
            f"It has to return {objects.instead(model) or 'the module'}.",
        )
    return model


def check_there(spec: ModelSpec) -> None:
    """Say, before anything is imported, that there is no such file or package. Raises UsageError."""
    if spec.kind == "file":
        path = Path(spec.name)
        if not path.is_file():
            nearby = [str(p) for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
            raise UsageError(f"there is no file {str(path)!r}", did_you_mean(str(path), nearby))
        if spec.attribute is None:
            raise UsageError(
                f"{spec.name!r} names a file but no attribute in it",
                f"Write {spec.name}:NAME, with NAME {_WANTED}.{_defined_in(path)}",
            )
        return
    package = spec.name.partition(".")[0]
    if not importing.is_there(package):
        raise importing.no_module(spec.name, f"No module named {package!r}")


def _defined_in(path: Path) -> str:
    """The public names that a file gives to something, without running it."""
    public = public_names(path)
    return f" It has {', '.join(public[:20])}." if public else ""


def made(argument: Any) -> Any:
    """A constructor argument: the object that an `ObjectSpec` stands for, anything else as it is.

    Raises UsageError where there is no such name, ArgumentError where it takes other arguments.
    """
    if not isinstance(argument, ObjectSpec):
        return argument
    check_there(argument.name)
    found = load_attribute(argument.name)
    if not argument.called:
        return found
    if not callable(found):
        raise ArgumentError(f"{argument.name.text} is {objects.kind_of(found)}, and cannot be called", None)
    try:
        return found(*argument.args, **argument.kwargs)
    except TypeError as error:
        raise ArgumentError(f"{argument.text}: {error}", None) from error


def load_attribute(spec: ModelSpec) -> Any:
    """What the attribute of an import or file spec stands for. Raises UsageError or BuildError."""
    in_file = spec.kind == "file"
    found: Any = importing.import_file(Path(spec.name)) if in_file else importing.import_module(spec.name)
    for name in str(spec.attribute).split("."):
        if not hasattr(found, name):
            public = [n for n in dir(found) if not n.startswith("_")]
            own = [n for n in public if not isinstance(getattr(found, n, None), ModuleType)]
            hint = did_you_mean(name, public) or f"It has {', '.join(own[:20]) or 'nothing public'}."
            raise UsageError(f"{spec.text}: there is no {name!r} in {spec.name}", hint)
        found = getattr(found, name)
    return found


source = Imported()
