"""dlrm in a container, seen by strace: the calls of the reference's readers, and rows are calls."""

import json
import os
import secrets

import pytest

from harness.engine import Job, Mount
from harness.engine.arguments import container_arguments
from tests.unit import test_dlrm_bin_calls, test_dlrm_npz_calls, test_worker_dlrm_text
from tests.unit.dlrm_sets import dlrm_spec, make_days, make_rows, make_text
from tests.unit.traced_calls import STRACE, calls_of_threads, recorded

pytestmark = pytest.mark.engine


@pytest.fixture
def traced(client, cpu_image, tmp_path):
    """Run Python in a container under strace; return the calls on data files of each thread."""

    def run(name, *arguments):
        output = tmp_path / name
        output.mkdir()
        job = Job(name=name, arguments=(), mounts=(Mount(path=tmp_path),), log=tmp_path / "log")
        container = client.containers.create(
            **container_arguments(
                job,
                image=cpu_image,
                name=f"feedrate-{name}-{secrets.token_hex(4)}",
                labels={},
                user=f"{os.getuid()}:{os.getgid()}",
            )
            | {"command": [*STRACE, f"{output}/log", "python", *map(str, arguments)]}
        )
        try:
            container.start()
            assert container.wait()["StatusCode"] == 0, container.logs().decode()
        finally:
            container.remove(force=True)
        return calls_of_threads(output)

    return run


@pytest.mark.parametrize("shuffle", ["none", "batches"])
def test_bin(traced, tmp_path, shuffle):
    data_dir = make_rows(tmp_path / "data", train=3_333, test=20_000)
    spec = trained(tmp_path, data_dir, shuffle=shuffle, epochs=2, eval_from=1)
    phases = json.dumps(test_dlrm_bin_calls.phases_of(spec, data_dir))
    words = (test_dlrm_bin_calls.REFERENCE, data_dir, 8 * 16, phases)
    same(traced, tmp_path, spec, words)


@pytest.mark.parametrize("compression", ["deflate", "stored"])
def test_npz(traced, tmp_path, compression):
    data_dir = make_days(tmp_path / "data", [20, 300, 9_000, 1_500], compression=compression)
    spec = trained(tmp_path, data_dir, epochs=2, eval_from=1)
    same(traced, tmp_path, spec, (test_dlrm_npz_calls.REFERENCE, data_dir, 4, 2))


def test_text(traced, tmp_path):
    data_dir = make_text(tmp_path / "data", 5_000)
    spec = trained(tmp_path, data_dir, epochs=2)
    words = (test_worker_dlrm_text.REFERENCE, data_dir / "train.txt", 4)
    same(traced, tmp_path, spec, words)


def trained(tmp_path, data_dir, **changes):
    spec = dlrm_spec(tmp_path, data_dir, accelerators=8, batch_size=16, **changes)
    (tmp_path / "spec.json").write_text(spec.to_json())
    return spec


def same(traced, tmp_path, spec, reference):
    # One of eight ranks reads; nobody else touches a data file.
    [made] = traced("worker", "-m", "harness.worker", tmp_path / "spec.json")
    [expected] = traced("reference", "-c", *reference)
    assert made == expected
    assert made == recorded(spec)
