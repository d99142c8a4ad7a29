"""LoRA against the model's own layers: which it adapts, how many weights that makes, and what cannot be adapted."""

import re

from core.contract.errors import BadInput
from core.contract.run_spec import Lora
from planning.facts import Matrix, ModelFacts

PARAM = "method.dpo.hyperparameters.lora.target_modules"
# The tables of a model, by the last part of their names; peft adapts them in ways that are not exported here.
TABLES = frozenset(
    "embed_tokens lm_head wte wpe embed_in embed_out word_embeddings embed_positions shared output_embeddings "
    "tok_embeddings token_type_embeddings embeddings".split()
)
NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")
SHOWN = 12


def is_table(matrix: Matrix, facts: ModelFacts) -> bool:
    return last(matrix.name) in TABLES or facts.vocab_size in (matrix.rows, matrix.columns)


def reachable(facts: ModelFacts) -> list[Matrix]:
    """The layers that an adapter can go into: as the trainer builds the model, else by the names of its weights."""
    if facts.linear is not None:
        return facts.linear
    return [each for each in facts.matrices if not is_table(each, facts)]


def last(name: str) -> str:
    return name.rpartition(".")[2]


def adapted(facts: ModelFacts, lora: Lora) -> list[Matrix]:
    """The layers that get an adapter; without `target_modules` all linear layers but the head."""
    linear = reachable(facts)
    if lora.target_modules is None:
        return linear
    return [each for each in linear if any(matches(each, target) for target in lora.target_modules)]


def matches(matrix: Matrix, target: str) -> bool:
    """As peft does it: the module's whole name or the end of it. Layer numbers must be there."""
    name = NUMBER.sub("*", target)
    numbers = [int(each) for each in NUMBER.findall(target)]
    # Weights are often stored without the name of the whole (`transformer.`) that stands before it in the module's.
    if not (("." + matrix.name).endswith("." + name) or name.endswith("." + matrix.name)):
        return False
    if matrix.name.count("*") != 1:
        return True
    return all(number in matrix.numbers if matrix.numbers else number < matrix.count for number in numbers)


def weights(facts: ModelFacts, lora: Lora) -> int:
    """Trainable elements: r x (rows + columns) of each adapted layer."""
    return sum(lora.r * (each.rows + each.columns) * each.count for each in adapted(facts, lora))


def check(facts: ModelFacts, targets: list[str]) -> None:
    """Raises BadInput for a target that is no layer of this model, or none that can be adapted."""
    linear = reachable(facts)
    for number, target in enumerate(targets):
        stored = [each for each in facts.matrices if matches(each, target)]
        hit = [each for each in linear if matches(each, target)]
        # A head that shares the embeddings' weight is stored under one of the two names.
        table = last(target) in TABLES or any(is_table(each, facts) for each in stored)
        if table or not hit:
            known = sorted({last(each.name) for each in linear})
            what = f"The model has no linear layer `{target}`"
            if table:
                what = f"`{target}` is a table of tokens, which LoRA does not adapt here"
            elif stored:
                what = f"`{target}` is in the model's files, but is no linear layer once the model is loaded"
            raise BadInput(
                f"{what}; it has {', '.join(known[:SHOWN])}.",
                code="lora_unfit" if table else "unknown_modules",
                param=f"{PARAM}.{number}",
            )


def caution(facts: ModelFacts, lora: Lora) -> str | None:
    """What a person should know of what LoRA leaves as it is."""
    if not facts.experts:
        return None
    layers = sorted({last(each.name) for each in adapted(facts, lora)})
    return (
        f"LoRA leaves the experts of this model as they are ({facts.experts:,} of {facts.parameters:,} weights): they "
        f"are no linear layers once it is loaded. Adapted: {', '.join(layers)}."
    )
