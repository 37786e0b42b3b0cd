"""Whether a wait for storage may be the client's own doing. Pure."""

from typing import Final

from harness.analysis.ceiling import Ceiling, client_au
from harness.analysis.demand import Demand
from harness.analysis.machine import MachineUse
from harness.analysis.wording import percent, rate

# With less idle time on its cores, a client that waits may have had no core to ask with.
IDLE_SHARE: Final = 0.1
# Over cached data, less than this part of the lost time must be left.
REMAINING_SHARE: Final = 0.5


def doubt(machine: MachineUse, ceiling: Ceiling, demand: Demand, au: float | None) -> str | None:
    """Return why storage cannot be blamed alone, None where it can.

    A ceiling that was not measured raises no doubt; cores whose idle time is unknown do.

    Args:
        machine: in the measured windows.
        ceiling: of this client.
        demand: of the run.
        au: of the run.
    """
    if machine.idle_share is None:
        return "whether this client's cores were idle meanwhile is unknown"
    if machine.idle_share < IDLE_SHARE:
        return f"this client's cores were idle for {percent(machine.idle_share)} of it only"
    remains = remaining_share(ceiling, demand, au)
    if remains is not None and remains > REMAINING_SHARE:
        return f"over cached data the same run reaches AU {percent(client_au(ceiling, demand))}"
    return None


def remaining_share(ceiling: Ceiling, demand: Demand, au: float | None) -> float | None:
    """Return the share of the lost time that would be lost over cached data, too.

    Lost time per declared time is 1 / AU - 1.
    """
    best = client_au(ceiling, demand)
    if not best or not au or au >= 1:
        return None
    return (1 / best - 1) / (1 / au - 1)


def client_remark(ceiling: Ceiling, demand: Demand, threshold_au: float) -> str | None:
    """Return what is to be said of a client that would miss the mark over cached data as well."""
    best = client_au(ceiling, demand)
    if best is None or best >= threshold_au:
        return None
    return (
        f"This client would not reach {percent(threshold_au)} over cached data either: "
        f"AU {percent(best)}, {rate(ceiling.bandwidth_bytes_per_s)}."
    )
