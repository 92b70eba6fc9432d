// 03_nested - coroutines that call coroutines.
//
// Shows:  aio_call in a member of the frame, results and errors of calls, further results in the
//         callee's frame, one storage for several callees, recursion with aio_call_new.
// Run:    cc -O2 -iquote . examples/03_nested.c -o nested && ./nested
// Prints: five lines of results.
#include "aio_loop.h"

struct divide {
    aio_frame aio;
    int a, b;           // arguments
    int remainder;      // a second result: the caller reads it in the frame
};

aio_async(divide) {
    if (!self->b) return -EDOM;         // a negative errno is an error
    aio_try(aio_sleep(AIO_MSEC));       // stands for work that has to wait
    self->remainder = self->a % self->b;
    return self->a / self->b;
} aio_end

struct average {
    aio_frame aio;
    const int *numbers;
    int count, i, sum;
    struct divide divide;
};

aio_async(average) {
    int quotient;
    for (self->i = 0; self->i < self->count; self->i++) self->sum += self->numbers[self->i];
    aio_try(quotient, aio_call(&self->divide, divide, .a = self->sum, .b = self->count));
    return quotient;
} aio_end

// Each level's frame comes from the loop's free lists. The C stack does not grow with the depth.
struct depth {
    aio_frame aio;
    int n;
};

aio_async(depth) {
    int below;
    if (self->n == 0) {
        aio_try(aio_sleep(AIO_MSEC));   // suspended at the bottom
        return 0;
    }
    aio_try(below, aio_call_new(depth, .n = self->n - 1));
    return below + 1;
} aio_end

struct nested {
    aio_frame aio;
    union {             // one call at a time: they share their storage
        struct divide divide;
        struct average average;
    } call;
};

aio_async(nested) {
    static const int numbers[] = { 3, 4, 8 };
    aio_result r;
    aio_try(r, aio_call(&self->call.divide, divide, .a = 17, .b = 5));
    printf("17 / 5 = %d, remainder %d\n", (int)r, self->call.divide.remainder);
    aio_try(r, aio_call(&self->call.average, average, .numbers = numbers, .count = 3));
    printf("the average of 3, 4 and 8 is %d\n", (int)r);
    aio_await(r, aio_call(&self->call.average, average, .numbers = numbers, .count = 0));
    printf("the average of nothing is %s: %s\n", aio_strerror(r), strerror((int)-r));
    aio_try(r, aio_call_new(depth, .n = 10));
    printf("%d calls deep\n", (int)r);
    aio_try(r, aio_call_new(depth, .n = 100000));
    printf("%d calls deep\n", (int)r);
    return 0;
} aio_end

int main(void)
{
    return aio_run(nested) < 0;
}
