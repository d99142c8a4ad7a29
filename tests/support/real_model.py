"""The real model of the tests (demo.smollm2), or a skip that says why it is not there."""

from pathlib import Path

import pytest

from demo import smollm2


def real_model() -> Path:
    """The folder of SmolLM2-135M-Instruct in fp32; skips the test where the machine's package index has it not."""
    try:
        return smollm2.folder()
    except smollm2.Unavailable as error:
        pytest.skip(f"needs a real model: {error}")
