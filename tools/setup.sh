#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Installs from Debian, by package name, what a build, the tests and the demo need, and unpacks Debian's
# cloud kernel for the guests into .cache/ (it is never installed). Silent when all is there.
#
#     tools/setup.sh         everything
#     tools/setup.sh demo    only what `make demo` needs
set -euo pipefail
cd "$(dirname "$0")/.."

cache=.cache
log=$cache/setup.log
kernel_metapackage=linux-image-cloud-amd64

build_packages=(gcc libc6-dev meson ninja-build pkg-config python3
                libslirp-dev libjansson-dev libcmocka-dev libseccomp-dev libcap-ng-dev)
demo_packages=(qemu-system-x86 busybox-static)
test_packages=(
    g++ clang clang-format libclang-rt-dev
    user-mode-linux
    iperf3 ethtool iproute2 util-linux
    dpdk-dev
    passt
    systemd
    spin
    valgrind
    qemu-user-static gcc-s390x-linux-gnu libc6-dev-s390x-cross gcc-i686-linux-gnu libc6-dev-i386-cross
)
bench_packages=(slirp4netns gnuplot-nox)

say() { printf 'setup: %s\n' "$*"; }
fail() {
    say "$*" >&2
    exit 1
}

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

can_be_root() {
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

update_lists_once() {
    [ -z "${lists_are_fresh:-}" ] || return 0
    lists_are_fresh=yes
    # Old lists may still do, so a failure here is left to the step that needs them.
    can_be_root || return 0
    say "asking Debian for its package lists"
    as_root apt-get update -qq >>"$log" 2>&1 || true
}

install_missing() {
    local package missing=()
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    can_be_root ||
        fail "packages are missing and there is no sudo: run as root: apt-get install ${missing[*]}"

    update_lists_once
    say "installing ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=120 "${missing[@]}" >>"$log" 2>&1 ||
        fail "apt-get could not install ${missing[*]}: $(last_error) (all of it: $log)"
}

last_error() {
    grep '^E: ' "$log" | tail -n 1 || true
}

# The metapackage depends on the kernel of the day.
kernel_package() {
    apt-cache depends --important "$kernel_metapackage" 2>/dev/null |
        sed -n 's/.*Depends: \(linux-image-[0-9].*-cloud-amd64\)$/\1/p' | head -n 1
}

unpack_kernel() {
    [ ! -e $cache/kernel/vmlinuz ] || return 0

    local package scratch
    package=$(kernel_package)
    if [ -z "$package" ]; then
        update_lists_once
        package=$(kernel_package)
    fi
    [ -n "$package" ] || fail "Debian's lists know no $kernel_metapackage: check apt's sources"

    say "downloading $package and unpacking it into $cache/kernel (it is not installed)"
    scratch=$(mktemp -d "$cache/kernel.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    if ! download "$package" "$scratch"; then
        update_lists_once
        package=$(kernel_package)
        download "$package" "$scratch" ||
            fail "apt-get could not download $package: $(last_error) (all of it: $log)"
    fi
    dpkg-deb -x "$scratch"/*.deb "$scratch/tree"
    mkdir "$scratch/kernel"
    mv "$scratch"/tree/boot/vmlinuz-* "$scratch/kernel/vmlinuz"
    keep_virtio_modules "$scratch/tree" "$scratch/kernel/modules"
    rm -rf $cache/kernel
    mv "$scratch/kernel" $cache/kernel
    rm -rf "$scratch"
    trap - EXIT
}

download() {
    (cd "$2" && apt-get download "$1") >>"$log" 2>&1
}

keep_virtio_modules() {
    mkdir "$2"
    find "$1" \( -path '*/drivers/virtio/*' -o -path '*/net/core/*' -o -name 'virtio_net.ko*' \
        -o -name 'net_failover.ko*' \) -name '*.ko*' -exec cp -t "$2" {} +
}

mkdir -p $cache
: >"$log"
command -v apt-get >/dev/null || fail "there is no apt-get here: vionic's tests and demo want Debian 12"
case "${1:-all}" in
all) install_missing "${build_packages[@]}" "${demo_packages[@]}" "${test_packages[@]}" "${bench_packages[@]}" ;;
demo) install_missing "${build_packages[@]}" "${demo_packages[@]}" ;;
*) fail "unknown argument '$1': use 'tools/setup.sh' or 'tools/setup.sh demo'" ;;
esac
unpack_kernel
