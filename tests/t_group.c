// Groups: rules TG-1 to TG-16, and groups that a frame returns over (contract 6).
#define AIO_SLAB_BYTES_MIN 16       // every block is an allocation: each one can fail
#define AIO_SLAB_BYTES_MAX 64
#include "actors.h"

enum { CHILDREN = 4 };
struct child { const char *name; int64_t ns, cleanup; aio_result result; bool refuse; };
// A group with some children; the body sleeps, then ends with `result`.
struct party {
    aio_frame aio;
    const char *name;
    struct child children[CHILDREN];
    int64_t body;               // -1: does not wait
    aio_result result;
    bool swallow, over, keep;   // keep: says nothing
    aio_group group;
    aio_task *tasks[CHILDREN];
    aio_result r;
    int i;
};
aio_async(party) {
    assert_result(aio_group_enter(&self->group), 0);
    for (self->i = 0; self->i < CHILDREN && self->children[self->i].name; self->i++) {
        struct child *c = &self->children[self->i];
        self->tasks[self->i] = aio_group_spawn(&self->group, nap, .name = c->name, .ns = c->ns,
            .cleanup = c->cleanup, .result = c->result, .refuse = c->refuse);
    }
    self->r = 0;
    if (self->body >= 0) aio_await(self->r, aio_sleep(self->body));
    if (self->r < 0) say("%s! ", self->name);
    if (self->r >= 0 || self->swallow) self->r = self->result;
    if (self->over) return self->r;             // the runtime ends the group
    aio_await(self->r, aio_group_exit(&self->group, self->r));
    say("%s:%lld/%u ", self->name, (long long)self->r, aio_task_cancelling(me()));
    return self->r;
} aio_end
#define CHILD(...) ((struct child){ __VA_ARGS__ })
#define two(...) \
    .children[0] = CHILD(.name = "a", .ns = 5), .children[1] = CHILD(.name = "b", __VA_ARGS__)

static void run_one(aio_task *t, aio_result expected)
{
    assert_result(core_run(t), expected);
    aio_detach(t);
    assert_result(core.loop.executor.live, 0);
    assert_result(core.loop.timer_count, 0);
}

static int nap_dropped;
struct droppy { aio_frame aio; };
aio_drop(droppy) { (void)self; nap_dropped++; return 0; } aio_end
aio_async(droppy) { return 0; } aio_end
struct misuse { aio_frame aio; aio_group g; aio_result r; };
aio_async(misuse) {
    nap_dropped = 0;
    assert_result(aio_task_result(aio_group_spawn(&self->g, droppy)), -EINVAL);     // not open
    assert_result(nap_dropped, 1);
    aio_await(self->r, aio_group_exit(&self->g, 0));
    assert_result(self->r, -EINVAL);
    assert_result(aio_group_enter(&self->g), 0);
    assert_result(aio_group_enter(&self->g), -EINVAL);
    aio_group_spawn(&self->g, at_once, .result = -EIO);
    aio_await(self->r, aio_sleep(9));
    assert_result(self->r, -ECANCELED);
    assert_result(aio_task_result(aio_group_spawn(&self->g, droppy)), -EINVAL);     // aborting
    aio_await(self->r, aio_group_exit(&self->g, self->r));
    assert_result(self->r, -EIO);
    assert_result(aio_task_result(aio_group_spawn(&self->g, droppy)), -EINVAL);     // over
    aio_await(self->r, aio_group_exit(&self->g, 0));
    assert_result(self->r, -EINVAL);
    assert_result(nap_dropped, 3);
    assert_result(aio_group_enter(&self->g), 0);                // and again
    aio_await(self->r, aio_group_exit(&self->g, 0));
    return self->r;
} aio_end
struct spawner { aio_frame aio; aio_group *g; int n; };
aio_async(spawner) {                            // spawns into its own group while that exits
    aio_await(aio_sleep(1));
    say("s%d ", self->n);
    if (self->n)
        assert_non_null(aio_task_frame(
            spawner, aio_group_spawn(self->g, spawner, .g = self->g, .n = self->n - 1)));
    return 0;
} aio_end
struct family { aio_frame aio; aio_group g; aio_result r; };
aio_async(family) {
    aio_group_enter(&self->g);
    aio_group_spawn(&self->g, spawner, .g = &self->g, .n = 3);
    aio_await(self->r, aio_group_exit(&self->g, 5));
    return self->r;
} aio_end
static void TG_1_misuse_and_spawns_while_it_exits(void **state)
{
    (void)state;
    aio_group outside = { 0 };
    assert_result(aio_group_enter(&outside), -EINVAL);
    run_one(core_spawn(misuse), 0);
    run_one(core_spawn(family), 5);             // the body's value comes out
    assert_trace("s3 s2 s1 s0 ");
}

static void TG_2_siblings_first_then_the_parent(void **state)
{
    (void)state;
    run_one(core_spawn(party, .name = "p", two(.ns = 2, .result = -EIO), .body = 9), -EIO);
    assert_trace("b a! p! p:-5/0 ");
}

static void TG_3_siblings_in_order_of_creation(void **state)
{
    (void)state;
    run_one(core_spawn(party, .name = "p", two(.ns = 5), .children[2] = CHILD(.name = "c", .ns = 5),
                       .children[3] = CHILD(.name = "d", .result = -EIO), .body = 9), -EIO);
    assert_trace("d a! b! c! p! p:-5/0 ");
}

static void TG_4_a_cancelled_child_is_no_error(void **state)
{
    (void)state;
    aio_task *t = core_spawn(party, .name = "p", two(.ns = 2), .body = -1);
    core_turn();
    core_turn();
    aio_task_cancel(aio_task_frame(party, t)->tasks[0]);
    run_one(t, 0);
    assert_trace("a! b p:0/0 ");
}

static void TG_5_body_error(void **state)
{
    (void)state;
    run_one(core_spawn(party, .name = "p", two(.ns = 2), .body = -1, .result = -ENOENT), -ENOENT);
    assert_trace("p:-2/0 ");                    // the children never ran: C-2
    aio_task *t = core_spawn(party, .name = "p",
        .children[0] = CHILD(.name = "a", .ns = 9, .refuse = true, .result = -EIO),
        .children[1] = CHILD(.name = "b", .ns = 9, .refuse = true, .result = -EDOM, .cleanup = 3),
        .body = 1, .result = -ENOENT);
    assert_result(core_run(t), -EIO);
    struct party *p = aio_task_frame(party, t);
    assert_result(aio_group_error(&p->group, 0).error, -EIO);       // as they ended, the body last
    assert_string_equal(aio_group_error(&p->group, 0).name, "nap");
    assert_result(aio_group_error(&p->group, 1).error, -EDOM);
    assert_result(aio_group_error(&p->group, 2).error, -ENOENT);
    assert_result(aio_group_error(&p->group, 2).id, 0);
    assert_result(aio_group_error(&p->group, 3).error, 0);
    aio_detach(t);
    assert_trace("a! b! b: p:-5/0 ");
}

static void TG_6_errors_beat_the_cancellation(void **state)
{
    (void)state;
    for (int bad = 0; bad < 2; bad++) {
        aio_task *t = core_spawn(party, .name = "p",
                                 two(.ns = 9, .refuse = true, .result = bad ? -EIO : 1), .body = 9);
        core_turn();
        core_turn();
        aio_task_cancel(t);
        run_one(t, bad ? -EIO : -ECANCELED);
        assert_trace(bad ? "p! a! b! p:-5/1 " : "p! a! b! p:-125/1 ");
    }
}

static void TG_7_cancels_at_the_exit_are_absorbed(void **state)
{
    (void)state;
    aio_task *t =
        core_spawn(party, .name = "p", two(.ns = 9, .cleanup = 5, .refuse = true), .body = -1);
    core_turn();
    core_turn();
    for (int i = 0; i < 3; i++) {
        aio_task_cancel(t);                     // the first one aborts, the others change nothing
        core_turn();
        core_turn();
    }
    struct party *p = aio_task_frame(party, t);
    assert_result(aio_task_cancelling(p->tasks[1]), 1);
    run_one(t, -ECANCELED);
    assert_trace("a! b! b: p:-125/3 ");
}

struct counted { aio_frame aio; struct party p; aio_result r, again; int before; };
aio_async(counted) {
    while (self->before--) {
        aio_task_cancel(me());
        aio_await(self->r, aio_next_turn());    // absorbed
    }
    aio_await(self->r,
              aio_call(&self->p, party, .name = "p", two(.ns = 2, .result = -EIO), .body = 9));
    aio_await(self->again, aio_sleep(3));
    say("then:%lld ", (long long)self->again);
    return self->r;
} aio_end
static void TG_8_the_count_is_as_before(void **state)
{
    (void)state;
    run_one(core_spawn(counted, .before = 0), -EIO);
    assert_trace("b a! p! p:-5/0 then:0 ");
}

static void TG_9_outside_cancel_is_kept(void **state)
{
    (void)state;
    aio_task *t = core_spawn(counted, .before = 0);
    core_turn();
    core_turn();
    core.loop.now = 2;
    core_turn();                                // b's timer
    core_turn();                                // b fails
    aio_task_cancel(t);                         // before the group hears of it
    run_one(t, -EIO);
    assert_trace("b p! a! p:-5/1 then:-125 ");
}

static void TG_10_the_body_swallows_the_cancel(void **state)
{
    (void)state;
    run_one(core_spawn(party, .name = "p", two(.ns = 2, .result = -EIO), .body = 9, .swallow = true,
                       .result = 4), -EIO);
    assert_trace("b a! p! p:-5/0 ");
}

struct nested {
    aio_frame aio;
    aio_group outer;
    struct party in;
    int64_t bad, inner_bad;
    aio_result r;
};
aio_async(nested) {
    aio_group_enter(&self->outer);
    aio_group_spawn(&self->outer, nap, .name = "o", .ns = self->bad, .result = -EDOM);
    aio_await(self->r, aio_call(&self->in, party, .name = "in",
                                two(.ns = self->inner_bad, .result = -EIO), .body = 50));
    if (self->r == -EIO) aio_await(self->r, aio_sleep(0));
    say("body:%lld/%u ", (long long)self->r, aio_task_cancelling(me()));
    aio_await(self->r, aio_group_exit(&self->outer, self->r));
    say("%lld/%u ", (long long)self->r, aio_task_cancelling(me()));
    return self->r;
} aio_end
static void TG_11_nested(void **state)
{
    (void)state;
    run_one(core_spawn(nested, .bad = 9, .inner_bad = 2), -EDOM);       // the inner fails
    assert_trace("b a! in! in:-5/0 body:0/0 o -33/0 ");
    run_one(core_spawn(nested, .bad = 2, .inner_bad = 9), -EDOM);       // the outer fails
    assert_trace("o in! a! b! in:-125/1 body:-125/1 -33/0 ");
    run_one(core_spawn(nested, .bad = 2, .inner_bad = 2), -EDOM);       // both in one tick
    assert_trace("o b in! a! in:-5/1 body:-125/1 -33/0 ");
}

struct awaits_child { aio_frame aio; aio_group g; aio_task *t; aio_result r; };
aio_async(awaits_child) {
    aio_group_enter(&self->g);
    self->t = aio_group_spawn(&self->g, nap, .name = "c", .ns = 2, .result = -EIO);
    aio_await(self->r, aio_future_wait(aio_task_future(self->t)));
    say("body:%lld ", (long long)self->r);
    aio_await(self->r, aio_group_exit(&self->g, self->r));
    return self->r;
} aio_end
static void TG_12_the_body_awaits_the_child_that_fails(void **state)
{
    (void)state;
    run_one(core_spawn(awaits_child), -EIO);
    assert_trace("c body:-125 ");
}

struct limited { aio_frame aio; aio_timeout limit; struct party p; int64_t ns; aio_result r; };
aio_async(limited) {
    aio_timeout_enter(&self->limit, self->ns);
    aio_await(self->r,
              aio_call(&self->p, party, .name = "p", two(.ns = 3, .result = -EIO), .body = 9));
    return aio_timeout_exit(&self->limit, self->r);
} aio_end
static void TG_13_a_limit_around_a_group(void **state)
{
    (void)state;
    run_one(core_spawn(limited, .ns = 2), -ETIMEDOUT);
    assert_trace("p! a! b! p:-125/1 ");
    run_one(core_spawn(limited, .ns = 3), -ETIMEDOUT);      // the limit's tick is the failure's
    assert_trace("p! b! a! p:-125/1 ");
}

struct eager_like { aio_frame aio; aio_group g; aio_result r; };
aio_async(eager_like) {                         // a child that fails at its first step
    aio_group_enter(&self->g);
    aio_group_spawn(&self->g, at_once, .result = -EIO);
    say("body ");
    assert_result(aio_task_cancelling(me()), 0);
    aio_group_spawn(&self->g, nap, .name = "late", .ns = 5);
    aio_await(self->r, aio_group_exit(&self->g, 0));
    return self->r;
} aio_end
static void TG_15_a_child_never_fails_inside_the_spawn(void **state)
{
    (void)state;
    run_one(core_spawn(eager_like), -EIO);
    assert_trace("body late! ");
}

struct stopped { aio_frame aio; aio_group g; int64_t when; bool before; aio_result r, inner; };
aio_async(stopped) {
    if (self->before) assert_result(aio_group_cancel(&self->g), 0);
    assert_result(aio_group_enter(&self->g), 0);
    aio_group_spawn(&self->g, nap, .name = "a", .ns = 5);
    if (!self->before) {
        aio_await(aio_sleep(self->when));
        assert_result(aio_group_cancel(&self->g), 0);
        assert_result(aio_group_cancel(&self->g), 0);
    }
    aio_await(self->inner, aio_sleep(9));
    say("body:%lld ", (long long)self->inner);
    aio_await(self->r, aio_group_exit(&self->g, self->inner));
    say("%lld/%u ", (long long)self->r, aio_task_cancelling(me()));
    aio_await(self->inner, aio_sleep(1));
    return self->inner < 0 ? self->inner : self->r;
} aio_end
static void TG_16_cancel_of_a_group(void **state)
{
    (void)state;
    run_one(core_spawn(stopped, .when = 2), 0);
    assert_trace("a! body:-125 0/0 ");
    run_one(core_spawn(stopped, .before = true), 0);        // before it is entered
    assert_trace("body:-125 0/0 ");
    aio_task *t = core_spawn(stopped, .when = 2); // a cancel from outside is not swallowed
    core_turn();
    core.loop.now += 2;
    core_turn();
    core_turn();
    aio_task_cancel(t);
    run_one(t, -ECANCELED);
    assert_trace("a! body:-125 -125/1 ");
}

// The group's own cancel is over when others ask for the end while it waits for its tasks.
struct tidies { aio_frame aio; };
aio_async(tidies) {
    aio_await(aio_sleep(1000));
    aio_await(aio_sleep(20));                   // its clean-up
    return -ECANCELED;
} aio_end
struct asked { aio_frame aio; aio_group g; bool cancelled_before; aio_result r; };
aio_async(asked) {
    if (self->cancelled_before) aio_task_cancel(me());
    if (self->cancelled_before) aio_await(aio_sleep(1));        // swallowed, and not taken back
    aio_try(aio_group_enter(&self->g));
    (void)aio_group_spawn(&self->g, tidies);
    aio_try(aio_sleep(2));
    aio_group_cancel(&self->g);
    aio_await(self->r, aio_group_exit(&self->g, 0));
    return self->r;
} aio_end
struct asks { aio_frame aio; struct asked in; aio_timeout limit; int64_t ns; bool before; aio_result r; };
aio_async(asks) {
    aio_await(self->r, aio_wait_for(self->ns, aio_call(&self->in, asked,
                                                       .cancelled_before = self->before)));
    say("%s/%u ", aio_strerror(self->r), aio_task_cancelling(me()));
    aio_try(aio_timeout_enter(&self->limit, self->ns));
    aio_await(self->r, aio_call(&self->in, asked));
    self->r = aio_timeout_exit(&self->limit, self->r);
    say("%s/%u ", aio_strerror(self->r), aio_task_cancelling(me()));
    return 0;
} aio_end
static void TG_8_a_cancel_from_outside_after_the_groups_own(void **state)
{
    (void)state;
    run_one(core_spawn(asks, .ns = 10), 0);
    assert_trace("ETIMEDOUT/0 ETIMEDOUT/0 ");
    run_one(core_spawn(asks, .ns = 100), 0);    // the control: the group's own alone
    assert_trace("OK/0 OK/0 ");
    run_one(core_spawn(asks, .ns = 100, .before = true), 0);    // nor is an older one to come out
    assert_trace("OK/1 OK/1 ");
    for (int after = 0; after < 2; after++) {
        aio_task *t = core_spawn(asked);
        core_turn();
        core.loop.now += 2;
        for (int i = 0; i < 3 + after; i++) core_turn();
        aio_task_cancel(t);
        run_one(t, -ECANCELED);
    }
}
struct before_entry { aio_frame aio; aio_group g; aio_result r; };
aio_async(before_entry) {
    aio_group_cancel(&self->g);
    aio_try(aio_group_enter(&self->g));
    assert_result(aio_task_result(aio_group_spawn(&self->g, tidies)), -EINVAL);
    aio_await(self->r, aio_sleep(5));
    say("body:%s ", aio_strerror(self->r));
    aio_await(self->r, aio_group_exit(&self->g, self->r));
    say("group:%s/%u ", aio_strerror(self->r), aio_task_cancelling(me()));
    aio_try(aio_group_enter(&self->g));         // once: it is a new group now
    aio_await(self->r, aio_sleep(5));
    say("body:%s ", aio_strerror(self->r));
    aio_await(self->r, aio_group_exit(&self->g, self->r));
    return self->r;
} aio_end
static void TG_16_cancel_before_the_entry(void **state)
{
    (void)state;
    run_one(core_spawn(before_entry), 0);
    assert_trace("body:ECANCELED group:OK/0 body:OK ");
}
// A group that forgets its ended children, in any order of their ends: the rest is still cancelled.
struct forgets { aio_frame aio; aio_group g; int order[4]; int i; aio_result r; };
struct lasts { aio_frame aio; int64_t ns; aio_result r; };
aio_async(lasts) {
    aio_await(self->r, aio_sleep(self->ns));
    say("%s ", self->r < 0 ? "cancelled" : "ended");
    return self->r;
} aio_end
aio_async(forgets) {
    static const struct aio_group_options forgetful = { .forget_ended = true };
    aio_try(aio_group_enter_with(&self->g, &forgetful));
    for (int i = 0; i < 4; i++) (void)aio_group_spawn(&self->g, lasts, .ns = self->order[i]);
    aio_try(aio_sleep(25));                     // two have ended by then
    (void)aio_group_spawn(&self->g, lasts, .ns = 1000);
    aio_try(aio_sleep(1));
    aio_group_cancel(&self->g);
    aio_await(self->r, aio_group_exit(&self->g, 0));
    return self->r;
} aio_end
static void a_forgetful_group_forgets_in_any_order(void **state)
{
    (void)state;
    for (int n = 0; n < 256; n++) {
        int order[4] = { n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6 };
        if ((1 << order[0] | 1 << order[1] | 1 << order[2] | 1 << order[3]) != 15) continue;
        aio_task *t = core_spawn(forgets);
        for (int i = 0; i < 4; i++) aio_task_frame(forgets, t)->order[i] = 10 * (order[i] + 1) - 5;
        for (int i = 0; i < 4; i++)
            if (order[i] > 1) aio_task_frame(forgets, t)->order[i] = 1000;
        run_one(t, 0);
        assert_trace("ended ended cancelled cancelled cancelled ");
    }
}

// --- contract 6
struct over { aio_frame aio; struct party in; int64_t ns; aio_result result, r; };
aio_async(over) {
    aio_await(self->r, aio_call(&self->in, party, .name = "p", two(.ns = 2, .result = self->result),
                                .body = self->ns, .over = true, .result = 7));
    say("%lld/%u ", (long long)self->r, aio_task_cancelling(me()));
    assert_null(me()->scopes);
    return self->r;
} aio_end
static void a_frame_returns_over_an_open_group(void **state)
{
    (void)state;
    run_one(core_spawn(over, .ns = 1), 7);                          // waits for its children
    run_one(core_spawn(over, .ns = 1, .result = -EIO), -EIO);
    assert_trace("b a 7/0 b a! -5/0 ");
    run_one(core_spawn(party, .name = "p", two(.ns = 2), .body = -1, .over = true, .result = -EDOM),
            -EDOM);
    aio_task *t = core_spawn(over, .ns = 1);
    core_settle();
    core.loop.now += 1;
    core_turn();
    core_settle();                              // it waits in the return
    aio_task_cancel(t);
    run_one(t, -ECANCELED);
    assert_trace("a! b! -125/1 ");
    t = core_spawn(party, .name = "p", two(.ns = 9), .body = -1, .over = true);
    core_turn();
    aio_detach(t);                              // and when the loop is closed in it
    aio_loop_close(&core.loop);
    assert_result(core_count("pending"), 3);
    core_forget_reports();
}

static struct { long calls, blocks, fail_at; } scarce;
static void *scarce_allocate(void *context, size_t size)
{
    (void)context;
    if (++scarce.calls == scarce.fail_at) return NULL;
    scarce.blocks++;
    return aligned_alloc(64, (size + 63) & ~(size_t)63);
}
static void scarce_release(void *context, void *block)
{
    (void)context;
    scarce.blocks--;
    free(block);
}
struct frugal { aio_frame aio; aio_group g; aio_result r; int i, refused; };
aio_async(frugal) {
    aio_group_enter(&self->g);
    for (self->i = 0; self->i < 20; self->i++) {
        aio_task *t = aio_group_spawn(&self->g, at_once);
        if (aio_task_frame(at_once, t)) continue;
        assert_result(aio_task_result(t), -ENOMEM);
        self->refused++;
    }
    aio_await(self->r, aio_group_exit(&self->g, 0));
    return self->r < 0 ? self->r : self->refused;
} aio_end
static void every_allocation_fails_once(void **state)
{
    (void)state;
    struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
    o.allocator.allocate = scarce_allocate;
    o.allocator.release = scarce_release;
    long refused = 0;
    for (long n = 3; n < 50; n++) {             // the loop itself and the main task are there
        memset(&scarce, 0, sizeof scarce);
        scarce.fail_at = n;
        aio_result r = aio_run_with(&o, frugal);
        assert_true(r == 0 || r == 1);
        refused += r;
        assert_result(scarce.blocks, 0);
    }
    assert_true(refused >= 40);
}
struct again { aio_frame aio; struct party p; int rounds; long calls; };
aio_async(again) {
    for (self->rounds = 0; self->rounds < 10; self->rounds++) {
        if (self->rounds == 2) self->calls = core.memory.calls;
        aio_await(aio_call(&self->p, party, .name = "", two(.ns = 3, .result = -EIO), .body = 1));
    }
    return core.memory.calls - self->calls;
} aio_end
static void no_malloc_once_warm(void **state)
{
    (void)state;
    run_one(core_spawn(again), 0);
    core.trace[core.trace_at = 0] = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        core_test(TG_1_misuse_and_spawns_while_it_exits),
        core_test(TG_2_siblings_first_then_the_parent),
        core_test(TG_3_siblings_in_order_of_creation),
        core_test(TG_4_a_cancelled_child_is_no_error),
        core_test(TG_5_body_error),
        core_test(TG_6_errors_beat_the_cancellation),
        core_test(TG_7_cancels_at_the_exit_are_absorbed),
        core_test(TG_8_the_count_is_as_before),
        core_test(TG_9_outside_cancel_is_kept),
        core_test(TG_10_the_body_swallows_the_cancel),
        core_test(TG_11_nested),
        core_test(TG_12_the_body_awaits_the_child_that_fails),
        core_test(TG_13_a_limit_around_a_group),
        core_test(TG_15_a_child_never_fails_inside_the_spawn),
        core_test(TG_16_cancel_of_a_group),
        core_test(TG_8_a_cancel_from_outside_after_the_groups_own),
        core_test(TG_16_cancel_before_the_entry),
        core_test(a_forgetful_group_forgets_in_any_order),
        core_test(a_frame_returns_over_an_open_group),
        core_test(every_allocation_fails_once),
        core_test(no_malloc_once_warm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
