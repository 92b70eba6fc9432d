// COMPILERS: gcc clang g++ clang++
// EXPECT: aio__not_inside_aio_async
// An await in an ordinary function.
#include "aio.h"

struct f {
    aio_frame aio;
};
#ifdef TWIN
aio_async(f) {
    aio_await(aio_next_turn());
    return 0;
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
#else
int f(struct f *self);
int f(struct f *self)
{
    aio_await(aio_next_turn());
    return 0;
}
#endif
