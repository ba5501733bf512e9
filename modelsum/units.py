"""Counts and bytes as people read them. MB is 2**20 bytes only in the torchsummary convention."""

from __future__ import annotations

MIB = 2**20

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_DECIMAL = ("", "K", "M", "G", "T", "P")


def count(n: int) -> str:
    """An exact count with thousands separators: 25557032 -> '25,557,032'."""
    return f"{n:,}"


def short_count(n: int, digits: int = 4) -> str:
    """A count in about so many digits with a decimal suffix: 4089184256 -> '4.089 G'."""
    value, suffix = float(n), 0
    while abs(value) >= 1000 and suffix < len(_DECIMAL) - 1:
        value /= 1000
        suffix += 1
    if suffix == 0:
        return str(n)
    return f"{rounded(value, digits)} {_DECIMAL[suffix]}"


def rounded(value: float, digits: int) -> str:
    """A number in so many digits, and all of those before its point: '4.09', '1023'."""
    return f"{value:.{max(digits, len(str(int(abs(value)))))}g}"


def binary_bytes(n: int) -> str:
    """Bytes in binary units: 102228128 -> '97.49 MiB'."""
    size, unit = binary_unit(n)
    return f"{n} B" if size == 1 else f"{n / size:,.2f} {unit}"


def exact_bytes(n: int) -> str:
    """Bytes, exact and as they are read: 82737664 -> '82,737,664 B (78.90 MiB)'; less than a KiB as it is."""
    return f"{n:,} B ({binary_bytes(n)})" if abs(n) >= 1024 else f"{n:,} B"


def binary_unit(n: int) -> tuple[int, str]:
    """The largest binary unit that is not more than so many bytes: 102228128 -> (1048576, 'MiB')."""
    suffix = min(max(abs(n).bit_length() - 1, 0) // 10, len(_BINARY) - 1)
    return 1 << 10 * suffix, _BINARY[suffix]


def torchsummary_mb(n: int) -> str:
    """Bytes as torchsummary prints them, MB of 2**20, two decimals and no separator: '97.49'."""
    return f"{n / MIB:.2f}"
