//! Numbers as people read them.

use indicatif::{BinaryBytes, HumanCount};

/// `1234567` as `1,234,567`.
pub(crate) fn count(n: u64) -> String {
    HumanCount(n).to_string()
}

/// Bytes with a binary unit.
pub(crate) fn bytes(n: u64) -> String {
    BinaryBytes(n).to_string()
}

/// `n` with the word in the singular or plural.
pub(crate) fn plural(n: u64, word: &str) -> String {
    format!("{} {word}{}", count(n), if n == 1 { "" } else { "s" })
}

/// A share in per cent: two decimals, or two significant digits below 0.01%. What is neither nothing nor everything
/// never reads like it.
pub(crate) fn percent(share: f64) -> String {
    let value = 100.0 * share;
    if !value.is_finite() {
        "–".into()
    } else if value == 0.0 {
        "0%".into()
    } else if value < 1e-9 {
        "<0.000000001%".into()
    } else if value < 0.01 {
        // Between 1e-9 and 1e-2 the logarithm is between -9 and -2.
        format!("{:.*}%", 1 + (-value.log10().floor()) as usize, value)
    } else if share < 1.0 && value >= 99.995 {
        ">99.99%".into()
    } else {
        format!("{value:.2}%")
    }
}

/// A share in per cent with as few digits as it needs, for axes.
pub(crate) fn short_percent(share: f64) -> String {
    let text = format!("{:.12}", 100.0 * share);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A loss on an axis that ends at `to`.
pub(crate) fn nats(loss: f64, to: f64) -> String {
    if to < 1.0 { format!("{loss:.2}") } else { format!("{loss:.1}") }
}

/// A count with at most four characters before its unit, for axes.
pub(crate) fn short_count(n: f64) -> String {
    let (divisor, unit) = match n.abs() {
        n if n >= 1e12 => (1e12, "T"),
        n if n >= 1e9 => (1e9, "G"),
        n if n >= 1e6 => (1e6, "M"),
        n if n >= 1e4 => (1e3, "k"),
        _ => return count(n.round().max(0.0) as u64),
    };
    let text = format!("{:.1}", n / divisor);
    format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
}

/// Two decimals, with separators between thousands.
pub(crate) fn decimal(value: f64) -> String {
    if value.is_finite() {
        indicatif::HumanFloatCount((value * 100.0).round() / 100.0).to_string()
    } else {
        "–".into()
    }
}

/// A difference of two decimals, with its sign.
pub(crate) fn signed(value: f64) -> String {
    let text = decimal(value.abs());
    match value {
        _ if !value.is_finite() => text,
        _ if text == "0" => text,
        value if value < 0.0 => format!("\u{2212}{text}"),
        _ => format!("+{text}"),
    }
}

/// A relative difference in per cent, with its sign.
pub(crate) fn signed_percent(share: f64) -> String {
    if share.is_finite() { format!("{:+.1}%", 100.0 * share).replace('-', "\u{2212}") } else { "–".into() }
}

/// What a test says.
pub(crate) fn probability(p: f64) -> String {
    match p {
        p if !p.is_finite() => "p unknown".into(),
        p if p < 1e-4 => "p < 0.0001".into(),
        p => format!("p = {p:.4}"),
    }
}

/// A difference of two shares in percentage points, with its sign.
pub(crate) fn points(value: f64) -> String {
    let text = percent(value.abs()).replace('%', "");
    match value {
        _ if !value.is_finite() => text,
        0.0 => "0 points".into(),
        value if value < 0.0 => format!("\u{2212}{text} points"),
        _ => format!("+{text} points"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_keep_two_digits_that_count() {
        let shown =
            [0.0, 0.25, 0.250_312, 1.0, 0.999_99, 0.000_1, 0.000_041_6, 4.2e-9, 1e-15, f64::NAN].map(percent);
        assert_eq!(
            shown,
            [
                "0%",
                "25.00%",
                "25.03%",
                "100.00%",
                ">99.99%",
                "0.01%",
                "0.0042%",
                "0.00000042%",
                "<0.000000001%",
                "–"
            ]
        );
    }

    #[test]
    fn axes_stay_short() {
        assert_eq!([0.25, 1.0, 0.000_01].map(short_percent), ["25%", "100%", "0.001%"]);
        assert_eq!(
            [0.0, 9_999.0, 25_000.0, 1.5e6, 2e9].map(short_count),
            ["0", "9,999", "25k", "1.5M", "2G"]
        );
    }

    #[test]
    fn counts_have_separators() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(plural(1, "token"), "1 token");
        assert_eq!(plural(1_000, "token"), "1,000 tokens");
        assert_eq!(decimal(4.018), "4.02");
        assert_eq!([-0.5, 0.001, 1234.5, f64::NAN].map(signed), ["\u{2212}0.5", "0", "+1,234.5", "–"]);
        assert_eq!([-0.5, 0.0, 0.012_34].map(signed_percent), ["\u{2212}50.0%", "+0.0%", "+1.2%"]);
        assert_eq!([-0.5, 0.0, 0.000_03].map(points), ["\u{2212}50.00 points", "0 points", "+0.0030 points"]);
    }
}
