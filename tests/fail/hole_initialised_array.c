// HOLE: clang
// An initialised array. gcc sees it.
#include "aio.h"

struct f {
    aio_frame aio;
    int n;
};
aio_async(f) {
#ifdef TWIN
    aio_await(aio_next_turn());
    int lost[4] = { 1, 2, 3, self->n };
#else
    int lost[4] = { 1, 2, 3, self->n };
    aio_await(aio_next_turn());
#endif
    return lost[self->n & 3];
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
