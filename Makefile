# Needs Python 3.11 or newer and nothing else: the rest comes into .venv, at the versions of constraints.txt.

PYTHON ?= $(shell for p in python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
NAME ?= digits

# The newest torch that was checked here; `make constraints` keeps it. PyPI's wheel brings gigabytes of
# CUDA libraries, so without a GPU the CPU build of the same version is looked for first.
TORCH := 2.13.0
TORCH_CPU := https://download.pytorch.org/whl/cpu
cpu_torch = command -v nvidia-smi >/dev/null || $(1) -m pip install -qq --no-deps --retries 0 \
	--index-url $(TORCH_CPU) torch==$(TORCH) || echo "no CPU build of torch there; taking PyPI's"

.PHONY: demo test test-all check bench constraints

demo: .venv/installed  ## the whole chain on two nights of real digits, and its report
	@$(BIN)/winnow demo

test: .venv/installed-dev  ## what a change must pass
	@$(BIN)/python -m pytest -n 2 -m "not slow"

test-all: .venv/installed-all  ## the slow ones too: real servers, kills, browsers
	@$(BIN)/python -m pytest -n 2

check: .venv/installed-dev  ## format, lint, types, direction of imports
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: .venv/installed-dev  ## one figure of the README again: make bench NAME=digits
	@$(BIN)/python -m benchmarks $(NAME)

constraints:  ## resolve again from nothing: exact versions, no addresses
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && set -e; \
	$(PYTHON) -m venv "$$scratch"; \
	$(call cpu_torch,"$$scratch/bin/python"); \
	"$$scratch/bin/python" -m pip install -qq --editable '.[dev,ray]' torch==$(TORCH); \
	"$$scratch/bin/python" -m pip freeze --exclude-editable >"$$scratch/frozen"; \
	sed 's/+.*//' "$$scratch/frozen" >constraints.txt

.venv/installed: pyproject.toml constraints.txt
	@$(call install,.)
	@touch $@

.venv/installed-dev: pyproject.toml constraints.txt
	@$(call install,.[dev])
	@touch $@ .venv/installed

.venv/installed-all: pyproject.toml constraints.txt
	@$(call install,.[dev$(comma)ray])
	@touch $@ .venv/installed-dev .venv/installed

# a comma would end an argument of `call`
comma := ,

define install
test -n "$(PYTHON)" || { echo "winnow needs Python 3.11 or newer, as python3.11 or python3" >&2; exit 2; }; \
echo "installing into .venv: 2 GB, one to three minutes"; \
test -x $(BIN)/pip || $(PYTHON) -m venv .venv && \
{ $(call cpu_torch,$(BIN)/python); } && \
$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '$(1)'
endef
