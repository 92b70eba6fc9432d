// COMPILERS: gcc clang g++ clang++
// EXPECT gcc: THIS LOCAL WOULD BE LOST
// EXPECT clang: variable 'text' (is|may be) (used )?uninitialized
// EXPECT g++: THIS LOCAL WOULD BE LOST
// EXPECT clang++: cannot jump from (this indirect goto|switch) statement
// A local of an inner block, set before an await inside a branch and used behind it.
#include "aio.h"

struct f {
    aio_frame aio;
    int n;
};
aio_async(f) {
    while (self->n) {
#ifdef TWIN
        self->n--;
        aio_try(aio_next_turn());
        const char *text = "after";
#else
        const char *text = "before";
        if (self->n == 2) aio_try(aio_next_turn());
#endif
        self->n -= text[0];
    }
    return self->n;
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
