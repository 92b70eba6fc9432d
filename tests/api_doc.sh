#!/usr/bin/env bash
# docs/api.md is what tools/gen-api.sh makes of the headers, and it names every public function.
cd "$(dirname "$0")/.." || exit 1
made=$(mktemp)
trap 'rm -f "$made"' EXIT
tools/gen-api.sh >"$made"
n=0
result() { n=$((n + 1)); echo "$1 $n - $2"; }
if cmp -s "$made" docs/api.md; then result ok "docs/api.md is fresh"
else
    diff docs/api.md "$made" | head -n 20 | sed 's/^/# /'
    echo "# run: tools/gen-api.sh > docs/api.md"
    result "not ok" "docs/api.md is fresh"
fi
# Every name in a header's index is explained on the page.
missing=$(for h in aio.h aio_loop.h aio_io_uring.h; do
    sed -n '/^\/\/ INDEX/,/^\/\/ RULES/p' "$h" | grep -o 'aio_[a-z_0-9]*' | grep -v '^aio_io_uring$'
done | sort -u | while read -r name; do
    grep -qE "(^|[^a-z_])$name([^a-z_]|\$)" "$made" || echo "$name"
done)
if [ -z "$missing" ]; then result ok "every name of the indexes is on the page"
else
    echo "$missing" | sed 's/^/# /'
    result "not ok" "every name of the indexes is on the page"
fi
# The control: a changed header is noticed.
if sed 's/aio_detach/aio_gone/' docs/api.md | cmp -s - "$made"; then result "not ok" "control: a stale page is noticed"
else result ok "control: a stale page is noticed"; fi
echo "1..$n"
