// COMPILERS: gcc clang g++ clang++
// EXPECT: expected
// An await is a statement, not an expression.
#include "aio.h"

struct f {
    aio_frame aio;
};
aio_async(f) {
    int r;
#ifdef TWIN
    aio_await(r, aio_next_turn());
    if (r < 0) return r;
#else
    if ((r = aio_await(aio_next_turn())) < 0) return r;
#endif
    return 0;
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
