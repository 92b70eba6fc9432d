// The servers among the examples under the step driver: cancelled at every turn, they leak nothing.
// TIMEOUT 1200
#include "steps.h"

#include "aio_io_uring.h"

// The examples print into the void here, and their mains are not called.
static FILE *example_sink;
#define printf(...) fprintf(example_sink, __VA_ARGS__)
#define main proxy_main
#include "../examples/29_proxy.c"
#undef main
#define main chat_main
#include "../examples/30_chat.c"
#undef main
#define main udp_echo_main
#include "../examples/31_udp_echo.c"
#undef main
#undef printf

static aio_result attach(aio_loop *loop, void *arg)
{
    (void)arg;
    return aio_uring_attach(loop, NULL);
}
static void need_ring(void)
{
    aio_loop loop;
    assert_result(aio_loop_init(&loop, NULL), 0);
    aio_result r = attach(&loop, NULL);
    aio_loop_close(&loop);
    if (r < 0) test_skip("io_uring is refused here");
}
static int port_of(int fd)
{
    struct sockaddr_in a;
    socklen_t length = sizeof a;
    assert_true(!getsockname(fd, (struct sockaddr *)&a, &length));
    return ntohs(a.sin_port);
}
static int free_port(int type)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof a));
    int port = port_of(fd);
    close(fd);
    return port;
}
// Says something to a server of this loop as soon as it listens, ends that direction, and reads to
// the end, or until `last` has come.
struct say {
    aio_frame aio;
    int port, fd, i;
    const char *text, *last;
    aio_result n;
    size_t len;
    char buf[1000];
};
aio_async(say) {
    do {
        aio_await(aio_sleep(AIO_MSEC));
        aio_await(self->n, aio_connect_tcp("127.0.0.1", self->port));
    } while (self->n == -ECONNREFUSED && self->i++ < 20);
    if (self->n < 0) return self->n;
    self->fd = (int)self->n;
    aio_await(self->n, aio_send_all(self->fd, self->text, strlen(self->text), 0));
    if (!self->last) aio_await(aio_shutdown(self->fd, SHUT_WR));
    while (self->n > 0 && !(self->last && strstr(self->buf, self->last))) {
        aio_await(self->n,
                  aio_recv(self->fd, self->buf + self->len, sizeof self->buf - 1 - self->len, 0));
        if (self->n > 0) self->len += (size_t)self->n;
    }
    aio_await(aio_close(self->fd));
    return self->n < 0 ? self->n : 0;
} aio_end

static void unless_cancelled(aio_result r, void *arg)
{
    (void)arg;          // the cancel may have hit the server, or the other end
    assert_true(r == 0 || r == -ECANCELED || r == -ECONNREFUSED || r == -ECONNRESET ||
                r == -EPIPE || r == -ETIMEDOUT);
}

// --- the proxy, and somebody behind it
struct behind { aio_frame aio; int listener, fd; aio_result n; char buf[100]; };
aio_drop(behind) { if (dropped < 0) close(self->listener); } aio_end
aio_async(behind) {
    aio_await(self->n, aio_accept(self->listener));
    if (self->n >= 0) {
        self->fd = (int)self->n;
        do {
            aio_await(self->n, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
        } while (self->n > 0);
        if (self->n == 0) aio_await(aio_send_all(self->fd, "answer", 6, 0));
        aio_await(aio_close(self->fd));
    }
    aio_await(aio_close(self->listener));
    return 0;
} aio_end
struct proxied {
    aio_frame aio;
    struct proxy_options options;
    aio_task *proxy, *behind;
    int port;
    aio_result r;
    struct say say;
};
aio_async(proxied) {
    int listener;
    aio_try(listener, aio_listen_tcp("127.0.0.1", 0));
    self->options = (struct proxy_options){ "127.0.0.1", port_of(listener), 50 * AIO_MSEC };
    self->behind = aio_spawn(behind, .listener = listener);
    self->proxy = aio_spawn(proxy, .options = self->options, .own_port = self->port);
    aio_await(self->r, aio_call(&self->say, say, .port = self->port, .text = "question"));
    if (self->r == 0 && self->say.len) assert_string_equal(self->say.buf, "answer");
    aio_task_cancel(self->proxy);
    aio_task_cancel(self->behind);
    aio_await(aio_join(self->proxy));
    aio_await(aio_join(self->behind));
    return self->r;
} aio_end
static aio_task *spawn_proxied(aio_loop *loop, void *arg)
{
    (void)arg;
    return aio_spawn_on(loop, proxied, .port = free_port(SOCK_STREAM));
}
static void proxy_is_safe(void **state)
{
    struct steps s = {.spawn = spawn_proxied,
                      .prepare = attach,
                      .victims = 6,
                      .limit = 60,
                      .real_clock = true,
                      .check = unless_cancelled};
    (void)state;
    need_ring();
    assert_true(steps_run(&s) > 60);
}

// --- the chat
struct chatted { aio_frame aio; int port; aio_task *chat, *bob; aio_result r; struct say say; };
aio_async(chatted) {
    self->chat = aio_spawn(chat, .port = self->port);
    self->bob = aio_spawn(say, .port = self->port, .text = "bob\n", .last = "ann is gone");
    aio_await(self->r, aio_call(&self->say, say, .port = self->port, .text = "ann\nhello\n/who\n",
                                .last = "hello\n"));
    aio_await(aio_wait_for(100 * AIO_MSEC, aio_join(self->bob)));
    aio_task_cancel(self->chat);
    aio_await(aio_join(self->chat));
    return self->r;
} aio_end
static aio_task *spawn_chatted(aio_loop *loop, void *arg)
{
    (void)arg;
    return aio_spawn_on(loop, chatted, .port = free_port(SOCK_STREAM));
}
static void chat_is_safe(void **state)
{
    struct steps s = {.spawn = spawn_chatted,
                      .prepare = attach,
                      .victims = 5,
                      .limit = 60,
                      .real_clock = true,
                      .check = unless_cancelled};
    (void)state;
    need_ring();
    assert_true(steps_run(&s) > 60);
}

// --- datagrams
struct echoed { aio_frame aio; int port, fd; aio_task *server; aio_result r; char buf[100]; };
aio_async(echoed) {
    self->server = aio_spawn(server, .port = self->port);
    aio_await(aio_sleep(0));
    aio_await(self->r, aio_udp_connect("127.0.0.1", self->port));
    if (self->r >= 0) {
        self->fd = (int)self->r;
        aio_await(self->r, aio_send(self->fd, "hello", 5, 0));
        if (self->r >= 0)
            aio_await(self->r, aio_wait_for(20 * AIO_MSEC,
                                            aio_recv(self->fd, self->buf, sizeof self->buf, 0)));
        aio_await(aio_close(self->fd));
    }
    aio_task_cancel(self->server);
    aio_await(aio_join(self->server));
    return self->r < 0 ? self->r : 0;
} aio_end
static aio_task *spawn_echoed(aio_loop *loop, void *arg)
{
    (void)arg;
    return aio_spawn_on(loop, echoed, .port = free_port(SOCK_DGRAM));
}
static void udp_echo_is_safe(void **state)
{
    struct steps s = {.spawn = spawn_echoed,
                      .prepare = attach,
                      .victims = 4,
                      .limit = 30,
                      .real_clock = true,
                      .check = unless_cancelled};
    (void)state;
    need_ring();
    assert_true(steps_run(&s) > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proxy_is_safe),
        cmocka_unit_test(chat_is_safe),
        cmocka_unit_test(udp_echo_is_safe),
    };
    example_sink = fopen("/dev/null", "we");
    return example_sink ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
