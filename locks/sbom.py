"""`python locks/sbom.py FOLDER ROLE...`: FOLDER/ROLE.cdx.json, a role's lock as CycloneDX 1.6, by any Python."""

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PIN = re.compile(r"([A-Za-z0-9._-]+)==([^ ;\\]+)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def packages(lock: str) -> list[tuple[str, str, list[str]]]:
    """(name, version, sha256 of each of its files) in the order of the lock."""
    found = []
    for entry in re.split(r"\n(?=[A-Za-z0-9])", lock):
        if (pin := PIN.match(entry)) is not None:
            found.append((pin[1], pin[2], HASH.findall(entry)))
    return found


def bill(role: str) -> dict[str, Any]:
    """The same for the same lock: neither a time nor a random number."""
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    subject = {"type": "application", "bom-ref": "palate", "name": f"palate-{role}", "version": about["version"]}
    components = [
        {
            "type": "library",
            "bom-ref": (reference := f"pkg:pypi/{name}@{version}"),
            "name": name,
            "version": version,
            "purl": reference,
            "hashes": [{"alg": "SHA-256", "content": each} for each in hashes],
        }
        for name, version, hashes in packages((ROOT / "locks" / f"{role}.txt").read_text())
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**subject, "licenses": [{"license": {"id": about["license"]}}]}},
        "components": components,
    }


def main(folder: Path, *roles: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for role in roles:
        made = bill(role)
        (folder / f"{role}.cdx.json").write_text(json.dumps(made, indent=1) + "\n")
        print(f"{folder / role}.cdx.json: {len(made['components'])} components")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
