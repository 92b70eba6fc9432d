# Shared by the check scripts: TAP output, parallel cases, which compilers there are. Sourced.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
BUILD=$(realpath -m "${BUILD:-build}")
GCC=${GCC:-gcc} GXX=${GXX:-g++} CLANG=${CLANG:-clang} CLANGXX=${CLANGXX:-clang++}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
tap_jobs=${JOBS:-$(nproc 2>/dev/null || echo 2)}
tap_n=0
have() { command -v "$1" >/dev/null 2>&1; }

# ok "name" command…: a case that passes if the command does; its output is shown when it fails.
ok() {
    local name=$1
    shift
    tap_n=$((tap_n + 1))
    tap_case "$tap_n" "$name" "$@"
}
tap_case() {
    local n=$1 name=$2
    shift 2
    if "$@" >"$tmp/out.$n" 2>&1; then echo "ok $n - $name"
    else
        { head -n 40 "$tmp/out.$n" | sed 's/^/# /'; echo "not ok $n - $name"; } >"$tmp/tap.$n"
        cat "$tmp/tap.$n"
    fi
}
# Like ok, but runs beside others; call `finish` at the end.
ok_later() {
    local name=$1
    shift
    tap_n=$((tap_n + 1))
    while [ "$(jobs -rp | wc -l)" -ge "$tap_jobs" ]; do wait -n; done
    tap_case "$tap_n" "$name" "$@" &
}
skip() {
    tap_n=$((tap_n + 1))
    echo "ok $tap_n - $1 # SKIP $2"
}
fails() { ! "$@"; }             # for controls
finish() {
    wait
    echo "1..$tap_n"
}
WARN="-Wall -Wextra -Wshadow -Wconversion -Wundef -Werror"
