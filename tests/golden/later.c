/* The kinds of case that are not computed yet, each with what will bring it. A pattern is
 * matched (fnmatch) against the whole name of the case: family/part/case. */
#include <fnmatch.h>
#include <stddef.h>
#include <stdio.h>

#include "tests/golden/golden.h"

static const struct {
    const char *pattern, *brings;
} later[] = {
    {"F3/*(tool calls)", "tool calls"},
    {"F3/*(mask_history)", "mask_history"},
    {"F3/*(packing in sft)", "packing in sft"},
    {"F3/*(neat_packing)", "packing in sft"},
    {"F3/*(another template)", "the rest of the templates"},
    {"F3/*(a tokenizer that is not in this folder)", "a folder that has the tokenizer"},
    {"F4/*/dpo*", "the DPO stage"},
    {"F6/*", "LoRA"},
    {"F9/*/*lora*", "LoRA"},
    {"F9/*/dpo*", "the DPO stage"},
    {"F9/*/orpo*", "the DPO stage"},
    {"F9/*/simpo*", "the DPO stage"},
    {"F9/*/ppo*", "the PPO stage"},
    {"F10/*/group_advantages*", "critic-free advantages"},
    {"golden.json/dpo", "the DPO stage"},
    {"golden.json/ld", "the DPO stage"},
    {"golden.json/eaft", "the EAFT loss"},
    {"golden.json/pack", "packing in sft"},
};

bool tr_golden_later(struct tr_golden *g, const char *name)
{
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        if (fnmatch(later[i].pattern, name, 0) != 0) continue;
        printf("later %s: comes with %s\n", name, later[i].brings);
        g->later++;
        return true;
    }
    return false;
}
