"""`palate doctor`: does all hold that must hold? On the live database, and on each object that a row promises."""

import argparse
import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING

from cli import place
from cli.bar import counted

if TYPE_CHECKING:
    from core.db.stored import Promised
    from core.objects.store import Store

AT_ONCE = 16


def run(arguments: argparse.Namespace) -> int:
    """0 where all holds, 1 where something is broken; it changes nothing. Orphans cost space only."""
    from cli import orphans
    from cli.nodes import isolated
    from core.db import invariants, nodes, stored
    from core.objects import keys

    with place.session(arguments.home) as session:
        breaches = [asdict(breach) for breach in invariants.breaches(session)]
        wanted = set(stored.promised(session, keys.canonical))
        kept = {node.name: node.facts.get("isolation") for node in nodes.known(session)}
    with place.store(arguments.home) as store:
        lost = examine(store, wanted, arguments.read)
        with place.session(arguments.home) as session:
            left = orphans.find(session, store)
    if lost:
        # What was deleted while we looked is not missing.
        with place.session(arguments.home) as session:
            still = set(stored.promised(session, keys.canonical))
        lost = {each: why for each, why in lost.items() if each in still}
    objects = [{"key": each.key, "by": each.by, "problem": why} for each, why in sorted(lost.items(), key=by_key)]
    if arguments.json:
        told = {"invariants": breaches, "objects": objects, "objects_examined": len(wanted), "orphans": left}
        told["isolation"] = kept
        print(json.dumps(told, indent=1))
        return int(bool(breaches or objects))
    for breach in breaches:
        print(f"BROKEN {breach['code']}: {breach['sentence']} {breach['count']} breaches:")
        print("\n".join(f"  {row}" for row in breach["rows"]))
    for found in objects:
        print(f"BROKEN {found['key']} ({found['by']}): {found['problem']}")
    for key in left:
        print(f"ORPHAN {key}: no row names it, and nothing is to remove it")
    for node, told_of in kept.items():
        if told_of is not None and told_of["lacks"]:
            print(f"NODE {node}: {isolated(told_of)}")
    how = "read" if arguments.read else "asked for"
    print(f"{len(invariants.INVARIANTS)} invariants, {len(wanted)} objects {how}: ", end="")
    print(f"{len(breaches)} and {len(objects)} broken." if breaches or objects else "all hold.")
    return int(bool(breaches or objects))


def examine(store: "Store", wanted: Iterable["Promised"], read: bool) -> "dict[Promised, str]":
    """What is wrong with each object that is not what its row says."""
    known = list(wanted)
    with ThreadPoolExecutor(AT_ONCE) as pool, counted("objects", len(known)) as advance:
        found = {}
        for each, why in zip(known, pool.map(lambda one: problem(store, one, read), known), strict=True):
            advance(1)
            if why:
                found[each] = why
    return found


def problem(store: "Store", each: "Promised", read: bool) -> str:
    """Empty where all is well."""
    size = store.head(each.key)
    if size is None:
        return "it is not in the store"
    if each.bytes is not None and size != each.bytes:
        return f"it has {size} bytes, and its row says {each.bytes}"
    if read and each.sha256:
        digest = hashlib.sha256()
        for chunk in store.get(each.key):
            digest.update(chunk)
        if digest.hexdigest() != each.sha256:
            return f"its sha256 is {digest.hexdigest()}, and its row says {each.sha256}"
    return ""


def by_key(found: "tuple[Promised, str]") -> str:
    return found[0].key
