// aio_io_uring.h - the world for aio.h: files, sockets and every io_uring operation, awaitable.
// SPDX-License-Identifier: MIT
//
// Plugs io_uring into the loop of aio_loop.h. One system call per turn submits what the turn
// prepared, waits, and reaps. Link with -luring (2.3 or newer).
//
//     struct echo { aio_frame aio; int fd; char buf[4096]; };
//
//     aio_async(echo) {
//         aio_result n;
//         for (;;) {
//             aio_await(n, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
//             if (n <= 0) break;
//             aio_await(n, aio_send_all(self->fd, self->buf, (size_t)n, 0));
//             if (n < 0) break;
//         }
//         aio_await(aio_close(self->fd));
//         return 0;
//     } aio_end
//
// INDEX
//   ring         aio_uring_attach aio_uring_report aio_uring_op aio_io_with aio_nop
//   sockets      aio_socket aio_bind aio_listen aio_accept aio_accept_from aio_connect aio_recv
//                aio_send aio_send_all aio_recvfrom aio_sendto aio_recvmsg aio_sendmsg
//                aio_getsockopt aio_setsockopt aio_shutdown aio_listen_tcp aio_listen_tcp_with
//                aio_connect_tcp aio_connect_tcp_with aio_listen_unix aio_listen_unix_with
//                aio_connect_unix aio_udp_bind aio_udp_connect
//                aio_send_zc aio_send_zc_all aio_sendmsg_zc
//   files        aio_openat aio_openat2 aio_pread aio_pwrite aio_pwrite_all aio_preadv aio_pwritev
//                aio_read_some aio_write_some aio_write_all aio_readv_some aio_writev_some
//                aio_sync_file aio_sync_file_range aio_fallocate aio_ftruncate aio_fadvise
//                aio_madvise aio_splice aio_tee aio_pipe aio_close
//   names        aio_statx aio_renameat aio_unlinkat aio_mkdirat aio_linkat aio_symlinkat
//                aio_getxattr aio_setxattr aio_fgetxattr aio_fsetxattr
//   registered   aio_buffers_register aio_buffers_unregister aio_direct_register
//                aio_direct_unregister aio_direct_put aio_direct_close aio_direct_install
//   resolver     aio_getaddrinfo aio_gai_strerror
//   others       aio_poll aio_epoll_wait aio_epoll_ctl aio_waitid aio_futex_wait aio_futex_waitv
//                aio_futex_wake aio_msg_ring
//   processes    aio_process_spawn aio_process_wait aio_process_communicate aio_process_kill
//                aio_process_close_stdin aio_process_signal
//   servers      aio_serve aio_server_stop
//   streams      aio_stream_open aio_stream_read aio_stream_read_exactly aio_stream_read_line
//                aio_stream_read_until aio_stream_read_until_any aio_stream_skip_until
//                aio_stream_at_eof
//                aio_stream_write aio_stream_writev aio_stream_write_nowait aio_stream_drain
//                aio_stream_unsent aio_stream_write_eof aio_stream_close aio_stream_abort
//   iterators    aio_accept_many aio_recv_many aio_recvmsg_many aio_read_many aio_poll_many
//                aio_buffer_release
//   chains       aio_chain_init aio_chain_add aio_chain_add_hard aio_chain_run aio_chain_result
//   buffers      aio_buffer_ring_init aio_buffer_ring_init_over aio_buffer_ring_close
//
// RULES
//   Buffers  Must stay until the await returns: put them in the frame, never in a local. Paths and
//            addresses may be locals: they are copied.
//   Cancel   A cancelled operation ends when the kernel has let go of it. If it was done already,
//            its result comes out, and the -ECANCELED at the next await: no byte and no descriptor
//            is lost.
//   Order    Do not run two recv, or two send, on one stream at a time: the kernel may swap them.
//   Errors   Negative errno. -EBADF also when aio_close ended the operation. -ENOMEM: no memory to
//            remember it. The first operation attaches a ring; refused, it gives that errno, and
//            on_error one sentence that says why and what to do.
//   Kernel   5.12 at least; what a newer one offers is used, decided at run time.
#ifndef AIO_IO_URING_H
#define AIO_IO_URING_H

// ------------------------------------------------------------------------------------- >>config
// Entries of a ring that is attached by itself. The kernel charges their memory to RLIMIT_MEMLOCK;
// where that is too small they are halved until it fits.
#ifndef AIO_URING_SQ_ENTRIES
#  define AIO_URING_SQ_ENTRIES 256
#endif
#ifndef AIO_URING_CQ_ENTRIES
#  define AIO_URING_CQ_ENTRIES 2048
#endif
// AIO_VALGRIND: the toolkit's buffers begin as zeros. valgrind does not see that the kernel writes
// to them, and takes what was received for garbage.

// ----------------------------------------------------------------------------------- >>includes
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE
#endif
#include <signal.h>
#ifndef SIG_BLOCK
#  error "aio_io_uring.h: POSIX is hidden. Include it first, or use -D_GNU_SOURCE or -std=gnu11."
#endif
#include <liburing.h>           // before <linux/io_uring.h>, which may be older
// The loop calls this backend by name: an indirect call beside a system call is mispredicted, 6 ns.
struct aio_loop;
static inline void aio__uring_wait(struct aio_loop *loop, int64_t timeout_ns);
#define AIO__BACKEND_WAIT aio__uring_wait
#include "aio_loop.h"
#include <arpa/inet.h>          // inet_pton
#include <fcntl.h>              // AT_FDCWD, O_CLOEXEC
#include <linux/futex.h>
#include <net/if.h>             // if_nametoindex
#include <netdb.h>              // getaddrinfo
#include <sched.h>              // clone
#include <netinet/in.h>
#include <netinet/tcp.h>        // TCP_NODELAY
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>           // flock
#include <sys/ioctl.h>          // TIOCSCTTY
#include <sys/mman.h>
#include <sys/resource.h>       // RLIMIT_MEMLOCK, for a refusal's reason
#include <sys/socket.h>
#include <sys/stat.h>           // struct statx
#include <sys/syscall.h>        // SYS_futex, SYS_pidfd_open
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>           // waitid
#include <sys/xattr.h>
#if defined __GLIBC__ && !defined __USE_GNU     // another header came first, without _GNU_SOURCE
#  include <linux/sched.h>      // CLONE_VM
extern int pipe2(int fds[2], int flags);
extern int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
extern char **environ;
extern int sync_file_range(int fd, off_t offset, off_t length, unsigned flags);
extern void *memmem(const void *, size_t, const void *, size_t);
extern int posix_openpt(int flags);
extern int grantpt(int fd);
extern int unlockpt(int fd);
extern int ptsname_r(int fd, char *name, size_t size);
extern int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags);
extern ssize_t preadv2(int fd, const struct iovec *pieces, int n, off_t offset, int flags);
extern ssize_t pwritev2(int fd, const struct iovec *pieces, int n, off_t offset, int flags);
extern int fallocate(int fd, int mode, off_t offset, off_t length);
extern ssize_t splice(int in, off_t *in_at, int out, off_t *out_at, size_t length, unsigned flags);
extern ssize_t tee(int in, int out, size_t length, unsigned flags);
#  ifndef O_DIRECT
#    define O_DIRECT __O_DIRECT
#  endif
#endif

// -------------------------------------------------------------------------------------- >>types
typedef struct aio_uring aio_uring;     // a loop's ring

// Who carries the operations out. ANY: io_uring; where the system refuses that, epoll, if
// aio_epoll.h lies beside this file. AIO_RING=io_uring or epoll in the environment decides before
// all else.
enum { AIO_KERNEL_ANY, AIO_KERNEL_IO_URING, AIO_KERNEL_EPOLL };

// Zero is the default of every field.
struct aio_uring_options {
    unsigned sq_entries;        // bounds one submission; AIO_URING_SQ_ENTRIES
    unsigned cq_entries;        // bounds what completes between two turns; AIO_URING_CQ_ENTRIES
    unsigned workers;           // most kernel threads for what is no regular file (splice …): 64
    const char *allow;          // "accept,recv,send": the kernel refuses all else; null: nothing
    int kernel;                 // AIO_KERNEL_…
};

// A buffered stream over one or two descriptors. All zero: not open. Its members are private.
typedef struct aio_stream aio_stream;

// Zero is the default of every field.
struct aio_stream_options {
    size_t read_limit;          // what a line, or what ends with a separator, may take: 64 KiB
    size_t write_high;          // with more than this unsent a write waits: 64 KiB
    size_t write_low;           // until this is left: a quarter of write_high
};

// Zero is the default of every field.
struct aio_listen_options {
    int backlog;                // connections that may wait to be accepted: 4096
    bool reuse_port;            // TCP: several sockets share the port, one per loop
    bool v6only;                // TCP: an IPv6 socket takes no IPv4
    bool delay;                 // TCP: small pieces may wait for more (Nagle's algorithm)
    mode_t mode;                // Unix: of the file; 0: as the umask says
};

// A server's books. All zero is a valid start.
typedef struct aio_server {
    uint32_t limit;             // to be set: most connections at a time; 0: no limit
    uint32_t live;              // to be read: connections whose handler runs
    uint64_t accepted, refused; // to be read: since aio_serve began; refused: no memory, closed
    uint64_t lost;              // likewise: handlers ended with -ECONNRESET or -EPIPE, not reported
    struct aio__serving *serving;       // private: null: it does not serve
    struct aio__served *first;
    aio_event changed;
    int64_t drain_ns;
} aio_server;

// Bytes in a stream's buffer, or a separator.
typedef struct aio_bytes { const char *data; size_t size; } aio_bytes;

// An operation that no task waits for. Its completions go to a function of the toolkit's: several,
// if they have F_MORE.
struct aio__sink {
    // Runs in the reap, or inside aio__sink_cancel: no code of the user's. Without F_MORE in
    // cqe_flags it is the last call, and the sink may be submitted again, or freed.
    void (*done)(aio_uring *u, struct aio__sink *s, aio_result res, uint32_t cqe_flags);
    struct aio__sink *next, *prev;      // in the ring's list, while it is in flight
    uint64_t user_data, info;           // as a waiter's; user_data 0: not in flight
};
typedef struct aio_many aio_many;
typedef struct aio_chain aio_chain;
typedef struct aio_buffer_ring aio_buffer_ring;

// An operation that completes many times, an iterator: consumed with aio_next. All zero: not open.
struct aio_many {
    aio_frame aio;
    // The value that the last aio_next gave.
    aio_result value;           // aio_gen_value: a descriptor, a number of bytes, events
    char *data;                 // these bytes, until the next aio_next or aio_buffer_release
    struct msghdr message;      // aio_recvmsg_many: name, control and flags; in the same buffer
    // Private from here.
    struct aio__sink sink;
    aio_scope scope;
    aio_task *owner;
    aio_handle retry;           // after EMFILE
    aio_uring *ring;            // null: not open
    struct aio__buffers *buffers;
    aio_many *next_on_fd, *next_waiting;    // waiting: for a buffer, or for a descriptor
    aio_waiter *waiter, *closer, *leaver;   // in aio_next, in aio_gen_close, in the frame's return
    aio_result end;             // how it ended; AIO_PENDING: it goes on
    aio_result fault;           // an error to give once
    int *accepted;              // a ring of descriptors that nobody has asked for yet
    void *own;                  // a message's name and control, if not in its buffer; what a file
                                // or a terminal gave
    struct msghdr ask;
    struct iovec vector;
    uint32_t head, queued, capacity, events, asked, strikes, control_bytes;
    int fd;
    uint16_t first, last, held, taken;      // buffers: queued, of the value, of the operation
    uint8_t what, mode;
    bool woken, holds, empty, ready, proven, solo;  // solo: reads into `own`
    bool full, starved, paused, told, fd_closed, closing;
};

// Operations that run one after the other without a turn between them. All zero: not open.
enum { AIO_CHAIN_STEPS = 8 };
struct aio__step {
    aio_node told;                  // on its waiter's list
    union { aio_awaitable awaitable; aio_waiter waiter; } u;    // before and after it has begun
    aio_chain *chain;
    uint32_t expect;                // bytes without which it has failed; UINT32_MAX: any will do
    bool hard, started, plain;   // plain: its awaitable is an entry as it is
    bool goes_on;                       // the kernel would run the next one though it fails
    bool held;                          // has not begun: an aio_close finds its descriptor
    int refusal;                        // why it will not begin
};
struct aio_chain {
    aio_scope scope;
    aio_task *owner;
    aio_uring *ring;                // private: all
    aio_chain *next;                // open ones of the ring
    aio_waiter *waiter, *leaver;    // in aio_chain_run, in the frame's return
    aio_result fault;               // why it cannot run
    uint32_t count, left, at;       // at: the next to begin
    void *kept;                     // copies for steps that begin later
    uint32_t kept_class;
    bool busy, ran, broken, cancelled, cancel_owed, cut;
    struct aio__step steps[AIO_CHAIN_STEPS];
};

// Buffers that several iterators take from. All zero: not open.
struct aio_buffer_ring { struct aio__buffers *buffers; };      // private
struct aio__buffers {
    aio_uring *ring;
    char *memory;
    struct io_uring_buf *entries;   // shared with the kernel; null: it has no such rings
    struct aio__buffer *info;
    aio_many *starved, *last_starved;
    struct aio__buffers *next;
    void *block;
    uint32_t size, count, mask, free, users;
    uint16_t tail, group, first_free;
};
// A descriptor that a process has: who takes it over clears it there.
struct aio__owned { struct aio__owned *next; int fd, *at; };
// A process that a frame has begun. All zero: none.
typedef struct aio_process {
    pid_t pid;                  // as long as it was not reaped, nobody else has this number
    int stdin_, stdout_, stderr_;   // our ends of its pipes, or -1. The process's: closed with it,
    int pty;                    // and this, our side of its terminal; aio_close and aio_stream_open
                                // take them over, and leave -1
    // Private from here.
    aio_scope scope;
    aio_task *owner;            // null: none
    struct aio_process *next, *prev;    // of the ring's; until the frame has returned
    struct aio__sink sink;      // polls pidfd; -1: it was reaped
    aio_future ended;
    int pidfd;
    pid_t parent;
    struct aio__owned owned[4];
} aio_process;

// For stdin_, stdout_, stderr_ of the options; a number above 0 is a descriptor of the caller's.
enum {
    AIO_PROCESS_INHERIT = 0,    // the caller's, if not close-on-exec; with `pty` the terminal
    AIO_PROCESS_PIPE = -1,
    AIO_PROCESS_NULL = -2,      // /dev/null
    AIO_PROCESS_STDOUT = -3,    // stderr_: where stdout_ goes
};
struct aio_process_options {
    char *const *argv;          // a null at its end; argv[0] is looked for in the PATH of its env
    int stdin_, stdout_, stderr_;
    bool pty;                   // a terminal of its own, which controls its new session
    bool new_session, new_group;    // setsid; setpgid
    const char *cwd;            // its working directory; null: the caller's
    char *const *env;           // a null at its end; null: the caller's
};
// What aio_process_communicate sends and collects. `output` and `errors` have room for so many
// bytes; the counts are what there was: what did not fit was read and dropped.
struct aio_process_io {
    const void *input;
    size_t input_bytes;
    void *output;
    size_t output_bytes;
    void *errors;
    size_t errors_bytes;
    size_t input_count, output_count, errors_count;
};

struct aio_connect_options {
    int64_t attempt_delay_ns;   // until the next address is tried as well: 250 ms
    int family;                 // AF_INET or AF_INET6: only this one
};

// ---------------------------------------------------------------------------------------- >>api

// --- ring

// Gives the loop its ring now, instead of at its first operation. options may be null.
// Result: 0; -EALREADY: it has one; -ENOMEM, -EMFILE …: something is wanting; -EBADFD: the loop is
// closed. Where io_uring is refused (-ENOSYS, -EPERM, -EACCES, -EINVAL, -EOPNOTSUPP) all loops of
// the process use epoll instead, once and for all; without aio_epoll.h that error is the result,
// and on_error is told why and what to do. A process that has had an io_uring stays with it.
// With `allow` the ring is restricted for good before it is enabled (Linux 5.10): operations other
// than those, by their names in aio_uring_report, and the loop's own (nop, poll_add, poll_remove,
// async_cancel) give -EACCES, also to whoever takes the program over. An unknown name: -EINVAL.
// Thread: the one that will run the loop. AIO_URING_LEVEL=2..4 and AIO_URING_ENTRIES in the
// environment force an older kernel's flags and a small ring, for tests.
AIO_FN aio_result aio_uring_attach(aio_loop *loop, const struct aio_uring_options *options);

// Prints what this kernel and this liburing offer, the rung of set-up flags in use, and for each
// operation how it runs: by the ring, by a plain system call, by a thread of the pool, or not at
// all, and why. Thread: the loop's. AIO_URING_WITHOUT=waitid,pipe,… in the environment pretends
// that the kernel lacks these, if they are newer than 5.12: for tests.
AIO_FN void aio_uring_report(aio_loop *loop, FILE *to);

// Awaitable: any operation of which `sqe` is prepared (io_uring_prep_…); user_data is ours. The sqe
// is copied; what it points to must stay until the await returns. Result: its res.
// Errors: -EINVAL for multishot, linked, draining, buffer-selecting or skipping entries: one entry
// is one result here.
AIO_FN AIO_NODISCARD aio_awaitable aio_uring_op(const struct io_uring_sqe *sqe);

// aio_io_with(awaitable, options)   awaitable
// The same operation with options, or-ed together: aio_io_with(aio_recv(0, buf, n, 0),
// AIO_IO_DIRECT | AIO_IO_POLL_FIRST). Result: as without them, and -EINVAL where an option makes no
// sense; -EOPNOTSUPP where the kernel lacks it.
// For every single operation; not for what is made of several (…_all, …_tcp, aio_close).
enum {
    AIO_IO_DIRECT = 1,          // the descriptor is a slot of aio_direct_register
    AIO_IO_ASYNC = 2,           // on a kernel thread from the start: does not delay the others
    AIO_IO_POLL_FIRST = 4,      // recv, send … (5.19), accept (6.10): it will wait, do not try
};
// pread, pwrite, preadv, pwritev: the memory is inside buffer `index` of aio_buffers_register.
#define AIO_IO_BUFFER(index) (UINT64_C(8) | ((uint64_t)(index) << 8 & UINT64_C(0xffffff00)))
// openat, openat2, socket, accept: what is opened goes into that slot (5.15), or into any free one
// (5.19), and not into the process's table. Result: the slot. Lost, it is closed.
#define AIO_IO_INTO(slot) (UINT64_C(16) | (((uint64_t)(slot) + 1) << 32))
#define AIO_IO_INTO_ANY (UINT64_C(16) | (UINT64_C(0xffffffff) << 32))
AIO_INLINE AIO_NODISCARD aio_awaitable aio_io_with(aio_awaitable a, uint64_t options);

// Awaitable: nothing, through the ring. Result: 0.
AIO_INLINE AIO_NODISCARD aio_awaitable aio_nop(void);

// --- sockets. The calls that cannot block (socket, bind, listen, shutdown, socket options) are
// plain system calls and do not suspend; on direct descriptors the ring does them.

// Awaitable: a socket, close-on-exec. Result: the descriptor. Lost, it is closed.
AIO_FN AIO_NODISCARD aio_awaitable aio_socket(int domain, int type, int protocol);
// Awaitables. Result: 0. Lifetime: `address` may be a local.
AIO_FN AIO_NODISCARD aio_awaitable aio_bind(int fd, const struct sockaddr *address,
                                            socklen_t length);
AIO_FN AIO_NODISCARD aio_awaitable aio_listen(int fd, int backlog);
AIO_FN AIO_NODISCARD aio_awaitable aio_connect(int fd, const struct sockaddr *address,
                                               socklen_t length);
// how: SHUT_RD, SHUT_WR, SHUT_RDWR.
AIO_FN AIO_NODISCARD aio_awaitable aio_shutdown(int fd, int how);

// Awaitable: the next connection. Result: its descriptor, close-on-exec; -EMFILE leaves it waiting.
AIO_INLINE AIO_NODISCARD aio_awaitable aio_accept(int fd);

// Awaitable: the same, with the peer's address and flags (SOCK_NONBLOCK).
// Lifetime: `address` and `length` are written at the end and must stay; both may be null.
AIO_FN AIO_NODISCARD aio_awaitable aio_accept_from(int fd, struct sockaddr *address,
                                                   socklen_t *length, int flags);

// Awaitables. Result: bytes; recv: 0 when the peer is done. A send may be short; never SIGPIPE.
AIO_INLINE AIO_NODISCARD aio_awaitable aio_recv(int fd, void *buf, size_t len, int flags);
AIO_INLINE AIO_NODISCARD aio_awaitable aio_send(int fd, const void *buf, size_t len, int flags);

// aio_send_all(fd, buf, len, flags [, &done])   awaitable
// Result: len, or an error, never a short count. done (size_t *) always holds what was sent.
#define aio_send_all(fd, buf, len, ...) \
    aio__send_all(fd, buf, len, AIO__FIRST_TWO(__VA_ARGS__, ((size_t *)0), 0))

// Awaitables: datagrams. Result: bytes; a datagram that is larger than the buffer is cut.
// Lifetime: sendto's address may be a local. recvfrom writes address and length at the end: they
// must stay; both may be null.
AIO_FN AIO_NODISCARD aio_awaitable aio_sendto(int fd, const void *buf, size_t len, int flags,
                                              const struct sockaddr *address, socklen_t length);
AIO_FN AIO_NODISCARD aio_awaitable aio_recvfrom(int fd, void *buf, size_t len, int flags,
                                                struct sockaddr *address, socklen_t *length);
// Awaitables: sendmsg(2), recvmsg(2), with ancillary data. Result: bytes; -EMSGSIZE: more than 1024
// pieces. Received descriptors are close-on-exec; lost with their result, they are closed.
// Lifetime: sendmsg copies the header, the name, the array of pieces and the ancillary data: locals
// will do. recvmsg copies the array of pieces; it writes msg_namelen, msg_controllen and msg_flags
// at the end: the header, its name and its control buffer must stay.
AIO_FN AIO_NODISCARD aio_awaitable aio_sendmsg(int fd, const struct msghdr *message, int flags);
AIO_FN AIO_NODISCARD aio_awaitable aio_recvmsg(int fd, struct msghdr *message, int flags);

// Awaitables: socket options; they do not suspend. Result of get: the length of the value; of set:
// 0. With AIO_IO_DIRECT the ring does it (6.7; get: SOL_SOCKET alone) and `value` must stay.
AIO_FN AIO_NODISCARD aio_awaitable aio_getsockopt(int fd, int level, int option, void *value,
                                                  socklen_t size);
AIO_FN AIO_NODISCARD aio_awaitable aio_setsockopt(int fd, int level, int option,
                                                  const void *value, socklen_t size);

// Awaitable: a listening TCP socket on an IPv4 or IPv6 address, or a name: on the first of its
// addresses that there is; "" or null: all of both families; port 0: any. Result: its descriptor
// (reusable address, no delay, backlog 4096); -EADDRINUSE, -EACCES, -EADDRNOTAVAIL; those of
// aio_getaddrinfo; -EINVAL: not a port, or a name in an op (spawn a task).
AIO_FN AIO_NODISCARD aio_awaitable aio_listen_tcp(const char *host, int port);
// Awaitable: a connection to an address, or to a name: then its addresses are tried, the families
// taking turns, a new one each 250 ms and whenever one fails; the first that answers wins, the
// others are closed (RFC 8305, "Happy Eyeballs"). Result: its descriptor (no delay); the most
// telling error of all: -ECONNREFUSED before -ETIMEDOUT before -EHOSTUNREACH; those of
// aio_getaddrinfo; -EINVAL: not a port, or a name in an op (spawn a task). At most 16 addresses.
// Lifetime: all may be locals.
AIO_FN AIO_NODISCARD aio_awaitable aio_connect_tcp(const char *host, int port);
// Awaitable: the same with options. Lifetime: `options` may be a local.
AIO_FN AIO_NODISCARD aio_awaitable aio_connect_tcp_with(const char *host, int port,
                                                        const struct aio_connect_options *options);

// Awaitable: the same with options. Lifetime: `options` may be a local.
AIO_FN AIO_NODISCARD aio_awaitable aio_listen_tcp_with(const char *host, int port,
                                                       const struct aio_listen_options *options);
// Awaitables: a listening Unix socket; "@name": abstract, without a file. A socket file that nobody
// listens on is replaced; the file stays when the socket is closed. Result: its descriptor;
// -EADDRINUSE: somebody listens, or it is another file; -EINVAL, -ENAMETOOLONG, -ENOENT, -EACCES.
AIO_FN AIO_NODISCARD aio_awaitable aio_listen_unix(const char *path);
AIO_FN AIO_NODISCARD aio_awaitable aio_listen_unix_with(const char *path,
                                                        const struct aio_listen_options *options);
// Awaitable: a connection to a Unix socket, abstract as above. Result: its descriptor; -ENOENT,
// -ECONNREFUSED.
AIO_FN AIO_NODISCARD aio_awaitable aio_connect_unix(const char *path);
// Awaitables: a UDP socket bound, or connected, to a numeric address as above. Result: its
// descriptor. For aio_recvfrom, aio_sendto; connected, for aio_recv, aio_send too.
AIO_FN AIO_NODISCARD aio_awaitable aio_udp_bind(const char *host, int port);
AIO_FN AIO_NODISCARD aio_awaitable aio_udp_connect(const char *host, int port);

// --- names

// Awaitable: getaddrinfo(3) on one of at most four threads of its own, so that it neither waits for
// jobs of aio_to_thread nor keeps them waiting; numeric addresses with numeric services are
// answered at once. *result: to be freed with freeaddrinfo; null after an error. Result: 0;
// -ENOENT: no such name; -ENODATA: it has no address; -EAGAIN: the name server does not answer, or
// no thread; -EREMOTEIO: it refuses for good; -EADDRNOTAVAIL -EAFNOSUPPORT -ESOCKTNOSUPPORT
// -ENOPROTOOPT -EINVAL: family, socket type, service, flags do not fit; -ENOMEM. A cancel returns
// at once: a look-up that has not begun is dropped, one that runs goes on alone and its result is
// freed. Lifetime: host, service and hints (or null) may be locals; `result` must stay until the
// await returns.
AIO_FN AIO_NODISCARD aio_awaitable aio_getaddrinfo(const char *host, const char *service,
                                                   const struct addrinfo *hints,
                                                   struct addrinfo **result);
// A result of aio_getaddrinfo in gai_strerror's words; any other as strerror has it. Static text.
AIO_FN const char *aio_gai_strerror(aio_result r);

// --- files

// Awaitable: opens a file, close-on-exec; dirfd may be AT_FDCWD. Result: the descriptor; -ENOENT,
// ….
// Lifetime: `path` may be a local.
AIO_FN AIO_NODISCARD aio_awaitable aio_openat(int dirfd, const char *path, int flags, mode_t mode);

// Awaitable: openat2(2), close-on-exec. Lifetime: `path` and `how` may be locals.
struct open_how;
AIO_FN AIO_NODISCARD aio_awaitable aio_openat2(int dirfd, const char *path,
                                               const struct open_how *how);

// Awaitables: at an offset. Result: bytes, may be short; 0 at the end of the file.
AIO_INLINE AIO_NODISCARD aio_awaitable aio_pread(int fd, void *buf, size_t len, int64_t offset);
AIO_INLINE AIO_NODISCARD aio_awaitable aio_pwrite(int fd, const void *buf, size_t len,
                                                  int64_t offset);
// Awaitables: at the current position; for pipes and terminals too. A write to a pipe that nobody
// reads raises SIGPIPE (aio_run ignores it): -EPIPE.
AIO_INLINE AIO_NODISCARD aio_awaitable aio_read_some(int fd, void *buf, size_t len);
AIO_INLINE AIO_NODISCARD aio_awaitable aio_write_some(int fd, const void *buf, size_t len);

// Awaitables: the same for several pieces of memory. Result: bytes; of more than 1024 pieces the
// first 1024 are used. flags: RWF_… of preadv2(2). Lifetime: the array `pieces` may be a local.
AIO_FN AIO_NODISCARD aio_awaitable aio_preadv(int fd, const struct iovec *pieces, int n,
                                              int64_t offset, int flags);
AIO_FN AIO_NODISCARD aio_awaitable aio_pwritev(int fd, const struct iovec *pieces, int n,
                                               int64_t offset, int flags);
AIO_FN AIO_NODISCARD aio_awaitable aio_readv_some(int fd, const struct iovec *pieces, int n);
AIO_FN AIO_NODISCARD aio_awaitable aio_writev_some(int fd, const struct iovec *pieces, int n);

// aio_write_all(fd, buf, len [, &done]), aio_pwrite_all(fd, buf, len, offset [, &done])
// awaitables
// Result: len, or an error, never a short count. done (size_t *) always holds what was written.
#define aio_write_all(fd, ...) \
    aio__write_all(fd, UINT64_MAX, AIO__FIRST_THREE(__VA_ARGS__, ((size_t *)0), 0))
#define aio_pwrite_all(fd, buf, len, ...) \
    aio__pwrite_all(fd, buf, len, AIO__FIRST_TWO(__VA_ARGS__, ((size_t *)0), 0))

// Awaitable: what was written reaches the disk. flags: 0 or AIO_SYNC_DATA. Runs on a kernel thread.
#define AIO_SYNC_DATA 1u
AIO_FN AIO_NODISCARD aio_awaitable aio_sync_file(int fd, unsigned flags);

// Awaitables: sync_file_range(2) (more than 4 GiB: to the end), fallocate(2), ftruncate(2; a thread
// of the pool before 6.9), posix_fadvise(3), madvise(2; lengths over 4 GiB: -EINVAL before 6.10).
// Result: 0. Run on a kernel thread.
AIO_FN AIO_NODISCARD aio_awaitable aio_sync_file_range(int fd, int64_t offset, uint64_t len,
                                                       unsigned flags);
AIO_FN AIO_NODISCARD aio_awaitable aio_fallocate(int fd, int mode, int64_t offset, int64_t len);
AIO_FN AIO_NODISCARD aio_awaitable aio_ftruncate(int fd, int64_t len);
AIO_FN AIO_NODISCARD aio_awaitable aio_fadvise(int fd, int64_t offset, uint64_t len, int advice);
AIO_FN AIO_NODISCARD aio_awaitable aio_madvise(void *address, size_t len, int advice);

// Awaitables: splice(2), tee(2). Offset -1: a pipe, or the current position. Result: bytes, 0 at
// the end. Hold a kernel thread until they end; aio_close of either descriptor ends them.
// While one waits to get rid of what is in a pipe, the kernel keeps that pipe locked: any other
// operation on it, of this loop too, stands still in the kernel until there is room at fd_out.
AIO_FN AIO_NODISCARD aio_awaitable aio_splice(int fd_in, int64_t offset_in, int fd_out,
                                              int64_t offset_out, size_t len, unsigned flags);
AIO_FN AIO_NODISCARD aio_awaitable aio_tee(int fd_in, int fd_out, size_t len, unsigned flags);

// Awaitable: a pipe, close-on-exec; does not suspend. fds[0] is for reading. flags: O_NONBLOCK,
// O_DIRECT. Lost, both are closed. Lifetime: `fds` must stay.
AIO_FN AIO_NODISCARD aio_awaitable aio_pipe(int fds[2], int flags);

// Awaitable: ends all operations of this loop on fd (they give -EBADF), then closes it. Neither
// delivers nor accepts a cancel: what was opened is always released. Result: 0 or -EBADF, -EIO.
AIO_FN AIO_NODISCARD aio_awaitable aio_close(int fd);

// --- names. All run on a kernel thread; paths and names of attributes may be locals. Before 5.15
// (links, directories) and 5.19 (attributes) a thread of the pool does it.

// Awaitable: statx(2). Result: 0. Lifetime: `buf` must stay.
AIO_FN AIO_NODISCARD aio_awaitable aio_statx(int dirfd, const char *path, int flags, unsigned mask,
                                             struct statx *buf);
// Awaitables. Result: 0. flags: RENAME_…, AT_REMOVEDIR, AT_SYMLINK_FOLLOW.
AIO_FN AIO_NODISCARD aio_awaitable aio_renameat(int from_dirfd, const char *from, int to_dirfd,
                                                const char *to, unsigned flags);
AIO_FN AIO_NODISCARD aio_awaitable aio_unlinkat(int dirfd, const char *path, int flags);
AIO_FN AIO_NODISCARD aio_awaitable aio_mkdirat(int dirfd, const char *path, mode_t mode);
AIO_FN AIO_NODISCARD aio_awaitable aio_linkat(int from_dirfd, const char *from, int to_dirfd,
                                              const char *to, int flags);
AIO_FN AIO_NODISCARD aio_awaitable aio_symlinkat(const char *target, int dirfd, const char *path);

// Awaitables: extended attributes. Result of get: the length of the value, and with size 0 how long
// it is; of set: 0. Lifetime: `value` must stay. flags: XATTR_CREATE, XATTR_REPLACE.
AIO_FN AIO_NODISCARD aio_awaitable aio_getxattr(const char *path, const char *name, void *value,
                                                size_t size);
AIO_FN AIO_NODISCARD aio_awaitable aio_setxattr(const char *path, const char *name,
                                                const void *value, size_t size, int flags);
AIO_FN AIO_NODISCARD aio_awaitable aio_fgetxattr(int fd, const char *name, void *value,
                                                 size_t size);
AIO_FN AIO_NODISCARD aio_awaitable aio_fsetxattr(int fd, const char *name, const void *value,
                                                 size_t size, int flags);

// --- registered buffers and direct descriptors, for aio_io_with. Not awaitables: they act at once.
// They attach a ring if the loop has none. `loop` may be null: the running one. Thread: the loop's,
// else -EPERM.

// Pins memory, so that direct I/O on files need not do it each time; charged to RLIMIT_MEMLOCK.
// Result: 0; -EBUSY: some is registered already; -ENOMEM; -EINVAL.
// Lifetime: the memory stays until it is unregistered or the loop is closed.
AIO_FN aio_result aio_buffers_register(aio_loop *loop, const struct iovec *buffers, unsigned n);
// Result: 0; -EBUSY: an operation in flight uses one; -ENXIO: none is registered.
AIO_FN aio_result aio_buffers_unregister(aio_loop *loop);

// A table of direct descriptors, all free: numbers that only this ring knows, cheaper to use in a
// process with threads. At most RLIMIT_NOFILE. Result: 0; -EBUSY: there is one; -EMFILE; -EINVAL.
AIO_FN aio_result aio_direct_register(aio_loop *loop, unsigned slots);
// Closes them all. Result: 0; -EBUSY: an operation in flight uses one; -ENXIO: there is no table.
AIO_FN aio_result aio_direct_unregister(aio_loop *loop);
// Puts a descriptor into a slot (and closes what was there); fd stays the caller's. Result: 0.
AIO_FN aio_result aio_direct_put(aio_loop *loop, unsigned slot, int fd);
// Empties a slot. Operations in flight on it go on: they hold what it was. Result: 0; -EBADF: no
// such slot.
AIO_FN aio_result aio_direct_close(aio_loop *loop, unsigned slot);
// Awaitable: an ordinary descriptor, close-on-exec, for what is in the slot. Result: it. Lost, it
// is closed. Kernel: 6.8; else -EOPNOTSUPP.
AIO_FN AIO_NODISCARD aio_awaitable aio_direct_install(unsigned slot);

// --- other descriptors, processes, shared memory

// Awaitable: waits until fd is ready for `events` (POLLIN, POLLOUT …). Result: the events, and
// POLLERR, POLLHUP. The door for other libraries' descriptors.
AIO_INLINE AIO_NODISCARD aio_awaitable aio_poll(int fd, unsigned events);

// Awaitable: events of an epoll set. Result: how many (at least one). Lifetime: `events` must stay.
// Kernel: 6.15; before that by polling the set.
AIO_FN AIO_NODISCARD aio_awaitable aio_epoll_wait(int epfd, struct epoll_event *events, int n);
// Awaitable: epoll_ctl(2); does not suspend.
AIO_FN AIO_NODISCARD aio_awaitable aio_epoll_ctl(int epfd, int op, int fd,
                                                 struct epoll_event *event);

// Awaitable: waitid(2): a child's end. Result: 0; -ECHILD. Lifetime: `info` must stay; may be null.
// Kernel: 6.7; before that (5.3) only for a P_PID or P_PIDFD and WEXITED, else -EOPNOTSUPP.
AIO_FN AIO_NODISCARD aio_awaitable aio_waitid(idtype_t type, id_t id, siginfo_t *info, int options);

// Awaitables: futexes, of 32 bits. flags: AIO_FUTEX_U32, and AIO_FUTEX_PRIVATE if no other process
// waits on it; mask: AIO_FUTEX_ANY, or some bits of it.
// futex_wait: sleeps while *word is `value`. Result: 0, woken; -EAGAIN: *word is not `value`.
// futex_waitv: the same for up to 128 words. Result: the index of the one that was woken. Lifetime:
// the words must stay, the array may be a local. Kernel: 6.7; else -EOPNOTSUPP.
// futex_wake: wakes up to n. Result: how many. Does not suspend.
#define AIO_FUTEX_U32 2u
#define AIO_FUTEX_PRIVATE 128u
#define AIO_FUTEX_ANY UINT64_C(0xffffffff)
struct futex_waitv;
AIO_FN AIO_NODISCARD aio_awaitable aio_futex_wait(const uint32_t *word, uint32_t value,
                                                  uint64_t mask, unsigned flags);
AIO_FN AIO_NODISCARD aio_awaitable aio_futex_waitv(const struct futex_waitv *words, unsigned n);
AIO_FN AIO_NODISCARD aio_awaitable aio_futex_wake(const uint32_t *word, unsigned n, uint64_t mask,
                                                  unsigned flags);

// Awaitable: a completion with this `user_data` and `res` for a ring of another library's, by its
// descriptor. Result: 0; -EBADFD: it is no ring, or not enabled. Between loops: aio_loop_post.
// Kernel: 5.18; else -EOPNOTSUPP.
AIO_FN AIO_NODISCARD aio_awaitable aio_msg_ring(int ring_fd, uint64_t user_data, unsigned res);

// --- processes

// Begins a process; it belongs to the running frame, whose return kills (SIGKILL) and reaps it and
// closes our ends of its pipes; so does the close of its loop. In the child: no descriptor but 0, 1
// and 2; no signal blocked; SIGPIPE at its default, what the toolkit handles as it was before.
// Result: 0; why it could not begin, also the exec's reason: -ENOENT (or cwd), -EACCES, -ENOEXEC,
// -E2BIG …; -EBADF: a descriptor for it is none; -EBUSY: `p` runs, or an operation is in flight on
// one of its pipes; -EINVAL: no task runs, no argv, stdio that is none; -EMFILE, -ENOMEM, -EAGAIN;
// a refused ring.
// Cost: the thread stands still from the clone to the exec (vfork): some 70 us, whatever the size
// of the caller's memory. It does not suspend, so no cancel can come between. Kernel: 5.12.
AIO_FN aio_result aio_process_spawn(aio_process *p, const struct aio_process_options *options);

// Awaitable: waits for its end, by any number of tasks of its loop; cancelling one leaves it alone.
// Its pipes are not waited for. Result: the exit status, 0 … 255; 256 + n: signal n ended it; 255
// and a report: somebody else reaped it; -EINVAL: not begun. It is reaped also if nobody waits.
AIO_FN AIO_NODISCARD aio_awaitable aio_process_wait(aio_process *p);
// The signal that such a result tells of; 0: none.
AIO_FN int aio_process_signal(aio_result r);

// Awaitable: sends the input to stdin_ and closes it, collects stdout_ and stderr_ (or `pty`) until
// their ends, all at a time, closes them, and waits as aio_process_wait. That the process does not
// want all of the input is no error: a default SIGPIPE is ignored from then on. Result: as
// aio_process_wait; an error of a pipe, once all is over; -ENOMEM. Cancelled (the process runs on),
// it has lost nothing: another call with the same `io` goes on. Lifetime: `io` and what it points
// to until the await returns.
AIO_FN AIO_NODISCARD aio_awaitable aio_process_communicate(aio_process *p,
                                                           struct aio_process_io *io);
// Sends it a signal; never to another process that got its number. Result: 0, also when it has
// ended; -EINVAL: not begun, or no signal; -EPERM.
AIO_FN aio_result aio_process_kill(aio_process *p, int signal_number);
// Awaitable: closes our end of its stdin: it reads the end. Result: aio_close's; 0: it was closed.
AIO_FN AIO_NODISCARD aio_awaitable aio_process_close_stdin(aio_process *p);

// --- servers

// aio_serve(&self->server, listener, name, .argument = value, …)   awaitable
// Accepts connections until it is stopped, and spawns coroutine `name` for each, with these
// arguments, .fd (an int of its frame) being the connection, which it owns. That of a handler which
// never began is closed, or its aio_drop does that, if there is one. Errors of handlers go to
// on_error, but for a peer that is gone (-ECONNRESET, -EPIPE): server.lost counts those. At the
// limit it accepts no more: they wait in the kernel's queue. Out of descriptors or memory (told to
// on_error once) it waits until a connection ends, or 0.1 s, and goes on. A burst is taken in few
// turns: up to 64 accepts are in flight, no more than the limit leaves.
// Result: 0: stopped by aio_server_stop; -ECANCELED: all connections were cancelled too; -EBUSY; an
// error of the listener (-EBADF: aio_close ended it) when its last connection has ended. No handler
// is left when it returns. The listener stays open.
// Lifetime: the server until then. Memory: 5 KiB, and for each live connection 64 bytes and the
// task.
#define aio_serve(server, listener, ...) \
    AIO__SERVE(__COUNTER__, server, listener, __VA_ARGS__, )
// Stops accepting; connections may go on for drain_ns (AIO_FOREVER), then they are cancelled. Any
// task of the loop, a handler too, or a callback; again: another deadline. Result: 0; -EINVAL: it
// does not serve; -ENOMEM.
AIO_FN aio_result aio_server_stop(aio_server *server, int64_t drain_ns);

// --- streams: buffered reading, and writing that goes on beside the coroutine. Any task of the
// loop may read or write, one reader at a time; they end with the frame that opened them.

// Opens a stream that reads from `in` and writes to `out`: a socket is both, -1 is none. options
// may be null. From now on the stream closes them. Result: 0; -EBUSY: it is open; -EINVAL: no task
// runs, or no descriptor; -EBADF; what aio_uring_attach gives. Refused, they stay the caller's.
// Lifetime: the stream until it is closed. When the frame that opened it returns, that closes it as
// aio_stream_close does (if it returns -ECANCELED: without sending what is left).
AIO_FN aio_result aio_stream_open(aio_stream *s, int in, int out,
                                  const struct aio_stream_options *options);

// Awaitable: what is there, at most n bytes. Result: 1 … n; 0: the end (or n is 0).
// Errors, of all reads: -EBUSY: another one waits; -EBADF: not open; -ECONNRESET and the like, also
// while there is something in the buffer; -ECONNABORTED: aio_stream_abort; -ENOMEM. A cancelled
// read has taken nothing: what came stays in the buffer.
AIO_FN AIO_NODISCARD aio_awaitable aio_stream_read(aio_stream *s, void *buf, size_t n);
// aio_stream_read_exactly(&self->s, buf, n [, &done])   awaitable
// n bytes, or nothing. Result: n; -ENODATA: the end came first. done (size_t *): how many are in
// buf, and gone from the stream: then what there was; after a cancel none, but for n above the
// limit, which go straight to buf.
#define aio_stream_read_exactly(s, buf, ...) \
    aio__stream_read_exactly(s, buf, AIO__FIRST_TWO(__VA_ARGS__, ((size_t *)0), 0))
// Awaitable: a line, with its newline. *line is in the stream's buffer, followed by a 0, and valid
// until the next read. Result: its length; the last one may lack the newline; 0: the end;
// -EMSGSIZE: longer than the limit; it is dropped: what of it is still to come, too, by the next
// aio_stream_read_line or _until. (aio_stream_read and _exactly would get that rest.)
AIO_FN AIO_NODISCARD aio_awaitable aio_stream_read_line(aio_stream *s, aio_bytes *line);
// Awaitable: all up to and with a separator of n bytes. *out as above. Result: its length;
// -ENODATA: the end came first; *out is the rest; -EMSGSIZE: more than the limit before it; all
// stays in the buffer, and the same again gives that again: aio_stream_skip_until gets over it.
// -EINVAL: n is 0. Lifetime: the separator until the await returns.
AIO_FN AIO_NODISCARD aio_awaitable aio_stream_read_until(aio_stream *s, aio_bytes *out,
                                                         const char *separator, size_t n);
// Awaitable: the same with several; the one that ends first counts.
AIO_FN AIO_NODISCARD aio_awaitable aio_stream_read_until_any(aio_stream *s, aio_bytes *out,
                                                             const aio_bytes *separators, size_t n);
// Awaitable: drops all up to and with a separator, however much. Result: how many bytes; -ENODATA:
// the end came first. Cancelled, what it has dropped is gone.
AIO_FN AIO_NODISCARD aio_awaitable aio_stream_skip_until(aio_stream *s, const char *separator,
                                                         size_t n);
// Has the end been reached, and all before it been read?
AIO_FN bool aio_stream_at_eof(const aio_stream *s);

// Awaitables: copy n bytes, which go out beside the coroutine; wait only when more than the high
// mark is unsent, until the low mark is reached. Result: n. Cancelled while they wait, the bytes
// are on their way all the same. Errors: -ECONNRESET: the connection is lost (-EPIPE on a pipe);
// -ESHUTDOWN: after aio_stream_write_eof; -EBADF: not open; -ECONNABORTED; -ENOMEM: nothing was
// taken. What is written in one turn leaves in one piece.
AIO_FN AIO_NODISCARD aio_awaitable aio_stream_write(aio_stream *s, const void *buf, size_t n);
AIO_FN AIO_NODISCARD aio_awaitable aio_stream_writev(aio_stream *s, const struct iovec *pieces,
                                                     size_t count);
// The same without waiting, whatever is unsent.
AIO_FN aio_result aio_stream_write_nowait(aio_stream *s, const void *buf, size_t n);
// Awaitable: waits as a write does, for who wrote without waiting. Result: 0, and the errors above,
// those of reading too.
AIO_FN AIO_NODISCARD aio_awaitable aio_stream_drain(aio_stream *s);
// Bytes that were written and that the kernel has not taken.
AIO_FN size_t aio_stream_unsent(const aio_stream *s);
// Ends writing when all is sent: the peer reads the end; reading goes on. Result: 0; -EOPNOTSUPP:
// one descriptor for both, and no socket; -EBADF, -ENOTCONN.
AIO_FN aio_result aio_stream_write_eof(aio_stream *s);

// Awaitable: sends what is left, then closes. A cancel drops what is left, closes, and then gives
// -ECANCELED: aio_wait_for(ns, aio_stream_close(&self->s)) limits the sending, not the closing.
// Result: 0; -ECONNRESET: not all was sent; -EBADF: not open; -EPERM: another task opened it.
AIO_FN AIO_NODISCARD aio_awaitable aio_stream_close(aio_stream *s);
// Drops what is unsent; who waits, and all later reads and writes, get -ECONNABORTED. Any task of
// the loop, or a callback. It is still to be closed, or its frame to return.
AIO_FN void aio_stream_abort(aio_stream *s);

// --- sending without a copy

// Awaitables: as aio_send, aio_send_all and aio_sendmsg, but the kernel sends from the buffer
// itself. The await returns when the buffer is free again, which can mean: when the peer has
// acknowledged; a cancel waits for that too, an aio_close of fd does not. Pays from some 3 KB on,
// not on loopback. UNIX sockets, and kernels before 6.0 (sendmsg: 6.1), copy.
AIO_FN AIO_NODISCARD aio_awaitable aio_send_zc(int fd, const void *buf, size_t len, int flags);
// aio_send_zc_all(fd, buf, len, flags [, &done])
#define aio_send_zc_all(fd, buf, len, ...) \
    aio__send_zc_all(fd, buf, len, AIO__FIRST_TWO(__VA_ARGS__, ((size_t *)0), 0))
AIO_FN AIO_NODISCARD aio_awaitable aio_sendmsg_zc(int fd, const struct msghdr *message, int flags);

// --- iterators: one operation, many results. `it` is in the running coroutine's frame:
//
//     aio_try(aio_recv_many(&self->rx, self->fd, &ring));
//     for (;;) {
//         aio_try(r, aio_next(&self->rx));            // 1: a value; 0: the end; an error
//         if (!r) break;
//         … self->rx.data, aio_gen_value(&self->rx) …
//     }
//
// aio_gen_close(&it), or the frame's return, ends the operation, waits until the kernel has let go
// of it, closes descriptors that nobody took and gives every buffer back. A cancelled aio_next
// loses nothing: the value stays for the next call. What is early ended by the kernel is begun
// again. Result of these: 0; -EINVAL: no task runs; -EBUSY: it is open; -EBADF; -ENOMEM; or why
// there is no ring. Errors of aio_next: -EBUSY: another one waits; -EBADF: aio_close ended it; the
// operation's. Kernel: 5.19, 6.0 (recv), 6.7 (read); before that the same by single operations.

// Connections; the value is a descriptor, close-on-exec. When too many wait to be taken, it stops
// accepting until they are. Out of descriptors it waits until there are some (on_error is told).
AIO_FN aio_result aio_accept_many(aio_many *it, int listener);
// Bytes of a socket, in buffers of `buffers`: data, and how many as value. The end: the peer is
// done.
// A buffer is given back by the next aio_next, or aio_buffer_release. None left: it waits for one.
// UNIX sockets: by single operations (kernels before 7.0 may miss their end otherwise).
AIO_FN aio_result aio_recv_many(aio_many *it, int fd, aio_buffer_ring *buffers);
// Datagrams with their sender: message.msg_name, msg_control (at most control_bytes; descriptors
// in it are close-on-exec and the caller's), msg_flags (MSG_TRUNC: it did not fit). A buffer holds
// all of it: 144 bytes and control_bytes more than the payload.
AIO_FN aio_result aio_recvmsg_many(aio_many *it, int fd, aio_buffer_ring *buffers,
                                   size_t control_bytes);
// Bytes of a pipe, a terminal, a file (from its position): the end is the end of the file.
AIO_FN aio_result aio_read_many(aio_many *it, int fd, aio_buffer_ring *buffers);
// Readiness; the value is the events. Tells changes, and may tell one twice: read until -EAGAIN.
AIO_FN aio_result aio_poll_many(aio_many *it, int fd, unsigned events);
// Gives the buffer of the last value back, before the next aio_next does.
AIO_FN void aio_buffer_release(aio_many *it);

// --- chains: several operations, one await; each begins when the one before has succeeded
//
//     aio_chain_init(&self->chain);
//     aio_chain_add(&self->chain, aio_send_all(self->fd, self->out, n, 0));
//     aio_chain_add(&self->chain, aio_recv(self->fd, self->in, sizeof self->in, 0));
//     aio_await(r, aio_chain_run(&self->chain));
//     n = aio_chain_result(&self->chain, 1);
//
// They go to the kernel as linked entries, which it runs without a turn of the loop between them.
// Where that cannot be (a ring with fewer entries, no room in it, an operation that the kernel
// lacks, something that is no single operation) they are begun one by one, with the same results.
// So is what follows a sync_file, statx, ftruncate, a name's or an attribute's operation, behind
// which the kernel goes on though it fails.
// A step has failed if its result is an error, or short: a read, write, splice or tee of less than
// its length, a send or recv of less with MSG_WAITALL. Later steps then give -ECANCELED.

// Empties a chain, which closes descriptors in results that nobody took, and opens it in the
// running coroutine's frame: its return does the same. Result: 0; -EINVAL: no task runs; -EBUSY: it
// runs.
AIO_FN aio_result aio_chain_init(aio_chain *c);
// Adds a step; _hard: the next one runs whatever becomes of it. Result: 0; -EINVAL: it can only be
// awaited by a task; -ENOSPC: there are AIO_CHAIN_STEPS. Refused, aio_chain_run gives that too.
// aio_close closes without ending other operations on the descriptor first. Lifetime: what `step`
// points to stays until aio_chain_run; from then on as when it is awaited by itself.
AIO_FN aio_result aio_chain_add(aio_chain *c, aio_awaitable step);
AIO_FN aio_result aio_chain_add_hard(aio_chain *c, aio_awaitable step);
// Awaitable: runs it, once. Result: 0: all steps have succeeded; else the first error; -EIO: a
// short transfer. Cancelled, it ends what has not ended; what has stays to be taken.
AIO_FN AIO_NODISCARD aio_awaitable aio_chain_run(aio_chain *c);
// The result of step i, and with it what it owns. -EINVAL: there is none.
AIO_FN aio_result aio_chain_result(aio_chain *c, unsigned i);

// --- buffers for iterators

// Opens a ring of `count` (to 32768) buffers of `size` bytes on the running loop, in memory of the
// loop's allocator; _over: in the caller's `storage` of count * size bytes. Several iterators may
// share it. The kernel charges it to RLIMIT_MEMLOCK.
// Result: 0; -EINVAL; -EBUSY: it is open; -ENOMEM (refused by that limit: on_error is told); or why
// there is no ring. Lifetime: `storage` until it is closed, or its loop; `b` may go before.
// Kernel: 5.19; before that the toolkit hands the buffers out itself, a poll before each receive.
AIO_FN aio_result aio_buffer_ring_init(aio_buffer_ring *b, unsigned count, size_t size);
AIO_FN aio_result aio_buffer_ring_init_over(aio_buffer_ring *b, void *storage, unsigned count,
                                            size_t size);
// Result: 0; -EBUSY: an iterator is open on it.
AIO_FN aio_result aio_buffer_ring_close(aio_buffer_ring *b);

// ----------------------------------------------------------------------------------- >>internal
#define AIO__FIRST_TWO(a, b, ...) a, b
#define AIO__FIRST_THREE(a, b, c, ...) a, b, c
#define AIO__ARENA_BYTES 4096u
#define AIO__LENGTH_MAX 0x7ffff000u             // what one operation can transfer

// Newer than the oldest headers; the numbers are the kernel's.
#define AIO__SYS_CLOSE_RANGE 436
#define AIO__CLOSE_RANGE_CLOEXEC (1u << 2)
#define AIO__SYS_PIDFD_SEND_SIGNAL 424
#define AIO__CLONE_PIDFD 0x1000
#define AIO__RWF_NOWAIT 8
#define AIO__AT_EMPTY_PATH_DONT_SYNC 0x5000
#define AIO__STATX_INO 0x100
#define AIO__FEAT_NO_IOWAIT (1u << 17)
#define AIO__ENTER_NO_IOWAIT (1u << 7)
#define AIO__CQE_NOTIF (1u << 3)
#define AIO__OP_SENDMSG_ZC 48
#define AIO__OP_READ_MULTISHOT 49
#define AIO__OP_WAITID 50
#define AIO__OP_FUTEX_WAIT 51
#define AIO__OP_FUTEX_WAKE 52
#define AIO__OP_FUTEX_WAITV 53
#define AIO__OP_FIXED_FD_INSTALL 54
#define AIO__OP_FTRUNCATE 55
#define AIO__OP_BIND 56
#define AIO__OP_LISTEN 57
#define AIO__OP_RECV_ZC 58
#define AIO__OP_EPOLL_WAIT 59
#define AIO__OP_READV_FIXED 60
#define AIO__OP_WRITEV_FIXED 61
#define AIO__OP_PIPE 62
#define AIO__OPS_5_12 ((UINT64_C(1) << 37) - 1) // what the oldest kernel has that will do
#define AIO__ACCEPT_POLL_FIRST (1u << 2)
#define AIO__P_PIDFD 3
#define AIO__OPEN_HOW_BYTES 24
#define AIO__FUTEX_WAITV_BYTES 24
#define AIO__IO_BUFFERED 8                      // of AIO_IO_BUFFER
#define AIO__IO_INTO 16                         // of AIO_IO_INTO
#ifdef IO_URING_VERSION_MAJOR
#  define AIO__LIBURING AIO__TEXT(IO_URING_VERSION_MAJOR) "." AIO__TEXT(IO_URING_VERSION_MINOR)
#  define AIO__TEXT(x) AIO__STR(x)
#else
#  define AIO__LIBURING "2.3"
#endif
#define AIO__SOCKET_CMD_GETSOCKOPT 2
#define AIO__SOCKET_CMD_SETSOCKOPT 3
#define AIO__TIMEOUT_MULTISHOT (1u << 6)
#define AIO__URING_CMD_MULTISHOT (1 << 1)

// user_data: a pointer to a waiter (or a sink), aligned to 8 bytes and below 2^48; above it the
// place in the ring, which makes each activation unique, so that a late cancel cannot hit the next
// one; below it one of these. CLOSING: a cancel for aio_close, with the descriptor. LINKED: one for
// the step of a chain that runs.
enum {
    AIO__UD_NOBODY,
    AIO__UD_WAITER,
    AIO__UD_COMPOUND,
    AIO__UD_WAKE,
    AIO__UD_CLOSING,
    AIO__UD_WHOLE,
    AIO__UD_SINK,
    AIO__UD_LINKED
};
#define AIO__UD_POINTER UINT64_C(0x0000fffffffffff8)
#define AIO__UD_CANCEL(fd) (AIO__UD_CLOSING | (uint64_t)(uint32_t)(fd) << 3)
#define AIO__UD_FD(user_data) ((int)((user_data) >> 3 & INT32_MAX))
AIO__ASSERT(sizeof(void *) == 8, "aio_io_uring.h needs 64-bit pointers");

// A waiter on the ring: node.u.w[0] is its user_data, w[1] this, p[2] its compound.
#define AIO__IO_OPCODE(info) ((unsigned)((info) >> 32) & 0xff)
#define AIO__IO_TRACKED (UINT64_C(1) << 40)     // counted in fd_ops
#define AIO__IO_CANCELLED (UINT64_C(1) << 41)   // the kernel was asked to end it
#define AIO__IO_GIVES_FD (UINT64_C(1) << 42)    // its result is a descriptor
#define AIO__IO_CANCEL_OWED (UINT64_C(1) << 44)    // the kernel could not be asked yet
#define AIO__IO_LINKED (UINT64_C(1) << 45)      // in a chain: ends with the one before
#define AIO__IO_EARLY (UINT64_C(1) << 43)       // its result is here, its buffer is not free yet

// Seldom: what takes the longer way, and is counted in more than one place.
#define AIO__IO_TWO_FDS (UINT64_C(1) << 63)     // splice, tee: node.u.w[2] is the other descriptor
#define AIO__IO_DIRECT (UINT64_C(1) << 62)      // uses the table of direct descriptors
#define AIO__IO_BUFFER (UINT64_C(1) << 61)      // uses a registered buffer
#define AIO__IO_GIVES_SLOT (UINT64_C(1) << 60)  // its result is a direct descriptor
#define AIO__IO_GIVES_PIPE (UINT64_C(1) << 59)  // node.u.p[2]: where its two descriptors are
#define AIO__IO_RARE (AIO__IO_TWO_FDS | AIO__IO_DIRECT | AIO__IO_BUFFER | AIO__IO_GIVES_SLOT | \
    AIO__IO_GIVES_PIPE)

enum { AIO__DETOURS = 64 };                     // buckets
#define AIO__FD_CLOSING 0x80000000u             // in fd_ops: an aio_close waits for the rest

// Several operations that make one await.
struct aio__compound {
    // One of them has ended with r. Returns the whole's result, or AIO_PENDING after it began the
    // next.
    aio_result (*next)(aio_uring *u, aio_waiter *w, struct aio__compound *c, aio_result r);
    uint32_t block_class;       // 0: it is part of something else
    bool gives_fd;
    struct msghdr *gives_message;       // node.u.p[0] of the end, for what it received
};
// An operation that found no room in the ring.
struct aio__backlog { struct aio__backlog *next; struct io_uring_sqe sqe; };
struct aio__spill { struct aio__spill *next; uint64_t block_class; };

// --- the seam. Above it everything speaks of entries and completions in two rings; below it
// somebody carries them out:
//
//     awaitables, chains, iterators, closes …
//         | entries                ^ completions
//     submission ring          completion ring              (memory that both sides see)
//         |                        |
//     enter, register, close   ---- struct aio__kernel; null: Linux's io_uring, called directly
//
// So another kernel is one function per opcode, and whatever is hard above (lifetimes, late
// results, what begins again) is the same for all.
struct aio__kernel {
    const char *name;
    // Fills u->ring with rings of that many entries, and u->kernel_state. `allowed`: operations.
    int (*open)(aio_uring *u, unsigned sq, unsigned cq, uint64_t allowed);
    // Takes the entries, and waits for a completion up to timeout_ns if there is none. As
    // io_uring_enter.
    int (*enter)(aio_uring *u, uint32_t submit, int64_t timeout_ns);
    int (*registers)(aio_uring *u, unsigned what, void *arg, unsigned n);   // IORING_REGISTER_…
    void (*close)(aio_uring *u);
    void (*forked)(aio_uring *u);       // in the child, which has no more of it than descriptors
    uint64_t (*has)(void);              // operations, a bit each
    const char *(*how)(unsigned op);    // one is done, for the report
};
struct aio_uring {
    // What each operation touches.
    struct io_uring_sqe *sqes;
    uint32_t sq_tail, sq_head;      // head: as last seen
    uint32_t sq_mask, sq_room;      // room: 0 sends all to the slow path
    uint32_t *fd_ops;               // operations in flight by descriptor
    uint64_t *fd_last;              // user_data of the last that began; closing: the aio_close
    uint32_t fd_capacity;
    // What each turn touches.
    unsigned *sq_khead, *sq_ktail, *sq_kflags, *cq_khead, *cq_ktail;
    struct io_uring_cqe *cqes;
    uint32_t cq_mask, enter_flags;
    int enter_fd, enter_error;
    uint32_t enter_failures;        // one after the other
    bool wake_armed, disabled, draining;
    bool wake_once;             // no multishot poll: Linux before 5.13
    bool lost;                  // it was closed, or is refused: nothing comes of it any more
    bool polls;                     // under valgrind: poll waits
    bool cancel_owed;               // a cancel found neither room nor memory
    bool chains_owed;               // … or not the step that runs: it had ended, or not yet begun
    bool arena_held;                // the entry of the last copy is not in the ring yet
    bool has_cancel_all;            // 5.19: cancel by descriptor, all, and without an answer
    aio_loop *loop;
    const struct aio__kernel *kernel;       // null: io_uring
    void *kernel_state;
    struct aio__backlog *backlog, *backlog_last;
    struct aio__backlog *withheld;          // linked entries whose link the kernel has cut
    struct aio__sink *sinks;                // in flight
    aio_chain *chains;                      // open
    aio_stream *streams;                    // open
    aio_many **many;            // open iterators, by descriptor
    uint32_t many_capacity;
    uint64_t at_once_turn;      // in this turn streams have sent so much at once
    size_t at_once;
    uint32_t starved;           // iterators that wait for a buffer, and detours to be told
    aio_many *paused;           // … and for a descriptor
    // Reads and writes that the ring does not run itself.
    struct aio__detour *detours[AIO__DETOURS];          // by descriptor
    struct aio__detour *detour_files[AIO__DETOURS];     // the first on each file, by inode
    struct aio__detour *detours_ended, *last_ended;     // not told yet
    uint32_t file_calls;                                // on files, that run or wait
    uint16_t detour_number;
    int seeks_fd;                                       // it can seek, as asked in that turn
    uint64_t seeks_turn;
    struct aio__buffers *buffer_rings;
    aio_process *processes;         // of frames that have not returned
    struct aio__owned *owned[AIO__DETOURS];     // their descriptors
    // Copies of paths and addresses, until their entries are consumed.
    char *arena;
    size_t arena_used, arena_size;
    struct aio__spill *spills;
    uint32_t sq_entries;
    unsigned level;                 // rung of set-up flags
    uint64_t has;                   // operations that the kernel has, a bit each
    uint32_t buffers, direct;       // how many are registered
    uint32_t buffer_ops, direct_ops;    // operations in flight that use them
    struct io_uring ring;
};

AIO__START_FN bool aio__io_start(aio_waiter *w, const aio_awaitable *a);
AIO_SLOW bool aio__checked_start(aio_waiter *w, const aio_awaitable *a);
AIO_FN bool aio__file_start(aio_waiter *w, const aio_awaitable *a);
AIO_FN bool aio__prompt_start(aio_waiter *w, const aio_awaitable *a);
AIO_FN bool aio__message_start(aio_waiter *w, const aio_awaitable *a);
AIO_FN bool aio__waitv_start(aio_waiter *w, const aio_awaitable *a);
AIO_FN bool aio__transfer_start(aio_waiter *w, const aio_awaitable *a);
AIO_FN bool aio__zc_start(aio_waiter *w, const aio_awaitable *a);
AIO_FN bool aio__close_start(aio_waiter *w, const aio_awaitable *a);
AIO_FN bool aio__invalid_start(aio_waiter *w, const aio_awaitable *a);
AIO_FN bool aio__listen_tcp_start(aio_waiter *w, const aio_awaitable *a);
AIO_FN bool aio__connect_tcp_start(aio_waiter *w, const aio_awaitable *a);
AIO_FN bool aio__listen_unix_start(aio_waiter *w, const aio_awaitable *a);
AIO_FN bool aio__connect_unix_start(aio_waiter *w, const aio_awaitable *a);
AIO_FN bool aio__udp_start(aio_waiter *w, const aio_awaitable *a);
// Straight into the ring; through the table of operations; of a file, which may take a detour; a
// system call, but for direct descriptors.
AIO_TABLE(aio_await_class, aio__io_await, { aio__io_start, "io", AIO__AWAIT_IO })
AIO_TABLE(aio_await_class, aio__checked_await, { aio__checked_start, "io", AIO__AWAIT_IO })
AIO_TABLE(aio_await_class, aio__file_await, { aio__file_start, "io", AIO__AWAIT_IO })
AIO_TABLE(aio_await_class, aio__prompt_await, { aio__prompt_start, "io", AIO__AWAIT_IO })
AIO_TABLE(aio_await_class, aio__message_await, { aio__message_start, "io", AIO__AWAIT_IO })
AIO_TABLE(aio_await_class, aio__waitv_await, { aio__waitv_start, "io", AIO__AWAIT_IO })
AIO_TABLE(aio_await_class, aio__transfer_await, { aio__transfer_start, "io", AIO__AWAIT_IO_ALL })
AIO_TABLE(aio_await_class, aio__zc_await, { aio__zc_start, "io", AIO__AWAIT_OWN })
AIO_TABLE(aio_await_class, aio__close_await, { aio__close_start, "close", AIO__AWAIT_IO_CLOSE })
AIO_TABLE(aio_await_class, aio__invalid_await, { aio__invalid_start, "invalid", AIO__AWAIT_OWN })
AIO_TABLE(aio_await_class, aio__listen_tcp_await,
    { aio__listen_tcp_start, "listen_tcp", AIO__AWAIT_OWN })
AIO_TABLE(aio_await_class, aio__connect_tcp_await,
    { aio__connect_tcp_start, "connect_tcp", AIO__AWAIT_OWN })
AIO_TABLE(aio_await_class, aio__listen_unix_await,
    { aio__listen_unix_start, "listen_unix", AIO__AWAIT_OWN })
AIO_TABLE(aio_await_class, aio__connect_unix_await,
    { aio__connect_unix_start, "connect_unix", AIO__AWAIT_OWN })
AIO_TABLE(aio_await_class, aio__udp_await, { aio__udp_start, "udp", AIO__AWAIT_OWN })

// --- streams
#define AIO__STREAM_LIMIT ((size_t)65536)
#define AIO__STREAM_FIRST ((size_t)4096)        // of a buffer, which grows when it gets full
#define AIO__STREAM_LARGE ((size_t)16384)       // what is sent from where it is, if it can be
#define AIO__STREAM_TURN ((size_t)524288)       // so much in a turn, for others to have theirs
enum {
    AIO__STREAM_READ,
    AIO__STREAM_EXACTLY,
    AIO__STREAM_SKIP,
    AIO__STREAM_LINE,
    AIO__STREAM_UNTIL
};
struct aio__inbuf { char *data; size_t from, to, room; uint32_t block_class; };
// What a read asks for.
struct aio__stream_ask {
    uint32_t kind;
    char *to;
    size_t n, got;              // got: how many are there already
    size_t *done;
    aio_bytes *out;
    const aio_bytes *separators;
    size_t count;
    aio_bytes one;
    size_t searched;            // up to here there is no separator
    size_t dropped;             // by a skip
};
struct aio__stream_closing { aio_frame aio; aio_stream *s; };
struct aio_stream {
    aio_scope scope;
    struct aio__stream_closing closing;
    aio_task *owner;            // null: not open
    aio_uring *ring;
    aio_stream *next, *prev;    // open ones of the ring
    int in, out;
    uint32_t phase;             // of closing
    bool in_socket, out_socket, eof, straight, no_more, paused, drops, asked, cut;
    aio_result in_error, out_error;
    size_t limit, high, low;
    // Reading: an operation of the waiter's, with the stream as its compound.
    struct aio__compound reading;
    aio_waiter *reader;
    struct aio__stream_ask ask;
    struct aio__inbuf inbuf;
    size_t wanted;              // how large the buffer should be
    bool skips;                 // the rest of a line that was too long
    size_t covered_at;          // 1 + where a byte gave way to the 0 behind a line
    char covered;
    // Writing: a sink sends `flight`, and what comes meanwhile gathers in `queued`.
    struct aio__sink sending;
    struct aio__inbuf flight, queued;
    aio_node *writers;          // wait until little is unsent
    aio_waiter *closer;         // waits until all is sent
};

// --- servers. Behind the frame of aio__serving, in one block, stands the frame of a handler as
// each of them begins. A burst is taken with many accepts in flight; a quiet listener has few: each
// of them may be woken by each connection.
#define AIO__ACCEPTS_MAX 64
#define AIO__CAME_MAX 256
struct aio__accepting { struct aio__sink sink; struct aio__serving *serving; };
struct aio__serving {
    aio_frame aio;
    aio_server *server;
    const aio_coroutine *co;
    size_t fd_at;
    aio_timeout until;          // a stop, then its deadline
    aio_timeout pause;
    aio_result r, end;
    int listener;
    uint32_t phase;
    bool told;                  // that it pauses
    uint32_t wanted, in_flight; // accepts
    uint32_t came_count;
    int came[AIO__CAME_MAX];    // connections that have no handler yet
    aio_result failure;         // the worst of those since the last look
    struct aio__accepting accepts[AIO__ACCEPTS_MAX];
};
#define AIO__SERVING_BYTES \
    ((sizeof(struct aio__serving) + AIO__GRAIN - 1) & ~(size_t)(AIO__GRAIN - 1))
#define AIO__FD_OF(name) AIO__ASSERT(sizeof(((struct name *)0)->fd) == sizeof(int), \
    "aio_serve: struct " #name " needs a member `int fd`");
#ifdef AIO_STRICT
#  define AIO__SERVE(n, server, listener, name, ...) aio__serve(server, listener, \
       offsetof(struct name, fd), &AIO__CO(name), aio__serve_block_from(AIO__TASK, &AIO__CO(name), \
           &AIO__INIT(name, __VA_ARGS__)->aio))
#else
#  define AIO__SERVE(n, server, listener, name, ...) \
       AIO__SERVE_(n, server, listener, name, __VA_ARGS__)
#  define AIO__SERVE_(n, server, listener, name, ...) aio__serve(server, listener, \
       offsetof(struct name, fd), &AIO__CO(name), __extension__({ \
       AIO__FD_OF(name) \
       struct name *AIO__V(frame_, n) = (struct name *)aio__serve_block(AIO__TASK, \
           &AIO__CO(name)); \
       if (AIO__LIKELY(AIO__V(frame_, n) != 0)) { AIO__SET(AIO__V(frame_, n), __VA_ARGS__) } \
       AIO__V(frame_, n); }))
#endif

// ------------------------------------------------------------------------------- >>implementation

// --- awaitables. Their payload is a submission entry without user_data: words 0-3 and 5-7 of it.
// Built from whole words, so that it stays in registers from the call to the ring.
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#  define AIO__WORD(low, high) ((uint64_t)(low) << 32 | (uint32_t)(high))
#  define AIO__HEAD(opcode, flags, ioprio) \
       ((uint32_t)(opcode) << 24 | (uint32_t)(flags) << 16 | (ioprio))
#  define AIO__HEAD_OPCODE(w0) ((unsigned)((w0) >> 56))
#  define AIO__HEAD_FLAGS(w0) ((unsigned)((w0) >> 48) & 0xff)
#  define AIO__HEAD_FD(w0) ((uint32_t)(w0))
#  define AIO__FILE_INDEX(w4) ((uint32_t)(w4))
#  define AIO__FIRST_HALF(word) ((uint32_t)((word) >> 32))
#  define AIO__SECOND_HALF(word) ((uint32_t)(word))
#  define AIO__BUFFER_INDEX(index) ((uint64_t)(index) << 48)
#  define AIO__HEAD_IOPRIO(w0) ((unsigned)((w0) >> 32) & 0xffff)
#  define AIO__POLL_EVENTS(events) ((events) << 16 | (events) >> 16)
#else
#  define AIO__WORD(low, high) ((uint64_t)(uint32_t)(low) | (uint64_t)(uint32_t)(high) << 32)
#  define AIO__HEAD(opcode, flags, ioprio) \
       ((uint32_t)(opcode) | (uint32_t)(flags) << 8 | (uint32_t)(ioprio) << 16)
#  define AIO__HEAD_OPCODE(w0) ((unsigned)(w0) & 0xff)
#  define AIO__HEAD_FLAGS(w0) ((unsigned)((w0) >> 8) & 0xff)
#  define AIO__HEAD_FD(w0) ((uint32_t)((w0) >> 32))
#  define AIO__FILE_INDEX(w4) ((uint32_t)((w4) >> 32))
#  define AIO__FIRST_HALF(word) ((uint32_t)(word))
#  define AIO__SECOND_HALF(word) ((uint32_t)((word) >> 32))
#  define AIO__BUFFER_INDEX(index) ((uint64_t)(index))
#  define AIO__HEAD_IOPRIO(w0) ((unsigned)((w0) >> 16) & 0xffff)
#  define AIO__POLL_EVENTS(events) (events)
#endif
AIO_INLINE void aio__store(char *to, uint64_t word) { __builtin_memcpy(to, &word, sizeof word); }
AIO_INLINE void aio__sqe_fill(struct io_uring_sqe *sqe, const aio_awaitable *a, uint64_t user_data)
{
    char *to = (char *)sqe;
    aio__store(to, a->u.w[0]);
    aio__store(to + 8, a->u.w[1]);
    aio__store(to + 16, a->u.w[2]);
    aio__store(to + 24, a->u.w[3]);
    aio__store(to + 32, user_data);
    aio__store(to + 40, a->u.w[4]);
    aio__store(to + 48, a->u.w[5]);
    aio__store(to + 56, a->u.w[6]);
}
AIO_INLINE uint32_t aio__length(size_t len)
{
    return len < AIO__LENGTH_MAX ? (uint32_t)len : AIO__LENGTH_MAX;
}
AIO_INLINE aio_awaitable aio__entry(const aio_await_class *cls, unsigned opcode, int fd,
                                    uint64_t off, uint64_t addr, uint32_t len, unsigned flags)
{
    aio_awaitable a;
    a.cls = cls;
    a.u.w[0] = AIO__WORD(AIO__HEAD(opcode, 0, 0), fd);
    a.u.w[1] = off;
    a.u.w[2] = addr;
    a.u.w[3] = AIO__WORD(len, flags);
    a.u.w[4] = a.u.w[5] = a.u.w[6] = 0;
    return a;
}
AIO_INLINE aio_awaitable aio__io(const aio_await_class *cls, unsigned opcode, int fd, uint64_t off,
                                 const void *addr, size_t len, unsigned flags)
{
    return aio__entry(cls, opcode, fd, off, (uint64_t)(uintptr_t)addr, aio__length(len), flags);
}
AIO_INLINE AIO_NODISCARD aio_awaitable aio_nop(void)
{
    return aio__io(aio__io_await(), IORING_OP_NOP, -1, 0, 0, 0, 0);
}
AIO_INLINE AIO_NODISCARD aio_awaitable aio_accept(int fd)
{
    return aio__io(aio__io_await(), IORING_OP_ACCEPT, fd, 0, 0, 0, SOCK_CLOEXEC);
}
AIO_INLINE AIO_NODISCARD aio_awaitable aio_recv(int fd, void *buf, size_t len, int flags)
{
    return aio__io(aio__io_await(), IORING_OP_RECV, fd, 0, buf, len, (unsigned)flags);
}
AIO_INLINE AIO_NODISCARD aio_awaitable aio_send(int fd, const void *buf, size_t len, int flags)
{
    return aio__io(aio__io_await(), IORING_OP_SEND, fd, 0, buf, len,
                   (unsigned)(flags | MSG_NOSIGNAL));
}
// -1 means the current position to the kernel, and is a mistake from a caller who gives an offset.
AIO_INLINE uint64_t aio__offset(int64_t offset)
{
    return offset == -1 ? (uint64_t)INT64_MIN : (uint64_t)offset;
}
AIO_INLINE AIO_NODISCARD aio_awaitable aio_pread(int fd, void *buf, size_t len, int64_t offset)
{
    return aio__io(aio__file_await(), IORING_OP_READ, fd, aio__offset(offset), buf, len, 0);
}
AIO_INLINE AIO_NODISCARD aio_awaitable aio_pwrite(int fd, const void *buf, size_t len,
                                                  int64_t offset)
{
    return aio__io(aio__file_await(), IORING_OP_WRITE, fd, aio__offset(offset), buf, len, 0);
}
AIO_INLINE AIO_NODISCARD aio_awaitable aio_read_some(int fd, void *buf, size_t len)
{
    return aio__io(aio__file_await(), IORING_OP_READ, fd, UINT64_MAX, buf, len, 0);
}
AIO_INLINE AIO_NODISCARD aio_awaitable aio_write_some(int fd, const void *buf, size_t len)
{
    return aio__io(aio__file_await(), IORING_OP_WRITE, fd, UINT64_MAX, buf, len, 0);
}
AIO_INLINE AIO_NODISCARD aio_awaitable aio_poll(int fd, unsigned events)
{
    return aio__io(aio__io_await(), IORING_OP_POLL_ADD, fd, 0, 0, 0, AIO__POLL_EVENTS(events));
}
AIO_FN AIO_NODISCARD aio_awaitable aio_sync_file(int fd, unsigned flags)
{
    return aio__io(aio__io_await(), IORING_OP_FSYNC, fd, 0, 0, 0, flags);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_openat(int dirfd, const char *path, int flags, mode_t mode)
{
    return aio__io(aio__checked_await(), IORING_OP_OPENAT, dirfd, 0, path, mode,
                   (unsigned)(flags | O_CLOEXEC));
}
AIO_FN AIO_NODISCARD aio_awaitable aio_statx(int dirfd, const char *path, int flags, unsigned mask,
                                             struct statx *buf)
{
    return aio__io(aio__checked_await(), IORING_OP_STATX, dirfd, (uint64_t)(uintptr_t)buf, path,
                   mask, (unsigned)flags);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_connect(int fd, const struct sockaddr *address,
                                               socklen_t length)
{
    return aio__io(aio__checked_await(), IORING_OP_CONNECT, fd, length, address, 0, 0);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_close(int fd)
{
    return aio__io(aio__close_await(), IORING_OP_CLOSE, fd, 0, 0, 0, 0);
}
// The composite ones carry the length beside the entry, whose own has 32 bits.
AIO_INLINE AIO_NODISCARD aio_awaitable aio__send_all(int fd, const void *buf, size_t len, int flags,
                                                     size_t *done)
{
    unsigned all = (unsigned)(flags | MSG_NOSIGNAL | MSG_WAITALL);
    aio_awaitable a = aio__io(aio__transfer_await(), IORING_OP_SEND, fd, 0, buf, len, all);
    a.u.p[4] = done;
    a.u.w[5] = all;
    a.u.w[6] = len;
    return a;
}
#define AIO__ONCE (UINT64_C(1) << 32)   // in w[5]: one operation, though it may be short
AIO_FN aio_awaitable aio__send_zc(int fd, const void *buf, size_t len, uint64_t flags, size_t *done)
{
    aio_awaitable a =
        aio__io(aio__zc_await(), IORING_OP_SEND_ZC, fd, 0, buf, len, (unsigned)flags);
    a.u.p[4] = done;
    a.u.w[5] = flags;
    a.u.w[6] = len;
    return a;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_send_zc(int fd, const void *buf, size_t len, int flags)
{
    return aio__send_zc(fd, buf, len, (unsigned)(flags | MSG_NOSIGNAL) | AIO__ONCE, 0);
}
AIO_FN AIO_NODISCARD aio_awaitable aio__send_zc_all(int fd, const void *buf, size_t len, int flags,
                                                    size_t *done)
{
    return aio__send_zc(fd, buf, len, (unsigned)(flags | MSG_NOSIGNAL | MSG_WAITALL), done);
}
AIO_INLINE AIO_NODISCARD aio_awaitable aio__write_all(int fd, uint64_t offset, const void *buf,
                                                      size_t len, size_t *done)
{
    aio_awaitable a = aio__io(aio__transfer_await(), IORING_OP_WRITE, fd, offset, buf, len, 0);
    a.u.p[4] = done;
    a.u.w[6] = len;
    return a;
}
AIO_INLINE AIO_NODISCARD aio_awaitable aio__pwrite_all(int fd, const void *buf, size_t len,
                                                       int64_t offset, size_t *done)
{
    return aio__write_all(fd, aio__offset(offset), buf, len, done);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_openat2(int dirfd, const char *path,
                                               const struct open_how *how)
{
    return aio__io(aio__checked_await(), IORING_OP_OPENAT2, dirfd, (uint64_t)(uintptr_t)how, path,
                   AIO__OPEN_HOW_BYTES, 0);
}
AIO_FN AIO_NODISCARD aio_awaitable aio__vector(unsigned opcode, int fd, const struct iovec *pieces,
                                               int n, uint64_t offset, int flags)
{
    uint32_t count = n < 1024 ? (uint32_t)n : 1024;
    return aio__entry(n < 0 ? aio__invalid_await() : aio__file_await(), opcode, fd, offset,
                      (uint64_t)(uintptr_t)pieces, count, (unsigned)flags);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_preadv(int fd, const struct iovec *pieces, int n,
                                              int64_t offset, int flags)
{
    return aio__vector(IORING_OP_READV, fd, pieces, n, aio__offset(offset), flags);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_pwritev(int fd, const struct iovec *pieces, int n,
                                               int64_t offset, int flags)
{
    return aio__vector(IORING_OP_WRITEV, fd, pieces, n, aio__offset(offset), flags);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_readv_some(int fd, const struct iovec *pieces, int n)
{
    return aio__vector(IORING_OP_READV, fd, pieces, n, UINT64_MAX, 0);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_writev_some(int fd, const struct iovec *pieces, int n)
{
    return aio__vector(IORING_OP_WRITEV, fd, pieces, n, UINT64_MAX, 0);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_sync_file_range(int fd, int64_t offset, uint64_t len,
                                                       unsigned flags)
{
    uint32_t n = len <= UINT32_MAX ? (uint32_t)len : 0;         // 0: to the end
    return aio__entry(aio__io_await(), IORING_OP_SYNC_FILE_RANGE, fd, (uint64_t)offset, 0, n,
                      flags);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_fallocate(int fd, int mode, int64_t offset, int64_t len)
{
    return aio__entry(aio__io_await(), IORING_OP_FALLOCATE, fd, (uint64_t)offset, (uint64_t)len,
                      (uint32_t)mode, 0);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_ftruncate(int fd, int64_t len)
{
    return aio__entry(aio__checked_await(), AIO__OP_FTRUNCATE, fd, (uint64_t)len, 0, 0, 0);
}
// Lengths of more than 32 bits stand in another word, which older kernels want to be 0.
AIO_FN AIO_NODISCARD aio_awaitable aio_fadvise(int fd, int64_t offset, uint64_t len, int advice)
{
    bool wide = len > UINT32_MAX;
    return aio__entry(aio__io_await(), IORING_OP_FADVISE, fd, (uint64_t)offset, wide ? len : 0,
                      wide ? 0 : (uint32_t)len, (unsigned)advice);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_madvise(void *address, size_t len, int advice)
{
    bool wide = len > UINT32_MAX;
    return aio__entry(aio__io_await(), IORING_OP_MADVISE, -1, wide ? len : 0,
                      (uint64_t)(uintptr_t)address, wide ? 0 : (uint32_t)len, (unsigned)advice);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_splice(int fd_in, int64_t offset_in, int fd_out,
                                              int64_t offset_out, size_t len, unsigned flags)
{
    aio_awaitable a =
        aio__entry(aio__io_await(), IORING_OP_SPLICE, fd_out, (uint64_t)offset_out,
                   (uint64_t)offset_in, aio__length(len), flags & ~SPLICE_F_FD_IN_FIXED);
    a.u.w[4] = AIO__WORD(0, fd_in);
    return a;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_tee(int fd_in, int fd_out, size_t len, unsigned flags)
{
    aio_awaitable a = aio__entry(aio__io_await(), IORING_OP_TEE, fd_out, 0, 0, aio__length(len),
                                 flags & ~SPLICE_F_FD_IN_FIXED);
    a.u.w[4] = AIO__WORD(0, fd_in);
    return a;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_pipe(int fds[2], int flags)
{
    return aio__io(aio__prompt_await(), AIO__OP_PIPE, 0, 0, fds, 0, (unsigned)(flags | O_CLOEXEC));
}
// Names: the first path, the second, their directories.
AIO_FN aio_awaitable aio__two_paths(unsigned opcode, int dirfd, const char *path, int dirfd2,
                                    const char *path2, unsigned flags)
{
    return aio__entry(aio__checked_await(), opcode, dirfd, (uint64_t)(uintptr_t)path2,
                      (uint64_t)(uintptr_t)path, (uint32_t)dirfd2, flags);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_renameat(int from_dirfd, const char *from, int to_dirfd,
                                                const char *to, unsigned flags)
{
    return aio__two_paths(IORING_OP_RENAMEAT, from_dirfd, from, to_dirfd, to, flags);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_linkat(int from_dirfd, const char *from, int to_dirfd,
                                              const char *to, int flags)
{
    return aio__two_paths(IORING_OP_LINKAT, from_dirfd, from, to_dirfd, to, (unsigned)flags);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_symlinkat(const char *target, int dirfd, const char *path)
{
    return aio__two_paths(IORING_OP_SYMLINKAT, dirfd, target, 0, path, 0);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_unlinkat(int dirfd, const char *path, int flags)
{
    return aio__io(aio__checked_await(), IORING_OP_UNLINKAT, dirfd, 0, path, 0, (unsigned)flags);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_mkdirat(int dirfd, const char *path, mode_t mode)
{
    return aio__io(aio__checked_await(), IORING_OP_MKDIRAT, dirfd, 0, path, mode, 0);
}
AIO_FN aio_awaitable aio__xattr(unsigned opcode, int fd, const char *path, const char *name,
                                const void *value, size_t size, int flags)
{
    aio_awaitable a = aio__io(aio__checked_await(), opcode, fd, (uint64_t)(uintptr_t)value, name,
                              size, (unsigned)flags);
    a.u.cp[5] = path;
    return a;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_getxattr(const char *path, const char *name, void *value,
                                                size_t size)
{
    return aio__xattr(IORING_OP_GETXATTR, 0, path, name, value, size, 0);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_setxattr(const char *path, const char *name,
                                                const void *value, size_t size, int flags)
{
    return aio__xattr(IORING_OP_SETXATTR, 0, path, name, value, size, flags);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_fgetxattr(int fd, const char *name, void *value,
                                                 size_t size)
{
    return aio__xattr(IORING_OP_FGETXATTR, fd, 0, name, value, size, 0);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_fsetxattr(int fd, const char *name, const void *value,
                                                 size_t size, int flags)
{
    return aio__xattr(IORING_OP_FSETXATTR, fd, 0, name, value, size, flags);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_socket(int domain, int type, int protocol)
{
    return aio__entry(aio__prompt_await(), IORING_OP_SOCKET, domain,
                      (uint64_t)(unsigned)(type | SOCK_CLOEXEC), 0, (uint32_t)protocol, 0);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_bind(int fd, const struct sockaddr *address,
                                            socklen_t length)
{
    return aio__io(aio__prompt_await(), AIO__OP_BIND, fd, length, address, 0, 0);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_listen(int fd, int backlog)
{
    return aio__entry(aio__prompt_await(), AIO__OP_LISTEN, fd, 0, 0, (uint32_t)backlog, 0);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_shutdown(int fd, int how)
{
    return aio__entry(aio__prompt_await(), IORING_OP_SHUTDOWN, fd, 0, 0, (uint32_t)how, 0);
}
AIO_FN aio_awaitable aio__sockopt(unsigned cmd, int fd, int level, int option, const void *value,
                                  socklen_t size)
{
    aio_awaitable a = aio__entry(aio__prompt_await(), IORING_OP_URING_CMD, fd, AIO__WORD(cmd, 0),
                                 AIO__WORD(level, option), 0, 0);
    a.u.w[4] = AIO__WORD(0, size);
    a.u.cp[5] = value;
    return a;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_getsockopt(int fd, int level, int option, void *value,
                                                  socklen_t size)
{
    return aio__sockopt(AIO__SOCKET_CMD_GETSOCKOPT, fd, level, option, value, size);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_setsockopt(int fd, int level, int option,
                                                  const void *value, socklen_t size)
{
    return aio__sockopt(AIO__SOCKET_CMD_SETSOCKOPT, fd, level, option, value, size);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_accept_from(int fd, struct sockaddr *address,
                                                   socklen_t *length, int flags)
{
    return aio__io(aio__io_await(), IORING_OP_ACCEPT, fd, (uint64_t)(uintptr_t)length, address, 0,
                   (unsigned)(flags | SOCK_CLOEXEC));
}
// Messages: addr is the caller's header, or (w[5] not 0) the data; see aio__message_start.
enum { AIO__MESSAGE_WHOLE, AIO__MESSAGE_PLAIN };
AIO_FN AIO_NODISCARD aio_awaitable aio_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return aio__io(aio__message_await(), IORING_OP_SENDMSG, fd, 0, message, 1,
                   (unsigned)(flags | MSG_NOSIGNAL));
}
AIO_FN AIO_NODISCARD aio_awaitable aio_sendmsg_zc(int fd, const struct msghdr *message, int flags)
{
    return aio__io(aio__message_await(), AIO__OP_SENDMSG_ZC, fd, 0, message, 1,
                   (unsigned)(flags | MSG_NOSIGNAL));
}
AIO_FN AIO_NODISCARD aio_awaitable aio_recvmsg(int fd, struct msghdr *message, int flags)
{
    return aio__io(aio__message_await(), IORING_OP_RECVMSG, fd, 0, message, 1,
                   (unsigned)(flags | MSG_CMSG_CLOEXEC));
}
AIO_FN AIO_NODISCARD aio_awaitable aio_sendto(int fd, const void *buf, size_t len, int flags,
                                              const struct sockaddr *address, socklen_t length)
{
    aio_awaitable a = aio__io(aio__message_await(), IORING_OP_SENDMSG, fd, length, buf, 1,
                              (unsigned)(flags | MSG_NOSIGNAL));
    a.u.w[4] = (uint64_t)(uintptr_t)address;
    a.u.w[5] = AIO__MESSAGE_PLAIN;
    a.u.w[6] = len;
    return a;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_recvfrom(int fd, void *buf, size_t len, int flags,
                                                struct sockaddr *address, socklen_t *length)
{
    aio_awaitable a = aio__io(aio__message_await(), IORING_OP_RECVMSG, fd,
                              (uint64_t)(uintptr_t)length, buf, 1, (unsigned)flags);
    a.u.w[4] = (uint64_t)(uintptr_t)address;
    a.u.w[5] = AIO__MESSAGE_PLAIN;
    a.u.w[6] = len;
    return a;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_epoll_wait(int epfd, struct epoll_event *events, int n)
{
    const aio_await_class *cls = n <= 0 ? aio__invalid_await() : aio__checked_await();
    return aio__entry(cls, AIO__OP_EPOLL_WAIT, epfd, 0, (uint64_t)(uintptr_t)events, (uint32_t)n,
                      0);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_epoll_ctl(int epfd, int op, int fd,
                                                 struct epoll_event *event)
{
    return aio__entry(aio__prompt_await(), IORING_OP_EPOLL_CTL, epfd, (uint64_t)(unsigned)fd,
                      (uint64_t)(uintptr_t)event, (uint32_t)op, 0);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    aio_awaitable a = aio__entry(aio__checked_await(), AIO__OP_WAITID, (int)id,
                                 (uint64_t)(uintptr_t)info, 0, (uint32_t)type, 0);
    a.u.w[4] = AIO__WORD(0, options);
    return a;
}
AIO_FN aio_awaitable aio__futex(const aio_await_class *cls, unsigned opcode, const uint32_t *word,
                                uint64_t value, uint64_t mask, unsigned flags)
{
    aio_awaitable a =
        aio__entry(cls, opcode, (int)flags, value, (uint64_t)(uintptr_t)word, 0, 0);
    a.u.w[5] = mask;
    return a;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_futex_wait(const uint32_t *word, uint32_t value,
                                                  uint64_t mask, unsigned flags)
{
    return aio__futex(aio__checked_await(), AIO__OP_FUTEX_WAIT, word, value, mask, flags);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_futex_wake(const uint32_t *word, unsigned n, uint64_t mask,
                                                  unsigned flags)
{
    return aio__futex(aio__prompt_await(), AIO__OP_FUTEX_WAKE, word, n, mask, flags);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_msg_ring(int ring_fd, uint64_t user_data, unsigned res)
{
    return aio__entry(aio__checked_await(), IORING_OP_MSG_RING, ring_fd, user_data, 0, res, 0);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_futex_waitv(const struct futex_waitv *words, unsigned n)
{
    return aio__entry(aio__waitv_await(), AIO__OP_FUTEX_WAITV, 0, 0, (uint64_t)(uintptr_t)words, n,
                      0);
}

// For what is no operation of the ring.
AIO_FN aio_awaitable aio__plain(const aio_await_class *cls, int64_t a0, const void *a1, int64_t a2)
{
    aio_awaitable a;
    a.cls = cls;
    a.u.i[0] = a0;
    a.u.cp[1] = a1;
    a.u.i[2] = a2;
    return a;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_listen_tcp_with(const char *host, int port,
                                                       const struct aio_listen_options *options)
{
    aio_awaitable a = aio__plain(aio__listen_tcp_await(), port, host, 0);
    a.u.cp[3] = options;
    return a;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_listen_tcp(const char *host, int port)
{
    return aio_listen_tcp_with(host, port, 0);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_listen_unix_with(const char *path,
                                                        const struct aio_listen_options *options)
{
    aio_awaitable a = aio__plain(aio__listen_unix_await(), 0, path, 0);
    a.u.cp[3] = options;
    return a;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_listen_unix(const char *path)
{
    return aio_listen_unix_with(path, 0);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_connect_unix(const char *path)
{
    return aio__plain(aio__connect_unix_await(), 0, path, 0);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_udp_bind(const char *host, int port)
{
    return aio__plain(aio__udp_await(), port, host, false);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_udp_connect(const char *host, int port)
{
    return aio__plain(aio__udp_await(), port, host, true);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_connect_tcp_with(const char *host, int port,
                                                        const struct aio_connect_options *options)
{
    aio_awaitable a = aio__plain(aio__connect_tcp_await(), port, host, 0);
    a.u.i[2] = options && options->attempt_delay_ns ? options->attempt_delay_ns : AIO_SECOND / 4;
    a.u.i[3] = options ? options->family : AF_UNSPEC;
    return a;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_connect_tcp(const char *host, int port)
{
    return aio_connect_tcp_with(host, port, 0);
}
// One entry must be one result.
AIO_FN AIO_NODISCARD aio_awaitable aio_uring_op(const struct io_uring_sqe *sqe)
{
    aio_awaitable a;
    const unsigned refused = IOSQE_IO_DRAIN | IOSQE_IO_LINK | IOSQE_IO_HARDLINK |
                             IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS;
    unsigned op = sqe->opcode;
    bool many = (op == IORING_OP_ACCEPT && (sqe->ioprio & IORING_ACCEPT_MULTISHOT)) ||
                ((op == IORING_OP_RECV || op == IORING_OP_RECVMSG) &&
                 (sqe->ioprio & IORING_RECV_MULTISHOT)) ||
                (op == IORING_OP_POLL_ADD && (sqe->len & IORING_POLL_ADD_MULTI)) ||
                (op == IORING_OP_TIMEOUT && (sqe->timeout_flags & AIO__TIMEOUT_MULTISHOT)) ||
                (op == IORING_OP_URING_CMD && (sqe->rw_flags & AIO__URING_CMD_MULTISHOT)) ||
                op == AIO__OP_READ_MULTISHOT || op == AIO__OP_RECV_ZC;
    a.cls = many || (sqe->flags & refused) ? aio__invalid_await() : aio__io_await();
    __builtin_memcpy(&a.u.w[0], sqe, 32);
    __builtin_memcpy(&a.u.w[4], (const char *)sqe + 40, 24);
    return a;
}
AIO_FN bool aio__in_child(aio_waiter *w)    // a forked one: whatever else is wrong
{
    w->future.result = AIO__LOOP_OF(w->future.loop)->forked ? -EPERM : 0;
    return w->future.result < 0;
}
// The same for what is no awaitable.
AIO_FN bool aio__forked_here(void)
{
    return aio__running() && AIO__LOOP_OF(aio__running())->forked;
}
AIO_FN bool aio__invalid_start(aio_waiter *w, const aio_awaitable *a)
{
    (void)a;
    if (!aio__in_child(w)) w->future.result = -EINVAL;
    return true;
}

// --- what an opcode is
// One row for each that has a name: opcode, name, since (515 is Linux 5.15; up to 512: always
// there), the other way to do it, what it points to that may be a local, traits, its form with a
// registered buffer. All else that is said of opcodes is computed from these rows.
enum {
    AIO__WITHOUT_NOTHING,
    AIO__WITHOUT_CALL,          // a system call that cannot block; preferred, but for direct ones
    AIO__WITHOUT_JOB,           // a system call on a thread of the pool
    AIO__WITHOUT_POLL,          // waits until a descriptor is ready, then a system call
};
enum {
    AIO__COPY_NOTHING,
    AIO__COPY_PATH = 1,         // addr
    AIO__COPY_PATH2 = 2,        // off
    AIO__COPY_PATHS = 3,
    AIO__COPY_PATH3 = 4,        // addr3
    AIO__COPY_PATH_AND_3 = 5,
    AIO__COPY_ADDRESS = 8,      // addr, off bytes
    AIO__COPY_VECTOR = 16,      // addr, len iovecs
    AIO__COPY_HOW = 32,         // off
    AIO__COPY_PATH_AND_HOW = 33,
};
enum {
    AIO__OP_FD = 1,             // fd is a descriptor that aio_close has to wait for, or a slot
    AIO__OP_TWO_FDS = 2,        // … and so is its other one
    AIO__OP_NO_SLOT = 4,        // … not a slot: the kernel looks the number up itself
    AIO__OP_SLOT = 32768,       // fd is a slot
    AIO__OP_GIVES_FD = 8,       // its result is a descriptor: lost, it is closed
    AIO__OP_GIVES_PIPE = 16,    // it stores two
    AIO__OP_INTO = 32,          // puts what it opens into a slot (close: takes it out)
    AIO__OP_BUFFER = 64,        // uses a registered buffer
    AIO__OP_SEND_ZC = 128,      // … if it is told so; completes twice
    AIO__OP_POLL_FIRST = 256,   // IORING_RECVSEND_POLL_FIRST
    AIO__OP_WORKER = 512,       // runs on a kernel thread, ready or not
    AIO__OP_SHORT = 1024,       // less than its length is short, and breaks the kernel's links …
    AIO__OP_WAITALL = 2048,     // … with MSG_WAITALL
    AIO__OP_VECTOR = 4096,      // its length is that of its iovecs
    AIO__OP_MESSAGE = 8192,     // … of its header's
    AIO__OP_GOES_ON = 16384,    // when it fails, the kernel runs what is linked to it all the same
};
#define AIO__OPERATION_ROWS(X, arg) \
    X(arg, 0, "nop", 501, NOTHING, NOTHING, 0, 0) \
    X(arg, 1, "readv", 501, NOTHING, VECTOR, AIO__OP_FD | AIO__OP_SHORT | AIO__OP_VECTOR, 60) \
    X(arg, 2, "writev", 501, NOTHING, VECTOR, AIO__OP_FD | AIO__OP_SHORT | AIO__OP_VECTOR, 61) \
    X(arg, 3, "fsync", 501, NOTHING, NOTHING, AIO__OP_FD | AIO__OP_GOES_ON | AIO__OP_WORKER, 0) \
    X(arg, 4, "read_fixed", 501, NOTHING, NOTHING, AIO__OP_FD | AIO__OP_BUFFER | AIO__OP_SHORT, \
      0) \
    X(arg, 5, "write_fixed", 501, NOTHING, NOTHING, AIO__OP_FD | AIO__OP_BUFFER | \
      AIO__OP_SHORT, 0) \
    X(arg, 6, "poll", 501, NOTHING, NOTHING, AIO__OP_FD, 0) \
    X(arg, 7, "poll_remove", 501, NOTHING, NOTHING, 0, 0) \
    X(arg, 8, "sync_file_range", 502, NOTHING, NOTHING, AIO__OP_FD | AIO__OP_GOES_ON | \
      AIO__OP_WORKER, 0) \
    X(arg, 9, "sendmsg", 503, NOTHING, NOTHING, AIO__OP_FD | AIO__OP_POLL_FIRST | \
      AIO__OP_WAITALL | AIO__OP_MESSAGE, 0) \
    X(arg, 10, "recvmsg", 503, NOTHING, NOTHING, AIO__OP_FD | AIO__OP_POLL_FIRST | \
      AIO__OP_WAITALL | AIO__OP_MESSAGE, 0) \
    X(arg, 11, "timeout", 504, NOTHING, NOTHING, 0, 0) \
    X(arg, 12, "timeout_remove", 505, NOTHING, NOTHING, 0, 0) \
    X(arg, 13, "accept", 505, NOTHING, NOTHING, AIO__OP_FD | AIO__OP_GIVES_FD | AIO__OP_INTO, 0) \
    X(arg, 14, "cancel", 505, NOTHING, NOTHING, 0, 0) \
    X(arg, 15, "link_timeout", 505, NOTHING, NOTHING, 0, 0) \
    X(arg, 16, "connect", 505, NOTHING, ADDRESS, AIO__OP_FD, 0) \
    X(arg, 17, "fallocate", 506, NOTHING, NOTHING, AIO__OP_FD | AIO__OP_GOES_ON | \
      AIO__OP_WORKER, 0) \
    X(arg, 18, "openat", 506, NOTHING, PATH, AIO__OP_GIVES_FD | AIO__OP_INTO, 0) \
    X(arg, 19, "close", 506, NOTHING, NOTHING, AIO__OP_INTO, 0) \
    X(arg, 20, "files_update", 506, NOTHING, NOTHING, 0, 0) \
    X(arg, 21, "statx", 506, NOTHING, PATH, AIO__OP_GOES_ON | AIO__OP_WORKER, 0) \
    X(arg, 22, "read", 506, NOTHING, NOTHING, AIO__OP_FD | AIO__OP_SHORT, 4) \
    X(arg, 23, "write", 506, NOTHING, NOTHING, AIO__OP_FD | AIO__OP_SHORT, 5) \
    X(arg, 24, "fadvise", 506, NOTHING, NOTHING, AIO__OP_FD | AIO__OP_WORKER, 0) \
    X(arg, 25, "madvise", 506, NOTHING, NOTHING, AIO__OP_GOES_ON | AIO__OP_WORKER, 0) \
    X(arg, 26, "send", 506, NOTHING, NOTHING, AIO__OP_FD | AIO__OP_POLL_FIRST | \
      AIO__OP_WAITALL, 0) \
    X(arg, 27, "recv", 506, NOTHING, NOTHING, AIO__OP_FD | AIO__OP_POLL_FIRST | \
      AIO__OP_WAITALL, 0) \
    X(arg, 28, "openat2", 506, NOTHING, PATH_AND_HOW, AIO__OP_GIVES_FD | AIO__OP_INTO, 0) \
    X(arg, 29, "epoll_ctl", 506, CALL, NOTHING, AIO__OP_FD | AIO__OP_NO_SLOT, 0) \
    X(arg, 30, "splice", 507, NOTHING, NOTHING, AIO__OP_FD | AIO__OP_TWO_FDS | AIO__OP_SHORT | \
      AIO__OP_WORKER, 0) \
    X(arg, 31, "provide_buffers", 507, NOTHING, NOTHING, 0, 0) \
    X(arg, 32, "remove_buffers", 507, NOTHING, NOTHING, 0, 0) \
    X(arg, 33, "tee", 508, NOTHING, NOTHING, AIO__OP_FD | AIO__OP_TWO_FDS | AIO__OP_SHORT | \
      AIO__OP_WORKER, 0) \
    X(arg, 34, "shutdown", 511, CALL, NOTHING, AIO__OP_FD | AIO__OP_GOES_ON | AIO__OP_WORKER, 0) \
    X(arg, 35, "renameat", 511, NOTHING, PATHS, AIO__OP_GOES_ON | AIO__OP_WORKER, 0) \
    X(arg, 36, "unlinkat", 511, NOTHING, PATH, AIO__OP_GOES_ON | AIO__OP_WORKER, 0) \
    X(arg, 37, "mkdirat", 515, JOB, PATH, AIO__OP_GOES_ON | AIO__OP_WORKER, 0) \
    X(arg, 38, "symlinkat", 515, JOB, PATHS, AIO__OP_GOES_ON | AIO__OP_WORKER, 0) \
    X(arg, 39, "linkat", 515, JOB, PATHS, AIO__OP_GOES_ON | AIO__OP_WORKER, 0) \
    X(arg, 40, "msg_ring", 518, NOTHING, NOTHING, 0, 0) \
    X(arg, 41, "fsetxattr", 519, JOB, PATH, AIO__OP_FD | AIO__OP_GOES_ON | AIO__OP_WORKER, 0) \
    X(arg, 42, "setxattr", 519, JOB, PATH_AND_3, AIO__OP_GOES_ON | AIO__OP_WORKER, 0) \
    X(arg, 43, "fgetxattr", 519, JOB, PATH, AIO__OP_FD | AIO__OP_GOES_ON | AIO__OP_WORKER, 0) \
    X(arg, 44, "getxattr", 519, JOB, PATH_AND_3, AIO__OP_GOES_ON | AIO__OP_WORKER, 0) \
    X(arg, 45, "socket", 519, CALL, NOTHING, AIO__OP_GIVES_FD | AIO__OP_INTO, 0) \
    X(arg, 46, "uring_cmd", 519, CALL, NOTHING, AIO__OP_FD, 0) \
    X(arg, 47, "send_zc", 600, NOTHING, NOTHING, AIO__OP_FD | AIO__OP_SEND_ZC | \
      AIO__OP_WAITALL, 0) \
    X(arg, 48, "sendmsg_zc", 601, NOTHING, NOTHING, AIO__OP_FD | AIO__OP_SEND_ZC | \
      AIO__OP_WAITALL | AIO__OP_MESSAGE, 0) \
    X(arg, 49, "read_multishot", 607, NOTHING, NOTHING, AIO__OP_FD, 0) \
    X(arg, 50, "waitid", 607, POLL, NOTHING, 0, 0) \
    X(arg, 51, "futex_wait", 607, NOTHING, NOTHING, 0, 0) \
    X(arg, 52, "futex_wake", 607, CALL, NOTHING, 0, 0) \
    X(arg, 53, "futex_waitv", 607, NOTHING, NOTHING, 0, 0) \
    X(arg, 54, "fixed_fd_install", 608, NOTHING, NOTHING, AIO__OP_SLOT | AIO__OP_GIVES_FD, 0) \
    X(arg, 55, "ftruncate", 609, JOB, NOTHING, AIO__OP_FD | AIO__OP_GOES_ON | AIO__OP_WORKER, 0) \
    X(arg, 56, "bind", 611, CALL, ADDRESS, AIO__OP_FD, 0) \
    X(arg, 57, "listen", 611, CALL, NOTHING, AIO__OP_FD, 0) \
    X(arg, 58, "recv_zc", 615, NOTHING, NOTHING, 0, 0) \
    X(arg, 59, "epoll_wait", 615, POLL, NOTHING, AIO__OP_FD, 0) \
    X(arg, 60, "readv_fixed", 615, NOTHING, VECTOR, AIO__OP_FD | AIO__OP_BUFFER | AIO__OP_SHORT | \
      AIO__OP_VECTOR, 0) \
    X(arg, 61, "writev_fixed", 615, NOTHING, VECTOR, AIO__OP_FD | AIO__OP_BUFFER | \
      AIO__OP_SHORT | AIO__OP_VECTOR, 0) \
    X(arg, 62, "pipe", 616, CALL, NOTHING, AIO__OP_INTO | AIO__OP_GIVES_PIPE, 0)
struct aio__operation {
    const char *name;
    uint16_t kernel, traits;
    uint8_t without, copies, fixed;
};
#define AIO__ROW(arg, op, name, kernel, without, copies, traits, fixed) \
    { name, kernel, traits, AIO__WITHOUT_##without, AIO__COPY_##copies, fixed },
#define AIO__ROW_COUNT(arg, op, ...) + 1
#define AIO__ROW_BIT(arg, op, name, kernel, without, copies, traits, fixed) \
    | ((traits) & (arg) ? UINT64_C(1) << (op) : 0)
enum { AIO__OPERATIONS = 0 AIO__OPERATION_ROWS(AIO__ROW_COUNT, 0) };   // known by name
AIO__ASSERT(AIO__OPERATIONS <= 64, "a bit for each operation");
// Opcodes as sets: those whose row has a trait.
__extension__ enum {
    AIO__OPS_FD = 0 AIO__OPERATION_ROWS(AIO__ROW_BIT, AIO__OP_FD),
    AIO__OPS_TWO_FDS = 0 AIO__OPERATION_ROWS(AIO__ROW_BIT, AIO__OP_TWO_FDS),
    AIO__OPS_GIVE_FD = 0 AIO__OPERATION_ROWS(AIO__ROW_BIT, AIO__OP_GIVES_FD),
    AIO__OPS_GIVE_PIPE = 0 AIO__OPERATION_ROWS(AIO__ROW_BIT, AIO__OP_GIVES_PIPE),
    AIO__OPS_INTO = 0 AIO__OPERATION_ROWS(AIO__ROW_BIT, AIO__OP_INTO),
    AIO__OPS_BUFFER = 0 AIO__OPERATION_ROWS(AIO__ROW_BIT, AIO__OP_BUFFER),
    AIO__OPS_SEND_ZC = 0 AIO__OPERATION_ROWS(AIO__ROW_BIT, AIO__OP_SEND_ZC),
    AIO__OPS_MAY_BE_RARE = AIO__OPS_TWO_FDS | AIO__OPS_INTO | AIO__OPS_BUFFER | AIO__OPS_SEND_ZC,
};
// The set of one opcode; empty for those that have no row, also above 63.
AIO_INLINE uint64_t aio__op_bit(unsigned op) { return op < 64 ? UINT64_C(1) << op : 0; }
// Null: it has no row.
AIO_FN const struct aio__operation *aio__operation_of(unsigned op)
{
    static const struct aio__operation table[AIO__OPERATIONS] = {
        AIO__OPERATION_ROWS(AIO__ROW, 0)
    };
    return op < AIO__OPERATIONS ? &table[op] : 0;
}
AIO_FN bool aio__op_is(unsigned op, unsigned trait)
{
    const struct aio__operation *o = aio__operation_of(op);
    return o && (o->traits & trait);
}
AIO_FN bool aio__op_takes_slot(unsigned op)
{
    return aio__op_is(op, AIO__OP_FD | AIO__OP_SLOT) && !aio__op_is(op, AIO__OP_NO_SLOT);
}
AIO_FN const char *aio__opcode_name(unsigned op)
{
    const struct aio__operation *o = aio__operation_of(op);
    return o ? o->name : "operation";
}
AIO_INLINE uint64_t aio__io_rare(const aio_awaitable *a, uint64_t bit)
{
    uint64_t info = AIO__HEAD_FLAGS(a->u.w[0]) & IOSQE_FIXED_FILE ? AIO__IO_DIRECT : 0;
    if ((bit & AIO__OPS_INTO) && AIO__FILE_INDEX(a->u.w[4])) {
        info |= AIO__IO_DIRECT;
        if (bit & AIO__OPS_GIVE_FD) info |= AIO__IO_GIVES_SLOT;
    } else if (bit & AIO__OPS_GIVE_PIPE) {
        info |= AIO__IO_GIVES_PIPE;
    }
    if ((bit & AIO__OPS_BUFFER) || ((bit & AIO__OPS_SEND_ZC) &&
                                    (AIO__HEAD_IOPRIO(a->u.w[0]) & IORING_RECVSEND_FIXED_BUF)))
        info |= AIO__IO_BUFFER;
    if (bit & AIO__OPS_TWO_FDS) {
        bool fixed = AIO__SECOND_HALF(a->u.w[3]) & SPLICE_F_FD_IN_FIXED;
        if (fixed) info |= AIO__IO_DIRECT;
        else if ((int32_t)AIO__FILE_INDEX(a->u.w[4]) >= 0) info |= AIO__IO_TWO_FDS;
    }
    return info;
}
AIO_INLINE bool aio__may_be_rare(const aio_awaitable *a)
{
    return (AIO__HEAD_FLAGS(a->u.w[0]) & IOSQE_FIXED_FILE) ||
           (aio__op_bit(AIO__HEAD_OPCODE(a->u.w[0])) & AIO__OPS_MAY_BE_RARE);
}
AIO_INLINE uint64_t aio__io_usual(const aio_awaitable *a)
{
    unsigned opcode = AIO__HEAD_OPCODE(a->u.w[0]);
    uint32_t fd = AIO__HEAD_FD(a->u.w[0]);
    uint64_t bit = aio__op_bit(opcode), info = fd | (uint64_t)opcode << 32;
    bool fixed = AIO__HEAD_FLAGS(a->u.w[0]) & IOSQE_FIXED_FILE;
    if ((bit & AIO__OPS_FD) && !fixed && (int32_t)fd >= 0) info |= AIO__IO_TRACKED;
    if ((bit & AIO__OPS_GIVE_FD) && !AIO__FILE_INDEX(a->u.w[4])) info |= AIO__IO_GIVES_FD;
    return info;
}
AIO_INLINE uint64_t aio__io_info(const aio_awaitable *a)
{
    uint64_t bit = aio__op_bit(AIO__HEAD_OPCODE(a->u.w[0]));
    return aio__io_usual(a) | aio__io_rare(a, bit);
}

// --- options
AIO_INLINE AIO_NODISCARD aio_awaitable aio_io_with(aio_awaitable a, uint64_t options)
{
    unsigned op = AIO__HEAD_OPCODE(a.u.w[0]);
    uint32_t slot = (uint32_t)(options >> 32), buffer = (uint32_t)options >> 8;
    bool ok = a.cls->kind == AIO__AWAIT_IO;
    if (!ok) op = IORING_OP_NOP;
    uint64_t bit = aio__op_bit(op);
    unsigned flags = (options & AIO_IO_DIRECT ? IOSQE_FIXED_FILE : 0u) |
                     (options & AIO_IO_ASYNC ? IOSQE_ASYNC : 0u);
    unsigned priority = 0;
    if (options & AIO_IO_DIRECT) ok = ok && aio__op_takes_slot(op);
    if (options & AIO_IO_POLL_FIRST) {
        ok = ok && (op == IORING_OP_ACCEPT || aio__op_is(op, AIO__OP_POLL_FIRST));
        priority = op == IORING_OP_ACCEPT ? AIO__ACCEPT_POLL_FIRST : IORING_RECVSEND_POLL_FIRST;
    }
    if (options & AIO__IO_BUFFERED) {
        const struct aio__operation *o = aio__operation_of(op);
        unsigned fixed = o ? o->fixed : 0;
        ok = ok && fixed && buffer <= UINT16_MAX;
        a.u.w[0] ^= AIO__WORD(AIO__HEAD(op ^ fixed, 0, 0), 0);
        a.u.w[4] |= AIO__BUFFER_INDEX(buffer);
    }
    if (options & AIO__IO_INTO) {
        ok = ok && slot && (bit & AIO__OPS_INTO) && (bit & AIO__OPS_GIVE_FD);
        a.u.w[4] |= AIO__WORD(0, slot);
        // such a descriptor is never inherited, and must not be asked for it
        if (op == IORING_OP_SOCKET) a.u.w[1] &= ~(uint64_t)SOCK_CLOEXEC;
        else a.u.w[3] &= ~AIO__WORD(0, O_CLOEXEC);
    }
    a.u.w[0] |= AIO__WORD(AIO__HEAD(0, flags, priority), 0);
    if (!ok) a.cls = aio__invalid_await();
    return a;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_direct_install(unsigned slot)
{
    aio_awaitable a = aio__entry(aio__checked_await(), AIO__OP_FIXED_FD_INSTALL, (int)slot, 0, 0,
                                 0, 0);
    return aio_io_with(a, AIO_IO_DIRECT);
}

// --- entering the kernel
AIO_INLINE uint32_t aio__sq_pending(const aio_uring *u)     // not yet consumed
{
    return u->sq_tail - __atomic_load_n(u->sq_khead, __ATOMIC_RELAXED);
}
AIO_INLINE bool aio__cq_ready(const aio_uring *u)
{
    return __atomic_load_n(u->cq_ktail, __ATOMIC_ACQUIRE) != *u->cq_khead;
}
AIO_INLINE bool aio__kernel_has_work(const aio_uring *u)
{
    return __atomic_load_n(u->sq_kflags, __ATOMIC_RELAXED) &
           (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}
AIO_COLD void aio__arena_reset(aio_uring *u)
{
    u->arena_used = 0;
    while (u->spills) {
        struct aio__spill *next = u->spills->next;
        aio__free(&u->loop->executor, u->spills, (uint32_t)u->spills->block_class);
        u->spills = next;
    }
}
AIO_SLOW void aio__enter_pause(void)
{
    struct timespec pause = { 0, 1000000 };
    nanosleep(&pause, 0);
}
AIO_COLD void aio__enter_failed(aio_uring *u, int error)
{
    // A wait that ended is no failure; EAGAIN and EBUSY: entries stay queued, reap first.
    if (error == -ETIME || error == -EINTR || error == -EAGAIN || error == -EBUSY) return;
    if (error != u->enter_error) aio__loop_say(u->loop, "io_uring_enter failed", error);
    u->enter_error = error;
    // A closed descriptor is for ever; so is what fails each time: a filter that the program has
    // installed since, another thread than the one that began. Memory may come back.
    uint32_t enough = error == -EBADF || error == -EOPNOTSUPP ? 1
                      : error == -ENOMEM || error == -EBADR ? 1000
                                                            : 32;
    if (++u->enter_failures >= enough) {
        u->lost = true;
        u->wake_armed = false;
        u->sq_room = 0;
    }
    if (error == -EBADF || error == -EOPNOTSUPP)
        u->ring.ring_fd = -1;       // that number may be somebody else's by now
    aio__enter_pause();             // it will fail again: do not spin
}
// The kernel has not taken all. If it stopped inside a chain it has forgotten the link, and would
// run the rest whatever becomes of what it took: the chain gets these back, to begin one by one.
AIO_COLD void aio__link_cut(aio_uring *u);
AIO_COLD void aio__enter_stopped(aio_uring *u, uint32_t before)
{
    const struct io_uring_sqe *last = &u->sqes[(u->sq_head - 1) & u->sq_mask];
    if (u->sq_head != before && (last->flags & IOSQE_IO_LINK)) aio__link_cut(u);
}
AIO_FN int aio__entered(aio_uring *u, int r)
{
    if (AIO__UNLIKELY(r < 0)) aio__enter_failed(u, r);
    else if (AIO__UNLIKELY(u->enter_failures)) u->enter_failures = 0;
    uint32_t before = u->sq_head;
    u->sq_head = __atomic_load_n(u->sq_khead, __ATOMIC_ACQUIRE);
    if (AIO__UNLIKELY(u->sq_head != u->sq_tail)) aio__enter_stopped(u, before);
    else if (AIO__UNLIKELY(u->arena_used) && !u->backlog && !u->arena_held && !u->withheld)
        aio__arena_reset(u);
    return r;
}
#ifndef AIO__USER_ENTER          // tests look into it
#  define AIO__USER_ENTER(u, submit, timeout_ns) ((u)->kernel->enter)(u, submit, timeout_ns)
#endif
AIO_SLOW int aio__user_enter(aio_uring *u, int64_t timeout_ns)
{
    return aio__entered(u, AIO__USER_ENTER(u, aio__sq_pending(u), timeout_ns));
}
// Debug mode: an operation that is about to begin must not use the C stack of a step.
AIO_FN bool aio__entry_on_stack(const aio_loop *l, const struct io_uring_sqe *sqe)
{
    const struct iovec *v = (const struct iovec *)(uintptr_t)sqe->addr;
    size_t n = sqe->len;
    switch (sqe->opcode) {
    case IORING_OP_READ: case IORING_OP_WRITE: case IORING_OP_RECV: case IORING_OP_SEND:
    case IORING_OP_READ_FIXED: case IORING_OP_WRITE_FIXED:
        if (sqe->flags & IOSQE_BUFFER_SELECT) return false;
        return aio__on_dead_stack(l, (const void *)(uintptr_t)sqe->addr, sqe->len);
    case IORING_OP_STATX:
        return aio__on_dead_stack(l, (const void *)(uintptr_t)sqe->off, 1);
    case IORING_OP_RECVMSG: case IORING_OP_SENDMSG: {
        const struct msghdr *m = (const struct msghdr *)(uintptr_t)sqe->addr;
        v = m->msg_iov;
        n = m->msg_iovlen;
        break;
    }
    case IORING_OP_READV: case IORING_OP_WRITEV: break;
    default: return false;
    }
    if (sqe->flags & IOSQE_BUFFER_SELECT) return false;
    for (size_t i = 0; i < n; i++)
        if (aio__on_dead_stack(l, v[i].iov_base, v[i].iov_len)) return true;
    return false;
}
AIO_COLD void aio__check_entries(aio_loop *l)     // those that are not submitted yet
{
    const aio_uring *u = (const aio_uring *)l->backend_state;
    for (uint32_t at = u->sq_head; at != u->sq_tail; at++) {
        const struct io_uring_sqe *sqe = &u->sqes[at & u->sq_mask];
        unsigned tag = sqe->user_data & 7;
        const aio_waiter *w = (const aio_waiter *)(uintptr_t)(sqe->user_data & AIO__UD_POINTER);
        if (!w || (tag != AIO__UD_WAITER && tag != AIO__UD_WHOLE && tag != AIO__UD_COMPOUND) ||
            !aio__entry_on_stack(l, sqe)) continue;
        const aio_task *t = w->future.flags & AIO__IS_TASK ? AIO__TASK_OF(w) :
            w->future.flags & AIO__IS_OP ? AIO__CONTAINER(w, aio_op, waiter)->owner : 0;
        aio__panic(t, t ? aio__user_site(l, t) : 0, "the buffer of an operation is a local");
    }
}
// valgrind holds signals back while io_uring_enter waits: it does not know that the call may block.
// There poll waits in its place.
AIO_COLD int aio__uring_poll(aio_uring *u, int64_t timeout_ns)
{
    struct pollfd ready = { u->ring.ring_fd, POLLIN, 0 };
    struct timespec ts = { (time_t)(timeout_ns / AIO_SECOND), (long)(timeout_ns % AIO_SECOND) };
    int r = io_uring_enter2((unsigned)u->enter_fd, aio__sq_pending(u), 0, u->enter_flags, 0, 0);
    if (r < 0 || aio__cq_ready(u)) return r;
    if (ppoll(&ready, 1, timeout_ns == AIO_FOREVER ? 0 : &ts, 0) <= 0) return r;
    int ran = io_uring_enter2((unsigned)u->enter_fd, 0, 0, u->enter_flags, 0, 0);
    return ran < 0 ? ran : r;
}
// Submits all, runs the kernel's deferred work, and waits for one completion if timeout_ns is not
// 0. What happened is in the rings; the return value says why nothing did.
AIO_FN int aio__uring_enter(aio_uring *u, int64_t timeout_ns)
{
    struct io_uring_getevents_arg arg;
    struct __kernel_timespec ts;
    unsigned flags = u->enter_flags, wait = timeout_ns != 0;
    void *extra = 0;
    size_t extra_size = _NSIG / 8;
    __atomic_store_n(u->sq_ktail, u->sq_tail, __ATOMIC_RELEASE);
    if (AIO__UNLIKELY(u->kernel != 0)) return aio__user_enter(u, timeout_ns);
    if (wait && AIO__UNLIKELY(u->polls))
        return aio__entered(u, aio__uring_poll(u, timeout_ns));
    if (wait && timeout_ns != AIO_FOREVER) {
        memset(&arg, 0, sizeof arg);
        ts.tv_sec = timeout_ns / AIO_SECOND;
        ts.tv_nsec = timeout_ns % AIO_SECOND;
        arg.ts = (uint64_t)(uintptr_t)&ts;
        flags |= IORING_ENTER_EXT_ARG;
        extra = &arg;
        extra_size = sizeof arg;
    }
    return aio__entered(u, io_uring_enter2((unsigned)u->enter_fd, aio__sq_pending(u), wait, flags,
                                           (sigset_t *)extra, extra_size));
}

// What is registered, by whoever the kernel is.
AIO_COLD int aio__ring_register(aio_uring *u, unsigned what, void *arg, unsigned n)
{
    struct io_uring *ring = &u->ring;
    if (u->kernel) return (u->kernel->registers)(u, what, arg, n);
    switch (what) {
    case IORING_REGISTER_BUFFERS:
        return io_uring_register_buffers(ring, (const struct iovec *)arg, n);
    case IORING_UNREGISTER_BUFFERS: return io_uring_unregister_buffers(ring);
    case IORING_REGISTER_FILES2: return io_uring_register_files_sparse(ring, n);
    case IORING_REGISTER_FILES: return io_uring_register_files(ring, (const int *)arg, n);
    case IORING_UNREGISTER_FILES: return io_uring_unregister_files(ring);
    case IORING_REGISTER_FILES_UPDATE:
        return io_uring_register_files_update(ring, n, (const int *)arg, 1);
    case IORING_REGISTER_PBUF_RING:
        return io_uring_register_buf_ring(ring, (struct io_uring_buf_reg *)arg, 0);
    case IORING_UNREGISTER_PBUF_RING: return io_uring_unregister_buf_ring(ring, (int)n);
    default: return -EINVAL;
    }
}

// Memory of the toolkit's that the kernel will write to.
AIO_FN void aio__kernel_fills(void *memory, size_t size)
{
#ifdef AIO_VALGRIND
    memset(memory, 0, size);
#else
    (void)memory;
    (void)size;
#endif
}

// --- submission entries
AIO_INLINE struct io_uring_sqe *aio__sqe_next(aio_uring *u)
{
    return &u->sqes[u->sq_tail++ & u->sq_mask];
}
// The ring seems full, there is a backlog, or this is a forked child. Null: no room now.
AIO_COLD struct io_uring_sqe *aio__sqe_slow(aio_uring *u)
{
    if (u->disabled || u->lost || u->backlog) return 0;
    u->sq_head = __atomic_load_n(u->sq_khead, __ATOMIC_ACQUIRE);
    if (u->sq_tail - u->sq_head >= u->sq_entries) aio__uring_enter(u, 0);
    return u->sq_tail - u->sq_head < u->sq_entries ? aio__sqe_next(u) : 0;
}
AIO_INLINE struct io_uring_sqe *aio__sqe_get(aio_uring *u)
{
    if (AIO__LIKELY(u->sq_tail - u->sq_head < u->sq_room)) return aio__sqe_next(u);
    return aio__sqe_slow(u);
}
AIO_COLD struct aio__backlog *aio__backlog_new(aio_uring *u)
{
    return (struct aio__backlog *)aio__alloc(&u->loop->executor,
                                             aio__class_of(sizeof(struct aio__backlog)),
                                             sizeof(struct aio__backlog));
}
AIO_COLD void aio__backlog_queue(aio_uring *u, struct aio__backlog *b)
{
    b->next = 0;
    if (u->backlog) u->backlog_last->next = b;
    else u->backlog = b;
    u->backlog_last = b;
    u->sq_room = 0;                 // later ones queue behind it
}
AIO_COLD struct io_uring_sqe *aio__backlog_add(aio_uring *u)
{
    if (u->disabled || u->lost) return 0;
    struct aio__backlog *b = aio__backlog_new(u);
    if (b) aio__backlog_queue(u, b);
    return b ? &b->sqe : 0;
}
AIO_FN void aio__backlog_free(aio_uring *u, struct aio__backlog *b)
{
    aio__free(&u->loop->executor, b, aio__class_of(sizeof *b));
    if (!u->backlog && !u->lost) u->sq_room = u->sq_entries;
}
AIO_COLD aio_result aio__no_entry(const aio_uring *u)
{
    return u->disabled ? -EPERM : u->lost ? -EIO : -ENOMEM;
}
AIO_COLD void aio__backlog_flush(aio_uring *u)
{
    struct aio__backlog *b;
    while ((b = u->backlog) != 0) {
        u->sq_head = __atomic_load_n(u->sq_khead, __ATOMIC_ACQUIRE);
        if (u->sq_tail - u->sq_head >= u->sq_entries) aio__uring_enter(u, 0);
        if (u->sq_tail - u->sq_head >= u->sq_entries) return;
        *aio__sqe_next(u) = b->sqe;
        u->backlog = b->next;
        aio__backlog_free(u, b);
    }
}
// Does w wait for an operation that can be ended, and (fd >= 0) on that descriptor?
AIO_FN bool aio__is_on(uint64_t info, int fd)
{
    return fd < 0 || ((info & AIO__IO_TRACKED) && (int)(uint32_t)info == fd);
}
AIO_FN bool aio__waits_on(const aio_waiter *w, int fd)
{
    uint64_t info = w->node.u.w[1];
    if (w->node.cls->kind != AIO__WAIT_URING) return false;
    return aio__is_on(info, fd) ||
           ((info & AIO__IO_TWO_FDS) && (int)(uint32_t)w->node.u.w[2] == fd);
}
// The same of whoever stands in an entry; nobody waits for a cancel.
AIO_FN bool aio__entry_on(uint64_t user_data, int fd)
{
    uint64_t who = user_data & AIO__UD_POINTER;
    if (!who || (user_data & 7) == AIO__UD_CLOSING) return false;
    if ((user_data & 7) == AIO__UD_SINK)
        return aio__is_on(((const struct aio__sink *)(uintptr_t)who)->info, fd);
    return aio__waits_on((const aio_waiter *)(uintptr_t)who, fd);
}
// Takes out of a list the entries with this user_data, or (user_data 0) those on one descriptor, or
// (fd < 0) all; puts them before `out`.
AIO_COLD struct aio__backlog *aio__entries_out(struct aio__backlog **list,
                                               struct aio__backlog **last, uint64_t user_data,
                                               int fd, struct aio__backlog *out)
{
    struct aio__backlog *before = 0, *next;
    for (struct aio__backlog *b = *list; b; b = next) {
        uint64_t data = b->sqe.user_data;
        next = b->next;
        if (user_data ? data != user_data : !aio__entry_on(data, fd)) {
            before = b;
            continue;
        }
        if (before) before->next = next;
        else *list = next;
        if (last && *last == b) *last = before;
        b->next = out;
        out = b;
    }
    return out;
}
// Takes such entries out of the backlog and of what is withheld. They end with `why`: the kernel
// never saw them. Returns how many.
AIO_FN void aio__entry_end(aio_uring *u, uint64_t user_data, aio_result res, uint32_t cqe_flags);
AIO_COLD uint32_t aio__backlog_end(aio_uring *u, uint64_t user_data, int fd, aio_result why)
{
    uint32_t ended = 0;
    struct aio__backlog *next, *out = aio__entries_out(&u->withheld, 0, user_data, fd, 0);
    out = aio__entries_out(&u->backlog, &u->backlog_last, user_data, fd, out);
    for (; out; out = next, ended++) {      // who is told may begin the next, or end another
        next = out->next;
        user_data = out->sqe.user_data;
        aio__backlog_free(u, out);
        aio__entry_end(u, user_data, why, 0);
    }
    return ended;
}
// A copy of something small that the kernel reads when it consumes the entry.
AIO_FN void *aio__arena_copy(aio_uring *u, const void *from, size_t size)
{
    char *to;
    size_t room = (size + 15) & ~(size_t)15;
    if (room <= u->arena_size - u->arena_used) {
        to = u->arena + u->arena_used;
        u->arena_used += room;
    } else {
        uint32_t k = aio__class_of(sizeof(struct aio__spill) + size);
        struct aio__spill *s = (struct aio__spill *)aio__alloc(&u->loop->executor, k,
                                                               sizeof *s + size);
        if (!s) return 0;
        s->next = u->spills;
        s->block_class = k;
        u->spills = s;
        u->arena_used = u->arena_used ? u->arena_used : 16;     // there is something to reset
        to = (char *)(s + 1);
    }
    memcpy(to, from, size);
    // until its entry is in the ring, which may have to be emptied for it
    u->arena_held = true;
    return to;
}

// --- descriptors: how many operations are in flight on each
AIO_COLD aio_result aio__fds_grow(aio_uring *u, uint32_t fd)
{
    uint32_t capacity = u->fd_capacity ? u->fd_capacity : 64;
    if (fcntl((int)fd, F_GETFD) < 0) return -EBADF;     // a wild number must not cost gigabytes
    while (capacity <= fd) capacity *= 2;
    const size_t each = sizeof(uint64_t) + sizeof(uint32_t);
    uint64_t *last = (uint64_t *)aio__chunk_new(&u->loop->executor, capacity * each);
    if (!last) return -ENOMEM;
    uint32_t *ops = (uint32_t *)(void *)(last + capacity);
    memset(last, 0, capacity * each);
    if (u->fd_ops) {
        memcpy(last, u->fd_last, u->fd_capacity * sizeof *last);
        memcpy(ops, u->fd_ops, u->fd_capacity * sizeof *ops);
        aio__chunk_free(&u->loop->executor, u->fd_last);
    }
    u->fd_last = last;
    u->fd_ops = ops;
    u->fd_capacity = capacity;
    return 0;
}
AIO_INLINE aio_result aio__fd_hold(aio_uring *u, uint32_t fd)
{
    if (AIO__UNLIKELY(fd >= u->fd_capacity)) {
        aio_result r = aio__fds_grow(u, fd);
        if (r < 0) return r;
    }
    if (AIO__UNLIKELY(u->fd_ops[fd] & AIO__FD_CLOSING)) return -EBADF;
    u->fd_ops[fd]++;
    return 0;
}
AIO_COLD void aio__closing_ready(aio_uring *u, uint32_t fd);
AIO_INLINE void aio__fd_release(aio_uring *u, uint64_t info)
{
    uint32_t fd = (uint32_t)info;
    if (!(info & AIO__IO_TRACKED)) return;
    if (AIO__UNLIKELY(--u->fd_ops[fd] == AIO__FD_CLOSING)) aio__closing_ready(u, fd);
}
// All that an operation uses. second: the other descriptor of AIO__IO_TWO_FDS.
AIO_SLOW void aio__rare_release(aio_uring *u, uint64_t info, uint32_t second)
{
    if (info & AIO__IO_TWO_FDS) aio__fd_release(u, second | AIO__IO_TRACKED);
    if (info & AIO__IO_DIRECT) u->direct_ops--;
    if (info & AIO__IO_BUFFER) u->buffer_ops--;
}
AIO_SLOW aio_result aio__rare_hold(aio_uring *u, uint64_t info, uint32_t second)
{
    aio_result r = info & AIO__IO_TWO_FDS ? aio__fd_hold(u, second) : 0;
    if (r < 0) aio__fd_release(u, info);
    if (r < 0) return r;
    if (info & AIO__IO_DIRECT) u->direct_ops++;
    if (info & AIO__IO_BUFFER) u->buffer_ops++;
    return 0;
}
AIO_INLINE void aio__io_release(aio_uring *u, uint64_t info, uint32_t second)
{
    aio__fd_release(u, info);
    if (AIO__UNLIKELY(info & AIO__IO_RARE)) aio__rare_release(u, info, second);
}
AIO_INLINE aio_result aio__io_hold(aio_uring *u, uint64_t info, uint32_t second)
{
    aio_result r = info & AIO__IO_TRACKED ? aio__fd_hold(u, (uint32_t)info) : 0;
    if (AIO__LIKELY(r < 0 || !(info & AIO__IO_RARE))) return r;
    return aio__rare_hold(u, info, second);
}
AIO_FN bool aio__fd_closing(const aio_uring *u, uint64_t info)
{
    return (info & AIO__IO_TRACKED) && (u->fd_ops[(uint32_t)info] & AIO__FD_CLOSING);
}

// --- cancelling
AIO_COLD bool aio__detours_cancel(aio_uring *u, uint64_t user_data, int fd);
AIO_FN struct io_uring_sqe *aio__cancel_entry(aio_uring *u)
{
    struct io_uring_sqe *sqe = aio__sqe_get(u);
    if (!sqe) sqe = aio__backlog_add(u);
    if (!sqe) return 0;
    memset((void *)sqe, 0, sizeof *sqe);
    sqe->opcode = IORING_OP_ASYNC_CANCEL;
    sqe->fd = -1;
    sqe->user_data = AIO__UD_NOBODY;
    if (u->has_cancel_all) {            // then it posts nothing of its own, found or not
        sqe->cancel_flags = IORING_ASYNC_CANCEL_ALL;
        sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
    }
    return sqe;
}
AIO_FN bool aio__cancel_by_data(aio_uring *u, uint64_t user_data)
{
    struct io_uring_sqe *sqe = aio__cancel_entry(u);
    if (sqe) sqe->addr = user_data;
    return sqe != 0;
}
// Makes an entry that the kernel has not yet seen do nothing. Without that a task that is cancelled
// but finds all its operations done at once would never get its -ECANCELED.
AIO_FN bool aio__withdraw(aio_uring *u, uint64_t user_data)
{
    uint32_t back = (uint16_t)(u->sq_tail - (uint32_t)(user_data >> 48));
    struct io_uring_sqe *sqe = &u->sqes[(u->sq_tail - back - 1) & u->sq_mask];
    if (back >= aio__sq_pending(u) || sqe->user_data != user_data) return false;
    memset((void *)sqe, 0, sizeof *sqe);
    sqe->opcode = IORING_OP_NOP;
    sqe->fd = -1;
    sqe->flags = u->has_cancel_all ? IOSQE_CQE_SKIP_SUCCESS : 0;
    return true;
}
AIO_COLD void aio__cancel_waiter(aio_uring *u, const aio_waiter *w, int fd)
{
    if (aio__waits_on(w, fd) && !aio__cancel_by_data(u, w->node.u.w[0])) u->cancel_owed = true;
}
AIO_COLD void aio__chain_cut(aio_chain *c, int fd);
AIO_COLD void aio__chain_cancel_again(aio_chain *c);
// Calls for each sink, chain, task and op that waits on the ring; fd < 0: on any descriptor.
AIO_COLD void aio__cancel_one_by_one(aio_uring *u, int fd)
{
    for (struct aio__sink *s = u->sinks; s; s = s->next) {
        if (aio__is_on(s->info, fd) && !aio__cancel_by_data(u, s->user_data)) u->cancel_owed = true;
    }
    for (aio_chain *c = u->chains; c; c = c->next) aio__chain_cut(c, fd);
    for (aio_task *t = u->loop->executor.first; t; t = t->next) {
        aio__cancel_waiter(u, &t->waiter, fd);
        for (aio_scope *s = t->scopes; s; s = s->outer) {
            aio_op *op = aio__scope_op(s);
            if (op) aio__cancel_waiter(u, &op->waiter, fd);
        }
    }
}
// Ends all operations there are.
AIO_COLD void aio__cancel_all(aio_uring *u)
{
    aio__backlog_end(u, 0, -1, -ECANCELED);
    struct io_uring_sqe *sqe = u->has_cancel_all ? aio__cancel_entry(u) : 0;
    if (sqe) sqe->cancel_flags |= IORING_ASYNC_CANCEL_ANY;
    else aio__cancel_one_by_one(u, -1);
}
// Ends all operations on fd. The kernel is not asked by descriptor: it would look for the file,
// which may have other descriptors. The last one that began is mostly the only one.
AIO_COLD void aio__cancel_fd(aio_uring *u, int fd, uint64_t last)
{
    aio__backlog_end(u, 0, fd, -EBADF);
    (void)aio__detours_cancel(u, 0, fd);
    bool only = last && u->fd_ops[fd] == (AIO__FD_CLOSING | 1);
    struct io_uring_sqe *sqe = only ? aio__cancel_entry(u) : 0;
    if (!sqe) {
        aio__cancel_one_by_one(u, fd);
        return;
    }
    sqe->addr = last;
    sqe->cancel_flags = 0;
    sqe->flags = 0;
    sqe->user_data = AIO__UD_CANCEL(fd);
}
AIO_COLD void aio__cancel_answer(aio_uring *u, uint64_t user_data, aio_result found)
{
    int fd = AIO__UD_FD(user_data);
    if (found == -ENOENT && (u->fd_ops[fd] & AIO__FD_CLOSING)) aio__cancel_one_by_one(u, fd);
}
// Cancels for which there was neither room nor memory.
AIO_COLD void aio__cancel_owed(aio_uring *u, aio_node *n)
{
    if (n->cls->kind != AIO__WAIT_URING || !(n->u.w[1] & AIO__IO_CANCEL_OWED)) return;
    if (aio__cancel_by_data(u, n->u.w[0])) n->u.w[1] &= ~AIO__IO_CANCEL_OWED;
    else u->cancel_owed = true;
}
AIO_COLD void aio__cancel_again(aio_uring *u)
{
    bool chains = u->chains_owed;
    u->cancel_owed = u->chains_owed = false;
    for (aio_chain *c = u->chains; c; c = c->next) {
        if (c->cancel_owed || (chains && c->left)) aio__chain_cancel_again(c);
        for (uint32_t i = 0; c->left && i < c->count; i++)
            if (c->steps[i].started) aio__cancel_owed(u, &c->steps[i].u.waiter.node);
    }
    for (struct aio__sink *s = u->sinks; s; s = s->next) {
        if (!(s->info & AIO__IO_CANCEL_OWED)) continue;
        if (aio__cancel_by_data(u, s->user_data)) s->info &= ~AIO__IO_CANCEL_OWED;
        else u->cancel_owed = true;
    }
    for (aio_task *t = u->loop->executor.first; t; t = t->next) {
        aio__cancel_owed(u, &t->waiter.node);
        for (aio_scope *s = t->scopes; s; s = s->outer) {
            aio_op *op = aio__scope_op(s);
            if (op) aio__cancel_owed(u, &op->waiter.node);
        }
    }
    for (uint32_t fd = 0; fd < u->fd_capacity; fd++)
        if (u->fd_ops[fd] & AIO__FD_CLOSING) aio__cancel_fd(u, (int)fd, 0);
}
// The kernel cannot be asked any more, and will never say that it has let go: who is cancelled ends
// all the same, what it should say of them later is not listened to, and the loop's memory is never
// given back.
AIO_COLD bool aio__lost_cancel(aio_uring *u)
{
    if (u->lost) u->loop->abandoned = true;
    return u->lost;
}
AIO_FN bool aio__io_cancel(aio_waiter *w)
{
    aio_uring *u = (aio_uring *)AIO__LOOP_OF(w->future.loop)->backend_state;
    w->future.flags |= AIO__CANCEL_ASKED;
    if (w->node.u.w[1] & AIO__IO_CANCELLED) return true;
    w->node.u.w[1] |= AIO__IO_CANCELLED;
    if (AIO__UNLIKELY(u->disabled)) return true;            // a forked child: nobody will go on
    if (AIO__UNLIKELY(u->backlog || u->withheld) &&
        aio__backlog_end(u, w->node.u.w[0], 0, -ECANCELED))
        return true;
    if (aio__detours_cancel(u, w->node.u.w[0], (int)(uint32_t)w->node.u.w[1])) return true;
    if (aio__withdraw(u, w->node.u.w[0]) || aio__lost_cancel(u)) {
        aio__entry_end(u, w->node.u.w[0], -ECANCELED, 0);
    } else if (!aio__cancel_by_data(u, w->node.u.w[0])) {   // no room and no memory: a turn later
        w->node.u.w[1] |= AIO__IO_CANCEL_OWED;
        u->cancel_owed = true;
    }
    return true;
}

// --- waits on the ring
AIO_FN size_t aio__io_describe(const aio_waiter *w, char *text, size_t size)
{
    uint64_t info = w->node.u.w[1];
    size_t at = aio__append(text, size, 0, aio__opcode_name(AIO__IO_OPCODE(info)));
    if (!(info & AIO__IO_TRACKED) && AIO__IO_OPCODE(info) != IORING_OP_CLOSE) return at;
    return aio__append_number(text, size, aio__append(text, size, at, " fd "), (uint32_t)info);
}
AIO_TABLE(aio_wait_class, aio__io_wait,
    { "io", AIO__WAIT_URING, aio__io_cancel, 0, 0, 0, aio__io_describe, 0 })
AIO_TABLE(aio_wait_class, aio__close_wait,
    { "close", AIO__WAIT_OWN, 0, 0, 0, 0, aio__io_describe, 0 })

AIO_FN void aio__io_dispose(aio_waiter *w)
{
    if (w->future.result >= 0) close((int)w->future.result);
}
AIO_TABLE(aio_wait_class, aio__io_done_fd,
    { "ready", AIO__WAIT_READY, 0, aio__settled_resume, 0, 0, 0, aio__io_dispose })
AIO_FN void aio__slot_dispose(aio_waiter *w)
{
    if (w->future.result >= 0)
        aio_direct_put(AIO__LOOP_OF(w->future.loop), (unsigned)w->future.result, -1);
}
AIO_TABLE(aio_wait_class, aio__io_done_slot,
    { "ready", AIO__WAIT_READY, 0, aio__settled_resume, 0, 0, 0, aio__slot_dispose })
AIO_FN void aio__pipe_dispose(aio_waiter *w)
{
    const int *fds = (const int *)w->node.u.p[0];
    if (w->future.result < 0) return;
    close(fds[0]);
    close(fds[1]);
}
AIO_TABLE(aio_wait_class, aio__pipe_done,
    { "ready", AIO__WAIT_READY, 0, aio__settled_resume, 0, 0, 0, aio__pipe_dispose })
// Descriptors that came with a message.
#define AIO__SCM_PIDFD 4
AIO_FN void aio__message_close(struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET) continue;
        if (c->cmsg_type != SCM_RIGHTS && c->cmsg_type != AIO__SCM_PIDFD) continue;
        int fd;
        for (size_t at = CMSG_LEN(0); at + sizeof fd <= c->cmsg_len; at += sizeof fd) {
            memcpy(&fd, (char *)c + at, sizeof fd);
            if (fd >= 0) close(fd);
        }
    }
}
AIO_FN void aio__message_dispose(aio_waiter *w)
{
    if (w->future.result >= 0) aio__message_close((struct msghdr *)w->node.u.p[0]);
}
AIO_TABLE(aio_wait_class, aio__io_done_message,
    { "ready", AIO__WAIT_READY, 0, aio__settled_resume, 0, 0, 0, aio__message_dispose })

// The entry is written: from now on the kernel (or the backlog) owes a result.
AIO_INLINE void aio__io_submitted(aio_loop *l, aio_uring *u, aio_waiter *w,
                                  struct io_uring_sqe *sqe, const aio_awaitable *a, unsigned tag,
                                  uint64_t info)
{
    uint64_t user_data = (uint64_t)(uintptr_t)w | tag | (uint64_t)u->sq_tail << 48;
    aio__sqe_fill(sqe, a, user_data);
    w->node.u.w[0] = user_data;
    w->node.u.w[1] = info;
    if (info & AIO__IO_TRACKED) u->fd_last[(uint32_t)info] = user_data;
    l->in_flight++;
}
AIO_INLINE aio_result aio__io_submit_as(aio_uring *u, aio_waiter *w, const aio_awaitable *a,
                                        unsigned tag, const aio_wait_class *cls, uint64_t info)
{
    uint32_t second = AIO__FILE_INDEX(a->u.w[4]);
    aio_result r = aio__io_hold(u, info, second);
    if (r < 0) u->arena_held = false;
    if (r < 0) return r;
    struct io_uring_sqe *sqe = aio__sqe_get(u);
    u->arena_held = false;
    if (!sqe && !(sqe = aio__backlog_add(u))) {
        aio__io_release(u, info, second);
        return aio__no_entry(u);
    }
    aio__io_submitted(u->loop, u, w, sqe, a, tag, info);
    if (info & AIO__IO_TWO_FDS) u->fd_last[second] = w->node.u.w[0];
    if (info & AIO__IO_RARE) w->node.u.w[2] = info & AIO__IO_GIVES_PIPE ? a->u.w[2] : second;
    aio_waiter_begin(w, cls);
    return 0;
}
AIO_FN bool aio__has(const aio_uring *u, unsigned op) { return u->has & aio__op_bit(op); }
AIO_SLOW aio_result aio__io_submit_rare(aio_uring *u, aio_waiter *w, const aio_awaitable *a,
                                        unsigned tag, const aio_wait_class *cls)
{
    uint64_t info = aio__io_info(a);
    // without mkdirat it is older than 5.15, does not look at the slot, and gives a descriptor
    bool refused = (info & AIO__IO_GIVES_SLOT) && !aio__has(u, IORING_OP_MKDIRAT);
    if (refused) u->arena_held = false;
    return refused ? -EOPNOTSUPP : aio__io_submit_as(u, w, a, tag, cls, info);
}
// Hands an entry to the ring for waiter w. Result: 0, or why it was not started.
AIO_SLOW aio_result aio__io_submit(aio_uring *u, aio_waiter *w, const aio_awaitable *a,
                                   unsigned tag, const aio_wait_class *cls)
{
    if (aio__may_be_rare(a)) return aio__io_submit_rare(u, w, a, tag, cls);
    return aio__io_submit_as(u, w, a, tag, cls, aio__io_usual(a) & ~AIO__IO_RARE);
}
AIO_COLD aio_uring *aio__uring_of_slow(aio_loop *l, aio_result *why)
{
    *why = l->forked ? -EPERM : aio_uring_attach(l, 0);
    return l->forked ? 0 : (aio_uring *)l->backend_state;
}
// The ring of a waiter's loop, made if there is none. Null: *why.
AIO_INLINE aio_uring *aio__uring_of(aio_waiter *w, aio_result *why)
{
    aio_loop *l = AIO__LOOP_OF(w->future.loop);
    if (AIO__LIKELY(l->backend_state && !l->forked)) return (aio_uring *)l->backend_state;
    return aio__uring_of_slow(l, why);
}
AIO_INLINE bool aio__failed(aio_waiter *w, aio_result r)
{
    if (AIO__LIKELY(r >= 0)) return false;
    w->future.result = r;
    return true;
}
AIO_COLD bool aio__io_start_slow(aio_waiter *w, const aio_awaitable *a)
{
    aio_result r = 0;
    aio_uring *u = aio__uring_of(w, &r);
    if (u) r = aio__io_submit(u, w, a, AIO__UD_WAITER, aio__io_wait());
    return aio__failed(w, r);
}
// Straight into the ring. The slow path gets a copy, so that the awaitable itself stays in
// registers.
AIO__START_FN bool aio__io_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_loop *l = AIO__LOOP_OF(w->future.loop);
    aio_uring *u = (aio_uring *)l->backend_state;
    uint64_t info = aio__io_info(a);
    uint32_t fd = (uint32_t)info;
    bool tracked = info & AIO__IO_TRACKED;
    if (AIO__UNLIKELY((info & AIO__IO_RARE) || !u || u->sq_tail - u->sq_head >= u->sq_room ||
                      (tracked && (fd >= u->fd_capacity || (u->fd_ops[fd] & AIO__FD_CLOSING))))) {
        aio_awaitable copy = *a;
        return aio__io_start_slow(w, &copy);
    }
    if (tracked) u->fd_ops[fd]++;
    aio__io_submitted(l, u, w, aio__sqe_next(u), a, AIO__UD_WAITER, info);
    aio_waiter_begin(w, aio__io_wait());
    return false;
}
// --- operations through the table: copies of what they point to, other means where the kernel
// lacks them
AIO_FN aio_result aio__copy_bytes(aio_uring *u, uint64_t *word, size_t size)
{
    void *copy = aio__arena_copy(u, (const void *)(uintptr_t)*word, size);
    *word = (uint64_t)(uintptr_t)copy;
    return copy ? 0 : -ENOMEM;
}
AIO_FN aio_result aio__copy_path(aio_uring *u, uint64_t *word)
{
    return *word ? aio__copy_bytes(u, word, strlen((const char *)(uintptr_t)*word) + 1) : -EFAULT;
}
AIO_FN aio_result aio__copy_how(aio_uring *u, aio_awaitable *a)
{
    uint64_t flags;
    if (!a->u.w[1]) return -EFAULT;
    aio_result r = aio__copy_bytes(u, &a->u.w[1], AIO__OPEN_HOW_BYTES);
    if (r < 0) return r;
    memcpy(&flags, a->u.p[1], sizeof flags);
    if (AIO__FILE_INDEX(a->u.w[4])) flags &= ~(uint64_t)O_CLOEXEC;
    else flags |= (uint64_t)O_CLOEXEC;
    memcpy(a->u.p[1], &flags, sizeof flags);
    return 0;
}
// What an entry points to goes into the arena, until the kernel has consumed the entry.
AIO_FN aio_result aio__copy_in(aio_uring *u, aio_awaitable *a, unsigned what)
{
    aio_result r = 0;
    if (what & AIO__COPY_PATH) r = aio__copy_path(u, &a->u.w[2]);
    if (r >= 0 && (what & AIO__COPY_PATH2)) r = aio__copy_path(u, &a->u.w[1]);
    if (r >= 0 && (what & AIO__COPY_PATH3)) r = aio__copy_path(u, &a->u.w[5]);
    if (r >= 0 && (what & AIO__COPY_HOW)) r = aio__copy_how(u, a);
    if (what & AIO__COPY_ADDRESS) {
        bool sound = a->u.w[2] && a->u.w[1] <= sizeof(struct sockaddr_storage);
        r = sound ? aio__copy_bytes(u, &a->u.w[2], (size_t)a->u.w[1]) : -EINVAL;
    }
    if (what & AIO__COPY_VECTOR) {
        size_t n = AIO__FIRST_HALF(a->u.w[3]);
        bool sound = a->u.w[2] || !n;
        if (n && sound) r = aio__copy_bytes(u, &a->u.w[2], n * sizeof(struct iovec));
        if (!sound) r = -EFAULT;
    }
    if (r < 0) u->arena_held = false;
    return r;
}
// A FIFO's open waits for the other side; the ring would try without waiting, and take that for the
// end. On a kernel thread it does wait.
AIO_FN bool aio__open_waits(const aio_awaitable *a)
{
    unsigned op = AIO__HEAD_OPCODE(a->u.w[0]);
    uint64_t flags = AIO__SECOND_HALF(a->u.w[3]);
    if (op == IORING_OP_OPENAT2) memcpy(&flags, a->u.cp[1], sizeof flags);
    else if (op != IORING_OP_OPENAT) return false;
    return (flags & O_ACCMODE) != O_RDWR && !(flags & (O_NONBLOCK | O_DIRECTORY));
}
AIO_FN bool aio__job_start(aio_uring *u, aio_waiter *w, const aio_awaitable *a);
AIO_FN bool aio__polled_start(aio_uring *u, aio_waiter *w, const aio_awaitable *a);
AIO_FN aio_result aio__kept_path_start(aio_uring *u, aio_waiter *w, const aio_awaitable *a);
AIO_SLOW bool aio__checked_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_result r = 0;
    aio_awaitable copy = *a;
    unsigned op = AIO__HEAD_OPCODE(a->u.w[0]);
    const struct aio__operation *o = aio__operation_of(op);
    aio_uring *u = aio__uring_of(w, &r);
    if (!u || u->disabled) return aio__failed(w, u ? -EPERM : r);
    if (AIO__UNLIKELY(!aio__has(u, op))) {
        if (!(AIO__HEAD_FLAGS(a->u.w[0]) & IOSQE_FIXED_FILE)) {
            if (o->without == AIO__WITHOUT_JOB) return aio__job_start(u, w, a);
            if (o->without == AIO__WITHOUT_POLL) return aio__polled_start(u, w, a);
        }
        return aio__failed(w, -EOPNOTSUPP);
    }
    if (op == IORING_OP_STATX && u->level > 3) return aio__failed(w, aio__kept_path_start(u, w, a));
    r = aio__copy_in(u, &copy, o->copies);
    if (r >= 0 && aio__open_waits(&copy)) copy.u.w[0] |= AIO__WORD(AIO__HEAD(0, IOSQE_ASYNC, 0), 0);
    if (r >= 0) r = aio__io_submit(u, w, &copy, AIO__UD_WAITER, aio__io_wait());
    return aio__failed(w, r);
}

// --- completions
// The kernel's error as our callers see it: -ECANCELED only for those who were cancelled (contract
// 3).
AIO_COLD aio_result aio__ended_why(const aio_uring *u, uint64_t info, aio_result res)
{
    // ERESTARTSYS …
    if (res != -ECANCELED && res != -EINTR && (res > -512 || res < -516)) return res;
    if ((info & AIO__IO_CANCELLED) || u->draining) return -ECANCELED;
    if (aio__fd_closing(u, info)) return -EBADF;
    if (info & AIO__IO_LINKED) return res == -EINTR ? res : -ECANCELED;
    return res == -ECANCELED ? -EIO : -EINTR;
}
AIO_COLD aio_result aio__io_error(const aio_uring *u, const aio_waiter *w, aio_result res)
{
    uint64_t info = w->node.u.w[1];
    if (w->node.cls->kind == AIO__WAIT_URING) {
        uint64_t second = (uint32_t)w->node.u.w[2] | AIO__IO_TRACKED;
        if ((info & AIO__IO_TWO_FDS) && !(info & AIO__IO_CANCELLED) && aio__fd_closing(u, second))
            info = second;
        return aio__ended_why(u, info, res);
    }
    // an aio_close: it must not be cancelled
    if (res == -ECANCELED) return close((int)(uint32_t)info) < 0 ? -errno : 0;
    return res <= -512 && res >= -516 ? -EINTR : res;       // it is gone
}
// A zero-copy send has its result before its buffer is free: true for the first of the two. Unless
// it goes on, it is done with its descriptor: an aio_close does not wait for a peer that does not
// read.
AIO_COLD bool aio__zc_goes_on(const aio_uring *u, const aio_waiter *w, aio_result res);
AIO_COLD bool aio__io_early(aio_uring *u, aio_waiter *w, aio_result res, uint32_t cqe_flags)
{
    uint64_t info = w->node.u.w[1];
    if (!(cqe_flags & IORING_CQE_F_MORE)) return false;
    bool goes_on = aio__zc_goes_on(u, w, res);
    w->node.u.w[1] |= AIO__IO_EARLY;
    w->future.result = res < 0 ? aio__io_error(u, w, res) : res;
    if (goes_on) return true;
    w->node.u.w[1] &= ~AIO__IO_TRACKED;
    aio__fd_release(u, info);
    return true;
}
AIO_FN aio_result aio__whole_end(aio_uring *u, aio_waiter *w, aio_result res);
AIO_FN void aio__io_end(aio_uring *u, aio_waiter *w, aio_result res, uint32_t cqe_flags)
{
    if (AIO__UNLIKELY(cqe_flags & (IORING_CQE_F_MORE | AIO__CQE_NOTIF)) &&
        aio__io_early(u, w, res, cqe_flags))
        return;
    uint64_t info = w->node.u.w[1];
    if (AIO__UNLIKELY(info & AIO__IO_EARLY)) res = w->future.result;
    else if (AIO__UNLIKELY(res < 0)) res = aio__io_error(u, w, res);
    u->loop->in_flight--;
    uint64_t kind = w->node.u.w[0] & 7;
    uint32_t second = (uint32_t)w->node.u.w[2];
    const aio_wait_class *done = info & AIO__IO_GIVES_FD ? aio__io_done_fd() : aio__settled();
    if (AIO__UNLIKELY(info & AIO__IO_GIVES_SLOT)) { // the kernel says 0 for a slot that we chose
        if (res >= 0 && second != IORING_FILE_INDEX_ALLOC) res = (aio_result)second - 1;
        done = aio__io_done_slot();
    } else if (AIO__UNLIKELY(info & AIO__IO_GIVES_PIPE)) {
        w->node.u.p[0] = w->node.u.p[2];
        done = aio__pipe_done();
    }
    if (kind == AIO__UD_WHOLE) res = aio__whole_end(u, w, res);
    if (AIO__UNLIKELY(kind == AIO__UD_COMPOUND)) {
        struct aio__compound *c = (struct aio__compound *)w->node.u.p[2];
        done = c->gives_fd ? aio__io_done_fd() : aio__settled();
        res = (c->next)(u, w, c, res);
        if (res >= 0 && c->gives_message) {
            w->node.u.p[0] = c->gives_message;
            done = aio__io_done_message();
        }
        if (res != AIO_PENDING && c->block_class)
            aio__free(&u->loop->executor, c, c->block_class);
    }
    // after the next one: an aio_close that waits for us lets none begin
    aio__io_release(u, info, second);
    if (res != AIO_PENDING) aio__settle(w, res, done);
}
// A sink's completion: the last one takes it off the ring's books. It may begin again in `done`,
// before its descriptor is released: an aio_close that waits for us lets none begin.
AIO_FN void aio__sink_end(aio_uring *u, struct aio__sink *s, aio_result res, uint32_t cqe_flags)
{
    uint64_t info = s->info;
    bool last = !(cqe_flags & IORING_CQE_F_MORE);
    if (res < 0) res = aio__ended_why(u, info, res);
    if (last) {
        if (s->next) s->next->prev = s->prev;
        if (s->prev) s->prev->next = s->next;
        else u->sinks = s->next;
        s->user_data = 0;
        u->loop->in_flight--;
    }
    (s->done)(u, s, res, cqe_flags);
    if (last) aio__io_release(u, info, 0);
}
AIO_FN void aio__sink_list(aio_uring *u, struct aio__sink *s)
{
    s->prev = 0;
    s->next = u->sinks;
    if (s->next) s->next->prev = s;
    u->sinks = s;
    u->loop->in_flight++;
}
// Hands an entry to the ring for a sink. Result: 0, or why it was not started: -EBADF (not a
// descriptor, or it is being closed), -ENOMEM, -EPERM (forked child), -ECANCELED (the loop closes).
AIO_FN aio_result aio__sink_submit(aio_uring *u, struct aio__sink *s, const aio_awaitable *io)
{
    uint64_t info = aio__io_info(io) & ~AIO__IO_TWO_FDS;
    bool arena_held = u->arena_held;
    u->arena_held = false;
    if (u->draining) return -ECANCELED;
    aio_result r = aio__io_hold(u, info, 0);
    if (r < 0) return r;
    u->arena_held = arena_held;
    struct io_uring_sqe *sqe = aio__sqe_get(u);
    u->arena_held = false;
    if (!sqe && !(sqe = aio__backlog_add(u))) {
        aio__io_release(u, info, 0);
        return aio__no_entry(u);
    }
    s->user_data = (uint64_t)(uintptr_t)s | AIO__UD_SINK | (uint64_t)u->sq_tail << 48;
    s->info = info;
    if (info & AIO__IO_TRACKED) u->fd_last[(uint32_t)info] = s->user_data;
    aio__sqe_fill(sqe, io, s->user_data);
    aio__sink_list(u, s);
    return 0;
}
AIO_FN bool aio__sink_busy(const struct aio__sink *s) { return s->user_data != 0; }
// Asks a sink to end; `done` is called for the last time here, or when the kernel has let go of it.
AIO_FN void aio__sink_cancel(aio_uring *u, struct aio__sink *s)
{
    if (!s->user_data || (s->info & AIO__IO_CANCELLED)) return;
    s->info |= AIO__IO_CANCELLED;
    if (u->disabled) return;                // a forked child: nobody will go on
    if (u->backlog && aio__backlog_end(u, s->user_data, 0, -ECANCELED)) return;
    if (aio__detours_cancel(u, s->user_data, (int)(uint32_t)s->info)) return;
    if (aio__withdraw(u, s->user_data) || aio__lost_cancel(u)) {
        aio__sink_end(u, s, -ECANCELED, 0);
    } else if (!aio__cancel_by_data(u, s->user_data)) {     // no room and no memory: a turn later
        s->info |= AIO__IO_CANCEL_OWED;
        u->cancel_owed = true;
    }
}
AIO_FN void aio__entry_end(aio_uring *u, uint64_t user_data, aio_result res, uint32_t cqe_flags)
{
    void *who = (void *)(uintptr_t)(user_data & AIO__UD_POINTER);
    if (AIO__UNLIKELY((user_data & 7) == AIO__UD_SINK))
        aio__sink_end(u, (struct aio__sink *)who, res, cqe_flags);
    else aio__io_end(u, (aio_waiter *)who, res, cqe_flags);
}
// The poll goes on after each wake-up: no new one, and the counter is never read.
AIO_COLD void aio__wake_over(aio_uring *u, int res)
{
    uint64_t count;
    u->wake_armed = false;
    if (res == -EINVAL) u->wake_once = true;
    while (u->loop->inbox && read(u->loop->inbox->wake_fd, &count, sizeof count) < 0 &&
           errno == EINTR) {
    }
}
// The common end: one operation, one result that is no error, to a task that nobody cancelled.
AIO_INLINE bool aio__io_plain(const aio_waiter *w, const struct io_uring_cqe *cqe)
{
    return cqe->res >= 0 && (cqe->user_data & 7) == AIO__UD_WAITER &&
           !(cqe->flags & (IORING_CQE_F_MORE | AIO__CQE_NOTIF)) &&
           !(w->node.u.w[1] & (AIO__IO_EARLY | AIO__IO_GIVES_FD | AIO__IO_RARE)) &&
           (w->future.flags & (AIO__IS_TASK | AIO__CANCEL_ASKED)) == AIO__IS_TASK;
}
AIO_SLOW void aio__reap_other(aio_uring *u, const struct io_uring_cqe *cqe)
{
    uint64_t data = cqe->user_data;
    if (AIO__UNLIKELY((data & 7) == AIO__UD_CLOSING)) aio__cancel_answer(u, data, cqe->res);
    else if (AIO__LIKELY(data & AIO__UD_POINTER)) aio__entry_end(u, data, cqe->res, cqe->flags);
    else if (data == AIO__UD_WAKE && !(cqe->flags & IORING_CQE_F_MORE))
        aio__wake_over(u, cqe->res);
    else if (data == AIO__UD_LINKED && cqe->res == -ENOENT) u->chains_owed = u->cancel_owed = true;
}
// Takes what has completed. Runs no code of the user's.
AIO_HOT void aio__reap(aio_uring *u)
{
    aio_executor *x = &u->loop->executor;
    uint32_t head = *u->cq_khead, tail = __atomic_load_n(u->cq_ktail, __ATOMIC_ACQUIRE), plain = 0;
    for (; head != tail; head++) {
        const struct io_uring_cqe *cqe = &u->cqes[head & u->cq_mask];
        aio_waiter *w = (aio_waiter *)(uintptr_t)(cqe->user_data & AIO__UD_POINTER);
        if (AIO__UNLIKELY(!w || !aio__io_plain(w, cqe))) {
            aio__reap_other(u, cqe);
            continue;
        }
        plain++;
        aio__fd_release(u, w->node.u.w[1]);
        w->node.cls = aio__settled();
        w->future.result = cqe->res;
        aio__push(x, (uintptr_t)w);
    }
    u->loop->in_flight -= plain;
    __atomic_store_n(u->cq_khead, head, __ATOMIC_RELEASE);
}
AIO_SLOW bool aio__feed(aio_uring *u);
AIO_COLD bool aio__detours_tell(aio_uring *u);
AIO_COLD void aio__arm_wake(aio_uring *u)
{
    struct io_uring_sqe *sqe = aio__sqe_get(u);
    if (!sqe) return;               // a backlog: this wait is short anyway
    memset((void *)sqe, 0, sizeof *sqe);
    sqe->opcode = IORING_OP_POLL_ADD;
    sqe->fd = u->loop->inbox->wake_fd;
    sqe->poll32_events = AIO__POLL_EVENTS((unsigned)POLLIN);
    if (!u->wake_once) {
        sqe->poll32_events = AIO__POLL_EVENTS((unsigned)POLLIN | (unsigned)EPOLLET);
        sqe->len = IORING_POLL_ADD_MULTI;
    }
    sqe->user_data = AIO__UD_WAKE;
    u->wake_armed = true;
}
AIO_COLD void aio__disarm_wake(aio_uring *u)
{
    struct io_uring_sqe *sqe = u->wake_armed ? aio__cancel_entry(u) : 0;
    if (sqe) sqe->addr = AIO__UD_WAKE;
}
// A lost ring: what the kernel has not seen ends. What it has seen it may still write to, and its
// end is never told. The rest of the loop goes on.
AIO_COLD bool aio__lost_end(aio_uring *u)
{
    bool ended = false;
    for (uint32_t n = aio__sq_pending(u); n || u->backlog;) {
        struct aio__backlog *b = u->backlog;
        struct io_uring_sqe *sqe = n ? &u->sqes[(u->sq_tail - n) & u->sq_mask] : &b->sqe;
        uint64_t user_data = sqe->user_data;
        sqe->user_data = AIO__UD_NOBODY;
        if (n) {
            n--;
        } else {
            u->backlog = b->next;
            aio__backlog_free(u, b);
        }
        if (!(user_data & AIO__UD_POINTER) || (user_data & 7) == AIO__UD_CLOSING) continue;
        aio__entry_end(u, user_data, -ECANCELED, 0);
        ended = true;
    }
    u->sq_tail -= aio__sq_pending(u);
    return ended;
}
// Should this end, though the kernel has it? Who was cancelled, or whose descriptor is closed.
AIO_COLD bool aio__lost_over(aio_uring *u, uint64_t info)
{
    return (info & AIO__IO_CANCELLED) || u->draining || aio__fd_closing(u, info);
}
AIO_COLD bool aio__lost_waiter(aio_uring *u, aio_waiter *w, bool over)
{
    bool ends = w->node.cls->kind == AIO__WAIT_URING &&
                (over || aio__lost_over(u, w->node.u.w[1])) && aio__lost_cancel(u);
    if (ends) aio__entry_end(u, w->node.u.w[0], -ECANCELED, 0);
    return ends;
}
AIO_COLD bool aio__lost_let_go(aio_uring *u)
{
    bool ended = false;
    for (struct aio__sink *s = u->sinks, *next; s; s = next) {
        next = s->next;
        if (!aio__lost_over(u, s->info) || !aio__lost_cancel(u)) continue;
        aio__sink_end(u, s, -ECANCELED, 0);
        ended = true;
    }
    for (aio_chain *c = u->chains; c; c = c->next) {
        for (uint32_t i = 0; c->left && i < c->count; i++)
            if (c->steps[i].started && !(c->steps[i].u.waiter.future.flags & AIO__DONE))
                ended |= aio__lost_waiter(u, &c->steps[i].u.waiter, c->cancelled);
    }
    for (aio_task *t = u->loop->executor.first; t; t = t->next) {
        ended |= aio__lost_waiter(u, &t->waiter, false);
        for (aio_scope *s = t->scopes; s; s = s->outer) {
            aio_op *op = aio__scope_op(s);
            if (op) ended |= aio__lost_waiter(u, &op->waiter, false);
        }
    }
    return ended;
}
AIO_COLD void aio__lost_wait(aio_uring *u, int64_t timeout_ns)
{
    if (!u->loop->abandoned) aio__reap(u);
    if (aio__detours_tell(u)) return;
    bool ended = aio__lost_end(u);
    ended |= aio__lost_let_go(u);
    const aio_executor *x = &u->loop->executor;     // what was reaped may have woken somebody, too
    if (!ended && timeout_ns && x->head == x->tail) aio__plain_wait(u->loop, timeout_ns);
}
AIO_FN void aio__uring_wait(aio_loop *l, int64_t timeout_ns)
{
    aio_uring *u = (aio_uring *)l->backend_state;
    bool idle = timeout_ns != 0;
    int r = 0;
    if (AIO__UNLIKELY(u->disabled)) return;
    if (AIO__UNLIKELY(u->lost)) {
        aio__lost_wait(u, timeout_ns);
        return;
    }
    if (AIO__UNLIKELY(u->backlog)) aio__backlog_flush(u);
    if (AIO__UNLIKELY(u->cancel_owed)) aio__cancel_again(u);
    if (AIO__UNLIKELY(u->starved != 0) && aio__feed(u)) timeout_ns = 0;
    if (timeout_ns && !u->wake_armed) aio__arm_wake(u);
    if (timeout_ns && (aio__cq_ready(u) || u->backlog || u->cancel_owed || !u->wake_armed))
        timeout_ns = 0;
    if (timeout_ns || aio__sq_pending(u) || aio__kernel_has_work(u))
        r = aio__uring_enter(u, timeout_ns);
    // The kernel has no memory for what is queued, and did not wait either.
    if (AIO__UNLIKELY(r < 0) && (r == -EAGAIN || r == -EBUSY) && idle && !aio__cq_ready(u))
        aio__enter_pause();
    aio__reap(u);
}

// --- detours: reads and writes that the ring does not run itself. It knows a file's current
// position without a lock, and does not advance it by direct I/O, nor by a write that came up short
// and then failed: a thread of the pool makes that system call, one at a time for each file, in the
// order they were begun; what is in the page cache is read at once. A terminal that looks ready may
// block all the same: a poll waits, and the call is made on a description that never does. The end
// is told like a completion.
enum { AIO__FILE_RING, AIO__FILE_POSITION, AIO__FILE_TERMINAL, AIO__FILE_OFFSET };
enum { AIO__DETOUR_QUEUED, AIO__DETOUR_RUNS, AIO__DETOUR_POLLS, AIO__DETOUR_ENDED };
struct aio__detour {
    struct aio__detour *next, *prev;        // in its bucket, by descriptor
    struct aio__detour *next_file;          // of a file's first: another one's; of one that has
                                            // ended: the next to be told
    struct aio__detour *before, *behind;    // on the same file, in a ring
    aio_uring *ring;
    struct aio__sink poll;
    uint64_t user_data, inode, device;
    aio_result result;
    size_t done;                            // bytes that are there already
    int64_t offset;                         // -1: the file's position
    int fd;
    uint32_t block_class, count;            // count: pieces, which stand behind it
    uint8_t state;
    bool writes, first, starting, cancelled;
};
// How a read or write is to run; -ESPIPE: it has an offset, on what cannot seek.
AIO_FN int aio__file_kind(aio_uring *u, const aio_awaitable *a)
{
    int fd = (int)AIO__HEAD_FD(a->u.w[0]);
    struct stat st;
    if ((AIO__HEAD_FLAGS(a->u.w[0]) & IOSQE_FIXED_FILE) || fd < 0) return AIO__FILE_RING;
    // The cheapest questions: these calls do nothing. In one turn one file is asked once.
    if (a->u.w[1] != UINT64_MAX) {
        if (fd == u->seeks_fd && u->seeks_turn == u->loop->executor.turns) return AIO__FILE_RING;
        if (preadv(fd, 0, 0, 0) < 0 && errno == ESPIPE) return -ESPIPE;
        u->seeks_fd = fd;
        u->seeks_turn = u->loop->executor.turns;
        return AIO__FILE_RING;
    }
    bool file = !sync_file_range(fd, 0, 0, 0);
    if (!file && errno == EBADF) return AIO__FILE_RING;
    if (!file && errno != ESPIPE)               // a seccomp filter, perhaps
        file = !fstat(fd, &st) && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode));
    return file ? AIO__FILE_POSITION : isatty(fd) ? AIO__FILE_TERMINAL : AIO__FILE_RING;
}
AIO_FN struct iovec *aio__detour_pieces(struct aio__detour *d)
{
    return (struct iovec *)(void *)(d + 1);
}
AIO_FN ssize_t aio__detour_transfer(struct aio__detour *d, int fd)
{
    const struct iovec *v = aio__detour_pieces(d);
    return d->writes ? writev(fd, v, (int)d->count) : readv(fd, v, (int)d->count);
}
// n bytes are there. True: nothing is left of it.
AIO_FN bool aio__detour_advance(struct aio__detour *d, size_t n)
{
    struct iovec *v = aio__detour_pieces(d);
    uint32_t gone = 0;
    d->done += n;
    for (; gone < d->count && n >= v[gone].iov_len; gone++) n -= v[gone].iov_len;
    d->count -= gone;
    memmove(v, v + gone, d->count * sizeof *v);
    if (!d->count) return true;
    v->iov_base = (char *)v->iov_base + n;
    v->iov_len -= n;
    return false;
}
AIO_FN aio_result aio__detour_result(const struct aio__detour *d, aio_result r)
{
    if (!d->done) return r;
    return (aio_result)d->done + (r > 0 ? r : 0);
}
AIO_FN aio_result aio__detour_call(void *arg)   // on a thread
{
    struct aio__detour *d = (struct aio__detour *)arg;
    ssize_t n;
    do n = aio__detour_transfer(d, d->fd);
    while (n < 0 && errno == EINTR);
    d->result = aio__detour_result(d, n < 0 ? -errno : n);
    return 0;
}
AIO_FN struct aio__detour **aio__detour_bucket(aio_uring *u, int fd)
{
    return &u->detours[(unsigned)fd % AIO__DETOURS];
}
AIO_FN void aio__detour_run(struct aio__detour *d);
// Leaves the queue of its file. Returns the one whose turn it is now, which is to be run.
AIO_FN struct aio__detour *aio__detour_unqueue(struct aio__detour *d)
{
    if (!d->behind) return 0;
    struct aio__detour *next = d->behind == d ? 0 : d->behind;
    d->before->behind = d->behind;
    d->behind->before = d->before;
    d->before = d->behind = 0;
    d->ring->file_calls--;
    if (!d->first) return 0;
    struct aio__detour **at = &d->ring->detour_files[d->inode % AIO__DETOURS];
    while (*at != d) at = &(*at)->next_file;
    *at = next ? next : d->next_file;
    if (!next) return 0;
    next->next_file = d->next_file;
    next->first = true;
    return next;
}
AIO_FN void aio__detour_end(struct aio__detour *d, aio_result r)
{
    aio_uring *u = d->ring;
    uint64_t user_data = d->user_data;
    struct aio__detour *behind = aio__detour_unqueue(d);
    if (behind) aio__detour_run(behind);
    if (d->next) d->next->prev = d->prev;
    if (d->prev) d->prev->next = d->next;
    else *aio__detour_bucket(u, d->fd) = d->next;
    aio__free(&u->loop->executor, d, d->block_class);
    aio__entry_end(u, user_data, r, 0);
}
// Its result is here: it is told in the next turn. Returns who is to be run now.
AIO_FN struct aio__detour *aio__detour_soon(struct aio__detour *d)
{
    aio_uring *u = d->ring;
    struct aio__detour *behind = aio__detour_unqueue(d);
    d->state = AIO__DETOUR_ENDED;
    d->next_file = 0;
    if (u->detours_ended) u->last_ended->next_file = d;
    else u->detours_ended = d;
    u->last_ended = d;
    u->starved++;
    return behind;
}
AIO_COLD bool aio__detours_tell(aio_uring *u)
{
    struct aio__detour *d = u->detours_ended, *next;
    bool any = d != 0;
    u->detours_ended = 0;
    for (; d; d = next) {
        next = d->next_file;
        u->starved--;
        aio__detour_end(d, d->result);
    }
    return any;
}
AIO_FN void aio__detour_release(void *arg)      // its job has ended, or never begins
{
    struct aio__detour *d = (struct aio__detour *)arg;
    if (!d->starting) aio__detour_end(d, d->result);
}
// The first on its file: a thread makes the call. False: there can be none.
AIO_FN bool aio__detour_job(struct aio__detour *d)
{
    aio_loop *l = d->ring->loop;
    aio_waiter none;
    d->state = AIO__DETOUR_RUNS;
    d->result = -ECANCELED;
    if (l->executor.refusal) return false;      // the loop closes
    memset((void *)&none, 0, sizeof none);
    none.future.loop = &l->executor;
    aio_awaitable job = aio__to_thread_wide(aio__detour_call, d, aio__detour_release);
    d->starting = true;
    bool refused = (job.cls->start)(&none, &job);
    d->starting = false;
    if (refused) (void)aio__detour_call(d);     // in this one
    else ((struct aio__job *)none.node.u.p[0])->waiter = 0;     // the release tells the end
    return !refused;
}
AIO_FN void aio__detour_run(struct aio__detour *d)
{
    while (d && !aio__detour_job(d)) d = aio__detour_soon(d);
}
// Behind all that were begun on this file.
AIO_FN void aio__detour_queue(struct aio__detour *d)
{
    uint64_t stx[32] = { 0 };       // a struct statx; unlike fstat it does not ask a server
    syscall(SYS_statx, d->fd, "", AIO__AT_EMPTY_PATH_DONT_SYNC, AIO__STATX_INO, stx);
    d->inode = stx[4];
    d->device = stx[17];
    struct aio__detour **at = &d->ring->detour_files[d->inode % AIO__DETOURS], *first = *at;
    while (first && (first->inode != d->inode || first->device != d->device))
        first = first->next_file;
    d->ring->file_calls++;
    if (first) {
        d->state = AIO__DETOUR_QUEUED;
        d->behind = first;
        d->before = first->before;
        d->before->behind = first->before = d;
        return;
    }
    d->before = d->behind = d;
    d->first = true;
    d->next_file = *at;
    *at = d;
    aio__detour_run(d);
}
// What is in the page cache. True: that is all of it, or it failed; AIO_PENDING in *r: the file
// cannot tell, and may be one of those that make a reader wait.
AIO_FN bool aio__detour_cached(struct aio__detour *d, aio_result *r)
{
    struct stat st;
    for (;;) {
        int64_t at = d->offset == -1 ? -1 : d->offset + (int64_t)d->done;
        ssize_t n = syscall(SYS_preadv2, d->fd, aio__detour_pieces(d), (long)d->count, (long)at,
                            (long)(at >> 32), AIO__RWF_NOWAIT);
        *r = n < 0 ? -errno : n;
        if (n > 0 && !aio__detour_advance(d, (size_t)n)) continue;
        if (n >= 0 || (errno != EAGAIN && errno != EOPNOTSUPP && errno != EINTR)) break;
        // of /proc and the like: they are empty, and some wait
        if (errno == EOPNOTSUPP && !d->done && !fstat(d->fd, &st) && !st.st_size) *r = AIO_PENDING;
        return false;
    }
    *r = aio__detour_result(d, *r > 0 ? 0 : *r);
    return true;
}
// A description of the terminal that never waits: a master's own is made so, a terminal is opened
// once more. Result: to be closed, if it is not fd; -1: there is none.
AIO_FN int aio__terminal_open(int fd, bool writes)
{
    char path[40];
    unsigned number;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & O_NONBLOCK)) return fd;
    if (!ioctl(fd, TIOCGPTN, &number)) return fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -1 : fd;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, (writes ? O_WRONLY : O_RDONLY) | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
}
// AIO_PENDING: it must be waited for.
AIO_FN aio_result aio__terminal_call(struct aio__detour *d)
{
    ssize_t n = -1;
    int fd = aio__terminal_open(d->fd, d->writes);
    if (fd < 0) fd = d->fd;                     // no /proc, perhaps: it is ready, as far as known
    n = aio__detour_transfer(d, fd);
    aio_result r = n < 0 ? -errno : n;
    if (fd != d->fd) close(fd);
    if (r == -EAGAIN) return AIO_PENDING;
    if (!d->writes || r <= 0) return aio__detour_result(d, r);
    return aio__detour_advance(d, (size_t)r) ? (aio_result)d->done : AIO_PENDING;
}
AIO_FN aio_result aio__terminal_wait(struct aio__detour *d)
{
    aio_awaitable a = aio_poll(d->fd, d->writes ? POLLOUT : POLLIN);
    if (d->cancelled || d->ring->draining) return -ECANCELED;
    return aio__sink_submit(d->ring, &d->poll, &a);
}
AIO_FN void aio__terminal_polled(aio_uring *u, struct aio__sink *s, aio_result r, uint32_t flags)
{
    struct aio__detour *d = AIO__CONTAINER(s, struct aio__detour, poll);
    bool gone = r >= 0 && (r & (POLLHUP | POLLERR));
    (void)u;
    (void)flags;
    r = r < 0 ? aio__detour_result(d, r) : aio__terminal_call(d);
    if (r == AIO_PENDING) {     // nobody is left who would make room
        r = gone ? -EIO : aio__terminal_wait(d);
        if (r >= 0) return;
        r = aio__detour_result(d, r);
    }
    aio__detour_end(d, r);
}
// A cancel of the entry with this user_data, or (0) of all on fd. A call that runs is waited for.
AIO_COLD bool aio__detours_cancel(aio_uring *u, uint64_t user_data, int fd)
{
    bool found = false;
    struct aio__detour *d = *aio__detour_bucket(u, fd), *next;
    for (; d; d = next) {
        next = d->next;
        if (user_data ? d->user_data != user_data : d->fd != fd) continue;
        found = true;
        d->cancelled = true;
        if (d->state == AIO__DETOUR_POLLS) {
            aio__sink_cancel(u, &d->poll);      // which may end it at once
        } else if (d->state == AIO__DETOUR_QUEUED) {
            d->result = -ECANCELED;
            (void)aio__detour_soon(d);          // it was not the first
        } else if (d->state == AIO__DETOUR_ENDED && d->offset != -1 && user_data) {
            d->result = -ECANCELED;             // not told yet, and nothing is lost
        }
    }
    return found;
}
AIO_FN struct aio__detour *aio__detour_new(aio_uring *u, const aio_awaitable *a)
{
    unsigned op = AIO__HEAD_OPCODE(a->u.w[0]);
    bool vector = aio__op_is(op, AIO__OP_VECTOR);
    uint32_t n = vector ? AIO__FIRST_HALF(a->u.w[3]) : 1;
    size_t size = sizeof(struct aio__detour) + n * sizeof(struct iovec);
    uint32_t k = aio__class_of(size);
    struct aio__detour *d = (struct aio__detour *)aio__alloc(&u->loop->executor, k, size);
    if (!d) return 0;
    memset((void *)d, 0, sizeof *d);
    d->ring = u;
    d->block_class = k;
    d->fd = (int)AIO__HEAD_FD(a->u.w[0]);
    d->offset = (int64_t)a->u.w[1];
    d->writes = op == IORING_OP_WRITE || op == IORING_OP_WRITEV || op == IORING_OP_WRITE_FIXED ||
                op == AIO__OP_WRITEV_FIXED;
    d->count = n;
    d->poll.done = aio__terminal_polled;
    struct iovec *v = aio__detour_pieces(d);
    if (vector && n) memcpy(v, a->u.cp[2], n * sizeof *v);
    if (!vector) v->iov_base = a->u.p[2], v->iov_len = AIO__FIRST_HALF(a->u.w[3]);
    return d;
}
// The first read of a turn, when nothing else is queued: a call for what is in the page cache takes
// less than the ring's, and says by itself whether the file can seek. Not where it may be direct
// I/O, which waits for the disk in spite of RWF_NOWAIT.
AIO_FN bool aio__detour_first(aio_uring *u, const aio_awaitable *a)
{
    unsigned op = AIO__HEAD_OPCODE(a->u.w[0]), flags = AIO__HEAD_FLAGS(a->u.w[0]);
    bool plain = (op == IORING_OP_READ || op == IORING_OP_READV) && !flags &&
                 !AIO__SECOND_HALF(a->u.w[3]) && (int)AIO__HEAD_FD(a->u.w[0]) >= 0;
    // Debug mode looks at buffers when the ring is entered.
    return plain && a->u.w[1] != UINT64_MAX && !u->loop->debug && !aio__sq_pending(u) &&
           u->seeks_turn != u->loop->executor.turns;
}
AIO_FN bool aio__detour_buffered(const struct aio__detour *d)
{
    int flags = fcntl(d->fd, F_GETFL);
    return flags >= 0 && !(flags & O_DIRECT);
}
// A read that has its bytes at once, or the end of the file, or cannot be: true, and d has ended.
// False: the ring is to run it, or a thread if it reads at the file's position.
AIO_FN bool aio__detour_at_once(aio_uring *u, struct aio__detour *d, aio_result *r)
{
    if (!aio__detour_buffered(d) || !aio__detour_cached(d, r)) return false;
    if (d->offset != -1 && *r < 0 && *r != -ESPIPE) return false;
    if (d->offset != -1 && *r >= 0) {
        u->seeks_fd = d->fd;
        u->seeks_turn = u->loop->executor.turns;
    }
    d->state = AIO__DETOUR_ENDED;
    return true;
}
// *d: null if the ring is to run it. Result: 0, or why it is not begun. Its descriptor is held.
AIO_FN aio_result aio__detour_for(aio_uring *u, const aio_awaitable *a, struct aio__detour **out)
{
    aio_result r = 0;
    *out = 0;
    if (u->disabled) return -EPERM;
    bool vector = aio__op_is(AIO__HEAD_OPCODE(a->u.w[0]), AIO__OP_VECTOR), first;
    first = aio__detour_first(u, a);
    int kind = first ? AIO__FILE_OFFSET : aio__file_kind(u, a);
    if (kind <= 0) return kind;
    if (vector && AIO__FIRST_HALF(a->u.w[3]) && !a->u.w[2]) return -EFAULT;
    if ((r = aio__fd_hold(u, AIO__HEAD_FD(a->u.w[0]))) < 0) return r;
    struct aio__detour *d = aio__detour_new(u, a);
    bool reads = d && kind == AIO__FILE_POSITION && !d->writes, ring = false;
    if (d && first) {
        ring = !aio__detour_at_once(u, d, &r);
    } else if (reads && !u->file_calls && !(AIO__HEAD_FLAGS(a->u.w[0]) & IOSQE_ASYNC)) {
        ring = !aio__detour_at_once(u, d, &r) && r == AIO_PENDING;
    } else if (d && kind == AIO__FILE_TERMINAL) {       // for nothing nobody waits
        d->state = aio__detour_advance(d, 0) ? AIO__DETOUR_ENDED : AIO__DETOUR_POLLS;
    }
    if (d) d->result = r;
    if (!d || ring) aio__fd_release(u, AIO__HEAD_FD(a->u.w[0]) | AIO__IO_TRACKED);
    if (ring) aio__free(&u->loop->executor, d, d->block_class);
    if (d && !ring) *out = d;
    if (first && (ring || !d)) return aio__file_kind(u, a);
    return d ? 0 : -ENOMEM;
}
AIO_FN void aio__detour_begin(struct aio__detour *d, uint64_t user_data)
{
    struct aio__detour **at = aio__detour_bucket(d->ring, d->fd);
    d->user_data = user_data;
    d->next = *at;
    if (d->next) d->next->prev = d;
    *at = d;
    if (d->state == AIO__DETOUR_QUEUED) {
        aio__detour_queue(d);
    } else {
        if (d->state == AIO__DETOUR_POLLS) d->result = aio__terminal_wait(d);
        if (d->state == AIO__DETOUR_ENDED || d->result < 0) (void)aio__detour_soon(d);
    }
}
AIO_FN void aio__detour_waiter(struct aio__detour *d, aio_waiter *w, const aio_awaitable *a,
                               unsigned tag, const aio_wait_class *cls)
{
    aio_uring *u = d->ring;
    w->node.u.w[0] = (uint64_t)(uintptr_t)w | tag | (uint64_t)++u->detour_number << 48;
    w->node.u.w[1] = aio__io_usual(a);
    u->loop->in_flight++;
    aio_waiter_begin(w, cls);
    aio__detour_begin(d, w->node.u.w[0]);
}
// As aio__detour_for. Where a cancel is owed it takes what has not begun: an entry that is queued.
AIO_FN aio_result aio__detour_of(aio_uring *u, const aio_waiter *w, const aio_awaitable *a,
                                 struct aio__detour **out)
{
    *out = 0;
    return w->future.flags & AIO__MUST_CANCEL ? 0 : aio__detour_for(u, a, out);
}
// As aio__io_submit, for a read or write that may have to take a detour.
AIO_SLOW aio_result aio__file_submit(aio_uring *u, aio_waiter *w, const aio_awaitable *a,
                                     unsigned tag)
{
    struct aio__detour *d;
    aio_result r = aio__detour_of(u, w, a, &d);
    if (r < 0) return r;
    if (!d) return aio__io_submit(u, w, a, tag, aio__io_wait());
    aio__detour_waiter(d, w, a, tag, aio__io_wait());
    return 0;
}
// As aio__sink_submit.
AIO_FN aio_result aio__file_sink(aio_uring *u, struct aio__sink *s, const aio_awaitable *a)
{
    struct aio__detour *d;
    if (u->draining) return -ECANCELED;
    aio_result r = aio__detour_for(u, a, &d);
    if (r < 0) return r;
    if (!d) return aio__sink_submit(u, s, a);
    s->info = aio__io_usual(a);
    s->user_data = (uint64_t)(uintptr_t)s | AIO__UD_SINK | (uint64_t)++u->detour_number << 48;
    aio__sink_list(u, s);
    aio__detour_begin(d, s->user_data);
    return 0;
}
AIO_FN bool aio__file_start(aio_waiter *w, const aio_awaitable *a)
{
    struct aio__detour *d;
    aio_result r = 0;
    aio_uring *u = aio__uring_of(w, &r);
    if (u) r = aio__detour_of(u, w, a, &d);
    if (aio__failed(w, r)) return true;
    if (d) {
        aio__detour_waiter(d, w, a, AIO__UD_WAITER, aio__io_wait());
        return false;
    }
    if (aio__op_is(AIO__HEAD_OPCODE(a->u.w[0]), AIO__OP_VECTOR)) return aio__checked_start(w, a);
    return aio__failed(w, aio__io_submit(u, w, a, AIO__UD_WAITER, aio__io_wait()));
}

// --- several operations, one await: transfers of all
struct aio__transfer {
    struct aio__compound compound;
    aio_awaitable entry;        // what is left
    size_t left, total;
    size_t *done;
    uint32_t flags;
    bool once;
};
AIO_FN void aio__entry_copies(aio_awaitable *a, unsigned opcode)
{
    a->u.w[0] ^= AIO__WORD(AIO__HEAD(AIO__HEAD_OPCODE(a->u.w[0]) ^ opcode, 0, 0), 0);
}
AIO_FN aio_result aio__transfer_submit(aio_uring *u, aio_waiter *w, const aio_awaitable *a,
                                       unsigned tag)
{
    if (AIO__HEAD_OPCODE(a->u.w[0]) == IORING_OP_WRITE) return aio__file_submit(u, w, a, tag);
    return aio__io_submit(u, w, a, tag, aio__io_wait());
}
AIO_FN aio_result aio__transfer_next(aio_uring *u, aio_waiter *w, struct aio__compound *c,
                                     aio_result r)
{
    struct aio__transfer *t = (struct aio__transfer *)(void *)c;
    bool copies = r == -EOPNOTSUPP && AIO__HEAD_OPCODE(t->entry.u.w[0]) == IORING_OP_SEND_ZC;
    if (copies) {                               // this socket does not send without a copy
        aio__entry_copies(&t->entry, IORING_OP_SEND);
        r = 0;
    }
    if (r < 0 || (t->once && !copies)) return r;
    if (r == 0 && t->left && !copies) return -EIO;      // no progress, and no reason
    t->left -= (size_t)r;
    if (t->done) *t->done += (size_t)r;
    if (!t->left && !copies) return (aio_result)t->total;
    if ((w->node.u.w[1] & AIO__IO_CANCELLED) || u->draining) return -ECANCELED;
    if (!(w->node.u.w[1] & AIO__IO_TRACKED)) return -EBADF;     // closed since (aio__io_early)
    uint64_t *entry = t->entry.u.w;
    entry[2] += (uint64_t)r;
    entry[3] = AIO__WORD(aio__length(t->left), t->flags);
    if (AIO__HEAD_OPCODE(entry[0]) == IORING_OP_WRITE && entry[1] != UINT64_MAX)
        entry[1] += (uint64_t)r;
    r = aio__transfer_submit(u, w, &t->entry, AIO__UD_COMPOUND);
    w->node.u.p[2] = c;
    return r < 0 ? r : AIO_PENDING;
}
AIO_COLD bool aio__zc_goes_on(const aio_uring *u, const aio_waiter *w, aio_result res)
{
    uint64_t info = w->node.u.w[1];
    if ((w->node.u.w[0] & 7) != AIO__UD_COMPOUND) return false;     // aio_uring_op: one entry
    if (res < 0) return res == -EOPNOTSUPP;     // it is sent once more
    if (AIO__IO_OPCODE(info) != IORING_OP_SEND_ZC) return false;
    const struct aio__transfer *t = (const struct aio__transfer *)w->node.u.p[2];
    if (t->once || (size_t)res == t->left) return false;
    return !(info & AIO__IO_CANCELLED) && !u->draining && !aio__fd_closing(u, info);
}
AIO_FN void *aio__compound_new(aio_uring *u, size_t size,
                               aio_result (*next)(aio_uring *, aio_waiter *, struct aio__compound *,
                                                  aio_result),
                               bool gives_fd)
{
    uint32_t k = aio__class_of(size);
    struct aio__compound *c = (struct aio__compound *)aio__alloc(&u->loop->executor, k, size);
    if (!c) return 0;
    c->next = next;
    c->block_class = k;
    c->gives_fd = gives_fd;
    c->gives_message = 0;
    return c;
}
AIO_FN aio_result aio__compound_begin(aio_uring *u, aio_waiter *w, struct aio__compound *c,
                                      const aio_awaitable *a)
{
    aio_result r = aio__io_submit(u, w, a, AIO__UD_COMPOUND, aio__io_wait());
    w->node.u.p[2] = c;
    if (r < 0) aio__free(&u->loop->executor, c, c->block_class);
    return r;
}
AIO_FN struct aio__transfer *aio__transfer_new(aio_uring *u, const aio_awaitable *a)
{
    struct aio__transfer *t =
        (struct aio__transfer *)aio__compound_new(u, sizeof *t, aio__transfer_next, false);
    if (!t) return 0;
    t->entry = *a;
    t->entry.u.w[4] = t->entry.u.w[5] = t->entry.u.w[6] = 0;
    t->flags = (uint32_t)a->u.w[5];
    t->once = (a->u.w[5] & AIO__ONCE) != 0;
    t->left = t->total = (size_t)a->u.w[6];
    t->done = (size_t *)a->u.p[4];
    return t;
}
// Most go out in one piece: the waiter itself holds what a rest would need (node.u.p[2] the data,
// future.result the length), and a block is taken only for that.
AIO_INLINE bool aio__fits_whole(const aio_awaitable *a)
{
    bool send = AIO__HEAD_OPCODE(a->u.w[0]) == IORING_OP_SEND;
    bool usual = send ? a->u.w[5] == (MSG_NOSIGNAL | MSG_WAITALL) : a->u.w[1] == UINT64_MAX;
    return usual && !a->u.p[4] && a->u.w[6] <= AIO__LENGTH_MAX;
}
AIO_FN aio_result aio__whole_end(aio_uring *u, aio_waiter *w, aio_result res)
{
    uint64_t info = w->node.u.w[1];
    size_t total = (size_t)w->future.result;
    if (res < 0 || (size_t)res == total) return res;
    unsigned opcode = AIO__IO_OPCODE(info);
    aio_awaitable rest = opcode == IORING_OP_SEND
        ? aio__send_all((int)(uint32_t)info, w->node.u.p[2], total, 0, 0)
        : aio__write_all((int)(uint32_t)info, UINT64_MAX, w->node.u.p[2], total, 0);
    struct aio__transfer *t = aio__transfer_new(u, &rest);
    if (!t) return -ENOMEM;
    aio_result r = aio__transfer_next(u, w, &t->compound, res);
    if (r != AIO_PENDING) aio__free(&u->loop->executor, t, t->compound.block_class);
    return r;
}
AIO_FN bool aio__transfer_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_result r = 0;
    size_t *done = (size_t *)a->u.p[4];
    if (done) *done = 0;
    aio_uring *u = aio__uring_of(w, &r);
    if (!u) return aio__failed(w, r);
    if (aio__fits_whole(a)) {
        aio_awaitable entry = *a;
        entry.u.w[5] = entry.u.w[6] = 0;
        r = aio__transfer_submit(u, w, &entry, AIO__UD_WHOLE);
        if (aio__failed(w, r)) return true;
        w->node.u.w[2] = 0;
        w->node.u.p[2] = (void *)(uintptr_t)a->u.w[2];
        w->future.result = (aio_result)a->u.w[6];
        return false;
    }
    struct aio__transfer *t = aio__transfer_new(u, a);
    if (!t) return aio__failed(w, -ENOMEM);
    r = aio__transfer_submit(u, w, &t->entry, AIO__UD_COMPOUND);
    w->node.u.p[2] = &t->compound;
    if (r < 0) aio__free(&u->loop->executor, t, t->compound.block_class);
    return aio__failed(w, r);
}

AIO_FN bool aio__zc_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_result r = 0;
    size_t *done = (size_t *)a->u.p[4];
    if (done) *done = 0;
    aio_uring *u = aio__uring_of(w, &r);
    struct aio__transfer *t = u ? aio__transfer_new(u, a) : 0;
    if (!t) return aio__failed(w, u ? -ENOMEM : r);
    if (!aio__has(u, IORING_OP_SEND_ZC)) aio__entry_copies(&t->entry, IORING_OP_SEND);
    return aio__failed(w, aio__compound_begin(u, w, &t->compound, &t->entry));
}

// --- messages: the header that the kernel sees is a block's, with copies of what may be a local
struct aio__message {
    struct aio__compound compound;
    struct msghdr header;
    struct msghdr *user;            // recvmsg: gets what is written back
    struct sockaddr *address;       // recvfrom: these two
    socklen_t *length;
    struct iovec piece;             // sendto, recvfrom
    uint64_t head, rest;            // of the entry of one that may have to be sent again
    struct sockaddr_storage name;
};
// This socket does not send without a copy.
AIO_COLD aio_result aio__message_copied(aio_uring *u, aio_waiter *w, struct aio__message *m)
{
    aio_awaitable a = aio__io(aio__io_await(), IORING_OP_SENDMSG, -1, 0, &m->header, 0, 0);
    if ((w->node.u.w[1] & AIO__IO_CANCELLED) || u->draining) return -ECANCELED;
    a.u.w[0] = m->head;
    a.u.w[3] = m->rest;
    aio__entry_copies(&a, IORING_OP_SENDMSG);
    aio_result r = aio__io_submit(u, w, &a, AIO__UD_COMPOUND, aio__io_wait());
    w->node.u.p[2] = m;
    return r < 0 ? r : AIO_PENDING;
}
AIO_FN aio_result aio__message_next(aio_uring *u, aio_waiter *w, struct aio__compound *c,
                                    aio_result r)
{
    struct aio__message *m = (struct aio__message *)(void *)c;
    if (r == -EOPNOTSUPP && AIO__IO_OPCODE(w->node.u.w[1]) == AIO__OP_SENDMSG_ZC)
        return aio__message_copied(u, w, m);
    if (r < 0) return r;
    if (m->user) {
        m->user->msg_namelen = m->header.msg_namelen;
        m->user->msg_controllen = m->header.msg_controllen;
        m->user->msg_flags = m->header.msg_flags;
        if (m->header.msg_controllen) c->gives_message = m->user;
    }
    if (m->length) {
        socklen_t room = *m->length, n = m->header.msg_namelen;
        if (m->address) memcpy(m->address, &m->name, room < n ? room : n);
        *m->length = n;
    }
    return r;
}
AIO_FN size_t aio__aligned(size_t size) { return (size + 15) & ~(size_t)15; }
// Member by member: musl has padding in it, which its sendmsg zeroes, and which the kernel reads.
AIO_FN void aio__message_header(struct msghdr *to, const struct msghdr *from)
{
    memset((void *)to, 0, sizeof *to);
    to->msg_name = from->msg_name;
    to->msg_namelen = from->msg_namelen;
    to->msg_iov = from->msg_iov;
    to->msg_iovlen = from->msg_iovlen;
    to->msg_control = from->msg_control;
    to->msg_controllen = from->msg_controllen;
    to->msg_flags = from->msg_flags;
}
// So it is with the ancillary data, whose lengths have 8 bytes to the kernel. m: our copy.
AIO_FN void aio__message_control(struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        struct cmsghdr sound;
        memset((void *)&sound, 0, sizeof sound);
        sound.cmsg_len = c->cmsg_len;
        sound.cmsg_level = c->cmsg_level;
        sound.cmsg_type = c->cmsg_type;
        memcpy((void *)c, &sound, sizeof sound);
    }
}
// A block with room for the pieces and the ancillary data of `user`. kept: a copy of its pieces,
// which are gone; or null.
AIO_FN aio_result aio__message_of(aio_uring *u, const struct msghdr *user,
                                  const struct iovec *kept, bool send, struct aio__message **out)
{
    size_t n = user ? (size_t)user->msg_iovlen : 0;
    const struct iovec *from = user && !kept ? user->msg_iov : kept;
    if (!user || (n && !from)) return -EFAULT;
    if (n > 1024) return -EMSGSIZE;
    size_t pieces = aio__aligned(n * sizeof(struct iovec));
    size_t control = send && user->msg_control ? (size_t)user->msg_controllen : 0;
    bool name = send && user->msg_name;
    if ((name && user->msg_namelen > sizeof(struct sockaddr_storage)) || control > INT32_MAX)
        return -EINVAL;
    size_t head = aio__aligned(sizeof(struct aio__message));
    struct aio__message *m = *out = (struct aio__message *)aio__compound_new(
        u, head + pieces + control, aio__message_next, false);
    if (!m) return -ENOMEM;
    aio__message_header(&m->header, user);
    m->header.msg_iov = (struct iovec *)(void *)((char *)m + head);
    if (n) memcpy(m->header.msg_iov, from, n * sizeof(struct iovec));
    if (control) {
        m->header.msg_control = (char *)m + head + pieces;
        memcpy(m->header.msg_control, user->msg_control, control);
        aio__message_control(&m->header);
    }
    if (name) {
        m->header.msg_name = &m->name;
        memcpy(&m->name, user->msg_name, user->msg_namelen);
    }
    m->user = send ? 0 : (struct msghdr *)(uintptr_t)user;
    m->address = 0;
    m->length = 0;
    return 0;
}
// The same for one piece and an address.
AIO_FN aio_result aio__message_plain(aio_uring *u, const aio_awaitable *a, bool send,
                                     struct aio__message **out)
{
    struct msghdr header;
    struct sockaddr *address = (struct sockaddr *)a->u.p[4];
    struct aio__message *m;
    memset((void *)&header, 0, sizeof header);
    if (send && address) {
        if (a->u.w[1] > sizeof(struct sockaddr_storage)) return -EINVAL;
        header.msg_name = address;
        header.msg_namelen = (socklen_t)a->u.w[1];
    }
    aio_result r = aio__message_of(u, &header, 0, send, out);
    if (r < 0) return r;
    m = *out;
    m->piece.iov_base = (void *)(uintptr_t)a->u.w[2];
    m->piece.iov_len = (size_t)a->u.w[6];
    m->header.msg_iov = &m->piece;
    m->header.msg_iovlen = 1;
    if (send) return 0;
    m->user = 0;
    m->address = address;
    m->length = (socklen_t *)a->u.p[1];
    m->header.msg_name = &m->name;
    m->header.msg_namelen = sizeof m->name;
    return 0;
}
AIO_FN bool aio__message_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_result r = 0;
    struct aio__message *m = 0;
    bool send = AIO__HEAD_OPCODE(a->u.w[0]) != IORING_OP_RECVMSG;
    aio_uring *u = aio__uring_of(w, &r);
    if (!u) return aio__failed(w, r);
    r = a->u.w[5] == AIO__MESSAGE_PLAIN
        ? aio__message_plain(u, a, send, &m)
        : aio__message_of(u, (const struct msghdr *)a->u.cp[2], (const struct iovec *)a->u.cp[6],
                          send, &m);
    if (aio__failed(w, r)) return true;
    aio_awaitable entry = *a;
    entry.u.w[1] = entry.u.w[4] = entry.u.w[5] = entry.u.w[6] = 0;
    entry.u.w[2] = (uint64_t)(uintptr_t)&m->header;
    if (AIO__HEAD_OPCODE(entry.u.w[0]) == AIO__OP_SENDMSG_ZC && !aio__has(u, AIO__OP_SENDMSG_ZC))
        aio__entry_copies(&entry, IORING_OP_SENDMSG);
    m->head = entry.u.w[0];
    m->rest = entry.u.w[3];
    return aio__failed(w, aio__compound_begin(u, w, &m->compound, &entry));
}

// --- what the kernel reads late stays in a block: the words of a futex_waitv; before 5.18 (rung 4)
// the path of a statx, which a kernel thread reads when the entry was consumed long ago
AIO_FN aio_result aio__kept_next(aio_uring *u, aio_waiter *w, struct aio__compound *c,
                                 aio_result r)
{
    (void)u;
    (void)w;
    (void)c;
    return r;
}
AIO_FN aio_result aio__kept_path_start(aio_uring *u, aio_waiter *w, const aio_awaitable *a)
{
    if (!a->u.w[2]) return -EFAULT;
    size_t size = strlen((const char *)a->u.cp[2]) + 1;
    struct aio__compound *c = (struct aio__compound *)aio__compound_new(
        u, sizeof *c + size, aio__kept_next, false);
    if (!c) return -ENOMEM;
    memcpy(c + 1, a->u.cp[2], size);
    aio_awaitable entry = *a;
    entry.u.p[2] = c + 1;
    return aio__compound_begin(u, w, c, &entry);
}
AIO_FN bool aio__waitv_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_result r = 0;
    uint32_t n = AIO__FIRST_HALF(a->u.w[3]);
    aio_uring *u = aio__uring_of(w, &r);
    if (!u) return aio__failed(w, r);
    if (!aio__has(u, AIO__OP_FUTEX_WAITV)) return aio__failed(w, -EOPNOTSUPP);
    if (!n || n > 128 || !a->u.w[2]) return aio__failed(w, -EINVAL);
    size_t size = (size_t)n * AIO__FUTEX_WAITV_BYTES;
    struct aio__compound *c = (struct aio__compound *)aio__compound_new(
        u, sizeof *c + size, aio__kept_next, false);
    if (!c) return aio__failed(w, -ENOMEM);
    memcpy(c + 1, a->u.cp[2], size);
    aio_awaitable entry = *a;
    entry.u.p[2] = c + 1;
    return aio__failed(w, aio__compound_begin(u, w, c, &entry));
}

// --- operations that the kernel lacks
// By a thread of the pool: an entry of its own, and behind it the paths.
struct aio__entry_job {
    aio_uring *uring;
    uint32_t block_class;
    uint64_t info;
    uint64_t entry[6];
};
AIO_FN aio_result aio__entry_call(const uint64_t *e)
{
    int fd = (int)AIO__HEAD_FD(e[0]), flags = (int)AIO__SECOND_HALF(e[3]);
    const char *path = (const char *)(uintptr_t)e[2], *path2 = (const char *)(uintptr_t)e[1];
    const char *path3 = (const char *)(uintptr_t)e[5];
    void *value = (void *)(uintptr_t)e[1];
    uint32_t len = AIO__FIRST_HALF(e[3]);
    ssize_t r = -1;
    errno = ENOSYS;
    switch (AIO__HEAD_OPCODE(e[0])) {
    case IORING_OP_MKDIRAT: r = mkdirat(fd, path, (mode_t)len); break;
    case IORING_OP_SYMLINKAT: r = symlinkat(path, fd, path2); break;
    case IORING_OP_LINKAT: r = linkat(fd, path, (int)len, path2, flags); break;
    case IORING_OP_FSETXATTR: r = fsetxattr(fd, path, value, len, flags); break;
    case IORING_OP_SETXATTR: r = setxattr(path3, path, value, len, flags); break;
    case IORING_OP_FGETXATTR: r = fgetxattr(fd, path, value, len); break;
    case IORING_OP_GETXATTR: r = getxattr(path3, path, value, len); break;
    case AIO__OP_FTRUNCATE: r = ftruncate(fd, (off_t)e[1]); break;
    default: break;
    }
    return r < 0 ? -errno : r;
}
AIO_FN aio_result aio__job_call(void *arg)
{
    return aio__entry_call(((const struct aio__entry_job *)arg)->entry);
}
AIO_FN void aio__job_release(void *arg)
{
    struct aio__entry_job *j = (struct aio__entry_job *)arg;
    aio_uring *u = j->uring;
    aio__io_release(u, j->info, 0);
    aio__free(&u->loop->executor, j, j->block_class);
}
AIO_FN bool aio__job_start(aio_uring *u, aio_waiter *w, const aio_awaitable *a)
{
    static const uint8_t word[] = { 2, 1, 5 };      // of AIO__COPY_PATH, _PATH2, _PATH3
    unsigned copies = aio__operation_of(AIO__HEAD_OPCODE(a->u.w[0]))->copies;
    size_t size = sizeof(struct aio__entry_job), n;
    for (unsigned i = 0; i < 3; i++) {
        if (!(copies & 1u << i)) continue;
        if (!a->u.p[word[i]]) return aio__failed(w, -EFAULT);
        size += strlen((const char *)a->u.cp[word[i]]) + 1;
    }
    uint32_t k = aio__class_of(size);
    struct aio__entry_job *j = (struct aio__entry_job *)aio__alloc(&u->loop->executor, k, size);
    if (!j) return aio__failed(w, -ENOMEM);
    j->uring = u;
    j->block_class = k;
    j->info = aio__io_info(a);
    memcpy(j->entry, a->u.w, sizeof j->entry);
    char *to = (char *)(j + 1);
    for (unsigned i = 0; i < 3; i++, to += n) {
        n = 0;
        if (!(copies & 1u << i)) continue;
        n = strlen((const char *)a->u.cp[word[i]]) + 1;
        j->entry[word[i]] = (uint64_t)(uintptr_t)memcpy(to, a->u.cp[word[i]], n);
    }
    aio_result r = aio__io_hold(u, j->info, 0);
    if (r < 0) aio__free(&u->loop->executor, j, k);
    if (aio__failed(w, r)) return true;
    aio_awaitable job = aio__to_thread_wide(aio__job_call, j, aio__job_release);
    job.u.w[4] = 1;                                 // a cancel waits for the call's end
    return (job.cls->start)(w, &job);
}
// By waiting until a descriptor is ready.
struct aio__polled {
    struct aio__compound compound;
    aio_awaitable poll;
    uint64_t entry[6];
    int own_fd;                     // a pidfd; -1: the caller's descriptor
};
// AIO_PENDING: not yet.
AIO_FN aio_result aio__polled_call(const uint64_t *e)
{
    siginfo_t none, *info = (siginfo_t *)(uintptr_t)e[1];
    int id = (int)AIO__HEAD_FD(e[0]), n = (int)AIO__FIRST_HALF(e[3]);
    if (AIO__HEAD_OPCODE(e[0]) == AIO__OP_EPOLL_WAIT) {
        int r = epoll_wait(id, (struct epoll_event *)(uintptr_t)e[2], n, 0);
        return r < 0 ? -errno : r ? r : AIO_PENDING;
    }
    if (!info) info = &none;
    memset((void *)info, 0, sizeof *info);
    if (waitid((idtype_t)n, (id_t)id, info, (int)AIO__SECOND_HALF(e[4]) | WNOHANG) < 0)
        return -errno;
    return info->si_pid ? 0 : AIO_PENDING;
}
AIO_FN aio_result aio__polled_next(aio_uring *u, aio_waiter *w, struct aio__compound *c,
                                   aio_result r)
{
    struct aio__polled *p = (struct aio__polled *)(void *)c;
    if (r >= 0) r = aio__polled_call(p->entry);
    if (r == AIO_PENDING && ((w->node.u.w[1] & AIO__IO_CANCELLED) || u->draining)) r = -ECANCELED;
    if (r == AIO_PENDING) {
        aio_result began = aio__io_submit(u, w, &p->poll, AIO__UD_COMPOUND, aio__io_wait());
        w->node.u.p[2] = c;
        if (began < 0) r = began;
    }
    if (r != AIO_PENDING && p->own_fd >= 0) close(p->own_fd);
    return r;
}
// The descriptor that is readable when a child has ended.
AIO_FN aio_result aio__pidfd_for(const uint64_t *e, int *own)
{
    const int others = WSTOPPED | WCONTINUED;
    uint32_t type = AIO__FIRST_HALF(e[3]);
    if ((int)AIO__SECOND_HALF(e[4]) & others) return -EOPNOTSUPP;
    if (type == AIO__P_PIDFD) return (int)AIO__HEAD_FD(e[0]);
    if (type != P_PID) return -EOPNOTSUPP;
    *own = (int)syscall(SYS_pidfd_open, (int)AIO__HEAD_FD(e[0]), 0);
    return *own < 0 ? (errno == ENOSYS ? -EOPNOTSUPP : errno == ESRCH ? -ECHILD : -errno) : *own;
}
AIO_FN bool aio__polled_start(aio_uring *u, aio_waiter *w, const aio_awaitable *a)
{
    bool wait = AIO__HEAD_OPCODE(a->u.w[0]) == AIO__OP_WAITID;
    int own = -1;
    aio_result r = aio__polled_call(a->u.w);
    if (r == AIO_PENDING && wait && ((int)AIO__SECOND_HALF(a->u.w[4]) & WNOHANG)) r = 0;
    if (r != AIO_PENDING) {
        w->future.result = r;
        return true;
    }
    aio_result fd = wait ? aio__pidfd_for(a->u.w, &own) : (aio_result)AIO__HEAD_FD(a->u.w[0]);
    if (aio__failed(w, fd)) return true;
    struct aio__polled *p =
        (struct aio__polled *)aio__compound_new(u, sizeof *p, aio__polled_next, false);
    r = -ENOMEM;
    if (p) {
        p->own_fd = own;
        p->poll = aio_poll((int)fd, POLLIN);
        memcpy(p->entry, a->u.w, sizeof p->entry);
        r = aio__compound_begin(u, w, &p->compound, &p->poll);
    }
    if (r < 0 && own >= 0) close(own);
    return aio__failed(w, r);
}

// --- close: first ends what is in flight on the descriptor
AIO_COLD void aio__flow_unpause(aio_uring *u);
AIO_FN void aio__process_disown(aio_uring *u, int fd);
AIO_COLD void aio__flow_fd_closed(aio_uring *u, uint32_t fd);
AIO_FN bool aio__close_begin(aio_uring *u, aio_waiter *w, uint32_t fd)
{
    aio_awaitable a = aio__io(aio__close_await(), IORING_OP_CLOSE, (int)fd, 0, 0, 0, 0);
    struct linger linger = { 0, 0 };
    socklen_t size = sizeof linger;
    getsockopt((int)fd, SOL_SOCKET, SO_LINGER, &linger, &size);
    if (linger.l_onoff && linger.l_linger)      // it waits: not in this thread
        a.u.w[0] |= AIO__WORD(AIO__HEAD(0, IOSQE_ASYNC, 0), 0);
    if (u && aio__io_submit(u, w, &a, AIO__UD_WAITER, aio__close_wait()) >= 0) {
        if (AIO__UNLIKELY(u->paused != 0)) aio__flow_unpause(u);
        return false;
    }
    w->future.result = close((int)fd) < 0 ? -errno : 0;     // no ring, or no memory: still released
    return true;
}
// Nothing is in flight on fd any more: the first aio_close of it closes; any other was a mistake.
AIO_COLD void aio__closing_ready(aio_uring *u, uint32_t fd)
{
    aio_waiter *first = (aio_waiter *)(uintptr_t)u->fd_last[fd], *next = first;
    u->fd_last[fd] = 0;
    u->fd_ops[fd] = 0;
    for (aio_waiter *w = first; w; w = next) {
        next = (aio_waiter *)w->node.u.p[2];
        u->loop->in_flight--;
        if (w != first) aio__settle(w, -EBADF, aio__settled());
        else if (aio__close_begin(u, w, fd)) aio__settle(w, w->future.result, aio__settled());
    }
}
AIO_FN bool aio__close_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_loop *l = AIO__LOOP_OF(w->future.loop);
    aio_uring *u = (aio_uring *)l->backend_state;
    uint32_t fd = AIO__HEAD_FD(a->u.w[0]);
    if (AIO__UNLIKELY(l->forked)) return aio__failed(w, -EPERM);
    if ((int32_t)fd < 0) return aio__failed(w, -EBADF);
    if (u && u->owned[fd % AIO__DETOURS]) aio__process_disown(u, (int)fd);
    if (u && fd < u->many_capacity && u->many[fd]) aio__flow_fd_closed(u, fd);
    if (!u || fd >= u->fd_capacity || !u->fd_ops[fd]) return aio__close_begin(u, w, fd);
    w->node.u.w[1] = fd | (uint64_t)IORING_OP_CLOSE << 32;
    w->node.u.p[2] = 0;
    u->loop->in_flight++;
    aio_waiter_begin(w, aio__close_wait());
    uint64_t last = u->fd_last[fd];
    if (!(u->fd_ops[fd] & AIO__FD_CLOSING)) {
        u->fd_ops[fd] |= AIO__FD_CLOSING;
        u->fd_last[fd] = (uint64_t)(uintptr_t)w;
        aio__cancel_fd(u, (int)fd, last);
        return false;
    }
    aio_waiter *before = (aio_waiter *)(uintptr_t)last;
    while (before->node.u.p[2]) before = (aio_waiter *)before->node.u.p[2];
    before->node.u.p[2] = w;
    return false;
}

// --- buffers: handed out by the kernel, or (before 5.19) by us
enum { AIO__NO_BUFFER = 0xffff };
struct aio__buffer {
    uint32_t length;            // of what is in it
    uint16_t next;              // in an iterator's queue, or among ours that are free
};
AIO_FN void aio__buffer_put(struct aio__buffers *b, uint32_t id)
{
    b->free++;
    if (!b->entries) {
        b->info[id].next = b->first_free;
        b->first_free = (uint16_t)id;
        return;
    }
    struct io_uring_buf *e = &b->entries[b->tail & b->mask];
    e->addr = (uint64_t)(uintptr_t)(b->memory + (size_t)id * b->size);
    e->len = b->size;
    e->bid = (uint16_t)id;
    b->tail++;
    __atomic_store_n(&b->entries[0].resv, b->tail, __ATOMIC_RELEASE);      // the ring's tail
}
// Gives one back. Somebody who waits for it begins again now: the loop may have nothing else.
AIO_COLD void aio__feed_one(struct aio__buffers *b);
AIO_FN void aio__buffer_give(struct aio__buffers *b, uint32_t id)
{
    aio__buffer_put(b, id);
    if (AIO__UNLIKELY(b->starved != 0)) aio__feed_one(b);
}
AIO_FN uint16_t aio__buffer_take(struct aio__buffers *b)        // one of ours
{
    uint16_t id = b->first_free;
    b->first_free = b->info[id].next;
    b->free--;
    return id;
}
AIO_COLD void aio__buffers_refused(aio_loop *l, size_t bytes)
{
    char text[200];
    struct rlimit memlock = { 0, 0 };
    getrlimit(RLIMIT_MEMLOCK, &memlock);
    snprintf(
        text, sizeof text,
        "io_uring: no memory for a buffer ring of %zu bytes: RLIMIT_MEMLOCK is %llu KiB for all "
        "rings of this user; raise it (ulimit -l)",
        bytes, (unsigned long long)memlock.rlim_cur / 1024);
    aio__loop_say(l, text, -ENOMEM);
}
AIO_FN aio_result aio__buffers_register(struct aio__buffers *b, uint32_t entries)
{
    struct io_uring_buf_reg reg;
    struct aio__buffers *other;
    memset(&reg, 0, sizeof reg);
    for (b->group = 0;; b->group++) {                   // the first that is not used
        for (other = b->ring->buffer_rings; other && other->group != b->group;) other = other->next;
        if (!other) break;
    }
    reg.ring_addr = (uint64_t)(uintptr_t)b->entries;
    reg.ring_entries = entries;
    reg.bgid = b->group;
    return aio__ring_register(b->ring, IORING_REGISTER_PBUF_RING, &reg, 1);
}
AIO_FN aio_result aio__buffers_open(aio_uring *u, void *storage, uint32_t count, uint32_t size,
                                    struct aio__buffers **out)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);     // the kernel wants it so
    uint32_t entries = 1;
    while (entries < count) entries *= 2;
    bool by_kernel = u->has_cancel_all;         // came with it, in 5.19
    size_t shared = by_kernel ? entries * sizeof(struct io_uring_buf) : 0;
    size_t own = storage ? 0 : (size_t)count * size, info = count * sizeof(struct aio__buffer);
    void *block = aio__chunk_new(&u->loop->executor,
                                 page + shared + own + info + sizeof(struct aio__buffers) + 8);
    if (!block) return -ENOMEM;
    char *at = (char *)(((uintptr_t)block + page - 1) & ~(page - 1));
    struct aio__buffers *b =
        (struct aio__buffers *)(void *)(((uintptr_t)at + shared + own + info + 7) & ~(uintptr_t)7);
    memset((void *)b, 0, sizeof *b);
    b->block = block;
    b->ring = u;
    b->entries = by_kernel ? (struct io_uring_buf *)(void *)at : 0;
    b->memory = storage ? (char *)storage : at + shared;
    b->info = (struct aio__buffer *)(void *)(at + shared + own);
    b->size = size;
    b->count = count;
    b->mask = entries - 1;
    b->first_free = AIO__NO_BUFFER;
    memset((void *)at, 0, shared);
    aio__kernel_fills((char *)at + shared, own);
    aio_result r = by_kernel ? aio__buffers_register(b, entries) : 0;
    if (r == -ENOMEM) aio__buffers_refused(u->loop, shared);
    if (r < 0) {
        aio__chunk_free(&u->loop->executor, block);
        return r;
    }
    while (b->free < count) aio__buffer_put(b, b->free);
    b->next = u->buffer_rings;
    u->buffer_rings = b;
    *out = b;
    return 0;
}
AIO_FN aio_uring *aio__uring_of_loop(aio_loop *l, aio_result *why)
{
    if (!l->forked && l->backend_state) return (aio_uring *)l->backend_state;
    return aio__uring_of_slow(l, why);
}
AIO_FN aio_result aio_buffer_ring_init_over(aio_buffer_ring *b, void *storage, unsigned count,
                                            size_t size)
{
    aio_loop *l = aio_running_loop();
    aio_result r = 0;
    if (!l && aio__running()) return -EPERM;            // a forked child
    if (!l || !count || count > 32768 || !size || size > AIO__LENGTH_MAX) return -EINVAL;
    if (b->buffers) return -EBUSY;
    aio_uring *u = aio__uring_of_loop(l, &r);
    if (!storage) size = (size + 7) & ~(size_t)7;
    return u ? aio__buffers_open(u, storage, count, (uint32_t)size, &b->buffers) : r;
}
AIO_FN aio_result aio_buffer_ring_init(aio_buffer_ring *b, unsigned count, size_t size)
{
    return aio_buffer_ring_init_over(b, 0, count, size);
}
AIO_FN aio_result aio_buffer_ring_close(aio_buffer_ring *ring)
{
    struct aio__buffers *b = ring->buffers;
    if (aio__forked_here() || (b && b->ring->disabled)) return -EPERM;
    if (!b) return 0;
    if (b->users) return -EBUSY;
    if (b->entries) aio__ring_register(b->ring, IORING_UNREGISTER_PBUF_RING, 0, b->group);
    struct aio__buffers **at = &b->ring->buffer_rings;
    while (*at != b) at = &(*at)->next;
    *at = b->next;
    aio__chunk_free(&b->ring->loop->executor, b->block);
    ring->buffers = 0;
    return 0;
}

// --- iterators. A sink puts what comes into the iterator's queue; aio_next takes it out. Whatever
// ends the sink early, aio__flow_arm decides whether it begins again, and what it has to wait for.
enum { AIO__FLOW_ACCEPT, AIO__FLOW_RECV, AIO__FLOW_RECVMSG, AIO__FLOW_READ, AIO__FLOW_POLL };
// MULTI: one operation. ONE: one per value, and only while somebody waits. OWN: the same, after a
// poll, into a buffer that we choose.
enum { AIO__FLOW_MULTI, AIO__FLOW_ONE, AIO__FLOW_OWN };
enum {
    AIO__FLOW_ACCEPTED = 64,        // connections that may wait to be taken
    AIO__FLOW_SHARE = 8,            // buffers that any iterator may have full
    AIO__FLOW_STRIKES = 16,         // ends for no reason, without a value between them
    AIO__NAME_BYTES = sizeof(struct sockaddr_storage)
};
AIO_FN bool aio__flow_has(const aio_many *it) { return it->queued || it->empty; }
AIO_FN bool aio__flow_over(const aio_many *it)
{
    return aio__flow_has(it) || it->fault || it->end != AIO_PENDING;
}
AIO_FN size_t aio__flow_overhead(const aio_many *it)        // of a message, in its buffer
{
    return sizeof(struct io_uring_recvmsg_out) + AIO__NAME_BYTES + it->control_bytes;
}
AIO_FN char *aio__flow_memory(const aio_many *it, uint32_t id)
{
    return it->buffers->memory + (size_t)id * it->buffers->size;
}
// The message that lies in a buffer of `length` bytes. Returns its payload's length.
AIO_FN size_t aio__flow_message(aio_many *it, char *buffer, size_t length, char **payload)
{
    struct io_uring_recvmsg_out out;
    it->message = it->ask;
    it->message.msg_iov = 0;
    it->message.msg_iovlen = 0;
    *payload = buffer;
    if (it->mode != AIO__FLOW_MULTI) return length;
    memcpy(&out, buffer, sizeof out);
    it->message.msg_name = buffer + sizeof out;
    it->message.msg_namelen = (socklen_t)out.namelen;
    if (out.namelen > AIO__NAME_BYTES) it->message.msg_namelen = AIO__NAME_BYTES;
    it->message.msg_control = buffer + sizeof out + AIO__NAME_BYTES;
    it->message.msg_controllen = out.controllen;
    it->message.msg_flags = (int)out.flags;
    if ((uintptr_t)buffer & 7) {            // in storage of the caller's: who looks at them may not
        memcpy(it->own, it->message.msg_name, AIO__NAME_BYTES + it->control_bytes);
        it->message.msg_name = it->own;
        it->message.msg_control = (char *)it->own + AIO__NAME_BYTES;
    }
    *payload = buffer + aio__flow_overhead(it);
    return length - aio__flow_overhead(it);
}
// Descriptors in a message that nobody will see.
AIO_COLD void aio__flow_close_rights(aio_many *it, char *buffer, size_t length)
{
    char *payload;
    aio__flow_message(it, buffer, length, &payload);
    if (it->message.msg_controllen) aio__message_close(&it->message);
}
AIO_FN void aio_buffer_release(aio_many *it)
{
    if (!it->holds) return;
    it->holds = false;
    it->data = 0;
    aio__buffer_give(it->buffers, it->held);
}
AIO_FN void aio__flow_wake(aio_many *it);

// --- iterators: the queue
AIO_FN uint16_t aio__flow_unlink(aio_many *it)              // the first buffer of the queue
{
    uint16_t id = it->first;
    it->first = it->buffers->info[id].next;
    it->queued--;
    return id;
}
AIO_FN void aio__flow_pop(aio_many *it)
{
    if (!it->queued) {                          // a datagram of no bytes
        it->empty = false;
        it->value = 0;
        if (it->what == AIO__FLOW_RECVMSG) aio__flow_message(it, 0, 0, &it->data);
    } else if (it->what == AIO__FLOW_POLL) {
        it->value = it->events;
        it->events = 0;
        it->queued = 0;
    } else if (it->what == AIO__FLOW_ACCEPT) {
        it->value = it->accepted[it->head++ & (it->capacity - 1)];
        it->queued--;
    } else if (it->solo) {
        it->queued = 0;
        it->value = it->asked;
        it->data = (char *)it->own;
    } else {
        it->held = aio__flow_unlink(it);
        it->holds = true;
        it->data = aio__flow_memory(it, it->held);
        size_t length = it->buffers->info[it->held].length;
        if (it->what == AIO__FLOW_RECVMSG)
            length = aio__flow_message(it, it->data, length, &it->data);
        it->value = (aio_result)length;
    }
}
// Descriptors without a byte are a message, not the end.
AIO_FN bool aio__flow_carries(const aio_many *it)
{
    return it->what == AIO__FLOW_RECVMSG && it->mode != AIO__FLOW_MULTI && it->ask.msg_controllen;
}
// Nobody will ask for what is in the queue.
AIO_FN void aio__flow_discard(aio_many *it)
{
    while (it->what == AIO__FLOW_ACCEPT && it->queued) {
        aio__flow_pop(it);
        close((int)it->value);
    }
    while (it->buffers && !it->solo && it->queued) {
        uint16_t id = aio__flow_unlink(it);
        if (it->what == AIO__FLOW_RECVMSG)
            aio__flow_close_rights(it, aio__flow_memory(it, id), it->buffers->info[id].length);
        aio__buffer_give(it->buffers, id);
    }
    if (it->empty && aio__flow_carries(it)) aio__flow_close_rights(it, 0, 0);
    it->queued = 0;
    it->empty = false;
}
AIO_COLD bool aio__flow_grow(aio_many *it)
{
    uint32_t capacity = it->capacity ? it->capacity * 2 : 8, old = it->capacity;
    aio_executor *x = &it->ring->loop->executor;
    size_t bytes = capacity * sizeof(int);
    int *more = (int *)aio__alloc(x, aio__class_of(bytes), bytes);
    if (!more) return false;
    for (uint32_t i = 0; i < it->queued; i++) more[i] = it->accepted[(it->head + i) & (old - 1)];
    if (old) aio__free(x, it->accepted, aio__class_of(old * sizeof(int)));
    it->accepted = more;
    it->capacity = capacity;
    it->head = 0;
    return true;
}
AIO_FN void aio__flow_push_fd(aio_many *it, int fd)
{
    if (it->closing || (it->queued == it->capacity && !aio__flow_grow(it))) {
        close(fd);
        it->fault = -ENOMEM;                    // it is told; closing, nobody asks
        return;
    }
    it->accepted[(it->head + it->queued++) & (it->capacity - 1)] = fd;
}
AIO_FN void aio__flow_push(aio_many *it, uint16_t id, size_t length)
{
    struct aio__buffer *info = it->buffers->info;
    info[id].length = (uint32_t)length;
    if (it->queued++) info[it->last].next = id;
    else it->first = id;
    it->last = id;
    if (it->closing) aio__flow_discard(it);
}
// More wait to be taken than should.
AIO_FN bool aio__flow_full(const aio_many *it)
{
    if (it->what == AIO__FLOW_ACCEPT) return it->queued >= AIO__FLOW_ACCEPTED;
    if (!it->buffers || it->queued < AIO__FLOW_SHARE || it->buffers->users < 2) return false;
    return it->queued >= it->buffers->count / it->buffers->users;
}

// --- iterators: beginning again
AIO_FN void aio__flow_end(aio_many *it, aio_result r)
{
    if (it->end == AIO_PENDING) it->end = r;
    aio__flow_wake(it);
}
AIO_FN void aio__flow_starve(aio_many *it)
{
    struct aio__buffers *b = it->buffers;
    it->starved = true;
    it->next_waiting = 0;
    if (b->starved) b->last_starved->next_waiting = it;
    else b->starved = it;
    b->last_starved = it;
    it->ring->starved++;
}
AIO_FN void aio__flow_fed(aio_many *it)         // takes it off the list
{
    struct aio__buffers *b = it->buffers;
    if (!it->starved) return;
    aio_many *before = 0, *i = b->starved;
    for (; i != it; i = i->next_waiting) before = i;
    if (before) before->next_waiting = it->next_waiting;
    else b->starved = it->next_waiting;
    if (b->last_starved == it) b->last_starved = before;
    it->starved = false;
    it->ring->starved--;
}
AIO_FN aio_awaitable aio__flow_entry(aio_many *it)
{
    bool multi = it->mode == AIO__FLOW_MULTI, own = it->mode == AIO__FLOW_OWN;
    unsigned ioprio = 0;
    aio_awaitable a;
    char *to = own && it->ready ? aio__flow_memory(it, it->taken) : 0;
    size_t size = it->buffers && !multi ? it->buffers->size : 0;
    if (it->what == AIO__FLOW_POLL || (own && !it->ready)) {
        a = aio_poll(it->fd, it->what == AIO__FLOW_POLL ? it->asked : (unsigned)POLLIN);
        if (multi) a.u.w[3] |= AIO__WORD(IORING_POLL_ADD_MULTI, 0);
        return a;
    }
    if (it->what == AIO__FLOW_ACCEPT) {
        a = aio_accept(it->fd);
        ioprio = multi ? IORING_ACCEPT_MULTISHOT : 0;
    } else if (it->what == AIO__FLOW_READ) {
        a = aio_read_some(it->fd, it->solo ? (char *)it->own : to, size);
        if (it->solo) return a;
        if (multi) a.u.w[0] = AIO__WORD(AIO__HEAD(AIO__OP_READ_MULTISHOT, 0, 0), it->fd);
    } else if (it->what == AIO__FLOW_RECV) {
        a = aio_recv(it->fd, to, size, 0);
        ioprio = multi ? IORING_RECV_MULTISHOT : 0;
    } else {
        it->vector.iov_base = to;
        it->vector.iov_len = size;
        it->ask.msg_namelen = AIO__NAME_BYTES;
        it->ask.msg_controllen = it->control_bytes;
        it->ask.msg_iov = multi ? 0 : &it->vector;
        it->ask.msg_iovlen = !multi;
        a = aio__io(aio__io_await(), IORING_OP_RECVMSG, it->fd, 0, &it->ask, 1, MSG_CMSG_CLOEXEC);
        ioprio = multi ? IORING_RECV_MULTISHOT : 0;
    }
    a.u.w[0] |= AIO__WORD(AIO__HEAD(0, it->buffers && !own ? IOSQE_BUFFER_SELECT : 0, ioprio), 0);
    if (it->buffers && !own) memcpy(&a.u.w[4], &it->buffers->group, sizeof it->buffers->group);
    return a;
}
// The one place where an iterator's operation begins, at first and after every end: of a single
// one, of a multishot that ran out of buffers or descriptors, overran the completion queue, or was
// ended by the kernel for a reason of its own.
AIO_FN void aio__flow_arm(aio_many *it)
{
    if (aio__sink_busy(&it->sink) || it->end != AIO_PENDING || it->closing) return;
    if (it->starved || it->paused) return;
    if (it->fd_closed) {
        aio__flow_end(it, -EBADF);
        return;
    }
    if (it->empty || (it->queued && (it->full || it->mode != AIO__FLOW_MULTI))) return;
    if (it->mode != AIO__FLOW_MULTI && !it->waiter) return;     // when somebody asks
    it->full = false;
    bool takes = it->buffers && !it->solo && (it->mode != AIO__FLOW_OWN || it->ready);
    if (takes && !it->buffers->free) {
        aio__flow_starve(it);
        return;
    }
    if (it->ready) it->taken = aio__buffer_take(it->buffers);
    aio_awaitable a = aio__flow_entry(it);
    bool reads = it->what == AIO__FLOW_READ && AIO__HEAD_OPCODE(a.u.w[0]) != IORING_OP_POLL_ADD;
    aio_result r = reads ? aio__file_sink(it->ring, &it->sink, &a)
                         : aio__sink_submit(it->ring, &it->sink, &a);
    if (r >= 0) return;
    if (it->ready) aio__buffer_give(it->buffers, it->taken);
    if (r != -ENOMEM) aio__flow_end(it, r);
    it->fault = r == -ENOMEM ? r : it->fault;
    aio__flow_wake(it);
}
AIO_COLD void aio__feed_one(struct aio__buffers *b)     // who does not want it now is passed over
{
    bool begun = false;
    while (!begun && b->starved && b->free) {
        aio_many *it = b->starved;
        aio__flow_fed(it);
        aio__flow_arm(it);
        begun = aio__sink_busy(&it->sink);
    }
}
// Who begins again may find that its peer has nothing to say, and take no buffer: then it is the
// next one's turn, no more at a time than there are buffers. True: there is more to do.
AIO_SLOW bool aio__feed(aio_uring *u)
{
    bool more = aio__detours_tell(u);
    for (struct aio__buffers *b = u->buffer_rings; b; b = b->next) {
        for (uint32_t n = b->free; n && b->starved; n--) aio__feed_one(b);
        more |= b->starved && b->free;
    }
    return more;
}
// No descriptor for a connection: it waits in the backlog until this loop closes something, or a
// moment has passed.
AIO_COLD void aio__flow_unpaused(aio_many *it)
{
    aio_many **at = &it->ring->paused;
    if (!it->paused) return;
    while (*at != it) at = &(*at)->next_waiting;
    *at = it->next_waiting;
    it->paused = false;
    aio_handle_cancel(&it->retry);
}
AIO_COLD void aio__flow_unpause(aio_uring *u)
{
    while (u->paused) {
        aio_many *it = u->paused;
        aio__flow_unpaused(it);
        aio__flow_arm(it);
    }
}
AIO_COLD int aio__flow_retry(void *arg)
{
    aio_many *it = (aio_many *)arg;
    aio__flow_unpaused(it);
    aio__flow_arm(it);
    return 0;
}
AIO_COLD void aio__flow_pause(aio_many *it, aio_result why)
{
    if (!it->told)
        aio__loop_say(it->ring->loop,
                      "accept waits for a descriptor: close some, or raise the limit (ulimit -n)",
                      why);
    it->told = true;
    if (aio_call_later(it->ring->loop, &it->retry, 10 * AIO_MSEC, aio__flow_retry, it) < 0) {
        it->fault = why;
        return;
    }
    it->paused = true;
    it->next_waiting = it->ring->paused;
    it->ring->paused = it;
}
AIO_FN int aio__flow_domain(int fd)         // -1: no socket
{
    int domain = -1;
    socklen_t length = sizeof domain;
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length);
    return domain;
}
AIO_COLD bool aio__flow_passing(aio_result res)     // of the connection, not of the listener
{
    return res == -ECONNABORTED || res == -EPROTO || res == -ENETDOWN || res == -ENETUNREACH ||
           res == -ENOPROTOOPT || res == -EHOSTDOWN || res == -EHOSTUNREACH || res == -ENONET;
}
AIO_COLD void aio__flow_failed(aio_many *it, aio_result res)
{
    bool ours = it->closing || (res == -ECANCELED && it->full);
    bool accept = it->what == AIO__FLOW_ACCEPT;
    bool overrun = res == -ENOBUFS && it->buffers && it->buffers->free;
    if (overrun && aio__flow_domain(it->fd) == AF_NETLINK) {
        it->fault = res;            // messages were lost; there would have been a buffer
        return;
    }
    if (ours || (res == -ENOBUFS && it->buffers) || (accept && aio__flow_passing(res))) return;
    if (it->mode == AIO__FLOW_MULTI && !it->proven && (res == -EINVAL || res == -EBADFD)) {
        it->mode = AIO__FLOW_ONE;               // this kernel, or this file, cannot
        return;
    }
    if (accept && (res == -EMFILE || res == -ENFILE || res == -ENOBUFS || res == -ENOMEM)) {
        aio__flow_pause(it, res);
        return;
    }
    bool again = (res == -EIO && it->what != AIO__FLOW_READ) || res == -EINTR || res == -EAGAIN;
    if (!again || ++it->strikes > AIO__FLOW_STRIKES) aio__flow_end(it, res);
}

// --- iterators: completions
AIO_COLD bool aio__flow_stream(const aio_many *it)  // nothing is its end, not an empty datagram
{
    int type = SOCK_STREAM;
    socklen_t length = sizeof type;
    if (it->what != AIO__FLOW_READ) getsockopt(it->fd, SOL_SOCKET, SO_TYPE, &type, &length);
    return type != SOCK_DGRAM && type != SOCK_RAW;
}
AIO_COLD void aio__flow_nothing(aio_many *it)
{
    if (!aio__flow_carries(it) && aio__flow_stream(it)) aio__flow_end(it, 0);
    else it->empty = true;
    if (it->closing) aio__flow_discard(it);
}
AIO_FN void aio__flow_ended(aio_many *it);
AIO_FN void aio__flow_took(aio_many *it, aio_result res, uint32_t id)
{
    bool message = it->what == AIO__FLOW_RECVMSG;
    size_t overhead = message && it->mode == AIO__FLOW_MULTI ? aio__flow_overhead(it) : 0;
    it->strikes = 0;
    it->proven = true;
    if (it->what == AIO__FLOW_ACCEPT) {
        aio__flow_push_fd(it, (int)res);
    } else if (it->what == AIO__FLOW_POLL) {
        it->events |= (uint32_t)res;
        it->queued = 1;
    } else if (it->solo && res > 0) {
        it->asked = (uint32_t)res;
        it->queued = 1;
    } else if (id != AIO__NO_BUFFER && (size_t)res > overhead) {
        aio__flow_push(it, (uint16_t)id, (size_t)res);
    } else if (message && id != AIO__NO_BUFFER &&
               (aio__flow_carries(it) || !aio__flow_stream(it))) {
        aio__flow_push(it, (uint16_t)id, (size_t)res);      // nothing but its sender
    } else {
        if (id != AIO__NO_BUFFER) aio__buffer_give(it->buffers, id);
        aio__flow_nothing(it);
    }
}
AIO_FN void aio__flow_done(aio_uring *u, struct aio__sink *s, aio_result res, uint32_t cqe_flags)
{
    aio_many *it = AIO__CONTAINER(s, aio_many, sink);
    bool polled = it->mode == AIO__FLOW_OWN && !it->ready, last = !(cqe_flags & IORING_CQE_F_MORE);
    uint32_t id = AIO__NO_BUFFER;
    if (cqe_flags & IORING_CQE_F_BUFFER) {
        id = cqe_flags >> IORING_CQE_BUFFER_SHIFT;
        it->buffers->free--;
    } else if (it->mode == AIO__FLOW_OWN && it->ready) {
        id = it->taken;
    }
    it->ready = polled && res >= 0;
    if (!polled && res >= 0) aio__flow_took(it, res, id);
    if (res < 0 && id != AIO__NO_BUFFER) aio__buffer_give(it->buffers, id);
    if (res < 0) aio__flow_failed(it, res);
    if (!last && !it->full && aio__flow_full(it)) {
        it->full = true;
        aio__sink_cancel(u, s);
        return;
    }
    if (last && it->closing) aio__flow_ended(it);
    else if (last) aio__flow_arm(it);
    aio__flow_wake(it);
}

// --- iterators: waiting for the next value
AIO_FN aio_result aio__flow_resume(aio_waiter *w, bool must_cancel)
{
    aio_many *it = (aio_many *)w->node.u.p[0];
    aio_result r = it->fault;
    it->waiter = 0;
    if (must_cancel) return -ECANCELED;         // what has come stays for the next call
    if (aio__flow_has(it)) {
        aio__flow_pop(it);
        return 1;
    }
    it->fault = 0;
    return r < 0 ? r : it->end;
}
AIO_FN void aio__flow_dispose(aio_waiter *w) { ((aio_many *)w->node.u.p[0])->waiter = 0; }
AIO_TABLE(aio_wait_class, aio__flow_ready,
    { "ready", AIO__WAIT_READY, 0, aio__flow_resume, 0, 0, 0, aio__flow_dispose })
AIO_FN bool aio__flow_cancel(aio_waiter *w)
{
    aio__flow_dispose(w);
    aio_complete(w, -ECANCELED);
    return true;
}
AIO_FN size_t aio__flow_describe(const aio_waiter *w, char *text, size_t size)
{
    static const char *const names[] = { "accept", "recv", "recvmsg", "read", "poll" };
    const aio_many *it = (const aio_many *)w->node.u.p[0];
    size_t at = aio__append(text, size, 0, names[it->what]);
    at = aio__append(text, size, at, it->starved ? " (no buffer) fd " : " fd ");
    return aio__append_number(text, size, at, (uint32_t)it->fd);
}
AIO_TABLE(aio_wait_class, aio__flow_wait,
    { "next", AIO__WAIT_OWN, aio__flow_cancel, 0, 0, 0, aio__flow_describe, aio__flow_dispose })
AIO_TABLE(aio_wait_class, aio__flow_closing,
    { "end of an iterator", AIO__WAIT_OWN, 0, 0, 0, 0, 0, 0 })
AIO_FN void aio__flow_wake(aio_many *it)
{
    if (!it->waiter || it->woken || !aio__flow_over(it)) return;
    it->woken = true;
    aio_wake(it->waiter, aio__flow_ready());
}
AIO_FN bool aio__flow_next(aio_waiter *w, aio_frame *f)
{
    aio_many *it = (aio_many *)(void *)f;
    if (aio__in_child(w)) return true;
    if (it->waiter) return aio__done_with(w, -EBUSY);
    if (!it->ring) return aio__done_with(w, 0);
    aio_buffer_release(it);
    if (aio__flow_has(it)) {
        aio__flow_pop(it);
        return aio__done_with(w, 1);
    }
    if (it->end != AIO_PENDING) return aio__done_with(w, it->end);
    it->waiter = w;
    it->woken = false;
    w->node.u.p[0] = it;
    aio_waiter_begin(w, aio__flow_wait());
    aio__flow_arm(it);
    aio__flow_wake(it);
    return false;
}

// --- iterators: the end
// Asks for the end. True: nothing is in flight any more.
AIO_FN bool aio__flow_shut(aio_many *it)
{
    aio_waiter *w = it->waiter;
    it->closing = true;
    it->waiter = 0;
    aio__flow_fed(it);
    aio__flow_unpaused(it);
    aio_buffer_release(it);
    aio__flow_discard(it);
    aio__flow_end(it, 0);
    if (w && it->woken) aio__woken_with(w, 0);
    else if (w) aio_complete(w, 0);
    aio__sink_cancel(it->ring, &it->sink);
    return !aio__sink_busy(&it->sink);
}
AIO_FN size_t aio__flow_own_bytes(const aio_many *it)
{
    return it->solo ? it->buffers->size : AIO__NAME_BYTES + it->control_bytes;
}
AIO_FN void aio__flow_left(aio_many *it)            // off the ring's books
{
    aio_many **at = &it->ring->many[it->fd];
    aio_executor *x = &it->ring->loop->executor;
    while (*at != it) at = &(*at)->next_on_fd;
    *at = it->next_on_fd;
    if (it->buffers) it->buffers->users--;
    if (it->capacity) aio__free(x, it->accepted, aio__class_of(it->capacity * sizeof(int)));
    if (it->own) aio__free(x, it->own, aio__class_of(aio__flow_own_bytes(it)));
    it->ring = 0;
}
AIO_FN void aio__flow_ended(aio_many *it)
{
    aio_waiter *closer = it->closer, *leaver = it->leaver;
    it->closer = it->leaver = 0;
    if (closer) {
        aio__flow_left(it);
        if (!leaver) aio_scope_leave(&it->scope, it->owner);
        aio__complete_as(closer, 0, aio__settled());
    }
    if (leaver) aio__complete_as(leaver, 0, aio__settled());
}
AIO_FN aio_result aio__flow_exit(aio_scope *s, aio_task *t, aio_result r)
{
    aio_many *it = AIO__CONTAINER(s, aio_many, scope);
    if (!it->ring) return r;
    if (!aio__flow_shut(it)) {
        it->leaver = &t->waiter;
        aio_waiter_begin(&t->waiter, aio__flow_closing());
        return AIO_PENDING;
    }
    aio__flow_left(it);
    return r;
}
AIO_TABLE(aio_scope_class, aio__flow_scope, { "iterator", aio__flow_exit, AIO__SCOPE_OWN })
AIO_FN bool aio__flow_close(aio_waiter *w, aio_frame *f)
{
    aio_many *it = (aio_many *)(void *)f;
    if (aio__in_child(w)) return true;
    if (!it->ring) return aio__done_with(w, 0);
    if (it->waiter || it->closer || it->leaver) return aio__done_with(w, -EBUSY);
    if (!aio__flow_shut(it)) {
        it->closer = w;
        aio_waiter_begin(w, aio__flow_closing());
        return false;
    }
    aio__flow_left(it);
    aio_scope_leave(&it->scope, it->owner);
    return aio__done_with(w, 0);
}
AIO_TABLE(struct aio__native, aio__flow_native,
    { { 0, 0, "iterator", 0, AIO__SITE_NATIVE }, aio__flow_next, aio__flow_close })
// An aio_close begins: what is not in flight just now must not begin again on the next file with
// that number.
AIO_COLD void aio__flow_fd_closed(aio_uring *u, uint32_t fd)
{
    for (aio_many *it = u->many[fd]; it; it = it->next_on_fd) {
        it->fd_closed = true;
        if (!aio__sink_busy(&it->sink)) aio__flow_end(it, -EBADF);
    }
}
AIO_COLD void aio__flows_drop(aio_uring *u)         // the loop closes: nobody will ask any more
{
    for (uint32_t fd = 0; fd < u->many_capacity; fd++) {
        for (aio_many *it = u->many[fd]; it; it = it->next_on_fd) {
            it->closing = true;
            aio__flow_discard(it);
        }
    }
}

// --- iterators: opening
AIO_FN aio_result aio__flow_list(aio_uring *u, aio_many *it)
{
    uint32_t fd = (uint32_t)it->fd;
    aio_result r = fd < u->fd_capacity ? 0 : aio__fds_grow(u, fd);
    if (r < 0) return r;
    if (fd >= u->many_capacity) {
        size_t bytes = u->fd_capacity * sizeof *u->many;
        aio_many **many = (aio_many **)aio__chunk_new(&u->loop->executor, bytes);
        if (!many) return -ENOMEM;
        memset((void *)many, 0, bytes);
        if (u->many) {
            memcpy((void *)many, u->many, u->many_capacity * sizeof *many);
            aio__chunk_free(&u->loop->executor, u->many);
        }
        u->many = many;
        u->many_capacity = u->fd_capacity;
    }
    it->next_on_fd = u->many[fd];
    u->many[fd] = it;
    return 0;
}
AIO_FN uint8_t aio__flow_mode(const aio_uring *u, unsigned what, int fd, bool buffers)
{
    if (!u->has_cancel_all) return buffers ? AIO__FLOW_OWN : AIO__FLOW_ONE;     // before 5.19
    if (!buffers) return AIO__FLOW_MULTI;
    if (!(u->ring.flags & IORING_SETUP_DEFER_TASKRUN)) return AIO__FLOW_ONE;    // before 6.1
    if (what == AIO__FLOW_READ && !aio__has(u, AIO__OP_READ_MULTISHOT)) return AIO__FLOW_ONE;
    if (aio__flow_domain(fd) == AF_UNIX)
        return AIO__FLOW_ONE;           // a multishot may miss the end of the stream
    return AIO__FLOW_MULTI;
}
AIO_FN aio_result aio__flow_open(aio_many *it, unsigned what, int fd, struct aio__buffers *b,
                                 size_t extra)
{
    aio_task *t = aio_current_task();
    aio_result r = -EINVAL;
    if (aio__forked_here()) return -EPERM;
    bool takes = what != AIO__FLOW_ACCEPT && what != AIO__FLOW_POLL;
    if (!t || extra > 65536 || (takes && !b)) return -EINVAL;
    if (it->ring) return -EBUSY;
    if (fd < 0) return -EBADF;
    if (b && &b->ring->loop->executor != t->waiter.future.loop) return -EXDEV;
    aio_uring *u = aio__uring_of_loop(AIO__LOOP_OF(t->waiter.future.loop), &r);
    if (!u) return r;
    memset((void *)it, 0, sizeof *it);
    it->aio.site = &aio__flow_native()->site;
    it->sink.done = aio__flow_done;
    it->end = AIO_PENDING;
    it->owner = t;
    it->fd = fd;
    it->what = (uint8_t)what;
    it->buffers = b;
    it->mode = aio__flow_mode(u, what, fd, b != 0);
    if (what == AIO__FLOW_POLL) it->asked = (uint32_t)extra;
    if (what == AIO__FLOW_RECVMSG) {
        it->control_bytes = (uint32_t)extra;
        if (b->size <= aio__flow_overhead(it)) return -EINVAL;
    }
    aio_awaitable reads = aio_read_some(fd, 0, 0);
    it->solo = what == AIO__FLOW_READ && aio__file_kind(u, &reads) != AIO__FILE_RING;
    if (it->solo) it->mode = AIO__FLOW_ONE;
    if (it->solo || what == AIO__FLOW_RECVMSG) {
        size_t bytes = aio__flow_own_bytes(it);
        it->own = aio__alloc(&u->loop->executor, aio__class_of(bytes), bytes);
        if (!it->own) return -ENOMEM;
        aio__kernel_fills(it->own, bytes);
    }
    if (what == AIO__FLOW_RECVMSG) {
        it->ask.msg_name = it->own;
        it->ask.msg_control = (char *)it->own + AIO__NAME_BYTES;
    }
    r = aio__flow_list(u, it);
    if (r < 0 && it->own)
        aio__free(&u->loop->executor, it->own, aio__class_of(aio__flow_own_bytes(it)));
    if (r < 0) return r;
    it->ring = u;
    if (b) b->users++;
    aio_scope_enter(&it->scope, t, aio__flow_scope());
    return 0;
}
AIO_FN aio_result aio_accept_many(aio_many *it, int listener)
{
    return aio__flow_open(it, AIO__FLOW_ACCEPT, listener, 0, 0);
}
AIO_FN aio_result aio_poll_many(aio_many *it, int fd, unsigned events)
{
    return aio__flow_open(it, AIO__FLOW_POLL, fd, 0, events);
}
AIO_FN aio_result aio_recv_many(aio_many *it, int fd, aio_buffer_ring *buffers)
{
    return aio__flow_open(it, AIO__FLOW_RECV, fd, buffers->buffers, 0);
}
AIO_FN aio_result aio_read_many(aio_many *it, int fd, aio_buffer_ring *buffers)
{
    return aio__flow_open(it, AIO__FLOW_READ, fd, buffers->buffers, 0);
}
AIO_FN aio_result aio_recvmsg_many(aio_many *it, int fd, aio_buffer_ring *buffers,
                                   size_t control_bytes)
{
    size_t room = (control_bytes + 15) & ~(size_t)15;
    return aio__flow_open(it, AIO__FLOW_RECVMSG, fd, buffers->buffers, room);
}

// --- system calls that cannot block
AIO_FN bool aio__syscall_done(aio_waiter *w, long r)
{
    w->future.result = r < 0 ? -errno : r;
    return true;
}
// It gives a descriptor at once: one that an op keeps and nobody takes is closed.
AIO_FN void aio__gives_fd_now(aio_waiter *w)
{
    if (!(w->future.flags & AIO__IS_TASK)) aio_waiter_begin(w, aio__io_done_fd());
}
AIO_FN long aio__sockopt_call(const uint64_t *e)
{
    int fd = (int)AIO__HEAD_FD(e[0]);
    int level = (int)AIO__FIRST_HALF(e[2]), option = (int)AIO__SECOND_HALF(e[2]);
    void *value = (void *)(uintptr_t)e[5];
    socklen_t size = AIO__FILE_INDEX(e[4]);
    if (AIO__FIRST_HALF(e[1]) == AIO__SOCKET_CMD_SETSOCKOPT)
        return setsockopt(fd, level, option, value, size);
    return getsockopt(fd, level, option, value, &size) < 0 ? -1 : (long)size;
}
// FUTEX2's word is of 32 bits here, as the old call's.
AIO_FN long aio__wake_call(const uint64_t *e)
{
    unsigned flags = AIO__HEAD_FD(e[0]);
    int op = FUTEX_WAKE_BITSET | (flags & AIO_FUTEX_PRIVATE ? FUTEX_PRIVATE_FLAG : 0);
    int n = e[1] < INT32_MAX ? (int)e[1] : INT32_MAX;
    errno = EINVAL;
    if ((flags & ~AIO_FUTEX_PRIVATE) != AIO_FUTEX_U32 || e[5] > UINT32_MAX) return -1;
    return syscall(SYS_futex, (void *)(uintptr_t)e[2], op, n, 0, 0, (uint32_t)e[5]);
}
AIO_FN long aio__prompt_call(const uint64_t *e)
{
    int fd = (int)AIO__HEAD_FD(e[0]), n = (int)AIO__FIRST_HALF(e[3]);
    void *address = (void *)(uintptr_t)e[2];
    switch (AIO__HEAD_OPCODE(e[0])) {
    case IORING_OP_SOCKET: return socket(fd, (int)e[1], n);
    case AIO__OP_BIND: return bind(fd, (const struct sockaddr *)address, (socklen_t)e[1]);
    case AIO__OP_LISTEN: return listen(fd, n);
    case IORING_OP_SHUTDOWN: return shutdown(fd, n);
    case IORING_OP_URING_CMD: return aio__sockopt_call(e);
    case IORING_OP_EPOLL_CTL: return epoll_ctl(fd, n, (int)e[1], (struct epoll_event *)address);
    case AIO__OP_PIPE: return pipe2((int *)address, (int)AIO__SECOND_HALF(e[3]));
    default: return aio__wake_call(e);
    }
}
AIO_FN bool aio__prompt_start(aio_waiter *w, const aio_awaitable *a)
{
    unsigned op = AIO__HEAD_OPCODE(a->u.w[0]);
    if (aio__io_info(a) & AIO__IO_DIRECT) return aio__checked_start(w, a);
    if (aio__in_child(w)) return true;
    if (op == IORING_OP_SOCKET) aio__gives_fd_now(w);
    if (op == AIO__OP_PIPE && !(w->future.flags & AIO__IS_TASK)) {
        aio_waiter_begin(w, aio__pipe_done());
        w->node.u.p[0] = a->u.p[2];
    }
    return aio__syscall_done(w, aio__prompt_call(a->u.w));
}

// --- chains. Each step has a waiter of its own, as an op; its end is told to the chain.
AIO_FN bool aio__linked_pending(const struct aio__step *s)
{
    return s->started && !(s->u.waiter.future.flags & AIO__DONE);
}
AIO_FN bool aio__linked_failed(const struct aio__step *s)
{
    aio_result r = s->u.waiter.future.result;
    return r < 0 || (s->expect != UINT32_MAX && r < s->expect);
}
AIO_FN void aio__chain_empty(aio_chain *c)          // of what nobody took
{
    for (uint32_t i = 0; i < c->count; i++) {
        struct aio__step *s = &c->steps[i];
        if (!s->started) {
            aio__awaitable_drop(c->owner, &s->u.awaitable);
            s->u.awaitable.cls = aio__invalid_await();
        } else if (s->u.waiter.future.flags & AIO__DONE) {
            aio__waiter_drop(&s->u.waiter);
        }
    }
}
AIO_FN void aio__chain_unkeep(aio_chain *c);
AIO_FN void aio__chain_end(aio_chain *c)
{
    aio_waiter *w = c->waiter, *leaver = c->leaver;
    aio_result r = 0;
    // an entry that the kernel refuses has cancelled those before it too
    for (uint32_t i = 0; i < c->count && (r >= 0 || r == -ECANCELED); i++) {
        aio_result end = c->steps[i].u.waiter.future.result;
        bool short_of = end >= 0 && i + 1 < c->count && !c->steps[i].hard;
        if (short_of && aio__linked_failed(&c->steps[i])) end = c->cancelled ? -ECANCELED : -EIO;
        if (end < 0) r = end;
    }
    // contract 3: -ECANCELED for nobody who was not cancelled
    if (r == -ECANCELED && w && !(w->future.flags & AIO__CANCEL_ASKED) && !c->ring->draining)
        r = c->cut ? -EBADF : -EIO;
    c->waiter = c->leaver = 0;
    aio__chain_unkeep(c);
    if (w) aio__settle(w, r < 0 ? r : 0, aio__settled());
    if (leaver) aio__complete_as(leaver, 0, aio__settled());
}
AIO_FN void aio__chain_told(aio_node *n, aio_future *f);
AIO_TABLE(aio_wait_class, aio__linked_class,
    { "step", AIO__WAIT_OWN, 0, 0, aio__chain_told, 0, 0, 0 })
AIO_FN void aio__linked_end(struct aio__step *s, aio_result r)    // one that the ring does not have
{
    s->u.waiter.node.cls = r < 0 ? aio__settled() : s->u.waiter.node.cls;
    aio__future_finish(&s->u.waiter.future, r);
}
// What a step points to that may be a local stays in a block of the chain's until it begins.
// Without a block in `to`: how large it has to be.
AIO_FN void *aio__kept(char **to, size_t *size, const void *from, size_t n)
{
    void *copy = *to;
    *size += aio__aligned(n);
    if (!copy) return (void *)(uintptr_t)from;
    *to += aio__aligned(n);
    return memcpy(copy, from, n);
}
AIO_FN void aio__kept_word(char **to, size_t *size, uint64_t *word, size_t n)
{
    if (*word && n) *word = (uint64_t)(uintptr_t)aio__kept(to, size, (void *)(uintptr_t)*word, n);
}
AIO_FN void aio__kept_text(char **to, size_t *size, uint64_t *word)
{
    if (*word) aio__kept_word(to, size, word, strlen((const char *)(uintptr_t)*word) + 1);
}
AIO_FN void aio__kept_message(char **to, size_t *size, aio_awaitable *a)
{
    const struct msghdr *given = (const struct msghdr *)a->u.cp[2];
    struct msghdr m;
    bool send = AIO__HEAD_OPCODE(a->u.w[0]) != IORING_OP_RECVMSG;
    if (a->u.w[5] == AIO__MESSAGE_PLAIN) {
        if (send && a->u.w[1] <= sizeof(struct sockaddr_storage))
            aio__kept_word(to, size, &a->u.w[4], (size_t)a->u.w[1]);
        return;
    }
    if (!given || !given->msg_iov || given->msg_iovlen > 1024) return;     // it is refused later
    if (!send) {                        // the header is written to at the end, and stays
        a->u.p[6] = aio__kept(to, size, given->msg_iov,
                              (size_t)given->msg_iovlen * sizeof(struct iovec));
        return;
    }
    m = *given;
    m.msg_iov = (struct iovec *)aio__kept(to, size, m.msg_iov,
                                          (size_t)m.msg_iovlen * sizeof(struct iovec));
    if (m.msg_name) m.msg_name = aio__kept(to, size, m.msg_name, m.msg_namelen);
    if (m.msg_control) m.msg_control = aio__kept(to, size, m.msg_control, (size_t)m.msg_controllen);
    a->u.p[2] = aio__kept(to, size, &m, sizeof m);
    if (!*to) a->u.cp[2] = given;
}
AIO_FN void aio__linked_keep(char **to, size_t *size, aio_awaitable *a)
{
    const struct aio__operation *o = aio__operation_of(AIO__HEAD_OPCODE(a->u.w[0]));
    const aio_await_class *cls = a->cls;
    uint64_t *w = a->u.w;
    bool entry = cls == aio__checked_await() || cls == aio__prompt_await() ||
                 cls == aio__file_await();
    unsigned copies = entry ? o->copies : 0;
    if (copies & AIO__COPY_PATH) aio__kept_text(to, size, &w[2]);
    if (copies & AIO__COPY_PATH2) aio__kept_text(to, size, &w[1]);
    if (copies & AIO__COPY_PATH3) aio__kept_text(to, size, &w[5]);
    if (copies & AIO__COPY_HOW) aio__kept_word(to, size, &w[1], AIO__OPEN_HOW_BYTES);
    if ((copies & AIO__COPY_ADDRESS) && w[1] <= sizeof(struct sockaddr_storage))
        aio__kept_word(to, size, &w[2], (size_t)w[1]);
    if (copies & AIO__COPY_VECTOR)
        aio__kept_word(to, size, &w[2], AIO__FIRST_HALF(w[3]) * sizeof(struct iovec));
    if (cls == aio__message_await()) aio__kept_message(to, size, a);
    if (cls == aio__waitv_await() && AIO__FIRST_HALF(w[3]) <= 128)
        aio__kept_word(to, size, &w[2], AIO__FIRST_HALF(w[3]) * AIO__FUTEX_WAITV_BYTES);
    bool listens = cls == aio__listen_tcp_await() || cls == aio__listen_unix_await();
    if (listens || cls == aio__connect_tcp_await() || cls == aio__connect_unix_await() ||
        cls == aio__udp_await())
        aio__kept_text(to, size, &w[1]);
    if (listens) aio__kept_word(to, size, &w[3], sizeof(struct aio_listen_options));
}
// A step that has not begun keeps its descriptor: an aio_close finds it, and the number is not
// another file's when its turn comes.
AIO_FN bool aio__linked_uses(const struct aio__step *s, uint64_t *info, uint32_t *second)
{
    const aio_awaitable *a = &s->u.awaitable;
    if (a->cls->kind != AIO__AWAIT_IO && a->cls->kind != AIO__AWAIT_IO_ALL) return false;
    *info = aio__io_info(a) & (UINT32_MAX | AIO__IO_TRACKED | AIO__IO_TWO_FDS);
    if (a->cls->kind == AIO__AWAIT_IO_ALL) *info &= ~AIO__IO_TWO_FDS;
    *second = AIO__FILE_INDEX(a->u.w[4]);
    return true;
}
AIO_FN void aio__linked_hold(aio_chain *c, struct aio__step *s)
{
    uint64_t info;
    uint32_t second;
    if (!aio__linked_uses(s, &info, &second)) return;
    aio_result r = aio__io_hold(c->ring, info, second);
    s->held = r >= 0;
    if (r < 0) s->refusal = (int)r;
}
// An aio_close of fd: it will not begin.
AIO_COLD void aio__linked_shut(aio_chain *c, struct aio__step *s, uint32_t fd)
{
    uint64_t info;
    uint32_t second;
    if (!s->held || !aio__linked_uses(s, &info, &second)) return;
    if (!aio__is_on(info, (int)fd) && !((info & AIO__IO_TWO_FDS) && second == fd)) return;
    s->held = false;
    s->refusal = -EBADF;
    aio__io_release(c->ring, info, second);
}
AIO_FN void aio__chain_keep(aio_chain *c)
{
    size_t size = 0, used = 0;
    char *none = 0;
    for (uint32_t i = c->at; i < c->count; i++)
        aio__linked_keep(&none, &size, &c->steps[i].u.awaitable);
    if (size) {
        c->kept_class = aio__class_of(size);
        c->kept = aio__alloc(&c->ring->loop->executor, c->kept_class, size);
    }
    char *to = (char *)c->kept;
    for (uint32_t i = c->at; i < c->count; i++) {
        struct aio__step *s = &c->steps[i];
        size_t needs = 0;
        aio__linked_keep(&none, &needs, &s->u.awaitable);
        if (to) aio__linked_keep(&to, &used, &s->u.awaitable);
        else if (needs) s->refusal = -ENOMEM;
        aio__linked_hold(c, s);
    }
}
AIO_FN void aio__chain_unkeep(aio_chain *c)
{
    if (c->kept) aio__free(&c->ring->loop->executor, c->kept, c->kept_class);
    c->kept = 0;
}
AIO_FN bool aio__linked_begin(aio_chain *c, struct aio__step *s, aio_awaitable a, bool linked)
{
    aio_waiter *w = &s->u.waiter;
    unsigned op = AIO__HEAD_OPCODE(a.u.w[0]);
    if (linked && s->plain)
        return aio__failed(w, aio__io_submit(c->ring, w, &a, AIO__UD_WAITER, aio__io_wait()));
    bool call = linked && aio__operation_of(op)->without == AIO__WITHOUT_CALL;
    return call ? aio__checked_start(w, &a) : (a.cls->start)(w, &a);
}
// The step's waiter takes the place of its awaitable. True: it has ended already, with that result.
AIO_FN bool aio__linked_start(aio_chain *c, struct aio__step *s, bool run, bool linked)
{
    aio_awaitable a = s->u.awaitable;
    aio_waiter *w = &s->u.waiter;
    uint64_t info = 0;
    uint32_t second = 0;
    if (s->held) aio__linked_uses(s, &info, &second);
    aio__zero(w, sizeof *w);
    w->future.loop = &c->ring->loop->executor;
    w->future.flags = AIO__IS_OP;
    w->node.cls = aio__settled();
    s->started = true;
    s->told.cls = aio__linked_class();
    aio__list_add(&w->future, &s->told);
    bool ended = !run || s->refusal || aio__linked_begin(c, s, a, linked);
    if (!run || s->refusal) {
        aio__awaitable_drop(c->owner, &a);
        w->future.result = run ? s->refusal : -ECANCELED;
    }
    if (s->held) aio__io_release(c->ring, info, second);
    s->held = false;
    return ended;
}
AIO_FN bool aio__chain_over(const aio_chain *c) { return c->cancelled || c->ring->draining; }
// All at once, up to `end`: nothing may come between them, so there is room for all.
AIO_FN void aio__chain_link(aio_uring *u, aio_chain *c, uint32_t end)
{
    struct io_uring_sqe *before = 0;
    bool broken = false;
    for (; c->at < end; c->at++) {
        struct aio__step *s = &c->steps[c->at];
        uint32_t tail = u->sq_tail;
        if (aio__linked_start(c, s, !broken, true)) {
            aio__linked_end(s, s->u.waiter.future.result);
            broken = true;
            continue;
        }
        before = &u->sqes[tail & u->sq_mask];
        s->u.waiter.node.u.w[1] |= AIO__IO_LINKED;
        if (c->at + 1 == end) break;
        before->flags |= IOSQE_IO_LINK;
    }
    if (c->at < end) c->at++;
    else if (before) before->flags &= (uint8_t)~IOSQE_IO_LINK;      // the last ones were refused
}
// How many of the next steps can go to the kernel as one: as far as each is an operation that it
// has, and that ends the link when it fails. 1: begin it alone.
AIO_FN uint32_t aio__chain_linkable(aio_uring *u, const aio_chain *c)
{
    uint32_t n = 0;
    if (u->backlog || u->disabled || u->lost) return 1;
    for (uint32_t i = c->at; i < c->count; i++) {
        const struct aio__step *s = &c->steps[i];
        unsigned op = AIO__HEAD_OPCODE(s->u.awaitable.u.w[0]);
        if (s->u.awaitable.cls->kind != AIO__AWAIT_IO || !aio__has(u, op)) break;
        if (op == AIO__OP_SENDMSG_ZC) break;            // where it cannot, it is sent once more
        if (s->u.awaitable.cls == aio__file_await() &&
            aio__file_kind(u, &s->u.awaitable) != AIO__FILE_RING)
            break;
        n++;
        if (s->goes_on || s->hard) break;               // an entry that is refused breaks all links
    }
    if (n < 2 || n > u->sq_entries) return 1;
    if (u->sq_tail - u->sq_head + n > u->sq_entries) aio__uring_enter(u, 0);
    return u->sq_tail - u->sq_head + n <= u->sq_entries ? n : 1;
}
AIO_FN bool aio__chain_runs(const aio_chain *c)     // is a step with the kernel, or somebody else?
{
    for (uint32_t i = 0; i < c->at; i++)
        if (aio__linked_pending(&c->steps[i])) return true;
    return false;
}
// Begins what comes next, when nothing of the chain runs.
AIO_FN void aio__chain_go(aio_chain *c)
{
    c->busy = true;
    while (c->at < c->count && !aio__chain_runs(c)) {
        struct aio__step *s = &c->steps[c->at];
        if (c->at && !s[-1].hard && aio__linked_failed(&s[-1])) c->broken = true;
        bool run = !c->broken && !aio__chain_over(c);
        uint32_t n = run ? aio__chain_linkable(c->ring, c) : 1;
        if (n > 1) {
            aio__chain_link(c->ring, c, c->at + n);
            continue;
        }
        c->at++;
        if (aio__linked_start(c, s, run, false)) aio__linked_end(s, s->u.waiter.future.result);
    }
    c->busy = false;
}
// --- chains that the kernel has cut: what it did not take waits in the ring's list of entries
AIO_COLD struct aio__backlog *aio__withheld_of(aio_uring *u, const struct aio__step *s)
{
    return aio__entries_out(&u->withheld, 0, s->u.waiter.node.u.w[0], 0, 0);
}
// The next of them begins, or ends, when all before it have ended.
AIO_COLD void aio__chain_resume(aio_chain *c)
{
    aio_uring *u = c->ring;
    for (uint32_t i = 0; u->withheld && i < c->at; i++) {
        struct aio__step *s = &c->steps[i];
        struct aio__backlog *b = aio__linked_pending(s) ? aio__withheld_of(u, s) : 0;
        if (!b && aio__linked_pending(s)) return;
        if (!b) continue;
        uint64_t user_data = b->sqe.user_data;
        bool run = !aio__chain_over(c) && (s[-1].hard || !aio__linked_failed(&s[-1]));
        struct io_uring_sqe *sqe = run ? aio__sqe_get(u) : 0;
        if (run && !sqe && !u->disabled && !u->lost) {
            aio__backlog_queue(u, b);
            return;
        }
        if (sqe) *sqe = b->sqe;
        aio__backlog_free(u, b);
        if (sqe) return;
        c->busy = true;
        aio__entry_end(u, user_data, run ? aio__no_entry(u) : -ECANCELED, 0);
        c->busy = false;
    }
}
// Takes the entries that the kernel has left back from the ring.
AIO_COLD void aio__link_cut(aio_uring *u)
{
    bool more = true;
    for (uint32_t at = u->sq_head; more && at != u->sq_tail; at++) {
        struct io_uring_sqe *sqe = &u->sqes[at & u->sq_mask];
        aio_waiter *w = (aio_waiter *)(uintptr_t)(sqe->user_data & AIO__UD_POINTER);
        more = sqe->flags & IOSQE_IO_LINK;
        if (!w) return;                             // taken back already, and with it all behind it
        struct aio__step *s = AIO__CONTAINER(w, struct aio__step, u.waiter);
        struct aio__backlog *b = aio__backlog_new(u);
        uint64_t user_data = sqe->user_data;
        if (b) {
            b->sqe = *sqe;
            b->sqe.flags &= (uint8_t)~IOSQE_IO_LINK;
            b->next = u->withheld;
            u->withheld = b;
        }
        memset((void *)sqe, 0, sizeof *sqe);
        sqe->opcode = IORING_OP_NOP;
        sqe->fd = -1;
        sqe->flags = u->has_cancel_all ? IOSQE_CQE_SKIP_SUCCESS : 0;
        s->chain->busy = true;
        if (!b) aio__entry_end(u, user_data, -ENOMEM, 0);
        s->chain->busy = false;
    }
}

AIO_FN void aio__chain_told(aio_node *n, aio_future *f)
{
    struct aio__step *s = AIO__CONTAINER(n, struct aio__step, told);
    aio_chain *c = s->chain;
    (void)f;
    c->left--;
    if (c->busy) return;
    if (AIO__UNLIKELY(c->ring->withheld)) aio__chain_resume(c);
    aio__chain_go(c);
    if (aio__chain_over(c) && c->left) aio__chain_cancel_again(c);
    if (!c->left) aio__chain_end(c);
}
// The kernel finds only the step that runs; while it looks, that one may end and the next begin. So
// it is asked again after each, and in a turn when it has found none.
AIO_COLD void aio__chain_cancel_again(aio_chain *c)
{
    uint32_t i = 0;
    c->cancel_owed = false;
    while (i < c->at && !aio__linked_pending(&c->steps[i])) i++;
    if (i == c->at || !aio__chain_over(c)) return;
    const aio_waiter *w = &c->steps[i].u.waiter;
    struct io_uring_sqe *sqe = w->node.u.w[1] & AIO__IO_LINKED ? aio__cancel_entry(c->ring) : 0;
    if (sqe) {
        sqe->addr = w->node.u.w[0];
        sqe->cancel_flags = 0;
        sqe->flags = 0;
        sqe->user_data = AIO__UD_LINKED;
    } else if (w->node.u.w[1] & AIO__IO_LINKED) {
        c->cancel_owed = c->ring->cancel_owed = true;
    }
}
AIO_FN void aio__chain_stop(aio_chain *c)
{
    if (c->cancelled) return;
    c->cancelled = c->busy = true;
    for (uint32_t i = c->at; i-- > 0;) {    // an entry that is taken back loses its link
        if (aio__linked_pending(&c->steps[i])) aio_future_cancel(&c->steps[i].u.waiter.future);
    }
    c->busy = false;
    aio__chain_go(c);
    if (c->left) aio__chain_cancel_again(c);
    else aio__chain_end(c);
}
// An aio_close, or the loop's, looks for operations on fd; those that the kernel has not begun it
// does not find.
AIO_COLD void aio__chain_cut(aio_chain *c, int fd)
{
    bool on = false;
    for (uint32_t i = 0; c->left && i < c->count; i++) {
        struct aio__step *s = &c->steps[i];
        if (!s->started && fd >= 0) aio__linked_shut(c, s, (uint32_t)fd);
        if (!aio__linked_pending(s)) continue;
        if (s->u.waiter.node.u.w[1] & AIO__IO_LINKED) on |= aio__waits_on(&s->u.waiter, fd);
        else aio__cancel_waiter(c->ring, &s->u.waiter, fd);
    }
    if (!on) return;
    c->cancelled = c->cut = true;
    aio__chain_cancel_again(c);
}
AIO_FN bool aio__chain_cancel(aio_waiter *w)
{
    aio_chain *c = (aio_chain *)w->node.u.p[0];
    w->future.flags |= AIO__CANCEL_ASKED;
    if (!c->ring->disabled) aio__chain_stop(c);
    return true;
}
AIO_FN void aio__chain_dispose(aio_waiter *w) { ((aio_chain *)w->node.u.p[0])->waiter = 0; }
AIO_FN size_t aio__chain_describe(const aio_waiter *w, char *text, size_t size)
{
    const aio_chain *c = (const aio_chain *)w->node.u.p[0];
    size_t at = aio__append(text, size, 0, "chain: ");
    for (uint32_t i = 0; i < c->count; i++) {
        if (aio__linked_pending(&c->steps[i]) && at < size)
            return at + aio_describe(&c->steps[i].u.waiter, text + at, size - at);
    }
    return at;
}
AIO_TABLE(aio_wait_class, aio__chain_wait,
    { "chain", AIO__WAIT_OWN, aio__chain_cancel, 0, 0, 0, aio__chain_describe, aio__chain_dispose })
AIO_FN bool aio__chain_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_chain *c = (aio_chain *)a->u.p[0];
    aio_result r = 0;
    aio_uring *u = aio__uring_of(w, &r);
    if (u && u->disabled) r = -EPERM;
    else if (u) r = c->left ? -EBUSY : c->ran || !c->scope.frame ? -EINVAL : c->fault;
    if (aio__failed(w, r) || !c->count) return aio__done_with(w, r < 0 ? r : 0);
    if (!c->ring) {
        c->ring = u;
        c->next = u->chains;
        u->chains = c;
    }
    c->waiter = w;
    c->left = c->count;
    c->ran = true;
    w->node.u.p[0] = c;
    aio_waiter_begin(w, aio__chain_wait());
    aio__chain_go(c);
    aio__chain_keep(c);
    if (!c->left) aio__chain_end(c);
    return false;
}
AIO_TABLE(aio_await_class, aio__chain_await, { aio__chain_start, "chain", AIO__AWAIT_OWN })
AIO_FN AIO_NODISCARD aio_awaitable aio_chain_run(aio_chain *c)
{
    aio_awaitable a;
    a.cls = aio__chain_await();
    a.u.p[0] = c;
    return a;
}
AIO_FN aio_result aio__chain_exit(aio_scope *s, aio_task *t, aio_result r)
{
    aio_chain *c = AIO__CONTAINER(s, aio_chain, scope);
    if (c->left) aio__chain_stop(c);
    if (c->left) {
        c->leaver = &t->waiter;
        aio_waiter_begin(&t->waiter, aio__flow_closing());
        return AIO_PENDING;
    }
    aio__chain_empty(c);
    if (c->ring) {
        aio_chain **at = &c->ring->chains;
        while (*at != c) at = &(*at)->next;
        *at = c->next;
    }
    c->ring = 0;
    return r;
}
AIO_TABLE(aio_scope_class, aio__chain_scope, { "chain", aio__chain_exit, AIO__SCOPE_OWN })
AIO_FN aio_result aio_chain_init(aio_chain *c)
{
    aio_task *t = aio_current_task();
    if (aio__forked_here()) return -EPERM;
    if (!t) return -EINVAL;
    if (c->left) return -EBUSY;
    aio__chain_empty(c);
    if (!c->scope.frame) {
        c->kept = 0;
        c->ring = 0;
        c->owner = t;
        aio_scope_enter(&c->scope, t, aio__chain_scope());
    }
    c->waiter = c->leaver = 0;
    c->fault = 0;
    c->count = c->at = 0;
    c->busy = c->ran = c->broken = c->cancelled = false;
    c->cancel_owed = c->cut = false;
    return 0;
}
AIO_FN uint32_t aio__linked_length(const aio_awaitable *a)
{
    unsigned op = AIO__HEAD_OPCODE(a->u.w[0]);
    bool message = aio__op_is(op, AIO__OP_MESSAGE);
    const struct iovec *pieces = (const struct iovec *)a->u.cp[2];
    size_t n = AIO__FIRST_HALF(a->u.w[3]), length = 0;
    if (message && a->u.w[5] == AIO__MESSAGE_PLAIN) return aio__length((size_t)a->u.w[6]);
    if (message && pieces) {
        const struct msghdr *m = (const struct msghdr *)a->u.cp[2];
        pieces = m->msg_iov;
        n = (size_t)m->msg_iovlen;
    } else if (!aio__op_is(op, AIO__OP_VECTOR)) {
        return (uint32_t)n;
    }
    for (size_t i = 0; pieces && i < n && length < AIO__LENGTH_MAX; i++) {
        size_t more = pieces[i].iov_len;
        length = more < AIO__LENGTH_MAX ? length + more : AIO__LENGTH_MAX;
    }
    return aio__length(length);
}
// What makes a step short, and what a plain entry can do of what is more than one.
AIO_FN void aio__linked_plain(struct aio__step *s, bool hard)
{
    aio_awaitable *a = &s->u.awaitable;
    unsigned op = AIO__HEAD_OPCODE(a->u.w[0]), flags = AIO__SECOND_HALF(a->u.w[3]);
    bool close = a->cls->kind == AIO__AWAIT_IO_CLOSE;
    s->expect = UINT32_MAX;
    s->hard = hard;
    s->started = s->plain = s->goes_on = s->held = false;
    s->refusal = 0;
    if (close || (a->cls->kind == AIO__AWAIT_IO_ALL && aio__fits_whole(a))) {
        a->cls = op == IORING_OP_WRITE ? aio__file_await() : aio__io_await();
        a->u.w[4] = a->u.w[5] = a->u.w[6] = 0;
    }
    if (a->cls->kind != AIO__AWAIT_IO) return;
    bool file = aio__op_is(op, AIO__OP_SHORT);
    bool all = aio__op_is(op, AIO__OP_WAITALL) && (flags & MSG_WAITALL);
    if (file || all) s->expect = aio__linked_length(a);
    // a time that is over by its flag succeeds, to the kernel
    s->goes_on = op == IORING_OP_TIMEOUT || aio__op_is(op, AIO__OP_GOES_ON);
    s->plain = op == IORING_OP_READ || op == IORING_OP_WRITE || op == IORING_OP_SEND ||
               op == IORING_OP_RECV;
}
AIO_FN aio_result aio__chain_add(aio_chain *c, aio_awaitable a, bool hard)
{
    aio_result r = c->left ? -EBUSY : 0;
    if (aio__forked_here()) r = -EPERM;
    else if (a.cls->kind >= AIO__AWAIT_TASK_ONLY || !c->scope.frame || c->ran) r = -EINVAL;
    else if (c->count == AIO_CHAIN_STEPS) r = -ENOSPC;
    if (r < 0) {
        aio__awaitable_drop(aio_current_task(), &a);
        if (!c->left) c->fault = r;
        return r;
    }
    struct aio__step *s = &c->steps[c->count++];
    s->chain = c;
    s->u.awaitable = a;
    aio__linked_plain(s, hard);
    return 0;
}
AIO_FN aio_result aio_chain_add(aio_chain *c, aio_awaitable step)
{
    return aio__chain_add(c, step, false);
}
AIO_FN aio_result aio_chain_add_hard(aio_chain *c, aio_awaitable step)
{
    return aio__chain_add(c, step, true);
}
AIO_FN aio_result aio_chain_result(aio_chain *c, unsigned i)
{
    if (aio__forked_here()) return -EPERM;
    if (i >= c->count || !c->steps[i].started) return -EINVAL;
    aio_waiter *w = &c->steps[i].u.waiter;
    if (!(w->future.flags & AIO__DONE)) return -EINPROGRESS;
    return aio__waiter_take(w);
}

// --- TCP by numeric address
AIO_FN bool aio__is_port(int64_t port) { return port >= 0 && port <= 65535; }
// With its zone, a number or, of what is local to a link, an interface's name.
AIO_FN bool aio__ipv6_address(const char *host, struct sockaddr_in6 *out)
{
    char text[INET6_ADDRSTRLEN], *end;
    size_t n = strcspn(host, "%");
    if (n >= sizeof text) return false;
    memcpy(text, host, n);
    text[n] = 0;
    if (inet_pton(AF_INET6, text, &out->sin6_addr) != 1) return false;
    if (!host[n]) return true;
    const char *zone = host + n + 1;
    bool local = IN6_IS_ADDR_LINKLOCAL(&out->sin6_addr) ||
                 IN6_IS_ADDR_MC_LINKLOCAL(&out->sin6_addr);
    out->sin6_scope_id = local ? if_nametoindex(zone) : 0;
    if (out->sin6_scope_id) return true;
    unsigned long number = strtoul(zone, &end, 10);
    out->sin6_scope_id = (uint32_t)number;
    return *zone >= '0' && *zone <= '9' && !*end && number <= UINT32_MAX;
}
AIO_FN aio_result aio__tcp_address(const char *host, int64_t port, struct sockaddr_storage *out)
{
    struct sockaddr_in *four = (struct sockaddr_in *)(void *)out;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)(void *)out;
    memset(out, 0, sizeof *out);
    if (!aio__is_port(port)) return -EINVAL;
    if (host && *host && inet_pton(AF_INET, host, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons((uint16_t)port);
        return sizeof *four;
    }
    if (host && *host && !aio__ipv6_address(host, six)) return -EINVAL;
    six->sin6_family = AF_INET6;
    six->sin6_port = htons((uint16_t)port);
    return sizeof *six;
}
// A socket for *address; a machine without IPv6 has other addresses for "all".
AIO_FN aio_result aio__tcp_socket(const char *host, int64_t port, struct sockaddr_storage *address,
                                  aio_result *length)
{
    int one = 1;
    if ((*length = aio__tcp_address(host, port, address)) < 0) return *length;
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 && errno == EAFNOSUPPORT && (!host || !*host)) {
        *length = aio__tcp_address("0.0.0.0", port, address);
        fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    }
    if (fd < 0) return -errno;
    // accepted sockets inherit it
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}
// The socket fd is w's result; it is bound and connected, or listens, or is closed.
AIO_FN bool aio__socket_end(aio_waiter *w, int fd, int failed)
{
    int why = errno;
    aio__gives_fd_now(w);
    w->future.result = fd;
    if (!failed) return true;
    close(fd);
    w->future.result = -why;
    return true;
}
AIO_FN int aio__listen_backlog(const struct aio_listen_options *o)
{
    return o && o->backlog > 0 ? o->backlog : 4096;
}
// Result: what the last call says, with errno.
AIO_FN int aio__listen_on(int fd, const struct sockaddr *address, socklen_t length,
                          const struct aio_listen_options *o)
{
    int one = 1, zero = 0, only = o && o->v6only;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (o && o->reuse_port) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (o && o->delay) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &zero, sizeof zero);
    if (address->sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
    return bind(fd, address, length) < 0 ? -1 : listen(fd, aio__listen_backlog(o));
}
AIO_FN bool aio__listen_name_start(aio_waiter *w, const aio_awaitable *a);
AIO_FN bool aio__listen_tcp_start(aio_waiter *w, const aio_awaitable *a)
{
    const struct aio_listen_options *o = (const struct aio_listen_options *)a->u.cp[3];
    struct sockaddr_storage address;
    aio_result length, fd;
    if (aio__in_child(w)) return true;
    fd = aio__tcp_socket((const char *)a->u.cp[1], a->u.i[0], &address, &length);
    if (length == -EINVAL && aio__is_port(a->u.i[0])) return aio__listen_name_start(w, a);
    if (aio__failed(w, fd)) return true;
    return aio__socket_end(w, (int)fd, aio__listen_on((int)fd, (struct sockaddr *)&address,
                                                      (socklen_t)length, o) < 0);
}
// --- Unix sockets
// "@name" is abstract: a 0 stands for the @. Returns the length.
AIO_FN aio_result aio__unix_address(const char *path, struct sockaddr_un *out)
{
    size_t n = path ? strlen(path) : 0;
    if (!n) return -EINVAL;
    if (n >= sizeof out->sun_path) return -ENAMETOOLONG;
    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    memcpy(out->sun_path, path, n);
    if (*path == '@') out->sun_path[0] = 0;
    return (aio_result)(offsetof(struct sockaddr_un, sun_path) + n + (*path != '@'));
}
// Removes the file of a socket that is no more. Returns whether it did. To a datagram socket one of
// another type says so (EPROTOTYPE), also before it listens; it is refused where there is none.
AIO_FN bool aio__unix_stale(const struct sockaddr_un *address, socklen_t length)
{
    struct stat st;
    if (!address->sun_path[0] || lstat(address->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return false;
    bool refused =
        connect(fd, (const struct sockaddr *)address, length) < 0 && errno == ECONNREFUSED;
    close(fd);
    return refused && !unlink(address->sun_path);
}
// Who replaces a file locks its directory first: of two that find it stale at a time, the second
// would remove the first one's. -1: it cannot be read, or somebody else keeps it locked.
AIO_FN int aio__unix_lock(const struct sockaddr_un *address)
{
    char directory[sizeof address->sun_path + 1];
    snprintf(directory, sizeof directory, "%s", address->sun_path);
    char *slash = strrchr(directory, '/');
    if (slash) slash[slash == directory] = 0;
    int fd = open(slash ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 100 && fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0; i++)
        aio__enter_pause();
    return fd;
}
AIO_FN int aio__unix_bind(int fd, const struct sockaddr_un *address, socklen_t length)
{
    if (!bind(fd, (const struct sockaddr *)address, length)) return 0;
    if (errno != EADDRINUSE || !address->sun_path[0]) return -1;
    int lock = aio__unix_lock(address), r = -1;
    if (aio__unix_stale(address, length)) r = bind(fd, (const struct sockaddr *)address, length);
    else errno = EADDRINUSE;
    int why = errno;
    if (lock >= 0) close(lock);
    errno = why;
    return r;
}
AIO_FN bool aio__listen_unix_start(aio_waiter *w, const aio_awaitable *a)
{
    const struct aio_listen_options *o = (const struct aio_listen_options *)a->u.cp[3];
    struct sockaddr_un address;
    aio_result n = aio__unix_address((const char *)a->u.cp[1], &address);
    if (aio__in_child(w) || aio__failed(w, n)) return true;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return aio__failed(w, -errno);
    bool failed = aio__unix_bind(fd, &address, (socklen_t)n) < 0;
    // before the listen: nobody can connect until the mode is right
    if (!failed && o && o->mode && address.sun_path[0])
        failed = chmod(address.sun_path, o->mode) < 0;
    return aio__socket_end(w, fd, failed || listen(fd, aio__listen_backlog(o)) < 0);
}

// --- UDP
AIO_FN bool aio__udp_start(aio_waiter *w, const aio_awaitable *a)
{
    const char *host = (const char *)a->u.cp[1];
    struct sockaddr_storage address;
    int zero = 0;
    aio_result n = aio__tcp_address(host, a->u.i[0], &address);
    if (aio__in_child(w) || aio__failed(w, n)) return true;
    int fd = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 && errno == EAFNOSUPPORT && (!host || !*host)) {     // a machine without IPv6
        n = aio__tcp_address("0.0.0.0", a->u.i[0], &address);
        fd = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    }
    if (fd < 0) return aio__failed(w, -errno);
    if (address.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    const struct sockaddr *to = (const struct sockaddr *)&address;
    return aio__socket_end(w, fd, (a->u.i[2] ? connect(fd, to, (socklen_t)n)
                                             : bind(fd, to, (socklen_t)n)) < 0);
}

// --- names
struct aio__gai_error { int gai, error; };
AIO_FN const struct aio__gai_error *aio__gai_errors(void)
{
    static const struct aio__gai_error errors[] = {
        { EAI_NONAME, ENOENT },         { EAI_AGAIN, EAGAIN },     { EAI_FAIL, EREMOTEIO },
        { EAI_MEMORY, ENOMEM },         { EAI_BADFLAGS, EINVAL },  { EAI_FAMILY, EAFNOSUPPORT },
        { EAI_SOCKTYPE, ESOCKTNOSUPPORT },  { EAI_SERVICE, ENOPROTOOPT },
        { EAI_OVERFLOW, EOVERFLOW },
#ifdef EAI_NODATA
        { EAI_NODATA, ENODATA },
#endif
#ifdef EAI_ADDRFAMILY
        { EAI_ADDRFAMILY, EADDRNOTAVAIL },
#endif
        { 0, 0 } };
    return errors;
}
AIO_FN aio_result aio__gai_result(int error, int system_error)
{
    const struct aio__gai_error *e = aio__gai_errors();
    if (error == EAI_SYSTEM) return system_error ? -system_error : -EIO;
    while (e->gai && e->gai != error) e++;
    return e->gai ? -e->error : error ? -EIO : 0;
}
AIO_FN const char *aio_gai_strerror(aio_result r)
{
    const struct aio__gai_error *e = aio__gai_errors();
    while (e->gai && e->error != -r) e++;
    return e->gai ? gai_strerror(e->gai) : strerror(r < 0 ? (int)-r : 0);
}
// The strings stand behind it.
struct aio__name_job {
    struct aio__stray stray;
    struct addrinfo hints, *found, **result;
    const char *host, *service;
    int error, system_error;
};
AIO_FN void aio__name_work(struct aio__stray *s)
{
    struct aio__name_job *j = (struct aio__name_job *)(void *)s;
    errno = 0;
    j->error = getaddrinfo(j->host, j->service, &j->hints, &j->found);
    j->system_error = errno;
    if (j->error) j->found = 0;
}
AIO_FN void aio__name_release(struct aio__stray *s)
{
    struct aio__name_job *j = (struct aio__name_job *)(void *)s;
    if (j->found) freeaddrinfo(j->found);
    free(j);
}
AIO_FN void aio__name_dispose(aio_waiter *w)
{
    struct addrinfo **result = (struct addrinfo **)w->node.u.p[0];
    if (*result) freeaddrinfo(*result);
    *result = 0;
}
AIO_TABLE(aio_wait_class, aio__name_done,
    { "ready", AIO__WAIT_READY, 0, aio__settled_resume, 0, 0, 0, aio__name_dispose })
AIO_FN void aio__name_end(struct aio__stray *s)
{
    struct aio__name_job *j = (struct aio__name_job *)(void *)s;
    aio_waiter *w = s->waiter;
    *j->result = j->found;
    j->found = 0;
    w->node.u.p[0] = j->result;
    aio__settle(w, aio__gai_result(j->error, j->system_error), aio__name_done());
}
// What needs no name server. True: *r is the result.
AIO_FN bool aio__name_numeric(const char *host, const char *service, struct addrinfo hints,
                              struct addrinfo **result, aio_result *r)
{
    if (service && (!*service || service[strspn(service, "0123456789")])) return false;
    bool only = hints.ai_flags & AI_NUMERICHOST;
    if (host) hints.ai_flags |= AI_NUMERICHOST;
    errno = 0;
    int error = getaddrinfo(host, service, &hints, result);
    *r = aio__gai_result(error, errno);
    if (error) *result = 0;
    return error != EAI_NONAME || !host || only;
}
AIO_FN struct aio__name_job *aio__name_job_new(const aio_awaitable *a, struct addrinfo hints)
{
    const char *host = (const char *)a->u.cp[0], *service = (const char *)a->u.cp[1];
    size_t host_bytes = host ? strlen(host) + 1 : 0, bytes = service ? strlen(service) + 1 : 0;
    struct aio__name_job *j = (struct aio__name_job *)calloc(1, sizeof *j + host_bytes + bytes);
    if (!j) return 0;
    char *text = (char *)(j + 1);
    if (host) j->host = (const char *)memcpy(text, host, host_bytes);
    if (service) j->service = (const char *)memcpy(text + host_bytes, service, bytes);
    j->hints = hints;
    j->result = (struct addrinfo **)a->u.p[3];
    j->stray.work = aio__name_work;
    j->stray.end = aio__name_end;
    j->stray.release = aio__name_release;
    return j;
}
AIO_FN bool aio__name_start(aio_waiter *w, const aio_awaitable *a)
{
    const struct addrinfo *given = (const struct addrinfo *)a->u.cp[2];
    struct addrinfo hints, **result = (struct addrinfo **)a->u.p[3];
    aio_result r = -EPERM;
    *result = 0;
    if (AIO__LOOP_OF(w->future.loop)->forked) return aio__done_with(w, r);
    memset(&hints, 0, sizeof hints);
    hints.ai_flags = AI_V4MAPPED | AI_ADDRCONFIG;           // as getaddrinfo has it without hints
    if (given) {
        hints.ai_flags = given->ai_flags;
        hints.ai_family = given->ai_family;
        hints.ai_socktype = given->ai_socktype;
        hints.ai_protocol = given->ai_protocol;
    }
    if (aio__name_numeric((const char *)a->u.cp[0], (const char *)a->u.cp[1], hints, result, &r)) {
        w->node.u.p[0] = result;
        if (!(w->future.flags & AIO__IS_TASK)) aio_waiter_begin(w, aio__name_done());
        return aio__done_with(w, r);
    }
    struct aio__name_job *j = aio__name_job_new(a, hints);
    r = j ? aio__stray_begin(w, &j->stray) : -ENOMEM;
    if (j && r < 0) free(j);
    return aio__failed(w, r);
}
AIO_TABLE(aio_await_class, aio__name_await, { aio__name_start, "name", AIO__AWAIT_OWN })
AIO_FN AIO_NODISCARD aio_awaitable aio_getaddrinfo(const char *host, const char *service,
                                                   const struct addrinfo *hints,
                                                   struct addrinfo **result)
{
    aio_awaitable a;
    a.cls = aio__name_await();
    a.u.cp[0] = host;
    a.u.cp[1] = service;
    a.u.cp[2] = hints;
    a.u.p[3] = result;
    return a;
}

// --- TCP by name: Happy Eyeballs (RFC 8305)
enum { AIO__ATTEMPTS = 16 };
struct aio__attempt { aio_op op; int fd; };         // fd -1: over
struct aio__connect_name {
    aio_frame aio;
    const char *host;               // until the first await
    int port, family;
    int64_t delay;
    struct addrinfo *list;
    const struct addrinfo *order[AIO__ATTEMPTS];
    aio_future *live[AIO__ATTEMPTS];
    uint32_t live_count, count, begun, i;
    bool next;                      // it is time for the next one
    int won;                        // the connected one; -1: none
    aio_result r, error;
    struct aio__attempt attempts[AIO__ATTEMPTS];
};
// RFC 8305, 4: the families take turns, the one of the first address begins.
AIO_FN uint32_t aio__interleave(const struct addrinfo *list, const struct addrinfo **order)
{
    const struct addrinfo *next[2] = { list, list };
    uint32_t n = 0;
    for (bool other = false; n < AIO__ATTEMPTS && (next[0] || next[1]); other = !other) {
        const struct addrinfo **at = &next[other];
        while (*at && ((*at)->ai_family != list->ai_family) != other) *at = (*at)->ai_next;
        if (!*at) continue;
        order[n++] = *at;
        *at = (*at)->ai_next;
    }
    return n;
}
// Of two errors the one that tells more: an answer before silence before "no way".
AIO_FN aio_result aio__telling(aio_result a, aio_result b)
{
    static const int no_way[] = { ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, EAFNOSUPPORT, 0 };
    int rank[2] = { 3, 3 };
    for (int i = 0; i < 2; i++) {
        aio_result e = i ? b : a;
        if (e == -ETIMEDOUT) rank[i] = 2;
        for (const int *k = no_way; *k; k++)
            if (e == -*k) rank[i] = 1;
        if (e >= 0) rank[i] = 0;
    }
    return rank[1] >= rank[0] ? b : a;
}
// Begins with the next address that there is a socket for.
AIO_FN void aio__attempt_next(struct aio__connect_name *f)
{
    while (f->begun < f->count) {
        struct aio__attempt *t = &f->attempts[f->begun];
        const struct addrinfo *to = f->order[f->begun++];
        int one = 1;
        t->fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        aio_result r = t->fd < 0 ? -errno : 0;
        if (r >= 0) setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (r >= 0) r = aio_start(&t->op, aio_connect(t->fd, to->ai_addr, to->ai_addrlen));
        if (r >= 0) return;
        if (t->fd >= 0) close(t->fd);
        t->fd = -1;
        f->error = aio__telling(f->error, r);
    }
}
// Looks at those that have ended, and lists those that go on. True: one has failed.
AIO_FN bool aio__attempts_look(struct aio__connect_name *f)
{
    bool failed = false;
    f->live_count = 0;
    for (uint32_t i = 0; i < f->begun; i++) {
        struct aio__attempt *t = &f->attempts[i];
        aio_result r = t->fd < 0 ? -EINVAL : aio_op_result(&t->op);
        if (t->fd < 0) continue;
        if (r == -EINPROGRESS) {
            f->live[f->live_count++] = &t->op.waiter.future;
            continue;
        }
        if (r >= 0 && f->won < 0) f->won = t->fd;
        else close(t->fd);
        t->fd = -1;
        if (r < 0) f->error = aio__telling(f->error, r);
        failed |= r < 0;
    }
    return failed;
}
aio__drop_of(aio__connect_name) {           // its loop was closed
    for (uint32_t i = 0; i < self->begun; i++)
        if (self->attempts[i].fd >= 0) close(self->attempts[i].fd);
    if (self->won >= 0) close(self->won);
    if (self->list) freeaddrinfo(self->list);
    return 0;
} aio_end
AIO_FN aio_awaitable aio__attempt_close(struct aio__attempt *t)
{
    aio_awaitable a = aio_close(t->fd);
    t->fd = -1;                     // closed once, also if the loop closes now
    return a;
}
aio__async_drop(aio__connect_name) {
    {
        struct addrinfo hints;
        char service[16];
        memset(&hints, 0, sizeof hints);
        hints.ai_family = self->family;
        hints.ai_socktype = SOCK_STREAM;
        snprintf(service, sizeof service, "%d", self->port);
        aio_try(aio_getaddrinfo(self->host, service, &hints, &self->list));
    }
    self->count = aio__interleave(self->list, self->order);
    for (self->next = true;;) {
        if (self->next) aio__attempt_next(self);
        self->next = aio__attempts_look(self);
        if (self->won >= 0 || (!self->live_count && self->begun == self->count)) break;
        if (self->next) continue;
        aio_await(self->r, aio_wait_timeout(self->live, self->live_count, AIO_FIRST_COMPLETED,
            self->begun < self->count ? self->delay : AIO_FOREVER));
        if (self->r < 0) break;
        self->next = !self->r;                  // the next one's time has come
    }
    for (self->i = 0; self->i < self->begun; self->i++)
        if (self->attempts[self->i].fd >= 0)
            aio_await(aio__attempt_close(&self->attempts[self->i]));
    freeaddrinfo(self->list);
    return self->won >= 0 ? self->won : self->r < 0 ? self->r : self->error;
} aio_end
// Listening by name: on the first of its addresses that there is.
struct aio__listen_name {
    aio_frame aio;
    const char *host;               // until the first await
    int port;
    struct aio_listen_options options;
    struct addrinfo *list;
};
AIO_FN aio_result aio__listen_first(const struct addrinfo *list, const struct aio_listen_options *o)
{
    aio_result error = 0;
    int one = 1;
    for (; list; list = list->ai_next) {
        int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (fd >= 0 && !aio__listen_on(fd, list->ai_addr, list->ai_addrlen, o)) return fd;
        error = aio__telling(error, -errno);
        if (fd >= 0) close(fd);
    }
    return error;
}
aio__async(aio__listen_name) {
    {
        struct addrinfo hints;
        char service[16];
        memset(&hints, 0, sizeof hints);
        hints.ai_flags = AI_PASSIVE;
        hints.ai_socktype = SOCK_STREAM;
        snprintf(service, sizeof service, "%d", self->port);
        aio_try(aio_getaddrinfo(self->host, service, &hints, &self->list));
    }
    aio_result fd = aio__listen_first(self->list, &self->options);
    freeaddrinfo(self->list);
    return fd;
} aio_end
AIO_FN bool aio__listen_name_start(aio_waiter *w, const aio_awaitable *a)
{
    if (aio__needs_task(w)) return true;
    struct aio__listen_name *f = (struct aio__listen_name *)aio__call_block(
        AIO__TASK_OF(w), AIO__OWN_CO(aio__listen_name), sizeof *f);
    if (!f) return aio__done_with(w, -ENOMEM);
    f->port = (int)a->u.i[0];
    f->host = (const char *)a->u.cp[1];
    if (a->u.cp[3]) f->options = *(const struct aio_listen_options *)a->u.cp[3];
    return aio__enter_block(AIO__TASK_OF(w), &f->aio, AIO__OWN_CO(aio__listen_name), true);
}
AIO_FN bool aio__connect_name_start(aio_waiter *w, const aio_awaitable *a)
{
    if (aio__needs_task(w)) return true;
    struct aio__connect_name *f = (struct aio__connect_name *)aio__call_block(
        AIO__TASK_OF(w), AIO__OWN_CO(aio__connect_name), sizeof *f);
    if (!f) return aio__done_with(w, -ENOMEM);
    f->port = (int)a->u.i[0];
    f->host = (const char *)a->u.cp[1];
    f->delay = a->u.i[2];
    f->family = (int)a->u.i[3];
    f->won = -1;
    return aio__enter_block(AIO__TASK_OF(w), &f->aio, AIO__OWN_CO(aio__connect_name), true);
}

// --- TCP by numeric address: connecting
struct aio__connect { struct aio__compound compound; int fd; };
AIO_FN aio_result aio__connect_next(aio_uring *u, aio_waiter *w, struct aio__compound *c,
                                    aio_result r)
{
    struct aio__connect *k = (struct aio__connect *)(void *)c;
    (void)u;
    (void)w;
    if (r >= 0) return k->fd;
    close(k->fd);
    return r;
}
// Connects a socket, which is closed if that fails.
AIO_FN bool aio__connect_begin(aio_uring *u, aio_waiter *w, int fd, const void *address,
                               size_t length)
{
    struct aio__connect *k =
        (struct aio__connect *)aio__compound_new(u, sizeof *k, aio__connect_next, true);
    void *copy = aio__arena_copy(u, address, length);
    aio_result r = -ENOMEM;
    if (k && copy) {
        aio_awaitable io = aio__io(aio__io_await(), IORING_OP_CONNECT, fd, length, copy, 0, 0);
        k->fd = fd;
        r = aio__compound_begin(u, w, &k->compound, &io);
    } else if (k) {
        aio__free(&u->loop->executor, k, k->compound.block_class);
    }
    u->arena_held = false;
    if (r < 0) close(fd);
    return aio__failed(w, r);
}
AIO_FN bool aio__connect_tcp_start(aio_waiter *w, const aio_awaitable *a)
{
    struct sockaddr_storage address;
    aio_result r = 0, length, fd;
    if (aio__in_child(w)) return true;
    aio_uring *u = aio__uring_of(w, &r);
    if (!u) return aio__failed(w, r);
    fd = aio__tcp_socket((const char *)a->u.cp[1], a->u.i[0], &address, &length);
    if (length == -EINVAL && aio__is_port(a->u.i[0])) return aio__connect_name_start(w, a);
    if (aio__failed(w, fd)) return true;
    return aio__connect_begin(u, w, (int)fd, &address, (size_t)length);
}
AIO_FN bool aio__connect_unix_start(aio_waiter *w, const aio_awaitable *a)
{
    struct sockaddr_un address;
    aio_result r = 0, n = aio__unix_address((const char *)a->u.cp[1], &address);
    if (aio__in_child(w) || aio__failed(w, n)) return true;
    aio_uring *u = aio__uring_of(w, &r);
    if (!u) return aio__failed(w, r);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return aio__failed(w, -errno);
    return aio__connect_begin(u, w, fd, &address, (size_t)n);
}

// --- streams: their buffers
AIO_FN size_t aio__held(const struct aio__inbuf *b) { return b->to - b->from; }
AIO_FN void aio__inbuf_free(aio_uring *u, struct aio__inbuf *b)
{
    if (b->data) aio__free(&u->loop->executor, b->data, b->block_class);
    memset(b, 0, sizeof *b);
}
// Makes room for `more` bytes behind what is held. False: no memory, all is as it was.
AIO_FN bool aio__inbuf_room(aio_uring *u, struct aio__inbuf *b, size_t more)
{
    size_t held = aio__held(b);
    if (b->room - b->to >= more) return true;
    if (b->room >= held + more && b->from >= held) {    // what moves is no more than what went
        memcpy(b->data, b->data + b->from, held);
        b->from = 0;
        b->to = held;
        return true;
    }
    size_t size = held + more < held ? SIZE_MAX : held + more;
    uint32_t k = aio__class_of(size);
    char *data = (char *)aio__alloc(&u->loop->executor, k, size);
    if (!data) return false;
    if (held) memcpy(data, b->data + b->from, held);
    aio__inbuf_free(u, b);
    b->data = data;
    b->to = held;
    b->room = k == AIO__HUGE ? size : aio__class_bytes(k);
    b->block_class = k;
    return true;
}
AIO_FN void aio__inbuf_put(struct aio__inbuf *b, const struct iovec *v, size_t count, size_t skip)
{
    for (; count--; v++) {
        size_t n = v->iov_len;
        if (skip >= n) {
            skip -= n;
            continue;
        }
        memcpy(b->data + b->to, (const char *)v->iov_base + skip, n - skip);
        b->to += n - skip;
        skip = 0;
    }
}

// --- streams: what a read finds in the buffer
AIO_FN const char *aio__stream_data(const aio_stream *s)    // "": there never was any
{
    return s->inbuf.data ? s->inbuf.data + s->inbuf.from : "";
}
// Puts back the byte that gave way to the 0 behind the last line.
AIO_FN void aio__stream_uncover(aio_stream *s)
{
    if (s->covered_at) s->inbuf.data[s->covered_at - 1] = s->covered;
    s->covered_at = 0;
}
AIO_FN aio_result aio__stream_taken(aio_stream *s, size_t n)
{
    s->inbuf.from += n;
    return (aio_result)n;
}
AIO_FN aio_result aio__stream_view(aio_stream *s, size_t n)
{
    if (n) {
        s->ask.out->data = aio__stream_data(s);
        s->covered_at = s->inbuf.from + n + 1;          // there is always room for one more
        s->covered = s->inbuf.data[s->inbuf.from + n];
        s->inbuf.data[s->inbuf.from + n] = 0;
    } else {
        s->ask.out->data = "";
    }
    s->ask.out->size = n;
    return aio__stream_taken(s, n);
}
AIO_FN aio_result aio__stream_found_bytes(aio_stream *s)
{
    size_t n = aio__held(&s->inbuf);
    if (n > s->ask.n) n = s->ask.n;
    if (!n && s->ask.n && !s->eof) return AIO_PENDING;
    if (n) memcpy(s->ask.to, aio__stream_data(s), n);
    return aio__stream_taken(s, n);
}
AIO_FN aio_result aio__stream_found_exactly(aio_stream *s)
{
    struct aio__stream_ask *q = &s->ask;
    size_t n = aio__held(&s->inbuf), left = q->n - q->got;
    if (n < left && !s->eof && q->n <= s->limit) return AIO_PENDING;        // ST-2: all or nothing
    if (n > left) n = left;
    if (n) memcpy(q->to + q->got, aio__stream_data(s), n);
    q->got += (size_t)aio__stream_taken(s, n);
    if (q->done) *q->done = q->got;
    if (q->got == q->n) return (aio_result)q->n;
    return s->eof ? -ENODATA : AIO_PENDING;
}
// ST-2: the separator that ends first. Returns its end, and its start in *start; 0: there is none.
AIO_FN size_t aio__stream_search(aio_stream *s, size_t *start)
{
    const char *data = aio__stream_data(s);
    size_t held = aio__held(&s->inbuf), end = 0, longest = 1;
    for (size_t i = 0; i < s->ask.count; i++) {
        const aio_bytes *p = &s->ask.separators[i];
        size_t from = s->ask.searched, room = end ? end : held;
        if (p->size > longest) longest = p->size;
        const char *at = room < from + p->size ? 0
            : p->size == 1 ? (const char *)memchr(data + from, *p->data, room - from)
                           : (const char *)memmem(data + from, room - from, p->data, p->size);
        if (!at || (end && (size_t)(at - data) + p->size >= end)) continue;
        *start = (size_t)(at - data);
        end = *start + p->size;
    }
    if (!end) s->ask.searched = held >= longest ? held + 1 - longest : 0;
    return end;
}
// Drops up to and with the separator; without one all that it cannot begin in.
AIO_FN aio_result aio__stream_found_skip(aio_stream *s)
{
    size_t start = 0, end = aio__stream_search(s, &start);
    size_t n = end ? end : s->eof ? aio__held(&s->inbuf) : s->ask.searched;
    s->ask.dropped += (size_t)aio__stream_taken(s, n);
    s->ask.searched = 0;
    return end ? (aio_result)s->ask.dropped : s->eof ? -ENODATA : AIO_PENDING;
}
// False: the rest of a line that was too long has not come yet.
AIO_FN bool aio__stream_skipped(aio_stream *s)
{
    const char *data = aio__stream_data(s);
    size_t held = aio__held(&s->inbuf);
    const char *newline = held ? (const char *)memchr(data, '\n', held) : 0;
    aio__stream_taken(s, newline ? (size_t)(newline + 1 - data) : held);
    s->skips = !newline && !s->eof;
    return !s->skips;
}
AIO_FN aio_result aio__stream_found_until(aio_stream *s)
{
    bool line = s->ask.kind == AIO__STREAM_LINE;
    if (s->skips && !aio__stream_skipped(s)) return AIO_PENDING;
    size_t start = 0, end = aio__stream_search(s, &start);
    if (end && start <= s->limit) return aio__stream_view(s, end);
    if (end || s->ask.searched > s->limit) {
        if (line) aio__stream_taken(s, end ? end : aio__held(&s->inbuf));
        s->skips = line && !end;
        return -EMSGSIZE;
    }
    if (!s->eof) return AIO_PENDING;
    aio_result rest = aio__stream_view(s, aio__held(&s->inbuf));
    return line ? rest : -ENODATA;
}
// ST-3: an error comes before what is buffered, and that before the end.
AIO_FN aio_result aio__stream_found(aio_stream *s)
{
    if (s->in_error) return s->in_error;
    switch (s->ask.kind) {
    case AIO__STREAM_READ: return aio__stream_found_bytes(s);
    case AIO__STREAM_EXACTLY: return aio__stream_found_exactly(s);
    case AIO__STREAM_SKIP: return aio__stream_found_skip(s);
    default: return aio__stream_found_until(s);
    }
}

// --- streams: receiving. Only while somebody reads (ST-1), so that what nobody wants stays with
// the peer. A buffer that gets full is doubled for the next time, one that stays nearly empty
// halved.
AIO_FN void aio__stream_wants(aio_stream *s, size_t got, size_t room)
{
    if (got == room && s->wanted < s->limit) s->wanted *= 2;
    else if (got < s->wanted / 8 && s->wanted > AIO__STREAM_FIRST) s->wanted /= 2;
}
AIO_FN bool aio__stream_room(aio_stream *s)
{
    struct aio__inbuf *b = &s->inbuf;
    size_t held = aio__held(b), size = s->wanted;       // one byte stays free, for a 0
    if (s->ask.kind == AIO__STREAM_EXACTLY && size <= s->ask.n) size = s->ask.n + 1;
    if (s->ask.kind >= AIO__STREAM_LINE && size < held * 2) size = held * 2;
    if (size < held + 2) size = held + 2;
    if (!held && b->room > 2 * size) aio__inbuf_free(s->ring, b);
    if (!held) b->from = b->to = 0;
    const char *before = b->data;
    if (!aio__inbuf_room(s->ring, b, size - held) && !aio__inbuf_room(s->ring, b, 2)) return false;
    if (b->data != before) aio__kernel_fills(b->data + b->to, b->room - b->to);
    return true;
}
AIO_FN aio_result aio__stream_receive(aio_stream *s, aio_waiter *w)
{
    struct aio__stream_ask *q = &s->ask;
    char *to = q->got ? q->to + q->got : q->to;
    size_t n = q->n - q->got;
    s->straight = !aio__held(&s->inbuf) && ((q->kind == AIO__STREAM_READ && n >= s->wanted) ||
                                            (q->kind == AIO__STREAM_EXACTLY && q->n > s->limit));
    if (!s->straight) {
        if (!aio__stream_room(s)) return -ENOMEM;
        to = s->inbuf.data + s->inbuf.to;
        n = s->inbuf.room - s->inbuf.to - 1;
    }
    int flags = s->out_error && s->in == s->out ? MSG_DONTWAIT : 0;     // only what has arrived
    aio_awaitable io = s->in_socket ? aio_recv(s->in, to, n, flags) : aio_read_some(s->in, to, n);
    aio_result r = s->in_socket
        ? aio__io_submit(s->ring, w, &io, AIO__UD_COMPOUND, aio__io_wait())
        : aio__file_submit(s->ring, w, &io, AIO__UD_COMPOUND);
    w->node.u.p[2] = &s->reading;
    return r < 0 ? r : AIO_PENDING;
}
// Some errors end one operation, the others the stream: an error of reading in both directions if
// it is one descriptor. After one of sending what has arrived can be read, before that error is
// told: a server that refuses an upload answers before it closes.
AIO_COLD aio_result aio__stream_failed(aio_stream *s, aio_result r, bool reading)
{
    if (r == -EPIPE && s->out_socket) r = -ECONNRESET;
    if (reading) s->in_error = s->in_error ? s->in_error : r;
    if (!reading || s->in == s->out) s->out_error = s->out_error ? s->out_error : r;
    return r;
}
AIO_FN bool aio__passing(aio_result r)
{
    return r == -ECANCELED || r == -EINTR || r == -EAGAIN || r == -ENOMEM || r == -ENOBUFS ||
           r == -EPERM;
}
// An older kernel does not wait on a non-blocking descriptor: a poll does, and then it is asked
// again.
AIO_FN bool aio__stream_polled(uint64_t info, aio_result r)
{
    return r >= 0 && AIO__IO_OPCODE(info) == IORING_OP_POLL_ADD;
}
AIO_COLD aio_result aio__stream_receive_later(aio_stream *s, aio_waiter *w)
{
    if ((w->node.u.w[1] & AIO__IO_CANCELLED) || s->ring->draining) return -ECANCELED;
    if (s->out_error && s->in == s->out) return s->out_error;
    aio_awaitable io = aio_poll(s->in, POLLIN);
    aio_result r = aio__io_submit(s->ring, w, &io, AIO__UD_COMPOUND, aio__io_wait());
    w->node.u.p[2] = &s->reading;
    return r < 0 ? r : AIO_PENDING;
}
AIO_FN aio_result aio__stream_received(aio_uring *u, aio_waiter *w, struct aio__compound *c,
                                       aio_result r)
{
    aio_stream *s = AIO__CONTAINER(c, aio_stream, reading);
    if (AIO__UNLIKELY(aio__stream_polled(w->node.u.w[1], r))) {
        bool ends = (w->node.u.w[1] & AIO__IO_CANCELLED) || u->draining;
        r = ends ? -ECANCELED : aio__stream_receive(s, w);
    } else if (AIO__UNLIKELY(r == -EAGAIN)) {
        r = aio__stream_receive_later(s, w);
    }
    if (r == AIO_PENDING) return r;
    size_t got = r > 0 ? (size_t)r : 0;
    if (s->straight) {
        aio__stream_wants(s, got, s->ask.n - s->ask.got);
        s->ask.got += got;
        if (s->ask.done) *s->ask.done = s->ask.got;
    } else {
        aio__stream_wants(s, got, s->inbuf.room - s->inbuf.to - 1);
        s->inbuf.to += got;
    }
    if (r == 0) s->eof = true;
    if (r < 0 && !aio__passing(r) && !(r == -EBADF && s->phase)) aio__stream_failed(s, r, true);
    aio_result out =
        s->straight && s->ask.kind == AIO__STREAM_READ && r >= 0 ? r : aio__stream_found(s);
    if (out == AIO_PENDING) {
        if (r < 0) out = r;
        else if ((w->node.u.w[1] & AIO__IO_CANCELLED) || u->draining) out = -ECANCELED;
        else out = aio__stream_receive(s, w);
    }
    if (out != AIO_PENDING) s->reader = 0;
    return out;
}
// May w use s? 0, or why not.
AIO_FN aio_result aio__stream_usable(const aio_stream *s, const aio_waiter *w)
{
    if (aio__forked_here() || (s->owner && s->ring->disabled)) return -EPERM;
    if (!s->owner || s->phase) return -EBADF;
    return w && w->future.loop != &s->ring->loop->executor ? -EXDEV : 0;
}
AIO_FN bool aio__stream_read_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_stream *s = (aio_stream *)a->u.p[0];
    aio_result r = aio__stream_usable(s, w);
    if (r >= 0 && s->reader) r = -EBUSY;                // ST-1
    if (r >= 0 && s->in < 0) r = -EBADF;
    if (r < 0) return aio__done_with(w, r);
    struct aio__stream_ask *q = &s->ask;
    memset(q, 0, sizeof *q);
    q->kind = (uint32_t)a->u.w[1];
    q->to = (char *)a->u.p[2];
    q->out = (aio_bytes *)a->u.p[2];
    q->n = q->count = (size_t)a->u.w[3];
    q->done = (size_t *)a->u.p[4];
    q->separators = (const aio_bytes *)a->u.cp[4];
    if (q->kind == AIO__STREAM_EXACTLY) q->separators = 0;
    else q->done = 0;
    if (a->u.cp[5]) {
        q->one.data = (const char *)a->u.cp[5];
        q->one.size = q->n;
        q->separators = &q->one;
        q->count = 1;
    }
    bool separated = q->kind >= AIO__STREAM_SKIP;
    for (size_t i = 0; separated && r >= 0 && i < q->count; i++)
        if (!q->separators[i].size) r = -EINVAL;
    if (separated && !q->count) r = -EINVAL;
    if (q->kind < AIO__STREAM_LINE) s->skips = false;   // who asks for bytes gets them
    if (q->done) *q->done = 0;
    aio__stream_uncover(s);
    if (r >= 0) r = aio__stream_found(s);
    if (r == AIO_PENDING) r = aio__stream_receive(s, w);
    if (r != AIO_PENDING) return aio__done_with(w, r);
    s->reader = w;
    return false;
}
AIO_TABLE(aio_await_class, aio__stream_read_await,
    { aio__stream_read_start, "stream", AIO__AWAIT_OWN })
AIO_FN aio_awaitable aio__stream_asks(aio_stream *s, unsigned kind, void *to, size_t n)
{
    aio_awaitable a = aio__sync_await(aio__stream_read_await(), s);
    a.u.w[1] = kind;
    a.u.p[2] = to;
    a.u.w[3] = n;
    a.u.p[4] = a.u.p[5] = 0;
    return a;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_stream_read(aio_stream *s, void *buf, size_t n)
{
    return aio__stream_asks(s, AIO__STREAM_READ, buf, n);
}
AIO_FN AIO_NODISCARD aio_awaitable aio__stream_read_exactly(aio_stream *s, void *buf, size_t n,
                                                            size_t *done)
{
    aio_awaitable a = aio__stream_asks(s, AIO__STREAM_EXACTLY, buf, n);
    a.u.p[4] = done;
    return a;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_stream_read_until(aio_stream *s, aio_bytes *out,
                                                         const char *separator, size_t n)
{
    aio_awaitable a = aio__stream_asks(s, AIO__STREAM_UNTIL, out, n);
    a.u.cp[5] = separator ? separator : "";
    return a;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_stream_skip_until(aio_stream *s, const char *separator,
                                                         size_t n)
{
    aio_awaitable a = aio__stream_asks(s, AIO__STREAM_SKIP, 0, n);
    a.u.cp[5] = separator ? separator : "";
    return a;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_stream_read_until_any(aio_stream *s, aio_bytes *out,
                                                             const aio_bytes *separators, size_t n)
{
    aio_awaitable a = aio__stream_asks(s, AIO__STREAM_UNTIL, out, n);
    a.u.cp[4] = separators;
    return a;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_stream_read_line(aio_stream *s, aio_bytes *line)
{
    aio_awaitable a = aio__stream_asks(s, AIO__STREAM_LINE, line, 1);
    a.u.cp[5] = "\n";
    return a;
}
AIO_FN bool aio_stream_at_eof(const aio_stream *s) { return s->eof && !aio__held(&s->inbuf); }

// --- streams: sending
AIO_FN size_t aio_stream_unsent(const aio_stream *s)
{
    return aio__held(&s->flight) + aio__held(&s->queued);
}
AIO_FN aio_result aio__stream_send(aio_stream *s)
{
    const char *from = s->flight.data + s->flight.from;
    size_t n = aio__held(&s->flight);
    aio_awaitable io = s->out_socket ? aio_send(s->out, from, n, 0)
                                     : aio_write_some(s->out, from, n);
    return s->out_socket ? aio__sink_submit(s->ring, &s->sending, &io)
                         : aio__file_sink(s->ring, &s->sending, &io);
}
AIO_COLD aio_result aio__stream_send_later(aio_stream *s)
{
    aio_awaitable io = aio_poll(s->out, POLLOUT);
    return aio__sink_submit(s->ring, &s->sending, &io);
}
AIO_FN void aio__stream_writers_go(aio_stream *s, aio_result error)
{
    aio_waiter *w;
    s->paused = false;
    while ((w = aio__sync_first(&s->writers)) != 0)
        aio_complete(w, error ? error : w->future.result);
}
// Half-close: for a pipe that is closing it.
AIO_FN aio_result aio__stream_end_writing(aio_stream *s)
{
    int fd = s->out;
    if (s->out_socket) return shutdown(fd, SHUT_WR) < 0 ? -errno : 0;
    s->out = -1;
    return close(fd) < 0 ? -errno : 0;
}
AIO_FN void aio__stream_no_unsent(aio_stream *s)
{
    aio__inbuf_free(s->ring, &s->queued);
    aio__inbuf_free(s->ring, &s->flight);
}
AIO_FN void aio__stream_closer_goes(aio_stream *s)
{
    aio_waiter *w = s->closer;
    s->closer = 0;
    if (w) aio__complete_as(w, 0, aio__settled());
}
// All that can be sent is, or nothing more can be.
AIO_FN void aio__stream_flushed(aio_stream *s)
{
    aio__stream_no_unsent(s);
    if (s->no_more && !s->phase && !s->out_error && s->out >= 0) (void)aio__stream_end_writing(s);
    aio__stream_closer_goes(s);
}
AIO_FN void aio__stream_sent(aio_uring *u, struct aio__sink *k, aio_result r, uint32_t cqe_flags)
{
    aio_stream *s = AIO__CONTAINER(k, aio_stream, sending);
    bool polled = aio__stream_polled(k->info, r);
    (void)cqe_flags;
    if (r > 0 && !polled) s->flight.from += (size_t)r;
    if (!aio__held(&s->flight)) {
        struct aio__inbuf empty = s->flight;
        s->flight = s->queued;
        s->queued = empty;
        s->queued.from = s->queued.to = 0;
    }
    if (s->drops) {
        aio__stream_no_unsent(s);
        return;
    }
    if (r == 0) r = -EIO;           // no progress, and no reason
    if (r == -EAGAIN) r = aio__stream_send_later(s);
    else if (r > 0 || r == -EINTR) r = aio__held(&s->flight) ? aio__stream_send(s) : 0;
    if (r < 0 && !(r == -ECANCELED && u->draining)) aio__stream_failed(s, r, false);
    if (r < 0 || !aio__held(&s->flight)) aio__stream_flushed(s);
    if (s->paused && aio_stream_unsent(s) <= s->low) aio__stream_writers_go(s, s->out_error);
}
// An entry that the kernel has not seen takes what is written in the same turn with it.
AIO_FN bool aio__stream_extends(aio_stream *s, const struct iovec *v, size_t count, size_t n)
{
    aio_uring *u = s->ring;
    uint32_t back = (uint16_t)(u->sq_tail - (uint32_t)(s->sending.user_data >> 48));
    struct io_uring_sqe *sqe = &u->sqes[(u->sq_tail - back - 1) & u->sq_mask];
    if (aio__held(&s->queued) || s->flight.room - s->flight.to < n) return false;
    if (back >= aio__sq_pending(u) || sqe->user_data != s->sending.user_data ||
        AIO__IO_OPCODE(s->sending.info) == IORING_OP_POLL_ADD)
        return false;
    aio__inbuf_put(&s->flight, v, count, 0);
    sqe->len = aio__length(aio__held(&s->flight));
    return true;
}
// A large piece goes straight from where it is, as far as the socket takes it at once (ST-4).
AIO_FN size_t aio__stream_at_once(aio_stream *s, const struct iovec *v, size_t count, size_t n)
{
    struct msghdr m;
    aio_uring *u = s->ring;
    if (!s->out_socket || n < AIO__STREAM_LARGE || count > 1024) return 0;
    if (u->at_once_turn != aio_loop_turn(u->loop)) u->at_once = 0;
    u->at_once_turn = aio_loop_turn(u->loop);
    if (u->at_once >= AIO__STREAM_TURN) return 0;
    memset(&m, 0, sizeof m);
    m.msg_iov = (struct iovec *)(uintptr_t)v;
    m.msg_iovlen = count;
    ssize_t sent = sendmsg(s->out, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) u->at_once += (size_t)sent;
    if (sent >= 0) return (size_t)sent;
    if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS && errno != ENOMEM)
        aio__stream_failed(s, -errno, false);
    return 0;
}
// The same for what is written, which gathers without a limit: doubled, so that many small pieces
// are not copied again for each.
AIO_FN bool aio__outbuf_room(aio_uring *u, struct aio__inbuf *b, size_t n)
{
    size_t more = b->room ? aio__held(b) : AIO__STREAM_FIRST;
    if (b->room - b->to >= n) return true;
    return (n < more && aio__inbuf_room(u, b, more)) || aio__inbuf_room(u, b, n);
}
AIO_FN aio_result aio__stream_put(aio_stream *s, const struct iovec *v, size_t count)
{
    size_t n = 0, sent = 0;
    if (s->out_error) return s->out_error;
    if (s->no_more) return -ESHUTDOWN;
    if (s->out < 0) return -EBADF;
    for (size_t i = 0; i < count; i++)
        if (__builtin_add_overflow(n, v[i].iov_len, &n) || n > INT64_MAX) return -EINVAL;
    if (!n) return 0;
    bool busy = aio__sink_busy(&s->sending);
    if (busy && aio__stream_extends(s, v, count, n)) return (aio_result)n;
    struct aio__inbuf *b = busy ? &s->queued : &s->flight;
    if (!aio__outbuf_room(s->ring, b, n)) return -ENOMEM;
    if (!busy) sent = aio__stream_at_once(s, v, count, n);
    if (!s->out_error && sent < n) {
        aio__inbuf_put(b, v, count, sent);
        aio_result r = busy ? 0 : aio__stream_send(s);
        if (r < 0 && !sent) {
            b->to = b->from;
            return r;
        }
        if (r < 0) aio__stream_failed(s, r, false);
    }
    if (s->out_error || sent == n) aio__inbuf_free(s->ring, b);
    if (s->out_error) return s->out_error;
    return (aio_result)n;
}
AIO_FN bool aio__stream_writer_cancel(aio_waiter *w)
{
    aio__ring_remove(&((aio_stream *)w->node.u.p[2])->writers, &w->node);
    aio_complete(w, -ECANCELED);
    return true;
}
AIO_FN void aio__stream_writer_dispose(aio_waiter *w)
{
    aio__ring_remove(&((aio_stream *)w->node.u.p[2])->writers, &w->node);
}
AIO_FN size_t aio__stream_describe(const aio_waiter *w, char *text, size_t size)
{
    const aio_stream *s = (const aio_stream *)w->node.u.p[2];
    size_t at = aio__append(text, size, 0, "stream: ");
    at = aio__append_number(text, size, at, aio_stream_unsent(s));
    at = aio__append(text, size, at, " bytes to be sent to fd ");
    return aio__append_number(text, size, at, (uint64_t)(uint32_t)s->out);
}
AIO_TABLE(aio_wait_class, aio__stream_writer_wait,
    { "stream", AIO__WAIT_OWN, aio__stream_writer_cancel, 0, 0, 0, aio__stream_describe,
      aio__stream_writer_dispose })
// Waits while too much is unsent. w->future.result is what comes out then.
AIO_FN bool aio__stream_drained(aio_stream *s, aio_waiter *w)
{
    if (aio_stream_unsent(s) > s->high) s->paused = true;
    if (!s->paused) return true;
    aio__sync_wait(w, &s->writers, s, aio__stream_writer_wait());
    return false;
}
AIO_FN bool aio__stream_write_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_stream *s = (aio_stream *)a->u.p[0];
    struct iovec one = { (void *)(uintptr_t)a->u.cp[1], (size_t)a->u.w[2] };
    const struct iovec *v = a->u.cp[3] ? (const struct iovec *)a->u.cp[3] : &one;
    aio_result r = aio__stream_usable(s, w);
    if (r >= 0) r = aio__stream_put(s, v, a->u.cp[3] ? (size_t)a->u.w[2] : 1);
    w->future.result = r;
    return r < 0 || aio__stream_drained(s, w);
}
AIO_FN bool aio__stream_drain_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_stream *s = (aio_stream *)a->u.p[0];
    aio_result r = aio__stream_usable(s, w);
    if (r >= 0 && s->in_error) r = s->in_error;         // ST-4
    if (r >= 0 && s->out_error) r = s->out_error;
    w->future.result = r;
    return r < 0 || aio__stream_drained(s, w);
}
AIO_TABLE(aio_await_class, aio__stream_write_await,
    { aio__stream_write_start, "stream", AIO__AWAIT_OWN })
AIO_TABLE(aio_await_class, aio__stream_drain_await,
    { aio__stream_drain_start, "stream", AIO__AWAIT_OWN })
AIO_FN AIO_NODISCARD aio_awaitable aio_stream_write(aio_stream *s, const void *buf, size_t n)
{
    aio_awaitable a = aio__sync_await(aio__stream_write_await(), s);
    a.u.cp[1] = buf;
    a.u.w[2] = n;
    a.u.cp[3] = 0;
    return a;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_stream_writev(aio_stream *s, const struct iovec *pieces,
                                                     size_t count)
{
    aio_awaitable a = aio_stream_write(s, 0, count);
    a.u.cp[3] = count ? (const void *)pieces : 0;
    return a;
}
AIO_FN aio_result aio_stream_write_nowait(aio_stream *s, const void *buf, size_t n)
{
    struct iovec one = { (void *)(uintptr_t)buf, n };
    aio_result r = aio__stream_usable(s, 0);
    return r < 0 ? r : aio__stream_put(s, &one, 1);
}
AIO_FN AIO_NODISCARD aio_awaitable aio_stream_drain(aio_stream *s)
{
    return aio__sync_await(aio__stream_drain_await(), s);
}
AIO_FN aio_result aio_stream_write_eof(aio_stream *s)
{
    aio_result r = aio__stream_usable(s, 0);
    if (r < 0 || s->no_more) return r;
    if (s->out < 0) return -EBADF;
    if (s->out_error) return s->out_error;
    if (s->in == s->out && !s->out_socket) return -EOPNOTSUPP;
    s->no_more = true;
    return aio__sink_busy(&s->sending) ? 0 : aio__stream_end_writing(s);
}


// --- streams: opening and closing. Closing is the exit of the stream's scope, whoever asks for it:
// the frame that opened it by returning, or aio_stream_close by taking the scope over and
// returning.
enum { AIO__STREAM_OPEN, AIO__STREAM_FLUSH, AIO__STREAM_CLOSE_IN, AIO__STREAM_CLOSE_OUT };
// What is unsent will not be; `why`: what those get who wait to write.
AIO_FN void aio__stream_drop(aio_stream *s, aio_result why)
{
    s->drops = true;
    if (aio__sink_busy(&s->sending)) aio__sink_cancel(s->ring, &s->sending);
    if (!aio__sink_busy(&s->sending)) aio__stream_no_unsent(s);
    aio__stream_writers_go(s, why);
    aio__stream_closer_goes(s);
}
AIO_FN void aio_stream_abort(aio_stream *s)
{
    if (!s->owner || s->ring->disabled || s->phase > AIO__STREAM_FLUSH) return;
    s->in_error = s->out_error = -ECONNABORTED;
    aio__stream_drop(s, -ECONNABORTED);
    aio_waiter *w = s->reader;
    if (!w) return;
    const uint32_t told = AIO__CANCEL_ASKED | AIO__MUST_CANCEL;     // of which it is not to know
    uint32_t before = w->future.flags & told;
    aio__io_cancel(w);
    w->future.flags = (w->future.flags & ~told) | before;
}
AIO_FN bool aio__stream_flush_cancel(aio_waiter *w)
{
    aio_stream *s = (aio_stream *)w->node.u.p[2];
    s->cut = true;
    aio__stream_drop(s, -EBADF);
    return s->asked;            // a frame that returns cannot take the cancel: it is owed
}
AIO_TABLE(aio_wait_class, aio__stream_flush_wait,
    { "stream", AIO__WAIT_OWN, aio__stream_flush_cancel, 0, 0, 0, aio__stream_describe, 0 })
AIO_FN void aio__stream_over(aio_stream *s)
{
    aio__stream_no_unsent(s);
    aio__inbuf_free(s->ring, &s->inbuf);
    s->covered_at = 0;
    if (s->next) s->next->prev = s->prev;
    if (s->prev) s->prev->next = s->next;
    else s->ring->streams = s->next;
    s->owner = 0;
}
// True: it is closed.
AIO_FN bool aio__stream_close_fd(aio_waiter *w, int *fd)
{
    aio_awaitable io = aio_close(*fd);
    if (*fd < 0) return true;
    *fd = -1;
    return aio__close_start(w, &io);
}
AIO_FN aio_result aio__stream_exit(aio_scope *scope, aio_task *t, aio_result r)
{
    aio_stream *s = AIO__CONTAINER(scope, aio_stream, scope);
    aio_waiter *w = &t->waiter;
    if (s->phase == AIO__STREAM_OPEN) {
        s->phase = AIO__STREAM_FLUSH;
        if (!s->asked && r == -ECANCELED) aio__stream_drop(s, -EBADF);
        if (aio__sink_busy(&s->sending) && !s->drops) {
            s->closer = w;
            w->node.u.p[2] = s;
            aio_waiter_begin(w, aio__stream_flush_wait());
            return AIO_PENDING;
        }
    }
    if (s->phase == AIO__STREAM_FLUSH) {
        s->phase = AIO__STREAM_CLOSE_IN;
        aio__stream_drop(s, -EBADF);
        if (s->in != s->out && !aio__stream_close_fd(w, &s->in)) return AIO_PENDING;
    }
    if (s->phase == AIO__STREAM_CLOSE_IN) {
        s->phase = AIO__STREAM_CLOSE_OUT;
        if (s->in == s->out) s->in = -1;        // it is closed once, also if the loop closes now
        if (!aio__stream_close_fd(w, &s->out)) return AIO_PENDING;
    }
    aio__stream_over(s);
    if (!s->asked) return r;
    return s->cut ? -ECANCELED : s->out_error == -ECONNABORTED ? 0 : s->out_error;
}
AIO_TABLE(aio_scope_class, aio__stream_scope, { "stream", aio__stream_exit, AIO__SCOPE_OWN })
AIO_FN aio_result aio__stream_fd(int fd, bool *is_socket)
{
    struct stat st;
    if (fd < 0) return 0;
    if (fstat(fd, &st) < 0) return -errno;
    *is_socket = S_ISSOCK(st.st_mode);
    return 0;
}
AIO_FN void aio__stream_sizes(aio_stream *s, const struct aio_stream_options *o)
{
    s->limit = o && o->read_limit ? o->read_limit : AIO__STREAM_LIMIT;
    s->high = o && o->write_high ? o->write_high : AIO__STREAM_LIMIT;
    s->low = o && o->write_low ? o->write_low : s->high / 4;
    s->wanted = s->limit < AIO__STREAM_FIRST ? s->limit + 2 : AIO__STREAM_FIRST;
}
AIO_FN aio_result aio_stream_open(aio_stream *s, int in, int out,
                                  const struct aio_stream_options *options)
{
    aio_task *t = aio_current_task();
    bool in_socket = false, out_socket = false;
    aio_result r = 0;
    if (aio__forked_here()) return -EPERM;
    if (!t || (in < 0 && out < 0)) return -EINVAL;
    if (s->owner) return -EBUSY;
    aio_uring *u = aio__uring_of(&t->waiter, &r);
    if (!u) return r;
    if ((r = aio__stream_fd(in, &in_socket)) < 0) return r;
    if ((r = aio__stream_fd(out, &out_socket)) < 0) return r;
    memset((void *)s, 0, sizeof *s);
    aio__stream_sizes(s, options);
    if (s->low > s->high || s->limit > SIZE_MAX / 4) return -EINVAL;
    s->in = in;
    s->out = out;
    if (in >= 0) aio__process_disown(u, in);
    if (out >= 0) aio__process_disown(u, out);
    s->in_socket = in_socket;
    s->out_socket = out_socket;
    s->reading.next = aio__stream_received;
    s->sending.done = aio__stream_sent;
    s->ring = u;
    s->owner = t;
    s->next = u->streams;
    if (s->next) s->next->prev = s;
    u->streams = s;
    aio_scope_enter(&s->scope, t, aio__stream_scope());
    return 0;
}
aio__async(aio__stream_closing) {
    aio_scope_leave(&self->s->scope, self->s->owner);
    aio_scope_enter(&self->s->scope, AIO__TASK, aio__stream_scope());
    self->s->asked = true;
    return 0;
} aio_end
AIO_FN bool aio__stream_close_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_stream *s = (aio_stream *)a->u.p[0];
    if (aio__in_child(w) || aio__needs_task(w)) return true;
    aio_result r = aio__stream_usable(s, w);
    if (r >= 0 && s->owner != AIO__TASK_OF(w)) r = -EPERM;
    if (r < 0) return aio__done_with(w, r);
    aio__frame_init(AIO__OWN_CO(aio__stream_closing), &s->closing.aio, sizeof s->closing);
    s->closing.s = s;
    aio_awaitable call = aio__call(AIO__OWN_CO(aio__stream_closing), &s->closing);
    return aio__call_start(w, &call);
}
AIO_TABLE(aio_await_class, aio__stream_close_await,
    { aio__stream_close_start, "close", AIO__AWAIT_TASK_ONLY })
AIO_FN AIO_NODISCARD aio_awaitable aio_stream_close(aio_stream *s)
{
    return aio__sync_await(aio__stream_close_await(), s);
}
// The loop closes: nothing is in flight any more, no frame goes on.
AIO_FN void aio__streams_end(aio_uring *u)
{
    for (aio_stream *s = u->streams; s; s = s->next) {
        if (s->in >= 0) close(s->in);
        if (s->out >= 0 && s->out != s->in) close(s->out);
        s->in = s->out = -1;
        s->owner = 0;
    }
    u->streams = 0;
}

// --- servers
struct aio__served {
    aio_node node;                  // on the task's list
    struct aio__served *next, *prev;
    aio_server *server;
    aio_task *task;
};
// The connection in a handler's frame, whose body would have closed it.
AIO_FN void aio__connection_close(const aio_frame *handler, size_t fd_at)
{
    int fd;
    memcpy(&fd, (const char *)handler + fd_at, sizeof fd);
    if (!handler->site->body->coroutine->drop->hook) close(fd);
}
AIO_FN aio_frame *aio__handler_of(struct aio__serving *f)
{
    return (aio_frame *)(void *)((char *)f + AIO__SERVING_BYTES);
}
AIO_FN void aio__served_notify(aio_node *n, aio_future *f)
{
    struct aio__served *c = (struct aio__served *)(void *)n;
    aio_server *server = c->server;
    if (f->flags & AIO__NEVER_BEGAN)
        aio__connection_close((const aio_frame *)(c->task + 1), server->serving->fd_at);
    if (c->next) c->next->prev = c->prev;
    if (c->prev) c->prev->next = c->next;
    else server->first = c->next;
    server->live--;
    if (f->result == -ECONNRESET || f->result == -EPIPE) {
        server->lost++;
        aio__saw(f);
    }
    aio_event_set(&server->changed);
    aio__free(f->loop, c, aio__class_of(sizeof *c));
}
AIO_TABLE(aio_wait_class, aio__served_class,
    { "connection", AIO__WAIT_OWN, 0, 0, aio__served_notify, 0, 0, 0 })
enum { AIO__SERVE_ACCEPTS, AIO__SERVE_DRAINS, AIO__SERVE_CANCELS };
AIO_FN void aio__connection_taken(struct aio__serving *f, aio_executor *x, int fd)
{
    aio_server *server = f->server;
    uint32_t k = aio__class_of(sizeof(struct aio__served));
    struct aio__served *c = (struct aio__served *)aio__alloc(x, k, sizeof *c);
    aio_task *t = c ? aio__task_new(x, f->co, f->co->size) : aio__refused(-ENOMEM);
    if (t->waiter.future.flags & AIO__REFUSED) {
        if (c) aio__free(x, c, k);
        server->refused++;
        close(fd);              // no hook: there is no frame, and the one to be copied is for all
        return;
    }
    memcpy((void *)t->leaf, aio__handler_of(f),
           f->co->scratch->from ? f->co->scratch->from : f->co->size);
    memcpy((char *)t->leaf + f->fd_at, &fd, sizeof fd);
    c->node.cls = aio__served_class();
    c->server = server;
    c->task = t;
    c->prev = 0;
    c->next = server->first;
    if (c->next) c->next->prev = c;
    server->first = c;
    server->live++;
    server->accepted++;
    f->told = false;
    aio__list_add(&t->waiter.future, &c->node);
    aio__task_begin(t);
    if (f->phase == AIO__SERVE_CANCELS) aio_task_cancel(t);
    aio_detach(t);
}
AIO_FN void aio__connections_cancel(aio_server *server)
{
    for (struct aio__served *c = server->first; c; c = c->next) aio_task_cancel(c->task);
}
// What an accept may fail with, the worst last: a connection that was gone, or that there is no
// room for more.
enum { AIO__ACCEPT_PASSES, AIO__ACCEPT_PAUSES, AIO__ACCEPT_FATAL };
AIO_FN int aio__accept_failure(aio_result r)
{
    switch ((int)-r) {
    case 0: case ECONNABORTED: case EINTR: case EPROTO: case ENOPROTOOPT: case ENETDOWN:
    case ENETUNREACH: case EHOSTDOWN: case EHOSTUNREACH: case ENONET:
    case ETIMEDOUT: return AIO__ACCEPT_PASSES;
    case EMFILE: case ENFILE: case ENOBUFS: case ENOMEM: case EAGAIN: return AIO__ACCEPT_PAUSES;
    default: return AIO__ACCEPT_FATAL;
    }
}
AIO_FN void aio__accept_failed(struct aio__serving *f, aio_result r)
{
    if (aio__accept_failure(r) > aio__accept_failure(f->failure)) f->failure = r;
}
// How many accepts there should be now: what they bring has room, and is allowed.
AIO_FN uint32_t aio__accepts_wanted(const struct aio__serving *f)
{
    const aio_server *server = f->server;
    uint64_t taken = (uint64_t)server->live + f->came_count;
    uint32_t wanted = f->wanted;
    if (f->phase != AIO__SERVE_ACCEPTS) return 0;
    if (wanted > AIO__CAME_MAX - f->came_count) wanted = AIO__CAME_MAX - f->came_count;
    if (server->limit && server->limit < taken + wanted)
        wanted = server->limit > taken ? server->limit - (uint32_t)taken : 0;
    return wanted;
}
AIO_FN void aio__accept_begin(struct aio__serving *f, aio_uring *u, struct aio__accepting *a)
{
    aio_awaitable io = aio_accept(f->listener);
    aio_result r = aio__sink_submit(u, &a->sink, &io);
    if (r < 0) aio__accept_failed(f, r);
    else f->in_flight++;
}
// The next one begins at once: what waits in the kernel's queue need not wait for our task too.
AIO_FN void aio__accept_done(aio_uring *u, struct aio__sink *s, aio_result res, uint32_t cqe_flags)
{
    struct aio__accepting *a = AIO__CONTAINER(s, struct aio__accepting, sink);
    struct aio__serving *f = a->serving;
    bool withdrawn = res == -ECANCELED && (s->info & AIO__IO_CANCELLED);
    (void)cqe_flags;
    f->in_flight--;
    if (res >= 0) f->came[f->came_count++] = (int)res;
    else if (!withdrawn) aio__accept_failed(f, res);
    if (u->draining) return;
    if (res >= 0 && f->in_flight < aio__accepts_wanted(f)) aio__accept_begin(f, u, a);
    aio_event_set(&f->server->changed);
}
AIO_FN void aio__accepts_adjust(struct aio__serving *f, aio_task *t)
{
    uint32_t wanted = aio__accepts_wanted(f);
    uint32_t over = f->in_flight > wanted ? f->in_flight - wanted : 0;
    aio_result r = 0;
    aio_uring *u = aio__uring_of(&t->waiter, &r);
    if (!u) aio__accept_failed(f, r);
    for (uint32_t i = 0; u && i < AIO__ACCEPTS_MAX && (over || f->in_flight < wanted); i++) {
        struct aio__accepting *a = &f->accepts[i];
        if (over && aio__sink_busy(&a->sink)) {         // also one that was asked before
            aio__sink_cancel(u, &a->sink);
            over--;
        } else if (!over && !aio__sink_busy(&a->sink)) {
            a->serving = f;
            a->sink.done = aio__accept_done;
            aio__accept_begin(f, u, a);
            if (f->failure) return;
        }
    }
}
// Gives those that came their handlers. A full hand says that more of them wait.
AIO_FN void aio__accepts_take(struct aio__serving *f, aio_executor *x)
{
    uint32_t n = f->came_count;
    for (uint32_t i = 0; i < n; i++) aio__connection_taken(f, x, f->came[i]);
    f->came_count = 0;
    if (n) f->wanted = n < AIO__ACCEPTS_MAX / 4 ? n * 4 : AIO__ACCEPTS_MAX;
}
// While it ends. False: it is over.
AIO_FN bool aio__serve_goes_on(struct aio__serving *f, aio_task *t)
{
    aio_event_clear(&f->server->changed);
    aio__accepts_take(f, t->waiter.future.loop);
    return f->server->live || f->in_flight;
}
// Takes what came and asks for more. Result: 0; 1: not before something ended, or a while; or why
// there will be no more.
AIO_FN aio_result aio__serve_looks(struct aio__serving *f, aio_task *t)
{
    aio_loop *l = AIO__LOOP_OF(t->waiter.future.loop);
    aio_event_clear(&f->server->changed);
    aio__accepts_take(f, &l->executor);
    if (aio__accept_failure(f->failure) == AIO__ACCEPT_PASSES) {
        f->failure = 0;
        aio__accepts_adjust(f, t);
    }
    aio_result why = f->failure;
    f->failure = 0;
    if (aio__accept_failure(why) != AIO__ACCEPT_PAUSES) return why;
    if (!f->told) aio__loop_say(l, "accept: no room for more connections; waiting", why);
    f->told = true;
    f->wanted = 1;
    return 1;
}
aio__drop_of(aio__serving) {                // its loop was closed, and so are its handlers' tasks
    if (self->server->serving != self) return 0;
    for (struct aio__served *c = self->server->first; c; c = c->next) {
        const aio_frame *handler = (const aio_frame *)(c->task + 1);
        if (handler->site->kind == AIO__SITE_START) aio__connection_close(handler, self->fd_at);
    }
    while (self->came_count) close(self->came[--self->came_count]);
    self->server->serving = 0;
    self->server->first = 0;
    self->server->live = 0;
    return 0;
} aio_end
aio__async_drop(aio__serving) {
    if (self->server->serving) return -EBUSY;
    self->server->serving = self;
    self->server->first = 0;
    self->server->live = 0;
    self->server->accepted = self->server->refused = self->server->lost = 0;
    self->wanted = 4;
    self->r = aio_timeout_enter(&self->until, AIO_FOREVER);
    while (self->r >= 0) {
        self->r = aio__serve_looks(self, AIO__TASK);
        if (self->r < 0) break;
        if (self->r == 0) {
            aio_await(self->r, aio_event_wait(&self->server->changed));
            continue;
        }
        self->r = aio_timeout_enter(&self->pause, AIO_SECOND / 10);
        if (self->r >= 0) aio_await(self->r, aio_event_wait(&self->server->changed));
        else aio_await(self->r, aio_next_turn());
        self->r = aio_timeout_exit(&self->pause, self->r);
        if (self->r == -ETIMEDOUT) self->r = 0;
    }
    // Stopped, or the listener failed: connections may end by themselves, until the deadline. What
    // an accept still brings is one of them.
    self->r = aio_timeout_exit(&self->until, self->r);
    self->end = aio_timeout_expired(&self->until) && self->r == -ETIMEDOUT ? 0 : self->r;
    self->phase = AIO__SERVE_DRAINS;
    aio__accepts_adjust(self, AIO__TASK);
    self->r = self->end == -ECANCELED ? self->end : 0;
    if (self->r >= 0 && aio__serve_goes_on(self, AIO__TASK))
        self->r = aio_timeout_enter(&self->until, self->end ? AIO_FOREVER : self->server->drain_ns);
    while (self->r >= 0 && aio__serve_goes_on(self, AIO__TASK))
        aio_await(self->r, aio_event_wait(&self->server->changed));
    self->r = aio_timeout_exit(&self->until, self->r);
    if (self->r == -ECANCELED) self->end = -ECANCELED;
    self->phase = AIO__SERVE_CANCELS;
    self->r = -ECANCELED;
    while (aio__serve_goes_on(self, AIO__TASK)) {
        if (self->r == -ECANCELED) aio__connections_cancel(self->server);
        aio_await(self->r, aio_event_wait(&self->server->changed));
        if (self->r < 0) self->end = self->r;           // asked once more: it asks them once more
    }
    self->server->serving = 0;
    return self->end;
} aio_end
AIO_FN void *aio__serve_block(aio_task *t, const aio_coroutine *handler)
{
    struct aio__serving *f = (struct aio__serving *)aio__call_block(
        t, AIO__OWN_CO(aio__serving), AIO__SERVING_BYTES + handler->size);
    if (!f) return 0;
    aio__handler_of(f)->site = &handler->start;
    return aio__handler_of(f);
}
#ifdef AIO_STRICT
AIO_FN void *aio__serve_block_from(aio_task *t, const aio_coroutine *handler,
                                   const aio_frame *arguments)
{
    void *to = aio__serve_block(t, handler);
    return to ? memcpy(to, arguments, handler->size) : 0;
}
#endif
AIO_FN AIO_NODISCARD aio_awaitable aio__serve(aio_server *server, int listener, size_t fd_at,
                                              const aio_coroutine *co, void *handler)
{
    struct aio__serving *f = 0;
    if (handler) {
        f = (struct aio__serving *)(void *)((char *)handler - AIO__SERVING_BYTES);
        f->server = server;
        f->listener = listener;
        f->co = co;
        f->fd_at = fd_at;
    }
    return aio__call_new(AIO__OWN_CO(aio__serving), f);
}
AIO_FN aio_result aio_server_stop(aio_server *server, int64_t drain_ns)
{
    struct aio__serving *f = server->serving;
    if (aio__forked_here()) return -EPERM;
    if (!f) return -EINVAL;
    server->drain_ns = drain_ns;
    if (aio_timeout_expired(&f->until) || f->phase == AIO__SERVE_CANCELS) return 0;
    if (f->phase == AIO__SERVE_ACCEPTS) return aio_timeout_reschedule(&f->until, INT64_MIN);
    const aio_loop *l = AIO__LOOP_OF(f->until.scope.task->waiter.future.loop);
    return aio_timeout_reschedule(&f->until, aio__deadline(l, drain_ns));
}

// --- processes: beginning one. The child shares our memory until it has called exec, on a stack of
// its own; this thread stands still meanwhile (CLONE_VFORK). It only makes system calls.
struct aio__spawn {
    const struct aio_process_options *options;
    char *const *env;
    const char *path;               // where argv[0] is looked for; null: as it is
    char **script;                  // room for the arguments of a shell
    int from[3];                    // what becomes its 0, 1, 2; -1: the caller's, as it is
    int terminal;                   // -1: none
    uint64_t ignored;               // signals that were ignored before we handled them
    volatile int error;
};
AIO_FN void aio__child_signals(const struct aio__spawn *c)
{
    struct sigaction now;
    for (int n = 1; n < AIO__SIGNALS; n++) {
        if (sigaction(n, 0, &now)) continue;
        bool ignore = c->ignored & AIO__SIGNAL_BIT(n);
        if (!ignore && n != SIGPIPE && (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN))
            continue;
        memset(&now, 0, sizeof now);
        now.sa_handler = ignore ? SIG_IGN : SIG_DFL;
        sigaction(n, &now, 0);
    }
}
// The caller's memory is shared, and only read.
AIO_FN bool aio__child_descriptors(const struct aio__spawn *c)
{
    int from[3];
    for (int i = 0; i < 3; i++) {   // none of them may be overwritten before it is used
        from[i] = c->from[i];
        if (from[i] >= 0 && from[i] < 3 && from[i] != i &&
            (from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 3)) < 0)
            return false;
    }
    for (int i = 0; i < 3; i++) {
        if (from[i] < 0) continue;      // if that was closed, it may be one of ours: not for exec
        if (from[i] == i) fcntl(i, F_SETFD, 0);
        else if (dup2(from[i], i) < 0) return false;
    }
    if (!syscall(AIO__SYS_CLOSE_RANGE, 3, ~0u, AIO__CLOSE_RANGE_CLOEXEC)) return true;
    struct rlimit limit = { 0, 0 };
    getrlimit(RLIMIT_NOFILE, &limit);       // a seccomp filter, perhaps
    if (limit.rlim_cur > 65536) limit.rlim_cur = 65536;
    for (int fd = 3; fd < (int)limit.rlim_cur; fd++) fcntl(fd, F_SETFD, FD_CLOEXEC);
    return true;
}
// A file without a format of its own is a shell's script.
AIO_FN void aio__child_exec(const struct aio__spawn *c, const char *file)
{
    char *const *argv = c->options->argv;
    size_t n = 0;
    execve(file, argv, c->env);
    if (errno != ENOEXEC) return;
    c->script[0] = (char *)(uintptr_t)"/bin/sh";
    c->script[1] = (char *)(uintptr_t)file;
    do c->script[n + 2] = argv[n + 1];
    while (argv[++n]);
    execve(c->script[0], c->script, c->env);
}
// In the folders of its own PATH; execvpe would look in the caller's. Leaves why not in errno.
AIO_FN void aio__child_find(const struct aio__spawn *c)
{
    char file[4096];
    const char *name = c->options->argv[0], *at = c->path;
    size_t length = strlen(name);
    bool denied = false;
    if (!at) {
        aio__child_exec(c, name);
        return;
    }
    errno = ENOENT;
    for (size_t n;; at += n + 1) {
        n = strcspn(at, ":");
        if (n + length + 2 > sizeof file) errno = ENAMETOOLONG;
        else {
            memcpy(file, at, n);
            file[n] = '/';                  // an empty folder is the working directory
            memcpy(file + n + (n > 0), name, length + 1);
            aio__child_exec(c, file);
            if (errno == EACCES) denied = true;
            else if (errno != ENOENT && errno != ENOTDIR && errno != ESTALE && errno != ENODEV &&
                     errno != ETIMEDOUT)
                return;
        }
        if (!at[n]) break;
    }
    if (denied) errno = EACCES;
}
AIO_FN int aio__spawn_child(void *arg)
{
    struct aio__spawn *c = (struct aio__spawn *)arg;
    const struct aio_process_options *o = c->options;
    sigset_t none;
    aio__child_signals(c);
    bool ok = o->pty || o->new_session ? setsid() >= 0 : !o->new_group || !setpgid(0, 0);
    if (ok && c->terminal >= 0) ok = !ioctl(c->terminal, TIOCSCTTY, 0);
    if (ok && o->cwd) ok = !chdir(o->cwd);
    if (ok && aio__child_descriptors(c)) {
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, 0);
        aio__child_find(c);
    }
    c->error = errno;
    return 127;
}
// Signals that the child must ignore, since they were ignored before we handled them.
AIO_FN uint64_t aio__signals_ignored(void)
{
    uint64_t mask = 0;
    pthread_mutex_lock(&aio__loops.lock);
    for (int n = 1; n < AIO__SIGNALS; n++)
        if (aio__signals.users[n] && aio__signals.before[n].sa_handler == SIG_IGN)
            mask |= AIO__SIGNAL_BIT(n);
    pthread_mutex_unlock(&aio__loops.lock);
    return mask;
}
// Where to look for the program: in its own environment's PATH. Null: its name is a path.
AIO_FN const char *aio__spawn_path(const struct aio_process_options *o)
{
    if (strchr(o->argv[0], '/') || !*o->argv[0]) return 0;
    char *const *env = o->env ? o->env : environ;
    for (; env && *env; env++)
        if (!strncmp(*env, "PATH=", 5)) return *env + 5;
    return "/bin:/usr/bin";
}
// Result: the pid, or why exec was not reached.
AIO_FN aio_result aio__spawn_clone(struct aio__spawn *c, int *pidfd)
{
    sigset_t all, before;
    size_t arguments = 0, size;
    while (c->options->argv[arguments]) arguments++;
    size = ((arguments + 2) * sizeof(char *) + 65536 + 4095) & ~(size_t)4095;
    char *stack = (char *)mmap(0, size, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) return -ENOMEM;
    c->script = (char **)(void *)stack;         // which grows down to it
    c->path = aio__spawn_path(c->options);
    c->ignored = aio__signals_ignored();
    c->env = c->options->env ? c->options->env : environ;
    sigfillset(&all);               // no handler may run in the child
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int pid = clone(aio__spawn_child, stack + size,
                    CLONE_VM | CLONE_VFORK | AIO__CLONE_PIDFD | SIGCHLD, c, pidfd);
    int error = pid < 0 ? errno : c->error;
    pthread_sigmask(SIG_SETMASK, &before, 0);
    AIO__UNPOISON(stack, size);     // the child did not return from its functions
    munmap(stack, size);
    if (!error) return pid;
    if (pid >= 0) {
        siginfo_t info;
        do pid = waitid((idtype_t)AIO__P_PIDFD, (id_t)*pidfd, &info, WEXITED);
        while (pid < 0 && errno == EINTR);
        close(*pidfd);
        *pidfd = -1;
    }
    return -error;
}
// The child's side of descriptor i: ours[i] gets our side. Result: to be closed; -1: none.
AIO_FN aio_result aio__spawn_stdio(struct aio__spawn *c, int how, int i, int *ours)
{
    int fds[2] = { -1, -1 };
    if (how > 0) c->from[i] = how;
    if (how == AIO_PROCESS_STDOUT && i == 2) c->from[i] = c->from[1] < 0 ? 1 : c->from[1];
    else if (how < AIO_PROCESS_NULL) return -EINVAL;
    if (how == AIO_PROCESS_INHERIT && c->terminal >= 0) c->from[i] = c->terminal;
    if (how == AIO_PROCESS_NULL && (fds[0] = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0)
        return -errno;
    if (how == AIO_PROCESS_PIPE && pipe2(fds, O_CLOEXEC) < 0) return -errno;
    bool reads = i == 0 || how == AIO_PROCESS_NULL;
    if (how == AIO_PROCESS_PIPE) *ours = fds[reads];
    if (how == AIO_PROCESS_PIPE || how == AIO_PROCESS_NULL) c->from[i] = fds[!reads];
    return 0;
}
AIO_FN aio_result aio__spawn_pty(aio_process *p, struct aio__spawn *c)
{
    char name[64];
    p->pty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (p->pty < 0) return -errno;
    if (grantpt(p->pty) || unlockpt(p->pty) || ptsname_r(p->pty, name, sizeof name)) return -errno;
    c->terminal = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    return c->terminal < 0 ? -errno : 0;
}
AIO_FN int *aio__process_fd(aio_process *p, unsigned i)
{
    return i == 0 ? &p->stdin_ : i == 1 ? &p->stdout_ : i == 2 ? &p->stderr_ : &p->pty;
}
AIO_FN void aio__process_own(aio_uring *u, aio_process *p)
{
    for (unsigned i = 0; i < 4; i++) {
        struct aio__owned *o = &p->owned[i];
        o->at = aio__process_fd(p, i);
        o->fd = *o->at;
        if (o->fd < 0) continue;
        o->next = u->owned[(unsigned)o->fd % AIO__DETOURS];
        u->owned[(unsigned)o->fd % AIO__DETOURS] = o;
    }
}
// Somebody else closes fd from now on, or does so just now.
AIO_FN void aio__process_disown(aio_uring *u, int fd)
{
    struct aio__owned **at = &u->owned[(unsigned)fd % AIO__DETOURS], *o;
    while ((o = *at) != 0) {
        if (o->fd != fd) {
            at = &o->next;
            continue;
        }
        if (*o->at == fd) *o->at = -1;
        *at = o->next;
    }
}
AIO_FN int aio__process_take(aio_process *p, unsigned i)
{
    int fd = *aio__process_fd(p, i);
    struct aio__owned *o = &p->owned[i], **at = 0;
    if (o->at && o->fd >= 0) {              // by what it was: the program may have cleared it
        aio_uring *u = (aio_uring *)AIO__LOOP_OF(p->ended.loop)->backend_state;
        at = &u->owned[(unsigned)o->fd % AIO__DETOURS];
        while (*at && *at != o) at = &(*at)->next;
        if (*at) *at = o->next;
    }
    o->at = 0;
    *aio__process_fd(p, i) = -1;
    return fd;
}
AIO_FN void aio__process_close_now(aio_process *p)
{
    for (unsigned i = 0; i < 4; i++) {
        int fd = aio__process_take(p, i);
        if (fd >= 0) close(fd);
    }
}
AIO_FN aio_result aio__process_begin(aio_process *p, const struct aio_process_options *o)
{
    const int how[3] = { o->stdin_, o->stdout_, o->stderr_ };
    struct aio__spawn c = { 0, 0, 0, 0, { -1, -1, -1 }, -1, 0, 0 };
    c.options = o;
    aio_result r = o->pty ? aio__spawn_pty(p, &c) : 0;
    int done = 0;
    for (; done < 3 && r >= 0; done += r >= 0)
        r = aio__spawn_stdio(&c, how[done], done, aio__process_fd(p, (unsigned)done));
    if (r >= 0) r = aio__spawn_clone(&c, &p->pidfd);
    for (int i = 0; i < done; i++)
        if (how[i] == AIO_PROCESS_PIPE || how[i] == AIO_PROCESS_NULL) close(c.from[i]);
    if (c.terminal >= 0) close(c.terminal);
    if (r < 0) aio__process_close_now(p);
    return r;
}

// --- processes: their end
enum { AIO__KILLED = 256 };         // + the signal: a result
AIO_FN int aio_process_signal(aio_result r)
{
    return r >= AIO__KILLED ? (int)(r - AIO__KILLED) : 0;
}
// Reaps it. Result: how it ended; AIO_PENDING: it runs.
AIO_FN aio_result aio__process_reap(aio_loop *l, aio_process *p, int flags)
{
    siginfo_t info;
    int failed;
    memset(&info, 0, sizeof info);
    do failed = waitid((idtype_t)AIO__P_PIDFD, (id_t)p->pidfd, &info, WEXITED | flags);
    while (failed && errno == EINTR);
    if (!failed && !info.si_pid) return AIO_PENDING;
    close(p->pidfd);
    p->pidfd = -1;
    if (!failed) return info.si_code == CLD_EXITED ? info.si_status : AIO__KILLED + info.si_status;
    aio__loop_say(l, "a process was reaped by somebody else (is SIGCHLD ignored?)", -ECHILD);
    return 255;                                                                     // SP-2
}
AIO_FN aio_result aio__process_poll(aio_uring *u, aio_process *p)
{
    aio_awaitable a = aio_poll(p->pidfd, POLLIN);
    return aio__sink_submit(u, &p->sink, &a);
}
// The last resort, where the ring cannot tell us its end: kills it and waits here.
AIO_COLD void aio__process_end_now(aio_loop *l, aio_process *p)
{
    if (p->pidfd < 0) return;
    aio_process_kill(p, SIGKILL);
    aio_result r = aio__process_reap(l, p, 0);
    if (!(p->ended.flags & AIO__DONE)) aio__future_finish(&p->ended, r);
}
AIO_FN void aio__process_polled(aio_uring *u, struct aio__sink *s, aio_result res, uint32_t flags)
{
    aio_process *p = AIO__CONTAINER(s, aio_process, sink);
    (void)flags;
    if (u->draining) return;                    // aio__processes_end does it
    aio_result r = res < 0 ? AIO_PENDING : aio__process_reap(u->loop, p, WNOHANG);
    if (r != AIO_PENDING) aio__future_finish(&p->ended, r);
    else if (res < 0 || aio__process_poll(u, p) < 0) aio__process_end_now(u->loop, p);
}
AIO_FN void aio__process_unlink(aio_uring *u, aio_process *p)
{
    if (p->next) p->next->prev = p->prev;
    if (p->prev) p->prev->next = p->next;
    else u->processes = p->next;
    p->owner = 0;
}
// The loop closes: nothing is in flight any more.
AIO_FN void aio__processes_end(aio_uring *u)
{
    while (u->processes) {
        aio_process *p = u->processes;
        aio__process_end_now(u->loop, p);
        aio__process_close_now(p);
        aio__process_unlink(u, p);
    }
}
// The frame returns: kill, wait for the end, close our ends one after the other.
AIO_FN aio_result aio__process_scope_exit(aio_scope *s, aio_task *t, aio_result r)
{
    aio_process *p = AIO__CONTAINER(s, aio_process, scope);
    if (!p->owner) return r;                    // the loop was closed
    if (!(p->ended.flags & AIO__DONE)) {
        aio_process_kill(p, SIGKILL);
        aio__list_add(&p->ended, &t->waiter.node);
        aio_waiter_begin(&t->waiter, aio__op_left_wait());
        return AIO_PENDING;
    }
    for (unsigned i = 0; i < 4; i++) {
        aio_awaitable a = aio_close(aio__process_take(p, i));
        if (!aio__close_start(&t->waiter, &a)) return AIO_PENDING;
    }
    aio__process_unlink((aio_uring *)AIO__LOOP_OF(t->waiter.future.loop)->backend_state, p);
    return r;
}
AIO_TABLE(aio_scope_class, aio__process_scope,
    { "process", aio__process_scope_exit, AIO__SCOPE_OWN })
// Is there room in `p` for another one? What is left of the last one is closed.
AIO_FN aio_result aio__process_renew(aio_uring *u, aio_process *p)
{
    if (!p->owner) return 0;
    if (!(p->ended.flags & AIO__DONE)) return -EBUSY;
    for (unsigned i = 0; i < 4; i++) {
        int fd = *aio__process_fd(p, i);
        if (fd >= 0 && (uint32_t)fd < u->fd_capacity && u->fd_ops[fd]) return -EBUSY;
    }
    aio__process_close_now(p);
    aio_scope_leave(&p->scope, p->owner);
    aio__process_unlink(u, p);
    return 0;
}
AIO_FN aio_result aio_process_spawn(aio_process *p, const struct aio_process_options *o)
{
    aio_task *t = aio_current_task();
    if (aio__forked_here()) return -EPERM;
    if (!t || !o || !o->argv || !o->argv[0]) return -EINVAL;
    aio_loop *l = AIO__LOOP_OF(t->waiter.future.loop);
    aio_result r = 0;
    aio_uring *u = aio__uring_of_loop(l, &r);
    if (!u) return r;
    if ((r = aio__process_renew(u, p)) < 0) return r;
    memset((void *)p, 0, sizeof *p);
    p->stdin_ = p->stdout_ = p->stderr_ = p->pty = p->pidfd = -1;
    if ((r = aio__process_begin(p, o)) < 0) return r;
    p->pid = (pid_t)r;
    p->parent = l->pid;
    p->ended.loop = &l->executor;
    p->sink.done = aio__process_polled;
    if ((r = aio__process_poll(u, p)) < 0) {
        aio__process_end_now(l, p);
        aio__process_close_now(p);
        p->pid = 0;
        return r;
    }
    aio__process_own(u, p);
    p->owner = t;
    p->next = u->processes;
    if (p->next) p->next->prev = p;
    u->processes = p;
    aio_scope_enter(&p->scope, t, aio__process_scope());
    return 0;
}
AIO_FN aio_result aio_process_kill(aio_process *p, int signal_number)
{
    if (aio__forked_here() || (p->pid && p->parent != getpid())) return -EPERM;
    if (!p->pid || signal_number < 0 || signal_number >= AIO__SIGNALS) return -EINVAL;
    if (p->pidfd < 0) return 0;                                                     // SP-2
    long r = syscall(AIO__SYS_PIDFD_SEND_SIGNAL, p->pidfd, signal_number, 0, 0);
    if (r < 0 && errno == ENOSYS) r = kill(p->pid, signal_number); // filtered: it is not reaped
    return r < 0 && errno != ESRCH ? -errno : 0;
}
// A cancelled wait leaves; the process goes on.
AIO_FN bool aio__process_wait_cancel(aio_waiter *w)
{
    aio__list_remove(&w->node);
    aio_complete(w, -ECANCELED);
    return true;
}
AIO_FN void aio__process_notify(aio_node *n, aio_future *f)
{
    aio__complete_as(AIO__CONTAINER(n, aio_waiter, node), f->result, aio__settled());
}
AIO_FN size_t aio__process_describe(const aio_waiter *w, char *text, size_t size)
{
    const aio_process *p = AIO__CONTAINER(w->node.u.list.target, aio_process, ended);
    size_t at = aio__append(text, size, 0, "process ");
    return aio__append_number(text, size, at, (uint64_t)p->pid);
}
AIO_TABLE(aio_wait_class, aio__process_wait_class,
    { "process", AIO__WAIT_OWN, aio__process_wait_cancel, 0, aio__process_notify, 0,
      aio__process_describe, aio__watch_dispose })
AIO_FN bool aio__process_wait_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_process *p = (aio_process *)a->u.p[0];
    if (aio__in_child(w)) return true;
    if (!p->pid) return aio__done_with(w, -EINVAL);
    if (p->ended.loop != w->future.loop) return aio__done_with(w, -EXDEV);
    if (p->ended.flags & AIO__DONE) return aio__done_with(w, p->ended.result);
    aio__list_add(&p->ended, &w->node);
    aio_waiter_begin(w, aio__process_wait_class());
    return false;
}
AIO_TABLE(aio_await_class, aio__process_wait_await,
    { aio__process_wait_start, "process", AIO__AWAIT_OWN })
AIO_FN AIO_NODISCARD aio_awaitable aio_process_wait(aio_process *p)
{
    return aio__sync_await(aio__process_wait_await(), p);
}
AIO_FN bool aio__close_stdin_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_process *p = (aio_process *)a->u.p[0];
    if (aio__in_child(w)) return true;
    if (!p->pid || p->stdin_ < 0) return aio__done_with(w, p->pid ? 0 : -EINVAL);
    aio_awaitable closes = aio_close(aio__process_take(p, 0));
    return aio__close_start(w, &closes);
}
AIO_TABLE(aio_await_class, aio__close_stdin_await,
    { aio__close_stdin_start, "close", AIO__AWAIT_OWN })
AIO_FN AIO_NODISCARD aio_awaitable aio_process_close_stdin(aio_process *p)
{
    return aio__sync_await(aio__close_stdin_await(), p);
}

// --- processes: all that goes in and comes out
struct aio__channel { aio_op op; int *fd; char *data; size_t room, *count; bool over; };
struct aio__communicate {
    aio_frame aio;
    aio_process *p;
    struct aio_process_io *io;
    struct aio__channel channels[3];
    aio_future *live[3];
    uint32_t live_count, i;
    aio_result r, error;
    char dropped[4096];             // what there is no room for; nobody looks at it
};
AIO_FN int *aio__channel_fd(aio_process *p, int *own) { return *own >= 0 ? own : &p->pty; }
AIO_FN void aio__communicate_open(struct aio__communicate *f)
{
    struct aio__channel *k = f->channels;
    f->error = 0;
    for (int i = 0; i < 3; i++) k[i].op.owner = 0;
    k[0].fd = aio__channel_fd(f->p, &f->p->stdin_);
    k[0].data = (char *)(uintptr_t)f->io->input;
    k[0].room = f->io->input_bytes;
    k[0].count = &f->io->input_count;
    k[0].over = *k[0].fd < 0;
    k[1].fd = aio__channel_fd(f->p, &f->p->stdout_);
    k[1].data = (char *)f->io->output;
    k[1].room = f->io->output_bytes;
    k[1].count = &f->io->output_count;
    k[1].over = *k[1].fd < 0;
    k[2].fd = &f->p->stderr_;
    k[2].data = (char *)f->io->errors;
    k[2].room = f->io->errors_bytes;
    k[2].count = &f->io->errors_count;
    k[2].over = *k[2].fd < 0;
}
AIO_FN aio_awaitable aio__channel_next(struct aio__communicate *f, struct aio__channel *k)
{
    size_t at = *k->count;
    if (k == f->channels) return aio_write_some(*k->fd, k->data + at, k->room - at);
    if (at < k->room) return aio_read_some(*k->fd, k->data + at, k->room - at);
    return aio_read_some(*k->fd, f->dropped, sizeof f->dropped);
}
// Begins what does not run yet, and lists what does.
AIO_FN void aio__communicate_begin(struct aio__communicate *f)
{
    f->live_count = 0;
    for (int i = 0; i < 3; i++) {
        struct aio__channel *k = &f->channels[i];
        if (!i && *k->count >= k->room) k->over = true;
        if (k->over) continue;
        if (!i) aio__ignore_sigpipe();          // on a loop of the user's own too
        aio_result r = k->op.owner ? 0 : aio_start(&k->op, aio__channel_next(f, k));
        if (r < 0) {
            k->over = true;
            f->error = r;
        } else {
            f->live[f->live_count++] = &k->op.waiter.future;
        }
    }
}
AIO_FN void aio__communicate_take(struct aio__communicate *f)
{
    for (int i = 0; i < 3; i++) {
        struct aio__channel *k = &f->channels[i];
        if (!aio_op_done(&k->op)) continue;
        aio_result r = aio_op_result(&k->op);
        if (r > 0) *k->count += (size_t)r;
        if (r == -ECANCELED || r > 0) continue;
        k->over = true;
        bool gone = (r == -EIO && k->fd == &f->p->pty) ||
                    (!i && (r == -EPIPE || r == -ECONNRESET));
        if (r < 0 && !gone) f->error = r;
    }
}
// The input is out, or nobody wants it: the process is told by the end of its stdin.
AIO_FN bool aio__communicate_input_over(const struct aio__communicate *f)
{
    return f->channels[0].over && f->p->stdin_ >= 0;
}
aio__async(aio__communicate) {
    if (!self->p->pid) return -EINVAL;
    aio__communicate_open(self);
    for (;;) {
        aio__communicate_begin(self);
        if (aio__communicate_input_over(self)) aio_await(aio_process_close_stdin(self->p));
        if (!self->live_count) break;
        aio_await(self->r, aio_wait(self->live, self->live_count, AIO_FIRST_COMPLETED));
        if (self->r < 0) break;
        aio__communicate_take(self);
    }
    if (self->live_count) {                     // cut short: what came is counted all the same
        for (self->i = 0; self->i < 3; self->i++) {
            if (!self->channels[self->i].op.owner) continue;
            aio_op_cancel(&self->channels[self->i].op);
            aio_await(aio__sync_await(aio__op_end_await(), &self->channels[self->i].op));
        }
        aio__communicate_take(self);
        return self->r;
    }
    for (self->i = 1; self->i < 4; self->i++)
        aio_await(aio_close(aio__process_take(self->p, self->i)));      // -1 if there is none
    aio_await(self->r, aio_process_wait(self->p));
    return self->r >= 0 && self->error < 0 ? self->error : self->r;
} aio_end
AIO_FN bool aio__communicate_start(aio_waiter *w, const aio_awaitable *a)
{
    if (aio__in_child(w) || aio__needs_task(w)) return true;
    struct aio__communicate *f = (struct aio__communicate *)aio__call_block(
        AIO__TASK_OF(w), AIO__OWN_CO(aio__communicate), sizeof *f);
    if (f) f->p = (aio_process *)a->u.p[0];
    if (f) f->io = (struct aio_process_io *)a->u.p[1];
    aio_awaitable call = aio__call_new(AIO__OWN_CO(aio__communicate), f);
    return aio__call_new_start(w, &call);
}
AIO_TABLE(aio_await_class, aio__communicate_await,
    { aio__communicate_start, "communicate", AIO__AWAIT_TASK_ONLY })
AIO_FN AIO_NODISCARD aio_awaitable aio_process_communicate(aio_process *p,
                                                           struct aio_process_io *io)
{
    aio_awaitable a = aio__sync_await(aio__communicate_await(), p);
    a.u.p[1] = io;
    return a;
}

// --- the backend's other calls
// Somebody closed the ring's descriptor, or the kernel gave the ring up: nothing will ever come of
// it.
AIO_FN bool aio__ring_gone(int r)
{
    return r == -EBADF || r == -EOPNOTSUPP || r == -ENXIO || r == -EOWNERDEAD;
}
AIO_COLD void aio__ring_abandon(aio_uring *u, int r)
{
    aio__loop_say(u->loop, "close gives up: the ring is gone; memory stays allocated", r);
    u->loop->abandoned = true;
}
AIO_FN void aio__uring_drain(aio_loop *l)
{
    aio_uring *u = (aio_uring *)l->backend_state;
    int64_t told = aio__clock();
    u->draining = true;
    aio__cancel_all(u);
    aio__disarm_wake(u);
    bool gone = true;
    while (l->in_flight || u->wake_armed) {
        if (u->lost) {
            (void)aio__lost_end(u);
            (void)aio__lost_let_go(u);
        }
        (void)aio__detours_tell(u);
        aio__backlog_flush(u);
        int r = aio__uring_enter(u, aio__cq_ready(u) ? 0 : AIO_SECOND / 10);
        if (!l->abandoned) aio__reap(u);
        gone = gone && (u->lost || aio__ring_gone(r));
        if (aio__clock() - told < AIO_SECOND) continue;
        if (gone) {
            aio__ring_abandon(u, r);
            aio__processes_end(u);
            return;
        }
        gone = true;
        told = aio__clock();
        if (l->in_flight)
            aio__loop_say(l, "close waits: the kernel has not let go of an operation", 0);
        aio__cancel_all(u);
        aio__disarm_wake(u);
    }
    if (l->abandoned) aio__ring_abandon(u, u->enter_error);
    aio__arena_reset(u);
    aio__streams_end(u);
    aio__flows_drop(u);
    for (aio_chain *c = u->chains; c; c = c->next) aio__chain_empty(c);
    aio__processes_end(u);
}
AIO_FN void aio__uring_close(aio_loop *l)
{
    aio_uring *u = (aio_uring *)l->backend_state;
    if (u->enter_flags & IORING_ENTER_REGISTERED_RING) io_uring_unregister_ring_fd(&u->ring);
    if (u->kernel) (u->kernel->close)(u);
    else io_uring_queue_exit(&u->ring);
    l->backend = 0;
    l->backend_state = 0;
    l->check_entries = 0;
}
// The child shares the ring's memory with its parent, and must not touch it.
AIO_FN void aio__uring_forked(aio_loop *l)
{
    aio_uring *u = (aio_uring *)l->backend_state;
    u->disabled = true;
    u->sq_room = 0;
    if (u->kernel) (u->kernel->forked)(u);
    close(u->ring.ring_fd);
}
AIO_TABLE(aio_backend, aio__uring_backend,
    { "io_uring", aio__uring_wait, 0, aio__uring_drain, aio__uring_close, aio__uring_forked })

// --- a kernel in user space
#ifdef __has_include
#  if __has_include("aio_epoll.h")
#    define AIO__EPOLL_KERNEL 1
#    include "aio_epoll.h"
#  endif
#endif
#ifdef AIO__EPOLL_KERNEL
AIO_FN const struct aio__kernel *aio__user_kernel(void) { return aio__ep_kernel(); }
#else
AIO_FN const struct aio__kernel *aio__user_kernel(void) { return 0; }
#endif

// --- attaching a ring
AIO_COLD bool aio__file_says(const char *path, const char *key, long *value)
{
    char line[256];
    bool found = false;
    FILE *f = fopen(path, "re");
    if (!f) return false;
    while (!found && fgets(line, sizeof line, f)) {
        if (strncmp(line, key, strlen(key))) continue;
        *value = strtol(line + strlen(key), 0, 10);
        found = true;
    }
    fclose(f);
    return found;
}
AIO_FN bool aio__refuses(aio_result r)      // io_uring itself, not for want of something
{
    return r == -ENOSYS || r == -EPERM || r == -EACCES || r == -EINVAL || r == -EOPNOTSUPP;
}
// One sentence: why io_uring is refused, and what to do.
AIO_COLD void aio__tell_refusal(aio_loop *l, aio_result why)
{
    char text[400];
    long disabled = 0, seccomp = 0;
    struct rlimit memlock = { 0, 0 };
    struct utsname uts;
    aio__file_says("/proc/sys/kernel/io_uring_disabled", "", &disabled);
    aio__file_says("/proc/self/status", "Seccomp:", &seccomp);
    getrlimit(RLIMIT_MEMLOCK, &memlock);
    if (uname(&uts)) strcpy(uts.release, "?");
    if (why == -ENOMEM)
        snprintf(text, sizeof text,
                 "io_uring: no memory for a ring: RLIMIT_MEMLOCK is %llu KiB for all rings "
                 "of this user; raise it (ulimit -l, or --ulimit memlock=-1 in a container)",
                 (unsigned long long)memlock.rlim_cur / 1024);
    else if (why == -EMFILE || why == -ENFILE)
        snprintf(text, sizeof text,
                 "io_uring: no descriptor left for a ring; raise the limit (ulimit -n)");
    else if (disabled)
        snprintf(text, sizeof text,
                 "io_uring is disabled on this machine: sysctl kernel.io_uring_disabled "
                 "is %ld; set it to 0 (or 1, and run as root or in kernel.io_uring_group)",
                 disabled);
    else if (seccomp == 2)
        snprintf(text, sizeof text, "io_uring is blocked by a seccomp filter (a container?); allow "
                 "io_uring_setup, io_uring_enter and io_uring_register in its profile");
    else if (why == -ENOSYS || why == -EINVAL)
        snprintf(text, sizeof text,
                 "io_uring: kernel %s is too old or was built without it; Linux 5.12 or "
                 "newer is needed",
                 uts.release);
    else
        snprintf(text, sizeof text,
                 "io_uring is refused by this system (a security module?), kernel %s", uts.release);
    if (aio__refuses(why) && !aio__user_kernel())
        strncat(text, "; with aio_epoll.h beside aio_io_uring.h it would run without",
                sizeof text - strlen(text) - 1);
    aio__loop_say(l, text, why);
}
// Set-up flags by age of the kernel; an unknown one is -EINVAL.
AIO_FN unsigned aio__uring_flags(unsigned level)
{
    unsigned flags = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE;                              // 5.6
    if (level <= 3) flags |= IORING_SETUP_SUBMIT_ALL;                                       // 5.18
    if (level <= 2) flags |= IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;         // 5.19
    if (level <= 1) flags |= IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;       // 6.1
    return flags;
}
AIO_FN bool aio__listed(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (; list; list = strchr(list, ',') ? strchr(list, ',') + 1 : 0) {
        if (!strncmp(list, name, n) && (!list[n] || list[n] == ',')) return true;
    }
    return false;
}
// Least privilege. A restricted ring refuses each operation, flag of an entry and registration that
// was not listed while it was disabled: so what the toolkit needs is listed beside `allow`.
static const uint8_t aio__own_registrations[] = {
    IORING_REGISTER_BUFFERS,       IORING_UNREGISTER_BUFFERS, IORING_REGISTER_FILES,
    IORING_REGISTER_FILES2,        IORING_UNREGISTER_FILES,   IORING_REGISTER_FILES_UPDATE,
    IORING_REGISTER_PROBE,         IORING_REGISTER_PBUF_RING, IORING_UNREGISTER_PBUF_RING,
    IORING_REGISTER_IOWQ_MAX_WORKERS, IORING_REGISTER_RING_FDS, IORING_UNREGISTER_RING_FDS,
};
enum {
    AIO__OWN_REGISTRATIONS = sizeof aio__own_registrations,
    AIO__RESTRICTIONS = 64 + AIO__OWN_REGISTRATIONS + 1,
};
AIO_FN bool aio__loops_own(unsigned op)
{
    return op == IORING_OP_NOP || op == IORING_OP_POLL_ADD || op == IORING_OP_POLL_REMOVE ||
           op == IORING_OP_ASYNC_CANCEL;
}
// Whether each name of the list, which may be empty, is one.
AIO_FN bool aio__all_known(const char *allow)
{
    unsigned names = *allow != 0, known = 0;
    for (const char *c = allow; *c; c++) names += *c == ',';
    for (unsigned op = 0; op < AIO__OPERATIONS; op++)
        known += aio__listed(allow, aio__opcode_name(op));
    return names == known;
}
// Result: how many restrictions.
AIO_FN unsigned aio__restrictions(const char *allow, struct io_uring_restriction *list)
{
    unsigned n = 0;
    for (unsigned op = 0; op < AIO__OPERATIONS; op++) {
        if (!aio__loops_own(op) && !aio__listed(allow, aio__opcode_name(op))) continue;
        list[n].opcode = IORING_RESTRICTION_SQE_OP;
        list[n++].sqe_op = (uint8_t)op;
    }
    for (unsigned i = 0; i < AIO__OWN_REGISTRATIONS; i++) {
        list[n].opcode = IORING_RESTRICTION_REGISTER_OP;
        list[n++].register_op = aio__own_registrations[i];
    }
    list[n].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
    list[n++].sqe_flags = IOSQE_FIXED_FILE | IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_ASYNC |
                          IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS;
    return n;
}
AIO_COLD aio_result aio__uring_restrict(aio_uring *u, const char *allow)
{
    struct io_uring_restriction list[AIO__RESTRICTIONS];
    memset(list, 0, sizeof list);
    unsigned n = aio__restrictions(allow, list);
    // Not every build of liburing exports its calls for these two.
    long r = syscall(SYS_io_uring_register, u->ring.ring_fd, IORING_REGISTER_RESTRICTIONS, list, n);
    if (!r) r = syscall(SYS_io_uring_register, u->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, 0, 0);
    if (!r) return 0;
    r = -errno;
    io_uring_queue_exit(&u->ring);
    return r;
}
struct aio__ring_size { unsigned sq, cq, level; };
AIO_FN struct aio__ring_size aio__ring_size_of(const struct aio_uring_options *options)
{
    const char *level = AIO__ENV("AIO_URING_LEVEL"), *entries = AIO__ENV("AIO_URING_ENTRIES");
    struct aio__ring_size s;
    s.level = level ? (unsigned)atoi(level) : 1;
    s.sq = options && options->sq_entries ? options->sq_entries : AIO_URING_SQ_ENTRIES;
    s.cq = options && options->cq_entries ? options->cq_entries : AIO_URING_CQ_ENTRIES;
    if (entries && atoi(entries) > 0) {
        s.sq = (unsigned)atoi(entries);
        s.cq = s.sq * 2;
    }
    if (s.cq < s.sq) s.cq = s.sq;
    return s;
}
AIO_FN aio_result aio__linux_set_up(aio_uring *u, struct aio__ring_size s, const char *allow)
{
    // The memory of a ring that was closed is free again some 50 ms later: worth a wait.
    const unsigned sq = s.sq, cq = s.cq;
    unsigned waits = 0;
    for (;;) {
        struct io_uring_params p;
        memset(&p, 0, sizeof p);
        p.flags = aio__uring_flags(s.level) | (allow ? IORING_SETUP_R_DISABLED : 0);
        p.cq_entries = s.cq;
        int r = io_uring_queue_init_params(s.sq, &u->ring, &p);
        u->level = s.level;
        if (r >= 0) return allow ? aio__uring_restrict(u, allow) : 0;
        if (r == -EINVAL && s.level < 4) s.level++;
        else if (r == -ENOMEM && s.sq > 8) s.sq /= 2, s.cq /= 2;
        else if (r == -ENOMEM && waits++ < 100) aio__enter_pause(), s.sq = sq, s.cq = cq;
        else return r;
    }
}
// Whoever lets rings be made may still refuse their use. Asked once per process.
AIO_COLD aio_result aio__linux_try(const aio_uring *u)
{
    union { struct io_uring_probe probe; char room[sizeof(struct io_uring_probe) + 64 * 8]; } p;
    memset((void *)&p, 0, sizeof p);
    int fd = u->ring.ring_fd;
    if (syscall(SYS_io_uring_register, fd, IORING_REGISTER_PROBE, &p, 64) < 0) return -errno;
    return syscall(SYS_io_uring_enter, fd, 0, 0, IORING_ENTER_GETEVENTS, 0, 0) < 0 ? -errno : 0;
}
// What the process has decided: AIO_KERNEL_ANY: nothing yet; `why` io_uring is not it.
struct aio__decision { int kernel; int why; };
__attribute__((weak, visibility("hidden"))) struct aio__decision aio__decision = { 0, 0 };
AIO_FN aio_result aio__linux_open(aio_uring *u, const struct aio_uring_options *options)
{
    const unsigned needed = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP |
                            IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_RW_CUR_POS |
                            IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG |
                            IORING_FEAT_NATIVE_WORKERS;
    aio_result r = aio__linux_set_up(u, aio__ring_size_of(options), options ? options->allow : 0);
    if (r < 0) return r;
    if ((u->ring.features & needed) != needed) r = -ENOSYS;
    else if (!__atomic_load_n(&aio__decision.kernel, __ATOMIC_RELAXED)) r = aio__linux_try(u);
    if (r < 0 && aio__refuses(r)) {
        io_uring_queue_exit(&u->ring);
        return r;
    }
    __atomic_store_n(&aio__decision.kernel, AIO_KERNEL_IO_URING, __ATOMIC_RELAXED);
    return 0;
}
AIO_FN aio_result aio__user_open(aio_uring *u, const struct aio_uring_options *options)
{
    struct aio__ring_size s = aio__ring_size_of(options);
    const char *allow = options ? options->allow : 0;
    uint64_t allowed = 0;
    for (unsigned op = 0; op < AIO__OPERATIONS; op++) {
        if (!allow || aio__loops_own(op) || aio__listed(allow, aio__opcode_name(op)))
            allowed |= aio__op_bit(op);
    }
    u->kernel = aio__user_kernel();
    if (!u->kernel) return -EOPNOTSUPP;
    int r = (u->kernel->open)(u, s.sq, s.cq, allowed);
    if (r < 0) u->kernel = 0;
    u->level = s.level;
    u->ring.flags = aio__uring_flags(s.level);
    return r;
}
// The environment's, the options', the process's; AIO_KERNEL_ANY: to be tried.
AIO_FN int aio__kernel_wanted(const struct aio_uring_options *options)
{
    const char *text = AIO__ENV("AIO_RING");
    if (text && !strcmp(text, "io_uring")) return AIO_KERNEL_IO_URING;
    if (text && !strcmp(text, "epoll")) return AIO_KERNEL_EPOLL;
    if (options && options->kernel) return options->kernel;
    return __atomic_load_n(&aio__decision.kernel, __ATOMIC_RELAXED);
}
AIO_SLOW aio_result aio__uring_open(aio_uring *u, const struct aio_uring_options *options)
{
    int wanted = aio__kernel_wanted(options);
    if (wanted == AIO_KERNEL_EPOLL) return aio__user_open(u, options);
    aio_result r = aio__linux_open(u, options);
    if (r >= 0 || wanted || !aio__refuses(r) || !aio__user_kernel()) return r;
    if (u->loop->debug) aio__loop_say(u->loop, "io_uring is refused: epoll in its place", r);
    __atomic_store_n(&aio__decision.why, (int)r, __ATOMIC_RELAXED);
    r = aio__user_open(u, options);
    if (r >= 0) __atomic_store_n(&aio__decision.kernel, AIO_KERNEL_EPOLL, __ATOMIC_RELAXED);
    return r;
}
// Which operations the kernel has. AIO_URING_WITHOUT takes some away.
AIO_FN void aio__uring_probe(aio_uring *u)
{
    union { struct io_uring_probe probe; char room[sizeof(struct io_uring_probe) + 64 * 8]; } p;
    const char *without = AIO__ENV("AIO_URING_WITHOUT");
    memset((void *)&p, 0, sizeof p);
    if (u->kernel) u->has = (u->kernel->has)();
    else if (io_uring_register_probe(&u->ring, &p.probe, 64) < 0) u->has = AIO__OPS_5_12;
    for (unsigned op = 0; op < AIO__OPERATIONS && op <= p.probe.last_op; op++) {
        if (p.probe.ops[op].flags & IO_URING_OP_SUPPORTED) u->has |= aio__op_bit(op);
    }
    for (unsigned op = 0; without && op < AIO__OPERATIONS; op++) {
        const struct aio__operation *o = aio__operation_of(op);
        if (o->kernel > 512 && aio__listed(without, o->name)) u->has &= ~aio__op_bit(op);
    }
}
AIO_FN void aio__linux_adopt(aio_uring *u, unsigned *workers)
{
    struct io_uring *ring = &u->ring;
    const char *preload = AIO__ENV("LD_PRELOAD");
    u->polls = preload && strstr(preload, "vgpreload");
    // 5.18 has it too, but some 5.15 claims it and hangs when it is given back
    if ((ring->flags & IORING_SETUP_SINGLE_ISSUER) && io_uring_register_ring_fd(ring) == 1)
        u->enter_flags |= IORING_ENTER_REGISTERED_RING;
    io_uring_register_iowq_max_workers(ring, workers);      // else one per blocked operation
    io_uring_ring_dontfork(ring);
}
AIO_SLOW void aio__uring_adopt(aio_uring *u, const struct aio_uring_options *options)
{
    struct io_uring *ring = &u->ring;
    u->sqes = ring->sq.sqes;
    u->sq_khead = ring->sq.khead;
    u->sq_ktail = ring->sq.ktail;
    u->sq_kflags = ring->sq.kflags;
    u->cq_khead = ring->cq.khead;
    u->cq_ktail = ring->cq.ktail;
    u->cqes = ring->cq.cqes;
    u->sq_entries = u->sq_room = *ring->sq.kring_entries;
    u->sq_mask = *ring->sq.kring_mask;
    u->cq_mask = *ring->cq.kring_mask;
    u->sq_tail = u->sq_head = *ring->sq.ktail;
    u->enter_flags = IORING_ENTER_GETEVENTS;
    if (ring->features & AIO__FEAT_NO_IOWAIT) u->enter_flags |= AIO__ENTER_NO_IOWAIT;
    unsigned workers[2] = { 0, options && options->workers ? options->workers : 64 };
    if (u->kernel) aio__ring_register(u, IORING_REGISTER_IOWQ_MAX_WORKERS, 0, workers[1]);
    else aio__linux_adopt(u, workers);
    u->enter_fd = ring->enter_ring_fd;
    u->has_cancel_all = ring->flags & IORING_SETUP_COOP_TASKRUN;        // came with it
    aio__uring_probe(u);
}
AIO_FN aio_result aio_uring_attach(aio_loop *l, const struct aio_uring_options *options)
{
    if (l->forked) return -EPERM;
    if (l->backend_state) return -EALREADY;
    aio_result r = aio__loop_own(l);
    if (r < 0) return r;
    if (options && options->allow && !aio__all_known(options->allow)) {
        aio__loop_say(l, "aio_uring_options.allow names what is no operation", -EINVAL);
        return -EINVAL;
    }
    aio_uring *u = (aio_uring *)aio__chunk_new(&l->executor, sizeof *u + AIO__ARENA_BYTES);
    if (!u) return -ENOMEM;
    memset((void *)u, 0, sizeof *u);
    u->loop = l;
    u->seeks_fd = -1;
    u->arena = (char *)(u + 1);
    u->arena_size = AIO__ARENA_BYTES;
    r = aio__uring_open(u, options);
    if (r < 0) {
        aio__chunk_free(&l->executor, u);
        if (l->backend_refusal != r) aio__tell_refusal(l, r);       // once, not for each operation
        l->backend_refusal = r;
        return r;
    }
    aio__uring_adopt(u, options);
    l->backend = aio__uring_backend();
    l->backend_state = u;
    l->check_entries = aio__check_entries;
    return 0;
}

// --- registered buffers, direct descriptors
AIO_FN aio_result aio__uring_for(aio_loop *l, aio_uring **u)
{
    if (!l && !aio__running()) return -EINVAL;
    if (!l) l = AIO__LOOP_OF(aio__running());
    aio_result r = l->forked ? -EPERM : aio__loop_own(l);
    if (r >= 0 && !l->backend_state) r = aio_uring_attach(l, 0);
    *u = (aio_uring *)l->backend_state;
    return r;
}
AIO_FN aio_result aio_buffers_register(aio_loop *l, const struct iovec *buffers, unsigned n)
{
    aio_uring *u;
    aio_result r = aio__uring_for(l, &u);
    if (r < 0) return r;
    void *all = (void *)(uintptr_t)buffers;
    r = n ? aio__ring_register(u, IORING_REGISTER_BUFFERS, all, n) : -EINVAL;
    if (r >= 0) u->buffers = n;
    return r;
}
AIO_FN aio_result aio_buffers_unregister(aio_loop *l)
{
    aio_uring *u;
    aio_result r = aio__uring_for(l, &u);
    if (r < 0) return r;
    if (!u->buffers) return -ENXIO;
    if (u->buffer_ops) return -EBUSY;
    r = aio__ring_register(u, IORING_UNREGISTER_BUFFERS, 0, 0);
    if (r >= 0) u->buffers = 0;
    return r;
}
AIO_FN aio_result aio_direct_register(aio_loop *l, unsigned slots)
{
    aio_uring *u;
    struct rlimit limit;
    aio_result r = aio__uring_for(l, &u);
    if (r < 0) return r;
    if (!slots) return -EINVAL;
    if (!getrlimit(RLIMIT_NOFILE, &limit) && slots > limit.rlim_cur) return -EMFILE;
    r = aio__ring_register(u, IORING_REGISTER_FILES2, 0, slots);
    if (r == -EINVAL) {                             // before 5.19
        size_t size = (size_t)slots * sizeof(int);
        int *none = (int *)aio__chunk_new(&u->loop->executor, size);
        if (!none) return -ENOMEM;
        memset(none, 0xff, size);
        r = aio__ring_register(u, IORING_REGISTER_FILES, none, slots);
        aio__chunk_free(&u->loop->executor, none);
    }
    if (r >= 0) u->direct = slots;
    return r;
}
AIO_FN aio_result aio_direct_unregister(aio_loop *l)
{
    aio_uring *u;
    aio_result r = aio__uring_for(l, &u);
    if (r < 0) return r;
    if (!u->direct) return -ENXIO;
    if (u->direct_ops) return -EBUSY;
    r = aio__ring_register(u, IORING_UNREGISTER_FILES, 0, 0);
    if (r >= 0) u->direct = 0;
    return r;
}
AIO_FN aio_result aio_direct_put(aio_loop *l, unsigned slot, int fd)
{
    aio_uring *u;
    aio_result r = aio__uring_for(l, &u);
    if (r < 0) return r;
    if (slot >= u->direct) return -EBADF;
    r = aio__ring_register(u, IORING_REGISTER_FILES_UPDATE, &fd, slot);
    return r < 0 ? r : r == 1 ? 0 : -EBADF;
}
AIO_FN aio_result aio_direct_close(aio_loop *l, unsigned slot)
{
    return aio_direct_put(l, slot, -1);
}

// --- what there is
AIO_FN const char *aio__how(const aio_uring *u, unsigned op, const struct aio__operation *o)
{
    bool has = aio__has(u, op);
    if (u->kernel) return (u->kernel->how)(op);
    if (o->without == AIO__WITHOUT_CALL)
        return has ? "system call; for direct descriptors the ring" : "system call";
    if (has) return o->traits & AIO__OP_WORKER ? "ring, on a kernel thread" : "ring";
    if (o->without == AIO__WITHOUT_JOB) return "system call on a thread of the pool";
    if (o->without == AIO__WITHOUT_POLL) return "ring waits (poll), then a system call";
    return "not available";
}
AIO_FN void aio__report_kernel(const aio_uring *u, FILE *to)
{
    const char *text = AIO__ENV("AIO_RING");
    int why = __atomic_load_n(&aio__decision.why, __ATOMIC_RELAXED);
    fprintf(to, "operations by %s: ", u->kernel ? u->kernel->name : "io_uring");
    if (text && *text) fprintf(to, "AIO_RING=%s\n", text);
    else if (!u->kernel) fprintf(to, "the system has it\n");
    else if (why) fprintf(to, "io_uring is refused: %s\n", aio_strerror(why));
    else fprintf(to, "aio_uring_options.kernel\n");
}
AIO_FN void aio__report_ring(const aio_uring *u, FILE *to)
{
    struct utsname uts;
    if (uname(&uts)) strcpy(uts.release, "?");
    fprintf(to, "kernel %s, liburing %s\n", uts.release, AIO__LIBURING);
    aio__report_kernel(u, to);
    if (u->kernel) return;
    fprintf(to, "ring: %u entries, completions %u, set-up flags 0x%x (rung %u of 4: %s)\n",
            u->sq_entries, u->cq_mask + 1, u->ring.flags, u->level,
            u->level == 1   ? "6.1 and newer"
            : u->level == 2 ? "5.19"
            : u->level == 3 ? "5.18"
                            : "5.12");
    fprintf(to, "features 0x%x; ring descriptor %s; idle time %s\n", u->ring.features,
            u->enter_flags & IORING_ENTER_REGISTERED_RING ? "registered" : "not registered (5.18)",
            u->enter_flags & AIO__ENTER_NO_IOWAIT ? "counts as idle" : "counts as iowait (6.15)");
    fprintf(to, "registered: %u buffers (%u operations use them), %u direct descriptors (%u)\n",
            u->buffers, u->buffer_ops, u->direct, u->direct_ops);
}
AIO_FN void aio_uring_report(aio_loop *l, FILE *to)
{
    aio_uring *u;
    aio_result r = aio__uring_for(l, &u);
    if (r < 0) {
        fprintf(to, "no ring: %s\n", aio_strerror(r));
        return;
    }
    aio__report_ring(u, to);
    for (unsigned op = 0; op < AIO__OPERATIONS; op++) {
        const struct aio__operation *o = aio__operation_of(op);
        fprintf(to, "%-18s %s", o->name, aio__how(u, op, o));
        if (!aio__has(u, op) && !u->kernel)
            fprintf(to, " (the ring: Linux %d.%d)", o->kernel / 100, o->kernel % 100);
        fputc('\n', to);
    }
}
#endif
