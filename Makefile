# Each target does all of its set-up; a second call starts at once.
PYTHON ?= python3
BIN := .venv/bin
OUT := results/quickstart
CHAOS := --times 10

.PHONY: install quickstart test services long chaos lint speed scale clean

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; give one with PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet 'torch==2.13.0' -c constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[run,test]'
	touch $@

quickstart: install
	$(BIN)/fcdd run quickstart --out $(OUT)
	$(BIN)/fcdd report $(OUT) --out $(OUT)/report
	@cat $(OUT)/report/digits_image_auroc.md
	@echo "Page:   $(OUT)/report/index.html (tables, figures, every run behind each number)"
	@echo "LaTeX:  $(OUT)/report/digits_image_auroc.tex"
	@echo "MLflow: $(BIN)/mlflow ui --backend-store-uri sqlite:///$(OUT)/mlflow.db"

test: install
	$(BIN)/python -m pytest

# Tests that start servers, clusters, browsers and TeX, kill processes (chaos), or read much.
services: install
	$(BIN)/python -m pytest -m services

# Those that take minutes each: ssh launchers, nodes that join, full disks, lost heads, ended memory, stacks.
long: install
	$(BIN)/python -m pytest -m long

# The chaos test's long form; options: tests/chaos/chaos.py
chaos: install
	$(BIN)/python tests/chaos/chaos.py --folder $$(mktemp -d) $(CHAOS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

speed: install
	$(BIN)/python tests/speed/speed.py $(SPEED)

# 10,000 runs that do not train; options: tests/speed/scale.py
scale: install
	$(BIN)/python tests/speed/scale.py $(SCALE)

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .import_linter_cache
