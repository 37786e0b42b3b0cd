"""Sizes as people write them, and as the tool says them back."""

import re
from decimal import Decimal, InvalidOperation

from dsgen.errors import UsageError

_DECIMAL = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BINARY = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_UNITS = {**_DECIMAL, **_BINARY}
_NUMBER = re.compile(r"(?P<number>\d+(?:\.\d+)?(?:[eE]\+?\d+)?)\s*(?P<unit>[A-Za-z]*)", re.ASCII)
# What file systems and numpy count bytes in is a signed integer of 64 bits.
LIMIT_BYTES = 2**63


def parse_size(text: str) -> int:
    """Return the bytes that `text` means: `16GB` decimal, `16GiB` binary, bare or `16e9` bytes.

    Raises:
        UsageError: not a positive number, one of 2**63 bytes or more, or a unit such as `G` that
            could mean either.

    >>> parse_size("16GB"), parse_size("1.5GiB"), parse_size("16e9")
    (16000000000, 1610612736, 16000000000)
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise UsageError("not a size", where=repr(text), then="write it as 16GB, 16GiB or bytes")
    number, unit = _number(match["number"]), match["unit"]
    if unit and unit not in _UNITS:
        raise UsageError(f"unit {unit!r} is not one size", where=repr(text), then=_advice(unit))
    size_bytes = int(number * _UNITS.get(unit, 1))
    if size_bytes < 1:
        raise UsageError("a size is at least one byte", where=repr(text), then="give a larger one")
    if size_bytes >= LIMIT_BYTES:
        raise UsageError("a size is below 2**63 bytes", where=repr(text), then="give a smaller one")
    return size_bytes


def format_size(size_bytes: int) -> str:
    """Return the decimal spelling with three significant digits: `16 GB`, `1.02 GB`, `117 MB`.

    >>> format_size(16_000_000_000), format_size(117_280_426), format_size(999)
    ('16 GB', '117 MB', '999 B')
    """
    value, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"


def echo_size(size_bytes: int) -> str:
    """Return a size in the three ways that end all doubt.

    >>> echo_size(16_000_000_000)
    '16 GB = 16,000,000,000 bytes (14.9 GiB)'
    """
    gib = size_bytes / 2**30
    binary = f"{gib:.3g} GiB" if gib >= 1 else f"{size_bytes / 2**20:.3g} MiB"
    return f"{format_size(size_bytes)} = {size_bytes:,} bytes ({binary})"


def _number(text: str) -> Decimal:
    """Return a number, at most the limit: to work out 1e999999 takes for ever."""
    try:
        return min(Decimal(text), Decimal(LIMIT_BYTES))
    except InvalidOperation:  # an exponent that no Decimal has
        return Decimal(LIMIT_BYTES)


def _advice(unit: str) -> str:
    letter = unit[:1].upper()
    decimal = "kB" if letter == "K" else f"{letter}B"
    if decimal in _DECIMAL and letter != "B":
        return f"say {decimal} (powers of 1000) or {letter}iB (powers of 1024)"
    return f"use one of {', '.join(_UNITS)}"
