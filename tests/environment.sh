#!/usr/bin/env bash
# What the environment says is not listened to by a program with more rights than its caller.
# shellcheck source=compile/lib.sh
. "$(dirname "$0")/compile/lib.sh"
cat >"$tmp/seed.c" <<'C'
#include "aio_loop.h"
struct nothing { aio_frame aio; };
aio_async(nothing) { aio_try(aio_next_turn()); } aio_end
int main(void)
{
    aio_loop l;
    struct aio_loop_options o = { .clock = AIO_CLOCK_VIRTUAL };
    if (aio_loop_init(&l, &o) < 0) return 2;
    printf("seed %llu\n", (unsigned long long)l.seed);
    aio_loop_close(&l);
    return 0;
}
C
built() { $GCC -O1 -iquote . "$tmp/seed.c" -o "$tmp/seed" -pthread; }
says() { [ "$("${@:2}")" = "$1" ]; }
setuid() {
    chmod 755 "$tmp"
    cp "$tmp/seed" "$tmp/raised" && chown 0:0 "$tmp/raised" && chmod 4755 "$tmp/raised" || return 1
    says "$1" env AIO_SEED=7 setpriv --reuid 65534 --regid 65534 --clear-groups "$tmp/raised"
}
ok "it compiles" built
ok "AIO_SEED is taken" says "seed 7" env AIO_SEED=7 "$tmp/seed"
if [ "$(id -u)" != 0 ] || ! have setpriv || findmnt -no OPTIONS -T "$tmp" 2>/dev/null | grep -q nosuid; then
    skip "but not by a set-uid program" "needs root, setpriv and a file system that has set-uid"
else
    ok "but not by a set-uid program" setuid "seed 0"
fi
finish
