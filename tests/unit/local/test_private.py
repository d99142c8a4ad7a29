"""Whose a home is, who could read it, and what of it is believed."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from cli import place
from cli.service import Service
from core.contract.errors import NotFound
from local import private, programs, secrets
from local.child import Child
from local.home import Connection, Home
from local.stack import Stack
from tests.waiting import until

NOBODY = 65_534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def open_home(tmp_path: Path) -> Path:
    """As who made the folder by hand finds it, with a release's files of before."""
    home = tmp_path / "home"
    for folder in (home, home / "scratch", home / "logs"):
        folder.mkdir()
        folder.chmod(0o755)
    for name in ("secrets.json", "ports.json"):
        (home / name).write_text("{}")
        (home / name).chmod(0o644)
    return home


def test_a_home_that_is_there_is_closed_and_its_open_keys_told(open_home: Path) -> None:
    home = Home(open_home)
    with home.locked():
        assert home.seen == [open_home / "secrets.json"]
    assert mode(open_home) == mode(open_home / "scratch") == mode(open_home / "logs") == 0o700
    assert mode(open_home / "secrets.json") == 0o600
    with home.locked():
        assert home.seen == []


def test_what_nobody_could_reach_is_not_told(open_home: Path) -> None:
    open_home.chmod(0o700)
    with (home := Home(open_home)).locked():
        assert home.seen == []
    assert mode(open_home / "secrets.json") == 0o600


def test_a_link_out_of_the_home_is_left_as_it_is(open_home: Path, tmp_path: Path) -> None:
    outside = tmp_path / "models"
    outside.mkdir(mode=0o755)
    (open_home / "cache").symlink_to(outside)
    private.close(open_home)
    assert mode(outside) == 0o755


@as_root
@pytest.mark.parametrize("command", [("up",), ("keys", "list"), ("migrate",), ("watch", "ftjob-x")])
def test_a_home_of_another_user_is_refused(open_home: Path, command: tuple[str, ...]) -> None:
    (open_home / "connection.json").write_text('{"base_url": "http://127.0.0.1:9/v1", "api_key": "plt_x"}')
    os.chown(open_home, NOBODY, NOBODY)
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *command, "--home", str(open_home)],
        cwd=programs.ROOT,
        env={name: value for name, value in os.environ.items() if name != "DATABASE_URL"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert f"{open_home} belongs to another user (uid 65534, this is uid 0)" in done.stderr
    assert done.stderr.count("\n") == 1
    assert mode(open_home) == 0o755, "and nothing is changed in it"


@pytest.mark.parametrize("path", [".", "connection.json"])
def test_an_address_that_others_may_have_written_is_not_believed(tmp_path: Path, path: str) -> None:
    home = Home(tmp_path)
    home.connect(Connection(base_url="http://evil.example/v1", api_key=SecretStr("plt_x")))
    (tmp_path / path).chmod(0o777)
    with pytest.raises(private.NotOurs, match="can be written by other users"):
        home.connection_of()
    with pytest.raises(private.NotOurs):
        Service.of(tmp_path)


@as_root
def test_another_users_address_in_ones_own_folder_is_not_believed(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.connect(Connection(base_url="http://evil.example/v1", api_key=SecretStr("plt_x")))
    os.chown(home.connection, NOBODY, NOBODY)
    with pytest.raises(private.NotOurs, match="belongs to another user"):
        home.connection_of()


def test_a_link_for_an_address_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "planted.json").write_text('{"base_url": "http://evil.example/v1", "api_key": "plt_x"}')
    (tmp_path / "connection.json").symlink_to(tmp_path / "planted.json")
    with pytest.raises(NotFound):
        Home(tmp_path).connection_of()


def test_a_key_goes_only_where_it_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder's address never gets the key of the environment."""
    Home(tmp_path).connect(Connection(base_url="http://127.0.0.1:9/v1", api_key=SecretStr("plt_here")))
    monkeypatch.delenv("PALATE_BASE_URL", raising=False)
    monkeypatch.setenv("PALATE_API_KEY", "plt_real")
    with pytest.raises(NotFound, match="PALATE_API_KEY is set, but not PALATE_BASE_URL"):
        Service.of(tmp_path)
    monkeypatch.setenv("PALATE_BASE_URL", "http://127.0.0.1:7/v1")
    with Service.of(tmp_path) as service:
        assert (service.base_url, service._client.headers["authorization"]) == (
            "http://127.0.0.1:7/v1",
            "Bearer plt_real",
        )
    monkeypatch.delenv("PALATE_API_KEY")
    monkeypatch.delenv("PALATE_BASE_URL")
    with Service.of(tmp_path) as service:
        assert service._client.headers["authorization"] == "Bearer plt_here"


def test_a_running_stack_of_a_folder_open_to_others_is_not_taken(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(private.NotOurs):
        Stack.running(tmp_path)
    with pytest.raises(private.NotOurs):
        place.owner_url(tmp_path)


def test_what_a_part_writes_is_its_owners(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        child = Child(
            name="c",
            command=["sh", "-c", "echo x > written; mkdir made; pwd"],
            environment=os.environ,
            log=tmp_path / "logs" / "c.log",
            folder=tmp_path,
        )
        child.start()
    finally:
        os.umask(before)
    until(lambda: not child.alive, "its end", 10)
    assert (mode(tmp_path / "written"), mode(tmp_path / "made")) == (0o600, 0o700)
    assert child.log.read_text().strip() == str(tmp_path)


def test_secrets_of_an_earlier_release_are_kept_and_completed(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    old = {name: f"old {name}" for name in ("postgres", "valkey", "access_key", "secret_key")}
    file.write_text(json.dumps(old))
    known = secrets.load(file)
    assert {name: known[name] for name in old} == old
    assert set(known) == set(secrets.NAMES)
    assert len(set(known.values())) == len(known)
    assert secrets.load(file) == known
    assert mode(file) == 0o600
