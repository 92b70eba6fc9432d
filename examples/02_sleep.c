// 02_sleep - three tasks at the same time, and the same work one after another.
//
// Shows:  aio_spawn and aio_join (a task runs on its own), aio_call (a call runs here and now).
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
    aio_result error;
    int i;              // lives across an await: in the frame, not a local
};

aio_async(together) {
    aio_result r;
    for (self->i = 0; self->i < 3; self->i++) self->tasks[self->i] = aio_spawn(count);
    for (self->i = 0; self->i < 3; self->i++) {
        aio_await(r, aio_join(self->tasks[self->i]));   // gives the handle up, whatever the result
        if (r < 0) self->error = r;                     // the others are joined all the same
    }
    return self->error;
} aio_end

struct in_turn {
    aio_frame aio;
    struct count count; // the frame of the call
    int i;
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
