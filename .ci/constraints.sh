#!/usr/bin/env bash
# Writes constraints.txt anew: the newest releases that work together today.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --upgrade pip
"$folder/bin/python" -m pip install --quiet '.[dev]'
{
  echo "# Development and CI install exactly these; .ci/constraints.sh writes this file."
  "$folder/bin/python" -m pip freeze --exclude studio-search
} > constraints.txt
