//! The options that say which model a command asks.

use std::path::PathBuf;

use clap::Args;
use goldfish_backends::http::Protocol;

/// A model, and how it is asked. Commands that need one have a required group of `model` and `server`.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// Hugging Face checkpoint folder: config.json and safetensors.
    #[arg(long, value_name = "DIR", help_heading = "Model")]
    pub(crate) model: Option<PathBuf>,

    /// PEFT LoRA adapter folder on top of --model.
    #[arg(long, value_name = "DIR", requires = "model", help_heading = "Model")]
    pub(crate) adapter: Option<PathBuf>,

    /// Base URL of a completion server, for example http://localhost:8000.
    #[arg(long, value_name = "URL", conflicts_with = "model", help_heading = "Model")]
    pub(crate) server: Option<String>,

    /// Protocol of the server: vllm, openai (completions with echo), llama-cpp or text. [default: detected]
    #[arg(long, value_name = "PROTOCOL", requires = "server", help_heading = "Model")]
    pub(crate) protocol: Option<Protocol>,

    /// Name of the model on the server. [default: its only one]
    #[arg(long, value_name = "NAME", requires = "server", help_heading = "Model")]
    pub(crate) server_model: Option<String>,

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
    /// The tokenizer file of the checkpoint, if it has one.
    pub(crate) fn tokenizer(&self) -> Option<PathBuf> {
        self.model.as_ref().map(|model| model.join("tokenizer.json")).filter(|path| path.is_file())
    }
}
