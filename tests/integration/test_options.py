#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Each program's --help, man page and shell completion list the same options, values, commands, mount options and exit
codes; and the program itself takes these and no others."""
import re, string, subprocess
import tally

PROGRAMS = ('mkfs.tallyfs', 'tallyfs', 'mount.tallyfs', 'umount.fuse.tallyfs', 'fsck.tallyfs', 'tallyctl', 'tallydump')
INFO = {'-h', '-V', '--help', '--version'}
# what an argument may be: there is one, there may be one, or one of these
ONE, MAYBE = 'an argument', 'perhaps an argument'


def choice(words):
    """'0|1|2' and '0 | 1 | 2'; a single word in small letters is the only choice there is."""
    return tuple(w.strip() for w in words.split('|'))


def kind_of_help(arg):
    if not arg:
        return None
    if arg[0] == '[' and '^' not in arg:
        return MAYBE
    return choice(arg.lstrip('=')) if re.fullmatch(r'=?[a-z0-9]+([|][a-z0-9]+)*', arg) else ONE


def from_help(text):
    """{option: kind of its argument}, of what begins a line, or follows a comma there: '  -f, --force  text'."""
    found = {}
    for line in text.splitlines():
        if m := re.match(r'\s+((?:-{1,2}[A-Za-z][\w-]*(?:\[?[ =]?[^\s,]+)?(?:, )?)+)(?:\s|$)', line):
            for option, arg in re.findall(r'(?<![\w-])(--[a-z][\w-]*|-[A-Za-z])((?:\[| |=)[^\s,]+)?', m[1]):
                found[option] = kind_of_help(arg.strip(' '))
    # a word of the explanation behind one blank only is no argument
    for option in INFO | {'--json'}:
        if option in found:
            found[option] = None
    return found


def kind_of_man(rest):
    rest = rest.strip()
    if not rest:
        return None
    if rest.startswith('Ns Op Ar'):
        return MAYBE
    if m := re.fullmatch(r'(?:Ns = Ns )?Cm (.*)', rest):
        return choice(m[1])
    return ONE


class Page:
    def __init__(self, name):
        with open(f'{tally.ROOT}/man/{name}.8') as f:
            self.text = f.read()
        self.flags, self.words, self.values = {}, set(), {}
        for line in self.text.splitlines():
            if line.startswith('.It Fl '):
                for flag, rest in re.findall(r'Fl (-?[\w][\w-]*)((?: (?!, Fl)[^,]*(?:, Ns[^,]*)?)?)', line):
                    self.flags['-' + flag] = kind_of_man(rest)
            elif line.startswith('.It Cm '):
                for part in line[7:].split(' , Cm '):
                    word, _, value = part.partition(' Ns = Ns ')
                    self.words.add(word.split(' Ar ')[0].strip())
                    if value.startswith('Cm '):
                        self.values[word] = choice(value[3:])
        self.codes = set(re.findall(r'^\.It (\d+)$', self.text, re.M))
        synopsis = self.text.split('.Sh SYNOPSIS')[1].split('.Sh ')[0]
        self.shown = {'-' + f for group in re.findall(r'Fl ((?:-[\w-]+|\w+)(?: \| [a-zA-Z](?=[ \n]))*)', synopsis)
                      for part in group.split(' | ') for f in ([part] if part[0] == '-' else part)}
        # is there a way to call it without options?
        self.plain = any(not re.search(r'^\.Fl ', form, re.M) for form in synopsis.split('.Nm\n')[1:])


def completion():
    with open(f'{tally.ROOT}/completions/tallyfs') as f:
        text = f.read()
    table = {name: set(words.split()) for name, words in re.findall(r'\[([\w.]+)\]="(.*)"', text.split('_commands=')[0])}
    commands = {name: set(words.split()) for name, words in re.findall(r'\[([\w.]+)\]="(.*)"', text.split('_commands=')[1])}
    mount = re.search(r'_mount_options="([^"]*)"', text)[1].replace('=', '').split()
    return table, commands, set(mount)


def completed(program, *words):
    """What bash offers behind these words."""
    script = '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt() { :; }; _tallyfs; printf "%s\\n" "${COMPREPLY[@]}"'
    argv = ['bash', '-c', script, 'bash', f'{tally.ROOT}/completions/tallyfs', program, *words]
    return tuple(subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout.split())


def said(program, *args):
    r = tally.run([tally.tool(program), *args], want=None, timeout=30)
    return r.returncode, r.stdout + r.stderr


def refused(text, option):
    """As unknown; in whatever words the program has."""
    return re.search(rf"(unknown option|unexpected).*{re.escape(option)}(?![\w-])|unknown option;", text)


def takes(program, options, work):
    """What is listed is taken, with these values and no others; what is not listed is refused.  (differences)"""
    nowhere = f'{work}/nowhere'
    for letter in string.ascii_letters:
        option = f'-{letter}'
        _, text = said(program, option, *(['x'] if options.get(option) else []), nowhere, nowhere)
        if bool(refused(text, option)) != (option not in options):
            yield f'{program}: {option} is {"not " if option in options else ""}listed, and it says: {text.strip()[:200]}'
    for option, kind in options.items():
        if not isinstance(kind, tuple):
            continue
        for value in (*kind, 'zzz'):
            args = [f'{option}={value}'] if option.startswith('--') else [option, value]
            code, text = said(program, *args, nowhere)
            if ('nowhere' in text and 'such file' in text) != (value in kind):
                yield f'{program}: {option} {value} is {"" if value in kind else "not "}listed, and it says: {text.strip()[:200]}'


def sloppy():
    """-s of the mount helper means the options behind -o."""
    for option, want in ([], 1), (['-s'], 0):
        code, text = said('mount.tallyfs', '-f', *option, '-o', 'ro,nosuch=1', 'image', 'mnt')
        if code != want:
            yield f'mount.tallyfs {option} -o nosuch: exit {code}: {text}'


def test(work):
    table, commands, mount_options = completion()
    bad = []

    def compare(program, what, left, one, right, two):
        if one != two:
            one, two = (set(x.items()) if isinstance(x, dict) else set(x) for x in (one, two))
            bad.append(f'{program}: {what}: only in {left}: {sorted(map(str, one - two))}, only in {right}: {sorted(map(str, two - one))}')

    for program in PROGRAMS:
        shown, page = tally.run([tally.tool(program), '--help']).stdout, Page(program)
        options = from_help(shown)
        compare(program, 'options', 'the man page', page.flags, '--help', options)
        compare(program, 'options', 'the man page', set(page.flags), 'the completion', table[program])
        compare(program, 'options', "the man page's synopsis", page.shown - INFO, 'its list', set(page.flags) - INFO)
        listed = commands.get(program, mount_options if program == 'tallyfs' else set())
        compare(program, 'commands or mount options', 'the man page', page.words, 'the completion', listed)
        compare(program, 'exit codes', 'the man page', page.codes, '--help',
                set(re.findall(r'(?<![-\w])(\d+) ', shown.split('Exit status:')[1])))
        for word in page.words:
            if not re.search(rf'(?<![\w-]){re.escape(word)}(?![\w-])', shown):
                bad.append(f'{program}: --help does not name {word}')
        for word, values in page.values.items():
            compare(program, f'values of {word}', 'the man page', values, '--help', choice(re.search(rf'  {word}=(\S+)', shown)[1]))
        for option, kind in options.items():
            if isinstance(kind, tuple):
                behind = (option, '=', '') if option.startswith('--') else (option, '')
                compare(program, f'values of {option}', '--help', kind, 'the completion', completed(program, *behind))
        code, text = said(program, f'{work}/nowhere', *([f'{work}/nowhere'] if program in ('tallyfs', 'mount.tallyfs') else []))
        if page.plain != (code != 16):
            bad.append(f'{program}: without options it says {text!r}; the synopsis has it otherwise')
        bad += takes(program, options, work)
        bad += sloppy() if program == 'mount.tallyfs' else []
        version = tally.run([tally.tool(program), '--version']).stdout
        if not re.search(r'\d+\.\d+\.\d+', version):
            bad.append(f'{program}: --version says {version!r}')
    print('\n'.join(bad))
    assert not bad, 'they differ'


tally.main(test)
