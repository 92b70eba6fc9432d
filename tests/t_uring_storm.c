// Thousands of operations started, cancelled, closed and completed in an order that chance decides;
// what must hold is counted. Seeds are fixed; AIO_STORM_SEED=n runs another one. TIMEOUT 1200
#include "uring.h"

static uint64_t rng;
static uint32_t chance(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)((rng >> 11) % n);
}

// --- bytes: what went into each socket is what came out, whatever was cancelled in between
enum { STREAMS = 40, STEPS = 3000 };
struct stream {
    int fds[2];
    size_t sent, got;           // as told by the operations
    aio_task *reader, *writer;
};
struct reader { aio_frame aio; struct stream *s; char buf[512]; };
aio_async(reader) {
    aio_result n;
    for (;;) {
        aio_await(n, aio_recv(self->s->fds[1], self->buf, 1 + self->s->got % 512, 0));
        if (n <= 0) return n;
        for (aio_result i = 0; i < n; i++)
            if (self->buf[i] != (char)((self->s->got + (size_t)i) % 251)) return -EBADMSG;
        self->s->got += (size_t)n;
    }
} aio_end
struct writer { aio_frame aio; struct stream *s; size_t done, len; char buf[20000]; };
aio_async(writer) {
    aio_result n;
    for (;;) {
        self->len = 1 + chance(sizeof self->buf);
        for (size_t i = 0; i < self->len; i++) self->buf[i] = (char)((self->s->sent + i) % 251);
        aio_await(n, aio_send_all(self->s->fds[0], self->buf, self->len, 0, &self->done));
        self->s->sent += self->done;
        if (n < 0) return n;
    }
} aio_end
struct streams { aio_frame aio; struct stream *all; int i; };
static struct stream *pick(struct stream *all) { return &all[chance(STREAMS)]; }
aio_async(streams) {
    aio_result r;
    for (int i = 0; i < STREAMS; i++) {
        self->all[i].reader = aio_spawn(reader, .s = &self->all[i]);
        self->all[i].writer = aio_spawn(writer, .s = &self->all[i]);
    }
    for (; self->i < STEPS; self->i++) {
        for (uint32_t k = chance(5); k--;) {
            struct stream *s = pick(self->all);
            aio_task **t = chance(2) ? &s->reader : &s->writer;
            aio_task_cancel(*t);
            if (chance(8) == 0) aio_task_cancel(*t);
        }
        if (chance(4) == 0) uring_post_now();
        if (chance(3) == 0) aio_await(aio_sleep(0));
        else if (chance(10) == 0) aio_await(aio_sleep(10 * AIO_USEC));
        else aio_await(aio_nop());
        for (int i = 0; i < STREAMS; i++) {         // those that ended begin again
            struct stream *s = &self->all[i];
            if (aio_task_done(s->reader)) {
                r = aio_task_result(s->reader);
                assert_result(r, -ECANCELED);
                aio_detach(s->reader);
                s->reader = aio_spawn(reader, .s = s);
            }
            if (aio_task_done(s->writer)) {
                r = aio_task_result(s->writer);
                assert_result(r, -ECANCELED);
                aio_detach(s->writer);
                s->writer = aio_spawn(writer, .s = s);
            }
        }
    }
    for (self->i = 0; self->i < STREAMS; self->i++) {
        aio_task_cancel(self->all[self->i].writer);
        aio_await(r, aio_join(self->all[self->i].writer));
        aio_await(aio_shutdown(self->all[self->i].fds[0], SHUT_WR));
        for (;;) { // it reads all to the end, cancelled before or not
            aio_await(r, aio_join(self->all[self->i].reader));
            if (r != -ECANCELED) break;
            self->all[self->i].reader = aio_spawn(reader, .s = &self->all[self->i]);
        }
        assert_result(r, 0);
        assert_int_equal(self->all[self->i].got, self->all[self->i].sent);
    }
    assert_int_equal(aio_running_loop()->in_flight, 0);
    return 0;
} aio_end
static void contract_3_no_byte_is_lost(void **state)
{
    (void)state;
    static struct stream all[STREAMS];
    for (uint64_t seed = 1; seed <= 3; seed++) {
        const char *text = getenv("AIO_STORM_SEED");
        rng = (text ? strtoull(text, 0, 10) : seed) * UINT64_C(0x9e3779b97f4a7c15);
        memset(all, 0, sizeof all);
        for (int i = 0; i < STREAMS; i++) pair_of(all[i].fds);
        assert_result(run(streams, .all = all), 0);
        for (int i = 0; i < STREAMS; i++) close(all[i].fds[0]), close(all[i].fds[1]);
    }
}

// --- descriptors: connects, accepts, opens, closes, cancelled at any moment; run() counts what is
// left
struct one_client { aio_frame aio; int port, fd; aio_result r; char c; };
aio_async(one_client) {
    aio_await(self->r, aio_connect_tcp("127.0.0.1", self->port));
    if (self->r < 0) return self->r;
    self->fd = (int)self->r;
    aio_await(self->r, aio_send(self->fd, "x", 1, 0));
    if (self->r >= 0) aio_await(self->r, aio_recv(self->fd, &self->c, 1, 0));
    aio_await(aio_close(self->fd));
    return self->r;
} aio_end
struct one_server { aio_frame aio; int fd; aio_result r; char c; };
aio_async(one_server) {
    aio_await(self->r, aio_recv(self->fd, &self->c, 1, 0));
    if (self->r > 0) aio_await(self->r, aio_send(self->fd, &self->c, 1, 0));
    aio_await(aio_close(self->fd));
    return 0;
} aio_end
aio_drop(one_server) {
    close(self->fd);
    return 0;
} aio_end
struct acceptor { aio_frame aio; int listener; aio_result fd; };
aio_async(acceptor) {
    for (;;) {
        aio_await(self->fd, aio_accept(self->listener));
        if (self->fd < 0) return self->fd;
        aio_detach(aio_spawn(one_server, .fd = (int)self->fd));
    }
} aio_end
struct one_file { aio_frame aio; aio_result fd, r; char buf[64]; struct statx stx; };
aio_async(one_file) {
    char path[32];
    snprintf(path, sizeof path, "/dev/%s", chance(2) ? "zero" : "null");
    aio_try(self->fd, aio_openat(AT_FDCWD, path, O_RDWR, 0));
    aio_await(self->r, aio_pread((int)self->fd, self->buf, sizeof self->buf, 0));
    if (self->r >= 0)
        aio_await(self->r, aio_statx((int)self->fd, "", AT_EMPTY_PATH, STATX_SIZE, &self->stx));
    if (self->r >= 0) aio_await(self->r, aio_write_all((int)self->fd, self->buf, sizeof self->buf));
    if (chance(3) == 0) aio_task_cancel(aio_current_task());
    aio_await(aio_close((int)self->fd));
    return self->r;
} aio_end
enum { LIVE = 200, ROUNDS = 600 };
struct descriptors { aio_frame aio; int listener, i; aio_task *acceptor, *t[LIVE]; };
aio_async(descriptors) {
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    self->acceptor = aio_spawn(acceptor, .listener = self->listener);
    for (; self->i < ROUNDS; self->i++) {
        for (int k = 0; k < 20; k++) {
            aio_task **t = &self->t[chance(LIVE)];
            if (*t && !aio_task_done(*t)) aio_task_cancel(*t);
            else {
                if (*t) aio_detach(*t);
                if (chance(3)) *t = aio_spawn(one_client, .port = port_of(self->listener));
                else *t = aio_spawn(one_file);
            }
        }
        if (chance(5) == 0) aio_task_cancel(self->acceptor);
        if (chance(4) == 0) uring_post_now();
        if (chance(3)) aio_await(aio_nop());
        else aio_await(aio_sleep(0));
        if (aio_task_done(self->acceptor)) {
            assert_result(aio_task_result(self->acceptor), -ECANCELED);
            aio_detach(self->acceptor);
            self->acceptor = aio_spawn(acceptor, .listener = self->listener);
        }
    }
    if (self->i & 1) return 0;
    for (self->i = 0; self->i < LIVE; self->i++)
        if (self->t[self->i]) {
            aio_task_cancel(self->t[self->i]);
            aio_await(aio_future_wait(aio_task_future(self->t[self->i])));
            aio_detach(self->t[self->i]);
        }
    aio_await(aio_close(self->listener));
    aio_await(aio_join(self->acceptor));
    return 0;
} aio_end
static void hazard_6_no_descriptor_is_leaked(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        rng = seed * UINT64_C(0x9e3779b97f4a7c15);
        expect_reports();           // clients that meet a server that was cancelled
        aio_result r = run(descriptors);
        assert_result(r, 0);
    }
}
// The same, and the loop is closed in the middle of it.
static int stop_soon(void *arg)
{
    aio_loop_stop((aio_loop *)arg);
    return 0;
}
static void contract_11_a_loop_closed_in_the_middle(void **state)
{
    (void)state;
    static struct stream all[STREAMS];
    for (int i = 0; i < 20; i++) {
        aio_loop l;
        aio_handle h;
        struct aio_loop_options o = uring_options();
        rng = (uint64_t)(i + 1) * UINT64_C(0x9e3779b97f4a7c15);
        memset(all, 0, sizeof all);
        for (int k = 0; k < STREAMS; k++) pair_of(all[k].fds);
        uring_begin();
        assert_result(aio_loop_init(&l, &o), 0);
        aio_detach(aio_spawn_on(&l, streams, .all = all));
        aio_call_later(&l, &h, i * 300 * AIO_USEC, stop_soon, &l);
        assert_result(aio_loop_run_forever(&l), 0);
        assert_result(aio_loop_close(&l), 0);
        uring_check(__FILE__, __LINE__);
        for (int k = 0; k < STREAMS; k++) close(all[k].fds[0]), close(all[k].fds[1]);
    }
}

// --- 100 loops with 1,000 operations each, half of them cancelled in the turn in which they began
struct victim { aio_frame aio; int fd; char buf[4]; };
aio_async(victim) {
    aio_result n;
    aio_await(n, aio_recv(self->fd, self->buf, 4, 0));
    return n;
} aio_end
struct half { aio_frame aio; int fd, i, n; aio_task *t[1000]; };
aio_async(half) {
    aio_result r;
    for (int i = 0; i < 1000; i++) self->t[i] = aio_spawn(victim, .fd = self->fd);
    aio_await(aio_sleep(0));
    for (int i = 0; i < 1000; i++)
        if (chance(2)) aio_task_cancel(self->t[i]);
    aio_await(aio_sleep(0));
    for (int i = 0; i < 1000; i++) aio_task_cancel(self->t[i]);
    for (; self->i < 1000; self->i++) {
        aio_await(r, aio_join(self->t[self->i]));
        assert_result(r, -ECANCELED);
    }
    return 0;
} aio_end
static void hazard_4_cancels_of_every_age(void **state)
{
    (void)state;
    int fds[2];
    pair_of(fds);
    rng = 4711;
    for (int i = 0; i < 20; i++) assert_result(run(half, .fd = fds[0]), 0);
    close(fds[0]), close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contract_3_no_byte_is_lost),
        cmocka_unit_test(hazard_6_no_descriptor_is_leaked),
        cmocka_unit_test(contract_11_a_loop_closed_in_the_middle),
        cmocka_unit_test(hazard_4_cancels_of_every_age),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
