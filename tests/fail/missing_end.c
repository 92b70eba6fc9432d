// COMPILERS: gcc clang g++ clang++
// EXPECT: the aio_end of the one before is missing
// A forgotten aio_end, told by the next coroutine.
#include "aio.h"

struct f {
    aio_frame aio;
};
struct g {
    aio_frame aio;
};
aio_async(f) {
    return 0;
#ifdef TWIN
} aio_end
#else
}
#endif
aio_async(g) {
    return 0;
} aio_end
const void *use(int i);
const void *use(int i) { return i ? &AIO__CO(f) : &AIO__CO(g); }
