// COMPILERS: g++ clang++
// EXPECT: must come before aio_async\(f\) in C\+\+
// In C++ aio_scratch stands before its coroutine.
#include "aio.h"

struct f {
    aio_frame aio;
    char buffer[1000];
};
#ifdef TWIN
aio_scratch(f, buffer);
#endif
aio_async(f) {
    return self->buffer[0];
} aio_end
#ifndef TWIN
aio_scratch(f, buffer);
#endif
const void *use();
const void *use() { return &AIO__CO(f); }
