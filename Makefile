# Everything a user types. Each target sets up the environment first if that is needed.

CONFIG ?= configs/ws16.toml
TOP ?= all
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.stationary
SYNTH_STAMP := $(VENV)/.synthesis
LITEX_STAMP := $(VENV)/.litex
DOCS_STAMP := $(VENV)/.docs

.DEFAULT_GOAL := help
.PHONY: help setup tools demo demo-eie demo-transformer demo-pruning demo-text demo-driver test rtl regress bench lint synth litex docs clean

help:
	@echo "make demo                            train, quantize, map and run a small CNN on the RTL"
	@echo "make demo-eie                        train, prune and cluster a perceptron, run it on the sparse engine"
	@echo "make demo-transformer                train a small transformer, run it on the RTL"
	@echo "make demo-pruning                    the same on spatten, leaving out tokens and heads"
	@echo "make demo-text                       train a small decoder of characters, let it write on the RTL"
	@echo "make demo-driver                     train a small CNN, run it by the C driver, compiled as firmware would be"
	@echo "make test                            the whole test suite"
	@echo "make rtl CONFIG=configs/ws16.toml    write Verilog, C header, register map to build/rtl/<name>/"
	@echo "make regress                         the long randomised tests"
	@echo "make bench                           benchmarks, as JSON in build/bench/"
	@echo "make lint                            style and types"
	@echo "make synth CONFIG=configs/ws16.toml  area and clock frequency; TOP=array or TOP=pe for a part"
	@echo "make litex CONFIG=configs/ws16.toml  a LiteX system with the accelerator, as Verilog in build/litex/<name>/"
	@echo "make docs                            the documentation as HTML, in build/docs/html/"
	@echo "make setup                           only the environment, in $(VENV)/"
	@echo "make clean                           remove build/ (the environment stays)"

# One line names everything that is missing, before anything else runs (on every call: the stamp depends on it).
tools:
	@missing=""; \
	command -v g++ >/dev/null || command -v clang++ >/dev/null || missing="$$missing, a C++ compiler (g++ or clang++)"; \
	command -v perl >/dev/null || missing="$$missing, perl"; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| missing="$$missing, Python 3.11 or newer as '$(PYTHON)' (or: make PYTHON=...)"; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing, the venv module of Python (python3-venv)"; \
	if [ -n "$$missing" ]; then echo "stationary: please install: $${missing#, }" >&2; exit 1; fi

$(STAMP): pyproject.toml constraints.txt | tools
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@

setup: $(STAMP)

demo: $(STAMP)
	$(RUN) -m tests.demo

demo-transformer: $(STAMP)
	$(RUN) -m tests.demo.transformer

demo-pruning: $(STAMP)
	$(RUN) -m tests.demo.transformer_pruned

demo-text: $(STAMP)
	$(RUN) -m tests.demo.text

demo-driver: $(STAMP)
	$(RUN) -m tests.demo.driver

demo-eie: $(STAMP)
	$(RUN) -m tests.demo.mlp

test: $(STAMP)
	$(RUN) -m pytest -n 2 --dist worksteal --timeout 300

rtl: $(STAMP)
	$(RUN) -m rtl $(CONFIG) --out build/rtl

regress: $(STAMP)
	$(RUN) -m pytest -n 2 --dist worksteal -m regress --timeout 3600

bench: $(SYNTH_STAMP)
	$(RUN) -m tests.bench

lint: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m mypy

# Yosys and nextpnr, only where synthesis is wanted: they are large.
$(SYNTH_STAMP): $(STAMP)
	$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[synth]' -c constraints.txt
	@touch $@

synth: $(SYNTH_STAMP)
	$(RUN) -m rtl.synth $(CONFIG) --top $(TOP)

# LiteX, likewise.
$(LITEX_STAMP): $(STAMP)
	$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[litex]' -c constraints.txt
	@touch $@

litex: $(LITEX_STAMP)
	$(RUN) -m rtl.soc $(CONFIG)

# Sphinx, likewise.
$(DOCS_STAMP): $(STAMP)
	$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[docs]' -c constraints.txt
	@touch $@

docs: $(DOCS_STAMP)
	$(RUN) docs/build.py

clean:
	rm -rf build sim_build
