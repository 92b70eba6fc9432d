// spawn.c - what does a task cost from birth to death, once memory is warm?
// SPDX-License-Identifier: MIT
//
// Spawn, run to the end, free: one at a time, and 1000 at a time; with a small frame, with 4 KiB of
// buffer (zeroed, and left alone), and in the caller's own storage. The limit is a state machine by
// hand with a free list and a ring; also with malloc.
#include "bench.h"

#include "aio_loop.h"

enum { BATCH = 1000 };
static uint64_t sum;        // each task adds its argument: work that cannot be left out

// --- by hand
struct sm {
    void (*step)(struct sm *);
    struct sm *next;
    uint64_t n;
    char rest[40];
};
struct sm_large {
    struct sm sm;
    char buffer[4096];
};
static struct sm *ring[1024];
static uint32_t ring_head, ring_tail;
static struct sm *free_small, *free_large;

static void ring_push(struct sm *t) { ring[ring_tail++ & 1023] = t; }
static void ring_run(void)
{
    while (ring_head != ring_tail) {
        struct sm *t = ring[ring_head++ & 1023];
        t->step(t);
    }
}
static struct sm *take(struct sm **list, size_t size)
{
    struct sm *t = *list;
    if (!t) {
        t = aligned_alloc(64, size);
        if (!t) bench_fail("aligned_alloc");
        return t;
    }
    *list = t->next;
    return t;
}
static void give(struct sm **list, struct sm *t)
{
    t->next = *list;
    *list = t;
}
static void sm_end(struct sm *t)
{
    sum += t->n;
    give(&free_small, t);
}
static void sm_end_large(struct sm *t)
{
    sum += t->n;
    give(&free_large, t);
}
static void sm_end_free(struct sm *t)
{
    sum += t->n;
    free(t);
}
static void sm_end_slot(struct sm *t) { sum += t->n; }
static void sm_start(struct sm *t, void (*step)(struct sm *), uint64_t n)
{
    BENCH_HIDE(step);
    t->step = step;
    t->n = n;
    ring_push(t);
}
static void sm_list(const struct bench_case *c, struct bench_window *w)
{
    int64_t batch = c->n, start = bench_now();
    for (int64_t i = 0; i < w->ops; i += batch) {
        for (int64_t k = 0; k < batch; k++)
            sm_start(take(&free_small, sizeof(struct sm)), sm_end, (uint64_t)k);
        ring_run();
    }
    w->ns = bench_now() - start;
    w->ops = (w->ops + batch - 1) / batch * batch;
}
static void sm_malloc(const struct bench_case *c, struct bench_window *w)
{
    int64_t batch = c->n, start = bench_now();
    for (int64_t i = 0; i < w->ops; i += batch) {
        for (int64_t k = 0; k < batch; k++) {
            struct sm *t = malloc(sizeof *t);
            if (!t) bench_fail("malloc");
            sm_start(t, sm_end_free, (uint64_t)k);
        }
        ring_run();
    }
    w->ns = bench_now() - start;
    w->ops = (w->ops + batch - 1) / batch * batch;
}
static void sm_slot(const struct bench_case *c, struct bench_window *w)
{
    struct sm slot;
    int64_t start = bench_now();
    (void)c;
    for (int64_t i = 0; i < w->ops; i++) {
        sm_start(&slot, sm_end_slot, (uint64_t)i);
        ring_run();
    }
    w->ns = bench_now() - start;
}
static void sm_large(const struct bench_case *c, struct bench_window *w)
{
    int64_t start = bench_now();
    for (int64_t i = 0; i < w->ops; i++) {
        struct sm_large *t = (struct sm_large *)(void *)take(&free_large, sizeof *t);
        if (c->n) memset(t->buffer, 0, sizeof t->buffer);
        sm_start(&t->sm, sm_end_large, (uint64_t)i);
        ring_run();
    }
    w->ns = bench_now() - start;
}

// --- aio
struct small {
    aio_frame aio;
    uint64_t n;
};
aio_async(small)
{
    sum += self->n;
    return 0;
} aio_end

struct zeroed {
    aio_frame aio;
    uint64_t n;
    char buffer[4096];
};
aio_async(zeroed)
{
    sum += self->n;
    return 0;
} aio_end

struct scratch {
    aio_frame aio;
    uint64_t n;
    char buffer[4096];
};
aio_scratch(scratch, buffer);
aio_async(scratch)
{
    sum += self->n;
    return 0;
} aio_end

static aio_loop *loop_new(void)
{
    aio_loop *loop = malloc(sizeof *loop);
    if (!loop || aio_loop_init(loop, 0) < 0) bench_fail("aio_loop_init");
    return loop;
}
static void loop_free(aio_loop *loop)
{
    aio_loop_close(loop);
    free(loop);
}
static void aio_small(const struct bench_case *c, struct bench_window *w)
{
    aio_loop *loop = loop_new();
    int64_t batch = c->n, start = 0;
    for (int64_t i = -2 * batch; i < w->ops; i += batch) {
        if (i == 0) start = bench_now();        // two batches to warm up
        for (int64_t k = 0; k < batch; k++)
            aio_detach(aio_spawn_on(loop, small, .n = (uint64_t)k));
        aio_executor_turn(&loop->executor);
    }
    w->ns = bench_now() - start;
    w->ops = (w->ops + batch - 1) / batch * batch;
    loop_free(loop);
}
static void aio_slots(const struct bench_case *c, struct bench_window *w)
{
    aio_loop *loop = loop_new();
    aio_slot(small) slot;
    (void)c;
    memset((void *)&slot, 0, sizeof slot);
    aio__running_executor = &loop->executor;    // aio_spawn_in has no form that names a loop
    int64_t start = bench_now();
    for (int64_t i = 0; i < w->ops; i++) {
        aio_detach(aio_spawn_in(&slot, small, .n = (uint64_t)i));
        aio_executor_turn(&loop->executor);
    }
    w->ns = bench_now() - start;
    aio__running_executor = 0;
    loop_free(loop);
}
static void aio_large(const struct bench_case *c, struct bench_window *w)
{
    aio_loop *loop = loop_new();
    int64_t start = 0;
    for (int64_t i = -2; i < w->ops; i++) {
        if (i == 0) start = bench_now();
        if (c->n) aio_detach(aio_spawn_on(loop, zeroed, .n = (uint64_t)i));
        else aio_detach(aio_spawn_on(loop, scratch, .n = (uint64_t)i));
        aio_executor_turn(&loop->executor);
    }
    w->ns = bench_now() - start;
    loop_free(loop);
}

static const struct bench_case cases[] = {
    { "spawn, one at a time", "free list", "ns", sm_list, 1, 0 },
    { "spawn, one at a time", "malloc", "ns", sm_malloc, 1, 0 },
    { "spawn, one at a time", "aio", "ns", aio_small, 1, 0 },
    { "spawn, 1000 at a time", "free list", "ns", sm_list, BATCH, 0 },
    { "spawn, 1000 at a time", "malloc", "ns", sm_malloc, BATCH, 0 },
    { "spawn, 1000 at a time", "aio", "ns", aio_small, BATCH, 0 },
    { "spawn, in the caller's slot", "caller's storage", "ns", sm_slot, 1, 0 },
    { "spawn, in the caller's slot", "aio", "ns", aio_slots, 1, 0 },
    { "spawn, 4 KiB frame, not zeroed", "free list", "ns", sm_large, 0, 0 },
    { "spawn, 4 KiB frame, not zeroed", "aio (aio_scratch)", "ns", aio_large, 0, 0 },
    { "spawn, 4 KiB frame, zeroed", "free list", "ns", sm_large, 1, 0 },
    { "spawn, 4 KiB frame, zeroed", "aio", "ns", aio_large, 1, 0 },
};
BENCH_MAIN(cases)
