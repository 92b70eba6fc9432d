// 25_pipeline - several commands, each reading what the one before it writes, as a shell's `a | b |
// c`.
//
// Shows:  processes with pipes, all of them running at a time; what each one ended with; a copy of
//         the standard input through a coroutine, which sees every byte (tee); Ctrl-C and SIGTERM:
//         the frame returns, and that ends every process.
// Run:    cc -O2 -iquote . examples/25_pipeline.c -o pipeline -luring
//         echo b a c | ./pipeline COPY "tr ' ' '\n'" "sort" "head -n 2"      (COPY: a file, or -)
// Prints: the last one's output; on standard error, each command that did not end with 0. Exits
//         with the last one's status.
#include "aio_io_uring.h"

enum { COMMANDS = 16 };

struct stage {
    aio_process process;
    const char *command;
    char *argv[4];
};

// Copies standard input to the first command, and to a file.
struct tee {
    aio_frame aio;
    aio_process *to;
    int copy;
    aio_result n;
    char buf[65536];
};
aio_scratch(tee, buf);

aio_async(tee) {
    for (;;) {
        aio_try(self->n, aio_read_some(0, self->buf, sizeof self->buf));
        if (self->n == 0) break;
        if (self->copy >= 0) aio_try(aio_write_all(self->copy, self->buf, (size_t)self->n));
        aio_result r;
        aio_await(r, aio_write_all(self->to->stdin_, self->buf, (size_t)self->n));
        if (r == -EPIPE) break;                         // it has read enough
        if (r < 0) return r;
    }
    aio_try(aio_process_close_stdin(self->to));         // that is how it learns of the end
    return 0;
} aio_end

struct terminator { aio_frame aio; aio_task *main; };

aio_async(terminator) {
    aio_try(aio_signal_wait(SIGTERM, SIGHUP));
    aio_task_cancel(self->main);
    return 0;
} aio_end

struct pipeline {
    aio_frame aio;
    char **commands;
    int count, copy, i;
    struct stage stages[COMMANDS];
    aio_task *tee;
    aio_result r;
};

// A command reads the pipe of the one before it, and writes into one of its own; the last: our
// output.
static aio_result begin(struct pipeline *p, int i)
{
    struct stage *s = &p->stages[i], *before = i ? s - 1 : NULL;
    struct aio_process_options o;
    memset(&o, 0, sizeof o);
    s->command = p->commands[i];
    s->argv[0] = (char *)"sh";
    s->argv[1] = (char *)"-c";
    s->argv[2] = p->commands[i];
    o.argv = s->argv;
    o.stdin_ = before ? before->process.stdout_ : AIO_PROCESS_PIPE;
    o.stdout_ = i + 1 < p->count ? AIO_PROCESS_PIPE : AIO_PROCESS_INHERIT;
    aio_result r = aio_process_spawn(&s->process, &o);
    if (r < 0 || !before) return r;
    close(before->process.stdout_);                     // the pipe is theirs now: both must see its end
    before->process.stdout_ = -1;
    return 0;
}

aio_async(pipeline) {
    aio_detach(aio_spawn(terminator, .main = aio_current_task()));
    for (self->i = 0; self->i < self->count; self->i++) {
        if ((self->r = begin(self, self->i)) >= 0) continue;
        fprintf(stderr, "pipeline: %s: %s\n", self->commands[self->i], strerror((int)-self->r));
        return self->r;                                 // ends those that have begun
    }
    self->tee = aio_spawn(tee, .to = &self->stages[0].process, .copy = self->copy);
    for (self->i = 0; self->i < self->count; self->i++) {
        aio_try(self->r, aio_process_wait(&self->stages[self->i].process));
        if (aio_process_signal(self->r))
            fprintf(stderr, "pipeline: %s: %s\n", self->stages[self->i].command,
                    strsignal(aio_process_signal(self->r)));
        else if (self->r)
            fprintf(stderr, "pipeline: %s: exit %d\n", self->stages[self->i].command, (int)self->r);
        if (self->i == 0) aio_task_cancel(self->tee);   // nobody reads any more
    }
    aio_await(aio_join(self->tee));
    return aio_process_signal(self->r) ? 128 + aio_process_signal(self->r) : self->r;
} aio_end

int main(int argc, char **argv)
{
    int copy = -1;
    if (argc < 3 || argc - 2 > COMMANDS) {
        fprintf(stderr, "use: pipeline COPY COMMAND... (COPY: a file for what comes in, or -)\n");
        return 2;
    }
    if (strcmp(argv[1], "-")) copy = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (strcmp(argv[1], "-") && copy < 0) {
        fprintf(stderr, "pipeline: %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    aio_result r = aio_run(pipeline, .commands = argv + 2, .count = argc - 2, .copy = copy);
    return r == -EINTR ? 130 : r == -ECANCELED ? 143 : r < 0 ? 1 : (int)r;
}
