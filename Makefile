# SPDX-License-Identifier: MIT
# A thin front of meson, which knows the build, and of the scripts that know the rest.

# `make demo SHELL=1` means the guest's shell, but SHELL is also the name of make's own.
wants_guest_shell := $(if $(filter command%line,$(subst $() ,%,$(origin SHELL))),yes)
override SHELL := /bin/bash

BUILD ?= build

.PHONY: all install setup demo check fuzz soak coverage bench count format clean

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	meson setup $(BUILD) --buildtype=release -Db_lto=true -Dtests=false

install: all
	@meson install -C $(BUILD) --no-rebuild --quiet

setup:
	@tools/setup.sh

demo:
	@demo/demo.sh $(if $(wants_guest_shell),--shell)

# QUICK=1: the one-minute subset
check:
	@python3 tests/check.py $(if $(QUICK),--quick)

# TIME=seconds for each target, ONLY=one target
fuzz:
	@python3 tests/fuzz/run.py $(if $(TIME),--time $(TIME)) $(if $(ONLY),--only $(ONLY))

# TIME=seconds (600), SEED=number: what happens, to have it again
soak:
	@python3 tests/soak/run.py $(if $(TIME),--time $(TIME)) $(if $(SEED),--seed $(SEED))

coverage:
	@python3 tests/coverage.py

# ONLY=row QUICK=1 SAVE=1 …: see bench/run.py. The loads are built on the driver side of the tests.
bench: build-bench/build.ninja
	@ninja -C build-bench --quiet bench-programs
	@python3 bench/run.py $(ARGS)

build-bench/build.ninja:
	meson setup build-bench --buildtype=release -Db_lto=true

# Instructions a packet. WRITE=1: these are the figures from now on (bench/count.txt)
count: all
	@ninja -C $(BUILD) bench/count >/dev/null
	@python3 bench/count.py $(BUILD)/bench/count $(if $(WRITE),--write)

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf build build-bench build-asan build-tsan build-werror build-fuzz build-coverage
