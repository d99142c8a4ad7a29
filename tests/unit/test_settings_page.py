"""docs/settings.md names every setting with its default, and none that is not there."""

import re
from pathlib import Path
from typing import Any

from core.settings import ApiSettings, Parts, WorkerSettings

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"\| ([A-Z0-9_]+) \|(.*?)\|.*\|")
# Of this machine, of the person who starts it, or none at all.
TOLD = {
    "PALATE_NODE": "the host's name",
    "PALATE_SCRATCH": "~/.cache/palate/scratch",
    "PALATE_CACHE": "~/.cache/palate/cache",
    "S3_ENDPOINT_URL": "AWS",
    "S3_PUBLIC_ENDPOINT_URL": "the same",
    "DATABASE_URL": "",
    "REDIS_URL": "",
    **{f"{name}_FILE": "" for name in ("DATABASE_URL", "REDIS_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")},
}


def shown(name: str, default: Any) -> str:
    if name in TOLD:
        return TOLD[name]
    if isinstance(default, bool):
        return str(default).lower()
    if name.endswith("_BYTES"):
        return next(
            f"{default >> bits} {unit}" for bits, unit in ((30, "GiB"), (20, "MiB")) if not default % (1 << bits)
        )
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_every_setting_is_listed_with_its_default() -> None:
    told = [
        (f"{kind.model_config['env_prefix']}{name}".upper(), field.default)
        for kind in (Parts, ApiSettings, WorkerSettings)
        for name, field in kind.model_fields.items()
    ]
    page = (ROOT / "docs" / "settings.md").read_text()
    listed = [(each[1], each[2].strip()) for each in ROW.finditer(page)]
    assert sorted(listed) == sorted((name, shown(name, default)) for name, default in told)
