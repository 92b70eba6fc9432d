// 19_threads - between threads: a future completed from outside, a coroutine run from outside.
//
// Shows:  a thread that computes completes a future of the loop through aio_call_soon_threadsafe; a
//         thread that is no part of the loop runs a coroutine on it with aio_spawn_threadsafe,
//         waits for its result with a limit, and cancels another one. Nothing else may be called
//         from another thread.
// Run:    cc -O2 -iquote . -pthread examples/19_threads.c -o threads && ./threads
// Prints: the answers, in order.
#include "aio_loop.h"

// --- a future, completed in another thread
struct computation {
    aio_loop *loop;
    aio_future done;
    aio_handle handle;          // in use until the callback has run
    pthread_t thread;
    int question, answer;
};

static int computation_over(void *arg)          // in the loop's thread: may touch what is the loop's
{
    struct computation *c = (struct computation *)arg;
    aio_future_set_result(&c->done, c->answer);             // nobody waits any more: -EALREADY, no harm
    return 0;
}

static void *compute(void *arg)                 // in the other thread: may not
{
    struct computation *c = (struct computation *)arg;
    usleep(20000);
    c->answer = c->question * 2;
    aio_call_soon_threadsafe(c->loop, &c->handle, computation_over, c);
    return NULL;
}

struct ask_thread {
    aio_frame aio;
    struct computation c;
    aio_result r;
};

aio_async(ask_thread) {
    self->c.loop = aio_running_loop();
    self->c.question = 21;
    if (pthread_create(&self->c.thread, NULL, compute, &self->c)) return -EAGAIN;
    aio_await(self->r, aio_future_wait(&self->c.done));
    pthread_join(self->c.thread, NULL);         // it uses our frame; if we were cancelled, this waits for it
    aio_handle_cancel(&self->c.handle);         // harmless if it has run
    return self->r;
} aio_end

// --- a coroutine, run from another thread
struct look_up { aio_frame aio; int key; int64_t takes; };

aio_async(look_up) {
    aio_try(aio_sleep(self->takes));
    return self->key * 100;
} aio_end

struct outsider {
    aio_loop *loop;
    aio_result quick, slow, slow_end;
};

static aio_result ask_loop(void *arg)           // in another thread, which may block as it likes
{
    struct outsider *o = (struct outsider *)arg;
    aio_thread_future *quick = aio_spawn_threadsafe(o->loop, look_up, .key = 7, .takes = AIO_MSEC);
    aio_thread_future *slow =
        aio_spawn_threadsafe(o->loop, look_up, .key = 8, .takes = AIO_FOREVER);
    o->quick = aio_thread_future_wait(quick, AIO_FOREVER);
    o->slow = aio_thread_future_wait(slow, AIO_SECOND / 20);
    aio_thread_future_cancel(slow);
    o->slow_end = aio_thread_future_wait(slow, AIO_FOREVER);
    aio_thread_future_release(quick);
    aio_thread_future_release(slow);
    return 0;
}

struct between_threads {
    aio_frame aio;
    struct ask_thread ask;
    struct outsider outsider;
};

aio_async(between_threads) {
    aio_result r;
    aio_try(r, aio_call(&self->ask, ask_thread));
    printf("a thread completed the future: %d\n", (int)r);
    self->outsider.loop = aio_running_loop();
    aio_try(aio_to_thread(ask_loop, &self->outsider));      // a thread of the loop's pool will do here
    printf("a thread ran a coroutine: %d\n", (int)self->outsider.quick);
    printf("and one that takes too long: %s, then %s\n", aio_strerror(self->outsider.slow),
           aio_strerror(self->outsider.slow_end));
    return 0;
} aio_end

int main(void)
{
    return aio_run(between_threads) < 0;
}
