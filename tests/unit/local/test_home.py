"""What a home keeps, and who may have it; logs that stay small; children that come back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from core.contract.errors import NotFound
from local import logs, programs
from local.child import Child
from local.home import Connection, Home, HomeInUse, choose_port
from local.kept import Kept
from local.up import address
from tests.waiting import until


def test_one_process_has_a_home(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert not home.is_running
    with home.locked():
        assert home.is_running
        with pytest.raises(HomeInUse, match=str(os.getpid())), Home(tmp_path / "home").locked():
            pytest.fail("two have it")
    assert not home.is_running


def test_the_connection_is_private_and_whole(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with pytest.raises(NotFound, match="palate up"):
        home.connection_of()
    home.connect(Connection(base_url="http://127.0.0.1:1/v1", api_key=SecretStr("plt_x")))
    assert home.connection.stat().st_mode & 0o777 == 0o600
    assert home.connection_of().api_key.get_secret_value() == "plt_x"
    home.disconnect()
    home.disconnect()
    assert not home.connection.exists()


def test_a_node_keeps_its_name(tmp_path: Path) -> None:
    home = Home(tmp_path)
    memory = home.recall()
    home.remember(memory)
    assert home.recall() == memory
    (tmp_path / "up.json").write_text("half a")
    assert home.recall().node != memory.node


def test_a_taken_port_is_refused_when_asked_for_and_replaced_when_not() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(HomeInUse, match=str(port)):
            choose_port(port, 0, "127.0.0.1")
        assert choose_port(0, port, "127.0.0.1") != port


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:5"), ("0.0.0.0", "http://127.0.0.1:5"), ("::", "http://[::1]:5")],
)
def test_this_machine_reaches_every_address(host: str, url: str) -> None:
    assert address(host, 5) == url


def test_a_long_log_starts_anew_under_its_writer(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 100)
        logs.bound(tmp_path, tmp_path / "none", limit=50)
        writer.write(b"after")
        logs.bound(tmp_path, limit=50)
    assert log.read_bytes() == b"after"
    assert (tmp_path / "api.log.1").read_bytes() == b"x" * 100


def test_a_dead_child_is_started_again_later_each_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    child = Child(name="c", command=[sys.executable, "-c", "pass"], environment={}, log=tmp_path / "c.log")
    starts = []

    def start() -> None:
        starts.append(1)
        child.start()

    kept = Kept(child, start)
    child.start()

    def look() -> bool:
        kept.look()
        return len(starts) >= 2

    until(look, "two starts", 20)
    child.kill()
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "c ended with exit code 0; it starts again in 0.2 s"
    assert told[1].endswith("in 0.4 s")


def test_another_deployment_in_the_shell_is_not_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("S3_PUBLIC_ENDPOINT_URL", "http://elsewhere")
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere")
    monkeypatch.setenv("PALATE_SLOTS", "7")
    known = programs.environment(tmp_path, {"DATABASE_URL": "postgresql://here"}, "node-1")
    assert "S3_PUBLIC_ENDPOINT_URL" not in known
    assert "DATABASE_URL" not in known, "a secret stands in no environment"
    told = Path(known["DATABASE_URL_FILE"])
    assert (told.read_text(), told.stat().st_mode & 0o777) == ("postgresql://here", 0o600)
    assert (known["PALATE_SLOTS"], known["PALATE_NODE"]) == ("7", "node-1")
    assert known["PALATE_SCRATCH"] == str(tmp_path / "scratch")


def test_a_slot_is_a_gpu_or_a_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker counts the GPUs."""
    monkeypatch.setattr(programs, "DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    cores = max(2, os.cpu_count() or 1)
    assert programs.slots() == cores
    (tmp_path / "nvidia0").touch()
    assert programs.slots() == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert programs.slots() == cores


def test_the_command_ends_at_once_on_a_home_in_use(tmp_path: Path) -> None:
    with Home(tmp_path).locked():
        command = [sys.executable, "-m", "cli.main", "up", "--home", str(tmp_path)]
        second = subprocess.run(command, cwd=programs.ROOT, capture_output=True, text=True, timeout=30)
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert str(tmp_path) in second.stderr
