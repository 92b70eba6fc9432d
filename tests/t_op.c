// Ops: waits beside the coroutine, started, awaited, cancelled, raced; contracts 3 and 6.
#include "test.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "aio_io_uring.h"
#include "core.h"
#include "steps.h"

static bool ring; // false: io_uring is refused here
#define need_ring()                          \
    do {                                     \
        if (!ring) test_skip("no io_uring"); \
    } while (0)

// A fresh loop, with real I/O: the virtual clock would stand still while the kernel owes an answer.
static void real_clock(void) {
    struct aio_loop_options o = core_options(AIO_CLOCK_MONOTONIC);
    aio_loop_close(&core.loop);
    assert_result(aio_loop_init(&core.loop, &o), 0);
}

// --- what is started
struct noop {
    aio_frame aio;
};
aio_async(noop) {
    return 3;
}
aio_end

    struct fast {
    aio_frame aio;
    aio_op op[6];
    aio_future f;
    aio_event e;
    aio_lock k;
    uint64_t turn;
};
aio_async(fast) {
    aio_future_set_result(&self->f, 9);
    aio_event_set(&self->e);
    assert_result(aio_start(&self->op[0], aio_next_turn()), 0);
    assert_result(aio_start(&self->op[1], aio_sleep(-1)), 0);
    assert_result(aio_start(&self->op[2], aio_future_wait(&self->f)), 0);
    assert_result(aio_start(&self->op[3], aio_event_wait(&self->e)), 0);
    assert_result(aio_start(&self->op[4], aio_lock_acquire(&self->k)), 0);
    for (int i = 0; i < 5; i++) assert_true(aio_op_done(&self->op[i]));
    for (int i = 0; i < 5; i++) assert_false(aio_op_cancel(&self->op[i]));
    assert_true(aio_lock_locked(&self->k));
    self->turn = aio_loop_turn(aio_running_loop());
    aio_result r;
    aio_await(r, aio_op_wait(&self->op[2]));
    assert_result(r, 9);
    aio_await(r, aio_op_wait(&self->op[3]));
    assert_result(r, 0);
    assert_result(aio_loop_turn(aio_running_loop()), self->turn); // it did not suspend
    assert_result(aio_op_result(&self->op[0]), 0);
    assert_false(aio_op_done(&self->op[0])); // taken
    assert_result(aio_op_result(&self->op[0]), -EINVAL);
    aio_await(r, aio_op_wait(&self->op[0]));
    assert_result(r, -EINVAL);
    aio_await(r, aio_op_wait(&self->op[5]));
    assert_result(r, -EINVAL);
    assert_false(aio_op_cancel(&self->op[5]));
    return 0;
}
aio_end static void contract_op_done_at_once(void **state) {
    (void)state;
    aio_task *t = core_spawn(fast);
    assert_result(core_run(t), 0);
    aio_detach(t);
}

struct later {
    aio_frame aio;
    aio_op a, b;
    aio_future f;
};
aio_async(later) {
    assert_result(aio_start(&self->a, aio_sleep(AIO_SECOND)), 0);
    assert_result(aio_start(&self->b, aio_future_wait(&self->f)), 0);
    assert_result(aio_start(&self->a, aio_sleep(1)), -EBUSY);
    assert_result(aio_op_result(&self->a), -EINPROGRESS);
    assert_false(aio_op_done(&self->a));
    aio_result r;
    aio_await(r, aio_sleep(2 * AIO_SECOND));
    assert_result(r, 0);
    assert_true(aio_op_done(&self->a));
    assert_result(aio_start(&self->a, aio_sleep(1)), -EBUSY); // its result is not taken
    assert_result(aio_op_result(&self->a), 0);
    assert_result(aio_start(&self->a, aio_sleep(1)), 0); // free again
    aio_future_set_result(&self->f, 5);
    assert_true(aio_op_done(&self->b));
    assert_result(aio_op_result(&self->b), 5);
    aio_await(r, aio_op_wait(&self->a));
    assert_result(r, 0);
    assert_result(aio_loop_time(aio_running_loop()), 2 * AIO_SECOND + 1);
    assert_result(aio_start(&self->a, aio_sleep(AIO_FOREVER)), 0);
    assert_true(aio_op_cancel(&self->a));
    assert_true(aio_op_done(&self->a));
    assert_false(aio_op_cancel(&self->a));
    aio_await(r, aio_op_wait(&self->a));
    assert_result(r, -ECANCELED);
    assert_result(aio_task_cancelling(aio_current_task()), 0);
    aio_await(r, aio_next_turn());
    assert_result(r, 0); // C-11: nobody cancelled the task
    return 0;
}
aio_end static void contract_op_later_and_the_result_is_kept(void **state) {
    (void)state;
    aio_task *t = core_spawn(later);
    assert_result(core_run(t), 0);
    aio_detach(t);
}

// --- what is refused, and what the refused awaitable held
struct holds {
    aio_frame aio;
    int n;
};
aio_drop(holds) {
    say("%s%d ", dropped < 0 ? "drop" : "value", self->n);
    return 0;
}
aio_end aio_async(holds) {
    aio_try(aio_sleep(AIO_MSEC));
    return self->n;
}
aio_end static int job(void *arg) {
    return *(int *)arg;
}
static void free_int(void *arg) {
    say("free%d ", *(int *)arg);
    *(int *)arg = -1;
}
struct refused {
    aio_frame aio;
    aio_op op, other;
    struct holds child;
    aio_barrier barrier;
    aio_completed it;
    aio_group g;
    aio_task *t;
    aio_future f;
    aio_future *futures[1];
    int owned;
};
aio_async(refused) {
    self->futures[0] = &self->f;
    aio_barrier_init(&self->barrier, 2);
    assert_result(aio_completed_init(&self->it, self->futures, 1, AIO_FOREVER), 0);
    assert_result(aio_group_enter(&self->g), 0);
    assert_result(aio_start(&self->op, aio_call(&self->child, holds, .n = 1)), -EINVAL);
    assert_trace("drop1 ");
    assert_result(aio_start(&self->op, aio_call_new(holds, .n = 2)), -EINVAL);
    assert_trace("drop2 ");
    assert_result(aio_start(&self->op, aio_wait_for(1, aio_call_new(holds, .n = 3))), -EINVAL);
    assert_trace("drop3 ");
    assert_result(aio_start(&self->op, aio_barrier_wait(&self->barrier)), -EINVAL);
    assert_result(aio_start(&self->op, aio_completed_next(&self->it)), -EINVAL);
    assert_result(aio_start(&self->op, aio_group_exit(&self->g, 0)), -EINVAL);
    assert_result(aio_start(&self->op, aio_race(&self->other, 1)), -EINVAL);
    self->t = aio_spawn(holds, .n = 4);
    assert_result(aio_start(&self->op, aio_gather(&self->t, NULL, 1)), -EINVAL);
    assert_result(aio_start(&self->op, aio_wait_for(1, aio_join(aio_task_retain(self->t)))),
                  -EINVAL);
    assert_false(aio_op_done(&self->op));
    self->owned = 5;
    assert_result(
        aio_start(&self->op, aio_wait_for(1, aio_to_thread_owned(job, &self->owned, free_int))),
        -EINVAL);
    assert_trace("free5 ");
    // in use: what is not begun is given up as well
    assert_result(aio_start(&self->op, aio_sleep(AIO_FOREVER)), 0);
    assert_result(aio_start(&self->op, aio_join(aio_task_retain(self->t))), -EBUSY);
    self->owned = 6;
    assert_result(aio_start(&self->op, aio_to_thread_owned(job, &self->owned, free_int)), -EBUSY);
    assert_trace("free6 ");
    aio_result r;
    aio_await(r, aio_group_exit(&self->g, 0));
    assert_result(r, 0);
    aio_await(r, aio_join(self->t));
    assert_result(r, 4);
    return 0;
}
aio_end static void contract_op_refuses_what_needs_a_task(void **state) {
    (void)state;
    aio_op op;
    memset(&op, 0, sizeof op);
    assert_result(aio_start(&op, aio_sleep(1)), -EINVAL); // no task runs
    aio_task *t = core_spawn(noop), *main_task = core_spawn(refused);
    assert_result(aio_start(&op, aio_join(aio_task_retain(t))), -EINVAL);
    assert_result(core_run(main_task), 0);
    assert_result(aio_task_result(t), 3);
    assert_result(aio_task_future(t)->refs, 1);
    aio_detach(t);
    aio_detach(main_task);
}
// WF-4: a limit of 0 does not begin the job, but the job owned its argument.
struct no_limit {
    aio_frame aio;
    int owned;
};
aio_async(no_limit) {
    aio_result r;
    self->owned = 7;
    aio_await(r, aio_wait_for(0, aio_to_thread_owned(job, &self->owned, free_int)));
    assert_result(r, -ETIMEDOUT);
    assert_trace("free7 ");
    return 0;
}
aio_end static void WF_4_an_owned_job_that_never_begins(void **state) {
    (void)state;
    aio_task *t = core_spawn(no_limit);
    assert_result(core_run(t), 0);
    aio_detach(t);
}

// --- ops of joins: the task's value, with a drop hook, is not lost
struct joiner {
    aio_frame aio;
    int mode;
    aio_op op;
    aio_task *t;
};
aio_async(joiner) {
    aio_result r;
    self->t = aio_spawn(holds, .n = 1);
    if (self->mode & 1) aio_await(aio_sleep(AIO_SECOND)); // it has ended at the start
    assert_result(aio_start(&self->op, aio_join(self->t)), 0);
    assert_result(aio_op_done(&self->op), self->mode & 1);
    if (self->mode >> 1 == 0) { // awaited
        aio_await(r, aio_op_wait(&self->op));
        assert_result(r, 1);
    } else if (self->mode >> 1 == 1) { // taken
        aio_await(aio_sleep(AIO_SECOND));
        assert_result(aio_op_result(&self->op), 1);
    } else if (self->mode >> 1 == 2) { // ended, never taken
        aio_await(aio_sleep(AIO_SECOND));
    } else if (self->mode >> 1 == 4) { // cancelled in the turn of its end
        aio_await(r, aio_op_wait(&self->op));
        say("r%lld ", (long long)r);
    } // 3: the frame returns at once
    return 0;
}
aio_end struct cancels {
    aio_frame aio;
    aio_task *t;
};
aio_async(cancels) {
    aio_try(aio_sleep(AIO_MSEC));
    return aio_task_cancel(self->t);
}
aio_end static void contract_6_the_value_of_a_joined_task(void **state) {
    (void)state;
    static const char *const traces[] = {
        "", "", "", "", "value1 ", "value1 ", "drop1 ", "value1 ", "value1 r-125 ", "r1 "};
    for (int mode = 0; mode < 10; mode++) {
        aio_task *t = core_spawn(joiner, .mode = mode);
        core_turn();
        if (mode == 8) aio_detach(core_spawn(cancels, .t = t)); // runs right behind the joined task
        assert_result(core_run(t), 0);
        assert_trace(traces[mode]);
        aio_detach(t);
    }
    assert_reports("");
}
// A cancel through an op reaches the task (C-5), and its refusal comes back.
struct refuses {
    aio_frame aio;
    aio_result r;
};
aio_async(refuses) {
    aio_await(self->r, aio_sleep(AIO_SECOND));
    return 7;
}
aio_end struct through {
    aio_frame aio;
    aio_op op;
    aio_task *t;
};
aio_async(through) {
    aio_result r;
    self->t = aio_spawn(refuses);
    assert_result(aio_start(&self->op, aio_join(self->t)), 0);
    aio_await(r, aio_op_wait(&self->op));
    say("%lld/%u ", (long long)r, aio_task_cancelling(aio_current_task()));
    aio_await(r, aio_next_turn());
    say("%lld ", (long long)r);
    return 0;
}
aio_end static void C_5_through_an_op_of_a_join(void **state) {
    (void)state;
    aio_task *t = core_spawn(through);
    core_turn();
    core_turn();
    assert_true(aio_task_cancel(t));
    assert_result(core_run(t), 0);
    assert_trace("7/1 0 "); // what the task made of the cancel stands
    aio_detach(t);
}
// T-11 through ops: two tasks wait for each other.
struct circle {
    aio_frame aio;
    aio_op op;
    aio_task *t;
};
aio_async(circle) {
    aio_result r;
    aio_await(aio_next_turn());
    assert_result(aio_start(&self->op, aio_future_wait(aio_task_future(self->t))), 0);
    aio_await(r, aio_op_wait(&self->op));
    return r;
}
aio_end static void T_11_a_cycle_of_ops(void **state) {
    (void)state;
    aio_task *a = core_spawn(circle), *b = core_spawn(circle, .t = a);
    aio_task_frame(circle, a)->t = b;
    core_turn();
    core_turn();
    core_run_dry();
    assert_true(aio_task_cancel(a));
    assert_result(core_run(a), -ECANCELED);
    assert_result(core_run(b), -ECANCELED);
    aio_detach(a);
    aio_detach(b);
}

// A cancel goes through any number of tasks and ops, and the C stack does not grow.
struct chained {
    aio_frame aio;
    aio_task *inner;
    aio_op op, around;
    aio_result r;
};
aio_async(chained) {
    if (!self->inner) {
        aio_try(aio_sleep(AIO_FOREVER));
        return 0;
    }
    aio_start(&self->op, aio_join(self->inner));
    aio_start(&self->around, aio_op_wait(&self->op));
    aio_await(self->r, aio_op_wait(&self->around));
    return self->r;
}
aio_end static void C_5_through_a_hundred_thousand_ops(void **state) {
    (void)state;
    aio_task *t = NULL;
    for (int i = 0; i < 100000; i++) t = core_spawn(chained, .inner = t);
    core_turn();
    assert_true(aio_task_cancel(t));
    assert_result(core_run(t), -ECANCELED);
    aio_detach(t);
}

// --- a frame returns over its ops (contract 6)
struct nested {
    aio_frame aio;
    aio_op op[4];
    aio_future f;
    aio_event e;
    aio_lock k;
    aio_queue q;
    int room[1], item;
};
aio_async(nested) {
    aio_queue_init(&self->q, self->room, sizeof(int), 1, 0, NULL, NULL);
    self->k.locked = true;
    assert_result(aio_start(&self->op[0], aio_sleep(AIO_SECOND)), 0);
    assert_result(aio_start(&self->op[1], aio_event_wait(&self->e)), 0);
    assert_result(aio_start(&self->op[2], aio_lock_acquire(&self->k)), 0);
    assert_result(aio_start(&self->op[3], aio_queue_get(&self->q, &self->item)), 0);
    aio_try(aio_next_turn());
    return 4;
}
aio_end struct caller {
    aio_frame aio;
    struct nested child;
    aio_op own;
};
aio_async(caller) {
    aio_result r;
    assert_result(aio_start(&self->own, aio_sleep(AIO_MSEC)), 0);
    aio_await(r, aio_call(&self->child, nested));
    assert_result(r, 4);
    assert_null(self->child.e.waiters); // nobody stands on them any more
    assert_null(self->child.k.waiters);
    assert_null(self->child.q.getters);
    for (int i = 0; i < 4; i++) assert_null(self->child.op[i].owner);
    assert_false(aio_op_done(&self->own)); // the caller's own goes on
    aio_await(r, aio_op_wait(&self->own));
    assert_result(r, 0);
    assert_result(aio_loop_time(aio_running_loop()), AIO_MSEC);
    return 0;
}
aio_end static void contract_6_a_frame_ends_its_ops(void **state) {
    (void)state;
    aio_task *t = core_spawn(caller);
    assert_result(core_run(t), 0);
    aio_detach(t);
    assert_result(core.loop.timer_count, 0);
}
// Kernel operations: one that waits, one that is done, one that gave a descriptor.
struct io {
    aio_frame aio;
    int fd, listener, mode;
    aio_op op[3];
    char buf[8], other[8];
    aio_result r;
};
aio_async(io) {
    assert_result(aio_start(&self->op[0], aio_recv(self->fd, self->buf, 8, 0)), 0);
    assert_result(aio_start(&self->op[1], aio_accept(self->listener)), 0);
    assert_result(aio_start(&self->op[2], aio_nop()), 0);
    if (self->mode == 0) return 5; // not submitted yet
    aio_await(self->r, aio_op_wait(&self->op[2]));
    if (self->mode == 1) return 5;               // with the kernel
    aio_await(self->r, aio_sleep(2 * AIO_MSEC)); // mode 2: they have ended meanwhile
    if (self->mode == 2) assert_true(aio_op_done(&self->op[0]) && aio_op_done(&self->op[1]));
    if (self->mode == 3) {
        aio_await(self->r, aio_op_wait(&self->op[1]));
        if (self->r >= 0) close((int)self->r);
        return self->r < 0 ? self->r : 5;
    }
    return 5;
}
aio_end struct peers { int pair[2], listener, client; };
static struct peers peers;
static void peers_open(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof a;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, peers.pair), 0);
    peers.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(peers.listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(peers.listener, 64), 0);
    assert_int_equal(getsockname(peers.listener, (struct sockaddr *)&a, &size), 0);
    peers.client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connect(peers.client, (struct sockaddr *)&a, sizeof a);
}
static void peers_close(void) {
    close(peers.pair[0]);
    close(peers.pair[1]);
    close(peers.listener);
    close(peers.client);
}
static void contract_6_kernel_operations_of_a_frame(void **state) {
    (void)state;
    need_ring();
    real_clock();
    for (int mode = 0; mode < 4; mode++) {
        peers_open();
        assert_int_equal(write(peers.pair[1], "hi", mode == 2 ? 2 : 0), mode == 2 ? 2 : 0);
        aio_task *t = core_spawn(io, .fd = peers.pair[0], .listener = peers.listener, .mode = mode);
        unsigned files = 0;
        if (mode) {
            core_turn(); // the ring has its descriptors now
            files = steps_open_files();
        }
        assert_result(core_run(t), 5);
        aio_detach(t);
        assert_result(core.loop.in_flight, 0);
        if (mode) assert_int_equal(steps_open_files(), files); // what was accepted is closed
        peers_close();
    }
}
// The loop is closed over open ops: nothing of them stays behind.
struct open_ops {
    aio_frame aio;
    aio_op op[6];
    aio_future *f;
    aio_event *e;
    aio_lock *k;
    aio_task *t;
    int listener;
};
aio_async(open_ops) {
    assert_result(aio_start(&self->op[0], aio_future_wait(self->f)), 0);
    assert_result(aio_start(&self->op[1], aio_event_wait(self->e)), 0);
    assert_result(aio_start(&self->op[2], aio_lock_acquire(self->k)), 0);
    assert_result(aio_start(&self->op[3], aio_join(self->t)), 0);
    if (self->listener) assert_result(aio_start(&self->op[4], aio_accept(self->listener)), 0);
    if (self->listener) assert_result(aio_start(&self->op[5], aio_accept(self->listener)), 0);
    aio_await(aio_sleep(AIO_FOREVER));
    return 0;
}
aio_end static void contract_11_a_loop_closed_over_ops(void **state) {
    (void)state;
    aio_future f = {0};
    aio_event e = {0};
    aio_lock k = {.locked = true};
    peers_open();
    unsigned files = steps_open_files() - 1; // but for the loop's own
    for (int i = 0; i < 2; i++) {
        aio_task *younger = NULL, *t;
        if (i) younger = core_spawn(holds, .n = 1);
        t = core_spawn(open_ops, .f = &f, .e = &e, .k = &k, .listener = ring ? peers.listener : 0);
        aio_task_frame(open_ops, t)->t = younger ? younger : core_spawn(holds, .n = 1);
        aio_detach(t);
        for (int turn = 0; turn < 20; turn++) core_turn();
        assert_result(aio_loop_close(&core.loop), 0);
        assert_null(f.watchers);
        assert_null(e.waiters);
        assert_null(k.waiters);
        assert_int_equal(steps_open_files(), files);
        assert_result(core_count("destroyed"), 2);
        core_forget_reports();
        core.trace[core.trace_at = 0] = 0;
        assert_result(core_setup(NULL), 0);
        f.loop = NULL;
    }
    aio_future_set_result(&f, 1);
    aio_event_set(&e);
    aio_lock_release(&k);
    peers_close();
}
// Another task waits for the op of a frame that returns.
struct watcher {
    aio_frame aio;
    aio_op *op;
};
aio_async(watcher) {
    aio_result r;
    aio_await(r, aio_op_wait(self->op));
    return r;
}
aio_end static int started; // atomic: jobs that run or ran
static aio_result unstoppable(void *arg) {
    __atomic_fetch_add(&started, 1, __ATOMIC_SEQ_CST);
    usleep(5000);
    return *(int *)arg;
}
static void wait_for_jobs(int n) {
    while (__atomic_load_n(&started, __ATOMIC_SEQ_CST) < n) usleep(100);
    started = 0;
}
struct lends {
    aio_frame aio;
    aio_op op[2];
    aio_task *t;
    int n;
};
aio_async(lends) {
    self->n = 8;
    assert_result(aio_start(&self->op[0], aio_to_thread(unstoppable, &self->n)), 0);
    assert_result(aio_start(&self->op[1], aio_to_thread(unstoppable, &self->n)), 0);
    self->t = aio_spawn(watcher, .op = &self->op[0]);
    aio_detach(aio_spawn(watcher, .op = &self->op[1]));
    aio_await(aio_next_turn());
    aio_await(aio_next_turn());
    wait_for_jobs(2);
    return 6;
}
aio_end static void contract_6_others_wait_for_a_frames_op(void **state) {
    (void)state;
    aio_task *t = core_spawn(lends);
    core_turn();
    aio_task *w = aio_task_retain(aio_task_frame(lends, t)->t);
    aio_detach(w);
    assert_result(core_run(t), 6);
    assert_result(core_run(w), 8);
    aio_detach(t);
    aio_detach(w);
}

// --- races
struct race {
    aio_frame aio;
    int mode;
    aio_op op[3], *pointers[2];
    aio_future f, g;
    int64_t at;
};
aio_async(race) {
    aio_result r;
    aio_await(r, aio_race(self->op, 0));
    assert_result(r, -EINVAL);
    assert_result(aio_start(&self->op[0], aio_sleep(2 * AIO_SECOND)), 0);
    aio_await(r, aio_race(self->op, 2));
    assert_result(r, -EINVAL);               // the second is not started
    assert_false(aio_op_done(&self->op[0])); // and the first goes on
    assert_result(aio_start(&self->op[1], aio_sleep(1 * AIO_SECOND)), 0);
    assert_result(aio_start(&self->op[2], aio_future_wait(&self->f)), 0);
    aio_await(r, aio_race(self->op, 3));
    assert_result(r, 1);
    assert_result(aio_op_result(&self->op[0]), -ECANCELED);
    assert_result(aio_op_result(&self->op[1]), 0);
    assert_result(aio_op_result(&self->op[2]), -ECANCELED);
    assert_true(aio_future_cancelled(&self->f));
    assert_result(aio_task_cancelling(aio_current_task()), 0);
    // two at once: the first that ended, the other keeps its result
    self->f.flags = 0;
    self->f.loop = NULL;
    for (int i = 0; i < 2; i++) assert_result(aio_start(&self->op[i], aio_sleep(AIO_SECOND)), 0);
    self->pointers[0] = &self->op[1];
    self->pointers[1] = &self->op[0];
    aio_await(r, aio_race(self->pointers, 2));
    assert_result(r, 1); // op[0]'s timer is the older one
    assert_result(aio_op_result(&self->op[0]), 0);
    assert_result(aio_op_result(&self->op[1]), 0);
    // at once
    assert_result(aio_start(&self->op[0], aio_sleep(AIO_SECOND)), 0);
    assert_result(aio_start(&self->op[1], aio_next_turn()), 0);
    assert_result(aio_start(&self->op[2], aio_next_turn()), 0);
    self->at = aio_loop_time(aio_running_loop());
    aio_await(r, aio_race(self->op, 3));
    assert_result(r, 1);
    assert_result(aio_loop_time(aio_running_loop()), self->at);
    assert_result(aio_op_result(&self->op[0]), -ECANCELED);
    assert_result(aio_op_result(&self->op[2]), 0);
    return 0;
}
aio_end static void contract_race(void **state) {
    (void)state;
    aio_task *t = core_spawn(race);
    assert_result(core_run(t), 0);
    aio_detach(t);
    assert_reports("");
}
// The awaiter of a race is cancelled before, while it waits, and while the losers end.
struct cancelled_race {
    aio_frame aio;
    aio_op op[3];
    int n;
    aio_result r;
    bool won;
};
aio_async(cancelled_race) {
    assert_result(aio_start(&self->op[0], aio_sleep(self->won ? 0 : AIO_SECOND)), 0);
    assert_result(aio_start(&self->op[1], aio_to_thread(unstoppable, &self->n)), 0);
    assert_result(aio_start(&self->op[2], aio_sleep(AIO_FOREVER)), 0);
    // A job that has not begun would be dropped when the race is won at once.
    while (self->won && !__atomic_load_n(&started, __ATOMIC_SEQ_CST)) usleep(100);
    aio_await(self->r, aio_race(self->op, 3));
    say("%lld ", (long long)self->r);
    for (int i = 0; i < 3; i++) {
        aio_result r = aio_op_result(&self->op[i]);
        say("%lld ", (long long)r);
    }
    return self->r;
}
aio_end static void C_12_a_race_is_cancelled(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        aio_task *t = core_spawn(cancelled_race, .n = 8, .won = i == 2);
        core_turn();
        if (i == 1) core_turn();
        wait_for_jobs(1);                // it runs: its result stands
        assert_true(aio_task_cancel(t)); // i == 2: there is a winner, and the losers end
        assert_result(core_run(t), -ECANCELED);
        assert_trace(i == 2 ? "-125 0 8 -125 " : "-125 -125 8 -125 ");
        aio_detach(t);
    }
}
// All kinds in one race; each of them wins once.
enum { KINDS = 8 };
struct mixed {
    aio_frame aio;
    int winner, fd, n, item, room[1];
    aio_op op[KINDS];
    aio_future f;
    aio_event e;
    aio_lock k;
    aio_semaphore s;
    aio_queue q;
    aio_task *t;
    char buf[8];
    aio_result r;
};
static aio_result quick(void *arg) {
    return *(int *)arg;
}
static aio_result slow(void *arg) {
    usleep(30000);
    return *(int *)arg;
}
aio_async(mixed) {
    self->k.locked = true;
    aio_semaphore_init(&self->s, 0, 0);
    aio_queue_init(&self->q, self->room, sizeof(int), 1, 0, NULL, NULL);
    self->t = aio_spawn(refuses);
    assert_result(aio_start(&self->op[0], aio_sleep(self->winner == 0 ? 1 : AIO_FOREVER)), 0);
    assert_result(aio_start(&self->op[1], aio_future_wait(&self->f)), 0);
    assert_result(aio_start(&self->op[2], aio_event_wait(&self->e)), 0);
    assert_result(aio_start(&self->op[3], aio_lock_acquire(&self->k)), 0);
    assert_result(aio_start(&self->op[4], aio_semaphore_acquire(&self->s)), 0);
    assert_result(aio_start(&self->op[5], aio_queue_get(&self->q, &self->item)), 0);
    assert_result(aio_start(&self->op[6], aio_recv(self->fd, self->buf, 8, 0)), 0);
    assert_result(
        aio_start(&self->op[7], aio_to_thread(self->winner == 7 ? quick : slow, &self->n)), 0);
    aio_await(self->r, aio_race(self->op, KINDS));
    assert_result(self->r, self->winner);
    for (int i = 0; i < KINDS; i++) {
        aio_result r = aio_op_result(&self->op[i]);
        static const int values[] = {0, 11, 0, 0, 0, 0, 2, 77};
        if (i == self->winner)
            assert_result(r, values[i]);
        else if (i == 7)
            assert_true(r == 77 || r == -ECANCELED);
        else
            assert_result(r, -ECANCELED);
    }
    aio_detach(self->t);
    return 0;
}
aio_end struct poke {
    aio_frame aio;
    struct mixed *m;
};
aio_async(poke) {
    struct mixed *m = self->m;
    int item = 5;
    if (m->winner == 1) aio_future_set_result(&m->f, 11);
    if (m->winner == 2) aio_event_set(&m->e);
    if (m->winner == 3) aio_lock_release(&m->k);
    if (m->winner == 4) aio_semaphore_release(&m->s);
    if (m->winner == 5) aio_queue_put_nowait(&m->q, &item);
    if (m->winner == 6) assert_int_equal(write(peers.pair[1], "hi", 2), 2);
    return 0;
}
aio_end static void contract_race_of_all_kinds(void **state) {
    (void)state;
    need_ring();
    for (int winner = 0; winner < KINDS; winner++) {
        peers_open();
        real_clock();
        aio_task *t = core_spawn(mixed, .winner = winner, .fd = peers.pair[0], .n = 77);
        core_turn();
        aio_detach(core_spawn(poke, .m = aio_task_frame(mixed, t)));
        assert_result(core_run(t), 0);
        struct mixed *m = aio_task_frame(mixed, t);
        assert_result(m->item, winner == 5 ? 5 : 0);
        assert_result(aio_lock_locked(&m->k), 1);
        aio_detach(t);
        assert_result(core.loop.in_flight, 0);
        while (core.loop.executor.first) aio_task_cancel(core.loop.executor.first), core_turn();
        peers_close();
    }
    assert_reports("");
}
// Op of an op.
struct tower {
    aio_frame aio;
    aio_op a, b;
};
aio_async(tower) {
    aio_result r;
    assert_result(aio_start(&self->a, aio_sleep(AIO_SECOND)), 0);
    assert_result(aio_start(&self->b, aio_op_wait(&self->a)), 0);
    aio_await(r, aio_op_wait(&self->b));
    assert_result(r, 0);
    assert_result(aio_start(&self->a, aio_sleep(AIO_SECOND)), 0);
    assert_result(aio_start(&self->b, aio_op_wait(&self->a)), 0);
    assert_true(aio_op_cancel(&self->b));
    assert_result(aio_op_result(&self->b), -ECANCELED);
    assert_result(aio_op_result(&self->a), -EINVAL); // taken by b
    assert_result(aio_start(&self->a, aio_sleep(AIO_SECOND)), 0);
    assert_result(aio_start(&self->b, aio_op_wait(&self->a)), 0);
    return 1;
}
aio_end static void contract_an_op_of_an_op(void **state) {
    (void)state;
    aio_task *t = core_spawn(tower);
    assert_result(core_run(t), 1);
    aio_detach(t);
}
// aio_op_wait with a limit: what the kernel did stands (contract 3).
struct limited {
    aio_frame aio;
    int fd;
    aio_op op;
    char buf[8];
};
aio_async(limited) {
    aio_result r;
    assert_result(aio_start(&self->op, aio_recv(self->fd, self->buf, 8, 0)), 0);
    aio_await(r, aio_wait_for(5 * AIO_MSEC, aio_op_wait(&self->op)));
    assert_result(r, -ETIMEDOUT);
    assert_false(aio_op_done(&self->op)); // taken by the wait that was cancelled
    assert_result(aio_start(&self->op, aio_recv(self->fd, self->buf, 8, 0)), 0);
    assert_int_equal(write(peers.pair[1], "hello", 5), 5);
    aio_await(r, aio_op_wait(&self->op));
    assert_result(r, 5);
    return 0;
}
aio_end static void contract_3_a_limit_on_an_op(void **state) {
    (void)state;
    need_ring();
    real_clock();
    peers_open();
    aio_task *t = core_spawn(limited, .fd = peers.pair[0]);
    assert_result(core_run(t), 0);
    aio_detach(t);
    peers_close();
}

// --- cancelled at every step
struct every {
    aio_frame aio;
    int fd, listener, n, item, room[1];
    aio_op op[6];
    aio_lock k;
    aio_queue q;
    aio_task *t;
    char buf[8];
    aio_result r;
};
aio_async(every) {
    self->n = 3;
    self->k.locked = true;
    aio_queue_init(&self->q, self->room, sizeof(int), 1, 0, NULL, NULL);
    self->t = aio_spawn(holds, .n = 1);
    if (self->fd) {
        aio_start(&self->op[0], aio_recv(self->fd, self->buf, 8, 0));
        aio_start(&self->op[1], aio_accept(self->listener));
        aio_try(aio_race(self->op, 2));
        self->r = aio_op_result(&self->op[1]);
        if (self->r >= 0) close((int)self->r);
    }
    aio_start(&self->op[2], aio_join(self->t));
    aio_start(&self->op[3], aio_lock_acquire(&self->k));
    aio_start(&self->op[4], aio_queue_get(&self->q, &self->item));
    aio_start(&self->op[5], aio_to_thread(unstoppable, &self->n));
    aio_try(aio_race(&self->op[2], 4));
    aio_try(aio_op_wait(&self->op[5]));
    if (self->fd) aio_start(&self->op[1], aio_accept(self->listener));
    aio_start(&self->op[5], aio_to_thread(unstoppable, &self->n));
    aio_try(aio_next_turn());
    return 0;
}
aio_end static aio_result one_more(aio_loop *loop, void *arg) // each run accepts one
{
    struct sockaddr_in a;
    socklen_t size = sizeof a;
    (void)loop;
    (void)arg;
    close(peers.client);
    getsockname(peers.listener, (struct sockaddr *)&a, &size);
    peers.client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connect(peers.client, (struct sockaddr *)&a, sizeof a);
    return 0;
}
static aio_task *every_main(aio_loop *loop, void *arg) {
    (void)arg;
    return aio_spawn_on(loop, every, .fd = ring ? peers.pair[0] : 0, .listener = peers.listener);
}
static void contract_6_cancelled_at_every_step(void **state) {
    (void)state;
    peers_open();
    struct steps s = {.spawn = every_main, .prepare = one_more, .victims = 2, .limit = 40};
    assert_true(steps_run(&s) > 6);
    s.real_clock = true;
    assert_true(steps_run(&s) > 6);
    peers_close();
}

// T-11: its frame returns, and what the op waits for ends with that frame's task.
struct awaits_task { aio_frame aio; aio_task **t; };
aio_async(awaits_task) {
    aio_try(aio_future_wait(aio_task_future(*self->t)));
    return 0;
} aio_end
struct waits_for_own_end { aio_frame aio; int how; aio_task *t[2], *self_; aio_op op, outer; };
aio_async(waits_for_own_end) {
    self->self_ = aio_current_task();
    self->t[0] = aio_spawn(awaits_task, .t = &self->self_);
    self->t[1] = aio_spawn(awaits_task, .t = &self->t[0]);
    aio_try(aio_sleep(1));
    aio_future *of[3] = { aio_task_future(self->self_), aio_task_future(self->t[0]),
                          aio_task_future(self->t[1]) };
    assert_result(aio_start(&self->op, aio_future_wait(of[self->how % 3])), 0);
    if (self->how >= 3) assert_result(aio_start(&self->outer, aio_op_wait(&self->op)), 0);
    for (int i = 0; i < 2; i++) aio_detach(self->t[i]);
    return 7;
} aio_end
static void T_11_an_op_waits_for_the_end_of_its_own_task(void **state)
{
    (void)state;
    for (int how = 0; how < 6; how++) {
        aio_task *t = core_spawn(waits_for_own_end, .how = how);
        aio_result r = core_run(t);
        assert_true(r == 7 || r == -ECANCELED);         // it is cancelled by its own cancel
        aio_detach(t);
        core_settle();
        assert_result(core.loop.executor.live, 0);
    }
}

int main(void) {
    aio_loop l;
    ring = aio_loop_init(&l, NULL) == 0 && aio_uring_attach(&l, NULL) == 0;
    aio_loop_close(&l);
    const struct CMUnitTest tests[] = {
        core_test(contract_op_done_at_once),
        core_test(contract_op_later_and_the_result_is_kept),
        core_test(contract_op_refuses_what_needs_a_task),
        core_test(WF_4_an_owned_job_that_never_begins),
        core_test(contract_6_the_value_of_a_joined_task),
        core_test(C_5_through_an_op_of_a_join),
        core_test(T_11_a_cycle_of_ops),
        core_test(C_5_through_a_hundred_thousand_ops),
        core_test(contract_6_a_frame_ends_its_ops),
        core_test(contract_6_kernel_operations_of_a_frame),
        core_test(contract_11_a_loop_closed_over_ops),
        core_test(contract_6_others_wait_for_a_frames_op),
        core_test(contract_race),
        core_test(C_12_a_race_is_cancelled),
        core_test(contract_race_of_all_kinds),
        core_test(contract_an_op_of_an_op),
        core_test(contract_3_a_limit_on_an_op),
        core_test(contract_6_cancelled_at_every_step),
        core_test(T_11_an_op_waits_for_the_end_of_its_own_task),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
