"""The service over HTTP: where it is, who asks, and its errors as sentences."""

import ipaddress
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from core.contract.errors import NotFound, PalateError, Unavailable

# What a terminal obeys, or by which it shows text in another order; line ends and tabs are text.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
TIMEOUT = httpx.Timeout(60.0, connect=5.0)


class Refused(PalateError):
    """The service's own words."""


class Service:
    """`with Service.of(home) as service:`"""

    def __init__(self, base_url: str, api_key: str) -> None:
        self.base_url = base_url.rstrip("/")
        self._client = httpx.Client(
            headers={"authorization": f"Bearer {api_key}"},
            timeout=TIMEOUT,
            follow_redirects=True,
            # A proxy of the environment does not know this machine's own addresses.
            trust_env=not is_loopback(httpx.URL(self.base_url).host),
        )

    @classmethod
    def of(cls, home: Path) -> Self:
        """PALATE_BASE_URL and PALATE_API_KEY, else connection.json of the home.

        Never a key of the one with the address of the other: the current folder's home may be a stranger's.
        """
        from local.home import Home

        url, key = os.environ.get("PALATE_BASE_URL"), os.environ.get("PALATE_API_KEY")
        if url and not key:
            raise NotFound("PALATE_BASE_URL is set, but not PALATE_API_KEY; `palate keys create` makes a key.")
        if key and not url:
            raise NotFound(
                "PALATE_API_KEY is set, but not PALATE_BASE_URL, the address that the key is for; set both, or neither."
            )
        if url and key:
            return cls(url, key)
        connection = Home(home).connection_of()
        return cls(connection.base_url, connection.api_key.get_secret_value())

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """Without what a terminal would obey, at any depth."""
        found: dict[str, Any] = cleaned(self.raw(path, **query))
        return found

    def raw(self, path: str, **query: Any) -> dict[str, Any]:
        """As the service sent it: for names that are refused, not shown."""
        return self._json("GET", path, params=query)

    def post(self, path: str, **request: Any) -> dict[str, Any]:
        found: dict[str, Any] = cleaned(self._json("POST", path, **request))
        return found

    def _json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        with self._answers():
            answer = self._client.request(method, self.base_url + path, **request)
        self._refuse(answer)
        found: dict[str, Any] = answer.json()
        return found

    @contextmanager
    def stream(self, path: str) -> Iterator[Iterator[bytes]]:
        """The body in chunks; a redirect to the store is followed without the key."""
        with self._answers(), self._client.stream("GET", self.base_url + path) as answer:
            if answer.is_error:
                answer.read()
            self._refuse(answer)
            yield answer.iter_bytes()

    @contextmanager
    def _answers(self) -> Iterator[None]:
        try:
            yield
        except (httpx.TransportError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(
                f"Palate does not answer at {self.base_url} ({reason}); start it with `palate up`."
            ) from error

    def _refuse(self, answer: httpx.Response) -> None:
        if not answer.is_error:
            return
        try:
            error = answer.json()["error"]
            message, code = str(error["message"]), error["code"]
        except (ValueError, KeyError, TypeError):
            message, code = f"{answer.url} answered {answer.status_code} {answer.reason_phrase}.", None
        kind = Unavailable if answer.status_code == 503 else Refused
        raise kind(cleaned(message), code=cleaned(code))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()


def cleaned(value: Any) -> Any:
    """JSON whose texts a terminal may show."""
    if isinstance(value, str):
        return CONTROL.sub("\ufffd", value)
    if isinstance(value, dict):
        return {cleaned(name): cleaned(each) for name, each in value.items()}
    return [cleaned(each) for each in value] if isinstance(value, list) else value


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
