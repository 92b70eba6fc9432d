// Chains: linked operations, one await.
#include "uring.h"

// --- the shape of an echo: a send, and the next receive
enum { ROUNDS = 50 };
struct echoes { aio_frame aio; int fd; char buf[64]; aio_result r, n; int rounds; };
aio_async(echoes) {                         // the peer, without chains
    for (;;) {
        aio_try(self->n, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
        if (!self->n) return 0;
        aio_try(aio_send_all(self->fd, self->buf, (size_t)self->n, 0));
    }
} aio_end
struct asks { aio_frame aio; int fd, i; bool one_by_one; char out[16], in[16]; aio_chain c; aio_result r; };
aio_async(asks) {
    for (self->i = 0; self->i < ROUNDS; self->i++) {
        assert_result(aio_chain_init(&self->c), 0);
        snprintf(self->out, sizeof self->out, "hello %d", self->i);
        assert_result(aio_chain_add(&self->c, aio_send_all(self->fd, self->out, 10, 0)), 0);
        assert_result(aio_chain_add(&self->c, aio_recv(self->fd, self->in, sizeof self->in, 0)), 0);
        assert_result(aio_chain_result(&self->c, 0), -EINVAL);
        aio_await(self->r, aio_chain_run(&self->c));
        assert_result(self->r, 0);
        assert_result(aio_chain_result(&self->c, 0), 10);
        assert_result(aio_chain_result(&self->c, 1), 10);
        assert_result(aio_chain_result(&self->c, 2), -EINVAL);
        assert_memory_equal(self->in, self->out, 10);
        aio_await(self->r, aio_chain_run(&self->c));            // once
        assert_result(self->r, -EINVAL);
    }
    assert_int_equal(aio_running_loop()->in_flight, 1);         // the peer's receive
    return 0;
} aio_end
struct conversation { aio_frame aio; int fds[2]; aio_task *t[2]; aio_result results[2]; };
aio_async(conversation) {
    pair_of(self->fds);
    self->t[0] = aio_spawn(asks, .fd = self->fds[0]);
    self->t[1] = aio_spawn(echoes, .fd = self->fds[1]);
    aio_await(aio_sleep(0));
    aio_try(aio_join(aio_task_retain(self->t[0])));
    aio_await(aio_close(self->fds[0]));
    aio_try(aio_gather(self->t, self->results, 2));
    aio_await(aio_close(self->fds[1]));
    return 0;
} aio_end
static void a_send_and_the_next_receive(void **state)
{
    (void)state;
    assert_result(run(conversation), 0);
    setenv("AIO_URING_ENTRIES", "1", 1);        // no room for two: one by one
    assert_result(run(conversation), 0);
    unsetenv("AIO_URING_ENTRIES");
}

// --- files, in order
struct files { aio_frame aio; int fd, tail; char in[32]; aio_chain c; aio_result r; };
aio_async(files) {
    self->fd = temp_file("");
    aio_chain_init(&self->c);
    aio_chain_add(&self->c, aio_pwrite(self->fd, "hello world", 11, 0));
    aio_chain_add(&self->c, aio_sync_file(self->fd, 0));
    aio_chain_add(&self->c, aio_pread(self->fd, self->in, 5, 6));
    aio_chain_add(&self->c, aio_close(self->fd));
    aio_await(self->r, aio_chain_run(&self->c));
    assert_result(self->r, 0);
    assert_memory_equal(self->in, "world", 5);
    assert_result(aio_chain_result(&self->c, 0), 11);
    assert_result(aio_chain_result(&self->c, 1), 0);
    assert_result(aio_chain_result(&self->c, 2), 5);
    assert_result(aio_chain_result(&self->c, 3), 0);
    return 0;
} aio_end
// An error ends it; what follows a hard link runs nevertheless.
struct broken { aio_frame aio; bool hard; int fd; char in[32]; aio_chain c; aio_result r; };
aio_async(broken) {
    self->fd = temp_file("hello");
    aio_chain_init(&self->c);
    aio_chain_add(&self->c, aio_nop());
    if (self->hard)
        aio_chain_add_hard(&self->c, aio_openat(AT_FDCWD, "/does/not/exist", O_RDONLY, 0));
    else aio_chain_add(&self->c, aio_openat(AT_FDCWD, "/does/not/exist", O_RDONLY, 0));
    aio_chain_add(&self->c, aio_close(self->fd));
    aio_await(self->r, aio_chain_run(&self->c));
    assert_result(self->r, -ENOENT);
    assert_result(aio_chain_result(&self->c, 0), 0);
    assert_result(aio_chain_result(&self->c, 1), -ENOENT);
    assert_result(aio_chain_result(&self->c, 2), self->hard ? 0 : -ECANCELED);
    if (!self->hard) close(self->fd);
    return 0;
} aio_end
struct short_read { aio_frame aio; int fd; char in[32]; aio_chain c; aio_result r; };
aio_async(short_read) {
    self->fd = temp_file("hello");
    aio_chain_init(&self->c);
    aio_chain_add(&self->c, aio_pread(self->fd, self->in, 32, 0));
    aio_chain_add(&self->c, aio_nop());
    aio_await(self->r, aio_chain_run(&self->c));
    assert_result(self->r, -EIO);
    assert_result(aio_chain_result(&self->c, 0), 5);
    assert_result(aio_chain_result(&self->c, 1), -ECANCELED);
    close(self->fd);
    return 0;
} aio_end
// A silent send that fails: those behind it post nothing.
struct broken_send { aio_frame aio; int fds[2]; char in[32]; aio_chain c; aio_result r; };
aio_async(broken_send) {
    pair_of(self->fds);
    close(self->fds[1]);
    aio_chain_init(&self->c);
    aio_chain_add(&self->c, aio_send_all(self->fds[0], "x", 1, 0));
    aio_chain_add(&self->c, aio_recv(self->fds[0], self->in, 32, 0));
    aio_chain_add(&self->c, aio_nop());
    aio_await(self->r, aio_chain_run(&self->c));
    assert_result(self->r, -EPIPE);
    assert_result(aio_chain_result(&self->c, 0), -EPIPE);
    assert_result(aio_chain_result(&self->c, 1), -ECANCELED);
    assert_result(aio_chain_result(&self->c, 2), -ECANCELED);
    assert_int_equal(aio_running_loop()->in_flight, 0);
    aio_await(aio_sleep(AIO_MSEC));
    aio_await(aio_close(self->fds[0]));
    return 0;
} aio_end
// A silent send behind a step that fails: all behind that one tell that they were cancelled.
struct broken_before { aio_frame aio; int fds[2]; char in[32]; aio_chain c; aio_result r; };
aio_async(broken_before) {
    pair_of(self->fds);
    aio_chain_init(&self->c);
    aio_chain_add(&self->c, aio_openat(AT_FDCWD, "/does/not/exist", O_RDONLY, 0));
    aio_chain_add(&self->c, aio_send_all(self->fds[0], "x", 1, 0));
    aio_chain_add(&self->c, aio_recv(self->fds[0], self->in, 32, 0));
    aio_chain_add(&self->c, aio_nop());
    aio_await(self->r, aio_chain_run(&self->c));
    assert_result(self->r, -ENOENT);
    assert_int_equal(aio_running_loop()->in_flight, 0);
    aio_await(aio_sleep(AIO_MSEC));
    assert_int_equal(aio_running_loop()->in_flight, 0);
    aio_await(aio_close(self->fds[0]));
    aio_await(aio_close(self->fds[1]));
    return 0;
} aio_end
// Short ones of every form break it, linked or not.
struct shorts { aio_frame aio; int what, fds[2], pipe[2]; char in[32]; struct iovec piece; struct msghdr m;
                aio_chain c; aio_result r; };
aio_async(shorts) {
    self->piece.iov_base = self->in;
    self->piece.iov_len = sizeof self->in;
    self->m.msg_iov = &self->piece;
    self->m.msg_iovlen = 1;
    pair_of(self->fds);
    aio_chain_init(&self->c);
    if (self->what == 0) {
        close(self->fds[0]);
        self->fds[0] = temp_file("hello");
        aio_chain_add(&self->c, aio_preadv(self->fds[0], &self->piece, 1, 0, 0));
    } else {
        assert_int_equal(write(self->fds[1], "hello", 5), 5);
        shutdown(self->fds[1], SHUT_WR);
    }
    if (self->what == 1)
        aio_chain_add(&self->c, aio_recvmsg(self->fds[0], &self->m, MSG_WAITALL));
    if (self->what == 2)
        aio_chain_add(&self->c, aio_recvfrom(self->fds[0], self->in, 32, MSG_WAITALL, NULL, NULL));
    assert_int_equal(pipe(self->pipe), 0);
    if (self->what == 3)
        aio_chain_add(&self->c, aio_splice(self->fds[0], -1, self->pipe[1], -1, 32, 0));
    aio_chain_add(&self->c, aio_nop());
    aio_await(self->r, aio_chain_run(&self->c));
    assert_result(self->r, -EIO);
    assert_result(aio_chain_result(&self->c, 0), 5);
    assert_result(aio_chain_result(&self->c, 1), -ECANCELED);
    close(self->fds[0]);
    close(self->fds[1]);
    close(self->pipe[0]);
    close(self->pipe[1]);
    return 0;
} aio_end
// A UNIX socket does not send without a copy: it is sent once more, and the chain goes on.
struct copied { aio_frame aio; int fds[2]; char in[8]; struct iovec piece; struct msghdr m; aio_chain c;
                aio_result r; };
aio_async(copied) {
    pair_of(self->fds);
    self->piece.iov_base = (void *)(uintptr_t)"abcd";
    self->piece.iov_len = 4;
    self->m.msg_iov = &self->piece;
    self->m.msg_iovlen = 1;
    aio_chain_init(&self->c);
    aio_chain_add(&self->c, aio_sendmsg_zc(self->fds[0], &self->m, 0));
    aio_chain_add(&self->c, aio_recv(self->fds[1], self->in, 4, 0));
    aio_await(self->r, aio_chain_run(&self->c));
    assert_result(self->r, 0);
    assert_result(aio_chain_result(&self->c, 1), 4);
    close(self->fds[0]);
    close(self->fds[1]);
    return 0;
} aio_end
static void an_error_ends_a_chain(void **state)
{
    (void)state;
    for (int entries = 0; entries < 2; entries++) {
        if (entries) setenv("AIO_URING_ENTRIES", "1", 1);
        assert_result(run(files), 0);
        assert_result(run(broken), 0);
        assert_result(run(broken, .hard = true), 0);
        assert_result(run(short_read), 0);
        assert_result(run(broken_send), 0);
        assert_result(run(broken_before), 0);
        for (int what = 0; what < 4; what++) assert_result(run(shorts, .what = what), 0);
        assert_result(run(copied), 0);
    }
    unsetenv("AIO_URING_ENTRIES");
}

// --- cancelling: before it is submitted, at each step, by a limit, by a close, by the frame, the
// loop
enum { EARLY, AT_FIRST, AT_SECOND, BY_LIMIT, BY_CLOSE, BY_FRAME, BY_LOOP, HOWS };
struct victim { aio_frame aio; int how, *fds; char in[8]; aio_chain c; aio_op op; aio_result r; };
aio_async(victim) {
    aio_chain_init(&self->c);
    if (self->how == BY_LOOP)
        aio_chain_add_hard(&self->c, aio_recv(self->fds[0], self->in, 4, MSG_WAITALL));
    else aio_chain_add(&self->c, aio_recv(self->fds[0], self->in, 4, MSG_WAITALL));
    aio_chain_add(&self->c, aio_recv(self->fds[2], self->in, 4, MSG_WAITALL));
    aio_chain_add(&self->c, aio_nop());
    if (self->how == BY_FRAME) {
        assert_result(aio_start(&self->op, aio_chain_run(&self->c)), 0);
        aio_await(aio_sleep(AIO_MSEC));
        return 7;
    }
    if (self->how == BY_LIMIT)
        aio_await(self->r, aio_wait_for(5 * AIO_MSEC, aio_chain_run(&self->c)));
    else aio_await(self->r, aio_chain_run(&self->c));
    assert_result(aio_chain_result(&self->c, 0), self->how == AT_SECOND ? 4 : -ECANCELED);
    assert_result(aio_chain_result(&self->c, 1), self->how == BY_CLOSE ? -EBADF : -ECANCELED);
    assert_result(aio_chain_result(&self->c, 2), -ECANCELED);
    return self->r;
} aio_end
struct hunter { aio_frame aio; int how, *fds; aio_task *t; aio_result r; };
aio_async(hunter) {
    self->t = aio_spawn(victim, .how = self->how, .fds = self->fds);
    aio_await(aio_sleep(0));
    if (self->how != EARLY) aio_await(aio_sleep(2 * AIO_MSEC));
    if (self->how == AT_SECOND) {
        assert_int_equal(write(self->fds[1], "abcd", 4), 4);
        aio_await(aio_sleep(2 * AIO_MSEC));
    }
    if (self->how <= AT_SECOND) assert_true(aio_task_cancel(self->t));
    if (self->how == BY_LOOP) {
        aio_detach(self->t);
        return 0;
    }
    if (self->how == BY_CLOSE) {
        aio_await(self->r, aio_close(self->fds[2]));
        assert_result(self->r, 0);
    }
    aio_await(self->r, aio_join(self->t));
    assert_int_equal(aio_running_loop()->in_flight, 0);
    return self->r;
} aio_end
static void a_chain_is_cancelled_whole(void **state)
{
    static const aio_result want[HOWS] = {-ECANCELED, -ECANCELED, -ECANCELED, -ETIMEDOUT,
                                          -EBADF,     7,          0};
    (void)state;
    for (int entries = 0; entries < 2; entries++) {
        if (entries) setenv("AIO_URING_ENTRIES", "1", 1);
        for (int how = 0; how < HOWS; how++) {
            if (entries && how == BY_CLOSE) continue;       // the second has not begun
            int fds[4];
            pair_of(fds);
            pair_of(fds + 2);
            uring_begin();
            struct aio_loop_options o = uring_options();
            if (how == BY_CLOSE) uring_fds_before--;
            assert_result(aio_run_with(&o, hunter, .how = how, .fds = fds), want[how]);
            uring_check(__FILE__, __LINE__);
            for (int i = 0; i < 4; i++)
                if (i != 2 || how != BY_CLOSE) close(fds[i]);
        }
    }
    unsetenv("AIO_URING_ENTRIES");
}
// One that runs step by step ends with its descriptor and with its loop, on old kernels too.
struct stepwise { aio_frame aio; int *fds; char in[8]; aio_chain c; aio_result r; };
aio_async(stepwise) {
    aio_chain_init(&self->c);
    aio_chain_add(&self->c, aio_sleep(0));
    aio_chain_add(&self->c, aio_recv(self->fds[0], self->in, 4, 0));
    aio_await(self->r, aio_chain_run(&self->c));
    assert_result(self->r, -EBADF);
    return 0;
} aio_end
struct closer { aio_frame aio; int *fds; aio_task *t; aio_result r; };
aio_async(closer) {
    self->t = aio_spawn(stepwise, .fds = self->fds);
    aio_await(aio_sleep(2 * AIO_MSEC));
    aio_await(self->r, aio_close(self->fds[0]));
    assert_result(self->r, 0);
    pair_of(self->fds);
    aio_try(aio_join(self->t));
    self->t = aio_spawn(stepwise, .fds = self->fds);
    aio_await(aio_sleep(2 * AIO_MSEC));
    aio_detach(self->t);
    return 0;
} aio_end
static void contract_5_a_chain_step_by_step(void **state)
{
    static const char *const levels[] = { "1", "2", "3", "4" };
    const char *before = getenv("AIO_URING_LEVEL");
    char was[8];
    (void)state;
    snprintf(was, sizeof was, "%s", before ? before : "");
    for (int i = 0; i < 4; i++) {
        int fds[2], peer;
        aio_loop l;
        setenv("AIO_URING_LEVEL", levels[i], 1);
        struct aio_loop_options o = uring_options();
        uring_begin();
        pair_of(fds);
        peer = fds[1];
        assert_result(aio_loop_init(&l, &o), 0);
        assert_result(aio_loop_run_until_complete(&l, aio_spawn_on(&l, closer, .fds = fds)), 0);
        assert_result(aio_loop_close(&l), 0);       // the second one runs
        close(peer);
        close(fds[0]);
        close(fds[1]);
        uring_check(__FILE__, __LINE__);
    }
    if (before) setenv("AIO_URING_LEVEL", was, 1);
    else unsetenv("AIO_URING_LEVEL");
}
// Descriptors in results that nobody takes are closed, whatever becomes of the chain.
struct gives { aio_frame aio; int how, fds[2]; char in[4]; aio_chain c; aio_result r; };
aio_async(gives) {
    pair_of(self->fds);
    aio_chain_init(&self->c);
    aio_chain_add(&self->c, aio_openat(AT_FDCWD, "/dev/null", O_RDONLY, 0));
    if (self->how) aio_chain_add(&self->c, aio_recv(self->fds[0], self->in, 4, 0));
    aio_await(self->r, aio_wait_for(self->how ? 100 * AIO_MSEC : AIO_FOREVER,
                                    aio_chain_run(&self->c)));
    assert_result(self->r, self->how ? -ETIMEDOUT : 0);
    if (self->how == 2) assert_result(close((int)aio_chain_result(&self->c, 0)), 0);
    if (self->how == 3) aio_chain_init(&self->c);
    aio_await(aio_close(self->fds[0]));
    aio_await(aio_close(self->fds[1]));
    return 0;
} aio_end
static void hazard_6_a_descriptor_that_nobody_takes(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) assert_result(run(gives, .how = how), 0);
}
// So are handles and arguments in steps that never begin.
struct five { aio_frame aio; };
aio_async(five) { return 5; } aio_end
static int freed;
static void count_free(void *arg) { (void)arg; freed++; }
static aio_result no_job(void *arg) { (void)arg; return 0; }
enum { TAKEN, LEFT, NOT_BEGUN, NOT_RUN };
struct holder { aio_frame aio; int how; aio_task *t; aio_chain c; aio_result r; };
aio_async(holder) {
    aio_chain_init(&self->c);
    if (self->how == NOT_BEGUN) aio_chain_add(&self->c, aio_recv(-1, &self->c, 1, 0));
    aio_chain_add(&self->c, aio_join(self->t));
    aio_chain_add(&self->c, aio_to_thread_owned(no_job, &freed, count_free));
    if (self->how == NOT_RUN) return 0;
    aio_await(self->r, aio_chain_run(&self->c));
    if (self->how == TAKEN) assert_result(aio_chain_result(&self->c, 0), 5);
    return 0;
} aio_end
struct holders { aio_frame aio; int how; aio_slot(five) slot; aio_task *t; };
aio_async(holders) {
    for (self->how = TAKEN; self->how <= NOT_RUN; self->how++) {
        self->t = aio_spawn_in(&self->slot, five);
        assert_false(aio_task_done(self->t));            // nobody holds the one before
        freed = 0;
        aio_try(aio_join(aio_spawn(holder, .how = self->how, .t = self->t)));
        assert_int_equal(freed, 1);
        aio_await(aio_sleep(0));
    }
    return 0;
} aio_end
static void hazard_6_steps_that_never_begin(void **state)
{
    (void)state;
    assert_result(run(holders), 0);
}
// Many at once, in a ring that holds few entries: none is split, none waits for ever.
struct crowd { aio_frame aio; int fds[2]; aio_task *t[64]; aio_result results[64]; int i; };
struct member { aio_frame aio; int fd; aio_chain c; char in[8]; int i; };
aio_async(member) {
    for (self->i = 0; self->i < 20; self->i++) {
        aio_chain_init(&self->c);
        aio_chain_add(&self->c, aio_nop());
        aio_chain_add(&self->c, aio_nop());
        aio_chain_add(&self->c, aio_nop());
        aio_try(aio_chain_run(&self->c));
    }
    return 0;
} aio_end
aio_async(crowd) {
    for (self->i = 0; self->i < 64; self->i++) self->t[self->i] = aio_spawn(member);
    aio_try(aio_gather(self->t, self->results, 64));
    return 0;
} aio_end
// Refusals.
struct wrong { aio_frame aio; aio_chain c, other; int i; aio_result r; };
aio_async(wrong) {
    assert_result(aio_chain_add(&self->c, aio_nop()), -EINVAL);         // not open
    assert_result(aio_chain_init(&self->c), 0);
    aio_await(self->r, aio_chain_run(&self->c));                        // empty
    assert_result(self->r, 0);
    assert_result(aio_chain_init(&self->c), 0);
    for (self->i = 0; self->i < AIO_CHAIN_STEPS; self->i++)
        assert_result(aio_chain_add(&self->c, aio_nop()), 0);
    assert_result(aio_chain_add(&self->c, aio_nop()), -ENOSPC);
    aio_await(self->r, aio_chain_run(&self->c));
    assert_result(self->r, -ENOSPC);
    assert_result(aio_chain_init(&self->c), 0);
    assert_result(aio_chain_add(&self->c, aio_call_new(member)), -EINVAL);
    assert_result(aio_chain_init(&self->c), 0);
    assert_result(aio_chain_add(&self->c, aio_sleep(AIO_MSEC)), 0); // not the ring's: one by one
    assert_result(aio_chain_add(&self->c, aio_recv(-1, &self->c, 1, 0)), 0);
    assert_result(aio_chain_add(&self->c, aio_nop()), 0);
    aio_await(self->r, aio_chain_run(&self->c));
    assert_result(self->r, -EBADF);
    return 0;
} aio_end
// The loop's first operation.
struct first { aio_frame aio; aio_chain c; aio_result r; };
aio_async(first) {
    assert_result(aio_chain_init(&self->c), 0);
    assert_result(aio_chain_add(&self->c, aio_call_new(member)), -EINVAL);
    aio_await(self->r, aio_chain_run(&self->c));
    return self->r;
} aio_end
static void chains_in_a_crowd(void **state)
{
    (void)state;
    assert_result(run(crowd), 0);
    setenv("AIO_URING_ENTRIES", "4", 1);
    assert_result(run(crowd), 0);
    unsetenv("AIO_URING_ENTRIES");
    assert_result(run(wrong), 0);
    assert_result(run(first), -EINVAL);
    aio_chain c;
    memset((void *)&c, 0, sizeof c);
    assert_result(aio_chain_init(&c), -EINVAL);
}
// Without memory a step is an error, and the chain ends.
struct poor { aio_frame aio; int fd; aio_chain c; char in[8]; aio_result r; };
aio_async(poor) {
    aio_chain_init(&self->c);
    aio_chain_add(&self->c, aio_nop());
    aio_chain_add(&self->c, aio_openat(AT_FDCWD, "/dev/null", O_RDONLY, 0));
    aio_chain_add(&self->c, aio_pread(self->fd, self->in, 4, 0));
    aio_await(self->r, aio_chain_run(&self->c));
    return self->r;
} aio_end
static void without_memory(void **state)
{
    int fd = temp_file("content"), worked = 0;
    (void)state;
    for (long n = 1; n < 20; n++) {
        uring_begin();
        struct aio_loop_options o = uring_options();
        uring_memory.fail_from = n;
        aio_result r = aio_run_with(&o, poor, .fd = fd);
        assert_true(r == 0 || r == -ENOMEM || r == -EINVAL || r == -EIO);
        worked += r == 0;
        uring_reports = 0;
        uring_check(__FILE__, __LINE__);
    }
    assert_true(worked > 0);
    close(fd);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_send_and_the_next_receive),
        cmocka_unit_test(an_error_ends_a_chain),
        cmocka_unit_test(a_chain_is_cancelled_whole),
        cmocka_unit_test(contract_5_a_chain_step_by_step),
        cmocka_unit_test(hazard_6_a_descriptor_that_nobody_takes),
        cmocka_unit_test(hazard_6_steps_that_never_begin),
        cmocka_unit_test(chains_in_a_crowd),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
