// HOLE: gcc g++
// A local that is assigned, not initialised, and used after a later await in a loop. clang sees it.
#include "aio.h"

struct f {
    aio_frame aio;
    int i, sum;
};
aio_async(f) {
    int last;
    for (self->i = 0; self->i < 3; self->i++) {
#ifdef TWIN
        aio_await(aio_next_turn());
        last = self->i;
#else
        last = self->i;
        aio_await(aio_next_turn());
#endif
        self->sum += last;
    }
    return self->sum;
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
