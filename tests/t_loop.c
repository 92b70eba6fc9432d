// The loop: rules L-1 to L-15 and L-17, H-8; stop, close, run_until_complete, nested runs.
#include "core.h"

#include <pthread.h>

struct forever { aio_frame aio; };
aio_async(forever) { aio_try(aio_sleep(AIO_FOREVER)); return 0; } aio_end
struct step { aio_frame aio; const char *name; int turns; aio_result result; };
aio_async(step) {
    while (self->turns--) {
        say("%s ", self->name);
        aio_try(aio_next_turn());
    }
    say("%s. ", self->name);
    return self->result;
} aio_end
struct waits { aio_frame aio; aio_future *f; const char *name; };
aio_async(waits) {
    aio_result r;
    aio_await(r, aio_future_wait(self->f));
    say("%s:%lld ", self->name, (long long)r);
    return r;
} aio_end

// A callback that says its word and then does what it was told to.
struct act {
    aio_handle h;
    const char *word;
    struct act *adds, *cancels;
    bool stops, again;
    int result;
    aio_future *sets;
};
static int act(void *arg)
{
    struct act *a = (struct act *)arg;
    say("%s ", a->word);
    if (a->adds) aio_call_soon(&core.loop, &a->adds->h, act, a->adds);
    if (a->cancels) aio_handle_cancel(&a->cancels->h);
    if (a->stops) aio_loop_stop(&core.loop);
    if (a->sets) aio_future_set_result(a->sets, 1);
    if (a->again) aio_call_soon(&core.loop, &a->h, act, a);
    return a->result;
}
static void soon(struct act *a) { assert_result(aio_call_soon(&core.loop, &a->h, act, a), 0); }
static void later(struct act *a, int64_t ns)
{
    assert_result(aio_call_later(&core.loop, &a->h, ns, act, a), 0);
}

// A backend that says when it is asked to wait, and how long.
static aio_future *backend_sets;
static void poll_say(aio_loop *l, int64_t timeout_ns)
{
    if (timeout_ns == AIO_FOREVER) say("[forever] ");
    else say("[%lld] ", (long long)timeout_ns);
    if (backend_sets) {
        aio_future_set_result(backend_sets, 1);
        backend_sets = NULL;
        l->in_flight = 0;
    }
}
static void nothing(aio_loop *l) { (void)l; }
static const aio_backend fake = { "fake", poll_say, NULL, nothing, nothing, NULL };

static void L_1_L_2_L_6_a_turn_polls_then_runs_what_was_ready(void **state)
{
    (void)state;
    struct act b = { .word = "b" }, a = { .word = "a", .adds = &b }, c = { .word = "c" };
    core.loop.backend = &fake;
    soon(&a);
    soon(&c);
    core_turn();
    assert_trace("[0] a c ");               // b was added meanwhile: after another poll
    core_turn();
    assert_trace("[0] b ");
    b.stops = true;
    later(&b, AIO_SECOND);
    assert_result(aio_loop_run_forever(&core.loop), 0);
    assert_trace("[0] b ");                 // virtual: jumped, polled without waiting
    assert_result(aio_loop_time(&core.loop), AIO_SECOND);
}

static void L_1_the_timeout_of_a_poll(void **state)
{
    (void)state;
    aio_loop_close(&core.loop);
    struct aio_loop_options o = core_options(AIO_CLOCK_MONOTONIC);
    assert_result(aio_loop_init(&core.loop, &o), 0);
    core.loop.backend = &fake;
    core.loop.in_flight = 1;                // else nothing could come
    struct act a = { .word = "a" }, late = { .word = "late" };
    assert_result(aio__patience(&core.loop), AIO_FOREVER);
    later(&a, AIO_SECOND * 3600 * 48);      // H-7: more than 24 h are waited for as they are
    int64_t patience = aio__patience(&core.loop);
    assert_true(patience > AIO_SECOND * (3600 * 48 - 60) && patience <= AIO_SECOND * 3600 * 48);
    aio_loop_stop(&core.loop);
    assert_result(aio__patience(&core.loop), 0);
    core.loop.stopping = false;
    aio_handle_cancel(&a.h);
    assert_result(aio__patience(&core.loop), AIO_FOREVER);
    assert_result(aio_call_at(&core.loop, &late.h, INT64_MIN, act, &late), 0);  // as past as can be
    assert_result(aio__patience(&core.loop), 0);
    aio_handle_cancel(&late.h);
    assert_result(aio_call_at(&core.loop, &late.h, AIO_FOREVER, act, &late), 0);
    assert_result(aio__patience(&core.loop), AIO_FOREVER);
    aio_handle_cancel(&late.h);
    core.loop.in_flight = 0;
}

static void L_3_ready_then_io_then_timers(void **state)
{
    (void)state;
    struct act a = { .word = "ready" }, t = { .word = "timer" };
    static aio_future f;
    aio_detach(core_spawn(waits, .f = &f, .name = "io"));
    core_turn();
    core.loop.backend = &fake;
    later(&t, 5);
    core.loop.now = 10;                     // overdue, and yet behind
    soon(&a);
    backend_sets = &f;
    core_turn();
    assert_trace("[0] ready io:1 timer ");
}

static void L_4_one_queue_for_all(void **state)
{
    (void)state;
    aio_future f = { 0 };
    struct act a = { .word = "a" }, b = { .word = "b" };
    aio_detach(core_spawn(waits, .f = &f, .name = "w"));
    core_turn();
    aio_detach(core_spawn(step, .name = "t1"));
    soon(&a);
    aio_future_set_result(&f, 1);
    aio_detach(core_spawn(step, .name = "t2"));
    soon(&b);
    core_turn();
    assert_trace("t1. a w:1 t2. b ");
}

static void L_5_cancelled_earlier_in_the_batch(void **state)
{
    (void)state;
    struct act b = { .word = "b" }, a = { .word = "a", .cancels = &b };
    struct act c = { .word = "c", .cancels = &c };
    struct act late = { .word = "late" };
    soon(&a);
    soon(&b);
    soon(&c);                               // cancels itself: harmless
    core_turn();
    assert_trace("a c ");
    core_turn();
    assert_trace("");
    later(&a, 1);                           // H-5: the same for timers of one batch
    later(&b, 1);
    later(&late, 2);
    a.cancels = &b;
    core.loop.now = 2;
    core_turn();
    assert_trace("a late ");
    assert_result(core.loop.executor.slots, 0);
}

static void L_7_stop(void **state)
{
    (void)state;
    struct act c = {.word = "c"}, b = {.word = "b", .adds = &c}, a = {.word = "a", .stops = true};
    soon(&a);
    soon(&b);
    assert_result(aio_loop_run_forever(&core.loop), 0);
    assert_trace("a b ");                   // the batch is finished, c stays queued
    core.loop.backend = &fake;
    aio_loop_stop(&core.loop);
    assert_result(aio_loop_run_forever(&core.loop), 0);
    assert_trace("[0] c ");
    aio_loop_stop(&core.loop);              // exactly one turn, which does not wait
    assert_result(aio_loop_run_forever(&core.loop), 0);
    assert_trace("[0] ");
}

static void L_8_run_until_complete(void **state)
{
    (void)state;
    struct act a = { .word = "a" }, b = { .word = "b" };
    aio_task *t = core_spawn(step, .name = "t", .result = -EIO);
    soon(&a);
    a.adds = &b;
    b.again = true;
    assert_result(core_run(t), -EIO);
    assert_trace("t. a b ");                // b ran in the turn of the done-callback
    aio_detach(t);
    assert_reports("");                     // its error was seen
    core_turn();
    assert_trace("b ");
    aio_handle_cancel(&b.h);
    t = core_spawn(step, .name = "t", .result = 4);
    core_settle();
    soon(&a);
    a.adds = NULL;
    assert_result(core_run(t), 4);          // done already: one turn
    assert_trace("t. a ");
    aio_detach(t);
    aio_future f = { 0 };
    struct act sets = { .word = "sets", .sets = &f };
    later(&sets, 5);
    assert_result(core_run(&f), 1);
    assert_trace("sets ");
    assert_result(core.loop.executor.slots, 0);
}

static void L_9_stopped_before_the_end(void **state)
{
    (void)state;
    aio_task *t = core_spawn(forever);
    struct act stop = { .word = "stop", .stops = true };
    soon(&stop);
    assert_result(core_run(t), -EINPROGRESS);
    assert_null(t->waiter.future.watchers); // it took its callback back
    soon(&stop);
    assert_result(core_run(t), -EINPROGRESS);
    assert_result(core.loop.executor.slots, 1);
    aio_task_cancel(t);
    core_settle();
    aio_detach(t);
    assert_trace("stop stop ");
}
// Stopped in the very turn in which the future ends: its callback is queued, and taken back.
static void L_8_L_9_stopped_in_the_turn_of_the_end(void **state)
{
    (void)state;
    aio_future f = { 0 };
    struct act both = { .word = "both", .sets = &f, .stops = true }, n = { .word = "n" };
    soon(&both);
    assert_result(core_run(&f), 1);
    soon(&n);
    n.again = true;
    both.stops = false;
    aio_task *t = core_spawn(step, .name = "t", .turns = 3);
    assert_result(core_run(t), 0);          // nothing left over stops the next run
    assert_trace("both n t n t n t n t. n ");
    aio_detach(t);
    aio_handle_cancel(&n.h);
}
static int destroys(void *arg)
{
    aio_future_destroy((aio_future *)arg);
    free(arg);
    return 0;
}
static void L_8_a_future_is_destroyed_under_the_run(void **state)
{
    (void)state;
    aio_handle h;
    aio_future *f = (aio_future *)calloc(1, sizeof *f);
    assert_result(aio_call_soon(&core.loop, &h, destroys, f), 0);
    assert_result(core_run(f), -ECANCELED);
    assert_result(core.loop.executor.slots, 0);
}

// --- nested runs
struct nests { aio_frame aio; aio_loop *loop; aio_task *t; int how; aio_result r; };
struct nested { aio_frame aio; };
aio_async(nested) { say("nested "); return 5; } aio_end
static aio_result nest(struct nests *n)
{
    aio_task *me = aio_current_task();
    struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
    aio_result r;
    switch (n->how) {
    case 0: r = aio_loop_run_until_complete(n->loop, n->t); break;
    case 1: r = aio_loop_run_forever(n->loop); break;
    case 2: r = aio_run_with(&o, nested); break;
    default: r = aio_loop_close(n->loop); break;
    }
    assert_ptr_equal(aio_current_task(), me);
    assert_ptr_equal(aio_running_loop(), &core.loop);
    assert_true(aio_loop_is_running(&core.loop));
    return r;
}
aio_async(nests) {
    self->r = nest(self);
    aio_try(aio_next_turn());
    aio_try(aio_sleep(AIO_SECOND));
    aio_detach(aio_spawn(step, .name = "after"));
    aio_try(aio_next_turn());
    say("%d:%lld ", self->how, (long long)self->r);
    return self->r;
} aio_end
static void L_10_L_11_nested_runs_are_refused(void **state)
{
    (void)state;
    aio_loop other;
    struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
    assert_result(aio_loop_init(&other, &o), 0);
    aio_task *here = core_spawn(forever), *there = aio_spawn_on(&other, forever);
    for (int how = 0; how < 8; how++) {
        aio_loop *l = how < 4 ? &core.loop : &other;
        if (how == 7) break;                // closing another loop that does not run is fine
        aio_task *t = core_spawn(nests, .loop = l, .t = l == &other ? there : here, .how = how % 4);
        assert_result(core_run(t), -EBUSY);
        if (how % 4 != 3) {
            assert_result(core_count("run refused: "), 1);
            bool same_loop = l == &core.loop && how % 4 != 2;
            assert_result(core_count(same_loop ? "this loop is running" : "another loop runs"), 1);
            assert_result(core_count("EBUSY"), 1);
        }
        core_forget_reports();
        aio_detach(t);
    }
    assert_trace("after. 0:-16 after. 1:-16 after. 2:-16 after. 3:-16 "
                 "after. 0:-16 after. 1:-16 after. 2:-16 ");
    assert_false(aio_loop_is_running(&core.loop));
    aio_loop_stop(&other);
    assert_result(aio_loop_run_forever(&other), 0);     // not disturbed either
    assert_result(aio_loop_close(&other), 0);
    aio_task_cancel(here);
    core_settle();
    aio_detach(here);
    (void)there;
    core_forget_reports();
}

struct inner { aio_frame aio; aio_task *t; };
aio_async(inner) {
    say("inner ");
    self->t = aio_spawn(step, .name = "s", .turns = 2, .result = 6);
    aio_result r = aio_loop_run_until_complete(&core.loop, self->t);
    aio_detach(self->t);
    assert_ptr_equal(aio_task_frame(inner, aio_current_task()), self);
    say("inner:%lld ", (long long)r);
    return r;
} aio_end
static void L_10_allow_nested(void **state)
{
    (void)state;
    core.loop.options.allow_nested = true;
    aio_task *bystander = core_spawn(step, .name = "b", .turns = 4);
    aio_task *t = core_spawn(inner);
    aio_detach(core_spawn(step, .name = "c", .turns = 1));
    assert_result(core_run(t), 6);
    assert_trace("b inner c b s c. b s b s. b. inner:6 ");
    core_settle();
    aio_detach(t);
    aio_detach(bystander);
    core.trace[core.trace_at = 0] = 0;
}
// What an outer run waits for ends in a nested run: the nested one goes on.
struct outlasts { aio_frame aio; aio_future *outer; aio_task *t; };
aio_async(outlasts) {
    aio_future_set_result(self->outer, 3);
    self->t = aio_spawn(step, .name = "s", .turns = 3, .result = 6);
    aio_result r = aio_loop_run_until_complete(&core.loop, self->t);
    aio_detach(self->t);
    say("%lld ", (long long)r);
    return 0;
} aio_end
static void L_8_L_10_the_outer_run_ends_first(void **state)
{
    (void)state;
    core.loop.options.allow_nested = true;
    aio_future f = { 0 };
    aio_task *t = core_spawn(outlasts, .outer = &f);
    assert_result(core_run(&f), 3);
    assert_trace("s s s s. 6 ");
    assert_true(aio_task_done(t));
    aio_detach(t);
}
// Two runs of the same future: each takes back its own callback only.
struct same { aio_frame aio; aio_future *f; };
static struct act stopper = { .word = "stop", .stops = true };
aio_async(same) {
    soon(&stopper);
    say("%lld ", (long long)aio_loop_run_until_complete(&core.loop, self->f));
    aio_try(aio_sleep(AIO_SECOND));
    aio_future_set_result(self->f, 8);
    return 0;
} aio_end
static void L_8_L_10_two_runs_wait_for_one_future(void **state)
{
    (void)state;
    core.loop.options.allow_nested = true;
    aio_future f = { 0 };
    aio_detach(core_spawn(same, .f = &f));
    assert_result(core_run(&f), 8);
    assert_trace("stop -115 ");
}

// --- close
static void L_12_close(void **state)
{
    (void)state;
    struct act a = { .word = "a" }, b = { .word = "b" };
    aio_future f = { 0 };
    aio_task *t = core_spawn(nests, .loop = &core.loop, .how = 3);
    assert_result(core_run(t), -EBUSY);     // while it runs
    aio_detach(t);
    core.trace[core.trace_at = 0] = 0;
    soon(&a);
    later(&b, 5);
    assert_false(aio_loop_is_closed(&core.loop));
    assert_result(aio_loop_close(&core.loop), 0);
    assert_true(aio_loop_is_closed(&core.loop));
    assert_result(aio_loop_close(&core.loop), 0);
    assert_result(core.memory.blocks, 0);
    assert_result(aio_call_soon(&core.loop, &a.h, act, &a), -EBADFD);
    assert_result(aio_call_later(&core.loop, &a.h, 1, act, &a), -EBADFD);
    assert_result(aio_call_at(&core.loop, &a.h, 1, act, &a), -EBADFD);
    assert_result(aio_call_at(&core.loop, &a.h, AIO_FOREVER, act, &a), -EBADFD);
    assert_result(aio_call_soon_threadsafe(&core.loop, &a.h, act, &a), -EBADFD);
    assert_result(aio_loop_run_forever(&core.loop), -EBADFD);
    assert_result(aio_loop_run_until_complete(&core.loop, &f), -EBADFD);
    assert_result(core_count("the loop is closed"), 2);
    core_forget_reports();
    aio_handle_cancel(&a.h);
    aio_handle_cancel(&b.h);
    assert_null(aio_task_first(&core.loop));
    assert_trace("");
}

static void *in_thread(void *arg)
{
    aio_result *r = (aio_result *)arg;
    assert_null(aio_running_loop());
    assert_null(aio_current_task());
    r[0] = aio_loop_run_forever(&core.loop);
    r[1] = aio_loop_close(&core.loop);
    r[2] = aio_task_result(aio_spawn(forever));
    return NULL;
}
static void L_13_L_15_another_thread(void **state)
{
    (void)state;
    pthread_t thread;
    aio_result r[3];
    core_turn();                            // this thread owns it now
    assert_int_equal(pthread_create(&thread, NULL, in_thread, r), 0);
    pthread_join(thread, NULL);
    assert_result(r[0], -EPERM);
    assert_result(r[1], -EPERM);
    assert_result(r[2], -EINVAL);
    assert_result(core_count("another thread"), 1);
    core_forget_reports();
    core_turn();
}
static void *runs_and_closes(void *arg)
{
    aio_task *t = (aio_task *)arg;
    assert_result(core_run(t), 3);
    aio_detach(t);
    assert_result(aio_loop_close(&core.loop), 0);
    return NULL;
}
static void L_13_the_first_to_run_it_owns_it(void **state)
{
    (void)state;
    pthread_t thread;
    aio_task *t = core_spawn(step, .name = "t", .result = 3);
    assert_int_equal(pthread_create(&thread, NULL, runs_and_closes, t), 0);
    pthread_join(thread, NULL);
    assert_true(aio_loop_is_closed(&core.loop));
    assert_trace("t. ");
}

static void L_14_threadsafe_callbacks_in_their_place(void **state)
{
    (void)state;
    struct act a = { .word = "a" }, b = { .word = "b" }, c = { .word = "c" }, d = { .word = "d" };
    assert_result(aio_call_soon_threadsafe(&core.loop, &a.h, act, &a), 0);
    assert_result(aio_call_soon_threadsafe(&core.loop, &b.h, act, &b), 0);
    assert_result(aio_call_soon_threadsafe(&core.loop, &c.h, act, &c), 0);
    assert_result(aio_call_soon_threadsafe(&core.loop, &d.h, act, &d), 0);
    aio_handle_cancel(&d.h);                // still in the inbox: the last, the first, one between
    aio_handle_cancel(&d.h);
    core_turn();
    assert_trace("a b c ");
    aio_call_soon_threadsafe(&core.loop, &a.h, act, &a);
    aio_call_soon_threadsafe(&core.loop, &b.h, act, &b);
    aio_call_soon_threadsafe(&core.loop, &c.h, act, &c);
    aio_handle_cancel(&b.h);
    core_turn();
    assert_trace("a c ");
    aio_call_soon_threadsafe(&core.loop, &a.h, act, &a);
    aio_handle_cancel(&a.h);
    aio_call_soon_threadsafe(&core.loop, &b.h, act, &b);
    core_turn();
    assert_trace("b ");
    aio_call_soon_threadsafe(&core.loop, &a.h, act, &a);
    a.cancels = &b;                         // drained into the same batch already
    aio_call_soon_threadsafe(&core.loop, &b.h, act, &b);
    core_turn();
    assert_trace("a ");
    aio_call_soon_threadsafe(&core.loop, &a.h, act, &a);
    aio_handle_cancel(&a.h);                // the inbox is empty again, and works
    core_turn();
    aio_call_soon_threadsafe(&core.loop, &c.h, act, &c);
    core_turn();
    assert_trace("c ");
    assert_result(core.loop.executor.slots, 0);
}

static void L_17_an_error_in_a_callback_is_reported(void **state)
{
    (void)state;
    struct act a = { .word = "a", .result = -EIO }, b = { .word = "b", .result = 1 };
    struct act c = { .word = "c", .result = -EPIPE };
    soon(&a);
    soon(&b);
    later(&c, 0);
    core_turn();
    assert_trace("a b c ");
    assert_reports("a callback failed: EIO: -\na callback failed: EPIPE: -\n");
}

// --- handles and the ready ring
static void H_8_handles(void **state)
{
    (void)state;
    struct act a = { .word = "a" };
    memset(&a.h, 0, sizeof a.h);
    aio_handle_cancel(&a.h);                // never used
    soon(&a);
    aio_handle_cancel(&a.h);
    aio_handle_cancel(&a.h);
    soon(&a);                               // at once again
    core_turn();
    assert_trace("a ");
    aio_handle_cancel(&a.h);                // has run
    later(&a, 7);
    assert_result(a.h.node.u.timer.when, 7);
    aio_handle_cancel(&a.h);
    aio_handle_cancel(&a.h);
    assert_result(core.loop.timer_count, 0);
    struct act again = { .word = "x", .again = true };      // reused from inside its own callback
    soon(&again);
    core_turn();
    core_turn();
    aio_handle_cancel(&again.h);
    core_turn();
    assert_trace("x x ");
    assert_result(core.loop.executor.slots, 0);
}
static void H_8_tombstones_do_not_break_the_ring(void **state)
{
    (void)state;
    static struct act a = { .word = "a" };
    struct act keep = { .word = "keep" };
    soon(&keep);
    for (int i = 0; i < 100000; i++) {      // in one batch: the ring grows
        soon(&a);
        aio_handle_cancel(&a.h);
    }
    uint64_t turns = aio_loop_turn(&core.loop);
    core_turn();
    assert_trace("keep ");
    for (int i = 0; i < 100000; i++) {      // in many: it does not
        soon(&a);
        aio_handle_cancel(&a.h);
        if (i % 3 == 0) core_turn();
    }
    assert_result(aio_loop_turn(&core.loop) - turns, 1);    // a turn of tombstones is none
    core_turn();
    assert_result(core.loop.executor.slots, 0);
    assert_true(core.loop.executor.mask < 262144);
}
// The ring grows while a batch runs, at every place of head and tail.
struct grows { aio_frame aio; int n; };
aio_async(grows) {
    for (int i = 0; i < self->n; i++) aio_detach(aio_spawn(step, .name = "x"));
    say("| ");
    return 0;
} aio_end
static void L_2_the_ring_grows_during_a_batch(void **state)
{
    (void)state;
    for (int shift = 0; shift < 17; shift++) {
        aio_loop_close(&core.loop);
        core_setup(NULL);
        struct act a = { .word = "a" }, b = { .word = "b" };
        for (int i = 0; i < shift; i++) {
            soon(&a);
            core_turn();
        }
        core.trace[core.trace_at = 0] = 0;
        aio_detach(core_spawn(grows, .n = 40));
        soon(&a);
        aio_detach(core_spawn(step, .name = "t"));
        soon(&b);
        core_turn();
        assert_trace("| a t. b ");
        core_turn();
        assert_result(strlen(core.trace), 40 * 3);
    }
}
static void T_6_L_4_turn_counts(void **state)
{
    (void)state;
    struct act a = { .word = "a" };
    assert_result(aio_loop_turn(&core.loop), 0);
    core_turn();
    assert_result(aio_loop_turn(&core.loop), 0);
    soon(&a);
    core_turn();
    assert_result(aio_loop_turn(&core.loop), 1);
    assert_trace("a ");
}
static void E_1_names_of_results(void **state)
{
    (void)state;
    assert_string_equal(aio_strerror(0), "OK");
    assert_string_equal(aio_strerror(7), "OK");
    assert_string_equal(aio_strerror(-ECANCELED), "ECANCELED");
    assert_string_equal(aio_strerror(-ETIMEDOUT), "ETIMEDOUT");
    assert_string_equal(aio_strerror(-99999), "unknown error");
    assert_string_equal(aio_strerror(INT64_MIN), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        core_test(L_1_L_2_L_6_a_turn_polls_then_runs_what_was_ready),
        core_test(L_1_the_timeout_of_a_poll),
        core_test(L_3_ready_then_io_then_timers),
        core_test(L_4_one_queue_for_all),
        core_test(L_5_cancelled_earlier_in_the_batch),
        core_test(L_7_stop),
        core_test(L_8_run_until_complete),
        core_test(L_9_stopped_before_the_end),
        core_test(L_8_L_9_stopped_in_the_turn_of_the_end),
        core_test(L_8_a_future_is_destroyed_under_the_run),
        core_test(L_10_L_11_nested_runs_are_refused),
        core_test(L_10_allow_nested),
        core_test(L_8_L_10_the_outer_run_ends_first),
        core_test(L_8_L_10_two_runs_wait_for_one_future),
        core_test(L_12_close),
        core_test(L_13_L_15_another_thread),
        core_test(L_13_the_first_to_run_it_owns_it),
        core_test(L_14_threadsafe_callbacks_in_their_place),
        core_test(L_17_an_error_in_a_callback_is_reported),
        core_test(H_8_handles),
        core_test(H_8_tombstones_do_not_break_the_ring),
        core_test(L_2_the_ring_grows_during_a_batch),
        core_test(T_6_L_4_turn_counts),
        core_test(E_1_names_of_results),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
