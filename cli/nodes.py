"""`palate nodes`, `palate drain NODE`."""

import argparse
import time
from typing import Any

from cli import place

LOOK_SECONDS = 0.5


def page(arguments: argparse.Namespace) -> int:
    from core.db import nodes, seats

    with place.session(arguments.home) as session:
        held, faulty = seats.held(session), seats.faulty(session)
        for node in nodes.known(session):
            state = "draining" if node.draining else "takes work"
            mine = [(seat, running) for seat, running in held if seat.node == node.name]
            taken = f"{sum(len(seat.devices) for seat, _ in mine)} of {node.slots} slots"
            print(f"{node.name}  {taken}  {state}  {node.seen_at:%Y-%m-%d %H:%M:%S}")
            print(f"  {isolated(node.facts.get('isolation'))}")
            for device in sorted(device for name, device in faulty if name == node.name):
                print(f"  {device}: given to no job, it failed {seats.FAULTS} of them within the hour")
            for seat, running in mine:
                word = f"since {seat.opened_at:%Y-%m-%d %H:%M:%S}" if running else "has ended, and its ranks live on"
                print(f"  {', '.join(seat.devices)}: {seat.job_id}, attempt {seat.epoch}, {word}")
    return 0


def isolated(told: dict[str, Any] | None) -> str:
    """What a trainer on that node is kept from, in words."""
    if told is None:
        return "isolation: not told yet"
    if not told["abi"]:
        return "isolation: none; a trainer that is taken over reaches what the worker does (docs/isolation.md)"
    lacks = f"; not from {', '.join(told['lacks'])}" if told["lacks"] else ""
    return f"isolation: Landlock ABI {told['abi']}; trainers are kept from others' {', '.join(told['holds'])}{lacks}"


def drain(arguments: argparse.Namespace) -> int:
    from core.db import nodes, seats

    with place.session(arguments.home) as session:
        nodes.drain(session, arguments.node, on=not arguments.off)
    if arguments.off:
        print(f"{arguments.node} takes work again.")
        return 0
    print(f"{arguments.node} takes nothing more; its jobs leave a resume point and go on elsewhere.")
    before = None
    while arguments.wait:
        with place.session(arguments.home) as session:
            left = seats.used(session).get(arguments.node, 0)
        if left != before:
            print(f"{left} slots in use.", flush=True)
        if not left:
            break
        before = left
        time.sleep(LOOK_SECONDS)
    return 0
