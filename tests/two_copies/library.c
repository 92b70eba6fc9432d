// A library with a copy of its own of the headers: waits for SIGUSR1 in a thread of its own, and puts
// work on its host's loop.
#include "aio_loop.h"
#include "two_copies.h"

struct waits { aio_frame aio; aio_signals signals; struct two_copies *shared; aio_result r; };
aio_async(waits) {
    if (self->shared->library_holds) aio_try(aio_signal_hold(&self->signals, SIGUSR1));
    __atomic_store_n(&self->shared->ready, 1, __ATOMIC_SEQ_CST);
    aio_await(self->r, aio_signal_wait(SIGUSR1));
    return self->r;
} aio_end
int library_waits(struct two_copies *shared)
{
    return (int)aio_run(waits, .shared = shared);
}
struct limited { aio_frame aio; aio_result r; };
aio_async(limited) {
    aio_await(self->r, aio_wait_for(AIO_MSEC, aio_sleep(AIO_FOREVER)));
    if (self->r != -ETIMEDOUT) return self->r;
    aio_await(self->r, aio_wait_for(60 * AIO_SECOND, aio_sleep(AIO_MSEC)));
    return self->r;
} aio_end
aio_task *library_starts(aio_loop *host) { return aio_spawn_on(host, limited); }
