#!/usr/bin/env bash
# The lost-locals analysis: compiles each file as if every await were an exit, so that flow analysis
# (gcc at -O2, and clang) sees each local that an await would lose. Other warnings stay as they are.
#   tools/lint.sh file.c…       CPPFLAGS, GCC, CLANG, VERBOSE=1 (says when all is well) from the environment
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# != 0 ] || { echo "usage: make lint-file FILES=\"a.c b.c\"" >&2; exit 2; }
common="-DAIO_LINT -iquote $root -iquote $root/tests -pthread -c -o /dev/null"
# The warnings are errors inside coroutines by the headers' own pragmas. gcc finds them at -O2 only.
used=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
limit=$(nproc 2>/dev/null || echo 2)
lint_one() {    # number, name, compiler and options, file
    local out=$work/$1.out bad=$work/$1.bad name=$2
    shift 2
    "$@" "$file" >"$out" 2>&1 || { echo "$name: $file"; head -n 60 "$out"; } >"$bad"
}
n=0
check() {       # name, compiler and options; the file comes last
    local name=$1 file
    shift
    used=1
    for file in "${files[@]}"; do
        while [ "$(jobs -rp | wc -l)" -ge "$limit" ]; do wait -n; done
        n=$((n + 1))
        lint_one "$n" "$name" "$@" &
    done
}
files=("$@")
# shellcheck disable=SC2086
command -v "${GCC:-gcc}" >/dev/null 2>&1 && check gcc "${GCC:-gcc}" $CPPFLAGS $common -O2
# shellcheck disable=SC2086
command -v "${CLANG:-clang}" >/dev/null 2>&1 && check clang "${CLANG:-clang}" $CPPFLAGS $common
[ $used = 1 ] || { echo "lint needs gcc or clang" >&2; exit 2; }
wait
# What runs at the end of a scope runs at each await; gcc is silent.
for file in "${files[@]}"; do
    grep -HnE '__attribute__ *\(\( *(__)?cleanup' "$file" | grep -v '// *lint: ' >"$work/found" &&
        { echo "a cleanup attribute runs at each await (\"// lint: why\" behind it lets it pass):"; cat "$work/found"; } \
            >"$work/text.$(basename "$file").bad"
done
cat "$work"/*.bad 2>/dev/null && exit 1
[ -z "$VERBOSE" ] || echo "no local is lost: ${files[*]}"
