// 12_sequence - awaited one after the other, created as tasks, gathered.
//
// Shows:  a call waits before the next one begins; tasks run from their creation on, whoever waits
//         for them; results of a gather stand in the order of its tasks, not in the order in which
//         they end.
// Run:    cc -O2 -iquote . examples/12_sequence.c -o sequence && ./sequence
// Prints: three ways to say the same things, and the seconds each takes. On the virtual clock, so
//         at once.
#include "aio_loop.h"

static double elapsed_since(int64_t began)
{
    return (double)(aio_loop_time(aio_running_loop()) - began) / (double)AIO_SECOND;
}

struct say_after {
    aio_frame aio;
    int seconds;
    const char *what;
};

aio_async(say_after) {
    aio_try(aio_sleep(self->seconds * AIO_SECOND));
    printf("  %s\n", self->what);
    return self->seconds;
} aio_end

struct one_by_one {
    aio_frame aio;
    struct say_after call;
};

aio_async(one_by_one) {
    aio_try(aio_call(&self->call, say_after, .seconds = 1, .what = "hello"));
    aio_try(aio_call(&self->call, say_after, .seconds = 2, .what = "world"));
} aio_end

struct two_tasks {
    aio_frame aio;
    aio_task *hello, *world;
};

aio_async(two_tasks) {
    aio_result hello, world;
    self->hello = aio_spawn(say_after, .seconds = 1, .what = "hello");
    self->world = aio_spawn(say_after, .seconds = 2, .what = "world");
    aio_await(hello, aio_join(self->hello));    // each handle is given up, also if the first one fails
    if (hello < 0) {
        aio_detach(self->world);
        return hello;
    }
    aio_await(world, aio_join(self->world));
    return world < 0 ? world : 0;
} aio_end

struct gathered {
    aio_frame aio;
    aio_task *tasks[3];
    aio_result results[3];
};

aio_async(gathered) {
    self->tasks[0] = aio_spawn(say_after, .seconds = 3, .what = "slowest");
    self->tasks[1] = aio_spawn(say_after, .seconds = 1, .what = "fastest");
    self->tasks[2] = aio_spawn(say_after, .seconds = 2, .what = "in between");
    aio_result r;
    aio_await(r, aio_gather(self->tasks, self->results, 3));
    for (int i = 0; i < 3; i++)
        if (self->tasks[i]) aio_detach(self->tasks[i]);     // after an error: those that still run
    if (r < 0) return r;
    printf("  results: %d %d %d\n", (int)self->results[0], (int)self->results[1],
           (int)self->results[2]);
    return 0;
} aio_end

struct three_ways {
    aio_frame aio;
    int64_t began;
    union {
        struct one_by_one one_by_one;
        struct two_tasks two_tasks;
        struct gathered gathered;
    } call;
};

aio_async(three_ways) {
    puts("awaited one after the other:");
    self->began = aio_loop_time(aio_running_loop());
    aio_try(aio_call(&self->call.one_by_one, one_by_one));
    printf("  %.0f s\n", elapsed_since(self->began));

    puts("created as two tasks, then awaited:");
    self->began = aio_loop_time(aio_running_loop());
    aio_try(aio_call(&self->call.two_tasks, two_tasks));
    printf("  %.0f s\n", elapsed_since(self->began));

    puts("gathered:");
    self->began = aio_loop_time(aio_running_loop());
    aio_try(aio_call(&self->call.gathered, gathered));
    printf("  %.0f s\n", elapsed_since(self->began));
} aio_end

int main(void)
{
    return aio_run_with(&(struct aio_loop_options){ .clock = AIO_CLOCK_VIRTUAL }, three_ways) < 0;
}
