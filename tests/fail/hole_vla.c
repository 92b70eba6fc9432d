// HOLE: gcc clang
// An array of variable size: its bytes are on a stack that is gone after the await.
#include "aio.h"
#include <stdlib.h>

struct f {
    aio_frame aio;
    int n;
    char kept[16];
};
aio_async(f) {
#ifdef TWIN
    self->kept[0] = 1;
    aio_try(aio_next_turn());
    return self->kept[0];
#else
    {
        char bytes[self->n + 1];
        bytes[0] = 1;
        self->n = bytes[0];
    }
    aio_try(aio_next_turn());
    return self->n;
#endif
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
