# What a newcomer types. `make` alone lists it. Every target does its own set-up; a second run starts at once.
#
#   make test ARGS="tests/budget -k split"     arguments go on to the program behind the target
#   make test PYTHON=python3.13    another interpreter (a new .venv only)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Hundreds of processes are started: without bytecode each would compile everything it imports.
unexport PYTHONDONTWRITEBYTECODE

ARGS ?=
PYTHON ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input
SOURCES := $(wildcard sidecar dashboards helm/*.py helm/*/files/*.py tests)

.PHONY: help venv test demo lint format bench peers crash agents fuzz soak sbom chart dashboards reference lock image backends release tools image-tools clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

venv: .venv/dev.stamp ## build .venv with everything that development needs

test: .venv/dev.stamp tools ## run all tests (installs Prometheus' tools, PostgreSQL and Chromium where it may)
	@$(BIN)/python -m pytest -n 3 --dist loadfile $(ARGS)

demo: .venv/run.stamp ## start the sidecar and replay recorded sessions to it (ARGS=--once ends after them)
	@exec $(BIN)/token-budget-sidecar demo $(ARGS)

lint: .venv/dev.stamp ## check style, format, types and layers
	@status=0
	check() { echo "--- $$*"; "$(BIN)/$$1" "$${@:2}" || status=1; }
	check ruff check $(SOURCES)
	check ruff format --check $(SOURCES)
	check mypy $(SOURCES)
	check lint-imports --no-logo
	exit $$status

format: .venv/dev.stamp ## put the code into its format
	@$(BIN)/ruff check --fix-only --quiet $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: .venv/dev.stamp ## measure, and print the figures (tests/benchmarks)
	@$(call apt_install,wrk,wrk)
	$(BIN)/python tests/benchmarks $(ARGS)

# In an environment of its own: it would change what the sidecar is tested with.
peers: .venv/dev.stamp ## install what `make bench` holds the sidecar against: LiteLLM's proxy, Prometheus Pushgateway
	@$(call apt_install,prometheus-pushgateway,prometheus-pushgateway)
	@[ -x .venv-peers/bin/litellm ] || {
	    echo "Installing LiteLLM into .venv-peers"
	    $(BIN)/python -m venv .venv-peers
	    .venv-peers/bin/python -m pip -qq --disable-pip-version-check --no-input install 'litellm[proxy]' prometheus_client
	}

chart: .venv/dev.stamp ## write what follows from the chart's values and templates: README, schema, what is injected
	@$(BIN)/python helm/generate.py

dashboards: .venv/dev.stamp ## write dashboards, rules and alerts from the code that describes them
	@$(BIN)/python -m dashboards $(ARGS)

reference: .venv/dev.stamp ## write the tables of settings, calls, events, errors, metrics and commands from the code
	@$(BIN)/python -m tests.reference

crash: .venv/dev.stamp tools ## kill the real process 200 times, replicas 50 times, and hold all against an account (15 minutes)
	@CRASH_KILLS=200 $(BIN)/python -m pytest -s tests/crash/test_kills.py -k normal $(ARGS)
	CRASH_KILLS=50 $(BIN)/python -m pytest -s tests/crash/test_replicas.py -k killing $(ARGS)

agents: .venv/dev.stamp ## drive whole recorded sessions through each framework, and print what its adapter costs
	@WHOLE_RUNS=1 $(BIN)/python -m pytest -s tests/client -k "never or absence" $(ARGS)

fuzz: .venv/dev.stamp ## try hostile input for minutes, other input each time (ARGS="--minutes 30 --seed 1")
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(PIP) install --only-binary atheris -e '.[fuzz]' || true
	$(BIN)/python -m tests.hostile.fuzz $(ARGS)

MINUTES ?= 20
soak: .venv/dev.stamp ## run a real sidecar at half load with faults, and hold its ledger against its clients' account (MINUTES=20)
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) $(ARGS)

# In an environment that has what the image has, and nothing else.
sbom: .venv/dev.stamp ## list what the image is made of, with licences: in .ci (downloads)
	@$(PIP) install cyclonedx-bom
	folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT
	$(BIN)/python -m venv --without-pip "$$folder/image"
	$(PIP) --python "$$folder/image/bin/python" install --no-deps --require-hashes -r requirements.txt
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --short-PURLs \
	    -o "$$folder/found.json" "$$folder/image/bin/python"
	$(BIN)/python .ci/sbom.py "$$folder/found.json"

# For every platform and any Python from that of the image on; `uv` resolves for others than it runs on.
lock: .venv/dev.stamp ## choose the versions that the image is built from, with their hashes
	@$(PIP) install uv
	compile() { $(BIN)/uv pip compile --quiet --universal --python-version 3.13 --generate-hashes --no-header --no-annotate "$$@"; }
	note="# Written by \`make lock\`: what the image is built from, for every platform."
	{ echo "$$note"; compile --upgrade --extra postgres --extra web-config pyproject.toml; } > requirements.txt.new
	{ echo "$$note"; echo 'hatchling' | compile --upgrade -; } > requirements-build.txt.new
	mv requirements.txt.new requirements.txt
	mv requirements-build.txt.new requirements-build.txt

image: .venv/dev.stamp image-tools ## build the real image, run it as a pod would, and measure it (root and Debian; two minutes)
	@$(BIN)/python -m pytest -m image tests/kubernetes/image $(ARGS)

# In an environment of its own: it pins much of what it needs. Downloading it takes minutes, so it is not among all tests.
backends: .venv/dev.stamp ## find our traces in a real Phoenix (installs it: 850 MB, some minutes)
	@[ -x .venv-backends/bin/phoenix ] || {
	    echo "Installing Phoenix into .venv-backends"
	    $(BIN)/python -m venv .venv-backends
	    .venv-backends/bin/python -m pip -qq --disable-pip-version-check --no-input install arize-phoenix
	}
	$(BIN)/python -m pytest -m backends tests/exporters $(ARGS)

release: .venv/dev.stamp ## build dist/, and try the same in clean environments of Python 3.11 to 3.13 (downloads; some minutes)
	@$(BIN)/python -m pytest -m release tests/test_release.py $(ARGS)
	rm -rf dist
	$(BIN)/python -m build --outdir dist

tools: ## install the programs that tests run: promtool, amtool, prometheus, alertmanager, PostgreSQL, chromium
	@$(call apt_install,promtool prometheus amtool prometheus-alertmanager initdb chromium,prometheus prometheus-alertmanager postgresql chromium)

image-tools:
	@$(call apt_install,buildah podman runc debootstrap,buildah podman runc debootstrap)

clean: ## remove what the targets above made
	@rm -rf .venv .venv-backends .venv-peers build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# --- set-up ---------------------------------------------------------------------------------------------------------

# What it takes to run: the package alone. To develop: every extra. Both editable, both again when pyproject.toml changes.
.venv/run.stamp: pyproject.toml | .venv/bin/python
	@echo "Installing the sidecar into .venv"
	$(PIP) install -e .
	touch $@

.venv/dev.stamp: pyproject.toml | .venv/bin/python
	@echo "Installing the sidecar and its development tools into .venv (about a minute)"
	# uv takes a fifth of pip's time. Of pip's settings it is told the index alone: where that is not enough, pip does it.
	# No bytecode: half of it is never imported; the rest is compiled when it is.
	index=$$($(BIN)/python -m pip config list | sed -n "s/^[a-z:]*\.index-url='\(.*\)'$$/\1/p" | tail -n 1)
	[ -z "$$index" ] || export UV_DEFAULT_INDEX="$$index"
	{ $(PIP) install --no-compile uv && $(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python -e '.[dev]'; } || {
	    echo "Once more with pip, which takes some minutes"
	    $(PIP) install --no-compile -e '.[dev]'
	}
	touch $@ .venv/run.stamp

.venv/bin/python:
	@find_python() {
	    for python in $(PYTHON) python3.13 python3.12 python3.11 python3; do
	        if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
	            command -v "$$python"
	            return
	        fi
	    done
	    return 1
	}
	python=$$(find_python) || { $(call apt_install,python3.11,python3 python3-venv); python=$$(find_python); } ||
	    { echo "Python 3.11 or newer is needed: install it, or name it with PYTHON=/path/to/python" >&2; exit 1; }
	# Debian ships Python without ensurepip, which the new environment gets its pip from.
	"$$python" -c 'import ensurepip' 2>/dev/null || { $(call apt_install,ensurepip,python3-venv); }
	"$$python" -m venv .venv

# $(call apt_install,PROGRAMS,PACKAGES): install PACKAGES where one of PROGRAMS is missing and this machine lets us.
# Never fails: what cannot run for want of a program says so itself (tests skip with "MISSING TOOL:").
define apt_install
missing=""; for program in $(1); do \
    command -v "$$program" >/dev/null || ls /usr/lib/postgresql/*/bin/"$$program" >/dev/null 2>&1 || missing="$$missing $$program"; \
done; \
if [ -n "$$missing" ]; then \
    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
        echo "Installing $(2)"; \
        export DEBIAN_FRONTEND=noninteractive; install="apt-get install -y -qq --no-install-recommends"; \
        { apt-get update -qq && $$install $(2); } </dev/null >/dev/null || for package in $(2); do \
            $$install "$$package" </dev/null >/dev/null || echo "!!! apt-get could not install $$package" >&2; \
        done; \
    else \
        echo "!!! Not found:$$missing. Install $(2) to run everything (root with apt-get would do it here)." >&2; \
    fi; \
fi
endef
