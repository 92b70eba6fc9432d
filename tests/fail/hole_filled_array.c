// HOLE: gcc clang g++ clang++
// An array that is filled before the await and read after it.
#include "aio.h"

struct f {
    aio_frame aio;
    int n;
};
aio_async(f) {
    int lost[4];
#ifdef TWIN
    aio_await(aio_next_turn());
#endif
    for (int i = 0; i < 4; i++) lost[i] = self->n + i;
#ifndef TWIN
    aio_await(aio_next_turn());
#endif
    return lost[0] + lost[self->n & 3];
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
