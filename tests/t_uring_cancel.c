// Cancelling operations: before the kernel saw them, in flight, done but not taken, and what became
// of their results (contract 3).
#include "uring.h"

struct w {
    int a, b;                   // a: what the operation is on
    char buf[64], *big;
    size_t done;
    struct sockaddr_storage to;
    socklen_t to_length;
    struct io_uring_sqe sqe;
    char path[64];
    int port, client[8], clients;
};
enum { BIG = 8 << 20 };

// An operation that waits until `event`.
struct op {
    const char *name;
    void (*setup)(struct w *);
    make_fn make;
    void (*event)(struct w *);          // null: it does not wait
    aio_result value;                   // after the event; -1: a descriptor; -2: some bytes
};

static void s_pair(struct w *w)
{
    int fds[2];
    pair_of(fds);
    w->a = fds[0];
    w->b = fds[1];
}
static void s_full(struct w *w)
{
    s_pair(w);
    fill(w->a);
}
static void s_pipe(struct w *w)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    w->a = fds[0];
    w->b = fds[1];
}
static void s_full_pipe(struct w *w)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    w->a = fds[1];
    w->b = fds[0];
    fill(w->a);
}
static void s_listener(struct w *w) { w->a = tcp_listener(8); }
// A listener whose queue is full: a connect waits.
static void s_full_listener(struct w *w)
{
    struct sockaddr_in to;
    w->b = tcp_listener(0);
    w->port = port_of(w->b);
    to = loopback(w->port);
    memcpy(&w->to, &to, sizeof to);
    w->to_length = sizeof to;
    for (; w->clients < 2; w->clients++) {
        w->client[w->clients] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(w->client[w->clients], (struct sockaddr *)&to, sizeof to) < 0) usleep(1000);
    }
    w->a = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}
static void s_file(struct w *w) { w->a = temp_file("0123456789"); }
static void s_fifo(struct w *w)         // opened by a kernel thread, which blocks
{
    snprintf(w->path, sizeof w->path, "/tmp/aio-test-%d", getpid());
    unlink(w->path);
    assert_int_equal(mkfifo(w->path, 0600), 0);
    io_uring_prep_openat(&w->sqe, AT_FDCWD, w->path, O_RDONLY | O_CLOEXEC, 0);
    w->sqe.flags |= IOSQE_ASYNC;
}
static void s_nothing(struct w *w) { strcpy(w->path, "/dev/null"); }
static void s_splice(struct w *w)
{
    s_pipe(w);
    w->client[0] = open("/dev/null", O_WRONLY | O_CLOEXEC);
    w->clients = 1;
    io_uring_prep_splice(&w->sqe, w->a, -1, w->client[0], -1, 100, 0);
}
static void e_write(struct w *w) { assert_int_equal(write(w->b, "hello", 5), 5); }
static void e_empty(struct w *w) { empty(w->b); }
static void e_connect(struct w *w) { w->client[w->clients++] = tcp_client(port_of(w->a)); }
static void e_open(struct w *w)
{
    w->client[w->clients++] = open(w->path, O_WRONLY | O_CLOEXEC);
}
static void w_free(struct w *w)
{
    if (w->a > 0) close(w->a);
    if (w->b > 0) close(w->b);
    while (w->clients) close(w->client[--w->clients]);
    if (strncmp(w->path, "/tmp/", 5) == 0) unlink(w->path);
    free(w->big);
}
static char *big_of(struct w *w) { return w->big ? w->big : (w->big = (char *)calloc(1, BIG)); }

MAKE(m_recv, struct w, aio_recv(a->a, a->buf, sizeof a->buf, 0))
MAKE(m_send, struct w, aio_send(a->a, "hello", 5, 0))
MAKE(m_send_all, struct w, aio_send_all(a->a, "hello", 5, 0, &a->done))
MAKE(m_accept, struct w, aio_accept(a->a))
MAKE(m_connect, struct w, aio_connect(a->a, (struct sockaddr *)&a->to, a->to_length))
MAKE(m_connect_tcp, struct w, aio_connect_tcp("127.0.0.1", a->port))
MAKE(m_read, struct w, aio_read_some(a->a, a->buf, sizeof a->buf))
MAKE(m_write, struct w, aio_write_some(a->a, "hello", 5))
MAKE(m_write_all, struct w, aio_write_all(a->a, "hello", 5, &a->done))
MAKE(m_poll, struct w, aio_poll(a->a, POLLIN))
MAKE(m_op, struct w, aio_uring_op(&a->sqe))
MAKE(m_pread, struct w, aio_pread(a->a, a->buf, sizeof a->buf, 0))
MAKE(m_pwrite, struct w, aio_pwrite(a->a, "hello", 5, 0))
MAKE(m_pwrite_all, struct w, aio_pwrite_all(a->a, "hello", 5, 0, &a->done))
MAKE(m_sync, struct w, aio_sync_file(a->a, 0))
MAKE(m_statx, struct w, aio_statx(AT_FDCWD, "/", 0, STATX_SIZE, (struct statx *)(void *)big_of(a)))
MAKE(m_open, struct w, aio_openat(AT_FDCWD, a->path, O_RDONLY, 0))
MAKE(m_nop, struct w, aio_nop())

static const struct op waiting[] = {
    { "recv", s_pair, m_recv, e_write, 5 },
    { "send", s_full, m_send, e_empty, 5 },
    { "send_all", s_full, m_send_all, e_empty, 5 },
    { "accept", s_listener, m_accept, e_connect, -1 },
    { "read a pipe", s_pipe, m_read, e_write, 5 },
    { "write a pipe", s_full_pipe, m_write, e_empty, 5 },
    { "write_all a pipe", s_full_pipe, m_write_all, e_empty, 5 },
    { "poll", s_pair, m_poll, e_write, POLLIN },
    { "open a fifo", s_fifo, m_op, e_open, -1 },
    { "splice", s_splice, m_op, e_write, 5 },
};
static const struct op others[] = {     // that cannot be made to wait, or not be ended from here
    { "connect", s_full_listener, m_connect, 0, 0 },
    { "connect_tcp", s_full_listener, m_connect_tcp, 0, -1 },
    { "pread", s_file, m_pread, 0, 10 },
    { "pwrite", s_file, m_pwrite, 0, 5 },
    { "pwrite_all", s_file, m_pwrite_all, 0, 5 },
    { "sync_file", s_file, m_sync, 0, 0 },
    { "statx", s_nothing, m_statx, 0, 0 },
    { "openat", s_nothing, m_open, 0, -1 },
    { "nop", s_nothing, m_nop, 0, 0 },
};
enum { N_WAITING = sizeof waiting / sizeof *waiting, N_OTHERS = sizeof others / sizeof *others };

// Cancels a `two` at some moment of its operation.
enum phase {
    SAME_TURN,          // started, not yet submitted
    IN_FLIGHT,
    TWICE,              // and again, while the first cancel is on its way
    POSTED,             // the kernel has completed it, the loop does not know
    READY,              // the loop knows, the task was not resumed
    OWED,               // cancelled before the operation began: delivered by it
    UNCANCELLED,        // ready, cancelled, and the request taken back
    PHASES
};
struct attack {
    aio_frame aio;
    const struct op *op;
    struct w *w;
    enum phase phase;
    aio_task *t;
    aio_result first, second;
};
// One step of its own between being cancelled and beginning the operation.
struct late { aio_frame aio; make_fn make; void *arg; aio_result first, second; };
aio_async(late) {
    self->second = 77;
    aio_task_cancel(aio_current_task());
    aio_await(self->first, self->make(self->arg));
    aio_await(self->second, aio_sleep(0));
    return 0;
} aio_end
aio_async(attack) {
    if (self->phase == OWED) self->t = aio_spawn(late, .make = self->op->make, .arg = self->w);
    else self->t = aio_spawn(two, .make = self->op->make, .arg = self->w);
    aio_await(aio_sleep(0));                        // it runs before us, in the next turn
    if (self->phase == SAME_TURN) assert_true(aio_task_cancel(self->t));
    if (self->phase == IN_FLIGHT || self->phase == TWICE) {
        aio_await(aio_sleep(20 * AIO_MSEC));
        aio_task_cancel(self->t);
        if (self->phase == TWICE) aio_task_cancel(self->t);
    }
    if (self->phase >= POSTED && self->phase != OWED) {
        aio_await(aio_sleep(AIO_MSEC));
        if (self->op->event) self->op->event(self->w);
        usleep(5000);                               // kernel threads
        if (self->phase == POSTED) uring_post_until_there();
        else uring_reap_until_ready(self->t);
        assert_true(aio_task_cancel(self->t));
        if (self->phase == UNCANCELLED) assert_int_equal(aio_task_uncancel(self->t), 0);
    }
    aio_await(aio_future_wait(aio_task_future(self->t)));
    if (self->phase == OWED) {
        self->first = aio_task_frame(late, self->t)->first;
        self->second = aio_task_frame(late, self->t)->second;
    } else {
        self->first = aio_task_frame(two, self->t)->first;
        self->second = aio_task_frame(two, self->t)->second;
    }
    aio_detach(self->t);
    if (self->first > 0 && self->op->value == -1) close((int)self->first);
    return self->first;
} aio_end
static struct attack seen;
struct keep {
    aio_frame aio;
    const struct op *op;
    struct w *w;
    enum phase phase;
    struct attack attack;
};
aio_async(keep) {
    aio_result r;
    aio_await(r,
              aio_call(&self->attack, attack, .op = self->op, .w = self->w, .phase = self->phase));
    seen = self->attack;
    return r;
} aio_end
static void attack_one(const struct op *op, enum phase phase, struct w *w)
{
    memset(w, 0, sizeof *w);
    w->done = 99;
    op->setup(w);
    int clients = w->clients;
    uring_begin();
    struct aio_loop_options o = uring_options();
    aio_run_with(&o, keep, .op = op, .w = w, .phase = phase);
    while (w->clients > clients) close(w->client[--w->clients]);
    uring_check(op->name, (int)phase);
}
static bool is_value(const struct op *op, aio_result r)
{
    if (op->value == -1) return r > 2;
    return r == op->value;
}
#define EXPECT(what, condition) \
    do { \
        if (!(condition)) { \
            print_error("%s, phase %d: first %lld, second %lld: %s\n", (what)->name, (int)phase, \
                        (long long)seen.first, (long long)seen.second, #condition); \
            failed = true; \
        } \
    } while (0)

static void contract_3_cancelled_while_it_waits(void **state)
{
    (void)state;
    bool failed = false;
    const enum phase phases[] = { SAME_TURN, IN_FLIGHT, TWICE, OWED };
    for (int k = 0; k < 4; k++) {
        for (int i = 0; i < N_WAITING + 2; i++) {
            const struct op *op = i < N_WAITING ? &waiting[i] : &others[i - N_WAITING];
            enum phase phase = phases[k];
            struct w w;
            attack_one(op, phase, &w);
            EXPECT(op, seen.first == -ECANCELED);
            EXPECT(op, seen.second == 0);
            if (op->make == m_send_all || op->make == m_write_all) EXPECT(op, w.done == 0);
            w_free(&w);
        }
    }
    assert_false(failed);
}
// What had completed comes out, and the -ECANCELED at the next await.
static void contract_3_done_before_the_cancel(void **state)
{
    (void)state;
    bool failed = false;
    const enum phase phases[] = { POSTED, READY, UNCANCELLED };
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < N_WAITING; i++) {
            const struct op *op = &waiting[i];
            enum phase phase = phases[k];
            struct w w;
            attack_one(op, phase, &w);
            EXPECT(op, is_value(op, seen.first));
            EXPECT(op, seen.second == (phase == UNCANCELLED ? 0 : -ECANCELED));
            if (op->make == m_recv || op->make == m_read) EXPECT(op, !memcmp(w.buf, "hello", 5));
            if (op->make == m_send_all || op->make == m_write_all) EXPECT(op, w.done == 5);
            w_free(&w);
        }
    }
    assert_false(failed);
}
// Those that need not wait: delivered exactly once, at one of the two.
static void contract_4_delivered_once(void **state)
{
    (void)state;
    bool failed = false;
    for (int k = SAME_TURN; k < PHASES; k++) {
        for (int i = 2; i < N_OTHERS; i++) {
            const struct op *op = &others[i];
            enum phase phase = (enum phase)k;
            struct w w;
            if (k == IN_FLIGHT || k == TWICE || k == READY || k == POSTED || k == UNCANCELLED)
                continue;
            attack_one(op, phase, &w);
            EXPECT(op, seen.first == -ECANCELED);       // the kernel never saw it
            EXPECT(op, seen.second == 0);
            w_free(&w);
        }
    }
    assert_false(failed);
}
struct ready_file {
    aio_frame aio;
    const struct op *op;
    struct w *w;
    aio_task *t;
    aio_result first, second;
};
aio_async(ready_file) {
    self->t = aio_spawn(two, .make = self->op->make, .arg = self->w);
    aio_await(aio_sleep(0));
    uring_reap_until_ready(self->t);
    aio_task_cancel(self->t);
    aio_await(aio_future_wait(aio_task_future(self->t)));
    self->first = aio_task_frame(two, self->t)->first;
    self->second = aio_task_frame(two, self->t)->second;
    aio_detach(self->t);
    seen.first = self->first;
    seen.second = self->second;
    if (self->first > 0 && self->op->value == -1) close((int)self->first);
    return 0;
} aio_end
static void contract_3_done_at_once_then_cancelled(void **state)
{
    (void)state;
    bool failed = false;
    for (int i = 2; i < N_OTHERS; i++) {
        const struct op *op = &others[i];
        enum phase phase = READY;
        struct w w;
        memset(&w, 0, sizeof w);
        op->setup(&w);
        run(ready_file, .op = op, .w = &w);
        EXPECT(op, is_value(op, seen.first));
        EXPECT(op, seen.second == -ECANCELED);
        w_free(&w);
    }
    assert_false(failed);
}

// A task whose operations are all done at once must still get its cancel at the next await.
struct busy { aio_frame aio; make_fn make; void *arg; int rounds; };
aio_async(busy) {
    for (; self->rounds < 1000; self->rounds++) aio_try(self->make(self->arg));
    return 0;
} aio_end
struct stop_busy { aio_frame aio; make_fn make; void *arg; aio_task *t; int rounds; };
aio_async(stop_busy) {
    aio_result r;
    self->t = aio_spawn(busy, .make = self->make, .arg = self->arg);
    aio_await(aio_sleep(0));
    aio_await(aio_sleep(0));
    uring_reap_until_ready(self->t);
    self->rounds = aio_task_frame(busy, self->t)->rounds;
    aio_task_cancel(self->t);           // its result wins; the next await must give the cancel
    aio_await(r, aio_future_wait(aio_task_future(self->t)));
    assert_int_equal(aio_task_frame(busy, self->t)->rounds, self->rounds + 1);
    aio_detach(self->t);
    return r;
} aio_end
static void contract_3_delivered_at_the_next_await_even_if_all_is_ready(void **state)
{
    (void)state;
    struct w w;
    memset(&w, 0, sizeof w);
    assert_result(run(stop_busy, .make = m_nop), -ECANCELED);
    w.a = temp_file("0123456789");
    assert_result(run(stop_busy, .make = m_pread, .arg = &w), -ECANCELED);
    assert_result(run(stop_busy, .make = m_pwrite_all, .arg = &w), -ECANCELED);
    close(w.a);
    int fds[2];
    pair_of(fds);
    fill(fds[1]);
    w.a = fds[0];
    assert_result(run(stop_busy, .make = m_recv, .arg = &w), -ECANCELED);
    close(fds[0]);
    close(fds[1]);
    strcpy(w.path, "/dev/null");
}

// No byte is lost: whatever the moment of the cancel, what was not received is still in the socket.
struct late_recv { aio_frame aio; int fd; char buf[8]; };
aio_async(late_recv) {
    aio_result n;
    aio_await(n, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
    return n;
} aio_end
struct race { aio_frame aio; int fds[2], delay; aio_task *t; };
aio_async(race) {
    aio_result r;
    self->t = aio_spawn(late_recv, .fd = self->fds[0]);
    if (self->delay & 1) aio_await(aio_sleep(0));
    if (self->delay & 2) aio_await(aio_sleep(AIO_USEC * 50));
    if (self->delay & 4) aio_task_cancel(self->t);
    assert_int_equal(write(self->fds[1], "hello", 5), 5);
    if (self->delay & 8) uring_reap_now();
    if (self->delay & 16) uring_post_now();
    aio_task_cancel(self->t);
    aio_await(r, aio_join(self->t));
    return r;
} aio_end
static void contract_3_late_recv_keeps_its_bytes(void **state)
{
    (void)state;
    int received = 0, cancelled = 0;
    for (int i = 0; i < 32 * 4; i++) {
        int fds[2];
        pair_of(fds);
        if ((i & 31) >= 8 && !(i & 3)) {        // no ring yet to reap
            close(fds[0]), close(fds[1]);
            continue;
        }
        aio_result r = run(race, .fds[0] = fds[0], .fds[1] = fds[1], .delay = i & 31);
        size_t left = empty(fds[0]);
        if (r == -ECANCELED) {
            cancelled++;
            // received and then cancelled by aio_task_finish, or still there
            assert_true(left == 5 || left == 0);
        } else {
            received++;
            assert_result(r, 5);
            assert_int_equal(left, 0);
        }
        close(fds[0]);
        close(fds[1]);
    }
    assert_true(cancelled > 10);
}

// `done` is exact: what was sent before the cancel is what the peer has.
static size_t take_some(int fd)         // not all: what makes room lets the sender go on
{
    char block[4096];
    ssize_t n = recv(fd, block, sizeof block, MSG_DONTWAIT);
    if (n < 0) n = read(fd, block, sizeof block);
    return n > 0 ? (size_t)n : 0;
}
struct partial { aio_frame aio; int fds[2]; char *big; size_t done, got; bool pipe; aio_task *t; };
struct sender { aio_frame aio; int fd; char *big; size_t *done; bool pipe; };
aio_async(sender) {
    aio_result r;
    if (self->pipe) aio_await(r, aio_write_all(self->fd, self->big, BIG, self->done));
    else aio_await(r, aio_send_all(self->fd, self->big, BIG, 0, self->done));
    return r;
} aio_end
aio_async(partial) {
    aio_result r;
    self->t = aio_spawn(sender, .fd = self->fds[0], .big = self->big, .done = &self->done,
                        .pipe = self->pipe);
    aio_await(aio_sleep(2 * AIO_MSEC));
    self->got = take_some(self->fds[1]);
    aio_await(aio_sleep(2 * AIO_MSEC));
    aio_task_cancel(self->t);
    aio_await(r, aio_join(self->t));
    assert_result(r, -ECANCELED);
    self->got += empty(self->fds[1]);
    assert_int_equal(self->got, self->done);
    return (aio_result)self->done;
} aio_end
static void contract_3_done_is_exact_after_a_cancel(void **state)
{
    (void)state;
    char *big = (char *)calloc(1, BIG);
    for (int pipe = 0; pipe < 2; pipe++) {
        int fds[2], small = 4096;
        if (pipe) {
            assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
            int swap = fds[0];
            fds[0] = fds[1], fds[1] = swap;
        } else {
            pair_of(fds);
            setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
        }
        aio_result done =
            run(partial, .fds[0] = fds[0], .fds[1] = fds[1], .big = big, .pipe = pipe);
        assert_true(done > 0 && done < BIG);
        close(fds[0]);
        close(fds[1]);
    }
    free(big);
}
struct exact { aio_frame aio; int fds[2]; char *big; size_t done, got; aio_task *t; };
aio_async(exact) {
    aio_result r;
    self->t =
        aio_spawn(sender, .fd = self->fds[0], .big = self->big, .done = &self->done, .pipe = true);
    aio_await(aio_sleep(AIO_MSEC));
    self->got = empty(self->fds[1]);
    aio_await(aio_sleep(AIO_MSEC));
    self->got += empty(self->fds[1]);
    uring_post_now();                   // a part has been written, and the loop does not know
    aio_task_cancel(self->t);
    aio_await(r, aio_join(self->t));
    // Linux 6.1 has a worker write to a pipe, which goes on while it is read, to the end.
    assert_true(r == -ECANCELED || (r == BIG && self->done == BIG));
    self->got += empty(self->fds[1]);
    assert_int_equal(self->got, self->done);
    return 0;
} aio_end
static void contract_3_done_counts_the_part_that_won(void **state)
{
    (void)state;
    char *big = (char *)calloc(1, BIG);
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_result(run(exact, .fds[0] = fds[1], .fds[1] = fds[0], .big = big), 0);
    close(fds[0]);
    close(fds[1]);
    free(big);
}

// hazard 5: a late cancel must not hit the next operation of the same task.
struct reuse { aio_frame aio; int fds[2]; aio_task *t; int i; };
struct again { aio_frame aio; int fd; char buf[8]; aio_result first, second; };
aio_async(again) {
    aio_await(self->first, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
    aio_task_uncancel(aio_current_task());
    aio_await(self->second, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
    return 0;
} aio_end
aio_async(reuse) {
    aio_result r;
    for (; self->i < 200; self->i++) {
        self->t = aio_spawn(again, .fd = self->fds[0]);
        aio_await(aio_sleep(0));
        aio_await(aio_sleep(0));
        assert_int_equal(write(self->fds[1], "1", 1), 1);
        uring_post_now(); // completed, not reaped: the cancel goes to the kernel in vain
        aio_task_cancel(self->t);
        aio_await(aio_sleep(0));
        aio_await(aio_sleep(0));
        aio_await(aio_sleep(0));
        assert_int_equal(write(self->fds[1], "22", 2), 2);
        aio_await(r, aio_future_wait(aio_task_future(self->t)));
        assert_result(aio_task_frame(again, self->t)->first, 1);
        assert_result(aio_task_frame(again, self->t)->second, 2);
        aio_detach(self->t);
    }
    return 0;
} aio_end
static void hazard_5_a_late_cancel_does_not_hit_the_next_operation(void **state)
{
    (void)state;
    int fds[2];
    pair_of(fds);
    assert_result(run(reuse, .fds[0] = fds[0], .fds[1] = fds[1]), 0);
    close(fds[0]);
    close(fds[1]);
}

// hazard 7: a partly filled MSG_WAITALL gives its bytes.
struct waitall { aio_frame aio; struct w *w; aio_task *t; };
MAKE(m_waitall, struct w, aio_recv(a->a, a->buf, sizeof a->buf, MSG_WAITALL))
aio_async(waitall) {
    self->t = aio_spawn(two, .make = m_waitall, .arg = self->w);
    aio_await(aio_sleep(AIO_MSEC));
    assert_int_equal(write(self->w->b, "0123456789", 10), 10);
    aio_await(aio_sleep(AIO_MSEC));
    aio_task_cancel(self->t);
    aio_await(aio_future_wait(aio_task_future(self->t)));
    assert_result(aio_task_frame(two, self->t)->first, 10);
    assert_result(aio_task_frame(two, self->t)->second, -ECANCELED);
    aio_detach(self->t);
    return 0;
} aio_end
static void hazard_7_a_partial_waitall_is_not_lost(void **state)
{
    (void)state;
    struct w w;
    memset(&w, 0, sizeof w);
    s_pair(&w);
    assert_result(run(waitall, .w = &w), 0);
    assert_memory_equal(w.buf, "0123456789", 10);
    assert_int_equal(empty(w.a), 0);
    w_free(&w);
}
// The same when a limit ends it.
MAKE(m_limited_waitall, struct w, aio_wait_for(5 * AIO_MSEC, m_waitall(a)))
static void hazard_7_what_came_before_the_limit_is_not_lost(void **state)
{
    (void)state;
    struct w w;
    memset(&w, 0, sizeof w);
    s_pair(&w);
    assert_int_equal(write(w.b, "0123456789", 10), 10);
    assert_result(run_one(m_limited_waitall, &w), 10);
    assert_result(run_one(m_limited_waitall, &w), -ETIMEDOUT);
    w_free(&w);
}
// hazard 6: a descriptor that nobody can take is closed; run() counts them.
struct give_up { aio_frame aio; int listener, client; aio_task *t; };
struct taker { aio_frame aio; int listener; };
aio_async(taker) {
    aio_result fd;
    aio_try(fd, aio_accept(self->listener));
    return fd;
} aio_end
aio_drop(taker) {
    if (dropped >= 0) close((int)dropped);
    return 0;
} aio_end
aio_async(give_up) {
    self->t = aio_spawn(taker, .listener = self->listener);
    aio_await(aio_sleep(AIO_MSEC));
    self->client = tcp_client(port_of(self->listener));
    uring_reap_until_ready(self->t);
    aio_task_cancel(self->t);
    aio_await(aio_future_wait(aio_task_future(self->t)));
    aio_detach(self->t);
    close(self->client);
    return 0;
} aio_end
static void hazard_6_an_accepted_descriptor_is_not_leaked(void **state)
{
    (void)state;
    int listener = tcp_listener(4);
    assert_result(run(give_up, .listener = listener), 0);
    close(listener);
}

// 10,000 tasks with a pending recv, cancelled in one turn.
enum { MANY = 10000 };
struct many_recv { aio_frame aio; int fd; char buf[4]; };
aio_async(many_recv) {
    aio_result n;
    aio_await(n, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
    return n;
} aio_end
struct cancel_many { aio_frame aio; int fd; aio_task **tasks; int i; bool same_turn; };
aio_async(cancel_many) {
    aio_result r;
    for (int i = 0; i < MANY; i++) self->tasks[i] = aio_spawn(many_recv, .fd = self->fd);
    aio_await(aio_sleep(0));
    if (!self->same_turn) aio_await(aio_sleep(AIO_MSEC));
    for (int i = 0; i < MANY; i++) assert_true(aio_task_cancel(self->tasks[i]));
    for (; self->i < MANY; self->i++) {
        aio_await(r, aio_join(self->tasks[self->i]));
        assert_result(r, -ECANCELED);
    }
    assert_int_equal(aio_running_loop()->in_flight, 0);
    return 0;
} aio_end
static void hazard_4_ten_thousand_cancels_in_one_turn(void **state)
{
    (void)state;
    int fds[2];
    aio_task **tasks = (aio_task **)calloc(MANY, sizeof *tasks);
    pair_of(fds);
    assert_result(run(cancel_many, .fd = fds[0], .tasks = tasks), 0);
    assert_result(run(cancel_many, .fd = fds[0], .tasks = tasks, .same_turn = true), 0);
    free(tasks);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contract_3_cancelled_while_it_waits),
        cmocka_unit_test(contract_3_done_before_the_cancel),
        cmocka_unit_test(contract_4_delivered_once),
        cmocka_unit_test(contract_3_done_at_once_then_cancelled),
        cmocka_unit_test(contract_3_delivered_at_the_next_await_even_if_all_is_ready),
        cmocka_unit_test(contract_3_late_recv_keeps_its_bytes),
        cmocka_unit_test(contract_3_done_is_exact_after_a_cancel),
        cmocka_unit_test(contract_3_done_counts_the_part_that_won),
        cmocka_unit_test(hazard_5_a_late_cancel_does_not_hit_the_next_operation),
        cmocka_unit_test(hazard_7_a_partial_waitall_is_not_lost),
        cmocka_unit_test(hazard_7_what_came_before_the_limit_is_not_lost),
        cmocka_unit_test(hazard_6_an_accepted_descriptor_is_not_leaked),
        cmocka_unit_test(hazard_4_ten_thousand_cancels_in_one_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
