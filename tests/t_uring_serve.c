// aio_serve: a handler for each connection, limits, pauses, stopping.
#include "uring.h"

static struct { int begun, ended, cancelled, dropped, cleaned; } seen;

// A handler that echoes until the end.
struct echo { aio_frame aio; int fd; const char *greeting; char buf[256]; aio_result n; };
aio_async(echo) {
    seen.begun++;
    if (self->greeting) aio_await(self->n, aio_send_all(self->fd, self->greeting, 2, 0));
    for (;;) {
        aio_await(self->n, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
        if (self->n <= 0) break;
        aio_await(self->n, aio_send_all(self->fd, self->buf, (size_t)self->n, 0));
        if (self->n < 0) break;
    }
    seen.ended++;
    seen.cancelled += self->n == -ECANCELED;
    aio_await(aio_close(self->fd));
    return self->n;
} aio_end

// One client: sends, expects it back, closes.
struct client { aio_frame aio; int port, fd; char buf[16]; aio_result r; };
aio_async(client) {
    aio_try(self->fd, aio_connect_tcp("127.0.0.1", self->port));
    aio_await(self->r, aio_send_all(self->fd, "question", 8, 0));
    if (self->r >= 0) aio_await(self->r, aio_recv(self->fd, self->buf, 8, MSG_WAITALL));
    if (self->r >= 0) assert_memory_equal(self->buf, "question", 8);
    aio_await(aio_close(self->fd));
    return self->r;
} aio_end

struct server { aio_frame aio; aio_server *server; int listener; uint32_t limit; const char *greeting; };
aio_async(server) {
    aio_result r;
    self->server->limit = self->limit;
    aio_await(r, aio_serve(self->server, self->listener, echo, .greeting = self->greeting));
    assert_null(self->server->serving);
    assert_int_equal(self->server->live, 0);
    return r;
} aio_end

#define MAX 64
struct many { aio_frame aio; aio_server server; int listener, n, i; uint32_t limit;
              aio_task *task, *clients[MAX]; aio_result r; };
aio_async(many) {
    memset(&seen, 0, sizeof seen);
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    self->task = aio_spawn(server, .server = &self->server, .listener = self->listener,
                           .limit = self->limit);
    for (self->i = 0; self->i < self->n; self->i++)
        self->clients[self->i] = aio_spawn(client, .port = port_of(self->listener));
    for (self->i = 0; self->i < self->n; self->i++) {
        aio_await(self->r, aio_join(self->clients[self->i]));
        assert_result(self->r, 8);
        if (self->limit) assert_true(self->server.live <= self->limit);
    }
    assert_int_equal(self->server.accepted, self->n);
    assert_int_equal(self->server.refused, 0);
    assert_result(aio_server_stop(&self->server, AIO_SECOND), 0);
    aio_await(self->r, aio_join(self->task));
    assert_result(self->r, 0);
    assert_result(aio_server_stop(&self->server, 0), -EINVAL);
    assert_int_equal(seen.begun, self->n);
    assert_int_equal(seen.ended, self->n);
    assert_int_equal(seen.cancelled, 0);
    aio_await(aio_close(self->listener));
    return 0;
} aio_end
static void every_connection_has_its_handler(void **state)
{
    (void)state;
    assert_result(run(many, .n = MAX), 0);
    assert_result(run(many, .n = MAX, .limit = 3), 0);
    assert_result(run(many, .n = MAX, .limit = 1), 0);
}

// --- the ends of a server, with two connections that go on
enum {
    STOP_NOW,
    STOP_LATE,
    STOP_DRAINED,
    STOP_SHORTENED,
    CANCELLED,
    CLOSED,
    CANCELLED_DRAINING,
    LEFT
};
struct ends { aio_frame aio; int how; aio_server server; int listener, a, b; char buf[8];
              aio_task *task; aio_result r; };
aio_async(ends) {
    memset(&seen, 0, sizeof seen);
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    self->task = aio_spawn(server, .server = &self->server, .listener = self->listener,
                           .greeting = "hi");
    self->a = tcp_client(port_of(self->listener));
    self->b = tcp_client(port_of(self->listener));
    aio_await(self->r, aio_recv(self->a, self->buf, 2, 0));
    aio_await(self->r, aio_recv(self->b, self->buf, 2, 0));
    assert_int_equal(self->server.live, 2);
    aio_await(self->r, aio_wait_for(AIO_SECOND, aio_serve(&self->server, self->listener, echo)));
    assert_result(self->r, -EBUSY);
    if (self->how == STOP_NOW) assert_result(aio_server_stop(&self->server, 0), 0);
    if (self->how == STOP_LATE) assert_result(aio_server_stop(&self->server, 5 * AIO_MSEC), 0);
    if (self->how == STOP_DRAINED || self->how == STOP_SHORTENED || self->how == CANCELLED_DRAINING)
        assert_result(aio_server_stop(&self->server, AIO_FOREVER), 0);
    if (self->how == CANCELLED) aio_task_cancel(self->task);
    if (self->how == CLOSED) aio_await(aio_close(self->listener));
    aio_await(aio_sleep(2 * AIO_MSEC));
    if (self->how == STOP_DRAINED || self->how == CLOSED) {
        assert_int_equal(self->server.live, 2);         // they go on
        close(self->a);
        close(self->b);
    }
    if (self->how == STOP_SHORTENED) {
        close(self->a);
        aio_await(aio_sleep(2 * AIO_MSEC));
        assert_int_equal(self->server.live, 1);
        assert_result(aio_server_stop(&self->server, AIO_MSEC), 0);
    }
    if (self->how == CANCELLED_DRAINING) aio_task_cancel(self->task);
    aio_await(self->r, aio_join(self->task));
    assert_result(self->r, self->how == CANCELLED || self->how == CANCELLED_DRAINING ? -ECANCELED
                           : self->how == CLOSED                                     ? -EBADF
                                                                                     : 0);
    assert_int_equal(seen.ended, 2);
    assert_int_equal(seen.cancelled, self->how == STOP_DRAINED || self->how == CLOSED ? 0
                                     : self->how == STOP_SHORTENED                    ? 1
                                                                                      : 2);
    if (self->how != CLOSED) aio_await(aio_close(self->listener));
    if (self->how != STOP_DRAINED && self->how != CLOSED) {
        if (self->how != STOP_SHORTENED) close(self->a);
        close(self->b);
    }
    return 0;
} aio_end
static void ST_5_a_stopped_server_lets_connections_end(void **state)
{
    (void)state;
    assert_result(run(ends, .how = STOP_DRAINED), 0);
    assert_result(run(ends, .how = CLOSED), 0);
}
static void a_deadline_and_a_cancel_end_connections(void **state)
{
    (void)state;
    assert_result(run(ends, .how = STOP_NOW), 0);
    assert_result(run(ends, .how = STOP_LATE), 0);
    assert_result(run(ends, .how = STOP_SHORTENED), 0);
    assert_result(run(ends, .how = CANCELLED), 0);
    assert_result(run(ends, .how = CANCELLED_DRAINING), 0);
}

// --- handlers that never begin: their connection is closed
struct mute { aio_frame aio; int fd; };
aio_async(mute) {
    seen.begun++;
    aio_await(aio_close(self->fd));
    return 0;
} aio_end
struct tidy { aio_frame aio; int fd; int extra; };
aio_async(tidy) {
    assert_int_equal(self->extra, 42);
    seen.begun++;
    aio_await(aio_close(self->fd));
    return 0;
} aio_end
aio_drop(tidy) {
    if (dropped >= 0) return 0;                 // it ran, and its result is lost
    assert_int_equal(self->extra, 42);
    self->extra = 0;                            // no other handler sees it
    seen.dropped++;
    close(self->fd);
    return 0;
} aio_end
struct early { aio_frame aio; aio_server server; int listener, fd, with_hook, *never; aio_task *t; };
struct early_server { aio_frame aio; struct early *e; };
aio_async(early_server) {
    aio_result r;
    if (self->e->with_hook)
        aio_await(r, aio_serve(&self->e->server, self->e->listener, tidy, .extra = 42));
    else
        aio_await(r, aio_serve(&self->e->server, self->e->listener, mute));
    return r;
} aio_end
aio_async(early) {
    memset(&seen, 0, sizeof seen);
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    aio_uring_attach(aio_running_loop(), NULL);
    self->t = aio_spawn(early_server, .e = self);
    aio_await(aio_sleep(0));
    self->fd = tcp_client(port_of(self->listener));
    while (!self->server.live) {                    // its task is made and has not run
        uring_reap_now();
        aio_await(aio_sleep(0));
    }
    aio_task_cancel(self->t);
    aio_await(aio_join(self->t));
    assert_int_equal(seen.begun + seen.dropped, self->with_hook || seen.begun);
    self->never[self->with_hook] += !seen.begun;
    close(self->fd);
    aio_await(aio_close(self->listener));
    return 0;
} aio_end
static void a_handler_that_never_began_leaves_no_connection(void **state)
{
    int never[2] = { 0, 0 };
    (void)state;
    for (int i = 0; i < 60; i++) {
        struct aio_loop_options o = uring_options();
        o.seed = (uint64_t)i + 1;               // only a shuffled turn cancels it that early
        uring_begin();
        assert_result(aio_run_with(&o, early, .with_hook = i & 1, .never = never), 0);
        uring_check(__FILE__, __LINE__);
    }
    assert_true(never[0] && never[1]);
}

// --- hazard 28: no descriptor left: it waits and goes on
struct emfile { aio_frame aio; aio_server server; int listener, clients[2], spare[64], n, i;
                aio_task *t; struct rlimit limit, low; aio_result r; char buf[4]; };
aio_async(emfile) {
    memset(&seen, 0, sizeof seen);
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    self->t = aio_spawn(server, .server = &self->server, .listener = self->listener,
                        .greeting = "hi");
    aio_await(aio_sleep(AIO_MSEC));
    self->clients[0] = tcp_client(port_of(self->listener));
    aio_await(self->r, aio_recv(self->clients[0], self->buf, 2, 0));
    assert_result(self->r, 2);
    self->clients[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    getrlimit(RLIMIT_NOFILE, &self->limit);
    self->low = self->limit;
    self->low.rlim_cur = (rlim_t)self->clients[1] + 1;
    // The accept in flight was armed with the old limit; one that it lets through arms the next.
    setrlimit(RLIMIT_NOFILE, &self->low);
    {
        struct sockaddr_in a = loopback(port_of(self->listener));
        assert_int_equal(connect(self->clients[1], (struct sockaddr *)&a, sizeof a), 0);
    }
    for (self->i = 0; self->i < 100 && !uring_reports && seen.begun < 2; self->i++)
        aio_await(aio_sleep(AIO_MSEC));
    setrlimit(RLIMIT_NOFILE, &self->limit);
    aio_await(self->r, aio_recv(self->clients[1], self->buf, 2, 0));
    assert_result(self->r, 2);
    close(self->clients[0]);
    close(self->clients[1]);
    aio_server_stop(&self->server, AIO_FOREVER);
    aio_await(self->r, aio_join(self->t));
    assert_result(self->r, 0);
    assert_int_equal(seen.ended, 2);
    aio_await(aio_close(self->listener));
    return 0;
} aio_end
static void hazard_28_no_descriptor_left_is_a_pause(void **state)
{
    (void)state;
    expect_reports();
    assert_result(run(emfile), 0);
}

// --- what handlers return goes to on_error; not a cancel
struct fails { aio_frame aio; int fd; };
aio_async(fails) {
    aio_await(aio_close(self->fd));
    return -EPROTO;
} aio_end
struct failing { aio_frame aio; aio_server server; int listener; aio_op op; aio_task *t; };
struct failing_server { aio_frame aio; struct failing *f; };
aio_async(failing_server) {
    aio_result r;
    aio_await(r, aio_serve(&self->f->server, self->f->listener, fails));
    return r;
} aio_end
aio_async(failing) {
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    self->t = aio_spawn(failing_server, .f = self);
    close(tcp_client(port_of(self->listener)));
    close(tcp_client(port_of(self->listener)));
    while (self->server.accepted < 2 || self->server.live) aio_await(aio_sleep(AIO_MSEC));
    aio_server_stop(&self->server, 0);
    aio_await(aio_join(self->t));
    assert_int_equal(uring_reports, 2);
    assert_non_null(strstr(uring_told, "EPROTO"));
    // one that cannot be started as an op is dropped
    assert_result(aio_start(&self->op, aio_serve(&self->server, self->listener, fails)), -EINVAL);
    aio_await(aio_close(self->listener));
    return 0;
} aio_end
static void errors_of_handlers_are_reported(void **state)
{
    (void)state;
    expect_reports();
    assert_result(run(failing), 0);
}

// --- a handler stops its own server
struct quits { aio_frame aio; int fd; aio_server *server; aio_result r; char c; };
aio_async(quits) {
    aio_await(self->r, aio_recv(self->fd, &self->c, 1, 0));
    aio_server_stop(self->server, AIO_FOREVER);
    aio_await(aio_close(self->fd));
    return 0;
} aio_end
struct quitting { aio_frame aio; aio_server server; int listener, fd; aio_result r; };
struct knock { aio_frame aio; int port; int fd; };
aio_async(knock) {
    aio_try(self->fd, aio_connect_tcp("127.0.0.1", self->port));
    aio_await(aio_send(self->fd, "q", 1, 0));
    aio_await(aio_close(self->fd));
    return 0;
} aio_end
aio_async(quitting) {
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    aio_detach(aio_spawn(knock, .port = port_of(self->listener)));
    aio_await(self->r, aio_serve(&self->server, self->listener, quits, .server = &self->server));
    aio_await(aio_close(self->listener));
    return self->r;
} aio_end
static void a_handler_may_stop_its_server(void **state)
{
    (void)state;
    assert_result(run(quitting), 0);
}

// --- memory: constant over many connections; and none left
struct churn { aio_frame aio; aio_server server; int listener, i, n; aio_task *t; long blocks;
               aio_result r; };
struct churn_server { aio_frame aio; struct churn *c; };
aio_async(churn_server) {
    aio_result r;
    aio_await(r, aio_serve(&self->c->server, self->c->listener, echo));
    return r;
} aio_end
aio_async(churn) {
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    self->t = aio_spawn(churn_server, .c = self);
    for (self->i = 0; self->i < self->n; self->i++) {
        aio_await(self->r, aio_join(aio_spawn(client, .port = port_of(self->listener))));
        assert_result(self->r, 8);
        if (self->i == 20) self->blocks = uring_memory.calls;
    }
    assert_int_equal(uring_memory.calls, self->blocks);
    aio_task_cancel(self->t);
    aio_await(self->r, aio_join(self->t));
    assert_result(self->r, -ECANCELED);
    aio_await(aio_close(self->listener));
    return 0;
} aio_end
static void memory_is_constant(void **state)
{
    (void)state;
    assert_result(run(churn, .n = 1500), 0);
}
// From the n-th allocation on there is none: connections are refused, none is left open.
struct poor {
    aio_frame aio;
    aio_server server;
    int listener, fds[40], i, own;
    aio_task *t;
    long after;
};
struct poor_server { aio_frame aio; struct poor *p; };
aio_async(poor_server) {
    aio_result r;
    aio_await(r, aio_serve(&self->p->server, self->p->listener, tidy, .extra = 42));
    return r;
} aio_end
aio_async(poor) {
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    self->t = aio_spawn(poor_server, .p = self);
    aio_await(aio_sleep(AIO_MSEC));
    uring_memory.fail_from = uring_memory.calls + self->after;
    for (self->i = 0; self->i < 40; self->i++)
        self->fds[self->i] = tcp_client(port_of(self->listener));
    for (self->i = 0; self->i < 1000 && self->server.accepted + self->server.refused < 40;
         self->i++)
        aio_await(aio_next_turn());
    uring_memory.fail_from = 0;
    aio_server_stop(&self->server, 0);
    aio_await(aio_join(self->t));
    for (self->i = 0; self->i < 40; self->i++) close(self->fds[self->i]);
    aio_await(aio_close(self->listener));
    return 0;
} aio_end
static void without_memory_connections_are_refused(void **state)
{
    (void)state;
    for (int after = 1; after < 12; after++) {
        expect_reports();
        assert_result(run(poor, .after = after), 0);
    }
}
// Refused for want of memory, and then not: every handler begins with the arguments as they were
// given.
struct bulky { aio_frame aio; int fd; const char *text; char buf[60000]; };
aio_async(bulky) {
    assert_string_equal(self->text, "given");
    seen.begun++;
    aio_await(aio_close(self->fd));
    return 0;
} aio_end
aio_drop(bulky) {
    if (dropped < 0) close(self->fd);
    self->text = NULL;
    return 0;
} aio_end
struct again { aio_frame aio; aio_server server; int listener, fds[6], i; aio_task *t; bool serves; struct again *of; };
aio_async(again) {
    aio_result r;
    if (self->serves) {
        aio_await(r, aio_serve(&self->of->server, self->of->listener, bulky, .text = "given"));
        return r;
    }
    memset(&seen, 0, sizeof seen);
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    self->t = aio_spawn(again, .serves = true, .of = self);
    aio_await(aio_sleep(AIO_MSEC));
    for (self->i = 0; self->i < 6; self->i++) {
        uring_memory.fail_from = self->i < 3 ? 1 : 0;
        self->fds[self->i] = tcp_client(port_of(self->listener));
        while (self->server.accepted + self->server.refused <= (uint64_t)self->i)
            aio_await(aio_next_turn());
    }
    assert_int_equal(self->server.refused, 3);
    while (seen.begun < 3) aio_await(aio_next_turn());
    aio_server_stop(&self->server, 0);
    aio_await(aio_join(self->t));
    for (self->i = 0; self->i < 6; self->i++) close(self->fds[self->i]);
    aio_await(aio_close(self->listener));
    return 0;
} aio_end
static void a_refusal_leaves_the_arguments_of_the_others(void **state)
{
    (void)state;
    assert_result(run(again), 0);
}
// The loop ends while it serves.
struct left { aio_frame aio; aio_server *server; int *listener, *fd; };
struct left_server { aio_frame aio; aio_server *server; int listener; };
aio_async(left_server) {
    aio_result r;
    aio_await(r, aio_serve(self->server, self->listener, echo));
    return r;
} aio_end
aio_async(left) {
    aio_try(*self->listener, aio_listen_tcp("127.0.0.1", 0));
    *self->fd = tcp_client(port_of(*self->listener));
    aio_detach(aio_spawn(left_server, .server = self->server, .listener = *self->listener));
    while (!self->server->live) aio_await(aio_sleep(AIO_MSEC));
    aio_await(aio_sleep(AIO_MSEC));
    return 0;
} aio_end
static void the_end_of_a_run_ends_servers(void **state)
{
    (void)state;
    int listener = -1, fd = -1;
    aio_server server = { 0 };
    struct aio_loop_options o = uring_options();
    uring_begin();
    assert_result(aio_run_with(&o, left, .server = &server, .listener = &listener, .fd = &fd), 0);
    close(listener);
    close(fd);
    uring_check(__FILE__, __LINE__);
}

// The loop is closed under a server: also what was accepted for a handler that never began is
// closed, and the books are those of no server any more.
struct cut { aio_frame aio; aio_server *server; int listener; bool with_hook; };
aio_async(cut) {
    aio_result r;
    if (self->with_hook) aio_await(r, aio_serve(self->server, self->listener, tidy, .extra = 42));
    else aio_await(r, aio_serve(self->server, self->listener, mute));
    return r;
} aio_end
static void closing_the_loop_under_a_server(void **state)
{
    (void)state;
    aio_server server;
    memset(&server, 0, sizeof server);
    for (int with_hook = 0; with_hook < 2; with_hook++) {
        struct aio_loop_options o = uring_options();
        aio_loop loop;
        aio_handle again;
        int client = -1, listener = tcp_listener(16);
        memset(&seen, 0, sizeof seen);
        uring_begin();
        assert_result(aio_loop_init(&loop, &o), 0);
        aio_detach(aio_spawn_on(&loop, cut, .server = &server, .listener = listener,
                                .with_hook = with_hook));
        for (int i = 0; i < 1000 && !server.live; i++) {
            aio_loop_stop(&loop);
            aio_call_soon(&loop, &again, aio__nothing, NULL);
            assert_result(aio_loop_run_forever(&loop), 0);
            if (i == 3) client = tcp_client(port_of(listener));
        }
        assert_int_equal(server.live, 1);
        assert_int_equal(seen.begun, 0);
        assert_result(aio_loop_close(&loop), 0);
        assert_int_equal(seen.dropped, with_hook);
        assert_null(server.serving);
        assert_result(aio_server_stop(&server, 0), -EINVAL);
        close(client);
        uring_check(__FILE__, __LINE__);
        close(listener);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_connection_has_its_handler),
        cmocka_unit_test(ST_5_a_stopped_server_lets_connections_end),
        cmocka_unit_test(a_deadline_and_a_cancel_end_connections),
        cmocka_unit_test(a_handler_that_never_began_leaves_no_connection),
        cmocka_unit_test(hazard_28_no_descriptor_left_is_a_pause),
        cmocka_unit_test(errors_of_handlers_are_reported),
        cmocka_unit_test(a_handler_may_stop_its_server),
        cmocka_unit_test(memory_is_constant),
        cmocka_unit_test(without_memory_connections_are_refused),
        cmocka_unit_test(a_refusal_leaves_the_arguments_of_the_others),
        cmocka_unit_test(the_end_of_a_run_ends_servers),
        cmocka_unit_test(closing_the_loop_under_a_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
