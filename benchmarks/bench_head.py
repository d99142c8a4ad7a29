"""The loss stage at a vocabulary of 152k and 16k scored tokens: peak memory (goal <= 1 GiB) and time, against torch.

`hidden state -> log-probabilities -> gradients`, forward and backward, fp32 on the CPU, each arm a process of its own.
Memory is what the stage takes above the hidden states, the head's weight and both their gradients. Plain torch (linear,
log_softmax, gather) holds the table of logits three times, 27.8 GiB here: it is run at a quarter of the tokens.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

VOCABULARY, WIDTH, TOKENS, FEWER = 151_936, 512, 16_384, 4_096
ROUNDS = 3


def resident() -> int:
    """Bytes, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def stage(arm: str, tokens: int) -> dict[str, float]:
    """One forward and backward: seconds, and bytes above what goes in and comes out."""
    import torch
    import torch.nn.functional as F

    from trainer.head import Head, Transform

    torch.manual_seed(0)
    linear = torch.nn.Linear(WIDTH, VOCABULARY, bias=False)
    hidden = torch.randn(tokens, WIDTH, requires_grad=True)
    targets = torch.randint(VOCABULARY, (tokens,))
    # What comes out, made beforehand, so that it is no part of the peak.
    linear.weight.grad, hidden.grad = torch.zeros_like(linear.weight), torch.zeros_like(hidden)
    linear.weight.grad += 1
    hidden.grad += 1
    head = Head(linear, Transform())
    before = resident()
    began = time.perf_counter()
    found = (
        head(hidden, targets)
        if arm == "ours"
        else F.linear(hidden, linear.weight).log_softmax(-1)[range(tokens), targets]
    )
    found.mean().backward()
    seconds = time.perf_counter() - began
    # The gradient that the backward gives is one more weight, until it is added to the one that was there.
    passing = linear.weight.nbytes + hidden.nbytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before - passing
    return {"seconds": seconds, "bytes": peak, "sum": float(found.detach().double().sum())}


def run(arm: str, tokens: int) -> dict[str, float]:
    command = [sys.executable, __file__, arm, str(tokens)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    print(platform.platform(), f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"vocabulary {VOCABULARY:,}, width {WIDTH}, medians of {ROUNDS}")
    arms: dict[tuple[str, int], list[dict[str, float]]] = {
        ("ours", TOKENS): [],
        ("ours", FEWER): [],
        ("torch", FEWER): [],
    }
    for _ in range(ROUNDS):
        for arm, tokens in arms:
            arms[arm, tokens].append(run(arm, tokens))
    middle = {key: sorted(found, key=lambda each: each["seconds"])[ROUNDS // 2] for key, found in arms.items()}
    apart = abs(middle["ours", FEWER]["sum"] / middle["torch", FEWER]["sum"] - 1)
    if apart > 1e-6:
        raise SystemExit(f"The arms do not compute the same: {apart:.1e} apart.")
    print("| arm | tokens | peak, MiB | seconds |\n|---|--:|--:|--:|")
    for (arm, tokens), found in middle.items():
        print(f"| {arm} | {tokens:,} | {found['bytes'] / 2**20:,.0f} | {found['seconds']:.1f} |")
    ours, torch = middle["ours", FEWER], middle["torch", FEWER]
    print(f"at {FEWER:,} tokens: {torch['seconds'] / ours['seconds']:.2f} x as fast as torch, ", end="")
    print(f"{ours['bytes'] / torch['bytes']:.2f} x its memory")
    print(f"at {TOKENS:,} tokens: {middle['ours', TOKENS]['bytes'] / 2**30:.2f} GiB (goal <= 1 GiB)")


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(stage(sys.argv[1], int(sys.argv[2]))))
    else:
        main()
