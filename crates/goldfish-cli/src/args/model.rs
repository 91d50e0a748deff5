//! The options that say which model a command asks.

use std::path::PathBuf;

use clap::Args;
use goldfish_audit::backend::BlockMemory;
use goldfish_backends::http::Protocol;

use crate::args::hub::checkpoint_folder;
use crate::args::values::parse_blocks;

/// A model, and how it is asked. Commands that need one have a required group of `model` and `server`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ModelArgs {
    /// Hugging Face checkpoint folder: config.json and safetensors. Or the name of a model whose checkpoint is in the cache of the hub.
    #[arg(long, value_name = "DIR", help_heading = "Model", value_parser = checkpoint_folder())]
    pub(crate) model: Option<PathBuf>,

    /// PEFT LoRA adapter folder on top of --model.
    #[arg(long, value_name = "DIR", requires = "model", help_heading = "Model")]
    pub(crate) adapter: Option<PathBuf>,

    /// Read sequences of any length: each token attends to the last W tokens, to the blocks of --memory-blocks before them and to
    /// the first tokens, as if everything before the window were at the distance W (InfLLM, arXiv 2402.04617). Attention takes the
    /// same work for each token, besides one product for each block to choose among them. Keys and values of all tokens stay
    /// in memory: 8 bytes for each layer and each element of the heads of keys, for each token. For models with rotary
    /// positions, whose context is the longest W, or with none; not with sliding windows.
    #[arg(
        long,
        value_name = "W",
        requires = "model",
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Model"
    )]
    pub(crate) memory_window: Option<u32>,

    /// With --memory-window: tokens before the window are divided into blocks of S, of which a token attends to the B that fit
    /// its query best. None with 0x1: then the window slides, and what is before it is forgotten.
    #[arg(
        long,
        value_name = "BxS",
        default_value = "16x128",
        value_parser = parse_blocks,
        requires = "memory_window",
        help_heading = "Model"
    )]
    pub(crate) memory_blocks: (u32, u32),

    /// With --memory-window: the first tokens, to which every token attends.
    #[arg(long, value_name = "N", default_value_t = 128, requires = "memory_window", help_heading = "Model")]
    pub(crate) memory_init: u32,

    /// Base URL of a completion server, for example http://localhost:8000.
    #[arg(long, value_name = "URL", conflicts_with = "model", help_heading = "Model")]
    pub(crate) server: Option<String>,

    /// Protocol of the server: vllm, openai (completions with echo), llama-cpp or text; or chat, which is used only if it is named.
    /// [default: detected]
    #[arg(long, value_name = "PROTOCOL", requires = "server", help_heading = "Model")]
    pub(crate) protocol: Option<Protocol>,

    /// Name of the model on the server. [default: its only one]
    #[arg(long, value_name = "NAME", requires = "server", help_heading = "Model")]
    pub(crate) server_model: Option<String>,

    /// With --protocol chat: the message that is sent, in which {prefix} stands for the text of the prefix; or @FILE with that
    /// message, whose last line feed doesn't count. It should ask for the text that follows, word for word. What the model does
    /// not recite through a template it may know all the same. [default: asks for the continuation alone]
    #[arg(long, value_name = "TEXT|@FILE", requires = "protocol", help_heading = "Model")]
    pub(crate) prompt_template: Option<String>,

    /// With --protocol chat: the system's message before it; or @FILE. [default: none]
    #[arg(long, value_name = "TEXT|@FILE", requires = "protocol", help_heading = "Model")]
    pub(crate) system_prompt: Option<String>,

    /// Sequences per pass or request. Results don't depend on it if the model's answers don't depend on the batch.
    /// [default: 32 for a model in this process, 8 per request for a server]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Run")]
    pub(crate) batch: Option<u16>,

    /// Threads for a model in this process; concurrent requests for a server. Results don't depend on it.
    /// [default: one per core; 8 requests]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Run")]
    pub(crate) threads: Option<u16>,
}

impl ModelArgs {
    /// The memory of blocks, if the model is to have one.
    pub(crate) fn memory(&self) -> Option<BlockMemory> {
        let (blocks, block_tokens) = self.memory_blocks;
        self.memory_window.map(|window| BlockMemory { window, blocks, block_tokens, init: self.memory_init })
    }

    /// The tokenizer file of the checkpoint, if it has one.
    pub(crate) fn tokenizer(&self) -> Option<PathBuf> {
        self.model.as_ref().map(|model| model.join("tokenizer.json")).filter(|path| path.is_file())
    }
}
