// COMPILERS: gcc clang g++ clang++
// EXPECT: the lvalue must be a signed integer|-Wbool|bool
// A result is more than a truth value.
#include "aio.h"

struct f {
    aio_frame aio;
#ifdef TWIN
    int n;
#else
    bool n;
#endif
};
aio_async(f) {
    aio_await(self->n, aio_next_turn());
    return 0;
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
