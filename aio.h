// aio.h - stackless coroutines, futures, tasks and cancellation for C11 and C++17, with asyncio's
// semantics.
// SPDX-License-Identifier: MIT
#ifndef AIO_LANGUAGE_H
#define AIO_LANGUAGE_H
// gcc hides warnings in system headers, and every installed header is one: a lost local would pass.
// This line marker (it gives the number of the next line) says that this is none; the pragma keeps
// -Wpedantic quiet about the marker's form.
#if defined __GNUC__ && !defined __clang__
#  pragma GCC system_header
# 12 __FILE__
#endif

// The language layer: no system call, no libc beyond memcpy and memset; also for a microcontroller.
// Time is in aio_loop.h, the world (io_uring) in aio_io_uring.h. Most programs include only the
// last.
//
//     struct twice { aio_frame aio; int n; };     // its frame: what lives across an await
//
//     aio_async(twice) {                          // its body sees a typed `self`
//         aio_await(aio_next_turn());             // let others run
//         return self->n * 2;                     // a plain return is the result
//     } aio_end
//
//     struct four { aio_frame aio; struct twice child; };
//
//     aio_async(four) {
//         int n;
//         aio_await(n, aio_call(&self->child, twice, .n = 2));    // nested call: no allocation
//         return n;
//     } aio_end
//
// INDEX
//   coroutines   aio_async aio_end aio_await aio_try aio_drop aio_scratch
//                aio_declare aio_declare_extern aio_async_extern
//   calls        aio_call aio_call_new aio_next_turn
//   tasks        aio_spawn aio_spawn_on aio_spawn_eager aio_spawn_in aio_slot aio_join aio_detach
//                aio_task_retain aio_task_frame aio_task_future aio_task_done aio_task_cancelled
//                aio_task_result aio_task_cancel aio_task_uncancel aio_task_cancelling
//                aio_task_name aio_task_set_name aio_task_user aio_task_set_user aio_task_id
//                aio_task_swallowed aio_task_awaited_by
//                aio_current_task aio_task_first aio_task_next
//   futures      aio_future_wait aio_future_set_result aio_future_set_error aio_future_cancel
//                aio_future_done aio_future_cancelled aio_future_result aio_future_destroy
//                aio_future_add_done_callback aio_future_remove_done_callback
//   together     aio_gather aio_gather_all aio_wait aio_shield
//   ops          aio_start aio_op_wait aio_op_cancel aio_op_done aio_op_result aio_race
//   groups       aio_group_enter aio_group_enter_with aio_group_spawn aio_group_cancel
//                aio_group_exit aio_group_error
//   locks        aio_lock_acquire _release _locked, aio_event_wait _set _clear _is_set,
//                aio_condition_init _wait _notify _notify_all,
//                aio_semaphore_init _acquire _release _locked, aio_barrier_init _wait _reset _abort
//   queues       aio_queue_init _put _get _put_nowait _get_nowait _task_done _join _shutdown _count
//   generators   aio_yield aio_gen_init aio_next aio_gen_value aio_gen_close
//   waiting      aio_awaitable aio_await_class aio_waiter aio_wait_class aio_waiter_begin
//                aio_complete aio_wake (to write awaitables of one's own)
//   scopes       aio_scope aio_scope_class aio_scope_enter aio_scope_leave
//   executor     aio_executor_init aio_executor_turn aio_executor_close aio_report aio_describe
//
// RULES
//   Locals   A local does not survive an await. An initialised one that would be lost is a compile
//            error; keep in the frame what must live longer.
//   Errors   A result is >= 0, or a negative errno. -ECANCELED is a cancellation: hand it on, as
//            aio_try does.
//   Threads  An executor, its tasks and its futures belong to the one thread that runs it.
//   Binaries A program and each shared library know only the loops that they run themselves. In a
//            coroutine on another binary's loop, awaits, calls and aio_spawn_on work; aio_spawn,
//            aio_start and scopes (timeouts, groups) give -EINVAL.
//   Names    POSIX reserves the prefix aio_ to its <aio.h>. Both headers can be included together.
//
// This header and POSIX's <aio.h> differ only by path: write "aio.h" with the header beside the
// source, or -iquote, or install it and write <aio/aio.h>; never -I the folder that holds it.

// ------------------------------------------------------------------------------------- >>config
#define AIO_VERSION_MAJOR 0
#define AIO_VERSION_MINOR 1
#define AIO_VERSION_PATCH 0

// AIO_STRICT: resume through a real switch, in ISO C11 without labels as values. An await inside a
// switch of the user's own is then a compile error, or a panic that says so.
// AIO_LINT: every await is a hard exit, so that flow analysis sees each local that would be lost.
// AIO_CHECK: what holds of lists and states is checked as they change; AddressSanitizer implies it.
// AIO_NO_LOCALS_CHECK: do not refuse initialised locals that are alive across an await.
#if !defined AIO_STRICT && !defined __GNUC__
#  define AIO_STRICT
#endif

// What runs when the toolkit finds its own state destroyed by misuse. `site` may be null.
// An executor's `panic` hook is asked first; this is for when it returns or there is none.
#ifndef AIO_PANIC
#  define AIO_PANIC(site, text) __builtin_trap()
#endif

// Bytes of C stack that nested calls may use before the task's trampoline takes over. Only a matter
// of speed: the depth of calls is not limited by it.
#ifndef AIO_CALL_STACK
#  if defined __STDC_HOSTED__ && __STDC_HOSTED__
#    define AIO_CALL_STACK 16384
#  else
#    define AIO_CALL_STACK 256
#  endif
#endif

// Bytes of C stack within which an eager spawn may run the new task's first step (EA-1); deeper,
// that step waits for the next turn.
#ifndef AIO_EAGER_STACK
#  define AIO_EAGER_STACK (4 * AIO_CALL_STACK)
#endif

// Small blocks are cut from slabs. The first slab has this size, later ones double up to the limit.
#ifndef AIO_SLAB_BYTES_MIN
#  define AIO_SLAB_BYTES_MIN 2048
#endif
#ifndef AIO_SLAB_BYTES_MAX
#  define AIO_SLAB_BYTES_MAX 65536
#endif
// Blocks of more than 8 KiB that are free go back to the allocator, but for so many bytes of them.
#ifndef AIO_KEEP_BYTES_MAX
#  define AIO_KEEP_BYTES_MAX 1048576
#endif

// ----------------------------------------------------------------------------------- >>includes
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __has_include
#  if __has_include(<errno.h>)
#    include <errno.h>
#  endif
#endif
#ifndef ENOMEM
#  define ENOMEM 12
#endif
#ifndef EPERM
#  define EPERM 1
#endif
#ifndef EAGAIN
#  define EAGAIN 11
#endif
#ifndef EBUSY
#  define EBUSY 16
#endif
#ifndef EXDEV
#  define EXDEV 18
#endif
#ifndef EINVAL
#  define EINVAL 22
#endif
#ifndef ERANGE
#  define ERANGE 34
#endif
#ifndef EDEADLK
#  define EDEADLK 35
#endif
#ifndef ENODATA
#  define ENODATA 61
#endif
#ifndef EBADFD
#  define EBADFD 77
#endif
#ifndef EOPNOTSUPP
#  define EOPNOTSUPP 95
#endif
#ifndef ESHUTDOWN
#  define ESHUTDOWN 108
#endif
#ifndef ETIMEDOUT
#  define ETIMEDOUT 110
#endif
#ifndef EALREADY
#  define EALREADY 114
#endif
#ifndef EINPROGRESS
#  define EINPROGRESS 115
#endif
#ifndef ECANCELED
#  define ECANCELED 125
#endif
#ifndef ENOTRECOVERABLE
#  define ENOTRECOVERABLE 131
#endif

// -------------------------------------------------------------------------------------- >>types
// What an await, a coroutine or a task ends with: a value >= 0, or a negative errno. INT64_MIN is
// none (AIO_PENDING): where user code gives it as a result, -ERANGE or -EINVAL comes out.
typedef int64_t aio_result;

typedef struct aio_frame aio_frame;
typedef struct aio_site aio_site;
typedef struct aio_coroutine aio_coroutine;
typedef struct aio_executor aio_executor;
typedef struct aio_loop aio_loop;                   // aio_loop.h; begins with an aio_executor
typedef struct aio_future aio_future;
typedef struct aio_node aio_node;
typedef struct aio_waiter aio_waiter;
typedef struct aio_task aio_task;
typedef struct aio_callback aio_callback;
typedef struct aio_scope aio_scope;
typedef struct aio_awaitable aio_awaitable;
typedef struct aio_await_class aio_await_class;
typedef struct aio_wait_class aio_wait_class;
typedef struct aio_scope_class aio_scope_class;

// Not a result: "still waiting".
#define AIO_PENDING INT64_MIN

// The first member of every coroutine frame, named `aio`. 16 bytes.
struct aio_frame {
    aio_frame *parent;      // who called it; null in a task's outermost frame
    const aio_site *site;   // where it goes on; leads to its source line and its coroutine
};

// One await in the source. Static data: the price of an await is the store of a pointer to it.
struct aio__body {
    aio_result (*step)(aio_frame *, aio_task *);
    const aio_coroutine *coroutine;
};
struct aio_site {
    const void *label;              // null: at the start of the body
    const struct aio__body *body;
    const char *text;               // the await as it was written
    uint32_t line;
    uint32_t kind;                  // AIO__SITE_…
};

// A coroutine: static data made by aio_async.
struct aio__drop { aio_result (*hook)(aio_frame *, aio_result dropped); };
struct aio__scratch { uint32_t from; };
struct aio_coroutine {
    struct aio__body body, leaving_body;
    aio_site start, leaving, over;
    const struct aio__drop *drop;
    const struct aio__scratch *scratch;
    const char *name, *file;
    uint32_t size;
};

// A result that will come. All zero: pending. It belongs to the loop of its first waiter.
struct aio_future {
    uint32_t flags;         // private: AIO__…, and in the upper half the size class of the block
    uint32_t refs;          // private: handles, and one of the loop's own until a task has ended
    aio_node *watchers;     // private: circular list, first come first
    aio_result result;      // private: read it with aio_future_result
    aio_executor *loop;     // private: null until somebody waits
};

// What stands on a future's list, in a timer heap or in the ready ring. 32 bytes; aligned to 8 also
// where a uint64_t is not: the ready ring keeps a tag below its address. Where pointers are
// shorter, the members of the union do not lie over each other as they do here.
struct aio_node {
    __attribute__((aligned(8))) const aio_wait_class *cls;
    union {
        struct { aio_node *next, *prev; aio_future *target; } list;
        struct { int64_t when; uint32_t index, seq; void *data; } timer;
        uint64_t w[3];      // for a class of one's own: 24 bytes of state
        void *p[3];
    } u;
};

// A future that waits: a task's embedded waiter, or an op's. Exactly one cache line.
struct aio_waiter {
    aio_future future;
    aio_node node;
};

// How a wait behaves. Static data; never compared by address (each file has its own copy).
struct aio_wait_class {
    const char *name;       // "recv", "sleep"
    uint32_t kind;          // AIO__WAIT_…; 0 for a class of one's own
    // Asks the wait to end. True: it will end by itself, with -ECANCELED or with what was too late
    // to stop. False: it has ended already, or cannot be stopped. Null: cannot.
    bool (*cancel)(aio_waiter *w);
    // Optional; runs in the awaiter's own step after aio_wake(), before the body goes on. Returns
    // the result, or AIO_PENDING after it began to wait again. -ECANCELED uses a pending cancel up.
    aio_result (*resume)(aio_waiter *w, bool must_cancel);
    void (*notify)(aio_node *n, aio_future *f);             // the future it is listed on has ended
    void (*run)(aio_node *n);                               // its entry in the ready ring came up
    // Optional: what is waited for ("recv fd 7"), at most `size` bytes with the final 0; returns
    // the length. Null: the name.
    size_t (*describe)(const aio_waiter *w, char *text, size_t size);
    // Optional: the owner goes away while it waits, or will never take w->future.result: gives back
    // what that owns. A wait whose end owns something says which class gives it back: aio_wake(w,
    // that), or aio_waiter_begin(w, that) in its `resume`.
    void (*dispose)(aio_waiter *w);
};

// How an awaitable begins.
struct aio_await_class {
    // Begins the wait, with `w` for its state. True: it is over already and w->future.result is
    // set.
    bool (*start)(aio_waiter *w, const aio_awaitable *a);
    const char *name;
    uint32_t kind;          // AIO__AWAIT_…; 0 for a class of one's own
};

// A wait that has not begun: does nothing until it is awaited. 80 bytes, passed by value. The last
// two words are aio_wait_for's.
struct aio_awaitable {
    const aio_await_class *cls;
    union { void *p[9]; const void *cp[9]; uint64_t w[9]; int64_t i[9]; } u;
};

// A task: a future, a waiter and a stack of frames. 112 bytes, then its outermost frame, which may
// want an alignment of 16.
struct aio_task {
    aio_waiter waiter;
    // Second cache line: what each step reads first.
    aio_frame *leaf;                // the innermost frame
    aio_scope *scopes;              // open scopes, innermost first
    uint32_t cancelling;            // cancel requests not yet taken back
    uint32_t id;                    // number in its loop, from 1; after 2^32 tasks from 0
    aio_task *next, *prev;          // live tasks in order of creation
    struct aio__task_extra *extra;  // what few tasks need; from the free lists
}
#if UINTPTR_MAX <= 0xffffffff
__attribute__((aligned(16)))        // a frame stands behind it
#endif
;

// Storage for a task that the caller owns: aio_slot(echo) slot; all zero: free.
#define aio_slot(name) struct { aio_task task; struct name frame; }

// A done-callback: the caller's storage until it has run or was removed.
struct aio_callback {
    aio_node node;
    int (*fn)(aio_future *f, void *arg);
    void *arg;
};

// Something that must not outlive the frame that opened it. When the frame returns over it the
// runtime ends it. `exit` gives the result to return with, or AIO_PENDING after it began to wait on
// the task's waiter; it is then called again with the same r, and w->future.result from that wait.
struct aio_scope_class {
    const char *name;
    aio_result (*exit)(aio_scope *s, aio_task *t, aio_result r);
    uint32_t kind;          // AIO__SCOPE_…; 0 for a class of one's own
};
struct aio_scope {
    const aio_scope_class *cls;
    aio_scope *outer, *inner;       // its neighbours on the task's list
    aio_frame *frame;               // whose return ends it
    aio_result result;              // that return's value, while the scope ends
    aio_task *task;                 // on whose list it stands
};

// A lock, an event, a condition, a semaphore, a barrier: all zero is a valid start for lock and
// event, the others have an _init. They live in the caller's storage and bind to the loop of who
// waits.
typedef struct aio_lock {
    aio_node *waiters;          // private: also those that were woken and have not run yet
    uint32_t live;              // private: of these, not cancelled
    uint32_t releases;          // private: tells what an op holds from who has it later
    bool locked;
} aio_lock;
typedef struct aio_event {
    aio_node *waiters;
    bool is_set;
} aio_event;
typedef struct aio_condition {
    aio_lock *lock;
    aio_node *waiters;
} aio_condition;
typedef struct aio_semaphore {
    aio_node *waiters;
    uint32_t value, limit;      // limit 0: not bounded
    uint32_t woken;             // units that were handed over and not yet taken
} aio_semaphore;
typedef struct aio_barrier {
    aio_lock lock;
    aio_condition changed;
    uint32_t parties, count, state;
} aio_barrier;

// A queue of items of any size in the caller's storage.
enum { AIO_QUEUE_LIFO = 1 };    // a stack
enum { AIO__QUEUE_RINGS = 64 };
typedef struct aio_queue {
    unsigned char *storage;
    size_t item_bytes;
    uint32_t capacity, count, head;
    uint32_t flags, unfinished;
    uint32_t held;              // private: by ops whose result nobody has taken; they keep a place
    bool is_shutdown, is_dropped;
    int (*compare)(const void *a, const void *b, void *context);
    void *context;
    aio_node *getters, *putters;
    aio_event finished;
    uint32_t ring_items;        // private, of a priority queue: its rings, and where each begins
    uint32_t ring_head[AIO__QUEUE_RINGS];
} aio_queue;

// A group of tasks that end with the frame that opened it.
enum { AIO_GROUP_ERRORS = 8 };  // errors that are kept in detail; more are counted
typedef struct aio_group_failure {
    uint32_t id;                // of the task; 0: the body
    const char *name;
    aio_result error;
} aio_group_failure;
struct aio_group_options {
    bool forget_ended;          // a task that has ended is given up at once, not at the exit
};
typedef struct aio_group {
    aio_scope scope;
    aio_task *parent;           // null: not open
    struct aio__child *children, *last_child;
    aio_waiter *waiting;        // the parent, in the exit
    aio_result out;             // how the body ended
    uint32_t live, error_count;
    uint32_t base;              // cancels asked of the parent before it was opened
    bool exiting, returning, aborting, parent_cancelled, cancelled_again, propagate, forgetful;
    aio_group_failure errors[AIO_GROUP_ERRORS];
} aio_group;

// A wait that goes on beside the coroutine. All zero: not started.
typedef struct aio_op {
    aio_waiter waiter;
    aio_scope scope;
    aio_task *owner;        // null: not started, or its result was taken
} aio_op;

// Where blocks come from. Null `allocate`: every spawn is refused with -ENOMEM once memory is
// needed.
struct aio_allocator {
    // aligned to 16 bytes; null if there is none
    void *(*allocate)(void *context, size_t size);
    void (*release)(void *context, void *block);
    void *context;
};

// Something that went wrong and that no await can report.
struct aio_report {
    const char *message;        // "task exception was never retrieved"
    aio_result error;           // negative errno, or 0
    const aio_task *task;       // or null
    const aio_future *future;   // or null
    const aio_site *site;       // where it happened, or null
};

struct aio_executor_options {
    struct aio_allocator allocator;
    void (*panic)(aio_executor *x, const aio_site *site, const char *text);     // may not return
    void (*report)(aio_executor *x, const struct aio_report *report);
};

enum {
    AIO__GRAIN = 16,            // bytes; small size classes are multiples of it
    AIO__SMALL = 64,            // classes 1..64: up to 1 KiB in steps of 16 bytes
    AIO__LARGE = 40,            // then four to a doubling, up to 1 MiB
    AIO__CLASSES = AIO__SMALL + 1 + AIO__LARGE,
    AIO__LOOSE = AIO__SMALL + 13,       // from here (over 8 KiB) each block is the allocator's own
    AIO__HUGE = AIO__CLASSES,   // straight from the allocator and back
};

// Runs tasks in turns. aio_loop.h puts time around it.
struct aio_executor {
    // The hot line.
    uintptr_t *ring;            // ready entries: pointer, tag in the low three bits
    uint32_t head, tail;        // of the ring, counted without end
    uint32_t mask;              // ring capacity - 1
    uint32_t slots;             // entries that may ever be queued at once: promised, one per task
    aio_task *current;          // whose step runs
    char *stack_floor;          // below it, a call goes through the trampoline
    aio_task *first, *last;     // live tasks, in order of creation
    uint64_t turns;             // turns in which something ran
    uint32_t limit;             // how many slots there may be now; 0: the slow path decides
    uint32_t running;           // depth of aio_executor_turn
    uint32_t live, next_id;
    uint32_t pass;              // of a shutdown: which tasks were reached in it
    aio_result refusal;         // why slots are refused: 0 (no memory), -EBADFD, -EPERM
    void *free[AIO__CLASSES];
    char *slab, *slab_end;
    size_t slab_bytes, kept_bytes;      // kept: in free blocks that are the allocator's own
    struct aio__chunk *chunks;
    const struct aio__observer *observer;   // null: nobody watches the steps
    struct aio__watched *to_cancel;       // what a cancel that goes on has still to reach
    uint64_t cancel_walk, cancel_walks;     // its number; how many there were
    uint32_t cancel_again;                  // visits that it may still repeat
    aio_node *to_tell;                      // watchers of ops that have ended, not yet told
    bool telling, no_spawns;
    uint32_t ending;            // AIO__DETACHING, AIO__DROPPING; 0: it is open, or closed
    aio_task *left_behind;      // ended tasks of which the hooks that drop them may still know
    struct aio_executor_options options;
};

// ---------------------------------------------------------------------------------------- >>api
#define AIO_FN static inline
#define AIO_NODISCARD __attribute__((warn_unused_result))
// Cold: only where something went wrong. What calls a cold function without a condition counts as
// cold itself, and so does all that it calls: set-up and slow paths must not carry it.
#ifdef __OPTIMIZE__
#  define AIO_COLD static __attribute__((noinline, cold, unused))
#  define AIO_SLOW static __attribute__((noinline, unused))
#else                       // gcc -O0 would emit them all
#  define AIO_COLD static inline
#  define AIO_SLOW static inline
#endif
#define AIO_HOT static inline __attribute__((hot))
#define AIO_INLINE static inline __attribute__((always_inline))
// How a built-in wait begins, called through its class and still in line. gcc does that by itself,
// and at -Og it knows the class too late and would refuse an always_inline function.
#ifdef __clang__
#  define AIO__START_FN AIO_INLINE
#else
#  define AIO__START_FN AIO_FN
#endif
// A table of functions, and a function that gives its address: gcc -O0 would emit the table itself
// also where it is unused, with all that it names; in a function the optimiser would not look into
// it.
#ifdef __OPTIMIZE__
#  define AIO_TABLE(type, name, ...) \
       static const type AIO__CAT(name, _table) = __VA_ARGS__; \
       AIO_INLINE const type *name(void) { return &AIO__CAT(name, _table); }
#else
#  define AIO_TABLE(type, name, ...) \
       AIO_FN const type *name(void) { static const type table = __VA_ARGS__; return &table; }
#endif

// --- coroutines

// aio_async(name) { … } aio_end
// Defines the body of coroutine `name`, whose frame is struct name { aio_frame aio; … }.
// In it: `self`, aio_await, aio_try. `return r;` ends it with r; reaching the end gives 0.
#define aio_async(name) AIO__ASYNC(name, AIO__DEFINE)
#define aio_end } return 0; } AIO__CHECK_OFF

// aio_declare(name); makes `name` known ahead of its body, in the same file (mutual recursion).
// aio_declare_extern(name); in a header goes with aio_async_extern(name) { … } aio_end in one file.
#define aio_declare(name) AIO__DECLARE(name)
#define aio_declare_extern(name) AIO__DECLARE_EXTERN(name)
#define aio_async_extern(name) AIO__ASYNC(name, AIO__DEFINE_EXTERN)

// aio_drop(name) { … return 0; } aio_end
// Optional hook, synchronous: runs when a frame is destroyed whose body never started (it was
// cancelled first, or refused) or never finished (its loop was closed), to release what its
// parameters own: then `dropped` is negative. It also runs with dropped >= 0 when a result is lost
// that nobody took (replaced by a cancel or by the error of a group that its frame returned over,
// its last handle given up unread), to release that.
// Not for a task that was detached before it ended: nobody wanted its result. In C++ it must stand
// before aio_async(name).
#define aio_drop(name) AIO__DROP_HOOK(name)

// aio_scratch(name, member); says that a new frame is not zeroed from `member` on (a large buffer
// at its end). In C++ it must stand before aio_async(name).
#define aio_scratch(name, member) AIO__SCRATCH_FROM(name, member)

// aio_await([lvalue,] awaitable);
// Waits, and stores the result in lvalue (a signed integer). Each argument is evaluated once.
// Result: the awaitable's, or -ECANCELED when the task was cancelled meanwhile: hand it on, or
// clean up (awaits work there) and hand it on. To ignore it is to refuse the cancellation.
// Cost: one store, and the turn if it has to wait.
#define aio_await(...) AIO__OVERLOAD(AIO__AWAIT_, __VA_ARGS__)(#__VA_ARGS__, __VA_ARGS__)

// aio_try([lvalue,] awaitable);
// The same, but a negative result is returned at once (lvalue untouched). The right form in a loop.
// In place of an awaitable both take an aio_result too, which is there already:
// aio_try(aio_timeout_enter(&self->limit, AIO_SECOND));
#define aio_try(...) AIO__OVERLOAD(AIO__TRY_, __VA_ARGS__)(#__VA_ARGS__, __VA_ARGS__)

// --- calls

// aio_call(&self->child, name, .argument = value, …)   awaitable
// Runs coroutine `name` in the caller's storage, in this task. No allocation; a resume costs the
// same at every depth. Result: what it returns; its other fields can be read afterwards.
// Lifetime: the storage belongs to the call until the await ends.
#define aio_call(storage, ...) AIO__CALL(__COUNTER__, storage, __VA_ARGS__, )

// aio_call_new(name, .argument = value, …)   awaitable
// The same in a block of the loop's free lists (recursion, rare large callees). Errors: -ENOMEM.
#define aio_call_new(...) AIO__CALL_NEW(__COUNTER__, __VA_ARGS__, )

// Awaitable: goes on in the next turn; asyncio's sleep(0). Result: 0. Cost: one store in the ring.
AIO_INLINE AIO_NODISCARD aio_awaitable aio_next_turn(void);

// --- tasks

// aio_spawn(name, .argument = value, …)
// Makes a task of coroutine `name` on the running loop; its first step runs in the next turn.
// Result: a handle, never null, to give up with aio_join, aio_gather or aio_detach. If the spawn is
// refused the drop hook runs on the arguments, and the handle is that of a task that has ended with
// -ENOMEM, -EINVAL (no loop runs in this thread), -EBADFD (loop closed) or -EPERM (forked child).
// Cost: no malloc once warm.
#define aio_spawn(...) AIO__SPAWN(__COUNTER__, aio__task_begin, aio__running(), __VA_ARGS__, )

// aio_spawn_on(loop, name, …): on this loop (or executor), also before it runs.
#define aio_spawn_on(loop, ...) \
    AIO__SPAWN(__COUNTER__, aio__task_begin, aio__executor_of(loop), __VA_ARGS__, )

// aio_spawn_eager(name, …): the first step runs now, inside the call, if the loop runs.
#define aio_spawn_eager(...) \
    AIO__SPAWN(__COUNTER__, aio__task_begin_eager, aio__running(), __VA_ARGS__, )

// aio_spawn_in(&slot, name, …): in an aio_slot(name) of the caller's. Also -EBUSY: the slot's last
// task has not ended or its handle is still held. Lifetime: the slot until both are over.
#define aio_spawn_in(slot, ...) AIO__SPAWN_IN(__COUNTER__, slot, __VA_ARGS__, )

// Awaitable: waits for a task and gives up the handle when the await ends, whatever the result.
// Result: the task's. Cancelling the awaiter cancels the task.
// Errors: -EDEADLK (itself), -EXDEV (another loop's).
AIO_INLINE AIO_NODISCARD aio_awaitable aio_join(aio_task *t);

// Gives up a handle. The task runs on; an error nobody saw is reported.
AIO_FN void aio_detach(aio_task *t);

// One more handle, to be given up too. Returns t.
AIO_FN aio_task *aio_task_retain(aio_task *t);

// aio_task_frame(name, t): the task's outermost frame, valid while a handle is held; null if the
// spawn was refused.
#define aio_task_frame(name, t) ((struct name *)aio__task_frame(t))

// The future that a task is: to wait for it and keep the handle.
AIO_FN aio_future *aio_task_future(aio_task *t);
AIO_FN bool aio_task_done(const aio_task *t);
AIO_FN bool aio_task_cancelled(const aio_task *t);

// What the task ended with; -EINPROGRESS while it has not. Marks an error as seen.
AIO_FN aio_result aio_task_result(aio_task *t);

// Asks a task to end: the await it stands at gives -ECANCELED (an operation that was faster gives
// its result, and the next await the -ECANCELED). What it waits for is cancelled too, through any
// number of tasks. A task that has not started never runs. Each call counts. False: it has ended
// already.
// Cost: the length of the chain of tasks that wait for each other; the C stack does not grow.
AIO_FN bool aio_task_cancel(aio_task *t);

// Takes one cancel request back; returns how many are left. At 0 a cancel that was not yet
// delivered is forgotten.
AIO_FN uint32_t aio_task_uncancel(aio_task *t);
AIO_FN uint32_t aio_task_cancelling(const aio_task *t);

// Where the task stood when it was last cancelled, or null; *count: how often (both kept for the
// report on a task that does not end).
AIO_FN const aio_site *aio_task_swallowed(const aio_task *t, uint32_t *count);

// Which tasks await this one: with join, gather, wait, shield, as_completed or a started op, or
// because it is a task of their group. Stores up to n of them in `by`, each once, those that came
// first first. Result: how many there are.
// Cost: read from the lists of who waits; nothing is kept for it.
AIO_FN uint32_t aio_task_awaited_by(aio_task *t, aio_task **by, uint32_t n);

// Name: the coroutine's until it is set. `name` is not copied. Result: 0 or -ENOMEM.
AIO_FN const char *aio_task_name(const aio_task *t);
AIO_FN aio_result aio_task_set_name(aio_task *t, const char *name);
// One pointer of the user's own per task; null until set. Result: 0 or -ENOMEM.
AIO_FN void *aio_task_user(const aio_task *t);
AIO_FN aio_result aio_task_set_user(aio_task *t, void *user);
// Number in its loop, from 1.
AIO_FN uint32_t aio_task_id(const aio_task *t);

// The task whose step runs in this thread; null in callbacks and outside.
AIO_FN aio_task *aio_current_task(void);
// Tasks that have not ended, in order of creation. aio_task_first(loop) takes an executor too.
#define aio_task_first(loop) aio__task_first(aio__executor_of(loop))
AIO_FN aio_task *aio_task_next(const aio_task *t);

// --- futures

// Awaitable: waits for a future; result: its result. Cancelling the awaiter cancels the future.
// Lifetime: the future until the await ends. Errors: -EXDEV (it belongs to another loop).
AIO_INLINE AIO_NODISCARD aio_awaitable aio_future_wait(aio_future *f);

// Completes a future: those who wait go on in the next turn, in the order in which they came.
// Result: 0; -EALREADY: it has ended; -EPERM: it is a task; -EINVAL: `error` is not negative, or it
// is AIO_PENDING.
// A negative result is an error, and -ECANCELED a cancellation.
AIO_FN aio_result aio_future_set_result(aio_future *f, aio_result r);
AIO_FN aio_result aio_future_set_error(aio_future *f, aio_result error);

// Cancels it; for a task the same as aio_task_cancel. False: it has ended already.
AIO_FN bool aio_future_cancel(aio_future *f);
AIO_FN bool aio_future_done(const aio_future *f);
AIO_FN bool aio_future_cancelled(const aio_future *f);

// Its result; -EINPROGRESS while there is none. Marks an error as seen.
AIO_FN aio_result aio_future_result(aio_future *f);

// Ends the life of a future in the caller's storage: who still waits gets -ECANCELED, an error
// nobody saw is reported; it is pending again. -EPERM: it is a task. It may come after its loop was
// closed, unless it still has done-callbacks.
AIO_FN aio_result aio_future_destroy(aio_future *f);

// Calls fn(f, arg) in the turn after f has ended (in the next one if it has). Callbacks run in the
// order in which they were added; a negative return is reported. Any number per future.
// Lifetime: `cb` is the caller's storage and in use until it has run or was removed.
// Result: 0, -ENOMEM, -EINVAL (f has no loop yet and none runs here), -EBADFD (its loop is closed).
AIO_FN aio_result aio_future_add_done_callback(aio_future *f, aio_callback *cb,
                                               int (*fn)(aio_future *, void *), void *arg);

// Removes every callback with this fn and arg that is not yet queued to run; returns how many.
AIO_FN uint32_t aio_future_remove_done_callback(aio_future *f, int (*fn)(aio_future *, void *),
                                                void *arg);

// --- generators: coroutines that give values. Their frame has a member `value`.

// aio_yield([lvalue,] v);  in a generator: hands v out and waits for the next aio_next. lvalue: 0,
// or -ESHUTDOWN when it was closed: clean up (awaits work) and return. Without lvalue it then
// returns.
#define aio_yield(...) AIO__OVERLOAD(AIO__YIELD_, __VA_ARGS__)(#__VA_ARGS__, __VA_ARGS__)
// aio_gen_init(&self->gen, name, .argument = value, …)  prepares one in storage of the frame's,
// which closes it when it returns; an error of its clean-up is then reported. Nothing runs yet.
// Result: 0; -ENOMEM (it is then at its end); -EBUSY: what was begun here is not over: close it.
#define aio_gen_init(storage, ...) AIO__GEN_INIT(__COUNTER__, storage, __VA_ARGS__, )
// Awaitable: runs to the next value. Result: 1: a value; 0: the end; an error; -EBUSY: it is
// running; -EINVAL: no aio_gen_init. A generator ends with 0 or an error. Other iterators
// (aio_ticker, aio_accept_many, …) are driven by the same three.
#define aio_next(storage) aio__next(&(storage)->aio)
#define aio_gen_value(storage) ((storage)->value)
// Awaitable: closes it where it stands; one that never ran is dropped. Result: 0, its error,
// -EBUSY, -EINVAL: it yields again.
#define aio_gen_close(storage) aio__gen_end(&(storage)->aio)

// --- several at once. `tasks` and `futures` are arrays that stay until the await ends; where it
// says futures, an array of tasks will do too. They take a block of the loop's (-ENOMEM).

// Awaitable: waits for n tasks. results (or null): in the order of the tasks. The first error ends
// it (the others run on); cancelling the awaiter cancels them all.
// Result: 0 or that error. Handles of those that ended are given up and tasks[i] set to null; those
// that still run stay the caller's.
#define aio_gather(tasks, results, n) aio__gather(tasks, results, n, false)
// Awaitable: the same, but waits for all: errors are results.
#define aio_gather_all(tasks, results, n) aio__gather(tasks, results, n, true)

// Awaitable: waits until all, the first, or the first failed of n futures has ended. Cancels
// nothing, takes no handle and no error. Result: how many have ended; -EINVAL: n is 0.
enum { AIO_ALL_COMPLETED, AIO_FIRST_COMPLETED, AIO_FIRST_ERROR };
#define aio_wait(futures, n, mode) aio__wait(AIO__FUTURES(futures), n, mode)

// Awaitable: waits for a task that goes on when the awaiter is cancelled. Keeps the handle.
AIO_FN AIO_NODISCARD aio_awaitable aio_shield(aio_task *t);

// --- waits beside the coroutine: for what one event ends (operations, sleeps, futures, events,
// jobs)

// Begins a wait, without waiting for it. It belongs to the running frame, which ends it when it
// returns. Result: 0; -EINVAL: no task runs, or this awaitable needs one of its own (spawn one);
// -EBUSY: the op is in use. Refused, the awaitable gives up what it holds (a handle, a job's
// argument).
// Lifetime: the op, and what the awaitable points to, until it has ended.
AIO_FN aio_result aio_start(aio_op *op, aio_awaitable a);
// Awaitable: waits for it, and takes its result. Cancelling the awaiter cancels it; -EINVAL: not
// started; -EDEADLK: itself.
AIO_FN AIO_NODISCARD aio_awaitable aio_op_wait(aio_op *op);
// Asks it to end. False: it has ended.
AIO_FN bool aio_op_cancel(aio_op *op);
AIO_FN bool aio_op_done(const aio_op *op);
// Takes its result; -EINPROGRESS: there is none yet; -EINVAL: not started, or taken. Until then a
// lock, unit, item, descriptor or value that it ended with is the op's, and goes back if nobody
// takes it.
AIO_FN aio_result aio_op_result(aio_op *op);
// Awaitable: aio_race(self->ops, n), an array of ops or of pointers to them. Result: the index of
// the first that ended; the others are cancelled, and have ended too. Results stay to be taken.
// -EINVAL: n is 0 or one is not started.
#define aio_race(ops, n) aio__race(AIO__OPS(ops), n)

// --- groups: tasks that cannot outlive their block

// Opens a group in the running frame. Result: 0; -EINVAL: it is open, or no task runs.
AIO_FN aio_result aio_group_enter(aio_group *g);
// The same with options (or null). forget_ended: for a group without end (a server's): its memory
// does not grow with the tasks that it has had; a handle is then borrowed only until its task ends.
// One that waits for it with aio_future_wait or aio_shield gets the result; for aio_wait and the
// like retain it.
AIO_FN aio_result aio_group_enter_with(aio_group *g, const struct aio_group_options *options);
// aio_group_spawn(&self->g, name, …): a task of the group; the handle is borrowed until its exit.
// When one fails, the others and the frame that opened the group are cancelled. Refused with
// -EINVAL when the group is not open or is shutting down.
#define aio_group_spawn(group, ...) AIO__GROUP_SPAWN(__COUNTER__, group, __VA_ARGS__, )
// Cancels all of it, the body included; the exit then gives 0. Result: 0 or -EINVAL.
AIO_FN aio_result aio_group_cancel(aio_group *g);
// Awaitable: aio_await(r, aio_group_exit(&self->g, r)); waits for all its tasks. r in: how the body
// ended; out: the group's error (a task's first, then the body's), or r.
AIO_FN AIO_NODISCARD aio_awaitable aio_group_exit(aio_group *g, aio_result r);
// The i-th error, in the order in which they came; error 0 beyond the last. Until the next enter.
AIO_FN aio_group_failure aio_group_error(const aio_group *g, uint32_t i);

// --- locks and the like. First come, first served; no allocation.

// Awaitable: takes the lock. Result: 0.
AIO_FN AIO_NODISCARD aio_awaitable aio_lock_acquire(aio_lock *lock);
// Result: 0; -EPERM: it is free. Any task may release.
AIO_FN aio_result aio_lock_release(aio_lock *lock);
AIO_FN bool aio_lock_locked(const aio_lock *lock);

// Awaitable: waits until the event is set. Result: 0.
AIO_FN AIO_NODISCARD aio_awaitable aio_event_wait(aio_event *event);
AIO_FN void aio_event_set(aio_event *event);
AIO_FN void aio_event_clear(aio_event *event);
AIO_FN bool aio_event_is_set(const aio_event *event);

AIO_FN void aio_condition_init(aio_condition *condition, aio_lock *lock);
// Awaitable: releases the lock, waits to be notified, takes the lock again; it is held afterwards
// whatever the result. Spurious wakes are legal: check again. Result: 0; -EPERM: the lock is free.
AIO_FN AIO_NODISCARD aio_awaitable aio_condition_wait(aio_condition *condition);
// Wakes n of those that wait, or all. Result: 0; -EPERM: the lock is free.
AIO_FN aio_result aio_condition_notify(aio_condition *condition, uint32_t n);
AIO_FN aio_result aio_condition_notify_all(aio_condition *condition);

// limit: what aio_semaphore_release may not exceed; 0: nothing. Result: 0; -EINVAL: value > limit.
AIO_FN aio_result aio_semaphore_init(aio_semaphore *semaphore, uint32_t value, uint32_t limit);
// Awaitable: takes a unit. Result: 0.
AIO_FN AIO_NODISCARD aio_awaitable aio_semaphore_acquire(aio_semaphore *semaphore);
// Result: 0; -ERANGE: above the limit.
AIO_FN aio_result aio_semaphore_release(aio_semaphore *semaphore);
AIO_FN bool aio_semaphore_locked(const aio_semaphore *semaphore);

// Result: 0; -EINVAL: no parties.
AIO_FN aio_result aio_barrier_init(aio_barrier *barrier, uint32_t parties);
// Awaitable: waits until all parties wait. Result: 0 … parties - 1, in order of arrival;
// -ENOTRECOVERABLE: it was reset or is broken.
AIO_FN AIO_NODISCARD aio_awaitable aio_barrier_wait(aio_barrier *barrier);
// Sends away who waits; the barrier is usable again when they have left. abort: broken until reset.
AIO_FN void aio_barrier_reset(aio_barrier *barrier);
AIO_FN void aio_barrier_abort(aio_barrier *barrier);

// storage: capacity * item_bytes, the caller's. compare (or null): a priority queue, the smallest
// leaves first, equal ones in order of entry. flags: 0 or AIO_QUEUE_LIFO. Result: 0; -EINVAL: no
// storage, or a size or capacity of 0 (or beyond INT32_MAX). Cost: puts and gets do not depend on
// how many items there are; but a put to a priority queue takes log2 n comparisons, and moves
// n / 64 items at most, and 64 more.
AIO_FN aio_result aio_queue_init(aio_queue *q, void *storage, size_t item_bytes, uint32_t capacity,
                                 uint32_t flags, int (*compare)(const void *, const void *, void *),
                                 void *context);
// Awaitables: copy an item in, when there is room, or out, when there is one. Lifetime: the item
// until the await ends. Result: 0; -ESHUTDOWN: puts at once, gets when it is empty.
AIO_FN AIO_NODISCARD aio_awaitable aio_queue_put(aio_queue *q, const void *item);
AIO_FN AIO_NODISCARD aio_awaitable aio_queue_get(aio_queue *q, void *item);
// The same at once, or -EAGAIN.
AIO_FN aio_result aio_queue_put_nowait(aio_queue *q, const void *item);
AIO_FN aio_result aio_queue_get_nowait(aio_queue *q, void *item);
// One item that was taken is done. Result: 0; -ERANGE: more than were put.
AIO_FN aio_result aio_queue_task_done(aio_queue *q);
// Awaitable: waits until all that were put are done. Result: 0.
AIO_FN AIO_NODISCARD aio_awaitable aio_queue_join(aio_queue *q);
// No more puts; immediate: what is in it is dropped.
AIO_FN void aio_queue_shutdown(aio_queue *q, bool immediate);
AIO_FN uint32_t aio_queue_count(const aio_queue *q);

// --- waiting: to write awaitables of one's own

// In a start function: the wait has begun; from now on `cls` answers for it. Uses w->node.u freely.
AIO_INLINE void aio_waiter_begin(aio_waiter *w, const aio_wait_class *cls);

// The wait is over: the owner goes on with r in the next turn, unless it is cancelled until then.
// At most once per start.
AIO_INLINE void aio_complete(aio_waiter *w, aio_result r);

// The wait may be over: cls->resume decides in the owner's next step. At most once per begin.
AIO_INLINE void aio_wake(aio_waiter *w, const aio_wait_class *cls);

// What `w` waits for, in words: "recv fd 7". Returns the length.
AIO_FN size_t aio_describe(const aio_waiter *w, char *text, size_t size);

// --- scopes: to write things that end with their frame

// Opens `s` in the running coroutine's frame: when that frame returns, cls->exit ends it.
AIO_FN void aio_scope_enter(aio_scope *s, aio_task *t, const aio_scope_class *cls);
// Closes it; also out of order.
AIO_FN void aio_scope_leave(aio_scope *s, aio_task *t);

// --- executor

// Prepares an executor. Result: 0 or -ENOMEM. Lifetime: `x` must not move.
AIO_FN aio_result aio_executor_init(aio_executor *x, const struct aio_executor_options *options);

// One turn: runs exactly what was ready when it began. Returns how many entries ran; 0: nothing was
// ready, and nothing will be unless somebody completes a wait.
AIO_FN uint32_t aio_executor_turn(aio_executor *x);

// Ends it: no body is resumed; drop hooks run leaf to root, newest task first; all memory goes
// back.
AIO_FN void aio_executor_close(aio_executor *x);

// ----------------------------------------------------------------------------------- >>internal
#define AIO__LIKELY(x) __builtin_expect(!!(x), 1)
#define AIO__UNLIKELY(x) __builtin_expect(!!(x), 0)
#define AIO__CAT_(a, b) a##b
#define AIO__CAT(a, b) AIO__CAT_(a, b)
#define AIO__STR(x) #x
#define AIO__PRAGMA(x) _Pragma(AIO__STR(x))
#define AIO__CONTAINER(pointer, type, member) \
    ((type *)(void *)((char *)(pointer) - offsetof(type, member)))
#define AIO__TASK_OF(waiter) ((aio_task *)(void *)(waiter))
#ifdef __cplusplus
#  define AIO__ASSERT(condition, text) static_assert(condition, text)
#else
#  define AIO__ASSERT(condition, text) _Static_assert(condition, text)
#endif

enum {                          // aio_future.flags
    AIO__DONE = 1u << 0,
    AIO__CANCELLED = 1u << 1,
    AIO__SEEN = 1u << 2,        // its error was looked at, or its end noticed: nothing to report
    AIO__TAKEN = 1u << 13,      // its value was handed out: it is not the drop hook's any more
    AIO__GENERATES = 1u << 14,  // a task: generators stand on its scopes, which are no stack
    AIO__IS_TASK = 1u << 3,
    AIO__IS_OP = 1u << 12,
    AIO__MUST_CANCEL = 1u << 4, // -ECANCELED is owed at the next await that suspends
    AIO__RESUME = 1u << 5,      // the wait's class looks again before the body goes on
    AIO__AGAIN = 1u << 6,       // the leaf changed: the trampoline goes on with it
    AIO__REFUSED = 1u << 7,     // a constant: a spawn that failed
    AIO__IN_SLOT = 1u << 8,     // the block is the user's
    AIO__MARK = 1u << 9,        // seen on a walk
    AIO__CANCEL_ASKED = 1u << 10,   // an operation was asked to end and will end by itself
    AIO__NOTED = 1u << 11,      // a cancel that a wait tells at its end
    AIO__FORGIVEN = 1u << 12,   // its error is not told if nobody looks (G-3)
    AIO__NEVER_BEGAN = 1u << 15,    // cancelled before its first step
    AIO__CLASS_SHIFT = 16,
};
// Who sets them, and when. DONE, CANCELLED: aio__future_finish and aio__task_finish, with the
// result, and then all watchers are told; aio__task_destroyed, when no watcher is left. IS_OP is an
// op's or a plain future's bit where FORGIVEN is a task's. MUST_CANCEL: a cancel that no wait took;
// gone when -ECANCELED is delivered. RESUME: aio_wake, until the step (an op: at once). AGAIN: who
// changes t->leaf inside a step, until that step has ended. CANCEL_ASKED: a cancel that a wait will
// answer at its end. NOTED: only while a condition's waiter takes its lock again. MARK: never
// outside one call. The others stay.
//
// What node.u holds, and on which list the node stands, by node.cls:
//   future, task, join, op      list: on target->watchers
//   shield, end of a cancelled  the same; told: target is the task that it holds, or null, and
//                               w[0] its place in the ready ring
//   lock, event, condition,     list.next, .prev: on the object's list; p[2]: the object, and in
//   semaphore, queue, barrier   the low bits whether it was woken or cancelled (aio__sync_state)
//   gather, wait, race          p[0]: the block of its watches (struct aio__many)
//   group                       p[0]: the group, whose `waiting` points back
//   sleep, tick                 timer: index says where; data: the ticker
//   job                         p[0]: the job, whose `waiter` points back
//   message, signal             list.next, .prev: on the loop's list; p[2]: what it wants
//   generator                   nothing: the generator's `closer` points here
//   ready                       nothing but what its own resume and dispose look at
// Nodes that are no waiter's: a done-callback has list, and queued p[0], the task that it holds; a
// handle has timer; a watch and a group's child have list, and keep target when they are queued.
//
// A task that was destroyed (its executor closes) stands on no list but the executor's, until its
// hooks run, and perhaps among those that are left behind; nothing it waited for knows it.
enum {
    AIO__SITE_START,
    AIO__SITE_AWAIT,
    AIO__SITE_YIELD,
    AIO__SITE_LEAVING,
    AIO__SITE_OVER,
    AIO__SITE_GUARD,
    AIO__SITE_NATIVE,           // no coroutine stands behind it: struct aio__native
    AIO__SITE_ITERATION,        // struct aio__generator, between a generator and who iterates
};
enum {                          // aio_scope_class.kind
    AIO__SCOPE_OWN, AIO__SCOPE_GENERATOR, AIO__SCOPE_OP, AIO__SCOPE_GROUP,
    AIO__SCOPE_PLAIN,           // its exit neither waits nor runs the user's code
};
enum {                          // aio_wait_class.kind
    AIO__WAIT_OWN, AIO__WAIT_READY, AIO__WAIT_FUTURE, AIO__WAIT_TASK, AIO__WAIT_JOIN,
    AIO__WAIT_CALLBACK, AIO__WAIT_SLEEP, AIO__WAIT_URING, AIO__WAIT_THREAD_START, AIO__WAIT_OP,
    AIO__WAIT_SHIELD,           // like a future's; the end takes a turn of its own
    AIO__WAIT_WATCH,            // a node of gather, wait, as_completed or race
    AIO__WAIT_CHILD,            // a node of a group
    AIO__WAIT_GATHER,
    AIO__WAIT_DONE_CALLBACK,    // aio_callback
    AIO__WAIT_EVENT,
};
enum {                          // aio_await_class.kind
    AIO__AWAIT_OWN, AIO__AWAIT_NEXT_TURN, AIO__AWAIT_SLEEP, AIO__AWAIT_FUTURE, AIO__AWAIT_JOIN,
    AIO__AWAIT_SHIELD,
    AIO__AWAIT_JOB,             // may own its argument: u.p[2]; u.p[3] frees it
    AIO__AWAIT_IO,              // one operation of the ring
    AIO__AWAIT_IO_ALL,          // one that goes on until all is transferred: u.w[6] bytes
    AIO__AWAIT_IO_CLOSE,
    AIO__AWAIT_TASK_ONLY,       // from here on: not for an op
    AIO__AWAIT_CALL, AIO__AWAIT_CALL_NEW, AIO__AWAIT_WAIT_FOR, AIO__AWAIT_GATHER,
};
enum { AIO__RUN_TASK, AIO__RUN_NODE, AIO__RUN_NOTHING };    // tags in the ready ring
enum { AIO__DETACHING = 1, AIO__DROPPING };                 // aio_executor.ending

struct aio__task_extra {
    const char *name;
    void *user;
    const aio_site *cancel_site;
    uint64_t walk;              // the last cancel that reached it,
    aio_task *last;             // and where that went on to, from task to task
    uint32_t cancels;
    uint32_t pass;                  // of the shutdown in which it was last cancelled
};
enum { AIO__WATCH_IDLE, AIO__WATCH_DONE, AIO__WATCH_LISTED, AIO__WATCH_QUEUED };
struct aio__watched {
    aio_node node;
    struct aio__many *many;
    // in the executor's list of what a cancel still has to reach
    struct aio__watched *next_cancel;
    uint32_t state, place;              // place: in the ready ring
    bool twice;                         // its future stands before it in the array
    bool failed;                        // its future has ended with an error
};
// In timer.index: 0 idle; place in the heap + 1; this | place in the ready ring.
#define AIO__QUEUED 0x80000000u
#define AIO__IN_INBOX 0x7fffffffu   // of a handle; timer.data: the one before it
struct aio__observer {
    void (*turn)(aio_executor *x, uint32_t end);            // it begins; its entries end at `end`
    void (*before)(aio_executor *x, uintptr_t entry);
    void (*after)(aio_executor *x, uintptr_t entry);
};
struct aio__chunk { struct aio__chunk *next, *prev; };      // before each piece from the allocator
AIO_COLD void aio__too_narrow(aio_task *t);

// --- the lost-locals check
// The body is the substatement of a switch that is never taken; every await plants a case in it. A
// compiler then sees a jump past each initialised local that is alive across the await, and refuses
// it. clang checks computed gotos by itself. The pragmas live from aio_async to aio_end.
#if defined __clang__
#  define AIO__CHECK_ON AIO__PRAGMA(clang diagnostic push) \
       AIO__PRAGMA(clang diagnostic error "-Wconditional-uninitialized") \
       AIO__PRAGMA(clang diagnostic error "-Wsometimes-uninitialized") \
       AIO__PRAGMA(clang diagnostic error "-Wuninitialized") AIO__NO_VLA
#  ifdef AIO_LINT
#    define AIO__NO_VLA AIO__PRAGMA(clang diagnostic error "-Wvla")
#  else
#    define AIO__NO_VLA
#  endif
#  define AIO__CHECK_OFF AIO__PRAGMA(clang diagnostic pop)
#  define AIO__QUIET(option) \
       AIO__PRAGMA(clang diagnostic push) AIO__PRAGMA(clang diagnostic ignored option)
#  define AIO__LOUD AIO__PRAGMA(clang diagnostic pop)
#  if __clang_major__ >= 21
#    pragma clang diagnostic ignored "-Wc2y-extensions"     // __COUNTER__
#  endif
#elif defined __GNUC__
#  ifdef AIO_LINT
#    define AIO__FLOW error
#    define AIO__NO_VLA AIO__PRAGMA(GCC diagnostic error "-Wvla") \
         AIO__PRAGMA(GCC diagnostic error "-Walloca")
#  else
#    define AIO__FLOW warning
#    define AIO__NO_VLA
#  endif
#  ifdef __cplusplus
#    define AIO__JUMPS
#  else
#    define AIO__JUMPS AIO__PRAGMA(GCC diagnostic error "-Wjump-misses-init")
#  endif
#  define AIO__CHECK_ON AIO__PRAGMA(GCC diagnostic push) AIO__JUMPS \
       AIO__PRAGMA(GCC diagnostic error "-Wreturn-type") \
       AIO__PRAGMA(GCC diagnostic AIO__FLOW "-Wmaybe-uninitialized") \
       AIO__PRAGMA(GCC diagnostic AIO__FLOW "-Wuninitialized") AIO__NO_VLA
#  define AIO__CHECK_OFF AIO__PRAGMA(GCC diagnostic pop)
#  define AIO__QUIET(option) \
       AIO__PRAGMA(GCC diagnostic push) AIO__PRAGMA(GCC diagnostic ignored option)
#  define AIO__LOUD AIO__PRAGMA(GCC diagnostic pop)
#else
#  define AIO__CHECK_ON
#  define AIO__CHECK_OFF
#  define AIO__QUIET(option)
#  define AIO__LOUD
#endif

// --- where a body goes on
#ifdef AIO_STRICT
#  define AIO__EXT
#  define AIO__LABEL(n) (const void *)(uintptr_t)((n) + 1u)
#  define AIO__ENTRY(n)
   // A case of 33 bits: in a user's switch over an int it does not fit, and that is an error here.
#  define AIO__WIDE UINT64_C(0x100000000)
#  if defined __clang__
#    define AIO__CASE(n) \
        AIO__PRAGMA(clang diagnostic push) AIO__PRAGMA(clang diagnostic error "-Wswitch") \
        case AIO__WIDE + (n) + 1u: AIO__LOUD
#  elif defined __GNUC__
#    define AIO__CASE(n) \
        AIO__PRAGMA(GCC diagnostic push) AIO__PRAGMA(GCC diagnostic error "-Woverflow") \
        case AIO__WIDE + (n) + 1u: AIO__LOUD
#  else
#    define AIO__CASE(n) case AIO__WIDE + (n) + 1u:
#  endif
#  define AIO__DISPATCH \
       switch ((uint64_t)(uintptr_t)self->aio.site->label + \
               (self->aio.site->label ? AIO__WIDE : 0u)) { \
       default: aio__panic(AIO__TASK, self->aio.site, "strict ISO C: an await inside a switch"); \
           return -EOPNOTSUPP; \
       case 0: ;
#else
#  define AIO__EXT __extension__
#  define AIO__LABEL(n) AIO__EXT &&AIO__CAT(aio__at_, n)
#  define AIO__ENTRY(n) AIO__CAT(aio__at_, n):
#  define AIO__GOTO \
       /* a computed goto wants a label whose address is taken, also where there is no await */ \
       static const void *const aio__first = AIO__EXT &&aio__begin; (void)aio__first; \
       AIO__QUIET("-Wpedantic") if (self->aio.site->label) goto *self->aio.site->label; AIO__LOUD \
       aio__begin:
#  if defined AIO_NO_LOCALS_CHECK || defined __clang__
#    define AIO__DISPATCH AIO__GOTO {
#    define AIO__CASE(n)
#  else
#    define AIO__DISPATCH AIO__GOTO ; enum { aio__before = __COUNTER__ }; switch (0) { default: ;
     // Counted from the start of the body, so that they do not change with the rest of the file. In
     // a switch over 32 bits the lower half is left.
#    define AIO__PLANTED_FROM 0x210c0de51d0a1f00
#    ifdef __cplusplus
#      define AIO__PLANTED(n) aio__case<n - aio__before>()
#    else
#      define AIO__PLANTED(n) AIO__PLANTED_FROM + (n) - aio__before
#    endif
     // The case is there for the compiler alone: no value reaches it. In a switch of the user's one
     // may be equal to it; but gcc drops each case that leads to __builtin_unreachable, at -O0 too,
     // and such a value goes where any other goes that has no case. (A sanitizer keeps the case.)
     // -Wswitch-outside-range is newer than some compilers; -Wpragmas would say so.
#    define AIO__PLANTED_HERE __attribute__((no_sanitize("unreachable")))
#    define AIO__CASE(n) \
        AIO__QUIET("-Wswitch") AIO__PRAGMA(GCC diagnostic ignored "-Wswitch-enum") \
        AIO__PRAGMA(GCC diagnostic ignored "-Wswitch-outside-range") \
        AIO__PRAGMA(GCC diagnostic ignored "-Woverflow") \
        AIO__PRAGMA(GCC diagnostic ignored "-Wsign-conversion") \
        AIO__PRAGMA(GCC diagnostic ignored "-Wsign-compare") \
        case AIO__PLANTED(n): /* THIS LOCAL WOULD BE LOST: it is in scope across an await. Keep it in the frame, or in an inner block. */ \
        __builtin_unreachable(); AIO__LOUD
#  endif
#endif

#ifndef AIO__PLANTED_HERE
#  define AIO__PLANTED_HERE
#endif

// --- bodies
#define AIO__TASK aio__not_inside_aio_async
#define AIO__STEP(name) AIO__CAT(aio__step_, name)
#define AIO__CO(name) AIO__CAT(aio__coroutine_, name)
#define AIO__HOOK(name) AIO__CAT(aio__hook_, name)
#define AIO__DROP(name) AIO__CAT(aio__drop_, name)
#define AIO__SCRATCH(name) AIO__CAT(aio__scratch_, name)
#define AIO__HIDDEN __attribute__((visibility("hidden")))

struct aio__scope_check { char at_file_scope[1]; };     // shadowed inside a body
#define AIO__AT_FILE_SCOPE(name) AIO__ASSERT(sizeof(struct aio__scope_check) == 1, \
    "aio_async(" #name ") inside another coroutine: the aio_end of the one before is missing");
#if defined __cplusplus && !defined __clang__
#  define AIO__SHADOW_CHECK \
       AIO__QUIET("-Wshadow") struct aio__scope_check { char inside[2]; }; AIO__LOUD
#else
#  define AIO__SHADOW_CHECK struct aio__scope_check { char inside[2]; };
#endif

#define AIO__COROUTINE_INIT(name, step) \
    AIO__CO_INIT(name, step, AIO__CO(name), AIO__DROP(name), AIO__SCRATCH(name))
#define AIO__CO_INIT(name, step, co, drop, scratch) { \
    { step, &co }, { aio__leaving_step, &co }, \
    { 0, &co.body, "start", __LINE__, AIO__SITE_START }, \
    { 0, &co.leaving_body, "return (scopes are ending)", __LINE__, AIO__SITE_LEAVING }, \
    { 0, &co.body, "over", __LINE__, AIO__SITE_OVER }, \
    &drop, &scratch, #name, __FILE__, (uint32_t)sizeof(struct name) }

#ifdef __cplusplus
struct aio__tag {};
// The planted case of a user's switch may be over any integer or enumeration. A byte's few values
// are chosen among those without a name: __PRETTY_FUNCTION__ says "V = (E)65", not "V = E::a".
#  if defined __GNUC__ && !defined __clang__
template <class E, E V> constexpr bool aio__has_name()
{
    const char *text = __PRETTY_FUNCTION__;
    for (; *text; text++) {
        if (text[0] == 'V' && text[1] == ' ' && text[2] == '=') return text[4] != '(';
    }
    return true;
}
template <class E, int... I> constexpr E aio__nameless(int n)
{
    const bool named[] = { aio__has_name<E, static_cast<E>(I)>()... };
    int left = 0;
    for (bool has : named) left += !has;
    n = left ? n % left : 0;                // the n-th, from above
    for (int i = 255; i >= 0; i--) {
        if (!named[i] && !n--) return static_cast<E>(i);
    }
    return static_cast<E>(0);
}
template <class E, int N> constexpr E aio__byte_case()
{
    return aio__nameless<E, __integer_pack(256)...>(N);
}
#  else
template <class E, int N> constexpr E aio__byte_case() { return static_cast<E>(64 + N % 63); }
#  endif
template <int N> struct aio__case {
    template <class E> constexpr operator E() const
    {
        if constexpr (sizeof(E) == 1) return aio__byte_case<E, N>();
        else if constexpr (sizeof(E) == 2) return static_cast<E>(0x8000 + N % 0x7fff);
        else if constexpr (sizeof(E) == 4) return static_cast<E>(0x1d0a1f00 + N);
        else return static_cast<E>(0x210c0de51d0a1f00 + N);
    }
};
constexpr aio_result (*aio__find_drop(aio__tag, void *))(aio_frame *, aio_result)
{
    return nullptr;
}
constexpr uint32_t aio__find_scratch(aio__tag, void *) { return 0; }
constexpr bool aio__is_async(aio__tag, void *) { return false; }
#  define AIO__TOO_LATE(macro, name) \
       static_assert(!aio__is_async(aio__tag(), static_cast<struct name *>(nullptr)), \
           macro "(" #name ") must come before aio_async(" #name ") in C++");
#  define AIO__PARTS(name) \
       AIO__PLANTED_HERE static aio_result AIO__STEP(name)(aio_frame *, aio_task *); \
       static constexpr struct aio__drop AIO__DROP(name) = \
           { aio__find_drop(aio__tag(), static_cast<struct name *>(nullptr)) }; \
       static constexpr struct aio__scratch AIO__SCRATCH(name) = \
           { aio__find_scratch(aio__tag(), static_cast<struct name *>(nullptr)) }; \
       constexpr bool aio__is_async(aio__tag, struct name *) { return true; }
#  define AIO__DEFINE(name) \
       namespace { extern const aio_coroutine AIO__CO(name); } AIO__PARTS(name) \
       namespace { const aio_coroutine AIO__CO(name) = AIO__COROUTINE_INIT(name, AIO__STEP(name)); }
#  define AIO__DEFINE_EXTERN(name) AIO__DECLARE_EXTERN(name); AIO__PARTS(name) \
       const aio_coroutine AIO__CO(name) = AIO__COROUTINE_INIT(name, AIO__STEP(name));
#  define AIO__DECLARE(name) namespace { extern const aio_coroutine AIO__CO(name); } struct name
#  define AIO__DECLARE_EXTERN(name) \
       extern "C" { AIO__HIDDEN extern const aio_coroutine AIO__CO(name); } struct name
#  define AIO__DROP_HOOK(name) AIO__CHECK_ON AIO__TOO_LATE("aio_drop", name) \
       static aio_result AIO__HOOK(name)(aio_frame *, aio_result); \
       constexpr aio_result (*aio__find_drop(aio__tag, struct name *))(aio_frame *, aio_result) \
       { return AIO__HOOK(name); } AIO__HOOK_BODY(name)
#  define AIO__SCRATCH_FROM(name, member) AIO__TOO_LATE("aio_scratch", name) \
       constexpr uint32_t aio__find_scratch(aio__tag, struct name *) \
       { return (uint32_t)offsetof(struct name, member); } struct name
#else
#  define AIO__PARTS(name) \
       AIO__PLANTED_HERE static aio_result AIO__STEP(name)(aio_frame *, aio_task *); \
       static const struct aio__drop AIO__DROP(name);    /* tentative: aio_drop may define it */ \
       static const struct aio__scratch AIO__SCRATCH(name);    /* tentative: aio_scratch may */
#  define AIO__DEFINE(name) AIO__PARTS(name) \
       static const aio_coroutine AIO__CO(name) = AIO__COROUTINE_INIT(name, AIO__STEP(name));
#  define AIO__DEFINE_EXTERN(name) AIO__PARTS(name) AIO__DECLARE_EXTERN(name); \
       const aio_coroutine AIO__CO(name) = AIO__COROUTINE_INIT(name, AIO__STEP(name));
#  define AIO__DECLARE(name) static const aio_coroutine AIO__CO(name)
#  define AIO__DECLARE_EXTERN(name) AIO__HIDDEN extern const aio_coroutine AIO__CO(name)
#  define AIO__DROP_HOOK(name) AIO__CHECK_ON \
       static aio_result AIO__HOOK(name)(aio_frame *, aio_result); \
       static const struct aio__drop AIO__DROP(name) = { AIO__HOOK(name) }; AIO__HOOK_BODY(name)
#  define AIO__SCRATCH_FROM(name, member) \
       static const struct aio__scratch AIO__SCRATCH(name) = \
           { (uint32_t)offsetof(struct name, member) }
#endif
#define AIO__HOOK_BODY(name) \
    static aio_result AIO__HOOK(name)(aio_frame *aio__frame, aio_result dropped) \
    { struct name *const self = (struct name *)(void *)aio__frame; (void)self; (void)dropped; {

#define AIO__ASYNC(name, define) \
    AIO__FRAME_CHECK(name) \
    define(name) \
    static aio_result AIO__STEP(name)(aio_frame *aio__frame, aio_task *AIO__TASK) \
    { \
        AIO__BODY(name, AIO__CO(name))
#define AIO__FRAME_CHECK(name) \
    AIO__AT_FILE_SCOPE(name) AIO__CHECK_ON \
    AIO__ASSERT(offsetof(struct name, aio) == 0, \
        "`aio_frame aio;` must be the first member of struct " #name); \
    AIO__ASSERT(AIO__ALIGN_OF(struct name) <= AIO__GRAIN, \
        "struct " #name " wants more than 16-byte alignment"); \
    AIO__PLAIN(name)
#define AIO__BODY(name, co) \
        static const struct aio__body aio__body = { AIO__STEP(name), &co }; \
        AIO__SHADOW_CHECK \
        struct name *const self = (struct name *)(void *)aio__frame; \
        (void)self; (void)AIO__TASK; (void)aio__body; (void)sizeof(struct aio__scope_check); \
        AIO__DISPATCH
// aio__async(name) { … } aio_end: a coroutine of the headers' own; AIO__OWN_CO(name) points to its
// descriptor. aio__async_drop(name) { … } aio_end: one with a hook, which aio__drop_of(name) { … }
// aio_end before it defines. gcc -O0 keeps every table at file scope, used or not, and all that it
// names. There the descriptor stands in the step function, which is inline and gives it away when
// it gets no frame.
#ifdef __OPTIMIZE__
#  define AIO__OWN_CO(name) (&AIO__CO(name))
#  define aio__async(name) aio_async(name)
#  define aio__async_drop(name) aio_async(name)
#  define aio__drop_of(name) aio_drop(name)
#else
#  define AIO__OWN_CO(name) ((const aio_coroutine *)(uintptr_t)AIO__STEP(name)(0, 0))
#  define aio__async(name) AIO__OWN_ASYNC(name, 0)
#  define aio__async_drop(name) AIO__OWN_ASYNC(name, AIO__HOOK(name))
#  define aio__drop_of(name) AIO__CHECK_ON inline AIO__HOOK_BODY(name)
#  define AIO__OWN_ASYNC(name, hook) \
    AIO__FRAME_CHECK(name) \
    AIO_FN aio_result AIO__STEP(name)(aio_frame *aio__frame, aio_task *AIO__TASK) \
    { \
        static const struct aio__drop aio__drop = { hook }; \
        static const struct aio__scratch aio__scratch = { 0 }; \
        static const aio_coroutine aio__co = \
            AIO__CO_INIT(name, AIO__STEP(name), aio__co, aio__drop, aio__scratch); \
        if (!aio__frame) return (aio_result)(uintptr_t)&aio__co; \
        AIO__BODY(name, aio__co)
#endif
#ifdef __cplusplus
#  define AIO__ALIGN_OF(type) alignof(type)
#  define AIO__PLAIN(name) static_assert(__is_trivial(struct name), "struct " #name \
       " must be plain: its members' constructors, initialisers and destructors would not run");
#else
#  define AIO__ALIGN_OF(type) _Alignof(type)
#  define AIO__PLAIN(name)
#endif

// --- await
// One argument: (awaitable); more: (lvalue, awaitable …).
#define AIO__PICK(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, x, ...) x
#define AIO__1_OR_2(...) \
    AIO__PICK(__VA_ARGS__, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, )
#define AIO__OVERLOAD(macro, ...) AIO__CAT(macro, AIO__1_OR_2(__VA_ARGS__))

#ifdef AIO_LINT
#  define AIO__UNLESS_DONE(n, condition) (void)(condition); return AIO_PENDING;
#  define AIO__DONE_HERE(n)
#else
#  define AIO__UNLESS_DONE(n, condition) \
       if (condition) { goto AIO__CAT(aio__done_, n); } \
       return AIO_PENDING;
#  define AIO__DONE_HERE(n) AIO__CAT(aio__done_, n): ;
#endif
#define AIO__SUSPEND(n, kind, text, started, then) \
    do { \
        (void)AIO__TASK; \
        static const aio_site AIO__CAT(aio__site_, n) = \
            { AIO__LABEL(n), &aio__body, text, __LINE__, kind }; \
        self->aio.site = &AIO__CAT(aio__site_, n); \
        AIO__UNLESS_DONE(n, started) \
        AIO__CASE(n) \
        AIO__ENTRY(n) AIO__DONE_HERE(n) ; \
        then \
    } while (0)
#define AIO__AWAIT_1(text, aw) AIO__AWAIT(__COUNTER__, text, aw, )
#define AIO__AWAIT_2(text, lhs, ...) AIO__AWAIT(__COUNTER__, text, (__VA_ARGS__), AIO__ASSIGN(lhs))
#define AIO__AWAIT(n, text, aw, then) AIO__AWAIT_(n, text, aw, then)
#define AIO__AWAIT_(n, text, aw, then) \
    AIO__SUSPEND(n, AIO__SITE_AWAIT, text, aio__start(AIO__TASK, aw), then)
#define AIO__TRY_1(text, aw) AIO__AWAIT(__COUNTER__, text, aw, AIO__OR_RETURN)
#define AIO__TRY_2(text, lhs, ...) \
    AIO__AWAIT(__COUNTER__, text, (__VA_ARGS__), AIO__OR_RETURN AIO__ASSIGN(lhs))
#define AIO__OR_RETURN if (AIO__RESULT < 0) return AIO__RESULT;

#define AIO__YIELD_1(text, v) AIO__YIELD(__COUNTER__, text, v, if (AIO__RESULT < 0) return 0;)
#define AIO__YIELD_2(text, lhs, v) AIO__YIELD(__COUNTER__, text, v, AIO__ASSIGN(lhs))
#define AIO__YIELD(n, text, v, then) AIO__YIELD_(n, text, v, then)
#define AIO__YIELD_(n, text, v, then) \
    do { \
        static const aio_site AIO__CAT(aio__site_, n) = \
            { AIO__LABEL(n), &aio__body, text, __LINE__, AIO__SITE_YIELD }; \
        self->aio.site = &AIO__CAT(aio__site_, n); \
        self->value = (v); \
        return 1; \
        AIO__CASE(n) \
        AIO__ENTRY(n) self->aio.site = &aio__body.coroutine->over; \
        then \
    } while (0)

#define AIO__RESULT (AIO__TASK->waiter.future.result)
#define AIO__NOT_SIGNED \
    "aio_await(lvalue, awaitable): the lvalue must be a signed integer, results can be negative"
#ifdef __cplusplus
template <class T> inline void aio__assign(T &lhs, aio_task *t)
{
    static_assert(static_cast<T>(-1) < static_cast<T>(1), AIO__NOT_SIGNED);
    static_assert(T(3) / T(2) == T(1), AIO__NOT_SIGNED);
    lhs = static_cast<T>(t->waiter.future.result);
    if (AIO__UNLIKELY(static_cast<aio_result>(lhs) != t->waiter.future.result)) aio__too_narrow(t);
}
#  define AIO__ASSIGN(lhs) aio__assign(lhs, AIO__TASK);
#else
#  define AIO__IS_SIGNED(x) \
     _Generic((x), signed char: 1, short: 1, int: 1, long: 1, long long: 1, default: 0)
#  ifdef AIO_STRICT
#    define AIO__CAST(lhs, r) _Generic((lhs), signed char: (signed char)(r), short: (short)(r), \
         int: (int)(r), long: (long)(r), default: (long long)(r))
#  else
#    define AIO__CAST(lhs, r) (__typeof__(lhs))(r)
#  endif
#  define AIO__ASSIGN(lhs) \
     AIO__ASSERT(AIO__IS_SIGNED(lhs), AIO__NOT_SIGNED); \
     if (AIO__UNLIKELY((aio_result)(lhs = AIO__CAST(lhs, AIO__RESULT)) != AIO__RESULT)) \
         aio__too_narrow(AIO__TASK);
#endif

// --- keyword arguments: assigned in place, after zeroing
#define AIO__COUNT_(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, x, ...) x
#define AIO__COUNT(...) \
    AIO__COUNT_(__VA_ARGS__, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, )
#define AIO__SET_0(p, a)
#define AIO__SET_1(p, a, ...) (*(p)) a;
#define AIO__SET_2(p, a, ...) (*(p)) a; AIO__SET_1(p, __VA_ARGS__)
#define AIO__SET_3(p, a, ...) (*(p)) a; AIO__SET_2(p, __VA_ARGS__)
#define AIO__SET_4(p, a, ...) (*(p)) a; AIO__SET_3(p, __VA_ARGS__)
#define AIO__SET_5(p, a, ...) (*(p)) a; AIO__SET_4(p, __VA_ARGS__)
#define AIO__SET_6(p, a, ...) (*(p)) a; AIO__SET_5(p, __VA_ARGS__)
#define AIO__SET_7(p, a, ...) (*(p)) a; AIO__SET_6(p, __VA_ARGS__)
#define AIO__SET_8(p, a, ...) (*(p)) a; AIO__SET_7(p, __VA_ARGS__)
#define AIO__SET_9(p, a, ...) (*(p)) a; AIO__SET_8(p, __VA_ARGS__)
#define AIO__SET_10(p, a, ...) (*(p)) a; AIO__SET_9(p, __VA_ARGS__)
#define AIO__SET_11(p, a, ...) (*(p)) a; AIO__SET_10(p, __VA_ARGS__)
#define AIO__SET_12(p, a, ...) (*(p)) a; AIO__SET_11(p, __VA_ARGS__)
#define AIO__SET_13(p, a, ...) (*(p)) a; AIO__SET_12(p, __VA_ARGS__)
#define AIO__SET_14(p, a, ...) (*(p)) a; AIO__SET_13(p, __VA_ARGS__)
#define AIO__SET_15(p, a, ...) (*(p)) a; AIO__SET_14(p, __VA_ARGS__)
#define AIO__SET_16(p, a, ...) (*(p)) a; AIO__SET_15(p, __VA_ARGS__)
#define AIO__SET(p, ...) AIO__CAT(AIO__SET_, AIO__COUNT(__VA_ARGS__))(p, __VA_ARGS__)
#define AIO__V(what, n) AIO__CAT(AIO__CAT(aio__, what), n)

#if defined AIO_LINT || defined __cplusplus    // where an array of no constant size is an error
#  define AIO__ONE_BLOCK 1
#else
#  define AIO__ONE_BLOCK aio__one()     // on the stack while its block lasts
#endif
#ifdef AIO_STRICT       // an ISO C expression: a compound literal, copied
#  define AIO__INIT(name, ...) (&(struct name){ .aio = { 0, &AIO__CO(name).start }, __VA_ARGS__ })
#  define AIO__SPAWN(n, begin, x, name, ...) AIO__CAT(begin, _from)( \
       aio__task_new(x, &AIO__CO(name), sizeof(struct name)), &AIO__CO(name), \
       &AIO__INIT(name, __VA_ARGS__)->aio)
#  define AIO__SPAWN_IN(n, slot, name, ...) aio__task_begin_in(&(slot)->task, sizeof *(slot), \
       &AIO__CO(name), sizeof(struct name), &AIO__INIT(name, __VA_ARGS__)->aio)
#  define AIO__CALL(n, storage, name, ...) \
       aio__call(&AIO__CO(name), (struct name *)__builtin_memcpy( \
       (1 ? (storage) : (struct name *)0), AIO__INIT(name, __VA_ARGS__), sizeof(struct name)))
#  define AIO__CALL_NEW(n, name, ...) \
       aio__call_new_from(AIO__TASK, &AIO__CO(name), &AIO__INIT(name, __VA_ARGS__)->aio)
#  define AIO__GEN_INIT(n, storage, name, ...) \
       aio__gen_open_from(AIO__TASK, &(1 ? (storage) : (struct name *)0)->aio, \
           &AIO__INIT(name, __VA_ARGS__)->aio, &AIO__CO(name))
#else
#  define AIO__SPAWN(n, begin, x, name, ...) \
       AIO__MAKE(n, begin, aio__task_new(x, &AIO__CO(name), sizeof(struct name)), name, __VA_ARGS__)
#  define AIO__SPAWN_IN(n, slot, name, ...) AIO__SPAWN_IN_(n, slot, name, __VA_ARGS__)
#  define AIO__MAKE(n, begin, make, name, ...) AIO__MAKE_(n, begin, make, name, __VA_ARGS__)
#  define AIO__MAKE_(n, begin, make, name, ...) aio__handle_to_join_or_detach(__extension__({ \
       aio_task *AIO__V(task_, n) = make; \
       if (AIO__LIKELY(AIO__V(task_, n)->leaf)) { \
           struct name *AIO__V(frame_, n) = (struct name *)(void *)AIO__V(task_, n)->leaf; \
           (void)AIO__V(frame_, n); \
           AIO__SET(AIO__V(frame_, n), __VA_ARGS__) \
           begin(AIO__V(task_, n)); \
       } else \
           AIO__REFUSE(AIO__V(frame_, n), AIO__V(task_, n)->waiter.future.result, name, \
                       __VA_ARGS__) \
       AIO__V(task_, n); }))
   // No block: the arguments go to the C stack, for as long as the drop hook looks at them. A frame
   // that is too large for that and has no hook is left alone.
#  ifdef __cplusplus
#    define AIO__REFUSE(frame, why, name, ...) if (aio__to_be_dropped(&AIO__CO(name))) [&]() { \
         struct name AIO__CAT(frame, s); struct name *frame = &AIO__CAT(frame, s); \
         /* g++ -O0 would warn of aio__zero's arms for larger frames */ \
         __asm__("" : "+r"(frame)); \
         aio__frame_init(&AIO__CO(name), &frame->aio, sizeof(struct name)); \
         AIO__SET(frame, __VA_ARGS__) \
         aio__frame_drop(&frame->aio, why); }();
#  else
#    define AIO__REFUSE(frame, why, name, ...) if (aio__to_be_dropped(&AIO__CO(name))) { \
         struct name AIO__CAT(frame, s)[AIO__ONE_BLOCK], *frame = AIO__CAT(frame, s); \
         aio__frame_init(&AIO__CO(name), &frame->aio, sizeof(struct name)); \
         AIO__SET(frame, __VA_ARGS__) \
         aio__frame_drop(&frame->aio, why); }
#  endif
#  ifdef __cplusplus
#    define AIO__SAME_TYPE(pointer, name)
#  else
#    define AIO__SAME_TYPE(pointer, name) \
         AIO__ASSERT(__builtin_types_compatible_p(__typeof__(*(pointer)), struct name), \
             "aio_call: this storage is not a struct " #name);
#  endif
   // The arguments are read before the storage is touched: they may stand in it (in a union, in the
   // frame of the call before).
#  ifdef __cplusplus
#    define AIO__ONE 1
     // C++17 evaluates the right side of an assignment before the left one. In this chain the
     // innermost left side, which clears the frame, comes after everything that is read.
#    define AIO__READ_0(p, clear, a) clear
#    define AIO__READ_1(p, clear, a, ...) (*(clear)) a
#    define AIO__READ_2(p, clear, a, ...) (*(AIO__READ_1(p, clear, __VA_ARGS__), p)) a
#    define AIO__READ_3(p, clear, a, ...) (*(AIO__READ_2(p, clear, __VA_ARGS__), p)) a
#    define AIO__READ_4(p, clear, a, ...) (*(AIO__READ_3(p, clear, __VA_ARGS__), p)) a
#    define AIO__READ_5(p, clear, a, ...) (*(AIO__READ_4(p, clear, __VA_ARGS__), p)) a
#    define AIO__READ_6(p, clear, a, ...) (*(AIO__READ_5(p, clear, __VA_ARGS__), p)) a
#    define AIO__READ_7(p, clear, a, ...) (*(AIO__READ_6(p, clear, __VA_ARGS__), p)) a
#    define AIO__READ_8(p, clear, a, ...) (*(AIO__READ_7(p, clear, __VA_ARGS__), p)) a
#    define AIO__READ_9(p, clear, a, ...) (*(AIO__READ_8(p, clear, __VA_ARGS__), p)) a
#    define AIO__READ_10(p, clear, a, ...) (*(AIO__READ_9(p, clear, __VA_ARGS__), p)) a
#    define AIO__READ_11(p, clear, a, ...) (*(AIO__READ_10(p, clear, __VA_ARGS__), p)) a
#    define AIO__READ_12(p, clear, a, ...) (*(AIO__READ_11(p, clear, __VA_ARGS__), p)) a
#    define AIO__READ_13(p, clear, a, ...) (*(AIO__READ_12(p, clear, __VA_ARGS__), p)) a
#    define AIO__READ_14(p, clear, a, ...) (*(AIO__READ_13(p, clear, __VA_ARGS__), p)) a
#    define AIO__READ_15(p, clear, a, ...) (*(AIO__READ_14(p, clear, __VA_ARGS__), p)) a
#    define AIO__READ_16(p, clear, a, ...) (*(AIO__READ_15(p, clear, __VA_ARGS__), p)) a
#    define AIO__FILL(frame, n, storage, name, ...) \
         struct name *frame = (storage); \
         AIO__CAT(AIO__READ_, AIO__COUNT(__VA_ARGS__))( \
             frame, aio__frame_cleared(&AIO__CO(name), frame), __VA_ARGS__);
#  else
#    define AIO__ONE AIO__ONE_BLOCK
#    define AIO__FILL(frame, n, storage, name, ...) \
         AIO__SAME_TYPE(storage, name) \
         struct name *frame = (storage); \
         /* Both compilers build the literal in its place, after its elements were read. Where the \
            frame is not to be cleared to its end, it is built beside it. */ \
         if (AIO__LIKELY(!AIO__CO(name).scratch->from)) { \
             *frame = (struct name){ .aio = { 0, &AIO__CO(name).start }, __VA_ARGS__ }; \
         } else { \
             struct name AIO__V(new_, n)[AIO__ONE]; \
             aio__frame_clear(&AIO__CO(name), &AIO__V(new_, n)->aio, sizeof(struct name)); \
             AIO__SET(AIO__V(new_, n), __VA_ARGS__) \
             aio__frame_copy(&AIO__CO(name), &frame->aio, &AIO__V(new_, n)->aio, \
                             sizeof(struct name)); \
         }
#  endif
#  define AIO__CALL(n, storage, name, ...) AIO__CALL_(n, storage, name, __VA_ARGS__)
#  define AIO__CALL_(n, storage, name, ...) aio__call(&AIO__CO(name), __extension__({ \
       AIO__FILL(AIO__V(frame_, n), n, storage, name, __VA_ARGS__) \
       AIO__V(frame_, n); }))
#  define AIO__SPAWN_IN_(n, slot, name, ...) aio__handle_to_join_or_detach(__extension__({ \
       struct name AIO__V(new_, n)[AIO__ONE]; \
       aio__frame_clear(&AIO__CO(name), &AIO__V(new_, n)->aio, sizeof(struct name)); \
       AIO__SET(AIO__V(new_, n), __VA_ARGS__) \
       aio__task_begin_in(&(slot)->task, sizeof *(slot), &AIO__CO(name), sizeof(struct name), \
                          &AIO__V(new_, n)->aio); }))
#  define AIO__GEN_INIT(n, storage, name, ...) AIO__GEN_INIT_(n, storage, name, __VA_ARGS__)
#  define AIO__GEN_INIT_(n, storage, name, ...) __extension__({ \
       struct name *AIO__V(room_, n) = (storage); \
       aio_result AIO__V(opened_, n) = aio__gen_room(AIO__TASK, &AIO__V(room_, n)->aio); \
       if (AIO__LIKELY(AIO__V(opened_, n) >= 0)) { \
           AIO__FILL(AIO__V(frame_, n), n, AIO__V(room_, n), name, __VA_ARGS__) \
           AIO__V(opened_, n) = aio__gen_open(AIO__TASK, &AIO__V(frame_, n)->aio); \
       } else \
           AIO__REFUSE(AIO__V(refused_, n), AIO__V(opened_, n), name, __VA_ARGS__) \
       AIO__V(opened_, n); })
#  define AIO__CALL_NEW(n, name, ...) AIO__CALL_NEW_(n, name, __VA_ARGS__)
#  define AIO__CALL_NEW_(n, name, ...) aio__call_new(&AIO__CO(name), __extension__({ \
       struct name *AIO__V(frame_, n) = \
           (struct name *)aio__call_block(AIO__TASK, &AIO__CO(name), sizeof(struct name)); \
       if (AIO__LIKELY(AIO__V(frame_, n))) { AIO__SET(AIO__V(frame_, n), __VA_ARGS__) } \
       else AIO__REFUSE(AIO__V(refused_, n), -ENOMEM, name, __VA_ARGS__) \
       AIO__V(frame_, n); }))
#endif

// ------------------------------------------------------------------------------- >>implementation

// --- shared state: which executor runs in this thread. Hidden and weak: one per program or
// library.
#ifdef __cplusplus
extern "C" {
#endif
#if defined __STDC_HOSTED__ && __STDC_HOSTED__
__attribute__((weak, visibility("hidden"))) __thread aio_executor *aio__running_executor = 0;
#else
__attribute__((weak, visibility("hidden"))) aio_executor *aio__running_executor = 0;
#endif
// Set by aio_loop.h, which knows its loops: is it one of them, and not closed? Null: nobody knows.
__attribute__((weak, visibility("hidden"))) bool (*aio__is_open)(const aio_executor *x) = 0;
#ifdef __cplusplus
}
#endif
AIO_INLINE aio_executor *aio__running(void) { return aio__running_executor; }

// aio_spawn_on and the like take a loop or an executor.
#ifdef __cplusplus
AIO_INLINE aio_executor *aio__executor_of(aio_executor *x) { return x; }
AIO_INLINE aio_executor *aio__executor_of(aio_loop *l) { return (aio_executor *)(void *)l; }
#else
AIO_INLINE aio_executor *aio__same_executor(aio_executor *x) { return x; }
AIO_INLINE aio_executor *aio__loop_executor(aio_loop *l) { return (aio_executor *)(void *)l; }
#  define aio__executor_of(x) \
       _Generic((x), aio_loop *: aio__loop_executor, aio_executor *: aio__same_executor)(x)
#endif

// --- panics and reports
AIO_COLD void aio__panic(const aio_task *t, const aio_site *site, const char *text)
{
    aio_executor *x = t ? t->waiter.future.loop : aio__running();
    if (x && x->options.panic) (x->options.panic)(x, site, text);
    AIO_PANIC(site, text);
}
AIO_COLD void aio__report(aio_executor *x, const char *message, aio_result error,
                          const aio_future *f, const aio_site *site)
{
    struct aio_report r;
    r.message = message;
    r.error = error;
    r.future = f;
    r.task = f && (f->flags & AIO__IS_TASK) ? (const aio_task *)(const void *)f : 0;
    r.site = site;
    if (x && x->options.report) (x->options.report)(x, &r);
}
AIO_COLD void aio__too_narrow(aio_task *t)
{
    aio__report(t->waiter.future.loop, "an await's result does not fit its variable", -ERANGE,
                &t->waiter.future, t->leaf->site);
}

// --- memory: size classes cut from slabs; a freed block goes to its class's list
AIO_INLINE uint32_t aio__class_of(size_t size)
{
    if (size <= AIO__SMALL * AIO__GRAIN) return (uint32_t)((size + AIO__GRAIN - 1) / AIO__GRAIN);
    if (size > ((size_t)1024 << (AIO__LARGE / 4))) return AIO__HUGE;
    uint64_t n = size - 1;
    uint32_t e = 63 - (uint32_t)__builtin_clzll(n);
    return AIO__SMALL + 1 + (e - 10) * 4 + (uint32_t)((n >> (e - 2)) & 3);
}
AIO_FN size_t aio__class_bytes(uint32_t c)
{
    if (c <= AIO__SMALL) return (size_t)c * AIO__GRAIN;
    c -= AIO__SMALL + 1;
    return ((size_t)1024 << c / 4) + ((size_t)256 << c / 4) * (c % 4 + 1);
}
AIO_SLOW void *aio__chunk_new(aio_executor *x, size_t size)
{
    struct aio_allocator *a = &x->options.allocator;
    if (!a->allocate || size > SIZE_MAX / 2) return 0;
    struct aio__chunk *c = (struct aio__chunk *)(a->allocate)(a->context, size + AIO__GRAIN);
    if (!c) return 0;
    c->prev = 0;
    c->next = x->chunks;
    if (c->next) c->next->prev = c;
    x->chunks = c;
    return (char *)c + AIO__GRAIN;
}
AIO_SLOW void aio__chunk_free(aio_executor *x, void *block)
{
    struct aio__chunk *c = (struct aio__chunk *)(void *)((char *)block - AIO__GRAIN);
    if (c->next) c->next->prev = c->prev;
    if (c->prev) c->prev->next = c->next;
    else x->chunks = c->next;
    (x->options.allocator.release)(x->options.allocator.context, c);
}
#if defined __SANITIZE_ADDRESS__
#  define AIO__ASAN 1
#elif defined __has_feature
#  if __has_feature(address_sanitizer)
#    define AIO__ASAN 1
#  endif
#endif
// Costs nothing in other builds.
#if defined AIO__ASAN || defined AIO_CHECK
#  define AIO__HOLDS(condition) ((condition) ? (void)0 : aio__panic(0, 0, "broken: " #condition))
#else
#  define AIO__HOLDS(condition) ((void)0)
#endif
#ifdef AIO__ASAN        // a freed block's bytes are forbidden, as free() would make them
#ifdef __cplusplus
extern "C" {
#endif
void __asan_poison_memory_region(void const volatile *, size_t);
void __asan_unpoison_memory_region(void const volatile *, size_t);
#ifdef __cplusplus
}
#endif
#  define AIO__POISON(block, size) __asan_poison_memory_region(block, size)
#  define AIO__UNPOISON(block, size) __asan_unpoison_memory_region(block, size)
#else
#  define AIO__POISON(block, size) ((void)0)
#  define AIO__UNPOISON(block, size) ((void)0)
#endif
AIO_SLOW void *aio__alloc_slow(aio_executor *x, uint32_t c, size_t size)
{
    if (c == AIO__HUGE) return aio__chunk_new(x, size);
    size = aio__class_bytes(c);
    if (c >= AIO__LOOSE && x->free[c]) {
        void *kept = x->free[c];
        AIO__UNPOISON(kept, size);
        __builtin_memcpy(&x->free[c], kept, sizeof(void *));
        x->kept_bytes -= size;
        return kept;
    }
    if (c >= AIO__LOOSE || size > AIO_SLAB_BYTES_MAX / 8) return aio__chunk_new(x, size);
    if ((size_t)(x->slab_end - x->slab) < size) {
        size_t bytes = x->slab_bytes;
        if (bytes < size * 4) bytes = size * 4;
        char *slab = (char *)aio__chunk_new(x, bytes);
        if (!slab) return bytes > size ? aio__chunk_new(x, size) : 0;
        x->slab = slab;
        x->slab_end = slab + bytes;
        if (x->slab_bytes < AIO_SLAB_BYTES_MAX) x->slab_bytes *= 2;
    }
    void *block = x->slab;
    x->slab += size;
    return block;
}
AIO_INLINE void *aio__alloc(aio_executor *x, uint32_t c, size_t size)
{
    void *block;
    if (AIO__LIKELY(c < AIO__LOOSE && (block = x->free[c]) != 0)) {
        AIO__UNPOISON(block, aio__class_bytes(c));
        __builtin_memcpy(&x->free[c], block, sizeof(void *));
        return block;
    }
    return aio__alloc_slow(x, c, size);
}
AIO_INLINE void aio__free_keep(aio_executor *x, void *block, uint32_t c)
{
    __builtin_memcpy(block, &x->free[c], sizeof(void *));
    x->free[c] = block;
    AIO__POISON(block, aio__class_bytes(c));
}
// After a peak its memory goes back; below, nothing is asked of the allocator again and again.
AIO_SLOW void aio__free_loose(aio_executor *x, void *block, uint32_t c)
{
    size_t size = c == AIO__HUGE ? SIZE_MAX : aio__class_bytes(c);
    if (x->kept_bytes > AIO_KEEP_BYTES_MAX || size > AIO_KEEP_BYTES_MAX - x->kept_bytes) {
        aio__chunk_free(x, block);
        return;
    }
    x->kept_bytes += size;
    aio__free_keep(x, block, c);
}
AIO_INLINE void aio__free(aio_executor *x, void *block, uint32_t c)
{
    if (AIO__UNLIKELY(c >= AIO__LOOSE)) aio__free_loose(x, block, c);
    else aio__free_keep(x, block, c);
}
// gcc makes a constant memset of 81 to 8191 bytes a `rep stosq`, which takes 11 ns to start.
AIO_INLINE void aio__zero(void *p, size_t n)
{
    char *c = (char *)p;
    if (n <= 192) {
        __builtin_memset(c, 0, n < 64 ? n : 64);
        if (n > 64) __builtin_memset(c + 64, 0, n < 128 ? (n - 64) & 63 : 64);
        if (n > 128) __builtin_memset(c + 128, 0, (n - 128) & 127);
    } else {
        __asm__("" : "+r"(n));
        __builtin_memset(c, 0, n);
    }
}

// --- the ready ring: room is promised when a slot is reserved, so a push cannot fail
AIO_INLINE uint32_t aio__push(aio_executor *x, uintptr_t entry)
{
    uint32_t at = x->tail++;
    AIO__HOLDS(at - x->head <= x->mask);
    x->ring[at & x->mask] = entry;
    return at;
}
AIO_SLOW aio_result aio__reserve_slow(aio_executor *x)
{
    if (x->refusal) return x->refusal;
    uint32_t old = x->ring ? x->mask + 1 : 0, capacity = old ? old * 2 : 16;
    if (x->no_spawns && x->slots < old) return 0;
    if (old > UINT32_MAX / 4) return -ENOMEM;
    uintptr_t *ring = (uintptr_t *)aio__chunk_new(x, (size_t)capacity * sizeof *ring);
    if (!ring) return -ENOMEM;
    for (uint32_t i = x->head; i != x->tail; i++) ring[i & (capacity - 1)] = x->ring[i & x->mask];
    if (x->ring) aio__chunk_free(x, x->ring);
    x->ring = ring;
    x->mask = capacity - 1;
    x->limit = x->no_spawns ? 0 : capacity;
    return 0;
}
AIO_INLINE aio_result aio__reserve(aio_executor *x)     // one more thing that may be queued
{
    if (AIO__UNLIKELY(x->slots >= x->limit)) {
        aio_result r = aio__reserve_slow(x);
        if (r < 0) return r;
    }
    x->slots++;
    return 0;
}
AIO_SLOW aio_result aio__reserve_task_slow(aio_executor *x)
{
    return x->no_spawns ? -EBADFD : aio__reserve_slow(x);
}
AIO_INLINE aio_result aio__reserve_task(aio_executor *x)
{
    if (AIO__UNLIKELY(x->slots >= x->limit)) {
        aio_result r = aio__reserve_task_slow(x);
        if (r < 0) return r;
    }
    x->slots++;
    return 0;
}
AIO_INLINE void aio__unreserve(aio_executor *x)
{
    AIO__HOLDS(x->slots);
    x->slots--;
}
// From now on every spawn is refused; what else needs a slot gets it by way of the slow path.
AIO_FN void aio__refuse_tasks(aio_executor *x)
{
    x->no_spawns = true;
    x->limit = 0;
}
// Takes a queued entry back; its slot is given back when the turn comes to it.
AIO_INLINE void aio__unqueue(aio_executor *x, uint32_t at)
{
    x->ring[at & x->mask] = AIO__RUN_NOTHING;
}

// --- frames
AIO_INLINE void aio__frame_init(const aio_coroutine *co, aio_frame *f, size_t size)
{
    uint32_t from = co->scratch->from;
    aio__zero(f, from ? from : size);
    f->site = &co->start;
}
#ifdef __cplusplus
template <class F> inline F *aio__frame_cleared(const aio_coroutine *co, F *f)
{
    aio__frame_init(co, &f->aio, sizeof(F));
    return f;
}
#endif
// For arguments that are read before the storage is touched.
AIO_SLOW void aio__frame_clear(const aio_coroutine *co, aio_frame *f, size_t size)
{
    uint32_t scratch = co->scratch->from;
    __builtin_memset((void *)f, 0, scratch ? scratch : size);
    f->site = &co->start;
}
AIO_SLOW void aio__frame_copy(const aio_coroutine *co, aio_frame *f, const aio_frame *from,
                              size_t size)
{
    uint32_t scratch = co->scratch->from;
    __builtin_memcpy((void *)f, from, scratch ? scratch : size);
}
// Destroys one frame whose body will not (or did not) use it up.
AIO_FN void aio__frame_drop(aio_frame *f, aio_result dropped)
{
    const struct aio__drop *d = f->site->body->coroutine->drop;
    if (d->hook) (d->hook)(f, dropped);
}
AIO_FN bool aio__to_be_dropped(const aio_coroutine *co)         // arguments that were refused
{
    return co->drop->hook || co->size <= AIO_CALL_STACK;
}
AIO_FN size_t aio__one(void)            // 1, as the compiler cannot know
{
    size_t one = 1;
    __asm__("" : "+r"(one));
    return one;
}

// --- lists: circular, first come first
AIO_FN void aio__ring_add(aio_node **first, aio_node *n)
{
    aio_node *head = *first;
    if (!head) {
        n->u.list.next = n->u.list.prev = n;
        *first = n;
        return;
    }
    aio_node *tail = head->u.list.prev;
    tail->u.list.next = n;
    n->u.list.prev = tail;
    n->u.list.next = head;
    head->u.list.prev = n;
}
AIO_FN void aio__ring_remove(aio_node **first, aio_node *n)
{
    AIO__HOLDS(*first && n->u.list.next->u.list.prev == n && n->u.list.prev->u.list.next == n);
    if (n->u.list.next == n) {
        *first = 0;
        return;
    }
    n->u.list.prev->u.list.next = n->u.list.next;
    n->u.list.next->u.list.prev = n->u.list.prev;
    if (*first == n) *first = n->u.list.next;
}
AIO_FN void aio__ring_join(aio_node **first, aio_node *more)     // those of another list
{
    aio_node *head = *first;
    if (!more) return;
    if (!head) {
        *first = more;
        return;
    }
    aio_node *tail = head->u.list.prev, *last = more->u.list.prev;
    tail->u.list.next = more;
    more->u.list.prev = tail;
    last->u.list.next = head;
    head->u.list.prev = last;
}
AIO_FN void aio__list_add(aio_future *f, aio_node *n)
{
    n->u.list.target = f;
    aio__ring_add(&f->watchers, n);
}
AIO_FN void aio__list_remove(aio_node *n) { aio__ring_remove(&n->u.list.target->watchers, n); }
// A future ends: all who watch it are told, in the order in which they came (F-3, T-4).
AIO_FN void aio__future_finish(aio_future *f, aio_result r)
{
    aio_node *head = f->watchers, *n = head;
    f->result = r;
    f->flags |= r == -ECANCELED ? AIO__DONE | AIO__CANCELLED : AIO__DONE;
    if (!head) return;
    f->watchers = 0;
    do {
        aio_node *next = n->u.list.next;
        (n->cls->notify)(n, f);
        n = next;
    } while (n != head);
}
// Binds a future to the loop of the first who waits for it. False: it is another loop's.
AIO_INLINE bool aio__future_bind(aio_future *f, aio_executor *x)
{
    if (!f->loop) f->loop = x;
    return AIO__LIKELY(f->loop == x);
}
// A refused task is a constant, with both flags.
AIO_INLINE void aio__saw(aio_future *f)         // its end: an error needs no report
{
    if (!(f->flags & AIO__SEEN)) f->flags |= AIO__SEEN;
}
AIO_INLINE void aio__took(aio_future *f)        // its result: a value has an owner
{
    const uint32_t both = AIO__SEEN | AIO__TAKEN;
    if ((f->flags & both) != both) f->flags |= both;
}

// --- waiters
static const aio_wait_class aio__ready = { "ready", AIO__WAIT_READY, 0, 0, 0, 0, 0, 0 };

AIO_INLINE void aio_waiter_begin(aio_waiter *w, const aio_wait_class *cls) { w->node.cls = cls; }
// An op has ended. Who watches it may be an op that ends with it, and so on: a loop tells them all,
// for a chain may be long.
AIO_FN void aio__op_finish(aio_waiter *w, aio_result r)
{
    aio_executor *x = w->future.loop;
    aio_node *first = w->future.watchers, *n;
    w->future.result = r;
    w->future.flags |= r == -ECANCELED ? AIO__DONE | AIO__CANCELLED : AIO__DONE;
    w->future.watchers = 0;
    aio__ring_join(&x->to_tell, first);
    if (x->telling) return;
    x->telling = true;
    while ((n = x->to_tell) != 0) {
        aio__ring_remove(&x->to_tell, n);
        (n->cls->notify)(n, n->u.list.target);
    }
    x->telling = false;
}
// An op has no step of its own: what a task would do in it is done now. Its class then answers for
// what the result owns; `resume` says which.
AIO_FN void aio__op_complete(aio_waiter *w, aio_result r)
{
    const aio_wait_class *cls = w->node.cls;
    if (w->future.flags & AIO__RESUME) {
        w->future.flags &= ~(uint32_t)AIO__RESUME;
        if (cls->resume) {
            w->node.cls = &aio__ready;
            if ((r = (cls->resume)(w, false)) == AIO_PENDING) return;
        }
    }
    aio__op_finish(w, r);
}
AIO_INLINE void aio__complete_as(aio_waiter *w, aio_result r, const aio_wait_class *cls)
{
    w->node.cls = cls;
    if (AIO__LIKELY(w->future.flags & AIO__IS_TASK)) {
        w->future.result = r;
        aio__push(w->future.loop, (uintptr_t)w);
    } else {
        aio__op_complete(w, r);
    }
}
AIO_INLINE void aio_complete(aio_waiter *w, aio_result r) { aio__complete_as(w, r, &aio__ready); }
// What was done stands, whatever was cancelled meanwhile (contract 3).
AIO_FN aio_result aio__settled_resume(aio_waiter *w, bool must_cancel)
{
    (void)must_cancel;
    return w->future.result;
}
AIO_TABLE(aio_wait_class, aio__settled,
    { "ready", AIO__WAIT_READY, 0, aio__settled_resume, 0, 0, 0, 0 })
// The end of a wait that could not be cancelled at once: a cancel that came too late is owed.
AIO_INLINE void aio__settle(aio_waiter *w, aio_result r, const aio_wait_class *cls)
{
    if (AIO__UNLIKELY(w->future.flags & AIO__CANCEL_ASKED)) {
        w->future.flags &= ~(uint32_t)AIO__CANCEL_ASKED;
        if (r != -ECANCELED) w->future.flags |= AIO__MUST_CANCEL;
    }
    aio__complete_as(w, r, cls);
}
AIO_INLINE void aio_wake(aio_waiter *w, const aio_wait_class *cls)
{
    w->future.flags |= AIO__RESUME;
    aio__complete_as(w, w->future.result, cls);
}
// Changes the result of a waiter that was woken and has not looked yet.
AIO_FN void aio__woken_with(aio_waiter *w, aio_result r)
{
    w->future.flags &= ~(uint32_t)AIO__RESUME;
    w->future.result = r;
    w->node.cls = &aio__ready;
}
// What an await begins with. That its waiter is a task's spares the compiler the code for ops.
AIO_INLINE bool aio__start_in_task(aio_task *t, aio_awaitable a)
{
    if (!(t->waiter.future.flags & AIO__IS_TASK)) __builtin_unreachable();
    return (a.cls->start)(&t->waiter, &a);
}
// "Still waiting" is no result: what a user's code gives as one must not pass for it.
AIO_INLINE aio_result aio__no_pending(aio_result r) { return r == AIO_PENDING ? -ERANGE : r; }
AIO_INLINE bool aio__have_result(aio_task *t, aio_result r)
{
    t->waiter.future.result = aio__no_pending(r);
    return true;
}
#ifdef __cplusplus
AIO_INLINE bool aio__start(aio_task *t, aio_awaitable a) { return aio__start_in_task(t, a); }
AIO_INLINE bool aio__start(aio_task *t, int r) { return aio__have_result(t, r); }
AIO_INLINE bool aio__start(aio_task *t, long r) { return aio__have_result(t, r); }
AIO_INLINE bool aio__start(aio_task *t, long long r) { return aio__have_result(t, r); }
template <class T> bool aio__start(aio_task *, T) = delete;     // neither
#else
bool aio__await_needs_an_awaitable_or_an_aio_result(void);     // for the error's sake
#  define aio__start(t, x) _Generic((x), aio_awaitable: aio__start_in_task, \
       int: aio__have_result, long: aio__have_result, long long: aio__have_result, \
       default: aio__await_needs_an_awaitable_or_an_aio_result)(t, x)
#endif

AIO_FN size_t aio__append(char *text, size_t size, size_t at, const char *more)
{
    while (*more && at + 1 < size) text[at++] = *more++;
    if (at < size) text[at] = 0;
    return at;
}
AIO_FN size_t aio__append_number(char *text, size_t size, size_t at, uint64_t n)
{
    char digits[24], *d = digits + sizeof digits;
    *--d = 0;
    do *--d = (char)('0' + n % 10);
    while (n /= 10);
    return aio__append(text, size, at, d);
}
// What a wait is for in the end: ops that it is for wait themselves.
AIO_INLINE const aio_waiter *aio__last_wait(const aio_waiter *w)
{
    while (w->node.cls->kind == AIO__WAIT_OP)
        w = (const aio_waiter *)(const void *)w->node.u.list.target;
    return w;
}
AIO_FN size_t aio_describe(const aio_waiter *w, char *text, size_t size)
{
    w = aio__last_wait(w);
    if (w->node.cls->describe) return (w->node.cls->describe)(w, text, size);
    return aio__append(text, size, 0, w->node.cls->name);
}

// --- scopes
AIO_FN void aio__scope_push(aio_scope *s, aio_task *t, aio_frame *f)
{
    s->frame = f;
    s->task = t;
    s->outer = t->scopes;
    s->inner = 0;
    if (s->outer) s->outer->inner = s;
    t->scopes = s;
}
AIO_FN void aio_scope_enter(aio_scope *s, aio_task *t, const aio_scope_class *cls)
{
    s->cls = cls;
    aio__scope_push(s, t, t->leaf);
}
AIO_FN void aio_scope_leave(aio_scope *s, aio_task *t)
{
    if (!s->frame) return;
    if (s->outer) s->outer->inner = s->inner;
    if (s->inner) s->inner->outer = s->outer;
    else t->scopes = s->outer;
    s->frame = 0;
}
AIO_FN aio_op *aio__scope_op(aio_scope *s)      // an open op, or null
{
    return s->cls->kind == AIO__SCOPE_OP ? AIO__CONTAINER(s, aio_op, scope) : 0;
}
// A frame has returned r: its open scopes end, innermost first (contract 6). AIO_PENDING: one of
// them waits; the frame then stands at its coroutine's `leaving` site and this goes on from there.
AIO_FN aio_scope *aio__scope_of(const aio_task *t, const aio_frame *f)     // its innermost
{
    aio_scope *s = t->scopes;
    bool stacked = !(t->waiter.future.flags & AIO__GENERATES);
    if (stacked) return s && s->frame == f ? s : 0;
    while (s && s->frame != f) s = s->outer;        // a generator's stand before its owner's
    return s;
}
AIO_INLINE bool aio__is_generator(const aio_frame *f)
{
    return f->parent && f->parent->site->kind == AIO__SITE_ITERATION;
}
AIO_FN void aio__scopes_to_owners(aio_task *t);
AIO_SLOW aio_result aio__leave(aio_task *t, aio_frame *f, aio_result r)
{
    aio_scope *s;
    // A yield is no return, unless nobody iterates.
    if (f->site->kind == AIO__SITE_YIELD && aio__is_generator(f)) return r;
    while ((s = aio__scope_of(t, f)) != 0) {
        aio_result end = (s->cls->exit)(s, t, r);
        if (end == AIO_PENDING) {
            s->result = r;
            f->site = &f->site->body->coroutine->leaving;
            return AIO_PENDING;
        }
        if (aio__scope_of(t, f) == s) aio_scope_leave(s, t);
        if (end < 0 && r >= 0 && !aio__is_generator(f)) aio__frame_drop(f, r);   // r is lost
        r = end;
    }
    if (t->scopes && !f->parent) aio__scopes_to_owners(t);
    return r;
}
static inline aio_result aio__leaving_step(aio_frame *f, aio_task *t)
{
    return aio__leave(t, f, aio__scope_of(t, f)->result);
}

// --- tasks: steps
AIO_FN void aio__task_finish(aio_task *t, aio_result r);
AIO_FN void aio__cancel_wait(aio_task *t);

AIO_INLINE bool aio__never_started(const aio_task *t)
{
    return !t->leaf->parent && t->leaf->site->kind == AIO__SITE_START;
}
// The slow half of a wake: a cancel is owed, or the wait looks again. False: the body is not
// stepped.
AIO_SLOW bool aio__task_wake(aio_task *t)
{
    aio_waiter *w = &t->waiter;
    bool must_cancel = w->future.flags & AIO__MUST_CANCEL;
    if (must_cancel && aio__never_started(t)) {                 // C-2
        aio__frame_drop(t->leaf, -ECANCELED);
        w->future.flags = (w->future.flags & ~(uint32_t)AIO__MUST_CANCEL) | AIO__NEVER_BEGAN;
        aio__task_finish(t, -ECANCELED);
        return false;
    }
    w->future.flags &= ~(uint32_t)AIO__RESUME;
    aio_result r = must_cancel ? -ECANCELED : w->future.result; // C-4
    if (w->node.cls->resume) r = (w->node.cls->resume)(w, must_cancel);
    else if (must_cancel && w->node.cls->dispose) (w->node.cls->dispose)(w);
    if (r == AIO_PENDING) return false;
    if (r == -ECANCELED) w->future.flags &= ~(uint32_t)AIO__MUST_CANCEL;    // C-8
    w->node.cls = &aio__ready;
    w->future.result = r;
    return true;
}
// A step ended without a result. False: the task waits. True: its leaf changed, go on with it.
AIO_SLOW bool aio__task_suspended(aio_task *t)
{
    if (t->waiter.future.flags & AIO__AGAIN) {
        t->waiter.future.flags &= ~(uint32_t)AIO__AGAIN;
        return true;
    }
    // C-6: what it just began to wait for
    t->waiter.future.flags &= ~(uint32_t)AIO__MUST_CANCEL;
    aio__cancel_wait(t);
    return false;
}
// The trampoline: steps the innermost frame; a frame that returns gives its result to its parent.
AIO_INLINE void aio__task_run(aio_task *t)
{
    aio_frame *f = t->leaf;
    for (;;) {
        aio_result r = (f->site->body->step)(f, t);
        if (r != AIO_PENDING && AIO__UNLIKELY(t->scopes)) r = aio__leave(t, f, r);
        if (AIO__LIKELY(r == AIO_PENDING)) {
            if (AIO__LIKELY(!(t->waiter.future.flags & (AIO__AGAIN | AIO__MUST_CANCEL)))) return;
            if (!aio__task_suspended(t)) return;
            f = t->leaf;
            continue;
        }
        aio_frame *parent = f->parent;
        if (!parent) {
            aio__task_finish(t, r);
            return;
        }
        t->waiter.future.result = r;
        f->parent = 0;                  // it does not run: generators look at this
        t->leaf = f = parent;
    }
}
AIO_INLINE void aio__task_step(aio_executor *x, aio_task *t)
{
    x->current = t;
    if (AIO__UNLIKELY(t->waiter.future.flags & (AIO__MUST_CANCEL | AIO__RESUME)) &&
        !aio__task_wake(t))
        return;
    aio__task_run(t);
}

// --- tasks: making them
AIO_COLD aio_task *aio__refused(aio_result why)
{
#define AIO__REFUSED_TASK(error) \
    { { { AIO__DONE | AIO__SEEN | AIO__TAKEN | AIO__IS_TASK | AIO__REFUSED, 1, 0, error, 0 }, \
    { &aio__ready, { { 0, 0, 0 } } } }, 0, 0, 0, 0, 0, 0, 0 }
    static const aio_task refused[] = { AIO__REFUSED_TASK(-ENOMEM), AIO__REFUSED_TASK(-EINVAL),
        AIO__REFUSED_TASK(-EBADFD), AIO__REFUSED_TASK(-EBUSY), AIO__REFUSED_TASK(-EPERM) };
    uint32_t i = 0;
    while (refused[i].waiter.future.result != why && i < 4) i++;
    return (aio_task *)(uintptr_t)&refused[i];
}
AIO_INLINE void aio__task_init(aio_executor *x, aio_task *t, uint32_t flags,
                               const aio_coroutine *co, size_t size)
{
    t->waiter.future.flags = AIO__IS_TASK | flags;
    t->waiter.future.refs = 2;
    t->waiter.future.watchers = 0;
    t->waiter.future.result = 0;
    t->waiter.future.loop = x;
    t->waiter.node.cls = &aio__ready;
    t->leaf = (aio_frame *)(void *)(t + 1);
    t->scopes = 0;
    t->cancelling = 0;
    t->extra = 0;
    aio__frame_init(co, t->leaf, size);
}
AIO_INLINE aio_task *aio__task_new(aio_executor *x, const aio_coroutine *co, size_t size)
{
    if (AIO__UNLIKELY(!x)) return aio__refused(-EINVAL);
    aio_result r = aio__reserve_task(x);
    if (AIO__UNLIKELY(r < 0)) return aio__refused(r);
    uint32_t c = aio__class_of(sizeof(aio_task) + size);
    aio_task *t = (aio_task *)aio__alloc(x, c, sizeof(aio_task) + size);
    if (AIO__UNLIKELY(!t)) {
        aio__unreserve(x);
        return aio__refused(-ENOMEM);
    }
    aio__task_init(x, t, c << AIO__CLASS_SHIFT, co, size);
    return t;
}
AIO_FN aio_task *aio__task_new_in(aio_task *t, size_t slot_bytes, const aio_coroutine *co,
                                  size_t size)
{
    aio_executor *x = aio__running();
    if (!x || slot_bytes < sizeof(aio_task) + size) return aio__refused(-EINVAL);
    if (t->waiter.future.refs) return aio__refused(-EBUSY);
    aio_result r = aio__reserve_task(x);
    if (r < 0) return aio__refused(r);
    aio__task_init(x, t, AIO__IN_SLOT, co, size);
    return t;
}
AIO_INLINE void aio__task_link(aio_executor *x, aio_task *t)
{
    t->id = ++x->next_id;
    x->live++;
    t->next = 0;
    t->prev = x->last;
    if (t->prev) t->prev->next = t;
    else x->first = t;
    x->last = t;
}
AIO_INLINE void aio__task_unlink(aio_executor *x, aio_task *t)
{
    x->live--;
    if (t->next) t->next->prev = t->prev;
    else x->last = t->prev;
    if (t->prev) t->prev->next = t->next;
    else x->first = t->next;
}
AIO_INLINE void aio__task_begin(aio_task *t)
{
    aio_executor *x = t->waiter.future.loop;
    aio__task_link(x, t);
    aio__push(x, (uintptr_t)t);
}
AIO_INLINE bool aio__stack_low(const aio_executor *x)
{
    return (char *)__builtin_frame_address(0) < x->stack_floor;
}
AIO_SLOW void aio__task_begin_eager(aio_task *t)        // EA-1, EA-3
{
    aio_executor *x = t->waiter.future.loop;
    aio__task_link(x, t);
    char *here = (char *)__builtin_frame_address(0) + (AIO_EAGER_STACK - AIO_CALL_STACK);
    if (!x->running || here < x->stack_floor) {
        aio__push(x, (uintptr_t)t);
        return;
    }
    aio_task *current = x->current;
    aio__task_step(x, t);
    x->current = current;
}
AIO_INLINE AIO_NODISCARD aio_task *aio__handle_to_join_or_detach(aio_task *t) { return t; }
AIO_FN bool aio__task_fill(aio_task *t, const aio_coroutine *co, aio_frame *arguments)
{
    if (!t->leaf) {
        aio__frame_drop(arguments, t->waiter.future.result);
        return false;
    }
    __builtin_memcpy(t->leaf, arguments, co->scratch->from ? co->scratch->from : co->size);
    return true;
}
// The slot may hold what the arguments were read from, so it is taken after them.
AIO_FN AIO_NODISCARD aio_task *aio__task_begin_in(aio_task *slot, size_t slot_size,
                                                  const aio_coroutine *co, size_t size,
                                                  aio_frame *arguments)
{
    aio_task *t = aio__task_new_in(slot, slot_size, co, size);
    if (aio__task_fill(t, co, arguments)) aio__task_begin(t);
    return t;
}
#ifdef AIO_STRICT
AIO_FN AIO_NODISCARD aio_task *aio__task_begin_from(aio_task *t, const aio_coroutine *co,
                                                    aio_frame *arguments)
{
    if (aio__task_fill(t, co, arguments)) aio__task_begin(t);
    return t;
}
AIO_FN AIO_NODISCARD aio_task *aio__task_begin_eager_from(aio_task *t, const aio_coroutine *co,
                                                          aio_frame *arguments)
{
    if (aio__task_fill(t, co, arguments)) aio__task_begin_eager(t);
    return t;
}
#endif

// --- tasks: ending them
AIO_INLINE void aio__task_free(aio_executor *x, aio_task *t)
{
    AIO__HOLDS(!t->scopes && !t->waiter.future.watchers);
    AIO__HOLDS(t->waiter.node.cls->kind == AIO__WAIT_READY);
    if (AIO__UNLIKELY(t->extra)) aio__free(x, t->extra, aio__class_of(sizeof *t->extra));
    if (AIO__UNLIKELY(t->waiter.future.flags & AIO__IN_SLOT)) t->waiter.future.refs = 0;
    else aio__free(x, t, t->waiter.future.flags >> AIO__CLASS_SHIFT);
}
// While waits are detached (see the executor's end) no hook runs: what it is for waits here.
AIO_FN void aio__leave_behind(aio_executor *x, aio_task *t)
{
    t->next = x->left_behind;
    x->left_behind = t;
}
// An ended task that nobody holds: an error nobody saw is told (F-8), a value is given back. False:
// later, and it stays until then.
AIO_COLD bool aio__task_unseen(aio_executor *x, aio_task *t, bool detached)
{
    aio_result r = t->waiter.future.result;
    if (x->ending == AIO__DETACHING) {
        aio__leave_behind(x, t);
        return false;
    }
    if (r >= 0) {
        if (!detached) aio__frame_drop((aio_frame *)(void *)(t + 1), r);
    } else if (r != -ECANCELED && !(t->waiter.future.flags & (AIO__FORGIVEN | AIO__SEEN))) {
        const aio_frame *f = (const aio_frame *)(const void *)(t + 1);
        aio__report(x, "task error was never retrieved", r, &t->waiter.future, f->site);
    }
    return true;
}
// A handle that was given up already, as far as its memory tells: what is free there begins with
// the address of the next free block.
AIO_INLINE bool aio__handle_gone(const aio_task *t)
{
    return !(t->waiter.future.flags & AIO__IS_TASK);
}
AIO_COLD void aio__tell_gone(const char *what)
{
    aio_executor *x = aio__running();
    const aio_task *t = x ? x->current : 0;
    if (x) aio__report(x, what, -EINVAL, t ? &t->waiter.future : 0, t ? t->leaf->site : 0);
}
AIO_FN void aio__task_release(aio_task *t)
{
    aio_future *f = &t->waiter.future;
    if (AIO__UNLIKELY((f->flags & (AIO__REFUSED | AIO__IS_TASK)) != AIO__IS_TASK)) {
        if (aio__handle_gone(t)) aio__tell_gone("a task's handle was given up twice");
        return;
    }
    if (--f->refs) return;
    if (AIO__UNLIKELY(!(f->flags & AIO__TAKEN)) && !aio__task_unseen(f->loop, t, false)) return;
    aio__task_free(f->loop, t);
}
AIO_FN void aio__task_finish(aio_task *t, aio_result r)
{
    aio_future *f = &t->waiter.future;
    aio_executor *x = f->loop;
    if (AIO__UNLIKELY(f->flags & AIO__MUST_CANCEL) && r >= 0) {     // C-7
        aio__frame_drop((aio_frame *)(void *)(t + 1), r);
        r = -ECANCELED;
    }
    aio__task_unlink(x, t);
    aio__unreserve(x);
    if (AIO__LIKELY(f->refs == 1 && !f->watchers)) {                // detached
        f->result = r;
        if (AIO__UNLIKELY(r < 0)) aio__task_unseen(x, t, true);
        aio__task_free(x, t);
        return;
    }
    t->waiter.node.cls = &aio__ready;
    aio__future_finish(f, r);
    if (--f->refs) return;
    if (!(f->flags & AIO__TAKEN)) aio__task_unseen(x, t, true);
    aio__task_free(x, t);
}

// --- tasks: cancelling them
// The next task on the way of a cancel: whom `t` waits for, if that has not ended.
AIO_INLINE aio_task *aio__awaited_task(const aio_task *t)
{
    const aio_waiter *w = aio__last_wait(&t->waiter);
    if (w->node.cls->kind != AIO__WAIT_TASK && w->node.cls->kind != AIO__WAIT_JOIN) return 0;
    aio_task *inner = AIO__TASK_OF(w->node.u.list.target);
    return inner->waiter.future.flags & AIO__DONE ? 0 : inner;
}
AIO_SLOW void aio__note_cancel(aio_task *t);
AIO_FN void aio__gather_passed(struct aio__watched *v);
// The ops from w on were asked to end through what the last of them waits for, or were not.
AIO_FN void aio__ops_asked(aio_waiter *w, bool asked)
{
    for (; w->node.cls->kind == AIO__WAIT_OP; w = (aio_waiter *)(void *)w->node.u.list.target) {
        if (asked) w->future.flags |= AIO__CANCEL_ASKED;
        else w->future.flags &= ~(uint32_t)AIO__CANCEL_ASKED;
    }
}
// Asks a wait to end: what it is for in the end. True: it will, or has by now.
AIO_FN bool aio__wait_cancel(aio_waiter *w)
{
    aio_waiter *last = (aio_waiter *)(uintptr_t)aio__last_wait(w);
    if (!last->node.cls->cancel) return false;
    if (last != w) aio__ops_asked(w, true);
    if ((last->node.cls->cancel)(last)) return true;
    if (last != w) aio__ops_asked(w, false);
    return false;
}
// A wait for a task, perhaps through ops, ends although that task has not.
AIO_FN void aio__wait_cut(aio_waiter *w)
{
    while (w->node.cls->kind == AIO__WAIT_OP) w = (aio_waiter *)(void *)w->node.u.list.target;
    if (w->node.cls->kind != AIO__WAIT_TASK && w->node.cls->kind != AIO__WAIT_JOIN) return;
    aio_task *inner = AIO__TASK_OF(w->node.u.list.target);
    bool joined = w->node.cls->kind == AIO__WAIT_JOIN;
    aio__list_remove(&w->node);
    aio_complete(w, -ECANCELED);
    if (joined) aio__task_release(inner);
}
// A cancel's walk would go every way to a task that gathers share, of which there may be 2^n. So it
// does, as asyncio does, for its first AIO__AGAIN_MAX visits to what it has reached before: each
// adds to a count. Then once is enough, for what hangs on the task was asked already. Only a
// circle of gathers always goes on, to its end.
enum { AIO__AGAIN_MAX = 1 << 14 };
AIO_FN bool aio__walked(const aio_task *t)
{
    return t->extra && t->extra->walk == t->waiter.future.loop->cancel_walk;
}
AIO_FN aio_task *aio__cancel_end(aio_task *t) { return aio__walked(t) ? t->extra->last : t; }
AIO_FN void aio__cancel_went(aio_task *t, aio_task *last)
{
    if (!t->extra) return;              // no memory for it: walked again
    t->extra->walk = t->waiter.future.loop->cancel_walk;
    t->extra->last = last;
}
// True: that is all, it was reached before.
AIO_FN bool aio__cancel_counted(aio_task *t)
{
    t->cancelling++;
    aio__note_cancel(t);
    if (!aio__walked(t)) return false;
    aio_executor *x = t->waiter.future.loop;
    if (x->cancel_again) {
        x->cancel_again--;
        return false;
    }
    aio_waiter *w = &t->extra->last->waiter;
    if (w->node.cls->kind == AIO__WAIT_GATHER) (void)aio__wait_cancel(w);
    return true;
}
// Cancels what `t` waits for; if that is another task, what that one waits for, and so on (C-5). A
// loop, not a recursion: a chain of 100,000 tasks is legal. On a cycle (T-11) the wait that closes
// it is ended.
AIO_FN void aio__cancel_chain(aio_task *t)
{
    aio_task *from = t, *inner, *last;
    while ((inner = aio__awaited_task(t)) != 0) {
        if (inner->waiter.future.flags & AIO__MARK) {
            aio__wait_cut(&t->waiter);
            break;
        }
        t->waiter.future.flags |= AIO__MARK;
        aio__ops_asked(&t->waiter, true);
        t = inner;
        if (aio__cancel_counted(t)) break;
    }
    last = aio__cancel_end(t);
    for (; from != t; from = AIO__TASK_OF(aio__last_wait(&from->waiter)->node.u.list.target)) {
        from->waiter.future.flags &= ~(uint32_t)AIO__MARK;
        aio__cancel_went(from, last);
    }
    aio__cancel_went(t, last);
    if (!inner && !aio__wait_cancel(&t->waiter)) t->waiter.future.flags |= AIO__MUST_CANCEL;
}
// The same, and all that gathers on the way wait for, each with what hangs on it before the next.
AIO_FN void aio__cancel_wait(aio_task *t)
{
    aio_executor *x = t->waiter.future.loop;
    uint64_t outer = x->cancel_walk;            // a wait's own cancel may cancel others
    struct aio__watched *v;
    x->cancel_walk = ++x->cancel_walks;
    x->cancel_again = AIO__AGAIN_MAX;
    aio__cancel_chain(t);
    while ((v = x->to_cancel) != 0) {
        aio_task *inner = AIO__TASK_OF(v->node.u.list.target);
        x->to_cancel = v->next_cancel;
        if (!inner) aio__gather_passed(v);
        else if (!(inner->waiter.future.flags & AIO__DONE) && !aio__cancel_counted(inner))
            aio__cancel_chain(inner);
    }
    x->cancel_walk = outer;
}
AIO_FN struct aio__task_extra *aio__task_more(aio_task *t)
{
    if (t->extra || (t->waiter.future.flags & AIO__REFUSED)) return t->extra;
    size_t size = sizeof *t->extra;
    t->extra =
        (struct aio__task_extra *)aio__alloc(t->waiter.future.loop, aio__class_of(size), size);
    if (t->extra) aio__zero(t->extra, size);
    return t->extra;
}
AIO_SLOW void aio__note_cancel(aio_task *t)
{
    struct aio__task_extra *e = aio__task_more(t);
    if (!e) return;
    e->cancels++;
    e->pass = t->waiter.future.loop->pass;
    e->cancel_site = t->leaf->site;
}
AIO_FN bool aio_task_cancel(aio_task *t)
{
    if (t->waiter.future.flags & AIO__DONE) {
        aio__saw(&t->waiter.future);
        return false;
    }
    t->cancelling++;
    aio__note_cancel(t);
    aio__cancel_wait(t);
    return true;
}
AIO_FN uint32_t aio_task_uncancel(aio_task *t)
{
    if (t->cancelling && --t->cancelling == 0)
        t->waiter.future.flags &= ~(uint32_t)(AIO__MUST_CANCEL | AIO__CANCEL_ASKED);   // C-10
    return t->cancelling;
}
AIO_FN uint32_t aio_task_cancelling(const aio_task *t) { return t->cancelling; }
AIO_FN const aio_site *aio_task_swallowed(const aio_task *t, uint32_t *count)
{
    *count = t->extra ? t->extra->cancels : 0;
    return t->extra ? t->extra->cancel_site : 0;
}

// --- tasks: the rest
AIO_FN void aio_detach(aio_task *t) { aio__task_release(t); }
AIO_FN aio_task *aio_task_retain(aio_task *t)
{
    if (!(t->waiter.future.flags & AIO__REFUSED)) t->waiter.future.refs++;
    return t;
}
AIO_FN aio_frame *aio__task_frame(aio_task *t)
{
    return t->waiter.future.flags & AIO__REFUSED ? 0 : (aio_frame *)(void *)(t + 1);
}
AIO_FN aio_future *aio_task_future(aio_task *t) { return &t->waiter.future; }
AIO_FN bool aio_task_done(const aio_task *t) { return aio_future_done(&t->waiter.future); }
AIO_FN bool aio_task_cancelled(const aio_task *t)
{
    return aio_future_cancelled(&t->waiter.future);
}
AIO_FN aio_result aio_task_result(aio_task *t) { return aio_future_result(&t->waiter.future); }
AIO_FN const char *aio_task_name(const aio_task *t)
{
    if (t->waiter.future.flags & AIO__REFUSED) return "refused";
    if (t->extra && t->extra->name) return t->extra->name;
    return ((const aio_frame *)(const void *)(t + 1))->site->body->coroutine->name;
}
AIO_FN aio_result aio_task_set_name(aio_task *t, const char *name)
{
    struct aio__task_extra *e = aio__task_more(t);
    if (!e) return -ENOMEM;
    e->name = name;
    return 0;
}
AIO_FN void *aio_task_user(const aio_task *t) { return t->extra ? t->extra->user : 0; }
AIO_FN aio_result aio_task_set_user(aio_task *t, void *user)
{
    struct aio__task_extra *e = aio__task_more(t);
    if (!e) return -ENOMEM;
    e->user = user;
    return 0;
}
AIO_FN uint32_t aio_task_id(const aio_task *t) { return t->id; }
AIO_FN aio_task *aio_current_task(void) { return aio__running() ? aio__running()->current : 0; }
AIO_FN aio_task *aio__task_first(aio_executor *x) { return x->first; }
AIO_FN aio_task *aio_task_next(const aio_task *t) { return t->next; }

// --- futures
AIO_FN bool aio_future_done(const aio_future *f) { return f->flags & AIO__DONE; }
AIO_FN bool aio_future_cancelled(const aio_future *f) { return f->flags & AIO__CANCELLED; }
AIO_FN aio_result aio_future_result(aio_future *f)
{
    if (!(f->flags & AIO__DONE)) return -EINPROGRESS;
    aio__took(f);
    return f->result;
}
AIO_FN aio_result aio_future_set_result(aio_future *f, aio_result r)
{
    if (f->flags & AIO__IS_TASK) return -EPERM;         // T-9
    if (f->flags & AIO__DONE) return -EALREADY;         // F-1
    if (r == AIO_PENDING) return -EINVAL;
    aio__future_finish(f, r);
    return 0;
}
AIO_FN aio_result aio_future_set_error(aio_future *f, aio_result error)
{
    return error < 0 ? aio_future_set_result(f, error) : -EINVAL;
}
// The task that f is. gcc would warn where it sees that f is none, behind the test that says so.
AIO_INLINE aio_task *aio__future_task(aio_future *f)
{
    __asm__("" : "+r"(f));
    return AIO__TASK_OF(f);
}
AIO_FN bool aio_future_cancel(aio_future *f)
{
    if (f->flags & AIO__IS_TASK) return aio_task_cancel(aio__future_task(f));
    if (f->flags & AIO__DONE) {
        aio__saw(f);
        return false;
    }
    if (f->flags & AIO__IS_OP) return aio__wait_cancel(&aio__future_task(f)->waiter);
    aio__future_finish(f, -ECANCELED);
    return true;
}
// The executor that hears of it: a future may be older than its loop was.
AIO_FN aio_executor *aio__open_or_running(aio_executor *x)
{
    return x && (!aio__is_open || aio__is_open(x)) ? x : aio__running();
}
AIO_FN aio_result aio_future_destroy(aio_future *f)
{
    if (f->flags & AIO__IS_TASK) return -EPERM;
    if (!(f->flags & AIO__DONE)) aio__future_finish(f, -ECANCELED);
    else if (f->result < 0 && f->result != -ECANCELED && !(f->flags & AIO__SEEN))
        aio__report(aio__open_or_running(f->loop), "future error was never retrieved", f->result,
                    f, 0);
    aio__zero(f, sizeof *f);
    return 0;
}

// --- done-callbacks
// Queued, its first pointer is the task that it holds. A future of the user's may be gone by now
// (F-4).
AIO_FN void aio__callback_run(aio_node *n)
{
    aio_callback *cb = (aio_callback *)(void *)n;
    aio_task *t = (aio_task *)n->u.p[0];
    int r = (cb->fn)(n->u.list.target, cb->arg);  // may reuse cb
    // F-5
    if (AIO__UNLIKELY(r < 0)) aio__report(aio__running(), "a done-callback failed", r, 0, 0);
    if (t) aio__task_release(t);
}
AIO_FN void aio__callback_queue(aio_executor *x, aio_node *n, aio_future *f)
{
    n->u.p[0] = f->flags & AIO__IS_TASK ? aio_task_retain(aio__future_task(f)) : 0;
    // else it is closed
    if (AIO__LIKELY(x->ring != 0)) aio__push(x, (uintptr_t)n | AIO__RUN_NODE);
}
AIO_FN void aio__callback_notify(aio_node *n, aio_future *f) { aio__callback_queue(f->loop, n, f); }
AIO_TABLE(aio_wait_class, aio__callback_class,
    { "callback", AIO__WAIT_DONE_CALLBACK, 0, 0, aio__callback_notify, aio__callback_run, 0, 0 })
AIO_FN aio_result aio_future_add_done_callback(aio_future *f, aio_callback *cb,
                                               int (*fn)(aio_future *, void *), void *arg)
{
    aio_executor *x = f->loop ? f->loop : aio__running();
    if (!x) return -EINVAL;
    aio_result r = aio__reserve(x);
    if (r < 0) return r;
    if (!f->loop && !(f->flags & AIO__REFUSED)) f->loop = x;
    cb->fn = fn;
    cb->arg = arg;
    cb->node.cls = aio__callback_class();
    cb->node.u.list.target = f;
    if (f->flags & AIO__DONE) aio__callback_queue(x, &cb->node, f);
    else aio__list_add(f, &cb->node);
    return 0;
}
AIO_FN uint32_t aio_future_remove_done_callback(aio_future *f, int (*fn)(aio_future *, void *),
                                                void *arg)
{
    uint32_t removed = 0, listed = 0;
    aio_node *n = f->watchers;
    if (!n) return 0;
    do listed++;
    while ((n = n->u.list.next) != f->watchers);
    for (n = f->watchers; listed; listed--) {
        aio_node *next = n->u.list.next;
        aio_callback *cb = (aio_callback *)(void *)n;
        if (n->cls->kind == AIO__WAIT_DONE_CALLBACK && cb->fn == fn && cb->arg == arg) {
            aio__list_remove(n);
            aio__unreserve(f->loop);
            removed++;
        }
        n = next;
    }
    return removed;
}

// --- awaitable: a future, a task
AIO_FN bool aio__watch_cancel(aio_waiter *w) { return aio_future_cancel(w->node.u.list.target); }
AIO_FN void aio__future_notify(aio_node *n, aio_future *f)
{
    aio__took(f);
    aio_complete(AIO__CONTAINER(n, aio_waiter, node), f->result);
}
// A task's value that has a drop hook is taken when the awaiter's body gets it: a cancel may still
// replace it (C-4), and an op keeps it until somebody asks. Until then a handle stands in
// node.u.list.target.
AIO_FN void aio__join_dispose(aio_waiter *w)
{
    aio__task_release(AIO__TASK_OF(w->node.u.list.target));
}
AIO_FN aio_result aio__joined_resume(aio_waiter *w, bool must_cancel)
{
    aio_result r = must_cancel ? -ECANCELED : aio_future_result(w->node.u.list.target);
    aio__join_dispose(w);
    return r;
}
AIO_TABLE(aio_wait_class, aio__joined_wait,
    { "ready", AIO__WAIT_READY, 0, aio__joined_resume, 0, 0, 0, aio__join_dispose })
AIO_FN bool aio__gives_value(const aio_future *f)
{
    if (!(f->flags & AIO__IS_TASK) || (f->flags & AIO__REFUSED) || f->result < 0) return false;
    const aio_task *t = (const aio_task *)(const void *)f;
    const aio_frame *root = (const aio_frame *)(const void *)(t + 1);
    return root->site->body->coroutine->drop->hook != 0;
}
// Completes the waiter with such a value; it then holds a handle, the caller's.
AIO_FN void aio__value_complete(aio_waiter *w, aio_future *f)
{
    w->node.u.list.target = f;
    if (w->future.flags & AIO__IS_TASK) aio_wake(w, aio__joined_wait());
    else aio__complete_as(w, f->result, aio__joined_wait());
}
// Who holds the task may give it up before its awaiter goes on (a group that forgets does).
AIO_FN void aio__task_notify(aio_node *n, aio_future *f)
{
    if (AIO__LIKELY(!aio__gives_value(f))) {
        aio__future_notify(n, f);
        return;
    }
    f->refs++;
    aio__value_complete(AIO__CONTAINER(n, aio_waiter, node), f);
}
AIO_FN void aio__join_notify(aio_node *n, aio_future *f)
{
    if (AIO__UNLIKELY(aio__gives_value(f))) {
        aio__value_complete(AIO__CONTAINER(n, aio_waiter, node), f);
        return;
    }
    aio__future_notify(n, f);
    aio__task_release(AIO__TASK_OF(f));
}
// The owner is destroyed while it waits: the future must not find it any more, and may outlive the
// loop.
AIO_FN void aio__list_forget(aio_node *n)
{
    aio_future *f = n->u.list.target;
    aio__list_remove(n);
    if (!f->watchers && !(f->flags & (AIO__IS_TASK | AIO__IS_OP))) f->loop = 0;
}
AIO_FN void aio__watch_dispose(aio_waiter *w) { aio__list_forget(&w->node); }
AIO_FN void aio__watch_join_dispose(aio_waiter *w)
{
    aio__list_remove(&w->node);
    aio__join_dispose(w);
}
AIO_FN size_t aio__task_describe(const aio_waiter *w, char *text, size_t size)
{
    const aio_task *t = AIO__TASK_OF(w->node.u.list.target);
    size_t at = aio__append(text, size, aio__append(text, size, 0, "task "), aio_task_name(t));
    at = aio__append(text, size, at, "#");
    return aio__append_number(text, size, at, t->id);
}
AIO_TABLE(aio_wait_class, aio__future_wait,
    { "future", AIO__WAIT_FUTURE, aio__watch_cancel, 0, aio__future_notify, 0, 0,
      aio__watch_dispose })
AIO_TABLE(aio_wait_class, aio__task_wait,
    { "task", AIO__WAIT_TASK, aio__watch_cancel, 0, aio__task_notify, 0, aio__task_describe,
      aio__watch_dispose })
AIO_TABLE(aio_wait_class, aio__join_wait,
    { "task", AIO__WAIT_JOIN, aio__watch_cancel, 0, aio__join_notify, 0, aio__task_describe,
      aio__watch_join_dispose })

AIO_INLINE bool aio__watch(aio_waiter *w, aio_future *f, const aio_wait_class *cls)
{
    if (f->flags & AIO__DONE) {                     // T-3
        aio__took(f);
        w->future.result = f->result;
        return true;
    }
    if (AIO__UNLIKELY(!aio__future_bind(f, w->future.loop))) {      // F-10
        w->future.result = -EXDEV;
        return true;
    }
    if (AIO__UNLIKELY(f == &w->future)) {           // T-10
        aio_complete(w, -EDEADLK);
        return false;
    }
    aio__list_add(f, &w->node);
    w->node.cls = cls;
    return false;
}
// An op is for a task that has ended with a value: it holds a handle, the caller's.
AIO_INLINE bool aio__op_keeps_ended(aio_waiter *w, aio_future *f)
{
    if (AIO__LIKELY(w->future.flags & AIO__IS_TASK)) return false;
    if (!(f->flags & AIO__DONE) || !aio__gives_value(f)) return false;
    w->node.u.list.target = f;
    w->future.result = f->result;
    aio_waiter_begin(w, aio__joined_wait());
    return true;
}
AIO_FN bool aio__future_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_future *f = (aio_future *)a->u.p[0];
    if (aio__op_keeps_ended(w, f)) {
        f->refs++;
        return true;
    }
    return aio__watch(w, f, f->flags & AIO__IS_TASK ? aio__task_wait() : aio__future_wait());
}
AIO_FN bool aio__join_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_task *t = (aio_task *)a->u.p[0];
    if (AIO__UNLIKELY(aio__handle_gone(t))) {
        aio__tell_gone("a task was joined whose handle was given up before");
        w->future.result = -EINVAL;
        return true;
    }
    if (aio__op_keeps_ended(w, &t->waiter.future)) return true;
    if (!aio__watch(w, &t->waiter.future, aio__join_wait())) {
        if (AIO__UNLIKELY(&t->waiter == w)) aio__task_release(t);
        return false;
    }
    aio__task_release(t);
    return true;
}
AIO_TABLE(aio_await_class, aio__future_await, { aio__future_start, "future", AIO__AWAIT_FUTURE })
AIO_TABLE(aio_await_class, aio__join_await, { aio__join_start, "join", AIO__AWAIT_JOIN })
AIO_INLINE AIO_NODISCARD aio_awaitable aio_future_wait(aio_future *f)
{
    aio_awaitable a;
    a.cls = aio__future_await();
    a.u.p[0] = f;
    return a;
}
AIO_INLINE AIO_NODISCARD aio_awaitable aio_join(aio_task *t)
{
    aio_awaitable a;
    a.cls = aio__join_await();
    a.u.p[0] = t;
    return a;
}

// --- awaitable: the next turn
AIO__START_FN bool aio__next_turn_start(aio_waiter *w, const aio_awaitable *a)
{
    (void)a;
    aio_complete(w, 0);
    return false;
}
AIO_TABLE(aio_await_class, aio__next_turn_await,
    { aio__next_turn_start, "next turn", AIO__AWAIT_NEXT_TURN })
AIO_INLINE AIO_NODISCARD aio_awaitable aio_next_turn(void)
{
    aio_awaitable a;
    a.cls = aio__next_turn_await();
    return a;
}

// --- awaitable: a nested call
// The child's first step runs at once, as a C call; below the stack floor the trampoline does it.
AIO_INLINE bool aio__begin_child(aio_task *t, aio_frame *f, const aio_coroutine *co)
{
    f->parent = t->leaf;
    t->leaf = f;
    aio_result r = (co->body.step)(f, t);
    if (r == AIO_PENDING) return false;
    if (AIO__UNLIKELY(t->scopes) && (r = aio__leave(t, f, r)) == AIO_PENDING) return false;
    t->leaf = f->parent;
    f->parent = 0;
    t->waiter.future.result = r;
    return true;
}
AIO_INLINE bool aio__run_child(aio_task *t, aio_frame *f, const aio_coroutine *co)
{
    if (AIO__LIKELY(!aio__stack_low(t->waiter.future.loop))) return aio__begin_child(t, f, co);
    f->parent = t->leaf;
    t->leaf = f;
    t->waiter.future.flags |= AIO__AGAIN;
    return false;
}
AIO_INLINE bool aio__needs_task(aio_waiter *w)
{
    if (AIO__LIKELY(w->future.flags & AIO__IS_TASK)) return false;
    w->future.result = -EINVAL;
    return true;
}
AIO__START_FN bool aio__call_start(aio_waiter *w, const aio_awaitable *a)
{
    if (aio__needs_task(w)) return true;
    return aio__run_child(AIO__TASK_OF(w), (aio_frame *)a->u.p[0],
                          (const aio_coroutine *)a->u.cp[1]);
}
AIO_TABLE(aio_await_class, aio__call_await, { aio__call_start, "call", AIO__AWAIT_CALL })
AIO_INLINE AIO_NODISCARD aio_awaitable aio__call(const aio_coroutine *co, void *frame)
{
    aio_awaitable a;
    a.cls = aio__call_await();
    a.u.p[0] = frame;
    a.u.cp[1] = co;
    return a;
}

// --- awaitable: a nested call in a block. A guard frame between caller and callee gives it back.
struct aio__guard {
    aio_frame aio;
    uint64_t block_class;
    char unused[32 - sizeof(aio_frame) - sizeof(uint64_t)];
};
AIO__ASSERT(sizeof(aio_task) % AIO__GRAIN == 0 && sizeof(struct aio__guard) % AIO__GRAIN == 0,
            "the frame behind it may want that alignment");
AIO_FN void aio__guard_free(aio_executor *x, struct aio__guard *g)
{
    aio__free(x, g, (uint32_t)g->block_class);
}
static inline aio_result aio__guard_step(aio_frame *f, aio_task *t)
{
    t->leaf = f->parent;        // the callee's result stays where it is
    aio__guard_free(t->waiter.future.loop, (struct aio__guard *)(void *)f);
    t->waiter.future.flags |= AIO__AGAIN;
    return AIO_PENDING;
}
static const struct aio__drop aio__no_drop = { 0 };
static const struct aio__scratch aio__no_scratch = { 0 };
static const aio_coroutine aio__guard_co = {
    { aio__guard_step, &aio__guard_co }, { aio__guard_step, &aio__guard_co },
    { 0, &aio__guard_co.body, "call_new", 0, AIO__SITE_GUARD },
    { 0, &aio__guard_co.body, "call_new", 0, AIO__SITE_GUARD },
    { 0, &aio__guard_co.body, "call_new", 0, AIO__SITE_GUARD },
    &aio__no_drop, &aio__no_scratch, "call_new", "aio.h", 0 };
AIO_FN void *aio__call_block(aio_task *t, const aio_coroutine *co, size_t size)
{
    size_t total = sizeof(struct aio__guard) + size;
    uint32_t c = aio__class_of(total);
    struct aio__guard *g = (struct aio__guard *)aio__alloc(t->waiter.future.loop, c, total);
    if (!g) return 0;
    g->aio.site = &aio__guard_co.start;
    g->block_class = c;
    aio_frame *f = (aio_frame *)(void *)(g + 1);
    aio__frame_init(co, f, size);
    return f;
}
// `now`: its first step runs at once, also where the trampoline would do it.
AIO_INLINE bool aio__enter_block(aio_task *t, aio_frame *f, const aio_coroutine *co, bool now)
{
    struct aio__guard *g = (struct aio__guard *)(void *)f - 1;
    g->aio.parent = t->leaf;
    t->leaf = &g->aio;
    if (!(now ? aio__begin_child(t, f, co) : aio__run_child(t, f, co))) return false;
    t->leaf = g->aio.parent;
    aio__guard_free(t->waiter.future.loop, g);
    return true;
}
AIO_FN bool aio__call_new_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_frame *f = (aio_frame *)a->u.p[0];
    if (AIO__UNLIKELY(!f)) {
        w->future.result = -ENOMEM;
        return true;
    }
    if (aio__needs_task(w)) return true;
    return aio__enter_block(AIO__TASK_OF(w), f, (const aio_coroutine *)a->u.cp[1], false);
}
AIO_TABLE(aio_await_class, aio__call_new_await,
    { aio__call_new_start, "call", AIO__AWAIT_CALL_NEW })
AIO_FN AIO_NODISCARD aio_awaitable aio__call_new(const aio_coroutine *co, void *frame)
{
    aio_awaitable a;
    a.cls = aio__call_new_await();
    a.u.p[0] = frame;
    a.u.cp[1] = co;
    return a;
}
#ifdef AIO_STRICT
AIO_FN AIO_NODISCARD aio_awaitable aio__call_new_from(aio_task *t, const aio_coroutine *co,
                                                      aio_frame *arguments)
{
    void *f = aio__call_block(t, co, co->size);
    if (f) __builtin_memcpy(f, arguments, co->scratch->from ? co->scratch->from : co->size);
    else aio__frame_drop(arguments, -ENOMEM);
    return aio__call_new(co, f);
}
#endif

// --- several at once: what gather, wait and as_completed have in common
// One block: the head, and for each future a node that stands on its list. When the future ends,
// the node takes its own turn in the ready ring, as asyncio's done-callbacks do.
struct aio__ops { aio_op *ops, **pointers; };
AIO_FN struct aio__ops aio__of_ops(aio_op *ops)
{
    struct aio__ops o = { ops, 0 };
    return o;
}
AIO_FN struct aio__ops aio__of_op_pointers(aio_op **ops)
{
    struct aio__ops o = { 0, ops };
    return o;
}
#ifdef __cplusplus
AIO_FN struct aio__ops aio__ops_of(aio_op *ops) { return aio__of_ops(ops); }
AIO_FN struct aio__ops aio__ops_of(aio_op **ops) { return aio__of_op_pointers(ops); }
#  define AIO__OPS(array) aio__ops_of(array)
#else
#  define AIO__OPS(array) \
       _Generic(&(array)[0], aio_op *: aio__of_ops, aio_op **: aio__of_op_pointers)(array)
#endif
AIO_INLINE aio_op *aio__ops_at(struct aio__ops o, size_t i)
{
    return o.ops ? &o.ops[i] : o.pointers[i];
}
struct aio__many {
    aio_waiter *owner;
    aio_task **tasks;                   // one of the three is not null
    aio_future **futures;
    struct aio__ops ops;
    aio_result *results;
    void (*ended)(struct aio__watched *v, aio_future *f); // one of them has ended, in its own turn
    struct aio__watched cancel_end;       // behind them in that list
    uint32_t n, pending, mode, block_class;
    aio_result first;                   // of a race
    bool cancel_asked, over;
    bool cancelling;                    // a cancel is on its way through it
    uint64_t walk;                      // the last one that was
    void (*stop_timer)(struct aio__many *m);            // or null
    void *timer;
};
enum { AIO__KEEP_ERRORS = 16, AIO__RACE };      // modes of gather_all and race
AIO_INLINE aio_future *aio__many_at(const struct aio__many *m, uint32_t i)
{
    if (m->tasks) return &m->tasks[i]->waiter.future;
    return m->futures ? m->futures[i] : &aio__ops_at(m->ops, i)->waiter.future;
}
AIO_INLINE struct aio__watched *aio__watches(struct aio__many *m)
{
    return (struct aio__watched *)(void *)(m + 1);
}
// From here on its future may be gone, unless it is a task that somebody holds.
AIO_FN void aio__watch_queue(aio_executor *x, struct aio__watched *v, const aio_future *f)
{
    v->failed = f->result < 0 && !(f->flags & AIO__CANCELLED);          // W-4
    v->state = AIO__WATCH_QUEUED;
    v->place = aio__push(x, (uintptr_t)&v->node | AIO__RUN_NODE);
}
AIO_FN void aio__watch_notify(aio_node *n, aio_future *f)
{
    aio__watch_queue(f->loop, (struct aio__watched *)(void *)n, f);
}
AIO_FN void aio__watch_run(aio_node *n)
{
    struct aio__watched *v = (struct aio__watched *)(void *)n;
    v->state = AIO__WATCH_IDLE;
    (v->many->ended)(v, n->u.list.target);
}
AIO_TABLE(aio_wait_class, aio__watch_class,
    { "watch", AIO__WAIT_WATCH, 0, 0, aio__watch_notify, aio__watch_run, 0, 0 })

// Leaves every future that is still watched.
AIO_FN void aio__many_leave(aio_executor *x, struct aio__many *m)
{
    struct aio__watched *v = aio__watches(m);
    for (uint32_t i = 0; i < m->n; i++, v++) {
        if (v->state == AIO__WATCH_LISTED) {
            aio__list_forget(&v->node);
            aio__unreserve(x);
        } else if (v->state == AIO__WATCH_QUEUED) {
            aio__unqueue(x, v->place);
        }
        v->state = AIO__WATCH_IDLE;
    }
}
AIO_FN void aio__many_free(aio_executor *x, struct aio__many *m)
{
    aio__many_leave(x, m);
    aio__free(x, m, m->block_class);
}
// Watches each future once; also (`done_too`) those that have ended: they are told in the next
// turn.
AIO_FN aio_result aio__many_watch(aio_executor *x, struct aio__many *m, bool done_too)
{
    aio_result r = 0;
    uint32_t i;
    for (i = 0; i < m->n && r >= 0; i++) {
        aio_future *f = aio__many_at(m, i);
        struct aio__watched *v = &aio__watches(m)[i];
        v->state = AIO__WATCH_IDLE;
        v->many = m;
        v->node.cls = aio__watch_class();
        v->twice = f->flags & AIO__MARK;
        if (v->twice) continue;
        m->pending++;
        if (!(f->flags & AIO__REFUSED)) f->flags |= AIO__MARK;          // that one is a constant
        if ((f->flags & AIO__DONE) && !done_too) v->state = AIO__WATCH_DONE;
        else if (!(f->flags & AIO__DONE) && !aio__future_bind(f, x)) r = -EXDEV;
        else r = aio__reserve(x);
        if (r < 0 || v->state == AIO__WATCH_DONE) continue;
        v->node.u.list.target = f;
        if (f->flags & AIO__DONE) {
            aio__watch_queue(x, v, f);
        } else {
            aio__list_add(f, &v->node);
            v->state = AIO__WATCH_LISTED;
        }
    }
    for (uint32_t k = i; k < m->n; k++) aio__watches(m)[k].state = AIO__WATCH_IDLE;
    while (i--) {
        aio_future *f = aio__many_at(m, i);
        if (f->flags & AIO__MARK) f->flags &= ~(uint32_t)AIO__MARK;
    }
    return r;
}
// A block that watches n futures for w. Null: w->future.result says why not.
AIO_FN struct aio__many *aio__many_new(aio_waiter *w, const aio_awaitable *a, bool done_too,
                                       void (*ended)(struct aio__watched *, aio_future *))
{
    aio_executor *x = w->future.loop;
    size_t n = (size_t)a->u.w[3], size = sizeof(struct aio__many) + n * sizeof(struct aio__watched);
    uint32_t c = aio__class_of(size);
    struct aio__many *m = n < UINT32_MAX / 64 ? (struct aio__many *)aio__alloc(x, c, size) : 0;
    w->future.result = -ENOMEM;
    if (!m) return 0;
    aio__zero(m, sizeof *m);
    m->owner = w;
    m->tasks = (aio_task **)a->u.p[0];
    m->futures = (aio_future **)a->u.p[1];
    m->results = (aio_result *)a->u.p[2];
    m->n = (uint32_t)n;
    m->mode = (uint32_t)a->u.w[4];
    if (m->mode == AIO__RACE) {
        m->ops.ops = (aio_op *)(uintptr_t)a->u.w[5];
        m->ops.pointers = (aio_op **)(uintptr_t)a->u.w[6];
    }
    m->block_class = c;
    m->ended = ended;
    aio_result r = aio__many_watch(x, m, done_too);
    if (r >= 0) return m;
    w->future.result = r;
    aio__many_free(x, m);
    return 0;
}
AIO_FN void aio__many_dispose(aio_waiter *w)
{
    aio__many_leave(w->future.loop, (struct aio__many *)w->node.u.p[0]);
}
AIO_FN size_t aio__many_describe(const aio_waiter *w, char *text, size_t size)
{
    const struct aio__many *m = (const struct aio__many *)w->node.u.p[0];
    size_t at = aio__append(text, size, aio__append(text, size, 0, w->node.cls->name), ": ");
    at = aio__append_number(text, size, at, m->pending);
    return aio__append(text, size,
                       aio__append_number(text, size, aio__append(text, size, at, " of "), m->n),
                       " have not ended");
}

AIO_FN void aio__gather_passed(struct aio__watched *v) { v->many->cancelling = false; }

// --- gather
AIO_FN void aio__gather_results(aio_task **tasks, aio_result *results, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        aio_future *f = &tasks[i]->waiter.future;
        bool done = f->flags & AIO__DONE;
        if (results) results[i] = done ? f->result : -EINPROGRESS;
        if (!done) f->flags |= AIO__FORGIVEN;           // G-3
        else if (results || f->result < 0) aio__took(f);
    }
}
// One that did not begin (refused, or dropped) is as one that ended at once: results are filled,
// handles of those that have ended given up, one for a task that stands there twice.
AIO_SLOW void aio__gather_refuse(const aio_awaitable *a)
{
    aio_task **tasks = (aio_task **)a->u.p[0];
    size_t n = (size_t)a->u.w[3];
    aio__gather_results(tasks, (aio_result *)a->u.p[2], n);
    for (size_t i = 0; i < n; i++) {
        aio_future *f = &tasks[i]->waiter.future;
        if (!(f->flags & AIO__DONE)) continue;
        if (f->flags & (AIO__MARK | AIO__REFUSED)) tasks[i] = 0;
        else f->flags |= AIO__MARK;
    }
    for (size_t i = 0; i < n; i++) {
        aio_task *t = tasks[i];
        if (!t || !(t->waiter.future.flags & AIO__DONE)) continue;
        t->waiter.future.flags &= ~(uint32_t)AIO__MARK;
        tasks[i] = 0;
        aio__task_release(t);
    }
}
AIO_FN aio_result aio__gather_end(struct aio__many *m, aio_result r)
{
    aio_executor *x = m->owner->future.loop;
    m->owner->node.cls = &aio__ready;       // hooks of values that are given up may cancel it
    aio__gather_results(m->tasks, m->results, m->n);
    aio__many_leave(x, m);
    for (uint32_t i = 0; i < m->n; i++) {
        aio_task *t = m->tasks[i];
        if (!(t->waiter.future.flags & AIO__DONE)) continue;
        m->tasks[i] = 0;
        aio__task_release(t);
    }
    aio__free(x, m, m->block_class);
    return r;
}
// One of them has ended. AIO_PENDING while the gather goes on.
AIO_FN aio_result aio__gather_count(struct aio__many *m, aio_future *f)
{
    m->pending--;
    // G-3, G-4
    if (m->mode != AIO__KEEP_ERRORS && f->result < 0) return aio__gather_end(m, f->result);
    if (m->pending) return AIO_PENDING;
    // G-6
    return aio__gather_end(m, m->cancel_asked ? -ECANCELED : 0);
}
AIO_FN void aio__gather_ended(struct aio__watched *v, aio_future *f)
{
    aio_waiter *w = v->many->owner;
    aio_result r = v->many->over ? AIO_PENDING : aio__gather_count(v->many, f);
    if (r != AIO_PENDING) aio_complete(w, r);
}
AIO_FN aio_result aio__gather_cut(aio_waiter *w, bool must_cancel)
{
    (void)must_cancel;
    return aio__gather_end((struct aio__many *)w->node.u.p[0], -ECANCELED);
}
AIO_TABLE(aio_wait_class, aio__gather_over,
    { "ready", AIO__WAIT_READY, 0, aio__gather_cut, 0, 0, 0, aio__many_dispose })
// G-6, G-7: all are cancelled, one after the other, by whoever goes on with the cancel. One that
// waits for itself in the end (T-11) is ended.
AIO_FN bool aio__gather_cancel(aio_waiter *w)
{
    struct aio__many *m = (struct aio__many *)w->node.u.p[0];
    aio_executor *x = w->future.loop;
    struct aio__watched **at = &x->to_cancel, *rest = x->to_cancel;
    if (m->cancelling) {
        m->over = true;
        aio_wake(w, aio__gather_over());
        return true;
    }
    if (m->walk == x->cancel_walk && !x->cancel_again) return true;     // it has passed
    m->walk = x->cancel_walk;
    for (uint32_t i = 0; i < m->n; i++) {
        struct aio__watched *v = &aio__watches(m)[i];
        if (aio__many_at(m, i)->flags & AIO__DONE) continue;
        v->node.u.list.target = aio__many_at(m, i);
        *at = v;
        at = &v->next_cancel;
        m->cancelling = true;
    }
    if (!m->cancelling) return false;
    *at = &m->cancel_end;
    m->cancel_end.many = m;
    m->cancel_end.node.u.list.target = 0;
    m->cancel_end.next_cancel = rest;
    return m->cancel_asked = true;
}
AIO_TABLE(aio_wait_class, aio__gather_wait,
    { "gather", AIO__WAIT_GATHER, aio__gather_cancel, 0, 0, 0, aio__many_describe,
      aio__many_dispose })
// Null: it is over already, with w->future.result.
AIO_FN struct aio__many *aio__gather_begin(aio_waiter *w, const aio_awaitable *a,
                                           const aio_wait_class *cls,
                                           void (*ended)(struct aio__watched *, aio_future *))
{
    struct aio__many *m = aio__many_new(w, a, false, ended);
    if (!m) {
        aio__gather_refuse(a);
        return 0;
    }
    struct aio__watched *v = aio__watches(m);
    uint32_t n = m->n;
    for (uint32_t i = 0; i < n; i++)                    // G-1: one that stands twice is held twice
        if (v[i].twice) aio_task_retain(m->tasks[i]);
    aio_result r = n ? AIO_PENDING : aio__gather_end(m, 0);         // G-2
    for (uint32_t i = 0; i < n && r == AIO_PENDING; i++)
        if (v[i].state == AIO__WATCH_DONE) r = aio__gather_count(m, aio__many_at(m, i));
    w->future.result = r;
    if (r != AIO_PENDING) return 0;
    w->node.u.p[0] = m;
    aio_waiter_begin(w, cls);
    return m;
}
AIO_FN bool aio__gather_start(aio_waiter *w, const aio_awaitable *a)
{
    return !aio__gather_begin(w, a, aio__gather_wait(), aio__gather_ended);
}
AIO_TABLE(aio_await_class, aio__gather_await, { aio__gather_start, "gather", AIO__AWAIT_GATHER })
AIO_FN AIO_NODISCARD aio_awaitable aio__gather(aio_task **tasks, aio_result *results, size_t n,
                                               bool all)
{
    aio_awaitable a;
    a.cls = aio__gather_await();
    a.u.p[0] = tasks;
    a.u.p[1] = 0;
    a.u.p[2] = results;
    a.u.w[3] = n;
    a.u.w[4] = all ? AIO__KEEP_ERRORS : 0;
    return a;
}

// --- wait
// It is over: what has ended is counted when the awaiter goes on (W-3).
AIO_FN aio_result aio__wait_resume(aio_waiter *w, bool must_cancel)
{
    struct aio__many *m = (struct aio__many *)w->node.u.p[0];
    aio_result done = 0;
    for (uint32_t i = 0; i < m->n; i++)
        if (!aio__watches(m)[i].twice && aio__watches(m)[i].state != AIO__WATCH_LISTED) done++;
    if (m->mode == AIO__RACE) done = m->first;
    if (must_cancel || m->cancel_asked) done = -ECANCELED;
    aio__many_free(w->future.loop, m);
    return done;
}
AIO_TABLE(aio_wait_class, aio__wait_over,
    { "ready", AIO__WAIT_READY, 0, aio__wait_resume, 0, 0, 0, aio__many_dispose })
AIO_FN void aio__wait_release(struct aio__many *m)
{
    if (m->over) return;
    m->over = true;
    if (m->stop_timer) (m->stop_timer)(m);
    aio_wake(m->owner, aio__wait_over());
}
AIO_FN bool aio__waiting_cancel(aio_waiter *w)
{
    struct aio__many *m = (struct aio__many *)w->node.u.p[0];
    m->cancel_asked = true;
    aio__wait_release(m);
    return true;
}
AIO_FN void aio__wait_ended(struct aio__watched *v, aio_future *f)
{
    struct aio__many *m = v->many;
    (void)f;
    if (!m->over) m->first = v - aio__watches(m);
    if (!--m->pending || m->mode == AIO_FIRST_COMPLETED || m->mode == AIO__RACE ||
        (m->mode == AIO_FIRST_ERROR && v->failed))
        aio__wait_release(m);
}
AIO_TABLE(aio_wait_class, aio__wait_wait,
    { "wait", AIO__WAIT_OWN, aio__waiting_cancel, 0, 0, 0, aio__many_describe, aio__many_dispose })
AIO_FN struct aio__many *aio__wait_begin(aio_waiter *w, const aio_awaitable *a)
{
    w->future.result = -EINVAL;
    struct aio__many *m = a->u.w[3] ? aio__many_new(w, a, true, aio__wait_ended) : 0;      // W-1
    if (!m) return 0;
    w->node.u.p[0] = m;
    aio_waiter_begin(w, aio__wait_wait());
    return m;
}
AIO_FN bool aio__wait_start(aio_waiter *w, const aio_awaitable *a)
{
    return !aio__wait_begin(w, a);
}
AIO_TABLE(aio_await_class, aio__wait_await, { aio__wait_start, "wait", AIO__AWAIT_OWN })
// An array of tasks or of futures.
struct aio__futures { aio_task **tasks; aio_future **futures; };
AIO_FN struct aio__futures aio__of_tasks(aio_task **tasks)
{
    struct aio__futures f = { tasks, 0 };
    return f;
}
AIO_FN struct aio__futures aio__of_futures(aio_future **futures)
{
    struct aio__futures f = { 0, futures };
    return f;
}
#ifdef __cplusplus
AIO_FN struct aio__futures aio__futures_of(aio_task **tasks) { return aio__of_tasks(tasks); }
AIO_FN struct aio__futures aio__futures_of(aio_future **futures)
{
    return aio__of_futures(futures);
}
#    define AIO__FUTURES(array) aio__futures_of(array)
#else
#  define AIO__FUTURES(array) \
       _Generic(&(array)[0], aio_task **: aio__of_tasks, aio_future **: aio__of_futures)(array)
#endif
AIO_FN AIO_NODISCARD aio_awaitable aio__wait(struct aio__futures f, size_t n, int mode)
{
    aio_awaitable a;
    a.cls = aio__wait_await();
    a.u.p[0] = f.tasks;
    a.u.p[1] = f.futures;
    a.u.p[2] = 0;
    a.u.w[3] = n;
    a.u.w[4] = (uint64_t)mode;
    return a;
}

// --- shield: the task's end takes a turn of its own, then the awaiter goes on
// A task's holder may give it up before that turn: it is held. A future may be gone by then: its
// result is kept, and nothing else.
AIO_FN void aio__shield_notify(aio_node *n, aio_future *f)
{
    if (f->flags & AIO__IS_TASK) {
        f->refs++;
    } else {
        aio__saw(f);
        AIO__CONTAINER(n, aio_waiter, node)->future.result = f->result;
        n->u.list.target = 0;
    }
    n->u.w[0] = aio__push(f->loop, (uintptr_t)n | AIO__RUN_NODE);      // beside list.target
}
AIO_FN void aio__shield_release(aio_future *f)
{
    if (f) aio__task_release(aio__future_task(f));
}
AIO_FN bool aio__shield_told(const aio_waiter *w)
{
    return !w->node.u.list.target || (w->node.u.list.target->flags & AIO__DONE);
}
AIO_FN bool aio__shield_cancel(aio_waiter *w)
{
    aio_future *held = 0;
    if (aio__shield_told(w)) {
        held = w->node.u.list.target;
        aio__unqueue(w->future.loop, (uint32_t)w->node.u.w[0]);
    } else {
        aio__list_remove(&w->node);
        aio__unreserve(w->future.loop);
    }
    aio_complete(w, -ECANCELED);
    aio__shield_release(held);              // last: a drop hook may cancel w again
    return true;
}
AIO_FN void aio__shield_run(aio_node *n)
{
    aio_future *f = n->u.list.target;
    if (aio__gives_value(f)) {
        aio__value_complete(AIO__CONTAINER(n, aio_waiter, node), f);
        return;
    }
    aio__took(f);
    aio_complete(AIO__CONTAINER(n, aio_waiter, node), f->result);
    aio__shield_release(f);
}
AIO_FN void aio__shield_dispose(aio_waiter *w)
{
    if (aio__shield_told(w)) aio__shield_release(w->node.u.list.target);
    else aio__list_forget(&w->node);
}
AIO_TABLE(aio_wait_class, aio__shield_wait,
    { "shielded task", AIO__WAIT_SHIELD, aio__shield_cancel, 0, aio__shield_notify, aio__shield_run,
      aio__task_describe, aio__shield_dispose })
AIO_FN bool aio__shield_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_future *f = (aio_future *)a->u.p[0];
    if (aio__op_keeps_ended(w, f)) {
        f->refs++;
        return true;
    }
    aio_result r = f->flags & AIO__DONE ? 0 : aio__reserve(w->future.loop);
    if (r >= 0 && !aio__watch(w, f, aio__shield_wait())) {
        if (f == &w->future) aio__unreserve(w->future.loop);
        return false;
    }
    if (r >= 0 && !(f->flags & AIO__DONE)) aio__unreserve(w->future.loop);      // another loop's
    if (r < 0) w->future.result = r;
    return true;
}
AIO_TABLE(aio_await_class, aio__shield_await, { aio__shield_start, "shield", AIO__AWAIT_SHIELD })
AIO_FN AIO_NODISCARD aio_awaitable aio_shield(aio_task *t)
{
    aio_awaitable a;
    a.cls = aio__shield_await();
    a.u.p[0] = &t->waiter.future;
    return a;
}

// --- groups
struct aio__child {
    aio_node node;                  // on the task's list
    struct aio__child *next, *prev; // in order of creation
    aio_group *group;
    aio_task *task;                 // the group's handle
    bool ended;
};
AIO_FN void aio__group_abort(aio_group *g)
{
    g->aborting = true;
    for (struct aio__child *c = g->children; c; c = c->next)
        if (!c->ended) aio_task_cancel(c->task);
}
AIO_FN void aio__group_failed(aio_group *g, uint32_t id, const char *name, aio_result error)
{
    if (g->error_count < AIO_GROUP_ERRORS) {
        aio_group_failure *e = &g->errors[g->error_count];
        e->id = id;
        e->name = name;
        e->error = error;
    }
    g->error_count++;
}
AIO_FN void aio__group_wake(aio_group *g, aio_result r);
AIO_FN void aio__group_forget(aio_group *g, struct aio__child *c)
{
    if (c->next) c->next->prev = c->prev;
    else g->last_child = c->prev;
    if (c->prev) c->prev->next = c->next;
    else g->children = c->next;
    aio__task_release(c->task);
    aio__free(g->parent->waiter.future.loop, c, aio__class_of(sizeof *c));
}
// TG-2: a child has ended; an error cancels its siblings, then the parent, once.
AIO_FN void aio__group_child_run(aio_node *n)
{
    struct aio__child *c = (struct aio__child *)(void *)n;
    aio_group *g = c->group;
    aio_future *f = &c->task->waiter.future;
    c->ended = true;
    if (f->result < 0) aio__saw(f);
    if (!--g->live && g->waiting) aio__group_wake(g, 0);
    bool failed = f->result < 0 && !(f->flags & AIO__CANCELLED);            // TG-4
    if (failed) aio__group_failed(g, c->task->id, aio_task_name(c->task), f->result);
    if (g->forgetful) aio__group_forget(g, c);
    if (!failed || g->aborting || g->parent_cancelled) return;
    aio__group_abort(g);
    g->parent_cancelled = true;
    aio_task_cancel(g->parent);
}
AIO_FN void aio__group_child_notify(aio_node *n, aio_future *f)
{
    aio__push(f->loop, (uintptr_t)n | AIO__RUN_NODE);
}
AIO_TABLE(aio_wait_class, aio__child_class,
    { "group", AIO__WAIT_CHILD, 0, 0, aio__group_child_notify, aio__group_child_run, 0, 0 })
AIO_FN aio_task *aio__group_task_new(aio_group *g, const aio_coroutine *co, size_t size)
{
    // TG-1
    if (!g->parent || g->aborting || (g->exiting && !g->live)) return aio__refused(-EINVAL);
    aio_executor *x = g->parent->waiter.future.loop;
    uint32_t k = aio__class_of(sizeof(struct aio__child));
    aio_result r = aio__reserve(x);
    if (r < 0) return aio__refused(r);
    struct aio__child *c = (struct aio__child *)aio__alloc(x, k, sizeof *c);
    aio_task *t = c ? aio__task_new(x, co, size) : aio__refused(-ENOMEM);
    if (t->waiter.future.flags & AIO__REFUSED) {
        if (c) aio__free(x, c, k);
        aio__unreserve(x);
        return t;
    }
    c->node.cls = aio__child_class();
    c->group = g;
    c->task = t;
    c->ended = false;
    c->next = 0;
    c->prev = g->last_child;
    if (c->prev) c->prev->next = c;
    else g->children = c;
    g->last_child = c;
    g->live++;
    aio__list_add(&t->waiter.future, &c->node);
    return t;
}
#ifdef AIO_STRICT
#  define AIO__GROUP_SPAWN(n, group, name, ...) aio__borrowed(aio__task_begin_from( \
       aio__group_task_new(group, &AIO__CO(name), sizeof(struct name)), &AIO__CO(name), \
       &AIO__INIT(name, __VA_ARGS__)->aio))
#else
#  define AIO__GROUP_SPAWN(n, group, name, ...) aio__borrowed(AIO__MAKE(n, aio__task_begin, \
       aio__group_task_new(group, &AIO__CO(name), sizeof(struct name)), name, __VA_ARGS__))
#endif
AIO_INLINE aio_task *aio__borrowed(aio_task *t) { return t; }       // may be dropped

// All children have ended: what comes out (asyncio's __aexit__, from the end of its wait).
AIO_FN aio_result aio__group_end(aio_group *g)
{
    aio_executor *x = g->parent->waiter.future.loop;
    aio_task *parent = g->parent;
    bool own = g->parent_cancelled && aio_task_uncancel(parent) == 0;       // TG-8
    // What is left was asked by others, while the group waited for its own cancel. An error of the
    // body comes first: then the cancel is owed (TG-9).
    bool failed = g->out < 0 && g->out != -ECANCELED;
    if (g->cancelled_again && !failed && parent->cancelling > g->base) g->propagate = true;
    for (struct aio__child *c = g->children, *next; c; c = next) {
        next = c->next;
        aio__task_release(c->task);
        aio__free(x, c, aio__class_of(sizeof *c));
    }
    g->children = g->last_child = 0;
    g->parent = 0;
    if (!g->returning) aio_scope_leave(&g->scope, parent);      // else the frame's return does it
    if (g->propagate && !own && !g->error_count) return -ECANCELED;         // TG-6
    if (failed) aio__group_failed(g, 0, "body", g->out);
    if (!g->error_count) return g->out == -ECANCELED ? 0 : g->out;
    if (parent->cancelling) {                                               // TG-9
        aio_task_uncancel(parent);
        aio_task_cancel(parent);
    }
    return g->errors[0].error;
}
// The parent waits for its children, again and again (TG-7).
AIO_FN aio_result aio__group_resume(aio_waiter *w, bool must_cancel);
AIO_FN bool aio__group_cancel_wait(aio_waiter *w)
{
    aio__group_wake((aio_group *)w->node.u.p[0], -ECANCELED);
    return true;
}
AIO_FN size_t aio__group_describe(const aio_waiter *w, char *text, size_t size)
{
    const aio_group *g = (const aio_group *)w->node.u.p[0];
    size_t at = aio__append(text, size, 0, "group: ");
    return aio__append(text, size, aio__append_number(text, size, at, g->live), " tasks");
}
AIO_TABLE(aio_wait_class, aio__group_wait,
    { "group", AIO__WAIT_OWN, aio__group_cancel_wait, 0, 0, 0, aio__group_describe, 0 })
AIO_TABLE(aio_wait_class, aio__group_woken,
    { "ready", AIO__WAIT_READY, 0, aio__group_resume, 0, 0, 0, 0 })
AIO_FN void aio__group_wake(aio_group *g, aio_result r)
{
    aio_waiter *w = g->waiting;
    g->waiting = 0;
    w->future.result = r;
    aio_wake(w, aio__group_woken());
}
AIO_FN aio_result aio__group_resume(aio_waiter *w, bool must_cancel)
{
    aio_group *g = (aio_group *)w->node.u.p[0];
    if (must_cancel || w->future.result == -ECANCELED) {
        w->future.flags &= ~(uint32_t)AIO__MUST_CANCEL;
        g->cancelled_again = g->aborting;
        if (!g->aborting) {
            g->propagate = true;
            aio__group_abort(g);
        }
    }
    if (!g->live) return aio__group_end(g);
    g->waiting = w;
    aio_waiter_begin(w, aio__group_wait());
    return AIO_PENDING;
}
// The body has ended with r. AIO_PENDING: w waits for the children.
AIO_FN aio_result aio__group_leave(aio_group *g, aio_waiter *w, aio_result r)
{
    g->exiting = true;
    g->out = r;
    g->propagate = r == -ECANCELED;
    if (r < 0 && !g->aborting) aio__group_abort(g);                         // TG-5
    if (!g->live) return aio__group_end(g);
    g->waiting = w;
    w->node.u.p[0] = g;
    aio_waiter_begin(w, aio__group_wait());
    return AIO_PENDING;
}
AIO_FN bool aio__group_exit_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_group *g = (aio_group *)a->u.p[0];
    aio_result r = -EINVAL;
    if (g->parent && !g->exiting && &g->parent->waiter == w)
        r = aio__group_leave(g, w, aio__no_pending(a->u.i[1]));
    if (r == AIO_PENDING) return false;
    w->future.result = r;
    return true;
}
AIO_TABLE(aio_await_class, aio__group_exit_await,
    { aio__group_exit_start, "group", AIO__AWAIT_TASK_ONLY })
AIO_FN AIO_NODISCARD aio_awaitable aio_group_exit(aio_group *g, aio_result r)
{
    aio_awaitable a;
    a.cls = aio__group_exit_await();
    a.u.p[0] = g;
    a.u.i[1] = r;
    return a;
}
// The frame returns over the group: first r, then what its wait gave.
AIO_FN aio_result aio__group_scope_exit(aio_scope *s, aio_task *t, aio_result r)
{
    aio_group *g = AIO__CONTAINER(s, aio_group, scope);
    if (!g->parent) return t->waiter.future.result;     // the wait's end was the group's
    g->returning = true;
    return aio__group_leave(g, &t->waiter, r);
}
AIO_TABLE(aio_scope_class, aio__group_scope, { "group", aio__group_scope_exit, AIO__SCOPE_GROUP })
// The frame that opened it is destroyed. Its hook may still look at the children.
AIO_FN void aio__group_detach(aio_group *g)
{
    for (struct aio__child *c = g->children; c; c = c->next) {
        if (c->task->waiter.future.flags & AIO__DONE)
            aio__leave_behind(g->parent->waiter.future.loop, c->task);
        else aio__list_remove(&c->node);
    }
    g->children = g->last_child = 0;
    g->parent = 0;
    g->waiting = 0;
}
AIO_FN aio_result aio_group_enter_with(aio_group *g, const struct aio_group_options *options)
{
    aio_task *t = aio_current_task();
    if (!t || g->parent) return -EINVAL;
    bool cancelled = g->aborting && !g->exiting;        // aio_group_cancel came first (TG-16)
    g->parent = t;
    g->children = g->last_child = 0;
    g->waiting = 0;
    g->live = g->error_count = 0;
    g->base = t->cancelling;
    g->exiting = g->returning = g->aborting = g->parent_cancelled = g->propagate = false;
    g->cancelled_again = false;
    g->forgetful = options && options->forget_ended;
    aio_scope_enter(&g->scope, t, aio__group_scope());
    return cancelled ? aio_group_cancel(g) : 0;
}
AIO_FN aio_result aio_group_enter(aio_group *g) { return aio_group_enter_with(g, 0); }
AIO_FN aio_result aio_group_cancel(aio_group *g)
{
    if (!g->parent) {
        if (!g->exiting) g->aborting = true;
        return 0;
    }
    if (g->aborting || (g->exiting && !g->live)) return 0;
    aio__group_abort(g);
    if (g->parent_cancelled) return 0;
    g->parent_cancelled = true;
    aio_task_cancel(g->parent);
    return 0;
}
AIO_FN aio_group_failure aio_group_error(const aio_group *g, uint32_t i)
{
    aio_group_failure none = { 0, 0, 0 };
    return i < g->error_count && i < AIO_GROUP_ERRORS ? g->errors[i] : none;
}

// --- who awaits a task (X-6)
AIO_FN aio_task *aio__waiter_task(aio_waiter *w)        // an op's: the task that started it
{
    if (w->future.flags & AIO__IS_TASK) return aio__future_task(&w->future);
    return ((aio_op *)(void *)aio__future_task(&w->future))->owner;
}
// The task behind a node on a future's list; null: a callback, a run.
AIO_FN aio_task *aio__watcher_task(aio_node *n)
{
    switch (n->cls->kind) {
    case AIO__WAIT_FUTURE:
    case AIO__WAIT_TASK:
    case AIO__WAIT_JOIN:
    case AIO__WAIT_SHIELD:
        return aio__waiter_task(AIO__CONTAINER(n, aio_waiter, node));
    case AIO__WAIT_WATCH:
        return aio__waiter_task(((struct aio__watched *)(void *)n)->many->owner);
    case AIO__WAIT_CHILD:
        return ((struct aio__child *)(void *)n)->group->parent;
    default:
        return 0;
    }
}
AIO_FN uint32_t aio_task_awaited_by(aio_task *t, aio_task **by, uint32_t n)
{
    aio_node *first = t->waiter.future.watchers, *node = first;
    uint32_t found = 0;
    if (!first) return 0;
    do {
        aio_task *awaiter = aio__watcher_task(node);
        node = node->u.list.next;
        if (!awaiter || (awaiter->waiter.future.flags & AIO__MARK)) continue;
        awaiter->waiter.future.flags |= AIO__MARK;
        if (found < n) by[found] = awaiter;
        found++;
    } while (node != first);
    do {
        aio_task *awaiter = aio__watcher_task(node);
        if (awaiter) awaiter->waiter.future.flags &= ~(uint32_t)AIO__MARK;
        node = node->u.list.next;
    } while (node != first);
    return found;
}

// --- locks and the like: what they have in common
// A waiter stands on the object's list; the object's address is in node.u.p[2], and in its low bits
// whether it was woken or cancelled and has not run yet.
#define AIO__WOKEN ((uintptr_t)1)
#define AIO__GONE ((uintptr_t)2)
AIO_INLINE uintptr_t aio__sync_state(const aio_waiter *w) { return (uintptr_t)w->node.u.p[2] & 3; }
AIO_INLINE void *aio__sync_object(const aio_waiter *w)
{
    return (void *)((uintptr_t)w->node.u.p[2] & ~(uintptr_t)3);
}
AIO_FN void aio__sync_wait(aio_waiter *w, aio_node **list, void *object, const aio_wait_class *cls)
{
    aio__ring_add(list, &w->node);
    w->node.u.p[2] = object;
    aio_waiter_begin(w, cls);
}
AIO_FN void aio__sync_wake(aio_waiter *w, uintptr_t how)
{
    w->node.u.p[2] = (void *)((uintptr_t)w->node.u.p[2] | how);
    aio_wake(w, w->node.cls);
}
AIO_INLINE aio_waiter *aio__waiter_of(aio_node *n) { return AIO__CONTAINER(n, aio_waiter, node); }
// The first on a list, taken off it; null: nobody.
AIO_FN aio_waiter *aio__sync_first(aio_node **list)
{
    aio_node *n = *list;
    if (!n) return 0;
    aio__ring_remove(list, n);
    return aio__waiter_of(n);
}
AIO_FN aio_awaitable aio__sync_await(const aio_await_class *cls, void *object)
{
    aio_awaitable a;
    a.cls = cls;
    a.u.p[0] = object;
    return a;
}
AIO_INLINE bool aio__done_with(aio_waiter *w, aio_result r)
{
    w->future.result = r;
    return true;
}
// A cancel takes a waiter off a list on which only those stand who have not been woken.
AIO_FN bool aio__sync_leave(aio_waiter *w, aio_node **list)
{
    if (aio__sync_state(w)) return false;
    aio__ring_remove(list, &w->node);
    aio__sync_wake(w, AIO__GONE);
    return true;
}
// The waiter is destroyed (its loop was closed): the object may outlive it.
AIO_FN void aio__sync_forget(aio_waiter *w, aio_node **list)
{
    if (!aio__sync_state(w)) aio__ring_remove(list, &w->node);
}
// Was this step woken by a cancel, or cancelled after its wake?
AIO_INLINE bool aio__sync_cancelled(const aio_waiter *w, bool must_cancel)
{
    return must_cancel || (aio__sync_state(w) & AIO__GONE);
}

// --- lock. A waiter stays on the list until it runs: the order of wakes depends on it (LK-2,
// LK-3).
AIO_FN bool aio__lock_try(aio_lock *k)
{
    if (k->locked || k->live) return false;         // LK-1
    k->locked = true;
    return true;
}
AIO_FN void aio__lock_wake(aio_lock *k)
{
    if (k->waiters && !aio__sync_state(aio__waiter_of(k->waiters)))
        aio__sync_wake(aio__waiter_of(k->waiters), AIO__WOKEN);
}
AIO_FN void aio__lock_join(aio_lock *k, aio_waiter *w, const aio_wait_class *cls, void *object)
{
    k->live++;
    aio__sync_wait(w, &k->waiters, object, cls);
}
AIO_FN bool aio__lock_wait_cancel(aio_lock *k, aio_waiter *w)
{
    if (aio__sync_state(w)) return false;
    k->live--;
    aio__sync_wake(w, AIO__GONE);
    return true;
}
// The waiter runs: it has the lock, or leaves it to the next. True: it has it.
AIO_FN bool aio__lock_resume(aio_lock *k, aio_waiter *w, bool must_cancel)
{
    bool cancelled = aio__sync_cancelled(w, must_cancel);
    if (!(aio__sync_state(w) & AIO__GONE)) k->live--;
    aio__ring_remove(&k->waiters, &w->node);
    if (!cancelled) k->locked = true;
    else if (!k->locked) aio__lock_wake(k);
    return !cancelled;
}
// What an op has taken is the op's until somebody takes its result (see "ops"): here u.p[2] is the
// object, and u.w[0] how often the lock had been released by then. Whoever has given it up since
// has taken it, with the result or without.
AIO_FN void aio__op_holds(aio_waiter *w, void *object, const aio_wait_class *cls)
{
    if (AIO__LIKELY(w->future.flags & AIO__IS_TASK)) return;
    w->node.u.p[2] = object;
    aio_waiter_begin(w, cls);
}
AIO_FN void aio__lock_give_back(aio_lock *k, const aio_waiter *w)
{
    if (k->locked && k->releases == (uint32_t)w->node.u.w[0]) aio_lock_release(k);
}
AIO_FN void aio__lock_held_dispose(aio_waiter *w)
{
    aio__lock_give_back((aio_lock *)w->node.u.p[2], w);
}
AIO_FN aio_result aio__lock_held_resume(aio_waiter *w, bool must_cancel)
{
    if (!must_cancel) return w->future.result;
    aio__lock_held_dispose(w);
    return -ECANCELED;
}
AIO_TABLE(aio_wait_class, aio__lock_held,
    { "ready", AIO__WAIT_READY, 0, aio__lock_held_resume, 0, 0, 0, aio__lock_held_dispose })
AIO_FN aio_result aio__lock_taken(aio_lock *k, aio_waiter *w)
{
    aio__op_holds(w, k, aio__lock_held());
    if (!(w->future.flags & AIO__IS_TASK)) w->node.u.w[0] = k->releases;
    return 0;
}
AIO_FN bool aio__lock_cancel(aio_waiter *w)
{
    return aio__lock_wait_cancel((aio_lock *)aio__sync_object(w), w);
}
AIO_FN aio_result aio__lock_woken(aio_waiter *w, bool must_cancel)
{
    aio_lock *k = (aio_lock *)aio__sync_object(w);
    return aio__lock_resume(k, w, must_cancel) ? aio__lock_taken(k, w) : -ECANCELED;
}
AIO_FN void aio__lock_dispose(aio_waiter *w) { (void)aio__lock_woken(w, true); }
AIO_TABLE(aio_wait_class, aio__lock_wait,
    { "lock", AIO__WAIT_OWN, aio__lock_cancel, aio__lock_woken, 0, 0, 0, aio__lock_dispose })
AIO_FN bool aio__lock_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_lock *k = (aio_lock *)a->u.p[0];
    if (aio__lock_try(k)) return aio__done_with(w, aio__lock_taken(k, w));
    aio__lock_join(k, w, aio__lock_wait(), k);
    return false;
}
AIO_TABLE(aio_await_class, aio__lock_await, { aio__lock_start, "lock", AIO__AWAIT_OWN })
AIO_FN AIO_NODISCARD aio_awaitable aio_lock_acquire(aio_lock *k)
{
    return aio__sync_await(aio__lock_await(), k);
}
AIO_FN aio_result aio_lock_release(aio_lock *k)
{
    if (!k->locked) return -EPERM;                  // LK-4
    k->locked = false;
    k->releases++;
    aio__lock_wake(k);
    return 0;
}
AIO_FN bool aio_lock_locked(const aio_lock *k) { return k->locked; }

// --- event
AIO_FN bool aio__event_cancel(aio_waiter *w)
{
    return aio__sync_leave(w, &((aio_event *)aio__sync_object(w))->waiters);
}
AIO_FN aio_result aio__event_woken(aio_waiter *w, bool must_cancel)
{
    return aio__sync_cancelled(w, must_cancel) ? -ECANCELED : 0;    // EV-1, EV-2
}
AIO_FN void aio__event_dispose(aio_waiter *w)
{
    aio__sync_forget(w, &((aio_event *)aio__sync_object(w))->waiters);
}
AIO_TABLE(aio_wait_class, aio__event_wait_class,
    { "event", AIO__WAIT_EVENT, aio__event_cancel, aio__event_woken, 0, 0, 0, aio__event_dispose })
AIO_FN bool aio__event_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_event *e = (aio_event *)a->u.p[0];
    if (e->is_set) return aio__done_with(w, 0);
    aio__sync_wait(w, &e->waiters, e, aio__event_wait_class());
    return false;
}
AIO_TABLE(aio_await_class, aio__event_await, { aio__event_start, "event", AIO__AWAIT_OWN })
AIO_FN AIO_NODISCARD aio_awaitable aio_event_wait(aio_event *e)
{
    return aio__sync_await(aio__event_await(), e);
}
AIO_FN void aio_event_set(aio_event *e)
{
    aio_waiter *w;
    e->is_set = true;
    while ((w = aio__sync_first(&e->waiters)) != 0) aio__sync_wake(w, AIO__WOKEN);
}
AIO_FN void aio_event_clear(aio_event *e) { e->is_set = false; }
AIO_FN bool aio_event_is_set(const aio_event *e) { return e->is_set; }

// --- condition. First on the condition's list, then (CV-3: whatever happened) on the lock's.
AIO_FN void aio__condition_wake(aio_condition *c, uint32_t n)
{
    aio_waiter *w;
    while (n-- && (w = aio__sync_first(&c->waiters)) != 0) aio__sync_wake(w, AIO__WOKEN);   // CV-2
}
// An op's end: it has the lock, whatever its result. Who takes that has the lock too, also when a
// cancel replaces it.
AIO_FN void aio__condition_held_dispose(aio_waiter *w)
{
    aio_condition *c = (aio_condition *)w->node.u.p[2];
    if (w->future.result >= 0) aio__condition_wake(c, 1);
    aio__lock_give_back(c->lock, w);
}
AIO_FN aio_result aio__condition_held_resume(aio_waiter *w, bool must_cancel)
{
    if (!must_cancel) return w->future.result;
    if (w->future.result >= 0) aio__condition_wake((aio_condition *)w->node.u.p[2], 1);
    return -ECANCELED;
}
AIO_TABLE(aio_wait_class, aio__condition_held,
    { "ready", AIO__WAIT_READY, 0, aio__condition_held_resume, 0, 0, 0,
      aio__condition_held_dispose })
// The lock is held again. CV-4: a wake that a cancelled waiter got goes on to another.
AIO_FN aio_result aio__condition_end(aio_condition *c, aio_waiter *w)
{
    bool cancelled = w->future.flags & AIO__NOTED;
    w->future.flags &= ~(uint32_t)AIO__NOTED;
    aio__op_holds(w, c, aio__condition_held());
    if (!(w->future.flags & AIO__IS_TASK)) w->node.u.w[0] = c->lock->releases;
    if (!cancelled) return 0;
    aio__condition_wake(c, 1);
    return -ECANCELED;
}
AIO_FN void aio__condition_note(aio_waiter *w)          // a cancel to be told when the lock is held
{
    w->future.flags = (w->future.flags | AIO__NOTED) & ~(uint32_t)AIO__MUST_CANCEL;
}
AIO_FN bool aio__relock_cancel(aio_waiter *w)
{
    return aio__lock_wait_cancel(((aio_condition *)aio__sync_object(w))->lock, w);
}
AIO_FN aio_result aio__relock_woken(aio_waiter *w, bool must_cancel);
AIO_FN void aio__relock_dispose(aio_waiter *w)
{
    (void)aio__lock_resume(((aio_condition *)aio__sync_object(w))->lock, w, true);
}
AIO_TABLE(aio_wait_class, aio__relock_wait,
    { "lock of a condition", AIO__WAIT_OWN, aio__relock_cancel, aio__relock_woken, 0, 0, 0,
      aio__relock_dispose })
AIO_FN aio_result aio__relock(aio_condition *c, aio_waiter *w)
{
    if (aio__lock_try(c->lock)) return aio__condition_end(c, w);
    aio__lock_join(c->lock, w, aio__relock_wait(), c);
    return AIO_PENDING;
}
AIO_FN aio_result aio__relock_woken(aio_waiter *w, bool must_cancel)
{
    aio_condition *c = (aio_condition *)aio__sync_object(w);
    if (aio__lock_resume(c->lock, w, must_cancel)) return aio__condition_end(c, w);
    aio__condition_note(w);
    return aio__relock(c, w);
}
AIO_FN bool aio__condition_cancel(aio_waiter *w)
{
    return aio__sync_leave(w, &((aio_condition *)aio__sync_object(w))->waiters);
}
AIO_FN aio_result aio__condition_woken(aio_waiter *w, bool must_cancel)
{
    aio_condition *c = (aio_condition *)aio__sync_object(w);
    if (aio__sync_cancelled(w, must_cancel)) aio__condition_note(w);
    return aio__relock(c, w);
}
AIO_FN void aio__condition_dispose(aio_waiter *w)
{
    aio__sync_forget(w, &((aio_condition *)aio__sync_object(w))->waiters);
}
AIO_TABLE(aio_wait_class, aio__condition_wait_class,
    { "condition", AIO__WAIT_OWN, aio__condition_cancel, aio__condition_woken, 0, 0, 0,
      aio__condition_dispose })
AIO_FN bool aio__condition_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_condition *c = (aio_condition *)a->u.p[0];
    aio_result r = aio_lock_release(c->lock);
    if (r < 0) return aio__done_with(w, r);         // CV-1
    aio__sync_wait(w, &c->waiters, c, aio__condition_wait_class());
    return false;
}
AIO_TABLE(aio_await_class, aio__condition_await,
    { aio__condition_start, "condition", AIO__AWAIT_OWN })
AIO_FN void aio_condition_init(aio_condition *c, aio_lock *lock)
{
    c->lock = lock;
    c->waiters = 0;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_condition_wait(aio_condition *c)
{
    return aio__sync_await(aio__condition_await(), c);
}
AIO_FN aio_result aio_condition_notify(aio_condition *c, uint32_t n)
{
    if (!c->lock->locked) return -EPERM;
    aio__condition_wake(c, n);
    return 0;
}
AIO_FN aio_result aio_condition_notify_all(aio_condition *c)
{
    return aio_condition_notify(c, UINT32_MAX);
}

// --- semaphore
AIO_FN bool aio__semaphore_wake(aio_semaphore *s)       // SM-2: hands a unit over
{
    aio_waiter *w = aio__sync_first(&s->waiters);
    if (!w) return false;
    s->value--;
    s->woken++;
    aio__sync_wake(w, AIO__WOKEN);
    return true;
}
AIO_FN void aio__unit_held_dispose(aio_waiter *w)
{
    (void)aio_semaphore_release((aio_semaphore *)w->node.u.p[2]);
}
AIO_FN aio_result aio__unit_held_resume(aio_waiter *w, bool must_cancel)
{
    if (!must_cancel) return w->future.result;
    aio__unit_held_dispose(w);
    return -ECANCELED;
}
AIO_TABLE(aio_wait_class, aio__unit_held,
    { "ready", AIO__WAIT_READY, 0, aio__unit_held_resume, 0, 0, 0, aio__unit_held_dispose })
AIO_FN bool aio__semaphore_cancel(aio_waiter *w)
{
    return aio__sync_leave(w, &((aio_semaphore *)aio__sync_object(w))->waiters);
}
AIO_FN aio_result aio__semaphore_woken(aio_waiter *w, bool must_cancel)
{
    aio_semaphore *s = (aio_semaphore *)aio__sync_object(w);
    bool cancelled = aio__sync_cancelled(w, must_cancel);
    if (!(aio__sync_state(w) & AIO__GONE)) {
        s->woken--;
        if (cancelled) s->value++;                      // SM-3
    }
    while (s->value && aio__semaphore_wake(s)) {}
    if (!cancelled) aio__op_holds(w, s, aio__unit_held());
    return cancelled ? -ECANCELED : 0;
}
AIO_FN void aio__semaphore_dispose(aio_waiter *w)
{
    if (aio__sync_state(w)) (void)aio__semaphore_woken(w, true);
    else aio__sync_forget(w, &((aio_semaphore *)aio__sync_object(w))->waiters);
}
AIO_TABLE(aio_wait_class, aio__semaphore_wait,
    { "semaphore", AIO__WAIT_OWN, aio__semaphore_cancel, aio__semaphore_woken, 0, 0, 0,
      aio__semaphore_dispose })
// SM-1
AIO_FN bool aio_semaphore_locked(const aio_semaphore *s)
{
    return !s->value || s->waiters || s->woken;
}
AIO_FN bool aio__semaphore_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_semaphore *s = (aio_semaphore *)a->u.p[0];
    if (!aio_semaphore_locked(s)) {
        s->value--;
        aio__op_holds(w, s, aio__unit_held());
        return aio__done_with(w, 0);
    }
    aio__sync_wait(w, &s->waiters, s, aio__semaphore_wait());
    return false;
}
AIO_TABLE(aio_await_class, aio__semaphore_await,
    { aio__semaphore_start, "semaphore", AIO__AWAIT_OWN })
AIO_FN aio_result aio_semaphore_init(aio_semaphore *s, uint32_t value, uint32_t limit)
{
    if (limit && value > limit) return -EINVAL;
    aio__zero(s, sizeof *s);
    s->value = value;
    s->limit = limit;
    return 0;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_semaphore_acquire(aio_semaphore *s)
{
    return aio__sync_await(aio__semaphore_await(), s);
}
AIO_FN aio_result aio_semaphore_release(aio_semaphore *s)
{
    if (s->value == UINT32_MAX || (s->limit && s->value >= s->limit)) return -ERANGE;      // SM-4
    s->value++;
    aio__semaphore_wake(s);
    return 0;
}

// --- barrier: asyncio's, on a lock and a condition of its own
enum { AIO__FILLING, AIO__DRAINING, AIO__RESETTING, AIO__BROKEN };
struct aio__barrier_wait { aio_frame aio; aio_barrier *b; aio_result r; };
AIO_FN void aio__barrier_exit(aio_barrier *b)
{
    if (--b->count == 0) {
        if (b->state == AIO__RESETTING || b->state == AIO__DRAINING) b->state = AIO__FILLING;
        aio__condition_wake(&b->changed, UINT32_MAX);
    }
    aio_lock_release(&b->lock);
}
aio__async(aio__barrier_wait) {
    aio_try(aio_lock_acquire(&self->b->lock));
    while (self->b->state == AIO__DRAINING || self->b->state == AIO__RESETTING) {           // BR-2
        aio_await(self->r, aio_condition_wait(&self->b->changed));
        if (self->r < 0) {
            aio_lock_release(&self->b->lock);
            return self->r;
        }
    }
    if (self->b->state == AIO__BROKEN) {
        aio_lock_release(&self->b->lock);
        return -ENOTRECOVERABLE;
    }
    self->r = self->b->count++;
    if (self->b->count == self->b->parties) {                                               // BR-1
        self->b->state = AIO__DRAINING;
        aio__condition_wake(&self->b->changed, UINT32_MAX);
        aio__barrier_exit(self->b);
        return self->r;
    }
    while (self->b->state == AIO__FILLING) {
        aio_result r;
        aio_await(r, aio_condition_wait(&self->b->changed));
        // BR-3, BR-5
        if (r < 0) {
            aio__barrier_exit(self->b);
            return r;
        }
    }
    if (self->b->state == AIO__BROKEN || self->b->state == AIO__RESETTING)
        self->r = -ENOTRECOVERABLE;
    aio__barrier_exit(self->b);
    return self->r;
} aio_end
AIO_FN bool aio__barrier_start(aio_waiter *w, const aio_awaitable *a)
{
    if (aio__needs_task(w)) return true;
    struct aio__barrier_wait *f = (struct aio__barrier_wait *)aio__call_block(
        AIO__TASK_OF(w), AIO__OWN_CO(aio__barrier_wait), sizeof *f);
    if (f) f->b = (aio_barrier *)a->u.p[0];
    aio_awaitable call = aio__call_new(AIO__OWN_CO(aio__barrier_wait), f);
    return aio__call_new_start(w, &call);
}
AIO_TABLE(aio_await_class, aio__barrier_await,
    { aio__barrier_start, "barrier", AIO__AWAIT_TASK_ONLY })
AIO_FN aio_result aio_barrier_init(aio_barrier *b, uint32_t parties)
{
    if (!parties) return -EINVAL;
    aio__zero(b, sizeof *b);
    b->parties = parties;
    aio_condition_init(&b->changed, &b->lock);
    return 0;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_barrier_wait(aio_barrier *b)
{
    return aio__sync_await(aio__barrier_await(), b);
}
AIO_FN void aio_barrier_reset(aio_barrier *b)
{
    b->state = b->count ? AIO__RESETTING : AIO__FILLING;
    aio__condition_wake(&b->changed, UINT32_MAX);       // BR-4
}
AIO_FN void aio_barrier_abort(aio_barrier *b)
{
    b->state = AIO__BROKEN;
    aio__condition_wake(&b->changed, UINT32_MAX);
}

// --- queue
AIO_FN unsigned char *aio__queue_at(const aio_queue *q, uint32_t i)
{
    return q->storage + (size_t)((q->head + i) % q->capacity) * q->item_bytes;
}
// A priority queue is sorted, the next to leave last. The storage has no room for order numbers, by
// which the equal items of a heap would be told apart; so it is an array of at most 64 rings, all
// full but the last one: an item that comes between others moves those behind it in its own ring,
// and one from each later ring to the next.
AIO_FN uint32_t aio__ring_size(const aio_queue *q, uint32_t ring)
{
    uint32_t left = q->capacity - ring * q->ring_items;
    return left < q->ring_items ? left : q->ring_items;
}
AIO_FN unsigned char *aio__ranked_at(const aio_queue *q, uint32_t i)
{
    uint32_t ring = i / q->ring_items, size = aio__ring_size(q, ring);
    uint32_t at = q->ring_head[ring] + i % q->ring_items;
    if (at >= size) at -= size;
    return q->storage + ((size_t)ring * q->ring_items + at) * q->item_bytes;
}
// Where an item goes: before its equals, which leave first (Q-4); one that comes back (`first`)
// behind them.
AIO_FN uint32_t aio__ranked_place(const aio_queue *q, const void *item, bool first)
{
    uint32_t low = 0, high = q->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int c = (q->compare)(aio__ranked_at(q, middle), item, q->context);
        if (c > 0 || (c == 0 && first)) low = middle + 1;
        else high = middle;
    }
    return low;
}
// Moves n items of a ring up by one place, from place i on; behind them one is free.
AIO_FN void aio__ring_shift(const aio_queue *q, uint32_t i, uint32_t n)
{
    uint32_t ring = i / q->ring_items, size = aio__ring_size(q, ring);
    unsigned char *base = q->storage + (size_t)ring * q->ring_items * q->item_bytes;
    uint32_t from = (uint32_t)((size_t)(aio__ranked_at(q, i) - base) / q->item_bytes);
    size_t item = q->item_bytes;
    if (from + n >= size && n) {                // round the end
        __builtin_memmove(base + item, base, (from + n - size) * item);
        __builtin_memcpy(base, base + (size - 1) * item, item);
        n = size - 1 - from;
    }
    __builtin_memmove(base + (from + 1) * item, base + from * item, n * item);
}
AIO_FN void aio__ranked_insert(aio_queue *q, const void *item, bool first)
{
    uint32_t place = aio__ranked_place(q, item, first), end = q->count;
    for (uint32_t ring = end / q->ring_items; ring > place / q->ring_items; ring--) {
        uint32_t *head = &q->ring_head[ring];
        end = ring * q->ring_items;
        const void *last = aio__ranked_at(q, end - 1);
        *head = (*head ? *head : aio__ring_size(q, ring)) - 1;
        __builtin_memcpy(aio__ranked_at(q, end--), last, q->item_bytes);
    }
    aio__ring_shift(q, place, end - place);
    __builtin_memcpy(aio__ranked_at(q, place), item, q->item_bytes);
    q->count++;
}
AIO_INLINE bool aio__queue_room(const aio_queue *q) { return q->count + q->held < q->capacity; }
AIO_FN void aio__queue_wake(aio_node **list)
{
    aio_waiter *w = aio__sync_first(list);
    if (w) aio__sync_wake(w, AIO__WOKEN);
}
AIO_FN void aio__queue_append(aio_queue *q, const void *item)
{
    __builtin_memcpy(aio__queue_at(q, q->count++), item, q->item_bytes);
}
AIO_FN aio_result aio_queue_put_nowait(aio_queue *q, const void *item)
{
    if (q->is_shutdown) return -ESHUTDOWN;
    if (!aio__queue_room(q)) return -EAGAIN;
    if (q->compare) aio__ranked_insert(q, item, false);
    else aio__queue_append(q, item);
    q->unfinished++;
    aio_event_clear(&q->finished);
    aio__queue_wake(&q->getters);               // Q-3
    return 0;
}
AIO_FN void aio__queue_remove(aio_queue *q, void *item)
{
    const void *from = q->compare                 ? aio__ranked_at(q, q->count - 1)
                       : q->flags & AIO_QUEUE_LIFO ? aio__queue_at(q, q->count - 1)
                                                   : aio__queue_at(q, 0);
    __builtin_memcpy(item, from, q->item_bytes);
    if (!q->compare && !(q->flags & AIO_QUEUE_LIFO)) q->head = (q->head + 1) % q->capacity;
    q->count--;
}
AIO_FN aio_result aio_queue_get_nowait(aio_queue *q, void *item)
{
    if (!q->count) return q->is_shutdown ? -ESHUTDOWN : -EAGAIN;
    aio__queue_remove(q, item);
    aio__queue_wake(&q->putters);
    return 0;
}
// An item that an op got has its place in the queue until somebody takes the op's result; else it
// goes back to where it was. u.p[0]: the item, u.p[2]: the queue.
AIO_FN void aio__item_held_dispose(aio_waiter *w)
{
    aio_queue *q = (aio_queue *)w->node.u.p[2];
    q->held--;
    if (q->is_dropped) {
        if (q->unfinished && !--q->unfinished) aio_event_set(&q->finished);
        return;
    }
    if (q->compare) {
        aio__ranked_insert(q, w->node.u.p[0], true);
    } else if (q->flags & AIO_QUEUE_LIFO) {
        aio__queue_append(q, w->node.u.p[0]);
    } else {
        q->head = (q->head ? q->head : q->capacity) - 1;
        q->count++;
        __builtin_memcpy(aio__queue_at(q, 0), w->node.u.p[0], q->item_bytes);
    }
    aio__queue_wake(&q->getters);
}
AIO_FN aio_result aio__item_held_resume(aio_waiter *w, bool must_cancel)
{
    aio_queue *q = (aio_queue *)w->node.u.p[2];
    if (must_cancel) {
        aio__item_held_dispose(w);
        return -ECANCELED;
    }
    q->held--;
    aio__queue_wake(&q->putters);
    return w->future.result;
}
AIO_TABLE(aio_wait_class, aio__item_held,
    { "ready", AIO__WAIT_READY, 0, aio__item_held_resume, 0, 0, 0, aio__item_held_dispose })
AIO_FN aio_result aio__queue_put_now(aio_queue *q, aio_waiter *w);
AIO_FN aio_result aio__queue_get_now(aio_queue *q, aio_waiter *w);
AIO_FN bool aio__putter_cancel(aio_waiter *w)
{
    return aio__sync_leave(w, &((aio_queue *)aio__sync_object(w))->putters);
}
AIO_FN bool aio__getter_cancel(aio_waiter *w)
{
    return aio__sync_leave(w, &((aio_queue *)aio__sync_object(w))->getters);
}
// Q-6: a wake that a cancelled waiter got goes on to the next, if it is still worth something.
AIO_FN aio_result aio__putter_woken(aio_waiter *w, bool must_cancel)
{
    aio_queue *q = (aio_queue *)aio__sync_object(w);
    if (!aio__sync_cancelled(w, must_cancel)) return aio__queue_put_now(q, w);
    if (aio__queue_room(q) && !(aio__sync_state(w) & AIO__GONE)) aio__queue_wake(&q->putters);
    return -ECANCELED;
}
AIO_FN aio_result aio__getter_woken(aio_waiter *w, bool must_cancel)
{
    aio_queue *q = (aio_queue *)aio__sync_object(w);
    if (!aio__sync_cancelled(w, must_cancel)) return aio__queue_get_now(q, w);
    if (q->count && !(aio__sync_state(w) & AIO__GONE)) aio__queue_wake(&q->getters);
    return -ECANCELED;
}
AIO_FN void aio__putter_dispose(aio_waiter *w)
{
    aio__sync_forget(w, &((aio_queue *)aio__sync_object(w))->putters);
}
AIO_FN void aio__getter_dispose(aio_waiter *w)
{
    aio__sync_forget(w, &((aio_queue *)aio__sync_object(w))->getters);
}
AIO_TABLE(aio_wait_class, aio__putter_wait,
    { "queue put", AIO__WAIT_OWN, aio__putter_cancel, aio__putter_woken, 0, 0, 0,
      aio__putter_dispose })
AIO_TABLE(aio_wait_class, aio__getter_wait,
    { "queue get", AIO__WAIT_OWN, aio__getter_cancel, aio__getter_woken, 0, 0, 0,
      aio__getter_dispose })
// While it waits, the waiter's result is the item's address. Q-2: a wake is a hint.
AIO_FN aio_result aio__queue_put_now(aio_queue *q, aio_waiter *w)
{
    const void *item = (const void *)(intptr_t)w->future.result;
    if (aio__queue_room(q) || q->is_shutdown) {
        // what is in it stands: an op's taker must not hear that it is not
        if (!(w->future.flags & AIO__IS_TASK)) aio_waiter_begin(w, aio__settled());
        return aio_queue_put_nowait(q, item);
    }
    aio__sync_wait(w, &q->putters, q, aio__putter_wait());
    return AIO_PENDING;
}
AIO_FN aio_result aio__queue_get_now(aio_queue *q, aio_waiter *w)
{
    void *item = (void *)(intptr_t)w->future.result;
    if (q->count && !(w->future.flags & AIO__IS_TASK)) {
        aio__queue_remove(q, item);
        q->held++;
        w->node.u.p[0] = item;
        aio__op_holds(w, q, aio__item_held());
        return 0;
    }
    if (q->count || q->is_shutdown) return aio_queue_get_nowait(q, item);
    aio__sync_wait(w, &q->getters, q, aio__getter_wait());
    return AIO_PENDING;
}
AIO_FN bool aio__put_start(aio_waiter *w, const aio_awaitable *a)
{
    w->future.result = (aio_result)(intptr_t)a->u.cp[1];
    aio_result r = aio__queue_put_now((aio_queue *)a->u.p[0], w);
    return r != AIO_PENDING && aio__done_with(w, r);
}
AIO_FN bool aio__get_start(aio_waiter *w, const aio_awaitable *a)
{
    w->future.result = (aio_result)(intptr_t)a->u.p[1];
    aio_result r = aio__queue_get_now((aio_queue *)a->u.p[0], w);
    return r != AIO_PENDING && aio__done_with(w, r);
}
AIO_TABLE(aio_await_class, aio__put_await, { aio__put_start, "queue put", AIO__AWAIT_OWN })
AIO_TABLE(aio_await_class, aio__get_await, { aio__get_start, "queue get", AIO__AWAIT_OWN })
AIO_FN aio_result aio_queue_init(aio_queue *q, void *storage, size_t item_bytes, uint32_t capacity,
                                 uint32_t flags, int (*compare)(const void *, const void *, void *),
                                 void *context)
{
    if (!storage || !capacity || capacity > INT32_MAX || !item_bytes) return -EINVAL;
    aio__zero(q, sizeof *q);
    q->storage = (unsigned char *)storage;
    q->item_bytes = item_bytes;
    q->capacity = capacity;
    q->flags = flags;
    q->compare = compare;
    q->context = context;
    q->ring_items = (capacity - 1) / AIO__QUEUE_RINGS + 1;
    if (q->ring_items < AIO__QUEUE_RINGS) q->ring_items = AIO__QUEUE_RINGS;
    aio_event_set(&q->finished);
    return 0;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_queue_put(aio_queue *q, const void *item)
{
    aio_awaitable a = aio__sync_await(aio__put_await(), q);
    a.u.cp[1] = item;
    return a;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_queue_get(aio_queue *q, void *item)
{
    aio_awaitable a = aio__sync_await(aio__get_await(), q);
    a.u.p[1] = item;
    return a;
}
AIO_FN aio_result aio_queue_task_done(aio_queue *q)
{
    if (!q->unfinished) return -ERANGE;             // Q-5
    if (!--q->unfinished) aio_event_set(&q->finished);
    return 0;
}
AIO_FN AIO_NODISCARD aio_awaitable aio_queue_join(aio_queue *q)
{
    return aio_event_wait(&q->finished);
}
AIO_FN void aio_queue_shutdown(aio_queue *q, bool immediate)
{
    q->is_shutdown = true;
    q->is_dropped |= immediate;
    if (immediate) {                                // Q-8
        q->unfinished -= q->count < q->unfinished ? q->count : q->unfinished;
        q->count = 0;
        if (!q->unfinished) aio_event_set(&q->finished);
    }
    while (q->getters) aio__queue_wake(&q->getters);
    while (q->putters) aio__queue_wake(&q->putters);
}
AIO_FN uint32_t aio_queue_count(const aio_queue *q) { return q->count; }

// --- generators
// For as long as one is open it has a block that says in which state it is. The block's `link` is
// its frame's parent, and the parent of that, while it runs, is the frame that iterates.
enum { AIO__GEN_IDLE, AIO__GEN_RUNS, AIO__GEN_AT_YIELD, AIO__GEN_OVER };
struct aio__generator {
    aio_frame link;
    aio_scope scope;        // of its owner, the frame that opened it: whose return closes it
    aio_frame *frame;
    aio_task *runner;       // in which it runs; at a yield: on whose list its open scopes stand
    aio_waiter *closer;     // its owner has returned, and waits until it does not run
    uint32_t state;
    bool closing;           // it was resumed with -ESHUTDOWN
};
AIO_FN struct aio__generator *aio__gen_of(const aio_frame *f)       // null: it is not open
{
    return aio__is_generator(f) ? (struct aio__generator *)(void *)f->parent : 0;
}
AIO_FN void aio__gen_over(aio_frame *f) { f->site = &f->site->body->coroutine->over; }
// The open scopes of a generator's frame go where it runs.
AIO_SLOW void aio__scopes_move(aio_frame *f, aio_task *from, aio_task *to)
{
    aio_scope *moving = 0, *s, *outer;
    for (s = from->scopes; s; s = outer) {
        outer = s->outer;
        if (s->frame != f) continue;
        aio_scope_leave(s, from);
        s->outer = moving;
        moving = s;
    }
    while ((s = moving) != 0) {
        moving = s->outer;
        aio__scope_push(s, to, f);
        if (s->cls->kind == AIO__SCOPE_OP) AIO__CONTAINER(s, aio_op, scope)->owner = to;
        if (s->cls->kind == AIO__SCOPE_GROUP) AIO__CONTAINER(s, aio_group, scope)->parent = to;
    }
}
AIO_FN void aio__gen_runs_in(struct aio__generator *g, aio_task *t)
{
    if (AIO__UNLIKELY(g->runner && g->runner != t)) aio__scopes_move(g->frame, g->runner, t);
    g->runner = t;
    t->waiter.future.flags |= AIO__GENERATES;
}
// A task ends. What generators of others opened in it and still have open goes to these.
AIO_FN void aio__scopes_to_owners(aio_task *t)
{
    aio_scope *s = t->scopes;
    while (s) {
        struct aio__generator *g = s->frame ? aio__gen_of(s->frame) : 0;
        s = s->outer;
        if (!g || g->scope.task == t) continue;
        aio__gen_runs_in(g, g->scope.task);
        s = t->scopes;
    }
}
// It stands at a yield, or has returned r. What its aio_next gives.
AIO_FN aio_result aio__gen_left(struct aio__generator *g, aio_task *t, aio_result r)
{
    aio_frame *f = g->frame;
    bool yields = f->site->kind == AIO__SITE_YIELD;
    AIO__HOLDS(g->state == AIO__GEN_RUNS && g->runner == t);
    f->parent = &g->link;
    g->link.parent = 0;
    g->state = yields ? AIO__GEN_AT_YIELD : AIO__GEN_OVER;
    if (!aio__scope_of(t, f)) g->runner = 0;
    if (!yields) {
        aio__gen_over(f);
        if (r > 0) r = 0;
    }
    if (AIO__LIKELY(!g->closer)) return r;
    aio__complete_as(g->closer, 0, aio__settled());
    if (t->cancelling) return r == 1 ? 0 : r;
    t->waiter.future.flags &= ~(uint32_t)AIO__MUST_CANCEL;      // which was meant for it
    return r == 1 || r == -ECANCELED ? 0 : r;
}
static inline aio_result aio__iteration_step(aio_frame *link, aio_task *t)
{
    struct aio__generator *g = (struct aio__generator *)(void *)link;
    t->leaf = link->parent;
    t->waiter.future.result = aio__gen_left(g, t, t->waiter.future.result);
    t->waiter.future.flags |= AIO__AGAIN;
    return AIO_PENDING;
}
AIO_FN const aio_site *aio__iteration_site(void)
{
    static const aio_coroutine co = {
        { aio__iteration_step, &co }, { aio__iteration_step, &co },
        { 0, &co.body, "next", 0, AIO__SITE_ITERATION },
        { 0, &co.body, "next", 0, AIO__SITE_ITERATION },
        { 0, &co.body, "next", 0, AIO__SITE_ITERATION },
        &aio__no_drop, &aio__no_scratch, "next", "aio.h", 0 };
    return &co.start;
}
// It goes on, with r at the yield where it stands, in `t`.
AIO_FN void aio__gen_enter(struct aio__generator *g, aio_task *t, aio_result r)
{
    AIO__HOLDS(g->state == AIO__GEN_IDLE || g->state == AIO__GEN_AT_YIELD);
    AIO__HOLDS(g->frame->parent == &g->link && !g->link.parent);
    if (g->state == AIO__GEN_IDLE) aio__gen_over(g->frame);     // what it is if it does not yield
    aio__gen_runs_in(g, t);
    g->state = AIO__GEN_RUNS;
    g->link.parent = t->leaf;
    t->leaf = g->frame;
    t->waiter.future.result = r;
}
// As the start of an await.
AIO_FN bool aio__gen_resume(aio_waiter *w, struct aio__generator *g, aio_result r)
{
    aio_task *t = AIO__TASK_OF(w);
    aio__gen_enter(g, t, r);
    if (AIO__UNLIKELY(aio__stack_low(w->future.loop))) {
        w->future.flags |= AIO__AGAIN;
        return false;
    }
    r = (g->frame->site->body->step)(g->frame, t);
    if (r == AIO_PENDING) return false;
    if (AIO__UNLIKELY(t->scopes) && (r = aio__leave(t, g->frame, r)) == AIO_PENDING) return false;
    t->leaf = g->link.parent;
    w->future.result = aio__gen_left(g, t, r);
    return true;
}
AIO_FN void aio__gen_push(struct aio__generator *g, aio_task *t, aio_result r)
{
    aio__gen_enter(g, t, r);
    t->waiter.future.flags |= AIO__AGAIN;       // the trampoline goes on with it
}
AIO_FN void aio__gen_free(struct aio__generator *g)
{
    aio_task *owner = g->scope.task;
    AIO__HOLDS(g->state != AIO__GEN_RUNS && !g->closer);
    aio__gen_over(g->frame);
    g->frame->parent = 0;
    aio_scope_leave(&g->scope, owner);
    aio__free(owner->waiter.future.loop, g, aio__class_of(sizeof *g));
}
AIO_TABLE(aio_wait_class, aio__gen_wait,
    { "generator that another task runs", AIO__WAIT_OWN, 0, 0, 0, 0, 0, 0 })
// Its owner has returned while it runs elsewhere: what it waits for there is cancelled.
AIO_FN aio_result aio__gen_interrupt(struct aio__generator *g, aio_task *t)
{
    g->closer = &t->waiter;
    aio_waiter_begin(&t->waiter, aio__gen_wait());
    if (aio__awaited_task(g->runner) == t) aio__wait_cut(&g->runner->waiter);
    else aio__cancel_wait(g->runner);
    return AIO_PENDING;
}
AIO_FN aio_result aio__generator_exit(aio_scope *s, aio_task *t, aio_result r)
{
    struct aio__generator *g = AIO__CONTAINER(s, struct aio__generator, scope);
    aio_frame *f = g->frame;
    aio_result end = g->closing ? t->waiter.future.result : 0;
    g->closer = 0;
    if (g->state == AIO__GEN_RUNS) return aio__gen_interrupt(g, t);
    if (g->state == AIO__GEN_AT_YIELD && !g->closing) {
        g->closing = true;
        aio__gen_push(g, t, -ESHUTDOWN);
        return AIO_PENDING;
    }
    // It used up a cancel that was meant for the task: that is owed again.
    if (end == -ECANCELED && t->cancelling) t->waiter.future.flags |= AIO__MUST_CANCEL;
    if (g->state != AIO__GEN_OVER) aio__frame_drop(f, -ECANCELED);
    else if (end < 0 && end != -ECANCELED && end != -ESHUTDOWN)             // AG-3
        aio__report(t->waiter.future.loop, "a generator failed while it was closed", end, 0,
                    f->site);
    aio__gen_runs_in(g, t);
    aio_scope *open = aio__scope_of(t, f);
    if (g->state == AIO__GEN_AT_YIELD && open) {        // it yields again: its scopes still end
        open->result = -ESHUTDOWN;
        aio__gen_push(g, t, -ESHUTDOWN);
        f->site = &f->site->body->coroutine->leaving;
        return AIO_PENDING;
    }
    aio__gen_free(g);
    return r;
}
AIO_TABLE(aio_scope_class, aio__generator_scope,
    { "generator", aio__generator_exit, AIO__SCOPE_GENERATOR })
AIO_FN struct aio__generator *aio__gen_find(const aio_task *t, const aio_frame *f)
{
    for (aio_scope *s = t->scopes; s; s = s->outer) {
        if (s->cls->kind != AIO__SCOPE_GENERATOR) continue;
        struct aio__generator *g = AIO__CONTAINER(s, struct aio__generator, scope);
        if (g->frame == f) return g;
    }
    return 0;
}
// May this storage be filled? One that is over is forgotten.
AIO_SLOW aio_result aio__gen_room(aio_task *t, const aio_frame *f)
{
    struct aio__generator *g = aio__gen_find(t, f);
    if (!g) return 0;
    if (g->state != AIO__GEN_OVER || g->closer) return -EBUSY;
    aio__gen_free(g);
    return 0;
}
AIO_SLOW aio_result aio__gen_open(aio_task *t, aio_frame *f)
{
    uint32_t c = aio__class_of(sizeof(struct aio__generator));
    struct aio__generator *g =
        (struct aio__generator *)aio__alloc(t->waiter.future.loop, c, sizeof *g);
    if (!g) {
        aio__frame_drop(f, -ENOMEM);
        aio__gen_over(f);
        return -ENOMEM;
    }
    t->waiter.future.flags |= AIO__GENERATES;
    aio__zero(g, sizeof *g);
    g->link.site = aio__iteration_site();
    g->frame = f;
    f->parent = &g->link;
    aio_scope_enter(&g->scope, t, aio__generator_scope());
    return 0;
}
#ifdef AIO_STRICT
AIO_FN aio_result aio__gen_open_from(aio_task *t, aio_frame *f, aio_frame *arguments,
                                     const aio_coroutine *co)
{
    aio_result r = aio__gen_room(t, f);
    if (r < 0) {
        aio__frame_drop(arguments, r);
        return r;
    }
    __builtin_memcpy(f, arguments, co->scratch->from ? co->scratch->from : co->size);
    return aio__gen_open(t, f);
}
#endif
// An iterator without a body: its first member is a frame that stands at a site like this.
struct aio__native {
    aio_site site;
    bool (*next)(aio_waiter *w, aio_frame *f);          // as an await's start
    bool (*close)(aio_waiter *w, aio_frame *f);
};
AIO_FN const struct aio__native *aio__native_of(const aio_frame *f)
{
    if (!f->site || f->site->kind != AIO__SITE_NATIVE) return 0;
    return (const struct aio__native *)(const void *)f->site;
}
AIO_SLOW bool aio__next_other(aio_waiter *w, aio_frame *f)
{
    const struct aio__native *n = aio__native_of(f);
    return n ? (n->next)(w, f) : aio__done_with(w, 0);
}
AIO_FN bool aio__next_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_frame *f = (aio_frame *)a->u.p[0];
    if (aio__needs_task(w)) return true;
    if (w->future.loop->refusal == -EPERM) return aio__done_with(w, -EPERM);
    if (!f->site) return aio__done_with(w, -EINVAL);            // no aio_gen_init
    struct aio__generator *g = aio__gen_of(f);
    if (!g) return f->parent ? aio__done_with(w, -EBUSY) : aio__next_other(w, f);
    if (g->state == AIO__GEN_RUNS) return aio__done_with(w, -EBUSY);        // AG-1
    if (g->state == AIO__GEN_OVER || g->closer) return aio__done_with(w, 0);
    return aio__gen_resume(w, g, 0);
}
AIO_TABLE(aio_await_class, aio__next_await, { aio__next_start, "next", AIO__AWAIT_TASK_ONLY })
AIO_FN AIO_NODISCARD aio_awaitable aio__next(aio_frame *f)
{
    return aio__sync_await(aio__next_await(), f);
}

struct aio__gen_close { aio_frame aio; struct aio__generator *g; aio_result r; };
AIO_FN bool aio__shut_start(aio_waiter *w, const aio_awaitable *a)
{
    return aio__gen_resume(w, (struct aio__generator *)a->u.p[0], -ESHUTDOWN);
}
AIO_TABLE(aio_await_class, aio__shut_await, { aio__shut_start, "close", AIO__AWAIT_TASK_ONLY })
aio__async(aio__gen_close) {                                     // AG-2
    if (!self->g) return 0;
    if (self->g->state == AIO__GEN_RUNS || self->g->closer) return -EBUSY;
    if (self->g->state == AIO__GEN_IDLE) aio__frame_drop(self->g->frame, -ECANCELED);
    if (self->g->state == AIO__GEN_AT_YIELD) {
        aio_await(self->r, aio__sync_await(aio__shut_await(), self->g));
        if (self->g->state == AIO__GEN_AT_YIELD) return -EINVAL;    // although it was closed
    }
    if (!self->g->closer) aio__gen_free(self->g);
    return self->r < 0 ? self->r : 0;
} aio_end
AIO_FN bool aio__gen_close_start(aio_waiter *w, const aio_awaitable *a)
{
    if (aio__needs_task(w)) return true;
    if (w->future.loop->refusal == -EPERM) return aio__done_with(w, -EPERM);
    const struct aio__native *n = aio__native_of((const aio_frame *)a->u.cp[0]);
    if (n) return (n->close)(w, (aio_frame *)a->u.p[0]);
    struct aio__gen_close *f = (struct aio__gen_close *)aio__call_block(
        AIO__TASK_OF(w), AIO__OWN_CO(aio__gen_close), sizeof *f);
    if (f) f->g = aio__gen_of((aio_frame *)a->u.p[0]);
    aio_awaitable call = aio__call_new(AIO__OWN_CO(aio__gen_close), f);
    return aio__call_new_start(w, &call);
}
AIO_TABLE(aio_await_class, aio__gen_close_await,
    { aio__gen_close_start, "close", AIO__AWAIT_TASK_ONLY })
AIO_FN AIO_NODISCARD aio_awaitable aio__gen_end(aio_frame *f)
{
    return aio__sync_await(aio__gen_close_await(), f);
}

// --- ops
// An awaitable that will never be awaited gives up what it holds.
AIO_SLOW void aio__awaitable_drop(aio_task *t, const aio_awaitable *a)
{
    aio_frame *f = (aio_frame *)a->u.p[0];
    switch (a->cls->kind) {
    case AIO__AWAIT_JOIN: aio__task_release((aio_task *)a->u.p[0]); break;
    case AIO__AWAIT_CALL: aio__frame_drop(f, -ECANCELED); break;
    case AIO__AWAIT_CALL_NEW:
        if (!f) break;
        aio__frame_drop(f, -ECANCELED);
        aio__guard_free(t->waiter.future.loop, (struct aio__guard *)(void *)f - 1);
        break;
    case AIO__AWAIT_JOB: {
        void (*free_arg)(void *);
        __builtin_memcpy(&free_arg, &a->u.p[3], sizeof free_arg);
        if (free_arg) free_arg(a->u.p[2]);
        break;
    }
    case AIO__AWAIT_WAIT_FOR: {
        aio_awaitable inner = *a;
        inner.cls = (const aio_await_class *)(uintptr_t)a->u.w[7];
        aio__awaitable_drop(t, &inner);
        break;
    }
    case AIO__AWAIT_GATHER: aio__gather_refuse(a); break;
    default: break;
    }
}
// Who owns what an op's wait ends with. `owner` and DONE are its state; node.cls answers for it:
//   idle     owner is null: nothing, whatever stood there before.
//   waits    the primitive does. node.cls is the wait's: its cancel, its dispose.
//   ended    the op does. node.cls is a "ready" one: dispose gives back, resume hands out.
// From ended to idle there are three ways, and each passes node.cls, node.u and the result on once:
//   taken    aio_op_result, or aio_op_wait of one that has ended: the body owns it from here.
//   moved    aio_op_wait that began before the end: its waiter owns it, and when the task's step
//            comes resume(w, must_cancel) hands out, or gives back what a cancel replaces.
//   dropped  its frame returned, or was destroyed: given back.
// An op that waits in aio_op_wait is itself an op: what is moved to it stands there as ended.
AIO_FN aio_result aio__waiter_take(aio_waiter *w)
{
    const aio_wait_class *cls = w->node.cls;
    w->node.cls = &aio__ready;
    return cls->kind == AIO__WAIT_READY && cls->resume ? (cls->resume)(w, false) : w->future.result;
}
AIO_FN void aio__waiter_drop(aio_waiter *w)
{
    const aio_wait_class *cls = w->node.cls;
    w->node.cls = &aio__ready;
    if (cls->dispose) (cls->dispose)(w);
}
AIO_FN void aio__op_idle(aio_op *op)
{
    // A frame that waits for its ops' ends closes their scopes itself.
    if (op->scope.frame->site->kind != AIO__SITE_LEAVING) aio_scope_leave(&op->scope, op->owner);
    op->owner = 0;
}
AIO_FN aio_result aio__op_take(aio_op *op)
{
    aio__op_idle(op);
    return aio__waiter_take(&op->waiter);
}
AIO_FN void aio__op_drop(aio_op *op)
{
    if (!op->owner) return;
    aio__op_idle(op);
    aio__waiter_drop(&op->waiter);
}
// What w gets is what the op had. A second one that waited for it finds nothing.
AIO_FN void aio__op_move(aio_op *op, aio_waiter *w, const aio_wait_class *cls)
{
    aio_result r = op->waiter.future.result;
    if (!op->owner) {
        if (cls->dispose) r = -EINVAL, cls = &aio__ready;
    } else {
        w->node.u = op->waiter.node.u;
        aio__op_idle(op);
    }
    w->future.result = r;
    if (cls->dispose && cls->resume && (w->future.flags & AIO__IS_TASK)) aio_wake(w, cls);
    else aio__complete_as(w, r, cls);
}
// An op's end for one who waits beside it, whatever that one is asked meanwhile.
AIO_FN void aio__op_ended_notify(aio_node *n, aio_future *f)
{
    (void)f;
    aio_complete(AIO__CONTAINER(n, aio_waiter, node), 0);
}
AIO_TABLE(aio_wait_class, aio__op_ended_wait,
    { "end of an operation", AIO__WAIT_OWN, 0, 0, aio__op_ended_notify, 0, 0, aio__watch_dispose })
// The same for a frame that has returned: nothing there could take a cancel, so it is owed.
AIO_FN void aio__op_left_notify(aio_node *n, aio_future *f)
{
    (void)f;
    aio__complete_as(AIO__CONTAINER(n, aio_waiter, node), 0, aio__settled());
}
AIO_TABLE(aio_wait_class, aio__op_left_wait,
    { "end of an operation", AIO__WAIT_OWN, 0, 0, aio__op_left_notify, 0, 0, aio__watch_dispose })
// Does what w waits for end with t?
AIO_FN bool aio__ends_with(aio_waiter *w, const aio_task *t)
{
    const aio_task *inner = aio__awaited_task(AIO__TASK_OF(w));
    for (uint32_t n = t->waiter.future.loop->live; n && inner && inner != t; n--)
        inner = aio__awaited_task(inner);
    return inner == t;
}
AIO_FN aio_result aio__op_scope_exit(aio_scope *s, aio_task *t, aio_result r)
{
    aio_op *op = AIO__CONTAINER(s, aio_op, scope);
    if (!(op->waiter.future.flags & AIO__DONE)) aio__wait_cancel(&op->waiter);
    if (!(op->waiter.future.flags & AIO__DONE) && aio__ends_with(&op->waiter, t))      // T-11
        aio__wait_cut(&op->waiter);
    if (!(op->waiter.future.flags & AIO__DONE)) {
        aio__list_add(&op->waiter.future, &t->waiter.node);
        aio_waiter_begin(&t->waiter, aio__op_left_wait());
        return AIO_PENDING;
    }
    aio__op_drop(op);
    return r;
}
AIO_TABLE(aio_scope_class, aio__op_scope, { "op", aio__op_scope_exit, AIO__SCOPE_OP })
AIO_FN aio_result aio_start(aio_op *op, aio_awaitable a)
{
    aio_task *t = aio_current_task();
    if (op->owner || !t || a.cls->kind >= AIO__AWAIT_TASK_ONLY) {
        aio__awaitable_drop(t, &a);
        return op->owner ? -EBUSY : -EINVAL;
    }
    aio__zero(&op->waiter, sizeof op->waiter);
    op->waiter.future.loop = t->waiter.future.loop;
    op->waiter.future.flags = AIO__IS_OP;
    op->waiter.node.cls = &aio__ready;
    op->owner = t;
    aio_scope_enter(&op->scope, t, aio__op_scope());
    if ((a.cls->start)(&op->waiter, &a))
        aio__op_finish(&op->waiter, op->waiter.future.result);
    return 0;
}
AIO_FN bool aio_op_done(const aio_op *op)
{
    return op->owner && (op->waiter.future.flags & AIO__DONE);
}
AIO_FN bool aio_op_cancel(aio_op *op) { return op->owner && aio_future_cancel(&op->waiter.future); }
AIO_FN aio_result aio_op_result(aio_op *op)
{
    if (!op->owner) return -EINVAL;
    if (!(op->waiter.future.flags & AIO__DONE)) return -EINPROGRESS;
    return aio__op_take(op);
}
// What an operation did stands, also seen through an op; then the cancel that came too late is
// owed.
AIO_FN void aio__op_wait_notify(aio_node *n, aio_future *f)
{
    aio_op *op = (aio_op *)(void *)f;
    aio_waiter *w = AIO__CONTAINER(n, aio_waiter, node);
    const aio_wait_class *cls = op->waiter.node.cls;
    uint32_t asked = w->future.flags & AIO__CANCEL_ASKED;
    w->future.flags &= ~(uint32_t)AIO__CANCEL_ASKED;
    if (asked) w->future.flags |= f->flags & AIO__MUST_CANCEL;
    if (cls->kind != AIO__WAIT_READY && !cls->dispose) cls = &aio__ready;
    if (asked && !cls->resume && !cls->dispose) cls = aio__settled();
    aio__op_move(op, w, cls);
}
// The wait is for what the op waits for in the end: aio__wait_cancel asks that.
AIO_TABLE(aio_wait_class, aio__op_wait,
    { "operation", AIO__WAIT_OP, 0, 0, aio__op_wait_notify, 0, 0, aio__watch_dispose })
AIO_FN bool aio__op_wait_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_op *op = (aio_op *)a->u.p[0];
    if (!op->owner) return aio__done_with(w, -EINVAL);
    if (&op->waiter == w) return aio__done_with(w, -EDEADLK);           // as T-10
    if (op->waiter.future.flags & AIO__DONE) {
        if (w->future.flags & AIO__IS_TASK) return aio__done_with(w, aio__op_take(op));
        aio_waiter_begin(w, op->waiter.node.cls);
        w->node.u = op->waiter.node.u;
        aio__op_idle(op);
        return aio__done_with(w, op->waiter.future.result);
    }
    aio__list_add(&op->waiter.future, &w->node);
    aio_waiter_begin(w, aio__op_wait());
    return false;
}
AIO_TABLE(aio_await_class, aio__op_await, { aio__op_wait_start, "operation", AIO__AWAIT_OWN })
AIO_FN AIO_NODISCARD aio_awaitable aio_op_wait(aio_op *op)
{
    return aio__sync_await(aio__op_await(), op);
}

// --- race: waits for the first, ends the others
struct aio__racing {
    aio_frame aio;
    struct aio__ops ops;
    size_t n, i;
    aio_result r, first;
};
AIO_FN AIO_NODISCARD aio_awaitable aio__wait_ops(struct aio__ops ops, size_t n)
{
    aio_awaitable a = aio__wait(aio__of_futures(0), n, AIO__RACE);
    a.u.w[5] = (uintptr_t)ops.ops;
    a.u.w[6] = (uintptr_t)ops.pointers;
    return a;
}
// An op's end, not cancellable: -ECANCELED tells that a cancel came meanwhile.
AIO_FN bool aio__op_end_start(aio_waiter *w, const aio_awaitable *a)
{
    aio_op *op = (aio_op *)a->u.p[0];
    if (op->waiter.future.flags & AIO__DONE) return aio__done_with(w, 0);
    aio__list_add(&op->waiter.future, &w->node);
    aio_waiter_begin(w, aio__op_ended_wait());
    return false;
}
AIO_TABLE(aio_await_class, aio__op_end_await,
    { aio__op_end_start, "end of an operation", AIO__AWAIT_OWN })
// The first that has ended already; n: none; -EINVAL: one is not started.
AIO_FN aio_result aio__race_begin(const struct aio__racing *f)
{
    aio_result first = (aio_result)f->n;
    for (size_t i = f->n; i--;) {
        const aio_op *op = aio__ops_at(f->ops, i);
        if (!op->owner) return -EINVAL;
        if (op->waiter.future.flags & AIO__DONE) first = (aio_result)i;
    }
    return f->n ? first : -EINVAL;
}
aio__async(aio__racing) {
    self->first = aio__race_begin(self);
    if (self->first == -EINVAL) return -EINVAL;
    if (self->first == (aio_result)self->n)
        aio_await(self->first, aio__wait_ops(self->ops, self->n));
    for (self->i = 0; self->i < self->n; self->i++)
        if ((aio_result)self->i != self->first) aio_op_cancel(aio__ops_at(self->ops, self->i));
    for (self->i = 0; self->i < self->n; self->i++) {
        aio_await(self->r, aio__sync_await(aio__op_end_await(), aio__ops_at(self->ops, self->i)));
        if (self->r < 0) self->first = self->r;
    }
    return self->first;
} aio_end
AIO_FN bool aio__race_start(aio_waiter *w, const aio_awaitable *a)
{
    struct aio__racing *f =
        (struct aio__racing *)aio__call_block(AIO__TASK_OF(w), AIO__OWN_CO(aio__racing), sizeof *f);
    if (f) {
        f->ops.ops = (aio_op *)a->u.p[0];
        f->ops.pointers = (aio_op **)a->u.p[1];
        f->n = (size_t)a->u.w[2];
    }
    aio_awaitable call = aio__call_new(AIO__OWN_CO(aio__racing), f);
    return aio__call_new_start(w, &call);
}
AIO_TABLE(aio_await_class, aio__race_await, { aio__race_start, "race", AIO__AWAIT_TASK_ONLY })
AIO_FN AIO_NODISCARD aio_awaitable aio__race(struct aio__ops ops, size_t n)
{
    aio_awaitable a = aio__sync_await(aio__race_await(), ops.ops);
    a.u.p[1] = ops.pointers;
    a.u.w[2] = n;
    return a;
}

// --- executor
AIO_FN aio_result aio_executor_init(aio_executor *x, const struct aio_executor_options *options)
{
    aio__zero(x, sizeof *x);
    x->options = *options;
    x->slab_bytes = AIO_SLAB_BYTES_MIN;
    return aio__reserve_slow(x);
}
AIO_INLINE uint32_t aio__run_entry(aio_executor *x, uintptr_t e)
{
    if (AIO__LIKELY((e & 7) == AIO__RUN_TASK)) {
        aio__task_step(x, (aio_task *)e);
        return 1;
    }
    x->current = 0;                         // T-7
    if ((e & 7) == AIO__RUN_NODE) {
        aio_node *n = (aio_node *)(e - AIO__RUN_NODE);
        aio__unreserve(x);
        (n->cls->run)(n);
        return 1;
    }
    aio__unreserve(x);                      // a tombstone
    return 0;
}
// More tasks than the nearest cache holds come from further away: they are fetched before their
// turn, a few at a time. Returns up to which entry to run before the next call.
enum { AIO__MANY = 1024, AIO__AHEAD = 8 };
AIO_SLOW uint32_t aio__fetch_ahead(const aio_executor *x, uint32_t head)
{
    for (uint32_t i = head + AIO__AHEAD; i != head + 2 * AIO__AHEAD; i++) {
        const char *task = (const char *)x->ring[i & x->mask];
        __builtin_prefetch(task);
        __builtin_prefetch(task + 64);      // sizeof(aio_task) and the frame's first fields
        __builtin_prefetch(task + 128);
    }
    return head + AIO__AHEAD;
}
AIO_SLOW uint32_t aio__run_observed(aio_executor *x, uint32_t end)
{
    const struct aio__observer *o = x->observer;
    uint32_t ran = 0;
    (o->turn)(x, end);
    while ((int32_t)(end - x->head) > 0) {
        uintptr_t entry = x->ring[x->head++ & x->mask];
        (o->before)(x, entry);
        ran += aio__run_entry(x, entry);
        (o->after)(x, entry);
    }
    return ran;
}
AIO_HOT uint32_t aio_executor_turn(aio_executor *x)
{
    aio_executor *outer = aio__running_executor;
    aio_task *current = x->current;
    char *floor = x->stack_floor;
    uint32_t head = x->head, end = x->tail, ran = 0;
    aio__running_executor = x;
    x->stack_floor = (char *)__builtin_frame_address(0) - AIO_CALL_STACK;
    x->running++;
    if (AIO__UNLIKELY(x->observer != 0)) {
        ran = aio__run_observed(x, end);
        head = x->head;
    }
    while ((int32_t)(end - head) > 0) {
        uint32_t stop = AIO__UNLIKELY(end - head > AIO__MANY) ? aio__fetch_ahead(x, head) : end;
        while ((int32_t)(stop - head) > 0) {
            uintptr_t entry = x->ring[head & x->mask];
            x->head = ++head;           // a store only: a load here would wait for it every time
            ran += aio__run_entry(x, entry);
            if (AIO__UNLIKELY(x->head != head)) {       // a nested run took some
                __asm__("" : "+r"(head));   // else gcc loads it without asking
                head = x->head;
            }
        }
    }
    x->running--;
    x->stack_floor = floor;
    x->current = current;
    aio__running_executor = outer;
    x->turns += ran != 0;
    return ran;
}
// --- the end of an executor, in two phases (contract 11). First all is detached: every wait, op,
// scope, watcher and callback of every task leaves the lists on which it stands, in a world that is
// still whole, and nothing of the user's runs. Then each task is destroyed, which is not its end:
// nobody is told; to later hooks it has ended with -ECANCELED. No hook finds anybody who waits: it
// may cancel, complete, give up handles, and free what others waited for. Memory goes back after
// the last one.
AIO_FN void aio__scope_detach(aio_scope *s, aio_task *t)
{
    aio_op *op;
    switch (s->cls->kind) {
    case AIO__SCOPE_OP:
        op = AIO__CONTAINER(s, aio_op, scope);
        if (op->owner) aio__waiter_drop(&op->waiter);
        op->owner = 0;                      // drop hooks find it idle
        break;
    case AIO__SCOPE_GROUP: aio__group_detach(AIO__CONTAINER(s, aio_group, scope)); break;
    case AIO__SCOPE_PLAIN: (void)(s->cls->exit)(s, t, -ECANCELED); break;
    default: break;
    }
}
// Only generators stay, for their frames are still to be dropped, and what holds the value of a
// frame that has returned.
AIO_FN void aio__task_detach(aio_task *t)
{
    aio__waiter_drop(&t->waiter);
    const aio_frame *left = 0;
    for (aio_scope *s = t->scopes, *outer; s; s = outer) {
        outer = s->outer;
        if (s->cls->kind == AIO__SCOPE_GENERATOR) continue;
        bool holds = s->frame->site->kind == AIO__SITE_LEAVING && s->frame != left;
        left = s->frame;
        aio__scope_detach(s, t);
        if (!holds) aio_scope_leave(s, t);
    }
}
AIO_FN void aio__task_destroyed(aio_task *t)
{
    t->waiter.future.result = -ECANCELED;
    t->waiter.future.flags |= AIO__DONE | AIO__CANCELLED;
    if (!(t->waiter.future.flags & AIO__IN_SLOT)) return;
    t->waiter.future.flags |= AIO__REFUSED;
    t->waiter.future.refs = 0;
    t->extra = 0;
}
AIO_FN void aio__ring_detach(aio_executor *x)
{
    for (; x->head != x->tail; x->head++) {
        uintptr_t entry = x->ring[x->head & x->mask];
        aio_node *n = (aio_node *)(entry - AIO__RUN_NODE);
        if ((entry & 7) != AIO__RUN_NODE || n->cls->kind != AIO__WAIT_DONE_CALLBACK) continue;
        if (n->u.p[0]) aio__task_release((aio_task *)n->u.p[0]);
    }
}
// Frames whose bodies will not go on are dropped: generators at a yield, then leaf to root.
AIO_FN void aio__task_drop(aio_executor *x, aio_task *t)
{
    aio_scope *scopes = t->scopes;
    aio_frame *f = t->leaf;
    t->scopes = 0;
    AIO__HOLDS(t->waiter.node.cls->kind == AIO__WAIT_READY && !t->waiter.future.watchers);
    aio__task_unlink(x, t);
    aio__task_destroyed(t);
    for (aio_scope *s = scopes; s; s = s->outer) {
        if (s->cls->kind != AIO__SCOPE_GENERATOR) continue;
        struct aio__generator *g = AIO__CONTAINER(s, struct aio__generator, scope);
        if (g->state == AIO__GEN_IDLE || g->state == AIO__GEN_AT_YIELD)
            aio__frame_drop(g->frame, -ECANCELED);
    }
    for (aio_frame *parent; f; f = parent) {
        parent = f->parent;
        aio_result r = -ECANCELED;
        if (f->site->kind == AIO__SITE_LEAVING) {       // it returned r, and nobody has that
            while (scopes && scopes->frame != f) scopes = scopes->outer;
            if (!scopes || scopes->result < 0 || aio__is_generator(f)) continue;
            r = scopes->result;
            scopes = scopes->outer;
        }
        aio__frame_drop(f, r);
    }
}
// Refuses all from now on, tells what is lost, and drops every live task, newest first.
AIO_FN void aio__executor_drop(aio_executor *x)
{
    aio_task *t;
    if (!x->refusal) x->refusal = -EBADFD;
    x->limit = 0;
    for (t = x->last; t; t = t->prev)
        aio__report(x, "task was destroyed but it is pending", 0, &t->waiter.future, t->leaf->site);
    x->ending = AIO__DETACHING;
    for (t = x->last; t; t = t->prev) aio__task_detach(t);
    aio__ring_detach(x);
    for (t = x->last; t; t = t->prev) t->waiter.future.watchers = 0;   // callbacks
    x->ending = AIO__DROPPING;
    while (x->last) aio__task_drop(x, x->last);
    while ((t = x->left_behind) != 0) {
        x->left_behind = t->next;
        if (t->waiter.future.refs) aio__task_release(t);
        else aio__task_unseen(x, t, false);
    }
    x->ending = 0;
}
AIO_FN void aio_executor_close(aio_executor *x)
{
    if (x->ending || x->running) return;
    aio__executor_drop(x);
#ifdef AIO__ASAN
    for (uint32_t c = 1; c < AIO__CLASSES; c++) {       // the allocator may want to reuse them
        while (x->free[c]) (void)aio__alloc(x, c, 0);
    }
#endif
    for (struct aio__chunk *c = x->chunks, *next; c; c = next) {
        next = c->next;
        (x->options.allocator.release)(x->options.allocator.context, c);
    }
    x->chunks = 0;
    x->ring = 0;
    x->slab = x->slab_end = 0;
    x->kept_bytes = 0;
    x->head = x->tail = 0;
    __builtin_memset(x->free, 0, sizeof x->free);
}
#endif
