#include "launch/roles.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "actors/rule.h"
#include "core/base/json.h"

enum { REPLICAS_MAX = 1024, THREADS_MAX = 1024 };

/* "a, b or c", into text. */
static void list_names(const char *const *name, char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; name[i] && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s",
                                 i == 0        ? ""
                                 : name[i + 1] ? ", "
                                               : " or ",
                                 name[i]);
}

/* Every key of an object is one of these (NULL last). */
static enum tr_status check_keys(json_t *object, const char *where,
                                 const char *const *known, struct tr_err *err)
{
    const char *name = NULL;
    json_t *value = NULL;
    char names[120];
    if (!json_is_object(object))
        return tr_err_set(err, TR_BADARG, "%s: expected keys and values, found %s", where,
                          tr_json_kind(object));
    json_object_foreach(object, name, value)
    {
        int i = 0;
        (void)value;
        while (known[i] && strcmp(known[i], name) != 0) i++;
        if (known[i]) continue;
        list_names(known, names, sizeof names);
        return tr_err_set(err, TR_BADARG, "%s: %.40s: no such key, expected %s", where,
                          name, names);
    }
    return TR_OK;
}

static enum tr_status read_common(const json_t *value, const char *where,
                                  struct tr_role_wish *w, struct tr_err *err)
{
    enum tr_status st = tr_json_int_or(value, "replicas", where, 0, REPLICAS_MAX,
                                       w->replicas, &w->replicas, err);
    if (st == TR_OK)
        st = tr_json_int_or(value, "threads", where, 1, THREADS_MAX, w->threads,
                            &w->threads, err);
    if (st == TR_OK)
        st = tr_json_string_or(value, "model", where, w->model, &w->model, err);
    return st;
}

static enum tr_status read_role(json_t *value, const char *where, enum tr_role role,
                                struct tr_roles *out, struct tr_err *err)
{
    static const char *const known[] = {"replicas", "threads", "model", "learning_rate",
                                        NULL};
    struct tr_role_wish *w = &out->role[role];
    char at[160];
    snprintf(at, sizeof at, "%.90s: roles: %s", where, tr_role_name(role));
    enum tr_status st = check_keys(value, at, known, err);
    if (st == TR_OK) st = read_common(value, at, w, err);
    if (st != TR_OK) return st;
    bool learner = role == TR_ROLE_POLICY || role == TR_ROLE_CRITIC;
    if (learner && w->replicas != 1)
        return tr_err_set(
            err, TR_BADARG,
            "%s: replicas: expected 1, found %lld: a learner is one process", at,
            (long long)w->replicas);
    if (role == TR_ROLE_POLICY && w->model)
        return tr_err_set(err, TR_BADARG,
                          "%s: model: set model_name_or_path, above the roles", at);
    if (role != TR_ROLE_CRITIC && json_object_get(value, "learning_rate"))
        return tr_err_set(err, TR_BADARG,
                          "%s: learning_rate: only the critic has one of its own", at);
    return tr_json_real_or(value, "learning_rate", at, 0, &out->critic_lr, err);
}

static enum tr_status check_range(const char *where, const char *key, double lo, double x,
                                  double hi, struct tr_err *err)
{
    if (x >= lo && x <= hi) return TR_OK;
    return tr_err_set(err, TR_BADARG, "%s: %s: expected a number from %g to %g, found %g",
                      where, key, lo, hi, x);
}

static enum tr_status read_rule(const json_t *value, const char *where, const char *rule,
                                struct tr_reward_wish *w, struct tr_err *err)
{
    if (strcmp(rule, "length") == 0)
        w->kind = TR_REWARD_LENGTH;
    else if (strcmp(rule, "regex") == 0)
        w->kind = TR_REWARD_REGEX;
    else
        return tr_err_set(err, TR_BADARG,
                          "%s: rule: expected length or regex, found %.40s", where, rule);
    enum tr_status st = tr_json_real_or(value, "target", where, 0, &w->target, err);
    if (st == TR_OK) st = tr_json_real_or(value, "scale", where, 100, &w->scale, err);
    if (st == TR_OK)
        st = tr_json_string_or(value, "pattern", where, NULL, &w->pattern, err);
    if (st == TR_OK)
        st = check_range(where, "target", 0, w->target, TR_RULE_TARGET_MOST, err);
    if (st == TR_OK)
        st = check_range(where, "scale", TR_RULE_SCALE_LEAST, w->scale,
                         TR_RULE_SCALE_MOST, err);
    if (st != TR_OK) return st;
    if (w->kind == TR_REWARD_REGEX && !w->pattern)
        return tr_err_set(err, TR_BADARG, "%s: pattern: a regex needs one", where);
    return TR_OK;
}

/* Each parameter belongs to one rule, and to nothing else. */
static enum tr_status check_parameters(const json_t *value, const char *where,
                                       enum tr_reward_kind kind, struct tr_err *err)
{
    static const struct {
        const char *name, *rule;
        enum tr_reward_kind kind;
    } row[] = {{"target", "length", TR_REWARD_LENGTH},
               {"scale", "length", TR_REWARD_LENGTH},
               {"pattern", "regex", TR_REWARD_REGEX}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (json_object_get(value, row[i].name) && kind != row[i].kind)
            return tr_err_set(err, TR_BADARG, "%s: %s: only rule: %s has one", where,
                              row[i].name, row[i].rule);
    return TR_OK;
}

/* Exactly one of model, rule and external says what it is. */
static enum tr_status read_kind(const json_t *value, const char *where,
                                struct tr_reward_wish *w, struct tr_err *err)
{
    const char *rule = NULL;
    bool external = false;
    enum tr_status st = tr_json_string_or(value, "rule", where, NULL, &rule, err);
    if (st == TR_OK)
        st = tr_json_bool_or(value, "external", where, false, &external, err);
    if (st != TR_OK) return st;
    if ((w->role.model != NULL) + (rule != NULL) + external != 1)
        return tr_err_set(err, TR_BADARG,
                          "%s: expected one of model: DIR, rule: NAME or external: true",
                          where);
    if (external) w->kind = TR_REWARD_EXTERNAL;
    if (rule) st = read_rule(value, where, rule, w, err);
    return st == TR_OK ? check_parameters(value, where, w->kind, err) : st;
}

/* A reward's name is said on the wire, and is part of the name of a log. */
static bool is_file_name(const char *name)
{
    for (const unsigned char *p = (const unsigned char *)name; *p; p++)
        if (*p < 0x20 || *p == 0x7f || *p == '/' || (*p == 0xc2 && p[1] < 0xa0))
            return false;
    return true;
}

enum tr_status tr_reward_weight(const json_t *value, const char *where, double otherwise,
                                double *out, struct tr_err *err)
{
    static const double most = 1e9; /* sums of weighted scores stay finite in float 32 */
    enum tr_status st = tr_json_real_or(value, "weight", where, otherwise, out, err);
    if (st == TR_OK && fabs(*out) > most)
        st = tr_err_set(err, TR_BADARG, "%s: weight: expected -1e9 to 1e9, found %g",
                        where, *out);
    return st;
}

enum tr_status tr_reward_read(json_t *value, const char *where,
                              struct tr_reward_wish *out, struct tr_err *err)
{
    static const char *const known[] = {"name",   "model",    "rule",    "external",
                                        "weight", "replicas", "threads", "target",
                                        "scale",  "pattern",  NULL};
    const char *name = NULL;
    *out = (struct tr_reward_wish){.role = {.replicas = 1}};
    enum tr_status st = check_keys(value, where, known, err);
    if (st == TR_OK) st = tr_json_string(value, "name", where, &name, err);
    if (st == TR_OK && (!name[0] || strlen(name) >= sizeof out->name))
        st = tr_err_set(err, TR_BADARG, "%s: name: expected 1 to %zu bytes", where,
                        sizeof out->name - 1);
    if (st == TR_OK) st = read_common(value, where, &out->role, err);
    if (st == TR_OK) st = tr_reward_weight(value, where, 1, &out->weight, err);
    if (st == TR_OK) st = read_kind(value, where, out, err);
    if (st == TR_OK && !is_file_name(name))
        st = tr_err_set(err, TR_BADARG,
                        "%s: name: expected no '/' and no control characters", where);
    if (st == TR_OK) snprintf(out->name, sizeof out->name, "%s", name);
    return st;
}

static enum tr_status read_rewards(json_t *list, const char *where, struct tr_roles *out,
                                   struct tr_err *err)
{
    char at[160];
    size_t n = json_array_size(list);
    if (!json_is_array(list))
        return tr_err_set(err, TR_BADARG, "%s: roles: reward: expected a list, found %s",
                          where, tr_json_kind(list));
    if (n < 1 || n > TR_REWARDS_MAX)
        return tr_err_set(err, TR_BADARG,
                          "%s: roles: reward: expected 1 to %d, found %zu", where,
                          TR_REWARDS_MAX, n);
    for (size_t i = 0; i < n; i++) {
        snprintf(at, sizeof at, "%.90s: roles: reward %zu", where, i + 1);
        enum tr_status st =
            tr_reward_read(json_array_get(list, i), at, &out->reward[i], err);
        if (st != TR_OK) return st;
        for (size_t k = 0; k < i; k++)
            if (strcmp(out->reward[k].name, out->reward[i].name) == 0)
                return tr_err_set(err, TR_BADARG, "%s: name: %s is there twice", at,
                                  out->reward[i].name);
        out->rewards++;
    }
    return TR_OK;
}

static enum tr_status read_one(const char *name, json_t *value, const char *where,
                               struct tr_roles *out, struct tr_err *err)
{
    assert(out);
    const char **text = strcmp(name, "listen") == 0   ? &out->listen
                        : strcmp(name, "keys") == 0   ? &out->keys
                        : strcmp(name, "source") == 0 ? &out->source
                                                      : NULL;
    if (text) {
        *text = json_string_value(value);
        if (*text) return TR_OK;
        return tr_err_set(err, TR_BADARG, "%s: roles: %s: expected a text, found %s",
                          where, name, tr_json_kind(value));
    }
    if (strcmp(name, "reward") == 0) return read_rewards(value, where, out, err);
    int role = tr_role_of(name);
    if (role >= 0) return read_role(value, where, (enum tr_role)role, out, err);
    return tr_err_set(err, TR_BADARG,
                      "%s: roles: %s: expected listen, keys, source, policy, rollout, "
                      "reference, critic or reward",
                      where, name);
}

enum tr_status tr_roles_read(json_t *block, const char *where, const char *reward_model,
                             struct tr_roles *out, struct tr_err *err)
{
    const char *name = NULL;
    json_t *value = NULL;
    *out = (struct tr_roles){.listen = "tcp://127.0.0.1:0"};
    for (int r = 0; r < TR_ROLES; r++) out->role[r].replicas = 1;
    json_object_foreach(block, name, value)
    {
        enum tr_status st = read_one(name, value, where, out, err);
        if (st != TR_OK) return st;
    }
    if (out->rewards == 0 && reward_model) {
        out->rewards = 1;
        out->reward[0] = (struct tr_reward_wish){
            .name = "main", .role = {.replicas = 1, .model = reward_model}, .weight = 1};
    }
    return TR_OK;
}

void tr_roles_of_stage(struct tr_roles *r, const char *stage, int64_t threads)
{
    enum tr_role has[] = {TR_ROLE_POLICY, TR_ROLE_REFERENCE};
    if (strcmp(stage, "ppo") == 0) return;
    r->role[TR_ROLE_ROLLOUT].replicas = r->role[TR_ROLE_CRITIC].replicas = 0;
    r->rewards = 0;
    if (strcmp(stage, "kto") != 0) r->role[TR_ROLE_REFERENCE].replicas = 0;
    for (size_t i = 0; i < sizeof has / sizeof *has; i++)
        if (r->role[has[i]].threads == 0 && threads > 0)
            r->role[has[i]].threads = threads;
}
