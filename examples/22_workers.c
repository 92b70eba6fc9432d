// 22_workers - a producer and consumers around a bounded queue, and a join.
//
// Shows:  aio_queue_put waits while the queue is full; aio_queue_join waits until every item that
//         was put is done (aio_queue_task_done), not only taken; then the workers are cancelled
//         with their group. 11_together shows the other way to end: aio_queue_shutdown.
// Run:    cc -O2 -iquote . examples/22_workers.c -o workers && ./workers
// Prints: who does what, and how much time three workers save. On the virtual clock, so at once.
#include "aio_loop.h"

enum { ITEMS = 8, CREW = 3, CAPACITY = 2 };

static double clock_now(void)
{
    return (double)aio_loop_time(aio_running_loop()) / (double)AIO_SECOND;
}

struct item { int number, seconds; };           // any type: items are copied in and out

struct stage {                                  // shared by all: one thread, so no lock
    aio_queue queue;
    struct item storage[CAPACITY];
    int seconds_of_work;
};

struct produce {
    aio_frame aio;
    struct stage *stage;
    struct item item;                           // must stay until the put is over: in the frame
};

aio_async(produce) {
    for (self->item.number = 1; self->item.number <= ITEMS; self->item.number++) {
        self->item.seconds = 1 + self->item.number % 3;
        if (aio_queue_count(&self->stage->queue) == CAPACITY)
            printf("%4.1f s  producer waits with item %d: the queue is full\n", clock_now(),
                   self->item.number);
        aio_try(aio_queue_put(&self->stage->queue, &self->item));
    }
    printf("%4.1f s  producer has put all\n", clock_now());
} aio_end

struct work_off {
    aio_frame aio;
    struct stage *stage;
    int name;
    struct item item;
};

aio_async(work_off) {
    for (;;) {
        aio_try(aio_queue_get(&self->stage->queue, &self->item));
        aio_try(aio_sleep(self->item.seconds * AIO_SECOND));
        printf("%4.1f s  worker %c: item %d\n", clock_now(), self->name, self->item.number);
        self->stage->seconds_of_work += self->item.seconds;
        aio_queue_task_done(&self->stage->queue);
    }
} aio_end

struct factory {
    aio_frame aio;
    struct stage stage;
    struct produce produce;
    aio_group workers;
};

aio_async(factory) {
    aio_result r;
    aio_try(aio_queue_init(&self->stage.queue, self->stage.storage, sizeof(struct item), CAPACITY,
                           0, NULL, NULL));
    aio_try(aio_group_enter(&self->workers));
    for (int i = 0; i < CREW; i++)
        (void)aio_group_spawn(&self->workers, work_off, .stage = &self->stage, .name = 'a' + i);
    // An error, or a cancel, returns from here: the group is ended first, for it cannot outlive us.
    aio_try(aio_call(&self->produce, produce, .stage = &self->stage));
    aio_try(aio_queue_join(&self->stage.queue));
    printf("%4.1f s  all is done\n", clock_now());
    aio_group_cancel(&self->workers);           // they wait for more; nothing will come
    aio_await(r, aio_group_exit(&self->workers, 0));
    printf("%d s of work in %.0f s\n", self->stage.seconds_of_work, clock_now());
    return r;
} aio_end

int main(void)
{
    return aio_run_with(&(struct aio_loop_options){ .clock = AIO_CLOCK_VIRTUAL }, factory) < 0;
}
