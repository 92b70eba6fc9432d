// COMPILERS: gcc clang g++ clang++
// EXPECT: (no member named .*nope)
// A keyword that the frame does not have.
#include "aio_loop.h"

struct f {
    aio_frame aio;
    int yes;
};
aio_async(f) {
    return 0;
} aio_end
#ifdef TWIN
int main(void) { return aio_run(f, .yes = 1) < 0; }
#else
int main(void) { return aio_run(f, .nope = 1) < 0; }
#endif
