// 21_blocking - a call that blocks, found and cured.
//
// Shows:  a step that takes long stops everything; .slow_step_ns names it (so does AIO_DEBUG=1 in
//         the environment, from 100 ms on); aio_to_thread runs the call on a thread, and the loop
//         goes on.
// Run:    cc -O2 -iquote . -pthread examples/21_blocking.c -o blocking && ./blocking
// Prints: how often a task that ticks every 10 ms ticked meanwhile, and the report on standard
//         error: aio: a step blocked the loop for 0.400 s at examples/21_blocking.c:29: blocks:
//         aio_sleep(0)
#include "aio_loop.h"

static int old_library_call(void *arg)          // stands for DNS, a database, a compression
{
    (void)arg;
    usleep(400000);
    return 7;
}

struct ticker { aio_frame aio; int *ticks; };

aio_async(ticker) {
    for (;;) {
        aio_try(aio_sleep(10 * AIO_MSEC));
        ++*self->ticks;
    }
} aio_end

struct blocks { aio_frame aio; };

aio_async(blocks) {
    aio_try(aio_sleep(0));                      // the report names the await behind which the step began
    return old_library_call(NULL);              // nothing else runs
} aio_end

struct does_not_block { aio_frame aio; };

aio_async(does_not_block) {
    int r;
    aio_try(r, aio_to_thread(old_library_call, NULL));
    return r;
} aio_end

struct compare {
    aio_frame aio;
    int ticks;
    union {
        struct blocks blocks;
        struct does_not_block does_not_block;
    } call;
    aio_task *ticker;
};

aio_async(compare) {
    aio_result r;
    self->ticker = aio_spawn(ticker, .ticks = &self->ticks);
    aio_await(r, aio_call(&self->call.blocks, blocks));
    printf("a blocking call gave %d; the ticker: %s\n", (int)r,
           self->ticks ? "went on" : "stood still");
    self->ticks = 0;
    aio_await(r, aio_call(&self->call.does_not_block, does_not_block));
    printf("on a thread it gave %d; the ticker: %s\n", (int)r,
           self->ticks >= 5 ? "went on" : "stood still");
    aio_task_cancel(self->ticker);
    aio_await(aio_join(self->ticker));
    return 0;
} aio_end

int main(void)
{
    return aio_run_with(&(struct aio_loop_options){ .slow_step_ns = 200 * AIO_MSEC }, compare) < 0;
}
