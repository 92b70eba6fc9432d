// The simulated clock moved from outside: timer by timer, not past them, or not at all.
#include "test.h"
#include "aio_loop.h"

static int rings;
static int ring(void *arg)
{
    (void)arg;
    rings++;
    return 0;
}
struct bell { aio_frame aio; int64_t every; };
aio_async(bell) {
    for (;;) {
        aio_try(aio_sleep(self->every));
        rings++;
    }
} aio_end
static aio_task *open_loop(aio_loop *l)
{
    struct aio_loop_options o = { .clock = AIO_CLOCK_VIRTUAL };
    rings = 0;
    assert_int_equal(aio_loop_init(l, &o), 0);
    return aio_spawn_on(l, bell, .every = 10);
}
static void close_loop(aio_loop *l, aio_task *t)
{
    aio_task_cancel(t);
    assert_int_equal(aio_loop_run_until_complete(l, t), -ECANCELED);
    aio_detach(t);
    assert_int_equal(aio_loop_close(l), 0);
}
static void J_5_advance_goes_timer_by_timer(void **state)
{
    (void)state;
    aio_loop l;
    aio_task *t = open_loop(&l);
    assert_int_equal(aio_sim_run_until_idle(&l), 0);
    assert_int_equal(rings, 0);
    assert_int_equal(aio_sim_advance(&l, 35), 0);
    assert_int_equal(rings, 3);
    assert_int_equal(aio_loop_time(&l), 35);        // J-4: exactly there
    assert_int_equal(aio_sim_advance(&l, 5), 0);
    assert_int_equal(rings, 4);
    close_loop(&l, t);
}
static void J_1_without_autojump_time_stands_still(void **state)
{
    (void)state;
    aio_loop l;
    aio_task *t = open_loop(&l);
    aio_sim_set_autojump(&l, false);
    assert_int_equal(aio_loop_run_until_complete(&l, t), -EAGAIN);
    assert_int_equal(aio_loop_time(&l), 0);
    assert_int_equal(aio_sim_advance(&l, 20), 0);   // moves it all the same
    assert_int_equal(rings, 2);
    assert_int_equal(aio_loop_run_until_complete(&l, t), -EAGAIN);
    close_loop(&l, t);
}
static void advance_is_for_virtual_clocks(void **state)
{
    (void)state;
    aio_loop l;
    assert_int_equal(aio_loop_init(&l, NULL), 0);
    assert_int_equal(aio_sim_advance(&l, 1), -EINVAL);
    assert_int_equal(aio_loop_close(&l), 0);
}
static void *call_from_outside(void *arg)
{
    static aio_handle soon, later;
    aio_loop *l = arg;
    bool refused = aio_call_soon(l, &soon, ring, NULL) == -EPERM &&
                   aio_call_later(l, &later, 1, ring, NULL) == -EPERM;
    return refused ? arg : NULL;
}
static void L_15_call_soon_from_another_thread(void **state)
{
    (void)state;
    aio_loop l;
    aio_task *t = open_loop(&l);
    pthread_t thread;
    void *refused;
    assert_int_equal(aio_sim_advance(&l, 1), 0);    // from now on the loop is this thread's
    assert_int_equal(pthread_create(&thread, NULL, call_from_outside, &l), 0);
    assert_int_equal(pthread_join(thread, &refused), 0);
    assert_non_null(refused);
    close_loop(&l, t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(J_5_advance_goes_timer_by_timer),
        cmocka_unit_test(J_1_without_autojump_time_stands_still),
        cmocka_unit_test(advance_is_for_virtual_clocks),
        cmocka_unit_test(L_15_call_soon_from_another_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
