// Cancellation: rules C-1 to C-12, C-14, C-15, S-3, T-11; chains and cycles of tasks.
#include "core.h"

// Waits as told by a script, one letter per await, and says what each gave: f future, s sleep, n
// next turn, j join, k wait for the task and keep the handle. `!` cancels itself first, `u`
// uncancels. `*` goes on after an error, else the first error ends it.
struct body {
    aio_frame aio;
    const char *name, *script;
    aio_future *f;
    aio_task *t;
    aio_result result;
};
static aio_awaitable next_wait(struct body *b, char c)
{
    switch (c) {
    case 'f': return aio_future_wait(b->f);
    case 's': return aio_sleep(AIO_SECOND);
    case 'j': return aio_join(b->t);
    case 'k': return aio_future_wait(aio_task_future(b->t));
    default: return aio_next_turn();
    }
}
aio_drop(body) {
    if (dropped) say("%s:drop(%lld) ", self->name, (long long)dropped);
    return 0;
} aio_end
aio_async(body) {
    say("%s ", self->name);
    while (self->script && *self->script) {
        aio_result r;
        while (*self->script == '!') {
            self->script++;
            aio_task_cancel(aio_current_task());
        }
        if (*self->script == 'u') {
            self->script++;
            say("%s:left %u ", self->name, (unsigned)aio_task_uncancel(aio_current_task()));
            continue;
        }
        if (!*self->script) break;
        aio_await(r, next_wait(self, *self->script));
        say("%s:%c%lld ", self->name, *self->script++, (long long)r);
        if (*self->script == '*') self->script++;
        else if (r < 0) return r;
    }
    return self->result;
} aio_end

struct step { aio_frame aio; const char *name; };
aio_async(step) { say("%s ", self->name); return 0; } aio_end
struct forever { aio_frame aio; };
aio_async(forever) { aio_try(aio_sleep(AIO_FOREVER)); return 0; } aio_end

static void C_1_C_14_counts_and_answers(void **state)
{
    (void)state;
    aio_task *t = core_spawn(forever);
    core_turn();
    assert_result(aio_task_cancelling(t), 0);
    for (unsigned i = 1; i <= 4; i++) {
        assert_true(aio_task_cancel(t));
        assert_result(aio_task_cancelling(t), i);
    }
    core_turn();
    assert_true(aio_task_done(t));
    assert_false(aio_task_cancel(t));
    assert_result(aio_task_cancelling(t), 4);       // C-14: readable, keeps its value
    aio_detach(t);
    t = core_spawn(step, .name = "x");
    core_turn();
    assert_false(aio_task_cancel(t));
    assert_result(aio_task_cancelling(t), 0);
    aio_detach(t);
    assert_trace("x ");
}

static void C_2_cancelled_before_the_first_step(void **state)
{
    (void)state;
    aio_task *t = core_spawn(body, .name = "a", .script = "n");
    assert_true(aio_task_cancel(t));
    assert_false(aio_task_done(t));             // ends at its first step
    aio_detach(core_spawn(step, .name = "b"));
    core_turn();
    assert_true(aio_task_cancelled(t));
    assert_result(aio_task_result(t), -ECANCELED);
    assert_trace("a:drop(-125) b ");
    aio_detach(t);
    t = core_spawn(body, .name = "c");          // taken back in time: C-10
    aio_task_cancel(t);
    assert_result(aio_task_uncancel(t), 0);
    core_turn();
    assert_trace("c ");
    assert_result(aio_task_result(t), 0);
    aio_detach(t);
}

static void C_3_the_awaited_future_is_cancelled(void **state)
{
    (void)state;
    aio_future f = { 0 };
    aio_task *t = core_spawn(body, .name = "a", .script = "f*f", .f = &f);
    core_turn();
    assert_true(aio_task_cancel(t));
    assert_true(aio_future_cancelled(&f));
    assert_false(t->waiter.future.flags & AIO__MUST_CANCEL);    // only f was cancelled
    assert_trace("a ");
    core_turn();
    assert_trace("a:f-125 a:f-125 ");
    aio_detach(t);
}

static void C_4_a_cancel_beats_a_result(void **state)
{
    (void)state;
    static const aio_result results[] = { 5, -EIO };
    for (int i = 0; i < 2; i++) {
        aio_future f = { 0 };
        aio_task *t = core_spawn(body, .name = "a", .script = "f", .f = &f);
        core_turn();
        assert_result(aio_future_set_result(&f, results[i]), 0);
        assert_true(aio_task_cancel(t));
        core_turn();
        assert_trace("a a:f-125 ");
        assert_result(aio_future_result(&f), results[i]);       // f keeps it
        assert_true(aio_task_cancelled(t));
        aio_detach(t);
    }
}

static void C_5_forwarded_to_the_leaf(void **state)
{
    (void)state;
    aio_future f = { 0 };
    aio_task *c = core_spawn(body, .name = "c", .script = "f", .f = &f);
    aio_task *b = core_spawn(body, .name = "b", .script = "j", .t = c);
    aio_task *a = core_spawn(body, .name = "a", .script = "k", .t = b);
    core_turn();
    assert_trace("c b a ");
    aio_task_cancel(a);
    assert_true(aio_future_cancelled(&f));
    assert_result(aio_task_cancelling(b), 1);
    core_turn();
    assert_trace("c:f-125 ");
    core_turn();
    assert_trace("b:j-125 ");
    core_turn();
    assert_trace("a:k-125 ");
    assert_true(aio_task_cancelled(a));
    aio_detach(a);
    aio_detach(b);
}

static void C_5_the_child_refuses(void **state)
{
    (void)state;
    aio_task *b = core_spawn(body, .name = "b", .script = "s*n", .result = 7);
    aio_task *a = core_spawn(body, .name = "a", .script = "jn", .t = b, .result = 1);
    core_turn();
    aio_task_cancel(a);
    core_settle();
    assert_trace("b a b:s-125 b:n0 a:j7 a:n0 ");
    assert_result(aio_task_cancelling(a), 1);
    assert_false(aio_task_cancelled(a));
    assert_result(aio_task_result(a), 1);
    aio_detach(a);
}

static void C_6_self_cancel_waits_for_a_suspension(void **state)
{
    (void)state;
    aio_future done = { 0 };
    aio_future_set_result(&done, 3);
    aio_task *t = core_spawn(body, .name = "a", .script = "!ffn*f", .f = &done);
    core_settle();
    assert_trace("a a:f3 a:f3 a:n-125 a:f3 ");
    assert_result(aio_task_cancelling(t), 1);
    aio_detach(t);
    t = core_spawn(body, .name = "b", .script = "!s*s", .f = &done);        // dies at once
    core_turn();
    assert_result(core.loop.timer_count, 0);
    core_turn();
    assert_trace("b b:s-125 ");
    assert_result(core.loop.timer_count, 1);
    assert_result(core_run(t), 0);
    assert_trace("b:s0 ");
    aio_detach(t);
    aio_future f = { 0 };
    t = core_spawn(body, .name = "c", .script = "!f", .f = &f);
    core_turn();
    assert_true(aio_future_cancelled(&f));
    core_turn();
    assert_trace("c c:f-125 ");
    aio_detach(t);
    aio_task *child = core_spawn(body, .name = "child", .script = "s");
    t = core_spawn(body, .name = "d", .script = "!k", .t = child);
    core_turn();
    assert_result(aio_task_cancelling(child), 1);
    core_settle();
    assert_trace("child d child:s-125 d:k-125 ");
    aio_detach(child);
    aio_detach(t);
    child = core_spawn(body, .name = "child", .script = "s*", .result = 7);     // it refuses: C-5
    t = core_spawn(body, .name = "e", .script = "!jn", .t = child);
    core_settle();
    assert_trace("child e child:s-125 e:j7 e:n0 ");
    aio_detach(t);
}

static void C_7_a_cancel_is_owed_when_the_body_ends(void **state)
{
    (void)state;
    aio_task *t = core_spawn(body, .name = "a", .script = "!", .result = 5);
    core_turn();
    assert_trace("a a:drop(5) ");
    assert_true(aio_task_cancelled(t));
    assert_result(aio_task_result(t), -ECANCELED);
    aio_detach(t);
    t = core_spawn(body, .name = "b", .script = "!", .result = -EIO);
    core_turn();
    assert_trace("b ");
    assert_false(aio_task_cancelled(t));
    assert_result(aio_task_result(t), -EIO);
    aio_detach(t);
}

static void C_8_delivered_once_or_twice(void **state)
{
    (void)state;
    aio_task *t = core_spawn(body, .name = "a", .script = "s*s*n");
    core_turn();
    aio_task_cancel(t);
    aio_task_cancel(t);                     // before it runs: one error for both
    core_turn();
    assert_trace("a a:s-125 ");
    core_turn();
    assert_trace("");
    aio_task_cancel(t);                     // in another turn: another one
    core_settle();
    assert_trace("a:s-125 a:n0 ");
    assert_result(aio_task_cancelling(t), 3);
    aio_detach(t);
    aio_future f = { 0 };                   // the error is queued already
    t = core_spawn(body, .name = "b", .script = "f*n", .f = &f);
    core_turn();
    aio_future_cancel(&f);
    aio_task_cancel(t);
    core_settle();
    assert_trace("b b:f-125 b:n0 ");
    aio_detach(t);
}

static void C_9_swallowing_is_legal(void **state)
{
    (void)state;
    aio_task *t = core_spawn(body, .name = "a", .script = "s*sn", .result = 2);
    core_turn();
    aio_task_cancel(t);
    assert_result(core_run(t), 2);
    assert_trace("a a:s-125 a:s0 a:n0 ");
    assert_result(aio_task_cancelling(t), 1);
    assert_false(aio_task_cancelled(t));
    uint32_t count;
    assert_non_null(aio_task_swallowed(t, &count));
    assert_result(count, 1);
    aio_detach(t);
}

static void C_10_T_5_uncancel(void **state)
{
    (void)state;
    aio_future f = { 0 }, g = { 0 };
    aio_task *t = core_spawn(body, .name = "a", .script = "fn", .f = &f);
    core_turn();
    aio_future_set_result(&f, 5);
    aio_task_cancel(t);
    assert_result(aio_task_uncancel(t), 0);
    assert_result(aio_task_uncancel(t), 0);
    core_settle();
    assert_trace("a a:f5 a:n0 ");
    aio_detach(t);
    t = core_spawn(body, .name = "b", .script = "f*n", .f = &g);    // it was really cancelled
    core_turn();
    aio_task_cancel(t);
    assert_result(aio_task_uncancel(t), 0);
    core_settle();
    assert_trace("b b:f-125 b:n0 ");
    aio_detach(t);
    t = core_spawn(body, .name = "c", .script = "n", .f = &g);      // 2 - 1: still owed
    aio_task *u = core_spawn(body, .name = "d", .script = "!!un*un");
    core_turn();
    aio_task_cancel(t);
    aio_task_cancel(t);
    assert_result(aio_task_uncancel(t), 1);
    core_settle();
    assert_trace("c d d:left 1 c:n-125 d:n-125 d:left 0 d:n0 ");
    assert_result(aio_task_cancelling(t), 1);
    aio_detach(t);
    aio_detach(u);
}

static void C_11_cancelled_by_others(void **state)
{
    (void)state;
    aio_future f = { 0 };
    aio_task *t = core_spawn(body, .name = "a", .script = "f", .f = &f);
    aio_task *u = core_spawn(body, .name = "b", .script = "k", .t = t);
    core_turn();
    aio_future_cancel(&f);
    core_settle();
    assert_trace("a b a:f-125 b:k-125 ");
    assert_true(aio_task_cancelled(t) && aio_task_cancelled(u));
    assert_result(aio_task_cancelling(t) + aio_task_cancelling(u), 0);
    aio_detach(t);
    aio_detach(u);
}

static void C_12_what_blocks_is_cancelled(void **state)
{
    (void)state;
    aio_task *child = core_spawn(body, .name = "c", .script = "s");
    aio_task *a = core_spawn(body, .name = "a", .script = "k", .t = child);
    aio_task *b = core_spawn(body, .name = "b", .script = "k", .t = child);
    core_turn();
    aio_task_cancel(a);                     // a task that others wait for as well
    core_settle();
    assert_trace("c a b c:s-125 a:k-125 b:k-125 ");
    assert_result(aio_task_cancelling(b), 0);
    aio_detach(child);
    aio_detach(a);
    aio_detach(b);
}

static void S_3_cancel_in_the_turn_of_the_expiry(void **state)
{
    (void)state;
    for (int before = 0; before < 2; before++) {
        aio_task *t = core_spawn(body, .name = "a", .script = "s*n");
        core_turn();
        core.loop.now += AIO_SECOND;
        if (before) aio_task_cancel(t);
        core_turn();                        // the timer's callback ran
        if (!before) aio_task_cancel(t);
        core_settle();
        assert_trace("a a:s-125 a:n0 ");
        assert_result(core.loop.timer_count, 0);
        aio_detach(t);
    }
}
// … and while the timer's callback stands in the batch.
struct assassin { aio_frame aio; aio_task *t; };
aio_async(assassin) {
    say("kill ");
    aio_task_cancel(self->t);
    return 0;
} aio_end
static void S_3_cancel_between_due_and_callback(void **state)
{
    (void)state;
    aio_task *t = core_spawn(body, .name = "a", .script = "s*n");
    core_turn();
    core.loop.now += AIO_SECOND;
    aio_detach(core_spawn(assassin, .t = t));
    uint32_t slots = core.loop.executor.slots;
    core_turn();
    assert_trace("a kill ");
    core_turn();
    assert_trace("a:s-125 ");
    core_turn();
    assert_trace("a:n0 ");
    assert_result(core.loop.executor.slots, slots - 2);     // the timer's slot came back too
    aio_detach(t);
}

// --- contract 3, with an awaitable of one's own
// It answers from its own step: a result that was there is never lost to a cancel.
struct parcel { aio_waiter *w; bool refuses; unsigned cancels, disposed; };
static bool parcel_cancel(aio_waiter *w)
{
    struct parcel *p = (struct parcel *)w->node.u.p[0];
    p->cancels++;
    return p->w != NULL;                    // it will end by itself, if it has not
}
static aio_result parcel_resume(aio_waiter *w, bool must_cancel)
{
    say(must_cancel ? "(owed) " : "() ");
    return w->future.result;
}
static void parcel_dispose(aio_waiter *w) { ((struct parcel *)w->node.u.p[0])->disposed++; }
static size_t parcel_describe(const aio_waiter *w, char *text, size_t size)
{
    (void)w;
    return (size_t)snprintf(text, size, "a parcel");
}
static const aio_wait_class parcel_wait = { "parcel", 0, parcel_cancel, parcel_resume, NULL, NULL,
                                            parcel_describe, parcel_dispose };
static bool parcel_start(aio_waiter *w, const aio_awaitable *a)
{
    w->node.u.p[0] = a->u.p[0];
    ((struct parcel *)a->u.p[0])->w = w;
    aio_waiter_begin(w, &parcel_wait);
    return false;
}
static const aio_await_class parcel_await = { parcel_start, "parcel", 0 };
static aio_awaitable wait_parcel(struct parcel *p)
{
    aio_awaitable a;
    a.cls = &parcel_await;
    a.u.p[0] = p;
    return a;
}
static void deliver(struct parcel *p, aio_result r)
{
    aio_waiter *w = p->w;
    p->w = NULL;
    w->future.result = r;
    aio_wake(w, &parcel_wait);
}
struct buyer { aio_frame aio; struct parcel *p; };
aio_async(buyer) {
    aio_result r;
    aio_await(r, wait_parcel(self->p));
    say("got %lld ", (long long)r);
    aio_await(r, aio_next_turn());
    say("then %lld ", (long long)r);
    aio_await(r, aio_next_turn());
    say("then %lld ", (long long)r);
    return 0;
} aio_end
static void C_15_a_result_that_was_there_wins(void **state)
{
    (void)state;
    struct parcel p = { 0 };
    aio_task *t = core_spawn(buyer, .p = &p);
    core_turn();
    char text[64];
    assert_result(aio_describe(&t->waiter, text, sizeof text), 8);
    assert_string_equal(text, "a parcel");
    deliver(&p, 5);
    aio_task_cancel(t);                     // after it: the next await gives the cancel, once
    core_settle();
    assert_trace("(owed) got 5 then -125 then 0 ");
    assert_result(p.cancels, 1);
    aio_detach(t);

    t = core_spawn(buyer, .p = &p);         // uncancelled before that: not at all
    core_turn();
    deliver(&p, 6);
    aio_task_cancel(t);
    aio_task_uncancel(t);
    core_settle();
    assert_trace("() got 6 then 0 then 0 ");
    aio_detach(t);

    t = core_spawn(buyer, .p = &p);         // before it, and it ends so
    core_turn();
    aio_task_cancel(t);
    core_turn();
    assert_trace("");                       // still waits: a cancel is a request
    deliver(&p, -ECANCELED);
    core_settle();
    assert_trace("() got -125 then 0 then 0 ");
    aio_detach(t);
}
static void X_5_C_15_dispose_at_close(void **state)
{
    (void)state;
    struct parcel p = { 0 };
    aio_detach(core_spawn(buyer, .p = &p));
    core_turn();
    deliver(&p, 5);
    aio_loop_close(&core.loop);
    assert_result(p.disposed, 1);
    core_forget_reports();
}
// A wait that looks again, like a lock's: it may go back to waiting, cancelled or not.
static int doors;
static aio_result door_resume(aio_waiter *w, bool must_cancel);
static bool door_cancel(aio_waiter *w)
{
    (void)w;
    return false;
}
static const aio_wait_class door_wait = {"door", 0,    door_cancel, door_resume,
                                         NULL,   NULL, NULL,        NULL};
static aio_result door_resume(aio_waiter *w, bool must_cancel)
{
    if (must_cancel) return -ECANCELED;
    if (doors-- > 0) {
        say("again ");
        aio_waiter_begin(w, &door_wait);
        return AIO_PENDING;
    }
    return 1;
}
static bool door_start(aio_waiter *w, const aio_awaitable *a)
{
    *(aio_waiter **)a->u.p[0] = w;
    aio_waiter_begin(w, &door_wait);
    return false;
}
static const aio_await_class door_await = { door_start, "door", 0 };
struct visitor { aio_frame aio; aio_waiter *w; };
aio_async(visitor) {
    aio_result r;
    aio_awaitable a;
    a.cls = &door_await;
    a.u.p[0] = &self->w;
    aio_await(r, a);
    say("%lld ", (long long)r);
    return r;
} aio_end
static void C_4_a_wait_that_looks_again(void **state)
{
    (void)state;
    doors = 2;
    aio_task *t = core_spawn(visitor);
    core_turn();
    for (int i = 0; i < 3; i++) {
        aio_wake(aio_task_frame(visitor, t)->w, &door_wait);
        core_turn();
    }
    assert_trace("again again 1 ");
    aio_detach(t);
    t = core_spawn(visitor);
    core_turn();
    aio_wake(aio_task_frame(visitor, t)->w, &door_wait);
    aio_task_cancel(t);
    core_turn();
    assert_trace("-125 ");
    aio_detach(t);
}

// --- chains
static aio_task *chain(int n, aio_task **leaf)
{
    aio_task *t = *leaf = core_spawn(forever);
    for (int i = 1; i < n; i++) t = core_spawn(body, .name = "", .script = "j", .t = t);
    return t;
}
static void C_5_a_chain_of_200_takes_202_turns(void **state)
{
    (void)state;
    aio_task *leaf, *t = chain(200, &leaf);
    core_settle();
    uint64_t turn = aio_loop_turn(&core.loop);
    // As asyncio counts: 200 levels, the turn of the cancel, and the one in which the run ends.
    aio_detach(core_spawn(assassin, .t = t));
    assert_result(core_run(t), -ECANCELED);
    assert_result(aio_loop_turn(&core.loop) - turn, 202);
    aio_detach(t);
}
static char *stack_base;
static size_t stack_used;
struct probe { aio_frame aio; };
static bool probe_cancel(aio_waiter *w)
{
    char here;
    stack_used = (size_t)(stack_base - &here);
    aio_complete(w, -ECANCELED);
    return true;
}
static const aio_wait_class probe_wait = { "probe", 0, probe_cancel, NULL, NULL, NULL, NULL, NULL };
static bool probe_start(aio_waiter *w, const aio_awaitable *a)
{
    (void)a;
    aio_waiter_begin(w, &probe_wait);
    return false;
}
static const aio_await_class probe_await = { probe_start, "probe", 0 };
aio_async(probe) {
    aio_awaitable a;
    a.cls = &probe_await;
    aio_try(a);
    return 0;
} aio_end
struct link { aio_frame aio; aio_task *t; };
aio_async(link) { aio_try(aio_join(self->t)); return 0; } aio_end
static void T_11_a_chain_of_100000_is_cancelled_without_recursion(void **state)
{
    (void)state;
    char base;
    stack_base = &base;
    aio_task *t = core_spawn(probe);
    for (int i = 0; i < 100000; i++) t = core_spawn(link, .t = t);
    core_settle();
    assert_true(aio_task_cancel(t));
    assert_true(stack_used > 0 && stack_used < 4096);
    assert_result(core_settle(), 100001);
    assert_true(aio_task_cancelled(t));
    aio_detach(t);
    assert_result(core.loop.executor.live, 0);
}
static void C_1_10000_tasks_in_one_turn(void **state)
{
    (void)state;
    enum { N = 10000 };
    static aio_task *t[N];
    for (int i = 0; i < N; i++)
        t[i] = i % 2 ? core_spawn(forever) : core_spawn(body, .name = "", .script = "s");
    core_turn();
    core_forget_reports();
    for (int i = 0; i < N; i++) assert_true(aio_task_cancel(t[i]));
    core_turn();
    for (int i = 0; i < N; i++) {
        assert_true(aio_task_cancelled(t[i]));
        aio_detach(t[i]);
    }
    assert_result(core.loop.timer_count, 0);
    assert_result(core.loop.executor.slots, 0);
}

// --- cycles
// `tail` tasks lead to a cycle of `round` that wait for each other; number `victim` is cancelled.
static void cancel_a_cycle(int tail, int round, int victim, bool keep)
{
    aio_task *t[8];
    int n = tail + round;
    for (int i = 0; i < n; i++) t[i] = core_spawn(body, .name = "", .script = keep ? "k" : "j");
    for (int i = 0; i < n; i++) {
        aio_task *next = t[i + 1 < n ? i + 1 : tail];
        aio_task_frame(body, t[i])->t = keep ? next : aio_task_retain(next);
    }
    core_settle();
    assert_result(core.loop.executor.live, n);
    assert_true(aio_task_cancel(t[victim]));
    core_settle();
    for (int i = 0; i < n; i++) assert_false(t[i]->waiter.future.flags & AIO__MARK);
    // All of the cycle end, and who waits for one of them; each saw one cancel at most but the
    // victim.
    for (int i = 0; i < n; i++) {
        if (i < victim && i < tail) {
            assert_result(aio_task_result(t[i]), -ECANCELED);
            assert_result(aio_task_cancelling(t[i]), 0);
        } else {
            assert_true(aio_task_cancelled(t[i]));
        }
        assert_result(t[i]->waiter.future.refs, 1);     // the joins gave theirs up
        aio_detach(t[i]);
    }
    assert_result(core.loop.executor.live, 0);
    core.trace[core.trace_at = 0] = 0;
}
static void T_11_cycles(void **state)
{
    (void)state;
    for (int keep = 0; keep < 2; keep++) {
        for (int round = 2; round <= 4; round++)
            for (int tail = 0; tail <= 3; tail++)
                for (int victim = 0; victim < tail + round; victim++)
                    cancel_a_cycle(tail, round, victim, keep);
    }
    // The walk leaves no trace: the next cancel goes all the way again.
    aio_task *leaf, *t = chain(50, &leaf);
    core_settle();
    aio_task_retain(leaf);
    aio_task_cancel(t);
    aio_task_cancel(t);
    assert_result(aio_task_cancelling(leaf), 2);
    core_settle();
    assert_true(aio_task_cancelled(t));
    aio_detach(t);
    aio_detach(leaf);
}
// In a cycle one that refuses keeps the others waiting for nothing but itself.
static void T_11_one_in_the_cycle_refuses(void **state)
{
    (void)state;
    aio_task *a = core_spawn(body, .name = "a", .script = "j");
    aio_task *b = core_spawn(body, .name = "b", .script = "j*s", .t = aio_task_retain(a));
    aio_task_frame(body, a)->t = aio_task_retain(b);
    core_turn();
    aio_task_cancel(a);
    assert_result(core_run(a), 0);
    assert_trace("a b b:j-125 b:s0 a:j0 ");
    aio_detach(a);
    aio_detach(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        core_test(C_1_C_14_counts_and_answers),
        core_test(C_2_cancelled_before_the_first_step),
        core_test(C_3_the_awaited_future_is_cancelled),
        core_test(C_4_a_cancel_beats_a_result),
        core_test(C_5_forwarded_to_the_leaf),
        core_test(C_5_the_child_refuses),
        core_test(C_6_self_cancel_waits_for_a_suspension),
        core_test(C_7_a_cancel_is_owed_when_the_body_ends),
        core_test(C_8_delivered_once_or_twice),
        core_test(C_9_swallowing_is_legal),
        core_test(C_10_T_5_uncancel),
        core_test(C_11_cancelled_by_others),
        core_test(C_12_what_blocks_is_cancelled),
        core_test(S_3_cancel_in_the_turn_of_the_expiry),
        core_test(S_3_cancel_between_due_and_callback),
        core_test(C_15_a_result_that_was_there_wins),
        core_test(X_5_C_15_dispose_at_close),
        core_test(C_4_a_wait_that_looks_again),
        core_test(C_5_a_chain_of_200_takes_202_turns),
        core_test(T_11_a_chain_of_100000_is_cancelled_without_recursion),
        core_test(C_1_10000_tasks_in_one_turn),
        core_test(T_11_cycles),
        core_test(T_11_one_in_the_cycle_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
