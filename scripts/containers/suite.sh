# Sourced by containers.sh: runs the scenarios and counts their checks.
# shellcheck shell=bash disable=SC2154

SCENARIOS=(contents memif af_packet experiment pods)
IMAGE=localhost/linerate:test
CONTROLLER_IMAGE=localhost/linerate-controller:test
HOSTPLANE_IMAGE=localhost/linerate-hostplane:test
# Debian, whose packages they are made of.
DEBIAN_IMAGE=localhost/linerate-debian:test
work='' reason='' run_options=()

# run_suite [SCENARIO…]
run_suite() {
    local scenario begun=$SECONDS
    local wanted=("$@")
    [ $# -gt 0 ] || wanted=("${SCENARIOS[@]}")
    for scenario in "${wanted[@]}"; do
        [[ " ${SCENARIOS[*]} " == *" $scenario "* ]] || usage_error "there is no scenario '$scenario', only: ${SCENARIOS[*]}"
    done
    work=$(mktemp -d)
    # Containers of any user write there.
    chmod 755 "$work"
    trap 'end_suite' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    if ! can_run; then
        for scenario in "${wanted[@]}"; do check_line "NOT RUN containers: $scenario: $reason"; done
        return 0
    fi
    for scenario in "${wanted[@]}"; do
        say "containers: $scenario"
        "scenario_$scenario"
    done
    end_checks "$begun"
}

# prepare: what takes a network and no program of ours.
prepare() {
    [ "$(id -u)" -eq 0 ] || die "the images' base is made by debootstrap, which needs root"
    need_packages "${CONTAINER_PACKAGES[@]}"
    need_base_tarball "$(codename)"
    need_rust
    need_cargo_tool cargo-cyclonedx
}

# can_run: builds the images and finds out how containers run here; where that is impossible for good reason, `reason` says so.
can_run() {
    local bin="${LINERATE_BIN:-target/debug}" suite begun=$SECONDS program
    if [ "$(id -u)" -ne 0 ]; then
        reason="the images' base is made by debootstrap, which needs root"
        return 1
    fi
    need_packages "${CONTAINER_PACKAGES[@]}"
    for engine in podman docker ''; do
        [ -z "$engine" ] || engine_works "$engine" && break
    done
    if [ -z "$engine" ]; then
        reason="neither podman nor docker works here: $(podman info 2>&1 | tail -1)"
        return 1
    fi
    for program in linerate linerate-dataplane hugepage-check; do
        [ -x "$bin/$program" ] || die "$bin/$program is not there: run cargo build --workspace --bins, or say where it is: LINERATE_BIN"
    done
    suite=$(codename)
    say "containers: building the images from Debian $suite with $engine"
    built "$DEBIAN_IMAGE" --target debian
    built "$IMAGE" --target linerate --debian "$DEBIAN_IMAGE" --binaries "$bin" ${LINERATE_IMAGE_ARCHIVE:+--archive "$LINERATE_IMAGE_ARCHIVE"}
    if [ -n "${LINERATE_HOSTPLANE_ARCHIVE:-}" ]; then
        built "$HOSTPLANE_IMAGE" --target hostplane --debian "$DEBIAN_IMAGE" --binaries "$bin" --archive "$LINERATE_HOSTPLANE_ARCHIVE"
    fi
    # Those that the cluster waits for.
    [ -z "${LINERATE_IMAGES_BUILT:-}" ] || touch "$LINERATE_IMAGES_BUILT"
    # As users build it: with a Debian of its own.
    built "$CONTROLLER_IMAGE" --target controller --binaries "$bin"
    echo "     images: $((SECONDS - begun)) s in all"
    find_run_options
}

# built NAME OPTIONS of image.sh…: from this machine's Debian, `suite`.
built() {
    scripts/image.sh --engine "$engine" --fresh --debootstrap "$suite" --tag "$@" >"$work/built" 2>"$work/build.log" || {
        tail -20 "$work/build.log" >&2
        die "scripts/image.sh failed; see above"
    }
    echo "     $(head -1 "$work/built")"
}

# codename: the images' libraries must be of the release that the programs were built on.
codename() {
    local ID='' VERSION_CODENAME=''
    # shellcheck disable=SC1091
    . /etc/os-release
    [ "$ID" = debian ] || die "the programs must be built on Debian to run in the image, and this is ${ID:-an unknown system}"
    echo "${VERSION_CODENAME:-sid}"
}

# find_run_options: containers within containers need some; `reason` is the engine's when none of them helps.
find_run_options() {
    local limits=(--ulimit nofile=1024:1024 --ulimit nproc=1000:1000)
    local variants=('' "${limits[*]}" "--runtime runc" "--runtime runc ${limits[*]}") variant
    for variant in "${variants[@]}"; do
        read -ra run_options <<<"$variant"
        if "$engine" "${global_options[@]}" run --rm "${run_options[@]}" --network=none "$IMAGE" --version >/dev/null 2>"$work/try"; then
            return 0
        fi
    done
    reason="$engine runs no container here: $(tail -1 "$work/try")"
    return 1
}
global_options=()

# contained [OPTIONS…] IMAGE [ARGUMENTS…]: with nothing that is not asked for. The user is one that the image has never heard of.
contained() {
    "$engine" run "${run_options[@]}" --cap-drop=all --security-opt no-new-privileges --read-only --tmpfs /tmp --user "$USER_ID:$USER_ID" "$@"
}
USER_ID=$((RANDOM + 100000))

end_suite() {
    local container
    for container in linerate-test-rx linerate-test-tx; do "$engine" rm -f "$container" >/dev/null 2>&1 || true; done
    end_pods
    end_namespaces
    "$engine" rmi -f "$IMAGE" "$CONTROLLER_IMAGE" "$HOSTPLANE_IMAGE" "$DEBIAN_IMAGE" >/dev/null 2>&1 || true
    rm -rf "$work"
}
