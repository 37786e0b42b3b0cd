"""Waiting for what another process does, never for ever."""

import time


def wait_until(condition, what, timeout_s=30, pause_s=0.01):
    """Return when `condition()` is true; fail, naming `what`, where it never is."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(pause_s)


def wait_for_file(path, child):
    """Return when `path` exists; fail where `child`, who makes it, has ended without."""

    def there():
        ended = child.poll() is not None
        exists = path.exists()
        assert exists or not ended, f"ended with {child.returncode} before it made {path}"
        return exists

    wait_until(there, path, pause_s=0.0005)
