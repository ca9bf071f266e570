#include "proto/step4_weights.h"

static const struct tr_field field[] = {
    {"bytes", TR_FIELD_U8, false, offsetof(struct tr_bytes, bytes), 0, TR_BULK_BYTES,
     NULL},
};
const struct tr_record tr_chunk_record = {"chunk", sizeof(struct tr_bytes), 1, field};
const struct tr_record tr_report_record = {"report", sizeof(struct tr_bytes), 1, field};
