# Two commands: `make demo` shows what gradflow does, `make test` checks that it does it.
# CONTRIBUTING.md says what the others are for.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := gradflow-demo
# Each worker gets a stretch of the tests: what a file of them draws is drawn once.
SIDE_BY_SIDE := -n 2 --dist worksteal

.PHONY: demo test test-fast test-oldest test-newest test-extras lint types imports tests coverage \
	audit dist docs docs-site docs-check figures golden gpu browser install clean
.DEFAULT_GOAL := demo

# The stamps say what is installed, and go stale when the pins or the project's needs change.
$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing gradflow and what it needs: minutes, most of them for PyTorch"
	$(BIN)/python -m pip install --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[dev]"
	touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[docs]"
	touch $@

install: $(VENV)/installed

demo: $(VENV)/installed
	@mkdir -p $(DEMO)
	$(BIN)/gradflow plot sigmoid relu gelu -o $(DEMO)/activations.png
	$(BIN)/gradflow diagnose --depth 10 --act sigmoid -o $(DEMO)/diagnose-sigmoid.png
	$(BIN)/gradflow diagnose --depth 10 --act relu --init he-normal --width 512 -o $(DEMO)/diagnose-relu.png
	$(BIN)/gradflow clip --init he-normal --gain 1.5 --depth 6 --lr 0.001 -o $(DEMO)/clip.png
	$(BIN)/gradflow benchmark --quick -o $(DEMO)/benchmark.png -o $(DEMO)/benchmark.md
	@echo "The pictures lie in $(CURDIR)/$(DEMO):" && ls $(DEMO)

test: lint types imports tests

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-dev
	$(BIN)/mypy

imports: $(VENV)/installed-dev
	$(BIN)/lint-imports

tests: $(VENV)/installed-dev
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

# Without the tests that take longer than five seconds: while working, not instead of `make test`.
test-fast: $(VENV)/installed-dev
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not slow"

# Branches too, and those of the processes that the tests start; fails below the gate that
# pyproject.toml sets.
coverage: $(VENV)/installed-dev
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --cov --cov-report=term-missing:skip-covered

# The tests with the oldest of all that pyproject.toml allows, and with the newest there is. Both
# fetch a torch of their own, gigabytes where it is built for CUDA: PYTHON says for which Python.
test-oldest: $(VENV)/installed-dev
	$(PYTHON) -m venv $(VENV)-oldest
	$(BIN)/python scripts/bounds.py dev > $(VENV)-oldest/constraints.txt
	$(VENV)-oldest/bin/pip install --quiet --constraint $(VENV)-oldest/constraints.txt --editable ".[dev]"
	$(VENV)-oldest/bin/python -m pytest $(SIDE_BY_SIDE)

test-newest:
	$(PYTHON) -m venv $(VENV)-newest
	$(VENV)-newest/bin/pip install --quiet --upgrade --editable ".[dev]"
	$(VENV)-newest/bin/python -m pytest $(SIDE_BY_SIDE)

# Each extra in an environment of its own: what it is for can be imported.
test-extras:
	$(PYTHON) -m venv $(VENV)-tensorboard
	$(VENV)-tensorboard/bin/pip install --quiet --constraint constraints.txt --editable ".[tensorboard]"
	$(VENV)-tensorboard/bin/python -c "from torch.utils.tensorboard import SummaryWriter"
	$(PYTHON) -m venv $(VENV)-cluster
	$(VENV)-cluster/bin/pip install --quiet --constraint constraints.txt --editable ".[cluster]"
	$(VENV)-cluster/bin/python -c "import distributed"
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/pip install --quiet --constraint constraints.txt --editable ".[audit]"
	$(VENV)-audit/bin/python -c "import pip_audit"

# Exit code 1: a known vulnerability or a licence that is not on the list; 3: could not look at all.
audit: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[audit]"
	$(BIN)/python scripts/audit.py

# The wheel and the sdist, with nothing missing and nothing stray.
dist: $(VENV)/installed-dev
	rm -rf dist
	$(BIN)/python -m hatchling build
	$(BIN)/python scripts/inspect_dist.py dist

# What the pages show is printed again, minutes long; `git diff` then says what changed.
docs: $(VENV)/installed-dev
	$(BIN)/python scripts/make_reference.py > docs/reference.new
	mv docs/reference.new docs/reference.md
	$(BIN)/python scripts/make_pages.py
	$(BIN)/python scripts/make_docs.py
	$(MAKE) docs-site

# The site, strictly: a warning is an error. Its examples and its notebook are run, a minute in all.
docs-site: $(VENV)/installed-docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -c docs -d build/doctrees . build/site
	@echo "The site lies in $(CURDIR)/build/site: open index.html"

# Says what differs between the pages and today's output, and writes nothing.
docs-check: $(VENV)/installed-dev
	$(BIN)/python scripts/make_pages.py --check
	$(BIN)/python scripts/make_docs.py --check

# Reports in Chromium, which has to be there: apt-get install chromium.
browser: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[browser]"
	$(BIN)/python -m pytest -n 0 -m browser tests/report/html

# What needs a GPU, in minutes: the tests for it, the same numbers as on the CPU, and timings.
gpu: $(VENV)/installed-dev
	$(BIN)/python benchmarks/gpu.py

figures: $(VENV)/installed-dev
	$(BIN)/python scripts/make_docs.py --figures

golden: $(VENV)/installed-dev
	$(BIN)/python scripts/make_golden.py

clean:
	rm -rf $(VENV) $(VENV)-* dist build docs/auto_examples $(DEMO) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf .coverage .coverage.* htmlcov
