// nested.c - what does a nested call cost, and what a resume deep below many calls?
// SPDX-License-Identifier: MIT
//
// nested: the parent awaits a child that finishes at once; by hand the child's state is a member of
// the parent's, and its step a C call. deep: the leaf of a chain gives way again and again; by hand
// the queue holds the leaf itself ("leaf"), or the root, which calls down again ("re-descend", as
// most protothread libraries do).
#include "bench.h"

#include "aio_loop.h"

static bool over;
static uint64_t left;       // calls still to make

// --- by hand
struct child_sm {
    int state;
    uint64_t n;
};
struct parent_sm {
    int state;
    uint64_t sum;
    struct child_sm child;
};
static __attribute__((noinline)) int child_step(struct child_sm *c, int64_t *result)
{
    switch (c->state) {
    case 0:
        if (over) {             // never: but it could suspend
            c->state = 1;
            return 1;
        }
        *result = (int64_t)c->n + 1;
    }
    return 0;
}
static __attribute__((noinline)) int parent_step(struct parent_sm *p)
{
    int64_t result;
    switch (p->state) {
    case 0:
        while (left--) {
            p->child.state = 0;
            p->child.n = p->sum;
            p->state = 1;
            /* fall through */
    case 1:
            if (child_step(&p->child, &result)) return 1;
            p->sum = (uint64_t)result;
        }
    }
    return 0;
}
static void sm_nested(const struct bench_case *c, struct bench_window *w)
{
    struct parent_sm p = { 0 };
    (void)c;
    left = (uint64_t)w->ops;
    over = false;
    int64_t start = bench_now();
    parent_step(&p);
    w->ns = bench_now() - start;
}

struct level {
    int (*step)(struct level *);
    int state;
    uint64_t count;
    struct level *below;
};
static struct level *queue[16];
static uint32_t queue_head, queue_tail;
static __attribute__((noinline)) int leaf_step(struct level *l)
{
    switch (l->state) {
    case 0:
        while (!over) {
            l->count++;
            l->state = 1;
            return 1;
    case 1:;
        }
    }
    return 0;
}
static __attribute__((noinline)) int inner_step(struct level *l)
{
    switch (l->state) {
    case 0:
        l->state = 1;
        /* fall through */
    case 1:
        if (l->below->step(l->below)) return 1;
    }
    return 0;
}
static void sm_deep(const struct bench_case *c, struct bench_window *w)
{
    bool descend = c->n < 0;
    size_t depth = (size_t)(descend ? -c->n : c->n);
    struct level *levels = calloc(depth, sizeof *levels);
    if (!levels) bench_fail("calloc");
    for (size_t i = 0; i < depth; i++) {
        levels[i].step = i + 1 < depth ? inner_step : leaf_step;
        levels[i].below = &levels[i + 1];
    }
    over = false;
    queue_head = queue_tail = 0;
    queue[queue_tail++ & 15] = descend ? levels : &levels[depth - 1];
    int64_t start = bench_now();
    for (int64_t i = 0; i < w->ops; i++) {
        struct level *l = queue[queue_head++ & 15];
        if (l->step(l)) queue[queue_tail++ & 15] = l;
    }
    w->ns = bench_now() - start;
    free(levels);
}

// --- aio
struct child {
    aio_frame aio;
    uint64_t n;
};
aio_async(child)
{
    if (over) aio_await(aio_next_turn());
    return (aio_result)self->n + 1;
} aio_end

struct parent {
    aio_frame aio;
    uint64_t sum;
    struct child child;
    aio_loop *loop;
};
aio_async(parent)
{
    while (left--) {
        aio_result result;
        aio_await(result, aio_call(&self->child, child, .n = self->sum));
        self->sum = (uint64_t)result;
    }
    aio_loop_stop(self->loop);
    return 0;
} aio_end

// Its callee is in the storage after it.
struct deep {
    aio_frame aio;
    uint64_t below, count;
};
aio_async(deep)
{
    if (self->below) {
        aio_await(aio_call(self + 1, deep, .below = self->below - 1));
        return 0;
    }
    while (left--) {
        self->count++;
        aio_await(aio_next_turn());
    }
    aio_loop_stop(aio_running_loop());
    return 0;
} aio_end

static struct deep *storage;
struct root {
    aio_frame aio;
    uint64_t depth;
};
aio_async(root)
{
    if (self->depth > 1) {
        aio_await(aio_call(storage, deep, .below = self->depth - 2));
        return 0;
    }
    while (left--) aio_await(aio_next_turn());
    aio_loop_stop(aio_running_loop());
    return 0;
} aio_end

static void aio_nested(const struct bench_case *c, struct bench_window *w)
{
    aio_loop loop;
    (void)c;
    if (aio_loop_init(&loop, 0) < 0) bench_fail("aio_loop_init");
    left = (uint64_t)w->ops;
    over = false;
    aio_detach(aio_spawn_on(&loop, parent, .loop = &loop));
    int64_t start = bench_now();
    aio_loop_run_forever(&loop);
    w->ns = bench_now() - start;
    aio_loop_close(&loop);
}
static void aio_deep(const struct bench_case *c, struct bench_window *w)
{
    aio_loop loop;
    if (aio_loop_init(&loop, 0) < 0) bench_fail("aio_loop_init");
    storage = malloc(sizeof *storage * (size_t)c->n);
    if (!storage) bench_fail("malloc");
    left = (uint64_t)w->ops + 1;
    over = false;
    aio_detach(aio_spawn_on(&loop, root, .depth = (uint64_t)c->n));
    aio_executor_turn(&loop.executor);          // goes down
    int64_t start = bench_now();
    aio_loop_run_forever(&loop);
    w->ns = bench_now() - start;
    aio_loop_close(&loop);
    free(storage);
}

static const struct bench_case cases[] = {
    { "nested call that does not suspend", "embedded by hand", "ns", sm_nested, 0, 0 },
    { "nested call that does not suspend", "aio", "ns", aio_nested, 0, 0 },
    { "resume, 1 deep", "leaf by hand", "ns", sm_deep, 1, 0 },
    { "resume, 1 deep", "aio", "ns", aio_deep, 1, 0 },
    { "resume, 100 deep", "leaf by hand", "ns", sm_deep, 100, 0 },
    { "resume, 100 deep", "re-descend by hand", "ns", sm_deep, -100, 0 },
    { "resume, 100 deep", "aio", "ns", aio_deep, 100, 0 },
    { "resume, 1000 deep", "leaf by hand", "ns", sm_deep, 1000, 0 },
    { "resume, 1000 deep", "re-descend by hand", "ns", sm_deep, -1000, 0 },
    { "resume, 1000 deep", "aio", "ns", aio_deep, 1000, 0 },
};
BENCH_MAIN(cases)
