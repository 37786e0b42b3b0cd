"""Recordings of programs in containers under strace."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from commands import checked, harness
from docker.client import DockerClient

from tests.container.traced import run_traced


@dataclass(frozen=True, kw_only=True, slots=True)
class Tracer:
    """Runs programs of an image, which may write below `directory`, and imports their calls."""

    client: DockerClient
    image: str
    directory: Path

    def recorded(
        self,
        name: str,
        command: Sequence[object],
        maps: Sequence[str],
        *flags: str,
        limit_s: float,
    ) -> Path:
        """Run a command, and return the recording of its calls on the files of `maps`.

        `maps` and `flags` are those of `trace --import`.
        """
        run_traced(
            self.client,
            self.image,
            tuple(map(str, command)),
            directory=self.directory,
            run_id=f"benchmark-{secrets.token_hex(4)}",
            limit_s=limit_s,
        )
        (log,) = self.directory.glob("*.log")
        output = self.directory / name
        wanted = [word for one in maps for word in ("--map", one)]
        checked(harness("trace", "--import", log, *wanted, *flags, "--output", output))
        log.unlink()
        return output
