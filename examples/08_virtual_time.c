// 08_virtual_time - a day in milliseconds.
//
// Shows:  the virtual clock: when all tasks wait for time, it jumps to the next moment at which one
//         of them goes on. The program is the same; only an option of its loop is different.
// Run:    cc -O2 -iquote . examples/08_virtual_time.c -o day && ./day
// Prints: what happened in the simulated day, the same on every run.
#include "aio_loop.h"

static int64_t now(void) { return aio_loop_time(aio_running_loop()); }
static const int64_t minute = 60 * AIO_SECOND, hour = 3600 * AIO_SECOND;

static void say(const char *what)
{
    printf("%02d:%02d  %s\n", (int)(now() / hour), (int)(now() / minute % 60), what);
}

// A sensor that is read every ten seconds.
struct sensor {
    aio_frame aio;
    int reads;
};

aio_async(sensor) {
    for (;;) {
        self->reads++;
        aio_try(aio_sleep(10 * AIO_SECOND));
    }
} aio_end

// A clerk who works from 9 to 17 and has lunch at 12:30.
struct clerk { aio_frame aio; };

aio_async(clerk) {
    aio_try(aio_sleep_until(9 * hour));
    say("the clerk arrives");
    aio_try(aio_sleep_until(12 * hour + 30 * minute));
    say("lunch");
    aio_try(aio_sleep(45 * minute));
    say("back to work");
    aio_try(aio_sleep_until(17 * hour));
    say("the clerk goes home");
} aio_end

struct day {
    aio_frame aio;
    aio_slot(sensor) sensor;        // a task in our own frame: no allocation
    aio_task *task;
    aio_result r;
};

aio_async(day) {
    self->task = aio_spawn_in(&self->sensor, sensor);
    say("the day begins");
    aio_await(self->r, aio_join(aio_spawn(clerk)));
    if (self->r >= 0) aio_await(self->r, aio_sleep_until(24 * hour));
    aio_task_cancel(self->task);
    aio_await(aio_join(self->task));        // the slot is ours again after this
    if (self->r < 0) return self->r;
    say("the day is over");
    printf("the sensor was read %d times\n", self->sensor.frame.reads);
    return 0;
} aio_end

int main(void)
{
    return aio_run_with(&(struct aio_loop_options){ .clock = AIO_CLOCK_VIRTUAL }, day) < 0;
}
