// aio_loop.h - an event loop with time for aio.h: turns, timers, sleep, callbacks, a virtual clock.
// SPDX-License-Identifier: MIT
//
// The loop runs coroutines in turns, as asyncio's does. It needs POSIX and knows nothing of
// io_uring; aio_io_uring.h plugs into it. Its clock can be simulated: then time jumps when all wait
// for it.
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
//                aio_runner_init aio_runner_run aio_runner_loop aio_runner_close
//   loop         aio_loop_init aio_loop_run_until_complete aio_loop_run_forever aio_loop_stop
//                aio_loop_is_running aio_loop_is_closed aio_loop_close aio_running_loop
//   time         AIO_USEC AIO_MSEC AIO_SECOND AIO_FOREVER aio_loop_time aio_sleep aio_sleep_until
//                aio_ticker
//   limits       aio_timeout_enter aio_timeout_enter_at aio_timeout_reschedule aio_timeout_expired
//                aio_timeout_exit aio_wait_for aio_wait_timeout
//                aio_completed_init aio_completed_next aio_completed_close
//   simulation   aio_sim_advance aio_sim_run_until_idle aio_sim_set_autojump aio_loop_hash
//   callbacks    aio_call_soon aio_call_later aio_call_at aio_call_soon_threadsafe
//                aio_handle_cancel
//   threads      aio_thread_enter aio_thread_leave
//                aio_to_thread aio_to_thread_owned aio_spawn_threadsafe aio_thread_future_wait
//                aio_thread_future_cancel aio_thread_future_done aio_thread_future_result
//                aio_thread_future_release
//   cores        aio_run_threads aio_run_threads_with aio_thread_index aio_thread_count
//                aio_thread_loop aio_loop_post aio_loop_receive
//   signals      aio_signal_wait aio_signal_hold aio_signal_release
//   looking in   aio_loop_turn aio_loop_dump aio_loop_tree aio_task_dump aio_strerror
//   backend      aio_backend (for headers like aio_io_uring.h)
//
// RULES
//   Time     int64 nanoseconds. Durations are relative; <= 0 means now. Deadlines are loop time.
//   Errors   Negative errno, as everywhere. What no caller can see goes to `on_error`.
//   Threads  A loop belongs to the thread that first runs it; only *_threadsafe and aio_thread_*
//            calls, and aio_loop_post, may come from another one. In a forked child every call
//            gives -EPERM.
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
#include <limits.h>     // INT_MIN
#include <pthread.h>    // the inbox's lock, the owner
#include <sched.h>      // sched_yield
#include <signal.h>     // SIGPIPE, SIGINT, aio_signal_wait
#include <stdarg.h>
#include <stdio.h>      // dumps
#include <stdlib.h>     // the default allocator
#include <string.h>
#include <time.h>       // clock_gettime
#include <unistd.h>
#ifdef __linux__
#  include <sys/eventfd.h>
#  include <sys/syscall.h>     // gettid
#endif
#ifdef __has_include
#  if __has_include(<sys/single_threaded.h>)
#    include <sys/single_threaded.h>
#    define AIO__SINGLE_THREADED __libc_single_threaded
#  endif
#endif
#ifdef __has_include
#  if __has_include(<execinfo.h>)
#    include <execinfo.h>      // names of functions
#    define AIO__HAS_EXECINFO
#  endif
#endif
#ifndef AIO__SINGLE_THREADED
#  define AIO__SINGLE_THREADED 0
#endif
#if !defined CLOCK_MONOTONIC || !defined SIG_BLOCK || (defined __GLIBC__ && !defined __USE_XOPEN2K8)
#  error "aio_loop.h: POSIX is hidden. Include it first, or use -D_GNU_SOURCE or -std=gnu11."
#elif defined __GLIBC__ && !defined __USE_GNU   // another header came first, without _GNU_SOURCE
extern int ppoll(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
extern const char *strerrorname_np(int);
extern char *secure_getenv(const char *);
#elif defined __linux__ && !defined __GLIBC__
extern char *secure_getenv(const char *);
#endif
#ifdef __linux__        // a program with more rights than its caller takes no advice from him
#  define AIO__ENV(name) secure_getenv(name)
#else
#  define AIO__ENV(name) getenv(name)
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

// One step or callback, for those who watch.
struct aio_step {
    uint64_t turn;
    int64_t time;                   // of the virtual clock
    const aio_task *task;           // null: a callback
    const aio_site *site;           // where the task goes on
};

// Zero is the default of every field.
struct aio_loop_options {
    enum aio_clock clock;
    bool allow_nested;              // a run inside a run of the same loop is not refused
    // aio_run names tasks that take longer to end, and refuses (-EBADFD) what they go on spawning
    // then: 5 s.
    int64_t shutdown_ns;
    // What went wrong and no caller can see; null: a line on standard error.
    void (*on_error)(aio_loop *loop, const struct aio_report *report, void *context);
    void *context;
    struct aio_allocator allocator; // default: aligned_alloc and free
    unsigned threads;               // most threads for aio_to_thread: processors + 4, at most 32
    uint32_t mailbox;               // most messages (aio_loop_post) that wait: 1024
    // Gets what nobody received when the loop closes: to release what it stands for. Or null.
    void (*drop_message)(aio_loop *loop, uint64_t message, void *context);
    // For simulations. A seed shuffles the ready tasks of each turn, and timers of one moment;
    // AIO_SEED in the environment does too.
    uint64_t seed;
    uint64_t turns_max;             // at one moment of the virtual clock: more gives -ELOOP
    int64_t end_ns;                 // of the virtual clock: beyond it a run gives -ETIMEDOUT
    bool flow_in_flight;            // the virtual clock moves while it waits for the real world
    int64_t real_wait_ns;           // such a wait that takes longer, really: -ETIMEDOUT
    int64_t step_ns;                // the virtual clock moves so much at each step and callback
    void (*on_step)(aio_loop *loop, const struct aio_step *step, void *context);
    // For debugging. AIO_DEBUG=1 in the environment does the same.
    bool debug;
    int64_t slow_step_ns;           // a step that takes longer is reported; 100 ms if debug
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
    uint32_t base;          // cancels asked of the task before it was opened
    uint32_t state;
} aio_timeout;

// An iteration over futures in the order in which they end. All zero: not open.
typedef struct aio_completed {
    aio_scope scope;
    struct aio__many *many;     // null: closed
    uint32_t left;              // items not yet asked for
    struct aio__items *items;
} aio_completed;

// Signals that are held for a frame. All zero: not open.
enum { AIO__SIGNALS = 65 };     // numbers 1 … 64
typedef struct aio_signals {
    aio_scope scope;
    aio_task *task;             // who opened it; null: not open
    struct aio_signals *next, *prev;
    uint64_t mask;
    uint8_t came[AIO__SIGNALS]; // how often, while this task did not wait; 255: or more
    bool told;                  // private: of the one that is being delivered
} aio_signals;

// A task on a loop of another thread, seen from outside. Reference-counted; outlives the loop.
typedef struct aio_thread_future aio_thread_future;

// Ticks of a clock, an iterator. All zero: not begun.
typedef struct aio_ticks {
    aio_frame aio;
    aio_result value;           // aio_gen_value: how many since the last; late ones come together
    aio_scope scope;
    aio_waiter *waiter;         // private: in an aio_next
    int64_t period, due;
    bool over;
} aio_ticks;

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

// What other threads may touch, for as long as the loop's storage lives: its lock is never
// destroyed.
struct aio__inbox {
    pthread_mutex_t lock;
    aio_handle *first, *last;       // under the lock
    bool closed;                    // under the lock
    uint32_t guests;                // threads that were announced: written under the lock, atomic
    int full;                       // atomic: there is something in it
    int sleeping;                   // atomic: the owner waits, or is about to
    int writers;                    // atomic: threads that write to it
    int wake_fd, wake_write_fd;
    uint64_t *letters;              // messages, a ring; null before the first. Under the lock
    uint32_t letter_count;          // written under the lock, atomic
    uint32_t letter_head, letter_room;
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
    struct aio__pool *pool;         // threads for jobs, once there was one
    struct aio__lane *lane;         // threads for jobs that nobody can wait for
    struct aio__signal_post *signals;   // where signals arrive, once somebody waited for one
    aio_thread_future *thread_futures;
    aio_node *receivers;            // who waits for a message
    uint32_t letters_seen;          // messages that may be received without waiting
    uint32_t index;                 // of its thread
    struct aio__threads *siblings;  // null: alone
    aio_task *main;                 // what SIGINT cancels
    uint64_t seed, first_seed, timer_seed, hash, instant_turns;
    int64_t instant, step_began, slow_step_ns;
    int64_t real_waited;            // by the virtual clock, since something happened
    const aio_site *step_site;
    const char *step_what;          // of a callback: its class, and its function
    void *step_fn;
    const char *step_stack;         // where the C stack of steps begins; debug mode
    const aio_site *stack_told[8];  // what was told of it already
    uint32_t stack_tells;
    void (*check_entries)(aio_loop *l);     // the backend's: what a step has prepared
    bool interrupted, debug, limited;
    bool is_virtual, stopping, closing, closed, forked, owned;
    bool no_jump;                   // the virtual clock is moved from outside
    bool abandoned;                 // the kernel may still write to its memory, for ever
    uint32_t runs;                  // depth of runs
    pthread_t owner;
    pid_t pid;
    struct aio_loop_options options;
};

// Several runs on one loop.
typedef struct aio_runner { aio_loop loop; } aio_runner;

// ---------------------------------------------------------------------------------------- >>api

// --- run

// aio_run(name, .argument = value, …)
// Makes a loop, runs coroutine `name` to its end, cancels what it left running and waits for that,
// closes the loop. Ignores SIGPIPE if that is at its default.
// Result: the coroutine's; -EBUSY: a loop runs in this thread; -ENOMEM, -EMFILE: no loop;
// -EDEADLK: all wait for something that cannot come (who for what is told).
#define aio_run(...) aio_run_with(((const struct aio_loop_options *)0), __VA_ARGS__)

// aio_run_with(&options, name, …): the same, with struct aio_loop_options.
#define aio_run_with(options, ...) AIO__RUN(__COUNTER__, options, __VA_ARGS__, )

// Prepares a runner. Result: as aio_run's for the loop.
AIO_FN aio_result aio_runner_init(aio_runner *runner, const struct aio_loop_options *options);
// aio_runner_run(&runner, name, …): runs a coroutine to its end on the runner's loop; SIGINT
// cancels it: the result is then -EINTR, and a second SIGINT ends the process.
#define aio_runner_run(runner, ...) AIO__RUNNER_RUN(__COUNTER__, runner, __VA_ARGS__, )
AIO_FN aio_loop *aio_runner_loop(aio_runner *runner);
// Cancels what is left, waits for it, closes the loop. Twice is harmless. Result: 0; -EBUSY: a loop
// runs in this thread; -EPERM in another thread.
AIO_FN aio_result aio_runner_close(aio_runner *runner);

// --- loop

// Prepares a loop. options may be null. Result: 0, -ENOMEM, -EMFILE.
// Lifetime: the loop must not move until it is closed.
AIO_FN aio_result aio_loop_init(aio_loop *loop, const struct aio_loop_options *options);

// Runs until a task (or a future) has ended. The handle stays the caller's.
// Result: the task's; -EINPROGRESS: stopped before; -EDEADLK: it can never end; -EBUSY: a loop runs
// in this thread (a nested run: await instead, or allow_nested); -EPERM: another thread owns the
// loop, or this is a forked child; -EBADFD: closed.
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

// Ends a loop: operations are ended and their results disposed of; drop hooks run, newest task
// first; no body is resumed; all memory goes back, so every handle is void. Twice is harmless.
// Result: 0; -EBUSY while it runs, or closes already; -EPERM in another thread.
AIO_FN aio_result aio_loop_close(aio_loop *loop);

// The loop that runs in this thread, or null. A forked child runs none.
AIO_FN aio_loop *aio_running_loop(void);

// --- time

// The loop's clock in nanoseconds, read freshly (24 ns). Virtual: starts at 0.
AIO_FN int64_t aio_loop_time(const aio_loop *loop);

// Awaitable: sleeps for a duration; <= 0: one turn; AIO_FOREVER: until cancelled. Never wakes
// early.
// Result: 0; -ECANCELED; -ENOMEM when the table of timers cannot grow.
// Cost: one entry of 16 bytes in the heap; no system call.
AIO_INLINE AIO_NODISCARD aio_awaitable aio_sleep(int64_t ns);
// Awaitable: the same, until a moment of the loop's clock.
AIO_INLINE AIO_NODISCARD aio_awaitable aio_sleep_until(int64_t when);

// Begins to tick every ns, from now; on the loop's clock, without drift. aio_next waits for the
// next tick and gives 1; aio_gen_value says how many have come since the last one. aio_gen_close,
// or the frame's return, ends it. A cancelled aio_next loses no tick.
// Result: 0; -EINVAL: no task runs, or ns <= 0; -EBUSY: it ticks.
// Cost: a timer while somebody waits; otherwise nothing.
AIO_FN aio_result aio_ticker(aio_ticks *it, int64_t ns);

// --- limits

// Opens a scope in the running frame: after ns (or at a moment of the loop's clock) the task is
// cancelled, and the exit makes of that cancel -ETIMEDOUT. <= 0: at the next await that waits;
// AIO_FOREVER: no limit. May be opened again after its exit. Result: 0; -EINVAL: it is open, or no
// task runs; -ENOMEM.
AIO_FN aio_result aio_timeout_enter(aio_timeout *t, int64_t ns);
AIO_FN aio_result aio_timeout_enter_at(aio_timeout *t, int64_t when);
// Another moment of the loop's clock. Result: 0; -EINVAL: not open, or expired; -ENOMEM.
AIO_FN aio_result aio_timeout_reschedule(aio_timeout *t, int64_t when);
AIO_FN bool aio_timeout_expired(const aio_timeout *t);
// r = aio_timeout_exit(&self->t, r); r in: how the body ended; out: -ETIMEDOUT if the scope's own
// cancel (and no other) ended it, else r. A frame that returns over an open scope exits it with its
// result.
AIO_FN aio_result aio_timeout_exit(aio_timeout *t, aio_result r);

// Awaitable: any other awaitable, with a limit. When it is over, what is awaited is cancelled and
// waited for; if it still gives a value, that is the result. Result: -ETIMEDOUT, else that of what
// is awaited. <= 0: what has not begun does not begin; a future, a task, a gather or a shield that
// is done gives its result, else it is cancelled and waited for. A limit inside a limit is one of
// its own. Takes a block of the loop's (-ENOMEM).
AIO_FN AIO_NODISCARD aio_awaitable aio_wait_for(int64_t ns, aio_awaitable a);

// Awaitable: aio_wait with a limit, which is no error: fewer have ended then.
#define aio_wait_timeout(futures, n, mode, ns) aio__wait_timeout(AIO__FUTURES(futures), n, mode, ns)

// Iterates over n futures in the order in which they end, within ns in all. Result: 0, -ENOMEM,
// -EINVAL.
#define aio_completed_init(it, futures, n, ns) aio__completed_init(it, AIO__FUTURES(futures), n, ns)
// Awaitable: the next one. Result: its index; -ETIMEDOUT for each one left when the time is over;
// -ENODATA: no more.
AIO_FN AIO_NODISCARD aio_awaitable aio_completed_next(aio_completed *it);
// Stops iterating; cancels nothing. The frame's return does it too.
AIO_FN void aio_completed_close(aio_completed *it);

// --- simulated time, for those who drive it from outside a run (a test)

// Runs what is ready, then timer by timer up to now + ns, and leaves the clock there. Result: 0;
// -EINVAL: the clock is not virtual; errors of a run.
AIO_FN aio_result aio_sim_advance(aio_loop *loop, int64_t ns);
// Runs until nothing is ready at this moment. Result: as above.
AIO_FN aio_result aio_sim_run_until_idle(aio_loop *loop);
// Off: time does not jump by itself; a run that has nothing else to do ends with -EAGAIN.
AIO_FN void aio_sim_set_autojump(aio_loop *loop, bool on);

// --- callbacks

// Calls fn(arg) in the next turn, after what is ready already. A negative return goes to on_error.
// Lifetime: `handle` until it has run or was cancelled. Result: 0, -ENOMEM, -EBADFD, -EPERM.
AIO_FN aio_result aio_call_soon(aio_loop *loop, aio_handle *handle, int (*fn)(void *), void *arg);
// The same after a duration, or at a moment of the loop's clock. In the past: in the next turn, but
// in its place among the timers. AIO_FOREVER: never.
AIO_FN aio_result aio_call_later(aio_loop *loop, aio_handle *handle, int64_t ns, int (*fn)(void *),
                                 void *arg);
AIO_FN aio_result aio_call_at(aio_loop *loop, aio_handle *handle, int64_t when, int (*fn)(void *),
                              void *arg);

// The same from any thread: the loop wakes up for it. In the thread that runs the loop: in order
// with aio_call_soon. Result: 0; -EBADFD: the loop is closed.
AIO_FN aio_result aio_call_soon_threadsafe(aio_loop *loop, aio_handle *handle, int (*fn)(void *),
                                           void *arg);

// Forgets a callback. Harmless when it has run, runs now, or was cancelled. Owner thread.
AIO_FN void aio_handle_cancel(aio_handle *handle);

// --- threads

// Any thread. Announces a thread that may call into the loop: until it has left, its calls are
// waited for. Nothing is a deadlock then, and the virtual clock stands still. Without this a loop
// with the virtual clock knows only of its own jobs. Counted: best called before the thread is
// made. Result: 0; -EBADFD: the loop is closed; -EINVAL: left more often than entered; -EPERM:
// forked.
AIO_FN aio_result aio_thread_enter(aio_loop *loop);
AIO_FN aio_result aio_thread_leave(aio_loop *loop);

// Awaitable: runs fn(arg) on a thread of the loop's pool. fn returns int or aio_result: the result.
// A job that has not started is dropped by a cancel; one that runs is waited for, and its result
// stands.
// Errors: -ENOMEM, -EAGAIN (no thread). Lifetime: arg until the await ends.
#define aio_to_thread(fn, arg) AIO__TO_THREAD(fn, arg, 0)
// The same, but the job owns arg: a cancel returns at once, free_arg(arg) is called on the loop
// when the job has ended (or was dropped).
#define aio_to_thread_owned(fn, arg, free_arg) AIO__TO_THREAD(fn, arg, free_arg)

// aio_spawn_threadsafe(loop, name, .argument = value, …): from any thread. Result: a handle, never
// null, to be released. What cannot be spawned has ended with -ENOMEM, -EBADFD, -EPERM.
#define aio_spawn_threadsafe(loop, ...) AIO__SPAWN_THREADSAFE(__COUNTER__, loop, __VA_ARGS__, )
// Any thread but the loop's (-EDEADLK there). Waits at most ns; AIO_FOREVER: without limit. Result:
// the task's; -ETIMEDOUT; -EBADFD: the loop was closed first. A value that no wait and no _result
// took goes to the coroutine's drop hook, on the loop, after the release (or when the loop closes).
AIO_FN aio_result aio_thread_future_wait(aio_thread_future *f, int64_t ns);
// Any thread. Asks the task to end; false: it has ended.
AIO_FN bool aio_thread_future_cancel(aio_thread_future *f);
AIO_FN bool aio_thread_future_done(aio_thread_future *f);
AIO_FN aio_result aio_thread_future_result(aio_thread_future *f);   // -EINPROGRESS: not yet
AIO_FN void aio_thread_future_release(aio_thread_future *f);

// --- one loop per core

// aio_run_threads(n, name, .argument = value, …)
// n threads, each with a loop of its own on which its own copy of coroutine `name` runs, as with
// aio_run; n = 0: one per processor that this process may use. The calling thread waits. When one
// gives an error the others are cancelled and waited for; SIGINT cancels all.
// The copies share what the arguments point to. Values go to the drop hook, on their loops.
// Result: 0; the first error in order of time; -EINTR; -EBUSY: a loop runs in this thread; -ENOMEM,
// -EMFILE, -EAGAIN: no loops or threads.
#define aio_run_threads(n, ...) \
    aio_run_threads_with(n, ((const struct aio_loop_options *)0), __VA_ARGS__)
// aio_run_threads_with(n, &options, name, …): the same. Hooks in the options are called in every
// thread.
#define aio_run_threads_with(n, options, ...) \
    AIO__RUN_THREADS(__COUNTER__, n, options, __VA_ARGS__, )
// In a coroutine: the number of this thread among those of aio_run_threads, from 0, and how many
// there are. Elsewhere 0, and 1.
AIO_FN uint32_t aio_thread_index(void);
AIO_FN uint32_t aio_thread_count(void);
// The loop of thread i; null: there is none. For aio_loop_post and the *_threadsafe calls only.
AIO_FN aio_loop *aio_thread_loop(uint32_t i);

// Any thread. Sends a word (a number, a descriptor, a pointer to what the other loop shall own).
// Result: 0; -EAGAIN: as many as .mailbox allows wait there already; -EBADFD: the loop is closed;
// -ENOMEM; -EPERM. Order: what one thread sends arrives in that order.
// Cost: a lock; a write to a descriptor if the loop sleeps.
AIO_FN aio_result aio_loop_post(aio_loop *loop, uint64_t message);
// Awaitable: waits for the next message to the running loop. Those who wait get one each, first
// come first served. A cancel loses none. Lifetime: *message until the await ends. Result: 0.
AIO_FN AIO_NODISCARD aio_awaitable aio_loop_receive(uint64_t *message);

// --- signals

// aio_signal_wait(SIGTERM, SIGHUP, …)   awaitable
// Waits for the next of these signals. Result: its number; -EINVAL: none is given, or one that
// cannot be caught; -ENOMEM. All who wait for it get it, on other loops too. While somebody waits
// the toolkit's handler is installed; after the last one what was there before is put back, and the
// next signal does what it did then: to miss none between two waits, hold it.
// A cancel loses none: one that came before it is the result, or what was there before gets it.
// A SIGINT that somebody waits for cancels no run. In simulated time an armed signal is outside
// work: time does not jump. Threads: a signal must not be blocked in all of them.
#define aio_signal_wait(...) aio__signal_wait(aio__signal_mask(__VA_ARGS__, INT_MIN))

// aio_signal_hold(&self->signals, SIGTERM, SIGHUP, …)
// Keeps the handlers for these installed until aio_signal_release or the frame's return. Signals
// that come while this task does not wait are given to its next waits, one each, in order of their
// numbers; at most 255 of a number. Result: 0; -EINVAL: as above, or it is open, or no task runs;
// -ENOMEM.
#define aio_signal_hold(signals, ...) \
    aio__signal_hold(signals, aio__signal_mask(__VA_ARGS__, INT_MIN))
// What came and was not waited for is forgotten. Harmless when it is not open.
AIO_FN void aio_signal_release(aio_signals *signals);

// --- looking in

// Turns so far in which a callback or a step ran.
AIO_FN uint64_t aio_loop_turn(const aio_loop *loop);

// A hash of all steps so far (turn, virtual time, task): with the virtual clock the same program
// and seed give the same one.
AIO_FN uint64_t aio_loop_hash(const aio_loop *loop);

// Prints the await tree: each task, where it stands (innermost first), what it waits for.
AIO_FN void aio_loop_dump(aio_loop *loop, FILE *out);
AIO_FN void aio_task_dump(const aio_task *task, FILE *out);
// Prints who awaits whom as trees, from the tasks that nobody awaits: below each task those that it
// awaits (aio_task_awaited_by), a line each. One that several await is followed down the first
// time. Result: 0; -EDEADLK: tasks wait for each other in a circle: then only the circles are
// printed; -ENOMEM. Cost: a block of the loop's for the time of the call.
AIO_FN aio_result aio_loop_tree(aio_loop *loop, FILE *out);

// Names a result: "ECONNREFUSED"; "OK" for values. Static text.
AIO_FN const char *aio_strerror(aio_result r);

// ----------------------------------------------------------------------------------- >>internal
#define AIO__LOOP_OF(executor) ((aio_loop *)(void *)(executor))


#ifdef AIO_STRICT
#  define AIO__RUN(n, options, name, ...) \
       aio__run_from(options, &AIO__CO(name), &AIO__INIT(name, __VA_ARGS__)->aio)
#  define AIO__RUNNER_RUN(n, runner, name, ...) \
       aio__runner_run_from(runner, &AIO__CO(name), &AIO__INIT(name, __VA_ARGS__)->aio)
#else
#  define AIO__RUN(n, options, ...) AIO__RUN_(n, options, __VA_ARGS__)
#  define AIO__RUN_(n, options, ...) __extension__({ \
       aio_runner AIO__V(run_, n); \
       aio_result AIO__V(begun_, n) = aio_runner_init(&AIO__V(run_, n), options); \
       aio__run_end(&AIO__V(run_, n), AIO__V(begun_, n), AIO__SPAWN(n, aio__task_begin, \
           &AIO__V(run_, n).loop.executor, __VA_ARGS__)); })
#  define AIO__RUNNER_RUN(n, runner, ...) AIO__RUNNER_RUN_(n, runner, __VA_ARGS__)
#  define AIO__RUNNER_RUN_(n, runner, ...) __extension__({ \
       aio_runner *AIO__V(runner_, n) = (runner); \
       aio__runner_run(AIO__V(runner_, n), AIO__SPAWN(n, aio__task_begin, \
           &AIO__V(runner_, n)->loop.executor, __VA_ARGS__)); })
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
        (l->options.on_error)(l, r, l->options.context);
        return;
    }
    aio__print_report(r);
    if (l->first_seed) fprintf(stderr, "aio: AIO_SEED=%llu\n", (unsigned long long)l->first_seed);
}
AIO_COLD void aio__loop_say(aio_loop *l, const char *message, aio_result error)
{
    aio__report(&l->executor, message, error, 0, 0);
}
AIO_FN aio_result aio__loop_tree(aio_loop *l, FILE *out, bool only_circles);
// The run ends because of this: who waits for what is told too. Returns the error.
AIO_COLD aio_result aio__loop_stuck(aio_loop *l, const char *message, aio_result error)
{
    aio__loop_say(l, message, error);
    if (l->options.on_error) return error;
    aio_loop_dump(l, stderr);
    aio__loop_tree(l, stderr, true);
    return error;
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
AIO_FN bool aio__between(const aio_frame *f)        // no frame of the user's
{
    return f->site->kind == AIO__SITE_GUARD || f->site->kind == AIO__SITE_ITERATION;
}
enum { AIO__DUMP_FRAMES = 32 };     // of one task; more are counted
// "echo#3: waits for recv fd 6"
AIO_FN void aio__task_line(const aio_task *t, FILE *out)
{
    char what[128];
    fprintf(out, "%s#%u", aio_task_name(t), (unsigned)t->id);
    if (t->waiter.future.flags & AIO__DONE) {
        fprintf(out, ": ended, %lld %s", (long long)t->waiter.future.result,
                aio_strerror(t->waiter.future.result));
        return;
    }
    bool running = t->waiter.future.loop->current == t;
    aio_describe(&t->waiter, what, sizeof what);
    fprintf(out, ": %s%s",
            running                                       ? "runs"
            : t->waiter.node.cls->kind == AIO__WAIT_READY ? ""
                                                          : "waits for ",
            running ? "" : what);
    if (t->cancelling) fprintf(out, " (cancel asked %u times)", (unsigned)t->cancelling);
}
AIO_FN void aio_task_dump(const aio_task *t, FILE *out)
{
    aio__task_line(t, out);
    fprintf(out, "\n");
    if (t->waiter.future.flags & AIO__DONE) return;
    unsigned long depth = 0;
    for (const aio_frame *f = t->leaf; f; f = f->parent, depth++) {
        if (aio__between(f) || depth >= AIO__DUMP_FRAMES) continue;
        fprintf(out, "    at ");
        aio__print_site(f->site, out);
        fprintf(out, "\n");
    }
    if (depth > AIO__DUMP_FRAMES) fprintf(out, "    and %lu more\n", depth - AIO__DUMP_FRAMES);
}
AIO_FN void aio_loop_dump(aio_loop *l, FILE *out)
{
    fprintf(out, "loop: %u tasks, %u timers, %u in flight, turn %llu\n", (unsigned)l->executor.live,
            (unsigned)l->timer_count, (unsigned)l->in_flight,
            (unsigned long long)l->executor.turns);
    for (const aio_task *t = l->executor.first; t; t = t->next) aio_task_dump(t, out);
}

// --- who awaits whom (X-6). Task i awaits edges[first[i]] … edges[first[i + 1] - 1].
enum { AIO__TREE_NEW, AIO__TREE_OPEN, AIO__TREE_SEEN };
enum { AIO__TREE_INDENT = 32 };     // levels; deeper ones say how deep
struct aio__tree {
    FILE *out;
    uint32_t n, depth, circles;
    aio_task **tasks, **by;         // in order of creation
    uint32_t *first, *edges, *path, *at;
    unsigned char *seen, *awaited;
};
// One block for all of it. False: no memory.
AIO_FN bool aio__tree_begin(struct aio__tree *w, aio_loop *l, FILE *out)
{
    size_t n = 0, edges = 0, most = 0;
    for (aio_task *t = l->executor.first; t; t = t->next, n++) {
        uint32_t k = aio_task_awaited_by(t, 0, 0);
        edges += k;
        if (k > most) most = k;
    }
    memset(w, 0, sizeof *w);
    w->out = out;
    size_t words = 3 * n + 1 + edges;
    if (words > UINT32_MAX / 16) return false;
    char *block = (char *)aio__chunk_new(&l->executor, (n + most + 1) * sizeof(aio_task *) +
                                                           words * sizeof(uint32_t) + 2 * n);
    if (!block) return false;
    w->tasks = (aio_task **)(void *)block;
    w->by = w->tasks + n;
    w->first = (uint32_t *)(void *)(w->by + most + 1);
    w->path = w->first + n + 1;
    w->at = w->path + n;
    w->edges = w->at + n;
    w->seen = (unsigned char *)(w->edges + edges);
    w->awaited = w->seen + n;
    memset(w->first, 0, words * sizeof(uint32_t) + 2 * n);
    for (aio_task *t = l->executor.first; t; t = t->next) w->tasks[w->n++] = t;
    return true;
}
// While it counts, a task's id is its place in the array: real ones may have wrapped.
AIO_FN void aio__tree_edges(struct aio__tree *w)
{
    uint32_t *ids = w->path;
    for (uint32_t i = 0; i < w->n; i++) {
        ids[i] = w->tasks[i]->id;
        w->tasks[i]->id = i;
    }
    for (uint32_t i = 0; i < w->n; i++) {
        uint32_t k = aio_task_awaited_by(w->tasks[i], w->by, UINT32_MAX);
        w->awaited[i] = k != 0;
        while (k--) w->first[w->by[k]->id + 1]++;
    }
    for (uint32_t i = 0; i < w->n; i++) w->at[i] = w->first[i + 1] += w->first[i];
    for (uint32_t i = w->n; i--;) {
        uint32_t k = aio_task_awaited_by(w->tasks[i], w->by, UINT32_MAX);
        while (k--) w->edges[--w->at[w->by[k]->id]] = i;
    }
    for (uint32_t i = 0; i < w->n; i++) w->tasks[i]->id = ids[i];
}
AIO_FN void aio__tree_line(const struct aio__tree *w, const aio_task *t, const char *more)
{
    uint32_t levels = w->depth;
    if (levels > AIO__TREE_INDENT) levels = AIO__TREE_INDENT;
    fprintf(w->out, "%*s", (int)levels * 4, "");
    if (levels < w->depth) fprintf(w->out, "(level %u) ", (unsigned)w->depth);
    aio__task_line(t, w->out);
    const aio_frame *f = t->leaf;
    while (aio__between(f) && f->parent) f = f->parent;
    fprintf(w->out, "%s, at %s:%u\n", more, f->site->body->coroutine->file,
            (unsigned)f->site->line);
}
AIO_FN void aio__tree_circle(struct aio__tree *w, uint32_t back)
{
    uint32_t from = w->depth - 1;
    while (w->path[from] != back) from--;
    w->circles++;
    fprintf(w->out, "circle: ");
    for (; from < w->depth; from++) {
        const aio_task *t = w->tasks[w->path[from]];
        fprintf(w->out, "%s#%u -> ", aio_task_name(t), (unsigned)t->id);
    }
    const aio_task *t = w->tasks[back];
    fprintf(w->out, "%s#%u\n", aio_task_name(t), (unsigned)t->id);
}
// Depth first, without recursion. With `print` a line for each, else one for each circle.
AIO_FN void aio__tree_walk(struct aio__tree *w, uint32_t i, bool print)
{
    uint32_t next = i;
    for (;;) {
        if (w->seen[next] == AIO__TREE_NEW) {
            if (print) aio__tree_line(w, w->tasks[next], "");
            w->seen[next] = AIO__TREE_OPEN;
            w->path[w->depth++] = next;
        } else if (print) {
            aio__tree_line(w, w->tasks[next], " (see above)");
        } else if (w->seen[next] == AIO__TREE_OPEN) {
            aio__tree_circle(w, next);
        }
        for (; w->depth; w->depth--) {
            i = w->path[w->depth - 1];
            if (w->at[i] < w->first[i + 1]) break;
            w->seen[i] = AIO__TREE_SEEN;
        }
        if (!w->depth) return;
        next = w->edges[w->at[i]++];
    }
}
AIO_FN aio_result aio__loop_tree(aio_loop *l, FILE *out, bool only_circles)
{
    struct aio__tree w;
    if (!aio__tree_begin(&w, l, out)) return -ENOMEM;
    aio__tree_edges(&w);
    for (uint32_t i = 0; i < w.n; i++)
        if (w.seen[i] == AIO__TREE_NEW) aio__tree_walk(&w, i, false);
    if (!w.circles && !only_circles) {
        memcpy(w.at, w.first, w.n * sizeof *w.at);
        memset(w.seen, AIO__TREE_NEW, w.n);
        for (uint32_t i = 0; i < w.n; i++)
            if (!w.awaited[i]) aio__tree_walk(&w, i, true);
    }
    aio__chunk_free(&l->executor, w.tasks);
    return w.circles ? -EDEADLK : 0;
}
AIO_FN aio_result aio_loop_tree(aio_loop *l, FILE *out) { return aio__loop_tree(l, out, false); }

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
    if (__builtin_add_overflow(aio_loop_time(l), ns, &when))
        return ns > 0 ? AIO_FOREVER : INT64_MIN;
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
    AIO__HOLDS(at <= l->timer_count && l->timers[at - 1].node == n);
    aio__timer_remove(l, at - 1);
    if (slot) aio__unreserve(&l->executor);
}
AIO_FN uint64_t aio__random(uint64_t *state)            // xorshift64*
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}
// With a seed: the last entry, a timer, goes to any place among those of its moment, which begin at
// `first`.
AIO_SLOW void aio__timer_shuffle(aio_loop *l, uint32_t first)
{
    aio_executor *x = &l->executor;
    uint32_t last = x->tail - 1, to = first + (uint32_t)(aio__random(&l->timer_seed) %
                                                         (last - first + 1));
    uintptr_t *a = &x->ring[last & x->mask], *b = &x->ring[to & x->mask], was = *a;
    if (to == last || (*a & 7) != AIO__RUN_NODE || (*b & 7) != AIO__RUN_NODE) return;
    *a = *b;
    *b = was;
    ((aio_node *)(*a - AIO__RUN_NODE))->u.timer.index = AIO__QUEUED | last;
    ((aio_node *)(*b - AIO__RUN_NODE))->u.timer.index = AIO__QUEUED | to;
}
// Queues the timers that are due, in order (L-3). A sleeper's timer needs a slot of its own while
// it is queued; no memory for one: the sleeper goes on a turn early, in the slot that it has.
AIO_FN void aio__timers_due(aio_loop *l, int64_t now)
{
    int64_t moment = now;
    uint32_t first = l->executor.tail;
    while (l->timer_count && l->timers[0].when <= now) {
        aio_node *n = l->timers[0].node;
        if (l->timers[0].when != moment) first = l->executor.tail;
        moment = l->timers[0].when;
        bool direct = n->cls->kind == AIO__WAIT_SLEEP && aio__reserve(&l->executor) < 0;
        aio__timer_remove(l, 0);
        if (AIO__UNLIKELY(direct)) {
            (n->cls->run)(n);
            first = l->executor.tail;           // what it queued keeps its place
            continue;
        }
        aio__node_queue(&l->executor, n);
        if (AIO__UNLIKELY(l->timer_seed != 0)) aio__timer_shuffle(l, first);
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
    int64_t left;
    if (w->node.u.timer.when == AIO_FOREVER)
        return aio__append(text, size, 0, "sleep without limit");
    if (__builtin_sub_overflow(w->node.u.timer.when, aio_loop_time(AIO__LOOP_OF(w->future.loop)),
                               &left) || left < 0)
        return aio__append(text, size, 0, "sleep that is over");
    int n = snprintf(text, size, "sleep %.6f s more", (double)left / 1e9);
    return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}
AIO_TABLE(aio_wait_class, aio__sleep_wait,
    { "sleep", AIO__WAIT_SLEEP, aio__sleep_cancel, 0, 0, aio__sleep_run, aio__sleep_describe, 0 })
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
    aio_waiter_begin(w, aio__sleep_wait());
    return false;
}
AIO__START_FN bool aio__sleep_start(aio_waiter *w, const aio_awaitable *a)
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
AIO_TABLE(aio_await_class, aio__sleep_await, { aio__sleep_start, "sleep", AIO__AWAIT_SLEEP })
AIO_TABLE(aio_await_class, aio__sleep_until_await,
    { aio__sleep_until_start, "sleep", AIO__AWAIT_SLEEP })
AIO_INLINE AIO_NODISCARD aio_awaitable aio_sleep(int64_t ns)
{
    aio_awaitable a;
    a.cls = aio__sleep_await();
    a.u.i[0] = ns;
    return a;
}
AIO_INLINE AIO_NODISCARD aio_awaitable aio_sleep_until(int64_t when)
{
    aio_awaitable a;
    a.cls = aio__sleep_until_await();
    a.u.i[0] = when;
    return a;
}

// --- ticker: no timer but while somebody waits for a tick
AIO_FN aio_result aio__ticks_resume(aio_waiter *w, bool must_cancel)
{
    aio_ticks *it = (aio_ticks *)w->node.u.timer.data;
    it->waiter = 0;
    if (must_cancel) return -ECANCELED;
    int64_t late = aio_loop_time(AIO__LOOP_OF(w->future.loop)) - it->due;
    it->value = late > 0 ? 1 + late / it->period : 1;
    if (__builtin_add_overflow(it->due, it->value * it->period, &it->due)) it->due = AIO_FOREVER;
    return 1;
}
AIO_FN void aio__ticks_dispose(aio_waiter *w) { ((aio_ticks *)w->node.u.timer.data)->waiter = 0; }
AIO_TABLE(aio_wait_class, aio__ticks_ready,
    { "ready", AIO__WAIT_READY, 0, aio__ticks_resume, 0, 0, 0, aio__ticks_dispose })
AIO_FN bool aio__ticks_cancel(aio_waiter *w)
{
    aio__ticks_dispose(w);
    return aio__sleep_cancel(w);
}
AIO_FN void aio__ticks_run(aio_node *n)
{
    aio_wake(AIO__CONTAINER(n, aio_waiter, node), aio__ticks_ready());
}
AIO_TABLE(aio_wait_class, aio__ticks_wait,
    { "tick", AIO__WAIT_SLEEP, aio__ticks_cancel, 0, 0, aio__ticks_run, aio__sleep_describe,
      aio__ticks_dispose })
AIO_FN bool aio__ticks_next(aio_waiter *w, aio_frame *f)
{
    aio_ticks *it = (aio_ticks *)(void *)f;
    aio_loop *l = AIO__LOOP_OF(w->future.loop);
    if (it->waiter) return aio__done_with(w, -EBUSY);
    if (it->over) return aio__done_with(w, 0);
    aio_node *n = &w->node;
    n->u.timer.data = it;
    n->u.timer.when = it->due;
    n->u.timer.index = 0;
    bool due = aio_loop_time(l) >= it->due;
    aio_result r = due || it->due == AIO_FOREVER ? 0 : aio__timer_arm(l, n, it->due);
    if (r < 0) return aio__done_with(w, r);
    it->waiter = w;
    aio_waiter_begin(w, aio__ticks_wait());
    if (due) aio_wake(w, aio__ticks_ready());       // in the next turn: others run too
    return false;
}
// Who waits in another task gets 0, without another look at `it`.
AIO_FN aio_result aio__ticks_exit(aio_scope *s, aio_task *t, aio_result r)
{
    aio_ticks *it = AIO__CONTAINER(s, aio_ticks, scope);
    aio_waiter *w = it->waiter;
    (void)t;
    it->waiter = 0;
    it->over = true;
    if (w && w->node.cls->kind == AIO__WAIT_SLEEP) {
        aio__timer_stop(AIO__LOOP_OF(w->future.loop), &w->node, false);
        aio_complete(w, 0);
    } else if (w) {
        aio__woken_with(w, 0);
    }
    return r;
}
AIO_TABLE(aio_scope_class, aio__ticks_scope, { "ticker", aio__ticks_exit, AIO__SCOPE_PLAIN })
AIO_FN bool aio__ticks_close(aio_waiter *w, aio_frame *f)
{
    aio_ticks *it = (aio_ticks *)(void *)f;
    if (it->waiter) return aio__done_with(w, -EBUSY);
    if (!it->over) aio_scope_leave(&it->scope, it->scope.task);
    it->over = true;
    return aio__done_with(w, 0);
}
AIO_TABLE(struct aio__native, aio__ticks_native,
    { { 0, 0, "ticker", 0, AIO__SITE_NATIVE }, aio__ticks_next, aio__ticks_close })
AIO_FN aio_result aio_ticker(aio_ticks *it, int64_t ns)
{
    aio_task *t = aio_current_task();
    if (!t || ns <= 0) return -EINVAL;
    if (it->aio.site && !it->over) return -EBUSY;
    it->aio.parent = 0;
    it->aio.site = &aio__ticks_native()->site;
    it->waiter = 0;
    it->value = 0;
    it->over = false;
    it->period = ns;
    it->due = aio__deadline(AIO__LOOP_OF(t->waiter.future.loop), ns);
    aio_scope_enter(&it->scope, t, aio__ticks_scope());
    return 0;
}

// --- callbacks
AIO_FN void aio__handle_run(aio_node *n)
{
    aio_handle *h = (aio_handle *)(void *)n;
    aio_loop *l = h->loop;
    n->u.timer.index = 0;
    h->loop = 0;                    // it may outlive the loop
    int r = (h->fn)(h->arg);          // may reuse h
    if (AIO__UNLIKELY(r < 0)) aio__loop_say(l, "a callback failed", r);     // L-17
}
AIO_TABLE(aio_wait_class, aio__handle_class,
    { "callback", AIO__WAIT_CALLBACK, 0, 0, 0, aio__handle_run, 0, 0 })
AIO_FN void aio__handle_init(aio_handle *h, aio_loop *l, int (*fn)(void *), void *arg)
{
    h->node.cls = aio__handle_class();
    h->node.u.timer.index = 0;
    h->fn = fn;
    h->arg = arg;
    h->loop = l;
    h->next = 0;
}
// L-15: another thread must use the *_threadsafe call.
AIO_INLINE bool aio__foreign(const aio_loop *l)
{
    return l->owned && !pthread_equal(l->owner, pthread_self());
}
AIO_FN aio_result aio_call_at(aio_loop *l, aio_handle *h, int64_t when, int (*fn)(void *),
                              void *arg)
{
    aio__handle_init(h, l, fn, arg);
    aio_result r = aio__foreign(l) ? -EPERM : aio__reserve(&l->executor);
    if (r < 0) return r;
    if (when != AIO_FOREVER && (r = aio__timer_arm(l, &h->node, when)) >= 0) return 0;
    aio__unreserve(&l->executor);
    return r;
}
AIO_FN aio_result aio_call_later(aio_loop *l, aio_handle *h, int64_t ns, int (*fn)(void *),
                                 void *arg)
{
    return aio_call_at(l, h, aio__deadline(l, ns), fn, arg);
}

// --- the inbox: callbacks from other threads
// Called under the lock: the owner will look at what is in it. True: aio__inbox_unlock must wake
// it.
AIO_FN bool aio__inbox_wake(struct aio__inbox *in)
{
    if (__atomic_load_n(&in->full, __ATOMIC_SEQ_CST)) return false;     // it was, for what is there
    __atomic_store_n(&in->full, 1, __ATOMIC_SEQ_CST);           // pairs with aio__about_to_sleep
    return __atomic_exchange_n(&in->sleeping, 0, __ATOMIC_SEQ_CST);
}
// Wakes the owner when the lock is free again: it will want it at once. The descriptor stays open
// until the last writer has gone.
AIO_FN void aio__inbox_unlock(struct aio__inbox *in, bool wake)
{
    uint64_t one = 1;
    if (wake) __atomic_add_fetch(&in->writers, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&in->lock);
    if (!wake) return;
    while (write(in->wake_write_fd, &one, sizeof one) < 0 && errno == EINTR) {}
    __atomic_sub_fetch(&in->writers, 1, __ATOMIC_RELEASE);
}
AIO_FN aio_result aio__inbox_post(aio_loop *l, aio_handle *h)
{
    struct aio__inbox *in = &l->mailbox;
    if (l->forked) return -EPERM;           // the lock may be held by a thread that is not here
    pthread_mutex_lock(&in->lock);
    bool closed = in->closed, wake = false;
    if (!closed) {
        h->node.u.timer.index = AIO__IN_INBOX;
        h->node.u.timer.data = in->last;
        if (in->last) in->last->next = h;
        else in->first = h;
        in->last = h;
        wake = aio__inbox_wake(in);
    }
    aio__inbox_unlock(in, wake);
    return closed ? -EBADFD : 0;
}
AIO_FN aio_result aio__guest(aio_loop *l, bool leaves)
{
    struct aio__inbox *in = &l->mailbox;
    if (l->forked) return -EPERM;
    pthread_mutex_lock(&in->lock);
    aio_result r = in->closed ? -EBADFD : leaves && !in->guests ? -EINVAL : 0;
    bool wake = false;
    if (!r && leaves) wake = aio__inbox_wake(in); // first: who sees that it left sees what it sent
    if (!r) __atomic_store_n(&in->guests, in->guests + (leaves ? -1u : 1u), __ATOMIC_RELEASE);
    aio__inbox_unlock(in, wake);
    return r;
}
AIO_FN aio_result aio_thread_enter(aio_loop *l) { return aio__guest(l, false); }
AIO_FN aio_result aio_thread_leave(aio_loop *l) { return aio__guest(l, true); }
// --- messages. They are handed out once in a turn, so that who sends fast cannot keep a loop from
// its other work.
AIO_FN aio_result aio_loop_post(aio_loop *l, uint64_t message)
{
    struct aio__inbox *in = &l->mailbox;
    uint32_t room = l->options.mailbox ? l->options.mailbox : 1024;
    if (l->forked) return -EPERM;
    // Who tries again and again must not keep the owner from the lock.
    if (__atomic_load_n(&in->letter_count, __ATOMIC_RELAXED) == room) return -EAGAIN;
    pthread_mutex_lock(&in->lock);
    if (!in->closed && !in->letters) {
        in->letter_room = room;
        in->letters = (uint64_t *)malloc(room * sizeof *in->letters);
    }
    bool wake = false;
    aio_result r = in->closed                             ? -EBADFD
                   : !in->letters                         ? -ENOMEM
                   : in->letter_count == room             ? -EAGAIN
                                                          : 0;
    if (!r) {
        uint32_t at = in->letter_head + in->letter_count;
        __atomic_store_n(&in->letter_count, in->letter_count + 1, __ATOMIC_RELAXED);
        in->letters[at < in->letter_room ? at : at - in->letter_room] = message;
        wake = aio__inbox_wake(in);
    }
    aio__inbox_unlock(in, wake);
    return r;
}
AIO_FN uint64_t aio__letter_take(struct aio__inbox *in)         // under the lock
{
    uint64_t message = in->letters[in->letter_head++];
    if (in->letter_head == in->letter_room) in->letter_head = 0;
    __atomic_store_n(&in->letter_count, in->letter_count - 1, __ATOMIC_RELAXED);
    return message;
}
AIO_FN void aio__received_dispose(aio_waiter *w)                // its loop is closed, or an op ends
{
    aio_loop *l = AIO__LOOP_OF(w->future.loop);
    if (w->future.result < 0 || !l->options.drop_message) return;
    (l->options.drop_message)(l, *(uint64_t *)w->node.u.p[2], l->options.context);
}
AIO_TABLE(aio_wait_class, aio__received,
    { "ready", AIO__WAIT_READY, 0, aio__settled_resume, 0, 0, 0, aio__received_dispose })
AIO_FN void aio__receive_leave(aio_waiter *w)
{
    aio__ring_remove(&AIO__LOOP_OF(w->future.loop)->receivers, &w->node);
}
AIO_FN bool aio__receive_cancel(aio_waiter *w)
{
    aio__receive_leave(w);
    aio_complete(w, -ECANCELED);
    return true;
}
AIO_TABLE(aio_wait_class, aio__receive_wait,
    { "message", AIO__WAIT_OWN, aio__receive_cancel, 0, 0, 0, 0, aio__receive_leave })
AIO_FN bool aio__receive_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_loop *l = AIO__LOOP_OF(w->future.loop);
    if (l->forked) return aio__done_with(w, -EPERM);
    if (l->letters_seen && !l->receivers) {
        l->letters_seen--;
        pthread_mutex_lock(&l->inbox->lock);
        *(uint64_t *)a->u.p[0] = aio__letter_take(l->inbox);
        pthread_mutex_unlock(&l->inbox->lock);
        if (w->future.flags & AIO__IS_TASK) return aio__done_with(w, 0);
        w->node.u.p[2] = a->u.p[0];             // an op's result may be disposed of
        aio__complete_as(w, 0, aio__received());
        return false;
    }
    aio__ring_add(&l->receivers, &w->node);
    w->node.u.p[2] = a->u.p[0];
    aio_waiter_begin(w, aio__receive_wait());
    return false;
}
AIO_TABLE(aio_await_class, aio__receive_await, { aio__receive_start, "message", AIO__AWAIT_OWN })
AIO_FN AIO_NODISCARD aio_awaitable aio_loop_receive(uint64_t *message)
{
    return aio__sync_await(aio__receive_await(), message);
}
// What came since the last turn, to those who wait; the rest is there to be received. Under the
// lock.
AIO_FN void aio__letters_hand_out(aio_loop *l)
{
    struct aio__inbox *in = l->inbox;
    aio_waiter *w;
    while (in->letter_count && (w = aio__sync_first(&l->receivers)) != 0) {
        *(uint64_t *)w->node.u.p[2] = aio__letter_take(in);
        aio__settle(w, 0, aio__received());     // from here on it stands, whatever is cancelled
    }
    l->letters_seen = in->letter_count;
}
AIO_FN void aio__letters_close(aio_loop *l)                     // nobody posts any more
{
    struct aio__inbox *in = &l->mailbox;
    while (in->letter_count) {
        uint64_t message = aio__letter_take(in);
        if (l->options.drop_message) (l->options.drop_message)(l, message, l->options.context);
    }
    free(in->letters);
    in->letters = 0;
}
AIO_FN bool aio__interrupt_left(const aio_loop *l);
AIO_FN bool aio__signals_left(const aio_loop *l);
AIO_FN void aio__inbox_take(struct aio__inbox *in, aio_handle *h)       // under the lock
{
    aio_handle *before = (aio_handle *)h->node.u.timer.data;
    if (h->next) h->next->node.u.timer.data = before;
    else in->last = before;
    if (before) before->next = h->next;
    else in->first = h->next;
    h->node.u.timer.index = 0;
}
// Queues the callbacks that other threads sent, under the lock. No memory for a slot: the rest
// waits for the next turn. `borrow`: one goes in without a slot; for an empty ring into which this
// turn will put nothing more.
AIO_FN void aio__handles_take(aio_loop *l, bool borrow)
{
    struct aio__inbox *in = l->inbox;
    while (in->first && (borrow || aio__reserve(&l->executor) >= 0)) {
        if (borrow) l->executor.slots++;
        borrow = false;
        aio_handle *h = in->first;
        aio__inbox_take(in, h);
        aio__node_queue(&l->executor, &h->node);
    }
}
// What other threads sent: messages to those who wait, callbacks into the ring.
AIO_COLD void aio__inbox_drain(aio_loop *l, bool borrow)
{
    struct aio__inbox *in = l->inbox;
    pthread_mutex_lock(&in->lock);
    aio__letters_hand_out(l);
    aio__handles_take(l, borrow);
    if (!in->first) {
        __atomic_store_n(&in->full, 0, __ATOMIC_SEQ_CST);
        if (aio__interrupt_left(l) || aio__signals_left(l))
            __atomic_store_n(&in->full, 1, __ATOMIC_SEQ_CST);
    }
    pthread_mutex_unlock(&in->lock);
}
AIO_INLINE bool aio__inbox_full(const aio_loop *l)
{
    return __atomic_load_n(&l->inbox->full, __ATOMIC_RELAXED);
}
// In the order in which they were given (L-14): what came through the inbox first goes first.
AIO_FN aio_result aio_call_soon(aio_loop *l, aio_handle *h, int (*fn)(void *), void *arg)
{
    aio__handle_init(h, l, fn, arg);
    if (aio__foreign(l)) return -EPERM;
    if (AIO__UNLIKELY(l->inbox && !l->forked && aio__inbox_full(l))) {
        pthread_mutex_lock(&l->inbox->lock);
        aio__handles_take(l, false);
        pthread_mutex_unlock(&l->inbox->lock);
    }
    aio_result r = aio__reserve(&l->executor);
    if (r < 0) return r;
    aio__node_queue(&l->executor, &h->node);
    return 0;
}
AIO_FN aio_result aio_call_soon_threadsafe(aio_loop *l, aio_handle *h, int (*fn)(void *), void *arg)
{
    // No memory: the inbox needs none.
    if (aio__running() == &l->executor && aio_call_soon(l, h, fn, arg) == 0) return 0;
    aio__handle_init(h, l, fn, arg);
    return aio__inbox_post(l, h);
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
AIO_INLINE void aio__woke_up(aio_loop *l)
{
    __atomic_store_n(&l->inbox->sleeping, 0, __ATOMIC_RELEASE);
}
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
// Returns the spawns that are left in it; other handles are their callers' again, who may free them
// as soon as the lock is.
AIO_FN aio_handle *aio__inbox_close(aio_loop *l)
{
    struct aio__inbox *in = l->inbox;
    aio_handle *left = 0, *next;
    pthread_mutex_lock(&in->lock);
    for (aio_handle *h = in->first; h; h = next) {
        next = h->next;
        h->node.u.timer.index = 0;
        if (h->node.cls->kind == AIO__WAIT_CALLBACK) h->loop = 0;
        if (h->node.cls->kind != AIO__WAIT_THREAD_START) continue;
        h->next = left;
        left = h;
    }
    in->first = in->last = 0;
    in->closed = true;
    pthread_mutex_unlock(&in->lock);
    return left;
}
AIO_FN void aio__inbox_free(aio_loop *l)        // when nothing polls it any more
{
    struct aio__inbox *in = l->inbox;
    l->inbox = 0;
    while (__atomic_load_n(&in->writers, __ATOMIC_ACQUIRE)) sched_yield();
    close(in->wake_fd);
    if (in->wake_write_fd != in->wake_fd) close(in->wake_write_fd);
}
AIO_FN void aio_handle_cancel(aio_handle *h)
{
    aio_loop *l = h->loop;
    if (!l || l->forked) return;
    if (h->node.u.timer.index == AIO__IN_INBOX) {
        pthread_mutex_lock(&l->mailbox.lock);
        aio__inbox_take(&l->mailbox, h);
        pthread_mutex_unlock(&l->mailbox.lock);
    } else {
        aio__timer_stop(l, &h->node, true);
    }
    h->loop = 0;
}
// The loop closes: nothing is timed any more, and what was to run is its caller's again.
AIO_FN void aio__handle_forget(aio_node *n)
{
    n->u.timer.index = 0;
    if (n->cls->kind == AIO__WAIT_CALLBACK) ((aio_handle *)(void *)n)->loop = 0;
}
AIO_FN void aio__handles_forget(aio_loop *l)
{
    aio_executor *x = &l->executor;
    while (l->timer_count) aio__handle_forget(l->timers[--l->timer_count].node);
    for (uint32_t i = x->head; i != x->tail; i++) {
        uintptr_t entry = x->ring[i & x->mask];
        if ((entry & 7) != AIO__RUN_NODE) continue;
        aio_node *n = (aio_node *)(entry - AIO__RUN_NODE);
        if (n->cls->kind != AIO__WAIT_CALLBACK) continue;
        aio__handle_forget(n);
        aio__unqueue(x, i);
    }
}

// --- timeout scopes
enum {
    AIO__TIMEOUT_CREATED,
    AIO__TIMEOUT_ENTERED,
    AIO__TIMEOUT_EXPIRING,
    AIO__TIMEOUT_EXPIRED,
    AIO__TIMEOUT_EXITED
};
AIO_FN int aio__timeout_fired(void *arg)
{
    aio_timeout *s = (aio_timeout *)arg;
    s->state = AIO__TIMEOUT_EXPIRING;
    aio_task_cancel(s->scope.task);         // TO-3
    return 0;
}
// TO-2: what is due already takes its place among the callbacks.
AIO_FN aio_result aio__timeout_arm(aio_timeout *s, aio_task *t, int64_t when)
{
    aio_loop *l = AIO__LOOP_OF(t->waiter.future.loop);
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
AIO_TABLE(aio_scope_class, aio__timeout_scope,
    { "timeout", aio__timeout_scope_exit, AIO__SCOPE_PLAIN })
AIO_FN bool aio__timeout_open(const aio_timeout *s)
{
    return s->state == AIO__TIMEOUT_ENTERED || s->state == AIO__TIMEOUT_EXPIRING;
}
AIO_FN aio_result aio__timeout_begin(aio_timeout *s, aio_task *t, int64_t when)
{
    if (!t || aio__timeout_open(s)) return -EINVAL;     // TO-1
    s->base = t->cancelling;
    aio_result r = aio__timeout_arm(s, t, when);
    if (r < 0) return r;
    s->state = AIO__TIMEOUT_ENTERED;
    aio_scope_enter(&s->scope, t, aio__timeout_scope());
    return 0;
}
AIO_FN aio_result aio_timeout_enter_at(aio_timeout *s, int64_t when)
{
    return aio__timeout_begin(s, aio_current_task(), when);
}
AIO_FN aio_result aio__timeout_within(aio_timeout *s, aio_task *t, int64_t ns)
{
    if (!t) return -EINVAL;
    return aio__timeout_begin(s, t, aio__deadline(AIO__LOOP_OF(t->waiter.future.loop), ns));
}
AIO_FN aio_result aio_timeout_enter(aio_timeout *s, int64_t ns)
{
    return aio__timeout_within(s, aio_current_task(), ns);
}
AIO_FN aio_result aio_timeout_reschedule(aio_timeout *s, int64_t when)
{
    if (s->state != AIO__TIMEOUT_ENTERED) return -EINVAL;
    aio_handle_cancel(&s->handle);
    return aio__timeout_arm(s, s->scope.task, when);
}
AIO_FN bool aio_timeout_expired(const aio_timeout *s)
{
    return s->state == AIO__TIMEOUT_EXPIRING || s->state == AIO__TIMEOUT_EXPIRED;
}
AIO_FN aio_result aio_timeout_exit(aio_timeout *s, aio_result r)
{
    aio_task *t = s->scope.task;
    if (!aio__timeout_open(s)) return r;
    aio_handle_cancel(&s->handle);
    aio_scope_leave(&s->scope, t);
    if (s->state == AIO__TIMEOUT_ENTERED) {
        s->state = AIO__TIMEOUT_EXITED;
        return r;
    }
    s->state = AIO__TIMEOUT_EXPIRED;
    // TO-3, TO-6
    return aio_task_uncancel(t) <= s->base && r == -ECANCELED ? -ETIMEDOUT : r;
}

// --- wait_for: a frame of its own between the awaiter and what it awaits, so that anything can be
// wrapped, also itself.
struct aio__wait_for {
    aio_frame aio;
    int64_t ns;
    aio_awaitable inner;
    aio_timeout scope;
    aio_future *ended;          // what was awaited in place of `inner`
    aio_result r;
};
// Cancels a future and waits for its end: -ETIMEDOUT if that ended it, else its result; cancellable
// itself.
AIO_FN aio_result aio__ended_resume(aio_waiter *w, bool must_cancel)
{
    aio_future *f = w->node.u.list.target;
    aio_result r = f && !must_cancel ? aio_future_result(f) : w->future.result;
    if (r == -ECANCELED) r = -ETIMEDOUT;
    aio__shield_release(f);
    return must_cancel ? -ECANCELED : r;
}
AIO_FN void aio__ended_dispose(aio_waiter *w) { aio__shield_release(w->node.u.list.target); }
AIO_TABLE(aio_wait_class, aio__ended_ready,
    { "ready", AIO__WAIT_READY, 0, aio__ended_resume, 0, 0, 0, aio__ended_dispose })
AIO_FN void aio__ended_run(aio_node *n)
{
    aio_wake(AIO__CONTAINER(n, aio_waiter, node), aio__ended_ready());
}
AIO_TABLE(aio_wait_class, aio__ended_wait,
    { "end of a cancelled task", AIO__WAIT_SHIELD, aio__shield_cancel, 0, aio__shield_notify,
      aio__ended_run, 0, aio__shield_dispose })
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
    aio_waiter_begin(w, aio__ended_wait());
    aio_future_cancel(f);
    return false;
}
AIO_TABLE(aio_await_class, aio__end_await, { aio__end_start, "end", AIO__AWAIT_OWN })
// A result that comes after some turns of its own.
AIO_FN void aio__late_run(aio_node *n)
{
    aio_waiter *w = AIO__CONTAINER(n, aio_waiter, node);
    if (!n->u.timer.seq--) {
        aio_complete(w, n->u.timer.when);
        return;
    }
    w->future.loop->slots++;            // the one that was just given back
    aio__node_queue(w->future.loop, n);
}
AIO_FN bool aio__late_cancel(aio_waiter *w)
{
    aio__unqueue(w->future.loop, w->node.u.timer.index);
    aio_complete(w, -ECANCELED);
    return true;
}
AIO_TABLE(aio_wait_class, aio__late_wait,
    { "limit of 0", AIO__WAIT_OWN, aio__late_cancel, 0, 0, aio__late_run, 0, 0 })
// For a slot that was reserved.
AIO_FN void aio__late(aio_waiter *w, aio_result r, uint32_t turns)
{
    w->node.u.timer.when = r;
    w->node.u.timer.seq = turns;
    aio_waiter_begin(w, aio__late_wait());
    aio__node_queue(w->future.loop, &w->node);
}
AIO_FN bool aio__late_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_result r = aio__reserve(w->future.loop);
    if (r < 0) return aio__done_with(w, r);
    aio__late(w, -ETIMEDOUT, (uint32_t)a->u.w[1]);
    return false;
}
AIO_TABLE(aio_await_class, aio__late_await, { aio__late_start, "limit of 0", AIO__AWAIT_OWN })
AIO_FN aio_awaitable aio__late_timeout(uint32_t turns)
{
    aio_awaitable a = aio__sync_await(aio__late_await(), 0);
    a.u.w[1] = turns;
    return a;
}
// A gather that is cancelled as it begins. It is a future of asyncio's: its end takes a turn of its
// own, and who waits for that may go without it.
AIO_FN void aio__cut_gather_ended(struct aio__watched *v, aio_future *f)
{
    aio_waiter *w = v->many->owner;
    aio_result r = v->many->over ? AIO_PENDING : aio__gather_count(v->many, f);
    if (r == AIO_PENDING) return;
    w->future.loop->slots++;            // that of `v`, which was just given back
    aio__late(w, r == -ECANCELED ? -ETIMEDOUT : r, 0);
}
AIO_FN bool aio__cut_gather_cancel(aio_waiter *w)
{
    struct aio__many *m = (struct aio__many *)w->node.u.p[0];
    if (m->cancelling) m->over = true;  // T-11: it waits for itself in the end
    else aio__gather_end(m, -ECANCELED);
    aio_complete(w, -ECANCELED);
    return true;
}
AIO_TABLE(aio_wait_class, aio__cut_gather_wait,
    { "gather with a limit of 0", AIO__WAIT_GATHER, aio__cut_gather_cancel, 0, 0, 0,
      aio__many_describe, aio__many_dispose })
AIO_FN bool aio__cut_gather_start(aio_waiter *w, const aio_awaitable *a)
{
    struct aio__many *m = aio__gather_begin(w, (const aio_awaitable *)a->u.p[0],
                                            aio__cut_gather_wait(), aio__cut_gather_ended);
    if (!m) return true;
    m->cancel_asked = m->cancelling = true;
    for (uint32_t i = 0; i < m->n; i++)
        if (!aio_task_done(m->tasks[i])) aio_task_cancel(m->tasks[i]);
    m->cancelling = false;
    if (m->over) aio__gather_end(m, -ECANCELED);
    return false;
}
AIO_TABLE(aio_await_class, aio__cut_gather_await,
    { aio__cut_gather_start, "gather", AIO__AWAIT_TASK_ONLY })
// A limit of 0. What is a future in asyncio gives its result if it is done, else is cancelled and
// waited for (WF-4). A shield's end comes one turn later; what else never begins takes two: in
// those asyncio makes a task, cancels it and sees its end.
AIO_FN aio_awaitable aio__with_no_time(aio_task *t, aio_awaitable *inner, aio_future **future)
{
    switch (inner->cls->kind) {
    case AIO__AWAIT_GATHER: return aio__sync_await(aio__cut_gather_await(), inner);
    case AIO__AWAIT_SHIELD:
        return aio_future_done((aio_future *)inner->u.p[0]) ? *inner : aio__late_timeout(0);
    case AIO__AWAIT_FUTURE: *future = (aio_future *)inner->u.p[0]; break;
    case AIO__AWAIT_JOIN: *future = &((aio_task *)inner->u.p[0])->waiter.future; break;
    default: aio__awaitable_drop(t, inner); return aio__late_timeout(1);
    }
    if (!aio_future_done(*future)) return aio__sync_await(aio__end_await(), *future);
    *future = 0;
    return *inner;
}
aio__drop_of(aio__wait_for) {
    if (self->aio.site->kind == AIO__SITE_START)
        aio__awaitable_drop(aio_current_task(), &self->inner);
    return 0;
} aio_end
aio__async_drop(aio__wait_for) {
    if (self->ns > 0) {                                                 // WF-1
        self->r = aio__timeout_within(&self->scope, AIO__TASK, self->ns);
        if (self->r < 0) aio__awaitable_drop(AIO__TASK, &self->inner);
        else aio_await(self->r, self->inner);
        return aio_timeout_exit(&self->scope, self->r);
    }
    aio_await(self->r, aio__with_no_time(AIO__TASK, &self->inner, &self->ended));
    if (self->ended) aio__awaitable_drop(AIO__TASK, &self->inner);
    return self->r;
} aio_end
// The frame of a limit. Null: there is no memory, and what is awaited gave up what it holds.
AIO_SLOW struct aio__wait_for *aio__limit_frame(aio_task *t, const aio_awaitable *a)
{
    struct aio__wait_for *f = t ? (struct aio__wait_for *)aio__call_block(
        t, AIO__OWN_CO(aio__wait_for), sizeof *f) : 0;
    if (!f) {
        aio__awaitable_drop(t, a);
        return 0;
    }
    f->ns = a->u.i[8];
    f->inner = *a;
    f->inner.cls = (const aio_await_class *)(uintptr_t)a->u.w[7];
    return f;
}
// Begins now, also where the trampoline would do it: what is awaited may point to the caller's
// locals. A nested call looks at the stack itself.
AIO_FN bool aio__limit_begin(aio_waiter *w, struct aio__wait_for *f)
{
    if (!f) return aio__done_with(w, -ENOMEM);
    return aio__enter_block(AIO__TASK_OF(w), &f->aio, AIO__OWN_CO(aio__wait_for), true);
}
AIO_FN bool aio__wait_for_start(aio_waiter *w, const aio_awaitable *a)
{
    if (aio__needs_task(w)) return true;
    if (a->u.i[8] == AIO_FOREVER)
        return (((const aio_await_class *)(uintptr_t)a->u.w[7])->start)(w, a);
    return aio__limit_begin(w, aio__limit_frame(AIO__TASK_OF(w), a));
}
AIO_TABLE(aio_await_class, aio__wait_for_await,
    { aio__wait_for_start, "wait_for", AIO__AWAIT_WAIT_FOR })
// A limit inside another one, in its frame already: an awaitable has room for one.
AIO_FN bool aio__inner_limit_start(aio_waiter *w, const aio_awaitable *a)
{
    return aio__limit_begin(w, (struct aio__wait_for *)a->u.p[0]);
}
AIO_TABLE(aio_await_class, aio__inner_limit_await,
    { aio__inner_limit_start, "wait_for", AIO__AWAIT_CALL_NEW })
AIO_FN AIO_NODISCARD aio_awaitable aio_wait_for(int64_t ns, aio_awaitable a)
{
    uint32_t kind = a.cls->kind;
    bool future = kind == AIO__AWAIT_FUTURE || kind == AIO__AWAIT_JOIN ||
                  kind == AIO__AWAIT_SHIELD || kind == AIO__AWAIT_GATHER;
    // Without a limit it still is no future any more to a limit around it.
    if (ns == AIO_FOREVER && !future) return a;
    if (kind == AIO__AWAIT_WAIT_FOR)
        a = aio__sync_await(aio__inner_limit_await(), aio__limit_frame(aio_current_task(), &a));
    a.u.w[7] = (uintptr_t)a.cls;
    a.u.i[8] = ns;
    a.cls = aio__wait_for_await();
    return a;
}

// --- wait with a limit
AIO_FN void aio__wait_stop_timer(struct aio__many *m)
{
    aio_handle *h = (aio_handle *)m->timer;
    aio_executor *x = m->owner->future.loop;
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
AIO_TABLE(aio_await_class, aio__wait_timeout_await,
    { aio__wait_timeout_start, "wait", AIO__AWAIT_OWN })
AIO_FN AIO_NODISCARD aio_awaitable aio__wait_timeout(struct aio__futures f, size_t n, int mode,
                                                     int64_t ns)
{
    aio_awaitable a = aio__wait(f, n, mode);
    if (ns != AIO_FOREVER) a.cls = aio__wait_timeout_await();
    a.u.i[5] = ns;
    return a;
}

// --- as_completed: what has ended goes into a queue of indexes. It is in a block that stays until
// the last who stands at its next has gone: the iteration may end, with its frame, before.
struct aio__items {
    aio_handle timer;
    aio_queue ended;                        // of int32_t; -1: the time is over
    uint32_t refs, block_class;
    uint32_t returned;                      // places of nexts that were cancelled: none got an item
};
AIO_FN void aio__items_unref(aio_executor *x, struct aio__items *i)
{
    if (!--i->refs) aio__free(x, i, i->block_class);
}
AIO_FN void aio__completed_ended(struct aio__watched *v, aio_future *f)
{
    struct aio__many *m = v->many;
    struct aio__items *items = (struct aio__items *)m->timer;
    int32_t index = (int32_t)(v - aio__watches(m));
    (void)f;
    aio_queue_put_nowait(&items->ended, &index);
    if (!--m->pending && m->stop_timer) (m->stop_timer)(m);
}
AIO_FN void aio__completed_stop_timer(struct aio__many *m)
{
    aio_handle_cancel(&((struct aio__items *)m->timer)->timer);
    m->stop_timer = 0;
}
AIO_FN int aio__completed_expired(void *arg)            // AC-2
{
    struct aio__many *m = (struct aio__many *)arg;
    struct aio__items *items = (struct aio__items *)m->timer;
    const int32_t none = -1;
    aio__many_leave(m->owner->future.loop, m);
    for (; m->pending; m->pending--) aio_queue_put_nowait(&items->ended, &none);
    (m->stop_timer)(m);
    return 0;
}
AIO_FN aio_result aio__completed_scope_exit(aio_scope *s, aio_task *t, aio_result r)
{
    (void)t;
    aio_completed_close(AIO__CONTAINER(s, aio_completed, scope));
    return r;
}
AIO_TABLE(aio_scope_class, aio__completed_scope,
    { "as_completed", aio__completed_scope_exit, AIO__SCOPE_PLAIN })
AIO_FN aio_result aio__completed_init(aio_completed *it, struct aio__futures f, size_t n,
                                      int64_t ns)
{
    aio_task *t = aio_current_task();
    if (!t || it->many) return -EINVAL;
    aio_loop *l = AIO__LOOP_OF(t->waiter.future.loop);
    aio_awaitable a = aio__wait(f, n, AIO_ALL_COMPLETED);
    aio_result kept = t->waiter.future.result, r = 0;
    size_t size = sizeof(struct aio__items) + n * sizeof(int32_t);
    uint32_t c = aio__class_of(size);
    struct aio__items *i = (struct aio__items *)aio__alloc(&l->executor, c, size);
    if (!i) return -ENOMEM;
    i->refs = 1;
    i->returned = 0;
    i->block_class = c;
    aio_queue_init(&i->ended, i + 1, sizeof(int32_t), n ? (uint32_t)n : 1, 0, 0, 0);
    it->items = i;
    it->many = aio__many_new(&t->waiter, &a, true, aio__completed_ended);
    if (!it->many) r = t->waiter.future.result;
    t->waiter.future.result = kept;
    if (r >= 0 && ns != AIO_FOREVER)
        r = aio_call_later(l, &i->timer, ns, aio__completed_expired, it->many);
    if (r < 0) {
        if (it->many) aio__many_free(&l->executor, it->many);
        it->many = 0;
        aio__items_unref(&l->executor, i);
        return r;
    }
    it->many->timer = i;
    if (ns != AIO_FOREVER) it->many->stop_timer = aio__completed_stop_timer;
    it->left = it->many->pending;
    aio_scope_enter(&it->scope, t, aio__completed_scope());
    return 0;
}
AIO_FN void aio_completed_close(aio_completed *it)
{
    if (!it->many) return;
    aio_executor *x = it->scope.task->waiter.future.loop;
    struct aio__many *m = it->many;
    if (m->stop_timer) (m->stop_timer)(m);
    aio_queue_shutdown(&it->items->ended, true);        // another task may stand at its next
    aio__items_unref(x, it->items);
    aio__many_free(x, m);
    aio_scope_leave(&it->scope, it->scope.task);
    it->many = 0;
}
struct aio__completed_next { aio_frame aio; struct aio__items *items; int32_t index; };
aio__async(aio__completed_next) {
    aio_result r;
    if (!self->items) return -ENODATA;
    aio_await(r, aio_queue_get(&self->items->ended, &self->index));
    if (r == -ECANCELED) self->items->returned++;
    aio__items_unref(AIO__TASK->waiter.future.loop, self->items);
    if (r < 0) return r == -ESHUTDOWN ? -ENODATA : r;
    return self->index < 0 ? -ETIMEDOUT : self->index;
} aio_end
AIO_FN bool aio__completed_start(aio_waiter *w, const aio_awaitable *a)
{
    if (aio__needs_task(w)) return true;
    struct aio__completed_next *f = (struct aio__completed_next *)aio__call_block(
        AIO__TASK_OF(w), AIO__OWN_CO(aio__completed_next), sizeof *f);
    aio_completed *it = (aio_completed *)a->u.p[0];
    if (f && it->many && (it->left || it->items->returned)) {
        if (it->left) it->left--;
        else it->items->returned--;
        f->items = it->items;
        f->items->refs++;
    }
    aio_awaitable call = aio__call_new(AIO__OWN_CO(aio__completed_next), f);
    return aio__call_new_start(w, &call);
}
AIO_TABLE(aio_await_class, aio__completed_await,
    { aio__completed_start, "as_completed", AIO__AWAIT_TASK_ONLY })
AIO_FN AIO_NODISCARD aio_awaitable aio_completed_next(aio_completed *it)
{
    return aio__sync_await(aio__completed_await(), it);
}

// --- jobs on threads
struct aio__job {
    struct aio__job *next, *prev;   // in the queue
    struct aio__job *before, *after;    // of all, until it is freed
    aio_handle ended;               // comes back through the inbox
    aio_loop *loop;
    aio_waiter *waiter;             // null: nobody waits any more
    int (*small)(void *);           // one of the two
    aio_result (*fn)(void *);
    void *arg;
    void (*free_arg)(void *);       // not null: the job owns arg
    bool waited;                    // though it owns arg, a cancel while it runs waits for its end
    aio_result result;
    bool started;                   // under the lock
};
struct aio__pool {
    pthread_mutex_t lock;
    pthread_cond_t work, gone;
    struct aio__job *first, *last;  // queued; under the lock
    struct aio__job *all;           // owner thread
    unsigned threads, idle, queued, limit;  // under the lock
    bool closing;
};
AIO_FN void aio__job_free(aio_loop *l, struct aio__job *j)
{
    if (j->free_arg) (j->free_arg)(j->arg);
    if (j->before) j->before->after = j->after;
    else l->pool->all = j->after;
    if (j->after) j->after->before = j->before;
    l->in_flight--;
    aio__free(&l->executor, j, aio__class_of(sizeof *j));
}
AIO_FN int aio__job_ended(void *arg)
{
    struct aio__job *j = (struct aio__job *)arg;
    aio_waiter *w = j->waiter;
    if (w) aio__settle(w, j->result, aio__settled());
    aio__job_free(j->loop, j);
    return 0;
}
// From the queue; under the lock.
AIO_FN void aio__job_take(struct aio__pool *p, struct aio__job *j)
{
    if (j->next) j->next->prev = j->prev;
    else p->last = j->prev;
    if (j->prev) j->prev->next = j->next;
    else p->first = j->next;
    p->queued--;
}
AIO_FN void *aio__worker(void *arg)
{
    struct aio__pool *p = (struct aio__pool *)arg;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->first && !p->closing) {
            p->idle++;
            pthread_cond_wait(&p->work, &p->lock);
            p->idle--;
        }
        struct aio__job *j = p->first;
        if (!j) break;
        aio__job_take(p, j);
        j->started = true;
        pthread_mutex_unlock(&p->lock);
        j->result = j->fn ? aio__no_pending((j->fn)(j->arg)) : (j->small)(j->arg);
        if (j->loop->pid != getpid()) _exit(0);         // it forked, and this is the child
        aio_call_soon_threadsafe(j->loop, &j->ended, aio__job_ended, j);
        pthread_mutex_lock(&p->lock);
    }
    p->threads--;
    pthread_cond_signal(&p->gone);
    pthread_mutex_unlock(&p->lock);
    return 0;
}
// A detached thread with all signals blocked.
AIO_FN aio_result aio__thread_new(void *(*fn)(void *), void *arg)
{
    pthread_t id;
    pthread_attr_t attributes;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&id, &attributes, fn, arg);
    pthread_sigmask(SIG_SETMASK, &before, 0);
    pthread_attr_destroy(&attributes);
    return -r;
}
AIO_FN aio_result aio__worker_new(struct aio__pool *p)      // called under the lock
{
    aio_result r = aio__thread_new(aio__worker, p);
    if (r >= 0) p->threads++;
    return r;
}
AIO_FN struct aio__pool *aio__pool_of(aio_loop *l)
{
    if (l->pool) return l->pool;
    struct aio__pool *p = (struct aio__pool *)aio__chunk_new(&l->executor, sizeof *p);
    if (!p) return 0;
    memset(p, 0, sizeof *p);
    pthread_mutex_init(&p->lock, 0);
    pthread_cond_init(&p->work, 0);
    pthread_cond_init(&p->gone, 0);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    p->limit = l->options.threads ? l->options.threads
               : cpus > 27        ? 32
               : cpus > 0         ? (unsigned)cpus + 4
                                  : 5;
    l->pool = p;
    return p;
}
// Takes a job out of the queue. False: it has started.
AIO_FN bool aio__job_unqueue(struct aio__pool *p, struct aio__job *j)
{
    pthread_mutex_lock(&p->lock);
    bool queued = !j->started;
    if (queued) aio__job_take(p, j);
    pthread_mutex_unlock(&p->lock);
    return queued;
}
AIO_FN bool aio__job_cancel(aio_waiter *w)
{
    struct aio__job *j = (struct aio__job *)w->node.u.p[0];
    bool queued = aio__job_unqueue(j->loop->pool, j);
    if (!queued && (!j->free_arg || j->waited)) { // it runs, with memory that is the awaiter's
        w->future.flags |= AIO__CANCEL_ASKED;
        return true;
    }
    j->waiter = 0;
    if (queued) aio__job_free(j->loop, j);
    aio_complete(w, -ECANCELED);
    return true;
}
AIO_TABLE(aio_wait_class, aio__job_wait,
    { "thread job", AIO__WAIT_OWN, aio__job_cancel, 0, 0, 0, 0, 0 })
AIO_FN bool aio__to_thread_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_loop *l = AIO__LOOP_OF(w->future.loop);
    struct aio__pool *p = l->forked ? 0 : aio__pool_of(l);
    struct aio__job *j = 0;
    aio_result r = l->forked ? -EPERM : -ENOMEM;
    if (p) j = (struct aio__job *)aio__alloc(&l->executor, aio__class_of(sizeof *j), sizeof *j);
    if (j) {
        memset((void *)j, 0, sizeof *j);
        memcpy(&j->small, &a->u.p[0], sizeof j->small);
        memcpy(&j->fn, &a->u.p[1], sizeof j->fn);
        memcpy(&j->free_arg, &a->u.p[3], sizeof j->free_arg);
        j->arg = a->u.p[2];
        j->waited = a->u.w[4] != 0;
        j->loop = l;
        j->waiter = w;
        pthread_mutex_lock(&p->lock);
        r = p->queued < p->idle || p->threads >= p->limit ? 0 : aio__worker_new(p);
        if (p->threads) {
            j->prev = p->last;
            if (p->last) p->last->next = j;
            else p->first = j;
            p->last = j;
            p->queued++;
            pthread_cond_signal(&p->work);
            r = 0;
        }
        pthread_mutex_unlock(&p->lock);
    }
    if (r < 0) {
        if (j) aio__free(&l->executor, j, aio__class_of(sizeof *j));
        aio__awaitable_drop(0, a);
        w->future.result = r;
        return true;
    }
    j->after = p->all;
    if (j->after) j->after->before = j;
    p->all = j;
    l->in_flight++;
    w->node.u.p[0] = j;
    aio_waiter_begin(w, aio__job_wait());
    return false;
}
AIO_TABLE(aio_await_class, aio__to_thread_await,
    { aio__to_thread_start, "thread job", AIO__AWAIT_JOB })
AIO_FN AIO_NODISCARD aio_awaitable aio__to_thread(aio_result (*fn)(void *), int (*small)(void *),
                                                  void *arg, void (*free_arg)(void *))
{
    aio_awaitable a;
    memset((void *)&a, 0, sizeof a);
    a.cls = aio__to_thread_await();
    memcpy(&a.u.p[0], &small, sizeof small);
    memcpy(&a.u.p[1], &fn, sizeof fn);
    a.u.p[2] = arg;
    memcpy(&a.u.p[3], &free_arg, sizeof free_arg);
    return a;
}
AIO_FN AIO_NODISCARD aio_awaitable aio__to_thread_small(int (*fn)(void *), void *arg,
                                                        void (*free_arg)(void *))
{
    return aio__to_thread(0, fn, arg, free_arg);
}
AIO_FN AIO_NODISCARD aio_awaitable aio__to_thread_wide(aio_result (*fn)(void *), void *arg,
                                                       void (*free_arg)(void *))
{
    return aio__to_thread(fn, 0, arg, free_arg);
}
#ifdef __cplusplus
AIO_FN AIO_NODISCARD aio_awaitable aio__to_thread_any(int (*fn)(void *), void *arg,
                                                      void (*free_arg)(void *))
{
    return aio__to_thread(0, fn, arg, free_arg);
}
AIO_FN AIO_NODISCARD aio_awaitable aio__to_thread_any(aio_result (*fn)(void *), void *arg,
                                                      void (*free_arg)(void *))
{
    return aio__to_thread(fn, 0, arg, free_arg);
}
#  define AIO__TO_THREAD(fn, arg, free_arg) aio__to_thread_any(fn, arg, free_arg)
#else
#  define AIO__TO_THREAD(fn, arg, free_arg) _Generic((fn), int (*)(void *): aio__to_thread_small, \
       aio_result (*)(void *): aio__to_thread_wide)(fn, arg, free_arg)
#endif
// The loop closes: jobs that have not started are dropped, those that run are waited for.
AIO_FN void aio__pool_close(aio_loop *l)
{
    struct aio__pool *p = l->pool;
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->first = p->last = 0;
    p->closing = true;
    pthread_cond_broadcast(&p->work);
    while (p->threads) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++;
        if (pthread_cond_timedwait(&p->gone, &p->lock, &until) == ETIMEDOUT)
            aio__loop_say(l, "close waits: a thread job has not ended", 0);
    }
    pthread_mutex_unlock(&p->lock);
    while (p->all) {
        if (p->all->waiter) p->all->waiter->node.cls = &aio__ready;     // a drop hook may cancel it
        aio__job_free(l, p->all);
    }
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->gone);
    pthread_mutex_destroy(&p->lock);
    l->pool = 0;
}

// --- jobs that are left alone (names): a running one can neither be stopped nor waited for, so it
// and its lane may outlive the loop. Few threads of their own: they starve no other job, and no
// other job starves them. A thread whose job was given up is not counted until that has ended: who
// does not answer must not keep the others waiting.
enum { AIO__LANE_THREADS = 4, AIO__LANE_GIVEN_UP = 60 };
enum { AIO__STRAY_QUEUED, AIO__STRAY_RUNS, AIO__STRAY_ENDED };
struct aio__stray {                 // from malloc
    struct aio__stray *next, *prev; // in the queue
    struct aio__stray *before, *after;      // of those that somebody waits for; owner thread
    aio_handle ended;
    aio_loop *loop;                 // owner thread
    struct aio__lane *lane;
    aio_waiter *waiter;
    void (*work)(struct aio__stray *j);     // on a thread
    void (*end)(struct aio__stray *j);      // on the loop: completes the waiter
    void (*release)(struct aio__stray *j);  // anywhere; the last
    int state;                      // under the lock
    bool left;                      // under the lock: nobody waits any more
    bool given_up;                  // under the lock: its thread is not counted
};
struct aio__lane {                  // from malloc
    pthread_mutex_t lock;
    pthread_cond_t work;
    aio_loop *loop;                 // null: closed. All from here to `all` under the lock
    struct aio__stray *first, *last;
    unsigned threads, idle, queued, given_up;
    unsigned refs;                  // the loop's, and each thread's
    struct aio__stray *all;         // owner thread, from here on
    aio_handle more;
    bool more_asked;
};
AIO_FN void aio__lane_unlock(struct aio__lane *n, unsigned refs)    // and gives up references
{
    bool last = !(n->refs -= refs);
    pthread_mutex_unlock(&n->lock);
    if (!last) return;
    pthread_mutex_destroy(&n->lock);
    pthread_cond_destroy(&n->work);
    free(n);
}
AIO_FN void aio__stray_forget(struct aio__stray *j)
{
    if (j->before) j->before->after = j->after;
    else j->lane->all = j->after;
    if (j->after) j->after->before = j->before;
    j->loop->in_flight--;
}
AIO_FN int aio__stray_ended(void *arg)
{
    struct aio__stray *j = (struct aio__stray *)arg;
    aio__stray_forget(j);
    (j->end)(j);
    (j->release)(j);
    return 0;
}
// From the queue; under the lock.
AIO_FN void aio__stray_take(struct aio__lane *n, struct aio__stray *j)
{
    if (j->next) j->next->prev = j->prev;
    else n->last = j->prev;
    if (j->prev) j->prev->next = j->next;
    else n->first = j->next;
    n->queued--;
}
AIO_FN void *aio__lane_worker(void *arg)
{
    struct aio__lane *n = (struct aio__lane *)arg;
    pthread_mutex_lock(&n->lock);
    for (;;) {
        while (!n->first && n->loop) {
            n->idle++;
            pthread_cond_wait(&n->work, &n->lock);
            n->idle--;
        }
        struct aio__stray *j = n->first;
        if (!n->loop || !j) break;
        aio__stray_take(n, j);
        j->state = AIO__STRAY_RUNS;
        pthread_mutex_unlock(&n->lock);
        (j->work)(j);
        pthread_mutex_lock(&n->lock);
        j->state = AIO__STRAY_ENDED;
        bool counted = !j->given_up;
        if (j->left) (j->release)(j);
        else aio_call_soon_threadsafe(n->loop, &j->ended, aio__stray_ended, j);
        if (counted) continue;
        n->given_up--;
        if (n->threads >= AIO__LANE_THREADS) break;         // another one took its place
        n->threads++;
    }
    aio__lane_unlock(n, 1);
    return 0;
}
// One more, if there may be. Under the lock.
AIO_FN aio_result aio__lane_thread(struct aio__lane *n)
{
    aio_result r = n->threads < AIO__LANE_THREADS ? aio__thread_new(aio__lane_worker, n) : -EBUSY;
    if (r >= 0) n->threads++, n->refs++;
    return r == -EBUSY ? 0 : r;
}
AIO_FN int aio__lane_more(void *arg)
{
    struct aio__lane *n = (struct aio__lane *)arg;
    n->more_asked = false;
    pthread_mutex_lock(&n->lock);
    for (unsigned i = n->idle; i < n->queued; i++) (void)aio__lane_thread(n);
    pthread_mutex_unlock(&n->lock);
    return 0;
}
AIO_FN struct aio__lane *aio__lane_of(aio_loop *l)
{
    if (l->lane) return l->lane;
    struct aio__lane *n = (struct aio__lane *)calloc(1, sizeof *n);
    if (!n) return 0;
    pthread_mutex_init(&n->lock, 0);
    pthread_cond_init(&n->work, 0);
    n->loop = l;
    n->refs = 1;
    l->lane = n;
    return n;
}
AIO_FN bool aio__stray_cancel(aio_waiter *w)
{
    struct aio__stray *j = (struct aio__stray *)w->node.u.p[0];
    struct aio__lane *n = j->lane;
    pthread_mutex_lock(&n->lock);
    int state = j->state;
    j->left = state != AIO__STRAY_ENDED;
    if (state == AIO__STRAY_QUEUED) aio__stray_take(n, j);
    if (state != AIO__STRAY_ENDED) aio__stray_forget(j);
    if (state == AIO__STRAY_RUNS && n->given_up < AIO__LANE_GIVEN_UP) {
        j->given_up = true;
        n->given_up++;
        n->threads--;
        if (n->queued && !n->more_asked)        // in a turn: those may be given up as well
            n->more_asked = aio_call_soon(n->loop, &n->more, aio__lane_more, n) >= 0;
    }
    pthread_mutex_unlock(&n->lock);
    if (state == AIO__STRAY_ENDED) return false;    // its result is on its way
    if (state == AIO__STRAY_QUEUED) (j->release)(j);
    aio_complete(w, -ECANCELED);
    return true;
}
AIO_TABLE(aio_wait_class, aio__stray_wait,
    { "name", AIO__WAIT_OWN, aio__stray_cancel, 0, 0, 0, 0, 0 })
// Begins to wait for a job, of which work, end and release are set. Result: 0; refused, the job is
// still the caller's: -ENOMEM, -EAGAIN (no thread), -EBADFD.
AIO_FN aio_result aio__stray_begin(aio_waiter *w, struct aio__stray *j)
{
    aio_loop *l = AIO__LOOP_OF(w->future.loop);
    if (!l->inbox || l->executor.refusal == -EBADFD) return -EBADFD;
    struct aio__lane *n = aio__lane_of(l);
    if (!n) return -ENOMEM;
    j->next = j->before = 0;
    j->loop = l;
    j->lane = n;
    j->waiter = w;
    j->state = AIO__STRAY_QUEUED;
    j->left = j->given_up = false;
    pthread_mutex_lock(&n->lock);
    aio_result r = n->queued >= n->idle ? aio__lane_thread(n) : 0;
    if (n->threads) {
        r = 0;
        j->prev = n->last;
        if (n->last) n->last->next = j;
        else n->first = j;
        n->last = j;
        n->queued++;
        pthread_cond_signal(&n->work);
    }
    pthread_mutex_unlock(&n->lock);
    if (r < 0) return r;
    j->after = n->all;
    if (j->after) j->after->before = j;
    n->all = j;
    l->in_flight++;
    w->node.u.p[0] = j;
    aio_waiter_begin(w, aio__stray_wait());
    return 0;
}
// The loop closes: what runs goes on alone.
AIO_FN void aio__lane_close(aio_loop *l)
{
    struct aio__lane *n = l->lane;
    if (!n) return;
    if (n->more_asked) aio_handle_cancel(&n->more);
    n->more_asked = false;
    pthread_mutex_lock(&n->lock);
    while (n->all) {
        struct aio__stray *j = n->all;
        j->left = true;
        j->waiter->node.cls = &aio__ready;      // a drop hook may cancel it
        aio__stray_forget(j);
        if (j->state != AIO__STRAY_RUNS) (j->release)(j);
    }
    n->first = n->last = 0;
    n->loop = 0;
    pthread_cond_broadcast(&n->work);
    l->lane = 0;
    aio__lane_unlock(n, 1);
}

// --- tasks from other threads
struct aio_thread_future {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    int refs;                       // under the lock: the handle, the loop's, a cancel's on its way
    bool done, cancel_asked, refused;
    pid_t pid;
    // Under the lock too. kept: its value is somebody's to release, so the task is still there.
    bool kept, taken, given_up;
    aio_result result;
    aio_loop *loop;                 // valid until done
    aio_task *task;                 // owner thread
    aio_thread_future *next, *prev; // of the loop's; owner thread
    aio_handle start, cancel;
    aio_callback watch;
    const aio_coroutine *coroutine;
    aio_frame *arguments;
};
AIO_SLOW void aio__thread_future_free(aio_thread_future *f)
{
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->ended);
    free(f);
}
// In a forked child: nobody completes it, and its lock may be held by a thread that is not here.
AIO_FN bool aio__thread_future_forked(const aio_thread_future *f)
{
    return !f->refused && f->pid != getpid();
}
AIO_FN int aio__thread_future_drop(void *arg);
AIO_TABLE(aio_wait_class, aio__thread_start_class,
    { "spawn", AIO__WAIT_THREAD_START, 0, 0, 0, aio__handle_run, 0, 0 })
// One reference less. The last one but the loop's: the loop releases a value that it keeps.
AIO_FN void aio__thread_future_unref(aio_thread_future *f, bool handle)
{
    pthread_mutex_lock(&f->lock);
    int refs = --f->refs;
    if (handle) f->given_up = true;
    if (refs == 1 && f->kept) {                 // while it keeps one the loop is there
        aio__handle_init(&f->start, f->loop, aio__thread_future_drop, f);
        f->start.node.cls = aio__thread_start_class();
        (void)aio__inbox_post(f->loop, &f->start);      // closed: the loop does it there
    }
    pthread_mutex_unlock(&f->lock);
    if (!refs) aio__thread_future_free(f);
}
AIO_FN void aio_thread_future_release(aio_thread_future *f)
{
    if (!f->refused && !aio__thread_future_forked(f)) aio__thread_future_unref(f, true);
}
AIO_FN void aio__thread_future_tell(aio_thread_future *f, aio_result r)
{
    pthread_mutex_lock(&f->lock);
    f->result = r;
    f->done = true;
    pthread_cond_broadcast(&f->ended);
    pthread_mutex_unlock(&f->lock);
}
AIO_SLOW void aio__thread_future_end(aio_thread_future *f, aio_result r)
{
    aio__thread_future_tell(f, r);
    aio__thread_future_unref(f, false);
}
AIO_FN void aio__thread_future_unlink(aio_thread_future *f)
{
    if (f->next) f->next->prev = f->prev;
    if (f->prev) f->prev->next = f->next;
    else f->loop->thread_futures = f->next;
}
// C-7: a value that nobody took goes to the drop hook, on the loop.
AIO_FN void aio__thread_future_forget(aio_thread_future *f)
{
    pthread_mutex_lock(&f->lock);
    if (f->taken) aio__took(&f->task->waiter.future);
    else f->result = -EBADFD;                   // only a loop that closes does it before its time
    f->kept = false;
    pthread_mutex_unlock(&f->lock);
    aio_detach(f->task);
    f->task = 0;
}
AIO_FN int aio__thread_future_drop(void *arg)
{
    aio_thread_future *f = (aio_thread_future *)arg;
    aio__thread_future_unlink(f);
    aio__thread_future_forget(f);
    aio__thread_future_unref(f, false);
    return 0;
}
// The task has ended with a value that has a drop hook: it is kept while somebody may take it.
// False: nobody can any more.
AIO_FN bool aio__thread_future_keep(aio_thread_future *f)
{
    pthread_mutex_lock(&f->lock);
    bool kept = f->kept = !f->given_up;
    f->result = f->task->waiter.future.result;
    f->done = true;
    pthread_cond_broadcast(&f->ended);
    pthread_mutex_unlock(&f->lock);
    return kept;
}
AIO_FN int aio__thread_future_watch(aio_future *done, void *arg)
{
    aio_thread_future *f = (aio_thread_future *)arg;
    if (aio__gives_value(done))
        return aio__thread_future_keep(f) ? 0 : aio__thread_future_drop(f);
    aio_result r = aio_future_result(done);
    aio__thread_future_unlink(f);
    aio_detach(f->task);
    f->task = 0;
    aio__thread_future_end(f, r);
    return 0;
}
// TH-3: the task is made on the loop.
AIO_FN int aio__thread_future_start(void *arg)
{
    aio_thread_future *f = (aio_thread_future *)arg;
    const aio_coroutine *co = f->coroutine;
    aio_task *t = aio__task_new(&f->loop->executor, co, co->size);
    aio_result r = t->waiter.future.flags & AIO__REFUSED ? t->waiter.future.result : 0;
    if (r < 0) {
        aio__frame_drop(f->arguments, r);
        aio__thread_future_end(f, r);
        return (int)r;
    }
    memcpy((void *)t->leaf, f->arguments, co->scratch->from ? co->scratch->from : co->size);
    aio__task_begin(t);
    f->task = t;
    f->next = f->loop->thread_futures;
    f->prev = 0;
    if (f->next) f->next->prev = f;
    f->loop->thread_futures = f;
    r = aio_future_add_done_callback(&t->waiter.future, &f->watch, aio__thread_future_watch, f);
    if (r < 0) {                    // nobody could be told: it does not run
        aio_task_cancel(t);
        aio__thread_future_unlink(f);
        aio_detach(t);
        f->task = 0;                // a cancel may be on its way
        aio__thread_future_end(f, r);
        return (int)r;
    }
    return 0;
}
AIO_FN aio_thread_future *aio__thread_future_new(const aio_coroutine *co)
{
    aio_thread_future *f =
        (aio_thread_future *)aligned_alloc(16, (sizeof *f + co->size + 31) & ~(size_t)15);
    if (!f) return 0;
    memset((void *)f, 0, sizeof *f);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&f->lock, 0);
    pthread_cond_init(&f->ended, &attributes);
    pthread_condattr_destroy(&attributes);
    f->refs = 2;
    f->pid = getpid();
    f->coroutine = co;
    f->arguments = (aio_frame *)(void *)((char *)f + ((sizeof *f + 15) & ~(size_t)15));
    aio__frame_init(co, f->arguments, co->size);
    return f;
}
AIO_FN AIO_NODISCARD aio_thread_future *aio__thread_future_post(aio_loop *l, aio_thread_future *f)
{
    f->loop = l;
    aio__handle_init(&f->start, l, aio__thread_future_start, f);
    f->start.node.cls = aio__thread_start_class();
    aio_result r = aio__inbox_post(l, &f->start);
    if (r >= 0) return f;
    aio__frame_drop(f->arguments, r);
    aio__thread_future_end(f, r);
    return f;
}
AIO_COLD aio_thread_future *aio__thread_future_refused(void)
{
    static aio_thread_future refused;       // never written again once it says so
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    if (!refused.refused) {
        refused.result = -ENOMEM;
        refused.done = true;
        refused.refused = true;
    }
    pthread_mutex_unlock(&lock);
    return &refused;
}
#ifdef AIO_STRICT
AIO_FN AIO_NODISCARD aio_thread_future *
aio__thread_future_from(aio_loop *l, const aio_coroutine *co, aio_frame *arguments)
{
    aio_thread_future *f = aio__thread_future_new(co);
    if (!f) {
        aio__frame_drop(arguments, -ENOMEM);
        return aio__thread_future_refused();
    }
    memcpy((void *)f->arguments, arguments, co->scratch->from ? co->scratch->from : co->size);
    return aio__thread_future_post(l, f);
}
#  define AIO__SPAWN_THREADSAFE(n, loop, name, ...) \
       aio__thread_future_from(loop, &AIO__CO(name), &AIO__INIT(name, __VA_ARGS__)->aio)
#else
#  define AIO__SPAWN_THREADSAFE(n, loop, name, ...) \
       AIO__SPAWN_THREADSAFE_(n, loop, name, __VA_ARGS__)
#  define AIO__SPAWN_THREADSAFE_(n, loop, name, ...) __extension__({ \
       aio_thread_future *AIO__V(future_, n) = aio__thread_future_new(&AIO__CO(name)); \
       if (AIO__V(future_, n)) { \
           struct name *AIO__V(frame_, n) = (struct name *)(void *)AIO__V(future_, n)->arguments; \
           (void)AIO__V(frame_, n); \
           AIO__SET(AIO__V(frame_, n), __VA_ARGS__) \
           AIO__V(future_, n) = aio__thread_future_post(loop, AIO__V(future_, n)); \
       } else { \
           AIO__REFUSE(AIO__V(refused_, n), -ENOMEM, name, __VA_ARGS__) \
           AIO__V(future_, n) = aio__thread_future_refused(); \
       } \
       AIO__V(future_, n); })
#endif
AIO_FN bool aio__own_thread(aio_loop *l)
{
    pthread_mutex_lock(&l->mailbox.lock);
    bool own = l->owned && pthread_equal(l->owner, pthread_self());
    pthread_mutex_unlock(&l->mailbox.lock);
    return own;
}
AIO_FN aio_result aio_thread_future_wait(aio_thread_future *f, int64_t ns)
{
    if (f->refused) return f->result;
    if (aio__thread_future_forked(f)) return -EPERM;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    if (ns < 0) ns = 0;
    if (ns != AIO_FOREVER) {
        int64_t nanoseconds = until.tv_nsec + ns % AIO_SECOND;
        until.tv_sec += (time_t)(ns / AIO_SECOND + nanoseconds / AIO_SECOND);
        until.tv_nsec = (long)(nanoseconds % AIO_SECOND);
    }
    int error = 0;
    pthread_mutex_lock(&f->lock);
    if (!f->done && aio__own_thread(f->loop)) error = EDEADLK;
    while (!f->done && !error)
        error = ns == AIO_FOREVER ? pthread_cond_wait(&f->ended, &f->lock)
                                  : pthread_cond_timedwait(&f->ended, &f->lock, &until);
    if (f->done) f->taken = true;
    aio_result r = f->done ? f->result : -error;
    pthread_mutex_unlock(&f->lock);
    return r;
}
AIO_FN int aio__thread_future_cancelled(void *arg)
{
    aio_thread_future *f = (aio_thread_future *)arg;
    if (f->task && !aio_task_done(f->task)) aio_task_cancel(f->task);
    aio__thread_future_unref(f, false);
    return 0;
}
AIO_FN bool aio_thread_future_cancel(aio_thread_future *f)
{
    if (f->refused || aio__thread_future_forked(f)) return false;
    pthread_mutex_lock(&f->lock);
    bool live = !f->done;
    if (live && !f->cancel_asked) {             // while it is not done the loop is there
        f->cancel_asked = true;
        f->refs++;
        aio__handle_init(&f->cancel, f->loop, aio__thread_future_cancelled, f);
        f->cancel.node.cls = aio__thread_start_class();
        if (aio__inbox_post(f->loop, &f->cancel) < 0) f->refs--;
    }
    pthread_mutex_unlock(&f->lock);
    return live;
}
AIO_FN aio_result aio_thread_future_result(aio_thread_future *f)
{
    if (f->refused) return f->result;
    if (aio__thread_future_forked(f)) return -EPERM;
    pthread_mutex_lock(&f->lock);
    if (f->done) f->taken = true;
    aio_result r = f->done ? f->result : -EINPROGRESS;
    pthread_mutex_unlock(&f->lock);
    return r;
}
AIO_FN bool aio_thread_future_done(aio_thread_future *f)
{
    if (f->refused || aio__thread_future_forked(f)) return true;
    pthread_mutex_lock(&f->lock);
    bool done = f->done;
    pthread_mutex_unlock(&f->lock);
    return done;
}
// The loop closes: who waits in another thread, perhaps in a job that the loop will wait for, is
// told. `left`: spawns and cancels that came too late.
AIO_FN void aio__thread_futures_tell(aio_loop *l, aio_handle *left)
{
    for (aio_handle *h = left, *next; h; h = next) {
        next = h->next;
        aio_thread_future *f = (aio_thread_future *)h->arg;
        if (h == &f->cancel) aio__thread_future_unref(f, false);
        if (h == &f->cancel || f->task) continue;       // a value to be dropped: below
        aio__frame_drop(f->arguments, -EBADFD);
        aio__thread_future_end(f, -EBADFD);
    }
    for (aio_thread_future *f = l->thread_futures; f; f = f->next) {
        bool ended = aio_task_done(f->task);
        if (ended && aio__gives_value(&f->task->waiter.future)) {
            (void)aio__thread_future_keep(f);
            aio__thread_future_forget(f);
            continue;
        }
        aio_result r = aio_task_result(f->task);
        aio__thread_future_tell(f, r == -EINPROGRESS ? -EBADFD : r);
    }
}
AIO_FN void aio__thread_futures_close(aio_loop *l)
{
    while (l->thread_futures) {
        aio_thread_future *f = l->thread_futures;
        aio__thread_future_unlink(f);
        aio__thread_future_unref(f, false);
    }
}

// --- watching steps: simulated order, its hash, blocked loops
// Permutes the tasks of a turn among themselves.
AIO_FN void aio__shuffle(aio_executor *x, uint32_t end)
{
    aio_loop *l = AIO__LOOP_OF(x);
    if (!l->seed) return;
    for (uint32_t i = x->head; i != end; i++) {
        uint32_t k = i + (uint32_t)(aio__random(&l->seed) % (end - i));
        uintptr_t *a = &x->ring[i & x->mask], *b = &x->ring[k & x->mask], was = *a;
        if ((*a & 7) != AIO__RUN_TASK || (*b & 7) != AIO__RUN_TASK) continue;
        *a = *b;
        *b = was;
    }
}
AIO_FN void aio__hash(aio_loop *l, uint64_t word)
{
    l->hash = (l->hash ^ word) * UINT64_C(0x100000001b3);
    l->hash ^= l->hash >> 29;
}
// What a callback is called, should it be slow: its storage may be gone then.
AIO_FN void aio__note_callback(aio_loop *l, const aio_node *n)
{
    uint32_t kind = n->cls->kind;
    l->step_what = n->cls->name;
    l->step_fn = 0;
    if (kind == AIO__WAIT_CALLBACK || kind == AIO__WAIT_THREAD_START)
        memcpy(&l->step_fn, &((const aio_handle *)(const void *)n)->fn, sizeof l->step_fn);
}
// A function's name if the program exports it, else the offset in its file that addr2line wants.
AIO_COLD void aio__function_name(void *fn, char *text, size_t size)
{
#ifdef AIO__HAS_EXECINFO
    char **names = backtrace_symbols(&fn, 1);
    snprintf(text, size, "%s", names ? names[0] : "?");
    free(names);
#else
    snprintf(text, size, "%p", fn);
#endif
}
AIO_COLD void aio__tell_slow(aio_loop *l, int64_t took)
{
    char text[320], name[240];
    if (l->step_site) {
        snprintf(text, sizeof text, "a step blocked the loop for %.3f s", (double)took / 1e9);
    } else {
        snprintf(name, sizeof name, "%s", l->step_what);
        if (l->step_fn) aio__function_name(l->step_fn, name, sizeof name);
        snprintf(text, sizeof text, "a callback blocked the loop for %.3f s: %s",
                 (double)took / 1e9, name);
    }
    aio__report(&l->executor, text, 0, 0, l->step_site);
}
// --- debug mode: what stands on the C stack of a step that has ended
// The C stack of steps reaches down from where the turn began; of what lies below, nothing lives
// when a step has returned. What lies above, as in main, is fine.
enum { AIO__STEP_STACK = 128 * 1024 };
AIO_FN bool aio__on_dead_stack(const aio_loop *l, const void *p, size_t size)
{
    uintptr_t at = (uintptr_t)p, high = (uintptr_t)l->step_stack;
    return at < high && at + size > high - AIO__STEP_STACK;
}
// The await of the user's at which a task stands, as far as it can be known.
AIO_COLD const aio_site *aio__user_site(const aio_loop *l, const aio_task *t)
{
    const aio_frame *outermost = (const aio_frame *)(const void *)(t + 1);
    for (const aio_frame *f = t->leaf; f && !aio__on_dead_stack(l, f, 1); f = f->parent)
        if (f->site->kind != AIO__SITE_NATIVE && f->site->kind != AIO__SITE_GUARD &&
            strncmp(f->site->body->coroutine->name, "aio__", 5)) return f->site;
    return outermost->site;
}
AIO_COLD void aio__tell_stack(aio_loop *l, const aio_task *t, const aio_site *site,
                              const char *text)
{
    for (size_t i = 0; i < 8; i++)
        if (l->stack_told[i] == site) return;
    l->stack_told[l->stack_tells++ % 8] = site;
    aio__report(&l->executor, text, 0, &t->waiter.future, site);
}
// Before its first step: words of a frame, thus arguments, that are addresses there.
AIO_COLD void aio__check_arguments(aio_loop *l, const aio_task *t, const aio_frame *f)
{
    const aio_coroutine *co = f->site->body->coroutine;
    size_t size = co->scratch->from ? co->scratch->from : co->size;
    for (size_t at = sizeof *f; at + sizeof(void *) <= size; at += sizeof(void *)) {
        void *p;
        memcpy(&p, (const char *)f + at, sizeof p);
        if (!aio__on_dead_stack(l, p, 1)) continue;
        aio__tell_stack(l, t, f->site, "an argument points to a local of a step that has ended");
        return;
    }
}
AIO_COLD bool aio__lives(const aio_executor *x, const aio_task *t)
{
    const aio_task *at = x->last;
    while (at && at != t) at = at->prev;
    return at != 0;
}
// A task's step is over, and it waits.
AIO_COLD void aio__check_stack(aio_loop *l, const aio_task *t)
{
    for (const aio_scope *s = t->scopes; s; s = s->outer)
        if (aio__on_dead_stack(l, s, 1)) {
            aio__panic(t, aio__user_site(l, t), "a scope (a limit, a group, an op) is a local");
            return;
        }
    for (const aio_frame *f = t->leaf; f; f = f->parent) {
        if (aio__on_dead_stack(l, f, 1)) {
            aio__panic(t, aio__user_site(l, t), "the frame of a call is a local");
            return;
        }
    }
    if (t->waiter.node.cls->kind == AIO__WAIT_SLEEP) return;
    for (size_t i = 0; i < 3; i++) {
        if (aio__on_dead_stack(l, (const void *)(uintptr_t)t->waiter.node.u.w[i], 1))
            aio__tell_stack(l, t, aio__user_site(l, t),
                            "an await was given the address of a local, which is gone meanwhile");
    }
}
AIO_COLD void aio__check_begin(aio_loop *l, const aio_task *t)
{
    l->step_stack = l->executor.stack_floor + AIO_CALL_STACK;
    if (!t) return;
    if (aio__on_dead_stack(l, t, 1)) aio__panic(0, 0, "a task's slot is a local");
    else if (t->leaf->site->kind == AIO__SITE_START) aio__check_arguments(l, t, t->leaf);
}

AIO_FN void aio__before_step(aio_executor *x, uintptr_t entry)
{
    aio_loop *l = AIO__LOOP_OF(x);
    struct aio_step s;
    if ((entry & 7) == AIO__RUN_NOTHING) return;
    if (AIO__UNLIKELY(l->debug))
        aio__check_begin(l, (entry & 7) == AIO__RUN_TASK ? (aio_task *)entry : 0);
    if (l->is_virtual && __builtin_add_overflow(l->now, l->options.step_ns, &l->now))   // J-8
        l->now = AIO_FOREVER;
    s.turn = x->turns;
    s.time = l->is_virtual ? l->now : 0;
    s.task = (entry & 7) == AIO__RUN_TASK ? (aio_task *)entry : 0;
    s.site = s.task ? s.task->leaf->site : 0;
    aio__hash(l, s.turn);
    aio__hash(l, (uint64_t)s.time);
    aio__hash(l, s.task ? s.task->id : 0);
    if (l->options.on_step) (l->options.on_step)(l, &s, l->options.context);
    l->step_site = s.site;
    if (!l->slow_step_ns) return;
    if (!s.task) aio__note_callback(l, (const aio_node *)(entry - AIO__RUN_NODE));
    l->step_began = aio__clock();
}
AIO_FN void aio__after_step(aio_executor *x, uintptr_t entry)
{
    aio_loop *l = AIO__LOOP_OF(x);
    if (AIO__UNLIKELY(l->debug) && (entry & 7) == AIO__RUN_TASK && aio__lives(x, (aio_task *)entry))
        aio__check_stack(l, (const aio_task *)entry);
    if (AIO__UNLIKELY(l->debug) && l->check_entries) (l->check_entries)(l);
    if (!l->slow_step_ns || (entry & 7) == AIO__RUN_NOTHING) return;
    int64_t took = aio__clock() - l->step_began;
    if (took >= l->slow_step_ns) aio__tell_slow(l, took);
}
AIO_TABLE(struct aio__observer, aio__loop_observer,
    { aio__shuffle, aio__before_step, aio__after_step })
AIO_FN void aio__observe(aio_loop *l)
{
    const char *seed = AIO__ENV("AIO_SEED"), *debug = AIO__ENV("AIO_DEBUG");
    l->seed = l->options.seed;
    if (!l->seed && seed) l->seed = strtoull(seed, 0, 0);
    l->first_seed = l->seed;
    l->timer_seed = l->seed ^ (l->seed ? UINT64_C(0x9e3779b97f4a7c15) : 0);    // D-4
    if (l->seed && !l->timer_seed) l->timer_seed = 1;
    l->debug = l->options.debug || (debug && *debug && *debug != '0');
    l->slow_step_ns = l->options.slow_step_ns;
    if (!l->slow_step_ns && l->debug) l->slow_step_ns = AIO_SECOND / 10;
    if (l->is_virtual) l->slow_step_ns = 0;             // its time stands still meanwhile
    if (l->seed || l->slow_step_ns || l->options.on_step || l->is_virtual || l->debug)
        l->executor.observer = aio__loop_observer();
}
AIO_FN uint64_t aio_loop_hash(const aio_loop *l) { return l->hash; }
// K-2, K-3: a simulation that does not come to an end.
AIO_COLD aio_result aio__limits(aio_loop *l)
{
    if (!l->is_virtual) return 0;
    if (l->options.end_ns && l->now > l->options.end_ns)
        return aio__loop_stuck(l, "the simulated time is over", -ETIMEDOUT);
    if (l->options.real_wait_ns && l->real_waited >= l->options.real_wait_ns) {
        l->real_waited = 0;         // what cleans up may wait again
        return aio__loop_stuck(l, "a real wait of the simulation does not end", -ETIMEDOUT);
    }
    if (l->now != l->instant) {
        l->instant = l->now;
        l->instant_turns = 0;
    }
    if (!l->options.turns_max || ++l->instant_turns <= l->options.turns_max) return 0;
    return aio__loop_stuck(l, "too many turns at one moment: something runs in circles", -ELOOP);
}

// --- signals: what all loops of the process share
#ifdef __cplusplus
extern "C" {
#endif
// Under aio__loops.lock, but for what handlers touch: `first` and its `next`, `running`.
struct aio__signal_post {           // of a loop
    struct aio__signal_post *next;
    struct aio__inbox *inbox;
    uint64_t wanted;                // atomic: numbers to post here
    uint32_t came[AIO__SIGNALS];    // atomic: not yet taken by the loop
    // The owner's.
    uint32_t users[AIO__SIGNALS];   // waits and holds
    aio_node *waiters;              // circular; u.w[2]: what it waits for
    aio_signals *holds;
    aio_loop *loop;
};
struct aio__signals {
    struct aio__signal_post *first;
    int running;                    // atomic: handlers that may look at posts
    uint32_t users[AIO__SIGNALS];   // loops that want it; written under the lock, atomic
    bool installed[AIO__SIGNALS];   // our handler; another copy's may stand over it
    bool left[AIO__SIGNALS];        // atomic: nobody here wants it, but another copy's is over ours
    bool chained[AIO__SIGNALS];     // atomic: what was there before is another copy's handler
    struct sigaction before[AIO__SIGNALS];
};
__attribute__((weak, visibility("hidden"))) struct aio__signals aio__signals;
struct aio__loops { pthread_mutex_t lock; aio_loop *first; bool watched; };
__attribute__((weak, visibility("hidden"))) struct aio__loops aio__loops =
    { PTHREAD_MUTEX_INITIALIZER, 0, false };
#ifdef __cplusplus
}
#endif
#define AIO__SIGNAL_BIT(n) (UINT64_C(1) << ((n) - 1))
// A program and the libraries that it loads each have a copy of this file, with a table of its own.
// They know each other's handlers by the signals that these leave unblocked, and each hands a
// signal on to the one that it found.
AIO_FN void aio__signal_action(struct sigaction *action, void (*handler)(int))
{
    memset(action, 0, sizeof *action);
    action->sa_handler = handler;
    action->sa_flags = SA_RESTART | SA_ONSTACK;
    sigfillset(&action->sa_mask);
    sigdelset(&action->sa_mask, SIGURG);
    sigdelset(&action->sa_mask, SIGSYS);
}
AIO_FN bool aio__is_copys_handler(const struct sigaction *action)
{
    const int flags = SA_RESTART | SA_ONSTACK;
    if ((action->sa_flags & (flags | SA_SIGINFO)) != flags) return false;
    for (int n = 1; n < 32; n++) {
        bool open = n == SIGURG || n == SIGSYS || n == SIGKILL || n == SIGSTOP;
        if ((sigismember(&action->sa_mask, n) == 0) != open) return false;
    }
    return true;
}
AIO_FN void aio__on_signal(int n);
// Nobody here wants it any more. What was there before gets it, unless another copy's handler has
// been put over ours: then that one does.
AIO_FN void aio__signal_pass(int n)
{
    struct sigaction now;
    if (sigaction(n, 0, &now)) return;
    bool left = __atomic_load_n(&aio__signals.left[n], __ATOMIC_SEQ_CST);
    if (left && now.sa_handler == aio__on_signal) sigaction(n, &aio__signals.before[n], 0);
    else if (left && aio__is_copys_handler(&now)) return;
    kill(getpid(), n);
}
// In whatever thread the kernel chose. Only atomic operations, write(2), sigaction(2) and kill(2).
AIO_FN void aio__on_signal(int n)
{
    int saved = errno;
    uint64_t one = 1;
    bool wanted = false, chained = __atomic_load_n(&aio__signals.chained[n], __ATOMIC_SEQ_CST);
    // Another copy's first: who is told here may take our handler away before it has looked.
    if (chained) aio__signals.before[n].sa_handler(n);
    __atomic_add_fetch(&aio__signals.running, 1, __ATOMIC_SEQ_CST);
    struct aio__signal_post *p = __atomic_load_n(&aio__signals.first, __ATOMIC_SEQ_CST);
    for (; p; p = __atomic_load_n(&p->next, __ATOMIC_SEQ_CST)) {
        if (!(__atomic_load_n(&p->wanted, __ATOMIC_SEQ_CST) & AIO__SIGNAL_BIT(n))) continue;
        wanted = true;
        __atomic_add_fetch(&p->came[n], 1, __ATOMIC_SEQ_CST);
        __atomic_store_n(&p->inbox->full, 1, __ATOMIC_SEQ_CST);
        if (write(p->inbox->wake_write_fd, &one, sizeof one) < 0) {}
    }
    __atomic_sub_fetch(&aio__signals.running, 1, __ATOMIC_SEQ_CST);
    if (!wanted && !chained) aio__signal_pass(n);
    errno = saved;
}
// Puts our handler in, unless it is still there, perhaps under another copy's.
AIO_FN aio_result aio__signal_install(int n)
{
    struct sigaction action, now;
    struct aio__signals *all = &aio__signals;
    if (sigaction(n, 0, &now)) return -errno;
    __atomic_store_n(&all->left[n], false, __ATOMIC_SEQ_CST);
    if (all->installed[n] && (now.sa_handler == aio__on_signal || aio__is_copys_handler(&now)))
        return 0;
    // A handler of the time before may still run in another thread.
    __atomic_store_n(&all->chained[n], false, __ATOMIC_SEQ_CST);
    all->before[n] = now;
    __atomic_store_n(&all->chained[n], aio__is_copys_handler(&now), __ATOMIC_SEQ_CST);
    aio__signal_action(&action, aio__on_signal);
    if (sigaction(n, &action, 0)) return -errno;
    all->installed[n] = true;
    return 0;
}
// Puts back what was there before, if our handler is what stands there. Under another copy's it
// stays, and hands on what comes.
AIO_FN void aio__signal_remove(int n)
{
    struct sigaction now;
    struct aio__signals *all = &aio__signals;
    if (sigaction(n, 0, &now)) return;
    if (now.sa_handler == aio__on_signal) sigaction(n, &all->before[n], 0);
    all->installed[n] = now.sa_handler != aio__on_signal && aio__is_copys_handler(&now);
    __atomic_store_n(&all->left[n], all->installed[n], __ATOMIC_SEQ_CST);
}
// A loop wants signal n from now on, or no longer.
AIO_FN aio_result aio__signal_catch(struct aio__signal_post *p, int n)
{
    aio_result r = 0;
    pthread_mutex_lock(&aio__loops.lock);
    __atomic_or_fetch(&p->wanted, AIO__SIGNAL_BIT(n), __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&aio__signals.users[n], 1, __ATOMIC_SEQ_CST);
    if (aio__signals.users[n] == 1 && (r = aio__signal_install(n)) < 0) {
        __atomic_sub_fetch(&aio__signals.users[n], 1, __ATOMIC_SEQ_CST);
        __atomic_and_fetch(&p->wanted, ~AIO__SIGNAL_BIT(n), __ATOMIC_SEQ_CST);
    }
    pthread_mutex_unlock(&aio__loops.lock);
    return r;
}
AIO_FN void aio__signal_uncatch(struct aio__signal_post *p, int n)
{
    pthread_mutex_lock(&aio__loops.lock);
    if (!__atomic_sub_fetch(&aio__signals.users[n], 1, __ATOMIC_SEQ_CST)) aio__signal_remove(n);
    __atomic_and_fetch(&p->wanted, ~AIO__SIGNAL_BIT(n), __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&aio__loops.lock);
}
// A forked child: nobody waits here. Called under the lock.
AIO_FN void aio__signals_forked(void)
{
    for (int n = 1; n < AIO__SIGNALS; n++) {
        if (aio__signals.installed[n]) aio__signal_remove(n);
        aio__signals.users[n] = 0;
    }
    aio__signals.first = 0;
    aio__signals.running = 0;
}

// --- SIGINT in a run (RN-5): the first one cancels the main task, a second one ends the process
#ifdef __cplusplus
extern "C" {
#endif
struct aio__interrupt { aio_loop *loop; volatile sig_atomic_t count; struct sigaction before; };
__attribute__((weak, visibility("hidden"))) struct aio__interrupt aio__interrupt;
#ifdef __cplusplus
}
#endif
// It does its work in the main thread, which owns that loop: it cannot be closed meanwhile.
AIO_FN void aio__on_sigint(int signal_number)
{
    int saved = errno;
    if (getpid() != (pid_t)syscall(SYS_gettid)) {
        syscall(SYS_tgkill, getpid(), getpid(), signal_number);
        errno = saved;
        return;
    }
    uint64_t one = 1;
    struct aio__inbox *in = aio__interrupt.loop ? &aio__interrupt.loop->mailbox : 0;
    aio__interrupt.count = aio__interrupt.count + 1;
    if (aio__interrupt.count > 1 || !in) {
        signal(signal_number, SIG_DFL);
        raise(signal_number);
        return;
    }
    __atomic_store_n(&in->full, 1, __ATOMIC_SEQ_CST);
    if (write(in->wake_write_fd, &one, sizeof one) < 0) {}
    errno = saved;
}
// True: this run catches it, and gives it back. Not so a run inside it.
AIO_FN bool aio__catch_sigint(aio_loop *l)
{
    struct sigaction action;
    if (aio__interrupt.loop || sigaction(SIGINT, 0, &aio__interrupt.before)) return false;
    if (aio__interrupt.before.sa_handler != SIG_DFL || getpid() != (pid_t)syscall(SYS_gettid))
        return false;
    memset(&action, 0, sizeof action);
    action.sa_handler = aio__on_sigint;
    aio__interrupt.count = 0;
    __atomic_store_n(&aio__interrupt.loop, l, __ATOMIC_RELAXED);
    sigaction(SIGINT, &action, 0);
    return true;
}
AIO_FN void aio__release_sigint(void)
{
    struct sigaction now, *held = &aio__signals.before[SIGINT];
    bool ours = !sigaction(SIGINT, 0, &now) && now.sa_handler == aio__on_sigint;
    if (ours) sigaction(SIGINT, &aio__interrupt.before, 0);
    else if (aio__signals.installed[SIGINT] && held->sa_handler == aio__on_sigint)
        *held = aio__interrupt.before;
    __atomic_store_n(&aio__interrupt.loop, (aio_loop *)0, __ATOMIC_RELAXED);
}
// A SIGINT that the main task has not been told of.
AIO_FN bool aio__interrupt_left(const aio_loop *l)
{
    return l->main && !l->interrupted &&
           __atomic_load_n(&aio__interrupt.loop, __ATOMIC_RELAXED) == l && aio__interrupt.count;
}
// Called when the inbox says that something came.
AIO_FN void aio__take_interrupt(aio_loop *l)
{
    if (!aio__interrupt_left(l) || aio_task_done(l->main)) return;
    l->interrupted = true;
    aio_task_cancel(l->main);
}

// --- signals: waits and holds
AIO_FN uint64_t aio__signal_mask(int n, ...)        // ends with INT_MIN; 0: one is none
{
    uint64_t mask = 0;
    va_list more;
    va_start(more, n);
    for (; n != INT_MIN; n = va_arg(more, int)) {
        if (n < 1 || n >= AIO__SIGNALS || n == SIGKILL || n == SIGSTOP) {
            mask = 0;
            break;
        }
        mask |= AIO__SIGNAL_BIT(n);
    }
    va_end(more);
    return mask;
}
AIO_FN struct aio__signal_post *aio__signal_post_of(aio_loop *l)
{
    if (l->signals) return l->signals;
    struct aio__signal_post *p =
        (struct aio__signal_post *)aio__chunk_new(&l->executor, sizeof *p);
    if (!p) return 0;
    memset((void *)p, 0, sizeof *p);
    p->inbox = &l->mailbox;
    p->loop = l;
    l->signals = p;
    pthread_mutex_lock(&aio__loops.lock);
    p->next = aio__signals.first;
    __atomic_store_n(&aio__signals.first, p, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&aio__loops.lock);
    return p;
}
AIO_FN void aio__signals_disarm(struct aio__signal_post *p, uint64_t mask)
{
    if (p->loop->forked) return;            // the parent's
    p->loop->in_flight--;
    for (int n = 1; n < AIO__SIGNALS; n++)
        if ((mask & AIO__SIGNAL_BIT(n)) && !--p->users[n]) aio__signal_uncatch(p, n);
}
// One wait or hold more for these. Outside work (virtual clock, deadlock) while it lasts.
AIO_FN aio_result aio__signals_arm(aio_loop *l, uint64_t mask)
{
    if (l->forked) return -EPERM;
    if (l->closed || l->executor.refusal == -EBADFD) return -EBADFD;
    if (!mask) return -EINVAL;
    struct aio__signal_post *p = aio__signal_post_of(l);
    if (!p) return -ENOMEM;
    l->in_flight++;
    for (int n = 1; n < AIO__SIGNALS; n++) {
        if (!(mask & AIO__SIGNAL_BIT(n)) || p->users[n]++) continue;
        aio_result r = aio__signal_catch(p, n);
        if (r >= 0) continue;
        p->users[n]--;
        aio__signals_disarm(p, mask & (AIO__SIGNAL_BIT(n) - 1));
        return r;
    }
    return 0;
}
// The task that waits with w, perhaps through an op.
AIO_FN aio_task *aio__waiting_task(aio_waiter *w)
{
    if (w->future.flags & AIO__IS_TASK) return AIO__TASK_OF(w);
    return w->future.flags & AIO__IS_OP ? AIO__CONTAINER(w, aio_op, waiter)->owner : 0;
}
// SG-2: n came once more. Tasks that wait for it go on; holds of the others remember it.
AIO_FN void aio__signal_came(struct aio__signal_post *p, int n)
{
    aio_node *left = p->waiters, *node;
    for (aio_signals *h = p->holds; h; h = h->next) h->told = !(h->mask & AIO__SIGNAL_BIT(n));
    p->waiters = 0;
    while ((node = left) != 0) {
        aio_waiter *w = aio__waiter_of(node);
        uint64_t mask = node->u.w[2];
        aio__ring_remove(&left, node);
        if (!(mask & AIO__SIGNAL_BIT(n))) {
            aio__ring_add(&p->waiters, node);
            continue;
        }
        for (aio_signals *h = p->holds; h; h = h->next)
            if (h->scope.task == aio__waiting_task(w)) h->told = true;
        aio__signals_disarm(p, mask);
        aio__complete_as(w, n, aio__settled());     // a cancel from now on does not lose it
    }
    for (aio_signals *h = p->holds; h; h = h->next)
        if (!h->told && h->came[n] != UINT8_MAX) h->came[n]++;
}
// Called when the inbox says that something came.
AIO_COLD void aio__signals_take(struct aio__signal_post *p)
{
    for (int n = 1; n < AIO__SIGNALS; n++) {
        uint32_t times = __atomic_load_n(&p->came[n], __ATOMIC_SEQ_CST);
        if (times) times = __atomic_exchange_n(&p->came[n], 0, __ATOMIC_SEQ_CST);
        if (times > UINT8_MAX) times = UINT8_MAX;       // more are not remembered
        if (times && !p->users[n]) {        // its wait was cancelled in the meantime
            kill(getpid(), n);
            continue;
        }
        while (times--) aio__signal_came(p, n);
    }
}
AIO_FN bool aio__signals_left(const aio_loop *l)
{
    if (!l->signals) return false;
    for (int n = 1; n < AIO__SIGNALS; n++)
        if (__atomic_load_n(&l->signals->came[n], __ATOMIC_SEQ_CST)) return true;
    return false;
}
AIO_FN void aio__signal_dispose(aio_waiter *w)
{
    struct aio__signal_post *p = AIO__LOOP_OF(w->future.loop)->signals;
    aio__ring_remove(&p->waiters, &w->node);
    aio__signals_disarm(p, w->node.u.w[2]);
}
AIO_FN bool aio__signal_cancel(aio_waiter *w)
{
    aio__signals_take(AIO__LOOP_OF(w->future.loop)->signals);
    if (w->node.cls->kind == AIO__WAIT_READY) return false;     // it came since this turn began
    aio__signal_dispose(w);
    aio_complete(w, -ECANCELED);
    return true;
}
AIO_FN size_t aio__signal_describe(const aio_waiter *w, char *text, size_t size)
{
    const char *before = "signal ";
    size_t at = 0;
    for (unsigned n = 1; n < AIO__SIGNALS; n++) {
        if (!(w->node.u.w[2] & AIO__SIGNAL_BIT(n))) continue;
        at = aio__append_number(text, size, aio__append(text, size, at, before), n);
        before = " or ";
    }
    return at;
}
AIO_TABLE(aio_wait_class, aio__signal_wait_class,
    { "signal", AIO__WAIT_OWN, aio__signal_cancel, 0, 0, 0, aio__signal_describe,
      aio__signal_dispose })
// Takes one that came while this task did not wait; 0: there is none.
AIO_FN int aio__signal_kept(aio_waiter *w, uint64_t mask)
{
    struct aio__signal_post *p = AIO__LOOP_OF(w->future.loop)->signals;
    for (aio_signals *h = p ? p->holds : 0; h; h = h->next) {
        for (int n = 1; n < AIO__SIGNALS && h->scope.task == aio__waiting_task(w); n++) {
            if (!(mask & AIO__SIGNAL_BIT(n)) || !h->came[n]) continue;
            h->came[n]--;
            return n;
        }
    }
    return 0;
}
AIO_FN bool aio__signal_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_loop *l = AIO__LOOP_OF(w->future.loop);
    int kept = aio__signal_kept(w, a->u.w[0]);
    aio_result r = kept ? kept : aio__signals_arm(l, a->u.w[0]);
    if (r) return aio__done_with(w, r);
    aio__ring_add(&l->signals->waiters, &w->node);
    w->node.u.w[2] = a->u.w[0];
    aio_waiter_begin(w, aio__signal_wait_class());
    return false;
}
AIO_TABLE(aio_await_class, aio__signal_await, { aio__signal_start, "signal", AIO__AWAIT_OWN })
AIO_FN AIO_NODISCARD aio_awaitable aio__signal_wait(uint64_t mask)
{
    aio_awaitable a;
    a.cls = aio__signal_await();
    a.u.w[0] = mask;
    return a;
}
AIO_FN void aio_signal_release(aio_signals *s)
{
    if (!s->task) return;
    aio_task *t = s->scope.task;
    struct aio__signal_post *p = AIO__LOOP_OF(t->waiter.future.loop)->signals;
    if (s->next) s->next->prev = s->prev;
    if (s->prev) s->prev->next = s->next;
    else p->holds = s->next;
    aio__signals_disarm(p, s->mask);
    for (int n = 1; n < AIO__SIGNALS; n++)
        if ((s->mask & AIO__SIGNAL_BIT(n)) && !p->users[n])
            __atomic_store_n(&p->came[n], 0, __ATOMIC_SEQ_CST);
    aio_scope_leave(&s->scope, t);
    s->task = 0;
}
AIO_FN aio_result aio__signals_scope_exit(aio_scope *s, aio_task *t, aio_result r)
{
    (void)t;
    aio_signal_release(AIO__CONTAINER(s, aio_signals, scope));
    return r;
}
AIO_TABLE(aio_scope_class, aio__signals_scope,
    { "signals", aio__signals_scope_exit, AIO__SCOPE_PLAIN })
AIO_FN aio_result aio__signal_hold(aio_signals *s, uint64_t mask)
{
    aio_task *t = aio_current_task();
    if (!t || s->task) return -EINVAL;
    aio_loop *l = AIO__LOOP_OF(t->waiter.future.loop);
    aio_result r = aio__signals_arm(l, mask);
    if (r < 0) return r;
    memset((void *)s, 0, sizeof *s);
    s->task = t;
    s->mask = mask;
    s->next = l->signals->holds;
    if (s->next) s->next->prev = s;
    l->signals->holds = s;
    aio_scope_enter(&s->scope, t, aio__signals_scope());
    return 0;
}
// The loop closes: dispositions are put back; no handler looks at the post any more.
AIO_FN void aio__signals_close(aio_loop *l)
{
    struct aio__signal_post *p = l->signals, **at = &aio__signals.first;
    if (!p) return;
    while (p->waiters) {                            // a drop hook may cancel it
        aio_waiter *w = aio__waiter_of(p->waiters);
        aio__signal_dispose(w);
        w->node.cls = &aio__ready;
    }
    while (p->holds) {
        aio_signals *s = p->holds;
        p->holds = s->next;
        aio__signals_disarm(p, s->mask);
        s->task = 0;
    }
    pthread_mutex_lock(&aio__loops.lock);
    while (*at != p) at = &(*at)->next;
    __atomic_store_n(at, p->next, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&aio__loops.lock);
    while (__atomic_load_n(&aio__signals.running, __ATOMIC_SEQ_CST)) sched_yield();
    aio__chunk_free(&l->executor, p);
    l->signals = 0;
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
// Does something outside owe an answer: an operation, a job, a thread that was announced?
AIO_INLINE bool aio__owed(const aio_loop *l)
{
    return l->in_flight || __atomic_load_n(&l->inbox->guests, __ATOMIC_ACQUIRE) ||
           (l->siblings && l->receivers);
}
// Does the main task wait for t, perhaps through others?
AIO_COLD bool aio__main_awaits(const aio_loop *l, aio_task *t)
{
    for (uint32_t limit = l->executor.live; t != l->main && limit; limit--)
        if (!aio_task_awaited_by(t, &t, 1)) return false;
    return t == l->main;
}
// Does a run that catches SIGINT wait for it? It does if the main task waits for something that can
// be meant to last until then: a sleep without limit, or an event. What else cannot come is a
// deadlock.
AIO_COLD bool aio__waits_for_sigint(const aio_loop *l)
{
    if (!l->main || l->is_virtual || __atomic_load_n(&aio__interrupt.loop, __ATOMIC_RELAXED) != l)
        return false;
    for (aio_task *t = l->executor.first; t; t = t->next) {
        uint32_t kind = aio__last_wait(&t->waiter)->node.cls->kind;
        if ((kind == AIO__WAIT_SLEEP || kind == AIO__WAIT_EVENT) && aio__main_awaits(l, t))
            return true;
    }
    return false;
}
AIO_COLD aio_result aio__deadlock(aio_loop *l)
{
    return aio__loop_stuck(l, "deadlock: every task waits for something that cannot come",
                           -EDEADLK);
}
// How long a turn may wait: 0, nanoseconds, AIO_FOREVER; or -EDEADLK. Moves the virtual clock (J-1,
// J-4).
AIO_FN int64_t aio__patience(aio_loop *l)
{
    if (l->executor.head != l->executor.tail || l->stopping || aio__inbox_full(l)) return 0;
    int64_t when = l->timer_count ? l->timers[0].when : AIO_FOREVER;
    if (l->timer_count && !l->is_virtual) {
        int64_t now = aio__clock();
        return when > now ? when - now : 0;
    }
    if (when <= l->now) return 0;
    // J-6: time stands still while the world owes an answer
    if (aio__owed(l)) return AIO_FOREVER;
    if (aio__inbox_full(l)) return 0;       // a thread that has left since may have called before
    if (!l->timer_count && !l->is_virtual && !AIO__SINGLE_THREADED) return AIO_FOREVER;
    if (!l->timer_count) return aio__waits_for_sigint(l) ? AIO_FOREVER : -EDEADLK;
    if (l->no_jump) return -EAGAIN;
    l->now = when;
    return 0;
}
AIO_FN void aio__real_wait(aio_loop *l, int64_t timeout_ns)
{
    if (timeout_ns && !aio__about_to_sleep(l)) timeout_ns = 0;
#ifdef AIO__BACKEND_WAIT            // this file's own backend, by name
    if (AIO__LIKELY(l->backend && l->backend->wait == AIO__BACKEND_WAIT))
        AIO__BACKEND_WAIT(l, timeout_ns);
    else
#endif
    if (l->backend) (l->backend->wait)(l, timeout_ns);
    else if (timeout_ns) aio__plain_wait(l, timeout_ns);
    if (timeout_ns) aio__woke_up(l);
}
// The virtual clock waits for the real world. It stands still meanwhile, or moves along, but not
// past the next timer (J-4); .real_wait_ns limits a wait in which nothing happens.
AIO_SLOW void aio__virtual_wait(aio_loop *l)
{
    const struct aio_loop_options *o = &l->options;
    int64_t patience = o->real_wait_ns ? o->real_wait_ns - l->real_waited : AIO_FOREVER;
    int64_t until = l->timer_count ? l->timers[0].when : AIO_FOREVER;
    if (o->end_ns && o->end_ns < until) until = o->end_ns + 1;
    if (until < l->now) until = l->now;             // a step took it past the end
    if (o->flow_in_flight && until != AIO_FOREVER && until - l->now < patience)
        patience = until - l->now;
    int64_t took = aio__clock();
    aio__real_wait(l, patience > 0 ? patience : 0);
    took = aio__clock() - took;
    if (o->flow_in_flight) l->now = took < until - l->now ? l->now + took : until;
    bool happened = l->executor.head != l->executor.tail || aio__inbox_full(l) ||
                    (o->flow_in_flight && l->now == until);
    l->real_waited = happened ? 0 : l->real_waited + took;
}
AIO_INLINE void aio__loop_wait(aio_loop *l, int64_t timeout_ns)
{
    if (AIO__UNLIKELY(l->is_virtual && timeout_ns)) aio__virtual_wait(l);
    else aio__real_wait(l, timeout_ns);
}
// One turn (L-1): wait or poll, queue what is due, run exactly what is ready then.
AIO_FN aio_result aio__loop_turn(aio_loop *l)
{
    int64_t patience = aio__patience(l);
    if (AIO__UNLIKELY(patience < 0)) return patience == -EAGAIN ? patience : aio__deadlock(l);
    if (l->backend || patience) aio__loop_wait(l, patience);
    if (AIO__UNLIKELY(l->limited) && (patience = aio__limits(l)) < 0) return patience;
    bool full = AIO__UNLIKELY(aio__inbox_full(l));
    if (full) aio__take_interrupt(l);
    if (full && l->signals) aio__signals_take(l->signals);
    if (full) aio__inbox_drain(l, false);
    if (l->timer_count) aio__timers_due(l, aio_loop_time(l));
    if (full && aio__inbox_full(l) && l->executor.head == l->executor.tail)
        aio__inbox_drain(l, true);
    aio_executor_turn(&l->executor);
    return AIO__UNLIKELY(l->forked) ? -EPERM : 0;
}

// --- fork: the child inherits memory that it must not touch
AIO_FN void aio__before_fork(void) { pthread_mutex_lock(&aio__loops.lock); }
AIO_FN void aio__in_parent(void) { pthread_mutex_unlock(&aio__loops.lock); }
AIO_FN void aio__in_forked_child(void)
{
    for (aio_loop *l = aio__loops.first; l; l = l->next) {
        l->forked = true;
        l->executor.refusal = -EPERM;
        l->executor.limit = 0;
        l->executor.head = l->executor.tail;        // the rest of the turn is the parent's
        if (l->backend && l->backend->forked) (l->backend->forked)(l);
    }
    aio__loops.first = 0;
    aio__signals_forked();
    if (aio__interrupt.loop) aio__release_sigint();     // SIGINT ends the child
    pthread_mutex_unlock(&aio__loops.lock);
}
AIO_FN bool aio__loop_is_open(const aio_executor *x)
{
    pthread_mutex_lock(&aio__loops.lock);
    const aio_loop *l = aio__loops.first;
    while (l && &l->executor != x) l = l->next;
    pthread_mutex_unlock(&aio__loops.lock);
    return l != 0;
}
AIO_FN void aio__loop_link(aio_loop *l)
{
    pthread_mutex_lock(&aio__loops.lock);
    aio__is_open = aio__loop_is_open;
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
AIO_FN void aio__ignore_sigpipe(void)   // who writes to what nobody reads is told by a result
{
    struct sigaction now;
    if (!sigaction(SIGPIPE, 0, &now) && now.sa_handler == SIG_DFL) signal(SIGPIPE, SIG_IGN);
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
    aio__observe(l);
    l->limited = l->options.turns_max || l->options.end_ns || l->options.real_wait_ns;
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
    if (l->closed || l->closing) return -EBADFD;
    if (l->pid != getpid()) return -EPERM;
    if (!l->owned) {
        pthread_mutex_lock(&l->mailbox.lock);       // others may ask whose it is
        l->owned = true;
        l->owner = pthread_self();
        pthread_mutex_unlock(&l->mailbox.lock);
    }
    return pthread_equal(l->owner, pthread_self()) ? 0 : -EPERM;
}
AIO_FN aio_result aio_loop_close(aio_loop *l)
{
    if (l->runs || l->closing) return -EBUSY;           // L-12
    if (l->closed) return 0;
    aio_result r = aio__loop_own(l);
    if (r < 0) return r;
    l->closing = true;
    l->executor.refusal = -EBADFD;
    l->executor.limit = 0;
    aio__loop_unlink(l);
    aio__thread_futures_tell(l, aio__inbox_close(l));
    aio__signals_close(l);
    aio__lane_close(l);
    aio__pool_close(l);
    if (l->backend) (l->backend->drain)(l);
    aio__inbox_free(l);
    const aio_backend *backend = l->backend;
    aio__handles_forget(l);
    aio__executor_drop(&l->executor);
    aio__letters_close(l);
    aio__thread_futures_close(l);
    if (backend) (backend->close)(l);
    if (l->abandoned) l->executor.chunks = 0;
    aio_executor_close(&l->executor);
    l->timers = 0;
    l->timer_count = l->timer_capacity = 0;
    l->closed = true;
    l->closing = false;
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
    if (!running || running->refusal == -EPERM ||
        (running == &l->executor && l->options.allow_nested))
        return 0;
    aio__loop_say(l, running == &l->executor
        ? "run refused: this loop is running; await instead, or set .allow_nested"
        : "run refused: another loop runs in this thread; await instead, or use a thread", -EBUSY);
    return -EBUSY;
}
// Is there something to run up to a moment of the virtual clock?
AIO_FN bool aio__sim_busy(const aio_loop *l, int64_t until)
{
    if (l->executor.head != l->executor.tail || aio__inbox_full(l)) return true;
    return l->timer_count && l->timers[0].when <= until;
}
AIO_FN aio_result aio_sim_advance(aio_loop *l, int64_t ns)
{
    aio_result r = l->is_virtual ? aio__run_allowed(l) : -EINVAL;
    if (r < 0) return r;
    aio_executor *outer = aio__running_executor;
    int64_t until = aio__deadline(l, ns > 0 ? ns : 0);
    bool no_jump = l->no_jump;
    aio__running_executor = &l->executor;
    l->no_jump = false;
    l->runs++;
    // With .step_ns what runs moves the clock too.
    while (r >= 0 && !l->stopping && aio__sim_busy(l, until) && (ns <= 0 || l->now <= until))
        r = aio__loop_turn(l);
    l->runs--;
    l->no_jump = no_jump;
    aio__running_executor = outer;
    if (r >= 0 && !l->stopping && l->now < until) l->now = until;
    l->stopping = false;
    return r;
}
AIO_FN aio_result aio_sim_run_until_idle(aio_loop *l) { return aio_sim_advance(l, 0); }
AIO_FN void aio_sim_set_autojump(aio_loop *l, bool on) { l->no_jump = !on; }
// Watches what a run waits for, as a done-callback would. It is in the run's C stack frame, and
// taken back on every way out (L-8).
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
    aio__took(f);
    u->result = f->result;
    u->state = AIO__UNTIL_QUEUED;
    u->at = aio__push(f->loop, (uintptr_t)n | AIO__RUN_NODE);
}
AIO_FN void aio__until_run(aio_node *n)
{
    ((struct aio__until *)(void *)n)->state = AIO__UNTIL_OVER;
}
AIO_TABLE(aio_wait_class, aio__until_class,
    { "run", AIO__WAIT_OWN, 0, 0, aio__until_notify, aio__until_run, 0, 0 })
AIO_FN aio_result aio__run_until_future(aio_loop *l, aio_future *f)
{
    if (f->flags & AIO__REFUSED) return f->result;
    aio_result r = aio__run_allowed(l);
    if (r < 0) return r;
    if (!aio__future_bind(f, &l->executor)) return -EXDEV;
    struct aio__until u;
    if ((r = aio__reserve(&l->executor)) < 0) return r;
    u.node.cls = aio__until_class();
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
AIO_FN aio_result aio__run_until_task(aio_loop *l, aio_task *t)
{
    return aio__run_until_future(l, &t->waiter.future);
}
#ifdef __cplusplus
AIO_FN aio_result aio_loop_run_until_complete(aio_loop *l, aio_task *t)
{
    return aio__run_until_task(l, t);
}
AIO_FN aio_result aio_loop_run_until_complete(aio_loop *l, aio_future *f)
{
    return aio__run_until_future(l, f);
}
#endif

// --- the end of a run
AIO_FN int aio__nothing(void *arg) { (void)arg; return 0; }
// Was it cancelled in this pass?
AIO_FN bool aio__reached(const aio_task *t)
{
    return t && t->extra && t->extra->pass == t->waiter.future.loop->pass;
}
// Tells which tasks have not ended although they were cancelled, and where they took the cancel.
AIO_COLD void aio__tell_stubborn(aio_loop *l)
{
    for (aio_task *t = l->executor.first; aio__reached(t); t = t->next) {
        uint32_t count;
        const aio_site *site = aio_task_swallowed(t, &count);
        aio__report(&l->executor, "task was cancelled and does not end; it was cancelled last", 0,
                    &t->waiter.future, site ? site : t->leaf->site);
    }
}
// Tasks go on making new ones, and the time is over: what lives is told, and nothing more begins.
AIO_COLD void aio__refuse_spawns(aio_loop *l)
{
    for (aio_task *t = l->executor.first; t; t = t->next)
        aio__report(&l->executor, "task was spawned while the run ends; no more are", 0,
                    &t->waiter.future, t->leaf->site);
    aio__refuse_tasks(&l->executor);
}
// Cancels all that lives, once each: a task through which the cancel of another one went has had
// its own. So a chain of n tasks takes n steps.
AIO_FN void aio__cancel_every_task(aio_executor *x)
{
    x->pass++;
    for (aio_task *t = x->first; t; t = t->next)
        if (!aio__reached(t)) aio_task_cancel(t);
}
// Makes turns until what was cancelled has ended, or it is `end`; one at least.
AIO_FN aio_result aio__shutdown_pass(aio_loop *l, int64_t end)
{
    aio_handle limit;
    aio_result r;
    // The virtual clock gets there without a timer, and then tells a deadlock at once.
    if (l->is_virtual || aio_call_at(l, &limit, end, aio__nothing, 0) < 0) limit.loop = 0;
    do {
        l->stopping = false;
        r = aio__loop_turn(l);
    } while (r >= 0 && aio__reached(l->executor.first) && aio_loop_time(l) < end);
    aio_handle_cancel(&limit);
    return r;
}
// Cancels all that lives and gives it time to clean up; again for what it spawned meanwhile, and
// for what does not end (RN-3, RN-4).
AIO_FN void aio__shutdown(aio_loop *l)
{
    aio_executor *x = &l->executor;
    aio_result r = 0;
    l->instant_turns = 0;                   // limits that were reached leave room to clean up
    if (l->options.end_ns) l->options.end_ns = aio__deadline(l, l->options.shutdown_ns);
    int64_t last_spawn = aio__deadline(l, l->options.shutdown_ns);
    bool stubborn = false;
    while (x->first && r >= 0 && !l->forked) {
        if (!stubborn && !x->no_spawns && aio_loop_time(l) >= last_spawn) aio__refuse_spawns(l);
        aio__cancel_every_task(x);
        r = aio__shutdown_pass(l, aio__deadline(l, l->options.shutdown_ns));
        stubborn = aio__reached(x->first);
        if (r >= 0 && stubborn) aio__tell_stubborn(l);
    }
}
// --- runner, aio_run
AIO_FN aio_result aio_runner_init(aio_runner *r, const struct aio_loop_options *options)
{
    aio__ignore_sigpipe();
    aio_result error = aio_loop_init(&r->loop, options);
    if (error >= 0 && (error = aio__run_allowed(&r->loop)) < 0) aio_loop_close(&r->loop);
    if (error < 0) r->loop.executor.refusal = error;
    return error;
}
AIO_FN aio_loop *aio_runner_loop(aio_runner *r) { return &r->loop; }
// A SIGINT that came when the task had ended already: its run gives -EINTR all the same, as a
// cancel in the last step would (C-7). An error stands.
AIO_FN aio_result aio__interrupted_late(aio_task *t, aio_result r)
{
    if (r < 0 && r != -ECANCELED) return r;
    if (r >= 0) aio__frame_drop((aio_frame *)(void *)(t + 1), r);
    return -EINTR;
}
// Runs a task to its end; SIGINT cancels it. Of runs inside each other it cancels all, innermost
// first.
AIO_FN aio_result aio__run_interruptible(aio_loop *l, aio_task *t)
{
    aio_task *outer = l->main;
    bool outer_interrupted = l->interrupted;
    pthread_mutex_lock(&aio__loops.lock);
    bool caught = aio__catch_sigint(l);
    pthread_mutex_unlock(&aio__loops.lock);
    l->main = t;
    l->interrupted = false;
    aio_result r = aio__run_until_task(l, t);
    bool ended = aio_task_done(t) && !l->forked;
    if (r == -ECANCELED && l->interrupted && aio_task_uncancel(t) == 0) r = -EINTR;
    if (caught) {
        pthread_mutex_lock(&aio__loops.lock);
        bool late = ended && aio__interrupt_left(l);
        aio__release_sigint();
        pthread_mutex_unlock(&aio__loops.lock);
        if (late) r = aio__interrupted_late(t, r);
    }
    l->main = outer;
    l->interrupted = outer_interrupted;
    if (aio__interrupt_left(l)) __atomic_store_n(&l->mailbox.full, 1, __ATOMIC_SEQ_CST);
    return r;
}
AIO_FN aio_result aio__runner_run(aio_runner *runner, aio_task *t)
{
    aio_loop *l = &runner->loop;
    if (t->waiter.future.flags & AIO__REFUSED) return t->waiter.future.result;
    aio_result r = aio__run_allowed(l);
    if (r < 0) aio_task_cancel(t);          // it does not run later either
    else r = aio__run_interruptible(l, t);
    aio_detach(t);
    return r;
}
AIO_FN aio_result aio_runner_close(aio_runner *r)
{
    aio_loop *l = &r->loop;
    if (l->closed) return 0;
    if (l->runs || l->closing) return -EBUSY;
    if (l->forked) return -EPERM;           // a child comes out of aio_run: nothing went wrong
    aio_result allowed = aio__run_allowed(l);
    if (allowed < 0) return allowed;
    aio_executor *outer = aio__running_executor;
    aio__running_executor = &l->executor;
    l->runs++;
    aio__shutdown(l);
    l->runs--;
    aio__running_executor = outer;
    return l->forked ? -EPERM : aio_loop_close(l);
}
AIO_FN aio_result aio__run_end(aio_runner *runner, aio_result begun, aio_task *t)
{
    if (begun < 0) return begun;
    aio_result r = aio__runner_run(runner, t);
    aio_runner_close(runner);
    return r;
}
#ifdef AIO_STRICT
AIO_FN aio_result aio__runner_run_from(aio_runner *runner, const aio_coroutine *co,
                                       aio_frame *arguments)
{
    aio_executor *x = &runner->loop.executor;
    return aio__runner_run(runner,
                           aio__task_begin_from(aio__task_new(x, co, co->size), co, arguments));
}
AIO_FN aio_result aio__run_from(const struct aio_loop_options *options, const aio_coroutine *co,
                                aio_frame *arguments)
{
    aio_runner runner;
    aio_result begun = aio_runner_init(&runner, options);
    aio_executor *x = &runner.loop.executor;
    return aio__run_end(&runner, begun,
                        aio__task_begin_from(aio__task_new(x, co, co->size), co, arguments));
}
#endif

// --- one loop per core. The calling thread runs a small loop too: it notes which threads have
// ended, and catches SIGINT.
struct __attribute__((aligned(64))) aio__thread {
    aio_loop loop;
    struct aio__threads *all;
    aio_task *task;                 // while its coroutine runs; its own thread's
    aio_handle cancel, failed, ended;
    pthread_t id;
};
struct aio__threads {
    uint32_t n, ready, made, live;  // loops, threads; live: the calling thread's
    const aio_coroutine *coroutine;
    aio_frame *arguments;
    aio_runner home;
    aio_event news;                 // on home's loop
    aio_task *watching;
    pthread_mutex_t lock;
    aio_result error;               // the first; under the lock
    struct aio__thread *thread;     // n
};
AIO_FN uint32_t aio__processors(void)
{
    long n = 0;
#ifdef SYS_sched_getaffinity
    unsigned char bits[4096];
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof bits, bits);
    for (long i = 0; i < bytes; i++) n += __builtin_popcount(bits[i]);
#endif
    if (n <= 0) n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (uint32_t)n : 1;
}
AIO_FN int aio__thread_cancelled(void *arg)                     // on that thread's loop
{
    struct aio__thread *t = (struct aio__thread *)arg;
    if (t->task) aio_task_cancel(t->task);
    return 0;
}
AIO_FN int aio__thread_failed(void *arg)                        // on home's
{
    aio_event_set(&((struct aio__thread *)arg)->all->news);
    return 0;
}
AIO_FN int aio__thread_over(void *arg)
{
    struct aio__thread *t = (struct aio__thread *)arg;
    t->all->live--;
    aio_event_set(&t->all->news);
    return 0;
}
// Its coroutine runs to its end; nobody takes its value.
AIO_FN aio_result aio__thread_main(struct aio__thread *t)
{
    aio_executor *x = &t->loop.executor;
    const aio_coroutine *co = t->all->coroutine;
    aio_task *task = aio__task_new(x, co, co->size);
    if (task->waiter.future.flags & AIO__REFUSED) return task->waiter.future.result;
    memcpy((void *)task->leaf, t->all->arguments,
           co->scratch->from ? co->scratch->from : co->size);
    aio__task_begin(task);
    t->task = task;
    aio_result r = aio__run_until_task(&t->loop, task);
    t->task = 0;
    if (t->loop.forked) return -EPERM;
    if (r >= 0) task->waiter.future.flags &= ~(uint32_t)AIO__TAKEN;
    aio_detach(task);
    return r;
}
AIO_FN void *aio__thread_run(void *arg)
{
    struct aio__thread *t = (struct aio__thread *)arg;
    struct aio__threads *all = t->all;
    aio_runner *runner = (aio_runner *)(void *)&t->loop;
    aio_result r = aio__thread_main(t);
    if (t->loop.forked) return 0;               // in a child; the others are not there
    if (r < 0) {
        pthread_mutex_lock(&all->lock);
        if (!all->error) all->error = r;
        pthread_mutex_unlock(&all->lock);
        (void)aio_call_soon_threadsafe(&all->home.loop, &t->failed, aio__thread_failed, t);
    }
    aio_runner_close(runner);
    if (!t->loop.forked)
        (void)aio_call_soon_threadsafe(&all->home.loop, &t->ended, aio__thread_over, t);
    return 0;
}
// Loops for all, before there is any thread that could ask for its siblings.
AIO_FN aio_result aio__threads_loops(struct aio__threads *all,
                                     const struct aio_loop_options *options)
{
    for (uint32_t i = 0; i < all->n; i++) {
        struct aio__thread *t = &all->thread[i];
        memset((void *)t, 0, sizeof *t);
        aio_result r = aio_loop_init(&t->loop, options);
        if (r < 0) return r;
        all->ready++;
        t->all = t->loop.siblings = all;
        t->loop.index = i;
    }
    return 0;
}
AIO_FN void aio__threads_start(struct aio__threads *all)
{
    for (; all->made < all->n; all->made++) {
        struct aio__thread *t = &all->thread[all->made];
        int error = pthread_create(&t->id, 0, aio__thread_run, t);
        if (!error) continue;
        all->live = all->made;
        pthread_mutex_lock(&all->lock);
        if (!all->error) all->error = -error;
        pthread_mutex_unlock(&all->lock);
        aio_event_set(&all->news);
        return;
    }
}
struct aio__supervise { aio_frame aio; struct aio__threads *all; bool cancelled; aio_result r; };
aio__async(aio__supervise) {
    aio__threads_start(self->all);          // SIGINT is caught by now
    while (self->all->live) {
        aio_await(self->r, aio_event_wait(&self->all->news));
        aio_event_clear(&self->all->news);
        pthread_mutex_lock(&self->all->lock);
        if (self->all->error < 0) self->r = self->all->error;
        pthread_mutex_unlock(&self->all->lock);
        for (uint32_t i = 0; self->r < 0 && !self->cancelled && i < self->all->made; i++) {
            struct aio__thread *t = &self->all->thread[i];
            (void)aio_call_soon_threadsafe(&t->loop, &t->cancel, aio__thread_cancelled, t);
        }
        if (self->r < 0) self->cancelled = true;
    }
    return self->all->error;
} aio_end
AIO_FN void aio__threads_free(struct aio__threads *all)
{
    pthread_mutex_destroy(&all->lock);
    free(all->thread);
    free(all);
}
AIO_FN struct aio__threads *aio__threads_new(uint32_t n, const aio_coroutine *co)
{
    struct aio__threads *all =
        (struct aio__threads *)aligned_alloc(64, (sizeof *all + co->size + 127) & ~(size_t)63);
    if (!all) return 0;
    memset((void *)all, 0, sizeof *all);
    all->n = all->live = n ? n : aio__processors();
    size_t size;                    // zeroed one by one: there may be no descriptors for so many
    if (!__builtin_mul_overflow(all->n, sizeof *all->thread, &size))
        all->thread = (struct aio__thread *)aligned_alloc(64, size);
    if (!all->thread) {
        free(all);
        return 0;
    }
    pthread_mutex_init(&all->lock, 0);
    all->coroutine = co;
    all->arguments = (aio_frame *)(void *)((char *)all + ((sizeof *all + 15) & ~(size_t)15));
    aio__frame_init(co, all->arguments, co->size);
    return all;
}
// The calling thread's own loop knows nothing of simulations.
AIO_FN aio_result aio__threads_home(struct aio__threads *all,
                                    const struct aio_loop_options *options)
{
    struct aio_loop_options o;
    memset((void *)&o, 0, sizeof o);
    if (options) {
        o.on_error = options->on_error;
        o.context = options->context;
        o.allocator = options->allocator;
    }
    return aio_runner_init(&all->home, &o);
}
AIO_FN aio_result aio__threads_watch(struct aio__threads *all)
{
    aio_task *t = aio__task_new(&all->home.loop.executor, AIO__OWN_CO(aio__supervise),
                                sizeof(struct aio__supervise));
    if (t->waiter.future.flags & AIO__REFUSED) return t->waiter.future.result;
    ((struct aio__supervise *)(void *)t->leaf)->all = all;
    aio__task_begin(t);
    all->watching = t;
    return 0;
}
AIO_FN aio_result aio__threads_run(struct aio__threads *all,
                                   const struct aio_loop_options *options)
{
    aio_result r = aio__threads_home(all, options);
    bool home = r >= 0;
    if (home) r = aio__threads_loops(all, options);
    if (r >= 0) r = aio__threads_watch(all);
    if (r >= 0) {
        r = aio__runner_run(&all->home, all->watching);
        if (all->home.loop.forked) return -EPERM;
        for (uint32_t i = 0; i < all->made; i++) pthread_join(all->thread[i].id, 0);
    }
    if (!all->made) aio__frame_drop(all->arguments, r);         // else each has had its copy
    for (uint32_t i = all->made; i < all->ready; i++) aio_loop_close(&all->thread[i].loop);
    if (home) aio_runner_close(&all->home);
    aio__threads_free(all);
    return r;
}
AIO_FN uint32_t aio_thread_index(void)
{
    aio_loop *l = aio_running_loop();
    return l ? l->index : 0;
}
AIO_FN uint32_t aio_thread_count(void)
{
    aio_loop *l = aio_running_loop();
    return l && l->siblings ? l->siblings->n : 1;
}
AIO_FN aio_loop *aio_thread_loop(uint32_t i)
{
    aio_loop *l = aio_running_loop();
    if (!l || !l->siblings) return i ? 0 : l;
    return i < l->siblings->n ? &l->siblings->thread[i].loop : 0;
}
#ifdef AIO_STRICT
AIO_FN aio_result aio__threads_from(uint32_t n, const struct aio_loop_options *options,
                                    const aio_coroutine *co, aio_frame *arguments)
{
    struct aio__threads *all = aio__threads_new(n, co);
    if (!all) {
        aio__frame_drop(arguments, -ENOMEM);
        return -ENOMEM;
    }
    memcpy((void *)all->arguments, arguments, co->scratch->from ? co->scratch->from : co->size);
    return aio__threads_run(all, options);
}
#  define AIO__RUN_THREADS(k, n, options, name, ...) \
       aio__threads_from(n, options, &AIO__CO(name), &AIO__INIT(name, __VA_ARGS__)->aio)
#else
#  define AIO__RUN_THREADS(k, n, options, name, ...) \
       AIO__RUN_THREADS_(k, n, options, name, __VA_ARGS__)
#  define AIO__RUN_THREADS_(k, n, options, name, ...) __extension__({ \
       struct aio__threads *AIO__V(all_, k) = aio__threads_new(n, &AIO__CO(name)); \
       aio_result AIO__V(result_, k) = -ENOMEM; \
       if (AIO__V(all_, k)) { \
           struct name *AIO__V(frame_, k) = (struct name *)(void *)AIO__V(all_, k)->arguments; \
           (void)AIO__V(frame_, k); \
           AIO__SET(AIO__V(frame_, k), __VA_ARGS__) \
           AIO__V(result_, k) = aio__threads_run(AIO__V(all_, k), options); \
       } else { \
           AIO__REFUSE(AIO__V(refused_, k), -ENOMEM, name, __VA_ARGS__) \
       } \
       AIO__V(result_, k); })
#endif
#endif
