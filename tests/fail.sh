#!/usr/bin/env bash
# TIMEOUT 1500
# tests/fail/*.c must not compile, and the compiler must say what the file's EXPECT lines say. With
# -DTWIN each must compile without a warning. hole_* do compile; `make lint` must refuse them.
#   In a file: COMPILERS, FLAGS, EXPECT: or EXPECT <compiler>: (an extended regular expression), HOLE:
# shellcheck source=compile/lib.sh
. "$(dirname "$0")/compile/lib.sh"
field() { sed -n "s|^// $2: *||p" "$1" | head -n 1; }
language() {    # the compiler and its options for a compiler's name
    case $1 in
    gcc) echo "$GCC -xc" ;;
    clang) echo "$CLANG -xc" ;;
    g++) echo "$GXX -xc++ -std=c++17" ;;
    clang++) echo "$CLANGXX -xc++ -std=c++17" ;;
    esac
}
base="-iquote . -c -o /dev/null"
refused() {     # file, compiler's name, options…: it fails, and for the reason we mean
    local file=$1 name=$2 out want
    shift 2
    want=$(field "$file" "EXPECT $name")
    [ -n "$want" ] || want=$(field "$file" EXPECT)
    # shellcheck disable=SC2046,SC2086
    if out=$(LC_ALL=C $(language "$name") $base "$@" $(field "$file" FLAGS) "$file" 2>&1); then
        echo "it compiles"
        return 1
    fi
    echo "$out" | grep -qE -- "$want" && return
    echo "expected: $want"
    echo "$out"
    return 1
}
accepted() {
    local file=$1 name=$2
    shift 2
    # shellcheck disable=SC2046,SC2086
    $(language "$name") $base $WARN "$@" $(field "$file" FLAGS) "$file"
}
case_of() {     # file, compiler
    local o
    for o in -O0 -O2; do
        refused "$1" "$2" $o || return 1
    done
    accepted "$1" "$2" -O2 -DTWIN || { echo "with -DTWIN"; return 1; }
}
# A hole: one compiler alone does not see it, both together under lint do.
lint() {
    CPPFLAGS=$2 tools/lint.sh "$1"
}
hole_of() {     # file, compiler
    local flow="-Wno-error=uninitialized"
    case $2 in g*) flow="$flow -Wno-error=maybe-uninitialized" ;; esac
    # shellcheck disable=SC2086
    accepted "$1" "$2" -O2 $flow || {
        echo "this hole is closed: make it an ordinary case"
        return 1
    }
}
lint_of() {
    fails lint "$1" "" || { echo "lint does not see it"; return 1; }
    lint "$1" -DTWIN || { echo "lint refuses the correct form"; return 1; }
}
for file in tests/fail/*.c tests/fail/*.cc; do
    name=$(basename "$file")
    for compiler in $(field "$file" COMPILERS) $(field "$file" HOLE); do
        read -r command _ <<<"$(language "$compiler")"
        if ! have "$command"; then skip "$name: $compiler" "no $command here"
        elif [ -n "$(field "$file" HOLE)" ]; then ok_later "$name: $compiler does not see it" hole_of "$file" "$compiler"
        else ok_later "$name: $compiler refuses it" case_of "$file" "$compiler"
        fi
    done
    [ -n "$(field "$file" HOLE)" ] && ok_later "$name: lint sees it" lint_of "$file"
done
# Controls: a correct file is not "refused", and neither is one that fails for another reason.
printf '%s\n' '// EXPECT: the aio_end' 'int x;' >"$tmp/good.c"
printf '%s\n' '// EXPECT: the aio_end' 'int x' 'y;' >"$tmp/other.c"
ok "control: a file that compiles is noticed" fails refused "$tmp/good.c" gcc
ok "control: another error is noticed" fails refused "$tmp/other.c" gcc
ok "control: lint passes a correct file" lint "$tmp/good.c" ""
{ cat "$tmp/good.c"; echo 'static inline void clean(int *p) { (void)p; }'
  echo 'static inline void use_it(void) { int x __attribute__((cleanup(clean))) = 0;'; echo '(void)x; }'; } >"$tmp/cleans.c"
sed 's|cleanup(clean))) = 0;|& // lint: no await here|' "$tmp/cleans.c" >"$tmp/cleans_said.c"
ok "lint refuses a cleanup attribute" fails lint "$tmp/cleans.c" ""
ok "and takes one that was looked at" lint "$tmp/cleans_said.c" ""
finish
