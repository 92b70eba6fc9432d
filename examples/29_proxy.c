// 29_proxy - a TCP proxy.
//
// Shows:  two directions that end one by one (half close); an idle limit for both, moved on by each
//         byte; resets are handed on; a limit of connections; names with several addresses.
// Run:    cc -O2 -iquote . examples/29_proxy.c -o proxy -luring && ./proxy 8080 example.org 80
//         ./proxy PORT HOST PORT [SECONDS until an idle connection is closed]
// Prints: a line for each connection that is over. Ctrl-C ends it, with all connections.
#include "aio_io_uring.h"

enum { CONNECTIONS = 100 };             // more wait in the kernel's queue until one is over

struct proxy_options {
    const char *host;                   // where connections lead
    int port;
    int64_t idle_ns;
};

// --- one direction: until the sender is done, which the receiver is told
struct direction {
    aio_frame aio;
    struct relay *relay;
    int from, to;
    unsigned long long *bytes;
    aio_result n;
    char buf[32768];
};
aio_scratch(direction, buf);            // need not be zeroed

// --- both directions. Whoever calls this closes the two descriptors.
struct relay {
    aio_frame aio;
    const struct proxy_options *options;
    int client, server;                 // server: -1 until connected
    unsigned long long there, back;     // bytes
    aio_timeout idle;
    aio_group directions;
};

aio_async(direction) {
    for (;;) {
        aio_try(self->n, aio_recv(self->from, self->buf, sizeof self->buf, 0));
        if (self->n == 0) break;
        aio_try(aio_send_all(self->to, self->buf, (size_t)self->n, 0));
        *self->bytes += (unsigned long long)self->n;
        (void)aio_timeout_reschedule(&self->relay->idle, aio_loop_time(aio_running_loop()) +
                                                             self->relay->options->idle_ns);
    }
    aio_try(aio_shutdown(self->to, SHUT_WR));
} aio_end

aio_async(relay) {
    aio_result r;
    aio_try(self->server, aio_wait_for(5 * AIO_SECOND, aio_connect_tcp(self->options->host,
                                                                       self->options->port)));
    aio_try(aio_timeout_enter(&self->idle, self->options->idle_ns));
    aio_try(aio_group_enter(&self->directions));
    (void)aio_group_spawn(&self->directions, direction, .relay = self, .from = self->client,
                          .to = self->server, .bytes = &self->there);
    (void)aio_group_spawn(&self->directions, direction, .relay = self, .from = self->server,
                          .to = self->client, .bytes = &self->back);
    aio_await(r, aio_group_exit(&self->directions, 0));     // an error of one ends the other
    return aio_timeout_exit(&self->idle, r);
} aio_end

static void reset_on_close(int fd)      // the other side sees the error too
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

struct session {
    aio_frame aio;
    int fd;
    const struct proxy_options *options;
    struct relay relay;
    aio_result r;
};

aio_async(session) {
    aio_await(self->r, aio_call(&self->relay, relay, .options = self->options, .client = self->fd,
                                .server = -1));
    if (self->r < 0) reset_on_close(self->fd), reset_on_close(self->relay.server);
    aio_await(aio_close(self->fd));
    if (self->relay.server >= 0) aio_await(aio_close(self->relay.server));
    printf("%llu bytes there, %llu back: %s\n", self->relay.there, self->relay.back,
           self->r < 0 ? strerror((int)-self->r) : "done");
    return self->r == -ECANCELED ? self->r : 0;         // its errors are not the proxy's
} aio_end

struct proxy {
    aio_frame aio;
    struct proxy_options options;
    int own_port, listener;
    aio_server server;
    aio_result r;
};

aio_async(proxy) {
    aio_try(self->listener, aio_listen_tcp("", self->own_port));
    self->server.limit = CONNECTIONS;
    aio_await(self->r,
              aio_serve(&self->server, self->listener, session, .options = &self->options));
    aio_await(aio_close(self->listener));
    return self->r;
} aio_end

int main(int argc, char **argv)
{
    struct proxy_options o = { .idle_ns = argc > 4 ? atoi(argv[4]) * AIO_SECOND : 60 * AIO_SECOND };
    if (argc < 4) return fprintf(stderr, "usage: proxy PORT HOST PORT [IDLE SECONDS]\n"), 2;
    o.host = argv[2];
    o.port = atoi(argv[3]);
    setvbuf(stdout, NULL, _IOLBF, 0);
    aio_result r = aio_run(proxy, .options = o, .own_port = atoi(argv[1]));
    if (r == -EINTR) return 0;
    return fprintf(stderr, "proxy: port %s: %s\n", argv[1], strerror((int)-r)), 1;
}
