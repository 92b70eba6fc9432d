// What an await's result is stored in, and what an await's arguments may be. Also built as strict
// ISO C11 and as C++.
#include "aio_loop.h"
#include "test.h"

static struct aio_loop_options virtual_clock;   // filled in main
static int reports;
static aio_result last_error;
static char last_report[128], last_site[512];
static void on_error(aio_loop *loop, const struct aio_report *report, void *context)
{
    (void)loop;
    (void)context;
    reports++;
    last_error = report->error;
    snprintf(last_report, sizeof last_report, "%s", report->message);
    if (!report->site) return;
    snprintf(last_site, sizeof last_site, "%s:%u %s", report->site->body->coroutine->file,
             (unsigned)report->site->line, report->site->text);
}
#define RUN(...) aio_run_with(&virtual_clock, __VA_ARGS__)

struct point {
    int x, y;
};
struct child {
    aio_frame aio;
    int a, b;
    struct point p;
    const char *s;
    int v[3];
    bool suspend;
};
aio_async(child) {
    if (self->suspend) aio_await(aio_sleep(1));
    return self->a + self->b + self->p.x + self->v[1] + (self->s ? self->s[0] - 'x' : 0);
} aio_end
struct echo {
    aio_frame aio;
    aio_result r;
};
aio_async(echo) {
    return self->r;
} aio_end

// --- every signed type, in every place that can be assigned
struct bits {
    signed char c;
    int64_t wide;
};
struct types {
    aio_frame aio;
    struct child child;
    struct bits *box;
    struct bits store;
    int i;
    int16_t array[4];
    int *pointer;
    aio_result sum;
};
aio_async(types) {
    int r;
    signed char sc;
    short sh;
    long l;
    long long ll;
    int8_t i8;
    int16_t i16;
    int32_t i32;
    int64_t i64;
    intptr_t ip;
    ptrdiff_t pd;
    ssize_t ss;
    aio_result ar;
    self->box = &self->store;
    self->pointer = &self->i;
    aio_await(r, aio_call(&self->child, child, .a = 1));
    self->sum += r;
    aio_await(sc, aio_call(&self->child, child, .a = 1, .suspend = true));
    self->sum += sc;
    aio_await(sh, aio_call(&self->child, child, .a = 1));
    self->sum += sh;
    aio_await(l, aio_call(&self->child, child, .a = 1));
    self->sum += l;
    aio_await(ll, aio_call(&self->child, child, .a = 1));
    self->sum += ll;
    aio_await(i8, aio_call(&self->child, child, .a = -1));
    self->sum -= i8;
    aio_await(i16, aio_call(&self->child, child, .a = -1));
    self->sum -= i16;
    aio_await(i32, aio_call(&self->child, child, .a = -1));
    self->sum -= i32;
    aio_await(i64, aio_call(&self->child, child, .a = -1));
    self->sum -= i64;
    aio_await(ip, aio_call(&self->child, child, .a = 1));
    self->sum += ip;
    aio_await(pd, aio_call(&self->child, child, .a = 1));
    self->sum += pd;
    aio_await(ss, aio_call(&self->child, child, .a = 1));
    self->sum += ss;
    aio_await(ar, aio_call(&self->child, child, .a = 1));
    self->sum += ar;                                            // 13
    aio_await(self->box->c, aio_call(&self->child, child, .a = -7, .suspend = true));
    aio_await(self->box->wide, aio_call(&self->child, child, .a = 8));
    aio_await(self->array[2], aio_call(&self->child, child, .a = 9));
    aio_await(*self->pointer, aio_call(&self->child, child, .a = 10));
    aio_await(*(&self->array[0] + 1), aio_call(&self->child, child, .a = 11));
    return self->sum * 1000000 + self->store.c + self->store.wide * 10 + self->array[2] * 100 +
           self->i * 1000 + self->array[1] * 10000;
} aio_end
static void signed_types(void **state)
{
    (void)state;
    assert_result(RUN(types), 13000000 - 7 + 80 + 900 + 10000 + 110000);
}

// --- a result that does not fit is reported, with its place
struct narrow {
    aio_frame aio;
    struct echo child;
    signed char c;
    int i;
    bool fits;
};
aio_async(narrow) {
    if (self->fits) {
        aio_await(self->c, aio_call(&self->child, echo, .r = -128));
        aio_await(self->i, aio_call(&self->child, echo, .r = INT32_MAX));
        aio_await(self->i, aio_call(&self->child, echo, .r = INT32_MIN));
        return 0;
    }
    aio_await(self->c, aio_call(&self->child, echo, .r = 128));
    aio_try(self->i, aio_call(&self->child, echo, .r = INT64_C(0x100000001)));
    return self->i;
} aio_end
static void a_result_that_does_not_fit_is_reported(void **state)
{
    (void)state;
    reports = 0;
    assert_result(RUN(narrow, .fits = true), 0);
    assert_int_equal(reports, 0);
    assert_result(RUN(narrow), 1);
    assert_int_equal(reports, 2);
    assert_result(last_error, -ERANGE);
    assert_non_null(strstr(last_report, "does not fit"));
    assert_non_null(strstr(last_site, "t_lhs.c:"));
    assert_non_null(strstr(last_site, "self->i, aio_call(&self->child, echo, .r = "));
}

// --- each argument is evaluated once
static int counts[8];
static int count(int which) { return counts[which]++; }
static aio_awaitable counted_sleep(int which)
{
    count(which);
    return aio_sleep(1);
}
struct evaluated {
    aio_frame aio;
    struct child kids[2];
    int results[4];
    aio_slot(child) slots[2];
};
aio_async(evaluated) {
    aio_task *t;
    aio_await(self->results[count(0)], aio_call(&self->kids[count(1)], child, .a = count(2), .b = 5,
                                                .suspend = true));
    aio_await(counted_sleep(3));
    aio_try(counted_sleep(3));
    aio_try(self->results[2 + count(4)], counted_sleep(3));
    t = aio_spawn(child, .a = count(5));
    aio_detach(t);
    t = aio_spawn_in(&self->slots[count(6)], child, .a = count(7));
    aio_await(aio_join(t));
    return self->results[0] * 10 + self->results[1];
} aio_end
static void arguments_are_evaluated_once(void **state)
{
    (void)state;
    memset(counts, 0, sizeof counts);
    assert_result(RUN(evaluated), 50);
    const int expected[8] = { 1, 1, 1, 3, 1, 1, 1, 1 };
    assert_memory_equal(counts, expected, sizeof expected);
}

// --- keyword arguments: any member, in any order; the rest is zero, also in storage used before
struct pair {
    int first, second;
};
static aio_awaitable sleep_for(struct pair p) { return aio_sleep(p.first + p.second); }
static struct pair pair_of(int a, int b)
{
    struct pair p;
    p.first = a;
    p.second = b;
    return p;
}
struct keywords {
    aio_frame aio;
    struct child child;
    int sum;
};
aio_async(keywords) {
    int r;
#ifdef AIO_STRICT
    aio_await(r,
              aio_call(&self->child, child, .b = 2, .a = 1, .p = {4, 0}, .s = "y", .v = {0, 10}));
#else
    aio_await(r, aio_call(&self->child, child, .b = 2, .a = 1, .p.x = 4, .s = "y", .v[1] = 10));
#endif
    self->sum += r;                                             // 18
    aio_await(r, aio_call(&self->child, child));                // all zero again
    self->sum += r;
    aio_await(r, aio_call_new(child, .a = 100));
    self->sum += r;
    aio_await(r, sleep_for(pair_of(1, 2)));
    self->sum += r;
#ifndef __cplusplus
    aio_await(r, sleep_for((struct pair){.first = 1, .second = 2})); // commas inside an awaitable
    self->sum += r;
#endif
    return self->sum;
} aio_end
static void keyword_arguments(void **state)
{
    (void)state;
    assert_result(RUN(keywords), 118);
}

struct many {
    aio_frame aio;
    int a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p;
};
aio_async(many) {
    return self->a + self->b + self->c + self->d + self->e + self->f + self->g + self->h + self->i +
           self->j + self->k + self->l + self->m + self->n + self->o + self->p;
} aio_end
static void sixteen_arguments(void **state)
{
    (void)state;
    assert_result(RUN(many, .a = 1, .b = 1, .c = 1, .d = 1, .e = 1, .f = 1, .g = 1, .h = 1, .i = 1,
                      .j = 1, .k = 1, .l = 1, .m = 1, .n = 1, .o = 1, .p = 1),
                  16);
}

int main(void)
{
    virtual_clock.clock = AIO_CLOCK_VIRTUAL;
    virtual_clock.on_error = on_error;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signed_types),
        cmocka_unit_test(a_result_that_does_not_fit_is_reported),
        cmocka_unit_test(arguments_are_evaluated_once),
        cmocka_unit_test(keyword_arguments),
        cmocka_unit_test(sixteen_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
