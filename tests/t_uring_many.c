// Operations that complete many times: the sink beneath them, iterators over them.
#include "uring.h"

// --- sinks: operations that no task waits for
struct drain { struct aio__sink sink; int calls, last, listener; aio_result res[64]; };
static aio_awaitable accepts(int fd)
{
    aio_awaitable a = aio_accept(fd);
    a.u.w[0] |= AIO__WORD(AIO__HEAD(0, 0, IORING_ACCEPT_MULTISHOT), 0);
    return a;
}
static void drain_done(aio_uring *u, struct aio__sink *s, aio_result res, uint32_t cqe_flags)
{
    struct drain *d = (struct drain *)s;
    (void)u;
    d->res[d->calls++] = res;
    if (res >= 0 && AIO__IO_OPCODE(s->info) == IORING_OP_ACCEPT) close((int)res);
    d->last += !(cqe_flags & IORING_CQE_F_MORE);
    assert_int_equal(aio__sink_busy(s), (cqe_flags & IORING_CQE_F_MORE) != 0);
}
static aio_uring *ring_here(void)
{
    aio_uring_attach(aio_running_loop(), NULL);
    return uring_of_loop();
}
// How the sink is ended.
enum { BY_CANCEL, BY_CLOSE, BY_LOOP, BEFORE_SUBMIT, IN_BACKLOG };
struct sunk { aio_frame aio; int how, fd, port, i; struct drain *d; aio_result r; };
aio_async(sunk) {
    aio_awaitable a;
    aio_try(self->fd, aio_listen_tcp("127.0.0.1", 0));
    self->port = port_of(self->fd);
    self->d->listener = self->fd;
    self->d->sink.done = drain_done;
    for (self->i = 0; self->how == IN_BACKLOG && !ring_here()->backlog && self->i < 3000; self->i++) {
        ring_here()->sq_room = 0;
        aio__backlog_add(ring_here())->user_data = AIO__UD_NOBODY;
    }
    a = accepts(self->fd);
    assert_int_equal(aio__sink_submit(ring_here(), &self->d->sink, &a), 0);
    assert_true(aio__sink_busy(&self->d->sink));
    if (self->how < BEFORE_SUBMIT) {
        for (self->i = 0; self->i < 3; self->i++) {
            close(tcp_client(self->port));
            aio_await(aio_sleep(2 * AIO_MSEC));
        }
        assert_int_equal(self->d->calls, 3);
        assert_int_equal(self->d->last, 0);
    }
    if (self->how == BY_LOOP) return 0;
    if (self->how == IN_BACKLOG) {
        struct aio__backlog *b = ring_here()->backlog;
        memset(&b->sqe, 0, sizeof b->sqe);
        b->sqe.opcode = IORING_OP_NOP;
        b->sqe.fd = -1;
    }
    if (self->how != BY_CLOSE) {
        aio__sink_cancel(ring_here(), &self->d->sink);
        aio__sink_cancel(ring_here(), &self->d->sink);
    }
    aio_await(self->r, aio_close(self->fd));
    assert_result(self->r, 0);
    assert_int_equal(self->d->last, 1);
    assert_result(self->d->res[self->d->calls - 1], self->how == BY_CLOSE ? -EBADF : -ECANCELED);
    assert_true(port_is_free(self->port));
    return 0;
} aio_end
static void a_sink_ends_with_its_last_completion(void **state)
{
    (void)state;
    for (int how = BY_CANCEL; how <= IN_BACKLOG; how++) {
        struct drain d;
        memset(&d, 0, sizeof d);
        if (how == BY_LOOP) uring_begin();
        struct aio_loop_options o = uring_options();
        if (how == BY_LOOP) {
            assert_result(aio_run_with(&o, sunk, .how = how, .d = &d), 0);
            assert_int_equal(d.last, 1);
            assert_result(d.res[d.calls - 1], -ECANCELED);
            close(d.listener);
            uring_check(__FILE__, __LINE__);
        } else {
            assert_result(run(sunk, .how = how, .d = &d), 0);
        }
    }
}

// --- aio_accept_many
struct takes { aio_frame aio; int listener, port, n, want, got, clients[40]; bool all_first; aio_many conns; aio_result r; };
aio_async(takes) {
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    self->port = port_of(self->listener);
    assert_result(aio_accept_many(&self->conns, self->listener), 0);
    assert_result(aio_accept_many(&self->conns, self->listener), -EBUSY);
    for (self->n = 0; self->n < self->want; self->n++) {
        self->clients[self->n] = tcp_client(self->port);
        assert_true(self->clients[self->n] >= 0);
        if (self->all_first && self->n + 1 < self->want) continue;
        while (self->got <= self->n) {
            aio_await(self->r, aio_next(&self->conns));
            assert_result(self->r, 1);
            assert_true(fcntl((int)aio_gen_value(&self->conns), F_GETFD) & FD_CLOEXEC);
            close((int)aio_gen_value(&self->conns));
            self->got++;
        }
    }
    for (self->n = 0; self->n < self->want; self->n++) close(self->clients[self->n]);
    aio_await(self->r, aio_gen_close(&self->conns));
    assert_result(self->r, 0);
    aio_await(self->r, aio_next(&self->conns));
    assert_result(self->r, 0);
    assert_result(aio_accept_many(&self->conns, self->listener), 0);        // open again
    aio_await(self->r, aio_gen_close(&self->conns));
    assert_result(self->r, 0);
    assert_true(port_is_free(self->port) || true);
    aio_await(aio_close(self->listener));
    return self->got;
} aio_end
static void connections_one_by_one_and_at_once(void **state)
{
    (void)state;
    for (int all = 0; all < 2; all++)
        assert_result(run(takes, .want = 40, .all_first = all), 40);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sink_ends_with_its_last_completion),
        cmocka_unit_test(connections_one_by_one_and_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
