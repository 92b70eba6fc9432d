#!/usr/bin/env bash
# TIMEOUT 1500
# aio.h alone, without an operating system: for a bare Cortex-M, for 32-bit machines, and a program
# without libc that runs here.
# shellcheck source=compile/lib.sh
. "$(dirname "$0")/compile/lib.sh"
demo=tests/freestanding/demo.c waits=tests/freestanding/waits.c
undefined() {   # object: undefined symbols that a bare machine need not have
    nm -u "$1" | awk '{ print $NF }' | grep -vxE 'memcpy|memset|memmove'
}
compiles() {    # compiler and options: an object that needs memcpy and memset only
    local o=$tmp/bare.$BASHPID.o
    # shellcheck disable=SC2086
    "$@" -ffreestanding $WARN -iquote . -c -o "$o" $demo || return 1
    fails undefined "$o"
}
arm() {         # options: the same for a Cortex-M; says how big it is
    local o=$tmp/arm.$BASHPID.o extra
    # shellcheck disable=SC2086
    arm-none-eabi-gcc -mthumb "$@" -ffreestanding -Os $WARN -iquote . -c -o "$o" $demo || return 1
    # What the compiler's own run-time library has for this processor (64-bit arithmetic).
    extra=$(arm-none-eabi-nm -u "$o" | awk '{ print $NF }' | grep -vxE 'memcpy|memset|memmove|__(aeabi|gnu)_[a-z0-9]*|__[a-z]*[sd]i2')
    [ -z "$extra" ] || { echo "undefined: $extra"; return 1; }
    arm-none-eabi-size "$o" >"$tmp/size"
}
runs() {        # compiler and options
    local p=$tmp/runs.$BASHPID
    # shellcheck disable=SC2086
    "$@" -DHOST -ffreestanding -fno-stack-protector -fno-pie -static -nostdlib -nostartfiles \
        $WARN -iquote . -o "$p" $demo || return 1
    [ "$(timeout 10 "$p")" = "freestanding: ok" ]
}
with() { local demo=$1; shift; "$@"; }
if have arm-none-eabi-gcc; then
    for cpu in cortex-m0 cortex-m3 cortex-m4; do
        ok "$cpu" arm -mcpu=$cpu
        [ -f "$tmp/size" ] && echo "# $cpu -Os: $(awk 'NR == 2 { print $1 " bytes of text, " $2 " of data, " $3 " of bss (8192 and the executor are the demo'"'"'s)" }' "$tmp/size")"
    done
    ok "cortex-m3 as strict ISO C" arm -mcpu=cortex-m3 -std=c11 -DAIO_STRICT
else
    skip "Cortex-M" "no arm-none-eabi-gcc here"
fi
case $(uname -m) in
x86_64 | aarch64)
    for c in "$GCC" "$CLANG"; do
        have "$c" || { skip "$c" "no $c here"; continue; }
        for o in -O0 -Os -O2; do
            ok "$c $o needs memcpy and memset only" compiles "$c" $o
            ok "$c $o runs without libc" runs "$c" $o
            ok "$c $o waits without libc" with $waits runs "$c" $o
        done
        ok "$c, strict ISO C, runs without libc" runs "$c" -O1 -std=c11 -DAIO_STRICT
    done ;;
*) skip "a program without libc" "its system calls are not known for $(uname -m)" ;;
esac
# With the compiler's own headers only: the numbers of errno are aio.h's.
own=$($GCC -print-file-name=include)
ok "no libc headers at all" compiles "$GCC" -O2 -nostdinc -isystem "$own"
m32() { "$GCC" -m32 -fno-pie -ffreestanding -nostdinc -isystem "$own" "$@"; }
m32_runs() { runs m32 -O2; }
if [ "$(uname -m)" != x86_64 ] || ! echo 'int x;' | m32 -xc -c -o /dev/null - 2>/dev/null; then
    skip "32-bit x86" "this compiler has no -m32"
else
    ok "32-bit x86 needs memcpy and memset only" compiles m32 -O1
    printf '.globl _start\n_start: movl $1, %%eax\n xor %%ebx, %%ebx\n int $0x80\n' >"$tmp/exit.s"
    if "$GCC" -m32 -static -nostdlib -o "$tmp/exit" "$tmp/exit.s" 2>/dev/null && "$tmp/exit" 2>/dev/null; then
        ok "32-bit x86 runs without libc" m32_runs
        ok "32-bit x86 waits without libc" with $waits m32_runs
    else
        skip "32-bit x86 runs without libc" "this kernel or linker has no 32-bit programs"
    fi
fi
# Controls: a libc function that is needed is noticed, and so is a wrong result.
sed 's/return r == 5510/extern int puts(const char *); puts("x"); return r == 5510/' $demo >"$tmp/puts.c"
sed 's/return r == 5510/return r == 5511/' $demo >"$tmp/wrong.c"
ok "control: a libc function is noticed" fails with "$tmp/puts.c" compiles "$GCC" -O1
ok "control: a wrong result is noticed" fails with "$tmp/wrong.c" runs "$GCC" -O1
ok "control: and the right one is right" with $demo runs "$GCC" -O1
finish
