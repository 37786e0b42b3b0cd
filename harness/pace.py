"""How fast something goes and how long it will still take, as numbers and as text."""

from dataclasses import dataclass
from typing import Final

from dsgen.size import format_size
from harness.analysis.wording import percent

# Nothing is known of a rate before.
_SHORTEST_S: Final = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """Where a task stands.

    Args:
        label: what runs, and how far it is, in words.
        fraction: done, 0 to 1.
        bytes_per_s: None while it is not known.
        left_s: seconds to the end at this rate; None while it is not known.
        au: of the steps so far, 0 to 1; None where there is none.
        waits: what is waited for, where nothing moves.
    """

    label: str
    fraction: float
    bytes_per_s: float | None
    left_s: float | None
    au: float | None = None
    waits: str | None = None

    def text(self) -> str:
        """Return one line: label, percent, AU, rate, time left; what is unknown is not said.

        Where nothing moves a rate would be of what was, and there is no telling how long it takes.
        """
        parts = [f"{self.label} {format_percent(self.fraction)}"]
        if self.waits is not None:
            return f"{parts[0]}, nothing moves: {self.waits}"
        if self.au is not None:
            parts.append(f"AU {percent(self.au)}")
        if self.bytes_per_s is not None:
            parts.append(format_rate(self.bytes_per_s))
        if self.left_s is not None and self.fraction < 1:
            parts.append(f"{format_time(self.left_s)} left")
        return ", ".join(parts)


def rate(done_bytes: int, elapsed_s: float) -> float | None:
    """Return bytes per second; None before a start.

    >>> rate(10, 2.0)
    5.0
    """
    return done_bytes / elapsed_s if done_bytes > 0 and elapsed_s >= _SHORTEST_S else None


def time_left(done: float, total: float, elapsed_s: float) -> float | None:
    """Return the seconds that the rest takes if it goes on as before; None before a start.

    >>> time_left(25, 100, 10.0)
    30.0
    """
    if done <= 0 or elapsed_s < _SHORTEST_S:
        return None
    return max(0.0, total - done) * elapsed_s / done


def format_percent(fraction: float) -> str:
    """Return whole percent, rounded down: 100 % is said when it is reached.

    >>> format_percent(0.999), format_percent(1.0)
    ('99 %', '100 %')
    """
    return f"{int(max(0.0, min(1.0, fraction)) * 100)} %"


def format_rate(bytes_per_s: float) -> str:
    """Return a rate in decimal units.

    >>> format_rate(1_240_000_000), format_rate(0)
    ('1.24 GB/s', '0 B/s')
    """
    return f"{format_size(round(bytes_per_s))}/s"


def format_time(seconds: float) -> str:
    """Return a time in its two largest units, rounded up to the smaller one.

    >>> format_time(0.2), format_time(75), format_time(3599.5), format_time(90_000)
    ('1 s', '1 min 15 s', '1 h 00 min', '1 d 01 h')
    """
    # Rounded up at every unit, so that a wait is never longer than was said.
    whole = -int(-max(0.0, seconds) // 1)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = -(-whole // 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = -(-minutes // 60)
    return f"{hours // 24} d {hours % 24:02d} h"
