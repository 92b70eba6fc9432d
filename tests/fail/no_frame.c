// COMPILERS: gcc clang g++ clang++
// EXPECT: no member named .?aio.?|has no member named
// There is no frame header.
#include "aio.h"

struct f {
#ifdef TWIN
    aio_frame aio;
#endif
    int n;
};
aio_async(f) {
    return self->n;
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
