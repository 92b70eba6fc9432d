// 02_sleep - three tasks at the same time, and the same work one after another.
//
// Shows:  aio_spawn (a task runs on its own) and aio_gather; aio_call (a call runs here and now).
// Run:    cc -O2 -iquote . examples/02_sleep.c -o sleep3 && ./sleep3
// Prints: One One One Two Two Two, in 1 second; One Two One Two One Two, in 3 seconds.
#include "aio_loop.h"

struct count { aio_frame aio; };

aio_async(count) {
    printf("One ");
    aio_try(aio_sleep(AIO_SECOND));
    printf("Two ");
} aio_end

struct together {
    aio_frame aio;
    aio_task *tasks[3];
};

aio_async(together) {
    for (int i = 0; i < 3; i++) self->tasks[i] = aio_spawn(count);
    aio_try(aio_gather(self->tasks, NULL, 3));
} aio_end

struct in_turn {
    aio_frame aio;
    struct count count; // the frame of the call
    int i;              // lives across an await: in the frame, not a local
};

aio_async(in_turn) {
    for (self->i = 0; self->i < 3; self->i++) aio_try(aio_call(&self->count, count));
} aio_end

struct both_ways {
    aio_frame aio;
    int64_t began;
    struct together together;
    struct in_turn in_turn;
};

static int seconds_since(int64_t began)
{
    return (int)((aio_loop_time(aio_running_loop()) - began + AIO_SECOND / 2) / AIO_SECOND);
}

aio_async(both_ways) {
    self->began = aio_loop_time(aio_running_loop());
    aio_try(aio_call(&self->together, together));
    printf("- together: %d s\n", seconds_since(self->began));
    self->began = aio_loop_time(aio_running_loop());
    aio_try(aio_call(&self->in_turn, in_turn));
    printf("- one after another: %d s\n", seconds_since(self->began));
} aio_end

int main(void)
{
    return aio_run(both_ways) < 0;
}
