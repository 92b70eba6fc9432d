// COMPILERS: gcc clang g++ clang++
// EXPECT gcc: this storage is not a struct g
// EXPECT clang: this storage is not a struct g
// EXPECT g++: cannot convert .*h.* to .*g
// EXPECT clang++: cannot initialize a variable of type .*g
// A nested call in another coroutine's storage.
#include "aio.h"

struct g {
    aio_frame aio;
    int big[40];
};
struct h {
    aio_frame aio;
};
aio_async(g) {
    return 0;
} aio_end
struct f {
    aio_frame aio;
#ifdef TWIN
    struct g child;
#else
    struct h child;
#endif
};
aio_async(f) {
    aio_await(aio_call(&self->child, g));
    return 0;
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
