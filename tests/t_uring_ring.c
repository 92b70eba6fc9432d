// The ring itself: set-up, its ladder of flags, system calls per turn, full rings, wake-ups.
#include "uring.h"
#include <limits.h>
#include <pthread.h>
#include <sys/time.h>

// Runs with options of the ring; ring_entries 0: the default.
static struct aio_uring_options ring_options;
static aio_uring *attach(aio_loop *l)
{
    struct aio_loop_options o = uring_options();
    const char *forced = getenv("AIO_URING_ENTRIES");
    char *kept = ring_options.sq_entries && forced ? strdup(forced) : 0;
    if (kept) unsetenv("AIO_URING_ENTRIES");            // this test wants its own size
    uring_begin();
    assert_result(aio_loop_init(l, &o), 0);
    assert_result(aio_uring_attach(l, &ring_options), 0);
    if (kept) setenv("AIO_URING_ENTRIES", kept, 1);
    free(kept);
    return (aio_uring *)l->backend_state;
}
static void detach(aio_loop *l)
{
    assert_result(aio_loop_close(l), 0);
    uring_check(__FILE__, __LINE__);
    memset(&ring_options, 0, sizeof ring_options);
}
#define run_on(loop, ...) __extension__({ \
    aio_task *run_task = aio_spawn_on(loop, __VA_ARGS__); \
    aio_result run_r = aio_loop_run_until_complete(loop, run_task); \
    aio_detach(run_task); \
    run_r; })
MAKE(m_nop, void, aio_nop())
static bool env_rungs(void) { return getenv("AIO_URING_LEVEL") || getenv("AIO_URING_ENTRIES"); }

// --- set-up
static unsigned refused_flags;
static int init_calls;
static int refuse_flags(unsigned entries, struct io_uring *ring, struct io_uring_params *p)
{
    init_calls++;
    assert_int_equal(p->sq_entries, 0);         // the kernel writes back: reset before each try
    assert_int_equal(p->features, 0);
    if (p->flags & refused_flags) {
        p->sq_entries = p->features = 99;
        return -EINVAL;
    }
    return io_uring_queue_init_params(entries, ring, p);
}
static void hazard_24_the_ladder_of_flags(void **state)
{
    (void)state;
    if (env_rungs()) test_skip("a rung is forced");
    const unsigned refused[4] = { 0, IORING_SETUP_SINGLE_ISSUER, IORING_SETUP_COOP_TASKRUN,
                                  IORING_SETUP_SUBMIT_ALL };
    // Of the kernel's header, a rung each: 5.12 has two flags, 5.18 one more, 5.19 and 6.1 two more.
    const unsigned flags[] = { 0, 0x3398, 0x398, 0x98, 0x18 };
    for (int level = 1; level <= 4; level++) {
        for (int forced = 0; forced < 2; forced++) {
            aio_loop l;
            char text[2] = { (char)('0' + level), 0 };
            if (forced) setenv("AIO_URING_LEVEL", text, 1);
            else refused_flags = refused[level - 1];
            init_calls = 0;
            uring_hook.init = refuse_flags;
            aio_uring *u = attach(&l);
            uring_hook.init = 0;
            refused_flags = 0;
            unsetenv("AIO_URING_LEVEL");
            assert_int_equal(init_calls, forced ? 1 : level);
            assert_int_equal(u->ring.flags & ~(1u << 16), flags[level]);
            assert_int_equal(u->has_cancel_all, level <= 2);
            assert_int_equal(!!(u->enter_flags & IORING_ENTER_REGISTERED_RING), level == 1);
            assert_result(run_on(&l, one, .make = m_nop), 0);
            detach(&l);
        }
    }
}
static unsigned most_entries;
static int no_memory_above(unsigned entries, struct io_uring *ring, struct io_uring_params *p)
{
    init_calls++;
    if (entries > most_entries) return -ENOMEM;
    return io_uring_queue_init_params(entries, ring, p);
}
static void entries_are_halved_where_memory_is_short(void **state)
{
    (void)state;
    if (env_rungs()) test_skip("a size is forced");
    aio_loop l;
    ring_options.sq_entries = 4096;
    ring_options.cq_entries = 65536;
    most_entries = 64;
    init_calls = 0;
    uring_hook.init = no_memory_above;
    aio_uring *u = attach(&l);
    uring_hook.init = 0;
    assert_int_equal(init_calls, 7);
    assert_int_equal(u->sq_entries, 64);
    assert_int_equal(u->cq_mask + 1, 1024);
    detach(&l);
}
static void options_of_the_ring(void **state)
{
    (void)state;
    if (env_rungs()) test_skip("a size is forced");
    aio_loop l;
    unsigned workers[2] = { 0, 0 };
    ring_options.sq_entries = 10;               // rounded up
    ring_options.cq_entries = 5;                // never below the other
    ring_options.workers = 7;
    aio_uring *u = attach(&l);
    assert_int_equal(u->sq_entries, 16);
    assert_int_equal(u->cq_mask + 1, 16);
    assert_int_equal(io_uring_register_iowq_max_workers(&u->ring, workers), 0);
    assert_int_equal(workers[1], 7);
    detach(&l);
    u = attach(&l);
    assert_int_equal(u->sq_entries, AIO_URING_SQ_ENTRIES);
    assert_int_equal(u->cq_mask + 1, AIO_URING_CQ_ENTRIES);
    memset(workers, 0, sizeof workers);
    assert_int_equal(io_uring_register_iowq_max_workers(&u->ring, workers), 0);
    assert_int_equal(workers[1], 64);           // hazard 22
    detach(&l);
    setenv("AIO_URING_ENTRIES", "8", 1);
    u = attach(&l);
    unsetenv("AIO_URING_ENTRIES");
    assert_int_equal(u->sq_entries, 8);
    assert_int_equal(u->cq_mask + 1, 16);
    detach(&l);
}
static void hazard_8_flags_of_each_enter(void **state)
{
    (void)state;
    aio_loop l;
    aio_uring *u = attach(&l);
    uring_hook.flags = 0;
    assert_result(run_on(&l, one, .make = m_nop), 0);
    assert_true(uring_hook.flags & IORING_ENTER_GETEVENTS);
    if (u->ring.flags & IORING_SETUP_SINGLE_ISSUER) {
        assert_true(uring_hook.flags & IORING_ENTER_REGISTERED_RING);
        assert_int_not_equal(u->enter_fd, u->ring.ring_fd);
    }
    if (u->ring.features & (1u << 17)) assert_true(uring_hook.flags & (1u << 7));       // NO_IOWAIT
    detach(&l);
}
static void more_rings_than_a_thread_can_register(void **state)
{
    (void)state;
    static aio_loop l[20];
    uring_begin();
    for (int i = 0; i < 20; i++) {
        struct aio_loop_options o = uring_options();
        assert_result(aio_loop_init(&l[i], &o), 0);
        assert_result(aio_uring_attach(&l[i], 0), 0);
    }
    for (int i = 19; i >= 0; i--) assert_result(run_on(&l[i], one, .make = m_nop), 0);
    assert_false(((aio_uring *)l[19].backend_state)->enter_flags & IORING_ENTER_REGISTERED_RING);
    for (int i = 0; i < 20; i++) aio_loop_close(&l[i]);
    uring_check(__FILE__, __LINE__);
}

// --- system calls per turn
struct nops { aio_frame aio; int n; };
aio_async(nops) {
    for (; self->n; self->n--) aio_try(aio_nop());
    return 0;
} aio_end
struct many_nops { aio_frame aio; aio_task *tasks[32]; int i; long enters; };
aio_async(many_nops) {
    for (int i = 0; i < 32; i++) self->tasks[i] = aio_spawn(nops, .n = 100);
    self->enters = uring_hook.enters;
    for (; self->i < 32; self->i++) aio_try(aio_join(self->tasks[self->i]));
    return uring_hook.enters - self->enters;
} aio_end
static void one_system_call_for_a_turn(void **state)
{
    (void)state;
    if (env_rungs()) test_skip("a small ring needs more");
    long enters = run(many_nops);
    assert_in_range(enters, 100, 102);
}
struct idle_turns { aio_frame aio; int fds[2], i; aio_task *t; long enters; char buf[4]; };
struct receiver { aio_frame aio; int fd; char buf[8]; };
aio_async(receiver) {
    aio_result n;
    aio_await(n, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
    return n;
} aio_end
aio_async(idle_turns) {
    self->t = aio_spawn(receiver, .fd = self->fds[0]);
    aio_await(aio_sleep(AIO_MSEC));
    self->enters = uring_hook.enters;
    for (; self->i < 1000; self->i++) aio_await(aio_sleep(0));
    assert_int_equal(uring_hook.enters - self->enters, 0);
    aio_await(aio_sleep(2 * AIO_MSEC));             // one wait, in the kernel
    assert_in_range(uring_hook.enters - self->enters, 1, 3);
    assert_int_equal(write(self->fds[1], "x", 1), 1);
    aio_await(aio_join(self->t));
    return 0;
} aio_end
static void no_system_call_when_there_is_nothing_to_do(void **state)
{
    (void)state;
    int fds[2];
    pair_of(fds);
    assert_result(run(idle_turns, .fds[0] = fds[0], .fds[1] = fds[1]), 0);
    close(fds[0]), close(fds[1]);
}

// --- full rings
enum { MANY = 10000 };
static int order[MANY], ordered;
struct in_order { aio_frame aio; int i; };
aio_async(in_order) {
    aio_try(aio_nop());
    order[ordered++] = self->i;
    return 0;
} aio_end
struct start_many { aio_frame aio; aio_task **tasks; int i; };
static bool overflowed;
static int watch_overflow(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                          sigset_t *extra, size_t size)
{
    int r = io_uring_enter2(fd, submit, wait, flags, extra, size);
    aio_uring *u = uring_of_loop();
    if (u && (*u->sq_kflags & IORING_SQ_CQ_OVERFLOW)) overflowed = true;
    return r;
}
aio_async(start_many) {
    for (int i = 0; i < MANY; i++) self->tasks[i] = aio_spawn(in_order, .i = i);
    for (; self->i < MANY; self->i++) aio_try(aio_join(self->tasks[self->i]));
    return 0;
} aio_end
static void hazard_31_ten_thousand_in_one_turn_through_a_tiny_ring(void **state)
{
    (void)state;
    aio_loop l;
    aio_task **tasks = (aio_task **)calloc(MANY, sizeof *tasks);
    ring_options.sq_entries = 8;
    ring_options.cq_entries = 16;
    attach(&l);
    ordered = 0;
    overflowed = false;
    uring_hook.enter = watch_overflow;
    assert_result(run_on(&l, start_many, .tasks = tasks), 0);
    uring_hook.enter = 0;
    assert_true(overflowed);                        // the queue of completions was too small
    assert_int_equal(ordered, MANY);
    for (int i = 0; i < MANY; i++) assert_int_equal(order[i], i);
    assert_int_equal(l.in_flight, 0);
    detach(&l);
    free(tasks);
}

// The kernel takes nothing for a while: what is started waits in a backlog.
static int starve;
static unsigned at_most = UINT_MAX;
static int take_little(unsigned fd, unsigned submit, unsigned wait, unsigned flags, sigset_t *extra,
                       size_t size)
{
    if (starve > 0 && starve--) return starve & 1 ? -EAGAIN : -EBUSY;
    return io_uring_enter2(fd, submit < at_most ? submit : at_most, submit < at_most ? wait : 0,
                           flags, extra, size);
}
static void hazard_31_a_backlog_keeps_the_order(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        aio_loop l;
        aio_task **tasks = (aio_task **)calloc(MANY, sizeof *tasks);
        ring_options.sq_entries = 8;
        attach(&l);
        ordered = 0;
        uring_hook.enter = take_little;
        starve = round == 0 ? 1 : round == 1 ? 100 : 300;
        at_most = round == 1 ? 3 : UINT_MAX;
        assert_result(run_on(&l, start_many, .tasks = tasks), 0);
        uring_hook.enter = 0;
        starve = 0;
        at_most = UINT_MAX;
        for (int i = 0; i < MANY; i++) assert_int_equal(order[i], i);
        assert_null(((aio_uring *)l.backend_state)->backlog);
        assert_int_equal(((aio_uring *)l.backend_state)->sq_room, 8);
        detach(&l);
        free(tasks);
    }
}
// Some in each turn, while the kernel takes less than that: the later must not pass the earlier.
struct start_some { aio_frame aio; int i; };
aio_async(start_some) {
    for (; self->i < 1000; self->i++) {
        aio_detach(aio_spawn(in_order, .i = self->i));
        if (self->i % 5 == 4) aio_try(aio_sleep(0));
    }
    while (ordered < 1000) aio_try(aio_sleep(0));
    return 0;
} aio_end
static int take_now_and_then(unsigned fd, unsigned submit, unsigned wait, unsigned flags, sigset_t *extra,
                             size_t size)
{
    static uint32_t dice = 1;
    dice = dice * 1103515245u + 12345u;
    if ((dice >> 16) % 3) return -EAGAIN;
    return io_uring_enter2(fd, submit < 3 ? submit : 3, submit < 3 ? wait : 0, flags, extra, size);
}
static void a_backlog_is_not_overtaken_by_later_turns(void **state)
{
    (void)state;
    aio_loop l;
    ring_options.sq_entries = 8;
    attach(&l);
    ordered = 0;
    uring_hook.enter = take_now_and_then;
    assert_result(run_on(&l, start_some), 0);
    uring_hook.enter = 0;
    for (int i = 0; i < 1000; i++) assert_int_equal(order[i], i);
    detach(&l);
}
// Completions that did not fit come in while other tasks keep the loop busy.
struct busy_overflow { aio_frame aio; int i; };
aio_async(busy_overflow) {
    for (int i = 0; i < 100; i++) aio_detach(aio_spawn(in_order, .i = i));
    for (; ordered < 100 && self->i < 1000; self->i++) aio_try(aio_sleep(0));
    return self->i;
} aio_end
static void hazard_31_a_busy_loop_sees_completions_that_did_not_fit(void **state)
{
    (void)state;
    aio_loop l;
    ring_options.sq_entries = 8;
    ring_options.cq_entries = 16;
    attach(&l);
    ordered = 0;
    assert_in_range(run_on(&l, busy_overflow), 1, 50);
    assert_int_equal(ordered, 100);
    detach(&l);
}
// hazard 5: after 65,536 entries a place in the ring comes again; a cancel must not hit who is
// there now.
struct alias { aio_frame aio; int fds[2], more[2]; aio_task *old, *young; };
aio_async(alias) {
    aio_result r;
    aio_try(aio_nop());
    self->old = aio_spawn(receiver, .fd = self->fds[0]);
    aio_await(aio_sleep(AIO_MSEC));
    while ((uint16_t)(uring_of_loop()->sq_tail + 1) !=
           (uint16_t)(self->old->waiter.node.u.w[0] >> 48))
        aio_try(aio_nop());
    self->young = aio_spawn_eager(receiver, .fd = self->more[0]);
    assert_int_equal(self->young->waiter.node.u.w[0] >> 48, self->old->waiter.node.u.w[0] >> 48);
    aio_task_cancel(self->old);
    aio_await(r, aio_join(self->old));
    assert_result(r, -ECANCELED);
    assert_int_equal(write(self->more[1], "hello", 5), 5);
    aio_await(r, aio_join(self->young));
    return r;
} aio_end
static void hazard_5_the_same_place_in_the_ring(void **state)
{
    (void)state;
    int fds[2], more[2];
    pair_of(fds), pair_of(more);
    assert_result(run(alias, .fds[0] = fds[0], .more[0] = more[0], .more[1] = more[1]), 5);
    close(fds[0]), close(fds[1]), close(more[0]), close(more[1]);
}
struct sender { aio_frame aio; int fd; char byte; };
aio_async(sender) {
    aio_result n;
    aio_await(n, aio_send(self->fd, &self->byte, 1, 0));
    return n;
} aio_end
struct opener { aio_frame aio; int i; };
aio_async(opener) {
    aio_result fd;
    char path[40];
    snprintf(path, sizeof path, "/no/such/file/%d", self->i);
    if (self->i == 7) strcpy(path, "/dev/null");
    aio_await(fd, aio_openat(AT_FDCWD, path, O_RDONLY, 0));
    memset(path, 0, sizeof path);
    return fd;
} aio_end
struct closer { aio_frame aio; int fd; };
aio_async(closer) {
    aio_result r;
    aio_await(r, aio_close(self->fd));
    return r;
} aio_end
struct in_backlog { aio_frame aio; int fds[2]; aio_task *fill[8], *send[30], *open[20], *close; int i; bool shut; };
aio_async(in_backlog) {
    aio_result r;
    starve = 1000000;
    for (int i = 0; i < 8; i++) self->fill[i] = aio_spawn(nops, .n = 1);
    for (int i = 0; i < 30; i++)
        self->send[i] = aio_spawn(sender, .fd = self->fds[0], .byte = (char)i);
    for (int i = 0; i < 20; i++) self->open[i] = aio_spawn(opener, .i = i);
    aio_await(aio_sleep(0));
    aio_await(aio_sleep(0));
    assert_non_null(uring_of_loop()->backlog);
    for (int i = 0; i < 30; i += 3) assert_true(aio_task_cancel(self->send[i]));
    for (int i = 0; i < 30; i += 3)                         // at once: the kernel never saw them
        assert_int_equal(self->send[i]->waiter.node.cls->kind, AIO__WAIT_READY);
    if (self->shut) self->close = aio_spawn(closer, .fd = self->fds[0]);
    aio_await(aio_sleep(0));
    starve = 0;
    for (self->i = 0; self->i < 8; self->i++) aio_try(aio_join(self->fill[self->i]));
    for (self->i = 0; self->i < 30; self->i++) {
        aio_await(r, aio_join(self->send[self->i]));
        if (self->i % 3 == 0) assert_result(r, -ECANCELED);
        else assert_result(r, self->shut ? -EBADF : 1);
    }
    for (self->i = 0; self->i < 20; self->i++) {
        aio_await(r, aio_join(self->open[self->i]));
        if (self->i == 7) assert_true(r > 0);
        else assert_result(r, -ENOENT);
        if (r > 0) close((int)r);
    }
    if (self->shut) aio_try(aio_join(self->close));
    assert_null(uring_of_loop()->backlog);
    return 0;
} aio_end
static void a_backlog_can_be_cancelled_and_closed(void **state)
{
    (void)state;
    for (int shut = 0; shut < 2; shut++) {
        int fds[2];
        char got[64];
        pair_of(fds);
        aio_loop l;
        ring_options.sq_entries = 8;
        attach(&l);
        uring_fds_before -= shut;
        uring_hook.enter = take_little;
        assert_result(run_on(&l, in_backlog, .fds[0] = fds[0], .fds[1] = fds[1], .shut = shut), 0);
        uring_hook.enter = 0;
        detach(&l);
        ssize_t n = recv(fds[1], got, sizeof got, MSG_DONTWAIT);
        assert_int_equal(n, shut ? 0 : 20); // what was cancelled was not sent, the rest in order
        for (int i = 0, k = 0; i < 30 && !shut; i++)
            if (i % 3) assert_int_equal(got[k++], i);
        if (!shut) close(fds[0]);
        close(fds[1]);
    }
}
// A cancel for which there is neither room nor memory is not forgotten.
struct chained { aio_frame aio; int fd; bool step_by_step; char buf[8]; aio_chain c; };
aio_async(chained) {
    aio_chain_init(&self->c);
    if (self->step_by_step) aio_chain_add(&self->c, aio_sleep(0));
    aio_chain_add(&self->c, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
    aio_chain_add(&self->c, aio_nop());
    aio_try(aio_chain_run(&self->c));
    return 0;
} aio_end
struct cancel_poor { aio_frame aio; int fds[2], what; bool shut; aio_task *t, *fill[8], *close; int i; };
static void no_memory_from_here(aio_executor *x)
{
    for (int i = 0; i < AIO__CLASSES; i++) x->free[i] = 0;
    x->slab = x->slab_end;
    uring_memory.fail_from = 1;
}
aio_async(cancel_poor) {
    aio_result r;
    if (self->what)
        self->t = aio_spawn(chained, .fd = self->fds[0], .step_by_step = self->what > 1);
    else self->t = aio_spawn(receiver, .fd = self->fds[0]);
    aio_await(aio_sleep(2 * AIO_MSEC));
    for (int i = 0; i < 8; i++) self->fill[i] = aio_spawn(nops, .n = 1);
    if (self->shut) self->close = aio_spawn(closer, .fd = self->fds[0]);
    aio_await(aio_sleep(0));            // the ring is full from here on, before the closer runs
    no_memory_from_here(aio__running());
    if (!self->shut) aio_task_cancel(self->t);
    assert_true(uring_of_loop()->cancel_owed);
    starve = 0;
    aio_await(r, aio_future_wait(aio_task_future(self->t)));
    assert_result(r, self->shut ? -EBADF : -ECANCELED);
    for (; self->i < 8; self->i++) aio_await(aio_join(self->fill[self->i]));
    if (self->shut) {
        aio_await(r, aio_join(self->close));
        assert_result(r, 0);
    }
    uring_memory.fail_from = 0;
    aio_detach(self->t);
    return 0;
} aio_end
static int starve_when_full(unsigned fd, unsigned submit, unsigned wait, unsigned flags, sigset_t *extra,
                            size_t size)
{
    aio_uring *u = uring_of_loop();
    if (starve && u && submit >= 8) {
        no_memory_from_here(&u->loop->executor);
        return -EAGAIN;
    }
    return io_uring_enter2(fd, submit, wait, flags, extra, size);
}
static void hazard_4_a_cancel_without_room_or_memory_is_not_lost(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {           // an operation, a chain, one step by step
        int fds[2], shut = i & 1;
        pair_of(fds);
        aio_loop l;
        ring_options.sq_entries = 8;
        attach(&l);
        uring_fds_before -= shut;
        starve = 1;
        uring_hook.enter = starve_when_full;
        assert_result(run_on(&l, cancel_poor, .fds[0] = fds[0], .fds[1] = fds[1], .shut = shut,
                             .what = i / 2), 0);
        uring_hook.enter = 0;
        detach(&l);
        if (!shut) close(fds[0]);
        close(fds[1]);
    }
}
// A close in the backlog is carried out when the loop closes.
static void contract_5_a_close_in_the_backlog_is_carried_out(void **state)
{
    (void)state;
    int fds[2];
    char c;
    pair_of(fds);
    aio_loop l;
    ring_options.sq_entries = 8;
    aio_uring *u = attach(&l);
    uring_fds_before--;
    for (int i = 0; i < 20; i++) aio_detach(aio_spawn_on(&l, nops, .n = 1));
    aio_detach(aio_spawn_on(&l, closer, .fd = fds[0]));
    uring_hook.enter = take_little;
    starve = 1000000;
    aio_executor_turn(&l.executor);
    assert_non_null(u->backlog);
    starve = 3;
    detach(&l);
    uring_hook.enter = 0;
    starve = 0;
    assert_int_equal(recv(fds[1], &c, 1, MSG_DONTWAIT), 0);
    close(fds[1]);
}

// --- hazard 9: the kernel runs at most 20 pieces of deferred work in one call
enum { PIPES = 100 };
struct all_ready {
    aio_frame aio;
    int (*pipes)[2];
    bool busy;
    aio_task *tasks[PIPES];
    int i;
    long enters;
};
struct reader { aio_frame aio; int fd; char buf[8]; };
aio_async(reader) {
    aio_result n;
    aio_await(n, aio_read_some(self->fd, self->buf, sizeof self->buf));
    return n;
} aio_end
aio_async(all_ready) {
    aio_result n;
    for (int i = 0; i < PIPES; i++) self->tasks[i] = aio_spawn(reader, .fd = self->pipes[i][0]);
    aio_await(aio_sleep(AIO_MSEC));
    for (int i = 0; i < PIPES; i++) assert_int_equal(write(self->pipes[i][1], "x", 1), 1);
    self->enters = uring_hook.enters;
    for (; self->busy && self->i < 50; self->i++) aio_await(aio_sleep(0));      // it never waits
    for (self->i = 0; self->i < PIPES; self->i++) {
        if (self->busy) assert_true(aio_task_done(self->tasks[self->i]));
        aio_await(n, aio_join(self->tasks[self->i]));
        assert_result(n, 1);
    }
    return uring_hook.enters - self->enters;
} aio_end
static void hazard_9_twenty_item_cap(void **state)
{
    (void)state;
    if (!kernel_is(6, 3)) test_skip("before 6.3 a pipe's read that waits goes to a worker");
    static int pipes[PIPES][2];
    for (int i = 0; i < PIPES; i++) assert_int_equal(pipe2(pipes[i], O_CLOEXEC), 0);
    for (int busy = 0; busy < 2; busy++) {
        long enters = run(all_ready, .pipes = pipes, .busy = busy);
        assert_in_range(enters, 0, 10);         // without deferred work: none
    }
    for (int i = 0; i < PIPES; i++) close(pipes[i][0]), close(pipes[i][1]);
}
// While tasks keep the loop busy, deferred completions must come in all the same.
struct starved { aio_frame aio; int fds[2], i; aio_task *t; };
aio_async(starved) {
    self->t = aio_spawn(receiver, .fd = self->fds[0]);
    aio_await(aio_sleep(AIO_MSEC));
    assert_int_equal(write(self->fds[1], "x", 1), 1);
    for (; self->i < 1000000 && !aio_task_done(self->t); self->i++) aio_await(aio_sleep(0));
    assert_true(aio_task_done(self->t));
    aio_detach(self->t);
    return self->i;
} aio_end
static void hazard_8_a_busy_loop_sees_deferred_completions(void **state)
{
    (void)state;
    int fds[2];
    pair_of(fds);
    assert_in_range(run(starved, .fds[0] = fds[0], .fds[1] = fds[1]), 0, 10);
    close(fds[0]), close(fds[1]);
}

// --- waking up
struct remote {
    aio_loop *loop;
    aio_handle handles[2000];
    int n, delay_us, fd;
    aio_future *done;
    int *left;
};
static int count_down(void *arg)
{
    struct remote *r = (struct remote *)arg;
    if (--*r->left == 0) aio_future_set_result(r->done, 0);
    return 0;
}
static void *call_in(void *arg)
{
    struct remote *r = (struct remote *)arg;
    for (int i = 0; i < r->n; i++) {
        if (r->delay_us) usleep((useconds_t)r->delay_us);
        if (aio_call_soon_threadsafe(r->loop, &r->handles[i], count_down, r) < 0) abort();
    }
    return 0;
}
struct wait_threads {
    aio_frame aio;
    int fd, n, left, calls, delay_us;
    struct remote *remotes;
    pthread_t *threads;
    aio_future done;
    aio_task *t;
};
aio_async(wait_threads) {
    self->t = aio_spawn(receiver, .fd = self->fd);          // the loop sleeps in the ring
    aio_await(aio_sleep(AIO_MSEC));
    self->left = self->n * self->calls;
    for (int i = 0; i < self->n; i++) {
        struct remote *r = &self->remotes[i];
        r->loop = aio_running_loop();
        r->n = self->calls;
        r->delay_us = self->delay_us;
        r->done = &self->done;
        r->left = &self->left;
        pthread_create(&self->threads[i], 0, call_in, r);
    }
    aio_try(aio_future_wait(&self->done));
    for (int i = 0; i < self->n; i++) pthread_join(self->threads[i], 0);
    aio_task_cancel(self->t);
    aio_await(aio_join(self->t));
    return 0;
} aio_end
static int old_fds[2];
static struct remote old_remotes[2];
static pthread_t old_threads[2];
static void hazard_32_threads_wake_a_loop_that_sleeps_in_the_ring(void **state)
{
    (void)state;
    if (under_valgrind()) test_skip("valgrind stops all threads while one sleeps in the ring");
    static struct remote remotes[4];
    pthread_t threads[4];
    int fds[2];
    pair_of(fds);
    assert_result(run(wait_threads, .fd = fds[0], .n = 1, .calls = 20, .delay_us = 1000,
                      .remotes = remotes, .threads = threads),
                  0);
    assert_result(run(wait_threads, .fd = fds[0], .n = 4, .calls = 2000, .remotes = remotes,
                      .threads = threads), 0);
    close(fds[0]), close(fds[1]);
}
// A kernel without multishot polls says -EINVAL: then each wake-up takes a poll of its own.
static aio_uring *old_ring;
static int refused_polls;
static int without_multishot(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                             sigset_t *extra, size_t size)
{
    aio_uring *u = old_ring;
    for (uint32_t i = 0; u && i < submit; i++) {
        struct io_uring_sqe *sqe = &u->sqes[(*u->sq_khead + i) & u->sq_mask];
        if (sqe->opcode != IORING_OP_POLL_ADD || !(sqe->len & IORING_POLL_ADD_MULTI)) continue;
        sqe->len = 0x80;
        refused_polls++;
    }
    return io_uring_enter2(fd, submit, wait, flags, extra, size);
}
struct on_old { aio_frame aio; struct wait_threads inner; };
aio_async(on_old) {
    aio_result r;
    assert_int_equal(aio_uring_attach(aio_running_loop(), NULL), 0);
    old_ring = uring_of_loop();
    aio_try(r, aio_call(&self->inner, wait_threads, .fd = old_fds[0], .n = 2, .calls = 50,
                        .delay_us = 300, .remotes = old_remotes, .threads = old_threads));
    assert_true(old_ring->wake_once);
    old_ring = NULL;
    return r;
} aio_end
static void hazard_32_wakes_without_multishot_polls(void **state)
{
    (void)state;
    if (under_valgrind()) test_skip("valgrind stops all threads while one sleeps in the ring");
    pair_of(old_fds);
    refused_polls = 0;
    uring_hook.enter = without_multishot;
    assert_result(run(on_old), 0);
    uring_hook.enter = 0;
    assert_int_equal(refused_polls, 1);
    close(old_fds[0]), close(old_fds[1]);
}
// Loops with rings that send each other messages.
enum { TOKENS = 300 };
struct tokens { aio_frame aio; uint64_t m; aio_result r; };
aio_async(tokens) {
    aio_try(aio_nop());
    if (!aio_thread_index()) (void)aio_loop_post(aio_thread_loop(1), 0);
    do {
        aio_try(aio_loop_receive(&self->m));
        self->r = aio_loop_post(aio_thread_loop((aio_thread_index() + 1) % aio_thread_count()),
                                self->m + 1);
        aio_try(aio_nop());
    } while (self->m < TOKENS * 3 - 3);
    return self->r == -EBADFD ? 0 : self->r;
} aio_end
static void messages_wake_rings(void **state)
{
    (void)state;
    if (under_valgrind()) test_skip("valgrind stops all threads while one sleeps in the ring");
    int before = uring_count_fds();
    assert_result(aio_run_threads(3, tokens), 0);
    assert_int_equal(uring_count_fds(), before);
}
// The call comes when the loop has found its inbox empty and reads the clock, to know for how long
// to sleep.
static struct { struct remote remote; int posted, over; pthread_t thread; } late;
static void *calls_late(void *arg)
{
    call_in(&late.remote);
    __atomic_store_n(&late.posted, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&late.over, __ATOMIC_SEQ_CST)) usleep(1000);
    return arg;
}
static void call_now(void)
{
    uring_hook.clock = 0;
    pthread_create(&late.thread, 0, calls_late, 0);
    while (!__atomic_load_n(&late.posted, __ATOMIC_SEQ_CST)) usleep(100);
}
struct wakes_late { aio_frame aio; };
aio_async(wakes_late) {
    aio_try(aio_sleep(30 * AIO_SECOND));
    return 0;
} aio_end
struct in_the_window { aio_frame aio; aio_future done; aio_task *timer; int left; };
aio_async(in_the_window) {
    aio_try(aio_nop());
    self->timer = aio_spawn(wakes_late);
    aio_try(aio_sleep(AIO_MSEC));
    self->left = 1;
    late.remote.loop = aio_running_loop();
    late.remote.n = 1;
    late.remote.done = &self->done;
    late.remote.left = &self->left;
    uring_hook.clock = call_now;            // this turn ends, nothing is ready: the next one sleeps
    aio_try(aio_future_wait(&self->done));
    assert_false(aio_task_done(self->timer));
    aio_task_cancel(self->timer);
    aio_await(aio_join(self->timer));
    return 0;
} aio_end
static void hazard_32_a_call_between_the_last_look_and_falling_asleep(void **state)
{
    (void)state;
    memset(&late, 0, sizeof late);
    assert_result(run(in_the_window), 0);
    assert_int_equal(late.posted, 1);
    __atomic_store_n(&late.over, 1, __ATOMIC_SEQ_CST);
    pthread_join(late.thread, 0);
}
static void *write_later(void *arg)
{
    usleep(30000);
    if (write(*(int *)arg, "x", 1) != 1) abort();
    return 0;
}
struct patient { aio_frame aio; int fds[2]; aio_task *sleeper; pthread_t thread; char buf[4]; };
struct sleeper { aio_frame aio; };
aio_async(sleeper) {
    aio_try(aio_sleep(3600 * AIO_SECOND));
    return 0;
} aio_end
aio_async(patient) {
    aio_result n;
    self->sleeper = aio_spawn(sleeper);
    pthread_create(&self->thread, 0, write_later, &self->fds[1]);
    aio_await(n, aio_recv(self->fds[0], self->buf, 4, 0));
    pthread_join(self->thread, 0);
    assert_result(n, 1);
    assert_int_equal(aio_loop_time(aio_running_loop()), 0);     // the world owed an answer: no jump
    aio_await(n, aio_join(self->sleeper));
    assert_int_equal(aio_loop_time(aio_running_loop()), 3600 * AIO_SECOND);
    return n;
} aio_end
static void the_virtual_clock_stands_still_while_an_operation_is_in_flight(void **state)
{
    (void)state;
    if (under_valgrind()) test_skip("valgrind stops all threads while one sleeps in the ring");
    int fds[2];
    struct aio_loop_options o = uring_options();
    o.clock = AIO_CLOCK_VIRTUAL;
    pair_of(fds);
    uring_begin();
    assert_result(aio_run_with(&o, patient, .fds[0] = fds[0], .fds[1] = fds[1]), 0);
    uring_check(__FILE__, __LINE__);
    close(fds[0]), close(fds[1]);
}
struct only_recv { aio_frame aio; int fds[2]; pthread_t thread; char buf[4]; };
aio_async(only_recv) {
    aio_result n;
    pthread_create(&self->thread, 0, write_later, &self->fds[1]);
    aio_await(n, aio_recv(self->fds[0], self->buf, 4, 0));
    pthread_join(self->thread, 0);
    return n;
} aio_end
struct stuck { aio_frame aio; aio_future never; };
aio_async(stuck) {
    aio_result r;
    aio_try(aio_nop());
    aio_await(r, aio_future_wait(&self->never));
    return r;
} aio_end
static void deadlock_is_told_only_when_nothing_is_in_flight(void **state)
{
    (void)state;
    if (under_valgrind()) test_skip("valgrind stops all threads while one sleeps in the ring");
    int fds[2];
    struct aio_loop_options o = uring_options();
    o.clock = AIO_CLOCK_VIRTUAL;
    pair_of(fds);
    uring_begin();
    assert_result(aio_run_with(&o, only_recv, .fds[0] = fds[0], .fds[1] = fds[1]), 1);
    uring_check(__FILE__, __LINE__);
    expect_reports();
    uring_begin();
    assert_result(aio_run_with(&o, stuck), -EDEADLK);
    assert_non_null(strstr(uring_told, "deadlock"));
    uring_check(__FILE__, __LINE__);
    close(fds[0]), close(fds[1]);
}
struct on_time { aio_frame aio; int fd, i; aio_task *t; int64_t began, most; };
aio_async(on_time) {
    self->t = aio_spawn(receiver, .fd = self->fd);
    for (; self->i < 10; self->i++) {
        self->began = aio_loop_time(aio_running_loop());
        aio_await(aio_sleep(2 * AIO_MSEC));
        assert_true(aio_loop_time(aio_running_loop()) - self->began >= 2 * AIO_MSEC); // never early
    }
    aio_task_cancel(self->t);
    aio_await(aio_join(self->t));
    return 0;
} aio_end
static void sleeping_in_the_ring_is_never_early(void **state)
{
    (void)state;
    int fds[2];
    pair_of(fds);
    assert_result(run(on_time, .fd = fds[0]), 0);
    close(fds[0]), close(fds[1]);
}
static volatile int signals;
static void on_signal(int number) { signals += number == SIGALRM; }
static void a_signal_does_not_end_a_wait(void **state)
{
    (void)state;
    struct sigaction sa, old;
    struct itimerval it = { { 0, 1000 }, { 0, 1000 } }, off = { { 0, 0 }, { 0, 0 } };
    int fds[2];
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = on_signal;
    sigaction(SIGALRM, &sa, &old);
    pair_of(fds);
    setitimer(ITIMER_REAL, &it, 0);
    aio_result r = run(on_time, .fd = fds[0]);
    setitimer(ITIMER_REAL, &off, 0);
    sigaction(SIGALRM, &old, 0);
    assert_result(r, 0);
    assert_true(signals > 5);
    close(fds[0]), close(fds[1]);
}
struct names { aio_frame aio; int fd; aio_task *t; };
aio_async(names) {
    char text[64], expected[64];
    self->t = aio_spawn(receiver, .fd = self->fd);
    aio_await(aio_sleep(0));
    {
        aio_describe(&self->t->waiter, text, sizeof text);
        snprintf(expected, sizeof expected, "recv fd %d", self->fd);
        assert_string_equal(text, expected);
        assert_int_equal(aio_describe(&self->t->waiter, text, 5), 4);
        assert_string_equal(text, "recv");
    }
    aio_task_cancel(self->t);
    aio_await(aio_join(self->t));
    return 0;
} aio_end
static void waits_say_what_they_wait_for(void **state)
{
    (void)state;
    int fds[2];
    pair_of(fds);
    assert_result(run(names, .fd = fds[0]), 0);
    close(fds[0]), close(fds[1]);
}
static void *attach_elsewhere(void *arg)
{
    aio_loop *l = (aio_loop *)arg;
    static aio_result r;
    r = aio_uring_attach(l, 0);
    return &r;
}
static void contract_8_the_owner_attaches(void **state)
{
    (void)state;
    aio_loop l;
    pthread_t t;
    void *r;
    struct aio_loop_options o = uring_options();
    uring_begin();
    assert_result(aio_loop_init(&l, &o), 0);
    aio_task *n = aio_spawn_on(&l, stuck);
    aio_task_cancel(n);
    assert_result(aio_loop_run_until_complete(&l, n), -ECANCELED);
    aio_detach(n);
    pthread_create(&t, 0, attach_elsewhere, &l);
    pthread_join(t, &r);
    assert_result(*(aio_result *)r, -EPERM);
    aio_loop_close(&l);
    uring_check(__FILE__, __LINE__);
}

// The memory of the last ring comes back late: the next one is asked for again, at its full size.
static int memory_comes_late(unsigned entries, struct io_uring *ring, struct io_uring_params *p)
{
    return ++init_calls < 20 ? -ENOMEM : io_uring_queue_init_params(entries, ring, p);
}
static void a_ring_right_after_another_waits_for_its_memory(void **state)
{
    aio_loop l;
    (void)state;
    init_calls = 0;
    uring_hook.init = memory_comes_late;
    aio_uring *u = attach(&l);
    uring_hook.init = 0;
    assert_true(init_calls >= 20);
    assert_result(run_on(&l, one, .make = m_nop), 0);
    assert_non_null(u);
    detach(&l);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hazard_24_the_ladder_of_flags),
        cmocka_unit_test(entries_are_halved_where_memory_is_short),
        cmocka_unit_test(options_of_the_ring),
        cmocka_unit_test(hazard_8_flags_of_each_enter),
        cmocka_unit_test(more_rings_than_a_thread_can_register),
        cmocka_unit_test(one_system_call_for_a_turn),
        cmocka_unit_test(no_system_call_when_there_is_nothing_to_do),
        cmocka_unit_test(hazard_31_ten_thousand_in_one_turn_through_a_tiny_ring),
        cmocka_unit_test(hazard_31_a_backlog_keeps_the_order),
        cmocka_unit_test(a_backlog_is_not_overtaken_by_later_turns),
        cmocka_unit_test(hazard_31_a_busy_loop_sees_completions_that_did_not_fit),
        cmocka_unit_test(hazard_5_the_same_place_in_the_ring),
        cmocka_unit_test(a_backlog_can_be_cancelled_and_closed),
        cmocka_unit_test(hazard_4_a_cancel_without_room_or_memory_is_not_lost),
        cmocka_unit_test(contract_5_a_close_in_the_backlog_is_carried_out),
        cmocka_unit_test(hazard_9_twenty_item_cap),
        cmocka_unit_test(hazard_8_a_busy_loop_sees_deferred_completions),
        cmocka_unit_test(hazard_32_threads_wake_a_loop_that_sleeps_in_the_ring),
        cmocka_unit_test(hazard_32_wakes_without_multishot_polls),
        cmocka_unit_test(messages_wake_rings),
        cmocka_unit_test(hazard_32_a_call_between_the_last_look_and_falling_asleep),
        cmocka_unit_test(the_virtual_clock_stands_still_while_an_operation_is_in_flight),
        cmocka_unit_test(deadlock_is_told_only_when_nothing_is_in_flight),
        cmocka_unit_test(sleeping_in_the_ring_is_never_early),
        cmocka_unit_test(a_signal_does_not_end_a_wait),
        cmocka_unit_test(waits_say_what_they_wait_for),
        cmocka_unit_test(contract_8_the_owner_attaches),
        cmocka_unit_test(a_ring_right_after_another_waits_for_its_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
