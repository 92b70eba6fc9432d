// COMPILERS: g++ clang++
// EXPECT: must come before aio_async\(f\) in C\+\+
// In C++ a drop hook stands before its coroutine.
#include "aio.h"

struct f {
    aio_frame aio;
};
#ifdef TWIN
aio_drop(f) { return 0; } aio_end
#endif
aio_async(f) {
    return 0;
} aio_end
#ifndef TWIN
aio_drop(f) { return 0; } aio_end
#endif
const void *use();
const void *use() { return &AIO__CO(f); }
