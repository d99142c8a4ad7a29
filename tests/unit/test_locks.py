"""The locks: what pyproject.toml and constraints.txt ask for, by hash; and a role has no more than it needs."""

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from locks.sbom import packages
from locks.write import BUILT, CUDA, ROLES

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted(path.stem for path in (ROOT / "locks").glob("*.txt"))


def locked(name: str) -> dict[str, str]:
    """Version by name."""
    return {package: version for package, version, _ in packages((ROOT / "locks" / f"{name}.txt").read_text())}


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_has_hashes(name: str) -> None:
    text = (ROOT / "locks" / f"{name}.txt").read_text()
    found = packages(text)
    assert len(found) == len(re.findall(r"^[A-Za-z0-9]", text, re.M)) > 0
    assert [package for package, _, hashes in found if not hashes] == []
    assert "http" not in re.sub(r"^http[a-z0-9-]*==", "", text, flags=re.M)


@pytest.mark.parametrize("name", [*ROLES, "cuda", "built"])
def test_versions_are_those_that_are_pinned(name: str) -> None:
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    differing = {p: v for p, v in locked(name).items() if pinned.get(p, v) != v}
    assert differing == {}, "run `make locks`"


@pytest.mark.parametrize("role", ROLES)
def test_a_lock_is_all_that_its_role_needs(role: str) -> None:
    """Followed through what is installed here, on this Python."""
    have = locked(role) | locked("built") | locked("cuda")
    todo = [(Requirement("palate"), ROLES[role])]
    seen, missing = set(), []
    while todo:
        requirement, extras = todo.pop()
        for text in metadata.requires(requirement.name) or []:
            needed = Requirement(text)
            if needed.marker and not any(needed.marker.evaluate({"extra": each}) for each in (*extras, "")):
                continue
            name = canonicalize_name(needed.name)
            if name not in have or not needed.specifier.contains(have[name]):
                missing.append(f"{requirement.name} needs {needed}")
            elif (name, *needed.extras) not in seen:
                seen.add((name, *needed.extras))
                todo.append((needed, tuple(needed.extras)))
    assert missing == [], "run `make locks`"
    assert len(seen) > 50


def test_who_serves_has_no_torch_and_no_development_packages() -> None:
    for package in ("torch", "transformers", "deepspeed", "pytest", "playwright", "trl", "openai", "mypy", "ruff"):
        assert package in locked("dev") | locked("built")
        assert package not in locked("serving"), package
    assert not {"pytest", "trl", "openai", "mypy", "fastapi"} & set(locked("training"))
    assert not [name for name in locked("dev") if CUDA.match(f"{name}==") or BUILT.match(f"{name}==")]


def test_the_torch_for_the_cpu_is_the_same_release() -> None:
    for role in ("training", "dev"):
        assert locked("cpu") == {"torch": f"{locked(role)['torch']}+cpu"}


def test_the_bill_of_materials_is_the_lock(tmp_path: Path) -> None:
    command = [sys.executable, "-I", str(ROOT / "locks" / "sbom.py"), str(tmp_path), "serving"]
    subprocess.run(command, check=True, capture_output=True)
    bill = json.loads((tmp_path / "serving.cdx.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert {each["name"]: each["version"] for each in bill["components"]} == locked("serving")
    uvicorn = next(each for each in bill["components"] if each["name"] == "uvicorn")
    assert uvicorn["purl"] == f"pkg:pypi/uvicorn@{locked('serving')['uvicorn']}"
    assert all(each["alg"] == "SHA-256" and len(each["content"]) == 64 for each in uvicorn["hashes"])
    assert len({each["bom-ref"] for each in bill["components"]}) == len(bill["components"])
