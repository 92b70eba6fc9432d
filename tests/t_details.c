// Details that a mutation study (tools/mutate) found no test to look at.
#include "core.h"

// --- memory: slabs grow, so that many tasks take few allocations
struct sleeper { aio_frame aio; };
aio_async(sleeper) {
    aio_try(aio_sleep(AIO_SECOND));
    return 0;
} aio_end

static void many_tasks_take_few_slabs(void **state)
{
    (void)state;
    enum { TASKS = 4096 };
    long before = core.memory.calls;
    for (int i = 0; i < TASKS; i++) aio_detach(core_spawn(sleeper));
    // A slab of 64 KiB holds a hundred tasks and more; one of the first size not ten.
    assert_in_range(core.memory.calls - before, 1, TASKS / 50);
    assert_result(aio_loop_run_forever(&core.loop), -EDEADLK);
    core_forget_reports();
}

// --- ends that are told while ends are told: nobody is forgotten
enum { WIDE = 3 };
struct tree {
    aio_frame aio;
    aio_future f;
    aio_op root, child[WIDE], leaf[WIDE][WIDE], last[WIDE][WIDE][WIDE];
    int i, j, k;
};
aio_async(tree) {
    assert_result(aio_start(&self->root, aio_future_wait(&self->f)), 0);
    for (self->i = 0; self->i < WIDE; self->i++) {
        aio_start(&self->child[self->i], aio_op_wait(&self->root));
        for (self->j = 0; self->j < WIDE; self->j++) {
            aio_start(&self->leaf[self->i][self->j], aio_op_wait(&self->child[self->i]));
            for (self->k = 0; self->k < WIDE; self->k++)
                aio_start(&self->last[self->i][self->j][self->k],
                          aio_op_wait(&self->leaf[self->i][self->j]));
        }
    }
    aio_future_set_result(&self->f, 7);
    aio_try(aio_sleep(1));
    for (self->i = 0; self->i < WIDE; self->i++)
        for (self->j = 0; self->j < WIDE; self->j++)
            for (self->k = 0; self->k < WIDE; self->k++) {
                aio_op *op = &self->last[self->i][self->j][self->k];
                say("%d", aio_op_done(op) ? (int)aio_op_result(op) : -1);
            }
    return 0;
} aio_end

static void an_end_reaches_every_op_of_a_tree(void **state)
{
    (void)state;
    aio_task *t = core_spawn(tree);
    assert_result(core_run(t), 0);
    aio_detach(t);
    assert_trace("777777777777777777777777777");
}

// --- a gather that does not begin leaves no mark on tasks that go on
struct refused {
    aio_frame aio;
    aio_op op;
    aio_task *t, *again;
};
aio_async(refused) {
    self->t = aio_spawn(sleeper);
    self->again = aio_task_retain(self->t);
    assert_result(aio_start(&self->op, aio_sleep(AIO_FOREVER)), 0);
    assert_result(aio_start(&self->op, aio_gather(&self->t, NULL, 1)), -EBUSY);
    assert_non_null(self->t); // it has not ended: the handle stays
    aio_try(aio_sleep(2 * AIO_SECOND));
    assert_result(aio_start(&self->op, aio_gather(&self->t, NULL, 1)), -EBUSY);
    assert_null(self->t); // taken, and given up: one handle is left
    assert_int_equal(self->again->waiter.future.refs, 1);
    aio_detach(self->again);
    return aio_op_cancel(&self->op) ? 0 : -EINVAL;
} aio_end

static void a_refused_gather_gives_up_what_has_ended(void **state)
{
    (void)state;
    aio_task *t = core_spawn(refused);
    assert_result(core_run(t), 0);
    aio_detach(t);
}

// --- groups: what a report and a second abort do
struct failing { aio_frame aio; };
aio_async(failing) {
    aio_try(aio_sleep(1));
    return -EIO;
} aio_end

struct many_fail { aio_frame aio; aio_group g; aio_result r; };
aio_async(many_fail) {
    aio_group_enter(&self->g);
    for (int i = 0; i < AIO_GROUP_ERRORS + 3; i++) aio_group_spawn(&self->g, failing);
    aio_await(self->r, aio_group_exit(&self->g, 0));
    return self->r;
} aio_end

static void a_group_keeps_so_many_errors_and_no_more(void **state)
{
    (void)state;
    aio_task *t = core_spawn(many_fail);
    assert_result(core_run(t), -EIO);
    const aio_group *g = &aio_task_frame(many_fail, t)->g;
    assert_int_equal(g->error_count, AIO_GROUP_ERRORS + 3);
    assert_result(aio_group_error(g, AIO_GROUP_ERRORS - 1).error, -EIO);
    // Past the end stands whatever follows the group in its frame.
    aio_group_failure none = aio_group_error(g, AIO_GROUP_ERRORS);
    assert_null(none.name);
    assert_result(none.error, 0);
    aio_detach(t);
}

struct slow_to_end { aio_frame aio; };
aio_async(slow_to_end) {
    aio_await(aio_sleep(AIO_SECOND));
    aio_await(aio_sleep(AIO_SECOND));
    return 0;
} aio_end

struct aborted { aio_frame aio; aio_group g; aio_result r; };
aio_async(aborted) {
    aio_group_enter(&self->g);
    aio_group_spawn(&self->g, slow_to_end);
    aio_try(aio_sleep(1));
    aio_await(self->r, aio_group_exit(&self->g, -ENOENT));      // as if the body had failed
    return self->r;
} aio_end

struct meddler { aio_frame aio; aio_task *t; };
aio_async(meddler) {
    aio_try(aio_sleep(AIO_SECOND / 2));
    struct aborted *a = aio_task_frame(aborted, self->t);
    assert_result(aio_group_cancel(&a->g), 0);
    assert_int_equal(aio_task_cancelling(self->t), 0);
    return 0;
} aio_end

static void cancelling_a_group_that_aborts_already_asks_its_parent_nothing(void **state)
{
    (void)state;
    aio_task *t = core_spawn(aborted), *m = core_spawn(meddler, .t = t);
    assert_result(core_run(t), -ENOENT);
    assert_result(core_run(m), 0);
    aio_detach(t);
    aio_detach(m);
}

// --- a semaphore whose unit is promised to a waiter that has not looked yet
static aio_semaphore units;
struct taker { aio_frame aio; };
aio_async(taker) {
    aio_try(aio_semaphore_acquire(&units));
    return 0;
} aio_end

static void a_semaphore_is_locked_until_the_woken_have_looked(void **state)
{
    (void)state;
    assert_result(aio_semaphore_init(&units, 0, 0), 0);
    aio_task *t = core_spawn(taker);
    core_turn();
    assert_result(aio_semaphore_release(&units), 0);
    assert_result(aio_semaphore_release(&units), 0);
    assert_true(aio_semaphore_locked(&units));      // who comes now stands behind it
    assert_result(core_run(t), 0);
    assert_false(aio_semaphore_locked(&units));
    aio_detach(t);
}

// --- a queue: an op's item goes back to its place, an op's put can be taken back
struct giver_back { aio_frame aio; aio_queue *q; int got; aio_op op; };
aio_async(giver_back) {
    assert_result(aio_start(&self->op, aio_queue_get(self->q, &self->got)), 0);
    assert_true(aio_op_done(&self->op));
    return self->got;                               // over an op that has an item
} aio_end

static void an_item_that_nobody_took_goes_back_to_its_place(void **state)
{
    (void)state;
    int room[4], item;
    aio_queue q;
    assert_result(aio_queue_init(&q, room, sizeof(int), 4, 0, NULL, NULL), 0);
    for (int first = 1; first <= 6; first++) {      // the ring goes around
        for (int i = first; i < first + 3; i++)
            if (first == 1 || i == first + 2) assert_result(aio_queue_put_nowait(&q, &i), 0);
        aio_task *t = core_spawn(giver_back, .q = &q);
        assert_result(core_run(t), first);
        aio_detach(t);
        assert_int_equal(aio_queue_count(&q), 3);
        assert_result(aio_queue_get_nowait(&q, &item), 0);
        assert_int_equal(item, first);
    }
}

struct putter { aio_frame aio; aio_queue *q; int item; aio_op op; };
aio_async(putter) {
    self->item = 2;
    assert_result(aio_start(&self->op, aio_queue_put(self->q, &self->item)), 0);
    assert_false(aio_op_done(&self->op));
    assert_true(aio_op_cancel(&self->op));
    aio_try(aio_next_turn());
    assert_true(aio_op_done(&self->op));
    assert_result(aio_op_result(&self->op), -ECANCELED);
    return 0;
} aio_end

static void a_put_that_waits_can_be_taken_back(void **state)
{
    (void)state;
    int room[1], item = 1;
    aio_queue q;
    assert_result(aio_queue_init(&q, room, sizeof(int), 1, 0, NULL, NULL), 0);
    assert_result(aio_queue_put_nowait(&q, &item), 0);
    aio_task *t = core_spawn(putter, .q = &q);
    assert_result(core_run(t), 0);
    aio_detach(t);
    assert_result(aio_queue_get_nowait(&q, &item), 0);
    assert_result(aio_queue_get_nowait(&q, &item), -EAGAIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        core_test(many_tasks_take_few_slabs),
        core_test(an_end_reaches_every_op_of_a_tree),
        core_test(a_refused_gather_gives_up_what_has_ended),
        core_test(a_group_keeps_so_many_errors_and_no_more),
        core_test(cancelling_a_group_that_aborts_already_asks_its_parent_nothing),
        core_test(a_semaphore_is_locked_until_the_woken_have_looked),
        core_test(an_item_that_nobody_took_goes_back_to_its_place),
        core_test(a_put_that_waits_can_be_taken_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
