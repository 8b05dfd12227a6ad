#!/usr/bin/env bash
# From nothing to every test: `make test`; words after it go to pytest (`scripts/test.sh -k recipe`).
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/venv.sh dev
scripts/site.sh
scripts/chromium.sh
# Two torch threads beside a busy process wait for each other far longer than they compute; the
# tests' networks are too small to gain from a second one anyway.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec .venv/bin/python -m pytest "$@"
