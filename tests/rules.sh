#!/usr/bin/env bash
# Every rule of tests/rules.txt must be named by a test: a function of tests/t_*.c (`TG_9_…`) or a
# directed program of the differential test (`TG-9-….txt`). Lists those that are not.
cd "$(dirname "$0")/.." || exit 1
named=$(
    {
        sed -nE 's/^(static )?void ([A-Za-z0-9_]+)\(void \*\*.*/\2/p' tests/t_*.c |
            grep -oE '(^|_)[A-Z]{1,2}_[0-9]+' | sed 's/^_//; s/_/-/'
        ls tests/differential/corpus/directed tests/differential/directed 2>/dev/null |
            grep -oE '^[A-Z]{1,2}-[0-9]+' | grep -v '^X-'
    } | sort -u
)
awk -v named="$named" '
    BEGIN { n = split(named, list, "\n"); for (i = 1; i <= n; i++) has[list[i]] = 1 }
    /^(#|$)/ { next }
    { rules++; known[$1] = 1; split($1, part, "-"); family[part[1]] = 1 }
    has[$1] { tested++; next }
    /^[^ ]+ +\[n\/a: ./ { not_ours++; next }
    /^[^ ]+ +\[not built yet\]/ { later = later " " $1; laters++; next }
    { missing = missing " " $1; missed++ }
    END {
        for (i = 1; i <= n; i++) {      # other letters number other things
            split(list[i], part, "-")
            if (!(list[i] in known) && part[1] in family) unknown = unknown " " list[i]
        }
        printf "# %d rules: %d named by tests, %d do not apply, %d not built yet:%s\n",
            rules, tested, not_ours, laters, later
        if (missed) { print "# no test names:" missing; printf "not " }
        print "ok 1 - every rule is named by a test"
        if (unknown) { print "# not in tests/rules.txt:" unknown; printf "not " }
        print "ok 2 - tests name only rules that there are"
        print "1..2"
    }' tests/rules.txt
