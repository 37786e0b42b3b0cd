"""What a reader of the figures must know: a sentence each, part of the result."""

import numpy as np

from harness.analysis.cost import COST_LIMIT, cost_words, recording_cost
from harness.analysis.epoch import Epoch, measured
from harness.analysis.recording import Recording, WorkerFacts
from harness.analysis.selfcheck import REST_LIMIT, SelfCheck
from harness.analysis.volume import WARM_DEVICE_SHARE
from harness.analysis.wording import percent


def notices_of(
    recording: Recording, epochs: tuple[Epoch, ...], check: SelfCheck, *, few_steps: str | None
) -> list[str]:
    """Return the warnings that the recording itself gives reason for."""
    return [
        *_about_planted(recording.worker),
        *check.problems,
        *_about_epochs(epochs),
        *([f"{few_steps}; a larger data set gives more steps"] if few_steps else []),
        *_about_ranks(recording),
        *_about_cores(recording, epochs),
        *_about_evictions(recording.worker),
        *_about_tensorflow(recording.worker),
        *_about_bytes(recording.worker),
        *_about_cost(recording),
    ]


def _about_planted(worker: WorkerFacts) -> list[str]:
    planted = {name: value for name, value in (worker.planted or {}).items() if value is not None}
    if not planted:
        return []
    named = ", ".join(f"{name} {value}" for name, value in planted.items())
    return [f"this run was made slow on purpose, to test the verdict: {named}"]


def _about_epochs(epochs: tuple[Epoch, ...]) -> list[str]:
    notices = []
    cut = [str(epoch.number) for epoch in epochs if not epoch.complete]
    if cut:
        notices.append(f"epoch {', '.join(cut)} was not finished by all ranks and is left out")
    if epochs and not measured(epochs):
        notices.append("no epoch is left to measure: all are warm-up or were cut short")
    return notices


def _about_ranks(recording: Recording) -> list[str]:
    silent = [str(rank) for rank, rows in enumerate(recording.steps) if not len(rows)]
    return [f"rank {', '.join(silent)} left no recording"] if silent else []


def _about_cores(recording: Recording, epochs: tuple[Epoch, ...]) -> list[str]:
    # A reader that was off its processor outside of its calls counts as without a core. Where the
    # main thread is that reader, the kernel's own account of its whole steps bounds this. Who only
    # waits for another rank's reader has its account, and sleeps.
    kept = measured(epochs)
    inline = not any(rows["loader"].any() for rows in recording.rows)
    inline = inline and recording.worker.bytes == "recorded"  # tf.data reads in the background
    if not inline or not any(epoch.steps["runqueue_ns"].any() for epoch in kept):
        return []
    unknown = wall = np.zeros(recording.ranks, np.int64)
    for epoch in kept:
        steps = epoch.steps[:, 1:]
        beyond = steps["wait_runqueue_ns"] - steps["runqueue_ns"]
        unknown = unknown + np.maximum(beyond, 0).sum(axis=1)
        wall = wall + (steps["barrier_end_ns"] - steps["load_start_ns"]).sum(axis=1)
    return [
        f"rank {rank}: {percent(share)} of its time counts as waiting for a core, but the kernel's "
        "run queue knows nothing of it: a hypervisor took the core, or the reader slept"
        for rank, share in enumerate(unknown / wall)
        if share > REST_LIMIT and len(recording.rows[rank])
    ]


def _about_bytes(worker: WorkerFacts) -> list[str]:
    if worker.bytes == "recorded":
        return []
    return [
        "bytes are inferred from the kernel's count, because tf.data reads by calls of its own; a "
        "wait for its batch is told as waiting for storage, and may as well be its own work"
    ]


def _about_cost(recording: Recording) -> list[str]:
    cost = recording_cost(recording)
    if cost.share is None or cost.share <= COST_LIMIT:
        return []
    return [f"recording took {cost_words(cost)}; its calls are small, and reading costs less CPU"]


def _about_evictions(worker: WorkerFacts) -> list[str]:
    # Before epoch 0 nothing had been read yet, and memory was limited.
    unasked = [
        "this file system does not tell whether pages of the data were left in memory before the "
        "run: the memory limit does not hold for such pages"
        for eviction in worker.evictions
        if eviction.epoch == 0 and eviction.resident_fraction is None
    ]
    return unasked + [
        f"before epoch {eviction.epoch}, {percent(eviction.resident_fraction)} of the probed pages "
        "were still in memory after the eviction"
        for eviction in worker.evictions
        if eviction.resident_fraction is not None and eviction.resident_fraction > WARM_DEVICE_SHARE
    ]


def _about_tensorflow(worker: WorkerFacts) -> list[str]:
    facts = worker.tensorflow or {}
    notices = []
    if ranks := facts.get("ranks_on_zeros"):
        named = ", ".join(map(str, ranks))
        notices.append(f"rank {named} got word of each batch, but not the batch: trained on zeros")
    if facts.get("steps") and facts.get("last_loss") is None:
        notices.append("the loss is no number at the end: the model learnt nothing from the data")
    return notices
