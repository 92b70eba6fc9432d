// How a run ends: a shutdown that comes to its end whatever the tasks do, SIGINT at any moment, and
// numbers that have wrapped.
#include "core.h"
#include <signal.h>

static struct aio_loop_options options;
static int setup(void **state)
{
    (void)state;
    memset(&core, 0, sizeof core);
    aio__running_executor = NULL;       // a test that failed inside a run has left it
    options = core_options(AIO_CLOCK_MONOTONIC);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    struct sigaction now;
    bool held = sigaction(SIGINT, NULL, &now) || now.sa_handler != SIG_DFL;
    int bad = core.memory.blocks || core.reports_at || held;
    if (bad) print_error("%ld blocks, reports: %s\n", core.memory.blocks, core.reports);
    return bad;
}
#define fresh(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define run(...) aio_run_with(&options, __VA_ARGS__)

// --- the shutdown
struct cleans { aio_frame aio; int turns; };
aio_async(cleans) {
    aio_await(aio_sleep(AIO_FOREVER));
    for (; self->turns; self->turns--) aio_await(aio_sleep(0));
    say("ended ");
    return -ECANCELED;
} aio_end
struct leaves { aio_frame aio; int turns; };
aio_async(leaves) {
    aio_detach(aio_spawn(cleans, .turns = self->turns));
    aio_try(aio_sleep(0));
    return 4;
} aio_end
static void RN_3_each_pass_makes_a_turn_however_short_it_is(void **state)
{
    (void)state;
    static const int64_t limits[] = { 1, -1, INT64_MIN, INT64_MAX };
    for (int i = 0; i < 8; i++) {
        options.shutdown_ns = limits[i % 4];
        options.clock = i < 4 ? AIO_CLOCK_MONOTONIC : AIO_CLOCK_VIRTUAL;
        assert_result(run(leaves, .turns = 0), 4);
        assert_trace("ended ");
        core_forget_reports();
        assert_result(run(leaves, .turns = 3), 4);      // each pass interrupts what cleans up
        assert_trace("ended ");
        assert_in_range(core_count("task was cancelled and does not end"), 0, 4);
        core_forget_reports();
    }
}
// Begins itself again, whatever ended it.
static int started;
struct service { aio_frame aio; aio_task *next; aio_result r; };
aio_declare(service);
aio_async(service) {
    started++;
    aio_await(self->r, aio_sleep(AIO_FOREVER));
    self->next = aio_spawn(service);
    if (aio_task_done(self->next)) say("%s ", aio_strerror(aio_task_result(self->next)));
    aio_detach(self->next);
    aio_await(aio_sleep(AIO_MSEC));
    return self->r;
} aio_end
struct serves { aio_frame aio; };
aio_async(serves) {
    aio_detach(aio_spawn(service));
    aio_try(aio_sleep(AIO_MSEC));
    return 5;
} aio_end
static void RN_3_what_respawns_itself_is_told_and_then_refused(void **state)
{
    (void)state;
    options.clock = AIO_CLOCK_VIRTUAL;
    options.shutdown_ns = 10 * AIO_MSEC;
    started = 0;
    assert_result(run(serves), 5);
    assert_trace("EBADFD ");
    assert_result(core_count("task was spawned while the run ends"), 1);
    assert_in_range(started, 9, 12);
    core_forget_reports();
}
// A chain of tasks that join each other: a cancel of one reaches all behind it.
static uint32_t most_cancels;
struct chain { aio_frame aio; int left; aio_result r; };
aio_declare(chain);
aio_async(chain) {
    if (self->left) aio_await(self->r, aio_join(aio_spawn(chain, .left = self->left - 1)));
    else aio_await(self->r, aio_sleep(AIO_FOREVER));
    if (aio_task_cancelling(aio_current_task()) > most_cancels)
        most_cancels = aio_task_cancelling(aio_current_task());
    return self->r;
} aio_end
struct chains { aio_frame aio; int n; };
aio_async(chains) {
    aio_detach(aio_spawn(chain, .left = self->n));
    for (; self->n + 2; self->n--) aio_try(aio_next_turn());
    return 6;
} aio_end
static void RN_3_a_shutdown_cancels_each_task_of_a_chain_once(void **state)
{
    (void)state;
    most_cancels = 0;
    assert_result(run(chains, .n = 1000), 6);
    assert_result(most_cancels, 1);
}

// --- handles that were given up before
struct gives { aio_frame aio; };
aio_async(gives) {
    aio_try(aio_sleep(AIO_MSEC));
    return 3;
} aio_end
struct joins_twice { aio_frame aio; aio_task *t; int r; };
aio_async(joins_twice) {
    self->t = aio_spawn(gives);
    aio_await(self->r, aio_join(self->t));
    say("%d ", self->r);
#if !defined __SANITIZE_ADDRESS__           // which ends the program there, and says more
    aio_await(self->r, aio_join(self->t));
    say("%s ", aio_strerror(self->r));
    aio_detach(self->t);
#endif
    return 0;
} aio_end
static void a_second_join_is_refused_and_told(void **state)
{
    (void)state;
    assert_result(run(joins_twice), 0);
#if !defined __SANITIZE_ADDRESS__
    assert_trace("3 EINVAL ");
    assert_result(core_count("a task was joined whose handle was given up before: EINVAL"), 1);
    assert_result(core_count("a task's handle was given up twice: EINVAL"), 1);
    core_forget_reports();
#endif
}

// --- numbers that wrap
struct sleeper { aio_frame aio; int n; int64_t ns; };
aio_async(sleeper) {
    aio_try(aio_sleep(self->ns));
    say("%d ", self->n);
    return self->n;
} aio_end
struct many { aio_frame aio; aio_task *t[9]; int i; };
aio_async(many) {
    for (int i = 0; i < 9; i++) self->t[i] = aio_spawn(sleeper, .n = i, .ns = 5);
    aio_try(aio_gather(self->t, NULL, 9));
    return 9;
} aio_end
static void near_the_wrap(aio_loop *l, uint32_t before)
{
    l->executor.head = l->executor.tail = 0 - before;
    l->timer_seq = l->executor.next_id = 0 - before;
}
static void positions_ids_and_timers_go_on_over_their_wrap(void **state)
{
    (void)state;
    for (uint32_t before = 0; before < 40; before++) {
        for (uint64_t seed = 0; seed < 2; seed++) {
            aio_loop l;
            struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
            o.seed = seed;
            assert_result(aio_loop_init(&l, &o), 0);
            near_the_wrap(&l, before);
            aio_task *t = aio_spawn_on(&l, many);
            assert_result(aio_loop_run_until_complete(&l, t), 9);
            aio_detach(t);
            if (!seed) assert_trace("0 1 2 3 4 5 6 7 8 ");      // H-2
            core.trace[core.trace_at = 0] = 0;
            assert_result(aio_loop_close(&l), 0);
        }
    }
}
struct idle { aio_frame aio; aio_task *next; };
aio_async(idle) {
    if (self->next) aio_try(aio_join(self->next));
    else aio_try(aio_sleep(AIO_FOREVER));
    return 0;
} aio_end
struct wraps { aio_frame aio; aio_task *last; FILE *out; };
aio_async(wraps) {
    aio_running_loop()->executor.next_id = UINT32_MAX - 2;
    for (int i = 0; i < 5; i++) self->last = aio_spawn(idle, .next = self->last);
    aio_detach(self->last);
    aio_try(aio_sleep(AIO_MSEC));
    assert_result(aio_loop_tree(aio_running_loop(), self->out), 0);
    return 7;
} aio_end
static void a_tree_and_a_shutdown_of_ids_that_have_wrapped(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_result(run(wraps, .out = out), 7);
    fclose(out);
    const char *at = strstr(text, "idle#2: waits for task idle#1");
    assert_non_null(at);
    assert_non_null(at = strstr(at, "    idle#1: waits for task idle#0"));
    assert_non_null(at = strstr(at, "        idle#0: waits for task idle#4294967295"));
    assert_non_null(strstr(at, "            idle#4294967295: waits for task idle#4294967294"));
    free(text);
}

// --- SIGINT
static int released;
struct last_step { aio_frame aio; int result; };
aio_drop(last_step) {
    released += (int)dropped;
    return 0;
} aio_end
aio_async(last_step) {
    aio_try(aio_sleep(AIO_MSEC));
    raise(SIGINT);
    return self->result;
} aio_end
static void RN_5_C_7_in_the_last_step(void **state)
{
    (void)state;
    released = 0;
    assert_result(run(last_step, .result = 5), -EINTR);
    assert_result(released, 5);
    assert_result(run(last_step, .result = -EIO), -EIO);        // an error stands
    assert_result(run(last_step, .result = -ECANCELED), -EINTR);
    options.clock = AIO_CLOCK_VIRTUAL;
    assert_result(run(last_step, .result = 5), -EINTR);
}
struct inner { aio_frame aio; bool interrupted; aio_result r; };
aio_async(inner) {
    if (self->interrupted) raise(SIGINT);
    aio_await(self->r, aio_sleep(self->interrupted ? AIO_FOREVER : AIO_MSEC));
    say("inner:%s ", aio_strerror(self->r));
    return self->r < 0 ? self->r : 7;
} aio_end
struct outer { aio_frame aio; aio_runner *runner; bool in_inner; aio_result r; };
aio_async(outer) {
    say("run:%s ", aio_strerror(aio_runner_run(self->runner, inner, .interrupted = self->in_inner)));
    if (!self->in_inner) raise(SIGINT);
    aio_await(self->r, aio_sleep(AIO_SECOND));
    say("outer:%s ", aio_strerror(self->r));
    return self->r;
} aio_end
static void RN_5_runs_inside_each_other(void **state)
{
    (void)state;
    static const char *const traces[] = { "inner:OK run:OK outer:ECANCELED ",
                                          "inner:ECANCELED run:EINTR outer:ECANCELED " };
    options.allow_nested = true;
    for (int in_inner = 0; in_inner < 2; in_inner++) {
        aio_runner r;
        assert_result(aio_runner_init(&r, &options), 0);
        assert_result(aio_runner_run(&r, outer, .runner = &r, .in_inner = in_inner), -EINTR);
        assert_trace(traces[in_inner]);
        assert_result(aio_runner_close(&r), 0);
    }
}
// Nothing but SIGINT can end these. It comes from another process: a second thread in this one would
// be reason enough to wait.
enum { SLEEPS, AWAITS_EVENT, JOINS, GATHERS, IN_A_GROUP, LIMITED, STARTED, STUCK, STUCK_BESIDE };
struct until { aio_frame aio; int how; aio_event event; aio_result r; };
aio_async(until) {
    if (self->how == AWAITS_EVENT) aio_await(self->r, aio_event_wait(&self->event));
    else aio_await(self->r, aio_sleep(AIO_FOREVER));
    return self->r;
} aio_end
struct waits {
    aio_frame aio;
    int how;
    aio_task *t[2];
    struct until until;
    aio_group group;
    aio_op op;
    aio_future never;
    aio_result r;
};
aio_async(waits) {
    if (self->how == JOINS) {
        aio_await(self->r, aio_join(aio_spawn(until)));
    } else if (self->how == GATHERS) {
        for (int i = 0; i < 2; i++) self->t[i] = aio_spawn(until, .how = i);
        aio_await(self->r, aio_gather(self->t, NULL, 2));
    } else if (self->how == IN_A_GROUP) {
        aio_try(aio_group_enter(&self->group));
        (void)aio_group_spawn(&self->group, until);
        aio_await(self->r, aio_group_exit(&self->group, 0));
    } else if (self->how == LIMITED) {
        aio_await(self->r, aio_wait_for(AIO_FOREVER, aio_call(&self->until, until)));
    } else if (self->how == STARTED) {
        aio_start(&self->op, aio_sleep(AIO_FOREVER));
        aio_await(self->r, aio_op_wait(&self->op));
    } else if (self->how >= STUCK) {
        if (self->how == STUCK_BESIDE) aio_detach(aio_spawn(until));
        aio_await(self->r, aio_future_wait(&self->never));
    } else {
        aio_await(self->r, aio_call(&self->until, until, .how = self->how));
    }
    return self->r;
} aio_end
static aio_result interrupted_from_outside(int how)
{
    pid_t parent = getpid(), child = fork();
    if (!child) {
        usleep(50000);
        kill(parent, SIGINT);
        _exit(0);
    }
    aio_result r = run(waits, .how = how);
    if (r == -EDEADLK) kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return r;
}
static void RN_5_a_run_that_catches_it_waits_for_it(void **state)
{
    (void)state;
    if (!AIO__SINGLE_THREADED) test_skip("this process has more than one thread");
    for (int how = SLEEPS; how <= STARTED; how++)
        assert_result(interrupted_from_outside(how), -EINTR);
    for (int how = STUCK; how <= STUCK_BESIDE; how++) {
        assert_result(interrupted_from_outside(how), -EDEADLK);
        assert_result(core_count("deadlock"), 1);
        core_forget_reports();
    }
    options.clock = AIO_CLOCK_VIRTUAL;              // whose time does not wait for people
    assert_result(run(waits, .how = SLEEPS), -EDEADLK);
    core_forget_reports();
    options.clock = AIO_CLOCK_MONOTONIC;
    signal(SIGINT, SIG_IGN);                        // nobody catches it
    assert_result(run(waits, .how = SLEEPS), -EDEADLK);
    signal(SIGINT, SIG_DFL);
    core_forget_reports();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fresh(RN_3_each_pass_makes_a_turn_however_short_it_is),
        fresh(RN_3_what_respawns_itself_is_told_and_then_refused),
        fresh(RN_3_a_shutdown_cancels_each_task_of_a_chain_once),
        fresh(a_second_join_is_refused_and_told),
        fresh(positions_ids_and_timers_go_on_over_their_wrap),
        fresh(a_tree_and_a_shutdown_of_ids_that_have_wrapped),
        fresh(RN_5_C_7_in_the_last_step),
        fresh(RN_5_runs_inside_each_other),
        fresh(RN_5_a_run_that_catches_it_waits_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
