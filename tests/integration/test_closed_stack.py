"""The embedded stack is closed to other users and web pages of its machine: each port is tried without a key."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from core.contract.errors import PalateError
from core.db import engine as db
from core.db import keys, projects
from core.db.migrate import upgrade
from core.objects.store import Store
from local import certificates, secrets
from local.seaweed import _binary
from local.stack import Stack
from tests import stranger
from tests.conftest import ROOT
from tests.integration.test_local_stack import database, open_store
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("closed stack")  # one stack for all of them
NOBODY = 65_534
# A user of S3 who may do all; from the store's own shell, as an operator would make one.
MALLORY = ("MALLORYKEY", "mallorysecret")
CONFIGURE = (
    f"s3.configure -user=mallory -access_key={MALLORY[0]} -secret_key={MALLORY[1]} -buckets=palate "
    "-actions=Read,Write,List,Admin -apply\nexit\n"
)
SHELL_SECONDS = 4
# The options by which this release closes the store.
CLOSED = ("-disableHttp", "-filer.localSocket", "-s3.localSocket", "-filer.allowedOrigins", "-s3.allowedOrigins")


def another_user() -> dict[str, Any]:
    """For subprocess: where we may become another user, that one; else who we are, without a key."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("closed") / "home") as made:
        yield made


@pytest.fixture(scope="module")
def kept(stack: Stack) -> Iterator[Store]:
    """Small and in parts: the store serves who has its key."""
    store = open_store(stack)
    store.put("kept", b"kept")
    store.put_stream("big", [b"x" * (16 << 20)])
    yield store
    store.close()


@pytest.fixture(scope="module")
def told(stack: Stack, kept: Store) -> dict[str, Any]:
    uid = NOBODY if os.geteuid() == 0 else os.geteuid()
    asked = [json.dumps(stack.seaweed.ports), str(stack.home), str(uid)]
    command = [sys.executable, "-m", "tests.stranger", *asked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["uid"] == uid
    return found


def test_no_http_port_serves_who_has_no_key(told: dict[str, Any], stack: Stack, kept: Store) -> None:
    """Nor a page of another origin and host: the volumes' server lets each of them ask, and refuses what it asks."""
    answers = [(server, each) for server, found in told["http"].items() for each in found]
    assert len(answers) == 2 * sum(map(len, stranger.PATHS.values())) * len(stranger.SERVERS)
    served = [each for each in answers if each[1]["status"] not in (400, 401, 403, 404, 405)]
    assert [each for each in served if not each[1]["what"].startswith("OPTIONS")] == []
    assert {server for server, found in answers if found["allowed"]} <= {"volume", "s3"}
    assert not [found for server, found in served if server == "s3" and found["allowed"]]
    assert kept.read("kept") == b"kept"
    assert sum(map(len, kept.get("big"))) == 16 << 20
    assert [each.key for each in kept.list("")] == ["big", "kept"]
    assert httpx.get(kept.presign_get("kept")).content == b"kept"


def test_no_grpc_port_speaks_with_who_has_no_certificate(told: dict[str, Any], stack: Stack, tmp_path: Path) -> None:
    """Neither in plain nor by TLS, nor with a certificate of another authority; with the store's own each does."""
    assert told["grpc"] == {server: [False, False] for server in stranger.SERVERS}
    certificates.make(tmp_path)
    for server in stranger.SERVERS:
        port = stack.seaweed.ports[f"{server}.grpc"]
        assert not stranger.speaks_grpc(port, stranger.context(tmp_path)), server
        assert stranger.speaks_grpc(port, stranger.context(stack.home / "seaweed" / "tls")), server


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_no_socket_and_no_file_is_reached_by_another_user(told: dict[str, Any], stack: Stack) -> None:
    assert len(told["paths"]) == len(stranger.SERVERS) + 4
    assert set(told["paths"].values()) == {"PermissionError"}
    assert {stranger.reach(Path(path)) for path in told["paths"]} == {"reached"}


def weed_shell(stack: Stack, folder: Path, **user: Any) -> None:
    """s3.configure, by a shell that looks for its certificate in `folder`."""
    ports = stack.seaweed.ports
    servers = [f"-{name}=127.0.0.1:{ports[name]}.{ports[f'{name}.grpc']}" for name in ("master", "filer")]
    weed = folder / "weed"
    try:
        subprocess.run(
            [str(weed if weed.exists() else _binary()), "shell", *servers],
            cwd=folder,
            env={"HOME": str(folder)},
            input=CONFIGURE.encode(),
            capture_output=True,
            timeout=SHELL_SECONDS,
            **user,
        )
    except subprocess.TimeoutExpired:
        return  # it asks for ever


def test_no_shell_makes_itself_a_user(stack: Stack, kept: Store) -> None:
    mallory = Store(
        endpoint_url=stack.seaweed.url, bucket="palate", access_key=MALLORY[0], secret_key=MALLORY[1], attempts=1
    )
    with tempfile.TemporaryDirectory() as public:
        Path(public).chmod(0o755)
        shutil.copy2(_binary(), Path(public) / "weed")
        weed_shell(stack, Path(public), **another_user())
        with pytest.raises(PalateError):
            mallory.read("kept")
    weed_shell(stack, stack.home / "seaweed")  # who has the certificate is obeyed, so the words were right
    until(lambda: serves(mallory), "the user that the operator made", 10)
    mallory.close()


def serves(store: Store) -> bool:
    try:
        return store.read("kept") == b"kept"
    except PalateError:
        return False


def test_a_home_of_the_last_release_comes_up_closed_with_its_data(tmp_path: Path) -> None:
    home = tmp_path / "home"
    old = Stack(home)
    old.seaweed.child.folder = None
    old.seaweed.child.command = [word for word in old.seaweed.child.command if not word.startswith(CLOSED)]
    old.seaweed.data.mkdir()
    old.postgres.start()
    old.seaweed.child.start()
    try:
        until(lambda: old.seaweed.ready() and old.postgres.ready(), "the parts as they were", 60)
        before = open_store(old)
        before.put("kept", b"kept")
        before.put_stream("big", [b"x" * (16 << 20)])
        before.close()
        assert httpx.get(f"http://127.0.0.1:{old.seaweed.ports['filer']}/buckets/palate/kept").text == "kept"
        with psycopg.connect(plain(old.postgres.owner_url), autocommit=True) as owner:
            owner.execute("CREATE TABLE kept (n int)")
            owner.execute("INSERT INTO kept VALUES (7)")
            owner.execute("DROP OWNED BY palate_service")
            owner.execute("DROP ROLE palate_service")
    finally:
        old.stop()
    known = json.loads((home / "secrets.json").read_text())
    forgotten = {name: known.pop(name) for name in ("postgres_service", *secrets.SIGNING)}
    (home / "secrets.json").write_text(json.dumps(known))
    home.chmod(0o755)
    with Stack(home) as new:
        now = json.loads((home / "secrets.json").read_text())
        assert {name: now[name] for name in known} == known
        assert not set(forgotten.values()) & set(now.values())
        assert home.stat().st_mode & 0o777 == 0o700
        after = open_store(new)
        assert after.read("kept") == b"kept"
        assert b"".join(after.get("big")) == b"x" * (16 << 20)
        after.put_stream("more", [b"y" * (9 << 20)])
        after.close()
        with psycopg.connect(database(new)) as service:
            assert service.execute("SELECT n FROM kept").fetchone() == (7,)
        assert {each["status"] for each in stranger.try_http(new.seaweed.ports["filer"])} == {404}


def plain(url: str) -> str:
    return url.replace("+psycopg", "")


def test_who_serves_is_no_superuser(stack: Stack) -> None:
    """Rows it may read and write; programs, files of the machine and the schema are the owner's."""
    upgrade(stack.postgres.owner_url)
    db.configure(db.make_engine(stack.environment["DATABASE_URL"]))
    try:
        with db.transaction() as session:
            token = keys.create(session, projects.ensure(session, "default").id)[1]
        with db.transaction() as session:
            assert keys.authenticate(session, token).project_name == "default"
    finally:
        db.configure(None)
    with psycopg.connect(database(stack), autocommit=True) as service:
        for forbidden in (
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "COPY keys FROM '/etc/passwd'",
            "SELECT pg_read_file('/etc/passwd')",
            "CREATE TABLE planted (n int)",
            "ALTER TABLE keys ADD COLUMN planted int",
            "DROP TABLE keys",
            "TRUNCATE keys CASCADE",
            "CREATE ROLE planted",
            "CREATE DATABASE planted",
            "SELECT rolpassword FROM pg_authid",
            "SET ROLE app",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                service.execute(forbidden)
