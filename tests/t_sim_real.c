// The virtual clock and the real world: what it does while jobs and other threads owe an answer
// (J-6), time that runs (J-8), limits of a real wait (K-1), ties of timers under a seed (J-5, H-2).
#include "core.h"
#include <pthread.h>

static struct aio_loop_options options;
static int go_on;                       // atomic: ends jobs
static int setup(void **state)
{
    (void)state;
    memset(&core, 0, sizeof core);
    unsetenv("AIO_SEED");
    options = core_options(AIO_CLOCK_VIRTUAL);
    go_on = 0;
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    if (core.memory.blocks) print_error("%ld blocks are left\n", core.memory.blocks);
    if (core.reports_at) print_error("reports are left: %s", core.reports);
    return core.memory.blocks || core.reports_at;
}
#define fresh(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

// --- a job that ends when simulated time has come to a moment
static int job(void *arg)
{
    while (!__atomic_load_n(&go_on, __ATOMIC_ACQUIRE)) usleep(200);
    return (int)(intptr_t)arg;
}
struct ends_job { aio_frame aio; int64_t at; };
aio_async(ends_job) {
    aio_try(aio_sleep(self->at));
    say("%lld ", (long long)aio_loop_time(aio_running_loop()));
    __atomic_store_n(&go_on, 1, __ATOMIC_RELEASE);
} aio_end
struct asks { aio_frame aio; int64_t at; };
aio_async(asks) {
    aio_result r;
    aio_detach(aio_spawn(ends_job, .at = self->at));
    aio_try(r, aio_to_thread(job, (void *)5));
    return r;
} aio_end
static void J_6_time_flows_while_a_job_runs(void **state)
{
    (void)state;
    options.flow_in_flight = true;
    options.real_wait_ns = 60 * AIO_SECOND;
    assert_result(aio_run_with(&options, asks, .at = AIO_MSEC), 5);
    assert_trace("1000000 ");           // J-4: exactly then, not later
}
static char *dumped;
static size_t dumped_size;
static void on_stuck(aio_loop *loop, const struct aio_report *r, void *context)
{
    core_on_error(loop, r, context);
    if (r->error == -ETIMEDOUT && !dumped) {
        FILE *out = open_memstream(&dumped, &dumped_size);
        aio_loop_dump(loop, out);
        fclose(out);
    }
    __atomic_store_n(&go_on, 1, __ATOMIC_RELEASE);
}
static void J_6_control_time_stands_still_and_the_wait_has_a_limit(void **state)
{
    (void)state;
    options.real_wait_ns = 30 * AIO_MSEC;
    options.on_error = on_stuck;
    assert_result(aio_run_with(&options, asks, .at = AIO_MSEC), -ETIMEDOUT);
    assert_trace("");
    assert_reports("a real wait of the simulation does not end: ETIMEDOUT: -\n");
    assert_non_null(strstr(dumped, "asks#1: waits for thread job\n"));
    assert_non_null(strstr(dumped, "ends_job#2: waits for sleep 0.001000 s more\n"));
    free(dumped);
    dumped = NULL;
}
static int short_job(void *arg)
{
    usleep(2000);
    return (int)(intptr_t)arg;
}
struct many_jobs { aio_frame aio; int i; };
aio_async(many_jobs) {
    for (; self->i < 20; self->i++) {
        int r;
        aio_try(r, aio_to_thread(short_job, (void *)3));
        if (r != 3) return -EIO;
    }
    return aio_loop_time(aio_running_loop());
} aio_end
static void K_1_the_limit_is_for_one_wait(void **state)
{
    (void)state;
    options.real_wait_ns = 60 * AIO_SECOND;
    assert_result(aio_run_with(&options, many_jobs), 0);
    options.flow_in_flight = true;
    aio_result took = aio_run_with(&options, many_jobs);
    assert_true(took >= 20 * 2 * AIO_MSEC);
}
static void K_2_the_end_is_reached_while_time_flows(void **state)
{
    (void)state;
    options.flow_in_flight = true;
    options.end_ns = 5 * AIO_MSEC;
    options.on_error = on_stuck;
    assert_result(aio_run_with(&options, asks, .at = 3600 * AIO_SECOND), -ETIMEDOUT);
    assert_reports("the simulated time is over: ETIMEDOUT: -\n");
    free(dumped);
    dumped = NULL;
}
struct due_now { aio_frame aio; aio_handle h; };
static int let_go(void *arg)
{
    (void)arg;
    __atomic_store_n(&go_on, 1, __ATOMIC_RELEASE);
    return 0;
}
aio_async(due_now) {
    aio_result r;
    aio_call_later(aio_running_loop(), &self->h, 0, let_go, NULL);
    aio_try(r, aio_to_thread(job, (void *)6));
    return r;
} aio_end
static void J_1_what_is_due_now_does_not_wait_for_the_world(void **state)
{
    (void)state;
    options.real_wait_ns = 60 * AIO_SECOND;
    assert_result(aio_run_with(&options, due_now), 6);
}

// --- a thread of one's own
struct guest { aio_loop *loop; aio_future done; aio_handle handle; bool announced, calls; };
static int guest_called(void *arg)
{
    return (int)aio_future_set_result(&((struct guest *)arg)->done, 8);
}
static void *guest_thread(void *arg)
{
    struct guest *g = arg;
    usleep(3000);
    while (!g->announced && !__atomic_load_n(&go_on, __ATOMIC_ACQUIRE)) usleep(200);
    if (g->calls) aio_call_soon_threadsafe(g->loop, &g->handle, guest_called, g);
    if (g->announced && aio_thread_leave(g->loop) < 0) abort();
    return NULL;
}
struct hosts { aio_frame aio; struct guest *guest; pthread_t *thread; aio_result r; };
aio_async(hosts) {
    self->guest->loop = aio_running_loop();
    if (self->guest->announced && aio_thread_enter(self->guest->loop) < 0) return -EIO;
    if (pthread_create(self->thread, NULL, guest_thread, self->guest)) return -EAGAIN;
    aio_await(self->r, aio_wait_for(AIO_SECOND, aio_future_wait(&self->guest->done)));
    return self->r;
} aio_end
static aio_result host(bool announced, bool calls)
{
    static struct guest guest;
    pthread_t thread;
    aio_runner r;
    memset(&guest, 0, sizeof guest);
    guest.announced = announced;
    guest.calls = calls;
    assert_result(aio_runner_init(&r, &options), 0);
    aio_result result = aio_runner_run(&r, hosts, .guest = &guest, .thread = &thread);
    __atomic_store_n(&go_on, 1, __ATOMIC_RELEASE);
    assert_int_equal(pthread_join(thread, NULL), 0);
    aio_runner_close(&r);
    return result;
}
static void J_6_an_announced_thread_is_waited_for(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) assert_result(host(true, true), 8);
    assert_result(host(true, false), -ETIMEDOUT);         // it left without a call: time goes on
    go_on = 0;
    assert_result(host(false, true), -ETIMEDOUT);         // control: nobody knows of it
}
struct hangs { aio_frame aio; aio_future f; };
static void *only_leaves(void *arg)
{
    usleep(3000);
    aio_thread_leave(arg);
    return NULL;
}
aio_async(hangs) {
    aio_try(aio_future_wait(&self->f));
} aio_end
static void K_1_when_the_last_has_left_a_deadlock_is_told(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        aio_loop l;
        pthread_t thread;
        assert_result(aio_loop_init(&l, &options), 0);
        aio_task *t = aio_spawn_on(&l, hangs);
        assert_result(aio_thread_leave(&l), -EINVAL);
        assert_result(aio_thread_enter(&l), 0);
        assert_int_equal(pthread_create(&thread, NULL, only_leaves, &l), 0);
        assert_result(aio_loop_run_until_complete(&l, t), -EDEADLK);
        assert_int_equal(pthread_join(thread, NULL), 0);
        aio_task_cancel(t);
        assert_result(aio_loop_run_until_complete(&l, t), -ECANCELED);
        aio_detach(t);
        assert_result(aio_loop_close(&l), 0);
        assert_result(aio_thread_enter(&l), -EBADFD);
        core_forget_reports();
    }
}

// --- ties
enum { TIES = 10, MOMENTS = 3 };
struct tie { aio_handle h; int n; struct tie *victim; bool ran, cancelled; };
static struct tie ties[TIES * MOMENTS];
static int tie_runs(void *arg)
{
    struct tie *t = arg;
    if (t->cancelled || t->ran) fail_msg("%d runs again, or although it was cancelled", t->n);
    t->ran = true;
    say("%c", 'a' + t->n % TIES);
    if (t->n % TIES == 0 && t->n) say(" ");
    if (t->victim && !t->victim->ran && !t->victim->cancelled) {
        aio_handle_cancel(&t->victim->h);
        t->victim->cancelled = true;
    }
    return 0;
}
static void run_ties(uint64_t seed, bool cancels)
{
    aio_loop l;
    memset(ties, 0, sizeof ties);
    core.trace[core.trace_at = 0] = 0;
    options.seed = seed;
    assert_result(aio_loop_init(&l, &options), 0);
    for (int i = 0; i < TIES * MOMENTS; i++) {
        ties[i].n = i;
        ties[i].victim = cancels ? &ties[(i * 7 + 3) % (TIES * MOMENTS)] : NULL;
        assert_result(aio_call_at(&l, &ties[i].h, 100 * (1 + i / TIES), tie_runs, &ties[i]), 0);
    }
    assert_result(aio_sim_advance(&l, 100 * MOMENTS), 0);
    for (int i = 0; i < TIES * MOMENTS; i++) assert_true(ties[i].ran != ties[i].cancelled);
    assert_result(aio_loop_close(&l), 0);
}
static void H_2_a_seed_shuffles_timers_of_one_moment(void **state)
{
    (void)state;
    unsigned shuffled = 0, first_is_a = 0;
    char plain[64], again[64];
    run_ties(0, false);
    strcpy(plain, "abcdefghija bcdefghija bcdefghij");
    assert_string_equal(core.trace, plain);
    for (uint64_t seed = 1; seed <= 100; seed++) {
        run_ties(seed, false);
        char letters[64];
        size_t n = 0;
        for (char *c = core.trace; *c; c++) if (*c != ' ') letters[n++] = *c;
        assert_int_equal(n, TIES * MOMENTS);
        for (int m = 0; m < MOMENTS; m++) {             // never from one moment to another
            unsigned seen = 0;
            for (int i = 0; i < TIES; i++) seen |= 1u << (letters[m * TIES + i] - 'a');
            assert_int_equal(seen, (1u << TIES) - 1);
        }
        shuffled += strcmp(core.trace, plain) != 0;
        first_is_a += letters[0] == 'a';
        strcpy(again, core.trace);
        run_ties(seed, false);
        assert_string_equal(core.trace, again);
        run_ties(seed, true);                           // H-5
    }
    assert_int_equal(shuffled, 100);
    assert_true(first_is_a > 1 && first_is_a < 30);
    core.trace[core.trace_at = 0] = 0;
}

// A sleeper that is an op goes on directly when its timer gets no slot: nothing to shuffle.
struct idles { aio_frame aio; };
aio_async(idles) { aio_try(aio_sleep(AIO_FOREVER)); } aio_end
struct starves { aio_frame aio; aio_op op; int n; aio_result r; };
aio_async(starves) {
    for (; self->n; self->n--) aio_detach(aio_spawn(idles));
    aio_try(aio_next_turn());
    aio_try(aio_start(&self->op, aio_sleep(1000)));
    core.memory.fail_from = core.memory.calls + 1;
    aio_await(self->r, aio_sleep(2000));
    core.memory.fail_from = 0;
    return self->r < 0 ? self->r : aio_op_result(&self->op);
} aio_end
static void H_2_a_seed_without_memory(void **state)
{
    (void)state;
    options.seed = 5;
    for (int n = 1; n < 300; n++) {     // among them: the last slot is taken
        aio_result r = aio_run_with(&options, starves, .n = n);
        assert_true(r == 0 || r == -ENOMEM);
        core.memory.fail_from = 0;
    }
}

// --- time that passes with each step
static int64_t latest;
static void goes_forward(aio_loop *loop, const struct aio_step *step, void *context)
{
    (void)loop;
    (void)context;
    assert_true(step->time >= latest);
    latest = step->time;
}
static void J_8_a_step_beyond_the_end(void **state)
{
    (void)state;
    latest = 0;
    options.flow_in_flight = true;
    options.step_ns = 2000;
    options.end_ns = 1000;
    options.on_step = goes_forward;
    __atomic_store_n(&go_on, 1, __ATOMIC_RELEASE);
    assert_result(aio_run_with(&options, asks, .at = 3600 * AIO_SECOND), -ETIMEDOUT);
    core_forget_reports();
    latest = 0;
    aio_loop loop;                      // and at the end of all time it stands still
    options.flow_in_flight = false;
    options.end_ns = 0;
    assert_result(aio_loop_init(&loop, &options), 0);
    aio_task *t = aio_spawn_on(&loop, idles);
    assert_result(aio_sim_advance(&loop, AIO_FOREVER), 0);
    aio_task_cancel(t);
    assert_result(aio_sim_run_until_idle(&loop), 0);
    assert_true(aio_loop_time(&loop) == AIO_FOREVER);
    assert_result(aio_task_result(t), -ECANCELED);
    aio_detach(t);
    assert_result(aio_loop_close(&loop), 0);
}
struct spins { aio_frame aio; bool *stop; };
aio_async(spins) {
    while (!*self->stop) aio_try(aio_next_turn());
    return aio_loop_time(aio_running_loop());
} aio_end
struct stops { aio_frame aio; bool stop; aio_task *t; aio_result r; };
aio_async(stops) {
    self->t = aio_spawn(spins, .stop = &self->stop);
    aio_try(aio_sleep(1000));
    self->stop = true;
    aio_try(self->r, aio_join(self->t));
    return self->r;
} aio_end
static void J_8_steps_take_time(void **state)
{
    (void)state;
    options.step_ns = 10;
    options.turns_max = 10000;
    aio_result took = aio_run_with(&options, stops);
    assert_true(took > 1000 && took < 1200);
    assert_result(aio_run_with(&options, stops), took);
    options.step_ns = 0;                // control: busy, so time stands still
    assert_result(aio_run_with(&options, stops), -ELOOP);
    core_forget_reports();
}
static void J_8_advance_ends_in_time(void **state)
{
    (void)state;
    aio_loop l;
    bool stop = false;
    options.step_ns = 10;
    assert_result(aio_loop_init(&l, &options), 0);
    aio_task *t = aio_spawn_on(&l, spins, .stop = &stop);
    assert_result(aio_sim_advance(&l, 500), 0);
    assert_true(aio_loop_time(&l) >= 500 && aio_loop_time(&l) <= 510);
    stop = true;
    assert_true(aio_loop_run_until_complete(&l, t) >= 500);
    aio_detach(t);
    assert_result(aio_loop_close(&l), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fresh(J_6_time_flows_while_a_job_runs),
        fresh(J_6_control_time_stands_still_and_the_wait_has_a_limit),
        fresh(K_1_the_limit_is_for_one_wait),
        fresh(K_2_the_end_is_reached_while_time_flows),
        fresh(J_1_what_is_due_now_does_not_wait_for_the_world),
        fresh(J_6_an_announced_thread_is_waited_for),
        fresh(K_1_when_the_last_has_left_a_deadlock_is_told),
        fresh(H_2_a_seed_shuffles_timers_of_one_moment),
        fresh(H_2_a_seed_without_memory),
        fresh(J_8_a_step_beyond_the_end),
        fresh(J_8_steps_take_time),
        fresh(J_8_advance_ends_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
