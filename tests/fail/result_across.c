// COMPILERS: clang clang++
// EXPECT clang: variable 'n' (is|may be) (used )?uninitialized
// EXPECT clang++: variable 'n' (is|may be) (used )?uninitialized
// An await's result, used after the next await.
#include "aio.h"

struct f {
    aio_frame aio;
};
aio_async(f) {
    int n;
    aio_await(n, aio_next_turn());
#ifdef TWIN
    if (n < 0) return n;
    aio_await(n, aio_next_turn());
#else
    aio_await(aio_next_turn());
#endif
    return n;
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
