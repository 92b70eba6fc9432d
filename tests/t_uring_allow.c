// A ring that may do only what was listed: the kernel refuses the rest, also to who speaks to the ring itself.
#include "uring.h"

static aio_result attached(const char *allow, aio_result (*then)(aio_loop *))
{
    aio_loop loop;
    struct aio_loop_options o = uring_options();
    struct aio_uring_options ring = { .allow = allow };
    assert_result(aio_loop_init(&loop, &o), 0);
    aio_result r = aio_uring_attach(&loop, &ring);
    if (r >= 0) r = then(&loop);
    aio_loop_close(&loop);
    return r;
}
#define RUN(loop, name, ...) \
    run_task(loop, aio_spawn_on(loop, name, __VA_ARGS__))
static aio_result run_task(aio_loop *l, aio_task *t)
{
    aio_result r = aio_loop_run_until_complete(l, aio_task_future(t));
    aio_detach(t);
    return r;
}

// --- an echo server with what it needs
#define ECHO "accept,recv,send,close"
struct echo { aio_frame aio; int listener, fd; char buf[64]; aio_result r; };
aio_async(echo) {
    aio_try(self->fd, aio_accept(self->listener));
    for (;;) {
        aio_await(self->r, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
        if (self->r <= 0) break;
        aio_await(self->r, aio_send_all(self->fd, self->buf, (size_t)self->r, 0));
        if (self->r < 0) break;
    }
    aio_await(aio_close(self->fd));
    return self->r;
} aio_end
struct opens { aio_frame aio; char path[32]; aio_result r; };
aio_async(opens) {
    aio_await(self->r, aio_openat(AT_FDCWD, "/etc/passwd", O_RDONLY, 0));
    return self->r;
} aio_end
struct waits { aio_frame aio; int fd; };
aio_async(waits) {
    aio_await(aio_wait_for(AIO_MSEC, aio_recv(self->fd, &self->fd, 1, 0)));      // a timer, and a cancel
    return 0;
} aio_end
static aio_result serves(aio_loop *l)
{
    int fds[2], listener = tcp_listener(4), client = tcp_client(port_of(listener));
    char got[8] = "";
    assert_int_equal(write(client, "hello", 5), 5);
    shutdown(client, SHUT_WR);
    assert_result(RUN(l, echo, .listener = listener), 0);
    assert_int_equal(read(client, got, sizeof got), 5);
    assert_string_equal(got, "hello");
    close(client);
    close(listener);
    pair_of(fds);
    assert_result(RUN(l, waits, .fd = fds[0]), 0);
    close(fds[0]);
    close(fds[1]);
    aio_result r = RUN(l, opens, .r = 0);
    if (r >= 0) close((int)r);
    return r < 0 ? r : 0;
}
static void an_echo_server_s_ring_cannot_open_a_file(void **state)
{
    (void)state;
    uring_begin();
    assert_result(attached(ECHO, serves), -EACCES);
    assert_result(attached(ECHO ",openat", serves), 0);         // the control: it is the list that does it
    uring_check(__FILE__, __LINE__);
}

// --- code of another's that has the ring's descriptor
static aio_result taken_over(aio_loop *l)
{
    aio_uring *u = (aio_uring *)l->backend_state;
    unsigned at = u->sq_tail & u->sq_mask;
    struct io_uring_sqe *sqe = &u->sqes[at];
    io_uring_prep_openat(sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
    sqe->user_data = 0;
    u->ring.sq.array[at] = at;
    __atomic_store_n(u->sq_ktail, u->sq_tail + 1, __ATOMIC_RELEASE);
    int r = io_uring_enter((unsigned)u->ring.ring_fd, 1, 1, IORING_ENTER_GETEVENTS, NULL);
    assert_true(r == 1 || r == -EACCES);        // a ring that does not submit all tells so
    assert_true(*u->cq_ktail != *u->cq_khead);
    r = u->cqes[*u->cq_khead & u->cq_mask].res;
    __atomic_store_n(u->cq_khead, *u->cq_khead + 1, __ATOMIC_RELEASE);
    u->sq_tail = u->sq_head = u->sq_tail + 1;
    assert_int_equal(io_uring_register_personality(&u->ring), -EACCES);
    assert_true(io_uring_register_eventfd(&u->ring, 1) == -EACCES);
    return r;
}
static void neither_can_code_that_took_the_program_over(void **state)
{
    (void)state;
    uring_begin();
    assert_result(attached(ECHO, taken_over), -EACCES);
    assert_result(attached("", taken_over), -EACCES);
    uring_check(__FILE__, __LINE__);
}

// --- buffers, direct descriptors and iterators are set up after the ring was restricted
static aio_buffer_ring buffers;
struct many { aio_frame aio; int fd; aio_many it; aio_result r; };
aio_async(many) {
    aio_try(aio_buffer_ring_init(&buffers, 4, 64));
    aio_try(aio_recv_many(&self->it, self->fd, &buffers));
    aio_await(self->r, aio_next(&self->it));
    aio_await(aio_gen_close(&self->it));
    aio_buffer_ring_close(&buffers);
    return self->r;
} aio_end
static aio_result registers(aio_loop *l)
{
    char memory[64];
    struct iovec v = { memory, sizeof memory };
    int fds[2], listener = tcp_listener(1);
    fds[0] = tcp_client(port_of(listener));
    fds[1] = accept(listener, NULL, NULL);
    close(listener);
    assert_result(aio_buffers_register(l, &v, 1), 0);
    assert_result(aio_buffers_unregister(l), 0);
    assert_result(aio_direct_register(l, 4), 0);
    assert_result(aio_direct_put(l, 1, fds[0]), 0);
    assert_result(aio_direct_unregister(l), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_result(RUN(l, many, .fd = fds[0]), 1);
    close(fds[0]);
    close(fds[1]);
    return 0;
}
static void what_the_toolkit_registers_is_allowed(void **state)
{
    (void)state;
    uring_begin();
    assert_result(attached("recv", registers), 0);
    uring_check(__FILE__, __LINE__);
}

// --- the list
static aio_result nothing(aio_loop *l)
{
    (void)l;
    return 0;
}
static void a_list_with_a_name_that_is_none_is_refused(void **state)
{
    (void)state;
    const char *bad[] = { "recv,sned", "recv,", ",", " recv", "recv send", "RECV" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uring_begin();
        expect_reports();
        assert_result(attached(bad[i], nothing), -EINVAL);
        assert_non_null(strstr(uring_told, "allow"));
        uring_reports = 0;
        uring_check(__FILE__, __LINE__);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_echo_server_s_ring_cannot_open_a_file),
        cmocka_unit_test(neither_can_code_that_took_the_program_over),
        cmocka_unit_test(what_the_toolkit_registers_is_allowed),
        cmocka_unit_test(a_list_with_a_name_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
