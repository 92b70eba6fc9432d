// uring.h - what the tests of aio_io_uring.h share: a run that must leave nothing behind, hooks in
// the system calls of the ring, descriptors to play with. SPDX-License-Identifier: MIT
#ifndef TEST_URING_H
#define TEST_URING_H

#include "test.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

// --- hooks: what the header calls goes through these
static struct {
    long enters;        // calls of io_uring_enter so far
    long waits;         // those that may sleep
    unsigned flags;     // of the last
    long spilled;       // completions that did not fit into the ring
    int (*enter)(unsigned fd, unsigned submit, unsigned wait, unsigned flags, sigset_t *extra,
                 size_t size);
    int (*init)(unsigned entries, struct io_uring *ring, struct io_uring_params *p);
    int (*socket)(int domain, int type, int protocol);
    void (*exit)(void);     // the ring goes now
    bool user_kernel;       // the ring that was entered last is one in user space
    long bad_closes;    // by the header, of what is no descriptor: perhaps somebody else's by then
    void (*clock)(void);    // the clock was read
    int (*getaddrinfo)(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **result);
} uring_hook;

TEST_FN int uring_enter(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                        sigset_t *extra, size_t size)
{
    __atomic_fetch_add(&uring_hook.enters, 1, __ATOMIC_RELAXED);       // by several loops at a time
    __atomic_fetch_add(&uring_hook.waits, wait != 0, __ATOMIC_RELAXED);
    __atomic_store_n(&uring_hook.flags, flags, __ATOMIC_RELAXED);
    if (uring_hook.enter) return uring_hook.enter(fd, submit, wait, flags, extra, size);
    return io_uring_enter2(fd, submit, wait, flags, extra, size);
}
TEST_FN int uring_init(unsigned entries, struct io_uring *ring, struct io_uring_params *p)
{
    if (uring_hook.init) return uring_hook.init(entries, ring, p);
    return io_uring_queue_init_params(entries, ring, p);
}
TEST_FN int uring_socket(int domain, int type, int protocol)
{
    if (uring_hook.socket) return uring_hook.socket(domain, type, protocol);
    return socket(domain, type, protocol);
}
TEST_FN void uring_exit(struct io_uring *ring)
{
    if (uring_hook.exit) uring_hook.exit();
    io_uring_queue_exit(ring);
}
TEST_FN int uring_clock(clockid_t id, struct timespec *ts)
{
    int r = clock_gettime(id, ts);
    if (uring_hook.clock) uring_hook.clock();
    return r;
}
TEST_FN int uring_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                              struct addrinfo **result)
{
    if (uring_hook.getaddrinfo) return uring_hook.getaddrinfo(host, service, hints, result);
    return getaddrinfo(host, service, hints, result);
}
TEST_FN int uring_close(int fd)
{
    int r = close(fd);
    // A kernel in user space closes what it is told to.
    uring_hook.bad_closes += r < 0 && errno == EBADF && !uring_hook.user_kernel;
    return r;
}
struct aio_uring;
static int uring_user_enter(struct aio_uring *u, uint32_t submit, int64_t timeout_ns);
#define AIO__USER_ENTER uring_user_enter
#define io_uring_enter2 uring_enter
#define io_uring_queue_init_params uring_init
#define io_uring_queue_exit uring_exit
#define socket uring_socket
#define close uring_close
#define clock_gettime uring_clock
#define getaddrinfo uring_getaddrinfo
#include "aio_io_uring.h"
#undef io_uring_enter2
#undef io_uring_queue_init_params
#undef io_uring_queue_exit
#undef socket
#undef close
#undef clock_gettime
#undef getaddrinfo

// The hooks see a kernel in user space as they see Linux: what they hand on comes back here.
static __thread aio_uring *uring_user;
TEST_FN int uring_forward(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                          sigset_t *extra, size_t size)
{
    const struct io_uring_getevents_arg *arg = (const struct io_uring_getevents_arg *)(void *)extra;
    int64_t timeout_ns = wait ? AIO_FOREVER : 0;
    if (!uring_user) return io_uring_enter2(fd, submit, wait, flags, extra, size);
    if (wait && (flags & IORING_ENTER_EXT_ARG)) {
        const struct __kernel_timespec *ts = (const struct __kernel_timespec *)(uintptr_t)arg->ts;
        timeout_ns = ts->tv_sec * AIO_SECOND + ts->tv_nsec;
    }
    return uring_user->kernel->enter(uring_user, submit, timeout_ns);
}
static int uring_user_enter(aio_uring *u, uint32_t submit, int64_t timeout_ns)
{
    struct __kernel_timespec ts;
    struct io_uring_getevents_arg arg;
    unsigned flags = IORING_ENTER_GETEVENTS;
    bool limited = timeout_ns && timeout_ns != AIO_FOREVER;
    uring_hook.user_kernel = true;
    if (!uring_hook.enter) {
        __atomic_fetch_add(&uring_hook.enters, 1, __ATOMIC_RELAXED);
        __atomic_fetch_add(&uring_hook.waits, timeout_ns != 0, __ATOMIC_RELAXED);
        __atomic_store_n(&uring_hook.flags, flags, __ATOMIC_RELAXED);
        return u->kernel->enter(u, submit, timeout_ns);
    }
    memset(&arg, 0, sizeof arg);
    ts.tv_sec = timeout_ns / AIO_SECOND;
    ts.tv_nsec = timeout_ns % AIO_SECOND;
    arg.ts = (uint64_t)(uintptr_t)&ts;
    uring_user = u;
    int r = uring_enter((unsigned)u->ring.ring_fd, submit, timeout_ns != 0,
                        limited ? flags | IORING_ENTER_EXT_ARG : flags,
                        limited ? (sigset_t *)(void *)&arg : 0, limited ? sizeof arg : _NSIG / 8);
    uring_user = 0;
    return r;
}
#define io_uring_enter2 uring_forward

// --- a run that must leave nothing behind: no descriptor, no memory, no report
static struct test_memory uring_memory;
static char uring_told[4096];       // what went to on_error, a line each
static int uring_reports;
static int uring_fds_before;
static struct uring_expect { bool reports; long bad_closes; } uring_expect;

TEST_FN void uring_on_error(aio_loop *l, const struct aio_report *r, void *context)
{
    size_t at = strlen(uring_told);
    (void)l;
    (void)context;
    uring_reports++;
    if (!strcmp(r->message, "task was destroyed but it is pending")) uring_reports--;
    snprintf(uring_told + at, sizeof uring_told - at, "%s: %s\n", r->message,
             aio_strerror(r->error));
}
TEST_FN int uring_count_fds(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d)) n++;
    closedir(d);
    return n - 3;
}
TEST_FN struct aio_loop_options uring_options(void)
{
    struct aio_loop_options o;
    memset(&o, 0, sizeof o);
    o.on_error = uring_on_error;
    o.allocator.allocate = test_allocate;
    o.allocator.release = test_release;
    o.allocator.context = &uring_memory;
    return o;
}
TEST_FN void uring_begin(void)
{
    aio__running_executor = 0;      // a test that failed inside a run has left them
    aio__loops.first = 0;
    memset(&uring_memory, 0, sizeof uring_memory);
    uring_told[0] = 0;
    uring_reports = 0;
    uring_hook.bad_closes = 0;
    uring_fds_before = uring_count_fds();
}
TEST_FN void uring_check(const char *file, int line)
{
    int fds = uring_count_fds();
    if (uring_reports && !uring_expect.reports) print_error("reported: %s", uring_told);
    if (fds != uring_fds_before)
        print_error("%d descriptors before, %d after\n", uring_fds_before, fds);
    if (uring_memory.blocks) print_error("%ld blocks are left\n", uring_memory.blocks);
    long twice = uring_hook.user_kernel ? 0 : uring_hook.bad_closes - uring_expect.bad_closes;
    if (twice) print_error("%ld descriptors were closed twice\n", twice);
    bool bad = twice || fds != uring_fds_before || uring_memory.blocks ||
               (uring_reports && !uring_expect.reports);
    uring_expect.reports = false;
    uring_expect.bad_closes = 0;
    if (bad) _fail(file, line);
}
// run(name, .argument = …): aio_run with all that watched.
#define run(...) __extension__({ \
    struct aio_loop_options run_options = uring_options(); \
    uring_begin(); \
    aio_result run_result = aio_run_with(&run_options, __VA_ARGS__); \
    uring_check(__FILE__, __LINE__); \
    run_result; })
// The next run may report something: read uring_told.
TEST_FN void expect_reports(void) { uring_expect.reports = true; }
// The next run closes so many times what is no descriptor, on purpose.
TEST_FN void expect_bad_closes(long n) { uring_expect.bad_closes = n; }

// The running loop's ring; null while it closes.
TEST_FN aio_uring *uring_of_loop(void)
{
    aio_loop *l = aio_running_loop();
    return l ? (aio_uring *)l->backend_state : 0;
}
// Inside a coroutine: lets the loop take completions without running a task.
TEST_FN void uring_reap_now(void)
{
    aio_loop *l = aio_running_loop();
    l->backend->wait(l, 0);
}
// Inside a coroutine: the same, until that task's wait is over.
TEST_FN void uring_reap_until_ready(const aio_task *t)
{
    for (int i = 0; i < 2000 && t->waiter.node.cls->kind != AIO__WAIT_READY; i++) {
        uring_reap_now();
        if (t->waiter.node.cls->kind != AIO__WAIT_READY) usleep(1000);
    }
    assert_int_equal(t->waiter.node.cls->kind, AIO__WAIT_READY);
}
// From outside: turns until that task waits for this.
TEST_FN void uring_turns_until(aio_loop *l, const aio_task *t, const char *name)
{
    aio_handle again;
    for (int i = 0; i < 20000 && strcmp(t->waiter.node.cls->name, name); i++) {
        aio_loop_stop(l);
        aio_call_soon(l, &again, aio__nothing, NULL);
        assert_int_equal(aio_loop_run_forever(l), 0);
        if (i % 8 == 0) usleep(100);
    }
    assert_string_equal(t->waiter.node.cls->name, name);
}
// Inside a coroutine: the kernel posts what it has, nobody takes it.
TEST_FN void uring_post_now(void)
{
    if (uring_of_loop()) aio__uring_enter(uring_of_loop(), 0);
}

// An operation is made a no-op, and its result is put in: uring_hook.enter = uring_fake_enter,
// after uring_fake was set.
static struct {
    int opcode;         // which; negative: any
    int result, skip;   // skip: so many before it
    int done;           // how many there were; one is enough
} uring_fake;
TEST_FN int uring_fake_enter(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                             sigset_t *extra, size_t size)
{
    aio_uring *u = uring_of_loop();
    uint64_t target = 0;
    for (uint32_t i = 0; u && i < submit; i++) {
        struct io_uring_sqe *sqe = &u->sqes[(u->sq_tail - submit + i) & u->sq_mask];
        bool match = uring_fake.opcode < 0 || sqe->opcode == uring_fake.opcode;
        if (target || uring_fake.done || !match || !(sqe->user_data & AIO__UD_POINTER)) continue;
        if ((sqe->user_data & 7) == AIO__UD_CLOSING) continue;
        if (uring_fake.skip-- > 0) continue;
        target = sqe->user_data;
        const uint8_t links =
            sqe->flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_CQE_SKIP_SUCCESS);
        memset((void *)sqe, 0, sizeof *sqe);
        sqe->opcode = IORING_OP_NOP;
        sqe->user_data = target;
        sqe->flags = links;
        if (!links) continue;
        sqe->rw_flags = 1; // IORING_NOP_INJECT_RESULT: the kernel fails it, and
        sqe->len = (uint32_t)uring_fake.result;     // with it what is linked to it
    }
    uint32_t tail = u ? *u->cq_ktail : 0;
    int r = io_uring_enter2(fd, submit, wait, flags, extra, size);
    for (; target && tail != *u->cq_ktail; tail++) {
        struct io_uring_cqe *cqe = &u->cqes[tail & u->cq_mask];
        if (cqe->user_data != target) continue;
        cqe->res = uring_fake.result;
        uring_fake.done++;
    }
    return r;
}
// What a caller that was not cancelled sees of it.
TEST_FN aio_result uring_seen(aio_result result)
{
    return result == -ECANCELED ? -EIO : result <= -512 && result >= -516 ? -EINTR : result;
}

// The same, until something is there. (In Linux 6.1 a worker reads a pipe, when it comes to it.)
TEST_FN void uring_post_until_there(void)
{
    const aio_uring *u = uring_of_loop();
    for (int i = 0; i < 100000 && (!i || *u->cq_ktail == *u->cq_khead); i++) {
        uring_post_now();
        if (*u->cq_ktail == *u->cq_khead) usleep(100);
    }
}

// Whether Linux is that new.
TEST_FN bool kernel_is(long major, long minor)
{
    struct utsname name;
    char *end;
    uname(&name);
    long has_major = strtol(name.release, &end, 10);
    long has_minor = *end ? strtol(end + 1, NULL, 10) : 0;
    return has_major > major || (has_major == major && has_minor >= minor);
}

// --- coroutines that many tests use
// Awaits one thing.
typedef aio_awaitable (*make_fn)(void *arg);
struct one { aio_frame aio; make_fn make; void *arg; };
aio_async(one) {
    aio_result r;
    aio_await(r, self->make(self->arg));
    return r;
} aio_end
#define run_one(make_, arg_) run(one, .make = make_, .arg = arg_)
// Awaits one thing, then another turn; keeps both results.
struct two { aio_frame aio; make_fn make; void *arg; aio_result first, second; bool uncancel; };
aio_async(two) {
    self->second = 77;
    aio_await(self->first, self->make(self->arg));
    if (self->uncancel) aio_task_uncancel(aio_current_task());
    aio_await(self->second, aio_sleep(0));
    return 0;
} aio_end
#define MAKE(name, type, expression) \
    static aio_awaitable name(void *arg) { type *a = (type *)arg; (void)a; return expression; }

// valgrind lets no other thread run while one is in io_uring_enter.
TEST_FN bool under_valgrind(void)
{
    const char *preload = getenv("LD_PRELOAD");
    return preload && strstr(preload, "vgpreload");
}

// --- descriptors
TEST_FN int pair_of(int fds[2]) { return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds); }
TEST_FN struct sockaddr_in loopback(int port)
{
    struct sockaddr_in a;
    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_port = htons((uint16_t)port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}
TEST_FN int port_of(int fd)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &n) < 0) return -1;
    return ntohs(((struct sockaddr_in *)(void *)&a)->sin_port);
}
TEST_FN int tcp_listener(int backlog)
{
    struct sockaddr_in a = loopback(0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, backlog) < 0) return -1;
    return fd;
}
TEST_FN int tcp_client(int port)
{
    struct sockaddr_in a = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        close(fd);
        return -errno;
    }
    return fd;
}
// Can somebody listen on that port (without SO_REUSEADDR)?
TEST_FN bool port_is_free(int port)
{
    struct sockaddr_in a = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = !bind(fd, (struct sockaddr *)&a, sizeof a) && !listen(fd, 1);
    close(fd);
    return ok;
}
TEST_FN bool has_data(int fd)
{
    struct pollfd p = { fd, POLLIN, 0 };
    return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}
TEST_FN size_t fill(int fd)             // until nothing more goes in
{
    char block[4096] = { 0 };
    size_t total = 0;
    ssize_t n;
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    while ((n = write(fd, block, sizeof block)) > 0) total += (size_t)n;
    while ((n = write(fd, block, 1)) > 0) total += (size_t)n;
    fcntl(fd, F_SETFL, flags);
    return total;
}
TEST_FN size_t empty(int fd)
{
    char block[4096];
    size_t total = 0;
    ssize_t n;
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    while ((n = read(fd, block, sizeof block)) > 0) total += (size_t)n;
    fcntl(fd, F_SETFL, flags);
    return total;
}
// A file with this content, without a name.
TEST_FN int temp_file(const char *content)
{
    char path[] = "/tmp/aio-test-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    unlink(path);
    if (*content && write(fd, content, strlen(content)) < 0) return -1;
    lseek(fd, 0, SEEK_SET);
    return fd;
}
#endif
