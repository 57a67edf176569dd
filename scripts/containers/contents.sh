# Sourced by containers.sh: what is in the images, and what is not.
# shellcheck shell=bash disable=SC2154

# Megabytes, with programs of the development profile, which are hardly optimised. A compiler or a forgotten package
# list would exceed them.
LARGEST_IMAGE_MB=140
LARGEST_CONTROLLER_MB=100

scenario_contents() {
    unpack "$IMAGE" "$work/image"
    unpack "$CONTROLLER_IMAGE" "$work/controller"
    check_size "the image" "$work/image" $LARGEST_IMAGE_MB
    check_size "the controller's image" "$work/controller" $LARGEST_CONTROLLER_MB
    check_equal "contents: programs" "hugepage-check linerate linerate-dataplane" "$(programs_in "$work/image")"
    check_equal "contents: the controller's programs" "linerate" "$(programs_in "$work/controller")"
    check_equal "contents: the controller's image has no DPDK" "" "$(cd "$work/controller" && find . -name 'librte_*')"
    check_nothing_else "$work/image"
    check_configuration "$IMAGE"
    check_bill_of_materials "$work/image"
    check_security "$work/image" "$(codename)"
    check_version
    contained --rm --network=none "$CONTROLLER_IMAGE" --version >"$work/out" 2>&1 || true
    check_contains "contents: the controller runs" "linerate " "$work/out"
}

# unpack IMAGE DIR: its files, without running it.
unpack() {
    local container
    container=$("$engine" create "$1")
    mkdir -p "$2"
    "$engine" export "$container" >"$2.tar"
    tar -x -C "$2" --no-same-owner --exclude 'dev/*' -f "$2.tar"
    "$engine" rm "$container" >/dev/null
}

programs_in() { (cd "$1" && find . -type f -perm /111 ! -name '*.so*' ! -name '*.o' -printf '%f\n' | sort | paste -sd ' '); }

check_size() {
    local size packages
    size=$(du -sm --apparent-size "$2" | cut -f1)
    packages=$(find "$2/var/lib/dpkg/status.d" -type f | wc -l)
    echo "     $1: $size MB, $packages packages"
    if [ "$size" -le "$3" ]; then check_line "PASS contents: $1 is small"; else check_line "FAIL contents: $1 has $size MB, more than $3"; fi
}

# No shell, no compiler, no interpreter, no package manager: nothing that runs but the programs, and nothing of apt's and dpkg's but the inventory.
check_nothing_else() {
    local root=$1
    check_equal "contents: no files of other users, none that change user" "" \
        "$(tar -tv --numeric-owner -f "$root.tar" | awk '$2 != "0/0" || $1 ~ /s/' | head -3)"
    check_equal "contents: nothing of a package manager but the inventory" "dpkg/status.d" \
        "$(cd "$root" && find var -mindepth 2 -maxdepth 3 -type d ! -path 'var/lib/dpkg' -printf '%P\n' | sed 's|^lib/||' | sort | paste -sd ' ')"
    check_equal "contents: no caches, logs, keys or homes" "" \
        "$(cd "$root" && find . \( -path './root/*' -o -path './home/*' -o -path './var/log/*' -o -path './var/cache/*' -o -path './etc/apt*' \
            -o -name '*.pem' -o -name '*.key' -o -name '.*rc' -o -name '*history' -o -name 'id_*' \) | paste -sd ' ')"
    check_equal "contents: configuration files" "group libibverbs.d nsswitch.conf os-release passwd" \
        "$(cd "$root/etc" && find . -mindepth 1 -maxdepth 1 ! -name hostname ! -name hosts ! -name resolv.conf ! -name mtab -printf '%f\n' | sort | paste -sd ' ')"
}

check_configuration() {
    local config
    config=$("$engine" image inspect "$1" | jq -c '.[0].Config')
    check_equal "contents: environment" '["PATH=/usr/local/bin"]' "$(jq -c .Env <<<"$config")"
    check_equal "contents: user" '65534:65534' "$(jq -r .User <<<"$config")"
    check_equal "contents: labels" 'licenses revision title version' \
        "$(jq -r '.Labels | to_entries[] | select(.value != "") | .key | ltrimstr("org.opencontainers.image.")' <<<"$config" \
            | grep -E '^(title|version|revision|licenses)$' | sort | paste -sd ' ')"
}

# Every package in the inventory, and the crates of all programs.
check_bill_of_materials() {
    local bill="$1/usr/share/linerate/sbom.cdx.json"
    check_equal "contents: every package is in the list of components" \
        "$(find "$1/var/lib/dpkg/status.d" -type f -printf '%f\n' | sort | paste -sd ' ')" \
        "$(jq -r '.components[] | select((.purl // "") | startswith("pkg:deb/")) | .name' "$bill" | sort | paste -sd ' ')"
    check_equal "contents: programs and crates are in the list of components" "hugepage-check linerate linerate-dataplane; clap tokio" \
        "$(jq -r '.components | (map(select(.type == "application") | .name) | sort | join(" ")) + "; "
            + (map(select((.purl // "") | startswith("pkg:cargo/"))) | map(.name) | map(select(. == "clap" or . == "tokio")) | sort | join(" "))' "$bill")"
}

# Every driver that docker/drivers names is found and loads.
check_version() {
    local wanted
    wanted=$(sed 's/#.*//' docker/drivers | tr ' ' '\n' | sed -n 's/^librte-\(net-.*[^-]\)-\?@$/\1/p' | tr - _ | sort | paste -sd ' ')
    contained --rm --network=none "$IMAGE" --version >"$work/version" 2>"$work/version.err" || true
    check_contains "contents: --version has DPDK's version" "(DPDK " "$work/version"
    check_equal "contents: --version has the drivers" "$wanted" "$(sed -n 's/^network drivers in [^:]*: //p' "$work/version" | tr ' ' '\n' | sort | paste -sd ' ')"
    check_equal "contents: every driver loads" "" "$(grep 'does not load' "$work/version")"
}
