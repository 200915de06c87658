# Two commands: `make demo` shows what gradflow does, `make test` checks that it does it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := gradflow-demo

.PHONY: demo test install clean
.DEFAULT_GOAL := demo

# The stamps say what is installed, and go stale when the pins or the project's needs change.
$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
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

test: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2

clean:
	rm -rf $(VENV) $(DEMO) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
