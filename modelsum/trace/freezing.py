"""Parameters that are not trained, by patterns of their names and of the modules around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase

from torch import nn

from modelsum.errors import UsageError, did_you_mean


def freeze(model: nn.Module, patterns: Sequence[str]) -> list[nn.Parameter]:
    """Let parameters that match take no gradients. Returns those that took some before.

    Args:
        model: the caller's own.
        patterns: fnmatch patterns of a parameter's own name or that of a module around it; any name of a
            tied parameter will do.

    Raises UsageError for a pattern that matches nothing; then nothing is frozen.
    """
    if not patterns:
        return []
    names = dict(model.named_parameters(remove_duplicate=False))
    fixed = []
    for pattern in patterns:
        matching = [p for name, p in names.items() if any(fnmatchcase(n, pattern) for n in _around(name))]
        if not matching:
            hint = did_you_mean(pattern, names) or "Paths are as `modelsum show` prints them: 'layer1.*'."
            raise UsageError(f"freeze {pattern!r} matches no parameter", hint)
        fixed += matching
    fixed = [p for p in {id(p): p for p in fixed}.values() if p.requires_grad]
    for parameter in fixed:
        parameter.requires_grad_(False)
    return fixed


@contextmanager
def frozen(model: nn.Module, patterns: Sequence[str]) -> Iterator[None]:
    """Freeze parameters for a while. Raises as `freeze` does."""
    fixed = freeze(model, patterns)
    try:
        yield
    finally:
        for parameter in fixed:
            parameter.requires_grad_(True)


def _around(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition(".")[0]
