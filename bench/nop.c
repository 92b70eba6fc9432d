// nop.c - what does the toolkit add to one trip through the ring? An operation that does nothing.
// SPDX-License-Identifier: MIT
//
// N chains, each with one NOP in flight at a time. By hand: on each completion a counter, the next
// NOP; one enter per round. aio: N tasks in a loop.
#include "aio_io_uring.h"

#include "raw_uring.h"

static int64_t left;

static void raw(const struct bench_case *c, struct bench_window *w)
{
    struct io_uring ring;
    uint64_t counts[256] = { 0 };
    raw_ring(&ring, 256, 2048);
    int64_t more = w->ops;
    for (int64_t i = 0; i < c->n; i++) {
        struct io_uring_sqe *sqe = raw_sqe(&ring);
        io_uring_prep_nop(sqe);
        io_uring_sqe_set_data(sqe, &counts[i]);
    }
    int64_t start = bench_now();
    while (more > 0) {
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;
        io_uring_submit_and_wait(&ring, 1);
        io_uring_for_each_cqe(&ring, head, cqe) {
            uint64_t *count = io_uring_cqe_get_data(cqe);
            if (cqe->res < 0) bench_fail("nop");
            ++*count;
            struct io_uring_sqe *sqe = raw_sqe(&ring);
            io_uring_prep_nop(sqe);
            io_uring_sqe_set_data(sqe, count);
            seen++;
        }
        io_uring_cq_advance(&ring, seen);
        more -= seen;
    }
    w->ns = bench_now() - start;
    w->ops -= more;
    io_uring_queue_exit(&ring);
}

struct chain {
    aio_frame aio;
    uint64_t count;
};
aio_async(chain)
{
    while (left > 0) {
        aio_await(aio_nop());
        self->count++;
        left--;
    }
    aio_loop_stop(aio_running_loop());
    return 0;
} aio_end

static void aio(const struct bench_case *c, struct bench_window *w)
{
    aio_loop loop;
    if (aio_loop_init(&loop, 0) < 0 || aio_uring_attach(&loop, 0) < 0)
        bench_fail("aio_uring_attach");
    left = w->ops;
    for (int64_t i = 0; i < c->n; i++) aio_detach(aio_spawn_on(&loop, chain));
    int64_t start = bench_now();
    aio_loop_run_forever(&loop);
    w->ns = bench_now() - start;
    w->ops -= left;
    while (loop.executor.live) {            // those that are still in the ring
        aio_loop_stop(&loop);
        aio_loop_run_forever(&loop);
    }
    aio_loop_close(&loop);
}

static const struct bench_case cases[] = {
    { "awaited NOP, 32 at a time", "raw liburing", "ns", raw, 32, 0 },
    { "awaited NOP, 32 at a time", "aio", "ns", aio, 32, 0 },
    { "awaited NOP, 1 at a time", "raw liburing", "ns", raw, 1, 0 },
    { "awaited NOP, 1 at a time", "aio", "ns", aio, 1, 0 },
};
BENCH_MAIN(cases)
