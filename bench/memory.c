// memory.c - what does a sleeping task weigh, and what does it cost to put a million to sleep?
// SPDX-License-Identifier: MIT
//
// Resident memory gained per task, the timers and 8 bytes of the task's own fields included; in a
// process of its own each time. Ten
// million only where there is memory for it. BENCH_TASKS overrides the million.
#include "heap4.h"

#include <sys/wait.h>

#include "aio_loop.h"

struct report {
    double bytes, create_ns, wake_ns;
};

static void raw_fire(struct sleeper *s) { s->count++; }
static struct report raw(int64_t n)
{
    struct report r;
    struct heap h = { 0 };
    int64_t before = bench_resident(), base = bench_now(), start = bench_cpu();
    uint64_t random = 123456789;
    struct sleeper *s = malloc((size_t)n * sizeof *s);
    if (!s) bench_fail("malloc");
    for (int64_t i = 0; i < n; i++) {
        memset((void *)&s[i], 0, sizeof s[i]);
        s[i].fire = raw_fire;
        heap_add(&h, &s[i], base + (int64_t)(bench_random(&random) % 1000000000));
    }
    r.create_ns = (double)(bench_cpu() - start) / (double)n;
    r.bytes = (double)(bench_resident() - before) / (double)n;
    start = bench_cpu();
    while (h.count) {
        struct sleeper *t = h.e[0].s;
        heap_remove(&h, 0);
        t->fire(t);
    }
    r.wake_ns = (double)(bench_cpu() - start) / (double)n;
    return r;
}

static uint64_t woken;
struct nap {
    aio_frame aio;
    int64_t when;
};
aio_async(nap)
{
    aio_await(aio_sleep_until(self->when));
    woken++;
    return 0;
} aio_end
static int stop_fn(void *loop)
{
    aio_loop_stop((aio_loop *)loop);
    return 0;
}
static struct report aio(int64_t n)
{
    struct report r;
    aio_loop loop;
    aio_handle stop;
    if (aio_loop_init(&loop, 0) < 0) bench_fail("aio_loop_init");
    int64_t before = bench_resident(), base = aio_loop_time(&loop), start = bench_cpu();
    uint64_t random = 123456789;
    // A turn every thousand: what is ready needs no memory of its own to speak of.
    for (int64_t i = 0; i < n; i++) {
        int64_t when = base + 600 * AIO_SECOND + (int64_t)(bench_random(&random) % 1000000000);
        aio_detach(aio_spawn_on(&loop, nap, .when = when));
        if (i % 1000 == 999) aio_executor_turn(&loop.executor);
    }
    aio_executor_turn(&loop.executor);
    r.create_ns = (double)(bench_cpu() - start) / (double)n;
    r.bytes = (double)(bench_resident() - before) / (double)n;
    loop.is_virtual = true;             // all are due at once: what it costs to wake them
    loop.now = base + 602 * AIO_SECOND;
    start = bench_cpu();
    aio_call_soon(&loop, &stop, stop_fn, &loop);
    aio_loop_run_forever(&loop);
    while (loop.executor.live) aio_executor_turn(&loop.executor);
    r.wake_ns = (double)(bench_cpu() - start) / (double)n;
    if (woken != (uint64_t)n)
        fprintf(stderr, "memory: %lld of %lld tasks woke up\n", (long long)woken, (long long)n);
    aio_loop_close(&loop);
    return r;
}

static bool enough_memory(int64_t n)
{
    return (int64_t)sysconf(_SC_AVPHYS_PAGES) * sysconf(_SC_PAGESIZE) > n * 600;
}
static void measure(const char *variant, struct report (*run)(int64_t), int64_t n)
{
    int fds[2];
    struct report r;
    if (!enough_memory(n)) return;
    if (pipe(fds)) bench_fail("pipe");
    pid_t child = fork();
    if (child < 0) bench_fail("fork");
    if (!child) {
        r = run(n);
        _exit(write(fds[1], &r, sizeof r) == (ssize_t)sizeof r ? 0 : 1);
    }
    close(fds[1]);
    if (read(fds[0], &r, sizeof r) == (ssize_t)sizeof r) {
        double millions = (double)n / 1e6;
        printf("memory, %g million sleeping tasks: size\t%s\tbytes\t%.2f\n", millions, variant,
               r.bytes);
        printf("memory, %g million sleeping tasks: create\t%s\tns\t%.2f\n", millions, variant,
               r.create_ns);
        printf("memory, %g million sleeping tasks: wake\t%s\tns\t%.2f\n", millions, variant,
               r.wake_ns);
        fflush(stdout);
    }
    close(fds[0]);
    waitpid(child, 0, 0);
}

int main(void)
{
    int64_t n = bench_env("BENCH_TASKS", 1000000), rounds = bench_env("BENCH_ROUNDS", 3);
    bench_pin(0);
    bench_realtime();
    for (int64_t i = 0; i < rounds; i++) {
        measure("64-byte task and 4-ary heap", raw, n);
        measure("aio", aio, n);
    }
    if (!bench_env("BENCH_TASKS", 0)) {
        measure("64-byte task and 4-ary heap", raw, 10000000);
        measure("aio", aio, 10000000);
    }
    return 0;
}
