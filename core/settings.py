"""Every setting of the service, read from the environment; the defaults are those of production."""

import socket
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

# Of a worker that is told no other folders.
HOME = Path.home() / ".cache" / "palate"


SECRET = ("database_url", "redis_url")


class Parts(BaseSettings):
    """The three parts that a deployment names. The store is tried `s3_attempts` times, each bounded in seconds.

    `…_file`: where the secret of that name is, so that it stands in no environment. Without keys, boto3 looks for them.
    """

    model_config = SettingsConfigDict(extra="ignore")

    database_url: SecretStr
    database_url_file: Path | None = None
    redis_url: SecretStr
    redis_url_file: Path | None = None
    aws_access_key_id_file: Path | None = None
    aws_secret_access_key_file: Path | None = None
    s3_endpoint_url: str | None = None
    s3_public_endpoint_url: str | None = None
    s3_bucket: str = "palate"
    s3_region: str = "us-east-1"
    s3_path_style: bool = True
    s3_connect_seconds: float = 3.0
    s3_read_seconds: float = 30.0
    s3_attempts: int = 5

    @model_validator(mode="before")
    @classmethod
    def from_files(cls, found: dict[str, Any]) -> dict[str, Any]:
        """A file stands above the variable of its name."""
        read = {}
        for name in SECRET:
            if path := found.get(f"{name}_file"):
                try:
                    read[name] = Path(path).read_text().strip()
                except (OSError, UnicodeDecodeError) as error:
                    raise ValueError(f"{name.upper()}_FILE cannot be read: {error}") from error
        return found | read


class ApiSettings(BaseSettings):
    """Sizes in bytes, times in seconds. `time_scale` shrinks what the sweeper's times are measured against.

    processes: that serve on one port; all other limits are of each, but requests_per_second and
    requests_burst: those are a key's.
    """

    model_config = SettingsConfigDict(extra="ignore", env_prefix="PALATE_")

    processes: int = Field(default=1, ge=1)
    downloads: Literal["redirect", "proxy", "auto"] = "redirect"
    max_file_bytes: int = 8 << 30
    max_json_bytes: int = 1 << 20
    intake_places: int = 8
    intake_part_bytes: int = 8 << 20
    intake_idle_seconds: float = 30.0
    intake_seen_seconds: float = 60.0
    time_scale: float = 1.0
    threads: int = 40
    pool_size: int = 20
    pool_timeout: float = 2.0
    statement_timeout_ms: int = 5_000
    max_waiters: int = 2_000
    max_connections: int = Field(default=4_096, ge=1)
    requests_per_second: float = Field(default=50.0, ge=0)
    requests_burst: int = Field(default=100, ge=1)
    wrong_keys_per_minute: int = Field(default=60, ge=0)
    trusted_proxies: str = ""
    allowed_hosts: str = ""
    linger_seconds: float = 2.0
    stop_seconds: float = 20.0


class WorkerSettings(BaseSettings):
    """Times in seconds. `time_scale` shrinks lease, heartbeat and sweep together, for tests.

    slots: ranks at once; 0 = one a GPU, without any one a core.
    cache_bytes: of base models, data and reference entries kept on a node; what is in use may go beyond it.
    free_bytes: a node with less on the disk of its scratch claims nothing, so that another takes it.
    orphan_seconds: after an attempt's end, its objects that no row names go.
    """

    model_config = SettingsConfigDict(extra="ignore", env_prefix="PALATE_")

    node: str = socket.gethostname()
    slots: int = Field(default=0, ge=0)
    task_slots: int = 2
    scratch: Path = HOME / "scratch"
    cache: Path = HOME / "cache"
    cache_bytes: int = 50 << 30
    free_bytes: int = 256 << 20
    trainer_command: str = ""
    launcher: Literal["warm", "cold"] = "cold"
    isolation: Literal["auto", "require", "off"] = "auto"
    lifeline: str = ""
    time_scale: float = 1.0
    lease_seconds: float = 60.0
    heartbeat_seconds: float = 15.0
    fence_seconds: float = 40.0
    takeover_grace_seconds: float = 5.0
    sweep_seconds: float = 10.0
    task_lease_seconds: float = 60.0
    task_wall_seconds: float = 1_800.0
    task_memory_bytes: int = 4 << 30
    backoff_seconds: float = 10.0
    backoff_limit_seconds: float = 600.0
    infra_attempts: int = 5
    paused_days: float = 30.0
    log_days: float = 30.0
    history_days: float = 180.0
    orphan_seconds: float = 3_600.0
    head_seconds: float = 600.0
    resume_steps: int = 50
    resume_seconds: float = 300.0
    resume_spacing: float = Field(default=20.0, ge=0)
    stop_grace_seconds: float = 5.0
    hang_seconds: float = 300.0
    hang_between_seconds: float = 1_800.0

    def scaled(self, seconds: float) -> float:
        return seconds * self.time_scale


def key(file: Path | None) -> str | None:
    """Of the store, where it stands in a file. Raises OSError."""
    return None if file is None else file.read_text().strip()


@cache
def parts() -> Parts:
    return Parts()


@cache
def api() -> ApiSettings:
    return ApiSettings()


@cache
def worker() -> WorkerSettings:
    return WorkerSettings()
