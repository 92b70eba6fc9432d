// Generators: rules AG-1 to AG-3, and generators that a frame returns over (contract 6).
#define AIO_SLAB_BYTES_MIN 16       // every block is an allocation: each one can fail
#define AIO_SLAB_BYTES_MAX 64
#include "actors.h"

// Yields 1, 2, 3; between them it sleeps. On its way out it says so and awaits in its cleanup.
struct counter {
    aio_frame aio;
    int value;
    const char *name;
    int64_t ns, cleanup, limit;     // limit: a timeout over its yields
    int stubborn;                   // yields that often although it was closed
    aio_result result, r;
    aio_timeout scope;
    aio_group group;
    bool has_group;
};
aio_drop(counter) {
    say("%s:drop(%lld) ", self->name, (long long)dropped);
    return 0;
} aio_end
aio_async(counter) {
    if (self->limit) assert_result(aio_timeout_enter(&self->scope, self->limit), 0);
    if (self->has_group) {
        assert_result(aio_group_enter(&self->group), 0);
        aio_group_spawn(&self->group, nap, .name = "child", .ns = AIO_FOREVER);
    }
    for (self->value = 0; self->value < 3;) {
        if (self->ns) aio_await(self->r, aio_sleep(self->ns));
        if (self->r < 0) break;
        aio_yield(self->r, self->value + 1);
        while (self->r < 0 && self->stubborn) {
            self->stubborn--;
            aio_yield(self->r, 99);
        }
        if (self->r < 0) break;
    }
    say("%s%s ", self->name, self->r == -ESHUTDOWN ? ":closed" : self->r < 0 ? ":error" : ":end");
    if (self->cleanup) {
        aio_result r;
        aio_await(r, aio_sleep(self->cleanup));
        say("%s:clean%lld ", self->name, (long long)r);
    }
    return self->r < 0 && self->r != -ESHUTDOWN ? self->r : self->result;
} aio_end

enum { ALL = 100 };
struct user {
    aio_frame aio;
    struct counter gen;
    int take;                       // items; ALL: to the end
    bool close, over;
    int64_t ns, cleanup, limit;
    int stubborn;
    bool has_group;
    aio_result result, r;
};
aio_async(user) {
    self->r =
        aio_gen_init(&self->gen, counter, .name = "g", .ns = self->ns, .cleanup = self->cleanup,
                     .limit = self->limit, .stubborn = self->stubborn, .has_group = self->has_group,
                     .result = self->result);
    if (self->r < 0) return self->r;
    for (self->r = 1; self->take-- && self->r > 0;) {
        aio_await(self->r, aio_next(&self->gen));
        if (self->r > 0) say("%d ", aio_gen_value(&self->gen));
    }
    if (self->over) return self->r;
    if (self->close) {
        aio_result r;
        aio_await(r, aio_gen_close(&self->gen));
        say("close:%lld ", (long long)r);
        aio_await(r, aio_next(&self->gen));
        say("next:%lld ", (long long)r);
        aio_await(r, aio_gen_close(&self->gen));
        assert_result(r, 0);
    }
    say("done:%lld ", (long long)self->r);
    return self->r;
} aio_end
static void run_one(aio_task *t, aio_result expected)
{
    assert_result(core_run(t), expected);
    aio_detach(t);
    assert_result(core.loop.executor.live, 0);
    assert_result(core.loop.timer_count, 0);
}

static void AG_1_values_and_the_end(void **state)
{
    (void)state;
    run_one(core_spawn(user, .take = ALL), 0);
    assert_trace("1 2 3 g:end done:0 ");
    run_one(core_spawn(user, .take = ALL, .ns = 5, .cleanup = 2), 0);
    assert_result(now(), 17);
    assert_trace("1 2 3 g:end g:clean0 done:0 ");
    run_one(core_spawn(user, .take = ALL, .result = -EIO), -EIO);       // its own error
    assert_trace("1 2 3 g:end done:-5 ");
}
struct racer { aio_frame aio; struct counter *gen; const char *name; aio_result r; };
aio_async(racer) {
    aio_await(self->r, aio_next(self->gen));
    say("%s:%lld ", self->name, (long long)self->r);
    return 0;
} aio_end
struct race { aio_frame aio; struct counter gen; aio_task *tasks[2]; aio_result r; };
aio_async(race) {
    aio_gen_init(&self->gen, counter, .name = "g", .ns = 5);
    self->tasks[0] = aio_spawn(racer, .gen = &self->gen, .name = "a");
    self->tasks[1] = aio_spawn(racer, .gen = &self->gen, .name = "b");
    aio_await(aio_next_turn());
    aio_await(self->r, aio_gen_close(&self->gen));
    assert_result(self->r, -EBUSY);                 // a's next runs it
    aio_await(aio_gather(self->tasks, NULL, 2));
    aio_await(self->r, aio_gen_close(&self->gen));
    return self->r;
} aio_end
static void AG_1_one_next_at_a_time(void **state)
{
    (void)state;
    run_one(core_spawn(race), 0);
    assert_trace("b:-16 a:1 g:closed ");
}
struct forgetful { aio_frame aio; struct counter gen; aio_result r; };
aio_async(forgetful) {
    aio_await(self->r, aio_next(&self->gen));       // aio_gen_init is missing
    assert_result(self->r, -EINVAL);
    aio_await(self->r, aio_gen_close(&self->gen));
    return self->r;
} aio_end
static void next_without_init(void **state)
{
    (void)state;
    run_one(core_spawn(forgetful), 0);
}

static void AG_2_close(void **state)
{
    (void)state;
    run_one(core_spawn(user, .take = 0, .close = true), 1);             // never started: dropped
    assert_trace("g:drop(-125) close:0 next:0 done:1 ");
    run_one(core_spawn(user, .take = 2, .close = true, .cleanup = 2), 1);
    assert_trace("1 2 g:closed g:clean0 close:0 next:0 done:1 ");
    run_one(core_spawn(user, .take = ALL, .close = true), 0);           // at its end already
    assert_trace("1 2 3 g:end close:0 next:0 done:0 ");
    run_one(core_spawn(user, .take = 1, .close = true, .result = -EDOM), 1);
    assert_trace("1 g:closed close:-33 next:0 done:1 ");
    run_one(core_spawn(user, .take = 1, .close = true, .stubborn = 1), 1);
    assert_trace("1 close:-22 g:end next:0 done:1 ");                // it yields although closed
}

static void AG_2_cancelled_while_it_closes(void **state)
{
    (void)state;
    aio_task *t = core_spawn(user, .take = 1, .close = true, .cleanup = 5);
    core_turn();
    aio_task_cancel(t);
    run_one(t, 1);
    assert_trace("1 g:closed g:clean-125 close:0 next:0 done:1 ");
    t = core_spawn(user, .take = ALL, .ns = 5);     // cancelled in the generator's own await
    core_turn();
    aio_task_cancel(t);
    run_one(t, -ECANCELED);
    assert_trace("g:error done:-125 ");
}

static void AG_3_what_is_open_at_the_end_is_closed(void **state)
{
    (void)state;
    run_one(core_spawn(user, .take = 1, .over = true, .cleanup = 5), 1); // by the frame's return
    assert_trace("1 g:closed g:clean0 ");
    run_one(core_spawn(user, .take = 0, .over = true), 1);
    assert_trace("g:drop(-125) ");
    aio_task *t = core_spawn(user, .take = 1, .over = true, .cleanup = 5);
    core_turn();
    aio_task_cancel(t);                             // in the cleanup, in the return
    run_one(t, 1);
    assert_trace("1 g:closed g:clean-125 ");
    t = core_spawn(user, .take = ALL, .ns = 5);     // by the end of the loop: dropped, not resumed
    core_turn();
    aio_detach(t);
    aio_loop_close(&core.loop);
    assert_trace("g:drop(-125) ");
    assert_result(core_count("pending"), 1);
    core_forget_reports();
}

static void one_that_never_stops_yielding_is_dropped_with_its_scopes(void **state)
{
    (void)state;
    run_one(core_spawn(user, .take = 1, .over = true, .stubborn = 9, .limit = 50), 1);
    assert_trace("1 g:drop(-125) ");
    run_one(
        core_spawn(user, .take = 1, .over = true, .stubborn = 9, .has_group = true, .limit = 50),
        1);
    assert_trace("1 g:drop(-125) ");                // its child never ran
    assert_result(now(), 0);
    run_one(core_spawn(user, .take = 2, .ns = 5, .over = true, .stubborn = 9, .has_group = true),
            1);
    assert_trace("1 2 g:drop(-125) child! ");
}

static void scopes_of_a_generator_end_with_it(void **state)
{
    (void)state;
    run_one(core_spawn(user, .take = ALL, .limit = 50, .has_group = true, .ns = 5), -ETIMEDOUT);
    assert_result(now(), 50); // its group waits for the child, its limit ends that
    assert_trace("1 2 3 g:end child! done:-110 ");
    run_one(core_spawn(user, .take = 1, .over = true, .limit = 50, .has_group = true, .ns = 5), 1);
    assert_trace("1 g:closed child! ");
    assert_reports("a generator failed while it was closed: ETIMEDOUT: -\n");  // nobody else could
}

// A loop opens one after the other in the same storage: the one before was left at a yield.
struct reuse { aio_frame aio; struct counter gen; int i; aio_result r; };
aio_async(reuse) {
    for (self->i = 0; self->i < 3; self->i++) {
        assert_result(aio_gen_init(&self->gen, counter, .name = "g"), 0);
        aio_try(aio_next(&self->gen));
        aio_try(aio_gen_close(&self->gen));
    }
    return 0;
} aio_end
static void storage_is_used_again(void **state)
{
    (void)state;
    run_one(core_spawn(reuse), 0);
    assert_trace("g:closed g:closed g:closed ");
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
static void every_allocation_fails_once(void **state)
{
    (void)state;
    struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
    o.allocator.allocate = scarce_allocate;
    o.allocator.release = scarce_release;
    int refused = 0;
    for (long n = 3; n < 20; n++) {
        memset(&scarce, 0, sizeof scarce);
        scarce.fail_at = n;
        aio_result r = aio_run_with(&o, user, .take = 1, .close = true, .ns = 5);
        assert_true(r == 1 || r == -ENOMEM);
        refused += r == -ENOMEM || strstr(core.trace, "close:-12") != NULL;
        assert_result(scarce.blocks, 0);
        core.trace[core.trace_at = 0] = 0;
        core_forget_reports();
    }
    assert_true(refused >= 2);
}
struct again { aio_frame aio; struct reuse in; int rounds; long calls; };
aio_async(again) {
    for (self->rounds = 0; self->rounds < 10; self->rounds++) {
        if (self->rounds == 2) self->calls = core.memory.calls;
        aio_try(aio_call(&self->in, reuse));
    }
    return core.memory.calls - self->calls;
} aio_end
static void no_malloc_once_warm(void **state)
{
    (void)state;
    run_one(core_spawn(again), 0);
    core.trace[core.trace_at = 0] = 0;
}

// --- a generator is in one state, and several tasks may look at it
struct scoped {
    aio_frame aio;
    int value, how, n;
    int64_t ns;
    aio_timeout limit;
    aio_group group;
    aio_op op;
    aio_ticks ticks;
    struct counter inner;
    aio_result r;
};
enum { NONE, LIMIT, GROUP, OP, TICKS, INNER, KINDS };
aio_drop(scoped) {
    say("drop%lld ", (long long)dropped);
    return 0;
} aio_end
aio_async(scoped) {
    switch (self->how) {
    case LIMIT: assert_result(aio_timeout_enter(&self->limit, 50), 0); break;
    case GROUP:
        assert_result(aio_group_enter(&self->group), 0);
        aio_group_spawn(&self->group, nap, .name = "child", .ns = AIO_FOREVER);
        break;
    case OP: assert_result(aio_start(&self->op, aio_sleep(AIO_FOREVER)), 0); break;
    case TICKS: assert_result(aio_ticker(&self->ticks, 10), 0); break;
    case INNER:
        assert_result(aio_gen_init(&self->inner, counter, .name = "inner"), 0);
        aio_try(aio_next(&self->inner));
        break;
    default: break;
    }
    for (self->value = 1; self->value <= 3; self->value++) {
        if (self->ns) aio_try(aio_sleep(self->ns));
        aio_yield(self->r, self->value);
        if (self->r < 0) break;
    }
    if (self->how == GROUP) aio_group_cancel(&self->group);
    return self->n;
} aio_end
struct reads { aio_frame aio; struct scoped *g; int take; aio_result r; };
aio_async(reads) {
    self->r = 1;
    while (self->take-- && self->r > 0) {
        aio_await(self->r, aio_next(self->g));
        say("%lld ", (long long)self->r);
    }
    return self->r;
} aio_end
// Who opens it, who reads first and who reads last: three tasks.
struct opens { aio_frame aio; struct scoped g; int how, first, then; int64_t ns, stays; aio_result r; };
aio_async(opens) {
    assert_result(aio_gen_init(&self->g, scoped, .how = self->how, .ns = self->ns), 0);
    if (self->first) aio_await(aio_join(aio_spawn(reads, .g = &self->g, .take = self->first)));
    if (self->then) aio_detach(aio_spawn(reads, .g = &self->g, .take = self->then));
    if (self->stays >= 0) aio_try(aio_sleep(self->stays));
    return 7;
} aio_end
static void AG_1_tasks_take_turns_at_one_generator(void **state)
{
    (void)state;
    for (int how = NONE; how < KINDS; how++) {
        for (int first = 0; first < 4; first++) {
            for (int then = 0; then < 5; then++) {
                run_one(core_spawn(opens, .how = how, .first = first, .then = then, .stays = 5), 7);
                core.trace[core.trace_at = 0] = 0;
                aio_task *t = core_spawn(nap, .name = "later", .ns = 100);
                assert_result(core_run(t), 0);      // no limit, no tick of it comes
                aio_detach(t);
                core.trace[core.trace_at = 0] = 0;
            }
        }
    }
}
static void AG_1_its_owner_returns_while_another_task_runs_it(void **state)
{
    (void)state;
    for (int how = NONE; how < KINDS; how++) {
        run_one(core_spawn(opens, .how = how, .then = 9, .ns = 20, .stays = 10), 7);
        assert_non_null(strstr(core.trace, "0 "));  // the reader is told the end
        assert_null(strstr(core.trace, "1 "));
        assert_result(core.loop.executor.live, 0);
        core.trace[core.trace_at = 0] = 0;
    }
    run_one(core_spawn(opens, .how = LIMIT, .then = 1, .ns = 20, .stays = -1), 7);      // not begun
    core.trace[core.trace_at = 0] = 0;
}

// It is open: nothing else may be begun in its storage, and the arguments are given back.
struct begins_again { aio_frame aio; struct scoped g; int take; };
aio_async(begins_again) {
    assert_result(aio_gen_init(&self->g, scoped, .how = LIMIT), 0);
    while (self->take--) aio_await(aio_next(&self->g));
    aio_result r;
    r = aio_gen_init(&self->g, scoped, .how = GROUP);
    say("init%lld ", (long long)r);
    return 0;
} aio_end
static void AG_1_storage_that_is_in_use(void **state)
{
    (void)state;
    run_one(core_spawn(begins_again, .take = 0), 0);
    assert_trace("drop-16 init-16 drop-125 ");
    run_one(core_spawn(begins_again, .take = 2), 0);
    assert_trace("drop-16 init-16 ");
    run_one(core_spawn(begins_again, .take = 4), 0);        // it was over
    assert_trace("init0 drop-125 ");
}

// Nobody iterates it: a yield ends it, and what is open in it.
struct calls_it { aio_frame aio; int how, where; aio_result r; };
aio_async(calls_it) {
    if (self->where) aio_await(self->r, aio_join(aio_spawn(scoped, .how = self->how)));
    else aio_await(self->r, aio_call_new(scoped, .how = self->how));
    aio_try(aio_sleep(100));
    return self->r;
} aio_end
static void a_generator_that_is_called_or_spawned(void **state)
{
    (void)state;
    for (int how = NONE; how < KINDS; how++) {
        for (int where = 0; where < 2; where++) {
            aio_task *t = core_spawn(calls_it, .how = how, .where = where);
            if (how == GROUP) {                     // its child never ends
                aio_task *n = core_spawn(nap, .name = "n", .ns = 10);
                assert_result(core_run(n), 0);
                aio_detach(n);
                aio_task_cancel(t);
                run_one(t, -ECANCELED);
            } else {
                run_one(t, 1);
            }
            core.trace[core.trace_at = 0] = 0;
        }
    }
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        core_test(AG_1_values_and_the_end),
        core_test(AG_1_one_next_at_a_time),
        core_test(next_without_init),
        core_test(AG_2_close),
        core_test(AG_2_cancelled_while_it_closes),
        core_test(AG_3_what_is_open_at_the_end_is_closed),
        core_test(one_that_never_stops_yielding_is_dropped_with_its_scopes),
        core_test(scopes_of_a_generator_end_with_it),
        core_test(storage_is_used_again),
        core_test(every_allocation_fails_once),
        core_test(no_malloc_once_warm),
        core_test(AG_1_tasks_take_turns_at_one_generator),
        core_test(AG_1_its_owner_returns_while_another_task_runs_it),
        core_test(AG_1_storage_that_is_in_use),
        core_test(a_generator_that_is_called_or_spawned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
