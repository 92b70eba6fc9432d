// steps.h - cancels a program at every step, and checks that it always cleans up.
// SPDX-License-Identifier: MIT
//
// The program is a function that spawns its main task on the loop it is given. It is run again and
// again on a fresh loop; in run k one task is cancelled at turn k: 0 (not begun yet), 1, 2, … until
// the program ends before that turn. For each k twice: before the turn, and by a callback in the
// middle of it (behind what was ready, before the timers that fell due). So each await sees a
// cancel while it waits and when it has ended already. Then main is run to its end, and what is
// left is shut down as aio_run does. After every run:
//
//   - main has ended, and no task lives;
//   - the loop closed with 0, and all memory that it took went back;
//   - as many file descriptors are open as before;
//   - nobody reported a deadlock, or a task that does not end or was destroyed.
//
//     struct fetch { aio_frame aio; const char *host; };
//     aio_async(fetch) { … } aio_end
//
//     static aio_task *fetch_main(aio_loop *loop, void *arg)
//     {
//         return aio_spawn_on(loop, fetch, .host = (const char *)arg);
//     }
//     static void fetch_is_safe(void **state)
//     {
//         (void)state;
//         struct steps s = { .spawn = fetch_main, .arg = (void *)"localhost" };
//         assert_true(steps_run(&s) > 6);         // how many cancels there were
//     }
//
// Failures are cmocka's and name the run; STEPS="victim turn phase" in the environment runs only
// that.
#ifndef STEPS_H
#define STEPS_H

#include "test.h"

#include <dirent.h>

#include "aio_loop.h"

// Only `spawn` is needed; zero is the default of the rest.
struct steps {
    aio_task *(*spawn)(aio_loop *loop, void *arg); // main's handle; it is given up by the driver
    void *arg;
    unsigned victims;       // cancels tasks 1 to this one, in the order of creation; main is 1
    bool real_clock;        // for real I/O; the turns may then differ from run to run
    unsigned limit; // of turns to cancel at (1000), for programs that never end by themselves
    unsigned endless;       // a run of more turns does not end (1,000,000)
    aio_result (*prepare)(aio_loop *loop, void *arg);   // before spawn: attach a ring
    void (*check)(aio_result r, void *arg);             // after each run; r: what main ended with
    void (*report)(const struct aio_report *r, void *arg);      // sees every report
    // Of the current run, for `check`.
    unsigned victim, turn, phase;
    bool cancelled;         // false: the task did not live at that turn
    struct test_memory memory;
    const char *complaint;
};

TEST_FN unsigned steps_open_files(void)
{
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) return 0;
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}
TEST_FN void steps_on_error(aio_loop *loop, const struct aio_report *r, void *context)
{
    static const char *const bad[] = { "deadlock", "destroyed", "does not end" };
    struct steps *s = (struct steps *)context;
    (void)loop;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (strstr(r->message, bad[i])) s->complaint = r->message;
    if (s->report) s->report(r, s->arg);
}
#define steps_expect(s, condition)                                                             \
    do {                                                                                       \
        if (!(condition))                                                                      \
            fail_msg("STEPS=\"%u %u %u\": not so: %s%s%s", (s)->victim, (s)->turn, (s)->phase, \
                     #condition, (s)->complaint ? ", but: " : "",                              \
                     (s)->complaint ? (s)->complaint : "");                                    \
    } while (0)

// Runs turns, as a run would, until `main` has ended or `turns` of them ran something.
TEST_FN void steps_turns(struct steps *s, aio_loop *loop, aio_task *main_task, uint64_t turns)
{
    aio_executor *outer = aio__running_executor;
    aio_result r = 0;
    unsigned n = 0, too_many = s->endless ? s->endless : 1000000;
    aio__running_executor = &loop->executor;
    loop->runs++;
    while (r >= 0 && !aio_task_done(main_task) && aio_loop_turn(loop) < turns && n++ < too_many)
        r = aio__loop_turn(loop);
    loop->runs--;
    aio__running_executor = outer;
    steps_expect(s, n < too_many);
}
TEST_FN int steps_cancel(void *arg)
{
    struct steps *s = (struct steps *)arg;
    for (aio_task *t = aio_task_first(aio_running_loop()); t; t = aio_task_next(t))
        if (aio_task_id(t) == s->victim) s->cancelled = aio_task_cancel(t);
    return 0;
}
// One run. Returns false if the program ended before the turn of the cancel.
TEST_FN bool steps_once(struct steps *s)
{
    aio_loop loop;
    aio_handle handle;
    struct aio_loop_options o;
    unsigned files = steps_open_files();
    memset(&o, 0, sizeof o);
    memset(&s->memory, 0, sizeof s->memory);
    o.clock = s->real_clock ? AIO_CLOCK_MONOTONIC : AIO_CLOCK_VIRTUAL;
    o.on_error = steps_on_error;
    o.context = s;
    o.allocator.allocate = test_allocate;
    o.allocator.release = test_release;
    o.allocator.context = &s->memory;
    s->cancelled = false;
    s->complaint = NULL;
    steps_expect(s, aio_loop_init(&loop, &o) == 0);
    if (s->prepare) steps_expect(s, s->prepare(&loop, s->arg) >= 0);
    steps_expect(s, aio__run_allowed(&loop) == 0);
    aio_task *main_task = s->spawn(&loop, s->arg);
    steps_turns(s, &loop, main_task, s->turn);
    bool reached = !aio_task_done(main_task);
    if (reached) {
        aio__running_executor = &loop.executor;
        if (s->phase) aio_call_soon(&loop, &handle, steps_cancel, s);
        else steps_cancel(s);
        aio__running_executor = NULL;
    }
    steps_turns(s, &loop, main_task, UINT64_MAX);
    steps_expect(s, aio_task_done(main_task));
    aio_result r = aio_task_result(main_task);
    aio_detach(main_task);
    aio__running_executor = &loop.executor;
    loop.runs++;
    aio__shutdown(&loop);
    loop.runs--;
    aio__running_executor = NULL;
    if (reached && s->phase) aio_handle_cancel(&handle);        // main may have ended in that turn
    steps_expect(s, loop.executor.live == 0);
    steps_expect(s, aio_loop_close(&loop) == 0);
    steps_expect(s, s->memory.blocks == 0);
    steps_expect(s, steps_open_files() == files);
    steps_expect(s, s->complaint == NULL);
    if (s->check) s->check(r, s->arg);
    return reached;
}
// All runs. Returns in how many of them a task was cancelled.
TEST_FN unsigned steps_run(struct steps *s)
{
    unsigned cancels = 0, limit = s->limit ? s->limit : 1000;
    const char *only = getenv("STEPS");
    if (only) {
        if (sscanf(only, "%u %u %u", &s->victim, &s->turn, &s->phase) == 3) steps_once(s);
        return UINT32_MAX;
    }
    for (s->victim = 1; s->victim <= (s->victims ? s->victims : 1); s->victim++) {
        for (s->turn = 0; s->turn < limit; s->turn++) {
            bool reached = false;
            for (s->phase = 0; s->phase < 2; s->phase++) {
                reached |= steps_once(s);
                cancels += s->cancelled;
            }
            if (!reached) break;
        }
    }
    return cancels;
}
#endif
