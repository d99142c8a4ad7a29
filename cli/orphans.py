"""Objects in the store that no row names, that are not under way, and that nothing is to remove."""

from collections.abc import Iterator

from core.db import stored
from core.db.engine import Session
from core.objects import keys
from core.objects.store import Store


def find(session: Session, store: Store) -> list[str]:
    """Their keys, and those of multipart uploads of which the same is true.

    The store is listed before the rows are read: what comes meanwhile is not in the list, and what goes is looked for
    again.
    """
    listed = [each.key for each in store.list("")]
    unfinished = [each.key for each in store.unfinished()]
    promised = {each.key for each in stored.promised(session, keys.canonical)}
    awaited = stored.awaited(session)
    in_order = awaited.subjects | {keys.canonical(digest) for digest in awaited.canonical}
    in_order |= {keys.attempt(*each) for each in awaited.attempts} | {keys.logs(*each) for each in awaited.logs}
    found = [key for key in listed if key not in promised and in_order.isdisjoint(names(key))]
    uploads = [key for key in unfinished if in_order.isdisjoint(names(key))]
    return [key for key in found if store.head(key) is not None] + [f"{key} (an unfinished upload)" for key in uploads]


def names(key: str) -> Iterator[str]:
    """The key and its folders."""
    yield key
    parts = key.split("/")
    for depth in range(1, len(parts)):
        yield "/".join(parts[:depth]) + "/"
