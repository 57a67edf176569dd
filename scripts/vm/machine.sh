# Sourced by vm.sh: the scenario `machine`, about the virtual machine itself. It runs here, not in a guest.
# shellcheck shell=bash

# From suite.sh:
: "${work?}"
NAME=machine
# What a guest may take to boot on a busy machine, in seconds, and its processes to go.
UP_S=240
GONE_S=30

scenario_machine() {
    local tmp="$work/tmp"
    mkdir "$tmp"
    # shellcheck disable=SC2016 # for the guest
    echo 'echo "the guest says: $*"; echo "lost" >"$1/changed"; exit 7' >"$work/seven.sh"
    echo 'exec sleep 600' >"$work/forever.sh"
    gives_the_exit_code
    ends_on INT 130 in_script
    # It takes what runs with it at any moment: no guest needs to have booted.
    ends_on KILL 137 in_qemu
    ends_at_its_time
}

gives_the_exit_code() {
    start_run -- "$work/seven.sh" "$work" "two words"
    ended 7 "the exit code is the script's"
    check_equal "$NAME: the script's output arrives" "the guest says: $work two words" "$(cat "$work/log")"
    check_equal "$NAME: what a guest writes is not on this machine" no "$(if [ -e "$work/changed" ]; then echo yes; else echo no; fi)"
    nothing_left "after its end"
}

# ends_on SIGNAL STATUS IN: where the guest is then.
ends_on() {
    start_run -- "$work/forever.sh"
    if ! within "$UP_S" "$3"; then
        check_line "FAIL $NAME: SIG$1: the guest did not come up within $UP_S s: $(tail -n 1 "$work/log")"
    fi
    kill "-$1" "$child"
    ended "$2" "SIG$1: ends"
    # Nobody can clear up after SIGKILL; the guest must end all the same.
    [ "$1" != KILL ] || { within "$GONE_S" no_process && rm -rf "${work:?}"/tmp/*; } || true
    nothing_left "after SIG$1"
}

ends_at_its_time() {
    start_run --time-limit 2 -- "$work/forever.sh"
    ended 124 "the time limit: ends"
    check_equal "$NAME: the time limit: is told" 1 "$(grep -c 'did not end within 2 s, it was in: the boot' "$work/log")"
    nothing_left "after the time limit"
}

# start_run ARGUMENTS: `vm.sh run` in the background, as `child`.
start_run() {
    # A script's background processes ignore SIGINT unless told otherwise.
    TMPDIR="$work/tmp" env --default-signal=INT "$PWD/scripts/vm.sh" run "$@" >"$work/log" 2>&1 &
    child=$!
}

# ended STATUS NAME
ended() {
    local status=0
    # bash would report the death of a killed process.
    { wait "$child" || status=$?; } 2>/dev/null
    child=''
    check_equal "$NAME: $2" "$1" "$status"
}

# QEMU has opened the log, so it has all that ends it with its parent.
in_qemu() { compgen -G "$work/tmp/*/kernel.log" >/dev/null; }
in_script() { cat "$work"/tmp/*/share/phase 2>/dev/null | grep -F "$work/forever.sh" >/dev/null; }
no_process() { ! pgrep -f -- "$work/tmp/" >/dev/null; }

# nothing_left WHEN: neither processes, QEMU's command line names its temporary directory, nor files.
nothing_left() {
    within "$GONE_S" no_process || true
    check_equal "$NAME: no process is left $1" "" "$(pgrep -a -f -- "$work/tmp/" || true)"
    check_equal "$NAME: no file is left $1" "" "$(ls -A "$work/tmp")"
}

# within SECONDS COMMAND…: until it succeeds.
within() {
    local until=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$until" ] || return
        sleep 0.2
    done
}
