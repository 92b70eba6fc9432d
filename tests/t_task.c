// Tasks: rules T-1 to T-14, EA-1 to EA-3, E-1, F-8 and X-5 for tasks; handles, slots, refused
//        spawns.
#include "core.h"

struct step { aio_frame aio; const char *name; int turns; aio_result result; };
aio_async(step) {
    while (self->turns--) {
        say("%s ", self->name);
        aio_try(aio_next_turn());
    }
    say("%s. ", self->name);
    return self->result;
} aio_end

struct forever { aio_frame aio; };
aio_async(forever) { aio_try(aio_sleep(AIO_FOREVER)); return 0; } aio_end

struct joins { aio_frame aio; aio_task *t; const char *name; };
aio_async(joins) {
    aio_result r;
    aio_await(r, aio_join(self->t));
    if (self->name) say("%s:%lld ", self->name, (long long)r);
    return r;
} aio_end

static int note(aio_future *f, void *arg)
{
    say("%s:%lld%s ", (const char *)arg, (long long)f->result,
        aio_current_task() ? " in task" : "");
    return 0;
}

struct spawns { aio_frame aio; };
aio_async(spawns) {
    aio_detach(aio_spawn(step, .name = "a"));
    aio_detach(aio_spawn(step, .name = "b", .turns = 1));
    aio_detach(aio_spawn(step, .name = "c"));
    say("spawned ");
    return 0;
} aio_end
static void T_1_the_first_step_is_queued(void **state)
{
    (void)state;
    aio_detach(core_spawn(spawns));
    assert_trace("");
    core_turn();
    assert_trace("spawned ");
    core_turn();
    assert_trace("a. b c. ");
    core_turn();
    assert_trace("b. ");
}

// T-2, seen from outside: a live task waits, or stands once in the ring, or runs.
static void T_2_waits_or_is_queued_or_runs(void **state)
{
    (void)state;
    aio_task *t[8];
    for (int i = 0; i < 8; i++) t[i] = core_spawn(step, .name = "x", .turns = 3);
    for (int turn = 0; turn < 3; turn++) {
        aio_executor *x = &core.loop.executor;
        assert_result(x->tail - x->head, 8);
        for (uint32_t a = x->head; a != x->tail; a++)
            for (uint32_t b = a + 1; b != x->tail; b++)
                assert_true(x->ring[a & x->mask] != x->ring[b & x->mask]);
        for (int i = 0; i < 8; i++) aio_task_cancel(t[i]);      // queues nobody twice
        for (int i = 0; i < 8; i++) aio_task_uncancel(t[i]);
        assert_result(x->tail - x->head, 8);
        core_turn();
    }
    core_settle();
    for (int i = 0; i < 8; i++) aio_detach(t[i]);
}

struct instant { aio_frame aio; aio_future *f; aio_task *t; };
aio_async(instant) {
    aio_result r;
    aio_await(r, aio_future_wait(self->f));
    say("%lld ", (long long)r);
    aio_await(r, aio_join(self->t));
    say("%lld ", (long long)r);
    return 0;
} aio_end
static void T_3_what_is_done_does_not_suspend(void **state)
{
    (void)state;
    aio_future f = { 0 };
    aio_future_set_error(&f, -EIO);
    aio_task *done = core_spawn(step, .name = "d", .result = 3);
    core_turn();
    aio_task *t = core_spawn(instant, .f = &f, .t = done);
    core_turn();
    assert_trace("d. -5 3 ");
    assert_true(aio_task_done(t));
    aio_detach(t);
}

struct waits { aio_frame aio; aio_future *f; const char *name; };
aio_async(waits) {
    aio_result r;
    aio_await(r, aio_future_wait(self->f));
    say("%s:%lld ", self->name, (long long)r);
    return r;
} aio_end
struct sets { aio_frame aio; aio_future *f; };
aio_async(sets) {
    aio_future_set_result(self->f, 1);
    say("set ");
    aio_await(aio_next_turn());
    say("next ");
    return 0;
} aio_end
static void T_4_a_wake_is_queued_in_list_order(void **state)
{
    (void)state;
    aio_future f = { 0 };
    aio_callback cb;
    aio_detach(core_spawn(waits, .f = &f, .name = "w"));
    core_turn();
    aio_future_add_done_callback(&f, &cb, note, "cb");
    aio_detach(core_spawn(step, .name = "other"));
    aio_detach(core_spawn(sets, .f = &f));
    core_turn();
    assert_trace("other. set ");
    core_turn();
    assert_trace("w:1 cb:1 next ");
}

// What each await costs in turns (asyncio's table): the turn in which the awaiter goes on, less the
// one in which it began.
struct cost {
    aio_frame aio;
    int what;
    int64_t turns;
    aio_future f;
    aio_task *t;
    struct step child;
};
static int set_future(void *f) { return (int)aio_future_set_result((aio_future *)f, 0); }
static aio_handle setter;
static aio_awaitable costly(struct cost *c)
{
    switch (c->what) {
    case 0: aio_future_set_result(&c->f, 1); return aio_future_wait(&c->f);
    case 1: return aio_sleep(0);
    case 2: return aio_sleep(-AIO_SECOND);
    case 3: return aio_next_turn();
    case 4: return aio_sleep(AIO_SECOND);       // timer in the next turn, the task one later
    case 5: aio_call_soon(&core.loop, &setter, set_future, &c->f); return aio_future_wait(&c->f);
    case 6: c->t = aio_spawn(step, .name = "t"); return aio_join(c->t);
    case 7: c->t = aio_spawn(step, .name = "t"); return aio_future_wait(aio_task_future(c->t));
    default: return aio_sleep_until(0);
    }
}
aio_async(cost) {
    self->turns = (int64_t)aio_loop_turn(&core.loop);
    aio_await(costly(self));
    self->turns = (int64_t)aio_loop_turn(&core.loop) - self->turns;
    return 0;
} aio_end
static void T_4_S_1_costs_in_turns(void **state)
{
    (void)state;
    static const int expected[] = { 0, 1, 1, 1, 2, 2, 2, 2, 2 };
    for (int i = 0; i < 9; i++) {
        aio_task *t = core_spawn(cost, .what = i);
        assert_result(core_run(t), 0);
        assert_result(aio_task_frame(cost, t)->turns, expected[i]);
        if (i == 7) aio_detach(aio_task_frame(cost, t)->t);
        aio_detach(t);
    }
    assert_trace("t. t. ");
}

struct calls { aio_frame aio; int64_t turn; struct step child; };
aio_async(calls) {
    aio_result r;
    self->turn = (int64_t)aio_loop_turn(&core.loop);
    aio_await(r, aio_call(&self->child, step, .name = "child", .result = 4));
    say("%lld in %d turns ", (long long)r, (int)((int64_t)aio_loop_turn(&core.loop) - self->turn));
    aio_await(r, aio_call_new(step, .name = "new", .turns = 1, .result = -4));
    say("%lld in %d turns ", (long long)r, (int)((int64_t)aio_loop_turn(&core.loop) - self->turn));
    return 0;
} aio_end
static void T_4_nested_calls_cost_no_turn(void **state)
{
    (void)state;
    aio_task *t = core_spawn(calls);
    assert_result(core_run(t), 0);
    assert_trace("child. 4 in 0 turns new new. -4 in 1 turns ");
    aio_detach(t);
}

static int sees_no_task(void *arg)
{
    (void)arg;
    say(aio_current_task() ? "task! " : "none ");
    assert_ptr_equal(aio_running_loop(), &core.loop);
    return 0;
}
struct current {
    aio_frame aio;
    aio_task *self_handle;
    aio_handle soon, later;
    aio_callback cb;
    aio_future f;
};
aio_async(current) {
    assert_ptr_equal(aio_current_task(), self->self_handle);
    aio_call_soon(&core.loop, &self->soon, sees_no_task, NULL);
    aio_call_later(&core.loop, &self->later, 1, sees_no_task, NULL);
    self->f.loop = &core.loop.executor;
    aio_future_add_done_callback(&self->f, &self->cb, note, "cb");
    aio_future_set_result(&self->f, 1);
    assert_ptr_equal(aio_current_task(), self->self_handle);
    aio_await(aio_sleep(AIO_SECOND));
    assert_ptr_equal(aio_current_task(), self->self_handle);
    return 0;
} aio_end
static void T_7_no_current_task_in_callbacks(void **state)
{
    (void)state;
    assert_null(aio_current_task());
    aio_task *t = core_spawn(current);
    aio_task_frame(current, t)->self_handle = t;
    assert_result(core_run(t), 0);
    assert_trace("none cb:1 none ");
    assert_null(aio_current_task());
    assert_null(aio_running_loop());
    aio_detach(t);
}

static void list_tasks(void)
{
    for (aio_task *t = aio_task_first(&core.loop); t; t = aio_task_next(t))
        say("%s#%u ", aio_task_name(t), aio_task_id(t));
}
static void T_6_T_8_names_and_the_list_of_tasks(void **state)
{
    (void)state;
    aio_task *a = core_spawn(step, .name = "a"), *b = core_spawn(forever);
    aio_task *c = core_spawn(joins, .t = b);
    list_tasks();
    assert_trace("step#1 forever#2 joins#3 ");
    assert_result(aio_task_set_name(b, "bob"), 0);
    int mine = 0;
    assert_null(aio_task_user(b));
    assert_result(aio_task_set_user(b, &mine), 0);
    assert_ptr_equal(aio_task_user(b), &mine);
    core_turn();
    list_tasks();
    assert_trace("a. bob#2 joins#3 ");
    assert_string_equal(aio_task_name(a), "step");      // T-13: readable after the end
    aio_task_cancel(c);
    core_settle();
    list_tasks();
    assert_trace("");
    assert_null(aio_task_first(&core.loop));
    aio_detach(a);
    aio_detach(c);
}

static void T_9_a_task_cannot_be_set(void **state)
{
    (void)state;
    aio_task *t = core_spawn(forever);
    assert_result(aio_future_set_result(aio_task_future(t), 1), -EPERM);
    assert_result(aio_future_set_error(aio_task_future(t), -EIO), -EPERM);
    aio_task_cancel(t);
    core_settle();
    assert_result(aio_future_set_result(aio_task_future(t), 1), -EPERM);
    aio_detach(t);
}

struct narcissus { aio_frame aio; aio_task *me; bool keep; };
aio_async(narcissus) {
    aio_result r;
    if (self->keep) aio_await(r, aio_future_wait(aio_task_future(self->me)));
    else aio_await(r, aio_join(self->me));
    say("%lld in turn %u ", (long long)r, (unsigned)aio_loop_turn(&core.loop));
    return 7;
} aio_end
static void T_10_a_task_awaits_itself(void **state)
{
    (void)state;
    aio_task *t = core_spawn(narcissus);
    aio_task_frame(narcissus, t)->me = t;
    core_settle();
    assert_trace("-35 in turn 1 ");         // one turn later; its only handle was given up
    t = core_spawn(narcissus, .keep = true);
    aio_task_frame(narcissus, t)->me = t;
    core_settle();
    assert_trace("-35 in turn 3 ");
    assert_result(aio_task_result(t), 7);
    aio_detach(t);
}

static void T_13_a_task_outlives_its_body(void **state)
{
    (void)state;
    aio_task *t = core_spawn(step, .name = "a", .turns = 1, .result = 9);
    assert_result(aio_task_result(t), -EINPROGRESS);
    assert_ptr_equal(aio_task_retain(t), t);
    core_settle();
    assert_true(aio_task_done(t));
    assert_false(aio_task_cancelled(t));
    assert_result(aio_task_result(t), 9);
    aio_detach(t);
    assert_result(aio_task_result(t), 9);
    assert_string_equal(aio_task_frame(step, t)->name, "a");
    assert_result(aio_task_id(t), 1);
    aio_detach(t);
    assert_trace("a a. ");
}

struct gives_up { aio_frame aio; };
aio_async(gives_up) { aio_await(aio_next_turn()); return -ECANCELED; } aio_end
static void T_14_E_1_returning_ECANCELED_is_being_cancelled(void **state)
{
    (void)state;
    aio_task *t = core_spawn(gives_up),
             *u = core_spawn(joins, .t = aio_task_retain(t), .name = "j");
    core_settle();
    assert_true(aio_task_cancelled(t));
    assert_result(aio_task_result(t), -ECANCELED);
    assert_result(aio_task_cancelling(t), 0);
    assert_true(aio_task_cancelled(u));         // contagion: C-11
    assert_result(aio_task_cancelling(u), 0);
    assert_trace("j:-125 ");
    aio_detach(t);
    aio_detach(u);
}

// --- errors nobody saw
static void F_8_task_errors_are_reported_once(void **state)
{
    (void)state;
    aio_detach(core_spawn(step, .name = "a", .result = -EIO));          // detached before its end
    core_settle();
    assert_reports("task error was never retrieved: EIO: step\n");
    aio_task *t = core_spawn(step, .name = "b", .result = -EPIPE);      // after it
    core_settle();
    assert_reports("");
    aio_task_retain(t);
    aio_detach(t);
    assert_reports("");
    aio_detach(t);
    assert_reports("task error was never retrieved: EPIPE: step\n");
    t = core_spawn(step, .name = "c", .result = -EIO);                  // seen
    core_settle();
    assert_result(aio_task_result(t), -EIO);
    aio_detach(t);
    t = core_spawn(step, .name = "d", .result = -EIO); // a late cancel sees it: F-7
    core_settle();
    assert_false(aio_task_cancel(t));
    aio_detach(t);
    t = core_spawn(step, .name = "e", .result = -EIO); // joined; the joiner hands it on
    aio_detach(core_spawn(joins, .t = t));
    core_settle();
    assert_reports("task error was never retrieved: EIO: joins\n");
    aio_detach(core_spawn(step, .name = "f", .result = -ECANCELED)); // a cancellation is no error
    core_settle();
    aio_callback cb;                                                    // a callback is no look
    t = core_spawn(step, .name = "g", .result = -EIO);
    aio_future_add_done_callback(aio_task_future(t), &cb, note, "cb");
    aio_detach(t);
    core_settle();
    assert_reports("task error was never retrieved: EIO: step\n");
    assert_trace("a. b. c. d. e. f. g. cb:-5 ");
}

static void F_8_one_of_two_watchers_gets_the_error(void **state)
{
    (void)state;
    aio_task *t = core_spawn(step, .name = "t", .turns = 1, .result = -EIO);
    aio_task *j = core_spawn(joins, .t = aio_task_retain(t), .name = "j");
    core_settle();
    aio_detach(t);
    assert_result(aio_task_result(j), -EIO);
    aio_detach(j);
    assert_trace("t t. j:-5 ");
    assert_reports("");
}

// --- handles
struct owner { aio_frame aio; int what; };
aio_drop(owner) {
    say("drop(%d,%lld) ", self->what, (long long)dropped);
    return 0;
} aio_end
aio_async(owner) {
    if (self->what > 10) aio_try(aio_next_turn());
    if (self->what > 100) aio_try(aio_sleep(AIO_FOREVER));
    return self->what;
} aio_end

static void T_12_T_13_a_value_nobody_takes_is_dropped(void **state)
{
    (void)state;
    aio_task *t = core_spawn(owner, .what = 1);
    core_settle();
    aio_detach(t);                                  // last handle, unread
    assert_trace("drop(1,1) ");
    t = core_spawn(owner, .what = 2);
    core_settle();
    assert_result(aio_task_result(t), 2);           // read
    aio_detach(t);
    assert_trace("");
    aio_detach(core_spawn(owner, .what = 3));       // nobody wanted it
    core_settle();
    assert_trace("");
    t = core_spawn(owner, .what = 4);               // joined
    aio_task *j = core_spawn(joins, .t = t, .name = "j");
    core_settle();
    assert_trace("j:4 ");
    aio_detach(j);
    t = core_spawn(owner, .what = 14);              // joined while it runs
    j = core_spawn(joins, .t = t, .name = "j");
    core_settle();
    assert_trace("j:14 ");
    aio_detach(j);
    t = core_spawn(owner, .what = 5);               // cancelled before it began
    aio_task_cancel(t);
    core_settle();
    aio_detach(t);
    assert_trace("drop(5,-125) ");
    t = core_spawn(owner, .what = 105);             // cancelled later: the body has seen it
    core_settle();
    aio_task_cancel(t);
    core_settle();
    aio_detach(t);
    assert_trace("");
}

// A join holds the only handle. When a cancel takes the place of the value that was on its way to
// the awaiter (C-4), the value goes to the drop hook.
struct keeps { aio_frame aio; aio_task *t; };
aio_async(keeps) {
    aio_result r;
    aio_await(r, aio_future_wait(aio_task_future(self->t)));
    say("kept %lld ", (long long)r);
    return r;
} aio_end
static void C_4_a_value_that_a_cancel_replaces_is_dropped(void **state)
{
    (void)state;
    aio_task *t = core_spawn(owner, .what = 14), *j = core_spawn(joins, .t = t, .name = "j");
    core_turn();
    core_turn();
    assert_trace("");                       // t has ended, j has not run yet
    assert_true(aio_task_cancel(j));
    core_settle();
    assert_trace("drop(14,14) j:-125 ");
    aio_detach(j);

    t = core_spawn(owner, .what = 15);      // the same with a handle that stays
    aio_task *k = core_spawn(keeps, .t = t);
    core_turn();
    core_turn();
    aio_task_cancel(k);
    core_settle();
    assert_trace("kept -125 ");
    aio_detach(k);
    aio_detach(t);
    assert_trace("drop(15,15) ");

    t = core_spawn(owner, .what = 16);      // one of two awaiters got it
    k = core_spawn(keeps, .t = t);
    j = core_spawn(joins, .t = t, .name = "j");
    core_turn();
    core_turn();
    aio_task_cancel(j);
    core_settle();
    assert_trace("kept 16 j:-125 ");
    aio_detach(k);
    aio_detach(j);

    t = core_spawn(owner, .what = 17);      // the loop is closed in between: see the teardown
    j = core_spawn(joins, .t = t, .name = "j");
    core_turn();
    core_turn();
    aio_loop_close(&core.loop);
    assert_trace("drop(17,17) ");
    assert_reports("task was destroyed but it is pending: OK: joins\n");
}

static void T_13_join_gives_the_handle_up_on_every_outcome(void **state)
{
    (void)state;
    static const struct { int turns; aio_result result; bool cancel; } ways[] = {
        { 0, 3, false }, { 2, 3, false }, { 0, -EIO, false }, { 2, -EIO, false }, { 2, 3, true },
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        for (int late = 0; late < 2; late++) {
            aio_task *t =
                core_spawn(step, .name = "t", .turns = ways[i].turns, .result = ways[i].result);
            if (late) core_settle();
            aio_task *j = core_spawn(joins, .t = aio_task_retain(t));
            core_turn();
            if (ways[i].cancel) aio_task_cancel(j);
            core_settle();
            assert_true(aio_task_done(j));
            assert_result(t->waiter.future.refs, 1);
            (void)aio_task_result(j);
            aio_detach(j);
            (void)aio_task_result(t);
            aio_detach(t);
        }
    }
    core.trace[core.trace_at = 0] = 0;
}

// --- slots
struct slots { aio_frame aio; aio_slot(step) slot; aio_task *t; };
aio_async(slots) {
    aio_result r;
    self->t = aio_spawn_in(&self->slot, step, .name = "s", .turns = 1, .result = 10);
    assert_ptr_equal(self->t, &self->slot.task);
    assert_result(aio_task_result(aio_spawn_in(&self->slot, step, .name = "no")), -EBUSY);
    aio_await(r, aio_join(self->t));
    say("%lld ", (long long)r);
    self->t = aio_spawn_in(&self->slot, step, .name = "again", .result = 11);
    aio_await(aio_next_turn());
    assert_true(aio_task_done(self->t));
    assert_result(aio_task_result(aio_spawn_in(&self->slot, step, .name = "no")), -EBUSY);  // held
    assert_result(aio_task_result(self->t), 11);
    aio_detach(self->t);
    aio_detach(aio_spawn_in(&self->slot, step, .name = "third", .turns = 1));
    assert_result(aio_task_result(aio_spawn_in(&self->slot, step, .name = "no")),
                  -EBUSY); // it runs
    aio_await(aio_next_turn());
    aio_await(aio_next_turn());
    self->t = aio_spawn_in(&self->slot, step, .name = "last");
    aio_await(aio_join(self->t));
    return 0;
} aio_end
static void T_13_tasks_in_slots(void **state)
{
    (void)state;
    static aio_slot(step) outside;
    assert_result(aio_task_result(aio_spawn_in(&outside, step, .name = "no loop")), -EINVAL);
    aio_task *t = core_spawn(slots);
    assert_result(core_run(t), 0);
    assert_trace("s s. 10 again. third third. last. ");
    aio_detach(t);
}

// A slot is reusable after its loop was closed under it; the parent's hook may give the handle up.
struct slot_parent { aio_frame aio; aio_task *t; };
static aio_slot(forever) slot;
aio_drop(slot_parent) {
    (void)dropped;
    say("child %s ", aio_task_done(self->t) ? "ended" : "lives");
    aio_task_cancel(self->t);
    aio_detach(self->t);
    return 0;
} aio_end
aio_async(slot_parent) {
    self->t = aio_spawn_in(&slot, forever);
    aio_await(aio_future_wait(aio_task_future(self->t)));
    return 0;
} aio_end
static void X_5_slots_after_close(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        aio_detach(core_spawn(slot_parent));
        core_turn();
        core_turn();
        aio_loop_close(&core.loop);
        assert_result(core_count("destroyed"), 2);
        core_forget_reports();
        assert_trace("child ended ");
        assert_result(core_setup(NULL), 0);
    }
}

// --- refused spawns
static void works_on_a_refused_task(aio_task *t, aio_result why)
{
    static aio_callback cb;
    char text[256];
    uint32_t count;
    assert_non_null(t);
    assert_true(aio_task_done(t));
    assert_false(aio_task_cancelled(t));
    assert_result(aio_task_result(t), why);
    assert_false(aio_task_cancel(t));
    assert_result(aio_task_cancelling(t), 0);
    assert_result(aio_task_uncancel(t), 0);
    assert_null(aio_task_frame(owner, t));
    assert_null(aio_task_swallowed(t, &count));
    assert_result(count, 0);
    assert_string_equal(aio_task_name(t), "refused");
    assert_result(aio_task_set_name(t, "x"), -ENOMEM);
    assert_result(aio_task_set_user(t, &cb), -ENOMEM);
    assert_null(aio_task_user(t));
    assert_result(aio_task_id(t), 0);
    assert_null(aio_task_next(t));
    assert_ptr_equal(aio_task_retain(t), t);
    assert_result(aio_future_result(aio_task_future(t)), why);
    assert_result(aio_future_set_result(aio_task_future(t), 1), -EPERM);
    assert_result(aio_future_destroy(aio_task_future(t)), -EPERM);
    assert_false(aio_future_cancel(aio_task_future(t)));
    assert_result(aio_future_remove_done_callback(aio_task_future(t), note, NULL), 0);
    assert_result(core_run(t), why);
    FILE *out = fmemopen(text, sizeof text, "w");
    aio_task_dump(t, out);
    fclose(out);
    assert_non_null(strstr(text, "refused"));
    if (!aio_loop_is_closed(&core.loop) && !core.memory.fail_from) {
        assert_result(aio_future_add_done_callback(aio_task_future(t), &cb, note, "cb"), -EINVAL);
        aio_task *j = core_spawn(joins, .t = t, .name = "j");
        assert_result(core_run(j), why);
        aio_detach(j);
    }
    aio_detach(t);
    aio_detach(t);
}
struct adds { aio_frame aio; aio_task *t; aio_callback cb; };
aio_async(adds) {
    aio_future_add_done_callback(aio_task_future(self->t), &self->cb, note, "cb");
    aio_await(aio_next_turn());
    return 0;
} aio_end

static void T_1_refused_spawns(void **state)
{
    (void)state;
    aio_task *t = aio_spawn(owner, .what = 21);
    works_on_a_refused_task(t, -EINVAL);
    t = aio_spawn_eager(owner, .what = 22);
    works_on_a_refused_task(t, -EINVAL);
    assert_trace("drop(21,-22) j:-22 drop(22,-22) j:-22 ");
    aio_task *a = core_spawn(adds, .t = t);
    assert_result(core_run(a), 0);
    aio_detach(a);
    assert_trace("cb:-22 ");
    aio_loop_close(&core.loop);
    works_on_a_refused_task(core_spawn(owner, .what = 23), -EBADFD);
    works_on_a_refused_task(aio_spawn_on(&core.loop.executor, owner, .what = 24), -EBADFD);
    assert_trace("drop(23,-77) drop(24,-77) ");
}

// The n-th allocation fails, for every n: spawns, timers, names, callbacks; nothing is lost.
enum { MANY = 60 };
struct large { aio_frame aio; int what; char bytes[3000]; };
aio_drop(large) {
    (void)dropped;
    say("d%d ", self->what);
    return 0;
} aio_end
aio_async(large) {
    aio_try(aio_sleep(AIO_SECOND));
    return self->what;
} aio_end
struct spawns_many { aio_frame aio; aio_task *t[MANY]; int i, refused; };
aio_async(spawns_many) {
    for (int i = 0; i < MANY; i++) {
        self->t[i] = aio_spawn(large, .what = i);
        if (aio_task_done(self->t[i])) {
            assert_result(aio_task_result(self->t[i]), -ENOMEM);
            self->refused++;
        } else {
            aio_result r = aio_task_set_name(self->t[i], "named");
            assert_true(r == 0 || r == -ENOMEM);
            if (i % 3 == 0) aio_task_cancel(self->t[i]);
        }
    }
    for (self->i = 0; self->i < MANY; self->i++) {
        aio_result r;
        aio_await(r, aio_join(self->t[self->i]));
        if (r != self->i && r != -ENOMEM && r != -ECANCELED) fail_msg("result %lld", (long long)r);
    }
    return self->refused;
} aio_end
static void T_1_spawns_at_every_failing_allocation(void **state)
{
    (void)state;
    long n;
    aio_result refused = 1;
    aio_loop_close(&core.loop);
    for (n = 1; refused; n++) {
        core.memory = (struct test_memory) { 0, 0, n };
        struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
        aio_result r = aio_loop_init(&core.loop, &o);
        if (r < 0) {
            assert_result(r, -ENOMEM);
            works_on_a_refused_task(core_spawn(owner, .what = 1), -ENOMEM);
        } else {
            aio_task *t = core_spawn(spawns_many);
            refused = core_run(t);
            assert_true(refused >= 0 || refused == -ENOMEM);
            aio_detach(t);
            assert_result(core.loop.executor.slots, 0);
        }
        assert_result(aio_loop_close(&core.loop), 0);
        assert_result(core.memory.blocks, 0);
        core_forget_reports();
        core.trace[core.trace_at = 0] = 0;
    }
    print_message("# %ld allocations\n", n - 2);
    assert_true(n > 6);
}

// --- close
struct tree { aio_frame aio; int depth; const char *name; aio_future *f; struct tree *child; };
aio_drop(tree) {
    say("%s%d(%lld) ", self->name, self->depth, (long long)dropped);
    assert_result(aio_task_result(aio_spawn_on(&core.loop, forever)), -EBADFD);
    return 0;
} aio_end
aio_async(tree) {
    if (self->depth)
        aio_try(aio_call_new(tree, .depth = self->depth - 1, .name = self->name, .f = self->f));
    aio_try(aio_future_wait(self->f));
    return 0;
} aio_end
static void X_5_pending_tasks_are_told_and_dropped(void **state)
{
    (void)state;
    aio_future f = { 0 };
    aio_task *t = core_spawn(tree, .depth = 2, .name = "a", .f = &f);
    aio_detach(core_spawn(tree, .depth = 1, .name = "b", .f = &f));
    core_settle();
    aio_detach(core_spawn(tree, .name = "unborn", .f = &f));
    (void)t;
    assert_result(aio_loop_close(&core.loop), 0);
    assert_trace("unborn0(-125) b0(-125) b1(-125) a0(-125) a1(-125) a2(-125) ");
    assert_reports("task was destroyed but it is pending: OK: tree\n"
                   "task was destroyed but it is pending: OK: tree\n"
                   "task was destroyed but it is pending: OK: tree\n");
    assert_null(f.watchers);
}
static const aio_site *reported_site;
static void keep_site(aio_loop *l, const struct aio_report *r, void *context)
{
    (void)l;
    (void)context;
    reported_site = r->site;
}
static void X_5_the_report_names_the_await(void **state)
{
    (void)state;
    core.loop.options.on_error = keep_site;
    aio_detach(core_spawn(forever));
    core_settle();
    aio_loop_close(&core.loop);
    assert_non_null(reported_site);
    assert_string_equal(reported_site->text, "aio_sleep(AIO_FOREVER)");
    assert_string_equal(reported_site->body->coroutine->name, "forever");
    assert_true(reported_site->line > 0);
}

// --- eager
struct eager { aio_frame aio; int what; aio_task *child; aio_callback cb; };
aio_async(eager) {
    say("e%d ", self->what);
    if (self->what == 2) aio_try(aio_next_turn());
    if (self->what == 3) aio_task_cancel(aio_current_task());
    if (self->what == 3) aio_try(aio_sleep(AIO_FOREVER));
    if (self->what == 4) {
        self->child = aio_spawn_eager(eager, .what = 1);
        aio_await(aio_join(self->child));
    }
    say("e%d. ", self->what);
    return self->what;
} aio_end
struct eager_main { aio_frame aio; aio_task *t; aio_task *me; aio_callback cb; };
aio_async(eager_main) {
    self->t = aio_spawn_eager(eager, .what = 1);
    say("| ");
    assert_true(aio_task_done(self->t));            // EA-1: ran, and was never queued
    assert_ptr_equal(aio_current_task(), self->me);
    aio_future_add_done_callback(aio_task_future(self->t), &self->cb, note, "cb");
    say("| ");                                      // TG-15: its callbacks are queued
    aio_await(aio_join(self->t));
    self->t = aio_spawn_eager(eager, .what = 2);
    assert_false(aio_task_done(self->t));
    say("| ");
    aio_await(aio_join(self->t));
    self->t = aio_spawn_eager(eager, .what = 2);    // EA-2: cancelled later, as usual
    aio_task_cancel(self->t);
    aio_await(aio_join(self->t));
    self->t = aio_spawn_eager(eager, .what = 3);    // a self-cancel, delivered where it blocks
    say("| ");
    assert_false(aio_task_done(self->t));
    assert_result(self->t->waiter.future.result, -ECANCELED);
    aio_await(aio_join(self->t));
    self->t = aio_spawn_eager(eager, .what = 4);
    assert_true(aio_task_done(self->t));
    aio_detach(self->t);
    aio_detach(aio_spawn_eager(eager, .what = 5));
    return 0;
} aio_end
static void EA_1_EA_2_eager_tasks(void **state)
{
    (void)state;
    aio_task *t = core_spawn(eager_main);
    aio_task_frame(eager_main, t)->me = t;
    assert_result(core_run(t), 0);
    assert_trace("e1 e1. | | e2 | cb:1 e2. e2 e3 | e4 e1 e1. e4. e5 e5. ");
    assert_result(aio_task_uncancel(t), 0);
    aio_detach(t);
}
static int spawns_eagerly(void *arg)
{
    aio_task **t = (aio_task **)arg;
    *t = aio_spawn_eager(eager, .what = 1);
    assert_null(aio_current_task());
    return 0;
}
static void EA_1_from_a_callback(void **state)
{
    (void)state;
    aio_handle h;
    aio_task *t;
    aio_call_soon(&core.loop, &h, spawns_eagerly, &t);
    core_turn();
    assert_trace("e1 e1. ");
    assert_result(aio_task_result(t), 1);
    aio_detach(t);
}
static void EA_3_lazy_while_the_loop_does_not_run(void **state)
{
    (void)state;
    aio__running_executor = &core.loop.executor;
    aio_task *t = aio_spawn_eager(eager, .what = 1);
    aio__running_executor = NULL;
    assert_trace("");
    core_turn();
    assert_trace("e1 e1. ");
    assert_result(aio_task_result(t), 1);
    aio_detach(t);
}
// Eager tasks that spawn eager tasks: bounded C stack.
struct eager_deep { aio_frame aio; int left; };
static char *stack_low;
aio_async(eager_deep) {
    char here;
    if (!stack_low || &here < stack_low) stack_low = &here;
    if (self->left) aio_detach(aio_spawn_eager(eager_deep, .left = self->left - 1));
    return 0;
} aio_end
static void EA_1_deep(void **state)
{
    (void)state;
    char here;
    aio_detach(core_spawn(eager_deep, .left = 100000));
    core_settle();
    assert_true(&here - stack_low < 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        core_test(T_1_the_first_step_is_queued),
        core_test(T_2_waits_or_is_queued_or_runs),
        core_test(T_3_what_is_done_does_not_suspend),
        core_test(T_4_a_wake_is_queued_in_list_order),
        core_test(T_4_S_1_costs_in_turns),
        core_test(T_4_nested_calls_cost_no_turn),
        core_test(T_7_no_current_task_in_callbacks),
        core_test(T_6_T_8_names_and_the_list_of_tasks),
        core_test(T_9_a_task_cannot_be_set),
        core_test(T_10_a_task_awaits_itself),
        core_test(T_13_a_task_outlives_its_body),
        core_test(T_14_E_1_returning_ECANCELED_is_being_cancelled),
        core_test(F_8_task_errors_are_reported_once),
        core_test(F_8_one_of_two_watchers_gets_the_error),
        core_test(T_12_T_13_a_value_nobody_takes_is_dropped),
        core_test(C_4_a_value_that_a_cancel_replaces_is_dropped),
        core_test(T_13_join_gives_the_handle_up_on_every_outcome),
        core_test(T_13_tasks_in_slots),
        core_test(X_5_slots_after_close),
        core_test(T_1_refused_spawns),
        core_test(T_1_spawns_at_every_failing_allocation),
        core_test(X_5_pending_tasks_are_told_and_dropped),
        core_test(X_5_the_report_names_the_await),
        core_test(EA_1_EA_2_eager_tasks),
        core_test(EA_1_from_a_callback),
        core_test(EA_3_lazy_while_the_loop_does_not_run),
        core_test(EA_1_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
