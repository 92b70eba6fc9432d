#!/usr/bin/env bash
# TIMEOUT 1500
# Runs every example and compares what it prints with examples/NAME.expect, or lets the executable
# examples/NAME.check (which gets the program's path) judge it.
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
n=0
result() { n=$((n + 1)); echo "$1 $n - $2"; }
one() {     # program, example
    local program=$1 base=examples/$2 out rc label
    label=$(basename "$program")
    if [ ! -x "$program" ] && grep -q '^// LIBS:' "$base.c"; then
        result ok "$label # SKIP $(sed -n 's|^// LIBS: *||p' "$base.c") is missing"
    elif [ ! -x "$program" ]; then
        echo "# $program is not built"
        result "not ok" "$label"
    elif [ -x "$base.check" ]; then
        out=$(timeout 60 "$base.check" "$program" 2>&1 </dev/null)
        rc=$?
        if [ $rc = 0 ]; then result ok "$label"
        elif [ $rc = 77 ]; then result ok "$label # SKIP $(echo "$out" | tail -n 1)"
        else
            echo "$out" | sed 's/^/# /'
            result "not ok" "$label ($base.check ended with $rc)"
        fi
    elif [ -f "$base.expect" ]; then
        out=$(timeout 60 "$program" 2>"$errors" </dev/null; echo "exit $?")
        if [ "$out" = "$(cat "$base.expect"; echo "exit 0")" ] ||
            [ "$out" = "$(cat "$base.expect")" ]; then
            result ok "$label"
        else
            diff <(cat "$base.expect"; echo "exit 0") <(echo "$out") | sed 's/^/# /'
            sed 's/^/# stderr: /' "$errors"
            result "not ok" "$label"
        fi
    else
        result "not ok" "$label: neither $base.expect nor an executable $base.check"
    fi
}
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
for c in examples/*.c; do
    [ -e "$c" ] || continue
    name=$(basename "$c" .c)
    one "$BUILD/examples/$name" "$name"
    [ -x "$BUILD/examples/$name-cxx" ] && one "$BUILD/examples/$name-cxx" "$name"
done
# The negative control: a wrong output is a failure.
control() {
    local name
    name=$(basename "$(ls examples/*.expect 2>/dev/null | head -n 1)" .expect)
    [ -n "$name" ] && [ -x "$BUILD/examples/$name" ] || return 0
    printf '#!/bin/sh\necho this is not the output\n' >"$errors.sh"
    chmod +x "$errors.sh"
    (n=0; one "$errors.sh" "$name") | grep -q '^not ok'
    local rc=$?
    rm -f "$errors.sh"
    return $rc
}
control && result ok "control: a wrong output is noticed" || result "not ok" "control: a wrong output is noticed"
echo "1..$n"
