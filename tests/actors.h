// actors.h - small coroutines for tests of what waits for several tasks, and a count of turns.
// SPDX-License-Identifier: MIT
#ifndef ACTORS_H
#define ACTORS_H

#include "core.h"

// Sleeps (ns 0: one turn) and ends with `result`. Cancelled, it says so, cleans up for a while, and
// ends cancelled, or refuses and ends with `result` all the same.
struct nap {
    aio_frame aio;
    const char *name;
    int64_t ns, cleanup;
    aio_result result;
    bool refuse;
};
aio_async(nap) {
    aio_result r;
    aio_await(r, aio_sleep(self->ns));
    say(r < 0 ? "%s! " : "%s ", self->name);
    if (r >= 0) return self->result;
    if (self->cleanup) {
        aio_await(r, aio_sleep(self->cleanup));
        say(r < 0 ? "%s!! " : "%s: ", self->name);
    }
    return self->refuse ? self->result : -ECANCELED;
} aio_end

// Ends with `result` at its first step.
struct at_once {
    aio_frame aio;
    aio_result result;
};
aio_async(at_once) { return self->result; } aio_end

// Its value is a resource: the drop hook releases it.
static int values_dropped;
struct maker {
    aio_frame aio;
    int64_t ns;
};
aio_drop(maker) {
    (void)self;
    if (dropped >= 0) values_dropped++;
    return 0;
} aio_end
aio_async(maker) {
    if (self->ns) aio_try(aio_sleep(self->ns));
    return 7;
} aio_end

#define now() aio_loop_time(&core.loop)
#define turns() aio_loop_turn(&core.loop)
#define me() aio_current_task()

// The slots of the loop that are taken; equal before and after what cleans up behind itself.
#define slots() core.loop.executor.slots
#endif
