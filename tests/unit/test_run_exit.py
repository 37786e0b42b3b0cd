"""What a job's end comes to: one line with a next step, whatever ended it."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from dsgen.errors import ExitCode
from harness.engine import Job, JobExit
from harness.errors import JobError
from harness.job import check_exit
from harness.progress import ErrorEvent

JOB = Job(
    name="train-imseg",
    arguments=("-m", "harness.worker"),
    mounts=(),
    log=Path("/r/log"),
    timeout_s=5.0,
)
SILENT = SimpleNamespace(last_error=None)


@pytest.mark.parametrize(
    ("ended", "code", "words"),
    [
        (JobExit(code=137), 8, ("killed by SIGKILL (it said nothing)", "check the memory")),
        (JobExit(code=139, tail=("bad",)), 8, ("killed by SIGSEGV (bad)", "see the log")),
        (JobExit(code=1), 8, ("exit code 1 (it said nothing)", "see the log")),
        (JobExit(code=137, out_of_memory=True), 9, ("out of memory", "--memory")),
        (JobExit(code=137, timed_out=True), 10, ("time limit", "raise --max-duration")),
    ],
)
def test_the_end_of_a_job_is_told_with_a_next_step(ended, code, words):
    with pytest.raises(JobError) as caught:
        check_exit(SILENT, JOB, ended, Path("/r/log"))
    assert caught.value.exit_code == code
    for word in (*words, "train-imseg, log /r/log; "):
        assert word in str(caught.value)


def test_the_end_of_a_job_that_did_its_work_is_not_told():
    check_exit(SILENT, JOB, JobExit(code=0), Path("/r/log"))


@pytest.mark.parametrize("code", [ExitCode.RANK_DIED, ExitCode.DATA_SET, ExitCode.STALLED])
@pytest.mark.parametrize("timeout_s", [None, 5.0])
def test_what_a_job_said_is_told_though_it_had_to_be_ended(code, timeout_s):
    said = ErrorEvent(exit_code=code, text="rank 1 died")
    progress = SimpleNamespace(last_error=said)
    job, ended = replace(JOB, timeout_s=timeout_s), JobExit(code=137, timed_out=True)
    with pytest.raises(JobError) as caught:
        check_exit(progress, job, ended, Path("/r/log"))
    assert (caught.value.exit_code, str(caught.value)) == (code, "rank 1 died")
