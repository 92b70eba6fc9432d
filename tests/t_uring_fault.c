// Faults: io_uring_enter refuses, takes only a part, completions carry every error there is, memory
//         and
// descriptors run out.
#include "uring.h"

// --- a conversation with all that a server does
struct echo { aio_frame aio; int fd; char buf[64]; };
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
aio_drop(echo) {
    close(self->fd);
    return 0;
} aio_end
struct conversation {
    aio_frame aio;
    int listener, client, accepted, file, i;
    aio_task *server;
    char buf[64];
    aio_result error;
};
struct talk { aio_frame aio; struct conversation *c; };
aio_async(talk) {
    aio_result n;
    aio_try(self->c->client, aio_connect_tcp("127.0.0.1", port_of(self->c->listener)));
    aio_try(self->c->accepted, aio_accept(self->c->listener));
    self->c->server = aio_spawn(echo, .fd = self->c->accepted);
    self->c->accepted = -1;                         // it is the server's now, refused or not
    for (; self->c->i < 5; self->c->i++) {
        aio_try(aio_send_all(self->c->client, "hello", 5, 0));
        aio_try(n, aio_recv(self->c->client, self->c->buf, sizeof self->c->buf, 0));
        if (n != 5 || memcmp(self->c->buf, "hello", 5)) return -EBADMSG;
        aio_try(aio_sleep(10 * AIO_USEC));
    }
    aio_try(self->c->file, aio_openat(AT_FDCWD, "/dev/null", O_WRONLY, 0));
    aio_try(aio_write_all(self->c->file, "x", 1));
    return 0;
} aio_end
struct converse { aio_frame aio; struct conversation c; struct talk talk; };
aio_async(converse) {
    aio_result r;
    self->c.listener = self->c.client = self->c.accepted = self->c.file = -1;
    aio_await(self->c.error, aio_listen_tcp("127.0.0.1", 0));
    self->c.listener = (int)self->c.error;
    if (self->c.error >= 0)
        aio_await(self->c.error, aio_call(&self->talk, talk, .c = &self->c));
    if (self->c.client >= 0) aio_await(aio_close(self->c.client));
    if (self->c.accepted >= 0) aio_await(aio_close(self->c.accepted));
    if (self->c.file >= 0) aio_await(aio_close(self->c.file));
    if (self->c.listener >= 0) aio_await(aio_close(self->c.listener));
    if (self->c.server) {
        aio_await(r, aio_join(self->c.server));
        if (self->c.error == 0) return r;
    }
    return self->c.error;
} aio_end

// --- io_uring_enter refuses
static long fail_at, fail_count, call;
static int fail_error;
static unsigned at_most;
static int failing_enter(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                         sigset_t *extra, size_t size)
{
    call++;
    if (fail_at && call >= fail_at && call < fail_at + fail_count) return fail_error;
    if (at_most && submit > at_most) return io_uring_enter2(fd, at_most, 0, flags, 0, _NSIG / 8);
    return io_uring_enter2(fd, submit, wait, flags, extra, size);
}
static void hazard_10_enter_fails_at_the_nth_call(void **state)
{
    (void)state;
    const int errors[] = {EAGAIN, EBUSY,  EINTR,  ETIME,  EBADR,  ENXIO,
                          ENOMEM, EEXIST, EFAULT, EINVAL, EBADFD, EOWNERDEAD};
    uring_hook.enter = failing_enter;
    for (size_t k = 0; k < sizeof errors / sizeof *errors; k++) {
        for (long at = 1; at <= 12; at++) {
            fail_at = at;
            fail_count = 1 + (at & 3);
            fail_error = -errors[k];
            call = 0;
            expect_reports();
            aio_result r = run(converse);
            if (r) print_error("errno %d at call %ld: %s\n", errors[k], at, aio_strerror(r));
            assert_result(r, 0);
            bool silent = errors[k] == EAGAIN || errors[k] == EBUSY || errors[k] == EINTR ||
                          errors[k] == ETIME;
            assert_int_equal(uring_reports, silent || call < at ? 0 : 1);      // told once
            if (uring_reports) assert_non_null(strstr(uring_told, "io_uring_enter failed: E"));
        }
    }
    uring_hook.enter = 0;
    fail_at = 0;
}
// Out of memory for a while: an idle loop tries again each millisecond, not as often as it can.
static int64_t starved_until;
static long starved;
static int starving_enter(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                          sigset_t *extra, size_t size)
{
    if (!wait || aio__clock() > starved_until)
        return io_uring_enter2(fd, submit, wait, flags, extra, size);
    return starved++ & 1 ? -EAGAIN : -EBUSY;
}
static void hazard_10_an_idle_loop_does_not_spin(void **state)
{
    (void)state;
    starved = 0;
    starved_until = aio__clock() + 30 * AIO_MSEC;
    uring_hook.enter = starving_enter;
    assert_result(run(converse), 0);
    uring_hook.enter = 0;
    assert_true(starved >= 1 && starved <= 31);
}
// The ring itself is gone: closing the loop says so and ends.
static bool ring_is_gone;
static int gone_enter(unsigned fd, unsigned submit, unsigned wait, unsigned flags, sigset_t *extra,
                      size_t size)
{
    return ring_is_gone ? -EBADF : io_uring_enter2(fd, submit, wait, flags, extra, size);
}
struct receives { aio_frame aio; int fd; char c; };
aio_async(receives) {
    aio_result r;
    aio_await(r, aio_recv(self->fd, &self->c, 1, 0));
    return r;
} aio_end
struct begins { aio_frame aio; int fd; };
aio_async(begins) {
    aio_detach(aio_spawn(receives, .fd = self->fd));
    aio_try(aio_sleep(AIO_MSEC));
} aio_end
static void lose_the_ring(void *arg)
{
    aio_loop l;
    int fds[2];
    struct aio_loop_options o = uring_options();
    pair_of(fds);
    uring_begin();
    uring_hook.enter = gone_enter;
    aio_loop_init(&l, &o);
    aio_task *t = aio_spawn_on(&l, begins, .fd = fds[0]);
    aio_result r = aio_loop_run_until_complete(&l, t);
    ring_is_gone = *(bool *)arg;
    aio_result closed = aio_loop_close(&l);
    printf("%s%lld %lld %s\n", uring_told, (long long)r, (long long)closed,
           uring_memory.blocks ? "blocks are left" : "nothing is left");
    fflush(stdout);
    _exit(0);
}
// It goes while the loop runs: what the kernel has not seen ends, new operations are refused,
// closing closes, timers go on.
struct goes_on {
    aio_frame aio;
    int fds[2], many;
    aio_op op;
    aio_task *last[40];
    aio_result r;
    long enters;
};
aio_async(goes_on) {
    ring_is_gone = false;
    uring_hook.enter = gone_enter;
    pair_of(self->fds);
    aio_await(aio_nop());
    ring_is_gone = true;
    for (int i = 0; i < 40; i++) self->last[i] = aio_spawn(receives, .fd = self->fds[0]);
    for (self->many = 0; self->many < 40; self->many++) {
        aio_await(self->r, aio_join(self->last[self->many]));
        assert_result(self->r, -EIO);
    }
    aio_await(self->r, aio_nop());
    assert_result(self->r, -EIO);
    self->enters = uring_hook.enters;
    aio_await(aio_sleep(5 * AIO_MSEC));
    assert_int_equal(self->enters, uring_hook.enters);      // it sleeps without the ring
    aio_await(self->r, aio_close(self->fds[0]));
    assert_result(self->r, 0);
    close(self->fds[1]);
    return 0;
} aio_end
static void hazard_10_the_ring_goes_while_the_loop_runs(void **state)
{
    (void)state;
    uring_begin();
    uring_fds_before++;             // the ring's, which nobody may close now
    struct aio_loop_options o = uring_options();
    expect_reports();
    assert_result(aio_run_with(&o, goes_on), 0);
    assert_string_equal(uring_told, "io_uring_enter failed: EBADF\n");
    uring_check(__FILE__, __LINE__);
    uring_hook.enter = 0;
    ring_is_gone = false;
}
static void contract_11_close_gives_a_dead_ring_up(void **state)
{
    char text[2048];
    bool gone = true;
    (void)state;
    assert_int_equal(test_in_child(lose_the_ring, &gone, text, sizeof text), 0);
    assert_non_null(
        strstr(text, "close gives up: the ring is gone; memory stays allocated: EBADF\n"));
    assert_non_null(strstr(text, "0 0 blocks are left\n"));
    gone = false;
    assert_int_equal(test_in_child(lose_the_ring, &gone, text, sizeof text), 0);
    assert_null(strstr(text, "close gives up"));
    assert_non_null(strstr(text, "0 0 nothing is left\n"));
}
static void hazard_10_enter_takes_only_a_part(void **state)
{
    (void)state;
    uring_hook.enter = failing_enter;
    at_most = 1;
    for (int i = 0; i < 5; i++) assert_result(run(converse), 0);
    uring_hook.enter = 0;
    at_most = 0;
}

// --- completions with every error there is: the operation is made a no-op, its result is put in
struct w {
    int a, b;
    char buf[64];
    size_t done;
    struct sockaddr_in to;
    struct statx stx;
    int port;
};
MAKE(m_recv, struct w, aio_recv(a->a, a->buf, 8, 0))
MAKE(m_send, struct w, aio_send(a->a, "hello", 5, 0))
MAKE(m_send_all, struct w, aio_send_all(a->a, "hello", 5, 0, &a->done))
MAKE(m_write_all, struct w, aio_write_all(a->a, "hello", 5, &a->done))
MAKE(m_accept, struct w, aio_accept(a->a))
MAKE(m_connect, struct w, aio_connect(a->a, (struct sockaddr *)&a->to, sizeof a->to))
MAKE(m_connect_tcp, struct w, aio_connect_tcp("127.0.0.1", a->port))
MAKE(m_read, struct w, aio_read_some(a->a, a->buf, 8))
MAKE(m_open, struct w, aio_openat(AT_FDCWD, "/dev/null", O_RDONLY, 0))
MAKE(m_statx, struct w, aio_statx(AT_FDCWD, "/", 0, 0, &a->stx))
MAKE(m_poll, struct w, aio_poll(a->a, POLLIN))
MAKE(m_sync, struct w, aio_sync_file(a->a, 0))
MAKE(m_close, struct w, aio_close(a->a))
MAKE(m_nop, void, aio_nop())
static const struct { int opcode; make_fn make;
} all[] = {{IORING_OP_RECV, m_recv},
           {IORING_OP_SEND, m_send},
           {IORING_OP_SEND, m_send_all},
           {IORING_OP_WRITE, m_write_all},
           {IORING_OP_ACCEPT, m_accept},
           {IORING_OP_CONNECT, m_connect},
           {IORING_OP_CONNECT, m_connect_tcp},
           {IORING_OP_READ, m_read},
           {IORING_OP_OPENAT, m_open},
           {IORING_OP_STATX, m_statx},
           {IORING_OP_POLL_ADD, m_poll},
           {IORING_OP_FSYNC, m_sync},
           {IORING_OP_NOP, m_nop}};
static void hazard_17_contract_3_errors_as_the_caller_sees_them(void **state)
{
    (void)state;
    const int results[] = {-EPERM,     -EIO,     -EAGAIN, -ENOMEM,   -EINVAL, -ECONNRESET,
                           -ETIMEDOUT, -ENOBUFS, -EPIPE,  -EINTR,    -512,    -513,
                           -514,       -515,     -516,    -ECANCELED};
    struct w w;
    memset(&w, 0, sizeof w);
    int fds[2], listener = tcp_listener(1);
    pair_of(fds);
    w.a = fds[0];
    w.port = port_of(listener);
    uring_hook.enter = uring_fake_enter;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (size_t k = 0; k < sizeof results / sizeof *results; k++) {
            uring_fake.opcode = all[i].opcode;
            uring_fake.result = results[k];
            uring_fake.done = uring_fake.skip = 0;
            int expected = results[k] == -ECANCELED ? -EIO
                           : results[k] <= -512     ? -EINTR
                                                    : results[k];
            assert_result(run_one(all[i].make, &w), expected);
            assert_int_equal(uring_fake.done, 1);
        }
    }
    uring_hook.enter = 0;
    close(fds[0]), close(fds[1]), close(listener);
}
// Cancelled by us, every way in which an operation can end early is -ECANCELED; other errors stand.
struct cancel_faked { aio_frame aio; make_fn make; void *arg; aio_task *t; };
aio_async(cancel_faked) {
    aio_result r;
    self->t = aio_spawn(two, .make = self->make, .arg = self->arg);
    aio_await(aio_sleep(0));
    uring_post_now();                       // it has its uring_fake.done result already
    aio_task_cancel(self->t);
    aio_await(aio_future_wait(aio_task_future(self->t)));
    r = aio_task_frame(two, self->t)->first;
    assert_result(aio_task_frame(two, self->t)->second, r == -ECANCELED ? 0 : -ECANCELED);
    aio_detach(self->t);
    return r;
} aio_end
static void hazard_17_contract_3_errors_after_a_cancel(void **state)
{
    (void)state;
    const int results[] = {-EINTR,     -512,        -513, -514,     -516,
                           -ECANCELED, -ECONNRESET, -EIO, -EALREADY};
    struct w w;
    memset(&w, 0, sizeof w);
    int fds[2], listener = tcp_listener(1);
    pair_of(fds);
    w.a = fds[0];
    w.port = port_of(listener);
    uring_hook.enter = uring_fake_enter;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (size_t k = 0; k < sizeof results / sizeof *results; k++) {
            uring_fake.opcode = all[i].opcode;
            uring_fake.result = results[k];
            uring_fake.done = uring_fake.skip = 0;
            aio_result r = run(cancel_faked, .make = all[i].make, .arg = &w);
            assert_result(r, k < 6 ? -ECANCELED : results[k]);
        }
    }
    uring_hook.enter = 0;
    close(fds[0]), close(fds[1]), close(listener);
}
// The close of a descriptor cannot be cancelled: the kernel says it was, we close it all the same.
// One that was interrupted has released the number, which may be another's by now.
static void contract_5_a_cancelled_close_closes(void **state)
{
    (void)state;
    const int results[] = { -ECANCELED, -512, -EIO, -EINTR };
    uring_hook.enter = uring_fake_enter;
    for (int k = 0; k < 4; k++) {
        struct w w;
        char c;
        int fds[2];
        memset(&w, 0, sizeof w);
        pair_of(fds);
        w.a = fds[0];
        uring_fake.opcode = IORING_OP_CLOSE;
        uring_fake.result = results[k];
        uring_fake.done = uring_fake.skip = 0;
        uring_begin();
        aio_loop l;
        struct aio_loop_options o = uring_options();
        aio_loop_init(&l, &o);
        assert_result(aio_uring_attach(&l, 0), 0);
        aio_task *t = aio_spawn_on(&l, one, .make = m_close, .arg = &w);
        aio_result r = aio_loop_run_until_complete(&l, t);
        aio_detach(t);
        aio_loop_close(&l);
        assert_int_equal(uring_fake.done, 1);
        assert_result(r, k == 0 ? 0 : results[k] == -512 ? -EINTR : results[k]);
        if (k == 0) assert_result(recv(fds[1], &c, 1, MSG_DONTWAIT), 0);
        else close(fds[0]);                 // the fake did not close it
        uring_fds_before--;
        uring_check(__FILE__, __LINE__);
        close(fds[1]);
    }
    uring_hook.enter = 0;
}
static void a_transfer_without_progress_is_eio(void **state)
{
    (void)state;
    struct w w;
    memset(&w, 0, sizeof w);
    int fds[2];
    pair_of(fds);
    w.a = fds[0];
    uring_hook.enter = uring_fake_enter;
    uring_fake.opcode = IORING_OP_WRITE;
    uring_fake.result = 0;
    uring_fake.done = uring_fake.skip = 0;
    assert_result(run_one(m_write_all, &w), -EIO);
    uring_fake.result = 3;                        // a short one: the rest follows
    uring_fake.done = 0;
    assert_result(run_one(m_write_all, &w), 5);
    assert_int_equal(w.done, 5);
    char got[8];
    assert_int_equal(recv(fds[1], got, sizeof got, MSG_DONTWAIT), 2);
    assert_memory_equal(got, "lo", 2);
    uring_fake.opcode = IORING_OP_SEND;
    uring_fake.result = 2;
    uring_fake.done = 0;
    assert_result(run_one(m_send_all, &w), 5);
    assert_int_equal(recv(fds[1], got, sizeof got, MSG_DONTWAIT), 3);
    assert_memory_equal(got, "llo", 3);
    uring_hook.enter = 0;
    close(fds[0]), close(fds[1]);
}

// --- operations of several results, of several steps
enum flow { ACCEPTS, RECVS, RECVS_UNIX, MESSAGES, READS, POLLS, FLOWS };
static const int errors[] = {
    EPERM,  EIO,    EAGAIN, ENOMEM,     EINVAL,       ECONNRESET, ETIMEDOUT, ENOBUFS, EPIPE, EINTR,
    EMFILE, ENFILE, ENOSPC, EOPNOTSUPP, ECONNABORTED, ECANCELED,  512,       513,     514,   516};
struct flows {
    aio_frame aio;
    enum flow kind;
    int fds[2], result, skip;
    aio_result r;
    aio_buffer_ring ring;
    aio_many it;
};
static aio_result flow_begin(struct flows *f)
{
    switch (f->kind) {
    case ACCEPTS: return aio_accept_many(&f->it, f->fds[0]);
    case RECVS:
    case RECVS_UNIX: return aio_recv_many(&f->it, f->fds[0], &f->ring);
    case MESSAGES: return aio_recvmsg_many(&f->it, f->fds[0], &f->ring, 0);
    case READS: return aio_read_many(&f->it, f->fds[0], &f->ring);
    default: return aio_poll_many(&f->it, f->fds[0], POLLIN);
    }
}
aio_async(flows) {
    assert_result(aio_buffer_ring_init(&self->ring, 4, 256), 0);
    aio_try(aio_nop());
    uring_fake.opcode = -1;
    uring_fake.result = self->result;
    uring_fake.skip = self->skip;
    uring_fake.done = 0;
    uring_hook.enter = uring_fake_enter;
    assert_result(flow_begin(self), 0);
    aio_await(self->r, aio_next(&self->it));
    uring_hook.enter = 0;
    if (self->r > 0 && self->kind == ACCEPTS) close((int)aio_gen_value(&self->it));
    aio_await(aio_gen_close(&self->it));
    assert_result(aio_buffer_ring_close(&self->ring), 0);      // all are back
    return self->r;
} aio_end
static void flow_descriptors(enum flow kind, int fds[2])
{
    struct sockaddr_in a = loopback(0);
    socklen_t n = sizeof a;
    if (kind == ACCEPTS) {
        fds[0] = tcp_listener(4);
        fds[1] = tcp_client(port_of(fds[0]));
    } else if (kind == RECVS) {
        int listener = tcp_listener(1);
        fds[0] = tcp_client(port_of(listener));
        fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        close(listener);
    } else if (kind == MESSAGES) {
        for (int i = 0; i < 2; i++) {
            fds[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
            assert_int_equal(bind(fds[i], (struct sockaddr *)&a, sizeof a), 0);
        }
        getsockname(fds[0], (struct sockaddr *)&a, &n);
        assert_int_equal(connect(fds[1], (struct sockaddr *)&a, n), 0);
    } else if (kind == READS) {
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    } else {
        pair_of(fds);
    }
    if (kind != ACCEPTS) assert_int_equal(write(fds[1], "hello", 5), 5);
}
// It begins again, or says what it was; a buffer is never missing.
static void hazard_11_each_error_of_an_iterator(void **state)
{
    (void)state;
    for (int kind = 0; kind < FLOWS; kind++) {
        for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
            int fds[2], e = errors[i];
            flow_descriptors((enum flow)kind, fds);
            expect_reports();           // no descriptor for a connection
            aio_result r = run(flows, .kind = (enum flow)kind, .fds[0] = fds[0], .result = -e);
            assert_int_equal(uring_fake.done, 1);
            bool again = e == EINTR || e == EAGAIN || (e == ECANCELED && kind != READS) ||
                         e >= 512 || (e == ENOBUFS && kind != POLLS) ||
                         (kind == ACCEPTS &&
                          (e == EMFILE || e == ENFILE || e == ENOMEM || e == ECONNABORTED));
            if (r != 1 && r != uring_seen(-e))
                fail_msg("iterator %d, errno %d: %lld", kind, e, (long long)r);
            if (again && r != 1) fail_msg("iterator %d, errno %d: it gave up", kind, e);
            close(fds[0]), close(fds[1]);
        }
    }
}
struct steps {
    aio_frame aio;
    int fds[2], file, result, at;
    bool hard;
    aio_chain chain;
    char buf[3][8];
    aio_result r;
};
static void add_steps(struct steps *f)
{
    aio_result (*add)(aio_chain *, aio_awaitable) = f->hard ? aio_chain_add_hard : aio_chain_add;
    add(&f->chain, aio_send_all(f->fds[0], "hello", 5, 0));
    add(&f->chain, aio_recv(f->fds[1], f->buf[1], 5, 0));
    add(&f->chain, aio_pread(f->file, f->buf[2], 5, 0));
}
aio_async(steps) {
    aio_try(aio_nop());
    assert_result(aio_chain_init(&self->chain), 0);
    add_steps(self);
    uring_fake.opcode = self->at == 0   ? IORING_OP_SEND
                        : self->at == 1 ? IORING_OP_RECV
                                        : IORING_OP_READ;
    uring_fake.result = self->result;
    uring_fake.done = uring_fake.skip = 0;
    uring_hook.enter = uring_fake_enter;
    aio_await(self->r, aio_chain_run(&self->chain));
    uring_hook.enter = 0;
    assert_int_equal(uring_fake.done, 1);
    for (int i = 0; i < 3; i++) {
        aio_result want = i == self->at                 ? uring_seen(self->result)
                          : i > self->at && !self->hard ? -ECANCELED
                                                        : 5;
        if (aio_chain_result(&self->chain, (unsigned)i) != want) return -EBADE;
    }
    return self->r;
} aio_end
static void each_error_of_each_step_of_a_chain(void **state)
{
    (void)state;
    if (!kernel_is(6, 10)) test_skip("no-ops cannot fail: Linux 6.10");
    int file = temp_file("0123456789");
    for (int at = 0; at < 3; at++) {
        for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
            for (int hard = 0; hard < 2; hard++) {
                int fds[2];
                if (hard && at == 0) continue;          // then there is nothing to receive
                if (errors[i] == ECANCELED || errors[i] >= 512)
                    continue; // those of one that was ended
                pair_of(fds);
                aio_result r = run(steps, .fds[0] = fds[0], .fds[1] = fds[1], .file = file,
                                   .at = at, .result = -errors[i], .hard = hard);
                if (r != uring_seen(-errors[i]))
                    fail_msg("step %d, errno %d: %lld", at, errors[i], (long long)r);
                close(fds[0]), close(fds[1]);
            }
        }
    }
    close(file);
}

// --- memory runs out at the n-th allocation, for every n
static void contract_7_no_memory_at_the_nth_allocation(void **state)
{
    (void)state;
    bool reached = false;
    for (long n = 1; n < 200 && !reached; n++) {
        struct aio_loop_options o = uring_options();
        uring_begin();
        uring_memory.fail_from = n;
        aio_result r = aio_run_with(&o, converse);
        reached = uring_memory.calls + 1 < n;
        if (r != 0 && r != -ENOMEM) print_error("allocation %ld: %s\n", n, aio_strerror(r));
        if (reached) assert_result(r, 0);
        assert_true(r == 0 || r == -ENOMEM);
        assert_int_equal(uring_memory.blocks, 0);
        assert_int_equal(uring_count_fds(), uring_fds_before);
    }
    assert_true(reached);
}
// Only the n-th fails: everything goes on.
static long only;
static void *fail_once(void *context, size_t size)
{
    struct test_memory *m = (struct test_memory *)context;
    if (--only == 0) return NULL;
    return test_allocate(m, size);
}
static void contract_7_one_allocation_fails(void **state)
{
    (void)state;
    for (long n = 1; n < 60; n++) {
        struct aio_loop_options o = uring_options();
        o.allocator.allocate = fail_once;
        only = n;
        uring_begin();
        aio_result r = aio_run_with(&o, converse);
        assert_true(r == 0 || r == -ENOMEM);
        assert_int_equal(uring_memory.blocks, 0);
        assert_int_equal(uring_count_fds(), uring_fds_before);
    }
}
static long allocations;
struct warm_up { aio_frame aio; int fds[2], i, rounds; char buf[8]; aio_task *t; };
struct child { aio_frame aio; int fd; char buf[8]; };
aio_async(child) {
    aio_result n;
    aio_await(n, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
    return n;
} aio_end
aio_async(warm_up) {
    aio_result n;
    for (; self->rounds < 200; self->rounds++) {
        if (self->rounds == 100) allocations = uring_memory.calls;
        self->t = aio_spawn(child, .fd = self->fds[0]);
        aio_try(aio_send_all(self->fds[1], "hello", 5, 0));
        aio_await(n, aio_join(self->t));
        if (n != 5) return -EBADMSG;
        self->t = aio_spawn(child, .fd = self->fds[0]);
        aio_try(aio_sleep(AIO_USEC));
        aio_task_cancel(self->t);
        aio_await(n, aio_join(self->t));
        if (n != -ECANCELED) return -EBADMSG;
        aio_try(n, aio_openat(AT_FDCWD, "/dev/null", O_RDONLY, 0));
        aio_try(aio_close((int)n));
    }
    allocations = uring_memory.calls - allocations;
    return 0;
} aio_end
static void contract_7_no_allocation_once_warm(void **state)
{
    (void)state;
    int fds[2];
    pair_of(fds);
    assert_result(run(warm_up, .fds[0] = fds[0], .fds[1] = fds[1]), 0);
    assert_int_equal(allocations, 0);
    close(fds[0]), close(fds[1]);
}

// --- descriptors run out
struct exhausted { aio_frame aio; int listener, client, fd; struct rlimit old; };
aio_async(exhausted) {
    aio_result fd;
    struct rlimit low;
    getrlimit(RLIMIT_NOFILE, &self->old);
    aio_try(aio_nop());
    low = self->old;
    low.rlim_cur = (rlim_t)dup(0);          // the next number is beyond it
    close((int)low.rlim_cur);
    setrlimit(RLIMIT_NOFILE, &low);
    aio_await(fd, aio_accept(self->listener));
    assert_result(fd, -EMFILE);
    aio_await(fd, aio_openat(AT_FDCWD, "/dev/null", O_RDONLY, 0));
    assert_result(fd, -EMFILE);
    aio_await(fd, aio_socket(AF_INET, SOCK_STREAM, 0));
    assert_result(fd, -EMFILE);
    aio_await(fd, aio_connect_tcp("127.0.0.1", 1));
    assert_result(fd, -EMFILE);
    aio_await(fd, aio_listen_tcp("127.0.0.1", 0));
    assert_result(fd, -EMFILE);
    setrlimit(RLIMIT_NOFILE, &self->old);
    aio_await(fd, aio_accept(self->listener));      // the connection has waited
    assert_true(fd > 0);
    aio_await(fd, aio_close((int)fd));
    return fd;
} aio_end
static void hazard_28_emfile_leaves_the_connection_waiting(void **state)
{
    (void)state;
    if (under_valgrind()) test_skip("valgrind has its own idea of the limit of descriptors");
    int listener = tcp_listener(4), client = tcp_client(port_of(listener));
    assert_result(run(exhausted, .listener = listener), 0);
    close(listener), close(client);
}

// --- the system call is refused for ever: at first, later, while it closes
static struct { int error; long after; bool draining; } never;
static int never_enter(unsigned fd, unsigned submit, unsigned wait, unsigned flags, sigset_t *extra,
                       size_t size)
{
    if (never.draining ? !uring_of_loop() : never.after-- <= 0) return never.error;
    return io_uring_enter2(fd, submit, wait, flags, extra, size);
}
struct shut_out { aio_frame aio; int fds[2]; char buf[8]; bool sleeps; aio_chain c; aio_many it;
                  aio_stream s; aio_task *t; aio_result r; };
struct waits_in_vain { aio_frame aio; int fd; char buf[8]; aio_result r; };
aio_async(waits_in_vain) {
    aio_await(self->r, aio_recv(self->fd, self->buf, 8, 0));
    return self->r;
} aio_end
aio_async(shut_out) {
    pair_of(self->fds);
    self->t = aio_spawn(waits_in_vain, .fd = self->fds[0]);
    (void)aio_poll_many(&self->it, self->fds[0], POLLIN);
    if (self->sleeps) aio_await(aio_sleep(2 * AIO_MSEC));
    aio_await(self->r, aio_wait_for(5 * AIO_MSEC, aio_next(&self->it)));
    aio_await(self->r, aio_wait_for(5 * AIO_MSEC, aio_recv(self->fds[1], self->buf, 8, 0)));
    assert_true(self->r < 0);
    aio_await(self->r, aio_nop());
    aio_chain_init(&self->c);
    aio_chain_add(&self->c, aio_nop());
    aio_chain_add(&self->c, aio_recv(self->fds[1], self->buf, 8, 0));
    aio_await(self->r, aio_wait_for(5 * AIO_MSEC, aio_chain_run(&self->c)));
    assert_true(self->r < 0);
    aio_task_cancel(self->t);
    aio_await(self->r, aio_join(self->t));
    assert_true(self->r < 0);
    aio_await(aio_close(self->fds[1]));
    aio_await(aio_close(self->fds[0]));
    return 7;
} aio_end
// In a child: the memory of a loop whose ring was lost stays allocated.
static void refuse_for_ever(void *arg)
{
    static const int refusals[] = { EPERM, EACCES, ENOSYS, EINVAL, EEXIST, EFAULT, ENXIO, EIO };
    (void)arg;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        for (long after = 0; after < 7; after++) {
            struct aio_loop_options o = uring_options();
            uring_begin();
            never.error = -refusals[i];
            never.after = after;
            never.draining = after == 6;
            uring_hook.enter = never_enter;
            aio_result r = aio_run_with(&o, shut_out, .sleeps = i & 1);
            uring_hook.enter = NULL;
            bool told = after == 6 || strstr(uring_told, "io_uring_enter failed");
            if (r == 7 && told && uring_count_fds() == uring_fds_before) continue;
            fprintf(stderr, "errno %d after %ld calls: %lld, %d descriptors more, told: %s\n",
                    refusals[i], after, (long long)r, uring_count_fds() - uring_fds_before,
                    uring_told);
            _exit(1);
        }
    }
    _exit(0);
}
static void a_refused_enter_ends_all_that_waits(void **state)
{
    char text[2048];
    (void)state;
    int status = test_in_child(refuse_for_ever, NULL, text, sizeof text);
    if (status) print_error("%s", text);
    assert_int_equal(status, 0);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hazard_10_enter_fails_at_the_nth_call),
        cmocka_unit_test(hazard_10_an_idle_loop_does_not_spin),
        cmocka_unit_test(hazard_10_the_ring_goes_while_the_loop_runs),
        cmocka_unit_test(contract_11_close_gives_a_dead_ring_up),
        cmocka_unit_test(hazard_10_enter_takes_only_a_part),
        cmocka_unit_test(hazard_17_contract_3_errors_as_the_caller_sees_them),
        cmocka_unit_test(hazard_17_contract_3_errors_after_a_cancel),
        cmocka_unit_test(contract_5_a_cancelled_close_closes),
        cmocka_unit_test(a_transfer_without_progress_is_eio),
        cmocka_unit_test(hazard_11_each_error_of_an_iterator),
        cmocka_unit_test(each_error_of_each_step_of_a_chain),
        cmocka_unit_test(contract_7_no_memory_at_the_nth_allocation),
        cmocka_unit_test(contract_7_one_allocation_fails),
        cmocka_unit_test(contract_7_no_allocation_once_warm),
        cmocka_unit_test(hazard_28_emfile_leaves_the_connection_waiting),
        cmocka_unit_test(a_refused_enter_ends_all_that_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
