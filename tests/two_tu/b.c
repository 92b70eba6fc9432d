// The second translation unit: defines `relay`, spawns `adder` of the first.
#include "shared.h"

#ifndef RIGGED      // the control's wrong answer
#  define RIGGED 0
#endif

aio_task *b_spawn(int a, int b)
{
    return aio_spawn(adder, .a = a + RIGGED, .b = b, .pause_ns = 10);
}
aio_loop *b_running_loop(void) { return aio_running_loop(); }
aio_result b_cancel_and_look(aio_task *t) { return aio_task_cancel(t) ? aio_task_result(t) : -EIO; }
const void *b_ready_class(void) { return &aio__ready; }
const void *b_adder(void) { return &AIO__CO(adder); }

aio_async_extern(relay) {
    int r;
    if (!self->n) return 0;
    self->task = aio_spawn_in(&self->slot, adder, .a = self->n, .b = 1);
    aio_try(r, aio_join(self->task));
    if (r != self->n + 1) return -EIO;
    aio_try(r, aio_call_new(relay, .n = self->n - 1));
    return r + 1;
} aio_end
