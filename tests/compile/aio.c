// aio.h alone, with all of its macros in use. Valid C11 and C++17.
#include "aio.h"

struct leaf {
    aio_frame aio;
    int n;
    char buffer[256];
};
struct outer {
    aio_frame aio;
    struct leaf child;
    aio_slot(leaf) slot;
    aio_task *task;
    aio_future future;
    int sum;
};
aio_declare(outer);
aio_scratch(leaf, buffer);
aio_drop(leaf) {
    return self->n < 0 ? dropped : 0;
} aio_end
aio_async(leaf) {
    for (; self->n > 0; self->n--) aio_try(aio_next_turn());
    if (self->n < 0) aio_await(aio_call_new(outer, .sum = 1));
    return self->n;
} aio_end
aio_async(outer) {
    int r;
    aio_result wide;
    aio_await(r, aio_call(&self->child, leaf, .n = 3));
    self->sum += r;
    aio_await(wide, aio_call_new(leaf, .n = 2));
    self->sum += (int)wide;
    self->task = aio_spawn(leaf, .n = 1);
    aio_task_cancel(self->task);
    aio_await(r, aio_join(self->task));
    aio_await(r, aio_join(aio_spawn_in(&self->slot, leaf, .n = 1)));
    aio_detach(aio_spawn_eager(leaf));
    aio_future_set_result(&self->future, 5);
    aio_try(r, aio_future_wait(&self->future));
    return self->sum + r;
} aio_end

aio_result use_aio(aio_executor *x);
aio_result use_aio(aio_executor *x)
{
    aio_task *t = aio_spawn_on(x, outer, .sum = 1);
    while (!aio_task_done(t) && aio_executor_turn(x)) {}
    aio_result r = aio_task_result(t);
    aio_detach(t);
    return r;
}
