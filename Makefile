# The two commands: `make demo` and `make test`. Each needs Python ≥ 3.11 and make, and sets up all else by itself.

PYTHON ?= python3
EXTRAS ?= embedded
UV_VERSION := 0.13.9
UV := .uv/bin/uv
BIN := .venv/bin
# axolotl and LLaMA-Factory pin gigabytes that their loaders of text do not need, and each other's versions away.
TRAINERS := axolotl==0.19.0 llamafactory==0.9.5
TRAINERS_NEED := addict av colorama fire omegaconf peft trl==1.16.0
LORA_TESTS := hypothesis pytest pytest-asyncio pytest-timeout
# Compiled once here, where PYTHONDONTWRITEBYTECODE is set every process would compile every package anew: for seconds.
SYNC := UV_PROJECT_ENVIRONMENT=.venv $(UV) sync --quiet --locked --compile-bytecode --extra embedded --python $(PYTHON)

# An empty value lets Python and pytest keep what they compiled: else each worker of the tests compiles all tests again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help install demo test quick short lint format docs prompts soak explore mutate lora worked trainers bench clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

install: $(UV) ## the command gristmill for you, in an environment of its own; EXTRAS=embedded,lora for more
	$(UV) export --quiet --locked --no-dev --no-emit-project --no-hashes --all-extras --output-file .uv/locked.txt
	$(UV) tool install --quiet --force --link-mode copy --python $(PYTHON) --constraints .uv/locked.txt '.[$(EXTRAS)]'
	@printf 'installed: %s/gristmill\n' "$$($(UV) tool dir --bin)"

demo: .venv/demo.stamp ## grind the example papers with the embedded models; the table at the end
	$(BIN)/gristmill run examples/papers --out demo --config examples/demo.toml

test: .venv/dev.stamp ## the tests, as many at a time as there are cores, and how much of the code they run
	GRISTMILL_EMBEDDED_MODEL=small $(BIN)/pytest -n auto --dist loadgroup --cov --cov-report= $(ARGS)
	@printf 'coverage, child processes left out: %s %%\n' "$$($(BIN)/coverage report --format=total)"

quick: .venv/dev.stamp ## in a minute: style, types, and the tests that are short, start no process and read no real papers
	@$(MAKE) --no-print-directory --jobs 2 lint short

# Their files are in memory where the system has a folder there, so that nothing waits for a disk.
short: .venv/dev.stamp
	$(if $(wildcard /dev/shm),TMPDIR=/dev/shm) $(BIN)/pytest -q -n auto -m 'not soak and not processes and not slow and not papers' --hypothesis-profile quick $(ARGS)

lint: .venv/dev.stamp ## style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv/dev.stamp ## put the style right
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: .venv/dev.stamp ## write the references of configuration and commands, and build the site into site/
	$(SYNC) --inexact --group docs
	$(BIN)/python -m jobs.config.reference docs
	$(BIN)/python -m jobs.cli.reference docs
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env --doctree-dir site/.doctrees docs site

prompts: .venv/dev.stamp ## keep the prompt texts of the installed LlamaIndex, for a new release of it
	$(BIN)/python -m jobs.models.prompts.installed

soak: .venv/dev.stamp ## long runs: kills, faults, scale
	GRISTMILL_EMBEDDED_MODEL=small $(BIN)/pytest -m soak --timeout 1800 -s $(ARGS)

explore: .venv/dev.stamp ## the property tests, with fresh examples and more of them
	GRISTMILL_EMBEDDED_MODEL=small $(BIN)/pytest -m hypothesis --hypothesis-profile explore --timeout 1800 $(ARGS)

mutate: .venv/dev.stamp ## does a test fail when the engine's crash logic changes? ONLY="engine.shards*" for a part
	$(SYNC) --inexact --group mutation
	nice -n 19 $(BIN)/python tests/mutate.py $(ONLY) $(ARGS)

lora: .venv-lora/stamp ## the tests of local fine-tuning, with torch, in an environment of their own
	GRISTMILL_EMBEDDED_MODEL=small .venv-lora/bin/pytest tests/lora $(ARGS)

worked: .venv-lora/stamp ## the worked example from PAPERS=folder: pairs, trainings, one table; it goes on where it was stopped
	.venv-lora/bin/python examples/worked $(PAPERS) $(if $(OUT),--out $(OUT)) $(if $(PAIRS),--pairs $(PAIRS)) $(ARGS)

trainers: .venv-trainers/stamp ## what is exported, in the loaders of TRL, axolotl and LLaMA-Factory, in an environment of their own
	.venv-trainers/bin/pytest tests/trainers $(ARGS)

bench: .venv/dev.stamp ## measure against the floor and the rivals, into benchmarks/RESULTS.md; ONLY=overhead,parse for some
	$(BIN)/python benchmarks $(if $(ONLY),--only $(ONLY))

clean: ## take away what was set up and what the demo made
	rm -rf .venv .venv-lora .venv-trainers .uv demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage mutants site

# uv lives in an environment of its own, so that nothing on the machine is touched.
$(UV):
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/dev.stamp: pyproject.toml uv.lock | $(UV)
	$(SYNC)
	touch $@

# pip, not uv: torch alone is gigabytes where the index has no build of it for processors, and pip takes one that is here.
.venv-lora/stamp: pyproject.toml
	$(PYTHON) -m venv .venv-lora
	.venv-lora/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	.venv-lora/bin/pip install --quiet --disable-pip-version-check -e '.[embedded,lora]' $(LORA_TESTS)
	touch $@

.venv-trainers/stamp: pyproject.toml
	$(PYTHON) -m venv .venv-trainers
	.venv-trainers/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	.venv-trainers/bin/pip install --quiet --disable-pip-version-check -e . $(TRAINERS_NEED) $(LORA_TESTS)
	.venv-trainers/bin/pip install --quiet --disable-pip-version-check --no-deps $(TRAINERS)
	touch $@

.venv/demo.stamp: pyproject.toml uv.lock | $(UV)
	$(SYNC) --no-dev --inexact
	$(BIN)/python -m jobs.models.weights
	touch $@
