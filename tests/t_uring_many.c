// Operations that complete many times: the sink beneath them, iterators over them.
#include "uring.h"

// --- sinks: operations that no task waits for
struct drain { struct aio__sink sink; int calls, last, listener; aio_result res[64]; };
static aio_awaitable accepts(int fd)
{
    aio_awaitable a = aio_accept(fd);
    a.u.w[0] |= AIO__WORD(AIO__HEAD(0, 0, IORING_ACCEPT_MULTISHOT), 0);
    return a;
}
static void drain_done(aio_uring *u, struct aio__sink *s, aio_result res, uint32_t cqe_flags)
{
    struct drain *d = (struct drain *)s;
    (void)u;
    d->res[d->calls++] = res;
    if (res >= 0 && AIO__IO_OPCODE(s->info) == IORING_OP_ACCEPT) close((int)res);
    d->last += !(cqe_flags & IORING_CQE_F_MORE);
    assert_int_equal(aio__sink_busy(s), (cqe_flags & IORING_CQE_F_MORE) != 0);
}
static aio_uring *ring_here(void)
{
    aio_uring_attach(aio_running_loop(), NULL);
    return uring_of_loop();
}
// How the sink is ended.
enum { BY_CANCEL, BY_CLOSE, BY_LOOP, BEFORE_SUBMIT, IN_BACKLOG };
struct sunk { aio_frame aio; int how, fd, port, i; struct drain *d; aio_result r; };
aio_async(sunk) {
    aio_awaitable a;
    aio_try(self->fd, aio_listen_tcp("127.0.0.1", 0));
    self->port = port_of(self->fd);
    self->d->listener = self->fd;
    self->d->sink.done = drain_done;
    for (self->i = 0; self->how == IN_BACKLOG && !ring_here()->backlog && self->i < 3000;
         self->i++) {
        ring_here()->sq_room = 0;
        aio__backlog_add(ring_here())->user_data = AIO__UD_NOBODY;
    }
    a = accepts(self->fd);
    assert_int_equal(aio__sink_submit(ring_here(), &self->d->sink, &a), 0);
    assert_true(aio__sink_busy(&self->d->sink));
    if (self->how < BEFORE_SUBMIT) {
        for (self->i = 0; self->i < 3; self->i++) {
            close(tcp_client(self->port));
            aio_await(aio_sleep(2 * AIO_MSEC));
        }
        assert_int_equal(self->d->calls, 3);
        assert_int_equal(self->d->last, 0);
    }
    if (self->how == BY_LOOP) return 0;
    if (self->how == IN_BACKLOG) {
        struct aio__backlog *b = ring_here()->backlog;
        memset(&b->sqe, 0, sizeof b->sqe);
        b->sqe.opcode = IORING_OP_NOP;
        b->sqe.fd = -1;
    }
    if (self->how != BY_CLOSE) {
        aio__sink_cancel(ring_here(), &self->d->sink);
        aio__sink_cancel(ring_here(), &self->d->sink);
    }
    aio_await(self->r, aio_close(self->fd));
    assert_result(self->r, 0);
    assert_int_equal(self->d->last, 1);
    assert_result(self->d->res[self->d->calls - 1], self->how == BY_CLOSE ? -EBADF : -ECANCELED);
    assert_true(port_is_free(self->port));
    return 0;
} aio_end
static void a_sink_ends_with_its_last_completion(void **state)
{
    (void)state;
    for (int how = BY_CANCEL; how <= IN_BACKLOG; how++) {
        struct drain d;
        memset(&d, 0, sizeof d);
        if (how == BY_LOOP) uring_begin();
        struct aio_loop_options o = uring_options();
        if (how == BY_LOOP) {
            assert_result(aio_run_with(&o, sunk, .how = how, .d = &d), 0);
            assert_int_equal(d.last, 1);
            assert_result(d.res[d.calls - 1], -ECANCELED);
            close(d.listener);
            uring_check(__FILE__, __LINE__);
        } else {
            assert_result(run(sunk, .how = how, .d = &d), 0);
        }
    }
}

// --- aio_accept_many
struct takes {
    aio_frame aio;
    int listener, port, n, want, got, clients[40];
    bool all_first;
    aio_many conns;
    aio_result r;
};
aio_async(takes) {
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    self->port = port_of(self->listener);
    assert_result(aio_accept_many(&self->conns, self->listener), 0);
    assert_result(aio_accept_many(&self->conns, self->listener), -EBUSY);
    for (self->n = 0; self->n < self->want; self->n++) {
        self->clients[self->n] = tcp_client(self->port);
        assert_true(self->clients[self->n] >= 0);
        if (self->all_first && self->n + 1 < self->want) continue;
        while (self->got <= self->n) {
            aio_await(self->r, aio_next(&self->conns));
            assert_result(self->r, 1);
            assert_true(fcntl((int)aio_gen_value(&self->conns), F_GETFD) & FD_CLOEXEC);
            close((int)aio_gen_value(&self->conns));
            self->got++;
        }
    }
    for (self->n = 0; self->n < self->want; self->n++) close(self->clients[self->n]);
    aio_await(self->r, aio_gen_close(&self->conns));
    assert_result(self->r, 0);
    aio_await(self->r, aio_next(&self->conns));
    assert_result(self->r, 0);
    assert_result(aio_accept_many(&self->conns, self->listener), 0);        // open again
    aio_await(self->r, aio_gen_close(&self->conns));
    assert_result(self->r, 0);
    assert_true(port_is_free(self->port) || true);
    aio_await(aio_close(self->listener));
    return self->got;
} aio_end
static void connections_one_by_one_and_at_once(void **state)
{
    (void)state;
    for (int all = 0; all < 2; all++)
        assert_result(run(takes, .want = 40, .all_first = all), 40);
}

// --- an aio_next that is cancelled, or given up, loses nothing
struct waits { aio_frame aio; aio_many *it; };
aio_async(waits) {
    aio_result r;
    aio_await(r, aio_next(self->it));
    return r;
} aio_end
struct patient { aio_frame aio; int listener, port, client; aio_many conns; aio_task *t; aio_result r; };
aio_async(patient) {
    aio_await(self->r, aio_next(&self->conns));
    assert_result(self->r, -EINVAL);                        // not open
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    self->port = port_of(self->listener);
    assert_result(aio_accept_many(&self->conns, self->listener), 0);
    aio_await(self->r, aio_wait_for(AIO_MSEC, aio_next(&self->conns)));
    assert_result(self->r, -ETIMEDOUT);
    self->t = aio_spawn(waits, .it = &self->conns);
    aio_await(aio_sleep(AIO_MSEC));
    aio_await(self->r, aio_next(&self->conns));
    assert_result(self->r, -EBUSY);
    aio_await(self->r, aio_gen_close(&self->conns));
    assert_result(self->r, -EBUSY);
    aio_task_cancel(self->t);
    aio_await(self->r, aio_join(self->t));
    assert_result(self->r, -ECANCELED);
    // It comes in the very moment of the cancel.
    self->t = aio_spawn(waits, .it = &self->conns);
    aio_await(aio_sleep(AIO_MSEC));
    self->client = tcp_client(self->port);
    uring_reap_until_ready(self->t);
    aio_task_cancel(self->t);
    aio_await(self->r, aio_join(self->t));
    assert_result(self->r, -ECANCELED);
    aio_await(self->r, aio_next(&self->conns));
    assert_result(self->r, 1);
    close((int)aio_gen_value(&self->conns));
    close(self->client);
    aio_await(self->r, aio_gen_close(&self->conns));
    assert_result(self->r, 0);
    aio_await(aio_close(self->listener));
    return 0;
} aio_end
static void a_cancelled_next_loses_nothing(void **state)
{
    (void)state;
    assert_result(run(patient), 0);
}

// --- connections that nobody takes: bounded, and closed in the end
enum { LEFT_CLOSE, LEFT_RETURN, LEFT_LOOP, LEFT_TAKEN };
struct crowded {
    aio_frame aio;
    int how, listener, port, i, *clients;
    bool *ready;
    aio_many conns;
    aio_result r;
};
aio_async(crowded) {
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    self->port = port_of(self->listener);
    self->clients[300] = self->listener;
    assert_result(aio_accept_many(&self->conns, self->listener), 0);
    aio_await(self->r, aio_wait_for(AIO_MSEC, aio_next(&self->conns)));
    for (self->i = 0; self->i < 300; self->i++) {
        self->clients[self->i] = tcp_client(self->port);
        assert_true(self->clients[self->i] >= 0);
        if (self->i % 16 == 0) aio_await(aio_sleep(0));
    }
    aio_await(aio_sleep(5 * AIO_MSEC));
    assert_true(self->conns.queued < 300);
    for (self->i = 0; self->how == LEFT_TAKEN && self->i < 300; self->i++) {
        aio_await(self->r, aio_next(&self->conns));
        assert_result(self->r, 1);
        close((int)aio_gen_value(&self->conns));
    }
    if (self->how == LEFT_CLOSE) aio_await(self->r, aio_gen_close(&self->conns));
    if (self->ready) *self->ready = true;
    if (self->how == LEFT_LOOP) aio_await(aio_sleep(AIO_FOREVER));
    return 5;
} aio_end
struct leaves { aio_frame aio; int *clients; bool ready; };
aio_async(leaves) {
    aio_detach(aio_spawn(crowded, .how = LEFT_LOOP, .clients = self->clients,
                         .ready = &self->ready));
    while (!self->ready) aio_await(aio_sleep(AIO_MSEC));
    return 5;
} aio_end
static void hazard_6_connections_that_nobody_takes(void **state)
{
    (void)state;
    for (int how = LEFT_CLOSE; how <= LEFT_TAKEN; how++) {
        int clients[301];
        uring_begin();
        struct aio_loop_options o = uring_options();
        if (how == LEFT_LOOP) assert_result(aio_run_with(&o, leaves, .clients = clients), 5);
        else assert_result(aio_run_with(&o, crowded, .how = how, .clients = clients), 5);
        for (int i = 0; i <= 300; i++) close(clients[i]);
        uring_check(__FILE__, __LINE__);
    }
}

// --- more completions than the ring holds: none is lost, and it goes on
struct storm { aio_frame aio; int listener, port, i, clients[100]; aio_many conns; aio_result r; };
aio_async(storm) {
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    self->port = port_of(self->listener);
    assert_result(aio_accept_many(&self->conns, self->listener), 0);
    aio_await(self->r, aio_wait_for(AIO_MSEC, aio_next(&self->conns)));
    for (self->i = 0; self->i < 60; self->i++) {
        self->clients[self->i] = tcp_client(self->port);
        uring_post_now();                       // into a ring of 4
    }
    for (; self->i < 100; self->i++) self->clients[self->i] = tcp_client(self->port);
    for (self->i = 0; self->i < 100; self->i++) {
        aio_await(self->r, aio_next(&self->conns));
        assert_result(self->r, 1);
        close((int)aio_gen_value(&self->conns));
        close(self->clients[self->i]);
    }
    aio_await(self->r, aio_gen_close(&self->conns));
    aio_await(aio_close(self->listener));
    return 0;
} aio_end
static void hazard_11_and_31_an_overrun_ring(void **state)
{
    const char *entries = getenv("AIO_URING_ENTRIES");
    char before[16];
    (void)state;
    snprintf(before, sizeof before, "%s", entries ? entries : "");
    setenv("AIO_URING_ENTRIES", "2", 1);
    assert_result(run(storm), 0);
    if (entries) setenv("AIO_URING_ENTRIES", before, 1);
    else unsetenv("AIO_URING_ENTRIES");
}

// --- no descriptor left: it waits for one
struct full {
    aio_frame aio;
    int listener, port, clients[3], spare[64], i, n;
    bool by_close;
    aio_many conns;
    aio_result r;
    struct rlimit before, few;
};
aio_async(full) {
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    self->port = port_of(self->listener);
    for (self->i = 0; self->i < 3; self->i++) self->clients[self->i] = tcp_client(self->port);
    assert_non_null(ring_here());
    getrlimit(RLIMIT_NOFILE, &self->before);
    self->few = self->before;
    self->few.rlim_cur = 40;
    setrlimit(RLIMIT_NOFILE, &self->few);
    while (self->n < 64 && (self->spare[self->n] = dup(0)) >= 0) self->n++;
    assert_result(aio_accept_many(&self->conns, self->listener), 0);
    aio_await(self->r, aio_wait_for(20 * AIO_MSEC, aio_next(&self->conns)));
    assert_result(self->r, -ETIMEDOUT);
    assert_non_null(strstr(uring_told, "accept waits for a descriptor"));
    for (self->i = 0; self->i < 3; self->i++) {
        self->n--;
        if (self->by_close) aio_await(aio_close(self->spare[self->n]));
        else close(self->spare[self->n]);
        aio_await(self->r, aio_next(&self->conns));
        assert_result(self->r, 1);
        close(self->clients[self->i]);
        self->clients[self->i] = (int)aio_gen_value(&self->conns);
    }
    aio_await(self->r, aio_wait_for(15 * AIO_MSEC, aio_next(&self->conns)));
    while (self->n) close(self->spare[--self->n]);
    setrlimit(RLIMIT_NOFILE, &self->before);
    for (self->i = 0; self->i < 3; self->i++) close(self->clients[self->i]);
    aio_await(aio_close(self->listener));
    aio_await(self->r, aio_next(&self->conns));
    assert_result(self->r, -EBADF);
    return 0;
} aio_end
// Its last word is that there is none, and nobody listens any more.
struct full_end { aio_frame aio; int listener, client, spare[64], n; aio_many conns; aio_result r;
                  struct rlimit before, few; };
aio_async(full_end) {
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    assert_non_null(ring_here());
    getrlimit(RLIMIT_NOFILE, &self->before);
    self->few = self->before;
    self->few.rlim_cur = 40;
    setrlimit(RLIMIT_NOFILE, &self->few);
    // the kernel takes the limit of when the operation began
    assert_result(aio_accept_many(&self->conns, self->listener), 0);
    aio_await(self->r, aio_wait_for(AIO_MSEC, aio_next(&self->conns)));
    self->client = tcp_client(port_of(self->listener));
    aio_await(self->r, aio_next(&self->conns));
    assert_result(self->r, 1);
    close((int)aio_gen_value(&self->conns));
    close(self->client);
    aio_await(self->r, aio_wait_for(AIO_MSEC, aio_next(&self->conns)));     // in flight
    while (self->n < 64 && (self->spare[self->n] = dup(0)) >= 0) self->n++;
    close(self->spare[--self->n]);
    self->client = tcp_client(port_of(self->listener));
    uring_post_now();
    aio_await(self->r, aio_gen_close(&self->conns));
    assert_result(self->r, 0);
    assert_null(ring_here()->paused);
    memset((void *)&self->conns, 0xa5, sizeof self->conns);
    while (self->n) close(self->spare[--self->n]);
    setrlimit(RLIMIT_NOFILE, &self->before);
    aio_await(aio_sleep(15 * AIO_MSEC));
    close(self->client);
    aio_await(aio_close(self->listener));
    return 0;
} aio_end
static void hazard_28_no_descriptor_for_a_connection(void **state)
{
    (void)state;
    if (under_valgrind()) skip();           // it has a limit of its own
    for (int by_close = 0; by_close < 2; by_close++) {
        expect_reports();
        assert_result(run(full, .by_close = by_close), 0);
    }
    assert_result(run(full_end), 0);
}

// --- aio_close ends it, wherever it stands
struct closes { aio_frame aio; int fds[2], other[2]; aio_many ready; aio_task *t; aio_result r; };
aio_async(closes) {
    pair_of(self->fds);
    assert_result(aio_poll_many(&self->ready, self->fds[0], POLLIN), 0);
    self->t = aio_spawn(waits, .it = &self->ready);
    aio_await(aio_sleep(AIO_MSEC));
    aio_await(self->r, aio_close(self->fds[0]));
    assert_result(self->r, 0);
    aio_await(self->r, aio_join(self->t));
    assert_result(self->r, -EBADF);
    pair_of(self->other);                           // the number comes again
    assert_int_equal(self->other[0], self->fds[0]);
    assert_int_equal(write(self->other[1], "x", 1), 1);
    aio_await(self->r, aio_next(&self->ready));
    assert_result(self->r, -EBADF);
    aio_await(self->r, aio_gen_close(&self->ready));
    // one that is not in flight just now
    assert_result(aio_poll_many(&self->ready, self->other[0], POLLIN), 0);
    aio_await(aio_close(self->other[0]));
    aio_await(self->r, aio_next(&self->ready));
    assert_result(self->r, -EBADF);
    assert_result(aio_poll_many(&self->ready, self->other[0], POLLIN), -EBUSY);
    close(self->fds[1]);
    close(self->other[1]);
    assert_int_equal(aio_running_loop()->in_flight, 0);
    return 0;
} aio_end
static void contract_5_a_close_ends_an_iterator(void **state)
{
    (void)state;
    assert_result(run(closes), 0);
}

// --- aio_poll_many
struct polls { aio_frame aio; int fds[2], i; aio_many ready; aio_result r; };
aio_async(polls) {
    pair_of(self->fds);
    assert_result(aio_poll_many(&self->ready, -1, POLLIN), -EBADF);
    assert_result(aio_poll_many(&self->ready, self->fds[0], POLLIN | POLLRDHUP), 0);
    aio_await(self->r, aio_wait_for(AIO_MSEC, aio_next(&self->ready)));
    assert_result(self->r, -ETIMEDOUT);
    for (self->i = 0; self->i < 5; self->i++) {
        assert_int_equal(write(self->fds[1], "xy", 2), 2);
        aio_await(self->r, aio_next(&self->ready));
        assert_result(self->r, 1);
        assert_result(aio_gen_value(&self->ready), POLLIN);
        assert_int_equal(empty(self->fds[0]), 2);
    }
    close(self->fds[1]);
    do {                                            // the last bytes may be told twice
        aio_await(self->r, aio_next(&self->ready));
        assert_result(self->r, 1);
    } while (!(aio_gen_value(&self->ready) & POLLHUP));
    assert_true(aio_gen_value(&self->ready) & POLLRDHUP);
    aio_await(self->r, aio_gen_close(&self->ready));
    close(self->fds[0]);
    return 0;
} aio_end
static void readiness_many_times(void **state)
{
    (void)state;
    assert_result(run(polls), 0);
}

// --- aio_ticker, on the virtual clock
struct ticks { aio_frame aio; aio_ticks t; int i; int64_t began; aio_result r; };
struct ticking { aio_frame aio; aio_ticks *t; };
aio_async(ticking) {
    aio_result r;
    aio_await(r, aio_next(self->t));
    return r;
} aio_end
struct tick_frame { aio_frame aio; aio_ticks t; aio_task **other; };
aio_async(tick_frame) {
    assert_result(aio_ticker(&self->t, AIO_SECOND), 0);
    *self->other = aio_spawn(ticking, .t = &self->t);
    aio_await(aio_sleep(AIO_MSEC));
    return 0;
} aio_end
struct tick_main { aio_frame aio; struct ticks in; aio_task *other, *t; struct tick_frame frame; aio_result r; };
aio_async(ticks) {
    self->began = aio_loop_time(aio_running_loop());
    assert_result(aio_ticker(&self->t, 0), -EINVAL);
    assert_result(aio_ticker(&self->t, 10), 0);
    assert_result(aio_ticker(&self->t, 10), -EBUSY);
    for (self->i = 1; self->i <= 5; self->i++) {
        aio_await(self->r, aio_next(&self->t));
        assert_result(self->r, 1);
        assert_result(aio_gen_value(&self->t), 1);
        assert_result(aio_loop_time(aio_running_loop()) - self->began, self->i * 10);
    }
    aio_await(aio_sleep(35));                       // at 85: three late ones, as one value
    aio_await(self->r, aio_next(&self->t));
    assert_result(self->r, 1);
    assert_result(aio_gen_value(&self->t), 3);
    aio_await(self->r, aio_wait_for(2, aio_next(&self->t)));        // at 87
    assert_result(self->r, -ETIMEDOUT);
    aio_await(self->r, aio_next(&self->t));
    assert_result(self->r, 1);
    assert_result(aio_loop_time(aio_running_loop()) - self->began, 90);
    aio_await(self->r, aio_gen_close(&self->t));
    assert_result(self->r, 0);
    aio_await(self->r, aio_next(&self->t));
    assert_result(self->r, 0);
    assert_result(aio_ticker(&self->t, AIO_FOREVER), 0);
    aio_await(self->r, aio_wait_for(5, aio_next(&self->t)));
    assert_result(self->r, -ETIMEDOUT);
    return 0;
} aio_end
aio_async(tick_main) {
    aio_try(aio_call(&self->in, ticks));
    aio_try(aio_call(&self->frame, tick_frame, .other = &self->other));     // returns over it
    aio_await(self->r, aio_join(self->other));
    assert_result(self->r, 0);
    return 0;
} aio_end
static void ticks_of_the_virtual_clock(void **state)
{
    (void)state;
    uring_begin();
    struct aio_loop_options o = uring_options();
    o.clock = AIO_CLOCK_VIRTUAL;
    assert_result(aio_run_with(&o, tick_main), 0);
    uring_check(__FILE__, __LINE__);
}
// --- no memory: what could not be begun says so, and can be tried again
struct poor { aio_frame aio; int listener; aio_many conns; aio_result r; };
aio_async(poor) {
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    self->r = aio_accept_many(&self->conns, self->listener);
    if (self->r >= 0) aio_await(self->r, aio_wait_for(AIO_MSEC, aio_next(&self->conns)));
    close(self->listener);
    return self->r;
} aio_end
static void without_memory(void **state)
{
    (void)state;
    for (long n = 1; n < 20; n++) {
        uring_begin();
        struct aio_loop_options o = uring_options();
        uring_memory.fail_from = n;
        aio_result r = aio_run_with(&o, poor);
        assert_true(r == -ENOMEM || r == -ETIMEDOUT || r == -EINVAL);
        uring_reports = 0;
        uring_check(__FILE__, __LINE__);
    }
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sink_ends_with_its_last_completion),
        cmocka_unit_test(connections_one_by_one_and_at_once),
        cmocka_unit_test(a_cancelled_next_loses_nothing),
        cmocka_unit_test(hazard_6_connections_that_nobody_takes),
        cmocka_unit_test(hazard_11_and_31_an_overrun_ring),
        cmocka_unit_test(hazard_28_no_descriptor_for_a_connection),
        cmocka_unit_test(contract_5_a_close_ends_an_iterator),
        cmocka_unit_test(readiness_many_times),
        cmocka_unit_test(ticks_of_the_virtual_clock),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
