# Sourced by the other scripts: makes sure that what they need is installed, and says so when only root can do it.
# shellcheck shell=bash disable=SC2034

BUILD_PACKAGES=(gcc libc6-dev pkg-config libdpdk-dev libclang-dev)
# The poll mode drivers come with libdpdk-dev; dpdk brings the tools to bind devices.
RUN_PACKAGES=(dpdk)
# testpmd is in dpdk-dev.
PEER_PACKAGES=(dpdk-dev coreutils)
TEST_PACKAGES=(tshark util-linux coreutils procps mount shellcheck iproute2 nftables python3-minimal
    chromium fonts-dejavu-core texlive-latex-recommended texlive-pictures lmodern)
OLDEST_RUST="1.89"

say() { printf '%s\n' "==> $*" >&2; }
die() { printf '%s\n' "error: $*" >&2; exit 1; }

# need_packages NAME…: installs the Debian packages that are missing.
need_packages() {
    command -v dpkg-query >/dev/null || die "this script installs Debian packages and finds no dpkg; install by hand: $*"
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "these packages are missing and only root can install them; run as root: apt-get install ${missing[*]}"
        as_root=(sudo)
        say "root is needed to install: ${missing[*]}"
    fi
    say "installing ${missing[*]}"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 \
        || die "apt-get could not install ${missing[*]}"
}

# need_rust: a toolchain that is new enough.
need_rust() {
    local have
    if ! command -v cargo >/dev/null && [ -f "${HOME:-/root}/.cargo/env" ]; then
        # shellcheck disable=SC1091
        . "${HOME:-/root}/.cargo/env"
    fi
    if ! command -v cargo >/dev/null; then
        # Debian 13 and later have rustup; on Debian 12 it comes from its own site. The package lists are fresh only if something was
        # installed just now.
        apt-cache show rustup >/dev/null 2>&1 || apt-get update -qq 2>/dev/null || true
        apt-cache show rustup >/dev/null 2>&1 \
            || die "no Rust toolchain: install Rust $OLDEST_RUST or later from https://rustup.rs and run this again"
        need_packages rustup
        rustup default stable >&2
    fi
    have=$(cargo --version | cut -d' ' -f2)
    [ "$(printf '%s\n' "$OLDEST_RUST" "$have" | sort -V | head -1)" = "$OLDEST_RUST" ] \
        || die "Rust $have is too old: $OLDEST_RUST or later is needed (rustup update stable)"
}
