// Who awaits a task, and the tree that is printed of it; groups that forget (TG-1).
#include "core.h"

static aio_task *by[16];
struct leaf { aio_frame aio; aio_future *until; };
aio_async(leaf) {
    aio_try(aio_future_wait(self->until));
    return 7;
} aio_end

// Waits for `what` in one way of many; says so when it goes on.
enum way { JOIN, FUTURE, GATHER, WAIT, SHIELD, COMPLETED, GROUP, OP, RACE, LIMIT, WAYS };
struct awaits {
    aio_frame aio;
    enum way way;
    aio_task *what, *tasks[1];
    aio_future *until;
    aio_completed it;
    aio_group group;
    aio_op op;
    aio_result r;
};
aio_async(awaits) {
    self->tasks[0] = self->what;
    switch ((int)self->way) {
    case JOIN: aio_await(self->r, aio_join(self->what)); break;
    case FUTURE: aio_await(self->r, aio_future_wait(aio_task_future(self->what))); break;
    case GATHER: aio_await(self->r, aio_gather(self->tasks, NULL, 1)); break;
    case WAIT: aio_await(self->r, aio_wait(self->tasks, 1, AIO_ALL_COMPLETED)); break;
    case SHIELD: aio_await(self->r, aio_shield(self->what)); break;
    case COMPLETED:
        self->r = aio_completed_init(&self->it, self->tasks, 1, AIO_FOREVER);
        if (self->r < 0) break;
        aio_await(self->r, aio_completed_next(&self->it));
        break;
    case GROUP:
        aio_group_enter(&self->group);
        self->what = aio_group_spawn(&self->group, leaf, .until = self->until);
        aio_await(self->r, aio_group_exit(&self->group, 0));
        break;
    case OP:
        aio_start(&self->op, aio_join(self->what));
        aio_await(self->r, aio_op_wait(&self->op));
        break;
    case RACE:
        aio_start(&self->op, aio_join(self->what));
        aio_await(self->r, aio_race(&self->op, 1));
        break;
    default: aio_await(self->r, aio_wait_for(1000, aio_join(self->what)));
    }
    return self->r;
} aio_end

static bool holds_handle(enum way way) { return way == FUTURE || way == WAIT || way == SHIELD || way == COMPLETED; }
static aio_task *begin(enum way way, aio_task **target, aio_future *until)
{
    *target = way == GROUP ? NULL : core_spawn(leaf, .until = until);
    aio_task *w = core_spawn(awaits, .way = way, .what = *target, .until = until);
    for (int i = 0; i < 3; i++) core_turn();
    *target = aio_task_frame(awaits, w)->what;
    return w;
}
static void X_6_each_way_to_await_is_seen(void **state)
{
    (void)state;
    for (int way = 0; way < WAYS; way++) {
        aio_future until;
        aio_task *target;
        memset(&until, 0, sizeof until);
        aio_task *w = begin((enum way)way, &target, &until);
        if (aio_task_awaited_by(target, by, 16) != 1 || by[0] != w) fail_msg("way %d", way);
        assert_int_equal(aio_task_awaited_by(target, NULL, 0), 1);
        assert_int_equal(aio_task_awaited_by(w, by, 16), 0);
        aio_future_set_result(&until, 0);
        core_settle();
        assert_true(aio_task_done(w));
        if (holds_handle((enum way)way)) {
            assert_int_equal(aio_task_awaited_by(target, by, 16), 0);
            aio_detach(target);
        }
        aio_task_result(w);
        aio_detach(w);
    }
}
static void X_6_an_edge_vanishes_when_the_waiter_leaves(void **state)
{
    (void)state;
    for (int way = 0; way < WAYS; way++) {
        aio_future until;
        aio_task *target;
        memset(&until, 0, sizeof until);
        aio_task *w = begin((enum way)way, &target, &until);
        aio_task_retain(target);
        aio_task_cancel(w);
        core_settle();
        assert_result(aio_task_result(w), -ECANCELED);
        assert_int_equal(aio_task_awaited_by(target, by, 16), 0);
        aio_detach(w);
        if (way == WAIT || way == SHIELD || way == COMPLETED) {         // they do not cancel it
            assert_false(aio_task_done(target));
            aio_task_cancel(target);
            core_settle();
        }
        assert_true(aio_task_done(target));
        aio_detach(target);
        if (holds_handle((enum way)way)) aio_detach(target);
        aio_future_destroy(&until);
    }
}
static void X_6_several_in_order_each_once(void **state)
{
    (void)state;
    aio_future until;
    memset(&until, 0, sizeof until);
    aio_task *target = core_spawn(leaf, .until = &until);
    aio_task *a = core_spawn(awaits, .way = SHIELD, .what = target);
    aio_task *b = core_spawn(awaits, .way = FUTURE, .what = target);
    for (int i = 0; i < 3; i++) core_turn();
    assert_int_equal(aio_task_awaited_by(target, by, 16), 2);
    assert_ptr_equal(by[0], a);
    assert_ptr_equal(by[1], b);
    by[1] = NULL;
    assert_int_equal(aio_task_awaited_by(target, by, 1), 2);    // room for one
    assert_null(by[1]);
    aio_future_set_result(&until, 0);
    core_settle();
    aio_detach(a);
    aio_detach(b);
    aio_task_result(target);
    aio_detach(target);
}

// --- the tree
static char *text;
static size_t text_size;
static aio_result tree(void)
{
    free(text);
    text = NULL;
    FILE *out = open_memstream(&text, &text_size);
    aio_result r = aio_loop_tree(&core.loop, out);
    fclose(out);
    return r;
}
struct parent { aio_frame aio; aio_future *until; aio_task *tasks[3]; };
aio_async(parent) {
    self->tasks[0] = aio_spawn(leaf, .until = self->until);
    self->tasks[1] = aio_spawn(awaits, .way = SHIELD, .what = self->tasks[0]);
    self->tasks[2] = aio_spawn(leaf, .until = self->until);
    aio_try(aio_gather(self->tasks, NULL, 3));
} aio_end
static void X_6_the_tree_from_its_roots(void **state)
{
    (void)state;
    aio_future until;
    memset(&until, 0, sizeof until);
    aio_task *t = core_spawn(parent, .until = &until);
    for (int i = 0; i < 3; i++) core_turn();
    assert_result(tree(), 0);
    const char *root = strstr(text, "parent#1: waits for gather: 3 of 3 have not ended, at ");
    const char *first = strstr(text, "\n    leaf#2: waits for future, at ");
    const char *second = strstr(text, "\n    awaits#3: waits for task leaf#2, at ");
    const char *again = strstr(text, "\n        leaf#2: waits for future (see above), at ");
    const char *third = strstr(text, "\n    leaf#4: waits for future, at ");
    assert_ptr_equal(root, text);
    assert_true(first && second && again && third);
    assert_true(first < second && second < again && again < third);
    core.memory.fail_from = core.memory.calls + 1;
    assert_result(tree(), -ENOMEM);
    core.memory.fail_from = 0;
    aio_future_set_result(&until, 0);
    assert_result(core_run(t), 0);
    aio_detach(t);
    assert_result(tree(), 0);
    assert_string_equal(text, "");
}
struct circle { aio_frame aio; aio_task **next; };
aio_async(circle) {
    aio_result r;
    aio_await(r, aio_future_wait(aio_task_future(*self->next)));
    return r;
} aio_end
static void X_6_circles_are_listed_instead(void **state)
{
    (void)state;
    aio_task *t[5];
    for (int i = 0; i < 3; i++) t[i] = core_spawn(circle, .next = &t[(i + 1) % 3]);
    for (int i = 3; i < 5; i++) t[i] = core_spawn(circle, .next = &t[i == 3 ? 4 : 3]);
    core_turn();
    assert_result(tree(), -EDEADLK);
    assert_string_equal(text, "circle: circle#1 -> circle#2 -> circle#3 -> circle#1\n"
                              "circle: circle#4 -> circle#5 -> circle#4\n");
    aio_task_cancel(t[0]);
    aio_task_cancel(t[3]);
    core_settle();
    for (int i = 0; i < 5; i++) {
        assert_true(aio_task_done(t[i]));
        aio_task_result(t[i]);
        aio_detach(t[i]);
    }
}
static void X_6_a_chain_as_deep_as_you_like(void **state)
{
    enum { DEEP = 20000 };
    (void)state;
    static aio_task *t[DEEP];
    aio_future until;
    memset(&until, 0, sizeof until);
    t[0] = core_spawn(leaf, .until = &until);
    for (int i = 1; i < DEEP; i++) t[i] = core_spawn(circle, .next = &t[i - 1]);
    core_turn();
    assert_result(tree(), 0);
    assert_non_null(strstr(text, "(level 19999) leaf#1: waits for future"));
    aio_future_set_result(&until, 0);
    core_settle();
    for (int i = 0; i < DEEP; i++) {
        aio_task_result(t[i]);
        aio_detach(t[i]);
    }
}
// The loop says of itself what is wrong.
static void run_circle(void *arg)
{
    (void)arg;
    aio_loop l;
    aio_task *t[2];
    struct aio_loop_options o = { .clock = AIO_CLOCK_VIRTUAL };
    aio_loop_init(&l, &o);
    for (int i = 0; i < 2; i++) t[i] = aio_spawn_on(&l, circle, .next = &t[1 - i]);
    _exit(aio_loop_run_until_complete(&l, t[0]) == -EDEADLK ? 0 : 1);
}
static void X_6_a_deadlock_names_its_circles(void **state)
{
    (void)state;
    char out[2048];
    assert_int_equal(test_in_child(run_circle, NULL, out, sizeof out), 0);
    assert_non_null(strstr(out, "circle: circle#1 -> circle#2 -> circle#1\n"));
}

// --- groups that forget
static int given_back;
struct item { aio_frame aio; aio_result r; int turns; };
aio_drop(item) {
    if (dropped >= 0) given_back++;
    return self->r;
} aio_end
aio_async(item) {
    for (; self->turns; self->turns--) aio_try(aio_next_turn());
    return self->r;
} aio_end
static const struct aio_group_options forget = { .forget_ended = true };
struct server {
    aio_frame aio;
    aio_group group;
    int left, at_once;
    bool forget;
    long calls;
    aio_result r;
};
aio_async(server) {
    aio_group_enter_with(&self->group, self->forget ? &forget : NULL);
    while (self->left) {
        for (int i = 0; i < 10; i++, self->left--)
            aio_group_spawn(&self->group, item, .r = i, .turns = i);
        if (!self->calls && self->left < 199000) self->calls = core.memory.calls;
        aio_try(aio_sleep(0));
    }
    aio_await(self->r, aio_group_exit(&self->group, 0));
    return self->r;
} aio_end
static void TG_1_a_group_that_forgets_does_not_grow(void **state)
{
    (void)state;
    given_back = 0;
    aio_task *t = core_spawn(server, .left = 200000, .forget = true);
    assert_result(core_run(t), 0);
    assert_int_equal(core.memory.calls, aio_task_frame(server, t)->calls);
    aio_detach(t);
    assert_int_equal(given_back, 200000);           // values that nobody saw
}
static void TG_1_control_a_group_that_remembers_grows(void **state)
{
    (void)state;
    given_back = 0;
    aio_task *t = core_spawn(server, .left = 200000);
    assert_result(core_run(t), 0);
    assert_true(core.memory.calls > aio_task_frame(server, t)->calls);
    aio_detach(t);
    assert_int_equal(given_back, 200000);
}
struct keeper { aio_frame aio; aio_group group; aio_task *kept; aio_result r; bool fail; };
aio_async(keeper) {
    aio_group_enter_with(&self->group, &forget);
    self->kept = aio_task_retain(aio_group_spawn(&self->group, item, .r = 5));
    aio_group_spawn(&self->group, item, .r = 1, .turns = 5);
    if (self->fail) aio_group_spawn(&self->group, item, .r = -EIO, .turns = 2);
    aio_await(self->r, aio_group_exit(&self->group, 0));
    return self->r;
} aio_end
static void TG_1_forgetting_keeps_what_was_retained(void **state)
{
    (void)state;
    given_back = 0;
    aio_task *t = core_spawn(keeper);
    assert_result(core_run(t), 0);
    assert_int_equal(given_back, 1);
    assert_result(aio_task_result(aio_task_frame(keeper, t)->kept), 5);
    aio_detach(aio_task_frame(keeper, t)->kept);
    assert_int_equal(given_back, 1);
    aio_detach(t);
}
// Who waits for a task of such a group goes on after the group has given it up.
enum { BY_WAIT, BY_SHIELD, BY_LIMIT, BY_LIMIT_OF_0 };
struct onlooker { aio_frame aio; aio_task *of; int how; aio_result r; };
aio_async(onlooker) {
    if (self->how == BY_WAIT) aio_await(self->r, aio_future_wait(aio_task_future(self->of)));
    if (self->how == BY_SHIELD) aio_await(self->r, aio_shield(self->of));
    if (self->how == BY_LIMIT)
        aio_await(self->r, aio_wait_for(AIO_SECOND, aio_future_wait(aio_task_future(self->of))));
    if (self->how == BY_LIMIT_OF_0)
        aio_await(self->r, aio_wait_for(0, aio_future_wait(aio_task_future(self->of))));
    return self->r;
} aio_end
struct hookless { aio_frame aio; int turns; };
aio_async(hookless) {
    for (; self->turns; self->turns--) aio_try(aio_next_turn());
    return 5;
} aio_end
struct watched { aio_frame aio; aio_group group; aio_task *item, *other; aio_result r; int how; bool hook; };
aio_async(watched) {
    aio_group_enter_with(&self->group, &forget);
    if (self->hook) self->item = aio_group_spawn(&self->group, item, .r = 5, .turns = 3);
    else self->item = aio_group_spawn(&self->group, hookless, .turns = 3);
    self->other = aio_spawn(onlooker, .of = self->item, .how = self->how);
    aio_try(aio_next_turn()); // it waits
    aio_await(self->r, aio_group_exit(&self->group, 0));
    aio_await(self->r, aio_join(self->other));
    return self->r;
} aio_end
static void TG_1_who_waits_for_a_forgotten_task_gets_its_result(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        given_back = 0;
        aio_task *t = core_spawn(watched, .how = i / 2, .hook = i % 2);
        assert_result(core_run(t), i / 2 == BY_LIMIT_OF_0 ? -ETIMEDOUT : 5);
        assert_int_equal(given_back, 0);
        aio_detach(t);
    }
}
static void TG_2_a_forgotten_task_s_error_ends_the_group(void **state)
{
    (void)state;
    given_back = 0;
    aio_task *t = core_spawn(keeper, .fail = true);
    assert_result(core_run(t), -EIO);
    struct keeper *k = aio_task_frame(keeper, t);
    aio_group_failure e = aio_group_error(&k->group, 0);
    assert_result(e.error, -EIO);
    assert_string_equal(e.name, "item");
    assert_result(aio_group_error(&k->group, 1).error, 0);
    aio_detach(k->kept);
    assert_int_equal(given_back, 1);
    aio_detach(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        core_test(X_6_each_way_to_await_is_seen),
        core_test(X_6_an_edge_vanishes_when_the_waiter_leaves),
        core_test(X_6_several_in_order_each_once),
        core_test(X_6_the_tree_from_its_roots),
        core_test(X_6_circles_are_listed_instead),
        core_test(X_6_a_chain_as_deep_as_you_like),
        core_test(X_6_a_deadlock_names_its_circles),
        core_test(TG_1_a_group_that_forgets_does_not_grow),
        core_test(TG_1_control_a_group_that_remembers_grows),
        core_test(TG_1_forgetting_keeps_what_was_retained),
        core_test(TG_1_who_waits_for_a_forgotten_task_gets_its_result),
        core_test(TG_2_a_forgotten_task_s_error_ends_the_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
