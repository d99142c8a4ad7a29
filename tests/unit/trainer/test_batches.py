from hypothesis import given
from hypothesis import strategies as st

from core.contract.run_spec import Settings
from trainer.batches import global_batch, used
from trainer.schedule import learning_rate, steps_per_epoch, total_steps

sizes = st.integers(1, 60)


@given(pairs=sizes, batch=st.integers(1, 20), seed=st.integers(0, 9))
def test_an_epoch_holds_every_pair_once(pairs: int, batch: int, seed: int) -> None:
    for epoch in range(2):
        steps = range(epoch * steps_per_epoch(pairs, batch), (epoch + 1) * steps_per_epoch(pairs, batch))
        seen = [i for step in steps for i in global_batch(seed, step + 1, "d", pairs, batch)]
        assert sorted(seen) == list(range(pairs))


def test_a_batch_depends_on_seed_epoch_step_and_data_and_nothing_else() -> None:
    first = global_batch(1, 1, "d", 50, 8)
    global_batch(9, 7, "e", 20, 3)
    assert global_batch(1, 1, "d", 50, 8) == first
    assert first == (8, 4, 35, 46, 24, 30, 27, 21), "the order of every run ever made would change"
    others = [global_batch(2, 1, "d", 50, 8), global_batch(1, 2, "d", 50, 8), global_batch(1, 1, "e", 50, 8)]
    assert first not in others
    assert global_batch(1, 8, "d", 50, 8) not in [first, *others]


def test_steps() -> None:
    settings = Settings(batch_size=8, n_epochs=3)
    assert total_steps(20, settings) == 9
    assert total_steps(20, settings.model_copy(update={"max_steps": 4})) == 4
    assert total_steps(20, settings.model_copy(update={"max_steps": 400})) == 9


def test_schedules() -> None:
    def rates(schedule: str, warmup: float) -> list[float]:
        settings = Settings(learning_rate=1.0, lr_schedule=schedule, warmup_ratio=warmup)  # type: ignore[arg-type]
        return [round(learning_rate(step, 10, settings), 3) for step in range(1, 11)]

    assert rates("linear", 0.2) == [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]
    assert rates("constant", 0.2) == [0.5] + [1.0] * 9
    assert rates("cosine", 0.0)[::3] == [1.0, 0.794, 0.345, 0.024]
    assert rates("linear", 1.0)[-1] == 1.0


@given(pairs=sizes, batch=st.integers(1, 20), seed=st.integers(0, 9), steps=st.integers(1, 40))
def test_what_a_run_uses_is_what_its_steps_train_on(pairs: int, batch: int, seed: int, steps: int) -> None:
    trained = {i for step in range(1, steps + 1) for i in global_batch(seed, step, "d", pairs, batch)}
    assert used(seed, steps, "d", pairs, batch) == sorted(trained)
