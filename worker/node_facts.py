"""What this node is to planning: its devices, the memory of one slot, and how fast its jobs ran."""

import logging
import os
import statistics
from functools import cache
from pathlib import Path
from typing import Any

from core import settings
from core.contract.errors import Unavailable
from core.contract.run_spec import Inspection, RunSpec
from core.db import nodes
from core.db.engine import transaction
from planning import facts as model_facts
from planning.node import NodeFacts, Rate
from planning.time import work
from worker import calibration, devices, isolation
from worker.pace import Pace

log = logging.getLogger(__name__)
# Steps whose times say nothing: the first ones fill caches.
WARM_UP, LEAST_STEPS = 3, 8


@cache
def facts() -> NodeFacts:
    own = settings.worker()
    slots = len(devices.names())
    if found := devices.gpus():
        least = min(found, key=lambda gpu: gpu.memory)
        return NodeFacts(name=own.node, device="cuda", device_name=least.name, slots=slots, memory_bytes=least.memory)
    return NodeFacts(name=own.node, slots=slots, memory_bytes=memory())


def told() -> dict[str, Any]:
    """What the node's row shall hold; what was measured in jobs, and not yet measured, stays as it is there."""
    found = facts().model_dump(exclude={"rates", "calibration"}) | {"isolation": isolation.told()}
    costs = calibration.known()
    return found if costs is None else found | {"calibration": costs.model_dump()}


def memory() -> int:
    """Bytes of this machine, or of the container that we are in."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = Path("/sys/fs/cgroup/memory.max")
    told = limit.read_text().strip() if limit.is_file() else "max"
    return min(whole, int(told)) if told.isdigit() else whole


def measured(spec: RunSpec, stored: dict[str, object], inspection: Inspection, pace: Pace) -> None:
    """Keeps how long a finished job took, for later forecasts; no job fails for want of it."""
    known, seconds = model_facts.known(stored), pace.seconds
    if known is None or len(seconds) < LEAST_STEPS + WARM_UP:
        return
    rate = Rate(
        parameters=known.parameters,
        precision=spec.settings.precision,
        lora=spec.settings.lora is not None,
        ranks=spec.world_size,
        work=work(known, spec.settings, inspection, ranks=spec.world_size, row_tokens=spec.row_tokens),
        seconds=statistics.median(seconds[WARM_UP:]),
        start=pace.start,
        end=pace.end,
    )
    try:
        with transaction() as session:
            nodes.add_rate(session, settings.worker().node, rate.model_dump())
    except Unavailable as error:
        log.warning("what was measured is not kept: %s", error)
