/* host.h - which host this process runs on, for those who ask whether they see the same files.
 *
 * The data. A text that is equal for two processes when they run under the same kernel since the
 * same boot and see the same mounted file systems: boot id, mount namespace, user. Two that see the
 * same files may have different texts (containers); never the other way round. */
#ifndef TR_BASE_HOST_H
#define TR_BASE_HOST_H

enum { TR_HOST_BYTES = 128 };

/* "" when the system does not say. */
void tr_host_id(char out[TR_HOST_BYTES]);

#endif
