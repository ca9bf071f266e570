#include "core/learn/plan.h"

#include <math.h>

#include "kernels/philox.h"

static int64_t divide_up(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

enum tr_status tr_plan_make(struct tr_plan *plan, struct tr_err *err)
{
    if (plan->examples < 1)
        return tr_err_set(err, TR_BADARG, "the dataset has no valid samples");
    plan->micro_per_epoch = plan->drop_last ? plan->examples / plan->batch
                                            : divide_up(plan->examples, plan->batch);
    if (plan->micro_per_epoch < 1)
        return tr_err_set(err, TR_BADARG,
                          "%lld samples do not fill one batch of %lld, and "
                          "dataloader_drop_last drops the rest",
                          (long long)plan->examples, (long long)plan->batch);
    plan->steps_per_epoch = divide_up(plan->micro_per_epoch, plan->accumulation);
    double wanted = ceil(plan->epochs * (double)plan->steps_per_epoch);
    if (plan->max_steps <= 0 && !(wanted >= 1 && wanted < 1e15))
        return tr_err_set(err, TR_BADARG, "num_train_epochs %g gives no steps",
                          plan->epochs);
    plan->total = plan->max_steps > 0 ? plan->max_steps : (int64_t)wanted;
    return TR_OK;
}

struct tr_plan_step tr_plan_at(const struct tr_plan *plan, int64_t step)
{
    int64_t k = step % plan->steps_per_epoch;
    int64_t from = k * plan->accumulation;
    int64_t to = from + plan->accumulation;
    if (to > plan->micro_per_epoch) to = plan->micro_per_epoch;
    int64_t end = to * plan->batch;
    if (end > plan->examples) end = plan->examples;
    int64_t epoch = step / plan->steps_per_epoch;
    return (struct tr_plan_step){
        .epoch = epoch,
        .first = from * plan->batch,
        .count = end - from * plan->batch,
        .epoch_after = (double)epoch + (double)to / (double)plan->micro_per_epoch,
    };
}

void tr_plan_order(const struct tr_plan *plan, int64_t epoch, int64_t *order)
{
    if (!plan->shuffle) {
        for (int64_t i = 0; i < plan->examples; i++) order[i] = i;
        return;
    }
    struct tr_philox key = tr_philox_key(plan->seed, TR_FOR_PROMPTS);
    tr_philox_permutation(key, 0, (uint32_t)epoch, plan->examples, order);
}
