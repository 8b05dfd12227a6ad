#!/usr/bin/env bash
# See to it that the browser tests have a Chromium; KAOGEN_CHROMIUM may name one.
set -euo pipefail
for name in "${KAOGEN_CHROMIUM:-none}" chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null; then exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing Chromium"
  apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium >/dev/null
  exit 0
fi
echo "The browser tests need Chromium: sudo apt-get install chromium, or set KAOGEN_CHROMIUM." >&2
exit 1
