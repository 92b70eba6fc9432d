// Errors of a stream's sending: which of them end it, and that nothing is sent twice or counted.
#define _GNU_SOURCE
#include <sys/types.h>
#include <sys/socket.h>
static struct { int error; long calls; } refuse;
static ssize_t hooked_sendmsg(int fd, const struct msghdr *m, int flags);
#define sendmsg hooked_sendmsg
#include "uring.h"
#undef sendmsg
static ssize_t hooked_sendmsg(int fd, const struct msghdr *m, int flags)
{
    refuse.calls++;
    errno = refuse.error;
    return refuse.error ? -1 : sendmsg(fd, m, flags);
}

enum { LARGE = 40000 };
static char much[1 << 20], got[1 << 20];
// --- a large piece goes at once: what the system call says
struct at_once { aio_frame aio; int fds[2], error; bool passing; aio_stream s;
                 aio_result r, seen; };
aio_async(at_once) {
    assert_int_equal(pair_of(self->fds), 0);
    aio_try(aio_stream_open(&self->s, self->fds[0], self->fds[0], NULL));
    refuse.error = self->error;
    refuse.calls = 0;
    aio_await(self->r, aio_stream_write(&self->s, much, LARGE));
    refuse.error = 0;
    assert_int_equal(refuse.calls, 1);
    if (self->passing) {                    // it goes by the ring
        assert_result(self->r, LARGE);
        aio_await(self->r, aio_read_some(self->fds[1], got, LARGE));
        assert_true(self->r > 0);
        assert_memory_equal(got, much, (size_t)self->r);
        while (empty(self->fds[1])) aio_await(aio_sleep(AIO_MSEC));
        aio_await(self->r, aio_stream_close(&self->s));
        assert_result(self->r, 0);
    } else {
        self->seen = self->error == EPIPE ? -ECONNRESET : -self->error;
        assert_result(self->r, self->seen);
        assert_int_equal(aio_stream_unsent(&self->s), 0);
        aio_await(self->r, aio_stream_write(&self->s, "x", 1));
        assert_result(self->r, self->seen);
        aio_await(self->r, aio_stream_read(&self->s, got, 1));      // one descriptor for both
        assert_result(self->r, self->seen);
        assert_result(aio_stream_write_eof(&self->s), self->seen);
        assert_false(has_data(self->fds[1]));
        aio_await(self->r, aio_stream_close(&self->s));
        assert_result(self->r, self->seen);
    }
    close(self->fds[1]);
    return 0;
} aio_end
static void an_error_of_what_goes_at_once(void **state)
{
    static const int passing[] = { EAGAIN, EINTR, ENOBUFS, ENOMEM };
    static const int final[] = { EPIPE, ECONNRESET, EHOSTUNREACH, EIO, EACCES };
    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_result(run(at_once, .error = passing[i], .passing = true), 0);
    for (size_t i = 0; i < 5; i++) assert_result(run(at_once, .error = final[i]), 0);
}
// --- the entry is refused: a write of which nothing went changes nothing; else the stream is over
struct refused { aio_frame aio; int fds[2], large; aio_stream s; aio_result r; size_t full; };
aio_async(refused) {
    assert_int_equal(pair_of(self->fds), 0);
    aio_try(aio_stream_open(&self->s, self->fds[0], self->fds[0], NULL));
    aio_await(self->r, aio_nop());
    uring_of_loop()->draining = true;       // it takes nothing
    self->r = aio_stream_write_nowait(&self->s, much, self->large ? sizeof much : 10);
    uring_of_loop()->draining = false;
    assert_result(self->r, -ECANCELED);
    assert_int_equal(aio_stream_unsent(&self->s), 0);
    if (self->large) {
        assert_true(empty(self->fds[1]) > 0);               // a part of it went
        assert_result(aio_stream_write_nowait(&self->s, "x", 1), -ECANCELED);
        aio_await(self->r, aio_stream_close(&self->s));
        assert_result(self->r, -ECANCELED);
    } else {
        assert_false(has_data(self->fds[1]));
        aio_await(self->r, aio_stream_write(&self->s, "later", 5));
        assert_result(self->r, 5);
        aio_await(self->r, aio_stream_close(&self->s));
        assert_result(self->r, 0);
        assert_int_equal(read(self->fds[1], got, 20), 5);
        assert_memory_equal(got, "later", 5);
    }
    close(self->fds[1]);
    return 0;
} aio_end
static void an_entry_that_is_refused(void **state)
{
    (void)state;
    for (int large = 0; large < 2; large++) assert_result(run(refused, .large = large), 0);
}
// Lengths that no memory can have.
struct lengths { aio_frame aio; int fds[2]; aio_stream s; struct iovec v[3]; aio_result r; };
aio_async(lengths) {
    assert_int_equal(pair_of(self->fds), 0);
    aio_try(aio_stream_open(&self->s, self->fds[0], self->fds[0], NULL));
    self->v[0].iov_base = self->v[1].iov_base = much;
    self->v[0].iov_len = SIZE_MAX, self->v[1].iov_len = 2;
    aio_await(self->r, aio_stream_writev(&self->s, self->v, 2));
    assert_result(self->r, -EINVAL);
    self->v[0].iov_len = (size_t)INT64_MAX, self->v[1].iov_len = 1;
    aio_await(self->r, aio_stream_writev(&self->s, self->v, 2));
    assert_result(self->r, -EINVAL);
    aio_await(self->r, aio_stream_writev(&self->s, self->v, 0));
    assert_result(self->r, 0);
    aio_await(self->r, aio_stream_write(&self->s, much, 3));
    assert_result(self->r, 3);
    aio_await(self->r, aio_stream_close(&self->s));
    assert_result(self->r, 0);
    close(self->fds[1]);
    return 0;
} aio_end
static void lengths_that_cannot_be(void **state)
{
    (void)state;
    assert_result(run(lengths), 0);
}
// --- the end of writing: what shutdown(2), or the close of a pipe, says
struct ends { aio_frame aio; int fds[2]; aio_stream s; aio_result r; };
aio_async(ends) {
    self->fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    aio_try(aio_stream_open(&self->s, self->fds[0], self->fds[0], NULL));
    assert_result(aio_stream_write_eof(&self->s), -ENOTCONN);       // to nobody
    aio_await(aio_stream_close(&self->s));
    assert_int_equal(pipe2(self->fds, O_CLOEXEC), 0);
    aio_try(aio_stream_open(&self->s, self->fds[0], -1, NULL));
    assert_result(aio_stream_write_eof(&self->s), -EBADF);          // nothing to write to
    aio_await(aio_stream_close(&self->s));
    aio_try(aio_stream_open(&self->s, -1, self->fds[1], NULL));
    close(self->fds[1]);                                            // behind its back
    expect_bad_closes(1);
    assert_result(aio_stream_write_eof(&self->s), -EBADF);
    aio_await(aio_stream_close(&self->s));
    return 0;
} aio_end
static void an_end_of_writing_that_fails(void **state)
{
    (void)state;
    assert_result(run(ends), 0);
}

int main(void)
{
    for (size_t i = 0; i < sizeof much; i++) much[i] = (char)(i * 7 + i / 251);
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_of_what_goes_at_once),
        cmocka_unit_test(an_entry_that_is_refused),
        cmocka_unit_test(lengths_that_cannot_be),
        cmocka_unit_test(an_end_of_writing_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
