// COMPILERS: gcc clang
// FLAGS: -std=c11 -Wpedantic -DAIO_STRICT
// EXPECT gcc: overflow
// EXPECT clang: overflow converting case value
// Strict ISO C: an await inside a switch of the user's own.
#include "aio.h"

struct f {
    aio_frame aio;
    int n;
};
aio_async(f) {
#ifdef TWIN
    if (self->n == 1) aio_await(aio_next_turn());
#else
    switch (self->n) {
    case 1: aio_await(aio_next_turn()); break;
    default: break;
    }
#endif
    return 0;
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
