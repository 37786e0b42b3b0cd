"""What the workload asks of the storage when no accelerator ever waits."""

from harness.analysis.epoch import Epoch, measured
from harness.analysis.metrics import NS
from harness.analysis.part import Part
from harness.analysis.recording import total


class Demand(Part, frozen=True, kw_only=True):
    """Needed for AU 1: samples trained on x their mean bytes / sum of declared step times."""

    samples_per_s: float | None
    bytes_per_s: float | None
    mean_sample_bytes: float | None
    mean_declared_ns: float | None


def compute_demand(epochs: tuple[Epoch, ...], mean_sample_bytes: float | None) -> Demand:
    """Return the demand, from the samples trained on and the step times of measured epochs.

    Args:
        epochs: of the run.
        mean_sample_bytes: what the data set holds of a training sample. Not what was read for one:
            a pipeline that fills its buffers reads far more for the first steps.
    """
    kept = measured(epochs)
    steps = sum(epoch.step_count for epoch in kept)
    samples = sum(total(epoch.windows, "samples") for epoch in kept if epoch.windows is not None)
    if not steps or not samples:
        return Demand(
            samples_per_s=None, bytes_per_s=None, mean_sample_bytes=None, mean_declared_ns=None
        )
    declared_ns = sum(epoch.declared_ns for epoch in kept)
    rate = samples * NS / declared_ns if declared_ns else None
    needed = None if rate is None or mean_sample_bytes is None else rate * mean_sample_bytes
    return Demand(
        samples_per_s=rate,
        bytes_per_s=needed,
        mean_sample_bytes=mean_sample_bytes,
        mean_declared_ns=declared_ns / steps,
    )
