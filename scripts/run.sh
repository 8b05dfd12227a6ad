#!/usr/bin/env bash
# From nothing to the website: `make run`, or `make run PORT=9000`.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/venv.sh base
scripts/site.sh
exec .venv/bin/kaogen serve --port "${PORT:-8000}"
