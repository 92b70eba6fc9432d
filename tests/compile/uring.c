// aio_io_uring.h alone. Valid C11 and C++17.
#include "aio_io_uring.h"

struct echo {
    aio_frame aio;
    int fd;
    char buf[4096];
};
aio_async(echo) {
    aio_result n;
    for (;;) {
        aio_await(n, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
        if (n <= 0) break;
        aio_await(n, aio_send_all(self->fd, self->buf, (size_t)n, 0));
        if (n < 0) break;
    }
    aio_await(aio_close(self->fd));
    return 0;
} aio_end
struct server {
    aio_frame aio;
    int listener;
};
aio_async(server) {
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    for (;;) {
        int fd;
        aio_try(fd, aio_accept(self->listener));
        aio_detach(aio_spawn(echo, .fd = fd));
    }
} aio_end
aio_result use_uring(void);
aio_result use_uring(void) { return aio_run(server); }
