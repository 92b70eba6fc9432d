// Drop hooks (when they run, and when not), unzeroed tails of frames. Also built as strict ISO C11
// and as C++, where a hook stands before its body.
#include "aio_loop.h"
#include "test.h"

static struct aio_loop_options virtual_clock;   // filled in main
static char trace[256];
static void note(const char *word, aio_result r)
{
    size_t at = strlen(trace);
    snprintf(trace + at, sizeof trace - at, "%s %lld;", word, (long long)r);
}
static int reports;
static void on_error(aio_loop *loop, const struct aio_report *report, void *context)
{
    (void)loop;
    (void)report;
    (void)context;
    reports++;
}

struct before {
    aio_frame aio;
    int fd;
};
aio_drop(before) {
    note("before", dropped);
    return self->fd;
} aio_end
aio_async(before) {
    aio_await(aio_sleep(10));
    return self->fd;
} aio_end

struct after {
    aio_frame aio;
    int fd;
};
#ifdef __cplusplus
aio_drop(after) {
    note("after", dropped);
    return 0;
} aio_end
#endif
aio_async(after) {
    aio_await(aio_sleep(10));
    return self->fd;
} aio_end
#ifndef __cplusplus
aio_drop(after) {
    note("after", dropped);
    return 0;
} aio_end
#endif

struct without {
    aio_frame aio;
    int fd;
};
aio_async(without) {
    aio_await(aio_sleep(10));
    return self->fd;
} aio_end

struct caller {
    aio_frame aio;
    struct before child;
};
aio_drop(caller) {
    note("caller", dropped);
    return 0;
} aio_end
aio_async(caller) {
    aio_await(aio_call(&self->child, before, .fd = 5));
    aio_await(aio_call_new(after, .fd = 6));
    return 0;
} aio_end

static aio_loop the_loop;
static struct test_memory memory;
static int set_up(void **state)
{
    (void)state;
    struct aio_loop_options options = virtual_clock;
    memset(&memory, 0, sizeof memory);
    options.allocator.allocate = test_allocate;
    options.allocator.release = test_release;
    options.allocator.context = &memory;
    trace[0] = 0;
    reports = 0;
    return aio_loop_init(&the_loop, &options) < 0;
}
static int tear_down(void **state)
{
    (void)state;
    aio_loop_close(&the_loop);
    return memory.blocks != 0;
}
struct pause {
    aio_frame aio;
    int64_t ns;
};
aio_async(pause) {
    aio_await(aio_sleep(self->ns));
    return 0;
} aio_end
static void run_for(int64_t ns)
{
    aio_task *t = aio_spawn_on(&the_loop, pause, .ns = ns);
    assert_result(aio_loop_run_until_complete(&the_loop, t), 0);
    aio_detach(t);
}

static void cancelled_before_the_first_step(void **state)
{
    (void)state;
    aio_task *a = aio_spawn_on(&the_loop, before, .fd = 1);
    aio_task *b = aio_spawn_on(&the_loop, after, .fd = 2);
    aio_task *c = aio_spawn_on(&the_loop, without, .fd = 3);
    assert_true(aio_task_cancel(a));
    assert_true(aio_task_cancel(b));
    assert_true(aio_task_cancel(c));
    run_for(1);
    assert_string_equal(trace, "before -125;after -125;");
    assert_true(aio_task_cancelled(a));
    aio_detach(a);
    aio_detach(b);
    aio_detach(c);
    assert_string_equal(trace, "before -125;after -125;");
}
static void cancelled_later(void **state)
{
    (void)state;
    aio_task *a = aio_spawn_on(&the_loop, before, .fd = 1);
    run_for(1);
    aio_task_cancel(a);         // its body handles that, and returns fd
    run_for(1);
    assert_string_equal(trace, "");
    assert_result(aio_task_result(a), 1);
    aio_detach(a);
    assert_string_equal(trace, "");
}
static void a_result_that_was_seen(void **state)
{
    (void)state;
    aio_task *a = aio_spawn_on(&the_loop, before, .fd = 1);
    assert_result(aio_loop_run_until_complete(&the_loop, a), 1);
    aio_detach(a);
    assert_string_equal(trace, "");
}
static void a_result_that_nobody_saw(void **state)
{
    (void)state;
    aio_task *a = aio_spawn_on(&the_loop, before, .fd = 7);
    run_for(100);
    assert_string_equal(trace, "");
    aio_detach(a);              // the last handle of a task that has ended
    assert_string_equal(trace, "before 7;");
    aio_detach(aio_spawn_on(&the_loop, before, .fd = 8)); // detached while it runs: nobody wants it
    run_for(100);
    assert_string_equal(trace, "before 7;");
}
// C-7: the task returns a value in the same step in which it was cancelled.
struct suicide {
    aio_frame aio;
    int fd;
};
aio_drop(suicide) {
    note("suicide", dropped);
    return self->fd;
} aio_end
aio_async(suicide) {
    aio_task_cancel(aio_current_task());
    return self->fd;
} aio_end
static void a_result_that_a_cancel_replaced(void **state)
{
    (void)state;
    aio_task *a = aio_spawn_on(&the_loop, suicide, .fd = 9);
    assert_result(aio_loop_run_until_complete(&the_loop, a), -ECANCELED);
    assert_string_equal(trace, "suicide 9;");
    aio_detach(a);
    assert_string_equal(trace, "suicide 9;");
}
static void a_loop_that_is_closed(void **state)
{
    (void)state;
    aio_detach(aio_spawn_on(&the_loop, caller));
    aio_detach(aio_spawn_on(&the_loop, before, .fd = 1));
    run_for(15);                // caller is in its second call now, before has ended
    aio_detach(aio_spawn_on(&the_loop, before, .fd = 2));
    aio_loop_close(&the_loop);
    // Newest task first, and leaf to root.
    assert_string_equal(trace, "before -125;after -125;caller -125;");
    assert_int_equal(reports, 2);
}
static void a_spawn_that_is_refused(void **state)
{
    (void)state;
    aio_task *t = aio_spawn(before, .fd = 1);           // no loop runs here
    assert_result(aio_task_result(t), -EINVAL);
    assert_string_equal(trace, "before -22;");
    assert_null(aio_task_frame(before, t));
    assert_false(aio_task_cancel(t));
    aio_detach(t);
    aio_loop_close(&the_loop);
    trace[0] = 0;
    t = aio_spawn_on(&the_loop, after, .fd = 1);
    assert_result(aio_task_result(t), -EBADFD);
    aio_detach(t);
    assert_string_equal(trace, "after -77;");
}
static void a_spawn_without_memory(void **state)
{
    (void)state;
    memory.fail_from = memory.calls + 1;
    aio_task *t = NULL;
    for (int i = 0; i < 1000; i++) {
        t = aio_spawn_on(&the_loop, before, .fd = 1);
        if (aio_task_done(t)) break;
        aio_detach(t);
    }
    assert_result(aio_task_result(t), -ENOMEM);
    assert_string_equal(trace, "before -12;");
}

// --- aio_scratch: the tail of a frame is not zeroed
struct scratch {
    aio_frame aio;
    int depth;
    unsigned char zeroed[64];
    unsigned char buffer[2048];
};
aio_scratch(scratch, buffer);
aio_async(scratch) {
    int sum = 0;
    for (size_t i = 0; i < sizeof self->zeroed; i++) sum += self->zeroed[i];
    memset(self->zeroed, 1, sizeof self->zeroed);
    memset(self->buffer, 0x5a, sizeof self->buffer);
    return sum;
} aio_end
struct scratch_caller {
    aio_frame aio;
    struct scratch child;
};
aio_async(scratch_caller) {
    int r;
    memset(&self->child, 0x77, sizeof self->child);
    aio_try(r, aio_call(&self->child, scratch, .depth = 1));
    return r ? -1 : self->child.buffer[100];
} aio_end
static void scratch_is_not_zeroed(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        aio_task *t = aio_spawn_on(&the_loop, scratch, .depth = i);
#ifndef AIO__ASAN       // it would be right to complain about a look at bytes that nobody wrote
        if (i) assert_int_equal(aio_task_frame(scratch, t)->buffer[1000], 0x5a);
#endif
        assert_result(aio_loop_run_until_complete(&the_loop, t), 0);
        aio_detach(t);
    }
    aio_task *t = aio_spawn_on(&the_loop, scratch_caller);
    assert_result(aio_loop_run_until_complete(&the_loop, t), 0x5a);
    aio_detach(t);
}

int main(void)
{
    virtual_clock.clock = AIO_CLOCK_VIRTUAL;
    virtual_clock.on_error = on_error;
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(cancelled_before_the_first_step),
        TEST(cancelled_later),
        TEST(a_result_that_was_seen),
        TEST(a_result_that_nobody_saw),
        TEST(a_result_that_a_cancel_replaced),
        TEST(a_loop_that_is_closed),
        TEST(a_spawn_that_is_refused),
        TEST(a_spawn_without_memory),
        TEST(scratch_is_not_zeroed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
