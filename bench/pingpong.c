// pingpong.c - echo on one core: both ends of N connections in one thread, no client to wait for.
// SPDX-License-Identifier: MIT
//
// On each connection one message of 64 bytes goes back and forth. A hop is one receive and one
// send. All variants do the same: one-shot receive into a buffer per end, then one send of what
// came. By hand with liburing (a state machine), with epoll (level-triggered, one recv and one send
// per event), and with one task per end. "linked": the send and the next receive are one
// submission, of which the kernel posts the receive only; with aio an aio_chain.
#include "aio_io_uring.h"

#include <sys/epoll.h>
#include <sys/un.h>

#include "raw_uring.h"

enum { ENDS_MAX = 1000, SIZE_MAX_ = 4096 };
struct end {
    int fd;
    int sending;
    char buffer[SIZE_MAX_];
};
static struct end ends[ENDS_MAX];
static int end_count;
static size_t size = 64;
static int64_t left;

// --- connections
static void tcp_pair(int listener, struct sockaddr_in *address, int fds[2])
{
    int one = 1;
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fds[0] < 0 || connect(fds[0], (struct sockaddr *)address, sizeof *address))
        bench_fail("connect");
    fds[1] = accept4(listener, 0, 0, SOCK_CLOEXEC);
    if (fds[1] < 0) bench_fail("accept");
    for (int i = 0; i < 2; i++) setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}
// The case's parameter: pairs; negative: TCP.
static void ends_open(int64_t n)
{
    int pairs = (int)(n < 0 ? -n : n), fds[2], listener = -1;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t length = sizeof address;
    struct rlimit files = { 4096, 4096 };
    setrlimit(RLIMIT_NOFILE, &files);
    if (n < 0) {
        listener = socket(AF_INET, SOCK_STREAM, 0);
        if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) ||
            listen(listener, 1024) || getsockname(listener, (struct sockaddr *)&address, &length))
            bench_fail("listen");
    }
    end_count = pairs * 2;
    for (int i = 0; i < pairs; i++) {
        if (n < 0) tcp_pair(listener, &address, fds);
        else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)) bench_fail("socketpair");
        for (int k = 0; k < 2; k++) {
            ends[2 * i + k].fd = fds[k];
            ends[2 * i + k].sending = 0;
        }
    }
    if (listener >= 0) close(listener);
}
static void ends_close(void)
{
    for (int i = 0; i < end_count; i++) close(ends[i].fd);
}
static void serve(void)         // the first message of each pair
{
    static const char ball[SIZE_MAX_] = { 1 };
    for (int i = 0; i < end_count; i += 2)
        if (send(ends[i].fd, ball, size, 0) != (ssize_t)size) bench_fail("send");
}

// --- liburing by hand
static void raw_recv(struct io_uring *ring, struct end *e)
{
    struct io_uring_sqe *sqe = raw_sqe(ring);
    e->sending = 0;
    io_uring_prep_recv(sqe, e->fd, e->buffer, sizeof e->buffer, 0);
    io_uring_sqe_set_data(sqe, e);
}
static void raw_send(struct io_uring *ring, struct end *e, size_t n)
{
    struct io_uring_sqe *sqe = raw_sqe(ring);
    e->sending = 1;
    io_uring_prep_send(sqe, e->fd, e->buffer, n, MSG_NOSIGNAL | MSG_WAITALL);
    io_uring_sqe_set_data(sqe, e);
}
static void raw_linked(struct io_uring *ring, struct end *e, size_t n)
{
    raw_send(ring, e, n);
    ring->sq.sqes[(ring->sq.sqe_tail - 1) & *ring->sq.kring_mask].flags =
        IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
    raw_recv(ring, e);
    left--;
}
static void raw_run(const struct bench_case *c, struct bench_window *w, bool linked)
{
    struct io_uring ring;
    raw_ring(&ring, 256, 2048);
    ends_open(c->n);
    left = w->ops;
    for (int i = 0; i < end_count; i++) raw_recv(&ring, &ends[i]);
    io_uring_submit(&ring);
    serve();
    int64_t start = bench_now();
    while (left > 0) {
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;
        io_uring_submit_and_wait(&ring, 1);
        io_uring_for_each_cqe(&ring, head, cqe) {
            struct end *e = io_uring_cqe_get_data(cqe);
            if (cqe->res <= 0) bench_fail("raw echo");
            if (linked) {
                raw_linked(&ring, e, (size_t)cqe->res);
            } else if (e->sending) {
                left--;
                raw_recv(&ring, e);
            } else {
                raw_send(&ring, e, (size_t)cqe->res);
            }
            seen++;
        }
        io_uring_cq_advance(&ring, seen);
    }
    w->ns = bench_now() - start;
    w->ops -= left;
    io_uring_queue_exit(&ring);
    ends_close();
}

static void raw(const struct bench_case *c, struct bench_window *w) { raw_run(c, w, false); }
static void linked(const struct bench_case *c, struct bench_window *w) { raw_run(c, w, true); }

// --- epoll by hand
static void with_epoll(const struct bench_case *c, struct bench_window *w)
{
    struct epoll_event events[256];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    ends_open(c->n);
    for (int i = 0; i < end_count; i++) {
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = &ends[i] };
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, ends[i].fd, &event)) bench_fail("epoll_ctl");
    }
    left = w->ops;
    serve();
    int64_t start = bench_now();
    while (left > 0) {
        int n = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < n; i++) {
            struct end *e = events[i].data.ptr;
            ssize_t got = recv(e->fd, e->buffer, sizeof e->buffer, 0);
            if (got <= 0 || send(e->fd, e->buffer, (size_t)got, MSG_NOSIGNAL) != got)
                bench_fail("echo");
            left--;
        }
    }
    w->ns = bench_now() - start;
    w->ops -= left;
    close(epoll);
    ends_close();
}

// --- aio
struct echo {
    aio_frame aio;
    struct end *end;
};
aio_async(echo)
{
    for (;;) {
        aio_result n;
        aio_await(n, aio_recv(self->end->fd, self->end->buffer, sizeof self->end->buffer, 0));
        if (n <= 0) break;
        aio_await(n, aio_send_all(self->end->fd, self->end->buffer, (size_t)n, 0));
        if (n < 0) break;
        if (--left <= 0) aio_loop_stop(aio_running_loop());
    }
    return 0;
} aio_end

struct echo_once {
    aio_frame aio;
    struct end *end;
};
aio_async(echo_once)
{
    for (;;) {
        aio_result n;
        aio_await(n, aio_recv(self->end->fd, self->end->buffer, sizeof self->end->buffer, 0));
        if (n <= 0) break;
        aio_await(n, aio_send(self->end->fd, self->end->buffer, (size_t)n, MSG_WAITALL));
        if (n < 0) break;
        if (--left <= 0) aio_loop_stop(aio_running_loop());
    }
    return 0;
} aio_end

struct echo_chain {
    aio_frame aio;
    struct end *end;
    aio_chain chain;
};
aio_async(echo_chain)
{
    for (;;) {
        aio_result n;
        if (!self->chain.count) {
            aio_await(n, aio_recv(self->end->fd, self->end->buffer, sizeof self->end->buffer, 0));
        } else {
            aio_await(n, aio_chain_run(&self->chain));
            if (n >= 0) n = aio_chain_result(&self->chain, 1);
            if (--left <= 0) aio_loop_stop(aio_running_loop());
        }
        if (n <= 0) break;
        aio_chain_init(&self->chain);
        aio_chain_add(&self->chain, aio_send_all(self->end->fd, self->end->buffer, (size_t)n, 0));
        aio_chain_add(&self->chain,
                      aio_recv(self->end->fd, self->end->buffer, sizeof self->end->buffer, 0));
    }
    return 0;
} aio_end

static void on_error(aio_loop *loop, const struct aio_report *report, void *context)
{
    (void)loop;             // the tasks are pending when the loop is closed: that is meant
    (void)context;
    if (report->error < 0) fprintf(stderr, "pingpong: %s\n", report->message);
}
enum { ALL, ONCE, CHAIN };
static void run_aio(const struct bench_case *c, struct bench_window *w, int how)
{
    aio_loop loop;
    struct aio_loop_options options = { .on_error = on_error };
    if (aio_loop_init(&loop, &options) < 0 || aio_uring_attach(&loop, 0) < 0)
        bench_fail("aio_uring_attach");
    ends_open(c->n);
    left = w->ops;
    for (int i = 0; i < end_count; i++) {
        if (how == ALL) aio_detach(aio_spawn_on(&loop, echo, .end = &ends[i]));
        else if (how == CHAIN) aio_detach(aio_spawn_on(&loop, echo_chain, .end = &ends[i]));
        else aio_detach(aio_spawn_on(&loop, echo_once, .end = &ends[i]));
    }
    aio_loop_stop(&loop);
    aio_loop_run_forever(&loop);        // one turn: all receive
    serve();
    int64_t start = bench_now();
    aio_loop_run_forever(&loop);
    w->ns = bench_now() - start;
    w->ops -= left;
    aio_loop_close(&loop);
    ends_close();
}
static void aio(const struct bench_case *c, struct bench_window *w) { run_aio(c, w, ALL); }
static void aio_once(const struct bench_case *c, struct bench_window *w) { run_aio(c, w, ONCE); }
static void aio_linked(const struct bench_case *c, struct bench_window *w) { run_aio(c, w, CHAIN); }

#define QUESTION(text, n)                                                                          \
    { "echo on one core, " text, "raw liburing", "ns", raw, n, 0 },                                \
    { "echo on one core, " text, "aio", "ns", aio, n, 0 },                                         \
    { "echo on one core, " text, "aio (aio_send)", "ns", aio_once, n, 0 },                         \
    { "echo on one core, " text, "epoll", "ns", with_epoll, n, 0 },                                \
    { "linked echo on one core, " text, "raw liburing", "ns", linked, n, 0 },                      \
    { "linked echo on one core, " text, "aio", "ns", aio_linked, n, 0 }
static const struct bench_case cases[] = {
    QUESTION("UNIX, 1 pair", 1), QUESTION("UNIX, 50 pairs", 50), QUESTION("UNIX, 500 pairs", 500),
    QUESTION("TCP, 1 pair", -1), QUESTION("TCP, 50 pairs", -50), QUESTION("TCP, 500 pairs", -500),
};
BENCH_MAIN(cases)
