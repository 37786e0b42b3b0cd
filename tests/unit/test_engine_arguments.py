"""From a job to the arguments of its container, without a daemon."""

from pathlib import Path

import pytest

from harness.engine import Job, Mount
from harness.engine.arguments import container_arguments
from harness.engine.mounts import checked_mounts, create_mounts
from harness.errors import ConfigError, ExitCode, TargetError


def job(**changes):
    values = {
        "name": "generate-imseg",
        "arguments": ("-m", "dsgen", "generate"),
        "mounts": (Mount(path=Path("/mnt/array")), Mount(path=Path("/data"), read_only=True)),
        "log": Path("/results/log"),
    }
    return Job(**{**values, **changes})


def arguments(changes=None, **others):
    facts = {"image": "feedrate-cpu:0", "name": "n", "labels": {"feedrate": "1"}, "user": "7:8"}
    return container_arguments(job(**(changes or {})), **{**facts, **others})


def test_the_container_is_closed_and_belongs_to_the_caller():
    made = arguments()
    assert made["user"] == "7:8"
    assert made["command"] == ["python", "-m", "dsgen", "generate"]
    assert made["network_mode"] == "none"
    assert made["cap_drop"] == ["ALL"]
    assert made["security_opt"] == ["no-new-privileges"]
    assert made["init"] is True
    assert made["environment"] == {"HOME": "/tmp"}
    assert made["labels"] == {"feedrate": "1"}
    assert not {"remove", "auto_remove", "volumes", "ports", "privileged"} & set(made)


def test_directories_are_bound_at_their_own_path():
    first, second = arguments()["mounts"]
    assert (first["Type"], first["Source"], first["Target"]) == ("bind", "/mnt/array", "/mnt/array")
    assert (first["ReadOnly"], second["ReadOnly"]) == (False, True)


def test_a_memory_limit_is_an_integer_that_swap_does_not_hide():
    made = arguments({"memory_bytes": 3_000_000_000})
    assert made["mem_limit"] == made["memswap_limit"] == 3_000_000_000
    assert not {"mem_limit", "memswap_limit"} & set(arguments())


def test_a_read_limit_is_an_integer_of_bytes_and_of_a_whole_device():
    made = arguments({"read_limits": {"/dev/vda": 100_000_000}})
    assert made["device_read_bps"] == [{"Path": "/dev/vda", "Rate": 100_000_000}]
    assert "device_read_bps" not in arguments()


def test_shared_memory_is_set_always():
    assert arguments()["shm_size"] == 1 << 30
    assert arguments({"shm_bytes": 5 << 20})["shm_size"] == 5 << 20


def test_the_environment_of_a_job_is_added():
    made = arguments({"environment": {"TF_CPP_MIN_LOG_LEVEL": "2"}})
    assert made["environment"] == {"HOME": "/tmp", "TF_CPP_MIN_LOG_LEVEL": "2"}


def test_gpus_are_asked_for_only_when_wanted():
    (request,) = arguments(gpus=True)["device_requests"]
    assert (request["Count"], request["Capabilities"]) == (-1, [["gpu"]])
    assert "device_requests" not in arguments()


def test_a_rootless_daemon_has_the_caller_as_its_root():
    assert arguments(security=["name=seccomp,profile=default", "name=rootless"])["user"] == "0:0"


def test_selinux_is_kept_from_relabelling_data():
    made = arguments(security=["name=selinux"])
    assert made["security_opt"] == ["no-new-privileges", "label=disable"]


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/usr", "/usr/local/data", "/bin", "/lib", "/lib64", "/etc", "/etc/data"),
        *("/proc", "/sys", "/sys/fs", "/dev", "/opt", "/opt/feedrate", "/opt/feedrate/bin"),
    ],
)
def test_a_mount_that_hides_the_system_is_refused(path):
    with pytest.raises(ConfigError, match="would hide") as caught:
        checked_mounts([Mount(path=Path(path))])
    assert path in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    "path", ["/opt/data", "/dev/shm/x", "/usrdata", "/srv", "/tmp", "/library"]
)
def test_a_mount_beside_the_system_is_allowed(path):
    assert checked_mounts([Mount(path=Path(path))]) == (Mount(path=Path(path)),)


@pytest.mark.parametrize("path", ["data", "./data", "/mnt/../etc"])
def test_a_path_that_could_mean_another_is_refused(path):
    with pytest.raises(ConfigError, match="absolute"):
        checked_mounts([Mount(path=Path(path))])


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_one_directory_asked_for_twice_is_mounted_once_and_writable(order):
    mounts = [Mount(path=Path("/data"), read_only=read_only) for read_only in order]
    assert checked_mounts(mounts) == (Mount(path=Path("/data"), read_only=False),)


def test_directories_to_be_written_are_made_and_those_to_be_read_must_be_there(tmp_path):
    create_mounts([Mount(path=tmp_path / "a" / "b")])
    assert (tmp_path / "a" / "b").is_dir()
    with pytest.raises(TargetError, match="no such directory"):
        create_mounts([Mount(path=tmp_path / "c", read_only=True)])
    (tmp_path / "file").touch()
    with pytest.raises(TargetError, match="file"):
        create_mounts([Mount(path=tmp_path / "file" / "d")])
