#!/usr/bin/env bash
# Style and safety checks that need no compiler. Silent when all is well.
#   tools/style.sh [file…]      no file: every file that git knows, and the three headers
cd "$(dirname "$0")/.." || exit 1
bad=0
complain() { bad=1; echo "style: $1"; echo "$2" | head -n 20; }

if [ $# = 0 ]; then
    mapfile -t files < <({ git ls-files 2>/dev/null || find . -type f -not -path './build/*' -not -path './.git/*'; } |
        sed 's|^\./||' | while read -r f; do [ -f "$f" ] && echo "$f"; done)
else
    files=("$@")
fi
matching() { printf '%s\n' "${files[@]}" | grep -E "$1"; }
mapfile -t code < <(matching '\.(c|h|cc)$')
mapfile -t headers < <(matching '^aio.*\.h$|/aio_[a-z_]*\.h$')
[ $# = 0 ] || headers=("${files[@]}")

# Names that belong to POSIX's <aio.h>, where they would clash: in the headers, outside comments.
posix='aio_(read|write|fsync|cancel|error|return|suspend|init)(64)?|lio_listio(64)?|aiocb(64)?|aioinit'
posix="$posix|AIO_(CANCELED|NOTCANCELED|ALLDONE|LISTIO_MAX|MAX|PRIO_DELTA_MAX)"
found=$(for f in "${headers[@]}"; do
    sed 's|//.*||' "$f" | grep -nE "(^|[^A-Za-z0-9_])($posix)([^A-Za-z0-9_]|$)" | sed "s|^|$f:|"
    sed 's|//.*||' "$f" | grep -nE "define +aio_(fildes|buf|nbytes|offset|reqprio|sigevent|lio_opcode)([^A-Za-z0-9_]|$)" |
        sed "s|^|$f:|"
done)
[ -z "$found" ] || complain "a name of POSIX's <aio.h>" "$found"

# Names that a user's coroutine gets: aio_async(end) makes aio__step_end.
found=$(for f in "${headers[@]}"; do
    sed 's|//.*||' "$f" | grep -nE 'aio__(step|coroutine|hook|drop|scratch)_[a-z]' | grep -v 'aio__drop_of(' | sed "s|^|$f:|"
done)
[ -z "$found" ] || complain "a name that a coroutine of the user's gets too" "$found"

# A line marker gives the number of the line after it.
found=$(for f in "${headers[@]}"; do
    awk -v f="$f" '/^# [0-9]+ __FILE__/ && $2 != NR + 1 { print f ":" NR ": must be: # " NR + 1 " __FILE__" }' "$f"
done)
[ -z "$found" ] || complain "a line marker is out of step" "$found"

# The headers' own coroutines: gcc -O0 would emit an unused aio_async with all that it calls.
found=$(grep -nE '^aio_async\(|&AIO__CO\(aio__' "${headers[@]}" /dev/null)
[ -z "$found" ] || complain "a header's own coroutine is aio__async, its descriptor AIO__OWN_CO" "$found"

# Unfinished work and places of one machine. (The patterns are split, so as not to find themselves.)
mapfile -t prose < <(printf '%s\n' "${files[@]}" | grep -v '^LICENSE$')
found=$(grep -nE "TO""DO|FIX""ME|for no""w[^a-z]" "${prose[@]}" /dev/null | grep -vE '\.(png|svg|expect):')
[ -z "$found" ] || complain "unfinished work" "$found"
found=$(grep -nE '\.\./shar''ed|/wor''k/|/ro''ot/|/ho''me/' "${prose[@]}" /dev/null)
[ -z "$found" ] || complain "a path of one machine" "$found"

# The planted case of aio.h is long on purpose: gcc prints it, and it says what is wrong.
found=$(LC_ALL=C.UTF-8 grep -nE '^.{101,}$' "${headers[@]}" /dev/null | grep -v 'THIS LOCAL WOULD BE LOST')
[ -z "$found" ] || complain "a header's line is longer than 100 columns" "$found"
found=$(grep -nP '\t' "${code[@]}" /dev/null)
[ -z "$found" ] || complain "a tab" "$found"
found=$(grep -nE ' +$' "${code[@]}" /dev/null)
[ -z "$found" ] || complain "white space at the end of a line" "$found"

# Each layer knows only those below it.
found=$(grep -nE 'include.*(aio_loop|aio_io_uring)\.h' aio.h; grep -nE 'include.*(aio_io_uring|liburing)\.h' aio_loop.h)
[ $# != 0 ] || [ -z "$found" ] || complain "a header includes one of a higher layer" "$found"
exit $bad
