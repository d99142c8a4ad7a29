"""The embedded parts: a home that is opened again finds its data, whatever ended it, and nothing outlives its owner."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from core.objects.store import Store
from local.stack import Stack
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
OWNER = """
import sys
from pathlib import Path
from local.stack import Stack
with Stack(Path(sys.argv[1])) as stack:
    print("ready", *(part.child.process.pid for part in stack.parts), flush=True)
    sys.stdin.read()
"""


def open_store(stack: Stack) -> Store:
    known = stack.environment
    return Store(
        endpoint_url=known["S3_ENDPOINT_URL"],
        bucket=known["S3_BUCKET"],
        access_key=known["AWS_ACCESS_KEY_ID"],
        secret_key=known["AWS_SECRET_ACCESS_KEY"],
    )


def database(stack: Stack) -> str:
    return stack.environment["DATABASE_URL"].replace("+psycopg", "")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    assert processes_of(tmp_path / "home") == []


def processes_of(home: Path) -> list[str]:
    """Command lines of living processes that name the home."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = each.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(home) in line:
            found.append(line)
    return found


def test_a_home_keeps_its_data_over_a_stop_and_over_a_kill(home: Path) -> None:
    big = os.urandom(9 << 20)
    for at_once in (False, True, False):
        stack = Stack(home)
        stack.start()
        try:
            store = open_store(stack)
            client = redis.Redis.from_url(stack.environment["REDIS_URL"])
            with psycopg.connect(stack.postgres.owner_url.replace("+psycopg", "")) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS starts (n int)")
                connection.execute("INSERT INTO starts SELECT count(*) FROM starts")
                starts = connection.execute("SELECT count(*) FROM starts").fetchone()
            assert starts
            number = starts[0]
            for before in range(1, number):
                assert store.read(f"start-{before}") == big
                assert client.get(f"start-{before}") == b"here"
            store.put_stream(f"start-{number}", [big])
            client.set(f"start-{number}", "here")
            if at_once:
                client.waitaof(1, 0, 5_000)
            client.close()
            store.close()
        finally:
            stack.stop(at_once=at_once)
    assert number == 3


def test_what_is_secret_is_private(home: Path) -> None:
    with Stack(home) as stack:
        secrets = {value for name, value in stack.environment.items() if "KEY" in name}
        assert home.stat().st_mode & 0o777 == 0o700
        assert (home / "secrets.json").stat().st_mode & 0o777 == 0o600
        assert (home / "valkey" / "valkey.conf").stat().st_mode & 0o777 == 0o600
        secrets |= {stack.postgres.password, stack.postgres.service_password, stack.valkey.password}
        secrets |= set(stack.seaweed.signing.values())
        lines = processes_of(home)
        assert len(lines) >= 3
        assert not [line for line in lines for secret in secrets if secret in line]
        for url in (f"redis://127.0.0.1:{stack.valkey.port}/0", f"redis://:wrong@127.0.0.1:{stack.valkey.port}/0"):
            stranger = redis.Redis.from_url(url)
            with pytest.raises(redis.AuthenticationError):
                stranger.ping()
            stranger.close()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(database(stack).replace(stack.postgres.service_password, "wrong"))


def test_two_stacks_side_by_side(home: Path, tmp_path: Path) -> None:
    with Stack(home) as one, Stack(tmp_path / "other") as two:
        assert not set(one.environment.values()) & set(two.environment.values()) - {"palate"}
        first, second = open_store(one), open_store(two)
        first.put("only-here", b"x")
        assert second.head("only-here") is None
        first.close()
        second.close()
    assert not Path(f"/tmp/seaweedfs-s3-{one.seaweed.ports['s3']}.sock").exists()


def test_a_port_that_was_taken_meanwhile_is_replaced(home: Path) -> None:
    with Stack(home) as stack:
        before = stack.environment["REDIS_URL"]
        port = stack.valkey.port
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", port))
        thief.listen()
        with Stack(home) as stack:
            assert stack.environment["REDIS_URL"] != before
            with psycopg.connect(database(stack)) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)


def test_parts_die_with_a_killed_owner(home: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(home)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout
    assert owner.stdin
    with owner.stdout, owner.stdin:
        word, *pids = owner.stdout.readline().split()
        assert word == "ready"
        assert len(pids) == 3
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        until(lambda: not processes_of(home) and not any(map(alive, pids)), "no process of the home", seconds=5)
    with Stack(home) as again, psycopg.connect(database(again)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
