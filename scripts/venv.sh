#!/usr/bin/env bash
# Make .venv and install kaogen: `venv.sh base` to draw and serve, `venv.sh dev` for everything.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=$1 python=${PYTHON:-python3} new='import sys; sys.exit(sys.version_info < (3, 11))'
key="$PWD $(cat requirements.lock pyproject.toml | cksum)"
if [ "$(cat ".venv/.kaogen-$kind" 2>/dev/null)" = "$key" ]; then exit 0; fi
"$python" -c "$new" 2>/dev/null || { echo "kaogen needs Python 3.11 or newer; set PYTHON to it." >&2; exit 1; }
if ! { .venv/bin/python -c "$new" && .venv/bin/python -m pip --version; } >/dev/null 2>&1; then
  echo "Making .venv"
  "$python" -m venv --clear .venv || { echo "python3 cannot make .venv (on Debian: apt-get install python3-venv)." >&2; exit 1; }
fi
pip() { .venv/bin/python -m pip --disable-pip-version-check "$1" --quiet -c requirements.lock "${@:2}"; }
echo "Installing kaogen ($kind)"
# The build tool comes from the lock too; torch first, so that one large download stands alone.
pip install "$(grep '^setuptools==' requirements.lock)"
if [ "$kind" = dev ]; then pip install "$(grep '^torch==' requirements.lock)"; fi
extras=; if [ "$kind" = dev ]; then extras='[dev]'; fi
pip install --no-build-isolation -e ".$extras"
echo "$key" | tee .venv/.kaogen-base >".venv/.kaogen-$kind"
