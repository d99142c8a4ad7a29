"""docs/models.md has every code with which a base model is refused, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

FILES = [f"planning/{name}.py" for name in ("at_rest", "model_folder", "model_json", "quantised", "tensors", "weights")]
FILES += [f"trainer/{name}.py" for name in ("check", "gguf", "gguf_header", "gguf_tokenizer", "merge")]
# Words of the page's sentences.
OTHERS = {"quantization_config", "eos_token_id"}


def codes(path: Path) -> Iterator[str]:
    """What is given as `code`: by name, as a default, as a class's own, last to `fault`, second to `read_json`."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.keyword(arg="code", value=ast.Constant(value=str(code))):
                yield code
            case ast.Call(func=ast.Attribute(attr="fault"), args=[_, _, ast.Constant(value=str(code))]):
                yield code
            case ast.Call(func=ast.Name(id="read_json"), args=[_, ast.Constant(value=str(code))]):
                yield code
            case ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(code))):
                yield code
            case ast.arguments(args=args, defaults=[*_, ast.Constant(value=str(code))]) if args[-1].arg == "code":
                yield code


def test_every_code_of_a_refusal_stands_on_the_page() -> None:
    raised = {code for name in FILES for code in codes(ROOT / name)}
    table = (ROOT / "docs" / "models.md").read_text().split("| code |")[1].split("\n## ")[0]
    told = set(re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+)+)`", table)) - OTHERS
    # What the trainer's own loading of a tokenizer says (trainer.data, trainer.folder).
    assert told == raised | {"invalid_model", "slow_tokenizer", "no_eos_token", "end_token_invalid"}
    assert len(raised) > 20
