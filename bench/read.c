// read.c - random 4 KiB reads of a file in the page cache, 1, 32 and 128 at a time.
// SPDX-License-Identifier: MIT
//
// By hand with liburing, with tasks, and with pread(2), one at a time. BENCH_FILE_MB: size of the
// file (256), made in BENCH_DIR (the current directory) and removed at once.
#include "aio_io_uring.h"

#include "raw_uring.h"

enum { BLOCK = 4096, DEPTH_MAX = 128 };
static int file = -1;
static uint64_t blocks;
static int64_t left;
static uint64_t random_state = 88172645463325252u;
static char buffers[DEPTH_MAX][BLOCK] __attribute__((aligned(4096)));

static void open_file(void)
{
    char name[512];
    const char *dir = getenv("BENCH_DIR");
    if (file >= 0) return;
    blocks = (uint64_t)bench_env("BENCH_FILE_MB", 256) * (1 << 20) / BLOCK;
    snprintf(name, sizeof name, "%s/read-XXXXXX", dir ? dir : ".");
    file = mkstemp(name);
    if (file < 0) bench_fail(name);
    unlink(name);
    for (uint64_t i = 0; i < blocks; i++) {
        memset(buffers[0], (int)i, BLOCK);
        if (write(file, buffers[0], BLOCK) != BLOCK) bench_fail("write");
    }
}
static int64_t somewhere(void) { return (int64_t)(bench_random(&random_state) % blocks) * BLOCK; }

static void with_pread(const struct bench_case *c, struct bench_window *w)
{
    (void)c;
    open_file();
    int64_t start = bench_now();
    for (int64_t i = 0; i < w->ops; i++)
        if (pread(file, buffers[0], BLOCK, somewhere()) != BLOCK) bench_fail("pread");
    w->ns = bench_now() - start;
}
static void raw_start(struct io_uring *ring, char *buffer)
{
    struct io_uring_sqe *sqe = raw_sqe(ring);
    io_uring_prep_read(sqe, file, buffer, BLOCK, (uint64_t)somewhere());
    io_uring_sqe_set_data(sqe, buffer);
}
static void raw(const struct bench_case *c, struct bench_window *w)
{
    struct io_uring ring;
    open_file();
    raw_ring(&ring, 256, 2048);
    int64_t more = w->ops, start = bench_now(), flying = c->n;
    for (int64_t i = 0; i < c->n; i++) raw_start(&ring, buffers[i]);
    while (flying) {
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;
        io_uring_submit_and_wait(&ring, 1);
        io_uring_for_each_cqe(&ring, head, cqe) {
            if (cqe->res != BLOCK) bench_fail("read");
            seen++;
            if (--more > 0) raw_start(&ring, io_uring_cqe_get_data(cqe));
            else flying--;
        }
        io_uring_cq_advance(&ring, seen);
    }
    w->ns = bench_now() - start;
    w->ops -= more;
    io_uring_queue_exit(&ring);
}

struct reader {
    aio_frame aio;
    char *buffer;
};
static int64_t flying;
aio_async(reader)
{
    for (;;) {
        aio_result n;
        aio_await(n, aio_pread(file, self->buffer, BLOCK, somewhere()));
        if (n != BLOCK) bench_fail("aio_pread");
        if (--left <= 0) break;
    }
    if (!--flying) aio_loop_stop(aio_running_loop());
    return 0;
} aio_end

static void aio(const struct bench_case *c, struct bench_window *w)
{
    aio_loop loop;
    open_file();
    if (aio_loop_init(&loop, 0) < 0 || aio_uring_attach(&loop, 0) < 0)
        bench_fail("aio_uring_attach");
    left = w->ops;
    flying = c->n;
    int64_t start = bench_now();
    for (int64_t i = 0; i < c->n; i++)
        aio_detach(aio_spawn_on(&loop, reader, .buffer = buffers[i]));
    aio_loop_run_forever(&loop);
    w->ns = bench_now() - start;
    w->ops -= left;
    aio_loop_close(&loop);
}

static const struct bench_case cases[] = {
    { "cached 4 KiB read, 128 at a time", "raw liburing", "ns", raw, 128, 0 },
    { "cached 4 KiB read, 128 at a time", "aio", "ns", aio, 128, 0 },
    { "cached 4 KiB read, 32 at a time", "raw liburing", "ns", raw, 32, 0 },
    { "cached 4 KiB read, 32 at a time", "aio", "ns", aio, 32, 0 },
    { "cached 4 KiB read, 1 at a time", "raw liburing", "ns", raw, 1, 0 },
    { "cached 4 KiB read, 1 at a time", "aio", "ns", aio, 1, 0 },
    { "cached 4 KiB read, 1 at a time", "pread(2)", "ns", with_pread, 1, 0 },
};
BENCH_MAIN(cases)
