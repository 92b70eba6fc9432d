// echo_aio.c - the echo server: one task per connection. See echo.h.
// SPDX-License-Identifier: MIT
#include "aio_io_uring.h"

#include "echo.h"

struct echo {
    aio_frame aio;
    int fd;
    char buffer[ECHO_BUFFER];
};
aio_scratch(echo, buffer);
aio_async(echo)
{
    for (;;) {
        aio_result n;
        aio_await(n, aio_recv(self->fd, self->buffer, sizeof self->buffer, 0));
        if (n <= 0) break;
        aio_await(n, aio_send_all(self->fd, self->buffer, (size_t)n, 0));
        if (n < 0) break;
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
};
aio_async(server)
{
    aio_detach(aio_spawn(until_end));
    for (;;) {
        int fd;
        aio_try(fd, aio_accept(self->listener));
        aio_detach(aio_spawn(echo, .fd = fd));
    }
} aio_end

int main(void)
{
    int listener = echo_listen();
    return aio_run(server, .listener = listener) < 0;
}
