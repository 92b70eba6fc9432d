#!/usr/bin/env bash
# tools/mutate on a header of a few lines, each of which says what must come out: the study's own control.
# shellcheck source=compile/lib.sh
. "$(dirname "$0")/compile/lib.sh"
python=/usr/bin/python3
index() { "$python" -c 'import clang.cindex as c; c.Index.create()'; }
if ! index 2>/dev/null; then
    skip "the mutation study notices" "no libclang for Python"
    finish
    exit
fi
mkdir -p "$tmp/study/tools" "$tmp/study/tests"
cp tools/mutate "$tmp/study/tools"
cat >"$tmp/study/aio.h" <<'C'
#pragma once
static inline void hint(const int *p) { (void)p; }
static inline int at_least(int a, int b) { return a < b ? b : a; }
static inline void raise_to(int *a, int b) { if (*a < b) *a = b; }
static inline int is_even(int n) { return !(n & 1); }
static inline int within(int n, int limit) { return n <= limit; }
static inline int sum(int n) { int s = 0; for (int i = 0; i < n; i++) s += i; return s; }
static inline int lazily(int n) { static int last; if (n == last) return n; last = n; return n; }
static inline int unused(int n) { return n > 3; }
static inline int hurried(int *n) { hint(n); _Bool done = 0; done = 1; *n += done; return *n; }
C
cat >"$tmp/study/tests/t_study.c" <<'C'
#include "aio.h"
int main(void)
{
    int n = 1, m = 4;
    raise_to(&m, 7);
    return !(at_least(1, 2) == 2 && m == 7 && is_even(4) && !is_even(5) && within(3, 4) && !within(5, 4) &&
             sum(4) == 6 && lazily(1) == 1 && lazily(1) == 1 && hurried(&n) == 2);
}
C
study() { BUILD="$tmp/study/build" "$tmp/study/tools/mutate" --tests t_study "$@"; }
says() {        # expression, options: the study says so
    local want=$1
    shift
    study "$@" >"$tmp/said" 2>&1
    cat "$tmp/said"
    grep -qE -- "$want" "$tmp/said"
}
left_out() { says 'within: compare: n <= limit' --list && ! grep -E -- "$1" "$tmp/said"; }
listed() {      # the same, with one change listed as equivalent
    printf '%s  | %s\n' "$1" "for this test" >"$tmp/study/tests/mutants.txt"
    says "${@:2}"
    local r=$?
    rm "$tmp/study/tests/mutants.txt"
    return $r
}
real() { [ "$(tools/mutate --list --count 1000 | wc -l)" = 1001 ]; }

ok "a change that matters is noticed" says '^killed 1 of 1 ' --match 'is_even: not'
ok "so is a sum that lacks its summand" says '^killed 1 of 1 ' --match 'sum: statement: s += i'
ok "a boundary that no test looks at survives" says '^SURVIVES .*within: compare: n <= limit -> n < limit' \
    --match 'within: compare'
ok "and counts" says '^killed 0 of 1 \(0.0 %\), 0 known to be equivalent, 0 not' --match 'within: compare'
ok "what no test reaches is told as such" says '^UNREACHED .*unused: compare' --match 'unused: compare'
ok "a cache that is left out survives" says '^SURVIVES .*last = n; -> \(nothing\)' --match 'lazily: statement'
ok "listed: it does not count" listed 'lazily: statement: last = n; -> (nothing)' \
    '^killed 0 of 0 .* 1 known' --match 'lazily: statement'
ok "listed, but noticed: told" listed 'sum: statement: s += i; -> (nothing)' '^LISTED BUT KILLED' \
    --match 'sum: statement'
ok "listed, but not there: told" listed 'gone: not: !a -> !!a' 'no longer there: gone' --match 'is_even: not'
ok "the larger of two has no boundary" left_out 'at_least: compare|raise_to: compare'
ok "true is not counted up, an empty call is not left out" left_out 'hurried: (constant: 1|statement: hint)'
ok "control: what is made is not left out" fails left_out 'hurried: statement: done = 1'
ok "the headers have a thousand places" real
finish
