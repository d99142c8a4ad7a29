"""A worker does not work on a schema that is older than itself."""

import logging
import time

from core.contract.errors import Unavailable
from core.db import migrate
from core.db.engine import engine

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0


def require() -> None:
    """Waits for the database, however long; an older schema ends the process with a word on what to do."""
    while True:
        try:
            migrate.check(engine())
            return
        except Unavailable as error:
            log.warning("the worker waits: %s", error)
            time.sleep(LOOK_SECONDS)
        except migrate.SchemaOlder as error:
            raise SystemExit(error.message) from error
