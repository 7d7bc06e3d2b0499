# SPDX-License-Identifier: GPL-2.0
#
# parcall: several CPUs inside one system call. 'make help' lists what there is to make.

.DEFAULT_GOAL := help
export BUILD := $(CURDIR)/build
export CARGO_TARGET_DIR := $(BUILD)/userbench

.PHONY: help setup fetch apply kernel module userbench boot run sim bench report overhead test test-long check check-series mutants patches clean distclean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install all tools (as root, on Debian)
	@scripts/setup

fetch: setup ## Obtain Linux 7.3 (KSRC=<tree> or LINUX_TARBALL=<file> to use one's own)
	@scripts/fetch

apply: fetch ## Put the series and the module into build/linux
	@scripts/apply

kernel: apply ## Build the guest kernel and the module (CONFIG=release, debug: all checks, or base: unpatched)
	@scripts/kernel

module: kernel ## The same: the module is built with its kernel

userbench: setup ## Build the benchmarks
	@scripts/userbench

boot: ## Boot the guest kernel (SMP=2 MEM=4G CMD='...'; a shell without CMD)
	@scripts/boot

run: kernel userbench ## Measure fork, serial and parallel, in the guest
	@scripts/run

sim: kernel userbench ## Measure on simulated cores, more than the host has (BENCH=fork SIZE=256M CORES=8)
	@scripts/sim

bench: kernel userbench ## Measure all paths and programs (DEPTH=quick or full, ONLY=fork,redis; KEEP=1: into results/)
	@scripts/bench

report: userbench ## Make results/report.html, results/report.md and README's tables (RESULTS=results)
	@scripts/report

overhead: kernel userbench ## Count the instructions of small calls, beside the unpatched kernel's
	@CONFIG=base scripts/kernel
	@scripts/overhead

test: kernel userbench ## Test everything that this machine can
	@scripts/test

test-long: kernel ## Test for hours: with a kernel that checks itself, and many more rounds
	@CONFIG=debug scripts/kernel
	@scripts/test long

check: apply ## Check the style of series, module and benchmarks
	@scripts/check

check-series: apply ## Build and boot the kernel patch by patch (BASE=<git tree of another 7.3>)
	@scripts/check-series

mutants: apply ## Plant the bugs of mutants/, to see that tests notice, for hours (MUTANTS='07 fork': those)
	@scripts/mutants $(MUTANTS)

patches: ## Export build/linux as patches/
	@scripts/patches

clean: ## Remove what was built, but not the kernel tree
	rm -rf build/release build/debug build/base build/kunit build/series build/mutants build/model build/userbench build/log build/results build/accel.*

distclean: ## Remove build/, and the cache of downloads and tools
	rm -rf build $${PARCALL_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/parcall}
