// A program and a library, each with a copy of the headers: neither takes the other's signals away,
// in whatever order they come and go.
#include "aio_loop.h"
#include <sys/wait.h>
#include "two_copies.h"

static struct two_copies shared;
static int library_got, failures;
static void check(bool good, const char *what)
{
    static int n;
    printf("%s %d - %s\n", good ? "ok" : "not ok", ++n, what);
    failures += !good;
}
static void *library_thread(void *arg)
{
    (void)arg;
    library_got = library_waits(&shared);
    return NULL;
}
static pthread_t library_begin(void)
{
    pthread_t t;
    shared.ready = 0;
    pthread_create(&t, NULL, library_thread, NULL);
    while (!__atomic_load_n(&shared.ready, __ATOMIC_SEQ_CST)) usleep(1000);
    usleep(10000);
    return t;
}
struct holds { aio_frame aio; aio_signals signals; bool library_first; pthread_t t; aio_result r; };
aio_async(holds) {
    if (self->library_first) self->t = library_begin();
    aio_try(aio_signal_hold(&self->signals, SIGUSR1));
    if (!self->library_first) self->t = library_begin();
    kill(getpid(), SIGUSR1);                    // both want it
    aio_await(self->r, aio_signal_wait(SIGUSR1));
    pthread_join(self->t, NULL);
    check(self->r == SIGUSR1 && library_got == SIGUSR1, "both get it");
    self->t = library_begin();
    aio_signal_release(&self->signals);         // the program does not want it any more
    kill(getpid(), SIGUSR1);
    pthread_join(self->t, NULL);
    check(library_got == SIGUSR1, "the library gets it after the program's release");
    aio_try(aio_signal_hold(&self->signals, SIGUSR1));
    kill(getpid(), SIGUSR1);                    // the library does not
    aio_await(self->r, aio_signal_wait(SIGUSR1));
    check(self->r == SIGUSR1, "the program gets it after the library's end");
    return 0;
} aio_end
struct host { aio_frame aio; aio_result r; };
aio_async(host) {
    aio_await(self->r, aio_join(library_starts(aio_running_loop())));
    check(self->r == 0, "a limit in the library's coroutine on the program's loop");
    return 0;
} aio_end
int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 4096);
    check(aio_run(host) == 0, "the host's run");
    for (int round = 0; round < 4; round++) {
        shared.library_holds = round & 1;
        check(aio_run(holds, .library_first = round & 2) == 0, "a run");
        pid_t child = fork();                   // nobody wants it now, so it does what it did before
        int status;
        if (!child) {
            kill(getpid(), SIGUSR1);
            _exit(0);
        }
        waitpid(child, &status, 0);
        check(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1, "it is at its default again");
    }
    return failures != 0;
}
