// Timers, sleep and the virtual clock: rules H-1 to H-7, H-9, S-1, S-2; a heap against a naive
// model.
#include "core.h"

#include <time.h>

// A timer that adds its number to the trace, and may cancel another.
struct tick { aio_handle h; int n; struct tick *cancels; };
static int tick(void *arg)
{
    struct tick *t = (struct tick *)arg;
    say("%d ", t->n);
    if (t->cancels) aio_handle_cancel(&t->cancels->h);
    return 0;
}
static void at(struct tick *t, int64_t when)
{
    assert_result(aio_call_at(&core.loop, &t->h, when, tick, t), 0);
}

struct sleeper { aio_frame aio; int n; int64_t ns; int64_t woke; };
aio_async(sleeper) {
    aio_result r;
    aio_await(r, aio_sleep(self->ns));
    self->woke = aio_loop_time(&core.loop);
    say("%d%s ", self->n, r < 0 ? "!" : "");
    return r;
} aio_end

static void H_1_due_at_its_moment_and_not_before(void **state)
{
    (void)state;
    struct tick a = { .n = 1 }, b = { .n = 2 };
    at(&a, 100);
    at(&b, 101);
    core.loop.now = 99;
    core_turn();
    assert_trace("");
    core.loop.now = 100;
    core_turn();
    assert_trace("1 ");
    core_run_dry();
    assert_trace("2 ");
    assert_result(aio_loop_time(&core.loop), 101);
}

static void H_2_equal_deadlines_in_the_order_of_arming(void **state)
{
    (void)state;
    static struct tick t[40];
    char expected[256] = "";
    for (int i = 0; i < 40; i++) {
        t[i] = (struct tick) { .n = i };
        at(&t[i], i % 5 == 4 ? 3 : 7);
    }
    for (int i = 4; i < 40; i += 5) sprintf(expected + strlen(expected), "%d ", i);
    for (int i = 0; i < 40; i++)
        if (i % 5 != 4 && i != 12 && i != 20) sprintf(expected + strlen(expected), "%d ", i);
    aio_handle_cancel(&t[12].h);            // H-4: a removal does not reorder
    aio_handle_cancel(&t[20].h);
    core_run_dry();
    assert_trace(expected);
    for (int i = 0; i < 5; i++) aio_detach(core_spawn(sleeper, .n = i, .ns = AIO_SECOND));
    core_run_dry();
    assert_trace("0 1 2 3 4 ");
}

static void H_2_the_counter_wraps(void **state)
{
    (void)state;
    static struct tick t[8];
    core.loop.timer_seq = UINT32_MAX - 3;
    for (int i = 0; i < 8; i++) {
        t[i] = (struct tick) { .n = i };
        at(&t[i], 1);
    }
    core_run_dry();
    assert_trace("0 1 2 3 4 5 6 7 ");
}

static void H_3_the_past_is_the_next_turn_in_deadline_order(void **state)
{
    (void)state;
    struct tick a = { .n = 0 }, b = { .n = -5 }, c = { .n = 9 }, d = { .n = -9 };
    core.loop.now = 1000;
    aio_call_later(&core.loop, &a.h, 0, tick, &a);
    aio_call_later(&core.loop, &b.h, -5, tick, &b);
    aio_call_soon(&core.loop, &c.h, tick, &c);
    aio_call_later(&core.loop, &d.h, INT64_MIN, tick, &d);
    core_turn();
    assert_trace("9 -9 -5 0 ");             // after what was ready
}

static void H_4_H_5_cancelled_timers(void **state)
{
    (void)state;
    enum { N = 10000 };
    static struct tick t[N];
    struct tick last = { .n = -1 };
    for (int i = 0; i < N; i++) {
        t[i] = (struct tick) { .n = i };
        at(&t[i], (i * 7919) % N);
    }
    at(&last, N);
    for (int i = 0; i < N; i++) aio_handle_cancel(&t[(i * 31) % N].h);
    assert_result(core.loop.timer_count, 1);
    assert_result(core.loop.executor.slots, 1);
    core_run_dry();
    assert_trace("-1 ");
    for (int i = 0; i < 3; i++) at(&t[i], N + 1);
    t[0].cancels = &t[1];
    core_run_dry();
    assert_trace("0 2 ");
}

static void H_6_H_9_the_real_clock_never_wakes_early(void **state)
{
    (void)state;
    aio_loop_close(&core.loop);
    struct aio_loop_options o = core_options(AIO_CLOCK_MONOTONIC);
    assert_result(aio_loop_init(&core.loop, &o), 0);
    for (int64_t ns = 1; ns < 20 * AIO_MSEC; ns = ns * 3 + 1001) {
        int64_t before = aio_loop_time(&core.loop);
        aio_task *t = core_spawn(sleeper, .ns = ns);
        assert_result(core_run(t), 0);
        assert_true(aio_task_frame(sleeper, t)->woke - before >= ns);
        assert_true(aio_task_frame(sleeper, t)->woke > before);     // read freshly
        aio_detach(t);
    }
    core.trace[core.trace_at = 0] = 0;
}

static void H_7_a_lone_sleep_of_25_hours(void **state)
{
    (void)state;
    aio_task *t = core_spawn(sleeper, .n = 1, .ns = 25 * 3600 * AIO_SECOND);
    assert_result(core_run(t), 0);
    assert_result(aio_loop_time(&core.loop), 25 * 3600 * AIO_SECOND);
    assert_result(aio_loop_turn(&core.loop), 4);    // the body, the timer, the body, the run
    aio_detach(t);
    assert_trace("1 ");
}

static void S_1_S_2_sleep(void **state)
{
    (void)state;
    core.loop.now = 1;
    aio_task *a = core_spawn(sleeper, .n = 1, .ns = AIO_FOREVER);
    aio_task *b = core_spawn(sleeper, .n = 2, .ns = AIO_FOREVER - 1);       // saturates
    aio_task *c = core_spawn(sleeper, .n = 3, .ns = AIO_FOREVER - 2);       // just not
    aio_task *d = core_spawn(sleeper, .n = 4, .ns = INT64_MIN);
    core_turn();
    assert_result(core.loop.timer_count, 1);
    core_turn();
    assert_trace("4 ");
    assert_result(core_run(c), 0);
    assert_result(aio_loop_time(&core.loop), AIO_FOREVER - 1);
    assert_trace("3 ");
    aio_task_cancel(a);
    aio_task_cancel(b);
    core_settle();
    assert_trace("1! 2! ");
    aio_task *const all[] = { a, b, c, d };
    for (int i = 0; i < 4; i++) aio_detach(all[i]);
    assert_result(core.loop.timer_count, 0);        // S-1: none is left armed
    struct tick never = { .n = 7 };
    assert_result(aio_call_later(&core.loop, &never.h, AIO_FOREVER, tick, &never), 0);
    assert_result(core.loop.executor.slots, 0);
    core_run_dry();                                 // it holds nobody up
    aio_handle_cancel(&never.h);
    assert_trace("");
}
struct until { aio_frame aio; int64_t when; };
aio_async(until) {
    aio_try(aio_sleep_until(self->when));
    return aio_loop_time(&core.loop);
} aio_end
static void S_1_sleep_until(void **state)
{
    (void)state;
    static const int64_t when[] = {50, 40, INT64_MIN, 60, 1000}, woke[] = {50, 50, 50, 60, 1000};
    for (int i = 0; i < 5; i++) {
        aio_task *t = core_spawn(until, .when = when[i]);
        assert_result(core_run(t), woke[i]);
        aio_detach(t);
    }
    aio_task *t = core_spawn(until, .when = AIO_FOREVER);
    assert_result(core_run(t), -EDEADLK);
    aio_task_cancel(t);
    core_settle();
    aio_detach(t);
    core_forget_reports();
}

// --- the virtual clock
struct spins { aio_frame aio; int turns; };
aio_async(spins) {
    while (self->turns--) aio_try(aio_next_turn());
    return aio_loop_time(&core.loop);
} aio_end
static void H_7_time_stands_still_while_anything_runs(void **state)
{
    (void)state;
    struct tick a = { .n = 1 }, b = { .n = 2 };
    at(&a, 5);
    at(&b, 9);
    aio_task *t = core_spawn(spins, .turns = 1000);
    assert_result(core_run(t), 0);
    assert_trace("");
    aio_detach(t);
    core_run_dry();                         // timer by timer, exactly to each
    assert_trace("1 2 ");
    assert_result(aio_loop_time(&core.loop), 9);
}

static aio_future io;
static int waited;
static void wait_for_io(aio_loop *l, int64_t timeout_ns)
{
    if (!timeout_ns) return;
    waited++;
    assert_result(timeout_ns, AIO_FOREVER);
    assert_result(aio_loop_time(l), 0);     // J-6: no jump while the world owes an answer
    l->in_flight = 0;
    aio_future_set_result(&io, 1);
}
static void nothing(aio_loop *l) { (void)l; }
static const aio_backend fake = { "fake", wait_for_io, NULL, nothing, nothing, NULL };
struct reads { aio_frame aio; };
aio_async(reads) {
    aio_try(aio_future_wait(&io));
    say("io ");
    return aio_loop_time(&core.loop);
} aio_end
static void H_7_in_flight_operations_hold_the_clock(void **state)
{
    (void)state;
    memset(&io, 0, sizeof io);
    struct tick a = { .n = 1 };
    core.loop.backend = &fake;
    core.loop.in_flight = 1;
    at(&a, 5);
    aio_task *t = core_spawn(reads);
    assert_result(core_run(t), 0);
    assert_result(waited, 1);
    assert_trace("io ");
    core_run_dry();
    assert_trace("1 ");
    aio_detach(t);
}

// --- no memory
static void S_1_timers_fire_without_memory(void **state)
{
    (void)state;
    aio_task *t[16];
    for (int i = 0; i < 16; i++) t[i] = core_spawn(sleeper, .n = i, .ns = AIO_SECOND); // all slots
    assert_result(core.loop.executor.slots, core.loop.executor.limit);
    core_turn();
    core.memory.fail_from = 1;
    struct tick a = { .n = 99 };
    assert_result(aio_call_soon(&core.loop, &a.h, tick, &a), -ENOMEM);
    assert_result(aio_call_at(&core.loop, &a.h, 5, tick, &a), -ENOMEM);
    aio_handle_cancel(&a.h);
    for (int i = 0; i < 16; i++) assert_false(aio_task_done(t[i]));
    core_run_dry();
    assert_trace("0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 ");
    for (int i = 0; i < 16; i++) aio_detach(t[i]);
    assert_result(core.loop.executor.slots, 0);
}
static void S_1_no_room_for_a_timer(void **state)
{
    (void)state;
    aio_task *t[40];
    for (int i = 0; i < 40; i++) t[i] = core_spawn(sleeper, .n = i, .ns = AIO_SECOND);
    core.memory.fail_from = 1;
    core_turn();                            // no table at all
    assert_result(core.loop.timer_count, 0);
    for (int i = 0; i < 40; i++) {
        assert_result(aio_task_result(t[i]), -ENOMEM);
        aio_detach(t[i]);
    }
    core.memory.fail_from = 0;
    core.trace[core.trace_at = 0] = 0;
    for (int i = 0; i < 16; i++) t[i] = core_spawn(sleeper, .n = i, .ns = AIO_SECOND);
    core_turn();
    core.memory.fail_from = 1;              // no larger one
    struct tick a = { .n = 99 };
    assert_result(aio_call_at(&core.loop, &a.h, 5, tick, &a), -ENOMEM);
    t[16] = core_spawn(sleeper, .n = 16, .ns = 1);
    core_turn();
    assert_trace("16! ");
    core_run_dry();
    assert_trace("0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 ");
    for (int i = 0; i < 16; i++) aio_detach(t[i]);
    assert_result(aio_task_result(t[16]), -ENOMEM);
    aio_detach(t[16]);
    assert_result(core.loop.executor.slots, 0);
}

// --- the heap against a model that sorts
enum { TIMERS = 300, STEPS = 40000 };
static struct { aio_handle h; int64_t when; uint64_t seq; bool armed; } model[TIMERS];
static uint64_t fuzz_state, model_seq;
static int fired;
static uint64_t fuzz(uint64_t below)
{
    fuzz_state ^= fuzz_state << 13;
    fuzz_state ^= fuzz_state >> 7;
    fuzz_state ^= fuzz_state << 17;
    return fuzz_state % below;
}
static int fuzz_fires(void *arg)
{
    int i = (int)(intptr_t)arg;
    assert_true(model[i].armed);
    assert_true(model[i].when <= aio_loop_time(&core.loop));
    for (int k = 0; k < TIMERS; k++) {      // nobody should have come before
        if (!model[k].armed || k == i) continue;
        bool tie = model[k].when == model[i].when;
        if (model[k].when < model[i].when || (tie && model[k].seq < model[i].seq))
            fail_msg("timer %d fired before %d", i, k);
    }
    model[i].armed = false;
    fired++;
    if (fuzz(4) == 0) {                     // cancels another, due or not
        int k = (int)fuzz(TIMERS);
        aio_handle_cancel(&model[k].h);
        model[k].armed = false;
    }
    return 0;
}
static void fuzz_arm(int i)
{
    int64_t now = aio_loop_time(&core.loop);
    if (model[i].armed) return;
    model[i].when = now + 1 + (int64_t)fuzz(fuzz(3) ? 50 : 5000);
    model[i].seq = model_seq++;
    model[i].armed = true;
    void *arg = (void *)(intptr_t)i;
    assert_result(aio_call_at(&core.loop, &model[i].h, model[i].when, fuzz_fires, arg), 0);
}
static void H_4_the_heap_against_a_model(void **state)
{
    (void)state;
    const char *seed = getenv("AIO_TEST_SEED");
    fuzz_state = ((uint64_t)time(NULL) << 20) ^ (uint64_t)getpid();
    if (seed) fuzz_state = (uint64_t)strtoull(seed, NULL, 0);
    if (!fuzz_state) fuzz_state = 1;
    print_message("# AIO_TEST_SEED=%llu\n", (unsigned long long)fuzz_state);
    memset(model, 0, sizeof model);
    for (int step = 0; step < STEPS; step++) {
        int i = (int)fuzz(TIMERS);
        switch (fuzz(8)) {
        case 0: case 1: case 2: case 3: fuzz_arm(i); break;
        case 4: case 5:
            aio_handle_cancel(&model[i].h);
            model[i].armed = false;
            break;
        case 6: core.loop.now += (int64_t)fuzz(20); /* fall through */
        default: core_turn(); break;
        }
        if (step % 64) continue;
        uint32_t armed = 0;
        for (int k = 0; k < TIMERS; k++) armed += model[k].armed;
        assert_result(core.loop.timer_count, armed);
        for (uint32_t k = 1; k < core.loop.timer_count; k++)
            assert_false(aio__before(core.loop.timers[k], core.loop.timers[(k - 1) / 4]));
    }
    core_run_dry();
    for (int k = 0; k < TIMERS; k++) assert_false(model[k].armed);
    assert_true(fired > STEPS / 50);
    assert_result(core.loop.executor.slots, 0);
}

// What a dump says of moments that are as far away as moments can be.
struct far_sleep { aio_frame aio; int64_t when; };
aio_async(far_sleep) {
    aio_try(aio_sleep_until(self->when));
    return 0;
} aio_end
static void S_1_a_dump_of_far_moments(void **state)
{
    (void)state;
    static const struct { int64_t when; const char *text; } far[] = {
        { INT64_MIN, "sleep that is over" }, { INT64_MIN + 1, "sleep that is over" },
        { -1, "sleep that is over" }, { INT64_MAX - 1, "sleep 9223372036.8" },
        { AIO_FOREVER, "sleep without limit" },
    };
    for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
        char text[1024] = "";
        FILE *out = fmemopen(text, sizeof text, "w");
        assert_non_null(out);
        aio_task *t = core_spawn(far_sleep, .when = far[i].when);
        aio_executor_turn(&core.loop.executor);     // no timer runs in it
        aio_task_dump(t, out);
        fclose(out);
        assert_non_null(strstr(text, far[i].text));
        aio_task_cancel(t);
        core_settle();
        aio_detach(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        core_test(H_1_due_at_its_moment_and_not_before),
        core_test(H_2_equal_deadlines_in_the_order_of_arming),
        core_test(H_2_the_counter_wraps),
        core_test(H_3_the_past_is_the_next_turn_in_deadline_order),
        core_test(H_4_H_5_cancelled_timers),
        core_test(H_6_H_9_the_real_clock_never_wakes_early),
        core_test(H_7_a_lone_sleep_of_25_hours),
        core_test(S_1_S_2_sleep),
        core_test(S_1_sleep_until),
        core_test(S_1_a_dump_of_far_moments),
        core_test(H_7_time_stands_still_while_anything_runs),
        core_test(H_7_in_flight_operations_hold_the_clock),
        core_test(S_1_timers_fire_without_memory),
        core_test(S_1_no_room_for_a_timer),
        core_test(H_4_the_heap_against_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
