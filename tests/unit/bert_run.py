"""Small bert data sets whose records say which they are, for the tests of harness.worker."""

import json
from dataclasses import dataclass
from pathlib import Path

from dsgen.manifest import Manifest, read_manifest
from dsgen.tfrecord import frame_header
from harness.worker.record import Phase
from harness.worker.recording.io import DataCalls
from harness.worker.spec import WorkerSpec
from harness.worker.workloads.bert import BertReading
from harness.worker.workloads.bert_plan import plan_bert
from tests.property.tfrecords import masked_crc
from tests.unit.worker_run import entry, make_spec, manifest, sync

BERT = ("bert", "tfrecord", "documented")
RECORD_BYTES = 2_500


def record(file: int, number: int, size_bytes: int = RECORD_BYTES) -> bytes:
    """Return a record's content: its file, its number, and bytes that follow from both."""
    name = b"%d %d\n" % (file, number)
    return name + bytes([(file + number) % 256]) * max(0, size_bytes - len(name))


def name_of(content: bytes) -> tuple[int, int]:
    """Return file and number of a record's content."""
    file, number = content.partition(b"\n")[0].split()
    return int(file), int(number)


def framed(content: bytes) -> bytes:
    """Return a record as a file has it."""
    return frame_header(len(content)) + content + masked_crc(content).to_bytes(4, "little")


def write_set(directory: Path, sizes: list[list[int]], *, evaluation: int = 0) -> Path:
    """Write a training file for each list of record sizes, eval_10k, and the manifest."""
    directory.mkdir()
    files = []
    for file, lengths in enumerate(sizes):
        path = directory / f"part-{file:05d}-of-00500"
        contents = (record(file, number, length) for number, length in enumerate(lengths))
        path.write_bytes(b"".join(map(framed, contents)))
        files.append(entry(path, "train", "record", samples=len(lengths)))
    if evaluation:
        path = directory / "eval_10k"
        path.write_bytes(b"".join(framed(record(-1, number)) for number in range(evaluation)))
        files.append(entry(path, "eval", "record", samples=evaluation))
    (directory / ".feedrate.lock").touch()
    document = manifest(files, sum(map(len, sizes)), evaluation, kind=BERT)
    (directory / "manifest.json").write_text(json.dumps(document))
    sync(directory)
    return directory


def even_set(directory: Path, *, files: int, records: int, evaluation: int = 0) -> Path:
    """Write files of as many records each, whose lengths differ."""
    lengths = [RECORD_BYTES + 37 * number % 500 for number in range(records)]
    return write_set(directory, [lengths] * files, evaluation=evaluation)


def bert_spec(tmp_path: Path, data_dir: Path, **changes) -> WorkerSpec:
    """Return a spec of bert with one quick rank, with `changes`."""
    values = {"workload": "bert", "loader_workers": 1, **changes}
    return make_spec(tmp_path, data_dir, **values)


def planned(tmp_path: Path, data_dir: Path, **changes) -> BertReading:
    """Return how bert reads a data set."""
    return plan_bert(bert_spec(tmp_path, data_dir, **changes), manifest_of(data_dir))


def manifest_of(data_dir: Path) -> Manifest:
    """Return the manifest of a data set."""
    return read_manifest(data_dir)


@dataclass(frozen=True, kw_only=True)
class Read:
    """What a rank read in a phase: its batches, and the rows of its calls."""

    batches: list[list[bytes]]
    calls: DataCalls

    @property
    def names(self) -> list[tuple[int, int]]:
        """File and number of each record, in the order in which they came."""
        return [name_of(content) for batch in self.batches for content in batch]


def read_phase(
    reading: BertReading, *, rank: int = 0, epoch: int = 1, phase: Phase = Phase.TRAIN
) -> Read:
    """Read a phase of one rank in this thread, in as many rows as are planned for it."""
    train = phase is Phase.TRAIN
    batches = reading.train(epoch, rank) if train else reading.evaluation(epoch, rank)
    rows = reading.calls(phase, len(batches))
    calls = DataCalls(rank=rank, loader=1, rows=rows, marks=rows)
    slots = reading.slots(1)
    reader = reading.reader(calls, slots)
    delivered = []
    for batch in batches:
        reader.read(batch, 0)
        delivered.append(slots[0])
    reader.end()
    return Read(batches=delivered, calls=calls)
