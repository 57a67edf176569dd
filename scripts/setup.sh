# Sourced by the other scripts: makes sure that what they need is installed, and says so when only root can do it.
# shellcheck shell=bash disable=SC2034

BUILD_PACKAGES=(gcc libc6-dev pkg-config libdpdk-dev libclang-dev)
# The poll mode drivers come with libdpdk-dev; dpdk brings the tools to bind devices.
RUN_PACKAGES=(dpdk)
# testpmd is in dpdk-dev.
PEER_PACKAGES=(dpdk-dev coreutils)
TEST_PACKAGES=(g++ iperf3 nginx-light haproxy ipvsadm sysstat ethtool tshark util-linux coreutils procps mount shellcheck iproute2 iputils-ping nftables python3-minimal python3-venv
    chromium fonts-dejavu-core texlive-latex-recommended texlive-pictures lmodern)
CONTAINER_PACKAGES=(podman buildah runc jq iproute2 binutils debootstrap catatonit curl xz-utils)
CLUSTER_PACKAGES=(socat iproute2 openssl curl util-linux dpkg-dev jq binutils debootstrap buildah faketime)
# From PyPI, for tests that read results as their users do.
PYTHON_PACKAGES=(numpy openpyxl pyarrow wandb MLRsearch==1.2.1)
RIPERF3_VERSION=0.8.0
OLDEST_RUST="1.89"

# What the tests need and Debian does not install: kept between runs, out of the repository.
CACHE_DIR="${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/linerate"

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

# need_cargo_tool NAME: a subcommand of cargo from crates.io, built once; without optimisation, because building takes longer than running.
need_cargo_tool() {
    ! command -v "$1" >/dev/null || return 0
    say "building $1, once"
    CARGO_PROFILE_DEV_DEBUG=false cargo install --quiet --locked --debug "$1" >&2
}

# need_python PACKAGE…: a virtual environment with these packages from PyPI. Tests find its interpreter in LINERATE_PYTHON; without it
# they say that they did not run.
need_python() {
    local venv="$CACHE_DIR/python" missing=() package
    if [ ! -x "$venv/bin/python" ]; then
        python3 -c 'import ensurepip, venv' 2>/dev/null || need_packages python3-venv
        python3 -m venv "$venv" || { say "no virtual environment in $venv; tests that need Python packages cannot run"; return 0; }
    fi
    for package in "$@"; do
        "$venv/bin/python" -c 'import sys; from importlib.metadata import version; version(sys.argv[1])' "${package%%==*}" 2>/dev/null \
            || missing+=("$package")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        say "installing from PyPI: ${missing[*]}"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${missing[@]}" >&2 \
            || say "pip could not install ${missing[*]}; tests that need them cannot run"
    fi
    export LINERATE_PYTHON="$venv/bin/python"
}

# need_promtool: the checker of metrics from Debian's package of Prometheus. That package starts a server when it is installed, so only the
# tool is taken from it.
need_promtool() {
    local tool="$CACHE_DIR/promtool" scratch
    if [ ! -x "$tool" ]; then
        scratch=$(mktemp -d)
        say "fetching promtool"
        if ! (cd "$scratch" && apt-get download -qq prometheus >&2 && dpkg-deb --extract prometheus_*.deb tree) \
            || ! install -D -m 755 "$scratch/tree/usr/bin/promtool" "$tool"; then
            say "promtool cannot be had; tests that need it cannot run"
        fi
        rm -rf "$scratch"
    fi
    export LINERATE_PROMTOOL="$tool"
}

# need_riperf3: another implementation of iperf3, from crates.io, built once. Tests find it in LINERATE_RIPERF3; without it they say that
# they did not run.
need_riperf3() {
    local root="$CACHE_DIR/riperf3"
    if [ ! -x "$root/bin/riperf3" ]; then
        say "building riperf3, once"
        nice -n 5 cargo install --quiet --locked --root "$root" --version "$RIPERF3_VERSION" riperf3-cli >&2 \
            || say "riperf3 cannot be built; tests that need it cannot run"
    fi
    export LINERATE_RIPERF3="$root/bin/riperf3"
}
