#!/usr/bin/env python3
"""Print random programs of the extended format (FORMAT.md, section 11): dense ones.

usage: generate_dense.py SEED [COUNT]     as generate.py

Many tasks at few moments: towers of scopes whose deadlines coincide, limits around limits and of 0, storms of
cancels, waits that stand in chains, diamonds and cycles, callbacks that act on every primitive, spawn and fail,
leftovers that refuse to end.  The same seed gives the same program on every Python >= 3.8.
"""
import sys

from generate import Random

# What stands for an argument: t ticks, l limit, k task to wait for, K list of them, a any task, f future, F list,
# v value, m mode, n count, b body, B bodies, y yes or no, s number of an act, x what it acts on, h handle.
WAITS = {
    'sleep': 't', 'yield': '', 'await': 'k', 'join': 'k', 'shield': 'k', 'waitfor': 'lk', 'gather': 'yK', 'wait': 'mlK',
    'ascomp': 'K', 'fwait': 'f', 'fwaitfor': 'lf', 'ewait': '', 'bwait': '', 'qput': 'v', 'qget': '', 'qjoin': '',
    'cwait': 't', 'cnotify': 'nt', 'gen': 'ntn', 'call': 'b', 'aself': '', 'wfsh': 'lk', 'wfw': 'llf', 'wfwt': 'llk',
    'wfs': 'lt', 'wfe': 'l', 'wfq': 'l', 'wfp': 'lv', 'wfj': 'l', 'wfbar': 'l', 'wfg': 'lyK', 'wfwait': 'lmlK',
    'ascompt': 'lK', 'ascompb': 'nK', 'fwaitm': 'mlF', 'fascomp': 'lF', 'cwf': 'l', 'cpred': 'n', 'cadd': 'nt',
    'semwf': 'lt', 'lockwf': 'lt', 'gent': 'lntnt', 'genb': 'bnn',
}
ACTS = {
    'cancel': 'a', 'cself': '', 'uncancel': '', 'spawn': 'b', 'eager': 'b', 'gspawn': 'b', 'raise': 'v',
    'resched': 'l', 'resched2': 'nl', 'fset': 'fv', 'ferr': 'fv', 'fcancel': 'f', 'fres': 'f', 'fnew': 'f',
    'fcb': 'fv', 'funcb': 'fv', 'tcb': 'av', 'lockrel': '', 'semrel': '', 'cnow': 'n', 'eset': '', 'eclr': '',
    'breset': '', 'babort': '', 'qputn': 'v', 'qgetn': '', 'qdone': '', 'qshut': 'y', 'soon': 'sx', 'later': 'tsx',
    'soonts': 'sx', 'tcbact': 'asx', 'fcbact': 'fsx', 'hcancel': 'h', 'stop': '',
}
BLOCKS = {'timeout': 'l', 'waitblock': 'l', 'group': 'B', 'lock': '', 'sem': '', 'cleanup': ''}
ARGUMENTS = {**WAITS, **ACTS, **BLOCKS}
OFTEN = {'sleep': 4, 'yield': 2, 'cancel': 6, 'gather': 2, 'await': 2, 'spawn': 2, 'later': 2, 'fnew': 2, 'uncancel': 2,
         'timeout': 3, 'waitblock': 2, 'group': 2, 'cleanup': 2, 'wfg': 2, 'wfsh': 2, 'wfwt': 2}
SELDOM = ('aself', 'qshut', 'babort', 'stop', 'raise', 'lock', 'sem')
MOST_LINES = 440


class Dense:
    def __init__(self, seed):
        self.r = r = Random(seed * 7 + 3)
        self.lines = []
        self.bodies = r.pick((2, 4, 5, 6, 7, 8, 8))
        self.span = r.pick((1, 1, 2, 2, 3, 5))
        self.hot = r.pick((0, 0, 1, 2, 3, 4, 8))          # a moment that much of it uses
        self.raises = r.pick((10, 25, 40, 60, 80))        # percent of policy r
        self.deep = r.pick((0, 10, 10, 30, 60))           # percent of pieces that are towers
        self.weights = {op: self.weight(op) for op in ARGUMENTS}

    def weight(self, op):
        """Swarm: in each program other ops are missing, or frequent."""
        weight = self.r.pick((0, 1, 1, 1, 2, 8))
        if op in SELDOM:
            return weight // 8
        return weight * OFTEN.get(op, 1) * 2

    # ---- arguments

    def ticks(self):
        return self.hot if self.r.chance(40) else self.r.upto(0, self.span)

    def limit(self):
        return self.r.pick((-1, 0, 0, max(1, self.hot), self.ticks(), self.ticks(), 1 + self.ticks()))

    def task(self):
        return self.r.pick((0, 0, 0, 1, 1, 2, 3, self.r.upto(0, 23)))

    def argument(self, kind, body):
        r = self.r
        if kind == 'K':
            ks = [self.task() for _ in range(r.pick((1, 2, 2, 3, 4, 6)))]
            return ks + ks[:1] if r.chance(15) else ks
        if kind == 'F':
            return [r.upto(0, 3) for _ in range(r.upto(1, 4))]
        if kind == 'B':
            return [r.upto(body + 1, self.bodies - 1) for _ in range(r.pick((0, 1, 1, 2, 3)))] if self.more(body) else []
        return [{
            't': self.ticks, 'l': self.limit, 'k': self.task, 'a': lambda: r.upto(0, 23), 'f': lambda: r.upto(0, 2),
            'v': lambda: r.upto(0, 9), 'm': lambda: r.upto(0, 2), 'n': lambda: r.upto(0, 3),
            'b': lambda: r.upto(body + 1, self.bodies - 1), 'y': lambda: r.upto(0, 1),
            's': lambda: r.pick((2, 2, 2, 14, 16, 19 if self.weights['stop'] else 2, r.upto(0, 18), r.upto(0, 18), r.upto(20, 23))),
            'x': lambda: r.upto(0, 23), 'h': lambda: r.upto(0, 63),
        }[kind]()]

    def more(self, body):
        return body < self.bodies - 1

    # ---- lines

    def put(self, depth, *words):
        self.lines.append('  ' * depth + ' '.join(str(word) for word in words))

    def op(self, depth, body, name, policy=None):
        arguments = [number for kind in ARGUMENTS[name] for number in self.argument(kind, body)]
        self.put(depth, name, policy or ('r' if self.r.chance(self.raises) else 'c'), *arguments)

    def choose(self, names, body):
        names = [n for n in names for _ in range(self.weights[n]) if 'b' not in ARGUMENTS[n] or self.more(body)]
        return self.r.pick(names or ['yield'])

    def some(self, depth, body):
        """A wait, or a few acts."""
        r = self.r
        if r.chance(55):
            return self.op(depth, body, self.choose(WAITS, body))
        for _ in range(r.pick((1, 1, 2, 3, 5))):
            self.op(depth, body, self.choose(ACTS, body), 'c' if r.chance(70) else None)
        return None

    def tower(self, depth, body, height):
        r = self.r
        if height == 0 or depth > 10 or len(self.lines) > MOST_LINES - 60:
            for _ in range(r.upto(1, 3)):
                self.some(depth, body)
            return
        name = self.choose(BLOCKS, body)
        if name == 'yield':
            name = 'timeout'
        self.op(depth, body, name)
        if r.chance(25):
            self.some(depth + 1, body)
        self.tower(depth + 1, body, height - 1)
        if r.chance(35):
            self.some(depth + 1, body)
        if name == 'cleanup':
            self.put(depth, 'finally')
            for _ in range(r.upto(1, 2)):
                self.some(depth + 1, body)
        self.put(depth, 'end')

    def piece(self, depth, body):
        if self.r.chance(self.deep):
            self.tower(depth, body, self.r.upto(2, 8))
        elif self.r.chance(35):
            self.tower(depth, body, 1)
        else:
            self.some(depth, body)

    def settings(self):
        r = self.r
        self.put(0, 'queue', r.upto(0, 2), r.pick((1, 1, 1, 2, 3)))
        self.put(0, 'semaphore', r.pick((1, 1, 2, 3)))
        self.put(0, 'barrier', r.pick((1, 2, 2, 3, 4)))
        if r.chance(25):
            self.put(0, 'size', *r.pick(((40, 600), (100, 1000), (240, 2000))))
        for name, percent in (('reports', 70), ('cycles', 30), ('forever', 12)):
            if r.chance(percent):
                self.put(0, name)

    def program(self):
        r = self.r
        self.settings()
        for body in range(self.bodies):
            self.put(0, 'body', body)
            if body == 0:
                self.main()
            else:
                for _ in range(r.upto(1, 5)):
                    if len(self.lines) < MOST_LINES:
                        self.piece(1, body)
            self.put(0, 'end')
        return '\n'.join(self.lines) + '\n'

    def main(self):
        r = self.r
        same = r.upto(1, self.bodies - 1) if r.chance(35) else 0
        for _ in range(r.upto(2, 12)):
            self.put(1, 'eager' if r.chance(8) else 'spawn', 'c', same or r.upto(1, self.bodies - 1))
        for _ in range(r.upto(0, 3)):
            self.op(1, 0, 'later', 'c')
        for _ in range(r.upto(2, 6)):
            self.piece(1, 0)
        if r.chance(60):
            self.put(1, 'gather', 'c', 1, *[r.upto(0, 23) for _ in range(r.upto(2, 9))])


def main(arguments):
    first = int(arguments[0])
    if len(arguments) == 1:
        sys.stdout.write(Dense(first).program())
        return
    for seed in range(first, first + int(arguments[1])):
        sys.stdout.write('# dense %d\n%s---\n' % (seed, Dense(seed).program()))


if __name__ == '__main__':
    main(sys.argv[1:])
