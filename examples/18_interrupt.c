// 18_interrupt - Ctrl-C cancels everything, and each task cleans up with awaits.
//
// Shows:  SIGINT under aio_run cancels the main task; its group hands that on to its tasks and
//         waits for them; what is left when the main task has ended is cancelled by aio_run. The
//         result is -EINTR.
// Run:    cc -O2 -iquote . examples/18_interrupt.c -o interrupt && ./interrupt
//         Then press Ctrl-C. (A second Ctrl-C, within the half second of cleaning up, ends it at once.)
// Prints: who cleans up, in order; exit status 130.
#include "aio_loop.h"

struct session {
    aio_frame aio;
    const char *name;
    int64_t flush;              // how long it takes to write out what is not yet written
};

aio_async(session) {
    aio_result r;
    do aio_await(r, aio_sleep(AIO_SECOND / 100));           // stands for work
    while (r >= 0);
    printf("%s: %s, saving\n", self->name, aio_strerror(r));
    aio_await(aio_sleep(self->flush));                      // cancelled once: awaits work again
    printf("%s: saved\n", self->name);
    return -ECANCELED;                                      // hand it on
} aio_end

struct journal { aio_frame aio; };

aio_async(journal) {                                        // belongs to nobody: aio_run ends it
    aio_result r;
    aio_await(r, aio_sleep(AIO_FOREVER));
    puts("journal: closed, last of all");
    return r;
} aio_end

struct service {
    aio_frame aio;
    aio_group group;
};

aio_async(service) {
    aio_result r;
    aio_detach(aio_spawn(journal));
    aio_try(aio_group_enter(&self->group));
    (void)aio_group_spawn(&self->group, session, .name = "first session", .flush = AIO_SECOND / 2);
    (void)aio_group_spawn(&self->group, session, .name = "second session", .flush = AIO_SECOND / 4);
    puts("running; press Ctrl-C");
    aio_await(r, aio_sleep(AIO_FOREVER));
    printf("main: %s\n", aio_strerror(r));
    aio_await(r, aio_group_exit(&self->group, r));          // cancels its tasks, and waits for them
    puts("main: both sessions are over");
    return r;
} aio_end

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    aio_result r = aio_run(service);
    printf("aio_run: %s\n", aio_strerror(r));
    return r == -EINTR ? 130 : r < 0;
}
