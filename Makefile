# Everything a fresh machine needs, it installs here: Debian 12, Python >= 3.11.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CARGO ?= cargo
# What `make bench` compares with.
PEERS := haproxy nginx wrk nghttp2-client gcc libc6-dev

.PHONY: demo test check unit bench bench-hop bench-control release docs clean format
demo: $(STAMP)          ## set everything up and run the main job
	$(BIN)/ripstop demo $(DEMO)

test: check unit        ## everything that must hold before a change lands

check: $(STAMP)
	$(BIN)/ruff check src tests benches tools
	$(BIN)/ruff format --check src tests benches tools
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(STAMP)
	$(BIN)/pytest

bench: bench-hop bench-control   ## what a hop and a change cost

bench-hop: $(STAMP) release
	test "$$(id -u)" != 0 || { apt-get update -q && apt-get install -y -q $(PEERS); } >/dev/null
	$(BIN)/python -m benches.hop $(HOP)

bench-control: $(STAMP)
	$(BIN)/python -m benches.control_plane

release:                 ## the data plane as it is shipped
	$(CARGO) build --release --locked -p ripstop-proxy

docs: $(STAMP)          ## write the generated reference pages again
	$(BIN)/python tools/reference.py

format: $(STAMP)
	$(BIN)/ruff check --fix src tests benches tools
	$(BIN)/ruff format src tests benches tools

$(STAMP): pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
