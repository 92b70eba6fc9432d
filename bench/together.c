// together.c - what do locks, queues, groups and limits cost? Made for bench/instructions.sh.
// SPDX-License-Identifier: MIT
//
// Tasks of one loop, no ring, and nothing by hand beside them. "one turn of one task" and "spawn
// and join" are there to be subtracted: the others go through turns and make tasks too.
#include "bench.h"

#include "aio_loop.h"

#define HOUR (3600 * AIO_SECOND)

static aio_loop loop;
static int64_t left;        // operations still to do
static int running;         // tasks that have not ended
static aio_result failed;
static aio_lock lock;
static aio_event events[2];
static aio_queue queue;
static uint64_t place, put, got;
static int64_t counts[2];   // operations of each of two tasks

static aio_result leave(aio_result r)
{
    if (r < 0) failed = r;
    if (!--running || r < 0) aio_loop_stop(&loop);
    return 0;
}
static void begin(const struct bench_window *w, int tasks)
{
    if (aio_loop_init(&loop, 0) < 0) bench_fail("aio_loop_init");
    left = w->ops;
    running = tasks;
    failed = 0;
}
static void finish(struct bench_window *w)
{
    int64_t start = bench_now();
    aio_result r = aio_loop_run_forever(&loop);
    w->ns = bench_now() - start;
    if (r >= 0) r = failed;
    if (r < 0 || left > 0) {
        fprintf(stderr, "together: %lld, %lld operations left\n", (long long)r, (long long)left);
        exit(1);
    }
    aio_loop_close(&loop);
}
// Two tasks took turns: each did half. Otherwise something else was measured.
static void both(const struct bench_window *w)
{
    int64_t difference = counts[0] - counts[1];
    if (difference >= -1 && difference <= 1 && counts[0] + counts[1] >= w->ops) return;
    fprintf(stderr, "together: %lld and %lld operations\n", (long long)counts[0],
            (long long)counts[1]);
    exit(1);
}

// --- to be subtracted
struct turns { aio_frame aio; };
aio_async(turns)
{
    while (left-- > 0) aio_await(aio_next_turn());
    return leave(0);
} aio_end
static void run_turns(const struct bench_case *c, struct bench_window *w)
{
    (void)c;
    begin(w, 1);
    aio_detach(aio_spawn_on(&loop, turns));
    finish(w);
}

struct job { aio_frame aio; uint64_t n; };
aio_async(job)
{
    return (aio_result)self->n;
} aio_end

struct joins { aio_frame aio; aio_result r; };
aio_async(joins)
{
    while (left-- > 0 && self->r >= 0) aio_await(self->r, aio_join(aio_spawn(job, .n = 1)));
    return leave(self->r);
} aio_end
static void run_joins(const struct bench_case *c, struct bench_window *w)
{
    (void)c;
    begin(w, 1);
    aio_detach(aio_spawn_on(&loop, joins));
    finish(w);
}

// --- lock: one waits for it whenever the other releases it
struct owner { aio_frame aio; aio_result r; int which; };
aio_async(owner)
{
    aio_await(self->r, aio_lock_acquire(&lock));
    aio_await(self->r, aio_next_turn());        // until the other one waits
    for (;;) {
        counts[self->which]++;
        self->r = aio_lock_release(&lock);
        if (self->r < 0 || left-- <= 0) break;
        aio_await(self->r, aio_lock_acquire(&lock));
        if (self->r < 0) break;
    }
    return leave(self->r);
} aio_end
static void run_lock(const struct bench_case *c, struct bench_window *w)
{
    (void)c;
    begin(w, 2);
    memset(&lock, 0, sizeof lock);
    counts[0] = counts[1] = 0;
    for (int i = 0; i < 2; i++) aio_detach(aio_spawn_on(&loop, owner, .which = i));
    finish(w);
    both(w);
}

// --- queue of one item: the one waits for room, the other for an item
struct putter { aio_frame aio; aio_result r; };
aio_async(putter)
{
    for (put = 0; left-- > 0 && self->r >= 0; put++)
        aio_await(self->r, aio_queue_put(&queue, &put));
    aio_queue_shutdown(&queue, false);
    return leave(self->r);
} aio_end
struct getter { aio_frame aio; aio_result r; uint64_t item; };
aio_async(getter)
{
    for (got = 0;; got++) {
        aio_await(self->r, aio_queue_get(&queue, &self->item));
        if (self->r < 0) break;
    }
    return leave(self->r == -ESHUTDOWN ? 0 : self->r);
} aio_end
static void run_queue(const struct bench_case *c, struct bench_window *w)
{
    (void)c;
    begin(w, 2);
    if (aio_queue_init(&queue, &place, sizeof place, 1, 0, 0, 0) < 0) bench_fail("aio_queue_init");
    aio_detach(aio_spawn_on(&loop, putter));
    aio_detach(aio_spawn_on(&loop, getter));
    finish(w);
    if (got != (uint64_t)w->ops) bench_fail("items are missing");
}

// --- group, gather
struct groups { aio_frame aio; aio_result r; aio_group group; };
aio_async(groups)
{
    while (left-- > 0 && self->r >= 0) {
        if ((self->r = aio_group_enter(&self->group)) < 0) break;
        (void)aio_group_spawn(&self->group, job, .n = 1);
        aio_await(self->r, aio_group_exit(&self->group, 0));
    }
    return leave(self->r);
} aio_end
static void run_groups(const struct bench_case *c, struct bench_window *w)
{
    (void)c;
    begin(w, 1);
    aio_detach(aio_spawn_on(&loop, groups));
    finish(w);
}

struct gathers { aio_frame aio; aio_result r; aio_task *tasks[1]; aio_result results[1]; };
aio_async(gathers)
{
    while (left-- > 0 && self->r >= 0) {
        self->tasks[0] = aio_spawn(job, .n = 1);
        aio_await(self->r, aio_gather(self->tasks, self->results, 1));
    }
    return leave(self->r);
} aio_end
static void run_gathers(const struct bench_case *c, struct bench_window *w)
{
    (void)c;
    begin(w, 1);
    aio_detach(aio_spawn_on(&loop, gathers));
    finish(w);
}

// --- limits: neither ever waits
struct scopes { aio_frame aio; aio_result r; aio_timeout limit; };
aio_async(scopes)
{
    while (left-- > 0 && self->r >= 0) {
        self->r = aio_timeout_enter(&self->limit, HOUR);
        if (self->r >= 0) self->r = aio_timeout_exit(&self->limit, 0);
    }
    return leave(self->r);
} aio_end
static void run_scopes(const struct bench_case *c, struct bench_window *w)
{
    (void)c;
    begin(w, 1);
    aio_detach(aio_spawn_on(&loop, scopes));
    finish(w);
}

struct limited { aio_frame aio; aio_result r; };
aio_async(limited)
{
    while (left-- > 0 && self->r >= 0)
        aio_await(self->r, aio_wait_for(HOUR, aio_event_wait(&events[0])));
    return leave(self->r);
} aio_end
static void run_limited(const struct bench_case *c, struct bench_window *w)
{
    (void)c;
    begin(w, 1);
    memset(events, 0, sizeof events);
    aio_event_set(&events[0]);
    aio_detach(aio_spawn_on(&loop, limited));
    finish(w);
}

// --- event: each sets the one on which the other waits, and waits on its own
struct setter { aio_frame aio; aio_result r; int which; };
aio_async(setter)
{
    if (self->which) aio_await(self->r, aio_event_wait(&events[1]));
    while (left-- > 0 && self->r >= 0) {
        counts[self->which]++;
        aio_event_clear(&events[self->which]);
        aio_event_set(&events[1 - self->which]);
        aio_await(self->r, aio_event_wait(&events[self->which]));
    }
    aio_event_set(&events[1 - self->which]);
    return leave(self->r);
} aio_end
static void run_event(const struct bench_case *c, struct bench_window *w)
{
    (void)c;
    begin(w, 2);
    memset(events, 0, sizeof events);
    counts[0] = counts[1] = 0;
    for (int i = 1; i >= 0; i--) aio_detach(aio_spawn_on(&loop, setter, .which = i));
    finish(w);
    both(w);
}

static const struct bench_case cases[] = {
    { "one turn of one task", "aio", "ns", run_turns, 0, 0 },
    { "spawn and join", "aio", "ns", run_joins, 0, 0 },
    { "lock, hand-over between two tasks", "aio", "ns", run_lock, 0, 0 },
    { "queue of one item, put and get", "aio", "ns", run_queue, 0, 0 },
    { "event, set with one waiter", "aio", "ns", run_event, 0, 0 },
    { "group of one task", "aio", "ns", run_groups, 0, 0 },
    { "gather of one task", "aio", "ns", run_gathers, 0, 0 },
    { "timeout scope, enter and exit", "aio", "ns", run_scopes, 0, 0 },
    { "wait_for around what is done", "aio", "ns", run_limited, 0, 0 },
};
BENCH_MAIN(cases)
