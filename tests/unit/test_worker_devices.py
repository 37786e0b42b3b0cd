"""What a real accelerator computes on, and the words where there is none."""

import importlib.util
from dataclasses import replace

import pytest

from dsgen.errors import ExitCode
from harness.worker import memory
from harness.worker.accelerators import devices
from harness.worker.accelerators.devices import (
    check_devices,
    check_enough,
    gpu_numbers,
    processor_name,
    rank_threads,
)
from harness.worker.failure import DeviceMissingError, MemoryShortError
from tests.unit.worker_run import load_json, make_data_set, make_spec, run_worker


@pytest.fixture
def spec(tmp_path):
    return make_spec(tmp_path, tmp_path, accelerator="tensorflow", step_time=None)


def test_gpus_are_the_numbered_device_files_in_the_order_of_their_numbers(tmp_path):
    for name in ("nvidia10", "nvidia9", "nvidia0", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert gpu_numbers(tmp_path, {}) == ("0", "9", "10")


def test_of_gpus_that_a_user_chose_no_other_is_used(tmp_path):
    for number in range(4):
        (tmp_path / f"nvidia{number}").touch()
    assert gpu_numbers(tmp_path, {"CUDA_VISIBLE_DEVICES": "3, 1"}) == ("3", "1")
    assert gpu_numbers(tmp_path, {"CUDA_VISIBLE_DEVICES": ""}) == ()


def test_a_choice_makes_no_gpu_that_is_not_there(tmp_path):
    assert gpu_numbers(tmp_path, {"CUDA_VISIBLE_DEVICES": "0,1"}) == ()


def test_fewer_gpus_than_ranks_are_one_line_that_says_how_many_to_use():
    check_enough(("0", "1"), 2)
    with pytest.raises(DeviceMissingError) as caught:
        check_enough(("0", "1"), 8)
    assert caught.value.exit_code == ExitCode.DEVICE
    assert str(caught.value) == (
        "2 GPUs for 8 accelerators, which need one each: --gpus; "
        "use --accelerators 2, or leave --gpus out"
    )


def test_without_a_driver_the_line_says_so():
    with pytest.raises(DeviceMissingError, match="no GPU, or no driver for it"):
        check_enough((), 1)


def test_gpus_are_counted_before_a_rank_starts(spec, monkeypatch):
    # Nobody imports it here.
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(devices, "gpu_numbers", lambda: ("0",))
    check_devices(replace(spec, gpus=True))
    with pytest.raises(DeviceMissingError, match="1 GPUs for 2 accelerators"):
        check_devices(replace(spec, gpus=True, accelerators=2))
    check_devices(replace(spec, accelerators=2))


def test_without_tensorflow_the_line_says_where_it_is(spec, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DeviceMissingError, match=r"there is no TensorFlow.*--engine docker"):
        check_devices(spec)
    check_devices(replace(spec, accelerator="emulated"))


def test_ranks_share_the_cores_and_each_has_one(spec, monkeypatch):
    monkeypatch.setattr(devices, "usable_cores", lambda: 8)
    threads = [rank_threads(replace(spec, accelerators=ranks)) for ranks in (1, 2, 3, 8, 64)]
    assert threads == [8, 4, 2, 1, 1]


def test_the_processor_is_called_what_it_calls_itself(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name : A processor: 2 GHz\n")
    assert processor_name(tmp_path) == "A processor: 2 GHz"
    (tmp_path / "cpuinfo").write_text("processor : 0\n")
    assert processor_name(tmp_path)


def test_what_tensorflow_takes_is_asked_for_before_it_is_started(tmp_path, spec, monkeypatch):
    from dsgen.manifest import read_manifest
    from harness.worker.workloads import plan

    data_dir = make_data_set(tmp_path / "data", train=2, side=16)
    spec = replace(spec, data_dir=str(data_dir), accelerators=2)
    reading = plan(spec, read_manifest(data_dir))
    monkeypatch.setattr(memory, "available_bytes", lambda: 1_500_000_000)
    memory.check_memory(replace(spec, accelerator="emulated"), reading, checkpoint=None)
    with pytest.raises(MemoryShortError, match=r"1.\d+ GB for TensorFlow and its models"):
        memory.check_memory(spec, reading, checkpoint=None)


def test_an_emulation_says_nothing_of_tensorflow(tmp_path):
    spec = make_spec(tmp_path, make_data_set(tmp_path / "data", train=1, side=16))
    assert run_worker(tmp_path, spec).returncode == 0
    assert load_json(spec, "worker.json")["tensorflow"] is None
