// Two coroutines on a bare executor: no libc, no start files, memory from a static array. On the
// host it has its own _start and two system calls; on a microcontroller it would be the main loop.
#include "aio.h"

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);

struct channel {
    aio_future future;
    int value;
};
struct producer {
    aio_frame aio;
    struct channel *to;
    int i;
};
struct consumer {
    aio_frame aio;
    struct channel *from;
    aio_task *producer;
    int sum;
};
aio_async(producer) {
    for (self->i = 1; self->i <= 10; self->i++) {
        while (aio_future_done(&self->to->future)) aio_try(aio_next_turn());
        self->to->value = self->i;
        aio_future_set_result(&self->to->future, 0);
        aio_try(aio_next_turn());
    }
    return self->i - 1;
} aio_end
aio_async(consumer) {
    int r;
    self->producer = aio_spawn(producer, .to = self->from);
    while (self->from->value < 10) {
        aio_try(aio_future_wait(&self->from->future));
        self->sum += self->from->value;
        aio_future_destroy(&self->from->future);
    }
    aio_try(r, aio_join(self->producer));
    return self->sum * 100 + r;
} aio_end

static char pool[8192] __attribute__((aligned(16)));
static size_t pool_used;
static void *allocate(void *context, size_t size)
{
    (void)context;
    size = (size + 15) & ~(size_t)15;
    if (sizeof pool - pool_used < size) return 0;
    pool_used += size;
    return pool + pool_used - size;
}
static void release(void *context, void *block) { (void)context; (void)block; }

int demo(void);
int demo(void)
{
    static struct channel channel;
    static aio_executor executor;
    struct aio_executor_options options;
    memset(&options, 0, sizeof options);
    options.allocator.allocate = allocate;
    options.allocator.release = release;
    if (aio_executor_init(&executor, &options) < 0) return 2;
    aio_task *t = aio_spawn_on(&executor, consumer, .from = &channel);
    while (!aio_task_done(t) && aio_executor_turn(&executor)) {}
    aio_result r = aio_task_result(t);
    aio_detach(t);
    aio_executor_close(&executor);
    return r == 5510 ? 0 : 1;
}

#ifdef HOST
void *memcpy(void *to, const void *from, size_t n)
{
    char *t = (char *)to;
    const char *f = (const char *)from;
    while (n--) {
        *t++ = *f++;
        __asm__("" : "+r"(t));      // or the compiler makes this loop a call of memcpy
    }
    return to;
}
void *memset(void *to, int byte, size_t n)
{
    char *t = (char *)to;
    while (n--) {
        *t++ = (char)byte;
        __asm__("" : "+r"(t));
    }
    return to;
}
static long system_call(long number, long a, long b, long c)
{
    long r;
#  if defined __x86_64__
    __asm__ volatile("syscall" : "=a"(r) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
#  elif defined __aarch64__
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b,
                     x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    r = x0;
#  elif defined __i386__
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
#  else
#    error "system_call: not for this machine"
#  endif
    return r;
}
#  if defined __x86_64__
enum { CALL_WRITE = 1, CALL_EXIT = 60 };
#  elif defined __i386__
enum { CALL_WRITE = 4, CALL_EXIT = 1 };
#  else
enum { CALL_WRITE = 64, CALL_EXIT = 93 };
#  endif
#  ifndef DEMO
#    define DEMO demo
#  endif
void begin(void);
void begin(void)
{
    static const char good[] = "freestanding: ok\n", bad[] = "freestanding: wrong\n";
    int r = DEMO();
    if (r) system_call(CALL_WRITE, 1, (long)bad, sizeof bad - 1);
    else system_call(CALL_WRITE, 1, (long)good, sizeof good - 1);
    system_call(CALL_EXIT, r, 0, 0);
    for (;;) {}
}
#  if defined __x86_64__
__asm__(".globl _start\n_start: xor %ebp, %ebp\n and $-16, %rsp\n call begin\n hlt\n");
#  elif defined __i386__
__asm__(".globl _start\n_start: xor %ebp, %ebp\n and $-16, %esp\n call begin\n hlt\n");
#  else
__asm__(".globl _start\n_start: bl begin\n");
#  endif
#endif
