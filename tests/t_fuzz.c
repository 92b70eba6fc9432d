// Programs that chance writes, over the language and time: tasks that spawn, await, cancel, race,
// limit and shield each other, share iterators, locks and queues, return over what is open; drop
// hooks and callbacks that act; memory that is short; loops that are closed in the middle. Then
// nothing is left: every body ended or was dropped once, every value was taken or given back once,
// every unit is back, no block is missing. AIO_SEED=n runs the program of that seed alone,
// AIO_SEEDS=n the first n. TIMEOUT 1200
#include "core.h"

// --- chance
static uint64_t rng;
static uint32_t chance(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)((rng >> 11) % n);
}
static int64_t soon(void) { return chance(4) ? chance(6) : 0; }

// --- the world: what tasks share
enum { KNOWN = 24, FUTURES = 4, HANDLES = 6, UNITS = 2, VALUE = 7 };
struct iterations;
static struct {
    aio_lock lock;
    aio_condition condition;
    aio_semaphore units;
    aio_event event;
    aio_barrier barrier;
    aio_queue queue;
    int storage[2];
    aio_future futures[FUTURES];
    aio_future *waited[2];
    aio_handle handles[HANDLES];
    bool armed[HANDLES];
    aio_callback callbacks[HANDLES];
    bool listed[HANDLES];
    aio_task *known[KNOWN];             // retained
    uint32_t known_count;
    struct iterations *shared;          // open in somebody's frame
    long bodies, values, units_held;    // begun and not over; made and not given back
    uint32_t budget;                    // tasks that may still be spawned
    bool poor, closing;
} w;

static void *poor_allocate(void *context, size_t size)
{
    if (w.poor && !chance(6)) return NULL;
    void *block = test_allocate(context, size);
    if (block) memset(block, 0xa5, size);
    return block;
}
static void knows(aio_task *t)
{
    if (w.known_count < KNOWN) w.known[w.known_count++] = aio_task_retain(t);
}
static aio_task *somebody(void)
{
    return w.known_count ? w.known[chance(w.known_count)] : NULL;
}
static void forget_one(void)
{
    if (!w.known_count) return;
    uint32_t i = chance(w.known_count);
    aio_task *t = w.known[i];
    w.known[i] = w.known[--w.known_count];
    aio_detach(t);
}

// --- acts that do not wait: a step, a callback and a hook may do them at any time
static int acts(void *arg);
static int handle_runs(void *arg)
{
    *(bool *)arg = false;
    return acts(NULL);
}
static int callback_runs(aio_future *f, void *arg)
{
    (void)f;
    *(bool *)arg = false;
    return acts(NULL);
}
static void calls(void)
{
    uint32_t i = chance(HANDLES);
    aio_handle *h = &w.handles[i];
    if (w.armed[i]) {
        if (!chance(3)) {
            aio_handle_cancel(h);
            w.armed[i] = false;
        }
        return;
    }
    aio_result r = -1;
    switch (chance(3)) {
    case 0: r = aio_call_soon(&core.loop, h, handle_runs, &w.armed[i]); break;
    case 1: r = aio_call_later(&core.loop, h, soon(), handle_runs, &w.armed[i]); break;
    default: r = aio_call_soon_threadsafe(&core.loop, h, handle_runs, &w.armed[i]); break;
    }
    w.armed[i] = r >= 0;
}
static void callbacks(void)
{
    uint32_t i = chance(HANDLES);
    aio_task *t = somebody();
    aio_future *f = t && chance(2) ? aio_task_future(t) : &w.futures[chance(FUTURES)];
    if (w.listed[i]) {
        if (aio_future_remove_done_callback(f, callback_runs, &w.listed[i])) w.listed[i] = false;
        return;
    }
    w.listed[i] =
        aio_future_add_done_callback(f, &w.callbacks[i], callback_runs, &w.listed[i]) >= 0;
}
static void futures(void)
{
    aio_future *f = &w.futures[chance(FUTURES)];
    switch (chance(4)) {
    case 0: (void)aio_future_set_result(f, 1); break;
    case 1: (void)aio_future_set_error(f, -EIO); break;
    case 2: (void)aio_future_cancel(f); break;
    default: aio_future_destroy(f); break;
    }
}
static int acts(void *arg)
{
    int item = 1;
    (void)arg;
    switch (chance(16)) {
    case 0: if (somebody()) aio_task_cancel(somebody()); break;
    case 1: if (somebody()) aio_task_uncancel(somebody()); break;
    case 2: forget_one(); break;
    case 3: futures(); break;
    case 4: aio_event_set(&w.event); break;
    case 5: aio_event_clear(&w.event); break;
    case 6: (void)aio_condition_notify(&w.condition, 1 + chance(2)); break;
    case 7: (void)aio_queue_put_nowait(&w.queue, &item); break;
    case 8: (void)aio_queue_get_nowait(&w.queue, &item); break;
    case 9: aio_barrier_reset(&w.barrier); break;
    case 10: calls(); break;
    case 11: callbacks(); break;
    case 12: if (w.closing) assert_result(aio_loop_close(&core.loop), -EBUSY); break;
    case 13: if (somebody()) (void)aio_task_awaited_by(somebody(), NULL, 0); break;
    case 14: (void)aio_queue_task_done(&w.queue); break;
    case 15: (void)aio_loop_post(&core.loop, 1); break;
    default: break;
    }
    return chance(9) ? 0 : -EIO;
}
static void act(void)
{
    if (!chance(3)) (void)acts(NULL);
}

// --- a task that owns its argument, and then makes a value of it
struct makes { aio_frame aio; int64_t ns; bool fails; };
aio_drop(makes) {
    w.values--;
    assert_true(dropped < 0 || dropped == VALUE);
    act();
    return 0;
} aio_end
aio_async(makes) {
    aio_result r;
    aio_await(r, aio_sleep(self->ns));
    act();
    if (r >= 0 && !self->fails) return VALUE;
    w.values--;
    return r < 0 ? r : -EDOM;
} aio_end
static int64_t made(void)
{
    w.values++;
    return soon();
}
#define A_MAKER(how) how(makes, .ns = made(), .fails = !chance(4))
#define A_MAKER_IN(group) aio_group_spawn(group, makes, .ns = made(), .fails = !chance(4))
static void got(aio_result r)
{
    if (r == VALUE) w.values--;
}
struct naps { aio_frame aio; int64_t ns; };
aio_async(naps) {
    aio_await(aio_sleep(self->ns));
    return 0;
} aio_end

aio_declare(actor);
struct actor { aio_frame aio; uint32_t depth, steps; int k; aio_result r; aio_group group; aio_timeout limit; };
static aio_task *spawns(uint32_t depth);

// --- several at once
struct together { aio_frame aio; uint32_t depth; int how, i; aio_task *t[3]; aio_result r, rs[3]; };
aio_drop(together) {
    if (dropped >= 0) return 0;         // its body has ended
    for (int i = 0; i < 3; i++) {
        got(self->rs[i]);
        if (self->t[i]) aio_detach(self->t[i]);
    }
    w.bodies--;
    act();
    return 0;
} aio_end
aio_async(together) {
    self->how = (int)chance(7);
    for (int i = 0; i < 3; i++)
        self->t[i] = self->how < 4 ? A_MAKER(aio_spawn) : spawns(self->depth);
    switch (self->how) {
    case 0: aio_await(self->r, aio_gather(self->t, self->rs, 3)); break;
    case 1: aio_await(self->r, aio_gather_all(self->t, self->rs, 3)); break;
    case 2: aio_await(self->r, aio_wait_for(soon(), aio_gather_all(self->t, self->rs, 3))); break;
    case 3: aio_await(self->r, aio_wait(self->t, 3, (int)chance(3))); break;
    case 4: aio_await(self->r, aio_wait_timeout(self->t, 3, (int)chance(3), soon())); break;
    case 5: aio_await(self->r, aio_shield(self->t[0])); break;
    default: aio_await(self->r, aio_gather(self->t, NULL, 3)); break;
    }
    act();
    for (self->i = 0; self->i < 3; self->i++) {
        aio_task *t;
        got(self->rs[self->i]);
        self->rs[self->i] = 0;
        t = self->t[self->i];
        self->t[self->i] = NULL;
        if (!t) continue;
        if (self->how < 4) {                        // a value is still to be taken
            if (chance(2)) aio_task_cancel(t);
            aio_await(self->r, aio_join(t));
            got(self->r);
        } else {
            aio_detach(t);
        }
    }
    w.bodies--;
    return 0;
} aio_end

// --- tasks that others await too, perhaps this one's own awaiters
struct crowd { aio_frame aio; aio_task *t[3]; int how; aio_op op; aio_slot(naps) slot; aio_result r; };
static void leaves_crowd(struct crowd *c)
{
    for (int i = 0; i < 3; i++)
        if (c->t[i]) aio_detach(c->t[i]);
    memset((void *)c->t, 0, sizeof c->t);
    w.bodies--;
}
aio_drop(crowd) {
    if (dropped >= 0) return 0;
    leaves_crowd(self);
    act();
    return 0;
} aio_end
aio_async(crowd) {
    for (int i = 0; i < 3; i++) {
        aio_task *t = somebody();
        self->t[i] = t && chance(4) ? aio_task_retain(t)
                     : chance(2)    ? aio_spawn_in(&self->slot, naps, .ns = soon())
                                    : aio_spawn(naps, .ns = soon());
    }
    self->how = (int)chance(9);
    switch (self->how) {
    case 0: aio_await(self->r, aio_gather_all(self->t, NULL, 3)); break;
    case 1: aio_await(self->r, aio_gather(self->t, NULL, 3)); break;
    case 2: aio_await(self->r, aio_wait_for(soon(), aio_gather(self->t, NULL, 3))); break;
    case 3: aio_await(self->r, aio_wait(self->t, 3, (int)chance(3))); break;
    case 4: aio_await(self->r, aio_shield(self->t[0])); break;
    case 5: aio_await(self->r, aio_wait_for(soon(), aio_shield(self->t[0]))); break;
    case 6: aio_await(self->r, aio_future_wait(aio_task_future(self->t[1]))); break;
    case 7:
        (void)aio_start(&self->op, aio_shield(self->t[2]));
        aio_await(self->r, aio_op_wait(&self->op));
        break;
    default:
        (void)aio_start(&self->op, aio_future_wait(aio_task_future(self->t[0])));
        aio_await(self->r, aio_wait_for(soon(), aio_op_wait(&self->op)));
        break;
    }
    act();
    // What is in the slot must not outlive this frame.
    if (self->slot.task.waiter.future.refs) aio_task_cancel(&self->slot.task);
    while (self->slot.task.waiter.future.refs && !aio_task_done(&self->slot.task))
        aio_await(aio_next_turn());
    leaves_crowd(self);
    return 0;
} aio_end

// --- operations beside the coroutine
struct beside { aio_frame aio; aio_op ops[3]; int how[3], i, item; aio_result r; };
aio_drop(beside) {
    if (dropped < 0) w.bodies--;
    act();
    return 0;
} aio_end
static aio_result starts(struct beside *b, int i)
{
    aio_op *op = &b->ops[i];
    switch (b->how[i]) {
    case 0: return aio_start(op, aio_join(A_MAKER(aio_spawn)));
    case 1: return aio_start(op, aio_semaphore_acquire(&w.units));
    case 2: return aio_start(op, aio_sleep(soon()));
    case 3: return aio_start(op, aio_future_wait(&w.futures[chance(FUTURES)]));
    case 4: return aio_start(op, aio_event_wait(&w.event));
    case 5: return aio_start(op, aio_queue_get(&w.queue, &b->item));
    default: return aio_start(op, aio_op_wait(&b->ops[chance(3)]));
    }
}
// What an op gave; one that waits for another one has got that one's.
static void op_gave(struct beside *b, int i, aio_result r)
{
    int how = b->how[i];
    if (how == 6) how = r == VALUE ? 0 : 6;
    if (how == 0) got(r);
    if (how == 1 && r == 0) assert_result(aio_semaphore_release(&w.units), 0);
}
aio_async(beside) {
    for (self->i = 0; self->i < 3; self->i++) {
        do self->how[self->i] = (int)chance(7);
        while (self->how[self->i] == 6 && (!self->i || self->how[0] == 1 || self->how[1] == 1));
        (void)starts(self, self->i);
        act();
    }
    if (chance(4) == 0) aio_await(self->r, aio_race(self->ops, 3));
    for (self->i = 0; self->i < 3; self->i++) {
        switch (chance(4)) {
        case 0: aio_await(self->r, aio_op_wait(&self->ops[self->i])); break;
        case 1: self->r = aio_op_result(&self->ops[self->i]); break;
        case 2: (void)aio_op_cancel(&self->ops[self->i]); continue;
        default: continue;
        }
        op_gave(self, self->i, self->r);
        act();
    }
    w.bodies--;
    return 0;
} aio_end

// --- locks and the like
struct locks { aio_frame aio; int how, item; uint64_t message; aio_result r; };
aio_drop(locks) {
    if (dropped < 0) w.bodies--;
    act();
    return 0;
} aio_end
aio_async(locks) {
    self->how = (int)chance(11);
    switch (self->how) {
    case 8: aio_await(self->r, aio_loop_receive(&self->message)); break;
    case 9: aio_await(self->r, aio_wait_for(soon(), aio_queue_join(&w.queue))); break;
    case 0:
    case 1:
        aio_await(self->r, aio_wait_for(self->how ? soon() : AIO_FOREVER,
                                        aio_lock_acquire(&w.lock)));
        if (self->r < 0) break;
        if (chance(2)) aio_await(aio_condition_wait(&w.condition));
        else aio_await(aio_sleep(soon()));
        act();
        assert_result(aio_lock_release(&w.lock), 0);
        break;
    case 2:
    case 3:
        aio_await(self->r, aio_wait_for(self->how == 2 ? soon() : AIO_FOREVER,
                                        aio_semaphore_acquire(&w.units)));
        if (self->r < 0) break;
        aio_await(aio_sleep(soon()));
        assert_result(aio_semaphore_release(&w.units), 0);
        break;
    case 4: aio_await(self->r, aio_event_wait(&w.event)); break;
    case 5: aio_await(self->r, aio_barrier_wait(&w.barrier)); break;
    case 6: aio_await(self->r, aio_queue_put(&w.queue, &self->item)); break;
    case 7: aio_await(self->r, aio_queue_get(&w.queue, &self->item)); break;
    default: aio_await(self->r, aio_wait(w.waited, 2, (int)chance(3))); break;
    }
    w.bodies--;
    return 0;
} aio_end

// --- iterators: each is opened by one task, and others may stand at its next
struct rows {
    aio_frame aio;
    int value, i, how;
    aio_timeout limit;
    aio_group group;
    aio_op op;
    aio_result r;
};
aio_drop(rows) {
    if (dropped < 0) w.bodies--;
    act();
    return 0;
} aio_end
aio_async(rows) {
    self->r = 0;
    if (self->how & 1) (void)aio_timeout_enter(&self->limit, 1 + soon());
    if (self->how & 2) (void)aio_group_enter(&self->group);
    if (self->how & 4) (void)aio_start(&self->op, aio_join(A_MAKER(aio_spawn)));
    for (; self->i < 4 && self->r >= 0; self->i++) {
        if (self->how & 8) aio_await(self->r, aio_sleep(soon()));
        if (self->r < 0) break;
        if (self->how & 2) (void)A_MAKER_IN(&self->group);
        act();
        aio_yield(self->r, self->i);
    }
    if (self->how & 16) aio_await(aio_sleep(soon()));
    if (self->r == -ECANCELED && self->how & 1) self->r = aio_timeout_exit(&self->limit, self->r);
    if (self->how & 32) aio_yield(self->r, 9);
    w.bodies--;
    return self->how & 64 ? -EIO : 0;
} aio_end
struct iterations {
    aio_frame aio;
    struct rows rows;
    aio_ticks ticks;
    aio_completed completed;
    aio_task *t[3];
    int steps;
    aio_result r;
    uint32_t depth;
    bool shares;
};
static void shares_no_more(struct iterations *it)
{
    if (w.shared == it) w.shared = NULL;
    for (int i = 0; i < 3; i++)
        if (it->t[i]) aio_detach(it->t[i]);
    w.bodies--;
}
aio_drop(iterations) {
    if (dropped >= 0) return 0;
    shares_no_more(self);
    aio_completed_close(&self->completed);
    act();
    return 0;
} aio_end
static void begins(struct iterations *it)
{
    aio_result r = 0;
    switch (chance(3)) {
    case 0: r = aio_ticker(&it->ticks, 1 + soon()); break;
    case 1:
        if (!it->t[0])
            for (int i = 0; i < 3; i++) it->t[i] = spawns(it->depth);
        r = aio_completed_init(&it->completed, it->t, 3, chance(2) ? soon() : AIO_FOREVER);
        break;
    default: aio_completed_close(&it->completed); break;
    }
    assert_true(r == 0 || r == -EBUSY || r == -EINVAL || r == -ENOMEM);
}
aio_async(iterations) {
    for (self->steps = (int)chance(8); self->steps; self->steps--) {
        begins(self);
        if (!w.shared && self->shares) w.shared = self;
        struct iterations *it;
        it = w.shared && chance(3) ? w.shared : self;       // its own, or another one's
        if (it == self && chance(2)) {
            w.bodies++;
            (void)aio_gen_init(&self->rows, rows, .how = (int)chance(128));
        }
        switch (chance(5)) {
        case 0: aio_await(self->r, aio_next(&it->rows)); break;
        case 1: aio_await(self->r, aio_next(&it->ticks)); break;
        case 2: aio_await(self->r, aio_completed_next(&it->completed)); break;
        case 3: aio_await(self->r, aio_gen_close(&it->rows)); break;
        default: aio_await(self->r, aio_wait_for(soon(), aio_next(&it->rows))); break;
        }
        act();
    }
    shares_no_more(self);
    return 0;
} aio_end

// --- actors
aio_drop(actor) {
    if (dropped < 0) w.bodies--;
    act();
    return 0;
} aio_end
static aio_task *spawns(uint32_t depth)
{
    if (!w.budget || depth > 4) return aio_spawn(naps, .ns = soon());
    w.budget--;
    w.bodies++;
    aio_task *t = chance(4) ? aio_spawn(actor, .depth = depth + 1, .steps = 1 + chance(8))
                            : aio_spawn_eager(actor, .depth = depth + 1, .steps = 1 + chance(3));
    if (chance(2)) knows(t);
    return t;
}
static void scopes(struct actor *a)
{
    static const struct aio_group_options forgets = { true };
    switch (chance(5)) {
    case 0: (void)aio_timeout_enter(&a->limit, soon()); break;
    case 1: a->r = aio_timeout_exit(&a->limit, a->r); break;
    case 2: (void)aio_group_enter_with(&a->group, chance(2) ? &forgets : NULL); break;
    case 3: if (chance(4) == 0) (void)aio_group_cancel(&a->group); break;
    default: (void)A_MAKER_IN(&a->group); break;
    }
}
aio_async(actor) {
    for (; self->steps; self->steps--) {
        act();
        scopes(self);
        w.bodies++;
        switch (chance(12)) {
        case 10:
        case 11: aio_await(self->r, aio_call_new(crowd)); break;
        case 0: aio_await(self->r, aio_call_new(together, .depth = self->depth)); break;
        case 1: aio_await(self->r, aio_call_new(beside)); break;
        case 2: aio_await(self->r, aio_call_new(locks)); break;
        case 3:
        case 4:
            aio_await(self->r, aio_call_new(iterations, .depth = self->depth,
                                            .shares = chance(2) == 0));
            break;
        case 5: aio_await(self->r, aio_wait_for(soon(), aio_call_new(locks))); break;
        case 6:
            w.bodies--;
            // Refused for want of memory, the handle is given up: nobody wants the value then.
            aio_await(self->r, aio_wait_for(w.poor ? AIO_FOREVER : soon(),
                                            aio_join(A_MAKER(aio_spawn))));
            got(self->r);
            break;
        case 7:
            w.bodies--;
            aio_await(self->r, aio_join(spawns(self->depth)));
            break;
        case 8:
            w.bodies--;
            aio_await(self->r, aio_group_exit(&self->group, self->r < 0 ? self->r : 0));
            break;
        default:
            w.bodies--;
            aio_await(self->r, aio_sleep(soon()));
            break;
        }
        if (self->r == -ECANCELED && chance(2)) break;
    }
    w.bodies--;
    return self->r < 0 ? self->r : 0;
} aio_end
struct director { aio_frame aio; int steps; };
aio_async(director) {
    for (int i = 0; i < 3; i++) aio_detach(spawns(0));
    for (self->steps = (int)chance(20); self->steps; self->steps--) {
        act();
        if (chance(3) == 0) aio_detach(spawns(0));
        aio_await(aio_sleep(soon()));
    }
    return 0;
} aio_end

// --- a program
static uint64_t running_seed;
static void out_of_patience(int number)
{
    (void)number;
    printf("# AIO_SEED=%llu takes too long:\n", (unsigned long long)running_seed);
    aio_loop_dump(&core.loop, stdout);
    fflush(stdout);
    abort();
}
static void world_begin(void)
{
    memset((void *)&w, 0, sizeof w);
    w.budget = 40;
    aio_condition_init(&w.condition, &w.lock);
    assert_result(aio_semaphore_init(&w.units, UNITS, UNITS), 0);
    assert_result(aio_barrier_init(&w.barrier, 2), 0);
    assert_result(aio_queue_init(&w.queue, w.storage, sizeof(int), 2, 0, 0, 0), 0);
    w.waited[0] = &w.futures[0];
    w.waited[1] = &w.futures[1];
}
static void world_end(bool ran)
{
    assert_int_equal(w.bodies, 0);
    assert_int_equal(w.values, 0);
    assert_int_equal(core.memory.blocks, 0);
    assert_null(w.lock.waiters);
    assert_int_equal(w.lock.live, 0);
    assert_null(w.condition.waiters);
    assert_null(w.units.waiters);
    assert_int_equal(w.units.woken, 0);
    assert_null(w.event.waiters);
    assert_null(w.queue.getters);
    assert_null(w.queue.putters);
    if (!ran) return;
    assert_int_equal(w.units.value, UNITS);
    assert_false(w.lock.locked);
}
static void quiet(aio_loop *loop, const struct aio_report *r, void *context)
{
    (void)loop;
    (void)r;
    (void)context;
    act();
}
static void run_seed(uint64_t seed)
{
    running_seed = seed;
    rng = seed * UINT64_C(0x9e3779b97f4a7c15);
    memset((void *)&core, 0, sizeof core);
    world_begin();
    struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
    o.on_error = quiet;
    o.allocator.allocate = poor_allocate;
    o.seed = seed & 1 ? seed : 0;
    alarm(60);
    bool middle = seed % 3 == 0;
    assert_result(aio_loop_init(&core.loop, &o), 0);
    w.poor = seed % 5 == 1;
    aio_task *t = aio_spawn_on(&core.loop, director);
    if (middle) {
        for (uint32_t n = chance(60); n--;) (void)aio_sim_advance(&core.loop, chance(2));
    } else {
        (void)aio_loop_run_until_complete(&core.loop, t);
        for (int rounds = 0; core.loop.executor.first && !middle; rounds++) {
            middle = rounds == 100;         // tasks that wait for each other, in a circle
            for (aio_task *i = aio_task_first(&core.loop); i; i = aio_task_next(i))
                aio_task_cancel(i);
            if (aio_sim_advance(&core.loop, 10) < 0) break;
        }
    }
    aio_detach(t);
    for (int i = 0; i < FUTURES; i++)
        for (int k = 0; k < HANDLES; k++)
            if (aio_future_remove_done_callback(&w.futures[i], callback_runs, &w.listed[k]))
                w.listed[k] = false;
    if (chance(2)) while (w.known_count) forget_one();
    w.closing = true;
    assert_result(aio_loop_close(&core.loop), 0);
    w.known_count = 0;
    for (int i = 0; i < FUTURES; i++) aio_future_destroy(&w.futures[i]);
    for (int i = 0; i < HANDLES; i++) aio_handle_cancel(&w.handles[i]);
    alarm(0);
    world_end(!middle);
    running_seed = 0;
}
static int tell_seed(void **state)
{
    (void)state;
    if (running_seed) printf("# failed with AIO_SEED=%llu\n", (unsigned long long)running_seed);
    return 0;
}
static void programs_of_chance_leave_nothing(void **state)
{
    (void)state;
    const char *one = getenv("AIO_SEED"), *many = getenv("AIO_SEEDS");
    uint64_t from = one ? strtoull(one, 0, 10) : 1;
    uint64_t n = one ? 1 : many ? strtoull(many, 0, 10) : 3000;
    unsetenv("AIO_SEED");                   // it would shuffle the tasks of every loop
    signal(SIGALRM, out_of_patience);
    for (uint64_t seed = from; seed < from + n; seed++) run_seed(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(programs_of_chance_leave_nothing, tell_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
