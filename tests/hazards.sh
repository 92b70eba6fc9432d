#!/usr/bin/env bash
# Every hazard of tests/hazards.txt must be named by a test that runs: a cmocka test `hazard_9_…` of
# tests/t_*.c, or a line "hazard N: …" of a script. Lists those that are not.
cd "$(dirname "$0")/.." || exit 1
# The numbers in the names of the tests of a folder.
named() {
    {
        grep -ohE '^ +cmocka_unit_test[a-z_]*\(hazard_[0-9]+_' "$1"/t_*.c | grep -oE '[0-9]+'
        grep -ohE '"hazard [0-9]+: ' "$1"/*.sh "$1"/*.py 2>/dev/null | grep -oE '[0-9]+'
    } | sort -nu
}
# Reads a list; says what is missing in it, given the numbers that tests name.
judge() {
    awk -v named="$2" '
        BEGIN { n = split(named, list, "\n"); for (i = 1; i <= n; i++) has[list[i]] = 1 }
        /^(#|$)/ { next }
        $1 != ++hazards { print "# out of order: " $1; bad++ }
        { known[$1] = 1 }
        has[$1] { tested++; if (/\[/) print "# has a test by now: " $1; next }
        /^[0-9]+ +\[n\/a: .+\] ./ { not_ours++; next }
        /^[0-9]+ +\[not built yet: .+\] ./ { later = later " " $1; laters++; next }
        { missing = missing " " $1; bad++ }
        END {
            for (i = 1; i <= n; i++) if (!(list[i] in known)) { print "# not in the list: " list[i]; bad++ }
            printf "# %d hazards: %d named by tests, %d cannot be provoked, %d not built yet:%s\n",
                hazards, tested, not_ours, laters, later
            if (missing) print "# no test names:" missing
            exit bad != 0
        }' "$1"
}
numbers=$(named tests)
judge tests/hazards.txt "$numbers" || printf 'not '
echo "ok 1 - every hazard has a test, or a reason why not"

# The control: a hazard without a test, one whose reason is empty, a test of none that there is.
control() {
    local list
    list=$(mktemp)
    { cat tests/hazards.txt; echo "$1"; } >"$list"
    judge "$list" "$numbers$2" >"$list.out" && { rm -f "$list" "$list.out"; return 1; }
    grep -q "$3" "$list.out"
    local found=$?
    rm -f "$list" "$list.out"
    return $found
}
next=$(($(grep -cE '^[0-9]' tests/hazards.txt) + 1))
control "$next  Something new" "" "no test names:.* $next" &&
    control "$next  [n/a: ] Something new" "" "no test names:.* $next" &&
    control "$next  Something new" $'\n'"$next"$'\n'999 "not in the list: 999" || printf 'not '
echo "ok 2 - control: what is missing is noticed"
echo "1..2"
