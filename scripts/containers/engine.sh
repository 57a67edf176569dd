# Sourced: what docker, podman and buildah do alike, in the words of each.
# shellcheck shell=bash

engine=''

# choose_engine: the one asked for, or the first that works.
choose_engine() {
    local candidate
    if [ -n "$engine" ]; then
        case $engine in docker | podman | buildah) ;; *) die "there is no engine '$engine', only docker, podman and buildah" ;; esac
        engine_works "$engine" || die "$engine does not work here: $engine info says why"
        return 0
    fi
    for candidate in docker podman buildah; do
        if engine_works "$candidate"; then
            engine=$candidate
            return 0
        fi
    done
    die "no docker, podman or buildah works here; on Debian: apt-get install buildah podman"
}

# Not only installed: docker is a client, too.
engine_works() { command -v "$1" >/dev/null && "$1" info >/dev/null 2>&1; }

# build_image OPTIONS… CONTEXT; `fresh` is not empty when no layers are to be kept.
build_image() {
    # Needs no privileges beyond those of the other steps, and works in a container.
    export BUILDAH_ISOLATION="${BUILDAH_ISOLATION:-chroot}"
    local layers=--layers=true
    [ -z "${fresh:-}" ] || layers=--layers=false
    case $engine in
        docker) docker build "$@" ;;
        podman) podman build "$layers" "$@" ;;
        buildah) buildah bud "$layers" "$@" ;;
    esac
}

# import_image TAR NAME: a root file system becomes an image of one layer.
import_image() {
    local container
    case $engine in
        docker | podman) "$engine" import "$1" "$2" >/dev/null ;;
        buildah)
            container=$(buildah from scratch)
            buildah add -q "$container" "$1" / >/dev/null && buildah commit -q "$container" "$2" >/dev/null
            buildah rm "$container" >/dev/null
            ;;
    esac
}

has_image() {
    case $engine in
        docker | podman) "$engine" image inspect "$1" >/dev/null 2>&1 ;;
        buildah) buildah inspect --type image "$1" >/dev/null 2>&1 ;;
    esac
}

# image_id NAME: nothing when there is none.
image_id() {
    case $engine in
        docker | podman) "$engine" image inspect --format '{{.Id}}' "$1" 2>/dev/null ;;
        buildah) buildah inspect --type image --format '{{.FromImageID}}' "$1" 2>/dev/null ;;
    esac || true
}

# remove_image ID: unless something uses it.
remove_image() {
    case $engine in
        docker | podman) "$engine" image rm "$1" >/dev/null 2>&1 ;;
        buildah) buildah rmi "$1" >/dev/null 2>&1 ;;
    esac || true
}

# image_size NAME: for people; buildah says it in `buildah images`.
image_size() {
    case $engine in
        docker | podman) "$engine" image inspect --format '{{.Size}}' "$1" | awk '{ printf "%.1f MB\n", $1 / 1e6 }' ;;
        buildah) buildah images --format '{{.Size}}' "$1" ;;
    esac
}

# save_image NAME FILE: a docker archive.
save_image() {
    rm -f "$2"
    case $engine in
        docker) docker save -o "$2" "$1" ;;
        podman) podman save -q --format docker-archive -o "$2" "$1" >/dev/null ;;
        buildah) buildah push -q "$1" "docker-archive:$2:$1" ;;
    esac
}
