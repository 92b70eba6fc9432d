// Buffer rings, and the iterators that take from them.
#include "uring.h"

static char pattern(size_t i) { return (char)(i * 131 >> 3); }

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
        self->tasks[self->i * 2] = aio_spawn(receives, .fd = fds[0], .ring = &self->ring, .slow = self->slow,
                                             .early = self->early, .with_read = self->kind == 2);
        if (self->kind == 2) self->tasks[self->i * 2 + 1] = aio_spawn(writes, .fd = fds[1], .total = self->total);
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
    assert_int_equal(self->ring.free, self->ring.count);
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
            assert_result(run(flood, .kind = kind, .pairs = 1, .count = 2, .size = 1000, .total = total, .slow = slow), 0);
            assert_result(run(flood, .kind = kind, .pairs = PAIRS, .count = 3, .size = 777, .total = total, .slow = slow, .early = true), 0);
            assert_result(run(flood, .kind = kind, .pairs = PAIRS, .count = 1, .size = 4096, .total = total / 4, .slow = slow), 0);
        }
    }
}
static void many_buffers(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++)
        assert_result(run(flood, .kind = kind, .pairs = PAIRS, .count = 64, .size = 2048, .total = 3000000), 0);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hazard_12_no_buffer_is_flow_control),
        cmocka_unit_test(many_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
