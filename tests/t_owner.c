// Who owns a value: what a wait ended with is the taker's, back in its primitive, or with the drop
// hook, exactly once. A table of everything that hands something over × every way of losing it × the
// turns in which it comes and in which it is cancelled, and a program of chance over the same.
#include "core.h"

// --- what hands something over. One token is given; `got` counts those that a taker has.
static aio_lock lock;
static aio_condition condition;
static aio_semaphore semaphore;
static aio_queue queue;
static int storage[2];
static aio_future ripe;         // the tasks of this test end when it does
static aio_task *source;        // a task whose value is the token
static int given, got, dropped_values;

struct dial {
    aio_frame aio;
};
aio_drop(dial) {
    if (dropped >= 0) dropped_values += dropped == 7 ? 1 : 1000;
    return 0;
}
aio_end aio_async(dial) {
    aio_await(aio_future_wait(&ripe)); // a cancel does not keep it from its value
    given++;
    return 7;
}
aio_end

    enum { LOCK, CONDITION, UNIT, ITEM, TOP, SMALLEST, MESSAGE, SHIELDED, WATCHED, JOINED, KINDS };
static const char *const kind_names[] = {"lock", "lock of a condition", "unit", "item", "top item",
                                         "smallest item", "message", "shielded", "watched", "joined"};
static int by_value(const void *a, const void *b, void *context) {
    (void)context;
    return *(const int *)a - *(const int *)b;
}
static int dropped_messages;
static void drop_message(aio_loop *l, uint64_t message, void *context) {
    (void)l;
    (void)context;
    dropped_messages += message == 7 ? 1 : 1000;
}
static void prepare(int kind) {
    memset(&lock, 0, sizeof lock);
    memset(&ripe, 0, sizeof ripe);
    aio_condition_init(&condition, &lock);
    aio_semaphore_init(&semaphore, 0, 0);
    aio_queue_init(&queue, storage, sizeof *storage, 2, kind == TOP ? AIO_QUEUE_LIFO : 0,
                   kind == SMALLEST ? by_value : NULL, NULL);
    given = got = dropped_values = dropped_messages = 0;
    lock.locked = kind == LOCK;
    source = kind >= SHIELDED ? core_spawn(dial) : NULL;
}
static void give(int kind) {
    int item = 7;
    if (kind < SHIELDED) given++;
    if (kind == LOCK) aio_lock_release(&lock);
    if (kind == CONDITION && !lock.locked) lock.locked = true, aio_condition_notify(&condition, 1), aio_lock_release(&lock);
    if (kind == UNIT) aio_semaphore_release(&semaphore);
    if (kind >= ITEM && kind <= SMALLEST) assert_result(aio_queue_put_nowait(&queue, &item), 0);
    if (kind == MESSAGE) assert_result(aio_loop_post(&core.loop, 7), 0);
    if (kind >= SHIELDED) aio_future_set_result(&ripe, 0);
}
struct place {
    uint64_t message;
    int item;
};
static aio_awaitable take(int kind, struct place *p) {
    switch (kind) {
    case LOCK: return aio_lock_acquire(&lock);
    case CONDITION: return aio_condition_wait(&condition);
    case UNIT: return aio_semaphore_acquire(&semaphore);
    case MESSAGE: return aio_loop_receive(&p->message);
    case SHIELDED: return aio_shield(source);
    case WATCHED: return aio_future_wait(aio_task_future(source));
    case JOINED: return aio_join(aio_task_retain(source));
    default: return aio_queue_get(&queue, &p->item);
    }
}
// A taker has r. A condition's lock is held whatever the result.
static void has(int kind, aio_result r, const struct place *p) {
    if (kind == CONDITION) {
        got++;
        assert_result(aio_lock_release(&lock), 0);
    } else if (r >= 0) {
        got++;
        if (kind >= ITEM && kind <= SMALLEST) assert_int_equal(p->item, 7);
        if (kind == MESSAGE) assert_int_equal((int)p->message, 7);
        if (kind >= SHIELDED) assert_result(r, 7);
    }
}

// --- the ways of taking
enum { AWAIT, RESULT, OP, CHAIN, LEFT, CHAIN_LEFT, RACE, LIMIT, OP_LIMIT, WAYS };
static const char *const way_names[] = {"await", "op, result", "op, wait", "chain of ops", "op, left",
                                        "chain, left", "race", "limit", "op with a limit"};
struct takes {
    aio_frame aio;
    int kind, way;
    struct place place;
    aio_op op[3];
    aio_result r;
};
aio_async(takes) {
    if (self->kind == CONDITION) aio_try(aio_lock_acquire(&lock));
    if (self->way == AWAIT || self->way == LIMIT) {
        if (self->way == AWAIT) aio_await(self->r, take(self->kind, &self->place));
        else aio_await(self->r, aio_wait_for(3, take(self->kind, &self->place)));
        has(self->kind, self->r, &self->place);
        return 0;
    }
    assert_result(aio_start(&self->op[0], take(self->kind, &self->place)), 0);
    if (self->way == CHAIN || self->way == CHAIN_LEFT) {
        assert_result(aio_start(&self->op[1], aio_op_wait(&self->op[0])), 0);
        assert_result(aio_start(&self->op[2], aio_op_wait(&self->op[1])), 0);
    }
    if (self->way == OP) aio_await(self->r, aio_op_wait(&self->op[0]));
    if (self->way == CHAIN) aio_await(self->r, aio_op_wait(&self->op[2]));
    if (self->way == OP_LIMIT) aio_await(self->r, aio_wait_for(3, aio_op_wait(&self->op[0])));
    if (self->way == OP || self->way == CHAIN || self->way == OP_LIMIT) {
        assert_result(aio_op_result(&self->op[0]), -EINVAL); // nothing is left to take
        has(self->kind, self->r, &self->place);
        return 0;
    }
    if (self->way == RACE) {
        assert_result(aio_start(&self->op[1], aio_sleep(3)), 0);
        aio_await(self->r, aio_race(self->op, 2));
        if (self->r == 0) has(self->kind, aio_op_result(&self->op[0]), &self->place);
        return 0;
    }
    for (;;) {
        aio_await(self->r, aio_sleep(1));
        if (self->r < 0) return self->r;
        if (self->way == RESULT && aio_op_done(&self->op[0])) {
            has(self->kind, aio_op_result(&self->op[0]), &self->place);
            return 0;
        }
    }
}
aio_end

    // A task between: what gathers, shields or groups the taker.
    enum { ALONE, GATHERED, SHIELD, GROUPED, CALLED, BETWEENS };
static const char *const between_names[] = {"alone", "gathered", "shielded", "in a group", "called"};
struct fails {
    aio_frame aio;
};
aio_async(fails) {
    aio_try(aio_next_turn());
    return -EIO;
}
aio_end struct between {
    aio_frame aio;
    int how, kind, way;
    struct takes child;
    aio_task *t[1];
    aio_group g;
    aio_result r;
};
aio_async(between) {
    if (self->how == CALLED) {
        aio_await(self->r, aio_call(&self->child, takes, .kind = self->kind, .way = self->way));
        return self->r;
    }
    if (self->how == GROUPED) {
        aio_try(aio_group_enter(&self->g));
        (void)aio_group_spawn(&self->g, takes, .kind = self->kind, .way = self->way);
        (void)aio_group_spawn(&self->g, fails);
        aio_await(self->r, aio_group_exit(&self->g, 0));
        return self->r;
    }
    self->t[0] = aio_spawn(takes, .kind = self->kind, .way = self->way);
    if (self->how == GATHERED) aio_await(self->r, aio_gather(self->t, NULL, 1));
    else aio_await(self->r, aio_shield(self->t[0]));
    if (self->t[0]) {
        aio_task_cancel(self->t[0]);
        aio_detach(self->t[0]);
    }
    return self->r;
}
aio_end

    // Tokens that are back where they came from.
    static int back(int kind) {
    uint64_t left = core.loop.inbox ? core.loop.inbox->letter_count : 0;
    if (kind == LOCK || kind == CONDITION) return !aio_lock_locked(&lock);
    if (kind == UNIT) return (int)semaphore.value;
    if (kind == MESSAGE) return (int)left + dropped_messages;
    if (kind >= SHIELDED) return dropped_values;
    return (int)aio_queue_count(&queue);
}
struct plan {
    int kind, way, between;
    int give_at, cancel_at;     // turns; cancel_at < 0: never
    bool cancel_first;          // when both are in one turn
    int close_at;               // 0: the loop is closed at the end
};
static void show(const struct plan *p) {
    print_error("%s, %s, %s: given at %d, cancelled %s %d, closed at %d: given %d, got %d, back %d\n",
                kind_names[p->kind], way_names[p->way], between_names[p->between], p->give_at,
                p->cancel_first ? "before, at" : "at", p->cancel_at, p->close_at, given, got,
                back(p->kind));
}
static void give_up(aio_task *t) {
    if (t) aio_detach(t);
    if (source) aio_detach(source);
    source = NULL;
}
static void run_plan(const struct plan *p) {
    struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
    o.drop_message = drop_message;
    aio_loop_close(&core.loop);
    assert_int_equal(core.memory.blocks, 0);
    assert_result(aio_loop_init(&core.loop, &o), 0);
    prepare(p->kind);
    aio_task *t = p->between == ALONE
                      ? core_spawn(takes, .kind = p->kind, .way = p->way)
                      : core_spawn(between, .how = p->between, .kind = p->kind, .way = p->way);
    for (int turn = 0; turn < 12 && (!p->close_at || turn < p->close_at); turn++) {
        if (turn == p->cancel_at && p->cancel_first) aio_task_cancel(t);
        if (turn == p->give_at) give(p->kind);
        if (turn == p->cancel_at && !p->cancel_first) aio_task_cancel(t);
        core_turn();
        if (turn > 5) assert_result(aio_sim_advance(&core.loop, 1), 0);
    }
    if (!p->close_at) {
        aio_task_cancel(t);
        aio_sim_run_until_idle(&core.loop);
        if (p->give_at > 11) give(p->kind);
        aio_sim_run_until_idle(&core.loop);
    }
    give_up(t);
    aio_loop_close(&core.loop);
    core_forget_reports();
    bool right = p->kind == CONDITION ? back(p->kind) == 1 : got + back(p->kind) == given;
    if (!right) show(p);
    assert_true(right);
}
// Every place at which a value comes, is not wanted any more, and at which its loop is closed.
static void each_plan(int between, const int *closes, int close_count) {
    static const int gives[] = {0, 1, 2, 3, 4, 6, 8, 99}, cancels[] = {-1, 0, 1, 2, 3, 4, 5, 8};
    struct plan p = {0, 0, between, 0, 0, false, 0};
    for (p.kind = 0; p.kind < KINDS; p.kind++)
        for (p.way = 0; p.way < WAYS; p.way++)
            for (int i = 0; i < 8 * 8 * 2 * close_count; i++) {
                p.give_at = gives[i % 8];
                p.cancel_at = cancels[i / 8 % 8];
                p.cancel_first = i / 64 % 2;
                p.close_at = closes[i / 128];
                run_plan(&p);
            }
}
static const int at_the_end[] = {0}, closes[] = {0, 1, 2, 3, 4, 5, 8};
#define PLANS(name, between, when)                                  \
    static void name(void **state) {                                \
        (void)state;                                                \
        each_plan(between, when, (int)(sizeof(when) / sizeof *(when))); \
    }
PLANS(contract_3_a_value_has_one_owner, ALONE, closes)
PLANS(contract_3_a_value_has_one_owner_in_a_call, CALLED, closes)
PLANS(contract_3_a_value_has_one_owner_under_a_gather, GATHERED, at_the_end)
PLANS(contract_3_a_value_has_one_owner_behind_a_shield, SHIELD, at_the_end)
PLANS(contract_3_a_value_has_one_owner_in_a_group, GROUPED, at_the_end)

// --- values and the drop hook (C-7)
struct opens {
    aio_frame aio;
    int64_t ns;
};
static int opened, closed;
aio_drop(opens) {
    if (dropped >= 0) closed++;
    return 0;
}
aio_end aio_async(opens) {
    aio_try(aio_sleep(self->ns));
    opened++;
    return 5;
}
aio_end

    struct cancels_late {
    aio_frame aio;
    aio_task *t;
    aio_group g;
    aio_result r;
};
aio_async(cancels_late) {
    self->t = aio_spawn(opens, .ns = 1);
    aio_try(aio_sleep(2));
    assert_false(aio_task_cancel(self->t)); // asks about its end, not for its value
    aio_detach(self->t);
    assert_int_equal(closed, 1);
    aio_try(aio_group_enter(&self->g));
    (void)aio_group_spawn(&self->g, fails);
    (void)aio_group_spawn(&self->g, opens, .ns = 0); // both end in one turn
    aio_await(self->r, aio_group_exit(&self->g, 0));
    assert_result(self->r, -EIO);
    assert_int_equal(closed, opened);
    self->t = aio_spawn(opens, .ns = 1); // control: taken
    aio_await(self->r, aio_join(self->t));
    assert_int_equal(closed, opened - 1);
    return 0;
}
aio_end static void C_7_a_cancel_that_came_too_late_takes_no_value(void **state) {
    (void)state;
    opened = closed = 0;
    aio_task *t = core_spawn(cancels_late);
    assert_result(core_run(t), 0);
    aio_detach(t);
}

// A value whose frame's group fails.
struct over_group {
    aio_frame aio;
    aio_group g;
    int64_t ns;
};
aio_drop(over_group) {
    if (dropped >= 0) closed++;
    return 0;
}
aio_end aio_async(over_group) {
    aio_try(aio_group_enter(&self->g));
    (void)aio_group_spawn(&self->g, fails);
    if (self->ns) (void)aio_group_spawn(&self->g, opens, .ns = self->ns);
    opened++;
    return 9;
}
aio_end struct numbers {
    aio_frame aio;
    int value;
    aio_group g;
};
aio_drop(numbers) {
    closed += 100;
    return 0;
}
aio_end aio_async(numbers) {
    aio_yield(1);
    aio_try(aio_group_enter(&self->g));
    (void)aio_group_spawn(&self->g, fails);
    return 0; // its end, no value
}
aio_end struct calls {
    aio_frame aio;
    struct over_group child;
    struct numbers numbers;
    aio_result r;
};
aio_async(calls) {
    aio_await(self->r, aio_call(&self->child, over_group));
    assert_result(self->r, -EIO);
    assert_int_equal(closed, 1);
    aio_await(self->r, aio_call_new(over_group));
    assert_result(self->r, -EIO);
    assert_int_equal(closed, 2);
    aio_try(aio_gen_init(&self->numbers, numbers));
    aio_try(aio_next(&self->numbers));
    aio_await(self->r, aio_next(&self->numbers));
    assert_result(self->r, -EIO);
    assert_int_equal(closed, 2);
    return 0;
}
aio_end static void C_7_a_called_coroutines_value_is_dropped_too(void **state) {
    (void)state;
    opened = closed = 0;
    aio_task *t = core_spawn(calls);
    assert_result(core_run(t), 0);
    aio_detach(t);
}
static void C_7_contract_11_a_value_whose_scopes_are_ending(void **state) {
    (void)state;
    opened = closed = 0;
    aio_detach(core_spawn(over_group, .ns = 1000)); // returned; its group's task does not end
    for (int i = 0; i < 2; i++) core_turn();
    assert_int_equal(opened, 1);
    assert_int_equal(closed, 0);
    aio_loop_close(&core.loop);
    assert_int_equal(closed, 1);
    core_forget_reports();
}

struct asks_its_op {
    aio_frame aio;
    aio_op op[3];
};
static int asked;
aio_drop(asks_its_op) {
    for (int i = 0; i < 3; i++) {
        assert_result(aio_op_result(&self->op[i]), -EINVAL);
        assert_false(aio_op_done(&self->op[i]));
        assert_false(aio_op_cancel(&self->op[i]));
    }
    asked++;
    return 0;
}
aio_end aio_async(asks_its_op) {
    aio_try(aio_start(&self->op[0], aio_join(aio_spawn(opens))));
    aio_try(aio_start(&self->op[1], aio_sleep(1000)));
    aio_try(aio_start(&self->op[2], aio_next_turn()));
    aio_try(aio_sleep(1000));
    return 0;
}
aio_end static void contract_11_a_drop_hook_finds_its_ops_idle(void **state) {
    (void)state;
    opened = closed = asked = 0;
    aio_detach(core_spawn(asks_its_op));
    for (int i = 0; i < 4; i++) core_turn();
    assert_int_equal(opened, 1);
    aio_loop_close(&core.loop);
    assert_int_equal(asked, 1);
    assert_int_equal(closed, 1);
    core_forget_reports();
}

// --- ops
struct gives_up_early {
    aio_frame aio;
    aio_op op;
    aio_result r;
};
aio_async(gives_up_early) {
    aio_try(aio_start(&self->op, aio_lock_acquire(&lock)));
    assert_true(aio_lock_locked(&lock));
    assert_result(aio_lock_release(&lock), 0); // without a look at the result
    aio_await(self->r, aio_lock_acquire(&lock)); // this one is the task's
    return 0;
}
aio_end static void LK_4_a_lock_given_up_without_its_op_is_not_given_up_twice(void **state) {
    (void)state;
    prepare(UNIT);
    aio_task *t = core_spawn(gives_up_early);
    assert_result(core_run(t), 0);
    assert_true(aio_lock_locked(&lock));
    aio_detach(t);
}

struct keeps_place {
    aio_frame aio;
    aio_op op[3];
    int items[3];
    aio_result r;
};
static int item_out(void) {
    int item = 0;
    assert_result(aio_queue_get_nowait(&queue, &item), 0);
    return item;
}
aio_async(keeps_place) {
    static const int one = 1, two = 2, three = 3;
    assert_result(aio_queue_put_nowait(&queue, &one), 0);
    assert_result(aio_queue_put_nowait(&queue, &two), 0);
    aio_try(aio_start(&self->op[0], aio_queue_get(&queue, &self->items[0])));
    aio_try(aio_start(&self->op[1], aio_queue_get(&queue, &self->items[1])));
    assert_true(aio_op_done(&self->op[1]));
    assert_result(aio_queue_put_nowait(&queue, &three), -EAGAIN); // they may come back
    aio_try(aio_start(&self->op[2], aio_queue_put(&queue, &three)));
    assert_false(aio_op_done(&self->op[2]));
    assert_result(aio_op_result(&self->op[1]), 0);
    assert_true(aio_op_done(&self->op[2]));
    assert_result(aio_op_result(&self->op[2]), 0);
    return 0; // the first is not taken
}
aio_end static void Q_1_an_untaken_item_goes_back_to_its_place(void **state) {
    (void)state;
    for (int kind = ITEM; kind <= SMALLEST; kind++) {
        prepare(kind);
        aio_task *t = core_spawn(keeps_place);
        assert_result(core_run(t), 0);
        aio_detach(t);
        assert_int_equal(aio_queue_count(&queue), 2);
        assert_int_equal(queue.held, 0);
        assert_int_equal(item_out(), kind == TOP ? 2 : 1);
        assert_int_equal(item_out(), 3);
    }
}

struct op_cancels {
    aio_frame aio;
    aio_op op[4];
    aio_task *t;
};
aio_async(op_cancels) {
    lock.locked = true;
    self->t = aio_spawn(opens, .ns = 1000);
    aio_try(aio_start(&self->op[0], aio_lock_acquire(&lock)));
    aio_try(aio_start(&self->op[1], aio_shield(self->t)));
    aio_try(aio_start(&self->op[2], aio_op_wait(&self->op[1])));
    assert_true(aio_op_cancel(&self->op[0]));
    assert_true(aio_op_cancel(&self->op[2]));
    assert_true(aio_op_done(&self->op[0]));
    assert_true(aio_op_done(&self->op[2]));
    assert_false(aio_op_done(&self->op[1])); // what it had has moved
    assert_false(aio_op_cancel(&self->op[0]));
    assert_result(aio_op_result(&self->op[0]), -ECANCELED);
    assert_result(aio_op_result(&self->op[2]), -ECANCELED);
    aio_try(aio_start(&self->op[3], aio_op_wait(&self->op[3])));
    assert_result(aio_op_result(&self->op[3]), -EDEADLK);
    assert_false(aio_task_done(self->t));
    aio_task_cancel(self->t);
    aio_detach(self->t);
    lock.locked = false;
    return 0;
}
aio_end static void contract_op_cancel_says_whether_it_ends(void **state) {
    (void)state;
    prepare(LOCK);
    aio_task *t = core_spawn(op_cancels);
    assert_result(core_run(t), 0);
    aio_detach(t);
    core_settle();
}

// A chain of ops, each of which waits for the one before; the C stack does not grow with it.
enum { LINKS = 300000 };
static aio_op chain[LINKS];
struct chains {
    aio_frame aio;
    int how;
    aio_task *t;
    aio_result r;
};
enum { OP_CANCEL, TASK_CANCEL, AN_END, A_VALUE, THE_RETURN, A_LIMIT, CHAIN_WAYS };
aio_async(chains) {
    char text[64];
    if (self->how == A_VALUE) self->t = aio_spawn(opens, .ns = 5);
    if (self->how == A_VALUE) aio_try(aio_start(&chain[0], aio_join(self->t)));
    else aio_try(aio_start(&chain[0], aio_sleep(10)));
    for (int i = 1; i < LINKS; i++)
        if (aio_start(&chain[i], aio_op_wait(&chain[i - 1])) < 0) return -EIO;
    assert_true(aio_describe(&chain[LINKS - 1].waiter, text, sizeof text) > 0);
    assert_int_equal(strncmp(text, self->how == A_VALUE ? "task" : "sleep", 4), 0);
    if (self->how == THE_RETURN) return 1;
    if (self->how == OP_CANCEL) assert_true(aio_op_cancel(&chain[LINKS - 1]));
    if (self->how == A_LIMIT) aio_await(self->r, aio_wait_for(3, aio_op_wait(&chain[LINKS - 1])));
    else aio_await(self->r, aio_op_wait(&chain[LINKS - 1]));
    for (int i = 0; i < LINKS; i++) assert_ptr_equal(chain[i].owner, NULL);
    return self->r;
}
aio_end static void C_5_a_chain_of_ops_takes_no_stack(void **state) {
    (void)state;
    static const aio_result ends[] = {-ECANCELED, -ECANCELED, 0, 5, 1, -ETIMEDOUT};
    opened = closed = 0;
    for (int how = 0; how < CHAIN_WAYS; how++) {
        aio_task *t = core_spawn(chains, .how = how);
        core_turn();
        if (how == TASK_CANCEL) assert_true(aio_task_cancel(t));
        assert_result(core_run(t), ends[how]);
        aio_detach(t);
    }
    assert_int_equal(opened, 1);
    assert_int_equal(closed, 0);
}
// Quadratic, this would take minutes.
struct takes_nothing {
    aio_frame aio;
};
aio_async(takes_nothing) { return 0; }
aio_end struct awaits {
    aio_frame aio;
    int order, i, at;
};
aio_async(awaits) {
    for (int i = 0; i < LINKS; i++)
        if (aio_start(&chain[i], aio_sleep(1)) < 0) return -EIO;
    for (self->i = 0; self->i < LINKS; self->i++) {
        if (self->order == 0) self->at = self->i;
        if (self->order == 1) self->at = LINKS - 1 - self->i;
        if (self->order >= 2) self->at = (int)(self->i * 7919L % LINKS);
        if (self->order < 3) aio_try(aio_op_wait(&chain[self->at]));
        else aio_try(aio_wait_for(9, aio_op_wait(&chain[self->at])));
        aio_try(aio_call_new(takes_nothing)); // a frame that returns beside many scopes
    }
    return 0;
}
aio_end static void contract_op_many_in_any_order_are_linear(void **state) {
    (void)state;
    for (int order = 0; order < 4; order++) {
        aio_task *t = core_spawn(awaits, .order = order);
        assert_result(core_run(t), 0);
        aio_detach(t);
    }
}

// --- one cancel through gathers that share tasks
struct joint {
    aio_frame aio;
    aio_task *t[2];
    int n;
    aio_result r;
};
aio_async(joint) {
    if (self->n) aio_await(self->r, aio_gather(self->t, NULL, (size_t)self->n));
    else aio_await(self->r, aio_sleep(AIO_FOREVER));
    for (int i = 0; i < self->n; i++)
        if (self->t[i]) aio_detach(self->t[i]);
    return self->r;
}
aio_end

    // Each gathers the next one twice: of paths there are 2 to the number of tasks.
    static void diamonds(int n, uint32_t count) {
    aio_task *t = NULL, *first = NULL;
    for (int i = 0; i < n; i++) {
        t = core_spawn(joint, .t[0] = t, .t[1] = t, .n = t ? 2 : 0);
        if (!i) first = aio_task_retain(t);
    }
    for (int i = 0; i < 3; i++) core_turn();
    assert_true(aio_task_cancel(t));
    assert_int_equal(aio_task_cancelling(t), 1);
    assert_in_range(aio_task_cancelling(first), count, count ? count : UINT32_MAX);
    assert_true(aio_task_cancel(t));
    assert_in_range(aio_task_cancelling(first), count * 2, count ? count * 2 : UINT32_MAX);
    core_settle();
    assert_result(aio_task_result(t), -ECANCELED);
    assert_result(aio_task_result(first), -ECANCELED);
    aio_detach(t);
    aio_detach(first);
}
static void C_5_G_6_a_cancel_through_shared_tasks_is_linear(void **state) {
    (void)state;
    for (int n = 1; n < 8; n++) diamonds(n, 1u << (n - 1)); // as in asyncio
    diamonds(100000, 0);
}
// A task joins the head of a chain that another gather's branch has gone down already; and a circle.
struct joins {
    aio_frame aio;
    aio_task **t;
    aio_result r;
};
aio_async(joins) {
    aio_await(self->r, aio_future_wait(aio_task_future(*self->t)));
    return self->r;
}
aio_end static void T_11_C_5_a_circle_behind_a_shared_chain_is_cut(void **state) {
    (void)state;
    for (int length = 0; length < 5; length++) {
        aio_task *chain_of[6], *ends[2];
        // a gathers (b, c); both wait for chain_of[0] → … → the last, which waits for a
        for (int i = 0; i <= length; i++)
            chain_of[i] = core_spawn(joins, .t = i < length ? &chain_of[i + 1] : &chain_of[5]);
        ends[0] = core_spawn(joins, .t = &chain_of[0]);
        ends[1] = core_spawn(joins, .t = &chain_of[0]);
        aio_task *a = core_spawn(joint, .t[0] = ends[0], .t[1] = ends[1], .n = 2);
        chain_of[5] = a;
        for (int i = 0; i < 4; i++) core_turn();
        assert_true(aio_task_cancel(a));
        core_settle();
        assert_result(aio_task_result(a), -ECANCELED);
        for (int i = 0; i <= length; i++) {
            assert_result(aio_task_result(chain_of[i]), -ECANCELED);
            aio_detach(chain_of[i]);
        }
        aio_detach(a);
        assert_ptr_equal(core.loop.executor.first, NULL);
    }
}
static void T_11_two_gathers_of_each_other(void **state) {
    (void)state;
    aio_task *a = core_spawn(joint, .n = 1), *b = core_spawn(joint, .n = 1);
    aio_task_frame(joint, a)->t[0] = aio_task_retain(b);
    aio_task_frame(joint, b)->t[0] = aio_task_retain(a);
    core_turn();
    assert_true(aio_task_cancel(a));
    core_settle();
    assert_result(aio_task_result(a), -ECANCELED);
    assert_result(aio_task_result(b), -ECANCELED);
    aio_detach(a);
    aio_detach(b);
}

// --- other things that an op may get and nobody take
struct iterates {
    aio_frame aio;
    aio_task *t[3];
    aio_completed it;
    aio_result r;
    int i;
};
aio_async(iterates) {
    for (int i = 0; i < 3; i++) self->t[i] = aio_spawn(opens, .ns = 10 * (i + 1));
    aio_try(aio_completed_init(&self->it, self->t, 3, AIO_FOREVER));
    for (self->i = 0; self->i < 3; self->i++) {
        aio_await(self->r, aio_wait_for(5, aio_completed_next(&self->it)));
        assert_result(self->r, -ETIMEDOUT); // it does not use one up
        aio_await(self->r, aio_completed_next(&self->it));
        assert_result(self->r, self->i);
        assert_result(aio_task_result(self->t[self->r]), 5);
        aio_detach(self->t[self->r]);
    }
    aio_await(self->r, aio_completed_next(&self->it));
    assert_result(self->r, -ENODATA);
    return 0;
}
aio_end static void AC_1_a_next_that_was_cancelled_uses_none_up(void **state) {
    (void)state;
    opened = closed = 0;
    aio_task *t = core_spawn(iterates);
    assert_result(core_run(t), 0);
    aio_detach(t);
    assert_int_equal(closed, 0);
}

// A put through an op is in the queue, whatever its taker hears of it.
struct puts_item {
    aio_frame aio;
    aio_op op;
    int item;
    aio_result r;
};
static aio_result put_heard;
aio_async(puts_item) {
    aio_try(aio_start(&self->op, aio_queue_put(&queue, &self->item)));
    aio_await(self->r, aio_op_wait(&self->op));
    return put_heard = self->r;
}
aio_end static void Q_6_a_put_that_is_done_says_so(void **state) {
    (void)state;
    for (int at = 0; at < 5; at++) {
        for (int first = 0; first < 2; first++) {
            int item;
            prepare(ITEM);
            put_heard = 77;
            for (int i = 0; i < 2; i++) assert_result(aio_queue_put_nowait(&queue, &i), 0);
            aio_task *t = core_spawn(puts_item, .item = 9);
            for (int turn = 0; turn < 5; turn++) {
                if (turn == at && first) aio_task_cancel(t);
                if (turn == 2) assert_result(aio_queue_get_nowait(&queue, &item), 0);
                if (turn == at && !first) aio_task_cancel(t);
                core_turn();
            }
            core_settle();
            aio_detach(t);
            bool in = false;
            while (aio_queue_get_nowait(&queue, &item) == 0) in |= item == 9;
            if (put_heard == 77) assert_false(in); // it never began
            else assert_int_equal(put_heard == 0, in);
        }
    }
}

// --- results that every way out fills (G-1)
struct gathers {
    aio_frame aio;
    aio_task *t[40];
    aio_result results[40];
    aio_op op;
    int how;
    aio_result r;
};
aio_async(gathers) {
    for (int i = 0; i < 40; i++) {
        self->t[i] = i == 7 ? aio_task_retain(self->t[6]) : aio_spawn(opens, .ns = i % 2 ? 1000 : 0);
        self->results[i] = 77;
    }
    aio_detach(self->t[7]); // it stands twice with one handle
    aio_try(aio_sleep(1));
    if (self->how == 0) core.memory.fail_from = 1;
    if (self->how == 0) aio_await(self->r, aio_gather(self->t, self->results, 40));
    if (self->how == 1) self->r = aio_start(&self->op, aio_gather_all(self->t, self->results, 40));
    if (self->how == 2) aio_await(self->r, aio_wait_for(0, aio_gather(self->t, self->results, 40)));
    core.memory.fail_from = 0;
    assert_result(self->r, self->how == 0 ? -ENOMEM : self->how == 1 ? -EINVAL : -ETIMEDOUT);
    for (int i = 0; i < 40; i++) {
        bool done = i % 2 == 0 || i == 7;
        assert_result(self->results[i], done ? 5 : self->how == 2 ? -ECANCELED : -EINPROGRESS);
        assert_int_equal(self->t[i] == NULL, done || self->how == 2);
        if (self->t[i]) aio_task_cancel(self->t[i]), aio_detach(self->t[i]);
    }
    return 0;
}
aio_end static void G_1_results_are_filled_also_when_it_is_refused(void **state) {
    (void)state;
    for (int how = 0; how < 3; how++) {
        opened = closed = 0;
        aio_task *t = core_spawn(gathers, .how = how);
        assert_result(core_run(t), 0);
        aio_detach(t);
        core_settle();
        assert_int_equal(opened, 20);
        assert_int_equal(closed, 0); // what stands in the array is the caller's
    }
}

// --- "still waiting" is no result
static aio_result least(void *arg) {
    (void)arg;
    return INT64_MIN;
}
struct no_result {
    aio_frame aio;
    aio_future f;
    aio_group g;
    aio_result r;
};
aio_async(no_result) {
    aio_await(self->r, aio_to_thread(least, NULL));
    assert_result(self->r, -ERANGE);
    aio_await(self->r, (aio_result)INT64_MIN);
    assert_result(self->r, -ERANGE);
    assert_result(aio_future_set_result(&self->f, INT64_MIN), -EINVAL);
    assert_result(aio_future_set_error(&self->f, INT64_MIN), -EINVAL);
    assert_false(aio_future_done(&self->f));
    aio_try(aio_group_enter(&self->g));
    aio_await(self->r, aio_group_exit(&self->g, INT64_MIN));
    assert_result(self->r, -ERANGE);
    return 0;
}
aio_end static void contract_results_INT64_MIN_is_none(void **state) {
    (void)state;
    aio_task *t = core_spawn(no_result);
    assert_result(core_run(t), 0);
    aio_detach(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        core_test(contract_3_a_value_has_one_owner),
        core_test(contract_3_a_value_has_one_owner_in_a_call),
        core_test(contract_3_a_value_has_one_owner_under_a_gather),
        core_test(contract_3_a_value_has_one_owner_behind_a_shield),
        core_test(contract_3_a_value_has_one_owner_in_a_group),
        core_test(C_7_a_cancel_that_came_too_late_takes_no_value),
        core_test(C_7_a_called_coroutines_value_is_dropped_too),
        core_test(C_7_contract_11_a_value_whose_scopes_are_ending),
        core_test(contract_11_a_drop_hook_finds_its_ops_idle),
        core_test(LK_4_a_lock_given_up_without_its_op_is_not_given_up_twice),
        core_test(Q_1_an_untaken_item_goes_back_to_its_place),
        core_test(contract_op_cancel_says_whether_it_ends),
        core_test(C_5_a_chain_of_ops_takes_no_stack),
        core_test(contract_op_many_in_any_order_are_linear),
        core_test(C_5_G_6_a_cancel_through_shared_tasks_is_linear),
        core_test(T_11_C_5_a_circle_behind_a_shared_chain_is_cut),
        core_test(T_11_two_gathers_of_each_other),
        core_test(AC_1_a_next_that_was_cancelled_uses_none_up),
        core_test(Q_6_a_put_that_is_done_says_so),
        core_test(G_1_results_are_filled_also_when_it_is_refused),
        core_test(contract_results_INT64_MIN_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
