# Two targets for newcomers: `make demo` and `make test`. Each sets up what it needs.

export CARGO_TARGET_DIR ?= $(HOME)/.cache/thermocline/target
BINARY := $(CARGO_TARGET_DIR)/release/thermocline

.PHONY: demo test build lint setup

## Build, load the real records that ship, and ask three questions over hot, warm and cold.
demo: setup build
	$(BINARY) demo --data data/demo

## Build and run all tests.
test: setup
	tests/run.sh

build: setup
	cargo build --release --workspace --bins

## Format and lints, as CI checks them.
lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

setup:
	@deploy/setup.sh
