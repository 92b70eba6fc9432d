#!/usr/bin/env python3
"""Make a program on which the oracle and the toolkit differ as small as it gets.

usage: minimise.py INTERPRETER [FILE]     FILE: one program (default: standard input); prints a smaller one

Takes out lines, blocks with their ends, and arguments of lists, as long as the traces differ at level 2.  Needs the
Python that oracle.py needs.
"""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def trace(command, program):
    try:
        done = subprocess.run(command, input=program, capture_output=True, text=True, timeout=5)
    except subprocess.TimeoutExpired:
        return None
    return None if done.returncode else re.sub(r' @\d+$', '', done.stdout, flags=re.M)


def differ(interpreter, lines):
    program = '\n'.join(lines) + '\n'
    expected = trace([sys.executable, os.path.join(HERE, 'oracle.py')], program)
    actual = trace([interpreter], program)
    return None not in (expected, actual) and actual != expected


def block_end(lines, at):
    depth = 0
    for i in range(at, len(lines)):
        word = lines[i].split()[0]
        depth += word in ('body', 'timeout', 'waitblock', 'group', 'lock', 'sem', 'cleanup')
        depth -= word == 'end'
        if depth == 0:
            return i
    return at


def smaller(lines):
    """Ways to make it smaller, larger steps first."""
    for at in range(len(lines)):
        end = block_end(lines, at)
        if end > at and not lines[at].startswith('body 0'):
            yield lines[:at] + lines[end + 1:]
    for at, line in enumerate(lines):
        end = block_end(lines, at)
        if end > at and not line.startswith('body') and 'finally' not in ' '.join(lines[at:end]):
            yield lines[:at] + lines[at + 1:end] + lines[end + 1:]
        elif end == at and line.split()[0] not in ('end', 'finally', 'body'):
            yield lines[:at] + lines[at + 1:]
    for at, line in enumerate(lines):
        words = line.split()
        if words[0] in ('gather', 'wait', 'ascomp', 'group', 'wfg', 'wfwait', 'ascompt', 'ascompb', 'fwaitm', 'fascomp'):
            yield lines[:at] + [line[:line.rindex(' ')]] + lines[at + 1:]


def main(arguments):
    text = open(arguments[1]).read() if len(arguments) > 1 else sys.stdin.read()
    lines = [line for line in text.split('\n') if line.strip() and not line.startswith(('#', '---'))]
    if not differ(arguments[0], lines):
        sys.exit('the traces do not differ')
    shrunk = True
    while shrunk:
        shrunk = False
        for candidate in smaller(lines):
            if differ(arguments[0], candidate):
                lines, shrunk = candidate, True
                break
    print('\n'.join(lines))


if __name__ == '__main__':
    main(sys.argv[1:])
