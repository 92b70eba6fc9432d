// Errors as integers, and reports of what no await can tell: rules E-2, E-3, X-1.
#include "actors.h"

static struct aio_report last;
static void keep(aio_loop *loop, const struct aio_report *r, void *context)
{
    ++*(int *)context;
    assert_ptr_equal(loop, &core.loop);
    last = *r;
}
static int fails(void *arg) { (void)arg; return -EIO; }
static void X_1_a_report_says_what_and_who(void **state)
{
    (void)state;
    int reports = 0;
    core.loop.options.on_error = keep;
    core.loop.options.context = &reports;
    aio_task *t = core_spawn(at_once, .result = -EDOM);
    core_settle();
    aio_detach(t);
    assert_result(reports, 1);
    assert_string_equal(last.message, "task error was never retrieved");
    assert_result(last.error, -EDOM);
    assert_string_equal(last.site->body->coroutine->name, "at_once");
    aio_handle h = { 0 };
    aio_call_soon(&core.loop, &h, fails, NULL);
    core_settle();
    assert_result(reports, 2);
    assert_result(last.error, -EIO);
    assert_null(last.task);
    aio_future f = { 0 };
    aio_future_set_error(&f, -ENOENT);
    f.loop = &core.loop.executor;
    assert_result(aio_future_destroy(&f), 0);
    assert_result(reports, 3);
    assert_ptr_equal(last.future, &f);
    core.loop.options.on_error = core_on_error;
}

static void no_handler(void *arg)
{
    (void)arg;
    struct aio_loop_options o = { .clock = AIO_CLOCK_VIRTUAL };
    aio_loop loop;
    aio_loop_init(&loop, &o);
    aio_task *t = aio_spawn_on(&loop, at_once, .result = -EDOM);
    aio_detach(t);
    aio_loop_run_forever(&loop);
    aio_loop_close(&loop);
}
static void X_1_without_a_handler_it_is_a_line(void **state)
{
    (void)state;
    char text[4096];
    assert_result(test_in_child(no_handler, NULL, text, sizeof text), 0);
    assert_non_null(strstr(text, "aio: task error was never retrieved: EDOM: task at_once#1 at "));
    assert_non_null(strstr(text, "actors.h:"));
}

struct ignores { aio_frame aio; int waits; };
aio_async(ignores) {
    aio_await(aio_sleep(5));            // the result is not looked at
    self->waits++;
    aio_await(aio_sleep(5));
    self->waits++;
    return self->waits;
} aio_end
static void E_2_to_ignore_a_result_is_to_swallow_the_cancel(void **state)
{
    (void)state;
    aio_task *t = core_spawn(ignores);
    core_turn();
    aio_task_cancel(t);
    assert_result(core_run(t), 2);
    assert_false(aio_task_cancelled(t));
    assert_result(aio_task_cancelling(t), 1);
    assert_result(now(), 5);
    aio_detach(t);
}

static int hooks;
struct owner { aio_frame aio; bool started; };
aio_drop(owner) {
    assert_false(self->started);
    hooks++;
    return 0;
} aio_end
aio_async(owner) {
    self->started = true;
    aio_result r;
    aio_await(r, aio_sleep(5));
    hooks += 10;                        // the cleanup is code after the await
    return r;
} aio_end
static void E_3_cleanup_is_code_or_a_drop_hook(void **state)
{
    (void)state;
    hooks = 0;
    aio_task *t = core_spawn(owner);
    aio_task_cancel(t);
    core_settle();
    assert_result(hooks, 1);            // the body never ran
    aio_detach(t);
    t = core_spawn(owner);
    core_turn();
    aio_task_cancel(t);
    core_settle();
    assert_result(hooks, 11);
    aio_detach(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        core_test(X_1_a_report_says_what_and_who),
        core_test(X_1_without_a_handler_it_is_a_line),
        core_test(E_2_to_ignore_a_result_is_to_swallow_the_cancel),
        core_test(E_3_cleanup_is_code_or_a_drop_hook),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
