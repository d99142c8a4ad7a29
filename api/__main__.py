"""The API as a process, or several (PALATE_PROCESSES): python -m api --host 127.0.0.1 --port 8000"""

import argparse
import logging
import signal
import sys
from functools import partial
from typing import Any, cast

import uvicorn

from api import hosts, several
from api.addresses import trusted
from api.admission import Admission, raise_descriptors
from api.app import create_app
from api.connection import Connection
from api.server import KEEP_ALIVE_SECONDS, Server
from core import landlock, settings
from core.contract.errors import BadInput

log = logging.getLogger("uvicorn.error")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--access-log", action="store_true", help="a line a request")
    asked = parser.parse_args()
    landlock.hide()
    limits, app = settings.api(), create_app()
    try:
        proxies, app.state.hosts = trusted(limits.trusted_proxies), hosts.served(asked.host, limits.allowed_hosts)
    except BadInput as error:
        sys.exit(error.message)
    descriptors = raise_descriptors()
    admission = Admission(min(limits.max_connections, descriptors // 2), app.state.refusals)
    config = uvicorn.Config(
        app,
        host=asked.host,
        port=asked.port,
        log_level=asked.log_level,
        access_log=asked.access_log,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        http=cast(type[Any], partial(Connection, admission=admission)),
        ws="none",
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
    )
    if descriptors // 2 < limits.max_connections:
        log.warning(
            "%d connections at once, not %d: this process may open %d descriptors (ulimit -n)",
            descriptors // 2,
            limits.max_connections,
            descriptors,
        )
    listener = config.bind_socket()
    if limits.processes > 1:
        several.fork(limits.processes, listener)
    for each in (signal.SIGTERM, signal.SIGINT):
        # uvicorn takes the signal while it serves, and raises it again when it has stopped in order.
        signal.signal(each, lambda *_: sys.exit(0))
    Server(config, app, limits).run([listener])


if __name__ == "__main__":
    main()
