// The first translation unit: defines `adder`, has the loop, awaits what the second has spawned.
#include "shared.h"
#include <stdio.h>

aio_async_extern(adder) {
    aio_try(aio_sleep(self->pause_ns));
    return self->a + self->b;
} aio_end

struct test {
    aio_frame aio;
    struct relay relay;
    aio_task *t;
};
static int failed;
#define CHECK(n, what) printf("%s %d - %s\n", (what) ? "ok" : (failed = 1, "not ok"), n, #what)
aio_async(test) {
    int r;
    CHECK(1, b_running_loop() == aio_running_loop());
    self->t = b_spawn(2, 3);
    aio_await(r, aio_join(self->t));
    CHECK(2, r == 5);
    aio_await(r, aio_call(&self->relay, relay, .n = 4));
    CHECK(3, r == 4);
    self->t = b_spawn(1, 1);
    aio_await(aio_next_turn());
    CHECK(4, b_cancel_and_look(self->t) == -EINPROGRESS);
    aio_await(r, aio_join(self->t));
    CHECK(5, r == -ECANCELED);
    CHECK(6, b_ready_class() != (const void *)&aio__ready);     // tables are each file's own
    CHECK(7, b_adder() == (const void *)&AIO__CO(adder));       // an extern coroutine is one
    return 0;
} aio_end

int main(void)
{
    struct aio_loop_options options = { AIO_CLOCK_VIRTUAL };
    int r = (int)aio_run_with(&options, test);
    CHECK(8, r == 0);
    CHECK(9, !b_running_loop());
    return failed;
}
