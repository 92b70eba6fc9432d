// Keyword arguments: all are read before the storage changes that a call, a generator or a slot takes.
// The same source is also built as strict ISO C11 and as C++17.
#include "aio_loop.h"
#include "test.h"

static struct aio_loop_options virtual_clock;   // filled in main
#define RUN(...) aio_run_with(&virtual_clock, __VA_ARGS__)

struct step { aio_frame aio; int at, by; };
aio_async(step) {
    aio_try(aio_next_turn());
    self->at += self->by;
    return self->at;
} aio_end

// --- a call goes on where the last one in the same storage stood
struct again { aio_frame aio; struct step step; int n; };
aio_async(again) {
    aio_try(self->n, aio_call(&self->step, step, .at = 1, .by = 2));
    aio_try(self->n, aio_call(&self->step, step, .at = self->step.at, .by = self->step.by));
    // in the other order, and each from the other's field
    aio_try(self->n, aio_call(&self->step, step, .by = self->step.at, .at = self->step.by));
    return self->n;
} aio_end
static void a_call_reads_what_its_storage_held(void **state)
{
    (void)state;
    assert_result(RUN(again), 2 + 5);
}

// --- callees that share their storage
struct dial { aio_frame aio; int fd; };
aio_async(dial) {
    self->fd = 42;
    return 0;
} aio_end
struct talk { aio_frame aio; int64_t padding; int fd, twice; };
aio_async(talk) { return self->fd * 1000 + self->twice; } aio_end
struct call_union { aio_frame aio; union { struct dial dial; struct talk talk; } u; int n; };
aio_async(call_union) {
    aio_try(aio_call(&self->u.dial, dial));
    aio_try(self->n, aio_call(&self->u.talk, talk, .fd = self->u.dial.fd, .twice = self->u.dial.fd * 2));
    return self->n;
} aio_end
static void a_call_reads_from_a_union(void **state)
{
    (void)state;
    assert_result(RUN(call_union), 42084);
}

// --- a slot
struct slots { aio_frame aio; aio_slot(step) slot; aio_task *t; int n; };
aio_async(slots) {
    self->t = aio_spawn_in(&self->slot, step, .at = 1, .by = 2);
    aio_try(aio_join(self->t));
    self->t = aio_spawn_in(&self->slot, step, .by = self->slot.frame.at, .at = self->slot.frame.by);
    aio_try(self->n, aio_join(self->t));
    return self->n;
} aio_end
static void a_spawn_reads_what_its_slot_held(void **state)
{
    (void)state;
    assert_result(RUN(slots), 5);
}

// --- a generator
struct count { aio_frame aio; int value, from, to; };
aio_async(count) {
    for (; self->from < self->to; self->from++) aio_yield(self->from);
    return 0;
} aio_end
struct generators { aio_frame aio; struct count count; int n, sum; };
aio_async(generators) {
    aio_try(aio_gen_init(&self->count, count, .from = 3, .to = 5));
    for (;;) {
        aio_try(self->n, aio_next(&self->count));
        if (!self->n) break;
        self->sum += aio_gen_value(&self->count);
    }
    aio_try(aio_gen_close(&self->count));
    aio_try(aio_gen_init(&self->count, count, .to = self->count.to + 2, .from = self->count.from));
    for (;;) {
        aio_try(self->n, aio_next(&self->count));
        if (!self->n) break;
        self->sum += aio_gen_value(&self->count);
    }
    return self->sum;
} aio_end
static void a_generator_reads_what_its_storage_held(void **state)
{
    (void)state;
    assert_result(RUN(generators), 3 + 4 + 5 + 6);
}

// --- in the order in which they are written, each once, before anything changes
static int trace[8], traced;
static struct wide *watched;
struct wide { aio_frame aio; int a, b; char text[300]; int c; };
static int note(int value)
{
    trace[traced++] = value;
    assert_int_equal(watched->a + watched->b + watched->c, 100 + 20 + 3);
    assert_int_equal(watched->text[299], 'x');
    return value;
}
aio_async(wide) {
    assert_int_equal(self->text[299], 0);
    return self->a + self->b + self->c;
} aio_end
struct order { aio_frame aio; struct wide wide; int n; };
aio_async(order) {
    self->wide.a = 100;
    self->wide.b = 20;
    self->wide.c = 3;
    self->wide.text[299] = 'x';
    watched = &self->wide;
    aio_try(self->n, aio_call(&self->wide, wide, .c = note(1), .a = note(2), .b = note(4)));
    return self->n;
} aio_end
static void arguments_are_read_once_each_before_anything_changes(void **state)
{
    (void)state;
    traced = 0;
    assert_result(RUN(order), 7);
    assert_int_equal(traced, 3);
    assert_int_equal(trace[0] + trace[1] + trace[2], 7);
}

// --- a frame that is not cleared to its end
struct large { aio_frame aio; int a, last; char buf[5000]; };
aio_scratch(large, buf);
aio_async(large) {
    self->buf[1] = 1;
    return self->a * 10 + self->last;
} aio_end
struct scratches { aio_frame aio; struct large large; int n; };
aio_async(scratches) {
    aio_try(self->n, aio_call(&self->large, large, .a = 1, .last = 2));
    aio_try(self->n, aio_call(&self->large, large, .a = self->large.last, .last = self->large.a));
    return self->n;
} aio_end
static void a_frame_with_scratch_reads_first_too(void **state)
{
    (void)state;
    assert_result(RUN(scratches), 21);
    aio_result r = RUN(large, .a = 3, .last = 4);       // a fresh block
    assert_result(r, 34);
}

// --- what sixteen arguments, members of members, elements and bit-fields give
struct point { int x, y; };
struct many {
    aio_frame aio;
    int a, b, c, d, e, f, g, h, i, j, k, l;
    struct point p;
    int v[2];
    unsigned flag : 1;
    unsigned rest : 7;
};
aio_async(many) {
    return self->a + self->b + self->c + self->d + self->e + self->f + self->g + self->h + self->i + self->j +
           self->k + self->l + self->p.x * 100 + self->v[1] * 1000 + (int)self->flag * 10000 + (int)self->rest;
} aio_end
struct all { aio_frame aio; struct many many; int n; };
aio_async(all) {
    aio_try(self->n, aio_call(&self->many, many, .a = 1, .b = 1, .c = 1, .d = 1, .e = 1, .f = 1, .g = 1, .h = 1,
                              .i = 1, .j = 1, .k = 1, .l = 1, .p.x = 2, .v[1] = 3, .flag = 1, .rest = 5));
    if (self->n != 12 + 200 + 3000 + 10000 + 5) return -EINVAL;
    aio_try(self->n, aio_call(&self->many, many, .rest = self->many.flag, .flag = self->many.rest & 1u,
                              .v[1] = self->many.p.x, .p.x = self->many.v[1]));
    return self->n;
} aio_end
static void members_elements_and_bit_fields_are_arguments(void **state)
{
    (void)state;
    assert_result(RUN(all), 300 + 2000 + 10000 + 1);
}

int main(void)
{
    virtual_clock.clock = AIO_CLOCK_VIRTUAL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_reads_what_its_storage_held),
        cmocka_unit_test(a_call_reads_from_a_union),
        cmocka_unit_test(a_spawn_reads_what_its_slot_held),
        cmocka_unit_test(a_generator_reads_what_its_storage_held),
        cmocka_unit_test(arguments_are_read_once_each_before_anything_changes),
        cmocka_unit_test(a_frame_with_scratch_reads_first_too),
        cmocka_unit_test(members_elements_and_bit_fields_are_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
