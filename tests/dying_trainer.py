"""A trainer that is killed at the n-th touch of a checkpoint's or a resume point's folder, in its first attempt.

`python tests/dying_trainer.py MODULE FOLDER RANK --spec run.json` runs MODULE; a file FOLDER/JOB or else FOLDER/all
holds the number, or the touch itself as it is listed. A touch: opening (also to hash or to flush), making, renaming or
removing what lies in `resume/` or `checkpoints/` of the workspace, seen by Python's audit hooks before it is done.
FOLDER/JOB.touches lists them in order.
"""

import json
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

TOUCHES = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")
module, folder, rank = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
del sys.argv[1:4]
spec = json.loads(Path(sys.argv[sys.argv.index("--spec") + 1]).read_text())
workspace, (job, _, attempt) = spec["workspace"], spec["run_id"].rpartition("-")
WATCHED = tuple(f"{workspace}/{name}/step-" for name in ("resume", "checkpoints"))
named = folder / job if (folder / job).exists() else folder / "all"
fatal = named.read_text() if named.exists() else ""
listing = os.open(folder / f"{job}.touches", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
count = 0


def hook(event: str, arguments: tuple[Any, ...]) -> None:
    global count
    if event not in TOUCHES or not isinstance(arguments[0], str | Path) or not str(arguments[0]).startswith(WATCHED):
        return
    count += 1
    touch = f"{event} {Path(arguments[0]).relative_to(workspace)}"
    os.write(listing, f"{touch}\n".encode())
    if fatal in (str(count), touch):
        os.kill(os.getpid(), signal.SIGKILL)


if attempt == "a1" and os.environ.get("RANK", "0") == rank:
    sys.addaudithook(hook)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
runpy.run_module(module, run_name="__main__", alter_sys=True)
