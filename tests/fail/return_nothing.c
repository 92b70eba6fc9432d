// COMPILERS: gcc clang g++ clang++
// EXPECT gcc: 'return' with no value
// EXPECT g++: return-statement with no value
// EXPECT: should return a value
// A return without a value: the result would be whatever a register holds.
#include "aio.h"

struct f {
    aio_frame aio;
};
aio_async(f) {
    aio_await(aio_next_turn());
#ifdef TWIN
    return 0;
#else
    return;
#endif
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
