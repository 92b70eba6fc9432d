// Each operation by a table: its success, an error, an array or a name that was a local, a cancel
// at each moment, a limit, a frame and a loop that end over it; and all of that where the kernel
// lacks it.
#include "uring.h"
#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/xattr.h>

enum { A_DESCRIPTOR = 1 << 20 };       // for .result: some descriptor, which is closed again
enum { CHILD_ENDS = 1, CHILD_STAYS = 2, SECOND_RING = 3 };

// What the operations work on, made anew for each. What lies in `locals` is overwritten as soon as
// the operation has begun.
struct world {
    char dir[64];
    int dirfd, fd, full[2], empty[2], data[2], pair[2], udp[2], listener, busy, client, epoll;
    pid_t child;
    bool has_ring;
    struct io_uring ring;
    struct io_uring_sqe sqe;
    struct __kernel_timespec time;
    char buf[64];
    uint64_t control[8];
    uint32_t word, other;
    struct statx stx;
    siginfo_t info;
    struct sockaddr_in from;
    socklen_t from_length;
    struct msghdr message;
    struct iovec message_piece;
    struct epoll_event events[4];
    int made[2];
    union {
        struct { char path[48], path2[48]; } names;
        struct { struct open_how how; char path[48]; } open;
        struct { char path[128], name[32]; } attribute;
        struct { struct iovec pieces[3]; struct msghdr message; uint64_t control[8]; } m;
        struct sockaddr_in to;
        struct futex_waitv words[2];
    } locals;
};
typedef aio_awaitable (*op_fn)(struct world *w);

static char *path(struct world *w, const char *name)
{
    return strcpy(w->locals.names.path, name);
}
static char *path2(struct world *w, const char *name)
{
    return strcpy(w->locals.names.path2, name);
}
static char *full_path(struct world *w, const char *name)
{
    snprintf(w->locals.attribute.path, sizeof w->locals.attribute.path, "%s/%s", w->dir, name);
    return w->locals.attribute.path;
}
static char *attribute(struct world *w, const char *name)
{
    return strcpy(w->locals.attribute.name, name);
}
// Three pieces of buf; the middle one is empty.
static struct iovec *pieces(struct world *w)
{
    struct iovec *v = w->locals.m.pieces;
    v[0].iov_base = w->buf, v[0].iov_len = 2;
    v[1].iov_base = w->buf, v[1].iov_len = 0;
    v[2].iov_base = w->buf + 2, v[2].iov_len = 3;
    return v;
}
static struct open_how *how(struct world *w, int flags)
{
    memset(&w->locals.open.how, 0, sizeof w->locals.open.how);
    w->locals.open.how.flags = (unsigned)flags;
    return &w->locals.open.how;
}
static char *open_path(struct world *w, const char *name)
{
    return strcpy(w->locals.open.path, name);
}

#define OP(name, expression)                   \
    static aio_awaitable name(struct world *w) \
    {                                          \
        (void)w;                               \
        return expression;                     \
    }
// --- files
OP(o_openat2, aio_openat2(w->dirfd, open_path(w, "file"), how(w, O_RDWR)))
OP(e_openat2, aio_openat2(w->dirfd, open_path(w, "none"), how(w, O_RDWR)))
OP(n_openat2, aio_openat2(w->dirfd, open_path(w, "file"), 0))
OP(o_openat, aio_openat(w->dirfd, path(w, "file"), O_RDONLY, 0))
OP(e_openat, aio_openat(w->dirfd, path(w, "none"), O_RDONLY, 0))
OP(o_preadv, aio_preadv(w->fd, pieces(w), 3, 6, 0))
OP(e_preadv, aio_preadv(w->fd, pieces(w), 3, -1, 0))
OP(n_preadv, aio_preadv(w->fd, 0, 3, 0, 0))
OP(o_pwritev, aio_pwritev(w->fd, pieces(w), 3, 1, 0))
OP(e_pwritev, aio_pwritev(w->fd, pieces(w), -3, 1, 0))
OP(o_readv, aio_readv_some(w->data[0], pieces(w), 3))
OP(e_readv, aio_readv_some(w->dirfd, pieces(w), 3))
OP(b_readv, aio_readv_some(w->empty[0], pieces(w), 3))
OP(o_writev, aio_writev_some(w->empty[1], pieces(w), 3))
OP(e_writev, aio_writev_some(w->empty[0], pieces(w), 3))
OP(b_writev, aio_writev_some(w->full[1], pieces(w), 3))
OP(o_sync_file_range, aio_sync_file_range(w->fd, 0, UINT64_C(1) << 40, SYNC_FILE_RANGE_WRITE))
OP(e_sync_file_range, aio_sync_file_range(w->fd, 0, 1, 0x100))
OP(o_fallocate, aio_fallocate(w->fd, 0, 0, 8192))
OP(e_fallocate, aio_fallocate(w->fd, 0, 0, -1))
OP(o_ftruncate, aio_ftruncate(w->fd, 5))
OP(e_ftruncate, aio_ftruncate(w->fd, -5))
OP(o_fadvise, aio_fadvise(w->fd, 0, 0, POSIX_FADV_WILLNEED))
OP(e_fadvise, aio_fadvise(w->fd, 0, 0, 99))
OP(o_madvise, aio_madvise(0, 0, MADV_NORMAL))
OP(e_madvise, aio_madvise(w->buf + 1, 1, MADV_NORMAL))
OP(o_sync, aio_sync_file(w->fd, AIO_SYNC_DATA))
OP(e_sync, aio_sync_file(w->data[0], 0))
OP(o_splice, aio_splice(w->data[0], -1, w->fd, 2, 4, 0))
OP(e_splice, aio_splice(w->fd, -1, w->fd, -1, 4, 0))
OP(b_splice, aio_splice(w->empty[0], -1, w->fd, 0, 4, 0))
OP(o_tee, aio_tee(w->data[0], w->empty[1], 4, 0))
OP(e_tee, aio_tee(w->fd, w->empty[1], 4, 0))
OP(b_tee, aio_tee(w->empty[0], w->data[1], 4, 0))
OP(o_pipe, aio_pipe(w->made, O_NONBLOCK))
OP(e_pipe, aio_pipe(w->made, 1))
OP(o_pread, aio_pread(w->fd, w->buf, 5, 6))
OP(e_pread, aio_pread(w->fd, w->buf, 5, -1))
OP(o_pwrite, aio_pwrite(w->fd, w->buf, 5, 1))
OP(e_pwrite, aio_pwrite(w->dirfd, w->buf, 5, 1))
OP(o_read, aio_read_some(w->data[0], w->buf, 5))
OP(e_read, aio_read_some(w->dirfd, w->buf, 5))
OP(b_read, aio_read_some(w->empty[0], w->buf, 5))
OP(o_write, aio_write_some(w->empty[1], w->buf, 5))
OP(e_write, aio_write_some(w->empty[0], w->buf, 5))
OP(b_write, aio_write_some(w->full[1], w->buf, 5))
// --- names
OP(o_statx, aio_statx(w->dirfd, path(w, "file"), 0, STATX_SIZE, &w->stx))
OP(e_statx, aio_statx(w->dirfd, path(w, "none"), 0, STATX_SIZE, &w->stx))
OP(o_renameat, aio_renameat(w->dirfd, path(w, "file"), w->dirfd, path2(w, "new"), 0))
OP(e_renameat, aio_renameat(w->dirfd, path(w, "none"), w->dirfd, path2(w, "new"), 0))
OP(n_renameat, aio_renameat(w->dirfd, path(w, "file"), w->dirfd, 0, 0))
OP(o_unlinkat, aio_unlinkat(w->dirfd, path(w, "file"), 0))
OP(e_unlinkat, aio_unlinkat(w->dirfd, path(w, "file"), AT_REMOVEDIR))
OP(o_mkdirat, aio_mkdirat(w->dirfd, path(w, "new"), 0700))
OP(e_mkdirat, aio_mkdirat(w->dirfd, path(w, "file"), 0700))
OP(n_mkdirat, aio_mkdirat(w->dirfd, 0, 0700))
OP(o_linkat, aio_linkat(w->dirfd, path(w, "file"), w->dirfd, path2(w, "new"), 0))
OP(e_linkat, aio_linkat(w->dirfd, path(w, "none"), w->dirfd, path2(w, "new"), 0))
OP(o_symlinkat, aio_symlinkat(path(w, "file"), w->dirfd, path2(w, "new")))
OP(e_symlinkat, aio_symlinkat(path(w, "file"), w->dirfd, path2(w, "file")))
OP(o_getxattr, aio_getxattr(full_path(w, "file"), attribute(w, "user.a"), w->buf, sizeof w->buf))
OP(e_getxattr, aio_getxattr(full_path(w, "file"), attribute(w, "user.b"), w->buf, sizeof w->buf))
OP(n_getxattr, aio_getxattr(0, attribute(w, "user.b"), w->buf, sizeof w->buf))
OP(o_setxattr, aio_setxattr(full_path(w, "file"), attribute(w, "user.b"), "value", 5, 0))
OP(e_setxattr, aio_setxattr(full_path(w, "file"), attribute(w, "user.a"), "v", 1, XATTR_CREATE))
OP(o_fgetxattr, aio_fgetxattr(w->fd, attribute(w, "user.a"), 0, 0))
OP(e_fgetxattr, aio_fgetxattr(w->fd, attribute(w, "user.a"), w->buf, 1))
OP(o_fsetxattr, aio_fsetxattr(w->fd, attribute(w, "user.b"), "value", 5, XATTR_CREATE))
OP(e_fsetxattr, aio_fsetxattr(w->fd, attribute(w, "user.b"), "value", 5, XATTR_REPLACE))
// --- sockets
static struct sockaddr *to(struct world *w, int fd)
{
    w->locals.to = loopback(port_of(fd));
    return (struct sockaddr *)&w->locals.to;
}
static struct sockaddr *from(struct world *w)
{
    w->from_length = sizeof w->from;
    return (struct sockaddr *)&w->from;
}
// A header in `locals`: all of it may be gone after the start.
static struct msghdr *sends(struct world *w, int passed)
{
    struct msghdr *m = &w->locals.m.message;
    memset(m, 0, sizeof *m);
    m->msg_iov = pieces(w);
    m->msg_iovlen = 3;
    if (passed < 0) return m;
    m->msg_control = w->locals.m.control;
    m->msg_controllen = CMSG_SPACE(sizeof passed);
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof passed);
    memcpy(CMSG_DATA(c), &passed, sizeof passed);
    return m;
}
static struct msghdr *receives(struct world *w)
{
    struct msghdr *m = &w->message;
    memset(m, 0, sizeof *m);
    m->msg_iov = pieces(w);
    m->msg_iovlen = 3;
    m->msg_control = w->control;
    m->msg_controllen = sizeof w->control;
    m->msg_name = from(w);
    m->msg_namelen = sizeof w->from;
    return m;
}
static struct msghdr *too_many(struct world *w)
{
    struct msghdr *m = sends(w, -1);
    m->msg_iovlen = 1025;
    return m;
}
OP(o_accept_plain, aio_accept(w->busy))
OP(e_accept_plain, aio_accept(w->pair[0]))
OP(b_accept_plain, aio_accept(w->listener))
OP(o_connect, aio_connect(w->udp[0], to(w, w->udp[1]), sizeof(struct sockaddr_in)))
OP(e_connect, aio_connect(w->udp[0], 0, sizeof(struct sockaddr_in)))
OP(o_recv, aio_recv(w->udp[1], w->buf, 5, MSG_TRUNC))
OP(e_recv, aio_recv(w->fd, w->buf, 5, 0))
OP(b_recv, aio_recv(w->udp[0], w->buf, 5, 0))
OP(o_send, aio_send(w->pair[0], w->buf, 5, 0))
OP(e_send, aio_send(w->listener, w->buf, 5, 0))
OP(b_send, aio_send(w->pair[1], w->buf, 5, 0))
OP(o_socket, aio_socket(AF_INET, SOCK_STREAM, 0))
OP(e_socket, aio_socket(12345, SOCK_STREAM, 0))
OP(o_bind, aio_bind(w->pair[0], (struct sockaddr *)strcpy((char *)&w->locals, "\001"), 2))
OP(e_bind, aio_bind(w->udp[0], to(w, w->udp[1]), sizeof(struct sockaddr_in)))
OP(o_listen, aio_listen(w->listener, 5))
OP(e_listen, aio_listen(w->udp[0], 5))
OP(o_shutdown, aio_shutdown(w->pair[0], SHUT_WR))
OP(e_shutdown, aio_shutdown(w->fd, SHUT_WR))
OP(o_accept, aio_accept_from(w->busy, from(w), &w->from_length, SOCK_NONBLOCK))
OP(e_accept, aio_accept_from(w->busy, from(w), &w->from_length, 1))
OP(b_accept, aio_accept_from(w->listener, 0, 0, 0))
OP(o_sendto, aio_sendto(w->udp[1], w->buf, 5, 0, to(w, w->udp[0]), sizeof(struct sockaddr_in)))
OP(e_sendto, aio_sendto(w->udp[1], w->buf, 5, 0, to(w, w->udp[0]), 4000))
OP(b_sendto, aio_sendto(w->pair[1], w->buf, 5, 0, 0, 0))
OP(o_recvfrom, aio_recvfrom(w->udp[1], w->buf, sizeof w->buf, 0, from(w), &w->from_length))
OP(e_recvfrom, aio_recvfrom(w->fd, w->buf, sizeof w->buf, 0, from(w), &w->from_length))
OP(b_recvfrom, aio_recvfrom(w->udp[0], w->buf, sizeof w->buf, 0, from(w), &w->from_length))
OP(o_sendmsg, aio_sendmsg(w->pair[0], sends(w, w->fd), 0))
OP(e_sendmsg, aio_sendmsg(w->pair[0], too_many(w), 0))
OP(n_sendmsg, aio_sendmsg(w->pair[0], 0, 0))
OP(b_sendmsg, aio_sendmsg(w->pair[1], sends(w, w->fd), 0))
OP(o_recvmsg, aio_recvmsg(w->udp[1], receives(w), MSG_TRUNC))
OP(e_recvmsg, aio_recvmsg(w->fd, receives(w), 0))
OP(b_recvmsg, aio_recvmsg(w->udp[0], receives(w), 0))
OP(o_getsockopt, aio_getsockopt(w->listener, SOL_SOCKET, SO_TYPE, w->buf, sizeof w->buf))
OP(e_getsockopt, aio_getsockopt(w->listener, SOL_SOCKET, 9999, w->buf, sizeof w->buf))
static const int one_ = 1;
OP(o_setsockopt, aio_setsockopt(w->listener, SOL_SOCKET, SO_KEEPALIVE, &one_, sizeof one_))
OP(e_setsockopt, aio_setsockopt(w->fd, SOL_SOCKET, SO_KEEPALIVE, &one_, sizeof one_))
// --- others
OP(o_poll, aio_poll(w->data[0], POLLIN))
OP(e_poll, aio_poll(900, POLLIN))
OP(b_poll, aio_poll(w->empty[0], POLLIN))
OP(o_epoll_wait, aio_epoll_wait(w->epoll, w->events, 4))
OP(e_epoll_wait, aio_epoll_wait(w->fd, w->events, 4))
OP(n_epoll_wait, aio_epoll_wait(w->epoll, w->events, 0))
static aio_awaitable b_epoll_wait(struct world *w)
{
    epoll_ctl(w->epoll, EPOLL_CTL_DEL, w->data[0], 0);
    return aio_epoll_wait(w->epoll, w->events, 4);
}
OP(o_epoll_ctl, aio_epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->empty[1], w->events))
OP(e_epoll_ctl, aio_epoll_ctl(w->epoll, EPOLL_CTL_DEL, w->empty[1], 0))
OP(o_waitid, aio_waitid(P_PID, (id_t)w->child, &w->info, WEXITED))
OP(e_waitid, aio_waitid(P_PID, (id_t)getpid(), &w->info, WEXITED))
OP(b_waitid, aio_waitid(P_PID, (id_t)w->child, &w->info, WEXITED))
OP(e_futex_wait, aio_futex_wait(&w->word, 5, AIO_FUTEX_ANY, AIO_FUTEX_U32 | AIO_FUTEX_PRIVATE))
OP(b_futex_wait, aio_futex_wait(&w->word, 0, AIO_FUTEX_ANY, AIO_FUTEX_U32 | AIO_FUTEX_PRIVATE))
OP(o_futex_wake, aio_futex_wake(&w->word, 1, AIO_FUTEX_ANY, AIO_FUTEX_U32))
OP(e_futex_wake, aio_futex_wake(&w->word, 1, AIO_FUTEX_ANY, 0))
static struct futex_waitv *words(struct world *w, uint32_t value)
{
    memset(w->locals.words, 0, sizeof w->locals.words);
    w->locals.words[0].uaddr = (uint64_t)(uintptr_t)&w->other;
    w->locals.words[1].uaddr = (uint64_t)(uintptr_t)&w->word;
    w->locals.words[0].flags = w->locals.words[1].flags = AIO_FUTEX_U32;
    w->locals.words[1].val = value;
    return w->locals.words;
}
OP(e_futex_waitv, aio_futex_waitv(words(w, 5), 2))
OP(b_futex_waitv, aio_futex_waitv(words(w, 0), 2))
OP(n_futex_waitv, aio_futex_waitv(words(w, 0), 129))
OP(o_nop, aio_nop())
// Prepared by hand.
static aio_awaitable raw(struct world *w, unsigned opcode, int fd, void *addr, unsigned len,
                         uint64_t off)
{
    memset(&w->sqe, 0, sizeof w->sqe);
    io_uring_prep_rw((int)opcode, &w->sqe, fd, addr, len, off);
    return aio_uring_op(&w->sqe);
}
static void *second(struct world *w, int64_t s)
{
    w->time.tv_sec = s;
    w->time.tv_nsec = s ? 0 : 1000;
    return &w->time;
}
OP(o_timeout, raw(w, IORING_OP_TIMEOUT, -1, second(w, 0), 1, 0))
OP(e_timeout, raw(w, IORING_OP_TIMEOUT, -1, second(w, 0), 2, 0))
OP(b_timeout, raw(w, IORING_OP_TIMEOUT, -1, second(w, 1000), 1, 0))
OP(e_poll_remove, raw(w, IORING_OP_POLL_REMOVE, -1, w, 0, 0))
OP(o_msg_ring, aio_msg_ring(w->ring.ring_fd, 77, 5))
OP(e_msg_ring, aio_msg_ring(w->fd, 77, 5))
OP(e_install, aio_direct_install(3))

// --- what an operation has done
#define CHECK(name, condition) \
    static void name(struct world *w) { if (!(condition)) fail_msg("%s", #condition); }
static size_t content(struct world *w, char *out)
{
    ssize_t n = pread(w->fd, out, 63, 0);
    out[n < 0 ? 0 : n] = 0;
    return (size_t)n;
}
static bool file_is(struct world *w, const char *text)
{
    char now[64];
    content(w, now);
    return !strcmp(now, text);
}
static bool exists(struct world *w, const char *name)
{
    return !faccessat(w->dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW);
}
static bool has_attribute(struct world *w, const char *name)
{
    char value[8];
    return fgetxattr(w->fd, name, value, sizeof value) == 5;
}
static bool pipe_made(struct world *w)
{
    bool ok = fcntl(w->made[0], F_GETFD) == FD_CLOEXEC && (fcntl(w->made[1], F_GETFL) & O_NONBLOCK);
    close(w->made[0]);
    close(w->made[1]);
    return ok;
}
// The peer gets the bytes, and the descriptor that was passed.
static bool passed(struct world *w)
{
    struct msghdr *m = receives(w);
    int fd = -1;
    ssize_t n = recvmsg(w->pair[1], m, MSG_DONTWAIT);
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    if (n != 5 || !c || c->cmsg_type != SCM_RIGHTS) return false;
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return !close(fd);
}
CHECK(c_preadv, !memcmp(w->buf, "world", 5))
CHECK(c_pwritev, file_is(w, "hbuffeworld\n"))
static bool message_came(struct world *w)
{
    struct io_uring_cqe *cqe = 0;
    return io_uring_peek_cqe(&w->ring, &cqe) == 0 && cqe->user_data == 77 && cqe->res == 5;
}
CHECK(c_pwrite, file_is(w, "hbuffeworld\n"))
CHECK(c_recv, !memcmp(w->buf, "datag", 5))
CHECK(c_send, has_data(w->pair[1]))
CHECK(c_msg_ring, message_came(w))
CHECK(c_readv, !memcmp(w->buf, "piped", 5))
CHECK(c_writev, has_data(w->empty[0]))
CHECK(c_ftruncate, file_is(w, "hello"))
CHECK(c_splice, file_is(w, "hepipeworld\n"))
CHECK(c_tee, has_data(w->empty[0]) && has_data(w->data[0]))
CHECK(c_pipe, pipe_made(w))
CHECK(c_statx, w->stx.stx_size == 12)
CHECK(c_renamed, exists(w, "new") && !exists(w, "file"))
CHECK(c_unlinked, !exists(w, "file"))
CHECK(c_new, exists(w, "new") && exists(w, "file"))
CHECK(c_getxattr, !memcmp(w->buf, "alpha", 5))
CHECK(c_setxattr, has_attribute(w, "user.b"))
CHECK(c_accept, w->from_length == sizeof w->from && ntohs(w->from.sin_port) == port_of(w->client))
CHECK(c_udp, w->from_length == sizeof w->from && ntohs(w->from.sin_port) == port_of(w->udp[0]))
CHECK(c_recvmsg, ntohs(w->from.sin_port) == port_of(w->udp[0]) && !memcmp(w->buf, "datag", 5) &&
                 w->message.msg_namelen == sizeof w->from && !w->message.msg_controllen &&
                 (w->message.msg_flags & MSG_TRUNC))
CHECK(c_sendto, has_data(w->udp[0]))
CHECK(c_sendmsg, passed(w))
CHECK(c_getsockopt, w->buf[0] == SOCK_STREAM)
CHECK(c_epoll, w->events[0].data.fd == 77)
CHECK(c_waitid, w->info.si_status == 7 && w->info.si_pid == w->child)

static const struct row {
    const char *name, *op;          // op: AIO_URING_WITHOUT's name; null: never missing
    op_fn make;
    aio_result result;
    void (*check)(struct world *w);
    op_fn bad;
    aio_result error;
    op_fn null;                     // -EFAULT, -EINVAL
    op_fn blocked;                  // waits for ever
    int without;                    // with `op` missing: 0: the same; else this is all there is
    int child;
} rows[] = {
    { "nop", 0, o_nop, 0, 0, 0, 0, 0, 0, 0, 0 },
    { "timeout", 0, o_timeout, -ETIME, 0, e_timeout, -EINVAL, 0, b_timeout, 0, 0 },
    { "poll_remove", 0, e_poll_remove, -ENOENT, 0, 0, 0, 0, 0, 0, 0 },
    { "msg_ring", 0, o_msg_ring, 0, c_msg_ring, e_msg_ring, -EBADFD, 0, 0, 0, SECOND_RING },
    { "direct_install", 0, o_nop, 0, 0, e_install, -EBADF, 0, 0, 0, 0 },
    { "pread", 0, o_pread, 5, c_preadv, e_pread, -EINVAL, 0, 0, 0, 0 },
    { "pwrite", 0, o_pwrite, 5, c_pwrite, e_pwrite, -EBADF, 0, 0, 0, 0 },
    { "read_some", 0, o_read, 5, c_readv, e_read, -EISDIR, 0, b_read, 0, 0 },
    { "write_some", 0, o_write, 5, c_writev, e_write, -EBADF, 0, b_write, 0, 0 },
    { "accept", 0, o_accept_plain, A_DESCRIPTOR, 0, e_accept_plain, -EINVAL, 0, b_accept_plain, 0, 0 },
    { "connect", 0, o_connect, 0, 0, e_connect, -EINVAL, 0, 0, 0, 0 },
    { "recv", 0, o_recv, 8, c_recv, e_recv, -ENOTSOCK, 0, b_recv, 0, 0 },
    { "send", 0, o_send, 5, c_send, e_send, -EPIPE, 0, b_send, 0, 0 },
    { "socket", "socket", o_socket, A_DESCRIPTOR, 0, e_socket, -EAFNOSUPPORT, 0, 0, 0, 0 },
    { "bind", "bind", o_bind, 0, 0, e_bind, -EINVAL, 0, 0, 0, 0 },
    { "listen", "listen", o_listen, 0, 0, e_listen, -EOPNOTSUPP, 0, 0, 0, 0 },
    { "shutdown", 0, o_shutdown, 0, 0, e_shutdown, -ENOTSOCK, 0, 0, 0, 0 },
    { "openat", 0, o_openat, A_DESCRIPTOR, 0, e_openat, -ENOENT, 0, 0, 0, 0 },
    { "openat2", 0, o_openat2, A_DESCRIPTOR, 0, e_openat2, -ENOENT, n_openat2, 0, 0, 0 },
    { "preadv", 0, o_preadv, 5, c_preadv, e_preadv, -EINVAL, n_preadv, 0, 0, 0 },
    { "pwritev", 0, o_pwritev, 5, c_pwritev, e_pwritev, -EINVAL, 0, 0, 0, 0 },
    { "readv_some", 0, o_readv, 5, c_readv, e_readv, -EISDIR, 0, b_readv, 0, 0 },
    { "writev_some", 0, o_writev, 5, c_writev, e_writev, -EBADF, 0, b_writev, 0, 0 },
    { "sync_file", 0, o_sync, 0, 0, e_sync, -EINVAL, 0, 0, 0, 0 },
    { "sync_file_range", 0, o_sync_file_range, 0, 0, e_sync_file_range, -EINVAL, 0, 0, 0, 0 },
    { "fallocate", 0, o_fallocate, 0, 0, e_fallocate, -EINVAL, 0, 0, 0, 0 },
    { "ftruncate", "ftruncate", o_ftruncate, 0, c_ftruncate, e_ftruncate, -EINVAL, 0, 0, 0, 0 },
    { "fadvise", 0, o_fadvise, 0, 0, e_fadvise, -EINVAL, 0, 0, 0, 0 },
    { "madvise", 0, o_madvise, 0, 0, e_madvise, -EINVAL, 0, 0, 0, 0 },
    { "splice", 0, o_splice, 4, c_splice, e_splice, -EINVAL, 0, b_splice, 0, 0 },
    { "tee", 0, o_tee, 4, c_tee, e_tee, -EINVAL, 0, b_tee, 0, 0 },
    { "pipe", "pipe", o_pipe, 0, c_pipe, e_pipe, -EINVAL, 0, 0, 0, 0 },
    { "statx", 0, o_statx, 0, c_statx, e_statx, -ENOENT, 0, 0, 0, 0 },
    { "renameat", 0, o_renameat, 0, c_renamed, e_renameat, -ENOENT, n_renameat, 0, 0, 0 },
    { "unlinkat", 0, o_unlinkat, 0, c_unlinked, e_unlinkat, -ENOTDIR, 0, 0, 0, 0 },
    { "mkdirat", "mkdirat", o_mkdirat, 0, c_new, e_mkdirat, -EEXIST, n_mkdirat, 0, 0, 0 },
    { "linkat", "linkat", o_linkat, 0, c_new, e_linkat, -ENOENT, 0, 0, 0, 0 },
    { "symlinkat", "symlinkat", o_symlinkat, 0, c_new, e_symlinkat, -EEXIST, 0, 0, 0, 0 },
    { "getxattr", "getxattr", o_getxattr, 5, c_getxattr, e_getxattr, -ENODATA, n_getxattr, 0, 0, 0 },
    { "setxattr", "setxattr", o_setxattr, 0, c_setxattr, e_setxattr, -EEXIST, 0, 0, 0, 0 },
    { "fgetxattr", "fgetxattr", o_fgetxattr, 5, 0, e_fgetxattr, -ERANGE, 0, 0, 0, 0 },
    { "fsetxattr", "fsetxattr", o_fsetxattr, 0, c_setxattr, e_fsetxattr, -ENODATA, 0, 0, 0, 0 },
    { "accept_from", 0, o_accept, A_DESCRIPTOR, c_accept, e_accept, -EINVAL, 0, b_accept, 0, 0 },
    { "sendto", 0, o_sendto, 5, c_sendto, e_sendto, -EINVAL, 0, b_sendto, 0, 0 },
    { "recvfrom", 0, o_recvfrom, 8, c_udp, e_recvfrom, -ENOTSOCK, 0, b_recvfrom, 0, 0 },
    { "sendmsg", 0, o_sendmsg, 5, c_sendmsg, e_sendmsg, -EMSGSIZE, n_sendmsg, b_sendmsg, 0, 0 },
    { "recvmsg", 0, o_recvmsg, 8, c_recvmsg, e_recvmsg, -ENOTSOCK, 0, b_recvmsg, 0, 0 },
    { "getsockopt", "uring_cmd", o_getsockopt, 4, c_getsockopt, e_getsockopt, -ENOPROTOOPT, 0, 0, 0, 0 },
    { "setsockopt", "uring_cmd", o_setsockopt, 0, 0, e_setsockopt, -ENOTSOCK, 0, 0, 0, 0 },
    { "poll", 0, o_poll, POLLIN, 0, e_poll, -EBADF, 0, b_poll, 0, 0 },
    { "epoll_wait", "epoll_wait", o_epoll_wait, 1, c_epoll, e_epoll_wait, -EINVAL, n_epoll_wait, b_epoll_wait,
      0, 0 },
    { "epoll_ctl", "epoll_ctl", o_epoll_ctl, 0, 0, e_epoll_ctl, -ENOENT, 0, 0, 0, 0 },
    { "waitid", "waitid", o_waitid, 0, c_waitid, e_waitid, -ECHILD, 0, 0, 0, CHILD_ENDS },
    { "waitid of one that stays", "waitid", o_nop, 0, 0, 0, 0, 0, b_waitid, 0, CHILD_STAYS },
    { "futex_wait", "futex_wait", o_nop, 0, 0, e_futex_wait, -EAGAIN, 0, b_futex_wait, -EOPNOTSUPP, 0 },
    { "futex_waitv", "futex_waitv", o_nop, 0, 0, e_futex_waitv, -EAGAIN, n_futex_waitv, b_futex_waitv,
      -EOPNOTSUPP, 0 },
    { "futex_wake", "futex_wake", o_futex_wake, 0, 0, e_futex_wake, -EINVAL, 0, 0, 0, 0 },
};
enum { ROWS = sizeof rows / sizeof *rows };

// --- a world
static void put_file(struct world *w, const char *name)
{
    char all[128];
    snprintf(all, sizeof all, "%s/%s", w->dir, name);
    w->fd = open(all, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(w->fd, "hello world\n", 12), 12);
    fsetxattr(w->fd, "user.a", "alpha", 5, 0);
}
static int udp_socket(void)
{
    struct sockaddr_in a = loopback(0);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}
static pid_t child_of(int kind)
{
    bool wanted = kind == CHILD_ENDS || kind == CHILD_STAYS;
    pid_t pid = wanted ? fork() : 0;
    if (wanted && !pid) {
        if (kind == CHILD_STAYS) pause();
        _exit(7);
    }
    return pid;
}
static void world_init(struct world *w, const struct row *row)
{
    struct epoll_event event = { .events = EPOLLIN, .data.fd = 77 };
    memset(w, 0, sizeof *w);
    w->child = child_of(row->child);
    w->has_ring = row->child == SECOND_RING;
    if (w->has_ring) assert_int_equal(io_uring_queue_init(4, &w->ring, 0), 0);
    strcpy(w->dir, "/tmp/aio-test-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    w->dirfd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    put_file(w, "file");
    int ok = pipe2(w->full, O_CLOEXEC) | pipe2(w->empty, O_CLOEXEC) | pipe2(w->data, O_CLOEXEC) |
             pair_of(w->pair);
    assert_int_equal(ok, 0);
    fill(w->full[1]);
    fill(w->pair[1]);
    assert_int_equal(write(w->data[1], "pipedata", 8), 8);
    w->udp[0] = udp_socket();
    w->udp[1] = udp_socket();
    struct sockaddr_in a = loopback(port_of(w->udp[1]));
    assert_int_equal(sendto(w->udp[0], "datagram", 8, 0, (struct sockaddr *)&a, sizeof a), 8);
    w->listener = tcp_listener(4);
    w->busy = tcp_listener(4);
    w->client = tcp_client(port_of(w->busy));
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->data[0], &event);
    strcpy(w->buf, "buffer");
}
static void world_end(struct world *w)
{
    const int fds[] = {w->fd,      w->full[0],  w->full[1], w->empty[0], w->empty[1],
                       w->data[0], w->data[1],  w->pair[0], w->pair[1],  w->udp[0],
                       w->udp[1],  w->listener, w->busy,    w->client,   w->epoll};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) close(fds[i]);
    if (w->has_ring) io_uring_queue_exit(&w->ring);
    unlinkat(w->dirfd, "file", 0);
    if (unlinkat(w->dirfd, "new", 0) < 0) unlinkat(w->dirfd, "new", AT_REMOVEDIR);
    close(w->dirfd);
    assert_int_equal(rmdir(w->dir), 0);
    if (w->child) {
        kill(w->child, SIGKILL);
        waitpid(w->child, 0, 0);
    }
}
static void forget_locals(struct world *w) { memset(&w->locals, 'X', sizeof w->locals); }
// A descriptor that came is closed again; so are those of a message or of a pipe, by the check.
static aio_result settled(const struct row *row, aio_result r)
{
    if (row->result != A_DESCRIPTOR || r < 0) return r;
    int flags = fcntl((int)r, F_GETFD);
    close((int)r);
    return flags == FD_CLOEXEC ? A_DESCRIPTOR : -EBADMSG;
}
static void made_of_nothing(struct world *w, const struct row *row)
{
    if (row->make != o_pipe || !w->made[1]) return;
    close(w->made[0]);
    close(w->made[1]);
}

// --- success and errors
struct direct_await { aio_frame aio; struct world *w; op_fn op; };
aio_async(direct_await) {
    aio_result r;
    aio_await(r, self->op(self->w));
    return r;
} aio_end
struct as_op { aio_frame aio; struct world *w; op_fn op; aio_op it; };
aio_async(as_op) {
    aio_result r;
    if (aio_start(&self->it, self->op(self->w)) < 0) return -EBADE;
    forget_locals(self->w);
    aio_await(r, aio_op_wait(&self->it));
    return r;
} aio_end
struct limited { aio_frame aio; struct world *w; op_fn op; int64_t ns; };
aio_async(limited) {
    aio_result r;
    aio_await(r, aio_wait_for(self->ns, self->op(self->w)));
    return r;
} aio_end
enum how { DIRECTLY, AS_OP, LIMITED, HOWS };
static aio_result run_how(enum how how, struct world *w, op_fn op)
{
    struct aio_loop_options o = uring_options();
    switch (how) {
    case DIRECTLY: return aio_run_with(&o, direct_await, .w = w, .op = op);
    case AS_OP: return aio_run_with(&o, as_op, .w = w, .op = op);
    default: return aio_run_with(&o, limited, .w = w, .op = op, .ns = 10 * AIO_SECOND);
    }
}
static void expect(const struct row *row, enum how how, op_fn op, aio_result want,
                   void (*check)(struct world *))
{
    struct world w;
    world_init(&w, row);
    uring_begin();
    aio_result r = settled(row, run_how(how, &w, op));
    if (r != want)
        print_error("%s, way %d: %lld, not %lld\n", row->name, (int)how, (long long)r,
                    (long long)want);
    assert_true(r == want);
    if (check) check(&w);
    uring_check(__FILE__, __LINE__);
    world_end(&w);
}
static void row_success_and_errors(const struct row *row, bool missing)
{
    for (enum how how = DIRECTLY; how < HOWS; how++) {
        if (missing && row->without) {
            expect(row, how, row->blocked, row->without, 0);
            continue;
        }
        expect(row, how, row->make, row->result, row->check);
        if (row->bad) expect(row, how, row->bad, row->error, 0);
        if (!row->null) continue;
        struct world w;
        world_init(&w, row);
        uring_begin();
        aio_result r = run_how(how, &w, row->null);
        uring_check(__FILE__, __LINE__);
        if (r != -EFAULT && r != -EINVAL) fail_msg("%s with a null: %lld", row->name, (long long)r);
        world_end(&w);
    }
}
// Whether files here have attributes of users' (tmpfs: Linux 6.6).
static bool user_attributes(void)
{
    int fd = temp_file("");
    bool can = !fsetxattr(fd, "user.a", "a", 1, 0);
    close(fd);
    return can;
}
// What this kernel, or the file system of /tmp, cannot do at all.
static bool not_here(const struct row *row)
{
    const char *ring = getenv("AIO_RING");
    if (strstr(row->name, "xattr")) return !user_attributes();
    if (row->child == SECOND_RING && ring && !strcmp(ring, "epoll")) return true;
    return !strcmp(row->name, "direct_install") && !kernel_is(6, 8);    // t_uring_registered asks for it
}
static void each(void (*test)(const struct row *row, bool missing))
{
    for (int i = 0; i < ROWS; i++) {
        unsetenv("AIO_URING_WITHOUT");
        if (not_here(&rows[i])) continue;
        if (!rows[i].without || kernel_is(6, 7)) test(&rows[i], false);
        if (!rows[i].op) continue;
        setenv("AIO_URING_WITHOUT", rows[i].op, 1);
        test(&rows[i], true);
        unsetenv("AIO_URING_WITHOUT");
    }
}
static void success_and_errors(void **state)
{
    (void)state;
    each(row_success_and_errors);
}

// --- a cancel, at each moment: -ECANCELED comes out once, here or at the next await; no result is
// lost
struct victim { aio_frame aio; struct world *w; op_fn op; aio_result first, then; };
aio_async(victim) {
    aio_await(self->first, self->op(self->w));
    aio_await(self->then, aio_sleep(0));
    return 0;
} aio_end
struct killer { aio_frame aio; struct world *w; op_fn op; int moment; aio_result first, then; aio_task *t; };
aio_async(killer) {
    self->t = aio_spawn(victim, .w = self->w, .op = self->op);
    aio_await(aio_sleep(0));
    forget_locals(self->w);
    if (self->moment == 1) uring_post_now();
    if (self->moment == 2) aio_await(aio_sleep(2 * AIO_MSEC));
    aio_task_cancel(self->t);
    while (!aio_task_done(self->t)) aio_await(aio_sleep(AIO_MSEC));
    self->first = aio_task_frame(victim, self->t)->first;
    self->then = aio_task_frame(victim, self->t)->then;
    aio_detach(self->t);
    return self->first;
} aio_end
static void cancelled_at(const struct row *row, op_fn op, int moment, bool blocked)
{
    struct world w;
    world_init(&w, row);
    uring_begin();
    aio_loop loop;
    struct aio_loop_options o = uring_options();
    aio_result first, then;
    assert_result(aio_loop_init(&loop, &o), 0);
    aio_task *t = aio_spawn_on(&loop, killer, .w = &w, .op = op, .moment = moment);
    aio_loop_run_until_complete(&loop, aio_task_future(t));
    first = settled(row, aio_task_frame(killer, t)->first);
    then = aio_task_frame(killer, t)->then;
    aio_detach(t);
    aio_loop_close(&loop);
    bool once = first == -ECANCELED || then == -ECANCELED || (moment == 2 && !blocked);
    bool sound = first == -ECANCELED || (!blocked && first == row->result);
    if (!once || !sound)
        fail_msg("%s cancelled at %d: %lld, then %lld", row->name, moment, (long long)first,
                 (long long)then);
    if (first >= 0) made_of_nothing(&w, row);
    uring_check(__FILE__, __LINE__);
    world_end(&w);
}
static void row_cancel(const struct row *row, bool missing)
{
    if (missing && row->without) return;
    for (int moment = 0; moment < 3; moment++) {
        if (row->blocked) cancelled_at(row, row->blocked, moment, true);
        cancelled_at(row, row->make, moment, false);
    }
}
static void contract_3_cancel_at_each_moment(void **state)
{
    (void)state;
    each(row_cancel);
}

// --- limits, frames that return, loops that close
static void row_limit(const struct row *row, bool missing)
{
    struct world w;
    if (!row->blocked || (missing && row->without)) return;
    world_init(&w, row);
    assert_result(run(limited, .w = &w, .op = row->blocked, .ns = AIO_MSEC), -ETIMEDOUT);
    world_end(&w);
}
static void wait_for_over_each(void **state)
{
    (void)state;
    each(row_limit);
}
struct leaves { aio_frame aio; struct world *w; op_fn op; int turns; aio_op it; };
aio_async(leaves) {
    if (aio_start(&self->it, self->op(self->w)) < 0) return -EBADE;
    forget_locals(self->w);
    while (self->turns--) aio_await(aio_sleep(AIO_MSEC / 2));
    return 5;
} aio_end
struct detaches { aio_frame aio; struct world *w; op_fn op; int turns; };
aio_async(detaches) {
    aio_detach(aio_spawn(direct_await, .w = self->w, .op = self->op));
    while (self->turns--) aio_await(aio_sleep(0));
    return 6;
} aio_end
// An op that nobody takes; then a loop that is closed over a task without asking it.
static void over(const struct row *row, op_fn op, int turns)
{
    struct world w;
    world_init(&w, row);
    assert_result(run(leaves, .w = &w, .op = op, .turns = turns), 5);
    world_end(&w);
    world_init(&w, row);
    uring_begin();
    aio_loop loop;
    struct aio_loop_options o = uring_options();
    assert_result(aio_loop_init(&loop, &o), 0);
    aio_task *t = aio_spawn_on(&loop, detaches, .w = &w, .op = op, .turns = turns);
    aio_loop_run_until_complete(&loop, aio_task_future(t));
    aio_detach(t);
    aio_loop_close(&loop);
    made_of_nothing(&w, row);
    bool task_took_it = row->result == A_DESCRIPTOR;    // its last frame gave it up as its result
    if (!task_took_it) uring_check(__FILE__, __LINE__);
    world_end(&w);
}
static void row_over(const struct row *row, bool missing)
{
    if (missing && row->without) return;
    for (int turns = 1; turns < 3; turns++) {
        if (row->blocked) over(row, row->blocked, turns);
        else if (row->result >= 0 && row->result != A_DESCRIPTOR) over(row, row->make, turns);
    }
}
static void contract_6_and_11_ends_over_each(void **state)
{
    (void)state;
    each(row_over);
}

// --- the n-th allocation fails, and each later one
static bool with_allocations(const struct row *row, op_fn op, long fail_from)
{
    struct world w;
    world_init(&w, row);
    uring_begin();
    uring_memory.fail_from = fail_from;
    expect_reports();
    aio_result r = settled(row, run_how(AS_OP, &w, op));
    if (r >= 0 && op == o_pipe) made_of_nothing(&w, row);
    if (r != row->result && r != -ENOMEM)
        fail_msg("%s without memory from %ld on: %lld", row->name, fail_from, (long long)r);
    bool enough = uring_memory.calls + 1 < fail_from;
    uring_check(__FILE__, __LINE__);
    world_end(&w);
    return enough;
}
static void row_memory(const struct row *row, bool missing)
{
    if (missing && row->without) return;
    for (long n = 1; n < 40 && !with_allocations(row, row->make, n); n++) {}
}
static void no_memory_from_the_nth_allocation_on(void **state)
{
    (void)state;
    each(row_memory);
}

// --- each error that the kernel can give
static const int errors[] = {ECANCELED,  EINTR,      512,       EINVAL,  EPERM, EIO,    EAGAIN,
                             ENOMEM,     ECONNRESET, ETIMEDOUT, ENOBUFS, EPIPE, EMFILE, ENOSPC,
                             EOPNOTSUPP, 513,        514,       515,     516};
static void row_errors(const struct row *row, bool missing)
{
    const char *rung = getenv("AIO_URING_LEVEL");       // there the first few are enough
    size_t n = rung ? 4 : sizeof errors / sizeof *errors;
    if (missing) return;
    for (size_t i = 0; i < n; i++) {
        struct world w;
        world_init(&w, row);
        uring_begin();
        uring_fake.opcode = -1;
        uring_fake.result = -errors[i];
        uring_fake.done = uring_fake.skip = 0;
        uring_hook.enter = uring_fake_enter;
        aio_result r = settled(row, run_how(AS_OP, &w, row->make));
        uring_hook.enter = 0;
        if (uring_fake.done ? r != uring_seen(-errors[i]) : r != row->result)
            fail_msg("%s: the kernel says %d, the await %lld", row->name, -errors[i], (long long)r);
        made_of_nothing(&w, row);
        uring_check(__FILE__, __LINE__);
        world_end(&w);
    }
}
static void hazard_17_each_error_of_each_operation(void **state)
{
    (void)state;
    each(row_errors);
}

// --- no room in the ring, and the kernel takes nothing for a while: a backlog
static int refusals;
static int refusing_enter(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                          sigset_t *extra, size_t size)
{
    if (refusals && refusals--) return refusals & 1 ? -EAGAIN : -EBUSY;
    return io_uring_enter2(fd, submit, wait, flags, extra, size);
}
struct nop { aio_frame aio; };
aio_async(nop) {
    aio_try(aio_nop());
    return 0;
} aio_end
struct behind { aio_frame aio; struct world *w; op_fn op; bool cancel; aio_op it; };
aio_async(behind) {
    aio_result r;
    aio_try(aio_nop());
    refusals = 20;
    for (uint32_t i = 0; i < uring_of_loop()->sq_entries; i++) aio_detach(aio_spawn(nop));
    aio_try(aio_sleep(0));
    if (aio_start(&self->it, self->op(self->w)) < 0) return -EBADE;
    if (self->it.waiter.node.cls->kind == AIO__WAIT_URING)
        assert_non_null(uring_of_loop()->backlog);
    forget_locals(self->w);
    if (self->cancel) aio_op_cancel(&self->it);
    aio_await(r, aio_op_wait(&self->it));
    return r;
} aio_end
static void row_behind(const struct row *row, bool missing)
{
    if (missing && row->without) return;
    for (int cancel = 0; cancel < 2; cancel++) {
        struct world w;
        world_init(&w, row);
        struct aio_loop_options o = uring_options();
        uring_begin();
        uring_hook.enter = refusing_enter;
        aio_result r =
            settled(row, aio_run_with(&o, behind, .w = &w, .op = row->make, .cancel = cancel));
        uring_hook.enter = 0;
        if (r != row->result && !(cancel && r == -ECANCELED))
            fail_msg("%s behind a full ring: %lld", row->name, (long long)r);
        if (!cancel && row->check) row->check(&w);
        if (cancel) made_of_nothing(&w, row);
        uring_check(__FILE__, __LINE__);
        world_end(&w);
    }
}
static void hazard_31_each_operation_behind_a_full_ring(void **state)
{
    (void)state;
    each(row_behind);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(success_and_errors),
        cmocka_unit_test(contract_3_cancel_at_each_moment),
        cmocka_unit_test(wait_for_over_each),
        cmocka_unit_test(contract_6_and_11_ends_over_each),
        cmocka_unit_test(no_memory_from_the_nth_allocation_on),
        cmocka_unit_test(hazard_17_each_error_of_each_operation),
        cmocka_unit_test(hazard_31_each_operation_behind_a_full_ring),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
