// No step of a chain runs after one that failed, was short or was cancelled: whatever its opcode,
// and wherever the kernel cuts what was submitted.
#include "uring.h"
#include <sys/epoll.h>
#include <sys/xattr.h>

// The kernel takes at most so many entries at a time, as when it has no memory for the next; the
// next `skip` calls it takes all.
static struct { unsigned most; int times; } cut;
static int cut_enter(unsigned fd, unsigned submit, unsigned wait, unsigned flags, sigset_t *extra,
                     size_t size)
{
    if (submit > cut.most && cut.times) {
        if (cut.times > 0) cut.times--;
        const unsigned getevents = flags & (IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING);
        return io_uring_enter2(fd, cut.most, 0, getevents, 0, _NSIG / 8);
    }
    return io_uring_enter2(fd, submit, wait, flags, extra, size);
}
static void cutting(unsigned most, int times)
{
    cut.most = most;
    cut.times = times;
    uring_hook.enter = most ? cut_enter : NULL;
}

// --- each operation fails in turn
struct place { int pipe[2], dir, read_only, write_only, gone, tcp, epoll, fd; char buf[64], path[64];
               struct iovec piece; struct msghdr message; struct statx stx; struct epoll_event event;
               uint32_t word; siginfo_t info; struct __kernel_timespec time; struct io_uring_sqe sqe; };
static struct place at;
typedef aio_awaitable (*fails_fn)(void);
#define FAILS(name, expression) static aio_awaitable fails_##name(void) { return expression; }
static aio_awaitable entry_of(uint8_t op, int fd, uint64_t off, uint64_t addr, uint32_t len)
{
    memset((void *)&at.sqe, 0, sizeof at.sqe);
    at.sqe.opcode = op;
    at.sqe.fd = fd;
    at.sqe.off = off;
    at.sqe.addr = addr;
    at.sqe.len = len;
    return aio_uring_op(&at.sqe);
}
static aio_awaitable with_flags(aio_awaitable a, uint32_t flags)
{
    a.u.w[3] |= AIO__WORD(0, flags);
    return a;
}
FAILS(readv, aio_preadv(at.dir, &at.piece, 1, 0, 0))
FAILS(readv_short, aio_preadv(at.fd, &at.piece, 1, 0, 0))
FAILS(writev, aio_pwritev(at.read_only, &at.piece, 1, 0, 0))
FAILS(fsync, aio_sync_file(at.pipe[0], 0))
FAILS(fsync_of_nothing, aio_sync_file(at.gone, 0))
FAILS(read, aio_pread(at.dir, at.buf, 8, 0))
FAILS(read_short, aio_pread(at.fd, at.buf, 8, 0))
FAILS(write, aio_pwrite(at.read_only, "x", 1, 0))
FAILS(write_all, aio_write_all(at.read_only, "x", 1))
FAILS(poll, aio_poll(at.gone, POLLIN))
FAILS(poll_remove, entry_of(IORING_OP_POLL_REMOVE, -1, 0, 77, 0))
FAILS(sync_file_range, aio_sync_file_range(at.pipe[0], 0, 10, 0))
FAILS(sendmsg, aio_sendmsg(at.read_only, &at.message, 0))
FAILS(recvmsg, aio_recvmsg(at.tcp, &at.message, 0))
FAILS(timeout, entry_of(IORING_OP_TIMEOUT, -1, 0, (uintptr_t)&at.time, 1))
FAILS(timeout_that_counts_as_success,
      with_flags(fails_timeout(), IORING_TIMEOUT_ETIME_SUCCESS))
FAILS(timeout_remove, entry_of(IORING_OP_TIMEOUT_REMOVE, -1, 0, 77, 0))
FAILS(accept, aio_accept(at.tcp))
FAILS(cancel, entry_of(IORING_OP_ASYNC_CANCEL, -1, 0, 77, 0))
FAILS(connect, aio_connect(at.read_only, (struct sockaddr *)at.buf, 16))
FAILS(fallocate, aio_fallocate(at.fd, 0, -1, 100))
FAILS(openat, aio_openat(AT_FDCWD, at.path, O_RDONLY, 0))
FAILS(close, aio_close(at.gone))
FAILS(files_update, entry_of(IORING_OP_FILES_UPDATE, -1, 0, (uintptr_t)at.pipe, 1))
FAILS(statx, aio_statx(AT_FDCWD, at.path, 0, STATX_BASIC_STATS, &at.stx))
FAILS(fadvise, aio_fadvise(at.pipe[0], 0, 0, 0))
FAILS(madvise, aio_madvise((void *)4096, 4096, 99))
FAILS(send, aio_send(at.read_only, "x", 1, 0))
FAILS(send_all, aio_send_all(at.read_only, "x", 1, 0))
FAILS(recv, aio_recv(at.tcp, at.buf, 1, 0))
FAILS(openat2, entry_of(IORING_OP_OPENAT2, AT_FDCWD, (uintptr_t)at.buf, (uintptr_t)at.path, 24))
FAILS(epoll_ctl, entry_of(IORING_OP_EPOLL_CTL, at.epoll, 0, (uintptr_t)&at.event, EPOLL_CTL_DEL))
FAILS(splice, aio_splice(at.read_only, 0, at.dir, 0, 10, 0))
FAILS(splice_short, aio_splice(at.fd, 0, at.pipe[1], -1, 10, 0))
FAILS(remove_buffers, entry_of(IORING_OP_REMOVE_BUFFERS, 1, 0, 0, 0))
FAILS(tee, aio_tee(at.read_only, at.dir, 10, 0))
FAILS(shutdown, aio_shutdown(at.tcp, SHUT_RD))
FAILS(shutdown_entry, entry_of(IORING_OP_SHUTDOWN, at.tcp, 0, 0, 0))
FAILS(renameat, aio_renameat(AT_FDCWD, at.path, AT_FDCWD, "/tmp/x", 0))
FAILS(unlinkat, aio_unlinkat(AT_FDCWD, at.path, 0))
FAILS(mkdirat, aio_mkdirat(AT_FDCWD, "/tmp", 0700))
FAILS(symlinkat, aio_symlinkat("x", AT_FDCWD, "/tmp"))
FAILS(linkat, aio_linkat(AT_FDCWD, at.path, AT_FDCWD, "/tmp/x", 0))
FAILS(msg_ring, aio_msg_ring(at.read_only, 0, 0))
FAILS(fsetxattr, aio_fsetxattr(at.read_only, "bogus", "v", 1, 0))
FAILS(setxattr, aio_setxattr(at.path, "user.a", "v", 1, 0))
FAILS(fgetxattr, aio_fgetxattr(at.read_only, "user.none", at.buf, 1))
FAILS(getxattr, aio_getxattr(at.path, "user.a", at.buf, 1))
FAILS(socket, aio_socket(99, 1, 0))
FAILS(setsockopt, aio_setsockopt(at.tcp, 99, 99, &at.word, 4))
FAILS(send_zc, aio_send_zc(at.read_only, "x", 1, 0))
FAILS(send_zc_entry, entry_of(IORING_OP_SEND_ZC, at.read_only, 0, (uintptr_t)at.buf, 1))
FAILS(sendmsg_zc, aio_sendmsg_zc(at.read_only, &at.message, 0))
FAILS(waitid, aio_waitid(P_PID, 99999999, &at.info, WEXITED))
FAILS(futex_wait, aio_futex_wait(&at.word, 7, AIO_FUTEX_ANY, AIO_FUTEX_U32))
FAILS(futex_wake, aio_futex_wake(&at.word, 1, AIO_FUTEX_ANY, 99))
FAILS(ftruncate, aio_ftruncate(at.read_only, 3))
FAILS(bind, aio_bind(at.read_only, (struct sockaddr *)at.buf, 16))
FAILS(listen, aio_listen(at.read_only, 1))
FAILS(epoll_wait, aio_epoll_wait(at.read_only, &at.event, 1))
FAILS(pipe, entry_of(AIO__OP_PIPE, 0, 0, 8, 0))
FAILS(install, aio_direct_install(3))

static const struct { const char *name; fails_fn make; } failing[] = {
#define ROW(name) { #name, fails_##name },
    ROW(readv) ROW(readv_short) ROW(writev) ROW(fsync) ROW(fsync_of_nothing) ROW(read)
    ROW(read_short) ROW(write) ROW(write_all) ROW(poll) ROW(poll_remove) ROW(sync_file_range)
    ROW(sendmsg) ROW(recvmsg) ROW(timeout) ROW(timeout_that_counts_as_success)
    ROW(timeout_remove) ROW(accept) ROW(cancel) ROW(connect) ROW(fallocate) ROW(openat) ROW(close)
    ROW(files_update) ROW(statx) ROW(fadvise) ROW(madvise) ROW(send) ROW(send_all) ROW(recv)
    ROW(openat2) ROW(epoll_ctl) ROW(splice) ROW(splice_short) ROW(remove_buffers) ROW(tee)
    ROW(shutdown) ROW(shutdown_entry) ROW(renameat) ROW(unlinkat) ROW(mkdirat) ROW(symlinkat)
    ROW(linkat) ROW(msg_ring) ROW(fsetxattr) ROW(setxattr) ROW(fgetxattr) ROW(getxattr)
    ROW(socket) ROW(setsockopt) ROW(send_zc) ROW(send_zc_entry) ROW(sendmsg_zc) ROW(waitid)
    ROW(futex_wait) ROW(futex_wake) ROW(ftruncate) ROW(bind) ROW(listen) ROW(epoll_wait) ROW(pipe)
    ROW(install)
};
static void place_make(void)
{
    memset((void *)&at, 0, sizeof at);
    assert_int_equal(pipe2(at.pipe, O_CLOEXEC), 0);
    at.dir = open("/tmp", O_RDONLY | O_CLOEXEC);
    at.read_only = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    at.fd = temp_file("");
    at.gone = 900;                              // in the table's range, and no descriptor
    at.tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    at.epoll = epoll_create1(EPOLL_CLOEXEC);
    at.piece.iov_base = at.buf;
    at.piece.iov_len = 8;
    at.message.msg_iov = &at.piece;
    at.message.msg_iovlen = 1;
    at.time.tv_nsec = 1;
    snprintf(at.path, sizeof at.path, "/does/not/exist");
}
static void place_close(void)
{
    int all[] = { at.pipe[0], at.pipe[1], at.dir, at.read_only, at.fd, at.tcp, at.epoll };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) close(all[i]);
}
struct fails { aio_frame aio; bool hard, behind; unsigned most; size_t i; int n, first; aio_chain c; aio_result r; };
aio_async(fails) {
    place_make();
    aio_await(aio_nop());
    for (self->i = 0; self->i < sizeof failing / sizeof *failing; self->i++) {
        assert_result(aio_chain_init(&self->c), 0);
        self->first = self->behind;
        if (self->behind) aio_chain_add(&self->c, aio_nop());
        if (self->hard) aio_chain_add_hard(&self->c, failing[self->i].make());
        else aio_chain_add(&self->c, failing[self->i].make());
        if (self->c.fault) continue;            // it cannot be a step
        assert_result(aio_chain_add(&self->c, aio_write_some(at.pipe[1], "x", 1)), 0);
        cutting(self->most, self->most ? -1 : 0);
        aio_await(self->r, aio_chain_run(&self->c));
        cutting(0, 0);
        ioctl(at.pipe[0], FIONREAD, &self->n);
        self->first = (int)aio_chain_result(&self->c, (unsigned)self->first + 1);
        if ((self->r >= 0 && !self->hard) || self->n != self->hard || self->first != (self->hard ? 1 : -ECANCELED))
            fail_msg("%s: chain %s, the next step %d, %d bytes written", failing[self->i].name,
                     aio_strerror(self->r), self->first, self->n);
        while (self->n-- > 0) assert_int_equal(read(at.pipe[0], at.buf, 1), 1);
    }
    assert_int_equal(aio_running_loop()->in_flight, 0);
    place_close();
    return 0;
} aio_end
static void nothing_runs_after_what_failed_whatever_it_is(void **state)
{
    (void)state;
    for (int behind = 0; behind < 2; behind++) {
        for (unsigned most = 0; most < 3; most++) {
            assert_result(run(fails, .behind = behind, .most = most), 0);
            assert_result(run(fails, .behind = behind, .most = most, .hard = true), 0);
        }
        setenv("AIO_URING_ENTRIES", "1", 1);
        assert_result(run(fails, .behind = behind), 0);
        unsetenv("AIO_URING_ENTRIES");
    }
}

// --- a submission that is cut: what succeeds gives the same results
struct works { aio_frame aio; aio_handle later; unsigned most; int times, i, pair[2], file; char in[32]; struct msghdr message;
               struct iovec piece; aio_chain c; aio_result r; };
// What may be a local of the coroutine's: overwritten in the turn after the chain has begun.
static struct { char name[32]; struct iovec piece, room; struct msghdr message; } given;
static int overwrite(void *arg)
{
    (void)arg;
    memset((void *)&given, 'x', sizeof given);
    return 0;
}
static void works_add(struct works *self)
{
    memset((void *)&given, 0, sizeof given);
    given.piece.iov_base = (char *)(uintptr_t)"hello";
    given.piece.iov_len = 5;
    given.message.msg_iov = &given.piece;
    given.message.msg_iovlen = 1;
    snprintf(given.name, sizeof given.name, "/etc/passwd");
    aio_chain_init(&self->c);
    aio_chain_add(&self->c, aio_send_all(self->pair[0], "hello", 5, 0));
    aio_chain_add(&self->c, aio_recv(self->pair[1], self->in, 5, MSG_WAITALL));
    aio_chain_add(&self->c, aio_openat(AT_FDCWD, given.name, O_RDONLY, 0));
    aio_chain_add(&self->c, aio_sync_file(self->file, 0));
    aio_chain_add(&self->c, aio_sendmsg(self->pair[0], &given.message, 0));
    given.room.iov_base = self->in + 5;
    given.room.iov_len = 5;
    self->message.msg_iov = &given.room;        // the header stays, its pieces do not
    self->message.msg_iovlen = 1;
    aio_chain_add(&self->c, aio_recvmsg(self->pair[1], &self->message, 0));
    aio_chain_add(&self->c, aio_statx(AT_FDCWD, given.name, 0, STATX_BASIC_STATS, &at.stx));
    aio_chain_add(&self->c, aio_sendto(self->pair[0], "x", 1, 0, NULL, 0));
}
aio_async(works) {
    aio_await(aio_nop());
    self->file = temp_file("");
    for (self->i = 0; self->i < 20; self->i++) {
        static const int expected[] = { 5, 5, -1, 0, 5, 5, 0, 1 };
        pair_of(self->pair);
        works_add(self);
        aio_call_soon(aio_running_loop(), &self->later, overwrite, NULL);
        cutting(self->most, self->times);
        aio_await(self->r, aio_chain_run(&self->c));
        cutting(0, 0);
        assert_result(self->r, 0);
        for (unsigned i = 0; i < 8; i++) {
            self->r = aio_chain_result(&self->c, i);
            if (i != 2) assert_result(self->r, expected[i]);
            else close((int)self->r);
        }
        assert_memory_equal(self->in, "hellohello", 10);
        memset(self->in, 0, sizeof self->in);
        close(self->pair[0]);
        close(self->pair[1]);
    }
    assert_null(uring_of_loop()->withheld);
    close(self->file);
    return 0;
} aio_end
static void a_cut_chain_gives_the_same_results(void **state)
{
    (void)state;
    for (unsigned most = 0; most < 6; most++) {
        assert_result(run(works, .most = most, .times = -1), 0);
        assert_result(run(works, .most = most, .times = 1), 0);
    }
}

// --- cancelled, closed, or out of memory while its rest is withheld
enum { ENDS_BY_LIMIT, ENDS_BY_CLOSE, ENDS_BY_CLOSE_OF_LATER, ENDS_WITH_FRAME, ENDS };
struct withheld { aio_frame aio; int how, in[2], out[2]; char c; aio_chain ch; aio_result r; };
aio_async(withheld) {
    pair_of(self->in);
    assert_int_equal(pipe2(self->out, O_CLOEXEC | O_NONBLOCK), 0);
    aio_chain_init(&self->ch);
    aio_chain_add(&self->ch, aio_recv(self->in[0], &self->c, 1, MSG_WAITALL));     // nothing comes
    aio_chain_add(&self->ch, aio_write_some(self->out[1], "x", 1));
    aio_chain_add(&self->ch, aio_sync_file(self->in[0], 0));
    aio_chain_add(&self->ch, aio_write_some(self->out[1], "x", 1));
    cutting(1, 1);
    aio_await(self->r, aio_wait_for(self->how == ENDS_BY_LIMIT ? 5 * AIO_MSEC : AIO_FOREVER,
                                    aio_chain_run(&self->ch)));
    return self->r;
} aio_end
struct ends { aio_frame aio; int how, fds[4]; aio_task *t; struct withheld *w; aio_result r; };
aio_async(ends) {
    aio_await(aio_nop());
    self->t = aio_spawn(withheld, .how = self->how);
    self->w = (struct withheld *)(void *)(self->t + 1);
    aio_await(aio_sleep(AIO_MSEC));
    assert_non_null(uring_of_loop()->withheld);
    self->fds[0] = self->w->in[0];
    self->fds[1] = self->w->in[1];
    self->fds[2] = self->w->out[0];
    self->fds[3] = self->w->out[1];
    if (self->how == ENDS_BY_CLOSE) aio_await(aio_close(self->fds[0]));
    if (self->how == ENDS_BY_CLOSE_OF_LATER) {
        aio_await(aio_close(self->fds[3]));
        assert_int_equal(dup2(self->fds[1], self->fds[3]), self->fds[3]);   // another file's now
        assert_int_equal(write(self->fds[1], "x", 1), 1);
    }
    if (self->how == ENDS_WITH_FRAME) aio_task_cancel(self->t);
    aio_await(self->r, aio_join(self->t));
    static const aio_result ends[] = { -ETIMEDOUT, -EBADF, -EBADF, -ECANCELED };
    assert_result(self->r, ends[self->how]);
    assert_int_equal(read(self->fds[2], &self->r, 1), self->how == ENDS_BY_CLOSE_OF_LATER ? 0 : -1);
    assert_null(uring_of_loop()->withheld);
    assert_int_equal(aio_running_loop()->in_flight, 0);
    for (int i = self->how == ENDS_BY_CLOSE; i < 4; i++) close(self->fds[i]);
    return 0;
} aio_end
static void what_is_withheld_ends_with_its_chain(void **state)
{
    (void)state;
    for (int how = 0; how < ENDS; how++) assert_result(run(ends, .how = how), 0);
    cutting(0, 0);
}
struct leaves { aio_frame aio; aio_task *t; };
aio_async(leaves) {                     // the loop is closed over it
    aio_await(aio_nop());
    self->t = aio_spawn(withheld, .how = ENDS_WITH_FRAME);
    aio_await(aio_sleep(AIO_MSEC));
    struct withheld *w = (struct withheld *)(void *)(self->t + 1);
    for (int i = 0; i < 2; i++) at.pipe[i] = w->in[i];
    at.dir = w->out[0];
    at.fd = w->out[1];
    aio_detach(self->t);
    return 0;
} aio_end
static void a_loop_that_ends_over_a_cut_chain(void **state)
{
    (void)state;
    struct aio_loop_options o = uring_options();
    uring_begin();
    assert_result(aio_run_with(&o, leaves), 0);
    int all[] = { at.pipe[0], at.pipe[1], at.dir, at.fd };
    for (int i = 0; i < 4; i++) close(all[i]);
    uring_check(__FILE__, __LINE__);
    cutting(0, 0);
}

// --- by chance: chains of any steps, cut anywhere, cancelled at times
enum { CHANCES = 3000 };
static uint32_t dice(uint32_t n)
{
    static uint64_t state = 0x9e3779b97f4a7c15;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % n;
}
struct chance { aio_frame aio; int round, n, count, writes, pair[2], dead[2]; char c[8]; bool hard[8];
                bool wrote[8]; aio_result results[8], r; int64_t limit; aio_chain ch; };
static aio_awaitable chance_step(struct chance *self, int i)
{
    self->wrote[i] = false;
    switch (dice(12)) {
    case 0: return aio_nop();
    case 1: return aio_sync_file(at.fd, 0);
    case 2: return aio_sync_file(at.pipe[0], 0);                        // fails
    case 3: return aio_statx(AT_FDCWD, dice(2) ? at.path : "/", 0, STATX_BASIC_STATS, &at.stx);
    case 4: return aio_send_all(dice(4) ? self->pair[0] : self->dead[0], "x", 1, 0);
    case 5: return aio_recv(self->pair[1], &self->c[i], 1, 0);          // may wait
    case 6: return aio_sendmsg(at.read_only, &at.message, 0);
    case 7: return aio_close(at.gone);
    case 8: return aio_pread(at.fd, at.buf, dice(2) ? 0 : 8, 0);        // short
    default: self->wrote[i] = true; return aio_write_some(at.pipe[1], "x", 1);
    }
}
aio_async(chance) {
    place_make();
    pair_of(self->dead);
    close(self->dead[1]);
    aio_await(aio_nop());
    for (self->round = 0; self->round < CHANCES; self->round++) {
        pair_of(self->pair);
        assert_result(aio_chain_init(&self->ch), 0);
        self->count = 1 + (int)dice(AIO_CHAIN_STEPS);
        for (int i = 0; i < self->count; i++) {
            self->hard[i] = dice(8) == 0;
            aio_awaitable a = chance_step(self, i);
            self->r = self->hard[i] ? aio_chain_add_hard(&self->ch, a)
                                    : aio_chain_add(&self->ch, a);
            assert_result(self->r, 0);
        }
        self->limit = dice(3) ? AIO_MSEC : AIO_USEC;
        cutting(dice(4), dice(2) ? -1 : 1);
        aio_await(self->r, aio_wait_for(self->limit, aio_chain_run(&self->ch)));
        cutting(0, 0);
        self->writes = 0;
        for (int i = 0; i < self->count; i++) {
            self->results[i] = aio_chain_result(&self->ch, (unsigned)i);
            self->writes += self->wrote[i] && self->results[i] == 1;
            bool free = !i || self->hard[i - 1] || self->results[i - 1] >= 0;
            if (free) continue;
            if (self->results[i] != -ECANCELED)
                fail_msg("round %d: step %d is %s after %s", self->round, i,
                         aio_strerror(self->results[i]), aio_strerror(self->results[i - 1]));
        }
        ioctl(at.pipe[0], FIONREAD, &self->n);
        assert_int_equal(self->n, self->writes);
        while (self->n-- > 0) assert_int_equal(read(at.pipe[0], at.buf, 1), 1);
        assert_int_equal(aio_running_loop()->in_flight, 0);
        assert_null(uring_of_loop()->withheld);
        close(self->pair[0]);
        close(self->pair[1]);
    }
    close(self->dead[0]);
    place_close();
    return 0;
} aio_end
static void chains_by_chance_cut_anywhere(void **state)
{
    (void)state;
    assert_result(run(chance), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_chain_gives_the_same_results),
        cmocka_unit_test(what_is_withheld_ends_with_its_chain),
        cmocka_unit_test(a_loop_that_ends_over_a_cut_chain),
        cmocka_unit_test(chains_by_chance_cut_anywhere),
        cmocka_unit_test(nothing_runs_after_what_failed_whatever_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
