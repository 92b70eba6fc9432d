// Streams in a storm of time limits, cancels, odd sizes and slow peers: no byte is lost, doubled or
// moved.
#include "uring.h"

static uint32_t dice;
static uint32_t roll(uint32_t n)
{
    dice = dice * 1664525 + 1013904223;
    return (dice >> 8) % n;
}
static char pattern(size_t at) { return (char)(at * 31 + at / 251); }
static const size_t total = 150000;

// One end: writes the pattern while its other task reads it.
struct side {
    aio_frame aio;
    aio_stream s;
    int fd, out;                        // the same, or the ends of two pipes
    struct aio_stream_options options;
    aio_task *reader;
    size_t written, read, n;
    char buf[3000];
    aio_result r;
};
struct reading {
    aio_frame aio;
    struct side *side;
    int kind;
    size_t n, done;
    aio_bytes view;
    char buf[5000];
    aio_result r;
};
static void check(struct reading *f, const char *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (data[i] != pattern(f->side->read + i))
            fail_msg("byte %zu of %zu", f->side->read + i, total);
    f->side->read += n;
}
aio_async(reading) {
    while (self->side->read < total) {
        self->kind = (int)roll(4);
        self->n = 1 + roll(roll(4) ? 50 : 5000);
        if (self->n > total - self->side->read) self->n = total - self->side->read;
        self->done = 0;
        if (self->kind == 0) {
            aio_await(self->r, aio_wait_for(roll(200) * AIO_USEC,
                aio_stream_read(&self->side->s, self->buf, self->n)));
            if (self->r > 0) check(self, self->buf, (size_t)self->r);
        } else if (self->kind == 1) {
            aio_await(self->r, aio_wait_for(roll(200) * AIO_USEC,
                aio_stream_read_exactly(&self->side->s, self->buf, self->n, &self->done)));
            check(self, self->buf, self->done);
            if (self->r > 0) assert_int_equal(self->done, self->n);
        } else if (self->kind == 2) {
            aio_await(self->r, aio_wait_for(roll(200) * AIO_USEC,
                aio_stream_read_line(&self->side->s, &self->view)));
            if (self->r > 0) check(self, self->view.data, self->view.size);
        } else {
            aio_await(self->r, aio_wait_for(roll(200) * AIO_USEC,
                aio_stream_read_until(&self->side->s, &self->view, "\x3e\x5d", 2)));
            if (self->r > 0 || self->r == -ENODATA) check(self, self->view.data, self->view.size);
            if (self->r == -ENODATA) break;
        }
        if (self->r == -EMSGSIZE && self->kind == 2)
            return -EMSGSIZE; // the limit is larger than that
        if (self->r <= 0 && self->r != -ETIMEDOUT && self->r != -EMSGSIZE)
            fail_msg("%s at %zu", aio_strerror(self->r), self->side->read);
        if (!roll(8)) aio_try(aio_sleep(roll(300) * AIO_USEC));
    }
    assert_int_equal(self->side->read, total);
    return 0;
} aio_end
static size_t fill_pattern(struct side *f)
{
    size_t n = 1 + roll(roll(3) ? 60 : sizeof f->buf - 1);
    if (n > total - f->written) n = total - f->written;
    for (size_t i = 0; i < n; i++) f->buf[i] = pattern(f->written + i);
    return n;
}
aio_async(side) {
    self->options.read_limit = 2000 + roll(60000);
    self->options.write_high = 1 + roll(roll(2) ? 100 : 20000);
    self->r = aio_stream_open(&self->s, self->fd, self->out, &self->options);
    assert_result(self->r, 0);
    self->reader = aio_spawn(reading, .side = self);
    while (self->written < total) {
        self->n = fill_pattern(self);
        self->written += self->n;             // also when the wait for the marks is cut short
        aio_await(self->r, aio_wait_for((1 + roll(100)) * AIO_USEC,
                                        aio_stream_write(&self->s, self->buf, self->n)));
        assert_true(self->r > 0 || self->r == -ETIMEDOUT);
        if (!roll(50)) aio_await(aio_sleep(roll(300) * AIO_USEC));
        if (!roll(50)) aio_await(aio_stream_drain(&self->s));
    }
    aio_await(self->r, aio_join(self->reader));
    assert_result(self->r, 0);
    assert_int_equal(self->read, total);
    return 0;                           // sends what is left
} aio_end
enum { PAIRS = 6 };
struct storm {
    aio_frame aio;
    bool pipes;
    int i, a[2], b[2];
    aio_task *t[2 * PAIRS];
    aio_result r;
};
aio_async(storm) {
    for (self->i = 0; self->i < PAIRS; self->i++) {
        assert_int_equal(self->pipes ? pipe2(self->a, O_CLOEXEC) : pair_of(self->a), 0);
        if (self->pipes) assert_int_equal(pipe2(self->b, O_CLOEXEC), 0);
        self->t[2 * self->i] = self->pipes ? aio_spawn(side, .fd = self->a[0], .out = self->b[1])
                                           : aio_spawn(side, .fd = self->a[0], .out = self->a[0]);
        self->t[2 * self->i + 1] = self->pipes
                                       ? aio_spawn(side, .fd = self->b[0], .out = self->a[1])
                                       : aio_spawn(side, .fd = self->a[1], .out = self->a[1]);
    }
    for (self->i = 0; self->i < 2 * PAIRS; self->i++) {
        aio_await(self->r, aio_join(self->t[self->i]));
        assert_result(self->r, 0);
    }
    return 0;
} aio_end
static void no_byte_is_lost_in_a_storm(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 12; seed++) {
        dice = seed;
        if (run(storm, .pipes = seed & 1) != 0) fail_msg("seed %u", seed);
    }
}

// All sorts of ends at any moment: nothing is left, nobody hangs.
struct ending {
    aio_frame aio;
    aio_stream s;
    int fd;
    uint32_t how, i, n;
    char buf[20000];
    aio_bytes line;
    aio_result r;
};
aio_async(ending) {
    if (aio_stream_open(&self->s, self->fd, self->fd, NULL) < 0) {
        aio_await(aio_close(self->fd));
        return 0;
    }
    self->n = roll(20);
    for (self->i = 0; self->i < self->n; self->i++) {
        if (roll(2))
            aio_await(self->r, aio_stream_write(&self->s, self->buf, roll(sizeof self->buf)));
        else aio_await(self->r, aio_wait_for(roll(100) * AIO_USEC,
                                             aio_stream_read_line(&self->s, &self->line)));
        if (self->r == -ECANCELED) return self->r;
    }
    self->how = roll(5);
    if (self->how == 0) aio_stream_abort(&self->s);
    if (self->how == 1) aio_stream_write_eof(&self->s);
    if (self->how <= 2) aio_await(aio_stream_close(&self->s));
    if (self->how == 3) aio_await(aio_wait_for(roll(100) * AIO_USEC, aio_stream_close(&self->s)));
    return 0;
} aio_end
aio_drop(ending) {
    if (dropped < 0) close(self->fd);
    return 0;
} aio_end
struct ends { aio_frame aio; int i, k, fds[2]; aio_task *t[20]; };
aio_async(ends) {
    for (self->i = 0; self->i < 30; self->i++) {
        for (self->k = 0; self->k < 20; self->k += 2) {
            assert_int_equal(pair_of(self->fds), 0);
            self->t[self->k] = aio_spawn(ending, .fd = self->fds[0]);
            self->t[self->k + 1] = aio_spawn(ending, .fd = self->fds[1]);
        }
        for (self->k = 0; self->k < 20; self->k++) {
            if (!roll(3)) aio_await(aio_sleep(roll(200) * AIO_USEC));
            if (!roll(2)) aio_task_cancel(self->t[self->k]);
        }
        for (self->k = 0; self->k < 20; self->k++)      // two that wait for each other are cut
            aio_await(aio_wait_for(20 * AIO_MSEC, aio_join(self->t[self->k])));
    }
    return 0;
} aio_end
static void streams_end_at_any_moment(void **state)
{
    (void)state;
    dice = 77;
    assert_result(run(ends), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_byte_is_lost_in_a_storm),
        cmocka_unit_test(streams_end_at_any_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
