"""What the kernel and file systems say of bytes read from storage, as texts. Pure.

Every counter runs from some start in the past; None is a text that does not have it.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

# Places in the line `bytes:` of an NFS mount and in that of an operation (NFS_IOSTAT_VERS 1.1).
_SERVER_READ = 4
_RECEIVED = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class NfsBytes:
    """What one NFS mount had read from its server.

    Args:
        server: data alone, of every READ that was answered.
        read_replies: the READ operations' replies, their headers included.
    """

    server: int
    read_replies: int | None


def parse_throttle_bytes(text: str, device: str) -> int | None:
    """Return the bytes read in a blkio.throttle.io_service_bytes text of version 1.

    Nothing is counted until a throttle rule has been set on the device, for whatever group.
    Source: Documentation/admin-guide/cgroup-v1/blkio-controller.rst.

    >>> parse_throttle_bytes("254:0 Read 4096", "254:0")
    4096
    """
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[:2] == [device, "Read"] and words[2].isdigit():
            return int(words[2])
    return None


def parse_io_stat(text: str, device: str) -> int | None:
    """Return the bytes read in an io.stat text of version 2.

    Source: Documentation/admin-guide/cgroup-v2.rst.

    >>> parse_io_stat("8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0", "8:0")
    4096
    """
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        if name != device:
            continue
        for word in rest.split():
            key, _, value = word.partition("=")
            if key == "rbytes" and value.isdigit():
                return int(value)
    return None


def parse_mountstats(text: str, path: str) -> NfsBytes | None:
    """Return what the NFS mount that holds `path` counted, from a mountstats text.

    Of mounts above the path the deepest one counts, of stacked ones the last. None where that is
    no NFS mount, or its block lacks the bytes.

    Args:
        text: of /proc/self/mountstats.
        path: absolute, without links.

    Source: proc_pid_mountstats(5); the fields: fs/nfs/super.c and net/sunrpc/stats.c of Linux.
    """
    deepest: tuple[int, list[str]] = (-1, [])
    for block in _blocks(text):
        words = block[0].split(" ")
        point = PurePosixPath(unescape(words[4]))
        depth = len(point.parts)
        if PurePosixPath(path).is_relative_to(point) and depth >= deepest[0]:
            deepest = (depth, block)
    lines = deepest[1]
    if not lines or lines[0].split(" ")[7] not in ("nfs", "nfs4"):
        return None
    server = _field(lines, "bytes:", _SERVER_READ)
    if server is None:
        return None
    return NfsBytes(server=server, read_replies=_field(lines, "READ:", _RECEIVED))


def unescape(text: str) -> str:
    r"""Replace the octal escapes of what /proc tells of mounts: `\040` is a blank."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def parse_lustre_bytes(text: str) -> int | None:
    """Return the sum of the line `read_bytes` of a Lustre stats text; None before the first read.

    In osc.*.stats these are bytes that came from a server; in llite.*.stats those that read calls
    returned, from memory too. Source: Lustre Operations Manual, "Lustre Parameters".

    >>> parse_lustre_bytes("read_bytes 2 samples [bytes] 4096 8192 12288 83886080")
    12288
    """
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 7 and words[0] == "read_bytes" and words[3] == "[bytes]":
            return int(words[6]) if words[6].isdigit() else None
    return None


def _blocks(text: str) -> list[list[str]]:
    """Return the lines of each mount; the first is `device D mounted on P with fstype T ...`."""
    blocks: list[list[str]] = []
    for line in text.splitlines():
        words = line.split(" ")
        if words[0] == "device" and len(words) >= 8 and words[2:4] == ["mounted", "on"]:
            blocks.append([line])
        elif blocks:
            blocks[-1].append(line)
    return blocks


def _field(lines: list[str], name: str, place: int) -> int | None:
    for line in lines:
        words = line.split()
        if words and words[0] == name and len(words) > place + 1 and words[place + 1].isdigit():
            return int(words[place + 1])
    return None
