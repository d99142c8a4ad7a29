"""`make locks`: the packages of each role, pinned, with the sha256 of every file that the index offers of each.

From pyproject.toml and constraints.txt. Run it with an interpreter that has uv; UV_DEFAULT_INDEX names another index.
"""

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "locks"
# serving: API, worker and command line; training: what a node adds for its trainer; dev: all, and the tests.
ROLES = {
    "serving": ("api", "data", "local"),
    "training": ("data", "trainer"),
    "dev": ("api", "data", "local", "trainer", "dev"),
}
BUILD = "setuptools\nwheel\n"
# What a torch for GPUs needs beside it, and one for the CPU does not.
CUDA = re.compile(r"(nvidia-|cuda-|triton==)")
# No wheel: built on the spot, once torch is there.
BUILT = re.compile(r"deepspeed==")
# PyTorch's own wheel for the CPU (CPython 3.11, x86_64), where it is offered: a hundredth of what the other brings.
CPU = "torch==2.13.0+cpu \\\n    --hash=sha256:6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b"
HEAD = "# Written by `make locks` from pyproject.toml and constraints.txt; not to be edited.\n"


def compiled(*sources: Path, extras: tuple[str, ...] = (), constraints: Path | None = None) -> list[str]:
    """One requirement with its hashes an entry."""
    command = [sys.executable, "-m", "uv", "pip", "compile", *map(str, sources), "--universal", "--generate-hashes"]
    command += ["--python-version", "3.11", "--no-header", "--no-annotate", "--quiet"]
    command += [word for extra in extras for word in ("--extra", extra)]
    command += ["--constraints", str(constraints)] if constraints else []
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return re.split(r"\n(?=\S)", done.stdout.strip())


def write(name: str, entries: list[str]) -> None:
    (FOLDER / f"{name}.txt").write_text(HEAD + "\n".join(entries) + "\n")
    print(f"locks/{name}.txt: {len(entries)} packages")


def main() -> None:
    with TemporaryDirectory() as temporary:
        build = Path(temporary) / "build.in"
        build.write_text(BUILD)
        tools = Path(temporary) / "tools.in"
        tools.write_text("uv==0.13.9\npip-audit==2.10.1\n")
        found = {
            role: compiled(ROOT / "pyproject.toml", build, extras=extras, constraints=ROOT / "constraints.txt")
            for role, extras in ROLES.items()
        }
        write("tools", compiled(tools))
    for role, entries in found.items():
        write(role, [each for each in entries if not CUDA.match(each) and not BUILT.match(each)])
    write("cuda", [each for each in found["training"] if CUDA.match(each)])
    write("built", [each for each in found["training"] if BUILT.match(each)])
    write("openai1", compiled(ROOT / "tests" / "e2e" / "openai1.txt"))
    if not any(each.startswith(CPU.partition("+")[0] + " ") for each in found["dev"]):
        sys.exit(f"locks/write.py names another torch for the CPU than is locked: {CPU}")
    write("cpu", [CPU])


if __name__ == "__main__":
    main()
