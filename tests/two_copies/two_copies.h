// What the program and its library agree on.
#include <stdbool.h>
struct two_copies { int ready; bool library_holds; };
__attribute__((visibility("default"))) int library_waits(struct two_copies *shared);
__attribute__((visibility("default"))) aio_task *library_starts(aio_loop *host);
