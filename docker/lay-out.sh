#!/bin/sh
# Lays out the root of an image: lay-out.sh ROOT VERSION PROGRAM…, in the folder of the programs and in a Debian that has what they load.
# Copied are the programs, DPDK's plugins if there are any, and the libraries that the dynamic linker says these need.
set -eu
root=$1 version=$2
shift 2
here=$(dirname "$0")
multiarch=$(dirname "$(find /usr/lib -name 'libc.so.6' | head -1)")

mkdir -p "$root/usr/local/bin" "$root/usr/lib" "$root/usr/share/doc" "$root/usr/share/linerate" "$root/etc" "$root/var/lib/dpkg/status.d"
for link in /lib /lib32 /lib64; do
    [ ! -L "$link" ] || cp -a "$link" "$root/"
done
[ ! -L /lib64 ] || mkdir -p "$root/usr/lib64"
mkdir -p "$root/tmp" "$root/proc" "$root/sys" "$root/dev" "$root/run"
chmod 1777 "$root/tmp"

# copy PATH: into the image, link by link, so that one file stays one file under all of its names.
copy() {
    path=$(readlink -f "$(dirname "$1")")/$(basename "$1")
    [ ! -e "$root$path" ] || return 0
    mkdir -p "$root$(dirname "$path")"
    cp -a "$path" "$root$path"
    echo "$path" >>"$root/files"
    [ ! -L "$path" ] || case $(readlink "$path") in
        /*) copy "$(readlink "$path")" ;;
        *) copy "$(dirname "$path")/$(readlink "$path")" ;;
    esac
}

for program in "$@"; do install -m 755 "$program" "$root/usr/local/bin/"; done
# EAL loads plugins by their whole ABI version. rdma-core finds a NIC's library by the files in libibverbs.d, libxdp its programs in bpf.
for file in "$multiarch"/dpdk/pmds-*/librte_*.so.*.* "$multiarch"/libibverbs/libmlx[45]-rdmav*.so /etc/libibverbs.d/mlx[45].driver \
    "$multiarch"/bpf/xdp-dispatcher.o "$multiarch"/bpf/xsk_def_xdp_prog*.o; do
    [ ! -e "$file" ] || copy "$file"
done
: >>"$root/files"
{
    for program in "$@"; do ldd "$root/usr/local/bin/$program"; done
    grep '\.so' "$root/files" | while read -r file; do ldd "$file"; done
} >"$root/libraries"
if grep 'not found' "$root/libraries"; then
    echo "lay-out: the libraries above are missing: the programs were built on another release of Debian than this image's base" >&2
    exit 1
fi
sed -n 's/.*[[:space:]]\(\/[^ ]*\) (0x.*/\1/p' "$root/libraries" | sort -u | while read -r library; do copy "$library"; done

# Packages that own what was copied. Scanners read status.d.
sort -u "$root/files" | while read -r file; do
    dpkg-query --search "$file" 2>/dev/null || dpkg-query --search "${file#/usr}"
done | sed -n 's/^\([^,]*\): .*/\1/p' | sort -u >"$root/packages"
while read -r package; do
    name=${package%%:*}
    dpkg-query --status "$package" >"$root/var/lib/dpkg/status.d/$name"
    mkdir -p "$root/usr/share/doc/$name"
    # -L: some are links to another package's.
    cp -L "/usr/share/doc/$name/copyright" "$root/usr/share/doc/$name/"
done <"$root/packages"
mkdir -p "$root/usr/share/doc/linerate"
cp "$here/LICENSE" "$root/usr/share/doc/linerate/copyright"
cp -L /etc/os-release "$root/etc/os-release"
echo 'nobody:x:65534:65534:nobody:/:/nonexistent' >"$root/etc/passwd"
echo 'nogroup:x:65534:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"

# One list of components: Debian's packages and the crates.
# shellcheck disable=SC1091,SC2016,SC2046
dpkg-query --show --showformat '${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n' $(cat "$root/packages") \
    | jq -R -s --slurpfile crates crates.cdx.json --arg programs "$*" --arg version "$version" --arg release "$(. /etc/os-release && echo "$ID-${VERSION_ID:-sid}")" \
        -f "$here/sbom.jq" >"$root/usr/share/linerate/sbom.cdx.json"
rm "$root/files" "$root/libraries" "$root/packages"
