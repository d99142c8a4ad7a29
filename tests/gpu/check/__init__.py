"""What a person with a GPU runs once before the first job: `make gpu-check` (tests.gpu.check.__main__)."""
