// COMPILERS: gcc clang g++ clang++
// FLAGS: -Werror=unused-result
// EXPECT: warn_unused_result|-Wunused-result|-Werror=unused-result
// A nested call that nobody awaits never begins.
#include "aio_loop.h"

struct g {
    aio_frame aio;
};
aio_async(g) { return 1; } aio_end
struct f {
    aio_frame aio;
    struct g child;
};
aio_async(f) {
#ifdef TWIN
    aio_await(aio_call(&self->child, g));
#else
    aio_call(&self->child, g);
#endif
    return 0;
} aio_end
int main(void) { return aio_run(f) < 0; }
