// 31_udp_echo - every datagram goes back to where it came from.
//
// Shows:  datagrams with their addresses, IPv4 and IPv6 on one socket; a few tasks on one
//         descriptor, so that the next one is received while an answer leaves.
// Run:    cc -O2 -iquote . examples/31_udp_echo.c -o udp_echo -luring && ./udp_echo 7777
//         nc -u 127.0.0.1 7777        (Ctrl-C ends both)
// Prints: how many datagrams it has sent back, in the end.
#include "aio_io_uring.h"

enum { AT_A_TIME = 16 };

struct echo {
    aio_frame aio;
    int fd;
    unsigned long long *count;
    aio_result n;
    struct sockaddr_storage from;       // written by the kernel when the datagram is there
    socklen_t length;
    char data[65535];
};
aio_scratch(echo, data);                // need not be zeroed

aio_async(echo) {
    for (;;) {
        self->length = sizeof self->from;
        aio_try(self->n, aio_recvfrom(self->fd, self->data, sizeof self->data, 0,
                                      (struct sockaddr *)&self->from, &self->length));
        aio_await(self->n, aio_sendto(self->fd, self->data, (size_t)self->n, 0,
                                      (struct sockaddr *)&self->from, self->length));
        if (self->n == -ECANCELED) return self->n;
        if (self->n >= 0) ++*self->count;       // what cannot be sent is lost: that is UDP
    }
} aio_end

struct server {
    aio_frame aio;
    int port, fd;
    unsigned long long count;
    aio_group echoes;
    aio_result r;
};

aio_async(server) {
    aio_try(self->fd, aio_udp_bind("", self->port));
    aio_group_enter(&self->echoes);
    for (int i = 0; i < AT_A_TIME; i++)
        (void)aio_group_spawn(&self->echoes, echo, .fd = self->fd, .count = &self->count);
    aio_await(self->r, aio_group_exit(&self->echoes, 0));
    aio_await(aio_close(self->fd));
    printf("%llu datagrams\n", self->count);
    return self->r;
} aio_end

int main(int argc, char **argv)
{
    int port = argc > 1 ? atoi(argv[1]) : 7777;
    aio_result r = aio_run(server, .port = port);
    if (r == -EINTR) return 0;
    return fprintf(stderr, "udp_echo: port %d: %s\n", port, strerror((int)-r)), 1;
}
