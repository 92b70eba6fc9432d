// Timeout scopes: rules TO-1 to TO-12, and scopes that a frame returns over (contract 6).
#include "actors.h"

enum { WAITS = 8 };
// Opens a limit, waits as told (ns of each wait, ended by -1), leaves the scope. `swallow`: it
// ignores a cancel and goes on with the next wait.
struct limited {
    aio_frame aio;
    const char *name;
    int64_t limit, waits[WAITS];
    bool swallow, over;
    aio_result result;              // how the block ends if nothing went wrong
    aio_timeout scope;
    aio_result r;
    int i;
};
aio_async(limited) {
    assert_result(aio_timeout_enter(&self->scope, self->limit), 0);
    self->r = 0;
    for (self->i = 0; self->i < WAITS && self->waits[self->i] >= 0; self->i++) {
        aio_await(self->r, aio_sleep(self->waits[self->i]));
        if (self->r < 0 && !self->swallow) break;
        self->r = 0;
    }
    if (self->r >= 0) self->r = self->result;
    if (self->over) return self->r;             // the runtime exits the scope
    self->r = aio_timeout_exit(&self->scope, self->r);
    say("%s:%lld/%u%s ", self->name, (long long)self->r, aio_task_cancelling(me()),
        aio_timeout_expired(&self->scope) ? "x" : "");
    return self->r;
} aio_end
#define NO_WAIT .waits[0] = -1
#define ONE_WAIT(ns) .waits[0] = ns, .waits[1] = -1
#define TWO_WAITS(one, two) .waits[0] = one, .waits[1] = two, .waits[2] = -1

static void run_one(aio_task *t, aio_result expected)
{
    assert_result(core_run(t), expected);
    aio_detach(t);
    assert_result(core.loop.timer_count, 0);
}

struct misuse { aio_frame aio; aio_timeout scope; aio_result r; };
aio_async(misuse) {
    assert_result(aio_timeout_reschedule(&self->scope, 5), -EINVAL);        // not open
    assert_result(aio_timeout_exit(&self->scope, 3), 3);
    assert_result(aio_timeout_enter(&self->scope, 5), 0);
    assert_result(aio_timeout_enter(&self->scope, 5), -EINVAL);             // open already
    assert_result(aio_timeout_reschedule(&self->scope, now() + 2), 0);
    aio_await(self->r, aio_sleep(50));
    assert_result(self->r, -ECANCELED);
    assert_true(aio_timeout_expired(&self->scope));
    assert_result(aio_timeout_reschedule(&self->scope, now() + 9), -EINVAL);    // expiring
    assert_result(aio_timeout_exit(&self->scope, self->r), -ETIMEDOUT);
    assert_result(aio_timeout_reschedule(&self->scope, now() + 9), -EINVAL);    // expired
    assert_result(aio_timeout_exit(&self->scope, -EIO), -EIO);                  // closed: no effect
    assert_result(aio_timeout_enter(&self->scope, 5), 0);       // asyncio's is for one use only
    assert_false(aio_timeout_expired(&self->scope));
    assert_result(aio_timeout_exit(&self->scope, 1), 1);
    return 0;
} aio_end
static void TO_1_states(void **state)
{
    (void)state;
    aio_timeout outside = { 0 };
    assert_result(aio_timeout_enter(&outside, 5), -EINVAL);     // no task runs
    assert_result(aio_timeout_enter_at(&outside, 5), -EINVAL);
    run_one(core_spawn(misuse), 0);
    assert_result(now(), 2);
}

static int said(void *arg) { say("%s ", (const char *)arg); return 0; }
static void TO_2_what_is_due_takes_its_place_among_the_callbacks(void **state)
{
    (void)state;
    aio_handle before = { 0 }, after = { 0 };
    aio_task *t = core_spawn(limited, .name = "t", .limit = 0, ONE_WAIT(0));
    assert_result(aio_call_later(&core.loop, &before, 0, said, "timer"), 0);
    core_turn();                            // arms; asleep for a turn
    assert_result(aio_call_soon(&core.loop, &after, said, "soon"), 0);
    assert_result(core_run(t), -ETIMEDOUT);
    assert_trace("timer t:-110/0x soon ");  // the expiry came before the sleep's end: TO-5
    aio_detach(t);
}

static void TO_3_converts_its_own_cancel(void **state)
{
    (void)state;
    run_one(core_spawn(limited, .name = "t", .limit = 3, ONE_WAIT(5)), -ETIMEDOUT);
    run_one(core_spawn(limited, .name = "t", .limit = 5, ONE_WAIT(3)), 0);
    assert_trace("t:-110/0x t:0/0 ");
    aio_task *t = core_spawn(limited, .name = "t", .limit = 5, ONE_WAIT(3));
    core_turn();
    aio_task_cancel(t);                     // somebody else's stays
    run_one(t, -ECANCELED);
    assert_trace("t:-125/1 ");
}

static void TO_4_swallowed_or_another_error(void **state)
{
    (void)state;
    run_one(
        core_spawn(limited, .name = "t", .limit = 3, .swallow = true, TWO_WAITS(5, 5), .result = 4),
        4);
    run_one(
        core_spawn(limited, .name = "t", .limit = 3, .swallow = true, ONE_WAIT(5), .result = -EIO),
        -EIO);
    assert_trace("t:4/0x t:-5/0x ");
}

static void TO_5_a_block_that_never_suspends(void **state)
{
    (void)state;
    run_one(core_spawn(limited, .name = "t", .limit = 0, NO_WAIT, .result = 2), 2);
    run_one(core_spawn(limited, .name = "t", .limit = -9, ONE_WAIT(0)), -ETIMEDOUT);
    assert_trace("t:2/0 t:-110/0x ");
}

static void TO_6_another_cancel_in_the_same_tick(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        aio_task *t = core_spawn(limited, .name = "t", .limit = 3, ONE_WAIT(9));
        core_turn();
        if (!late) aio_task_cancel(t);
        core.loop.now += 3;
        if (late) {
            core_turn();                    // the expiry's callback
            aio_task_cancel(t);
        }
        run_one(t, -ECANCELED);
        assert_trace(late ? "t:-125/1x " : "t:-125/1 ");
    }
    // Both before the task runs: first the cancel, then the expiry.
    aio_task *t = core_spawn(limited, .name = "t", .limit = 3, ONE_WAIT(9));
    core_turn();
    core.loop.now += 3;
    aio_task_cancel(t);
    run_one(t, -ECANCELED);
    core.trace[core.trace_at = 0] = 0;
}

struct nested { aio_frame aio; int64_t outer, inner; aio_timeout a, b; aio_result r; };
aio_async(nested) {
    aio_timeout_enter(&self->a, self->outer);
    aio_timeout_enter(&self->b, self->inner);
    aio_await(self->r, aio_sleep(9));
    self->r = aio_timeout_exit(&self->b, self->r);
    say("inner:%lld%s ", (long long)self->r, aio_timeout_expired(&self->b) ? "x" : "");
    if (self->r == -ETIMEDOUT) aio_await(self->r, aio_sleep(9));
    self->r = aio_timeout_exit(&self->a, self->r);
    say("outer:%lld%s/%u ", (long long)self->r, aio_timeout_expired(&self->a) ? "x" : "",
        aio_task_cancelling(me()));
    return self->r;
} aio_end
static void TO_7_nested(void **state)
{
    (void)state;
    run_one(core_spawn(nested, .outer = 3, .inner = 3), -ETIMEDOUT);
    run_one(core_spawn(nested, .outer = 5, .inner = 3), -ETIMEDOUT);
    run_one(core_spawn(nested, .outer = 3, .inner = 5), -ETIMEDOUT);
    run_one(core_spawn(nested, .outer = 50, .inner = 3), 0);
    assert_trace("inner:-125x outer:-110x/0 inner:-110x outer:-110x/0 "
                 "inner:-125 outer:-110x/0 inner:-110x outer:0/0 ");
}

struct absorbed { aio_frame aio; struct limited inner; bool deliver; aio_result r; };
aio_async(absorbed) {
    aio_task_cancel(me());
    if (self->deliver) aio_await(self->r, aio_sleep(1));
    aio_await(self->r, aio_call(&self->inner, limited, .name = "t", .limit = 3, ONE_WAIT(9)));
    return self->r;
} aio_end
static void TO_8_a_count_from_before(void **state)
{
    (void)state;
    run_one(core_spawn(absorbed, .deliver = true), -ETIMEDOUT);
    assert_trace("t:-110/1x ");
}
struct pending_cancel { aio_frame aio; int64_t limit; aio_timeout scope; aio_result r; };
aio_async(pending_cancel) {
    aio_task_cancel(me());
    aio_timeout_enter(&self->scope, self->limit);
    aio_await(self->r, aio_sleep(9));
    return aio_timeout_exit(&self->scope, self->r);
} aio_end
static void TO_9_a_pending_cancel_of_oneself(void **state)
{
    (void)state;
    aio_task *t = core_spawn(pending_cancel, .limit = 0);       // CPython's behaviour, gh-134471
    assert_result(core_run(t), -ETIMEDOUT);
    assert_result(aio_task_cancelling(t), 1);
    aio_detach(t);
    t = core_spawn(pending_cancel, .limit = 5);
    assert_result(core_run(t), -ECANCELED);
    assert_result(aio_task_cancelling(t), 1);
    aio_detach(t);
}

struct on_future { aio_frame aio; aio_future *f; aio_timeout scope; aio_result r; };
aio_async(on_future) {
    aio_timeout_enter(&self->scope, 3);
    aio_await(self->r, aio_future_wait(self->f));
    say("saw:%lld ", (long long)self->r);
    return aio_timeout_exit(&self->scope, self->r);
} aio_end
static int set_it(void *arg) { return (int)aio_future_set_result((aio_future *)arg, 8); }
static void TO_10_a_tie_with_a_result_is_an_expiry(void **state)
{
    (void)state;
    aio_future f = { 0 };
    aio_handle h = { 0 };
    assert_result(aio_call_at(&core.loop, &h, 3, set_it, &f), 0);       // armed before the limit
    run_one(core_spawn(on_future, .f = &f), -ETIMEDOUT);
    assert_result(aio_future_result(&f), 8);
    assert_trace("saw:-125 ");
}

struct moved { aio_frame aio; int64_t when; aio_timeout scope; aio_result r; };
aio_async(moved) {
    aio_timeout_enter(&self->scope, 3);
    assert_result(aio_timeout_reschedule(&self->scope, self->when), 0);
    aio_await(self->r, aio_sleep(20));
    self->r = aio_timeout_exit(&self->scope, self->r);
    say("%lld@%lld ", (long long)self->r, (long long)now());
    return 0;
} aio_end
static void TO_11_reschedule(void **state)
{
    (void)state;
    run_one(core_spawn(moved, .when = 7), 0);
    run_one(core_spawn(moved, .when = AIO_FOREVER), 0);
    run_one(core_spawn(moved, .when = -4), 0);              // the past: in the next turn
    assert_trace("-110@7 0@27 -110@27 ");
}

struct crossed { aio_frame aio; aio_timeout a, b; aio_result r; };
aio_async(crossed) {                                        // closed in the wrong order
    aio_timeout_enter(&self->a, 3);
    aio_timeout_enter(&self->b, 50);
    self->r = aio_timeout_exit(&self->a, 0);
    aio_await(self->r, aio_sleep(9));
    return aio_timeout_exit(&self->b, self->r);
} aio_end
static void TO_12_belongs_to_the_task_that_entered_it(void **state)
{
    (void)state;
    run_one(core_spawn(crossed), 0);
    assert_result(now(), 9);
    // The scope of one task does not limit another one that it awaits in a call or spawns.
    aio_task *t = core_spawn(limited, .name = "t", .limit = 3, ONE_WAIT(9));
    aio_task *other = core_spawn(limited, .name = "o", .limit = AIO_FOREVER, ONE_WAIT(9));
    assert_result(core_run(t), -ETIMEDOUT);
    aio_detach(t);
    run_one(other, 0);
    assert_trace("t:-110/0x o:0/0 ");
}

// --- contract 6
struct over { aio_frame aio; struct limited in; int64_t limit, wait; aio_result result, r; };
aio_async(over) {
    aio_await(self->r, aio_call(&self->in, limited, .name = "-", .limit = self->limit, .over = true,
                                ONE_WAIT(self->wait), .result = self->result));
    say("%lld/%u ", (long long)self->r, aio_task_cancelling(me()));
    assert_null(me()->scopes);
    return self->r;
} aio_end
static void a_frame_returns_over_an_open_timeout(void **state)
{
    (void)state;
    run_one(core_spawn(over, .limit = 5, .wait = 3, .result = 7), 7);
    run_one(core_spawn(over, .limit = 3, .wait = 5, .result = 7), -ETIMEDOUT);
    run_one(core_spawn(over, .limit = 5, .wait = 3, .result = -EIO), -EIO);
    run_one(core_spawn(limited, .name = "-", .limit = 3, .over = true, ONE_WAIT(5)), -ETIMEDOUT);
    aio_task *t = core_spawn(over, .limit = 5, .wait = 3);
    core_turn();
    aio_task_cancel(t);
    run_one(t, -ECANCELED);
    assert_trace("7/0 -110/0 -5/0 -125/1 ");
}
struct both_over { aio_frame aio; aio_timeout a, b; };
aio_async(both_over) {                      // innermost first: as TO-7
    aio_timeout_enter(&self->a, 3);
    aio_timeout_enter(&self->b, 3);
    aio_try(aio_sleep(9));
    return 0;
} aio_end
static void two_scopes_end_innermost_first(void **state)
{
    (void)state;
    run_one(core_spawn(both_over), -ETIMEDOUT);
    aio_task *t = core_spawn(both_over);
    core_turn();
    aio_task_cancel(t);
    assert_result(core_run(t), -ECANCELED);
    assert_result(aio_task_cancelling(t), 1);
    aio_detach(t);
}

struct no_memory { aio_frame aio; aio_timeout scope; };
aio_async(no_memory) { return aio_timeout_enter(&self->scope, 5); } aio_end
static void no_memory_for_a_timer(void **state)
{
    (void)state;
    aio_task *t = core_spawn(no_memory);
    core.memory.fail_from = core.memory.calls + 1;
    assert_result(core_run(t), -ENOMEM);
    aio_detach(t);
    core.memory.fail_from = 0;
    run_one(core_spawn(no_memory), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        core_test(TO_1_states),
        core_test(TO_2_what_is_due_takes_its_place_among_the_callbacks),
        core_test(TO_3_converts_its_own_cancel),
        core_test(TO_4_swallowed_or_another_error),
        core_test(TO_5_a_block_that_never_suspends),
        core_test(TO_6_another_cancel_in_the_same_tick),
        core_test(TO_7_nested),
        core_test(TO_8_a_count_from_before),
        core_test(TO_9_a_pending_cancel_of_oneself),
        core_test(TO_10_a_tie_with_a_result_is_an_expiry),
        core_test(TO_11_reschedule),
        core_test(TO_12_belongs_to_the_task_that_entered_it),
        core_test(a_frame_returns_over_an_open_timeout),
        core_test(two_scopes_end_innermost_first),
        core_test(no_memory_for_a_timer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
