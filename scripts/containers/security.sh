# Sourced by containers.sh: what Debian itself says of the safety of an image's packages. Scanners with databases of their own say more.
# shellcheck shell=bash disable=SC2154

# check_security ROOT SUITE: no package is older than Debian's security archive has it, and none is of those that are no longer supported.
check_security() {
    local root=$1 suite=$2 mirror="${DEBIAN_MIRROR:-http://deb.debian.org/debian}" arch ended
    arch=$(dpkg --print-architecture)
    need_packages curl xz-utils
    if [[ $suite == sid ]] || ! curl -fsS "${mirror%/debian}/debian-security/dists/$suite-security/main/binary-$arch/Packages.xz" 2>"$work/curl" \
        | xz -d >"$work/security"; then
        check_line "NOT RUN containers: contents: security updates: no security archive of Debian $suite: $(tail -1 "$work/curl" 2>/dev/null)"
        return 0
    fi
    installed "$root" >"$work/installed"
    if [ ! -s "$work/installed" ] || ! grep -q '^Package:' "$work/security"; then
        die "there is nothing to compare: $work/installed, $work/security"
    fi
    check_equal "contents: security: every package is as new as Debian's security archive has it" "" "$(outdated | paste -sd ';')"
    # shellcheck disable=SC1091
    ended="$work/support/security-support-ended.deb$(. /etc/os-release && echo "${VERSION_ID:-}")"
    if ! fetch_support_lists || [ ! -e "$ended" ]; then
        check_line "NOT RUN containers: contents: unsupported packages: debian-security-support has no list for Debian $suite"
        return 0
    fi
    check_equal "contents: security: no package's support has ended" "" "$(listed "$ended" | paste -sd ';')"
    listed "$work/support/security-support-limited" | sed 's/^/     finding: limited support: /'
    echo "     security: $(wc -l <"$work/installed") packages compared with $(grep -c '^Package:' "$work/security") of $suite-security"
}

# installed ROOT: package, version and source, a line each.
installed() {
    awk '
        FNR == 1 && package { print package, version, source }
        FNR == 1 { package = version = source = "" }
        $1 == "Package:" { package = source = $2 }
        $1 == "Version:" { version = $2 }
        $1 == "Source:" { source = $2 }
        END { print package, version, source }' "$1"/var/lib/dpkg/status.d/*
}

# outdated: of those, the ones with a security update that the image does not have.
outdated() {
    local package version fixed
    awk '
        NR == FNR { have[$1] = $2; next }
        $1 == "Package:" { package = $2 }
        $1 == "Version:" && package in have { print package, have[package], $2 }' "$work/installed" "$work/security" \
        | while read -r package version fixed; do
            dpkg --compare-versions "$version" ge "$fixed" || echo "$package $version, fixed in $fixed"
        done
}

# fetch_support_lists: Debian's lists of what its security team does not look after, in $work/support. They are data: the package is not installed.
fetch_support_lists() {
    mkdir -p "$work/support"
    (cd "$work/support" && apt-get download -qq -o APT::Sandbox::User=root debian-security-support && dpkg -x ./*.deb . && mv usr/share/debian-security-support/* .) \
        >"$work/support.log" 2>&1
}

# listed FILE: packages whose source is in it, with what it says.
listed() {
    awk '
        NR == FNR { source[$3]; next }
        /^[^#]/ && $1 in source { name = $1; $1 = ""; print name ":" $0 }' "$work/installed" "$1"
}
