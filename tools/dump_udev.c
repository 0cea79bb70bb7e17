/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a udev rule wants to know of a tallyfs. */
#include <blkid.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <uuid/uuid.h>
#include "core/lib/text.h"
#include "tallyfs/format.h"
#include "tools/dump_udev.h"

/* libblkid takes all UTF-8 for harmless. */
static bool has_hidden(const char *s)
{
	size_t left = strlen(s), n;
	uint32_t c = 0;

	for (; left; s += n, left -= n) {
		n = text_char(s, left, &c);
		if (n && c >= 0x80 && !text_is_plain(c))
			return true;
		n = n ? n : 1;
	}
	return false;
}

static void encode_hidden(const char *s, char *safe, char *encoded)
{
	for (; *s; s++) {
		bool plain = isalnum((unsigned char)*s);

		*safe++ = plain ? *s : '_';
		encoded += plain ? sprintf(encoded, "%c", *s)
				 : sprintf(encoded, "\\x%02x", (unsigned char)*s);
	}
	*safe = *encoded = '\0';
}

static void print_encoded(const char *key, const char *value)
{
	char safe[TFS_LABEL_MAX * 4 + 1], encoded[TFS_LABEL_MAX * 4 + 1];

	if (!*value)
		return;
	if (has_hidden(value))
		encode_hidden(value, safe, encoded);
	else if (blkid_safe_string(value, safe, sizeof(safe)) ||
		 blkid_encode_string(value, encoded, sizeof(encoded)))
		return;
	/* udev takes the backslashes of the one, and there are none in the other */
	printf("%s=%s\n%s_ENC=%s\n", key, safe, key, encoded);
}

void dump_print_udev(const struct tfs_super *s)
{
	char uuid[37], label[TFS_LABEL_MAX + 1] = "";

	uuid_unparse_lower(s->uuid, uuid);
	memcpy(label, s->label, strnlen((const char *)s->label, TFS_LABEL_MAX));
	puts("ID_FS_TYPE=tallyfs\nID_FS_USAGE=filesystem");
	print_encoded("ID_FS_UUID", uuid);
	print_encoded("ID_FS_LABEL", label);
}
