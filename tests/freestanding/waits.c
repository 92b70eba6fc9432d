// Waits whose state depends on how long a pointer is, and storage whose address depends on how a
// 64-bit integer is aligned: shields, races, locks, callbacks, slots, frames. Runs like demo.c.
int waits(void);
#define DEMO waits
#include "demo.c"

struct counts { aio_frame aio; int n; };
struct shields { aio_frame aio; aio_task *inner; };
struct races { aio_frame aio; aio_op a, b; aio_op *both[2]; aio_event never; };
struct locks { aio_frame aio; aio_lock *lock; int n; };
aio_async(counts) {
    while (self->n--) aio_try(aio_next_turn());
    return 5;
} aio_end
aio_async(shields) {
    int r;
    aio_await(r, aio_shield(self->inner));
    return r;
} aio_end
aio_async(races) {
    int r;
    aio_start(&self->a, aio_event_wait(&self->never));
    aio_start(&self->b, aio_next_turn());
    self->both[0] = &self->a;
    self->both[1] = &self->b;
    aio_await(r, aio_race(self->both, 2));
    return r;
} aio_end
aio_async(locks) {
    aio_try(aio_lock_acquire(self->lock));
    while (self->n--) aio_try(aio_next_turn());
    return aio_lock_release(self->lock);
} aio_end

static aio_executor bare;
static struct { int before; aio_callback callback; } odd_callback;
static struct { int before; aio_slot(counts) slot; } odd_slot;
static int told;
static int tell(aio_future *f, void *arg)
{
    (void)f;
    (void)arg;
    return told++, 0;
}
static aio_result run(aio_task *t)
{
    while (!aio_task_done(t) && aio_executor_turn(&bare)) {}
    aio_result r = aio_task_result(t);
    aio_detach(t);
    return r;
}
struct in_slot { aio_frame aio; aio_task *t; };
aio_async(in_slot) {
    int r;
    self->t = aio_spawn_in(&odd_slot.slot, counts, .n = 1);
    aio_await(r, aio_join(self->t));
    return r;
} aio_end
// A frame that wants 16 bytes gets them in a task, in a slot and in a call's block.
struct wide { aio_frame aio; __attribute__((aligned(16))) char block[16]; };
struct places { aio_frame aio; aio_task *t; };
aio_async(wide) {
    aio_try(aio_next_turn());
    return (aio_result)((uintptr_t)self->block % 16);
} aio_end
static struct { int before; aio_slot(wide) slot; } odd_wide;
aio_async(places) {
    aio_result r;
    self->t = aio_spawn_in(&odd_wide.slot, wide);
    if ((char *)&odd_wide.slot.frame != (char *)(&odd_wide.slot.task + 1)) return 16;
    aio_await(r, aio_join(self->t));
    if (r) return r;
    aio_await(r, aio_join(aio_spawn(wide)));
    if (r) return r;
    aio_await(r, aio_call_new(wide));
    return r;
} aio_end
int waits(void)
{
    static aio_lock lock;
    struct aio_executor_options options;
    memset(&options, 0, sizeof options);
    options.allocator.allocate = allocate;
    options.allocator.release = release;
    if (aio_executor_init(&bare, &options) < 0) return 1;
    aio_task *t = aio_spawn_on(&bare, counts, .n = 3), *other;
    if (run(aio_spawn_on(&bare, shields, .inner = t)) != 5) return 2;
    if (aio_future_add_done_callback(aio_task_future(t), &odd_callback.callback, tell, 0) < 0)
        return 3;
    aio_detach(t);
    if (run(aio_spawn_on(&bare, races)) != 1 || told != 1) return 4;
    t = aio_spawn_on(&bare, locks, .lock = &lock, .n = 3);
    other = aio_spawn_on(&bare, locks, .lock = &lock);
    if (run(other) || run(t)) return 5;
    if (run(aio_spawn_on(&bare, places))) return 7;
    return run(aio_spawn_on(&bare, in_slot)) == 5 ? 0 : 6;
}
