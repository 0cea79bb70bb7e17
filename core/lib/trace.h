/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Static probes (USDT) where <sys/sdt.h> is present: a no-op instruction each, until perf or
 * bpftrace looks.  They are named after the kernel's iomap and block events where those exist;
 * docs/DEBUGGING.md shows how to use them.  The provider is `tallyfs`.
 *
 *	iomap_iter             ino, pos, length, flags
 *	iomap_readahead        ino, pos, length
 *	iomap_writepages       ino, start, end
 *	iomap_ioend_submit     ino, pos, length, device address
 *	iomap_ioend_finish     ino, pos, length, error
 *	iomap_dio_read_begin   ino, pos, length
 *	iomap_dio_write_begin  ino, pos, length
 *	iomap_mismatch         ino, pos, device address
 *	block_bio_queue        bio, operation, device address, bytes
 *	block_bio_complete     bio, operation, device address, error
 *	trans_restart          block, kind, tries
 *	journal_commit         transaction, bytes of payload, error
 *	journal_checkpoint     last durable transaction, log blocks
 *	inode_evict            ino
 *
 * Offsets, lengths and addresses are in bytes, errors negative errno values.
 */
#ifndef CORE_TRACE_H
#define CORE_TRACE_H

#ifdef HAVE_SDT
#include <sys/sdt.h>
#define trace1(name, a) DTRACE_PROBE1(tallyfs, name, a)
#define trace3(name, a, b, c) DTRACE_PROBE3(tallyfs, name, a, b, c)
#define trace4(name, a, b, c, d) DTRACE_PROBE4(tallyfs, name, a, b, c, d)
#else
#define trace1(name, a) ((void)(a))
#define trace3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#define trace4(name, a, b, c, d) ((void)(a), (void)(b), (void)(c), (void)(d))
#endif

#endif
