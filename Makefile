# Everything a fresh machine needs, it installs here: Debian 12, Python >= 3.11, Rust >= 1.88 (rustup.rs).
PYTHON ?= python3
CARGO ?= cargo
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests run what the dev profile makes, the demo and benches what is shipped.
DEV := $(CURDIR)/target/debug/ripstop-proxy
RELEASE := $(CURDIR)/target/release/ripstop-proxy
CORE := src/ripstop/_core.abi3.so
PYTHON_SOURCES := src tests benches tools setup.py
# What `make bench` compares with.
PEERS := haproxy nginx wrk nghttp2-client gcc libc6-dev

.PHONY: demo test check check-python check-stubs check-rust unit unit-rust unit-python bench bench-hop bench-control \
	dev release deny docs clean format rust fuzz
demo: $(STAMP) release  ## set everything up and run the main job
	RIPSTOP_PROXY=$(RELEASE) $(BIN)/ripstop demo $(DEMO)

test: check unit        ## everything that must hold before a change lands

check: check-python check-rust check-stubs

check-python: $(STAMP)
	$(BIN)/ruff check $(PYTHON_SOURCES)
	$(BIN)/ruff format --check $(PYTHON_SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

check-stubs: $(STAMP) dev  ## what the .pyi says is what Rust gives
	$(BIN)/stubtest ripstop._core

check-rust: rust
	$(CARGO) fmt --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

unit: unit-rust unit-python

unit-rust: rust
	$(CARGO) test --workspace --locked

unit-python: $(STAMP) dev
	@command -v strace >/dev/null || test "$$(id -u)" != 0 || { apt-get update -q && apt-get install -y -q strace; } >/dev/null
	RIPSTOP_PROXY=$(DEV) $(BIN)/pytest $(PYTEST)

bench: bench-hop bench-control  ## what a hop and a change cost

bench-hop: $(STAMP) release
	test "$$(id -u)" != 0 || { apt-get update -q && apt-get install -y -q $(PEERS); } >/dev/null
	RIPSTOP_PROXY=$(RELEASE) $(BIN)/python -m benches.hop $(HOP)

bench-control: $(STAMP)
	$(BIN)/python -m benches.control_plane

dev: rust               ## the data plane and its core for Python, for tests
	$(CARGO) build --workspace --locked
	cp target/debug/lib_core.so $(CORE)

release: rust           ## the same as they are shipped
	$(CARGO) build --workspace --release --locked
	cp target/release/lib_core.so $(CORE)

rust:
	@command -v $(CARGO) >/dev/null || { echo "there is no cargo: install Rust 1.88 or newer, https://rustup.rs" >&2; exit 1; }

deny: rust              ## licences and known faults of the crates; builds cargo-deny when it is not there
	$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check

fuzz: rust              ## what parses bytes of strangers, FUZZ_S seconds a target (600); FUZZ="http1_head hpack" names some
	fuzz/run $(FUZZ)

docs: $(STAMP)          ## write the generated reference pages again
	$(BIN)/python tools/reference.py

format: $(STAMP) rust
	$(BIN)/ruff check --fix $(PYTHON_SOURCES)
	$(BIN)/ruff format $(PYTHON_SOURCES)
	$(CARGO) fmt

# Without the data plane: the targets above build it, and it is found in target/.
$(STAMP): pyproject.toml setup.py requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	RIPSTOP_BUILD_RUST=0 $(BIN)/pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation -e .
	touch $@

clean:
	rm -rf $(VENV) $(CORE) build dist target .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
