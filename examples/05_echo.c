// 05_echo - an echo server: what a client sends comes back.
//
// Shows:  sockets; a task per connection; a drop hook, which closes the descriptor of a task that
//         never gets to run. 25 lines.
// Run:    cc -O2 -iquote . examples/05_echo.c -o echo -luring && ./echo 7777
//         In another terminal: nc 127.0.0.1 7777      (Ctrl-C ends both)
// Prints: nothing, unless it fails: which address, and why.
// Also valid C++17.
#include "aio_io_uring.h"

struct echo { aio_frame aio; int fd; aio_result n; char buf[4096]; };

aio_drop(echo) { if (dropped < 0) close(self->fd); } aio_end

aio_async(echo) {
    do {
        aio_await(self->n, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
        if (self->n > 0) aio_await(self->n, aio_send_all(self->fd, self->buf, (size_t)self->n, 0));
    } while (self->n > 0);
    aio_await(aio_close(self->fd));
} aio_end

struct server { aio_frame aio; int port, listener; aio_result fd; };

aio_async(server) {
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", self->port));
    do {
        aio_await(self->fd, aio_accept(self->listener));
        if (self->fd >= 0) aio_detach(aio_spawn(echo, .fd = (int)self->fd));
    } while (self->fd >= 0);
    aio_await(aio_close(self->listener));
    return self->fd;
} aio_end

int main(int argc, char **argv)
{
    int port = argc > 1 ? atoi(argv[1]) : 7777;
    aio_result r = aio_run(server, .port = port);
    return fprintf(stderr, "echo: 127.0.0.1 port %d: %s\n", port, strerror((int)-r)), 1;
}
