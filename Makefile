# `make run` does the main job, `make test` runs lint, types, tests and doctests, and `make bench`
# says whether anything has become slower. `make test-adapters` installs sbi and other tools and tests
# the flows inside them, and `make slow` runs the tests that take minutes. `make oldest` and
# `make newest` run a smoke test with the oldest and the newest versions of all dependencies that
# pyproject.toml allows. `make dist` builds what is released, and tries it. `make docs` builds the site.
# `make tutorials` runs its notebooks again. `make figures` lists the commands behind the tables and
# pictures of the documentation.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CODE := src tests benchmarks examples docs/conf.py docs/_extensions .ci hatch_build.py

.PHONY: run test lint types tests slow test-adapters docs tutorials format bench figures oldest newest dist clean

# Threads that spin while they wait slow each other down where other programs run beside them.
tests slow oldest newest dist: export OMP_WAIT_POLICY ?= passive

run: $(INSTALLED)
	$(BIN)/invflow vae photographs --learning-rate 0.002 --steps 4000 --overwrite

test: lint types tests

lint: $(INSTALLED)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)

types: $(INSTALLED)
	$(BIN)/pyright --pythonpath $(BIN)/python

tests: $(INSTALLED)
	$(BIN)/pytest -q -n 2 -m "not slow and not gpu"

slow: $(INSTALLED)
	$(BIN)/pytest -q -m "slow and not gpu"

# The tools are large: only who works on the adapters needs them.
test-adapters: $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,adapters]"
	$(BIN)/pytest -q tests/adapters tests/test_docs.py

# The site, in build/site: `python -m http.server -d build/site` shows it.
docs: $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,docs]"
	$(BIN)/sphinx-build -q -E -W --keep-going docs build/site
	$(BIN)/pytest -q -m "not gpu" tests/test_site.py tests/test_docs.py

# The notebooks of docs/tutorials, run again.
tutorials: $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,docs]"
	$(BIN)/python .ci/tutorials.py

format: $(INSTALLED)
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

bench: $(INSTALLED)
	$(BIN)/python benchmarks/guard.py

figures: $(INSTALLED)
	$(BIN)/python benchmarks/figures.py

oldest newest:
	PYTHON=$(PYTHON) .ci/versions $@

dist:
	PYTHON=$(PYTHON) .ci/dist

clean:
	rm -rf build dist $(VENV) $(VENV)-oldest $(VENV)-newest $(VENV)-dist src/invflow/kernels/libinvflow*

# The environment is made again only when what it is made from has changed.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,bench]"
	touch $@
