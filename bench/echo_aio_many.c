// echo_aio_many.c - the echo server: one task per connection, which iterates over what is received
// into a ring of buffers that all share. See echo.h. SPDX-License-Identifier: MIT
#include "aio_io_uring.h"

#include "echo.h"
#include "protocol.h"

enum { BUFFERS = 1024 };
static aio_buffer_ring buffers;

struct serve {
    aio_frame aio;
    int fd;
    aio_many received;
    struct protocol protocol;
};
aio_async(serve)
{
    aio_result r;
    const char *out;
    size_t n;
    protocol_init(&self->protocol);
    r = aio_recv_many(&self->received, self->fd, &buffers);
    while (r >= 0) {
        aio_await(r, aio_next(&self->received));
        if (r <= 0) break;
        n = protocol_reply(&self->protocol, self->received.data,
                           (size_t)aio_gen_value(&self->received), &out);
        if (n) aio_await(r, aio_send_all(self->fd, out, n, 0));
    }
    aio_await(aio_close(self->fd));
    return 0;
} aio_end

struct until_end {
    aio_frame aio;
};
aio_async(until_end)
{
    aio_await(aio_poll(0, POLLIN));
    echo_over();
    return 0;
} aio_end

struct server {
    aio_frame aio;
    int listener;
    aio_many accepted;
};
aio_async(server)
{
    aio_result r;
    aio_try(aio_buffer_ring_init(&buffers, BUFFERS, ECHO_BUFFER));
    aio_detach(aio_spawn(until_end));
    r = aio_accept_many(&self->accepted, self->listener);
    while (r >= 0) {
        aio_await(r, aio_next(&self->accepted));
        if (r > 0) aio_detach(aio_spawn(serve, .fd = (int)aio_gen_value(&self->accepted)));
    }
    return r;
} aio_end

int main(void)
{
    int listener = echo_listen();
    return aio_run(server, .listener = listener) < 0;
}
