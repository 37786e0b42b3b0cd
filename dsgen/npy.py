"""The header of npy files, as numpy writes it."""

from typing import Final

HEADER_BYTES: Final = 128


def npy_header(descr: str, shape: tuple[int, ...]) -> bytes:
    """Return the 128 bytes that open a version 1.0 npy file of a C-ordered array.

    Source: the format's specification, numpy.lib.format.
    """
    fields = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    text = fields.ljust(HEADER_BYTES - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("latin1")
