// Options of operations, registered buffers, direct descriptors; descriptors that come with
// messages; operations on two descriptors; what the report says.
#include "uring.h"
#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#define TRUE(condition) \
    do { \
        if (!(condition)) return -__LINE__; \
    } while (0)

// --- options that make no sense, and those that make no difference
struct sensible { aio_frame aio; int fd, fds[2]; char buf[16]; };
static aio_awaitable nonsense(struct sensible *s, int i)
{
    switch (i) {
    case 0: return aio_io_with(aio_sleep(0), AIO_IO_ASYNC);
    case 1: return aio_io_with(aio_close(s->fd), AIO_IO_DIRECT);
    case 2: return aio_io_with(aio_send_all(s->fd, s->buf, 1, 0), AIO_IO_DIRECT);
    case 3: return aio_io_with(aio_recv(s->fd, s->buf, 1, 0), AIO_IO_INTO(1));
    case 4: return aio_io_with(aio_recv(s->fd, s->buf, 1, 0), AIO_IO_BUFFER(1));
    case 5: return aio_io_with(aio_pread(s->fd, s->buf, 1, 0), AIO_IO_BUFFER(70000));
    case 6: return aio_io_with(aio_pread(s->fd, s->buf, 1, 0), AIO_IO_POLL_FIRST);
    case 7: return aio_io_with(aio_accept(s->fd), AIO_IO_INTO(-1));
    case 8: return aio_io_with(aio_wait_for(1, aio_nop()), AIO_IO_ASYNC);
    case 9: return aio_io_with(aio_nop(), AIO_IO_INTO_ANY);
    case 10: return aio_io_with(aio_pipe(s->fds, 0), AIO_IO_DIRECT);
    case 11: return aio_io_with(aio_epoll_ctl(0, 1, 2, 0), AIO_IO_DIRECT);
    case 12: return aio_io_with(aio_openat(0, "x", 0, 0), AIO_IO_DIRECT);
    default: return aio_io_with(aio_pipe(s->fds, 0), AIO_IO_INTO_ANY);
    }
}
struct refused { aio_frame aio; struct sensible s; int i; aio_result r; };
aio_async(refused) {
    for (self->s.fd = 900; self->i < 14; self->i++) {
        aio_await(self->r, nonsense(&self->s, self->i));
        if (self->r != -EINVAL) return self->i + 1;
    }
    return 0;
} aio_end
static void options_without_sense_are_refused(void **state)
{
    (void)state;
    assert_result(run(refused), 0);
}
aio_async(sensible) {
    aio_result r;
    TRUE(!pair_of(self->fds));
    aio_await(r, aio_io_with(aio_nop(), 0));
    TRUE(r == 0);
    aio_await(r,
              aio_io_with(aio_send(self->fds[0], "hello", 5, 0), AIO_IO_ASYNC | AIO_IO_POLL_FIRST));
    TRUE(r == 5);
    aio_await(r, aio_io_with(aio_recv(self->fds[1], self->buf, 16, 0), AIO_IO_POLL_FIRST));
    TRUE(r == 5);
    aio_await(r, aio_wait_for(AIO_MSEC, aio_io_with(aio_recv(self->fds[1], self->buf, 16, 0),
                                                    AIO_IO_POLL_FIRST)));
    TRUE(r == -ETIMEDOUT);
    self->fd = temp_file("0123");
    aio_await(r, aio_io_with(aio_pread(self->fd, self->buf, 16, 1), AIO_IO_ASYNC));
    TRUE(r == 3);
    aio_await(aio_close(self->fd));
    aio_await(aio_close(self->fds[0]));
    aio_await(aio_close(self->fds[1]));
    return 0;
} aio_end
static void options_that_change_only_the_way(void **state)
{
    (void)state;
    assert_result(run(sensible), 0);
}

// --- direct descriptors
struct direct {
    aio_frame aio;
    int listener, client, file, slot, fd;
    bool install;
    char buf[32];
    aio_op op;
};
aio_async(direct) {
    aio_result r;
    TRUE(aio_direct_unregister(0) == -ENXIO);
    TRUE(aio_direct_register(0, 0) == -EINVAL && aio_direct_register(0, 0x7fffffff) == -EMFILE);
    TRUE(aio_direct_register(0, 8) == 0 && aio_direct_register(0, 8) == -EBUSY);
    aio_await(r, aio_io_with(aio_openat(AT_FDCWD, "/dev/zero", O_RDONLY, 0), AIO_IO_INTO(3)));
    TRUE(r == 3);
    aio_await(r, aio_io_with(aio_pread(3, self->buf, 8, 0), AIO_IO_DIRECT));
    TRUE(r == 8);
    aio_await(r, aio_io_with(aio_pread(4, self->buf, 8, 0), AIO_IO_DIRECT));
    TRUE(r == -EBADF);
    TRUE(aio_direct_close(0, 3) == 0 && aio_direct_close(0, 8) == -EBADF);
    aio_await(r, aio_io_with(aio_pread(3, self->buf, 8, 0), AIO_IO_DIRECT));
    TRUE(r == -EBADF);
    aio_await(r, aio_direct_install(3));
    self->install = r != -EOPNOTSUPP;       // Linux 6.8
    TRUE(r == (self->install ? -EBADF : -EOPNOTSUPP));
    aio_await(r, aio_io_with(aio_accept(self->listener), AIO_IO_INTO_ANY));
    TRUE(r >= 0 && r < 8);
    self->slot = (int)r;
    aio_await(r, aio_io_with(aio_recv(self->slot, self->buf, 32, 0), AIO_IO_DIRECT));
    TRUE(r == 5 && !memcmp(self->buf, "hello", 5));
    if (self->install) {
        aio_await(self->fd, aio_direct_install((unsigned)self->slot));
        TRUE(self->fd >= 0 && fcntl(self->fd, F_GETFD) == FD_CLOEXEC);
        aio_await(r, aio_send(self->fd, "back", 4, 0));
        TRUE(r == 4);
        aio_await(aio_close(self->fd));
    }
    TRUE(aio_direct_put(0, 7, self->file) == 0);
    aio_await(r, aio_io_with(aio_pread(7, self->buf, 4, 0), AIO_IO_DIRECT));
    TRUE(r == 4);
    TRUE(aio_start(&self->op, aio_io_with(aio_recv(self->slot, self->buf, 8, 0), AIO_IO_DIRECT)) ==
         0);
    TRUE(aio_direct_unregister(0) == -EBUSY);
    aio_op_cancel(&self->op);
    aio_await(r, aio_op_wait(&self->op));
    TRUE(r == -EIO || r == -ECANCELED);
    return aio_direct_unregister(0);
} aio_end
static void direct_descriptors(void **state)
{
    (void)state;
    int listener = tcp_listener(4), client = tcp_client(port_of(listener)),
        file = temp_file("data");
    assert_int_equal(write(client, "hello", 5), 5);
    assert_result(run(direct, .listener = listener, .client = client, .file = file), 0);
    close(listener);
    close(client);
    close(file);
}
// A socket that has never been in the process's table.
struct unseen { aio_frame aio; int slot, peer; struct sockaddr_in to; char buf[8]; };
aio_async(unseen) {
    static const int one = 1;
    aio_result r;
    TRUE(aio_direct_register(0, 4) == 0);
    aio_await(r, aio_io_with(aio_socket(AF_INET, SOCK_STREAM, 0), AIO_IO_INTO(2)));
    TRUE(r == 2);
    self->to = loopback(0);
    aio_await(r, aio_io_with(aio_setsockopt(2, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one),
                             AIO_IO_DIRECT));
    TRUE(r == 0 || r == -EOPNOTSUPP);
    aio_await(r, aio_io_with(aio_getsockopt(2, SOL_SOCKET, SO_TYPE, self->buf, 8), AIO_IO_DIRECT));
    TRUE((r == 4 && self->buf[0] == SOCK_STREAM) || r == -EOPNOTSUPP);
    aio_await(
        r, aio_io_with(aio_bind(2, (struct sockaddr *)&self->to, sizeof self->to), AIO_IO_DIRECT));
    if (r == -EOPNOTSUPP) return 0;
    TRUE(r == 0);
    aio_await(r, aio_io_with(aio_listen(2, 4), AIO_IO_DIRECT));
    TRUE(r == 0);
    aio_await(self->peer, aio_direct_install(2));
    TRUE(port_of(self->peer) > 0);
    aio_await(aio_close(self->peer));
    aio_await(r, aio_io_with(aio_shutdown(2, SHUT_RD), AIO_IO_DIRECT));
    TRUE(r == 0);
    return 0;
} aio_end
// A kernel before 5.15 (it has no mkdirat) would take no notice of the slot.
struct no_slots { aio_frame aio; aio_result r; };
aio_async(no_slots) {
    assert_result(aio_direct_register(NULL, 4), 0);
    aio_await(self->r, aio_io_with(aio_openat(AT_FDCWD, "/dev/null", O_RDONLY, 0), AIO_IO_INTO(1)));
    return self->r;
} aio_end
static void a_kernel_without_slots(void **state)
{
    (void)state;
    setenv("AIO_URING_WITHOUT", "mkdirat", 1);
    assert_result(run(no_slots), -EOPNOTSUPP);
    unsetenv("AIO_URING_WITHOUT");
}
static void a_direct_socket_and_its_calls(void **state)
{
    (void)state;
    assert_result(run(unseen), 0);
    setenv("AIO_URING_WITHOUT", "bind,uring_cmd", 1);
    assert_result(run(unseen), 0);
    unsetenv("AIO_URING_WITHOUT");
}
// What was opened into a slot and nobody takes is closed: its peer sees the end.
struct lost_slot { aio_frame aio; int listener, client; bool any; aio_op op; char c; };
aio_async(lost_slot) {
    TRUE(aio_direct_register(0, 2) == 0);
    TRUE(aio_start(&self->op, aio_io_with(aio_accept(self->listener),
                                          self->any ? AIO_IO_INTO_ANY : AIO_IO_INTO(1))) == 0);
    aio_await(aio_sleep(AIO_MSEC));
    return 0;                       // over the op: the connection is closed
} aio_end
struct slot_main { aio_frame aio; struct lost_slot child; int listener, client; bool any; char c; };
aio_async(slot_main) {
    aio_try(aio_call(&self->child, lost_slot, .listener = self->listener, .client = self->client,
                     .any = self->any));
    aio_result r;                   // Linux 6.1 empties the slot a moment later
    aio_await(r, aio_wait_for(20 * AIO_SECOND, aio_recv(self->client, &self->c, 1, 0)));
    return r;
} aio_end
static void a_lost_slot_is_emptied(void **state)
{
    (void)state;
    for (int any = 0; any < 2; any++) {
        int listener = tcp_listener(4), client = tcp_client(port_of(listener));
        assert_result(run(slot_main, .listener = listener, .client = client, .any = any != 0), 0);
        close(client);
        close(listener);
    }
}

// --- registered buffers
struct buffered { aio_frame aio; char *memory; int file, pipe[2]; struct iovec v[2]; aio_op op; };
aio_async(buffered) {
    aio_result r;
    self->v[0].iov_base = self->memory, self->v[0].iov_len = 8192;
    TRUE(aio_buffers_unregister(0) == -ENXIO && aio_buffers_register(0, self->v, 0) == -EINVAL);
    TRUE(aio_buffers_register(0, self->v, 1) == 0 && aio_buffers_register(0, self->v, 1) == -EBUSY);
    memcpy(self->memory, "buffer", 6);
    aio_await(r, aio_io_with(aio_pwrite(self->file, self->memory, 6, 0), AIO_IO_BUFFER(0)));
    TRUE(r == 6);
    aio_await(r, aio_io_with(aio_pread(self->file, self->memory + 100, 4, 2), AIO_IO_BUFFER(0)));
    TRUE(r == 4 && !memcmp(self->memory + 100, "ffer", 4));
    aio_await(r, aio_io_with(aio_pread(self->file, self->memory + 8192, 4, 2), AIO_IO_BUFFER(0)));
    TRUE(r == -EFAULT);             // outside
    aio_await(r, aio_io_with(aio_pread(self->file, self->memory, 4, 2), AIO_IO_BUFFER(1)));
    TRUE(r == -EFAULT);             // no such buffer
    self->v[0].iov_base = self->memory, self->v[0].iov_len = 2;
    self->v[1].iov_base = self->memory + 200, self->v[1].iov_len = 2;
    aio_await(r, aio_io_with(aio_preadv(self->file, self->v, 2, 0, 0), AIO_IO_BUFFER(0)));
    TRUE(r == -EOPNOTSUPP || (r == 4 && !memcmp(self->memory + 200, "ff", 2)));
    TRUE(aio_start(&self->op, aio_io_with(aio_read_some(self->pipe[0], self->memory, 4),
                                          AIO_IO_BUFFER(0))) == 0);
    TRUE(aio_buffers_unregister(0) == -EBUSY);
    aio_op_cancel(&self->op);
    aio_await(aio_op_wait(&self->op));
    TRUE(aio_buffers_unregister(0) == 0);       // the kernel has none any more
    TRUE(aio_buffers_unregister(0) == -ENXIO && aio_buffers_register(0, self->v, 1) == 0);
    return aio_buffers_unregister(0);
} aio_end
static void registered_buffers(void **state)
{
    (void)state;
    int pipes[2], file = temp_file("");
    char *memory =
        (char *)mmap(0, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    assert_result(run(buffered, .memory = memory, .file = file, .pipe[0] = pipes[0]), 0);
    setenv("AIO_URING_WITHOUT", "readv_fixed", 1);
    assert_result(run(buffered, .memory = memory, .file = file, .pipe[0] = pipes[0]), 0);
    unsetenv("AIO_URING_WITHOUT");
    munmap(memory, 16384);
    close(pipes[0]);
    close(pipes[1]);
    close(file);
}
static void registered_without_a_loop(void **state)
{
    (void)state;
    struct iovec v = { uring_told, 1 };
    assert_result(aio_buffers_register(0, &v, 1), -EINVAL);
    assert_result(aio_direct_register(0, 1), -EINVAL);
    assert_result(aio_direct_close(0, 1), -EINVAL);
}

// --- descriptors that come with a message
static int send_pipe_end(int to, int *other)
{
    int fds[2];
    char byte = 'x';
    union { struct cmsghdr c; char room[CMSG_SPACE(sizeof(int))]; } control;
    struct iovec v = { &byte, 1 };
    struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control,
                        .msg_controllen = sizeof control };
    if (pipe2(fds, O_CLOEXEC) < 0) return -1;
    memset(&control, 0, sizeof control);
    control.c.cmsg_level = SOL_SOCKET;
    control.c.cmsg_type = SCM_RIGHTS;
    control.c.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.c), &fds[1], sizeof(int));
    *other = fds[0];
    ssize_t n = sendmsg(to, &m, 0);
    close(fds[1]);
    return n == 1 ? 0 : -1;
}
// The writing end is nobody's any more: the reading end is at its end.
static bool writer_is_gone(int fd)
{
    struct pollfd p = { fd, POLLIN, 0 };
    return poll(&p, 1, 0) == 1 && p.revents == POLLHUP;
}
struct message { struct msghdr m; struct iovec v; char byte; uint64_t control[8]; };
static struct msghdr *message_for(struct message *m)
{
    memset(m, 0, sizeof *m);
    m->v.iov_base = &m->byte;
    m->v.iov_len = 1;
    m->m.msg_iov = &m->v;
    m->m.msg_iovlen = 1;
    m->m.msg_control = m->control;
    m->m.msg_controllen = sizeof m->control;
    return &m->m;
}
struct receiver { aio_frame aio; int fd; struct message in; };
aio_async(receiver) {
    aio_result r;
    int fd;
    aio_await(r, aio_recvmsg(self->fd, message_for(&self->in), 0));
    struct cmsghdr *c = CMSG_FIRSTHDR(&self->in.m);
    TRUE(r == 1 && c && c->cmsg_type == SCM_RIGHTS);
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    bool inherited = fcntl(fd, F_GETFD) != FD_CLOEXEC;
    close(fd);
    return inherited;
} aio_end
struct forgetful { aio_frame aio; int fd; struct message in; aio_op op, second; int how; };
aio_async(forgetful) {
    TRUE(aio_start(&self->op, aio_recvmsg(self->fd, message_for(&self->in), 0)) == 0);
    aio_await(aio_sleep(AIO_MSEC));
    TRUE(aio_op_done(&self->op));
    if (self->how == 1) TRUE(aio_start(&self->second, aio_op_wait(&self->op)) == 0);
    return 0;
} aio_end
// Closed over: the result is in, its task has not run.
struct asleep { aio_frame aio; int fd; struct message in; aio_op op; bool op_first; };
aio_async(asleep) {
    if (self->op_first) {
        TRUE(aio_start(&self->op, aio_recvmsg(self->fd, message_for(&self->in), 0)) == 0);
        aio_await(aio_op_wait(&self->op));
    } else {
        aio_await(aio_recvmsg(self->fd, message_for(&self->in), 0));
    }
    return 0;
} aio_end
static void descriptors_of_a_lost_message_are_closed(void **state)
{
    (void)state;
    int fds[2], other;
    for (int how = 0; how < 3; how++) {
        pair_of(fds);
        assert_int_equal(send_pipe_end(fds[0], &other), 0);
        if (how == 2) assert_result(run(receiver, .fd = fds[1]), 0);
        else assert_result(run(forgetful, .fd = fds[1], .how = how), 0);
        assert_true(writer_is_gone(other));
        close(other);
        close(fds[0]);
        close(fds[1]);
    }
    for (int op_first = 0; op_first < 2; op_first++) {
        aio_loop loop;
        pair_of(fds);
        uring_begin();
        struct aio_loop_options o = uring_options();
        assert_result(aio_loop_init(&loop, &o), 0);
        aio_task *t = aio_spawn_on(&loop, asleep, .fd = fds[1], .op_first = op_first != 0);
        aio_executor_turn(&loop.executor);              // it waits
        assert_int_equal(send_pipe_end(fds[0], &other), 0);
        for (int i = 0; i < 2000 && t->waiter.node.cls->kind != AIO__WAIT_READY; i++) {
            loop.backend->wait(&loop, 0);
            usleep(100);
        }
        assert_int_equal(t->waiter.node.cls->kind, AIO__WAIT_READY);
        aio_detach(t);
        aio_loop_close(&loop);
        assert_true(writer_is_gone(other));
        close(other);
        uring_check(__FILE__, __LINE__);
        close(fds[0]);
        close(fds[1]);
    }
}
struct lost_pipe {
    aio_frame aio;
    int fds[2], more[2];
    aio_op op, second;
    struct io_uring_sqe sqe;
    bool run;
};
aio_async(lost_pipe) {
    TRUE(aio_start(&self->op, aio_pipe(self->fds, 0)) == 0);
    TRUE(aio_start(&self->second, aio_op_wait(&self->op)) == 0);
    if (!self->run) return 0;
    memset(&self->sqe, 0, sizeof self->sqe);
    io_uring_prep_rw(AIO__OP_PIPE, &self->sqe, 0, self->more, 0, 0);
    aio_op_cancel(&self->op);
    aio_await(aio_sleep(0));
    TRUE(aio_op_result(&self->second) == 0);
    close(self->fds[0]);
    close(self->fds[1]);
    TRUE(aio_start(&self->second, aio_uring_op(&self->sqe)) == 0);
    aio_await(aio_sleep(AIO_MSEC));
    return 0;
} aio_end
static void a_lost_pipe_is_closed(void **state)
{
    (void)state;
    assert_result(run(lost_pipe), 0);       // which counts descriptors
    assert_result(run(lost_pipe, .run = true), 0);
}

// --- two descriptors in one operation
struct splicer { aio_frame aio; int in, out; bool tee; };
aio_async(splicer) {
    aio_result r;
    if (self->tee) aio_await(r, aio_tee(self->in, self->out, 4, 0));
    else aio_await(r, aio_splice(self->in, -1, self->out, -1, 4, 0));
    return r;
} aio_end
struct closes { aio_frame aio; int a[2], b[2]; int which; bool tee; aio_task *t; aio_result r; };
aio_async(closes) {
    TRUE(!pipe2(self->a, O_CLOEXEC) && !pipe2(self->b, O_CLOEXEC));
    self->t = aio_spawn(splicer, .in = self->a[0], .out = self->b[1], .tee = self->tee);
    aio_await(aio_sleep(self->which & 2 ? AIO_MSEC : 0));
    aio_await(self->r, aio_close(self->which & 1 ? self->a[0] : self->b[1]));
    TRUE(self->r == 0 && fcntl(self->which & 1 ? self->a[0] : self->b[1], F_GETFD) < 0);
    aio_await(self->r, aio_join(self->t));
    close(self->which & 1 ? self->b[1] : self->a[0]);
    close(self->a[1]);
    close(self->b[0]);
    return self->r;
} aio_end
static void aio_close_ends_splice_and_tee_on_either_descriptor(void **state)
{
    (void)state;
    for (int which = 0; which < 8; which++)
        assert_result(run(closes, .which = which & 3, .tee = which > 3), -EBADF);
}

// --- futexes, epoll, children that end while they are waited for
struct waiter { aio_frame aio; uint32_t *word; bool many; struct futex_waitv v[2]; };
aio_async(waiter) {
    aio_result r;
    memset(self->v, 0, sizeof self->v);
    for (int i = 0; i < 2; i++) {
        self->v[i].uaddr = (uint64_t)(uintptr_t)&self->word[i];
        self->v[i].flags = AIO_FUTEX_U32 | AIO_FUTEX_PRIVATE;
    }
    if (self->many) aio_await(r, aio_futex_waitv(self->v, 2));
    else aio_await(r, aio_futex_wait(&self->word[1], 0, 6, AIO_FUTEX_U32 | AIO_FUTEX_PRIVATE));
    return r;
} aio_end
struct waker { aio_frame aio; uint32_t word[2]; bool many; aio_task *t; aio_result r; };
aio_async(waker) {
    self->t = aio_spawn(waiter, .word = self->word, .many = self->many);
    aio_await(aio_sleep(AIO_MSEC));
    if (aio_task_done(self->t)) {                       // this kernel has none
        aio_await(self->r, aio_join(self->t));
        return self->r;
    }
    if (!self->many) {
        aio_await(self->r, aio_futex_wake(&self->word[1], 1, 1, AIO_FUTEX_U32 | AIO_FUTEX_PRIVATE));
        TRUE(self->r == 0);                             // other bits
    }
    for (;;) {                                          // a thread may wait a moment later
        aio_await(self->r, aio_futex_wake(&self->word[1], 9, 2, AIO_FUTEX_U32 | AIO_FUTEX_PRIVATE));
        if (self->r) break;
        aio_await(aio_sleep(AIO_MSEC));
    }
    TRUE(self->r == 1);
    aio_await(self->r, aio_join(self->t));
    return self->r;
} aio_end
static void futexes_wake(void **state)
{
    (void)state;
    if (run(waker, .many = false) == -EOPNOTSUPP) test_skip("futexes: Linux 6.7");
    assert_result(run(waker, .many = false), 0);
    assert_result(run(waker, .many = true), 1);
}
struct epoller { aio_frame aio; int epfd; struct epoll_event events[2]; };
aio_async(epoller) {
    aio_result r;
    aio_await(r, aio_epoll_wait(self->epfd, self->events, 2));
    TRUE(r == 1);
    return self->events[0].data.fd;
} aio_end
struct readies { aio_frame aio; int epfd, fds[2]; aio_task *t; aio_result r; struct epoll_event e; };
aio_async(readies) {
    self->e.events = EPOLLIN;
    self->e.data.fd = 55;
    aio_await(self->r, aio_epoll_ctl(self->epfd, EPOLL_CTL_ADD, self->fds[0], &self->e));
    self->t = aio_spawn(epoller, .epfd = self->epfd);
    aio_await(aio_sleep(AIO_MSEC));
    TRUE(self->r == 0 && !aio_task_done(self->t));
    TRUE(write(self->fds[1], "x", 1) == 1);
    aio_await(self->r, aio_join(self->t));
    return self->r;
} aio_end
struct parent { aio_frame aio; pid_t pid; siginfo_t info; aio_task *t; aio_result r; };
struct child_of { aio_frame aio; pid_t pid; siginfo_t *info; };
aio_async(child_of) {
    aio_result r;
    aio_await(r, aio_waitid(P_PID, (id_t)self->pid, self->info, WEXITED));
    return r;
} aio_end
aio_async(parent) {
    aio_await(self->r, aio_waitid(P_PID, (id_t)self->pid, 0, WEXITED | WNOHANG));
    TRUE(self->r == 0);             // not yet
    self->t = aio_spawn(child_of, .pid = self->pid, .info = &self->info);
    aio_await(aio_sleep(AIO_MSEC));
    TRUE(!aio_task_done(self->t));
    kill(self->pid, SIGTERM);
    aio_await(self->r, aio_join(self->t));
    TRUE(self->r == 0 && self->info.si_pid == self->pid && self->info.si_status == SIGTERM);
    aio_await(self->r, aio_waitid(P_PID, (id_t)self->pid, 0, WEXITED));
    TRUE(self->r == -ECHILD);
    return 0;
} aio_end
static void events_and_children_that_come_later(void **state)
{
    (void)state;
    for (int missing = 0; missing < 2; missing++) {
        int fds[2], epfd = epoll_create1(EPOLL_CLOEXEC);
        if (missing) setenv("AIO_URING_WITHOUT", "waitid,epoll_wait", 1);
        pipe2(fds, O_CLOEXEC);
        assert_result(run(readies, .epfd = epfd, .fds[0] = fds[0], .fds[1] = fds[1]), 55);
        close(fds[0]);
        close(fds[1]);
        close(epfd);
        pid_t pid = fork();
        if (!pid) {
            pause();
            _exit(1);
        }
        assert_result(run(parent, .pid = pid), 0);
    }
    unsetenv("AIO_URING_WITHOUT");
}

// What a pidfd cannot tell, and what it can.
struct odd_waits { aio_frame aio; pid_t pid; int pidfd; aio_result r; };
aio_async(odd_waits) {
    aio_await(self->r, aio_waitid(P_PID, (id_t)self->pid, 0, WSTOPPED));
    TRUE(self->r == -EOPNOTSUPP);
    aio_await(self->r, aio_waitid(P_ALL, 0, 0, WEXITED));
    TRUE(self->r == -EOPNOTSUPP);
    self->pidfd = (int)syscall(SYS_pidfd_open, self->pid, 0);
    aio_await(self->r,
              aio_wait_for(AIO_MSEC, aio_waitid((idtype_t)3, (id_t)self->pidfd, 0, WEXITED)));
    TRUE(self->r == -ETIMEDOUT);
    kill(self->pid, SIGTERM);
    aio_await(self->r, aio_waitid((idtype_t)3, (id_t)self->pidfd, 0, WEXITED));
    TRUE(self->r == 0);
    aio_await(aio_close(self->pidfd));
    return 0;
} aio_end
static void waitid_by_a_pidfd(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (!pid) {
        pause();
        _exit(1);
    }
    setenv("AIO_URING_WITHOUT", "waitid", 1);
    assert_result(run(odd_waits, .pid = pid), 0);
    unsetenv("AIO_URING_WITHOUT");
}
// A job of the pool works on a descriptor that is being closed: the close waits for it.
struct job_and_close { aio_frame aio; int fd; aio_op op; aio_result r; };
aio_async(job_and_close) {
    TRUE(aio_start(&self->op, aio_ftruncate(self->fd, 100)) == 0);
    aio_await(self->r, aio_close(self->fd));
    TRUE(self->r == 0 && aio_op_done(&self->op));
    aio_await(self->r, aio_op_wait(&self->op));
    return self->r;
} aio_end
static void aio_close_waits_for_a_job_on_the_descriptor(void **state)
{
    (void)state;
    setenv("AIO_URING_WITHOUT", "ftruncate", 1);
    for (int i = 0; i < 20; i++) assert_result(run(job_and_close, .fd = temp_file("")), 0);
    unsetenv("AIO_URING_WITHOUT");
}
// More pieces than the kernel takes are a short transfer.
struct pieces { int fd; struct iovec v[2000]; char buf[2000]; };
MAKE(m_pieces, struct pieces, aio_preadv(a->fd, a->v, 2000, 0, 0))
static void hazard_27_more_than_1024_pieces(void **state)
{
    (void)state;
    static struct pieces p;
    p.fd = temp_file("");
    assert_int_equal(ftruncate(p.fd, 5000), 0);
    for (int i = 0; i < 2000; i++) p.v[i].iov_base = &p.buf[i], p.v[i].iov_len = 1;
    assert_result(run_one(m_pieces, &p), 1024);
    close(p.fd);
}

// --- more at once than the ring or the arena holds; each allocation that fails
enum { MANY = 40 };
struct storm {
    aio_frame aio;
    int dirfd, fd, pair[2], i;
    aio_result r;
    aio_op ops[MANY];
    struct statx stx[MANY];
    char bytes[MANY], local[600];
    struct iovec v[2];
};
static aio_awaitable storm_one(struct storm *s, int i)
{
    static struct msghdr m;
    memset(s->local, '/', sizeof s->local);
    strcpy(s->local + sizeof s->local - 5, "file");
    s->v[0].iov_base = &s->bytes[i];
    s->v[0].iov_len = 1;
    s->v[1] = s->v[0];
    s->v[1].iov_len = 0;
    memset(&m, 0, sizeof m);
    m.msg_iov = s->v;
    m.msg_iovlen = 2;
    if (i % 4 == 1) return aio_pwritev(s->fd, s->v, 2, i, 0);
    if (i % 4 == 2) return aio_sendmsg(s->pair[0], &m, 0);
    if (i % 4 == 3) return aio_renameat(s->dirfd, "none", s->dirfd, s->local, 0);
    memcpy(s->local, ".", 1);
    return aio_statx(s->dirfd, s->local, 0, STATX_SIZE, &s->stx[i]);
}
aio_async(storm) {
    for (self->i = 0; self->i < MANY; self->i++) {
        self->bytes[self->i] = (char)(self->i + 'A');
        TRUE(aio_start(&self->ops[self->i], storm_one(self, self->i)) == 0);
        memset(self->local, 'X', sizeof self->local);
        memset(self->v, 'X', sizeof self->v);
    }
    for (self->i = 0; self->i < MANY; self->i++) {
        aio_await(self->r, aio_op_wait(&self->ops[self->i]));
        if (self->r == -ENOMEM) continue;
        if (self->i % 4 == 0) TRUE(self->r == 0 && self->stx[self->i].stx_size == 5);
        if (self->i % 4 == 1 || self->i % 4 == 2) TRUE(self->r == 1);
        if (self->i % 4 == 3) TRUE(self->r == -ENOENT || self->r == -EXDEV);     // /tmp may be a mount
    }
    return 0;
} aio_end
static void storms(long fail_from)
{
    char dir[] = "/tmp/aio-test-XXXXXX", file[64];
    int fds[2];
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/file", dir);
    int dirfd = open(dir, O_RDONLY | O_CLOEXEC), fd = temp_file("");
    int made = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(made, "12345", 5), 5);
    close(made);
    pair_of(fds);
    uring_begin();
    uring_memory.fail_from = fail_from;
    struct aio_loop_options o = uring_options();
    aio_result r = aio_run_with(&o, storm, .dirfd = dirfd, .fd = fd, .pair[0] = fds[0]);
    uring_reports = 0;              // that there is no memory may be told
    uring_check(__FILE__, __LINE__);
    if (fail_from ? r != 0 && r != -ENOMEM : r != 0)
        fail_msg("%lld from %ld on", (long long)r, fail_from);
    for (int i = 1; !fail_from && i < MANY; i += 4) {
        char c = 0;
        assert_int_equal(pread(fd, &c, 1, i), 1);
        assert_int_equal(c, i + 'A');
    }
    unlink(file);
    close(dirfd);
    rmdir(dir);
    close(fd);
    close(fds[0]);
    close(fds[1]);
}
static void contract_2_more_than_the_ring_holds(void **state)
{
    (void)state;
    setenv("AIO_URING_ENTRIES", "8", 1);
    storms(0);
    for (long n = 1; n < 30; n++) storms(n);
    unsetenv("AIO_URING_ENTRIES");
}

// --- the report
struct reports { aio_frame aio; FILE *to; };
aio_async(reports) { aio_uring_report(0, self->to); return 0; } aio_end
static bool report_has(const char *without, const char *line)
{
    char *text = 0;
    size_t size;
    if (without) setenv("AIO_URING_WITHOUT", without, 1);
    FILE *f = open_memstream(&text, &size);
    assert_result(run(reports, .to = f), 0);
    unsetenv("AIO_URING_WITHOUT");
    fclose(f);
    bool found = strstr(text, line) != 0;
    if (!found) print_error("no \"%s\" in:\n%s", line, text);
    free(text);
    return found;
}
static void report_says_how_each_operation_runs(void **state)
{
    (void)state;
    const char *ring = getenv("AIO_RING");
    if (ring && !strcmp(ring, "epoll")) test_skip("epoll does it otherwise, and says so");
    assert_true(report_has(0, "kernel "));
    assert_true(report_has(0, "\nrecv               ring\n"));
    assert_true(report_has(0, "\nstatx              ring, on a kernel thread\n"));
    assert_true(report_has(
        "mkdirat",
        "\nmkdirat            system call on a thread of the pool (the ring: Linux 5.15)"));
    assert_true(report_has(
        "pipe,waitid", "\nwaitid             ring waits (poll), then a system call (the ring: "));
    assert_true(
        report_has("pipe,waitid", "\npipe               system call (the ring: Linux 6.16)"));
    assert_true(
        report_has("futex_wait", "\nfutex_wait         not available (the ring: Linux 6.7)"));
}
static int refuse(unsigned entries, struct io_uring *ring, struct io_uring_params *p)
{
    (void)entries, (void)ring, (void)p;
    return -EPERM;
}
static void report_of_a_refused_ring(void **state)
{
    (void)state;
    uring_hook.init = refuse;
    expect_reports();
    assert_true(report_has(0, "no ring: EPERM"));
    uring_hook.init = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kernel_without_slots),
        cmocka_unit_test(options_without_sense_are_refused),
        cmocka_unit_test(options_that_change_only_the_way),
        cmocka_unit_test(direct_descriptors),
        cmocka_unit_test(a_direct_socket_and_its_calls),
        cmocka_unit_test(a_lost_slot_is_emptied),
        cmocka_unit_test(registered_buffers),
        cmocka_unit_test(registered_without_a_loop),
        cmocka_unit_test(descriptors_of_a_lost_message_are_closed),
        cmocka_unit_test(a_lost_pipe_is_closed),
        cmocka_unit_test(aio_close_ends_splice_and_tee_on_either_descriptor),
        cmocka_unit_test(futexes_wake),
        cmocka_unit_test(events_and_children_that_come_later),
        cmocka_unit_test(waitid_by_a_pidfd),
        cmocka_unit_test(aio_close_waits_for_a_job_on_the_descriptor),
        cmocka_unit_test(hazard_27_more_than_1024_pieces),
        cmocka_unit_test(contract_2_more_than_the_ring_holds),
        cmocka_unit_test(report_says_how_each_operation_runs),
        cmocka_unit_test(report_of_a_refused_ring),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
