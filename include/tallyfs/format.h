/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The on-disk format, version 1.  docs/FORMAT.md says the same in prose.
 *
 * Everything is little-endian.  "Block" is a file system block (1 KiB to
 * 64 KiB); block numbers count from the start of the device.
 *
 *   byte 0        64 KiB reserved (boot loaders), never written
 *   byte 65536    superblock, 4096 bytes
 *   group g       starts at block g * blocks_per_group
 *                 [group 0 only: reserved area and superblock]
 *                 group header (4096 bytes, at least one block)
 *                 bitmap (one block)
 *                 tuple blocks (blocks_per_group * 16 / block_size)
 *                 everything else: tree nodes, data, the journal
 *                 [group 0 and the last group: superblock copy in the last
 *                  4096 bytes (at least one block)]
 */
#ifndef TALLYFS_FORMAT_H
#define TALLYFS_FORMAT_H

#include "tallyfs/types.h"

#define TFS_VERSION 1
#define TFS_SUPER_OFFSET 65536u /* bytes */
#define TFS_SUPER_BYTES 4096u
#define TFS_GROUP_BYTES 4096u /* of a group header */
#define TFS_MIN_BLOCK 1024u
#define TFS_MAX_BLOCK 65536u
#define TFS_MIN_NODE 4096u
#define TFS_MAX_NODE 65536u
#define TFS_DEFAULT_BLOCK 4096u
#define TFS_DEFAULT_NODE 16384u
#define TFS_MAX_GROUP_TUPLES 128u /* tuple blocks of a full group, at any block size */
#define TFS_NAME_MAX 255u
#define TFS_SYMLINK_MAX 4095u
#define TFS_XATTR_MAX 65536u
#define TFS_LABEL_MAX 63u
#define TFS_MAX_FILE_SIZE INT64_MAX

/* ---- tuples ---- */

/*
 * 16 bytes a block (struct tuple16 in core/block/integrity.h): 64-bit guard of the whole block,
 * application tag, 48-bit reference tag = block number.
 */
#define TFS_TUPLE_BYTES 16u
enum tfs_app_tag {
	TFS_APP_NONE = 0, /* never written */
	TFS_APP_DATA = 1,
	TFS_APP_NODE = 2,
};
enum tfs_guard { TFS_GUARD_XXH3 = 1, TFS_GUARD_CRC32 = 2 };

/* ---- superblock ---- */

#define TFS_SUPER_MAGIC "tallyFS\x1a"

/* Feature words: unknown compat is ignored, unknown ro_compat allows reading only, unknown incompat
 * refuses. */
#define TFS_COMPAT_ALL 0ull
#define TFS_RO_COMPAT_ALL 0ull
#define TFS_INCOMPAT_ALL 0ull

enum tfs_tree_id {
	TFS_TREE_FS = 0,   /* inodes, names, attributes, extents, orphans, intents, damage */
	TFS_TREE_REFS = 1, /* reference counts of shared extents; addr 0 until first needed */
	TFS_NR_TREES = 8,
};

struct tfs_root {
	le64 addr;  /* block of the root node, 0: tree does not exist */
	le64 addr2; /* mirror, 0: none */
	le32 level; /* 0: the root is a leaf */
	le32 flags;
} __attribute__((packed));

struct tfs_super {
	uint8_t magic[8];
	le64 csum;    /* XXH3-64, seed 0, of the 4096 bytes with this field zero */
	le32 version; /* TFS_VERSION */
	le32 guard;   /* enum tfs_guard */
	uint8_t uuid[16];
	uint8_t label[64]; /* NUL padded */
	le64 compat, ro_compat, incompat;
	le64 seed;		    /* random; keys every guard and checksum but this one */
	uint8_t hash_key[16];	    /* random; SipHash key for names */
	le32 block_size, node_size; /* bytes; node_size >= block_size */
	le32 blocks_per_group;
	le32 inline_max; /* bytes of file content that may live in the tree */
	le64 total_blocks;
	le64 nr_groups;
	le64 journal_start, journal_blocks; /* blocks */
	le64 create_time;		    /* seconds since the epoch */
	/* what changes: valid as of transaction @txid */
	le64 txid;
	le64 groups_init; /* groups below this have a header on disk; the others are all free */
	le64 free_blocks; /* over all groups */
	le64 free_slots;  /* over all groups: aligned runs of one node's blocks that are all free */
	le64 data_blocks; /* blocks referenced by extents, each counted once */
	le64 node_blocks; /* blocks of tree nodes */
	le64 nr_extents;  /* extent items in the tree */
	le64 nr_inodes;
	le64 next_ino; /* inode numbers are never used twice */
	le64 mount_time, mount_count, check_time;
	le64 mismatches; /* blocks that did not match their tuple, ever */
	le32 state;	 /* TFS_STATE_* */
	le32 reserved0;
	struct tfs_root roots[TFS_NR_TREES];
	le64 shared_extents; /* extent items with TFS_EXTENT_SHARED */
	uint8_t reserved[4096 - 520];
} __attribute__((packed));
_Static_assert(sizeof(struct tfs_root) == 24, "on-disk size");
_Static_assert(sizeof(struct tfs_super) == TFS_SUPER_BYTES, "on-disk size");

enum {
	TFS_STATE_ERRORS = 1 << 0, /* inconsistency seen while mounted: fsck wanted */
};

/* ---- groups ---- */

#define TFS_GROUP_MAGIC 0x47796c54u /* "TlyG" */

/* What a group header says of one of its tuple blocks or of its bitmap. */
struct tfs_vouch {
	le64 guard; /* of the whole block, keyed with the seed */
	le64 txid;  /* transaction that wrote it */
	le32 flags; /* TFS_VOUCH_* */
	le32 reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct tfs_vouch) == 24, "on-disk size");
enum {
	TFS_VOUCH_WRITTEN = 1 << 0, /* clear: never written.  Reads as zeros (tuple block) or as
				       freshly made (bitmap) */
};

/* Parts of the group with a purpose of their own.  An unknown type is an incompat feature. */
struct tfs_region {
	le32 type;   /* TFS_REGION_* */
	le32 start;  /* blocks from the start of the group */
	le32 length; /* blocks */
	le32 reserved;
} __attribute__((packed));
enum {
	TFS_REGION_NONE = 0,
	TFS_REGION_TUPLES = 1,
	TFS_REGION_JOURNAL = 2,
	TFS_REGION_SUPER_COPY = 3
};
#define TFS_NR_REGIONS 8

struct tfs_group {
	le32 magic;
	le32 version;
	le64 csum; /* XXH3-64 keyed with the seed, of the 4096 bytes with this field zero */
	le64 addr; /* own block number */
	le64 index;
	le64 txid;	/* transaction that wrote it */
	le32 nr_blocks; /* in this group (the last may be short) */
	le32 free_blocks;
	le32 nr_tuple_blocks;
	le32 free_slots; /* runs of node_size / block_size blocks, aligned to that from the group's
			    start, all free */
	struct tfs_region regions[TFS_NR_REGIONS];
	struct tfs_vouch bitmap;
	struct tfs_vouch tuples[TFS_MAX_GROUP_TUPLES];
	uint8_t reserved[4096 - 56 - 128 - 24 - 128 * 24];
} __attribute__((packed));
_Static_assert(sizeof(struct tfs_group) == TFS_GROUP_BYTES, "on-disk size");

/* Bitmap: bit i (byte i/8, value 1 << i%8) set = block i of the group in use.  Bits past nr_blocks
 * are set. */

/* ---- trees ---- */

struct tfs_key {
	le64 ino;
	le64 off;
	le32 snap; /* 0 for now */
	uint8_t type;
	uint8_t pad[3];
} __attribute__((packed));
_Static_assert(sizeof(struct tfs_key) == 24, "on-disk size");
/* Order: ino, type, off, snap. */

#define TFS_INO_ROOT 1ull
#define TFS_INO_FIRST 16ull /* first one given to a file; 2..15 reserved */
#define TFS_INO_META 0ull   /* owner of items that belong to no inode */

enum tfs_key_type {
	TFS_KEY_INODE = 1, /* off 0: struct tfs_inode_item */
	TFS_KEY_LINK = 2,  /* off = cookie of the name: le64 directory inode numbers, one or more */
	TFS_KEY_XATTR = 3, /* off = cookie of the name (the inode in place of the directory): struct
			      tfs_xattr_item */
	TFS_KEY_XATTR_VALUE = 4, /* off = value id << 32 | chunk: bytes */
	TFS_KEY_SYMLINK = 5,	 /* off = chunk: bytes of the target */
	TFS_KEY_INLINE = 6,	 /* off 0: content of file block 0; then no extent maps block 0 */
	TFS_KEY_EXTENT = 7,	 /* off = first file block: struct tfs_extent_item */
	TFS_KEY_DIRENT = 8,	 /* off = cookie: struct tfs_dirent_item */
	/* with ino = TFS_INO_META */
	TFS_KEY_ORPHAN = 32, /* off = inode number: no value; unlinked, to be removed at mount */
	TFS_KEY_INTENT = 33, /* off = inode number: struct tfs_intent_item */
	TFS_KEY_DAMAGE = 34, /* off = block number: struct tfs_damage_item */
	TFS_KEY_LOST = 35,   /* off = inode number: struct tfs_lost_item */
	/* tree TFS_TREE_REFS, ino = TFS_INO_META */
	TFS_KEY_REFS = 64, /* off = first block: struct tfs_refs_item */
};

#define TFS_NODE_MAGIC 0x4e796c54u /* "TlyN" */

struct tfs_node {
	le32 magic;
	le16 level; /* 0: leaf */
	le16 nritems;
	le64 addr;	 /* own block number */
	le64 txid;	 /* transaction that wrote it */
	le32 tree;	 /* enum tfs_tree_id */
	le32 data_start; /* leaf: lowest byte (from the start of the node) used by item data */
	le32 data_holes; /* leaf: bytes above data_start that belong to no item */
	uint8_t reserved[28];
} __attribute__((packed));
_Static_assert(sizeof(struct tfs_node) == 64, "on-disk size");

/* Leaf: items grow up from the header, in key order; their data lies above data_start, in any
 * order. */
struct tfs_item {
	struct tfs_key key;
	le32 off; /* of the data, bytes from the start of the node */
	le32 len; /* bytes, may be 0 */
} __attribute__((packed));
_Static_assert(sizeof(struct tfs_item) == 32, "on-disk size");
/* An item with its header takes at most a quarter of what follows the node header, so a leaf always
 * holds four. */
#define TFS_MAX_ITEM(node_size) (((node_size)-64u) / 4u - 32u)

/*
 * Inner node: child i holds keys >= key i and < key i+1.  Key 0 is all zeros, whatever the node's
 * lower bound is (the parent knows): child 0 takes everything below key 1.
 */
struct tfs_child {
	struct tfs_key key;
	le64 addr;
	le64 addr2; /* mirror, 0: none */
} __attribute__((packed));
_Static_assert(sizeof(struct tfs_child) == 40, "on-disk size");

struct tfs_time {
	le64 sec; /* two's complement seconds since 1970 */
	le32 nsec;
} __attribute__((packed));

struct tfs_inode_item {
	le32 mode; /* type and permissions, as st_mode */
	le32 uid, gid;
	le32 nlink;  /* a directory: 2 + subdirectories */
	le64 size;   /* bytes; directory: number of entries */
	le64 blocks; /* blocks referenced by extents */
	le64 generation;
	le64 rdev;	     /* major << 32 | minor */
	le32 flags;	     /* TFS_INODE_* */
	le32 xattr_value_id; /* last out-of-line value id given out */
	struct tfs_time atime, mtime, ctime, btime;
	uint8_t reserved[16];
} __attribute__((packed));
_Static_assert(sizeof(struct tfs_inode_item) == 120, "on-disk size");
enum {
	TFS_INODE_LOST = 1 << 0, /* dirty data was lost (rule 5); range kept in a damage item */
	/* regular files and directories only */
	TFS_INODE_IMMUTABLE = 1 << 1, /* nothing of it changes, no name of it comes or goes */
	TFS_INODE_APPEND = 1 << 2,    /* content (a directory: names) may be added, nothing else */
};
#define TFS_INODE_FLAGS_ALL (TFS_INODE_LOST | TFS_INODE_IMMUTABLE | TFS_INODE_APPEND)

struct tfs_dirent_item {
	le64 ino;
	uint8_t type;	/* DT_* */
	uint8_t name[]; /* the rest of the item, 1..255 bytes, not terminated */
} __attribute__((packed));

struct tfs_xattr_item {
	le32 value_len; /* bytes */
	le32 value_id;	/* 0: value follows the name here; else chunks under TFS_KEY_XATTR_VALUE */
	uint8_t name_len;
	uint8_t name[]; /* full name with prefix ("user.x"), then the value */
} __attribute__((packed));

struct tfs_extent_item {
	le64 start; /* block */
	le32 len;   /* blocks, > 0 */
	le32 flags; /* TFS_EXTENT_* */
} __attribute__((packed));
enum {
	TFS_EXTENT_UNWRITTEN = 1 << 0, /* allocated, reads as zeros, has no tuples */
	TFS_EXTENT_SHARED =
		1 << 1, /* may be counted in TFS_TREE_REFS; never together with UNWRITTEN */
};
#define TFS_EXTENT_MAX_LEN (1u << 30)

struct tfs_intent_item {
	le32 op; /* TFS_INTENT_* */
	le32 reserved;
	le64 arg; /* truncate: first file block to remove */
} __attribute__((packed));
enum { TFS_INTENT_TRUNCATE = 1 };

struct tfs_damage_item {
	le64 ino;	      /* TFS_INO_META: not known */
	le64 offset;	      /* file bytes */
	le64 time;	      /* seconds */
	le64 expected, found; /* guards */
	le32 kind;	      /* enum tfs_app_tag */
	le32 count;
} __attribute__((packed));

_Static_assert(sizeof(struct tfs_damage_item) == 48, "on-disk size");

/* Data that was written to a file but never reached the device. */
struct tfs_lost_item {
	le64 time;  /* seconds; of the last time */
	le64 bytes; /* in all */
	le32 count; /* times */
	le32 zero;
} __attribute__((packed));
_Static_assert(sizeof(struct tfs_lost_item) == 24, "on-disk size");

struct tfs_refs_item {
	le32 len;   /* blocks */
	le32 count; /* references, >= 2 */
} __attribute__((packed));

/*
 * A name's cookie (readdir position, key of its DIRENT and LINK items):
 *   (SipHash-2-4(hash_key, le64 directory || name) >> 9, but at least 1) << 8 | probe
 * where probe (0..255) is the lowest not used by another name with the same hash.
 * 63 bits, never below 256; "." is 1 and ".." is 2.
 */

/* ---- journal ---- */

/*
 * The journal is an array of 4096-byte log blocks (whatever the block size),
 * from byte journal_start * block_size on.  Log blocks 0 and 1 hold two copies of the
 * header; the rest is a ring.
 *
 * A transaction is a payload (a stream of records, zero padded to whole log
 * blocks), then two log blocks with the same commit record.  The payload is
 * durable before the commit record is written: a valid commit record therefore
 * proves that the payload was whole, and one that no longer matches is corruption,
 * not a torn tail.
 */
#define TFS_LOG_BLOCK 4096u
#define TFS_MAX_JOURNAL (1ull << 30) /* bytes: all of it is read to mount */
#define TFS_LOG_FIRST 2u	     /* first log block of the ring */
#define TFS_LOG_MAGIC 0x4a796c54u    /* "TlyJ" */
#define TFS_COMMIT_MAGIC 0x43796c54u /* "TlyC" */

struct tfs_log_header {
	le32 magic;
	le32 version;
	le64 csum;  /* XXH3-64 keyed with the seed, of the 4096 bytes with this field zero */
	le64 epoch; /* raised at every read-write mount; records of another epoch do not exist */
	le64 seq;   /* the valid copy with the higher one counts */
	le64 tail;  /* log block where transaction tail_txid begins (or will) */
	le64 tail_txid; /* first transaction not checkpointed */
	uint8_t reserved[4096 - 48];
} __attribute__((packed));
_Static_assert(sizeof(struct tfs_log_header) == TFS_LOG_BLOCK, "on-disk size");

struct tfs_log_commit {
	le32 magic;
	le32 copy; /* 0 or 1 */
	le64 csum; /* XXH3-64 keyed with the seed, of the 4096 bytes with this field zero */
	le64 epoch;
	le64 txid;
	le64 pos;	    /* own log block */
	le64 start;	    /* log block where the payload begins */
	le64 payload_bytes; /* before padding */
	le64 payload_csum;  /* XXH3-64 keyed with seed ^ epoch ^ txid, of payload_bytes */
	le64 durable_txid;  /* last transaction known durable when this was written */
	le64 time;	    /* seconds */
	uint8_t reserved[4096 - 80];
} __attribute__((packed));
_Static_assert(sizeof(struct tfs_log_commit) == TFS_LOG_BLOCK, "on-disk size");

/* Records follow one another at 8-byte boundaries (of the stream). */
struct tfs_log_record {
	le32 type;	/* TFS_REC_* */
	le32 len;	/* bytes of content behind this header (before padding to 8) */
	le64 block;	/* home: device byte block * block_size */
	le32 buf_bytes; /* size of the structure at home: 4096, a block, or a node */
	le32 off;	/* IMAGE: 0.  RANGE: bytes into the structure.  REVOKE: number of blocks */
} __attribute__((packed));
_Static_assert(sizeof(struct tfs_log_record) == 24, "on-disk size");
enum tfs_record_type {
	TFS_REC_IMAGE = 1,  /* the whole structure; len == buf_bytes */
	TFS_REC_RANGE = 2,  /* part of it; an IMAGE precedes it in the log */
	TFS_REC_REVOKE = 3, /* blocks freed: records of this or earlier transactions for them are
			       not replayed */
	TFS_REC_DATA = 4, /* reserved: data extent with its tuples.  Unknown to version 1: refuse */
};

#endif
