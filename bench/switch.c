// switch.c - what does one task switch through the ready queue cost?
// SPDX-License-Identifier: MIT
//
// N tasks give way in turn. The limit is written by hand: 64-byte tasks, a function pointer, a
// switch on the state, a ring for a run queue. There the scheduler puts a task back ("sm-ring"), or
// the task does so itself as in any library ("sm-push"). "random": memory order is not run order.
#include "bench.h"

#include "aio_loop.h"

static bool over;       // looked at by every task in every step, in all variants

// --- by hand
struct sm {
    int (*step)(struct sm *);
    int state;
    uint64_t count;
    char rest[40];
};
_Static_assert(sizeof(struct sm) == 64, "one cache line");
static struct sm **ring;
static uint32_t ring_head, ring_tail, ring_mask;

static void ring_make(uint32_t n)
{
    uint32_t size = 16;
    while (size < n + 1) size *= 2;
    ring = malloc(size * sizeof *ring);
    if (!ring) bench_fail("malloc");
    ring_mask = size - 1;
    ring_head = ring_tail = 0;
}
static void ring_push(struct sm *t) { ring[ring_tail++ & ring_mask] = t; }
static __attribute__((noinline)) int sm_step(struct sm *t)
{
    switch (t->state) {
    case 0:
        while (!over) {
            t->count++;
            t->state = 1;
            return 1;
    case 1:;
        }
    }
    return 0;
}
static __attribute__((noinline)) int sm_step_push(struct sm *t)
{
    switch (t->state) {
    case 0:
        while (!over) {
            t->count++;
            t->state = 1;
            ring_push(t);
            return 1;
    case 1:;
        }
    }
    return 0;
}
static struct sm *sm_make(uint32_t n, bool random, int (*step)(struct sm *))
{
    uint32_t *order = random ? bench_shuffled(n) : 0;
    struct sm *tasks = aligned_alloc(64, n * sizeof *tasks);
    if (!tasks) bench_fail("aligned_alloc");
    memset(tasks, 0, n * sizeof *tasks);
    ring_make(n);
    for (uint32_t i = 0; i < n; i++) {
        tasks[i].step = step;
        ring_push(&tasks[order ? order[i] : i]);
    }
    free(order);
    over = false;
    return tasks;
}
static void sm_ring(const struct bench_case *c, struct bench_window *w)
{
    uint32_t n = (uint32_t)(c->n < 0 ? -c->n : c->n);
    struct sm *tasks = sm_make(n, c->n < 0, sm_step);
    for (uint32_t i = 0; i < 2 * n; i++) {      // warm
        struct sm *t = ring[ring_head++ & ring_mask];
        if (t->step(t)) ring_push(t);
    }
    int64_t start = bench_now();
    for (int64_t i = 0; i < w->ops; i++) {
        struct sm *t = ring[ring_head++ & ring_mask];
        if (t->step(t)) ring_push(t);
    }
    w->ns = bench_now() - start;
    free(tasks);
    free(ring);
}
static void sm_push(const struct bench_case *c, struct bench_window *w)
{
    uint32_t n = (uint32_t)(c->n < 0 ? -c->n : c->n);
    struct sm *tasks = sm_make(n, c->n < 0, sm_step_push);
    for (uint32_t i = 0; i < 2 * n; i++) {
        struct sm *t = ring[ring_head++ & ring_mask];
        t->step(t);
    }
    int64_t start = bench_now();
    for (int64_t i = 0; i < w->ops; i++) {
        struct sm *t = ring[ring_head++ & ring_mask];
        t->step(t);
    }
    w->ns = bench_now() - start;
    free(tasks);
    free(ring);
}

// --- aio
struct give_way {
    aio_frame aio;
    uint64_t count;
};
aio_async(give_way)
{
    while (!over) {
        self->count++;
        aio_await(aio_next_turn());
    }
    return 0;
} aio_end

// In the loop one of the tasks ends the run.
struct stopper {
    aio_frame aio;
    uint64_t left;
    aio_loop *loop;
};
aio_async(stopper)
{
    while (self->left--) aio_await(aio_next_turn());
    aio_loop_stop(self->loop);
    over = true;
    return 0;
} aio_end

typedef aio_slot(give_way) give_way_slot;
static void spawn_all(aio_loop *loop, give_way_slot *slots, uint32_t n, bool random)
{
    uint32_t *order = random ? bench_shuffled(n) : 0;
    over = false;
    for (uint32_t i = 0; i < n; i++) {
        if (random) aio_detach(aio_spawn_in(&slots[order[i]], give_way));
        else aio_detach(aio_spawn_on(loop, give_way));
    }
    free(order);
}
// The executor's turns alone, as a program without time would run them.
static void executor(const struct bench_case *c, struct bench_window *w)
{
    uint32_t n = (uint32_t)(c->n < 0 ? -c->n : c->n);
    aio_loop *loop = malloc(sizeof *loop);
    give_way_slot *slots = c->n < 0 ? calloc(n, sizeof *slots) : 0;
    if (!loop || aio_loop_init(loop, 0) < 0) bench_fail("aio_loop_init");
    aio_executor *x = &loop->executor;
    aio__running_executor = x;          // aio_spawn_in has no form that names a loop
    spawn_all(loop, slots, n, c->n < 0);
    aio__running_executor = 0;
    aio_executor_turn(x);
    aio_executor_turn(x);
    int64_t turns = (w->ops + n - 1) / n, start = bench_now();
    for (int64_t i = 0; i < turns; i++) aio_executor_turn(x);
    w->ns = bench_now() - start;
    w->ops = turns * n;
    over = true;
    aio_executor_turn(x);
    aio_loop_close(loop);
    free(slots);
    free(loop);
}
// Whole turns of the event loop, with its look at timers, other threads and the world.
static void whole_loop(const struct bench_case *c, struct bench_window *w)
{
    uint32_t n = (uint32_t)c->n;
    aio_loop *loop = malloc(sizeof *loop);
    if (!loop || aio_loop_init(loop, 0) < 0) bench_fail("aio_loop_init");
    spawn_all(loop, 0, n - 1, false);
    int64_t turns = (w->ops + n - 1) / n + 2;
    aio_detach(aio_spawn_on(loop, stopper, .left = (uint64_t)turns, .loop = loop));
    int64_t start = bench_now();
    if (aio_loop_run_forever(loop) < 0) bench_fail("aio_loop_run_forever");
    w->ns = bench_now() - start;
    w->ops = turns * n;
    aio_executor_turn(&loop->executor);
    aio_loop_close(loop);
    free(loop);
}

#define QUESTION(text, n)                                                                          \
    { "switch, " text, "sm-ring", "ns", sm_ring, n, 0 },                                           \
    { "switch, " text, "sm-push", "ns", sm_push, n, 0 },                                           \
    { "switch, " text, "aio", "ns", executor, n, 0 }
static const struct bench_case cases[] = {
    QUESTION("2 tasks", 2),
    { "switch, 2 tasks", "aio, loop turns", "ns", whole_loop, 2, 0 },
    QUESTION("64 tasks", 64),
    { "switch, 64 tasks", "aio, loop turns", "ns", whole_loop, 64, 0 },
    QUESTION("1000 tasks", 1000),
    QUESTION("1000 tasks, random order", -1000),
    QUESTION("100000 tasks", 100000),
    QUESTION("100000 tasks, random order", -100000),
};
BENCH_MAIN(cases)
