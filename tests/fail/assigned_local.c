// COMPILERS: clang clang++
// EXPECT clang: variable 'lost' (is|may be) (used )?uninitialized
// EXPECT clang++: variable 'lost' (is|may be) (used )?uninitialized
// A local that is assigned, awaited over, and used.
#include "aio.h"

struct f {
    aio_frame aio;
    int n;
};
aio_async(f) {
    int lost;
#ifdef TWIN
    aio_await(aio_next_turn());
    lost = self->n;
#else
    lost = self->n;
    aio_await(aio_next_turn());
#endif
    return lost;
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
