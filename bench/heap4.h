// heap4.h - the limit for timers: a 4-ary heap by hand, ordered by (deadline, order of arming),
// with back indices so that any entry can be taken out. SPDX-License-Identifier: MIT
#ifndef BENCH_HEAP4_H
#define BENCH_HEAP4_H
#include "bench.h"

struct sleeper {            // a 64-byte task with its timer in it
    void (*fire)(struct sleeper *);
    int64_t when;
    uint64_t seq, count;
    uint32_t index;
    char rest[28];
};
_Static_assert(sizeof(struct sleeper) == 64, "one cache line");
struct heap_entry {
    int64_t when;
    struct sleeper *s;
};
struct heap {
    struct heap_entry *e;
    uint32_t count, capacity;
    uint64_t seq;
};

static inline bool heap_before(struct heap_entry a, struct heap_entry b)
{
    return a.when != b.when ? a.when < b.when : a.s->seq < b.s->seq;
}
static inline void heap_put(struct heap *h, uint32_t i, struct heap_entry e)
{
    h->e[i] = e;
    e.s->index = i;
}
static inline void heap_up(struct heap *h, uint32_t i, struct heap_entry e)
{
    while (i && heap_before(e, h->e[(i - 1) / 4])) {
        heap_put(h, i, h->e[(i - 1) / 4]);
        i = (i - 1) / 4;
    }
    heap_put(h, i, e);
}
static inline void heap_down(struct heap *h, uint32_t i, struct heap_entry e)
{
    for (uint32_t first; (first = i * 4 + 1) < h->count; ) {
        uint32_t best = first, end = first + 4 < h->count ? first + 4 : h->count;
        for (uint32_t k = first + 1; k < end; k++)
            if (heap_before(h->e[k], h->e[best])) best = k;
        if (!heap_before(h->e[best], e)) break;
        heap_put(h, i, h->e[best]);
        i = best;
    }
    heap_put(h, i, e);
}
static inline void heap_add(struct heap *h, struct sleeper *s, int64_t when)
{
    if (h->count == h->capacity) {
        h->capacity = h->capacity ? h->capacity * 2 : 64;
        h->e = (struct heap_entry *)realloc(h->e, h->capacity * sizeof *h->e);
        if (!h->e) bench_fail("realloc");
    }
    struct heap_entry e = { when, s };
    s->when = when;
    s->seq = h->seq++;
    heap_up(h, h->count++, e);
}
static inline void heap_remove(struct heap *h, uint32_t i)
{
    struct heap_entry last = h->e[--h->count];
    if (i == h->count) return;
    if (i && heap_before(last, h->e[(i - 1) / 4])) heap_up(h, i, last);
    else heap_down(h, i, last);
}
#endif
