#!/usr/bin/env bash
# Differential test against CPython's asyncio: the interpreter in tests/differential/ runs a corpus of
# programs, and its traces must equal those that CPython 3.13 gave, line by line (but for the turn
# numbers, whose differences are counted). See tests/differential/FORMAT.md.
# TIMEOUT 1500
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
corpus=tests/differential/corpus
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
n=0
if ! make --no-print-directory differential BUILD="$BUILD" >"$dir/log" 2>&1; then
    head -n 40 "$dir/log" | sed 's/^/# /'
    echo "not ok 1 - the interpreter is built"
    echo "1..1"
    exit 1
fi
# Compares the records of two files. Prints "number same3 same2 line expected | actual" for each.
compare() {
    awk '
    function at2(line) { sub(/ @[0-9]+$/, "", line); return line }
    FILENAME != last { file++; last = FILENAME; record = 0; lines = 0; ends = 0; blank = 1 }
    $0 == "---" { if (!blank) { count[file] = ++record; size[file, record] = lines }
                  lines = 0; ends = 0; blank = 1; next }
    { blank = 0 }
    file == 1 && $0 == "===" { ends = 1; next }
    file == 2 || ends { text[file, record + 1, ++lines] = $0 }
    END {
        if (count[1] != count[2]) { print "0 no no 0 " count[1] " traces | " count[2] + 0; exit }
        for (r = 1; r <= count[1]; r++) {
            same3 = same2 = "yes"; where = 0
            top = size[1, r] > size[2, r] ? size[1, r] : size[2, r]
            for (i = 1; i <= top && same2 == "yes"; i++) {
                if (text[1, r, i] == text[2, r, i]) continue
                same3 = "no"
                if (at2(text[1, r, i]) != at2(text[2, r, i])) { same2 = "no"; where = i }
            }
            print r, same3, same2, where, text[1, r, where] " | " text[2, r, where]
        }
    }' "$1" "$2"
}
# Runs one corpus file and leaves the comparison in $dir/result.
run() {
    "$BUILD/differential" --batch <"$1" >"$dir/actual" 2>"$dir/error"
    local rc=$?
    sed 's/^/# /' "$dir/error" | head -n 20
    n=$((n + 1))
    if [ $rc = 0 ] && [ ! -s "$dir/error" ]; then echo "ok $n - the interpreter ends well: $2"
    else echo "not ok $n - the interpreter ends well: $2 (exit $rc)"; fi
    compare "$1" "$dir/actual" >"$dir/result"
}
turns() {
    awk -v what="$1" '{ n++; same += $2 == "yes" } END {
        printf "# %s: %d of %d traces are equal with turn numbers too (%.1f %%)\n", what, same, n, 100 * same / n }' \
        "$dir/result"
}

names=()
for program in "$corpus"/directed/*.txt tests/differential/directed/*.txt; do
    [ -f "$program" ] || continue
    names+=("$(basename "$program" .txt)")
    { cat "$program"; echo "==="; cat "${program%.txt}.trace"; echo "---"; } >>"$dir/directed"
done
run "$dir/directed" "directed programs"
if [ "$(wc -l <"$dir/result")" != ${#names[@]} ]; then
    n=$((n + 1))
    echo "not ok $n - a trace for each directed program: $(head -n 1 "$dir/result")"
else
    while read -r record _ same line rest; do
        n=$((n + 1))
        [ "$same" = yes ] || echo "# line $line: $rest"
        [ "$same" = yes ] && echo "ok $n - ${names[record - 1]}" || echo "not ok $n - ${names[record - 1]}"
    done <"$dir/result"
    turns "directed programs"
fi

# Compares a file of random programs; how many there must be, and what they are.
run_random() {
    run "$1" "$3"
    n=$((n + 1))
    if [ "$(wc -l <"$dir/result")" -ge "$2" ] && ! awk '$3 != "yes"' "$dir/result" | grep -q .; then
        echo "ok $n - $(wc -l <"$dir/result") $3"
    else
        awk '$3 != "yes" { print "# program " $0 }' "$dir/result" | head -n 20
        echo "not ok $n - $3: $(awk '$3 != "yes"' "$dir/result" | wc -l) differ"
    fi
    turns "$3"
}
for name in random extended; do
    xz -dc "$corpus/$name.xz" >"$dir/random" || exit 1
    run_random "$dir/random" "$(grep -c '^===$' "$dir/random")" "$name programs"
done

# A missing report, a wrong error in the middle of a group and a lost program are noticed.
control() {
    sed "$1" "$dir/random" >"$dir/wrong"
    compare "$dir/wrong" "$dir/actual" >"$dir/result"
    n=$((n + 1))
    if awk '$3 != "yes"' "$dir/result" | grep -q .; then echo "ok $n - the comparison notices $2"
    else echo "not ok $n - the comparison notices $2"; fi
}
control '0,/^unseen t/{/^unseen t/d}' "a report that is missing"
control '0,/ report ERR/{/ report ERR/d}' "a failing callback that is not told"
control '0,/ errors .*,t/s/\( errors .*,t[0-9]*:\)[A-Z]*/\1EWRONG/' "a wrong second error of a group"
control '0,/^task /s/^\(task .*\) \([0-9]*\)$/\1 7\2/' "a wrong count of cancels"

# DIFFERENTIAL=N: so many new programs of each generator, against the CPython 3.13 that PYTHON names.
if [ -n "$DIFFERENTIAL" ]; then
    seed=$(($(date +%s) * 1000))
    for generator in generate generate_dense; do
        python3 "tests/differential/$generator.py" $seed "$DIFFERENTIAL" >"$dir/new" &&
            "${PYTHON:-python3.13}" tests/differential/oracle.py --corpus "$dir/new" >"$dir/random" || exit 1
        run_random "$dir/random" $((DIFFERENTIAL * 9 / 10)) "programs of $generator.py $seed"
    done
fi
echo "1..$n"
