// 20_nested_loop - "this event loop is already running", and what to do about it.
//
// Shows:  a run inside a run is refused with -EBUSY, and says so. The three cures: await instead;
//         permit it for the same loop (.allow_nested: for code that cannot await); a loop in
//         another thread.
// Run:    cc -O2 -iquote . -pthread examples/20_nested_loop.c -o nested_loop && ./nested_loop
// Prints: the refusal, and the three answers.
#include "aio_loop.h"

struct inner { aio_frame aio; int n; };

aio_async(inner) {
    aio_try(aio_sleep(AIO_MSEC));
    return self->n * self->n;
} aio_end

// An old interface: an ordinary function that must return the result. It cannot await.
static aio_result inner_in_a_loop_of_its_own(int n)
{
    return aio_run(inner, .n = n);
}

static aio_result inner_in_the_running_loop(int n)          // needs .allow_nested
{
    aio_task *task = aio_spawn(inner, .n = n);
    aio_result r = aio_loop_run_until_complete(aio_running_loop(), task);
    aio_detach(task);
    return r;
}

static aio_result inner_in_another_thread(void *n)
{
    return inner_in_a_loop_of_its_own(*(int *)n);
}

struct cures {
    aio_frame aio;
    struct inner inner;
    int n;
};

aio_async(cures) {
    aio_result r;
    r = inner_in_a_loop_of_its_own(3);
    printf("a run inside a run: %s (%s)\n", aio_strerror(r), strerror((int)-r));

    aio_try(r, aio_call(&self->inner, inner, .n = 4));
    printf("await instead: %d\n", (int)r);

    r = inner_in_the_running_loop(5);           // other tasks run meanwhile, this one cannot
    printf("allow_nested: %d\n", (int)r);

    self->n = 6;
    aio_try(r, aio_to_thread(inner_in_another_thread, &self->n));
    printf("a loop in another thread: %d\n", (int)r);
    return 0;
} aio_end

int main(void)
{
    return aio_run_with(&(struct aio_loop_options){ .allow_nested = true }, cures) < 0;
}
