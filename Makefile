# One entry point for users and developers. `make help` lists the targets.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Extra arguments for pip, e.g. PIP_ARGS="--extra-index-url <index with CPU builds of torch>".
# A machine without a GPU wants the CPU build: the default one brings several GB of CUDA.
PIP_ARGS ?=

.DEFAULT_GOAL := help

.PHONY: help install demo wheel test test-system bench bench-quick bench-load bench-soak bench-peers bench-gpu docs lint typing format clean triton monitoring

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml clients/pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e clients -e '.[dev]'
	@touch $@

install: $(VENV)/.installed ## make .venv with everything in it

demo: install ## serve painn_base and run molecular dynamics of three molecules against it
	$(BIN)/python -m forcegate_trainer.demo --out demo

wheel: install ## hold a group out, be alerted, retrain from the capture (about half an hour)
	$(BIN)/python examples/wheel.py --out runs/wheel

test: install ## every test that needs no long-running server (≤ 12 minutes on two cores)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not system"

test-system: install ## real servers, kills, long runs (≤ 45 minutes)
	$(BIN)/python -m pytest -m system

triton: install ## a Triton server on 127.0.0.1 for the models of the repository, without a container
	$(BIN)/python deploy/triton/serve.py

bench: install ## everything that is timed on a CPU (half an hour); results in benchmarks/results
	$(BIN)/python benchmarks/full.py
	$(BIN)/python benchmarks/latency.py

bench-quick: install ## every ratio asked of the compiled runtime (one to two minutes, once compiled)
	$(BIN)/python benchmarks/quick.py

bench-load: install ## the gateway under load, beside peers (half an hour; after bench-peers)
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/load.py
	$(BIN)/python benchmarks/fairness.py
	$(BIN)/python benchmarks/overload.py
	$(BIN)/python benchmarks/serving_peers.py

bench-soak: install ## ten minutes of mixed traffic, memory watched
	$(BIN)/python benchmarks/soak.py

bench-peers: install ## environments for the networks measured beside the students (2 GB each)
	PIP_ARGS="$(PIP_ARGS)" $(BIN)/python benchmarks/peers/install.py

bench-gpu: install ## the students on a CUDA GPU (five minutes)
	$(BIN)/python benchmarks/gpu.py

docs: install ## the documentation site, in site/ (open site/index.html)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: install ## ruff, formatting included
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install ## rewrite files to the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typing: install ## mypy --strict over the three packages
	$(BIN)/mypy

monitoring: install ## write alert rules, dashboards and docs/metrics.md anew
	cd deploy/monitoring && ../../$(BIN)/python -m forcegate_monitoring

clean: ## remove what runs leave behind; keeps .venv
	rm -rf demo site build dist .pytest_cache .mypy_cache .ruff_cache
