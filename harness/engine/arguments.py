"""From a job to the arguments of its container: pure, and the place where the traps are avoided."""

from collections.abc import Collection, Mapping
from typing import Any

from docker.types import DeviceRequest, LogConfig
from docker.types import Mount as EngineMount

from harness.engine import Job
from harness.engine.mounts import checked_mounts


def container_arguments(
    job: Job,
    *,
    image: str,
    name: str,
    labels: Mapping[str, str],
    user: str,
    gpus: bool = False,
    security: Collection[str] = (),
) -> dict[str, Any]:
    """Return the keyword arguments of the SDK's `containers.create`.

    Args:
        job: what runs.
        image: name of the image.
        name: of the container.
        labels: by which it is found again.
        user: `uid:gid` of the caller, so that files are theirs.
        gpus: whether it needs all GPUs of the machine.
        security: the daemon's security options as its `info` lists them.

    Raises:
        ConfigError: a mount would hide the image's own directories.
    """
    arguments: dict[str, Any] = {
        "image": image,
        "name": name,
        "labels": dict(labels),
        "command": ["python", *job.arguments],
        # In a rootless daemon, the container's root is the caller.
        "user": "0:0" if "name=rootless" in security else user,
        "working_dir": "/tmp",
        "environment": {"HOME": "/tmp", **job.environment},
        "mounts": [
            EngineMount(str(m.path), str(m.path), type="bind", read_only=m.read_only)
            for m in checked_mounts(job.mounts)
        ],
        "network_mode": "none",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        # Without an init a stop takes its whole grace, and nobody reaps orphans.
        "init": True,
        "shm_size": job.shm_bytes,
        # The one driver whose output can be read back whatever the daemon's own default is.
        "log_config": LogConfig(type=LogConfig.types.JSON, config={}),
    }
    if any(option.startswith("name=selinux") for option in security):
        # Relabelling a data set would write to every file of it.
        arguments["security_opt"].append("label=disable")
    if job.memory_bytes is not None:
        # Swap beyond the limit would hide it.
        arguments |= {"mem_limit": job.memory_bytes, "memswap_limit": job.memory_bytes}
    if job.read_limits:
        arguments["device_read_bps"] = [
            {"Path": device, "Rate": rate} for device, rate in job.read_limits.items()
        ]
    if gpus:
        arguments["device_requests"] = [DeviceRequest(count=-1, capabilities=[["gpu"]])]
    return arguments
