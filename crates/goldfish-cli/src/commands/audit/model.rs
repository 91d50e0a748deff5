//! The model behind `--model` or `--server`.

use goldfish_audit::backend::Backend;

use crate::args::AuditArgs;

pub(crate) fn open(_args: &AuditArgs) -> anyhow::Result<Box<dyn Backend>> {
    anyhow::bail!("no backend")
}
