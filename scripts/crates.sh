# Sourced by test.sh: crates of other people, compiled, are kept for later clones on this machine.
# They are the same whatever the clone, as long as compiler, versions and features are; cargo checks them as if they had been there before.
# shellcheck shell=bash

# Where cargo compiles them: programs, tests and lints; Miri; fuzz targets.
COMPILED=(target/debug target/miri/debug "target/miri/$(uname -m)-unknown-linux-gnu/debug" fuzz/target/release
    "fuzz/target/$(uname -m)-unknown-linux-gnu/release")

# Of more megabytes than these, too much is what only earlier versions needed.
MOST_KEPT_MB=4096

# kept_crates: the directory of those of this version: COMPILERS-MANIFESTS.
kept_crates() {
    local compilers manifests
    compilers=$({ rustc -vV; rustup run nightly rustc -vV 2>/dev/null || true; } | sha256sum | cut -c1-8)
    manifests=$(cat Cargo.toml ./*/Cargo.toml crates/*/Cargo.toml Cargo.lock fuzz/Cargo.lock | sha256sum | cut -c1-16)
    echo "$CACHE_DIR/crates/$compilers-$manifests"
}

# crates_to_take: those of this version, else those that another one left: most crates are the same, and cargo compiles the others.
crates_to_take() {
    local kept other
    kept=$(kept_crates)
    if [ -d "$kept" ]; then echo "$kept" && return 0; fi
    for other in "${kept%-*}"-*; do
        if [ -d "$other" ] && [ "$(du -sm "$other" | cut -f1)" -le "$MOST_KEPT_MB" ]; then echo "$other" && return 0; fi
    done
}

# with_crates shared|exclusive COMMAND…: while no other clone changes, or uses, what is kept.
with_crates() {
    mkdir -p "$CACHE_DIR"
    (flock "--$1" 9 && "${@:2}") 9>"$CACHE_DIR/crates.lock"
}

# take_crates: for a clone that has compiled nothing yet. A place is there as a whole or not at all.
take_crates() {
    local kept place
    kept=$(crates_to_take)
    [ -n "$kept" ] || return 0
    for place in "${COMPILED[@]}"; do
        if [ ! -d "$kept/$place" ] || [ -e "$place" ]; then continue; fi
        rm -rf "$place.taken" && mkdir -p "$place.taken" \
            && cp -a --reflink=auto "$kept/$place/." "$place.taken/" && mv -T "$place.taken" "$place" || return 1
    done
}

# keep_crates: in place of those that belong to earlier versions.
keep_crates() {
    local kept new place
    kept=$(kept_crates)
    [ ! -d "$kept" ] || return 0
    rm -rf "$CACHE_DIR/crates"
    mkdir -p "$CACHE_DIR/crates" && new=$(mktemp -d "$CACHE_DIR/crates/new.XXXXXX") || return 1
    for place in "${COMPILED[@]}"; do
        [ ! -d "$place" ] || keep_of "$place" "$new/$place" || { rm -rf "$new" && return 1; }
    done
    mv -T "$new" "$kept"
}

# keep_of PLACE DIRECTORY: cargo names what it has made of a package PACKAGE-HASH and FILE-HASH; the nightly cargo of Miri keeps all of a package in
# a directory of its own, build/PACKAGE.
keep_of() {
    local ours unit name file fingerprints=() files=() builds=()
    ours=" $(grep -hm 1 '^name = ' ./*/Cargo.toml crates/*/Cargo.toml | cut -d'"' -f2 | tr '\n' ' ')"
    if [ ! -d "$1/.fingerprint" ]; then
        for unit in "$1"/build/*; do
            if [ -e "$unit" ] && [[ $ours != *" ${unit##*/} "* ]]; then builds+=("$unit"); fi
        done
        mkdir -p "$2/build" && copy_to "$2/build" "${builds[@]}"
        return
    fi
    for unit in "$1"/.fingerprint/*; do
        name=${unit##*/}
        [[ $ours != *" ${name%-*} "* ]] || continue
        fingerprints+=("$unit")
        [ ! -e "$1/build/$name" ] || builds+=("$1/build/$name")
        # Parts of what is being compiled, by somebody else in this clone, are gone at any moment, and nobody needs them.
        for file in "$1"/deps/*-"${name##*-}"*; do [[ ! -e $file || $file == *.rcgu.o ]] || files+=("$file"); done
    done
    mkdir -p "$2"/{.fingerprint,deps,build} && copy_to "$2/.fingerprint" "${fingerprints[@]}" && copy_to "$2/deps" "${files[@]}" \
        && copy_to "$2/build" "${builds[@]}"
}

# copy_to DIRECTORY [FILE…]
copy_to() { [ $# -eq 1 ] || cp -a -t "$@"; }
