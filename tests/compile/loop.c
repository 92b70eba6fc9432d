// aio_loop.h alone. Valid C11 and C++17.
#include "aio_loop.h"

struct pause {
    aio_frame aio;
    int64_t ns;
};
aio_async(pause) {
    aio_try(aio_sleep(self->ns));
    aio_await(aio_sleep_until(aio_loop_time(aio_running_loop()) + AIO_USEC));
    return 1;
} aio_end
struct pauses {
    aio_frame aio;
    struct pause child;
    int sum;
};
aio_async(pauses) {
    int r;
    aio_try(r, aio_call(&self->child, pause, .ns = AIO_USEC));
    self->sum += r;
    aio_try(r, aio_join(aio_spawn(pause, .ns = 1)));
    aio_loop_dump(aio_running_loop(), stderr);
    return self->sum + r;
} aio_end
aio_result use_loop(void);
aio_result use_loop(void)
{
    aio_loop loop;
    aio_result r = aio_loop_init(&loop, 0);
    if (r < 0) return r;
    aio_task *t = aio_spawn_on(&loop, pauses);
    r = aio_loop_run_until_complete(&loop, t);
    aio_detach(t);
    aio_loop_close(&loop);
    return r < 0 ? r : aio_run(pauses);
}
