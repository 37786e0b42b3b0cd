"""bert: a user's TFRecords, and how they continue in a larger data set.

Whole files in turns; only the last one is cut, where a record ends. A file is named after the
number of files, which the reference's names begin to tell at 500.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from dsgen import tfrecord
from dsgen.errors import DataSetError
from dsgen.layout import COUNTED, Layout, Parameters, PlannedFile, Role, even_starts
from dsgen.source import Source, SourceFile, listed, reading, unreadable
from dsgen.workloads.bert import FILES_IN_NAME

NAME: Final = re.compile(r"part-\d+-of-\d+|eval_10k")

_EVALUATION: Final = "eval_10k"
_FEATURES: Final = {
    *("input_ids", "input_mask", "segment_ids", "next_sentence_labels"),
    *("masked_lm_positions", "masked_lm_ids", "masked_lm_weights"),
}
_THEN: Final = "leave it out, or make it again"


def inspect(root: Path, names: list[str]) -> Source:
    """Return the files of `names`, sorted, with the evaluation file last where there is one.

    Raises:
        DataSetError: the first record of a file is none, or lacks features.
    """
    parts = sorted(name for name in names if name != _EVALUATION)
    if not parts:
        then = "name a directory with part-xxxxx-of-xxxxx"
        raise DataSetError("only evaluation records", where=str(root), then=then)
    files = [_file(root, name) for name in parts]
    files += [_file(root, _EVALUATION)] if _EVALUATION in names else []
    return Source(workload="bert", format="tfrecord", compression="none", files=tuple(files))


def cut(root: Path, source: Source, parameters: Parameters, _: int) -> Source:
    """Return the source with the length of the last file: up to the record that reaches the size.

    Raises:
        DataSetError: no record begins where the one before ends.
    """
    parts = source.of_role("train")
    lengths = [source.files[number].bytes for number in parts]
    left = parameters.size_requested_bytes % sum(lengths) or sum(lengths)
    for number, length in zip(parts, lengths, strict=True):
        if left <= length:
            return replace(source, cut=(_end_of_record(root, source.files[number], left),))
        left -= length
    raise AssertionError("the size is within one turn")


def scaled(source: Source, parameters: Parameters) -> Layout:
    """Return whole files in turns, the last one cut, and the evaluation file."""
    parts = source.of_role("train")
    planned: list[tuple[int, int, int]] = []  # source, copy, bytes
    total_bytes = 0
    while total_bytes < parameters.size_requested_bytes:
        copy, place = divmod(len(planned), len(parts))
        size_bytes = source.files[parts[place]].bytes
        if total_bytes + size_bytes >= parameters.size_requested_bytes:
            size_bytes = source.cut[0]
        planned.append((parts[place], copy, size_bytes))
        total_bytes += size_bytes
    of = max(len(planned), FILES_IN_NAME)
    files = [
        _planned(source, index, number, f"part-{index:05d}-of-{of:05d}", copy, size_bytes)
        for index, (number, copy, size_bytes) in enumerate(planned)
    ]
    for number in source.of_role("eval"):
        size_bytes = source.files[number].bytes
        files.append(_planned(source, len(files), number, _EVALUATION, 0, size_bytes))
    return Layout(parameters=parameters, files=tuple(files))


def _planned(
    source: Source, index: int, number: int, path: str, copy: int, size_bytes: int
) -> PlannedFile:
    of = source.files[number]
    return PlannedFile(
        index=index,
        path=path,
        role=of.role,
        file_class=of.file_class,
        bytes=size_bytes,
        samples=COUNTED,
        shape=(),
        key=number,
        starts=even_starts(size_bytes),
        counts=of.role == "train",
        copy=copy,
    )


def _file(root: Path, name: str) -> SourceFile:
    path = root / name
    role: Role = "eval" if name == _EVALUATION else "train"
    file = listed(root, name, role=role, file_class="record", samples=COUNTED)
    try:
        with path.open("rb") as stream:
            data = tfrecord.read_record(stream, file.bytes)
        found = tfrecord.feature_names(data)
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        what = f"does not begin with a record (record 1 at byte 0: {error})"
        raise DataSetError(what, where=str(path), then=_THEN) from error
    if missing := sorted(_FEATURES - found):
        what = f"record 1 at byte 0 lacks {', '.join(missing)}"
        raise DataSetError(what, where=str(path), then=_THEN)
    return file


def _end_of_record(root: Path, file: SourceFile, least_bytes: int) -> int:
    """Return where the record ends that holds byte `least_bytes` - 1."""
    with reading(root, file) as descriptor:
        start = tfrecord.record_around(descriptor, least_bytes - 1, file.bytes)
        return tfrecord.next_header(descriptor, start, file.bytes)
