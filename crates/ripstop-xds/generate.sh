#!/usr/bin/env bash
# Writes src/generated again: after a new xds-protos in requirements.lock, or a new module in src/ripstop/xds/pb.py.
set -euo pipefail
cd "$(dirname "$0")"
root=$(git rev-parse --show-toplevel)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
PYTHONPATH=$root/src "$root/.venv/bin/python" generate/descriptors.py "$work/descriptors.pb"
rm -rf src/generated
cargo run --quiet --manifest-path generate/Cargo.toml --target-dir "$work/target" -- "$work/descriptors.pb" src/generated
rustfmt --edition 2024 src/generated/*.rs 2>/dev/null || true
