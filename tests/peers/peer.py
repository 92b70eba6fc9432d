"""CPython's asyncio streams as the other end: client of our servers, server of our clients."""
import asyncio, os, random, struct, socket, sys

random.seed(int(os.environ.get("AIO_SEED", "1")))


def fnv(data):          # only for short ones: slow
    h = 0xCBF29CE484222325
    for b in data:
        h = ((h ^ b) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


async def dial(where):
    if where.startswith("/"):
        return await asyncio.open_unix_connection(where)
    return await asyncio.open_connection("127.0.0.1", int(where))


async def echo_once(where, n=15):
    """Messages of any size, several on the way at a time; then we end, then it does."""
    r, w = await dial(where)
    sent, got = bytearray(), bytearray()

    async def send():
        for _ in range(n):
            m = os.urandom(random.choice([1, 3, random.randrange(1, 3000), random.randrange(1, 120000)]))
            sent.extend(m)
            w.write(m)
            if random.random() < 0.5:
                await w.drain()
            if random.random() < 0.2:
                await asyncio.sleep(random.random() / 500)
        await w.drain()
        w.write_eof()

    async def receive():
        while chunk := await r.read(random.randrange(1, 60000)):
            got.extend(chunk)
            if random.random() < 0.05:
                await asyncio.sleep(random.random() / 500)

    await asyncio.gather(send(), receive())
    w.close()
    await w.wait_closed()
    assert sent == got, (len(sent), len(got))


async def echo(where):
    await asyncio.gather(*(echo_once(where) for _ in range(20)))


async def ping(where):
    """A message and its answer, a hundred times: nothing is held back."""
    r, w = await dial(where)
    for i in range(100):
        m = os.urandom(random.randrange(1, 5000))
        w.write(m)
        assert await r.readexactly(len(m)) == m
    w.close()
    await w.wait_closed()


async def sums(where):
    async def one(size):
        r, w = await dial(where)
        data = os.urandom(size)
        w.write(data)
        w.write_eof()
        n, h = (await r.read()).split()
        assert int(n) == size and int(h) == fnv(data)
        w.close()

    await asyncio.gather(*(one(s) for s in (0, 1, 5, 4096, 70000)))


async def source(where):
    """It ends its direction first, we go on sending."""
    r, w = await dial(where)
    w.write(b"%020d" % 300000)
    data = await r.read()
    assert len(data) == 300000, len(data)
    w.write(b"y" * 200000)
    await w.drain()
    w.close()
    await w.wait_closed()


async def rude(where):
    """Resets, connections without a word, ends in the middle of a message: the server goes on."""
    for i in range(30):
        r, w = await dial(where)
        if i % 3:
            w.write(b"z" * random.randrange(1, 200000))
        if i % 3 == 2:
            s = w.get_extra_info("socket")
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            w.transport.abort()
        else:
            w.close()
    await echo_once(where)


async def serve(folder):
    """An echo server, for our client."""

    async def handle(r, w):
        try:
            while data := await r.read(random.randrange(1, 100000)):
                w.write(data)
                await w.drain()
            w.write_eof()
        finally:
            w.close()

    tcp = await asyncio.start_server(handle, "127.0.0.1", 0)
    await asyncio.start_unix_server(handle, folder + "/py-unix")
    with open(folder + "/py-tcp.new", "w") as f:
        print(tcp.sockets[0].getsockname()[1], file=f)
    os.rename(folder + "/py-tcp.new", folder + "/py-tcp")
    await asyncio.sleep(120)


what = {"echo": echo, "ping": ping, "sum": sums, "source": source, "rude": rude, "serve": serve}[sys.argv[1]]
asyncio.run(asyncio.wait_for(what(sys.argv[2]), 120))
