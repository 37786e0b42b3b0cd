"""The table of what the client did meanwhile, and of what it could do."""

from harness.analysis.machine import Stalls
from harness.analysis.result import Result
from harness.analysis.wording import UNKNOWN, percent, rate
from harness.report.table import Table


def client_table(result: Result) -> Table:
    """Return idle cores, stalls, and the two figures of cached data."""
    machine, ceiling = result.machine, result.ceiling
    cores = UNKNOWN if machine.cores is None else f"{machine.cores:g}"
    steps = "" if ceiling.steps is None else f" ({ceiling.steps} steps)"
    why = f" Over cached data: {ceiling.reason}." if ceiling.reason else ""
    return Table(
        caption="This client, in the measured windows: a stall is time in which some task, or all, "
        f"waited for the resource. Source: {machine.pressure_source}. Over cached data: the same "
        f"ranks, batches and profile, and the same reads without compute.{why}",
        head=("Client", "Some", "All"),
        rows=(
            (f"idle time of {cores} cores", percent(machine.idle_share), ""),
            _stalls("stalls for a core", machine.cpu),
            _stalls("stalls for input and output", machine.io),
            _stalls("stalls for memory", machine.memory),
            (f"AU over cached data{steps}", percent(ceiling.au), ""),
            (
                "bandwidth of cached data, without compute",
                rate(ceiling.bandwidth_bytes_per_s),
                "",
            ),
        ),
    )


def _stalls(name: str, stalls: Stalls) -> tuple[str, str, str]:
    return name, percent(stalls.some), percent(stalls.full)
