// HOLE: gcc clang
// What alloca gives ends with the step.
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
    char *bytes;
    bytes = (char *)__builtin_alloca(16);
    bytes[0] = 1;
    aio_try(aio_next_turn());
    return 0;
#endif
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
