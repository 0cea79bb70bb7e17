#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Do imports point down?  Each room (folder) lists the rooms it may use; an #include of anything else is an error.

    scripts/imports.py [TREE]     0: all do; 1: a line for each that does not
"""
import os, re, sys

# A room may use what stands above it here and is named in its row ("core": all rooms of core).
ROOMS = {
    'include/tallyfs': '',
    'core/lib': '',
    'core/block': 'core/lib include/tallyfs',
    'core/pagecache': 'core/lib core/block',
    'core/iomap': 'core/lib core/block core/pagecache',
    'fs/disk': 'include/tallyfs core/lib core/block',
    'fs/state': 'include/tallyfs core fs/disk',
    'fs/journal': 'include/tallyfs core fs/disk fs/state',
    'fs/alloc': 'include/tallyfs core fs/disk fs/state fs/journal',
    'fs/btree': 'include/tallyfs core fs/disk fs/state fs/journal fs/alloc',
    'fs/names': 'include/tallyfs core fs/disk fs/state fs/journal fs/alloc fs/btree',
    'fs/inode': 'include/tallyfs core fs/disk fs/state fs/journal fs/alloc fs/btree fs/names',
    'fs/vfs': 'include/tallyfs core fs/disk fs/state fs/journal fs/alloc fs/btree fs/names fs/inode',
    'common': 'include/tallyfs core fs',
    'fs/fuse': 'include/tallyfs core fs/state fs/vfs common',
    'fsck': 'include/tallyfs core fs common',
    'mkfs': 'include/tallyfs core fs common',
    'tools': 'include/tallyfs core fs common',
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


# Headers for their own room alone, and the one room that may look into another's.
PRIVATE = re.compile(r'(_priv|_int|internal)\.h$')
GUESTS = {'core/pagecache': 'core/iomap'}


def allowed(room, target, header):
    if target == room:
        return True
    if PRIVATE.search(header) and GUESTS.get(target) != room:
        return False
    if target == 'fs/fuse':
        return False
    return any(target == a or target.startswith(a + '/') for a in ROOMS[room].split())


def main():
    top = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    bad = 0
    seen = 0
    for tree in ('include', 'core', 'fs', 'common', 'mkfs', 'fsck', 'tools'):
        for folder, _, names in sorted(os.walk(os.path.join(top, tree))):
            room = os.path.relpath(folder, top)
            for name in sorted(n for n in names if n.endswith(('.c', '.h'))):
                path = os.path.join(room, name)
                seen += 1
                if room not in ROOMS:
                    print(f'{path}: {room} is no room that scripts/imports.py knows')
                    bad += 1
                    continue
                with open(os.path.join(top, path), encoding='utf-8') as f:
                    text = f.read()
                for m in INCLUDE.finditer(text):
                    target = os.path.dirname(m[1])
                    if target == 'tallyfs':
                        target = 'include/tallyfs'
                    if not allowed(room, target, m[1]):
                        print(f'{path}: includes "{m[1]}", which {room} may not use')
                        bad += 1
    if not seen:
        print('imports.py: no source files found')
        bad = 1
    return int(bad > 0)


if __name__ == '__main__':
    sys.exit(main())
