"""Two tenants of one service: what one holds, the other still gets."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tests.integration.api.conftest import Server, Tenant, error_of, until

FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
# Of PALATE_INTAKE_PLACES 8 (conftest).
SHARE = 4


@contextmanager
def slow_upload(server: Server, tenant: Tenant) -> Iterator[socket.socket]:
    """Begun, and as long as this one is open not ended."""
    told = f"Host: 127.0.0.1\r\nAuthorization: Bearer {tenant.token}\r\nContent-Length: 9000000\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as wire:
        wire.sendall(f"POST /v1/files HTTP/1.1\r\n{told}Content-Type: multipart/form-data; boundary=b\r\n\r\n".encode())
        wire.sendall(FORM + b"x" * 1_000)
        yield wire


def test_uploads_of_one_project_leave_places_to_another(server: Server, tenants: Callable[[], Tenant]) -> None:
    """With a trickle a place was held for as long as the largest file lasts, and all of them by one project."""
    greedy, other = tenants(), tenants()
    assert greedy.upload()
    assert other.upload()

    def held() -> bool:
        with ExitStack() as opened:
            wires = [opened.enter_context(slow_upload(server, greedy)) for _ in range(SHARE)]
            refused = greedy.http.post("/v1/files", data={"purpose": "fine-tune"}, files={"file": ("x", b"x")})
            if refused.status_code != 503:
                return False  # it came before them, or so late that they had been refused
            assert error_of(refused)["code"] == "busy"
            assert "4 of the 4 places for uploads that one project may hold" in error_of(refused)["message"]
            assert 0 < int(refused.headers["retry-after"]) < 60
            assert other.upload()
            for wire in wires:
                assert wire.recv(1_000).startswith(b"HTTP/1.1 408"), "who sends hardly anything loses his place"
            return True

    until(held)
    assert greedy.upload()
