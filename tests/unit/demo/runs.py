"""A finished run with figures of its own choosing, for what tells about one."""

from demo.outcome import Ending, Outcome, Score, StoredFile


def ending(kind: str, text: str, opening: str = "One foggy evening, Mara & the <mine>.") -> Ending:
    assert kind in ("intriguing", "flat", "broken")
    return Ending(opening, text, kind, own=kind != "broken")  # type: ignore[arg-type]


def score(accuracy: float, intriguing: int, flat: int, broken: int, greedy: str) -> Score:
    sampled = (
        [ending("intriguing", "A.")] * intriguing + [ending("flat", "B.")] * flat + [ending("broken", "C.")] * broken
    )
    return Score(accuracy, chosen=-5.9, rejected=-6.1, sampled=sampled, shown=[ending(greedy, f"An ending, {greedy}.")])


def run() -> Outcome:
    return Outcome(
        model="ft:storyteller:default:intriguing:abc",
        job="ftjob-xyz",
        ranks=2,
        training_pairs=640,
        held_out_pairs=128,
        before=score(0.4921875, 59, 66, 3, "flat"),
        after=score(0.984375, 121, 2, 5, "intriguing"),
        metrics={
            "step": [0, 1, 2, 3],
            "train_loss": [None, 0.999, 0.8, 0.31],
            "rewards/accuracies": [None, 0.5, 0.75, 1.0],
            "rewards/margins": [None, 0.0, 1.5, 6.49],
            "rewards/chosen": [None, 0.0, 0.1, 0.2],
            "rewards/rejected": [None, 0.0, -1.4, -6.29],
            "logps/chosen": [None, -6.1, -6.0, -5.6],
            "valid_loss": [1.0, None, None, 0.3],
        },
        files=[StoredFile("model.safetensors", 3_544_168, "cd" * 32), StoredFile("config.json", 719, "79" * 32)],
        settings={"beta": "0.1", "learning_rate": "0.001"},
        timings={"Base model": 48.3, "Job, from request to model": 27.4},
        example=("An opening.", "A better ending.", "A flat ending."),
    )
