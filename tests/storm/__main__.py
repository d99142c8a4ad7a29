"""`make storm N=200 SEED=1`: the whole service, the real trainer on two ranks, and N kills at random moments.

`--scripted` takes the trainer without torch: the same service, seconds instead of minutes. After a bad end its home
stays in the folder for temporary files (palate-storm-*), logs and all.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from tests.conftest import ROOT
from tests.e2e.live import Live, triples
from tests.launch import alone
from tests.models import make_tiny_model
from tests.storm.storm import ENVIRONMENT, Storm, scripted


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--scripted", action="store_true")
    parser.add_argument("--launcher", choices=("warm", "cold"), default="warm")
    asked = parser.parse_args(argv)
    print(f"seed {asked.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="palate-storm-"))
    code = storm(folder, asked.kills, asked.seed, plain=asked.scripted, launcher=asked.launcher)
    if code == 0:
        shutil.rmtree(folder)
    return code


def storm(folder: Path, kills: int, seed: int, *, plain: bool, launcher: str) -> int:
    more = scripted(ROOT) if plain else {"PALATE_LAUNCHER": launcher}
    live = Live(folder / "home", **ENVIRONMENT, **more, PALATE_SLOTS="4", PALATE_TIME_SCALE="0.1")
    with nullcontext() if plain else alone():
        live.start()
        try:
            live.palate("models", "add", "tiny", str(make_tiny_model(folder / "model")))
            clock = time.monotonic()
            made = Storm(
                live,
                triples(80),
                [body(n, plain) for n in range(3)],
                kills=kills,
                seed=seed,
                at_once=3,
                gap=(0.5, 2.5) if plain else (1.0, 6.0),
                tell=lambda said: print(f"{time.monotonic() - clock:7.1f} s  {said}", flush=True),
            )
            verdict = made.run()
            print("\n".join(made.report(verdict)), flush=True)
        finally:
            live.stop()
    return 0 if verdict.good else 1


def body(n: int, plain: bool) -> dict[str, object]:
    """Jobs of 1 or 2 ranks, each with a seed and a length of its own."""
    settings = {"batch_size": 8, "n_epochs": 50, "max_steps": 30 + 10 * n, "learning_rate": 1e-4}
    palate: dict[str, object] = {"resources": {"gpus": 2}}
    if plain:
        palate["probe_prompts"] = [json.dumps({"steps": 30 + 10 * n, "step_seconds": 0.1})]
    return {
        "model": "tiny",
        "seed": n,
        "method": {"type": "dpo", "dpo": {"hyperparameters": settings}},
        "palate": palate,
    }


if __name__ == "__main__":
    sys.exit(main())
