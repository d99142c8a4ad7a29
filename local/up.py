"""`palate up`: the whole service in the foreground, its data in one folder."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import httpx
from pydantic import SecretStr

from core.contract.errors import Unauthenticated
from core.db import engine as db
from core.db import keys, projects
from core.db.migrate import upgrade
from local import dependents, logs, programs
from local.child import PRIVATE, Child
from local.home import Connection, Home, Memory, choose_port
from local.kept import Kept, say
from local.stack import Stack

PROJECT = "default"
READY_SECONDS = 120.0
LOOK_SECONDS = 0.05
LOGS_SECONDS = 5.0
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
INTERRUPTED = 130
TOLD = (
    "{file} could be read by other users of this machine until now. It is closed, but the keys in it are the same: "
    "make new ones with `palate keys create`, and revoke the old ones, or begin a new home."
)


def run(path: Path, host: str, port: int) -> int:
    """Until a signal ends it. From the main thread: every child dies with the thread that made it."""
    os.umask(PRIVATE)
    home = Home(path)
    with home.locked():
        for file in home.seen:
            say(TOLD.format(file=file))
        home.disconnect()  # a killed one leaves its own behind
        return Service(home, host, port).run()


class Interrupted(BaseException):
    """A signal came before everything was started."""


class Signals:
    """The first asks to stop in order, the second to stop at once."""

    def __init__(self) -> None:
        self.count = 0
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(each) is not signal.SIG_IGN:
                signal.signal(each, self._take)

    def _take(self, *_: object) -> None:
        self.count += 1

    def check(self) -> None:
        """For the waits of the start. The handler itself must not raise: it may run in any callback."""
        if self.count:
            raise Interrupted

    def hurry(self) -> bool:
        return self.count > 1


class Service:
    def __init__(self, home: Home, host: str, port: int) -> None:
        self.home = home
        self.host = host
        self.asked_port = port
        self.lifeline = dependents.lifeline()
        self.signals = Signals()
        self.children: list[Child] = []

    def run(self) -> int:
        self.home.disconnect()  # what a killed predecessor left
        self.stack = Stack(self.home.path)
        try:
            with contextlib.suppress(Interrupted):
                self.start()
                self.keep()
        finally:
            self.stop()
        return INTERRUPTED if self.signals.hurry() else 0

    def start(self) -> None:
        """Parts, schema, key, then API and worker; returns when the API can do work."""
        memory = self.home.recall()
        memory.port = choose_port(self.asked_port, memory.port, self.host)
        self.stack.start(self.signals.check)
        upgrade(self.stack.postgres.owner_url)
        memory.api_key = project_key(self.stack.environment["DATABASE_URL"], memory)
        self.home.remember(memory)
        known = programs.environment(self.home.path, self.stack.environment, memory.node)
        self.api = programs.api(self.home.path, known, self.host, memory.port)
        self.celery = programs.celery(self.home.path, known, self.lifeline)
        for child in (self.api, self.celery):
            self.children.append(child)
            child.start()
        root = address(self.host, memory.port)
        self.wait_until_ready(root)
        self.home.connect(Connection(base_url=f"{root}/v1", api_key=SecretStr(memory.api_key)))
        # The key itself would stand in a log, and in the journal of who runs this as a service.
        print(f"Palate is ready: {root}/v1\nIts address and an API key are in {self.home.connection}", flush=True)

    def wait_until_ready(self, root: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        with httpx.Client(timeout=5, trust_env=False) as client:
            while True:
                self.signals.check()
                for child in self.children:
                    if not child.alive:
                        raise child.failure()
                with contextlib.suppress(httpx.TransportError):
                    if client.get(f"{root}/readyz").status_code == 200:
                        return
                if time.monotonic() > deadline:
                    raise self.api.failure()
                time.sleep(LOOK_SECONDS)

    def keep(self) -> None:
        """Until a signal comes: who dies is started again."""
        kept = [Kept(part.child, part.start) for part in self.stack.parts]
        kept += [Kept(child, child.start) for child in self.children]
        bounded = time.monotonic()
        while not self.signals.count:
            for each in kept:
                each.look()
            if time.monotonic() - bounded > LOGS_SECONDS:
                bounded = time.monotonic()
                logs.bound(self.home.path / "logs", self.home.path / "scratch" / "logs")
            time.sleep(LOOK_SECONDS)

    def stop(self) -> None:
        """No more requests and claims; then the node drains, while the parts still serve it; PostgreSQL last."""
        self.home.disconnect()
        if self.children:
            say("Stopping; training goes on from its resume point at the next start. Again: at once.")
        for child in self.children:
            child.ask_to_stop()
        for child in reversed(self.children):
            if child.name == "api":  # its open requests may last, the node need not wait for them
                self.drain()
            self.finish(child)
        for part in self.stack.parts:
            part.child.ask_to_stop()
            self.finish(part.child)
            part.clean()

    def drain(self) -> None:
        if not dependents.drain(self.lifeline, self.signals.hurry):
            say("What did not end in time was killed; its job goes on from the last resume point.")

    def finish(self, child: Child) -> None:
        """Waits for what was asked to stop; kills it at its deadline or when a second signal comes."""
        deadline = time.monotonic() + child.grace
        while child.alive and not self.signals.hurry() and time.monotonic() < deadline:
            try:
                assert child.process is not None
                child.process.wait(LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                continue
        child.kill()


def project_key(url: str, memory: Memory) -> str:
    """The key of project `default`: that of the last time while it is good, else a new one."""
    db.configure(db.make_engine(url))
    try:
        with db.transaction() as session:
            project = projects.ensure(session, PROJECT)
            try:
                keys.authenticate(session, memory.api_key)
            except Unauthenticated:
                return keys.create(session, project.id, "palate up")[1]
            return memory.api_key
    finally:
        db.configure(None)


def address(host: str, port: int) -> str:
    """Where this machine reaches an API that listens on `host`."""
    host = EVERYWHERE.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
