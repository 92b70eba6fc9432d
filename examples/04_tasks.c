// 04_tasks - the life of tasks.
//
// Shows:  spawn, a gather by hand (join in order; after an error cancel the rest), names, detach,
//         cancel, and a clean-up that awaits.
// Run:    cc -O2 -iquote . examples/04_tasks.c -o tasks && ./tasks
// Prints: what each task does, in order.
#include "aio_loop.h"

struct fetch {
    aio_frame aio;
    const char *what;
    int64_t takes;
    int result;
};

aio_async(fetch) {
    aio_result r;
    aio_await(r, aio_sleep(self->takes));
    if (r < 0) {                                        // cancelled: clean up, then hand it on
        printf("  fetch %s: cancelled, cleaning up\n", self->what);
        aio_await(aio_sleep(10 * AIO_MSEC));            // awaits work here as everywhere
        printf("  fetch %s: clean\n", self->what);
        return -ECANCELED;
    }
    printf("  fetch %s: %d\n", self->what, self->result);
    return self->result;
} aio_end

// Joins n tasks in order. After the first error the rest is cancelled, and joined all the same.
struct join_all {
    aio_frame aio;
    aio_task **tasks;
    aio_result *results;
    int n, i;
    aio_result error;
};

aio_async(join_all) {
    aio_result r;
    for (self->i = 0; self->i < self->n; self->i++) {
        aio_await(r, aio_join(self->tasks[self->i]));
        self->results[self->i] = r;
        if (r >= 0 || self->error < 0) continue;
        self->error = r;
        for (int k = self->i + 1; k < self->n; k++) aio_task_cancel(self->tasks[k]);
    }
    return self->error;
} aio_end

struct background { aio_frame aio; };

aio_async(background) {
    aio_result r;
    printf("  background: task \"%s\" starts\n", aio_task_name(aio_current_task()));
    aio_await(r, aio_sleep(AIO_FOREVER));
    printf("  background: %s when the program ended\n", r == -ECANCELED ? "cancelled" : "woken");
    return r;
} aio_end

struct tour {
    aio_frame aio;
    aio_task *tasks[3];
    aio_result results[3];
    struct join_all join_all;
};

aio_async(tour) {
    aio_result r;
    puts("three tasks, joined in order:");
    self->tasks[0] = aio_spawn(fetch, .what = "a", .takes = 60 * AIO_MSEC, .result = 1);
    self->tasks[1] = aio_spawn(fetch, .what = "b", .takes = 20 * AIO_MSEC, .result = 2);
    self->tasks[2] = aio_spawn(fetch, .what = "c", .takes = 40 * AIO_MSEC, .result = 3);
    aio_try(aio_call(&self->join_all, join_all, .tasks = self->tasks, .results = self->results,
                     .n = 3));
    printf("results: %d %d %d\n", (int)self->results[0], (int)self->results[1],
           (int)self->results[2]);

    puts("one fails, the rest is cancelled:");
    self->tasks[0] = aio_spawn(fetch, .what = "a", .takes = 20 * AIO_MSEC, .result = -EIO);
    self->tasks[1] = aio_spawn(fetch, .what = "b", .takes = AIO_FOREVER);
    aio_await(r, aio_call(&self->join_all, join_all, .tasks = self->tasks,
                          .results = self->results, .n = 2));
    printf("error: %s (%s)\n", aio_strerror(r), strerror((int)-r));
    if (r == -ECANCELED) return r;                      // it was this task that was cancelled

    puts("a task with a name, detached: it runs on by itself");
    self->tasks[0] = aio_spawn(background);
    aio_task_set_name(self->tasks[0], "housekeeping");
    aio_detach(self->tasks[0]);
    aio_try(aio_sleep(20 * AIO_MSEC));
    puts("end: what still runs is cancelled");
    return 0;
} aio_end

int main(void)
{
    return aio_run(tour) < 0;
}
