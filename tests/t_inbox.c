// Callbacks from other threads: rule L-14. Also for the thread sanitizer.
#include "core.h"

#include <pthread.h>
#include <sched.h>

enum { THREADS = 4, CALLS = 20000, WINDOW = 64 };

// Each thread owns a window of handles; a handle is free again once its callback has run.
struct sender;
struct call { aio_handle h; struct sender *from; unsigned number; int busy; };
struct sender {
    pthread_t thread;
    aio_loop *loop;
    struct call calls[WINDOW];
    unsigned received;          // the owner's: the next number it expects
    unsigned calls_wanted;
    bool naps;
};
static struct sender senders[THREADS];
static unsigned long total, wanted;
static aio_loop *stop_when_done;

static int receive(void *arg)
{
    struct call *c = (struct call *)arg;
    if (c->number != c->from->received++) fail_msg("number %u is out of order", c->number);
    if (++total == wanted && stop_when_done) aio_loop_stop(stop_when_done);
    __atomic_store_n(&c->busy, 0, __ATOMIC_RELEASE);
    return 0;
}
static void *send_all(void *arg)
{
    struct sender *s = (struct sender *)arg;
    for (unsigned i = 0; i < s->calls_wanted; i++) {
        struct call *c = &s->calls[i % WINDOW];
        while (__atomic_load_n(&c->busy, __ATOMIC_ACQUIRE)) sched_yield();
        __atomic_store_n(&c->busy, 1, __ATOMIC_RELAXED);
        c->from = s;
        c->number = i;
        if (aio_call_soon_threadsafe(s->loop, &c->h, receive, c) < 0) return (void *)1;
        if (s->naps && i % 16 == 0) usleep(50);         // lets the loop fall asleep
    }
    return NULL;
}
static void send_from_threads(unsigned each, bool naps)
{
    memset(senders, 0, sizeof senders);
    total = 0;
    wanted = (unsigned long)each * THREADS;
    for (int i = 0; i < THREADS; i++) {
        senders[i].loop = &core.loop;
        senders[i].calls_wanted = each;
        senders[i].naps = naps;
        assert_int_equal(pthread_create(&senders[i].thread, NULL, send_all, &senders[i]), 0);
    }
}
static void threads_ended_well(void)
{
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(senders[i].thread, &failed);
        assert_null(failed);
    }
}
static int setup(void **state)
{
    (void)state;
    memset(&core, 0, sizeof core);
    struct aio_loop_options o = core_options(AIO_CLOCK_MONOTONIC);
    stop_when_done = &core.loop;
    return aio_loop_init(&core.loop, &o) < 0;
}
#define inbox_test(f) cmocka_unit_test_setup_teardown(f, setup, core_teardown)

// A watchdog: a lost wake-up would hang for ever.
static int gave_up(void *arg)
{
    aio_loop_stop((aio_loop *)arg);
    return -ETIMEDOUT;
}
static void run_until_all_came(void)
{
    aio_handle watchdog;
    aio_call_later(&core.loop, &watchdog, 60 * AIO_SECOND, gave_up, &core.loop);
    assert_result(aio_loop_run_forever(&core.loop), 0);
    aio_handle_cancel(&watchdog);
    assert_result(total, wanted);
    assert_reports("");
}
static void L_14_four_threads_in_order_and_none_lost(void **state)
{
    (void)state;
    send_from_threads(CALLS, false);
    run_until_all_came();
    threads_ended_well();
}
static void L_14_no_wake_up_is_lost(void **state)
{
    (void)state;
    send_from_threads(2000, true);
    run_until_all_came();
    threads_ended_well();
    total = 0;
    wanted = 1;
    for (int i = 0; i < 3000; i++) {                    // one call at a time into a sleeping loop
        senders[0] = (struct sender) { .loop = &core.loop, .calls_wanted = 1 };
        total = 0;
        if (i % 100) {                                  // from this thread: before the loop sleeps
            send_all(&senders[0]);
            run_until_all_came();
            continue;
        }
        assert_int_equal(pthread_create(&senders[0].thread, NULL, send_all, &senders[0]), 0);
        run_until_all_came();
        pthread_join(senders[0].thread, NULL);
    }
}
// The loop has other things to do as well.
struct worker { aio_frame aio; bool *over; };
aio_async(worker) {
    while (!*self->over) {
        aio_try(aio_sleep(10 * AIO_USEC));
        aio_try(aio_next_turn());
    }
    return 0;
} aio_end
static void L_14_L_6_among_tasks_and_timers(void **state)
{
    (void)state;
    bool over = false;
    aio_task *t = core_spawn(worker, .over = &over);
    send_from_threads(5000, true);
    run_until_all_came();
    over = true;
    assert_result(aio_loop_run_until_complete(&core.loop, t), 0);
    aio_detach(t);
    threads_ended_well();
}

// Threads go on calling while the loop is closed under them: 0 or -EBADFD, and nothing else.
static int closing_received;
static int receive_any(void *arg)
{
    (void)arg;
    closing_received++;
    return 0;
}
static void *send_until_closed(void *arg)
{
    aio_handle *handles = (aio_handle *)calloc(100000, sizeof *handles);
    aio_result r = 0;
    (void)arg;
    if (!handles) return (void *)1;
    for (int i = 0; i < 100000 && r >= 0; i++) {
        r = aio_call_soon_threadsafe(&core.loop, &handles[i], receive_any, NULL);
        sched_yield();
    }
    while (r >= 0) { // out of handles: one more, when it is closed
        aio_handle late;
        usleep(1000);
        pthread_mutex_lock(&core.loop.mailbox.lock);
        bool closed = core.loop.mailbox.closed;
        pthread_mutex_unlock(&core.loop.mailbox.lock);
        if (closed) r = aio_call_soon_threadsafe(&core.loop, &late, receive_any, NULL);
    }
    free(handles);
    return r == -EBADFD ? NULL : (void *)1;
}
static void L_14_L_12_closed_under_the_callers(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        pthread_t threads[THREADS];
        closing_received = 0;
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, send_until_closed, NULL), 0);
        for (int turn = 0; turn < round * 50; turn++) core_turn();
        assert_result(aio_loop_close(&core.loop), 0);
        for (int i = 0; i < THREADS; i++) {
            void *failed;
            pthread_join(threads[i], &failed);
            assert_null(failed);
        }
        assert_result(core.memory.blocks, 0);
        aio_handle h;
        assert_result(aio_call_soon_threadsafe(&core.loop, &h, receive_any, NULL), -EBADFD);
        assert_result(setup(NULL), 0);
    }
}
// The loop is closed with handles in its inbox: they are the callers' again.
static void L_12_handles_in_the_inbox_of_a_closed_loop(void **state)
{
    (void)state;
    aio_handle a, b;
    assert_result(aio_call_soon_threadsafe(&core.loop, &a, receive_any, NULL), 0);
    assert_result(aio_call_soon_threadsafe(&core.loop, &b, receive_any, NULL), 0);
    closing_received = 0;
    assert_result(aio_loop_close(&core.loop), 0);
    aio_handle_cancel(&a);
    assert_result(setup(NULL), 0);
    assert_result(aio_call_soon_threadsafe(&core.loop, &a, receive_any, NULL), 0);
    core_turn();
    assert_result(closing_received, 1);
}

// All slots are promised to tasks that wait, and there is no memory: calls still come in, one a
// turn.
struct waits { aio_frame aio; aio_future *f; };
aio_async(waits) { aio_try(aio_future_wait(self->f)); return 0; } aio_end
static int sets(void *arg)
{
    aio_future_set_result((aio_future *)arg, 1);
    return receive_any(arg);
}
static void L_14_without_memory(void **state)
{
    (void)state;
    aio_future f = { 0 };
    aio_handle h[5];
    aio_task *t[64];
    int n = 0;
    core_turn();
    core.memory.fail_from = core.memory.calls + 3;      // two slabs, and no larger ring
    do t[n] = core_spawn(waits, .f = &f);
    while (!aio_task_done(t[n++]));
    assert_result(aio_task_result(t[--n]), -ENOMEM);
    core_turn();
    assert_result(core.loop.executor.slots, core.loop.executor.limit);
    closing_received = 0;
    for (int i = 0; i < 5; i++)
        assert_result(aio_call_soon_threadsafe(&core.loop, &h[i], i == 4 ? sets : receive_any, &f),
                      0);
    for (int i = 1; i <= 5; i++) {
        core_turn();
        assert_result(closing_received, i);
    }
    core_turn();
    for (int i = 0; i < n; i++) {
        assert_result(aio_task_result(t[i]), 0);
        aio_detach(t[i]);
    }
    assert_result(core.loop.executor.slots, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        inbox_test(L_14_four_threads_in_order_and_none_lost),
        inbox_test(L_14_no_wake_up_is_lost),
        inbox_test(L_14_L_6_among_tasks_and_timers),
        inbox_test(L_14_L_12_closed_under_the_callers),
        inbox_test(L_12_handles_in_the_inbox_of_a_closed_loop),
        inbox_test(L_14_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
