// Streams: buffered reading, writing beside the coroutine, closing. Rules ST-1 … ST-5.
#include "uring.h"

// What a peer outside the loop does: a thread's worth of plain calls, made between awaits.
static void say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}
static bool equals(const aio_bytes *b, const char *text)
{
    return b->size == strlen(text) && !memcmp(b->data, text, b->size) && !b->data[b->size];
}

// --- reading
struct reads { aio_frame aio; int fds[2]; aio_stream s; char buf[64]; aio_result r; };
aio_async(reads) {
    assert_int_equal(pair_of(self->fds), 0);
    assert_result(aio_stream_open(&self->s, self->fds[0], self->fds[0], NULL), 0);
    assert_result(aio_stream_open(&self->s, self->fds[0], self->fds[0], NULL), -EBUSY);
    say(self->fds[1], "hello world");
    aio_await(self->r, aio_stream_read(&self->s, self->buf, 0));
    assert_result(self->r, 0);
    aio_await(self->r, aio_stream_read(&self->s, self->buf, 5));
    assert_result(self->r, 5);
    assert_memory_equal(self->buf, "hello", 5);
    aio_await(self->r, aio_stream_read(&self->s, self->buf, 64));
    assert_result(self->r, 6);
    assert_memory_equal(self->buf, " world", 6);
    say(self->fds[1], "last");
    close(self->fds[1]);
    assert_false(aio_stream_at_eof(&self->s));
    aio_await(self->r, aio_stream_read(&self->s, self->buf, 64));
    assert_result(self->r, 4);
    assert_false(aio_stream_at_eof(&self->s));
    aio_await(self->r, aio_stream_read(&self->s, self->buf, 64));
    assert_result(self->r, 0);
    assert_true(aio_stream_at_eof(&self->s));
    aio_await(self->r, aio_stream_close(&self->s));
    assert_result(self->r, 0);
    aio_await(self->r, aio_stream_read(&self->s, self->buf, 64));
    assert_result(self->r, -EBADF);
    aio_await(self->r, aio_stream_close(&self->s));
    assert_result(self->r, -EBADF);
    return 0;
} aio_end
static void ST_1_a_read_gives_what_is_there(void **state)
{
    (void)state;
    assert_result(run(reads), 0);
}

// An older kernel answers -EAGAIN for a non-blocking descriptor, instead of waiting.
struct unwilling {
    aio_frame aio;
    int in[2], out[2];
    aio_stream s;
    bool cancel;
    char buf[8];
    aio_result r;
};
aio_async(unwilling) {
    assert_int_equal(pipe2(self->in, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(pipe2(self->out, O_CLOEXEC | O_NONBLOCK), 0);
    assert_result(aio_stream_open(&self->s, self->in[0], self->out[1], NULL), 0);
    memset(&uring_fake, 0, sizeof uring_fake);
    uring_fake.opcode = IORING_OP_READ;
    uring_fake.result = -EAGAIN;
    uring_hook.enter = uring_fake_enter;
    if (self->cancel) {
        aio_await(self->r, aio_wait_for(5 * AIO_MSEC, aio_stream_read(&self->s, self->buf, 8)));
        assert_result(self->r, -ETIMEDOUT);
    }
    say(self->in[1], "in");
    aio_await(self->r, aio_stream_read(&self->s, self->buf, 8));
    assert_result(self->r, 2);
    assert_int_equal(uring_fake.done, 1);
    uring_fake.done = 0;
    uring_fake.opcode = IORING_OP_WRITE;
    assert_result(aio_stream_write_nowait(&self->s, "one", 3), 3);
    while (!uring_fake.done) aio_await(aio_sleep(0));
    assert_result(aio_stream_write_nowait(&self->s, " two", 4), 4);     // while it is polled
    while (aio_stream_unsent(&self->s)) aio_await(aio_sleep(0));
    assert_int_equal(read(self->out[0], self->buf, 8), 7);
    assert_memory_equal(self->buf, "one two", 7);
    aio_await(self->r, aio_stream_close(&self->s));
    assert_result(self->r, 0);
    close(self->in[1]);
    close(self->out[0]);
    return 0;
} aio_end
static void a_kernel_that_does_not_wait(void **state)
{
    (void)state;
    assert_result(run(unwilling), 0);
    assert_result(run(unwilling, .cancel = true), 0);
    uring_hook.enter = 0;
}

// Received is what somebody reads, and not more than twice the limit; the rest stays with the peer.
struct ahead {
    aio_frame aio;
    int fds[2];
    aio_stream s;
    size_t full, read;
    aio_bytes line;
    char buf[3000];
    aio_result r;
};
aio_async(ahead) {
    static const struct aio_stream_options o = { 1000, 0, 0 };
    assert_int_equal(pair_of(self->fds), 0);
    aio_stream_open(&self->s, self->fds[0], self->fds[0], &o);
    say(self->fds[1], "line\n");
    self->full = 5 + fill(self->fds[1]);
    aio_await(aio_sleep(AIO_MSEC));
    assert_int_equal(self->s.inbuf.room, 0);            // nobody has read yet
    aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    assert_result(self->r, 5);
    aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    assert_result(self->r, -EMSGSIZE);
    assert_true(self->s.inbuf.room <= 2000);
    close(self->fds[1]);
    self->read = 5;
    aio_await(self->r, aio_stream_read_exactly(&self->s, self->buf, 3000));     // above the limit
    assert_result(self->r, 3000);
    assert_true(self->s.inbuf.room <= 2000);
    do {
        aio_await(self->r, aio_stream_read(&self->s, self->buf, 1 + (self->read & 127)));
        self->read += (size_t)self->r;
    } while (self->r > 0);
    assert_result(self->r, 0);
    assert_true(self->read + 3000 < self->full);        // what the long line had
    return 0;
} aio_end
static void ST_1_nothing_is_received_that_nobody_reads(void **state)
{
    (void)state;
    assert_result(run(ahead), 0);
}

// A second reader is refused; the first one gets its bytes.
struct reader { aio_frame aio; aio_stream *s; char buf[8]; aio_result r; };
aio_async(reader) {
    aio_await(self->r, aio_stream_read(self->s, self->buf, sizeof self->buf));
    return self->r;
} aio_end
struct second { aio_frame aio; int fds[2]; aio_stream s; aio_bytes line; aio_task *t; char buf[8]; aio_result r; };
aio_async(second) {
    assert_int_equal(pair_of(self->fds), 0);
    aio_stream_open(&self->s, self->fds[0], self->fds[0], NULL);
    self->t = aio_spawn(reader, .s = &self->s);
    aio_await(aio_sleep(0));
    aio_await(self->r, aio_stream_read(&self->s, self->buf, 8));
    assert_result(self->r, -EBUSY);
    aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    assert_result(self->r, -EBUSY);
    say(self->fds[1], "abc");
    aio_await(self->r, aio_join(self->t));
    assert_result(self->r, 3);
    close(self->fds[1]);
    return 0;
} aio_end
static void ST_1_a_second_reader_is_refused(void **state)
{
    (void)state;
    assert_result(run(second), 0);
}

struct exact { aio_frame aio; int fds[2]; aio_stream s; char buf[64]; size_t done; aio_result r; };
aio_async(exact) {
    static const struct aio_stream_options o = { 16, 0, 0 };
    assert_int_equal(pair_of(self->fds), 0);
    aio_stream_open(&self->s, self->fds[0], self->fds[0], &o);
    say(self->fds[1], "abcdef");
    aio_await(self->r, aio_stream_read_exactly(&self->s, self->buf, 4));
    assert_result(self->r, 4);
    assert_memory_equal(self->buf, "abcd", 4);
    aio_await(self->r, aio_wait_for(5 * AIO_MSEC,
        aio_stream_read_exactly(&self->s, self->buf, 4, &self->done)));
    assert_result(self->r, -ETIMEDOUT);         // nothing was taken
    assert_int_equal(self->done, 0);
    say(self->fds[1], "gh");
    aio_await(self->r, aio_stream_read_exactly(&self->s, self->buf, 4, &self->done));
    assert_result(self->r, 4);
    assert_int_equal(self->done, 4);
    assert_memory_equal(self->buf, "efgh", 4);
    aio_await(self->r, aio_stream_read_exactly(&self->s, self->buf, 0));
    assert_result(self->r, 0);
    say(self->fds[1], "0123456789");            // above the limit: straight to buf
    aio_await(self->r, aio_wait_for(5 * AIO_MSEC,
        aio_stream_read_exactly(&self->s, self->buf, 20, &self->done)));
    assert_result(self->r, -ETIMEDOUT);
    assert_int_equal(self->done, 10);
    say(self->fds[1], "xyz");
    close(self->fds[1]);
    aio_await(self->r, aio_stream_read_exactly(&self->s, self->buf, 5, &self->done));
    assert_result(self->r, -ENODATA);           // the buffer is empty now
    assert_int_equal(self->done, 3);
    assert_memory_equal(self->buf, "xyz", 3);
    assert_true(aio_stream_at_eof(&self->s));
    aio_await(self->r, aio_stream_read_exactly(&self->s, self->buf, 50, &self->done));
    assert_result(self->r, -ENODATA);
    assert_int_equal(self->done, 0);
    return 0;
} aio_end
static void ST_2_read_exactly_is_all_or_nothing_but_for_the_end(void **state)
{
    (void)state;
    assert_result(run(exact), 0);
}

struct lines {
    aio_frame aio;
    int fds[2];
    aio_stream s;
    char buf[64];
    aio_bytes line;
    aio_result r;
};
aio_async(lines) {
    static const struct aio_stream_options o = { 8, 0, 0 };
    assert_int_equal(pair_of(self->fds), 0);
    aio_stream_open(&self->s, self->fds[0], self->fds[0], &o);
    say(self->fds[1], "one\n\ntwo\nthr");
    aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    assert_result(self->r, 4);
    assert_true(equals(&self->line, "one\n"));
    aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    assert_result(self->r, 1);
    assert_true(equals(&self->line, "\n"));
    aio_await(self->r, aio_stream_read(&self->s, self->buf, 1));
    assert_result(self->r, 1);
    assert_int_equal(self->buf[0], 't');        // the byte that the 0 behind the line had taken
    aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    assert_true(equals(&self->line, "wo\n"));
    aio_await(self->r, aio_wait_for(5 * AIO_MSEC, aio_stream_read_line(&self->s, &self->line)));
    assert_result(self->r, -ETIMEDOUT);
    say(self->fds[1], "ee\n");
    aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    assert_true(equals(&self->line, "three\n"));
    say(self->fds[1], "12345678\n123456789\nok\n");     // the limit excludes the newline
    aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    assert_true(equals(&self->line, "12345678\n"));
    aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    assert_result(self->r, -EMSGSIZE);          // the line is dropped
    aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    assert_true(equals(&self->line, "ok\n"));
    say(self->fds[1], "1234567890123");         // no newline: what comes of it is dropped, too
    aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    assert_result(self->r, -EMSGSIZE);
    aio_await(self->r, aio_wait_for(AIO_MSEC, aio_stream_read_line(&self->s, &self->line)));
    assert_result(self->r, -ETIMEDOUT);
    say(self->fds[1], "its tail\nnext\n1234567890123");
    aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    assert_true(equals(&self->line, "next\n"));
    aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    assert_result(self->r, -EMSGSIZE);
    aio_await(self->r, aio_wait_for(AIO_MSEC, aio_stream_read_line(&self->s, &self->line)));
    say(self->fds[1], "its tail\npart.");
    aio_await(self->r, aio_stream_read_until(&self->s, &self->line, ".", 1));
    assert_true(equals(&self->line, "part."));
    say(self->fds[1], "1234567890123");
    aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    assert_result(self->r, -EMSGSIZE);
    empty(self->s.in);                          // what had not been received yet
    say(self->fds[1], "45");
    aio_await(self->r, aio_stream_read_exactly(&self->s, self->buf, 2));   // bytes are bytes
    assert_memory_equal(self->buf, "45", 2);
    say(self->fds[1], "far more than the limit\r");
    aio_await(self->r, aio_wait_for(AIO_SECOND / 5, aio_stream_skip_until(&self->s, "\r\n", 2)));
    assert_result(self->r, -ETIMEDOUT);
    say(self->fds[1], "\n;\r\nrest");
    aio_await(self->r, aio_stream_skip_until(&self->s, "\r\n", 2));
    assert_result(self->r, 2);                  // the \r had stayed
    aio_await(self->r, aio_stream_skip_until(&self->s, "\r\n", 2));
    assert_result(self->r, 3);
    close(self->fds[1]);
    aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    assert_result(self->r, 4);
    assert_true(equals(&self->line, "rest"));
    aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    assert_result(self->r, 0);
    assert_true(equals(&self->line, ""));
    return 0;
} aio_end
static void ST_2_lines_have_a_limit_and_the_last_may_lack_its_newline(void **state)
{
    (void)state;
    assert_result(run(lines), 0);
}

struct until {
    aio_frame aio;
    int fds[2];
    aio_stream s;
    aio_bytes out;
    char buf[64];
    aio_result r;
};
aio_async(until) {
    static const aio_bytes several[] = { { "\r\n\r\n", 4 }, { "\n", 1 }, { "::", 2 } };
    static const aio_bytes bad[] = { { "a", 1 }, { "", 0 } };
    static const struct aio_stream_options o = { 10, 0, 0 };
    assert_int_equal(pair_of(self->fds), 0);
    aio_stream_open(&self->s, self->fds[0], self->fds[0], &o);
    say(self->fds[1], "a: b\r");
    aio_await(self->r, aio_wait_for(5 * AIO_MSEC,
        aio_stream_read_until(&self->s, &self->out, "\r\n\r\n", 4)));
    assert_result(self->r, -ETIMEDOUT);
    say(self->fds[1], "\n\r\nbody::x");
    aio_await(self->r, aio_stream_read_until(&self->s, &self->out, "\r\n\r\n", 4));
    assert_true(equals(&self->out, "a: b\r\n\r\n"));
    aio_await(self->r, aio_stream_read_until_any(&self->s, &self->out, several, 3));
    assert_true(equals(&self->out, "body::"));
    say(self->fds[1], "\r\n\r\ny");             // "\n" ends first
    aio_await(self->r, aio_stream_read_until_any(&self->s, &self->out, several, 3));
    assert_true(equals(&self->out, "x\r\n"));
    aio_await(self->r, aio_stream_read_until_any(&self->s, &self->out, several, 3));
    assert_true(equals(&self->out, "\r\n"));
    aio_await(self->r, aio_stream_read_until(&self->s, &self->out, "", 0));
    assert_result(self->r, -EINVAL);
    aio_await(self->r, aio_stream_read_until_any(&self->s, &self->out, bad, 2));
    assert_result(self->r, -EINVAL);
    aio_await(self->r, aio_stream_read_until_any(&self->s, &self->out, bad, 0));
    assert_result(self->r, -EINVAL);
    say(self->fds[1], "1234567890;");           // 11 before the separator: too far
    aio_await(self->r, aio_stream_read_until(&self->s, &self->out, ";", 1));
    assert_result(self->r, -EMSGSIZE);
    aio_await(self->r, aio_stream_read_exactly(&self->s, self->buf, 1));
    assert_int_equal(self->buf[0], 'y');        // all was left in the buffer
    aio_await(self->r, aio_stream_read_until(&self->s, &self->out, ";", 1));
    assert_true(equals(&self->out, "1234567890;"));
    say(self->fds[1], "123456789012345");       // none, beyond the limit
    aio_await(self->r, aio_stream_read_until(&self->s, &self->out, ";", 1));
    assert_result(self->r, -EMSGSIZE);
    aio_await(self->r, aio_stream_read_until(&self->s, &self->out, ";", 1));
    assert_result(self->r, -EMSGSIZE);
    aio_await(self->r, aio_stream_read_exactly(&self->s, self->buf, 15));
    assert_result(self->r, 15);
    say(self->fds[1], "left");
    close(self->fds[1]);
    aio_await(self->r, aio_stream_read_until(&self->s, &self->out, ";", 1));
    assert_result(self->r, -ENODATA);
    assert_true(equals(&self->out, "left"));    // and the buffer is empty
    aio_await(self->r, aio_stream_read_until(&self->s, &self->out, ";", 1));
    assert_result(self->r, -ENODATA);
    assert_true(equals(&self->out, ""));
    return 0;
} aio_end
static void ST_2_read_until_has_a_limit_and_several_separators(void **state)
{
    (void)state;
    assert_result(run(until), 0);
}

// --- random splits against a simple reference
static uint32_t dice = 12345;
static uint32_t roll(uint32_t n)
{
    dice = dice * 1664525 + 1013904223;
    return (dice >> 8) % n;
}
struct splits {
    aio_frame aio;
    int fds[2];
    aio_stream s;
    aio_bytes out;
    char text[400];
    size_t length, sent, at, limit, separators;
    aio_bytes separator[3];
    aio_result r;
    bool line, closed;
    struct aio_stream_options options;
};
static void splits_feed(struct splits *f)
{
    size_t n = 1 + roll(7);
    if (n > f->length - f->sent) n = f->length - f->sent;
    if (n) assert_int_equal(write(f->fds[1], f->text + f->sent, n), (ssize_t)n);
    f->sent += n;
    if (f->sent == f->length && !f->closed) {
        close(f->fds[1]);
        f->closed = true;
    }
}
// What is to come out from text[at] on, when all has come; *skip: how far it goes.
static aio_result splits_expect(const struct splits *f, size_t *skip)
{
    size_t start = 0, end = 0;
    for (size_t i = f->at; i < f->length; i++) {
        for (size_t k = 0; k < f->separators; k++) {
            size_t n = f->separator[k].size;
            if (i + n > f->length || memcmp(f->text + i, f->separator[k].data, n)) continue;
            if (end && i + n >= end) continue;
            start = i;
            end = i + n;
        }
    }
    size_t left = f->length - f->at;
    *skip = end ? end - f->at : left;
    if (end) return start - f->at <= f->limit ? (aio_result)(end - f->at) : -EMSGSIZE;
    return f->line ? (aio_result)left : -ENODATA;
}
// Looks at one result. True: that was the end.
static bool splits_check(struct splits *f)
{
    size_t skip;
    aio_result expected = splits_expect(f, &skip);
    if (f->r > 0 || f->r == -ENODATA) {
        assert_memory_equal(f->out.data, f->text + f->at, f->out.size);
        assert_int_equal(f->out.data[f->out.size], 0);
    }
    assert_result(f->r, expected);
    f->at += skip;
    return f->closed && f->at == f->length && f->r <= 0;
}
static void splits_end(const struct splits *f)
{
    size_t skip;
    aio_result expected = splits_expect(f, &skip);
    if (f->r == -EMSGSIZE) assert_true(expected == -EMSGSIZE || skip > f->limit);
    else assert_int_equal(f->at, f->length);
}
aio_async(splits) {
    static const char *const all[] = { "\n", "\r\n", "ab", "aab", "\n\n" };
    self->limit = self->options.read_limit = 5 + roll(60);
    self->line = roll(2);
    self->separators = self->line ? 1 : 1 + roll(3);
    for (size_t i = 0; i < self->separators; i++) {
        self->separator[i].data = all[self->line ? 0 : roll(5)];
        self->separator[i].size = strlen(self->separator[i].data);
    }
    self->length = roll(400);
    for (size_t i = 0; i < self->length; i++) self->text[i] = "ab\r\nx-"[roll(roll(3) ? 6 : 4)];
    assert_int_equal(pair_of(self->fds), 0);
    aio_stream_open(&self->s, self->fds[0], self->fds[0], &self->options);
    for (;;) {
        splits_feed(self);
        if (self->line)
            aio_await(self->r, aio_wait_for(AIO_USEC, aio_stream_read_line(&self->s, &self->out)));
        else
            aio_await(self->r, aio_wait_for(AIO_USEC, aio_stream_read_until_any(
                                                          &self->s, &self->out, self->separator,
                                                          self->separators)));
        if (self->r == -ETIMEDOUT) continue;
        if (self->r == -EMSGSIZE) break;        // how much had come by then is chance
        if (splits_check(self)) break;
    }
    splits_end(self);
    if (!self->closed) close(self->fds[1]);
    return 0;
} aio_end
static void ST_2_any_split_gives_the_same_lines(void **state)
{
    (void)state;
    for (int i = 0; i < 400; i++) {
        uint32_t seed = dice;
        if (run(splits) != 0) fail_msg("seed %u", seed);
    }
}

// --- writing
struct writes {
    aio_frame aio;
    int fds[2], kind;
    aio_stream s;
    size_t total, got;
    aio_result r;
    struct iovec v[3];
    aio_task *reader;
    char big[300000];
};
aio_scratch(writes, big);
static size_t piece(size_t most)
{
    size_t n = 1 + roll(roll(4) ? 300 : 40000);
    return n < most ? n : most;
}
// A peer that reads slowly.
struct slow { aio_frame aio; int fd; size_t *got; const char *expect; char buf[7000]; };
aio_async(slow) {
    aio_result n;
    for (;;) {
        aio_try(n, aio_read_some(self->fd, self->buf, sizeof self->buf));
        if (!n) break;
        assert_memory_equal(self->buf, self->expect + *self->got, (size_t)n);
        *self->got += (size_t)n;
        aio_try(aio_sleep(0));
    }
    return 0;
} aio_end
aio_async(writes) {
    if (self->kind == 0) assert_int_equal(pair_of(self->fds), 0);
    else assert_int_equal(pipe2(self->fds, O_CLOEXEC), 0);
    for (size_t i = 0; i < sizeof self->big; i++) self->big[i] = (char)(i * 7 + i / 253);
    if (self->kind == 0) aio_stream_open(&self->s, self->fds[1], self->fds[1], NULL);
    else aio_stream_open(&self->s, -1, self->fds[1], NULL);
    self->reader = aio_spawn(slow, .fd = self->fds[0], .got = &self->got, .expect = self->big);
    aio_await(self->r, aio_stream_write(&self->s, self->big, 0));
    assert_result(self->r, 0);
    self->v[0] = (struct iovec){ self->big, 10 };
    self->v[1] = (struct iovec){ self->big + 10, 0 };
    self->v[2] = (struct iovec){ self->big + 10, 20 };
    aio_await(self->r, aio_stream_writev(&self->s, self->v, 3));
    assert_result(self->r, 30);
    self->total = 30;
    while (self->total < sizeof self->big) {
        aio_await(self->r, aio_stream_write(&self->s, self->big + self->total,
                                            piece(sizeof self->big - self->total)));
        assert_true(self->r > 0);
        self->total += (size_t)self->r;
        assert_true(aio_stream_unsent(&self->s) <= 65536);
    }
    aio_await(self->r, aio_stream_close(&self->s));
    assert_result(self->r, 0);
    aio_await(self->r, aio_join(self->reader));
    assert_result(self->r, 0);
    assert_int_equal(self->got, self->total);
    close(self->fds[0]);
    return 0;
} aio_end
static void ST_4_all_that_is_written_arrives_in_order(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) assert_result(run(writes, .kind = i & 1), 0);
}

// --- a task that writes to a peer that keeps up leaves the turn to others, whatever is taken at once
static void *drain_all(void *arg)
{
    static char sink[1 << 16];
    while (read((int)(intptr_t)arg, sink, sizeof sink) > 0) {}
    return NULL;
}
struct greedy { aio_frame aio; int fds[2], i; uint64_t turn; size_t in_turn, most; aio_stream s; pthread_t t; };
aio_async(greedy) {
    static char block[32768];
    assert_int_equal(pair_of(self->fds), 0);
    pthread_create(&self->t, NULL, drain_all, (void *)(intptr_t)self->fds[1]);
    aio_try(aio_stream_open(&self->s, self->fds[0], self->fds[0], NULL));
    for (self->i = 0; self->i < 2000; self->i++) {
        aio_try(aio_stream_write(&self->s, block, sizeof block));
        if (aio_loop_turn(aio_running_loop()) != self->turn) self->in_turn = 0;
        self->turn = aio_loop_turn(aio_running_loop());
        self->in_turn += sizeof block;
        if (self->in_turn > self->most) self->most = self->in_turn;
    }
    assert_true(self->most <= (size_t)1 << 20);
    aio_await(aio_stream_close(&self->s));
    pthread_join(self->t, NULL);
    close(self->fds[1]);
    return 0;
} aio_end
static void a_writer_leaves_the_turn_to_others(void **state)
{
    (void)state;
    assert_result(run(greedy), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ST_1_a_read_gives_what_is_there),
        cmocka_unit_test(a_kernel_that_does_not_wait),
        cmocka_unit_test(ST_1_nothing_is_received_that_nobody_reads),
        cmocka_unit_test(ST_1_a_second_reader_is_refused),
        cmocka_unit_test(ST_2_read_exactly_is_all_or_nothing_but_for_the_end),
        cmocka_unit_test(ST_2_lines_have_a_limit_and_the_last_may_lack_its_newline),
        cmocka_unit_test(ST_2_read_until_has_a_limit_and_several_separators),
        cmocka_unit_test(ST_2_any_split_gives_the_same_lines),
        cmocka_unit_test(ST_4_all_that_is_written_arrives_in_order),
        cmocka_unit_test(a_writer_leaves_the_turn_to_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
