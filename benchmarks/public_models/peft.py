"""Adapters of peft on a small GPT-2."""

from __future__ import annotations

import functools
from typing import Any

import peft
import transformers

from public_models.case import Builder, Case, tokens


def _adapted(kind: str, **options: Any) -> Case:
    config = transformers.GPT2Config(vocab_size=200, n_embd=64, n_layer=4, n_head=4, n_positions=64)
    model = transformers.GPT2LMHeadModel(config)
    adapter = getattr(peft, kind)(task_type="CAUSAL_LM", **options)
    ids = tokens()
    return Case(peft.get_peft_model(model, adapter), {"input_ids": ids, "labels": ids.clone()})


_ALL = {"target_modules": ["c_attn", "c_fc"]}
_CONV1D = {"fan_in_fan_out": True}

MODELS: dict[str, Builder] = {
    "lora": functools.partial(_adapted, "LoraConfig", r=4, **_ALL, **_CONV1D),
    "dora": functools.partial(_adapted, "LoraConfig", r=4, use_dora=True, **_ALL, **_CONV1D),
    "ada_lora": functools.partial(_adapted, "AdaLoraConfig", total_step=10, **_ALL, **_CONV1D),
    "ia3": functools.partial(
        _adapted, "IA3Config", feedforward_modules=["c_fc"], **_ALL, **_CONV1D
    ),
    "prompt_tuning": functools.partial(_adapted, "PromptTuningConfig", num_virtual_tokens=4),
    "prefix_tuning": functools.partial(_adapted, "PrefixTuningConfig", num_virtual_tokens=4),
    "ln_tuning": functools.partial(_adapted, "LNTuningConfig", target_modules=["ln_1", "ln_2"]),
    "lora_and_head": functools.partial(
        _adapted, "LoraConfig", r=4, modules_to_save=["lm_head"], **_ALL, **_CONV1D
    ),
}
