/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block integrity: tuples that travel with a bio.  The user-space twin of
 * Linux's bio-integrity; docs/IO.md, rows I1 to I11.
 *
 * An *interval* is the unit of data one tuple speaks for.  The payload's seed
 * is the reference tag of the first interval: the number of the interval on
 * the device (bi_sector converted), going on by one per interval.
 */
#ifndef CORE_INTEGRITY_H
#define CORE_INTEGRITY_H

#include "core/block/bio.h"
#include "core/lib/workqueue.h"
#include "tallyfs/types.h"

/* The 16-byte tuple: layout of NVMe's protection information with 64-bit guard.  See
 * docs/FORMAT.md. */
struct tuple16 {
	le64 guard;
	le16 app;	/* kind of block */
	uint8_t ref[6]; /* device interval number, little-endian, 48 bits */
} __attribute__((packed));

/* The classic 8-byte T10 tuple (big-endian, as the standard has it). */
struct t10_tuple {
	uint8_t guard[2], app[2], ref[4];
} __attribute__((packed));

struct integrity_iter {
	void *prot_buf; /* tuples, advanced by the function */
	const void *data_buf;
	uint64_t seed;	    /* reference tag of the next interval, advanced */
	uint32_t data_size; /* bytes at data_buf, a multiple of the interval */
	uint32_t interval;  /* bytes */
	uint64_t key;	    /* the profile's seed for guards */
	uint16_t app;	    /* application tag to store; verify compares unless it is 0 */
	const char *name;   /* device, for messages */
	/* set by verify on mismatch */
	uint64_t bad_ref;  /* interval that failed */
	uint64_t expected; /* guard: what the tuple says; tags: what was asked for */
	uint64_t found;	   /* guard: what the data gives; tags: what the tuple says */
	const char *what;  /* "guard", "app tag" or "ref tag" */
};

struct blk_integrity;
/* generate: fill tuples.  verify: 0, or -EILSEQ at the first interval that does not match. */
typedef int integrity_fn(struct integrity_iter *it);

struct integrity_profile {
	const char *name;
	integrity_fn *generate_fn, *verify_fn;
	uint8_t tuple_size, tag_size; /* bytes */
	uint8_t tag_offset;	      /* bytes into the tuple */
};
extern const struct integrity_profile profile_xxh3_64, profile_crc32;
extern const struct integrity_profile profile_t10_type1_crc, profile_t10_type1_ip;
extern const struct integrity_profile profile_t10_type3_crc, profile_t10_type3_ip;

enum {
	BLK_INTEGRITY_GENERATE = 1 << 0,
	BLK_INTEGRITY_VERIFY = 1 << 1,
};

/*
 * Where the tuples of a bio come from when it is read, for devices whose bios
 * arrive without a payload.  load: copy the tuples of @n intervals from
 * @first on into @buf.  0 or -errno (which fails the bio).
 */
struct tuple_store_ops {
	int (*load)(void *store, uint64_t first, unsigned int n, void *buf);
	/* called after a successful write with the generated tuples; may be NULL */
	int (*save)(void *store, uint64_t first, unsigned int n, const void *buf);
};

struct blk_integrity {
	const struct integrity_profile *profile;
	uint8_t interval_exp; /* log2 bytes, 9 .. 16 */
	unsigned int flags;
	uint64_t key; /* seeds every guard */
	uint16_t app; /* default application tag */
	const struct tuple_store_ops
		*store_ops; /* NULL: a read's payload only comes from its caller */
	void *store;
};

struct bio_integrity_payload {
	struct bio *bip_bio;
	struct bvec_iter bip_iter; /* bi_sector: the seed in intervals; bi_size: tuple bytes */
	uint16_t bip_vcnt, bip_max_vcnt;
	unsigned int bip_flags;
	uint16_t bip_app;
	/*
	 * Verification starts from these two: data and tuples as submitted.
	 * bi_iter and bip_iter have moved on by the time the bio completes.
	 */
	struct bvec_iter bip_data_iter, bip_tuple_iter;
	struct bvec_iter bip_prep_iter; /* tuples of the whole bio as prepared, before any cut */
	struct work bip_work;
	/* first mismatch, for messages and for telling which block failed */
	uint64_t bip_bad_ref, bip_expected, bip_found;
	const char *bip_what;
	struct bio_vec *bip_vec;
	struct bio_vec bip_inline_vecs[4];
};
enum {
	BIP_OWNS_BUF = 1 << 0, /* tuple memory is ours: free it */
	BIP_FROM_POOL = 1 << 1,
	BIP_VECS_EXTERNAL = 1 << 2, /* bip_vec is an allocation of its own */
	BIP_VECS_FROM_POOL = 1 << 3,
	BIP_BUF_FROM_POOL = 1 << 4,
	/* What completion has to do before bi_end_io; travels to the parts of a split. */
	BIP_CHECK = 1 << 5, /* verify */
	BIP_SAVE = 1 << 6,  /* give the tuples to the store */
	BIP_GENERATE =
		1 << 7, /* tuples not filled in yet (between prepare and issue, in submit_bio) */
};

/* Payload for up to @nr_vecs pieces of tuple memory.  NULL: out of memory (only without a pool). */
struct bio_integrity_payload *bio_integrity_alloc(struct bio *bio, unsigned int nr_vecs);
void bio_integrity_free(struct bio *bio);
/* Append tuple memory; @len, or 0 when full or where it would leave a gap the device can't take. */
unsigned int bio_integrity_add_page(struct bio *bio, void *base, unsigned int len);
bool bio_integrity_enabled(struct bio *bio);
unsigned int bio_integrity_intervals(const struct blk_integrity *bi, unsigned int sectors);
unsigned int bio_integrity_bytes(const struct blk_integrity *bi, unsigned int sectors);

/*
 * Start and size of @bio must be whole intervals (-EINVAL).  A bio that
 * bio_integrity_enabled() says no to is left as it is (0).
 *
 * Prepare @bio: tuple buffer allocated and mapped, reference tag seeded; a
 * write's tuples are generated at once, a read gets the verifying completion
 * (its tuples loaded from the store).  0 or -errno, nothing leaked.
 */
int bio_integrity_prep(struct bio *bio);
/*
 * For a read whose tuples the caller already has (captured together with the
 * mapping): same, with a copy of @tuples (one per interval of the bio).
 */
int bio_integrity_prep_tuples(struct bio *bio, const void *tuples);
/*
 * Verify all of @bio's data against its payload, from the first segment as
 * submitted (or, before that, as prepared), whatever bi_iter says.  0, or
 * -EILSEQ and bip_bad_ref & co. tell of the first interval that fails.
 */
int bio_integrity_verify(struct bio *bio);
int bio_integrity_generate(struct bio *bio);
void bio_integrity_endio(struct bio *bio);
/* Wait for all verification in flight.  Not from a completion. */
void blk_flush_integrity(void);
/* Copy tuple bytes out of (linearise) the payload: the tuples of the whole bio as prepared. Returns
 * bytes copied. */
unsigned int bio_integrity_copy_tuples(const struct bio *bio, void *buf, unsigned int size);

unsigned int
bio_integrity_tag_size(struct bio *bio); /* bytes of application tag space in the whole bio */
/*
 * Write and read application bytes, tag_size of them per tuple; @len up to
 * bio_integrity_tag_size().  Guards do not cover them.  A device whose bios
 * carry tags has 0 as its app (else verification compares it).
 * 0, -EINVAL no payload or no room in a tuple, -ENOSPC @len too long.
 */
int bio_integrity_set_tag(struct bio *bio, const void *tag, unsigned int len);
int bio_integrity_get_tag(struct bio *bio, void *tag, unsigned int len);

void bio_integrity_advance(struct bio *bio, unsigned int bytes_done);
void bio_integrity_trim(struct bio *bio, unsigned int offset, unsigned int sectors);
/* @front: new front part of @sectors; @bio keeps the rest (already prepared bio).  0 or -ENOMEM. */
int bio_integrity_split(struct bio *bio, struct bio *front, unsigned int sectors);
int bio_integrity_clone(struct bio *bio, struct bio *src);

int bioset_integrity_create(struct bio_set *bs, unsigned int pool_size);
void bioset_integrity_free(struct bio_set *bs);

/* Without a bio (metadata, file system's own buffers): tuples of @n intervals at @data. */
void blk_integrity_generate_buf(const struct blk_integrity *bi, const void *data, uint64_t first,
				unsigned int n, uint16_t app, void *tuples);
/*
 * 0, or -EILSEQ and *bad (may be NULL) = index of the first interval that fails.  @app: the
 * application tag that all must have; 0: whatever they have.
 */
int blk_integrity_verify_buf(const struct blk_integrity *bi, const void *data, uint64_t first,
			     unsigned int n, uint16_t app, const void *tuples, unsigned int *bad);

/* Process-wide counters for `tallyctl status`. */
struct integrity_stats {
	uint64_t generated, verified, mismatches; /* intervals */
};
void integrity_get_stats(struct integrity_stats *st);

#endif
