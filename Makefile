# Everything a person runs. The environment lies in .venv and is made by the first target that needs it.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
JOBS ?= auto

.PHONY: demo test lint bench campaign setup system-packages clean

# Sets everything up, carries an image and a folder over a damaged stick, and shows the result.
demo: $(VENV)/.installed
	sh tests/system-packages.sh demo
	$(RUN)/tidegate demo

# Sets everything up, passes the tests.
test: $(VENV)/.installed-dev system-packages
	$(RUN)/pytest -n $(JOBS) -m "not campaign" $(PYTEST)

lint: $(VENV)/.installed-dev
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports --no-cache

# The figures of docs/benchmarks.md, each peer measured in the same run. Takes some 35 minutes; nothing else should run.
bench: $(VENV)/.installed-dev system-packages
	$(RUN)/python bench/run.py

# Long: kills, injected faults and random damage by the thousand.
campaign: $(VENV)/.installed-dev system-packages
	$(RUN)/pytest -n 2 -m campaign $(PYTEST)

# The real servers and file systems that tests use: installed where that is allowed, else named.
system-packages:
	sh tests/system-packages.sh all

setup: $(VENV)/.installed-dev

$(VENV)/bin/python:
	sh tests/make-venv.sh "$(PYTHON)" $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(RUN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml
	$(RUN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) .build
