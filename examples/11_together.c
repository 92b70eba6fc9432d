// 11_together - limits and groups: structured concurrency.
//
// Shows:  aio_wait_for (a limit for one await), aio_timeout_enter (a limit for a block), a group
//         (its tasks end with the block; one fails: the others are cancelled), aio_shield, a queue
//         between a producer and workers.
// Run:    cc -O2 -iquote . examples/11_together.c -o together && ./together
// Prints: how each of them ends. On the virtual clock, so at once.
#include "aio_loop.h"

struct job {
    aio_frame aio;
    const char *name;
    int64_t takes;
    int result;
};

aio_async(job) {
    aio_result r;
    aio_await(r, aio_sleep(self->takes));
    printf("  %s: %s\n", self->name, r < 0 ? aio_strerror(r) : "done");
    return r < 0 ? r : self->result;
} aio_end

struct limits {
    aio_frame aio;
    struct job job;
    aio_timeout timeout;
    aio_task *task;
    int i;
};

aio_async(limits) {
    aio_result r;
    puts("a limit for one await:");
    aio_await(r, aio_wait_for(AIO_SECOND, aio_call(&self->job, job, .name = "slow",
                                                   .takes = 5 * AIO_SECOND)));
    printf("  %s\n", aio_strerror(r));

    puts("a limit for a block:");
    aio_try(aio_timeout_enter(&self->timeout, 10 * AIO_SECOND));
    for (self->i = 0, r = 0; r >= 0; self->i++) aio_await(r, aio_sleep(3 * AIO_SECOND));
    r = aio_timeout_exit(&self->timeout, r);
    printf("  %s in sleep number %d\n", aio_strerror(r), self->i);

    puts("a shield: the limit ends the waiting, not the task:");
    self->task = aio_spawn(job, .name = "important", .takes = 5 * AIO_SECOND, .result = 7);
    aio_await(r, aio_wait_for(AIO_SECOND, aio_shield(self->task)));
    printf("  %s\n", aio_strerror(r));
    aio_try(r, aio_join(self->task));
    printf("  and it gave %d\n", (int)r);
} aio_end

struct failing {
    aio_frame aio;
    aio_group group;
};

aio_async(failing) {
    aio_result r;
    puts("a group, of which one fails:");
    aio_try(aio_group_enter(&self->group));
    (void)aio_group_spawn(&self->group, job, .name = "a (which fails)", .takes = AIO_SECOND,
                          .result = -EIO);
    (void)aio_group_spawn(&self->group, job, .name = "b", .takes = 3600 * AIO_SECOND);
    aio_await(r, aio_group_exit(&self->group, 0));
    printf("  the group: %s\n", aio_strerror(r));
} aio_end

struct consumer {
    aio_frame aio;
    aio_queue *queue;
    const char *name;
    int item;
};

aio_async(consumer) {
    aio_result r;
    for (;;) {
        aio_await(r, aio_queue_get(self->queue, &self->item));
        if (r == -ESHUTDOWN) return 0;      // empty, and nothing more will come
        if (r < 0) return r;
        printf("  %s takes %d\n", self->name, self->item);
        aio_try(aio_sleep(self->item * AIO_SECOND));
    }
} aio_end

struct pipeline {
    aio_frame aio;
    aio_queue queue;
    int storage[2];                         // the producer waits when both are full
    aio_group group;
    int i;
};

aio_async(pipeline) {
    aio_result r;
    puts("a queue with two workers:");
    aio_queue_init(&self->queue, self->storage, sizeof self->storage[0], 2, 0, NULL, NULL);
    aio_try(aio_group_enter(&self->group));
    (void)aio_group_spawn(&self->group, consumer, .queue = &self->queue, .name = "x");
    (void)aio_group_spawn(&self->group, consumer, .queue = &self->queue, .name = "y");
    for (self->i = 1; self->i <= 5; self->i++) aio_try(aio_queue_put(&self->queue, &self->i));
    aio_queue_shutdown(&self->queue, false);
    aio_await(r, aio_group_exit(&self->group, 0));
    return r;
} aio_end

struct structured {
    aio_frame aio;
    union {
        struct limits limits;
        struct failing failing;
        struct pipeline pipeline;
    } call;
};

aio_async(structured) {
    aio_try(aio_call(&self->call.limits, limits));
    aio_try(aio_call(&self->call.failing, failing));
    aio_try(aio_call(&self->call.pipeline, pipeline));
} aio_end

int main(void)
{
    return aio_run_with(&(struct aio_loop_options){ .clock = AIO_CLOCK_VIRTUAL }, structured) < 0;
}
