// COMPILERS: gcc clang g++ clang++
// FLAGS: -Werror=unused-result
// EXPECT: warn_unused_result|-Wunused-result|-Werror=unused-result
// An awaitable that nobody awaits never begins.
#include "aio_loop.h"

struct f {
    aio_frame aio;
};
aio_async(f) {
#ifdef TWIN
    aio_await(aio_sleep(AIO_SECOND));
#else
    aio_sleep(AIO_SECOND);
#endif
    return 0;
} aio_end
int main(void) { return aio_run(f) < 0; }
