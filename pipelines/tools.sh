#!/usr/bin/env bash
# Makes the environment with sfctl and the AWS CLI in the folder TOOLS, unless it is there as it is locked.
set -euo pipefail
: "${TOOLS:?set TOOLS to the folder of the environment}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if cmp --silent "$here/requirements.txt" "$TOOLS/requirements.txt"; then
  echo "tools: as locked, in $TOOLS"
  exit 0
fi
rm -rf "$TOOLS"
"${PYTHON:-python3.11}" -m venv "$TOOLS"
"$TOOLS/bin/pip" install --quiet --no-compile --require-hashes --requirement "$here/requirements.txt"
# Last: an installation that was cut off is made anew.
cp "$here/requirements.txt" "$TOOLS/requirements.txt"
echo "tools: installed in $TOOLS"
