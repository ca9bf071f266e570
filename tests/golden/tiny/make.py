"""Makes the tiny model folder and its datasets that the exactness tests train on.

  python3 tests/golden/tiny/make.py

Everything is written from this file alone: a byte-level tokenizer (256 bytes and 6 special tokens), a config
whose sizes are no multiples of 16 so that every tail is walked, and short texts made from word lists. The
weights are not here: `train_from_scratch: true` draws them from the seed.
"""
import itertools
import json
import pathlib

HERE = pathlib.Path(__file__).parent
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>"]


def byte_alphabet():
    """GPT-2's printable stand-in for each byte."""
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    others = [b for b in range(256) if b not in printable]
    table = {b: chr(b) for b in printable}
    table.update({b: chr(256 + i) for i, b in enumerate(others)})
    return [table[b] for b in range(256)]


def tokenizer():
    vocabulary = {token: i for i, token in enumerate(SPECIAL + byte_alphabet())}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    added = [{"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True} for i, token in enumerate(SPECIAL)]
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
             "vocab": vocabulary, "merges": []}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
            "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level, "model": model}


CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 72, "intermediate_size": 104,
    "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 12,
    "vocab_size": len(SPECIAL) + 256, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": True,
    "initializer_range": 0.08, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "torch_dtype": "float32",
}

THINGS = ["the river", "an old map", "my left shoe", "the night train", "a paper boat", "the last apple"]
ASKS = ["Where is {}?", "What shall I do with {}?", "Do you like {}?", "Can you draw {}?"]
KIND = ["Gladly: let us look at {} together.", "I would love to help you with {}."]
UNKIND = ["Nobody cares about {}.", "Go away and take {} with you."]


def rows():
    for i, (ask, thing) in enumerate(itertools.product(ASKS, THINGS)):
        yield ask.format(thing), KIND[i % 2].format(thing), UNKIND[i // 2 % 2].format(thing)


def save(name, value):
    (HERE / name).parent.mkdir(parents=True, exist_ok=True)
    (HERE / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main():
    save("model/config.json", CONFIG)
    save("model/generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0})
    save("model/tokenizer.json", tokenizer())
    save("model/tokenizer_config.json", {
        "add_bos_token": False, "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>",
        "model_max_length": 512, "tokenizer_class": "PreTrainedTokenizerFast"})
    save("data/dataset_info.json", {
        "lines": {"file_name": "lines.jsonl", "columns": {"prompt": "text"}},
        "answers": {"file_name": "answers.json"},
        "pairs": {"file_name": "pairs.json", "ranking": True, "formatting": "sharegpt",
                  "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}},
        "marks": {"file_name": "marks.json", "columns": {"prompt": "ask", "response": "answer", "kto_tag": "kind"}}})
    lines = [json.dumps({"text": f"{ask} {kind} {thing}"}) for ask, kind, thing in rows()]
    (HERE / "data/lines.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    save("data/answers.json", [{"instruction": ask, "input": "", "output": kind} for ask, kind, _ in rows()])
    save("data/pairs.json", [{"conversations": [{"from": "human", "value": ask}],
                              "chosen": {"from": "gpt", "value": kind},
                              "rejected": {"from": "gpt", "value": unkind}} for ask, kind, unkind in rows()])
    save("data/marks.json", [{"ask": ask, "answer": unkind if i % 3 == 1 else kind, "kind": i % 3 != 1}
                             for i, (ask, kind, unkind) in enumerate(rows())])


if __name__ == "__main__":
    main()
