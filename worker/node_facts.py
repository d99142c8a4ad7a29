"""What this node is to planning: its devices, the memory of one slot, and how fast its jobs ran."""

import logging
import os
import statistics
import subprocess
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
from worker import calibration
from worker.pace import Pace

log = logging.getLogger(__name__)
ASK_SECONDS = 10.0
# Steps whose times say nothing: the first ones fill caches.
WARM_UP, LEAST_STEPS = 3, 8


@cache
def facts() -> NodeFacts:
    own = settings.worker()
    gpu = nvidia()
    if gpu is not None:
        return NodeFacts(name=own.node, device="cuda", device_name=gpu[0], slots=own.slots, memory_bytes=gpu[1])
    return NodeFacts(name=own.node, slots=own.slots, memory_bytes=memory())


def told() -> dict[str, Any]:
    """What the node's row shall hold; what was measured in jobs, and not yet measured, stays as it is there."""
    found = facts().model_dump(exclude={"rates", "calibration"})
    costs = calibration.known()
    return found if costs is None else found | {"calibration": costs.model_dump()}


def memory() -> int:
    """Bytes of this machine, or of the container that we are in."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = Path("/sys/fs/cgroup/memory.max")
    told = limit.read_text().strip() if limit.is_file() else "max"
    return min(whole, int(told)) if told.isdigit() else whole


def nvidia() -> tuple[str, int] | None:
    """Name and bytes of memory of the smallest GPU; None where there is none, or none is shown to us."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return None
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=ASK_SECONDS, check=True).stdout
        found = [
            (name.strip(), int(mebibytes) << 20)
            for name, mebibytes in (line.split(",") for line in told.split("\n") if line)
        ]
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return min(found, key=lambda gpu: gpu[1], default=None)


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
