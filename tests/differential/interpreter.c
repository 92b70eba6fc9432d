// interpreter.c - runs programs of FORMAT.md on the toolkit and prints their traces.
// SPDX-License-Identifier: MIT
//
// usage: differential < program            one program; its trace on standard output
//        differential --batch < records    many, separated by lines `---`; what follows a line
//                                          `===` in a record is ignored; the traces likewise
//
// A program is bodies of ops. Each op is one call of the toolkit, its outcome a line of the trace;
// CPython's asyncio gives the same lines for the same program. What cannot happen stops it loudly.
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The interpreter's own frames are large without optimisation, and programs start eager tasks seven deep.
#if defined __SANITIZE_ADDRESS__ || !defined __OPTIMIZE__
#  define AIO_EAGER_STACK (1 << 20)
#endif
#include "aio_loop.h"

enum {
    MAX_TASKS = 240,
    MAX_OPS_RUN = 4000,
    MAX_HANDLES = 64,
    FUTURES = 4,
    SWEEPS = 8,
    USER_ERRORS = 4,
    MAX_BODIES = 8,
    MAX_OPS = 500,
    MAX_NUMBERS = 10,
    MAX_DEPTH = 16,
    MAX_ITEMS = 4096,
    MAX_RUNS = 8,
    LIST_TEXT = 256,
};

static _Noreturn __attribute__((format(printf, 1, 2))) void die(const char *format, ...)
{
    va_list list;
    fflush(stdout);
    fputs("differential: ", stderr);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputs("\n", stderr);
    exit(2);
}
#define must(condition) ((condition) ? (void)0 : die("line %d: %s is false", __LINE__, #condition))

// --- program text

// name, how it runs, numbers after the policy, whether more may follow, the number (from 1) that is
// the first to choose a task to wait for; 0: none
enum how { NOW, ONE, CALLS };
#define OPS(X) \
    X(sleep, ONE, 1, 0, 0) X(yield, ONE, 0, 0, 0) X(raise, NOW, 1, 0, 0) X(spawn, NOW, 1, 0, 0) \
    X(eager, NOW, 1, 0, 0) X(call, CALLS, 1, 0, 0) X(cancel, NOW, 1, 0, 0) X(cself, NOW, 0, 0, 0) \
    X(uncancel, NOW, 0, 0, 0) X(await, ONE, 1, 0, 1) X(shield, ONE, 1, 0, 1) \
    X(waitfor, ONE, 2, 0, 2) X(gather, CALLS, 2, 1, 2) X(wait, CALLS, 3, 1, 3) \
    X(ascomp, CALLS, 1, 1, 1) X(resched, NOW, 1, 0, 0) X(gspawn, NOW, 1, 0, 0) \
    X(fset, NOW, 2, 0, 0) X(ferr, NOW, 2, 0, 0) X(fcancel, NOW, 1, 0, 0) X(fres, NOW, 1, 0, 0) \
    X(fnew, NOW, 1, 0, 0) X(fwait, ONE, 1, 0, 0) X(fwaitfor, ONE, 2, 0, 0) X(fcb, NOW, 2, 0, 0) \
    X(funcb, NOW, 2, 0, 0) X(tcb, NOW, 2, 0, 0) X(lockrel, NOW, 0, 0, 0) X(semrel, NOW, 0, 0, 0) \
    X(cwait, CALLS, 1, 0, 0) X(cnotify, CALLS, 2, 0, 0) X(cnow, NOW, 1, 0, 0) \
    X(ewait, ONE, 0, 0, 0) X(eset, NOW, 0, 0, 0) X(eclr, NOW, 0, 0, 0) X(bwait, ONE, 0, 0, 0) \
    X(breset, NOW, 0, 0, 0) X(babort, NOW, 0, 0, 0) X(qput, ONE, 1, 0, 0) X(qputn, NOW, 1, 0, 0) \
    X(qget, ONE, 0, 0, 0) X(qgetn, NOW, 0, 0, 0) X(qdone, NOW, 0, 0, 0) X(qjoin, ONE, 0, 0, 0) \
    X(qshut, NOW, 1, 0, 0) X(soon, NOW, 2, 0, 0) X(later, NOW, 3, 0, 0) X(hcancel, NOW, 1, 0, 0) \
    X(gen, CALLS, 3, 0, 0) \
    X(aself, ONE, 0, 0, 0) X(join, ONE, 1, 0, 1) X(wfsh, ONE, 2, 0, 2) X(wfw, ONE, 3, 0, 0) \
    X(wfwt, ONE, 3, 0, 3) X(wfs, ONE, 2, 0, 0) X(wfe, ONE, 1, 0, 0) X(wfq, ONE, 1, 0, 0) \
    X(wfp, ONE, 2, 0, 0) X(wfj, ONE, 1, 0, 0) X(wfbar, ONE, 1, 0, 0) X(wfg, CALLS, 3, 1, 3) \
    X(wfwait, CALLS, 4, 1, 4) X(ascompt, CALLS, 2, 1, 2) X(ascompb, CALLS, 2, 1, 2) \
    X(fwaitm, CALLS, 3, 1, 0) X(fascomp, CALLS, 2, 1, 0) X(cwf, CALLS, 1, 0, 0) \
    X(cpred, CALLS, 1, 0, 0) X(cadd, CALLS, 2, 0, 0) X(semwf, CALLS, 2, 0, 0) \
    X(lockwf, CALLS, 2, 0, 0) X(gent, CALLS, 5, 0, 0) X(genb, CALLS, 3, 0, 0) \
    X(tcbact, NOW, 3, 0, 0) X(fcbact, NOW, 3, 0, 0) X(soonts, NOW, 2, 0, 0) X(stop, NOW, 0, 0, 0) \
    X(resched2, NOW, 2, 0, 0) \
    X(timeout, CALLS, 1, 0, 0) X(waitblock, CALLS, 1, 0, 0) X(group, CALLS, 0, 1, 0) \
    X(lock, CALLS, 0, 0, 0) X(sem, CALLS, 0, 0, 0) X(cleanup, CALLS, 0, 0, 0)
#define OP_NAME(name, how, numbers, more, task) OP_##name,
enum op_name { OPS(OP_NAME) OP_COUNT };
#define OP_KIND(name, how, numbers, more, task) { #name, how, numbers, more, task },
static const struct {
    const char *name;
    enum how how;
    int numbers;
    bool more;
    int task;
} kinds[] = {OPS(OP_KIND)};

struct op {
    enum op_name name;
    bool catches;
    int n, a[MAX_NUMBERS];
    int middle, end;            // a block op: its block is up to middle, then its finally up to end
};
struct span { int at, end; };
struct program {
    struct op ops[MAX_OPS];
    int count;
    struct span bodies[MAX_BODIES];
    bool has_body[MAX_BODIES];
    int body_count, queue_kind, queue_size, semaphore, barrier, tasks, ops_run;
    bool reports, cycles, forever;
};
struct reader {
    struct program *p;
    int open[MAX_DEPTH + 1], depth;     // ops whose blocks are open; depth 1: a body
    int body, line;
};

static bool is_block(enum op_name name) { return name >= OP_timeout; }
static int number_of(const struct reader *r, const char *word)
{
    char *end;
    long n = strtol(word, &end, 10);
    if (*end || end == word) die("line %d: %s is no number", r->line, word);
    return (int)n;
}
static void read_setting(struct reader *r, char **word, int words)
{
    struct program *p = r->p;
    if (words == 2 && !strcmp(word[0], "body")) {
        r->body = number_of(r, word[1]);
        if (r->body < 0 || r->body >= MAX_BODIES) die("line %d: body %d", r->line, r->body);
        p->has_body[r->body] = true;
        p->body_count++;
        p->bodies[r->body].at = p->count;
        r->depth = 1;
    } else if (words == 3 && !strcmp(word[0], "queue")) {
        p->queue_kind = number_of(r, word[1]);
        p->queue_size = number_of(r, word[2]);
    } else if (words == 2 && !strcmp(word[0], "semaphore")) {
        p->semaphore = number_of(r, word[1]);
    } else if (words == 2 && !strcmp(word[0], "barrier")) {
        p->barrier = number_of(r, word[1]);
    } else if (words == 3 && !strcmp(word[0], "size")) {
        p->tasks = number_of(r, word[1]);
        p->ops_run = number_of(r, word[2]);
        if (p->tasks > MAX_TASKS || p->ops_run > MAX_OPS_RUN) die("line %d: too large", r->line);
    } else if (words == 1 && !strcmp(word[0], "reports")) {
        p->reports = true;
    } else if (words == 1 && !strcmp(word[0], "cycles")) {
        p->cycles = true;
    } else if (words == 1 && !strcmp(word[0], "forever")) {
        p->forever = true;
    } else {
        die("line %d: unknown word %s", r->line, word[0]);
    }
}
static void read_op(struct reader *r, char **word, int words)
{
    int k = 0;
    while (k < OP_COUNT && strcmp(kinds[k].name, word[0])) k++;
    if (k == OP_COUNT || words < 2 || (strcmp(word[1], "c") && strcmp(word[1], "r")))
        die("line %d: unknown op or policy: %s", r->line, word[0]);
    if (r->p->count == MAX_OPS) die("line %d: too many ops", r->line);
    struct op *op = &r->p->ops[r->p->count];
    op->name = (enum op_name)k;
    op->catches = word[1][0] == 'c';
    op->n = words - 2;
    if (op->n > MAX_NUMBERS || op->n < kinds[k].numbers ||
        (op->n > kinds[k].numbers && !kinds[k].more))
        die("line %d: wrong number of arguments", r->line);
    for (int i = 0; i < op->n; i++) op->a[i] = number_of(r, word[i + 2]);
    if (is_block(op->name)) {
        if (r->depth > MAX_DEPTH) die("line %d: blocks too deep", r->line);
        r->open[r->depth++] = r->p->count;
    }
    r->p->count++;
    op->middle = op->end = r->p->count;
}
static void read_end(struct reader *r)
{
    struct program *p = r->p;
    if (!--r->depth) {
        p->bodies[r->body].end = p->count;
        return;
    }
    struct op *op = &p->ops[r->open[r->depth]];
    if (op->name != OP_cleanup) op->middle = p->count;
    op->end = p->count;
}
static void read_line(struct reader *r, char *line)
{
    char *word[MAX_NUMBERS + 4], *save = NULL;
    int words = 0;
    if (line[strspn(line, " ")] == '#') return;
    for (char *w = strtok_r(line, " \r", &save); w; w = strtok_r(NULL, " \r", &save)) {
        if (words == MAX_NUMBERS + 3) die("line %d: too many words", r->line);
        word[words++] = w;
    }
    if (!words) return;
    if (!r->depth) read_setting(r, word, words);
    else if (!strcmp(word[0], "end")) read_end(r);
    else if (!strcmp(word[0], "finally")) r->p->ops[r->open[r->depth - 1]].middle = r->p->count;
    else read_op(r, word, words);
}
// Reads a program that begins at `text` and ends at `end`.
static struct program *read_program(const char *text, const char *end)
{
    struct reader r = { .p = calloc(1, sizeof *r.p) };
    must(r.p);
    r.p->queue_size = r.p->semaphore = 2;
    r.p->barrier = 3;
    r.p->tasks = 24;
    r.p->ops_run = 400;
    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        if (!stop) stop = end;
        char *line = strndup(text, (size_t)(stop - text));
        r.line++;
        read_line(&r, line);
        free(line);
        text = stop + 1;
    }
    if (r.depth || !r.p->has_body[0]) die(r.depth ? "a block is not closed" : "there is no body 0");
    return r.p;
}

// --- the objects of a run

struct op_timeout;
struct op_group;
struct slot {                       // what the interpreter keeps per task
    int number;
    aio_task *task;
    struct op_timeout *timeouts;    // that the task is in, innermost first
    struct op_group *groups;        // whose block the task is in
    aio_group *home;                // that the task is a member of
    aio_result end;                 // what its body ended with
    aio_result unseen;              // its error, if nobody looked at it
};
struct handle {
    aio_handle handle;
    int act, x;
};
struct callback {
    aio_callback callback;
    struct callback *next;
    int act, x;
};
struct run {
    aio_loop loop;
    struct program *program;
    struct slot slots[MAX_TASKS];
    struct handle handles[MAX_HANDLES];
    int slot_count, handle_count, ops_left, future_count;
    aio_future *future[FUTURES], futures[FUTURES + MAX_OPS_RUN];
    aio_result unseen[FUTURES + MAX_OPS_RUN];
    struct callback *callbacks;
    aio_lock lock, condition_lock;
    aio_semaphore semaphore;
    aio_condition condition;
    aio_event event;
    aio_barrier barrier;
    aio_queue queue;
    int items[MAX_ITEMS];
    int counter;                    // what cpred waits for
};
static struct run *run;
#define SKIP INT64_MIN              // an outcome that is no result

// --- trace

static const struct { int error; const char *name; } names[] = {
    { ECANCELED, "ECANCELED" }, { ETIMEDOUT, "ETIMEDOUT" }, { EAGAIN, "EAGAIN" },
    { ESHUTDOWN, "ESHUTDOWN" }, { EALREADY, "EALREADY" }, { EINPROGRESS, "EINPROGRESS" },
    { EINVAL, "EINVAL" }, { EPERM, "EPERM" }, { ERANGE, "ERANGE" },
    { ENOTRECOVERABLE, "ENOTRECOVERABLE" }, { EDEADLK, "EDEADLK" }, { EIO, "ERR0" }, { ENOENT, "ERR1" }, { EDOM, "ERR2" },
    { ENOSPC, "ERR3" },
};
static aio_result user_error(int x)
{
    static const int errors[USER_ERRORS] = { EIO, ENOENT, EDOM, ENOSPC };
    return -errors[x % USER_ERRORS];
}
static const char *outcome_text(aio_result r)
{
    static char text[4][32];
    static int turn;
    if (r == SKIP) return "skip";
    turn = (turn + 1) % 4;
    if (r >= 0) {
        snprintf(text[turn], sizeof text[turn], "%lld", (long long)r);
        return text[turn];
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].error == -r) return names[i].name;
    die("the result %lld %s is none that a program can have", (long long)r, aio_strerror(r));
}
static void emit(const char *who, const char *op, const char *outcome, const char *cancelling)
{
    printf("%lld %s %s %s %s @%llu\n", (long long)aio_loop_time(&run->loop), who, op, outcome,
           cancelling, (unsigned long long)aio_loop_turn(&run->loop) + 1);
}
static void log_text(const struct slot *s, const char *op, const char *outcome)
{
    char who[16], cancelling[16];
    snprintf(who, sizeof who, "t%d", s->number);
    snprintf(cancelling, sizeof cancelling, "%u", aio_task_cancelling(s->task));
    emit(who, op, outcome, cancelling);
}
static void log_result(const struct slot *s, const char *op, aio_result r)
{
    log_text(s, op, outcome_text(r));
}

// --- frames

struct block;
#define FRAME aio_frame aio; struct block *on; aio_result r
struct numbers { aio_frame aio; struct slot *slot; int count, ticks, i, value; aio_result r; };
struct op_gen { FRAME; struct numbers items; aio_result taken, end; };
struct op_gather {
    FRAME;
    aio_task *tasks[MAX_NUMBERS];
    aio_result results[MAX_NUMBERS];
    size_t n;
};
struct op_wait { FRAME; aio_task *tasks[MAX_NUMBERS]; int n, mode, ticks; };
struct op_ascomp {
    FRAME;
    aio_task *tasks[MAX_NUMBERS];
    aio_completed it;
    aio_result count;
    int64_t ticks;
    int stop;
};
struct op_fwaitm { FRAME; aio_future *futures[MAX_NUMBERS]; int n, mode, ticks; };
struct op_fascomp {
    FRAME;
    aio_future *futures[MAX_NUMBERS];
    size_t n;
    aio_completed it;
    aio_result count;
};
struct limited_numbers {
    aio_frame aio;
    struct slot *slot;
    int ticks, count, each, i, value;
    aio_timeout scope;
    aio_result r;
};
struct bodies {
    aio_frame aio;
    struct slot *slot;
    int body, count, i, value;
    bool closed;
    aio_result r, end;
};
struct op_gent { FRAME; struct limited_numbers items; aio_result taken, end; };
struct op_genb { FRAME; struct bodies items; aio_result taken, end; };
struct op_timeout { FRAME; aio_timeout timeout; struct op_timeout *outer; };
struct op_group { FRAME; aio_group group; struct op_group *outer; };
struct op_lock { FRAME; };
struct op_sem { FRAME; };
struct op_cwait { FRAME; };
struct op_cnotify { FRAME; };
struct op_cwf { FRAME; };
struct op_cpred { FRAME; };
struct op_cadd { FRAME; };
struct op_semwf { FRAME; };
struct op_lockwf { FRAME; };
struct op_cleanup { FRAME; aio_result end; };
// Runs ops, from `at` to `end`, one after the other.
struct block {
    aio_frame aio;
    struct slot *slot;
    int at, end;
    const struct op *op;            // the one that runs
    bool skip;                      // its outcome is `skip`
    char list[LIST_TEXT];           // or this
    int item;
    aio_result r;
    union {
        struct op_gen gen;
        struct op_gather gather;
        struct op_wait wait;
        struct op_ascomp ascomp;
        struct op_timeout timeout;
        struct op_group group;
        struct op_lock lock;
        struct op_sem sem;
        struct op_cwait cwait;
        struct op_cnotify cnotify;
        struct op_cwf cwf;
        struct op_cpred cpred;
        struct op_cadd cadd;
        struct op_semwf semwf;
        struct op_lockwf lockwf;
        struct op_gent gent;
        struct op_genb genb;
        struct op_fwaitm fwaitm;
        struct op_fascomp fascomp;
        struct op_cleanup cleanup;
    } u;
};
struct body { aio_frame aio; struct slot *slot; int number; aio_result r; };
aio_declare(block);

static int64_t limit(int ticks) { return ticks < 0 ? AIO_FOREVER : ticks; }
static aio_result skip(struct block *b)
{
    b->skip = true;
    return 0;
}

// --- tasks

aio_async(body) {
    self->slot->task = aio_current_task();
    log_result(self->slot, "start", self->number);
    aio_await(self->r, aio_call_new(block, .slot = self->slot,
                                    .at = run->program->bodies[self->number].at,
                                    .end = run->program->bodies[self->number].end));
    self->slot->end = self->r < 0 ? self->r : self->slot->number;
    if (self->r < 0) {
        log_result(self->slot, "fail", self->r);
        return self->r;
    }
    log_result(self->slot, "return", self->slot->number);
    return self->slot->number;
} aio_end

enum create { CREATE_LAZY, CREATE_EAGER, CREATE_IN_GROUP };
// The new task's number; -EAGAIN: there are enough; -EINVAL: its group is shutting down.
static aio_result make_task(int number, enum create how, aio_group *home)
{
    if (run->slot_count == run->program->tasks) return -EAGAIN;
    must(number >= 0 && number < MAX_BODIES && run->program->has_body[number]);
    struct slot *s = &run->slots[run->slot_count];
    s->number = run->slot_count++;
    s->home = home;
    if (how == CREATE_LAZY) {
        s->task = aio_spawn_on(&run->loop, body, .slot = s, .number = number);
    } else if (how == CREATE_EAGER) {
        s->task = aio_spawn_eager(body, .slot = s, .number = number);
    } else {
        s->task = aio_task_retain(aio_group_spawn(home, body, .slot = s, .number = number));
        if (!aio_task_frame(body, s->task)) {
            must(aio_task_result(s->task) == -EINVAL);
            run->slot_count--;
            return -EINVAL;
        }
    }
    must(aio_task_frame(body, s->task));
    return s->number;
}
static struct slot *any_slot(int k) { return &run->slots[k % run->slot_count]; }
// The k-th of the tasks that the op may wait for; null: there is none. Only tasks with a higher number
// where a cancel goes on to them: a cycle would have no end in CPython (T-11). Where it stops, all.
static aio_task *chosen(const struct block *b, int k)
{
    enum op_name o = b->op->name;
    bool stops = o == OP_shield || o == OP_wfsh || o == OP_wait || o == OP_wfwait ||
                 o == OP_ascomp || o == OP_ascompt || o == OP_ascompb;
    int first = run->program->cycles && stops ? 0 : b->slot->number + 1;
    int count = run->slot_count - first;
    if (count <= 0) return NULL;
    struct slot *s = &run->slots[first + k % count];
    return s == b->slot && (o == OP_shield || o == OP_wfsh) ? NULL : s->task;
}
// The op's tasks; how many, 0: there are none.
static size_t chosen_tasks(const struct block *b, aio_task **tasks)
{
    int from = kinds[b->op->name].task - 1;
    for (int i = from; i < b->op->n; i++) {
        tasks[i - from] = chosen(b, b->op->a[i]);
        if (!tasks[i - from]) return 0;
    }
    return (size_t)(b->op->n - from);
}

// --- callbacks

static int log_done(aio_future *f, void *id)
{
    char op[16];
    snprintf(op, sizeof op, "cb%d", (int)(intptr_t)id);
    emit("-", op, outcome_text(aio_future_result(f)), "-");
    return 0;
}
static aio_result add(aio_future *f, struct callback *c, int (*fn)(aio_future *, void *), void *arg)
{
    c->next = run->callbacks;
    run->callbacks = c;
    must(aio_future_add_done_callback(f, &c->callback, fn, arg) == 0);
    return 0;
}
static struct callback *new_callback(int act, int x)
{
    struct callback *c = calloc(1, sizeof *c);
    must(c);
    c->act = act;
    c->x = x;
    return c;
}
static aio_result add_callback(aio_future *f, int id)
{
    return add(f, new_callback(0, 0), log_done, (void *)(intptr_t)id);
}
static aio_result cancel_handle(int k)
{
    if (!run->handle_count) return SKIP;
    aio_handle_cancel(&run->handles[k % run->handle_count].handle);
    return 0;
}
static aio_result act_spawn(int x, enum create how)
{
    if (run->program->body_count < 2) return SKIP;
    aio_result r = make_task(1 + x % (run->program->body_count - 1), how, NULL);
    return r == -EAGAIN ? SKIP : r;
}
static aio_result act_get(void)
{
    int item;
    aio_result r = aio_queue_get_nowait(&run->queue, &item);
    return r < 0 ? r : item;
}
static aio_result act_now(int act, int x)
{
    int item = 900 + x % 10;
    switch (act) {
    case 1: return aio_future_set_result(run->future[x % FUTURES], x);
    case 2: return aio_task_cancel(any_slot(x)->task);
    case 3: aio_event_set(&run->event); return 0;
    case 4: return cancel_handle(x);
    case 5: return aio_future_cancel(run->future[x % FUTURES]);
    case 6: return aio_queue_put_nowait(&run->queue, &item);
    case 7: return aio_future_set_error(run->future[x % FUTURES], user_error(x));
    case 8: return aio_lock_release(&run->lock);
    case 9: return aio_semaphore_release(&run->semaphore);
    case 10: aio_event_clear(&run->event); return 0;
    case 11: aio_queue_shutdown(&run->queue, x % 2); return 0;
    case 12: return act_get();
    case 13: return aio_condition_notify(&run->condition, (uint32_t)(1 + x % 2));
    case 14: return act_spawn(x, CREATE_LAZY);
    case 15: return aio_task_uncancel(any_slot(x)->task);
    case 16: return act_spawn(x, CREATE_EAGER);
    case 17: aio_barrier_abort(&run->barrier); return 0;
    case 18: aio_barrier_reset(&run->barrier); return 0;
    case 19: aio_loop_stop(&run->loop); return 0;
    case 20: return user_error(x);
    case 21: return aio_queue_task_done(&run->queue);
    case 22: return add_callback(run->future[x % FUTURES], x);
    case 23: return aio_future_remove_done_callback(run->future[x % FUTURES], log_done,
                                                    (void *)(intptr_t)x);
    default: return 0;
    }
}
// What act 20 gives is also what the callback fails with.
static int act_and_log(int act, int x)
{
    char op[16];
    aio_result r = act_now(act, x);
    snprintf(op, sizeof op, "act%d", act);
    emit("-", op, outcome_text(r), "-");
    return act == 20 ? (int)r : 0;
}
static int act(void *arg)
{
    const struct handle *h = arg;
    return act_and_log(h->act, h->x);
}
static int act_done(aio_future *f, void *arg)
{
    const struct callback *c = arg;
    (void)f;
    return act_and_log(c->act, c->x);
}
static aio_result add_act(aio_future *f, int what, int x)
{
    struct callback *c = new_callback(what, x);
    return add(f, c, act_done, c);
}
static aio_result schedule(struct block *b, const int *a)
{
    if (run->handle_count == MAX_HANDLES) return skip(b);
    struct handle *h = &run->handles[run->handle_count];
    bool later = b->op->name == OP_later;
    h->act = a[later];
    h->x = a[later + 1];
    aio_result r = later ? aio_call_later(&run->loop, &h->handle, a[0], act, h)
                   : b->op->name == OP_soon ? aio_call_soon(&run->loop, &h->handle, act, h)
                   : aio_call_soon_threadsafe(&run->loop, &h->handle, act, h);
    must(r == 0);
    return run->handle_count++;
}

// --- ops that are over at once

// Of the scope that stands `outer` outside the innermost one.
static aio_result op_resched(struct block *b, int outer, int ticks)
{
    struct op_timeout *t = b->slot->timeouts;
    while (outer-- && t) t = t->outer;
    if (!t) return skip(b);
    return aio_timeout_reschedule(&t->timeout,
                                  ticks < 0 ? AIO_FOREVER : aio_loop_time(&run->loop) + ticks);
}
static aio_result op_spawn(struct block *b, int number)
{
    bool group = b->op->name == OP_gspawn;
    aio_group *home = !group ? NULL : b->slot->groups ? &b->slot->groups->group : b->slot->home;
    if (group && !home) return skip(b);
    aio_result r = make_task(number, group ? CREATE_IN_GROUP
                                     : b->op->name == OP_eager ? CREATE_EAGER : CREATE_LAZY, home);
    return r == -EAGAIN ? skip(b) : r;
}
static aio_result op_fnew(int f)
{
    if (!aio_future_done(run->future[f])) return 0;
    run->future[f] = &run->futures[run->future_count++];
    return 1;
}
static aio_result future_op(struct block *b, const int *a)
{
    aio_future *f = run->future[a[0]];
    switch (b->op->name) {
    case OP_fset: return aio_future_set_result(f, a[1]);
    case OP_ferr: return aio_future_set_error(f, user_error(a[1]));
    case OP_fcancel: return aio_future_cancel(f);
    case OP_fres: return aio_future_result(f);
    case OP_fnew: return op_fnew(a[0]);
    case OP_fcb: return add_callback(f, a[1]);
    default: return aio_future_remove_done_callback(f, log_done, (void *)(intptr_t)a[1]);
    }
}
static aio_result sync_op(struct block *b, const int *a)
{
    int item = 10 * b->slot->number + a[0];
    aio_result r;
    switch (b->op->name) {
    case OP_lockrel: return aio_lock_release(&run->lock);
    case OP_semrel: return aio_semaphore_release(&run->semaphore);
    case OP_cnow: return aio_condition_notify(&run->condition, (uint32_t)a[0]);
    case OP_eset: aio_event_set(&run->event); return 0;
    case OP_eclr: aio_event_clear(&run->event); return 0;
    case OP_breset: aio_barrier_reset(&run->barrier); return 0;
    case OP_babort: aio_barrier_abort(&run->barrier); return 0;
    case OP_qputn: return aio_queue_put_nowait(&run->queue, &item);
    case OP_qgetn: r = aio_queue_get_nowait(&run->queue, &item); return r < 0 ? r : item;
    case OP_qdone: return aio_queue_task_done(&run->queue);
    case OP_qshut: aio_queue_shutdown(&run->queue, a[0]); return 0;
    default: die("%s is no op that is over at once", kinds[b->op->name].name);
    }
}
static aio_result op_now(struct block *b, const int *a)
{
    switch (b->op->name) {
    case OP_raise: return user_error(a[0]);
    case OP_spawn: case OP_eager: case OP_gspawn: return op_spawn(b, a[0]);
    case OP_cancel: return aio_task_cancel(any_slot(a[0])->task);
    case OP_cself: return aio_task_cancel(b->slot->task);
    case OP_uncancel: return aio_task_uncancel(b->slot->task);
    case OP_tcb: return add_callback(aio_task_future(any_slot(a[0])->task), a[1]);
    case OP_tcbact: return add_act(aio_task_future(any_slot(a[0])->task), a[1], a[2]);
    case OP_fcbact: return add_act(run->future[a[0]], a[1], a[2]);
    case OP_resched: return op_resched(b, 0, a[0]);
    case OP_resched2: return op_resched(b, a[0], a[1]);
    case OP_stop: aio_loop_stop(&run->loop); return 0;
    case OP_fset:
    case OP_ferr:
    case OP_fcancel:
    case OP_fres:
    case OP_fnew:
    case OP_fcb:
    case OP_funcb:
        return future_op(b, a);
    case OP_soon: case OP_later: case OP_soonts: return schedule(b, a);
    case OP_hcancel: return cancel_handle(a[0]);
    default: return sync_op(b, a);
    }
}

// --- ops that are one await

// False: there is no task to wait for.
static bool op_begin(struct block *b)
{
    int task = kinds[b->op->name].task;
    b->item = 10 * b->slot->number + b->op->a[b->op->name == OP_wfp];
    return !task || chosen(b, b->op->a[task - 1]);
}
// Inner limits first.
static aio_awaitable op_limited(struct block *b)
{
    const int *a = b->op->a;
    switch (b->op->name) {
    case OP_waitfor: return aio_future_wait(aio_task_future(chosen(b, a[1])));
    case OP_fwaitfor: return aio_future_wait(run->future[a[1]]);
    case OP_wfsh: return aio_shield(chosen(b, a[1]));
    case OP_wfw: return aio_wait_for(limit(a[1]), aio_future_wait(run->future[a[2]]));
    case OP_wfwt:
        return aio_wait_for(limit(a[1]), aio_future_wait(aio_task_future(chosen(b, a[2]))));
    case OP_wfs: return aio_sleep(a[1]);
    case OP_wfe: return aio_event_wait(&run->event);
    case OP_wfq: return aio_queue_get(&run->queue, &b->item);
    case OP_wfp: return aio_queue_put(&run->queue, &b->item);
    case OP_wfj: return aio_queue_join(&run->queue);
    case OP_wfbar: return aio_barrier_wait(&run->barrier);
    default: die("%s is no single await", kinds[b->op->name].name);
    }
}
static aio_awaitable op_await(struct block *b)
{
    const int *a = b->op->a;
    switch (b->op->name) {
    case OP_sleep: return aio_sleep(a[0]);
    case OP_yield: return aio_sleep(0);
    case OP_await: return aio_future_wait(aio_task_future(chosen(b, a[0])));
    case OP_aself: return aio_future_wait(aio_task_future(b->slot->task));
    case OP_join: return aio_join(aio_task_retain(chosen(b, a[0])));
    case OP_shield: return aio_shield(chosen(b, a[0]));
    case OP_fwait: return aio_future_wait(run->future[a[0]]);
    case OP_ewait: return aio_event_wait(&run->event);
    case OP_bwait: return aio_barrier_wait(&run->barrier);
    case OP_qput: return aio_queue_put(&run->queue, &b->item);
    case OP_qget: return aio_queue_get(&run->queue, &b->item);
    case OP_qjoin: return aio_queue_join(&run->queue);
    default: return aio_wait_for(limit(a[0]), op_limited(b));
    }
}
static aio_result op_value(struct block *b, aio_result r)
{
    if (r < 0) return r;
    switch (b->op->name) {
    case OP_sleep: return b->op->a[0];
    case OP_ewait: case OP_wfe: return 1;
    case OP_bwait: case OP_wfbar: return r == run->program->barrier - 1;
    case OP_qget: case OP_wfq: return b->item;
    default: return r;
    }
}

// --- ops that are coroutines

aio_async(numbers) {
    for (self->i = 0; self->i < self->count; self->i++) {
        aio_await(self->r, aio_sleep(self->ticks));
        if (self->r < 0) break;
        aio_yield(self->r, self->i);
        if (self->r < 0) break;
    }
    log_result(self->slot, "gclose", 0);
    aio_try(aio_sleep(0));
    return self->r == -ESHUTDOWN ? 0 : self->r;
} aio_end
aio_async(op_gen) {
    self->r = aio_gen_init(&self->items, numbers, .slot = self->on->slot,
                           .count = self->on->op->a[0], .ticks = self->on->op->a[1]);
    must(self->r == 0);
    for (;;) {
        aio_await(self->r, aio_next(&self->items));
        if (self->r <= 0) break;
        log_result(self->on->slot, "item", aio_gen_value(&self->items));
        if (++self->taken == self->on->op->a[2]) break;
    }
    aio_await(self->end, aio_gen_close(&self->items));
    return self->end < 0 ? self->end : self->r < 0 ? self->r : self->taken;
} aio_end

// The same inside a limit of its own.
aio_async(limited_numbers) {
    self->r = aio_timeout_enter(&self->scope, limit(self->ticks));
    must(self->r == 0);
    for (self->i = 0; self->i < self->count; self->i++) {
        aio_await(self->r, aio_sleep(self->each));
        if (self->r < 0) break;
        aio_yield(self->r, self->i);
        if (self->r < 0) break;
    }
    self->r = aio_timeout_exit(&self->scope, self->r);
    log_result(self->slot, "gclose", 0);
    aio_try(aio_sleep(0));
    return self->r == -ESHUTDOWN ? 0 : self->r;
} aio_end
aio_async(op_gent) {
    self->r = aio_gen_init(&self->items, limited_numbers, .slot = self->on->slot,
                           .ticks = self->on->op->a[0], .count = self->on->op->a[1],
                           .each = self->on->op->a[2]);
    must(self->r == 0);
    for (;;) {
        aio_await(self->r, aio_next(&self->items));
        if (self->r <= 0) break;
        log_result(self->on->slot, "item", aio_gen_value(&self->items));
        self->taken++;
        if (self->on->op->a[4] > 0) aio_await(self->r, aio_sleep(self->on->op->a[4]));
        if (self->r < 0 || self->taken == self->on->op->a[3]) break;
    }
    aio_await(self->end, aio_gen_close(&self->items));
    return self->end < 0 ? self->end : self->r < 0 ? self->r : self->taken;
} aio_end
#define program_body(s, number) aio_call_new(block, .slot = (s), \
    .at = run->program->bodies[number].at, .end = run->program->bodies[number].end)
aio_async(bodies) {
    for (self->i = 0; self->i < self->count; self->i++) {
        aio_await(self->r, program_body(self->slot, self->body));
        if (self->r < 0) break;
        aio_yield(self->r, self->i);
        self->closed = self->r < 0;
        if (self->closed) break;
    }
    log_result(self->slot, "gclose", 0);
    aio_await(self->end, program_body(self->slot, self->body));
    return self->end < 0 ? self->end : self->closed ? 0 : self->r;
} aio_end
aio_async(op_genb) {
    self->r = aio_gen_init(&self->items, bodies, .slot = self->on->slot,
                           .body = self->on->op->a[0], .count = self->on->op->a[1]);
    must(self->r == 0);
    for (;;) {
        aio_await(self->r, aio_next(&self->items));
        if (self->r <= 0) break;
        log_result(self->on->slot, "item", aio_gen_value(&self->items));
        if (++self->taken == self->on->op->a[2]) break;
    }
    aio_await(self->end, aio_gen_close(&self->items));
    return self->end < 0 ? self->end : self->r < 0 ? self->r : self->taken;
} aio_end

static void write_list(char *list, const aio_result *results, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(list + at, LIST_TEXT - at, "%s%s", i ? "," : "[",
                               outcome_text(results[i]));
    snprintf(list + at, LIST_TEXT - at, "]");
}
static aio_awaitable gathering(struct op_gather *g)
{
    const struct op *op = g->on->op;
    bool limited = op->name == OP_wfg;
    aio_awaitable a = op->a[limited] ? aio_gather_all(g->tasks, g->results, (size_t)g->r)
                                     : aio_gather(g->tasks, g->results, (size_t)g->r);
    return limited ? aio_wait_for(limit(op->a[0]), a) : a;
}
aio_async(op_gather) {
    self->n = chosen_tasks(self->on, self->tasks);
    self->r = (aio_result)self->n;
    if (!self->n) return skip(self->on);
    for (size_t i = 0, k; i < self->n; i++) {           // one handle for each that is another one
        for (k = 0; self->tasks[k] != self->tasks[i]; k++) {}
        if (k == i) aio_task_retain(self->tasks[i]);
    }
    aio_await(self->r, gathering(self));
    for (size_t i = 0; i < self->n; i++) {              // from here on it is one for each
        must(self->r < 0 || !self->tasks[i]);
        if (self->tasks[i]) aio_detach(self->tasks[i]);
    }
    if (self->r >= 0) write_list(self->on->list, self->results, self->n);
    return self->r;
} aio_end

// The bits of those that are done; `r` says how many they are, each once.
static aio_result done_bits(aio_future *const *futures, int n, aio_result r)
{
    aio_result bits = 0, count = 0;
    for (int i = 0, k; i < n; i++) {
        for (k = 0; futures[k] != futures[i]; k++) {}
        if (!aio_future_done(futures[i])) continue;
        bits |= (aio_result)1 << i;
        count += k == i;
    }
    must(r == count);
    return bits;
}
static aio_result done_task_bits(aio_task *const *tasks, int n, aio_result r)
{
    aio_future *futures[MAX_NUMBERS];
    for (int i = 0; i < n; i++) futures[i] = aio_task_future(tasks[i]);
    return done_bits(futures, n, r);
}
static aio_awaitable waiting(struct op_wait *w)
{
    aio_awaitable a = w->ticks < 0 ? aio_wait(w->tasks, (size_t)w->n, w->mode)
                      : aio_wait_timeout(w->tasks, (size_t)w->n, w->mode, w->ticks);
    return w->on->op->name == OP_wfwait ? aio_wait_for(limit(w->on->op->a[0]), a) : a;
}
aio_async(op_wait) {
    self->n = (int)chosen_tasks(self->on, self->tasks);
    self->mode = self->on->op->a[self->on->op->name == OP_wfwait];
    self->ticks = self->on->op->a[1 + (self->on->op->name == OP_wfwait)];
    if (!self->n) return skip(self->on);
    aio_await(self->r, waiting(self));
    return self->r < 0 ? self->r : done_task_bits(self->tasks, self->n, self->r);
} aio_end
aio_async(op_fwaitm) {
    self->n = self->on->op->n - 2;
    self->mode = self->on->op->a[0];
    self->ticks = self->on->op->a[1];
    for (int i = 0; i < self->n; i++) self->futures[i] = run->future[self->on->op->a[i + 2]];
    if (self->ticks < 0)
        aio_await(self->r, aio_wait(self->futures, (size_t)self->n, self->mode));
    else
        aio_await(self->r,
                  aio_wait_timeout(self->futures, (size_t)self->n, self->mode, self->ticks));
    return self->r < 0 ? self->r : done_bits(self->futures, self->n, self->r);
} aio_end

static int number_of_task(const aio_task *t)
{
    for (int i = 0; i < run->slot_count; i++)
        if (run->slots[i].task == t) return i;
    die("a task that is none of the program's");
}
aio_async(op_ascomp) {
    self->ticks = self->on->op->name == OP_ascompt ? limit(self->on->op->a[0]) : AIO_FOREVER;
    self->stop = self->on->op->name == OP_ascompb ? self->on->op->a[0] : 0;
    self->r = (aio_result)chosen_tasks(self->on, self->tasks);
    if (!self->r) return skip(self->on);
    self->r = aio_completed_init(&self->it, self->tasks, (size_t)self->r, self->ticks);
    must(self->r == 0);
    for (;;) {
        aio_await(self->r, aio_completed_next(&self->it));
        if (self->r < 0) break;
        log_result(self->on->slot, "next", number_of_task(self->tasks[self->r]));
        if (++self->count == self->stop) break;
    }
    aio_completed_close(&self->it);
    return self->r < 0 && self->r != -ENODATA ? self->r : self->count;
} aio_end
aio_async(op_fascomp) {
    self->n = (size_t)self->on->op->n - 1;
    for (size_t i = 0; i < self->n; i++) self->futures[i] = run->future[self->on->op->a[i + 1]];
    self->r = aio_completed_init(&self->it, self->futures, self->n, limit(self->on->op->a[0]));
    must(self->r == 0);
    for (;; self->count++) {
        aio_await(self->r, aio_completed_next(&self->it));
        if (self->r < 0) break;
        log_result(self->on->slot, "next", self->r);
    }
    aio_completed_close(&self->it);
    return self->r == -ENODATA ? self->count : self->r;
} aio_end

// A block of the op's own.
#define op_block(self) aio_call_new(block, .slot = (self)->on->slot, \
    .at = (int)((self)->on->op - run->program->ops) + 1, .end = (self)->on->op->middle)

aio_async(op_timeout) {
    self->r = aio_timeout_enter(&self->timeout, limit(self->on->op->a[0]));
    must(self->r == 0);
    self->outer = self->on->slot->timeouts;
    self->on->slot->timeouts = self;
    aio_await(self->r, op_block(self));
    self->on->slot->timeouts = self->outer;
    self->r = aio_timeout_exit(&self->timeout, self->r);
    return self->r < 0 ? self->r : aio_timeout_expired(&self->timeout);
} aio_end

// All that a group kept, with whose error each is.
static void log_group_errors(const struct slot *s, const aio_group *g)
{
    char text[LIST_TEXT];
    size_t at = 0;
    aio_group_failure e;
    for (uint32_t i = 0; (e = aio_group_error(g, i)).error; i++) {
        char who[16] = "body";
        for (int n = 0; n < run->slot_count; n++)
            if (e.id && aio_task_id(run->slots[n].task) == e.id) snprintf(who, sizeof who, "t%d", n);
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s:%s", i ? "," : "[", who,
                               outcome_text(e.error));
    }
    if (!at) return;
    snprintf(text + at, sizeof text - at, "]");
    log_text(s, "errors", text);
}
aio_async(op_group) {
    self->r = aio_group_enter(&self->group);
    must(self->r == 0);
    self->outer = self->on->slot->groups;
    self->on->slot->groups = self;
    for (int i = 0; i < self->on->op->n; i++) {
        aio_result r = make_task(self->on->op->a[i], CREATE_IN_GROUP, &self->group);
        must(r >= 0 || r == -EAGAIN);
    }
    aio_await(self->r, op_block(self));
    self->on->slot->groups = self->outer;
    aio_await(self->r, aio_group_exit(&self->group, self->r));
    if (run->program->reports) log_group_errors(self->on->slot, &self->group);
    return self->r;
} aio_end

aio_async(op_lock) {
    aio_try(aio_lock_acquire(&run->lock));
    log_text(self->on->slot, "lock", "held");
    aio_await(self->r, op_block(self));
    aio_result end = aio_lock_release(&run->lock);
    return end < 0 ? end : self->r;
} aio_end

aio_async(op_sem) {
    aio_try(aio_semaphore_acquire(&run->semaphore));
    log_text(self->on->slot, "sem", "held");
    aio_await(self->r, op_block(self));
    must(aio_semaphore_release(&run->semaphore) == 0);
    return self->r;
} aio_end

aio_async(op_cwait) {
    aio_try(aio_lock_acquire(&run->condition_lock));
    log_text(self->on->slot, "cwait", "held");
    aio_await(self->r, aio_condition_wait(&run->condition));
    if (self->r >= 0 && self->on->op->a[0] > 0) aio_await(self->r, aio_sleep(self->on->op->a[0]));
    must(aio_lock_release(&run->condition_lock) == 0);
    return self->r < 0 ? self->r : 1;
} aio_end

aio_async(op_cnotify) {
    aio_try(aio_lock_acquire(&run->condition_lock));
    log_text(self->on->slot, "cnotify", "held");
    self->r = self->on->op->a[0]
        ? aio_condition_notify(&run->condition, (uint32_t)self->on->op->a[0])
        : aio_condition_notify_all(&run->condition);
    must(self->r == 0);
    if (self->on->op->a[1] > 0) aio_await(self->r, aio_sleep(self->on->op->a[1]));
    must(aio_lock_release(&run->condition_lock) == 0);
    return self->r;
} aio_end

aio_async(op_cwf) {
    aio_try(aio_lock_acquire(&run->condition_lock));
    log_text(self->on->slot, "cwf", "held");
    aio_await(self->r, aio_wait_for(limit(self->on->op->a[0]), aio_condition_wait(&run->condition)));
    must(aio_lock_release(&run->condition_lock) == 0);
    return self->r < 0 ? self->r : 1;
} aio_end
aio_async(op_cpred) {
    aio_try(aio_lock_acquire(&run->condition_lock));
    log_text(self->on->slot, "cpred", "held");
    while (self->r >= 0 && run->counter < self->on->op->a[0])
        aio_await(self->r, aio_condition_wait(&run->condition));
    must(aio_lock_release(&run->condition_lock) == 0);
    return self->r < 0 ? self->r : run->counter;
} aio_end
aio_async(op_cadd) {
    aio_try(aio_lock_acquire(&run->condition_lock));
    log_text(self->on->slot, "cadd", "held");
    run->counter += self->on->op->a[0];
    must(aio_condition_notify_all(&run->condition) == 0);
    if (self->on->op->a[1] > 0) aio_await(self->r, aio_sleep(self->on->op->a[1]));
    must(aio_lock_release(&run->condition_lock) == 0);
    return self->r;
} aio_end

aio_async(op_semwf) {
    aio_try(aio_wait_for(limit(self->on->op->a[0]), aio_semaphore_acquire(&run->semaphore)));
    log_text(self->on->slot, "semwf", "held");
    if (self->on->op->a[1] > 0) aio_await(self->r, aio_sleep(self->on->op->a[1]));
    must(aio_semaphore_release(&run->semaphore) == 0);
    return self->r;
} aio_end
aio_async(op_lockwf) {
    aio_try(aio_wait_for(limit(self->on->op->a[0]), aio_lock_acquire(&run->lock)));
    log_text(self->on->slot, "lockwf", "held");
    if (self->on->op->a[1] > 0) aio_await(self->r, aio_sleep(self->on->op->a[1]));
    aio_result end = aio_lock_release(&run->lock);
    return end < 0 ? end : self->r;
} aio_end

aio_async(op_cleanup) {
    aio_await(self->r, op_block(self));
    aio_await(self->end, aio_call_new(block, .slot = self->on->slot, .at = self->on->op->middle,
                                      .end = self->on->op->end));
    return self->end < 0 ? self->end : self->r;
} aio_end

// An await in a switch would do, but not in strict ISO C, in which this program is built too.
#define OP_CALL(which) OP_CALL_AS(which, which)
#define OP_CALL_AS(name_, which) else if (self->op->name == OP_##name_) \
    aio_await(self->r, aio_call(&self->u.which, op_##which, .on = self));
aio_async(block) {
    for (; self->at < self->end && run->ops_left; self->at = self->op->end) {
        self->op = &run->program->ops[self->at];
        run->ops_left--;
        self->skip = false;
        self->list[0] = 0;
        if (kinds[self->op->name].how == NOW) {
            self->r = op_now(self, self->op->a);
        } else if (kinds[self->op->name].how == ONE) {
            self->r = 0;
            if (op_begin(self)) aio_await(self->r, op_await(self));
            else skip(self);
            self->r = op_value(self, self->r);
        } else if (self->op->name == OP_call) {
            aio_await(self->r, aio_call_new(block, .slot = self->slot,
                                            .at = run->program->bodies[self->op->a[0]].at,
                                            .end = run->program->bodies[self->op->a[0]].end));
            if (self->r >= 0) self->r = self->op->a[0];
        } else if (self->op->name == OP_waitblock) {
            aio_await(self->r,
                      aio_wait_for(limit(self->op->a[0]),
                                   aio_call_new(block, .slot = self->slot, .at = self->at + 1,
                                                .end = self->op->middle)));
        }
        OP_CALL(gen)
        OP_CALL(gent)
        OP_CALL(genb)
        OP_CALL(gather)
        OP_CALL_AS(wfg, gather)
        OP_CALL(wait)
        OP_CALL_AS(wfwait, wait)
        OP_CALL(fwaitm)
        OP_CALL(ascomp)
        OP_CALL_AS(ascompt, ascomp)
        OP_CALL_AS(ascompb, ascomp)
        OP_CALL(fascomp)
        OP_CALL(timeout)
        OP_CALL(group)
        OP_CALL(lock)
        OP_CALL(sem)
        OP_CALL(cwait)
        OP_CALL(cnotify)
        OP_CALL(cwf)
        OP_CALL(cpred)
        OP_CALL(cadd)
        OP_CALL(semwf)
        OP_CALL(lockwf)
        OP_CALL(cleanup)
        log_text(self->slot, kinds[self->op->name].name, self->r < 0 ? outcome_text(self->r)
                 : self->skip ? "skip" : self->list[0] ? self->list : outcome_text(self->r));
        if (self->r < 0 && self->r != SKIP && !self->op->catches) return self->r;
    }
    return 0;
} aio_end

// --- the whole program

static void unseen(const struct aio_report *r)
{
    if (r->task) run->slots[number_of_task(r->task)].unseen = r->error;
    else run->unseen[r->future - run->futures] = r->error;
}
static void print_unseen(void)
{
    for (int i = 0; i < run->slot_count; i++)
        if (run->slots[i].unseen) printf("unseen t%d %s\n", i, outcome_text(run->slots[i].unseen));
    for (int i = 0; i < run->future_count; i++)
        if (run->unseen[i]) printf("unseen f%d %s\n", i, outcome_text(run->unseen[i]));
}
// What no await can tell is part of the trace, if the program asks for it.
static void on_error(aio_loop *loop, const struct aio_report *r, void *context)
{
    static const struct { const char *message; bool lost, fails; } expected[] = {
        { "future error was never retrieved", true, false },
        { "task error was never retrieved", true, false },
        { "a callback failed", false, true },
        { "a done-callback failed", false, true },
        { "task was destroyed but it is pending", false, false },
        { "deadlock: every task waits", false, false },
    };
    size_t i = 0, n = sizeof expected / sizeof *expected;
    (void)loop;
    (void)context;
    while (i < n && strncmp(r->message, expected[i].message, strlen(expected[i].message))) i++;
    if (i == n) die("the loop reports: %s: %s", r->message, aio_strerror(r->error));
    if (!run->program->reports) return;
    if (expected[i].lost) unseen(r);
    if (expected[i].fails) emit("-", "report", outcome_text(r->error), "-");
}
static int by_priority(const void *a, const void *b, void *context)
{
    (void)context;
    return *(const int *)a % 10 - *(const int *)b % 10;
}
static void set_up(struct program *p)
{
    struct aio_loop_options options = { .clock = AIO_CLOCK_VIRTUAL, .on_error = on_error };
    run = calloc(1, sizeof *run);
    must(run && aio_loop_init(&run->loop, &options) == 0);
    run->program = p;
    run->ops_left = p->ops_run;
    for (; run->future_count < FUTURES; run->future_count++)
        run->future[run->future_count] = &run->futures[run->future_count];
    must(aio_semaphore_init(&run->semaphore, (uint32_t)p->semaphore, 0) == 0);
    aio_condition_init(&run->condition, &run->condition_lock);
    must(aio_barrier_init(&run->barrier, (uint32_t)p->barrier) == 0);
    // Size 0 has no limit: a program cannot put more than there is room for.
    uint32_t capacity = p->queue_size > 0 ? (uint32_t)p->queue_size : MAX_ITEMS;
    must(capacity <= MAX_ITEMS);
    must(aio_queue_init(&run->queue, run->items, sizeof run->items[0], capacity,
                        p->queue_kind == 1 ? AIO_QUEUE_LIFO : 0,
                        p->queue_kind == 2 ? by_priority : NULL, NULL) == 0);
}
struct ended_futures { aio_frame aio; };
// In a loop: one that nobody waits for any more is reported in the loop that runs.
aio_async(ended_futures) {
    (void)self;
    for (int i = 0; i < run->future_count; i++)
        if (aio_future_done(&run->futures[i])) must(aio_future_destroy(&run->futures[i]) == 0);
    return 0;
} aio_end
static void tear_down(void)
{
    for (int i = 0; i < run->slot_count; i++)
        if (aio_task_done(run->slots[i].task)) aio_detach(run->slots[i].task);
    struct aio_loop_options options = { .on_error = on_error };
    if (run->program->reports) must(aio_run_with(&options, ended_futures) == 0);
    must(aio_loop_close(&run->loop) == 0);
    print_unseen();
    for (struct callback *c = run->callbacks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(run->program);
    free(run);
    run = NULL;
}
// False: deadlock.
static bool until_done(aio_task *t)
{
    aio_result r;
    while ((r = aio_loop_run_until_complete(&run->loop, t)) == -EINPROGRESS && !aio_task_done(t))
        printf("STOPPED\n");
    must(aio_task_done(t) ? r == aio_task_result(t) : r == -EDEADLK);
    return aio_task_done(t);
}
// The same by runs without an end of their own. False: deadlock.
static bool run_forever(const aio_task *t)
{
    for (int i = 0; i < MAX_RUNS && !aio_task_done(t); i++) {
        aio_result r = aio_loop_run_forever(&run->loop);
        if (r == -EDEADLK) return false;
        must(r == 0);
        printf("STOPPED\n");
    }
    return true;
}
// Without a look at the task's own result, which would be seen then.
static const char *state_of(const struct slot *s)
{
    if (!aio_task_done(s->task)) return "PENDING";
    return aio_task_cancelled(s->task) ? "ECANCELED" : outcome_text(s->end);
}
// Cancels what lives and waits for it. False: nothing does.
static bool sweep(void)
{
    aio_task *live[MAX_TASKS];
    int n = 0;
    for (int i = 0; i < run->slot_count; i++)
        if (!aio_task_done(run->slots[i].task)) live[n++] = run->slots[i].task;
    if (!n) return false;
    printf("sweep %d\n", n);
    for (int i = 0; i < n; i++) aio_task_cancel(live[i]);
    for (int i = 0; i < n; i++)
        if (!aio_task_done(live[i]) && !until_done(live[i])) break;
    return true;
}
static void run_program(const char *text, const char *end)
{
    int left = 0;
    set_up(read_program(text, end));
    must(make_task(0, CREATE_LAZY, NULL) == 0);
    bool ended = run->program->forever ? run_forever(run->slots[0].task)
                                       : until_done(run->slots[0].task);
    if (!ended) printf("DEADLOCK\n");
    printf("main %s\n", state_of(&run->slots[0]));
    for (int i = 0; i < SWEEPS && sweep(); i++) {}
    for (int i = 0; i < run->slot_count; i++) {
        aio_task *t = run->slots[i].task;
        printf("task t%d %s %u\n", i, state_of(&run->slots[i]), aio_task_cancelling(t));
        left += !aio_task_done(t);
    }
    printf("left %d\n", left);
    tear_down();
}

// --- files

static char *read_all(size_t *size)
{
    size_t room = 1 << 16, at = 0, n;
    char *text = malloc(room + 1);
    while (text && (n = fread(text + at, 1, room - at, stdin)) > 0)
        if ((at += n) == room) text = realloc(text, (room *= 2) + 1);
    must(text);
    text[at] = 0;
    *size = at;
    return text;
}
static const char *line_end(const char *line)
{
    const char *end = strchr(line, '\n');
    return end ? end + 1 : line + strlen(line);
}
static bool is_line(const char *line, const char *word)
{
    size_t n = strlen(word);
    return !strncmp(line, word, n) && (line[n] == '\n' || !line[n]);
}
static bool is_blank(const char *text, const char *end)
{
    while (text < end && strchr(" \n", *text)) text++;
    return text == end;
}
static void run_batch(const char *text)
{
    while (*text) {
        const char *end = text, *next;
        while (*end && !is_line(end, "===") && !is_line(end, "---")) end = line_end(end);
        for (next = end; *next && !is_line(next, "---");) next = line_end(next);
        if (!is_blank(text, end)) {
            run_program(text, end);
            printf("---\n");
        }
        text = line_end(next);
    }
}
int main(int argc, char **argv)
{
    size_t size;
    bool batch = argc == 2 && !strcmp(argv[1], "--batch");
    if (argc > 1 && !batch) die("usage: differential [--batch] < programs");
    char *text = read_all(&size);
    if (batch) run_batch(text);
    else run_program(text, text + size);
    free(text);
    return fflush(stdout) ? 2 : 0;
}
