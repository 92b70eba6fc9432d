// aio_loop.h - an event loop with time for aio.h: turns, timers, sleep, callbacks, a virtual clock.
// SPDX-License-Identifier: MIT
//
// The loop runs coroutines in turns, as asyncio's does. It needs POSIX and knows nothing of io_uring;
// aio_io_uring.h plugs into it. Its clock can be simulated: then time jumps when all wait for it.
//
//     struct say { aio_frame aio; const char *word; };
//
//     aio_async(say) {
//         for (self->word = "one"; self->word; self->word = 0) puts(self->word);
//         aio_try(aio_sleep(AIO_SECOND));
//         return 0;
//     } aio_end
//
//     int main(void) { return aio_run(say) < 0; }
//
// INDEX
//   run          aio_run aio_run_with
//   loop         aio_loop_init aio_loop_run_until_complete aio_loop_run_forever aio_loop_stop
//                aio_loop_is_running aio_loop_is_closed aio_loop_close aio_running_loop
//   time         AIO_USEC AIO_MSEC AIO_SECOND AIO_FOREVER aio_loop_time aio_sleep aio_sleep_until
//   limits       aio_timeout_enter aio_timeout_enter_at aio_timeout_reschedule aio_timeout_expired
//                aio_timeout_exit aio_wait_for aio_wait_timeout
//                aio_completed_init aio_completed_next aio_completed_close
//   callbacks    aio_call_soon aio_call_later aio_call_at aio_call_soon_threadsafe aio_handle_cancel
//   looking in   aio_loop_turn aio_loop_dump aio_task_dump aio_strerror
//   backend      aio_backend (for headers like aio_io_uring.h)
//
// RULES
//   Time     int64 nanoseconds. Durations are relative; <= 0 means now. Deadlines are loop time.
//   Errors   Negative errno, as everywhere. What no caller can see goes to `on_error`.
//   Threads  A loop belongs to the thread that first runs it; only *_threadsafe calls may come from
//            another one. In a forked child every call gives -EPERM.
#ifndef AIO_LOOP_H
#define AIO_LOOP_H

// ------------------------------------------------------------------------------------- >>config
// POSIX names are wanted below; with -std=c11 they show only if this is the first header.
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE
#endif

// ----------------------------------------------------------------------------------- >>includes
#include "aio.h"
#include <poll.h>       // ppoll
#include <pthread.h>    // the inbox's lock, the owner
#include <signal.h>     // SIGPIPE
#include <stdio.h>      // dumps
#include <stdlib.h>     // the default allocator
#include <string.h>
#include <time.h>       // clock_gettime
#include <unistd.h>
#ifdef __linux__
#  include <sys/eventfd.h>
#endif
#ifdef __has_include
#  if __has_include(<sys/single_threaded.h>)
#    include <sys/single_threaded.h>
#    define AIO__SINGLE_THREADED __libc_single_threaded
#  endif
#endif
#ifndef AIO__SINGLE_THREADED
#  define AIO__SINGLE_THREADED 0
#endif
#if !defined CLOCK_MONOTONIC || !defined SIG_BLOCK || (defined __GLIBC__ && !defined __USE_XOPEN2K8)
#  error "aio_loop.h: POSIX is hidden. Include it first, or compile with -D_GNU_SOURCE or -std=gnu11."
#elif defined __GLIBC__ && !defined __USE_GNU   // after another header, which came without _GNU_SOURCE
extern int ppoll(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
extern const char *strerrorname_np(int);
#endif

// -------------------------------------------------------------------------------------- >>types
#define AIO_USEC INT64_C(1000)
#define AIO_MSEC INT64_C(1000000)
#define AIO_SECOND INT64_C(1000000000)
#define AIO_FOREVER INT64_MAX       // no limit

enum aio_clock {
    AIO_CLOCK_MONOTONIC,            // the system's
    AIO_CLOCK_VIRTUAL,              // from 0; jumps to the next timer when nothing can run
};

// Zero is the default of every field.
struct aio_loop_options {
    enum aio_clock clock;
    bool allow_nested;              // a run inside a run of the same loop is not refused
    int64_t shutdown_ns;            // aio_run names tasks that take longer to end: 5 s
    // What went wrong and no caller can see; null: a line on standard error.
    void (*on_error)(aio_loop *loop, const struct aio_report *report, void *context);
    void *context;
    struct aio_allocator allocator; // default: aligned_alloc and free
};

typedef struct aio_handle aio_handle;
typedef struct aio_backend aio_backend;

// A callback that will run: the caller's storage, free again once it has run or was cancelled.
struct aio_handle {
    aio_node node;
    int (*fn)(void *arg);
    void *arg;
    aio_loop *loop;
    aio_handle *next;               // private: in the inbox
};

// A limit in time on what a frame does. All zero: not open.
typedef struct aio_timeout {
    aio_scope scope;
    aio_handle handle;
    aio_task *task;
    uint32_t base;          // cancels asked of the task before it was opened
    uint32_t state;
} aio_timeout;

// An iteration over futures in the order in which they end. All zero: not open.
typedef struct aio_completed {
    aio_scope scope;
    struct aio__many *many;     // null: closed
    aio_task *owner;
    uint32_t left;              // items not yet asked for
    uint32_t block_class;
    aio_queue ended;            // indexes; -1: the time is over
} aio_completed;

// What waits for the outside world. Called by the owner thread, but for wake.
struct aio_backend {
    const char *name;
    // Starts what was prepared, and completes the waits that are over. If nothing is: waits for the
    // first, at most timeout_ns (0: does not wait; AIO_FOREVER).
    void (*wait)(aio_loop *loop, int64_t timeout_ns);
    void (*wake)(aio_loop *loop);       // makes a wait in another thread return; may be null
    void (*drain)(aio_loop *loop);      // ends everything in flight; no task is resumed afterwards
    void (*close)(aio_loop *loop);
    void (*forked)(aio_loop *loop);     // in a forked child: refuses from now on
};

struct aio__timer_entry { int64_t when; aio_node *node; };

// What other threads may touch, for as long as the loop's storage lives: its lock is never destroyed.
struct aio__inbox {
    pthread_mutex_t lock;
    aio_handle *first, *last;       // under the lock
    bool closed;                    // under the lock
    int full;                       // atomic: there is something in it
    int sleeping;                   // atomic: the owner waits, or is about to
    int wake_fd, wake_write_fd;
};

// An event loop. Embeds the executor first.
struct aio_loop {
    aio_executor executor;
    // Timers: a 4-ary heap, ordered by (deadline, order of arming).
    struct aio__timer_entry *timers;
    uint32_t timer_count, timer_capacity, timer_seq;
    uint32_t in_flight;             // waits that the outside world owes
    int64_t now;                    // the virtual clock
    const aio_backend *backend;     // null: only time and other threads
    void *backend_state;
    aio_result backend_refusal;     // the last reason why there is none
    struct aio__inbox *inbox;       // the owner's way to `mailbox`; null: closed
    struct aio__inbox mailbox;
    aio_loop *next, *prev;          // loops of this process; under aio__loops.lock
    bool is_virtual, stopping, closed, forked, owned;
    uint32_t runs;                  // depth of runs
    pthread_t owner;
    pid_t pid;
    struct aio_loop_options options;
};

// ---------------------------------------------------------------------------------------- >>api

// --- run

// aio_run(name, .argument = value, …)
// Makes a loop, runs coroutine `name` to its end, cancels what it left running and waits for that,
// closes the loop. Ignores SIGPIPE if that is at its default.
// Result: the coroutine's; -EBUSY: a loop runs in this thread; -ENOMEM, -EMFILE: no loop;
// -EDEADLK: all wait for something that cannot come (who for what is told).
#define aio_run(...) aio_run_with(((const struct aio_loop_options *)0), __VA_ARGS__)

// aio_run_with(&(struct aio_loop_options){ … }, name, …): the same, with options.
#define aio_run_with(options, ...) AIO__RUN(__COUNTER__, options, __VA_ARGS__, )

// --- loop

// Prepares a loop. options may be null. Result: 0, -ENOMEM, -EMFILE.
// Lifetime: the loop must not move until it is closed.
AIO_FN aio_result aio_loop_init(aio_loop *loop, const struct aio_loop_options *options);

// Runs until a task (or a future) has ended. The handle stays the caller's.
// Result: the task's; -EINPROGRESS: stopped before; -EDEADLK: it can never end; -EBUSY: a loop runs in
// this thread (a nested run: await instead, or allow_nested); -EPERM: another thread owns the loop, or
// this is a forked child; -EBADFD: closed.
#ifdef __cplusplus
AIO_FN aio_result aio_loop_run_until_complete(aio_loop *loop, aio_task *task);
AIO_FN aio_result aio_loop_run_until_complete(aio_loop *loop, aio_future *future);
#else
#  define aio_loop_run_until_complete(loop, what) _Generic((what), \
       aio_task *: aio__run_until_task, aio_future *: aio__run_until_future)(loop, what)
#endif

// Runs until aio_loop_stop. Result: 0; errors as above.
AIO_FN aio_result aio_loop_run_forever(aio_loop *loop);

// The run returns after the current turn; before a run: that run makes exactly one turn.
AIO_FN void aio_loop_stop(aio_loop *loop);
AIO_FN bool aio_loop_is_running(const aio_loop *loop);
AIO_FN bool aio_loop_is_closed(const aio_loop *loop);

// Ends a loop: operations are ended and their results disposed of; drop hooks run, newest task first;
// no body is resumed; all memory goes back, so every handle is void. Twice is harmless.
// Result: 0; -EBUSY while it runs; -EPERM in another thread.
AIO_FN aio_result aio_loop_close(aio_loop *loop);

// The loop that runs in this thread, or null. A forked child runs none.
AIO_FN aio_loop *aio_running_loop(void);

// --- time

// The loop's clock in nanoseconds, read freshly (24 ns). Virtual: starts at 0.
AIO_FN int64_t aio_loop_time(const aio_loop *loop);

// Awaitable: sleeps for a duration; <= 0: one turn; AIO_FOREVER: until cancelled. Never wakes early.
// Result: 0; -ECANCELED; -ENOMEM when the table of timers cannot grow.
// Cost: one entry of 16 bytes in the heap; no system call.
AIO_INLINE AIO_NODISCARD aio_awaitable aio_sleep(int64_t ns);
// Awaitable: the same, until a moment of the loop's clock.
AIO_INLINE AIO_NODISCARD aio_awaitable aio_sleep_until(int64_t when);

// --- limits

// Opens a scope in the running frame: after ns (or at a moment of the loop's clock) the task is
// cancelled, and the exit makes of that cancel -ETIMEDOUT. <= 0: at the next await that waits;
// AIO_FOREVER: no limit. May be opened again after its exit. Result: 0; -EINVAL: it is open, or no task
// runs; -ENOMEM.
AIO_FN aio_result aio_timeout_enter(aio_timeout *t, int64_t ns);
AIO_FN aio_result aio_timeout_enter_at(aio_timeout *t, int64_t when);
// Another moment of the loop's clock. Result: 0; -EINVAL: not open, or expired; -ENOMEM.
AIO_FN aio_result aio_timeout_reschedule(aio_timeout *t, int64_t when);
AIO_FN bool aio_timeout_expired(const aio_timeout *t);
// r = aio_timeout_exit(&self->t, r); r in: how the body ended; out: -ETIMEDOUT if the scope's own cancel
// (and no other) ended it, else r. A frame that returns over an open scope exits it with its result.
AIO_FN aio_result aio_timeout_exit(aio_timeout *t, aio_result r);

// Awaitable: any other awaitable, with a limit. When it is over, what is awaited is cancelled and waited
// for; if it still gives a value, that is the result. Result: -ETIMEDOUT, else that of what is awaited.
// <= 0: what has not begun does not begin. Takes a block of the loop's (-ENOMEM).
AIO_FN AIO_NODISCARD aio_awaitable aio_wait_for(int64_t ns, aio_awaitable a);

// Awaitable: aio_wait with a limit, which is no error: fewer have ended then.
#define aio_wait_timeout(futures, n, mode, ns) aio__wait_timeout(AIO__FUTURES(futures), n, mode, ns)

// Iterates over n futures in the order in which they end, within ns in all. Result: 0, -ENOMEM, -EINVAL.
#define aio_completed_init(it, futures, n, ns) aio__completed_init(it, AIO__FUTURES(futures), n, ns)
// Awaitable: the next one. Result: its index; -ETIMEDOUT for each one left when the time is over;
// -ENODATA: no more.
AIO_FN AIO_NODISCARD aio_awaitable aio_completed_next(aio_completed *it);
// Stops iterating; cancels nothing. The frame's return does it too.
AIO_FN void aio_completed_close(aio_completed *it);

// --- callbacks

// Calls fn(arg) in the next turn, after what is ready already. A negative return goes to on_error.
// Lifetime: `handle` until it has run or was cancelled. Result: 0, -ENOMEM, -EBADFD, -EPERM.
AIO_FN aio_result aio_call_soon(aio_loop *loop, aio_handle *handle, int (*fn)(void *), void *arg);
// The same after a duration, or at a moment of the loop's clock. In the past: in the next turn, but in
// its place among the timers. AIO_FOREVER: never.
AIO_FN aio_result aio_call_later(aio_loop *loop, aio_handle *handle, int64_t ns, int (*fn)(void *),
                                 void *arg);
AIO_FN aio_result aio_call_at(aio_loop *loop, aio_handle *handle, int64_t when, int (*fn)(void *),
                              void *arg);

// The same from any thread: the loop wakes up for it. Result: 0; -EBADFD: the loop is closed.
AIO_FN aio_result aio_call_soon_threadsafe(aio_loop *loop, aio_handle *handle, int (*fn)(void *),
                                           void *arg);

// Forgets a callback. Harmless when it has run, runs now, or was cancelled. Owner thread.
AIO_FN void aio_handle_cancel(aio_handle *handle);

// --- looking in

// Turns so far in which a callback or a step ran.
AIO_FN uint64_t aio_loop_turn(const aio_loop *loop);

// Prints the await tree: each task, where it stands (innermost first), what it waits for.
AIO_FN void aio_loop_dump(aio_loop *loop, FILE *out);
AIO_FN void aio_task_dump(const aio_task *task, FILE *out);

// Names a result: "ECONNREFUSED"; "OK" for values. Static text.
AIO_FN const char *aio_strerror(aio_result r);

// ----------------------------------------------------------------------------------- >>internal
#define AIO__LOOP_OF(executor) ((aio_loop *)(void *)(executor))

struct aio__run { aio_loop loop; };

#ifdef AIO_STRICT
#  define AIO__RUN(n, options, name, ...) \
       aio__run_from(options, &AIO__CO(name), &AIO__INIT(name, __VA_ARGS__)->aio)
#else
#  define AIO__RUN(n, options, ...) AIO__RUN_(n, options, __VA_ARGS__)
#  define AIO__RUN_(n, options, ...) __extension__({ \
       struct aio__run AIO__V(run_, n); \
       aio_result AIO__V(begun_, n) = aio__run_begin(&AIO__V(run_, n), options); \
       aio__run_end(&AIO__V(run_, n), AIO__V(begun_, n), AIO__SPAWN(n, aio__task_begin, \
           &AIO__V(run_, n).loop.executor, __VA_ARGS__)); })
#endif

// ------------------------------------------------------------------------------- >>implementation

// --- names of results
AIO_FN const char *aio_strerror(aio_result r)
{
    if (r >= 0) return "OK";
    const char *name = 0;
#if defined __GLIBC__ && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 32)
    if (r >= -4095) name = strerrorname_np((int)-r);
#else
    if (r >= -4095) name = strerror((int)-r);
#endif
    return name ? name : "unknown error";
}

// --- reports
AIO_COLD void aio__print_site(const aio_site *s, FILE *out)
{
    const aio_coroutine *co = s->body->coroutine;
    fprintf(out, "%s:%u: %s: %s", co->file, (unsigned)s->line, co->name, s->text);
}
AIO_COLD void aio__print_report(const struct aio_report *r)
{
    fprintf(stderr, "aio: %s", r->message);
    if (r->error < 0) fprintf(stderr, ": %s", aio_strerror(r->error));
    if (r->task) fprintf(stderr, ": task %s#%u", aio_task_name(r->task), (unsigned)r->task->id);
    if (r->site) {
        fprintf(stderr, " at ");
        aio__print_site(r->site, stderr);
    }
    fprintf(stderr, "\n");
}
AIO_COLD void aio__loop_report(aio_executor *x, const struct aio_report *r)
{
    aio_loop *l = AIO__LOOP_OF(x);
    if (l->options.on_error) {
        l->options.on_error(l, r, l->options.context);
        return;
    }
    aio__print_report(r);
    if (r->error == -EDEADLK && !r->task) aio_loop_dump(l, stderr);
}
AIO_COLD void aio__loop_say(aio_loop *l, const char *message, aio_result error)
{
    aio__report(&l->executor, message, error, 0, 0);
}
AIO_COLD void aio__loop_panic(aio_executor *x, const aio_site *site, const char *text)
{
    (void)x;
    fprintf(stderr, "aio: panic: %s", text);
    if (site) {
        fprintf(stderr, " at ");
        aio__print_site(site, stderr);
    }
    fprintf(stderr, "\n");
    abort();
}

// --- dumps
enum { AIO__DUMP_FRAMES = 32 };     // of one task; more are counted
AIO_FN void aio_task_dump(const aio_task *t, FILE *out)
{
    char what[128];
    fprintf(out, "%s#%u", aio_task_name(t), (unsigned)t->id);
    if (t->waiter.future.flags & AIO__DONE) {
        fprintf(out, ": ended, %lld %s\n", (long long)t->waiter.future.result,
                aio_strerror(t->waiter.future.result));
        return;
    }
    bool running = t->waiter.future.loop->current == t;
    aio_describe(&t->waiter, what, sizeof what);
    fprintf(out, ": %s%s", running ? "runs" : t->waiter.node.cls->kind == AIO__WAIT_READY ? "" : "waits for ",
            running ? "" : what);
    if (t->cancelling) fprintf(out, " (cancel asked %u times)", (unsigned)t->cancelling);
    fprintf(out, "\n");
    unsigned long depth = 0;
    for (const aio_frame *f = t->leaf; f; f = f->parent, depth++) {
        if (f->site->kind == AIO__SITE_GUARD || depth >= AIO__DUMP_FRAMES) continue;
        fprintf(out, "    at ");
        aio__print_site(f->site, out);
        fprintf(out, "\n");
    }
    if (depth > AIO__DUMP_FRAMES) fprintf(out, "    and %lu more\n", depth - AIO__DUMP_FRAMES);
}
AIO_FN void aio_loop_dump(aio_loop *l, FILE *out)
{
    fprintf(out, "loop: %u tasks, %u timers, %u in flight, turn %llu\n", (unsigned)l->executor.live,
            (unsigned)l->timer_count, (unsigned)l->in_flight, (unsigned long long)l->executor.turns);
    for (const aio_task *t = l->executor.first; t; t = t->next) aio_task_dump(t, out);
}

// --- the clock
AIO_FN int64_t aio__clock(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * AIO_SECOND + ts.tv_nsec;
}
AIO_FN int64_t aio_loop_time(const aio_loop *l) { return l->is_virtual ? l->now : aio__clock(); }
AIO_FN int64_t aio__deadline(const aio_loop *l, int64_t ns)
{
    int64_t when;
    if (__builtin_add_overflow(aio_loop_time(l), ns, &when)) return ns > 0 ? AIO_FOREVER : INT64_MIN;
    return when;
}

// --- timers
AIO_INLINE bool aio__before(struct aio__timer_entry a, struct aio__timer_entry b)
{
    if (a.when != b.when) return a.when < b.when;
    return (int32_t)(a.node->u.timer.seq - b.node->u.timer.seq) < 0;    // H-2
}
AIO_INLINE void aio__timer_place(aio_loop *l, uint32_t i, struct aio__timer_entry e)
{
    l->timers[i] = e;
    e.node->u.timer.index = i + 1;
}
AIO_FN void aio__timer_up(aio_loop *l, uint32_t i, struct aio__timer_entry e)
{
    while (i) {
        uint32_t up = (i - 1) / 4;
        if (!aio__before(e, l->timers[up])) break;
        aio__timer_place(l, i, l->timers[up]);
        i = up;
    }
    aio__timer_place(l, i, e);
}
AIO_FN void aio__timer_down(aio_loop *l, uint32_t i, struct aio__timer_entry e)
{
    for (;;) {
        uint32_t first = i * 4 + 1, best = first;
        if (first >= l->timer_count) break;
        uint32_t end = first + 4 < l->timer_count ? first + 4 : l->timer_count;
        for (uint32_t k = first + 1; k < end; k++)
            if (aio__before(l->timers[k], l->timers[best])) best = k;
        if (!aio__before(l->timers[best], e)) break;
        aio__timer_place(l, i, l->timers[best]);
        i = best;
    }
    aio__timer_place(l, i, e);
}
AIO_COLD aio_result aio__timers_grow(aio_loop *l)
{
    uint32_t capacity = l->timer_capacity ? l->timer_capacity * 2 : 16;
    struct aio__timer_entry *timers =
        (struct aio__timer_entry *)aio__chunk_new(&l->executor, (size_t)capacity * sizeof *timers);
    if (!timers) return -ENOMEM;
    if (l->timers) {
        memcpy(timers, l->timers, l->timer_count * sizeof *timers);
        aio__chunk_free(&l->executor, l->timers);
    }
    l->timers = timers;
    l->timer_capacity = capacity;
    return 0;
}
AIO_INLINE aio_result aio__timer_arm(aio_loop *l, aio_node *n, int64_t when)
{
    if (AIO__UNLIKELY(l->timer_count == l->timer_capacity)) {
        aio_result r = aio__timers_grow(l);
        if (r < 0) return r;
    }
    struct aio__timer_entry e = { when, n };
    n->u.timer.when = when;
    n->u.timer.seq = l->timer_seq++;
    aio__timer_up(l, l->timer_count++, e);
    return 0;
}
AIO_FN void aio__timer_remove(aio_loop *l, uint32_t i)
{
    struct aio__timer_entry last = l->timers[--l->timer_count];
    if (i == l->timer_count) return;
    if (i && aio__before(last, l->timers[(i - 1) / 4])) aio__timer_up(l, i, last);
    else aio__timer_down(l, i, last);
}
AIO_INLINE void aio__node_queue(aio_executor *x, aio_node *n)
{
    n->u.timer.index = AIO__QUEUED | aio__push(x, (uintptr_t)n | AIO__RUN_NODE);
}
// Takes a timer or a queued node back. `slot`: it holds a slot while it is in the heap.
AIO_FN void aio__timer_stop(aio_loop *l, aio_node *n, bool slot)
{
    uint32_t at = n->u.timer.index;
    if (!at) return;
    n->u.timer.index = 0;
    if (at & AIO__QUEUED) {
        aio__unqueue(&l->executor, at);     // gives the slot back when the turn comes to it
        return;
    }
    aio__timer_remove(l, at - 1);
    if (slot) aio__unreserve(&l->executor);
}
// Queues the timers that are due, in order (L-3). A sleeper's timer needs a slot of its own while it is
// queued; no memory for one: the sleeper goes on a turn early, in the slot that it has.
AIO_FN void aio__timers_due(aio_loop *l, int64_t now)
{
    while (l->timer_count && l->timers[0].when <= now) {
        aio_node *n = l->timers[0].node;
        bool direct = n->cls->kind == AIO__WAIT_SLEEP && aio__reserve(&l->executor) < 0;
        aio__timer_remove(l, 0);
        if (AIO__UNLIKELY(direct)) n->cls->run(n);
        else aio__node_queue(&l->executor, n);
    }
}

// --- awaitable: sleep
AIO_FN bool aio__sleep_cancel(aio_waiter *w)
{
    aio__timer_stop(AIO__LOOP_OF(w->future.loop), &w->node, false);
    aio_complete(w, -ECANCELED);
    return true;
}
AIO_FN void aio__sleep_run(aio_node *n)
{
    aio_complete(AIO__CONTAINER(n, aio_waiter, node), 0);
}
AIO_FN size_t aio__sleep_describe(const aio_waiter *w, char *text, size_t size)
{
    int64_t left = w->node.u.timer.when - aio_loop_time(AIO__LOOP_OF(w->future.loop));
    if (w->node.u.timer.when == AIO_FOREVER) return aio__append(text, size, 0, "sleep without limit");
    int n = snprintf(text, size, "sleep %.6f s more", (double)left / 1e9);
    return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}
static const aio_wait_class aio__sleep_wait =
    { "sleep", AIO__WAIT_SLEEP, aio__sleep_cancel, 0, 0, aio__sleep_run, aio__sleep_describe, 0 };
AIO_FN bool aio__sleep_begin(aio_waiter *w, int64_t when)
{
    w->node.u.timer.when = when;
    w->node.u.timer.index = 0;
    if (when != AIO_FOREVER) {
        aio_result r = aio__timer_arm(AIO__LOOP_OF(w->future.loop), &w->node, when);
        if (AIO__UNLIKELY(r < 0)) {
            w->future.result = r;
            return true;
        }
    }
    aio_waiter_begin(w, &aio__sleep_wait);
    return false;
}
AIO_INLINE bool aio__sleep_start(aio_waiter *w, const aio_awaitable *a)
{
    int64_t ns = a->u.i[0];
    if (ns > 0) return aio__sleep_begin(w, aio__deadline(AIO__LOOP_OF(w->future.loop), ns));
    aio_complete(w, 0);         // S-1, T-5
    return false;
}
AIO_FN bool aio__sleep_until_start(aio_waiter *w, const aio_awaitable *a)
{
    return aio__sleep_begin(w, a->u.i[0]);
}
static const aio_await_class aio__sleep_await = { aio__sleep_start, "sleep", AIO__AWAIT_SLEEP };
static const aio_await_class aio__sleep_until_await = { aio__sleep_until_start, "sleep", AIO__AWAIT_SLEEP };
AIO_INLINE AIO_NODISCARD aio_awaitable aio_sleep(int64_t ns)
{
    aio_awaitable a;
    a.cls = &aio__sleep_await;
    a.u.i[0] = ns;
    return a;
}
AIO_INLINE AIO_NODISCARD aio_awaitable aio_sleep_until(int64_t when)
{
    aio_awaitable a;
    a.cls = &aio__sleep_until_await;
    a.u.i[0] = when;
    return a;
}

// --- callbacks
AIO_FN void aio__handle_run(aio_node *n)
{
    aio_handle *h = (aio_handle *)(void *)n;
    aio_loop *l = h->loop;
    n->u.timer.index = 0;
    int r = h->fn(h->arg);          // may reuse h
    if (AIO__UNLIKELY(r < 0)) aio__loop_say(l, "a callback failed", r);     // L-17
}
static const aio_wait_class aio__handle_class = { "callback", AIO__WAIT_CALLBACK, 0, 0, 0, aio__handle_run, 0, 0 };
AIO_FN void aio__handle_init(aio_handle *h, aio_loop *l, int (*fn)(void *), void *arg)
{
    h->node.cls = &aio__handle_class;
    h->node.u.timer.index = 0;
    h->fn = fn;
    h->arg = arg;
    h->loop = l;
    h->next = 0;
}
AIO_FN aio_result aio_call_soon(aio_loop *l, aio_handle *h, int (*fn)(void *), void *arg)
{
    aio__handle_init(h, l, fn, arg);
    aio_result r = aio__reserve(&l->executor);
    if (r < 0) return r;
    aio__node_queue(&l->executor, &h->node);
    return 0;
}
AIO_FN aio_result aio_call_at(aio_loop *l, aio_handle *h, int64_t when, int (*fn)(void *), void *arg)
{
    aio__handle_init(h, l, fn, arg);
    aio_result r = aio__reserve(&l->executor);
    if (r < 0) return r;
    if (when != AIO_FOREVER && (r = aio__timer_arm(l, &h->node, when)) >= 0) return 0;
    aio__unreserve(&l->executor);
    return r;
}
AIO_FN aio_result aio_call_later(aio_loop *l, aio_handle *h, int64_t ns, int (*fn)(void *), void *arg)
{
    return aio_call_at(l, h, aio__deadline(l, ns), fn, arg);
}

// --- the inbox: callbacks from other threads
AIO_FN aio_result aio_call_soon_threadsafe(aio_loop *l, aio_handle *h, int (*fn)(void *), void *arg)
{
    struct aio__inbox *in = &l->mailbox;
    if (l->forked) return -EPERM;           // the lock may be held by a thread that is not here
    aio__handle_init(h, l, fn, arg);
    pthread_mutex_lock(&in->lock);
    bool closed = in->closed;
    if (!closed) {
        if (in->last) in->last->next = h;
        else in->first = h;
        in->last = h;
        __atomic_store_n(&in->full, 1, __ATOMIC_SEQ_CST);       // pairs with aio__about_to_sleep
        if (__atomic_exchange_n(&in->sleeping, 0, __ATOMIC_SEQ_CST)) {
            uint64_t one = 1;
            while (write(in->wake_write_fd, &one, sizeof one) < 0 && errno == EINTR) {}
        }
    }
    pthread_mutex_unlock(&in->lock);
    return closed ? -EBADFD : 0;
}
// Queues what other threads sent. No memory for a slot: the rest waits for the next turn. `borrow`: one
// goes in without a slot; for an empty ring into which this turn will put nothing more.
AIO_COLD void aio__inbox_drain(aio_loop *l, bool borrow)
{
    struct aio__inbox *in = l->inbox;
    pthread_mutex_lock(&in->lock);
    while (in->first && (borrow || aio__reserve(&l->executor) >= 0)) {
        if (borrow) l->executor.slots++;
        borrow = false;
        aio_handle *h = in->first;
        in->first = h->next;
        aio__node_queue(&l->executor, &h->node);
    }
    if (!in->first) {
        in->last = 0;
        __atomic_store_n(&in->full, 0, __ATOMIC_SEQ_CST);
    }
    pthread_mutex_unlock(&in->lock);
}
AIO_INLINE bool aio__inbox_full(const aio_loop *l)
{
    return __atomic_load_n(&l->inbox->full, __ATOMIC_RELAXED);
}
// Says that the owner will wait. False: something came in, do not.
AIO_INLINE bool aio__about_to_sleep(aio_loop *l)
{
    if (AIO__SINGLE_THREADED) return true;      // nobody else is there
    __atomic_store_n(&l->inbox->sleeping, 1, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&l->inbox->full, __ATOMIC_SEQ_CST)) return true;
    __atomic_store_n(&l->inbox->sleeping, 0, __ATOMIC_SEQ_CST);
    return false;
}
AIO_INLINE void aio__woke_up(aio_loop *l) { __atomic_store_n(&l->inbox->sleeping, 0, __ATOMIC_RELEASE); }
AIO_FN aio_result aio__inbox_open(aio_loop *l)
{
    struct aio__inbox *in = &l->mailbox;
#ifdef __linux__
    in->wake_fd = in->wake_write_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (in->wake_fd < 0) return -errno;
#else
    int fds[2];
    if (pipe(fds) < 0) return -errno;
    in->wake_fd = fds[0];
    in->wake_write_fd = fds[1];
#endif
    in->closed = false;
    l->inbox = in;
    return 0;
}
AIO_FN void aio__inbox_close(aio_loop *l)
{
    struct aio__inbox *in = l->inbox;
    pthread_mutex_lock(&in->lock);
    in->closed = true;
    l->inbox = 0;
    pthread_mutex_unlock(&in->lock);
    close(in->wake_fd);
    if (in->wake_write_fd != in->wake_fd) close(in->wake_write_fd);
}
AIO_FN void aio__inbox_remove(aio_loop *l, aio_handle *h)
{
    struct aio__inbox *in = l->inbox;
    aio_handle *before = 0;
    pthread_mutex_lock(&in->lock);
    for (aio_handle *i = in->first; i; before = i, i = i->next) {
        if (i != h) continue;
        if (before) before->next = h->next;
        else in->first = h->next;
        if (in->last == h) in->last = before;
        break;
    }
    pthread_mutex_unlock(&in->lock);
}
AIO_FN void aio_handle_cancel(aio_handle *h)
{
    if (!h->loop || !h->loop->inbox) return;
    if (h->node.u.timer.index) aio__timer_stop(h->loop, &h->node, true);
    else if (aio__inbox_full(h->loop)) aio__inbox_remove(h->loop, h);
}

// --- timeout scopes
enum { AIO__TIMEOUT_CREATED, AIO__TIMEOUT_ENTERED, AIO__TIMEOUT_EXPIRING, AIO__TIMEOUT_EXPIRED, AIO__TIMEOUT_EXITED };
AIO_FN int aio__timeout_fired(void *arg)
{
    aio_timeout *s = (aio_timeout *)arg;
    s->state = AIO__TIMEOUT_EXPIRING;
    aio_task_cancel(s->task);               // TO-3
    return 0;
}
// TO-2: what is due already takes its place among the callbacks.
AIO_FN aio_result aio__timeout_arm(aio_timeout *s, int64_t when)
{
    aio_loop *l = AIO__LOOP_OF(s->task->waiter.future.loop);
    s->handle.loop = 0;
    if (when == AIO_FOREVER) return 0;
    if (when <= aio_loop_time(l)) return aio_call_soon(l, &s->handle, aio__timeout_fired, s);
    return aio_call_at(l, &s->handle, when, aio__timeout_fired, s);
}
AIO_FN aio_result aio__timeout_scope_exit(aio_scope *s, aio_task *t, aio_result r)
{
    (void)t;
    return aio_timeout_exit(AIO__CONTAINER(s, aio_timeout, scope), r);
}
static const aio_scope_class aio__timeout_scope = { "timeout", aio__timeout_scope_exit, AIO__SCOPE_OWN };
AIO_FN bool aio__timeout_open(const aio_timeout *s)
{
    return s->state == AIO__TIMEOUT_ENTERED || s->state == AIO__TIMEOUT_EXPIRING;
}
AIO_FN aio_result aio__timeout_begin(aio_timeout *s, aio_task *t, int64_t when)
{
    if (!t || aio__timeout_open(s)) return -EINVAL;     // TO-1
    s->task = t;
    s->base = t->cancelling;
    aio_result r = aio__timeout_arm(s, when);
    if (r < 0) return r;
    s->state = AIO__TIMEOUT_ENTERED;
    aio_scope_enter(&s->scope, t, &aio__timeout_scope);
    return 0;
}
AIO_FN aio_result aio_timeout_enter_at(aio_timeout *s, int64_t when)
{
    return aio__timeout_begin(s, aio_current_task(), when);
}
AIO_FN aio_result aio_timeout_enter(aio_timeout *s, int64_t ns)
{
    aio_task *t = aio_current_task();
    if (!t) return -EINVAL;
    return aio__timeout_begin(s, t, aio__deadline(AIO__LOOP_OF(t->waiter.future.loop), ns));
}
AIO_FN aio_result aio_timeout_reschedule(aio_timeout *s, int64_t when)
{
    if (s->state != AIO__TIMEOUT_ENTERED) return -EINVAL;
    aio_handle_cancel(&s->handle);
    return aio__timeout_arm(s, when);
}
AIO_FN bool aio_timeout_expired(const aio_timeout *s)
{
    return s->state == AIO__TIMEOUT_EXPIRING || s->state == AIO__TIMEOUT_EXPIRED;
}
AIO_FN aio_result aio_timeout_exit(aio_timeout *s, aio_result r)
{
    if (!aio__timeout_open(s)) return r;
    aio_handle_cancel(&s->handle);
    aio_scope_leave(&s->scope, s->task);
    if (s->state == AIO__TIMEOUT_ENTERED) {
        s->state = AIO__TIMEOUT_EXITED;
        return r;
    }
    s->state = AIO__TIMEOUT_EXPIRED;
    return aio_task_uncancel(s->task) <= s->base && r == -ECANCELED ? -ETIMEDOUT : r;   // TO-3, TO-6
}

// --- wait_for: a frame of its own between the awaiter and what it awaits, so that anything can be
// wrapped, also itself.
struct aio__wait_for {
    aio_frame aio;
    int64_t ns;
    aio_awaitable inner;
    aio_timeout scope;
    aio_future *future;         // what is awaited, if that is a future
    aio_result r;
    int turns;
};
AIO_FN aio_future *aio__awaited_future(const aio_awaitable *a)
{
    if (a->cls->kind == AIO__AWAIT_FUTURE) return (aio_future *)a->u.p[0];
    if (a->cls->kind == AIO__AWAIT_JOIN) return &((aio_task *)a->u.p[0])->waiter.future;
    return 0;
}
// Cancels a future and waits for its end: 0; cancellable itself.
AIO_FN void aio__ended_run(aio_node *n) { aio_complete(AIO__CONTAINER(n, aio_waiter, node), 0); }
static const aio_wait_class aio__ended_wait = { "end of a cancelled task", AIO__WAIT_OWN, aio__shield_cancel, 0,
    aio__shield_notify, aio__ended_run, 0, aio__shield_dispose };
AIO_FN bool aio__end_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_future *f = (aio_future *)a->u.p[0];
    aio_result r = aio__reserve(w->future.loop);
    if (r >= 0 && !aio__future_bind(f, w->future.loop)) {
        aio__unreserve(w->future.loop);
        r = -EXDEV;
    }
    if (r < 0) return aio__done_with(w, r);
    aio__list_add(f, &w->node);
    aio_waiter_begin(w, &aio__ended_wait);
    aio_future_cancel(f);
    return false;
}
static const aio_await_class aio__end_await = { aio__end_start, "end", AIO__AWAIT_OWN };
// What never begins takes the turns in which asyncio makes its task, cancels it and sees its end.
AIO_FN void aio__unbegun_run(aio_node *n)
{
    aio_waiter *w = AIO__CONTAINER(n, aio_waiter, node);
    if (!n->u.timer.seq--) {
        aio_complete(w, 0);
        return;
    }
    w->future.loop->slots++;            // the one that was just given back
    aio__node_queue(w->future.loop, n);
}
static const aio_wait_class aio__unbegun_wait = { "limit of 0", AIO__WAIT_OWN,
    aio__shield_queued_cancel, 0, 0, aio__unbegun_run, 0, 0 };
AIO_FN bool aio__unbegun_start(aio_waiter *w, const aio_awaitable *a)
{
    (void)a;
    aio_result r = aio__reserve(w->future.loop);
    if (r < 0) return aio__done_with(w, r);
    w->node.u.timer.seq = 1;
    aio_waiter_begin(w, &aio__unbegun_wait);
    aio__node_queue(w->future.loop, &w->node);
    return false;
}
static const aio_await_class aio__unbegun_await = { aio__unbegun_start, "limit of 0", AIO__AWAIT_OWN };
aio_async(aio__wait_for) {
    if (self->ns > 0) {                                                 // WF-1
        self->r = aio_timeout_enter(&self->scope, self->ns);
        if (self->r < 0) aio__awaitable_drop(AIO__TASK, &self->inner);
        else aio_await(self->r, self->inner);
        return aio_timeout_exit(&self->scope, self->r);
    }
    self->future = aio__awaited_future(&self->inner);                   // WF-4
    if (!self->future) {
        aio__awaitable_drop(AIO__TASK, &self->inner);
        aio_try(aio__sync_await(&aio__unbegun_await, 0));
        return -ETIMEDOUT;
    }
    if (!aio_future_done(self->future)) {
        aio_await(self->r, aio__sync_await(&aio__end_await, self->future));
        if (self->r >= 0) {
            self->r = aio_future_result(self->future);
            if (aio_future_cancelled(self->future)) self->r = -ETIMEDOUT;
        }
        aio__awaitable_drop(AIO__TASK, &self->inner);
        return self->r;
    }
    aio_await(self->r, self->inner);
    return self->r;
} aio_end
AIO_FN bool aio__wait_for_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_awaitable inner = *a;
    inner.cls = (const aio_await_class *)a->u.cp[7];
    if (aio__needs_task(w)) return true;
    struct aio__wait_for *f = (struct aio__wait_for *)aio__call_block(
        AIO__TASK_OF(w), &AIO__CO(aio__wait_for), sizeof *f);
    if (!f) {
        aio__awaitable_drop(AIO__TASK_OF(w), &inner);
        return aio__done_with(w, -ENOMEM);
    }
    f->ns = a->u.i[8];
    f->inner = inner;
    aio_awaitable call = aio__call_new(&AIO__CO(aio__wait_for), f);
    return aio__call_new_start(w, &call);
}
static const aio_await_class aio__wait_for_await = { aio__wait_for_start, "wait_for", AIO__AWAIT_WAIT_FOR };
AIO_FN AIO_NODISCARD aio_awaitable aio_wait_for(int64_t ns, aio_awaitable a)
{
    if (ns == AIO_FOREVER) return a;
    if (a.cls->kind == AIO__AWAIT_WAIT_FOR) {           // of two limits the shorter one
        if (ns < a.u.i[8]) a.u.i[8] = ns;
        return a;
    }
    a.u.cp[7] = a.cls;
    a.u.i[8] = ns;
    a.cls = &aio__wait_for_await;
    return a;
}

// --- wait with a limit
AIO_FN void aio__wait_stop_timer(struct aio__many *m)
{
    aio_handle *h = (aio_handle *)m->timer;
    aio_executor *x = &h->loop->executor;
    aio_handle_cancel(h);
    aio__free(x, h, aio__class_of(sizeof *h));
    m->stop_timer = 0;
}
AIO_FN int aio__wait_expired(void *arg)
{
    aio__wait_release((struct aio__many *)arg);
    return 0;
}
AIO_FN bool aio__wait_timeout_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_loop *l = AIO__LOOP_OF(w->future.loop);
    aio_handle *h = (aio_handle *)aio__alloc(&l->executor, aio__class_of(sizeof *h), sizeof *h);
    struct aio__many *m = h ? aio__wait_begin(w, a) : 0;
    if (m) {
        aio_result r = aio_call_later(l, h, a->u.i[5], aio__wait_expired, m);
        if (r >= 0) {
            m->timer = h;
            m->stop_timer = aio__wait_stop_timer;
            return false;
        }
        aio__many_free(&l->executor, m);
        w->node.cls = &aio__ready;
        w->future.result = r;
    } else if (!h) {
        w->future.result = -ENOMEM;
    }
    if (h) aio__free(&l->executor, h, aio__class_of(sizeof *h));
    return true;
}
static const aio_await_class aio__wait_timeout_await = { aio__wait_timeout_start, "wait", AIO__AWAIT_OWN };
AIO_FN AIO_NODISCARD aio_awaitable aio__wait_timeout(struct aio__futures f, size_t n, int mode, int64_t ns)
{
    aio_awaitable a = aio__wait(f, n, mode);
    if (ns != AIO_FOREVER) a.cls = &aio__wait_timeout_await;
    a.u.i[5] = ns;
    return a;
}

// --- as_completed: what has ended goes into a queue of indexes
AIO_FN void aio__completed_ended(struct aio__watched *v, aio_future *f)
{
    struct aio__many *m = v->many;
    aio_completed *it = (aio_completed *)(void *)m->results;
    int32_t index = (int32_t)(v - aio__watches(m));
    (void)f;
    aio_queue_put_nowait(&it->ended, &index);
    if (!--m->pending && m->stop_timer) m->stop_timer(m);
}
AIO_FN void aio__completed_stop_timer(struct aio__many *m)
{
    aio_handle_cancel((aio_handle *)m->timer);
    m->stop_timer = 0;
}
AIO_FN int aio__completed_expired(void *arg)            // AC-2
{
    struct aio__many *m = (struct aio__many *)arg;
    aio_completed *it = (aio_completed *)(void *)m->results;
    const int32_t none = -1;
    aio__many_leave(it->owner->waiter.future.loop, m);
    for (; m->pending; m->pending--) aio_queue_put_nowait(&it->ended, &none);
    m->stop_timer(m);
    return 0;
}
AIO_FN aio_result aio__completed_scope_exit(aio_scope *s, aio_task *t, aio_result r)
{
    (void)t;
    aio_completed_close(AIO__CONTAINER(s, aio_completed, scope));
    return r;
}
static const aio_scope_class aio__completed_scope = { "as_completed", aio__completed_scope_exit, AIO__SCOPE_OWN };
AIO_FN aio_result aio__completed_init(aio_completed *it, struct aio__futures f, size_t n, int64_t ns)
{
    aio_task *t = aio_current_task();
    if (!t || it->many) return -EINVAL;
    aio_loop *l = AIO__LOOP_OF(t->waiter.future.loop);
    aio_awaitable a = aio__wait(f, n, AIO_ALL_COMPLETED);
    aio_result kept = t->waiter.future.result, r = 0;
    uint32_t c = aio__class_of(n * sizeof(int32_t) + sizeof(aio_handle));
    aio_handle *h = (aio_handle *)aio__alloc(&l->executor, c, n * sizeof(int32_t) + sizeof *h);
    if (!h) return -ENOMEM;
    a.u.p[2] = it;
    aio_queue_init(&it->ended, h + 1, sizeof(int32_t), n ? (uint32_t)n : 1, 0, 0, 0);
    it->owner = t;
    it->many = aio__many_new(&t->waiter, &a, true, aio__completed_ended);
    if (!it->many) r = t->waiter.future.result;
    t->waiter.future.result = kept;
    if (r >= 0 && ns != AIO_FOREVER) r = aio_call_later(l, h, ns, aio__completed_expired, it->many);
    if (r < 0) {
        if (it->many) aio__many_free(&l->executor, it->many);
        it->many = 0;
        aio__free(&l->executor, h, c);
        return r;
    }
    it->block_class = c;
    it->many->timer = h;
    if (ns != AIO_FOREVER) it->many->stop_timer = aio__completed_stop_timer;
    it->left = it->many->pending;
    aio_scope_enter(&it->scope, t, &aio__completed_scope);
    return 0;
}
AIO_FN void aio_completed_close(aio_completed *it)
{
    if (!it->many) return;
    aio_executor *x = it->owner->waiter.future.loop;
    struct aio__many *m = it->many;
    if (m->stop_timer) m->stop_timer(m);
    aio__free(x, m->timer, it->block_class);
    aio__many_free(x, m);
    aio_scope_leave(&it->scope, it->owner);
    it->many = 0;
}
struct aio__completed_next { aio_frame aio; aio_completed *it; int32_t index; };
aio_async(aio__completed_next) {
    if (!self->it->many || !self->it->left) return -ENODATA;
    self->it->left--;
    aio_try(aio_queue_get(&self->it->ended, &self->index));
    return self->index < 0 ? -ETIMEDOUT : self->index;
} aio_end
AIO_FN bool aio__completed_start(aio_waiter *w, const aio_awaitable *a)
{
    if (aio__needs_task(w)) return true;
    struct aio__completed_next *f = (struct aio__completed_next *)aio__call_block(
        AIO__TASK_OF(w), &AIO__CO(aio__completed_next), sizeof *f);
    if (f) f->it = (aio_completed *)a->u.p[0];
    aio_awaitable call = aio__call_new(&AIO__CO(aio__completed_next), f);
    return aio__call_new_start(w, &call);
}
static const aio_await_class aio__completed_await = { aio__completed_start, "as_completed", AIO__AWAIT_TASK_ONLY };
AIO_FN AIO_NODISCARD aio_awaitable aio_completed_next(aio_completed *it)
{
    return aio__sync_await(&aio__completed_await, it);
}

// --- waiting without a backend: time and other threads only
AIO_COLD void aio__plain_wait(aio_loop *l, int64_t timeout_ns)
{
    struct pollfd p = { l->inbox->wake_fd, POLLIN, 0 };
    struct timespec ts = { (time_t)(timeout_ns / AIO_SECOND), (long)(timeout_ns % AIO_SECOND) };
    if (ppoll(&p, 1, timeout_ns == AIO_FOREVER ? 0 : &ts, 0) > 0) {
        uint64_t count;
        while (read(p.fd, &count, sizeof count) < 0 && errno == EINTR) {}
    }
}

// --- turns
// True if nobody could ever make this loop go on: nothing in flight, no thread that could call in.
AIO_FN bool aio__deadlocked(const aio_loop *l)
{
    return !l->in_flight && (l->is_virtual || AIO__SINGLE_THREADED);
}
AIO_COLD aio_result aio__deadlock(aio_loop *l)
{
    aio__loop_say(l, "deadlock: every task waits for something that cannot come", -EDEADLK);
    return -EDEADLK;
}
// How long a turn may wait: 0, nanoseconds, AIO_FOREVER; or -EDEADLK. Moves the virtual clock (J-1, J-4).
AIO_FN int64_t aio__patience(aio_loop *l)
{
    if (l->executor.head != l->executor.tail || l->stopping || aio__inbox_full(l)) return 0;
    if (!l->timer_count) return aio__deadlocked(l) ? -EDEADLK : AIO_FOREVER;
    int64_t when = l->timers[0].when;
    if (!l->is_virtual) {
        int64_t now = aio__clock();
        return when > now ? when - now : 0;
    }
    if (l->in_flight) return AIO_FOREVER;       // J-6: time stands still while the world owes an answer
    if (l->now < when) l->now = when;
    return 0;
}
AIO_FN void aio__loop_wait(aio_loop *l, int64_t timeout_ns)
{
    if (timeout_ns && !aio__about_to_sleep(l)) timeout_ns = 0;
#ifdef AIO__BACKEND_WAIT            // this file's own backend, by name
    if (AIO__LIKELY(l->backend && l->backend->wait == AIO__BACKEND_WAIT)) AIO__BACKEND_WAIT(l, timeout_ns);
    else
#endif
    if (l->backend) l->backend->wait(l, timeout_ns);
    else if (timeout_ns) aio__plain_wait(l, timeout_ns);
    if (timeout_ns) aio__woke_up(l);
}
// One turn (L-1): wait or poll, queue what is due, run exactly what is ready then.
AIO_FN aio_result aio__loop_turn(aio_loop *l)
{
    int64_t patience = aio__patience(l);
    if (AIO__UNLIKELY(patience < 0)) return aio__deadlock(l);
    if (l->backend || patience) aio__loop_wait(l, patience);
    bool full = AIO__UNLIKELY(aio__inbox_full(l));
    if (full) aio__inbox_drain(l, false);
    if (l->timer_count) aio__timers_due(l, aio_loop_time(l));
    if (full && aio__inbox_full(l) && l->executor.head == l->executor.tail) aio__inbox_drain(l, true);
    aio_executor_turn(&l->executor);
    return AIO__UNLIKELY(l->forked) ? -EPERM : 0;
}

// --- fork: the child inherits memory that it must not touch
#ifdef __cplusplus
extern "C" {
#endif
struct aio__loops { pthread_mutex_t lock; aio_loop *first; bool watched; };
__attribute__((weak, visibility("hidden"))) struct aio__loops aio__loops =
    { PTHREAD_MUTEX_INITIALIZER, 0, false };
#ifdef __cplusplus
}
#endif
AIO_FN void aio__before_fork(void) { pthread_mutex_lock(&aio__loops.lock); }
AIO_FN void aio__in_parent(void) { pthread_mutex_unlock(&aio__loops.lock); }
AIO_FN void aio__in_forked_child(void)
{
    for (aio_loop *l = aio__loops.first; l; l = l->next) {
        l->forked = true;
        l->executor.refusal = -EPERM;
        l->executor.limit = 0;
        l->executor.head = l->executor.tail;        // the rest of the turn is the parent's
        if (l->backend && l->backend->forked) l->backend->forked(l);
    }
    aio__loops.first = 0;
    pthread_mutex_unlock(&aio__loops.lock);
}
AIO_FN void aio__loop_link(aio_loop *l)
{
    pthread_mutex_lock(&aio__loops.lock);
    if (!aio__loops.watched) pthread_atfork(aio__before_fork, aio__in_parent, aio__in_forked_child);
    aio__loops.watched = true;
    l->next = aio__loops.first;
    if (l->next) l->next->prev = l;
    aio__loops.first = l;
    pthread_mutex_unlock(&aio__loops.lock);
}
AIO_FN void aio__loop_unlink(aio_loop *l)
{
    pthread_mutex_lock(&aio__loops.lock);
    if (l->next) l->next->prev = l->prev;
    if (l->prev) l->prev->next = l->next;
    else aio__loops.first = l->next;
    pthread_mutex_unlock(&aio__loops.lock);
}

// --- life of a loop
AIO_FN void *aio__default_allocate(void *context, size_t size)
{
    (void)context;
    return aligned_alloc(64, (size + 63) & ~(size_t)63);
}
AIO_FN void aio__default_release(void *context, void *block)
{
    (void)context;
    free(block);
}
AIO_FN aio_result aio_loop_init(aio_loop *l, const struct aio_loop_options *options)
{
    struct aio_executor_options o;
    memset((void *)l, 0, sizeof *l);
    pthread_mutex_init(&l->mailbox.lock, 0);
    l->mailbox.closed = true;
    l->pid = getpid();
    if (options) l->options = *options;
    if (!l->options.shutdown_ns) l->options.shutdown_ns = 5 * AIO_SECOND;
    if (!l->options.allocator.allocate) {
        l->options.allocator.allocate = aio__default_allocate;
        l->options.allocator.release = aio__default_release;
    }
    o.allocator = l->options.allocator;
    o.panic = aio__loop_panic;
    o.report = aio__loop_report;
    l->is_virtual = l->options.clock == AIO_CLOCK_VIRTUAL;
    aio_result r = aio_executor_init(&l->executor, &o);
    if (r >= 0) r = aio__inbox_open(l);
    if (r < 0) {
        aio_executor_close(&l->executor);
        l->executor.refusal = r;
        l->closed = true;
        return r;
    }
    aio__loop_link(l);
    return 0;
}
AIO_FN bool aio_loop_is_running(const aio_loop *l) { return l->runs != 0; }
AIO_FN bool aio_loop_is_closed(const aio_loop *l) { return l->closed; }
AIO_FN void aio_loop_stop(aio_loop *l) { l->stopping = true; }
AIO_FN aio_loop *aio_running_loop(void)
{
    aio_executor *x = aio__running();
    return x && x->refusal != -EPERM ? AIO__LOOP_OF(x) : 0;     // L-13
}
AIO_FN uint64_t aio_loop_turn(const aio_loop *l) { return l->executor.turns; }
// May this thread run (or close) the loop? The first to do so owns it.
AIO_FN aio_result aio__loop_own(aio_loop *l)
{
    if (l->closed) return -EBADFD;
    if (!l->owned) {
        l->owned = true;
        l->owner = pthread_self();
    }
    return pthread_equal(l->owner, pthread_self()) && l->pid == getpid() ? 0 : -EPERM;
}
AIO_FN aio_result aio_loop_close(aio_loop *l)
{
    if (l->runs) return -EBUSY;             // L-12
    if (l->closed) return 0;
    aio_result r = aio__loop_own(l);
    if (r < 0) return r;
    l->executor.refusal = -EBADFD;
    l->executor.limit = 0;
    aio__loop_unlink(l);
    if (l->backend) l->backend->drain(l);
    aio__inbox_close(l);
    const aio_backend *backend = l->backend;
    aio__executor_drop(&l->executor);
    if (backend) backend->close(l);
    aio_executor_close(&l->executor);
    l->timers = 0;
    l->timer_count = l->timer_capacity = 0;
    l->closed = true;
    return 0;
}

// --- runs
// Checked before anything is set up (L-11).
AIO_FN aio_result aio__run_allowed(aio_loop *l)
{
    aio_result r = aio__loop_own(l);
    if (r < 0) {
        aio__loop_say(l, r == -EBADFD ? "run refused: the loop is closed"
                                      : "run refused: another thread or process owns this loop", r);
        return r;
    }
    aio_executor *running = aio__running();
    if (!running || running->refusal == -EPERM || (running == &l->executor && l->options.allow_nested)) return 0;
    aio__loop_say(l, running == &l->executor
        ? "run refused: this loop is running; await instead, or set .allow_nested"
        : "run refused: another loop runs in this thread; await instead, or use a thread", -EBUSY);
    return -EBUSY;
}
// Watches what a run waits for, as a done-callback would. It is in the run's C stack frame, and taken
// back on every way out (L-8).
enum aio__until_state { AIO__UNTIL_LISTED, AIO__UNTIL_QUEUED, AIO__UNTIL_OVER };
struct aio__until {
    aio_node node;
    enum aio__until_state state;
    uint32_t at;                    // queued: its place in the ready ring
    aio_result result;
};
AIO_FN aio_result aio__run_turns(aio_loop *l, const struct aio__until *until)
{
    aio_result r;
    aio_executor *outer = aio__running_executor;
    aio__running_executor = &l->executor;
    l->runs++;
    do r = aio__loop_turn(l);
    while (r >= 0 && !l->stopping && !(until && until->state == AIO__UNTIL_OVER));
    l->runs--;
    l->stopping = false;
    aio__running_executor = outer;
    return r;
}
AIO_FN aio_result aio_loop_run_forever(aio_loop *l)
{
    aio_result r = aio__run_allowed(l);
    return r < 0 ? r : aio__run_turns(l, 0);
}
AIO_FN void aio__until_notify(aio_node *n, aio_future *f)
{
    struct aio__until *u = (struct aio__until *)(void *)n;
    aio__saw(f);
    u->result = f->result;
    u->state = AIO__UNTIL_QUEUED;
    u->at = aio__push(f->loop, (uintptr_t)n | AIO__RUN_NODE);
}
AIO_FN void aio__until_run(aio_node *n) { ((struct aio__until *)(void *)n)->state = AIO__UNTIL_OVER; }
static const aio_wait_class aio__until_class =
    { "run", AIO__WAIT_OWN, 0, 0, aio__until_notify, aio__until_run, 0, 0 };
AIO_FN aio_result aio__run_until_future(aio_loop *l, aio_future *f)
{
    if (f->flags & AIO__REFUSED) return f->result;
    aio_result r = aio__run_allowed(l);
    if (r < 0) return r;
    if (!aio__future_bind(f, &l->executor)) return -EXDEV;
    struct aio__until u;
    if ((r = aio__reserve(&l->executor)) < 0) return r;
    u.node.cls = &aio__until_class;
    u.state = AIO__UNTIL_LISTED;
    if (f->flags & AIO__DONE) aio__until_notify(&u.node, f);
    else aio__list_add(f, &u.node);
    r = aio__run_turns(l, &u);
    if (u.state == AIO__UNTIL_LISTED) {
        aio__list_remove(&u.node);
        aio__unreserve(&l->executor);
        return r < 0 ? r : -EINPROGRESS;                                // L-9
    }
    if (u.state == AIO__UNTIL_QUEUED) aio__unqueue(&l->executor, u.at);
    return r == -EPERM ? r : u.result;
}
AIO_FN aio_result aio__run_until_task(aio_loop *l, aio_task *t) { return aio__run_until_future(l, &t->waiter.future); }
#ifdef __cplusplus
AIO_FN aio_result aio_loop_run_until_complete(aio_loop *l, aio_task *t) { return aio__run_until_task(l, t); }
AIO_FN aio_result aio_loop_run_until_complete(aio_loop *l, aio_future *f) { return aio__run_until_future(l, f); }
#endif

// --- aio_run
AIO_FN aio_result aio__run_begin(struct aio__run *run, const struct aio_loop_options *options)
{
    struct sigaction pipe_action;
    if (!sigaction(SIGPIPE, 0, &pipe_action) && pipe_action.sa_handler == SIG_DFL) signal(SIGPIPE, SIG_IGN);
    aio_result r = aio_loop_init(&run->loop, options);
    if (r >= 0 && (r = aio__run_allowed(&run->loop)) < 0) aio_loop_close(&run->loop);
    if (r < 0) run->loop.executor.refusal = r;
    return r;
}
AIO_FN int aio__nothing(void *arg) { (void)arg; return 0; }
// Tells which tasks have not ended although they were cancelled, and where they took the cancel.
AIO_COLD void aio__tell_stubborn(aio_loop *l, uint32_t last_id)
{
    for (aio_task *t = l->executor.first; t && t->id <= last_id; t = t->next) {
        uint32_t count;
        const aio_site *site = aio_task_swallowed(t, &count);
        aio__report(&l->executor, "task was cancelled and does not end; it was cancelled last", 0,
                    &t->waiter.future, site ? site : t->leaf->site);
    }
}
// Cancels all that lives and gives it time to clean up; again for what it spawned meanwhile, and for
// what does not end (RN-3, RN-4).
AIO_FN void aio__shutdown(aio_loop *l)
{
    aio_executor *x = &l->executor;
    aio_result r = 0;
    while (x->first && r >= 0 && !l->forked) {
        aio_handle limit;
        uint32_t last_id = x->last->id;
        for (aio_task *t = x->first; t; t = t->next) aio_task_cancel(t);
        int64_t end = aio__deadline(l, l->options.shutdown_ns);
        // The virtual clock gets there without a timer, and then tells a deadlock at once.
        if (l->is_virtual || aio_call_at(l, &limit, end, aio__nothing, 0) < 0) limit.loop = 0;
        while (r >= 0 && x->first && x->first->id <= last_id && aio_loop_time(l) < end) {
            l->stopping = false;
            r = aio__loop_turn(l);
        }
        aio_handle_cancel(&limit);
        if (r >= 0 && x->first && x->first->id <= last_id) aio__tell_stubborn(l, last_id);
    }
}
AIO_FN aio_result aio__run_end(struct aio__run *run, aio_result begun, aio_task *t)
{
    aio_loop *l = &run->loop;
    if (begun < 0) return begun;
    aio_result r = aio__run_until_task(l, t);
    aio_detach(t);
    aio_executor *outer = aio__running_executor;
    aio__running_executor = &l->executor;
    l->runs++;
    aio__shutdown(l);
    l->runs--;
    aio__running_executor = outer;
    if (!l->forked) aio_loop_close(l);
    return r;
}
#ifdef AIO_STRICT
AIO_FN aio_result aio__run_from(const struct aio_loop_options *options, const aio_coroutine *co,
                                aio_frame *arguments)
{
    struct aio__run run;
    aio_result begun = aio__run_begin(&run, options);
    aio_executor *x = &run.loop.executor;
    return aio__run_end(&run, begun, aio__task_begin_from(aio__task_new(x, co, co->size), co, arguments));
}
#endif
#endif
