// COMPILERS: gcc clang g++ clang++
// EXPECT: incompatible type|cannot convert|could not convert|no viable conversion|no matching
// An await of something that is no awaitable.
#include "aio.h"

struct f {
    aio_frame aio;
};
aio_async(f) {
#ifdef TWIN
    aio_await(aio_next_turn());
#else
    aio_await(42);
#endif
    return 0;
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
