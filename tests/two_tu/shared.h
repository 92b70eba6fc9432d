// What the two translation units share: coroutines that one defines and the other calls and spawns.
#ifndef SHARED_H
#define SHARED_H
#include "aio_loop.h"

struct adder {
    aio_frame aio;
    int a, b;
    int64_t pause_ns;
};
aio_declare_extern(adder);

struct relay {              // defined in b, calls back into a
    aio_frame aio;
    int n;
    aio_slot(adder) slot;
    aio_task *task;
};
aio_declare_extern(relay);

#ifdef __cplusplus
extern "C" {
#endif
aio_task *b_spawn(int a, int b);            // on the loop that runs, whoever started it
aio_loop *b_running_loop(void);
aio_result b_cancel_and_look(aio_task *t);
const void *b_ready_class(void);
const void *b_adder(void);
#ifdef __cplusplus
}
#endif
#endif
