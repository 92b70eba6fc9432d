// core.h - what the tests of the language and of time share: a loop on the virtual clock that keeps
// its reports and counts its memory, and a trace.
// SPDX-License-Identifier: MIT
//
//     static void sleeps(void **state) { … core_spawn-and-run …; assert_trace("a b "); }
//     { core_test(sleeps), … }
//
// The loop is made before each test and closed after it; then its memory must be balanced. A test
// that expects reports empties core.reports itself (core_reported), else one left over fails it.
#ifndef CORE_H
#define CORE_H

#include "test.h"

#include "aio_loop.h"

struct core {
    aio_loop loop;
    struct test_memory memory;
    char reports[8192];         // "message: ERROR: name\n" each
    size_t reports_at;
    char trace[65536];
    size_t trace_at;
};
static struct core core;

// Adds words to the trace.
TEST_FN __attribute__((format(printf, 1, 2))) void say(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    size_t left = sizeof core.trace - core.trace_at;
    int n = vsnprintf(core.trace + core.trace_at, left, format, list);
    va_end(list);
    if (n > 0) core.trace_at += (size_t)n < left ? (size_t)n : left - 1;
}
// Compares the trace, and empties it.
#define assert_trace(expected) core_assert_trace(expected, __FILE__, __LINE__)
TEST_FN void core_assert_trace(const char *expected, const char *file, int line)
{
    if (strcmp(core.trace, expected)) {
        print_error("trace is \"%s\", not \"%s\"\n", core.trace, expected);
        _fail(file, line);
    }
    core.trace[core.trace_at = 0] = 0;
}

TEST_FN void core_on_error(aio_loop *loop, const struct aio_report *r, void *context)
{
    (void)loop;
    (void)context;
    size_t left = sizeof core.reports - core.reports_at;
    int n = snprintf(core.reports + core.reports_at, left, "%s: %s: %s\n", r->message,
                     aio_strerror(r->error), r->task ? aio_task_name(r->task) : "-");
    if (n > 0) core.reports_at += (size_t)n < left ? (size_t)n : left - 1;
}
// Compares the reports, and empties them.
#define assert_reports(expected) core_assert_reports(expected, __FILE__, __LINE__)
TEST_FN void core_assert_reports(const char *expected, const char *file, int line)
{
    if (strcmp(core.reports, expected)) {
        print_error("reports are \"%s\", not \"%s\"\n", core.reports, expected);
        _fail(file, line);
    }
    core.reports[core.reports_at = 0] = 0;
}
// How often a message stands in the reports so far.
TEST_FN unsigned core_count(const char *message)
{
    unsigned n = 0;
    for (const char *at = core.reports; (at = strstr(at, message)) != NULL; at++) n++;
    return n;
}
TEST_FN void core_forget_reports(void) { core.reports[core.reports_at = 0] = 0; }

// Options that report to `core`.
TEST_FN struct aio_loop_options core_options(enum aio_clock clock)
{
    struct aio_loop_options o;
    memset(&o, 0, sizeof o);
    o.clock = clock;
    o.on_error = core_on_error;
    o.allocator.allocate = test_allocate;
    o.allocator.release = test_release;
    o.allocator.context = &core.memory;
    return o;
}
TEST_FN int core_setup(void **state)
{
    (void)state;
    memset(&core, 0, sizeof core);
    struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
    return aio_loop_init(&core.loop, &o) < 0;
}
TEST_FN int core_teardown(void **state)
{
    (void)state;
    core.memory.fail_from = 0;
    aio_result r = aio_loop_close(&core.loop);
    if (r < 0) print_error("close: %s\n", aio_strerror(r));
    if (core.memory.blocks) print_error("%ld blocks are left\n", core.memory.blocks);
    if (core.reports_at) print_error("reports are left: %s", core.reports);
    return r < 0 || core.memory.blocks || core.reports_at;
}
#define core_test(f) cmocka_unit_test_setup_teardown(f, core_setup, core_teardown)

// Spawns on the test's loop, outside of a run.
#define core_spawn(...) aio_spawn_on(&core.loop, __VA_ARGS__)
#define core_run(what) aio_loop_run_until_complete(&core.loop, what)

// Exactly one turn; the clock does not jump, but timers that are due run.
TEST_FN void core_turn(void)
{
    aio_loop_stop(&core.loop);
    assert_result(aio_loop_run_forever(&core.loop), 0);
}
// Turns until nothing is ready; returns how many.
TEST_FN unsigned core_settle(void)
{
    unsigned n = 0;
    for (; core.loop.executor.head != core.loop.executor.tail; n++) core_turn();
    return n;
}
// Runs until nobody can go on any more. The loop's complaint is taken out of the reports.
TEST_FN void core_run_dry(void)
{
    assert_result(aio_loop_run_forever(&core.loop), -EDEADLK);
    size_t n = strlen("deadlock: every task waits for something that cannot come: EDEADLK: -\n");
    assert_true(core.reports_at >= n);
    core.reports[core.reports_at -= n] = 0;
}
#endif
