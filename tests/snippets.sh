#!/usr/bin/env bash
# Compiles every C and C++ snippet of README.md and docs/*.md (but api.md), with gcc and clang.
# TIMEOUT 1500
#   ```c            a whole file; without an #include it gets aio_io_uring.h
#   ```c body       the inside of a coroutine
#   ```c refused    must not compile, because a local would be lost
#   ```c++          a whole file of C++17
# In front of it an invisible line may say what else it needs:
#   <!-- needs: declarations before it -->   <!-- frame: members of its frame -->
# Other fences (sh, text) are not looked at.
cd "$(dirname "$0")/.." || exit 1
root=$PWD
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
n=0
result() { n=$((n + 1)); echo "$1 $n - $2"; }

# Writes $dir/<page>-<line>.<kind>.c for each snippet of a page.
extract() {
    awk -v page="$1" -v out="$dir/$(basename "$1" .md)" '
    function finish() {
        if (kind ~ /^c body/) print "} aio_end\nint main(void) { return aio_run(snippet) < 0; }" > file
        close(file)
        inside = 0
        needs = frame = ""
    }
    inside && /^ *```/ { finish(); next }
    inside { print > file; if (/#include/) included = 1; next }
    /^<!-- needs: / { needs = $0; sub(/^<!-- needs: /, "", needs); sub(/ -->$/, "", needs); next }
    /^<!-- frame: / { frame = $0; sub(/^<!-- frame: /, "", frame); sub(/ -->$/, "", frame); next }
    /^ *```c( |\+\+|$)/ {
        kind = $0
        sub(/^ *```/, "", kind)
        tag = kind
        gsub(/ /, ",", tag)
        file = out "-" NR "." tag
        inside = 1
        print "#include \"aio_io_uring.h\"" > file
        if (needs != "") print needs > file
        if (kind ~ /^c body/)
            printf "struct snippet { aio_frame aio; %s };\naio_async(snippet) {\n", frame > file
        printf "#line %d \"%s\"\n", NR + 1, page > file
        next
    }
    !/^ *$/ { needs = frame = "" }' "$1"
}
flags="-O0 -iquote $root -Wall -Wextra -Werror -Wno-unused -pthread -c -o /dev/null"
compiles() {    # file, compiler
    local file=$1 cc=$2 language="-x c"
    case $file in *.c++*) language="-std=c++17 -x c++" cc=${cc/gcc/g++} cc=${cc/clang/clang++} ;; esac
    # shellcheck disable=SC2086
    $cc $flags $language "$file" >"$dir/out" 2>&1
}
check() {       # file
    local file=$1 label cc
    label=$(basename "$file")
    for cc in gcc clang; do
        command -v $cc >/dev/null 2>&1 || continue
        case $label in
        *.c,refused*)
            if ! compiles "$file" $cc && grep -qE "LOST|jump|uninitialized" "$dir/out"; then
                result ok "$label is refused by $cc"
            else
                result "not ok" "$label is refused by $cc"
            fi
            ;;
        *)
            if compiles "$file" $cc; then result ok "$label ($cc)"
            else
                head -n 12 "$dir/out" | sed 's/^/# /'
                result "not ok" "$label ($cc)"
            fi
            ;;
        esac
    done
}
for page in README.md CONTRIBUTING.md docs/*.md; do
    [ -f "$page" ] && [ "$page" != docs/api.md ] && extract "$page"
done
for file in "$dir"/*.c "$dir"/*.c,* "$dir"/*.c++; do
    [ -e "$file" ] && check "$file"
done

# Links between pages lead somewhere: the file is there, and so is the heading.
broken_links() {    # page
    local link target anchor
    grep -oE '\]\([^)]+\)' "$1" | sed 's/^](//; s/)$//' | grep -v '^[a-z]*:' | while read -r link; do
        target=${link%%#*} anchor=
        case $link in *#*) anchor=${link#*#} ;; esac
        if [ -n "$target" ]; then target=$(dirname "$1")/$target; else target=$1; fi
        if [ ! -e "$target" ]; then echo "$1: $link"
        elif [ -n "$anchor" ] && ! sed -n 's/^#\{1,6\} //p' "$target" | tr 'A-Z ' 'a-z-' |
            tr -cd 'a-z0-9_\n-' | grep -qx "$anchor"; then echo "$1: $link"; fi
    done
}
for page in README.md CONTRIBUTING.md docs/*.md; do
    broken=$(broken_links "$page")
    [ -z "$broken" ] || echo "$broken" | sed 's/^/# /'
    if [ -z "$broken" ]; then result ok "links of $page"; else result "not ok" "links of $page"; fi
done
echo '[x](nowhere.md) [y](#no-such-heading)' >"$dir/links.md"
if [ "$(broken_links "$dir/links.md" | wc -l)" = 2 ]; then result ok "control: broken links are noticed"
else result "not ok" "control: broken links are noticed"; fi

# The controls: a snippet that is wrong, and one that would lose a local, are noticed.
mkdir "$dir/control"
printf '%s\n' '```c body' 'aio_awake(aio_sleep(1));' '```' '```c body' 'int n = 3;' 'aio_await(aio_sleep(1));' \
    'return n;' '```' '```c refused' 'int fine;' '```' >"$dir/control/page.md"
dir=$dir/control extract "$dir/control/page.md"
for file in "$dir"/control/page-*; do
    noticed=$( (n=0; check "$file") | grep -c '^not ok')
    if [ "$noticed" -gt 0 ]; then result ok "control: $(basename "$file") is noticed"
    else result "not ok" "control: $(basename "$file") is noticed"; fi
done
echo "1..$n"
