// Limits around limits, and limits of 0: who is cancelled, how often, when, and what is given back.
#define AIO_SLAB_BYTES_MIN 16       // every block is an allocation: each one can fail
#define AIO_SLAB_BYTES_MAX 64
#include "actors.h"
#include <pthread.h>

struct nested {
    aio_frame aio;
    int64_t outer, inner;
    aio_task *task;
    aio_result r;
};
aio_async(nested) {
    aio_await(self->r, aio_wait_for(self->outer, aio_wait_for(self->inner,
                                        aio_future_wait(aio_task_future(self->task)))));
    say("%s/%u at %lld ", self->r < 0 ? aio_strerror(self->r) : "value",
        aio_task_cancelling(me()), (long long)now());
    return self->r;
} aio_end
// Two limits around a wait for a task; its own count of cancels is added to the trace.
static void nest(int64_t outer, int64_t inner, struct nap n, const char *trace)
{
    aio_task *t = core_spawn(nap, .name = "nap", .ns = n.ns, .result = n.result,
                             .cleanup = n.cleanup, .refuse = n.refuse);
    aio_task *waits = core_spawn(nested, .outer = outer, .inner = inner, .task = t);
    core_run(waits);
    say("%u", aio_task_cancelling(t));
    assert_trace(trace);
    aio_detach(waits);
    core_run(t);
    aio_detach(t);
    core.trace[core.trace_at = 0] = 0;
}
static void WF_1_a_limit_inside_a_limit_has_a_scope_of_its_own(void **state)
{
    (void)state;
    struct nap long_one = { .ns = 5 };
    nest(9, 9, long_one, "nap value/0 at 5 0");
    nest(2, 3, long_one, "nap! ETIMEDOUT/0 at 7 1");
    core_settle();
    nest(3, 2, long_one, "nap! ETIMEDOUT/0 at 9 1");
    nest(2, 2, long_one, "nap! ETIMEDOUT/0 at 11 2");           // both expire in one turn
    nest(1, 2, (struct nap){ .ns = 5, .cleanup = 4, .refuse = true },
         "nap! nap!! value/0 at 13 2");                         // and one after the other
}
static void WF_4_a_limit_of_0_around_a_limit_begins_nothing(void **state)
{
    (void)state;
    struct nap long_one = { .ns = 5 };
    nest(0, 3, long_one, "ETIMEDOUT/0 at 0 0");
    nest(0, AIO_FOREVER, long_one, "ETIMEDOUT/0 at 5 0");
    nest(3, 0, long_one, "nap! ETIMEDOUT/0 at 10 1");
    nest(AIO_FOREVER, 0, long_one, "nap! ETIMEDOUT/0 at 10 1");
    nest(AIO_FOREVER, AIO_FOREVER, long_one, "nap value/0 at 15 0");
}

struct cut {
    aio_frame aio;
    aio_task *tasks[3];
    aio_result results[3], r;
    size_t n;
    bool all;
    uint64_t before;
};
aio_async(cut) {
    self->before = turns();
    if (self->all)
        aio_await(self->r, aio_wait_for(0, aio_gather_all(self->tasks, self->results, self->n)));
    else
        aio_await(self->r, aio_wait_for(0, aio_gather(self->tasks, self->results, self->n)));
    say("%s@%d", self->r < 0 ? aio_strerror(self->r) : "values", (int)(turns() - self->before));
    for (size_t i = 0; i < self->n; i++) say(" %d", (int)self->results[i]);
    for (size_t i = 0; i < self->n; i++)
        if (self->tasks[i]) aio_detach(self->tasks[i]);
    return self->r;
} aio_end
static aio_task *cut_two(aio_task *a, aio_task *b, bool all)
{
    aio_task *t = core_spawn(cut, .n = 2, .all = all);
    aio_task_frame(cut, t)->tasks[0] = a;
    aio_task_frame(cut, t)->tasks[1] = b;
    return t;
}
static void run_cut(aio_task *t, const char *trace)
{
    core_run(t);
    assert_trace(trace);
    aio_detach(t);
    core_settle();
    core.trace[core.trace_at = 0] = 0;
}
static void WF_4_a_limit_of_0_cancels_a_gather_and_waits_for_it(void **state)
{
    (void)state;
    aio_task *a = core_spawn(at_once, .result = 3), *b = core_spawn(at_once, .result = 4);
    core_settle();
    run_cut(cut_two(a, b, false), "values@0 3 4");
    a = core_spawn(nap, .name = "a", .ns = 5);
    b = core_spawn(nap, .name = "b", .ns = 5, .cleanup = 2, .refuse = true, .result = 8);
    core_settle();
    run_cut(cut_two(a, b, true), "a! b! b: ETIMEDOUT@7 -125 8");
    a = core_spawn(nap, .name = "a", .ns = 5, .cleanup = 1, .refuse = true, .result = -EIO);
    b = core_spawn(nap, .name = "b", .ns = 5, .cleanup = 2, .refuse = true, .result = 8);
    core_settle();
    run_cut(cut_two(a, b, false), "a! b! a: EIO@6 -5 -115");
    a = core_spawn(nap, .name = "", .ns = 9);           // b runs on
    core_run(a);
    assert_trace("b:  ");
    aio_detach(a);
}
struct impatient { aio_frame aio; aio_task *whom; };
aio_async(impatient) {
    aio_task_cancel(self->whom);
    return 0;
} aio_end
static void WF_4_who_waits_for_the_end_can_be_cancelled(void **state)
{
    (void)state;
    uint32_t before = slots();
    for (int turn = 0; turn < 4; turn++) {      // before the end, in its turn, when it is known
        aio_task *a = core_spawn(nap, .name = "", .ns = 5), *b = core_spawn(nap, .name = "", .ns = 5);
        aio_task *t = cut_two(a, b, true), *c = NULL;
        for (int i = 0; i <= turn; i++) aio_executor_turn(&core.loop.executor);
        c = core_spawn(impatient, .whom = t);
        assert_result(core_run(t), turn < 3 ? -ECANCELED : -ETIMEDOUT);
        aio_detach(t);
        aio_detach(c);
        core_settle();
    }
    core.trace[core.trace_at = 0] = 0;
    assert_result(slots(), before);
}
struct ring { aio_frame aio; aio_task *other; aio_task *tasks[1]; aio_result results[1], r; };
aio_async(ring) {
    aio_try(aio_next_turn());
    self->tasks[0] = aio_task_retain(self->other);
    aio_await(self->r, aio_wait_for(0, aio_gather(self->tasks, self->results, 1)));
    if (self->tasks[0]) aio_detach(self->tasks[0]);
    return self->r;
} aio_end
struct back { aio_frame aio; aio_task *other; };
aio_async(back) {
    aio_result r;
    aio_await(r, aio_future_wait(aio_task_future(self->other)));
    return r;
} aio_end
static void T_11_a_gather_that_is_cut_waits_for_itself_in_the_end(void **state)
{
    (void)state;
    aio_task *a = core_spawn(ring), *b = core_spawn(back, .other = a);
    aio_task_frame(ring, a)->other = b;
    assert_result(core_run(a), -ECANCELED);
    core_settle();
    assert_true(aio_task_done(b));
    aio_detach(a);
    aio_detach(b);
}

struct shielded { aio_frame aio; aio_task *task; aio_result r; uint64_t before; };
aio_async(shielded) {
    self->before = turns();
    aio_await(self->r, aio_wait_for(0, aio_shield(self->task)));
    say("%s@%d ", self->r < 0 ? aio_strerror(self->r) : "value", (int)(turns() - self->before));
    return self->r;
} aio_end
static void WF_4_a_shield_is_done_or_ends_at_once(void **state)
{
    (void)state;
    aio_task *t = core_spawn(nap, .name = "nap", .ns = 5), *s = core_spawn(shielded, .task = t);
    core_run(s);
    aio_detach(s);
    core_run(t);
    s = core_spawn(shielded, .task = t);
    assert_result(core_run(s), 0);
    assert_trace("ETIMEDOUT@2 nap value@0 ");
    aio_detach(s);
    aio_detach(t);
}

// What is inside two limits gives up what it holds, whether it begins or not, at each allocation.
struct holds { aio_frame aio; int64_t outer, inner; aio_op op; };
aio_async(holds) {
    aio_try(aio_wait_for(self->outer,
                aio_wait_for(self->inner, aio_join(aio_spawn(maker, .ns = 1)))));
    aio_result r = aio_start(&self->op, aio_wait_for(self->outer,
                        aio_wait_for(self->inner, aio_join(aio_spawn(maker, .ns = 1)))));
    return r == -EINVAL ? 0 : -EIO;
} aio_end
static struct { long calls, blocks, fail_at; } scarce;
static void *scarce_allocate(void *context, size_t size)
{
    (void)context;
    if (++scarce.calls == scarce.fail_at) return NULL;
    scarce.blocks++;
    void *block = aligned_alloc(64, (size + 63) & ~(size_t)63);
    if (block) memset(block, 0xA5, size);
    return block;
}
static void scarce_release(void *context, void *block)
{
    (void)context;
    scarce.blocks--;
    free(block);
}
static void limits_give_up_what_they_hold(void **state)
{
    (void)state;
    struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
    o.allocator.allocate = scarce_allocate;
    o.allocator.release = scarce_release;
    static const int64_t limits[] = { 0, 5, AIO_FOREVER };
    for (int i = 0; i < 9; i++) {
        long refused = 0;
        for (long n = 1; n < 40; n++) {
            memset(&scarce, 0, sizeof scarce);
            scarce.fail_at = n;
            aio_result r = aio_run_with(&o, holds, .outer = limits[i / 3], .inner = limits[i % 3]);
            bool over = !limits[i / 3] || !limits[i % 3];
            if (r != (over ? -ETIMEDOUT : 0) && r != -ENOMEM) fail_msg("%s", aio_strerror(r));
            assert_result(scarce.blocks, 0);
            refused += r == -ENOMEM;
            core_forget_reports();
        }
        assert_true(refused > 2);
    }
}

// --- callbacks in the order in which they were given
static aio_handle handles[4];
static int tell(void *arg)
{
    say("%s ", (const char *)arg);
    return 0;
}
static void *from_outside(void *arg)
{
    (void)arg;
    aio_call_soon_threadsafe(&core.loop, &handles[0], tell, "other");
    return NULL;
}
struct gives { aio_frame aio; bool thread; };
aio_async(gives) {
    pthread_t thread;
    if (self->thread) {
        assert_result(pthread_create(&thread, NULL, from_outside, NULL), 0);
        assert_result(pthread_join(thread, NULL), 0);
    }
    assert_result(aio_call_soon_threadsafe(&core.loop, &handles[1], tell, "first"), 0);
    assert_result(aio_call_soon(&core.loop, &handles[2], tell, "second"), 0);
    assert_result(aio_call_soon_threadsafe(&core.loop, &handles[3], tell, "third"), 0);
    if (!self->thread) aio_handle_cancel(&handles[1]);
    aio_try(aio_next_turn());
    return 0;
} aio_end
static void L_14_callbacks_run_in_the_order_in_which_they_were_given(void **state)
{
    (void)state;
    aio_task *t = core_spawn(gives, .thread = true);
    assert_result(core_run(t), 0);
    assert_trace("other first second third ");
    aio_detach(t);
    t = core_spawn(gives);
    assert_result(core_run(t), 0);
    assert_trace("second third ");
    aio_detach(t);
    // Between two runs nothing says whose thread it is.
    aio_call_soon_threadsafe(&core.loop, &handles[0], tell, "before");
    aio_call_soon(&core.loop, &handles[1], tell, "after");
    core_settle();
    assert_trace("before after ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        core_test(WF_1_a_limit_inside_a_limit_has_a_scope_of_its_own),
        core_test(WF_4_a_limit_of_0_around_a_limit_begins_nothing),
        core_test(WF_4_a_limit_of_0_cancels_a_gather_and_waits_for_it),
        core_test(WF_4_who_waits_for_the_end_can_be_cancelled),
        core_test(T_11_a_gather_that_is_cut_waits_for_itself_in_the_end),
        core_test(WF_4_a_shield_is_done_or_ends_at_once),
        core_test(limits_give_up_what_they_hold),
        core_test(L_14_callbacks_run_in_the_order_in_which_they_were_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
