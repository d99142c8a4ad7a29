"""A GGUF file as a model's folder: `python -m trainer gguf FILE FOLDER` writes de-quantised fp32 safetensors beside the
tokenizer that the file holds. They are the file's weights, not those that its author published before quantising."""

import sys
from pathlib import Path


def convert(file: Path, folder: Path) -> None:
    """Fills the empty or missing `folder`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    found = {"gguf_file": file.name, "local_files_only": True}
    quantised = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **found)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, **found)
    config = quantised.config
    # transformers refuses to save a model that it read from GGUF: one of the same weights is saved instead.
    for name in ("quantization_config", "_name_or_path"):
        if hasattr(config, name):
            delattr(config, name)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(quantised.state_dict(), strict=True)
    model.tie_weights()
    model.generation_config = GenerationConfig.from_model_config(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main(arguments: list[str]) -> int:
    file, folder = map(Path, arguments)
    convert(file, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
