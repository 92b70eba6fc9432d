// Calls that take part in n things, at n and at 4n; cost.sh counts their instructions.
#include "aio_loop.h"

#include <valgrind/callgrind.h>

enum { MOST = 4096, MOST_ITEMS = 16384 };     // a priority queue has its 64 rings by 4096 items
static aio_loop loop;
static unsigned n;
static volatile unsigned work;
static aio_task *tasks[MOST];
static aio_handle handles[MOST];
static aio_future future;
static aio_callback callbacks[MOST];
static uint32_t items[MOST_ITEMS];

struct returns { aio_frame aio; };
aio_async(returns) { aio_try(aio_next_turn()); return 0; } aio_end
struct sleeps { aio_frame aio; int64_t ns; };
aio_async(sleeps) { aio_try(aio_sleep(self->ns)); return 0; } aio_end
struct locks { aio_frame aio; aio_lock *lock; };
aio_async(locks) {
    aio_try(aio_lock_acquire(self->lock));
    aio_try(aio_next_turn());
    return aio_lock_release(self->lock);
} aio_end

static int nothing(void *arg) { (void)arg; return 0; }
static int nothing_done(aio_future *f, void *arg) { (void)f; (void)arg; return 0; }
static int by_value(const void *a, const void *b, void *context)
{
    (void)context;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}
static void run_all(void)
{
    for (unsigned i = 0; i < n; i++) {
        (void)aio_loop_run_until_complete(&loop, tasks[i]);
        aio_detach(tasks[i]);
    }
}
static void spawn_and_run(void)
{
    for (unsigned i = 0; i < n; i++) tasks[i] = aio_spawn_on(&loop, returns);
    run_all();
}
static void sleep_and_run(void)
{
    for (unsigned i = 0; i < n; i++)
        tasks[i] = aio_spawn_on(&loop, sleeps, .ns = 1 + i * 7919 % n);
    run_all();
}
static void cancel_sleepers(void)
{
    for (unsigned i = 0; i < n; i++) tasks[i] = aio_spawn_on(&loop, sleeps, .ns = AIO_SECOND + i);
    aio_loop_stop(&loop);
    (void)aio_loop_run_forever(&loop);
    for (unsigned i = 0; i < n; i++) aio_task_cancel(tasks[i * 7 % n]);
    run_all();
}
static void one_lock(void)
{
    static aio_lock lock;
    for (unsigned i = 0; i < n; i++) tasks[i] = aio_spawn_on(&loop, locks, .lock = &lock);
    run_all();
}
static void timers_taken_back(void)
{
    for (unsigned i = 0; i < n; i++) aio_call_later(&loop, &handles[i], 1000 + i, nothing, NULL);
    for (unsigned i = 0; i < n; i++) aio_handle_cancel(&handles[i]);
}
static void calls_taken_back(void)
{
    for (unsigned i = 0; i < n; i++) aio_call_soon(&loop, &handles[i], nothing, NULL);
    for (unsigned i = 0; i < n; i++) aio_handle_cancel(&handles[n - 1 - i]);
    aio_loop_stop(&loop);
    (void)aio_loop_run_forever(&loop);
}
static void calls_from_threads(void)
{
    for (unsigned i = 0; i < n; i++)
        aio_call_soon_threadsafe(&loop, &handles[i], nothing, NULL);
    for (unsigned i = 0; i < n; i += 2) aio_handle_cancel(&handles[i]);
    aio_loop_stop(&loop);
    (void)aio_loop_run_forever(&loop);
}
static void callbacks_of_one_future(void)
{
    for (unsigned i = 0; i < n; i++)
        aio_future_add_done_callback(&future, &callbacks[i], nothing_done, NULL);
    (void)aio_future_remove_done_callback(&future, nothing_done, NULL);
}
static void queue_of(int (*compare)(const void *, const void *, void *))
{
    aio_queue q;
    if (aio_queue_init(&q, items, sizeof items[0], n, 0, compare, NULL) < 0) abort();
    for (uint32_t i = 0; i < n; i++) {
        uint32_t item = i * 7919 % n;
        (void)aio_queue_put_nowait(&q, &item);
    }
    for (uint32_t i = 0, item; i < n; i++) (void)aio_queue_get_nowait(&q, &item);
}
static void queue(void) { queue_of(NULL); }
static void priority_queue(void) { queue_of(by_value); }
// The control, which must be found out.
static void quadratic(void)
{
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < n; k++) work++;
}
static const struct { const char *name; void (*run)(void); unsigned most; } cases[] = {
    { "quadratic, the control", quadratic, MOST },
    { "spawn and run", spawn_and_run, MOST },
    { "sleep and run", sleep_and_run, MOST },
    { "cancel tasks that sleep", cancel_sleepers, MOST },
    { "one lock for all", one_lock, MOST },
    { "aio_call_later, cancelled", timers_taken_back, MOST },
    { "aio_call_soon, cancelled from behind", calls_taken_back, MOST },
    { "aio_call_soon_threadsafe, every other one cancelled", calls_from_threads, MOST },
    { "callbacks of one future, removed", callbacks_of_one_future, MOST },
    { "queue", queue, MOST },
    { "priority queue", priority_queue, MOST_ITEMS },
};
int main(void)
{
    struct aio_loop_options o = { 0 };
    o.clock = AIO_CLOCK_VIRTUAL;
    if (aio_loop_init(&loop, &o) < 0) return 1;
    future.loop = &loop.executor;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (n = cases[i].most / 4; n <= cases[i].most; n *= 4) {
            cases[i].run();                 // what it keeps is there
            CALLGRIND_ZERO_STATS;
            cases[i].run();
            CALLGRIND_DUMP_STATS_AT(cases[i].name);
        }
    }
    return aio_loop_close(&loop) < 0;
}
