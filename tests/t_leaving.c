// What a frame leaves behind when it returns, and a cancel that comes meanwhile; limits far down
// the stack; what a closed loop's drop hooks may still touch.
#include "uring.h"

// A job that runs until it is let go.
static struct gate { int fds[2]; int running; } gate;
static int waits_at_gate(void *arg)
{
    char c;
    (void)arg;
    __atomic_store_n(&gate.running, 1, __ATOMIC_SEQ_CST);
    return (int)read(gate.fds[0], &c, 1) + 4;
}
static bool job_runs(void) { return __atomic_load_n(&gate.running, __ATOMIC_SEQ_CST); }
static void gate_opens(void) { assert_int_equal(write(gate.fds[1], "x", 1), 1); }
static int gate_setup(void **state)
{
    (void)state;
    gate.running = 0;
    return pipe(gate.fds);
}
static int gate_teardown(void **state)
{
    (void)state;
    close(gate.fds[0]);
    return close(gate.fds[1]);
}

// --- contract 6: a frame returns over something that takes time to end
static aio_result dropped_value;
struct over_job { aio_frame aio; aio_op op; bool left; };
aio_drop(over_job) {
    dropped_value = dropped;
    return 0;
} aio_end
aio_async(over_job) {
    assert_result(aio_start(&self->op, aio_to_thread(waits_at_gate, 0)), 0);
    while (!job_runs()) aio_try(aio_sleep(AIO_MSEC));
    self->left = true;
    return 7;
} aio_end
struct numbers { aio_frame aio; int value; aio_future *cleanup; bool left; aio_result r; };
aio_async(numbers) {
    aio_yield(self->r, 1);
    self->left = true;
    aio_await(self->r, aio_future_wait(self->cleanup));
    return self->r;
} aio_end
struct over_numbers { aio_frame aio; struct numbers gen; aio_future cleanup; };
aio_async(over_numbers) {
    assert_result(aio_gen_init(&self->gen, numbers, .cleanup = &self->cleanup), 0);
    aio_try(aio_next(&self->gen));
    return 8;
} aio_end
struct caller {
    aio_frame aio;
    bool generator, uncancel, left;
    union { struct over_job job; struct over_numbers numbers; } child;
    aio_result first, second;
};
aio_async(caller) {
    if (self->generator) aio_await(self->first, aio_call(&self->child.numbers, over_numbers));
    else aio_await(self->first, aio_call(&self->child.job, over_job));
    if (self->uncancel) aio_task_uncancel(aio_current_task());
    aio_await(self->second, aio_sleep(0));
    return 0;
} aio_end
struct cancels { aio_frame aio; aio_task *t; bool generator, uncancel; aio_result first, second, r; };
aio_async(cancels) {
    self->t = aio_spawn(caller, .generator = self->generator, .uncancel = self->uncancel);
    struct caller *c;
    for (;;) {
        c = aio_task_frame(caller, self->t);
        if (self->generator ? c->child.numbers.gen.left : c->child.job.left) break;
        aio_try(aio_sleep(AIO_MSEC));
    }
    assert_true(aio_task_cancel(self->t));
    aio_try(aio_sleep(0));
    if (!self->generator) gate_opens();
    aio_task_retain(self->t);
    aio_await(self->r, aio_join(self->t));
    c = aio_task_frame(caller, self->t);
    self->first = c->first;
    self->second = c->second;
    aio_detach(self->t);
    assert_result(self->first, self->generator ? 8 : 7);
    return self->second;
} aio_end
static void contract_6_a_cancel_while_an_op_ends_is_owed(void **state)
{
    (void)state;
    assert_result(run(cancels), -ECANCELED);
    gate.running = 0;
    assert_result(run(cancels, .uncancel = true), 0);           // C-10
}
static void contract_6_a_cancel_while_a_generator_ends_is_owed(void **state)
{
    (void)state;
    assert_result(run(cancels, .generator = true), -ECANCELED);
    assert_result(run(cancels, .generator = true, .uncancel = true), 0);
}
struct cancels_last { aio_frame aio; aio_task *t; aio_result r; };
aio_async(cancels_last) {
    self->t = aio_spawn(over_job);
    while (!aio_task_frame(over_job, self->t)->left) aio_try(aio_sleep(AIO_MSEC));
    assert_true(aio_task_cancel(self->t));
    gate_opens();
    aio_await(self->r, aio_join(self->t));
    return self->r;
} aio_end
static void C_7_a_cancel_while_the_last_frame_leaves(void **state)
{
    (void)state;
    dropped_value = 0;
    assert_result(run(cancels_last), -ECANCELED);
    assert_result(dropped_value, 7);
}

// --- contract 2: an awaitable begins while its caller's locals are there, however little stack is
// left
static bool began_inside;
static bool looks_start(aio_waiter *w, const aio_awaitable *a)
{
    began_inside = (const char *)__builtin_frame_address(0) < (const char *)a->u.cp[0];
    w->future.result = 0;
    return true;
}
static aio_awaitable looks(const void *local)
{
    static const aio_await_class cls = { looks_start, "looks", 0 };
    aio_awaitable a;
    a.cls = &cls;
    a.u.cp[0] = local;
    return a;
}
struct deep { aio_frame aio; int depth; aio_result r; };
aio_async(deep) {
    if (self->depth) {
        aio_await(self->r, aio_call_new(deep, .depth = self->depth - 1));
    } else {
        char local[16];
        aio_await(self->r, aio_wait_for(AIO_SECOND, looks(local)));
    }
    return self->r;
} aio_end
struct all_depths { aio_frame aio; int depth; };
aio_async(all_depths) {
    for (; self->depth < 600; self->depth++) {
        began_inside = false;
        aio_try(aio_call_new(deep, .depth = self->depth));
        assert_true(began_inside);
    }
    return 0;
} aio_end
static void contract_2_limits_far_down_the_stack(void **state)
{
    (void)state;
    assert_result(run(all_depths), 0);
}

// --- contract 11: a drop hook cancels a task whose job is gone
struct waits_for_job { aio_frame aio; };
aio_async(waits_for_job) {
    aio_try(aio_to_thread(waits_at_gate, 0));
    return 0;
} aio_end
struct killer { aio_frame aio; aio_task *victim; };
aio_drop(killer) {
    assert_true(aio_task_cancel(self->victim));
    aio_detach(self->victim);
    return 0;
} aio_end
aio_async(killer) {
    aio_try(aio_sleep(AIO_FOREVER));
    return 0;
} aio_end
static void *opens_gate(void *arg)
{
    usleep(20000);
    gate_opens();
    return arg;
}
static void contract_11_a_drop_hook_cancels_who_waited_for_a_job(void **state)
{
    (void)state;
    pthread_t opener;
    aio_loop l;
    struct aio_loop_options o = uring_options();
    uring_begin();
    assert_result(aio_loop_init(&l, &o), 0);
    aio_task *t = aio_spawn_on(&l, waits_for_job);
    aio_detach(aio_spawn_on(&l, killer, .victim = t));
    aio_loop_stop(&l);
    assert_result(aio_loop_run_forever(&l), 0);
    while (!job_runs()) usleep(1000);
    assert_int_equal(pthread_create(&opener, NULL, opens_gate, NULL), 0);
    assert_result(aio_loop_close(&l), 0);
    pthread_join(opener, NULL);
    uring_check(__FILE__, __LINE__);
}

// --- contract 3: a descriptor that an op got at once, and nobody takes, is closed
struct drops_fds { aio_frame aio; aio_op ops[3]; };
aio_async(drops_fds) {
    assert_result(aio_start(&self->ops[0], aio_socket(AF_INET, SOCK_STREAM, 0)), 0);
    assert_result(aio_start(&self->ops[1], aio_listen_tcp("127.0.0.1", 0)), 0);
    assert_true(aio_op_done(&self->ops[0]) && aio_op_done(&self->ops[1]));
    assert_result(aio_start(&self->ops[2], aio_op_wait(&self->ops[0])), 0);     // holds it now
    assert_true(aio_op_done(&self->ops[2]) && !aio_op_done(&self->ops[0]));
    return 0;
} aio_end
struct takes_fds { aio_frame aio; aio_op op; };
aio_async(takes_fds) {
    assert_result(aio_start(&self->op, aio_socket(AF_INET, SOCK_STREAM, 0)), 0);
    return close((int)aio_op_result(&self->op));
} aio_end
static void contract_3_descriptors_of_ops_that_ended_at_once(void **state)
{
    (void)state;
    assert_result(run(drops_fds), 0);
    assert_result(run(takes_fds), 0);
}

// --- contract 6: a value that a group's error replaces is released
struct naps { aio_frame aio; aio_result r; };
aio_async(naps) {
    aio_await(self->r, aio_sleep(AIO_FOREVER));
    aio_await(aio_sleep(0));
    return self->r;
} aio_end
struct over_group { aio_frame aio; aio_group group; };
aio_drop(over_group) {
    dropped_value = dropped;
    return 0;
} aio_end
aio_async(over_group) {
    assert_result(aio_group_enter(&self->group), 0);
    aio_group_spawn(&self->group, naps);
    aio_try(aio_sleep(0));
    return 42;
} aio_end
struct cancels_group { aio_frame aio; aio_task *t; aio_result r; int turns; };
aio_async(cancels_group) {
    self->t = aio_spawn(over_group);
    for (self->turns = 4; self->turns--;) aio_try(aio_sleep(0));
    assert_true(aio_task_cancel(self->t));
    aio_await(self->r, aio_join(self->t));
    return self->r;
} aio_end
static void C_7_a_value_that_a_group_replaces(void **state)
{
    (void)state;
    dropped_value = 0;
    assert_result(run(cancels_group), -ECANCELED);
    assert_result(dropped_value, 42);
}

// --- contract 11: what is left of a task in the user's storage
struct in_slot { aio_frame aio; };
aio_async(in_slot) {
    aio_try(aio_sleep(AIO_FOREVER));
    return 0;
} aio_end
static aio_slot(in_slot) slot;
struct spawns_in { aio_frame aio; };
aio_async(spawns_in) {
    aio_task *t = aio_spawn_in(&slot, in_slot);
    return aio_task_set_user(t, self);
} aio_end
static void contract_11_a_task_in_a_slot(void **state)
{
    (void)state;
    aio_loop l;
    struct aio_loop_options o = uring_options();
    uring_begin();
    assert_result(aio_loop_init(&l, &o), 0);
    assert_result(aio_loop_run_until_complete(&l, aio_spawn_on(&l, spawns_in)), 0);
    assert_non_null(aio_task_user(&slot.task));
    assert_result(aio_loop_close(&l), 0);
    assert_true(aio_task_done(&slot.task));
    assert_null(aio_task_user(&slot.task));
    uring_check(__FILE__, __LINE__);
}

// --- TH-3: no memory to watch a task that another thread spawned, and a cancel on its way
static void TH_3_a_cancel_after_a_refused_start(void **state)
{
    (void)state;
    for (int tasks = 12; tasks < 17; tasks++) {         // slots: one of these fills the ready ring
        aio_loop l;
        struct aio_loop_options o = uring_options();
        uring_begin();
        assert_result(aio_loop_init(&l, &o), 0);
        for (int i = 0; i < tasks; i++) aio_detach(aio_spawn_on(&l, in_slot));
        aio_detach(aio_spawn_on(&l, naps));             // a block for what is spawned below
        aio_loop_stop(&l);
        assert_result(aio_loop_run_forever(&l), 0);
        aio_task_cancel(l.executor.last);
        for (int i = 0; i < 3; i++) aio_loop_stop(&l), aio_loop_run_forever(&l);
        uring_memory.fail_from = 1;
        aio_thread_future *f = aio_spawn_threadsafe(&l, naps);
        assert_true(aio_thread_future_cancel(f));
        for (int i = 0; i < 5; i++) aio_loop_stop(&l), aio_loop_run_forever(&l);
        aio_result r = aio_thread_future_result(f);
        assert_true(r == -ENOMEM || r == -ECANCELED);
        aio_thread_future_release(f);
        assert_result(aio_loop_close(&l), 0);
        expect_reports();
        uring_check(__FILE__, __LINE__);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(contract_6_a_cancel_while_an_op_ends_is_owed, gate_setup,
                                        gate_teardown),
        cmocka_unit_test(contract_6_a_cancel_while_a_generator_ends_is_owed),
        cmocka_unit_test_setup_teardown(C_7_a_cancel_while_the_last_frame_leaves, gate_setup,
                                        gate_teardown),
        cmocka_unit_test(contract_2_limits_far_down_the_stack),
        cmocka_unit_test_setup_teardown(contract_11_a_drop_hook_cancels_who_waited_for_a_job,
                                        gate_setup, gate_teardown),
        cmocka_unit_test(contract_3_descriptors_of_ops_that_ended_at_once),
        cmocka_unit_test(C_7_a_value_that_a_group_replaces),
        cmocka_unit_test(contract_11_a_task_in_a_slot),
        cmocka_unit_test(TH_3_a_cancel_after_a_refused_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
