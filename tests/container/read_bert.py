"""Read TFRecords as the reference does, by TensorFlow itself; runs in the CPU image."""

import sys

import numpy as np
import tensorflow as tf

INTEGERS = {
    "input_ids": 512,
    "input_mask": 512,
    "segment_ids": 512,
    "masked_lm_positions": 76,
    "masked_lm_ids": 76,
    "next_sentence_labels": 1,
}
FEATURES = {
    name: tf.io.FixedLenFeature([length], tf.int64) for name, length in INTEGERS.items()
} | {"masked_lm_weights": tf.io.FixedLenFeature([76], tf.float32)}

*paths, output = sys.argv[1:]
records = tf.data.TFRecordDataset(paths).map(
    lambda record: tf.io.parse_single_example(record, FEATURES)
)
examples = list(records.as_numpy_iterator())
np.savez(output, **{name: np.stack([one[name] for one in examples]) for name in FEATURES})
