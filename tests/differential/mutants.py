#!/usr/bin/env python3
"""Show that the comparison can fail: break the headers in small ways, one rule each, and count the programs that notice.

usage: mutants.py [TEXT]      TEXT: only mutants whose name contains it; needs cc and xz, no CPython of any version

Each mutant is a copy of the headers with one piece of text replaced; the interpreter is built on it and runs the
directed programs and both corpora.  Prints how many traces differ at level 2 in each, and an interpreter that stops
counts as noticed.  Exit status 1 if a mutant goes unnoticed, or its text is in no header any more.
"""
import glob
import lzma
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

# rule and what is broken, header, text, what stands there instead
MUTANTS = [
    ('C-2 a task that is cancelled before its first step starts', 'aio.h',
     'if (must_cancel && aio__never_started(t)) {', 'if (0) {'),
    ('C-4 a result beats a cancel that came after it', 'aio.h',
     'must_cancel ? -ECANCELED : w->future.result; // C-4', 'w->future.result; // C-4'),
    ('C-7 a cancel that is pending at the return is lost', 'aio.h',
     'if (AIO__UNLIKELY(f->flags & AIO__MUST_CANCEL) && r >= 0) {', 'if (0) {'),
    ('C-8 one cancel is delivered twice', 'aio.h',
     'if (r == -ECANCELED) w->future.flags &= ~(uint32_t)AIO__MUST_CANCEL;    // C-8', ''),
    ('C-10 uncancel forgets nothing', 'aio.h', '&= ~(uint32_t)(AIO__MUST_CANCEL | AIO__CANCEL_ASKED);   // C-10', '&= ~0u;'),
    ('G-6 a gather forgets that it was cancelled', 'aio.h', 'm->cancel_asked ? -ECANCELED : 0', '0'),
    ('W-4 a cancelled one counts as failed', 'aio.h',
     'v->failed = f->result < 0 && !(f->flags & AIO__CANCELLED);', 'v->failed = f->result < 0;'),
    ('LK-1 a lock is taken past those who wait', 'aio.h', 'if (k->locked || k->live) return false;', 'if (k->locked) return false;'),
    ('SM-3 a cancelled one keeps its unit', 'aio.h', 'if (cancelled) s->value++;', ''),
    ('TG-4 a cancelled child is an error', 'aio.h', 'bool failed = f->result < 0 && !(f->flags & AIO__CANCELLED);            // TG-4',
     'bool failed = f->result < 0;'),
    ('TG-5 a second error of a group is lost', 'aio.h', 'if (g->error_count < AIO_GROUP_ERRORS) {', 'if (g->error_count < 1) {'),
    ('TG-9 a cancel that came beside an error is lost', 'aio.h', 'if (parent->cancelling) {', 'if (0) {'),
    ('Q-3 a put wakes nobody', 'aio.h', 'aio__queue_wake(&q->getters);               // Q-3', ''),
    ('F-8 nobody is told of a task\'s error', 'aio.h',
     'aio__report(x, "task error was never retrieved"', 'if (0) aio__report(x, "task error was never retrieved"'),
    ('F-8 nobody is told of a future\'s error', 'aio.h', 'aio__report(aio__open_or_running(f->loop), "future',
     'if (0) aio__report(aio__open_or_running(f->loop), "future'),
    ('F-5 a done-callback that fails is not told', 'aio.h', 'if (AIO__UNLIKELY(r < 0)) aio__report(aio__running(), "a done', 'if (0) aio__report(0, "a done'),
    ('L-17 a callback that fails is not told', 'aio_loop.h', 'aio__loop_say(l, "a callback failed", r);', '(void)l;'),
    ('L-14 a callback of the own thread goes behind', 'aio_loop.h', 'aio__running() == &l->executor && aio_call_soon', '0 && aio_call_soon'),
    ('H-2 timers of one moment fire last first', 'aio_loop.h', '(a.node->u.timer.seq - b.node->u.timer.seq) < 0;', '(a.node->u.timer.seq - b.node->u.timer.seq) > 0;'),
    ('TO-2 what is due already goes through the timers', 'aio_loop.h', 'if (when <= aio_loop_time(l)) return aio_call_soon', 'if (0) return aio_call_soon'),
    ('WF-1 of two limits the shorter one', 'aio_loop.h', '    if (kind == AIO__AWAIT_WAIT_FOR)\n',
     '    if (kind == AIO__AWAIT_WAIT_FOR) {\n        if (ns < a.u.i[8]) a.u.i[8] = ns;\n        return a;\n    }\n    if (0)\n'),
    ('WF-1 a wait without a limit stays a future', 'aio_loop.h', 'if (ns == AIO_FOREVER && !future) return a;', 'if (ns == AIO_FOREVER) return a;'),
    ('WF-4 a gather under a limit of 0 does not begin', 'aio_loop.h',
     'case AIO__AWAIT_GATHER: return aio__sync_await(aio__cut_gather_await(), inner);', ''),
    ('WF-4 its end takes no turn', 'aio_loop.h', 'aio__late(w, r == -ECANCELED ? -ETIMEDOUT : r, 0);', 'aio__late(w, r == -ECANCELED ? -ETIMEDOUT : r, 1);'),
    ('WF-4 a shield that is done does not pass', 'aio_loop.h', 'return aio_future_done((aio_future *)inner->u.p[0]) ? *inner', 'return 0 ? *inner'),
    ('AC-2 an iteration has no limit', 'aio_loop.h', 'r = aio_call_later(l, &i->timer, ns, aio__completed_expired, it->many);', 'r = 0;'),
]


def records(text):
    return [re.sub(r' @\d+$', '', r, flags=re.M).strip('\n') for r in ('\n' + text).split('\n---\n') if r.strip()]


def inputs():
    """name -> programs with their traces, as one text."""
    directed = ''
    for program in sorted(glob.glob(HERE + '/directed/*.txt') + glob.glob(HERE + '/corpus/directed/*.txt')):
        with open(program) as text, open(program[:-4] + '.trace') as trace:
            directed += text.read() + '===\n' + trace.read() + '---\n'
    result = {'directed': directed}
    for name in ('random', 'extended'):
        result[name] = lzma.open(f'{HERE}/corpus/{name}.xz', 'rt').read()
    return result


def build(folder):
    subprocess.run([os.environ.get('CC', 'cc'), '-O1', '-w', '-iquote', folder, '-pthread', '-o', folder + '/differential',
                    HERE + '/interpreter.c'], check=True)


def noticed(folder, text):
    """How many traces differ; a run that stops or takes too long: the rest of them."""
    expected = [r.split('\n===\n')[-1] for r in records(text)]
    try:
        done = subprocess.run([folder + '/differential', '--batch'], input=text, capture_output=True, text=True,
                              timeout=60)
        actual = records(done.stdout)
    except subprocess.TimeoutExpired:
        return len(expected)
    same = sum(a == b for a, b in zip(expected, actual))
    return len(expected) - same


def main(arguments):
    programs, bad = inputs(), 0
    with tempfile.TemporaryDirectory() as folder:
        for name, header, old, new in [('nothing is broken', 'aio.h', '', '')] + MUTANTS:
            if arguments and arguments[0] not in name:
                continue
            for file in ('aio.h', 'aio_loop.h'):
                with open(f'{ROOT}/{file}') as source, open(f'{folder}/{file}', 'w') as copy:
                    text = source.read()
                    found = file != header or old in text
                    copy.write(text.replace(old, new) if old and file == header else text)
                    if not found:
                        print(f'not in {file} any more: {name}')
                        bad += 1
            build(folder)
            counts = {kind: noticed(folder, text) for kind, text in programs.items()}
            print(' '.join(f'{count:5} {kind}' for kind, count in counts.items()), '', name, flush=True)
            bad += (sum(counts.values()) == 0) == bool(old)
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
