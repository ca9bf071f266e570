"""PyTorch and transformers on the same work and machine as tests/bench/model.

  python3 tests/bench/peers.py MODEL [--threads 2] [--quick]

MODEL is a Hugging Face folder (SmolLM2-135M-Instruct for the figures in the docs). Prints, in f32:
decode tokens/s at 1, 8 and 32 sequences (128 + 128 tokens, sampling), the log-prob forward and the
training step at [8, 256] in tokens/s. Needs torch and transformers from PyPI; nothing else of the
project uses them.
"""
import argparse
import resource
import statistics
import time

import torch
from transformers import AutoModelForCausalLM


def timed(work, repeats):
    """Median, best and worst seconds of `repeats` runs after one warm-up."""
    work()
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds), min(seconds), max(seconds)


def line(name, tokens, seconds):
    median, best, worst = seconds
    print(f"{name:44s} {tokens / median:9.1f} tok/s  (best {tokens / best:.1f}, worst {tokens / worst:.1f})",
          flush=True)


def decode(model, sequences, prompt, new, repeats):
    vocabulary = model.config.vocab_size
    torch.manual_seed(0)
    ids = torch.randint(3, vocabulary - 1, (sequences, prompt))

    def work():
        model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=0.95, top_k=50,
                       top_p=0.7, max_new_tokens=new, min_new_tokens=new, pad_token_id=0)

    def prefill():
        model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=1,
                       min_new_tokens=1, pad_token_id=0)

    whole = timed(work, repeats)
    first = timed(prefill, repeats)
    line(f"generate B={sequences} {prompt}+{new}, whole", sequences * new, whole)
    line(f"generate B={sequences}, prefill taken off", sequences * (new - 1),
         tuple(w - first[0] for w in whole))


def log_probs(model, ids):
    with torch.no_grad():
        logits = model(ids).logits[:, :-1]
        return torch.log_softmax(logits, -1).gather(-1, ids[:, 1:, None]).squeeze(-1)


def train_step(model, optimizer, ids):
    optimizer.zero_grad(set_to_none=True)
    model(ids, labels=ids).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    repeats = 1 if args.quick else 3
    print(f"torch {torch.__version__}, {args.threads} threads, f32")
    model = AutoModelForCausalLM.from_pretrained(args.model, torch_dtype=torch.float32)
    model.eval()
    torch.manual_seed(0)
    ids = torch.randint(3, model.config.vocab_size - 1, (8, 256))
    for sequences in (1, 8) if args.quick else (1, 8, 32):
        decode(model, sequences, 128, 128, 1 if sequences == 32 else repeats)
    line("log-prob forward [8, 256]", ids.numel(), timed(lambda: log_probs(model, ids), repeats))
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    line("training step [8, 256]", ids.numel(), timed(lambda: train_step(model, optimizer, ids), repeats))
    print(f"resident memory, most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1048576:.2f} GiB")


if __name__ == "__main__":
    main()
