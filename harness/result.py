"""Reading and writing result.json; what stands in it is harness/analysis/result.py."""

import json
import os
from pathlib import Path

import msgspec

from harness.analysis.result import SCHEMA_VERSION, Result, RunFacts, build_result
from harness.errors import ResultError, SchemaError
from harness.recordings import read_recording

__all__ = [
    "RESULT_NAME",
    "Result",
    "RunFacts",
    "build_result",
    "read_recording",
    "read_result",
    "write_result",
]

RESULT_NAME = "result.json"


def read_result(path: Path) -> Result:
    """Return the result in the file `path`.

    Raises:
        SchemaError: of another schema version.
        ResultError: absent, unreadable, or malformed.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        then = "give the path of a result.json"
        raise ResultError(f"no result ({error.strerror})", where=str(path), then=then) from error
    try:
        _check_version(json.loads(content), path)
        return msgspec.json.decode(content, type=Result)
    except (ValueError, msgspec.DecodeError) as error:
        then = "repeat the run, or restore the file"
        raise ResultError(f"malformed result ({error})", where=str(path), then=then) from error


def write_result(result: Result, directory: Path) -> Path:
    """Write result.json into `directory`, beside and then renamed, and return its path.

    Canonical: the order of the schema, facts sorted by key, one space of indentation.

    Raises:
        ResultError: the directory does not take it.
    """
    path = directory / RESULT_NAME
    partial = directory / f"{RESULT_NAME}.partial"
    try:
        content = msgspec.json.format(msgspec.json.encode(result, order="deterministic"), indent=1)
        with partial.open("wb") as stream:
            stream.write(content + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        partial.rename(path)
        _sync(directory)
    except OSError as error:
        partial.unlink(missing_ok=True)
        then = "free space, or name another --results, and repeat the run"
        what = f"cannot write ({error.strerror})"
        raise ResultError(what, where=str(path), then=then) from error
    except TypeError as error:
        then = "report this with the facts that went into the result"
        raise ResultError(f"cannot write ({error})", where=str(path), then=then) from error
    return path


def _check_version(document: object, path: Path) -> None:
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        then = f"this version reads schema {SCHEMA_VERSION}"
        raise SchemaError(f"result of schema {version}", where=str(path), then=then)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
