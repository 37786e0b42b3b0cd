"""How long the run over cached data is, a few seconds anyhow, and what its failure comes to."""

import io
from types import SimpleNamespace

import pytest

from dsgen import events
from dsgen.errors import ExitCode
from dsgen.events import event_line
from harness.ceiling import Measured, Size, measure_ceiling, size_of, unsuitable
from harness.engine import JobExit
from harness.profiles import Profile, declared_means
from harness.progress import Progress
from harness.setting import Setting
from harness.worker.spec import StepTime
from tests.golden.recordings import plan, record, write
from tests.unit.test_config import run

MB = 1_000_000


def config(**changes):
    values = {
        "workload": "imseg",
        "format": None,
        "accelerator": "emulated",
        "ceiling": True,
        "batch_size": 4,
        "accelerators": 8,
        "step_time": StepTime(mean_s=1.4, sd_s=0.0),
    }
    return SimpleNamespace(**{**values, **changes})


def measured(**changes):
    values = {
        "steps_per_epoch": 100,
        "sample_bytes": 150 * MB,
        "step_wall_s": 1.5,
        "bytes_per_s": 3_000 * MB,
        "memory_bytes": 64_000 * MB,
    }
    return Measured(**{**values, **changes})


@pytest.mark.parametrize(
    ("of", "by", "size"),
    [
        # A step of the v100's imseg is 4.8 GB: the fewest steps, over 2 GB of samples.
        ({}, {}, Size(steps=3, samples=13)),
        # Slow storage must not fill memory for minutes.
        ({}, {"bytes_per_s": 50 * MB}, Size(steps=3, samples=1)),
        # Nor may a small memory be filled.
        ({}, {"memory_bytes": 2_000 * MB}, Size(steps=3, samples=3)),
        # Short steps of few bytes: as many as are worth it.
        (
            {"batch_size": 1, "accelerators": 2, "step_time": StepTime(mean_s=0.01, sd_s=0.0)},
            {"step_wall_s": 0.02, "sample_bytes": 10 * MB},
            Size(steps=50, samples=100),
        ),
        # Others than imseg have no more steps than their epoch.
        (
            {"workload": "bert"},
            {"sample_bytes": 2_500, "step_wall_s": 0.01, "steps_per_epoch": 2},
            Size(steps=2, samples=64),
        ),
        # No time declared, nothing known of a sample: still a size.
        (
            {"step_time": None},
            {"sample_bytes": 0.0, "step_wall_s": 0.0},
            Size(steps=50, samples=1600),
        ),
    ],
)
def test_a_size_that_takes_seconds(of, by, size):
    assert size_of(config(**of), measured(**by)) == size


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"ceiling": False}, "not asked for"),
        ({"accelerator": "tensorflow"}, "accelerators that compute"),
        ({"workload": "dlrm", "format": "bin"}, None),
        ({"workload": "dlrm", "format": "npz"}, "dlrm npz"),
        ({"workload": "dlrm", "format": "text"}, "dlrm text"),
    ],
)
def test_what_has_no_ceiling_says_why(changes, why):
    said = unsuitable(config(**changes))
    assert said is None if why is None else why in said


def test_the_declared_time_of_fewer_accelerators_is_known_in_the_profiles_range_alone():
    base = {"name": "x", "device": "X", "source": "doc", "unit": "s", "reference_batch": 2}
    profile = Profile(**base, batch_size=(2, 2), accelerators=(3, 4), mean_s=0.5)
    assert declared_means(profile, 4, 2, extrapolate=False) == (None, None, 0.5, 0.5)
    assert declared_means(profile, 2, 2, extrapolate=True) == (0.5, 0.5)
    assert declared_means(profile, 2, 9, extrapolate=False) == (None, None)


@pytest.mark.parametrize(
    ("lines", "ended", "reason"),
    [
        ((), {"code": 143, "timed_out": True}, "stopped at its time limit, 60 s after its start"),
        ((), {"code": 137, "out_of_memory": True}, "out of memory (limit the machine's)"),
        ((), {"code": 1, "tail": ("bad",)}, "ended with exit code 1 (bad)"),
        (("rank 1 died",), {"code": 143, "timed_out": True}, "rank 1 died"),
    ],
)
def test_a_run_over_cached_data_that_fails_is_a_reason_and_no_failure_of_the_run(
    tmp_path, lines, ended, reason
):
    def train(job, on_line):
        for text in lines:
            on_line(event_line(events.error(ExitCode.RANK_DIED, text)))
        assert job.is_over() is bool(lines)
        return JobExit(**ended)

    write(record(plan(2, 3)), tmp_path)
    setting = Setting(
        config=run(),
        target=SimpleNamespace(device_number="8:0", byte_source="proc"),
        system=None,
        engine=SimpleNamespace(name="docker", run=train),
        progress=Progress(io.StringIO(), is_terminal=False),
        command=(),
    )
    found = measure_ceiling(setting, tmp_path / "data", tmp_path)
    assert (found.au, found.reason) == (None, f"the run over cached data failed: {reason}")
    assert setting.progress.last_error is None
