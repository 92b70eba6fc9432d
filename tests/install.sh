#!/usr/bin/env bash
# TIMEOUT 1500
# make install, pkg-config, make uninstall; and installed headers protect as well as others do: gcc
# hides warnings in system headers.
# shellcheck source=compile/lib.sh
. "$(dirname "$0")/compile/lib.sh"
prefix=$tmp/prefix
quiet_make() { env -u MAKEFLAGS -u MAKELEVEL make -s --no-print-directory "$@"; }
check_files() {
    local h
    for h in aio.h aio_loop.h; do [ -f "$1/include/aio/$h" ] || { echo "$h is missing"; return 1; }; done
    grep -q '^Version: [0-9]*\.[0-9]*\.[0-9]*$' "$1/share/pkgconfig/aio.pc" || { cat "$1/share/pkgconfig/aio.pc"; return 1; }
}
sources() {     # the must-fail cases as a user of installed headers writes them
    local f
    for f in local local_in_loop local_in_block dropped_awaitable dropped_call dropped_spawn; do
        sed 's|#include "\(aio[a-z_]*\.h\)"|#include <aio/\1>|' "tests/fail/$f.c" >"$tmp/$f.c"
    done
}
refused() {     # compiler and options; file
    fails "$@" -isystem "$prefix/include" -O2 -c -o /dev/null -Werror=unused-result || return 1
    "$@" -isystem "$prefix/include" -O2 -c -o /dev/null $WARN -Wpedantic -DTWIN
}
ok "make install" quiet_make install PREFIX="$prefix"
ok "headers and aio.pc are there" check_files "$prefix"
ok "make install with DESTDIR" quiet_make install PREFIX=/usr DESTDIR="$tmp/dest"
ok "and they are there" check_files "$tmp/dest/usr"
if have pkg-config; then
    ok "pkg-config knows it" env PKG_CONFIG_PATH="$prefix/share/pkgconfig" pkg-config --exists 'aio >= 0.1'
else
    skip "pkg-config knows it" "no pkg-config here"
fi
sources
for f in local local_in_loop local_in_block dropped_awaitable dropped_call dropped_spawn; do
    for c in "$GCC" "$CLANG" "$GXX -std=c++17 -xc++" "$CLANGXX -std=c++17 -xc++"; do
        # shellcheck disable=SC2086
        if have "${c%% *}"; then ok_later "installed, $f.c: ${c%% *} refuses it" refused $c "$tmp/$f.c"
        else skip "installed, $f.c" "no ${c%% *} here"
        fi
    done
done
wait
ok "make uninstall" quiet_make uninstall PREFIX="$prefix"
nothing_left() { ! find "$prefix" -type f | grep . && [ ! -d "$prefix/include/aio" ]; }
ok "nothing is left" nothing_left
ok "control: missing files are noticed" fails check_files "$prefix"
finish
