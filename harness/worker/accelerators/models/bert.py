"""A transformer encoder with BERT's two heads: masked words, and whether sentences belong together.

Source: J. Devlin and others, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding" (2018). The reference has 24 layers of 1,024; this one has 2 of 128, so that a
processor is done with a step in seconds.
"""

from typing import Any, Final

import tensorflow as tf

from dsgen.workloads.bert_records import INTEGERS
from harness.worker.accelerators.models.variables import Draws

WORDS: Final = 30_522
POSITIONS: Final = INTEGERS["input_ids"]
MASKED: Final = INTEGERS["masked_lm_ids"]
WIDTH: Final = 128
HEADS: Final = 2
LAYERS: Final = 2

_EPSILON: Final = 1e-12
_SPREAD: Final = 0.02  # of embeddings at the start, as the reference has it
_FEATURES: Final = {
    "input_ids": (POSITIONS, tf.int64),
    "input_mask": (POSITIONS, tf.int64),
    "segment_ids": (POSITIONS, tf.int64),
    "masked_lm_positions": (MASKED, tf.int64),
    "masked_lm_ids": (MASKED, tf.int64),
    "masked_lm_weights": (MASKED, tf.float32),
    "next_sentence_labels": (1, tf.int64),
}


class _Dense:
    """A layer whose outputs are weighted sums of its inputs."""

    def __init__(self, draws: Draws, source: int, target: int) -> None:
        self._kernel = draws.kernel(source, target)
        self._bias = draws.zeros(target)

    def __call__(self, values: Any) -> Any:
        return tf.tensordot(values, self._kernel, 1) + self._bias


class _Norm:
    """Brings the values of each position to mean 0 and deviation 1, then to a learned one."""

    def __init__(self, draws: Draws) -> None:
        self._factor, self._bias = draws.ones(WIDTH), draws.zeros(WIDTH)

    def __call__(self, values: Any) -> Any:
        mean, variance = tf.nn.moments(values, axes=[-1], keepdims=True)
        return (values - mean) * tf.math.rsqrt(variance + _EPSILON) * self._factor + self._bias


class _Layer:
    """Self-attention, then two dense layers, each with a way around it and a norm."""

    def __init__(self, draws: Draws) -> None:
        self._query, self._key, self._value, self._out = (
            _Dense(draws, WIDTH, WIDTH) for _ in range(4)
        )
        self._wide, self._narrow = _Dense(draws, WIDTH, 4 * WIDTH), _Dense(draws, 4 * WIDTH, WIDTH)
        self._first, self._second = _Norm(draws), _Norm(draws)

    def __call__(self, values: Any, hidden: Any) -> Any:
        query, key, value = (
            _by_head(dense(values)) for dense in (self._query, self._key, self._value)
        )
        scores = tf.matmul(query, key, transpose_b=True) / (WIDTH / HEADS) ** 0.5 + hidden
        seen = tf.transpose(tf.matmul(tf.nn.softmax(scores), value), [0, 2, 1, 3])
        values = self._first(values + self._out(tf.reshape(seen, tf.shape(values))))
        return self._second(values + self._narrow(tf.nn.gelu(self._wide(values))))


class Encoder:
    """Guesses masked words and next sentences; 4,433,468 parameters.

    Args:
        batch_size: records of a step.
        seed: of the weights.

    Its loss is the mean cross entropy of the masked words plus that of the next sentences.
    """

    learning_rate = 0.02

    def __init__(self, *, batch_size: int, seed: int) -> None:
        self.name = f"transformer encoder of {LAYERS} layers, {WIDTH} wide"
        self._batch_size = batch_size
        self.signature = tuple(
            tf.TensorSpec([None, length], kind) for length, kind in _FEATURES.values()
        )
        draws = Draws(seed)
        self._words = draws.table(WORDS, WIDTH, deviation=_SPREAD)
        self._places = draws.table(POSITIONS, WIDTH, deviation=_SPREAD)
        self._segments = draws.table(2, WIDTH, deviation=_SPREAD)
        self._embedded = _Norm(draws)
        self._layers = [_Layer(draws) for _ in range(LAYERS)]
        self._transform, self._transformed = _Dense(draws, WIDTH, WIDTH), _Norm(draws)
        self._word_bias = draws.zeros(WORDS)
        self._pool, self._next = _Dense(draws, WIDTH, WIDTH), _Dense(draws, WIDTH, 2)
        self.variables = draws.variables

    def inputs(self, batch: list[bytes]) -> tuple[Any, ...]:
        """Return the seven features of this rank's records.

        A reader that serves all ranks has theirs as well, after this one's.

        Raises:
            tf.errors.InvalidArgumentError: a record is no example of these features.
        """
        shapes = {
            name: tf.io.FixedLenFeature([length], kind)
            for name, (length, kind) in _FEATURES.items()
        }
        parsed = tf.io.parse_example(tf.constant(batch[: self._batch_size]), shapes)
        return tuple(parsed[name] for name in _FEATURES)

    def blank(self) -> list[bytes]:
        """Return records of zeros."""
        example = tf.train.Example()
        for name, (length, kind) in _FEATURES.items():
            feature = example.features.feature[name]
            values = feature.float_list if kind is tf.float32 else feature.int64_list
            values.value.extend([0] * length)
        return [bytes(example.SerializeToString())] * self._batch_size

    def loss(
        self,
        words: Any,
        mask: Any,
        segments: Any,
        places: Any,
        masked_words: Any,
        weights: Any,
        following: Any,
    ) -> Any:
        """Return the cross entropies of both heads; padding of the masked words weighs nothing."""
        values = self._encoded(words, mask, segments)
        masked = tf.gather(values, places, axis=1, batch_dims=1)
        masked = self._transformed(tf.nn.gelu(self._transform(masked)))
        logits = tf.tensordot(masked, tf.transpose(self._words), 1) + self._word_bias
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=masked_words, logits=logits)
        guessed = tf.reduce_sum(entropy * weights) / (tf.reduce_sum(weights) + 1e-5)
        pooled = tf.math.tanh(self._pool(values[:, 0]))
        sentences = tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=following[:, 0], logits=self._next(pooled)
        )
        return guessed + tf.reduce_mean(sentences)

    def _encoded(self, words: Any, mask: Any, segments: Any) -> Any:
        values = tf.gather(self._words, words) + tf.gather(self._segments, segments)
        values = self._embedded(values + self._places)
        # What is padding gets no attention.
        hidden = (1 - tf.cast(mask, tf.float32))[:, tf.newaxis, tf.newaxis, :] * -10_000.0
        for layer in self._layers:
            values = layer(values, hidden)
        return values


def _by_head(values: Any) -> Any:
    """Return (batch, positions, width) as (batch, heads, positions, width / heads)."""
    parts = tf.reshape(values, [-1, POSITIONS, HEADS, WIDTH // HEADS])
    return tf.transpose(parts, [0, 2, 1, 3])
