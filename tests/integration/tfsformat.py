# SPDX-License-Identifier: GPL-2.0-or-later
"""A second reader of the on-disk format, written from docs/FORMAT.md and sharing no code with the programs: it finds
where the blocks of each kind are in an unmounted image, so that tests can damage or swap them."""
import ctypes, ctypes.util, struct

SUPER_AT = 65536
PAGE = 4096                                    # superblock, group header, log block
NODE_MAGIC, GROUP_MAGIC, LOG_MAGIC, COMMIT_MAGIC = 0x4e796c54, 0x47796c54, 0x4a796c54, 0x43796c54
KEY_SYMLINK, KEY_INLINE, KEY_EXTENT = 5, 6, 7
WRITTEN = UNWRITTEN = 1

_xx = ctypes.CDLL(ctypes.util.find_library('xxhash') or 'libxxhash.so.0')
_xx.XXH3_64bits_withSeed.restype = ctypes.c_uint64
_xx.XXH3_64bits_withSeed.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]


def xxh3(data, seed=0):
    return _xx.XXH3_64bits_withSeed(data, len(data), seed)


def sealed(page, seed=0):
    """The 4096 bytes with the checksum at offset 8 (all of superblock, group header and log blocks have it there)."""
    page = bytes(page)
    return page[:8] + struct.pack('<Q', xxh3(page[:8] + bytes(8) + page[16:], seed)) + page[16:]


class Image:
    def __init__(self, path):
        self.path = path
        self.f = open(path, 'r+b')
        s = self.at(SUPER_AT, PAGE)
        assert s[:8] == b'tallyFS\x1a' and sealed(s) == s, f'{path}: no good superblock'
        self.version, self.guard = struct.unpack_from('<II', s, 16)
        self.seed, = struct.unpack_from('<Q', s, 128)
        self.block_size, self.node_size, self.per_group, self.inline_max = struct.unpack_from('<IIII', s, 152)
        self.blocks, self.groups, self.log_start, self.log_blocks = struct.unpack_from('<QQQQ', s, 168)
        self.txid, self.groups_init = struct.unpack_from('<QQ', s, 208)
        self.roots = [struct.unpack_from('<QQII', s, 320 + 24 * i) for i in range(8)]

    def close(self):
        self.f.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def at(self, offset, n):
        self.f.seek(offset)
        return self.f.read(n)

    def put(self, offset, data):
        self.f.seek(offset)
        self.f.write(data)
        self.f.flush()

    def block(self, number):
        return number * self.block_size

    def page_blocks(self):
        return max(1, PAGE // self.block_size)

    def supers(self):
        """Byte offsets of the superblock and its copies."""
        found = [SUPER_AT]
        ends = {min(self.per_group, self.blocks), self.blocks}
        for end in sorted(ends):
            at = self.block(end - self.page_blocks())
            if self.at(at, 8) == b'tallyFS\x1a':
                found.append(at)
        return found

    def group(self, index):
        """(byte offset of the header, of the bitmap or None, of each tuple block that was ever written)"""
        first = index * self.per_group
        if index == 0:
            first = SUPER_AT // self.block_size + self.page_blocks()
        at = self.block(first)
        page = self.at(at, PAGE)
        assert struct.unpack_from('<I', page)[0] == GROUP_MAGIC and sealed(page, self.seed) == page, f'group {index}'
        nr_tuples, = struct.unpack_from('<I', page, 48)
        bitmap_block = first + self.page_blocks()
        vouches = [struct.unpack_from('<QQII', page, 56 + 128 + 24 * i) for i in range(1 + nr_tuples)]
        bitmap = self.block(bitmap_block) if vouches[0][2] & WRITTEN else None
        tuples = [self.block(bitmap_block + 1 + i) for i, v in enumerate(vouches[1:]) if v[2] & WRITTEN]
        return at, bitmap, tuples

    def nodes(self):
        """(byte offset, content) of every node of every tree."""
        for addr, _, _, _ in self.roots:
            todo = [addr] if addr else []
            while todo:
                here = todo.pop()
                node = self.at(self.block(here), self.node_size)
                magic, level, nritems, own = struct.unpack_from('<IHHQ', node)
                assert magic == NODE_MAGIC and own == here, f'node {here}'
                yield self.block(here), node
                if level:
                    todo += [struct.unpack_from('<Q', node, 64 + 40 * i + 24)[0] for i in range(nritems)]

    def items(self):
        """(byte offset of the data, key type, ino, off, data) of every leaf item."""
        for at, node in self.nodes():
            _, level, nritems, _ = struct.unpack_from('<IHHQ', node)
            for i in range(0 if level else nritems):
                ino, off, _, kind, start, n = struct.unpack_from('<QQIBxxxII', node, 64 + 32 * i)
                yield at + start, kind, ino, off, node[start:start + n]

    def extents(self):
        """(byte offset, bytes) of every written extent."""
        for _, kind, _, _, data in self.items():
            if kind == KEY_EXTENT:
                start, n, flags = struct.unpack('<QII', data)
                if not flags & UNWRITTEN:
                    yield self.block(start), n * self.block_size

    def log_at(self, n):
        return self.block(self.log_start) + n * PAGE

    def log_size(self):
        return self.log_blocks * self.block_size // PAGE

    def log_header(self):
        """epoch, tail, tail_txid of the good copy that counts"""
        best = None
        for n in (0, 1):
            page = self.at(self.log_at(n), PAGE)
            if struct.unpack_from('<I', page)[0] == LOG_MAGIC and sealed(page, self.seed) == page:
                epoch, seq, tail, tail_txid = struct.unpack_from('<QQQQ', page, 16)
                if best is None or seq > best[0]:
                    best = seq, epoch, tail, tail_txid
        assert best, 'no good journal header'
        return best[1:]

    def live_log(self):
        """What a mount would replay: [('payload'|'commit', byte offset, bytes)].  Without the padding of payloads, and
        without the commit records of the last transaction: one of them alone is what a power cut may leave too."""
        epoch, tail, tail_txid = self.log_header()
        size, commits = self.log_size(), {}
        for n in range(2, size):
            page = self.at(self.log_at(n), PAGE)
            if struct.unpack_from('<I', page)[0] != COMMIT_MAGIC or sealed(page, self.seed) != page:
                continue
            its_epoch, txid, pos, start, payload = struct.unpack_from('<QQQQQ', page, 16)
            if its_epoch == epoch and txid >= tail_txid and pos == n:
                commits.setdefault(txid, (start, payload, []))[2].append(n)
        found, want = [], tail_txid
        while want in commits:
            start, payload, copies = commits[want]
            n = start
            for done in range(0, payload, PAGE):
                found.append(('payload', self.log_at(n), min(PAGE, payload - done)))
                n = 2 if n + 1 == size else n + 1
            want += 1
            if want in commits:
                found += [('commit', self.log_at(n), PAGE) for n in copies]
        return found

    def places(self):
        """What is in use in a cleanly unmounted image: kind -> [(byte offset, bytes)]"""
        kinds = {'superblock': [(at, PAGE) for at in self.supers()], 'group header': [], 'bitmap': [], 'tuple block': [],
                 'tree node': [(at, self.node_size) for at, _ in self.nodes()],
                 'inline data': [(at, len(d)) for at, kind, _, _, d in self.items() if kind == KEY_INLINE and d],
                 'data': [(at + b, self.block_size) for at, n in self.extents() for b in range(0, n, self.block_size)],
                 'journal header': [(self.log_at(0), PAGE), (self.log_at(1), PAGE)]}
        for index in range(min(self.groups, self.groups_init)):
            header, bitmap, tuples = self.group(index)
            kinds['group header'].append((header, PAGE))
            kinds['bitmap'] += [(bitmap, self.block_size)] if bitmap else []
            kinds['tuple block'] += [(at, self.block_size) for at in tuples]
        return kinds
