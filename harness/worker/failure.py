"""What can go wrong in a training run beside the data set."""

from dsgen.errors import ExitCode, FeedrateError


class WorkerError(FeedrateError):
    """Root of what the worker raises."""


class SelfCheckError(WorkerError):
    """The rows of a window and the kernel's byte counter disagree."""

    exit_code = ExitCode.RESULT


class RankDiedError(WorkerError):
    """A rank ended before its time, without an error of its own."""

    exit_code = ExitCode.RANK_DIED


class DeviceMissingError(WorkerError):
    """There is no device for a rank, or nothing that could compute on it."""

    exit_code = ExitCode.DEVICE


class MemoryShortError(WorkerError):
    """The ranks' buffers do not fit into memory."""

    exit_code = ExitCode.OUT_OF_MEMORY


class LimitError(WorkerError):
    """The memory limit that was asked for does not hold."""

    exit_code = ExitCode.ENGINE


class CountersError(WorkerError):
    """The kernel does not say what a process reads, so that nothing could be checked."""

    exit_code = ExitCode.RESULT


class RankError(WorkerError):
    """An expected error that a rank reported; its exit code and text are passed on."""

    def __init__(self, exit_code: ExitCode, text: str) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class StalledError(WorkerError):
    """Nothing moved for too long."""

    exit_code = ExitCode.STALLED


class TimeLimitError(WorkerError):
    """The run took longer than it may."""

    exit_code = ExitCode.STALLED
