#!/usr/bin/env bash
# TIMEOUT 1500
# Nothing is exported: neither a program linked with -rdynamic nor a shared library shows a global name
# of ours, and POSIX's <aio.h> can be included before and after the headers.
# shellcheck source=compile/lib.sh
. "$(dirname "$0")/compile/lib.sh"
ours() { nm "$@" | grep -E ' [A-TV-Zu] (aio_|aio__|lio_)'; }       # global, defined; u: unique
no_symbols() {  # what to build, compiler and options
    local out=$tmp/$1.$RANDOM.$BASHPID
    shift
    "$@" -iquote . -iquote tests/compile -pthread -o "$out" -luring -lpthread || return 1
    if nm "$out" | grep -qE ' [TWtwbB] '; then :; else echo "nm shows nothing"; return 1; fi
    { ours "$out" || ours -D "$out"; } && return 1
    return 0
}
main='int main(void) { return 0; }'
echo "$main" >"$tmp/main.c"
files="tests/compile/aio.c tests/compile/loop.c tests/compile/together.c"
[ -f aio_io_uring.h ] && files="$files tests/compile/uring.c"
for c in "$GCC" "$CLANG" "$GXX -std=c++17 -xc++" "$CLANGXX -std=c++17 -xc++"; do
    have "${c%% *}" || { skip "symbols: ${c%% *}" "no ${c%% *} here"; continue; }
    for o in -O0 -O2; do
        # shellcheck disable=SC2086
        {
            ok_later "a program with -rdynamic: ${c%% *} $o" no_symbols program $c $o -rdynamic $files "$tmp/main.c"
            ok_later "a shared library: ${c%% *} $o" no_symbols library $c $o -fPIC -shared $files
        }
    done
done
echo "int aio__leaks(void); int aio__leaks(void) { return 0; } $main" >"$tmp/leak.c"
ok_later "control: an exported name is noticed" fails no_symbols leak "$GCC" -rdynamic "$tmp/leak.c"

# What a file does not use costs it nothing, not even with -O0: no function is left of a bare include
# (but for the guard of aio_call_new, whose table is the headers' only one at file scope).
bare() {        # text, compiler and options
    local o=$tmp/bare.$RANDOM.$BASHPID c
    c=$o.c
    printf '%s\n' "$1" >"$c"
    shift
    "$@" -O0 -iquote . -c -o "$o" "$c" || return 1
    left=$(nm "$o" | grep -E ' [tT] ' | grep -vE 'aio__guard_|aio__chunk_free|aio__free_loose|aio__class_bytes')
    [ -z "$left" ] || { echo "$left" | head -n 5; return 1; }
}
for c in "$GCC" "$GXX -xc++ -std=c++17"; do
    have "${c%% *}" || continue
    # shellcheck disable=SC2086
    ok_later "a bare include leaves no function: ${c%% *} -O0" bare '#include "aio_io_uring.h"' $c
done
own='#include "aio.h"
struct own { aio_frame aio; };
aio_async(own) { aio_await(aio_next_turn()); return 0; } aio_end'
ok_later "control: an unused coroutine at file scope is noticed" fails bare "$own" "$GCC" -Wno-unused

# POSIX's header, in both orders; and its functions stay libc's.
posix_use='static int posix(void) { struct aiocb cb; memset(&cb, 0, sizeof cb); cb.aio_fildes = -1;
cb.aio_nbytes = 1; return aio_read(&cb) == 0 && aio_error(&cb) == EINPROGRESS && aio_return(&cb) == AIO_ALLDONE; }
int main(void) { return use_both() < 0 || posix() == 2; }'
both() {        # order, header, compiler and options
    local c=$tmp/both.$RANDOM.$BASHPID.c use=$2 h
    h=aio.h
    [ "$use" = loop ] && h=aio_loop.h
    [ "$use" = uring ] && h=aio_io_uring.h
    {
        if [ "$1" = before ]; then printf '#include <aio.h>\n#include "%s"\n' $h
        else printf '#include "%s"\n#include <aio.h>\n' $h
        fi
        printf '#include <errno.h>\n#include <string.h>\n#include "tests/compile/%s.c"\n' "$use"
        printf 'static const void *use_both_(void) { return (const void *)use_%s; }\n' "$use"
        printf 'static int use_both(void) { return use_both_() ? 0 : -1; }\n%s\n' "$posix_use"
    } >"$c"
    shift 2
    # shellcheck disable=SC2086
    "$@" $WARN -Wno-unused-function -iquote . -iquote tests/compile -pthread -o "$c.out" "$c" -luring -lpthread &&
        timeout 20 "$c.out"
}
for order in before after; do
    for use in aio loop uring; do
        [ $use = uring ] && [ ! -f aio_io_uring.h ] && continue
        ok_later "<aio.h> $order $use: gcc gnu11" both $order $use "$GCC" -std=gnu11 -D_GNU_SOURCE
        have "$CLANG" && ok_later "<aio.h> $order $use: clang" both $order $use "$CLANG" -D_GNU_SOURCE
        have "$GXX" && ok_later "<aio.h> $order $use: g++" both $order $use "$GXX" -std=c++17 -xc++
    done
    ok_later "<aio.h> $order aio.h: -std=c11" both $order aio "$GCC" -std=c11 -D_POSIX_C_SOURCE=200809L
done
printf '#define aio_read(x) 0\n' >"$tmp/aio_clash.h"
ok_later "control: a clash is noticed" fails both after aio "$GCC" -include "$tmp/aio_clash.h" -D_GNU_SOURCE
finish
