#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Test runners that hang in fork(), before the test begins.

Criterion forks with a thread of its own beside, and allocates in the child before it executes the test.  If that thread was in the
allocator of an older AddressSanitizer (gcc 12), which fork(2) does not wait for, the child waits for its lock for ever, and the
runner for the child.  Nothing of ours has run there.  Such a child is told by its command line, which is still the runner's.

Run by itself this plants one, and a child that is none, and looks what becomes of them."""
import os, shutil, signal, subprocess, sys, tempfile, threading

AGE = 60  # seconds; from fork to exec it takes milliseconds


def command(pid):
    with open(f'/proc/{pid}/cmdline', 'rb') as f:
        return f.read().split(b'\0')


def stat(pid):
    """state, parent, seconds since the start"""
    with open(f'/proc/{pid}/stat') as f:
        fields = f.read().rpartition(')')[2].split()
    with open('/proc/uptime') as f:
        now = float(f.read().split()[0])
    return fields[0], int(fields[1]), now - int(fields[19]) / os.sysconf('SC_CLK_TCK')


def find(bindir, age):
    """(child, name of the program) of each that hangs"""
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            state, parent, old = stat(pid)
            if state != 'S' or old < age or not parent:
                continue
            args = command(parent)
            where, name = os.path.split(os.fsdecode(args[0]))
            if os.path.realpath(where) == bindir and name.startswith('test_') and args == command(pid):
                yield int(pid), name
        except (FileNotFoundError, ProcessLookupError):
            continue


class Watch:
    """While it is entered, ends what hangs in fork() below @bindir; which programs that were: freed."""

    def __init__(self, bindir, age=AGE):
        self.bindir, self.age, self.freed = os.path.realpath(bindir), age, []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def look(self):
        while not self.over.wait(self.age / 4):
            for pid, name in find(self.bindir, self.age):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                if name not in self.freed:
                    self.freed.append(name)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def planted(bindir, script):
    """how a runner ended whose child does what @script says, and what was freed"""
    runner = f'{bindir}/test_planted'
    shutil.copy('/bin/bash', runner)
    with Watch(bindir, 2) as watch, subprocess.Popen([runner, '-c', f'({script}); exit 3'], stderr=subprocess.DEVNULL) as p:
        p.wait()
    return p.returncode, watch.freed


def main():
    with tempfile.TemporaryDirectory() as tmp:
        fifo = f'{tmp}/fifo'
        os.mkfifo(fifo)
        hangs = planted(tmp, f'read < {fifo}; :')
        works = planted(tmp, 'exec sleep 5')
    assert hangs == (3, ['test_planted']), hangs
    assert works == (3, []), works
    print('a runner that hangs in fork() is found, one that waits for its test is let be')


if __name__ == '__main__':
    sys.exit(main())
