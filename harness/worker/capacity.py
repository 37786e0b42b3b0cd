"""How many rows a thread will leave, so that their memory is there before the first. Pure."""

from harness.worker.order import evaluates
from harness.worker.spec import WorkerSpec

# Calls beyond the plan: reads that return less than the file has, writes likewise.
_SLACK_SHARE = 16
_SLACK_ROWS = 64


def rows_of_reader(
    spec: WorkerSpec,
    *,
    worker: int,
    workers: int,
    train_batches: int,
    eval_batches: int,
    calls_per_sample: int,
) -> tuple[int, int]:
    """Return the rows of one of `workers` readers in the run, and its marks in one phase.

    Args:
        spec: for epochs, batch size and the epochs of evaluation.
        worker: from 0; it reads every workers-th batch.
        workers: readers of the rank, at least 1.
        train_batches: of one epoch.
        eval_batches: of one evaluation, one sample each.
        calls_per_sample: calls that reading one sample takes.
    """
    train = len(range(worker, train_batches, workers))
    evaluation = len(range(worker, eval_batches, workers))
    evaluations = sum(
        evaluates(epoch, eval_from=spec.eval_from, eval_every=spec.eval_every)
        for epoch in range(1, spec.epochs + 1)
    )
    train_calls = train * spec.batch_size * calls_per_sample
    eval_calls = evaluation * calls_per_sample
    rows = spec.epochs * train_calls + evaluations * eval_calls
    marks = max(train_calls, eval_calls) + max(train, evaluation)
    return with_slack(rows), with_slack(marks)


def with_slack(calls: int) -> int:
    """Return a capacity for `calls` planned calls."""
    return calls + calls // _SLACK_SHARE + _SLACK_ROWS
