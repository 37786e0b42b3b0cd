"""Variables of a model, drawn from a seed in the order in which they are asked for."""

from typing import Any

import numpy as np
import tensorflow as tf


class Draws:
    """Makes variables and remembers them.

    Args:
        seed: all ranks have the same weights at the start, as synchronised training has.
    """

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self.variables: list[Any] = []

    def kernel(self, *shape: int) -> Any:
        """Return weights of a spread that keeps that of what they are applied to.

        The last dimension is the output's, all others are summed over.
        Source: K. He and others, "Delving Deep into Rectifiers" (2015).
        """
        return self._kept(self._normal(shape, np.sqrt(2 / np.prod(shape[:-1]))))

    def table(self, rows: int, width: int, *, deviation: float) -> Any:
        """Return embeddings: `rows` vectors of small values."""
        return self._kept(self._normal((rows, width), deviation))

    def zeros(self, *shape: int) -> Any:
        """Return variables that begin at 0, as biases do."""
        return self._kept(np.zeros(shape, np.float32))

    def ones(self, *shape: int) -> Any:
        """Return variables that begin at 1, as factors do."""
        return self._kept(np.ones(shape, np.float32))

    def _normal(self, shape: tuple[int, ...], deviation: float) -> Any:
        return (self._random.standard_normal(shape) * deviation).astype(np.float32)

    def _kept(self, values: Any) -> Any:
        variable = tf.Variable(values)
        self.variables.append(variable)
        return variable
