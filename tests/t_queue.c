// Queues: rules, items of any size, no allocation.
#include "actors.h"

enum { ROOM = 8 };
static aio_queue queue;
static int storage[ROOM];
static void queue_of(uint32_t capacity, uint32_t flags,
                     int (*compare)(const void *, const void *, void *)) {
    assert_result(
        aio_queue_init(&queue, storage, sizeof storage[0], capacity, flags, compare, NULL), 0);
}
static int setup(void **state)
{
    queue_of(2, 0, NULL);
    return core_setup(state);
}
#define queue_test(f) cmocka_unit_test_setup_teardown(f, setup, core_teardown)

// Puts `item`, or gets one; says "name<item" when it went in, "name>item" when it came out.
struct user { aio_frame aio; const char *name; bool put; int item; aio_result r; };
aio_async(user) {
    if (self->put) aio_await(self->r, aio_queue_put(&queue, &self->item));
    else aio_await(self->r, aio_queue_get(&queue, &self->item));
    if (self->r < 0) say("%s:%lld ", self->name, (long long)self->r);
    else say("%s%c%d ", self->name, self->put ? '<' : '>', self->item);
    return self->r;
} aio_end
static aio_task *put(const char *name, int item)
{
    return core_spawn(user, .name = name, .put = true, .item = item);
}
static aio_task *get(const char *name) { return core_spawn(user, .name = name); }
static int put_now(int item) { return (int)aio_queue_put_nowait(&queue, &item); }
static int get_now(void)
{
    int item = -1;
    aio_result r = aio_queue_get_nowait(&queue, &item);
    return r < 0 ? (int)r : item;
}
static void drop(aio_task **tasks, int n)
{
    for (int i = 0; i < n; i++) {
        (void)aio_task_result(tasks[i]);
        aio_detach(tasks[i]);
    }
}

static void Q_1_full_and_empty(void **state)
{
    (void)state;
    assert_result(aio_queue_init(&queue, storage, 4, 0, 0, NULL, NULL), -EINVAL);
    assert_result(aio_queue_init(&queue, NULL, 4, 1, 0, NULL, NULL), -EINVAL);
    queue_of(2, 0, NULL);
    assert_result(get_now(), -EAGAIN);
    assert_result(put_now(1), 0);
    assert_result(put_now(2), 0);
    assert_result(put_now(3), -EAGAIN);
    assert_result(aio_queue_count(&queue), 2);
    aio_task *t[4] = { put("a", 3), put("b", 4), NULL, NULL };
    core_settle();
    assert_trace("");
    assert_result(get_now(), 1);
    assert_result(get_now(), 2);
    core_settle();
    assert_trace("a<3 b<4 ");
    assert_result(get_now(), 3);
    assert_result(get_now(), 4);
    t[2] = get("c");
    t[3] = get("d");
    core_settle();
    assert_result(put_now(5), 0);
    assert_result(put_now(6), 0);
    core_settle();
    assert_trace("c>5 d>6 ");
    drop(t, 4);
}

static void Q_2_a_wake_is_a_hint(void **state)
{
    (void)state;
    aio_task *t[2] = { get("a"), get("b") };
    core_turn();
    put_now(1);
    assert_result(get_now(), 1);                // stolen before a runs: a waits again, behind b
    core_settle();
    assert_trace("");
    put_now(2);
    put_now(3);
    core_settle();
    assert_trace("b>2 a>3 ");
    drop(t, 2);
}

static void Q_3_one_wake_for_each(void **state)
{
    (void)state;
    aio_task *t[3] = { get("a"), get("b"), get("c") };
    core_turn();
    aio_task_cancel(t[0]);
    put_now(1);                                 // b's: a does not wait any more
    core_turn();
    assert_trace("a:-125 b>1 ");
    put_now(2);
    core_turn();
    assert_trace("c>2 ");
    drop(t, 3);
}

static int by_tens(const void *a, const void *b, void *context)
{
    (void)context;
    return *(const int *)a / 10 - *(const int *)b / 10;
}
static void Q_4_stack_and_priorities(void **state)
{
    (void)state;
    static const int items[] = { 30, 11, 31, 12, 20, 10 };
    queue_of(ROOM, AIO_QUEUE_LIFO, NULL);
    for (int i = 0; i < 6; i++) put_now(items[i]);
    for (int i = 6; i--;) assert_result(get_now(), items[i]);
    for (int round = 0; round < 5; round++) {   // the ring goes round
        queue_of(ROOM, 0, by_tens);
        for (int i = 0; i < round; i++) put_now(i);
        for (int i = 0; i < round; i++) assert_result(get_now(), i);
        for (int i = 0; i < 6; i++) put_now(items[i]);
        static const int sorted[] = { 11, 12, 10, 20, 30, 31 };     // equal ones as they came
        for (int i = 0; i < 6; i++) assert_result(get_now(), sorted[i]);
    }
}

// Against a list kept in order by hand: every capacity, many equal items, the rings going round.
struct ranked { int16_t rank, number; };
static long comparisons;
static int by_rank(const void *a, const void *b, void *context)
{
    (void)context;
    comparisons++;
    return ((const struct ranked *)a)->rank - ((const struct ranked *)b)->rank;
}
static uint32_t chance;
static uint32_t any(uint32_t below)
{
    chance = chance * 1664525 + 1013904223;
    return (chance >> 8) % below;
}
enum { RANKED = 700 };
static void ranked_against_a_model(uint32_t capacity, uint32_t ranks)
{
    static struct ranked places[RANKED + 1], model[RANKED];
    const struct ranked guard = { 0x5a5a, 0x5a5a };
    uint32_t n = 0;
    places[capacity] = guard;
    assert_result(aio_queue_init(&queue, places, sizeof *places, capacity, 0, by_rank, NULL), 0);
    for (int16_t number = 0; number < 3000; number++) {
        struct ranked item = { (int16_t)any(ranks), number };
        bool fills = number % 1000 < 500;
        if (any(8) < (fills ? 6 : 2)) {
            assert_result(aio_queue_put_nowait(&queue, &item), n < capacity ? 0 : -EAGAIN);
            if (n == capacity) continue;
            uint32_t at = n++;
            for (; at && model[at - 1].rank > item.rank; at--) model[at] = model[at - 1];
            model[at] = item;
        } else {
            assert_result(aio_queue_get_nowait(&queue, &item), n ? 0 : -EAGAIN);
            if (!n) continue;
            assert_memory_equal(&item, model, sizeof item);
            memmove(model, model + 1, --n * sizeof *model);
        }
        assert_result(aio_queue_count(&queue), n);
    }
    assert_memory_equal(&places[capacity], &guard, sizeof guard);
}
static void Q_4_priorities_against_a_model(void **state)
{
    (void)state;
    chance = 1;
    for (uint32_t capacity = 1; capacity <= RANKED; capacity += capacity < 140 ? 1 : 37)
        ranked_against_a_model(capacity, capacity % 3 ? 1000 : 4);
    queue_of(ROOM, 0, NULL);
}
static void Q_4_a_put_compares_log_n_times(void **state)
{
    (void)state;
    static struct ranked places[1 << 15];
    struct ranked item;
    aio_queue_init(&queue, places, sizeof *places, 1 << 15, 0, by_rank, NULL);
    for (int i = 0; i < 1 << 15; i++) {
        item.rank = (int16_t)any(1 << 15);
        item.number = 0;
        comparisons = 0;
        assert_result(aio_queue_put_nowait(&queue, &item), 0);
        assert_true(comparisons <= 16);
    }
    comparisons = 0;
    for (int last = 0, i = 0; i < 1 << 15; i++, last = item.rank) {
        assert_result(aio_queue_get_nowait(&queue, &item), 0);
        assert_true(item.rank >= last);
    }
    assert_result(comparisons, 0);
    queue_of(ROOM, 0, NULL);
}

struct joiner { aio_frame aio; aio_result r; };
aio_async(joiner) {
    aio_await(self->r, aio_queue_join(&queue));
    say("joined:%lld ", (long long)self->r);
    return 0;
} aio_end
static void Q_5_join(void **state)
{
    (void)state;
    aio_task *t[2] = { core_spawn(joiner), NULL };
    core_turn();
    assert_trace("joined:0 ");                  // nothing was put
    assert_result(aio_queue_task_done(&queue), -ERANGE);
    put_now(1);
    put_now(2);
    t[1] = core_spawn(joiner);
    get_now();
    get_now();
    core_settle();
    assert_trace("");
    assert_result(aio_queue_task_done(&queue), 0);
    core_settle();
    assert_trace("");
    assert_result(aio_queue_task_done(&queue), 0);
    core_settle();
    assert_trace("joined:0 ");
    assert_result(aio_queue_task_done(&queue), -ERANGE);
    drop(t, 2);
}

static void Q_6_a_cancelled_one_passes_the_wake_on(void **state)
{
    (void)state;
    aio_task *t[4] = { get("a"), get("b"), NULL, NULL };
    core_turn();
    put_now(1);
    aio_task_cancel(t[0]);                      // woken, then cancelled
    core_settle();
    assert_trace("a:-125 b>1 ");
    put_now(1);
    put_now(2);
    t[2] = put("c", 3);
    t[3] = put("d", 4);
    core_settle();
    assert_result(get_now(), 1);
    aio_task_cancel(t[2]);
    core_settle();
    assert_trace("c:-125 d<4 ");
    drop(t, 4);
}

static void Q_7_shutdown(void **state)
{
    (void)state;
    put_now(1);
    put_now(2);
    aio_task *t[4] = { put("a", 3), NULL, NULL, NULL };
    core_turn();
    aio_queue_shutdown(&queue, false);
    aio_queue_shutdown(&queue, false);
    core_settle();
    assert_trace("a:-108 ");                    // blocked putters fail
    assert_result(put_now(4), -ESHUTDOWN);
    t[1] = get("b");
    core_settle();
    assert_trace("b>1 ");                       // gets drain it
    assert_result(get_now(), 2);
    assert_result(get_now(), -ESHUTDOWN);
    t[2] = get("c");
    core_settle();
    assert_trace("c:-108 ");
    queue_of(2, 0, NULL);
    t[3] = get("d");
    core_turn();
    put_now(5);
    aio_queue_shutdown(&queue, false);          // woken, with an item there: gets it
    core_settle();
    assert_trace("d>5 ");
    drop(t, 4);
}

static void Q_8_immediate_shutdown(void **state)
{
    (void)state;
    put_now(1);
    put_now(2);
    get_now();                                  // taken, not done
    put_now(3);
    aio_task *t[3] = { put("a", 4), core_spawn(joiner), NULL };
    core_turn();
    aio_queue_shutdown(&queue, true);
    core_settle();
    assert_trace("a:-108 ");
    assert_result(aio_queue_count(&queue), 0);
    assert_result(get_now(), -ESHUTDOWN);
    assert_result(aio_queue_task_done(&queue), 0);      // the one that was taken
    core_settle();
    assert_trace("joined:0 ");
    queue_of(2, 0, NULL);
    t[2] = get("b");
    core_turn();
    aio_queue_shutdown(&queue, true);
    core_settle();
    assert_trace("b:-108 ");
    drop(t, 3);
}

struct big { char bytes[100]; };
struct pump {
    aio_frame aio;
    struct big out, in;
    aio_queue q;
    struct big room[3];
    int i;
    aio_result r;
};
struct filler { aio_frame aio; aio_queue *q; struct big item; int i; };
aio_async(filler) {
    for (self->i = 0; self->i < 100; self->i++) {
        memset(&self->item, self->i, sizeof self->item);
        aio_try(aio_queue_put(self->q, &self->item));
    }
    return 0;
} aio_end
static long calls;
aio_async(pump) {
    aio_queue_init(&self->q, self->room, sizeof self->room[0], 3, 0, NULL, NULL);
    aio_detach(aio_spawn(filler, .q = &self->q));
    for (self->i = 0; self->i < 100; self->i++) {
        if (self->i == 10) calls = core.memory.calls;
        aio_try(aio_queue_get(&self->q, &self->in));
        memset(&self->out, self->i, sizeof self->out);
        assert_memory_equal(&self->in, &self->out, sizeof self->in);
    }
    return core.memory.calls - calls;
} aio_end
static void items_of_any_size_and_no_malloc(void **state)
{
    (void)state;
    aio_task *t = core_spawn(pump);
    assert_result(core_run(t), 0);
    aio_detach(t);
}

static void a_queue_outlives_its_loop(void **state)
{
    (void)state;
    struct aio_loop_options o = core_options(AIO_CLOCK_VIRTUAL);
    for (int round = 0; round < 3; round++) {
        queue_of(1, 0, NULL);
        if (round) put_now(1);
        aio_task *t[2] = { round ? put("a", 2) : get("a"), round ? put("b", 3) : get("b") };
        core_turn();
        if (round == 2) get_now();              // one is woken and does not run any more
        drop(t, 2);
        assert_result(aio_loop_close(&core.loop), 0);
        core_forget_reports();
        assert_true(!queue.getters && !queue.putters);
        assert_result(aio_loop_init(&core.loop, &o), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        queue_test(Q_1_full_and_empty),
        queue_test(Q_2_a_wake_is_a_hint),
        queue_test(Q_3_one_wake_for_each),
        queue_test(Q_4_stack_and_priorities),
        queue_test(Q_4_priorities_against_a_model),
        queue_test(Q_4_a_put_compares_log_n_times),
        queue_test(Q_5_join),
        queue_test(Q_6_a_cancelled_one_passes_the_wake_on),
        queue_test(Q_7_shutdown),
        queue_test(Q_8_immediate_shutdown),
        queue_test(items_of_any_size_and_no_malloc),
        queue_test(a_queue_outlives_its_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
