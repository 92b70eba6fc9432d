// COMPILERS: gcc clang g++ clang++
// EXPECT: aio__await_needs_an_awaitable_or_an_aio_result|deleted function
// An await of something that is no awaitable.
#include "aio.h"

struct f {
    aio_frame aio;
};
aio_async(f) {
#ifdef TWIN
    aio_await(aio_next_turn());
#else
    aio_await("42");
#endif
    return 0;
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
