#!/usr/bin/env bash
# Sets up what is missing, then checks form, lints and runs every test. What cannot run on this machine is named at the end.
# shellcheck disable=SC2317 # functions are called by their names, by `begin` and traps
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh
# shellcheck source=scripts/crates.sh
. scripts/crates.sh

usage() {
    cat <<'END'
Usage: scripts/test.sh [--fuzz-seconds N]

Sets up what is missing, then checks form and runs every test: those of the programs; lints; the licences and sources of their dependencies; the
packet path under Miri; fuzz targets; and three stages that bring up a virtual machine, containers and a Kubernetes cluster (scripts/vm.sh,
containers.sh, cluster.sh). Needs root for most of them; what cannot run is named at the end, and so is what failed. A few tests that failed are run
once more, alone: those that pass then are UNSTEADY, and counted as that.

  --fuzz-seconds N   how long each fuzz target runs, from where the last run on this machine ended (default: 30)

One part alone: cargo test -p linerate --test e2e local_run; scripts/vm.sh test; scripts/cluster.sh test memif

Exit codes: 0 all passed, could not run or are unsteady, 1 a test failed, 2 wrong usage.
END
}
usage_error() { printf '%s\n' "error: $*; see scripts/test.sh --help" >&2; exit 2; }

fuzz_seconds=30
case ${1:-} in
    '') ;;
    -h | --help | help) usage && exit 0 ;;
    --fuzz-seconds)
        [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || usage_error "--fuzz-seconds needs a number of seconds"
        fuzz_seconds=$2
        ;;
    *) usage_error "there is no option '$1'" ;;
esac

# With the time since the start, which shows what takes long.
say() { printf '==> %4d s  %s\n' "$SECONDS" "$*" >&2; }

scratch=$(mktemp -d)
# shellcheck source=scripts/failures.sh
. scripts/failures.sh
export LINERATE_NOT_RUN="$scratch/tests.not-run"
# The images are built once, for containers and cluster.
export LINERATE_IMAGE_ARCHIVE="$scratch/image.tar" LINERATE_HOSTPLANE_ARCHIVE="$scratch/hostplane.tar" LINERATE_IMAGES_BUILT="$scratch/images.built"
status=0 passed=0 failed=0 skipped=0
declare -A running=()
trap 'end_all' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

end_all() {
    local pid
    for pid in "${running[@]}"; do end_tree "$pid"; done
    for pid in "${running[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$scratch"
}

# end_tree PID: this process and those that it has started so far. What it starts now tidies up.
end_tree() {
    local children child
    children=$(pgrep --parent "$1" || true)
    kill -TERM "$1" 2>/dev/null || true
    for child in $children; do end_tree "$child"; done
}

# begin NAME COMMAND…: in the background. Its output is shown as a whole when it is waited for, and what it could not run has a file of its own.
begin() {
    local name=$1
    shift
    LINERATE_NOT_RUN="$scratch/$name.not-run" "$@" >"$scratch/$name" 2>&1 </dev/null &
    running[$name]=$!
}

# end NAME: waits for it, shows what it wrote and counts its PASS, FAIL and NOT RUN lines; that it failed is in `status`.
end() {
    local log="$scratch/$1"
    wait "${running[$1]}" || status=$?
    unset "running[$1]"
    cat "$log"
    passed=$((passed + $(grep -c '^PASS ' "$log" || true)))
    failed=$((failed + $(grep -c '^FAIL ' "$log" || true)))
    skipped=$((skipped + $(grep -c '^NOT RUN ' "$log" || true)))
}

# tests ARGUMENTS of cargo test…
tests() { cargo test --workspace --no-fail-fast "$@"; }

# tests_stage NAME ARGUMENTS of cargo test…: tests that fail are looked at in the end; that they cannot be run, or that a test program dies, is a failure
# at once.
tests_stage() {
    local log="$scratch/$1" ended=0
    shift
    tests "$@" 2>&1 | tee "$log" || ended=$?
    [ "$ended" -eq 0 ] || only_tests_failed "$log" || status=$ended
}

# What only the tests need.
set_up() {
    local packages=("${RUN_PACKAGES[@]}" "${PEER_PACKAGES[@]}" "${TEST_PACKAGES[@]}")
    # Of stages that only root can run.
    [ "$(id -u)" -ne 0 ] || packages+=("${CONTAINER_PACKAGES[@]}" "${CLUSTER_PACKAGES[@]}")
    need_packages "${packages[@]}"
    need_python "${PYTHON_PACKAGES[@]}"
    need_promtool
    need_riperf3
    # What is lacking here is told by the stages.
    [ "$(uname -m)" != x86_64 ] || scripts/vm.sh prepare || true
    scripts/containers.sh prepare || true
}

# containers: the cluster waits for their images, whatever becomes of them.
containers() {
    local ended=0
    scripts/containers.sh test || ended=$?
    touch "$LINERATE_IMAGES_BUILT"
    return "$ended"
}

# beside_others: begins beside tests that must have the CPUs to themselves: as SCHED_IDLE, which makes way at once. Fuzz targets first, which take their
# time with any CPU.
beside_others() {
    local ended=0
    renice -n 19 "$BASHPID" >/dev/null
    [ "$(id -u)" -ne 0 ] || chrt --idle --pid 0 "$BASHPID"
    scripts/dependencies.sh || ended=$?
    scripts/fuzz.sh "$fuzz_seconds" || ended=$?
    scripts/miri.sh || ended=$?
    return "$ended"
}

# with_a_share PID: this process and those that it has started are SCHED_IDLE no more, which takes root. On busy CPUs they would get nothing at all, and
# what holds a lock of the file system then holds up everybody else.
with_a_share() {
    local child
    chrt --all-tasks --other --pid 0 "$1" 2>/dev/null || true
    for child in $(pgrep --parent "$1" || true); do with_a_share "$child"; done
}

# on_stub: tests on a stub of the Kubernetes API. Most of their time they wait for it.
on_stub() { tests --test api_stub -- --test-threads=8 || only_tests_failed "$scratch/on_stub"; }

# limits: tests that change limits of the host.
limits() { tests --test e2e -- --test-threads=1 host_limits:: || only_tests_failed "$scratch/limits"; }

need_packages "${BUILD_PACKAGES[@]}"
need_rust
say "packages and tools of the tests, while the programs are compiled"
begin set-up set_up

say "form: cargo fmt"
cargo fmt --all --check
say "programs and tests"
# A clone that is new has nothing that could be compiled in part; to write down what could be takes time and a gigabyte. It stays so for later runs:
# with it, all would be compiled again.
[ -n "$(ls -A target/debug/incremental 2>/dev/null)" ] || export CARGO_INCREMENTAL=0
new_clone=false
if [ ! -e target/debug ]; then
    new_clone=true
    with_crates shared take_crates || say "crates of an earlier clone could not be taken"
fi
# With the tests: without them cargo would build the libraries once more, with fewer features.
cargo build --workspace --bins --tests --quiet
end set-up
[ "$status" -eq 0 ] || exit 1
# Sets what the tests look for; all is there.
need_python "${PYTHON_PACKAGES[@]}"
need_promtool
need_riperf3

say "tests of rates and times, one at a time: each has the CPUs to itself"
begin beside beside_others
tests_stage alone --test e2e -- --test-threads=1 alone::
with_a_share "${running[beside]}"
begin containers containers
# Before others: it takes longest. Only root has one.
begin cluster nice -n -5 scripts/cluster.sh test
begin guests nice -n 5 scripts/vm.sh test others
say "tests, three at a time: mostly they wait"
tests_stage tests --tests -- --test-threads=3 --skip alone:: --skip on_stub:: --skip host_limits::
say "tests on a stub of the Kubernetes API, eight at a time; virtual machine: guests that count no packets"
begin on_stub on_stub
# Not beside the tests before: what a guest measures needs some of the CPUs.
begin vm nice -n 5 scripts/vm.sh test counting
# cargo lets others wait while it compiles, so lints come when few tests are left that it starts.
until grep -qs '^running ' "$scratch/on_stub" || ! kill -0 "${running[on_stub]}" 2>/dev/null; do sleep 0.5; done
begin lints nice -n 10 scripts/lints.sh
end guests
end on_stub
say "containers: the images, unprivileged containers; cluster: pods on a real Kubernetes cluster"
end containers
end cluster
# Guests do not notice limits of this host.
begin limits limits
say "virtual machine: SR-IOV VFs behind an IOMMU, netem"
end vm
say "tests that change limits of the host; dependencies, lints, Miri, fuzz targets"
end limits
end lints
end beside
if $new_clone; then with_crates exclusive keep_crates || say "the compiled crates could not be kept for later clones"; fi

# sum WORD: of the lines in which test programs tell how they ended.
sum() {
    cat "$scratch"/{alone,tests,on_stub,limits} \
        | awk -v word="$1" '/^test result:/ { for (i = 1; i < NF; i++) if ($(i + 1) == word";") total += $i } END { print total + 0 }'
}
# A test that could not run returns early and counts as passed for cargo; it does not here.
touch "$scratch"/{tests,on_stub,limits}.not-run
returned=$(cat "$scratch"/{tests,on_stub,limits}.not-run | wc -l)
tell_failures "$scratch"/{alone,tests,on_stub,limits}
failed=$((failed + $(sum failed) - unsteady))
passed=$((passed + $(sum passed) - returned))
skipped=$((skipped + returned))

echo
cat "$scratch"/{containers,cluster,guests,vm,lints,beside} | grep '^FAIL ' || true
sort -u "$scratch"/*.not-run
echo
echo "$passed passed, $failed failed, $unsteady unsteady, $skipped skipped"
[ "$status" -eq 0 ] && [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
