"""A Unix socket in front of the engine's own, which can be cut to lose the daemon in mid-run."""

import contextlib
import socket
import threading

from harness.engine.client import DEFAULT_HOST

_CHUNK_BYTES = 1 << 16


class Relay:
    def __init__(self, path):
        self.path = path
        self.is_cut = False
        self._lock = threading.Lock()
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
        """Lose the daemon: no call goes on, and none comes through any more."""
        self.path.unlink(missing_ok=True)
        with self._lock:
            self.is_cut = True
            _close(self._listener)
        self.drop()

    def drop(self):
        """Break the calls that are under way; new ones come through."""
        with self._lock:
            for open_socket in self._sockets:
                _close(open_socket)
            self._sockets.clear()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                daemon = socket.socket(socket.AF_UNIX)
                daemon.connect(DEFAULT_HOST.removeprefix("unix://"))
                with self._lock:
                    if self.is_cut:  # it was let in meanwhile, and would outlive the daemon
                        caller.close()
                        daemon.close()
                        return
                    self._sockets += [caller, daemon]
                for source, sink in ((caller, daemon), (daemon, caller)):
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pass(source, sink):
        with contextlib.suppress(OSError):
            while chunk := source.recv(_CHUNK_BYTES):
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_WR)


def _close(open_socket):
    with contextlib.suppress(OSError):
        open_socket.shutdown(socket.SHUT_RDWR)
    open_socket.close()
