"""One connection: before its request is whole it is bounded in bytes, lines and time, and costs next to nothing."""

import asyncio
from typing import Any, cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from api import safe
from api.addresses import party
from api.admission import LARGE_BYTES, SMALL_BYTES, Admission
from api.errors import envelope
from api.refusals import HEAD
from core import ids

# Of a head, of what stands between two pieces of a body, and of what follows its last one.
HEAD_BYTES = 64 << 10
HEADERS = 100
HEAD_SECONDS = 10.0
# Requests that were sent before the answer to the one before was there.
PIPELINED = 32
# Of an answer that is not read.
STALLED_SECONDS = 60.0

REFUSED = {
    400: ("invalid_http", "This is no HTTP request."),
    408: ("request_timeout", f"A request's head has to be here within {HEAD_SECONDS:g} seconds; send it again."),
    431: ("head_too_large", f"A request's head has at most {HEAD_BYTES >> 10} KiB and {HEADERS} headers."),
}


class TooMuch(Exception):
    """Raised within the parser."""


class Connection(HttpToolsProtocol):
    """uvicorn's, with bounds. `_framing`: bytes that came since the last one that was of a body or ended a message."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        admission: Admission,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.address = ""
        self._admission = admission
        self._framing = 0
        self._large = 0
        self._in_head = False
        self._in_body = False
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._unsent = 0

    @property
    def idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def evict(self) -> None:
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = party(self.client[0] if self.client else "")
        if self._admission.enter(self):
            self._hurry()
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._admission.leave(self)
        self._hold(0)
        self._rest()
        if self._stalled is not None:
            self._stalled.cancel()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        left = memoryview(data)
        try:
            while left and not self.transport.is_closing():
                piece = left[: HEAD_BYTES - self._framing]
                left = left[len(piece) :]
                self._framing += len(piece)
                self.parser.feed_data(piece)
                if self._framing >= HEAD_BYTES:
                    self._refuse(431)
        except httptools.HttpParserUpgrade:
            # Nothing else is spoken here; what follows is not taken for a request.
            self.cycle.keep_alive = False
        except httptools.HttpParserError as error:
            self._refuse(431 if isinstance(error.__context__, TooMuch) else 400)
        if self.idle and (self._framing or self._in_head or self._in_body):
            self._hold(self._framing if self._in_head else 0)
            self._hurry()

    # What the parser calls.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            return  # a trailer: nobody here asks for one
        if len(self.headers) >= HEADERS:
            raise TooMuch
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= PIPELINED:
            raise TooMuch
        self._in_head, self._in_body, self._framing = False, True, 0
        self._hold(0)
        self._rest()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._framing = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body, self._framing = False, 0
        super().on_message_complete()

    # What the answer's end, and an answer that is not read, call.

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.idle and not self.transport.is_closing():
            self._admission.rests(self)
            if self._framing or self._in_head or self._in_body:
                self._unset_keepalive_if_required()
                self._hurry()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent = self.transport.get_write_buffer_size()
        self._stalled = self.loop.call_later(STALLED_SECONDS, self._look_at_stalled)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400)

    def _look_at_stalled(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent >= self._unsent:
            self.transport.abort()
            return
        self._unsent = unsent
        self._stalled = self.loop.call_later(STALLED_SECONDS, self._look_at_stalled)

    def _hurry(self) -> None:
        if self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self.idle:
            self._refuse(408 if self._in_head else None)

    def _hold(self, size: int) -> None:
        """Of a head that goes on: small ones are everybody's right, what is beyond that is drawn from one pool."""
        large = max(0, size - SMALL_BYTES)
        if large > self._large and self._admission.large + large - self._large > LARGE_BYTES:
            self._refuse(431)
            large = 0
        self._admission.large += large - self._large
        self._large = large

    def _refuse(self, status: int | None) -> None:
        """Answered where no other answer is under way; None: without a word."""
        if self.transport.is_closing():
            return
        if status is not None:
            self._admission.refusals.count(self.address, HEAD)
            if self.idle:
                self.transport.write(answer(status))
        self.transport.close()


def answer(status: int) -> bytes:
    code, message = REFUSED[status]
    body = cast(bytes, envelope(status, message, code).body)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        (b"x-request-id", ids.new("req_").encode()),
    ]
    safe.add(headers)
    return STATUS_LINE[status] + b"".join(name + b": " + value + b"\r\n" for name, value in headers) + b"\r\n" + body
