// COMPILERS: gcc clang g++ clang++
// EXPECT gcc: THIS LOCAL WOULD BE LOST
// EXPECT clang: variable 'i' (is|may be) (used )?uninitialized
// EXPECT g++: THIS LOCAL WOULD BE LOST
// EXPECT clang++: cannot jump from (this indirect goto|switch) statement
// A loop's counter that is alive across an await.
#include "aio.h"

struct f {
    aio_frame aio;
    int i;
};
aio_async(f) {
#ifdef TWIN
    for (self->i = 0; self->i < 3; self->i++) aio_await(aio_next_turn());
    for (int i = 0; i < 3; i++) self->i++;
#else
    for (int i = 0; i < 3; i++) aio_await(aio_next_turn());
#endif
    return self->i;
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
