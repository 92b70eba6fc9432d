// Processes: spawning, waiting, talking to them, killing them, and that none is left behind: each
//            test
// counts descriptors, blocks and children.
#include "uring.h"
#include <termios.h>
#include <ctype.h>

static bool no_children(void)
{
    errno = 0;
    return waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD;
}
static int teardown(void **state)
{
    (void)state;
    if (no_children()) return 0;
    print_error("a child is left\n");
    return 1;
}
#define process_test(f) cmocka_unit_test_teardown(f, teardown)

// Runs a shell command to its end, with input and output.
struct shell {
    aio_frame aio;
    const char *command;
    struct aio_process_options o;
    struct aio_process_io io;
    char *argv[4];
    aio_process p;
    char out[4096], err[256];
    aio_result r;
    int64_t limit;
};
static struct shell last;       // a copy, to look at
aio_async(shell) {
    self->argv[0] = (char *)(uintptr_t)"/bin/sh";
    self->argv[1] = (char *)(uintptr_t)"-c";
    self->argv[2] = (char *)(uintptr_t)self->command;
    if (!self->o.argv) self->o.argv = self->argv;
    if (!self->io.output) {
        self->io.output = self->out;
        self->io.output_bytes = sizeof self->out - 1;
    }
    self->io.errors = self->err;
    self->io.errors_bytes = sizeof self->err - 1;
    self->r = aio_process_spawn(&self->p, &self->o);
    if (self->r >= 0)
        aio_await(self->r, aio_wait_for(self->limit ? self->limit : AIO_FOREVER,
                                        aio_process_communicate(&self->p, &self->io)));
    last = *self;
    return self->r;
} aio_end
// The loop and its ring are there already.
struct late_shell { aio_frame aio; struct shell shell; aio_result r; };
aio_async(late_shell) {
    aio_await(aio_nop());
    close(0);
    aio_await(self->r, aio_call(&self->shell, shell, .command = "test -e /proc/self/fd/0",
                                .o.stdout_ = AIO_PROCESS_PIPE));
    return self->r;
} aio_end
#define PIPES \
    .o.stdin_ = AIO_PROCESS_PIPE, .o.stdout_ = AIO_PROCESS_PIPE, .o.stderr_ = AIO_PROCESS_PIPE
#define sh(...) run(shell, .command = __VA_ARGS__)

// --- SP-1
static void SP_1_how_it_ended(void **state)
{
    (void)state;
    assert_result(sh("exit 0", PIPES), 0);
    assert_result(sh("exit 7", PIPES), 7);
    assert_result(sh("exit 255"), 255);
    aio_result r = sh("kill -KILL $$", PIPES);
    assert_result(r, 256 + SIGKILL);
    assert_int_equal(aio_process_signal(r), SIGKILL);
    assert_int_equal(aio_process_signal(255), 0);
    assert_int_equal(aio_process_signal(-ECANCELED), 0);
}
struct waiter { aio_frame aio; aio_process *p; };
aio_async(waiter) {
    aio_result r;
    aio_await(r, aio_process_wait(self->p));
    return r;
} aio_end
struct many { aio_frame aio; aio_process p; aio_task *t[4]; aio_result r[4]; aio_op op; char *argv[3]; };
aio_async(many) {
    aio_result r;
    aio_await(r, aio_process_wait(&self->p));
    if (r != -EINVAL) return -EPROTO;                   // not begun
    self->argv[0] = (char *)(uintptr_t)"sleep";
    self->argv[1] = (char *)(uintptr_t)"600";
    r = aio_process_spawn(&self->p, &(struct aio_process_options){ .argv = self->argv });
    if (r < 0) return r;
    for (int i = 0; i < 4; i++) self->t[i] = aio_spawn(waiter, .p = &self->p);
    if ((r = aio_start(&self->op, aio_process_wait(&self->p))) < 0) return r;
    aio_try(aio_next_turn());
    aio_task_cancel(self->t[1]);                        // leaves the process alone
    aio_await(r, aio_wait_for(AIO_MSEC, aio_process_wait(&self->p)));
    if (r != -ETIMEDOUT) return -EPROTO;
    r = aio_process_spawn(&self->p, &(struct aio_process_options){ .argv = self->argv });
    if (r != -EBUSY) return -EPROTO;
    if ((r = aio_process_kill(&self->p, SIGTERM)) < 0) return r;
    aio_await(r, aio_gather_all(self->t, self->r, 4));
    for (int i = 0; i < 4; i++)
        if (self->r[i] != (i == 1 ? -ECANCELED : 256 + SIGTERM)) return -EPROTO;
    aio_await(r, aio_op_wait(&self->op));
    if (r != 256 + SIGTERM) return -EPROTO;
    aio_await(r, aio_process_wait(&self->p));           // any number of times
    return r;
} aio_end
static void SP_1_many_waiters(void **state)
{
    (void)state;
    assert_result(run(many), 256 + SIGTERM);
}
static void SP_1_communicate_cannot_deadlock(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20 };
    char *in = (char *)malloc(SIZE), *out = (char *)malloc(SIZE);
    for (int i = 0; i < SIZE; i++) in[i] = (char)(i * 7 + i / 999);
    assert_result(sh("tee /dev/stderr", PIPES, .io.input = in, .io.input_bytes = SIZE,
                     .io.output = out, .io.output_bytes = SIZE),
                  0);
    assert_int_equal(last.io.input_count, SIZE);
    assert_int_equal(last.io.output_count, SIZE);
    assert_int_equal(last.io.errors_count, SIZE);       // there was room for 255
    assert_memory_equal(in, out, SIZE);
    assert_memory_equal(in, last.err, 255);
    assert_result(sh("exit 3", PIPES, .io.input = in, .io.input_bytes = SIZE), 3); // EPIPE is none
    assert_result(
        sh("exec <&-; head -c 100000 /dev/zero", PIPES, .io.input = in, .io.input_bytes = SIZE), 0);
    assert_int_equal(last.io.output_count, 100000);
    free(in);
    free(out);
}

// --- what spawn refuses
static void why_it_could_not_begin(void **state)
{
    (void)state;
    char *none[] = {(char *)(uintptr_t) "/no/such/program", NULL},
         *root[] = {(char *)(uintptr_t) "/", NULL};
    char *empty[] = { NULL }, *unknown[] = { (char *)(uintptr_t)"no-such-program-in-PATH", NULL };
    assert_result(run(shell, .o.argv = none, PIPES), -ENOENT);
    assert_result(run(shell, .o.argv = unknown, PIPES), -ENOENT);
    assert_result(run(shell, .o.argv = root, PIPES), -EACCES);
    assert_result(run(shell, .o.argv = empty), -EINVAL);
    assert_result(sh("true", .o.cwd = "/no/such/directory"), -ENOENT);
    assert_result(sh("true", .o.stdin_ = AIO_PROCESS_STDOUT), -EINVAL);
    assert_result(sh("true", .o.stdout_ = 987), -EBADF);
    assert_result(sh("true", .o.stdout_ = -17, .o.stdin_ = AIO_PROCESS_PIPE), -EINVAL);
    aio_process p;
    memset(&p, 0, sizeof p);
    assert_result(aio_process_spawn(&p, &(struct aio_process_options){ .argv = root }), -EINVAL);
    assert_result(aio_process_kill(&p, SIGTERM), -EINVAL);
}
static void no_descriptor_left(void **state)
{
    (void)state;
    struct rlimit before, low;
    int fds = uring_count_fds();
    getrlimit(RLIMIT_NOFILE, &before);
    for (int more = 3; more < 12; more++) {
        low = before;
        low.rlim_cur = (rlim_t)(fds + more);
        uring_begin();
        struct aio_loop_options o = uring_options();
        setrlimit(RLIMIT_NOFILE, &low);
        aio_result r = aio_run_with(&o, shell, .command = "exit 9", PIPES, .o.pty = more & 1);
        setrlimit(RLIMIT_NOFILE, &before);
        expect_reports();
        uring_check(__FILE__, __LINE__);
        if (r != 9) assert_result(r, -EMFILE);
    }
}
static void no_memory(void **state)
{
    (void)state;
    aio_result r = -1;
    for (long n = 1; n < 60 && r != 9; n++) {
        struct aio_loop_options o = uring_options();
        uring_begin();
        uring_memory.fail_from = n;
        r = aio_run_with(&o, shell, .command = "exit 9", PIPES);
        uring_memory.fail_from = 0;
        expect_reports();
        uring_check(__FILE__, __LINE__);
        assert_true(no_children());
        if (r != 9) assert_result(r, -ENOMEM);
    }
    assert_result(r, 9);
}

// A number that the caller has closed is closed in the child, though one of ours may have it.
static void spawn_without_stdin(void *arg)
{
    struct aio_loop_options o = uring_options();
    aio_result r;
    for (int late = 0; late < 2; late++) {
        if (!late) close(0);
        r = late ? aio_run_with(&o, late_shell)
                 : aio_run_with(&o, shell, .command = "test -e /proc/self/fd/0",
                                .o.stdout_ = AIO_PROCESS_PIPE);
        printf("%lld ", (long long)r);
        assert_int_equal(open("/dev/null", O_RDONLY), 0);
    }
    (void)arg;
    fflush(stdout);
    _exit(0);
}
static void a_number_that_is_closed(void **state)
{
    char text[256];
    (void)state;
    assert_int_equal(test_in_child(spawn_without_stdin, NULL, text, sizeof text), 0);
    assert_string_equal(text, "1 1 ");
}

// --- what it finds
static void where_its_stdio_goes(void **state)
{
    (void)state;
    char text[64] = "";
    int file = temp_file("");
    assert_result(sh("cat; echo err >&2", .o.stdin_ = AIO_PROCESS_NULL,
                     .o.stdout_ = AIO_PROCESS_PIPE, .o.stderr_ = AIO_PROCESS_STDOUT),
                  0);
    assert_string_equal(last.out, "err\n");
    assert_result(sh("echo out; echo err >&2", .o.stdout_ = file, .o.stderr_ = AIO_PROCESS_STDOUT),
                  0);
    assert_int_equal(pread(file, text, sizeof text - 1, 0), 8);
    assert_string_equal(text, "out\nerr\n");
    lseek(file, 0, SEEK_SET);
    assert_result(sh("read line; echo $line >&2", .o.stdin_ = file, .o.stdout_ = AIO_PROCESS_NULL,
                     .o.stderr_ = AIO_PROCESS_PIPE), 0);
    assert_string_equal(last.err, "out\n");
    // descriptors of ours that are its numbers, the wrong way round
    int saved[2] = { dup(1), dup(2) };
    dup2(file, 2);
    assert_result(sh("echo to 2", .o.stdout_ = 2, .o.stderr_ = 1), 0);
    dup2(saved[1], 2);
    assert_int_equal(pread(file, text, sizeof text - 1, 4), 5);
    close(saved[0]);
    close(saved[1]);
    close(file);
}
static void its_environment_and_directory(void **state)
{
    (void)state;
    char *env[] = { (char *)(uintptr_t)"ONLY=this", NULL };
    assert_result(sh("pwd; echo $ONLY; echo ${HOME-none}", PIPES, .o.cwd = "/usr", .o.env = env),
                  0);
    assert_string_equal(last.out, "/usr\nthis\nnone\n");
    setenv("AIO_TEST", "inherited", 1);
    assert_result(sh("echo $AIO_TEST", PIPES), 0);
    assert_string_equal(last.out, "inherited\n");
    // pgrp and session of the shell, in /proc/PID/stat behind the name
    assert_result(sh("read a b c d e f g </proc/$$/stat; echo $(($e == $$)) $(($f == $$))", PIPES),
                  0);
    assert_string_equal(last.out, "0 0\n");
    assert_result(sh("read a b c d e f g </proc/$$/stat; echo $(($e == $$)) $(($f == $$))", PIPES,
                     .o.new_group = true), 0);
    assert_string_equal(last.out, "1 0\n");
    assert_result(sh("read a b c d e f g </proc/$$/stat; echo $(($e == $$)) $(($f == $$))", PIPES,
                     .o.new_session = true), 0);
    assert_string_equal(last.out, "1 1\n");
}
static void no_descriptor_leaks_into_it(void **state)
{
    (void)state;
    int open_on_exec[3];
    for (int i = 0; i < 3; i++) open_on_exec[i] = dup(0);
    assert_result(sh("ls /proc/self/fd", PIPES), 0);
    for (int i = 0; i < 3; i++) close(open_on_exec[i]);
    assert_string_equal(last.out, "0\n1\n2\n3\n");      // 3: the directory itself
}
// The mask "SigBlk:" … of a child.
static unsigned long long child_mask(const char *name)
{
    const char *at = strstr(last.out, name);
    return at ? strtoull(at + strlen(name), NULL, 16) : ~0ull;
}
static unsigned long long own_mask(const char *name)
{
    char line[256];
    unsigned long long mask = ~0ull;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, name, strlen(name))) mask = strtoull(line + strlen(name), NULL, 16);
    if (f) fclose(f);
    return mask;
}
struct handles { aio_frame aio; aio_signals signals; struct shell shell; aio_result r; };
aio_async(handles) {
    if ((self->r = aio_signal_hold(&self->signals, SIGHUP, SIGUSR2)) < 0) return self->r;
    aio_await(self->r, aio_call(&self->shell, shell, .command = "cat /proc/self/status", PIPES));
    return self->r;
} aio_end
static void signals_are_as_they_were(void **state)
{
    (void)state;
    sigset_t some, before;
    unsigned long long ignored = own_mask("SigIgn:"); // whoever started the tests ignored these
    sigemptyset(&some);
    sigaddset(&some, SIGUSR1);
    sigprocmask(SIG_BLOCK, &some, &before);
    signal(SIGHUP, SIG_IGN);
    assert_result(run(handles), 0);
    signal(SIGHUP, SIG_DFL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    assert_int_equal(child_mask("SigBlk:"), 0);
    ignored &= ~(1ull << (SIGPIPE - 1));        // a program expects that one to end it
    assert_int_equal(child_mask("SigIgn:"), ignored | 1ull << (SIGHUP - 1));
    assert_int_equal(child_mask("SigCgt:"), 0);
}
static void a_terminal_of_its_own(void **state)
{
    (void)state;
    assert_result(
        sh("test -t 0 && test -t 1 && test -t 2 && tty >/dev/null && echo yes", .o.pty = true), 0);
    assert_string_equal(last.out, "yes\r\n");
    assert_result(
        sh("echo there >/dev/tty; echo out", .o.pty = true, .o.stdout_ = AIO_PROCESS_NULL), 0);
    assert_string_equal(last.out, "there\r\n");
    assert_result(
        sh("read line; echo got $line", .o.pty = true, .io.input = "word\n", .io.input_bytes = 5),
        0);
    assert_non_null(strstr(last.out, "got word\r\n"));
    assert_result(sh("echo out; echo err >&2", .o.pty = true, .o.stderr_ = AIO_PROCESS_PIPE), 0);
    assert_string_equal(last.out, "out\r\n");
    assert_string_equal(last.err, "err\n");
}

// A child that does not read its terminal does not stop the loop.
struct deaf {
    aio_frame aio;
    aio_process p;
    struct aio_process_io io;
    char input[60000];
    aio_result r;
};
aio_async(deaf) {
    {
        char *argv[] = { (char *)"sh", (char *)"-c", (char *)"exec sleep 100", NULL };
        struct aio_process_options o = { 0 };
        o.argv = argv;
        o.pty = true;
        self->r = aio_process_spawn(&self->p, &o);
    }
    assert_result(self->r, 0);
    {
        struct termios t;
        tcgetattr(self->p.pty, &t);
        cfmakeraw(&t);                          // else what is too much is dropped
        tcsetattr(self->p.pty, TCSANOW, &t);
    }
    self->io.input = self->input;
    self->io.input_bytes = sizeof self->input;
    aio_await(self->r, aio_wait_for(300 * AIO_MSEC, aio_process_communicate(&self->p, &self->io)));
    return self->r;
} aio_end
static void a_terminal_that_nobody_reads(void **state)
{
    (void)state;
    assert_result(run(deaf), -ETIMEDOUT);
}

// --- SP-2
static void SP_2_reaped_by_somebody_else(void **state)
{
    (void)state;
    signal(SIGCHLD, SIG_IGN);
    expect_reports();
    aio_result r = sh("exit 4", PIPES);
    signal(SIGCHLD, SIG_DFL);
    assert_result(r, 255);
    assert_non_null(strstr(uring_told, "reaped by somebody else"));
}
struct gone { aio_frame aio; aio_process p; char *argv[2]; aio_result r; };
aio_async(gone) {
    self->argv[0] = (char *)(uintptr_t)"true";
    self->r = aio_process_spawn(&self->p, &(struct aio_process_options){ .argv = self->argv });
    if (self->r < 0) return self->r;
    while (waitid(P_PID, (id_t)self->p.pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT) < 0) {}
    if ((self->r = aio_process_kill(&self->p, SIGTERM)) < 0) return self->r;    // a zombie
    aio_try(self->r, aio_process_wait(&self->p));
    if (aio_process_kill(&self->p, SIGTERM) != 0) return -EPROTO;               // reaped
    if (aio_process_kill(&self->p, 99) != -EINVAL) return -EPROTO;
    aio_try(aio_process_close_stdin(&self->p));
    return self->r;
} aio_end
static void SP_2_signals_to_one_that_is_gone(void **state)
{
    (void)state;
    assert_result(run(gone), 0);
}

// --- its end comes with its frame's, or its loop's
struct reads { aio_frame aio; aio_process *p; char text[16]; };
aio_async(reads) {
    aio_result r;
    aio_await(r, aio_read_some(self->p->stdout_, self->text, sizeof self->text));
    return r;
} aio_end
struct leaves { aio_frame aio; aio_process p; char *argv[3]; aio_task *t; aio_result r; bool waits; };
aio_async(leaves) {
    self->argv[0] = (char *)(uintptr_t)"sleep";
    self->argv[1] = (char *)(uintptr_t)"600";
    struct aio_process_options o = {
        .argv = self->argv, .stdin_ = AIO_PROCESS_PIPE, .stdout_ = AIO_PROCESS_PIPE};
    if ((self->r = aio_process_spawn(&self->p, &o)) < 0) return self->r;
    self->t = aio_spawn(reads, .p = &self->p);
    return 5;
} aio_end
struct outer { aio_frame aio; struct leaves inner; aio_task *reader; pid_t pid; aio_result r, read; };
aio_async(outer) {
    aio_await(self->r, aio_call(&self->inner, leaves));
    aio_await(self->read, aio_join(self->inner.t));
    if (self->read != -EBADF && self->read != 0) return -EPROTO;
    return kill(self->inner.p.pid, 0) < 0 && errno == ESRCH ? self->r : -EPROTO;
} aio_end
static void a_frame_returns_over_it(void **state)
{
    (void)state;
    assert_result(run(outer), 5);
}
struct stays { aio_frame aio; struct shell shell; aio_result r; };
aio_async(stays) {
    aio_await(self->r, aio_call(&self->shell, shell, .command = "exec sleep 600", PIPES));
    return self->r;
} aio_end
static void a_loop_closes_over_it(void **state)
{
    (void)state;
    for (int turns = 1; turns < 6; turns++) {
        aio_loop loop;
        struct aio_loop_options o = uring_options();
        uring_begin();
        assert_result(aio_loop_init(&loop, &o), 0);
        aio_detach(aio_spawn_on(&loop, stays));
        aio_detach(aio_spawn_on(&loop, shell, .command = "exit 2", PIPES));
        for (int i = 0; i < turns; i++) {
            aio_handle again;
            aio_loop_stop(&loop);
            aio_call_soon(&loop, &again, aio__nothing, NULL);
            assert_result(aio_loop_run_forever(&loop), 0);
            usleep(2000);
        }
        assert_result(aio_loop_close(&loop), 0);
        assert_true(no_children());
        uring_check(__FILE__, __LINE__);
    }
}
struct again {
    aio_frame aio;
    struct shell shell;
    aio_process p;
    char *argv[4];
    int i;
    aio_result r;
};
aio_async(again) {
    self->argv[0] = (char *)(uintptr_t)"/bin/sh";
    self->argv[1] = (char *)(uintptr_t)"-c";
    self->argv[2] = (char *)(uintptr_t)"exit 3";
    for (self->i = 0; self->i < 5; self->i++) { // what is left open of the last one is closed
        struct aio_process_options o;
        memset(&o, 0, sizeof o);
        o.argv = self->argv;
        o.stdin_ = o.stdout_ = o.stderr_ = AIO_PROCESS_PIPE;
        if ((self->r = aio_process_spawn(&self->p, &o)) < 0) return self->r;
        aio_try(self->r, aio_process_wait(&self->p));
    }
    return self->r;
} aio_end
static void one_after_the_other(void **state)
{
    (void)state;
    assert_result(run(again), 3);
}

// --- cancelling, at every await
struct cut { aio_frame aio; aio_task *t; int turns; aio_result r; };
aio_async(cut) {
    self->t = aio_spawn(shell, .command = "cat; echo e >&2; exit 6", PIPES,
                        .io.input = "some input", .io.input_bytes = 10);
    for (; self->turns; self->turns--) {
        aio_try(aio_next_turn());
        if (self->turns % 4 == 0) usleep(500);
    }
    aio_task_cancel(self->t);
    aio_await(self->r, aio_join(self->t));
    return self->r;
} aio_end
static void a_cancel_at_each_moment(void **state)
{
    (void)state;
    int cuts = 0;
    for (int turns = 0; turns < 40; turns++) {
        aio_result r = run(cut, .turns = turns);
        if (r == -ECANCELED) cuts++;
        else assert_result(r, 6);
        assert_true(no_children());
    }
    assert_true(cuts > 3);
}
// Communicating is cut short again and again, and goes on where it was.
enum { LONG = 300000 };
struct resumed {
    aio_frame aio;
    aio_process p;
    char *argv[2];
    struct aio_process_io io;
    char *in, *out;
    int cuts;
    aio_result r;
};
aio_async(resumed) {
    self->argv[0] = (char *)(uintptr_t)"cat";
    {
        struct aio_process_options o;
        memset(&o, 0, sizeof o);
        o.argv = self->argv;
        o.stdin_ = o.stdout_ = AIO_PROCESS_PIPE;
        if ((self->r = aio_process_spawn(&self->p, &o)) < 0) return self->r;
    }
    self->io.input = self->in;
    self->io.output = self->out;
    self->io.input_bytes = self->io.output_bytes = LONG;
    for (;; self->cuts++) {
        aio_await(self->r,
                  aio_wait_for(AIO_USEC * 300, aio_process_communicate(&self->p, &self->io)));
        if (self->r != -ETIMEDOUT) break;
    }
    return self->r < 0                                                           ? self->r
           : self->io.output_count == LONG && !memcmp(self->in, self->out, LONG) ? self->r
                                                                                 : -EPROTO;
} aio_end
static void cut_short_it_goes_on(void **state)
{
    (void)state;
    char *in = (char *)malloc(LONG), *out = (char *)malloc(LONG);
    for (int i = 0; i < LONG; i++) in[i] = (char)(i * 13 + i / 777);
    for (int i = 0; i < 5; i++) {
        memset(out, 0, LONG);
        assert_result(run(resumed, .in = in, .out = out), 0);
    }
    free(in);
    free(out);
}
static void a_limit(void **state)
{
    (void)state;
    assert_result(sh("echo begun; exec sleep 600", PIPES, .limit = AIO_SECOND / 5), -ETIMEDOUT);
    assert_string_equal(last.out, "begun\n");
}

// --- the virtual clock: a process is outside work
struct sleeps { aio_frame aio; };
aio_async(sleeps) { aio_try(aio_sleep(AIO_SECOND * 3600)); return 0; } aio_end
struct frozen { aio_frame aio; struct shell shell; aio_task *t; aio_result r; };
aio_async(frozen) {
    self->t = aio_spawn(sleeps);
    aio_await(self->r, aio_call(&self->shell, shell, .command = "sleep 0.05; exit 8"));
    if (aio_loop_time(aio_running_loop())) return -EPROTO;
    aio_try(aio_join(self->t));
    return self->r;
} aio_end
static void time_does_not_jump(void **state)
{
    (void)state;
    struct aio_loop_options o = uring_options();
    o.clock = AIO_CLOCK_VIRTUAL;
    uring_begin();
    assert_result(aio_run_with(&o, frozen), 8);
    uring_check(__FILE__, __LINE__);
}
static void what_it_waits_for_in_words(void **state)
{
    (void)state;
    char text[64];
    aio_process p;
    aio_waiter w;
    memset(&p, 0, sizeof p);
    p.pid = 12;
    w.node.cls = aio__process_wait_class();
    w.node.u.list.target = &p.ended;
    aio_describe(&w, text, sizeof text);
    assert_string_equal(text, "process 12");
}

// Whichever of 0, 1 and 2 are closed, or swapped, in the caller, it has its pipes, and is reaped.
struct closed_stdio { aio_frame aio; int which, swapped, save[3]; struct aio_process_options o;
                      struct shell shell; aio_result r; };
aio_async(closed_stdio) {
    aio_await(aio_nop());                               // the ring is there, and no one of the three
    for (int i = 0; i < 3; i++) self->save[i] = fcntl(i, F_DUPFD_CLOEXEC, 50);
    for (int i = 0; i < 3; i++)
        if (self->which >> i & 1) close(i);
    aio_await(self->r, aio_call(&self->shell, shell, PIPES, .o.pty = self->which & 8,
                                .command = "read a; echo out $a; echo err $a >&2; "
                                           "ls /proc/self/fd | tr '\\n' ' '; exit 7",
                                .io.input = "input\n", .io.input_bytes = 6));
    for (int i = 0; i < 3; i++) {
        dup2(self->save[i], i);
        close(self->save[i]);
    }
    return self->r;
} aio_end
static void any_of_the_three_is_closed_in_the_caller(void **state)
{
    (void)state;
    for (int which = 0; which < 16; which++) {
        assert_result(run(closed_stdio, .which = which), 7);
        assert_string_equal(last.out, "out input\n0 1 2 3 ");
        assert_string_equal(last.err, "err input\n");
    }
}
struct swapped { aio_frame aio; int order[3], save[3], pipes[2][2], in; aio_process p;
                 char *argv[4], out[64]; aio_result r; };
aio_async(swapped) {
    for (int i = 0; i < 3; i++) self->save[i] = fcntl(i, F_DUPFD_CLOEXEC, 50);
    self->in = temp_file("input\n");
    assert_int_equal(pipe2(self->pipes[0], O_CLOEXEC) | pipe2(self->pipes[1], O_CLOEXEC), 0);
    dup2(self->in, self->order[0]);                     // its stdin is one of our three …
    dup2(self->pipes[0][1], self->order[1]);
    dup2(self->pipes[1][1], self->order[2]);
    self->argv[0] = (char *)(uintptr_t)"sh", self->argv[1] = (char *)(uintptr_t)"-c";
    self->argv[2] = (char *)(uintptr_t)"read a; echo out $a; echo err $a >&2";
    self->r = aio_process_spawn(&self->p, &(struct aio_process_options){ .argv = self->argv,
        .stdin_ = self->order[0], .stdout_ = self->order[1], .stderr_ = self->order[2] });
    for (int i = 0; i < 3; i++) {
        dup2(self->save[i], i);
        close(self->save[i]);
    }
    close(40);
    if (self->r >= 0) aio_await(self->r, aio_process_wait(&self->p));
    close(self->pipes[0][1]), close(self->pipes[1][1]), close(self->in);
    assert_int_equal(read(self->pipes[0][0], self->out, 64), 10);
    assert_memory_equal(self->out, "out input\n", 10);
    assert_int_equal(read(self->pipes[1][0], self->out, 64), 10);
    assert_memory_equal(self->out, "err input\n", 10);
    close(self->pipes[0][0]), close(self->pipes[1][0]);
    return self->r;
} aio_end
static void the_three_are_swapped(void **state)
{
    (void)state;
    static const int orders[][3] = { { 1, 2, 40 }, { 2, 1, 40 }, { 40, 2, 1 }, { 1, 40, 2 } };
    for (size_t i = 0; i < 4; i++)
        assert_result(run(swapped, .order[0] = orders[i][0], .order[1] = orders[i][1],
                          .order[2] = orders[i][2]), 0);
}
// It is looked for in the PATH of its own environment: the first that there is; a folder, what may
// not be run and what is no folder are passed over; a script without a first line is a shell's.
static void its_program_is_looked_for_in_its_own_path(void **state)
{
    char folder[] = "/tmp/aio-path-XXXXXX", a[64], b[64], file[80], path[300], word[300];
    (void)state;
    static char name[] = "only-here", argument[] = "word", other[] = "sh", none[] = "";
    static char *argv[3], *env[3];
    struct {
        const char *path;       // A, B: our folders
        char *program;
        aio_result r;
        const char *out;
    } table[] = {
        { "A", name, -EACCES, "" },     { "B", name, 3, "B word" },    { "A:B", name, 3, "B word" },
        { "/none:B", name, 3, "B word" }, { "/etc/passwd:B", name, 3, "B word" },
        { ":B", name, 3, "B word" },    { "", name, -ENOENT, "" },     { "/none", other, -ENOENT, "" },
        { "B", other, -ENOENT, "" },    { NULL, name, -ENOENT, "" },   { "B", none, -ENOENT, "" },
    };
    assert_non_null(mkdtemp(folder));
    snprintf(a, sizeof a, "%s/a", folder), snprintf(b, sizeof b, "%s/b", folder);
    mkdir(a, 0700), mkdir(b, 0700);
    for (int i = 0; i < 2; i++) {
        snprintf(file, sizeof file, "%s/only-here", i ? b : a);
        FILE *f = fopen(file, "we");
        fprintf(f, "echo -n %s $1; exit 3\n", i ? "B" : "A");
        fclose(f);
        chmod(file, i ? 0700 : 0600);
    }
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        size_t at = 5;
        strcpy(path, "PATH=");
        for (const char *p = table[i].path; p && *p; p++)
            at += (size_t)snprintf(path + at, sizeof path - at, *p == 'A' ? "%s" : *p == 'B' ? "%s" : "%.1s",
                                   *p == 'A' ? a : *p == 'B' ? b : p);
        argv[0] = table[i].program, argv[1] = argument, argv[2] = NULL;
        env[0] = table[i].path ? path : NULL;
        struct aio_process_options o = { .argv = argv, .env = env, .stdout_ = AIO_PROCESS_PIPE };
        memset(last.out, 0, sizeof last.out);
        aio_result r = run(shell, .o = o);
        if (r != table[i].r) print_error("row %zu: %s\n", i, aio_strerror(r));
        assert_result(r, table[i].r);
        if (r >= 0) assert_string_equal(last.out, table[i].out);
    }
    snprintf(word, sizeof word, "rm -r %s", folder);
    assert_int_equal(system(word), 0);
}
// Who takes a descriptor over is its only owner from then on.
struct one_owner { aio_frame aio; int how, victim; aio_process p; aio_stream s; char *argv[4];
                   aio_bytes line; aio_result r; };
aio_async(one_owner) {
    self->argv[0] = (char *)(uintptr_t)"sh", self->argv[1] = (char *)(uintptr_t)"-c";
    self->argv[2] = (char *)(uintptr_t)"echo hello";
    self->r = aio_process_spawn(&self->p, &(struct aio_process_options){ .argv = self->argv,
        .stdout_ = AIO_PROCESS_PIPE });
    if (self->r < 0) return self->r;
    self->victim = self->p.stdout_;
    if (self->how == 0) {
        aio_try(aio_stream_open(&self->s, self->p.stdout_, -1, NULL));
        assert_int_equal(self->p.stdout_, -1);
        aio_try(aio_stream_read_line(&self->s, &self->line));
        aio_await(aio_stream_close(&self->s));
    } else {
        aio_await(aio_close(self->p.stdout_));
        assert_int_equal(self->p.stdout_, -1);
    }
    self->r = open("/dev/null", O_RDONLY | O_CLOEXEC);          // another part of the program
    assert_int_equal(self->r, self->victim);
    if (self->how == 2) {                                       // begun once more, in its place
        aio_await(aio_process_wait(&self->p));
        self->r = aio_process_spawn(&self->p, &(struct aio_process_options){ .argv = self->argv });
        if (self->r < 0) return self->r;
    }
    return self->victim;
} aio_end
struct owners { aio_frame aio; int how; struct one_owner inner; aio_result r; };
aio_async(owners) {
    aio_try(self->r, aio_call(&self->inner, one_owner, .how = self->how));
    assert_true(fcntl((int)self->r, F_GETFD) >= 0);
    close((int)self->r);
    return 0;
} aio_end
static void a_descriptor_has_one_owner(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) assert_result(run(owners, .how = how), 0);
}

// Its input is not wanted; the loop is no aio_run's, and SIGPIPE is at its default.
struct unwanted { aio_frame aio; aio_process p; struct aio_process_io io; char *argv[2]; aio_result r; };
aio_async(unwanted) {
    static char big[1 << 20];
    static char name[] = "true";
    self->argv[0] = name;
    self->r = aio_process_spawn(&self->p, &(struct aio_process_options){
        .argv = self->argv, .stdin_ = AIO_PROCESS_PIPE });
    if (self->r < 0) return self->r;
    self->io.input = big;
    self->io.input_bytes = sizeof big;
    aio_await(self->r, aio_process_communicate(&self->p, &self->io));
    return self->r;
} aio_end
static void input_that_is_not_wanted_on_a_loop_of_ones_own(void **state)
{
    (void)state;
    struct aio_loop_options o = uring_options();
    struct sigaction before;
    aio_loop l;
    sigaction(SIGPIPE, NULL, &before);
    signal(SIGPIPE, SIG_DFL);
    assert_result(aio_loop_init(&l, &o), 0);
    aio_task *t = aio_spawn_on(&l, unwanted);
    assert_result(aio_loop_run_until_complete(&l, t), 0);
    aio_detach(t);
    assert_result(aio_loop_close(&l), 0);
    sigaction(SIGPIPE, &before, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        process_test(SP_1_how_it_ended),
        process_test(SP_1_many_waiters),
        process_test(SP_1_communicate_cannot_deadlock),
        process_test(input_that_is_not_wanted_on_a_loop_of_ones_own),
        process_test(why_it_could_not_begin),
        process_test(no_descriptor_left),
        process_test(a_number_that_is_closed),
        process_test(any_of_the_three_is_closed_in_the_caller),
        process_test(the_three_are_swapped),
        process_test(its_program_is_looked_for_in_its_own_path),
        process_test(a_descriptor_has_one_owner),
        process_test(no_memory),
        process_test(where_its_stdio_goes),
        process_test(its_environment_and_directory),
        process_test(no_descriptor_leaks_into_it),
        process_test(signals_are_as_they_were),
        process_test(a_terminal_of_its_own),
        process_test(a_terminal_that_nobody_reads),
        process_test(SP_2_reaped_by_somebody_else),
        process_test(SP_2_signals_to_one_that_is_gone),
        process_test(a_frame_returns_over_it),
        process_test(a_loop_closes_over_it),
        process_test(one_after_the_other),
        process_test(a_cancel_at_each_moment),
        process_test(cut_short_it_goes_on),
        process_test(a_limit),
        process_test(time_does_not_jump),
        process_test(what_it_waits_for_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
