// 24_multicore - an echo server on all cores: a loop per core, each with a listening socket of its
// own.
//
// Shows:  aio_run_threads; one port for several sockets (SO_REUSEPORT: the kernel spreads the
//         connections); messages between loops: each connection is reported to thread 0, which
//         counts.
// Run:    cc -O2 -iquote . examples/24_multicore.c -o multicore -luring -lpthread && ./multicore 7777 4
//         (0 threads: one per processor.) Clients: nc 127.0.0.1 7777. Ctrl-C ends it.
// Prints: at the end how many connections each thread had.
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

struct books { uint32_t threads, connections[256]; };       // only thread 0 writes

struct keep { aio_frame aio; struct books *books; uint64_t thread; };

aio_async(keep) {
    self->books->threads = aio_thread_count();
    for (;;) {
        aio_try(aio_loop_receive(&self->thread));
        self->books->connections[self->thread % 256]++;
    }
} aio_end

struct server { aio_frame aio; int port, listener; struct books *books; aio_result fd; };

aio_async(server) {
    static const struct aio_listen_options options = { .reuse_port = true };
    if (aio_thread_index() == 0) aio_detach(aio_spawn(keep, .books = self->books));
    aio_try(self->listener, aio_listen_tcp_with("127.0.0.1", self->port, &options));
    do {
        aio_await(self->fd, aio_accept(self->listener));
        if (self->fd < 0) break;
        aio_detach(aio_spawn(echo, .fd = (int)self->fd));
        (void)aio_loop_post(aio_thread_loop(0), aio_thread_index());    // a report lost is no harm
    } while (self->fd >= 0);
    aio_await(aio_close(self->listener));
    return self->fd;
} aio_end

int main(int argc, char **argv)
{
    static struct books books;
    int port = argc > 1 ? atoi(argv[1]) : 7777;
    unsigned threads = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
    aio_result r = aio_run_threads(threads, server, .port = port, .books = &books);
    for (uint32_t i = 0; i < books.threads && i < 256; i++)
        printf("thread %u: %u connections\n", i, books.connections[i]);
    if (r == -EINTR) return 0;
    return fprintf(stderr, "multicore: 127.0.0.1 port %d: %s\n", port, strerror((int)-r)), 1;
}
