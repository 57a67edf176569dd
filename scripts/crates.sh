# Sourced by test.sh: crates of other people, compiled, are kept for later clones on this machine.
# They are the same whatever the clone, as long as compiler, versions and profiles are; cargo checks them as if they had been there before.
# shellcheck shell=bash

# Where cargo compiles them: programs, tests and lints; Miri; fuzz targets.
COMPILED=(target/debug target/miri/debug "target/miri/$(uname -m)-unknown-linux-gnu/debug" fuzz/target/release
    "fuzz/target/$(uname -m)-unknown-linux-gnu/release")

# kept_crates: their directory.
kept_crates() {
    local key
    key=$({ rustc -vV && cat Cargo.toml Cargo.lock fuzz/Cargo.toml fuzz/Cargo.lock; } | sha256sum | cut -c1-16)
    echo "$CACHE_DIR/crates/$key"
}

# take_crates: for a clone that has compiled nothing yet.
take_crates() {
    local kept place
    kept=$(kept_crates)
    for place in "${COMPILED[@]}"; do
        if [ ! -d "$kept/$place" ] || [ -e "$place" ]; then continue; fi
        mkdir -p "$place"
        cp -a --reflink=auto "$kept/$place/." "$place/"
    done
}

# keep_crates: in place of those that belong to earlier versions.
keep_crates() {
    local kept place
    kept=$(kept_crates)
    [ ! -d "$kept" ] || return 0
    rm -rf "$CACHE_DIR/crates"
    for place in "${COMPILED[@]}"; do
        [ ! -d "$place/.fingerprint" ] || keep_of "$place" "$kept.new/$place"
    done
    mv "$kept.new" "$kept"
}

# keep_of PLACE DIRECTORY: cargo names what it has made of a package PACKAGE-HASH and FILE-HASH.
keep_of() {
    local ours unit name file fingerprints=() files=() builds=()
    ours=" $(grep -hm 1 '^name = ' ./*/Cargo.toml crates/*/Cargo.toml | cut -d'"' -f2 | tr '\n' ' ')"
    for unit in "$1"/.fingerprint/*; do
        name=${unit##*/}
        [[ $ours != *" ${name%-*} "* ]] || continue
        fingerprints+=("$unit")
        [ ! -e "$1/build/$name" ] || builds+=("$1/build/$name")
        for file in "$1"/deps/*-"${name##*-}"*; do [ ! -e "$file" ] || files+=("$file"); done
    done
    mkdir -p "$2"/{.fingerprint,deps,build}
    [ ${#fingerprints[@]} -eq 0 ] || cp -a -t "$2/.fingerprint" "${fingerprints[@]}"
    [ ${#files[@]} -eq 0 ] || cp -a -t "$2/deps" "${files[@]}"
    [ ${#builds[@]} -eq 0 ] || cp -a -t "$2/build" "${builds[@]}"
}
