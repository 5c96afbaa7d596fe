# Two targets for newcomers: `make demo` and `make test`. Each sets up what it needs.

# Where rustup puts cargo, which a shell opened before does not know yet.
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)
# Not make's default, so that it starts every command by a shell: started by old versions of make itself (that of macOS), a
# command is not searched on the path above.
SHELL := /usr/bin/env bash

export CARGO_TARGET_DIR ?= $(HOME)/.cache/thermocline/target
BINARY := $(CARGO_TARGET_DIR)/release/thermocline

.PHONY: demo test build lint setup

## Build, load the real records that ship, and ask questions over hot, warm and cold.
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
