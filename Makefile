# make run: install gigarank into .venv, fetch nano once, rank the shipped example with it, then serve it on
#           http://127.0.0.1:8000, or on the port GIGARANK_PORT, until Ctrl-C
# make test: install what the checks need, check, test
# make check, make quick: the parts of `make test` that take a minute
# make screenshots: a picture of every page, light, and dark on a phone, in build/screenshots, and a dozen of them, small, for
#           README and docs, in docs/images

QUERY ?= How do plants turn sunlight into energy?
GIGARANK := .venv/bin/gigarank

.PHONY: run test check quick screenshots
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

screenshots: .venv/installed-dev
	@mkdir -p build/screenshots
	@GIGARANK_SCREENSHOTS="$(CURDIR)/build/screenshots" scripts/test -n 0 tests/e2e/test_browser.py tests/e2e/test_browser_console.py \
		tests/e2e/test_browser_onboard.py
	@.venv/bin/python scripts/pictures.py build/screenshots docs/images

.venv/installed: pyproject.toml
	@scripts/setup

.venv/installed-dev: pyproject.toml
	@scripts/setup dev
