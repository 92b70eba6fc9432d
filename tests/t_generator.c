// Generators: values out of nested loops, awaits inside, closed early, dropped unused, one over
//             another.
// Also built as strict ISO C11 and as C++.
#include "aio_loop.h"
#include "test.h"

static struct aio_loop_options virtual_clock;   // filled in main
#define RUN(...) aio_run_with(&virtual_clock, __VA_ARGS__)

struct cell {
    int x, y;
};
struct grid {
    aio_frame aio;
    int w, h, x, y;
    int *cleaned;
    struct cell value;
};
aio_async(grid) {
    int closed;
    for (self->y = 0; self->y < self->h; self->y++) {
        for (self->x = 0; self->x < self->w; self->x++) {
            struct cell c;
            aio_try(aio_sleep(10));
            c.x = self->x;
            c.y = self->y;
            aio_yield(closed, c);
            if (closed) goto clean;
        }
    }
clean:
    aio_await(aio_sleep(5));
    ++*self->cleaned;
    return 0;
} aio_end

struct naturals {
    aio_frame aio;
    int64_t value, from;
    int *dropped;
};
aio_drop(naturals) {
    ++*self->dropped;
    return 0;
} aio_end
aio_async(naturals) {
    for (;;) aio_yield(self->from++);
} aio_end

struct evens {              // a generator over a generator
    aio_frame aio;
    int value;
    struct naturals in;
    int from;
    int *dropped;
};
aio_async(evens) {
    int r;
    aio_gen_init(&self->in, naturals, .from = self->from, .dropped = self->dropped);
    for (;;) {
        aio_try(r, aio_next(&self->in));
        if (!r) break;
        if (aio_gen_value(&self->in) % 2 == 0) aio_yield((int)aio_gen_value(&self->in));
    }
    return 0;
} aio_end

struct nothing {
    aio_frame aio;
    int value;
};
aio_async(nothing) {
} aio_end
struct failing {
    aio_frame aio;
    int value;
};
aio_async(failing) {
    aio_yield(1);
    aio_yield(2);
    return -EIO;
} aio_end

struct whole {
    aio_frame aio;
    struct grid g;
    int cleaned, sum, items;
};
aio_async(whole) {
    int r;
    aio_gen_init(&self->g, grid, .w = 3, .h = 2, .cleaned = &self->cleaned);
    for (;;) {
        aio_await(r, aio_next(&self->g));
        if (r <= 0) break;
        self->items++;
        self->sum += aio_gen_value(&self->g).x * 10 + aio_gen_value(&self->g).y;
    }
    if (r) return r;
    aio_await(r, aio_next(&self->g));       // the end stays the end
    if (r) return -1;
    return self->items * 1000 + self->sum * 10 + self->cleaned;
} aio_end
static void all_values_in_order(void **state)
{
    (void)state;
    assert_result(RUN(whole), 6000 + 630 + 1);
}

struct closes {
    aio_frame aio;
    struct grid g;
    struct naturals n;
    struct evens e;
    int cleaned, dropped, passed;
};
aio_async(closes) {
    int r;
    aio_gen_init(&self->g, grid, .w = 3, .h = 2, .cleaned = &self->cleaned);
    aio_await(r, aio_next(&self->g));
    aio_await(r, aio_gen_close(&self->g));                  // cleans up with an await
    self->passed += r == 0 && self->cleaned == 1;
    aio_await(r, aio_next(&self->g));
    self->passed += r == 0;
    aio_gen_init(&self->n, naturals, .from = 5, .dropped = &self->dropped);
    aio_await(r, aio_next(&self->n));
    aio_await(r, aio_next(&self->n));
    self->passed += r == 1 && aio_gen_value(&self->n) == 6;
    aio_await(r, aio_gen_close(&self->n));                  // at a plain yield: it returns
    self->passed += r == 0;
    aio_gen_init(&self->n, naturals, .dropped = &self->dropped);
    self->dropped = 0;
    aio_await(r, aio_gen_close(&self->n));                  // never ran: dropped
    self->passed += r == 0 && self->dropped == 1;
    aio_gen_init(&self->e, evens, .from = 10, .dropped = &self->dropped);
    aio_await(r, aio_next(&self->e));
    self->passed += r == 1 && aio_gen_value(&self->e) == 10;
    aio_await(r, aio_next(&self->e));
    self->passed += r == 1 && aio_gen_value(&self->e) == 12;
    aio_await(r, aio_gen_close(&self->e));
    self->passed += r == 0;
    return self->passed;
} aio_end
static void closed_early(void **state)
{
    (void)state;
    assert_result(RUN(closes), 8);
}

struct ends {
    aio_frame aio;
    struct nothing n;
    struct failing f;
    int passed;
};
aio_async(ends) {
    int r;
    aio_gen_init(&self->n, nothing);
    aio_await(r, aio_next(&self->n));
    self->passed += r == 0;
    aio_gen_init(&self->f, failing);
    aio_await(r, aio_next(&self->f));
    self->passed += r == 1 && self->f.value == 1;
    aio_await(r, aio_next(&self->f));
    self->passed += r == 1 && self->f.value == 2;
    aio_await(r, aio_next(&self->f));
    self->passed += r == -EIO;
    return self->passed;
} aio_end
static void empty_and_failing(void **state)
{
    (void)state;
    assert_result(RUN(ends), 4);
}

// A frame that returns closes what it iterated over.
struct leaves {
    aio_frame aio;
    struct grid g;
    int *cleaned;
};
aio_async(leaves) {
    int r;
    aio_gen_init(&self->g, grid, .w = 2, .h = 2, .cleaned = self->cleaned);
    aio_try(r, aio_next(&self->g));
    return r;
} aio_end
struct cancels {
    aio_frame aio;
    aio_task *t;
    int *cleaned;
};
aio_async(cancels) {
    int r;
    self->t = aio_spawn(leaves, .cleaned = self->cleaned);
    aio_await(aio_sleep(3));        // in the generator's own sleep
    aio_task_cancel(self->t);
    aio_await(r, aio_join(self->t));
    return r;
} aio_end
static void closed_by_the_frame(void **state)
{
    (void)state;
    int cleaned = 0;
    assert_result(RUN(leaves, .cleaned = &cleaned), 1);
    assert_int_equal(cleaned, 1);
    assert_result(RUN(cancels, .cleaned = &cleaned), -ECANCELED);
}

int main(void)
{
    virtual_clock.clock = AIO_CLOCK_VIRTUAL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_values_in_order),
        cmocka_unit_test(closed_early),
        cmocka_unit_test(empty_and_failing),
        cmocka_unit_test(closed_by_the_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
