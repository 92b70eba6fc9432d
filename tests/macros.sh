#!/usr/bin/env bash
# A user's macros may have the names of functions (lwIP defines close, read, wait …): members and parameters of the
# headers do not meet them.
# TIMEOUT 600
# shellcheck source=compile/lib.sh
. "$(dirname "$0")/compile/lib.sh"
# What C libraries and small systems define, and what our members are called.
names="accept after allocate before bind calloc cancel check close compare connect copy count data describe detach dispose
done drain dup end enter error exec exit fd first flags fork forked free from get getpid handler has hook how id index init
join kill last leave length link listen load lock log loop malloc main name next notify now open ops panic pause pipe poll
post prev printf push put raise read realloc recv register_ release remove report reset result resume ring run seed select
send set shutdown signal size sleep slot socket start state step stop sync t target tell time timeout top turn unlink
unlock value wait wake work write yield"
# Object-like and function-like, of fewer arguments than ours have. Words that an expansion would have to keep are spared.
macros() {
    local n
    for n in $names; do echo "#define $n(only) user_$n(only)"; done
}
alone() {       # header, compiler …: with those macros before it
    local header=$1
    shift
    { echo "#include <stddef.h>"; echo "#include <stdint.h>"; echo "#include <stdbool.h>"; echo "#include <errno.h>"; macros
      echo "#include \"$header\""; echo "int nothing;"; } >"$tmp/alone.c"
    "$@" -iquote . -w -c -o /dev/null "$tmp/alone.c"
}
# The others call the system's functions by their names: those are left out.
members() {     # header, compiler …
    local header=$1 n
    shift
    { for h in stddef stdint stdbool errno pthread sched signal stdarg stdio stdlib string time unistd poll fcntl netdb spawn \
          sys/eventfd sys/syscall sys/socket sys/stat sys/wait sys/mman sys/resource sys/uio sys/un sys/utsname liburing; do
          echo "#if __has_include(<$h.h>)"; echo "#include <$h.h>"; echo "#endif"; done
      for n in $names; do
          cat aio*.h | grep -qE "(^|[^A-Za-z0-9_>.])$n\(" || echo "#define $n(only) user_$n(only)"; done
      echo "#include \"$header\""; echo "int nothing;"; } >"$tmp/members.${header%.h}.c"
    "$@" -D_GNU_SOURCE -iquote . -w -c -o /dev/null "$tmp/members.${header%.h}.c"
}
control() { sed 's/(n->cls->notify)(/n->cls->notify(/' aio.h >"$tmp/aio.h"; (cd "$tmp" && cp aio.h old.h); ! { macros >"$tmp/m.c"
    echo '#include "old.h"' >>"$tmp/m.c"; "$GCC" -w -c -o /dev/null "$tmp/m.c"; }; }
ok "aio.h, gcc" alone aio.h "$GCC"
ok "aio.h, strict" alone aio.h "$GCC" -std=c11 -DAIO_STRICT
if have "$CLANG"; then ok "aio.h, clang" alone aio.h "$CLANG"; else skip "aio.h, clang" "no clang"; fi
ok "aio_loop.h" members aio_loop.h "$GCC"
ok "aio_io_uring.h" members aio_io_uring.h "$GCC"
ok "a member that is called without parentheses is noticed" control
finish
