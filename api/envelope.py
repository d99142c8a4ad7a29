"""Around every request: an id, an answer to what nobody caught, and a refusal that the client gets to read."""

import asyncio
import logging
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import safe
from api.errors import envelope, response_of
from api.hosts import Hosts
from api.rates import Standing
from core import ids
from core.contract.errors import Unavailable

log = logging.getLogger(__name__)

NOT_SERVED = (
    "This host or origin is not served here; the operator names those that are, beside localhost and 127.0.0.1, in "
    "PALATE_ALLOWED_HOSTS."
)
DRAIN_BYTES = 64 << 20
DRAIN_SECONDS = 5.0


class Envelope:
    """ASGI middleware; streams pass through it untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        hosts: Hosts | None = scope["app"].state.hosts
        try:
            if hosts is not None and not hosts.serves(scope["headers"]):
                await envelope(421, NOT_SERVED, "host_not_served")(scope, exchange.receive, exchange.send)
            elif "\0" in scope["path"] or b"%00" in scope["query_string"]:
                refusal = envelope(400, "A NUL character is in the address.", "invalid_value")
                await refusal(scope, exchange.receive, exchange.send)
            else:
                await self.app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            log.info("%s: %s %s: the client left", exchange.id, scope["method"], scope["path"])
        except asyncio.CancelledError:
            log.warning("%s: %s %s: cut off, the service stops", exchange.id, scope["method"], scope["path"])
            if exchange.started:
                raise
            await stopped()(scope, exchange.receive, exchange.send)
        except Exception:
            log.exception("%s: %s %s: not caught", exchange.id, scope["method"], scope["path"])
            if exchange.started:
                raise
            message = f"Something went wrong here; the operator finds it in the log under {exchange.id}."
            await envelope(500, message, "internal_error")(scope, exchange.receive, exchange.send)


def stopped() -> JSONResponse:
    return response_of(Unavailable("The service stops; send the request again.", code="stopping"))


class Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.id = ids.new("req_")
        self.started = False
        self._scope = scope
        self._receive = receive
        self._send = send
        self._stopping: asyncio.Event = scope["app"].state.services.stopping
        headers = Headers(scope=scope)
        self._waits_for_go = headers.get("expect", "").lower() == "100-continue"
        self._body_left = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers

    async def receive(self) -> Message:
        message = await self._receive()
        self._waits_for_go = False
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._body_left = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.id
            if message["status"] >= 400 and self._body_left:
                if message["status"] != 408 and not self._waits_for_go and not self._stopping.is_set():
                    await self._drain()
                if self._body_left:
                    headers["connection"] = "close"
            if self._stopping.is_set():
                headers["connection"] = "close"
            standing: Standing | None = self._scope.get("state", {}).get("standing")
            if standing is not None:
                message["headers"] += standing.headers()
            safe.add(message["headers"])
            self.started = True
        await self._send(message)

    async def _drain(self) -> None:
        """A client that still sends reads the answer only afterwards; without this it would see a reset."""
        deadline = time.monotonic() + DRAIN_SECONDS
        dropped = 0
        while self._body_left and dropped < DRAIN_BYTES:
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    message = await self.receive()
            except TimeoutError:
                return
            dropped += len(message.get("body", b""))
