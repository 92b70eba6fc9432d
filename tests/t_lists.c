// What waits in a list that threads share (jobs, names, calls from elsewhere) can be taken out
// anywhere, at any time, at a cost that does not depend on the list.
#include "core.h"
#include <pthread.h>
#include <semaphore.h>

static struct aio_loop_options options;
static sem_t gate;
static int setup(void **state)
{
    (void)state;
    memset(&core, 0, sizeof core);
    options = core_options(AIO_CLOCK_MONOTONIC);
    sem_init(&gate, 0, 0);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    sem_destroy(&gate);
    if (core.memory.blocks || core.reports_at)
        print_error("%ld blocks, reports: %s\n", core.memory.blocks, core.reports);
    return core.memory.blocks || core.reports_at;
}
#define list_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define run(...) aio_run_with(&options, __VA_ARGS__)

// --- jobs and names. The first keeps the only thread (or each of the four) until the gate opens.
enum { JOBS = 9 };
static int order[JOBS + 1], ran;            // written by one thread at a time, or under the gate
static pthread_mutex_t order_lock = PTHREAD_MUTEX_INITIALIZER;
static void note(int i)
{
    pthread_mutex_lock(&order_lock);
    order[ran++] = i;
    pthread_mutex_unlock(&order_lock);
}
static int job(void *arg)
{
    int i = *(int *)arg;
    if (!i) while (sem_wait(&gate) < 0) {}
    note(i);
    return i;
}
struct stray { struct aio__stray job; int i; bool gone; };
static struct stray strays[JOBS + 4];
static void stray_work(struct aio__stray *j)
{
    struct stray *s = (struct stray *)(void *)j;
    if (s->i <= 0) while (sem_wait(&gate) < 0) {}
    if (s->i > 0) note(s->i);
}
static void stray_end(struct aio__stray *j)
{
    aio__settle(j->waiter, ((struct stray *)(void *)j)->i, aio__settled());
}
static void stray_release(struct aio__stray *j) { ((struct stray *)(void *)j)->gone = true; }
static bool stray_start(aio_waiter *w, const aio_awaitable *a)
{
    struct stray *s = (struct stray *)a->u.p[0];
    s->job.work = stray_work;
    s->job.end = stray_end;
    s->job.release = stray_release;
    aio_result r = aio__stray_begin(w, &s->job);
    if (r < 0) w->future.result = r;
    return r < 0;
}
static const aio_await_class stray_class = { stray_start, "stray", 0 };
static aio_awaitable stray(struct stray *s)
{
    aio_awaitable a;
    memset((void *)&a, 0, sizeof a);
    a.cls = &stray_class;
    a.u.p[0] = s;
    return a;
}
struct works { aio_frame aio; int i; bool is_stray; aio_result r; };
aio_async(works) {
    if (self->is_stray) aio_await(self->r, stray(&strays[self->i]));
    else aio_await(self->r, aio_to_thread(job, &self->i));
    return self->r;
} aio_end
// Cancels those whose bits are set, backwards or forwards, then begins one more.
struct thins { aio_frame aio; uint32_t mask; bool back, is_stray; aio_task *t[JOBS + 4]; int n, i; aio_result r; };
aio_async(thins) {
    ran = 0;
    self->n = self->is_stray ? JOBS + 3 : JOBS;
    for (int i = 0; i < self->n; i++) {         // three strays more keep the other threads busy
        strays[i].i = self->is_stray ? i - 3 : i;
        strays[i].gone = false;
        self->t[i] = aio_spawn(works, .i = i, .is_stray = self->is_stray);
    }
    aio_try(aio_next_turn());
    aio_try(aio_next_turn());
    for (int k = 1; k < JOBS; k++) {
        int i = self->back ? JOBS - k : k;
        if (self->mask & (1u << i)) aio_task_cancel(self->t[i + self->n - JOBS]);
    }
    aio_try(aio_next_turn());
    aio_try(aio_next_turn());
    strays[self->n].i = JOBS;
    strays[self->n].gone = false;
    self->t[self->n] = aio_spawn(works, .i = self->n, .is_stray = self->is_stray);
    aio_try(aio_next_turn());
    aio_try(aio_next_turn());
    for (int i = 0; i < 4; i++) sem_post(&gate);
    for (self->i = 0; self->i <= self->n; self->i++) {
        aio_await(self->r, aio_join(self->t[self->i]));
        int i = self->i - (self->n - JOBS);
        bool cancelled = i > 0 && i < JOBS && (self->mask & (1u << i));
        assert_result(self->r, cancelled ? -ECANCELED : i);
        if (self->is_stray) assert_true(strays[self->i].gone);
    }
    return 0;
} aio_end
static void thinned(bool is_stray)
{
    options.threads = 1;
    for (uint32_t mask = 0; mask < 1u << JOBS; mask += is_stray ? 14 : 2) {
        for (int back = 0; back < 2; back++) {
            assert_result(run(thins, .mask = mask, .back = back, .is_stray = is_stray), 0);
            while (!sem_trywait(&gate)) {}
            int at = 1, expected = !is_stray;        // which runs first of all
            for (int i = 1; i <= JOBS; i++) expected += i == JOBS || !(mask & (1u << i));
            assert_result(ran, expected);
            if (is_stray) continue;             // four threads: in any order
            for (int i = 1; i <= JOBS; i++)
                if (i == JOBS || !(mask & (1u << i))) assert_result(order[at++], i);
        }
    }
}
static void TH_2_queued_jobs_are_cancelled_anywhere(void **state)
{
    (void)state;
    thinned(false);
}
static void queued_names_are_cancelled_anywhere(void **state)
{
    (void)state;
    thinned(true);
}
// A burst of jobs wakes as many threads as there are, also those that have waited before.
static int together, seen_together;
static int meets(void *arg)
{
    pthread_barrier_t *all = (pthread_barrier_t *)arg;
    int n = __atomic_add_fetch(&together, 1, __ATOMIC_SEQ_CST);
    if (all) pthread_barrier_wait(all);
    if (n > seen_together) seen_together = n;
    return 0;
}
struct meeting { aio_frame aio; pthread_barrier_t *all; aio_result r; };
aio_async(meeting) {
    aio_await(self->r, aio_to_thread(meets, self->all));
    return self->r;
} aio_end
struct burst { aio_frame aio; pthread_barrier_t all; aio_task *t[4]; };
aio_async(burst) {
    pthread_barrier_init(&self->all, NULL, 4);
    aio_try(aio_to_thread(meets, NULL));        // a thread that has waited
    for (int i = 0; i < 4; i++) self->t[i] = aio_spawn(meeting, .all = &self->all);
    aio_try(aio_gather(self->t, NULL, 4));      // else the barrier is never complete
    pthread_barrier_destroy(&self->all);
    return 0;
} aio_end
static void TH_2_a_burst_runs_on_all_threads(void **state)
{
    (void)state;
    options.threads = 4;
    assert_result(run(burst), 0);
}

// --- calls from elsewhere: cancelled while they are in the inbox
enum { CALLS = 6 };
static int called(void *arg)
{
    say("%d ", *(int *)arg);
    return 0;
}
static aio_handle handles[CALLS + 1];
static int numbers[CALLS + 1] = { 0, 1, 2, 3, 4, 5, 6 };
static void *posts(void *arg)
{
    for (int i = 0; i < CALLS; i++)
        assert_result(aio_call_soon_threadsafe((aio_loop *)arg, &handles[i], called, &numbers[i]),
                      0);
    return NULL;
}
static void L_14_calls_are_cancelled_anywhere_in_the_inbox(void **state)
{
    (void)state;
    for (uint32_t mask = 0; mask < 1u << CALLS; mask++) {
        for (int back = 0; back < 2; back++) {
            pthread_t t;
            aio_loop l;
            char expected[64];
            int at = 0;
            assert_result(aio_loop_init(&l, &options), 0);
            assert_result(aio_thread_enter(&l), 0);
            pthread_create(&t, NULL, posts, &l);
            pthread_join(t, NULL);
            for (int k = 0; k < CALLS; k++) {
                int i = back ? CALLS - 1 - k : k;
                if (!(mask & (1u << i))) continue;
                aio_handle_cancel(&handles[i]);
                aio_handle_cancel(&handles[i]);         // twice is harmless
            }
            assert_result(aio_call_soon_threadsafe(&l, &handles[CALLS], called, &numbers[CALLS]),
                          0);
            aio_loop_stop(&l);
            assert_result(aio_loop_run_forever(&l), 0);
            expected[0] = 0;
            for (int i = 0; i <= CALLS; i++)
                if (!(mask & (1u << i)))
                    at += snprintf(expected + at, sizeof expected - (size_t)at, "%d ", i);
            assert_trace(expected);
            assert_result(aio_thread_leave(&l), 0);
            assert_result(aio_loop_close(&l), 0);
            aio_handle_cancel(&handles[0]);             // older than its loop
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        list_test(TH_2_queued_jobs_are_cancelled_anywhere),
        list_test(queued_names_are_cancelled_anywhere),
        list_test(TH_2_a_burst_runs_on_all_threads),
        list_test(L_14_calls_are_cancelled_anywhere_in_the_inbox),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
