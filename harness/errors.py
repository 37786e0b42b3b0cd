"""Expected failures of the host side, with their exit codes."""

from dsgen.errors import ExitCode, FeedrateError
from dsgen.errors import StopRequested as StopRequested


class HarnessError(FeedrateError):
    """Root of what the harness raises."""


class ConfigError(HarnessError):
    """Flags, TOML or a preset that cannot be meant; the message lists every problem found."""

    exit_code = ExitCode.USAGE


class EngineError(HarnessError):
    """The engine is absent, too old, or was lost during a run."""

    exit_code = ExitCode.ENGINE


class ImageBuildError(HarnessError):
    """An image could not be built; the message carries the build's last lines."""

    exit_code = ExitCode.IMAGE_BUILD


class DeviceError(HarnessError):
    """A device that a job asked for cannot be had: no driver, or no container runtime for it."""

    exit_code = ExitCode.DEVICE


class TargetError(HarnessError):
    """The target or results directory cannot be used."""

    exit_code = ExitCode.PATH


class JobError(HarnessError):
    """A job ended with a failure: the exit code is the job's own."""

    def __init__(self, exit_code: ExitCode, what: str, *, where: str = "", then: str = "") -> None:
        super().__init__(what, where=where, then=then)
        self.exit_code = exit_code


class ResultError(HarnessError):
    """A result is incomplete, failed its self-check, or cannot be written."""

    exit_code = ExitCode.RESULT


class SchemaError(ResultError):
    """A result of a schema version that is not read here."""


class NotComparableError(HarnessError):
    """Results whose figures say nothing about one another."""

    exit_code = ExitCode.NOT_COMPARABLE
