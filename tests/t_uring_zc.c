// Sending without a copy: the result when the buffer is free again, and not before.
#include "uring.h"

static int tcp_pair(int fds[2])
{
    int l = tcp_listener(1), c = tcp_client(port_of(l));
    fds[0] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
    fds[1] = c;
    close(l);
    return 0;
}
enum { BYTES = 300000, HOW_SEND = 0, HOW_ALL, HOW_MESSAGE };
static char block[BYTES];

struct reader { aio_frame aio; int fd; size_t total; char fill; char buf[20000]; };
aio_async(reader) {
    aio_result n;
    for (;;) {
        aio_try(n, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
        if (!n) return (aio_result)self->total;
        for (aio_result i = 0; i < n; i++) assert_int_equal(self->buf[i], self->fill);
        self->total += (size_t)n;
    }
} aio_end
struct sender { aio_frame aio; int how, fd; size_t sent, done; struct msghdr m; struct iovec v; aio_result r; };
aio_async(sender) {
    memset(block, 'x', BYTES);
    while (self->sent < BYTES) {
        self->v.iov_base = block + self->sent;
        self->v.iov_len = BYTES - self->sent;
        self->m.msg_iov = &self->v;
        self->m.msg_iovlen = 1;
        if (self->how == HOW_MESSAGE) aio_await(self->r, aio_sendmsg_zc(self->fd, &self->m, 0));
        else if (self->how == HOW_ALL)
            aio_await(self->r, aio_send_zc_all(self->fd, block, BYTES, 0, &self->done));
        else aio_await(self->r, aio_send_zc(self->fd, block + self->sent, BYTES - self->sent, 0));
        assert_true(self->r > 0);
        if (self->how == HOW_ALL) assert_int_equal(self->done, BYTES);
        self->sent += (size_t)self->r;
    }
    memset(block, 'y', BYTES);              // it is ours again
    aio_await(aio_shutdown(self->fd, SHUT_WR));
    return 0;
} aio_end
struct both { aio_frame aio; int how, fds[2]; bool unix_socket; aio_task *t[2]; aio_result results[2]; };
aio_async(both) {
    if (self->unix_socket) pair_of(self->fds);
    else tcp_pair(self->fds);
    self->t[0] = aio_spawn(sender, .how = self->how, .fd = self->fds[0]);
    self->t[1] = aio_spawn(reader, .fd = self->fds[1], .fill = 'x');
    aio_try(aio_gather(self->t, self->results, 2));
    assert_result(self->results[1], BYTES);
    aio_await(aio_close(self->fds[0]));
    aio_await(aio_close(self->fds[1]));
    return 0;
} aio_end
static void hazard_13_the_buffer_is_free_when_it_returns(void **state)
{
    (void)state;
    for (int how = HOW_SEND; how <= HOW_MESSAGE; how++) {
        for (int unix_socket = 0; unix_socket < 2; unix_socket++)
            assert_result(run(both, .how = how, .unix_socket = unix_socket), 0);
    }
    setenv("AIO_URING_WITHOUT", "send_zc,sendmsg_zc", 1);
    for (int how = HOW_SEND; how <= HOW_MESSAGE; how++) assert_result(run(both, .how = how), 0);
    unsetenv("AIO_URING_WITHOUT");
}
// An error comes with its notification too: both are waited for, and nothing is left in flight.
struct errors {
    aio_frame aio;
    int how, fds[2];
    size_t done;
    struct msghdr m;
    struct iovec v;
    aio_result r;
};
aio_async(errors) {
    tcp_pair(self->fds);
    aio_await(aio_shutdown(self->fds[0], SHUT_WR));
    self->v.iov_base = block;
    self->v.iov_len = 10;
    self->m.msg_iov = &self->v;
    self->m.msg_iovlen = 1;
    aio_await(self->r, aio_send_zc(self->fds[0], block, 10, 0));
    assert_result(self->r, -EPIPE);
    aio_await(self->r, aio_send_zc_all(self->fds[0], block, 10, 0, &self->done));
    assert_result(self->r, -EPIPE);
    assert_int_equal(self->done, 0);
    aio_await(self->r, aio_sendmsg_zc(self->fds[0], &self->m, 0));
    assert_result(self->r, -EPIPE);
    aio_await(self->r, aio_send_zc(-1, block, 10, 0));
    assert_result(self->r, -EBADF);
    aio_await(self->r, aio_sendmsg_zc(self->fds[0], NULL, 0));
    assert_result(self->r, -EFAULT);
    assert_int_equal(aio_running_loop()->in_flight, 0);
    aio_await(aio_close(self->fds[0]));
    aio_await(aio_close(self->fds[1]));
    return 0;
} aio_end
static void hazard_13_errors_with_a_notification(void **state)
{
    (void)state;
    assert_result(run(errors), 0);
}
// What was sent before a cancel is told.
struct cut { aio_frame aio; int fds[2]; aio_task *t; size_t done; aio_result r; };
struct cut_sender { aio_frame aio; int fd; size_t *done; };
aio_async(cut_sender) {
    aio_result r;
    for (;;) aio_try(r, aio_send_zc_all(self->fd, block, BYTES, 0, self->done));
} aio_end
aio_async(cut) {
    tcp_pair(self->fds);
    self->t = aio_spawn(cut_sender, .fd = self->fds[0], .done = &self->done);
    aio_await(aio_sleep(5 * AIO_MSEC));
    aio_task_cancel(self->t);
    aio_await(aio_sleep(AIO_MSEC));
    while (!aio_task_done(self->t)) {           // it may wait for the peer
        empty(self->fds[1]);
        aio_await(aio_sleep(AIO_MSEC));
    }
    aio_await(self->r, aio_join(self->t));
    assert_result(self->r, -ECANCELED);
    aio_await(self->r, aio_wait_for(AIO_MSEC, aio_send_zc(self->fds[0], block, 100, 0)));
    assert_true(self->r == 100 || self->r == -ETIMEDOUT);
    aio_await(aio_close(self->fds[0]));
    aio_await(aio_close(self->fds[1]));
    return 0;
} aio_end
static void a_cancel_waits_for_the_buffer(void **state)
{
    (void)state;
    assert_result(run(cut), 0);
}
// A close does not wait for a peer that does not read; what is left does not go to the next owner
// of the number.
struct stalled {
    aio_frame aio;
    bool large;
    int fds[2], other[2], n;
    aio_task *t;
    size_t done;
    aio_result r;
};
static char huge[8 << 20];
struct one_send { aio_frame aio; int fd; size_t bytes, *done; };
aio_async(one_send) {
    aio_result r;
    aio_await(r, aio_send_zc_all(self->fd, huge, self->bytes, 0, self->done));
    return r;
} aio_end
aio_async(stalled) {
    tcp_pair(self->fds);
    aio_await(aio_nop());
    if (!aio__has(uring_of_loop(), IORING_OP_SEND_ZC)) {
        close(self->fds[0]);
        close(self->fds[1]);
        return 0;
    }
    self->n = 4096;
    setsockopt(self->fds[1], SOL_SOCKET, SO_RCVBUF, &self->n, sizeof self->n);
    self->n = 1 << 16;
    setsockopt(self->fds[0], SOL_SOCKET, SO_SNDBUF, &self->n, sizeof self->n);
    while (self->n > 0) {                       // more than the peer's kernel takes
        struct pollfd idle = { self->fds[0], POLLOUT, 0 };
        self->n = (int)send(self->fds[0], block, BYTES, MSG_DONTWAIT);
        if (self->n < 0 && poll(&idle, 1, 50) > 0) self->n = 1;
    }
    self->n = 1 << 20;                          // and now there is room on our side again
    setsockopt(self->fds[0], SOL_SOCKET, SO_SNDBUF, &self->n, sizeof self->n);
    self->t = aio_spawn(one_send, .fd = self->fds[0], .bytes = self->large ? sizeof huge : 4096,
                        .done = &self->done);
    aio_await(aio_sleep(5 * AIO_MSEC));
    assert_false(aio_task_done(self->t));
    aio_await(self->r, aio_close(self->fds[0]));
    assert_result(self->r, 0);
    assert_false(aio_task_done(self->t));       // the buffer is not free
    pair_of(self->other);
    aio_await(aio_close(self->fds[1]));
    aio_await(self->r, aio_join(self->t));
    if (self->r >= 0) assert_result(self->r, (aio_result)self->done);
    else assert_result(self->r, -EBADF);
    aio_await(aio_sleep(AIO_MSEC));
    assert_int_equal(recv(self->other[1], &self->n, 1, MSG_DONTWAIT), -1);
    assert_int_equal(recv(self->other[0], &self->n, 1, MSG_DONTWAIT), -1);
    close(self->other[0]);
    close(self->other[1]);
    return 0;
} aio_end
static void contract_5_a_close_beside_a_peer_that_does_not_read(void **state)
{
    (void)state;
    for (int large = 0; large < 2; large++) assert_result(run(stalled, .large = large), 0);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hazard_13_the_buffer_is_free_when_it_returns),
        cmocka_unit_test(hazard_13_errors_with_a_notification),
        cmocka_unit_test(a_cancel_waits_for_the_buffer),
        cmocka_unit_test(contract_5_a_close_beside_a_peer_that_does_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
