"""Jobs as containers: created, started, watched and removed by us, whatever happens."""

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from docker.client import DockerClient
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container
from requests.exceptions import RequestException

from harness.engine import Job, JobExit
from harness.engine.arguments import container_arguments
from harness.engine.base_image import ensure_base_image
from harness.engine.build import Image, build_image
from harness.engine.daemon import daemon_call, labels
from harness.engine.deferral import Deferral
from harness.engine.mounts import create_mounts
from harness.engine.output import Output
from harness.engine.supervise import supervise
from harness.errors import DeviceError, EngineError

_STATUS_CONFLICT = 409
_ENDED = ("exited", "dead")
# Between the end of a container's output and the daemon's word that it ended; long, because a
# benchmark may keep the daemon's own disk busy.
ENDING_S = 60.0


class DockerEngine:
    """A Docker engine of this machine, with the image of one flavour."""

    name = "docker"

    def __init__(
        self,
        client: DockerClient,
        *,
        reason: str,
        flavour: Literal["cpu", "gpu"] = "cpu",
        image_archive: Path | None = None,
        run_id: str | None = None,
    ) -> None:
        self.reason = reason
        self.run_id = run_id or secrets.token_hex(6)
        self._client = client
        self._flavour: Literal["cpu", "gpu"] = flavour
        self._image_archive = image_archive
        self._image: Image | None = None
        self._versions: dict[str, Any] = {}

    def prepare(self, say: Callable[[str], None]) -> None:
        """Make the base image and the image, unless they are there.

        Raises:
            EngineError: there is no way to a base image, or the daemon was lost.
            ImageBuildError: with the build's last lines.
        """
        base_id = ensure_base_image(self._client, self._image_archive, say)
        self._image = build_image(self._client, self._flavour, base_id, say)
        self._versions = self._ask_versions()

    def run(self, job: Job, on_line: Callable[[str], None]) -> JobExit:
        """Run `job` in a container of its own.

        Raises:
            ConfigError: a directory of the job cannot be mounted.
            DeviceError: no driver for the GPUs that it needs.
            EngineError: the daemon refused, or was lost meanwhile.
            StopRequested: as it came; the container is gone.
        """
        name = f"feedrate-{job.name}-{secrets.token_hex(4)}"
        arguments = self._arguments(job, name)
        create_mounts(job.mounts)
        with Deferral() as signals:
            try:
                running = _RunningContainer(self._create(arguments))
                running.start()
                output = Output(
                    stdout=running.log("stdout"), stderr=running.log("stderr"), log=job.log
                )
                output.start()
                with signals.let_in():
                    timed_out = supervise(running, output, on_line, job.timeout_s, job.is_over)
                state = running.state()
            finally:
                left_behind = self._remove(name)
        # One that the kernel holds cannot be removed, and its job has more to tell than that.
        if left_behind and not timed_out:
            raise EngineError(left_behind, where=name, then="`nox -s clean` removes it")
        return JobExit(
            code=int(state["ExitCode"]),
            out_of_memory=bool(state["OOMKilled"]),
            timed_out=timed_out,
            left_behind=left_behind and f"{name}: {left_behind}; `nox -s clean` removes it",
            tail=output.tail,
        )

    def facts(self) -> dict[str, Any]:
        """Return the versions of the engine, the image and its key, and the cgroup version.

        They were asked for by `prepare`, so that the result of a run which lost the daemon has
        them too.
        """
        return {
            **self._versions,
            "flavour": self._flavour,
            "image": self._image and self._image.tag,
            "image_id": self._image and self._image.id,
            "base_id": self._image and self._image.base_id,
        }

    def _ask_versions(self) -> dict[str, Any]:
        with daemon_call("tell its version"):
            info, version = self._client.info(), self._client.version()
        return {
            "version": version["Version"],
            "api_version": version["ApiVersion"],
            "cgroup_version": info.get("CgroupVersion"),
            "cgroup_driver": info.get("CgroupDriver"),
            "storage_driver": info.get("Driver"),
            "security_options": info.get("SecurityOptions"),
        }

    def _arguments(self, job: Job, name: str) -> dict[str, Any]:
        if self._image is None:
            raise RuntimeError("prepare() comes before run()")
        with daemon_call("tell its security options"):
            security = self._client.info().get("SecurityOptions") or ()
        return container_arguments(
            job,
            image=self._image.tag,
            name=name,
            labels=labels("job", run=self.run_id, job=job.name),
            user=f"{os.getuid()}:{os.getgid()}",
            gpus=self._flavour == "gpu",
            security=security,
        )

    def _create(self, arguments: dict[str, Any]) -> Container:
        with daemon_call(f"create the container {arguments['name']}"):
            return self._client.containers.create(**arguments)

    def _remove(self, name: str) -> str:
        """Remove the container; return why it may still be there, or nothing."""
        try:
            self._client.api.remove_container(name, v=True, force=True)
        except NotFound:
            return ""
        except (DockerException, RequestException) as error:
            return f"the container could not be removed ({error})"
        return ""


class _RunningContainer:
    """A container as `supervise` sees it."""

    def __init__(self, container: Container) -> None:
        self._container = container

    def start(self) -> None:
        """Start it; only now does a missing device show."""
        try:
            with daemon_call("start the container"):
                self._container.start()
        except EngineError as error:
            if "device driver" in error.what or "nvidia" in error.what:
                then = "install the driver and its container toolkit, or run without GPUs"
                raise DeviceError(error.what, then=then) from error
            raise

    def log(self, stream: Literal["stdout", "stderr"]) -> Iterator[bytes]:
        """Yield the chunks of one of its streams, until it ends.

        The SDK takes a connection that broke for the end of the stream, and the daemon may leave
        out the last chunks when the container ends. But then its log is whole.
        """
        handed_on_bytes = 0
        with daemon_call("hand on the output of the container"):
            for chunk in self._log(stream, follow=True):
                handed_on_bytes += len(chunk)
                yield chunk
            self._container.wait(timeout=ENDING_S)
            yield from _after(handed_on_bytes, self._log(stream, follow=False))

    def _log(self, stream: Literal["stdout", "stderr"], *, follow: bool) -> Iterator[bytes]:
        chunks: Iterator[bytes] = self._container.logs(
            stdout=stream == "stdout", stderr=stream == "stderr", stream=True, follow=follow
        )
        return chunks

    def state(self) -> dict[str, Any]:
        """Return the daemon's account of it."""
        with daemon_call("tell the state of the container"):
            self._container.reload()
        return dict(self._container.attrs["State"])

    def alive(self) -> bool:
        """Return whether it runs."""
        return self.state()["Status"] not in _ENDED

    def terminate(self) -> None:
        """Send SIGTERM to its command."""
        self._signal("SIGTERM")

    def kill(self) -> None:
        """Send SIGKILL to its init, with which everything in it dies."""
        self._signal("SIGKILL")

    def _signal(self, name: str) -> None:
        with daemon_call(f"send {name} to the container"):
            try:
                self._container.kill(signal=name)
            except APIError as error:
                # It ended by itself in the meantime; or the kernel holds something in it, which its
                # removal will tell of.
                if error.status_code != _STATUS_CONFLICT and name != "SIGKILL":
                    raise


def _after(count_bytes: int, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what follows the first bytes of a stream."""
    for chunk in chunks:
        yield chunk[count_bytes:]
        count_bytes = max(0, count_bytes - len(chunk))
