// 16_retry - a slow operation is cut at one second; a retry with limits and back-off.
//
// Shows:  aio_wait_for (one await), aio_timeout_enter (a block), and both together: each attempt
//         has a limit, the pauses double, and the whole has a limit too.
// Run:    cc -O2 -iquote . examples/16_retry.c -o retry && ./retry
// Prints: what happens, with the simulated time. On the virtual clock, so at once.
#include "aio_loop.h"

static double seconds_now(void)
{
    return (double)aio_loop_time(aio_running_loop()) / (double)AIO_SECOND;
}

struct slow { aio_frame aio; };

aio_async(slow) {
    aio_try(aio_sleep(3600 * AIO_SECOND));
    puts("never reached");
} aio_end

struct cut {
    aio_frame aio;
    struct slow slow;
    aio_timeout limit;
};

aio_async(cut) {
    aio_result r;
    aio_await(r, aio_wait_for(AIO_SECOND, aio_call(&self->slow, slow)));
    if (r == -ECANCELED) return r;                          // it was this task that was cancelled
    printf("%5.1f s  aio_wait_for: %s\n", seconds_now(), aio_strerror(r));

    aio_try(aio_timeout_enter(&self->limit, AIO_SECOND));
    aio_await(r, aio_call(&self->slow, slow));
    r = aio_timeout_exit(&self->limit, r);
    printf("%5.1f s  aio_timeout: %s%s\n", seconds_now(), aio_strerror(r),
           aio_timeout_expired(&self->limit) ? ", it expired" : "");
    return r == -ECANCELED ? r : 0;
} aio_end

// A server that does not answer, then refuses, then answers.
struct request {
    aio_frame aio;
    int attempt;
};

aio_async(request) {
    if (self->attempt <= 2) aio_try(aio_sleep(AIO_FOREVER));
    aio_try(aio_sleep(AIO_SECOND / 5));
    return self->attempt == 3 ? -ECONNREFUSED : 42;
} aio_end

struct retry {
    aio_frame aio;
    int attempts;               // at most
    int64_t limit, pause;       // of each attempt; the first pause
    int i;
    aio_result r;
    struct request request;
};

aio_async(retry) {
    for (self->i = 1; self->i <= self->attempts; self->i++) {
        aio_await(self->r, aio_wait_for(self->limit, aio_call(&self->request, request,
                                                              .attempt = self->i)));
        printf("%5.1f s  attempt %d: %s\n", seconds_now(), self->i, aio_strerror(self->r));
        if (self->r >= 0 || self->r == -ECANCELED || self->i == self->attempts) break;
        aio_try(aio_sleep(self->pause));
        self->pause *= 2;       // a real one adds something random, so that not all clients come at once
    }
    return self->r;
} aio_end

struct persistent {
    aio_frame aio;
    union {
        struct cut cut;
        struct retry retry;
    } call;
};

aio_async(persistent) {
    aio_result r;
    aio_try(aio_call(&self->call.cut, cut));
    aio_try(r, aio_call(&self->call.retry, retry, .attempts = 5, .limit = AIO_SECOND,
                        .pause = AIO_SECOND / 2));
    printf("%5.1f s  the answer is %d\n", seconds_now(), (int)r);

    puts("the same with three seconds for all of it:");
    aio_await(r, aio_wait_for(3 * AIO_SECOND,
                              aio_call(&self->call.retry, retry, .attempts = 5, .limit = AIO_SECOND,
                                       .pause = AIO_SECOND / 2)));
    printf("%5.1f s  %s\n", seconds_now(), aio_strerror(r));
    return r == -ECANCELED ? r : 0;
} aio_end

int main(void)
{
    return aio_run_with(&(struct aio_loop_options){ .clock = AIO_CLOCK_VIRTUAL }, persistent) < 0;
}
