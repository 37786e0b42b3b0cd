"""A 3D U-Net: three levels of convolutions down and up again, each joined with its counterpart.

Source: O. Cicek and others, "3D U-Net: Learning Dense Volumetric Segmentation from Sparse
Annotation" (2016). The reference has 30.8 million parameters in six levels of 32 to 320 channels;
this one has three levels of 4, 8 and 16, so that a processor is done with a crop in seconds.
"""

from typing import Any, Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from harness.worker.accelerators.models.variables import Draws

CROP: Final = 128
CHANNELS: Final = (4, 8, 16)
CLASSES: Final = 3

_EPSILON: Final = 1e-5

Crops = tuple[NDArray[np.float32], NDArray[np.uint8]]


class UNet:
    """Labels each voxel of a crop with one of three classes; 16,955 parameters.

    Args:
        batch_size: crops of a step.
        seed: of the weights.

    Its loss is the cross entropy of the voxels plus 1 minus the mean Dice coefficient.
    """

    learning_rate = 0.05

    def __init__(self, *, batch_size: int, seed: int) -> None:
        self.name = f"3D U-Net of {' + '.join(map(str, CHANNELS))} channels"
        self._shape = (batch_size, CROP, CROP, CROP)
        self.signature = (
            tf.TensorSpec([None, *self._shape[1:]], tf.float32),
            tf.TensorSpec([None, *self._shape[1:]], tf.uint8),
        )
        draws = Draws(seed)
        first, second, third = CHANNELS
        self._encode = [
            draws.kernel(3, 3, 3, source, target)
            for source, target in ((1, first), (first, second), (second, third))
        ]
        self._bottom = draws.kernel(3, 3, 3, third, third)
        self._up = [draws.kernel(2, 2, 2, target, 2 * target) for target in (second, first)]
        self._decode = [draws.kernel(3, 3, 3, 2 * width, width) for width in (second, first)]
        self._head = draws.kernel(1, 1, 1, first, CLASSES)
        self._bias = draws.zeros(CLASSES)
        self.variables = draws.variables

    def inputs(self, batch: Crops) -> tuple[Any, ...]:
        """Return the crops: images (batch, 128, 128, 128) float32 and labels, uint8."""
        return tuple(tf.convert_to_tensor(part) for part in batch)

    def blank(self) -> Crops:
        """Return crops of zeros."""
        return np.zeros(self._shape, np.float32), np.zeros(self._shape, np.uint8)

    def loss(self, images: Any, labels: Any) -> Any:
        """Return cross entropy plus Dice loss; a label beyond the classes counts as the last."""
        logits = self._logits(images[..., tf.newaxis])
        classes = tf.minimum(tf.cast(labels, tf.int32), CLASSES - 1)
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=classes, logits=logits)
        truth, guess = tf.one_hot(classes, CLASSES), tf.nn.softmax(logits)
        voxels = (0, 1, 2, 3)
        both = tf.reduce_sum(truth * guess, voxels)
        dice = (2 * both + 1) / (tf.reduce_sum(truth, voxels) + tf.reduce_sum(guess, voxels) + 1)
        return tf.reduce_mean(entropy) + 1 - tf.reduce_mean(dice)

    def _logits(self, volumes: Any) -> Any:
        skipped = []
        for level, kernel in enumerate(self._encode):
            stride = 1 if level == 0 else 2
            volumes = _active(tf.nn.conv3d(volumes, kernel, [1, *[stride] * 3, 1], "SAME"))
            skipped.append(volumes)
        volumes = _active(tf.nn.conv3d(volumes, self._bottom, [1] * 5, "SAME"))
        for up, decode, skip in zip(self._up, self._decode, skipped[-2::-1], strict=True):
            shape = tf.shape(skip)
            raised = tf.nn.conv3d_transpose(volumes, up, shape, [1, 2, 2, 2, 1], "SAME")
            joined = tf.concat([raised, skip], axis=-1)
            volumes = _active(tf.nn.conv3d(joined, decode, [1] * 5, "SAME"))
        return tf.nn.conv3d(volumes, self._head, [1] * 5, "SAME") + self._bias


def _active(volumes: Any) -> Any:
    """Normalise each channel of each crop, as the reference does, and cut below zero."""
    mean, variance = tf.nn.moments(volumes, axes=[1, 2, 3], keepdims=True)
    return tf.nn.relu((volumes - mean) * tf.math.rsqrt(variance + _EPSILON))
