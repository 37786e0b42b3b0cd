"""An accelerator that computes: TensorFlow trains a model on the batches that were read.

TensorFlow is imported when the accelerator is made, in the rank, and a first step on zeros is done
there: neither the import nor the compilation is in any window.

It computes in threads of its own, none of which reads data, and the main thread never computes.
What the system has TensorFlow read in a window (a file below /sys when threads first contend for a
lock) is so told from data, thread by thread.
"""

import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from dsgen.errors import DataSetError
from harness.worker.accelerators.devices import processor_name
from harness.worker.accelerators.emulated import AS_TAKEN
from harness.worker.accelerators.models import Model, make_model
from harness.worker.failure import DeviceMissingError
from harness.worker.spec import WorkerSpec

_SHOWN = 150  # of what is wrong with a batch


@dataclass(kw_only=True, slots=True)
class TensorFlowFacts:
    """What a result says of one rank's accelerator; losses are None where no step was done.

    `steps_on_zeros` counts steps for which this rank was handed no batch.
    """

    device: str
    tensorflow_version: str
    model: str
    parameters: int
    threads_per_rank: int | None
    steps: int = 0
    steps_on_zeros: int = 0
    first_loss: float | None = None
    last_loss: float | None = None


class TensorFlow:
    """One rank's device, with the model of the workload on it; `start_tensorflow` makes it.

    Args:
        facts: of it; steps and losses are noted there.
        thread: where it computes.
        step: trains on a batch and returns the loss.
        blank: a batch of zeros, for steps of which this rank is handed none.
        refusal: what `step` raises of a batch that does not suit the model.
        data_dir: where batches come from.

    `spin_ns` is 0: nothing is burnt by waiting.
    """

    def __init__(
        self,
        *,
        facts: TensorFlowFacts,
        thread: ThreadPoolExecutor,
        step: Callable[[Any], float],
        blank: Any,
        refusal: type[Exception],
        data_dir: str,
    ) -> None:
        self.facts = facts
        self.spin_ns = 0
        self._thread = thread
        self._step = step
        self._blank = blank
        self._refusal = refusal
        self._data_dir = data_dir

    def declare(self, _epoch: int, steps: int, /) -> list[int]:
        """Declare nothing: a step takes what it takes."""
        return [AS_TAKEN] * steps

    def run(
        self,
        _load_end_ns: int,
        _declared_ns: int,
        batch: Any = None,
        _rehearse: Callable[[], object] = lambda: None,
        /,
    ) -> int:
        """Train on the batch, or on zeros where this rank got none; return when it was done.

        Raises:
            DataSetError: the batch does not suit the model.
        """
        computed = self._thread.submit(self._step, self._blank if batch is None else batch)
        try:
            loss = computed.result()
        except self._refusal as error:
            what = f"a batch that the {self.facts.model} cannot take ({str(error)[:_SHOWN]})"
            raise DataSetError(what, where=self._data_dir, then="`verify` the data set") from error
        end_ns = time.monotonic_ns()
        self._note(loss if math.isfinite(loss) else None, without=batch is None)
        return end_ns

    def _note(self, loss: float | None, *, without: bool) -> None:
        facts = self.facts
        facts.first_loss = loss if facts.steps == 0 else facts.first_loss
        facts.last_loss = loss
        facts.steps += 1
        facts.steps_on_zeros += without


def start_tensorflow(spec: WorkerSpec, *, gpu: str | None, threads: int) -> TensorFlow:
    """Import TensorFlow, make the model, and compile it by a first step, on zeros.

    Args:
        spec: of the run.
        gpu: number of this rank's device, None for the processor.
        threads: of the processor, for this rank.

    Raises:
        DeviceMissingError: TensorFlow does not find the device.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1" if gpu is None else gpu
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    # Only here, because it takes seconds, and half a GB.
    import tensorflow as tf

    device = _device(tf, gpu)
    if gpu is None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    model = make_model(spec)
    graph = _compiled(tf, model)

    def step(batch: Any) -> float:
        return float(graph(*model.inputs(batch)))

    thread, blank = ThreadPoolExecutor(1), model.blank()
    drawn = [variable.numpy() for variable in model.variables]
    thread.submit(step, blank).result()
    for variable, values in zip(model.variables, drawn, strict=True):
        variable.assign(values)  # what was learnt from zeros
    return TensorFlow(
        facts=TensorFlowFacts(
            device=device,
            tensorflow_version=str(tf.__version__),
            model=model.name,
            parameters=sum(int(tf.size(variable)) for variable in model.variables),
            threads_per_rank=threads if gpu is None else None,
        ),
        thread=thread,
        step=step,
        blank=blank,
        refusal=tf.errors.InvalidArgumentError,
        data_dir=spec.data_dir,
    )


def _compiled(tf: Any, model: Model) -> Callable[..., Any]:
    """Return a forward and backward pass with an update by gradient descent, as one graph."""

    def step(*inputs: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = model.loss(*inputs)
        gradients = tape.gradient(loss, model.variables)
        for variable, gradient in zip(model.variables, gradients, strict=True):
            _descend(tf, variable, gradient, model.learning_rate)
        return loss

    compiled: Callable[..., Any] = tf.function(step, input_signature=model.signature)
    return compiled


def _descend(tf: Any, variable: Any, gradient: Any, rate: float) -> None:
    # Of a table, a batch changes the rows that it looked up.
    if isinstance(gradient, tf.IndexedSlices):
        variable.scatter_sub(tf.IndexedSlices(rate * gradient.values, gradient.indices))
    else:
        variable.assign_sub(rate * gradient)


def _device(tf: Any, gpu: str | None) -> str:
    """Return the name of the device."""
    if gpu is None:
        return processor_name()
    found = tf.config.list_physical_devices("GPU")
    if not found:
        what = "TensorFlow does not find the GPU"
        then = "install a driver of the version that it needs, or leave --gpus out"
        raise DeviceMissingError(what, where=f"number {gpu}", then=then)
    details = tf.config.experimental.get_device_details(found[0])
    return str(details.get("device_name", "GPU"))
