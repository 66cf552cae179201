# The two commands are `make demo` and `make test`; each installs what it needs into .venv first.

SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PINS := constraints.txt
# What users' files meet of pandas: `make more` runs it under pandas 2, which constraints.txt pins, and under pandas 3.
PANDAS3 := .venv-pandas3
COMPATIBLE := $(addprefix tests/unit/,strategies scanners miners data fincalcs analytics common supervisor/test_run_backtest.py)
# pip's own output is 150 lines: a count of what it has looked at takes their place. Errors stay, and of the warnings
# those about the network; the others are about pip's own set-up.
PIP = set -o pipefail; $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -c $(PINS) $(1) \
	2> >(grep -v '^WARNING: [^R]' >&2) \
	| awk '/^Collecting/ {n++; printf "\r  %d packages", n; fflush()} \
	  /^Installing collected/ {printf "\r  %d packages, unpacking them\n", n; fflush()} END {if (n) print "  done"}'
# Compiled tests and processes are kept, whatever the shell says: a warm run needs half the time.
export PYTHONDONTWRITEBYTECODE :=
# One more than the cores of a small machine: a test of processes waits half of its time.
WORKERS ?= 3
FROM ?= 1001
COUNT ?= 200
CASES ?= 1000000

.PHONY: demo test more pandas docs fast quick unit chaos fuzz check bench ui clean

.venv/base: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "LiuAlgoTrader needs Python 3.11 or newer; set PYTHON=<path of one> and run make again.")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing LiuAlgoTrader into .venv (pinned versions, about 300 MB; a minute or two)"
	@$(call PIP,-e '.[report]')
	@touch $@

.venv/tests: .venv/base
	@echo "Installing what the tests need"
	@$(call PIP,-e '.[test]')
	@touch $@

.venv/docs: .venv/tests
	@echo "Installing what the documentation needs"
	@$(call PIP,-e '.[docs]')
	@touch $@

## demo: trade a whole generated session through the real processes, into PostgreSQL
demo: .venv/base
	$(BIN)/trader --simulate --tradeplan examples/demo/tradeplan.toml --speed max

## test: check style, types and architecture, then run all tests
test: .venv/tests check
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

## more: build the documentation and run its commands, open the reports in a real browser (Debian's chromium; skipped where there is none)
more: .venv/tests docs pandas
	$(BIN)/python -m pytest -m "browser or docs" -n $(WORKERS) tests

$(PANDAS3)/tests: private BIN := $(PANDAS3)/bin
$(PANDAS3)/tests: private PINS := $(PANDAS3)/pins.txt
$(PANDAS3)/tests: .venv/tests
	@test -x $(BIN)/python || $(PYTHON) -m venv $(PANDAS3)
	@grep -v '^pandas==' constraints.txt > $(PINS)
	@echo "Installing LiuAlgoTrader into $(PANDAS3), with pandas 3"
	@$(call PIP,-e '.[test]' 'pandas>=3')
	@touch $@

## pandas: run what users' files meet of pandas under pandas 2 and pandas 3
pandas: .venv/tests $(PANDAS3)/tests
	set -e; for each in .venv $(PANDAS3); do $$each/bin/python -m pytest -q -n $(WORKERS) $(COMPATIBLE); done

## docs: build the documentation into build/docs; a warning is an error
docs: .venv/docs
	$(BIN)/python -m sphinx -q -W --keep-going -n docs build/docs
	@$(BIN)/python -m tools.doc_blocks

## fast: check style, types and architecture, and run the pure unit tests with a tenth of their examples
fast: .venv/tests
	@$(MAKE) --no-print-directory -j2 check quick

quick: .venv/tests
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal --hypothesis-profile fast -m "not slow" tests/unit

## unit: run the unit tests of one room, as in `make unit T=orders`
unit: .venv/tests
	$(BIN)/python -m pytest -q --hypothesis-profile fast tests/unit/$(T)

## chaos: let processes, market and database fail at random in COUNT sessions, seeds from FROM on (about 15 s each)
chaos: .venv/tests
	$(BIN)/python -m pytest -m chaos tests/session
	$(BIN)/python -m tests.session.chaos --from $(FROM) --count $(COUNT) --workers $(WORKERS)

## fuzz: answer CASES questions to the vendor with what it must not be believed (about six minutes for a million)
fuzz: .venv/tests
	$(BIN)/python -m tests.contract.vendor_fuzz --cases $(CASES)

check: .venv/tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

## bench: print the benchmarks' JSON
bench: .venv/tests
	$(BIN)/python -m benchmarks.live_path

## ui: open the pages in a browser: days, trades, backtests
ui: .venv/base
	@$(call PIP,-q -e '.[ui]')
	$(BIN)/liu ui

clean:
	rm -rf .venv $(PANDAS3) build dist *.egg-info
