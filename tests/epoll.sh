#!/usr/bin/env bash
# Runs the tests of the ring on the kernel in user space (aio_epoll.h), and some where a filter refuses
# io_uring. What differs from Linux's is listed in epoll.differences; what is listed must differ.
# TIMEOUT 600
cd "$(dirname "$0")/.." || exit 1
dir=${BUILD:-build}/tests
table=tests/epoll.differences
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0
verdict() {     # name, status, log
    n=$((n + 1))
    [ "$2" = 0 ] && { echo "ok $n - $1"; return; }
    [ -r "$3" ] && sed 's/^/# /' "$3"
    echo "not ok $n - $1"
}
# The failed tests of a log are those that the table lists, and it ended by itself.
as_listed() {   # program, log, exit code
    local failed listed
    failed=$(sed -n '/# SKIP/d;s/^not ok [0-9]* - //p' "$2" | sort)
    listed=$(awk -v p="$1" '$1 == p { print $2 }' $table | sort)
    [ "$3" != 124 ] && [ "$3" != 137 ] && [ "$failed" = "$listed" ] ||
        { echo "# failed:" $failed "; listed:" $listed "; exit code $3" >>"$2"; return 1; }
}
for program in "$dir"/t_uring_* "$dir"/t_cores; do
    [ -f "$program" ] && [ -x "$program" ] || continue
    name=$(basename "$program")
    AIO_RING=epoll timeout 100 "$program" >"$work/log" 2>&1 </dev/null
    code=$?
    as_listed "$name" "$work/log" $code
    verdict "$name on epoll" $? "$work/log"
done
[ $n = 0 ] && { echo "1..0 # SKIP no test of the ring is built"; exit 0; }

# Controls: a failure that is not listed, and a row that does not fail.
printf 'not ok 1 - unheard_of\n' >"$work/log"
! as_listed t_none "$work/log" 1
verdict "control: a failure that is not listed" $?
printf 'ok 1 - memory_of_a_ring\n' >"$work/log"
! as_listed t_uring_buffers "$work/log" 0
verdict "control: a row that does not differ" $?
while read -r program test reason; do
    case $program in '' | '#'*) continue ;; esac
    grep -q "cmocka_unit_test[a-z_]*($test" "tests/$program.c" && [ -n "$reason" ]
    verdict "row: $program $test" $?
done <$table

# Refused as by a container. The control: forced, io_uring is refused there.
${CC:-cc} -O1 -o "$work/refuse" tests/refuse.c || exit 1
"$work/refuse" EPERM all true
[ $? = 77 ] && { echo "1..$n"; exit 0; }        # no filters here
for how in "ENOSYS all" "EPERM all" "EACCES all" "EPERM setup" "EPERM enter" "EPERM register"; do
    for name in t_uring_serve t_uring_many t_uring_stream_storm; do
        [ -x "$dir/$name" ] || continue
        # shellcheck disable=SC2086
        timeout 100 "$work/refuse" $how "$dir/$name" >"$work/log" 2>&1 </dev/null
        verdict "$name under $how" $? "$work/log"
    done
done
AIO_RING=io_uring timeout 5 "$work/refuse" EPERM all "$dir/t_uring_ops" >"$work/log" 2>&1 </dev/null
[ $? != 0 ]
verdict "control: io_uring is refused there" $? "$work/log"
echo "1..$n"
