// An interrupt that comes when the loop has looked, and has not yet begun to wait.
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE
#endif
#include <poll.h>
#include <signal.h>
static int interrupts_left;
static int interrupted_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *limit,
                             const sigset_t *mask)
{
    if (interrupts_left && interrupts_left--) raise(SIGINT);
    return ppoll(fds, n, limit, mask);
}
#define ppoll interrupted_ppoll
#include "core.h"

struct waits { aio_frame aio; };
aio_async(waits) {
    interrupts_left = 1;
    aio_try(aio_sleep(1000 * AIO_SECOND));
    return 0;
} aio_end
static void RN_5_an_interrupt_just_before_the_wait(void **state)
{
    (void)state;
    struct aio_loop_options o = core_options(AIO_CLOCK_MONOTONIC);
    alarm(60);                          // nobody else would wake it
    assert_result(aio_run_with(&o, waits), -EINTR);
    alarm(0);
    assert_int_equal(interrupts_left, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { core_test(RN_5_an_interrupt_just_before_the_wait) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
