// COMPILERS: gcc clang g++ clang++
// EXPECT gcc: expected declaration or statement at end of input
// EXPECT g++: expected '}' at end of input
// EXPECT clang: expected '}'
// EXPECT clang++: expected '}'
// A forgotten aio_end, told by the end of the file.
#include "aio.h"

struct f {
    aio_frame aio;
};
aio_declare(f);
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
aio_async(f) {
    return 0;
#ifdef TWIN
} aio_end
#else
}
#endif
