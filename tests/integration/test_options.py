#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Each program's --help, man page and shell completion list the same options, commands and mount options."""
import re
import tally

PROGRAMS = ('mkfs.tallyfs', 'tallyfs', 'mount.tallyfs', 'umount.fuse.tallyfs', 'fsck.tallyfs', 'tallyctl', 'tallydump')


def from_help(text):
    """Options are what begins a line, or follows a comma there: '  -f, --force  text'."""
    found = set()
    for line in text.splitlines():
        if m := re.match(r'\s+((?:-{1,2}[A-Za-z][\w-]*(?:\[?[ =]?[^\s,|]*)?(?:, |\|)?)+)', line):
            found |= set(re.findall(r'(?<![\w-])(-[A-Za-z]|--[a-z][\w-]*)', m[1]))
    return found


def from_man(name):
    """(options, other entries) of the page's lists."""
    flags, words = set(), set()
    with open(f'{tally.ROOT}/man/{name}.8') as f:
        for line in f:
            if line.startswith('.It Fl '):
                flags |= {'-' + w for w in re.findall(r'Fl (-?[\w][\w-]*)', line)}
            elif line.startswith('.It Cm '):
                words |= {w.strip() for part in re.findall(r'^\.It Cm (.*)', line) for w in part.split(' Ns ')[0].replace(' Ar n', '').split(' , Cm ')}
    return flags, words


def completion():
    with open(f'{tally.ROOT}/completions/tallyfs') as f:
        text = f.read()
    table = {name: set(words.split()) for name, words in re.findall(r'\[([\w.]+)\]="(.*)"', text.split('_commands=')[0])}
    commands = {name: set(words.split()) for name, words in re.findall(r'\[([\w.]+)\]="(.*)"', text.split('_commands=')[1])}
    mount = re.search(r'_mount_options="([^"]*)"', text)[1].replace('=', '').split()
    return table, commands, set(mount)


def test(work):
    table, commands, mount_options = completion()
    bad = []

    def compare(program, what, left, one, right, two):
        if one != two:
            bad.append(f'{program}: {what}: only in {left}: {sorted(one - two)}, only in {right}: {sorted(two - one)}')

    for program in PROGRAMS:
        shown = tally.run([tally.tool(program), '--help']).stdout
        flags, words = from_man(program)
        compare(program, 'options', 'the man page', flags, '--help', from_help(shown))
        compare(program, 'options', 'the man page', flags, 'the completion', table[program])
        listed = commands.get(program, mount_options if program == 'tallyfs' else set())
        compare(program, 'commands or mount options', 'the man page', words, 'the completion', listed)
        for word in words:
            if not re.search(rf'(?<![\w-]){re.escape(word)}(?![\w-])', shown):
                bad.append(f'{program}: --help does not name {word}')
        version = tally.run([tally.tool(program), '--version']).stdout
        if not re.search(r'\d+\.\d+\.\d+', version):
            bad.append(f'{program}: --version says {version!r}')
    print('\n'.join(bad))
    assert not bad, 'they differ'


tally.main(test)
