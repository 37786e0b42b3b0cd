"""The answer: whether the storage feeds the accelerators, and if not, what holds them back."""

from dataclasses import dataclass
from typing import Literal

from harness.analysis.causes import Causes
from harness.analysis.ceiling import Ceiling
from harness.analysis.client import client_remark, doubt
from harness.analysis.demand import Demand
from harness.analysis.machine import MachineUse
from harness.analysis.metrics import Metrics
from harness.analysis.part import Part
from harness.analysis.recording import Status
from harness.analysis.selfcheck import SelfCheck
from harness.analysis.volume import Client
from harness.analysis.wording import percent, rate

DEFAULT_THRESHOLD_AU = 0.90  # the mark that this field uses for imseg
# A cause that is to be named alone must explain more than half of the lost time.
MAJORITY = 0.5
# In fewer steps, one rank may have drawn the larger files each time: with two ranks in 3 % of runs
# of 5 steps, in a third of runs of one.
STRAGGLER_STEPS = 8
# One long stall makes a rank lose as much as a slow rank does, but that one is last all the time.
STRAGGLER_SHARE = 0.75
# Reads of one rank that take so much longer per byte are its own; less is drawn by lot.
STRAGGLER_SLOWNESS = 1.5
# From this share of bytes on, a pass or fail says that memory helped.
NOTABLE_MEMORY = 0.1
# Below this demand, a pass says nothing about bandwidth.
LOW_DEMAND_BYTES_PER_S = 100e6

_CEILING = "a short run over cached data, after this one"

Outcome = Literal["pass", "fail", "withheld"]
Limit = Literal["storage", "client_cpu", "memory", "straggler", "emulator", "none", "undecided"]


class Evidence(Part, frozen=True, kw_only=True):
    """A figure that the verdict rests on; `unit` 1 is a plain ratio."""

    name: str
    value: float | None
    unit: str
    source: str


class Verdict(Part, frozen=True, kw_only=True):
    """The answer: an outcome, what limits, one sentence for people, and the figures behind it."""

    outcome: Outcome
    limit: Limit
    threshold_au: float
    sentence: str
    evidence: list[Evidence]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """What a verdict is made of.

    `profile` names the accelerators, which are `emulated` or compute; `cache` is the setting,
    `client` what was proven of it. `fed` is how many accelerators the measured bandwidth would
    feed, None where no estimate can be made. `few_steps` is what is to be said of short epochs,
    `holes` why the files are not on the storage, if so.
    """

    status: Status
    accelerators: int
    profile: str
    emulated: bool
    threshold_au: float
    cache: str
    client: Client
    metrics: Metrics
    demand: Demand
    causes: Causes
    self_check: SelfCheck
    machine: MachineUse
    ceiling: Ceiling
    fed: int | None
    out_of_memory: bool
    few_steps: str | None = None
    holes: str | None = None

    @property
    def feeds(self) -> str:
        """What is to be fed, as people say it: `8 x v100`."""
        return f"{self.accelerators} x {self.profile}"

    @property
    def mark(self) -> str:
        """AU against the threshold, with figures."""
        return f"AU {percent(self.metrics.au.value)} against {percent(self.threshold_au)}"


def judge(case: Case) -> Verdict:
    """Return the verdict; withheld when the figures cannot carry one."""
    outcome, limit, sentence = _withhold(case) or _pass(case) or _fail(case)
    return Verdict(
        outcome=outcome,
        limit=limit,
        threshold_au=case.threshold_au,
        sentence=" ".join([sentence, *_remarks(case, outcome, limit)]),
        evidence=_evidence(case, limit),
    )


_Finding = tuple[Outcome, Limit, str]


def _withhold(case: Case) -> _Finding | None:
    memory = case.metrics.bytes.memory_share
    if case.self_check.problems:
        reason = f"the recording failed its self-check ({case.self_check.problems[0]})"
    elif case.out_of_memory:
        return "withheld", "memory", "No verdict: the run needs more memory than it was given."
    elif case.status != "ok":
        reason = f"the run {'failed' if case.status == 'failed' else 'was interrupted'}"
    elif case.holes is not None:
        reason = case.holes
    elif case.demand.mean_declared_ns == 0:
        bandwidth = rate(case.metrics.bandwidth_bytes_per_s.value)
        reason = (
            "what was read is prepared for a training, and no accelerator waits for it; "
            f"it was read at {bandwidth}"
        )
        if memory:
            reason += f", {percent(memory)} of it from memory"
    elif case.metrics.au.value is None or not case.self_check.passed:
        reason = "no epoch was measured from its first step to its last"
    elif case.cache == "cold" and memory is not None and memory > MAJORITY:
        reason = f"{percent(memory)} of the bytes came from memory although the run asked for cold"
        return "withheld", "memory", f"No verdict: {reason}."
    elif memory is None and case.client == "unknown":
        reason = "how much came from the device and how much from memory is unknown on this target"
    else:
        return None
    return "withheld", "undecided", f"No verdict: {reason}."


def _pass(case: Case) -> _Finding | None:
    au = case.metrics.au.value
    if au is None or au < case.threshold_au:
        return None
    if withheld := _withhold_storage(case, f"which feeds {case.feeds}"):
        return withheld
    bandwidth = rate(case.metrics.bandwidth_bytes_per_s.value)
    return "pass", "none", f"Storage feeds {case.feeds}: {case.mark}, at {bandwidth}."


def _withhold_storage(case: Case, then: str) -> _Finding | None:
    """Withhold what would be said of a storage that fewer than half of the bytes came from."""
    share = case.metrics.bytes.memory_share
    if share is None or share <= MAJORITY:
        return None
    said = f"{percent(share)} of the bytes came from memory, {then}: {case.mark}"
    return "withheld", "memory", f"No verdict on the storage: {said}."


def _fail(case: Case) -> _Finding:
    causes, lost = case.causes, case.causes.lost_ns
    slow = causes.straggler_rank
    if slow is not None and _is_straggler(causes):
        share = percent(causes.share(causes.straggler_ns))
        sentence = (
            f"Rank {slow} holds {case.feeds} back: {case.mark}; "
            f"{share} of the lost time is waiting for this rank alone."
        )
        return "fail", "straggler", sentence
    shares: dict[Limit, int] = {
        "storage": causes.storage_wait_ns,
        "client_cpu": causes.client_cpu_ns,
        "emulator": causes.emulator_ns,
        "undecided": causes.other_ns,
    }
    limit = max(shares, key=lambda name: shares[name])
    if shares[limit] <= MAJORITY * lost:
        limit = "undecided"
    if limit == "storage" and (
        withheld := _withhold_storage(case, f"and the rest holds {case.feeds} back")
    ):
        return withheld
    share = percent(causes.share(shares[limit]))
    if limit == "storage" and (reason := _doubt(case)):
        sentence = (
            f"Client or storage, undecided: {case.feeds} wait, {case.mark}; {share} of the lost "
            f"time is waiting for storage, but {reason}."
        )
        return "fail", "undecided", sentence
    return "fail", limit, _blame(case, limit, share)


def _is_straggler(causes: Causes) -> bool:
    slowness = causes.straggler_slowness
    return (
        causes.steps >= STRAGGLER_STEPS
        and causes.straggler_ns > MAJORITY * causes.lost_ns
        and causes.straggler_steps >= STRAGGLER_SHARE * causes.steps
        and (slowness is None or slowness >= STRAGGLER_SLOWNESS)
    )


def _doubt(case: Case) -> str | None:
    return doubt(case.machine, case.ceiling, case.demand, case.metrics.au.value)


def _blame(case: Case, limit: Limit, share: str) -> str:
    storage = percent(case.causes.share(case.causes.storage_wait_ns))
    if limit == "storage":
        return (
            f"Storage holds {case.feeds} back: {case.mark}; "
            f"{share} of the lost time is waiting for storage."
        )
    if limit == "client_cpu":
        return (
            f"This client's processor holds {case.feeds} back: {case.mark}; {share} of the lost "
            f"time goes to reading, decoding and waiting for a core, {storage} to the storage."
        )
    if limit == "emulator":
        return (
            f"The emulation holds {case.feeds} back: {case.mark}; {share} of the lost time is "
            f"compute that ended late, {storage} the storage's. Use fewer ranks or more cores."
        )
    if case.self_check.bytes == "inferred":
        emulation = percent(case.causes.share(case.causes.emulator_ns))
        return (
            f"{case.feeds} wait, and tf.data does not tell what for: {case.mark}; "
            f"emulation {emulation} of the lost time."
        )
    client = percent(case.causes.share(case.causes.client_cpu_ns))
    told = f"storage {storage}, client processor {client}"
    if case.emulated:
        told += f", emulation {percent(case.causes.share(case.causes.emulator_ns))}"
    return (
        f"{case.feeds} wait, and no single cause explains it: {case.mark}; {told} of the lost time."
    )


def _remarks(case: Case, outcome: Outcome, limit: Limit) -> list[str]:
    remarks: list[str] = []
    memory, need = case.metrics.bytes.memory_share, case.demand.bytes_per_s
    if outcome == "fail" and limit == "storage":
        remarks += [text for text in (_would_pass(case), _ceiling_remark(case)) if text]
    if outcome != "withheld" and memory is not None and memory > NOTABLE_MEMORY:
        remarks.append(f"{percent(memory)} of the bytes came from memory, not from the storage.")
    if outcome != "withheld" and case.few_steps:
        remarks.append(f"{case.few_steps[0].upper()}{case.few_steps[1:]}.")
    if need is not None and need < LOW_DEMAND_BYTES_PER_S:
        remarks.append(f"The workload asks for {rate(need)} only, which cannot test bandwidth.")
    if case.profile == "ci":
        remarks.append("Profile ci describes no real accelerator.")
    return remarks


def _would_pass(case: Case) -> str | None:
    mark = f"would reach AU {percent(case.threshold_au)} (an estimate)"
    if case.fed is None:
        return None
    if case.fed == 0:
        return f"At this bandwidth not even 1 x {case.profile} {mark}."
    return f"At this bandwidth {case.fed} x {case.profile} {mark}."


def _ceiling_remark(case: Case) -> str | None:
    return client_remark(case.ceiling, case.demand, case.threshold_au)


def _evidence(case: Case, limit: Limit) -> list[Evidence]:
    metrics, causes = case.metrics, case.causes
    # What was read while something else was the limit is not what this storage can do.
    fed = case.fed if limit == "storage" else None
    known = case.self_check.bytes == "recorded"
    storage = causes.share(causes.storage_wait_ns) if known else None
    client = causes.share(causes.client_cpu_ns) if known else None
    charged = "steps: lost time charged to the last rank at each barrier"
    figures: list[tuple[str, float | None, str, str]] = [
        ("au", metrics.au.value, "1", "steps: sum of declared times / sum of windows"),
        ("threshold_au", case.threshold_au, "1", "configuration"),
        ("lost", causes.lost_s, "accelerator-s", "steps: windows - declared, all ranks"),
        ("storage_share_of_lost", storage, "1", charged),
        ("client_cpu_share_of_lost", client, "1", charged),
        ("emulator_share_of_lost", causes.share(causes.emulator_ns), "1", charged),
        (
            "straggler_share_of_lost",
            causes.share(causes.straggler_ns),
            "1",
            "steps: what the windows would be shorter by, if the slowest rank were never last",
        ),
        ("bandwidth", metrics.bandwidth_bytes_per_s.value, "B/s", "windows: returned / duration"),
        ("demand", case.demand.bytes_per_s, "B/s", "steps, windows: needed for AU 1"),
        (
            "would_pass",
            None if fed is None else float(fed),
            "accelerators",
            "estimate: the most whose demand at the mark is no more than this bandwidth",
        ),
        ("idle_cores", case.machine.idle_share, "1", "idle time of the usable cores, /proc/stat"),
        ("cpu_stalls", case.machine.cpu.some, "1", case.machine.pressure_source),
        ("io_stalls", case.machine.io.some, "1", case.machine.pressure_source),
        ("memory_stalls", case.machine.memory.some, "1", case.machine.pressure_source),
        ("ceiling_au", case.ceiling.au, "1", case.ceiling.reason or _CEILING),
        (
            "ceiling_bandwidth",
            case.ceiling.bandwidth_bytes_per_s,
            "B/s",
            case.ceiling.reason or _CEILING,
        ),
        ("memory_share", metrics.bytes.memory_share, "1", metrics.bytes.device.source),
    ]
    return [
        Evidence(name=name, value=value, unit=unit, source=source)
        for name, value, unit, source in figures
    ]
