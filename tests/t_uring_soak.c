// 10,000 connections, thousands at a time, which end in every way there is. Afterwards there are as
// many descriptors, tasks, operations, buffers and blocks of memory as before. TIMEOUT 1200
#include "uring.h"

enum fate {
    CLOSES,                 // the client, and the server sees the end
    HALF_CLOSES,            // it waits for the server's end
    RESETS,
    IS_RESET,               // by the server
    LEAVES_A_BYTE,          // unread, which makes of the close a reset
    TIMES_OUT,
    SERVER_TIMES_OUT,
    IS_CANCELLED,
    SERVER_IS_CANCELLED,
    CLOSED_BY_ANOTHER,      // task, while it receives
    FATES
};
static const aio_result expected[FATES] = {0,          0, 0,          -ECONNRESET, 0,
                                           -ETIMEDOUT, 0, -ECANCELED, 0,           -EBADF};
static const char command[FATES] = { 0, 0, 0, 'R', '!', 0, 'T', 0, 'K', 0 };
enum { CONNECTIONS = 10000, WAVES = 4, MOST = 4000 };

struct soak {
    int port, wave, arrived, handlers;
    long opened[FATES], served, reset;
    int fds[MOST];
    aio_task *tasks[MOST];
    aio_event here, gone;       // all of a wave have arrived; the server has no one left
    aio_buffer_ring ring;       // of the server, when it receives by iterators
    bool many;
};
enum { BUFFERS = 256 };         // far fewer than connections
static void close_by_reset(int fd)
{
    struct linger now = { 1, 0 };
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
}

// --- the server
struct handler {
    aio_frame aio;
    struct soak *s;
    int fd;
    aio_result r;
    char *data, buf[16];
    aio_many rx;
};
static aio_awaitable more(struct handler *h)
{
    return h->s->many ? aio_next(&h->rx) : aio_recv(h->fd, h->buf, sizeof h->buf, 0);
}
static aio_result came(struct handler *h)       // how many bytes, if any
{
    h->data = h->s->many ? h->rx.data : h->buf;
    return h->r > 0 && h->s->many ? aio_gen_value(&h->rx) : h->r;
}
aio_async(handler) {
    self->r = self->s->many ? aio_recv_many(&self->rx, self->fd, &self->s->ring) : 0;
    assert_result(self->r, 0);
    for (;;) {
        aio_await(self->r, more(self));
        self->r = came(self);
        if (self->r <= 0) break;
        if (self->data[0] == 'R') {
            close_by_reset(self->fd);
            break;
        }
        if (self->data[0] == 'T') {
            aio_await(self->r, aio_wait_for(AIO_MSEC, more(self)));
            assert_result(self->r, -ETIMEDOUT);
            break;
        }
        if (self->data[0] == 'K') aio_task_cancel(aio_current_task());
        else aio_await(self->r, aio_send_all(self->fd, self->data, (size_t)self->r, 0));
    }
    if (self->s->many) aio_await(aio_gen_close(&self->rx));
    aio_await(aio_close(self->fd));
    self->s->served++;
    self->s->reset += self->r == -ECONNRESET;
    if (--self->s->handlers == 0) aio_event_set(&self->s->gone);
    return 0;
} aio_end
struct acceptor { aio_frame aio; struct soak *s; int listener; };
aio_async(acceptor) {
    aio_result fd;
    for (;;) {
        aio_try(fd, aio_accept(self->listener));
        self->s->handlers++;
        aio_event_clear(&self->s->gone);
        aio_detach(aio_spawn(handler, .s = self->s, .fd = (int)fd));
    }
} aio_end

// --- the clients
struct talk { aio_frame aio; struct soak *s; int fd, fate; char buf[16]; };
aio_async(talk) {
    aio_result n;
    aio_try(aio_send_all(self->fd, "hello", 5, 0));
    aio_try(n, aio_recv(self->fd, self->buf, 5, MSG_WAITALL));
    if (n != 5 || memcmp(self->buf, "hello", 5)) return -EBADMSG;
    if (++self->s->arrived == self->s->wave) aio_event_set(&self->s->here);
    aio_try(aio_event_wait(&self->s->here));
    self->s->opened[self->fate]++;
    if (command[self->fate]) aio_try(aio_send_all(self->fd, &command[self->fate], 1, 0));
    if (self->fate == HALF_CLOSES) aio_try(aio_shutdown(self->fd, SHUT_WR));
    if (self->fate == RESETS) close_by_reset(self->fd);
    if (self->fate == LEAVES_A_BYTE) aio_try(aio_poll(self->fd, POLLIN));
    if (self->fate == CLOSES || self->fate == RESETS || self->fate == LEAVES_A_BYTE) return 0;
    if (self->fate == TIMES_OUT)
        aio_try(n, aio_wait_for(AIO_MSEC, aio_recv(self->fd, self->buf, 16, 0)));
    else aio_try(n, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
    return n;
} aio_end
struct client { aio_frame aio; struct soak *s; int i; aio_result r; struct talk talk; };
aio_async(client) {
    char host[16];                          // many ports to many addresses
    snprintf(host, sizeof host, "127.0.0.%d", 1 + self->i % 8);
    aio_try(self->s->fds[self->i], aio_connect_tcp(host, self->s->port));
    aio_await(self->r, aio_call(&self->talk, talk, .s = self->s, .fd = self->s->fds[self->i],
                                .fate = self->i % FATES));
    if (self->i % FATES != CLOSED_BY_ANOTHER) aio_await(aio_close(self->s->fds[self->i]));
    assert_result(self->r, expected[self->i % FATES]);
    return 0;
} aio_end
struct wave { aio_frame aio; struct soak *s; int i; };
aio_async(wave) {
    aio_result r;
    self->s->arrived = 0;
    aio_event_clear(&self->s->here);
    for (int i = 0; i < self->s->wave; i++)
        self->s->tasks[i] = aio_spawn(client, .s = self->s, .i = i);
    aio_try(aio_event_wait(&self->s->here));
    assert_int_equal(self->s->handlers, self->s->wave);         // so many at once
    aio_try(aio_sleep(0));
    for (int i = IS_CANCELLED; i < self->s->wave; i += FATES) aio_task_cancel(self->s->tasks[i]);
    for (self->i = CLOSED_BY_ANOTHER; self->i < self->s->wave; self->i += FATES)
        aio_try(aio_close(self->s->fds[self->i]));
    for (self->i = 0; self->i < self->s->wave; self->i++) {
        aio_await(r, aio_join(self->s->tasks[self->i]));
        assert_result(r, 0);
    }
    aio_try(aio_event_wait(&self->s->gone));
    return 0;
} aio_end
struct waves {
    aio_frame aio;
    struct soak *s;
    int most, listener, fds, i, left;
    int64_t in_flight, tasks;
    long allocations;
    aio_task *acceptor;
    struct wave wave;
};
aio_async(waves) {
    aio_result r;
    aio_try(self->listener, aio_listen_tcp("0.0.0.0", 0));
    self->s->port = port_of(self->listener);
    if (self->s->many) assert_result(aio_buffer_ring_init(&self->s->ring, BUFFERS, 64), 0);
    self->acceptor = aio_spawn(acceptor, .s = self->s, .listener = self->listener);
    aio_try(aio_sleep(AIO_MSEC));
    self->fds = uring_count_fds();
    self->in_flight = aio_running_loop()->in_flight;
    self->tasks = (int64_t)aio_running_loop()->executor.live;
    for (self->left = CONNECTIONS; self->left > 0; self->i++) {     // the first is the largest
        self->s->wave = self->i == 0 || self->left < self->most / 2 ? self->left : self->most / 2;
        if (self->s->wave > self->most) self->s->wave = self->most;
        self->left -= self->s->wave;
        aio_try(aio_call(&self->wave, wave, .s = self->s));
        assert_int_equal(uring_count_fds(), self->fds);
        assert_int_equal(aio_running_loop()->in_flight, self->in_flight);
        assert_int_equal(aio_running_loop()->executor.live, self->tasks);
        for (uint32_t k = 0; k < uring_of_loop()->fd_capacity; k++)
            assert_int_equal(uring_of_loop()->fd_ops[k], (int)k == self->listener);
        if (self->s->many) assert_int_equal(self->s->ring.buffers->free, BUFFERS);
        if (self->s->many) assert_int_equal(self->s->ring.buffers->users, 0);
        if (self->i == 0) self->allocations = uring_memory.calls;
    }
    // what a wave took, the next ones found again
    assert_int_equal(uring_memory.calls, self->allocations);
    if (self->s->many) assert_result(aio_buffer_ring_close(&self->s->ring), 0);
    aio_await(aio_close(self->listener));
    aio_await(r, aio_join(self->acceptor));
    assert_result(r, -EBADF);
    return self->i;
} aio_end
static void soak(bool many)
{
    static struct soak soak;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    if (!under_valgrind()) setrlimit(RLIMIT_NOFILE, &files);
    getrlimit(RLIMIT_NOFILE, &files);
    int most = MOST;
    if (files.rlim_cur < 2 * MOST + 100) most = (int)(files.rlim_cur - 100) / 2;
    print_message("# %d connections, %d at a time\n", CONNECTIONS, most);
    memset(&soak, 0, sizeof soak);
    soak.many = many;
    assert_true(run(waves, .s = &soak, .most = most) > 1);
    assert_int_equal(soak.served, CONNECTIONS);
    long opened = 0;
    for (int i = 0; i < FATES; i++) {
        assert_in_range(soak.opened[i], CONNECTIONS / FATES - FATES, CONNECTIONS / FATES + FATES);
        opened += soak.opened[i];
    }
    assert_int_equal(opened, CONNECTIONS);
    assert_int_equal(soak.reset, soak.opened[RESETS] + soak.opened[LEAVES_A_BYTE]);
}
static void hazard_6_ten_thousand_connections_leave_nothing_behind(void **state)
{
    (void)state;
    soak(false);
}
static void ten_thousand_connections_on_256_buffers(void **state)
{
    (void)state;
    soak(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hazard_6_ten_thousand_connections_leave_nothing_behind),
        cmocka_unit_test(ten_thousand_connections_on_256_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
