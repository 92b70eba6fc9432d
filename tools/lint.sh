#!/usr/bin/env bash
# The lost-locals analysis: compiles each file as if every await were an exit, so that flow analysis
# (gcc at -O2, and clang) sees each local that an await would lose. Other warnings stay as they are.
#   tools/lint.sh file.c…       CPPFLAGS, GCC and CLANG from the environment
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# != 0 ] || { echo "usage: make lint-file FILES=\"a.c b.c\"" >&2; exit 2; }
common="-DAIO_LINT -iquote $root -iquote $root/tests -pthread -c -o /dev/null"
# The warnings are errors inside coroutines by the headers' own pragmas. gcc finds them at -O2 only.
used=0 bad=0
check() {       # name, compiler and options; the file comes last
    local name=$1 file out
    shift
    for file in "${files[@]}"; do
        if ! out=$("$@" "$file" 2>&1); then
            bad=1
            printf '%s: %s\n%s\n' "$name" "$file" "$out" | head -n 60
        fi
    done
}
files=("$@")
# shellcheck disable=SC2086
if command -v "${GCC:-gcc}" >/dev/null 2>&1; then
    used=1
    check gcc "${GCC:-gcc}" $CPPFLAGS $common -O2
fi
# shellcheck disable=SC2086
if command -v "${CLANG:-clang}" >/dev/null 2>&1; then
    used=1
    check clang "${CLANG:-clang}" $CPPFLAGS $common
fi
[ $used = 1 ] || { echo "lint needs gcc or clang" >&2; exit 2; }
exit $bad
