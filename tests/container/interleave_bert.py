"""Read TFRecords in the pipeline of the reference; runs in the CPU image.

Arguments: `calls` or `order`, batches of six, a file that lists the TFRecords in their order.
`calls` reads as the reference does. `order` keeps the order of the interleaving, which waits for
each file's turn then, and prints the first line of each record.
"""

import sys
from pathlib import Path

import tensorflow as tf

what, batches, listing = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with Path(listing).open() as stream:
    paths = stream.read().splitlines()
records = tf.data.Dataset.from_tensor_slices(paths).apply(
    tf.data.experimental.parallel_interleave(
        tf.data.TFRecordDataset, cycle_length=8, sloppy=what == "calls"
    )
)
if what == "calls":
    records = records.shuffle(1000).repeat()
for batch in records.batch(6, drop_remainder=what == "calls").take(batches).as_numpy_iterator():
    if what == "order":
        for record in batch:
            print(record.partition(b"\n")[0].decode())
