// Several at once: gather, wait, shield, as_completed, wait_for. Rules G-*, W-*, SH-*, AC-*, WF-*.
// TIMEOUT 1200
#define AIO_SLAB_BYTES_MIN 16       // every block is an allocation: each one can fail
#define AIO_SLAB_BYTES_MAX 64
#include "actors.h"
#include <pthread.h>

enum { MANY = 4 };
// Gathers, and says what came out.
struct gatherer {
    aio_frame aio;
    const char *name;
    aio_task **tasks;
    aio_result *results;
    size_t n;
    bool all;
    uint64_t before;
    aio_result r;
};
aio_async(gatherer) {
    self->before = turns();
    if (self->all) aio_await(self->r, aio_gather_all(self->tasks, self->results, self->n));
    else aio_await(self->r, aio_gather(self->tasks, self->results, self->n));
    say("%s:%s/%u@%llu ", self->name, self->r < 0 ? aio_strerror(self->r) : "ok",
        aio_task_cancelling(me()), (unsigned long long)(turns() - self->before));
    return self->r;
} aio_end

static void G_1_results_in_argument_order(void **state)
{
    (void)state;
    aio_result results[3] = { -1, -1, -1 };
    aio_task *slow = core_spawn(nap, .name = "slow", .ns = 9, .result = 1);
    aio_task *fast = core_spawn(nap, .name = "fast", .ns = 2, .result = 2);
    aio_task *tasks[3] = { slow, fast, slow };          // one stands twice: its handle is one
    aio_task *g = core_spawn(gatherer, .name = "g", .tasks = tasks, .results = results, .n = 3);
    assert_result(core_run(g), 0);
    assert_trace("fast slow g:ok/0@7 ");
    assert_result(results[0], 1);
    assert_result(results[1], 2);
    assert_result(results[2], 1);
    for (int i = 0; i < 3; i++) assert_null(tasks[i]);
    aio_detach(g);
}

static void G_2_nothing_or_all_done_does_not_suspend(void **state)
{
    (void)state;
    aio_result results[2] = { -1, -1 };
    aio_task *g = core_spawn(gatherer, .name = "none");
    assert_result(core_run(g), 0);
    aio_detach(g);
    aio_task *tasks[2] = { core_spawn(at_once, .result = 3), core_spawn(at_once, .result = 4) };
    core_settle();
    g = core_spawn(gatherer, .name = "done", .tasks = tasks, .results = results, .n = 2);
    assert_result(core_run(g), 0);
    assert_trace("none:ok/0@0 done:ok/0@0 ");
    assert_result(results[0], 3);
    assert_result(results[1], 4);
    aio_detach(g);
    aio_task *failed[1] = { core_spawn(at_once, .result = -EIO) };
    core_settle();
    g = core_spawn(gatherer, .name = "failed", .tasks = failed, .n = 1);
    assert_result(core_run(g), -EIO);
    assert_trace("failed:EIO/0@0 ");
    aio_detach(g);
}

static void G_3_the_first_error_ends_it(void **state)
{
    (void)state;
    aio_result results[3];
    aio_task *tasks[3] = { core_spawn(nap, .name = "a", .ns = 5, .result = 1),
                           core_spawn(nap, .name = "b", .ns = 2, .result = -EIO),
                           core_spawn(nap, .name = "c", .ns = 5, .result = -ENOENT) };
    aio_task *g = core_spawn(gatherer, .name = "g", .tasks = tasks, .results = results, .n = 3);
    assert_result(core_run(g), -EIO);
    assert_trace("b g:EIO/0@4 ");
    assert_result(results[0], -EINPROGRESS);
    assert_result(results[1], -EIO);
    assert_non_null(tasks[0]);                  // they run on, and their handles are the caller's
    assert_null(tasks[1]);
    core_run_dry();
    assert_trace("a c ");
    aio_detach(tasks[0]);
    aio_detach(tasks[2]);                       // its error is not reported any more
    aio_detach(g);
}

static void G_3_no_value_is_lost(void **state)
{
    (void)state;
    // In one turn: a value and an error. The value stands in the results, or is dropped.
    for (int with = 0; with < 2; with++) {
        aio_result results[3] = { 0, 0, 0 };
        values_dropped = 0;
        aio_task *tasks[3], *g = core_spawn(gatherer, .name = "g", .tasks = tasks,
                                            .results = with ? results : NULL, .n = 3);
        tasks[0] = core_spawn(at_once, .result = -EIO);
        tasks[1] = core_spawn(maker);
        tasks[2] = core_spawn(maker, .ns = 5);
        assert_result(core_run(g), -EIO);
        assert_result(values_dropped, !with);
        if (with) assert_result(results[1], 7);
        core_run_dry();
        aio_detach(tasks[2]);                   // nobody took its value
        assert_result(values_dropped, !with + 1);
        aio_detach(g);
        assert_trace("g:EIO/0@2 ");
    }
}

static void G_4_a_cancelled_child_is_an_error(void **state)
{
    (void)state;
    aio_task *a = core_spawn(nap, .name = "a", .ns = 5), *b = core_spawn(nap, .name = "b", .ns = 5);
    aio_task *tasks[2] = { a, b };
    aio_task *g = core_spawn(gatherer, .name = "g", .tasks = tasks, .n = 2);
    core_turn();
    aio_task_cancel(a);
    assert_result(core_run(g), -ECANCELED);
    assert_trace("a! g:ECANCELED/0@3 ");        // nobody cancelled the gatherer; b lives on
    assert_false(aio_task_done(b));
    assert_result(aio_task_cancelling(b), 0);
    core_run_dry();
    assert_trace("b ");
    aio_detach(b);
    aio_detach(g);
}

static void G_5_all_keeps_errors_as_results(void **state)
{
    (void)state;
    aio_result results[3];
    aio_task *c = core_spawn(nap, .name = "c", .ns = 5);
    aio_task *tasks[3] = { core_spawn(nap, .name = "a", .ns = 1, .result = -EIO),
                           core_spawn(nap, .name = "b", .ns = 9, .result = 2), c };
    aio_task *g =
        core_spawn(gatherer, .name = "g", .tasks = tasks, .results = results, .n = 3, .all = true);
    core_turn();
    aio_task_cancel(c);
    assert_result(core_run(g), 0);
    assert_trace("c! a b g:ok/0@9 ");
    assert_result(results[0], -EIO);
    assert_result(results[1], 2);
    assert_result(results[2], -ECANCELED);
    aio_detach(g);
}

static void G_6_cancel_reaches_all_and_waits(void **state)
{
    (void)state;
    for (int all = 0; all < 2; all++) {         // everyone refuses: it is cancelled all the same
        aio_result results[2];
        aio_task *tasks[2] = {
            core_spawn(nap, .name = "a", .ns = 50, .cleanup = 5, .refuse = true, .result = 1),
            core_spawn(nap, .name = "b", .ns = 50, .cleanup = 9, .refuse = true, .result = 2) };
        aio_task *g = core_spawn(gatherer, .name = "g", .tasks = tasks, .results = results, .n = 2,
                                 .all = all);
        core_turn();
        assert_true(aio_task_cancel(g));
        int64_t before = now();
        assert_result(core_run(g), -ECANCELED);
        assert_result(now() - before, 9);
        assert_trace("a! b! a: b: g:ECANCELED/1@8 ");
        assert_result(results[0], 1);
        assert_result(results[1], 2);
        aio_detach(g);
    }
}

static void G_7_cancel_after_the_children_ended(void **state)
{
    (void)state;
    aio_result results[1] = { -1 };
    aio_task *t = core_spawn(at_once, .result = 5), *tasks[1] = { t };
    aio_task *g = core_spawn(gatherer, .name = "g", .tasks = tasks, .results = results, .n = 1);
    core_turn();                                // t has ended before g looks: no wait
    assert_result(core_run(g), 0);
    assert_trace("g:ok/0@0 ");
    aio_detach(g);
    t = tasks[0] = core_spawn(nap, .name = "t", .result = 6);
    g = core_spawn(gatherer, .name = "g", .tasks = tasks, .results = results, .n = 1);
    core_turn();
    core_turn();                                // t has ended, g is not told yet
    assert_true(aio_task_cancel(g));
    assert_result(core_run(g), -ECANCELED);     // C-4: but the result stands
    assert_result(results[0], 6);
    assert_null(tasks[0]);
    assert_trace("t g:ECANCELED/1@3 ");
    aio_detach(g);
}

static void G_8_cancel_after_an_error_cancels_nobody(void **state)
{
    (void)state;
    aio_task *slow = core_spawn(nap, .name = "slow", .ns = 5);
    aio_task *tasks[2] = { core_spawn(nap, .name = "bad", .result = -EIO), slow };
    aio_task *g = core_spawn(gatherer, .name = "g", .tasks = tasks, .n = 2);
    core_turn();
    core_turn();
    core_turn();                                // the error ended the gather; g goes on next turn
    assert_true(aio_task_cancel(g));
    assert_result(aio_task_cancelling(slow), 0);
    assert_result(core_run(g), -ECANCELED);
    core_run_dry();
    assert_trace("bad g:ECANCELED/1@3 slow ");
    aio_detach(slow);
    aio_detach(g);
}

static void G_9_tasks_of_another_loop(void **state)
{
    (void)state;
    aio_loop other;
    struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
    assert_result(aio_loop_init(&other, &o), 0);
    aio_task *mine = core_spawn(nap, .name = "mine", .ns = 1);
    aio_task *tasks[2] = { mine, aio_spawn_on(&other, nap, .name = "other", .ns = 1) };
    uint32_t taken = slots();
    aio_task *g = core_spawn(gatherer, .name = "g", .tasks = tasks, .n = 2);
    assert_result(core_run(g), -EXDEV);
    assert_result(slots(), taken - 0);          // g ended, nothing is watched
    assert_non_null(tasks[0]);                  // the handles are still the caller's
    assert_non_null(tasks[1]);
    assert_trace("g:EXDEV/0@0 ");
    aio_detach(g);
    core_run_dry();
    aio_detach(mine);
    aio_detach(tasks[1]);
    assert_result(aio_loop_close(&other), 0);
    assert_result(core_count("pending"), 1);
    core_forget_reports();
    assert_trace("mine ");
}

// --- wait
struct waiter {
    aio_frame aio;
    aio_task **tasks;
    size_t n;
    int mode;
    int64_t ns;
    uint64_t before;
    aio_result r;
};
aio_async(waiter) {
    self->before = turns();
    if (self->ns) aio_await(self->r, aio_wait_timeout(self->tasks, self->n, self->mode, self->ns));
    else aio_await(self->r, aio_wait(self->tasks, self->n, self->mode));
    say("w:%lld@%llu ", (long long)self->r, (unsigned long long)(turns() - self->before));
    return self->r;
} aio_end
#define wait_for_them(...) \
    core_spawn(waiter, .tasks = tasks, .n = sizeof tasks / sizeof *tasks, __VA_ARGS__)

static void W_1_none_is_an_error_duplicates_collapse(void **state)
{
    (void)state;
    aio_task *w = core_spawn(waiter, .n = 0);
    assert_result(core_run(w), -EINVAL);
    aio_detach(w);
    w = core_spawn(waiter, .n = 0, .ns = 5);
    assert_result(core_run(w), -EINVAL);
    aio_detach(w);
    aio_task *a = core_spawn(nap, .name = "a", .ns = 2), *b = core_spawn(nap, .name = "b", .ns = 1);
    aio_task *tasks[4] = { a, b, a, a };
    w = wait_for_them(.mode = AIO_ALL_COMPLETED);
    assert_result(core_run(w), 2);
    assert_trace("w:-22@0 w:-22@0 b a w:2@7 ");
    aio_detach(a);
    aio_detach(b);
    aio_detach(w);
}

static void W_2_takes_no_error_and_cancels_nothing(void **state)
{
    (void)state;
    aio_task *bad = core_spawn(nap, .name = "bad", .ns = 1, .result = -EIO);
    aio_task *slow = core_spawn(nap, .name = "slow", .ns = 9), *tasks[2] = { bad, slow };
    aio_task *w = wait_for_them(.mode = AIO_ALL_COMPLETED, .ns = 5);
    assert_result(core_run(w), 1);              // a limit is no error
    aio_detach(w);
    assert_result(aio_task_cancelling(slow), 0);
    w = wait_for_them(.mode = AIO_ALL_COMPLETED);
    core_turn();
    aio_task_cancel(w);
    assert_result(core_run(w), -ECANCELED);     // C-12: they are untouched
    aio_detach(w);
    assert_result(aio_task_cancelling(slow), 0);
    aio_detach(bad);                            // its error was seen by nobody
    assert_reports("task error was never retrieved: EIO: nap\n");
    core_run_dry();
    aio_detach(slow);
    assert_trace("bad w:1@5 w:-125@1 slow ");
}

static void W_3_counts_when_the_waiter_goes_on(void **state)
{
    (void)state;
    aio_task *a = core_spawn(nap, .name = "a"), *b = core_spawn(nap, .name = "b", .ns = 0);
    aio_task *late = core_spawn(at_once), *tasks[3] = { a, b, late };
    aio_task *w = wait_for_them(.mode = AIO_FIRST_COMPLETED);
    assert_result(core_run(w), 3);
    assert_trace("a b w:3@2 ");
    for (int i = 0; i < 3; i++) aio_detach(tasks[i]);
    aio_detach(w);
}

static void W_4_a_cancelled_one_has_not_failed(void **state)
{
    (void)state;
    aio_task *a = core_spawn(nap, .name = "a", .ns = 9),
             *b = core_spawn(nap, .name = "b", .ns = 5, .result = -EIO);
    aio_task *c = core_spawn(nap, .name = "c", .ns = 9), *tasks[3] = { a, b, c };
    aio_task *w = wait_for_them(.mode = AIO_FIRST_ERROR);
    core_turn();
    aio_task_cancel(a);
    assert_result(core_run(w), 2);
    assert_trace("a! b w:2@6 ");
    core_run_dry();
    assert_trace("c ");
    aio_task_result(b);
    for (int i = 0; i < 3; i++) aio_detach(tasks[i]);
    aio_detach(w);
}

static void W_5_done_already_still_takes_two_turns(void **state)
{
    (void)state;
    aio_task *a = core_spawn(at_once), *tasks[1] = { a };
    core_settle();
    aio_task *w = wait_for_them(.mode = AIO_ALL_COMPLETED);
    assert_result(core_run(w), 1);
    assert_trace("w:1@2 ");
    aio_detach(w);
    aio_detach(a);
    a = tasks[0] = core_spawn(nap, .name = "a", .ns = 5);
    w = wait_for_them(.mode = AIO_ALL_COMPLETED, .ns = -1);
    assert_result(core_run(w), 0);              // a limit in the past: through the timers
    assert_trace("w:0@2 ");
    aio_detach(w);
    core_run_dry();
    aio_detach(a);
    assert_trace("a ");
}

static void W_6_leaves_nothing_behind(void **state)
{
    (void)state;
    aio_task *a = core_spawn(nap, .name = "a"), *b = core_spawn(nap, .name = "b", .ns = 9);
    aio_task *tasks[2] = { a, b };
    uint32_t taken = slots();
    aio_task *w = wait_for_them(.mode = AIO_ALL_COMPLETED, .ns = 100);
    core_turn();
    core_turn();                                // a has ended: its callback is queued
    aio_task_cancel(w);
    assert_result(core_run(w), -ECANCELED);
    aio_detach(w);
    core_settle();
    assert_result(slots(), taken - 1);          // a's
    assert_null(b->waiter.future.watchers);
    assert_result(core.loop.timer_count, 1);    // b's: the limit's is gone
    core_run_dry();
    assert_trace("a w:-125@2 b ");
    aio_detach(a);
    aio_detach(b);
}

// --- shield
struct shielded {
    aio_frame aio;
    aio_task *t;
    uint64_t before;
    aio_result r;
};
aio_async(shielded) {
    self->before = turns();
    aio_await(self->r, aio_shield(self->t));
    say("s:%lld/%u@%llu ", (long long)self->r, aio_task_cancelling(me()),
        (unsigned long long)(turns() - self->before));
    return self->r;
} aio_end

static void SH_1_two_turns_or_none(void **state)
{
    (void)state;
    aio_task *t = core_spawn(nap, .name = "t", .result = 3);
    aio_task *s = core_spawn(shielded, .t = t);
    assert_result(core_run(s), 3);
    aio_detach(s);
    s = core_spawn(shielded, .t = t);
    assert_result(core_run(s), 3);
    assert_trace("t s:3/0@3 s:3/0@0 ");
    aio_detach(s);
    aio_detach(t);
}

static void SH_2_cancel_stops_at_the_shield(void **state)
{
    (void)state;
    aio_task *t = core_spawn(nap, .name = "t", .ns = 5, .result = 3);
    aio_task *s = core_spawn(shielded, .t = t);
    core_turn();
    aio_task_cancel(s);
    assert_result(core_run(s), -ECANCELED);
    aio_detach(s);
    assert_result(core_run(t), 3);
    assert_result(aio_task_cancelling(t), 0);
    assert_trace("s:-125/1@1 t ");
    aio_detach(t);
}

static void SH_3_cancelled_inside(void **state)
{
    (void)state;
    aio_task *t = core_spawn(nap, .name = "t", .ns = 5);
    aio_task *s = core_spawn(shielded, .t = t);
    core_turn();
    aio_task_cancel(t);
    assert_result(core_run(s), -ECANCELED);
    assert_trace("t! s:-125/0@3 ");
    aio_detach(s);
    aio_detach(t);
}

static void SH_4_an_unseen_error_is_reported_once_at_the_end(void **state)
{
    (void)state;
    aio_task *t = core_spawn(nap, .name = "t", .ns = 5, .result = -EIO);
    aio_task *s[2] = { core_spawn(shielded, .t = t), core_spawn(shielded, .t = t) };
    core_turn();
    for (int i = 0; i < 2; i++) aio_task_cancel(s[i]);
    core_run_dry();
    for (int i = 0; i < 2; i++) aio_detach(s[i]);
    assert_reports("");                         // somebody may still look
    aio_detach(t);
    assert_reports("task error was never retrieved: EIO: nap\n");
    t = core_spawn(nap, .name = "t", .ns = 5, .result = -EIO);
    s[0] = core_spawn(shielded, .t = t);
    assert_result(core_run(s[0]), -EIO);        // seen through a shield
    aio_detach(s[0]);
    aio_detach(t);
    assert_trace("s:-125/1@1 s:-125/1@1 t t s:-5/0@4 ");
}

static void SH_5_cancelled_waiters_are_unlinked(void **state)
{
    (void)state;
    aio_task *t = core_spawn(nap, .name = "t", .ns = 5);
    core_turn();
    uint32_t taken = slots();
    for (int i = 0; i < 100; i++) {
        aio_task *s = core_spawn(shielded, .t = t);
        core_turn();
        assert_non_null(t->waiter.future.watchers);
        aio_task_cancel(s);
        assert_null(t->waiter.future.watchers);
        core_settle();
        aio_detach(s);
    }
    assert_result(slots(), taken);
    core.trace[core.trace_at = 0] = 0;
    core_run_dry();
    aio_detach(t);
    assert_trace("t ");
}

struct shield_main { aio_frame aio; aio_task *inner; };
aio_async(shield_main) {
    self->inner = aio_spawn(nap, .name = "inner", .ns = AIO_FOREVER);
    aio_detach(aio_spawn(shielded, .t = self->inner));
    aio_await(aio_sleep(1));
    aio_detach(self->inner);
    return 0;
} aio_end
static void SH_6_a_second_cancel_does_not_pierce_the_shutdown_does(void **state)
{
    (void)state;
    aio_task *t = core_spawn(nap, .name = "t", .ns = 5);
    aio_task *s = core_spawn(shielded, .t = t);
    core_turn();
    aio_task_cancel(s);
    aio_task_cancel(s);
    assert_result(core_run(s), -ECANCELED);
    assert_result(aio_task_cancelling(t), 0);
    assert_result(core_run(t), 0);
    aio_detach(s);
    aio_detach(t);
    assert_trace("s:-125/2@1 t ");
    struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
    assert_result(aio_run_with(&o, shield_main), 0);
    assert_non_null(strstr(core.trace, "inner! "));
    core.trace[core.trace_at = 0] = 0;
}

// --- as_completed
struct completer {
    aio_frame aio;
    aio_task **tasks;
    size_t n;
    int64_t ns;
    aio_completed it;
    aio_result r;
    int stop;
};
aio_async(completer) {
    self->r =
        aio_completed_init(&self->it, self->tasks, self->n, self->ns ? self->ns : AIO_FOREVER);
    if (self->r < 0) return self->r;
    for (;;) {
        aio_await(self->r, aio_completed_next(&self->it));
        say("%lld ", (long long)self->r);
        if (self->r == -ENODATA || self->r == -ECANCELED) return self->r;
        if (self->stop && !--self->stop) return 0;      // the frame closes the iterator
    }
} aio_end

static void AC_1_order_of_the_ends(void **state)
{
    (void)state;
    aio_task *a = core_spawn(nap, .name = "a", .ns = 9),
             *b = core_spawn(nap, .name = "b", .ns = 1, .result = -EIO);
    aio_task *c = core_spawn(nap, .name = "c", .ns = 5), *tasks[4] = { a, b, c, b };
    aio_task *t = core_spawn(completer, .tasks = tasks, .n = 4);
    assert_result(core_run(t), -ENODATA);
    aio_task_result(b);
    aio_detach(t);
    t = core_spawn(completer, .tasks = tasks, .n = 4, .stop = 1);       // all done: the first one
    assert_result(core_run(t), 0);
    assert_trace("b 1 c 2 a 0 -61 0 ");
    for (int i = 0; i < 3; i++) aio_detach(tasks[i]);
    aio_detach(t);
}

static void AC_1_stopping_cancels_nobody(void **state)
{
    (void)state;
    aio_task *a = core_spawn(nap, .name = "a", .ns = 9), *b = core_spawn(nap, .name = "b", .ns = 1);
    aio_task *tasks[2] = {a, b},
             *t = core_spawn(completer, .tasks = tasks, .n = 2, .ns = 50, .stop = 1);
    assert_result(core_run(t), 0);
    aio_detach(t);
    assert_result(core.loop.timer_count, 1);            // a's: the iterator's is gone
    assert_null(a->waiter.future.watchers);
    t = core_spawn(completer, .tasks = tasks, .n = 1);
    core_turn();
    aio_task_cancel(t);
    assert_result(core_run(t), -ECANCELED);
    assert_result(aio_task_cancelling(a), 0);
    aio_detach(t);
    core_run_dry();
    assert_trace("b 1 -125 a ");
    aio_detach(a);
    aio_detach(b);
}

static void AC_2_one_limit_for_all(void **state)
{
    (void)state;
    aio_task *a = core_spawn(nap, .name = "a", .ns = 9), *b = core_spawn(nap, .name = "b", .ns = 1);
    aio_task *c = core_spawn(nap, .name = "c", .ns = 9), *tasks[3] = { a, b, c };
    aio_task *t = core_spawn(completer, .tasks = tasks, .n = 3, .ns = 5);
    assert_result(core_run(t), -ENODATA);
    assert_result(now(), 5);
    assert_trace("b 1 -110 -110 -61 ");
    core_run_dry();                                     // they go on
    assert_trace("a c ");
    for (int i = 0; i < 3; i++) aio_detach(tasks[i]);
    aio_detach(t);
}

struct nexter { aio_frame aio; aio_completed *it; const char *name; };
aio_async(nexter) {
    aio_result r;
    aio_await(r, aio_completed_next(self->it));
    say("%s:%lld ", self->name, (long long)r);
    return 0;
} aio_end
struct two_nexts {
    aio_frame aio;
    aio_task *tasks[2], *nexts[3];
    aio_completed it;
    bool close_early;
};
aio_async(two_nexts) {
    for (int i = 0; i < 2; i++) self->tasks[i] = aio_spawn(nap, .name = "", .ns = 5);
    assert_result(aio_completed_init(&self->it, self->tasks, 2, AIO_FOREVER), 0);
    self->nexts[0] = aio_spawn(nexter, .it = &self->it, .name = "x");
    self->nexts[1] = aio_spawn(nexter, .it = &self->it, .name = "y");
    self->nexts[2] = aio_spawn(nexter, .it = &self->it, .name = "z");
    if (self->close_early) aio_completed_close(&self->it);
    aio_await(aio_gather(self->nexts, NULL, 3));
    aio_completed_close(&self->it);
    aio_await(aio_gather(self->tasks, NULL, 2));
    return 0;
} aio_end
static void AC_3_argument_order_and_two_nexts(void **state)
{
    (void)state;
    aio_task *t = core_spawn(two_nexts);
    assert_result(core_run(t), 0);
    assert_trace("z:-61   x:0 y:1 ");
    aio_detach(t);
    t = core_spawn(two_nexts, .close_early = true);
    assert_result(core_run(t), 0);
    assert_trace("x:-61 y:-61 z:-61   ");
    aio_detach(t);
}

// --- wait_for
enum limited { JOIN, CALL, CALL_NEW, SLEEP, FUTURE, GATHER, SHIELD };
struct limiter {
    aio_frame aio;
    enum limited what;
    int64_t ns;
    aio_task *t, *tasks[1];
    aio_future *f;
    struct nap nap;
    struct nap args;
    uint64_t before;
    aio_result r;
};
aio_async(limiter) {
    self->before = turns();
    self->tasks[0] = self->t;
    if (self->what == JOIN) aio_await(self->r, aio_wait_for(self->ns, aio_join(self->t)));
    if (self->what == CALL)
        aio_await(self->r, aio_wait_for(self->ns, aio_call(&self->nap, nap, .name = "n",
            .ns = self->args.ns, .cleanup = self->args.cleanup, .refuse = self->args.refuse,
            .result = self->args.result)));
    if (self->what == CALL_NEW)
        aio_await(self->r, aio_wait_for(self->ns, aio_call_new(nap, .name = "n",
            .ns = self->args.ns, .cleanup = self->args.cleanup, .refuse = self->args.refuse,
            .result = self->args.result)));
    if (self->what == SLEEP) aio_await(self->r, aio_wait_for(self->ns, aio_sleep(self->args.ns)));
    if (self->what == FUTURE) aio_await(self->r, aio_wait_for(self->ns, aio_future_wait(self->f)));
    if (self->what == GATHER)
        aio_await(self->r, aio_wait_for(self->ns, aio_gather(self->tasks, NULL, 1)));
    if (self->what == SHIELD) aio_await(self->r, aio_wait_for(self->ns, aio_shield(self->t)));
    say("l:%lld/%u@%llu ", (long long)self->r, aio_task_cancelling(me()),
        (unsigned long long)(turns() - self->before));
    return self->r;
} aio_end
#define limit_it(...) core_spawn(limiter, __VA_ARGS__)

static void WF_1_inline_and_no_turn_more(void **state)
{
    (void)state;
    static const enum limited calls[] = { CALL, CALL_NEW };
    for (int i = 0; i < 2; i++) {
        aio_task *t =
            limit_it(.what = calls[i], .ns = i ? 9 : AIO_FOREVER, .args.ns = 5, .args.result = 3);
        assert_result(core_run(t), 3);
        assert_trace("n l:3/0@2 ");             // as the sleep alone
        assert_result(core.loop.executor.live, 0);
        aio_detach(t);
    }
    assert_result(core.loop.timer_count, 0);
}

static void WF_2_waits_for_what_it_cancelled(void **state)
{
    (void)state;
    aio_task *t = limit_it(.what = CALL, .ns = 3, .args.ns = 50, .args.cleanup = 10);
    assert_result(core_run(t), -ETIMEDOUT);
    assert_result(now(), 13);
    assert_trace("n! n: l:-110/0@4 ");
    aio_detach(t);
    t = limit_it(.what = JOIN, .ns = 3, .t = core_spawn(nap, .name = "t", .ns = 50, .cleanup = 10));
    assert_result(core_run(t), -ETIMEDOUT);
    assert_result(now(), 26);
    aio_detach(t);
    assert_trace("t! t: l:-110/0@5 ");
}

static void WF_3_a_refusal_wins(void **state)
{
    (void)state;
    aio_task *t =
        limit_it(.what = CALL_NEW, .ns = 3, .args.ns = 50, .args.refuse = true, .args.result = 4);
    assert_result(core_run(t), 4);
    aio_detach(t);
    t = limit_it(.what = JOIN, .ns = 3,
                 .t = core_spawn(nap, .name = "t", .ns = 50, .refuse = true, .result = -EIO));
    assert_result(core_run(t), -EIO);
    aio_detach(t);
    assert_trace("n! l:4/0@2 t! l:-5/0@3 ");
}

static void WF_4_limit_of_zero(void **state)
{
    (void)state;
    aio_future f = { 0 };
    aio_task *t = core_spawn(nap, .name = "t", .ns = 5, .result = 3), *l;
    assert_result(core_run(t), 3);
    core_forget_reports();
    l = limit_it(.what = JOIN, .t = t);                 // done: its result
    assert_result(core_run(l), 3);
    aio_detach(l);
    l = limit_it(.what = FUTURE, .f = &f, .ns = -5);
    assert_result(core_run(l), -ETIMEDOUT);
    assert_true(aio_future_cancelled(&f));
    aio_detach(l);
    l = limit_it(.what = JOIN);
    aio_task_frame(limiter, l)->t = core_spawn(nap, .name = "t", .ns = 5, .cleanup = 5);
    assert_result(core_run(l), -ETIMEDOUT);             // cancelled before its start: C-2
    aio_detach(l);
    for (int what = CALL; what <= CALL_NEW; what++) {   // never begins
        l = limit_it(.what = (enum limited)what, .args.ns = 5);
        assert_result(core_run(l), -ETIMEDOUT);
        aio_detach(l);
    }
    l = limit_it(.what = SLEEP, .args.ns = 5);
    assert_result(core_run(l), -ETIMEDOUT);
    aio_detach(l);
    assert_trace("t l:3/0@0 l:-110/0@2 l:-110/0@2 l:-110/0@3 l:-110/0@3 l:-110/0@3 ");
}

static void WF_4_cancelled_while_it_waits_for_nothing(void **state)
{
    (void)state;
    for (int turn = 0; turn < 3; turn++) {
        uint32_t taken = slots();
        aio_task *l = limit_it(.what = CALL, .args.ns = 5);
        for (int i = 0; i <= turn; i++) core_turn();
        assert_true(aio_task_cancel(l));
        assert_result(core_run(l), -ECANCELED);
        aio_detach(l);
        core_settle();
        assert_result(slots(), taken);
    }
    assert_trace("l:-125/1@1 l:-125/1@2 l:-125/1@3 ");
}

static void WF_5_outer_cancel_beats_the_limit(void **state)
{
    (void)state;
    aio_task *t = core_spawn(nap, .name = "t", .ns = 50);
    aio_task *l = limit_it(.what = JOIN, .ns = 3, .t = t);
    core_turn();
    core.loop.now = 3;
    core_turn();                                        // the limit has cancelled it
    assert_true(aio_task_cancel(l));
    assert_result(core_run(l), -ECANCELED);
    assert_trace("t! l:-125/1@3 ");
    aio_detach(l);
}

static void WF_6_a_result_and_a_cancel_in_one_turn(void **state)
{
    (void)state;
    aio_future f = { 0 };
    aio_task *l = limit_it(.what = FUTURE, .ns = 3, .f = &f);
    core_turn();
    aio_future_set_result(&f, 9);
    assert_true(aio_task_cancel(l));
    assert_result(core_run(l), -ECANCELED);
    assert_result(aio_future_result(&f), 9);            // it keeps its result
    assert_trace("l:-125/1@1 ");
    aio_detach(l);
}

static void WF_7_cancels_the_future_but_not_behind_a_shield(void **state)
{
    (void)state;
    aio_future f = { 0 };
    aio_task *l = limit_it(.what = FUTURE, .ns = 3, .f = &f);
    assert_result(core_run(l), -ETIMEDOUT);
    assert_true(aio_future_cancelled(&f));
    aio_detach(l);
    aio_task *t = core_spawn(nap, .name = "t", .ns = 50, .result = 2);
    l = limit_it(.what = SHIELD, .ns = 3, .t = t);
    assert_result(core_run(l), -ETIMEDOUT);
    assert_result(aio_task_cancelling(t), 0);
    assert_result(core_run(t), 2);
    aio_detach(l);
    l = limit_it(.what = GATHER, .ns = 3, .t = core_spawn(nap, .name = "g", .ns = 50));
    assert_result(core_run(l), -ETIMEDOUT);
    aio_detach(l);
    aio_detach(t);
    assert_trace("l:-110/0@2 l:-110/0@2 t g! l:-110/0@4 ");
}

// --- a chain of 100,000 tasks, each in a gather over the one before, on a small C stack
enum { DEEP = 100000 };
struct gather_link { aio_frame aio; aio_task *tasks[1]; };
aio_async(gather_link) {
    aio_try(aio_gather(self->tasks, NULL, 1));
    return 1;
} aio_end
static void *deep_chain(void *arg)
{
    bool cancel = *(bool *)arg;
    aio_loop loop;
    struct aio_loop_options o = { .clock = AIO_CLOCK_VIRTUAL };
    if (aio_loop_init(&loop, &o) < 0) return "init";
    aio_task *t = aio_spawn_on(&loop, nap, .name = "first", .ns = 5);
    for (int i = 0; i < DEEP; i++) t = aio_spawn_on(&loop, gather_link, .tasks[0] = t);
    aio_loop_stop(&loop);
    if (aio_loop_run_forever(&loop) < 0) return "turn";
    if (cancel) aio_task_cancel(t);
    aio_result r = aio_loop_run_until_complete(&loop, t);
    aio_detach(t);
    if (r != (cancel ? -ECANCELED : 1)) return "result";
    if (aio_loop_time(&loop) != (cancel ? 0 : 5)) return "time";
    if (loop.executor.live) return "live";
    return aio_loop_close(&loop) < 0 ? "close" : NULL;
}
static void C_5_G_6_chain_of_gathers_on_a_small_stack(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        bool cancel = i;
        pthread_t thread;
        pthread_attr_t attr;
        void *why = "no thread";
        pthread_attr_init(&attr);
        assert_result(pthread_attr_setstacksize(&attr, 256 * 1024), 0);
        assert_result(pthread_create(&thread, &attr, deep_chain, &cancel), 0);
        pthread_join(thread, &why);
        if (why) fail_msg("%s (cancel %d)", (const char *)why, i);
        core.trace[core.trace_at = 0] = 0;
    }
}

// --- every allocation fails once, and from each one on
struct numbers { aio_frame aio; int value; };
aio_async(numbers) {
    for (self->value = 0; self->value < 2;) {
        aio_try(aio_next_turn());
        aio_yield(self->value + 1);
    }
    return 0;
} aio_end
struct everything {
    aio_frame aio;
    aio_task *tasks[3];
    aio_group group;
    aio_completed it;
    aio_barrier barrier;
    struct numbers gen;
    aio_result r;
    int i;
};
aio_async(everything) {
    for (self->i = 0; self->i < 3; self->i++) self->tasks[self->i] = aio_spawn(at_once);
    aio_await(self->r, aio_wait(self->tasks, 3, AIO_ALL_COMPLETED));
    if (self->r >= 0) aio_await(self->r, aio_wait_timeout(self->tasks, 3, AIO_ALL_COMPLETED, 5));
    if (self->r >= 0) aio_await(self->r, aio_shield(self->tasks[0]));
    if (self->r >= 0) self->r = aio_completed_init(&self->it, self->tasks, 3, 9);
    while (self->r >= 0) aio_await(self->r, aio_completed_next(&self->it));
    aio_completed_close(&self->it);
    if (self->r == -ENODATA) aio_await(self->r, aio_gather(self->tasks, NULL, 3));
    for (self->i = 0; self->i < 3; self->i++)
        if (self->tasks[self->i]) aio_detach(self->tasks[self->i]);
    if (self->r < 0) return self->r;
    aio_try(aio_wait_for(5, aio_call_new(at_once, .result = 1)));
    aio_await(self->r, aio_wait_for(0, aio_call_new(at_once)));
    if (self->r != -ETIMEDOUT) return self->r;
    aio_try(aio_wait_for(5, aio_join(aio_spawn(nap, .name = ""))));
    aio_barrier_init(&self->barrier, 1);
    aio_try(aio_barrier_wait(&self->barrier));
    self->r = aio_gen_init(&self->gen, numbers);
    if (self->r < 0) return self->r;
    aio_try(aio_next(&self->gen));
    aio_try(aio_gen_close(&self->gen));
    aio_group_enter(&self->group);
    for (self->i = 0, self->r = 0; self->i < 3 && self->r >= 0; self->i++) {
        aio_task *t = aio_group_spawn(&self->group, nap, .name = "", .ns = 2);
        if (!aio_task_frame(nap, t)) self->r = aio_task_result(t);
    }
    aio_await(self->r, aio_group_exit(&self->group, self->r));
    return self->r;
} aio_end

static struct { long calls, blocks, fail_at; bool from; } scarce;
static void *scarce_allocate(void *context, size_t size)
{
    (void)context;
    scarce.calls++;
    if (scarce.calls == scarce.fail_at || (scarce.from && scarce.calls > scarce.fail_at))
        return NULL;
    scarce.blocks++;
    return aligned_alloc(64, (size + 63) & ~(size_t)63);
}
static void scarce_release(void *context, void *block)
{
    (void)context;
    scarce.blocks--;
    free(block);
}
static void every_allocation_fails(void **state)
{
    (void)state;
    struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
    o.allocator.allocate = scarce_allocate;
    o.allocator.release = scarce_release;
    for (int from = 0; from < 2; from++) {
        aio_result r = -ENOMEM;
        long n = 1, refused = 0;
        for (; r == -ENOMEM || n < 40; n++) {
            memset(&scarce, 0, sizeof scarce);
            scarce.fail_at = n;
            scarce.from = from;
            r = aio_run_with(&o, everything);
            if (r != 0 && r != -ENOMEM) fail_msg("allocation %ld: %s", n, aio_strerror(r));
            assert_result(scarce.blocks, 0);
            refused += r == -ENOMEM;
            core_forget_reports();
            core.trace[core.trace_at = 0] = 0;
            if (n > 1000) fail_msg("it never succeeds");
        }
        assert_true(refused > 15);
    }
}

struct again { aio_frame aio; struct everything e; int rounds; long calls; };
aio_async(again) {
    for (self->rounds = 0; self->rounds < 20; self->rounds++) {
        if (self->rounds == 2) self->calls = core.memory.calls;
        aio_try(aio_call(&self->e, everything));
    }
    return core.memory.calls - self->calls;
} aio_end
static void no_malloc_once_warm(void **state)
{
    (void)state;
    aio_task *t = core_spawn(again);
    assert_result(core_run(t), 0);
    aio_detach(t);
    core.trace[core.trace_at = 0] = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        core_test(G_1_results_in_argument_order),
        core_test(G_2_nothing_or_all_done_does_not_suspend),
        core_test(G_3_the_first_error_ends_it),
        core_test(G_3_no_value_is_lost),
        core_test(G_4_a_cancelled_child_is_an_error),
        core_test(G_5_all_keeps_errors_as_results),
        core_test(G_6_cancel_reaches_all_and_waits),
        core_test(G_7_cancel_after_the_children_ended),
        core_test(G_8_cancel_after_an_error_cancels_nobody),
        core_test(G_9_tasks_of_another_loop),
        core_test(W_1_none_is_an_error_duplicates_collapse),
        core_test(W_2_takes_no_error_and_cancels_nothing),
        core_test(W_3_counts_when_the_waiter_goes_on),
        core_test(W_4_a_cancelled_one_has_not_failed),
        core_test(W_5_done_already_still_takes_two_turns),
        core_test(W_6_leaves_nothing_behind),
        core_test(SH_1_two_turns_or_none),
        core_test(SH_2_cancel_stops_at_the_shield),
        core_test(SH_3_cancelled_inside),
        core_test(SH_4_an_unseen_error_is_reported_once_at_the_end),
        core_test(SH_5_cancelled_waiters_are_unlinked),
        core_test(SH_6_a_second_cancel_does_not_pierce_the_shutdown_does),
        core_test(AC_1_order_of_the_ends),
        core_test(AC_1_stopping_cancels_nobody),
        core_test(AC_2_one_limit_for_all),
        core_test(AC_3_argument_order_and_two_nexts),
        core_test(WF_1_inline_and_no_turn_more),
        core_test(WF_2_waits_for_what_it_cancelled),
        core_test(WF_3_a_refusal_wins),
        core_test(WF_4_limit_of_zero),
        core_test(WF_4_cancelled_while_it_waits_for_nothing),
        core_test(WF_5_outer_cancel_beats_the_limit),
        core_test(WF_6_a_result_and_a_cancel_in_one_turn),
        core_test(WF_7_cancels_the_future_but_not_behind_a_shield),
        core_test(C_5_G_6_chain_of_gathers_on_a_small_stack),
        core_test(every_allocation_fails),
        core_test(no_malloc_once_warm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
