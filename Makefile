# make demo: install and run the whole pipe small. make test: lint and test suite. make lint: static checks.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
PY := .venv/bin/python
SHARED ?= ../shared/data
DEMO ?= demo

# An application and not a library: its dependencies are installed, it is not.
define REQUIREMENTS
import tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print(*project["dependencies"], *project["optional-dependencies"]["dev"], sep="\n")
endef
export REQUIREMENTS

.PHONY: demo install test lint format clean

install: .venv/installed

.venv/installed: pyproject.toml scripts/bootstrap.sh
	@test -x $(PY) || $(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else \
	    "Kineforge needs Python 3.11 to 3.13: make PYTHON=python3.12 …")'
	sh scripts/bootstrap.sh
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -c "$$REQUIREMENTS" > .venv/requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -r .venv/requirements.txt
	touch $@

demo: install
	PYTHON=$(PY) SHARED=$(SHARED) DEMO=$(DEMO) bash scripts/demo.sh

test: install lint
	$(PY) -m pytest

lint: install
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

format: install
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

clean:
	rm -rf $(DEMO)
