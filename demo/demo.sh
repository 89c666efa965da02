#!/bin/bash
# SPDX-License-Identifier: MIT
#
# `make demo`: installs what is missing, builds vionic, and shows it. `--shell` gives the guest's shell.
set -euo pipefail
cd "$(dirname "$0")/.."

tools/setup.sh demo
echo "== Building vionic in ./build (what the compiler says: .cache/build.log)"
make --no-print-directory BUILD=build all >.cache/build.log 2>&1 || {
    cat .cache/build.log
    exit 1
}
exec python3 demo/demo.py build "$@"
