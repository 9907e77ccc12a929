# One virtual environment, made from nothing but Python; a change of pyproject.toml brings it up to date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PARITY := .venv-parity

.PHONY: quickstart check test parity test-slow bench clean

quickstart: $(VENV)/.standard
	$(BIN)/python -m workflows.run quickstart

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Two processes, the tests of a file together: most of the suite waits for commands and for ray.
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

# Against transformers, in an environment of its own: paddlenlp's pins keep that at 4. One thread each: paddle's and torch's would
# spin while they wait, and keep each other from the cores.
parity: $(PARITY)/.parity
	OMP_NUM_THREADS=1 $(PARITY)/bin/python -m pytest tests/parity

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow

# Minutes to an hour, on a machine that does nothing else; DATA holds zhwiki/AA, enwiki/AA and vocab.
bench: $(VENV)/.dev
	$(BIN)/python -m tests.benchmarks.run --data $(DATA) --write

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.standard: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[cpu,paddlenlp]"
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[cpu,paddlenlp,test,dev]"
	touch $@ $(VENV)/.standard

$(PARITY)/.parity: pyproject.toml
	$(PYTHON) -m venv $(PARITY)
	$(PARITY)/bin/python -m pip install --quiet --disable-pip-version-check -e ".[cpu,parity]"
	touch $@

clean:
	rm -rf $(VENV) $(PARITY) quickstart *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
