// bench.h - clock, pinning, interleaved windows. One line of output per window; summary.c reads
// them. SPDX-License-Identifier: MIT
//
// A program is a list of cases. Each case answers one question with one variant (ours, or a peer).
// The first variant of a question is the one that the others are compared with. All are run in
// turn, one short window each, many times: what disturbs the machine disturbs all of them alike.
#ifndef BENCH_H
#define BENCH_H
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE
#endif
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct bench_window {
    int64_t ops;            // asked for; the case may set how many it did
    int64_t ns;             // set by the case: how long they took
    double value;           // instead of ns per op, when `unit` is not "ns"
};
struct bench_case {
    const char *question, *variant, *unit;
    void (*run)(const struct bench_case *c, struct bench_window *w);
    int64_t n;              // the case's own parameter
    int64_t ops;            // of one window; 0: as many as fill it
};

static inline int64_t bench_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}
static inline int64_t bench_cpu(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}
static inline int64_t bench_env(const char *name, int64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoll(text, 0, 10) : otherwise;
}
static inline void bench_fail(const char *what)
{
    perror(what);
    exit(1);
}
// A value that the compiler must take as used, and may not guess.
#define BENCH_HIDE(x) __asm__ volatile("" : "+r"(x) : : "memory")

static inline void bench_pin(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)core, &set);
    (void)!sched_setaffinity(0, sizeof set, &set);      // one core only: then there is no choice
}
// Real-time priority keeps other programs away; it needs root. BENCH_NO_RT=1: without.
static inline bool bench_realtime(void)
{
    struct sched_param p = { 10 };
    return !bench_env("BENCH_NO_RT", 0) && !sched_setscheduler(0, SCHED_FIFO, &p);
}
// Which part of the core's time is lost to others: the gaps that a spin loop sees.
static inline double bench_lost(int64_t ns)
{
    int64_t start = bench_now(), last = start, lost = 0;
    while (last - start < ns) {
        int64_t now = bench_now();
        if (now - last > 10000) lost += now - last;
        last = now;
    }
    return (double)lost / (double)(last - start);
}
static inline uint64_t bench_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}
static inline uint32_t *bench_shuffled(size_t n)        // a random order of 0 … n-1
{
    uint32_t *order = (uint32_t *)malloc(n * sizeof *order);
    uint64_t random = 88172645463325252u;
    if (!order) bench_fail("malloc");
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    for (size_t i = n; i > 1; i--) {
        size_t k = (size_t)(bench_random(&random) % i);
        uint32_t o = order[k];
        order[k] = order[i - 1];
        order[i - 1] = o;
    }
    return order;
}
static inline int64_t bench_resident(void)              // bytes
{
    long size, resident;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%ld %ld", &size, &resident) != 2) bench_fail("/proc/self/statm");
    fclose(f);
    return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

// How many operations fill a window, found by doubling.
static inline int64_t bench_calibrate(const struct bench_case *c, int64_t window_ns)
{
    struct bench_window w = { 64, 0, 0 };
    for (;;) {
        int64_t ops = w.ops;
        c->run(c, &w);
        if (w.ns >= window_ns / 4 || ops > INT64_C(1) << 40) {
            double per_op = (double)w.ns / (double)w.ops;
            int64_t fit = (int64_t)((double)window_ns / (per_op > 0.01 ? per_op : 0.01));
            return fit > 1 ? fit : 1;
        }
        w.ops = ops * 2;
    }
}
// Runs the cases whose question contains argv[1] (all, without one), and in BENCH_ONLY only the
// variant "=name". BENCH_ROUNDS, BENCH_WINDOW_MS; BENCH_OPS=n: one window of n operations, for
// instruction counts.
static inline int bench_main(int argc, char **argv, const struct bench_case *cases, size_t count)
{
    const char *question = argc > 1 ? argv[1] : "", *only = getenv("BENCH_ONLY");
    int64_t rounds = bench_env("BENCH_ROUNDS", 5);
    int64_t window = bench_env("BENCH_WINDOW_MS", 20) * 1000000;
    int64_t fixed = bench_env("BENCH_OPS", 0);
    int64_t *ops = (int64_t *)calloc(count, sizeof *ops);
    if (!ops) bench_fail("calloc");
    bench_pin(0);
    bench_realtime();
    for (int64_t round = 0; round < (fixed ? 1 : rounds); round++) {
        for (size_t i = 0; i < count; i++) {
            const struct bench_case *c = &cases[i];
            if (!strstr(c->question, question) || (only && strcmp(c->variant, only + 1))) continue;
            if (fixed) ops[i] = fixed;
            if (!ops[i]) ops[i] = c->ops ? c->ops : bench_calibrate(c, window);
            struct bench_window w = { ops[i], 0, 0 };
            c->run(c, &w);
            double value = w.value != 0 ? w.value : (double)w.ns / (double)w.ops;
            printf("%s\t%s\t%s\t%.4f\n", c->question, c->variant, c->unit, value);
            fflush(stdout);
        }
    }
    free(ops);
    return 0;
}
#define BENCH_MAIN(cases) \
    int main(int argc, char **argv) \
    { \
        return bench_main(argc, argv, cases, sizeof cases / sizeof cases[0]); \
    }
#endif
