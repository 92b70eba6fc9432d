// Every operation of aio_io_uring.h: its success, its natural errors.
#include "uring.h"
#include <limits.h>
#include <sys/mman.h>

enum { GONE = 900 };       // no descriptor has this number

struct w {
    int fds[2], fd;
    char buf[4096];
    const char *text;
    size_t n, done;
    int64_t at;
    struct sockaddr_in to;
    struct statx stx;
    struct io_uring_sqe sqe;
    int domain, type, how, port;
    unsigned events;
};

// --- nothing
MAKE(m_nop, void, aio_nop())
static void nop_is_0(void **state) { (void)state; assert_result(run_one(m_nop, 0), 0); }

// --- sockets: plain calls
MAKE(m_socket, struct w, aio_socket(a->domain, a->type, 0))
static void socket_bind_listen(void **state)
{
    (void)state;
    struct w w = { .domain = AF_INET, .type = SOCK_STREAM };
    uring_begin();
    uring_fds_before++;
    struct aio_loop_options o = uring_options();
    int fd = (int)aio_run_with(&o, one, .make = m_socket, .arg = &w);
    assert_true(fd >= 0);
    uring_check(__FILE__, __LINE__);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
    w.domain = 12345;
    assert_result(run_one(m_socket, &w), -EAFNOSUPPORT);
}
MAKE(m_bind, struct w, aio_bind(a->fd, (struct sockaddr *)&a->to, sizeof a->to))
MAKE(m_listen, struct w, aio_listen(a->fd, 5))
static void bind_and_listen_report_their_errors(void **state)
{
    (void)state;
    struct w w = { .to = loopback(0) };
    w.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_result(run_one(m_bind, &w), 0);
    assert_result(run_one(m_bind, &w), -EINVAL);        // bound already
    assert_result(run_one(m_listen, &w), 0);
    struct w second = { .to = loopback(port_of(w.fd)) };
    second.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_result(run_one(m_bind, &second), -EADDRINUSE);
    close(second.fd);
    close(w.fd);
    w.fd = -1;
    assert_result(run_one(m_bind, &w), -EBADF);
    assert_result(run_one(m_listen, &w), -EBADF);
}
MAKE(m_shutdown, struct w, aio_shutdown(a->fd, a->how))
static void shutdown_ends_a_direction(void **state)
{
    (void)state;
    struct w w = { .how = SHUT_WR };
    char c;
    pair_of(w.fds);
    w.fd = w.fds[0];
    assert_result(run_one(m_shutdown, &w), 0);
    assert_int_equal(read(w.fds[1], &c, 1), 0);
    w.how = 99;
    assert_result(run_one(m_shutdown, &w), -EINVAL);
    close(w.fds[0]);
    close(w.fds[1]);
    w.fd = GONE;
    assert_result(run_one(m_shutdown, &w), -EBADF);
}

// --- accept, connect
MAKE(m_accept, struct w, aio_accept(a->fd))
MAKE(m_connect, struct w, aio_connect(a->fd, (struct sockaddr *)&a->to, sizeof a->to))
MAKE(m_connect_long, struct w, aio_connect(a->fd, (struct sockaddr *)&a->to, 4000))
MAKE(m_connect_null, struct w, aio_connect(a->fd, 0, 16))
struct meet { aio_frame aio; int listener, client, accepted; };
struct connect_local { aio_frame aio; int fd, port; };
aio_async(connect_local) {
    struct sockaddr_in to;      // gone when the kernel reads it
    to = loopback(self->port);
    aio_await(aio_connect(self->fd, (struct sockaddr *)&to, sizeof to));
    return 0;
} aio_end
aio_async(meet) {
    aio_result r;
    aio_detach(aio_spawn(connect_local, .fd = self->client, .port = port_of(self->listener)));
    aio_await(self->accepted, aio_accept(self->listener));
    aio_await(r, aio_sleep(AIO_MSEC));
    return r < 0 ? r : self->accepted;
} aio_end
static void accept_gives_a_descriptor_close_on_exec(void **state)
{
    (void)state;
    struct w w = { .fd = tcp_listener(4) };
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uring_begin();
    uring_fds_before++;
    struct aio_loop_options o = uring_options();
    int fd = (int)aio_run_with(&o, meet, .listener = w.fd, .client = client);
    uring_check(__FILE__, __LINE__);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(write(client, "x", 1), 1);
    close(fd);
    close(client);
    close(w.fd);
    w.fd = GONE;
    assert_result(run_one(m_accept, &w), -EBADF);
    w.fd = temp_file("");
    assert_result(run_one(m_accept, &w), -ENOTSOCK);
    close(w.fd);
}
static void connect_errors(void **state)
{
    (void)state;
    int listener = tcp_listener(1), port = port_of(listener);
    struct w w = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .to = loopback(port) };
    close(listener);
    assert_result(run_one(m_connect, &w), -ECONNREFUSED);
    assert_result(run_one(m_connect_long, &w), -EINVAL);
    assert_result(run_one(m_connect_null, &w), -EINVAL);
    close(w.fd);
    w.fd = GONE;
    assert_result(run_one(m_connect, &w), -EBADF);
}

// --- recv, send
MAKE(m_recv, struct w, aio_recv(a->fd, a->buf, a->n ? a->n : sizeof a->buf, a->how))
MAKE(m_send, struct w, aio_send(a->fd, a->text, strlen(a->text), a->how))
static void recv_and_send(void **state)
{
    (void)state;
    struct w w = { .text = "hello" };
    pair_of(w.fds);
    w.fd = w.fds[0];
    assert_result(run_one(m_send, &w), 5);
    w.fd = w.fds[1];
    assert_result(run_one(m_recv, &w), 5);
    assert_memory_equal(w.buf, "hello", 5);
    w.how = MSG_DONTWAIT;
    assert_result(run_one(m_recv, &w), -EAGAIN);
    w.how = 0;
    close(w.fds[0]);
    assert_result(run_one(m_recv, &w), 0);
    assert_result(run_one(m_send, &w), -EPIPE);         // and no SIGPIPE: see the next
    close(w.fds[1]);
    w.fd = GONE;
    assert_result(run_one(m_recv, &w), -EBADF);
    w.fd = -1;
    assert_result(run_one(m_recv, &w), -EBADF);
    w.fd = temp_file("x");
    assert_result(run_one(m_recv, &w), -ENOTSOCK);
    close(w.fd);
}
static void hazard_26_contract_13_send_never_raises_sigpipe(void **state)
{
    (void)state;
    struct w w = { .text = "hello" };
    struct sigaction old, dfl;
    memset(&dfl, 0, sizeof dfl);
    dfl.sa_handler = SIG_DFL;
    pair_of(w.fds);
    close(w.fds[1]);
    w.fd = w.fds[0];
    signal(SIGPIPE, SIG_DFL);
    aio_loop l;
    struct aio_loop_options o = uring_options();
    uring_begin();
    assert_result(aio_loop_init(&l, &o), 0);
    aio_task *t = aio_spawn_on(&l, one, .make = m_send, .arg = &w);
    assert_result(aio_loop_run_until_complete(&l, t), -EPIPE);
    aio_detach(t);
    aio_loop_close(&l);
    uring_check(__FILE__, __LINE__);
    sigaction(SIGPIPE, 0, &old);
    assert_ptr_equal(old.sa_handler, SIG_DFL);          // aio_loop_init leaves it alone
    close(w.fds[0]);
    assert_result(run_one(m_nop, 0), 0);
    sigaction(SIGPIPE, &dfl, &old);
    assert_ptr_equal(old.sa_handler, SIG_IGN);          // aio_run does not
}
struct reader { aio_frame aio; int fd; size_t total; char buf[1000]; };
aio_async(reader) {
    aio_result n;
    for (;;) {
        aio_try(n, aio_read_some(self->fd, self->buf, sizeof self->buf));
        if (!n) return (aio_result)self->total;
        for (aio_result i = 0; i < n; i++)
            if (self->buf[i] != (char)((self->total + (size_t)i) % 251)) return -EBADMSG;
        self->total += (size_t)n;
        aio_try(aio_sleep(0));
    }
} aio_end
enum { BIG = 3000000 };
static char *big(void)
{
    static char *b;
    if (!b) b = (char *)malloc(BIG);
    for (size_t i = 0; i < BIG; i++) b[i] = (char)(i % 251);
    return b;
}
struct send_big { aio_frame aio; int fds[2]; size_t done; bool pipe; aio_task *reader; };
aio_async(send_big) {
    aio_result r;
    self->reader = aio_spawn(reader, .fd = self->fds[1]);
    if (self->pipe) aio_await(r, aio_write_all(self->fds[0], big(), BIG, &self->done));
    else aio_await(r, aio_send_all(self->fds[0], big(), BIG, 0, &self->done));
    assert_result(r, BIG);
    assert_int_equal(self->done, BIG);
    if (!self->pipe) aio_await(aio_shutdown(self->fds[0], SHUT_WR));
    else aio_await(aio_close(self->fds[0]));
    aio_await(r, aio_join(self->reader));
    return r;
} aio_end
static void send_all_is_never_short(void **state)
{
    (void)state;
    int fds[2], small = 2048;
    pair_of(fds);
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    assert_result(run(send_big, .fds[0] = fds[0], .fds[1] = fds[1]), BIG);
    close(fds[0]);
    close(fds[1]);
}
static void write_all_through_a_pipe(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    uring_begin();
    uring_fds_before--;
    struct aio_loop_options o = uring_options();
    assert_result(aio_run_with(&o, send_big, .fds[0] = fds[1], .fds[1] = fds[0], .pipe = true),
                  BIG);
    uring_check(__FILE__, __LINE__);
    close(fds[0]);
}
MAKE(m_send_all, struct w, aio_send_all(a->fd, a->text, a->n, 0, &a->done))
MAKE(m_send_all_plain, struct w, aio_send_all(a->fd, a->text, a->n, 0))
MAKE(m_write_all, struct w, aio_write_all(a->fd, a->text, a->n, &a->done))
MAKE(m_write_all_plain, struct w, aio_write_all(a->fd, a->text, a->n))
MAKE(m_pwrite_all, struct w, aio_pwrite_all(a->fd, a->text, a->n, a->at, &a->done))
MAKE(m_pwrite_all_plain, struct w, aio_pwrite_all(a->fd, a->text, a->n, a->at))
static void composites_of_nothing_and_on_errors(void **state)
{
    (void)state;
    struct w w = { .text = "hello", .done = 99 };
    make_fn all[] = { m_send_all, m_write_all, m_pwrite_all, m_send_all_plain, m_write_all_plain,
                      m_pwrite_all_plain };
    pair_of(w.fds);
    for (int i = 0; i < 6; i++) {
        w.fd = i % 3 == 2 ? temp_file("") : w.fds[0];
        w.done = 99;
        w.n = 0;
        assert_result(run_one(all[i], &w), 0);
        assert_int_equal(w.done, i < 3 ? 0 : 99);
        w.n = 5;
        assert_result(run_one(all[i], &w), 5);
        assert_int_equal(w.done, i < 3 ? 5 : 99);
        if (i % 3 == 2) close(w.fd);
        w.fd = -1;
        w.done = 99;
        assert_result(run_one(all[i], &w), -EBADF);
        assert_int_equal(w.done, i < 3 ? 0 : 99);
    }
    close(w.fds[1]);
    w.fd = w.fds[0];
    assert_result(run_one(m_send_all, &w), -EPIPE);
    assert_result(run_one(m_write_all, &w), -EPIPE);
    close(w.fds[0]);
}

// --- files
MAKE(m_pread, struct w, aio_pread(a->fd, a->buf, a->n ? a->n : sizeof a->buf, a->at))
MAKE(m_pwrite, struct w, aio_pwrite(a->fd, a->text, strlen(a->text), a->at))
MAKE(m_read, struct w, aio_read_some(a->fd, a->buf, a->n ? a->n : sizeof a->buf))
MAKE(m_write, struct w, aio_write_some(a->fd, a->text, strlen(a->text)))
MAKE(m_no_pieces, struct w, aio_preadv(a->fd, 0, 0, 0, 0))
static void files_at_an_offset(void **state)
{
    (void)state;
    struct w w = { .text = "HELLO", .at = 3 };
    w.fd = temp_file("0123456789");
    assert_result(run_one(m_pread, &w), 7);
    assert_memory_equal(w.buf, "3456789", 7);
    assert_result(run_one(m_pwrite, &w), 5);
    assert_int_equal(lseek(w.fd, 0, SEEK_CUR), 0);      // the position stays
    w.at = 0;
    assert_result(run_one(m_pread, &w), 10);
    assert_memory_equal(w.buf, "012HELLO89", 10);
    w.at = 10;
    assert_result(run_one(m_pread, &w), 0);
    w.n = 5;
    w.at = 100;
    assert_result(run_one(m_pwrite_all, &w), 5);
    assert_int_equal(w.done, 5);
    assert_result(run_one(m_pread, &w), 5);
    assert_memory_equal(w.buf, "HELLO", 5);
    for (w.at = -3; w.at < 0; w.at++) {
        assert_result(run_one(m_pread, &w), -EINVAL);
        assert_result(run_one(m_pwrite, &w), -EINVAL);
        assert_result(run_one(m_pwrite_all, &w), -EINVAL);
    }
    assert_result(run_one(m_no_pieces, &w), 0);
    close(w.fd);
    w.fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    w.at = 0;
    assert_result(run_one(m_pread, &w), -EBADF);        // not open for reading
    close(w.fd);
}
static void files_at_the_current_position(void **state)
{
    (void)state;
    struct w w = { .text = "HELLO", .n = 3 };
    w.fd = temp_file("0123456789");
    assert_result(run_one(m_read, &w), 3);
    assert_memory_equal(w.buf, "012", 3);
    assert_int_equal(lseek(w.fd, 0, SEEK_CUR), 3);
    assert_result(run_one(m_write, &w), 5);
    assert_int_equal(lseek(w.fd, 0, SEEK_CUR), 8);
    w.n = 5;
    assert_result(run_one(m_write_all, &w), 5);
    assert_int_equal(lseek(w.fd, 0, SEEK_CUR), 13);
    assert_int_equal(pread(w.fd, w.buf, 20, 0), 13);
    assert_memory_equal(w.buf, "012HELLOHELLO", 13);
    close(w.fd);
}
static void standard_input_and_pipes(void **state)
{
    (void)state;
    struct w w = { .text = "line\n" };
    int saved = dup(0);
    assert_int_equal(pipe2(w.fds, O_CLOEXEC), 0);
    dup2(w.fds[0], 0);
    w.fd = w.fds[1];
    assert_result(run_one(m_write, &w), 5);
    w.fd = 0;
    assert_result(run_one(m_read, &w), 5);
    assert_memory_equal(w.buf, "line\n", 5);
    close(w.fds[1]);
    assert_result(run_one(m_read, &w), 0);
    dup2(saved, 0);
    close(saved);
    close(w.fds[0]);
}
static void hazard_26_contract_13_write_to_a_dead_pipe_is_epipe(void **state)
{
    (void)state;
    struct w w = { .text = "x" };
    assert_int_equal(pipe2(w.fds, O_CLOEXEC), 0);
    close(w.fds[0]);
    w.fd = w.fds[1];
    assert_result(run_one(m_write, &w), -EPIPE);
    close(w.fd);
}
MAKE(m_read_far, struct w, aio_read_some(a->fd, (void *)(uintptr_t)a->text, (size_t)4 << 30))
static void hazard_27_lengths_beyond_32_bits(void **state)
{
    (void)state;
    struct w w = { .n = (size_t)5 << 30 };
    void *room =
        mmap(0, w.n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(room, MAP_FAILED);
    w.fd = temp_file("abc");
    w.text = (const char *)room;
    assert_result(run_one(m_read_far, &w), 3);          // 4 GiB must not become 0
    munmap(room, w.n);
    assert_int_equal(aio__length((size_t)5 << 30), 0x7ffff000);
    assert_int_equal(aio__length((size_t)1 << 32), 0x7ffff000);
    assert_int_equal(aio__length(0x7ffff001), 0x7ffff000);
    assert_int_equal(aio__length(7), 7);
    close(w.fd);
}
MAKE(m_sync, struct w, aio_sync_file(a->fd, a->events))
static void sync_file(void **state)
{
    (void)state;
    struct w w = { .fd = temp_file("x") };
    assert_result(run_one(m_sync, &w), 0);
    w.events = AIO_SYNC_DATA;
    assert_result(run_one(m_sync, &w), 0);
    w.events = 64;
    assert_result(run_one(m_sync, &w), -EINVAL);
    close(w.fd);
    w.events = 0;
    w.fd = GONE;
    assert_result(run_one(m_sync, &w), -EBADF);
    pipe2(w.fds, O_CLOEXEC);
    w.fd = w.fds[0];
    assert_result(run_one(m_sync, &w), -EINVAL);
    close(w.fds[0]);
    close(w.fds[1]);
}
MAKE(m_statx, struct w, aio_statx(a->fd, a->text, a->how, STATX_SIZE, &a->stx))
static void statx_of_paths_and_descriptors(void **state)
{
    (void)state;
    struct w w = { .fd = temp_file("0123456789"), .text = "", .how = AT_EMPTY_PATH };
    assert_result(run_one(m_statx, &w), 0);
    assert_int_equal(w.stx.stx_size, 10);
    close(w.fd);
    w.fd = AT_FDCWD;
    w.how = 0;
    w.text = "/";
    assert_result(run_one(m_statx, &w), 0);
    assert_true(S_ISDIR(w.stx.stx_mode));
    w.text = "/no/such/file";
    assert_result(run_one(m_statx, &w), -ENOENT);
    w.text = 0;
    assert_result(run_one(m_statx, &w), -EFAULT);
}
struct open_local { aio_frame aio; char dir[64]; int fds[40], i, directory; };
// Paths are locals: each is overwritten before the kernel sees it.
struct open_one { aio_frame aio; int directory, i; };
aio_async(open_one) {
    aio_result fd;
    char path[32];
    snprintf(path, sizeof path, "file-%d", self->i);
    aio_await(fd, aio_openat(self->directory, path, O_RDWR | O_CREAT, 0600));
    return fd;
} aio_end
struct open_many { aio_frame aio; int directory, n; aio_task *tasks[60]; int fds[60]; };
aio_async(open_many) {
    for (int i = 0; i < self->n; i++)
        self->tasks[i] = aio_spawn(open_one, .directory = self->directory, .i = i);
    for (self->directory = 0; self->directory < self->n; self->directory++)
        aio_await(self->fds[self->directory], aio_join(self->tasks[self->directory]));
    for (int i = 0; i < self->n; i++) {
        char link[64], path[256];
        ssize_t n;
        assert_true(self->fds[i] >= 0);
        snprintf(link, sizeof link, "/proc/self/fd/%d", self->fds[i]);
        n = readlink(link, path, sizeof path - 1);
        assert_true(n > 0);
        path[n] = 0;
        snprintf(link, sizeof link, "/file-%d", i);
        assert_string_equal(strrchr(path, '/'), link);
        close(self->fds[i]);
    }
    return 0;
} aio_end
static void contract_2_paths_may_be_locals(void **state)
{
    (void)state;
    char dir[] = "/tmp/aio-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_result(run(open_many, .directory = fd, .n = 60), 0);
    for (int i = 0; i < 60; i++) {
        char path[32];
        snprintf(path, sizeof path, "file-%d", i);
        unlinkat(fd, path, 0);
    }
    close(fd);
    rmdir(dir);
}
MAKE(m_open, struct w, aio_openat(AT_FDCWD, a->text, a->how, 0600))
static void openat_errors(void **state)
{
    (void)state;
    static char longer[9000];
    struct w w = { .text = "/no/such/file" };
    assert_result(run_one(m_open, &w), -ENOENT);
    w.text = "/";
    w.how = O_WRONLY;
    assert_result(run_one(m_open, &w), -EISDIR);
    memset(longer, 'a', sizeof longer - 1);
    w.text = longer;            // longer than the arena: copied beside it
    assert_result(run_one(m_open, &w), -ENAMETOOLONG);
    w.text = 0;
    assert_result(run_one(m_open, &w), -EFAULT);
    uring_begin();
    uring_fds_before++;
    struct aio_loop_options o = uring_options();
    w.text = "/dev/null";
    w.how = O_RDONLY;
    int fd = (int)aio_run_with(&o, one, .make = m_open, .arg = &w);
    uring_check(__FILE__, __LINE__);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
}
MAKE(m_close, struct w, aio_close(a->fd))
static void close_result(void **state)
{
    (void)state;
    struct w w = { .fd = temp_file("") };
    uring_begin();
    uring_fds_before--;
    struct aio_loop_options o = uring_options();
    assert_result(aio_run_with(&o, one, .make = m_close, .arg = &w), 0);
    uring_check(__FILE__, __LINE__);
    w.fd = GONE;
    expect_bad_closes(1);
    assert_result(run_one(m_close, &w), -EBADF);
    w.fd = -1;
    assert_result(run_one(m_close, &w), -EBADF);
    w.fd = INT_MAX;
    expect_bad_closes(1);
    assert_result(run_one(m_close, &w), -EBADF);
}
static void contract_10_absurd_descriptors(void **state)
{
    (void)state;
    struct w w = { .fd = INT_MAX, .text = "x" };
    make_fn all[] = { m_recv, m_send, m_accept, m_pread, m_pwrite, m_read, m_write };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_result(run_one(all[i], &w), -EBADF);
    w.fd = INT_MIN;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_result(run_one(all[i], &w), -EBADF);
}
MAKE(m_poll, struct w, aio_poll(a->fd, a->events))
static void poll_gives_events(void **state)
{
    (void)state;
    struct w w = { .events = POLLIN | POLLOUT };
    pair_of(w.fds);
    w.fd = w.fds[0];
    assert_result(run_one(m_poll, &w), POLLOUT);
    assert_int_equal(write(w.fds[1], "x", 1), 1);
    assert_result(run_one(m_poll, &w), POLLIN | POLLOUT);
    w.events = POLLIN;
    assert_result(run_one(m_poll, &w), POLLIN);
    close(w.fds[1]);
    w.events = POLLRDHUP;
    assert_result(run_one(m_poll, &w), POLLRDHUP | POLLHUP);
    close(w.fds[0]);
    w.fd = GONE;
    assert_result(run_one(m_poll, &w), -EBADF);
}

// --- TCP by address
static const char *listen_host;
MAKE(m_listen_tcp, struct w, aio_listen_tcp(listen_host, a->port))
MAKE(m_connect_tcp, struct w, aio_connect_tcp(listen_host, a->port))
struct tcp_meet {
    aio_frame aio;
    const char *at, *to;
    aio_task *dial;
    int listener, client, accepted;
};
static int socket_option(int fd, int level, int name)
{
    int value = -1;
    socklen_t n = sizeof value;
    getsockopt(fd, level, name, &value, &n);
    return value;
}
struct tcp_dial { aio_frame aio; const char *to; int port; };
aio_async(tcp_dial) {
    aio_result fd;
    char host[64];
    snprintf(host, sizeof host, "%s", self->to);
    aio_await(fd, aio_connect_tcp(host, self->port));
    return fd;
} aio_end
aio_async(tcp_meet) {
    aio_result r;
    aio_try(self->listener, aio_listen_tcp(self->at, 0));
    assert_int_equal(socket_option(self->listener, SOL_SOCKET, SO_REUSEADDR), 1);
    self->dial = aio_spawn(tcp_dial, .to = self->to, .port = port_of(self->listener));
    aio_await(self->accepted, aio_accept(self->listener));
    aio_await(self->client, aio_join(self->dial));
    assert_true(self->accepted >= 0);
    assert_true(self->client >= 0);
    for (int i = 0; i < 2; i++) {
        int fd = i ? self->accepted : self->client;
        assert_true(socket_option(fd, IPPROTO_TCP, TCP_NODELAY) > 0);
        assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    }
    aio_await(r, aio_close(self->client));
    aio_await(r, aio_close(self->accepted));
    aio_await(r, aio_close(self->listener));
    return r;
} aio_end
static bool has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 a;
    memset(&a, 0, sizeof a);
    a.sin6_family = AF_INET6;
    a.sin6_addr = in6addr_loopback;
    bool ok = fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof a);
    if (fd >= 0) close(fd);
    return ok;
}
static void tcp_over_ipv4(void **state)
{
    (void)state;
    assert_result(run(tcp_meet, .at = "127.0.0.1", .to = "127.0.0.1"), 0);
    assert_result(run(tcp_meet, .at = "0.0.0.0", .to = "127.0.0.1"), 0);
    assert_result(run(tcp_meet, .at = "", .to = "127.0.0.1"), 0);
    assert_result(run(tcp_meet, .at = 0, .to = "127.0.0.1"), 0);
}
static void tcp_over_ipv6(void **state)
{
    (void)state;
    if (!has_ipv6()) test_skip("no IPv6 here");
    assert_result(run(tcp_meet, .at = "::1", .to = "::1"), 0);
    assert_result(run(tcp_meet, .at = "::", .to = "::1"), 0);
    assert_result(run(tcp_meet, .at = "", .to = "::1"), 0);
}
static int no_ipv6(int domain, int type, int protocol)
{
    if (domain != AF_INET6) return socket(domain, type, protocol);
    errno = EAFNOSUPPORT;
    return -1;
}
static void all_addresses_where_there_is_no_ipv6(void **state)
{
    (void)state;
    uring_hook.socket = no_ipv6;
    aio_result any = run(tcp_meet, .at = "", .to = "127.0.0.1");
    struct w w = { 0 };
    listen_host = "::1";
    aio_result six = run_one(m_listen_tcp, &w), dial = run_one(m_connect_tcp, &w);
    uring_hook.socket = 0;
    assert_result(any, 0);
    assert_result(six, -EAFNOSUPPORT);
    assert_result(dial, -EAFNOSUPPORT);
}
// Nobody is asked: a name is unknown.
static int no_names(const char *host, const char *service, const struct addrinfo *hints,
                    struct addrinfo **result)
{
    (void)host, (void)service, (void)hints, (void)result;
    return EAI_NONAME;
}
static void tcp_errors(void **state)
{
    (void)state;
    uring_hook.getaddrinfo = no_names;
    struct w w = { .port = 80 };
    const char *bad[] = { "localhost", "1.2.3", "256.1.1.1", ":::", "127.0.0.1 ", "fe80::1%", "x" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        listen_host = bad[i];
        assert_result(run_one(m_listen_tcp, &w), -ENOENT);
        assert_result(run_one(m_connect_tcp, &w), -ENOENT);
    }
    uring_hook.getaddrinfo = NULL;
    listen_host = "127.0.0.1";
    for (int i = 0; i < 3; i++) {
        w.port = i == 0 ? -1 : i == 1 ? 65536 : INT_MAX;
        assert_result(run_one(m_listen_tcp, &w), -EINVAL);
        assert_result(run_one(m_connect_tcp, &w), -EINVAL);
    }
    int fd = tcp_listener(4);
    w.port = port_of(fd);
    assert_result(run_one(m_listen_tcp, &w), -EADDRINUSE);
    close(fd);
    assert_result(run_one(m_connect_tcp, &w), -ECONNREFUSED);
    listen_host = "192.0.2.1";
    assert_result(run_one(m_listen_tcp, &w), -EADDRNOTAVAIL);
}

// --- any operation
MAKE(m_op, struct w, aio_uring_op(&a->sqe))
// A newer liburing prepares what it needs and leaves the rest as it was.
static aio_result run_prepared(struct w *w)
{
    aio_result r = run_one(m_op, w);
    memset(&w->sqe, 0, sizeof w->sqe);
    return r;
}
static void any_prepared_operation(void **state)
{
    (void)state;
    struct w w = { .text = "0123456789" };
    struct iovec iov[2] = { { (void *)(uintptr_t)"ab", 2 }, { (void *)(uintptr_t)"cde", 3 } };
    struct __kernel_timespec ts = { 0, 2000000 };
    w.fd = temp_file("");
    io_uring_prep_writev(&w.sqe, w.fd, iov, 2, 0);
    assert_result(run_prepared(&w), 5);
    io_uring_prep_fallocate(&w.sqe, w.fd, 0, 0, 100);
    assert_result(run_prepared(&w), 0);
    struct stat st;
    fstat(w.fd, &st);
    assert_int_equal(st.st_size, 100);
    io_uring_prep_fadvise(&w.sqe, w.fd, 0, 0, POSIX_FADV_RANDOM);
    assert_result(run_prepared(&w), 0);
    io_uring_prep_timeout(&w.sqe, &ts, 0, 0);
    assert_result(run_prepared(&w), -ETIME);
    io_uring_prep_mkdirat(&w.sqe, AT_FDCWD, "/no/such/place", 0700);
    assert_result(run_prepared(&w), -ENOENT);
    pipe2(w.fds, O_CLOEXEC);
    io_uring_prep_splice(&w.sqe, w.fd, 0, w.fds[1], -1, 5, 0);
    assert_result(run_prepared(&w), 5);
    assert_int_equal(read(w.fds[0], w.buf, 10), 5);
    assert_memory_equal(w.buf, "abcde", 5);
    io_uring_prep_cancel64(&w.sqe, 12345, 0);
    assert_result(run_prepared(&w), -ENOENT);
    w.sqe.opcode = 200;
    w.sqe.flags = 0;
    assert_result(run_prepared(&w), -EINVAL);
    close(w.fd);
    close(w.fds[0]);
    close(w.fds[1]);
}
static void *reads_all(void *fd)
{
    size_t got = 0;
    char buf[4096];
    for (ssize_t n; (n = read(*(int *)fd, buf, sizeof buf)) > 0;) got += (size_t)n;
    return (void *)(uintptr_t)got;
}
static void hazard_13_contract_1_zero_copy_sends_end_with_their_notification(void **state)
{
    (void)state;
    static char block[100000];
    struct w w;
    int listener = tcp_listener(1);
    memset(&w, 0, sizeof w);
    w.fds[0] = tcp_client(port_of(listener));
    w.fds[1] = accept(listener, 0, 0);
    // Linux 6.1 notifies on loopback when the peer has read.
    pthread_t reads;
    assert_int_equal(pthread_create(&reads, NULL, reads_all, &w.fds[1]), 0);
    io_uring_prep_send_zc(&w.sqe, w.fds[0], block, sizeof block, 0, 0);
    aio_result r = run_one(m_op, &w);
    shutdown(w.fds[0], SHUT_WR);
    void *got;
    pthread_join(reads, &got);
    if (r == -EINVAL || r == -EOPNOTSUPP) {
        close(listener), close(w.fds[0]), close(w.fds[1]);
        test_skip("this kernel has no SEND_ZC");
    }
    assert_true(r > 0);
    assert_int_equal((size_t)(uintptr_t)got, (size_t)r);
    close(w.fds[1]);
    close(w.fds[0]);
    w.fds[0] = tcp_client(port_of(listener));
    close(accept(listener, 0, 0));
    close(listener);
    // Errors have their notification too.
    usleep(1000);
    send(w.fds[0], "x", 1, MSG_NOSIGNAL);
    usleep(1000);
    io_uring_prep_send_zc(&w.sqe, w.fds[0], block, sizeof block, 0, 0);
    r = run_one(m_op, &w);
    assert_true(r == -EPIPE || r == -ECONNRESET);
    close(w.fds[0]);
    pair_of(w.fds);
    io_uring_prep_send_zc(&w.sqe, w.fds[0], block, 1, 0, 0);
    assert_result(run_one(m_op, &w), -EOPNOTSUPP);
    close(w.fds[0]);
    close(w.fds[1]);
}
static void hazard_34_more_than_one_result_is_refused(void **state)
{
    (void)state;
    struct w w;
    unsigned flags[] = { IOSQE_IO_DRAIN, IOSQE_IO_LINK, IOSQE_IO_HARDLINK, IOSQE_BUFFER_SELECT,
                         IOSQE_CQE_SKIP_SUCCESS };
    memset(&w, 0, sizeof w);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        io_uring_prep_nop(&w.sqe);
        w.sqe.flags = (uint8_t)flags[i];
        assert_result(run_one(m_op, &w), -EINVAL);
    }
    struct __kernel_timespec ts = { 0, 1000000 };
    int fd = tcp_listener(1);
    io_uring_prep_multishot_accept(&w.sqe, fd, 0, 0, 0);
    assert_result(run_one(m_op, &w), -EINVAL);
    close(fd);
    pair_of(w.fds);
    io_uring_prep_recv_multishot(&w.sqe, w.fds[0], 0, 0, 0);
    assert_result(run_one(m_op, &w), -EINVAL);
    w.sqe.opcode = IORING_OP_RECVMSG;
    assert_result(run_one(m_op, &w), -EINVAL);
    io_uring_prep_poll_multishot(&w.sqe, w.fds[0], POLLIN);
    assert_result(run_one(m_op, &w), -EINVAL);
    io_uring_prep_timeout(&w.sqe, &ts, 0, 1u << 6);     // IORING_TIMEOUT_MULTISHOT
    assert_result(run_one(m_op, &w), -EINVAL);
    io_uring_prep_rw(49, &w.sqe, w.fds[0], w.buf, 1, 0);    // READ_MULTISHOT
    assert_result(run_one(m_op, &w), -EINVAL);
    io_uring_prep_rw(58, &w.sqe, w.fds[0], 0, 0, 0);        // RECV_ZC
    assert_result(run_one(m_op, &w), -EINVAL);
    io_uring_prep_rw(IORING_OP_URING_CMD, &w.sqe, w.fds[0], 0, 0, 0);
    w.sqe.rw_flags = 1 << 1;                                // IORING_URING_CMD_MULTISHOT
    assert_result(run_one(m_op, &w), -EINVAL);
    close(w.fds[0]);
    close(w.fds[1]);
}
static int seen_pad;
static int look_at_entry(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                         sigset_t *extra, size_t size)
{
    aio_uring *u = uring_of_loop();
    if (!u) return io_uring_enter2(fd, submit, wait, flags, extra, size);
    for (uint32_t i = u->sq_tail - submit; i != u->sq_tail; i++) {
        const unsigned char *sqe = (const unsigned char *)&u->sqes[i & u->sq_mask];
        if (sqe[0] != IORING_OP_NOP) continue;
        for (int k = 0; k < 64; k++)
            seen_pad += (k < 32 || k >= 40) && k && sqe[k] == (unsigned char)(k + 1);
    }
    return io_uring_enter2(fd, submit, wait, flags, extra, size);
}
static void contract_2_the_whole_entry_is_copied(void **state)
{
    (void)state;
    struct w w;
    memset(&w, 0, sizeof w);
    for (int i = 1; i < 64; i++) ((unsigned char *)&w.sqe)[i] = (unsigned char)(i + 1);
    w.sqe.flags = 2;
    seen_pad = 0;
    w.sqe.flags = 0;
    uring_hook.enter = look_at_entry;
    run_one(m_op, &w);
    uring_hook.enter = 0;
    assert_int_equal(seen_pad,
                     55 - 1); // but for opcode, flags and user_data: cmd[] and attributes too
}

static void attach_twice(void **state)
{
    (void)state;
    aio_loop l;
    struct aio_loop_options o = uring_options();
    uring_begin();
    assert_result(aio_loop_init(&l, &o), 0);
    assert_result(aio_uring_attach(&l, 0), 0);
    assert_result(aio_uring_attach(&l, 0), -EALREADY);
    aio_loop_close(&l);
    uring_check(__FILE__, __LINE__);
    assert_result(aio_uring_attach(&l, 0), -EBADFD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nop_is_0),
        cmocka_unit_test(socket_bind_listen),
        cmocka_unit_test(bind_and_listen_report_their_errors),
        cmocka_unit_test(shutdown_ends_a_direction),
        cmocka_unit_test(accept_gives_a_descriptor_close_on_exec),
        cmocka_unit_test(connect_errors),
        cmocka_unit_test(recv_and_send),
        cmocka_unit_test(hazard_26_contract_13_send_never_raises_sigpipe),
        cmocka_unit_test(send_all_is_never_short),
        cmocka_unit_test(write_all_through_a_pipe),
        cmocka_unit_test(composites_of_nothing_and_on_errors),
        cmocka_unit_test(files_at_an_offset),
        cmocka_unit_test(files_at_the_current_position),
        cmocka_unit_test(standard_input_and_pipes),
        cmocka_unit_test(hazard_26_contract_13_write_to_a_dead_pipe_is_epipe),
        cmocka_unit_test(hazard_27_lengths_beyond_32_bits),
        cmocka_unit_test(sync_file),
        cmocka_unit_test(statx_of_paths_and_descriptors),
        cmocka_unit_test(contract_2_paths_may_be_locals),
        cmocka_unit_test(openat_errors),
        cmocka_unit_test(close_result),
        cmocka_unit_test(contract_10_absurd_descriptors),
        cmocka_unit_test(poll_gives_events),
        cmocka_unit_test(tcp_over_ipv4),
        cmocka_unit_test(tcp_over_ipv6),
        cmocka_unit_test(all_addresses_where_there_is_no_ipv6),
        cmocka_unit_test(tcp_errors),
        cmocka_unit_test(any_prepared_operation),
        cmocka_unit_test(hazard_13_contract_1_zero_copy_sends_end_with_their_notification),
        cmocka_unit_test(hazard_34_more_than_one_result_is_refused),
        cmocka_unit_test(contract_2_the_whole_entry_is_copied),
        cmocka_unit_test(attach_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
