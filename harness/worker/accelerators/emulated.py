"""Accelerators: what takes a batch and is done with it some time later."""

import time
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, Final, Protocol

from dsgen.seed import named_words
from harness.worker.spec import StepTime

# A thread that sleeps wakes up late, on a virtual machine by 0.14 ms as a rule, and by more than
# 1 ms one time in a hundred: the last stretch before the deadline is spun, a part of the step
# between two bounds.
SPIN_NS = 2_000_000
_LEAST_SPIN_NS: Final = 500_000
_SPIN_PARTS: Final = 5
# What a rehearsal may take: the first, when sleeping has emptied the caches, and those after it.
_COLD_NS: Final = 200_000
_WARM_NS: Final = 50_000
# Declared by an accelerator that cannot know before: the step takes what it takes.
AS_TAKEN: Final = -1


class Accelerator(Protocol):
    """One rank's accelerator."""

    @property
    def spin_ns(self) -> int:
        """Time burnt by waiting."""

    def declare(self, epoch: int, steps: int, /) -> list[int]:
        """Return what each step of the epoch shall take, in ns, the same for every rank.

        Or `AS_TAKEN` for each, which is no time, but says that nobody knows before.
        """

    def run(
        self,
        load_end_ns: int,
        declared_ns: int,
        batch: Any = None,
        rehearse: Callable[[], object] = lambda: None,
        /,
    ) -> int:
        """Take the batch that was there at `load_end_ns`; return the moment it is done with it.

        `batch` is what the workload's reader left of it, None where a rank has none.

        `rehearse` does what the caller does next, without its effects. An accelerator that spins
        alone calls it again and again: code that has not run for a few milliseconds takes ten times
        as long, and others would wait for it.
        """


class Emulated:
    """An accelerator that only takes time.

    Args:
        step_time: the law of a step's time.
        seed: of the draws. All ranks draw the same, for the models describe synchronised steps.
        spin: burn a core just before the deadline, for those who have one to spare.
        has_loaders: other threads of the process read meanwhile, and who spins keeps Python from
            them: the least is spun, and rehearsed once.

    `spin_ns` is the time burnt.
    """

    def __init__(
        self, *, step_time: StepTime, seed: int, spin: bool, has_loaders: bool = False
    ) -> None:
        self._step_time = step_time
        self._seed = seed
        self._spin = spin
        self._has_loaders = has_loaders
        self.spin_ns = 0

    def declare(self, epoch: int, steps: int) -> list[int]:
        """Return one draw per step: the normal law at a uniform word, never below zero."""
        words = named_words("step time", self._seed, epoch).random_raw(steps)
        normal = NormalDist()
        mean_s, sd_s = self._step_time.mean_s, self._step_time.sd_s
        draws = (mean_s + sd_s * normal.inv_cdf(_uniform(int(word))) for word in words)
        return [max(0, round(draw_s * 1e9)) for draw_s in draws]

    def run(
        self,
        load_end_ns: int,
        declared_ns: int,
        _batch: Any = None,
        rehearse: Callable[[], object] = lambda: None,
        /,
    ) -> int:
        """Wait until `declared_ns` after the batch was there."""
        deadline_ns = load_end_ns + declared_ns
        now_ns = time.monotonic_ns()
        spun_ns = spin_of(declared_ns, has_loaders=self._has_loaders) if self._spin else 0
        sleep_ns = deadline_ns - now_ns - spun_ns
        if sleep_ns > 0:
            time.sleep(sleep_ns / 1e9)
            now_ns = time.monotonic_ns()
        spun_from_ns = now_ns
        if self._spin:
            margin_ns = _COLD_NS
            while deadline_ns - now_ns > margin_ns:
                before_ns = now_ns
                rehearse()
                now_ns = time.monotonic_ns()
                margin_ns = max(_WARM_NS, 2 * (now_ns - before_ns))
                if self._has_loaders:
                    break
        while now_ns < deadline_ns:
            now_ns = time.monotonic_ns()
        self.spin_ns += now_ns - spun_from_ns
        return now_ns


def spin_of(declared_ns: int, *, has_loaders: bool = False) -> int:
    """Return how long before the deadline of a step sleeping ends, in ns, where it is spun."""
    most_ns = _LEAST_SPIN_NS if has_loaders else SPIN_NS
    return min(most_ns, max(_LEAST_SPIN_NS, declared_ns // _SPIN_PARTS))


def _uniform(word: int) -> float:
    # The middle of one of 2**53 equal parts of (0, 1): never an end, where the normal has none.
    return ((word >> 11) + 0.5) / 2**53
