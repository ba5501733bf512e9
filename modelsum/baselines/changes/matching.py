"""Which module of one model is which of another: by name, by content and by structure.

From the root down, the children of two modules that belong together are matched:

1. names first, except in numbered lists, where an insertion gives every later module another name;
2. in order, those of equal content, then those of equal structure (a renamed block keeps its structure),
   then those of the same name, then those of the same class that have most of their modules in common;
3. at last, whole blocks of equal structure that have moved to another place, as when a model is wrapped.

Every step takes what the ones before it left, so that the work is near linear in the number of modules.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Sequence
from difflib import SequenceMatcher

from modelsum.baselines.changes.tree import Module, subtree

Modules = list[Module]
Pairs = list[tuple[int, int]]
Gap = tuple[list[int], list[int]]
Key = Callable[[Module], Hashable]

# Alignments beyond this many pairs are left to names: siblings that many, all changed, are no one's rename.
_MOST_PAIRS = 250_000
_CANDIDATES = 8  # to compare a changed block with
_ALIKE = 0.5  # share of common modules from which two blocks of the same class are the same block, changed


def match(old: Modules, new: Modules) -> dict[int, int]:
    """The index of the new module for every old one that is still there. The roots belong together."""
    pairs: dict[int, int] = {0: 0}
    taken: set[int] = {0}
    pending = [(0, 0)]

    def take(a: int, b: int) -> None:
        pairs[a] = b
        taken.add(b)
        pending.append((a, b))

    def spread() -> None:
        while pending:
            a, b = pending.pop()
            if old[a].content == new[b].content:
                for inner_a, inner_b in zip(subtree(old, a), subtree(new, b), strict=True):
                    pairs[inner_a] = inner_b
                    taken.add(inner_b)
                continue
            for inner_a, inner_b in _children(old, new, old[a].children, new[b].children):
                take(inner_a, inner_b)

    spread()
    for key in (_content, _structure):
        for a, b in _moved(old, new, pairs, taken, key):
            if a not in pairs and b not in taken:  # nor matched inside a block that was found before
                take(a, b)
                spread()
    return pairs


def _children(old: Modules, new: Modules, olds: Sequence[int], news: Sequence[int]) -> Pairs:
    """The matched pairs of two lists of siblings."""
    pairs: Pairs = []
    gaps = [(list(olds), list(news))]
    if not any(old[a].is_repeat for a in olds) or not any(new[b].is_repeat for b in news):
        gaps = _by_name(old, new, gaps, pairs)
    for key in (_content, _structure):
        gaps = _aligned(old, new, gaps, key, pairs)
    gaps = _by_name(old, new, gaps, pairs)
    for left, right in gaps:
        pairs += _alike(old, new, left, right)
    return pairs


def _content(module: Module) -> Hashable:
    return module.content


def _structure(module: Module) -> Hashable:
    return module.structure


def _by_name(old: Modules, new: Modules, gaps: list[Gap], pairs: Pairs) -> list[Gap]:
    """Match modules of the same name, single ones and blocks apart; returns what is left of the gaps."""
    left: list[Gap] = []
    for olds, news in gaps:
        named = {new[b].name: b for b in news}
        found = {a: named[old[a].name] for a in olds if old[a].name in named}
        found = {a: b for a, b in found.items() if _is_same_kind(old[a], new[b])}
        pairs += found.items()
        matched = set(found.values())
        left.append(([a for a in olds if a not in found], [b for b in news if b not in matched]))
    return left


def _is_same_kind(a: Module, b: Module) -> bool:
    return a.class_name == b.class_name or (a.size == 1) == (b.size == 1)


def _aligned(
    old: Modules,
    new: Modules,
    gaps: list[Gap],
    key: Key,
    pairs: Pairs,
) -> list[Gap]:
    """Match what is equal by `key`, in order; `pairs` gets what was found. Returns the gaps between."""
    left: list[Gap] = []
    for olds, news in gaps:
        before, after = [key(old[a]) for a in olds], [key(new[b]) for b in news]
        start = 0
        while start < min(len(before), len(after)) and before[start] == after[start]:
            start += 1
        end = 0
        while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
            end += 1
        pairs += zip(olds[:start], news[:start], strict=True)
        if end:
            pairs += zip(olds[-end:], news[-end:], strict=True)
        olds, news = olds[start : len(olds) - end], news[start : len(news) - end]
        left += _middle(olds, news, before[start:], after[start:], pairs)
    return left


def _middle(
    olds: list[int],
    news: list[int],
    before: list[Hashable],
    after: list[Hashable],
    pairs: Pairs,
) -> list[Gap]:
    if not olds or not news or len(olds) * len(news) > _MOST_PAIRS:
        return [(olds, news)] if olds or news else []
    left: list[Gap] = []
    matcher = SequenceMatcher(None, before[: len(olds)], after[: len(news)], autojunk=False)
    for tag, i, i_end, j, j_end in matcher.get_opcodes():
        if tag == "equal":
            pairs += zip(olds[i:i_end], news[j:j_end], strict=True)
        else:
            left.append((olds[i:i_end], news[j:j_end]))
    return left


def _alike(old: Modules, new: Modules, olds: list[int], news: list[int]) -> Pairs:
    """Blocks of the same class that have most of their modules in common."""
    found: Pairs = []
    free = list(news)
    for a in olds:
        if old[a].size == 1:
            continue
        parts = _parts(old, a)
        for b in free[:_CANDIDATES]:
            if new[b].class_name != old[a].class_name:
                continue
            others = _parts(new, b)
            if (parts & others).total() >= _ALIKE * max(parts.total(), others.total()):
                found.append((a, b))
                free.remove(b)
                break
    return found


def _parts(modules: Modules, index: int) -> Counter[tuple[str, str]]:
    return Counter((modules[i].name, modules[i].class_name) for i in subtree(modules, index)[1:])


def _moved(old: Modules, new: Modules, pairs: dict[int, int], taken: set[int], key: Key) -> Pairs:
    """Unmatched modules that are equal by `key`; single ones only if their params and content are."""
    waiting: defaultdict[Hashable, deque[int]] = defaultdict(deque)
    for b, module in enumerate(new):
        if b not in taken and _is_distinct(module, key):
            waiting[key(module)].append(b)
    return [
        (a, waiting[key(module)].popleft())
        for a, module in enumerate(old)
        if a not in pairs and waiting.get(key(module))
    ]


def _is_distinct(module: Module, key: Key) -> bool:
    return module.size > 1 or (key is _content and module.figures["params"] > 0)
