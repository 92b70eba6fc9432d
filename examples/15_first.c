// 15_first - the first of several results; the rest is cancelled and awaited.
//
// Shows:  aio_wait with AIO_FIRST_COMPLETED for tasks, and aio_race for waits that need no task of
//         their own (sleeps, operations, futures). Either way nothing runs on when the winner is
//         known.
// Run:    cc -O2 -iquote . examples/15_first.c -o first && ./first
// Prints: who wins, and how the others end. On the virtual clock, so at once.
#include "aio_loop.h"

static void say_at(const char *who, const char *what)
{
    printf("  %.1f s  %s: %s\n",
           (double)aio_loop_time(aio_running_loop()) / (double)AIO_SECOND, who, what);
}

struct mirror {                     // asks one server for the same thing
    aio_frame aio;
    const char *name;
    int64_t takes;
    int answer;
};

aio_async(mirror) {
    aio_result r;
    aio_await(r, aio_sleep(self->takes));
    if (r < 0) {
        say_at(self->name, "cancelled, hanging up");
        aio_await(aio_sleep(AIO_SECOND / 10));              // the clean-up may wait
        say_at(self->name, "gone");
        return -ECANCELED;
    }
    say_at(self->name, "has an answer");
    return self->answer;
} aio_end

enum { MIRRORS = 3 };

struct first_of_tasks {
    aio_frame aio;
    aio_task *tasks[MIRRORS];
    aio_result results[MIRRORS];
    aio_result r;
    int winner;
};

aio_async(first_of_tasks) {
    self->tasks[0] = aio_spawn(mirror, .name = "Oslo", .takes = 3 * AIO_SECOND, .answer = 1);
    self->tasks[1] = aio_spawn(mirror, .name = "Paris", .takes = AIO_SECOND, .answer = 2);
    self->tasks[2] = aio_spawn(mirror, .name = "Quito", .takes = 2 * AIO_SECOND, .answer = 3);
    aio_await(self->r, aio_wait(self->tasks, MIRRORS, AIO_FIRST_COMPLETED));
    for (int i = MIRRORS; i-- > 0;) {
        if (aio_task_done(self->tasks[i])) self->winner = i;
        else aio_task_cancel(self->tasks[i]);
    }
    // Awaits them all and gives the handles up: also if we were cancelled ourselves.
    aio_result r;
    aio_await(r, aio_gather_all(self->tasks, self->results, MIRRORS));
    if (self->r < 0 || r < 0) return self->r < 0 ? self->r : r;
    return self->results[self->winner];
} aio_end

struct first_of_waits {
    aio_frame aio;
    aio_future button;              // somebody may complete it; nobody does here
    aio_op ops[2];
};

aio_async(first_of_waits) {
    int first;
    aio_result r;
    aio_try(aio_start(&self->ops[0], aio_future_wait(&self->button)));
    aio_try(aio_start(&self->ops[1], aio_sleep(2 * AIO_SECOND)));
    aio_try(first, aio_race(self->ops, 2));
    r = aio_op_result(&self->ops[!first]);
    printf("  the other one: %s\n", aio_strerror(r));
    return first;
} aio_end

struct first_wins {
    aio_frame aio;
    union {
        struct first_of_tasks tasks;
        struct first_of_waits waits;
    } call;
};

aio_async(first_wins) {
    aio_result r;
    puts("three tasks:");
    aio_try(r, aio_call(&self->call.tasks, first_of_tasks));
    printf("  answer %d, from task number %d\n", (int)r, self->call.tasks.winner);
    puts("two waits, no task:");
    aio_try(r, aio_call(&self->call.waits, first_of_waits));
    printf("  first: %s\n", r == 0 ? "the button" : "the time was over");
    return 0;
} aio_end

int main(void)
{
    return aio_run_with(&(struct aio_loop_options){ .clock = AIO_CLOCK_VIRTUAL }, first_wins) < 0;
}
