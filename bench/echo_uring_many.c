// echo_uring_many.c - the echo server by hand on liburing: multishot accept, multishot receive into
// a buffer ring, one send at a time per connection. See echo.h. SPDX-License-Identifier: MIT
#include "raw_uring.h"

#include "echo.h"
#include "protocol.h"

enum { ACCEPT = 1, RECV, SEND, CLOSE, END };        // in the low bits of user_data
enum { BUFFERS = 1024, WAITING = 64 };
struct connection {
    int fd;
    bool sending, receiving, starved, over;
    struct protocol protocol;
    unsigned first, count;                          // received and not yet answered
    struct { uint16_t id; uint32_t size; } waiting[WAITING];
    struct connection *next;                        // starved, or free
};
static struct io_uring ring;
static struct io_uring_buf_ring *buffers;
static char *memory;
static struct connection *starved, *unused;

static struct io_uring_sqe *prepare(void) { return raw_sqe(&ring); }
static void label(struct io_uring_sqe *sqe, void *c, unsigned what)
{
    io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)c | what);
}
static void give_back(unsigned id)
{
    io_uring_buf_ring_add(buffers, memory + (size_t)id * ECHO_BUFFER, ECHO_BUFFER, (uint16_t)id,
                          BUFFERS - 1, 0);
    io_uring_buf_ring_advance(buffers, 1);
}
static void start_accept(int listener)
{
    struct io_uring_sqe *sqe = prepare();
    io_uring_prep_multishot_accept(sqe, listener, 0, 0, SOCK_CLOEXEC);
    label(sqe, 0, ACCEPT);
}
static void start_recv(struct connection *c)
{
    struct io_uring_sqe *sqe = prepare();
    io_uring_prep_recv_multishot(sqe, c->fd, 0, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    c->receiving = true;
    label(sqe, c, RECV);
}
static void start_close(struct connection *c)
{
    struct io_uring_sqe *sqe = prepare();
    io_uring_prep_close(sqe, c->fd);
    label(sqe, c, CLOSE);
}
static void returned(struct connection *c)          // the buffer of the first one that waits
{
    give_back(c->waiting[c->first++ % WAITING].id);
    c->count--;
    if (!starved) return;
    struct connection *s = starved;
    starved = s->next;
    s->starved = false;
    start_recv(s);
}
static void answer(struct connection *c)
{
    while (c->count && !c->sending) {
        const char *out, *in = memory + (size_t)c->waiting[c->first % WAITING].id * ECHO_BUFFER;
        size_t n = protocol_reply(&c->protocol, in, c->waiting[c->first % WAITING].size, &out);
        if (!n) {
            returned(c);
            continue;
        }
        struct io_uring_sqe *sqe = prepare();
        io_uring_prep_send(sqe, c->fd, out, n, MSG_NOSIGNAL | MSG_WAITALL);
        c->sending = true;
        label(sqe, c, SEND);
    }
    if (c->over && !c->count && !c->receiving) start_close(c);
}
static void accepted(int fd)
{
    struct connection *c = unused;
    if (c) unused = c->next;
    else c = malloc(sizeof *c);
    if (fd < 0 || !c) bench_fail("accept");
    memset(c, 0, sizeof *c);
    c->fd = fd;
    protocol_init(&c->protocol);
    start_recv(c);
}
static void received(struct connection *c, const struct io_uring_cqe *cqe)
{
    if (!(cqe->flags & IORING_CQE_F_MORE)) c->receiving = false;
    if (cqe->res > 0) {
        if (c->count == WAITING) bench_fail("too much at once");
        c->waiting[(c->first + c->count) % WAITING].id =
            (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        c->waiting[(c->first + c->count++) % WAITING].size = (uint32_t)cqe->res;
    } else if (cqe->res != -ENOBUFS) {
        c->over = true;
    }
    if (!c->receiving && !c->over && cqe->res == -ENOBUFS) {
        c->starved = true;
        c->next = starved;
        starved = c;
    } else if (!c->receiving && !c->over) {
        start_recv(c);
    }
    answer(c);
}
static void sent(struct connection *c, int r)
{
    c->sending = false;
    if (r < 0) c->over = true;
    returned(c);
    answer(c);
}
static void step(int listener, const struct io_uring_cqe *cqe)
{
    struct connection *c = (struct connection *)(uintptr_t)(cqe->user_data & ~UINT64_C(7));
    switch (cqe->user_data & 7) {
    case ACCEPT:
        accepted(cqe->res);
        if (!(cqe->flags & IORING_CQE_F_MORE)) start_accept(listener);
        break;
    case RECV: received(c, cqe); break;
    case SEND: sent(c, cqe->res); break;
    case CLOSE:
        c->next = unused;
        unused = c;
        break;
    default: echo_over();
    }
}

int main(void)
{
    int listener = echo_listen(), r;
    struct io_uring_buf_reg reg = { .ring_entries = BUFFERS };
    raw_ring(&ring, 256, 4096);
    memory = aligned_alloc(4096, (size_t)BUFFERS * ECHO_BUFFER);
    buffers = aligned_alloc(4096, BUFFERS * sizeof(struct io_uring_buf));
    if (!memory || !buffers) bench_fail("aligned_alloc");
    reg.ring_addr = (uint64_t)(uintptr_t)buffers;
    if ((r = io_uring_register_buf_ring(&ring, &reg, 0)) < 0) {
        errno = -r;
        bench_fail("io_uring_register_buf_ring");
    }
    io_uring_buf_ring_init(buffers);
    for (unsigned i = 0; i < BUFFERS; i++) give_back(i);
    start_accept(listener);
    struct io_uring_sqe *sqe = prepare();
    io_uring_prep_poll_add(sqe, 0, POLLIN);
    label(sqe, 0, END);
    for (;;) {
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;
        io_uring_submit_and_wait(&ring, 1);
        io_uring_for_each_cqe(&ring, head, cqe) {
            step(listener, cqe);
            seen++;
        }
        io_uring_cq_advance(&ring, seen);
    }
}
