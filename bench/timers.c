// timers.c - what do a million timers cost to arm, to cancel, to fire?
// SPDX-License-Identifier: MIT
//
// Deadlines are random within a second, memory is warm. Cancelled in a random order. Fired: all are
// due, and run in their exact order. By hand: a 4-ary heap of 16-byte entries and 64-byte objects.
// aio: callbacks with aio_call_at and aio_call_later (which reads the clock, as a sleep does).
#include "heap4.h"

#include "aio_loop.h"

enum { ARM, ARM_LATER, CANCEL, FIRE, N = 1000000 };
static uint64_t fired;
static uint32_t *order;
static int64_t *offsets;

static void prepare(void)
{
    uint64_t random = 123456789;
    if (order) return;
    order = bench_shuffled(N);
    offsets = malloc(N * sizeof *offsets);
    if (!offsets) bench_fail("malloc");
    for (size_t i = 0; i < N; i++) offsets[i] = 1 + (int64_t)(bench_random(&random) % 1000000000);
}

static void raw_fire(struct sleeper *s)
{
    (void)s;
    fired++;
}
static void raw(const struct bench_case *c, struct bench_window *w)
{
    static struct sleeper *sleepers;
    static struct heap h;
    prepare();
    if (!sleepers) sleepers = aligned_alloc(64, N * sizeof *sleepers);
    if (!sleepers) bench_fail("aligned_alloc");
    if (!h.e) {                         // so that the array has grown
        for (size_t i = 0; i < N; i++) heap_add(&h, &sleepers[i], (int64_t)i);
        h.count = 0;
    }
    int64_t base = bench_now() - 2000000000, start = bench_now();
    for (size_t i = 0; i < N; i++) {
        sleepers[i].fire = raw_fire;
        int64_t now = c->n == ARM_LATER ? bench_now() - 2000000000 : base;
        heap_add(&h, &sleepers[i], now + offsets[i]);
    }
    int64_t armed = bench_now();
    if (c->n == CANCEL) {
        for (size_t i = 0; i < N; i++) heap_remove(&h, sleepers[order[i]].index);
    } else if (c->n == FIRE) {
        int64_t now = bench_now();
        while (h.count && h.e[0].when <= now) {
            struct sleeper *s = h.e[0].s;
            heap_remove(&h, 0);
            s->fire(s);
        }
    }
    h.count = 0;
    w->ns = c->n == ARM || c->n == ARM_LATER ? armed - start : bench_now() - armed;
    w->ops = N;
}

static int aio_fire(void *arg)
{
    (void)arg;
    fired++;
    return 0;
}
static int stop_fn(void *loop)
{
    aio_loop_stop((aio_loop *)loop);
    return 0;
}
_Static_assert(sizeof(aio_handle) == sizeof(struct sleeper), "objects of one size");
static void aio(const struct bench_case *c, struct bench_window *w)
{
    static aio_handle *timers;
    static aio_loop *loop;
    aio_handle stop;
    prepare();
    if (!loop) {                        // warm: the heap's array, the ring
        loop = malloc(sizeof *loop);
        timers = aligned_alloc(64, N * sizeof *timers);
        if (!loop || !timers || aio_loop_init(loop, 0) < 0) bench_fail("aio_loop_init");
        memset((void *)timers, 0, N * sizeof *timers);
        for (size_t i = 0; i < N; i++)
            aio_call_at(loop, &timers[i], (int64_t)i, aio_fire, 0);
        for (size_t i = N; i-- > 0;) aio_handle_cancel(&timers[i]);
    }
    int64_t base = aio_loop_time(loop) - 2 * AIO_SECOND, start = bench_now();
    for (size_t i = 0; i < N; i++) {
        if (c->n == ARM_LATER)
            aio_call_later(loop, &timers[i], offsets[i], aio_fire, 0);
        else
            aio_call_at(loop, &timers[i], base + offsets[i], aio_fire, 0);
    }
    int64_t armed = bench_now();
    if (c->n == FIRE) {
        aio_call_at(loop, &stop, base + AIO_SECOND, stop_fn, loop);
        aio_loop_run_forever(loop);
    } else if (c->n == CANCEL) {
        for (size_t i = 0; i < N; i++) aio_handle_cancel(&timers[order[i]]);
    }
    int64_t done = bench_now();
    if (c->n == ARM || c->n == ARM_LATER)
        for (size_t i = N; i-- > 0;) aio_handle_cancel(&timers[i]);
    w->ns = c->n == ARM || c->n == ARM_LATER ? armed - start : done - armed;
    w->ops = N;
}

static const struct bench_case cases[] = {
    { "timers, a million: arm at a moment", "4-ary heap", "ns", raw, ARM, N },
    { "timers, a million: arm at a moment", "aio", "ns", aio, ARM, N },
    { "timers, a million: arm after a time", "4-ary heap", "ns", raw, ARM_LATER, N },
    { "timers, a million: arm after a time", "aio", "ns", aio, ARM_LATER, N },
    { "timers, a million: cancel", "4-ary heap", "ns", raw, CANCEL, N },
    { "timers, a million: cancel", "aio", "ns", aio, CANCEL, N },
    { "timers, a million: fire", "4-ary heap", "ns", raw, FIRE, N },
    { "timers, a million: fire", "aio", "ns", aio, FIRE, N },
};
BENCH_MAIN(cases)
