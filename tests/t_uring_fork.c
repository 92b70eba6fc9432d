// A child forked inside a coroutine cannot use the loop, and cannot disturb its parent's (contract
// 8).
#include "uring.h"
#include <sys/mman.h>

struct shared { aio_result results[128]; int n, timers; aio_result run, close; };
static struct shared *shared;
static pid_t parent;

struct receiver { aio_frame aio; int fd; char buf[8]; };
aio_async(receiver) {
    aio_result n;
    aio_await(n, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
    return n;
} aio_end
struct forker {
    aio_frame aio;
    aio_chain chain;
    aio_many many;
    aio_buffer_ring ring;
    int fds[2], listener, file, virtual_clock;
    char buf[64];
    aio_result r;
    aio_task *pending, *accepting;
    struct statx stx;
    struct io_uring_sqe sqe;
    struct sockaddr_in to;
    struct open_how how;
    struct iovec piece;
    struct msghdr message;
    pid_t child;
    aio_loop *loop;
    aio_handle handle;
    int status;
};
struct acceptor { aio_frame aio; int fd; };
aio_async(acceptor) {
    aio_result fd;
    aio_await(fd, aio_accept(self->fd));
    return fd;
} aio_end
static int nothing(void *arg) { (void)arg; return 0; }
#define TRY(awaitable) \
    aio_await(self->r, awaitable); \
    shared->results[shared->n++] = self->r
aio_async(forker) {
    assert_result(aio_chain_init(&self->chain), 0);
    assert_result(aio_chain_add(&self->chain, aio_nop()), 0);
    self->pending = aio_spawn(receiver, .fd = self->fds[0]);
    self->accepting = aio_spawn(acceptor, .fd = self->listener);
    if (self->virtual_clock) aio_await(aio_nop());
    else aio_await(aio_sleep(AIO_MSEC));
    aio_await(aio_sleep(0));
    self->loop = aio_running_loop();
    self->child = fork();
    if (!self->child) {
        TRY(aio_nop());
        TRY(aio_recv(self->fds[0], self->buf, 8, 0));
        TRY(aio_send(self->fds[1], "x", 1, 0));
        TRY(aio_send_all(self->fds[1], "x", 1, 0));
        TRY(aio_write_all(self->fds[1], "x", 1));
        TRY(aio_pwrite_all(self->file, "x", 1, 0));
        TRY(aio_pread(self->file, self->buf, 8, 0));
        TRY(aio_read_some(self->file, self->buf, 8));
        TRY(aio_openat(AT_FDCWD, "/dev/null", O_RDONLY, 0));
        TRY(aio_statx(AT_FDCWD, "/", 0, 0, &self->stx));
        TRY(aio_accept(self->listener));
        TRY(aio_connect(self->file, (struct sockaddr *)&self->to, sizeof self->to));
        TRY(aio_connect_tcp("127.0.0.1", 1));
        TRY(aio_listen_tcp("127.0.0.1", 0));
        TRY(aio_socket(AF_INET, SOCK_STREAM, 0));
        TRY(aio_bind(self->file, (struct sockaddr *)&self->to, sizeof self->to));
        TRY(aio_listen(self->file, 1));
        TRY(aio_shutdown(self->fds[0], SHUT_RDWR));
        TRY(aio_poll(self->fds[0], POLLIN));
        TRY(aio_sync_file(self->file, 0));
        io_uring_prep_nop(&self->sqe);
        TRY(aio_uring_op(&self->sqe));
        TRY(aio_openat2(AT_FDCWD, "/dev/null", &self->how));
        TRY(aio_preadv(self->file, &self->piece, 1, 0, 0));
        TRY(aio_recvmsg(self->fds[0], &self->message, 0));
        TRY(aio_sendto(self->fds[1], "x", 1, 0, 0, 0));
        TRY(aio_renameat(AT_FDCWD, "/none/a", AT_FDCWD, "/none/b", 0));
        TRY(aio_splice(self->fds[0], -1, self->file, 0, 1, 0));
        TRY(aio_getsockopt(self->fds[0], SOL_SOCKET, SO_TYPE, self->buf, 4));
        TRY(aio_pipe(self->fds, 0));
        TRY(aio_waitid(P_ALL, 0, 0, WEXITED));
        TRY(aio_futex_waitv((const struct futex_waitv *)(const void *)self->buf, 1));
        TRY(aio_io_with(aio_accept(self->listener), AIO_IO_INTO_ANY));
        shared->results[shared->n++] = aio_buffers_register(0, &self->piece, 1);
        shared->results[shared->n++] = aio_direct_register(self->loop, 4);
        TRY(aio_send_zc(self->fds[1], "x", 1, 0));
        TRY(aio_chain_run(&self->chain));
        shared->results[shared->n++] = aio_buffer_ring_init(&self->ring, 4, 64);
        shared->results[shared->n++] = aio_accept_many(&self->many, self->listener);
        shared->results[shared->n++] = aio_poll_many(&self->many, self->fds[0], POLLIN);
        TRY(aio_close(self->file));
        TRY(aio_close(self->fds[0]));               // something is in flight on it
        shared->results[shared->n++] = aio_call_soon(self->loop, &self->handle, nothing, 0);
        shared->results[shared->n++] = aio_uring_attach(self->loop, 0);
        aio_task *t = aio_spawn_on(self->loop, receiver, .fd = self->fds[0]);
        shared->results[shared->n++] = aio_task_result(t);
        aio_detach(t);
        aio_task_cancel(self->pending);
        shared->timers = 1;
        return 0;
    }
    while (waitpid(self->child, &self->status, WNOHANG) == 0) {
        if (self->virtual_clock) aio_await(aio_nop());
        else aio_await(aio_sleep(AIO_MSEC));
    }
    assert_int_equal(self->status, 0);
    assert_false(aio_task_done(self->pending));         // the child's end has not ended them
    assert_false(aio_task_done(self->accepting));
    assert_int_equal(write(self->fds[1], "hello", 5), 5);
    aio_await(self->r, aio_join(self->pending));
    assert_result(self->r, 5);
    self->file = tcp_client(port_of(self->listener));
    aio_await(self->r, aio_join(self->accepting));
    assert_true(self->r > 0);
    close((int)self->r);
    close(self->file);
    return 0;
} aio_end
static void hazard_20_contract_8_a_forked_child_gets_eperm_everywhere(void **state)
{
    (void)state;
    for (int clock = 0; clock < 2; clock++) {
        int fds[2], listener = tcp_listener(4), file = temp_file("");
        memset(shared, 0, sizeof *shared);
        parent = getpid();
        pair_of(fds);
        struct aio_loop_options o = uring_options();
        if (clock) o.clock = AIO_CLOCK_VIRTUAL;
        uring_begin();
        aio_result r = aio_run_with(&o, forker, .fds[0] = fds[0], .fds[1] = fds[1],
                                    .listener = listener, .file = file, .virtual_clock = clock);
        if (getpid() != parent) {       // the child comes out here
            shared->run = r;
            if (uring_reports) print_error("%s", uring_told);
            _exit(uring_reports ? 3 : 0);
        }
        uring_check(__FILE__, __LINE__);
        assert_result(r, 0);
        assert_int_equal(shared->n, 44);
        for (int i = 0; i < shared->n; i++) {
            if (shared->results[i] != -EPERM)
                print_error("call %d: %lld\n", i, (long long)shared->results[i]);
            assert_result(shared->results[i], -EPERM);
        }
        assert_int_equal(shared->timers, 1);
        assert_result(shared->run, -EPERM);
        close(fds[0]), close(fds[1]), close(listener), close(file);
    }
}
// The child may go on with a loop of its own once it is out of the parent's.
MAKE(m_nop, void, aio_nop())
struct fork_now { aio_frame aio; pid_t child; int status; };
aio_async(fork_now) {
    aio_try(aio_nop());
    self->child = fork();
    if (!self->child) return 0;
    waitpid(self->child, &self->status, 0);
    return WEXITSTATUS(self->status);
} aio_end
// Whether a child has what it maps where its parent had a mapping that is not inherited. In user
// mode Linux it finds the parent's pages there: its ring would be the parent's.
static bool child_maps_anew(void)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    int how = MAP_PRIVATE | MAP_ANONYMOUS, status = 0;
    volatile char *page = (volatile char *)mmap(0, size, PROT_READ | PROT_WRITE, how, -1, 0);
    assert_true(page != MAP_FAILED && !madvise((void *)page, size, MADV_DONTFORK));
    *page = 1;
    pid_t child = fork();
    if (!child) {
        void *at = mmap((void *)page, size, PROT_READ | PROT_WRITE, how | MAP_FIXED, -1, 0);
        _exit(at == (void *)page && *page == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    munmap((void *)page, size);
    return status == 0;
}
static void contract_8_a_forked_child_may_run_a_loop_of_its_own(void **state)
{
    (void)state;
    if (!child_maps_anew()) test_skip("this kernel gives a child what MADV_DONTFORK withholds");
    parent = getpid();
    uring_begin();
    struct aio_loop_options o = uring_options();
    aio_result r = aio_run_with(&o, fork_now);
    if (getpid() != parent) {
        if (r != -EPERM) _exit(50);
        r = aio_run_with(&o, one, .make = m_nop);
        _exit(r == 0 ? 42 : 51);
    }
    uring_check(__FILE__, __LINE__);
    assert_result(r, 42);
}
// Forked between runs: the child cannot run or close the loop, the parent can.
static void contract_8_a_loop_that_is_not_running(void **state)
{
    (void)state;
    aio_loop l;
    int status;
    struct aio_loop_options o = uring_options();
    uring_begin();
    assert_result(aio_loop_init(&l, &o), 0);
    assert_result(aio_uring_attach(&l, 0), 0);
    pid_t child = fork();
    if (!child) {
        aio_task *t = aio_spawn_on(&l, one, .make = m_nop);
        if (aio_loop_run_until_complete(&l, t) != -EPERM) _exit(1);
        if (aio_loop_close(&l) != -EPERM) _exit(2);
        _exit(0);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    aio_task *t = aio_spawn_on(&l, one, .make = m_nop);
    assert_result(aio_loop_run_until_complete(&l, t), 0);
    aio_detach(t);
    aio_loop_close(&l);
    uring_check(__FILE__, __LINE__);
}
// A child that lives on does not keep the parent's ring, and so not what was in flight on it.
// How many lines of a child's own maps and descriptors name a ring.
static int rings_inherited(void)
{
    int n = 0;
    char line[512], link[300];
    FILE *f = fopen("/proc/self/maps", "re");
    while (fgets(line, sizeof line, f)) n += strstr(line, "io_uring") != 0;
    fclose(f);
    for (int fd = 0; fd < 300; fd++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t k = readlink(link, line, sizeof line - 1);
        if (k < 0) continue;
        line[k] = 0;
        n += strstr(line, "io_uring") != 0;
    }
    return n;
}
struct outlived { aio_frame aio; int fd, port; pid_t child; aio_task *t; };
aio_async(outlived) {
    aio_try(self->fd, aio_listen_tcp("127.0.0.1", 0));
    self->port = port_of(self->fd);
    self->t = aio_spawn(acceptor, .fd = self->fd);
    aio_await(aio_sleep(AIO_MSEC));
    self->child = fork();
    if (!self->child) {
        close(self->fd);
        usleep(300000);
        _exit(rings_inherited());
    }
    aio_await(aio_sleep(50 * AIO_MSEC));
    shared->n = self->child;
    aio_try(aio_close(self->fd));
    assert_true(port_is_free(self->port));
    aio_await(aio_join(self->t));
    return 0;
} aio_end
static void hazard_20_a_living_child_holds_nothing_of_the_ring(void **state)
{
    (void)state;
    assert_result(run(outlived), 0);
    int status = -1;
    waitpid(shared->n, &status, 0);
    assert_int_equal(status, 0);            // neither its memory nor its descriptor
}

// Every call, with nothing of what it needs: that this is a forked child counts first.
struct refused {
    aio_frame aio;
    aio_process p, none;
    struct aio_process_io io;
    struct aio_process_options o;
    char *argv[2];
    aio_stream s, never;
    aio_many it, open;
    aio_chain c, unopened;
    aio_buffer_ring ring, no_ring;
    aio_server server;
    aio_bytes line;
    aio_op op;
    int fds[2], status;
    aio_result r;
    pid_t child;
    char buf[8];
    struct addrinfo *found;
    struct iovec piece;
    struct io_uring_sqe sqe;
};
#define NOW(call) shared->results[shared->n++] = (call)
aio_async(refused) {
    self->argv[0] = (char *)(uintptr_t)"sleep", self->argv[1] = (char *)(uintptr_t)"5";
    self->o.argv = self->argv;
    aio_try(aio_process_spawn(&self->p, &self->o));
    aio_try(aio_pipe(self->fds, 0));
    aio_try(aio_stream_open(&self->s, self->fds[0], self->fds[1], NULL));
    aio_try(aio_buffer_ring_init(&self->ring, 4, 64));
    aio_try(aio_poll_many(&self->open, self->fds[0], POLLIN));
    self->child = fork();
    if (!self->child) {
        TRY(aio_preadv(-1, NULL, -1, 0, 0));
        TRY(aio_read_some(-1, NULL, 0));
        TRY(aio_write_all(1 << 30, NULL, 0));
        TRY(aio_recv(1 << 30, NULL, 0, 0));
        TRY(aio_close(-1));
        TRY(aio_epoll_wait(-1, NULL, -1));
        TRY(aio_waitid(P_PID, (id_t)self->p.pid, NULL, WEXITED | WNOHANG));
        TRY(aio_futex_waitv(NULL, 0));
        TRY(aio_io_with(aio_nop(), AIO_IO_DIRECT));
        TRY(aio_openat(-1, NULL, 0, 0));
        TRY(aio_sendmsg(-1, NULL, 0));
        TRY(aio_send_zc(-1, NULL, 0, 0));
        TRY(aio_listen_tcp("no address", -1));
        TRY(aio_connect_tcp("no address", -1));
        TRY(aio_listen_unix(""));
        TRY(aio_connect_unix(""));
        TRY(aio_udp_bind("no address", -1));
        TRY(aio_udp_connect("no address", -1));
        TRY(aio_getaddrinfo(NULL, NULL, NULL, &self->found));
        self->sqe.flags = IOSQE_IO_LINK;
        TRY(aio_uring_op(&self->sqe));
        TRY(aio_process_wait(&self->p));
        TRY(aio_process_wait(&self->none));
        TRY(aio_process_close_stdin(&self->none));
        TRY(aio_process_communicate(&self->none, &self->io));
        NOW(aio_process_kill(&self->p, SIGKILL));
        NOW(aio_process_kill(&self->none, -1));
        NOW(aio_process_spawn(&self->none, NULL));
        TRY(aio_stream_read(&self->never, NULL, 0));
        TRY(aio_stream_read(&self->s, NULL, 0));
        TRY(aio_stream_read_exactly(&self->never, NULL, 1));
        TRY(aio_stream_read_line(&self->never, &self->line));
        TRY(aio_stream_read_until(&self->never, &self->line, "", 0));
        TRY(aio_stream_read_until_any(&self->never, &self->line, NULL, 0));
        TRY(aio_stream_skip_until(&self->never, NULL, 0));
        TRY(aio_stream_write(&self->never, NULL, 0));
        TRY(aio_stream_writev(&self->never, NULL, 0));
        TRY(aio_stream_drain(&self->never));
        TRY(aio_stream_close(&self->never));
        NOW(aio_stream_open(&self->never, -1, -1, NULL));
        NOW(aio_stream_write_nowait(&self->never, NULL, 0));
        NOW(aio_stream_write_eof(&self->never));
        NOW(aio_accept_many(&self->it, -1));
        NOW(aio_recv_many(&self->it, -1, &self->no_ring));
        NOW(aio_recvmsg_many(&self->it, -1, &self->no_ring, 1 << 30));
        NOW(aio_read_many(&self->it, -1, &self->no_ring));
        NOW(aio_poll_many(&self->it, -1, 0));
        TRY(aio_next(&self->open));
        TRY(aio_gen_close(&self->open));
        NOW(aio_chain_init(&self->c));
        NOW(aio_chain_add(&self->unopened, aio_nop()));
        NOW(aio_chain_add_hard(&self->unopened, aio_nop()));
        NOW(aio_chain_result(&self->unopened, 7));
        TRY(aio_chain_run(&self->unopened));
        NOW(aio_buffer_ring_init(&self->no_ring, 0, 0));
        NOW(aio_buffer_ring_init_over(&self->no_ring, NULL, 0, 0));
        NOW(aio_buffer_ring_close(&self->no_ring));
        NOW(aio_buffer_ring_close(&self->ring));
        NOW(aio_buffers_register(NULL, NULL, 0));
        NOW(aio_buffers_unregister(NULL));
        NOW(aio_direct_register(NULL, 0));
        NOW(aio_direct_unregister(NULL));
        NOW(aio_direct_put(NULL, 0, -1));
        NOW(aio_direct_close(NULL, 0));
        TRY(aio_direct_install(0));
        NOW(aio_server_stop(&self->server, 0));
        NOW(aio_uring_attach(aio_running_loop() ? aio_running_loop() : AIO__LOOP_OF(aio__running()),
                             NULL));
        shared->timers = 1;
        return 0;
    }
    waitpid(self->child, &self->status, 0);
    assert_int_equal(self->status, 0);
    assert_result(aio_process_kill(&self->p, 0), 0);        // it lives
    assert_int_equal(kill(self->p.pid, 0), 0);
    aio_await(aio_gen_close(&self->open));
    aio_try(aio_stream_close(&self->s));
    return aio_buffer_ring_close(&self->ring);
} aio_end
static void contract_8_a_forked_child_is_refused_before_anything_else(void **state)
{
    (void)state;
    memset(shared, 0, sizeof *shared);
    parent = getpid();
    uring_begin();
    struct aio_loop_options o = uring_options();
    aio_result r = aio_run_with(&o, refused);
    if (getpid() != parent) _exit(uring_reports ? 3 : 0);
    uring_check(__FILE__, __LINE__);
    assert_result(r, 0);
    assert_int_equal(shared->timers, 1);
    for (int i = 0; i < shared->n; i++) {
        if (shared->results[i] != -EPERM)
            print_error("call %d: %s\n", i, aio_strerror(shared->results[i]));
    }
    for (int i = 0; i < shared->n; i++) assert_result(shared->results[i], -EPERM);
    assert_int_equal(shared->n, 66);
}

int main(void)
{
    shared = (struct shared *)mmap(0, sizeof *shared, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hazard_20_contract_8_a_forked_child_gets_eperm_everywhere),
        cmocka_unit_test(contract_8_a_forked_child_is_refused_before_anything_else),
        cmocka_unit_test(contract_8_a_forked_child_may_run_a_loop_of_its_own),
        cmocka_unit_test(contract_8_a_loop_that_is_not_running),
        cmocka_unit_test(hazard_20_a_living_child_holds_nothing_of_the_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
