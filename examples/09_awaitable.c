// 09_awaitable - something of one's own to wait for.
//
// Shows:  how an awaitable is made: a start function that begins to wait, a wait class that can
//         cancel it, and aio_complete when the wait is over. Here: a letter box for one reader.
// Run:    cc -O2 -iquote . examples/09_awaitable.c -o letters && ./letters
// Prints: the letters that arrive, and a reader who is cancelled.
#include "aio_loop.h"

struct letter_box { aio_waiter *reader; };

// A dozen lines: how to stop waiting, how to begin, and what is written in an await.
static bool letter_cancel(aio_waiter *w)
{
    ((struct letter_box *)w->node.u.p[0])->reader = NULL;
    aio_complete(w, -ECANCELED);
    return true;
}
static const aio_wait_class letter_wait = { .name = "a letter", .cancel = letter_cancel };

static bool letter_start(aio_waiter *w, const aio_awaitable *a)
{
    w->node.u.p[0] = a->u.p[0];
    ((struct letter_box *)a->u.p[0])->reader = w;
    aio_waiter_begin(w, &letter_wait);
    return false;                           // not yet: letter_post completes it
}
static const aio_await_class letter_await = { .start = letter_start, .name = "letter" };

static aio_awaitable letter_from(struct letter_box *box)
{
    return (aio_awaitable){ .cls = &letter_await, .u.p = { box } };
}

// The other side. False: nobody waits.
static bool letter_post(struct letter_box *box, int number)
{
    aio_waiter *reader = box->reader;
    if (!reader) return false;
    box->reader = NULL;
    aio_complete(reader, number);
    return true;
}

struct subscriber {
    aio_frame aio;
    struct letter_box *box;
};

aio_async(subscriber) {
    aio_result n;
    for (;;) {
        aio_await(n, letter_from(self->box));
        if (n < 0) break;
        printf("letter %d\n", (int)n);
    }
    printf("no more letters: %s\n", aio_strerror(n));
    return n;
} aio_end

struct post_office {
    aio_frame aio;
    struct letter_box box;
    aio_task *reader;
    int i;
    aio_result r;
};

aio_async(post_office) {
    self->reader = aio_spawn(subscriber, .box = &self->box);
    for (self->i = 1; self->i <= 3 && self->r >= 0; self->i++) {
        aio_await(self->r, aio_sleep(AIO_MSEC));
        if (self->r >= 0) letter_post(&self->box, self->i);
    }
    if (self->r >= 0) aio_await(self->r, aio_sleep(AIO_MSEC));
    aio_task_dump(self->reader, stdout);    // who waits where, and for what
    aio_task_cancel(self->reader);
    aio_await(aio_join(self->reader));      // it uses our box: it ends before we do
    return self->r;
} aio_end

int main(void)
{
    return aio_run(post_office) < 0;
}
