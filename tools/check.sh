#!/usr/bin/env bash
# All checks: lint, types, import contracts, tests. For people and for CI alike.   tools/check.sh [--fast] [pytest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."

ruff format --check .
ruff check .
lint-imports
mypy
[ "${1:-}" = "--fast" ] && exit 0
python -m pytest "$@"
