/* ppo_state.c - what one PPO step leaves to the next, as one line of JSON and back. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/coordinator/plan_ppo_parts.h"
#include "core/base/json.h"

static json_t *digest_json(const struct tr_digest *d)
{
    char text[65];
    tr_digest_text(d, text);
    return json_string(text);
}

static json_t *set_json(const struct tr_reward_set *set)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < set->n && list; i++) {
        const struct tr_reward_slot *s = &set->slot[i];
        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:f, s:I, s:o}", "name", s->name, "folder", s->folder,
                      "weight", s->weight, "replicas", (json_int_t)s->replicas, "digest",
                      s->known ? digest_json(&s->digest) : json_null()));
    }
    return list;
}

enum tr_status tr_ppo_plan_text(const struct tr_plan_ppo *p, const struct tr_core *core,
                                struct tr_buf *out, struct tr_err *err)
{
    struct tr_digest policy = tr_core_lineage(core, p->post[TR_ROLE_POLICY]),
                     critic = tr_core_lineage(core, p->post[TR_ROLE_CRITIC]);
    char *carried = tr_ppo_state_text(&p->state);
    json_t *doc = json_pack(
        "{s:I, s:I, s:s, s:[o, o], s:o, s:o, s:o, s:o, s:o}", "step",
        (json_int_t)p->committed, "evaluated", (json_int_t)p->evaluated, "carried",
        carried ? carried : "", "versions", digest_json(&p->version[0]),
        digest_json(&p->version[1]), "critic", digest_json(&p->critic), "policy_lineage",
        digest_json(&policy), "critic_lineage", digest_json(&critic), "rewards",
        set_json(&p->rewards), "previous",
        p->has_previous ? set_json(&p->previous) : json_null());
    char *text =
        doc && carried ? json_dumps(doc, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    free(carried);
    json_decref(doc);
    if (!text) return tr_err_set(err, TR_NOMEM, "the state of a step");
    enum tr_status st = tr_buf_puts(out, text, err);
    free(text);
    return st;
}

/* ---- and back ---- */

static const char *const where = "the state of a step";

static enum tr_status read_digest(const json_t *doc, const char *key, const char *at,
                                  struct tr_digest *out, struct tr_err *err)
{
    const char *text = NULL;
    enum tr_status st = tr_json_string(doc, key, at, &text, err);
    if (st != TR_OK) return st;
    st = tr_digest_parse(text, out, err);
    return st == TR_OK ? TR_OK : tr_err_wrap(err, st, "%s: %s", at, key);
}

static enum tr_status read_text(const json_t *doc, const char *key, const char *at,
                                char *out, size_t size, struct tr_err *err)
{
    const char *text = NULL;
    enum tr_status st = tr_json_string(doc, key, at, &text, err);
    if (st != TR_OK) return st;
    if (strlen(text) >= size)
        return tr_err_set(err, TR_BADARG, "%s: %s: expected at most %zu bytes", at, key,
                          size - 1);
    snprintf(out, size, "%s", text);
    return TR_OK;
}

static enum tr_status read_slot(const json_t *doc, const char *at,
                                struct tr_reward_slot *s, struct tr_err *err)
{
    *s = (struct tr_reward_slot){0};
    enum tr_status st = read_text(doc, "name", at, s->name, sizeof s->name, err);
    if (st == TR_OK) st = read_text(doc, "folder", at, s->folder, sizeof s->folder, err);
    if (st == TR_OK) st = tr_json_real(doc, "weight", at, &s->weight, err);
    if (st == TR_OK)
        st = tr_json_int(doc, "replicas", at, 0, INT32_MAX, &s->replicas, err);
    s->known = !json_is_null(json_object_get(doc, "digest"));
    if (st == TR_OK && s->known) st = read_digest(doc, "digest", at, &s->digest, err);
    return st;
}

static enum tr_status read_set(const json_t *doc, const char *key,
                               struct tr_reward_set *set, struct tr_err *err)
{
    char at[64];
    const json_t *list = json_object_get(doc, key);
    size_t n = json_array_size(list);
    if (n < 1 || n > TR_REWARDS_MAX)
        return tr_err_set(err, TR_BADARG, "%s: %s: expected 1 to %d, found %zu", where,
                          key, TR_REWARDS_MAX, n);
    set->n = (int64_t)n;
    for (size_t i = 0; i < n; i++) {
        snprintf(at, sizeof at, "%s: %s %zu", where, key, i + 1);
        enum tr_status st = read_slot(json_array_get(list, i), at, &set->slot[i], err);
        if (st != TR_OK) return st;
    }
    return TR_OK;
}

static enum tr_status read_versions(const json_t *list, struct tr_digest version[2],
                                    struct tr_err *err)
{
    for (size_t i = 0; i < 2; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (!text) return tr_err_set(err, TR_BADARG, "%s: versions: expected two", where);
        enum tr_status st = tr_digest_parse(text, &version[i], err);
        if (st != TR_OK) return st;
    }
    return TR_OK;
}

enum tr_status tr_ppo_plan_read(struct tr_plan_ppo *p, const char *text,
                                struct tr_digest lineage[2], struct tr_err *err)
{
    json_error_t fault;
    const char *carried = NULL;
    json_t *doc = json_loads(text, 0, &fault);
    if (!doc) return tr_err_set(err, TR_BADARG, "%s: %s", where, fault.text);
    p->committed = json_integer_value(json_object_get(doc, "step"));
    p->evaluated = json_integer_value(json_object_get(doc, "evaluated"));
    enum tr_status st = tr_json_string(doc, "carried", where, &carried, err);
    if (st == TR_OK) st = tr_ppo_state_parse(carried, &p->state, err);
    if (st == TR_OK)
        st = read_versions(json_object_get(doc, "versions"), p->version, err);
    if (st == TR_OK) st = read_digest(doc, "critic", where, &p->critic, err);
    if (st == TR_OK) st = read_digest(doc, "policy_lineage", where, &lineage[0], err);
    if (st == TR_OK) st = read_digest(doc, "critic_lineage", where, &lineage[1], err);
    if (st == TR_OK) st = read_set(doc, "rewards", &p->rewards, err);
    p->has_previous = json_is_array(json_object_get(doc, "previous"));
    if (st == TR_OK && p->has_previous) st = read_set(doc, "previous", &p->previous, err);
    if (st == TR_OK && (p->committed < 0 || p->committed > p->set.steps))
        st = tr_err_set(err, TR_BADARG, "%s: step %lld of a run of %lld", where,
                        (long long)p->committed, (long long)p->set.steps);
    json_decref(doc);
    return st;
}
