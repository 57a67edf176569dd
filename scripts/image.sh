#!/usr/bin/env bash
# Builds an image of Linerate with docker, podman or buildah, from bases of a registry or of this machine's own making.
set -euo pipefail
called_from=$PWD
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh
# shellcheck source=scripts/containers/engine.sh
. scripts/containers/engine.sh
# shellcheck source=scripts/containers/bases.sh
. scripts/containers/bases.sh

usage() {
    cat <<'END_OF_USAGE'
Usage: scripts/image.sh [OPTIONS]

Builds an image with linerate, linerate-dataplane, hugepage-check and DPDK's network drivers, and prints its name and size.

  --tag NAME           the image's name (default: localhost/linerate:dev, or localhost/linerate-TARGET:dev; also with the version in place of
                       dev, as documents name it that name no image)
  --target TARGET      linerate (default); controller: `linerate` alone, without DPDK; hostplane: `linerate-hostplane` alone, for pods of streams;
                       debian: Debian with its newest packages and no program, for --debian
  --debian IMAGE       lay out in this one, made by --target debian: several images then have the same packages, which are fetched once
  --archive FILE       write a docker archive as well, for clusters without a registry
  --base IMAGE         Debian to take libraries from (default: docker.io/library/debian:bookworm-slim)
  --rust IMAGE         Rust to build with, on the same release of Debian (default: docker.io/library/rust:1-slim-bookworm)
  --debootstrap SUITE  make both bases here (root): that release of Debian, and this machine's Rust toolchain in it; kept in ~/.cache/linerate
  --binaries DIR       take the programs from there, built on the same release of Debian, instead of compiling them in the image
  --engine NAME        docker, podman or buildah (default: the first that works)
  --ca FILE            certificate authorities for cargo, where a proxy shows a certificate of its own (with --binaries not needed)
  --fresh              with the newest packages: use no layers of earlier builds, and with podman and buildah leave none for later ones

Bases pinned by digest: --base docker.io/library/debian@sha256:… --rust docker.io/library/rust@sha256:…

Examples:
  The image, from Debian and Rust of a registry:
    scripts/image.sh
  Without any registry, with programs already built, for a cluster:
    scripts/image.sh --debootstrap bookworm --binaries target/release --archive linerate.tar

Environment: DEBIAN_MIRROR (default: http://deb.debian.org/debian); BUILDAH_ISOLATION of podman and buildah (default: chroot)

Exit codes: 0 done, 1 failed, 2 wrong usage.
END_OF_USAGE
}
usage_error() { printf '%s\n' "error: $*; see scripts/image.sh --help" >&2; exit 2; }

tag='' target=linerate debian=debian archive='' base='' rust='' suite='' binaries='' ca='' fresh=''
# absolute FILE: as seen from where the script was called.
absolute() { case $1 in /*) echo "$1" ;; *) echo "$called_from/$1" ;; esac; }
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --fresh) fresh=true && shift && continue ;;
        --tag | --target | --debian | --archive | --base | --rust | --debootstrap | --binaries | --engine | --ca) [ $# -gt 1 ] || usage_error "$1 needs a value" ;;
        *) usage_error "there is no option '$1'" ;;
    esac
    case $1 in
        --tag) tag=$2 ;;
        --target) target=$2 ;;
        --debian) debian=$2 ;;
        --archive) archive=$(absolute "$2") ;;
        --base) base=$2 ;;
        --rust) rust=$2 ;;
        --debootstrap) suite=$2 ;;
        --binaries) binaries=$(absolute "$2") ;;
        --engine) engine=$2 ;;
        --ca) ca=$(absolute "$2") ;;
    esac
    shift 2
done
case $target in
    linerate) programs=(linerate linerate-dataplane hugepage-check) name=localhost/linerate ;;
    hostplane) programs=(linerate-hostplane) name=localhost/linerate-hostplane ;;
    controller) programs=(linerate) name=localhost/linerate-controller ;;
    debian) programs=() name=localhost/linerate-debian ;;
    *) usage_error "there is no target '$target'" ;;
esac
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
names=("${tag:-$name:dev}")
[ -n "$tag" ] || names+=("$name:$version")
tag=${names[0]}
[ -z "$suite" ] || [ -z "$base$rust" ] || usage_error "--debootstrap makes the bases that --base and --rust name: choose one"
[ -z "$ca" ] || [ -r "$ca" ] || usage_error "--ca $ca cannot be read"

choose_engine
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

options=(--target "$target" -f docker/Dockerfile)
for name in "${names[@]}"; do options+=(-t "$name"); done
options+=(--build-arg "VERSION=$version")
options+=(--build-arg "REVISION=$(git describe --always --abbrev=40 --dirty --exclude '*' 2>/dev/null || echo unknown)")
[ -z "$fresh" ] || options+=(--no-cache)
context=. source=compiled
if [ "$target" = debian ]; then
    # Without the stages that compile.
    source=given
elif [ -n "$binaries" ]; then
    source=given
    context=$work/context
    mkdir -p "$context/programs"
    cp -r docker LICENSE "$context/"
    for program in "${programs[@]}"; do
        [ -x "$binaries/$program" ] || die "$binaries/$program is not there: build it, or leave out --binaries"
        strip -o "$context/programs/$program" "$binaries/$program"
    done
    need_rust
    need_cargo_tool cargo-cyclonedx
    docker/crates.sh "$context/programs"
fi
# The default, too: older releases of buildah do not see which stages it names.
options+=(--build-arg "PROGRAMS=$source" --build-arg "DEBIAN=$debian")
if [ -n "$suite" ]; then
    base=$(base_name "$suite")
    need_base "$suite"
    if [ "$source" = compiled ]; then
        need_rust
        rust=$(toolchain_name "$suite")
        need_toolchain "$suite"
    fi
fi
[ -z "$base" ] || options+=(--build-arg "BASE=$base")
[ -z "$rust" ] || options+=(--build-arg "RUST=$rust")
[ -z "$ca" ] || options+=(--secret "id=ca,src=$ca")

say "building $tag with $engine"
replaced=$(image_id "$tag")
build_image "${options[@]}" "$context" >&2 || die "$engine could not build $tag; its messages are above"
# Without its name it would only take up room.
[ -z "$replaced" ] || [ "$replaced" = "$(image_id "$tag")" ] || remove_image "$replaced"
for name in "${names[@]}"; do echo "$name $(image_size "$name")"; done
if [ -n "$archive" ]; then
    save_image "$tag" "$archive" || die "$engine could not write $archive"
    echo "$archive $(du -h "$archive" | cut -f1)"
fi
