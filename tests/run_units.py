#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the unit and thread tests of one preset:  run_units.py PRESET

Counts Criterion's test cases (a thread test is one case), names those that failed, and closes with "COUNT passed failed".

A leak or a race inside a Criterion test is printed by the sanitizer, but the test still passes: Criterion does not look
at how its child ended.  So the sanitizers write to files here, and each file that appears is a failure.
"""
import os, re, subprocess, sys, tempfile
import xml.etree.ElementTree as ET

import failures, stuck_forks

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# on a busy machine one program of ten hung, and one of these again
AGAIN_MAX = 6
SYNTHESIS = re.compile(r'Synthesis: Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+)')  # those that crash among them


def sanitizer_env(logdir):
    common = f'log_path={logdir}/report:log_exe_name=1'
    return dict(os.environ,
                ASAN_OPTIONS=f'{common}:detect_leaks=1:strict_string_checks=1',
                UBSAN_OPTIONS=f'{common}:print_stacktrace=1:halt_on_error=1',
                TSAN_OPTIONS=f'{common}:halt_on_error=0:second_deadlock_stack=1')


def reports(logdir):
    for name in sorted(os.listdir(logdir)):
        with open(os.path.join(logdir, name), errors='replace') as f:
            yield name, f.read()


def what_failed(name, out, how):
    """the cases of a program that Criterion says failed; and its output, with Criterion's own words at the end"""
    cases = [f'{name} {m}' for m in re.findall(r'^\[FAIL\] (\w+::\w+)', out, re.M)]
    lines = sorted(out.splitlines(), key=lambda line: line.startswith(('[----]', '[FAIL]', '[====]')))
    return cases or [f'{name} ({how})'], '\n'.join(lines)


def said_by(case):
    return re.sub(r'\x1b\[[0-9;]*m', '', case.findtext('system-out') or '')


def run_ctest(build, tmp, env, only):
    """What ctest prints, {program: (its junit element, how it failed)} or None if it did not run, and those to run again."""
    junit = os.path.join(tmp, 'junit.xml')
    with stuck_forks.Watch(os.path.join(build, 'bin')) as watch:
        done = subprocess.run(
            ['ctest', '--test-dir', build, '-j', str(len(os.sched_getaffinity(0))), '--timeout', '1800', '--output-junit', junit,
             '--test-output-size-passed', '1000000', '--test-output-size-failed', '1000000', '--output-on-failure', *only],
            env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace')
    if not os.path.exists(junit):
        return done.stdout, None, []
    how = dict(re.findall(r'^ *\d+/\d+ Test +#\d+: (\S+) [ .]*\*\*\*(.*?) +[\d.]+ sec', done.stdout, re.M))
    cases = {case.get('name'): (case, how.get(case.get('name'), 'failed')) for case in ET.parse(junit).getroot().iter('testcase')}
    os.unlink(junit)
    # of those in which a test had failed before, that is what counts
    return done.stdout, cases, [name for name in watch.freed if '[FAIL]' not in said_by(cases[name][0])]


def run_programs(preset, build, tmp, env):
    """As run_ctest() does; programs whose runner hung before a test began are run again, AGAIN_MAX times at most."""
    said, cases, again = run_ctest(build, tmp, env, [])
    for _ in range(AGAIN_MAX):
        if not again:
            break
        print(f'{preset}: {", ".join(again)}: the runner hung in fork(), before the test began; run again')
        _, more, again = run_ctest(build, tmp, env, ['-R', f'^({"|".join(again)})$'])
        cases.update(more or {})
    return said, cases


def main():
    preset = sys.argv[1]
    build = os.path.join(ROOT, 'build', preset)
    with tempfile.TemporaryDirectory(prefix='tallyfs-units-') as tmp:
        logdir = os.path.join(tmp, 'sanitizer')
        os.mkdir(logdir)
        said, cases = run_programs(preset, build, tmp, sanitizer_env(logdir))
        passed = failed = 0
        names = []
        if cases is None:
            print(said)
            print(f'{preset}: ctest did not run')
            failures.keep(f'{preset}: ctest did not run', said)
            print('COUNT 0 1')
            return 1
        for name, (case, how) in cases.items():
            out = said_by(case)
            good = case.get('status') == 'run'
            m = SYNTHESIS.search(out)
            ok, bad = (int(m[2]), int(m[3])) if m else (int(good), int(not good))
            bad = max(bad, int(not good))
            passed += ok
            failed += bad
            print(f"{preset}: {name:<28} {ok:4d} passed {bad:3d} failed  {float(case.get('time')):6.1f} s")
            if bad:
                print(out[-8000:])
                what, text = what_failed(name, out, how)
                names += what
                failures.keep(f'{preset}: {", ".join(what)}', text)
        for name, text in reports(logdir):
            failed += 1
            print(f'{preset}: sanitizer report {name}:\n{text[:6000]}')
            names.append(f'sanitizer report {name}')
            failures.keep(f'{preset}: {names[-1]}', '\n'.join(text.splitlines()[:failures.EACH]))
        if passed + failed == 0:
            print(f'{preset}: no test found in {build}')
            failures.keep(f'{preset}: no test found', '')
            failed = 1
        print(''.join(f'{preset}: FAILED: {name}\n' for name in names), end='')
        print(f'COUNT {passed} {failed}')
        return int(failed > 0)


if __name__ == '__main__':
    sys.exit(main())
