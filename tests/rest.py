"""What runs left unexplained of their ranks' time, in every test that lets some run."""

from harness.analysis.epoch import epochs_of
from harness.analysis.losses import compute_losses
from harness.analysis.selfcheck import REST_LIMIT
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
        share = own.rest / own.wall if own.wall else 0
        assert abs(share) <= REST_LIMIT, f"{directory}, rank {own.rank}: rest {share:.2%}"
