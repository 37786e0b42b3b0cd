"""What the workload asks of the storage when no accelerator ever waits."""

from harness.analysis.epoch import Epoch, measured
from harness.analysis.metrics import NS, Metrics
from harness.analysis.part import Part


class Demand(Part, frozen=True, kw_only=True):
    """Needed for AU 1: N x batch size x mean sample bytes / mean declared step time."""

    samples_per_s: float | None
    bytes_per_s: float | None
    mean_sample_bytes: float | None
    mean_declared_ns: float | None


def compute_demand(
    epochs: tuple[Epoch, ...], metrics: Metrics, *, accelerators: int, batch_size: int
) -> Demand:
    """Return the demand, from the samples read and the step times drawn in measured epochs."""
    kept = measured(epochs)
    steps = sum(epoch.step_count for epoch in kept)
    samples = sum(
        int(epoch.windows["samples"].sum()) for epoch in kept if epoch.windows is not None
    )
    if not steps or not samples:
        return Demand(
            samples_per_s=None, bytes_per_s=None, mean_sample_bytes=None, mean_declared_ns=None
        )
    declared_ns = sum(epoch.declared_ns for epoch in kept) / steps
    sample_bytes = (metrics.bytes.returned or 0) / samples  # samples have windows, thus bytes
    rate = accelerators * batch_size * NS / declared_ns if declared_ns else None
    return Demand(
        samples_per_s=rate,
        bytes_per_s=None if rate is None else rate * sample_bytes,
        mean_sample_bytes=sample_bytes,
        mean_declared_ns=declared_ns,
    )
