// Tasks, limits, groups, locks, queues: every macro over them. Valid C11 and C++17.
#include "aio_loop.h"

struct job {
    aio_frame aio;
    int value;
};
aio_async(job) {
    aio_yield(self->value);
    return 0;
} aio_end
struct together {
    aio_frame aio;
    aio_task *tasks[2];
    aio_result results[2];
    aio_future future, *futures[1];
    aio_op ops[2], *op_pointers[1];
    aio_group group;
    aio_timeout timeout;
    aio_completed completed;
    aio_lock lock;
    aio_event event;
    aio_condition condition;
    aio_semaphore semaphore;
    aio_barrier barrier;
    aio_queue queue;
    int items[4], item;
    struct job gen;
};
aio_async(together) {
    aio_result r;
    self->tasks[0] = aio_spawn(job);
    self->tasks[1] = aio_spawn(job);
    aio_await(r, aio_wait(self->tasks, 2, AIO_FIRST_COMPLETED));
    aio_await(r, aio_wait_timeout(self->tasks, 2, AIO_ALL_COMPLETED, AIO_SECOND));
    aio_await(r, aio_gather(self->tasks, self->results, 2));
    aio_await(r, aio_gather_all(self->tasks, self->results, 2));
    self->futures[0] = &self->future;
    aio_await(r, aio_wait(self->futures, 1, AIO_FIRST_ERROR));
    aio_completed_init(&self->completed, self->futures, 1, AIO_SECOND);
    aio_await(r, aio_completed_next(&self->completed));
    aio_completed_close(&self->completed);
    aio_start(&self->ops[0], aio_sleep(1));
    aio_start(&self->ops[1], aio_event_wait(&self->event));
    self->op_pointers[0] = &self->ops[0];
    aio_await(r, aio_race(self->ops, 2));
    aio_await(r, aio_race(self->op_pointers, 1));
    aio_group_enter(&self->group);
    aio_group_spawn(&self->group, job, .value = 3);
    aio_await(r, aio_group_exit(&self->group, r));
    aio_timeout_enter(&self->timeout, AIO_SECOND);
    aio_await(r, aio_wait_for(AIO_MSEC, aio_lock_acquire(&self->lock)));
    aio_condition_init(&self->condition, &self->lock);
    aio_await(r, aio_condition_wait(&self->condition));
    aio_lock_release(&self->lock);
    r = aio_timeout_exit(&self->timeout, r);
    aio_semaphore_init(&self->semaphore, 1, 1);
    aio_try(aio_semaphore_acquire(&self->semaphore));
    aio_barrier_init(&self->barrier, 1);
    aio_try(aio_barrier_wait(&self->barrier));
    aio_queue_init(&self->queue, self->items, sizeof *self->items, 4, 0, 0, 0);
    aio_try(aio_queue_put(&self->queue, &self->item));
    aio_try(aio_queue_get(&self->queue, &self->item));
    aio_gen_init(&self->gen, job, .value = 4);
    aio_try(r, aio_next(&self->gen));
    self->item = aio_gen_value(&self->gen);
    self->results[0] = r;
    aio_try(aio_gen_close(&self->gen));
    return self->results[0];
} aio_end
aio_result use_together(void);
aio_result use_together(void) { return aio_run(together); }
