#!/bin/sh
# demo.sh - the toolkit at work, in about eight seconds: tasks and time, then real I/O.
# `make demo` builds the examples and runs this. It leaves no process and no file behind.
cd "$(dirname "$0")/.." || exit 1
bin=${BUILD:-build}/examples
. examples/lib.sh

title() { printf '\n%s\n' "$*"; }
show() { sed 's/^/    /'; }
title "Three tasks sleep for a second each; then the same work as calls, one after another (02_sleep):"
"$bin/02_sleep" | show

title "A simulated day, on a clock that jumps when everybody waits for it (08_virtual_time):"
"$bin/08_virtual_time" | show

title "A chess exhibition: 24 boards, one after another, and all at the same time (14_chess):"
"$bin/14_chess" 2>&1 | show

title "An echo server of 25 lines, and real clients (05_echo):"
program=$bin/05_echo
name=05_echo
start_server
echo "it listens on 127.0.0.1, port $port" | show
if command -v nc >/dev/null; then
    got=$(printf 'hello from nc' | timeout 5 nc -N 127.0.0.1 "$port" 2>/dev/null)
    echo "nc sends \"hello from nc\" and receives \"$got\"" | show
fi
if command -v curl >/dev/null; then
    got=$(printf 'hello from curl' | curl -s -m 1 "telnet://127.0.0.1:$port")
    echo "curl sends \"hello from curl\" and receives \"$got\"" | show
fi
python3 - "$port" <<'END' 2>&1 | show
import asyncio, sys, time
data = b"0123456789" * 10000
async def client():
    r, w = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    async def send():
        w.write(data)
        await w.drain()
        w.write_eof()
    sender = asyncio.ensure_future(send())
    same = await r.read() == data
    await sender
    w.close()
    return same
async def main():
    began = time.monotonic()
    same = await asyncio.gather(*(client() for _ in range(100)))
    print(f"100 python clients at once, {len(data) // 1000} kB each: {sum(same)} got their data back, "
          f"in {(time.monotonic() - began) * 1000:.0f} ms")
asyncio.run(main())
END

title "A chat server, and two people with nc; this is what bob sees (30_chat):"
program=$bin/30_chat
name=30_chat
start_server
{ echo bob; sleep 1; } | timeout 5 nc 127.0.0.1 "$port" >"$dir/bob" 2>/dev/null &
bob=$!
wait_until 5 grep -q 'bob is here' "$dir/bob"
{ echo ann; sleep 0.2; echo "hello, bob"; sleep 0.2; } | timeout 2 nc -N 127.0.0.1 "$port" >/dev/null 2>&1
wait_until 5 grep -q 'ann is gone' "$dir/bob"
kill $bob 2>/dev/null
sed 's/Your name? //' "$dir/bob" | show

title "A proxy in front of python's web server, and curl through it (29_proxy):"
python3 -u -m http.server -b 127.0.0.1 -d examples 0 >"$dir/http" 2>&1 &
pids="$pids $!"
wait_until 10 grep -q 'port [0-9]' "$dir/http"
program=$bin/29_proxy
name=29_proxy
start_server localhost "$(sed -n 's/.*port \([0-9]*\).*/\1/p' "$dir/http" | head -n 1)"
curl -s "http://localhost:$port/29_proxy.c" | head -n 1 | show
tail -n 1 "$dir/server" | show

title "Which ports around it are open (10_scan)?"
"$bin/10_scan" 127.0.0.1 $((port - 2))-$((port + 2)) 2>&1 | show

title "A file of 64 MB, copied through the ring and compared (06_copy):"
head -c 64000000 /dev/urandom >"$dir/from"
"$bin/06_copy" "$dir/from" "$dir/to" 2>&1 | show
if cmp "$dir/from" "$dir/to"; then echo "the copy is the same, byte for byte" | show; fi

title "And when something goes wrong, it says what (06_copy, 05_echo):"
"$bin/06_copy" no-such-file "$dir/to" 2>&1 | show
"$bin/05_echo" "$port" 2>&1 | show

title "The sources are in examples/, in the order of their numbers. README.md explains the rest."
