// COMPILERS: gcc clang g++ clang++
// EXPECT: the lvalue must be a signed integer
// A result can be negative, an unsigned variable cannot.
#include "aio.h"

struct f {
    aio_frame aio;
#ifdef TWIN
    int n;
#else
    uint8_t n;
#endif
};
aio_async(f) {
    aio_await(self->n, aio_next_turn());
    return 0;
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
