"""The figures of a verdict as an aligned table, for text: exact, and bytes in MiB or GiB below that.

training_peak   77,806,080 B => 82,737,664 B  +4,931,584 B  +6.34%
                 (74.20 MiB)     (78.90 MiB)   (+4.70 MiB)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from modelsum.baselines.gate.verdict import Finding
from modelsum.render.verdict import words
from modelsum.units import binary_bytes

_Cells = tuple[str, str, str, str, str]  # before, a sign, now, the difference, its share


def lines(
    findings: Sequence[Finding], indent: str, width: int, note: Callable[[Finding, str], list[str]]
) -> Iterator[str]:
    """The lines of the table; where it would be wider than that, figures' names stand above their numbers.

    Args:
        note: the lines that go below a figure, given how far in its numbers begin.
    """
    if not findings:
        return
    rows = [(found, _exact(found), _binary(found)) for found in findings]
    columns = zip(*(cells for _, *both in rows for cells in both), strict=True)
    widths = [max(map(len, column)) for column in columns]
    numbers = sum(widths) + 2 + 2 * sum(1 for size in widths[3:] if size)
    name = max(len(found.figure) for found in findings)
    beside = len(indent) + name + 2 + numbers <= width
    inner = indent + " " * (name + 2 if beside else 2)
    for found, exact, binary in rows:
        if beside:
            yield f"{indent}{found.figure:<{name}}  {_row(exact, widths)}"
        else:
            yield indent + found.figure
            yield inner + _row(exact, widths)
        if any(binary):
            yield inner + _row(binary, widths)
        yield from note(found, inner)


def _row(cells: _Cells, widths: Sequence[int]) -> str:
    before, sign, now, *change = map(str.rjust, cells, widths)
    return "  ".join((f"{before} {sign} {now}", *change)).rstrip()


def _exact(found: Finding) -> _Cells:
    unit = " B" if found.is_bytes else ""
    before, now, difference = _numbers(found)
    limited = found.state == "over limit"
    return (
        "" if before is None else f"{'limit ' if limited else ''}{before:,}{unit}",
        "" if before is None else "<" if limited else "=>",
        "not known" if now is None else f"{now:,}{unit}",
        "" if difference is None else f"{difference:+,}{unit}",
        "" if before is None or now is None else words.percent(before, now),
    )


def _binary(found: Finding) -> _Cells:
    """Empty for a count, and for what is less than a KiB."""
    before, now, difference = (
        "" if n is None or abs(n) < 1024 or not found.is_bytes else binary_bytes(n) for n in _numbers(found)
    )
    sign = "+" if difference and not difference.startswith("-") else ""
    before, now, difference = (text and f"({text})" for text in (before, now, sign + difference))
    return before, "", now, difference, ""


def _numbers(found: Finding) -> tuple[int | None, int | None, int | None]:
    """What was, or for a broken limit what may be; what is; the difference."""
    before = found.most if found.state == "over limit" else found.old
    return before, found.new, None if before is None or found.new is None else found.new - before
