//! In the place of `kills` where it has no tracer.

/// No options.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(hide = true, allow_hyphen_values = true)]
    _arguments: Vec<String>,
}

pub(crate) fn run(_options: &Options) -> anyhow::Result<()> {
    anyhow::bail!("cargo xtask kills reads registers of x86_64 on Linux: run it on such a machine")
}
