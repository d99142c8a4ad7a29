"""The plan against the run: seconds of training, seconds of the whole run, and peak memory, over 20 small runs.

One rank on a CPU, started by hand. Six runs of other sizes calibrate first, as finished jobs do on a node; no forecast
sees a figure of its own run. Results are kept in a file, so that it can go on: `bench_plan.py [--results FILE]`.

`--real FOLDER`: SmolLM2-135M on real pairs of that folder, full weights and LoRA, fp32 and bf16; each forecast before
any job (the node's calibration alone) and after one job of the same kind on other data. Seconds are the process's own
(one thread): on a quiet machine they are the clock's, on a busy one nearly so.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.plan_setups import CALIBRATION, FORECAST, Setup, make_data, make_model, real_setups  # noqa: E402
from core.contract.job_spec import DpoHyperparameters  # noqa: E402
from core.contract.run_spec import Inspection, InspectSpec, RunSpec  # noqa: E402
from demo import smollm2  # noqa: E402
from planning import facts as model_facts  # noqa: E402
from planning import memory, weights  # noqa: E402
from planning import time as times  # noqa: E402
from planning.facts import ModelFacts  # noqa: E402
from planning.model_json import read_json  # noqa: E402
from planning.node import Calibration, NodeFacts, Rate  # noqa: E402
from planning.resolve import resolve  # noqa: E402

WARM_UP = 3
WITHIN = 0.10


def prepared(base: Path, setup: Setup) -> tuple[RunSpec, Inspection, ModelFacts]:
    from trainer.inspect import inspect

    model = smollm2.folder() if setup.data else make_model(base / "model", setup)
    digest = make_data(base / "data.zst", setup)
    found = inspect(InspectSpec(model_dir=model, data=base / "data.zst", loss=setup.loss, out=base / "inspection"))
    known = model_facts.facts(read_json(model / "config.json"), weights.read(model)[0])
    assert known is not None
    asked: dict[str, Any] = {
        "batch_size": setup.batch,
        "lora": {} if setup.lora else None,
        "precision": setup.precision,
    }
    settings = resolve(
        DpoHyperparameters.model_validate(asked), pairs=found.usable, max_length=found.max_length, loss=setup.loss
    )
    spec = RunSpec(
        run_id=setup.name,
        workspace=base / "run",
        model_dir=model,
        model_digest="bench",
        train_data=base / "data.zst",
        train_digest=digest,
        settings=settings,
        row_tokens=memory.row_budget(settings, found, facts=known),
    )
    return spec, found, known


def run(setup: Setup) -> dict[str, Any]:
    """What the run took, and what the forecast needs."""
    with tempfile.TemporaryDirectory() as folder:
        spec, found, known = prepared(Path(folder), setup)
        spec.workspace.mkdir()
        path = spec.workspace / "run.json"
        path.write_text(spec.model_dump_json())
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        process = subprocess.Popen([sys.executable, "-m", "trainer", "--spec", str(path)], cwd=ROOT, env=environment)
        seen = watched(process, spec.workspace / "events.jsonl")
        _, status, usage = os.wait4(process.pid, 0)
        spent = usage.ru_utime + usage.ru_stime
        if status:
            logs = "\n".join(each.read_text()[-2000:] for each in (spec.workspace / "logs").glob("*.log"))
            raise SystemExit(f"{setup.name} ended with {status}: {logs}")
        events = [json.loads(line) for line in (spec.workspace / "events.jsonl").read_text().splitlines()]
        at = list(zip(events, seen, strict=False))
        steps = [used for event, used in at if event["event"] == "step"]
        begun = {event.get("phase", event["event"]): used for event, used in reversed(at)}
        return {
            "setup": asdict(setup),
            "spec": spec.model_dump(mode="json"),
            "inspection": found.model_copy(update={"previews": [], "problems": []}).model_dump(mode="json"),
            "facts": known.model_dump(),
            "layout": next(event["layout"] for event in events if event["event"] == "started"),
            "steps": [after - before for before, after in pairwise(steps)],
            "wall": spent,
            "start": begun["started"],
            "end": spent - begun["exporting"],
            "peak": usage.ru_maxrss << 10,
        }


def watched(process: subprocess.Popen[bytes], path: Path) -> list[float]:
    """Seconds of its processors that the run had used when each of its events was there; until it ends."""
    hertz, seen, found = os.sysconf("SC_CLK_TCK"), 0, list[float]()
    with path.open("a+") as events:
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            events.seek(seen)
            fresh = events.read()
            lines = fresh.count("\n")
            if lines:
                used = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
                found += [sum(map(int, used)) / hertz] * lines
                seen += len(fresh[: fresh.rindex("\n") + 1].encode())
            time.sleep(0.02)
    return found


def rate(result: dict[str, Any]) -> Rate:
    spec, found = RunSpec.model_validate(result["spec"]), Inspection.model_validate(result["inspection"])
    known = ModelFacts.model_validate(result["facts"])
    return Rate(
        parameters=known.parameters,
        precision=spec.settings.precision,
        lora=spec.settings.lora is not None,
        work=times.work(known, spec.settings, found, ranks=1, row_tokens=spec.row_tokens),
        seconds=statistics.median(result["steps"][WARM_UP:]),
        start=result["start"],
        end=result["end"],
    )


def errors(result: dict[str, Any], node: NodeFacts) -> dict[str, float]:
    """Forecast over measurement, less 1."""
    from planning.plan import fit_on

    spec, found = RunSpec.model_validate(result["spec"]), Inspection.model_validate(result["inspection"])
    known = ModelFacts.model_validate(result["facts"])
    forecast = times.forecast(known, spec.settings, found, ranks=1, row_tokens=spec.row_tokens, node=node)
    a_step = forecast.training / times.total_steps(spec.settings, found.usable)
    peak = fit_on(node, spec.settings, found, known, 1).total
    return {
        "step": a_step / statistics.median(result["steps"][WARM_UP:]) - 1,
        "run": forecast.total / result["wall"] - 1,
        "memory": peak / result["peak"] - 1,
    }


def measured(results: Path, wanted: list[Setup], most: int) -> dict[str, Any] | None:
    """By name, those that are kept with those that are missing; None where more than `most` are."""
    known: dict[str, Any] = json.loads(results.read_text()) if results.exists() else {}
    missing = [setup for setup in wanted if setup.name not in known]
    for setup in missing[:most]:
        known[setup.name] = run(setup)
        results.write_text(json.dumps(known))
        print(f"{setup.name}: {known[setup.name]['wall']:.1f} s", flush=True)
    return known if len(missing) <= most else None


def calibrated() -> Calibration:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "trainer", "calibrate"]
    return Calibration.model_validate_json(
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE).stdout
    )


def real(results: Path, most: int) -> None:
    """Prints a row a run: what it took, and how far the forecasts were off."""
    kept = results.with_suffix(".calibration.json")
    if not kept.exists():
        kept.write_text(calibrated().model_dump_json())
    bare = NodeFacts(slots=1, memory_bytes=24 << 30, calibration=Calibration.model_validate_json(kept.read_text()))
    setups = real_setups()
    known = measured(results, setups, most) or json.loads(results.read_text())
    print("| run | step, s | before any job | after one | whole run, s | before any job | after one |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for number, setup in enumerate(setups):
        other = setups[number ^ 1]  # of the same kind, on other data
        if setup.name not in known:
            continue
        result = known[setup.name]
        first = errors(result, bare)
        one = bare.model_copy(update={"rates": [rate(known[other.name])]}) if other.name in known else None
        then = errors(result, one) if one else {}
        kind = f"{'LoRA' if setup.lora else 'full'} {setup.precision}, {setup.data}"
        cells = [
            cell
            for what, took in (("step", statistics.median(result["steps"][WARM_UP:])), ("run", result["wall"]))
            for cell in (f"{took:.1f}", f"{first[what]:+.0%}", f"{then[what]:+.0%}" if then else "")
        ]
        print(f"| {' | '.join([kind, *cells])} |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", type=Path, default=Path(tempfile.gettempdir()) / "bench_plan.json")
    parser.add_argument("--most", type=int, default=100, help="runs in one go")
    parser.add_argument("--real", type=Path, help="the folder of real preference files")
    arguments = parser.parse_args()
    if arguments.real:
        from benchmarks.arms import work

        work.DATA = arguments.real
        real(arguments.results, arguments.most)
        return
    known = measured(arguments.results, [*CALIBRATION, *FORECAST], arguments.most)
    if known is None:
        return
    node = NodeFacts(slots=1, memory_bytes=24 << 30, rates=[rate(known[each.name]) for each in CALIBRATION])
    found = {setup.name: errors(known[setup.name], node) for setup in FORECAST}
    for name, each in found.items():
        print(f"{name:40}" + "  ".join(f"{what} {value:+.1%}" for what, value in each.items()))
    for what in ("step", "run", "memory"):
        values = [abs(each[what]) for each in found.values()]
        share = sum(value <= WITHIN for value in values) / len(values)
        print(f"{what}: {share:.0%} of {len(values)} within 10 %", end=", ")
        print(f"median {statistics.median(values):.1%}, most {max(values):.1%}")


if __name__ == "__main__":
    main()
