// aio_serve and a full queue of connections: many are taken at once, and its limit holds; whatever
// ends it in the middle, none is lost. Costs are counted in turns, not in time.
#include "uring.h"

#define BURST_MAX 256
static struct { int begun, ended, most; uint32_t limit; aio_server *server; } seen;

// A connection: says so, and goes on until its peer closes.
struct talk { aio_frame aio; int fd; char c; aio_result r; };
aio_async(talk) {
    seen.begun++;
    if (seen.begun - seen.ended > seen.most) seen.most = seen.begun - seen.ended;
    aio_await(self->r, aio_send_all(self->fd, "!", 1, 0));
    if (self->r >= 0) aio_await(self->r, aio_recv(self->fd, &self->c, 1, 0));
    seen.ended++;
    aio_await(aio_close(self->fd));
    return self->r == -ECANCELED ? self->r : 0;
} aio_end
aio_drop(talk) {
    if (dropped < 0) close(self->fd);
    return 0;
} aio_end
struct serve { aio_frame aio; aio_server *server; int listener; };
aio_async(serve) {
    aio_result r;
    aio_await(r, aio_serve(self->server, self->listener, talk));
    return r;
} aio_end

static void connect_burst(int *fds, int n, int listener)
{
    for (int i = 0; i < n; i++) fds[i] = tcp_client(port_of(listener));
}
static void close_burst(const int *fds, int n)
{
    for (int i = 0; i < n; i++) close(fds[i]);
}

// --- turns until n that wait in the queue have their handlers
struct burst { aio_frame aio; aio_server server; int listener, n, fds[BURST_MAX], turns;
               aio_task *t; };
aio_async(burst) {
    memset(&seen, 0, sizeof seen);
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    connect_burst(self->fds, self->n, self->listener);
    self->t = aio_spawn(serve, .server = &self->server, .listener = self->listener);
    while (seen.begun < self->n && self->turns < 20 * self->n) {
        aio_await(aio_next_turn());
        uring_post_now();
        self->turns++;
    }
    assert_int_equal(seen.begun, self->n);
    close_burst(self->fds, self->n);
    while (self->server.live) aio_await(aio_sleep(AIO_MSEC));
    aio_server_stop(&self->server, AIO_FOREVER);
    aio_await(aio_join(self->t));
    aio_await(aio_close(self->listener));
    return self->turns;
} aio_end
static void a_burst_is_taken_in_few_turns(void **state)
{
    (void)state;
    aio_result few = run(burst, .n = BURST_MAX / 4), many = run(burst, .n = BURST_MAX);
    assert_true(few <= BURST_MAX / 4 / 2);
    assert_true(many <= BURST_MAX / 4);
    // A ring of 8 entries begins no more accepts than that in a turn.
    if (!getenv("AIO_URING_ENTRIES")) assert_true(many <= 4 * few);
}

// --- the limit holds, also one that is lowered meanwhile
struct limited { aio_frame aio; aio_server server; uint32_t limit, lowered; int listener, i;
                 int fds[40], left; aio_task *t; char c; };
aio_async(limited) {
    memset(&seen, 0, sizeof seen);
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    self->server.limit = self->limit;
    self->t = aio_spawn(serve, .server = &self->server, .listener = self->listener);
    aio_await(aio_sleep(AIO_MSEC));
    connect_burst(self->fds, 40, self->listener);
    while (self->server.live < self->limit) aio_await(aio_next_turn());
    for (self->i = 0; self->i < 20; self->i++) {        // whatever else was asked for comes now
        aio_await(aio_next_turn());
        uring_post_now();
    }
    assert_int_equal(self->server.live, self->limit);
    assert_int_equal(self->server.accepted, self->limit);
    self->server.limit = self->lowered;
    for (self->i = 0; self->i < 40; self->i++) {        // each gets its turn, in order
        aio_await(aio_recv(self->fds[self->i], &self->c, 1, 0));
        close(self->fds[self->i]);
        assert_true(self->server.live <= self->limit);
    }
    while (self->server.live) aio_await(aio_sleep(AIO_MSEC));
    assert_int_equal(self->server.accepted, 40);
    assert_int_equal(seen.most, self->limit);
    aio_server_stop(&self->server, 0);
    aio_await(aio_join(self->t));
    aio_await(aio_close(self->listener));
    return 0;
} aio_end
static void a_burst_stays_within_the_limit(void **state)
{
    (void)state;
    static const uint32_t limits[] = { 1, 2, 3, 5, 16, 39 };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        assert_result(run(limited, .limit = limits[i], .lowered = limits[i]), 0);
        assert_result(run(limited, .limit = limits[i], .lowered = (limits[i] + 1) / 2), 0);
    }
}

// --- an end at each turn of a burst: every descriptor is closed or a handler's, the rest waits
enum { END_STOP, END_DRAIN, END_CANCEL, END_CLOSE, END_LOOP, END_COUNT };
struct cut { aio_frame aio; aio_server *server; int listener, how, after, i, fds[100]; bool poor;
             aio_task *t; aio_result r; };
aio_async(cut) {
    connect_burst(self->fds, 100, self->listener);
    self->t = aio_spawn(serve, .server = self->server, .listener = self->listener);
    for (self->i = 0; self->i < self->after; self->i++) {
        aio_await(aio_next_turn());
        uring_post_now();
    }
    if (self->poor) uring_memory.fail_from = uring_memory.calls + 1;
    if (self->how == END_STOP) aio_server_stop(self->server, 0);
    if (self->how == END_DRAIN) aio_server_stop(self->server, AIO_FOREVER);
    if (self->how == END_CANCEL) aio_task_cancel(self->t);
    if (self->how == END_CLOSE) {
        aio_await(self->r, aio_close(dup(self->listener)));     // another one's: goes on
        aio_await(aio_next_turn());
        aio_await(self->r, aio_close(self->listener));
    }
    for (self->i = 0; self->poor && self->i < 4; self->i++) {
        aio_await(aio_next_turn());
        uring_post_now();
    }
    uring_memory.fail_from = 0;
    close_burst(self->fds, 100);
    if (self->how == END_LOOP) {
        aio_detach(self->t);
        return 0;
    }
    if (!self->server->serving && self->how != END_CLOSE) aio_task_cancel(self->t);
    aio_await(self->r, aio_join(self->t));
    assert_int_equal(self->server->live, 0);
    assert_int_equal(seen.begun, seen.ended);
    return 0;
} aio_end
static void cut_at(int how, int after, bool poor)
{
    struct aio_loop_options o = uring_options();
    aio_server server;
    memset(&server, 0, sizeof server);
    memset(&seen, 0, sizeof seen);
    uring_begin();
    int listener = tcp_listener(128);
    if (poor) expect_reports();
    assert_result(aio_run_with(&o, cut, .server = &server, .listener = listener, .how = how,
                               .after = after, .poor = poor), 0);
    assert_null(server.serving);
    if (how != END_CLOSE) close(listener);
    uring_check(__FILE__, __LINE__);
}
static void an_end_in_a_burst_loses_no_connection(void **state)
{
    (void)state;
    for (int how = 0; how < END_COUNT; how++)
        for (int after = 0; after < 24; after++)
            for (int poor = 0; poor < 2; poor++) cut_at(how, after, poor);
}

// --- a peer that resets: counted, not a line each; another error is told
struct resets { aio_frame aio; int fd, *error; char c; aio_result r; };
aio_async(resets) {
    aio_await(self->r, aio_recv(self->fd, &self->c, 1, 0));
    aio_await(aio_close(self->fd));
    return *self->error ? *self->error : self->r;
} aio_end
struct reset { aio_frame aio; aio_server server; bool serves; int listener, i, error, fds[20];
               struct reset *of; aio_task *t; };
aio_async(reset) {
    aio_result r;
    if (self->serves) {
        aio_await(r, aio_serve(&self->of->server, self->of->listener, resets,
                               .error = &self->of->error));
        return r;
    }
    aio_try(self->listener, aio_listen_tcp("127.0.0.1", 0));
    self->t = aio_spawn(reset, .serves = true, .of = self);
    connect_burst(self->fds, 20, self->listener);
    while (self->server.live < 20) aio_await(aio_sleep(AIO_MSEC));
    for (self->i = 0; self->i < 20; self->i++) {
        struct linger hard = { 1, 0 };
        setsockopt(self->fds[self->i], SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
    close_burst(self->fds, 20);
    while (self->server.live) aio_await(aio_sleep(AIO_MSEC));
    assert_int_equal(self->server.lost, self->error && self->error != -EPIPE ? 0 : 20);
    aio_server_stop(&self->server, 0);
    aio_await(aio_join(self->t));
    aio_await(aio_close(self->listener));
    return 0;
} aio_end
static void a_peer_that_resets_is_counted_not_reported(void **state)
{
    (void)state;
    assert_result(run(reset, .error = 0), 0);
    assert_result(run(reset, .error = -EPIPE), 0);
    expect_reports();
    assert_result(run(reset, .error = -EPROTO), 0);
    assert_int_equal(uring_reports, 20);
}

// --- memory of a peak goes back; what is below the mark is used again
struct peak { aio_frame aio; int n, i; void *blocks[160]; long calls; };
aio_async(peak) {
    aio_executor *x = AIO__TASK->waiter.future.loop;
    static const size_t sizes[] = { 8193, 60000, 100000 };
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        uint32_t c = aio__class_of(sizes[k]);
        long before = uring_memory.blocks, kept = AIO_KEEP_BYTES_MAX / (long)aio__class_bytes(c);
        for (self->i = 0; self->i < self->n; self->i++)
            memset(self->blocks[self->i] = aio__alloc(x, c, sizes[k]), 1, sizes[k]);
        for (self->i = 0; self->i < self->n; self->i++) aio__free(x, self->blocks[self->i], c);
        assert_true(uring_memory.blocks <= before + kept);
        assert_true(x->kept_bytes <= AIO_KEEP_BYTES_MAX);
        if (k) continue;                                // what is kept of this size fills the mark
        self->calls = uring_memory.calls;
        for (self->i = 0; self->i < 1000; self->i++)
            aio__free(x, aio__alloc(x, c, sizes[k]), c);
        assert_int_equal(uring_memory.calls, self->calls);
    }
    return 0;
} aio_end
static void the_memory_of_a_peak_goes_back(void **state)
{
    (void)state;
    assert_result(run(peak, .n = 160), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_is_taken_in_few_turns),
        cmocka_unit_test(a_burst_stays_within_the_limit),
        cmocka_unit_test(an_end_in_a_burst_loses_no_connection),
        cmocka_unit_test(a_peer_that_resets_is_counted_not_reported),
        cmocka_unit_test(the_memory_of_a_peak_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
