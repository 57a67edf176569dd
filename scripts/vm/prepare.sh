# Sourced by vm.sh: QEMU, a Debian kernel and an initramfs. Changes no package source of the machine.
# shellcheck shell=bash

DEBIAN_MIRROR="${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
DEBIAN_KEYS=/usr/share/keyrings/debian-archive-keyring.gpg
VM_PACKAGES=(busybox-static cpio gojq kmod iproute2 procps tshark util-linux xz-utils)
VM_CACHE="${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/linerate/vm"
QEMU=qemu-system-x86_64
# What the initramfs must load to reach the host's files; all else is loaded from there.
BOOT_MODULES=(virtio_pci 9pnet_virtio 9p overlay)

prepare() {
    need_packages "${VM_PACKAGES[@]}"
    mkdir -p "$VM_CACHE"
    exec {lock}>"$VM_CACHE/lock"
    flock "$lock"
    has_igb || install_qemu
    has_igb || die "$QEMU has no igb device: QEMU 8.1 or later is needed"
    has_kernel || unpack_kernel
    [ -s "$VM_CACHE/vmlinux" ] || uncompress_kernel
    build_initramfs
    exec {lock}>&-
}

# is_prepared: nothing is missing, and the initramfs is newer than what it is made of.
is_prepared() {
    has_igb && has_kernel && [ "$VM_CACHE/initramfs" -nt scripts/vm/init ] && [ "$VM_CACHE/initramfs" -nt scripts/vm/prepare.sh ]
}

# Not grep -q: QEMU would die of the closed pipe, and pipefail would tell.
has_igb() { command -v "$QEMU" >/dev/null && "$QEMU" -device help 2>/dev/null | grep '^name "igb"' >/dev/null; }
has_kernel() { [ -s "$VM_CACHE/vmlinuz" ] && [ -s "$VM_CACHE/release" ]; }

install_qemu() {
    debian_lists
    local as_root=() from
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "$QEMU (8.1 or later, for igb) is missing and only root can install it: run this as root"
        as_root=(sudo)
    fi
    from=$(codename)
    # bookworm's own QEMU is 7.2, older than the igb device.
    [ "$from" != bookworm ] || from=bookworm-backports
    say "installing QEMU from Debian $from"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "${APT[@]}" install -y -qq --no-install-recommends -t "$from" qemu-system-x86 >&2 \
        || die "apt-get could not install qemu-system-x86 from $from"
}

unpack_kernel() {
    debian_lists
    local package scratch="$VM_CACHE/kernel.new"
    package=$(apt-cache "${APT[@]}" depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -1)
    [ -n "$package" ] || die "no kernel found: linux-image-amd64 of $DEBIAN_MIRROR names none"
    say "fetching $package (not installed, only unpacked in $VM_CACHE)"
    rm -rf "$scratch" "$VM_CACHE/kernel" "$VM_CACHE/vmlinux"
    mkdir -p "$scratch"
    (cd "$scratch" && apt-get "${APT[@]}" download -qq "$package" >&2) || die "apt-get could not download $package from $DEBIAN_MIRROR"
    dpkg-deb --fsys-tarfile "$scratch"/*.deb \
        | tar -x -C "$scratch" --wildcards '*boot/vmlinuz-*' '*lib/modules/*/kernel/*' '*lib/modules/*/modules.*'
    rm "$scratch"/*.deb
    # Debian 13's package has its modules below usr, and kmod looks in lib.
    [ -d "$scratch/lib" ] || ln -s usr/lib "$scratch/lib"
    local release
    release=$(basename "$scratch"/lib/modules/*)
    depmod -b "$scratch" "$release"
    mv "$scratch" "$VM_CACHE/kernel"
    cp "$VM_CACHE"/kernel/boot/vmlinuz-* "$VM_CACHE/vmlinuz"
    # Written last: it says that all the rest is there.
    echo "$release" >"$VM_CACHE/release"
}

# uncompress_kernel: QEMU starts a bare kernel, too. An emulated CPU takes 5 s to unpack it, at every boot. A kernel that is compressed in another
# way than Debian's stays as it is.
uncompress_kernel() {
    local from bare="$VM_CACHE/vmlinux"
    from=$(LC_ALL=C grep -abo -P -m 1 '\xfd7zXZ\x00' "$VM_CACHE/vmlinuz" | head -1 | cut -d: -f1) || true
    [ -n "$from" ] || return 0
    # More follows what was compressed: tail is ended by that, and not asked how.
    xz -dc --single-stream < <(tail -c "+$((from + 1))" "$VM_CACHE/vmlinuz") >"$bare.new" 2>/dev/null || { rm -f "$bare.new" && return 0; }
    if [ "$(head -c 4 "$bare.new" | tr -d '\177')" = ELF ]; then mv "$bare.new" "$bare"; else rm -f "$bare.new"; fi
}

# kernel_image: the kernel that QEMU starts.
kernel_image() { if [ -s "$VM_CACHE/vmlinux" ]; then echo "$VM_CACHE/vmlinux"; else echo "$VM_CACHE/vmlinuz"; fi; }

build_initramfs() {
    local root module file
    root=$(mktemp -d)
    mkdir -p "$root"/{bin,dev,proc,sys,ro,rw,root,modules}
    cp "$(command -v busybox)" "$root/bin/busybox"
    install -m 755 scripts/vm/init "$root/init"
    modprobe -a -d "$VM_CACHE/kernel" -S "$(cat "$VM_CACHE/release")" --show-depends "${BOOT_MODULES[@]}" \
        | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' >"$root/list"
    while read -r file; do
        module=$(basename "$file" .xz)
        # busybox's insmod reads no compressed modules.
        case $file in
            *.xz) xz -dc "$file" >"$root/modules/$module" ;;
            *) cp "$file" "$root/modules/$module" ;;
        esac
        echo "$module" >>"$root/modules/order"
    done <"$root/list"
    (cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$VM_CACHE/initramfs.new"
    mv "$VM_CACHE/initramfs.new" "$VM_CACHE/initramfs"
    rm -rf "$root"
}

# debian_lists: package lists of Debian alone, in the cache, for the options in APT. Only for apt: dpkg's state stays the machine's.
debian_lists() {
    [ ${#APT[@]} -eq 0 ] || return 0
    [ -f "$DEBIAN_KEYS" ] || die "$DEBIAN_KEYS is missing: install debian-archive-keyring"
    local name sources="$VM_CACHE/apt/sources.list"
    name=$(codename)
    mkdir -p "$VM_CACHE"/apt/{lists/partial,parts,archives/partial}
    printf "deb [signed-by=$DEBIAN_KEYS] %s %s main\n" "$DEBIAN_MIRROR" "$name" "$DEBIAN_MIRROR" "$name-updates" \
        "$DEBIAN_MIRROR" "$name-backports" "${DEBIAN_MIRROR%/debian}/debian-security" "$name-security" >"$sources"
    APT=(-o "Dir::Etc::SourceList=$sources" -o "Dir::Etc::SourceParts=$VM_CACHE/apt/parts" -o "Dir::State::Lists=$VM_CACHE/apt/lists"
        -o "Dir::Cache=$VM_CACHE/apt" -o APT::Sandbox::User=root)
    say "reading Debian's package lists"
    apt-get "${APT[@]}" update -qq >&2 || die "apt-get could not read the package lists of $DEBIAN_MIRROR"
}
APT=()

# codename: the Debian release whose packages fit this machine.
codename() {
    local ID='' VERSION_CODENAME=''
    # shellcheck disable=SC1091
    . /etc/os-release
    [ "$ID" = debian ] || die "this script takes QEMU and a kernel from Debian's packages, and this is ${ID:-an unknown system}: install QEMU 8.1 or later by hand"
    echo "${VERSION_CODENAME:-sid}"
}
