// Buffer rings, and the iterators that take from them.
#include <liburing.h>
static int refuse_buffers;          // what the kernel says to the next ring of buffers
static int buffers_hook(struct io_uring *ring, struct io_uring_buf_reg *reg, unsigned flags)
{
    return refuse_buffers ? refuse_buffers : io_uring_register_buf_ring(ring, reg, flags);
}
#define io_uring_register_buf_ring buffers_hook
#include "uring.h"

static char pattern(size_t i) { return (char)(i * 131 >> 3); }
static const char first[1] = { 0 };     // of the pattern

// --- a stream, byte for byte, whatever the buffers
struct sends { aio_frame aio; int fd; size_t total, at, n; char block[5000]; };
static size_t next_block(char block[5000], size_t *at, size_t total)
{
    size_t n = total - *at < 5000 ? total - *at : 5000;
    for (size_t i = 0; i < n; i++) block[i] = pattern(*at + i);
    *at += n;
    return n;
}
aio_async(sends) {
    aio_result r;
    while (self->at < self->total) {
        self->n = next_block(self->block, &self->at, self->total);
        aio_try(aio_send_all(self->fd, self->block, self->n, 0));
    }
    aio_await(r, aio_shutdown(self->fd, SHUT_WR));
    return r;
} aio_end
struct receives {
    aio_frame aio;
    int fd;
    aio_buffer_ring *ring;
    bool slow, early, with_read;
    aio_many rx;
    size_t total;
    aio_result r;
};
aio_async(receives) {
    self->r = self->with_read ? aio_read_many(&self->rx, self->fd, self->ring)
                              : aio_recv_many(&self->rx, self->fd, self->ring);
    assert_result(self->r, 0);
    for (;;) {
        aio_try(self->r, aio_next(&self->rx));
        if (!self->r) break;
        assert_true(aio_gen_value(&self->rx) > 0);
        for (aio_result i = 0; i < aio_gen_value(&self->rx); i++)
            assert_int_equal(self->rx.data[i], pattern(self->total + (size_t)i));
        self->total += (size_t)aio_gen_value(&self->rx);
        if (self->early) aio_buffer_release(&self->rx);
        if (self->slow) aio_await(aio_sleep(AIO_MSEC / 10));
    }
    aio_await(self->r, aio_next(&self->rx));
    assert_result(self->r, 0);              // and again
    return (aio_result)self->total;
} aio_end

enum { PAIRS = 4 };
struct flood {
    aio_frame aio;
    int kind, pairs, i;         // kind: 0 TCP, 1 UNIX, 2 pipes
    unsigned count;
    size_t size, total;
    bool slow, early;
    int fds[PAIRS][2];
    aio_buffer_ring ring;
    aio_task *tasks[PAIRS * 2];
    aio_result r, results[PAIRS * 2];
};
static int tcp_pair(int fds[2])
{
    int l = tcp_listener(1), c = tcp_client(port_of(l));
    fds[0] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
    fds[1] = c;
    close(l);
    return 0;
}
struct writes { aio_frame aio; int fd; size_t total, at, n; char block[5000]; };
aio_async(writes) {
    while (self->at < self->total) {
        self->n = next_block(self->block, &self->at, self->total);
        aio_try(aio_write_all(self->fd, self->block, self->n));
    }
    aio_await(aio_close(self->fd));
    return 0;
} aio_end
aio_async(flood) {
    assert_result(aio_buffer_ring_init(&self->ring, self->count, self->size), 0);
    assert_result(aio_buffer_ring_init(&self->ring, self->count, self->size), -EBUSY);
    for (self->i = 0; self->i < self->pairs; self->i++) {
        int *fds = self->fds[self->i];
        if (self->kind == 0) tcp_pair(fds);
        else if (self->kind == 1) pair_of(fds);
        else assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        self->tasks[self->i * 2] =
            aio_spawn(receives, .fd = fds[0], .ring = &self->ring, .slow = self->slow,
                      .early = self->early, .with_read = self->kind == 2);
        if (self->kind == 2)
            self->tasks[self->i * 2 + 1] = aio_spawn(writes, .fd = fds[1], .total = self->total);
        else self->tasks[self->i * 2 + 1] = aio_spawn(sends, .fd = fds[1], .total = self->total);
    }
    aio_await(aio_sleep(0));
    aio_await(aio_sleep(0));
    assert_result(aio_buffer_ring_close(&self->ring), -EBUSY);
    aio_try(self->r, aio_gather(self->tasks, self->results, (size_t)self->pairs * 2));
    for (self->i = 0; self->i < self->pairs; self->i++) {
        assert_result(self->results[self->i * 2], (aio_result)self->total);
        aio_await(aio_close(self->fds[self->i][0]));
        if (self->kind != 2) aio_await(aio_close(self->fds[self->i][1]));
    }
    assert_int_equal(self->ring.buffers->free, self->ring.buffers->count);
    assert_result(aio_buffer_ring_close(&self->ring), 0);
    assert_result(aio_buffer_ring_close(&self->ring), 0);
    return 0;
} aio_end
static void hazard_12_no_buffer_is_flow_control(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        for (int slow = 0; slow < 2; slow++) {
            size_t total = slow ? 100000 : 2000000;
            assert_result(run(flood, .kind = kind, .pairs = 1, .count = 2, .size = 1000,
                              .total = total, .slow = slow),
                          0);
            assert_result(run(flood, .kind = kind, .pairs = PAIRS, .count = 3, .size = 777,
                              .total = total, .slow = slow, .early = true),
                          0);
            assert_result(run(flood, .kind = kind, .pairs = PAIRS, .count = 1, .size = 4096,
                              .total = total / 4, .slow = slow),
                          0);
        }
    }
}
static void many_buffers(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++)
        assert_result(
            run(flood, .kind = kind, .pairs = PAIRS, .count = 64, .size = 2048, .total = 3000000),
            0);
}

// --- aio_recvmsg_many: who sent it, what came with it
struct datagrams {
    aio_frame aio;
    int fds[2], i;
    aio_buffer_ring ring;
    aio_many rx;
    struct sockaddr_in to, from;
    aio_result r;
};
static int udp_at(struct sockaddr_in *a)
{
    socklen_t n = sizeof *a;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    *a = loopback(0);
    assert_int_equal(bind(fd, (struct sockaddr *)a, sizeof *a), 0);
    getsockname(fd, (struct sockaddr *)a, &n);
    return fd;
}
static void send_to(int fd, const struct sockaddr_in *to, size_t size)
{
    char text[700] = "datagram";
    assert_int_equal(sendto(fd, text, size, 0, (const struct sockaddr *)to, sizeof *to), size);
}
aio_async(datagrams) {
    self->fds[0] = udp_at(&self->to);
    self->fds[1] = udp_at(&self->from);
    assert_result(aio_buffer_ring_init(&self->ring, 4, 512), 0);
    assert_result(aio_recvmsg_many(&self->rx, self->fds[0], &self->ring, 512), -EINVAL); // no room
    assert_result(aio_recvmsg_many(&self->rx, self->fds[0], &self->ring, 0), 0);
    for (self->i = 0; self->i < 20; self->i++) {
        send_to(self->fds[1], &self->to, self->i == 19 ? 700 : self->i % 3 ? (size_t)self->i : 0);
        aio_await(self->r, aio_next(&self->rx));
        assert_result(self->r, 1);
        if (self->i < 19) assert_result(aio_gen_value(&self->rx), self->i % 3 ? self->i : 0);
        else assert_true(self->rx.message.msg_flags & MSG_TRUNC);
        assert_int_equal(self->rx.message.msg_namelen, sizeof self->from);
        assert_memory_equal(self->rx.message.msg_name, &self->from, 8);
    }
    aio_await(self->r, aio_gen_close(&self->rx));
    assert_result(self->r, 0);
    // The same without names: empty ones are values too.
    assert_result(aio_recv_many(&self->rx, self->fds[0], &self->ring), 0);
    for (self->i = 0; self->i < 12; self->i++) {
        send_to(self->fds[1], &self->to, (size_t)(self->i % 3));
        if (self->i % 2) continue;
        send_to(self->fds[1], &self->to, 0);
        aio_await(self->r, aio_next(&self->rx));
        assert_result(self->r, 1);
    }
    for (self->i = 6; self->i < 18; self->i++) aio_try(aio_next(&self->rx));
    aio_await(self->r, aio_wait_for(AIO_MSEC, aio_next(&self->rx)));
    assert_result(self->r, -ETIMEDOUT);
    aio_await(self->r, aio_gen_close(&self->rx));
    assert_result(aio_buffer_ring_close(&self->ring), 0);
    close(self->fds[0]);
    close(self->fds[1]);
    return 0;
} aio_end
static void datagrams_with_their_sender(void **state)
{
    (void)state;
    assert_result(run(datagrams), 0);
}
// Descriptors in messages: the caller's, or closed if nobody took the message.
struct rights {
    aio_frame aio;
    int type, fds[2], i, fd;
    bool take, pidfd, empty;
    aio_buffer_ring ring;
    aio_many rx;
    aio_result r;
};
static void send_rights(int fd, int what, size_t bytes)
{
    union { char room[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
    struct msghdr m;
    struct iovec v = { (char *)"x", bytes };
    memset(&m, 0, sizeof m);
    memset(&control, 0, sizeof control);
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    m.msg_control = &control;
    m.msg_controllen = sizeof control;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &what, sizeof what);
    assert_int_equal(sendmsg(fd, &m, 0), bytes);
}
aio_async(rights) {
    enum { PASSPIDFD = 76 };
    assert_int_equal(socketpair(AF_UNIX, self->type | SOCK_CLOEXEC, 0, self->fds), 0);
    self->i = 1;
    if (self->pidfd) setsockopt(self->fds[0], SOL_SOCKET, PASSPIDFD, &self->i, sizeof self->i);
    assert_result(aio_buffer_ring_init(&self->ring, 8, 512), 0);
    assert_result(aio_recvmsg_many(&self->rx, self->fds[0], &self->ring, 64), 0);
    aio_await(self->r, aio_wait_for(AIO_MSEC, aio_next(&self->rx)));
    assert_result(self->r, -ETIMEDOUT);
    for (self->i = 0; self->i < 4; self->i++) send_rights(self->fds[1], self->fds[1], !self->empty);
    aio_await(aio_sleep(2 * AIO_MSEC));
    for (self->i = 0; self->take && self->i < 4; self->i++) {
        aio_await(self->r, aio_next(&self->rx));
        assert_result(self->r, 1);
        memcpy(&self->fd, CMSG_DATA(CMSG_FIRSTHDR(&self->rx.message)), sizeof self->fd);
        assert_true(fcntl(self->fd, F_GETFD) & FD_CLOEXEC);
        close(self->fd);
    }
    aio_await(self->r, aio_gen_close(&self->rx));
    close(self->fds[0]);
    close(self->fds[1]);
    return 0;
} aio_end
static void hazard_6_descriptors_in_messages(void **state)
{
    (void)state;
    assert_result(run(rights, .type = SOCK_SEQPACKET), 0);
    assert_result(run(rights, .type = SOCK_SEQPACKET, .take = true), 0);
    assert_result(run(rights, .type = SOCK_SEQPACKET, .pidfd = true), 0);
    assert_result(run(rights, .type = SOCK_SEQPACKET, .empty = true), 0);
    assert_result(run(rights, .type = SOCK_DGRAM, .empty = true), 0);
    assert_result(run(rights, .type = SOCK_DGRAM, .empty = true, .take = true), 0);
}

// --- the end of a stream, whenever it comes
struct ends {
    aio_frame aio;
    bool unix_socket;
    int fds[2], i;
    aio_buffer_ring ring;
    aio_task *t;
    aio_result r;
    struct receives rx;
};
struct says { aio_frame aio; int fd; };
aio_async(says) {
    aio_result r;
    aio_try(aio_send_all(self->fd, first, 1, 0));
    aio_await(r, aio_shutdown(self->fd, SHUT_WR));
    return r;
} aio_end
aio_async(ends) {
    assert_result(aio_buffer_ring_init(&self->ring, 8, 512), 0);
    for (self->i = 0; self->i < 300; self->i++) {
        if (self->unix_socket) pair_of(self->fds);
        else tcp_pair(self->fds);
        if (self->i % 3 == 0) {
            assert_int_equal(send(self->fds[1], first, 1, 0), 1);
            shutdown(self->fds[1], SHUT_WR);
        } else {
            self->t = aio_spawn(says, .fd = self->fds[1]);
            if (self->i % 3 == 1) aio_await(aio_sleep(0));
        }
        aio_try(self->r, aio_call(&self->rx, receives, .fd = self->fds[0], .ring = &self->ring));
        assert_result(self->r, 1);
        if (self->i % 3) aio_await(self->r, aio_join(self->t));
        aio_await(aio_close(self->fds[0]));
        aio_await(aio_close(self->fds[1]));
    }
    return 0;
} aio_end
static void hazard_29_the_end_of_a_unix_stream(void **state)
{
    (void)state;
    assert_result(run(ends, .unix_socket = true), 0);
    assert_result(run(ends), 0);
}
// --- errors
struct wrong {
    aio_frame aio;
    int fds[2], file;
    aio_buffer_ring ring, shut;
    aio_many rx;
    char in[8];
    aio_result r;
};
static void reset(int fd)
{
    struct linger now = { 1, 0 };
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}
aio_async(wrong) {
    assert_result(aio_buffer_ring_init(&self->ring, 0, 512), -EINVAL);
    assert_result(aio_buffer_ring_init(&self->ring, 40000, 512), -EINVAL);
    assert_result(aio_buffer_ring_init(&self->ring, 1, 0), -EINVAL);
    assert_result(aio_recv_many(&self->rx, 0, &self->shut), -EINVAL);
    assert_result(aio_buffer_ring_init(&self->ring, 3, 512), 0);
    tcp_pair(self->fds);
    assert_result(aio_recv_many(&self->rx, self->fds[0], &self->ring), 0);
    assert_int_equal(send(self->fds[1], "hello", 5, 0), 5);
    aio_await(self->r, aio_next(&self->rx));
    assert_result(self->r, 1);
    reset(self->fds[1]);
    aio_await(self->r, aio_next(&self->rx));
    assert_result(self->r, -ECONNRESET);
    aio_await(self->r, aio_next(&self->rx));
    assert_result(self->r, -ECONNRESET);
    aio_await(self->r, aio_gen_close(&self->rx));
    aio_await(aio_close(self->fds[0]));
    self->file = temp_file("a file");                       // cannot be polled
    assert_result(aio_recv_many(&self->rx, self->file, &self->ring), 0);
    aio_await(self->r, aio_next(&self->rx));
    assert_result(self->r, -ENOTSOCK);
    aio_await(self->r, aio_gen_close(&self->rx));
    assert_result(aio_read_many(&self->rx, self->file, &self->ring), 0);
    aio_await(self->r, aio_next(&self->rx));
    assert_result(self->r, 1);
    assert_result(aio_gen_value(&self->rx), 6);
    assert_memory_equal(self->rx.data, "a file", 6);
    aio_await(self->r, aio_next(&self->rx));
    assert_result(self->r, 0);
    aio_await(self->r, aio_gen_close(&self->rx));
    close(self->file);
    assert_result(aio_buffer_ring_close(&self->ring), 0);
    return 0;
} aio_end
static void errors_of_iterators(void **state)
{
    aio_buffer_ring b;
    (void)state;
    memset((void *)&b, 0, sizeof b);
    assert_result(aio_buffer_ring_init(&b, 4, 512), -EINVAL);      // no loop runs
    assert_result(run(wrong), 0);
}
// --- the kernel refuses; the user's own storage
static char storage[4 * 100];
struct lends { aio_frame aio; int fds[2]; aio_buffer_ring ring; aio_many rx; aio_result r; };
aio_async(lends) {
    pair_of(self->fds);
    assert_result(aio_buffer_ring_init_over(&self->ring, storage, 4, 100), 0);
    assert_result(aio_recv_many(&self->rx, self->fds[0], &self->ring), 0);
    assert_int_equal(write(self->fds[1], "hello", 5), 5);
    aio_await(self->r, aio_next(&self->rx));
    assert_result(self->r, 1);
    assert_true(self->rx.data >= storage && self->rx.data < storage + sizeof storage);
    assert_int_equal((self->rx.data - storage) % 100, 0);
    close(self->fds[0]);
    close(self->fds[1]);
    return 0; // with a buffer held, over an open iterator
} aio_end
struct poor { aio_frame aio; int *fds; aio_buffer_ring ring; aio_many rx, messages; aio_result r; };
aio_async(poor) {
    self->r = aio_buffer_ring_init(&self->ring, 4, 1024);
    if (self->r >= 0) self->r = aio_recv_many(&self->rx, self->fds[0], &self->ring);
    if (self->r < 0) return self->r;
    aio_await(self->r, aio_wait_for(AIO_MSEC, aio_next(&self->rx)));
    if (self->r != -ETIMEDOUT) return self->r;
    aio_await(self->r, aio_gen_close(&self->rx));
    self->r = aio_recvmsg_many(&self->messages, self->fds[0], &self->ring, 64);
    if (self->r < 0) return self->r;
    aio_await(self->r, aio_wait_for(AIO_MSEC, aio_next(&self->messages)));
    return self->r;
} aio_end
static void without_memory(void **state)
{
    int fds[2], worked = 0;
    (void)state;
    pair_of(fds);
    for (long n = 1; n < 30; n++) {
        uring_begin();
        struct aio_loop_options o = uring_options();
        uring_memory.fail_from = n;
        aio_result r = aio_run_with(&o, poor, .fds = fds);
        assert_true(r == -ETIMEDOUT || r == -ENOMEM || r == -EINVAL);
        worked += r == -ETIMEDOUT;
        uring_reports = 0;
        uring_check(__FILE__, __LINE__);
    }
    assert_true(worked > 0);
    close(fds[0]);
    close(fds[1]);
}
struct limited { aio_frame aio; aio_buffer_ring ring; };
aio_async(limited) { return aio_buffer_ring_init(&self->ring, 4, 100); } aio_end
static void memory_of_a_ring(void **state)
{
    (void)state;
    assert_result(run(lends), 0);
    if (getenv("AIO_URING_LEVEL") && atoi(getenv("AIO_URING_LEVEL")) > 2)
        return; // not the kernel's
    refuse_buffers = -ENOMEM;
    expect_reports();
    assert_result(run(limited), -ENOMEM);
    assert_non_null(strstr(uring_told, "RLIMIT_MEMLOCK"));
    refuse_buffers = 0;
}
// --- the loop is closed, with data that nobody took
struct idle { aio_frame aio; int fd; aio_buffer_ring *ring; aio_many rx; };
aio_async(idle) {
    assert_result(aio_recv_many(&self->rx, self->fd, self->ring), 0);
    aio_try(aio_next(&self->rx));
    aio_await(aio_sleep(AIO_FOREVER));
    return 0;
} aio_end
struct leaves { aio_frame aio; int *fds, i; aio_buffer_ring ring; };
aio_async(leaves) {
    assert_result(aio_buffer_ring_init(&self->ring, 8, 64), 0);
    for (self->i = 0; self->i < 3; self->i++)
        aio_detach(aio_spawn(idle, .fd = self->fds[self->i * 2], .ring = &self->ring));
    aio_await(aio_sleep(AIO_MSEC));
    for (self->i = 0; self->i < 2; self->i++)
        assert_int_equal(write(self->fds[self->i * 2 + 1], "hello", 5), 5);
    aio_await(aio_sleep(AIO_MSEC));
    for (self->i = 0; self->i < 2; self->i++)
        assert_int_equal(write(self->fds[self->i * 2 + 1], "hello", 5), 5);
    aio_await(aio_sleep(AIO_MSEC));
    return 0;
} aio_end
static void contract_11_a_loop_closes_over_iterators(void **state)
{
    int fds[6];
    (void)state;
    for (int i = 0; i < 3; i++) pair_of(fds + i * 2);
    assert_result(run(leaves, .fds = fds), 0);
    for (int i = 0; i < 6; i++) close(fds[i]);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hazard_12_no_buffer_is_flow_control),
        cmocka_unit_test(many_buffers),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(datagrams_with_their_sender),
        cmocka_unit_test(hazard_6_descriptors_in_messages),
        cmocka_unit_test(hazard_29_the_end_of_a_unix_stream),
        cmocka_unit_test(errors_of_iterators),
        cmocka_unit_test(memory_of_a_ring),
        cmocka_unit_test(contract_11_a_loop_closes_over_iterators),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
