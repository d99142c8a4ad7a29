"""A trainer that speaks the contract without torch, for the worker's tests: `python -m tests.scripted_trainer --spec`.

Its weights are a hash chain over the steps, so that a resumed run ends with the same bytes, or is wrong. What it shall
do comes as JSON in the first probe prompt: {"steps": 5, "loading_seconds": 1, "step_seconds": 0.05,
"at": {"3": "exit:71"}}; an act is done
in the first attempt only: `exit:CODE`, `kill` (SIGKILL to itself), `silence` (never another word). `fits`: with a row
budget above it every attempt ends out of memory after its first step. Its reference "log-probabilities" are lines of
text, one a scored answer, named by the data; `answers` (default 3) says how many. `broken`: a device that fails after
a step wherever it is shown. `ballast`: so many bytes in each
folder that it seals. `loses`: the step whose resume point is gone before it is told of. `deaf_in`: a phase that it
enters and never leaves, whatever it is told, SIGTERM included.
In the first attempt `at` may also name `reference_pass`, `exporting`, `sealed` (and not yet told) or `verifying`;
`verifying` says what becomes of that in every attempt: an act, `refused`, or `waits` for a word to stop.
"""

import faulthandler
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from datetime import UTC
from pathlib import Path
from typing import Any, NoReturn

from core.contract import manifest as manifests
from core.contract.exits import Exit
from core.contract.run_spec import RunSpec


class Script:
    def __init__(self, spec: RunSpec) -> None:
        self.spec = spec
        self.wanted: dict[str, Any] = json.loads(spec.probe_prompts[0]) if spec.probe_prompts else {}
        self.total = int(self.wanted.get("steps", 4))
        self.start = 0
        self.saved_at = 0
        self.state = hashlib.sha256(spec.train_digest.encode()).hexdigest()

    def say(self, event: str, **fields: Any) -> None:
        with (self.spec.workspace / "events.jsonl").open("a") as stream:
            stream.write(json.dumps({"v": 1, "event": event, "time": time.time(), **fields}) + "\n")

    def seal(self, kind: str, step: int, **meta: Any) -> str:
        folder = self.spec.workspace / kind / f"step-{step}"
        partial = folder.with_name(folder.name + ".tmp")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        (partial / "model.safetensors").write_text(self.state)
        if ballast := int(self.wanted.get("ballast", 0)):
            (partial / "ballast").write_bytes(bytes(ballast))
        manifests.write(partial, manifests.build(partial, step=step, **meta))
        partial.rename(folder)
        return f"{kind}/step-{step}"

    def run(self) -> Exit:
        self.record_process()
        self.deaf("tokenizing")
        time.sleep(float(self.wanted.get("loading_seconds", 0)))
        if self.spec.unverified is not None:
            return self.verify_alone(self.spec.unverified.path)
        if self.spec.resume_from is not None:
            manifests.verify(self.spec.resume_from.path, manifests.read(self.spec.resume_from.path))
            self.start = self.saved_at = int(manifests.read(self.spec.resume_from.path).meta["step"])
            self.state = (self.spec.resume_from.path / "model.safetensors").read_text()
        self.say(
            "started",
            world_size=self.spec.world_size,
            total_steps=self.total,
            pairs=20,
            dropped=0,
            resumed_from_step=self.start,
            details={
                "reference_forwards": self.reference(),
                "clock": self.clock(),
                "devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
            },
        )
        self.deaf("reference_pass")
        self.act_at("reference_pass")
        self.say("phase", phase="training")
        for step in range(self.start + 1, self.total + 1):
            if (asked := self.asked_to_stop()) is not None:
                if asked == "finish":
                    self.total = step - 1
                    break
                if asked == "drain" and step - 1 > self.saved_at:
                    self.say("resume_point_sealed", step=step - 1, path=self.seal("resume", step - 1))
                self.say("stopped", step=step - 1, reason=asked)
                return Exit.STOPPED
            self.step(step)
        self.deaf("exporting")
        self.act_at("exporting")
        path = self.seal("checkpoints", self.total, proof={"state": self.state})
        self.act_at("sealed")
        self.say("checkpoint_sealed", step=self.total, path=path, final=True)
        return self.verify()

    def verify_alone(self, folder: Path) -> Exit:
        """What an earlier attempt has stored, by what it left to verify it by."""
        manifests.verify(folder, manifests.read(folder))
        meta = manifests.read(folder).meta
        self.total = int(meta["step"])
        self.say("started", world_size=1, total_steps=self.total, pairs=20, dropped=0, resumed_from_step=self.total)
        found = (folder / "model.safetensors").read_text()
        assert meta["proof"] == {"state": found}, "the proof of this very model came back"
        return self.verify()

    def verify(self) -> Exit:
        self.say("phase", phase="verifying", done=0, total=1)
        self.deaf("verifying")
        self.act_at("verifying")
        wanted = self.wanted.get("verifying")
        if wanted == "refused":
            message = "The model of the script differs by 9.9e+00; 1.0e-04 is allowed."
            self.say("verified", step=self.total, passed=False, message=message)
            self.fail(Exit.REFUSED, "export_mismatch", message)
        while wanted == "waits":
            if (word := self.asked_to_stop()) in ("cancel", "drain"):
                self.say("stopped", step=self.total, reason=word)
                return Exit.STOPPED
            time.sleep(0.02)
        self.act(wanted)
        self.say("verified", step=self.total, passed=True, message="It is the one.")
        self.say("finished", step=self.total, metrics={}, trained_tokens=self.total * 100)
        return Exit.DONE

    def act_at(self, place: str) -> None:
        """In the first attempt only."""
        if self.spec.run_id.endswith("-a1"):
            self.act(self.wanted.get("at", {}).get(place))

    def clock(self) -> str | None:
        return self.spec.clock.astimezone(UTC).isoformat() if self.spec.clock else None

    def reference(self) -> int:
        """How many answers no earlier run had; they are left for later ones."""
        if not self.spec.reference_key:
            return 0
        kept = {line for path in self.spec.reference_entries for line in path.read_text().splitlines()}
        wanted = [f"{self.spec.train_digest} {n}" for n in range(int(self.wanted.get("answers", 3)))]
        missing = [line for line in wanted if line not in kept]
        if missing:
            folder = self.spec.workspace / "reference" / "new" / "1"
            partial = folder.with_name("1.tmp")
            partial.mkdir(parents=True)
            (partial / "reference.safetensors").write_text("\n".join(missing))
            manifests.write(partial, manifests.build(partial))
            partial.rename(folder)
            self.say(
                "reference_sealed",
                path="reference/new/1",
                key=self.spec.reference_key,
                data_digest=self.spec.train_digest,
                sequences=len(missing),
            )
        return len(missing)

    def step(self, step: int) -> None:
        time.sleep(float(self.wanted.get("step_seconds", 0.02)))
        self.state = hashlib.sha256(f"{self.state}{step}".encode()).hexdigest()
        self.say(
            "step",
            step=step,
            total_steps=self.total,
            epoch=step / self.total,
            metrics={"loss": 0.7 / step, "rewards/accuracies": 0.5},
            pairs_per_second=10.0,
            eta_seconds=0.1,
            tokens=step * 100,
        )
        if step % 2 == 0 and step < self.total:
            path = self.seal("resume", step)
            if step == self.wanted.get("loses"):
                shutil.rmtree(self.spec.workspace / path)
            self.say("resume_point_sealed", step=step, path=path)
            self.saved_at = step
        if self.spec.row_tokens > self.wanted.get("fits", self.spec.row_tokens):
            self.act("exit:72")
        broken = self.wanted.get("broken")
        if broken is not None and broken in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(","):
            self.fail(Exit.INFRASTRUCTURE, "gpu_error", f"GPU {broken} of the node failed.", device=broken)
        if self.spec.run_id.endswith("-a1"):
            self.act(self.wanted.get("at", {}).get(str(step)))

    def act(self, wanted: str | None) -> None:
        if wanted is None:
            return
        if wanted == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if wanted == "silence":
            while True:
                signal.pause()
        code = int(wanted.removeprefix("exit:"))
        self.fail(code, "scripted", f"The script says {code}.")

    def fail(self, code: int, name: str, message: str, **more: Any) -> NoReturn:
        self.say("failed", code=name, message=message, step=self.start, **more)
        (self.spec.workspace / "ranks" / "0.exit").write_text(str(int(code)))
        sys.exit(code)

    def deaf(self, phase: str) -> None:
        if self.wanted.get("deaf_in") == phase:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self.say("phase", phase=phase)
            while True:
                signal.pause()

    def asked_to_stop(self) -> str | None:
        stop = self.spec.workspace / "stop"
        return stop.read_text().strip() if stop.exists() else None

    def record_process(self) -> None:
        start_time = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        path = self.spec.workspace / "ranks" / "0.json"
        path.write_text(json.dumps({"pid": os.getpid(), "start_time": start_time}))
        log = self.spec.workspace / "logs" / "rank-0.log"
        log.write_text("scripted rank 0, key plt_abc_0123456789abcdef\n")
        faulthandler.register(signal.SIGUSR1, log.open("a"), all_threads=True)


if __name__ == "__main__":
    sys.exit(Script(RunSpec.model_validate_json(Path(sys.argv[sys.argv.index("--spec") + 1]).read_bytes())).run())
