"""What runs left unexplained of their ranks' time, in every test that lets some run."""

from harness.analysis.epoch import epochs_of
from harness.analysis.losses import compute_losses
from harness.analysis.selfcheck import is_unexplained
from harness.recordings import read_recording


def check_rest(place):
    """Fail if a complete run below `place` cannot explain where its ranks' time went.

    Or if one that is there cannot be read: a test that spoils it on purpose is marked so.
    """
    for path in place.rglob("worker.json"):
        recording = read_recording(path.parent)
        if recording.worker.status == "ok":
            _check(recording, path.parent)


def _check(recording, directory):
    for own in compute_losses(recording, epochs_of(recording, warmup_epochs=0)):
        said = f"{directory}, rank {own.rank}: rest {own.rest:,} of {own.wall:,} ns"
        assert not is_unexplained(own), said
