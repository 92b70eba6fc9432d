// COMPILERS: gcc clang g++ clang++
// EXPECT gcc: THIS LOCAL WOULD BE LOST
// EXPECT clang: variable 'lost' (is|may be) (used )?uninitialized
// EXPECT g++: THIS LOCAL WOULD BE LOST
// EXPECT clang++: cannot jump from (this indirect goto|switch) statement
// An initialised local that is alive across an await.
#include "aio.h"

struct f {
    aio_frame aio;
    int n;
};
aio_async(f) {
#ifdef TWIN
    self->n++;
    aio_await(aio_next_turn());
    int kept = self->n;
    return kept;
#else
    int lost = self->n;
    aio_await(aio_next_turn());
    return lost;
#endif
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
