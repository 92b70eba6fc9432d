// The language: awaits in every place a statement may stand, calls to any depth, scopes, awaitables
// of one's own. The same source is also built as strict ISO C11 and as C++17 and C++20, by gcc and
// clang.
#include "aio_loop.h"
#include "test.h"

static struct aio_loop_options virtual_clock;   // filled in main
static long reports;
static char last_report[256];
static void on_error(aio_loop *loop, const struct aio_report *report, void *context)
{
    (void)loop;
    (void)context;
    reports++;
    snprintf(last_report, sizeof last_report, "%s", report->message);
}
#define RUN(...) aio_run_with(&virtual_clock, __VA_ARGS__)

// --- awaits inside a user's switch
#ifndef AIO_STRICT
enum color { RED, GREEN, BLUE };
struct switches {
    aio_frame aio;
    uint8_t u8;
    int8_t i8;
    uint16_t u16;
    int16_t i16;
    unsigned u;
    int i;
    uint64_t u64;
    int64_t i64;
    char c;
    bool flag;
    enum color color;
    int seen;
};
#define ARM(type_value, match) \
    switch (type_value) { \
    case match: \
        aio_await(aio_sleep(1)); \
        self->seen++; \
        aio_await(aio_next_turn()); \
        break; \
    default: \
        return -1; \
    }
aio_async(switches) {
    ARM(self->u8, 200)
    ARM(self->i8, -3)
    ARM(self->u16, 60000)
    ARM(self->i16, -30000)
    ARM(self->u, 4000000000u)
    ARM(self->i, -2000000000)
    ARM(self->u64, UINT64_MAX)
    ARM(self->i64, INT64_MIN)
    ARM(self->c, 'a')
    switch ((int)self->flag) {
    case 1:
        aio_await(aio_sleep(1));
        self->seen++;
        break;
    default:
        return -1;
    }
    switch (self->color) {      // no default: an enumeration's own values only
    case RED:
        return -1;
    case GREEN:
        aio_await(aio_sleep(1));
        self->seen++;
        break;
    case BLUE:
        return -1;
    }
    switch (self->u) {          // nested, with a fall through
    case 4000000000u:
        switch (self->u8) {
        case 200:
            aio_await(aio_sleep(1));
            self->seen++;
            for (self->i = 0; self->i < 3; self->i++) {
                aio_await(aio_sleep(1));
                if (self->i == 1) continue;
                self->seen++;
            }
            break;
        default:
            return -1;
        }
        self->u8 = 0;
        __attribute__((fallthrough));
    case 7:
        aio_await(aio_sleep(1));
        self->seen++;
        break;
    default:
        aio_await(aio_sleep(9));
        return -1;
    }
    return self->seen;
} aio_end

static void awaits_in_a_switch(void **state)
{
    (void)state;
    assert_result(RUN(switches, .u8 = 200, .i8 = -3, .u16 = 60000, .i16 = -30000, .u = 4000000000u,
                      .i = -2000000000, .u64 = UINT64_MAX, .i64 = INT64_MIN, .c = 'a', .flag = true,
                      .color = GREEN),
                  15);
}

#  ifdef __cplusplus
enum class small_enum : uint8_t { A, B };
enum class wide_enum : long { A, B };
struct scoped_enums {
    aio_frame aio;
    small_enum small;
    wide_enum wide;
    int seen;
};
aio_async(scoped_enums) {
    switch (self->small) {
    case small_enum::A: break;
    case small_enum::B:
        aio_await(aio_sleep(1));
        self->seen++;
        break;
    }
    switch (self->wide) {
    case wide_enum::A: break;
    case wide_enum::B:
        aio_await(aio_sleep(1));
        self->seen++;
        break;
    }
    return self->seen;
} aio_end
static void awaits_in_a_switch_over_a_scoped_enum(void **state)
{
    (void)state;
    assert_result(RUN(scoped_enums, .small = small_enum::B, .wide = wide_enum::B), 2);
}
#  endif

// No value meets a planted case: it goes where any other goes that has no case. Only gcc plants them.
struct stray { aio_frame aio; uint64_t value; int seen; };
#define STRAY(type) \
    switch ((type)self->value) { \
    case 1: \
        aio_await(aio_next_turn()); \
        self->seen += 1000; \
        break; \
    default: self->seen++; \
    }
aio_async(stray) {
    STRAY(uint32_t)
    STRAY(int32_t)
    STRAY(uint64_t)
    STRAY(int64_t)
    STRAY(unsigned char)
    STRAY(int8_t)
    STRAY(short)
    return self->seen;
} aio_end
static void no_value_meets_a_planted_case(void **state)
{
    (void)state;
    for (unsigned i = 2; i < 256; i++) assert_result(RUN(stray, .value = i), 7);
    for (unsigned i = 0; i < 8192; i++) {
        uint64_t value = UINT64_C(0x210c0de51d0a0f00) + i;
        bool one = (uint8_t)value == 1, short_one = (uint16_t)value == 1;
        aio_result want = 4 + (one ? 2000 : 2) + (short_one ? 1000 : 1);
        assert_result(RUN(stray, .value = value), want);
        assert_result(RUN(stray, .value = value << 32 >> 32), want);
    }
}
#  ifdef __cplusplus
enum class byte_enum : unsigned char { A, B, C, LAST = 255 };
struct stray_byte { aio_frame aio; int value, seen; };
aio_async(stray_byte) {
    for (self->value = 0; self->value < 256; self->value++) {
        switch (static_cast<byte_enum>(self->value)) {
        case byte_enum::A: aio_await(aio_next_turn()); break;
        case byte_enum::B: aio_await(aio_next_turn()); break;
        case byte_enum::C: aio_await(aio_next_turn()); break;
        case byte_enum::LAST: aio_await(aio_next_turn()); break;
        default: self->seen++;
        }
    }
    return self->seen;
} aio_end
static void no_byte_meets_one_either(void **state)
{
    (void)state;
    assert_result(RUN(stray_byte), 252);
}
#  endif
#else
// Strict ISO C: a switch over 64 bits can hold the toolkit's case, so this one is told at run time.
struct strict_switch {
    aio_frame aio;
    uint64_t n;
};
aio_async(strict_switch) {
    switch (self->n) {
    case 1: aio_await(aio_next_turn()); break;
    default: break;
    }
    return 1;
} aio_end
static void run_strict_switch(void *arg)
{
    aio_result r = RUN(strict_switch, .n = 1);
    (void)arg;
    _exit(r == 1 ? 3 : 4);
}
static void an_await_in_a_wide_switch_is_a_panic(void **state)
{
    (void)state;
    char text[512];
    int status = test_in_child(run_strict_switch, NULL, text, sizeof text);
    assert_true(WIFSIGNALED(status));
    assert_non_null(strstr(text, "an await inside a switch"));
    assert_non_null(strstr(text, "t_language.c"));
}
#endif

// --- awaits in loops, on one line, without braces, in macros
struct loops {
    aio_frame aio;
    int i, j, k, n;
};
aio_async(loops) {
    for (self->i = 0; self->i < 3; self->i++) {
        self->j = 0;
        while (self->j < 4) {
            self->k = 0;
            do {
                aio_await(aio_sleep(1));
                self->n++;
                if (self->k == 3) break;
            } while (++self->k < 5);
            if (self->j++ == 2) continue;
            aio_await(aio_next_turn());
            self->n += 100;
        }
    }
    return self->n;     // 3 * 4 * 4 and 3 * 3 * 100
} aio_end
static void awaits_in_nested_loops(void **state)
{
    (void)state;
    assert_result(RUN(loops), 948);
}

struct places {
    aio_frame aio;
    int flag, n;
};
#define PAUSE_TWICE() \
    do { \
        aio_await(aio_next_turn()); \
        aio_await(aio_sleep(2)); \
    } while (0)
aio_async(places) {
    int r, s;
    aio_await(r, aio_sleep(1)); self->n += r; aio_await(s, aio_next_turn()); self->n += s + 1;
    if (self->flag) aio_await(aio_sleep(1));
    else aio_await(aio_sleep(1000));
    if (!self->flag) aio_await(aio_sleep(1000));
    else aio_await(aio_sleep(1));
    for (; self->n < 4; self->n++) aio_await(aio_sleep(1));
    PAUSE_TWICE();
    if (self->flag) PAUSE_TWICE();
    if (self->n == 4) goto end;
    return -1;
end:
    aio_await(aio_sleep(1));
    return self->n * 100 + (int)(aio_loop_time(aio_running_loop()));
} aio_end
static void awaits_in_any_place(void **state)
{
    (void)state;
    assert_result(RUN(places, .flag = 1), 411);
}

// A local may live between two awaits, in a block of its own.
struct locals {
    aio_frame aio;
    int sum;
};
aio_async(locals) {
    {
        int a = 3;
        self->sum += a;
    }
    aio_await(aio_next_turn());
    {
        const int b = self->sum * 2;
        self->sum += b;
    }
    aio_await(aio_next_turn());
    for (int i = 0; i < 4; i++) self->sum += i;
    return self->sum;
} aio_end
static void locals_between_awaits(void **state)
{
    (void)state;
    assert_result(RUN(locals), 15);
}

// --- results
struct no_return {
    aio_frame aio;
    int n;
};
aio_async(no_return) {
    self->n = 5;
    aio_await(aio_next_turn());
    self->n++;
} aio_end
struct plain_return {
    aio_frame aio;
    aio_result r;
};
aio_async(plain_return) {
    if (self->r == 1) return 10;
    aio_await(aio_next_turn());
    return self->r;
} aio_end
struct empty {
    aio_frame aio;
};
aio_async(empty) {
} aio_end
static void returns(void **state)
{
    (void)state;
    assert_result(RUN(no_return), 0);
    assert_result(RUN(empty), 0);
    assert_result(RUN(plain_return, .r = 1), 10);
    assert_result(RUN(plain_return, .r = INT64_MAX), INT64_MAX);
    assert_result(RUN(plain_return, .r = INT64_MIN + 1), INT64_MIN + 1);
    assert_result(RUN(plain_return, .r = -EIO), -EIO);
}

struct tries {
    aio_frame aio;
    struct plain_return child;
    int *kept;
    int step;
};
aio_async(tries) {
    aio_try(aio_sleep(1));
    *self->kept = 7;
    aio_try(*self->kept, aio_call(&self->child, plain_return, .r = 8));
    self->step++;
    aio_try(*self->kept, aio_call(&self->child, plain_return, .r = -EPIPE));
    self->step++;
    return 0;
} aio_end
static void try_leaves_its_variable_alone(void **state)
{
    (void)state;
    int kept = 0;
    assert_result(RUN(tries, .kept = &kept), -EPIPE);
    assert_int_equal(kept, 8);
}

// --- depth
enum { DEPTH = 100000 };
static char *stack_low, *stack_high;
static void note_stack(void)
{
    char *here = (char *)__builtin_frame_address(0);
    if (!stack_low || here < stack_low) stack_low = here;
    if (!stack_high || here > stack_high) stack_high = here;
}
static size_t stack_used(void)
{
    size_t used = (size_t)(stack_high - stack_low);
    stack_low = stack_high = NULL;
    return used;
}
struct deep {
    aio_frame aio;
    int depth;
    bool suspend;
    struct deep *below;
};
aio_async(deep) {
    aio_result r;
    note_stack();
    if (!self->depth) {
        if (self->suspend) aio_await(aio_sleep(1));
        return 0;
    }
    aio_await(r, aio_call(self->below, deep, .depth = self->depth - 1, .suspend = self->suspend,
                          .below = self->below + 1));
    note_stack();
    return r + 1;
} aio_end
struct deep_new {
    aio_frame aio;
    int depth;
    bool suspend;
};
aio_async(deep_new) {
    aio_result r;
    note_stack();
    if (!self->depth) {
        if (self->suspend) aio_await(aio_sleep(1));
        return 0;
    }
    aio_await(r, aio_call_new(deep_new, .depth = self->depth - 1, .suspend = self->suspend));
    note_stack();
    return r + 1;
} aio_end
// Above the limit by what one step needs without optimization and with a sanitizer.
enum { STACK_LIMIT = AIO_CALL_STACK + 16384 };

static void calls_100000_deep(void **state)
{
    (void)state;
    struct deep *frames = (struct deep *)calloc(DEPTH + 1, sizeof *frames);
    assert_non_null(frames);
    for (int suspend = 0; suspend < 2; suspend++) {
        stack_used();
        assert_result(RUN(deep, .depth = DEPTH, .suspend = suspend != 0, .below = frames), DEPTH);
        assert_in_range(stack_used(), 0, STACK_LIMIT);
    }
    free(frames);
}
static void calls_in_blocks_100000_deep(void **state)
{
    (void)state;
    struct test_memory memory = { 0, 0, 0 };
    struct aio_loop_options options = virtual_clock;
    options.allocator.allocate = test_allocate;
    options.allocator.release = test_release;
    options.allocator.context = &memory;
    for (int suspend = 0; suspend < 2; suspend++) {
        stack_used();
        assert_result(aio_run_with(&options, deep_new, .depth = DEPTH, .suspend = suspend != 0),
                      DEPTH);
        assert_in_range(stack_used(), 0, STACK_LIMIT);
        assert_int_equal(memory.blocks, 0);
    }
}
static void no_memory_deep_down(void **state)
{
    (void)state;
    struct test_memory memory = { 0, 0, 12 };
    struct aio_loop_options options = virtual_clock;
    options.allocator.allocate = test_allocate;
    options.allocator.release = test_release;
    options.allocator.context = &memory;
    // Each caller adds one to what it gets, so the sum tells how deep it came.
    aio_result r = aio_run_with(&options, deep_new, .depth = DEPTH);
    assert_in_range(r + ENOMEM, 100, DEPTH - 1);
    assert_int_equal(memory.blocks, 0);
    stack_used();
}

// --- mutual recursion
struct odd {
    aio_frame aio;
    int n;
};
struct even {
    aio_frame aio;
    int n;
};
aio_declare(odd);
aio_async(even) {
    int r;
    if (!self->n) return 1;
    aio_try(r, aio_call_new(odd, .n = self->n - 1));
    return r;
} aio_end
aio_async(odd) {
    int r;
    if (!self->n) return 0;
    aio_await(aio_next_turn());
    aio_try(r, aio_call_new(even, .n = self->n - 1));
    return r;
} aio_end
static void mutual_recursion(void **state)
{
    (void)state;
    assert_result(RUN(even, .n = 1000), 1);
    assert_result(RUN(even, .n = 1001), 0);
}

// --- tasks: started in order, joined, eager, in a slot
struct worker {
    aio_frame aio;
    int *at;
    int value;
};
aio_async(worker) {
    *self->at = *self->at * 10 + self->value;
    aio_try(aio_sleep(10));
    return self->value;
} aio_end
struct tasks {
    aio_frame aio;
    aio_task *a, *b, *c;
    aio_slot(worker) slot;
    int order, sum;
};
aio_async(tasks) {
    int r;
    self->a = aio_spawn(worker, .at = &self->order, .value = 1);
    self->b = aio_spawn_eager(worker, .at = &self->order, .value = 2);
    self->c = aio_spawn_in(&self->slot, worker, .at = &self->order, .value = 3);
    aio_await(r, aio_join(self->c));
    self->sum += r;
    aio_await(r, aio_join(self->a));
    self->sum += r;
    aio_await(r, aio_join(self->b));
    self->sum += r;
    return self->order * 100 + self->sum;
} aio_end
static void tasks_start_in_order(void **state)
{
    (void)state;
    // With next to no C stack the eager one waits for its turn like the others.
    assert_result(RUN(tasks), AIO_CALL_STACK < 1024 ? 12306 : 21306);
}

// --- awaitables of one's own, part one: a stopwatch over a callback handle
struct stopwatch {
    aio_handle handle;
    aio_waiter *waiter;
    int64_t began, ns;
};
static aio_wait_class stopwatch_wait;       // filled in main: C++17 has no designators
static aio_await_class stopwatch_await;
static int stopwatch_rings(void *arg)
{
    struct stopwatch *s = (struct stopwatch *)arg;
    aio_complete(s->waiter, aio_loop_time(aio_running_loop()) - s->began);
    return 0;
}
static bool stopwatch_cancel(aio_waiter *w)
{
    struct stopwatch *s = (struct stopwatch *)w->node.u.p[0];
    aio_handle_cancel(&s->handle);
    aio_complete(w, -ECANCELED);
    return true;
}
static bool stopwatch_start(aio_waiter *w, const aio_awaitable *a)
{
    struct stopwatch *s = (struct stopwatch *)a->u.p[0];
    aio_loop *loop = aio_running_loop();
    s->waiter = w;
    s->began = aio_loop_time(loop);
    aio_result r = aio_call_later(loop, &s->handle, s->ns, stopwatch_rings, s);
    if (r < 0) {
        w->future.result = r;
        return true;
    }
    w->node.u.p[0] = s;
    aio_waiter_begin(w, &stopwatch_wait);
    return false;
}
static size_t stopwatch_describe(const aio_waiter *w, char *text, size_t size)
{
    const struct stopwatch *s = (const struct stopwatch *)w->node.u.p[0];
    int n = snprintf(text, size, "stopwatch of %lld ns", (long long)s->ns);
    return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}
AIO_FN AIO_NODISCARD aio_awaitable stopwatch_wait_for(struct stopwatch *s, int64_t ns)
{
    aio_awaitable a;
    s->ns = ns;
    a.cls = &stopwatch_await;
    a.u.p[0] = s;
    return a;
}

// Part two: a channel that carries one value, once. A value that came just before its receiver was
// cancelled is not lost: `resume` puts it back.
struct channel {
    aio_waiter *waiter;
    bool full;
    aio_result value;
};
static aio_wait_class channel_wait;
static aio_await_class channel_await;
static aio_result channel_resume(aio_waiter *w, bool must_cancel)
{
    struct channel *c = (struct channel *)w->node.u.p[0];
    c->waiter = NULL;
    if (must_cancel) return -ECANCELED;
    c->full = false;
    return c->value;
}
static bool channel_cancel(aio_waiter *w)
{
    struct channel *c = (struct channel *)w->node.u.p[0];
    if (c->full) return false;      // it is woken already; resume will answer
    c->waiter = NULL;
    aio_complete(w, -ECANCELED);
    return true;
}
static bool channel_start(aio_waiter *w, const aio_awaitable *a)
{
    struct channel *c = (struct channel *)a->u.p[0];
    if (c->full) {
        c->full = false;
        w->future.result = c->value;
        return true;
    }
    c->waiter = w;
    w->node.u.p[0] = c;
    aio_waiter_begin(w, &channel_wait);
    return false;
}
static void channel_send(struct channel *c, aio_result value)
{
    c->full = true;
    c->value = value;
    if (c->waiter) aio_wake(c->waiter, &channel_wait);
}
AIO_FN AIO_NODISCARD aio_awaitable channel_receive(struct channel *c)
{
    aio_awaitable a;
    a.cls = &channel_await;
    a.u.p[0] = c;
    return a;
}

struct watcher {
    aio_frame aio;
    struct stopwatch watch;
};
aio_async(watcher) {
    aio_result r;
    aio_await(r, stopwatch_wait_for(&self->watch, 25));
    return r;
} aio_end
struct receiver {
    aio_frame aio;
    struct channel *channel;
};
aio_async(receiver) {
    aio_result r;
    aio_await(r, channel_receive(self->channel));
    return r;
} aio_end
struct own_awaitables {
    aio_frame aio;
    struct channel channel;
    struct watcher nested;
    aio_task *t;
    int passed;
};
aio_async(own_awaitables) {
    aio_result r;
    aio_await(r, aio_call(&self->nested, watcher));         // in a nested call
    self->passed += r == 25;
    self->t = aio_spawn(watcher);                           // cancelled while it waits
    aio_await(aio_sleep(10));
    aio_task_cancel(self->t);
    aio_await(r, aio_join(self->t));
    self->passed += r == -ECANCELED;
    aio_await(aio_sleep(100));                              // and its handle does not ring
    self->t = aio_spawn(receiver, .channel = &self->channel);
    aio_await(aio_sleep(10));                               // received while it waits
    channel_send(&self->channel, 41);
    aio_await(r, aio_join(self->t));
    self->passed += r == 41;
    channel_send(&self->channel, 42);                       // there already
    aio_await(r, channel_receive(&self->channel));
    self->passed += r == 42;
    self->t = aio_spawn(receiver, .channel = &self->channel);
    aio_await(aio_sleep(10));                               // cancelled while it waits
    aio_task_cancel(self->t);
    aio_await(r, aio_join(self->t));
    self->passed += r == -ECANCELED && !self->channel.waiter;
    self->t = aio_spawn(receiver, .channel = &self->channel);
    aio_await(aio_sleep(10));                               // sent, then cancelled in the same turn
    channel_send(&self->channel, 43);
    aio_task_cancel(self->t);
    aio_await(r, aio_join(self->t));
    self->passed += r == -ECANCELED;
    aio_await(r, channel_receive(&self->channel));
    self->passed += r == 43;                                // the value is not lost
    return self->passed;
} aio_end
// They can be limited and raced like the toolkit's own.
struct limits_own {
    aio_frame aio;
    struct channel channel;
    struct stopwatch watch;
    aio_op ops[2];
    int passed;
};
aio_async(limits_own) {
    aio_result r;
    aio_await(r, aio_wait_for(10, stopwatch_wait_for(&self->watch, 50)));
    self->passed += r == -ETIMEDOUT && aio_loop_time(aio_running_loop()) == 10;
    aio_await(r, aio_wait_for(100, stopwatch_wait_for(&self->watch, 50)));
    self->passed += r == 50;
    aio_await(r, aio_wait_for(10, channel_receive(&self->channel)));
    self->passed += r == -ETIMEDOUT && !self->channel.waiter;
    aio_start(&self->ops[0], stopwatch_wait_for(&self->watch, 7));
    aio_start(&self->ops[1], channel_receive(&self->channel));
    aio_await(r, aio_race(self->ops, 2));
    self->passed += r == 0 && aio_op_result(&self->ops[0]) == 7;
    self->passed += aio_op_result(&self->ops[1]) == -ECANCELED && !self->channel.waiter;
    aio_start(&self->ops[0], stopwatch_wait_for(&self->watch, 7));
    channel_send(&self->channel, 44);
    aio_start(&self->ops[1], channel_receive(&self->channel));
    aio_await(r, aio_race(self->ops, 2));
    self->passed += r == 1 && aio_op_result(&self->ops[1]) == 44;
    self->passed += aio_op_result(&self->ops[0]) == -ECANCELED;
    aio_await(aio_sleep(100));                              // and that stopwatch does not ring
    return self->passed;
} aio_end

static void awaitables_of_ones_own(void **state)
{
    (void)state;
    assert_result(RUN(own_awaitables), 7);
    assert_result(RUN(limits_own), 7);
}

// --- what a dump shows
struct sleeper {
    aio_frame aio;
};
aio_async(sleeper) {
    aio_try(aio_sleep(2 * AIO_SECOND));
    return 0;
} aio_end
struct waits_for_sleeper {
    aio_frame aio;
    struct sleeper child;
};
aio_async(waits_for_sleeper) {
    aio_try(aio_call(&self->child, sleeper));
    return 0;
} aio_end
struct dumper {
    aio_frame aio;
    aio_task *a, *b, *c;
    char *text;
    size_t size;
};
aio_async(dumper) {
    self->a = aio_spawn(waits_for_sleeper);
    self->b = aio_spawn(watcher);
    aio_task_set_name(self->b, "the watcher");
    aio_await(aio_sleep(1));
    FILE *out = fmemopen(self->text, self->size, "w");
    if (!out) return -ENOMEM;
    aio_loop_dump(aio_running_loop(), out);
    fclose(out);
    aio_detach(self->a);
    aio_detach(self->b);
    return 0;
} aio_end
static void a_dump_names_the_awaits(void **state)
{
    (void)state;
    char text[2048] = "";
    assert_result(RUN(dumper, .text = text, .size = sizeof text), 0);
    const char *const wanted[] = {
        "waits_for_sleeper#2: waits for sleep 2.0000",
        "t_language.c:",
        ": sleeper: aio_sleep(2 * ",
        ": waits_for_sleeper: aio_call(&self->child, sleeper)",
        "the watcher#3: waits for stopwatch of 25 ns",
        "watcher: r, stopwatch_wait_for(&self->watch, 25)",
        "dumper#1: runs",
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if (!strstr(text, wanted[i])) print_error("\"%s\" is not in:\n%s\n", wanted[i], text);
        assert_non_null(strstr(text, wanted[i]));
    }
    // The leaf stands above its caller.
    assert_true(strstr(text, ": sleeper:") < strstr(text, ": waits_for_sleeper: aio_call"));
}

// --- scopes: a frame never returns over something that it opened
static char trace[256];
static void note(const char *word)
{
    strncat(trace, word, sizeof trace - strlen(trace) - 1);
    strncat(trace, " ", sizeof trace - strlen(trace) - 1);
}
struct scope {
    aio_scope scope;
    const char *name;
    int64_t sleep_ns;       // how long its exit waits
    bool begun;
    aio_result replace;     // what the exit makes of the result; 0: leaves it
};
static aio_scope_class scope_class, waiting_scope_class;
static aio_result scope_exit(aio_scope *scope, aio_task *t, aio_result r)
{
    struct scope *s = (struct scope *)(void *)scope;
    (void)t;
    note(s->name);
    return s->replace ? s->replace : r;
}
static aio_result waiting_scope_exit(aio_scope *scope, aio_task *t, aio_result r)
{
    struct scope *s = (struct scope *)(void *)scope;
    if (!s->begun) {
        s->begun = true;
        note("begin");
        aio_awaitable a = aio_sleep(s->sleep_ns);
        if (!a.cls->start(&t->waiter, &a)) return AIO_PENDING;
    }
    note(s->name);
    if (t->waiter.future.result < 0) note("cut");
    return s->replace ? s->replace : r;
}
static void scope_open(struct scope *s, const char *name, int64_t sleep_ns)
{
    s->name = name;
    s->sleep_ns = sleep_ns;
    s->begun = false;
    aio_scope_enter(&s->scope, aio_current_task(), sleep_ns ? &waiting_scope_class : &scope_class);
}
static void scope_close(struct scope *s) { aio_scope_leave(&s->scope, aio_current_task()); }

struct one_scope {
    aio_frame aio;
    struct scope a;
    int64_t sleep_ns;
    aio_result result, replace;
    bool suspend;
};
aio_async(one_scope) {
    self->a.replace = self->replace;
    scope_open(&self->a, "a", self->sleep_ns);
    if (self->suspend) aio_await(aio_sleep(1));
    return self->result;
} aio_end
static void a_scope_ends_with_its_frame(void **state)
{
    (void)state;
    for (int suspend = 0; suspend < 2; suspend++) {
        trace[0] = 0;
        assert_result(RUN(one_scope, .result = 5, .suspend = suspend != 0), 5);
        assert_string_equal(trace, "a ");
        trace[0] = 0;
        assert_result(RUN(one_scope, .result = 5, .suspend = suspend != 0, .sleep_ns = 10), 5);
        assert_string_equal(trace, "begin a ");
        assert_result(RUN(one_scope, .result = 5, .replace = 6, .suspend = suspend != 0), 6);
        assert_result(RUN(one_scope, .result = 5, .replace = 7, .sleep_ns = 10), 7);
    }
}

struct nested_scopes {
    aio_frame aio;
    struct scope a, b, c, d;
};
aio_async(nested_scopes) {
    scope_open(&self->a, "a", 0);
    scope_open(&self->b, "b", 10);
    aio_await(aio_sleep(1));
    scope_open(&self->c, "c", 0);
    scope_open(&self->d, "d", 20);
    aio_try(aio_sleep(1));
    return 9;
} aio_end
struct crossed_scopes {
    aio_frame aio;
    struct scope a, b, c;
};
aio_async(crossed_scopes) {
    scope_open(&self->a, "a", 0);
    scope_open(&self->b, "b", 10);
    scope_open(&self->c, "c", 0);
    aio_await(aio_sleep(1));
    scope_close(&self->b);          // out of order
    scope_close(&self->b);          // twice: harmless
    scope_close(&self->a);
    note("body");
    return 3;
} aio_end
static void scopes_end_innermost_first(void **state)
{
    (void)state;
    trace[0] = 0;
    assert_result(RUN(nested_scopes), 9);
    assert_string_equal(trace, "begin d c begin b a ");
    trace[0] = 0;
    assert_result(RUN(crossed_scopes), 3);
    assert_string_equal(trace, "body c ");
}

struct outer_scope {
    aio_frame aio;
    struct scope o;
    struct nested_scopes child;
    bool in_a_block;
};
aio_async(outer_scope) {
    aio_result r;
    scope_open(&self->o, "o", 5);
    if (self->in_a_block) aio_await(r, aio_call_new(one_scope, .result = 11, .sleep_ns = 7));
    else aio_await(r, aio_call(&self->child, nested_scopes));
    note("back");
    return r + 1;
} aio_end
static void a_nested_call_ends_only_its_own_scopes(void **state)
{
    (void)state;
    trace[0] = 0;
    assert_result(RUN(outer_scope), 10);
    assert_string_equal(trace, "begin d c begin b a back begin o ");
    trace[0] = 0;
    assert_result(RUN(outer_scope, .in_a_block = true), 12);
    assert_string_equal(trace, "begin a back begin o ");
}

struct cancels_scopes {
    aio_frame aio;
    aio_task *t;
    int64_t after;
    bool detach;
};
aio_async(cancels_scopes) {
    aio_result r;
    self->t = aio_spawn(nested_scopes);
    aio_await(aio_sleep(self->after));
    aio_task_cancel(self->t);
    aio_await(r, aio_join(self->t));
    return r;
} aio_end
static void scopes_end_under_cancellation(void **state)
{
    (void)state;
    trace[0] = 0;
    aio_result r = RUN(cancels_scopes, .after = 2);         // in its second sleep
    assert_result(r, -ECANCELED);
    assert_string_equal(trace, "begin d c begin b a ");
    trace[0] = 0;
    r = RUN(cancels_scopes, .after = 12);                   // while scope d ends: its exit sees it
    assert_result(r, 9);
    assert_string_equal(trace, "begin d cut c begin b a ");
}

// --- nothing is allocated once warm
struct child_sleep {
    aio_frame aio;
    char pad[100];
};
aio_async(child_sleep) {
    aio_try(aio_sleep(1));
    return 1;
} aio_end
struct warm {
    aio_frame aio;
    struct child_sleep child;
    struct channel channel;
    struct stopwatch watch;
    const struct test_memory *memory;
    aio_task *t[8];
    int round, i;
    long warm_calls, changed;
};
aio_async(warm) {
    aio_result r;
    for (self->round = 0; self->round < 50; self->round++) {
        if (self->round == 2) self->warm_calls = self->memory->calls;
        aio_await(aio_next_turn());
        aio_await(aio_sleep(3));
        aio_await(r, aio_call(&self->child, child_sleep));
        aio_await(r, aio_call_new(child_sleep));
        if (r != 1) return -1;
        for (self->i = 0; self->i < 8; self->i++) self->t[self->i] = aio_spawn(child_sleep);
        aio_await(aio_next_turn());
        aio_task_cancel(self->t[3]);
        for (self->i = 0; self->i < 8; self->i++) aio_await(aio_join(self->t[self->i]));
        aio_detach(aio_spawn(child_sleep));
        aio_await(stopwatch_wait_for(&self->watch, 5));
        channel_send(&self->channel, 1);
        aio_await(channel_receive(&self->channel));
    }
    return self->memory->calls - self->warm_calls;
} aio_end
static void nothing_is_allocated_once_warm(void **state)
{
    (void)state;
    struct test_memory memory = { 0, 0, 0 };
    struct aio_loop_options options = virtual_clock;
    options.allocator.allocate = test_allocate;
    options.allocator.release = test_release;
    options.allocator.context = &memory;
    assert_result(aio_run_with(&options, warm, .memory = &memory), 0);
    assert_int_equal(memory.blocks, 0);
    assert_true(memory.calls > 2);      // the control: the count does count
}

// --- the sizes that are promised
static void sizes(void **state)
{
    (void)state;
    assert_int_equal(sizeof(aio_frame), 2 * sizeof(void *));
    if (sizeof(void *) == 8) {
        assert_int_equal(sizeof(aio_awaitable), 80);
        assert_int_equal(sizeof(aio_waiter), 64);
        assert_in_range(sizeof(aio_task) + sizeof(aio_frame) + 16, 1, 160);
    }
}

// --- arguments are read before the storage they go to is touched, in every form and mode
struct pair { aio_frame aio; int64_t a, b; };
aio_async(pair) {
    aio_try(aio_sleep(0));
    return self->a * 10 + self->b;
} aio_end
struct wide { aio_frame aio; int64_t a, b; char room[1000]; };
aio_async(wide) {
    aio_try(aio_sleep(0));
    for (size_t i = 0; i < sizeof self->room; i++) assert_int_equal(self->room[i], 0);
    return self->a * 10 + self->b;
} aio_end
struct scratched { aio_frame aio; int64_t a, b; char room[1000]; };
aio_scratch(scratched, room);
aio_async(scratched) {
    aio_try(aio_sleep(0));
    return self->a * 10 + self->b;
} aio_end
struct counts { aio_frame aio; int64_t from, to, value; };
aio_async(counts) {
    for (; self->from < self->to; self->from++) aio_yield(self->from);
    return 0;
} aio_end
struct reads {
    aio_frame aio;
    union { struct pair pair; struct wide wide; struct scratched scratched; int64_t words[200]; } u;
    aio_slot(pair) slot;
    aio_slot(wide) wide_slot;
    struct counts counts;
    aio_task *t;
    aio_result r;
};
aio_async(reads) {
    self->u.pair.a = 1, self->u.pair.b = 2;             // swapped: each is read before one is written
    aio_try(self->r, aio_call(&self->u.pair, pair, .a = self->u.pair.b, .b = self->u.pair.a));
    assert_result(self->r, 21);
    self->u.wide.a = 3, self->u.wide.b = 4;
    aio_try(self->r, aio_call(&self->u.wide, wide, .a = self->u.wide.b, .b = self->u.wide.a));
    assert_result(self->r, 43);
    self->u.scratched.a = 5, self->u.scratched.b = 6;
    aio_try(self->r, aio_call(&self->u.scratched, scratched, .a = self->u.scratched.b,
                              .b = self->u.scratched.a));
    assert_result(self->r, 65);
    for (size_t i = 0; i < 200; i++) self->u.words[i] = (int64_t)i;     // what is about to be zeroed
    aio_try(self->r, aio_call(&self->u.pair, pair, .a = self->u.words[2], .b = self->u.words[3]));
    assert_result(self->r, 23);
    self->t = aio_spawn_in(&self->slot, pair, .a = 7, .b = 8);
    aio_try(self->r, aio_join(self->t));
    self->t = aio_spawn_in(&self->slot, pair, .a = self->slot.frame.b, .b = self->slot.frame.a);
    aio_try(self->r, aio_join(self->t));
    assert_result(self->r, 87);
    self->t = aio_spawn_in(&self->wide_slot, wide, .a = 1, .b = 2);
    aio_try(self->r, aio_join(self->t));
    self->t = aio_spawn_in(&self->wide_slot, wide, .a = self->wide_slot.frame.b,
                           .b = self->wide_slot.frame.a);
    aio_try(self->r, aio_join(self->t));
    assert_result(self->r, 21);
    self->counts.from = 9, self->counts.to = 6;
    aio_try(aio_gen_init(&self->counts, counts, .from = self->counts.to, .to = self->counts.from));
    aio_try(self->r, aio_next(&self->counts));
    assert_result(self->r, 1);
    assert_result(aio_gen_value(&self->counts), 6);
    aio_try(aio_gen_close(&self->counts));
    return 0;
} aio_end
static void arguments_are_read_before_the_storage_is_touched(void **state)
{
    (void)state;
    assert_result(RUN(reads), 0);
}

// --- what does not wait gives a result at once: any signed one
static int plain_int(int n) { return n; }
static long plain_long(long n) { return n; }
static long long plain_long_long(long long n) { return n; }
struct plain { aio_frame aio; int got; };
aio_async(plain) {
    int n;
    aio_try(n, plain_int(3));
    self->got += n;
    aio_try(plain_int(0));
    aio_await(n, plain_int(-EAGAIN));
    assert_int_equal(n, -EAGAIN);
    aio_try(n, plain_long(4));
    self->got += n;
    aio_try(n, plain_long_long(5));
    self->got += n;
    assert_int_equal(self->got, 12);
    aio_try(plain_int(-ENOENT));
    return 1;
} aio_end
static void a_plain_integer_is_a_result(void **state)
{
    (void)state;
    assert_result(RUN(plain), -ENOENT);
}

int main(void)
{
    virtual_clock.clock = AIO_CLOCK_VIRTUAL;
    virtual_clock.on_error = on_error;
    stopwatch_wait.name = "stopwatch";
    stopwatch_wait.cancel = stopwatch_cancel;
    stopwatch_wait.describe = stopwatch_describe;
    stopwatch_await.start = stopwatch_start;
    stopwatch_await.name = "stopwatch";
    channel_wait.name = "channel";
    channel_wait.cancel = channel_cancel;
    channel_wait.resume = channel_resume;
    channel_await.start = channel_start;
    channel_await.name = "channel";
    scope_class.name = waiting_scope_class.name = "scope";
    scope_class.exit = scope_exit;
    waiting_scope_class.exit = waiting_scope_exit;
    const struct CMUnitTest tests[] = {
#ifndef AIO_STRICT
        cmocka_unit_test(awaits_in_a_switch),
#  ifdef __cplusplus
        cmocka_unit_test(awaits_in_a_switch_over_a_scoped_enum),
        cmocka_unit_test(no_byte_meets_one_either),
#  endif
        cmocka_unit_test(no_value_meets_a_planted_case),
#else
        cmocka_unit_test(an_await_in_a_wide_switch_is_a_panic),
#endif
        cmocka_unit_test(awaits_in_nested_loops),
        cmocka_unit_test(awaits_in_any_place),
        cmocka_unit_test(locals_between_awaits),
        cmocka_unit_test(returns),
        cmocka_unit_test(try_leaves_its_variable_alone),
        cmocka_unit_test(calls_100000_deep),
        cmocka_unit_test(calls_in_blocks_100000_deep),
        cmocka_unit_test(no_memory_deep_down),
        cmocka_unit_test(mutual_recursion),
        cmocka_unit_test(tasks_start_in_order),
        cmocka_unit_test(awaitables_of_ones_own),
        cmocka_unit_test(a_dump_names_the_awaits),
        cmocka_unit_test(a_scope_ends_with_its_frame),
        cmocka_unit_test(scopes_end_innermost_first),
        cmocka_unit_test(a_nested_call_ends_only_its_own_scopes),
        cmocka_unit_test(scopes_end_under_cancellation),
        cmocka_unit_test(nothing_is_allocated_once_warm),
        cmocka_unit_test(sizes),
        cmocka_unit_test(a_plain_integer_is_a_result),
        cmocka_unit_test(arguments_are_read_before_the_storage_is_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
