// COMPILERS: gcc clang
// FLAGS: -std=c11 -U_GNU_SOURCE
// EXPECT: POSIX is hidden
// aio_loop.h after another header hid POSIX: said in words.
#ifdef TWIN
#include "aio_loop.h"
#include <string.h>
#else
#include <string.h>
#include "aio_loop.h"
#endif
struct f {
    aio_frame aio;
};
aio_async(f) {
    return 0;
} aio_end
int main(void) { return aio_run(f) < 0; }
