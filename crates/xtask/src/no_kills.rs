//! Replaces `kills` on platforms without its tracer.

/// No options.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(hide = true, allow_hyphen_values = true)]
    _arguments: Vec<String>,
}

pub(crate) fn run(_options: &Options) -> anyhow::Result<()> {
    anyhow::bail!("cargo xtask kills needs Linux on x86_64")
}
