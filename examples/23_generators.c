// 23_generators - a pipeline of generators.
//
// Shows:  aio_yield hands a value of any type to the one who iterates; a generator may wait in
//         between; a stage holds the stage before it in its own frame; one that is left early
//         cleans up.
// Run:    cc -O2 -iquote . examples/23_generators.c -o generators && ./generators
// Prints: what comes out of the pipeline, and the clean-up. On the virtual clock, so at once.
#include "aio_loop.h"

// A thermometer that is read every minute, without end.
struct readings {
    aio_frame aio;
    double value;               // what aio_yield hands out
    unsigned seed;
    aio_result r;
};

aio_async(readings) {
    do {
        self->seed = self->seed * 1103515245u + 12345u;
        aio_yield(self->r, 20.0 + (double)(self->seed >> 16 & 63) / 8);
        if (self->r >= 0) aio_await(self->r, aio_sleep(60 * AIO_SECOND));
    } while (self->r >= 0);
    // With a variable, aio_yield lets the generator clean up: it was closed (or cancelled while it
    // slept).
    printf("  thermometer: %s, switched off\n", aio_strerror(self->r));
    return self->r == -ESHUTDOWN ? 0 : self->r;
} aio_end

// The mean of each `n` values.
struct mean {
    double mean;
    int minute;
};

struct means {
    aio_frame aio;
    struct mean value;
    int n, i, minute;
    double sum;
    struct readings from;       // the stage before
};

aio_async(means) {
    aio_result r;
    aio_try(aio_gen_init(&self->from, readings, .seed = 7));
    for (;;) {
        self->sum = 0;
        for (self->i = 0; self->i < self->n; self->i++) {
            aio_try(r, aio_next(&self->from));
            if (r == 0) return 0;                           // the end of what comes in
            self->sum += aio_gen_value(&self->from);
        }
        self->minute += self->n;
        aio_yield(((struct mean){ self->sum / self->n, self->minute }));    // closed here: it returns
    }
} aio_end

// Those above a limit.
struct warm {
    aio_frame aio;
    struct mean value;
    double above;
    struct means from;
};

aio_async(warm) {
    aio_result r;
    aio_try(aio_gen_init(&self->from, means, .n = 10));
    for (;;) {
        aio_try(r, aio_next(&self->from));
        if (r == 0) return 0;
        if (aio_gen_value(&self->from).mean > self->above) aio_yield(aio_gen_value(&self->from));
    }
} aio_end

struct watch {
    aio_frame aio;
    struct warm warm;
    int seen;
};

aio_async(watch) {
    aio_result r;
    aio_try(aio_gen_init(&self->warm, warm, .above = 24.0));
    while (self->seen < 4) {
        aio_try(r, aio_next(&self->warm));
        if (r == 0) break;
        printf("minute %d: %.2f degrees on average\n", aio_gen_value(&self->warm).minute,
               aio_gen_value(&self->warm).mean);
        self->seen++;
    }
    puts("enough; closing the pipeline:");
    aio_try(aio_gen_close(&self->warm));        // each stage ends the one before; a return would do it too
    printf("it ran for %d simulated minutes\n",
           (int)(aio_loop_time(aio_running_loop()) / (60 * AIO_SECOND)));
    return 0;
} aio_end

int main(void)
{
    return aio_run_with(&(struct aio_loop_options){ .clock = AIO_CLOCK_VIRTUAL }, watch) < 0;
}
