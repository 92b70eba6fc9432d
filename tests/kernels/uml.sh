#!/usr/bin/env bash
# Runs the ring's test programs on Debian's user-mode-linux (Linux 6.1, boots in seconds without KVM), with this
# machine's files as its root and the binaries as they are.
#   tests/kernels/uml.sh [program…]         no program: all of $BUILD/tests/t_uring_* and t_cores
# Prints what tests/run.sh prints there; exits with its code. KERNEL_LIMIT: seconds that it may take (1800).
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
programs=("$@")
[ ${#programs[@]} -gt 0 ] || for p in "$BUILD"/tests/t_uring_* "$BUILD"/tests/t_cores; do
    case $p in *.d) ;; *) [ -x "$p" ] && programs+=("$p") ;; esac
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The first process there: what a system has mounted, then the tests, then the power switch.
cat >"$work/init" <<INIT
#!/usr/bin/env bash
export SKIPS_ALLOWED="$SKIPS_ALLOWED" PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root CI="$CI" AIO_RING="$AIO_RING" BUILD="$BUILD" KERNEL=uml
export TALLY="$TALLY"
mount -t proc proc /proc; mount -t sysfs sys /sys
mount -t tmpfs dev /dev || exit
while read -r name major minor; do mknod -m 666 /dev/\$name c \$major \$minor; done <<NODES
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
ptmx 5 2
NODES
mkdir -p /dev/pts /dev/shm; mount -t devpts pts /dev/pts; mount -t tmpfs shm /dev/shm
ln -sf /proc/self/fd /dev/fd; ln -sf fd/0 /dev/stdin; ln -sf fd/1 /dev/stdout; ln -sf fd/2 /dev/stderr
mount -t tmpfs -o size=1g tmp /tmp; mkdir -p "$work"; mount -t hostfs -o "$work" none "$work"
mount -t tmpfs -o size=512m tmp /run
ip link set lo up
ulimit -l 65536
exec >>"$work/log" 2>&1 </dev/null
echo "# \$(uname -sr), \$(nproc) core(s)"
cd "$PWD"
tests/run.sh J=2 ${programs[*]}
echo \$? >"$work/rc"
sync
echo o >/proc/sysrq-trigger; sleep 60
INIT
chmod +x "$work/init"
: >"$work/log"
timeout -k 5 "${KERNEL_LIMIT:-1800}" linux.uml rootfstype=hostfs rootflags=/ rw mem=2G init="$work/init" \
    con=null con0=null,fd:1 quiet uml_dir="$work" umid=tests >"$work/console" 2>&1 </dev/null
cat "$work/log"
if [ ! -s "$work/rc" ]; then
    echo "the kernel did not come to the end:"
    tail -n 20 "$work/console"
    exit 1
fi
exit "$(cat "$work/rc")"
