// Jobs on threads, and tasks spawned from other threads: rules TH-1 to TH-4. Also for the thread
// sanitizer.   TIMEOUT 1200
#include "test.h"

#include <errno.h>
#include <pthread.h>

// The header's calls go through here: a thread can be refused.
static int refuse_threads;
static int test_pthread_create(pthread_t *id, const pthread_attr_t *a, void *(*fn)(void *),
                               void *arg) {
    return refuse_threads ? EAGAIN : pthread_create(id, a, fn, arg);
}
#define pthread_create test_pthread_create
#include "aio_loop.h"
#undef pthread_create

#include "core.h"
#include "steps.h"

// --- gates: a job that runs until it is let go
struct gate {
    int running, open, ended, frees, value, delay;
};
static int get(int *n) {
    return __atomic_load_n(n, __ATOMIC_SEQ_CST);
}
static void await_value(int *n, int value) {
    while (get(n) < value) usleep(100);
}
static void add(int *n) {
    __atomic_fetch_add(n, 1, __ATOMIC_SEQ_CST);
}
static aio_result gated(void *arg) {
    struct gate *g = (struct gate *)arg;
    add(&g->running);
    await_value(&g->open, 1);
    add(&g->ended);
    return g->value;
}
static void free_gate(void *arg) {
    ((struct gate *)arg)->frees++;
}
static int quick(void *arg) {
    return *(int *)arg;
}

struct runs {
    aio_frame aio;
    struct gate *g;
    bool owned;
    aio_result r;
};
aio_async(runs) {
    if (self->owned)
        aio_await(self->r, aio_to_thread_owned(gated, self->g, free_gate));
    else
        aio_await(self->r, aio_to_thread(gated, self->g));
    say("%lld ", (long long)self->r);
    aio_result r;
    aio_await(r, aio_next_turn());
    say("%lld ", (long long)r);
    return self->r;
}
aio_end static void real_loop(unsigned threads) {
    struct aio_loop_options o = core_options(AIO_CLOCK_MONOTONIC);
    o.threads = threads;
    aio_loop_close(&core.loop);
    assert_result(aio_loop_init(&core.loop, &o), 0);
}

static int n42 = 42, minus5 = -5;
struct both {
    aio_frame aio;
};
aio_async(both) {
    aio_result r;
    aio_await(r, aio_to_thread(quick, &n42));
    assert_result(r, 42);
    aio_await(r, aio_to_thread(quick, &minus5));
    assert_result(r, -5);
    return 0;
}
aio_end static void TH_2_the_result_of_a_job(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        aio_task *t = core_spawn(both);
        assert_result(core_run(t), 0);
        aio_detach(t);
        assert_result(core.loop.in_flight, 0);
        real_loop(0);
    }
}
static void TH_1_a_queued_job_is_dropped(void **state) {
    (void)state;
    real_loop(1);
    struct gate first = {.value = 1}, queued = {.value = 2}, third = {.value = 3};
    aio_task *a = core_spawn(runs, .g = &first), *b = core_spawn(runs, .g = &queued),
             *c = core_spawn(runs, .g = &queued, .owned = true), *d = core_spawn(runs, .g = &third);
    core_turn();
    await_value(&first.running, 1);
    assert_true(aio_task_cancel(b));
    assert_true(aio_task_cancel(c));
    assert_result(queued.frees, 1);
    assert_true(aio_task_cancel(d)); // the last of the queue; another one follows
    aio_task *e = core_spawn(runs, .g = &third);
    core_turn();
    add(&first.open);
    add(&third.open);
    assert_result(core_run(b), -ECANCELED);
    assert_result(core_run(c), -ECANCELED);
    assert_result(core_run(a), 1);
    assert_result(core_run(d), -ECANCELED);
    assert_result(core_run(e), 3); // the queue is whole
    assert_result(queued.running, 0);
    assert_result(queued.frees, 1);
    core.trace[core.trace_at = 0] = 0;
    aio_detach(a);
    aio_detach(b);
    aio_detach(c);
    aio_detach(d);
    aio_detach(e);
}
static void TH_1_contract_3_the_result_of_a_running_job_stands(void **state) {
    (void)state;
    for (int uncancel = 0; uncancel < 2; uncancel++) {
        struct gate g = {.value = 9};
        aio_task *t = core_spawn(runs, .g = &g);
        core_turn();
        await_value(&g.running, 1);
        assert_true(aio_task_cancel(t));
        assert_true(aio_task_cancel(t));
        if (uncancel) assert_result(aio_task_uncancel(t), 1);
        if (uncancel) assert_result(aio_task_uncancel(t), 0);
        core_turn();
        assert_false(aio_task_done(t)); // it waits for the job
        add(&g.open);
        assert_result(core_run(t), 9);
        assert_trace(uncancel ? "9 0 " : "9 -125 "); // C-10; else it is owed
        aio_detach(t);
    }
}
static void TH_1_an_owned_job_lets_its_awaiter_go(void **state) {
    (void)state;
    real_loop(0);
    struct gate g = {.value = 9};
    aio_task *t = core_spawn(runs, .g = &g, .owned = true);
    core_turn();
    await_value(&g.running, 1);
    assert_true(aio_task_cancel(t));
    assert_result(core_run(t), -ECANCELED);
    assert_trace("-125 0 ");
    assert_result(g.frees, 0);
    assert_result(core.loop.in_flight, 1);
    add(&g.open);
    while (core.loop.in_flight) core_turn();
    assert_result(g.frees, 1); // on the loop
    aio_detach(t);
    g = (struct gate){.open = 1, .value = 4};
    t = core_spawn(runs, .g = &g, .owned = true);
    assert_result(core_run(t), 4);
    assert_result(g.frees, 1);
    assert_trace("4 0 ");
    aio_detach(t);
}
// --- the pool
struct crowd {
    int now, most, started;
};
static aio_result crowded(void *arg) {
    struct crowd *c = (struct crowd *)arg;
    int now = __atomic_add_fetch(&c->now, 1, __ATOMIC_SEQ_CST), most = get(&c->most);
    while (now > most && !__atomic_compare_exchange_n(&c->most, &most, now, false, __ATOMIC_SEQ_CST,
                                                      __ATOMIC_SEQ_CST)) {
    }
    usleep(300);
    __atomic_fetch_sub(&c->now, 1, __ATOMIC_SEQ_CST);
    add(&c->started);
    return 0;
}
struct crowder {
    aio_frame aio;
    struct crowd *c;
};
aio_async(crowder) {
    aio_try(aio_to_thread(crowded, self->c));
    aio_try(aio_to_thread(crowded, self->c));
    return 0;
}
aio_end static void TH_4_no_more_threads_than_the_limit(void **state) {
    (void)state;
    for (unsigned limit = 1; limit <= 3; limit++) {
        real_loop(limit);
        struct crowd c = {0, 0, 0};
        aio_task *t[20];
        assert_null(core.loop.pool); // lazy
        for (int i = 0; i < 20; i++) t[i] = core_spawn(crowder, .c = &c);
        for (int i = 0; i < 20; i++) {
            assert_result(core_run(t[i]), 0);
            aio_detach(t[i]);
        }
        assert_result(c.started, 40);
        assert_true(c.most <= (int)limit);
        assert_true(core.loop.pool->threads <= limit);
    }
}
// Two jobs that need each other, when one thread is idle: both must run.
static pthread_barrier_t meeting;
static int meets(void *arg) {
    (void)arg;
    pthread_barrier_wait(&meeting);
    return 0;
}
struct meeter {
    aio_frame aio;
};
aio_async(meeter) {
    aio_try(aio_to_thread(meets, NULL));
    return 0;
}
aio_end static void TH_4_an_idle_thread_is_not_counted_twice(void **state) {
    (void)state;
    for (int i = 0; i < 50; i++) {
        real_loop(2);
        struct gate g = {.open = 1};
        aio_task *t = core_spawn(runs, .g = &g);
        assert_result(core_run(t), 0);
        aio_detach(t);
        usleep((unsigned)i * 10); // its thread is idle now
        pthread_barrier_init(&meeting, NULL, 2);
        aio_task *a = core_spawn(meeter), *b = core_spawn(meeter);
        assert_result(core_run(a), 0);
        assert_result(core_run(b), 0);
        aio_detach(a);
        aio_detach(b);
        pthread_barrier_destroy(&meeting);
    }
    core.trace[core.trace_at = 0] = 0;
}
// The loop is closed over jobs: queued ones are dropped, running ones waited for.
static void *open_later(void *arg) {
    usleep((unsigned)((struct gate *)arg)->delay);
    __atomic_store_n(&((struct gate *)arg)->open, 1, __ATOMIC_SEQ_CST);
    return NULL;
}
static void TH_4_contract_11_a_loop_closed_over_jobs(void **state) {
    (void)state;
    real_loop(1);
    struct gate g = {.value = 1, .delay = 20000}, queued = {.value = 2}, left = {.value = 3};
    pthread_t opener;
    aio_detach(core_spawn(runs, .g = &g, .owned = true));
    aio_detach(core_spawn(runs, .g = &queued, .owned = true));
    aio_task *t = core_spawn(runs, .g = &left, .owned = true);
    core_turn();
    await_value(&g.running, 1);
    pthread_create(&opener, NULL, open_later, &g);
    aio_detach(t);
    assert_result(aio_loop_close(&core.loop), 0);
    assert_result(g.ended, 1);
    assert_result(g.frees, 1);
    assert_result(queued.frees, 1);
    assert_result(left.frees, 1);
    assert_result(queued.running + left.running, 0);
    pthread_join(opener, NULL);
    assert_result(core_count("destroyed"), 3);
    core_forget_reports();
    assert_result(core.memory.blocks, 0);
}
static void TH_4_close_tells_what_it_waits_for(void **state) {
    (void)state;
    struct gate g = {.value = 1, .delay = 1200000};
    pthread_t opener;
    aio_detach(core_spawn(runs, .g = &g));
    core_turn();
    await_value(&g.running, 1);
    pthread_create(&opener, NULL, open_later, &g);
    assert_result(aio_loop_close(&core.loop), 0);
    pthread_join(opener, NULL);
    assert_result(core_count("destroyed"), 1);
    assert_result(core_count("close waits: a thread job has not ended"), 1);
    core_forget_reports();
}
// J-6: time stands still while a job runs, and that is no deadlock.
struct clock_test {
    aio_frame aio;
    struct gate *g;
    int64_t before;
    aio_op op;
};
static aio_result naps(void *arg) {
    usleep(20000);
    return gated(arg);
}
aio_async(clock_test) {
    aio_result r;
    assert_result(aio_start(&self->op, aio_sleep(AIO_SECOND)), 0);
    add(&self->g->open);
    aio_await(r, aio_to_thread(naps, self->g));
    assert_result(r, 6);
    assert_result(aio_loop_time(aio_running_loop()), 0);
    assert_false(aio_op_done(&self->op));
    aio_await(r, aio_op_wait(&self->op));
    assert_result(aio_loop_time(aio_running_loop()), AIO_SECOND);
    aio_await(r, aio_to_thread(naps, self->g)); // nothing else is there
    assert_result(r, 6);
    return 0;
}
aio_end static void J_6_K_1_the_virtual_clock_waits_for_jobs(void **state) {
    (void)state;
    struct gate g = {.value = 6};
    aio_task *t = core_spawn(clock_test, .g = &g);
    assert_result(core_run(t), 0);
    aio_detach(t);
}
// No memory: at every allocation.
struct needs {
    aio_frame aio;
    struct gate *g;
};
aio_async(needs) {
    aio_result r;
    aio_await(r, aio_to_thread_owned(gated, self->g, free_gate));
    if (r < 0) return r;
    aio_await(r, aio_to_thread(gated, self->g));
    return r;
}
aio_end static void TH_1_no_memory_at_the_nth_allocation(void **state) {
    (void)state;
    aio_result r = 0;
    for (long n = 1; n < 30; n++) {
        struct gate g = {.open = 1, .value = 8};
        struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
        core.memory.fail_from = 0;
        assert_result(aio_loop_close(&core.loop), 0);
        assert_result(aio_loop_init(&core.loop, &o), 0);
        core.memory.fail_from = core.memory.calls + n;
        aio_task *t = core_spawn(needs, .g = &g);
        r = core_run(t);
        assert_true(r == 8 || r == -ENOMEM);
        if (!aio_task_frame(needs, t))
            assert_result(g.frees, 0);
        else
            assert_result(g.frees, aio_task_done(t));
        aio_detach(t);
        core_forget_reports();
    }
    assert_result(r, 8);
    core.memory.fail_from = 0;
}
// No thread: -EAGAIN, and nothing is lost; with one thread, jobs wait for it.
static void TH_4_no_thread(void **state) {
    (void)state;
    struct gate g = {.value = 8}, h = {.value = 9};
    real_loop(4);
    refuse_threads = 1;
    aio_task *t = core_spawn(needs, .g = &g);
    assert_result(core_run(t), -EAGAIN);
    assert_result(g.frees, 1);
    assert_result(core.loop.in_flight, 0);
    aio_detach(t);
    refuse_threads = 0;
    t = core_spawn(runs, .g = &g);
    core_turn();
    await_value(&g.running, 1);
    refuse_threads = 1;
    aio_task *u = core_spawn(runs, .g = &h);
    core_turn();
    add(&g.open);
    add(&h.open);
    assert_result(core_run(u), 9);
    assert_result(core_run(t), 8);
    refuse_threads = 0;
    aio_detach(t);
    aio_detach(u);
    core.trace[core.trace_at = 0] = 0;
}
static aio_task *steps_main(aio_loop *loop, void *arg) {
    struct gate *g = (struct gate *)arg;
    *g = (struct gate){.open = 1, .value = 8};
    return aio_spawn_on(loop, needs, .g = g);
}
static void steps_check(aio_result r, void *arg) {
    struct gate *g = (struct gate *)arg;
    assert_true(r == 8 || r == -ECANCELED);
    assert_true(g->frees <= 1);
    assert_true(g->frees == 1 || g->running == 0);
}
static void TH_1_cancelled_at_every_step(void **state) {
    (void)state;
    struct gate g;
    struct steps s = {.spawn = steps_main, .arg = &g, .check = steps_check};
    for (int i = 0; i < 10; i++) {
        s.real_clock = i & 1;
        assert_true(steps_run(&s) > 4);
    }
}

// --- tasks from other threads
struct remote {
    aio_frame aio;
    int turns, n;
    int64_t nap;
    int *drops;
};
aio_drop(remote) {
    if (self->drops && dropped < 0) add(self->drops);
    return 0;
}
aio_end aio_async(remote) {
    while (self->turns--) aio_try(aio_next_turn());
    if (self->nap) aio_try(aio_sleep(self->nap));
    return self->n;
}
aio_end
    // The loop runs in a thread of its own until it is told to stop.
    struct host {
    aio_loop loop;
    pthread_t thread;
    aio_handle stop;
    int up;
    aio_result r;
};
static int stop_loop(void *arg) {
    aio_loop_stop((aio_loop *)arg);
    return 0;
}
static struct host host;
static int host_is_up(void *arg) {
    (void)arg;
    __atomic_store_n(&host.up, 1, __ATOMIC_SEQ_CST);
    return 0;
}
static void *host_main(void *arg) {
    (void)arg;
    host.r = aio_loop_run_forever(&host.loop);
    if (host.r >= 0) host.r = aio_loop_close(&host.loop);
    return NULL;
}
static void host_start(void) {
    static aio_handle up;
    struct aio_loop_options o = core_options(AIO_CLOCK_MONOTONIC);
    memset((void *)&host, 0, sizeof host);
    assert_result(aio_loop_init(&host.loop, &o), 0);
    assert_result(aio_call_soon(&host.loop, &up, host_is_up, NULL), 0);
    assert_int_equal(pthread_create(&host.thread, NULL, host_main, NULL), 0);
    await_value(&host.up, 1);
}
static void host_stop(void) {
    assert_result(aio_call_soon_threadsafe(&host.loop, &host.stop, stop_loop, &host.loop), 0);
    pthread_join(host.thread, NULL);
    assert_result(host.r, 0);
    assert_result(core.memory.blocks, core.loop.closed ? 0 : core.memory.blocks);
}
static void TH_3_the_result_and_the_limit_of_a_wait(void **state) {
    (void)state;
    host_start();
    aio_thread_future *f = aio_spawn_threadsafe(&host.loop, remote, .n = 7, .turns = 2);
    assert_result(aio_thread_future_wait(f, AIO_FOREVER), 7);
    assert_true(aio_thread_future_done(f));
    assert_result(aio_thread_future_result(f), 7);
    assert_result(aio_thread_future_wait(f, 0), 7);
    assert_false(aio_thread_future_cancel(f));
    aio_thread_future_release(f);
    f = aio_spawn_threadsafe(&host.loop, remote, .n = -EIO);
    assert_result(aio_thread_future_wait(f, AIO_FOREVER - 1), -EIO);
    aio_thread_future_release(f);
    f = aio_spawn_threadsafe(&host.loop, remote, .n = 7, .nap = AIO_FOREVER);
    assert_result(aio_thread_future_result(f), -EINPROGRESS);
    assert_result(aio_thread_future_wait(f, -1), -ETIMEDOUT);
    assert_result(aio_thread_future_wait(f, 3 * AIO_MSEC), -ETIMEDOUT);
    assert_false(aio_thread_future_done(f));
    assert_true(aio_thread_future_cancel(f)); // while it runs
    assert_result(aio_thread_future_wait(f, AIO_FOREVER), -ECANCELED);
    assert_false(aio_thread_future_cancel(f));
    aio_thread_future_release(f);
    host_stop();
    assert_reports("");
}
static void TH_3_cancel_before_the_start(void **state) {
    (void)state;
    int drops = 0;
    for (int i = 0; i < 2; i++) {
        aio_thread_future *f = aio_spawn_threadsafe(&core.loop, remote, .n = 7, .drops = &drops);
        assert_true(aio_thread_future_cancel(f));
        assert_true(aio_thread_future_cancel(f));
        if (i) aio_thread_future_release(f); // nobody looks any more
        for (int turn = 0; turn < 4; turn++) core_turn();
        assert_result(drops, i + 1); // C-2: it never ran
        assert_null(core.loop.executor.first);
        if (i) break;
        assert_result(aio_thread_future_wait(f, 0), -ECANCELED);
        aio_thread_future_release(f);
    }
}
static void TH_3_released_in_any_order(void **state) {
    (void)state;
    aio_thread_future *f[3];
    for (int i = 0; i < 3; i++) f[i] = aio_spawn_threadsafe(&core.loop, remote, .n = i, .turns = 2);
    aio_thread_future_release(f[0]); // before it starts
    core_turn();
    core_turn();
    aio_thread_future_release(f[1]); // while it runs
    for (int turn = 0; turn < 6; turn++) core_turn();
    assert_result(aio_thread_future_result(f[2]), 2);
    aio_thread_future_release(f[2]);
    core_turn(); // the loop kept its value: it has a drop hook
    assert_null(core.loop.thread_futures);
}
static void TH_3_EDEADLK_on_the_loops_own_thread(void **state) {
    (void)state;
    core_turn(); // now it is this thread's
    aio_thread_future *f = aio_spawn_threadsafe(&core.loop, remote, .n = 1);
    assert_result(aio_thread_future_wait(f, AIO_FOREVER), -EDEADLK);
    for (int turn = 0; turn < 4; turn++) core_turn();
    assert_result(aio_thread_future_wait(f, AIO_FOREVER), 1); // done: nothing to wait for
    aio_thread_future_release(f);
}
static void TH_2_L_12_a_closed_loop(void **state) {
    (void)state;
    int drops = 0;
    aio_thread_future *f[5];
    f[0] = aio_spawn_threadsafe(&core.loop, remote, .n = 1, .nap = AIO_FOREVER, .drops = &drops);
    f[1] = aio_spawn_threadsafe(&core.loop, remote, .n = 2, .nap = AIO_FOREVER, .drops = &drops);
    f[2] = aio_spawn_threadsafe(&core.loop, remote, .n = 3, .drops = &drops);
    core_turn();
    core_turn();
    assert_true(aio_task_done(core.loop.thread_futures->task));
    assert_true(aio_thread_future_cancel(f[1])); // on its way when the loop closes
    f[3] = aio_spawn_threadsafe(&core.loop, remote, .n = 4, .drops = &drops);
    assert_true(aio_thread_future_cancel(f[3]));
    assert_result(aio_loop_close(&core.loop), 0);
    assert_result(drops, 3);
    assert_result(aio_thread_future_result(f[0]), -EBADFD);
    assert_result(aio_thread_future_result(f[1]), -EBADFD);
    assert_result(aio_thread_future_result(f[2]),
                  -EBADFD); // its drop hook had the value // it has ended before
    assert_result(aio_thread_future_result(f[3]), -EBADFD);
    f[4] = aio_spawn_threadsafe(&core.loop, remote, .n = 5, .drops = &drops);
    assert_result(aio_thread_future_wait(f[4], AIO_FOREVER), -EBADFD);
    assert_false(aio_thread_future_cancel(f[4]));
    assert_result(drops, 4);
    for (int i = 0; i < 5; i++) aio_thread_future_release(f[i]);
    assert_result(core_count("destroyed"), 2);
    core_forget_reports();
}
static void *waits(void *arg) {
    return (void *)(intptr_t)aio_thread_future_wait((aio_thread_future *)arg, AIO_FOREVER);
}
static void TH_3_closed_under_a_waiting_thread(void **state) {
    (void)state;
    pthread_t thread;
    void *r;
    core_turn();
    aio_thread_future *f = aio_spawn_threadsafe(&core.loop, remote, .nap = AIO_FOREVER);
    core_turn();
    pthread_create(&thread, NULL, waits, f);
    usleep(2000);
    assert_result(aio_loop_close(&core.loop), 0);
    pthread_join(thread, &r);
    assert_result((intptr_t)r, -EBADFD);
    aio_thread_future_release(f);
    assert_result(core_count("destroyed"), 1);
    core_forget_reports();
}
// A job that calls back into its loop, which is closed meanwhile: neither waits for the other for
// ever.
static int calls_back_at;
static aio_result calls_back(void *arg) {
    aio_thread_future *f = aio_spawn_threadsafe((aio_loop *)arg, remote, .n = 6,
                                                .nap = calls_back_at ? AIO_FOREVER : 0);
    add(&calls_back_at);
    aio_result r = aio_thread_future_wait(f, AIO_FOREVER);
    aio_thread_future_release(f);
    return r;
}
struct asks {
    aio_frame aio;
    aio_result r;
};
aio_async(asks) {
    aio_await(self->r, aio_to_thread(calls_back, aio_running_loop()));
    return self->r;
}
aio_end static void TH_3_TH_4_a_job_that_waits_for_its_loop(void **state) {
    (void)state;
    calls_back_at = 0;
    aio_task *t = core_spawn(asks);
    assert_result(core_run(t), 6);
    aio_detach(t);
    aio_detach(core_spawn(asks));
    core_turn();
    await_value(&calls_back_at, 2);
    for (int i = 0; i < 3; i++) core_turn();
    assert_result(aio_loop_close(&core.loop), 0);
    assert_result(core_count("close waits"), 0);
    core_forget_reports();
}
// --- a value that somebody has to release (C-7)
static int released, released_sum;
struct opens {
    aio_frame aio;
    int fd, turns;
};
aio_drop(opens) {
    if (dropped >= 0) {
        released++;
        released_sum += (int)dropped;
    }
    return self->fd;
}
aio_end aio_async(opens) {
    while (self->turns--) aio_try(aio_next_turn());
    return self->fd;
}
aio_end static void settle(void) {
    for (int turn = 0; turn < 6; turn++) core_turn();
}
static void C_7_TH_3_a_value_that_nobody_took_is_released(void **state) {
    (void)state;
    released = 0;
    core_turn();
    aio_thread_future *f = aio_spawn_threadsafe(&core.loop, opens, .fd = 5);
    settle();
    assert_true(aio_thread_future_done(f));
    assert_result(released, 0); // somebody could still take it
    aio_thread_future_cancel(f);
    aio_thread_future_release(f);
    assert_result(released, 0); // not in this thread
    settle();
    assert_result(released, 1);
    assert_null(core.loop.thread_futures);
    f = aio_spawn_threadsafe(&core.loop, opens, .fd = 6); // controls: taken, in two ways
    settle();
    assert_result(aio_thread_future_wait(f, 0), 6);
    aio_thread_future_release(f);
    f = aio_spawn_threadsafe(&core.loop, opens, .fd = 7);
    settle();
    assert_result(aio_thread_future_result(f), 7);
    aio_thread_future_release(f);
    f = aio_spawn_threadsafe(&core.loop, opens, .fd = 8, .turns = 3); // given up before its end
    core_turn();
    aio_thread_future_release(f);
    settle();
    assert_result(released, 2); // as one that came first: the thread cannot know
    assert_null(core.loop.thread_futures);
    assert_null(core.loop.executor.first);
}
static void C_7_TH_3_the_loop_closes_over_values(void **state) {
    (void)state;
    aio_thread_future *f[4];
    released = released_sum = 0;
    core_turn();
    for (int i = 0; i < 4; i++) f[i] = aio_spawn_threadsafe(&core.loop, opens, .fd = 1 << i);
    settle();
    assert_result(aio_thread_future_result(f[0]), 1);
    aio_thread_future_release(f[1]); // on its way when the loop closes
    assert_result(released, 0);
    assert_result(aio_loop_close(&core.loop), 0);
    assert_result(released_sum, 2 + 4 + 8);
    assert_result(aio_thread_future_result(f[0]), 1);
    assert_result(aio_thread_future_wait(f[2], AIO_FOREVER), -EBADFD); // not a value that is gone
    for (int i = 0; i < 4; i++) if (i != 1) aio_thread_future_release(f[i]);
    assert_result(released, 3);
}
static void *takes_or_not(void *arg) {
    int *taken = arg;
    for (int i = 0; i < 200; i++) {
        aio_thread_future *f = aio_spawn_threadsafe(&host.loop, opens, .fd = 1, .turns = i % 3);
        if (i % 4 < 2 && aio_thread_future_wait(f, i % 4 ? 1000 : AIO_FOREVER) >= 0) ++*taken;
        if (i % 4 == 2) while (!aio_thread_future_done(f)) {}
        aio_thread_future_release(f);
    }
    return NULL;
}
static void C_7_TH_3_four_threads_that_take_some(void **state) {
    (void)state;
    pthread_t thread[4];
    int taken[4] = { 0 };
    released = 0;
    host_start();
    for (int i = 0; i < 4; i++) pthread_create(&thread[i], NULL, takes_or_not, &taken[i]);
    int all = 0;
    for (int i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
        assert_true(taken[i] >= 50); // whose thread waited without a limit
        all += taken[i];
    }
    host_stop();
    assert_result(all + released, 4 * 200); // each value once, whoever was faster
}
static void TH_3_no_memory(void **state) {
    (void)state;
    int drops = 0;
    core_turn();
    core.memory.fail_from = core.memory.calls + 1;
    aio_thread_future *f[64];
    for (int i = 0; i < 64; i++)
        f[i] =
            aio_spawn_threadsafe(&core.loop, remote, .n = i, .nap = AIO_FOREVER, .drops = &drops);
    for (int i = 0; i < 70; i++) core_turn();
    int refused = 0;
    for (int i = 0; i < 64; i++) refused += aio_thread_future_result(f[i]) == -ENOMEM;
    assert_true(refused > 10);
    core.memory.fail_from = 0;
    for (int i = 0; i < 64; i++) aio_thread_future_cancel(f[i]);
    for (int i = 0; i < 70; i++) core_turn();
    for (int i = 0; i < 64; i++) {
        aio_result r = aio_thread_future_result(f[i]);
        assert_true(r == -ENOMEM || r == -ECANCELED);
        aio_thread_future_release(f[i]);
    }
    assert_result(drops, refused); // the others had begun, and ended cancelled
    core_forget_reports();
}
// Eight threads at once.
enum { THREADS = 8, SPAWNS = 400 };
static int sum, loaded_drops;
static void *load(void *arg) {
    unsigned seed = (unsigned)(uintptr_t)arg;
    for (int i = 0; i < SPAWNS; i++) {
        unsigned kind = (seed = seed * 1103515245u + 12345u) >> 16 & 7;
        aio_thread_future *f =
            aio_spawn_threadsafe(&host.loop, remote, .n = i, .turns = (int)(seed >> 20 & 3),
                                 .nap = kind == 1 ? AIO_FOREVER : 0, .drops = &loaded_drops);
        if (kind == 1 || kind == 2) aio_thread_future_cancel(f);
        if (kind != 3) {
            aio_result r = aio_thread_future_wait(f, AIO_FOREVER);
            if (r != i && (r != -ECANCELED || (kind != 1 && kind != 2)) && r != -EBADFD) add(&sum);
        }
        aio_thread_future_release(f);
    }
    return NULL;
}
static void TH_3_eight_threads(void **state) {
    (void)state;
    for (int closes = 0; closes < 2; closes++) {
        pthread_t threads[THREADS];
        sum = loaded_drops = 0;
        host_start();
        for (uintptr_t i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, load, (void *)(i + 1)), 0);
        if (closes) usleep(3000);
        if (closes) host_stop();
        for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
        if (!closes) host_stop();
        assert_result(sum, 0);
        core_forget_reports();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        core_test(TH_2_the_result_of_a_job),
        core_test(TH_1_a_queued_job_is_dropped),
        core_test(TH_1_contract_3_the_result_of_a_running_job_stands),
        core_test(TH_1_an_owned_job_lets_its_awaiter_go),
        core_test(TH_4_no_more_threads_than_the_limit),
        core_test(TH_4_an_idle_thread_is_not_counted_twice),
        core_test(TH_4_contract_11_a_loop_closed_over_jobs),
        core_test(TH_4_close_tells_what_it_waits_for),
        core_test(J_6_K_1_the_virtual_clock_waits_for_jobs),
        core_test(TH_1_no_memory_at_the_nth_allocation),
        core_test(TH_4_no_thread),
        core_test(TH_1_cancelled_at_every_step),
        core_test(TH_3_the_result_and_the_limit_of_a_wait),
        core_test(TH_3_cancel_before_the_start),
        core_test(TH_3_released_in_any_order),
        core_test(TH_3_EDEADLK_on_the_loops_own_thread),
        core_test(TH_2_L_12_a_closed_loop),
        core_test(TH_3_closed_under_a_waiting_thread),
        core_test(TH_3_TH_4_a_job_that_waits_for_its_loop),
        core_test(C_7_TH_3_a_value_that_nobody_took_is_released),
        core_test(C_7_TH_3_the_loop_closes_over_values),
        core_test(C_7_TH_3_four_threads_that_take_some),
        core_test(TH_3_no_memory),
        core_test(TH_3_eight_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
