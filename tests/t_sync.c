// Locks, events, conditions, semaphores, barriers: rules LK-*, EV-*, CV-*, SM-*, BR-*.
#include "actors.h"

static aio_lock lock;
static aio_event event;
static aio_condition condition;
static aio_semaphore semaphore;
static aio_barrier barrier;

static int setup(void **state)
{
    memset(&lock, 0, sizeof lock);
    memset(&event, 0, sizeof event);
    aio_condition_init(&condition, &lock);
    assert_result(aio_semaphore_init(&semaphore, 1, 0), 0);
    assert_result(aio_barrier_init(&barrier, 3), 0);
    return core_setup(state);
}
#define sync_test(f) cmocka_unit_test_setup_teardown(f, setup, core_teardown)

enum kind { LOCK, EVENT, CONDITION, SEMAPHORE, BARRIER };
// Waits, says "name+" or its error, sleeps, gives back.
struct user {
    aio_frame aio;
    enum kind kind;
    const char *name;
    int64_t hold;               // 0: no wait
    aio_result r, slept;
};
aio_async(user) {
    if (self->kind == LOCK || self->kind == CONDITION) aio_await(self->r, aio_lock_acquire(&lock));
    if (self->kind == SEMAPHORE) aio_await(self->r, aio_semaphore_acquire(&semaphore));
    if (self->kind == EVENT) aio_await(self->r, aio_event_wait(&event));
    if (self->kind == BARRIER) aio_await(self->r, aio_barrier_wait(&barrier));
    if (self->kind == CONDITION && self->r >= 0) {
        aio_await(self->r, aio_condition_wait(&condition));
        assert_true(aio_lock_locked(&lock));            // CV-3: held, whatever the result
        if (self->r < 0) aio_lock_release(&lock);
    }
    if (self->r < 0) say("%s:%lld ", self->name, (long long)self->r);
    else if (self->kind == BARRIER) say("%s=%lld ", self->name, (long long)self->r);
    else say("%s+ ", self->name);
    if (self->r < 0) return self->r;
    if (self->hold) aio_await(self->slept, aio_sleep(self->hold));
    if (self->kind == LOCK || self->kind == CONDITION) aio_lock_release(&lock);
    if (self->kind == SEMAPHORE) aio_semaphore_release(&semaphore);
    return self->slept;
} aio_end
static aio_task *use(enum kind kind, const char *name, int64_t hold)
{
    return core_spawn(user, .kind = kind, .name = name, .hold = hold);
}
static void drop(aio_task **tasks, int n)
{
    for (int i = 0; i < n; i++) {
        (void)aio_task_result(tasks[i]);
        aio_detach(tasks[i]);
    }
}
static void take_lock(void)
{
    aio_task *t = use(LOCK, "me", AIO_FOREVER);
    core_turn();
    aio_detach(t);
    assert_trace("me+ ");
}
static void end_taker(void)     // so that nothing is pending when the loop closes
{
    for (aio_task *t = aio_task_first(&core.loop), *next; t; t = next) {
        next = aio_task_next(t);
        aio_task_cancel(t);
    }
    core_settle();
    core.trace[core.trace_at = 0] = 0;
}

struct barger { aio_frame aio; };
aio_async(barger) {             // release and acquire in one go: it waits behind the others
    aio_try(aio_lock_acquire(&lock));
    aio_await(aio_sleep(2));
    aio_lock_release(&lock);
    assert_false(aio_lock_locked(&lock));               // LK-2: free until the first one runs
    aio_await(aio_lock_acquire(&lock));
    say("again ");
    aio_lock_release(&lock);
    return 0;
} aio_end
static void LK_1_no_barging(void **state)
{
    (void)state;
    aio_task *t[3] = { core_spawn(barger), use(LOCK, "a", 3), use(LOCK, "b", 3) };
    core_run_dry();
    assert_trace("a+ b+ again ");
    assert_result(now(), 8);
    drop(t, 3);
}

static void LK_1_cancelled_waiters_do_not_count(void **state)
{
    (void)state;
    take_lock();
    aio_task *t[2] = { use(LOCK, "a", 0), NULL };
    core_turn();
    aio_task_cancel(t[0]);              // it stands on the list until it runs
    assert_result(aio_lock_release(&lock), 0);
    t[1] = use(LOCK, "b", 0);           // runs after a, which passes nothing on
    aio_task *c = use(LOCK, "c", 0);
    core_settle();
    assert_trace("a:-125 b+ c+ ");
    drop(t, 2);
    aio_detach(c);
    end_taker();
}

static void LK_2_ownership_passes_when_the_waiter_runs(void **state)
{
    (void)state;
    take_lock();
    aio_task *t[2] = { use(LOCK, "a", 2), use(LOCK, "b", 0) };
    core_turn();
    assert_result(aio_lock_release(&lock), 0);
    assert_false(aio_lock_locked(&lock));
    core_turn();
    assert_true(aio_lock_locked(&lock));
    assert_trace("a+ ");
    core.loop.now += 2;
    core_turn();
    core_settle();
    assert_trace("b+ ");
    drop(t, 2);
    end_taker();
}

static void LK_3_a_cancelled_waiter_passes_the_wake_on(void **state)
{
    (void)state;
    for (int woken_first = 0; woken_first < 2; woken_first++) {
        take_lock();
        aio_task *t[2] = { use(LOCK, "a", 0), use(LOCK, "b", 0) };
        core_turn();
        if (!woken_first) aio_task_cancel(t[0]);
        assert_result(aio_lock_release(&lock), 0);
        if (woken_first) aio_task_cancel(t[0]);
        core_settle();
        assert_trace("a:-125 b+ ");
        assert_false(aio_lock_locked(&lock));
        drop(t, 2);
        end_taker();
    }
}

static void LK_4_release_of_a_free_lock(void **state)
{
    (void)state;
    assert_result(aio_lock_release(&lock), -EPERM);
    take_lock();
    assert_result(aio_lock_release(&lock), 0);          // anybody may
    assert_result(aio_lock_release(&lock), -EPERM);
    end_taker();
}

static void EV_1_set_wakes_all_even_if_cleared_at_once(void **state)
{
    (void)state;
    aio_task *t[3] = { use(EVENT, "a", 0), use(EVENT, "b", 0), NULL };
    core_turn();
    aio_event_set(&event);
    aio_event_set(&event);
    aio_event_clear(&event);
    assert_false(aio_event_is_set(&event));
    core_settle();
    assert_trace("a+ b+ ");
    t[2] = use(EVENT, "c", 0);
    core_settle();
    assert_trace("");
    aio_event_set(&event);
    core_settle();
    assert_trace("c+ ");
    drop(t, 3);
}

static void EV_2_cancelled_after_the_set(void **state)
{
    (void)state;
    aio_task *t[2] = { use(EVENT, "a", 0), NULL };
    core_turn();
    aio_event_set(&event);
    aio_task_cancel(t[0]);
    t[1] = use(EVENT, "b", 0);          // it is set: does not suspend
    core_turn();
    assert_trace("a:-125 b+ ");
    drop(t, 2);
}

static void CV_1_without_the_lock(void **state)
{
    (void)state;
    aio_task *t = use(CONDITION, "a", 0);
    core_turn();
    assert_false(aio_lock_locked(&lock));               // released while it waits
    assert_result(aio_condition_notify(&condition, 1), -EPERM);     // needs the lock
    assert_result(aio_condition_notify_all(&condition), -EPERM);
    take_lock();
    assert_result(aio_condition_notify(&condition, 1), 0);
    core_settle();
    assert_trace("");                                   // CV-2: nobody runs until it is free
    assert_result(aio_lock_release(&lock), 0);
    core_settle();
    assert_trace("a+ ");
    aio_detach(t);
    end_taker();
}
struct no_lock { aio_frame aio; };
aio_async(no_lock) {
    aio_try(aio_condition_wait(&condition));
    return 0;
} aio_end
static void CV_1_wait_on_a_free_lock(void **state)
{
    (void)state;
    aio_task *t = core_spawn(no_lock);
    assert_result(core_run(t), -EPERM);
    aio_detach(t);
}

static void CV_2_counts_those_not_yet_woken(void **state)
{
    (void)state;
    aio_task *t[3] = { use(CONDITION, "a", 0), use(CONDITION, "b", 0), use(CONDITION, "c", 0) };
    core_turn();
    take_lock();
    aio_condition_notify(&condition, 1);
    aio_condition_notify(&condition, 1);
    aio_lock_release(&lock);
    core_settle();
    assert_trace("a+ b+ ");
    take_lock();
    aio_condition_notify_all(&condition);
    aio_lock_release(&lock);
    core_settle();
    assert_trace("c+ ");
    drop(t, 3);
    end_taker();
}

static void CV_3_holds_the_lock_whatever_happened(void **state)
{
    (void)state;
    aio_task *t = use(CONDITION, "a", 0);
    core_turn();
    take_lock();
    aio_task_cancel(t);
    core_settle();
    for (int i = 0; i < 3; i++) {
        aio_task_cancel(t);                             // again, while it wants the lock back
        core_settle();
        assert_trace("");
    }
    aio_lock_release(&lock);
    core_settle();
    assert_trace("a:-125 ");                            // one, once it has the lock
    assert_result(aio_task_cancelling(t), 4);
    assert_false(aio_lock_locked(&lock));
    aio_detach(t);
    end_taker();
}

static void CV_4_a_notify_is_never_lost(void **state)
{
    (void)state;
    aio_task *t[2] = { use(CONDITION, "a", 0), use(CONDITION, "b", 0) };
    core_turn();
    take_lock();
    aio_condition_notify(&condition, 1);
    aio_task_cancel(t[0]);                              // it was for a
    aio_lock_release(&lock);
    core_settle();
    assert_trace("a:-125 b+ ");
    drop(t, 2);
    end_taker();
}

struct impatient { aio_frame aio; aio_result r; };
aio_async(impatient) {
    aio_try(aio_lock_acquire(&lock));
    aio_await(self->r, aio_wait_for(3, aio_condition_wait(&condition)));
    assert_true(aio_lock_locked(&lock));
    say("%lld@%lld ", (long long)self->r, (long long)now());
    aio_lock_release(&lock);
    return 0;
} aio_end
static void CV_5_a_limit_returns_with_the_lock(void **state)
{
    (void)state;
    aio_task *t[2] = { core_spawn(impatient), use(LOCK, "b", 9) };
    core_run_dry();
    assert_trace("b+ -110@9 ");
    drop(t, 2);
}

static void SM_1_a_late_comer_waits(void **state)
{
    (void)state;
    aio_task *t[3] = { use(SEMAPHORE, "a", 3), use(SEMAPHORE, "b", 3), NULL };
    core_turn();
    assert_true(aio_semaphore_locked(&semaphore));
    aio_semaphore_release(&semaphore);                  // b's now, but b has not run
    assert_true(aio_semaphore_locked(&semaphore));
    t[2] = use(SEMAPHORE, "c", 0);
    core_turn();
    assert_trace("a+ b+ ");
    core_run_dry();
    assert_trace("c+ ");
    drop(t, 3);
}

static void SM_2_several_releases_wake_several(void **state)
{
    (void)state;
    aio_semaphore_init(&semaphore, 0, 0);
    aio_task *t[3] = { use(SEMAPHORE, "a", 5), use(SEMAPHORE, "b", 5), use(SEMAPHORE, "c", 5) };
    core_turn();
    aio_semaphore_release(&semaphore);
    aio_semaphore_release(&semaphore);
    core_turn();
    assert_trace("a+ b+ ");
    core_run_dry();
    assert_trace("c+ ");
    drop(t, 3);
}

static void SM_3_a_cancelled_waiter_gives_its_unit_back(void **state)
{
    (void)state;
    aio_semaphore_init(&semaphore, 0, 0);
    aio_task *t[2] = { use(SEMAPHORE, "a", 0), use(SEMAPHORE, "b", 0) };
    core_turn();
    aio_semaphore_release(&semaphore);
    aio_task_cancel(t[0]);
    core_settle();
    assert_trace("a:-125 b+ ");
    assert_false(aio_semaphore_locked(&semaphore));     // b gave it back
    drop(t, 2);
}

static void SM_4_bounded(void **state)
{
    (void)state;
    assert_result(aio_semaphore_init(&semaphore, 3, 2), -EINVAL);
    assert_result(aio_semaphore_init(&semaphore, 1, 2), 0);
    assert_result(aio_semaphore_release(&semaphore), 0);
    assert_result(aio_semaphore_release(&semaphore), -ERANGE);
}

static void BR_1_the_last_one_goes_first(void **state)
{
    (void)state;
    assert_result(aio_barrier_init(&barrier, 0), -EINVAL);
    aio_task *t[3] = { use(BARRIER, "a", 0), use(BARRIER, "b", 0), use(BARRIER, "c", 0) };
    core_settle();
    assert_trace("c=2 a=0 b=1 ");
    drop(t, 3);
    assert_result(aio_barrier_init(&barrier, 1), 0);
    aio_task *alone = use(BARRIER, "alone", 0);
    core_turn();
    assert_trace("alone=0 ");
    aio_detach(alone);
}

static void BR_2_a_comer_waits_until_all_left(void **state)
{
    (void)state;
    aio_task *t[6] = { use(BARRIER, "a", 0), use(BARRIER, "b", 0), use(BARRIER, "c", 0),
                       use(BARRIER, "d", 0), use(BARRIER, "e", 0), use(BARRIER, "f", 0) };
    core_settle();
    assert_trace("c=2 a=0 b=1 f=2 d=0 e=1 ");
    drop(t, 6);
}

static void BR_3_cancel_while_it_fills(void **state)
{
    (void)state;
    aio_task *t[4] = { use(BARRIER, "a", 0), use(BARRIER, "b", 0), NULL, NULL };
    core_turn();
    aio_task_cancel(t[0]);
    core_settle();
    assert_trace("a:-125 ");                            // not broken
    t[2] = use(BARRIER, "c", 0);
    core_settle();
    assert_trace("");
    t[3] = use(BARRIER, "d", 0);
    core_settle();
    assert_trace("d=2 b=1 c=1 ");                       // an index may repeat
    drop(t, 4);
}

static void BR_4_reset_and_abort(void **state)
{
    (void)state;
    aio_task *t[6] = { use(BARRIER, "a", 0), use(BARRIER, "b", 0), NULL, NULL, NULL, NULL };
    core_turn();
    aio_barrier_reset(&barrier);
    t[2] = use(BARRIER, "c", 0);                        // waits until they left
    core_settle();
    assert_trace("a:-131 b:-131 ");
    t[3] = use(BARRIER, "d", 0);
    t[4] = use(BARRIER, "e", 0);
    core_settle();
    assert_trace("e=2 c=0 d=1 ");
    aio_barrier_abort(&barrier);
    t[5] = use(BARRIER, "f", 0);
    core_settle();
    assert_trace("f:-131 ");
    aio_barrier_reset(&barrier);
    drop(t, 6);
    for (int i = 0; i < 3; i++) t[i] = use(BARRIER, "x", 0);
    core_settle();
    assert_trace("x=2 x=0 x=1 ");
    drop(t, 3);
}

static void BR_5_cancel_of_one_that_was_released(void **state)
{
    (void)state;
    aio_task *t[6] = {
        use(BARRIER, "a", 0), use(BARRIER, "b", 0), use(BARRIER, "c", 0), NULL, NULL, NULL};
    core_turn();
    aio_task_cancel(t[0]);
    core_settle();
    assert_trace("c=2 a:-125 b=1 ");
    for (int i = 3; i < 6; i++) t[i] = use(BARRIER, "x", 0);
    core_settle();
    assert_trace("x=2 x=0 x=1 ");
    drop(t, 6);
}

// An object may outlive the loop that it was used on.
static void objects_outlive_their_loop(void **state)
{
    (void)state;
    struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
    aio_semaphore_init(&semaphore, 0, 0);
    for (int round = 0; round < 3; round++) {
        assert_result(aio_loop_close(&core.loop), 0);
        core_forget_reports();
        assert_result(aio_loop_init(&core.loop, &o), 0);
        aio_task *t[5] = { use(CONDITION, "v", 0), use(LOCK, "a", AIO_FOREVER), use(LOCK, "b", 0),
                           use(EVENT, "e", 0), use(SEMAPHORE, "s", 0) };
        core_settle();
        if (round == 1) {                       // some of them are woken and have not run
            aio_event_set(&event);
            aio_semaphore_release(&semaphore);
            aio_lock_release(&lock);
        }
        drop(t, 5);
    }
    assert_result(aio_loop_close(&core.loop), 0);
    core_forget_reports();
    core.trace[core.trace_at = 0] = 0;
    assert_null(lock.waiters);
    assert_result(lock.live, 0);
    assert_null(event.waiters);
    assert_null(semaphore.waiters);
    assert_result(semaphore.woken, 0);
    assert_null(condition.waiters);
}

struct many { aio_frame aio; int rounds; long calls; };
aio_async(many) {
    for (self->rounds = 0; self->rounds < 50; self->rounds++) {
        if (self->rounds == 5) self->calls = core.memory.calls;
        aio_try(aio_lock_acquire(&lock));
        aio_try(aio_next_turn());
        aio_lock_release(&lock);
        aio_try(aio_semaphore_acquire(&semaphore));
        aio_try(aio_next_turn());
        aio_semaphore_release(&semaphore);
        aio_try(aio_barrier_wait(&barrier));
    }
    return core.memory.calls - self->calls;
} aio_end
static void no_malloc_once_warm(void **state)
{
    (void)state;
    aio_task *t[3] = { core_spawn(many), core_spawn(many), core_spawn(many) };
    for (int i = 0; i < 3; i++) assert_result(core_run(t[i]), 0);
    drop(t, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        sync_test(LK_1_no_barging),
        sync_test(LK_1_cancelled_waiters_do_not_count),
        sync_test(LK_2_ownership_passes_when_the_waiter_runs),
        sync_test(LK_3_a_cancelled_waiter_passes_the_wake_on),
        sync_test(LK_4_release_of_a_free_lock),
        sync_test(EV_1_set_wakes_all_even_if_cleared_at_once),
        sync_test(EV_2_cancelled_after_the_set),
        sync_test(CV_1_without_the_lock),
        sync_test(CV_1_wait_on_a_free_lock),
        sync_test(CV_2_counts_those_not_yet_woken),
        sync_test(CV_3_holds_the_lock_whatever_happened),
        sync_test(CV_4_a_notify_is_never_lost),
        sync_test(CV_5_a_limit_returns_with_the_lock),
        sync_test(SM_1_a_late_comer_waits),
        sync_test(SM_2_several_releases_wake_several),
        sync_test(SM_3_a_cancelled_waiter_gives_its_unit_back),
        sync_test(SM_4_bounded),
        sync_test(BR_1_the_last_one_goes_first),
        sync_test(BR_2_a_comer_waits_until_all_left),
        sync_test(BR_3_cancel_while_it_fills),
        sync_test(BR_4_reset_and_abort),
        sync_test(BR_5_cancel_of_one_that_was_released),
        sync_test(objects_outlive_their_loop),
        sync_test(no_malloc_once_warm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
