"""When an epoch is evaluated, and when a checkpoint is written. Pure.

An evaluated epoch ends with a pass over the evaluation samples. With `eval_every_steps` it is cut
into parts of so many steps, and a pass follows each of them; nothing is trained meanwhile.
"""

from dataclasses import dataclass

from harness.worker.order import evaluates, evaluates_times
from harness.worker.spec import WorkerSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Steps of an epoch without a pause: those from `start`, counted from 0, up to `stop`.

    `evaluated` says whether an evaluation follows, `saved` whether a checkpoint then does.
    """

    start: int
    stop: int
    evaluated: bool
    saved: bool


def parts_of_epoch(spec: WorkerSpec, epoch: int, steps: int, *, after_tests: bool) -> list[Part]:
    """Return the parts of an epoch of so many steps.

    Args:
        spec: for the epochs of evaluation, and the steps between two of them.
        epoch: from 1.
        steps: of every epoch.
        after_tests: whether a checkpoint follows each evaluation; there is one at the end in any
            case.
    """
    evaluated = evaluates(epoch, eval_from=spec.eval_from, eval_every=spec.eval_every)
    every = (spec.eval_every_steps if evaluated else 0) or max(1, steps)
    return [
        Part(
            start=start,
            stop=min(start + every, steps),
            evaluated=evaluated,
            saved=(evaluated and after_tests) or (epoch == spec.epochs and start + every >= steps),
        )
        for start in range(0, steps, every)
    ]


def parts_of_run(spec: WorkerSpec, steps: int) -> int:
    """Return how many parts all epochs have together."""
    return spec.epochs + evaluations_of_run(spec, steps) - _evaluated_epochs(spec)


def evaluations_of_run(spec: WorkerSpec, steps: int) -> int:
    """Return how many evaluations there are in all epochs of so many steps."""
    every = spec.eval_every_steps or max(1, steps)
    return _evaluated_epochs(spec) * -(-steps // every)


def checkpoints_of_run(spec: WorkerSpec, steps: int, *, after_tests: bool) -> int:
    """Return how many checkpoints are written: one at the end, or after each evaluation, too."""
    if not after_tests:
        return 1
    last = evaluates(spec.epochs, eval_from=spec.eval_from, eval_every=spec.eval_every)
    return evaluations_of_run(spec, steps) + (not last)


def _evaluated_epochs(spec: WorkerSpec) -> int:
    return evaluates_times(spec.epochs, eval_from=spec.eval_from, eval_every=spec.eval_every)
