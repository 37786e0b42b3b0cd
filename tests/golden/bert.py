"""Write bert.tfrecord with TensorFlow, from the features of the generator's own records.

Run once, where TensorFlow is installed: python -m tests.golden.bert
"""

from pathlib import Path

from tests.property.strategies import data_set
from tests.property.test_bert_loads import whole
from tests.property.tfrecords import parsed, records


def main():
    import tensorflow as tf

    def feature(values):
        if values.dtype.kind == "f":
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    layout = data_set("bert", 50_000).layout()
    with tf.io.TFRecordWriter(str(Path(__file__).parent / "bert.tfrecord")) as writer:
        for content in records(whole(layout, layout.files[0])):
            features = {name: feature(values) for name, values in parsed(content).items()}
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
