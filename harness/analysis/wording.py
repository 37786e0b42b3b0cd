"""Figures as people read them; unknown stays a word."""

import math
from collections.abc import Mapping
from typing import Any

from dsgen.size import format_size

UNKNOWN = "unknown"


def accelerator_name(accelerators: Mapping[str, Any]) -> str:
    """Return what a result calls its accelerators: a profile, or TensorFlow and its devices.

    >>> accelerator_name({"profile": "v100"})
    'v100'
    >>> accelerator_name({"kind": "tensorflow", "device": ["Xeon", "Xeon"]})
    'TensorFlow on Xeon'
    """
    if "profile" in accelerators:
        return str(accelerators["profile"])
    # A rank that failed before it had a device has none.
    devices = {str(device) for device in accelerators.get("device", ()) if device}
    return f"TensorFlow on {' and '.join(sorted(devices)) or UNKNOWN}"


def percent(ratio: float | None) -> str:
    """Return a ratio in %, cut (never rounded up) to a tenth, so that 89.97 is not called 90.

    >>> percent(0.8997), percent(0.9), percent(None)
    ('89.9 %', '90 %', 'unknown')
    """
    if ratio is None:
        return UNKNOWN
    # The small term undoes binary fractions: 0.29 * 1000 is 289.99999999999994.
    tenths = math.floor(ratio * 1000 + 1e-9)
    return f"{tenths / 10:.1f}".removesuffix(".0") + " %"


def rate(bytes_per_s: float | None) -> str:
    """Return a bandwidth with three significant digits.

    >>> rate(3.4e9), rate(None)
    ('3.4 GB/s', 'unknown')
    """
    return UNKNOWN if bytes_per_s is None else f"{format_size(round(bytes_per_s))}/s"


def size(size_bytes: int | None) -> str:
    """Return bytes with three significant digits."""
    return UNKNOWN if size_bytes is None else format_size(size_bytes)


def seconds(duration_ns: float | None) -> str:
    """Return a duration with three significant digits in the unit that fits.

    >>> seconds(1.5e9), seconds(2.25e6), seconds(120e9), seconds(None)
    ('1.5 s', '2.25 ms', '120 s', 'unknown')
    """
    if duration_ns is None:
        return UNKNOWN
    for unit_ns, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if abs(duration_ns) >= unit_ns:
            value = duration_ns / unit_ns
            return f"{value:,.0f} {unit}" if abs(value) >= 1000 else f"{value:.3g} {unit}"
    return f"{duration_ns:.0f} ns"
