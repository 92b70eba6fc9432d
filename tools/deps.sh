#!/usr/bin/env bash
# Installs the packages that are missing; silent when none is.
#   tools/deps.sh demo      what the examples and the demo need
#   tools/deps.sh check     what the tests need as well
#   tools/deps.sh bench     what the benchmarks need: the peers
#   tools/deps.sh lint      what the analysis of lost locals sees more with: clang
#   tools/deps.sh kernels   what make check-kernels needs: other kernels
#   tools/deps.sh mutate    what tools/mutate needs: the same
what=${1:-demo}
cc=${CC:-cc}
command -v "$cc" >/dev/null 2>&1 || cc=gcc
tool() { command -v "$1" >/dev/null 2>&1; }
header() { echo "#include <$1>" | "$cc" -E -x c - >/dev/null 2>&1; }
library() { [ -e "$("$1" -print-file-name="$2" 2>/dev/null)" ]; }
clang_runtime() {
    local dir
    dir=$(clang -print-runtime-dir 2>/dev/null)
    ls "$dir"/libclang_rt.asan* "$(clang -print-resource-dir 2>/dev/null)"/lib/*/libclang_rt.asan* \
        2>/dev/null | grep -q .
}

need() { missing="$missing $1"; }       # what is missing, by our own name
look() {
    missing=""
    tool "$cc" && header stdio.h || need cc
    header liburing.h || need liburing
    for t in curl python3 nc; do tool $t || need $t; done
    if [ "$what" = bench ]; then
        header uv.h || need libuv
        header http_parser.h || need http-parser
        tool wrk || need wrk
        tool ip || need iproute
        tool valgrind || need valgrind
    fi
    if [ "$what" = lint ]; then
        tool clang || need clang
    fi
    if [ "$what" = kernels ]; then
        tool linux.uml || need user-mode-linux
        tool ip || need iproute
    fi
    if [ "$what" = check ] || [ "$what" = mutate ]; then
        /usr/bin/python3 -c 'import clang.cindex' 2>/dev/null || need python3-clang
    fi
    if [ "$what" = check ] || [ "$what" = mutate ]; then
        tool g++ || need cxx
        tool clang && tool clang++ || need clang
        tool clang && ! clang_runtime && need clang-rt
        tool arm-none-eabi-gcc || need arm-gcc
        tool valgrind || need valgrind
        tool pkg-config || need pkg-config
        tool xz || need xz
        { echo '#include <stdarg.h>'; echo '#include <stddef.h>'; echo '#include <stdint.h>'
          echo '#include <setjmp.h>'; echo '#include <cmocka.h>'; } |
            "$cc" -E -x c - >/dev/null 2>&1 || need cmocka
        header hiredis/async.h || need hiredis
        header http_parser.h || need http-parser
        header openssl/evp.h || need libcrypto
        tool redis-server || need redis
        tool socat || need socat
        tool wrk || need wrk
    fi
}
look
[ -z "$missing" ] && exit 0

if tool apt-get; then manager=apt
elif tool dnf; then manager=dnf
elif tool pacman; then manager=pacman
elif tool apk; then manager=apk
else
    echo "aio: missing:$missing. No apt-get, dnf, pacman or apk here: please install these by hand." >&2
    exit 1
fi
package() {     # our name -> this distribution's
    case $manager:$1 in
    apt:cc) echo gcc libc6-dev ;;           dnf:cc) echo gcc glibc-devel ;;
    pacman:cc) echo gcc ;;                  apk:cc) echo build-base linux-headers ;;
    apt:cxx) echo g++ ;;                    dnf:cxx) echo gcc-c++ ;;
    pacman:cxx) echo gcc ;;                 apk:cxx) echo g++ ;;
    apt:liburing) echo liburing-dev ;;      dnf:liburing) echo liburing-devel ;;
    pacman:liburing) echo liburing ;;       apk:liburing) echo liburing-dev linux-headers ;;
    apt:cmocka) echo libcmocka-dev ;;       dnf:cmocka) echo libcmocka-devel ;;
    pacman:cmocka) echo cmocka ;;           apk:cmocka) echo cmocka-dev ;;
    apt:hiredis) echo libhiredis-dev ;;     dnf:hiredis) echo hiredis-devel ;;
    apk:hiredis) echo hiredis-dev ;;
    apt:libcrypto) echo libssl-dev ;;       pacman:libcrypto) echo openssl ;;
    dnf:libcrypto) echo openssl-devel ;;     apk:libcrypto) echo openssl-dev ;;
    apt:redis) echo redis-server redis-tools ;;
    dnf:pkg-config) echo pkgconf-pkg-config ;;
    pacman:pkg-config | apk:pkg-config) echo pkgconf ;;
    apt:nc) echo netcat-openbsd ;;          dnf:nc) echo nmap-ncat ;;
    pacman:nc) echo openbsd-netcat ;;       apk:nc) echo netcat-openbsd ;;
    apt:arm-gcc | apk:arm-gcc) echo gcc-arm-none-eabi ;;
    dnf:arm-gcc) echo arm-none-eabi-gcc-cs ;;
    pacman:arm-gcc) echo arm-none-eabi-gcc ;;
    apt:clang-rt) apt_clang_runtime ;;      *:clang-rt) echo compiler-rt ;;
    apt:xz) echo xz-utils ;;
    apk:python3-clang) echo py3-clang ;;    pacman:python3-clang) echo clang ;;
    apt:libuv) echo libuv1-dev ;;           dnf:libuv) echo libuv-devel ;;
    apk:libuv) echo libuv-dev ;;
    apt:http-parser) echo libhttp-parser-dev ;;
    dnf:http-parser) echo http-parser-devel ;;
    apk:http-parser) echo http-parser-dev ;;
    apt:iproute) echo iproute2 ;;           *:iproute) echo iproute2 ;;
    pacman:python3) echo python ;;          *) echo "$1" ;;
    esac
}
apt_clang_runtime() {   # of the clang that is installed
    local n
    n=$(clang -dumpversion 2>/dev/null)
    n=${n%%.*}
    apt-cache show "libclang-rt-$n-dev" >/dev/null 2>&1 && echo "libclang-rt-$n-dev" || echo libclang-rt-dev
}

root=""
if [ "$(id -u)" != 0 ]; then
    if tool sudo; then root=sudo
    else
        echo "aio: missing:$missing. Neither root nor sudo: please have them installed." >&2
        exit 1
    fi
fi
names() {
    local n
    for n in $missing; do package "$n"; done | tr '\n' ' '
}
if [ "$manager" = apt ] && ! ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1; then
    echo "aio: reading the list of packages"
    $root apt-get update -qq || exit 1
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() { # quiet, unless it fails
    "$@" >"$log" 2>&1 </dev/null
}
install_missing() {
    local list install
    list=$(names)
    echo "aio: installing $list"
    # shellcheck disable=SC2086
    case $manager in
    apt)
        install="$root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends"
        run $install $list || { run $root apt-get update && run $install $list; }
        ;;
    dnf) run $root dnf install -y $list ;;
    pacman) run $root pacman -S --noconfirm --needed $list || run $root pacman -Sy --noconfirm --needed $list ;;
    apk) run $root apk add $list ;;
    esac || {
        cat "$log" >&2
        echo "aio: could not install:$missing" >&2
        exit 1
    }
}
install_missing
first=$missing
look        # what only shows now: clang's own libraries
[ -z "$missing" ] || [ "$missing" = "$first" ] || install_missing
