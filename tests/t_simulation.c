// Simulated order and time: seeds, hashes, limits, what deadlocks and slow steps tell. Rules J-*,
// K-*, D-*, X-2, contract 9.
#include "core.h"

static struct aio_loop_options options;
static int setup(void **state) {
    (void)state;
    memset(&core, 0, sizeof core);
    unsetenv("AIO_SEED");
    unsetenv("AIO_DEBUG");
    options = core_options(AIO_CLOCK_VIRTUAL);
    return 0;
}
static int teardown(void **state) {
    (void)state;
    unsetenv("AIO_SEED");
    unsetenv("AIO_DEBUG");
    if (core.memory.blocks) print_error("%ld blocks are left\n", core.memory.blocks);
    if (core.reports_at) print_error("reports are left: %s", core.reports);
    return core.memory.blocks || core.reports_at;
}
#define fresh(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

// --- random programs
struct actor {
    aio_frame aio;
    uint64_t dice, what;
    int steps, depth, item;
    aio_lock *lock;
    aio_queue *q;
    aio_result r;
};
static uint64_t draw(uint64_t *dice) {
    return aio__random(dice) >> 33;
}
aio_async(actor) {
    for (; self->steps; self->steps--) {
        self->what = draw(&self->dice) % 7;
        if (self->what == 0) {
            aio_try(aio_next_turn());
        } else if (self->what == 1) {
            aio_try(aio_sleep((int64_t)(draw(&self->dice) % 50)));
        } else if (self->what == 2) {
            aio_try(aio_lock_acquire(self->lock));
            aio_await(self->r, aio_sleep((int64_t)(draw(&self->dice) % 3)));
            aio_lock_release(self->lock);
            if (self->r < 0) return self->r;
        } else if (self->what == 3) {
            aio_try(aio_queue_put(self->q, &self->item));
        } else if (self->what == 4) {
            aio_try(aio_wait_for(5, aio_queue_get(self->q, &self->item)));
        } else if (self->what == 5 && self->depth) {
            aio_try(
                aio_join(aio_spawn(actor, .dice = draw(&self->dice) | 1, .steps = self->steps,
                                   .depth = self->depth - 1, .lock = self->lock, .q = self->q)));
        } else if (self->depth) {
            aio_detach(aio_spawn(actor, .dice = draw(&self->dice) | 1, .steps = self->steps / 2,
                                 .depth = self->depth - 1, .lock = self->lock, .q = self->q));
        }
    }
    return 0;
}
aio_end static uint64_t program(uint64_t dice, uint64_t seed) {
    aio_lock lock;
    aio_queue q;
    int room[4];
    aio_runner r;
    memset(&lock, 0, sizeof lock);
    aio_queue_init(&q, room, sizeof(int), 4, 0, NULL, NULL);
    options.seed = seed;
    assert_result(aio_runner_init(&r, &options), 0);
    aio_runner_run(&r, actor, .dice = dice, .steps = 12, .depth = 2, .lock = &lock, .q = &q);
    uint64_t hash = aio_loop_hash(&r.loop);
    assert_result(aio_runner_close(&r), 0);
    core_forget_reports();
    return hash;
}
static void contract_9_D_2_same_seed_same_hash(void **state) {
    (void)state;
    unsigned different = 0, other_program = 0;
    for (uint64_t i = 1; i <= 3000; i++) {
        uint64_t seed = i % 3 ? i : 0, hash = program(i, seed);
        if (program(i, seed) != hash) fail_msg("program %u differs from run to run", (unsigned)i);
        different += program(i, seed + 1000000) != hash;
        other_program += program(i + 5000, seed) != hash;
    }
    assert_true(different > 1000); // many have several tasks ready in a turn
    assert_true(other_program > 2900);
}

// --- a planted bug of order: two tasks, a lost update
struct adds {
    aio_frame aio;
    int *sum, seen;
    bool polite;
};
aio_async(adds) {
    aio_try(aio_next_turn());
    self->seen = *self->sum;
    if (self->polite) aio_try(aio_next_turn());
    *self->sum = self->seen + 1;
    return 0;
}
aio_end struct writer {
    aio_frame aio;
    int *flag;
};
aio_async(writer) {
    aio_try(aio_next_turn());
    *self->flag = 1;
    return 0;
}
aio_end struct reader {
    aio_frame aio;
    int *flag;
};
aio_async(reader) {
    aio_try(aio_next_turn());
    return *self->flag ? 0 : -EIO; // "the writer was started before me"
}
aio_end struct buggy {
    aio_frame aio;
    int flag, sum;
    aio_task *w, *r;
};
aio_async(buggy) {
    self->w = aio_spawn(writer, .flag = &self->flag);
    self->r = aio_spawn(reader, .flag = &self->flag);
    aio_try(aio_join(self->w));
    aio_try(aio_join(self->r));
    aio_detach(aio_spawn(adds, .sum = &self->sum));
    aio_detach(aio_spawn(adds, .sum = &self->sum, .polite = true));
    aio_try(aio_sleep(1));
    return self->sum;
}
aio_end static void D_6_seeds_find_a_bug_of_order(void **state) {
    (void)state;
    assert_result(aio_run_with(&options, buggy), 2); // first come, first served: nobody notices
    unsigned failed = 0, lost = 0, kept = 0;
    uint64_t culprit = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        options.seed = seed;
        aio_result r = aio_run_with(&options, buggy);
        failed += r == -EIO;
        lost += r == 1;
        kept += r == 2;
        if (r == -EIO) culprit = seed;
    }
    assert_true(failed > 50 && failed < 150);
    assert_true(lost > 20 && kept > 20);
    options.seed = culprit;
    for (int i = 0; i < 5; i++) assert_result(aio_run_with(&options, buggy), -EIO); // D-1: replay
    char text[32];
    options.seed = 0;
    snprintf(text, sizeof text, "%llu", (unsigned long long)culprit);
    setenv("AIO_SEED", text, 1);
    for (int i = 0; i < 5; i++) assert_result(aio_run_with(&options, buggy), -EIO);
    snprintf(text, sizeof text, "0x%llx", (unsigned long long)culprit);
    setenv("AIO_SEED", text, 1);
    assert_result(aio_run_with(&options, buggy), -EIO);
}
// D-1: what was reported without a hook comes with the seed.
struct fails {
    aio_frame aio;
};
aio_async(fails) {
    return -EIO;
}
aio_end struct spawns_fails { aio_frame aio; };
aio_async(spawns_fails) {
    aio_detach(aio_spawn(fails));
    aio_try(aio_sleep(1));
    return 0;
}
aio_end static void run_in_child(void *arg) {
    struct aio_loop_options o;
    memset(&o, 0, sizeof o);
    o.clock = AIO_CLOCK_VIRTUAL;
    o.seed = *(uint64_t *)arg;
    _exit(aio_run_with(&o, spawns_fails) != 0);
}
static void D_1_the_seed_is_printed(void **state) {
    (void)state;
    char text[1024];
    uint64_t seed = 4711;
    int status = test_in_child(run_in_child, &seed, text, sizeof text);
    assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
    assert_non_null(strstr(text, "task error was never retrieved: EIO"));
    assert_non_null(strstr(text, "AIO_SEED=4711\n"));
    seed = 0;
    test_in_child(run_in_child, &seed, text, sizeof text);
    assert_null(strstr(text, "AIO_SEED"));
    setenv("AIO_SEED", "99", 1);
    test_in_child(run_in_child, &seed, text, sizeof text);
    assert_non_null(strstr(text, "AIO_SEED=99\n"));
}

// --- a seed permutes within a turn, never across turns (L-2)
enum { RUNNERS = 10, ROUNDS = 20 };
struct rounds {
    aio_frame aio;
    int n, round, *at;
};
aio_async(rounds) {
    for (; self->round < ROUNDS; self->round++) {
        self->at[self->round]++;
        for (int i = 0; i < self->round; i++)
            if (self->at[i] != RUNNERS)
                fail_msg("round %d began before round %d was over", self->round, i);
        say("%d", self->n);
        aio_try(aio_next_turn());
    }
    return 0;
}
aio_end struct starts {
    aio_frame aio;
    int at[ROUNDS];
};
aio_async(starts) {
    for (int i = 0; i < RUNNERS; i++) aio_detach(aio_spawn(rounds, .n = i, .at = self->at));
    aio_try(aio_sleep(1));
    return self->at[ROUNDS - 1];
}
aio_end static void L_2_a_seed_keeps_the_batches(void **state) {
    (void)state;
    static char plain[4096];
    unsigned shuffled = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        options.seed = seed;
        assert_result(aio_run_with(&options, starts), RUNNERS);
        assert_result(strlen(core.trace), RUNNERS * ROUNDS);
        if (!seed)
            strcpy(plain, core.trace);
        else
            shuffled += strcmp(plain, core.trace) != 0;
        core.trace[core.trace_at = 0] = 0;
    }
    assert_int_equal(strncmp(plain, "01234567890123456789", 20), 0);
    assert_int_equal(shuffled, 49);
}

// --- limits
struct circles {
    aio_frame aio;
    bool clean;
    int64_t nap;
};
aio_async(circles) {
    aio_result r;
    do aio_await(r, self->nap ? aio_sleep(self->nap) : aio_next_turn());
    while (r >= 0);
    if (self->clean) {
        aio_await(r, aio_sleep(AIO_MSEC));
        say("clean%lld ", (long long)r);
    }
    return r;
}
aio_end struct two {
    aio_frame aio;
    int64_t nap;
};
aio_async(two) {
    aio_detach(aio_spawn(circles, .clean = true, .nap = self->nap));
    aio_detach(aio_spawn(circles, .clean = true, .nap = self->nap));
    aio_try(aio_sleep(AIO_FOREVER));
    return 0;
}
aio_end static void K_3_too_many_turns_at_one_moment(void **state) {
    (void)state;
    options.turns_max = 1000;
    assert_result(aio_run_with(&options, two), -ELOOP);
    assert_trace("clean0 clean0 "); // there is room to clean up
    assert_reports("too many turns at one moment: something runs in circles: ELOOP: -\n");
    options.end_ns = 0;
    options.turns_max = 8; // each moment counts anew
    options.end_ns = 100 * AIO_SECOND;
    assert_result(aio_run_with(&options, two, .nap = AIO_SECOND), -ETIMEDOUT);
    assert_trace("clean0 clean0 ");
    assert_result(core_count("the simulated time is over"), 1);
    core_forget_reports();
}
struct long_run {
    aio_frame aio;
    int n;
};
aio_async(long_run) {
    for (; self->n; self->n--) aio_try(aio_next_turn());
    return 1;
}
aio_end static void K_3_real_time_goes_on_by_itself(void **state) {
    (void)state;
    options.turns_max = 1000;
    options.end_ns = 1;
    options.clock = AIO_CLOCK_MONOTONIC;
    assert_result(aio_run_with(&options, long_run, .n = 5000), 1);
    assert_reports("");
}
struct sleeps {
    aio_frame aio;
    int64_t ns;
};
aio_async(sleeps) {
    aio_try(aio_sleep(self->ns));
    return aio_loop_time(aio_running_loop());
}
aio_end static void K_2_the_simulated_time_is_over(void **state) {
    (void)state;
    options.end_ns = AIO_SECOND;
    assert_result(aio_run_with(&options, sleeps, .ns = AIO_SECOND), AIO_SECOND);
    assert_result(aio_run_with(&options, sleeps, .ns = AIO_SECOND + 1), -ETIMEDOUT);
    assert_reports("the simulated time is over: ETIMEDOUT: -\n");
    options.end_ns = 0;
    assert_result(aio_run_with(&options, sleeps, .ns = 25 * 3600 * AIO_SECOND),
                  25 * 3600 * AIO_SECOND); // J-10
}

// --- slow steps
struct slow {
    aio_frame aio;
    unsigned us;
};
aio_async(slow) {
    aio_try(aio_next_turn());
    usleep(self->us);
    aio_try(aio_next_turn());
    return 0;
}
aio_end static const aio_site *slow_site;
static unsigned slow_reports;
static char slow_message[128];
static void on_slow(aio_loop *loop, const struct aio_report *r, void *context) {
    (void)loop;
    (void)context;
    slow_reports++;
    slow_site = r->site;
    snprintf(slow_message, sizeof slow_message, "%s", r->message);
}
static int slow_callback(void *arg) {
    usleep(3000);
    aio_loop_stop((aio_loop *)arg);
    return 0;
}
static void X_2_a_slow_step_is_named(void **state) {
    (void)state;
    options.on_error = on_slow;
    options.clock = AIO_CLOCK_MONOTONIC;
    options.slow_step_ns = 100 * AIO_MSEC;
    slow_reports = 0;
    assert_result(aio_run_with(&options, slow, .us = 120000), 0);
    assert_true(slow_reports >= 1);
    assert_non_null(strstr(slow_message, "a step blocked the loop for 0."));
    assert_non_null(slow_site);
    assert_string_equal(slow_site->text, "aio_next_turn()");
    assert_string_equal(slow_site->body->coroutine->name, "slow");
    options.slow_step_ns = 0;
    options.debug = true;
    slow_reports = 0;
    assert_result(aio_run_with(&options, slow, .us = 120000), 0); // 100 ms by default
    assert_true(slow_reports >= 1);
    options.debug = false;
    setenv("AIO_DEBUG", "1", 1);
    slow_reports = 0;
    assert_result(aio_run_with(&options, slow, .us = 120000), 0);
    assert_true(slow_reports >= 1);
    setenv("AIO_DEBUG", "0", 1);
    slow_reports = 0;
    assert_result(aio_run_with(&options, slow, .us = 120000), 0);
    assert_result(slow_reports, 0);
    options.clock = AIO_CLOCK_VIRTUAL; // its time stood still
    options.slow_step_ns = AIO_MSEC;
    assert_result(aio_run_with(&options, slow, .us = 3000), 0);
    assert_result(slow_reports, 0);
}
static void X_2_a_slow_callback(void **state) {
    (void)state;
    aio_loop l;
    aio_handle h;
    options.on_error = on_slow;
    options.clock = AIO_CLOCK_MONOTONIC;
    options.slow_step_ns = AIO_MSEC;
    slow_reports = 0;
    assert_result(aio_loop_init(&l, &options), 0);
    aio_call_soon(&l, &h, slow_callback, &l);
    assert_result(aio_loop_run_forever(&l), 0);
    assert_result(aio_loop_close(&l), 0);
    assert_result(slow_reports, 1);
    assert_non_null(strstr(slow_message, "a callback blocked the loop for 0.0"));
    assert_non_null(strstr(slow_message, "t_simulation(+0x")); // what addr2line wants; or its name
    assert_null(slow_site);
}

// A callback that was taken back leaves its place in the turn: what was slow before is told once.
static void X_2_nothing_is_not_slow(void **state) {
    (void)state;
    aio_loop l;
    aio_handle slow_one, cancelled;
    options.on_error = on_slow;
    options.clock = AIO_CLOCK_MONOTONIC;
    options.slow_step_ns = AIO_MSEC;
    slow_reports = 0;
    assert_result(aio_loop_init(&l, &options), 0);
    aio_call_soon(&l, &slow_one, slow_callback, &l);
    aio_call_soon(&l, &cancelled, slow_callback, &l);
    aio_handle_cancel(&cancelled);
    assert_result(aio_loop_run_forever(&l), 0);
    assert_result(aio_loop_close(&l), 0);
    assert_result(slow_reports, 1);
}

// --- each step
static void on_step(aio_loop *loop, const struct aio_step *s, void *context) {
    (void)loop;
    (void)context;
    if (!s->task)
        say("[%llu %lld -]", (unsigned long long)s->turn, (long long)s->time);
    else
        say("[%llu %lld %s#%u %s]", (unsigned long long)s->turn, (long long)s->time,
            aio_task_name(s->task), aio_task_id(s->task), s->site->text ? s->site->text : "start");
}
struct stepped {
    aio_frame aio;
    aio_handle h;
};
aio_async(stepped) {
    aio_try(aio_next_turn());
    aio_detach(aio_spawn(fails));
    aio_try(aio_sleep(7));
    return 0;
}
aio_end static void contract_9_on_step_sees_each(void **state) {
    (void)state;
    options.on_step = on_step;
    assert_result(aio_run_with(&options, stepped), 0);
    core_forget_reports();
    assert_non_null(strstr(core.trace, "[0 0 stepped#1 "));
    assert_non_null(strstr(core.trace, "[1 0 stepped#1 aio_next_turn()][2 0 fails#2 "));
    assert_non_null(strstr(core.trace, "[3 7 -]")); // the timer
    assert_non_null(strstr(core.trace, "[4 7 stepped#1 aio_sleep(7)]"));
    core.trace[core.trace_at = 0] = 0;
}
// --- a deadlock tells each task and its chain
static char *dumped;
static size_t dumped_size;
static void dump(aio_loop *loop, const struct aio_report *r, void *context) {
    (void)context;
    if (r->error != -EDEADLK) return;
    FILE *out = open_memstream(&dumped, &dumped_size);
    aio_loop_dump(loop, out);
    fclose(out);
}
struct deep {
    aio_frame aio;
    aio_lock *a, *b;
};
aio_async(deep) {
    aio_try(aio_lock_acquire(self->a));
    aio_try(aio_next_turn());
    aio_try(aio_lock_acquire(self->b));
    return 0;
}
aio_end struct outer {
    aio_frame aio;
    struct deep child;
    aio_lock *a, *b;
};
aio_async(outer) {
    aio_try(aio_call(&self->child, deep, .a = self->a, .b = self->b));
    return 0;
}
aio_end struct crossing {
    aio_frame aio;
    aio_lock a, b;
    aio_task *t, *u;
    aio_op op;
};
aio_async(crossing) {
    self->t = aio_spawn(outer, .a = &self->a, .b = &self->b);
    self->u = aio_spawn(outer, .a = &self->b, .b = &self->a);
    aio_task_set_name(self->t, "left");
    aio_task_set_name(self->u, "right");
    assert_result(aio_start(&self->op, aio_join(self->u)), 0);
    aio_try(aio_op_wait(&self->op));
    aio_try(aio_join(self->t));
    return 0;
}
aio_end static void K_1_a_deadlock_names_each_task_and_its_chain(void **state) {
    (void)state;
    options.on_error = dump;
    assert_result(aio_run_with(&options, crossing), -EDEADLK);
    assert_non_null(dumped);
    const char *main_at = strstr(dumped, "crossing#1: waits for task right#3\n");
    const char *left = strstr(dumped, "left#2: waits for lock\n"),
               *right = strstr(dumped, "right#3: waits for lock\n");
    assert_true(main_at && left && right && main_at < left && left < right);
    const char *inner = strstr(left, "deep: aio_lock_acquire(self->b)"),
               *call = strstr(left, "outer: aio_call(");
    assert_true(inner && call && inner < call && call < right);
    free(dumped);
    dumped = NULL;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fresh(contract_9_D_2_same_seed_same_hash),
        fresh(D_6_seeds_find_a_bug_of_order),
        fresh(D_1_the_seed_is_printed),
        fresh(L_2_a_seed_keeps_the_batches),
        fresh(K_3_too_many_turns_at_one_moment),
        fresh(K_3_real_time_goes_on_by_itself),
        fresh(K_2_the_simulated_time_is_over),
        fresh(X_2_a_slow_step_is_named),
        fresh(X_2_a_slow_callback),
        fresh(X_2_nothing_is_not_slow),
        fresh(contract_9_on_step_sees_each),
        fresh(K_1_a_deadlock_names_each_task_and_its_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
