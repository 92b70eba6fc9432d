// Memory: rules C-2, C-15, X-5 at every step of whole programs (steps.h); allocators, classes,
//         reuse.
#include "steps.h"

#include "core.h"

// --- programs that are cancelled at every step
struct leaf { aio_frame aio; int64_t ns; int *owned; };
aio_drop(leaf) {
    (void)dropped;
    free(self->owned);
    return 0;
} aio_end
aio_async(leaf) {
    aio_result r;
    aio_await(r, aio_sleep(self->ns));
    free(self->owned);
    self->owned = NULL;
    if (r < 0) return r;
    aio_try(aio_next_turn());
    return 1;
} aio_end
static int *owned(void) { return (int *)calloc(1, sizeof(int)); }

struct deep { aio_frame aio; int depth; aio_result r; };
aio_async(deep) {
    if (self->depth) aio_try(self->r, aio_call_new(deep, .depth = self->depth - 1));
    else aio_try(aio_sleep(AIO_MSEC));
    return self->r + 1;
} aio_end

struct program {
    aio_frame aio;
    aio_task *t[4];
    struct leaf child;
    aio_slot(leaf) slot;
    int fd;
    aio_result r;
};
aio_drop(program) {
    (void)dropped;
    say("unborn ");
    return 0;
} aio_end
aio_async(program) {
    self->fd = dup(1);                                  // released on every way out
    aio_await(self->r, aio_call(&self->child, leaf, .ns = AIO_MSEC, .owned = owned()));
    if (self->r < 0) goto end;
    aio_await(self->r, aio_call_new(deep, .depth = 3));
    if (self->r < 0) goto end;
    for (int i = 0; i < 3; i++) self->t[i] = aio_spawn(leaf, .ns = i * AIO_MSEC, .owned = owned());
    self->t[3] = aio_spawn_in(&self->slot, leaf, .ns = AIO_SECOND, .owned = owned());
    aio_detach(aio_spawn(leaf, .ns = AIO_FOREVER, .owned = owned()));
    for (int i = 0; i < 3; i++) {
        aio_task_retain(self->t[i]);
        aio_detach(self->t[i]);
    }
    aio_await(self->r, aio_join(self->t[0]));
    self->t[0] = NULL;
    if (self->r < 0) goto end;
    aio_await(self->r, aio_future_wait(aio_task_future(self->t[1])));
    if (self->r < 0) goto end;
    aio_await(self->r, aio_join(self->t[2]));
    self->t[2] = NULL;
end:
    // The slot is a member of this frame: its task must have ended before the frame goes.
    if (self->t[3]) aio_task_cancel(self->t[3]);
    while (self->t[3] && !aio_task_done(self->t[3]))
        aio_await(aio_future_wait(aio_task_future(self->t[3])));
    for (int i = 0; i < 4; i++)
        if (self->t[i]) aio_detach(self->t[i]);
    aio_await(aio_sleep(AIO_MSEC));                     // cleanup may await
    close(self->fd);
    return self->r;
} aio_end
static aio_task *program_main(aio_loop *loop, void *arg)
{
    (void)arg;
    return aio_spawn_on(loop, program);
}
static unsigned finished, cancelled;
static void program_check(aio_result r, void *arg)
{
    (void)arg;
    assert_true(r == 1 || r == -ECANCELED);
    if (r == 1) finished++;
    else cancelled++;
}
static void C_2_C_4_C_6_cancelled_at_every_step(void **state)
{
    (void)state;
    struct steps s = { .spawn = program_main, .check = program_check, .victims = 6 };
    unsigned cancels = steps_run(&s);
    print_message("# %u cancels: %u runs ended cancelled, %u went on\n", cancels, cancelled,
                  finished);
    assert_true(cancels > 40 && cancelled > 20 && finished > 10);
    assert_trace("unborn ");                            // once: phase 1 comes after its first step
    s.real_clock = true;
    s.victims = 1;
    assert_true(steps_run(&s) > 10);
    core.trace[core.trace_at = 0] = 0;
}

// The driver must notice what goes wrong: each of these programs loses something at some step.
struct sloppy { aio_frame aio; int how; int fd; aio_task *t; };
aio_async(sloppy) {
    if (self->how == 0) {
        self->fd = dup(1);
        aio_try(aio_next_turn());
        close(self->fd);
    } else if (self->how == 1) {
        aio_await(aio_sleep(AIO_FOREVER));
        aio_await(aio_sleep(AIO_FOREVER));
    } else {
        for (;;) aio_await(aio_next_turn());
    }
    return 0;
} aio_end
static aio_task *sloppy_main(aio_loop *loop, void *arg)
{
    return aio_spawn_on(loop, sloppy, .how = *(int *)arg);
}
static void sloppy_run(void *arg)
{
    struct steps s = { .spawn = sloppy_main, .arg = arg, .endless = 10000 };
    steps_run(&s);
}
static void sloppy_test(void **state) { sloppy_run(*state); }
static void sloppy_child(void *arg)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test_prestate(sloppy_test, arg) };
    alarm(20);
    _exit(cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0);
}
static void E_1_the_driver_notices(void **state)
{
    (void)state;
    static const char *const complaints[] =
        { "steps_open_files() == files", "deadlock", "n < too_many" };
    for (int how = 0; how < 3; how++) {
        char text[4096];
        int status = test_in_child(sloppy_child, &how, text, sizeof text);
        assert_true(WIFEXITED(status));
        assert_true(WEXITSTATUS(status) != 0);
        if (!strstr(text, complaints[how])) fail_msg("\"%s\" is not in: %s", complaints[how], text);
    }
}

// --- size classes
static void T_1_size_classes(void **state)
{
    (void)state;
    for (size_t size = 1; size <= (1u << 20); size += size < 5000 ? 1 : 997) {
        uint32_t c = aio__class_of(size);
        assert_true(c < AIO__CLASSES);
        assert_true(aio__class_bytes(c) >= size);
        assert_true(c == 1 || aio__class_bytes(c - 1) < size);
        assert_result(aio__class_bytes(c) % AIO__GRAIN, 0);
        assert_true(size < 64 || aio__class_bytes(c) <= size + size / 4 + AIO__GRAIN);
    }
    assert_result(aio__class_of((1u << 20) + 1), AIO__HUGE);
}
#define SIZED(name, bytes) \
    struct name { aio_frame aio; char fill[bytes]; }; \
    aio_async(name) { \
        memset(self->fill, 0x5a, sizeof self->fill); \
        aio_try(aio_next_turn()); \
        for (size_t i = 0; i < sizeof self->fill; i++) if (self->fill[i] != 0x5a) return -EIO; \
        return 0; \
    } aio_end
SIZED(tiny, 1)
SIZED(small, 900)
SIZED(medium, 5000)
SIZED(large, 100000)
SIZED(huge, 3000000)
static void T_1_frames_of_all_sizes_and_no_malloc_once_warm(void **state)
{
    (void)state;
    long calls = 0;
    for (int round = 0; round < 6; round++) {
        aio_task *t[20];
        for (int i = 0; i < 20; i += 4) {
            t[i] = core_spawn(tiny);
            t[i + 1] = core_spawn(small);
            t[i + 2] = core_spawn(medium);
            t[i + 3] = core_spawn(large);
        }
        assert_true((uintptr_t)t[0] % 16 == 0 && (uintptr_t)t[3] % 16 == 0);
        core_settle();
        for (int i = 0; i < 20; i++) {
            assert_result(aio_task_result(t[i]), 0);
            aio_detach(t[i]);
        }
        if (round == 1) calls = core.memory.calls;      // contract 7
    }
    assert_result(core.memory.calls, calls);
    long blocks = core.memory.blocks;
    aio_task *h = core_spawn(huge);                     // goes straight back
    assert_result(core.memory.blocks, blocks + 1);
    assert_result(core_run(h), 0);
    aio_detach(h);
    assert_result(core.memory.blocks, blocks);
}
struct busy { aio_frame aio; int rounds; aio_future f; struct leaf child; aio_task *t; };
aio_async(busy) {
    while (self->rounds--) {
        self->t = aio_spawn(leaf, .ns = 1);
        aio_try(aio_call(&self->child, leaf, .ns = 1));
        aio_try(aio_call_new(leaf, .ns = 2));
        aio_try(aio_join(self->t));
        self->t = aio_spawn(leaf, .ns = AIO_FOREVER);
        aio_task_cancel(self->t);
        aio_await(aio_join(self->t));
    }
    return 0;
} aio_end
static void T_1_no_malloc_on_the_hot_path(void **state)
{
    (void)state;
    aio_task *t = core_spawn(busy, .rounds = 10);
    assert_result(core_run(t), 0);
    aio_detach(t);
    long calls = core.memory.calls;
    t = core_spawn(busy, .rounds = 1000);
    assert_result(core_run(t), 0);
    aio_detach(t);
    assert_result(core.memory.calls, calls);
}

// --- an arena of the user's: no malloc after init, reused for the next loop
static struct { char bytes[1 << 20] __attribute__((aligned(64))); size_t used; } arena;
static void *arena_allocate(void *context, size_t size)
{
    (void)context;
    size = (size + 63) & ~(size_t)63;
    if (size > sizeof arena.bytes - arena.used) return NULL;
    void *block = arena.bytes + arena.used;
    arena.used += size;
    memset(block, 0xcd, size);
    return block;
}
static void arena_release(void *context, void *block)
{
    (void)context;
    (void)block;
}
static void T_1_an_arena_is_reused(void **state)
{
    (void)state;
    struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
    o.allocator.allocate = arena_allocate;
    o.allocator.release = arena_release;
    for (int i = 0; i < 5; i++) {
        arena.used = 0;
        assert_result(aio_run_with(&o, busy, .rounds = 20), 0);
    }
}
// No allocator at all: only what needs no memory works.
static void T_1_null_allocator(void **state)
{
    (void)state;
    struct aio_executor_options o;
    aio_executor x;
    memset(&o, 0, sizeof o);
    assert_result(aio_executor_init(&x, &o), -ENOMEM);
    assert_result(aio_task_result(aio_spawn_on(&x, tiny)), -ENOMEM);
    aio_executor_close(&x);
}
// An executor alone, without a loop.
static void T_1_a_bare_executor(void **state)
{
    (void)state;
    struct aio_executor_options o;
    aio_executor x;
    memset(&o, 0, sizeof o);
    o.allocator.allocate = test_allocate;
    o.allocator.release = test_release;
    struct test_memory memory = { 0, 0, 0 };
    o.allocator.context = &memory;
    assert_result(aio_executor_init(&x, &o), 0);
    aio_task *t = aio_spawn_on(&x, small);
    while (aio_executor_turn(&x)) {}
    assert_result(aio_task_result(t), 0);
    aio_detach(t);
    aio_executor_close(&x);
    assert_result(aio_task_result(aio_spawn_on(&x, tiny)), -EBADFD);
    assert_result(memory.blocks, 0);
}

// A spawn that is refused, of a frame that no stack would hold.
struct vast { aio_frame aio; int fd; char buffer[16 << 20]; };
aio_scratch(vast, buffer);
aio_async(vast) {
    return 0;
} aio_end
struct calls_vast { aio_frame aio; aio_result r; };
aio_async(calls_vast) {
    core.memory.fail_from = 1;
    aio_await(self->r, aio_call_new(vast, .fd = 3));
    core.memory.fail_from = 0;
    return self->r;
} aio_end
static void T_1_a_vast_frame_is_refused(void **state)
{
    (void)state;
    aio_task *t = aio_spawn(vast, .fd = 3);
    assert_result(aio_task_result(t), -EINVAL);
    core.memory.fail_from = 1;
    t = core_spawn(vast, .fd = 3);
    assert_result(aio_task_result(t), -ENOMEM);
    core.memory.fail_from = 0;
    t = core_spawn(calls_vast);
    assert_result(core_run(t), -ENOMEM);
    aio_detach(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        core_test(C_2_C_4_C_6_cancelled_at_every_step),
        core_test(E_1_the_driver_notices),
        core_test(T_1_size_classes),
        core_test(T_1_frames_of_all_sizes_and_no_malloc_once_warm),
        core_test(T_1_no_malloc_on_the_hot_path),
        core_test(T_1_an_arena_is_reused),
        core_test(T_1_null_allocator),
        core_test(T_1_a_vast_frame_is_refused),
        core_test(T_1_a_bare_executor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
