"""The name of a reference: what its log-probabilities depend on, beside the tokens that they belong to."""

import hashlib

# Raised by whoever changes what a sequence's log-probability means: which tokens count, or how they are summed.
SCORER_VERSION = 2


def reference_key(model_digest: str, precision: str) -> str:
    """sha256 (hex) of the model's digest (weights and config), compute dtype and scorer version.

    Kernel, layout and device are not in it: they change rounding only, and the gate judges whether that is so.
    """
    return hashlib.sha256(f"{model_digest}:{precision}:{SCORER_VERSION}".encode()).hexdigest()
