#!/usr/bin/env bash
# The negative control of tests/run.sh: each way in which a test can fail must be reported.
cd "$(dirname "$0")/.." || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
n=0
check() {   # name, expected last line, expected exit (0 or 1), program's text [environment…]
    local name=$1 last=$2 rc=$3 text=$4 out got
    shift 4
    printf '#!/bin/bash\n%s\n' "$text" >"$dir/fake.sh"
    chmod +x "$dir/fake.sh"
    out=$(env -u CI -u T -u WRAP SKIPS_ALLOWED="$dir/allowed" "$@" tests/run.sh "$dir/fake.sh" 2>&1)
    got=$?
    n=$((n + 1))
    if [ "$(echo "$out" | tail -n 1)" = "$last" ] && [ $((got != 0)) = "$rc" ]; then
        echo "ok $n - $name"
    else
        echo "$out" | sed 's/^/# /'
        echo "not ok $n - $name (exit $got)"
    fi
}
echo 'fake.sh allowed*   # the control' >"$dir/allowed"
check "a pass" "1 passed, 0 failed, 0 skipped" 0 'echo 1..1; echo "ok 1 - a"'
check "a failure" "1 passed, 1 failed, 0 skipped" 1 'echo 1..2; echo "ok 1 - a"; echo "not ok 2 - b"; exit 1'
check "a failure that exits with 0" "0 passed, 1 failed, 0 skipped" 1 'echo 1..1; echo "not ok 1 - b"'
check "a crash" "1 passed, 1 failed, 0 skipped" 1 'echo 1..2; echo "ok 1 - a"; kill -SEGV $$'
check "an exit code without a failed test" "1 passed, 1 failed, 0 skipped" 1 'echo "ok 1 - a"; exit 3'
check "a hang" "1 passed, 1 failed, 0 skipped" 1 'echo "ok 1 - a"; sleep 60' TEST_TIMEOUT=1
check "a hang in a child" "1 passed, 1 failed, 0 skipped" 1 'echo "ok 1 - a"; (sleep 60); true' TEST_TIMEOUT=1
check "too few results" "1 passed, 1 failed, 0 skipped" 1 'echo 1..2; echo "ok 1 - a"'
check "no result at all" "0 passed, 1 failed, 0 skipped" 1 'true'
check "a program that is not there" "0 passed, 1 failed, 0 skipped" 1 'rm "$0"; exec "$0"'
check "a skip" "0 passed, 0 failed, 1 skipped" 0 'echo 1..1; echo "ok 1 - a # SKIP why"'
check "a skip as cmocka prints it" "0 passed, 0 failed, 1 skipped" 0 'echo 1..1; echo "not ok 1 # SKIP a"'
check "all skipped" "0 passed, 0 failed, 1 skipped" 0 'echo "1..0 # SKIP why"'
check "a skip in CI" "0 passed, 1 failed, 0 skipped" 1 'echo 1..1; echo "ok 1 - a # SKIP why"' CI=1
check "an allowed skip in CI" "0 passed, 0 failed, 1 skipped" 0 'echo "ok 1 - allowed one # SKIP why"' CI=1
# A test that runs this script adds nothing of its own to the sum of those who run it.
printf '#!/bin/bash\necho 1..1; echo "ok 1 - a"; %s %s >/dev/null; true\n' tests/run.sh "$dir/none" >"$dir/outer.sh"
chmod +x "$dir/outer.sh"
env -u CI -u T -u WRAP TALLY="$dir/sum" tests/run.sh "$dir/outer.sh" >/dev/null 2>&1
n=$((n + 1))
if [ "$(cat "$dir/sum")" = "1 0 0" ]; then echo "ok $n - a run inside a run"
else echo "# sum: $(tr '\n' ';' <"$dir/sum")"; echo "not ok $n - a run inside a run"; fi
n=$((n + 1))
if out=$(tests/run.sh T=no_such_test 2>&1); then echo "not ok $n - no test selected"; else echo "ok $n - no test selected"; fi
echo "1..$n"
