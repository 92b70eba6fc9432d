// Sockets that listen or connect: TCP and its options, Unix sockets, UDP.
#include "uring.h"

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t n = sizeof value;
    getsockopt(fd, level, name, &value, &n);
    return value;
}

// --- TCP
struct tcp { aio_frame aio; int a, b; aio_result r; };
aio_async(tcp) {
    static const struct aio_listen_options share = { 7, true, false, true, 0 };
    static const struct aio_listen_options six = { 0, false, true, false, 0 };
    aio_try(self->a, aio_listen_tcp_with("127.0.0.1", 0, &share));
    assert_int_equal(option(self->a, IPPROTO_TCP, TCP_NODELAY), 0);
    assert_int_equal(option(self->a, SOL_SOCKET, SO_REUSEPORT), 1);
    aio_await(self->r, aio_listen_tcp("127.0.0.1", port_of(self->a)));
    assert_result(self->r, -EADDRINUSE);
    aio_try(self->b, aio_listen_tcp_with("127.0.0.1", port_of(self->a), &share));
    close(self->a);
    close(self->b);
    aio_try(self->a, aio_listen_tcp("", 0));            // both families
    assert_int_equal(option(self->a, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option(self->a, SOL_SOCKET, SO_REUSEPORT), 0);
    self->b = tcp_client(port_of(self->a));
    assert_true(self->b >= 0);
    close(self->b);
    close(self->a);
    aio_await(self->r, aio_listen_tcp_with("::", 0, &six));
    if (self->r == -EAFNOSUPPORT) return 0;
    assert_true(self->r >= 0);
    assert_int_equal(option((int)self->r, IPPROTO_IPV6, IPV6_V6ONLY), 1);
    assert_result(tcp_client(port_of((int)self->r)), -ECONNREFUSED);
    close((int)self->r);
    aio_await(self->r, aio_listen_tcp("127.0.0.1", 65536));
    assert_result(self->r, -EINVAL);
    aio_await(self->r, aio_listen_tcp("192.0.2.1", 0));
    assert_result(self->r, -EADDRNOTAVAIL);
    return 0;
} aio_end
static void tcp_listeners_take_options(void **state)
{
    (void)state;
    assert_result(run(tcp), 0);
}

// --- Unix sockets
struct local {
    aio_frame aio;
    char path[64], long_path[200];
    int a, b, c;
    struct stat st;
    aio_result r;
};
aio_async(local) {
    static const struct aio_listen_options closed = { 0, false, false, false, 0600 };
    snprintf(self->path, sizeof self->path, "/tmp/aio-test-%d.sock", (int)getpid());
    aio_try(self->a, aio_listen_unix_with(self->path, &closed));
    assert_int_equal(stat(self->path, &self->st), 0);
    assert_int_equal(self->st.st_mode & 0777, 0600);
    aio_await(self->r, aio_listen_unix(self->path));    // somebody listens
    assert_result(self->r, -EADDRINUSE);
    assert_false(has_data(self->a));                    // which has not noticed it
    aio_try(self->b, aio_connect_unix(self->path));
    aio_try(self->c, aio_accept(self->a));
    assert_int_equal(write(self->b, "x", 1), 1);
    assert_true(has_data(self->c));
    close(self->b);
    close(self->c);
    close(self->a);
    aio_await(self->r, aio_connect_unix(self->path));
    assert_result(self->r, -ECONNREFUSED);
    aio_try(self->a, aio_listen_unix(self->path));      // the file is stale: replaced
    close(self->a);
    unlink(self->path);
    aio_await(self->r, aio_connect_unix(self->path));
    assert_result(self->r, -ENOENT);
    self->a = open(self->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(self->a);
    aio_await(self->r, aio_listen_unix(self->path));    // a file of another kind stays
    assert_result(self->r, -EADDRINUSE);
    assert_int_equal(stat(self->path, &self->st), 0);
    assert_true(S_ISREG(self->st.st_mode));
    unlink(self->path);
    aio_await(self->r, aio_listen_unix(""));
    assert_result(self->r, -EINVAL);
    aio_await(self->r, aio_listen_unix(NULL));
    assert_result(self->r, -EINVAL);
    memset(self->long_path, 'a', sizeof self->long_path - 1);
    aio_await(self->r, aio_listen_unix(self->long_path));
    assert_result(self->r, -ENAMETOOLONG);
    aio_await(self->r, aio_connect_unix(self->long_path));
    assert_result(self->r, -ENAMETOOLONG);
    aio_await(self->r, aio_listen_unix("/nowhere/at/all"));
    assert_result(self->r, -ENOENT);
    snprintf(self->path, sizeof self->path, "@aio-test-%d", (int)getpid());
    aio_try(self->a, aio_listen_unix(self->path));      // abstract: no file
    aio_try(self->b, aio_connect_unix(self->path));
    aio_await(self->r, aio_listen_unix(self->path));
    assert_result(self->r, -EADDRINUSE);
    close(self->a);
    close(self->b);
    return 0;
} aio_end
static void unix_sockets_replace_stale_files_only(void **state)
{
    (void)state;
    assert_result(run(local), 0);
}
// A full queue: the connection waits, and can be cancelled.
struct full { aio_frame aio; char path[64]; int a, b; aio_result r; };
aio_async(full) {
    static const struct aio_listen_options one = { 1, false, false, false, 0 };
    snprintf(self->path, sizeof self->path, "@aio-test-full-%d", (int)getpid());
    aio_try(self->a, aio_listen_unix_with(self->path, &one));
    for (;;) {
        aio_await(self->r, aio_wait_for(20 * AIO_MSEC, aio_connect_unix(self->path)));
        if (self->r < 0) break;
        aio_await(aio_close((int)self->r));
    }
    assert_true(self->r == -ETIMEDOUT || self->r == -EAGAIN);
    aio_await(aio_close(self->a));
    return 0;
} aio_end
static void a_unix_connection_to_a_full_queue_can_be_cancelled(void **state)
{
    (void)state;
    assert_result(run(full), 0);
}

// --- UDP
struct udp { aio_frame aio; int a, b; char buf[8]; aio_result r; };
aio_async(udp) {
    aio_try(self->a, aio_udp_bind("127.0.0.1", 0));
    aio_try(self->b, aio_udp_connect("127.0.0.1", port_of(self->a)));
    aio_await(self->r, aio_send(self->b, "ping", 4, 0));
    assert_result(self->r, 4);
    aio_await(self->r, aio_recv(self->a, self->buf, sizeof self->buf, 0));
    assert_result(self->r, 4);
    aio_await(self->r, aio_udp_bind("127.0.0.1", port_of(self->a)));
    assert_result(self->r, -EADDRINUSE);
    aio_await(aio_close(self->a));
    aio_await(aio_close(self->b));
    aio_try(self->a, aio_udp_bind("", 0));
    aio_await(aio_close(self->a));
    aio_await(self->r, aio_udp_bind("nowhere", 0));
    assert_result(self->r, -EINVAL);
    return 0;
} aio_end
static void udp_sockets_are_bound_and_connected(void **state)
{
    (void)state;
    assert_result(run(udp), 0);
}

// --- refusals of the system
static int no_ipv6(int domain, int type, int protocol)
{
    if (domain == AF_INET6) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    return socket(domain, type, protocol);
}
static int no_socket(int domain, int type, int protocol)
{
    (void)domain;
    (void)type;
    (void)protocol;
    errno = EMFILE;
    return -1;
}
MAKE(listens_all, void, aio_listen_tcp(NULL, 0))
MAKE(binds_all, void, aio_udp_bind(NULL, 0))
MAKE(listens_unix, void, aio_listen_unix("@aio-test-refused"))
MAKE(connects_unix, void, aio_connect_unix("@aio-test-refused"))
MAKE(listens_here, void, aio_listen_tcp("127.0.0.1", 0))
struct closes { aio_frame aio; make_fn make; aio_result r; };
aio_async(closes) {
    aio_await(self->r, self->make(NULL));
    if (self->r >= 0) aio_await(aio_close((int)self->r));
    return self->r < 0 ? self->r : 0;
} aio_end
static void a_machine_without_ipv6_or_descriptors_is_handled(void **state)
{
    (void)state;
    uring_hook.socket = no_ipv6;
    assert_result(run(closes, .make = listens_all), 0);
    assert_result(run(closes, .make = binds_all), 0);
    uring_hook.socket = no_socket;
    assert_result(run(closes, .make = listens_all), -EMFILE);
    assert_result(run(closes, .make = binds_all), -EMFILE);
    assert_result(run(closes, .make = listens_unix), -EMFILE);
    assert_result(run(closes, .make = connects_unix), -EMFILE);
    uring_hook.socket = NULL;
}
// A descriptor that an op gave and nobody took is closed.
struct untaken { aio_frame aio; make_fn make; aio_op op; };
aio_async(untaken) {
    assert_result(aio_start(&self->op, self->make(NULL)), 0);
    return 0;
} aio_end
static void what_nobody_takes_is_closed(void **state)
{
    (void)state;
    assert_result(run(untaken, .make = listens_all), 0);
    assert_result(run(untaken, .make = listens_here), 0);
    assert_result(run(untaken, .make = listens_unix), 0);
    assert_result(run(untaken, .make = binds_all), 0);
    assert_result(run(untaken, .make = connects_unix), 0);
}

// --- a path belongs to whoever has bound it, of any type, before it listens too
struct takes { aio_frame aio; const char *path; };
aio_async(takes) {
    aio_result r;
    aio_await(r, aio_listen_unix(self->path));
    return r;
} aio_end
static int bound_unix(const char *path, int type)
{
    struct sockaddr_un a;
    memset((void *)&a, 0, sizeof a);
    a.sun_family = AF_UNIX;
    strcpy(a.sun_path, path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}
static void a_path_that_somebody_has_bound_is_not_taken(void **state)
{
    static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };
    char path[64];
    struct stat before, after;
    (void)state;
    snprintf(path, sizeof path, "/tmp/aio-test-bound-%d", (int)getpid());
    for (int i = 0; i < 6; i++) {
        int fd = bound_unix(path, types[i / 2]);
        if (i & 1) listen(fd, 1);
        assert_int_equal(stat(path, &before), 0);
        assert_result(run(takes, .path = path), -EADDRINUSE);
        assert_int_equal(stat(path, &after), 0);
        assert_int_equal(after.st_ino, before.st_ino);
        close(fd);
        aio_result r = aio_run(takes, .path = path);        // now it is stale
        assert_true(r >= 0);
        close((int)r);
        unlink(path);
    }
}
// Of those that find a stale file at a time one wins.
enum { TAKERS = 3, ROUNDS_OF_TAKERS = 300 };
static struct { const char *path; pthread_barrier_t start; aio_result results[TAKERS]; } race;
static void *taker(void *arg)
{
    pthread_barrier_wait(&race.start);
    race.results[(intptr_t)arg] = aio_run(takes, .path = race.path);
    return NULL;
}
static void of_those_that_replace_a_stale_file_one_wins(void **state)
{
    char path[64];
    (void)state;
    snprintf(path, sizeof path, "/tmp/aio-test-race-%d", (int)getpid());
    race.path = path;
    pthread_barrier_init(&race.start, NULL, TAKERS);
    for (int round = 0; round < ROUNDS_OF_TAKERS; round++) {
        pthread_t threads[TAKERS];
        int won = 0;
        unlink(path);
        close(bound_unix(path, SOCK_STREAM));
        for (intptr_t i = 0; i < TAKERS; i++) pthread_create(&threads[i], NULL, taker, (void *)i);
        for (int i = 0; i < TAKERS; i++) pthread_join(threads[i], NULL);
        for (int i = 0; i < TAKERS; i++) {
            if (race.results[i] < 0) assert_result(race.results[i], -EADDRINUSE);
            else close((int)race.results[i]);
            won += race.results[i] >= 0;
        }
        assert_int_equal(won, 1);
    }
    pthread_barrier_destroy(&race.start);
    unlink(path);
}

// --- a header whose padding is not zero (as with musl), and ancillary data
static void message_headers_are_taken_member_by_member(void **state)
{
    struct msghdr given, seen, expected;
    union { struct cmsghdr head; char room[CMSG_SPACE(sizeof(int))]; } control;
    (void)state;
    memset((void *)&given, 0xa5, sizeof given);
    memset((void *)&seen, 0x5a, sizeof seen);
    memset((void *)&expected, 0, sizeof expected);
    expected.msg_name = given.msg_name = &given;
    expected.msg_namelen = given.msg_namelen = 3;
    expected.msg_iov = given.msg_iov = (struct iovec *)(void *)&seen;
    expected.msg_iovlen = given.msg_iovlen = 1;
    expected.msg_control = given.msg_control = &control;
    expected.msg_controllen = given.msg_controllen = sizeof control;
    expected.msg_flags = given.msg_flags = 5;
    aio__message_header(&seen, &given);
    assert_memory_equal(&seen, &expected, sizeof seen);
    memset((void *)&control, 0xa5, sizeof control);
    struct cmsghdr *c = CMSG_FIRSTHDR(&seen);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    aio__message_control(&seen);
    assert_int_equal(control.head.cmsg_len, CMSG_LEN(sizeof(int)));
    assert_int_equal(control.head.cmsg_type, SCM_RIGHTS);
    assert_memory_equal(CMSG_DATA(c), "\xa5\xa5\xa5\xa5", 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tcp_listeners_take_options),
        cmocka_unit_test(unix_sockets_replace_stale_files_only),
        cmocka_unit_test(a_unix_connection_to_a_full_queue_can_be_cancelled),
        cmocka_unit_test(udp_sockets_are_bound_and_connected),
        cmocka_unit_test(a_machine_without_ipv6_or_descriptors_is_handled),
        cmocka_unit_test(what_nobody_takes_is_closed),
        cmocka_unit_test(a_path_that_somebody_has_bound_is_not_taken),
        cmocka_unit_test(of_those_that_replace_a_stale_file_one_wins),
        cmocka_unit_test(message_headers_are_taken_member_by_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
