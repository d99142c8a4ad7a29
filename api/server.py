"""Stopping without one lost request."""

import asyncio
import socket
from functools import partial

import uvicorn
from fastapi import FastAPI

from api.deps import Services
from core.settings import ApiSettings

# Longer than clients keep theirs: a server that closes first may do so while a request is on its way.
KEEP_ALIVE_SECONDS = 75
LOOK_SECONDS = 0.05


class Server(uvicorn.Server):
    """On SIGTERM: no new connection, at once, so that a successor may have the port; waiting GETs answer; each further
    answer closes its connection; silent connections are closed after `linger_seconds`, whatever still runs is cut off
    at `stop_seconds`.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, limits: ApiSettings) -> None:
        config.timeout_graceful_shutdown = max(1, round(limits.stop_seconds - limits.linger_seconds))
        super().__init__(config)
        self._app = app
        self._linger = limits.linger_seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._stop_listening(sockets or [])
        services: Services = self._app.state.services
        services.stopping.set()
        services.waiters.release()
        loop = asyncio.get_running_loop()
        silent_until = loop.time() + self._linger
        while self.server_state.connections and loop.time() < silent_until and not self.force_exit:
            await asyncio.sleep(LOOK_SECONDS)
        await super().shutdown(sockets)

    async def _stop_listening(self, sockets: list[socket.socket]) -> None:
        """Takes in who is connected for the kernel, and not yet for us: closing a listener resets those."""
        held = [each.dup() for each in sockets]
        for server in self.servers:
            server.close()
        waiting = [connection for each in held for connection in _drained(each, self.config.backlog)]
        made_with = {"config": self.config, "server_state": self.server_state, "app_state": self.lifespan.state}
        protocol = partial(self.config.http_protocol_class, **made_with)
        for connection in waiting:
            await asyncio.get_running_loop().connect_accepted_socket(protocol, connection)


def _drained(listener: socket.socket, most: int) -> list[socket.socket]:
    """What was in its queue; it is closed between two of the kernel's breaths after the last one."""
    found: list[socket.socket] = []
    with listener:
        listener.setblocking(False)
        while len(found) < most:
            try:
                found.append(listener.accept()[0])
            except BlockingIOError:
                break
    return found
