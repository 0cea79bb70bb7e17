#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Does everything that comments and documents point at exist?

    scripts/references.py [FILE...]     0: all of it does; 1: a line for each that does not

Looked for: files and tests by name; functions said to be in a file, or followed by (); in comments
of C any name_with_underscores; rules of docs/DESIGN.md, rows of docs/IO.md; sections, links, man
pages, steps of test.sh; and lines of documents that are longer than 100 columns.
Without FILE, in the whole tree.
"""
import fnmatch, os, re, sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SKIP = {'.git', 'build', '__pycache__'}
COMMENT = {
    '.c': r'"(?:\\.|[^"\\\n])*"|(/\*.*?\*/|//[^\n]*)',
    '.py': r"'[^'\n]*'|(\"\"\".*?\"\"\"|#[^\n]*)",
    '.sh': r'(?<![\w$"\'{])(#[^\n]*)',
    '.8': r'(.+)',
    '.md': r'(.+)',
}
COMMENT['.h'] = COMMENT['.c']
FILE = re.compile(
    r'(?<![\w/<*"$:{-])(?:\./)?'
    r'(?:(?:[\w.*-]+/)*[A-Za-z*][\w.*-]*\.(?:c|h|md|py|sh)|man/[\w.]+\.\d)(?![\w>/*(])'
)
MAN = re.compile(r'\b((?:mkfs\.|mount\.|fsck\.|umount\.fuse\.)?tally\w+)\((\d)\)')
TEST = re.compile(r'(?<![\w/.*-])((?:test|thr)_[a-z]\w*)(?![\w*.(/]|\.\w)')
# in comments of C: a function in a file; any name
C_IN_FILE = re.compile(r'\b([a-z]\w*_\w+)(?:\(\))?\s+in\s+([\w/]+\.[ch])\b')
C_NAME = re.compile(r'(?<![\w*@.>-])([a-z][a-z0-9]*_[a-z0-9_]*[a-z0-9])\b(?![*/(]|\.h)')
# in documents: `file.c` (`function`, `another`); `function` in `file.c`; a row of docs/IO.md
FILE_HAS = re.compile(r'`([\w/.*-]+\.[ch])`\s+\((`[^)]*?`)\)')
IN_FILE = re.compile(r'`(?:struct )?(\w+)(?:\(\))?`\s+(?:\(|in\s+)`([\w/.*-]+\.[ch])`')
ROW = re.compile(r'^\|[^|]*\|[^|]*\|([^|]*\.c`[^|]*)\|([^|]*)\|', re.M)
NAME = re.compile(r'`((?:(?:struct|enum) )?[a-z][a-z0-9]*_[a-z0-9_]+)(?:\(\))?`')


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


def only_comments(path, text):
    """the text with all that is no comment blanked, so that lines keep their numbers"""
    form = COMMENT[os.path.splitext(path)[1]]
    out, at = [], 0
    for m in re.finditer(form, text, re.S):
        if m[1]:
            out.append(re.sub(r'[^\n]', ' ', text[at : m.start()]) + m[0])
            at = m.end()
    return ''.join(out) + '\n'


class Tree:
    """what there is to point at"""

    def __init__(self):
        self.files = []
        for folder, folders, names in os.walk(TOP):
            folders[:] = sorted(set(folders) - SKIP)
            self.files += [os.path.relpath(os.path.join(folder, n), TOP) for n in sorted(names)]
        known = [f for f in self.files if os.path.splitext(f)[1] in COMMENT]
        self.texts = {f: read(os.path.join(TOP, f)) for f in known}
        self.code = {f: t for f, t in self.texts.items() if f.endswith(('.c', '.h'))}
        self.words = {re.sub(r'^test_|\.\w+$', '', os.path.basename(f)) for f in self.files}
        self.words |= {re.sub(r'\.\w+$', '', os.path.basename(f)) for f in self.files}
        for f, t in self.texts.items():
            if f in self.code:
                t = re.sub(COMMENT['.c'], lambda m: ' ' if m[1] else m[0], t, flags=re.S)
            if f in self.code or f.endswith('.py'):
                self.words |= set(re.findall(r'\w+', t))
        design = self.texts.get('docs/DESIGN.md', '').partition('## Rules')[2].partition('\n## ')[0]
        self.rules = set(re.findall(r'^(\d+)\. ', design, re.M))
        self.rows = set(re.findall(r'^\| ([IB]\d+) \|', self.texts.get('docs/IO.md', ''), re.M))
        cases = ' '.join(re.findall(r'^\t([\w -|]+)\)', read(TOP + '/test.sh'), re.M))
        self.steps = set(re.findall(r'[\w-]+', cases))

    def named(self, name):
        """the files that a name, path or pattern means"""
        name = re.sub(r'^(\.\.?/)+', '', name)
        return [f for f in self.files if fnmatch.fnmatchcase('/' + f, '*/' + name)]

    def defines(self, paths, name):
        if name.startswith('_'):
            name = '*' + name
        form = re.escape(name.removesuffix('()')).replace(r'\*', r'\w*')
        function = rf'(?:\w[\w\s*]*[\s*])?{form}(?:\((?![^;{{]*\);)| = )'
        form = re.compile(rf'^(?:#define\s+{form}\b|{function}|struct {form} {{)', re.M)
        return any(form.search(self.code.get(p, '')) for p in paths)

    def test(self, suite, name):
        word = re.compile(r'\b' + re.escape(name).replace(r'\*', r'\w*') + r'\b')
        tests = [t for f, t in self.code.items() if f.startswith('tests/')]
        homes = [t for t in tests if re.search(rf'\b{suite},', t)]
        return bool(homes) and (name == '*' or any(word.search(t) for t in homes))


def prose(text):
    """a document without its code blocks, lines kept"""
    code = re.compile(r'^```.*?^```|^    [^\n]*', re.M | re.S)
    return code.sub(lambda m: re.sub(r'[^\n]', ' ', m[0]), text)


def sections(text):
    return set(re.findall(r'^#+ (.*)', text, re.M))


def anchors(text):
    return {re.sub(r'[^\w -]', '', h.lower()).strip().replace(' ', '-') for h in sections(text)}


def expand(names):
    return re.findall(r'[\w*]+', names)


def dead(tree, path, text):
    """yields (offset, what) for each reference that leads nowhere"""
    doc = path.endswith('.md')
    # a reference may go on in the next line
    flat = re.sub(r'\n[ \t]*(?:\*|#|//)?(?!/)', lambda m: ' ' * len(m[0]), text)
    for m in re.finditer(r'\b[Rr]ules? (\d+)\b', flat):
        if m[1] not in tree.rules:
            yield m.start(), f'rule {m[1]} is not in docs/DESIGN.md'
    for m in re.finditer(r'\b[Rr]ows? ([IB]\d+)(?: to ([IB]\d+)|, ([IB]\d+))*', flat):
        for row in re.findall(r'[IB]\d+', m[0]):
            if row not in tree.rows:
                yield m.start(), f'row {row} is not in docs/IO.md'
    for m in FILE.finditer(flat):
        if not tree.named(m[0]):
            yield m.start(), f'no file {m[0]}'
    for m in re.finditer(r'([\w/]+\.md)`?,\s+"([^"]+)"', flat):
        there = tree.named(m[1])
        if there and not any(m[2] in sections(tree.texts[f]) for f in there):
            yield m.start(), f'{m[1]} has no section "{m[2]}"'
    for m in MAN.finditer(flat):
        if f'man/{m[1]}.{m[2]}' not in tree.files:
            yield m.start(), f'no man page {m[0]}'
    for m in TEST.finditer(flat):
        if not tree.named(m[1] + '.*') and m[1] not in tree.words:
            yield m.start(), f'no test {m[1]}'
    for m in re.finditer(r'(?<![\w.>])([a-z_]\w+)\(\)', flat):
        if m[1] not in tree.words:
            yield m.start(), f'no function {m[0]}'
    if path.endswith(('.c', '.h')):
        for m in C_IN_FILE.finditer(flat):
            if not tree.defines(tree.named(m[2]), m[1]):
                yield m.start(), f'{m[2]} has no {m[1]}'
        for m in C_NAME.finditer(flat):
            if m[1] not in tree.words:
                yield m.start(), f'no {m[1]} in the code (of other programs? say it in words)'
    if doc:
        yield from dead_in_doc(tree, path, text)


def dead_in_doc(tree, path, text):
    text = prose(text)
    folder = os.path.dirname(path)
    for m in re.finditer(r'\]\(([^)#:]*)(?:#([^)]*))?\)', text):
        there = os.path.normpath(os.path.join(folder, m[1])) if m[1] else path
        if there not in tree.files:
            yield m.start(), f'link to {m[1]}, which is no file'
        elif m[2] and m[2] not in anchors(tree.texts[there]):
            yield m.start(), f'link to {m[1]}#{m[2]}, which is no section'
    for m in re.finditer(r'\(see "([^"]+)"\)|\bsee "([^"]+)"', text):
        if (m[1] or m[2]) not in sections(text):
            yield m.start(), f'no section "{m[1] or m[2]}"'
    for m in FILE_HAS.finditer(text):
        for name in re.findall(r'`([\w*]+)(?:\(\))?`', m[2]):
            if not tree.defines(tree.named(m[1]), name):
                yield m.start(), f'{m[1]} has no {name}'
    for m in IN_FILE.finditer(text):
        if not tree.defines(tree.named(m[2]), m[1]):
            yield m.start(), f'{m[2]} has no {m[1]}'
    for m in ROW.finditer(text):
        homes = [f for name in re.findall(r'`([\w/.*-]+\.[ch])`', m[1]) for f in tree.named(name)]
        for name in re.findall(r'`([\w*]+)`', m[2]):
            if not tree.defines(homes, name):
                yield m.start(), f'{m[1].strip()} has no {name}'
    for m in re.finditer(r'`([a-z]\w*)::(?:\{([^}]*)\}|([\w*]+))', text):
        for name in expand(m[2] or m[3]):
            if not tree.test(m[1], name):
                yield m.start(), f'no test {m[1]}::{name}'
    for m in re.finditer(r'\./test\.sh ([a-z][\w-]*)', text):
        if m[1] not in tree.steps:
            yield m.start(), f'test.sh has no step {m[1]}'
    for m in NAME.finditer(text):
        if m[1].split()[-1] not in tree.words:
            yield m.start(), f'{m[1]} is nowhere in the code'
    for m in re.finditer(r'^(?!\|).{100}.*\S', text, re.M):
        if not re.search(r'\S{90}', m[0]):
            yield m.start(), 'longer than 100 columns'


def main():
    tree = Tree()
    bad = 0
    for path in sys.argv[1:] or tree.texts:
        text = read(path) if sys.argv[1:] else tree.texts[path]
        if path.startswith('scripts/references.py'):
            continue
        for at, what in dead(tree, path, only_comments(path, text)):
            print(f'{path}:{text.count(chr(10), 0, at) + 1}: {what}')
            bad += 1
    return int(bad > 0)


if __name__ == '__main__':
    sys.exit(main())
