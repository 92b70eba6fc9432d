// COMPILERS: gcc clang g++ clang++
// EXPECT: must be the first member of struct f
// The frame header is not the first member.
#include "aio.h"

struct f {
#ifdef TWIN
    aio_frame aio;
    int n;
#else
    int n;
    aio_frame aio;
#endif
};
aio_async(f) {
    return self->n;
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
