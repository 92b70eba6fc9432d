// Forked children: rule L-13 and contract 8: every call on the parent's loops gives -EPERM, nothing
// of the parent's is run or disturbed, and the child may run a loop of its own.
#include "core.h"

#include <pthread.h>
#include <sys/mman.h>

struct returns { aio_frame aio; aio_result result; };
aio_async(returns) { aio_try(aio_next_turn()); return self->result; } aio_end

// What the child says goes through shared memory: it is told by its number.
static int *shared;
static int fails_at(int line) { return *shared = line; }
#define child_expects(condition) \
    do { \
        if (!(condition)) _exit(fails_at(__LINE__) != 0); \
    } while (0)
static int nothing(void *arg)
{
    (void)arg;
    return 0;
}
static void quiet(aio_loop *l, const struct aio_report *r, void *context)
{
    (void)l;
    (void)r;
    (void)context;
}
static int setup(void **state)
{
    shared = (int *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return shared == MAP_FAILED || core_setup(state);
}
static int teardown(void **state)
{
    munmap(shared, 4096);
    return core_teardown(state);
}
#define fork_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
static void child_ended_well(pid_t child)
{
    int status;
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status)) fail_msg("the child failed in line %d", *shared);
}

// Every call on a loop that the parent made.
static void all_calls_are_refused(aio_loop *l)
{
    aio_handle h;
    aio_future f = { 0 };
    child_expects(aio_running_loop() == NULL);
    child_expects(aio_task_result(aio_spawn_on(l, returns)) == -EPERM);
    child_expects(aio_call_soon(l, &h, nothing, NULL) == -EPERM);
    child_expects(aio_call_later(l, &h, 1, nothing, NULL) == -EPERM);
    child_expects(aio_call_at(l, &h, 1, nothing, NULL) == -EPERM);
    child_expects(aio_call_at(l, &h, AIO_FOREVER, nothing, NULL) == -EPERM);
    child_expects(aio_call_soon_threadsafe(l, &h, nothing, NULL) == -EPERM);
    child_expects(aio_loop_run_forever(l) == -EPERM);
    child_expects(aio_loop_run_until_complete(l, &f) == -EPERM);
}
static void L_13_a_loop_that_does_not_run(void **state)
{
    (void)state;
    aio_loop fresh, closed, *gone = (aio_loop *)malloc(sizeof *gone);
    core.loop.options.on_error = quiet;
    struct aio_loop_options o = core_options(AIO_CLOCK_MONOTONIC);
    o.on_error = quiet;
    assert_result(aio_loop_init(&fresh, &o), 0);
    assert_result(aio_loop_init(gone, &o), 0);
    assert_result(aio_loop_init(&closed, &o), 0);
    assert_result(aio_loop_close(&closed), 0);
    core_turn();                                        // `fresh` never ran, core.loop did
    pid_t child = fork();
    if (!child) {
        all_calls_are_refused(&core.loop);
        all_calls_are_refused(&fresh);
        child_expects(aio_loop_close(&core.loop) == -EPERM);
        child_expects(aio_loop_close(&fresh) == -EPERM);
        child_expects(aio_loop_close(&closed) == 0);
        memset(gone, 0xee, sizeof *gone); // the child need not keep what it cannot use
        free(gone);
        child_expects(aio_run(returns, .result = 5) == 5);      // a loop of its own
        pid_t grandchild = fork();
        if (!grandchild) _exit(aio_run(returns, .result = 5) == 5 ? 0 : 1);
        int status;
        waitpid(grandchild, &status, 0);
        child_expects(status == 0);
        _exit(0);
    }
    child_ended_well(child);
    core_turn();                                        // the parent goes on
    assert_result(aio_loop_close(&fresh), 0);
    assert_result(aio_loop_close(gone), 0);
    free(gone);
}

// Inside a coroutine: the rest of the batch belongs to the parent.
struct forks {
    aio_frame aio;
    pid_t child;
    int how;
    aio_task *other;
    aio_callback cb;
    aio_future f;
};
static int counts(void *arg)
{
    (void)arg;
    shared[1]++;
    return 0;
}
static int counts_done(aio_future *f, void *arg)
{
    (void)f;
    return counts(arg);
}
static aio_result in_child(struct forks *s)
{
    all_calls_are_refused(&core.loop);
    child_expects(aio_current_task() != NULL);
    child_expects(aio_task_result(aio_spawn(returns)) == -EPERM);
    child_expects(aio_task_result(aio_spawn_eager(returns)) == -EPERM);
    child_expects(aio_future_add_done_callback(&s->f, &s->cb, counts_done, NULL) == -EPERM);
    child_expects(aio_loop_close(&core.loop) == -EBUSY);        // it runs
    child_expects(aio_run(returns, .result = 5) == 5);          // a loop of its own
    child_expects(aio_running_loop() == NULL);
    child_expects(aio_task_result(aio_spawn(returns)) == -EPERM);
    aio_task_cancel(s->other);                                  // harmless
    aio_future_set_result(&s->f, 1);
    return 0;
}
aio_async(forks) {
    self->f.loop = &core.loop.executor;
    self->child = fork();
    if (!self->child) in_child(self);
    if (!self->child && self->how == 1) return 3;               // the run gives -EPERM all the same
    if (!self->child && self->how == 2) _exit(0);
    aio_await(aio_sleep(AIO_MSEC));
    if (!self->child) _exit(fails_at(__LINE__) != 0);
    return self->child;
} aio_end
static void L_13_fork_in_a_coroutine(void **state)
{
    (void)state;
    core.loop.options.on_error = quiet;
    for (int how = 0; how < 3; how++) {
        aio_handle before, after;
        pid_t me = getpid();
        shared[1] = 0;
        aio_call_soon(&core.loop, &before, counts, NULL);
        aio_task *t = core_spawn(forks, .how = how), *other = core_spawn(returns, .result = 1);
        aio_task_frame(forks, t)->other = other;
        aio_call_soon(&core.loop, &after, counts, NULL);        // runs in the parent only
        aio_result r = core_run(t);
        if (getpid() != me) {
            if (r != -EPERM) _exit(fails_at(__LINE__) != 0);
            if (aio_running_loop()) _exit(fails_at(__LINE__) != 0);
            if (aio_run(returns, .result = 8) != 8) _exit(fails_at(__LINE__) != 0);
            _exit(0);
        }
        child_ended_well((pid_t)r);
        assert_result(aio_task_result(other), 1);
        assert_result(shared[1], 2);
        aio_detach(t);
        aio_detach(other);
    }
}

// Iterators: one that is open, one that stands at a yield, and one that never began.
struct numbers { aio_frame aio; int value; };
aio_async(numbers) {
    for (;;) {
        shared[1]++;
        aio_yield(1);
    }
} aio_end
struct iterates {
    aio_frame aio;
    struct numbers open, at_yield, zeroed;
    aio_ticks ticks, no_ticks;
    pid_t child;
    aio_result r;
};
#define child_is_refused(awaitable) \
    do { \
        aio_await(self->r, awaitable); \
        child_expects(self->r == -EPERM); \
    } while (0)
aio_async(iterates) {
    aio_try(aio_gen_init(&self->open, numbers));
    aio_try(aio_gen_init(&self->at_yield, numbers));
    aio_try(aio_next(&self->at_yield));
    aio_try(aio_ticker(&self->ticks, AIO_MSEC));
    self->child = fork();
    if (!self->child) {
        child_is_refused(aio_next(&self->open));
        child_is_refused(aio_next(&self->at_yield));
        child_is_refused(aio_next(&self->zeroed));
        child_is_refused(aio_next(&self->ticks));
        child_is_refused(aio_next(&self->no_ticks));
        child_is_refused(aio_gen_close(&self->open));
        child_is_refused(aio_gen_close(&self->at_yield));
        child_is_refused(aio_gen_close(&self->zeroed));
        child_is_refused(aio_gen_close(&self->ticks));
        child_is_refused(aio_gen_close(&self->no_ticks));
        _exit(0);
    }
    aio_try(aio_next(&self->open));
    aio_try(aio_next(&self->at_yield));
    aio_try(aio_next(&self->ticks));
    return self->child;
} aio_end
static void contract_8_L_13_iterators_in_the_child(void **state)
{
    (void)state;
    shared[1] = 0;
    aio_task *t = core_spawn(iterates);
    aio_result r = core_run(t);
    assert_result(shared[1], 3);                // what the parent asked for
    child_ended_well((pid_t)r);
    aio_detach(t);
}

// aio_run in the child gives -EPERM to its caller.
struct forks_run { aio_frame aio; };
static pid_t forked;
aio_async(forks_run) {
    forked = fork();
    if (forked < 0) return -errno;
    aio_await(aio_next_turn());
    if (!forked) shared[1]++;           // the shutdown in the child must not go on with it
    aio_try(aio_sleep(AIO_MSEC));
    return 1;
} aio_end
static void L_13_RN_2_aio_run_in_the_child(void **state)
{
    (void)state;
    pid_t me = getpid();
    struct aio_loop_options o = core_options(AIO_CLOCK_MONOTONIC);
    o.on_error = quiet;
    aio_result r = aio_run_with(&o, forks_run);
    if (getpid() != me) _exit(r == -EPERM && !shared[1] ? 0 : fails_at(__LINE__) != 0);
    assert_result(r, 1);
    child_ended_well(forked);
}

// The inbox's lock may be held by another thread at the fork.
static void *holds_the_lock(void *arg)
{
    pthread_mutex_lock(&core.loop.mailbox.lock);
    pthread_barrier_wait((pthread_barrier_t *)arg);
    pthread_barrier_wait((pthread_barrier_t *)arg);
    pthread_mutex_unlock(&core.loop.mailbox.lock);
    return NULL;
}
static void L_13_L_14_a_lock_held_at_the_fork(void **state)
{
    (void)state;
    pthread_barrier_t barrier;
    pthread_t thread;
    aio_handle posted;
    core.loop.options.on_error = quiet;
    assert_result(aio_call_soon_threadsafe(&core.loop, &posted, nothing, NULL), 0);
    aio_thread_future *f = aio_spawn_threadsafe(&core.loop, returns, .result = 5);
    pthread_barrier_init(&barrier, NULL, 2);
    assert_int_equal(pthread_create(&thread, NULL, holds_the_lock, &barrier), 0);
    pthread_barrier_wait(&barrier);
    pid_t child = fork();
    if (!child) {
        aio_handle h;
        alarm(5);
        child_expects(aio_call_soon_threadsafe(&core.loop, &h, nothing, NULL) == -EPERM);
        child_expects(aio_loop_post(&core.loop, 1) == -EPERM);
        child_expects(aio_thread_enter(&core.loop) == -EPERM);
        aio_handle_cancel(&posted);
        child_expects(aio_loop_run_forever(&core.loop) == -EPERM);
        child_expects(aio_loop_close(&core.loop) == -EPERM);
        child_expects(!aio_thread_future_cancel(f));
        child_expects(aio_thread_future_done(f));
        child_expects(aio_thread_future_wait(f, AIO_FOREVER) == -EPERM);
        child_expects(aio_thread_future_result(f) == -EPERM);
        aio_thread_future_release(f);
        child_expects(aio_run(returns, .result = 5) == 5);
        _exit(0);
    }
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&barrier);
    child_ended_well(child);
    while (!aio_thread_future_done(f)) core_turn();     // the parent's are as they were
    assert_result(aio_thread_future_wait(f, 0), 5);
    aio_thread_future_release(f);
}

// SIGINT ends a child of a run, and is no business of its parent's.
struct raises { aio_frame aio; };
aio_async(raises) {
    raise(SIGINT);
    aio_try(aio_sleep(AIO_SECOND));
    return 0;
} aio_end
struct interrupted { aio_frame aio; pid_t child; int status; bool runs; };
aio_async(interrupted) {
    fflush(NULL);
    self->child = fork();
    if (!self->child) {
        alarm(5);
        if (self->runs) _exit(aio_run(raises) == -EINTR ? 7 : 8);
        raise(SIGINT);
        _exit(9);
    }
    if (waitpid(self->child, &self->status, 0) != self->child) return -ECHILD;
    aio_try(aio_sleep(AIO_MSEC));
    return WIFSIGNALED(self->status) ? WTERMSIG(self->status) : WEXITSTATUS(self->status);
} aio_end
static void RN_5_an_interrupt_in_the_child(void **state)
{
    (void)state;
    assert_result(aio_run(interrupted), SIGINT);
    assert_result(aio_run(interrupted, .runs = true), 7);
}

// A job that forks: what returns from it in the child has nowhere to go, and ends there.
static aio_result forks(void *arg)
{
    (void)arg;
    pid_t child = fork();
    if (!child) alarm(20);
    return child;
}
struct fork_on_thread { aio_frame aio; int status; aio_result child; };
aio_async(fork_on_thread) {
    aio_try(self->child, aio_to_thread(forks, NULL));
    aio_try(aio_sleep(AIO_MSEC));
    if (waitpid((pid_t)self->child, &self->status, 0) != self->child) return -ECHILD;
    return self->status;
} aio_end
static void contract_8_a_job_that_forks(void **state)
{
    (void)state;
    assert_result(aio_run(fork_on_thread), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fork_test(L_13_a_loop_that_does_not_run),
        fork_test(L_13_fork_in_a_coroutine),
        fork_test(contract_8_L_13_iterators_in_the_child),
        fork_test(L_13_RN_2_aio_run_in_the_child),
        fork_test(L_13_L_14_a_lock_held_at_the_fork),
        fork_test(RN_5_an_interrupt_in_the_child),
        fork_test(contract_8_a_job_that_forks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
