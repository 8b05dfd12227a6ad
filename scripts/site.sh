#!/usr/bin/env bash
# Build the website into src/kaogen/server/static, unless nothing has changed since last time.
set -euo pipefail
cd "$(dirname "$0")/../site"
new='const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'
node -e "$new" 2>/dev/null || { echo "The website needs Node 20.19 or newer: https://nodejs.org" >&2; exit 1; }
lock=$(cksum <package-lock.json)
if [ "$(cat node_modules/.kaogen-lock 2>/dev/null)" != "$lock" ]; then
  echo "Installing the website's packages"
  npm ci --no-audit --no-fund --loglevel=error
  echo "$lock" >node_modules/.kaogen-lock
fi
key=$(find . \( -name node_modules -o -name dist \) -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 cksum | cksum)
if [ "$(cat node_modules/.kaogen-built 2>/dev/null)" = "$key" ] && [ -f ../src/kaogen/server/static/index.html ]; then exit 0; fi
echo "Building the website"
npm run --silent build -- --logLevel warn
echo "$key" >node_modules/.kaogen-built
