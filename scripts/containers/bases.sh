# Sourced by image.sh: bases of this machine's own making, for where no registry of images can be reached.
# shellcheck shell=bash disable=SC2154

IMAGE_CACHE="${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/linerate/image"
DEBIAN_MIRROR="${DEBIAN_MIRROR:-http://deb.debian.org/debian}"

base_name() { echo "localhost/linerate-base:$1"; }
toolchain_name() { echo "localhost/linerate-toolchain:$1"; }

# need_base SUITE: that release of Debian, as small as debootstrap makes it, imported.
need_base() {
    local tarball
    tarball=$(base_tarball "$1")
    need_base_tarball "$1"
    has_image "$(base_name "$1")" || import_image "$tarball" "$(base_name "$1")" || die "$engine could not import $tarball"
}

base_tarball() { echo "$IMAGE_CACHE/$1-$(dpkg --print-architecture).tar"; }

# need_base_tarball SUITE: made once; the images' builds bring its packages up to date.
need_base_tarball() {
    local tarball
    tarball=$(base_tarball "$1")
    [ -s "$tarball" ] || make_base "$1" "$tarball"
}

# make_base SUITE TARBALL
make_base() {
    local root="$IMAGE_CACHE/$1.root" lists=("deb $DEBIAN_MIRROR $1 main")
    [ "$(id -u)" -eq 0 ] || die "only root can run debootstrap: run this as root once, or name a base with --base"
    need_packages debootstrap
    say "making a base of Debian $1"
    mkdir -p "$IMAGE_CACHE"
    rm -rf "$root"
    debootstrap --variant=minbase "$1" "$root" "$DEBIAN_MIRROR" >&2 || die "debootstrap could not make Debian $1 from $DEBIAN_MIRROR"
    case $1 in
        sid | unstable) ;;
        *) lists+=("deb $DEBIAN_MIRROR $1-updates main" "deb ${DEBIAN_MIRROR%/debian}/debian-security $1-security main") ;;
    esac
    printf '%s\n' "${lists[@]}" >"$root/etc/apt/sources.list"
    rm -rf "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    tar -C "$root" --numeric-owner --one-file-system -cf "$2.new" .
    mv "$2.new" "$2"
    rm -rf "$root"
}

# need_toolchain SUITE: the base with a compiler and this machine's Rust.
need_toolchain() {
    has_image "$(toolchain_name "$1")" && return 0
    build_image --build-arg "BASE=$(base_name "$1")" -t "$(toolchain_name "$1")" -f docker/toolchain.Dockerfile "$(rustc --print sysroot)" >&2 \
        || die "$engine could not build the base with the Rust toolchain"
}
