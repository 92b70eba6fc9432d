// Terminals and FIFOs: they wait as read(2), write(2) and open(2) do, and the loop goes on meanwhile.
#include "uring.h"
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

static void raw(int fd, int min, int time)
{
    struct termios t;
    tcgetattr(fd, &t);
    cfmakeraw(&t);
    t.c_cc[VMIN] = (cc_t)min;
    t.c_cc[VTIME] = (cc_t)time;
    tcsetattr(fd, TCSANOW, &t);
}
// Counts while others wait: a loop that stands still does not.
struct beat { aio_frame aio; int count; };
aio_async(beat) {
    for (;;) {
        aio_try(aio_sleep(AIO_MSEC));
        self->count++;
    }
} aio_end

// --- a reader that comes too late, and one that waits for more than there is
enum { BY_READ, BY_VECTOR, BY_STREAM, BY_MANY, WAYS };
static aio_buffer_ring buffers;
struct taker { aio_frame aio; int fd, way; long taken; char buf[64]; struct iovec v; aio_stream s;
               aio_many it; aio_result r; };
aio_async(taker) {
    if (self->way == BY_STREAM) aio_try(aio_stream_open(&self->s, dup(self->fd), -1, NULL));
    if (self->way == BY_MANY) aio_try(aio_read_many(&self->it, self->fd, &buffers));
    for (;;) {
        self->v.iov_base = self->buf, self->v.iov_len = sizeof self->buf;
        if (self->way == BY_READ) aio_await(self->r, aio_read_some(self->fd, self->buf, 64));
        if (self->way == BY_VECTOR) aio_await(self->r, aio_readv_some(self->fd, &self->v, 1));
        if (self->way == BY_STREAM) aio_await(self->r, aio_stream_read(&self->s, self->buf, 64));
        if (self->way == BY_MANY) aio_await(self->r, aio_next(&self->it));
        if (self->r <= 0) return self->r;
        self->taken++;
    }
} aio_end
struct rivals { aio_frame aio; int way, master, slave, i; pid_t rival; aio_task *t, *beat; int before; };
aio_async(rivals) {
    aio_try(aio_buffer_ring_init(&buffers, 4, 64));
    assert_int_equal(openpty(&self->master, &self->slave, NULL, NULL, NULL), 0);
    raw(self->slave, 1, 0);
    self->rival = fork();
    if (!self->rival) {
        char buf[64];
        close(self->master);
        alarm(20);
        while (read(self->slave, buf, sizeof buf) > 0) {}
        _exit(0);
    }
    self->t = aio_spawn(taker, .fd = self->slave, .way = self->way);
    for (self->i = 0; self->i < 3000; self->i++) {
        assert_int_equal(write(self->master, "x", 1), 1);
        aio_try(aio_sleep(20 * AIO_USEC));
    }
    kill(self->rival, SIGKILL);
    waitpid(self->rival, NULL, 0);
    aio_task_cancel(self->t);
    aio_await(aio_join(self->t));
    close(self->master);
    close(self->slave);
    return aio_buffer_ring_close(&buffers);
} aio_end
static void a_reader_that_comes_too_late_does_not_stop_the_loop(void **state)
{
    (void)state;
    for (int way = 0; way < WAYS; way++) {
        alarm(60);              // a loop that stands still ends here
        assert_result(run(rivals, .way = way), 0);
        alarm(0);
    }
}
struct some { aio_frame aio; int way, master, slave; aio_task *t, *beat; };
aio_async(some) {
    aio_try(aio_buffer_ring_init(&buffers, 4, 64));
    assert_int_equal(openpty(&self->master, &self->slave, NULL, NULL, NULL), 0);
    raw(self->slave, 4, 255);               // a blocking read would wait for more, 25 s
    self->t = aio_spawn(taker, .fd = self->slave, .way = self->way);
    aio_try(aio_sleep(AIO_MSEC));
    assert_int_equal(write(self->master, "x", 1), 1);
    self->beat = aio_spawn(beat);
    aio_try(aio_sleep(30 * AIO_MSEC));
    assert_true(aio_task_frame(beat, self->beat)->count > 0);
    aio_task_cancel(self->beat);
    aio_await(aio_join(self->beat));
    aio_task_cancel(self->t);
    aio_await(aio_join(self->t));
    close(self->master);
    close(self->slave);
    return aio_buffer_ring_close(&buffers);
} aio_end
static void a_terminal_that_wants_more_does_not_stop_the_loop(void **state)
{
    (void)state;
    for (int way = 0; way < WAYS; way++) {
        alarm(20);
        assert_result(run(some, .way = way), 0);
        alarm(0);
    }
}

// --- the end: the other side closes while one reads, or writes more than there is room for
enum { END_MASTER, END_TERMINAL };
struct ends { aio_frame aio; int way, side, fds[2]; aio_task *t; aio_result r; };
aio_async(ends) {
    aio_try(aio_buffer_ring_init(&buffers, 4, 64));
    assert_int_equal(openpty(&self->fds[0], &self->fds[1], NULL, NULL, NULL), 0);
    self->t = aio_spawn(taker, .fd = self->fds[self->side], .way = self->way);
    aio_try(aio_sleep(AIO_MSEC));
    assert_int_equal(write(self->fds[!self->side], "hello\n", 6), 6);
    aio_try(aio_sleep(AIO_MSEC));
    close(self->fds[!self->side]);
    aio_await(self->r, aio_join(self->t));
    close(self->fds[self->side]);
    assert_result(self->r, self->side == END_MASTER ? -EIO : self->r);
    assert_true(self->r == 0 || self->r == -EIO);
    return aio_buffer_ring_close(&buffers);
} aio_end
static void a_reader_is_told_that_the_other_side_is_closed(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++)
        for (int way = 0; way < WAYS; way++) assert_result(run(ends, .way = way, .side = side), 0);
}
enum { W_SOME, W_ALL, W_VECTOR, W_STREAM, W_WAYS };
static char much[200000];
struct giver { aio_frame aio; int way, fd; struct iovec v; aio_stream s; aio_result r, written; };
aio_async(giver) {
    self->v.iov_base = much, self->v.iov_len = sizeof much;
    if (self->way == W_SOME) aio_await(self->r, aio_write_some(self->fd, much, sizeof much));
    else if (self->way == W_ALL) aio_await(self->r, aio_write_all(self->fd, much, sizeof much));
    else if (self->way == W_VECTOR) aio_await(self->r, aio_writev_some(self->fd, &self->v, 1));
    else {
        aio_try(aio_stream_open(&self->s, -1, dup(self->fd), NULL));
        aio_await(self->written, aio_stream_write(&self->s, much, sizeof much));
        if (self->written < 0) return self->written;
        aio_await(self->r, aio_stream_close(&self->s));
    }
    return self->r;
} aio_end
// how: 0: the other side closes; 1: a cancel; 2: aio_close; 3: the other side reads all
struct stuck { aio_frame aio; int way, how, fds[2]; aio_task *t, *beat; aio_result r; char buf[4096];
               size_t got; };
aio_async(stuck) {
    assert_int_equal(openpty(&self->fds[0], &self->fds[1], NULL, NULL, NULL), 0);
    raw(self->fds[1], 1, 0);
    self->t = aio_spawn(giver, .fd = self->fds[0], .way = self->way);
    aio_try(aio_sleep(5 * AIO_MSEC));
    assert_false(aio_task_done(self->t));
    if (self->how == 0) close(self->fds[1]);
    if (self->how == 1) aio_task_cancel(self->t);
    if (self->how == 2) aio_await(self->r, aio_close(self->fds[0]));
    if (self->how == 2 && self->way == W_STREAM) aio_task_cancel(self->t);
    for (; self->how == 3 && self->got < sizeof much; self->got += (size_t)self->r)
        aio_try(self->r, aio_read_some(self->fds[1], self->buf, sizeof self->buf));
    aio_await(self->r, aio_join(self->t));
    if (self->how != 0) close(self->fds[1]);
    if (self->how != 2) close(self->fds[0]);
    return self->r;
} aio_end
static void a_writer_whose_terminal_nobody_reads_ends(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        for (int way = 0; way < W_WAYS; way++) {
            aio_result r = run(stuck, .way = way, .how = how);
            if (how == 3) assert_result(r, way == W_STREAM ? 0 : (aio_result)sizeof much);
            else if (r > 0) assert_true(way == W_SOME || way == W_VECTOR);      // a part is out
            else if (how == 0) assert_result(r, -EIO);
            else if (how == 1 || way == W_STREAM) assert_result(r, -ECANCELED);
            else assert_result(r, -EBADF);
        }
    }
}

// --- in the background: the process stops, and goes on in the foreground
struct reads_stdin { aio_frame aio; int way; char buf[64]; aio_result r; aio_stream s; aio_bytes line; };
aio_async(reads_stdin) {
    if (self->way) {
        aio_try(aio_stream_open(&self->s, dup(0), -1, NULL));
        aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
    } else {
        aio_await(self->r, aio_read_some(0, self->buf, sizeof self->buf));
    }
    return self->r;
} aio_end
static int in_background(int way)       // the leader of the terminal's session
{
    int status;
    signal(SIGTTOU, SIG_IGN);
    pid_t pid = fork();
    if (!pid) {
        setpgid(0, 0);
        signal(SIGTTIN, SIG_DFL);
        aio_result r = aio_run(reads_stdin, .way = way);
        _exit(r == 3 ? 0 : 1);
    }
    setpgid(pid, pid);
    waitpid(pid, &status, WUNTRACED);
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTTIN) return 2;
    tcsetpgrp(0, pid);
    kill(-pid, SIGCONT);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 3;
}
static void a_reader_in_the_background_stops_and_goes_on(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        int master, status;
        pid_t pid = forkpty(&master, NULL, NULL, NULL);
        if (!pid) {
            alarm(30);
            _exit(in_background(way));
        }
        assert_int_equal(write(master, "hi\n", 3), 3);
        waitpid(pid, &status, 0);
        close(master);
        assert_int_equal(status, 0);
    }
}

// --- FIFOs
enum { OPEN, OPEN2, OPEN_NONBLOCK, OPEN_BOTH };
struct opens { aio_frame aio; const char *path; int flags, how; struct open_how way;
               aio_result r; };
aio_async(opens) {
    self->way.flags = (unsigned)self->flags;
    if (self->how == OPEN2) aio_await(self->r, aio_openat2(AT_FDCWD, self->path, &self->way));
    else aio_await(self->r, aio_openat(AT_FDCWD, self->path, self->flags, 0));
    return self->r;
} aio_end
struct fifo { aio_frame aio; const char *path; int how; aio_task *r, *w; aio_result in, out; };
aio_async(fifo) {
    for (self->how = OPEN; self->how <= OPEN2; self->how++) {
        self->r = aio_spawn(opens, .path = self->path, .flags = O_RDONLY, .how = self->how);
        aio_try(aio_sleep(20 * AIO_MSEC));
        assert_false(aio_task_done(self->r));               // it waits for a writer
        self->w = aio_spawn(opens, .path = self->path, .flags = O_WRONLY, .how = self->how);
        aio_try(self->in, aio_join(self->r));
        aio_try(self->out, aio_join(self->w));
        close((int)self->in);
        close((int)self->out);
        self->w = aio_spawn(opens, .path = self->path, .flags = O_WRONLY, .how = self->how);
        aio_try(aio_sleep(20 * AIO_MSEC));
        assert_false(aio_task_done(self->w));
        aio_task_cancel(self->w);                           // nobody reads
        aio_await(self->out, aio_join(self->w));
        assert_result(self->out, -ECANCELED);
    }
    aio_await(self->out, aio_openat(AT_FDCWD, self->path, O_WRONLY | O_NONBLOCK, 0));
    assert_result(self->out, -ENXIO);
    aio_try(self->in, aio_openat(AT_FDCWD, self->path, O_RDONLY | O_NONBLOCK, 0));
    aio_await(aio_close((int)self->in));
    aio_try(self->in, aio_openat(AT_FDCWD, self->path, O_RDWR, 0));
    aio_await(aio_close((int)self->in));
    return 0;
} aio_end
static void an_open_of_a_fifo_waits_for_the_other_side(void **state)
{
    (void)state;
    char folder[] = "/tmp/aio-fifo-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/f", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    aio_result r = run(fifo, .path = path);
    unlink(path);
    rmdir(folder);
    assert_result(r, 0);
}

int main(void)
{
    memset(much, 'x', sizeof much);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reader_that_comes_too_late_does_not_stop_the_loop),
        cmocka_unit_test(a_terminal_that_wants_more_does_not_stop_the_loop),
        cmocka_unit_test(a_reader_is_told_that_the_other_side_is_closed),
        cmocka_unit_test(a_writer_whose_terminal_nobody_reads_ends),
        cmocka_unit_test(a_reader_in_the_background_stops_and_goes_on),
        cmocka_unit_test(an_open_of_a_fifo_waits_for_the_other_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
