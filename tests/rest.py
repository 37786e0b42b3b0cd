"""What runs left unexplained of their ranks' time, in every test that lets some run."""

from harness.analysis.epoch import epochs_of
from harness.analysis.losses import compute_losses
from harness.analysis.selfcheck import REST_LIMIT
from harness.errors import ResultError
from harness.recordings import read_recording


def check_rest(place):
    """Fail if a complete run below `place` cannot explain where its ranks' time went."""
    for path in place.rglob("worker.json"):
        try:
            recording = read_recording(path.parent)
        except ResultError:  # what tests spoil on purpose is no run
            continue
        if recording.worker.status == "ok":
            for own in compute_losses(recording, epochs_of(recording, warmup_epochs=0)):
                share = own.rest / own.wall if own.wall else 0
                assert abs(share) <= REST_LIMIT, f"{path.parent}, rank {own.rank}: rest {share:.2%}"
