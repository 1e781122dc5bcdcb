# make run: install gigarank into .venv, fetch nano once, rank the shipped example with it, then serve it on
#           http://127.0.0.1:8000, or on the port GIGARANK_PORT, until Ctrl-C
# make test: install what the checks need, check, test
# make check, make quick: the parts of `make test` that take a minute

QUERY ?= How do plants turn sunlight into energy?
GIGARANK := .venv/bin/gigarank

.PHONY: run test check quick
.DELETE_ON_ERROR:

run: .venv/installed
	@$(GIGARANK) models get nano
	@$(GIGARANK) rank "$(QUERY)" examples/multilingual.jsonl
	@$(GIGARANK) serve

test: check
	@scripts/test

check: .venv/installed-dev
	@scripts/check

quick: check
	@scripts/test --quick

.venv/installed: pyproject.toml
	@scripts/setup

.venv/installed-dev: pyproject.toml
	@scripts/setup dev
