"""How the reference training of each workload reads its data set. A line here for each."""

from collections.abc import Callable
from typing import Final

from dsgen.errors import UsageError
from dsgen.manifest import Manifest
from harness.worker.spec import WorkerSpec
from harness.worker.workload import Reading
from harness.worker.workloads.bert_plan import plan_bert
from harness.worker.workloads.dlrm import plan_dlrm
from harness.worker.workloads.imseg import plan_imseg

READINGS: Final[dict[str, Callable[[WorkerSpec, Manifest], Reading]]] = {
    "imseg": plan_imseg,
    "bert": plan_bert,
    "dlrm": plan_dlrm,
}


def plan(spec: WorkerSpec, manifest: Manifest) -> Reading:
    """Return how the spec's workload reads the data set.

    Raises:
        UsageError: no such workload here, or nothing that its accelerators could compute.
        DataSetError: the data set does not suit the spec.
    """
    if spec.workload not in READINGS:
        then = f"use one of {', '.join(READINGS)}"
        raise UsageError("no training of this workload", where=repr(spec.workload), then=then)
    reading = READINGS[spec.workload](spec, manifest)
    if spec.accelerator != "emulated" and not reading.computes:
        where, then = f"--accelerator {spec.accelerator}", "leave it out, or train another format"
        raise UsageError("what is read is only prepared for a training", where=where, then=then)
    return reading
