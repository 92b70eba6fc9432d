// COMPILERS: gcc clang g++ clang++
// FLAGS: -Werror=unused-result
// EXPECT gcc: aio__handle_to_join_or_detach
// EXPECT: warn_unused_result|-Wunused-result|-Werror=unused-result
// A handle that is neither joined nor detached.
#include "aio_loop.h"

struct f {
    aio_frame aio;
};
aio_async(f) {
    return 0;
} aio_end
struct g {
    aio_frame aio;
};
aio_async(g) {
#ifdef TWIN
    aio_detach(aio_spawn(f));
#else
    aio_spawn(f);
#endif
    return 0;
} aio_end
int main(void) { return aio_run(g) < 0; }
