"""Models that TensorFlow trains: small ones, but of the kind of each workload's own.

Only this package and the accelerator that uses it import TensorFlow, and nobody imports them
before a rank has one.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, Protocol

from harness.worker.spec import WorkerSpec


class Model(Protocol):
    """A model of one rank.

    `name` says what it is and how large; `signature` holds the shapes and types of its inputs,
    where a first dimension of None is the batch's.
    """

    name: str
    signature: tuple[Any, ...]
    variables: list[Any]
    learning_rate: float

    def inputs(self, batch: Any) -> tuple[Any, ...]:
        """Return what a reader left of a batch as the inputs of `loss`.

        Args:
            batch: as the workload's reader leaves it.
        """

    def blank(self) -> Any:
        """Return a whole batch of zeros, as the workload's reader would leave it."""

    def loss(self, *inputs: Any) -> Any:
        """Return the scalar that training makes smaller."""


_CLASSES: Final = {"imseg": "UNet", "bert": "Encoder", "dlrm": "Dlrm"}


def make_model(spec: WorkerSpec) -> Model:
    """Return the model of the spec's workload, its variables drawn from the spec's seed."""
    module = import_module(f"harness.worker.accelerators.models.{spec.workload}")
    model: Callable[..., Model] = getattr(module, _CLASSES[spec.workload])
    return model(batch_size=spec.batch_size, seed=spec.seed)
