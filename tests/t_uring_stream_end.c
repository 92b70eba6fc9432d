// Streams: errors, marks and loss, closing, cancelling. Rules ST-3 … ST-5.
#include "uring.h"

static void say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}
static const char zeros[200000];

// --- errors that the kernel gives, put into completions
static struct { aio_result error; unsigned tag; int hits; } fault;
static int faulty_enter(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                        sigset_t *extra, size_t size)
{
    int r = io_uring_enter2(fd, submit, wait, flags, extra, size);
    aio_uring *u = uring_of_loop();
    if (!u || !fault.error) return r;
    for (unsigned i = *u->cq_khead; i != __atomic_load_n(u->cq_ktail, __ATOMIC_ACQUIRE); i++) {
        struct io_uring_cqe *e = &u->cqes[i & u->cq_mask];
        if ((e->user_data & 7) != fault.tag || e->res < 0) continue;
        e->res = (int)fault.error;
        fault.hits++;
    }
    return r;
}
struct pair {
    aio_frame aio;
    int fds[2];
    aio_stream s;
    char buf[64];
    aio_bytes line;
    aio_result r, error;
};
aio_async(pair) {
    assert_int_equal(pair_of(self->fds), 0);
    assert_result(aio_stream_open(&self->s, self->fds[0], self->fds[0], NULL), 0);
    say(self->fds[1], "buffered\nmore");
    aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    assert_result(self->r, 9);
    fault.error = self->error;
    fault.tag = AIO__UD_COMPOUND;
    fault.hits = 0;
    say(self->fds[1], "xyz");
    aio_await(self->r, aio_stream_read_exactly(&self->s, self->buf, 10));
    assert_result(self->r, self->error);
    assert_int_equal(fault.hits, 1);
    fault.error = 0;
    if (aio__passing(self->error)) {            // it ends this read only; nothing is lost
        aio_await(self->r, aio_stream_read(&self->s, self->buf, 10));
        assert_result(self->r, 4);
        assert_memory_equal(self->buf, "more", 4);
        aio_await(self->r, aio_stream_write(&self->s, "x", 1));
        assert_result(self->r, 1);
    } else {                                    // ST-3: it comes before what is buffered
        aio_await(self->r, aio_stream_read(&self->s, self->buf, 10));
        assert_result(self->r, self->error);
        aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
        assert_result(self->r, self->error);
        aio_await(self->r, aio_stream_drain(&self->s));         // ST-4
        assert_result(self->r, self->error);
        aio_await(self->r, aio_stream_write(&self->s, "x", 1));
        assert_result(self->r, self->error);
        assert_result(aio_stream_write_nowait(&self->s, "x", 1), self->error);
    }
    aio_await(self->r, aio_stream_close(&self->s));
    assert_result(self->r, aio__passing(self->error) ? 0 : self->error);
    close(self->fds[1]);
    return 0;
} aio_end
static const aio_result errors[] = { -ECONNRESET, -ETIMEDOUT, -EHOSTUNREACH, -ENETDOWN, -ENETUNREACH,
    -ENOTCONN, -EIO, -EFAULT, -EINVAL, -ENOTSOCK, -EBADF, -EMSGSIZE, -EACCES, -ENOBUFS, -ENOMEM };
static void ST_3_an_error_comes_before_what_is_buffered(void **state)
{
    (void)state;
    uring_hook.enter = faulty_enter;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        assert_result(run(pair, .error = errors[i]), 0);
    uring_hook.enter = NULL;
}
struct sends { aio_frame aio; int fds[2]; aio_stream s; aio_result r, error; char buf[8]; };
aio_async(sends) {
    assert_int_equal(pair_of(self->fds), 0);
    aio_stream_open(&self->s, self->fds[0], self->fds[0], NULL);
    fault.error = self->error;
    fault.tag = AIO__UD_SINK;
    fault.hits = 0;
    aio_await(self->r, aio_stream_write(&self->s, "ping", 4));
    assert_result(self->r, 4);                  // ST-4: a write does not fail by itself
    while (!fault.hits) aio_await(aio_sleep(AIO_MSEC));
    fault.error = 0;
    aio_await(aio_sleep(0));
    if (self->error == 0) self->error = -EIO;   // no progress, and no reason
    if (self->error == -EPIPE) self->error = -ECONNRESET;
    aio_await(self->r, aio_stream_write(&self->s, "x", 1));
    assert_result(self->r, self->error);
    say(self->fds[1], "pong");                  // the answer can be read all the same
    aio_await(self->r, aio_stream_read(&self->s, self->buf, 8));
    assert_result(self->r, 4);
    assert_memory_equal(self->buf, "pong", 4);
    assert_int_equal(aio_stream_unsent(&self->s), 0);
    aio_await(self->r, aio_stream_close(&self->s));
    assert_result(self->r, self->error);
    close(self->fds[1]);
    return 0;
} aio_end
static void ST_4_after_a_loss_every_write_fails(void **state)
{
    (void)state;
    uring_hook.enter = faulty_enter;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        assert_result(run(sends, .error = errors[i]), 0);
    assert_result(run(sends, .error = -EPIPE), 0);
    uring_hook.enter = NULL;
}

// --- real peers that go away
struct gone {
    aio_frame aio;
    int listener, peer, how;
    aio_stream s;
    char buf[64];
    aio_result r;
    int i;
};
aio_async(gone) {
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    self->peer = tcp_client(port_of(self->listener));
    aio_try(self->r, aio_accept(self->listener));
    aio_stream_open(&self->s, (int)self->r, (int)self->r, NULL);
    aio_await(aio_close(self->listener));
    if (self->how == 0) {                       // half-closed: it still reads
        shutdown(self->peer, SHUT_WR);
        aio_await(self->r, aio_stream_read(&self->s, self->buf, 8));
        assert_result(self->r, 0);
        assert_true(aio_stream_at_eof(&self->s));
        aio_await(self->r, aio_stream_write(&self->s, "reply", 5));
        assert_result(aio_stream_write_eof(&self->s), 0);
        assert_result(aio_stream_write_eof(&self->s), 0);
        aio_await(self->r, aio_stream_write(&self->s, "x", 1));
        assert_result(self->r, -ESHUTDOWN);
        aio_await(self->r, aio_sleep(2 * AIO_MSEC));
        assert_int_equal(read(self->peer, self->buf, 8), 5);
        assert_int_equal(read(self->peer, self->buf, 8), 0);
        close(self->peer);
    } else {                                    // reset
        static const struct linger now = { 1, 0 };
        setsockopt(self->peer, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close(self->peer);
        if (self->how == 1) {
            aio_await(self->r, aio_stream_read(&self->s, self->buf, 8));
            assert_result(self->r, -ECONNRESET);
        } else {
            for (self->i = 0; self->i < 1000; self->i++) {
                aio_await(self->r, aio_stream_write(&self->s, "x", 1));
                if (self->r < 0) break;
                aio_await(aio_sleep(0));
            }
            assert_result(self->r, -ECONNRESET);
        }
        aio_await(self->r, aio_stream_write(&self->s, "x", 1));
        assert_result(self->r, -ECONNRESET);
        aio_await(self->r, aio_stream_write(&self->s, zeros, sizeof zeros));
        assert_result(self->r, -ECONNRESET);
    }
    return 0;
} aio_end
static void ST_4_peers_that_half_close_and_reset(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) assert_result(run(gone, .how = how), 0);
}
// Two pipes: each direction has its own end and its own errors.
struct pipes { aio_frame aio; int in[2], out[2]; aio_stream s; char buf[64]; aio_result r; int i; };
aio_async(pipes) {
    assert_int_equal(pipe2(self->in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(self->out, O_CLOEXEC), 0);
    assert_result(aio_stream_open(&self->s, self->in[0], self->out[1], NULL), 0);
    say(self->in[1], "still here");
    close(self->out[0]);                        // nobody reads us
    aio_await(self->r, aio_stream_write(&self->s, "x", 1));
    assert_result(self->r, 1);
    aio_await(aio_sleep(AIO_MSEC));
    aio_await(self->r, aio_stream_write(&self->s, "x", 1));
    assert_result(self->r, -EPIPE);
    aio_await(self->r, aio_stream_read(&self->s, self->buf, 64));
    assert_result(self->r, 10);                 // and we read on
    close(self->in[1]);
    aio_await(self->r, aio_stream_read(&self->s, self->buf, 64));
    assert_result(self->r, 0);
    aio_await(self->r, aio_stream_close(&self->s));
    assert_result(self->r, -EPIPE);
    assert_int_equal(pipe2(self->out, O_CLOEXEC), 0);
    assert_result(aio_stream_open(&self->s, -1, self->out[1], NULL), 0);
    aio_await(self->r, aio_stream_read(&self->s, self->buf, 64));
    assert_result(self->r, -EBADF);             // there is none
    aio_stream_write_nowait(&self->s, zeros, 100000);   // more than a pipe takes
    assert_result(aio_stream_write_eof(&self->s), 0);
    for (self->i = 0;;) {
        aio_await(self->r, aio_read_some(self->out[0], self->buf, sizeof self->buf));
        if (self->r <= 0) break;
        self->i += (int)self->r;
    }
    assert_result(self->r, 0);                  // for a pipe, ending is closing
    assert_int_equal(self->i, 100000);
    close(self->out[0]);
    aio_await(self->r, aio_stream_close(&self->s));
    assert_result(self->r, 0);
    assert_int_equal(pipe2(self->in, O_CLOEXEC), 0);
    assert_result(aio_stream_open(&self->s, self->in[0], -1, NULL), 0);
    aio_await(self->r, aio_stream_write(&self->s, "x", 1));
    assert_result(self->r, -EBADF);
    assert_result(aio_stream_write_eof(&self->s), -EBADF);
    close(self->in[1]);
    return 0;
} aio_end
static void ST_3_the_directions_of_two_pipes_are_independent(void **state)
{
    (void)state;
    assert_result(run(pipes), 0);
}

// --- the marks
struct writer { aio_frame aio; aio_stream *s; size_t n; aio_result r; };
aio_async(writer) {
    if (self->n) aio_await(self->r, aio_stream_write(self->s, zeros, self->n));
    else aio_await(self->r, aio_stream_drain(self->s));
    return self->r;
} aio_end
struct marks { aio_frame aio; int fds[2]; size_t full; aio_stream s; aio_task *t[4]; aio_result r; int i; };
aio_async(marks) {
    static const struct aio_stream_options o = { 0, 1000, 300 };
    static const struct aio_stream_options bad = { 0, 1000, 1001 };
    assert_int_equal(pair_of(self->fds), 0);
    assert_result(aio_stream_open(&self->s, self->fds[0], self->fds[0], &bad), -EINVAL);
    assert_result(aio_stream_open(&self->s, self->fds[0], self->fds[0], &o), 0);
    self->full = fill(self->fds[0]);            // nothing more goes out
    aio_await(self->r, aio_stream_write(&self->s, zeros, 1000));        // not above the mark
    assert_result(self->r, 1000);
    assert_int_equal(aio_stream_unsent(&self->s), 1000);
    aio_await(self->r, aio_stream_drain(&self->s));
    assert_result(self->r, 0);
    self->t[0] = aio_spawn(writer, .s = &self->s, .n = 1);      // above it; many may wait
    self->t[1] = aio_spawn(writer, .s = &self->s, .n = 20000);
    self->t[2] = aio_spawn(writer, .s = &self->s);
    self->t[3] = aio_spawn(writer, .s = &self->s);
    aio_await(aio_sleep(AIO_MSEC));
    assert_int_equal(aio_stream_unsent(&self->s), 21001);
    assert_result(aio_stream_write_nowait(&self->s, zeros, 5), 5);
    for (self->i = 0; self->i < 4; self->i++) assert_false(aio_task_done(self->t[self->i]));
    aio_task_cancel(self->t[3]);
    aio_task_cancel(self->t[1]);                // what it wrote stays
    aio_await(self->r, aio_join(self->t[3]));
    assert_result(self->r, -ECANCELED);
    aio_await(self->r, aio_join(self->t[1]));
    assert_result(self->r, -ECANCELED);
    assert_int_equal(aio_stream_unsent(&self->s), 21006);
    self->full += 21006;
    while (self->full) {
        self->full -= empty(self->fds[1]);
        aio_await(aio_sleep(0));
    }
    aio_await(self->r, aio_join(self->t[0]));
    assert_result(self->r, 1);
    aio_await(self->r, aio_join(self->t[2]));
    assert_result(self->r, 0);
    close(self->fds[1]);
    return 0;
} aio_end
static void ST_4_writes_wait_between_the_marks(void **state)
{
    (void)state;
    assert_result(run(marks), 0);
}

// Many small pieces that nobody takes: gathering them costs no more than their size.
struct gathers { aio_frame aio; int fds[2]; aio_stream s; long calls; };
aio_async(gathers) {
    assert_int_equal(pair_of(self->fds), 0);
    assert_result(aio_stream_open(&self->s, self->fds[0], self->fds[0], NULL), 0);
    fill(self->fds[0]);
    self->calls = uring_memory.calls;
    while (aio_stream_unsent(&self->s) < 8 << 20)
        assert_result(aio_stream_write_nowait(&self->s, zeros, 1000), 1000);
    assert_in_range(uring_memory.calls - self->calls, 0, 30);
    aio_stream_abort(&self->s);
    close(self->fds[1]);
    return 0;
} aio_end
static void many_small_writes_are_gathered(void **state)
{
    (void)state;
    assert_result(run(gathers), 0);
}

// A terminal that nobody reads must not stop the loop: the kernel blocks in a write that polling
// allowed.
struct terminal {
    aio_frame aio;
    int ours, theirs;
    size_t got;
    bool reads;
    aio_stream s;
    aio_result r;
};
aio_async(terminal) {
    self->ours = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(self->ours >= 0 && !grantpt(self->ours) && !unlockpt(self->ours));
    self->theirs = open(ptsname(self->ours), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(self->theirs >= 0);
    assert_result(aio_stream_open(&self->s, -1, self->theirs, NULL), 0);
    assert_result(aio_stream_write_nowait(&self->s, zeros, 60000), 60000);
    aio_await(aio_sleep(AIO_MSEC));
    while (self->reads && self->got < 60000) {
        self->got += empty(self->ours);
        aio_await(aio_sleep(AIO_MSEC / 10));
    }
    aio_await(self->r,
              aio_wait_for(self->reads ? 10 * AIO_SECOND : AIO_MSEC, aio_stream_close(&self->s)));
    close(self->ours);
    return self->r;
} aio_end
static void a_terminal_that_nobody_reads(void **state)
{
    (void)state;
    assert_result(run(terminal, .reads = true), 0);
    assert_result(run(terminal), -ETIMEDOUT);
}

// --- closing with much unsent, in every way
enum {
    CLOSE,
    CLOSE_LIMIT,
    CLOSE_CANCEL,
    RETURN,
    RETURN_ERROR,
    RETURN_CANCELLED,
    RETURN_CUT,
    ABORT,
    ABORT_WAITED,
    PEER_GONE,
    LOOP_CLOSES,
    HOW
};
struct closes {
    aio_frame aio;
    int how, fds[2], *peer;
    size_t *full;
    aio_stream s;
    aio_result r;
};
aio_async(closes) {
    assert_result(aio_stream_open(&self->s, self->fds[0], self->fds[0], NULL), 0);
    aio_stream_write_nowait(&self->s, zeros, 100000);
    switch (self->how) {
    case CLOSE:
        aio_await(self->r, aio_stream_close(&self->s));
        return self->r;
    case CLOSE_LIMIT:
        aio_await(self->r, aio_wait_for(5 * AIO_MSEC, aio_stream_close(&self->s)));
        return self->r;
    case CLOSE_CANCEL:
        aio_await(self->r, aio_stream_close(&self->s));
        aio_await(aio_sleep(0));                // the cancel was delivered: this is undisturbed
        return self->r;
    case RETURN_ERROR: return -EPROTO;
    case RETURN_CANCELLED: return -ECANCELED;
    case ABORT:
        aio_stream_abort(&self->s);
        aio_stream_abort(&self->s);
        assert_int_equal(aio_stream_unsent(&self->s), 0);
        aio_await(self->r, aio_stream_write(&self->s, "x", 1));
        assert_result(self->r, -ECONNABORTED);
        aio_await(self->r, aio_stream_close(&self->s));
        return self->r;
    case LOOP_CLOSES:
        aio_await(aio_sleep(AIO_FOREVER));
        return 0;
    default: return 5;
    }
} aio_end
struct closing { aio_frame aio; int how, fds[2]; size_t full, got; aio_stream *stream; aio_task *t; aio_result r; };
aio_async(closing) {
    assert_int_equal(pair_of(self->fds), 0);
    self->full = fill(self->fds[0]);
    self->t = aio_spawn(closes, .how = self->how, .fds[0] = self->fds[0]);
    self->stream = &aio_task_frame(closes, self->t)->s;
    aio_await(aio_sleep(AIO_MSEC));
    switch (self->how) {
    case CLOSE_CANCEL: case RETURN_CUT: aio_task_cancel(self->t); break;
    case ABORT_WAITED: aio_stream_abort(self->stream); break;
    case PEER_GONE: close(self->fds[1]); break;
    case CLOSE: case RETURN: case RETURN_ERROR:
        assert_false(aio_task_done(self->t));
        while (self->got < self->full + 100000) {
            self->got += empty(self->fds[1]);
            aio_await(aio_sleep(0));
        }
        break;
    case LOOP_CLOSES: close(self->fds[1]); return 0;
    default: break;
    }
    aio_await(self->r, aio_join(self->t));
    if (self->how != PEER_GONE) {
        self->got += empty(self->fds[1]);
        assert_int_equal(read(self->fds[1], &self->got, 1), 0);        // it is closed
        close(self->fds[1]);
    }
    return self->r;
} aio_end
static void ST_5_closing_sends_what_is_left_and_a_cancel_drops_it(void **state)
{
    static const aio_result expected[HOW] = {
        0, -ETIMEDOUT, -ECANCELED, 5, -EPROTO, -ECANCELED, -ECANCELED, 0, 5, 5, 0};
    (void)state;
    for (int how = 0; how < HOW; how++) {
        expect_reports();               // an error that main's end does not take
        aio_result r = run(closing, .how = how);
        if (r != expected[how]) print_error("way %d\n", how);
        assert_result(r, expected[how]);
    }
}
struct strange { aio_frame aio; aio_stream *s; };
aio_async(strange) {
    aio_result r;
    aio_await(r, aio_stream_close(self->s));
    return r;
} aio_end
struct owned { aio_frame aio; int fds[2]; aio_stream s, none; aio_op op; aio_result r; };
aio_async(owned) {
    assert_int_equal(pair_of(self->fds), 0);
    assert_result(aio_stream_open(&self->s, -1, -1, NULL), -EINVAL);
    assert_result(aio_stream_open(&self->s, 1000, 1000, NULL), -EBADF);
    aio_stream_abort(&self->none);
    assert_result(aio_stream_write_nowait(&self->none, "x", 1), -EBADF);
    assert_result(aio_stream_write_eof(&self->none), -EBADF);
    assert_result(aio_stream_open(&self->s, self->fds[0], self->fds[0], NULL), 0);
    aio_await(self->r, aio_join(aio_spawn(strange, .s = &self->s)));
    assert_result(self->r, -EPERM);             // only its own task closes it
    assert_result(aio_start(&self->op, aio_stream_close(&self->s)), -EINVAL);
    close(self->fds[1]);
    return 0;
} aio_end
static void a_stream_belongs_to_the_task_that_opened_it(void **state)
{
    (void)state;
    assert_result(run(owned), 0);
}
// A file is no socket, and cannot be half closed.
struct filed { aio_frame aio; aio_stream s; aio_bytes line; aio_result r; };
aio_async(filed) {
    assert_result(aio_stream_open(&self->s, temp_file("one\ntwo"), -1, NULL), 0);
    aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    assert_string_equal(self->line.data, "one\n");
    aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    assert_string_equal(self->line.data, "two");
    aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    assert_result(self->r, 0);
    aio_await(self->r, aio_stream_close(&self->s));
    self->r = temp_file("");
    assert_result(aio_stream_open(&self->s, (int)self->r, (int)self->r, NULL), 0);
    assert_result(aio_stream_write_eof(&self->s), -EOPNOTSUPP);
    return 0;
} aio_end
static void a_stream_over_a_file(void **state)
{
    (void)state;
    assert_result(run(filed), 0);
}

// --- who waits when it ends
enum { BY_ABORT, BY_CLOSE, BY_RETURN, BY_CANCEL };
struct waits {
    aio_frame aio;
    aio_stream *s;
    bool op;
    aio_op started;
    char buf[100];
    aio_result r, after;
};
aio_async(waits) {
    if (self->op) {
        aio_start(&self->started, aio_stream_read_exactly(self->s, self->buf, 100));
        aio_await(self->r, aio_op_wait(&self->started));
    } else {
        aio_await(self->r, aio_stream_read_exactly(self->s, self->buf, 100));
    }
    aio_await(self->after, aio_sleep(0));
    if (self->r != -ECANCELED) assert_result(self->after, 0);
    return self->r;
} aio_end
struct owner { aio_frame aio; int fds[2], how; bool op; aio_task *t, *w; aio_stream s; aio_result r; };
struct holder { aio_frame aio; struct owner *o; };
aio_async(holder) {
    aio_result r;
    assert_result(aio_stream_open(&self->o->s, self->o->fds[0], self->o->fds[0], NULL), 0);
    self->o->t = aio_spawn(waits, .s = &self->o->s, .op = self->o->op);
    aio_await(aio_sleep(AIO_MSEC));
    say(self->o->fds[1], "some");
    aio_await(aio_sleep(AIO_MSEC));
    if (self->o->how == BY_ABORT) {
        fill(self->o->fds[0]);
        self->o->w = aio_spawn(writer, .s = &self->o->s, .n = 100000);
        aio_await(aio_sleep(AIO_MSEC));
        aio_stream_abort(&self->o->s);
        aio_await(r, aio_join(self->o->w));
        assert_result(r, -ECONNABORTED);
    }
    if (self->o->how == BY_CLOSE) {
        aio_await(r, aio_stream_close(&self->o->s));
        assert_result(r, 0);
    }
    if (self->o->how == BY_CANCEL) {
        aio_task_cancel(self->o->t);
        aio_await(r, aio_join(self->o->t));
        assert_result(r, -ECANCELED);
        assert_int_equal(aio__held(&self->o->s.inbuf), 4);     // what came stays
        self->o->t = NULL;
    }
    return 0;
} aio_end
aio_async(owner) {
    assert_int_equal(pair_of(self->fds), 0);
    aio_await(aio_join(aio_spawn(holder, .o = self)));
    if (self->t) {
        aio_await(self->r, aio_join(self->t));
        assert_result(self->r, self->how == BY_ABORT ? -ECONNABORTED : -EBADF);
    }
    close(self->fds[1]);
    return 0;
} aio_end
static void who_waits_is_told_when_a_stream_ends(void **state)
{
    (void)state;
    for (int how = BY_ABORT; how <= BY_CANCEL; how++) {
        assert_result(run(owner, .how = how), 0);
        assert_result(run(owner, .how = how, .op = true), 0);
    }
}

// The loop is closed under a stream on which others wait, without a word to anybody.
struct under {
    aio_frame aio;
    int fds[2], *peer;
    aio_stream s, *shared;
    aio_op op;
    char buf[8];
    int how;
};
aio_async(under) {
    if (self->shared) {
        if (self->how == 0) aio_await(aio_stream_read(self->shared, self->buf, 8));
        else if (self->how == 1) aio_await(aio_stream_write(self->shared, zeros, 70000));
        else aio_start(&self->op, aio_stream_drain(self->shared));
        aio_await(aio_sleep(AIO_FOREVER));
    }
    assert_int_equal(pair_of(self->fds), 0);
    *self->peer = self->fds[1];
    fill(self->fds[0]);
    aio_stream_open(&self->s, self->fds[0], self->fds[0], NULL);
    aio_stream_write_nowait(&self->s, zeros, sizeof zeros);
    aio_detach(aio_spawn(under, .shared = &self->s, .how = 0));
    aio_detach(aio_spawn(under, .shared = &self->s, .how = 1));
    aio_detach(aio_spawn(under, .shared = &self->s, .how = 2));
    if (self->how) aio_await(aio_stream_close(&self->s));       // which waits to send
    aio_await(aio_sleep(AIO_FOREVER));
    return 0;
} aio_end
struct soon { aio_frame aio; };
aio_async(soon) {
    aio_await(aio_sleep(3 * AIO_MSEC));
    return 0;
} aio_end
static void closing_the_loop_closes_its_streams(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        int peer = -1;
        struct aio_loop_options o = uring_options();
        aio_loop loop;
        uring_begin();
        assert_result(aio_loop_init(&loop, &o), 0);
        aio_detach(aio_spawn_on(&loop, under, .peer = &peer, .how = how));
        aio_task *t = aio_spawn_on(&loop, soon);
        assert_result(aio_loop_run_until_complete(&loop, t), 0);
        aio_detach(t);
        assert_result(aio_loop_close(&loop), 0);
        empty(peer);
        char c;
        assert_int_equal(read(peer, &c, 1), 0);
        close(peer);
        uring_check(__FILE__, __LINE__);
    }
}

// The loop is closed while a stream closes its descriptors: each is closed once.
struct shuts { aio_frame aio; int fds[2]; bool two; aio_stream s; };
aio_async(shuts) {
    assert_int_equal(pair_of(self->fds), 0);
    aio_stream_open(&self->s, self->fds[0], self->two ? self->fds[1] : self->fds[0], NULL);
    if (!self->two) close(self->fds[1]);
    return 0;
} aio_end
static void closing_the_loop_while_a_stream_closes(void **state)
{
    (void)state;
    for (int two = 0; two < 2; two++) {
        struct aio_loop_options o = uring_options();
        aio_loop loop;
        uring_begin();
        assert_result(aio_loop_init(&loop, &o), 0);
        aio_task *t = aio_spawn_on(&loop, shuts, .two = two);
        uring_turns_until(&loop, t, "close");
        aio_detach(t);
        assert_result(aio_loop_close(&loop), 0);
        uring_check(__FILE__, __LINE__);
    }
}

// --- memory: at each allocation that fails, nothing is lost or left
struct poor {
    aio_frame aio;
    int fds[2];
    aio_stream s;
    aio_bytes line;
    char buf[9000];
    long after;
    aio_result r;
    int i;
};
aio_async(poor) {
    assert_int_equal(pair_of(self->fds), 0);
    aio_await(aio_nop());
    uring_memory.fail_from = uring_memory.calls + self->after;
    self->r = aio_stream_open(&self->s, self->fds[0], self->fds[0], NULL);
    assert_result(self->r, 0);
    say(self->fds[1], "line\n");
    aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    assert_true(self->r == 5 || self->r == -ENOMEM);
    for (self->i = 0; self->i < 3; self->i++) {
        aio_await(self->r, aio_stream_write(&self->s, zeros, 30000));
        assert_true(self->r == 30000 || self->r == -ENOMEM);
    }
    assert_int_equal(write(self->fds[1], zeros, 9000), 9000);
    aio_await(self->r, aio_stream_read_exactly(&self->s, self->buf, 9000));
    assert_true(self->r == 9000 || self->r == -ENOMEM);
    while (aio_stream_unsent(&self->s)) {
        empty(self->fds[1]);
        aio_await(aio_next_turn());
    }
    aio_await(self->r, aio_stream_close(&self->s));
    assert_result(self->r, 0);                  // closing needs no memory
    uring_memory.fail_from = 0;
    close(self->fds[1]);
    return 0;
} aio_end
static void without_memory_nothing_is_lost(void **state)
{
    (void)state;
    for (long after = 1; after < 20; after++) assert_result(run(poor, .after = after), 0);
}

// --- CPython's streams on the other end
static const char python[] =
    "import asyncio,sys,hashlib\n"
    "async def handle(r,w):\n"
    "    h=hashlib.md5()\n"
    "    while True:\n"
    "        line=await r.readline()\n"
    "        if not line: break\n"
    "        n=int(line); data=await r.readexactly(n); h.update(data)\n"
    "        w.write(b'%d ' % n + data + b'\\r\\n'); await w.drain()\n"
    "    w.write(h.hexdigest().encode()); w.write_eof(); await w.drain(); w.close()\n"
    "    server.close()\n"
    "async def main():\n"
    "    global server\n"
    "    server=await asyncio.start_unix_server(handle, sys.argv[1])\n"
    "    print('ready', flush=True)\n"
    "    await server.wait_closed()\n"
    "try: asyncio.run(main())\n"
    "except asyncio.CancelledError: pass\n";
struct peer {
    aio_frame aio;
    char path[64];
    FILE *p;
    aio_stream s;
    char head[32], data[50000];
    aio_bytes word;
    int i;
    size_t n;
    aio_result r;
};
aio_scratch(peer, head);
static size_t peer_size(int i) { return (size_t)(i * i * 37 % 49999) + (i & 1); }
aio_async(peer) {
    aio_await(self->r, aio_connect_unix(self->path));
    if (self->r < 0) return self->r;
    assert_result(aio_stream_open(&self->s, (int)self->r, (int)self->r, NULL), 0);
    for (self->i = 0; self->i < 60; self->i++) {
        self->n = peer_size(self->i);
        memset(self->data, 'a' + self->i % 26, self->n);
        self->r = snprintf(self->head, sizeof self->head, "%zu\n", self->n);
        aio_try(aio_stream_write(&self->s, self->head, (size_t)self->r));
        aio_try(aio_stream_write(&self->s, self->data, self->n));
        aio_try(aio_stream_read_until(&self->s, &self->word, " ", 1));
        assert_int_equal(strtoul(self->word.data, NULL, 10), self->n);
        aio_try(self->r, aio_stream_read_until(&self->s, &self->word, "\r\n", 2));
        assert_result(self->r, self->n + 2);
        assert_memory_equal(self->word.data, self->data, self->n);
    }
    assert_result(aio_stream_write_eof(&self->s), 0);
    aio_await(self->r, aio_stream_read_exactly(&self->s, self->data, 100, &self->n));
    assert_result(self->r, -ENODATA);
    assert_int_equal(self->n, 32);              // a checksum
    assert_true(aio_stream_at_eof(&self->s));
    return 0;
} aio_end
static void a_conversation_with_asyncio(void **state)
{
    char path[64], script[64], command[200], line[64] = "";
    (void)state;
    snprintf(path, sizeof path, "/tmp/aio-test-%d.peer", (int)getpid());
    snprintf(script, sizeof script, "/tmp/aio-test-%d.py", (int)getpid());
    FILE *f = fopen(script, "w");
    fputs(python, f);
    fclose(f);
    snprintf(command, sizeof command, "exec python3 %s %s", script, path);
    FILE *p = popen(command, "re");
    bool ready = p && fgets(line, sizeof line, p) && !strcmp(line, "ready\n");
    if (ready) {
        struct aio_loop_options o = uring_options();
        char text[64];
        memcpy(text, path, sizeof text);
        uring_begin();
        aio_task *t = NULL;
        aio_loop loop;
        assert_result(aio_loop_init(&loop, &o), 0);
        t = aio_spawn_on(&loop, peer, .i = 0);
        memcpy(aio_task_frame(peer, t)->path, text, sizeof text);
        assert_result(aio_loop_run_until_complete(&loop, t), 0);
        aio_detach(t);
        aio_loop_close(&loop);
    }
    int status = p ? pclose(p) : -1;
    unlink(script);
    unlink(path);
    if (!ready) test_skip("no python3");
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ST_3_an_error_comes_before_what_is_buffered),
        cmocka_unit_test(ST_4_after_a_loss_every_write_fails),
        cmocka_unit_test(ST_4_peers_that_half_close_and_reset),
        cmocka_unit_test(ST_3_the_directions_of_two_pipes_are_independent),
        cmocka_unit_test(ST_4_writes_wait_between_the_marks),
        cmocka_unit_test(many_small_writes_are_gathered),
        cmocka_unit_test(a_terminal_that_nobody_reads),
        cmocka_unit_test(ST_5_closing_sends_what_is_left_and_a_cancel_drops_it),
        cmocka_unit_test(a_stream_belongs_to_the_task_that_opened_it),
        cmocka_unit_test(a_stream_over_a_file),
        cmocka_unit_test(who_waits_is_told_when_a_stream_ends),
        cmocka_unit_test(closing_the_loop_closes_its_streams),
        cmocka_unit_test(closing_the_loop_while_a_stream_closes),
        cmocka_unit_test(without_memory_nothing_is_lost),
        cmocka_unit_test(a_conversation_with_asyncio),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
