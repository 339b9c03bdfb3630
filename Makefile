# Every target does its own set-up: a .venv here, made from any Python 3.11+ on this machine; nothing is installed outside it.

PYTHONS := python3.14 python3.13 python3.12 python3.11 python3
PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
# Two workers and more: half the time. Warnings are errors in them too, which options of the interpreter would not reach.
PYTEST := PYTHONDEVMODE=1 PYTHONWARNINGS=error $(PY) -m pytest -n auto --maxprocesses 4
TESTS ?= tests
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help run test test-all lint bench prices compatibility phoenix clean

help:
	@echo 'make run [ARGS="..."]   start the gateway (http://localhost:7776/api); ARGS are those of respan-proxy'
	@echo 'make test [TESTS=...]   linter, types and tests'
	@echo 'make test-all           the same, and the tests that need slow company'
	@echo 'make bench [QUICK=1]    speed and memory, beside a bare relay'
	@echo 'make prices             refresh the price table from genai-prices'
	@echo 'make compatibility      write docs/compatibility.md from what happens'
	@echo 'make phoenix            whether Phoenix from PyPI (635 MB) receives what is passed on'
	@echo 'make lint               linter, format and types alone'
	@echo 'make clean              remove .venv, .venv-company, .venv-phoenix and caches'

run: .venv/run.stamp
	@exec $(PY) -m respan_proxy $(ARGS)

test: lint
	@$(PYTEST) -m 'not slow' $(TESTS)

test-all: lint
	@$(PYTEST) $(TESTS)

lint: .venv/dev.stamp
	@$(PY) -m ruff check --quiet --output-format concise .
	@$(PY) -m ruff format --check --quiet . || { echo 'not formatted: run .venv/bin/ruff format .' >&2; $(PY) -m ruff format --check . | head -20; exit 1; }
	@$(PY) -m mypy --no-error-summary

bench: .venv/run.stamp
	@$(PY) -m bench.run $(if $(QUICK),--quick)

prices: .venv/dev.stamp
	@$(PY) -m bench.prices

compatibility: .venv/dev.stamp
	@$(PY) -m tests.compatibility

phoenix: .venv/dev.stamp .venv-phoenix/made.stamp
	@$(PY) -m tests.phoenix

clean:
	@rm -rf .venv .venv-company .venv-phoenix build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Run-time dependencies alone.
.venv/run.stamp: setup.cfg pyproject.toml | .venv/made.stamp
	@echo 'installing respan-proxy into .venv ...' >&2
	@$(PIP) install --editable .
	@touch $@

# And what the tests need.
.venv/dev.stamp: setup.cfg pyproject.toml | .venv/made.stamp
	@echo 'installing respan-proxy and its test tools into .venv ...' >&2
	@$(PIP) install --editable '.[dev]'
	@touch .venv/run.stamp $@

# In an environment of its own: its dependencies are many, and not ours.
.venv-phoenix/made.stamp: | .venv/made.stamp
	@echo 'installing arize-phoenix into .venv-phoenix (635 MB) ...' >&2
	@$(PY) -m venv .venv-phoenix
	@.venv-phoenix/bin/python -m pip --disable-pip-version-check --quiet install arize-phoenix
	@touch $@

# The first Python that is new enough and can make an environment; else what is missing, by name.
.venv/made.stamp:
	@for python in $(PYTHONS); do \
	  version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2]) if sys.version_info >= (3, 11) else sys.exit(1)' 2>/dev/null) || continue; \
	  if $$python -c 'import venv, ensurepip' 2>/dev/null; then \
	    $$python -m venv --clear .venv && touch $@ && exit 0; \
	    echo "$$python could not make an environment in .venv (see above)" >&2; exit 1; \
	  fi; \
	  found=$${found:-$$version}; \
	done; \
	if [ -n "$$found" ]; then \
	  echo "Python $$found is here, but its venv module is not; on Debian and Ubuntu: apt install python$$found-venv" >&2; \
	else \
	  echo 'respan-proxy needs Python 3.11 or newer, and none of these is: $(PYTHONS)' >&2; \
	fi; exit 1
