#!/bin/sh
# run.sh - all benchmarks, interleaved; prints a table, writes $BUILD/bench/results.md and results.svg.
# SPDX-License-Identifier: MIT
#
#     bench/run.sh [name …]     names: switch spawn nested together timers memory nop read pingpong
#                               echo http instructions compile_time; without: all
#
# BENCH_PASSES (3) times over all programs, BENCH_ROUNDS (5) windows of BENCH_WINDOW_MS (20) each per
# pass. As root it uses real-time priority and a network namespace of its own with plain TCP. The
# figures are no test: nothing here fails because something was slow.
set -eu
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
CC=${CC:-cc}
export BUILD CC
here=$BUILD/bench
passes=${BENCH_PASSES:-3}
all="switch spawn nested together timers memory nop read pingpong echo http instructions compile_time"
names=${*:-$all}
ones=""
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for name in $names; do
    case $name in
        echo) set -- echo_client echo_aio echo_uring echo_aio_many echo_uring_many echo_epoll echo_uv ;;
        http) set -- http_client http_aio http_uring http_epoll http_uv ;;
        instructions) set -- switch spawn nested nop together ;;
        compile_time) set -- ;;
        *) set -- "$name" ;;
    esac
    for program in "$@"; do ones="$ones $here/$program"; done
done
# shellcheck disable=SC2086
make --no-print-directory $ones "$here/summary" > "$work/make" || { cat "$work/make"; exit 1; }

# A namespace without the machine's firewall and congestion control.
network=""
if [ "$(id -u)" = 0 ] && unshare -n true 2> /dev/null && command -v ip > /dev/null; then
    cat > "$work/network" << 'SCRIPT'
ip link set lo up
echo reno > /proc/sys/net/ipv4/tcp_congestion_control || true
exec "$@"
SCRIPT
    network="unshare -n sh $work/network"
fi
one() {
    case $1 in
        echo) BENCH_WINDOW_MS=${BENCH_ECHO_MS:-300} $network "$here/echo_client" "$here" ;;
        http) $network "$here/http_client" "$here" ;;
        pingpong) BENCH_WINDOW_MS=${BENCH_PINGPONG_MS:-60} $network "$here/pingpong" ;;
        memory) if [ "$2" = 1 ]; then BENCH_ROUNDS=3 "$here/memory"; fi ;;
        timers) BENCH_ROUNDS=3 "$here/timers" ;;
        read) BENCH_DIR=$here "$here/read" ;;
        instructions) if [ "$2" = 1 ]; then bench/instructions.sh; fi ;;
        compile_time) if [ "$2" = 1 ]; then bench/compile_time.sh; fi ;;
        *) "$here/$1" ;;
    esac
}
for pass in $(seq "$passes"); do
    for name in $names; do
        echo "pass $pass of $passes: $name" >&2
        one "$name" "$pass" >> "$work/lines"
    done
done
{
    echo "# Measured"
    echo
    echo "- date: $(date -u +%Y-%m-%d)"
    echo "- processor: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores"
    echo "- kernel: $(uname -sr)"
    echo "- compiler: $($CC --version | head -n 1)"
    echo "- flags: ${CFLAGS:--O2 -g}"
    echo "- network: $([ -n "$network" ] && echo "own namespace, reno" || echo "as it is")"
    echo "- core time lost to other work: $("$here/summary" --lost)"
} > "$work/results.md"
"$here/summary" "$work/results.md" "$work/results.svg" < "$work/lines"
mkdir -p "$here"
cp "$work/results.md" "$work/results.svg" "$here/"
echo
echo "also in $here/results.md and $here/results.svg"
