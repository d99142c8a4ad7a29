"""`palate nodes`, `palate drain NODE`."""

import argparse
import time

from cli import place

LOOK_SECONDS = 0.5


def page(arguments: argparse.Namespace) -> int:
    from core.db import nodes

    with place.session(arguments.home) as session:
        used = nodes.used(session)
        for node in nodes.known(session):
            state = "draining" if node.draining else "takes work"
            taken = f"{used.get(node.name, 0)} of {node.slots} slots"
            print(f"{node.name}  {taken}  {state}  {node.seen_at:%Y-%m-%d %H:%M:%S}")
    return 0


def drain(arguments: argparse.Namespace) -> int:
    from core.db import nodes

    with place.session(arguments.home) as session:
        nodes.drain(session, arguments.node, on=not arguments.off)
    if arguments.off:
        print(f"{arguments.node} takes work again.")
        return 0
    print(f"{arguments.node} takes nothing more; its jobs leave a resume point and go on elsewhere.")
    before = None
    while arguments.wait:
        with place.session(arguments.home) as session:
            left = nodes.used(session).get(arguments.node, 0)
        if left != before:
            print(f"{left} slots in use.", flush=True)
        if not left:
            break
        before = left
        time.sleep(LOOK_SECONDS)
    return 0
