"""Public model definitions, built small from their config, without weights: for --model.

Nothing here is special to gradflow: each function returns the module and what it is called with.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

Built = tuple[nn.Module, dict[str, Tensor]]
_TEXT: dict[str, Any] = {"vocab_size": 101, "hidden_size": 32, "num_hidden_layers": 4}
_HEADS: dict[str, Any] = {"num_attention_heads": 4, "intermediate_size": 64}


def tokens(examples: int = 4, length: int = 12) -> Tensor:
    return torch.randint(3, 100, (examples, length))


def bert() -> Built:
    import transformers

    config = transformers.BertConfig(**_TEXT, **_HEADS)
    ids = tokens()
    return transformers.BertForMaskedLM(config), {"input_ids": ids, "labels": ids}


def gpt2() -> Built:
    import transformers

    config = transformers.GPT2Config(
        vocab_size=101,
        n_embd=32,
        n_layer=4,
        n_head=4,
        n_positions=64,
        bos_token_id=1,
        eos_token_id=2,
    )
    ids = tokens()
    return transformers.GPT2LMHeadModel(config), {"input_ids": ids, "labels": ids}


def vit() -> Built:
    import transformers

    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=4, image_size=32, patch_size=8, num_labels=10, **_HEADS
    )
    images, labels = torch.randn(4, 3, 32, 32), torch.arange(4)
    model = transformers.ViTForImageClassification(config)
    return model, {"pixel_values": images, "labels": labels}


def resnet() -> Built:
    import transformers

    config = transformers.ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32], depths=[2, 2], layer_type="basic", num_labels=10
    )
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8)
    model = transformers.ResNetForImageClassification(config)
    return model, {"pixel_values": images, "labels": labels}


def whisper() -> Built:
    import transformers

    config = transformers.WhisperConfig(
        vocab_size=101,
        d_model=32,
        encoder_layers=3,
        decoder_layers=3,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_mel_bins=16,
        max_source_positions=20,
        max_target_positions=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = transformers.WhisperForConditionalGeneration(config)
    return model, {"input_features": torch.randn(4, 16, 40), "labels": tokens(4, 8)}


def mamba() -> Built:
    import transformers

    config = transformers.MambaConfig(
        vocab_size=101, hidden_size=32, num_hidden_layers=4, state_size=8, use_mambapy=False
    )
    ids = tokens()
    return transformers.MambaForCausalLM(config), {"input_ids": ids, "labels": ids}


def t5() -> Built:
    import transformers

    config = transformers.T5Config(
        vocab_size=101,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=3,
        num_heads=4,
        decoder_start_token_id=0,
    )
    model = transformers.T5ForConditionalGeneration(config)
    return model, {"input_ids": tokens(), "labels": tokens(4, 8)}


def llama() -> Built:
    import transformers

    config = transformers.LlamaConfig(**_TEXT, **_HEADS, num_key_value_heads=2)
    ids = tokens()
    return transformers.LlamaForCausalLM(config), {"input_ids": ids, "labels": ids}


ALL = (bert, gpt2, vit, resnet, whisper, mamba, t5, llama)
