"""What is written beside exported weights."""

from pathlib import Path

from core.contract.run_spec import RunSpec
from trainer.export import adapter_config


def test_an_adapter_names_its_base_as_palate_does_and_no_path_of_this_machine(tmp_path: Path) -> None:
    from peft import LoraConfig

    spec = RunSpec.model_validate(
        {
            "run_id": "r",
            "workspace": tmp_path,
            "model_dir": tmp_path / "model",
            "model_digest": "a" * 64,
            "model_name": "people/base",
            "train_data": tmp_path / "pairs",
            "train_digest": "",
            "settings": {},
        }
    )
    config = LoraConfig(r=4, target_modules=["q_proj"], base_model_name_or_path=str(tmp_path / "model")).to_dict()
    written = adapter_config(config, spec)
    # PEFT's AutoPeftModel would ask the Hub for a revision.
    assert (written["base_model_name_or_path"], written["revision"]) == ("people/base", None)
    assert written["inference_mode"] is True
    assert str(tmp_path) not in str(written)
    nameless = adapter_config(config, spec.model_copy(update={"model_name": None}))
    assert nameless["base_model_name_or_path"] is None
