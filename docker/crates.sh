#!/bin/sh
# The crates that the programs are made of, as cargo-cyclonedx lists them: crates.sh FOLDER, in the workspace. Writes FOLDER/crates.cdx.json.
set -eu
folder=$1
name=crates.tmp
mkdir -p "$folder"
cargo cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps --override-filename "$name"
cat controller/"$name".json dataplane/"$name".json hostplane/"$name".json hugepage-check/"$name".json >"$folder/crates.cdx.json"
find . -maxdepth 3 -name "$name.json" -delete
