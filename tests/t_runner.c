// Several runs on one loop, and SIGINT under them: rules RN-1 to RN-5.
#include "test.h"

#include <pthread.h>
#include <signal.h>

#include "aio_io_uring.h"
#include "core.h"

static struct aio_loop_options options;
static int setup(void **state) {
    (void)state;
    memset(&core, 0, sizeof core);
    options = core_options(AIO_CLOCK_VIRTUAL);
    return 0;
}
static int teardown(void **state) {
    struct sigaction now;
    (void)state;
    sigaction(SIGINT, NULL, &now);
    if (core.memory.blocks) print_error("%ld blocks are left\n", core.memory.blocks);
    if (core.reports_at) print_error("reports are left: %s", core.reports);
    if (now.sa_handler != SIG_DFL) print_error("the handler of SIGINT is left\n");
    return core.memory.blocks || core.reports_at || aio_running_loop() || now.sa_handler != SIG_DFL;
}
#define fresh(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

struct counts {
    aio_frame aio;
    aio_result result;
    int turns;
    int64_t nap;
};
aio_drop(counts) {
    (void)dropped;
    say("drop ");
    return 0;
}
aio_end aio_async(counts) {
    while (self->turns--) aio_try(aio_next_turn());
    if (self->nap) aio_try(aio_sleep(self->nap));
    return self->result;
}
aio_end static void RN_1_several_runs_on_one_loop(void **state) {
    (void)state;
    aio_runner r;
    assert_result(aio_runner_init(&r, &options), 0);
    assert_ptr_equal(aio_runner_loop(&r), &r.loop);
    for (int i = 0; i < 5; i++) {
        assert_result(aio_runner_run(&r, counts, .result = i, .nap = AIO_SECOND), i);
        assert_result(aio_loop_time(aio_runner_loop(&r)), (i + 1) * AIO_SECOND); // the same loop
    }
    assert_result(aio_runner_run(&r, counts, .result = -EIO), -EIO);
    assert_null(aio_running_loop());
    assert_result(aio_runner_close(&r), 0);
    assert_result(aio_runner_close(&r), 0);
    assert_true(aio_loop_is_closed(&r.loop));
    assert_result(aio_runner_run(&r, counts, .result = 1), -EBADFD);
    assert_trace("drop "); // its arguments were released
}
// What a run leaves goes on in the next, and is cancelled at the close.
struct ticks {
    aio_frame aio;
    int n, *count;
    aio_result r;
};
aio_async(ticks) {
    for (;;) {
        aio_await(self->r, aio_sleep(AIO_SECOND));
        if (self->r < 0) break;
        ++*self->count;
    }
    aio_await(aio_sleep(AIO_MSEC));
    say("end%d ", self->n);
    return self->r;
}
aio_end struct leaves {
    aio_frame aio;
    int *count;
};
aio_async(leaves) {
    for (int i = 1; i <= 3; i++) aio_detach(aio_spawn(ticks, .n = i, .count = self->count));
    return 0;
}
aio_end static void RN_3_leftovers_go_on_and_are_cancelled_at_close(void **state) {
    (void)state;
    int count = 0;
    aio_runner r;
    assert_result(aio_runner_init(&r, &options), 0);
    assert_result(aio_runner_run(&r, leaves, .count = &count), 0);
    assert_result(count, 0);
    assert_result(aio_runner_run(&r, counts, .nap = 10 * AIO_SECOND + 1), 0);
    assert_result(count, 30);
    assert_trace("");
    assert_result(aio_runner_run(&r, counts, .result = -EIO), -EIO);
    assert_result(aio_runner_close(&r), 0);
    assert_trace("end1 end2 end3 ");
}
static void RN_1_a_runner_that_never_ran(void **state) {
    (void)state;
    aio_runner r;
    assert_result(aio_runner_init(&r, NULL), 0);
    assert_result(aio_runner_close(&r), 0);
    core.memory.fail_from = 1;
    assert_result(aio_runner_init(&r, &options), -ENOMEM);
    assert_result(aio_runner_run(&r, counts), -ENOMEM);
    assert_trace("drop ");
    assert_result(aio_runner_close(&r), 0);
}
struct inner {
    aio_frame aio;
    aio_runner *own, *other;
};
aio_async(inner) {
    assert_result(aio_runner_run(self->own, counts, .result = 1), -EBUSY);
    assert_result(aio_runner_close(self->own), -EBUSY);
    assert_result(aio_runner_run(self->other, counts, .result = 1), -EBUSY);
    assert_result(aio_runner_close(self->other), -EBUSY);
    aio_await(aio_next_turn());
    aio_await(aio_next_turn());
    assert_trace("drop "); // what was refused does not run later either
    return 2;
}
aio_end static void L_10_L_11_a_run_inside_a_run(void **state) {
    (void)state;
    aio_runner r, other;
    assert_result(aio_runner_init(&r, &options), 0);
    assert_result(aio_runner_init(&other, &options), 0);
    assert_result(aio_runner_run(&r, inner, .own = &r, .other = &other), 2);
    assert_result(aio_runner_close(&other), 0);
    assert_result(aio_runner_close(&r), 0);
    assert_trace("drop ");
    assert_result(core_count("run refused"), 3);
    core_forget_reports();
}
static void *close_here(void *arg) {
    return (void *)(intptr_t)aio_runner_close((aio_runner *)arg);
}
static void contract_8_close_in_another_thread(void **state) {
    (void)state;
    int count = 0;
    pthread_t t;
    void *r;
    aio_runner runner;
    assert_result(aio_runner_init(&runner, &options), 0);
    assert_result(aio_runner_run(&runner, leaves, .count = &count), 0);
    pthread_create(&t, NULL, close_here, &runner);
    pthread_join(t, &r);
    assert_result((intptr_t)r, -EPERM);
    assert_trace(""); // nothing ran there
    core_forget_reports();
    assert_result(aio_runner_close(&runner), 0);
    core.trace[core.trace_at = 0] = 0;
}

// --- SIGINT
enum { IDLE, BUSY, IO, SWALLOWS, FAILS, OTHERS_TOO, TWICE, AFTER };
struct main_task {
    aio_frame aio;
    int mode, fd;
    char buf[8];
    aio_result r;
    int n;
};
static pthread_t main_thread;
static int main_runs; // atomic
static void *interrupts(void *arg) {
    while (!__atomic_load_n(&main_runs, __ATOMIC_SEQ_CST)) usleep(100);
    usleep(1000);
    pthread_kill(arg ? *(pthread_t *)arg : pthread_self(), SIGINT);
    return NULL;
}
static int cancel_current(void *arg) {
    aio_task_cancel((aio_task *)arg);
    return 0;
}
static aio_handle cancels;
aio_async(main_task) {
    __atomic_store_n(&main_runs, 1, __ATOMIC_SEQ_CST);
    if (self->mode > IO) kill(getpid(), SIGINT);
    if (self->mode == IO) {
        aio_await(self->r, aio_recv(self->fd, self->buf, 8, 0));
    } else if (self->mode == BUSY) {
        do aio_await(self->r, aio_next_turn());
        while (self->r >= 0);
    } else {
        aio_await(self->r, aio_sleep(60 * AIO_SECOND));
    }
    say("%lld/%u ", (long long)self->r, aio_task_cancelling(aio_current_task()));
    if (self->mode == SWALLOWS) {
        aio_await(self->r, aio_sleep(AIO_MSEC));
        return 3;
    }
    if (self->mode == FAILS) return -EIO;
    if (self->mode == OTHERS_TOO) {
        aio_call_soon(aio_running_loop(), &cancels, cancel_current, aio_current_task());
        aio_await(aio_sleep(AIO_MSEC));
    }
    return self->r;
}
aio_end static void RN_5_the_first_cancels_main(void **state) {
    (void)state;
    options.clock = AIO_CLOCK_MONOTONIC;
    assert_result(aio_run_with(&options, main_task, .mode = AFTER), -EINTR);
    assert_trace("-125/1 ");
    assert_result(aio_run_with(&options, main_task, .mode = SWALLOWS), 3);
    assert_trace("-125/1 ");
    assert_result(aio_run_with(&options, main_task, .mode = FAILS), -EIO);
    assert_trace("-125/1 ");
    assert_result(aio_run_with(&options, main_task, .mode = OTHERS_TOO), -ECANCELED);
    assert_trace("-125/1 ");
    options.clock = AIO_CLOCK_VIRTUAL;
    assert_result(aio_run_with(&options, main_task, .mode = AFTER), -EINTR);
    assert_trace("-125/1 ");
}
static void RN_5_it_wakes_the_loop(void **state) {
    (void)state;
    pthread_t t;
    main_thread = pthread_self();
    options.clock = AIO_CLOCK_MONOTONIC;
    for (int i = 0; i < 4; i++) { // the signal comes in the main thread, or in the other
        main_runs = 0;
        assert_int_equal(pthread_create(&t, NULL, interrupts, i & 1 ? NULL : &main_thread), 0);
        assert_result(aio_run_with(&options, main_task, .mode = i / 2), -EINTR);
        pthread_join(t, NULL);
        assert_trace("-125/1 ");
    }
}
static void RN_5_it_ends_an_operation_of_the_kernel(void **state) {
    (void)state;
    int pair[2];
    pthread_t t;
    aio_loop l;
    bool ring = aio_loop_init(&l, NULL) == 0 && aio_uring_attach(&l, NULL) == 0;
    aio_loop_close(&l);
    if (!ring) test_skip("no io_uring");
    main_thread = pthread_self();
    options.clock = AIO_CLOCK_MONOTONIC;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    for (int i = 0; i < 20; i++) {
        main_runs = 0;
        assert_int_equal(pthread_create(&t, NULL, interrupts, &main_thread), 0);
        assert_result(aio_run_with(&options, main_task, .mode = IO, .fd = pair[0]), -EINTR);
        pthread_join(t, NULL);
        assert_trace("-125/1 ");
    }
    close(pair[0]);
    close(pair[1]);
}
// Each run counts anew; between the runs the signal is the process's own again.
static void RN_5_in_each_run_of_a_runner(void **state) {
    (void)state;
    aio_runner r;
    struct sigaction now;
    options.clock = AIO_CLOCK_MONOTONIC;
    assert_result(aio_runner_init(&r, &options), 0);
    for (int i = 0; i < 3; i++) {
        assert_result(aio_runner_run(&r, main_task, .mode = AFTER), -EINTR);
        assert_trace("-125/1 ");
        sigaction(SIGINT, NULL, &now);
        assert_true(now.sa_handler == SIG_DFL);
        assert_result(aio_runner_run(&r, counts, .turns = 3, .result = 5), 5);
    }
    assert_result(aio_runner_close(&r), 0);
}
// A signal that comes while the loop takes in what other threads sent is not lost.
struct flooded {
    aio_frame aio;
    pthread_t t;
    aio_result r;
};
static int nothing(void *arg) {
    (void)arg;
    return 0;
}
static void *floods_with(void *arg) {
    static aio_handle h[3000];
    for (int i = 0; i < 3000; i++) {
        aio_call_soon_threadsafe((aio_loop *)arg, &h[i], nothing, NULL);
        if (i % 100 == 50) pthread_kill(main_thread, SIGWINCH);
        if (i == 1500) pthread_kill(main_thread, SIGINT);
    }
    return NULL;
}
aio_async(flooded) {
    pthread_create(&self->t, NULL, floods_with, aio_running_loop());
    aio_await(self->r, aio_sleep(60 * AIO_SECOND));
    pthread_join(self->t, NULL);
    return self->r;
}
aio_end static void RN_5_L_14_among_calls_from_threads(void **state) {
    (void)state;
    main_thread = pthread_self();
    options.clock = AIO_CLOCK_MONOTONIC;
    for (int i = 0; i < 50; i++) assert_result(aio_run_with(&options, flooded), -EINTR);
}
// A handler of the program's own stays.
static volatile sig_atomic_t own_calls;
static void own_handler(int n) {
    (void)n;
    own_calls = own_calls + 1;
}
struct raises {
    aio_frame aio;
};
aio_async(raises) {
    raise(SIGINT);
    aio_try(aio_sleep(AIO_MSEC));
    return 8;
}
aio_end static void RN_5_a_handler_of_the_programs_own(void **state) {
    (void)state;
    struct sigaction now;
    signal(SIGINT, own_handler);
    assert_result(aio_run_with(&options, raises), 8);
    assert_int_equal(own_calls, 1);
    sigaction(SIGINT, NULL, &now);
    assert_true(now.sa_handler == own_handler);
    signal(SIGINT, SIG_IGN);
    assert_result(aio_run_with(&options, raises), 8);
    sigaction(SIGINT, NULL, &now);
    assert_true(now.sa_handler == SIG_IGN);
    signal(SIGINT, SIG_DFL);
}
static void *run_elsewhere(void *arg) {
    struct sigaction now;
    (void)arg;
    aio_runner r;
    aio_runner_init(&r, NULL);
    aio_result result = aio_runner_run(&r, counts, .turns = 3, .result = 6);
    sigaction(SIGINT, NULL, &now);
    aio_runner_close(&r);
    return (void *)(intptr_t)(now.sa_handler == SIG_DFL ? result : -1);
}
static void RN_5_only_in_the_main_thread(void **state) {
    (void)state;
    pthread_t t;
    void *r;
    pthread_create(&t, NULL, run_elsewhere, NULL);
    pthread_join(t, &r);
    assert_result((intptr_t)r, 6);
}
// The second one ends the process, as the signal itself would.
struct stubborn {
    aio_frame aio;
    int times;
};
aio_async(stubborn) {
    for (; self->times; self->times--) {
        kill(getpid(), SIGINT);
        aio_await(aio_sleep(AIO_MSEC));
    }
    return 1;
}
aio_end static void interrupted(void *arg) {
    struct aio_loop_options o;
    memset(&o, 0, sizeof o);
    aio_result r = aio_run_with(&o, stubborn, .times = *(int *)arg);
    _exit(r == 1 ? 10 : r == -EINTR ? 11 : 12);
}
static void RN_5_the_second_ends_the_process(void **state) {
    (void)state;
    char text[256];
    int times = 1, status = test_in_child(interrupted, &times, text, sizeof text);
    assert_true(WIFEXITED(status));
    assert_result(WEXITSTATUS(status), 10); // swallowed
    times = 2;
    status = test_in_child(interrupted, &times, text, sizeof text);
    assert_true(WIFSIGNALED(status));
    assert_result(WTERMSIG(status), SIGINT);
}

// The runner is an expression like any other: it is evaluated once.
struct at_once { aio_frame aio; };
aio_async(at_once) {
    return 7;
} aio_end
static void RN_1_the_runner_is_evaluated_once(void **state)
{
    (void)state;
    aio_runner runners[2], *next = runners;
    for (int i = 0; i < 2; i++) assert_result(aio_runner_init(&runners[i], 0), 0);
    assert_result(aio_runner_run(next++, at_once), 7);
    assert_ptr_equal(next, &runners[1]);
    for (int i = 0; i < 2; i++) assert_result(aio_runner_close(&runners[i]), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fresh(RN_1_several_runs_on_one_loop),
        fresh(RN_1_a_runner_that_never_ran),
        fresh(RN_3_leftovers_go_on_and_are_cancelled_at_close),
        fresh(L_10_L_11_a_run_inside_a_run),
        fresh(contract_8_close_in_another_thread),
        fresh(RN_5_the_first_cancels_main),
        fresh(RN_5_it_wakes_the_loop),
        fresh(RN_5_it_ends_an_operation_of_the_kernel),
        fresh(RN_5_in_each_run_of_a_runner),
        fresh(RN_5_L_14_among_calls_from_threads),
        fresh(RN_5_a_handler_of_the_programs_own),
        fresh(RN_5_only_in_the_main_thread),
        fresh(RN_5_the_second_ends_the_process),
        cmocka_unit_test(RN_1_the_runner_is_evaluated_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
