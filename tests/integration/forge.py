# SPDX-License-Identifier: GPL-2.0-or-later
"""Images that lie: what is changed in an unmounted image is sealed again (tuples, vouches, headers, superblocks), so that
no checksum gives it away.  Builds on the reader in tfsformat.py; guard xxh3 only."""
import struct
from tfsformat import COMMIT_MAGIC, NODE_MAGIC, PAGE, SUPER_AT, Image, sealed, xxh3

KEY_EXTENT, KEY_INODE = 7, 1
VOUCH_BITMAP, VOUCH_TUPLES, REGIONS = 184, 208, 56
SUPER_JOURNAL, SUPER_ROOTS = 184, 320
REC_IMAGE, REC_REVOKE, REGION_JOURNAL = 1, 3, 2


def key(ino, kind, off):
    return struct.pack('<QQIBxxx', ino, off, 0, kind)


def revoke(block, blocks):
    return struct.pack('<IIQII', REC_REVOKE, 0, block, 0, blocks)


class Forge(Image):
    def header_at(self, group):
        return SUPER_AT // self.block_size + self.page_blocks() if group == 0 else group * self.per_group

    def change_page(self, at, patches, seed=0):
        page = bytearray(self.at(at, PAGE))
        for offset, fmt, *values in patches:
            struct.pack_into(fmt, page, offset, *values)
        self.put(at, sealed(page, seed))

    def change_supers(self, *patches):
        for at in self.supers():
            self.change_page(at, patches)

    def change_header(self, group, *patches):
        self.change_page(self.block(self.header_at(group)), patches, self.seed)

    def seal_blocks(self, first, n, app):
        """Tuples for blocks of one group as they are now, and the header's vouches for these."""
        group, per = first // self.per_group, self.block_size // 16
        tuples = self.header_at(group) + self.page_blocks() + 1
        touched = set()
        for b in range(first, first + n):
            slot = b - group * self.per_group
            guard = xxh3(self.at(self.block(b), self.block_size), self.seed)
            self.put(self.block(tuples + slot // per) + slot % per * 16, struct.pack('<QHQ', guard, app, b)[:16])
            touched.add(slot // per)
        for i in touched:
            guard = xxh3(self.at(self.block(tuples + i), self.block_size), self.seed)
            self.change_header(group, (VOUCH_TUPLES + 24 * i, '<QQII', guard, self.txid, 1, 0))

    def change_item(self, ino, kind, *patches):
        """Patch the data of the first item of that inode and type."""
        for at, node in self.nodes():
            _, level, nritems, own = struct.unpack_from('<IHHQ', node)
            for i in range(0 if level else nritems):
                its, _, _, k, start, _ = struct.unpack_from('<QQIBxxxII', node, 64 + 32 * i)
                if (its, k) == (ino, kind):
                    node = bytearray(node)
                    for offset, fmt, *values in patches:
                        struct.pack_into(fmt, node, start + offset, *values)
                    self.put(at, bytes(node))
                    self.seal_blocks(own, self.node_size // self.block_size, 2)
                    return
        raise KeyError((ino, kind))

    def free_places(self, n):
        """Blocks where nobody has a node, in group 0."""
        first = self.header_at(0) + self.page_blocks()
        bitmap, nb = self.at(self.block(first), self.block_size), self.node_size // self.block_size
        found = [b for b in range(0, min(self.per_group, self.blocks) - nb, nb)
                 if not any(bitmap[(b + j) // 8] >> (b + j) % 8 & 1 for j in range(nb))]
        return found[:n]

    def put_inner(self, block, level, children):
        """A node of tree 0; children: [(key, block)]"""
        node = bytearray(self.node_size)
        struct.pack_into('<IHHQQIII', node, 0, NODE_MAGIC, level, len(children), block, self.txid, 0, 0, 0)
        for i, (k, child) in enumerate(children):
            node[64 + 40 * i:104 + 40 * i] = (k if i else bytes(24)) + struct.pack('<QQ', child, 0)
        self.put(self.block(block), bytes(node))
        self.seal_blocks(block, self.node_size // self.block_size, 2)

    def set_root(self, block, level):
        self.change_supers((SUPER_ROOTS, '<QQI', block, 0, level))

    def move_journal(self, start, blocks):
        """Another run of blocks, or only another length; the headers come along."""
        pages = self.at(self.log_at(0), 2 * PAGE)
        group = self.log_start // self.per_group
        self.change_supers((SUPER_JOURNAL, '<QQ', start, blocks))
        page = self.at(self.block(self.header_at(group)), PAGE)
        for i in range(8):
            if struct.unpack_from('<I', page, REGIONS + 16 * i)[0] == REGION_JOURNAL:
                region = (REGION_JOURNAL, start % self.per_group, blocks, 0) if start == self.log_start else (0, 0, 0, 0)
                self.change_header(group, (REGIONS + 16 * i, '<IIII', *region))
        self.put(self.block(start), pages)

    def log_room(self):
        """Bytes of records that fit into the log."""
        return (self.log_size() - 2 - 6) * PAGE

    def log_transaction(self, records):
        """What a mount would replay: one transaction, with the superblock, behind what is at home."""
        epoch, tail, txid = self.log_header()
        page = bytearray(self.at(SUPER_AT, PAGE))
        struct.pack_into('<Q', page, 208, txid)
        payload = struct.pack('<IIQII', REC_IMAGE, PAGE, SUPER_AT // self.block_size, PAGE, 0) + sealed(page) + records
        ring, at = self.log_size() - 2, tail
        for i in range(0, len(payload), PAGE):
            self.put(self.log_at(at), payload[i:i + PAGE].ljust(PAGE, b'\0'))
            at = 2 + (at - 2 + 1) % ring
        for copy in (0, 1):
            page = bytearray(PAGE)
            struct.pack_into('<IIQQQQQQQQQ', page, 0, COMMIT_MAGIC, copy, 0, epoch, txid, at, tail, len(payload),
                             xxh3(payload, self.seed ^ epoch ^ txid), txid - 1, 0)
            self.put(self.log_at(at), sealed(page, self.seed))
            at = 2 + (at - 2 + 1) % ring
