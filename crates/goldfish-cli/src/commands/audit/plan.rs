//! `goldfish audit plan`.

use goldfish_audit::stat::{PlanRequest, probes_needed};
use serde_json::json;

use crate::args::PlanArgs;
use crate::print::{self, plural, share};
use crate::verdict::Verdict;

pub(crate) fn run(args: &PlanArgs) -> anyhow::Result<Verdict> {
    let request = PlanRequest {
        rate: args.rate,
        confidence: args.confidence,
        positives: args.positives,
        probes_per_document: args.probes_per_document,
        correlation: args.correlation,
    };
    let probes = probes_needed(&request)?;
    let documents = (probes as f64 / args.probes_per_document).ceil() as u64;
    if args.json {
        print::json(&json!({
            "probes": probes,
            "documents": documents,
            "rate": args.rate,
            "confidence": args.confidence,
            "positives": args.positives,
            "probes_per_document": args.probes_per_document,
            "correlation": args.correlation,
        }))?;
    } else {
        let positives =
            if args.positives == 0 { "none".into() } else { format!("at most {}", args.positives) };
        print::out(&format!(
            "{} from {}: if {positives} of them is an exact match, the rate is below {} with {} confidence\n",
            plural(probes, "probe"),
            plural(documents, "document"),
            print::fraction(args.rate),
            share(args.confidence),
        ))?;
    }
    Ok(Verdict::Clean)
}
