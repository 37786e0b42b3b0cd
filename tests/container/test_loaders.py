"""The loaders of the reference accept the data sets: TensorFlow in the image that trains."""

from pathlib import Path

import numpy as np
import pytest

from dsgen.write import generate
from tests.property.strategies import data_set
from tests.property.tfrecords import FEATURES, parsed, records

pytestmark = pytest.mark.engine

READER = Path(__file__).with_name("read_bert.py")


def test_tensorflow_reads_every_feature_of_every_record(engine, job, tmp_path):
    directory = tmp_path / "data"
    layout = data_set("bert", 5_000_000, min_files=3).layout()
    generate(layout, directory / "set", processes=2, emit=lambda _: None)
    paths = [directory / "set" / file.path for file in layout.files]
    output = directory / "read.npz"
    arguments = ("-c", READER.read_text(), *map(str, paths), str(output))
    ended = engine.run(job("", arguments=arguments), print)
    assert ended.code == 0, ended.tail
    written = [parsed(content) for path in paths for content in records(path.read_bytes())]
    with np.load(output) as read:
        assert set(read) == set(FEATURES)
        for name in FEATURES:
            assert np.array_equal(read[name], np.stack([one[name] for one in written])), name
        assert len(read["input_ids"]) == layout.samples("train") + layout.samples("eval")


@pytest.mark.parametrize("format_", ["text", "npz", "bin"])
def test_the_image_generates_the_same_bytes_as_this_machine(engine, job, tmp_path, format_):
    wanted = data_set("dlrm", 3_000_000, format=format_)
    directory = tmp_path / "data"
    generate(wanted.layout(), directory / "here", processes=1, emit=lambda _: None)
    words = ("-m", "dsgen", *wanted.command(directory / "there"))
    ended = engine.run(job("", arguments=words), print)
    assert ended.code == 0, ended.tail
    for path in (directory / "here").iterdir():
        if path.name != "manifest.json":
            assert path.read_bytes() == (directory / "there" / path.name).read_bytes(), path.name
