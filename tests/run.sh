#!/usr/bin/env bash
# Runs test programs and check scripts, which print TAP. Failures are shown in full; the last line is
# "N passed, N failed, N skipped".
#   tests/run.sh [T=name] [J=jobs] [program…]      no program: all; T: those whose name contains it
# Environment: TALLY (a file: "passed failed skipped" is added to it), BUILD, TEST_TIMEOUT (seconds), WRAP ("valgrind …"), CI=1: a skip that
# tests/skips.allowed does not list fails. "TIMEOUT n" in a comment at a test's top sets its limit.
here=$(cd "$(dirname "$0")" && pwd)
self=$here/$(basename "$0")
export BUILD=${BUILD:-build}
tally=${TALLY:-/dev/null}
unset TALLY             # ours alone: a test may run this script itself

# Reads a log; prints "passed failed skipped" and, on standard error, what to tell about it.
judge() {
    awk -v program="$1" -v rc="$2" -v limit="$3" -v ci="$CI" -v allowed="${SKIPS_ALLOWED:-$here/skips.allowed}" '
    function glob(p) { gsub(/[.+()|^$\[\]]/, "\\\\&", p); gsub(/\*/, ".*", p); return "^" p "$" }
    function skipped(name, why,   i) {
        for (i = 1; i <= rules; i++)
            if (program ~ glob(who[i]) && name ~ glob(what[i])) { ci_ok = 1; break } else ci_ok = 0
        if (ci && !ci_ok) {
            print "    not allowed to be skipped in CI: " name " (" why ")" > "/dev/stderr"
            fail++
        } else {
            print "    skipped: " name " (" why ")" > "/dev/stderr"
            skip++
        }
        ci_ok = 0
    }
    function problem(text) { print "    " program " " text > "/dev/stderr"; fail++ }
    BEGIN {
        while ((getline line < allowed) > 0) {
            sub(/ *#.*/, "", line)
            if (split(line, f, " ") < 2) continue
            who[++rules] = f[1]; sub(/^[^ ]+ +/, "", line); what[rules] = line
        }
        reason = "no reason given"
    }
    /^# SKIP-REASON / { reason = substr($0, 15); next }
    /^1\.\.0 # SKIP/ { sub(/^1\.\.0 # SKIP */, ""); skipped("all", $0); seen++; plan++; next }
    /^1\.\.[0-9]+/ { n = $0; sub(/^1\.\./, "", n); plan += n + 0; planned = 1; next }
    /^(not )?ok([ \t]|$)/ {
        seen++
        name = $0
        sub(/^(not )?ok *[0-9]* *(- *)?/, "", name)
        if (match(name, /# [Ss][Kk][Ii][Pp]/)) {
            why = substr(name, RSTART + 6); name = substr(name, 1, RSTART - 1)
            gsub(/^ +| +$/, "", why); gsub(/^ +| +$/, "", name)
            if (name == "") { name = why; why = reason }    # as cmocka prints it
            skipped(name, why)
        } else if (/^ok/) pass++
        else { fail++; named++; print "    failed: " name > "/dev/stderr" }
        reason = "no reason given"
    }
    END {
        if (rc == 124 || rc == 137) problem("timed out after " limit " s")
        else if (rc > 128) problem("was killed by signal " rc - 128)
        else if (rc && !named) problem("ended with exit code " rc)
        else if (planned && seen < plan) problem("stopped after " seen " of " plan " tests")
        else if (!seen) problem("printed no result")
        print pass + 0, fail + 0, skip + 0
    }' "$4"
}

if [ "$1" = --one ]; then
    dir=$2 program=$3 name=$(basename "$3")
    source=$program
    case $name in t_*) [ -f "$here/$name.c" ] && source=$here/$name.c ;; esac
    limit=$(sed -n '1,12s/.*TIMEOUT \([0-9]*\).*/\1/p' "$source" 2>/dev/null | head -n 1)
    limit=${TEST_TIMEOUT:-${limit:-600}}
    wrap=$WRAP
    case $name in *.sh) wrap= ;; esac
    log=$dir/$name.log
    start=$(date +%s%N)
    # shellcheck disable=SC2086
    { timeout -k 5 "$limit" $wrap "$program" >"$log" 2>&1 </dev/null; } 2>/dev/null
    rc=$?
    seconds=$(awk -v n=$(($(date +%s%N) - start)) 'BEGIN { printf "%.1f", n / 1e9 }')
    counts=$(judge "$name" $rc "$limit" "$log" 2>"$dir/$name.notes")
    read -r pass fail skip <<<"$counts"
    {
        flock 9
        if [ "${fail:-1}" = 0 ]; then
            printf 'ok    %-24s %4d passed%s  %s s\n' "$name" "$pass" \
                "$([ "$skip" = 0 ] || echo ", $skip skipped")" "$seconds"
        else
            printf 'FAIL  %-24s %4d passed, %d failed  %s s\n' "$name" "$pass" "${fail:-1}" "$seconds"
            sed 's/^/    | /' "$log"
        fi
        cat "$dir/$name.notes"
    } 9>"$dir/lock"
    echo "${counts:-0 1 0}" >"$dir/$name.count"
    exit 0
fi

jobs=$(nproc 2>/dev/null || echo 2)
programs=()
for a in "$@"; do
    case $a in
    T=*) T=${a#T=} ;;
    J=*) jobs=${a#J=} ;;
    *) programs+=("$a") ;;
    esac
done
if [ ${#programs[@]} = 0 ]; then
    for a in "$here"/t_*.c; do
        a=$(basename "$a" .c)
        [ -e "$here/$a.c" ] && programs+=("$BUILD/tests/$a")
    done
    for a in "$here"/*.sh; do [ "$a" = "$self" ] || programs+=("$a"); done
fi
selected=()
for a in "${programs[@]}"; do
    case $(basename "$a") in *"$T"*) selected+=("$(realpath -m "$a")") ;; esac
done
if [ ${#selected[@]} = 0 ]; then
    echo "no test is called '$T'"
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
printf '%s\0' "${selected[@]}" | xargs -0 -n 1 -P "$jobs" "$self" --one "$dir"
cat "$dir"/*.count | awk -v programs=${#selected[@]} -v tally="$tally" '
    { p += $1; f += $2; s += $3 }
    END {
        if (NR < programs) f += programs - NR
        printf "%d %d %d\n", p, f, s >>tally
        printf "%d passed, %d failed, %d skipped\n", p, f, s
        exit f != 0
    }'
