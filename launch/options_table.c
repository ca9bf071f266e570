/* Every key of LLaMA-Factory's five groups, and ours. The order is that of ALGORITHMS.md 11. */
#include <float.h>
#include <stddef.h>
#include <string.h>

#include "launch/options.h"

#define AT(field)    offsetof(struct tr_options, field)
#define ANY_NUMBER   -DBL_MAX, DBL_MAX
#define COUNT(least) least, 1e15

/* One line a key: honoured of each kind, noted, refused. */
#define BOOL(group, name, value, field)                                                  \
    {                                                                                    \
        name, group, TR_KEY_BOOL, TR_KEY_HONOURED, value, 0, 0, NULL, NULL, AT(field)    \
    }
#define INT(group, name, value, lo, hi, field)                                           \
    {                                                                                    \
        name, group, TR_KEY_INT, TR_KEY_HONOURED, value, lo, hi, NULL, NULL, AT(field)   \
    }
#define REAL(group, name, value, lo, hi, field)                                          \
    {                                                                                    \
        name, group, TR_KEY_REAL, TR_KEY_HONOURED, value, lo, hi, NULL, NULL, AT(field)  \
    }
#define TEXT(group, name, value, field)                                                  \
    {                                                                                    \
        name, group, TR_KEY_TEXT, TR_KEY_HONOURED, value, 0, 0, NULL, NULL, AT(field)    \
    }
#define WORD(group, name, value, words, why, field)                                      \
    {                                                                                    \
        name, group, TR_KEY_WORD, TR_KEY_HONOURED, value, 0, 0, words, why, AT(field)    \
    }
#define TRI(group, name, field)                                                          \
    {                                                                                    \
        name, group, TR_KEY_TRI, TR_KEY_HONOURED, NULL, 0, 0, NULL, NULL, AT(field)      \
    }
#define MAP(group, name, field)                                                          \
    {                                                                                    \
        name, group, TR_KEY_MAP, TR_KEY_HONOURED, NULL, 0, 0, NULL, NULL, AT(field)      \
    }
#define VALUE(group, name, field)                                                        \
    {                                                                                    \
        name, group, TR_KEY_ANY, TR_KEY_HONOURED, NULL, 0, 0, NULL, NULL, AT(field)      \
    }
#define NOTED(group, name, value)                                                        \
    {                                                                                    \
        name, group, TR_KEY_ANY, TR_KEY_NOTED, value, 0, 0, NULL, NULL, 0                \
    }
#define REFUSED(group, name, value, why)                                                 \
    {                                                                                    \
        name, group, TR_KEY_ANY, TR_KEY_REFUSED, value, 0, 0, NULL, why, 0               \
    }

#define F TR_KEY_FINETUNING
#define T TR_KEY_TRAINING
#define D TR_KEY_DATA
#define M TR_KEY_MODEL
#define G TR_KEY_GENERATING
#define O TR_KEY_OWN

static const struct tr_key table[] = {
    /* Finetuning */
    WORD(F, "stage", "sft", "pt sft rm !dpo kto ppo", "this stage comes later", stage),
    WORD(F, "finetuning_type", "lora", "full !lora !freeze !oft",
         "it comes later; set finetuning_type: full", tuning),
    REFUSED(F, "pure_bf16", "false",
            "set bf16: true (f32 masters, bf16 forward weights)"),
    BOOL(F, "plot_loss", "false", output.plot_loss),
    NOTED(F, "compute_accuracy", "false"),
    BOOL(F, "disable_shuffling", "false", steps.in_order),
    REFUSED(F, "early_stopping_steps", NULL, "evaluation comes later"),
    NOTED(F, "include_effective_tokens_per_second", "false"),
    NOTED(F, "freeze_vision_tower", "true"),
    NOTED(F, "freeze_multi_modal_projector", "true"),
    REFUSED(F, "freeze_language_model", "false", "there would be nothing to train"),
    REFUSED(F, "use_dft_loss", "false", "this loss comes later"),
    REFUSED(F, "use_eaft_loss", "false", "this loss comes later"),
    NOTED(F, "eaft_alpha", "1.0"),
    REFUSED(F, "use_asft_loss", "false", "this loss comes later"),
    NOTED(F, "asft_alpha", "0.1"),
    REFUSED(F, "use_llama_pro", "false", "set finetuning_type: full without it"),
    REFUSED(F, "use_adam_mini", "false", "the optimiser is AdamW"),
    REFUSED(F, "use_muon", "false", "the optimiser is AdamW"),
    REFUSED(F, "use_galore", "false", "the optimiser is AdamW"),
    REFUSED(F, "use_apollo", "false", "the optimiser is AdamW"),
    REFUSED(F, "use_badam", "false", "the optimiser is AdamW"),
    NOTED(F, "galore_target", "all"),
    NOTED(F, "galore_rank", "16"),
    NOTED(F, "galore_update_interval", "200"),
    NOTED(F, "galore_scale", "2.0"),
    NOTED(F, "galore_proj_type", "std"),
    NOTED(F, "galore_layerwise", "false"),
    NOTED(F, "apollo_target", "all"),
    NOTED(F, "apollo_rank", "16"),
    NOTED(F, "apollo_update_interval", "200"),
    NOTED(F, "apollo_scale", "32.0"),
    NOTED(F, "apollo_proj", "random"),
    NOTED(F, "apollo_proj_type", "std"),
    NOTED(F, "apollo_scale_type", "channel"),
    NOTED(F, "apollo_layerwise", "false"),
    NOTED(F, "apollo_scale_front", "false"),
    NOTED(F, "badam_mode", "layer"),
    NOTED(F, "badam_start_block", NULL),
    NOTED(F, "badam_switch_mode", "ascending"),
    NOTED(F, "badam_switch_interval", "50"),
    NOTED(F, "badam_update_ratio", "0.05"),
    NOTED(F, "badam_mask_mode", "adjacent"),
    NOTED(F, "badam_verbose", "0"),
    NOTED(F, "use_swanlab", "false"),
    NOTED(F, "swanlab_project", "llamafactory"),
    NOTED(F, "swanlab_workspace", NULL),
    NOTED(F, "swanlab_run_name", NULL),
    NOTED(F, "swanlab_mode", "cloud"),
    NOTED(F, "swanlab_api_key", NULL),
    NOTED(F, "swanlab_logdir", NULL),
    NOTED(F, "swanlab_lark_webhook_url", NULL),
    NOTED(F, "swanlab_lark_secret", NULL),
    NOTED(F, "use_mca", "false"),
    NOTED(F, "use_megatron_bridge", "false"),
    NOTED(F, "use_hyper_parallel", "false"),
    NOTED(F, "freeze_trainable_layers", "2"),
    NOTED(F, "freeze_trainable_modules", "all"),
    NOTED(F, "freeze_extra_modules", NULL),
    NOTED(F, "lora_rank", "8"),
    NOTED(F, "lora_alpha", NULL),
    NOTED(F, "lora_dropout", "0.0"),
    NOTED(F, "lora_target", "all"),
    NOTED(F, "additional_target", NULL),
    REFUSED(F, "loraplus_lr_ratio", NULL, "it needs LoRA, which comes later"),
    NOTED(F, "loraplus_lr_embedding", "1e-6"),
    REFUSED(F, "use_rslora", "false", "it needs LoRA, which comes later"),
    REFUSED(F, "use_dora", "false", "it needs LoRA, which comes later"),
    REFUSED(F, "pissa_init", "false", "it needs LoRA, which comes later"),
    NOTED(F, "pissa_iter", "16"),
    NOTED(F, "pissa_convert", "false"),
    REFUSED(F, "create_new_adapter", "false", "it needs LoRA, which comes later"),
    NOTED(F, "oft_rank", "0"),
    NOTED(F, "oft_block_size", "32"),
    NOTED(F, "oft_target", "all"),
    NOTED(F, "module_dropout", "0"),
    REAL(F, "pref_beta", "0.1", 1e-9, 1e9, kto.beta),
    NOTED(F, "pref_loss", "sigmoid"),
    REAL(F, "pref_ftx", "0.0", 0, 1e9, kto.ftx),
    NOTED(F, "pref_bco_weight", "0.0"),
    NOTED(F, "dpo_label_smoothing", "0.0"),
    NOTED(F, "simpo_gamma", "0.5"),
    NOTED(F, "ld_alpha", NULL),
    REAL(F, "kto_chosen_weight", "1.0", 0, 1e9, kto.desirable_weight),
    REAL(F, "kto_rejected_weight", "1.0", 0, 1e9, kto.undesirable_weight),
    TEXT(F, "ref_model", NULL, ppo.ref_model),
    NOTED(F, "ref_model_adapters", NULL),
    NOTED(F, "ref_model_quantization_bit", NULL),
    TEXT(F, "reward_model", NULL, ppo.reward_model),
    NOTED(F, "reward_model_adapters", NULL),
    NOTED(F, "reward_model_quantization_bit", NULL),
    WORD(F, "reward_model_type", "lora", "full lora !api",
         "it comes later; set reward_model_type: full, or an outside reward in roles",
         ppo.reward_type),
    INT(F, "ppo_buffer_size", "1", 1, 1e6, ppo.buffer),
    INT(F, "ppo_epochs", "4", 1, 1000, ppo.epochs),
    BOOL(F, "ppo_score_norm", "false", ppo.score_norm),
    BOOL(F, "ppo_whiten_rewards", "false", ppo.whiten_rewards),
    REAL(F, "ppo_target", "6.0", 1e-9, 1e9, ppo.target),

    /* Training */
    TEXT(T, "output_dir", NULL, output.dir),
    BOOL(T, "overwrite_output_dir", "false", output.overwrite),
    REFUSED(T, "do_train", "true", "there is nothing else to do: evaluation comes later"),
    REFUSED(T, "do_eval", "false", "evaluation comes later"),
    REFUSED(T, "do_predict", "false", "prediction comes later"),
    INT(T, "per_device_train_batch_size", "8", 1, 1e6, steps.batch),
    NOTED(T, "per_device_eval_batch_size", "8"),
    INT(T, "gradient_accumulation_steps", "1", 1, 1e6, steps.accumulation),
    REAL(T, "learning_rate", "5e-5", 0, 1e3, update.lr),
    REAL(T, "num_train_epochs", "3.0", 0, 1e9, steps.epochs),
    INT(T, "max_steps", "-1", -1, 1e15, steps.max_steps),
    TEXT(T, "lr_scheduler_type", "linear", steps.scheduler),
    MAP(T, "lr_scheduler_kwargs", steps.scheduler_kwargs),
    REAL(T, "warmup_ratio", "0.0", 0, 1, steps.warmup_ratio),
    INT(T, "warmup_steps", "0", 0, 1e15, steps.warmup_steps),
    REAL(T, "weight_decay", "0.0", 0, 1e3, update.weight_decay),
    REAL(T, "adam_beta1", "0.9", 0, 0.9999999, update.beta1),
    REAL(T, "adam_beta2", "0.999", 0, 0.9999999, update.beta2),
    REAL(T, "adam_epsilon", "1e-8", 0, 1, update.eps),
    REAL(T, "max_grad_norm", "1.0", 0, 1e30, update.max_grad_norm),
    {"optim", T, TR_KEY_WORD, TR_KEY_REFUSED, "adamw_torch", 0, 0,
     "adamw_torch adamw_torch_fused", "the optimiser is AdamW", 0},
    REFUSED(T, "optim_args", NULL, "set adam_beta1, adam_beta2 and adam_epsilon"),
    REFUSED(T, "optim_target_modules", NULL, "the optimiser is AdamW"),
    REFUSED(T, "label_smoothing_factor", "0.0", "label smoothing comes later"),
    REFUSED(T, "neftune_noise_alpha", NULL, "noise on embeddings is not there"),
    INT(T, "seed", "42", 0, 9007199254740991.0, steps.seed),
    INT(T, "data_seed", NULL, 0, 9007199254740991.0, steps.data_seed),
    BOOL(T, "bf16", "false", model.bf16),
    REFUSED(T, "fp16", "false", "set bf16: true, or neither for f32"),
    NOTED(T, "tf32", NULL),
    REAL(T, "logging_steps", "500", 0, 1e15, output.logging_steps),
    BOOL(T, "logging_first_step", "false", output.logging_first),
    {"logging_strategy", T, TR_KEY_WORD, TR_KEY_REFUSED, "steps", 0, 0, "steps",
     "set logging_steps", 0},
    WORD(T, "save_strategy", "steps", "no steps epoch !best", "evaluation comes later",
         output.save_strategy),
    REAL(T, "save_steps", "500", 0, 1e15, output.save_steps),
    INT(T, "save_total_limit", NULL, 1, 1e9, output.save_limit),
    BOOL(T, "save_only_model", "false", output.save_only_model),
    REFUSED(T, "save_safetensors", "true", "models are written as safetensors"),
    {"eval_strategy", T, TR_KEY_WORD, TR_KEY_REFUSED, "no", 0, 0, "no",
     "evaluation comes later", 0},
    INT(T, "eval_steps", NULL, 1, 1e9, ppo.eval_steps),
    NOTED(T, "eval_delay", "0"),
    NOTED(T, "eval_accumulation_steps", NULL),
    REFUSED(T, "load_best_model_at_end", "false", "evaluation comes later"),
    NOTED(T, "metric_for_best_model", NULL),
    NOTED(T, "greater_is_better", NULL),
    REFUSED(T, "predict_with_generate", "false", "prediction comes later"),
    VALUE(T, "resume_from_checkpoint", resume),
    REFUSED(T, "ignore_data_skip", "false", "a resumed run goes on where it stopped"),
    NOTED(T, "dataloader_num_workers", "0"),
    NOTED(T, "dataloader_pin_memory", "true"),
    NOTED(T, "dataloader_persistent_workers", "false"),
    NOTED(T, "dataloader_prefetch_factor", NULL),
    BOOL(T, "dataloader_drop_last", "false", steps.drop_last),
    REFUSED(T, "group_by_length", "false", "the order of samples is part of the result"),
    REFUSED(T, "auto_find_batch_size", "false", "set per_device_train_batch_size"),
    TRI(T, "gradient_checkpointing", model.recompute),
    NOTED(T, "gradient_checkpointing_kwargs", NULL),
    NOTED(T, "ddp_timeout", "1800"),
    NOTED(T, "ddp_find_unused_parameters", NULL),
    NOTED(T, "ddp_backend", NULL),
    NOTED(T, "average_tokens_across_devices", "true"),
    NOTED(T, "include_num_input_tokens_seen", "false"),
    NOTED(T, "report_to", NULL),
    NOTED(T, "run_name", NULL),
    NOTED(T, "logging_dir", NULL),
    NOTED(T, "logging_nan_inf_filter", "true"),
    NOTED(T, "log_level", "passive"),
    NOTED(T, "disable_tqdm", NULL),
    NOTED(T, "remove_unused_columns", "true"),
    NOTED(T, "deepspeed", NULL),
    NOTED(T, "fsdp", NULL),
    NOTED(T, "fsdp_config", NULL),
    NOTED(T, "accelerator_config", NULL),
    NOTED(T, "use_cpu", "false"),
    NOTED(T, "no_cuda", "false"),
    NOTED(T, "full_determinism", "false"),
    NOTED(T, "torch_compile", "false"),
    NOTED(T, "torch_empty_cache_steps", NULL),
    NOTED(T, "skip_memory_metrics", "true"),
    NOTED(T, "prediction_loss_only", "false"),
    NOTED(T, "bf16_full_eval", "false"),
    NOTED(T, "fp16_full_eval", "false"),
    NOTED(T, "local_rank", NULL),
    NOTED(T, "push_to_hub", "false"),
    NOTED(T, "hub_model_id", NULL),
    NOTED(T, "hub_token", NULL),
    NOTED(T, "ray_run_name", NULL),
    NOTED(T, "ray_storage_path", NULL),
    NOTED(T, "ray_num_workers", NULL),
    NOTED(T, "resources_per_worker", NULL),
    NOTED(T, "placement_strategy", NULL),
    NOTED(T, "fp8", "false"),
    NOTED(T, "fp8_backend", "auto"),

    /* Data */
    TEXT(D, "template", NULL, data.template_name),
    TEXT(D, "dataset", NULL, data.dataset),
    TEXT(D, "eval_dataset", NULL, ppo.eval_dataset),
    TEXT(D, "dataset_dir", "data", data.dataset_dir),
    NOTED(D, "media_dir", NULL),
    INT(D, "cutoff_len", "2048", 1, 1 << 20, data.cutoff_len),
    BOOL(D, "train_on_prompt", "false", data.train_on_prompt),
    REFUSED(D, "mask_history", "false", "it comes later"),
    REFUSED(D, "streaming", "false", "datasets are read whole"),
    NOTED(D, "buffer_size", "16384"),
    {"mix_strategy", D, TR_KEY_WORD, TR_KEY_REFUSED, "concat", 0, 0, "concat",
     "interleaving comes later", 0},
    REFUSED(D, "interleave_probs", NULL, "interleaving comes later"),
    NOTED(D, "overwrite_cache", "false"),
    INT(D, "preprocessing_batch_size", "1000", 1, 1e9, data.preprocessing_batch_size),
    NOTED(D, "preprocessing_num_workers", NULL),
    INT(D, "max_samples", NULL, 1, 1e15, data.max_samples),
    NOTED(D, "eval_num_beams", NULL),
    REFUSED(D, "ignore_pad_token_for_loss", "true", "padding is never a target"),
    REAL(D, "val_size", "0.0", 0, 1e9, ppo.val_size),
    NOTED(D, "eval_on_each_dataset", "false"),
    TRI(D, "packing", data.packing),
    REFUSED(D, "neat_packing", "false", "packing in sft comes later"),
    REFUSED(D, "tool_format", NULL, "tool calls come later"),
    TEXT(D, "default_system", NULL, data.default_system),
    NOTED(D, "enable_thinking", "true"),
    NOTED(D, "preserve_thinking", "false"),
    REFUSED(D, "tokenized_path", NULL, "datasets are tokenised at start, in a second"),
    NOTED(D, "data_shared_file_system", "false"),

    /* Model */
    TEXT(M, "model_name_or_path", NULL, model.path),
    REFUSED(M, "adapter_name_or_path", NULL, "adapters come with LoRA, later"),
    NOTED(M, "adapter_folder", NULL),
    NOTED(M, "cache_dir", NULL),
    NOTED(M, "use_fast_tokenizer", "true"),
    REFUSED(M, "resize_vocab", "false", "the vocabulary stays as it is"),
    REFUSED(M, "split_special_tokens", "false", "special tokens are kept whole"),
    REFUSED(M, "add_tokens", NULL, "the vocabulary stays as it is"),
    REFUSED(M, "add_special_tokens", NULL, "the vocabulary stays as it is"),
    NOTED(M, "model_revision", "main"),
    REFUSED(M, "rope_scaling", NULL, "set rope_scaling in the model's config.json"),
    NOTED(M, "flash_attn", "auto"),
    REFUSED(M, "shift_attn", "false", "attention is plain causal attention"),
    REFUSED(M, "mixture_of_depths", NULL, "the model is trained as it is"),
    NOTED(M, "use_unsloth", "false"),
    NOTED(M, "use_unsloth_gc", "false"),
    NOTED(M, "enable_liger_kernel", "false"),
    NOTED(M, "moe_aux_loss_coef", NULL),
    BOOL(M, "disable_gradient_checkpointing", "false", model.never_recompute),
    NOTED(M, "use_reentrant_gc", "true"),
    NOTED(M, "upcast_layernorm", "false"),
    NOTED(M, "upcast_lmhead_output", "false"),
    BOOL(M, "train_from_scratch", "false", model.from_scratch),
    NOTED(M, "infer_backend", "huggingface"),
    NOTED(M, "offload_folder", "offload"),
    NOTED(M, "infer_dtype", "auto"),
    NOTED(M, "use_kv_cache", "true"),
    NOTED(M, "use_cache", "true"),
    NOTED(M, "low_cpu_mem_usage", "true"),
    NOTED(M, "trust_remote_code", "false"),
    NOTED(M, "print_param_status", "false"),
    NOTED(M, "hf_hub_token", NULL),
    NOTED(M, "ms_hub_token", NULL),
    NOTED(M, "om_hub_token", NULL),
    NOTED(M, "quantization_method", "bnb"),
    REFUSED(M, "quantization_bit", NULL, "weights are f32, or bf16 with bf16: true"),
    NOTED(M, "quantization_type", "nf4"),
    NOTED(M, "double_quantization", "true"),
    NOTED(M, "quantization_device_map", NULL),
    NOTED(M, "export_dir", NULL),
    NOTED(M, "export_size", "5"),
    NOTED(M, "export_device", "cpu"),
    NOTED(M, "export_quantization_bit", NULL),
    NOTED(M, "export_quantization_dataset", NULL),
    NOTED(M, "export_quantization_nsamples", "128"),
    NOTED(M, "export_quantization_maxlen", "1024"),
    NOTED(M, "export_legacy_format", "false"),
    NOTED(M, "export_hub_model_id", NULL),
    NOTED(M, "vllm_maxlen", "4096"),
    NOTED(M, "vllm_gpu_util", "0.7"),
    NOTED(M, "vllm_enforce_eager", "false"),
    NOTED(M, "vllm_max_lora_rank", "32"),
    NOTED(M, "vllm_config", NULL),

    /* Generating */
    BOOL(G, "do_sample", "true", generate.sample),
    REAL(G, "temperature", "0.95", 0, 1e3, generate.temperature),
    REAL(G, "top_p", "0.7", 1e-6, 1, generate.top_p),
    INT(G, "top_k", "50", 0, 1e9, generate.top_k),
    REFUSED(G, "num_beams", "1", "answers are sampled, one at a time"),
    NOTED(G, "max_length", "1024"),
    INT(G, "max_new_tokens", "1024", 1, 1 << 20, generate.max_new_tokens),
    REAL(G, "repetition_penalty", "1.0", 1e-3, 1e3, generate.repetition_penalty),
    NOTED(G, "length_penalty", "1.0"),
    NOTED(G, "skip_special_tokens", "true"),

    /* Ours */
    REAL(O, "kl_coef", "0.2", 0, 1e6, ppo.kl_coef),
    BOOL(O, "kl_adaptive", "true", ppo.kl_adaptive),
    REAL(O, "kl_horizon", "10000", 1, 1e15, ppo.kl_horizon),
    TEXT(O, "kl_penalty", "kl", ppo.kl_penalty),
    REAL(O, "gamma", "1.0", 0, 1, ppo.gamma),
    REAL(O, "lam", "0.95", 0, 1, ppo.lam),
    REAL(O, "cliprange", "0.2", 0, 1e6, ppo.cliprange),
    REAL(O, "cliprange_value", "0.2", 0, 1e6, ppo.cliprange_value),
    REAL(O, "score_clip", "0.0", 0, 1e9, ppo.score_clip),
    BOOL(O, "whiten_scores", "false", ppo.whiten_scores),
    REAL(O, "stop_penalty", "0.0", 0, 1e9, ppo.stop_penalty),
    REAL(O, "ratio_threshold", "0.0", 0, 1e9, ppo.ratio_threshold),
    TEXT(O, "loss_mean", "token_mean", ppo.loss_mean),
    INT(O, "staleness", "0", 0, 1, ppo.staleness),
    REAL(O, "snapshot_seconds", "120", 0, 1e9, ppo.snapshot_seconds),
    INT(O, "snapshot_steps", NULL, 1, 1e9, ppo.snapshot_steps),
    WORD(O, "compat", "none", "none llamafactory-0.9.3", "", compat),
    WORD(O, "math", "exact", "exact openblas", "", exec.math),
    INT(O, "threads", NULL, 1, 1024, exec.threads),
    INT(O, "gradient_groups", "1", 1, 1, exec.gradient_groups),
    MAP(O, "roles", roles),
};

const struct tr_key *tr_key_row(size_t i)
{
    return i < sizeof table / sizeof *table ? &table[i] : NULL;
}

const struct tr_key *tr_key_find(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].name, name)) return &table[i];
    return NULL;
}

/* Optimal string alignment: insertions, deletions, replacements, neighbours exchanged. */
static int distance(const char *a, const char *b)
{
    enum { LONGEST = 64 };
    int row[3][LONGEST + 1];
    int n = (int)strlen(a);
    int m = (int)strlen(b);
    if (n > LONGEST || m > LONGEST) return LONGEST;
    for (int j = 0; j <= m; j++) row[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *now = row[i % 3];
        const int *up = row[(i + 2) % 3];
        const int *up2 = row[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            int best = up[j - 1] + (a[i - 1] != b[j - 1]);
            if (up[j] + 1 < best) best = up[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && up2[j - 2] + 1 < best) best = up2[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[n % 3][m];
}

const char *tr_key_nearest(const char *name)
{
    const char *best = NULL;
    int least = (int)strlen(name) / 3 + 2;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int d = distance(name, table[i].name);
        if (d >= least) continue;
        least = d;
        best = table[i].name;
    }
    return best;
}
