/* step4_weights.h - the fourth step: the policy's new weights reach those who generate.
 *
 * Takes  a digest.
 * Gives  the weights that have it, chunk by chunk, each of which can be checked by itself.
 *
 * The data. core/model/weights.h cuts forward weights into chunks of 4 MiB in Hugging Face order
 * and makes the digest from the chunks' digests. So a receiver first asks for the digests of
 * all chunks (`get` with first -1) and sees that together they make the digest it wants; then it asks
 * for chunks, several at a time, from whoever holds them, and checks each; what it has checked it
 * keeps when the source goes away, and asks the next for the rest. On one host nothing is sent: the
 * packed file is mapped. A source answers what it does not hold, and chunks that there are not, with
 * `of` 0; of a get it may leave out what is more than it likes to queue, which is then asked again.
 *
 *   get    {digest, first, count}  chunks first .. first+count-1, or with -1 the list of digests
 *   chunk  {digest, index, of}     beside it `bytes`: a chunk's, or 32 for each of `of` chunks */
#ifndef TR_PROTO_STEP4_WEIGHTS_H
#define TR_PROTO_STEP4_WEIGHTS_H

#include "proto/content.h"

struct tr_bytes {          /* content of `chunk` and of `tell` */
    struct tr_array bytes; /* u8 */
};

extern const struct tr_record tr_chunk_record, tr_report_record; /* struct tr_bytes */

#endif
