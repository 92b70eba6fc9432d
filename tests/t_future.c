// Futures and done-callbacks: rules F-1 to F-10.
#include "core.h"

struct wait_f { aio_frame aio; aio_future *f; const char *name; };
aio_async(wait_f) {
    aio_result r;
    aio_await(r, aio_future_wait(self->f));
    say("%s:%lld ", self->name, (long long)r);
    return r;
} aio_end

static int note(aio_future *f, void *arg)
{
    say("%s:%lld ", (const char *)arg, f ? (long long)f->result : -1);
    return 0;
}

static void F_1_ends_once(void **state)
{
    (void)state;
    aio_future f = { 0 };
    assert_false(aio_future_done(&f));
    assert_result(aio_future_set_result(&f, 5), 0);
    assert_true(aio_future_done(&f));
    assert_false(aio_future_cancelled(&f));
    assert_result(aio_future_set_result(&f, 6), -EALREADY);
    assert_result(aio_future_set_error(&f, -EIO), -EALREADY);
    assert_result(aio_future_result(&f), 5);
    aio_future g = { 0 };
    assert_true(aio_future_cancel(&g));
    assert_result(aio_future_set_result(&g, 6), -EALREADY);
    assert_result(aio_future_result(&g), -ECANCELED);
    aio_future h = { 0 };
    assert_result(aio_future_set_error(&h, 3), -EINVAL);
    assert_false(aio_future_done(&h));
    assert_result(aio_future_set_error(&h, -EIO), 0);
    assert_false(aio_future_cancelled(&h));
    assert_result(aio_future_result(&h), -EIO);
    aio_future c = { 0 };       // a result of -ECANCELED is a cancellation
    assert_result(aio_future_set_result(&c, -ECANCELED), 0);
    assert_true(aio_future_cancelled(&c));
}

static void F_2_cancel(void **state)
{
    (void)state;
    aio_future f = { 0 };
    aio_callback a;
    assert_result(aio_future_add_done_callback(&f, &a, note, NULL), -EINVAL);   // no loop yet
    aio_task *t = core_spawn(wait_f, .f = &f, .name = "w");
    core_turn();
    assert_result(aio_future_add_done_callback(&f, &a, note, "cb"), 0);
    assert_true(aio_future_cancel(&f));
    assert_true(aio_future_cancelled(&f));
    assert_trace("");
    assert_false(aio_future_cancel(&f));
    assert_result(f.result, -ECANCELED);
    core_turn();
    assert_trace("w:-125 cb:-125 ");
    assert_true(aio_task_cancelled(t));
    assert_result(aio_task_cancelling(t), 0);
    aio_detach(t);
    aio_future d = { 0 };
    aio_future_set_result(&d, 4);
    assert_false(aio_future_cancel(&d));
    assert_result(aio_future_result(&d), 4);
}

static aio_future shared;
static aio_callback nodes[8];
static int adds_one(aio_future *f, void *arg)
{
    note(f, arg);
    return (int)aio_future_add_done_callback(f, &nodes[7], note, "late");
}

static void F_3_callbacks_are_queued_in_order(void **state)
{
    (void)state;
    aio_future f = { 0 };
    aio_task *t = core_spawn(wait_f, .f = &f, .name = "w1");
    core_turn();
    assert_result(aio_future_add_done_callback(&f, &nodes[0], note, "a"), 0);
    assert_result(aio_future_add_done_callback(&f, &nodes[1], adds_one, "b"), 0);
    aio_task *u = core_spawn(wait_f, .f = &f, .name = "w2");
    core_turn();
    assert_result(aio_future_add_done_callback(&f, &nodes[2], note, "c"), 0);
    aio_handle h;
    assert_result(aio_call_soon(&core.loop, &h, NULL, NULL), 0);
    aio_handle_cancel(&h);
    aio_future_set_result(&f, 9);
    assert_trace("");                       // never inline
    core_turn();
    assert_trace("w1:9 a:9 b:9 w2:9 c:9 "); // F-9, T-4: one list for awaiters and callbacks
    core_turn();
    assert_trace("late:9 ");                // added to a done future: queued at once
    assert_result(aio_future_add_done_callback(&f, &nodes[3], note, "d"), 0);
    assert_trace("");
    core_turn();
    assert_trace("d:9 ");
    aio_detach(t);
    aio_detach(u);
}

static int removes_neighbour(aio_future *f, void *arg)
{
    (void)arg;
    say("removed %u ", (unsigned)aio_future_remove_done_callback(f, note, "x"));
    return 0;
}
static int removes_itself(aio_future *f, void *arg)
{
    say("self %u ", (unsigned)aio_future_remove_done_callback(f, removes_itself, arg));
    return 0;
}

static void F_4_remove(void **state)
{
    (void)state;
    char x[] = "x", other[] = "other";
    aio_future f = { 0 };
    aio_task *t = core_spawn(wait_f, .f = &f, .name = "w");
    core_turn();
    assert_result(aio_future_remove_done_callback(&f, note, x), 0);
    for (int i = 0; i < 5; i++)
        aio_future_add_done_callback(&f, &nodes[i], note, i % 2 ? other : x);
    uint32_t slots = core.loop.executor.slots;
    assert_result(aio_future_remove_done_callback(&f, note, x), 3);
    assert_result(core.loop.executor.slots, slots - 3);
    assert_result(aio_future_remove_done_callback(&f, note, x), 0);
    for (int i = 0; i < 5; i += 2) memset(&nodes[i], 0xee, sizeof nodes[i]);    // ours again
    aio_future_set_result(&f, 1);
    assert_result(aio_future_remove_done_callback(&f, note, other), 0);     // queued: no recall
    core_turn();
    assert_trace("w:1 other:1 other:1 ");
    aio_detach(t);

    memset(&shared, 0, sizeof shared);
    shared.loop = &core.loop.executor;
    aio_future_add_done_callback(&shared, &nodes[0], removes_itself, NULL);
    aio_future_add_done_callback(&shared, &nodes[1], removes_neighbour, NULL);
    aio_future_add_done_callback(&shared, &nodes[2], note, "x");
    aio_future_set_result(&shared, 2);
    core_turn();
    assert_trace("self 0 removed 0 x:2 ");
}

// A callback may free its own node and its future; a future may be gone before its callback runs.
struct owned { aio_future f; aio_callback cb; };
static int frees_all(aio_future *f, void *arg)
{
    struct owned *o = (struct owned *)arg;
    assert_ptr_equal(f, &o->f);
    say("freed ");
    free(o);
    return 0;
}
static int frees_node(aio_future *f, void *arg)
{
    (void)f;
    say("node ");
    free(arg);
    return -EIO;
}

static void F_4_memory_of_callbacks(void **state)
{
    (void)state;
    struct owned *o = (struct owned *)calloc(1, sizeof *o);
    o->f.loop = &core.loop.executor;
    assert_result(aio_future_add_done_callback(&o->f, &o->cb, frees_all, o), 0);
    aio_future_set_result(&o->f, 0);
    core_turn();
    assert_trace("freed ");

    aio_callback *cb = (aio_callback *)malloc(sizeof *cb);
    aio_future *f = (aio_future *)calloc(1, sizeof *f);
    f->loop = &core.loop.executor;
    aio_future_add_done_callback(f, cb, frees_node, cb);
    aio_future_set_result(f, 0);
    aio_future_destroy(f);
    free(f);
    core_turn();
    assert_trace("node ");
    assert_reports("a done-callback failed: EIO: -\n");
}

static int fails(aio_future *f, void *arg)
{
    note(f, arg);
    return -EPIPE;
}
static void F_5_an_error_in_a_callback_is_reported(void **state)
{
    (void)state;
    aio_future f = { 0 };
    f.loop = &core.loop.executor;
    aio_future_add_done_callback(&f, &nodes[0], note, "a");
    aio_future_add_done_callback(&f, &nodes[1], fails, "b");
    aio_future_add_done_callback(&f, &nodes[2], note, "c");
    aio_future_set_result(&f, 3);
    core_turn();
    assert_trace("a:3 b:3 c:3 ");
    assert_reports("a done-callback failed: EPIPE: -\n");
}

static void F_6_result_before_the_end(void **state)
{
    (void)state;
    aio_future f = { 0 };
    assert_result(aio_future_result(&f), -EINPROGRESS);
    aio_future_cancel(&f);
    assert_result(aio_future_result(&f), -ECANCELED);
}

// F-7, F-8: who looks at an error, keeps it from being reported.
static void looks_at_result(aio_future *f) { assert_result(aio_future_result(f), -EIO); }
static void cancels_too_late(aio_future *f) { assert_false(aio_future_cancel(f)); }
static void looks_not(aio_future *f)
{
    assert_true(aio_future_done(f) && !aio_future_cancelled(f));
}
static void adds_a_callback(aio_future *f)
{
    aio_future_add_done_callback(f, &nodes[0], note, "cb");
    core_turn();
    assert_trace("cb:-5 ");
}
static void waits_for_it(aio_future *f)
{
    aio_task *t = core_spawn(wait_f, .f = f, .name = "w");
    assert_result(core_run(t), -EIO);
    aio_detach(t);
    assert_trace("w:-5 ");
}
static void F_7_F_8_errors_never_retrieved(void **state)
{
    (void)state;
    static const struct { void (*fn)(aio_future *); bool seen; } ways[] = {
        { looks_at_result, true }, { cancels_too_late, true }, { waits_for_it, true },
        { looks_not, false }, { adds_a_callback, false },
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        aio_future f = { 0 };
        f.loop = &core.loop.executor;
        aio_future_set_error(&f, -EIO);
        ways[i].fn(&f);
        assert_reports("");
        assert_result(aio_future_destroy(&f), 0);
        assert_reports(ways[i].seen ? "" : "future error was never retrieved: EIO: -\n");
        assert_result(aio_future_destroy(&f), 0);       // once
        assert_reports("");
        assert_false(aio_future_done(&f));
    }
    aio_future f = { 0 };           // awaited while it was pending
    aio_task *t = core_spawn(wait_f, .f = &f, .name = "w");
    core_turn();
    aio_future_set_error(&f, -EIO);
    core_turn();
    aio_future_destroy(&f);
    assert_trace("w:-5 ");
    aio_future_cancel(&f);          // a cancellation or a value is no error
    aio_future_destroy(&f);
    assert_result(aio_task_result(t), -EIO);
    aio_detach(t);
    assert_reports("");
}

static void F_8_destroying_a_pending_future(void **state)
{
    (void)state;
    aio_future f = { 0 };
    aio_task *t = core_spawn(wait_f, .f = &f, .name = "w");
    core_turn();
    assert_result(aio_future_destroy(&f), 0);
    memset(&f, 0xee, sizeof f);
    core_turn();
    assert_trace("w:-125 ");
    assert_result(aio_future_destroy(aio_task_future(t)), -EPERM);
    aio_detach(t);
}

static void F_9_any_number_of_awaiters(void **state)
{
    (void)state;
    static const char *const names[] = { "a", "b", "c", "d", "e" };
    aio_future f = { 0 };
    aio_task *t[5];
    for (int i = 0; i < 5; i++) t[i] = core_spawn(wait_f, .f = &f, .name = names[i]);
    core_turn();
    assert_true(aio_task_cancel(t[4]));         // cancels the future, and so all of them
    core_turn();
    assert_trace("a:-125 b:-125 c:-125 d:-125 e:-125 ");
    for (int i = 0; i < 5; i++) {
        assert_result(aio_task_cancelling(t[i]), i == 4);
        aio_detach(t[i]);
    }
}

struct cross { aio_frame aio; aio_future *f; aio_task *t; };
aio_async(cross) {
    aio_result r;
    aio_await(r, aio_future_wait(self->f));
    say("future %lld ", (long long)r);
    aio_await(r, aio_join(self->t));
    say("task %lld ", (long long)r);
    return 0;
} aio_end
struct forever { aio_frame aio; };
aio_async(forever) { aio_try(aio_sleep(AIO_FOREVER)); return 0; } aio_end

static void F_10_another_loops_future(void **state)
{
    (void)state;
    aio_loop other;
    struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
    assert_result(aio_loop_init(&other, &o), 0);
    aio_future f = { 0 };
    aio_task *first = aio_spawn_on(&other, wait_f, .f = &f, .name = "first");
    aio_task *t = aio_spawn_on(&other, forever), *bystander = aio_task_retain(t);
    aio_loop_stop(&other);
    assert_result(aio_loop_run_forever(&other), 0);
    aio_task *c = core_spawn(cross, .f = &f, .t = t);
    assert_result(core_run(c), 0);
    assert_trace("future -18 task -18 ");
    assert_result(aio_loop_turn(&core.loop), 2);    // at once: a turn for the body, one for the run
    assert_false(aio_future_done(&f));
    aio_detach(c);
    assert_result(bystander->waiter.future.refs, 2);        // the join gave its handle up
    aio_task_cancel(bystander);
    aio_future_set_result(&f, 1);
    assert_result(aio_loop_run_until_complete(&other, bystander), -ECANCELED);
    assert_trace("first:1 ");
    aio_detach(bystander);
    aio_detach(first);
    assert_result(aio_loop_run_until_complete(&core.loop, &f), -EXDEV);
    assert_result(aio_loop_close(&other), 0);
}

// A future that outlives the loop of those who waited for it.
static void X_5_a_future_outlives_its_loop(void **state)
{
    (void)state;
    aio_loop other;
    struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
    assert_result(aio_loop_init(&other, &o), 0);
    aio_future f = { 0 };
    aio_task *t = aio_spawn_on(&other, wait_f, .f = &f, .name = "w");
    aio_loop_stop(&other);
    aio_loop_run_forever(&other);
    aio_future_add_done_callback(&f, &nodes[0], note, "cb");
    (void)t;
    assert_result(aio_loop_close(&other), 0);
    assert_reports("task was destroyed but it is pending: OK: wait_f\n");
    assert_result(aio_future_add_done_callback(&f, &nodes[1], note, "late"), -EBADFD);
    assert_result(aio_future_set_result(&f, 1), 0);
    aio_future_destroy(&f);
    assert_trace("");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        core_test(F_1_ends_once),
        core_test(F_2_cancel),
        core_test(F_3_callbacks_are_queued_in_order),
        core_test(F_4_remove),
        core_test(F_4_memory_of_callbacks),
        core_test(F_5_an_error_in_a_callback_is_reported),
        core_test(F_6_result_before_the_end),
        core_test(F_7_F_8_errors_never_retrieved),
        core_test(F_8_destroying_a_pending_future),
        core_test(F_9_any_number_of_awaiters),
        core_test(F_10_another_loops_future),
        core_test(X_5_a_future_outlives_its_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
