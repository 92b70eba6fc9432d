// Signals as awaitables: waits, holds, what is put back, other threads, forks, the virtual clock.
#include "core.h"
#include <pthread.h>
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
static bool is_default(int n)
{
    struct sigaction now;
    return !sigaction(n, NULL, &now) && now.sa_handler == SIG_DFL;
}
static int teardown(void **state)
{
    (void)state;
    int bad = core.memory.blocks || core.reports_at || !is_default(SIGTERM) ||
              !is_default(SIGUSR1) || !is_default(SIGUSR2) || !is_default(SIGHUP) ||
              !is_default(SIGINT);
    if (bad) print_error("%ld blocks, reports: %s\n", core.memory.blocks, core.reports);
    return bad;
}
#define signal_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define run(...) aio_run_with(&options, __VA_ARGS__)

// Raises a signal after some turns.
struct raises { aio_frame aio; int n, turns, times; };
aio_async(raises) {
    for (; self->turns > 0; self->turns--) aio_try(aio_next_turn());
    for (; self->times >= 0; self->times--) raise(self->n);
    return 0;
} aio_end
struct waits { aio_frame aio; int a, b; int64_t limit; };
aio_async(waits) {
    aio_result r;
    if (self->limit) aio_await(r, aio_wait_for(self->limit, aio_signal_wait(self->a, self->b)));
    else aio_await(r, aio_signal_wait(self->a, self->b));
    say("%lld ", (long long)r);
    return r;
} aio_end

// --- SG-1
struct one_of_two { aio_frame aio; aio_task *t; };
aio_async(one_of_two) {
    self->t = aio_spawn(waits, .a = SIGTERM, .b = SIGUSR1);
    aio_try(aio_next_turn());
    assert_false(is_default(SIGTERM));
    assert_false(is_default(SIGUSR1));
    raise(SIGUSR1);
    aio_try(aio_next_turn());           // asyncio's callback runs two turns later, too
    aio_try(aio_next_turn());
    assert_true(aio_task_done(self->t));
    assert_true(is_default(SIGTERM) && is_default(SIGUSR1));
    aio_result r;
    aio_await(r, aio_join(self->t));
    return r;
} aio_end
static void SG_1_a_wait_gives_the_number_and_puts_back(void **state)
{
    (void)state;
    assert_result(run(one_of_two), SIGUSR1);
}
static volatile sig_atomic_t own_calls;
static void own_handler(int n) { own_calls += n; }
static void SG_1_a_handler_of_the_users_comes_back(void **state)
{
    (void)state;
    struct sigaction own, now;
    memset(&own, 0, sizeof own);
    own.sa_handler = own_handler;
    own.sa_flags = SA_RESTART;
    sigaction(SIGUSR2, &own, NULL);
    own_calls = 0;
    aio_runner r;
    assert_result(aio_runner_init(&r, &options), 0);
    aio_detach(aio_spawn_on(aio_runner_loop(&r), raises, .n = SIGUSR2, .turns = 2));
    assert_result(aio_runner_run(&r, waits, .a = SIGUSR2, .b = SIGUSR2), SIGUSR2);
    aio_runner_close(&r);
    sigaction(SIGUSR2, NULL, &now);
    assert_true(now.sa_handler == own_handler && (now.sa_flags & SA_RESTART));
    assert_int_equal(own_calls, 0);
    raise(SIGUSR2);
    assert_int_equal(own_calls, SIGUSR2);
    signal(SIGUSR2, SIG_DFL);
}
struct refused { aio_frame aio; aio_signals signals, again; };
aio_async(refused) {
    aio_result r;
    aio_await(r, aio_signal_wait(SIGKILL));
    assert_result(r, -EINVAL);
    aio_await(r, aio_signal_wait(SIGTERM, SIGSTOP));
    assert_result(r, -EINVAL);
    aio_await(r, aio_signal_wait(0));
    assert_result(r, -EINVAL);
    aio_await(r, aio_signal_wait(SIGTERM, 65));
    assert_result(r, -EINVAL);
    aio_await(r, aio_signal_wait(SIGTERM, 32));         // libc keeps that one for itself
    assert_result(r, -EINVAL);
    assert_true(is_default(SIGTERM));
    assert_result(aio_signal_hold(&self->signals, SIGKILL), -EINVAL);
    assert_result(aio_signal_hold(&self->signals, SIGTERM), 0);
    assert_result(aio_signal_hold(&self->signals, SIGTERM), -EINVAL);
    assert_result(aio_signal_hold(&self->again, SIGTERM, SIGUSR1), 0);
    aio_signal_release(&self->signals);
    assert_false(is_default(SIGTERM));
    aio_signal_release(&self->again);
    assert_true(is_default(SIGTERM) && is_default(SIGUSR1));
    aio_signal_release(&self->again);
    return 0;
} aio_end
static void SG_1_what_cannot_be_caught(void **state)
{
    (void)state;
    aio_signals none = { .task = NULL };
    assert_result(aio_signal_hold(&none, SIGTERM), -EINVAL);        // no task runs
    assert_result(run(refused), 0);
}
struct several { aio_frame aio; aio_task *t[3]; aio_op op; };
aio_async(several) {
    self->t[0] = aio_spawn(waits, .a = SIGTERM, .b = SIGUSR1);
    self->t[1] = aio_spawn(waits, .a = SIGUSR1, .b = SIGUSR1);
    self->t[2] = aio_spawn(waits, .a = SIGTERM, .b = SIGTERM);
    assert_result(aio_start(&self->op, aio_signal_wait(SIGHUP, SIGUSR1)), 0);
    aio_try(aio_next_turn());
    raise(SIGUSR1);
    aio_result r;
    aio_await(r, aio_op_wait(&self->op));
    say("op %lld ", (long long)r);
    assert_true(is_default(SIGUSR1) && is_default(SIGHUP));
    assert_false(is_default(SIGTERM));
    raise(SIGTERM);
    aio_await(r, aio_gather(self->t, NULL, 3));
    return r;
} aio_end
static void SG_1_several_waiters(void **state)
{
    (void)state;
    assert_result(run(several), 0);
    assert_trace("op 10 10 10 15 ");
}

// --- cancelling
struct cancelled { aio_frame aio; aio_task *t; aio_op op; int when; };
aio_async(cancelled) {
    aio_result r;
    self->t = aio_spawn(waits, .a = SIGTERM, .b = SIGHUP);
    aio_try(aio_next_turn());
    if (self->when == 1) raise(SIGHUP); // in this very turn: it is not lost
    aio_task_cancel(self->t);
    aio_await(r, aio_join(self->t));
    assert_true(is_default(SIGTERM) && is_default(SIGHUP));
    return r;
} aio_end
// Each signal is given to the wait, or to the handler that was there before: whoever gets it, none
// is lost where waits are cancelled while signals arrive.
static int shed_sent, shed_got, shed_over;      // atomic
static void shed_handler(int n)
{
    (void)n;
    __atomic_add_fetch(&shed_got, 1, __ATOMIC_SEQ_CST);
}
struct shed_wait { aio_frame aio; aio_result r; };
aio_async(shed_wait) {
    aio_await(self->r, aio_signal_wait(SIGUSR1));
    if (self->r == SIGUSR1) shed_handler(SIGUSR1);
    return self->r;
} aio_end
struct shed { aio_frame aio; aio_task *t; unsigned seed; aio_result r; };
aio_async(shed) {
    while (!__atomic_load_n(&shed_over, __ATOMIC_SEQ_CST)) {
        self->t = aio_spawn(shed_wait);
        aio_try(aio_next_turn());
        for (volatile int i = rand_r(&self->seed) % 3000; i > 0; i = i - 1) {}
        aio_task_cancel(self->t);
        aio_await(self->r, aio_join(self->t));
        aio_try(aio_next_turn());
    }
    return 0;
} aio_end
static void *shed_sender(void *arg)
{
    while (shed_sent < 3000) {
        __atomic_add_fetch(&shed_sent, 1, __ATOMIC_SEQ_CST);
        kill(getpid(), SIGUSR1);
        while (__atomic_load_n(&shed_got, __ATOMIC_SEQ_CST) != shed_sent) sched_yield();
    }
    __atomic_store_n(&shed_over, 1, __ATOMIC_SEQ_CST);
    return arg;
}
static void a_cancel_sheds_no_signal(void **state)
{
    (void)state;
    struct sigaction action, was;
    pthread_t thread;
    memset(&action, 0, sizeof action);
    action.sa_handler = shed_handler;
    assert_int_equal(sigaction(SIGUSR1, &action, &was), 0);
    assert_int_equal(pthread_create(&thread, NULL, shed_sender, NULL), 0);
    assert_result(run(shed), 0);
    pthread_join(thread, NULL);
    assert_int_equal(shed_got, shed_sent);
    assert_int_equal(sigaction(SIGUSR1, &was, NULL), 0);
}
static void a_cancel_loses_no_signal(void **state)
{
    (void)state;
    assert_result(run(cancelled, .when = 0), -ECANCELED);
    assert_trace("-125 ");
    assert_result(run(cancelled, .when = 1), -ECANCELED);
    assert_trace("1 ");                 // what the wait gave; the cancel came after it
}
struct limits { aio_frame aio; aio_op op; };
aio_async(limits) {
    aio_result r;
    aio_await(r, aio_wait_for(AIO_MSEC, aio_signal_wait(SIGTERM)));
    assert_result(r, -ETIMEDOUT);
    assert_true(is_default(SIGTERM));
    return aio_start(&self->op, aio_signal_wait(SIGUSR2));      // the frame's return ends it
} aio_end
static void limits_and_frames(void **state)
{
    (void)state;
    assert_result(run(limits), 0);
}
struct leaves_it { aio_frame aio; aio_signals signals; };
aio_async(leaves_it) {
    assert_result(aio_signal_hold(&self->signals, SIGUSR2), 0);
    aio_await(aio_signal_wait(SIGTERM));
    return 0;
} aio_end
static void a_loop_that_is_closed_puts_back(void **state)
{
    (void)state;
    aio_loop loop;
    assert_result(aio_loop_init(&loop, &options), 0);
    aio_detach(aio_spawn_on(&loop, leaves_it));
    aio_loop_stop(&loop);
    assert_result(aio_loop_run_forever(&loop), 0);
    assert_false(is_default(SIGTERM));
    raise(SIGTERM);                     // it came, and nobody will hear of it
    assert_result(aio_loop_close(&loop), 0);
    assert_true(is_default(SIGTERM) && is_default(SIGUSR2));
    assert_int_equal(core_count("task was destroyed but it is pending"), 1);
    core_forget_reports();
}
struct holds_only { aio_frame aio; aio_signals signals; };
aio_async(holds_only) { return aio_signal_hold(&self->signals, SIGTERM); } aio_end
static void no_memory(void **state)
{
    (void)state;
    for (long n = 1; n < 12; n++) {
        memset(&core.memory, 0, sizeof core.memory);
        core.memory.fail_from = n;
        aio_result r = run(holds_only);
        if (r >= 0) break;
        assert_result(r, -ENOMEM);
        if (n > 10) break;
    }
    core_forget_reports();
}

// --- SG-2: holds
struct handles { aio_frame aio; aio_signals signals; int i; };
aio_async(handles) {
    assert_result(aio_signal_hold(&self->signals, SIGTERM, SIGHUP), 0);
    raise(SIGTERM);
    raise(SIGHUP);
    raise(SIGTERM);
    for (self->i = 0; self->i < 4; self->i++) {
        aio_result r;
        aio_await(r, aio_signal_wait(SIGTERM, SIGHUP));
        say("%lld ", (long long)r);
        if (self->i == 1) raise(SIGTERM);
        if (self->i == 1) aio_try(aio_sleep(AIO_MSEC)); // handled while it does something else
    }
    raise(SIGHUP);
    aio_try(aio_sleep(AIO_MSEC));
    return 0;                           // the frame's return lets go
} aio_end
static void SG_2_a_hold_misses_none(void **state)
{
    (void)state;
    // the first wait is woken by what came first in order of numbers; the others were kept
    assert_result(run(handles), 0);
    assert_trace("1 15 15 15 ");
    assert_true(is_default(SIGHUP));
}
struct other { aio_frame aio; aio_signals signals; aio_task *t; };
aio_async(other) {
    assert_result(aio_signal_hold(&self->signals, SIGUSR1), 0);
    self->t = aio_spawn(waits, .a = SIGUSR1, .b = SIGUSR1);
    aio_try(aio_next_turn());
    raise(SIGUSR1);
    aio_try(aio_sleep(AIO_MSEC));       // the other task has it; this one's hold keeps it too
    aio_result r;
    aio_await(r, aio_wait_for(0, aio_signal_wait(SIGUSR1)));
    say("%lld ", (long long)r);
    aio_await(r, aio_signal_wait(SIGUSR1));
    say("%lld ", (long long)r);
    aio_await(r, aio_wait_for(AIO_MSEC, aio_signal_wait(SIGUSR1)));
    say("%lld ", (long long)r);
    aio_await(r, aio_join(self->t));
    return r;
} aio_end
static void SG_2_a_hold_is_its_tasks_own(void **state)
{
    (void)state;
    assert_result(run(other), SIGUSR1);
    assert_trace("10 -110 10 -110 ");
}
struct flood { aio_frame aio; aio_signals signals; int n; };
aio_async(flood) {
    assert_result(aio_signal_hold(&self->signals, SIGUSR1), 0);
    for (self->n = 0; self->n < 300; self->n++) raise(SIGUSR1);
    aio_result r;
    aio_try(aio_sleep(AIO_MSEC));
    for (self->n = 0;; self->n++) {
        aio_await(r, aio_wait_for(AIO_MSEC, aio_signal_wait(SIGUSR1)));
        if (r < 0) break;
    }
    return self->n;
} aio_end
static void SG_2_a_number_is_remembered_255_times(void **state)
{
    (void)state;
    assert_result(run(flood), 255);
}

// --- SIGINT in a run
struct interrupts { aio_frame aio; aio_task *t; };
aio_async(interrupts) {
    aio_result r;
    self->t = aio_spawn(waits, .a = SIGINT, .b = SIGTERM);
    aio_try(aio_next_turn());
    raise(SIGINT);
    aio_await(r, aio_sleep(AIO_MSEC));
    say("%lld ", (long long)r);         // not cancelled
    raise(SIGINT);                      // the run's own again
    aio_await(r, aio_sleep(AIO_SECOND * 60));
    say("%lld ", (long long)r);
    aio_detach(self->t);
    aio_detach(aio_spawn(waits, .a = SIGINT, .b = SIGINT));     // still waits when the run is over
    aio_await(aio_next_turn());
    return -ECANCELED;
} aio_end
static void SG_1_a_wait_for_the_interrupt(void **state)
{
    (void)state;
    assert_result(run(interrupts), -EINTR);
    assert_trace("2 0 -125 -125 ");
    assert_true(is_default(SIGINT));
}

// --- the virtual clock: an armed signal is outside work
static void *raises_later(void *arg)
{
    usleep(20000);
    kill(getpid(), *(int *)arg);
    return NULL;
}
struct sleeps { aio_frame aio; int64_t ns; };
aio_async(sleeps) {
    aio_result r;
    aio_await(r, aio_sleep(self->ns));
    say("slept ");
    return r;
} aio_end
struct frozen { aio_frame aio; aio_task *t; };
aio_async(frozen) {
    aio_result r;
    self->t = aio_spawn(sleeps, .ns = AIO_SECOND * 3600);
    aio_await(r, aio_signal_wait(SIGUSR1));
    say("%lld at %lld ", (long long)r, (long long)aio_loop_time(aio_running_loop()));
    aio_await(r, aio_join(self->t));
    return r;
} aio_end
static void SG_1_time_does_not_jump(void **state)
{
    (void)state;
    pthread_t t;
    int n = SIGUSR1;
    options.clock = AIO_CLOCK_VIRTUAL;
    pthread_create(&t, NULL, raises_later, &n);
    assert_result(run(frozen), 0);
    pthread_join(t, NULL);
    assert_trace("10 at 0 slept ");
    pthread_create(&t, NULL, raises_later, &n);             // nothing else to do: no deadlock
    assert_result(run(waits, .a = SIGUSR1, .b = SIGUSR1), SIGUSR1);
    pthread_join(t, NULL);
    core.trace[core.trace_at = 0] = 0;
}

// --- several loops in several threads
static int ready_loops;         // atomic
struct in_thread { aio_frame aio; aio_signals signals; };
aio_async(in_thread) {
    aio_result r;
    assert_result(aio_signal_hold(&self->signals, SIGUSR1, SIGUSR2), 0);
    __atomic_add_fetch(&ready_loops, 1, __ATOMIC_SEQ_CST);
    aio_await(r, aio_signal_wait(SIGUSR1));
    if (r != SIGUSR1) return -EPROTO;
    aio_await(r, aio_signal_wait(SIGUSR2));
    return r;
} aio_end
static void *runs_a_loop(void *arg)
{
    struct aio_loop_options o;
    memset(&o, 0, sizeof o);
    *(aio_result *)arg = aio_run_with(&o, in_thread);
    return NULL;
}
static void SG_1_every_loop_gets_it(void **state)
{
    (void)state;
    enum { N = 4 };
    pthread_t t[N];
    aio_result r[N];
    for (int round = 0; round < 20; round++) {
        ready_loops = 0;
        for (int i = 0; i < N; i++) pthread_create(&t[i], NULL, runs_a_loop, &r[i]);
        while (__atomic_load_n(&ready_loops, __ATOMIC_SEQ_CST) < N) usleep(100);
        assert_int_equal(kill(getpid(), SIGUSR1), 0);
        pthread_kill(t[0], SIGUSR2);
        for (int i = 0; i < N; i++) pthread_join(t[i], NULL);
        for (int i = 0; i < N; i++) assert_result(r[i], SIGUSR2);
    }
}
// Loops come and go while signals arrive in a thread that has none.
static int storm_over;          // atomic
static void *storm(void *arg)
{
    (void)arg;
    // Its own thread has no loop; and a process' signal may come to either.
    while (!__atomic_load_n(&storm_over, __ATOMIC_SEQ_CST)) {
        raise(SIGUSR1);
        kill(getpid(), SIGUSR1);
        usleep(1);
    }
    return NULL;
}
// What it waits for it sends itself as well: a loop need not wait until the storm has the processor.
static int raises_usr1(void *arg)
{
    (void)arg;
    return raise(SIGUSR1);
}
struct in_a_storm { aio_frame aio; aio_handle handle; };
aio_async(in_a_storm) {
    aio_result r;
    aio_try(aio_call_soon(aio_running_loop(), &self->handle, raises_usr1, NULL));
    aio_await(r, aio_signal_wait(SIGUSR1));
    aio_handle_cancel(&self->handle);           // the storm's came first
    return r;
} aio_end
static void loops_come_and_go_in_a_storm(void **state)
{
    (void)state;
    pthread_t t;
    struct sigaction ignored;
    memset(&ignored, 0, sizeof ignored);
    ignored.sa_handler = SIG_IGN;
    sigaction(SIGUSR1, &ignored, NULL);
    storm_over = 0;
    pthread_create(&t, NULL, storm, NULL);
    for (int i = 0; i < 200; i++) assert_result(run(in_a_storm), SIGUSR1);
    __atomic_store_n(&storm_over, 1, __ATOMIC_SEQ_CST);
    pthread_join(t, NULL);
    signal(SIGUSR1, SIG_DFL);
}

// --- fork: the child has what was there before
struct forks { aio_frame aio; aio_signals signals; pid_t child; int status; bool ignore; };
aio_async(forks) {
    assert_result(aio_signal_hold(&self->signals, SIGTERM, SIGHUP), 0);
    self->child = fork();
    if (!self->child) {
        struct sigaction now;
        sigaction(SIGHUP, NULL, &now);
        aio_signal_release(&self->signals);     // the parent's: nothing happens
        if (now.sa_handler != (self->ignore ? SIG_IGN : SIG_DFL)) _exit(3);
        raise(SIGTERM);
        _exit(4);
    }
    waitpid(self->child, &self->status, 0);
    if (!WIFSIGNALED(self->status) || WTERMSIG(self->status) != SIGTERM) return -EPROTO;
    raise(SIGHUP);
    aio_result r;
    aio_await(r, aio_signal_wait(SIGHUP));
    return r;
} aio_end
static void a_forked_child_has_the_old_dispositions(void **state)
{
    (void)state;
    assert_result(run(forks), SIGHUP);
    signal(SIGHUP, SIG_IGN);
    assert_result(run(forks, .ignore = true), SIGHUP);
    signal(SIGHUP, SIG_DFL);
}

static void what_it_waits_for_in_words(void **state)
{
    (void)state;
    char text[64] = "";
    aio_loop loop;
    assert_result(aio_loop_init(&loop, &options), 0);
    aio_task *t = aio_spawn_on(&loop, waits, .a = SIGTERM, .b = SIGHUP);
    aio_loop_stop(&loop);
    aio_loop_run_forever(&loop);
    aio_describe(&t->waiter, text, sizeof text);
    assert_string_equal(text, "signal 1 or 15");
    aio_task_cancel(t);
    assert_result(aio_loop_run_until_complete(&loop, t), -ECANCELED);
    aio_detach(t);
    assert_result(aio_loop_close(&loop), 0);
    core.trace[core.trace_at = 0] = 0;
}

// The frame that holds returns: what was there before is put back at once, not when the run ends.
struct leaves_hold { aio_frame aio; aio_signals signals; };
aio_async(leaves_hold) {
    aio_try(aio_signal_hold(&self->signals, SIGUSR1));
    return is_default(SIGUSR1);
} aio_end
struct looks_after { aio_frame aio; struct leaves_hold in; aio_result r; };
aio_async(looks_after) {
    aio_await(self->r, aio_call(&self->in, leaves_hold));
    return self->r ? -EIO : is_default(SIGUSR1);
} aio_end
static void SG_2_a_frame_that_returns_gives_its_hold_back(void **state)
{
    (void)state;
    assert_result(run(looks_after), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        signal_test(SG_1_a_wait_gives_the_number_and_puts_back),
        signal_test(SG_1_a_handler_of_the_users_comes_back),
        signal_test(SG_1_what_cannot_be_caught),
        signal_test(SG_1_several_waiters),
        signal_test(a_cancel_loses_no_signal),
        signal_test(a_cancel_sheds_no_signal),
        signal_test(limits_and_frames),
        signal_test(a_loop_that_is_closed_puts_back),
        signal_test(no_memory),
        signal_test(SG_2_a_frame_that_returns_gives_its_hold_back),
        signal_test(SG_2_a_hold_misses_none),
        signal_test(SG_2_a_hold_is_its_tasks_own),
        signal_test(SG_2_a_number_is_remembered_255_times),
        signal_test(SG_1_a_wait_for_the_interrupt),
        signal_test(SG_1_time_does_not_jump),
        signal_test(SG_1_every_loop_gets_it),
        signal_test(loops_come_and_go_in_a_storm),
        signal_test(a_forked_child_has_the_old_dispositions),
        signal_test(what_it_waits_for_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
