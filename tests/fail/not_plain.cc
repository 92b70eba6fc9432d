// COMPILERS: g++ clang++
// EXPECT: struct f must be plain: its members' constructors, initialisers and destructors would not run
// A member with a constructor, which nothing would run.
#include "aio.h"

struct text {
    char *characters;
#ifndef TWIN
    text() : characters(new char[8]) {}
    ~text() { delete[] characters; }
#endif
};
struct f {
    aio_frame aio;
    text t;
};
aio_async(f) {
    return 0;
} aio_end
const void *use(void);
const void *use(void) { return &AIO__CO(f); }
