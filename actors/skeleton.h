/* skeleton.h - a company small enough to run anywhere, with nothing read from files.
 *
 * What it is for. The whole path of a PPO step, from prompts to two new digests, with a random
 * tiny Llama in every role. It is what a new host, a new transport or a changed kernel is tried on
 * first: the digest must be the same wherever and however it runs.
 *
 * The data. Policy, rollout and reference draw the same model from the seed; the reward model and
 * the critic draw theirs from the seed plus 1 and plus 2. */
#ifndef TR_ACTORS_SKELETON_H
#define TR_ACTORS_SKELETON_H

#include "actors/coordinator/plan_ppo.h"
#include "actors/role.h"

struct tr_skeleton; /* owns shapes and prompts */

enum tr_status tr_skeleton_create(uint64_t seed, struct tr_skeleton **out,
                                  struct tr_err *err);
void tr_skeleton_destroy(struct tr_skeleton *s);

/* How a role of the skeleton starts; borrows s and ex. */
struct tr_role_start tr_skeleton_role(const struct tr_skeleton *s, enum tr_role role,
                                      const struct tr_exec *ex);
struct tr_ppo_settings tr_skeleton_settings(const struct tr_skeleton *s);
struct tr_prompts tr_skeleton_prompts(const struct tr_skeleton *s);

#endif
