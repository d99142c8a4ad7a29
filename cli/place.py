"""What a command works on: the service over HTTP, or, for the operator, its database and store."""

import argparse
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from core.contract.errors import NotFound

if TYPE_CHECKING:  # a command pays only for what it uses
    from core.db.engine import Session
    from core.objects.store import Store
    from local.stack import Stack

HOME = Path(".palate")


def add_home(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--home", type=Path, default=HOME, metavar="DIR", help="the folder of `palate up` (.palate)")


def parts(home: Path) -> Mapping[str, str]:
    """DATABASE_URL and the store's settings of the environment, else those of the home's running stack."""
    if os.environ.get("DATABASE_URL"):
        return os.environ
    return _stack(home).environment


def owner_url(home: Path) -> str:
    """Of the database, by the role that may change its schema."""
    return os.environ.get("DATABASE_URL") or _stack(home).postgres.owner_url


def _stack(home: Path) -> "Stack":
    from local.home import Home
    from local.stack import Stack

    if not Home(home).is_running:
        raise NotFound(
            f"Palate does not run in {home.absolute()}; start it with `palate up`, or set DATABASE_URL "
            "to work on another deployment."
        )
    return Stack.running(home)


@contextmanager
def session(home: Path) -> Iterator["Session"]:
    """One transaction on the deployment's database."""
    from core.db import engine

    engine.configure(engine.make_engine(parts(home)["DATABASE_URL"]))
    try:
        with engine.transaction() as opened:
            yield opened
    finally:
        engine.configure(None)


@contextmanager
def store(home: Path) -> Iterator["Store"]:
    from core.objects.store import Store
    from core.settings import Parts

    known = parts(home)
    named = Parts.model_validate({"redis_url": "", **{name.lower(): value for name, value in known.items()}})
    opened = Store(
        endpoint_url=named.s3_endpoint_url,
        bucket=named.s3_bucket,
        region=named.s3_region,
        path_style=named.s3_path_style,
        access_key=known.get("AWS_ACCESS_KEY_ID"),
        secret_key=known.get("AWS_SECRET_ACCESS_KEY"),
    )
    try:
        yield opened
    finally:
        opened.close()
