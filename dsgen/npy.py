"""The header of npy files, as numpy writes and reads it."""

import lzma
import warnings
import zipfile
import zlib
from tokenize import TokenError
from typing import IO, Any, Final

import numpy as np

HEADER_BYTES: Final = 128
NPY_MAGIC: Final = b"\x93NUMPY\x01\x00"

# What numpy and zipfile raise over bytes that are none of theirs, beside OSError.
MALFORMED: Final = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
    *(SyntaxError, TokenError, EOFError, MemoryError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


def npy_header(descr: str, shape: tuple[int, ...]) -> bytes:
    """Return the 128 bytes that open a version 1.0 npy file of a C-ordered array.

    Source: the format's specification, numpy.lib.format.
    """
    fields = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    text = fields.ljust(HEADER_BYTES - 11) + "\n"
    return NPY_MAGIC + len(text).to_bytes(2, "little") + text.encode("latin1")


def read_npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether in Fortran order, and type; the stream stays at the first item.

    Raises:
        ValueError: it does not begin with a header of version 1.0.
        OSError: it cannot be read.
    """
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("another version")
        with warnings.catch_warnings():  # of headers that Python 2 wrote
            warnings.simplefilter("ignore")
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except MALFORMED as error:
        raise ValueError("not .npy of version 1.0") from error
    return tuple(shape), fortran, dtype
