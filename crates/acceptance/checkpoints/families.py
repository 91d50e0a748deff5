"""Tiny configurations of every model family, with all settings that affect results."""

import torch
import transformers

VOCABULARY = 97
SMALL = dict(vocab_size=VOCABULARY, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=128)
GROUPED = dict(SMALL, num_key_value_heads=2)
LLAMA3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=32)
LINEAR = dict(rope_type="linear", rope_theta=10000.0, factor=2.0)
DYNAMIC = dict(rope_type="dynamic", rope_theta=10000.0, factor=2.0)
LONGROPE = dict(
    rope_type="longrope", rope_theta=10000.0, short_factor=[1.0, 1.1, 1.3, 1.6, 2.0, 2.5], long_factor=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], original_max_position_embeddings=128
)
GPT2 = dict(vocab_size=VOCABULARY, n_embd=48, n_layer=3, n_head=4, n_positions=128)
GPT_NEO = dict(
    vocab_size=VOCABULARY, hidden_size=48, num_layers=4, num_heads=4, max_position_embeddings=128, window_size=16, attention_types=[[["global", "local"], 2]]
)
OPT = dict(vocab_size=VOCABULARY, hidden_size=48, ffn_dim=80, num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=128)
FALCON = dict(vocab_size=VOCABULARY, hidden_size=48, num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=128)
BLOOM = dict(vocab_size=VOCABULARY, hidden_size=48, n_layer=3, n_head=4)
QWEN3_MOE = dict(GROUPED, head_dim=16, num_experts=7, num_experts_per_tok=3, moe_intermediate_size=40)
GPT_OSS = dict(GROUPED, head_dim=16, num_local_experts=5, num_experts_per_tok=2, sliding_window=16)
DEEPSEEK_V3 = dict(
    SMALL, num_key_value_heads=4, moe_intermediate_size=40, n_routed_experts=8, num_experts_per_tok=3, n_group=4, topk_group=2, first_k_dense_replace=1,
    q_lora_rank=24, kv_lora_rank=20, qk_rope_head_dim=8, qk_nope_head_dim=12, v_head_dim=14,
)
LLAMA4 = dict(
    GROUPED, head_dim=16, intermediate_size_mlp=60, num_hidden_layers=5, num_local_experts=5, attention_chunk_size=24, floor_scale=8, attn_scale=0.3,
    pad_token_id=None, no_rope_layer_interval=2,
)

CONFIGURATIONS = {
    "llama": ("Llama", GROUPED),
    "llama-tied": ("Llama", dict(GROUPED, tie_word_embeddings=True)),
    "llama-mqa": ("Llama", dict(SMALL, num_key_value_heads=1)),
    "llama-biases": ("Llama", dict(GROUPED, attention_bias=True, mlp_bias=True)),
    "llama-head-dim": ("Llama", dict(GROUPED, head_dim=20)),
    "llama-llama3": ("Llama", dict(GROUPED, rope_parameters=LLAMA3)),
    "llama-yarn": ("Llama", dict(GROUPED, rope_parameters=YARN)),
    "llama-linear": ("Llama", dict(GROUPED, rope_parameters=LINEAR)),
    "llama-dynamic": ("Llama", dict(GROUPED, rope_parameters=DYNAMIC)),
    "mistral": ("Mistral", dict(GROUPED, sliding_window=16)),
    "gpt2": ("GPT2", GPT2),
    "gpt2-inner": ("GPT2", dict(GPT2, n_inner=60, activation_function="gelu", scale_attn_by_inverse_layer_idx=True)),
    "gpt2-untied": ("GPT2", dict(GPT2, tie_word_embeddings=False, scale_attn_weights=False)),
    "gpt-neox": ("GPTNeoX", dict(SMALL, rotary_pct=0.5)),
    "gpt-neox-serial": ("GPTNeoX", dict(SMALL, use_parallel_residual=False, attention_bias=False)),
    "qwen2": ("Qwen2", GROUPED),
    "qwen2-window": ("Qwen2", dict(GROUPED, use_sliding_window=True, sliding_window=16, max_window_layers=1)),
    "qwen3": ("Qwen3", dict(GROUPED, head_dim=16)),
    "olmo2": ("Olmo2", GROUPED),
    "gemma": ("Gemma", dict(GROUPED, head_dim=16)),
    "gemma2": ("Gemma2", dict(GROUPED, head_dim=16, sliding_window=16, query_pre_attn_scalar=20)),
    "gemma3": ("Gemma3Text", dict(GROUPED, num_hidden_layers=7, head_dim=16, sliding_window=16, query_pre_attn_scalar=20)),
    "phi": ("Phi", dict(GROUPED, partial_rotary_factor=0.5)),
    "phi-head-norms": ("Phi", dict(SMALL, qk_layernorm=True)),
    "smollm3": ("SmolLM3", dict(GROUPED, pad_token_id=None, num_hidden_layers=5, no_rope_layer_interval=2)),
    "smollm3-nope": ("SmolLM3", dict(GROUPED, pad_token_id=None, no_rope_layers=[0] * GROUPED["num_hidden_layers"])),
    "smollm3-window": (
        "SmolLM3",
        dict(GROUPED, pad_token_id=None, num_hidden_layers=3, no_rope_layers=[0, 1, 0], use_sliding_window=True, sliding_window=16),
    ),
    "phi3": ("Phi3", dict(GROUPED, pad_token_id=0, sliding_window=24)),
    "phi3-longrope": ("Phi3", dict(GROUPED, pad_token_id=0, max_position_embeddings=512, original_max_position_embeddings=128, rope_parameters=LONGROPE)),
    "apertus": ("Apertus", dict(GROUPED, pad_token_id=None, rope_parameters=LLAMA3)),
    "gpt-neo": ("GPTNeo", GPT_NEO),
    "gpt-neo-inner": ("GPTNeo", dict(GPT_NEO, num_layers=3, attention_types=[[["local"], 2], [["global"], 1]], intermediate_size=60)),
    "gptj": ("GPTJ", dict(GPT2, rotary_dim=6)),
    "gptj-inner": ("GPTJ", dict(GPT2, rotary_dim=12, n_inner=60, activation_function="gelu")),
    "olmo": ("Olmo", GROUPED),
    "olmo-clip": ("Olmo", dict(GROUPED, clip_qkv=0.5, tie_word_embeddings=True)),
    "olmo3": ("Olmo3", dict(GROUPED, num_hidden_layers=5, sliding_window=16)),
    "olmo3-yarn": ("Olmo3", dict(GROUPED, num_hidden_layers=5, sliding_window=16, rope_scaling=YARN)),
    "opt": ("OPT", OPT),
    "opt-sum-norm": ("OPT", dict(OPT, do_layer_norm_before=False, word_embed_proj_dim=20)),
    "opt-bare": ("OPT", dict(OPT, enable_bias=False, layer_norm_elementwise_affine=False, activation_function="gelu", tie_word_embeddings=False)),
    "falcon": ("Falcon", FALCON),
    "falcon-many-keys": ("Falcon", dict(FALCON, multi_query=False, bias=True)),
    "falcon-new": ("Falcon", dict(FALCON, new_decoder_architecture=True, num_kv_heads=2)),
    "falcon-new-one-norm": ("Falcon", dict(FALCON, new_decoder_architecture=True, num_kv_heads=2, num_ln_in_parallel_attn=1, ffn_hidden_size=60)),
    "falcon-serial": ("Falcon", dict(FALCON, parallel_attn=False, tie_word_embeddings=False)),
    "falcon-alibi": ("Falcon", dict(FALCON, alibi=True, parallel_attn=False, multi_query=False, bias=True)),
    "bloom": ("Bloom", BLOOM),
    "bloom-odd": ("Bloom", dict(BLOOM, hidden_size=60, n_head=6, layer_norm_epsilon=1e-4)),
    "stablelm": ("StableLm", dict(GROUPED, hidden_size=64)),
    "stablelm-2": ("StableLm", dict(GROUPED, use_qkv_bias=True, qk_layernorm=True, use_parallel_residual=True, partial_rotary_factor=0.5)),
    "starcoder2": ("Starcoder2", dict(GROUPED, sliding_window=16)),
    "starcoder2-bare": ("Starcoder2", dict(GROUPED, use_bias=False, tie_word_embeddings=False)),
    "granite": ("Granite", dict(GROUPED, embedding_multiplier=3.0, logits_scaling=2.5, residual_multiplier=0.4, attention_multiplier=0.2)),
    "granite-biases": ("Granite", dict(GROUPED, attention_bias=True, mlp_bias=True)),
    "glm": ("Glm", dict(GROUPED, head_dim=16, pad_token_id=None)),
    "glm4": ("Glm4", dict(GROUPED, head_dim=16, pad_token_id=None)),
    "glm4-bare": ("Glm4", dict(GROUPED, head_dim=16, pad_token_id=None, attention_bias=False, partial_rotary_factor=1.0)),
    "cohere": ("Cohere", GROUPED),
    "cohere-head-norms": ("Cohere", dict(GROUPED, use_qk_norm=True, attention_bias=True, logit_scale=1.5)),
    "cohere2": ("Cohere2", dict(GROUPED, num_hidden_layers=5, sliding_window=16)),
    "olmoe": ("Olmoe", dict(GROUPED, num_experts=7, num_experts_per_tok=3, clip_qkv=0.8)),
    "olmoe-sum-of-1": ("Olmoe", dict(GROUPED, num_experts=7, num_experts_per_tok=2, norm_topk_prob=True)),
    "mixtral": ("Mixtral", dict(GROUPED, num_local_experts=5, num_experts_per_tok=2, sliding_window=16)),
    "mixtral-whole": ("Mixtral", dict(GROUPED, num_local_experts=5, num_experts_per_tok=3)),
    "qwen3-moe": ("Qwen3Moe", dict(QWEN3_MOE, norm_topk_prob=True)),
    "qwen3-moe-some-layers": ("Qwen3Moe", dict(QWEN3_MOE, num_hidden_layers=4, decoder_sparse_step=2, mlp_only_layers=[3])),
    "granitemoe": (
        "GraniteMoe",
        dict(GROUPED, num_local_experts=6, num_experts_per_tok=2, embedding_multiplier=3.0, logits_scaling=2.5, residual_multiplier=0.4, attention_multiplier=0.2),
    ),
    "gpt-oss": ("GptOss", GPT_OSS),
    "llama4": ("Llama4", LLAMA4),
    "llama4-dense-layers": ("Llama4", dict(LLAMA4, interleave_moe_layer_step=2, use_qk_norm=False, attn_temperature_tuning=False, num_experts_per_tok=2)),
    "deepseek-v3": ("DeepseekV3", DEEPSEEK_V3),
    "deepseek-v3-plain-queries": (
        "DeepseekV3",
        dict(
            DEEPSEEK_V3, q_lora_rank=None, rope_interleave=False, norm_topk_prob=False, n_group=1, topk_group=1, n_shared_experts=2, attention_bias=True,
            rope_parameters=dict(YARN, mscale=0.7, mscale_all_dim=0.9),
        ),
    ),
    "gpt-oss-narrow": ("GptOss", dict(GPT_OSS, attention_bias=False, swiglu_alpha=1.2, swiglu_limit=0.5, rope_parameters=YARN)),
}


def model(name, **changes):
    """A model whose weights all differ from their initial values, so that a weight that isn't loaded shows."""
    kind, settings = CONFIGURATIONS[name]
    kind = {"Gemma3Text": ("Gemma3TextConfig", "Gemma3ForCausalLM"), "Llama4": ("Llama4TextConfig", "Llama4ForCausalLM"), "GPT2": ("GPT2Config", "GPT2LMHeadModel")}.get(
        kind, (f"{kind}Config", f"{kind}ForCausalLM")
    )
    tokens = dict(bos_token_id=1, eos_token_id=2)
    config = getattr(transformers, kind[0])(**{**tokens, **settings, **changes})
    # With "eager", Falcon's slopes count twice.
    config._attn_implementation = "sdpa" if kind[0] == "FalconConfig" else "eager"
    made = getattr(transformers, kind[1])(config).eval()
    generator = torch.Generator().manual_seed(len(name))
    with torch.no_grad():
        for name, buffer in made.named_buffers():
            if "correction" in name:
                buffer.copy_(0.3 * torch.randn(buffer.shape, generator=generator))
        for parameter in made.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
            else:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.8 / parameter.shape[-1] ** 0.5)
    return made


def sequences(count=5, longest=90, seed=3):
    """Token sequences of different lengths, two with a common prefix."""
    generator = torch.Generator().manual_seed(seed)
    made = [torch.randint(VOCABULARY, (longest - 17 * i,), generator=generator).tolist() for i in range(count)]
    return made + [made[0][:30] + made[1][:12]]


def expected_scores(model, ids):
    """Log-probabilities, ranks and greedy tokens of a sequence from position 1 on."""
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, :-1].float()
    log_probs = torch.log_softmax(logits.double(), dim=-1)
    truth = torch.tensor(ids[1:])
    own = log_probs.gather(1, truth[:, None])
    ranks = 1 + (log_probs > own).sum(1)
    return own[:, 0].tolist(), ranks.tolist(), logits.argmax(1).tolist()


def expected_continuation(model, prompt, tokens):
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(tokens):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]
