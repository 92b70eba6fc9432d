// aio_close ends what is in flight on the descriptor, then closes it (contract 5); and closing a
// loop with operations of every kind in flight (contract 11).
#include "uring.h"

// --- contract 5
struct receiver { aio_frame aio; int fd; char buf[8]; };
aio_async(receiver) {
    aio_result n;
    aio_await(n, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
    return n;
} aio_end
struct acceptor { aio_frame aio; int fd; };
aio_async(acceptor) {
    aio_result fd;
    aio_await(fd, aio_accept(self->fd));
    return fd;
} aio_end
struct closer { aio_frame aio; int fd; aio_result close, next; };
aio_async(closer) {
    self->next = 77;
    aio_await(self->close, aio_close(self->fd));
    aio_await(self->next, aio_sleep(0));
    return self->close;
} aio_end

struct close_busy { aio_frame aio; int fds[2]; bool same_turn; aio_task *a, *b; };
aio_async(close_busy) {
    aio_result r;
    char c;
    self->a = aio_spawn(receiver, .fd = self->fds[0]);
    self->b = aio_spawn(receiver, .fd = self->fds[0]);
    aio_await(aio_sleep(0));
    if (!self->same_turn) aio_await(aio_sleep(AIO_MSEC));
    aio_await(r, aio_close(self->fds[0]));
    assert_result(r, 0);
    assert_result(recv(self->fds[1], &c, 1, MSG_DONTWAIT), 0);      // the peer sees the end
    aio_await(r, aio_join(self->a));
    assert_result(r, -EBADF);
    aio_await(r, aio_join(self->b));
    assert_result(r, -EBADF);
    return 0;
} aio_end
static void contract_5_close_ends_what_waits(void **state)
{
    (void)state;
    for (int same = 0; same < 2; same++) {
        int fds[2];
        pair_of(fds);
        uring_begin();
        uring_fds_before--;
        struct aio_loop_options o = uring_options();
        assert_result(
            aio_run_with(&o, close_busy, .fds[0] = fds[0], .fds[1] = fds[1], .same_turn = same), 0);
        uring_check(__FILE__, __LINE__);
        close(fds[1]);
    }
}
struct close_listener { aio_frame aio; int fd, port; aio_task *t; };
aio_async(close_listener) {
    aio_result r;
    aio_try(self->fd, aio_listen_tcp("127.0.0.1", 0));
    self->port = port_of(self->fd);
    self->t = aio_spawn(acceptor, .fd = self->fd);
    aio_await(aio_sleep(AIO_MSEC));
    aio_await(r, aio_close(self->fd));
    assert_result(r, 0);
    assert_true(port_is_free(self->port));
    aio_await(r, aio_join(self->t));
    assert_result(r, -EBADF);
    return 0;
} aio_end
static void hazard_15_the_port_is_free_after_close(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) assert_result(run(close_listener), 0);
}

struct twice { aio_frame aio; int fd; bool busy; aio_task *first, *second, *third, *op; };
aio_async(twice) {
    aio_result r;
    if (self->busy) self->op = aio_spawn(receiver, .fd = self->fd);
    if (self->busy) aio_await(aio_sleep(AIO_MSEC));
    self->first = aio_spawn(closer, .fd = self->fd);
    self->second = aio_spawn(closer, .fd = self->fd);
    self->third = aio_spawn(closer, .fd = self->fd);
    aio_await(r, aio_join(self->first));
    assert_result(r, 0);
    aio_await(r, aio_join(self->second));
    assert_result(r, -EBADF);
    aio_await(r, aio_join(self->third));
    assert_result(r, -EBADF);
    if (self->busy) aio_await(r, aio_join(self->op));
    assert_result(r, -EBADF);
    return 0;
} aio_end
static void contract_5_of_concurrent_closes_the_first_wins(void **state)
{
    (void)state;
    for (int busy = 0; busy < 2; busy++) {
        int fds[2];
        pair_of(fds);
        uring_begin();
        uring_fds_before--;
        struct aio_loop_options o = uring_options();
        assert_result(aio_run_with(&o, twice, .fd = fds[0], .busy = busy), 0);
        if (!busy) expect_bad_closes(2);
        uring_check(__FILE__, __LINE__);
        close(fds[1]);
    }
}
// An operation that begins while the close waits gets -EBADF at once; after it, the descriptor is
// new.
struct on_closing { aio_frame aio; int fds[2], next[2]; aio_task *op, *late, *close; };
aio_async(on_closing) {
    aio_result r;
    self->op = aio_spawn(receiver, .fd = self->fds[0]);
    aio_await(aio_sleep(AIO_MSEC));
    self->close = aio_spawn(closer, .fd = self->fds[0]);
    self->late = aio_spawn(receiver, .fd = self->fds[0]);
    aio_await(aio_sleep(0));
    assert_true(aio_task_done(self->late));
    assert_false(aio_task_done(self->close));
    aio_await(r, aio_join(self->late));
    assert_result(r, -EBADF);
    aio_await(r, aio_join(self->close));
    assert_result(r, 0);
    aio_await(r, aio_join(self->op));
    assert_result(r, -EBADF);
    // The number comes again.
    pair_of(self->next);
    assert_int_equal(self->next[0], self->fds[0]);
    assert_int_equal(write(self->next[1], "new", 3), 3);
    aio_await(r, aio_call((struct receiver *)(void *)aio_task_user(aio_current_task()), receiver,
                          .fd = self->next[0]));
    assert_result(r, 3);
    aio_await(aio_close(self->next[0]));
    aio_await(aio_close(self->next[1]));
    return 0;
} aio_end
static struct receiver storage;
struct with_user { aio_frame aio; int fds[2]; struct on_closing inner; };
aio_async(with_user) {
    aio_result r;
    aio_task_set_user(aio_current_task(), &storage);
    aio_await(r,
              aio_call(&self->inner, on_closing, .fds[0] = self->fds[0], .fds[1] = self->fds[1]));
    return r;
} aio_end
static void hazard_16_the_number_of_a_closed_descriptor_is_used_again(void **state)
{
    (void)state;
    int fds[2];
    pair_of(fds);
    uring_begin();
    uring_fds_before--;
    struct aio_loop_options o = uring_options();
    assert_result(aio_run_with(&o, with_user, .fds[0] = fds[0], .fds[1] = fds[1]), 0);
    uring_check(__FILE__, __LINE__);
    close(fds[1]);
}
// A transfer of all that aio_close cuts short does not go on: its rest would come after the close,
// and reach whoever has the number then. With a ring of one entry it would have to wait for a turn.
static char much[1 << 20];
struct sends_much { aio_frame aio; int fd; bool counted; size_t done; };
aio_async(sends_much) {
    aio_result r;
    if (self->counted) aio_await(r, aio_send_all(self->fd, much, sizeof much, 0, &self->done));
    else aio_await(r, aio_send_all(self->fd, much, sizeof much, 0));
    return r;
} aio_end
struct takes_number { aio_frame aio; int fd, other; };
aio_async(takes_number) {
    while (fcntl(self->fd, F_GETFD) >= 0) aio_await(aio_sleep(0));
    assert_int_equal(dup(self->other), self->fd);
    aio_await(aio_sleep(10 * AIO_MSEC));
    return close(self->fd);
} aio_end
struct cuts_short { aio_frame aio; int fds[2], victim[2]; bool counted; aio_task *op, *thief; };
aio_async(cuts_short) {
    aio_result r;
    self->op = aio_spawn(sends_much, .fd = self->fds[0], .counted = self->counted);
    aio_await(aio_sleep(5 * AIO_MSEC));
    self->thief = aio_spawn(takes_number, .fd = self->fds[0], .other = self->victim[0]);
    aio_await(r, aio_close(self->fds[0]));
    assert_result(r, 0);
    aio_await(r, aio_join(self->op));
    assert_result(r, -EBADF);
    aio_await(r, aio_join(self->thief));
    assert_result(r, 0);
    assert_false(has_data(self->victim[1]));
    return 0;
} aio_end
static void contract_5_a_transfer_does_not_go_on_after_a_close(void **state)
{
    (void)state;
    setenv("AIO_URING_ENTRIES", "1", 1);
    for (int counted = 0; counted < 2; counted++) {
        int fds[2], victim[2];
        pair_of(fds);
        pair_of(victim);
        uring_begin();
        uring_fds_before--;
        struct aio_loop_options o = uring_options();
        assert_result(aio_run_with(&o, cuts_short, .fds[0] = fds[0], .victim[0] = victim[0],
                                   .victim[1] = victim[1], .counted = counted), 0);
        uring_check(__FILE__, __LINE__);
        close(fds[1]), close(victim[0]), close(victim[1]);
    }
    unsetenv("AIO_URING_ENTRIES");
}
// Releasing always releases: aio_close neither delivers nor accepts a cancel.
struct close_cancelled {
    aio_frame aio;
    int fd, peer, when;
    aio_task *op, *close;
    aio_result r, next;
};
struct owed_close { aio_frame aio; int fd; aio_result close, next; };
aio_async(owed_close) {
    self->next = 77;
    aio_task_cancel(aio_current_task());
    aio_await(self->close, aio_close(self->fd));
    aio_await(self->next, aio_sleep(0));
    return self->close;
} aio_end
aio_async(close_cancelled) {
    aio_await(aio_nop());               // there is a ring
    if (self->when & 4) {               // something is in flight, the close waits for it
        self->op = aio_spawn(receiver, .fd = self->fd);
        aio_await(aio_sleep(AIO_MSEC));
    }
    if (self->when & 1) self->close = aio_spawn(owed_close, .fd = self->fd);
    else self->close = aio_spawn(closer, .fd = self->fd);
    aio_await(aio_sleep(0));
    if (!(self->when & 1)) {
        if (self->when & 2) uring_post_now();
        assert_true(aio_task_cancel(self->close));
    }
    aio_await(aio_future_wait(aio_task_future(self->close)));
    if (self->when & 1) {
        self->r = aio_task_frame(owed_close, self->close)->close;
        self->next = aio_task_frame(owed_close, self->close)->next;
    } else {
        self->r = aio_task_frame(closer, self->close)->close;
        self->next = aio_task_frame(closer, self->close)->next;
    }
    aio_detach(self->close);
    if (self->op) {
        aio_result r;
        aio_await(r, aio_join(self->op));
        assert_result(r, -EBADF);
    }
    assert_result(self->r, 0);
    assert_result(self->next, -ECANCELED);
    return 0;
} aio_end
static void contract_5_close_neither_delivers_nor_accepts_a_cancel(void **state)
{
    (void)state;
    for (int when = 0; when < 8; when++) {
        int fds[2];
        char c;
        pair_of(fds);
        uring_begin();
        uring_fds_before--;
        struct aio_loop_options o = uring_options();
        assert_result(aio_run_with(&o, close_cancelled, .fd = fds[0], .peer = fds[1], .when = when),
                      0);
        uring_check(__FILE__, __LINE__);
        assert_result(recv(fds[1], &c, 1, MSG_DONTWAIT), 0);
        close(fds[1]);
    }
}
// An operation that completed while the close was on its way keeps its result.
struct close_late { aio_frame aio; int fds[2]; aio_task *op, *close; };
aio_async(close_late) {
    aio_result r;
    self->op = aio_spawn(receiver, .fd = self->fds[0]);
    aio_await(aio_sleep(AIO_MSEC));
    assert_int_equal(write(self->fds[1], "hello", 5), 5);
    uring_post_now();
    aio_await(r, aio_close(self->fds[0]));
    assert_result(r, 0);
    aio_await(r, aio_join(self->op));
    assert_result(r, 5);
    return 0;
} aio_end
static void contract_3_a_result_is_not_lost_by_a_close(void **state)
{
    (void)state;
    int fds[2];
    pair_of(fds);
    uring_begin();
    uring_fds_before--;
    struct aio_loop_options o = uring_options();
    assert_result(aio_run_with(&o, close_late, .fds[0] = fds[0], .fds[1] = fds[1]), 0);
    uring_check(__FILE__, __LINE__);
    close(fds[1]);
}
// The descriptor was closed behind our back, and its number may be another file's by then: the
// operation on the old file is found all the same.
struct behind { aio_frame aio; int fds[2]; bool reuse, both; aio_task *op, *second; };
aio_async(behind) {
    aio_result r;
    self->op = aio_spawn(receiver, .fd = self->fds[0]);
    aio_await(aio_sleep(AIO_MSEC));
    close(self->fds[0]);
    if (self->reuse) assert_int_equal(dup2(self->fds[1], self->fds[0]), self->fds[0]);
    if (self->both) {
        self->second = aio_spawn(receiver, .fd = self->fds[0]);
        aio_await(aio_sleep(AIO_MSEC));
    }
    aio_await(r, aio_close(self->fds[0]));
    assert_result(r, self->reuse ? 0 : -EBADF);
    aio_await(r, aio_join(self->op));
    assert_result(r, -EBADF);
    if (self->both) aio_await(r, aio_join(self->second));
    assert_result(r, -EBADF);
    return 0;
} aio_end
static void contract_5_closed_behind_our_back(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        int fds[2];
        pair_of(fds);
        uring_begin();
        uring_fds_before--;
        struct aio_loop_options o = uring_options();
        assert_result(aio_run_with(&o, behind, .fds[0] = fds[0], .fds[1] = fds[1], .reuse = i > 0,
                                   .both = i > 1), 0);
        uring_check(__FILE__, __LINE__);
        close(fds[1]);
    }
}
// Many closes of busy descriptors at once, in a small ring too.
enum { PAIRS = 500 };
struct close_all {
    aio_frame aio;
    int (*pairs)[2];
    int i;
    bool behind;
    aio_task *ops[PAIRS], *closes[PAIRS];
};
aio_async(close_all) {
    aio_result r;
    for (int i = 0; i < PAIRS; i++) self->ops[i] = aio_spawn(receiver, .fd = self->pairs[i][0]);
    aio_await(aio_sleep(AIO_MSEC));
    for (int i = 0; self->behind && i < PAIRS; i++) close(self->pairs[i][0]);
    for (int i = 0; i < PAIRS; i++) self->closes[i] = aio_spawn(closer, .fd = self->pairs[i][0]);
    for (; self->i < PAIRS; self->i++) {
        aio_await(r, aio_join(self->closes[self->i]));
        assert_result(r, self->behind ? -EBADF : 0);
        aio_await(r, aio_join(self->ops[self->i]));
        assert_result(r, -EBADF);
    }
    return 0;
} aio_end
static long submitted;
static int count_enter(unsigned fd, unsigned submit, unsigned wait, unsigned flags, sigset_t *extra,
                       size_t size)
{
    int r = io_uring_enter2(fd, submit, wait, flags, extra, size);
    submitted += r > 0 ? r : 0;
    return r;
}
static void close_many(bool behind)
{
    static int pairs[PAIRS][2];
    for (int i = 0; i < PAIRS; i++) assert_int_equal(pair_of(pairs[i]), 0);
    uring_begin();
    uring_fds_before -= PAIRS;
    submitted = 0;
    uring_hook.enter = count_enter;
    struct aio_loop_options o = uring_options();
    assert_result(aio_run_with(&o, close_all, .pairs = pairs, .behind = behind), 0);
    uring_hook.enter = 0;
    uring_check(__FILE__, __LINE__);
    for (int i = 0; i < PAIRS; i++) close(pairs[i][1]);
}
static void contract_5_many_closes_in_one_turn(void **state)
{
    (void)state;
    close_many(false);
}
// The cancel of each descriptor finds nothing: the operations are asked one by one, but only its
// own.
static void contract_5_many_closed_behind_our_back(void **state)
{
    (void)state;
    close_many(true);
    assert_in_range(submitted, 3 * PAIRS, 5 * PAIRS);
}
// Reference: shutdown ends a pending recv with 0, no close needed.
struct shut { aio_frame aio; int fd; aio_task *op; };
aio_async(shut) {
    aio_result r;
    self->op = aio_spawn(receiver, .fd = self->fd);
    aio_await(aio_sleep(AIO_MSEC));
    aio_await(r, aio_shutdown(self->fd, SHUT_RD));
    aio_await(r, aio_join(self->op));
    return r;
} aio_end
static void shutdown_ends_a_pending_recv(void **state)
{
    (void)state;
    int fds[2];
    pair_of(fds);
    assert_result(run(shut, .fd = fds[0]), 0);
    close(fds[0]);
    close(fds[1]);
}

// --- contract 11: a loop is closed with everything in flight
struct w {
    int a, b, port;
    char path[64], buf[64], *block;
    struct io_uring_sqe sqe;
    struct sockaddr_in to;
};
MAKE(m_recv, struct w, aio_recv(a->a, a->buf, 8, 0))
MAKE(m_send_all, struct w, aio_send_all(a->a, a->block, 1 << 20, 0))
MAKE(m_accept, struct w, aio_accept(a->a))
MAKE(m_poll, struct w, aio_poll(a->a, POLLIN))
MAKE(m_read, struct w, aio_read_some(a->a, a->buf, 8))
MAKE(m_connect, struct w, aio_connect(a->b, (struct sockaddr *)&a->to, sizeof a->to))
MAKE(m_connect_tcp, struct w, aio_connect_tcp("127.0.0.1", a->port))
MAKE(m_op, struct w, aio_uring_op(&a->sqe))
MAKE(m_close, struct w, aio_close(a->a))
MAKE(m_open, struct w, aio_openat(AT_FDCWD, "/dev/null", O_RDONLY, 0))
static struct { int bodies, drops; } count;
struct held { aio_frame aio; make_fn make; void *arg; };
aio_async(held) {
    aio_await(self->make(self->arg));
    count.bodies++;             // no body is resumed once the loop closes
    return 0;
} aio_end
aio_drop(held) {
    count.drops++;
    return 0;
} aio_end
struct stop { aio_frame aio; int64_t ns; };
aio_async(stop) {
    aio_await(aio_sleep(self->ns));
    return 0;
} aio_end
// Starts these, lets them run for a while, closes the loop.
static void close_with(const make_fn *make, void **args, int n, int64_t ns, bool settle)
{
    aio_loop l;
    struct aio_loop_options o = uring_options();
    assert_result(aio_loop_init(&l, &o), 0);
    memset(&count, 0, sizeof count);
    for (int i = 0; i < n; i++) aio_detach(aio_spawn_on(&l, held, .make = make[i], .arg = args[i]));
    aio_task *t = aio_spawn_on(&l, stop, .ns = ns);
    assert_result(aio_loop_run_until_complete(&l, t), 0);
    aio_detach(t);
    if (settle) {                       // completed and ready, never resumed
        usleep(2000);
        l.backend->wait(&l, 0);
    }
    assert_result(aio_loop_close(&l), 0);
    assert_int_equal(count.drops + count.bodies, n);
    assert_true(aio_loop_is_closed(&l));
}
static void contract_11_close_with_operations_of_every_kind(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        int fds[2], full[2], pipes[2], listener = tcp_listener(1), busy = tcp_listener(0),
                                       clients[2];
        struct w w[9];
        char path[64];
        memset(w, 0, sizeof w);
        snprintf(path, sizeof path, "/tmp/aio-test-close-%d", getpid());
        unlink(path);
        assert_int_equal(mkfifo(path, 0600), 0);
        pair_of(fds), pair_of(full);
        assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
        for (int i = 0; i < 2; i++) {
            struct sockaddr_in to = loopback(port_of(busy));
            clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
            if (connect(clients[i], (struct sockaddr *)&to, sizeof to) < 0) usleep(1000);
        }
        w[0].a = fds[0];
        w[1].a = full[0];
        w[1].block = (char *)calloc(1, 1 << 20);
        w[2].a = listener;
        w[3].a = fds[1];
        w[4].a = pipes[0];
        w[5].b = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        w[5].to = loopback(port_of(busy));
        w[6].port = port_of(busy);
        io_uring_prep_openat(&w[7].sqe, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
        w[7].sqe.flags |= IOSQE_ASYNC;
        io_uring_prep_splice(&w[8].sqe, pipes[0], -1, full[1], -1, 10, 0);
        make_fn make[9] = {m_recv,    m_send_all,    m_accept, m_poll, m_read,
                           m_connect, m_connect_tcp, m_op,     m_op};
        void *args[9];
        int port = port_of(listener);
        for (int i = 0; i < 9; i++) args[i] = &w[i];
        uring_begin();
        close_with(make, args, 9, round == 0 ? 0 : 5 * AIO_MSEC, round == 2);
        uring_check(__FILE__, __LINE__);
        assert_int_equal(count.bodies, 0);
        close(listener);
        assert_true(port_is_free(port));        // nothing of the ring holds it
        for (int i = 0; i < 2; i++)
            close(fds[i]), close(full[i]), close(pipes[i]), close(clients[i]);
        close(busy);
        close(w[5].b);
        free(w[1].block);
        unlink(path);
    }
}
// Descriptors that have arrived and that nobody takes are closed.
static void hazard_6_results_that_nobody_takes_are_closed(void **state)
{
    (void)state;
    int listener = tcp_listener(4);
    int client = tcp_client(port_of(listener)), second = tcp_client(port_of(listener));
    struct w w = { .a = listener, .port = port_of(listener) };
    make_fn make[3] = { m_accept, m_open, m_connect_tcp };
    void *args[3] = { &w, &w, &w };
    uring_begin();
    aio_loop l;
    struct aio_loop_options o = uring_options();
    assert_result(aio_loop_init(&l, &o), 0);
    for (int i = 0; i < 3; i++) aio_detach(aio_spawn_on(&l, held, .make = make[i], .arg = args[i]));
    aio_task *t = aio_spawn_on(&l, stop);
    aio_executor_turn(&l.executor);             // they start
    for (int i = 0; i < 5; i++) {
        l.backend->wait(&l, 0);
        usleep(1000);
    }
    int open = uring_count_fds();
    assert_true(open >= uring_fds_before + 3);  // ring, wake-up, and what has arrived
    aio_detach(t);
    assert_result(aio_loop_close(&l), 0);
    uring_check(__FILE__, __LINE__);
    close(listener), close(client), close(second);
}
// An aio_close that has not come to its end yet is carried out.
static void contract_5_a_close_is_carried_out_by_the_close_of_the_loop(void **state)
{
    (void)state;
    for (int busy = 0; busy < 2; busy++) {
        int fds[2];
        char c;
        pair_of(fds);
        struct w w = { .a = fds[0] };
        make_fn make[2] = { busy ? m_recv : m_close, m_close };
        void *args[2] = { &w, &w };
        uring_begin();
        uring_fds_before--;
        aio_loop l;
        struct aio_loop_options o = uring_options();
        assert_result(aio_loop_init(&l, &o), 0);
        assert_result(aio_uring_attach(&l, 0), 0);
        for (int i = busy ? 0 : 1; i < 2; i++)
            aio_detach(aio_spawn_on(&l, held, .make = make[i], .arg = args[i]));
        aio_executor_turn(&l.executor);
        assert_result(aio_loop_close(&l), 0);
        uring_check(__FILE__, __LINE__);
        assert_result(recv(fds[1], &c, 1, MSG_DONTWAIT), 0);
        close(fds[1]);
    }
}
static void closing_twice_is_harmless(void **state)
{
    (void)state;
    aio_loop l;
    struct aio_loop_options o = uring_options();
    uring_begin();
    assert_result(aio_loop_init(&l, &o), 0);
    assert_result(aio_uring_attach(&l, 0), 0);
    assert_result(aio_loop_close(&l), 0);
    assert_result(aio_loop_close(&l), 0);
    uring_check(__FILE__, __LINE__);
}
// 200 loops one after the other: nothing stays, not even a port.
struct serve_once { aio_frame aio; int port, fd, client, accepted; };
aio_async(serve_once) {
    aio_try(self->fd, aio_listen_tcp("127.0.0.1", self->port));
    aio_try(self->client, aio_connect_tcp("127.0.0.1", port_of(self->fd)));
    aio_try(self->accepted, aio_accept(self->fd));
    close(self->client);
    aio_try(aio_close(self->accepted));
    close(self->fd);
    return 0;
} aio_end
static void hazard_19_loops_one_after_the_other(void **state)
{
    (void)state;
    int fd = tcp_listener(1), port = port_of(fd);
    close(fd);
    for (int i = 0; i < 200; i++) assert_result(run(serve_once, .port = port), 0);
}
// The loop closes while an accept is in flight; the next listens on the same port at once.
static void hazard_19_a_closed_loop_holds_no_port(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        aio_loop l;
        struct aio_loop_options o = uring_options();
        int fd = tcp_listener(1), port = port_of(fd);
        uring_begin();
        assert_result(aio_loop_init(&l, &o), 0);
        aio_detach(aio_spawn_on(&l, acceptor, .fd = fd));
        for (int turn = 0; turn < 2; turn++) {
            aio_loop_stop(&l);
            assert_result(aio_loop_run_forever(&l), 0);
        }
        assert_result(aio_loop_close(&l), 0);
        uring_check(__FILE__, __LINE__);
        close(fd);
        assert_true(port_is_free(port));
    }
}

// --- a duplicate of what is closed is a descriptor of its own: what waits on it goes on
enum { DUP_READ, DUP_POLL, DUP_SLOT, DUP_MANY, DUP_CHAIN, DUP_STREAM, DUP_BOTH_WAYS, DUPS };
enum { DUP_SOCKET, DUP_PIPE, DUP_KINDS };
struct dup_reader { aio_frame aio; int how, kind, fd; char b[8]; aio_buffer_ring ring; aio_many it; aio_chain c;
                    aio_stream s; aio_bytes line; aio_result r; };
aio_async(dup_reader) {
    switch (self->how) {
    case DUP_POLL: aio_await(self->r, aio_poll(self->fd, POLLIN)); return self->r < 0 ? self->r : 2;
    case DUP_SLOT:
        aio_await(self->r, aio_io_with(aio_read_some(0, self->b, 8), AIO_IO_DIRECT));
        return self->r;
    case DUP_MANY:
        aio_try(aio_buffer_ring_init(&self->ring, 4, 64));
        self->r = self->kind == DUP_SOCKET ? aio_recv_many(&self->it, self->fd, &self->ring)
                                           : aio_read_many(&self->it, self->fd, &self->ring);
        aio_try(self->r);
        aio_await(self->r, aio_next(&self->it));
        if (self->r == 1) self->r = aio_gen_value(&self->it);
        aio_await(aio_gen_close(&self->it));
        aio_buffer_ring_close(&self->ring);
        return self->r;
    case DUP_CHAIN:
        aio_try(aio_chain_init(&self->c));
        aio_try(aio_chain_add(&self->c, aio_read_some(self->fd, self->b, 2)));
        aio_try(aio_chain_add(&self->c, aio_nop()));
        aio_await(self->r, aio_chain_run(&self->c));
        return self->r < 0 ? self->r : aio_chain_result(&self->c, 0);
    case DUP_STREAM:
        self->fd = dup(self->fd);
        aio_try(aio_stream_open(&self->s, self->fd, -1, NULL));
        aio_await(self->r, aio_stream_read_line(&self->s, &self->line));
        return self->r;
    default: aio_await(self->r, aio_read_some(self->fd, self->b, 8)); return self->r;
    }
} aio_end
struct dups { aio_frame aio; int how, kind, fds[2], dup; aio_task *closed, *other, *more; aio_result r; };
aio_async(dups) {
    if (self->kind == DUP_SOCKET) pair_of(self->fds);
    else assert_int_equal(pipe2(self->fds, O_CLOEXEC), 0);
    self->dup = dup(self->fds[0]);
    aio_await(aio_nop());
    assert_result(aio_direct_register(NULL, 1), 0);
    assert_result(aio_direct_put(NULL, 0, self->dup), 0);
    self->other = aio_spawn(dup_reader, .how = self->how, .kind = self->kind, .fd = self->dup);
    self->closed = aio_spawn(dup_reader, .how = DUP_READ, .fd = self->fds[0]);
    self->more = aio_spawn(dup_reader, .how = self->how == DUP_BOTH_WAYS ? DUP_POLL : DUP_READ,
                           .fd = self->how == DUP_BOTH_WAYS ? self->fds[0] : -1);
    aio_await(aio_sleep(AIO_MSEC));
    uring_reap_now();
    aio_await(self->r, aio_close(self->fds[0]));
    assert_result(self->r, 0);
    aio_await(self->r, aio_join(self->closed));
    assert_result(self->r, -EBADF);
    aio_await(self->r, aio_join(self->more));
    assert_result(self->r, -EBADF);
    assert_int_equal(write(self->fds[1], "x\n", 2), 2);
    aio_await(self->r, aio_join(self->other));
    assert_result(self->r, 2);
    assert_int_equal(aio_running_loop()->in_flight, 0);
    close(self->dup);
    close(self->fds[1]);
    aio_direct_unregister(NULL);
    return 0;
} aio_end
static void a_duplicate_goes_on_when_the_other_is_closed(void **state)
{
    (void)state;
    for (int kind = 0; kind < DUP_KINDS; kind++)
        for (int how = 0; how < DUPS; how++)
            assert_result(run(dups, .how = how, .kind = kind), 0);
}
// Many that are closed at a time, each with its readers.
enum { CROWD = 300 };
struct crowd_close { aio_frame aio; int fd; aio_result r; };
aio_async(crowd_close) { aio_await(self->r, aio_close(self->fd)); return self->r; } aio_end
struct crowd { aio_frame aio; int i, fds[CROWD][2]; aio_task *readers[CROWD], *closers[CROWD]; aio_result r; };
aio_async(crowd) {
    for (self->i = 0; self->i < CROWD; self->i++) {
        pair_of(self->fds[self->i]);
        self->readers[self->i] = aio_spawn(dup_reader, .fd = self->fds[self->i][0]);
    }
    aio_await(aio_sleep(AIO_MSEC));
    for (self->i = 0; self->i < CROWD; self->i++)
        self->closers[self->i] = aio_spawn(crowd_close, .fd = self->fds[self->i][0]);
    for (self->i = 0; self->i < CROWD; self->i++) {
        aio_await(self->r, aio_join(self->closers[self->i]));
        assert_result(self->r, 0);
        aio_await(self->r, aio_join(self->readers[self->i]));
        assert_result(self->r, -EBADF);
        close(self->fds[self->i][1]);
    }
    return 0;
} aio_end
static void many_closes_at_a_time(void **state)
{
    (void)state;
    assert_result(run(crowd), 0);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contract_5_close_ends_what_waits),
        cmocka_unit_test(hazard_15_the_port_is_free_after_close),
        cmocka_unit_test(contract_5_of_concurrent_closes_the_first_wins),
        cmocka_unit_test(hazard_16_the_number_of_a_closed_descriptor_is_used_again),
        cmocka_unit_test(contract_5_a_transfer_does_not_go_on_after_a_close),
        cmocka_unit_test(contract_5_close_neither_delivers_nor_accepts_a_cancel),
        cmocka_unit_test(contract_3_a_result_is_not_lost_by_a_close),
        cmocka_unit_test(contract_5_closed_behind_our_back),
        cmocka_unit_test(contract_5_many_closes_in_one_turn),
        cmocka_unit_test(contract_5_many_closed_behind_our_back),
        cmocka_unit_test(shutdown_ends_a_pending_recv),
        cmocka_unit_test(contract_11_close_with_operations_of_every_kind),
        cmocka_unit_test(hazard_6_results_that_nobody_takes_are_closed),
        cmocka_unit_test(contract_5_a_close_is_carried_out_by_the_close_of_the_loop),
        cmocka_unit_test(closing_twice_is_harmless),
        cmocka_unit_test(hazard_19_loops_one_after_the_other),
        cmocka_unit_test(hazard_19_a_closed_loop_holds_no_port),
        cmocka_unit_test(a_duplicate_goes_on_when_the_other_is_closed),
        cmocka_unit_test(many_closes_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
