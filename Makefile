# `make run` does the main job, `make test` runs lint, types, tests and doctests, and `make bench`
# says whether anything has become slower. `make test-adapters` installs sbi and other tools and tests
# the flows inside them. `make oldest` and `make newest` run a smoke test with the
# oldest and the newest versions of all dependencies that pyproject.toml allows.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CODE := src tests benchmarks examples docs/conf.py docs/_extensions .ci hatch_build.py

.PHONY: run test test-adapters docs format bench oldest newest clean

# Threads that spin while they wait slow each other down where other programs run beside them.
test oldest newest: export OMP_WAIT_POLICY ?= passive

run: $(INSTALLED)
	$(BIN)/invflow vae photographs --learning-rate 0.002 --steps 4000 --overwrite

test: $(INSTALLED)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/pytest -q -n 2 -m "not slow and not gpu"

# The tools are large: only who works on the adapters needs them.
test-adapters: $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,adapters]"
	$(BIN)/pytest -q tests/adapters tests/test_docs.py

# The site, in build/site: `python -m http.server -d build/site` shows it.
docs: $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,docs]"
	$(BIN)/sphinx-build -q -E -W --keep-going docs build/site
	$(BIN)/pytest -q -m slow tests/test_site.py

format: $(INSTALLED)
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

bench: $(INSTALLED)
	$(BIN)/python benchmarks/guard.py

oldest newest:
	PYTHON=$(PYTHON) .ci/versions $@

clean:
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-newest src/invflow/kernels/libinvflow*

# The environment is made again only when what it is made from has changed.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,bench]"
	touch $@
