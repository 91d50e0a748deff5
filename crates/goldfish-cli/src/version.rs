//! What this build is.

use goldfish_mask::{RuleName, RuleOptions};
use goldfish_shard::FORMAT_VERSION;

/// The version, the commit if it is known, the features, and the versions of what decides and holds masks.
pub(crate) fn describe() -> String {
    let commit = option_env!("GOLDFISH_COMMIT").map_or_else(String::new, |commit| format!(" ({commit})"));
    let features = [("polars", cfg!(feature = "polars")), ("object-stores", cfg!(feature = "object-stores"))];
    let features: Vec<&str> = features.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    let features = if features.is_empty() { "none".to_owned() } else { features.join(", ") };
    let options = RuleOptions { coefficients: Some(Vec::new()), ..RuleOptions::new(4) };
    let rules = RuleName::ALL.iter().filter_map(|rule| rule.parameters(&options).ok());
    let rules = rules.map(|rule| format!("{} {}", rule.definition().name(), rule.definition().version()));
    format!(
        "goldfish {}{commit}\nfeatures      {features}\nmask rules    {}\nshard format  {FORMAT_VERSION}\n",
        env!("CARGO_PKG_VERSION"),
        rules.collect::<Vec<_>>().join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_its_version() {
        let version = describe();
        for rule in RuleName::ALL {
            let name = if *rule == RuleName::Text { "text-v2".to_owned() } else { rule.to_string() };
            assert!(version.contains(&format!("{name} ")), "{name} in {version}");
        }
        assert!(version.contains("text-v1 2, "), "{version}");
    }
}
