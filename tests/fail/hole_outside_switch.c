// HOLE: gcc
// A local declared outside a switch of the user's own, with the await inside. clang sees it.
#include "aio.h"

struct f {
    aio_frame aio;
    int n;
};
aio_async(f) {
#ifdef TWIN
    switch (self->n) {
    case 1: aio_await(aio_next_turn()); break;
    default: break;
    }
    int lost = self->n + 1;
#else
    int lost = self->n + 1;
    switch (self->n) {
    case 1: aio_await(aio_next_turn()); break;
    default: break;
    }
#endif
    return lost;
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
