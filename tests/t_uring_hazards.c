// The hazards of tests/hazards.txt that have no home in another program.
#include "uring.h"
#include <pthread.h>

// What the kernel does to memory no checker sees. So blocks that were given back are kept, filled
// with a pattern, and looked at when all is over.
enum { KEPT = 4096, PATTERN = 0xa5 };
static struct { unsigned char *at; size_t size; } kept[KEPT];
static int kept_count;
struct sized { size_t size; char pad[56]; };
static void *keep_allocate(void *context, size_t size)
{
    struct sized *s = (struct sized *)test_allocate(context, sizeof *s + size);
    if (!s) return NULL;
    s->size = size;
    return s + 1;
}
static void keep_release(void *context, void *block)
{
    struct sized *s = (struct sized *)block - 1;
    ((struct test_memory *)context)->blocks--;
    assert_true(kept_count < KEPT);
    kept[kept_count].at = (unsigned char *)block;
    kept[kept_count++].size = s->size;
    memset(block, PATTERN, s->size);
}
static void nobody_wrote_into_kept_blocks(void)
{
    while (kept_count) {
        unsigned char *at = kept[--kept_count].at;
        for (size_t i = 0; i < kept[kept_count].size; i++) assert_int_equal(at[i], PATTERN);
        free((struct sized *)(void *)at - 1);
    }
}

// --- hazard 1: memory goes back while the kernel still works on it
struct leaver { aio_frame aio; int fd; aio_op op; char buf[64]; };
aio_async(leaver) {                         // returns over an operation
    aio_start(&self->op, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
    aio_await(aio_sleep(AIO_MSEC));
    return 1;
} aio_end
struct squatter { aio_frame aio; int fd; char buf[sizeof(struct leaver) - sizeof(aio_frame) - sizeof(int)]; };
aio_async(squatter) {                       // has the block after it
    memset(self->buf, PATTERN, sizeof self->buf);
    aio_await(aio_sleep(5 * AIO_MSEC));
    for (size_t i = 0; i < sizeof self->buf; i++)
        if ((unsigned char)self->buf[i] != PATTERN) return -EFAULT;
    return 0;
} aio_end
struct tenants { aio_frame aio; int fds[2]; aio_task *t; void *block; };
aio_async(tenants) {
    aio_result r;
    self->t = aio_spawn(leaver, .fd = self->fds[0]);
    self->block = self->t;
    aio_await(r, aio_join(self->t));
    assert_result(r, 1);
    assert_int_equal(aio_running_loop()->in_flight, 0);
    self->t = aio_spawn(squatter);
    assert_ptr_equal(self->t, self->block);
    aio_await(aio_sleep(AIO_MSEC));
    assert_int_equal(write(self->fds[1], "hello", 5), 5);
    aio_await(r, aio_join(self->t));
    return r;
} aio_end
static void hazard_1_a_frame_that_returns_waits_for_the_kernel(void **state)
{
    (void)state;
    int fds[2];
    pair_of(fds);
    assert_result(run(tenants, .fds[0] = fds[0], .fds[1] = fds[1]), 0);
    assert_int_equal(empty(fds[0]), 5);
    close(fds[0]), close(fds[1]);
}
enum { PAIRS = 64 };
struct waits { aio_frame aio; int fd; bool op; aio_op o; char buf[4096]; };
aio_async(waits) {
    if (self->op) {
        aio_start(&self->o, aio_read_some(self->fd, self->buf, sizeof self->buf));
        aio_await(aio_sleep(AIO_SECOND));
    }
    aio_await(aio_recv(self->fd, self->buf, sizeof self->buf, 0));
    return 0;
} aio_end
static int pairs[PAIRS][2], held;
// When the ring goes: files that operations still hold. The peer of such a one does not see the
// end.
static void count_held(void)
{
    char c;
    held = 0;
    for (int i = 0; i < PAIRS; i += 2) {
        close(pairs[i][0]);
        held += recv(pairs[i][1], &c, 1, MSG_DONTWAIT) != 0;
        close(pairs[i][1]);
    }
}
static void hazard_1_a_loop_that_closes_waits_for_the_kernel(void **state)
{
    (void)state;
    aio_loop l;
    struct aio_loop_options o = uring_options();
    o.allocator.allocate = keep_allocate;
    o.allocator.release = keep_release;
    uring_begin();
    assert_result(aio_loop_init(&l, &o), 0);
    for (int i = 0; i < PAIRS; i++) {           // the last turn's are not submitted yet
        pair_of(pairs[i]);
        aio_detach(aio_spawn_on(&l, waits, .fd = pairs[i][0], .op = i & 1));
        if (i % (PAIRS / 4)) continue;
        aio_loop_stop(&l);
        assert_result(aio_loop_run_forever(&l), 0);
    }
    aio_loop_stop(&l);
    assert_result(aio_loop_run_forever(&l), 0);
    assert_int_equal(l.in_flight, PAIRS);
    uring_hook.exit = count_held;
    held = -1;
    assert_result(aio_loop_close(&l), 0);
    uring_hook.exit = NULL;
    assert_int_equal(held, 0);
    for (int i = 1; i < PAIRS; i += 2) assert_int_equal(write(pairs[i][1], "hello", 5), 5);
    usleep(2000);
    nobody_wrote_into_kept_blocks();
    for (int i = 1; i < PAIRS; i += 2) {
        assert_int_equal(empty(pairs[i][0]), 5);  // nobody was there to take it
        close(pairs[i][0]), close(pairs[i][1]);
    }
    uring_check(__FILE__, __LINE__);
}
// A slot is the user's memory: not free before the kernel has let go of it.
struct in_a_slot { aio_frame aio; int fd; char buf[64]; };
aio_async(in_a_slot) {
    aio_try(aio_recv(self->fd, self->buf, sizeof self->buf, 0));
    return 0;
} aio_end
struct slots { aio_frame aio; int fds[2]; aio_slot(in_a_slot) slot; aio_task *t; };
aio_async(slots) {
    aio_result r;
    aio_detach(aio_spawn_in(&self->slot, in_a_slot, .fd = self->fds[0]));
    aio_await(aio_sleep(AIO_MSEC));
    aio_task_cancel(&self->slot.task);
    self->t = aio_spawn_in(&self->slot, in_a_slot, .fd = self->fds[0]); // the cancel is on its way
    assert_result(aio_task_result(self->t), -EBUSY);
    aio_detach(self->t);
    aio_await(aio_sleep(AIO_MSEC));
    self->t = aio_spawn_in(&self->slot, in_a_slot, .fd = self->fds[0]);
    assert_int_equal(write(self->fds[1], "hello", 5), 5);
    aio_await(r, aio_join(self->t));
    return r;
} aio_end
static void hazard_1_a_slot_is_busy_while_the_kernel_is(void **state)
{
    (void)state;
    int fds[2];
    pair_of(fds);
    assert_result(run(slots, .fds[0] = fds[0], .fds[1] = fds[1]), 0);
    close(fds[0]), close(fds[1]);
}

// --- hazard 2: an operation in a call that returns early; its storage is the caller's again
struct callee { aio_frame aio; int fd, how; aio_op ops[2]; char buf[2][64]; };
aio_async(callee) {
    aio_start(&self->ops[0], aio_recv(self->fd, self->buf[0], 64, 0));
    if (self->how == 0) return 0;                               // not yet submitted
    aio_await(aio_sleep(AIO_MSEC));
    if (self->how == 1) return 1;                               // in flight
    if (self->how == 2) aio_try(aio_close(-1));                 // left by an error
    aio_start(&self->ops[1], aio_sleep(0));
    aio_try(aio_race(self->ops, 2));                            // the loser
    return 3;
} aio_end
struct caller { aio_frame aio; int fds[2], how; union { struct callee c; unsigned char bytes[sizeof(struct callee)]; } u; };
aio_async(caller) {
    aio_result r;
    aio_await(r, aio_call(&self->u.c, callee, .fd = self->fds[0], .how = self->how));
    assert_result(r, self->how == 2 ? -EBADF : self->how);
    memset(self->u.bytes, PATTERN, sizeof self->u.bytes);
    assert_int_equal(write(self->fds[1], "hello", 5), 5);
    aio_await(aio_sleep(AIO_MSEC));
    for (size_t i = 0; i < sizeof self->u.bytes; i++) assert_int_equal(self->u.bytes[i], PATTERN);
    assert_int_equal(aio_running_loop()->in_flight, 0);
    return 0;
} aio_end
static void hazard_2_a_call_that_returns_early_ends_what_it_began(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        int fds[2];
        pair_of(fds);
        assert_result(run(caller, .fds[0] = fds[0], .fds[1] = fds[1], .how = how), 0);
        assert_int_equal(empty(fds[0]), 5);
        close(fds[0]), close(fds[1]);
    }
}

// --- hazard 3: the kernel does not take an entry, and what it points to goes
static bool refuse;
static long refusals;
static int refusing_enter(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                          sigset_t *extra, size_t size)
{
    if (refuse && ++refusals) return refusals & 1 ? -EAGAIN : -EBUSY;
    return io_uring_enter2(fd, submit, wait, flags, extra, size);
}
struct unsubmitted { aio_frame aio; int fds[2]; aio_task *t; void *block; };
struct receiver {
    aio_frame aio;
    int fd;
    char buf[sizeof(struct squatter) - sizeof(aio_frame) - sizeof(int)];
};
aio_async(receiver) {
    aio_result n;
    aio_await(n, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
    return n;
} aio_end
aio_async(unsubmitted) {
    aio_result r;
    aio_try(aio_nop());
    refuse = true;
    self->t = aio_spawn(receiver, .fd = self->fds[0]);
    self->block = self->t;
    aio_await(aio_sleep(AIO_MSEC));
    assert_true(refusals > 0);
    aio_task_cancel(self->t);
    aio_await(r, aio_join(self->t));
    assert_result(r, -ECANCELED);
    self->t = aio_spawn(squatter);
    assert_ptr_equal(self->t, self->block);
    aio_await(aio_sleep(0));
    assert_int_equal(write(self->fds[1], "hello", 5), 5);
    refuse = false;
    aio_await(r, aio_join(self->t));
    return r;
} aio_end
static void hazard_3_an_entry_that_was_not_taken_is_withdrawn(void **state)
{
    (void)state;
    int fds[2];
    pair_of(fds);
    refusals = 0;
    uring_hook.enter = refusing_enter;
    assert_result(run(unsubmitted, .fds[0] = fds[0], .fds[1] = fds[1]), 0);
    uring_hook.enter = 0;
    assert_int_equal(empty(fds[0]), 5);
    close(fds[0]), close(fds[1]);
}
struct opens { aio_frame aio; int i; };
aio_async(opens) {
    aio_result fd;
    char path[300];
    memset(path, '/', sizeof path);
    strcpy(path + 200, self->i & 1 ? "/dev/null" : "/no/such/file");
    aio_try(fd, aio_openat(AT_FDCWD, path, O_RDONLY, 0));
    aio_await(aio_close((int)fd));
    return 0;
} aio_end
struct paths { aio_frame aio; int i; aio_task *t[40]; };
aio_async(paths) {
    aio_result r;
    aio_try(aio_nop());
    refuse = true;                          // more than fit into the arena, over several turns
    for (; self->i < 40; self->i++) {
        self->t[self->i] = aio_spawn(opens, .i = self->i);
        if (self->i % 8 == 0) aio_await(aio_sleep(0));
    }
    aio_await(aio_sleep(AIO_MSEC));
    refuse = false;
    for (self->i = 0; self->i < 40; self->i++) {
        aio_await(r, aio_join(self->t[self->i]));
        assert_result(r, self->i & 1 ? 0 : -ENOENT);
    }
    return 0;
} aio_end
static void hazard_3_paths_stay_until_their_entries_are_taken(void **state)
{
    (void)state;
    refusals = 0;
    uring_hook.enter = refusing_enter;
    assert_result(run(paths), 0);
    uring_hook.enter = 0;
    assert_true(refusals > 0);
}

// --- hazard 4: no room for a cancel
struct nop { aio_frame aio; };
aio_async(nop) {
    aio_try(aio_nop());
    return 0;
} aio_end
struct no_room { aio_frame aio; int fd, i, n; aio_task *t, *nops[600]; };
aio_async(no_room) {
    aio_result r;
    self->t = aio_spawn(receiver, .fd = self->fd);
    aio_await(aio_sleep(AIO_MSEC));
    refuse = true;
    self->n = (int)uring_of_loop()->sq_entries;
    for (int i = 0; i < self->n; i++) self->nops[i] = aio_spawn(nop);
    aio_await(aio_sleep(0));
    aio_task_cancel(self->t);
    assert_non_null(uring_of_loop()->backlog);
    refuse = false;
    for (; self->i < self->n; self->i++) aio_try(aio_join(self->nops[self->i]));
    aio_await(r, aio_wait_for(20 * AIO_SECOND, aio_future_wait(aio_task_future(self->t))));
    aio_detach(self->t);
    return r;
} aio_end
static void hazard_4_a_cancel_waits_for_room(void **state)
{
    (void)state;
    int fds[2];
    pair_of(fds);
    uring_hook.enter = refusing_enter;
    assert_result(run(no_room, .fd = fds[0]), -ECANCELED);
    uring_hook.enter = 0;
    close(fds[0]), close(fds[1]);
}

// --- hazard 12: an iterator without a buffer rests until there is one
struct starves {
    aio_frame aio;
    int fds[2];
    aio_buffer_ring ring;
    aio_many rx;
    long enters, calls;
    aio_result r;
};
aio_async(starves) {
    assert_result(aio_buffer_ring_init(&self->ring, 1, 16), 0);
    assert_result(aio_recv_many(&self->rx, self->fds[0], &self->ring), 0);
    assert_int_equal(write(self->fds[1], "0123456789abcdef and more than that", 35), 35);
    aio_await(self->r, aio_next(&self->rx));
    assert_result(self->r, 1);
    assert_result(aio_gen_value(&self->rx), 16);
    aio_await(aio_sleep(5 * AIO_MSEC));     // we hold the only one
    self->enters = uring_hook.enters;
    aio_await(aio_sleep(20 * AIO_MSEC));
    self->calls = uring_hook.enters - self->enters;
    assert_in_range(self->calls, 0, 10);
    aio_await(self->r, aio_next(&self->rx));
    assert_result(self->r, 1);
    assert_memory_equal(self->rx.data, " and more than t", 16);
    return 0;
} aio_end
static void hazard_12_without_a_buffer_it_rests(void **state)
{
    (void)state;
    for (int tcp = 0; tcp < 2; tcp++) {
        int ends[2], listener = tcp_listener(1);
        if (tcp) {
            ends[0] = tcp_client(port_of(listener));
            ends[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        } else {
            pair_of(ends);
        }
        assert_result(run(starves, .fds[0] = ends[0], .fds[1] = ends[1]), 0);
        close(ends[0]), close(ends[1]), close(listener);
    }
}

// --- hazard 14: on a stream, one operation in each direction, however many tasks use it
enum { AUTHORS = 8, RECORDS = 40 };
struct record { uint32_t author, number, length; };
struct author {
    aio_frame aio;
    aio_stream *s;
    uint32_t me, i;
    struct record r;
    char buf[sizeof(struct record) + 3000];
};
aio_async(author) {
    for (; self->i < RECORDS; self->i++) {
        self->r.author = self->me;
        self->r.number = self->i;
        self->r.length = 1 + (self->me * 977 + self->i * 1231) % 3000;
        memcpy(self->buf, &self->r, sizeof self->r);
        memset(self->buf + sizeof self->r, (int)(self->me * 16 + self->i), self->r.length);
        aio_try(aio_stream_write(self->s, self->buf, sizeof self->r + self->r.length));
        if (self->i % 3 == 0) aio_try(aio_sleep(0));
    }
    return 1;
} aio_end
struct editor { aio_frame aio; int fd; aio_stream s; uint32_t next[AUTHORS]; int left; struct record r;
                char buf[3000], more[8]; aio_result n; };
aio_async(editor) {
    if (aio_stream_open(&self->s, self->fd, self->fd, NULL) < 0) return -EIO;
    for (; self->left; self->left--) {
        aio_try(aio_stream_read_exactly(&self->s, &self->r, sizeof self->r));
        assert_true(self->r.author < AUTHORS && self->r.length <= sizeof self->buf);
        assert_int_equal(self->r.number, self->next[self->r.author]++);
        aio_try(aio_stream_read_exactly(&self->s, self->buf, self->r.length));
        for (uint32_t i = 0; i < self->r.length; i++)
            assert_int_equal(self->buf[i], (char)(self->r.author * 16 + self->r.number));
    }
    aio_await(self->n, aio_stream_close(&self->s));
    return self->n;
} aio_end
struct press { aio_frame aio; int fds[2]; aio_stream s; aio_task *editor, *authors[AUTHORS]; int i; aio_result r; };
aio_async(press) {
    if (aio_stream_open(&self->s, self->fds[0], self->fds[0], NULL) < 0) return -EIO;
    self->editor = aio_spawn(editor, .fd = self->fds[1], .left = AUTHORS * RECORDS);
    for (uint32_t i = 0; i < AUTHORS; i++)
        self->authors[i] = aio_spawn(author, .s = &self->s, .me = i);
    for (; self->i < AUTHORS; self->i++) {
        aio_await(self->r, aio_join(self->authors[self->i]));
        assert_true(self->r > 0);
    }
    aio_try(aio_join(self->editor));
    aio_await(self->r, aio_stream_close(&self->s));
    return self->r;
} aio_end
static void hazard_14_many_write_to_a_stream_in_order(void **state)
{
    (void)state;
    for (int tcp = 0; tcp < 2; tcp++) {
        int ends[2], small = 4096, listener = tcp_listener(1);
        uring_begin();
        if (tcp) {
            ends[0] = tcp_client(port_of(listener));
            ends[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        } else {
            pair_of(ends);
        }
        setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
        struct aio_loop_options o = uring_options();
        assert_result(aio_run_with(&o, press, .fds[0] = ends[0], .fds[1] = ends[1]), 0);
        uring_check(__FILE__, __LINE__);
        close(listener);
    }
}
struct reads { aio_frame aio; aio_stream *s; char buf[8]; };
aio_async(reads) {
    aio_result n;
    aio_await(n, aio_stream_read(self->s, self->buf, sizeof self->buf));
    return n;
} aio_end
struct two_readers { aio_frame aio; int fds[2]; aio_stream s; aio_task *t[2]; aio_result r[2]; };
aio_async(two_readers) {
    if (aio_stream_open(&self->s, self->fds[0], self->fds[0], NULL) < 0) return -EIO;
    for (int i = 0; i < 2; i++) self->t[i] = aio_spawn(reads, .s = &self->s);
    aio_await(aio_sleep(0));
    assert_int_equal(write(self->fds[1], "hello", 5), 5);
    aio_try(aio_gather_all(self->t, self->r, 2));
    assert_result(self->r[0], 5);
    assert_result(self->r[1], -EBUSY);
    return 0;
} aio_end
static void hazard_14_a_second_reader_is_refused(void **state)
{
    (void)state;
    int ends[2];
    uring_begin();
    pair_of(ends);
    struct aio_loop_options o = uring_options();
    assert_result(aio_run_with(&o, two_readers, .fds[0] = ends[0], .fds[1] = ends[1]), 0);
    close(ends[1]);
    uring_check(__FILE__, __LINE__);
}

// --- hazard 18: limits end what blocks on the kernel's worker threads too
struct w { int fds[2], null; char path[64], buf[8]; struct io_uring_sqe sqe; int64_t ns; };
MAKE(m_limited, struct w, aio_wait_for(a->ns, aio_uring_op(&a->sqe)))
MAKE(m_limited_recv, struct w, aio_wait_for(a->ns, aio_recv(a->fds[0], a->buf, sizeof a->buf, 0)))
static void hazard_18_limits_end_what_workers_are_blocked_in(void **state)
{
    (void)state;
    struct w w;
    memset(&w, 0, sizeof w);
    w.ns = 5 * AIO_MSEC;
    assert_int_equal(pipe2(w.fds, O_CLOEXEC), 0);
    w.null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    io_uring_prep_splice(&w.sqe, w.fds[0], -1, w.null, -1, 100, 0);
    assert_result(run_one(m_limited, &w), -ETIMEDOUT);
    snprintf(w.path, sizeof w.path, "/tmp/aio-test-%d", getpid());
    unlink(w.path);
    assert_int_equal(mkfifo(w.path, 0600), 0);
    io_uring_prep_openat(&w.sqe, AT_FDCWD, w.path, O_RDONLY | O_CLOEXEC, 0);
    w.sqe.flags |= IOSQE_ASYNC;
    assert_result(run_one(m_limited, &w), -ETIMEDOUT);
    unlink(w.path);
    close(w.fds[0]), close(w.fds[1]), close(w.null);
}
static void hazard_18_limits_beyond_what_a_timespec_holds(void **state)
{
    (void)state;
    const int64_t limits[] = { AIO_FOREVER, AIO_FOREVER - 1, AIO_FOREVER / 2, INT64_MIN, -1, 0, 1 };
    struct w w;
    memset(&w, 0, sizeof w);
    pair_of(w.fds);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        w.ns = limits[i];
        if (i < 3) assert_int_equal(write(w.fds[1], "hello", 5), 5);
        assert_result(run_one(m_limited_recv, &w), i < 3 ? 5 : -ETIMEDOUT);
    }
    close(w.fds[0]), close(w.fds[1]);
}

// --- hazard 21: the thread that submits is the one that waits, and ends the loop
struct other {
    aio_loop *loop;
    aio_task *task;
    aio_result run, forever, close;
    pthread_barrier_t gate;
};
static void *owner(void *arg)
{
    struct other *o = (struct other *)arg;
    aio_loop_stop(o->loop);
    if (aio_loop_run_forever(o->loop)) abort();         // one turn: an operation is in flight
    pthread_barrier_wait(&o->gate);
    pthread_barrier_wait(&o->gate);                     // others try
    aio_result r = aio_loop_run_until_complete(o->loop, o->task);
    aio_detach(o->task);
    if (aio_loop_close(o->loop)) abort();
    return (void *)(intptr_t)r;
}
static void hazard_21_another_thread_cannot_go_on_with_a_ring(void **state)
{
    (void)state;
    aio_loop l;
    pthread_t thread;
    void *r;
    int fds[2];
    struct other other = { .loop = &l };
    struct aio_loop_options o = uring_options();
    pair_of(fds);
    uring_begin();
    assert_result(aio_loop_init(&l, &o), 0);
    other.task = aio_spawn_on(&l, receiver, .fd = fds[0]);
    pthread_barrier_init(&other.gate, 0, 2);
    pthread_create(&thread, 0, owner, &other);
    pthread_barrier_wait(&other.gate);
    other.run = aio_loop_run_until_complete(&l, other.task);
    other.forever = aio_loop_run_forever(&l);
    other.close = aio_loop_close(&l);
    bool sent = write(fds[1], "hello", 5) == 5;
    pthread_barrier_wait(&other.gate);
    pthread_join(thread, &r);
    pthread_barrier_destroy(&other.gate);
    assert_true(sent);
    assert_result(other.run, -EPERM);
    assert_result(other.forever, -EPERM);
    assert_result(other.close, -EPERM);
    assert_result((intptr_t)r, 5);                      // nothing was disturbed
    expect_reports();
    uring_check(__FILE__, __LINE__);
    close(fds[0]), close(fds[1]);
}

// --- hazard 22: worker threads have a limit
enum { BLOCKED = 200, WORKERS = 10 };
static int count_workers(void)
{
    char path[300], name[32];
    int n = 0;
    DIR *d = opendir("/proc/self/task");
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
        FILE *f = fopen(path, "re");
        if (f && fgets(name, sizeof name, f) && !strncmp(name, "iou-wrk", 7)) n++;
        if (f) fclose(f);
    }
    closedir(d);
    return n;
}
struct splicer { aio_frame aio; int from, to; };
aio_async(splicer) {
    struct io_uring_sqe sqe;
    io_uring_prep_splice(&sqe, self->from, -1, self->to, -1, 1, 0);
    aio_try(aio_uring_op(&sqe));
    return 0;
} aio_end
struct crowd { aio_frame aio; int from, to, i, most; aio_task *t[BLOCKED]; };
aio_async(crowd) {
    aio_result r;
    for (int i = 0; i < BLOCKED; i++)
        self->t[i] = aio_spawn(splicer, .from = self->from, .to = self->to);
    for (; self->i < 20; self->i++) {
        aio_await(aio_sleep(2 * AIO_MSEC));
        int n = count_workers();
        if (n > self->most) self->most = n;
    }
    for (int i = 0; i < BLOCKED; i++) aio_task_cancel(self->t[i]);
    for (self->i = 0; self->i < BLOCKED; self->i++) {
        aio_await(r, aio_join(self->t[self->i]));
        assert_result(r, -ECANCELED);
    }
    return self->most;
} aio_end
static void *crowd_in_a_thread(void *arg)       // workers belong to a thread: a fresh one
{
    aio_loop l;
    int *fds = (int *)arg;
    struct aio_uring_options ring = { .workers = WORKERS };
    if (aio_loop_init(&l, 0) || aio_uring_attach(&l, &ring)) return (void *)(intptr_t)-1;
    aio_task *t = aio_spawn_on(&l, crowd, .from = fds[0], .to = fds[2]);
    aio_result r = aio_loop_run_until_complete(&l, t);
    aio_detach(t);
    aio_loop_close(&l);
    return (void *)(intptr_t)r;
}
static void hazard_22_blocked_operations_share_few_threads(void **state)
{
    (void)state;
    if (under_valgrind()) test_skip("valgrind's threads are not the kernel's");
    pthread_t thread;
    void *most;
    int fds[3];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    fds[2] = open("/dev/null", O_WRONLY | O_CLOEXEC);
    pthread_create(&thread, 0, crowd_in_a_thread, fds);
    pthread_join(thread, &most);
    assert_in_range((intptr_t)most, 1, 2 * WORKERS);        // of each of the kernel's two kinds
    for (int i = 0; i < 3; i++) close(fds[i]);
}

// --- hazard 23: each wait says that it is no wait for a disk
static long waits, without;
static int watching_enter(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                          sigset_t *extra, size_t size)
{
    waits += wait != 0;
    without += wait && !(flags & (1u << 7));                // NO_IOWAIT
    return io_uring_enter2(fd, submit, wait, flags, extra, size);
}
struct sleeps { aio_frame aio; int i; bool can; };
aio_async(sleeps) {
    aio_try(aio_nop());
    self->can = uring_of_loop()->ring.features & (1u << 17);
    waits = without = 0;
    for (; self->i < 5; self->i++) aio_try(aio_sleep(AIO_MSEC));
    return self->can;
} aio_end
static void hazard_23_an_idle_loop_waits_for_no_disk(void **state)
{
    (void)state;
    uring_hook.enter = watching_enter;
    aio_result can = run(sleeps);
    uring_hook.enter = 0;
    if (!can) test_skip("this kernel does not know the difference");
    assert_true(waits >= 5);
    assert_int_equal(without, 0);
}

// --- hazard 30: what is always ready starves nobody
struct eager { aio_frame aio; bool *stop; };
aio_async(eager) {
    while (!*self->stop) aio_try(aio_nop());
    return 0;
} aio_end
struct spinner { aio_frame aio; bool *stop; };
aio_async(spinner) {
    while (!*self->stop) aio_try(aio_sleep(0));
    return 0;
} aio_end
struct patient { aio_frame aio; int fds[2]; bool stop; aio_task *t[32], *reader; int i; aio_result r; };
aio_async(patient) {
    for (int i = 0; i < 32; i++)
        self->t[i] =
            i & 1 ? aio_spawn(eager, .stop = &self->stop) : aio_spawn(spinner, .stop = &self->stop);
    self->reader = aio_spawn(receiver, .fd = self->fds[0]);
    for (; self->i < 5; self->i++) aio_try(aio_sleep(100 * AIO_USEC));
    assert_int_equal(write(self->fds[1], "hello", 5), 5);
    aio_await(self->r, aio_wait_for(20 * AIO_SECOND, aio_join(self->reader)));
    self->stop = true;
    for (self->i = 0; self->i < 32; self->i++) aio_try(aio_join(self->t[self->i]));
    return self->r;
} aio_end
static void hazard_30_what_is_always_ready_starves_nobody(void **state)
{
    (void)state;
    int fds[2];
    pair_of(fds);
    assert_result(run(patient, .fds[0] = fds[0], .fds[1] = fds[1]), 5);
    close(fds[0]), close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hazard_1_a_frame_that_returns_waits_for_the_kernel),
        cmocka_unit_test(hazard_1_a_loop_that_closes_waits_for_the_kernel),
        cmocka_unit_test(hazard_1_a_slot_is_busy_while_the_kernel_is),
        cmocka_unit_test(hazard_2_a_call_that_returns_early_ends_what_it_began),
        cmocka_unit_test(hazard_3_an_entry_that_was_not_taken_is_withdrawn),
        cmocka_unit_test(hazard_3_paths_stay_until_their_entries_are_taken),
        cmocka_unit_test(hazard_4_a_cancel_waits_for_room),
        cmocka_unit_test(hazard_12_without_a_buffer_it_rests),
        cmocka_unit_test(hazard_14_many_write_to_a_stream_in_order),
        cmocka_unit_test(hazard_14_a_second_reader_is_refused),
        cmocka_unit_test(hazard_18_limits_end_what_workers_are_blocked_in),
        cmocka_unit_test(hazard_18_limits_beyond_what_a_timespec_holds),
        cmocka_unit_test(hazard_21_another_thread_cannot_go_on_with_a_ring),
        cmocka_unit_test(hazard_22_blocked_operations_share_few_threads),
        cmocka_unit_test(hazard_23_an_idle_loop_waits_for_no_disk),
        cmocka_unit_test(hazard_30_what_is_always_ready_starves_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
