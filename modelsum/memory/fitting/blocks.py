"""The repeated blocks of a model, and the patterns that name them for activation checkpointing."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase


def outermost(paths: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """The paths of modules that match a pattern (fnmatch) and are not inside another one that does.

    The root, "", is never among them.
    """
    paths, patterns = list(paths), list(patterns)
    matching = {p for p in paths if p and any(fnmatchcase(p, pattern) for pattern in patterns)}
    return [p for p in paths if p in matching and matching.isdisjoint(_around(p))]


def _around(path: str) -> Iterable[str]:
    while path := path.rpartition(".")[0]:
        yield path


def checkpoint_patterns(
    classes: Mapping[str, str], saved_bytes: Mapping[str, int], most: int = 2
) -> list[tuple[str, ...]]:
    """Patterns that are worth checkpointing: of blocks that are there several times side by side.

    A block is a module with modules in it, beside others of its class: the layers of a transformer, the
    residual blocks of a stage. Blocks of one class, as deep in the model, belong together; their numbers
    are replaced by "*": layer1.0, layer1.1, layer2.0 are layer*.*.

    Args:
        classes: class names by path, of every module that is called.
        saved_bytes: bytes that each module and those in it save for backward, by path.
        most: choices to return.

    Returns:
        Choices, each of one pattern or several; those first whose modules save the most.
    """
    around = {outer for path in classes for outer in _around(path)}
    beside = Counter((path.rpartition(".")[0], name) for path, name in classes.items())
    choices: dict[tuple[str, int], dict[str, None]] = defaultdict(dict)  # patterns, in the order of the model
    for path, name in classes.items():
        pattern = re.sub(r"\d+", "*", path)
        if path in around and beside[path.rpartition(".")[0], name] > 1 and pattern != path:
            choices[name, path.count(".")][pattern] = None
    saved = {
        patterns: sum(saved_bytes.get(path, 0) for path in outermost(classes, patterns))
        for patterns in map(tuple, choices.values())
    }
    ranked = sorted((patterns for patterns in saved if saved[patterns]), key=lambda p: -saved[p])
    return list(dict.fromkeys((*ranked[:most], _joined(ranked, classes)))) if ranked else []


def _joined(ranked: Iterable[tuple[str, ...]], paths: Iterable[str]) -> tuple[str, ...]:
    """The first choice and those after it whose modules are not inside or around those taken already."""
    paths = list(paths)
    joined: tuple[str, ...] = ()
    for patterns in ranked:
        alone = len(outermost(paths, joined)) + len(outermost(paths, patterns))
        if len(outermost(paths, joined + patterns)) == alone:
            joined += patterns
    return joined
