# From nothing but python3 (3.11 or newer) and make:
#   make demo   install, then turn the words "a rooster" into a picture, a clip with sound, a sound and a caption
#   make test   install with the development extras, then run the whole suite
#   make docs   build the manual into site/, which any browser opens: site/index.html
# A second run is quick: .venv is refreshed only when pyproject.toml or constraints.txt changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
DEMO := demo

.DEFAULT_GOAL := help
.PHONY: help demo test docs lint clean

help:
	@sed -n '1,5p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed; name one with make PYTHON=…" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# pip reads the time stamps' files; an install that fails leaves no stamp and is tried again.
$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable ".[dev]"
	@touch $@ $(VENV)/installed

demo: $(VENV)/installed
	$(BIN)/opencodi generate --text "a rooster" --to image,video,audio,text --seed 0 --output $(DEMO)
	@echo "The picture, the clip, the sound and the caption are in $(CURDIR)/$(DEMO)"

# Two processes, a file of tests to each at a time: fixtures of a file are made once.
test: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

docs: $(VENV)/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .

clean:
	rm -rf $(VENV) $(DEMO) site
