"""A Unix socket in front of the engine's own, which can be cut to lose the daemon in mid-run."""

import contextlib
import socket
import threading

from harness.engine.client import DEFAULT_HOST

_CHUNK_BYTES = 1 << 16


class Relay:
    def __init__(self, path):
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._sockets = []

    def __enter__(self):
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.cut()

    def cut(self):
        self.path.unlink(missing_ok=True)
        for open_socket in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
            open_socket.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                daemon = socket.socket(socket.AF_UNIX)
                daemon.connect(DEFAULT_HOST.removeprefix("unix://"))
                self._sockets += [caller, daemon]
                for source, sink in ((caller, daemon), (daemon, caller)):
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pass(source, sink):
        with contextlib.suppress(OSError):
            while chunk := source.recv(_CHUNK_BYTES):
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_WR)
