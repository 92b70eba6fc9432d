// One loop per core: aio_run_threads; messages between loops. Contracts 8, 11.
#include "test.h"
#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <signal.h>

// Threads that cannot be made, from the n-th on.
static int threads_left = -1;
static int make_thread(pthread_t *id, const pthread_attr_t *attributes, void *(*fn)(void *),
                       void *arg)
{
    if (!threads_left) return EAGAIN;
    if (threads_left > 0) threads_left--;
    return pthread_create(id, attributes, fn, arg);
}
#define pthread_create make_thread
#include "aio_loop.h"
#undef pthread_create

// --- options that count, from any thread
enum { THREADS = 4 };
static long blocks, calls, fail_at;
static void *allocate(void *context, size_t size)
{
    void *block;
    (void)context;
    long call = __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    if (call == fail_at || posix_memalign(&block, 64, size)) return NULL;
    __atomic_add_fetch(&blocks, 1, __ATOMIC_RELAXED);
    return block;
}
static void release(void *context, void *block)
{
    (void)context;
    __atomic_sub_fetch(&blocks, 1, __ATOMIC_RELAXED);
    free(block);
}
static int reports;
static void on_error(aio_loop *l, const struct aio_report *r, void *context)
{
    (void)l;
    (void)r;
    (void)context;
    __atomic_add_fetch(&reports, 1, __ATOMIC_RELAXED);
}
static uint64_t dropped_sum;
static int dropped_count;
static void drop_message(aio_loop *l, uint64_t message, void *context)
{
    (void)l;
    (void)context;
    __atomic_add_fetch(&dropped_sum, message, __ATOMIC_RELAXED);
    __atomic_add_fetch(&dropped_count, 1, __ATOMIC_RELAXED);
}
static struct aio_loop_options options;
static int setup(void **state)
{
    (void)state;
    memset(&options, 0, sizeof options);
    options.allocator.allocate = allocate;
    options.allocator.release = release;
    options.on_error = on_error;
    options.drop_message = drop_message;
    blocks = calls = fail_at = reports = 0;
    dropped_sum = 0;
    dropped_count = 0;
    threads_left = -1;
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    if (blocks) print_error("%ld blocks are left\n", blocks);
    if (reports) print_error("%d reports\n", reports);
    return blocks || reports;
}
#define fresh(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
static int add(int *n) { return __atomic_add_fetch(n, 1, __ATOMIC_SEQ_CST); }

// --- who am I?
struct counts { aio_frame aio; int *seen; aio_loop **loops; int add; };
aio_async(counts) {
    uint32_t i = aio_thread_index();
    if (aio_thread_loop(i) != aio_running_loop() || aio_thread_loop(aio_thread_count()))
        return -EIO;
    self->loops[i] = aio_running_loop();
    self->seen[i] += self->add;
    self->add = 0;                                      // a copy of its own
    return aio_thread_count();
} aio_end
static void each_thread_runs_a_copy(void **state)
{
    int seen[THREADS] = { 0 };
    aio_loop *loops[THREADS] = { 0 };
    (void)state;
    assert_result(
        aio_run_threads_with(THREADS, &options, counts, .seen = seen, .loops = loops, .add = 3), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(seen[i], 3);
        for (int k = 0; k < i; k++) assert_ptr_not_equal(loops[i], loops[k]);
    }
    int one = 0;
    aio_loop *loop;
    assert_result(aio_run_threads(1, counts, .seen = &one, .loops = &loop, .add = 3), 0);
    assert_int_equal(one, 3);
    assert_int_equal(aio_thread_index(), 0);
    assert_int_equal(aio_thread_count(), 1);
    assert_null(aio_thread_loop(0));
    assert_result(aio_run_with(&options, counts, .seen = &one, .loops = &loop),
                  1); // not among threads
}
struct counts_all { aio_frame aio; int *n; };
aio_async(counts_all) { add(self->n); } aio_end
static void none_means_one_per_processor(void **state)
{
    int n = 0;
    (void)state;
    assert_result(aio_run_threads(0, counts_all, .n = &n), 0);
    assert_int_equal(n, aio__processors());
    assert_true(n >= 1);
}

// --- errors
static int cleaned, up;
struct tidies { aio_frame aio; int64_t fails_after; uint32_t who; aio_result error; aio_result r; };
aio_async(tidies) {
    add(&up);
    if (aio_thread_index() == self->who) {
        while (__atomic_load_n(&up, __ATOMIC_SEQ_CST) < (int)aio_thread_count())
            aio_try(aio_sleep(AIO_USEC));
        return self->error;
    }
    aio_await(self->r, aio_sleep(AIO_FOREVER));
    if (self->r != -ECANCELED) return -EIO;
    aio_await(aio_sleep(AIO_MSEC));                     // a cleanup that waits
    add(&cleaned);
    return self->r;
} aio_end
static void the_first_error_ends_all(void **state)
{
    (void)state;
    for (uint32_t who = 0; who < THREADS; who++) {
        cleaned = up = 0;
        assert_result(aio_run_threads_with(THREADS, &options, tidies, .who = who, .error = -EPIPE),
                      -EPIPE);
        assert_int_equal(cleaned, THREADS - 1);
    }
}
struct leaves { aio_frame aio; };
aio_async(leaves) {
    aio_detach(aio_spawn(tidies, .who = 99));
    aio_try(aio_sleep(AIO_MSEC));
} aio_end
static void what_is_left_running_is_cancelled(void **state)
{
    (void)state;
    cleaned = up = 0;
    assert_result(aio_run_threads_with(THREADS, &options, leaves), 0);
    assert_int_equal(cleaned, THREADS);
}
static int hooks, hook_errors;
struct gives { aio_frame aio; int value; };
aio_drop(gives) {
    if (dropped >= 0) add(&hooks);
    else add(&hook_errors);
    return self->value;
} aio_end
aio_async(gives) { return self->value; } aio_end
static void C_7_values_go_to_the_drop_hook(void **state)
{
    (void)state;
    hooks = hook_errors = 0;
    assert_result(aio_run_threads_with(THREADS, &options, gives, .value = 5), 0);
    assert_int_equal(hooks, THREADS);
    assert_int_equal(hook_errors, 0);
}
struct nests { aio_frame aio; };
aio_async(nests) { return aio_run_threads_with(2, &options, gives, .value = 1); } aio_end
static void not_inside_a_loop(void **state)
{
    (void)state;
    hooks = hook_errors = 0;
    assert_result(aio_run_with(&options, nests), -EBUSY);
    assert_int_equal(hook_errors, 1);
    assert_int_equal(hooks, 0);
    reports = 0;
}
static void a_thread_cannot_be_made(void **state)
{
    (void)state;
    for (int n = 0; n < THREADS; n++) {
        cleaned = up = 0;
        threads_left = n;
        assert_result(aio_run_threads_with(THREADS, &options, tidies, .who = 99), -EAGAIN);
        assert_int_equal(cleaned, up); // those cancelled before their start do nothing
    }
    hook_errors = threads_left = 0;
    assert_result(aio_run_threads_with(THREADS, &options, gives), -EAGAIN);
    assert_int_equal(hook_errors, 1);
}
// More threads than descriptors, and no memory is touched for them.
static void too_many_threads(void **state)
{
    (void)state;
    struct rlimit was, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    few = was;
    few.rlim_cur = 100;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    hook_errors = hooks = 0;
    aio_result r = aio_run_threads_with(300000, &options, gives);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    assert_result(r, -EMFILE);
    assert_int_equal(hook_errors, 1);
}
static void no_memory_at_the_nth_allocation(void **state)
{
    (void)state;
    aio_result r = -ENOMEM;
    for (long at = 1; at < 60; at++) {
        calls = 0;
        fail_at = at;
        hooks = hook_errors = 0;
        r = aio_run_threads_with(THREADS, &options, gives, .value = 1);
        if (r != -ENOMEM) assert_result(r, 0);
        if (blocks) fail_msg("%ld blocks are left after failure %ld", blocks, at);
    }
    assert_result(r, 0);
}
struct interrupts { aio_frame aio; bool refuse; aio_result r; };
aio_async(interrupts) {
    add(&up);
    if (aio_thread_index() == 1) {
        while (__atomic_load_n(&up, __ATOMIC_SEQ_CST) < (int)aio_thread_count())
            aio_try(aio_sleep(AIO_USEC));
        kill(getpid(), SIGINT);
    }
    aio_await(self->r, aio_sleep(AIO_FOREVER));
    add(&cleaned);
    return self->refuse ? 0 : self->r;
} aio_end
static void interrupted(void *arg)
{
    setup(NULL);
    cleaned = up = 0;
    signal(SIGINT, SIG_DFL);
    aio_result r = aio_run_threads_with(THREADS, &options, interrupts, .refuse = *(bool *)arg);
    printf("%s %d\n", aio_strerror(r), cleaned);
    fflush(stdout);
    _exit(0);
}
static void RN_5_sigint_ends_all(void **state)
{
    char text[256];
    bool refuse = false;
    (void)state;
    assert_int_equal(test_in_child(interrupted, &refuse, text, sizeof text), 0);
    assert_non_null(strstr(text, "EINTR 4\n"));
    refuse = true;                                      // all took the cancel and ended well
    assert_int_equal(test_in_child(interrupted, &refuse, text, sizeof text), 0);
    assert_non_null(strstr(text, "OK 4\n"));
}
// --- messages in one loop
struct gets { aio_frame aio; uint64_t m; aio_result r, next; int *order; };
aio_async(gets) {
    aio_await(self->r, aio_loop_receive(&self->m));
    aio_await(self->next, aio_sleep(0));
    return self->r < 0 ? self->r : self->next < 0 ? self->next : (aio_result)self->m;
} aio_end
static aio_loop loop;
static void settle(void)
{
    for (int i = 0; i < 8; i++) {
        aio_loop_stop(&loop);
        assert_result(aio_loop_run_forever(&loop), 0);
    }
}
static aio_result result_of(aio_task *t)
{
    aio_result r = aio_task_result(t);
    aio_detach(t);
    return r;
}
static void open_loop(void) { assert_result(aio_loop_init(&loop, &options), 0); }
static void close_loop(void) { assert_result(aio_loop_close(&loop), 0); }
static void Q_1_first_come_first_served(void **state)
{
    aio_task *t[4];
    (void)state;
    open_loop();
    for (int i = 0; i < 3; i++) t[i] = aio_spawn_on(&loop, gets);
    settle();
    assert_false(aio_task_done(t[0]));
    for (uint64_t m = 1; m <= 5; m++) assert_result(aio_loop_post(&loop, m), 0);
    settle();
    for (int i = 0; i < 3; i++) assert_result(result_of(t[i]), i + 1);
    for (int i = 0; i < 2; i++) t[i] = aio_spawn_on(&loop, gets);       // there already
    settle();
    for (int i = 0; i < 2; i++) assert_result(result_of(t[i]), i + 4);
    t[0] = aio_spawn_on(&loop, gets);
    settle();
    assert_false(aio_task_done(t[0]));                  // no more
    assert_result(aio_loop_post(&loop, UINT64_MAX), 0); // any word
    settle();
    assert_true(aio_task_frame(gets, t[0])->m == UINT64_MAX);
    result_of(t[0]);
    close_loop();
}
static void contract_3_a_cancel_loses_no_message(void **state)
{
    (void)state;
    open_loop();
    aio_task *a = aio_spawn_on(&loop, gets), *b = aio_spawn_on(&loop, gets);
    settle();
    aio_task_cancel(a);                                 // before: the next one gets it
    assert_result(aio_loop_post(&loop, 7), 0);
    settle();
    assert_result(result_of(a), -ECANCELED);
    assert_result(result_of(b), 7);
    a = aio_spawn_on(&loop, gets);
    settle();
    assert_result(aio_loop_post(&loop, 8), 0);
    aio_loop_stop(&loop); // after: it stands, and the cancel comes next
    aio__inbox_drain(&loop, false);
    aio_task_cancel(a);
    settle();
    assert_result(aio_task_frame(gets, a)->r, 0);
    assert_true(aio_task_frame(gets, a)->m == 8);
    assert_result(aio_task_frame(gets, a)->next, -ECANCELED);
    assert_result(result_of(a), -ECANCELED);
    close_loop();
    assert_int_equal(dropped_count, 0);
}
static void the_mailbox_is_bounded(void **state)
{
    (void)state;
    options.mailbox = 4;
    open_loop();
    for (int round = 0; round < 3; round++) {
        for (uint64_t m = 0; m < 4; m++) assert_result(aio_loop_post(&loop, m), 0);
        assert_result(aio_loop_post(&loop, 9), -EAGAIN);
        aio_task *t = aio_spawn_on(&loop, gets);
        settle();
        assert_result(result_of(t), 0);
        assert_result(aio_loop_post(&loop, 4), 0);
        for (int m = 1; m < 5; m++) {
            t = aio_spawn_on(&loop, gets);
            settle();
            assert_result(result_of(t), m);
        }
    }
    close_loop();
    assert_result(aio_loop_post(&loop, 1), -EBADFD);
    assert_int_equal(dropped_count, 0);
}
static void contract_11_what_nobody_received_is_dropped(void **state)
{
    (void)state;
    open_loop();
    aio_detach(aio_spawn_on(&loop, gets));              // gets one, and does not go on
    settle();
    for (uint64_t m = 1; m <= 3; m++) assert_result(aio_loop_post(&loop, m), 0);
    aio__inbox_drain(&loop, false);
    assert_result(aio_loop_post(&loop, 10), 0);
    close_loop();
    assert_int_equal(dropped_count, 4);
    assert_int_equal(dropped_sum, 16);
    open_loop();
    aio_detach(aio_spawn_on(&loop, gets));              // still waits
    settle();
    close_loop();
    assert_int_equal(dropped_count, 4);
    reports = 0;                                        // tasks that were destroyed
}
struct limits { aio_frame aio; uint64_t m; aio_op op, nap; aio_op *ops[2]; aio_result r; int how; };
aio_async(limits) {
    if (self->how == 0) {
        aio_await(self->r, aio_wait_for(AIO_MSEC, aio_loop_receive(&self->m)));
        return self->r;
    }
    aio_start(&self->op, aio_loop_receive(&self->m));
    if (self->how == 1) return 5;                       // the frame returns over it
    aio_start(&self->nap, aio_sleep(AIO_MSEC));
    self->ops[0] = &self->op;
    self->ops[1] = &self->nap;
    aio_await(self->r, aio_race(self->ops, 2));
    return self->r;
} aio_end
static aio_result run_limits(int how)
{
    aio_task *t = aio_spawn_on(&loop, limits, .how = how);
    aio_result r = aio_loop_run_until_complete(&loop, t);
    aio_detach(t);
    return r;
}
static void limits_and_races(void **state)
{
    (void)state;
    options.clock = AIO_CLOCK_VIRTUAL;
    open_loop();
    assert_result(run_limits(0), -ETIMEDOUT);
    assert_result(run_limits(1), 5);
    assert_result(run_limits(2), 1);
    assert_result(aio_loop_post(&loop, 3), 0);
    assert_result(run_limits(0), 0);
    assert_result(aio_loop_post(&loop, 3), 0);
    assert_result(run_limits(2), 0);                    // it won, and nobody took its result
    assert_int_equal(dropped_count, 1);
    assert_result(aio_loop_post(&loop, 4), 0);
    aio_task *t = aio_spawn_on(&loop, gets);            // nothing is lost by those that left
    settle();
    assert_result(result_of(t), 4);
    close_loop();
    assert_int_equal(dropped_count, 1);
}

// --- messages between loops
enum { ROUNDS = 500 };
struct passes { aio_frame aio; uint64_t m; int rounds; };
static aio_result to_the_next(uint64_t m)
{
    aio_result r = aio_loop_post(aio_thread_loop((aio_thread_index() + 1) % aio_thread_count()), m);
    return r == -EBADFD ? 0 : r;                        // the first has ended: no longer there
}
aio_async(passes) {
    if (!aio_thread_index()) to_the_next(0);
    for (self->rounds = 0; self->rounds < ROUNDS; self->rounds++) {
        aio_try(aio_loop_receive(&self->m));
        if (to_the_next(self->m + 1) < 0) return -EIO;
    }
    uint32_t hops = aio_thread_index() ? aio_thread_index() : aio_thread_count();
    return self->m == (uint64_t)(ROUNDS - 1) * aio_thread_count() + hops - 1 ? 0 : -EIO;
} aio_end
static void a_token_goes_round(void **state)
{
    (void)state;
    assert_result(aio_run_threads_with(THREADS, &options, passes), 0);
    assert_true(dropped_count <= 1);                    // the last one's, to the first
}
enum { MANY = 5000 };
struct floods {
    aio_frame aio;
    uint64_t m, i, seen[THREADS], other_turns;
    aio_result r;
    bool full;
};
aio_async(floods) {
    if (aio_thread_index()) {
        for (self->i = 0; self->i < MANY;) {
            self->r =
                aio_loop_post(aio_thread_loop(0), (uint64_t)aio_thread_index() << 32 | self->i);
            if (self->r == 0) self->i++;
            else if (self->r != -EAGAIN) return self->r;
            else aio_try(aio_sleep(self->i % 4 ? 20 * AIO_USEC : 0));
        }
        return 0;
    }
    for (self->i = 0; self->i < MANY * (THREADS - 1); self->i++) {
        aio_try(aio_loop_receive(&self->m));
        if ((self->m & 0xffffffff) != self->seen[self->m >> 32]++)
            return -EIO; // in order, none twice
    }
    return 0;
} aio_end
static void none_is_lost_none_comes_twice(void **state)
{
    (void)state;
    const uint32_t rooms[] = { 1, 7, 1024 };
    for (int i = 0; i < 3; i++) {
        options.mailbox = rooms[i];
        assert_result(aio_run_threads_with(THREADS, &options, floods), 0);
        assert_int_equal(dropped_count, 0);
    }
}
// Who sends without end does not keep the receiver from its other work.
static int enough;
struct ticks { aio_frame aio; int i; };
aio_async(ticks) {
    for (; self->i < 100; self->i++) aio_try(aio_sleep(0));
    __atomic_store_n(&enough, 1, __ATOMIC_SEQ_CST);
} aio_end
struct endless { aio_frame aio; uint64_t m; };
aio_async(endless) {
    if (aio_thread_index()) {
        while (!__atomic_load_n(&enough, __ATOMIC_SEQ_CST)) {
            for (int i = 0; i < 100; i++) (void)aio_loop_post(aio_thread_loop(0), 1);
            aio_try(aio_sleep(0));
        }
        while (aio_loop_post(aio_thread_loop(0), 1) == -EAGAIN) aio_try(aio_sleep(AIO_USEC));
        return 0;
    }
    aio_try(aio_loop_receive(&self->m));
    aio_detach(aio_spawn(ticks));
    while (!__atomic_load_n(&enough, __ATOMIC_SEQ_CST)) aio_try(aio_loop_receive(&self->m));
} aio_end
static void L_2_a_flood_does_not_stop_the_others(void **state)
{
    (void)state;
    enough = 0;
    assert_result(aio_run_threads_with(2, &options, endless), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fresh(each_thread_runs_a_copy),
        fresh(none_means_one_per_processor),
        fresh(the_first_error_ends_all),
        fresh(what_is_left_running_is_cancelled),
        fresh(C_7_values_go_to_the_drop_hook),
        fresh(not_inside_a_loop),
        fresh(a_thread_cannot_be_made),
        fresh(too_many_threads),
        fresh(no_memory_at_the_nth_allocation),
        fresh(RN_5_sigint_ends_all),
        fresh(Q_1_first_come_first_served),
        fresh(contract_3_a_cancel_loses_no_message),
        fresh(the_mailbox_is_bounded),
        fresh(contract_11_what_nobody_received_is_dropped),
        fresh(limits_and_races),
        fresh(a_token_goes_round),
        fresh(none_is_lost_none_comes_twice),
        fresh(L_2_a_flood_does_not_stop_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
