//! `NaN`, `Infinity` and `-Infinity`, which Python's `json.dumps` writes though JSON doesn't have them.

const NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// The line with 0 for each such number in the columns that are not read, or `None` if there is none. Every other byte keeps its
/// position.
///
/// # Errors
///
/// If one is in a column that is read; the message says where.
pub(crate) fn zeroed(line: &str, is_read: impl Fn(&str) -> bool) -> Result<Option<String>, String> {
    let mut bytes = line.as_bytes().to_vec();
    let (mut at, mut depth, mut string) = (0, 0_usize, 0..0);
    // The column that is read here, and whether a value may start here.
    let (mut column, mut before_value) = (None, false);
    while let Some(&byte) = bytes.get(at) {
        let number = NUMBERS.iter().find(|number| before_value && bytes[at..].starts_with(number.as_bytes()));
        if let Some(number) = number {
            if let Some(column) = column {
                return Err(format!("{number} in {column:?} is not JSON, at byte {} of the line", at + 1));
            }
            bytes[at..at + number.len()].fill(b' ');
            bytes[at] = b'0';
            (at, before_value) = (at + number.len(), false);
            continue;
        }
        before_value = matches!(byte, b':' | b',' | b'[') || before_value && byte.is_ascii_whitespace();
        let start = at;
        at += 1;
        match byte {
            b'"' => {
                while let Some(&byte) = bytes.get(at).filter(|&&byte| byte != b'"') {
                    at += if byte == b'\\' { 2 } else { 1 };
                }
                at += 1;
                string = start..at;
            }
            b':' if depth == 1 => {
                let key = line.get(string.clone()).and_then(|key| serde_json::from_str::<String>(key).ok());
                column = key.filter(|key| is_read(key));
            }
            b',' if depth == 1 => column = None,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    let changed = bytes != line.as_bytes();
    // ASCII was replaced by ASCII.
    Ok(String::from_utf8(bytes).ok().filter(|_| changed))
}

#[cfg(test)]
mod tests {
    use super::zeroed;

    #[test]
    fn numbers_in_unread_columns_become_zeros() {
        let zeroed = |line| zeroed(line, |column| column == "text");
        for (line, expected) in [
            (r#"{"a": NaN, "text": "NaN"}"#, r#"{"a": 0  , "text": "NaN"}"#),
            (
                r#"{"a":[ NaN,-Infinity],"b":{"text":Infinity}}"#,
                r#"{"a":[ 0  ,0        ],"b":{"text":0       }}"#,
            ),
            // What is no number stays for the parser to refuse.
            (r#"{"a": 1NaN, NaN: 1, "b": nan, "c": -NaN}"#, r#"{"a": 1NaN, 0  : 1, "b": nan, "c": -NaN}"#),
        ] {
            assert_eq!(zeroed(line), Ok(Some(expected.to_owned())));
        }
        for line in [r#"{"text": "a\\\"NaN:NaN"}"#, "{", r#"{"a": "\"#, r#"{"é": :,[}}}"#, ""] {
            assert_eq!(zeroed(line), Ok(None), "{line}");
        }
        for line in [r#"{"text": NaN}"#, r#"{"b": 1, "t\u0065xt": [1, {"a": NaN}]}"#] {
            assert!(zeroed(line).unwrap_err().contains(r#"NaN in "text" is not JSON, at byte"#), "{line}");
        }
    }
}
