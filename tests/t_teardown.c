// A loop that closes over tasks, with hooks that act: they cancel, complete, give up and free what
// they know, close the loop again. Nobody is resumed, nothing is freed twice or too early, every
// value is given back.
#include "core.h"

static void turns(int n)
{
    while (n--) {
        aio_loop_stop(&core.loop);
        assert_result(aio_loop_run_forever(&core.loop), 0);
    }
}
// Closes the loop with its tasks; `lost`: how many are told.
static void close_over(unsigned lost)
{
    assert_result(aio_loop_close(&core.loop), 0);
    assert_int_equal(core_count("task was destroyed but it is pending"), lost);
    core_forget_reports();
    assert_int_equal(core.memory.blocks, 0);
}

static void again(void)
{
    struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
    assert_result(aio_loop_init(&core.loop, &o), 0);
}

struct sleeps { aio_frame aio; int64_t ns; };
aio_async(sleeps) {
    aio_try(aio_sleep(self->ns));
    return 0;
} aio_end

// --- handles
static int never(void *arg)
{
    (void)arg;
    fail();
    return 0;
}
struct object { aio_handle later, soon, sent; };
struct frees_handles { aio_frame aio; struct object *o; };
aio_drop(frees_handles) {
    aio_handle_cancel(&self->o->later);
    aio_handle_cancel(&self->o->soon);
    aio_handle_cancel(&self->o->sent);
    free(self->o);
    return 0;
} aio_end
aio_async(frees_handles) {
    aio_try(aio_sleep(AIO_FOREVER));
    return 0;
} aio_end
struct cancels { aio_frame aio; aio_task *t[3]; };
aio_drop(cancels) {
    for (int i = 0; i < 3 && self->t[i]; i++) {
        aio_task_cancel(self->t[i]);
        aio_detach(self->t[i]);
    }
    return 0;
} aio_end
aio_async(cancels) {
    aio_try(aio_sleep(AIO_FOREVER));
    return 0;
} aio_end
struct waits_a_while { aio_frame aio; aio_task *t; };
aio_drop(waits_a_while) {
    aio_detach(self->t);
    return 0;
} aio_end
aio_async(waits_a_while) {
    self->t = aio_spawn(sleeps, .ns = 50);
    aio_try(aio_wait_timeout(&self->t, 1, AIO_ALL_COMPLETED, 20));
    return 0;
} aio_end
static void contract_11_hooks_cancel_timers_and_sleepers(void **state)
{
    (void)state;
    struct object *o = (struct object *)calloc(1, sizeof *o);
    assert_non_null(o);
    aio_task *a = aio_spawn_on(&core.loop, sleeps, .ns = 10);
    aio_task *b = aio_spawn_on(&core.loop, waits_a_while);
    aio_task *c = aio_spawn_on(&core.loop, sleeps, .ns = 30);
    aio_detach(aio_spawn_on(&core.loop, cancels, .t[0] = a, .t[1] = b, .t[2] = c));
    aio_detach(aio_spawn_on(&core.loop, frees_handles, .o = o));
    turns(3);
    assert_result(aio_call_later(&core.loop, &o->later, 5, never, 0), 0);
    assert_result(aio_call_soon(&core.loop, &o->soon, never, 0), 0);
    assert_result(aio_call_soon_threadsafe(&core.loop, &o->sent, never, 0), 0);
    close_over(6);
}
static int counts(void *arg)
{
    ++*(int *)arg;
    return 0;
}
static void L_12_a_handle_outlives_its_loop(void **state)
{
    (void)state;
    aio_handle ran, waits;
    int n = 0;
    assert_result(aio_call_soon(&core.loop, &ran, counts, &n), 0);
    assert_result(aio_call_later(&core.loop, &waits, 10, counts, &n), 0);
    turns(1);
    close_over(0);
    memset((void *)&core.loop, 0xa5, sizeof core.loop);         // it is gone
    aio_handle_cancel(&ran);
    aio_handle_cancel(&waits);
    assert_int_equal(n, 1);
    assert_result(aio_loop_init(&core.loop, 0), 0);
}

// --- shields: "has ended" is not "was destroyed"
struct shields { aio_frame aio; aio_task *t, **shared; };
aio_drop(shields) {
    if (self->t) aio_detach(self->t);
    return 0;
} aio_end
aio_async(shields) {
    *self->shared = self->t = aio_spawn(sleeps, .ns = 10);
    aio_try(aio_shield(self->t));
    return 0;
} aio_end
struct shields_too { aio_frame aio; aio_task **t; };
aio_async(shields_too) {
    while (!*self->t) aio_try(aio_next_turn());
    aio_try(aio_shield(*self->t));
    return 0;
} aio_end
static void contract_11_shields_of_a_task_that_is_destroyed(void **state)
{
    (void)state;
    aio_task *shared = NULL;
    aio_task *a = aio_spawn_on(&core.loop, shields, .shared = &shared);
    aio_task *b = aio_spawn_on(&core.loop, shields_too, .t = &shared);
    aio_detach(aio_spawn_on(&core.loop, cancels, .t[0] = b, .t[1] = a));
    turns(4);
    close_over(4);
}

// --- what a hook may call
struct calls_all { aio_frame aio; aio_future *f; };
static aio_handle handle;
aio_drop(calls_all) {
    assert_result(aio_loop_close(&core.loop), -EBUSY);
    assert_result(aio_loop_run_forever(&core.loop), -EBADFD);
    assert_result(aio_sim_advance(&core.loop, 1), -EBADFD);
    assert_result(aio_call_soon(&core.loop, &handle, never, 0), -EBADFD);
    assert_result(aio_call_later(&core.loop, &handle, 1, never, 0), -EBADFD);
    assert_result(aio_call_soon_threadsafe(&core.loop, &handle, never, 0), -EBADFD);
    assert_result(aio_loop_post(&core.loop, 1), -EBADFD);
    aio_task *t = aio_spawn_on(&core.loop, sleeps, .ns = 1);
    assert_result(aio_task_result(t), -EBADFD);
    aio_future_set_result(self->f, 1);
    aio_future_destroy(self->f);
    return 0;
} aio_end
aio_async(calls_all) {
    aio_try(aio_future_wait(self->f));
    return 0;
} aio_end
static void L_12_a_hook_closes_the_loop_again(void **state)
{
    (void)state;
    aio_future f;
    memset(&f, 0, sizeof f);
    aio_detach(aio_spawn_on(&core.loop, calls_all, .f = &f));
    aio_detach(aio_spawn_on(&core.loop, calls_all, .f = &f));
    turns(1);
    aio_detach(aio_spawn_on(&core.loop, calls_all, .f = &f));   // never began
    assert_result(aio_loop_close(&core.loop), 0);
    assert_int_equal(core_count("task was destroyed but it is pending"), 3);
    core_forget_reports();
}
static void closes(aio_loop *loop, const struct aio_report *r, void *context)
{
    (void)r;
    (void)context;
    assert_result(aio_loop_close(loop), -EBUSY);
    core.reports_at++;
}
static void L_12_the_error_hook_closes_the_loop_again(void **state)
{
    (void)state;
    aio_loop l;
    struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
    o.on_error = closes;
    assert_result(aio_loop_init(&l, &o), 0);
    aio_detach(aio_spawn_on(&l, sleeps, .ns = 1));
    assert_result(aio_loop_close(&l), 0);
    assert_int_equal(core.reports_at, 1);
    core_forget_reports();
}

// --- every wait on what a later hook frees: the hooks of the newest tasks run first
struct things {
    aio_lock lock, held;
    aio_condition condition;
    aio_semaphore semaphore;
    aio_barrier barrier;
    aio_event event;
    aio_queue empty, full, unfinished;
    int storage[3];
    aio_future future, *futures[2], other;
    aio_group *group;
};
enum {
    LOCK, CONDITION, RELOCK, SEMAPHORE, BARRIER, EVENT, GET, PUT, QUEUE_JOIN, FUTURE, WAIT, WAIT_LIMIT,
    LIMIT, COMPLETED, RACE, OPS, GENERATOR, TICKER, WAYS
};
struct waits_inside { aio_frame aio; int value; struct things *w; aio_timeout limit; };
aio_async(waits_inside) {
    aio_try(aio_timeout_enter(&self->limit, AIO_SECOND));
    aio_try(aio_event_wait(&self->w->event));
    aio_yield(1);
} aio_end
struct waits {
    aio_frame aio;
    struct things *w;
    int how, item;
    aio_op ops[4], *op[2];
    aio_completed it;
    aio_ticks ticks;
    aio_timeout limit;
    struct waits_inside inside;
};
aio_drop(waits) {                                   // all of it is harmless
    aio_completed_close(&self->it);
    (void)aio_timeout_exit(&self->limit, 0);
    for (int i = 0; i < 4; i++) {
        (void)aio_op_cancel(&self->ops[i]);
        (void)aio_op_result(&self->ops[i]);
    }
    return 0;
} aio_end
aio_async(waits) {
    aio_try(aio_timeout_enter(&self->limit, AIO_SECOND));
    switch (self->how) {
    case LOCK: aio_try(aio_lock_acquire(&self->w->held)); break;
    case CONDITION:
    case RELOCK:
        aio_try(aio_lock_acquire(&self->w->lock));
        aio_try(aio_condition_wait(&self->w->condition));
        break;
    case SEMAPHORE: aio_try(aio_semaphore_acquire(&self->w->semaphore)); break;
    case BARRIER: aio_try(aio_barrier_wait(&self->w->barrier)); break;
    case EVENT: aio_try(aio_event_wait(&self->w->event)); break;
    case GET: aio_try(aio_queue_get(&self->w->empty, &self->item)); break;
    case PUT: aio_try(aio_queue_put(&self->w->full, &self->item)); break;
    case QUEUE_JOIN: aio_try(aio_queue_join(&self->w->unfinished)); break;
    case FUTURE: aio_try(aio_future_wait(&self->w->future)); break;
    case WAIT: aio_try(aio_wait(self->w->futures, 2, AIO_ALL_COMPLETED)); break;
    case WAIT_LIMIT:
        aio_try(aio_wait_timeout(self->w->futures, 2, AIO_ALL_COMPLETED, AIO_SECOND));
        break;
    case LIMIT: aio_try(aio_wait_for(AIO_SECOND, aio_lock_acquire(&self->w->held))); break;
    case COMPLETED:
        aio_try(aio_completed_init(&self->it, self->w->futures, 2, AIO_SECOND));
        aio_try(aio_completed_next(&self->it));
        break;
    case RACE:
    case OPS:
        aio_try(aio_start(&self->ops[0], aio_lock_acquire(&self->w->held)));
        aio_try(aio_start(&self->ops[1], aio_future_wait(&self->w->future)));
        aio_try(aio_start(&self->ops[2], aio_op_wait(&self->ops[0])));
        aio_try(aio_start(&self->ops[3], aio_wait(self->w->futures, 2, AIO_FIRST_COMPLETED)));
        if (self->how == RACE) aio_try(aio_race(self->ops, 2));
        aio_try(aio_op_wait(&self->ops[2]));
        break;
    case GENERATOR:
        aio_try(aio_gen_init(&self->inside, waits_inside, .w = self->w));
        aio_try(aio_next(&self->inside));
        break;
    case TICKER:
        aio_try(aio_ticker(&self->ticks, AIO_SECOND));
        aio_try(aio_next(&self->ticks));
        break;
    default: break;
    }
    return 0;
} aio_end
struct frees { aio_frame aio; struct things *w; bool acts; };
aio_drop(frees) {
    struct things *w = self->w;
    if (self->acts) {                               // nobody is there any more
        assert_null(w->held.waiters);
        assert_null(w->condition.waiters);
        assert_null(w->event.waiters);
        assert_null(w->empty.getters);
        assert_null(w->future.watchers);
        (void)aio_lock_release(&w->held);
        (void)aio_condition_notify_all(&w->condition);
        (void)aio_semaphore_release(&w->semaphore);
        aio_barrier_abort(&w->barrier);
        aio_event_set(&w->event);
        aio_queue_shutdown(&w->empty, true);
        (void)aio_queue_get_nowait(&w->full, &w->storage[1]);
        (void)aio_queue_task_done(&w->unfinished);
        (void)aio_future_set_result(&w->future, 1);
        (void)aio_future_cancel(&w->other);
    }
    memset(w, 0xa5, sizeof *w);
    free(w);
    return 0;
} aio_end
aio_async(frees) {
    aio_try(aio_sleep(AIO_FOREVER));
    return 0;
} aio_end
static struct things *things_new(void)
{
    struct things *w = (struct things *)calloc(1, sizeof *w);
    assert_non_null(w);
    w->held.locked = true;
    aio_condition_init(&w->condition, &w->lock);
    assert_result(aio_semaphore_init(&w->semaphore, 0, 0), 0);
    assert_result(aio_barrier_init(&w->barrier, 5), 0);
    assert_result(aio_queue_init(&w->empty, &w->storage[0], sizeof(int), 1, 0, 0, 0), 0);
    assert_result(aio_queue_init(&w->full, &w->storage[1], sizeof(int), 1, 0, 0, 0), 0);
    assert_result(aio_queue_init(&w->unfinished, &w->storage[2], sizeof(int), 1, 0, 0, 0), 0);
    assert_result(aio_queue_put_nowait(&w->full, &w->storage[1]), 0);
    assert_result(aio_queue_put_nowait(&w->unfinished, &w->storage[2]), 0);
    w->futures[0] = &w->future;
    w->futures[1] = &w->other;
    return w;
}
static void contract_11_a_hook_frees_what_others_wait_for(void **state)
{
    (void)state;
    for (int how = 0; how <= WAYS; how++) {         // WAYS: all at once
        for (int k = 0; k < 4; k++) {
            if (how || k) again();
            struct things *w = things_new();
            if (k & 2) aio_detach(aio_spawn_on(&core.loop, frees, .w = w, .acts = k & 1));
            for (int i = 0; i < WAYS; i++)
                if (how == WAYS || how == i)
                    for (int two = 0; two < 2; two++)
                        aio_detach(aio_spawn_on(&core.loop, waits, .w = w, .how = i));
            if (!(k & 2)) aio_detach(aio_spawn_on(&core.loop, frees, .w = w, .acts = k & 1));
            turns(4);
            if (how == RELOCK || how == WAYS) {
                w->lock.locked = true;
                assert_result(aio_condition_notify_all(&w->condition), 0);
                turns(1);                           // they wait for the lock
            }
            close_over(how == WAYS ? 2 * WAYS + 1 : 3);
        }
    }
}

// --- values that nobody took
static int dropped_values, opened_values, taken_values;
struct opens { aio_frame aio; int64_t ns; };
aio_drop(opens) {
    if (dropped >= 0) dropped_values++;
    return 0;
} aio_end
aio_async(opens) {
    aio_try(aio_sleep(self->ns));
    return ++opened_values;
} aio_end
struct has_values { aio_frame aio; int how; aio_group group; aio_op op; aio_task *t[2]; aio_callback cb; };
static int no_callback(aio_future *f, void *arg)
{
    (void)f;
    (void)arg;
    return 0;
}
aio_async(has_values) {
    switch (self->how) {
    case 0:
        assert_result(aio_group_enter(&self->group), 0);
        (void)aio_group_spawn(&self->group, opens, .ns = 2);
        (void)aio_group_spawn(&self->group, opens, .ns = 3);
        break;
    case 1:
        aio_try(aio_join(aio_spawn(opens, .ns = 2)));
        taken_values++;
        break;
    case 2: assert_result(aio_start(&self->op, aio_join(aio_spawn(opens, .ns = 2))), 0); break;
    case 3:
        self->t[0] = aio_spawn(opens, .ns = 2);
        assert_result(aio_future_add_done_callback(aio_task_future(self->t[0]), &self->cb,
                                                   no_callback, 0), 0);
        aio_try(aio_sleep(1));
        aio_detach(self->t[0]);
        break;
    default: break;
    }
    aio_try(aio_sleep(AIO_FOREVER));
    return 0;
} aio_end
static void C_7_values_that_nobody_took_when_the_loop_closes(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        for (int at = 0; at < 12; at++) {
            if (how || at) again();
            dropped_values = opened_values = taken_values = 0;
            aio_detach(aio_spawn_on(&core.loop, has_values, .how = how));
            turns(at);
            assert_result(aio_loop_close(&core.loop), 0);
            core_forget_reports();
            if (how == 3) dropped_values = opened_values;       // detached: nobody wants it
            assert_int_equal(dropped_values + taken_values, opened_values);
        }
    }
}

// --- futures that are older than their loop
struct watches { aio_frame aio; aio_future **f; int how; aio_completed it; aio_op op; };
aio_async(watches) {
    switch (self->how) {
    case 0: aio_try(aio_future_wait(self->f[0])); break;
    case 1: aio_try(aio_wait(self->f, 2, AIO_ALL_COMPLETED)); break;
    case 2: aio_try(aio_wait_timeout(self->f, 2, AIO_ALL_COMPLETED, 5)); break;
    case 3:
        aio_try(aio_completed_init(&self->it, self->f, 2, AIO_FOREVER));
        aio_try(aio_completed_next(&self->it));
        break;
    case 4:
        assert_result(aio_start(&self->op, aio_future_wait(self->f[0])), 0);
        aio_try(aio_op_wait(&self->op));
        break;
    case 5: aio_try(aio_wait_for(5, aio_future_wait(self->f[0]))); break;
    case 6: aio_try(aio_wait(self->f, 1, AIO_ALL_COMPLETED)); break;        // it is told, and left
    default: break;
    }
    return 0;
} aio_end
static void F_10_a_future_outlives_its_loop(void **state)
{
    (void)state;
    for (int how = 0; how < 7; how++) {
        for (int ends = 0; ends < 3; ends++) {
            aio_future one, two, *f[2] = { &one, &two };
            memset(&one, 0, sizeof one);
            memset(&two, 0, sizeof two);
            aio_loop *l = (aio_loop *)malloc(sizeof *l);
            struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
            assert_non_null(l);
            assert_result(aio_loop_init(l, &o), 0);
            aio_detach(aio_spawn_on(l, watches, .f = f, .how = how));
            for (int i = 0; i < 2; i++) {
                aio_loop_stop(l);
                assert_result(aio_loop_run_forever(l), 0);
            }
            if (ends == 1) (void)aio_future_set_error(&one, -EIO);
            assert_result(aio_loop_close(l), 0);
            free(l);
            core_forget_reports();
            if (ends == 2) assert_result(aio_future_set_error(&one, -EIO), 0);
            assert_result(aio_future_destroy(&one), 0);
            assert_result(aio_future_destroy(&two), 0);
        }
    }
}

// --- what is awaited ends its life, with the frame that it is in, before the awaiter goes on
static aio_future *gone[2];
static aio_completed *gone_items;
struct lends { aio_frame aio; aio_future own, other; aio_task *t[1]; aio_completed it; bool ends; };
aio_async(lends) {
    gone[0] = &self->own;
    gone[1] = &self->other;
    self->t[0] = aio_spawn(sleeps, .ns = 100);
    assert_result(aio_completed_init(&self->it, self->t, 1, AIO_FOREVER), 0);
    gone_items = &self->it;
    aio_try(aio_sleep(5));
    if (self->ends) (void)aio_future_set_error(&self->own, -EIO);
    aio_future_destroy(&self->own);
    aio_future_destroy(&self->other);
    aio_detach(self->t[0]);
    return 0;
} aio_end
struct borrows { aio_frame aio; int how; aio_op op; aio_completed it; aio_result r; };
aio_async(borrows) {
    switch (self->how) {
    case 0: aio_await(self->r, aio_future_wait(gone[0])); break;
    case 1: aio_await(self->r, aio_wait(gone, 2, AIO_ALL_COMPLETED)); break;
    case 2: aio_await(self->r, aio_wait(gone, 2, AIO_FIRST_ERROR)); break;
    case 3: aio_await(self->r, aio_wait_timeout(gone, 2, AIO_ALL_COMPLETED, 50)); break;
    case 4: aio_await(self->r, aio_wait_for(50, aio_future_wait(gone[0]))); break;
    case 5: aio_await(self->r, aio_wait_for(50, aio_wait(gone, 2, AIO_ALL_COMPLETED))); break;
    case 6:
        assert_result(aio_start(&self->op, aio_wait(gone, 2, AIO_ALL_COMPLETED)), 0);
        aio_await(self->r, aio_op_wait(&self->op));
        break;
    case 7: aio_await(self->r, aio_completed_next(gone_items)); break;
    case 8: aio_await(self->r, aio_wait_for(50, aio_completed_next(gone_items))); break;
    case 9:
        assert_result(aio_completed_init(&self->it, gone, 2, AIO_FOREVER), 0);
        aio_await(self->r, aio_completed_next(&self->it));
        aio_await(self->r, aio_completed_next(&self->it));
        break;
    case 10:
        aio_try(aio_sleep(4));                          // its end is one turn away
        aio_await(self->r, aio_wait_for(0, aio_future_wait(gone[0])));
        break;
    default: break;
    }
    return self->r;
} aio_end
static void F_8_what_is_awaited_is_gone_before_the_awaiter_goes_on(void **state)
{
    (void)state;
    static const aio_result pending[] =
        { -ECANCELED, 2, 2, 2, -ECANCELED, 2, 2, -ENODATA, -ENODATA, 1, -ETIMEDOUT };
    for (int how = 0; how < 11; how++) {
        for (int ends = 0; ends < 2; ends++) {
            aio_detach(core_spawn(lends, .ends = ends));
            core_turn();
            aio_task *t = core_spawn(borrows, .how = how);
            aio_result expected = pending[how];
            if (ends && (how == 0 || how == 4)) expected = -EIO;
            assert_result(core_run(t), expected);
            aio_detach(t);
            core_forget_reports();
        }
    }
    aio_task *t = core_spawn(sleeps, .ns = 200);
    assert_result(core_run(t), 0);
    aio_detach(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        core_test(contract_11_hooks_cancel_timers_and_sleepers),
        core_test(L_12_a_handle_outlives_its_loop),
        core_test(contract_11_shields_of_a_task_that_is_destroyed),
        core_test(L_12_a_hook_closes_the_loop_again),
        core_test(L_12_the_error_hook_closes_the_loop_again),
        core_test(contract_11_a_hook_frees_what_others_wait_for),
        core_test(C_7_values_that_nobody_took_when_the_loop_closes),
        core_test(F_10_a_future_outlives_its_loop),
        core_test(F_8_what_is_awaited_is_gone_before_the_awaiter_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
