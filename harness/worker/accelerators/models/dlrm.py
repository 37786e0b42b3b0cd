"""A recommendation model: embeddings and a perceptron, their dot products, and a perceptron on top.

Source: M. Naumov and others, "Deep Learning Recommendation Model for Personalization and
Recommendation Systems" (2019). The reference has tables of up to ten million rows, 128 wide, which
no rank here could hold: ids are taken modulo 10,000, and vectors are 16 wide.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from dsgen.workloads.dlrm_columns import CATEGORIES, COLUMNS, INTEGERS
from harness.worker.accelerators.models.variables import Draws
from harness.worker.loading.shares import Rows, as_rows

TABLE_ROWS: Final = 10_000
WIDTH: Final = 16
BOTTOM: Final = (64, 32, WIDTH)
TOP: Final = (128, 64, 1)
_TABLES: Final = CATEGORIES.stop - CATEGORIES.start
_VECTORS: Final = _TABLES + 1


class _Perceptron:
    """Dense layers; what each but the last gives is cut below zero."""

    def __init__(self, draws: Draws, source: int, widths: Sequence[int]) -> None:
        self._layers = [
            (draws.kernel(before, width), draws.zeros(width))
            for before, width in pairwise((source, *widths))
        ]

    def __call__(self, values: Any) -> Any:
        *hidden, (kernel, bias) = self._layers
        for inner, inner_bias in hidden:
            values = tf.nn.relu(tf.matmul(values, inner) + inner_bias)
        return tf.matmul(values, kernel) + bias


class Dlrm:
    """Guesses whether somebody clicks; 4,218,929 parameters, of which 4,160,000 are embeddings.

    Args:
        batch_size: rows of a step.
        seed: of the weights.

    Its loss is the mean cross entropy of the clicks.
    """

    learning_rate = 0.005

    def __init__(self, *, batch_size: int, seed: int) -> None:
        self.name = f"DLRM of {_TABLES} tables of {TABLE_ROWS:,} x {WIDTH}"
        self._shape = (batch_size, COLUMNS)
        self.signature = (tf.TensorSpec([None, COLUMNS], tf.int32),)
        draws = Draws(seed)
        self._table = draws.table(_TABLES * TABLE_ROWS, WIDTH, deviation=TABLE_ROWS**-0.5)
        self._bottom = _Perceptron(draws, INTEGERS.stop - INTEGERS.start, BOTTOM)
        self._top = _Perceptron(draws, WIDTH + _VECTORS * (_VECTORS - 1) // 2, TOP)
        self.variables = draws.variables

    def inputs(self, batch: Rows) -> tuple[Any, ...]:
        """Return the rows of this rank, int32 of shape (rows, 40)."""
        return (tf.convert_to_tensor(as_rows(batch)),)

    def blank(self) -> Rows:
        """Return rows of zeros."""
        return np.zeros(self._shape, np.int32)

    def loss(self, rows: Any) -> Any:
        """Return the cross entropy of the clicks; 0 of no rows, which a short batch may give."""
        integers = tf.math.log1p(tf.cast(rows[:, INTEGERS], tf.float32))
        dense = self._bottom(integers)
        places = rows[:, CATEGORIES] % TABLE_ROWS + TABLE_ROWS * tf.range(_TABLES)
        vectors = tf.concat([dense[:, tf.newaxis], tf.gather(self._table, places)], axis=1)
        products = tf.reshape(tf.matmul(vectors, vectors, transpose_b=True), [-1, _VECTORS**2])
        pairs = tf.gather(products, _PAIRS, axis=1)
        logits = self._top(tf.concat([dense, pairs], axis=1))[:, 0]
        clicks = tf.cast(rows[:, 0], tf.float32)
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=clicks, logits=logits)
        return tf.reduce_sum(entropy) / tf.cast(tf.maximum(tf.size(entropy), 1), tf.float32)


def _pairs() -> NDArray[np.int64]:
    """Return the places of the products of two different vectors, each pair once."""
    first, second = np.tril_indices(_VECTORS, -1)
    places: NDArray[np.int64] = first * _VECTORS + second
    return places


_PAIRS: Final = _pairs()
