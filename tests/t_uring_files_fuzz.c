// Programs of chance over files, pipes and terminals: ops at the current position that are
// cancelled, closed over, abandoned; whoever ends, every byte is there once and nothing is left.
#include "uring.h"
#include <pty.h>
#include <termios.h>

static uint64_t dice;
static unsigned roll(unsigned n)
{
    dice = dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(dice >> 33) % n;
}
enum { OPS = 12, FDS = 5, ROUNDS = 40 };
enum { A_FILE, ITS_DUP, APPENDED, A_PIPE, A_TERMINAL };
static char text[8] = "0123456";
struct chance {
    aio_frame aio;
    int fds[FDS], ends[FDS], round, i;
    aio_op ops[OPS];
    char bufs[OPS][16];
    struct iovec pieces[OPS][2];
    aio_stream s;
    aio_many it;
    bool writes[OPS];       // to the file that two descriptors share
    aio_result r;
    bool closed[FDS], lost;
};
static long told, begun;    // writes to that file
static aio_awaitable one_of(struct chance *f, int i, int *fd)
{
    *fd = (int)roll(FDS);
    int number = f->fds[*fd];
    struct iovec *v = f->pieces[i];
    v[0].iov_base = text, v[0].iov_len = 3;
    v[1].iov_base = text + 3, v[1].iov_len = 4;
    unsigned call = roll(7);
    f->writes[i] = call < 4 && *fd <= ITS_DUP;
    begun += f->writes[i];
    switch (call) {
    case 0: return aio_write_some(number, text, 7);
    case 1: return aio_write_all(number, text, 7);
    case 2: return aio_writev_some(number, v, 2);
    case 3: return aio_io_with(aio_write_some(number, text, 7), AIO_IO_ASYNC);
    case 4: return aio_read_some(f->ends[*fd], f->bufs[i], sizeof f->bufs[i]);
    case 5: return aio_pread(number, f->bufs[i], 8, 0);
    default: return aio_read_some(number, f->bufs[i], sizeof f->bufs[i]);
    }
}
static void took(struct chance *f, int i)
{
    aio_result r = aio_op_result(&f->ops[i]);
    if (f->writes[i] && r >= 0) assert_int_equal(r, 7);
    told += f->writes[i] && r == 7;
    assert_true(r >= -EPIPE || r == -ECANCELED || r == -ESPIPE || r == -ENOMEM || r == -EINPROGRESS);
}
aio_async(chance) {
    for (self->round = 0; self->round < ROUNDS; self->round++) {
        for (int i = 0; i < OPS; i++) {
            int fd;
            if (aio_op_done(&self->ops[i])) took(self, i);
            if (self->ops[i].owner) continue;
            (void)aio_start(&self->ops[i], one_of(self, i, &fd));
        }
        switch (roll(6)) {
        case 0: aio_op_cancel(&self->ops[roll(OPS)]); break;
        case 1:
            self->i = (int)roll(FDS);
            self->r = fcntl(self->fds[self->i], F_DUPFD_CLOEXEC, 0);
            aio_await(aio_close(self->fds[self->i]));
            self->fds[self->i] = (int)self->r;
            break;
        case 2: aio_await(aio_sleep(50 * AIO_USEC)); break;
        case 3: empty(self->fds[A_PIPE]), empty(self->fds[A_TERMINAL]); break;
        case 4: if (write(self->ends[A_TERMINAL], "x\n", 2) < 0) self->lost = true; break;
        default: aio_await(aio_sleep(0)); break;
        }
    }
    return roll(2) ? 0 : -ECANCELED;
} aio_end
// Each write is there once and whole, those that told so among them.
static void look_at(int file)
{
    char all[OPS * ROUNDS * 8];
    ssize_t n = pread(file, all, sizeof all, 0);
    assert_int_equal(n % 7, 0);
    for (ssize_t i = 0; i < n; i += 7) assert_memory_equal(all + i, text, 7);
    assert_true(n / 7 >= told && n / 7 <= begun);
}
struct top { aio_frame aio; int fds[FDS], ends[FDS]; aio_task *t; int how; };
aio_async(top) {
    struct chance *f;
    self->t = aio_spawn(chance, .round = 0);
    f = aio_task_frame(chance, self->t);
    for (int i = 0; i < FDS; i++) f->fds[i] = self->fds[i], f->ends[i] = self->ends[i];
    if (self->how == 0) aio_await(aio_join(self->t));
    else aio_await(aio_sleep(200 * AIO_USEC));
    if (self->how == 1) {
        aio_task_cancel(self->t);
        aio_await(aio_join(self->t));
    }
    if (self->how == 2) aio_detach(self->t);            // the loop closes over it
    return 0;
} aio_end
static void whatever_happens_nothing_is_left(void **state)
{
    (void)state;
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : 1, last = given ? seed : 150;
    for (; seed <= last; seed++) {
        int before = uring_count_fds(), pipes[2], terminal[2];
        dice = seed * 7919;
        told = begun = 0;
        aio_result r;
        struct aio_loop_options o = uring_options();
        int file = temp_file(""), shared = fcntl(file, F_DUPFD_CLOEXEC, 0), slots[FDS], ends[FDS];
        assert_int_equal(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
        openpty(&terminal[0], &terminal[1], NULL, NULL, NULL);
        slots[A_FILE] = file, slots[ITS_DUP] = dup(file), slots[APPENDED] = temp_file("");
        slots[A_PIPE] = pipes[1], slots[A_TERMINAL] = terminal[1];
        for (int i = 0; i < 3; i++) ends[i] = slots[i];
        ends[A_PIPE] = pipes[0], ends[A_TERMINAL] = terminal[0];
        fcntl(slots[APPENDED], F_SETFL, O_APPEND | O_RDWR);
        memset(&uring_memory, 0, sizeof uring_memory);
        if (roll(3) == 0) uring_memory.fail_from = 20 + (long)roll(60);
        r = aio_run_with(&o, top, .how = (int)roll(3), .fds[0] = slots[0], .fds[1] = slots[1],
                         .fds[2] = slots[2], .fds[3] = slots[3], .fds[4] = slots[4],
                         .ends[0] = ends[0], .ends[1] = ends[1], .ends[2] = ends[2],
                         .ends[3] = ends[3], .ends[4] = ends[4]);
        if (r < 0 && r != -ENOMEM && r != -ECANCELED) print_error("%s\n", aio_strerror(r));
        if (uring_memory.blocks) print_error("seed %llu: %ld blocks\n", (unsigned long long)seed,
                                             uring_memory.blocks);
        assert_int_equal(uring_memory.blocks, 0);
        look_at(shared);
        for (int fd = before; fd < 64; fd++) close(fd);
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_happens_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
