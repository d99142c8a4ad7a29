"""Whether this process lives, and whether it can work."""

from typing import Literal

from pydantic import BaseModel


class Alive(BaseModel):
    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """Each dependency: `ok`, or what is wrong with it. `api` is `stopping` when this process takes no more."""

    ready: bool = False
    database: str
    store: str
    queue: str
    api: str
