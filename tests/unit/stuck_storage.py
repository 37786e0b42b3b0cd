"""Storage that never answers: a FUSE file system, by its bare protocol, over a flat directory.

Reads of one file are taken and not answered, once a file named STUCK stands beside the mount point.
Then no signal ends who reads: the kernel waits for the answer. It ends with this process.

Usage: python -m tests.unit.stuck_storage SOURCE MOUNT_POINT FILE_NAME
Source: linux/include/uapi/linux/fuse.h.
"""

import contextlib
import ctypes
import errno
import os
import stat
import struct
import subprocess
import sys
from pathlib import Path

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, FLUSH = 1, 2, 3, 14, 15, 17, 18, 25
INIT, OPENDIR, READDIR, RELEASEDIR, DESTROY, BATCH_FORGET = 26, 27, 28, 29, 38, 42
HEADER = struct.Struct("<IIQQIIIHH")
ROOT_ID = 1
DIRECT_IO = 1  # past the page cache, where a reader could be killed while it waits for a page
MS_RDONLY, MS_NOSUID, MS_NODEV, MNT_DETACH = 1, 2, 4, 2
LIBC = ctypes.CDLL(None, use_errno=True)


class Server:
    def __init__(self, source, point, name):
        self.trigger = point.parent / "STUCK"
        self.paths = sorted(path for path in source.iterdir() if path.is_file())
        self.source, self.name = source, name
        self.device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
        flags = MS_RDONLY | MS_NOSUID | MS_NODEV
        text = f"{options},allow_other".encode()
        if LIBC.mount(b"stuck", str(point).encode(), b"fuse", flags, text):
            raise OSError(ctypes.get_errno(), "mount")

    def serve(self):
        while True:
            message = os.read(self.device, 1 << 18)
            _, opcode, unique, node, *_ = HEADER.unpack_from(message)
            try:
                answer = self.answer(opcode, node, message[HEADER.size :])
                number = 0
            except OSError as error:
                answer, number = b"", -error.errno
            if answer is not None:
                out = struct.pack("<IiQ", 16 + len(answer), number, unique) + answer
                # One that was interrupted meanwhile is answered to nobody.
                with contextlib.suppress(FileNotFoundError):
                    os.write(self.device, out)

    def answer(self, opcode, node, body):
        """Return the answer, None for what is not answered."""
        if opcode == INIT:
            _, _, ahead, _ = struct.unpack_from("<IIII", body)
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, ahead, 0, 16, 12, 1 << 17, 1, 0, 0, 0)
        if opcode == LOOKUP:
            path = self.source / os.fsdecode(body[:-1])
            if path not in self.paths:
                raise OSError(errno.ENOENT, "")
            number = self.paths.index(path) + 2
            return struct.pack("<QQQQII", number, 0, 60, 60, 0, 0) + self.attributes(number)
        if opcode == GETATTR:
            return struct.pack("<QII", 60, 0, 0) + self.attributes(node)
        if opcode in (OPEN, OPENDIR):
            stuck = opcode == OPEN and self.path(node).name == self.name
            return struct.pack("<QII", 0, DIRECT_IO if stuck else 0, 0)
        if opcode == READ:
            return self.read(node, *struct.unpack_from("<QI", body, 8))
        if opcode == READDIR:
            return self.entries(struct.unpack_from("<Q", body, 8)[0])
        if opcode == STATFS:
            return struct.pack(
                "<QQQQQIIII24x", 1 << 20, 1 << 19, 1 << 19, 99, 99, 4096, 255, 4096, 0
            )
        if opcode in (FORGET, BATCH_FORGET):
            return None
        if opcode in (RELEASE, RELEASEDIR, FLUSH, DESTROY):
            return b""
        raise OSError(errno.ENOSYS, "")

    def path(self, node):
        return self.source if node == ROOT_ID else self.paths[node - 2]

    def read(self, node, offset, size_bytes):
        path = self.path(node)
        if path.name == self.name and self.trigger.exists():
            return None
        with path.open("rb") as stream:
            stream.seek(offset)
            return stream.read(size_bytes)

    def entries(self, start):
        listed = [(ROOT_ID, "."), (ROOT_ID, "..")]
        listed += [(number, path.name) for number, path in enumerate(self.paths, 2)]
        entries = b""
        for place, (number, name) in list(enumerate(listed))[start:]:
            raw = os.fsencode(name)
            entry = struct.pack("<QQII", number, place + 1, len(raw), 0) + raw
            entries += entry + bytes(-len(entry) % 8)
            if len(entries) > 3000:
                break
        return entries

    def attributes(self, node):
        found = self.path(node).stat()
        seconds = [int(value) for value in (found.st_atime, found.st_mtime, found.st_ctime)]
        below = [ns % 10**9 for ns in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)]
        mode = found.st_mode | (0o555 if stat.S_ISDIR(found.st_mode) else 0o444)
        return struct.pack(
            "<QQQQQQIIIIIIIIII",
            *(node, found.st_size, found.st_blocks, *seconds, *below),
            *(mode, found.st_nlink, found.st_uid, found.st_gid, 0, 4096, 0),
        )


@contextlib.contextmanager
def stuck_storage(source, point, name):
    """Mount it; yield what makes it stuck when it is called."""
    point.mkdir()
    command = [sys.executable, "-m", "tests.unit.stuck_storage", str(source), str(point), name]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout.readline() == "ready\n"
        yield (point.parent / "STUCK").touch
    finally:
        server.kill()
        server.communicate()
        LIBC.umount2(str(point).encode(), MNT_DETACH)


def main():
    source, point, name = sys.argv[1:]
    server = Server(Path(source), Path(point), name)
    print("ready", flush=True)
    server.serve()


if __name__ == "__main__":
    main()
