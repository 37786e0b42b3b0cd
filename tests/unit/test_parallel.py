"""Work in several processes: every outcome once, every death noticed, nothing left."""

import os
import signal

import pytest

from dsgen.errors import DataSetError, WriterDiedError
from dsgen.parallel import run_parallel


@pytest.mark.parametrize("processes", [1, 2, 7])
@pytest.mark.parametrize("tasks", [0, 1, 5, 100])
def test_every_task_has_one_outcome(processes, tasks):
    outcomes = run_parallel(range(1, tasks + 1), lambda task: task * task, processes)
    assert sorted(outcomes) == [task * task for task in range(1, tasks + 1)]


@pytest.mark.parametrize("when", [1, 2, 5, 8])
def test_a_killed_process_is_an_error_that_names_its_task(when):
    def work(task):
        if task == when:
            os.kill(os.getpid(), signal.SIGKILL)
        return task

    with pytest.raises(WriterDiedError, match=rf"SIGKILL.*task {when}"):
        list(run_parallel(range(1, 9), work, 2))


def test_a_process_that_dies_between_tasks_is_an_error():
    def work(task):
        if task == 1:
            # After its outcome is on its way: the next task finds a closed pipe or no reader.
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        return task

    outcomes = run_parallel(iter(range(1, 4)), work, 1)
    assert next(outcomes) == 1
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    with pytest.raises(WriterDiedError, match="SIGALRM"):
        list(outcomes)


def test_an_expected_error_comes_through_with_its_exit_code():
    def work(task):
        raise DataSetError("broken", where=str(task), then="mend it")

    with pytest.raises(DataSetError, match="broken: 1; mend it") as caught:
        list(run_parallel([1], work, 1))
    assert caught.value.exit_code == 6


def test_leaving_early_leaves_no_process():
    pids = run_parallel(iter(int, 1), lambda _: os.getpid(), 2)
    pid = next(pids)
    pids.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
