// echo_uring.c - the echo server by hand on liburing, in the same op shape: one accept at a time,
// one-shot receive, one send. See echo.h.
// SPDX-License-Identifier: MIT
#include "raw_uring.h"

#include "echo.h"

enum { ACCEPT, RECV, SEND, CLOSE, END };
struct connection {
    int fd;
    int state;
    char buffer[ECHO_BUFFER];
};
static struct io_uring ring;
static struct connection listener, input;
static struct connection *free_list[ECHO_CONNECTIONS];
static int free_count;

static struct io_uring_sqe *prepare(struct connection *c, int state)
{
    c->state = state;
    return raw_sqe(&ring);
}
static void start_accept(void)
{
    struct io_uring_sqe *sqe = prepare(&listener, ACCEPT);
    io_uring_prep_accept(sqe, listener.fd, 0, 0, SOCK_CLOEXEC);
    io_uring_sqe_set_data(sqe, &listener);
}
static void start_recv(struct connection *c)
{
    struct io_uring_sqe *sqe = prepare(c, RECV);
    io_uring_prep_recv(sqe, c->fd, c->buffer, sizeof c->buffer, 0);
    io_uring_sqe_set_data(sqe, c);
}
static void start_send(struct connection *c, size_t n)
{
    struct io_uring_sqe *sqe = prepare(c, SEND);
    io_uring_prep_send(sqe, c->fd, c->buffer, n, MSG_NOSIGNAL | MSG_WAITALL);
    io_uring_sqe_set_data(sqe, c);
}
static void start_close(struct connection *c)
{
    struct io_uring_sqe *sqe = prepare(c, CLOSE);
    io_uring_prep_close(sqe, c->fd);
    io_uring_sqe_set_data(sqe, c);
}
static void accepted(int fd)
{
    struct connection *c = free_count ? free_list[--free_count] : malloc(sizeof *c);
    if (fd < 0 || !c) bench_fail("accept");
    c->fd = fd;
    start_recv(c);
    start_accept();
}
static void step(struct connection *c, int r)
{
    switch (c->state) {
    case ACCEPT: accepted(r); break;
    case RECV:
        if (r > 0) start_send(c, (size_t)r);
        else start_close(c);
        break;
    case SEND:
        if (r > 0) start_recv(c);
        else start_close(c);
        break;
    case CLOSE: free_list[free_count++] = c; break;
    default: echo_over();
    }
}

int main(void)
{
    listener.fd = echo_listen();
    raw_ring(&ring, 256, 2048);
    start_accept();
    struct io_uring_sqe *sqe = prepare(&input, END);
    io_uring_prep_poll_add(sqe, 0, POLLIN);
    io_uring_sqe_set_data(sqe, &input);
    for (;;) {
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;
        io_uring_submit_and_wait(&ring, 1);
        io_uring_for_each_cqe(&ring, head, cqe) {
            step(io_uring_cqe_get_data(cqe), cqe->res);
            seen++;
        }
        io_uring_cq_advance(&ring, seen);
    }
}
