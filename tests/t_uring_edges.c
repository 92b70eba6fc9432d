// Where the kernel does something else than it seems: closes that linger, overruns that look like a
// lack of buffers, buffers at odd addresses, zones of addresses, paths that are read late.
#include "uring.h"
#include <linux/netlink.h>
#include <net/if.h>

// --- a close that lingers
struct lingers { aio_frame aio; int listener, a, b; aio_task *t; aio_result r; };
struct closes { aio_frame aio; int fd; };
aio_async(closes) {
    aio_result r;
    aio_await(r, aio_close(self->fd));
    return r;
} aio_end
aio_async(lingers) {
    self->listener = tcp_listener(4);
    self->a = tcp_client(port_of(self->listener));
    aio_try(self->b, aio_accept(self->listener));
    fill(self->a);                          // and the peer does not read
    setsockopt(self->a, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 30 }, sizeof(struct linger));
    self->t = aio_spawn(closes, .fd = self->a);
    aio_try(aio_sleep(20 * AIO_MSEC));      // the loop goes on
    aio_await(aio_close(self->b));          // which resets the connection: the close can end
    aio_await(self->r, aio_join(self->t));
    close(self->listener);
    return self->r;
} aio_end
static void a_close_that_lingers_does_not_stop_the_loop(void **state)
{
    (void)state;
    alarm(25);
    assert_result(run(lingers), 0);
    alarm(0);
}

// --- an overrun of a netlink socket
static aio_buffer_ring buffers;
static int netlink_of(unsigned groups)
{
    struct sockaddr_nl a;
    int s = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_USERSOCK), room = 3000;
    memset(&a, 0, sizeof a);
    a.nl_family = AF_NETLINK;
    a.nl_groups = groups;
    if (s < 0 || bind(s, (struct sockaddr *)&a, sizeof a)) return -1;
    setsockopt(s, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    return s;
}
static void send_netlink(int s, int n)
{
    struct sockaddr_nl to;
    struct nlmsghdr h;
    memset(&to, 0, sizeof to);
    memset(&h, 0, sizeof h);
    to.nl_family = AF_NETLINK;
    to.nl_groups = 1;
    h.nlmsg_len = sizeof h;
    while (n--) (void)sendto(s, &h, sizeof h, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to);
}
struct overrun { aio_frame aio; int rx, tx, message; aio_many it; aio_result r; };
aio_async(overrun) {
    aio_try(aio_buffer_ring_init(&buffers, 8, 512));
    send_netlink(self->tx, 400);
    if (self->message) aio_try(aio_recvmsg_many(&self->it, self->rx, &buffers, 0));
    else aio_try(aio_recv_many(&self->it, self->rx, &buffers));
    do aio_await(self->r, aio_wait_for(AIO_SECOND, aio_next(&self->it)));
    while (self->r == 1);
    assert_result(self->r, -ENOBUFS);                       // told once, and it goes on
    while (recv(self->rx, (char[512]){ 0 }, 512, MSG_DONTWAIT) > 0) {}
    send_netlink(self->tx, 1);
    aio_await(self->r, aio_wait_for(5 * AIO_SECOND, aio_next(&self->it)));
    assert_result(self->r, 1);
    aio_await(aio_gen_close(&self->it));
    return aio_buffer_ring_close(&buffers);
} aio_end
static void an_overrun_is_told_and_is_no_lack_of_buffers(void **state)
{
    (void)state;
    for (int message = 0; message < 2; message++) {
        int rx = netlink_of(1), tx = netlink_of(0);
        if (rx < 0 || tx < 0) skip();
        assert_result(run(overrun, .rx = rx, .tx = tx, .message = message), 0);
        close(rx);
        close(tx);
    }
}

// --- messages in the caller's storage, wherever it begins
static char storage[8 * 400 + 16] __attribute__((aligned(16)));
static void look_at_message(struct msghdr *m, int port)
{
    const struct sockaddr_in *from = (const struct sockaddr_in *)m->msg_name;
    const struct cmsghdr *c = CMSG_FIRSTHDR(m);
    assert_int_equal((uintptr_t)from % 8, 0);
    assert_int_equal(ntohs(from->sin_port), port);
    assert_non_null(c);
    assert_int_equal((uintptr_t)c % 8, 0);
    assert_int_equal(c->cmsg_type, SCM_TIMESTAMP);
}
struct odd { aio_frame aio; size_t at, size; int fds[2], i; aio_many it; aio_result r; };
aio_async(odd) {
    aio_try(aio_buffer_ring_init_over(&buffers, storage + self->at, 8, self->size));
    aio_try(self->fds[0], aio_udp_bind("127.0.0.1", 0));
    setsockopt(self->fds[0], SOL_SOCKET, SO_TIMESTAMP, &(int){ 1 }, sizeof(int));
    aio_try(self->fds[1], aio_udp_connect("127.0.0.1", port_of(self->fds[0])));
    aio_try(aio_recvmsg_many(&self->it, self->fds[0], &buffers, 64));
    for (self->i = 0; self->i < 20; self->i++) {
        assert_int_equal(send(self->fds[1], "message", 7, 0), 7);
        aio_await(self->r, aio_next(&self->it));
        assert_result(self->r, 1);
        assert_int_equal(aio_gen_value(&self->it), 7);
        assert_memory_equal(self->it.data, "message", 7);
        look_at_message(&self->it.message, port_of(self->fds[1]));
    }
    aio_await(aio_gen_close(&self->it));
    close(self->fds[0]);
    close(self->fds[1]);
    return aio_buffer_ring_close(&buffers);
} aio_end
static void messages_in_storage_at_any_address(void **state)
{
    (void)state;
    for (size_t at = 0; at < 9; at++)
        for (size_t size = 392; size < 400; size += 1 + at % 3)
            assert_result(run(odd, .at = at, .size = size), 0);
}

// --- zones
struct zones { aio_frame aio; const char *host; aio_result bound, connected; };
aio_async(zones) {
    aio_await(self->bound, aio_udp_bind(self->host, 0));
    if (self->bound >= 0) aio_await(aio_close((int)self->bound));
    aio_await(self->connected, aio_udp_connect(self->host, 9));
    if (self->connected >= 0) aio_await(aio_close((int)self->connected));
    return self->bound >= 0 ? 0 : self->bound;
} aio_end
static void addresses_with_a_zone(void **state)
{
    static const char *const wrong[] = { "::1%", "::1%x", "::1%1x", "::1%-1", "::1% 1", "::1%4294967296",
        "1.2.3.4%1", "%1", "::1%lo", "fe80::1%nosuchinterface", "1:2:3:4:5:6:7:8:9%1" };
    (void)state;
    int s = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_in6 a;
    memset(&a, 0, sizeof a);
    a.sin6_family = AF_INET6;
    a.sin6_addr = in6addr_loopback;
    bool none = s < 0 || bind(s, (struct sockaddr *)&a, sizeof a);
    if (s >= 0) close(s);
    if (none) test_skip("no IPv6 here");
    assert_result(run(zones, .host = "::1"), 0);
    assert_result(run(zones, .host = "::1%1"), 0);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_result(run(zones, .host = wrong[i]), -EINVAL);
    aio_result r = run(zones, .host = "fe80::1%lo");        // an address that is not here
    assert_true(r != -EINVAL);
    assert_true(r == run(zones, .host = "fe80::1%1"));
}

// --- before Linux 5.18 a statx reads its path when a kernel thread comes to it
static bool in_arena, submitted;
static int look(unsigned fd, unsigned submit, unsigned wait, unsigned flags, sigset_t *extra,
                size_t size)
{
    aio_uring *u = uring_of_loop();
    for (uint32_t i = 0; u && i < submit; i++) {
        const struct io_uring_sqe *sqe = &u->sqes[(u->sq_tail - submit + i) & u->sq_mask];
        if (sqe->opcode != IORING_OP_STATX) continue;
        const char *seen = (const char *)(uintptr_t)sqe->addr;
        submitted = true;
        assert_string_equal(seen, "/proc/self/status");
        in_arena = seen >= u->arena && seen < u->arena + u->arena_size;
    }
    return io_uring_enter2(fd, submit, wait, flags, extra, size);
}
struct stats { aio_frame aio; struct statx stx; aio_op op; char path[32]; aio_result r; };
aio_async(stats) {
    strcpy(self->path, "/proc/self/status");
    aio_try(aio_start(&self->op, aio_statx(AT_FDCWD, self->path, 0, STATX_SIZE, &self->stx)));
    memset(self->path, 'x', sizeof self->path);
    aio_await(aio_nop());
    aio_await(self->r, aio_op_wait(&self->op));
    return self->r;
} aio_end
static void a_path_that_is_read_late_is_kept(void **state)
{
    const char *before = getenv("AIO_URING_LEVEL");
    char was[8];
    (void)state;
    snprintf(was, sizeof was, "%s", before ? before : "");
    uring_hook.enter = look;
    for (int level = 1; level <= 4; level++) {
        char text[2] = { (char)('0' + level), 0 };
        setenv("AIO_URING_LEVEL", text, 1);
        in_arena = submitted = false;
        assert_result(run(stats), 0);
        assert_true(submitted);
        if (level == 4) assert_false(in_arena);
    }
    uring_hook.enter = NULL;
    if (before) setenv("AIO_URING_LEVEL", was, 1);
    else unsetenv("AIO_URING_LEVEL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_close_that_lingers_does_not_stop_the_loop),
        cmocka_unit_test(an_overrun_is_told_and_is_no_lack_of_buffers),
        cmocka_unit_test(messages_in_storage_at_any_address),
        cmocka_unit_test(addresses_with_a_zone),
        cmocka_unit_test(a_path_that_is_read_late_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
