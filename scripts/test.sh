#!/usr/bin/env bash
# From nothing to every test: `make test`; words after it go to pytest (`scripts/test.sh -k recipe`).
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/venv.sh dev
scripts/site.sh
scripts/chromium.sh
exec .venv/bin/python -m pytest "$@"
