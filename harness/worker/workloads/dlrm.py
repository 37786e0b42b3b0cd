"""How click logs are read, in each of their formats: by one process for all accelerators.

Source: dlrm_data_pytorch.py, data_loader_terabyte.py and data_utils.py of
discslab-dl-bench/mlcomns_dlrm.
"""

from collections.abc import Callable
from typing import Final

from dsgen.errors import DataSetError, UsageError
from dsgen.manifest import Manifest
from harness.worker.spec import WorkerSpec
from harness.worker.workload import Reading
from harness.worker.workloads.dlrm_bin import plan_bin
from harness.worker.workloads.dlrm_npz import plan_npz
from harness.worker.workloads.dlrm_text import plan_text

FORMATS: Final[dict[str, Callable[[WorkerSpec, Manifest], Reading]]] = {
    "bin": plan_bin,
    "npz": plan_npz,
    "text": plan_text,
}


def plan_dlrm(spec: WorkerSpec, manifest: Manifest) -> Reading:
    """Return how `spec` reads the data set of `manifest`.

    Raises:
        DataSetError: another workload's, or too small for the spec.
        UsageError: an option that its format does not have.
    """
    if manifest.workload != "dlrm":
        what = f"a data set of {manifest.workload}, not dlrm"
        raise DataSetError(what, where=spec.data_dir, then="name the directory of a dlrm set")
    format_ = manifest.parameters.format
    if format_ != "bin" and spec.shuffle != "none":
        where, then = f"--shuffle {spec.shuffle}", "use --format bin, or --shuffle none"
        raise UsageError(f"rows of {format_} are not shuffled", where=where, then=then)
    return FORMATS[format_](spec, manifest)
