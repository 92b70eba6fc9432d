// COMPILERS: gcc clang g++ clang++
// EXPECT: struct f wants more than 16-byte alignment
// A frame that wants more alignment than blocks have.
#include "aio.h"

struct f {
    aio_frame aio;
#ifdef TWIN
    char buffer[64] __attribute__((aligned(16)));
#else
    char buffer[64] __attribute__((aligned(64)));
#endif
};
aio_async(f) {
    return self->buffer[0];
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
