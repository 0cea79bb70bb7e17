/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The do-nothing server's files: a tree in memory. */
#include "nulltree.h"

#include <string.h>
#include <sys/stat.h>

#include "core/lib/util.h"

#define HASH_BITS 20

static struct node **nodes; /* by number */
static uint64_t nr_nodes, max_nodes, live_nodes;
static struct entry **buckets;

bool tree_init(void)
{
	buckets = tl_zalloc(sizeof(*buckets) << HASH_BITS);
	nr_nodes = 1; /* so that the root is number 1 */
	return buckets && node_new(S_IFDIR | 0777, 0, 0);
}

void tree_exit(void)
{
	uint64_t i;

	for (i = 0; i < 1u << HASH_BITS; i++)
		while (buckets[i])
			entry_remove(buckets[i]);
	for (i = 1; i < nr_nodes; i++) {
		if (nodes[i]) {
			tl_free(nodes[i]->data);
			tl_free(nodes[i]);
		}
	}
	tl_free(nodes);
	tl_free(buckets);
}

uint64_t tree_nodes(void)
{
	return live_nodes;
}

struct node *node_get(uint64_t ino)
{
	return ino < nr_nodes ? nodes[ino] : NULL;
}

static bool more_nodes(void)
{
	uint64_t max = max_nodes ? 2 * max_nodes : 1024;
	struct node **more = tl_realloc(nodes, max * sizeof(*nodes));

	if (!more)
		return false;
	memset(more + max_nodes, 0, (max - max_nodes) * sizeof(*nodes));
	nodes = more;
	max_nodes = max;
	return true;
}

struct node *node_new(uint32_t mode, uint32_t uid, uint32_t gid)
{
	struct node *n;

	if (nr_nodes >= max_nodes && !more_nodes())
		return NULL;
	n = tl_zalloc(sizeof(*n));
	if (!n)
		return NULL;
	n->ino = nr_nodes;
	n->mode = mode;
	n->uid = uid;
	n->gid = gid;
	n->nlink = S_ISDIR(mode) ? 1 : 0;
	clock_gettime(CLOCK_REALTIME_COARSE, &n->mtime);
	n->ctime = n->mtime;
	nodes[nr_nodes++] = n;
	live_nodes++;
	return n;
}

static void node_drop(struct node *n)
{
	if (n->nlink || n->nlookup)
		return;
	nodes[n->ino] = NULL;
	live_nodes--;
	tl_free(n->data);
	tl_free(n);
}

void node_forget(struct node *n, uint64_t count)
{
	n->nlookup -= min_t(uint64_t, n->nlookup, count);
	node_drop(n);
}

void node_put_link(struct node *n)
{
	/* A directory goes with its name; it has one more link from itself. */
	n->nlink = S_ISDIR(n->mode) ? 0 : n->nlink - 1;
	node_drop(n);
}

bool node_resize(struct node *n, uint64_t size)
{
	if (size > n->capacity) {
		uint64_t capacity = max_t(uint64_t, size, n->capacity + n->capacity / 2);
		char *data = tl_realloc(n->data, capacity);

		if (!data)
			return false;
		n->data = data;
		n->capacity = capacity;
	}
	if (size > n->size)
		memset(n->data + n->size, 0, size - n->size);
	n->size = size;
	return true;
}

static struct entry **bucket(const struct node *dir, const char *name, size_t len)
{
	uint64_t h = dir->ino * 0x9e3779b97f4a7c15ull;
	size_t i;

	for (i = 0; i < len; i++)
		h = (h ^ (unsigned char)name[i]) * 0x9e3779b97f4a7c15ull;
	return &buckets[h >> (64 - HASH_BITS)];
}

struct entry *entry_find(struct node *dir, const char *name)
{
	size_t len = strlen(name);
	struct entry *e;

	for (e = *bucket(dir, name, len); e; e = e->hash_next)
		if (e->dir == dir && e->len == len && !memcmp(e->name, name, len))
			return e;
	return NULL;
}

bool entry_add(struct node *dir, const char *name, struct node *n)
{
	size_t len = strlen(name);
	struct entry *e = tl_alloc(sizeof(*e) + len + 1);
	struct entry **b = bucket(dir, name, len);

	if (!e)
		return false;
	memcpy(e->name, name, len + 1);
	e->len = len;
	e->dir = dir;
	e->node = n;
	e->cookie = ++dir->last_cookie;
	e->hash_next = *b;
	*b = e;
	e->next = NULL;
	e->prev = dir->last;
	if (dir->last)
		dir->last->next = e;
	else
		dir->first = e;
	dir->last = e;
	dir->size++;
	n->nlink++;
	return true;
}

void entry_remove(struct entry *e)
{
	struct entry **p = bucket(e->dir, e->name, e->len);

	while (*p != e)
		p = &(*p)->hash_next;
	*p = e->hash_next;
	if (e->prev)
		e->prev->next = e->next;
	else
		e->dir->first = e->next;
	if (e->next)
		e->next->prev = e->prev;
	else
		e->dir->last = e->prev;
	if (e->dir->cursor == e)
		e->dir->cursor = NULL;
	e->dir->size--;
	tl_free(e);
}

struct entry *entry_after(struct node *dir, uint64_t cookie)
{
	struct entry *e = dir->cursor && dir->cursor->cookie == cookie ? dir->cursor : dir->first;

	while (e && e->cookie <= cookie)
		e = e->next;
	return e;
}
