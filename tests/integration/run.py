#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the integration tests:  run.py [NAME...]

Without names: every test_*.py but those that BY_HAND lists (LONG=1 runs these too).  Each runs in a process of its own
under a time limit.  Closes with "COUNT passed failed"; what was skipped is said and counted as neither.
"""
import os, signal, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import failures, tally

BY_HAND = {'realinput'}
LIMIT = 14400 if tally.LONG else 420


def end_group(pid):
    """SIGTERM lets the test clean up its mounts; SIGKILL is for one that does not."""
    for sig, seconds in ((signal.SIGTERM, 60), (signal.SIGKILL, 10)):
        try:
            os.killpg(pid, sig)
        except ProcessLookupError:
            return
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
            time.sleep(0.1)


def run_one(name, env):
    with tempfile.TemporaryFile() as out:
        start = time.monotonic()
        p = subprocess.Popen([sys.executable, '-B', os.path.join(HERE, f'test_{name}.py')], stdin=subprocess.DEVNULL,
                             stdout=out, stderr=subprocess.STDOUT, start_new_session=True, env=env)
        try:
            code = p.wait(LIMIT)
        except subprocess.TimeoutExpired:
            end_group(p.pid)
            code = None
        out.seek(0)
        return code, time.monotonic() - start, out.read().decode(errors='replace')


def main():
    names = sys.argv[1:]
    if not names:
        names = sorted(f[5:-3] for f in os.listdir(HERE) if f.startswith('test_') and f.endswith('.py'))
        names = [n for n in names if tally.LONG or n not in BY_HAND]
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory(prefix='tallyfs-integration-') as tmp:
        os.chmod(tmp, 0o1777)
        options = f'log_path={tmp}/report:log_exe_name=1'
        env = dict(os.environ, ASAN_OPTIONS=options, UBSAN_OPTIONS=options + ':print_stacktrace=1')
        for name in names:
            code, seconds, out = run_one(name, env)
            word = {0: 'passed', 77: 'SKIPPED', None: f'FAILED (still running after {LIMIT} s)'}.get(code, 'FAILED')
            print(f'integration: {name:<14} {word}  {seconds:6.1f} s')
            print(''.join(f'    {line}\n' for line in out[-8000:].splitlines()), end='', flush=True)
            passed += code == 0
            skipped += code == 77
            if code not in (0, 77):
                failed += 1
                failures.keep(f'integration: {name}: {word}', out)
        for report in sorted(os.listdir(tmp)):
            failed += 1
            with open(os.path.join(tmp, report), errors='replace') as f:
                text = f.read()
            print(f'integration: sanitizer report {report}:\n{text[:6000]}')
            failures.keep(f'integration: sanitizer report {report}', '\n'.join(text.splitlines()[:failures.EACH]))
    if skipped:
        print(f'integration: {skipped} of {len(names)} SKIPPED, for the reasons above')
    print(f'COUNT {passed} {failed}')
    return int(failed > 0)


if __name__ == '__main__':
    sys.exit(main())
