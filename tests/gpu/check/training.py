"""Runs of the trainer on a random model of an 8B's shape: LoRA to its verified exports; all weights, cut in two."""

import json
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.contract import manifest
from core.contract.run_spec import Inspection, InspectSpec, Lora, ResumeFrom, RunSpec, Settings
from planning import weights
from planning.facts import facts
from planning.memory import recomputes, row_budget
from planning.model_json import read_json
from planning.node import NodeFacts
from planning.plan import Fit, fit_on
from tests.gpu.check import shapes, timed_trainer
from tests.gpu.check.part import GB, Asked, NotHere, Progress, Seen, Wrong
from tests.gpu.parents import environment, serving
from tests.gpu.warm_runs import WarmRun
from tests.launch import Run
from tests.pairs import write_records

TIMED = ("-m", "tests.gpu.check.timed_trainer")
BATCH = {"8b": 16, "tiny": 4}
LORA_STEPS = 20
FULL_STEPS, CUT_AFTER = 10, 5
# Steps from which speed is taken: what is compiled is compiled by then, and none of them is profiled.
WARM_UP = timed_trainer.PROFILED
# Of a resume point of all weights in bf16: masters and two moments in fp32; and, for a while, the one before it.
RESUME_BYTES = 12


@dataclass(frozen=True)
class Planned:
    spec: RunSpec
    fit: Fit
    parameters: int
    fed_a_step: int


def planned(asked: Asked, name: str, settings: Settings, ranks: int, **more: Any) -> Planned:
    """As the service would: looked at, then rows and memory by the arithmetic of planning. Raises NotHere."""
    from trainer import inspect

    model = shapes.model(asked)
    steps = settings.max_steps or 1
    data = asked.folder / f"{name}.zst"
    digest = write_records(data, shapes.pairs(steps * settings.batch_size, asked.size))
    inspection = inspect.inspect(InspectSpec(model_dir=model, data=data, out=data))
    if inspection.fatal or inspection.dropped:
        raise Wrong(f"of {inspection.records} pairs {inspection.dropped} fell out: {inspection.fatal}")
    known = facts(read_json(model / "config.json"), weights.read(model)[0])
    assert known is not None
    node = NodeFacts(name="this", device=asked.device, slots=asked.devices, memory_bytes=asked.memory_bytes)
    fit = fit_on(node, settings, inspection, known, ranks)
    if fit.fits is False and not asked.tiny:
        raise NotHere(f"{fit.reason}")
    on: dict[str, Any] = {"ranks": ranks, "facts": known, "node": node}
    spec = RunSpec(
        run_id=name,
        workspace=asked.folder / name,
        model_dir=model,
        model_digest=asked.shape,
        model_name=asked.shape,
        train_data=data,
        train_digest=digest,
        world_size=ranks,
        device="cuda" if asked.cuda else None,
        seed=5,
        settings=settings,
        row_tokens=row_budget(settings, inspection, **on),
        recompute=recomputes(settings, inspection, **on),
        shard_bytes=shapes.SHARD_BYTES[asked.size],
        **more,
    )
    return Planned(spec, fit, known.parameters, fed(inspection) // steps)


def fed(inspection: Inspection) -> int:
    return inspection.fed["shared"].tokens


def follow(asked: Asked, run: Run, until_step: int | None = None) -> int | None:
    """The exit code, or None once `until_step` is done. Raises TimeoutExpired, and has ended the run then."""
    progress, deadline = Progress(), time.monotonic() + asked.left
    while run.process.poll() is None:
        events = run.events()
        done = max((event["step"] for event in events if event["event"] == "step"), default=0)
        if until_step is not None and done >= until_step:
            progress.end()
            return None
        phase = next((phase_of(event) for event in reversed(events) if event["event"] == "phase"), "starting")
        progress.tell(f"{run.spec.run_id}: {phase}, step {done}")
        if time.monotonic() > deadline:
            run.code(0.0)
        time.sleep(0.2)
    progress.end()
    return run.code()


def must(run: Run, code: int | None, wanted: int) -> None:
    if code != wanted:
        failed = run.events("failed")
        why = f"{failed[0]['code']}: {failed[0]['message']}" if failed else run.logs()[-1500:]
        raise Wrong(f"the run ended with {code}, not {wanted}: {why}")


def lora(asked: Asked) -> Seen:
    """r 16 in bf16: every gate, both exports, the reload check; the figures of each."""
    settings = Settings(
        lora=Lora(), precision="bf16", learning_rate=1e-5, batch_size=BATCH[asked.size], max_steps=LORA_STEPS
    )
    plan = planned(asked, "lora", settings, 1, export=["model", "adapter"])
    began = time.monotonic()
    known = environment(asked.threads) | ({timed_trainer.PROFILE: "1"} if asked.profile else {})
    run = Run(plan.spec, TIMED, known)
    try:
        code = follow(asked, run)
    except subprocess.TimeoutExpired:
        raise Wrong(f"not done in time: {last_words(run)}") from None
    must(run, code, 0)
    return report(run, plan, time.monotonic() - began)


def last_words(run: Run) -> str:
    events = run.events()
    return json.dumps(events[-1])[:300] if events else run.logs()[-300:]


def report(run: Run, plan: Planned, seconds: float) -> Seen:
    (started,), steps = run.events("started"), run.events("step")
    verified = run.events("verified")
    if len(steps) != started["total_steps"]:
        raise Wrong(f"{len(steps)} of {started['total_steps']} steps")
    if not (verified and verified[-1]["passed"]):
        raise Wrong(f"not verified: {verified[-1]['message'] if verified else 'no word of it'}")
    missing = [kind for kind, there in exported(run).items() if not there]
    if missing:
        raise Wrong(f"not exported: {', '.join(missing)}")
    details = started["details"]
    if started["layout"] != "shared":
        raise Wrong(f"layout {started['layout']}: {details['layout_reason']}")
    rate = statistics.median(event["pairs_per_second"] for event in steps[WARM_UP:])
    tokens = statistics.median(event["metrics"]["tokens_per_second"] for event in steps[WARM_UP:])
    seen = Seen(f"{len(steps)} steps, {rate:.2f} pairs/s, verified")
    seen.add("parameters", f"{plan.parameters:,}")
    seen.add("pairs/s, tokens/s fed (median)", f"{rate:.2f}, {tokens:,.0f}")
    seen.add("seconds of the whole run", f"{seconds:.1f}")
    for name, each in phases(run.events()).items():
        seen.add(f"phase {name}, s", f"{each:.1f}")
    noise = details["noise"]
    seen.add("noise, nats/sqrt(token)", f"{noise['sums']:.2e}")
    seen.add("noise of the gradients, L2", f"{noise['gradients']:.2e}")
    for name, errors in details["layout_errors"].items():
        seen.add(f"error: {name}", ", ".join(f"{error:.2e}" for error in errors))
    seen.add("rows and recompute", f"{plan.spec.row_tokens:,} tokens at most, {plan.fed_a_step:,} a step, "
             f"{'with' if details['recompute'] else 'no'} recompute")  # fmt: skip
    for name, value in verified[-1]["figures"].items():
        seen.add(f"verified: {name}", f"{value:.4g}")
    timings = json.loads((run.spec.workspace / "timings.json").read_text())
    memory(seen, plan.fit, timings, steps)
    for name in timed_trainer.TIMED:
        calls = timings["seconds"].get(name, [])
        seen.add(f"time: {name}, s", f"{sum(calls):.2f}" + (f" in {len(calls)} calls" if len(calls) > 1 else ""))
    if timings["profile"]:
        told = sorted(timings["profile"]["shares"].items(), key=lambda each: -each[1])
        seen.add(f"profile of step {timed_trainer.PROFILED}", ", ".join(f"{name} {share:.1%}" for name, share in told))
    return seen


def memory(seen: Seen, fit: Fit, timings: dict[str, Any], steps: Sequence[dict[str, Any]]) -> None:
    """On a GPU what torch allocated, against the plan without what no tensor holds; else of the process."""
    parts = fit.parts
    trained = steps[-1]["metrics"].get("memory_bytes")
    wanted = parts.total - parts.runtime
    if trained is not None:
        seen.add("peak while training, GB", f"{trained / GB:.2f} of {(wanted - parts.verifying) / GB:.2f} planned")
    if "allocated_bytes" in timings:
        seen.add("peak of all, GB", f"{timings['allocated_bytes'] / GB:.2f} of {wanted / GB:.2f} planned")
        seen.add("held by the allocator, GB", f"{timings['reserved_bytes'] / GB:.2f}")
    elif timings:
        seen.add("peak of the process, GB", f"{timings['resident_bytes'] / GB:.2f} of {parts.total / GB:.2f} planned")


def exported(run: Run) -> dict[str, bool]:
    (sealed,) = [event for event in run.events("checkpoint_sealed") if event["final"]]
    files = {entry.path for entry in manifest.read(run.spec.workspace / sealed["path"]).files}
    return {
        "model": any(Path(path).name.startswith("model") and path.endswith(".safetensors") for path in files),
        "adapter": any(Path(path).name == "adapter_model.safetensors" for path in files),
    }


def phase_of(event: dict[str, Any]) -> str:
    """`starting` is what lies between tokenising and the first forward that counts: weights, ZeRO-3, probe, gates."""
    over = event["phase"] == "tokenizing" and 0 < event["total"] == event["done"]
    return "starting" if over else str(event["phase"])


def phases(events: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Seconds from a phase's first word to the next one's."""
    marks: list[tuple[str, float]] = []
    for event in events:
        name = phase_of(event) if event["event"] == "phase" else None
        if name and (not marks or marks[-1][0] != name):
            marks.append((name, event["time"]))
    found: dict[str, float] = {}
    ends = [*(moment for _, moment in marks[1:]), events[-1]["time"]]
    for (name, moment), end in zip(marks, ends, strict=True):
        found[name] = found.get(name, 0.0) + end - moment
    return found


def full(asked: Asked) -> Seen:
    """All weights over every device: a straight run, and the same drained after half of it and resumed."""
    if asked.devices < 2:
        raise NotHere("one device is here, two are needed")
    settings = Settings(precision="bf16", learning_rate=1e-6, batch_size=BATCH[asked.size], max_steps=FULL_STEPS)
    plan = planned(asked, "full", settings, asked.devices)
    enough = plan.parameters * (2 * RESUME_BYTES + 3 * 2)
    shapes.enough_room(asked.folder, enough, "two resume points and three models")
    known = environment(asked.threads)
    with serving(asked.folder / "node", known) as parent:

        def begin(name: str, **more: object) -> WarmRun:
            given = {"run_id": name, "workspace": asked.folder / name, **more}
            return WarmRun(parent, plan.spec.model_copy(update=given), known)

        whole = begin("straight")
        must(whole, follow(asked, whole), 0)
        first = begin("drained")
        follow(asked, first, until_step=CUT_AFTER)
        (first.spec.workspace / "stop").write_text("drain")
        began = time.monotonic()
        must(first, follow(asked, first), 10)
        drained = time.monotonic() - began
        point = first.spec.workspace / first.events("resume_point_sealed")[-1]["path"]
        source = ResumeFrom(path=point, manifest_digest=manifest.read(point).digest())
        second = begin("resumed", resume_from=source)
        must(second, follow(asked, second), 0)
    same(whole, [first, second])
    steps = whole.events("step")
    rate = statistics.median(event["pairs_per_second"] for event in steps[CUT_AFTER:])
    seen = Seen(f"{asked.devices} ranks, {rate:.2f} pairs/s; drained and resumed: the same weights, bit for bit")
    seen.add("pairs/s (median)", f"{rate:.2f}")
    seen.add("seconds of the drain", f"{drained:.1f}")
    seen.add("resumed from step", second.events("started")[0]["resumed_from_step"])
    memory(seen, plan.fit, {}, steps)
    return seen


def same(whole: Run, parts: Sequence[Run]) -> None:
    told = [event["metrics"]["loss"] for run in parts for event in run.events("step")]
    straight = [event["metrics"]["loss"] for event in whole.events("step")]
    if told != straight:
        raise Wrong(f"the losses are not those of the straight run: {told} and {straight}")

    def sums(run: Run) -> dict[str, str]:
        (sealed,) = [event for event in run.events("checkpoint_sealed") if event["final"]]
        return {entry.path: entry.sha256 for entry in manifest.read(run.spec.workspace / sealed["path"]).files}

    if sums(whole) != sums(parts[-1]):
        raise Wrong("the losses are those of the straight run, the weights are not")
