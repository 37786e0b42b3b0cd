"""Every cause, and what must be found of it. Pure."""

from dataclasses import replace
from functools import partial
from typing import Final

from dsgen.errors import ExitCode
from harness.analysis.result import Result
from harness.analysis.wording import percent, rate
from harness.selftest.cause import Cause, Finding, Outcome
from harness.selftest.predict import predict_au
from harness.worker.spec import Planted

MB: Final = 1_000_000
# What a slow storage must come to: bandwidth in parts, AU in points.
_BANDWIDTH_WITHIN, _AU_WITHIN = 0.05, 0.02
_STEP_S: Final = 0.1
_SLOW_RANK: Final = 1
# About what two batches of the smallest volumes take: the predicted AU follows from the bytes.
_STEP_BYTES: Final = 127_000_000
# Of the time that the bytes of a step take. Less reading ahead is left over at the end of a run.
_COMPUTE_PART: Final = 0.15


def all_causes() -> tuple[Cause, ...]:
    """Return them in the order in which they run."""
    rates = ((50, 8, 1), (100, 12, 1), (400, 12, 3))
    return (*(_slow_storage(*one) for one in rates), *_others())


def short_causes() -> tuple[Cause, ...]:
    """Return one of each kind, as short as they can be."""
    return (_slow_storage(400, 12, 1), *(replace(one, steps=8) for one in _others()))


def _slow_storage(megabytes: int, steps: int, epochs: int) -> Cause:
    bytes_per_s = megabytes * MB
    return Cause(
        name=f"storage of {megabytes} MB/s",
        step_s=_COMPUTE_PART * _STEP_BYTES / bytes_per_s,
        check=partial(check_storage, bytes_per_s=bytes_per_s),
        steps=steps,
        epochs=epochs,
        read_bytes_per_s=bytes_per_s,
    )


def _others() -> tuple[Cause, ...]:
    return (
        Cause(
            name="processor time burnt for each sample",
            step_s=_STEP_S,
            check=check_client,
            planted=Planted(burn_s=0.8),
        ),
        Cause(
            name="one slow rank",
            step_s=_STEP_S,
            check=check_straggler,
            planted=Planted(slow_rank=_SLOW_RANK, slow_read_s=0.1),
        ),
        Cause(
            name="a memory limit below the need",
            step_s=_STEP_S,
            check=check_memory,
            memory_bytes=128 * MB,
        ),
        Cause(
            name="a neighbour that keeps all cores busy",
            step_s=5 * _STEP_S,
            check=check_neighbour,
            neighbours=2,
        ),
        Cause(
            name="data that memory holds",
            step_s=5 * _STEP_S,
            check=check_cached,
            steps=12,
            cache="warm",
        ),
    )


def check_storage(outcome: Outcome, *, bytes_per_s: int) -> Finding:
    """Expect the bandwidth and AU of the throttle, and storage to be blamed."""
    result = outcome.result
    if result is None or not outcome.epochs:
        return _nothing(outcome)
    au, measured = result.metrics.au.value, result.metrics.bandwidth_bytes_per_s.value
    if au is None or measured is None:
        return _nothing(outcome)
    predicted = predict_au(outcome.epochs, bytes_per_s)
    off = measured / bytes_per_s - 1
    right = abs(off) <= _BANDWIDTH_WITHIN and abs(au - predicted) <= _AU_WITHIN
    return Finding(
        passed=right and result.verdict.limit == "storage",
        figures=f"{rate(measured)} ({off:+.1%}), AU {percent(au)} (predicted "
        f"{percent(predicted)}), cores idle {percent(result.machine.idle_share)}, {_said(result)}",
    )


def check_client(outcome: Outcome) -> Finding:
    """Expect the client's processor to be blamed."""
    return _limit_is(outcome, "client_cpu", "client_cpu_share_of_lost")


def check_straggler(outcome: Outcome) -> Finding:
    """Expect the slow rank to be blamed, by its number."""
    found = _limit_is(outcome, "straggler", "straggler_share_of_lost")
    if outcome.result is None:
        return found
    named = outcome.result.verdict.sentence.startswith(f"Rank {_SLOW_RANK} ")
    return Finding(
        passed=found.passed and named,
        figures=f"{found.figures}, rank {_SLOW_RANK} {'' if named else 'not '}named",
    )


def check_memory(outcome: Outcome) -> Finding:
    """Expect the run to be refused or to end for lack of memory, or memory to be blamed."""
    error, result = outcome.error, outcome.result
    if error is not None and error.exit_code == ExitCode.OUT_OF_MEMORY:
        return Finding(passed=True, figures=f"exit code 9: {error.what}")
    if result is None:
        return _nothing(outcome)
    return Finding(passed=result.verdict.limit == "memory", figures=_said(result))


def check_neighbour(outcome: Outcome) -> Finding:
    """Expect storage not to be blamed while others have the cores."""
    result = outcome.result
    if result is None or result.metrics.au.value is None:
        return _nothing(outcome)
    idle = percent(result.machine.idle_share)
    return Finding(
        passed=result.verdict.limit != "storage",
        figures=f"AU {percent(result.metrics.au.value)}, cores idle {idle}, {_said(result)}",
    )


def check_cached(outcome: Outcome) -> Finding:
    """Expect no verdict on the storage, or nothing that limits."""
    result = outcome.result
    if result is None or result.metrics.au.value is None:
        return _nothing(outcome)
    verdict = result.verdict
    memory = percent(result.metrics.bytes.memory_share)
    return Finding(
        passed=verdict.outcome == "withheld" or verdict.limit == "none",
        figures=f"AU {percent(result.metrics.au.value)}, {memory} from memory, {_said(result)}",
    )


def _limit_is(outcome: Outcome, limit: str, evidence: str) -> Finding:
    result = outcome.result
    if result is None or result.metrics.au.value is None:
        return _nothing(outcome)
    shares = {item.name: item.value for item in result.verdict.evidence}
    return Finding(
        passed=result.verdict.limit == limit,
        figures=f"AU {percent(result.metrics.au.value)}, {percent(shares[evidence])} of the lost "
        f"time, {_said(result)}",
    )


def _said(result: Result) -> str:
    return f"{result.verdict.outcome}: {result.verdict.limit}"


def _nothing(outcome: Outcome) -> Finding:
    why = str(outcome.error) if outcome.error is not None else "no epoch was measured"
    return Finding(passed=False, figures=why)
