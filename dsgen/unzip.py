"""A member of a zip archive as a stream, inflated by isa-l: zipfile takes nearly twice as long."""

import copy
import io
import zipfile
from typing import Any, BinaryIO, Final, cast

from isal import isal_zlib

_KEPT_BYTES: Final = 2**16  # of the archive, taken at a time
_BUFFER_BYTES: Final = 2**18
_NO_DEFLATE: Final = cast(type[Exception], isal_zlib.error)


def open_member(archive: zipfile.ZipFile, name: str) -> BinaryIO:
    """Return the bytes of a member, from its first on.

    What is wrong with them is noticed where they are read, another CRC with the last one.

    Raises:
        KeyError: the archive has no such member.
        ValueError: deflated bytes that are none, that are fewer, or that have another CRC.
        zipfile.BadZipFile: the same of any other method, or no member where it shall begin.
    """
    member = archive.getinfo(name)
    if member.compress_type != zipfile.ZIP_DEFLATED:
        return cast(BinaryIO, archive.open(member))
    return io.BufferedReader(_Inflated(archive, member), _BUFFER_BYTES)


class _Inflated(io.RawIOBase):
    def __init__(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
        self._expected = member.file_size, member.CRC
        self._seen = 0, 0
        # Told that it is stored, and has no CRC, zipfile gives what the archive keeps.
        kept = copy.copy(member)
        kept.compress_type, kept.file_size = zipfile.ZIP_STORED, member.compress_size
        del kept.CRC
        self._kept = archive.open(kept)
        self._inflate = isal_zlib.decompressobj(-15)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        data = self._inflated(len(view))
        view[: len(data)] = data
        size_bytes, crc = self._seen
        self._seen = size_bytes + len(data), isal_zlib.crc32(data, crc)
        at_end = not data or self._seen[0] >= self._expected[0]
        if at_end and self._seen != self._expected:
            raise ValueError("another length or CRC than the archive says")
        return len(data)

    def _inflated(self, at_most: int) -> bytes:
        while not self._inflate.eof:
            kept = self._inflate.unconsumed_tail
            try:
                data = self._inflate.decompress(kept, at_most)
                if not data and not kept:
                    kept = self._kept.read(_KEPT_BYTES)
                    data = self._inflate.decompress(kept, at_most)
            except _NO_DEFLATE as error:
                raise ValueError(f"no deflate ({error})") from error
            if data:
                return data
            if not kept:
                raise ValueError("truncated")
        return b""

    def close(self) -> None:
        if not self.closed:
            self._kept.close()
        super().close()
