// aio_run: rules RN-2 to RN-4, L-10, K-1: results, shutdown of what is left, deadlocks, refusals.
#include "core.h"

#include <pthread.h>
#include <signal.h>

#define run(...) aio_run_with((&options), __VA_ARGS__)
static struct aio_loop_options options;
static int setup(void **state)
{
    (void)state;
    memset(&core, 0, sizeof core);
    options = core_options(AIO_CLOCK_VIRTUAL);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    if (core.memory.blocks) print_error("%ld blocks are left\n", core.memory.blocks);
    if (core.reports_at) print_error("reports are left: %s", core.reports);
    if (aio_running_loop()) print_error("a loop still runs\n");
    return core.memory.blocks || core.reports_at || aio_running_loop();
}
#define fresh(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

struct returns { aio_frame aio; aio_result result; int turns; };
aio_async(returns) {
    while (self->turns--) aio_try(aio_next_turn());
    return self->result;
} aio_end
static void RN_2_the_result_of_main(void **state)
{
    (void)state;
    assert_result(run(returns, .result = 42), 42);
    assert_result(run(returns, .result = 42, .turns = 3), 42);
    assert_result(run(returns, .result = -EIO), -EIO);
    assert_result(run(returns, .result = -ECANCELED), -ECANCELED);
    assert_result(aio_run(returns, .result = 7), 7);            // the real clock, malloc
    assert_reports("");
}

// A task that cleans up with `cleanup` more awaits when it is cancelled, and spawns as it dies.
struct worker { aio_frame aio; int n, cleanup, spawns, swallows; int64_t nap; aio_result result; };
aio_drop(worker) {
    say("drop%d ", self->n);
    (void)dropped;
    return 0;
} aio_end
aio_async(worker) {
    for (;;) {
        aio_result r;
        aio_await(r, aio_sleep(self->nap));
        if (r >= 0) continue;
        say("c%d ", self->n);
        if (self->swallows-- <= 0) break;
    }
    while (self->cleanup--) {
        aio_result r;
        aio_await(r, aio_sleep(AIO_MSEC));
        say("%s%d ", r < 0 ? "!" : "w", self->n);
    }
    if (self->spawns) {
        aio_detach(aio_spawn(worker, .n = self->n + 10, .nap = AIO_FOREVER,
                             .spawns = self->spawns - 1));
        aio_try(aio_next_turn());
    }
    say("e%d ", self->n);
    return self->result ? self->result : -ECANCELED;
} aio_end

struct leaves { aio_frame aio; int what; aio_result result; };
aio_async(leaves) {
    switch (self->what) {
    case 0:
        for (int i = 1; i <= 4; i++) aio_detach(aio_spawn(worker, .n = i, .nap = AIO_FOREVER));
        break;
    case 1:
        aio_detach(aio_spawn(worker, .n = 1, .nap = AIO_FOREVER, .cleanup = 2));
        aio_detach(aio_spawn(worker, .n = 2, .nap = AIO_FOREVER));
        break;
    case 2: aio_detach(aio_spawn(worker, .n = 1, .nap = AIO_FOREVER, .spawns = 2)); break;
    case 3: aio_detach(aio_spawn(worker, .n = 1, .nap = AIO_FOREVER, .result = -EIO)); break;
    case 4: aio_detach(aio_spawn(worker, .n = 1, .nap = AIO_SECOND, .swallows = 2)); break;
    case 5: aio_detach(aio_spawn(worker, .n = 1, .nap = AIO_FOREVER, .swallows = 1)); break;
    case 6:
        aio_detach(aio_spawn(worker, .n = 1));
        return self->result;
    default: break;
    }
    aio_await(aio_next_turn());
    aio_await(aio_next_turn());
    return self->result;
} aio_end
static void RN_3_leftovers_are_cancelled_in_order(void **state)
{
    (void)state;
    assert_result(run(leaves, .what = 0, .result = 5), 5);
    assert_trace("c1 e1 c2 e2 c3 e3 c4 e4 ");
    assert_result(run(leaves, .what = 0, .result = -EIO), -EIO);    // RN-2: also when main failed
    assert_trace("c1 e1 c2 e2 c3 e3 c4 e4 ");
    assert_result(run(leaves, .what = 6, .result = 1), 1);
    assert_trace("c1 e1 ");           // it began in the turn of the done-callback
    assert_reports("");
}
static void RN_3_cleanup_may_await(void **state)
{
    (void)state;
    assert_result(run(leaves, .what = 1), 0);
    assert_trace("c1 c2 e2 w1 w1 e1 ");
    options.clock = AIO_CLOCK_MONOTONIC;
    assert_result(run(leaves, .what = 1), 0);
    assert_trace("c1 c2 e2 w1 w1 e1 ");
    assert_reports("");
}
static void RN_3_errors_of_leftovers_are_reported(void **state)
{
    (void)state;
    assert_result(run(leaves, .what = 3), 0);
    assert_trace("c1 e1 ");
    assert_reports("task error was never retrieved: EIO: worker\n");
}
static void RN_4_spawned_by_the_dying(void **state)
{
    (void)state;
    assert_result(run(leaves, .what = 2, .result = 1), 1);
    assert_trace("c1 e1 c11 e11 c21 e21 ");
    assert_reports("");
}
static void RN_4_a_stubborn_task_is_named(void **state)
{
    (void)state;
    static const enum aio_clock clocks[] = { AIO_CLOCK_VIRTUAL, AIO_CLOCK_MONOTONIC };
    for (int i = 0; i < 2; i++) {
        options.clock = clocks[i];
        options.shutdown_ns = i ? 5 * AIO_MSEC : 0;
        assert_result(run(leaves, .what = 4, .result = 3), 3);
        assert_trace("c1 c1 c1 e1 ");       // swallowed twice, so it is told twice
        assert_reports("task was cancelled and does not end; it was cancelled last: OK: worker\n"
                       "task was cancelled and does not end; it was cancelled last: OK: worker\n");
    }
}
static void RN_4_K_1_a_stubborn_task_that_waits_for_ever(void **state)
{
    (void)state;
    assert_result(run(leaves, .what = 5, .result = 3), 3);
    assert_trace("c1 drop1 ");              // the virtual clock tells it at once
    assert_result(core_count("deadlock"), 1);
    assert_result(core_count("task was destroyed but it is pending: OK: worker"), 1);
    core_forget_reports();
}

static void RN_4_on_the_real_clock_it_is_cancelled_again(void **state)
{
    (void)state;
    options.clock = AIO_CLOCK_MONOTONIC;
    options.shutdown_ns = 5 * AIO_MSEC;
    assert_result(run(leaves, .what = 5, .result = 3), 3);
    assert_trace("c1 c1 e1 ");
    assert_reports("task was cancelled and does not end; it was cancelled last: OK: worker\n");
}

// Stop, in main and while it shuts down.
struct stops { aio_frame aio; bool dying; };
aio_async(stops) {
    aio_result r;
    if (!self->dying) {
        aio_detach(aio_spawn(stops, .dying = true));
        aio_await(aio_next_turn());
        aio_loop_stop(aio_running_loop());
    }
    aio_await(r, aio_sleep(AIO_FOREVER));
    say("%s%lld ", self->dying ? "d" : "m", (long long)r);
    aio_loop_stop(aio_running_loop());
    aio_await(r, aio_sleep(AIO_MSEC));
    say("%s%lld ", self->dying ? "d" : "m", (long long)r);
    return 0;
} aio_end
static void RN_3_L_9_stop_inside_a_run(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        options.clock = i ? AIO_CLOCK_MONOTONIC : AIO_CLOCK_VIRTUAL;
        assert_result(run(stops), -EINPROGRESS);
        assert_trace("m-125 d-125 m0 d0 ");
    }
}

// --- deadlocks
struct joins { aio_frame aio; aio_task *t; };
aio_async(joins) { aio_try(aio_join(self->t)); return 0; } aio_end
struct stuck { aio_frame aio; aio_future f; };
aio_async(stuck) { aio_try(aio_future_wait(&self->f)); return 0; } aio_end
struct hangs { aio_frame aio; aio_task *a, *b; };
aio_async(hangs) {
    aio_result r;
    self->a = aio_spawn(stuck);
    self->b = aio_spawn(joins, .t = self->a);
    aio_task_set_name(self->b, "bob");
    aio_detach(aio_spawn(worker, .n = 1, .nap = AIO_FOREVER));
    aio_await(r, aio_join(self->b));
    say("main:%lld ", (long long)r);
    aio_await(r, aio_sleep(AIO_SECOND));
    say("main:%lld ", (long long)r);
    return 9;
} aio_end
static char *dumped;
static size_t dumped_size;
static void dump_deadlock(aio_loop *loop, const struct aio_report *r, void *context)
{
    core_on_error(loop, r, context);
    if (r->error != -EDEADLK) return;
    FILE *out = open_memstream(&dumped, &dumped_size);
    aio_loop_dump(loop, out);
    fclose(out);
}
static void K_1_RN_2_a_deadlock_is_told_and_main_cleans_up(void **state)
{
    (void)state;
    options.on_error = dump_deadlock;
    assert_result(run(hangs), -EDEADLK);
    assert_trace("c1 e1 main:-125 main:0 ");
    assert_result(core_count("deadlock: every task waits"), 1);
    core_forget_reports();
    assert_non_null(dumped);
    assert_non_null(strstr(dumped, "loop: 4 tasks, 0 timers, 0 in flight"));
    assert_non_null(strstr(dumped, "hangs#1: waits for task bob#3\n"));
    assert_non_null(strstr(dumped, "stuck#2: waits for future\n"));
    assert_non_null(strstr(dumped, "bob#3: waits for task stuck#2\n"));
    assert_non_null(strstr(dumped, "worker#4: waits for sleep without limit\n"));
    assert_non_null(strstr(dumped, "joins: aio_join(self->t)\n"));
    assert_non_null(strstr(dumped, "t_run.c:"));
    free(dumped);
}
// Two tasks that join each other, and main that joins one.
struct pair { aio_frame aio; aio_task *a, *b; };
aio_async(pair) {
    self->a = aio_spawn(joins);
    self->b = aio_spawn(joins, .t = aio_task_retain(self->a));
    aio_task_frame(joins, self->a)->t = aio_task_retain(self->b);
    aio_detach(self->b);
    aio_try(aio_join(self->a));
    return 0;
} aio_end
static void T_11_K_1_a_cycle_ends_at_shutdown(void **state)
{
    (void)state;
    assert_result(run(pair), -EDEADLK);
    assert_result(core_count("deadlock"), 1);
    assert_result(core_count("destroyed"), 0);
    core_forget_reports();
}
static void K_1_a_deadlock_on_the_real_clock(void **state)
{
    (void)state;
    if (!AIO__SINGLE_THREADED) test_skip("this process has more than one thread");
    options.clock = AIO_CLOCK_MONOTONIC;
    assert_result(run(hangs), -EDEADLK);
    assert_result(core_count("deadlock"), 1);
    core_forget_reports();
    core.trace[core.trace_at = 0] = 0;
}

// --- refusals
struct nested_run { aio_frame aio; };
aio_async(nested_run) {
    say("%lld ", (long long)run(returns, .result = 1));
    aio_await(aio_next_turn());
    say("%lld ", (long long)run(worker, .n = 3));
    return 2;
} aio_end
static void L_10_L_11_a_run_inside_a_run(void **state)
{
    (void)state;
    assert_result(run(nested_run), 2);
    assert_trace("-16 drop3 -16 ");
    assert_result(core_count("another loop runs in this thread"), 2);
    core_forget_reports();
}
static void RN_2_no_memory(void **state)
{
    (void)state;
    aio_result r = 0;
    for (long n = 1; n < 40; n++) {
        core.memory = (struct test_memory) { 0, 0, n };
        r = run(leaves, .what = 0, .result = 5);
        assert_true(r == 5 || r == -ENOMEM);
        assert_result(core.memory.blocks, 0);
        core_forget_reports();
    }
    assert_result(r, 5);
    core.trace[core.trace_at = 0] = 0;
    core.memory = (struct test_memory) { 0, 0, 1 };
    assert_result(run(worker, .n = 8), -ENOMEM);
    assert_trace("drop8 ");                 // its arguments were released
}
static void RN_2_shutdown_needs_no_memory(void **state)
{
    (void)state;
    struct aio_loop_options o = core_options(AIO_CLOCK_MONOTONIC);
    aio_runner r;
    assert_result(aio_runner_init(&r, &o), 0);
    aio_task *t = aio_spawn_on(&r.loop, returns, .result = 4, .turns = 2);
    for (int i = 1; i <= 15; i++)
        aio_detach(aio_spawn_on(&r.loop, worker, .n = i, .nap = AIO_FOREVER));
    core.memory.fail_from = 1;
    assert_result(aio__run_end(&r, 0, t), -ENOMEM);     // no slot for the run itself; the rest ends
    assert_result(core_count("destroyed"), 0);
    core.trace[core.trace_at = 0] = 0;
}
static void sigpipe(void *arg)
{
    struct sigaction a;
    (void)arg;
    signal(SIGPIPE, SIG_DFL);
    aio_loop l;
    if (aio_loop_init(&l, NULL) < 0) _exit(1);
    sigaction(SIGPIPE, NULL, &a);
    if (a.sa_handler != SIG_DFL) _exit(2);
    aio_loop_close(&l);
    if (aio_run(returns) < 0) _exit(3);
    sigaction(SIGPIPE, NULL, &a);
    if (a.sa_handler != SIG_IGN) _exit(4);
}
static void RN_2_SIGPIPE(void **state)
{
    (void)state;
    char text[256];
    int status = test_in_child(sigpipe, NULL, text, sizeof text);
    assert_true(WIFEXITED(status));
    assert_result(WEXITSTATUS(status), 0);
}
static void *run_in_thread(void *arg)
{
    (void)arg;
    return (void *)(intptr_t)aio_run(returns, .result = 6, .turns = 10);
}
static void RN_2_one_run_per_thread_at_a_time(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_in_thread, NULL), 0);
    for (int i = 0; i < 4; i++) {
        void *r;
        pthread_join(threads[i], &r);
        assert_result((intptr_t)r, 6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fresh(RN_2_the_result_of_main),
        fresh(RN_3_leftovers_are_cancelled_in_order),
        fresh(RN_3_cleanup_may_await),
        fresh(RN_3_errors_of_leftovers_are_reported),
        fresh(RN_4_spawned_by_the_dying),
        fresh(RN_4_a_stubborn_task_is_named),
        fresh(RN_4_K_1_a_stubborn_task_that_waits_for_ever),
        fresh(RN_4_on_the_real_clock_it_is_cancelled_again),
        fresh(RN_3_L_9_stop_inside_a_run),
        fresh(K_1_RN_2_a_deadlock_is_told_and_main_cleans_up),
        fresh(T_11_K_1_a_cycle_ends_at_shutdown),
        fresh(K_1_a_deadlock_on_the_real_clock),
        fresh(L_10_L_11_a_run_inside_a_run),
        fresh(RN_2_no_memory),
        fresh(RN_2_shutdown_needs_no_memory),
        fresh(RN_2_SIGPIPE),
        fresh(RN_2_one_run_per_thread_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
