// COMPILERS: gcc clang
// FLAGS: -std=c11 -Wpedantic -DAIO_STRICT
// EXPECT gcc: switch jumps over variable initialization|jump-misses-init|uninitialized
// EXPECT clang: variable 'lost' (is|may be) (used )?uninitialized
// Strict ISO C: an initialised local that is alive across an await.
#include "aio.h"

struct f {
    aio_frame aio;
    int n;
};
aio_async(f) {
#ifdef TWIN
    self->n++;
    aio_await(aio_next_turn());
    int kept = self->n;
    return kept;
#else
    int lost = self->n;
    aio_await(aio_next_turn());
    return lost;
#endif
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
